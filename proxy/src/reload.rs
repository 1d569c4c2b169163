//! A reload builds everything from the new file, then swaps; a file that does not build changes nothing and says why.

mod priority;
mod retired;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tollgate_filters::conf::Problem;

use crate::config::Config;
use crate::fail;
use crate::runtime::{Live, Runtime};
use crate::tls::{self, Certificates};
use retired::Retired;

/// A configuration as its source gives it: validated, with the hash of the file.
#[derive(Debug)]
pub struct Fresh {
    pub config: Config,
    /// Hex digest of the file; the version in audit events is its beginning.
    pub hash: String,
}

/// Reads the configuration anew.
pub type Source = Box<dyn Fn() -> Result<Fresh, Refused> + Send + Sync>;

/// Why a reload changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// What an operator reads: all of it.
    pub message: String,
    /// Every mistake in the file, where it has some.
    pub mistakes: Vec<Mistake>,
}

/// A problem and the line it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub line: Option<u64>,
    pub problem: Problem,
}

impl Refused {
    fn because(error: &impl ToString) -> Refused {
        Refused { message: error.to_string(), mistakes: Vec::new() }
    }

    /// Changes that only a restart can make.
    fn unchangeable(problems: Vec<Problem>) -> Refused {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        let mistakes = problems.into_iter().map(|problem| Mistake { line: None, problem }).collect();
        Refused { message: lines.join("; "), mistakes }
    }
}

/// What the admin listener shows.
#[derive(Debug, Clone)]
pub struct Status {
    pub generation: u64,
    pub hash: String,
    pub loaded_at: SystemTime,
    /// When the latest reload was refused, and why.
    pub last_error: Option<(SystemTime, Refused)>,
}

pub struct Reloader {
    source: Source,
    runtime: Arc<ArcSwap<Runtime>>,
    live: Arc<Live>,
    certificates: HashMap<SocketAddr, Certificates>,
    status: Mutex<Status>,
    retired: Retired<Runtime>,
    /// One reload at a time. Each reads the file after it got its turn, so the newest wins.
    turn: Mutex<()>,
}

impl Reloader {
    pub fn new(
        source: Source,
        runtime: Arc<ArcSwap<Runtime>>,
        live: Arc<Live>,
        certificates: HashMap<SocketAddr, Certificates>,
        hash: String,
    ) -> Reloader {
        let generation = runtime.load().generation();
        live.metrics.on_config(generation);
        let status = Status { generation, hash, loaded_at: SystemTime::now(), last_error: None };
        Reloader {
            source,
            runtime,
            live,
            certificates,
            status: Mutex::new(status),
            retired: Retired::new(),
            turn: Mutex::new(()),
        }
    }

    pub fn status(&self) -> Status {
        self.status.lock().clone()
    }

    /// Builds and swaps, on a thread that gives way to requests. Slow; never to be waited for on a request thread.
    pub fn reload(&self) -> Result<u64, Refused> {
        let _turn = self.turn.lock();
        let built = std::thread::scope(|scope| {
            let patient = || {
                priority::lower();
                self.build_and_swap()
            };
            let thread = std::thread::Builder::new().name("reload".into()).spawn_scoped(scope, patient);
            thread.map(std::thread::ScopedJoinHandle::join).unwrap_or_else(|_| Ok(self.build_and_swap()))
        });
        // Nothing was swapped, whatever the panic came from: its own message has been written by then.
        let panicked = || Refused::because(&"building the new configuration panicked: a bug in the gateway");
        match built.unwrap_or_else(|_| Err(panicked())) {
            Ok((generation, hash)) => {
                let loaded_at = SystemTime::now();
                *self.status.lock() = Status { generation, hash, loaded_at, last_error: None };
                self.live.metrics.on_config(generation);
                tracing::info!(generation, "configuration reloaded");
                Ok(generation)
            }
            Err(why) => {
                self.status.lock().last_error = Some((SystemTime::now(), why.clone()));
                self.live.metrics.on_bad_config();
                tracing::error!(error = %why, "reload refused; the configuration in force stays");
                Err(why)
            }
        }
    }

    fn build_and_swap(&self) -> Result<(u64, String), Refused> {
        let Fresh { config, hash } = (self.source)()?;
        let current = self.runtime.load_full();
        let change = current.config().change_to(&config);
        if !change.refused.is_empty() {
            return Err(Refused::unchangeable(change.refused));
        }
        let mut loaded = Vec::new();
        let sockets = config.listeners.iter().map(|listener| (listener.address, &listener.tls));
        for (address, tls) in sockets.chain([(config.admin.address, &config.admin.tls)]) {
            if let (Some(tls), Some(cell)) = (tls, self.certificates.get(&address)) {
                loaded.push((cell, tls::load(tls).map_err(|error| Refused::because(&error))?));
            }
        }
        let generation = current.generation() + 1;
        fail::point("reload", &generation.to_string());
        let runtime = Runtime::build(config, &hash[..hash.len().min(12)], generation, &self.live);
        let runtime = runtime.map_err(|error| Refused::because(&error))?;
        // Everything is built: from here on nothing can fail.
        for (cell, files) in loaded {
            cell.swap(files);
        }
        for problem in &change.later {
            tracing::warn!(%problem, "reload");
        }
        self.live.upstreams.adopt(runtime.fleet());
        self.runtime.store(Arc::new(runtime));
        self.retired.push(current);
        Ok((generation, hash))
    }
}
