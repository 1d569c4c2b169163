//! `listeners`, `admin`, `process`, `bounds`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_filters::conf::{ByteSize, HumanDuration};

use super::FilePath;

/// A port that clients connect to.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// IP address and port.
    #[schemars(extend("x-reload" = "refused"), example = &"0.0.0.0:8080", example = &"[::]:8443")]
    pub address: String,
    /// TLS with this certificate.
    #[serde(default)]
    #[schemars(extend("x-unset" = "plain HTTP", "x-reload" = "files are read again; on or off is refused"))]
    pub tls: Option<Tls>,
    /// HTTP/2 by ALPN; only meaningful with TLS.
    #[serde(default = "yes")]
    #[schemars(extend("x-reload" = "refused"))]
    pub h2: bool,
    /// HTTP/2 with prior knowledge on a plain listener.
    #[serde(default)]
    #[schemars(extend("x-reload" = "refused"))]
    pub h2c: bool,
    /// Networks whose `X-Forwarded-For` is believed; the client is its rightmost untrusted address.
    #[serde(default)]
    #[schemars(example = serde_json::json!(["10.0.0.0/8"]))]
    pub trusted_proxies: Vec<String>,
    /// Cross-origin requests from browsers.
    #[serde(default)]
    #[schemars(extend("x-unset" = "no CORS header is ever sent"))]
    pub cors: Option<Cors>,
}

/// Certificate and key of a listener, PEM files.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Certificate chain, the server's first.
    #[schemars(example = &"/etc/tollgate/tls/cert.pem")]
    pub cert: FilePath,
    /// Private key.
    #[schemars(example = &"/etc/tollgate/tls/key.pem")]
    pub key: FilePath,
    /// Clients must show a certificate of one of these CAs.
    #[serde(default)]
    #[schemars(extend("x-unset" = "no client certificate is asked for"), example = &"/etc/tollgate/tls/clients.pem")]
    pub client_ca: Option<FilePath>,
}

/// Which web origins may call.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// Exact origins (`https://app.example.com`), or `*` for any.
    #[schemars(example = serde_json::json!(["https://app.example.com"]))]
    pub origins: Vec<String>,
    /// How long a browser may keep the preflight's answer.
    #[serde(default = "ten_minutes")]
    pub max_age: HumanDuration,
}

/// The admin listener. Beyond loopback it needs TLS and a token.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// IP address and port.
    #[schemars(extend("x-reload" = "refused"))]
    pub address: String,
    /// TLS with this certificate.
    #[schemars(extend("x-unset" = "plain HTTP, loopback only", "x-reload" = "files are read again; on or off is refused"))]
    pub tls: Option<Tls>,
    /// SHA-256 of the admin token, 64 hex digits: `printf %s "$TOKEN" | sha256sum`. The token itself: 256 random bits.
    #[schemars(extend("x-unset" = "only health and, on loopback, metrics exist"), example = &"3f0a…")]
    pub token_hash: Option<String>,
    /// Further `Host` names that are answered, without port. Loopback names and the listener's own address always are.
    #[schemars(example = serde_json::json!(["tollgate-admin.internal"]))]
    pub hosts: Vec<String>,
    /// Whether the data listener's health answers name the parts they checked (process, audit); the admin listener's always do.
    pub show_checks: bool,
}

impl Default for Admin {
    fn default() -> Self {
        Admin {
            address: "127.0.0.1:8081".into(),
            tls: None,
            token_hash: None,
            hosts: Vec::new(),
            show_checks: true,
        }
    }
}

/// The process itself.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Process {
    /// Threads that serve requests, 1 to 1024.
    #[schemars(range(min = 1, max = 1024), extend("x-unset" = "one per CPU core"))]
    pub threads: Option<usize>,
    /// After SIGTERM: not ready, yet still accepting, for so long, so that load balancers can look away first.
    pub pre_stop: HumanDuration,
    /// Longest time after that for requests in flight to end; what is left then gets an error event.
    pub drain: HumanDuration,
    /// Look at this file so often and reload when its content changed (Kubernetes ConfigMaps). At least 1s.
    #[schemars(extend("x-unset" = "reload on SIGHUP and by the admin API only"), example = &"10s")]
    pub watch: Option<HumanDuration>,
}

impl Default for Process {
    fn default() -> Self {
        Process {
            threads: None,
            pre_stop: HumanDuration(Duration::ZERO),
            drain: HumanDuration(Duration::from_secs(30)),
            watch: None,
        }
    }
}

/// Bounds on memory and time. Each holds alone, and `max_bodies` and `max_requests` over all requests together.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Bounds {
    /// Largest request body; a larger one is 413 BODY_TOO_LARGE.
    pub max_body: ByteSize,
    /// Longest time a body may take to arrive; then 408 REQUEST_TIMEOUT.
    pub body_timeout: HumanDuration,
    /// Bytes of request bodies in flight, all together; past it 503 OVERLOADED.
    pub max_bodies: ByteSize,
    /// Requests in flight, all together; past it 503 OVERLOADED.
    #[schemars(range(min = 1))]
    pub max_requests: usize,
    /// Largest plain answer that is held to be checked. A larger one is 502 GUARDRAIL_FAILED where a guard must read it, else streamed through.
    pub max_answer: ByteSize,
    /// Largest single event of a stream.
    pub max_event: ByteSize,
    /// Deepest nesting of a request's JSON.
    #[schemars(range(min = 8, max = 1024))]
    pub max_depth: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        Bounds {
            max_body: ByteSize(32 * MIB),
            body_timeout: HumanDuration(Duration::from_secs(60)),
            max_bodies: ByteSize(512 * MIB),
            max_requests: 10_000,
            max_answer: ByteSize(32 * MIB),
            max_event: ByteSize(8 * MIB),
            max_depth: 128,
        }
    }
}

fn yes() -> bool {
    true
}

fn ten_minutes() -> HumanDuration {
    HumanDuration(Duration::from_secs(600))
}
