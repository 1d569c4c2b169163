//! What is done about each rule, resolved for one direction and one caller.

use super::injection::InjectionPolicy;
use super::trigger::Watch;
use super::{Action, Direction, Exemption, RuleId};

/// The parts of a profile that are not an action per rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switches {
    /// What is left alone although it has the form of a finding.
    pub exempt: Vec<Exemption>,
    /// In answers: a value that the request carried is not masked again.
    pub echo: bool,
    /// In requests: what is done about prompt injections.
    pub injection: InjectionPolicy,
}

impl Default for Switches {
    fn default() -> Self {
        Switches { exempt: Vec::new(), echo: false, injection: InjectionPolicy::OFF }
    }
}

/// The strongest action of the rules that reach back over a run of characters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Runs {
    pub(super) email: Action,
    pub(super) ipv6: Action,
    pub(super) number: Action,
}

/// What the sweep looks for and holds back under a policy.
#[derive(Debug, Clone)]
pub(super) struct Reach {
    pub(super) watch: Watch,
    /// Beginnings of the prefixes of rules that act, packed and sorted.
    pub(super) beginnings: Vec<u64>,
    pub(super) runs: Runs,
}

/// Resolved actions, indexed by rule. Built once per config and scope, shared by every request it applies to.
#[derive(Debug, Clone)]
pub struct Policy {
    direction: Direction,
    actions: Vec<Action>,
    switches: Switches,
    idle: bool,
    pub(super) reach: Reach,
}

impl Policy {
    pub(super) fn new(
        direction: Direction,
        actions: Vec<Action>,
        switches: Switches,
        reach: Reach,
    ) -> Policy {
        let idle = actions.iter().all(|action| *action == Action::Off);
        Policy { direction, actions, switches, idle, reach }
    }

    pub(super) fn looks_for(&self, rule: RuleId) -> bool {
        self.action(rule) != Action::Off
    }

    pub(super) fn acts_on(&self, rule: RuleId) -> bool {
        self.action(rule).acts()
    }

    /// What is done about `rule`.
    pub fn action(&self, rule: RuleId) -> Action {
        self.actions.get(rule.index()).copied().unwrap_or(Action::Off)
    }

    /// Whether every rule is off: nothing needs to be scanned.
    pub fn is_idle(&self) -> bool {
        self.idle
    }

    /// Which way the texts go that this policy is for.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    pub fn switches(&self) -> &Switches {
        &self.switches
    }
}
