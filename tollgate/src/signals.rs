//! Signals and the way down: SIGTERM and SIGINT stop, SIGQUIT hands over to a successor, SIGHUP reloads.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tollgate_proxy::runtime::Live;
use tollgate_proxy::server::{HAND_OVER, Stop, successor_waits};

use crate::watch::Watched;

/// After the error events have been written, how long their streams may take to end.
const AFTER_CUT: Duration = Duration::from_secs(5);
/// What the kernel still has to send when the last request is over.
const LAST_BYTES: Duration = Duration::from_millis(100);

/// How this process goes down.
pub(crate) struct Way {
    pub(crate) live: Arc<Live>,
    pub(crate) pre_stop: Duration,
    pub(crate) drain: Duration,
    pub(crate) upgrade_socket: PathBuf,
    /// Pingora's own runtimes sleep while the drain runs; this one hears signals to the end.
    pub(crate) background: tokio::runtime::Handle,
    /// Runs when nothing is in flight any more: the audit trail is flushed, the sink stopped.
    pub(crate) flush: Box<dyn FnOnce() + Send>,
}

/// Waits for a signal that ends the process, and starts the drain. Resolves when Pingora shall close its listeners.
pub(crate) async fn stopping(mut heard: Heard, way: Way) -> Stop {
    let stop = heard.wait(&way.upgrade_socket).await;
    match stop {
        Stop::Terminate => {
            tracing::info!(requests = way.live.load.requests(), "stopping");
            way.live.lifecycle.stop(); // not ready, from now on
            notify(&[NotifyState::Stopping]);
            tokio::select! {
                () = tokio::time::sleep(way.pre_stop) => {}
                () = heard.again() => hurry(&way.live),
            }
        }
        Stop::HandOver => {
            tracing::info!("a successor waits: handing the sockets over");
            way.live.lifecycle.leave();
        }
    }
    let live = Arc::clone(&way.live);
    way.background.spawn(async move {
        heard.again().await;
        hurry(&live);
    });
    // A thread of its own: Pingora sleeps through its grace period and stops its runtimes when it ends.
    let spawned = std::thread::Builder::new().name("drain".into()).spawn(move || drain(way, stop));
    if let Err(error) = spawned {
        tracing::error!(%error, "cannot start the drain; exiting at once");
        crate::log::flush();
        std::process::exit(1);
    }
    stop
}

/// Signals that this process acts on. Made before it says that it is ready: until then they would simply end it.
pub(crate) struct Heard {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Heard {
    /// Within a runtime.
    pub(crate) fn listen() -> std::io::Result<Heard> {
        Ok(Heard {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// Once more while the process goes down: whoever asks does not want to wait.
    async fn again(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    async fn wait(&mut self, upgrade_socket: &Path) -> Stop {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Stop::Terminate,
                _ = self.interrupt.recv() => return Stop::Terminate,
                _ = self.quit.recv() => {
                    if successor_waits(upgrade_socket) {
                        return Stop::HandOver;
                    }
                    tracing::error!(
                        socket = %upgrade_socket.display(),
                        "SIGQUIT refused: no successor waits for the sockets. Start one with `tollgate serve --take-over` first."
                    );
                }
            }
        }
    }
}

/// Ends what is in flight with error events, as at the end of a drain. The audit trail is flushed all the same.
fn hurry(live: &Live) {
    tracing::warn!(requests = live.load.requests(), "asked to stop again: ending what is in flight now");
    live.lifecycle.cut();
}

/// Waits until nothing is in flight, at most for `drain`; then ends what still streams, flushes, and exits.
fn drain(way: Way, stop: Stop) {
    if stop == Stop::HandOver {
        std::thread::sleep(HAND_OVER); // until then this process still accepts
        way.live.lifecycle.stop();
    }
    let deadline = Instant::now() + way.drain;
    // Asked to hurry before it began: no time of its own.
    let hurried = way.live.lifecycle.is_cut();
    if !hurried && !idle_by(&way.live, deadline) && !way.live.lifecycle.is_cut() {
        tracing::warn!(requests = way.live.load.requests(), "the drain is over: ending what still streams");
    }
    // Also where nothing is in flight: a request that comes now, over a connection that is still open, has nobody who would
    // write it down.
    way.live.lifecycle.cut();
    idle_by(&way.live, Instant::now() + AFTER_CUT);
    std::thread::sleep(LAST_BYTES);
    (way.flush)();
    tracing::info!("stopped");
    crate::log::flush();
    std::process::exit(0);
}

fn idle_by(live: &Live, deadline: Instant) -> bool {
    let cut = live.lifecycle.is_cut();
    while live.load.requests() > 0 {
        // A cut in the midst of the wait ends it: what follows has a time of its own.
        if Instant::now() >= deadline || live.lifecycle.is_cut() != cut {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

pub(crate) fn hangup() -> std::io::Result<Signal> {
    signal(SignalKind::hangup())
}

/// A reload begins; [`notify_ready`] ends it (systemd.service(5), `Type=notify`).
pub(crate) fn notify_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
}

pub(crate) fn notify_ready() {
    notify(&[NotifyState::Ready, NotifyState::MainPid(std::process::id())]);
}

/// Tells systemd, where it asks.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager was not told");
    }
}

/// SIGHUP, and where enabled a change of a file, reload. `reload` runs on a blocking thread, one at a time.
pub(crate) async fn reloading(
    mut hangup: Signal,
    reload: Arc<dyn Fn() + Send + Sync>,
    watch: Option<Duration>,
    watched: Arc<Watched>,
) {
    let mut ticks = tokio::time::interval(watch.unwrap_or(Duration::from_secs(3600)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let asked = tokio::select! {
            _ = hangup.recv() => true,
            _ = ticks.tick(), if watch.is_some() => false,
        };
        let (reload, watched) = (Arc::clone(&reload), Arc::clone(&watched));
        let work = move || {
            if asked || watched.changed() {
                reload();
            }
        };
        if let Err(error) = tokio::task::spawn_blocking(work).await {
            tracing::error!(%error, "the reload panicked; the configuration in force stays");
        }
    }
}
