//! The embedded sink's thread: this process's generation all the time, older ones as their owners go.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use tollgate_store::{AuditStore, GapRow, StoreError, generations};

use crate::source::{Source, Step};

#[derive(Debug, Clone)]
pub struct MoverOptions {
    pub state_dir: PathBuf,
    /// The generation that this process writes; None: only orphans are moved.
    pub own: Option<u64>,
    /// How often the spool is looked at while less is waiting than a step can move: a transaction costs about as much for one
    /// record as for many.
    pub poll: Duration,
    /// How often older generations are looked for.
    pub orphans: Duration,
    /// Records per transaction, about.
    pub events: usize,
}

impl MoverOptions {
    pub fn new(state_dir: impl Into<PathBuf>, own: Option<u64>) -> MoverOptions {
        MoverOptions {
            state_dir: state_dir.into(),
            own,
            poll: Duration::from_millis(200),
            orphans: Duration::from_secs(10),
            events: 1_000,
        }
    }
}

/// What the mover counts. Called from its thread.
pub trait Observer: Send + Sync {
    /// So many records are new in the store.
    fn moved(&self, events: u64);
    /// A loss or a fault of a chain was written down.
    fn gap(&self, gap: &GapRow);
    /// A step failed and will be repeated.
    fn failed(&self, error: &StoreError);
}

/// Counts nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn moved(&self, _: u64) {}
    fn gap(&self, _: &GapRow) {}
    fn failed(&self, _: &StoreError) {}
}

/// Handle of the mover's thread. Dropped, the thread ends after its current step; nothing is lost, it stays in the spool.
pub struct Mover {
    stop: Sender<Instant>,
    ended: Receiver<Drained>,
}

/// How a shutdown ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// The spool is empty.
    Empty,
    /// Something is left in the spool, for the next start.
    Left,
}

impl Mover {
    pub fn start(store: AuditStore, options: MoverOptions, observer: Arc<dyn Observer>) -> io::Result<Mover> {
        let (stop, stopped) = channel();
        let (end, ended) = sync_channel(1);
        let thread =
            Thread { store, options, observer, own: None, orphans_due: Instant::now(), failing: None };
        std::thread::Builder::new()
            .name("audit-sink".to_owned())
            .spawn(move || thread.run(&stopped, &end))?;
        Ok(Mover { stop, ended })
    }

    /// Moves what is there, until the deadline. To be called after the audit queue's own shutdown.
    pub fn shutdown(self, deadline: Instant) -> Drained {
        if self.stop.send(deadline).is_err() {
            return Drained::Left;
        }
        let patience = deadline.saturating_duration_since(Instant::now()) + LAST_STEP;
        self.ended.recv_timeout(patience).unwrap_or(Drained::Left)
    }
}

struct Thread {
    store: AuditStore,
    options: MoverOptions,
    observer: Arc<dyn Observer>,
    own: Option<Source>,
    orphans_due: Instant,
    failing: Option<Failing>,
}

struct Failing {
    error: String,
    backoff: Duration,
}

impl Thread {
    fn run(mut self, stop: &Receiver<Instant>, end: &SyncSender<Drained>) {
        let mut wait = Duration::ZERO;
        loop {
            match stop.recv_timeout(wait) {
                Ok(deadline) => {
                    let drained = self.drain(deadline);
                    // The receiver may have given up waiting.
                    let _ = end.try_send(drained);
                    return;
                }
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            wait = match self.round() {
                Ok(step) => {
                    self.recovered();
                    let more = matches!(step, Step::Moved(records) if records >= self.options.events);
                    if more { Duration::ZERO } else { self.options.poll }
                }
                Err(error) => self.failed(&error),
            };
        }
    }

    /// One step of our own generation; orphans now and then, one step each time while there is something to them.
    fn round(&mut self) -> Result<Step, StoreError> {
        let mut step = self.step_own()?;
        if Instant::now() >= self.orphans_due {
            self.orphans()?;
            self.orphans_due = Instant::now() + self.options.orphans;
            step = Step::Moved(self.options.events);
        }
        Ok(step)
    }

    fn step_own(&mut self) -> Result<Step, StoreError> {
        let Some(generation) = self.options.own else { return Ok(Step::Empty) };
        let source = match &mut self.own {
            Some(source) => source,
            none => none.insert(Source::own(&self.options.state_dir, generation)?),
        };
        source.step(&mut self.store, self.options.events, &*self.observer)
    }

    /// Drains every generation whose owner is gone. Between two steps of one, our own gets its turn.
    fn orphans(&mut self) -> Result<(), StoreError> {
        let state_dir = self.options.state_dir.clone();
        for generation in generations(&state_dir)? {
            if Some(generation) == self.options.own {
                continue;
            }
            // One that cannot be read must not keep the others waiting.
            if let Err(error) = self.orphan(generation) {
                if matches!(error, StoreError::Locked { .. } | StoreError::Full { .. }) {
                    return Err(error);
                }
                tracing::error!(%error, generation, "audit: an older generation of the spool cannot be moved");
                self.observer.failed(&error);
            }
        }
        Ok(())
    }

    fn orphan(&mut self, generation: u64) -> Result<(), StoreError> {
        let Some(mut source) = Source::orphan(&self.options.state_dir, generation)? else { return Ok(()) };
        while source.step(&mut self.store, self.options.events, &*self.observer)? != Step::Empty {
            self.step_own()?;
        }
        source.finish(&mut self.store, &*self.observer)
    }

    fn drain(&mut self, deadline: Instant) -> Drained {
        loop {
            match self.step_own() {
                Ok(Step::Empty) => break,
                Ok(Step::Moved(_)) => {}
                Err(error) => {
                    let wait = self.failed(&error);
                    if Instant::now() + wait >= deadline {
                        return Drained::Left;
                    }
                    std::thread::sleep(wait);
                }
            }
            if Instant::now() >= deadline {
                return Drained::Left;
            }
        }
        // The audit thread has closed it by now and let go of it: its folder can go too.
        self.own = None;
        let done = match self.options.own.take() {
            Some(generation) => self.orphan(generation),
            None => Ok(()),
        };
        done.map_or(Drained::Left, |()| Drained::Empty)
    }

    /// Returns how long to wait. A store that is locked is nothing to wake anybody for until it lasts.
    fn failed(&mut self, error: &StoreError) -> Duration {
        self.observer.failed(error);
        let text = error.to_string();
        let failing =
            self.failing.get_or_insert_with(|| Failing { error: String::new(), backoff: FIRST_BACKOFF });
        if failing.error != text {
            tracing::warn!(
                error = text,
                "audit: moving events into the store failed; they stay in the spool"
            );
            failing.error = text;
        }
        let wait = failing.backoff;
        failing.backoff = (failing.backoff * 2).min(LAST_BACKOFF);
        // Whatever it was, the reader is opened and the position is read anew.
        self.own = None;
        wait
    }

    fn recovered(&mut self) {
        if self.failing.take().is_some() {
            tracing::info!("audit: moving events into the store works again");
        }
    }
}

const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LAST_BACKOFF: Duration = Duration::from_secs(5);

/// What `shutdown` waits past its deadline for the step that is under way then.
const LAST_STEP: Duration = Duration::from_secs(1);
