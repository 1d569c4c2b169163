//! What the admin listener sees of the process, and may do to it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Serialize, Serializer};
use tollgate_proxy::config::Admin;

/// An answer that may take a while.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The process behind the admin listener. Calls come from its own threads, never from a request's.
pub trait Plane: Send + Sync + 'static {
    /// The settings in force; a reload may change token and hosts.
    fn settings(&self) -> Arc<Admin>;

    fn health(&self) -> Health;

    /// The whole page in Prometheus' text format.
    fn metrics(&self) -> String;

    fn config(&self) -> ConfigStatus;

    /// Reads the configuration again and swaps it in whole, or changes nothing and says why.
    fn reload(&self) -> Answer<'_, Result<ConfigStatus, Failure>>;

    fn upstreams(&self) -> Vec<Target>;

    fn issuers(&self) -> Vec<Issuer>;

    /// Takes a target out of service or back; kept across reload and restart.
    fn drain<'a>(&'a self, target: &'a str, drained: bool) -> Answer<'a, Result<(), DrainError>>;
}

/// How the process is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Everything that start needs is done.
    pub started: bool,
    /// New requests are welcome: started, not stopping, and nothing that policy needs has failed.
    pub ready: bool,
    pub checks: Vec<Check>,
}

/// One part that readiness depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub name: String,
    /// `ok`, or what is wrong in a word: the same as the data listener's.
    pub state: String,
}

/// The configuration in force, and how the latest attempt to change it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigStatus {
    pub generation: u64,
    /// Of the file, in hexadecimal digits.
    pub hash: String,
    #[serde(serialize_with = "rfc3339")]
    pub loaded_at: SystemTime,
    /// Of the latest reload, if it failed: the configuration in force is then an older one.
    pub last_error: Option<Failure>,
    pub warnings: Vec<Fault>,
}

/// Why a reload changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    #[serde(serialize_with = "rfc3339")]
    pub at: SystemTime,
    pub message: String,
    /// Every mistake in the file, where it has some.
    pub problems: Vec<Fault>,
}

/// One mistake, or something worth knowing, in the configuration. Never a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// `providers[0].api_key`
    pub path: String,
    pub message: String,
    pub line: Option<u64>,
}

/// One host that answers calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    /// What `drain` takes.
    pub name: String,
    pub provider: String,
    pub address: String,
    /// `healthy`, `unhealthy` or `unknown`.
    pub health: String,
    /// `closed`, `open` or `half_open`.
    pub breaker: String,
    /// By the admin API or by the configuration.
    pub drained: bool,
    pub in_flight: u64,
}

/// An issuer of tokens, and how fresh its keys are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Issuer {
    pub issuer: String,
    /// Keys that can be used; 0 while none were loaded.
    pub keys: usize,
    /// Seconds since its keys were last confirmed by their source.
    pub age_seconds: Option<u64>,
    /// Whether tokens of this issuer can be checked.
    pub usable: bool,
    /// Of the latest fetch, if it failed.
    pub error: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DrainError {
    /// No target of that name.
    Unknown,
    /// Drained by the configuration, which the admin API does not overrule.
    ByConfig,
    /// It could not be made to last; nothing was changed.
    NotKept(String),
}

fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    match jiff::Timestamp::try_from(*time) {
        Ok(stamp) => serializer.collect_str(&stamp),
        Err(_) => serializer.serialize_none(),
    }
}
