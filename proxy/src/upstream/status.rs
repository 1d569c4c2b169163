use tollgate_filters::select::{BreakerState, HealthState};

use super::Fleet;
use crate::config::Name;

/// How a target stands, for the admin API and gauges.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TargetStatus {
    /// `provider@host:port`: what drain and undrain take.
    pub id: String,
    pub provider: Name,
    pub url: String,
    /// `healthy`, `unhealthy`, `unknown`, or `unchecked` where no health check is configured.
    pub health: &'static str,
    /// `closed`, `open` or `half_open`.
    pub breaker: &'static str,
    pub in_flight: usize,
    pub max_in_flight: Option<usize>,
    /// By the admin API.
    pub drained: bool,
    /// By the configuration.
    pub drained_by_config: bool,
    pub addresses: Vec<String>,
    /// Whether a request could go there now, other things being equal.
    pub usable: bool,
}

pub(super) fn list(fleet: &Fleet, now: u64) -> Vec<TargetStatus> {
    let providers = fleet.providers().iter();
    let endpoints =
        providers.flat_map(|provider| provider.endpoints.iter().map(move |endpoint| (provider, endpoint)));
    endpoints
        .map(|(provider, endpoint)| {
            let (settings, host, url) = (&provider.settings, &endpoint.host, &endpoint.url);
            let health = settings.health.as_ref().map(|_| host.health());
            let most = settings.max_in_flight.unwrap_or(usize::MAX);
            // No lane: pauses belong to a credential and a model.
            let open = host.open(0, most, now).is_ok() && health != Some(HealthState::Unhealthy);
            TargetStatus {
                id: host.id().to_owned(),
                provider: settings.id.clone(),
                url: format!(
                    "{}://{}{}",
                    if url.tls { "https" } else { "http" },
                    endpoint.authority,
                    url.prefix
                ),
                health: health.map_or("unchecked", HealthState::as_str),
                breaker: BreakerState::as_str(host.breaker()),
                in_flight: host.in_flight(),
                max_in_flight: settings.max_in_flight,
                drained: host.is_drained(),
                drained_by_config: settings.drained,
                addresses: host.addresses().iter().map(ToString::to_string).collect(),
                usable: open && !settings.drained,
            }
        })
        .collect()
}
