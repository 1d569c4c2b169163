//! How much is in flight: requests by number, request bodies by bytes. Past either bound a request is refused at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tollgate_filters::verdict::{Code, Rejection};

/// Counts that outlive reloads; their bounds come with each snapshot.
#[derive(Debug, Default)]
pub struct Load {
    requests: Arc<AtomicUsize>,
    bodies: Arc<AtomicUsize>,
}

/// One request in flight; given back when dropped.
#[derive(Debug)]
pub(crate) struct RequestPermit(Arc<AtomicUsize>);

/// Bytes of one request body; given back when dropped.
#[derive(Debug)]
pub(crate) struct BodyPermit {
    total: Arc<AtomicUsize>,
    bytes: usize,
}

impl Load {
    /// Sequentially consistent, as are `enter` and the cut: who enters and then sees no cut is seen by whoever cuts and then counts.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    pub fn body_bytes(&self) -> usize {
        self.bodies.load(Ordering::Relaxed)
    }

    pub(crate) fn enter(&self, max: usize) -> Result<RequestPermit, Rejection> {
        if !take(&self.requests, 1, max) {
            return Err(overloaded("too many requests are in flight"));
        }
        Ok(RequestPermit(Arc::clone(&self.requests)))
    }

    pub(crate) fn body(&self) -> BodyPermit {
        BodyPermit { total: Arc::clone(&self.bodies), bytes: 0 }
    }
}

impl BodyPermit {
    /// Takes as much more as brings this body to `bytes`.
    pub(crate) fn grow_to(&mut self, bytes: usize, max: usize) -> Result<(), Rejection> {
        let more = bytes.saturating_sub(self.bytes);
        if more > 0 && !take(&self.total, more, max) {
            return Err(overloaded("too many bytes of request bodies are in flight"));
        }
        self.bytes += more;
        Ok(())
    }
}

fn take(count: &AtomicUsize, more: usize, max: usize) -> bool {
    let before = count.fetch_add(more, Ordering::SeqCst);
    if before.saturating_add(more) <= max {
        return true;
    }
    count.fetch_sub(more, Ordering::Relaxed);
    false
}

fn overloaded(why: &str) -> Rejection {
    let message = format!("The gateway is at its limit ({why}). Try again in a moment.");
    Rejection::new(Code::Overloaded, message).with_retry_after(std::time::Duration::from_secs(1))
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for BodyPermit {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// How often whoever waits looks whether the drain is over.
const CUT_CHECK: std::time::Duration = std::time::Duration::from_millis(500);

/// Where the process stands in its life.
#[derive(Debug, Default)]
pub struct Lifecycle {
    started: AtomicBool,
    /// Connections are closed after the answer under way, so that clients find another instance.
    leaving: AtomicBool,
    stopping: AtomicBool,
    /// The drain is over: what still streams ends with an error event.
    pub(crate) cut: Arc<AtomicBool>,
}

impl Lifecycle {
    pub fn started(&self) {
        self.started.store(true, Ordering::Relaxed);
    }
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }
    pub fn stop(&self) {
        self.leave();
        self.stopping.store(true, Ordering::Relaxed);
    }
    pub fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }
    /// Resolves when the drain is over.
    pub(crate) async fn over(&self) {
        while !self.cut.load(Ordering::Relaxed) {
            tokio::time::sleep(CUT_CHECK).await;
        }
    }
    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }
    pub fn is_started(&self) -> bool {
        self.started.load(Ordering::Relaxed)
    }
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_bounded_and_given_back() {
        let load = Load::default();
        let first = load.enter(1).expect("room");
        assert_eq!(load.enter(1).unwrap_err().code, Code::Overloaded);
        drop(first);
        assert!(load.enter(1).is_ok());

        let mut body = load.body();
        body.grow_to(10, 15).expect("room");
        body.grow_to(10, 15).expect("nothing more asked");
        assert!(body.grow_to(16, 15).is_err());
        assert_eq!(load.body_bytes(), 10);
        let mut other = load.body();
        assert!(other.grow_to(6, 15).is_err());
        other.grow_to(5, 15).expect("exactly the rest");
        drop((body, other));
        assert_eq!(load.body_bytes(), 0);
    }
}
