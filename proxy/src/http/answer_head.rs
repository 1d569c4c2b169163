//! The head of an answer that leaves here.
//!
//! Names are constants. Pingora's `insert_header` parses every name again and keeps its letter case in a second map; over the
//! dozen headers of an answer that was a measurable part of a request.

use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use pingora_http::ResponseHeader;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Anthropic's name of the same.
pub(crate) const ANTHROPIC_REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
pub(crate) const UPSTREAM_REQUEST_ID: HeaderName = HeaderName::from_static("x-upstream-request-id");
pub(crate) const OVERHEAD: HeaderName = HeaderName::from_static("x-tollgate-overhead-us");
pub(crate) const PROVIDER: HeaderName = HeaderName::from_static("x-tollgate-provider");
pub(crate) const MODEL: HeaderName = HeaderName::from_static("x-tollgate-model");
pub(crate) const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
pub(crate) const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Room for the usual headers, so that the map does not grow in steps.
const USUAL: usize = 24;

#[derive(Debug)]
pub(crate) struct AnswerHead(Parts);

impl AnswerHead {
    pub(crate) fn new(status: StatusCode) -> AnswerHead {
        let (mut parts, ()) = Response::new(()).into_parts();
        parts.status = status;
        parts.headers = HeaderMap::with_capacity(USUAL);
        AnswerHead(parts)
    }

    /// An answer with the status of another's, and none of its headers.
    pub(crate) fn like(other: &ResponseHeader) -> AnswerHead {
        let mut head = AnswerHead::new(other.status);
        head.0.version = other.version;
        head
    }

    pub(crate) fn set(&mut self, name: HeaderName, value: impl Into<HeaderValue>) {
        self.0.headers.insert(name, value.into());
    }

    pub(crate) fn set_static(&mut self, name: HeaderName, value: &'static str) {
        self.set(name, HeaderValue::from_static(value));
    }

    /// A text that no header can carry is left out: it is worth no error.
    pub(crate) fn set_text(&mut self, name: HeaderName, text: &str) {
        if let Ok(value) = HeaderValue::from_str(text) {
            self.set(name, value);
        }
    }

    /// Another value of a name that may stand several times.
    pub(crate) fn add(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.headers.append(name, value);
    }
}

impl From<AnswerHead> for ResponseHeader {
    fn from(head: AnswerHead) -> ResponseHeader {
        head.0.into()
    }
}

impl From<AnswerHead> for Box<ResponseHeader> {
    fn from(head: AnswerHead) -> Box<ResponseHeader> {
        Box::new(head.into())
    }
}
