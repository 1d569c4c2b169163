//! Reads the whole request body, within its bounds of size, time and total bytes in flight.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pingora_core::protocols::http::ServerSession;
use pingora_proxy::Session;
use tokio::time::timeout;
use tollgate_filters::verdict::{Code, Rejection};

use super::errors::Stop;
use crate::config::Bounds;
use crate::load::BodyPermit;

/// Longest time spent on reading away the body of a request that is refused, so that an HTTP/2 client reads the answer
/// (some lose it when the stream is reset under their upload) and an HTTP/1 connection stays usable.
const DISCARD: Duration = Duration::from_secs(2);

/// Reads the body, of any framing, up to `bounds.max_body`.
pub(crate) async fn read(
    session: &mut Session,
    bounds: &Bounds,
    permit: &mut BodyPermit,
) -> Result<Bytes, Stop> {
    let declared = declared_length(session);
    if declared.is_some_and(|declared| declared > bounds.max_body as u64) {
        return Err(too_large(bounds).into());
    }
    let expects = session.req_header().headers.get("expect");
    if expects.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        write_continue(session).await?;
    }
    let late = || {
        let message = format!(
            "The request body did not arrive within {} s. Send it faster, or send less.",
            bounds.body_timeout.as_secs()
        );
        Stop::from(Rejection::new(Code::RequestTimeout, message))
    };
    timeout(bounds.body_timeout, read_all(session, bounds, permit, declared))
        .await
        .unwrap_or_else(|_| Err(late()))
}

/// Pingora turns keep-alive off when it writes any header, this one too, before the body is read: turned on again where it was.
async fn write_continue(session: &mut Session) -> Result<(), Stop> {
    let kept = match &*session.downstream_session {
        ServerSession::H1(http1) => http1.will_keepalive(),
        _ => false,
    };
    session.downstream_session.write_continue_response().await?;
    if let (true, ServerSession::H1(http1)) = (kept, &mut *session.downstream_session) {
        http1.respect_keepalive();
    }
    Ok(())
}

async fn read_all(
    session: &mut Session,
    bounds: &Bounds,
    permit: &mut BodyPermit,
    declared: Option<u64>,
) -> Result<Bytes, Stop> {
    let Some(first) = read_piece(session).await? else {
        return Ok(Bytes::new());
    };
    let whole = declared.is_some_and(|declared| declared == first.len() as u64);
    // Room is taken as bytes come: a length that is only declared holds nobody else up.
    permit.grow_to(first.len(), bounds.max_bodies)?;
    if whole {
        return Ok(first); // one piece: nothing to copy
    }
    let mut body = BytesMut::with_capacity(first.len() * 2);
    let mut next = Some(first);
    while let Some(piece) = next {
        if body.len() + piece.len() > bounds.max_body {
            return Err(too_large(bounds).into());
        }
        permit.grow_to(body.len() + piece.len(), bounds.max_bodies)?;
        body.extend_from_slice(&piece);
        next = read_piece(session).await?;
    }
    Ok(body.freeze())
}

/// The next piece. Broken chunks (RFC 9112 section 7.1) get an answer; a connection that is gone does not.
async fn read_piece(session: &mut Session) -> Result<Option<Bytes>, Stop> {
    session.downstream_session.read_request_body().await.map_err(|error| {
        if error.etype().as_str() != "InvalidChunk" {
            return Stop::Broken(error);
        }
        let message = "The chunks of the request body are malformed. Send them as RFC 9112 section 7.1 says, or send Content-Length.";
        Rejection::new(Code::InvalidRequest, message).into()
    })
}

/// Before an early answer: reads the rest of the body away, for a bounded time, or closes the connection after the answer.
pub(crate) async fn discard(session: &mut Session, bounds: &Bounds) {
    if session.downstream_session.is_body_done() {
        return;
    }
    let huge = declared_length(session).is_some_and(|declared| declared > bounds.max_body as u64);
    let waits = session.req_header().headers.contains_key("expect");
    let is_h2 = matches!(*session.downstream_session, ServerSession::H2(_));
    if !is_h2 && (huge || waits) {
        session.set_keepalive(None);
        return;
    }
    let drained = timeout(DISCARD, session.downstream_session.drain_request_body()).await;
    if !matches!(drained, Ok(Ok(()))) {
        session.set_keepalive(None);
    }
}

fn declared_length(session: &Session) -> Option<u64> {
    session.req_header().headers.get("content-length")?.to_str().ok()?.parse().ok()
}

fn too_large(bounds: &Bounds) -> Rejection {
    let message = format!(
        "The request body is larger than {} bytes, the most this gateway takes. Send less text, or fewer and smaller files.",
        bounds.max_body
    );
    Rejection::new(Code::BodyTooLarge, message)
}
