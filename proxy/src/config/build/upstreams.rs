//! `providers`, `models`, `routes`.

use std::collections::BTreeSet;
use std::time::Duration;

use tollgate_filters::chat::Api;
use tollgate_filters::conf::{HumanDuration, KeyPath, Secret};
use tollgate_filters::policy::{labels_allow, model_allowed};
use tollgate_filters::providers::ProviderKind;

use super::super::{
    BaseUrl, Breaker, HealthCheck, Labels, Model, Name, Provider, Route, Target, Timeouts, raw,
};
use super::report::{Report, Unique, listed};
use super::tenants::Callers;
use super::url;

/// The model names that exist.
#[derive(Debug)]
pub(super) struct Names {
    names: BTreeSet<String>,
    /// A model `*` takes any name.
    any: bool,
}

impl Names {
    pub(super) fn of(raw: &raw::Config) -> Self {
        let names: BTreeSet<_> = raw.models.iter().map(|model| model.name.clone()).collect();
        Names { any: names.contains("*"), names }
    }

    pub(super) fn check(&self, report: &mut Report, path: &KeyPath, name: &str) {
        if !self.any && !self.names.contains(name) {
            report.refuse(path.clone(), self.unknown(name));
        }
    }

    /// A name, or its beginning and `*`.
    pub(super) fn check_pattern(&self, report: &mut Report, path: &KeyPath, pattern: &str) {
        let stem = pattern.strip_suffix('*').unwrap_or(pattern);
        if pattern.is_empty() || stem.contains('*') {
            report.refuse(
                path.clone(),
                "is not a model's name; write one, or its beginning and `*`, such as gpt-4o*",
            );
        } else if !self.any && !self.names.iter().any(|name| model_allowed(Some(&[pattern]), name)) {
            report.refuse(path.clone(), self.unknown(pattern));
        }
    }

    fn unknown(&self, name: &str) -> String {
        format!("`{name}` is no model here; write one of: {}", listed(self.names.iter().map(String::as_str)))
    }
}

pub(super) fn providers(report: &mut Report, path: &KeyPath, raw: Vec<raw::Provider>) -> Vec<Provider> {
    let mut ids = Unique::new();
    raw.into_iter()
        .enumerate()
        .map(|(index, raw)| {
            let path = path.index(index);
            report.name(&path.key("id"), &raw.id);
            ids.insert(report, &path.key("id"), raw.id.clone(), "give every provider an id of its own");
            provider(report, &path, raw)
        })
        .collect()
}

fn provider(report: &mut Report, path: &KeyPath, raw: raw::Provider) -> Provider {
    let kind = raw.kind;
    let base_urls = base_urls(report, &path.key("base_urls"), kind, &raw.base_urls);
    let api_key = credential(report, &path.key("api_key"), raw.api_key);
    let in_clear = |url: &BaseUrl| !url.tls && !url::is_loopback(&url.host);
    if api_key.is_some() && base_urls.iter().any(in_clear) {
        report
            .warn(path.key("api_key"), "is sent in clear to an http:// URL; use https:// where the host can");
    }
    match (&raw.client_cert, &raw.client_key) {
        (Some(_), None) => report.refuse(path.key("client_cert"), "needs its key; write client_key too"),
        (None, Some(_)) => {
            report.refuse(path.key("client_key"), "needs its certificate; write client_cert too")
        }
        _ => {}
    }
    if raw.api_version.is_some() && kind != ProviderKind::Azure {
        report.refuse(path.key("api_version"), "is Azure's; remove it, or write kind: azure");
    }
    let mut surface = |key: &str, said: Option<bool>, api: Api| {
        if said == Some(true) && !kind.speaks(api) {
            report.refuse(path.key(key), "is a surface this kind of provider does not have; remove it");
        }
        said.unwrap_or_else(|| kind.speaks(api))
    };
    let responses = surface("responses", raw.responses, Api::Responses);
    let messages = surface("messages", raw.messages, Api::Messages);
    let pass_headers = raw.pass_headers.iter().enumerate();
    let pass_headers =
        pass_headers.map(|(i, name)| report.header(&path.key("pass_headers").index(i), name)).collect();
    let health = health(report, &path.key("health"), raw.health, kind);
    Provider {
        id: raw.id.into(),
        kind,
        base_urls,
        api_key,
        api_version: raw.api_version,
        h2: raw.h2,
        ca: raw.ca.map(|file| file.0),
        client_cert: raw.client_cert.map(|file| file.0),
        client_key: raw.client_key.map(|file| file.0),
        labels: labels(raw.labels),
        timeouts: timeouts(report, &path.key("timeouts"), raw.timeouts),
        health,
        breaker: breaker(report, &path.key("breaker"), raw.breaker),
        on_client_gone: raw.on_client_gone,
        stream_usage: raw.stream_usage,
        responses,
        messages,
        sticky: raw.sticky,
        max_in_flight: raw.max_in_flight,
        drained: raw.drained,
        pass_headers,
    }
}

fn base_urls(report: &mut Report, path: &KeyPath, kind: ProviderKind, raw: &[String]) -> Vec<BaseUrl> {
    let cloud = match kind {
        ProviderKind::Openai => Some("https://api.openai.com"),
        ProviderKind::Anthropic => Some("https://api.anthropic.com"),
        ProviderKind::Vllm | ProviderKind::Azure => None,
    };
    if raw.is_empty() {
        match cloud.and_then(|url| url::base(url).ok()) {
            Some(url) => return vec![url],
            None => report.refuse(path.clone(), "is empty; write the hosts, such as [http://10.0.0.7:8000]"),
        }
    }
    let mut seen = Unique::new();
    let mut urls = Vec::with_capacity(raw.len());
    for (index, text) in raw.iter().enumerate() {
        match url::base(text) {
            Ok(mut url) => {
                if kind == ProviderKind::Azure {
                    url.prefix
                        .truncate(url.prefix.strip_suffix("/openai").map_or(url.prefix.len(), str::len));
                }
                seen.insert(report, &path.index(index), url.clone(), "write each host once");
                urls.push(url);
            }
            Err(message) => report.refuse(path.index(index), message),
        }
    }
    urls
}

/// An empty value means none: `${NAME:-}`.
fn credential(report: &mut Report, path: &KeyPath, secret: Option<Secret>) -> Option<Secret> {
    let secret = secret.filter(|secret| !secret.is_empty())?;
    if !secret.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        report.refuse(
            path.clone(),
            "has spaces, line ends or other signs that no header can carry; look at where it comes from",
        );
    }
    Some(secret)
}

fn health(
    report: &mut Report,
    path: &KeyPath,
    raw: Option<raw::Health>,
    kind: ProviderKind,
) -> Option<HealthCheck> {
    let raw = match raw {
        Some(raw) => raw,
        None if kind == ProviderKind::Vllm => raw::Health::default(),
        None => return None,
    };
    if !raw.path.starts_with('/') || !raw.path.bytes().all(|byte| byte.is_ascii_graphic()) {
        report.refuse(path.key("path"), "is not a path; write one that begins with a slash, such as /health");
    }
    let least = Duration::from_millis(10);
    let check = HealthCheck {
        path: raw.path,
        interval: report.time_within(&path.key("interval"), raw.interval, least, Duration::MAX),
        timeout: report.time_within(&path.key("timeout"), raw.timeout, least, Duration::MAX),
        healthy_after: raw.healthy_after,
        unhealthy_after: raw.unhealthy_after,
    };
    raw.enabled.then_some(check)
}

fn breaker(report: &mut Report, path: &KeyPath, raw: raw::Breaker) -> Breaker {
    if !(raw.error_rate > 0.0 && raw.error_rate <= 1.0) {
        report.refuse(path.key("error_rate"), "is not a share; write more than 0, up to 1, such as 0.5");
    }
    let open = report.time(&path.key("open"), raw.open);
    if raw.max_open < raw.open {
        report.refuse(path.key("max_open"), format!("is less than open ({}); write at least that", raw.open));
    }
    Breaker {
        consecutive_failures: raw.consecutive_failures,
        error_rate: raw.error_rate,
        min_requests: raw.min_requests,
        window: report.time_within(
            &path.key("window"),
            raw.window,
            Duration::from_secs(1),
            Duration::from_secs(3600),
        ),
        open,
        max_open: raw.max_open.0,
    }
}

fn timeouts(report: &mut Report, path: &KeyPath, raw: raw::Timeouts) -> Timeouts {
    Timeouts {
        connect: report.time(&path.key("connect"), raw.connect),
        first_byte: report.time(&path.key("first_byte"), raw.first_byte),
        idle: report.time(&path.key("idle"), raw.idle),
        total: report.time(&path.key("total"), raw.total),
    }
}

pub(super) fn models(
    report: &mut Report,
    path: &KeyPath,
    raw: Vec<raw::Model>,
    providers: &[Provider],
) -> Vec<Model> {
    if raw.is_empty() {
        report.warn(
            path.clone(),
            "is empty, so nothing can be asked; write [{name: \"*\", targets: [{provider: ID}]}]",
        );
    }
    let mut names = Unique::new();
    raw.into_iter()
        .enumerate()
        .map(|(index, raw)| {
            let path = path.index(index);
            report.name(&path.key("name"), &raw.name);
            if raw.name != "*" && raw.name.contains('*') {
                report.refuse(
                    path.key("name"),
                    "has a `*` in it; write a whole name, or `*` alone for any other",
                );
            }
            names.insert(
                report,
                &path.key("name"),
                raw.name.clone(),
                "put its targets together in one entry",
            );
            model(report, &path, raw, providers)
        })
        .collect()
}

fn model(report: &mut Report, path: &KeyPath, raw: raw::Model, providers: &[Provider]) -> Model {
    let at = path.key("targets");
    if raw.targets.is_empty() {
        report.refuse(at.clone(), "is empty; write [{provider: ID}]");
    } else if raw.targets.iter().all(|target| target.weight == 0) {
        report.refuse(at.clone(), "have all weight 0, so none can be picked; give one of them a weight");
    }
    let mut ids = Unique::new();
    let mut list = |report: &mut Report, at: &KeyPath, raw: Vec<raw::Target>| -> Vec<Target> {
        let mut made = Vec::with_capacity(raw.len());
        for (index, raw) in raw.into_iter().enumerate() {
            let path = at.index(index);
            let target = target(report, &path, raw, providers);
            ids.insert(
                report,
                &path,
                target.id.clone(),
                "give every target of a model an id of its own: id: NAME",
            );
            made.push(target);
        }
        made
    };
    let targets = list(report, &at, raw.targets);
    let fallback_at = path.key("fallback");
    let fallback = list(report, &fallback_at, raw.fallback);
    let require = labels(raw.require);
    check_labels(report, path, &require, [(&at, &targets), (&fallback_at, &fallback)], providers);
    let HumanDuration(silence) = raw.first_event_comment_after;
    Model {
        name: raw.name.into(),
        targets,
        fallback,
        sticky: raw.sticky,
        first_event_comment_after: (!silence.is_zero()).then_some(silence),
        require,
        max_attempts: raw.max_attempts,
    }
}

/// Targets without the demanded labels are never used; none with them is a mistake.
fn check_labels(
    report: &mut Report,
    path: &KeyPath,
    require: &Labels,
    lists: [(&KeyPath, &Vec<Target>); 2],
    providers: &[Provider],
) {
    if require.is_empty() {
        return;
    }
    let mut missing = Vec::new();
    let mut some_meet = false;
    for (at, targets) in lists {
        for (index, target) in targets.iter().enumerate() {
            // An unknown provider is reported on its own.
            let provider = providers.iter().find(|provider| provider.id == target.provider);
            if provider.is_none_or(|provider| labels_allow(require, &[&target.labels, &provider.labels])) {
                some_meet = true;
            } else {
                missing.push(at.index(index));
            }
        }
    }
    if !some_meet && !missing.is_empty() {
        report.refuse(
            path.key("require"),
            "is met by no target; add the labels to a provider or target that has them, or demand less",
        );
    } else {
        for at in missing {
            report.warn(at, "lacks labels that the model requires, so it is never used");
        }
    }
}

fn target(report: &mut Report, path: &KeyPath, raw: raw::Target, providers: &[Provider]) -> Target {
    if !providers.iter().any(|provider| *provider.id == *raw.provider) {
        report.refuse(
            path.key("provider"),
            format!(
                "`{}` is no provider here; write one of: {}",
                raw.provider,
                listed(providers.iter().map(|provider| &*provider.id))
            ),
        );
    }
    let id = match (raw.id, &raw.model) {
        (Some(id), _) => {
            report.name(&path.key("id"), &id);
            id
        }
        (None, Some(model)) => format!("{}:{model}", raw.provider),
        (None, None) => raw.provider.clone(),
    };
    if let Some(model) = &raw.model {
        report.name(&path.key("model"), model);
    }
    Target {
        id: id.into(),
        provider: raw.provider.into(),
        model: raw.model.map(Into::into),
        weight: raw.weight,
        labels: labels(raw.labels),
        timeouts: raw.timeouts.map(|raw| timeouts(report, &path.key("timeouts"), raw)),
        api_key: credential(report, &path.key("api_key"), raw.api_key),
    }
}

pub(super) fn routes(
    report: &mut Report,
    path: &KeyPath,
    raw: Vec<raw::Route>,
    models: &Names,
    callers: &Callers,
) -> Vec<Route> {
    let mut teams = Unique::new();
    raw.into_iter()
        .enumerate()
        .map(|(index, raw)| {
            let path = path.index(index);
            let advice = "write one route per team, and one without a team";
            let at = if raw.team.is_some() { path.key("team") } else { path.clone() };
            teams.insert(report, &at, raw.team.clone(), advice);
            route(report, &path, raw, models, callers)
        })
        .collect()
}

fn route(report: &mut Report, path: &KeyPath, raw: raw::Route, models: &Names, callers: &Callers) -> Route {
    if let Some(team) = &raw.team {
        report.plain_name(&path.key("team"), team);
    }
    match (&raw.team, &raw.model) {
        (Some(_), None) => report.refuse(path.clone(), "has a team but no model; write model: NAME"),
        (None, Some(_)) => report.refuse(
            path.key("model"),
            "stands without a team, where the caller names the model; remove it or write team: NAME",
        ),
        (Some(_), Some(model)) if model == "*" => {
            report.refuse(path.key("model"), "is not a model's name; write the one that the team asks");
        }
        (Some(_), Some(model)) => models.check(report, &path.key("model"), model),
        (None, None) => {}
    }
    let required = raw.required_headers.iter().enumerate();
    let required_headers =
        required.map(|(i, name)| report.header(&path.key("required_headers").index(i), name)).collect();
    if let Some(organization) = &raw.anonymous_as {
        let at = path.key("anonymous_as");
        if callers.has_organization(organization) {
            let where_to =
                raw.team.as_ref().map_or("the /v1 surfaces".into(), |team| format!("/api/{team}/predict"));
            report.warn(at, format!("lets anyone use {where_to} without a key, as `{organization}`"));
        } else {
            report.refuse(
                at,
                format!(
                    "`{organization}` is no organisation here; write one of: {}",
                    listed(callers.organizations())
                ),
            );
        }
    }
    let mut time = |key: &str, value: Option<HumanDuration>| {
        value.map(|value| report.time(&path.key("timeouts").key(key), value))
    };
    Route {
        total: time("total", raw.timeouts.total),
        first_byte: time("first_byte", raw.timeouts.first_byte),
        team: raw.team.map(Into::into),
        model: raw.model.map(Into::into),
        required_headers,
        anonymous_as: raw.anonymous_as.map(Name::from),
        minimum_role: raw.minimum_role,
    }
}

fn labels(raw: raw::Labels) -> Labels {
    raw.into_iter().map(|(name, raw::LabelText(value))| (name, value)).collect()
}
