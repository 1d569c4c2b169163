//! What goes upstream: path, host, credential, headers, and this attempt's body.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use pingora_error::{Error, ErrorType, Result};
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use tollgate_filters::chat::Outgoing;
use tollgate_filters::verdict::ErrorForm;

use super::ctx::Exchange;

/// The head of this attempt's request. Pingora hands in a copy of the caller's.
pub(crate) fn header(session: &Session, request: &mut RequestHeader, exchange: &mut Exchange) -> Result<()> {
    let request_id = exchange.facts.event.request_id.clone();
    let Some(proxied) = &mut exchange.proxied else {
        return Error::e_explain(ErrorType::InternalError, "an attempt before admission");
    };
    let Some(running) = &proxied.attempt else {
        return Error::e_explain(ErrorType::InternalError, "a request without its attempt");
    };
    let attempt = &running.attempt;
    let provider = &attempt.provider().settings;
    let call = &proxied.call;
    proxied.outgoing = call.outgoing(
        &proxied.body,
        Outgoing {
            model: attempt.model(&call.model),
            usage: provider.stream_usage,
            edits: proxied.edits.clone(),
        },
    );
    strip(request);
    let mut path = attempt.path(call.api, &call.model);
    // `?beta=true` and its like: only Anthropic's surface has queries that mean something.
    if let Some(query) =
        session.req_header().uri.query().filter(|_| call.api.error_form() == ErrorForm::Anthropic)
    {
        path.push(if path.contains('?') { '&' } else { '?' });
        path.push_str(query);
    }
    request.set_uri(path.parse().map_err(|_| Error::explain(ErrorType::InternalError, "the target's path"))?);
    request.set_method(http::Method::POST);
    request.insert_header(header::HOST, &*attempt.endpoint().authority)?;
    request.insert_header(header::CONTENT_TYPE, "application/json")?;
    request.insert_header(header::CONTENT_LENGTH, proxied.outgoing.len())?;
    request.insert_header(super::answer_head::REQUEST_ID, &*request_id)?;
    for (name, value) in provider.kind.default_headers() {
        if !request.headers.contains_key(*name) {
            request.insert_header(*name, *value)?;
        }
    }
    if let Some(key) = &attempt.target().api_key {
        let auth = provider.kind.auth_header();
        let mut value = HeaderValue::from_str(&auth.value(key.expose())).map_err(|_| {
            Error::explain(ErrorType::InternalError, "the provider's key does not fit a header")
        })?;
        value.set_sensitive(true);
        request.insert_header(auth.name, value)?;
    }
    Ok(())
}

fn strip(request: &mut RequestHeader) {
    let foreign: Vec<HeaderName> = request.headers.keys().filter(|name| is_withheld(name)).cloned().collect();
    for name in foreign {
        request.remove_header(&name);
    }
}

/// Never passed on: the caller's credentials and account headers, what a browser or another proxy added, framing that this
/// attempt sets itself. Hop-by-hop headers are removed by Pingora (RFC 9110 section 7.6.1).
fn is_withheld(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("sec-")
        || matches!(
            name,
            "authorization"
                | "proxy-authorization"
                | "x-api-key"
                | "api-key"
                | "x-goog-api-key"
                | "cookie"
                | "openai-organization"
                | "openai-project"
                | "x-amz-security-token"
                | "x-amz-date"
                | "x-amz-content-sha256"
                | "x-forwarded-for"
                | "x-forwarded-host"
                | "x-forwarded-proto"
                | "x-forwarded-port"
                | "forwarded"
                | "via"
                | "x-real-ip"
                | "origin"
                | "referer"
                | "accept-encoding"
                | "expect"
                | "te"
                | "transfer-encoding"
                | "content-length"
                | "content-encoding"
                | "host"
                | "x-llm-source"
                | "x-llm-user"
                | "x-llm-request-type"
        )
}

/// This attempt's body, once: the seam replays the caller's, and it is replaced here.
pub(crate) fn body(exchange: &mut Exchange, end_of_stream: bool) -> Option<Bytes> {
    let proxied = exchange.proxied.as_ref()?;
    end_of_stream.then(|| proxied.outgoing.clone())
}
