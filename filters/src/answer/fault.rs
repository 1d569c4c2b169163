//! Errors that come where an answer should be.

use serde_json::Value;

use super::{Fault, FaultKind, Halt};

/// Longest part of an upstream's message that is kept.
const MAX_MESSAGE: usize = 512;

impl Fault {
    pub(super) fn new(kind: FaultKind, message: impl Into<String>) -> Fault {
        Fault { kind, message: message.into(), status: None }
    }

    /// Reads an error object in any of the forms upstreams send inside a 200: OpenAI's and vLLM's `{"error":{…}}`, vLLM's
    /// older `{"object":"error","message":…,"code":400}`, Anthropic's `{"type":"error","error":{…}}`, the Responses API's
    /// `{"type":"error","message":…}` and `response.failed`.
    pub(super) fn read(data: &[u8]) -> Fault {
        let value: Value = serde_json::from_slice(data).unwrap_or_default();
        let nested =
            [&value["response"]["error"], &value["error"]].into_iter().find(|error| !error.is_null());
        let error = nested.unwrap_or(&value);
        let text =
            |value: &Value| value.as_str().map(|text| text.chars().take(MAX_MESSAGE).collect::<String>());
        let message = text(error).or_else(|| text(&error["message"])).or_else(|| text(&value["message"]));
        let status = status_of(&error["code"]).or_else(|| status_of(&error["type"]));
        Fault {
            kind: FaultKind::ErrorEvent,
            message: message.unwrap_or_else(|| "the upstream sent an error without a message".to_owned()),
            status,
        }
    }
}

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Halt {
        Halt::Upstream(fault)
    }
}

/// The HTTP status that a code or type stands for.
/// (<https://platform.openai.com/docs/guides/error-codes>, <https://docs.anthropic.com/en/api/errors>)
fn status_of(value: &Value) -> Option<u16> {
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    if let Some(number) = number {
        return u16::try_from(number).ok().filter(|status| (400..600).contains(status));
    }
    Some(match value.as_str()? {
        "invalid_request_error" | "BadRequestError" | "context_length_exceeded" => 400,
        "authentication_error" | "invalid_api_key" => 401,
        "permission_error" => 403,
        "not_found_error" | "NotFoundError" => 404,
        "request_too_large" => 413,
        "rate_limit_error" | "rate_limit_exceeded" | "insufficient_quota" | "billing_error" => 429,
        "api_error" | "server_error" | "InternalServerError" => 500,
        "timeout_error" => 504,
        "overloaded_error" => 529,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_error() {
        let table = [
            (
                r#"{"error":{"message":"too long","type":"BadRequestError","code":400}}"#,
                "too long",
                Some(400),
            ),
            (
                r#"{"object":"error","message":"boom","type":"InternalServerError","code":500}"#,
                "boom",
                Some(500),
            ),
            (r#"{"error":"just text"}"#, "just text", None),
            (
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                "Overloaded",
                Some(529),
            ),
            (
                r#"{"type":"error","code":"rate_limit_exceeded","message":"slow","param":null}"#,
                "slow",
                Some(429),
            ),
            (
                r#"{"type":"response.failed","response":{"error":{"code":"server_error","message":"oops"}}}"#,
                "oops",
                Some(500),
            ),
            (r#"{"error":{"code":7}}"#, "the upstream sent an error without a message", None),
        ];
        for (data, message, status) in table {
            let fault = Fault::read(data.as_bytes());
            assert_eq!((&*fault.message, fault.status), (message, status), "{data}");
        }
    }
}
