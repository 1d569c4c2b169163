//! What is known of one request when it is over. Fields that are not known are absent, never null.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Timestamp;

/// One request that was authenticated or refused. The envelope is added when it is written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// When the request's head was received.
    pub ts: Timestamp,
    pub request_id: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<Arc<str>>,
    /// Verified: from a token's claims or the key's record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
    /// What a header claims; proves nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asserted_user: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_type: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Arc<str>>,
    /// `chat`, `completions`, `embeddings`, `responses`, `messages`, `count_tokens`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<Cow<'static, str>>,
    /// As the caller wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_requested: Option<Arc<str>>,
    /// As the upstream was asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Arc<str>>,
    /// Every attempt in order, the one that answered last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    pub stream: bool,
    pub status: Status,
    /// What the client was sent; 0 when it left before a header went out.
    pub http_status: u16,
    /// From the table of rejection codes, where there was a rejection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Cow<'static, str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<Decision>,
    pub versions: Versions,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Tokens>,
    /// Billionths of a US dollar. Absent: the price is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_nano_usd: Option<u64>,
    pub timing_us: Timing,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<FindingCount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Content>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<Content>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<IpAddr>,
}

/// How it ended, for whoever counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Success,
    /// Refused or failed for any reason other than a guardrail.
    #[default]
    Error,
    /// A guardrail stopped the request or the answer.
    Blocked,
    /// The client left before the end.
    Cancelled,
}

impl Status {
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Success => "success",
            Status::Error => "error",
            Status::Blocked => "blocked",
            Status::Cancelled => "cancelled",
        }
    }
}

/// One try at one target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    pub target: Arc<str>,
    /// HTTP status of its answer, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What went wrong, as a short word (`connect`, `timeout`, `truncated`, …).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Cow<'static, str>>,
    pub ms: u64,
}

/// What a rule, a limit or a label decided: exactly one of the three names is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Decision {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<Arc<str>>,
    pub outcome: Cow<'static, str>,
}

/// Which rules the request was judged by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Versions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prices: Option<Arc<str>>,
}

/// As the upstream counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tokens {
    /// Includes `cache_read` and `cache_write`.
    pub input: u64,
    /// Includes `reasoning`.
    pub output: u64,
    pub cache_read: u64,
    pub cache_write: u64,
    pub reasoning: u64,
    /// The upstream reported nothing or its answer was cut: these are estimates.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
}

impl From<crate::chat::Usage> for Tokens {
    fn from(usage: crate::chat::Usage) -> Tokens {
        let crate::chat::Usage { input, output, cache_read, cache_write, reasoning, estimated } = usage;
        Tokens { input, output, cache_read, cache_write, reasoning, estimated }
    }
}

/// Microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Timing {
    /// From the request's head to the end of the answer.
    pub total: u64,
    /// Of that, spent in Tollgate.
    pub overhead: u64,
    /// To the first token that left for the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft: Option<u64>,
    /// Waiting for a place.
    pub queue: u64,
}

/// What the guardrails found, counted: never the value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FindingCount {
    pub rule: Cow<'static, str>,
    pub kind: Cow<'static, str>,
    pub action: Cow<'static, str>,
    /// Path of the text in the request (`messages[2].content`) or lane of the answer.
    pub location: Cow<'static, str>,
    pub count: u32,
}

/// Texts of a request or an answer. Absent when the policy says `off`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Content {
    pub form: ContentForm,
    pub texts: Vec<ContentText>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContentForm {
    /// `text` is the text with every finding masked.
    Redacted,
    /// `text` is the hex HMAC-SHA-256 of the whole text.
    Hashed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContentText {
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub location: Cow<'static, str>,
    pub text: String,
    /// Length in bytes of the whole text, where `text` was cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_from: Option<u64>,
}
