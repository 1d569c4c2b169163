//! The one place where an error becomes an HTTP answer, or an event in a stream that has begun.

use bytes::Bytes;
use http::{StatusCode, header};
use pingora_error::{Error, ErrorSource, ErrorType};
use pingora_proxy::{FailToProxy, Session};
use tollgate_filters::verdict::{Code, ErrorForm, Rejection};

use super::answer_head::{self, AnswerHead};
use super::ctx::Exchange;
use super::endpoint::Endpoint;
use super::seam::{FIRST_EVENT, IDLE, SHUTDOWN, TOTAL};

/// Why a phase stops early: a refusal that the client is told, or a connection that is no more.
#[derive(Debug)]
pub(crate) enum Stop {
    Refused(Rejection),
    Broken(Box<Error>),
}

impl From<Rejection> for Stop {
    fn from(rejection: Rejection) -> Stop {
        Stop::Refused(rejection)
    }
}

impl From<Box<Error>> for Stop {
    fn from(error: Box<Error>) -> Stop {
        Stop::Broken(error)
    }
}

/// Writes `rejection` as the whole answer. The request body may still be unread; see [`super::body::discard`].
pub(crate) async fn respond(
    session: &mut Session,
    exchange: &mut Exchange,
    rejection: &Rejection,
    form: ErrorForm,
) -> pingora_error::Result<()> {
    let body = rejection.body(form, exchange.request_id());
    let status = StatusCode::from_u16(rejection.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut head = AnswerHead::new(status);
    head.set_static(header::CONTENT_TYPE, "application/json");
    head.set_number(header::CONTENT_LENGTH, body.len());
    head.set_static(header::CACHE_CONTROL, "no-store");
    if let Some(seconds) = rejection.retry_after_secs() {
        head.set_number(header::RETRY_AFTER, seconds);
    }
    if rejection.is_permanent() {
        head.set_static(answer_head::SHOULD_RETRY, "false");
    }
    match rejection.code {
        Code::InvalidApiKey | Code::InvalidToken | Code::TokenExpired => {
            head.set_static(header::WWW_AUTHENTICATE, "Bearer"); // RFC 9110 section 11.6.1
        }
        Code::MethodNotAllowed => {
            let allow = Endpoint::allowed(session.req_header().uri.path());
            head.set_static(header::ALLOW, allow); // RFC 9110 section 15.5.6
        }
        _ => {}
    }
    exchange.decorate(&mut head);
    exchange.facts.refuse(rejection);
    exchange.facts.event.http_status = rejection.code.status();
    let headless = session.req_header().method == http::Method::HEAD;
    session.write_response_header(head.into(), headless).await?;
    if headless {
        return Ok(());
    }
    session.write_response_body(Some(Bytes::from(body)), true).await
}

/// Pingora's `fail_to_proxy`: the last error of all attempts, or of a phase.
pub(crate) async fn fail(session: &mut Session, error: &Error, exchange: &mut Exchange) -> FailToProxy {
    let over = exchange.proxied.as_ref().is_some_and(|proxied| proxied.done)
        || exchange.client_gone()
        || (error.esource() == &ErrorSource::Downstream && exchange.failure.is_none());
    if over {
        return FailToProxy { error_code: 0, can_reuse_downstream: false };
    }
    let rejection = exchange.failure.take().unwrap_or_else(|| rejection_of(error));
    if exchange.header_sent() {
        let event = exchange.in_band_error(&rejection);
        exchange.facts.refuse(&rejection);
        if event.is_empty() {
            // Half a document: nothing can be said inside it, so the connection breaks instead of ending well.
            return FailToProxy { error_code: rejection.code.status(), can_reuse_downstream: false };
        }
        if let Err(error) = session.write_response_body(Some(event), true).await {
            tracing::debug!(%error, "the error event could not be written");
        }
    } else if let Err(error) = {
        let form = exchange.error_form();
        respond(session, exchange, &rejection, form).await
    } {
        tracing::debug!(%error, "the error answer could not be written");
    }
    FailToProxy { error_code: rejection.code.status(), can_reuse_downstream: false }
}

/// The caller's view of an error that no attempt explained.
pub(crate) fn rejection_of(error: &Error) -> Rejection {
    let timeout = [FIRST_EVENT, IDLE, TOTAL].contains(error.etype())
        || matches!(
            error.etype(),
            ErrorType::ReadTimedout | ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout
        );
    if timeout {
        let message = "The model did not answer in time. Try again, or ask for a shorter answer.";
        return Rejection::new(Code::UpstreamTimeout, message);
    }
    if error.etype() == &SHUTDOWN {
        let message =
            "This gateway instance is shutting down and could not finish the answer. Send the request again.";
        return Rejection::new(Code::Overloaded, message).with_retry_after(std::time::Duration::from_secs(1));
    }
    let message = "The model's host failed while it answered. Try again.";
    Rejection::new(Code::UpstreamError, message)
}
