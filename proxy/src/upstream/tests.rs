//! A fleet from a configuration, and what requests see of it.

mod plan;
mod probe;

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tollgate_filters::chat::Api;
use tollgate_filters::select::{BreakerState, Failure, HealthState};

use super::*;
use crate::config::{Files, raw};

/// Everything that was told, in order.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Told {
    fn all(&self) -> Vec<String> {
        self.0.lock().clone()
    }

    fn push(&self, target: TargetName<'_>, what: &str) {
        self.0.lock().push(format!("{} {what}", target.target));
    }
}

impl UpstreamEvents for Told {
    fn health_changed(&self, target: TargetName<'_>, state: HealthState) {
        self.push(target, state.as_str());
    }
    fn breaker_changed(&self, target: TargetName<'_>, state: BreakerState) {
        self.push(target, state.as_str());
    }
    fn credential_refused(&self, target: TargetName<'_>) {
        self.push(target, "credential");
    }
}

struct Setup {
    upstreams: Upstreams,
    told: Arc<Told>,
    /// Deleted with the setup.
    _state: tempfile::TempDir,
    state: PathBuf,
}

fn setup() -> Setup {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let state = dir.path().to_owned();
    let told = Arc::new(Told::default());
    let upstreams =
        Upstreams::new(&state, Arc::clone(&told) as Arc<dyn UpstreamEvents>).expect("an empty folder");
    Setup { upstreams, told, _state: dir, state }
}

fn config(providers: Value, models: Value) -> Config {
    let mut file = json!({"listeners": [{"address": "127.0.0.1:0"}], "admin": {"address": "127.0.0.1:0"}});
    file["providers"] = providers;
    file["models"] = models;
    let raw: raw::Config = serde_json::from_value(file).expect("the file's shape");
    Config::build(raw, Files::default()).expect("a valid configuration")
}

impl Setup {
    fn fleet(&self, providers: Value, models: Value) -> Arc<Fleet> {
        self.adopt(&config(providers, models))
    }

    fn adopt(&self, config: &Config) -> Arc<Fleet> {
        let fleet = self.upstreams.build(config).expect("a fleet");
        self.upstreams.adopt(&fleet);
        fleet
    }
}

fn want() -> Want<'static> {
    Want {
        api: Api::Chat,
        stateful: false,
        organization: "acme",
        application: "chat",
        user: None,
        key: Some("dev"),
        session: None,
        require: None,
        seed: 1,
    }
}

fn plan(fleet: &Fleet, model: &str, want: &Want<'_>) -> Plan {
    fleet.plan(fleet.model(model).expect("the model"), want).expect("a plan")
}

/// Hosts' ports and variants in the order they are tried when each fails in the same way.
fn order(fleet: &Fleet, model: &str, want: &Want<'_>, failure: Failure, now: u64) -> Vec<String> {
    let mut plan = plan(fleet, model, want);
    let mut order = Vec::new();
    while let Some(attempt) = plan.next(now) {
        order.push(format!("{}:{}", attempt.target().id, attempt.address().port()));
        plan.fail(attempt, failure, now);
    }
    order
}

const SERVER_ERROR: Failure = Failure::Status { status: 500, retry_after: None };
const S: u64 = 1_000_000_000;
