//! Who may ask what. Paths are closed unless they are named here.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tollgate_filters::verdict::{Code, ErrorForm, Rejection};
use tollgate_proxy::config::Admin;

use crate::plane::Plane;

/// Longest token that is hashed.
const MAX_TOKEN: usize = 512;

/// The two ends of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) remote: SocketAddr,
    pub(crate) local: SocketAddr,
    /// SHA-256 of a client certificate that the TLS handshake has verified.
    pub(crate) certificate: Option<[u8; 32]>,
}

/// Who may ask for a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Open,
    /// Loopback, a verified client certificate, or the token.
    Metrics,
    Token,
}

/// Runs before every route, also before "not found" and "method not allowed".
pub(crate) async fn gate(State(plane): State<Arc<dyn Plane>>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    let settings = plane.settings();
    let verdict = match peer {
        Some(peer) => check(&settings, peer, &request),
        None => Err(Rejection::new(Code::NotFound, "no connection")),
    };
    let mut response = match verdict {
        Ok(()) => next.run(request).await,
        Err(rejection) => refuse(&rejection),
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The answer to a refusal, in the form of the data listener's errors.
pub(crate) fn refuse(rejection: &Rejection) -> Response {
    let id = uuid::Uuid::now_v7().to_string();
    let body = rejection.body(ErrorForm::OpenAi, &id);
    let status = StatusCode::from_u16(rejection.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, [(CONTENT_TYPE, "application/json")], body).into_response();
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

pub(crate) fn not_found() -> Rejection {
    Rejection::new(Code::NotFound, "There is nothing at this path of the admin listener.")
}

fn check(settings: &Admin, peer: Peer, request: &Request) -> Result<(), Rejection> {
    if !host_is_ours(settings, peer.local.ip(), host(request)) {
        return Err(Rejection::new(
            Code::InvalidRequest,
            "This Host is not one of the admin listener's. Use its address, or add the name to admin.hosts.",
        ));
    }
    let is_local =
        peer.remote.ip().to_canonical().is_loopback() && peer.local.ip().to_canonical().is_loopback();
    match rule(request.uri().path()) {
        Rule::Open => Ok(()),
        Rule::Metrics if is_local || peer.certificate.is_some() => Ok(()),
        Rule::Metrics | Rule::Token => check_token(settings, peer, request),
    }
}

fn rule(path: &str) -> Rule {
    match path {
        "/health" | "/health/ready" | "/ready" | "/startup" => Rule::Open,
        "/metrics" => Rule::Metrics,
        _ => Rule::Token,
    }
}

/// Without a configured token the protected paths do not exist.
fn check_token(settings: &Admin, peer: Peer, request: &Request) -> Result<(), Rejection> {
    let Some(expected) = settings.token_hash else { return Err(not_found()) };
    let shown = bearer(request.headers()).unwrap_or_default();
    let hash: [u8; 32] = Sha256::digest(shown.as_bytes()).into();
    if hash.ct_eq(&expected).into() {
        return Ok(());
    }
    if !shown.is_empty() {
        tracing::warn!(remote = %peer.remote, path = request.uri().path(), "wrong admin token");
    }
    Err(Rejection::new(
        Code::InvalidToken,
        "This path needs the admin token. Send 'Authorization: Bearer <admin token>'.",
    ))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let fits = values.next().is_none() && scheme.eq_ignore_ascii_case("bearer") && token.len() <= MAX_TOKEN;
    fits.then_some(token.trim())
}

fn host(request: &Request) -> Option<&str> {
    let mut lines = request.headers().get_all(HOST).iter();
    let line = lines.next()?.to_str().ok()?;
    lines.next().is_none().then_some(line)
}

/// A page of another site can make a browser send requests here under a name that it points at this address (DNS rebinding);
/// it cannot make the browser send a bare address, nor a name of ours.
fn host_is_ours(settings: &Admin, local: IpAddr, host: Option<&str>) -> bool {
    let Some(host) = host.map(without_port) else { return false };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_local = bare.parse().is_ok_and(|ip: IpAddr| ip.to_canonical() == local.to_canonical());
    is_local || settings.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
}

/// Brackets of an IPv6 address stay.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let settings = |hosts: &[&str]| Admin {
            address: ([0, 0, 0, 0], 8081).into(),
            tls: None,
            token_hash: None,
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            show_checks: true,
        };
        let settings = settings(&["localhost", "127.0.0.1", "[::1]", "gate.internal"]);
        let check = |host: Option<&str>, expect: bool| {
            let local = "10.1.2.3".parse().expect("an address");
            assert_eq!(host_is_ours(&settings, local, host), expect, "{host:?}");
        };
        for good in [
            "localhost",
            "LOCALHOST:8081",
            "127.0.0.1:8081",
            "[::1]:8081",
            "[::1]",
            "gate.internal",
            "10.1.2.3:8081",
            "10.1.2.3",
        ] {
            check(Some(good), true);
        }
        for bad in [
            "evil.example",
            "localhost.evil.example",
            "10.1.2.4",
            "gate.internal:x",
            "",
            ":8081",
            "::1",
            "[::1",
            "a:b:c",
        ] {
            check(Some(bad), false);
        }
        check(None, false);
    }
}
