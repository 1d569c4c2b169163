//! The next target of the plan becomes a peer that Pingora can connect to.

use std::time::{Duration, Instant};

use pingora_core::protocols::ALPN;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, ErrorType, Result};

use tollgate_filters::verdict::{Code, Rejection};

use super::ctx::{Exchange, Running};
use super::retry;
use crate::clock;
use crate::config::ClientGone;
use crate::upstream::{Attempt, Outcome};

/// No target is left to try.
pub(crate) const NO_TARGET: ErrorType = ErrorType::new("NoTarget");

/// Streams that share one HTTP/2 connection to an upstream; Pingora's default is 1.
const H2_STREAMS: usize = 100;
/// How long an unused connection stays in the pool: below the keep-alive time of common servers.
const POOL_IDLE: Duration = Duration::from_secs(50);

pub(crate) fn next(exchange: &mut Exchange) -> Result<Box<HttpPeer>> {
    let Some(proxied) = &mut exchange.proxied else {
        return Error::e_explain(ErrorType::InternalError, "an upstream was asked for before admission");
    };
    proxied.deaf = false;
    // Nothing watches the time while a connection is made, so it is looked at before each.
    if let Some(over) = proxied.control.over() {
        // Of a pooled connection that had died: its host has said nothing, good or bad.
        retry::finish_attempt(exchange, Outcome::ClientGone, Some("stale"));
        return Error::e_explain(over, "before the next attempt");
    }
    let attempt = match proxied.attempt.take() {
        // The same target once more: its pooled connection had died while it was idle.
        Some(stale) => stale.attempt,
        None => match proxied.plan.next(clock::now()) {
            Some(attempt) => {
                if attempt.number() > 1 {
                    let model = exchange.facts.model_label.as_deref().unwrap_or("");
                    exchange.live.metrics.failovers.with_label_values(&[model]).inc();
                }
                attempt
            }
            None => {
                let rejection = if proxied.unreadable() {
                    let message =
                        "The answer could not be checked (it cannot be read), so it is not passed on.";
                    exchange.runtime.guard.failed(Rejection::new(Code::GuardrailFailed, message))
                } else {
                    proxied.plan.rejection(clock::now())
                };
                exchange.failure.get_or_insert(rejection);
                return Error::e_explain(NO_TARGET, "no target is left");
            }
        },
    };
    proxied.serving.set(&attempt.provider().settings.id, attempt.model(&proxied.call.model));
    let timeouts = attempt.target().timeouts;
    // Until the first real event of a stream, or the header of a plain answer.
    let first = proxied.first_byte.unwrap_or(timeouts.first_byte);
    proxied.control.start_attempt(Some(first), timeouts.idle);
    proxied.control.set_drain(attempt.provider().settings.on_client_gone == ClientGone::Drain);
    let peer = peer(&attempt, proxied.control.left());
    proxied.attempt = Some(Running { attempt, started: Instant::now(), answered: None, failure: None });
    Ok(Box::new(peer))
}

/// `left`: of the whole request's time.
fn peer(attempt: &Attempt, left: Option<Duration>) -> HttpPeer {
    let timeouts = attempt.target().timeouts;
    let connect = left.map_or(timeouts.connect, |left| left.min(timeouts.connect));
    let provider = attempt.provider();
    let mut peer = HttpPeer::new(attempt.address(), attempt.is_tls(), attempt.sni().to_owned());
    peer.group_key = attempt.group_key();
    peer.client_cert_key = provider.client_cert().cloned();
    let options = &mut peer.options;
    options.connection_timeout = Some(connect);
    options.total_connection_timeout = Some(connect);
    // The seam keeps the finer deadlines; these bound what it cannot see (an ended stream that waits for its upstream).
    options.read_timeout = Some(timeouts.total.min(timeouts.first_byte.max(timeouts.idle)));
    options.write_timeout = Some(timeouts.idle);
    options.idle_timeout = Some(POOL_IDLE);
    options.max_h2_streams = H2_STREAMS;
    options.ca = provider.ca().cloned();
    options.alpn = match (provider.settings.h2, attempt.is_tls()) {
        (true, true) => ALPN::H2H1,
        (true, false) => ALPN::H2,
        (false, _) => ALPN::H1,
    };
    peer
}

pub(crate) fn connected(exchange: &Exchange, reused: bool) {
    let Some(running) = exchange.proxied.as_ref().and_then(|proxied| proxied.attempt.as_ref()) else {
        return;
    };
    let provider = running.attempt.name().provider;
    let reused = if reused { "true" } else { "false" };
    exchange.live.metrics.connections.with_label_values(&[provider, reused]).inc();
}
