//! What the YAML file looks like: serde structs whose doc comments, defaults and examples are the JSON Schema and, from it, the
//! configuration reference.
//!
//! Nothing here is checked beyond shape: [`build`](super::build) does that. Schema keywords of our own: `x-unset` (what happens
//! when the key is absent and has no default), `x-reload` (what a reload does with it, where it is not simply taken over),
//! `x-file` (a path that must be readable), `x-off-when-empty` (an empty text switches the entry off).

mod auth;
mod guardrails;
mod limits;
mod observe;
mod process;
mod tenants;
mod text;
mod upstreams;

use schemars::JsonSchema;
use serde::Deserialize;

pub use auth::{Auth, ClaimNames, JwtIssuer};
pub use guardrails::{Failed, Guardrails, Override};
pub use limits::{Limit, Selector};
pub use observe::{Audit, AuditMode, Telemetry};
pub use process::{Admin, Bounds, Cors, Listener, Process, Tls};
pub use tenants::{ApiKey, Application, Organization};
pub use text::{FilePath, LabelText, Labels};
pub use upstreams::{Breaker, Health, Model, Provider, Route, RouteTimeouts, Target, Timeouts};

/// Tollgate's configuration file: one gateway, everything it serves and everything it enforces.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where clients connect; at least one.
    pub listeners: Vec<Listener>,
    /// The admin listener: health, metrics and the admin API.
    #[serde(default)]
    pub admin: Admin,
    /// Folder for what must survive a restart: the audit spool, the store, drains, the instance's identity. Created when missing.
    #[serde(default = "state_dir")]
    #[schemars(extend("x-reload" = "refused"), example = &"/var/lib/tollgate")]
    pub state_dir: String,
    /// Threads, shutdown, reload by file change.
    #[serde(default)]
    #[schemars(extend("x-reload" = "at the next start"))]
    pub process: Process,
    /// What may be in flight. Past any of these a request is refused at once; there is no queue without end.
    #[serde(default)]
    pub bounds: Bounds,
    /// How callers prove who they are, besides API keys.
    #[serde(default)]
    pub auth: Auth,
    /// Tenants: organisations, their applications, their API keys.
    #[serde(default)]
    pub organizations: Vec<Organization>,
    /// Where models run: vLLM hosts and cloud accounts. Every base URL is one target.
    #[serde(default)]
    pub providers: Vec<Provider>,
    /// Model names that callers use, and the targets behind each.
    #[serde(default)]
    pub models: Vec<Model>,
    /// Team routes (`POST /api/{team}/predict`) and, without `team`, the rule of the `/v1` surfaces.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Token buckets and concurrency limits. A request takes all that match it in one step, or none.
    #[serde(default)]
    pub limits: Vec<Limit>,
    /// What is looked for in requests and answers, and what happens when it is found.
    #[serde(default)]
    pub guardrails: Guardrails,
    /// The audit trail.
    #[serde(default)]
    pub audit: Audit,
    /// Logs and metrics.
    #[serde(default)]
    pub telemetry: Telemetry,
    /// File of model prices in the form of conf/prices.yaml.
    #[serde(default)]
    #[schemars(extend("x-unset" = "the prices built in at release"), example = &"conf/prices.yaml")]
    pub prices: Option<FilePath>,
}

fn state_dir() -> String {
    "./state".into()
}
