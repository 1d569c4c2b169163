use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pingora_core::protocols::tls::CaType;
use pingora_core::utils::tls::CertKey;
use tollgate_filters::chat::Api;
use tollgate_filters::conf::{KeyPath, Problem, Secret};
use tollgate_filters::policy::labels_allow;
use tollgate_filters::select::{BreakerRules, HealthRules, Ring, StickyKey, Weights};

use super::host::{Host, HostKey};
use super::tls::ProviderTls;
use super::{UpstreamEvents, plan, probe};
use crate::config::{BaseUrl, Config, Labels, Model, Name, Provider, StickyBy, Target, Timeouts};

/// The upstream side of one configuration. Immutable; live state is in the [`Host`]s it points to.
pub struct Fleet {
    models: HashMap<Name, Arc<ModelEntry>>,
    /// `*`.
    any: Option<Arc<ModelEntry>>,
    providers: Vec<Arc<ProviderEntry>>,
    pub(super) events: Arc<dyn UpstreamEvents>,
}

/// A provider with its endpoints.
pub struct ProviderEntry {
    pub settings: Provider,
    pub(super) tls: ProviderTls,
    pub(super) breaker: BreakerRules,
    pub(super) endpoints: Vec<Arc<Endpoint>>,
    /// Only for sticky providers.
    pub(super) ring: Option<Ring>,
}

/// One base URL of a provider: a target's address, and its live state.
pub struct Endpoint {
    pub url: BaseUrl,
    /// The `Host` header.
    pub authority: Arc<str>,
    pub(super) host: Arc<Host>,
}

/// A model as clients name it.
pub struct ModelEntry {
    pub name: Name,
    pub(super) targets: Vec<Arc<TargetEntry>>,
    /// Those of `targets`.
    pub(super) weights: Weights,
    /// Some target's provider keeps what it answered, and must be asked again where it did.
    pub(super) keeps: bool,
    /// Each is a group of its own, tried in order.
    pub(super) fallback: Vec<Arc<TargetEntry>>,
    pub(super) sticky: Option<StickyBy>,
    pub first_event_comment_after: Option<Duration>,
    pub(super) require: Labels,
    pub(super) max_attempts: usize,
}

/// A variant of a model: a provider, and how this model is called there.
pub struct TargetEntry {
    pub id: Name,
    pub provider: Arc<ProviderEntry>,
    /// The model's name at the provider; `None`: as the client wrote it.
    pub model: Option<Name>,
    pub timeouts: Timeouts,
    /// The target's own credential, else the provider's.
    pub api_key: Option<Secret>,
    pub labels: Labels,
    pub(super) weight: u32,
    pub(super) identity: u64,
    /// Credential and model, hashed: what a provider's rate limit holds for.
    pub(super) lane: u64,
}

impl Fleet {
    /// The entry for a model as a client named it; where no alias has the name, the one for `*`.
    pub fn model(&self, name: &str) -> Option<&Arc<ModelEntry>> {
        self.models.get(name).or(self.any.as_ref())
    }

    /// The entry for `*`.
    pub(crate) fn any_model(&self) -> Option<&Arc<ModelEntry>> {
        self.any.as_ref()
    }

    /// The order in which this request tries targets; a rejection where no target could ever take it.
    pub fn plan(
        &self,
        model: &Arc<ModelEntry>,
        want: &plan::Want<'_>,
    ) -> Result<plan::Plan, tollgate_filters::verdict::Rejection> {
        plan::Plan::new(Arc::clone(model), want, Arc::clone(&self.events))
    }

    pub fn providers(&self) -> &[Arc<ProviderEntry>] {
        &self.providers
    }

    pub(super) fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.providers.iter().flat_map(|provider| &provider.endpoints)
    }
}

impl ModelEntry {
    /// Every variant, fallbacks last.
    pub fn all_targets(&self) -> impl Iterator<Item = &Arc<TargetEntry>> {
        self.targets.iter().chain(&self.fallback)
    }
}

impl Endpoint {
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }
}

impl ProviderEntry {
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    pub fn ca(&self) -> Option<&Arc<CaType>> {
        self.tls.ca.as_ref()
    }

    pub fn client_cert(&self) -> Option<&Arc<CertKey>> {
        self.tls.client.as_ref()
    }

    /// A client for background questions, with the provider's CA and certificate; no connection outlives its question.
    pub(crate) fn client(&self) -> Result<reqwest::Client, String> {
        probe::client(self).map_err(|cause| probe::reason(&cause))
    }

    pub(super) fn health_rules(&self) -> Option<HealthRules> {
        let check = self.settings.health.as_ref()?;
        Some(HealthRules { healthy_after: check.healthy_after, unhealthy_after: check.unhealthy_after })
    }

    /// Whether this surface is spoken there: by the kind of provider, and as configured.
    pub fn speaks(&self, api: Api) -> bool {
        self.settings.kind.speaks(api)
            && match api {
                Api::Chat | Api::Completions | Api::Embeddings => true,
                Api::Responses => self.settings.responses,
                Api::Messages | Api::CountTokens => self.settings.messages,
            }
    }
}

impl TargetEntry {
    /// Whether it carries every label of `required`; its own labels win over its provider's.
    pub(super) fn carries(&self, required: &Labels) -> bool {
        labels_allow(required, &[&self.labels, &self.provider.settings.labels])
    }
}

pub(super) fn build(
    config: &Config,
    events: &Arc<dyn UpstreamEvents>,
    host: impl Fn(&HostKey) -> Arc<Host>,
) -> Result<Fleet, Vec<Problem>> {
    let mut problems = Vec::new();
    let at = KeyPath::root().key("providers");
    // One host per identity, also where two URLs of a configuration share it.
    let mut hosts: HashMap<HostKey, Arc<Host>> = HashMap::new();
    let mut providers: Vec<Arc<ProviderEntry>> = Vec::with_capacity(config.providers.len());
    for (index, settings) in config.providers.iter().enumerate() {
        let tls = ProviderTls::read(settings, &at.index(index), &mut problems);
        let endpoints: Vec<_> = settings
            .base_urls
            .iter()
            .map(|url| {
                let key = HostKey::new(&settings.id, url);
                let host = Arc::clone(hosts.entry(key).or_insert_with_key(&host));
                Arc::new(Endpoint { url: url.clone(), authority: url.authority().into(), host })
            })
            .collect();
        let identities = || endpoints.iter().map(|endpoint| endpoint.host.identity()).collect();
        providers.push(Arc::new(ProviderEntry {
            tls,
            breaker: breaker_rules(settings),
            ring: settings.sticky.then(|| Ring::new(identities())),
            endpoints,
            settings: settings.clone(),
        }));
    }
    let by_id: HashMap<&str, &Arc<ProviderEntry>> = providers.iter().map(|p| (&*p.settings.id, p)).collect();
    let mut fleet =
        Fleet { models: HashMap::new(), any: None, providers: Vec::new(), events: Arc::clone(events) };
    for (index, model) in config.models.iter().enumerate() {
        let at = KeyPath::root().key("models").index(index);
        let entry = Arc::new(model_entry(model, &by_id, &at, &mut problems));
        if &*model.name == "*" {
            fleet.any = Some(entry);
        } else {
            fleet.models.insert(Arc::clone(&model.name), entry);
        }
    }
    fleet.providers = providers;
    if problems.is_empty() { Ok(fleet) } else { Err(problems) }
}

fn model_entry(
    model: &Model,
    providers: &HashMap<&str, &Arc<ProviderEntry>>,
    at: &KeyPath,
    problems: &mut Vec<Problem>,
) -> ModelEntry {
    let mut entries = |field: &str, targets: &[Target]| -> Vec<Arc<TargetEntry>> {
        let mut entries = Vec::with_capacity(targets.len());
        for (index, target) in targets.iter().enumerate() {
            match providers.get(&*target.provider) {
                Some(provider) => entries.push(Arc::new(target_entry(model, target, provider))),
                None => problems.push(Problem::new(
                    at.key(field).index(index).key("provider"),
                    format!("no provider {}; name one of providers[].id", target.provider),
                )),
            }
        }
        entries
    };
    let (targets, fallback) = (entries("targets", &model.targets), entries("fallback", &model.fallback));
    ModelEntry {
        name: Arc::clone(&model.name),
        weights: Weights::new(targets.iter().map(|target| target.weight)),
        keeps: targets.iter().chain(&fallback).any(|target| target.provider.ring.is_some()),
        targets,
        fallback,
        sticky: model.sticky,
        first_event_comment_after: model.first_event_comment_after,
        require: model.require.clone(),
        max_attempts: model.max_attempts.max(1),
    }
}

fn target_entry(model: &Model, target: &Target, provider: &Arc<ProviderEntry>) -> TargetEntry {
    let api_key = target.api_key.clone().or_else(|| provider.settings.api_key.clone());
    let name = target.model.as_deref().unwrap_or(&model.name);
    let secret = api_key.as_ref().map_or("", |key| key.expose());
    TargetEntry {
        identity: StickyKey::identity(&target.id),
        lane: StickyKey::identity(&format!("{}\n{name}\n{secret}", secret.len())),
        id: Arc::clone(&target.id),
        provider: Arc::clone(provider),
        model: target.model.clone(),
        timeouts: target.timeouts.unwrap_or(provider.settings.timeouts),
        api_key,
        labels: target.labels.clone(),
        weight: target.weight,
    }
}

fn breaker_rules(provider: &Provider) -> BreakerRules {
    let breaker = &provider.breaker;
    BreakerRules {
        consecutive_failures: breaker.consecutive_failures,
        error_rate: breaker.error_rate,
        min_requests: breaker.min_requests,
        window: breaker.window,
        open: breaker.open,
        max_open: breaker.max_open,
    }
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet")
            .field("models", &self.models.len())
            .field("providers", &self.providers.len())
            .finish_non_exhaustive()
    }
}
