//! What one request sees of the configuration ([`Runtime`], swapped whole by a reload), and what outlives every reload ([`Live`]).

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tollgate_filters::conf::Problem;
use tollgate_filters::identity::Caller;
use tollgate_filters::verdict::{Code, Rejection};

use crate::audit::AuditQueue;
use crate::auth::{Authenticator, Directory, KeyStatus};
use crate::config::{Config, Listener, Model, Route, Target, WhenFull};
use crate::guard::Guard;
use crate::limits::{LimitRules, LimitsBackend};
use crate::load::{Lifecycle, Load};
use crate::offered::Offered;
use crate::telemetry::Metrics;
use crate::upstream::{Fleet, Upstreams};

/// One configuration, compiled. Immutable.
pub struct Runtime {
    pub(crate) generation: u64,
    /// First characters of the file's hash: what audit events name.
    pub(crate) version: Arc<str>,
    pub(crate) rules_version: Arc<str>,
    pub(crate) prices_version: Arc<str>,
    pub(crate) config: Config,
    pub(crate) directory: Directory,
    pub(crate) guard: Guard,
    pub(crate) limits: Arc<LimitRules>,
    pub(crate) fleet: Arc<Fleet>,
    models: HashMap<Arc<str>, usize>,
    wildcard: Option<usize>,
    /// Total time of a call, by model: the longest of its targets'.
    totals: Vec<Duration>,
}

/// State that a reload never resets: counts, buckets, breakers, caches, queues.
pub struct Live {
    pub authenticator: Authenticator,
    pub limits: Box<dyn LimitsBackend>,
    pub upstreams: Upstreams,
    pub audit: AuditQueue,
    pub metrics: Arc<Metrics>,
    pub load: Load,
    pub offered: Offered,
    pub lifecycle: Arc<Lifecycle>,
}

/// Why a configuration that is well formed cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("guardrail rules: {0}")]
    Rules(String),
    #[error("{path}: {why}")]
    File { path: PathBuf, why: String },
    #[error("{0}")]
    Invalid(String),
}

impl BuildError {
    fn problems(problems: &[Problem]) -> BuildError {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        BuildError::Invalid(lines.join("; "))
    }
}

/// Whether requests can be served, and by what that was judged.
#[derive(Debug, Clone)]
pub struct Readiness {
    pub ready: bool,
    /// Name of the part → `ok`, or what is wrong in a word.
    pub checks: Vec<(&'static str, &'static str)>,
}

impl Live {
    /// Ready: started, not stopping, and everything that policy needs can answer.
    pub fn readiness(&self, runtime: &Runtime) -> Readiness {
        let life = match (self.lifecycle.is_started(), self.lifecycle.is_stopping()) {
            (_, true) => "stopping",
            (false, _) => "starting",
            (true, false) => "ok",
        };
        let full = runtime.config.audit.when_full == WhenFull::Refuse && self.audit.is_full();
        let audit = if full { "full" } else { "ok" };
        // Limits are counted in this process: there is nothing in them that could fail.
        let checks = vec![("process", life), ("audit", audit)];
        Readiness { ready: checks.iter().all(|(_, state)| *state == "ok"), checks }
    }
}

impl Live {
    /// The metrics page, with the gauges as they stand now.
    pub fn metrics_page(&self, runtime: &Runtime) -> String {
        let metrics = &self.metrics;
        // Another page must not be written while this one's gauges are taken down and put up again.
        let _turn = metrics.page.lock();
        Metrics::set(&metrics.in_flight, self.load.requests());
        Metrics::set(&metrics.body_bytes, self.load.body_bytes());
        Metrics::set(&metrics.audit_queue, self.audit.waiting());
        metrics.target_up.reset(); // targets that a reload removed disappear
        metrics.target_in_flight.reset();
        for target in self.upstreams.list() {
            let labels = [&*target.provider, target.id.as_str()];
            metrics.target_up.with_label_values(&labels).set(i64::from(target.usable));
            metrics
                .target_in_flight
                .with_label_values(&labels)
                .set(i64::try_from(target.in_flight).unwrap_or(i64::MAX));
        }
        metrics.issuer_usable.reset();
        metrics.issuer_age.reset();
        for keys in self.issuer_keys(runtime) {
            let labels = [&*keys.issuer];
            metrics.issuer_usable.with_label_values(&labels).set(i64::from(keys.usable));
            if let Some(age) = keys.age {
                metrics.issuer_age.with_label_values(&labels).set(age.as_secs_f64());
            }
        }
        metrics.text()
    }

    /// How fresh the keys of each issuer are.
    pub fn issuer_keys(&self, runtime: &Runtime) -> Vec<KeyStatus> {
        self.authenticator.key_status(&runtime.directory)
    }
}

impl Runtime {
    /// Compiles everything that a request needs. Slow (rules): never on a request thread.
    pub fn build(config: Config, version: &str, generation: u64, live: &Live) -> Result<Runtime, BuildError> {
        let guard = Guard::build(&config.guardrails).map_err(|errors| {
            let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
            BuildError::Rules(lines.join("; "))
        })?;
        let models: HashMap<_, _> =
            config.models.iter().enumerate().map(|(index, model)| (Arc::clone(&model.name), index)).collect();
        Ok(Runtime {
            generation,
            version: version.into(),
            rules_version: guard.version().into(),
            prices_version: config.prices.version().into(),
            directory: live
                .authenticator
                .directory(&config)
                .map_err(|problems| BuildError::problems(&problems))?,
            fleet: live.upstreams.build(&config).map_err(|problems| BuildError::problems(&problems))?,
            limits: Arc::new(LimitRules::new(&config.limits)),
            wildcard: models.get("*").copied(),
            totals: config.models.iter().map(|model| longest(&config, model)).collect(),
            models,
            guard,
            config,
        })
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn fleet(&self) -> &Arc<Fleet> {
        &self.fleet
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The entry that serves `name`: its own, else the wildcard's.
    pub(crate) fn model(&self, name: &str) -> Option<&Model> {
        let index = self.models.get(name).copied().or(self.wildcard)?;
        self.config.models.get(index)
    }

    /// How long a call of this model may take, all attempts together, where its route does not say.
    pub(crate) fn total(&self, model: &Model) -> Duration {
        let index = self.models.get(&model.name).copied();
        index.and_then(|index| self.totals.get(index)).copied().unwrap_or(Duration::from_secs(600))
    }

    /// The entry for a call by this caller, or what to tell it.
    pub(crate) fn model_for(&self, caller: &Caller, name: &str) -> Result<&Model, Rejection> {
        let Some(model) = self.model(name).filter(|_| name != "*") else {
            let message = format!(
                "There is no model `{}` here. GET /v1/models lists the models you may use.",
                clip(name)
            );
            return Err(Rejection::new(Code::ModelNotFound, message).with_param("model"));
        };
        if !self.may_use(caller, name) {
            let message = format!(
                "This credential may not use the model `{}`. GET /v1/models lists the models you may use.",
                clip(name)
            );
            return Err(Rejection::new(Code::ModelNotAllowed, message).with_param("model"));
        }
        Ok(model)
    }

    pub(crate) fn may_use(&self, caller: &Caller, name: &str) -> bool {
        self.directory.allows(caller, name)
    }

    /// The rule for a team's route.
    pub(crate) fn team(&self, team: &str) -> Option<&Route> {
        self.config.routes.iter().find(|route| route.team.as_deref() == Some(team))
    }

    /// The rule for the `/v1` surfaces, if there is one: that of this very model, else the one for any.
    pub(crate) fn surface_route(&self, model: Option<&str>) -> Option<&Route> {
        let surfaces = || self.config.routes.iter().filter(|route| route.team.is_none());
        let own = surfaces().find(|route| route.model.is_some() && route.model.as_deref() == model);
        own.or_else(|| surfaces().find(|route| route.model.is_none()))
    }

    /// The listener that accepted a connection to `local`: by whole address, else by port (a listener on all addresses).
    pub(crate) fn listener(&self, local: Option<std::net::SocketAddr>) -> Option<&Listener> {
        let local = local?;
        let listeners = &self.config.listeners;
        listeners
            .iter()
            .find(|listener| listener.address == local)
            .or_else(|| listeners.iter().find(|listener| listener.address.port() == local.port()))
    }
}

fn longest(config: &Config, model: &Model) -> Duration {
    let of_provider = |target: &Target| {
        let provider = config.providers.iter().find(|provider| provider.id == target.provider)?;
        Some(target.timeouts.unwrap_or(provider.timeouts).total)
    };
    model
        .targets
        .iter()
        .chain(&model.fallback)
        .filter_map(of_provider)
        .max()
        .unwrap_or(Duration::from_secs(600))
}

/// Caller-chosen text in a message, cut to a readable length.
fn clip(name: &str) -> String {
    if name.chars().count() <= 80 {
        name.to_owned()
    } else {
        name.chars().take(80).chain("…".chars()).collect()
    }
}
