use std::time::Duration;

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BreakerRules {
    /// Failures in a row that open it; 0: never for that reason.
    pub consecutive_failures: u32,
    /// Share of failures in the window that opens it, above 0 to 1.
    pub error_rate: f64,
    /// Requests in the window below which the share means nothing; 0: never opens for that reason.
    pub min_requests: u32,
    pub window: Duration,
    /// First time open; doubled at each failed probe, up to `max_open`.
    pub open: Duration,
    pub max_open: Duration,
}

/// Takes a target that fails out of service and lets single probes test whether it is back.
///
/// closed ──failures──► open ──time──► one probe ──success──► closed
///                        ▲                └──failure──► open, twice as long
#[derive(Debug, Clone)]
pub struct Breaker {
    state: State,
    consecutive: u32,
    /// Times it opened since it was last closed.
    opened: u32,
    window: Window,
}

/// Whether a request may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    Pass,
    /// One request may pass as the probe: [`Breaker::begin_probe`].
    Probe,
    /// Nothing passes before this time, nanoseconds.
    Shut {
        until: u64,
    },
}

/// For metrics and the admin API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BreakerState {
    Closed,
    Open,
    HalfOpen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        until: u64,
    },
    /// A probe is on its way. One that is never heard of again must not keep the target out for good: past `lease` the next
    /// request may probe.
    Probing {
        lease: u64,
    },
}

const SLOTS: usize = 10;

/// Counts of the last `window`, in tenths of it, so that old ones leave in tenths.
#[derive(Debug, Clone, Default)]
struct Window {
    slots: [(u32, u32); SLOTS],
    /// Number of the newest slot since time 0.
    newest: u64,
}

impl BreakerState {
    pub const fn as_str(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half_open",
        }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Breaker { state: State::Closed, consecutive: 0, opened: 0, window: Window::default() }
    }
}

impl Breaker {
    pub fn state(&self) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::Probing { .. } => BreakerState::HalfOpen,
        }
    }

    pub fn gate(&self, now: u64) -> Gate {
        match self.state {
            State::Closed => Gate::Pass,
            State::Open { until } | State::Probing { lease: until } if now < until => Gate::Shut { until },
            State::Open { .. } | State::Probing { .. } => Gate::Probe,
        }
    }

    /// Takes the probe's place. `false`: somebody else has it, or it is not time.
    pub fn begin_probe(&mut self, rules: &BreakerRules, now: u64) -> bool {
        if self.gate(now) != Gate::Probe {
            return false;
        }
        self.state = State::Probing { lease: now.saturating_add(nanos(rules.max_open.max(rules.open))) };
        true
    }

    /// The probe ended without saying anything of the target (its client left): the next request may probe.
    pub fn abandon_probe(&mut self, now: u64) {
        if let State::Probing { .. } = self.state {
            self.state = State::Open { until: now };
        }
    }

    /// A request succeeded; `probe` where it was the one of [`begin_probe`](Breaker::begin_probe). The new state where it
    /// changed. Successes of requests from before it opened do not close it.
    pub fn success(&mut self, rules: &BreakerRules, probe: bool, now: u64) -> Option<BreakerState> {
        if self.state == State::Closed {
            self.consecutive = 0;
            self.window.add(rules.window, now, true);
            return None;
        }
        if !probe {
            return None;
        }
        *self = Breaker::default();
        Some(BreakerState::Closed)
    }

    /// A request failed. The new state where it changed.
    pub fn failure(&mut self, rules: &BreakerRules, probe: bool, now: u64) -> Option<BreakerState> {
        match self.state {
            State::Closed => {
                self.consecutive = self.consecutive.saturating_add(1);
                self.window.add(rules.window, now, false);
                let in_a_row =
                    rules.consecutive_failures > 0 && self.consecutive >= rules.consecutive_failures;
                (in_a_row || self.window.too_many(rules)).then(|| self.open(rules, now))
            }
            State::Probing { .. } if probe => Some(self.open(rules, now)),
            State::Open { .. } | State::Probing { .. } => None,
        }
    }

    fn open(&mut self, rules: &BreakerRules, now: u64) -> BreakerState {
        let doubled =
            nanos(rules.open).checked_shl(self.opened).filter(|n| n >> self.opened == nanos(rules.open));
        let wait = doubled.unwrap_or(u64::MAX).min(nanos(rules.max_open.max(rules.open)));
        self.state = State::Open { until: now.saturating_add(wait) };
        self.opened = self.opened.saturating_add(1).min(63);
        BreakerState::Open
    }
}

impl Window {
    fn add(&mut self, window: Duration, now: u64, ok: bool) {
        let slot = now / (nanos(window) / SLOTS as u64).max(1);
        // A clock that goes back counts into the newest slot.
        let passed = slot.saturating_sub(self.newest);
        if passed >= SLOTS as u64 {
            self.slots = Default::default();
        } else {
            for gone in 1..=passed {
                self.slots[index(self.newest + gone)] = (0, 0);
            }
        }
        self.newest = self.newest.max(slot);
        let (good, bad) = &mut self.slots[index(self.newest)];
        let count = if ok { good } else { bad };
        *count = count.saturating_add(1);
    }

    fn too_many(&self, rules: &BreakerRules) -> bool {
        let bad: u64 = self.slots.iter().map(|(_, bad)| u64::from(*bad)).sum();
        let all: u64 = bad + self.slots.iter().map(|(good, _)| u64::from(*good)).sum::<u64>();
        #[allow(clippy::cast_precision_loss)] // counts of a window
        let share = bad as f64 / all.max(1) as f64;
        rules.min_requests > 0 && all >= u64::from(rules.min_requests) && share >= rules.error_rate
    }
}

fn index(slot: u64) -> usize {
    #[allow(clippy::cast_possible_truncation)] // below SLOTS
    {
        (slot % SLOTS as u64) as usize
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
