//! What the phases hold of the seam: deadlines, comments, and what to do after the batch that is being filtered.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use parking_lot::{Mutex, MutexGuard};
use pingora_error::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;
use tokio::time::{Instant, timeout_at};

/// No real event within the attempt's first-byte time.
pub(crate) const FIRST_EVENT: ErrorType = ErrorType::new("FirstEventDeadline");
/// The upstream fell silent in mid-answer.
pub(crate) const IDLE: ErrorType = ErrorType::new("IdleDeadline");
/// The request's total time is over.
pub(crate) const TOTAL: ErrorType = ErrorType::new("TotalDeadline");
/// The process is going down and the drain is over.
pub(crate) const SHUTDOWN: ErrorType = ErrorType::new("Shutdown");
/// The upstream's answer ended without its body's end.
pub(crate) const CUT_SHORT: ErrorType = ErrorType::new("CutShort");

/// How often a waiting stream looks at the shutdown flag. One timer per request serves all deadlines, so this costs a wake-up
/// per silent stream and second, and spares a list of all streams.
const CUT_CHECK: Duration = Duration::from_secs(1);

/// What happens once the batch that is being filtered has been written. Body filters ask for it instead of returning `Err`,
/// because an `Err` from a filter throws away the already filtered tasks of the same batch.
#[derive(Debug)]
pub(crate) enum After {
    /// End the client's stream; its connection stays usable. An H2 upstream is reset at once, an H1 upstream at its next bytes.
    End,
    /// Let the attempt fail: retry, failover or an error in band, as `error_while_proxy` decides.
    Fail(Box<Error>),
}

/// Comments while the model is silent. `header` is sent if the upstream has not sent its own by then.
pub(crate) struct Comments {
    pub(crate) every: Duration,
    pub(crate) text: Bytes,
    pub(crate) header: ResponseHeader,
}

type Late = Box<dyn FnOnce(&mut ResponseHeader) + Send>;

#[derive(Default)]
pub(super) struct State {
    first: Option<Instant>,
    /// Longest silence, and when it is over: running only once the upstream has said something.
    idle: Option<(Duration, Option<Instant>)>,
    total: Option<Instant>,
    pub(super) comments: Option<(Comments, Instant)>,
    pub(super) late: Option<Late>,
    pub(super) after: Option<After>,
    /// Status of the header that has left, or is on its way.
    pub(super) sent: Option<StatusCode>,
    content_sent: bool,
    /// Go on with the upstream when the client has left, to learn the usage.
    pub(super) drain: bool,
    pub(super) client_gone: bool,
}

/// Shared by the seam and the request's context; one lock, never held over an await.
pub(crate) struct Control {
    state: Mutex<State>,
    cut: Arc<AtomicBool>,
}

impl Control {
    /// `cut` is the process-wide flag that ends what still streams when the drain is over.
    pub(crate) fn new(cut: Arc<AtomicBool>) -> Arc<Control> {
        Arc::new(Control { state: Mutex::default(), cut })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// An attempt begins: `first` is the time until its first content (connecting is not watched here).
    pub(crate) fn start_attempt(&self, first: Option<Duration>, idle: Duration) {
        let mut state = self.state();
        let now = Instant::now();
        state.after = None;
        state.first = first.map(|wait| now + wait);
        state.idle = Some((idle, None));
    }

    pub(crate) fn set_total(&self, at: Instant) {
        self.state().total = Some(at);
    }

    pub(crate) fn set_drain(&self, drain: bool) {
        self.state().drain = drain;
    }

    pub(crate) fn set_comments(&self, comments: Comments, after: Duration) {
        let at = Instant::now() + after;
        self.state().comments = Some((comments, at));
    }

    /// Changes the header at the last moment, when it leaves the seam. Never runs if comments have sent a header before.
    pub(crate) fn set_late(&self, change: impl FnOnce(&mut ResponseHeader) + Send + 'static) {
        self.state().late = Some(Box::new(change));
    }

    pub(crate) fn after_batch(&self, after: After) {
        self.state().after = Some(after);
    }

    /// A header is on its way. `Session::response_written` is not enough: it lags behind a comment's half-written header.
    pub(crate) fn header_sent(&self) -> bool {
        self.status_sent().is_some()
    }

    /// Which status the client got.
    pub(crate) fn status_sent(&self) -> Option<StatusCode> {
        self.state().sent
    }

    pub(crate) fn content_sent(&self) -> bool {
        self.state().content_sent
    }

    pub(crate) fn client_gone(&self) -> bool {
        self.state().client_gone
    }

    /// A plain answer's header is here: from now on its silence counts, not the time until it leaves.
    pub(crate) fn on_plain_header(&self) {
        self.state().first = None;
    }

    /// The upstream said something, whether or not any of it leaves.
    pub(crate) fn on_upstream_bytes(&self) {
        if let Some((wait, at)) = &mut self.state().idle {
            *at = Some(Instant::now() + *wait);
        }
    }

    /// Content leaves for the client.
    pub(super) fn on_content(&self) {
        let mut state = self.state();
        state.content_sent = true;
        if let Some((comments, at)) = &mut state.comments {
            *at = Instant::now() + comments.every;
        }
    }

    /// What comes first: a deadline (`Some`), or the time to write a comment or to look again (`None`).
    pub(super) fn next_wake(&self, may_comment: bool) -> (Instant, Wake) {
        let state = self.state();
        let now = Instant::now();
        if self.cut.load(Ordering::Relaxed) {
            return (now, Wake::Deadline(SHUTDOWN));
        }
        // Before the first real event only that deadline counts, so a slow start is not mistaken for a stall.
        let first = state.first.filter(|_| !state.content_sent).map(|at| (at, Wake::Deadline(FIRST_EVENT)));
        let idle = state.idle.as_ref().filter(|_| first.is_none()).and_then(|(_, at)| *at);
        let idle = idle.map(|at| (at, Wake::Deadline(IDLE)));
        let total = state.total.map(|at| (at, Wake::Deadline(TOTAL)));
        let comments = state.comments.as_ref().filter(|_| may_comment && !state.client_gone);
        let comment = comments.map(|(_, at)| (*at, Wake::Comment));
        let look = (now + CUT_CHECK, Wake::Look);
        [first, idle, total, comment].into_iter().flatten().fold(look, |a, b| if b.0 < a.0 { b } else { a })
    }

    /// What has ended this request from outside: its total time, or the end of the drain.
    pub(crate) fn over(&self) -> Option<ErrorType> {
        if self.cut.load(Ordering::Relaxed) {
            return Some(SHUTDOWN);
        }
        self.state().total.filter(|total| *total <= Instant::now()).map(|_| TOTAL)
    }

    /// How long this request may still take; `None`: as long as it likes.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.state().total.map(|total| total.saturating_duration_since(Instant::now()))
    }

    /// Pingora polls nothing else while a write is blocked, so the total deadline and the end of a drain have to hold here too.
    /// Tagged as the client's fault: after a write that was cut nothing more may be written.
    pub(super) async fn bounded<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let total = self.state().total;
        let mut work = pin!(work);
        loop {
            let look = Instant::now() + CUT_CHECK;
            let until = total.map_or(look, |total| total.min(look));
            if let Ok(done) = timeout_at(until, work.as_mut()).await {
                return done;
            }
            if self.over().is_some() {
                let error = Error::explain(ErrorType::WriteTimedout, "the client does not read");
                return Err(error.into_down());
            }
        }
    }
}

/// Why a waiting seam wakes.
pub(super) enum Wake {
    Deadline(ErrorType),
    Comment,
    Look,
}
