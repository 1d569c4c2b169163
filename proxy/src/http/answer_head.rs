//! The head of an answer that leaves here.
//!
//! Names are constants. Pingora's `insert_header` parses every name again and keeps its letter case in a second map; over the
//! dozen headers of an answer that was a measurable part of a request. So were the values, each in a piece of memory of its own;
//! these share one.

use bytes::BytesMut;
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
/// Room for the values that are written here, in bytes; more gets room of its own.
const USUAL_VALUES: usize = 256;

#[derive(Debug)]
pub(crate) struct AnswerHead {
    parts: Parts,
    /// Where values are written. What is split off of it shares its memory.
    values: BytesMut,
}

impl AnswerHead {
    pub(crate) fn new(status: StatusCode) -> AnswerHead {
        let (mut parts, ()) = Response::new(()).into_parts();
        parts.status = status;
        parts.headers = HeaderMap::with_capacity(USUAL);
        AnswerHead { parts, values: BytesMut::with_capacity(USUAL_VALUES) }
    }

    /// An answer with the status of another's, and none of its headers.
    pub(crate) fn like(other: &ResponseHeader) -> AnswerHead {
        let mut head = AnswerHead::new(other.status);
        head.parts.version = other.version;
        head
    }

    pub(crate) fn set(&mut self, name: HeaderName, value: HeaderValue) {
        self.parts.headers.insert(name, value);
    }

    pub(crate) fn set_static(&mut self, name: HeaderName, value: &'static str) {
        self.set(name, HeaderValue::from_static(value));
    }

    /// A text that no header can carry is left out: it is worth no error.
    pub(crate) fn set_text(&mut self, name: HeaderName, text: &str) {
        self.values.extend_from_slice(text.as_bytes());
        if let Ok(value) = HeaderValue::from_maybe_shared(self.values.split().freeze()) {
            self.set(name, value);
        }
    }

    pub(crate) fn set_number(&mut self, name: HeaderName, number: impl itoa::Integer) {
        self.set_text(name, itoa::Buffer::new().format(number));
    }

    /// Another value of a name that may stand several times.
    pub(crate) fn add(&mut self, name: HeaderName, value: HeaderValue) {
        self.parts.headers.append(name, value);
    }
}

impl From<AnswerHead> for ResponseHeader {
    fn from(head: AnswerHead) -> ResponseHeader {
        head.parts.into()
    }
}

impl From<AnswerHead> for Box<ResponseHeader> {
    fn from(head: AnswerHead) -> Box<ResponseHeader> {
        Box::new(head.into())
    }
}
