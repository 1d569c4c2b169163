//! From the request's head to an admitted call: which endpoint, who calls, what it asks for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use pingora_core::protocols::l4::socket::SocketAddr as PeerAddr;
use pingora_proxy::Session;
use tollgate_filters::chat::{self, Api, Call, ReadBounds};
use tollgate_filters::identity::{Caller, Role};
use tollgate_filters::verdict::{Code, Rejection};

use super::answer_head::AnswerHead;
use super::ctx::Exchange;
use super::endpoint::Endpoint;
use super::errors::Stop;
use super::{admit, body, local};
use crate::auth::cors::{self, Decision};
use crate::auth::{Head, audit_headers, client_address};
use crate::config::Route;

/// Longest wait for a client that does not read an answer written before any upstream was asked.
const EARLY_WRITE: Duration = Duration::from_secs(30);

/// What follows the request filter.
pub(crate) enum Next {
    /// The call is admitted: to the upstreams.
    Upstream,
    /// The whole answer has been written.
    Answered,
}

/// Everything before the upstream, in the order of the life of a request.
pub(crate) async fn receive(session: &mut Session, exchange: &mut Exchange) -> Result<Next, Stop> {
    if exchange.live.lifecycle.is_leaving() {
        session.set_keepalive(None); // `connection: close`; HTTP/2 gets its GOAWAY from Pingora
    }
    session.downstream_session.set_write_timeout(Some(EARLY_WRITE));
    identify(session, exchange);
    check_head(session)?;
    ignore_upgrade(session);
    if let Some(next) = cross_origin(session, exchange).await? {
        return Ok(next);
    }
    let path = session.req_header().uri.path().to_owned();
    let endpoint = Endpoint::find(&session.req_header().method, &path)?;
    exchange.facts.endpoint = endpoint.as_str();
    match endpoint {
        Endpoint::Health => local::health(session, exchange).await,
        Endpoint::HealthReady => local::health_ready(session, exchange).await,
        Endpoint::Ready => local::ready(session, exchange).await,
        Endpoint::Startup => local::startup(session, exchange).await,
        Endpoint::Models { one } => {
            enter(exchange)?;
            let caller = authenticate(session, exchange, None).await?;
            exchange.facts.audited = false;
            local::models(session, exchange, &caller, one.as_deref()).await
        }
        Endpoint::Api(api) => {
            enter(exchange)?;
            call(session, exchange, api).await
        }
        Endpoint::Predict { team } => {
            enter(exchange)?;
            predict(session, exchange, &team).await
        }
    }
}

/// Takes the request's place among those in flight. After that the process looks whether there are any, before it ends; so the
/// place first, then the look whether it ends.
fn enter(exchange: &mut Exchange) -> Result<(), Rejection> {
    let permit = exchange.live.load.enter(exchange.runtime.config.bounds.max_requests)?;
    if exchange.live.lifecycle.is_cut() {
        return Err(shutting_down());
    }
    exchange.permits.request = Some(permit);
    Ok(())
}

fn shutting_down() -> Rejection {
    let message = "This gateway instance is shutting down. Send the request again.";
    Rejection::new(Code::Overloaded, message).with_retry_after(Duration::from_secs(1))
}

async fn call(session: &mut Session, exchange: &mut Exchange, api: Api) -> Result<Next, Stop> {
    exchange.facts.event.api = Some(api.as_str().into());
    let runtime = Arc::clone(&exchange.runtime);
    let route = runtime.surface_route(None);
    let caller = authenticate(session, exchange, route).await?;
    let body = read_body(session, exchange).await?;
    let bounds = ReadBounds { max_depth: runtime.config.bounds.max_depth, ..ReadBounds::default() };
    let call = Call::read(api, &body, bounds)?;
    // A rule for this very model may ask for more than the general one.
    let route = runtime.surface_route(Some(&call.model)).or(route);
    rules_of_route(&session.req_header().headers, exchange, &caller, route)?;
    admit::admit(session, exchange, admit::Asked { caller, call, body, route, team: None }).await
}

async fn predict(session: &mut Session, exchange: &mut Exchange, team: &str) -> Result<Next, Stop> {
    let runtime = Arc::clone(&exchange.runtime);
    let Some((route, model)) = runtime.team(team).and_then(|route| Some((route, route.model.as_deref()?)))
    else {
        let message = "There is no such team route here. Check the team's name in the path.";
        return Err(Rejection::new(Code::NotFound, message).into());
    };
    exchange.facts.event.api = Some(Api::Chat.as_str().into());
    exchange.facts.event.route = route.team.clone();
    let caller = authenticate(session, exchange, Some(route)).await?;
    let body = read_body(session, exchange).await?;
    let bounds = ReadBounds { max_depth: runtime.config.bounds.max_depth, ..ReadBounds::default() };
    let (body, call) = chat::predict(&body, model, bounds)?;
    rules_of_route(&session.req_header().headers, exchange, &caller, Some(route))?;
    let team = route.team.clone();
    admit::admit(session, exchange, admit::Asked { caller, call, body, route: Some(route), team }).await
}

async fn read_body(session: &mut Session, exchange: &mut Exchange) -> Result<Bytes, Stop> {
    exchange.facts.overhead = exchange.started.elapsed();
    let mut permit = exchange.live.load.body();
    let body = tokio::select! {
        body = body::read(session, &exchange.runtime.config.bounds, &mut permit) => body?,
        () = exchange.live.lifecycle.over() => return Err(shutting_down().into()),
    };
    exchange.permits.body = Some(permit);
    exchange.facts.body_read = Some(std::time::Instant::now());
    Ok(body)
}

async fn authenticate(
    session: &mut Session,
    exchange: &mut Exchange,
    route: Option<&Route>,
) -> Result<Caller, Rejection> {
    let live = Arc::clone(&exchange.live);
    let runtime = Arc::clone(&exchange.runtime);
    let headers: &HeaderMap = &session.req_header().headers;
    let authority = session.req_header().uri.authority().map(http::uri::Authority::as_str);
    let head = Head { headers, authority };
    let anonymous = route.and_then(|route| route.anonymous_as.as_ref());
    let caller = match anonymous.and_then(|organization| runtime.directory.anonymous(organization, head)) {
        Some(caller) => caller,
        None => {
            let result = live.authenticator.authenticate(&runtime.directory, head, SystemTime::now()).await;
            result.inspect_err(|rejection| {
                live.metrics.auth_failures.with_label_values(&[rejection.code.as_str()]).inc();
            })?
        }
    };
    let event = &mut exchange.facts.event;
    event.org = Some(Arc::clone(&caller.organization));
    event.app = Some(Arc::clone(&caller.application));
    event.user = caller.user.clone();
    event.key_id = caller.key_id.clone();
    exchange.facts.caller = Some(caller.clone());
    Ok(caller)
}

/// What a route asks of its callers: a role, headers that the audit trail needs.
fn rules_of_route(
    headers: &HeaderMap,
    exchange: &mut Exchange,
    caller: &Caller,
    route: Option<&Route>,
) -> Result<(), Rejection> {
    let minimum = route.and_then(|route| route.minimum_role).unwrap_or(Role::Auditor);
    if caller.role < minimum {
        let message =
            format!("This route needs the role {minimum:?} or above; ask your administrator for it.");
        return Err(Rejection::new(Code::ForbiddenRole, message));
    }
    let required = route.map_or(&[][..], |route| &route.required_headers);
    let asserted = audit_headers(headers, required, caller)?;
    let event = &mut exchange.facts.event;
    event.source = asserted.source;
    event.request_type = asserted.request_type;
    event.asserted_user = asserted.user;
    Ok(())
}

/// Ids and addresses, from headers that prove nothing but are worth having.
fn identify(session: &Session, exchange: &mut Exchange) {
    let head = session.req_header();
    let id =
        head.headers.get("x-request-id").and_then(|value| value.to_str().ok()).filter(|id| is_plain_id(id));
    let id = id.map_or_else(|| uuid::Uuid::now_v7().to_string().into(), Arc::from);
    let trace = head.headers.get("traceparent").and_then(|value| value.to_str().ok()).and_then(trace_id);
    exchange.facts.event.request_id = id;
    exchange.facts.event.trace_id = trace.map(str::to_owned);
    exchange.form = Endpoint::error_form(head.uri.path());
    let peer = session.client_addr().and_then(inet);
    let listener = exchange.runtime.listener(session.server_addr().and_then(inet));
    let trusted = listener.map_or(&[][..], |listener| &listener.trusted_proxies);
    exchange.facts.event.client_ip = peer.map(|peer| client_address(peer.ip(), &head.headers, trusted));
}

fn inet(address: &PeerAddr) -> Option<SocketAddr> {
    address.as_inet().copied()
}

/// 1 to 128 characters that cannot break a log line or a header.
fn is_plain_id(id: &str) -> bool {
    (1..=128).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}

/// The trace id of a W3C `traceparent` (version 00): 32 hex digits between the first two dashes, not all zero.
fn trace_id(traceparent: &str) -> Option<&str> {
    let mut parts = traceparent.split('-');
    let (version, id) = (parts.next()?, parts.next()?);
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase());
    let good =
        version.len() == 2 && version != "ff" && id.len() == 32 && hex(id) && id.bytes().any(|b| b != b'0');
    good.then_some(id)
}

/// Pingora accepts an HTTP/1.1 request without Host (RFC 9112 section 3.2: must be 400); ambiguous framing it refuses itself.
fn check_head(session: &Session) -> Result<(), Rejection> {
    let head = session.req_header();
    if head.version == Version::HTTP_11 && !head.headers.contains_key("host") {
        let message = "The request has no Host header. HTTP/1.1 requires one (RFC 9112 section 3.2).";
        return Err(Rejection::new(Code::InvalidRequest, message));
    }
    if head.version == Version::HTTP_11 && head.headers.get_all("upgrade").iter().any(wants_websocket) {
        let message = "Upgrades (WebSocket) are not served here. Use plain HTTP requests.";
        return Err(Rejection::new(Code::InvalidRequest, message));
    }
    Ok(())
}

/// A client that asks for a WebSocket has nothing to say in HTTP.
fn wants_websocket(upgrade: &HeaderValue) -> bool {
    let protocols = upgrade.as_bytes().split(|byte| *byte == b',');
    protocols.into_iter().any(|protocol| protocol.trim_ascii().eq_ignore_ascii_case(b"websocket"))
}

/// Any other upgrade is an offer that a server may ignore (RFC 9110 section 7.8); some clients make it with every first request
/// (`h2c`). Removed, because Pingora goes by the header alone.
fn ignore_upgrade(session: &mut Session) {
    let head = session.req_header_mut();
    if head.headers.contains_key("upgrade") {
        head.remove_header("upgrade");
        head.remove_header("http2-settings"); // RFC 7540 section 3.2.1: part of the offer
    }
}

/// Decides the CORS headers of this answer; a preflight is answered at once.
async fn cross_origin(session: &mut Session, exchange: &mut Exchange) -> Result<Option<Next>, Stop> {
    let runtime = Arc::clone(&exchange.runtime);
    let listener = runtime.listener(session.server_addr().and_then(inet));
    let head = session.req_header();
    let policy = listener.and_then(|listener| listener.cors.as_ref());
    match cors::decide(policy, runtime.config.auth.cookie, &head.method, &head.headers) {
        Decision::Untouched => Ok(None),
        Decision::Decorate(headers) => {
            exchange.cors = headers;
            Ok(None)
        }
        Decision::Preflight(headers) => {
            exchange.cors = headers;
            exchange.facts.endpoint = "preflight";
            local::preflight(session, exchange, StatusCode::NO_CONTENT).await.map(Some)
        }
        Decision::Refuse => {
            exchange.facts.endpoint = "preflight";
            local::preflight(session, exchange, StatusCode::FORBIDDEN).await.map(Some)
        }
    }
}

/// Writes a small answer of our own.
pub(super) async fn answer(
    session: &mut Session,
    exchange: &mut Exchange,
    status: u16,
    body: Vec<u8>,
) -> Result<Next, Stop> {
    let mut head = AnswerHead::new(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    if !body.is_empty() {
        head.set_static(header::CONTENT_TYPE, "application/json");
    }
    head.set_number(header::CONTENT_LENGTH, body.len());
    head.set_static(header::CACHE_CONTROL, "no-store");
    exchange.decorate(&mut head);
    exchange.facts.event.http_status = status;
    exchange.facts.event.status = tollgate_filters::audit::Status::Success;
    let headless = session.req_header().method == Method::HEAD || body.is_empty();
    session.write_response_header(head.into(), headless).await?;
    if !headless {
        session.write_response_body(Some(body.into()), true).await?;
    }
    Ok(Next::Answered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_from_outside_are_kept_only_when_plain() {
        for good in ["a", "req_1", "018f-..:x", &"x".repeat(128)] {
            assert!(is_plain_id(good), "{good}");
        }
        for bad in ["", "a b", "a\"b", "é", &"x".repeat(129)] {
            assert!(!is_plain_id(bad), "{bad}");
        }
    }

    #[test]
    fn trace_ids() {
        let id = "0af7651916cd43dd8448eb211c80319c";
        assert_eq!(trace_id(&format!("00-{id}-b7ad6b7169203331-01")), Some(id));
        for bad in [
            "",
            "00",
            "00-0-1-1",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        ] {
            assert_eq!(trace_id(bad), None, "{bad}");
        }
    }
}
