//! `providers`, `models`, `routes`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate_filters::conf::{HumanDuration, Secret};
use tollgate_filters::identity::Role;

use super::{FilePath, Labels};
use crate::config::{ClientGone, ProviderKind, StickyBy};

/// A group of equal hosts, or an account at a cloud provider.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Name in models, logs, metrics and the header `x-tollgate-provider`; unique.
    #[schemars(example = &"gpu")]
    pub id: String,
    /// Which API it speaks.
    pub kind: ProviderKind,
    /// `scheme://host[:port][/prefix]`, with or without `/v1`. One target per URL; the least busy of two is picked.
    #[serde(default)]
    #[schemars(extend("x-unset" = "openai: https://api.openai.com, anthropic: https://api.anthropic.com; others need it"), example = serde_json::json!(["http://10.0.0.7:8000", "http://10.0.0.8:8000"]))]
    pub base_urls: Vec<String>,
    /// Credential that is sent; the caller's own never is.
    #[serde(default)]
    #[schemars(extend("x-unset" = "none is sent"), example = &"${OPENAI_API_KEY}")]
    pub api_key: Option<Secret>,
    /// Azure's `api-version`.
    #[serde(default)]
    #[schemars(extend("x-unset" = "2024-10-21 for azure"), example = &"2024-10-21")]
    pub api_version: Option<String>,
    /// HTTP/2 to the provider (by ALPN with TLS, prior knowledge without).
    #[serde(default)]
    pub h2: bool,
    /// PEM file of CAs that are trusted instead of the system's.
    #[serde(default)]
    #[schemars(extend("x-unset" = "the system's CAs"), example = &"/etc/tollgate/gpu-ca.pem")]
    pub ca: Option<FilePath>,
    /// Client certificate, PEM; with `client_key`.
    #[serde(default)]
    #[schemars(extend("x-unset" = "none is shown"), example = &"/etc/tollgate/gpu-client.pem")]
    pub client_cert: Option<FilePath>,
    /// Its private key, PEM.
    #[serde(default)]
    #[schemars(extend("x-unset" = "none is shown"), example = &"/etc/tollgate/gpu-client.key")]
    pub client_key: Option<FilePath>,
    /// What policies can demand: where it stands, what it keeps.
    #[serde(default)]
    #[schemars(example = serde_json::json!({"on_premises": true, "region": "eu"}))]
    pub labels: Labels,
    /// How long things may take.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Active health checks.
    #[serde(default)]
    #[schemars(extend("x-unset" = "vllm: checked with the defaults below; others: not checked"))]
    pub health: Option<Health>,
    /// When a failing target is left alone.
    #[serde(default)]
    pub breaker: Breaker,
    /// What happens upstream when the client leaves: `cancel` ends the request, `drain` reads it to its end.
    #[serde(default = "cancel")]
    pub on_client_gone: ClientGone,
    /// Whether it understands `stream_options.include_usage`.
    #[serde(default = "yes")]
    pub stream_usage: bool,
    /// Whether it speaks `/v1/responses`.
    #[serde(default)]
    #[schemars(extend("x-unset" = "vllm, openai, azure: yes, anthropic: no"))]
    pub responses: Option<bool>,
    /// Whether it speaks Anthropic's `/v1/messages`.
    #[serde(default)]
    #[schemars(extend("x-unset" = "vllm, anthropic: yes, openai, azure: no"))]
    pub messages: Option<bool>,
    /// Keep a conversation on one target, which `previous_response_id` and stored prompts need.
    #[serde(default)]
    pub sticky: bool,
    /// Requests in flight per target; past it the next target is tried.
    #[serde(default)]
    #[schemars(range(min = 1), extend("x-unset" = "no bound of its own"), example = 64)]
    pub max_in_flight: Option<usize>,
    /// Out of service: no new requests, while health checks and requests in flight go on.
    #[serde(default)]
    pub drained: bool,
    /// Response headers that begin with one of these are passed on besides the standard set.
    #[serde(default)]
    #[schemars(example = serde_json::json!(["x-vllm-"]))]
    pub pass_headers: Vec<String>,
}

/// Timeouts of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// TCP and TLS.
    pub connect: HumanDuration,
    /// From the attempt's beginning, connecting included, to the first real event of a stream or the whole header of a plain answer.
    /// The time to connect is bounded by `connect` alone; what it takes counts here.
    pub first_byte: HumanDuration,
    /// Longest silence after that.
    pub idle: HumanDuration,
    /// The whole call, from the request's head over all attempts; of a model's targets the longest counts.
    pub total: HumanDuration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let secs = |s| HumanDuration(Duration::from_secs(s));
        Timeouts { connect: secs(3), first_byte: secs(300), idle: secs(120), total: secs(900) }
    }
}

/// Active health checks: `GET path`, where 2xx is healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Health {
    /// `false`: not checked, only the breaker judges.
    pub enabled: bool,
    /// Path under the base URL.
    pub path: String,
    /// Time from one check to the next.
    pub interval: HumanDuration,
    /// An answer after this is a bad one.
    pub timeout: HumanDuration,
    /// Good answers in a row until a target is used again.
    #[schemars(range(min = 1, max = 100))]
    pub healthy_after: u32,
    /// Bad ones in a row until it is not.
    #[schemars(range(min = 1, max = 100))]
    pub unhealthy_after: u32,
}

impl Default for Health {
    fn default() -> Self {
        Health {
            enabled: true,
            path: "/health".into(),
            interval: HumanDuration(Duration::from_secs(2)),
            timeout: HumanDuration(Duration::from_secs(1)),
            healthy_after: 2,
            unhealthy_after: 3,
        }
    }
}

/// The circuit breaker of each target: opens on either measure, lets one probe through after `open`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// Failures in a row that open it.
    #[schemars(range(min = 1))]
    pub consecutive_failures: u32,
    /// Share of failures within `window` that opens it, above 0 up to 1.
    #[schemars(range(min = 0, max = 1))]
    pub error_rate: f64,
    /// Fewest requests in `window` for `error_rate` to count.
    #[schemars(range(min = 1))]
    pub min_requests: u32,
    /// Over which time `error_rate` is taken; 1s to 1h.
    pub window: HumanDuration,
    /// How long it stays open at first; doubles with every failed probe.
    pub open: HumanDuration,
    /// And how long at most.
    pub max_open: HumanDuration,
}

impl Default for Breaker {
    fn default() -> Self {
        let secs = |s| HumanDuration(Duration::from_secs(s));
        Breaker {
            consecutive_failures: 5,
            error_rate: 0.5,
            min_requests: 20,
            window: secs(30),
            open: secs(5),
            max_open: secs(60),
        }
    }
}

/// A model name that callers use.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The name; `*` is any other name, passed on as it is.
    #[schemars(example = &"mistral-7b", example = &"*")]
    pub name: String,
    /// Variants; `weight` says how often each is picked (A/B). Within one, the least busy host is.
    pub targets: Vec<Target>,
    /// Tried in this order when no target above can answer.
    #[serde(default)]
    pub fallback: Vec<Target>,
    /// Keep the variant per session or per user.
    #[serde(default)]
    #[schemars(extend("x-unset" = "every request draws anew"), example = &"session")]
    pub sticky: Option<StickyBy>,
    /// Silence of a stream after which comments are sent, so that load balancers keep the connection; `0s`: never.
    #[serde(default = "fifteen_seconds")]
    pub first_event_comment_after: HumanDuration,
    /// Labels that a target must carry to serve this model, on every attempt.
    #[serde(default)]
    #[schemars(example = serde_json::json!({"region": "eu"}))]
    pub require: Labels,
    /// Most attempts per request, over all targets.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 20))]
    pub max_attempts: usize,
}

/// A provider's model behind a name.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Name of the variant in metrics, answers and the admin API; unique within the model.
    #[serde(default)]
    #[schemars(extend("x-unset" = "the provider's id, with `:` and the model where that is set"), example = &"lora")]
    pub id: Option<String>,
    /// Id of a provider.
    #[schemars(example = &"gpu")]
    pub provider: String,
    /// The model's name there (azure: the deployment).
    #[serde(default)]
    #[schemars(extend("x-unset" = "the name as the caller wrote it"), example = &"mistral-7b-lora")]
    pub model: Option<String>,
    /// Share among `targets`; 0 is never picked. Means nothing in `fallback`.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub weight: u32,
    /// Added to the provider's labels; the same name here wins.
    #[serde(default)]
    #[schemars(example = serde_json::json!({"region": "eu"}))]
    pub labels: Labels,
    /// Instead of the provider's.
    #[serde(default)]
    #[schemars(extend("x-unset" = "the provider's"))]
    pub timeouts: Option<Timeouts>,
    /// Instead of the provider's.
    #[serde(default)]
    #[schemars(extend("x-unset" = "the provider's"), example = &"${OPENAI_API_KEY_EU}")]
    pub api_key: Option<Secret>,
}

/// A team route, or the rule of the `/v1` surfaces.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Serves `POST /api/{team}/predict`.
    #[serde(default)]
    #[schemars(extend("x-unset" = "the rule holds for the /v1 surfaces"), example = &"quant")]
    pub team: Option<String>,
    /// The model a team route asks.
    #[serde(default)]
    #[schemars(extend("x-unset" = "only without `team`: the caller names it"), example = &"mistral-7b")]
    pub model: Option<String>,
    /// Shorter than the targets' own, for this route.
    #[serde(default)]
    pub timeouts: RouteTimeouts,
    /// Headers a request must have, or its key's record stand for.
    #[serde(default)]
    #[schemars(example = serde_json::json!(["x-llm-source"]))]
    pub required_headers: Vec<String>,
    /// Callers without any credential count as this organisation.
    #[serde(default)]
    #[schemars(extend("x-unset" = "they are refused"), example = &"acme")]
    pub anonymous_as: Option<String>,
    /// Lowest role that may use it: auditor, developer, admin, superadmin in this order.
    #[serde(default)]
    #[schemars(extend("x-unset" = "any role"), example = &"developer")]
    pub minimum_role: Option<Role>,
}

/// Timeouts of a route.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RouteTimeouts {
    /// The whole request, all attempts together.
    #[schemars(extend("x-unset" = "the targets' own"), example = &"30s")]
    pub total: Option<HumanDuration>,
    /// Until the first real event or the whole header.
    #[schemars(extend("x-unset" = "the targets' own"), example = &"5s")]
    pub first_byte: Option<HumanDuration>,
}

fn yes() -> bool {
    true
}

fn cancel() -> ClientGone {
    ClientGone::Cancel
}

fn one() -> u32 {
    1
}

fn three() -> usize {
    3
}

fn fifteen_seconds() -> HumanDuration {
    HumanDuration(Duration::from_secs(15))
}
