/// What active probes have said of a target so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HealthState {
    /// Not probed yet, or not often enough to tell. Used only where no healthy target is left.
    Unknown,
    Healthy,
    Unhealthy,
}

/// How many probes in a row change a target's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthRules {
    pub healthy_after: u32,
    pub unhealthy_after: u32,
}

/// The state and the current streak of probes that speak against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    state: HealthState,
    streak: u32,
}

impl HealthState {
    /// Name in metrics, logs and the admin API.
    pub const fn as_str(self) -> &'static str {
        match self {
            HealthState::Unknown => "unknown",
            HealthState::Healthy => "healthy",
            HealthState::Unhealthy => "unhealthy",
        }
    }
}

impl Default for Health {
    fn default() -> Self {
        Health { state: HealthState::Unknown, streak: 0 }
    }
}

impl Health {
    pub const fn state(&self) -> HealthState {
        self.state
    }

    /// Takes in a probe's result; the new state where it changed. The first success of an unknown target is enough: a gateway
    /// that starts should not wait for a second one.
    pub fn probed(&mut self, ok: bool, rules: HealthRules) -> Option<HealthState> {
        let (against, needed, then) = match self.state {
            HealthState::Unknown if ok => (true, 1, HealthState::Healthy),
            HealthState::Unknown | HealthState::Healthy => {
                (!ok, rules.unhealthy_after, HealthState::Unhealthy)
            }
            HealthState::Unhealthy => (ok, rules.healthy_after, HealthState::Healthy),
        };
        self.streak = if against { self.streak.saturating_add(1) } else { 0 };
        if !against || self.streak < needed {
            return None;
        }
        *self = Health { state: then, streak: 0 };
        Some(then)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streaks_change_the_state() {
        let rules = HealthRules { healthy_after: 2, unhealthy_after: 3 };
        let check = |probes: &str, expect: HealthState| {
            let mut health = Health::default();
            let mut changes = 0;
            for probe in probes.chars() {
                let before = health.state();
                let change = health.probed(probe == '+', rules);
                assert_eq!(change.is_some(), before != health.state());
                changes += u32::from(change.is_some());
            }
            assert_eq!(health.state(), expect, "{probes} ({changes} changes)");
        };
        check("", HealthState::Unknown);
        check("+", HealthState::Healthy);
        check("--", HealthState::Unknown);
        check("---", HealthState::Unhealthy);
        check("--+", HealthState::Healthy);
        check("+--+--", HealthState::Healthy);
        check("+---", HealthState::Unhealthy);
        check("+---+", HealthState::Unhealthy);
        check("+---+-+", HealthState::Unhealthy);
        check("+---++", HealthState::Healthy);
    }

    #[test]
    fn thresholds_of_zero_mean_one() {
        let rules = HealthRules { healthy_after: 0, unhealthy_after: 0 };
        let mut health = Health::default();
        assert_eq!(health.probed(false, rules), Some(HealthState::Unhealthy));
        assert_eq!(health.probed(false, rules), None);
        assert_eq!(health.probed(true, rules), Some(HealthState::Healthy));
    }
}
