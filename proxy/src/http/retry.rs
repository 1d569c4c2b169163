//! An attempt failed: the next target, or the end.

use std::sync::Arc;

use pingora_error::{Error, ErrorSource, ErrorType};
use tollgate_filters::audit::{self, Event};
use tollgate_filters::select::Failure;
use tollgate_filters::verdict::{Code, Rejection};

use super::ctx::{Exchange, Proxied, Running};
use super::seam::{FIRST_EVENT, IDLE, SHUTDOWN, TOTAL};
use super::stream::{GUARD_FAILED, REFUSED};
use crate::clock;
use crate::runtime::Live;
use crate::upstream::Outcome;

/// No connection came about: nothing was sent.
pub(crate) fn after_connect(exchange: &mut Exchange, mut error: Box<Error>) -> Box<Error> {
    let failure = match error.etype() {
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => Failure::Timeout,
        _ => Failure::Connect,
    };
    fail_attempt(exchange, failure, &error);
    error.set_retry(!exchange.client_gone()); // `route::next` says when there is no target left
    error
}

/// The connection stood; what came over it was an error or not enough.
pub(crate) fn after_error(exchange: &mut Exchange, mut error: Box<Error>, reused: bool) -> Box<Error> {
    let kind = error.etype().clone();
    if [FIRST_EVENT, IDLE, TOTAL, SHUTDOWN].contains(&kind) {
        error.as_up(); // Pingora blames the client for what the seam returns
    }
    error.set_retry(false); // undecided errors panic later: always decide
    let Some(proxied) = &mut exchange.proxied else { return error };
    if error.esource() == &ErrorSource::Downstream && !proxied.done {
        finish_attempt(exchange, Outcome::ClientGone, Some("client_gone"));
        return error;
    }
    if kind == REFUSED || proxied.done {
        finish_attempt(exchange, Outcome::Ok, None);
        return error;
    }
    if is_stale(&kind, reused, proxied) {
        proxied.stale_used = true;
        error.set_retry(true);
        return error;
    }
    if kind == ErrorType::WriteTimedout
        && let Some(running) = &proxied.attempt
    {
        // An HTTP/2 connection whose window is used up stays in the pool and fails every later request: leave it behind.
        running.attempt.forsake_pool();
    }
    if kind == GUARD_FAILED || kind == SHUTDOWN {
        // Ours, not the host's: it counts for neither side, as if the client had gone.
        let word = if kind == SHUTDOWN { "shutdown" } else { "guard" };
        finish_attempt(exchange, Outcome::ClientGone, Some(word));
        return error;
    }
    // Nobody listens any more: no further generation is started.
    let open = !proxied.control.content_sent() && !proxied.control.client_gone();
    let failure = classify(&kind, proxied);
    fail_attempt(exchange, failure, &error);
    error.set_retry(open && kind != TOTAL);
    error
}

/// A pooled connection that died while it was idle: the same target again, once, only if it has said nothing (on HTTP/2 a
/// stream that is reset in the middle of its answer looks the same), and only for somebody who waits for it.
fn is_stale(kind: &ErrorType, reused: bool, proxied: &Proxied) -> bool {
    let silent = proxied.attempt.as_ref().is_some_and(|running| running.answered.is_none());
    reused
        && silent
        && !proxied.stale_used
        && !proxied.control.content_sent()
        && !proxied.control.client_gone()
        && matches!(
            kind,
            ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError | ErrorType::H2Error
        )
}

fn classify(kind: &ErrorType, proxied: &Proxied) -> Failure {
    if let Some(failure) = proxied.attempt.as_ref().and_then(|running| running.failure) {
        return failure; // its status or its error event said more than the error does
    }
    let timeout = [FIRST_EVENT, IDLE, TOTAL].contains(kind)
        || matches!(kind, ErrorType::ReadTimedout | ErrorType::WriteTimedout);
    if timeout { Failure::Timeout } else { Failure::Broken }
}

/// Closes the attempt as failed.
fn fail_attempt(exchange: &mut Exchange, failure: Failure, error: &Error) {
    let Some(proxied) = &mut exchange.proxied else { return };
    let Some(running) = proxied.attempt.take() else { return };
    let name = running.attempt.name();
    tracing::debug!(%error, provider = name.provider, target_id = name.target, "attempt failed");
    note(&exchange.live, &mut exchange.facts.event, &running, &proxied.call.model, Some(failure.as_str()));
    proxied.plan.fail(running.attempt, failure, clock::now());
    // A shutdown is ours, not the host's: `errors::rejection_of` has its words.
    if proxied.control.content_sent() && exchange.failure.is_none() && error.etype() != &SHUTDOWN {
        exchange.failure = Some(broken_in_stream(failure));
    }
}

/// Gives the attempt back to its target at the end of the request.
pub(crate) fn finish_attempt(exchange: &mut Exchange, outcome: Outcome, error: Option<&'static str>) {
    let Some(proxied) = &mut exchange.proxied else { return };
    let Some(mut running) = proxied.attempt.take() else { return };
    note(&exchange.live, &mut exchange.facts.event, &running, &proxied.call.model, error);
    running.attempt.report(outcome, clock::now());
}

/// The attempt becomes a line of the record.
fn note(live: &Live, event: &mut Event, running: &Running, asked: &str, error: Option<&'static str>) {
    let Running { attempt, started, answered, .. } = running;
    let name = attempt.name();
    live.metrics.attempts.with_label_values(&[name.provider, name.target, error.unwrap_or("ok")]).inc();
    let target: Arc<str> = name.target.into();
    event.attempts.push(audit::Attempt {
        target: Arc::clone(&target),
        status: *answered,
        error: error.map(Into::into),
        ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    });
    let entry = attempt.target();
    event.provider = Some(Arc::clone(&attempt.provider().settings.id));
    event.target = Some(target);
    event.model = Some(attempt.model(asked).into());
    event.region = entry.labels.get("region").map(|region| region.as_str().into());
}

/// What the client is told when the upstream broke after content had left.
fn broken_in_stream(failure: Failure) -> Rejection {
    let (code, what) = match failure.is_timeout() {
        true => (Code::UpstreamTimeout, "fell silent"),
        false => (Code::UpstreamError, "failed"),
    };
    let message = format!(
        "The model's host {what} in the middle of the answer. What came so far is incomplete; send the request again."
    );
    Rejection::new(code, message)
}
