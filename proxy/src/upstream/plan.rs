use std::sync::Arc;
use std::time::Duration;

use tollgate_filters::chat::Api;
use tollgate_filters::select::{
    Dice, Failed, Failure, HealthState, StickyKey, exhausted, rate_limited, two_choices, weighted_by_key,
};
use tollgate_filters::verdict::{Code, Rejection};

use super::attempt::{Attempt, Outcome, Said};
use super::host::{Closed, Host};
use super::{Endpoint, ModelEntry, TargetEntry, UpstreamEvents};
use crate::config::{Labels, StickyBy};

/// What a request needs of its target.
#[derive(Debug, Clone, Copy)]
pub struct Want<'a> {
    pub api: Api,
    /// It continues something that one upstream keeps (`previous_response_id`, a stored prompt).
    pub stateful: bool,
    pub organization: &'a str,
    pub application: &'a str,
    pub user: Option<&'a str>,
    pub key: Option<&'a str>,
    /// What the client says belongs together (`prompt_cache_key`, a session id).
    pub session: Option<&'a str>,
    /// Labels that policies and findings demand, besides the model's own.
    pub require: Option<&'a Labels>,
    /// A random number.
    pub seed: u64,
}

/// The order in which one request tries targets, decided step by step by how things stand at each.
///
/// First the model's targets: the weights (or the sticky key) choose a variant, the less loaded of two random hosts of its provider
/// gets the attempt, then the variant's other hosts, then the other variants. Then each fallback in order. Healthy targets go
/// before those not probed yet, within the targets as within each fallback. A breaker that is half open takes one request.
/// At the very end, hosts whose name has further addresses are tried again on those.
pub struct Plan {
    model: Arc<ModelEntry>,
    events: Arc<dyn UpstreamEvents>,
    api: Api,
    stateful: bool,
    require: Labels,
    variant_key: Option<StickyKey>,
    /// Where a provider is sticky.
    host_key: Option<StickyKey>,
    dice: Dice,
    /// The variant in use, an index into the model's targets.
    current: Option<usize>,
    tried: Vec<Tried>,
}

struct Tried {
    target: Arc<TargetEntry>,
    host: Arc<Host>,
    failure: Option<Failure>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    Healthy,
    Unknown,
    /// Hosts that could not be connected to, on an address that was not tried.
    Again,
}

/// Races for a place that are lost before a target counts as taken.
const RACES: usize = 4;
/// What a client is told to wait where nothing says how long.
const SHORT_WAIT: Duration = Duration::from_secs(2);

impl Plan {
    pub(super) fn new(
        model: Arc<ModelEntry>,
        want: &Want<'_>,
        events: Arc<dyn UpstreamEvents>,
    ) -> Result<Plan, Rejection> {
        let scope = want.organization;
        let caller = want.user.or(want.key).unwrap_or(want.application);
        // What a sticky provider keeps is of use only if the request comes back to that provider and host. Only responses are
        // kept, and a later call names them by their id alone, without the session that they were made in: so the caller decides.
        // Elsewhere a session is worth keeping together (its prefix is cached there), but a whole user or key is not.
        let kept_by = match want.api {
            Api::Responses => Some(caller),
            _ if want.stateful => Some(caller),
            _ => want.session,
        };
        let host_key = kept_by.filter(|_| model.keeps).map(|text| StickyKey::new(scope, text));
        let variant_key = match model.sticky {
            // Without a session there is nothing to keep together: the weights choose.
            Some(StickyBy::Session) => want.session,
            Some(StickyBy::User) => want.user.or(want.key),
            None => None,
        };
        let plan = Plan {
            variant_key: variant_key.map(|text| StickyKey::new(scope, text)).or(host_key),
            host_key,
            events,
            api: want.api,
            stateful: want.stateful,
            require: want.require.cloned().unwrap_or_default(),
            dice: Dice::new(want.seed),
            current: None,
            tried: Vec::new(),
            model,
        };
        plan.can_ever()?;
        Ok(plan)
    }

    /// The next target, or `None` when there is none left: then [`rejection`](Plan::rejection) says what the client gets.
    pub fn next(&mut self, now: u64) -> Option<Attempt> {
        if self.tried.len() >= self.model.max_attempts {
            return None;
        }
        let model = Arc::clone(&self.model);
        if self.stateful {
            return self
                .of_variants(&model, Pass::Healthy, now)
                .or_else(|| self.of_variants(&model, Pass::Unknown, now));
        }
        for pass in [Pass::Healthy, Pass::Unknown] {
            if let Some(attempt) = self.of_variants(&model, pass, now) {
                return Some(attempt);
            }
        }
        for target in &model.fallback {
            for pass in [Pass::Healthy, Pass::Unknown] {
                if let Some(attempt) = self.of_target(target, pass, now) {
                    return Some(attempt);
                }
            }
        }
        if self.tried.iter().any(|tried| tried.failure == Some(Failure::Connect)) {
            return model.all_targets().find_map(|target| self.of_target(target, Pass::Again, now));
        }
        None
    }

    /// Ends an attempt that failed before anything of it reached the client.
    pub fn fail(&mut self, mut attempt: Attempt, failure: Failure, now: u64) {
        attempt.report(Outcome::Failed(failure), now);
        let is_it = |tried: &&mut Tried| {
            tried.failure.is_none()
                && Arc::ptr_eq(&tried.host, attempt.host())
                && Arc::ptr_eq(&tried.target, &attempt.target)
        };
        if let Some(tried) = self.tried.iter_mut().find(is_it) {
            tried.failure = Some(failure);
        }
    }

    /// Whether targets were tried, and each failed in this way.
    pub fn all_failed_as(&self, failure: Failure) -> bool {
        !self.tried.is_empty() && self.tried.iter().all(|tried| tried.failure == Some(failure))
    }

    /// What the client gets when [`next`](Plan::next) had nothing more.
    pub fn rejection(&self, now: u64) -> Rejection {
        let failures: Vec<Failed<'_>> = self
            .tried
            .iter()
            .filter_map(|tried| Some(Failed { provider: tried.host.provider(), failure: tried.failure? }))
            .collect();
        if failures.is_empty() {
            return self.nothing_open(now);
        }
        // There are others, and they must not be asked: to the caller that is no upstream, not a broken one.
        if !self.require.is_empty() && failures.iter().all(|failed| failed.failure == Failure::Connect) {
            return self.no_upstream(SHORT_WAIT);
        }
        exhausted(&failures)
    }

    fn no_upstream(&self, wait: Duration) -> Rejection {
        let labels: Vec<String> =
            self.require.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let which = match labels.is_empty() {
            true => String::new(),
            false => format!(" with {}, which what it holds demands,", labels.join(", ")),
        };
        let message = format!(
            "No upstream of model {}{which} is available right now. Try again shortly, or use another model.",
            self.model.name
        );
        Rejection::new(Code::NoUpstream, message).with_retry_after(wait)
    }

    /// Among the model's variants: the current one first, then by weight or key, then those without weight in order.
    fn of_variants(&mut self, model: &ModelEntry, pass: Pass, now: u64) -> Option<Attempt> {
        let targets = &model.targets;
        let mut left: Vec<bool> = Vec::new();
        loop {
            let is_left = |index: usize, left: &[bool]| left.get(index).copied().unwrap_or(true);
            let chosen = match self.current.filter(|index| is_left(*index, &left)) {
                Some(index) => index,
                None => self.choose(targets, |index| is_left(index, &left))?,
            };
            self.current.get_or_insert(chosen);
            if let Some(attempt) = self.of_target(&targets[chosen], pass, now) {
                self.current = Some(chosen);
                return Some(attempt);
            }
            if self.stateful {
                return None;
            }
            left.resize(targets.len(), true);
            left[chosen] = false;
        }
    }

    fn choose(&mut self, targets: &[Arc<TargetEntry>], is_left: impl Fn(usize) -> bool) -> Option<usize> {
        let usable = |index: usize| is_left(index) && self.is_allowed(&targets[index]);
        let weight =
            |(index, target): (usize, &Arc<TargetEntry>)| if usable(index) { target.weight } else { 0 };
        let mut dice = self.dice.clone();
        let chosen = match self.variant_key {
            Some(key) => {
                weighted_by_key(key, targets.iter().enumerate().map(|(i, t)| (t.identity, weight((i, t)))))
            }
            None => self.model.weights.pick(&mut dice, usable),
        };
        let chosen = chosen.or_else(|| (0..targets.len()).find(|index| usable(*index)));
        self.dice = dice;
        chosen
    }

    fn of_target(&mut self, target: &Arc<TargetEntry>, pass: Pass, now: u64) -> Option<Attempt> {
        if !self.is_allowed(target) {
            return None;
        }
        let endpoints = &target.provider.endpoints;
        let most = target.provider.settings.max_in_flight.unwrap_or(usize::MAX);
        for _ in 0..RACES {
            let load = |index: usize| self.load(target, &endpoints[index], pass, now);
            let index = match (&target.provider.ring, self.host_key) {
                (Some(ring), Some(key)) if self.stateful => {
                    ring.pick(key, |_| true).filter(|index| load(*index).is_some())?
                }
                (Some(ring), Some(key)) => ring.pick(key, |index| load(index).is_some())?,
                _ => {
                    let mut dice = self.dice.clone();
                    let index = two_choices(endpoints.len(), &mut dice, load);
                    self.dice = dice;
                    index?
                }
            };
            let endpoint = &endpoints[index];
            let Some(probe) = endpoint.host.enter(most, &target.provider.breaker, now) else { continue };
            let Some(address) = endpoint.host.next_address(now) else {
                endpoint.host.leave();
                continue;
            };
            self.tried.push(Tried {
                target: Arc::clone(target),
                host: Arc::clone(&endpoint.host),
                failure: None,
            });
            return Some(Attempt {
                target: Arc::clone(target),
                endpoint: Arc::clone(endpoint),
                address,
                probe,
                said: Said::Nothing,
                number: self.tried.len(),
                events: Arc::clone(&self.events),
            });
        }
        None
    }

    /// Requests in flight at an endpoint that may take this attempt; `None` where it may not.
    fn load(&self, target: &Arc<TargetEntry>, endpoint: &Endpoint, pass: Pass, now: u64) -> Option<u64> {
        let host = &endpoint.host;
        let fits = match pass {
            Pass::Healthy => self.is_fresh(target, host) && health(target, host) == HealthState::Healthy,
            Pass::Unknown => self.is_fresh(target, host) && health(target, host) == HealthState::Unknown,
            Pass::Again => self.has_other_address(host) && health(target, host) != HealthState::Unhealthy,
        };
        (fits && closed(target, host, now).is_none()).then(|| host.in_flight() as u64)
    }

    /// Whether this request has not been there: neither for this variant, nor for another one and the host was out of reach.
    fn is_fresh(&self, target: &Arc<TargetEntry>, host: &Arc<Host>) -> bool {
        self.tried.iter().filter(|tried| Arc::ptr_eq(&tried.host, host)).all(|tried| {
            !Arc::ptr_eq(&tried.target, target)
                && tried.failure.is_some_and(|failure| !failure.is_out_of_reach())
        })
    }

    fn has_other_address(&self, host: &Arc<Host>) -> bool {
        let mut tries = 0;
        for tried in self.tried.iter().filter(|tried| Arc::ptr_eq(&tried.host, host)) {
            if tried.failure != Some(Failure::Connect) {
                return false;
            }
            tries += 1;
        }
        tries > 0 && tries < host.addresses().len()
    }

    fn is_allowed(&self, target: &TargetEntry) -> bool {
        target.provider.speaks(self.api)
            && (!self.stateful || target.provider.ring.is_some())
            && target.carries(&self.model.require)
            && target.carries(&self.require)
    }

    /// A rejection that names what no target of the model can do, however things stand.
    fn can_ever(&self) -> Result<(), Rejection> {
        let model = &self.model;
        let all = || model.all_targets();
        if !all().any(|target| target.provider.speaks(self.api)) {
            let message = format!(
                "Model {} cannot be called on {}: none of its providers speaks it. Use another endpoint or model.",
                model.name,
                self.api.path()
            );
            return Err(Rejection::new(Code::InvalidRequest, message).with_param("model"));
        }
        if self.stateful && !model.targets.iter().any(|target| target.provider.ring.is_some()) {
            let message = "The gateway spreads this model's requests over several upstreams, which do not share stored responses, \
                           conversations or prompts. Send the whole conversation instead.";
            return Err(Rejection::new(Code::InvalidRequest, message).with_param("previous_response_id"));
        }
        if !all().any(|target| self.is_allowed(target)) {
            let mut wanted: Vec<String> = model
                .require
                .iter()
                .chain(&self.require)
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            wanted.dedup();
            let message = format!(
                "No upstream of model {} carries the labels that policy demands here: {}. Use another model.",
                model.name,
                wanted.join(", ")
            );
            return Err(Rejection::new(Code::NoUpstream, message));
        }
        Ok(())
    }

    /// Nothing was tried, because nothing would take it: what stands in the way, and for how long.
    fn nothing_open(&self, now: u64) -> Rejection {
        let mut wait: Option<Duration> = None;
        let (mut paused, mut credentials, mut others) = (None, 0, 0);
        for target in self.model.all_targets().filter(|target| self.is_allowed(target)) {
            for endpoint in &target.provider.endpoints {
                let until = match closed(target, &endpoint.host, now) {
                    Some(Closed::Paused(pause)) if pause.credential => {
                        credentials += 1;
                        pause.until
                    }
                    Some(Closed::Paused(pause)) => {
                        let earlier = paused.is_none_or(|(until, _)| pause.until < until);
                        paused = if earlier { Some((pause.until, endpoint.host.provider())) } else { paused };
                        pause.until
                    }
                    Some(Closed::Breaker { until }) => {
                        others += 1;
                        until
                    }
                    _ => {
                        others += 1;
                        continue;
                    }
                };
                let left = Duration::from_nanos(until.saturating_sub(now));
                wait = Some(wait.map_or(left, |least: Duration| least.min(left)));
            }
        }
        match paused {
            Some((_, provider)) if others == 0 => rate_limited(provider, wait),
            None if credentials > 0 && others == 0 => Rejection::new(
                Code::UpstreamError,
                "The upstream does not accept this gateway's credential. Tell the gateway's operator.",
            )
            .with_retry_after(wait.unwrap_or(SHORT_WAIT)),
            _ => self.no_upstream(wait.unwrap_or(SHORT_WAIT)),
        }
    }
}

fn health(target: &TargetEntry, host: &Host) -> HealthState {
    match target.provider.settings.health {
        Some(_) => host.health(),
        None => HealthState::Healthy,
    }
}

fn closed(target: &TargetEntry, host: &Host, now: u64) -> Option<Closed> {
    let settings = &target.provider.settings;
    if settings.drained {
        return Some(Closed::Drained);
    }
    if health(target, host) == HealthState::Unhealthy {
        return Some(Closed::Unhealthy);
    }
    host.open(target.lane, settings.max_in_flight.unwrap_or(usize::MAX), now).err()
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan")
            .field("model", &self.model.name)
            .field("attempts", &self.tried.len())
            .finish_non_exhaustive()
    }
}
