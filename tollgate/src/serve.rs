//! `tollgate serve`: settings before ports, build, run, stop.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tollgate_proxy::audit::{AuditQueue, AuditThread, Options as AuditOptions};
use tollgate_proxy::auth::Authenticator;
use tollgate_proxy::config::Config;
use tollgate_proxy::http::Gateway;
use tollgate_proxy::limits::LocalLimits;
use tollgate_proxy::reload::{Reloader, Source};
use tollgate_proxy::runtime::{BuildError, Live, Runtime};
use tollgate_proxy::server::{self, Settings};
use tollgate_proxy::telemetry::Metrics;
use tollgate_proxy::tls::Certificates;
use tollgate_proxy::upstream::Upstreams;
use tollgate_proxy::{Lifecycle, Load, Offered};
use tollgate_sink::{Mover, MoverOptions};
use tollgate_store::{AuditStore, DATABASE_FILE, Spool, SpoolOptions};

use crate::adapters::{Observed, SpoolAdapter};
use crate::cli::ServeArgs;
use crate::config::{Loaded, Report};
use crate::plane::ControlPlane;
use crate::signals::{self, Heard, Way};
use crate::watch::Watched;
use crate::{check, config, log};

/// How long the audit trail may take to become durable after the last request.
const FLUSH: Duration = Duration::from_secs(10);
/// How long a start waits for names and first probes.
const WARM: Duration = Duration::from_secs(2);
/// Attempts per request that Pingora allows; a model's `max_attempts` is below it.
const MAX_ATTEMPTS: usize = 32;

/// Runs until told to stop.
pub(crate) fn run(args: &ServeArgs) -> ExitCode {
    let path = args.file.config.clone();
    let loaded = match config::load(&path) {
        Ok(loaded) => loaded,
        Err(report) => return check::refuse(&report),
    };
    check::print_warnings(&path, &loaded);
    log::start(&loaded.config.telemetry);
    let again: Again = Box::new(move || config::load(&path));
    match start(loaded, again, args.take_over) {
        Ok(process) => process.run(),
        Err(error) => {
            eprintln!("tollgate: cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `sun_path` without its final zero (unix(7)).
const MAX_SOCKET_PATH: usize = 107;

/// Reads the configuration anew, for a reload.
pub(crate) type Again = Box<dyn Fn() -> Result<Loaded, Report> + Send + Sync>;

/// Why a start failed, for the operator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("{0}")]
    Build(#[from] BuildError),
    #[error("state_dir {path}: {why}")]
    StateDir { path: PathBuf, why: String },
    #[error("audit trail: {0}")]
    Audit(String),
    #[error("{0}")]
    Other(String),
}

/// Everything that runs, ready to accept.
pub(crate) struct Process {
    gateway: Gateway,
    live: Arc<Live>,
    settings: Settings,
    certificates: HashMap<SocketAddr, Certificates>,
    reloader: Arc<Reloader>,
    watched: Arc<Watched>,
    background: tokio::runtime::Runtime,
    audit: AuditThread,
    mover: Mover,
    config: Config,
}

/// Builds everything in order: settings before ports, so that a mistake leaves nothing half open.
pub(crate) fn start(loaded: Loaded, again: Again, take_over: bool) -> Result<Process, StartError> {
    let watched = Arc::new(Watched::new(&loaded));
    let Loaded { config, hash, .. } = loaded;
    let state_dir = state_dir(&config.state_dir)?;
    let certificates = server::certificates(&config)?;
    if !take_over {
        server::check_addresses(&config)?;
    }
    let background = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("background")
        .enable_all()
        .build()
        .map_err(|error| StartError::Other(format!("threads: {error}")))?;
    let metrics = Arc::new(Metrics::new().map_err(|error| StartError::Other(error.to_string()))?);
    let (queue, audit, mover) = audit(&config, &state_dir, &metrics)?;
    let upstreams = Upstreams::new(&state_dir, Arc::clone(&metrics) as _)
        .map_err(|error| StartError::Other(error.to_string()))?;
    let live = Arc::new(Live {
        authenticator: Authenticator::new(background.handle().clone()),
        limits: Box::new(LocalLimits::default()),
        upstreams,
        audit: queue,
        metrics,
        load: Load::default(),
        offered: Offered::default(),
        lifecycle: Arc::new(Lifecycle::default()),
    });
    let runtime = Runtime::build(config.clone(), &hash[..hash.len().min(12)], 1, &live)?;
    live.upstreams.adopt(runtime.fleet());
    background.block_on(live.upstreams.warm(runtime.fleet(), WARM));
    let runtime = Arc::new(ArcSwap::from_pointee(runtime));
    let noted = Arc::clone(&watched);
    let source: Source = Box::new(move || noted.note(again()));
    let reloader = Reloader::new(source, Arc::clone(&runtime), Arc::clone(&live), certificates.clone(), hash);
    let settings = Settings {
        threads: config.process.threads,
        max_attempts: MAX_ATTEMPTS,
        upgrade_socket: upgrade_socket(&state_dir),
        take_over,
    };
    Ok(Process {
        gateway: Gateway::new(runtime, Arc::clone(&live)),
        live,
        settings,
        certificates,
        reloader: Arc::new(reloader),
        watched,
        background,
        audit,
        mover,
        config,
    })
}

/// Makes the state directory, private to this user, and the folder of the hand-over socket.
fn state_dir(path: &Path) -> Result<PathBuf, StartError> {
    let fail = |error: std::io::Error| StartError::StateDir { path: path.to_owned(), why: error.to_string() };
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(path.join("run")).map_err(fail)?;
    let whole = std::fs::canonicalize(path).map_err(fail)?;
    let socket = upgrade_socket(&whole);
    let length = socket.as_os_str().len();
    if length > MAX_SOCKET_PATH {
        let why = format!(
            "is too long: the socket {} would have {length} bytes, and a socket's path may have {MAX_SOCKET_PATH}; use a shorter path",
            socket.display()
        );
        return Err(StartError::StateDir { path: path.to_owned(), why });
    }
    Ok(whole)
}

fn upgrade_socket(state_dir: &Path) -> PathBuf {
    state_dir.join("run").join("upgrade.sock")
}

fn audit(
    config: &Config,
    state_dir: &Path,
    metrics: &Arc<Metrics>,
) -> Result<(AuditQueue, AuditThread, Mover), StartError> {
    let fail = |error: &dyn std::fmt::Display| StartError::Audit(error.to_string());
    let mut options = SpoolOptions::new(state_dir);
    options.instance = config.audit.instance.as_ref().map(ToString::to_string);
    let spool = Spool::open(&options).map_err(|error| fail(&error))?;
    let generation = spool.generation();
    let store = AuditStore::open(&state_dir.join(DATABASE_FILE)).map_err(|error| fail(&error))?;
    let observer = Arc::new(Observed::new(Arc::clone(metrics)));
    let mover = Mover::start(store, MoverOptions::new(state_dir, Some(generation)), observer)
        .map_err(|error| fail(&error))?;
    let (queue, thread) = AuditQueue::start(
        Box::new(SpoolAdapter::new(spool)),
        AuditOptions::from(&config.audit),
        Arc::clone(metrics) as _,
    )
    .map_err(|error| fail(&error))?;
    Ok((queue, thread, mover))
}

impl Process {
    /// Accepts until a signal says stop. Ends the process itself once everything is flushed.
    pub(crate) fn run(self) -> ExitCode {
        self.run_then(|| ())
    }

    /// The same; `last` runs when everything is flushed, right before the process ends.
    pub(crate) fn run_then(self, last: impl FnOnce() + Send + 'static) -> ExitCode {
        let Process {
            gateway,
            live,
            settings,
            certificates,
            reloader,
            watched,
            background,
            audit,
            mover,
            config,
        } = self;
        let plane = Arc::new(ControlPlane::new(gateway.runtime(), Arc::clone(&live), Arc::clone(&reloader)));
        let admin = config.admin.address;
        let listening = crate::plane::listen(
            plane,
            admin,
            certificates.get(&admin),
            settings.take_over,
            background.handle(),
        );
        let refuse = |error: &dyn std::fmt::Display| {
            eprintln!("tollgate: cannot start: {error}");
            ExitCode::FAILURE
        };
        if let Err(error) = background.block_on(listening) {
            return refuse(&error);
        }
        let inside = background.enter();
        let (heard, hangup) = match (Heard::listen(), signals::hangup()) {
            (Ok(heard), Ok(hangup)) => (heard, hangup),
            (Err(error), _) | (_, Err(error)) => return refuse(&format!("signals: {error}")),
        };
        drop(inside);
        let upstreams = live.upstreams.clone();
        background.spawn(async move { upstreams.run().await });
        let offering = Arc::clone(&live);
        background.spawn(async move { offering.offered.run(&offering.upstreams).await });
        let reload = {
            let reloader = Arc::clone(&reloader);
            Arc::new(move || {
                signals::notify_reloading();
                let _ = reloader.reload(); // it says in the log, a metric and its status how it went
                signals::notify_ready();
            })
        };
        background.spawn(signals::reloading(hangup, reload, config.process.watch, watched));
        let way = Way {
            live: Arc::clone(&live),
            pre_stop: config.process.pre_stop,
            drain: config.process.drain,
            upgrade_socket: settings.upgrade_socket.clone(),
            background: background.handle().clone(),
            flush: Box::new(move || {
                flush(audit, mover);
                last();
            }),
        };
        let ready = || {
            live.lifecycle.started();
            tracing::info!(
                version = env!("CARGO_PKG_VERSION"),
                listeners = ?config.listeners.iter().map(|listener| listener.address.to_string()).collect::<Vec<_>>(),
                admin = %admin,
                "serving"
            );
            signals::notify_ready();
        };
        let stopping = Box::pin(signals::stopping(heard, way));
        server::run(&gateway, &settings, &certificates, stopping, ready);
        ExitCode::SUCCESS
    }
}

/// The audit trail's last commits: queue → spool → store. What does not fit into the time stays in the spool.
fn flush(audit: AuditThread, mover: Mover) {
    let outcome = audit.shutdown(Instant::now() + FLUSH);
    let drained = mover.shutdown(Instant::now() + FLUSH);
    tracing::info!(?outcome, ?drained, "audit trail flushed");
}
