//! The data plane's configuration, validated: private invariants hold here, so later code need not check again.
//!
//! `raw` holds what the YAML file looks like (serde, JSON Schema); [`Config::build`] turns it into these types and
//! reports every error at once, each with its key path. Secrets are [`Secret`]s: they never appear in `Debug` output.

mod build;
mod change;
pub mod raw;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use build::Files;
pub use change::Change;
pub use tollgate_filters::conf::Rate;
use tollgate_filters::conf::{Problem, Secret};
use tollgate_filters::identity::Role;
pub use tollgate_filters::providers::ProviderKind;

pub type Name = Arc<str>;

/// The whole validated file.
#[derive(Debug, Clone)]
pub struct Config {
    pub listeners: Vec<Listener>,
    pub admin: Admin,
    pub state_dir: PathBuf,
    pub process: Process,
    pub bounds: Bounds,
    pub auth: Auth,
    pub organizations: Vec<Organization>,
    pub providers: Vec<Provider>,
    pub models: Vec<Model>,
    pub routes: Vec<Route>,
    pub limits: Vec<Limit>,
    pub guardrails: Guardrails,
    pub audit: Audit,
    pub telemetry: Telemetry,
    pub prices: tollgate_filters::policy::Prices,
    /// Not errors: what an operator should know (anonymous routes, operator-chosen keys, …).
    pub warnings: Vec<Problem>,
}

/// `listeners[]`: where clients connect.
#[derive(Debug, Clone)]
pub struct Listener {
    pub address: SocketAddr,
    pub tls: Option<ListenerTls>,
    /// HTTP/2 by ALPN on a TLS listener. Default true.
    pub h2: bool,
    /// HTTP/2 with prior knowledge on a plain listener. Default false.
    pub h2c: bool,
    pub trusted_proxies: Vec<ipnet::IpNet>,
    pub cors: Option<Cors>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Clients must show a certificate of one of these CAs.
    pub client_ca: Option<PathBuf>,
}

#[derive(Debug, Clone)]
pub struct Cors {
    /// Exact origins, or `*`.
    pub origins: Vec<String>,
    pub max_age: Duration,
}

#[derive(Debug, Clone)]
pub struct Admin {
    pub address: SocketAddr,
    pub tls: Option<ListenerTls>,
    /// SHA-256 of the admin token, hex. None: the protected paths do not exist.
    pub token_hash: Option<[u8; 32]>,
    /// Allowed `Host` values, without port.
    pub hosts: Vec<String>,
    /// Whether health answers name the parts they checked.
    pub show_checks: bool,
}

/// `process`: threads, shutdown, reload.
#[derive(Debug, Clone)]
pub struct Process {
    /// Request threads; default: number of cores.
    pub threads: usize,
    /// After SIGTERM: not ready, but still accepting, for so long.
    pub pre_stop: Duration,
    /// Longest drain after that.
    pub drain: Duration,
    /// Poll the file's hash every so often and reload when it changed.
    pub watch: Option<Duration>,
}

/// `bounds`: what may be in flight. Past any of them: an error at once, never a queue without end.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Largest request body. Default 32 MiB.
    pub max_body: usize,
    /// Longest time a body may take to arrive. Default 60 s.
    pub body_timeout: Duration,
    /// Bytes of request bodies in flight, all together. Default 512 MiB.
    pub max_bodies: usize,
    /// Requests in flight, all together. Default 10 000.
    pub max_requests: usize,
    /// Largest plain answer that is held to be read. Default 32 MiB.
    pub max_answer: usize,
    /// Largest single SSE event. Default 8 MiB.
    pub max_event: usize,
    /// Deepest nesting of a request's JSON. Default 128.
    pub max_depth: usize,
}

#[derive(Debug, Clone, Default)]
pub struct Auth {
    pub jwt: Vec<JwtIssuer>,
    /// Origins besides the same site that may use the `jwt` cookie.
    pub cookie_origins: Vec<String>,
    /// Whether the `jwt` cookie is read at all.
    pub cookie: bool,
}

#[derive(Debug, Clone)]
pub struct JwtIssuer {
    pub issuer: String,
    /// One of these must be in `aud`; or, for tokens without `aud`, be the `client_id`.
    pub audience: Vec<String>,
    pub keys: KeySource,
    pub algorithms: Vec<jsonwebtoken::Algorithm>,
    /// Accepted `typ` header values (case-insensitive, `application/` prefix ignored); empty: any or none.
    pub typ: Vec<String>,
    /// Accepted `token_use` claim values (Cognito); empty: not checked.
    pub token_use: Vec<String>,
    pub leeway: Duration,
    pub claims: ClaimNames,
    /// Organisations its tokens may name; `None`: any.
    pub organizations: Option<Vec<Name>>,
    pub refresh: Duration,
    /// Shortest time between two refreshes that an unknown `kid` asks for.
    pub min_refresh: Duration,
    /// How long keys stay good while the issuer cannot be reached.
    pub max_stale: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// `issuer` + `/.well-known/openid-configuration`.
    Discovery,
    Uri(String),
    File(PathBuf),
}

/// Which claim holds what. Defaults: `custom:orgId`, `custom:appId`, `email`, `custom:userRole`.
#[derive(Debug, Clone)]
pub struct ClaimNames {
    pub organization: String,
    pub application: String,
    pub user: String,
    pub role: String,
    /// Values of the role claim (or members of a list claim) → role.
    pub roles: BTreeMap<String, Role>,
    /// Used when the claim is absent.
    pub default_organization: Option<Name>,
    pub default_application: Option<Name>,
}

#[derive(Debug, Clone)]
pub struct Organization {
    pub id: Name,
    pub applications: Vec<Application>,
}

#[derive(Debug, Clone)]
pub struct Application {
    pub id: Name,
    pub keys: Vec<ApiKey>,
    /// Model names this application may use; `None`: all.
    pub models: Option<Vec<Name>>,
}

#[derive(Debug, Clone)]
pub struct ApiKey {
    pub id: Name,
    pub secret: KeySecret,
    pub role: Role,
    pub user: Option<Name>,
    pub models: Option<Vec<Name>>,
    pub source: Option<Name>,
    pub request_type: Option<Name>,
    pub disabled: bool,
}

/// SHA-256, never the key itself. Which bytes were hashed depends on the shape of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySecret {
    /// `tg_<id>_<secret>`: found by its id, compared by the hash of `<secret>`.
    Generated { sha256: [u8; 32] },
    /// An operator's own string of at least 22 characters: found by the hash of all of it.
    Chosen { sha256: [u8; 32] },
}

#[derive(Debug, Clone)]
pub struct Provider {
    pub id: Name,
    pub kind: ProviderKind,
    /// One target per URL.
    pub base_urls: Vec<BaseUrl>,
    pub api_key: Option<Secret>,
    /// Azure.
    pub api_version: Option<String>,
    pub h2: bool,
    pub ca: Option<PathBuf>,
    pub client_cert: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
    pub labels: Labels,
    pub timeouts: Timeouts,
    pub health: Option<HealthCheck>,
    pub breaker: Breaker,
    pub on_client_gone: ClientGone,
    /// Whether `stream_options.include_usage` may be sent. Default true.
    pub stream_usage: bool,
    /// Surfaces beyond chat, completions and embeddings that this provider speaks.
    pub responses: bool,
    pub messages: bool,
    /// Requests of one conversation stay on one target, so `previous_response_id` works.
    pub sticky: bool,
    pub max_in_flight: Option<usize>,
    /// Configured out of service; health and in-flight requests go on.
    pub drained: bool,
    /// Response headers that begin with one of these are passed on besides the standard set.
    pub pass_headers: Vec<String>,
}

pub type Labels = BTreeMap<String, String>;

/// `scheme://host[:port][/prefix]`, split.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BaseUrl {
    pub tls: bool,
    /// Lower case; an IPv6 address without brackets.
    pub host: String,
    pub port: u16,
    /// Without a trailing slash and without `/v1`: paths of the surfaces are appended.
    pub prefix: String,
}

impl BaseUrl {
    /// `host[:port]` as it stands in a `Host` header: an IPv6 address in brackets, no port where it is the scheme's own.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    pub connect: Duration,
    /// From the end of the connect to the first real event (streams) or the whole header (plain answers).
    pub first_byte: Duration,
    /// Longest silence after the first event.
    pub idle: Duration,
    pub total: Duration,
}

#[derive(Debug, Clone)]
pub struct HealthCheck {
    pub path: String,
    pub interval: Duration,
    pub timeout: Duration,
    pub healthy_after: u32,
    pub unhealthy_after: u32,
}

#[derive(Debug, Clone, Copy)]
pub struct Breaker {
    pub consecutive_failures: u32,
    /// Share of failures in the window, 0 to 1, that opens; needs `min_requests`.
    pub error_rate: f64,
    pub min_requests: u32,
    pub window: Duration,
    /// How long it stays open before a probe; doubles up to `max_open`.
    pub open: Duration,
    pub max_open: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientGone {
    Cancel,
    Drain,
}

#[derive(Debug, Clone)]
pub struct Model {
    /// `*`: any name, passed on as it is.
    pub name: Name,
    pub targets: Vec<Target>,
    /// Tried in order after `targets`.
    pub fallback: Vec<Target>,
    /// A/B variant is kept per this.
    pub sticky: Option<StickyBy>,
    /// Longest comment-free silence of a stream. Default 15 s.
    pub first_event_comment_after: Option<Duration>,
    /// Labels a target must carry.
    pub require: Labels,
    /// Most attempts per request, over all targets.
    pub max_attempts: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StickyBy {
    Session,
    User,
}

#[derive(Debug, Clone)]
pub struct Target {
    pub id: Name,
    pub provider: Name,
    /// Name at the provider; `None`: as the client wrote it.
    pub model: Option<Name>,
    pub weight: u32,
    pub labels: Labels,
    pub timeouts: Option<Timeouts>,
    pub api_key: Option<Secret>,
}

/// `routes[]`: team routes and per-path rules.
#[derive(Debug, Clone)]
pub struct Route {
    /// `POST /api/{team}/predict`. None: the rule holds for the `/v1` surfaces.
    pub team: Option<Name>,
    pub model: Option<Name>,
    pub total: Option<Duration>,
    pub first_byte: Option<Duration>,
    pub required_headers: Vec<String>,
    pub anonymous_as: Option<Name>,
    pub minimum_role: Option<Role>,
}

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum LimitScope {
    Organization,
    Application,
    User,
    Key,
    Model,
    Address,
}

#[derive(Debug, Clone)]
pub struct Limit {
    pub id: Name,
    pub scope: LimitScope,
    /// Holds only for requests that match.
    pub only: Selector,
    /// requests per period.
    pub requests: Option<Rate>,
    pub burst: Option<u64>,
    pub tokens: Option<Rate>,
    pub token_burst: Option<u64>,
    pub concurrency: Option<u64>,
}

/// Empty fields match everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    pub organization: Option<Name>,
    pub application: Option<Name>,
    pub user: Option<Name>,
    pub key: Option<Name>,
    pub model: Option<Name>,
    pub team: Option<Name>,
}

/// Guardrail overrides of one configuration, at most: each request is matched against all of them.
pub const MAX_OVERRIDES: usize = 65_535;

#[derive(Debug, Clone)]
pub struct Guardrails {
    /// Actions by kind and direction that everyone gets: the named profile, read from its file.
    pub profile: tollgate_filters::scan::Profile,
    /// Narrower settings; the narrowest match wins.
    pub overrides: Vec<GuardrailOverride>,
    /// Rule files besides the built-in ones.
    pub rules: Vec<tollgate_filters::scan::RuleSpec>,
    /// Files of signals of prompt injections besides the built-in ones.
    pub injection_signals: Vec<tollgate_filters::scan::injection::InjectionSpec>,
    /// `check` refuses rules that may hold more. Default 320.
    pub max_hold_bytes: usize,
    /// Show the found values in error details. Default false.
    pub show_values: bool,
    /// Key of the pseudonyms (HMAC), per organisation derived from it.
    pub pseudonym_key: Option<Secret>,
    /// Kinds whose pseudonyms look like their values.
    pub look_alike: Arc<[tollgate_filters::scan::LookAlike]>,
    /// What becomes of `user`, `metadata` and their like.
    pub identifiers: tollgate_filters::scan::request::Identifiers,
    /// What the client is told when a guard cannot do its work.
    pub failed: GuardFailed,
}

#[derive(Debug, Clone)]
pub struct GuardFailed {
    pub code: FailedCode,
    /// `None`: what could not be checked.
    pub message: Option<String>,
}

/// Codes that may stand for a guard that failed.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FailedCode {
    #[default]
    GuardrailFailed,
    UpstreamError,
    Overloaded,
    NoUpstream,
}

/// Actions that a shadow may stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shadowed {
    Mask,
    Pseudonymise,
    Block,
}

#[derive(Debug, Clone)]
pub struct GuardrailOverride {
    pub only: Selector,
    pub kind: Option<String>,
    pub rule: Option<String>,
    pub direction: Option<tollgate_filters::scan::Direction>,
    /// Action and shadow; `None`: what a wider entry says.
    pub action: Option<tollgate_filters::scan::Treatment>,
    /// `None`: what a wider entry demands.
    pub require: Option<Labels>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    Off,
    Redacted,
    Hashed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// 503 AUDIT_UNAVAILABLE before the upstream is called.
    Refuse,
    /// The event is dropped, counted and reported as a gap.
    Drop,
}

#[derive(Debug, Clone)]
pub struct Audit {
    pub content: Content,
    /// Each text is cut after so many bytes. Default 2 KiB.
    pub max_text: usize,
    pub when_full: WhenFull,
    /// Events waiting for the spool. Default 20 000: every request in flight holds a place, so it must be above `max_requests`.
    pub queue: usize,
    /// Longest time until an event is durable. Default 50 ms.
    pub commit_interval: Duration,
    /// `seq` numbers taken from the spool at a time. Default 10 000.
    pub seq_block: u64,
    /// Identity in events; default: a random id kept in the state directory.
    pub instance: Option<Name>,
    /// Key of `content: hashed` (HMAC-SHA-256).
    pub hash_key: Option<Secret>,
}

#[derive(Debug, Clone)]
pub struct Telemetry {
    pub log: LogFormat,
    pub level: String,
    /// Organisation as a metric label. Default false.
    pub org_label: bool,
    /// A `metadata` object in plain answers. Default false.
    pub answer_metadata: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Json,
    Text,
    Off,
}
