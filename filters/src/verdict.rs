//! The one table of rejection codes, and how a rejection is written for a client.
//!
//! Every refusal, wherever it is decided, is a [`Rejection`]: a [`Code`] (what happened, from the table), a message for the
//! caller (what to do next) and, for findings, masked details. Its HTTP form depends on the API surface: OpenAI's error body
//! (<https://platform.openai.com/docs/guides/error-codes>) or Anthropic's
//! (<https://docs.anthropic.com/en/api/errors>).

use std::time::Duration;

/// Longest `retry-after` a client is ever sent: some SDKs sleep for whatever it says. Longer waits go into the message.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Why a request was refused or failed. One row of the table each; see [`Code::row`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    InvalidApiKey,
    InvalidToken,
    TokenExpired,
    ForbiddenRole,
    ModelNotAllowed,
    MissingHeader,
    InvalidJson,
    InvalidRequest,
    NotFound,
    ModelNotFound,
    MethodNotAllowed,
    RequestTimeout,
    BodyTooLarge,
    PiiDetected,
    SecretDetected,
    PromptInjection,
    RateLimitExceeded,
    BudgetExceeded,
    LimitsUnavailable,
    AuditUnavailable,
    NoUpstream,
    Overloaded,
    UpstreamError,
    GuardrailFailed,
    UpstreamTimeout,
}

/// What a code means on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Stable name, `SCREAMING_SNAKE_CASE`; `error.code` on every surface.
    pub name: &'static str,
    /// HTTP status.
    pub status: u16,
    /// `error.type` on OpenAI's surfaces.
    pub openai_type: &'static str,
    /// `error.type` on Anthropic's surface.
    pub anthropic_type: &'static str,
    /// `x-should-retry: false` is sent: trying the same request again cannot help.
    pub permanent: bool,
}

/// Which error body a surface speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorForm {
    OpenAi,
    Anthropic,
}

impl Code {
    /// Every code, in the table's order.
    pub const ALL: [Code; 25] = [
        Code::InvalidApiKey,
        Code::InvalidToken,
        Code::TokenExpired,
        Code::ForbiddenRole,
        Code::ModelNotAllowed,
        Code::MissingHeader,
        Code::InvalidJson,
        Code::InvalidRequest,
        Code::NotFound,
        Code::ModelNotFound,
        Code::MethodNotAllowed,
        Code::RequestTimeout,
        Code::BodyTooLarge,
        Code::PiiDetected,
        Code::SecretDetected,
        Code::PromptInjection,
        Code::RateLimitExceeded,
        Code::BudgetExceeded,
        Code::LimitsUnavailable,
        Code::AuditUnavailable,
        Code::NoUpstream,
        Code::Overloaded,
        Code::UpstreamError,
        Code::GuardrailFailed,
        Code::UpstreamTimeout,
    ];

    /// The table.
    pub const fn row(self) -> Row {
        const fn row(
            name: &'static str,
            status: u16,
            openai_type: &'static str,
            anthropic_type: &'static str,
            permanent: bool,
        ) -> Row {
            Row { name, status, openai_type, anthropic_type, permanent }
        }
        const BAD: &str = "invalid_request_error";
        match self {
            Code::InvalidApiKey => row("INVALID_API_KEY", 401, BAD, "authentication_error", true),
            Code::InvalidToken => row("INVALID_TOKEN", 401, BAD, "authentication_error", true),
            Code::TokenExpired => row("TOKEN_EXPIRED", 401, BAD, "authentication_error", true),
            Code::ForbiddenRole => row("FORBIDDEN_ROLE", 403, "permission_error", "permission_error", true),
            Code::ModelNotAllowed => {
                row("MODEL_NOT_ALLOWED", 403, "permission_error", "permission_error", true)
            }
            Code::MissingHeader => row("MISSING_HEADER", 400, BAD, BAD, true),
            Code::InvalidJson => row("INVALID_JSON", 400, BAD, BAD, true),
            Code::InvalidRequest => row("INVALID_REQUEST", 400, BAD, BAD, true),
            Code::NotFound => row("NOT_FOUND", 404, BAD, "not_found_error", true),
            Code::ModelNotFound => row("MODEL_NOT_FOUND", 404, BAD, "not_found_error", true),
            Code::MethodNotAllowed => row("METHOD_NOT_ALLOWED", 405, BAD, BAD, true),
            Code::RequestTimeout => row("REQUEST_TIMEOUT", 408, BAD, BAD, true),
            Code::BodyTooLarge => row("BODY_TOO_LARGE", 413, BAD, "request_too_large", true),
            Code::PiiDetected => row("PII_DETECTED", 400, BAD, BAD, true),
            Code::SecretDetected => row("SECRET_DETECTED", 400, BAD, BAD, true),
            Code::PromptInjection => row("PROMPT_INJECTION", 400, BAD, BAD, true),
            Code::RateLimitExceeded => {
                row("RATE_LIMIT_EXCEEDED", 429, "rate_limit_exceeded", "rate_limit_error", false)
            }
            Code::BudgetExceeded => row("BUDGET_EXCEEDED", 429, "insufficient_quota", "billing_error", true),
            Code::LimitsUnavailable => {
                row("LIMITS_UNAVAILABLE", 503, "server_error", "overloaded_error", false)
            }
            Code::AuditUnavailable => {
                row("AUDIT_UNAVAILABLE", 503, "server_error", "overloaded_error", false)
            }
            Code::NoUpstream => row("NO_UPSTREAM", 503, "server_error", "overloaded_error", false),
            Code::Overloaded => row("OVERLOADED", 503, "server_error", "overloaded_error", false),
            Code::UpstreamError => row("UPSTREAM_ERROR", 502, "server_error", "api_error", false),
            Code::GuardrailFailed => row("GUARDRAIL_FAILED", 502, "server_error", "api_error", false),
            Code::UpstreamTimeout => row("UPSTREAM_TIMEOUT", 504, "server_error", "timeout_error", false),
        }
    }

    /// Stable name, as it stands in `error.code`, logs, metrics and the audit trail.
    pub const fn as_str(self) -> &'static str {
        self.row().name
    }

    /// HTTP status.
    pub const fn status(self) -> u16 {
        self.row().status
    }
}

/// One finding, as a caller may see it: the value is masked unless the operator configured otherwise.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Detail {
    /// Kind of the finding (`email`, `credit_card`, …).
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it stands: a path such as `messages[2].content`.
    pub location: String,
    /// The masked value.
    pub value: String,
}

/// A refusal or failure with everything its HTTP answer needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    pub code: Code,
    /// For the caller: what to do next. Never a secret, never a matched value.
    pub message: String,
    /// The request field at fault, if one is.
    pub param: Option<String>,
    pub details: Vec<Detail>,
    /// How long until a retry can succeed, uncapped.
    pub retry_after: Option<Duration>,
}

impl Rejection {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Rejection { code, message: message.into(), param: None, details: Vec::new(), retry_after: None }
    }

    #[must_use]
    pub fn with_param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    #[must_use]
    pub fn with_details(mut self, details: Vec<Detail>) -> Self {
        self.details = details;
        self
    }

    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Value of the `retry-after` header in whole seconds, at least 1, at most [`MAX_RETRY_AFTER`].
    pub fn retry_after_secs(&self) -> Option<u64> {
        let wait = self.retry_after?;
        let whole = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Some(whole.clamp(1, MAX_RETRY_AFTER.as_secs()))
    }

    /// Whether `x-should-retry: false` is sent: permanent by its code, or the wait is longer than a client should sleep.
    pub fn is_permanent(&self) -> bool {
        self.code.row().permanent || self.retry_after.is_some_and(|wait| wait > MAX_RETRY_AFTER)
    }

    /// The `error` object of `form`, without the envelope.
    pub fn error_object(&self, form: ErrorForm) -> serde_json::Value {
        let row = self.code.row();
        let mut object = serde_json::Map::new();
        match form {
            ErrorForm::OpenAi => {
                object.insert("message".into(), self.message.clone().into());
                object.insert("type".into(), row.openai_type.into());
                object.insert("param".into(), self.param.clone().into());
            }
            ErrorForm::Anthropic => {
                object.insert("type".into(), row.anthropic_type.into());
                object.insert("message".into(), self.message.clone().into());
            }
        }
        object.insert("code".into(), row.name.into());
        if !self.details.is_empty() {
            let details = self
                .details
                .iter()
                .map(|d| serde_json::json!({"type": d.kind, "location": d.location, "value": d.value}))
                .collect();
            object.insert("details".into(), serde_json::Value::Array(details));
        }
        serde_json::Value::Object(object)
    }

    /// The whole JSON body of an HTTP error answer.
    pub fn body(&self, form: ErrorForm, request_id: &str) -> Vec<u8> {
        let error = self.error_object(form);
        let body = match form {
            ErrorForm::OpenAi => serde_json::json!({"error": error, "request_id": request_id}),
            ErrorForm::Anthropic => {
                serde_json::json!({"type": "error", "error": error, "request_id": request_id})
            }
        };
        body.to_string().into_bytes()
    }
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

impl std::error::Error for Rejection {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_code_is_listed() {
        let names: std::collections::BTreeSet<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        assert!(Code::ALL.windows(2).all(|pair| pair[0] < pair[1]), "ALL follows the enum");
    }

    #[test]
    fn both_forms_carry_code_and_message() {
        let refusal = Rejection::new(Code::BudgetExceeded, "ask for more");
        let openai: serde_json::Value =
            serde_json::from_slice(&refusal.body(ErrorForm::OpenAi, "r1")).expect("valid JSON");
        assert_eq!(openai["error"]["type"], "insufficient_quota");
        assert_eq!(openai["error"]["code"], "BUDGET_EXCEEDED");
        assert!(openai["error"]["param"].is_null());
        assert_eq!(openai["request_id"], "r1");
        let anthropic: serde_json::Value =
            serde_json::from_slice(&refusal.body(ErrorForm::Anthropic, "r1")).expect("valid JSON");
        assert_eq!(anthropic["type"], "error");
        assert_eq!(anthropic["error"]["type"], "billing_error");
    }

    #[test]
    fn retry_after_is_rounded_up_and_capped() {
        let with =
            |ms| Rejection::new(Code::RateLimitExceeded, "").with_retry_after(Duration::from_millis(ms));
        assert_eq!(with(0).retry_after_secs(), Some(1));
        assert_eq!(with(1_001).retry_after_secs(), Some(2));
        assert_eq!(with(3_600_000).retry_after_secs(), Some(60));
        assert!(with(60_001).is_permanent());
        assert!(!with(60_000).is_permanent());
    }
}
