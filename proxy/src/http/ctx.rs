//! What one request carries from phase to phase.
//!
//! The stages are types: [`Exchange`] is what every request has, from its head to its record; [`Proxied`] exists only once the
//! request was authenticated, admitted and screened, and holds what the attempts need. Dropping an [`Exchange`] closes it, so
//! that a panic or a killed task settles limits and writes its audit event like every other end.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::HeaderValue;
use tollgate_filters::answer::{Form, Pipeline};
use tollgate_filters::audit::{Event, Status};
use tollgate_filters::chat::{Call, TokenEstimate};
use tollgate_filters::identity::Caller;
use tollgate_filters::select::Failure;
use tollgate_filters::verdict::{Code, ErrorForm, Rejection};

use super::answer_head::{self, AnswerHead};
use super::metadata::Serving;
use super::seam::{Control, Home};
use crate::audit::AuditSlot;
use crate::guard::Policies;
use crate::limits::{Reservation, Standing};
use crate::load::{BodyPermit, RequestPermit};
use crate::runtime::{Live, Runtime};
use crate::upstream::{Attempt, Plan};

/// One request, from its head to its record.
pub struct Exchange {
    /// Taken once: a reload never changes rules in mid-request.
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) live: Arc<Live>,
    pub(crate) started: Instant,
    pub(crate) form: ErrorForm,
    pub(crate) facts: Facts,
    pub(crate) permits: Permits,
    pub(crate) cors: Vec<(http::HeaderName, HeaderValue)>,
    pub(crate) proxied: Option<Box<Proxied>>,
    /// Decided by a phase or an attempt; what the client is told when nothing better comes.
    pub(crate) failure: Option<Rejection>,
    pub(crate) closed: bool,
}

/// What must be given back, each exactly once.
#[derive(Default)]
pub(crate) struct Permits {
    pub(crate) request: Option<RequestPermit>,
    pub(crate) body: Option<BodyPermit>,
    pub(crate) reservation: Option<Reservation>,
    pub(crate) slot: Option<AuditSlot>,
}

/// What is known of the request so far; becomes its record.
pub(crate) struct Facts {
    pub(crate) event: Event,
    pub(crate) endpoint: &'static str,
    /// The configured model's name: a bounded label.
    pub(crate) model_label: Option<Arc<str>>,
    pub(crate) caller: Option<Caller>,
    pub(crate) rejection: Option<Rejection>,
    /// Time the gateway itself took, without waiting for the client's body or an upstream.
    pub(crate) overhead: Duration,
    pub(crate) first_content: Option<Instant>,
    /// When the client's body was whole.
    pub(crate) body_read: Option<Instant>,
    /// Local answers (health, models, preflight) that were not refused leave no audit event.
    pub(crate) audited: bool,
    pub(crate) estimate: TokenEstimate,
    /// Of the caller's limits, right after this request was admitted or refused by one.
    pub(crate) standing: Standing,
}

/// An admitted request on its way through its attempts.
pub(crate) struct Proxied {
    pub(crate) call: Call,
    /// As it goes upstream, but for the target's model name.
    pub(crate) body: Bytes,
    pub(crate) edits: tollgate_filters::json::Edits,
    /// This attempt's body.
    pub(crate) outgoing: Bytes,
    pub(crate) plan: Plan,
    pub(crate) policies: Policies,
    pub(crate) pipeline: Pipeline,
    pub(crate) control: Arc<Control>,
    pub(crate) home: Option<Home>,
    pub(crate) attempt: Option<Running>,
    pub(crate) serving: Serving,
    pub(crate) team: Option<Arc<str>>,
    /// The route's own first-byte time, for every target.
    pub(crate) first_byte: Option<Duration>,
    /// Nothing more of this attempt is wanted.
    pub(crate) deaf: bool,
    /// Of this attempt's answer.
    pub(crate) form: Form,
    pub(crate) blocked: bool,
    /// The whole answer was read.
    pub(crate) done: bool,
    /// The client was gone by then.
    pub(crate) left_early: bool,
    /// The upstream's own error came after comments had sent the header: it is told in the stream.
    pub(crate) late: Option<LateError>,
    /// A stale pooled connection was replaced once.
    pub(crate) stale_used: bool,
    pub(crate) scratch: Vec<u8>,
    pub(crate) held: Held,
}

impl Proxied {
    /// Every target was tried, each streamed what cannot be read, and a guard had to read it.
    pub(crate) fn unreadable(&self) -> bool {
        self.form == Form::Events
            && !self.policies.answer.is_idle()
            && self.plan.all_failed_as(Failure::Malformed)
    }
}

/// What a stream held back, as its metrics tell it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Held {
    since: Option<Instant>,
    pub(crate) longest: Duration,
    pub(crate) most: usize,
}

impl Held {
    /// So many bytes are held now.
    pub(crate) fn note(&mut self, bytes: usize, now: impl FnOnce() -> Instant) {
        self.most = self.most.max(bytes);
        match (bytes, self.since) {
            (0, None) | (1.., Some(_)) => {}
            (0, Some(since)) => {
                self.longest = self.longest.max(now().saturating_duration_since(since));
                self.since = None;
            }
            (_, None) => self.since = Some(now()),
        }
    }

    /// With what is still held at `now`.
    pub(crate) fn so_far(mut self, now: Instant) -> Held {
        self.note(0, || now);
        self
    }
}

/// An upstream's own error answer that the client can only be told inside its stream.
#[derive(Default)]
pub(crate) struct LateError {
    pub(crate) body: Vec<u8>,
}

/// The attempt that is running.
pub(crate) struct Running {
    pub(crate) attempt: Attempt,
    pub(crate) started: Instant,
    /// Status of the upstream's answer, once its header is here.
    pub(crate) answered: Option<u16>,
    /// What its status, or an error event, said.
    pub(crate) failure: Option<Failure>,
}

impl Exchange {
    pub(crate) fn new(runtime: Arc<Runtime>, live: Arc<Live>) -> Exchange {
        Exchange {
            runtime,
            live,
            started: Instant::now(),
            form: ErrorForm::OpenAi,
            facts: Facts::new(),
            permits: Permits::default(),
            cors: Vec::new(),
            proxied: None,
            failure: None,
            closed: false,
        }
    }

    pub(crate) fn request_id(&self) -> &str {
        &self.facts.event.request_id
    }

    pub(crate) fn error_form(&self) -> ErrorForm {
        self.form
    }

    pub(crate) fn header_sent(&self) -> bool {
        self.proxied.as_ref().is_some_and(|proxied| proxied.control.header_sent())
    }

    pub(crate) fn client_gone(&self) -> bool {
        self.proxied.as_ref().is_some_and(|proxied| proxied.control.client_gone())
    }

    /// An error as the surface's own event, in a stream that has begun.
    pub(crate) fn in_band_error(&mut self, rejection: &Rejection) -> Bytes {
        let mut out = Vec::new();
        let id = Arc::clone(&self.facts.event.request_id);
        if let Some(proxied) = &mut self.proxied {
            if !proxied.pipeline.has_content() {
                // A header without content is that of comments: a stream, whatever this attempt's answer was.
                proxied.pipeline.begin(Form::Events);
            }
            proxied.pipeline.fail(rejection, &id, &mut out);
        }
        out.into()
    }

    /// The headers that every answer carries, whoever wrote its body.
    pub(crate) fn decorate(&self, head: &mut AnswerHead) {
        head.set_text(answer_head::REQUEST_ID, self.request_id());
        if self.form == ErrorForm::Anthropic {
            head.set_text(answer_head::ANTHROPIC_REQUEST_ID, self.request_id());
        }
        for (name, value) in &self.cors {
            head.set(name.clone(), value.clone());
        }
        super::respond::limit_headers(head, &self.facts.standing, self.form, self.facts.event.ts);
        head.set_number(answer_head::OVERHEAD, self.facts.overhead.as_micros());
    }
}

impl Facts {
    fn new() -> Facts {
        Facts {
            event: Event { ts: SystemTime::now().into(), status: Status::Error, ..Event::default() },
            endpoint: "unknown",
            model_label: None,
            caller: None,
            rejection: None,
            overhead: Duration::ZERO,
            first_content: None,
            body_read: None,
            audited: true,
            estimate: TokenEstimate::default(),
            standing: Standing::default(),
        }
    }

    /// The client is (or would have been) told this, by a status or in its stream.
    pub(crate) fn refuse(&mut self, rejection: &Rejection) {
        self.event.code = Some(rejection.code.as_str().into());
        self.event.status = match rejection.code {
            Code::PiiDetected | Code::SecretDetected | Code::PromptInjection => Status::Blocked,
            _ => Status::Error,
        };
        self.rejection = Some(rejection.clone());
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.closed {
            super::finish::close(self, super::finish::End::Abandoned);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_time_in_a_row_and_the_most_bytes() {
        let start = Instant::now();
        let at = |ms| move || start + Duration::from_millis(ms);
        let mut held = Held::default();
        for (bytes, ms) in [(0, 0), (5, 10), (9, 15), (0, 30), (3, 50), (0, 55), (1, 60)] {
            held.note(bytes, at(ms));
        }
        assert_eq!((held.longest, held.most), (Duration::from_millis(20), 9));
        assert_eq!(held.so_far(start + Duration::from_millis(90)).longest, Duration::from_millis(30));
    }
}
