//! The answer's header: which attempts' headers may begin an answer, and what the client sees of them.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use pingora_error::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;
use tollgate_filters::answer::Form;
use tollgate_filters::audit::Timestamp;
use tollgate_filters::chat::{self, Predicted};
use tollgate_filters::select::{self, Failure, Judgement};
use tollgate_filters::verdict::ErrorForm;

use super::answer_head::{self, AnswerHead};
use super::ctx::{Exchange, LateError};
use crate::limits::{Level, Standing};

/// The upstream answered with a status that leads to the next target.
pub(crate) const STATUS: ErrorType = ErrorType::new("UpstreamStatus");

/// Of the upstream's header, either an error that leads to the next target, or what the client will see.
pub(crate) fn header(response: &mut ResponseHeader, exchange: &mut Exchange) -> Result<()> {
    if response.status.is_informational() {
        return Ok(());
    }
    let status = response.status.as_u16();
    let Some(proxied) = &mut exchange.proxied else {
        return Error::e_explain(ErrorType::InternalError, "an answer without its attempt");
    };
    let Some(running) = &mut proxied.attempt else {
        return Error::e_explain(ErrorType::InternalError, "an answer without its attempt");
    };
    running.answered = Some(status);
    proxied.control.on_upstream_bytes();
    // Nothing of this batch has been filtered yet, so here (and only here) an Err is safe.
    if let Judgement::Next(failure) = select::judge_status(status, retry_after(response)) {
        running.failure = Some(failure);
        return Err(Error::explain(STATUS, format!("status {status}")).into_up());
    }
    let form = form_of(response);
    proxied.late = None;
    if form != Form::Events && proxied.control.header_sent() {
        // Comments have begun a stream, so only events can follow.
        if response.status.is_success() {
            running.failure = Some(Failure::Malformed);
            return Err(Error::explain(STATUS, "a plain answer where a stream was asked for").into_up());
        }
        proxied.late = Some(LateError::default());
    }
    proxied.pipeline.begin(form);
    proxied.form = form;
    if form != Form::Events {
        proxied.control.on_plain_header();
    }
    let settings = &running.attempt.provider().settings;
    let mut head = AnswerHead::like(response);
    pass_on(&response.headers, &settings.pass_headers, &mut head);
    if form == Form::Events {
        stream_headers(&mut head);
    }
    // The length of what leaves may be another; a plain answer's own is set when it is whole.
    head.set_text(answer_head::PROVIDER, &settings.id);
    head.set_text(answer_head::MODEL, running.attempt.model(&proxied.call.model));
    exchange.decorate(&mut head);
    *response = head.into();
    Ok(())
}

/// The form that the header announces. Error answers that pass through are the upstream's own words: left as they are.
fn form_of(response: &ResponseHeader) -> Form {
    let kind = response.headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let is = |name: &[u8]| kind.len() >= name.len() && kind[..name.len()].eq_ignore_ascii_case(name);
    if !response.status.is_success() {
        Form::Opaque
    } else if is(b"text/event-stream") {
        Form::Events
    } else {
        // Whatever a success calls itself, a guard must be able to read it; binary answers have surfaces of their own.
        Form::Plain
    }
}

/// Keeps what is the client's business: the provider's own limits and ids move out of the way of ours.
fn pass_on(headers: &HeaderMap, prefixes: &[String], head: &mut AnswerHead) {
    for (name, value) in headers {
        let text = name.as_str();
        let wanted = || prefixes.iter().any(|prefix| text.starts_with(prefix.as_str()));
        if is_passed(text) || !is_framing(text) && wanted() {
            head.add(name.clone(), value.clone());
        } else if matches!(text, "x-request-id" | "request-id") {
            head.set(answer_head::UPSTREAM_REQUEST_ID, value.clone());
        } else if let Some(rest) =
            text.strip_prefix("x-ratelimit-").or_else(|| text.strip_prefix("anthropic-ratelimit-"))
            && let Ok(renamed) = HeaderName::try_from(format!("x-upstream-ratelimit-{rest}"))
        {
            head.set(renamed, value.clone());
        }
    }
}

/// Passed on as they are; `pass_headers` of a provider adds prefixes.
fn is_passed(name: &str) -> bool {
    matches!(
        name,
        "content-type"
            | "openai-processing-ms"
            | "openai-version"
            | "retry-after"
            | "retry-after-ms"
            | "content-language"
    )
}

/// How the upstream's own bytes were framed (RFC 9110 section 7.6.1, RFC 9112 section 6): true of its answer, not of what leaves.
fn is_framing(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "content-encoding"
            | "content-length"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// What every event stream carries: no buffering by proxies in between.
pub(crate) fn stream_headers(head: &mut AnswerHead) {
    head.set_static(header::CONTENT_TYPE, "text/event-stream");
    head.set_static(header::CACHE_CONTROL, "no-cache");
    head.set_static(answer_head::ACCEL_BUFFERING, "no");
    // HTTP/1.1 needs it, else the answer would run until the connection closes; HTTP/2 sessions remove it.
    head.set_static(header::TRANSFER_ENCODING, "chunked");
}

/// A plain answer is whole: its length and its cost are known before its header leaves.
pub(crate) fn plain_is_whole(exchange: &Exchange, body: Bytes) -> Bytes {
    let Some(proxied) = &exchange.proxied else { return body };
    let body = match &proxied.team {
        Some(_) => predicted(exchange, &body).unwrap_or(body),
        None => body,
    };
    let length = body.len();
    let cost = super::finish::cost(exchange, proxied.pipeline.usage().as_ref());
    proxied.control.set_late(move |header| {
        header.remove_header(&header::TRANSFER_ENCODING);
        // Both values are digits and a point: always valid.
        let _ = header.insert_header(header::CONTENT_LENGTH, length);
        if let Some(nano) = cost {
            let _ = header.insert_header("x-tollgate-cost-usd", usd(nano));
        }
    });
    body
}

/// A team route's own answer, made of the chat answer.
fn predicted(exchange: &Exchange, body: &Bytes) -> Option<Bytes> {
    let proxied = exchange.proxied.as_ref()?;
    let running = proxied.attempt.as_ref()?;
    let latency_ms = u64::try_from(exchange.started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let facts = Predicted { model: &proxied.call.model, variant: &running.attempt.target().id, latency_ms };
    chat::predicted(body, facts).ok()
}

/// Nano-USD as a decimal of USD without trailing zeros.
pub(crate) fn usd(nano: u64) -> String {
    let text = format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000);
    let text = text.trim_end_matches('0');
    text.strip_suffix('.').unwrap_or(text).to_owned()
}

/// How long the upstream asks to be left alone.
fn retry_after(response: &ResponseHeader) -> Option<Duration> {
    let text = |name: &str| response.headers.get(name)?.to_str().ok();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    select::retry_after(text("retry-after"), text("retry-after-ms"), now)
}

/// Names of limit, remaining and reset.
type Names = [HeaderName; 3];

const REQUESTS: Names = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];
const TOKENS: Names = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];
const ANTHROPIC_REQUESTS: Names = [
    HeaderName::from_static("anthropic-ratelimit-requests-limit"),
    HeaderName::from_static("anthropic-ratelimit-requests-remaining"),
    HeaderName::from_static("anthropic-ratelimit-requests-reset"),
];
const ANTHROPIC_TOKENS: Names = [
    HeaderName::from_static("anthropic-ratelimit-tokens-limit"),
    HeaderName::from_static("anthropic-ratelimit-tokens-remaining"),
    HeaderName::from_static("anthropic-ratelimit-tokens-reset"),
];

/// The gateway's own limits, in the surface's form.
pub(crate) fn limit_headers(head: &mut AnswerHead, standing: &Standing, form: ErrorForm, now: Timestamp) {
    let (requests, tokens) = match form {
        ErrorForm::OpenAi => (REQUESTS, TOKENS),
        ErrorForm::Anthropic => (ANTHROPIC_REQUESTS, ANTHROPIC_TOKENS),
    };
    for (names, level) in [(requests, standing.requests), (tokens, standing.tokens)] {
        let Some(Level { limit, remaining, reset }) = level else { continue };
        let [of_limit, of_remaining, of_reset] = names;
        head.set_number(of_limit, limit);
        head.set_number(of_remaining, remaining);
        match form {
            ErrorForm::OpenAi => head.set_text(of_reset, &tollgate_filters::limits::reset_text(reset)),
            ErrorForm::Anthropic => {
                let at = now.micros().saturating_add(i64::try_from(reset.as_micros()).unwrap_or(i64::MAX));
                head.set_text(of_reset, &Timestamp::from_micros(at).to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usd_is_exact() {
        for (nano, text) in
            [(0, "0"), (1, "0.000000001"), (1_500_000_000, "1.5"), (2_000_000_000, "2"), (10_000, "0.00001")]
        {
            assert_eq!(usd(nano), text);
        }
    }

    #[test]
    fn upstream_headers_are_kept_renamed_or_dropped() {
        let mut response = ResponseHeader::build(200, None).expect("a status");
        for (name, value) in [
            ("content-type", "application/json"),
            ("x-ratelimit-remaining-tokens", "5"),
            ("x-request-id", "theirs"),
            ("set-cookie", "a=b"),
            ("server", "x"),
            ("x-vendor-region", "eu"),
            ("content-length", "7"),
            ("content-encoding", "gzip"),
        ] {
            response.insert_header(name, value).expect("valid");
        }
        let mut head = AnswerHead::like(&response);
        pass_on(&response.headers, &["x-vendor-".to_owned(), "content-".to_owned()], &mut head);
        let response = ResponseHeader::from(head);
        let mut names: Vec<_> = response.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let want = [
            "content-type",
            "x-upstream-ratelimit-remaining-tokens",
            "x-upstream-request-id",
            "x-vendor-region",
        ];
        assert_eq!(names, want);
    }
}
