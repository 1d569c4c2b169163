//! Background work: health probes and name resolution, always for the adopted fleet.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tollgate_filters::select::HealthState;

use super::{Endpoint, Fleet, ProviderEntry, TargetName, UpstreamEvents};
use crate::config::HealthCheck;

/// How often names are resolved. The system's resolver caches, or does not, as its operator decided.
const RESOLVE_EVERY: Duration = Duration::from_secs(30);
/// After a failure, and while a name has no address yet.
const RESOLVE_AGAIN: Duration = Duration::from_secs(5);
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Addresses kept of a name.
const MOST_ADDRESSES: usize = 64;
/// Targets looked at together when a fleet is warmed up.
const WARM_TOGETHER: usize = 64;

/// What a watcher works with; a change of any part starts a new one.
#[derive(Clone)]
struct Watched {
    provider: Arc<ProviderEntry>,
    endpoint: Arc<Endpoint>,
    events: Arc<dyn UpstreamEvents>,
}

/// Runs until it is dropped, and its watchers with it.
pub(super) async fn run(mut fleets: watch::Receiver<Option<Arc<Fleet>>>, events: Arc<dyn UpstreamEvents>) {
    let mut watchers: HashMap<String, JoinSet<()>> = HashMap::new();
    loop {
        if let Some(fleet) = fleets.borrow_and_update().clone() {
            follow(&fleet, &events, &mut watchers);
        }
        if fleets.changed().await.is_err() {
            return;
        }
    }
}

/// Starts watchers for what is new, ends those for what is gone, lets the others run on: a reload does not reset probing.
fn follow(fleet: &Fleet, events: &Arc<dyn UpstreamEvents>, watchers: &mut HashMap<String, JoinSet<()>>) {
    let mut old = std::mem::take(watchers);
    for provider in fleet.providers() {
        let client = OnceClient::default();
        for endpoint in &provider.endpoints {
            let name = identity(provider, endpoint);
            if watchers.contains_key(&name) {
                continue;
            }
            let watcher = old.remove(&name).unwrap_or_else(|| {
                let (provider, endpoint) = (Arc::clone(provider), Arc::clone(endpoint));
                let watched = Watched { provider, endpoint, events: Arc::clone(events) };
                let mut tasks = JoinSet::new();
                if let Some(check) = watched.provider.settings.health.clone() {
                    let client = client.of(&watched.provider);
                    tasks.spawn(watched.clone().probe_forever(client, check));
                }
                if watched.endpoint.host.is_named() {
                    tasks.spawn(watched.resolve_forever());
                }
                tasks
            });
            watchers.insert(name, watcher);
        }
    }
}

/// Everything that a watcher's work depends on, in one text. The host's own address stands in it: a target that left and came
/// back between two reloads has a new live state, which the old watcher does not know.
fn identity(provider: &ProviderEntry, endpoint: &Endpoint) -> String {
    let settings = &provider.settings;
    let key = settings.api_key.as_ref().map(|key| blake3::hash(key.expose().as_bytes()).to_hex());
    format!(
        "{:p} {:?} {:?} {:?} {} {key:?} {:?}",
        Arc::as_ptr(&endpoint.host),
        endpoint.url,
        settings.health,
        settings.kind,
        settings.h2,
        provider.tls.fingerprint
    )
}

/// Resolves and probes what has not been looked at yet.
pub(super) async fn warm(fleet: &Arc<Fleet>, events: &Arc<dyn UpstreamEvents>, limit: Duration) {
    let all = async {
        let mut running = FuturesUnordered::new();
        for provider in fleet.providers() {
            let client = OnceClient::default();
            for endpoint in &provider.endpoints {
                let (provider, endpoint) = (Arc::clone(provider), Arc::clone(endpoint));
                let watched = Watched { provider, endpoint, events: Arc::clone(events) };
                let client = watched.provider.settings.health.is_some().then(|| client.of(&watched.provider));
                if running.len() >= WARM_TOGETHER {
                    running.next().await;
                }
                running.push(watched.look_once(client));
            }
        }
        while running.next().await.is_some() {}
    };
    // Not in time: the background goes on with it.
    let _ = timeout(limit, all).await;
}

/// One client per provider, made when the first of its endpoints needs it.
#[derive(Default)]
struct OnceClient(std::cell::OnceCell<Result<reqwest::Client, String>>);

impl OnceClient {
    fn of(&self, provider: &ProviderEntry) -> Result<reqwest::Client, String> {
        self.0.get_or_init(|| provider.client()).clone()
    }
}

impl Watched {
    async fn look_once(self, client: Option<Result<reqwest::Client, String>>) {
        if self.endpoint.host.is_named() && self.endpoint.host.addresses().is_empty() {
            self.resolve().await;
        }
        if let (Some(check), Some(client)) = (&self.provider.settings.health, client)
            && self.endpoint.host.health() == HealthState::Unknown
        {
            self.probe(&client, check).await;
        }
    }

    async fn probe_forever(self, client: Result<reqwest::Client, String>, check: HealthCheck) {
        // Probes of many targets are spread over the interval, the same way after every start.
        let spread = check.interval.mul_f64(fraction(self.endpoint.host.identity()));
        if self.endpoint.host.health() == HealthState::Unknown {
            self.probe(&client, &check).await;
        }
        sleep(spread).await;
        loop {
            self.probe(&client, &check).await;
            sleep(check.interval).await;
        }
    }

    async fn probe(&self, client: &Result<reqwest::Client, String>, check: &HealthCheck) {
        let result = match client {
            Ok(client) => self.ask(client, check).await,
            Err(why) => Err(why.clone()),
        };
        if let Err(why) = &result {
            self.events.probe_failed(self.name(), why);
        }
        let Some(rules) = self.provider.health_rules() else { return };
        if let Some(state) = self.endpoint.host.probed(result.is_ok(), rules) {
            self.events.health_changed(self.name(), state);
        }
    }

    async fn ask(&self, client: &reqwest::Client, check: &HealthCheck) -> Result<(), String> {
        let url = &self.endpoint.url;
        let scheme = if url.tls { "https" } else { "http" };
        let target = format!("{scheme}://{}{}{}", self.endpoint.authority, url.prefix, check.path);
        let settings = &self.provider.settings;
        let mut request = client.get(target).timeout(check.timeout);
        if let Some(key) = &settings.api_key {
            let auth = settings.kind.auth_header();
            request = request.header(auth.name, auth.value(key.expose()));
        }
        // The body is not read: it has no bound, and the status says all.
        let answer = request.send().await.map_err(|cause| reason(&cause))?;
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(format!("{} answered {status}", check.path)) }
    }

    async fn resolve_forever(self) {
        loop {
            let wait = if self.resolve().await { RESOLVE_EVERY } else { RESOLVE_AGAIN };
            sleep(wait).await;
        }
    }

    /// Keeps the last good addresses where it fails.
    async fn resolve(&self) -> bool {
        let url = &self.endpoint.url;
        let found = timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((url.host.as_str(), url.port))).await;
        let why = match found {
            Ok(Ok(addresses)) => {
                let mut known = Vec::new();
                for address in addresses.take(MOST_ADDRESSES) {
                    if !known.contains(&address) {
                        known.push(address);
                    }
                }
                if !known.is_empty() {
                    self.endpoint.host.set_addresses(known);
                    return true;
                }
                "the name has no addresses".to_owned()
            }
            Ok(Err(cause)) => cause.to_string(),
            Err(_) => format!("no answer within {RESOLVE_TIMEOUT:?}"),
        };
        self.events.resolve_failed(self.name(), &why);
        false
    }

    fn name(&self) -> TargetName<'_> {
        TargetName { provider: &self.provider.settings.id, target: self.endpoint.host.id() }
    }
}

pub(super) fn client(provider: &ProviderEntry) -> reqwest::Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        // A probe that rides on an old connection says nothing about new ones.
        .pool_max_idle_per_host(0);
    if let Some(pem) = &provider.tls.ca_pem {
        builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem)?);
    }
    if let Some(pem) = &provider.tls.client_pem {
        builder = builder.identity(reqwest::Identity::from_pem(pem)?);
    }
    if provider.settings.h2 && provider.endpoints.iter().all(|endpoint| !endpoint.url.tls) {
        builder = builder.http2_prior_knowledge();
    }
    builder.build()
}

/// The innermost cause: the outer ones repeat the URL.
pub(super) fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if error.is_timeout() { "timeout".to_owned() } else { cause.to_string() }
}

fn fraction(identity: u64) -> f64 {
    #[allow(clippy::cast_precision_loss)] // a share of an interval
    {
        (identity >> 11) as f64 / (1u64 << 53) as f64
    }
}
