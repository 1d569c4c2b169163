//! The answer's bytes go through the pipeline; what comes out of it decides what the seam does next.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use bytes::Bytes;
use pingora_error::{Error, ErrorSource, ErrorType};
use serde_json::Value;
use tollgate_filters::answer::{Fault, FaultKind, Form, Step};
use tollgate_filters::chat::Api;
use tollgate_filters::select::{self, Failure, Judgement};
use tollgate_filters::verdict::{Code, Rejection};

use super::ctx::{Exchange, Proxied};
use super::seam::After;
use crate::clock;
use crate::fail;
use crate::upstream::Outcome;

/// The upstream sent something that is not the answer it began.
pub(crate) const BAD_ANSWER: ErrorType = ErrorType::new("BadAnswer");
/// An error event says that the request is wrong: it would be so everywhere.
pub(crate) const REFUSED: ErrorType = ErrorType::new("UpstreamRefused");
/// A guard could not read the answer.
pub(crate) const GUARD_FAILED: ErrorType = ErrorType::new("GuardFailed");

/// Bytes of an upstream's error answer that are kept to be told in a stream.
const MAX_LATE_ERROR: usize = 64 * 1024;

/// Pingora's body filter.
pub(crate) fn answer(exchange: &mut Exchange, body: &mut Option<Bytes>, end: bool) {
    let Some(proxied) = &mut exchange.proxied else { return };
    if proxied.late.is_some() {
        return late_error(exchange, body, end);
    }
    let had_content = proxied.pipeline.has_content();
    if let Some(rejection) = filter(proxied, &exchange.facts.event.request_id, body, end) {
        exchange.failure = Some(exchange.runtime.guard.failed(rejection));
    }
    if !had_content && proxied.pipeline.has_content() {
        exchange.facts.first_content = Some(Instant::now());
        // Now, not at the end: a half-open breaker waits for it, and a stream may take minutes. A later failure still counts.
        if let Some(running) = &mut proxied.attempt {
            running.attempt.report(Outcome::Ok, clock::now());
        }
        // From here on nothing is sent again: the request's body gives its bytes back.
        (proxied.body, proxied.outgoing) = (Bytes::new(), Bytes::new());
        exchange.permits.body = None;
    }
    // Embeddings leave in pieces: only what came out of the pipeline at once has a length to declare.
    let whole = end && !had_content && proxied.form == Form::Plain && !proxied.control.header_sent();
    if whole && let Some(bytes) = body {
        *bytes = super::respond::plain_is_whole(exchange, std::mem::take(bytes));
    }
}

/// Collects an error answer that came too late for a status, and writes it as the stream's error event.
fn late_error(exchange: &mut Exchange, body: &mut Option<Bytes>, end: bool) {
    let Some(proxied) = &mut exchange.proxied else { return };
    let Some(late) = &mut proxied.late else { return };
    proxied.control.on_upstream_bytes();
    if let Some(bytes) = body.take() {
        let room = MAX_LATE_ERROR.saturating_sub(late.body.len());
        late.body.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
    if !end {
        return;
    }
    let told: Value = serde_json::from_slice(&std::mem::take(&mut late.body)).unwrap_or_default();
    *body = Some(match (proxied.call.api, told["error"].is_object()) {
        // Word for word: clients act on its code and message.
        (Api::Messages, true) => format!("event: error\ndata: {told}\n\n").into(),
        (Api::Chat | Api::Completions, true) => format!("data: {told}\n\n").into(),
        _ => {
            let message = told["error"]["message"].as_str().or_else(|| told["message"].as_str());
            let message = message.unwrap_or("The model's host refused the request and did not say why.");
            exchange.in_band_error(&Rejection::new(Code::InvalidRequest, message))
        }
    });
}

/// One batch of upstream bytes. `body` is replaced by what may leave.
fn filter(proxied: &mut Proxied, request_id: &str, body: &mut Option<Bytes>, end: bool) -> Option<Rejection> {
    proxied.control.on_upstream_bytes();
    if proxied.deaf {
        *body = None;
        return None;
    }
    let mut out = std::mem::take(&mut proxied.scratch);
    let pipeline = &mut proxied.pipeline;
    let passed = catch_unwind(AssertUnwindSafe(|| {
        let place = if pipeline.has_content() { "pipeline in mid-answer" } else { "pipeline" };
        let step = match body.as_deref() {
            Some(bytes) if !bytes.is_empty() => pipeline.push(bytes, &mut out),
            _ => Step::More,
        };
        fail::point(place, request_id);
        if end && matches!(step, Step::More) { pipeline.finish(&mut out) } else { step }
    }));
    let step = passed.unwrap_or_else(|_| {
        tracing::error!(request_id, "the answer's pipeline panicked");
        out.clear();
        proxied.pipeline.give_up("a fault in the gateway")
    });
    proxied.held.note(proxied.pipeline.held(), Instant::now);
    let failure = act(proxied, step, end);
    *body = (!out.is_empty()).then(|| Bytes::copy_from_slice(&out));
    out.clear();
    proxied.scratch = out;
    failure
}

/// Returns a rejection that is final, whatever other attempts would say.
fn act(proxied: &mut Proxied, step: Step, end: bool) -> Option<Rejection> {
    match step {
        Step::More => None,
        Step::Done => {
            proxied.deaf = true;
            proxied.done = true;
            proxied.left_early = proxied.control.client_gone(); // a target that drains was heard to its end without it
            if !end {
                proxied.control.after_batch(After::End); // the client has it all: what the upstream does now is its own affair
            }
            None
        }
        Step::Blocked => {
            proxied.deaf = true;
            proxied.blocked = true;
            if !end {
                proxied.control.after_batch(After::End);
            }
            None
        }
        Step::UpstreamFailed(fault) if is_clients(&fault) && !proxied.pipeline.has_content() => {
            proxied.deaf = true;
            proxied.control.after_batch(After::Fail(Error::create(
                REFUSED,
                ErrorSource::Upstream,
                None,
                None,
            )));
            Some(Rejection::new(Code::InvalidRequest, fault.message))
        }
        Step::UpstreamFailed(fault) => {
            proxied.deaf = true;
            // Its kind alone: the upstream's words may quote the prompt, and errors are logged.
            let mut error = Error::explain(BAD_ANSWER, format!("{:?}", fault.kind));
            error.as_up();
            if let Some(running) = &mut proxied.attempt {
                running.failure = Some(failure_of(&fault));
            }
            proxied.control.after_batch(After::Fail(error));
            None
        }
        Step::GuardFailed(why) => {
            proxied.deaf = true;
            let mut error = Error::explain(GUARD_FAILED, why);
            error.as_up();
            proxied.control.after_batch(After::Fail(error));
            let message = format!("The answer could not be checked ({why}), so it is not passed on.");
            Some(Rejection::new(Code::GuardrailFailed, message))
        }
    }
}

/// Whether the upstream's error is about the request, as a status would have said.
fn is_clients(fault: &Fault) -> bool {
    let deliver =
        |status| (400..500).contains(&status) && select::judge_status(status, None) == Judgement::Deliver;
    fault.kind == FaultKind::ErrorEvent && fault.status.is_some_and(deliver)
}

/// What an answer that began well says about its target.
fn failure_of(fault: &Fault) -> Failure {
    match (fault.kind, fault.status) {
        (FaultKind::ErrorEvent, Some(status)) => match select::judge_status(status, None) {
            Judgement::Next(failure) if failure.is_timeout() => Failure::Timeout,
            // Our account there, not the host.
            Judgement::Next(failure) if !failure.is_hosts_fault() => failure,
            _ => Failure::ErrorEvent, // the status of the answer itself was 200
        },
        (FaultKind::ErrorEvent, None) => Failure::ErrorEvent,
        (FaultKind::Truncated, _) => Failure::Broken,
        (FaultKind::Malformed | FaultKind::TooLarge, _) => Failure::Malformed,
    }
}
