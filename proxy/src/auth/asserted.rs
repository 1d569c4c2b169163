//! The audit headers `x-llm-source`, `x-llm-user` and `x-llm-request-type`: what a caller says of itself. Recorded, never
//! believed.

use std::sync::Arc;

use http::HeaderMap;
use tollgate_filters::identity::Caller;
use tollgate_filters::verdict::{Code, Rejection};

pub const SOURCE: &str = "x-llm-source";
pub const USER: &str = "x-llm-user";
pub const REQUEST_TYPE: &str = "x-llm-request-type";
/// Longest value.
const MAX_VALUE: usize = 256;

/// The headers, or the defaults of the caller's key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asserted {
    pub source: Option<Arc<str>>,
    /// Asserted, so kept apart from the verified user.
    pub user: Option<Arc<str>>,
    pub request_type: Option<Arc<str>>,
}

/// Reads the audit headers and sees that every header of `required` is there; a default counts, and so does a verified user.
///
/// # Errors
/// `MISSING_HEADER`, or `INVALID_REQUEST` for a value that is too long or not printable.
pub fn audit_headers(
    headers: &HeaderMap,
    required: &[String],
    caller: &Caller,
) -> Result<Asserted, Rejection> {
    let asserted = Asserted {
        source: value(headers, SOURCE)?.or_else(|| caller.source.clone()),
        user: value(headers, USER)?,
        request_type: value(headers, REQUEST_TYPE)?.or_else(|| caller.request_type.clone()),
    };
    for name in required {
        let is_there = match name.to_ascii_lowercase().as_str() {
            SOURCE => asserted.source.is_some(),
            USER => asserted.user.is_some() || caller.user.is_some(),
            REQUEST_TYPE => asserted.request_type.is_some(),
            other => headers.get(other).is_some_and(|value| !value.as_bytes().trim_ascii().is_empty()),
        };
        if !is_there {
            let message =
                format!("The header '{name}' is required here. Send it, for example '{name}: my-service'.");
            return Err(Rejection::new(Code::MissingHeader, message).with_param(name.as_str()));
        }
    }
    Ok(asserted)
}

/// One header's value; an empty one is none.
fn value(headers: &HeaderMap, name: &'static str) -> Result<Option<Arc<str>>, Rejection> {
    let refuse = |what: &str| {
        let message =
            format!("The header '{name}' {what}. Send one line of at most {MAX_VALUE} printable characters.");
        Err(Rejection::new(Code::InvalidRequest, message).with_param(name))
    };
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return refuse("stands twice");
    }
    let Ok(text) = std::str::from_utf8(value.as_bytes()) else { return refuse("is not UTF-8") };
    let text = text.trim();
    if text.len() > MAX_VALUE {
        return refuse("is too long");
    }
    if text.chars().any(char::is_control) {
        return refuse("holds control characters");
    }
    Ok((!text.is_empty()).then(|| text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_filters::identity::{Proof, Role};

    fn caller() -> Caller {
        Caller {
            proof: Proof::ApiKey,
            organization: "acme".into(),
            application: "chat".into(),
            user: None,
            key_id: Some("dev".into()),
            role: Role::Developer,
            source: Some("from-key".into()),
            request_type: None,
        }
    }

    fn check(lines: &[(&'static str, &str)], required: &[&str], expect: Result<[Option<&str>; 3], Code>) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, http::HeaderValue::from_bytes(value.as_bytes()).expect("a header value"));
        }
        let required: Vec<String> = required.iter().map(|name| (*name).to_owned()).collect();
        let found = audit_headers(&headers, &required, &caller());
        let found = match &found {
            Ok(found) => Ok([found.source.as_deref(), found.user.as_deref(), found.request_type.as_deref()]),
            Err(rejection) => Err(rejection.code),
        };
        assert_eq!(found, expect, "{lines:?} {required:?}");
    }

    #[test]
    fn headers_and_defaults() {
        check(&[], &[], Ok([Some("from-key"), None, None]));
        check(&[(SOURCE, " web ")], &[], Ok([Some("web"), None, None]));
        check(
            &[(USER, "Jürgen"), (REQUEST_TYPE, "chat")],
            &[],
            Ok([Some("from-key"), Some("Jürgen"), Some("chat")]),
        );
        check(&[(SOURCE, "")], &[SOURCE], Ok([Some("from-key"), None, None]));
        check(&[], &["X-LLM-Source"], Ok([Some("from-key"), None, None]));
        check(&[], &[USER], Err(Code::MissingHeader));
        check(&[(USER, "  ")], &[USER], Err(Code::MissingHeader));
        check(&[], &[REQUEST_TYPE], Err(Code::MissingHeader));
        check(&[], &["x-cost-center"], Err(Code::MissingHeader));
        check(&[("x-cost-center", " ")], &["x-cost-center"], Err(Code::MissingHeader));
        check(&[("x-cost-center", "7")], &["x-cost-center"], Ok([Some("from-key"), None, None]));
    }

    #[test]
    fn values_are_short_and_printable() {
        let longest = "x".repeat(MAX_VALUE);
        check(&[(SOURCE, &longest)], &[], Ok([Some(&longest), None, None]));
        check(&[(SOURCE, &"x".repeat(MAX_VALUE + 1))], &[], Err(Code::InvalidRequest));
        check(&[(USER, "a\tb")], &[], Err(Code::InvalidRequest));
        check(&[(USER, "a\u{85}b")], &[], Err(Code::InvalidRequest));
        check(&[(USER, "a"), (USER, "b")], &[], Err(Code::InvalidRequest));
        let mut headers = HeaderMap::new();
        headers.insert(USER, http::HeaderValue::from_bytes(b"\xff").expect("an opaque byte is allowed"));
        assert_eq!(audit_headers(&headers, &[], &caller()).map_err(|e| e.code), Err(Code::InvalidRequest));
    }
}
