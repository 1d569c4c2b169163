//! One issuer's keys over time.
//!
//! A task per issuer is the only one that fetches: at start, every `refresh`, sooner after a failure, and when a request meets
//! a `kid` that it does not know, then at most every `min_refresh`. Requests that ask meanwhile wait for that one fetch, so a
//! flood of made-up `kid`s costs the issuer nothing, and a request that goes away cancels nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::fetch::{self, FetchError, Fetcher};
use super::set::{KeySet, SetError};
use crate::config::{JwtIssuer, KeySource};

/// Longest time a request waits for keys.
const MAX_WAIT: Duration = Duration::from_secs(6);
/// First and longest pause after a failed fetch.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// A file is cheap to look at.
const FILE_POLL: Duration = Duration::from_secs(5);

/// What a reload may change without forgetting the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    refresh: Duration,
    min_refresh: Duration,
    max_stale: Duration,
}

/// The keys of one (issuer, source), live across reloads.
#[derive(Debug)]
pub(crate) struct IssuerKeys {
    issuer: String,
    source: KeySource,
    settings: ArcSwap<Settings>,
    loaded: ArcSwapOption<Loaded>,
    last_error: Mutex<Option<String>>,
    /// Shared by all issuers of the process: a number is never used for two key sets.
    generations: Arc<AtomicU64>,
    ask: Arc<Notify>,
    progress: watch::Sender<Progress>,
}

/// A key set and how fresh it is.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) generation: u64,
    pub(crate) set: Arc<KeySet>,
    document: blake3::Hash,
    confirmed: Instant,
}

/// For health, metrics and the admin listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyStatus {
    pub issuer: String,
    /// Usable keys; 0 while none were loaded.
    pub keys: usize,
    pub generation: u64,
    /// Since the keys were last confirmed by their source.
    pub age: Option<Duration>,
    /// Whether tokens of this issuer can be checked.
    pub usable: bool,
    /// Of the latest fetch, if it failed.
    pub error: Option<String>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// Fetches done, and asks answered without one.
    answered: u64,
    running: bool,
    started: Option<Instant>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("{place}: {cause}")]
    Set { place: String, cause: SetError },
}

impl Settings {
    pub(crate) fn new(issuer: &JwtIssuer) -> Self {
        Settings { refresh: issuer.refresh, min_refresh: issuer.min_refresh, max_stale: issuer.max_stale }
    }
}

impl Loaded {
    fn is_usable(&self, settings: &Settings, now: Instant) -> bool {
        now.saturating_duration_since(self.confirmed) <= settings.refresh.saturating_add(settings.max_stale)
    }
}

impl IssuerKeys {
    /// Keys not loaded yet; [`IssuerKeys::start`] loads them.
    pub(crate) fn new(issuer: &JwtIssuer, generations: Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(IssuerKeys {
            issuer: issuer.issuer.clone(),
            source: issuer.keys.clone(),
            settings: ArcSwap::from_pointee(Settings::new(issuer)),
            loaded: ArcSwapOption::empty(),
            last_error: Mutex::new(None),
            generations,
            ask: Arc::new(Notify::new()),
            // A request that comes before the first fetch waits for it.
            progress: watch::Sender::new(Progress { running: true, ..Progress::default() }),
        })
    }

    /// Starts the task that keeps the keys fresh. It ends when the last directory that uses them is gone.
    pub(crate) fn start(self: &Arc<Self>, runtime: &tokio::runtime::Handle, fetcher: Arc<Fetcher>) {
        runtime.spawn(keep_fresh(Arc::downgrade(self), self.ask.clone(), fetcher));
    }

    /// Whether a configuration means these keys.
    pub(crate) fn are_of(&self, issuer: &JwtIssuer) -> bool {
        self.issuer == issuer.issuer && self.source == issuer.keys
    }

    pub(crate) fn set_settings(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    /// The keys, unless there are none or their source has been silent for too long.
    pub(crate) fn current(&self, now: Instant) -> Option<Arc<Loaded>> {
        self.loaded.load_full().filter(|loaded| loaded.is_usable(&self.settings.load(), now))
    }

    /// Whether keys of this generation are still the ones to use.
    pub(crate) fn is_current(&self, generation: u64, now: Instant) -> bool {
        self.loaded.load().as_ref().is_some_and(|loaded| {
            loaded.generation == generation && loaded.is_usable(&self.settings.load(), now)
        })
    }

    /// Waits until the keys are as fresh as they may be: for the fetch that runs, or for one it asks for, or not at all when
    /// the last one was less than `min_refresh` ago.
    pub(crate) async fn freshen(&self) {
        let mut progress = self.progress.subscribe();
        let seen = *progress.borrow_and_update();
        if !seen.running {
            if !self.may_ask(seen) {
                return;
            }
            self.ask.notify_one();
        }
        let answered = progress.wait_for(|now| now.answered > seen.answered);
        // Whatever came of it, the caller looks at the keys again.
        let _ = tokio::time::timeout(MAX_WAIT, answered).await;
    }

    pub(crate) fn status(&self, now: Instant) -> KeyStatus {
        let loaded = self.loaded.load();
        let loaded = loaded.as_ref();
        KeyStatus {
            issuer: self.issuer.clone(),
            keys: loaded.map_or(0, |loaded| loaded.set.len()),
            generation: loaded.map_or(0, |loaded| loaded.generation),
            age: loaded.map(|loaded| now.saturating_duration_since(loaded.confirmed)),
            usable: loaded.is_some_and(|loaded| loaded.is_usable(&self.settings.load(), now)),
            error: self.last_error.lock().clone(),
        }
    }

    /// Loads a key file now, on this thread: at start and on reload a broken file is a configuration error. Other sources are
    /// left to the task: an issuer that is down must not keep the gateway from starting.
    ///
    /// # Errors
    /// The file cannot be read or is no usable key set; the keys stay as they were.
    pub(crate) fn load_file(&self) -> Result<(), LoadError> {
        match &self.source {
            KeySource::File(path) => self.accept(fetch::read_file(path)),
            KeySource::Discovery | KeySource::Uri(_) => Ok(()),
        }
    }

    fn may_ask(&self, progress: Progress) -> bool {
        progress.started.is_none_or(|started| started.elapsed() >= self.settings.load().min_refresh)
    }

    async fn fetch(&self, fetcher: &Fetcher) -> bool {
        self.progress.send_modify(|progress| {
            progress.running = true;
            progress.started = Some(Instant::now());
        });
        let result = self.accept(fetcher.key_set(&self.issuer, &self.source).await);
        if let Err(error) = &result {
            tracing::warn!(issuer = %self.issuer, %error, "the issuer's keys could not be fetched; keeping the old ones");
        }
        self.answer();
        result.is_ok()
    }

    fn answer(&self) {
        self.progress.send_modify(|progress| {
            progress.running = false;
            progress.answered += 1;
        });
    }

    fn accept(&self, document: Result<Vec<u8>, FetchError>) -> Result<(), LoadError> {
        let result = document.map_err(LoadError::from).and_then(|bytes| self.install(&bytes));
        *self.last_error.lock() = result.as_ref().err().map(ToString::to_string);
        result
    }

    /// A set that differs from the last one gets a new generation.
    fn install(&self, bytes: &[u8]) -> Result<(), LoadError> {
        let document = blake3::hash(bytes);
        let confirmed = Instant::now();
        let old = self.loaded.load_full().filter(|loaded| loaded.document == document);
        let loaded = match old {
            Some(old) => Loaded { generation: old.generation, set: old.set.clone(), document, confirmed },
            None => {
                let set =
                    KeySet::parse(bytes).map_err(|cause| LoadError::Set { place: self.place(), cause })?;
                let generation = self.generations.fetch_add(1, Ordering::Relaxed) + 1;
                tracing::info!(issuer = %self.issuer, keys = set.len(), generation, "the issuer's keys are loaded");
                Loaded { generation, set: Arc::new(set), document, confirmed }
            }
        };
        self.loaded.store(Some(Arc::new(loaded)));
        Ok(())
    }

    fn place(&self) -> String {
        match &self.source {
            KeySource::File(path) => path.display().to_string(),
            KeySource::Uri(uri) => uri.clone(),
            KeySource::Discovery => format!("the key set of {}", self.issuer),
        }
    }

    fn pause(&self, failures: u32) -> Duration {
        let refresh = self.settings.load().refresh;
        let usual = match self.source {
            KeySource::File(_) => refresh.min(FILE_POLL),
            KeySource::Discovery | KeySource::Uri(_) => refresh,
        };
        match failures {
            0 => usual,
            _ => RETRY.0.saturating_mul(1 << failures.min(10).saturating_sub(1)).min(RETRY.1).min(usual),
        }
    }
}

impl Drop for IssuerKeys {
    /// Wakes the task, which then finds nothing left to do.
    fn drop(&mut self) {
        self.ask.notify_one();
    }
}

async fn keep_fresh(keys: Weak<IssuerKeys>, ask: Arc<Notify>, fetcher: Arc<Fetcher>) {
    let mut failures: u32 = 0;
    loop {
        let Some(live) = keys.upgrade() else { return };
        let done = live.fetch(&fetcher).await;
        failures = if done { 0 } else { failures.saturating_add(1) };
        let pause = tokio::time::sleep(live.pause(failures));
        drop(live);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => break,
                () = ask.notified() => {
                    let Some(live) = keys.upgrade() else { return };
                    let progress = *live.progress.borrow();
                    if live.may_ask(progress) {
                        break;
                    }
                    live.answer();
                }
            }
        }
    }
}
