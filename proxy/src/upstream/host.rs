use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tollgate_filters::select::{
    Breaker, BreakerRules, BreakerState, Failure, Gate, Health, HealthRules, HealthState, StickyKey,
};

use crate::clock::nanos;
use crate::config::{BaseUrl, Name};

/// What makes a target the same across reloads: name, address and TLS name (which is the host).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct HostKey {
    pub(super) provider: Name,
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
}

/// One target's live state.
pub struct Host {
    key: HostKey,
    id: Arc<str>,
    /// Place among the hosts of a sticky provider, the same in every replica.
    identity: u64,
    in_flight: AtomicUsize,
    breaker: Mutex<Breaker>,
    /// [`Breaker::gate`] without its lock: 0 lets pass, another value is the time from which a probe may pass.
    shut_until: AtomicU64,
    health: Mutex<Health>,
    drained: AtomicBool,
    /// What the name resolved to last, in the resolver's order of preference (RFC 6724); empty until it has.
    addresses: ArcSwap<Vec<SocketAddr>>,
    turn: AtomicUsize,
    /// Addresses that could not be connected to, and until when they are left out while there are others.
    shunned: Mutex<Vec<(SocketAddr, u64)>>,
    /// Latest end of any of those, so that the usual look needs no lock.
    shunned_until: AtomicU64,
    pool: AtomicU64,
    pauses: Mutex<Vec<Pause>>,
    /// Latest end of any pause, so that the usual look needs no lock.
    paused_until: AtomicU64,
}

/// A provider asked us to stay away, or does not take our credential: for one credential and model, not for the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pause {
    pub(super) lane: u64,
    pub(super) until: u64,
    pub(super) credential: bool,
}

/// Why a host cannot take a request now; the time says from when on it might.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    Drained,
    Unresolved,
    Unhealthy,
    Breaker { until: u64 },
    Paused(Pause),
    Full,
}

/// Most pauses a host keeps. One per credential and model: more than this many are not configured.
const MOST_PAUSES: usize = 64;

/// How long an address that could not be connected to is left out, while others are left.
const SHUN: Duration = Duration::from_secs(60);

/// How long a credential that was refused is left alone, so that a dead key does not cost each request an attempt.
const CREDENTIAL_PAUSE: Duration = Duration::from_secs(5);

impl HostKey {
    pub(super) fn new(provider: &Name, url: &BaseUrl) -> HostKey {
        HostKey { provider: Arc::clone(provider), tls: url.tls, host: url.host.clone(), port: url.port }
    }

    /// What it is called in the admin API, metrics and logs.
    pub(super) fn id(&self) -> String {
        let HostKey { provider, host, port, .. } = self;
        if host.contains(':') {
            format!("{provider}@[{host}]:{port}")
        } else {
            format!("{provider}@{host}:{port}")
        }
    }
}

impl Host {
    pub(super) fn new(key: HostKey, drained: bool) -> Host {
        let id = key.id();
        let literal = key.host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, key.port));
        Host {
            identity: StickyKey::identity(&id),
            id: id.into(),
            in_flight: AtomicUsize::new(0),
            breaker: Mutex::default(),
            shut_until: AtomicU64::new(0),
            health: Mutex::default(),
            drained: AtomicBool::new(drained),
            addresses: ArcSwap::from_pointee(literal.into_iter().collect()),
            turn: AtomicUsize::new(0),
            shunned: Mutex::default(),
            shunned_until: AtomicU64::new(0),
            pool: AtomicU64::new(0),
            pauses: Mutex::default(),
            paused_until: AtomicU64::new(0),
            key,
        }
    }

    pub(super) fn key(&self) -> &HostKey {
        &self.key
    }

    /// `provider@host:port`.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn provider(&self) -> &Name {
        &self.key.provider
    }

    pub(super) fn identity(&self) -> u64 {
        self.identity
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether an operator has drained it.
    pub fn is_drained(&self) -> bool {
        self.drained.load(Ordering::Relaxed)
    }

    pub(super) fn set_drained(&self, drained: bool) {
        self.drained.store(drained, Ordering::Relaxed);
    }

    pub fn health(&self) -> HealthState {
        self.health.lock().state()
    }

    pub(super) fn probed(&self, ok: bool, rules: HealthRules) -> Option<HealthState> {
        self.health.lock().probed(ok, rules)
    }

    pub fn breaker(&self) -> BreakerState {
        self.breaker.lock().state()
    }

    pub fn addresses(&self) -> Arc<Vec<SocketAddr>> {
        self.addresses.load_full()
    }

    pub(super) fn set_addresses(&self, addresses: Vec<SocketAddr>) {
        self.addresses.store(Arc::new(addresses));
    }

    /// Whether the address is a name, which needs resolving.
    pub(super) fn is_named(&self) -> bool {
        self.key.host.parse::<IpAddr>().is_err()
    }

    /// The next of several addresses, in turn: of the preferred family, and of those that work.
    ///
    /// The family is that of the first address in the resolver's order that is not shunned. So a host without a route for IPv6
    /// is not asked for it over and over, and `localhost` works where only one of its two addresses is listened on.
    pub(super) fn next_address(&self, now: u64) -> Option<SocketAddr> {
        let addresses = self.addresses.load();
        let shunned =
            if self.shunned_until.load(Ordering::Relaxed) > now { Some(self.shunned.lock()) } else { None };
        let works = |address: &SocketAddr| {
            shunned
                .as_ref()
                .is_none_or(|list| !list.iter().any(|(bad, until)| bad == address && *until > now))
        };
        let family = addresses.iter().find(|address| works(address)).or(addresses.first())?.is_ipv4();
        let fits = |address: &&SocketAddr| address.is_ipv4() == family && works(address);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = addresses.iter().filter(fits).count();
        let none_works = || addresses.get(turn.checked_rem(addresses.len())?);
        turn.checked_rem(count)
            .and_then(|nth| addresses.iter().filter(fits).nth(nth))
            .or_else(none_works)
            .copied()
    }

    /// An address could not be connected to. `true` where others are left, so that the host as a whole is not to blame.
    pub(super) fn shun(&self, address: SocketAddr, now: u64) -> bool {
        let addresses = self.addresses.load();
        if addresses.len() < 2 {
            return false;
        }
        let until = now.saturating_add(nanos(SHUN));
        let mut shunned = self.shunned.lock();
        shunned.retain(|(bad, end)| *bad != address && *end > now && addresses.contains(bad));
        shunned.push((address, until));
        self.shunned_until.fetch_max(until, Ordering::Relaxed);
        shunned.len() < addresses.len()
    }

    /// Number of times that pooled connections were given up: part of the pool's key, so that none of them is used again.
    pub(super) fn pool(&self) -> u64 {
        self.pool.load(Ordering::Relaxed)
    }

    pub(super) fn forsake_pool(&self) {
        self.pool.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it may take a request of this lane now. Health is the caller's question: whether it matters is configured.
    pub(super) fn open(&self, lane: u64, most: usize, now: u64) -> Result<(), Closed> {
        if self.is_drained() {
            return Err(Closed::Drained);
        }
        if self.addresses.load().is_empty() {
            return Err(Closed::Unresolved);
        }
        let shut_until = self.shut_until.load(Ordering::Relaxed);
        if shut_until > now {
            return Err(Closed::Breaker { until: shut_until });
        }
        if self.in_flight() >= most {
            return Err(Closed::Full);
        }
        if self.paused_until.load(Ordering::Relaxed) > now {
            let pauses = self.pauses.lock();
            if let Some(pause) = pauses.iter().find(|pause| pause.lane == lane && pause.until > now) {
                return Err(Closed::Paused(*pause));
            }
        }
        Ok(())
    }

    /// Takes a place, and the probe's place where the breaker is half open. `Some(probe)` on success; somebody else may have
    /// been quicker.
    pub(super) fn enter(&self, most: usize, rules: &BreakerRules, now: u64) -> Option<bool> {
        let step = |n: usize| (n < most).then_some(n + 1);
        self.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).ok()?;
        if self.shut_until.load(Ordering::Relaxed) == 0 {
            return Some(false);
        }
        let mut breaker = self.breaker.lock();
        let entered = match breaker.gate(now) {
            Gate::Pass => Some(false),
            Gate::Probe => breaker.begin_probe(rules, now).then_some(true),
            Gate::Shut { .. } => None,
        };
        self.mirror(&breaker, now);
        drop(breaker);
        if entered.is_none() {
            self.leave();
        }
        entered
    }

    pub(super) fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn succeeded(&self, rules: &BreakerRules, probe: bool, now: u64) -> Option<BreakerState> {
        let mut breaker = self.breaker.lock();
        let change = breaker.success(rules, probe, now);
        self.mirror(&breaker, now);
        change
    }

    pub(super) fn failed(&self, rules: &BreakerRules, probe: bool, now: u64) -> Option<BreakerState> {
        let mut breaker = self.breaker.lock();
        let change = breaker.failure(rules, probe, now);
        self.mirror(&breaker, now);
        change
    }

    /// The probe said nothing: another may go at once, whatever the time is.
    pub(super) fn abandoned(&self) {
        let mut breaker = self.breaker.lock();
        breaker.abandon_probe(0);
        self.mirror(&breaker, 0);
    }

    /// Leaves this lane alone for as long as the failure asks for.
    pub(super) fn pause(&self, lane: u64, failure: Failure, now: u64) {
        let credential = failure == Failure::Credential;
        let wait = if credential { Some(CREDENTIAL_PAUSE) } else { failure.pause() };
        let Some(wait) = wait else { return };
        let until = now.saturating_add(nanos(wait));
        let mut pauses = self.pauses.lock();
        pauses.retain(|pause| pause.until > now && pause.lane != lane);
        if pauses.len() < MOST_PAUSES {
            pauses.push(Pause { lane, until, credential });
            self.paused_until.fetch_max(until, Ordering::Relaxed);
        }
    }

    fn mirror(&self, breaker: &Breaker, now: u64) {
        let until = match breaker.gate(now) {
            Gate::Pass => 0,
            // Not 0: the lock must be taken to become the probe.
            Gate::Probe => 1,
            Gate::Shut { until } => until.max(1),
        };
        self.shut_until.store(until, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host")
            .field("id", &self.id)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}
