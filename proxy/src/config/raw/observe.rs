//! `audit`, `telemetry`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate_filters::conf::{ByteSize, HumanDuration, Secret};

use crate::config::{Content, LogFormat, WhenFull};

/// The audit trail: one event per request.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// What is kept of prompts and answers: nothing, the text with findings masked, or its keyed hash.
    pub content: Content,
    /// `fast`: an answer does not wait until its event is durable; a crash loses at most `commit_interval`, as a reported range.
    pub mode: AuditMode,
    /// Each kept text is cut after so many bytes.
    pub max_text: ByteSize,
    /// What a request gets when no event can be taken in: refused before the upstream is called, or served with the gap counted and reported.
    pub when_full: WhenFull,
    /// Events that may wait for the spool. Every request in flight holds a place, so keep it above `bounds.max_requests`.
    #[schemars(range(min = 1, max = 10_000_000), extend("x-reload" = "at the next start"))]
    pub queue: usize,
    /// Longest time until an event is durable.
    #[schemars(extend("x-reload" = "at the next start"))]
    pub commit_interval: HumanDuration,
    /// Sequence numbers taken from the spool at a time; a crash abandons what is left of a block.
    #[schemars(range(min = 100, max = 1_000_000_000), extend("x-reload" = "at the next start"))]
    pub seq_block: u64,
    /// Identity of this instance in events.
    #[schemars(extend("x-unset" = "a random id, kept in `state_dir`", "x-reload" = "at the next start"), example = &"gw-1")]
    pub instance: Option<String>,
    /// Key of the hashes; needed with `content: hashed`.
    #[schemars(extend("x-unset" = "no hashes"), example = &"${TOLLGATE_AUDIT_HASH_KEY}")]
    pub hash_key: Option<Secret>,
}

/// When an answer may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditMode {
    Fast,
}

impl Default for Audit {
    fn default() -> Self {
        Audit {
            content: Content::Redacted,
            mode: AuditMode::Fast,
            max_text: ByteSize(2048),
            when_full: WhenFull::Refuse,
            queue: 20_000,
            commit_interval: HumanDuration(Duration::from_millis(50)),
            seq_block: 10_000,
            instance: None,
            hash_key: None,
        }
    }
}

/// Logs and metrics. Metrics are served on the admin listener.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// Form of the log on standard output.
    #[schemars(extend("x-reload" = "at the next start"))]
    pub log: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, also by module: `info,tollgate_proxy=debug`.
    #[schemars(extend("x-reload" = "at the next start"))]
    pub level: String,
    /// The organisation as a label of metrics; as many series as there are organisations.
    pub org_label: bool,
    /// A `metadata` object (`provider`, `cost_usd`, `latency_ms`) in plain answers, and beside the usage in the last chunk of chat and
    /// completion streams whose caller asked for usage.
    pub answer_metadata: bool,
}

impl Default for Telemetry {
    fn default() -> Self {
        Telemetry { log: LogFormat::Json, level: "info".into(), org_label: false, answer_metadata: false }
    }
}
