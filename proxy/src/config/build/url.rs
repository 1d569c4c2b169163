//! URLs of upstreams and issuers.

use super::super::BaseUrl;

/// Splits `scheme://host[:port][/prefix]`; `/v1` at the end is dropped, because the surfaces' paths bring it.
///
/// The message never repeats the text: it may hold a password.
pub(super) fn base(text: &str) -> Result<BaseUrl, &'static str> {
    const SHAPE: &str =
        "is not a base URL; write http://HOST:PORT or https://HOST, with a path where there is one";
    let (scheme, rest) = text.split_once("://").ok_or(SHAPE)?;
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        _ => return Err("begins with an unknown scheme; write http:// or https://"),
    };
    if rest.contains(['?', '#']) {
        return Err("has a query or a fragment; write scheme, host, port and path only");
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.contains('@') {
        return Err("holds a user name or password; write the credential under api_key");
    }
    let parsed: http::uri::Authority = authority.parse().map_err(|_| SHAPE)?;
    let host = parsed.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    if host.is_empty() {
        return Err(SHAPE);
    }
    // Not `parsed.port()`: that is none for a number past 65535, too.
    let port = match authority.strip_prefix(parsed.host()).ok_or(SHAPE)? {
        "" if tls => 443,
        "" => 80,
        rest => match rest.strip_prefix(':').and_then(|port| port.parse().ok()) {
            Some(0) | None => return Err("has no usable port; write 1 to 65535"),
            Some(port) => port,
        },
    };
    let path = path.trim_end_matches('/');
    let prefix = if path == "v1" { "" } else { path.strip_suffix("/v1").unwrap_or(path) };
    if !prefix.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("has a path with spaces or other signs; percent-encode them");
    }
    let prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
    Ok(BaseUrl { tls, host, port, prefix })
}

/// Whether a name means this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Keys must come over TLS: https anywhere, http only from this machine.
pub(super) fn trustworthy(text: &str) -> Result<(), &'static str> {
    match base(text)? {
        url if url.tls || is_loopback(&url.host) => Ok(()),
        _ => Err("is plain http; write https:// (http:// only for 127.0.0.1)"),
    }
}

/// `scheme://host[:port]`, as a browser writes an origin.
pub(super) fn is_origin(text: &str) -> bool {
    let after_scheme = text.split_once("://").map_or("", |(_, rest)| rest);
    !after_scheme.is_empty() && !after_scheme.contains('/') && base(text).is_ok()
}
