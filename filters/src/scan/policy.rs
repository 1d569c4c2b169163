//! What is done about each rule, resolved for one direction and one caller.

use super::trigger::Watch;
use super::{Action, Direction, Exemption, RuleId};

/// The parts of a profile that are not an action per rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Switches {
    /// What is left alone although it has the form of a finding.
    pub exempt: Vec<Exemption>,
    /// In answers: a value that the request carried is not masked again.
    pub echo: bool,
}

/// Resolved actions, indexed by rule. Built once per config and scope, shared by every request it applies to.
#[derive(Debug, Clone)]
pub struct Policy {
    direction: Direction,
    actions: Vec<Action>,
    switches: Switches,
    pub(super) watch: Watch,
    /// Beginnings of the prefixes of rules that act, packed and sorted.
    pub(super) beginnings: Vec<u64>,
}

impl Policy {
    pub(super) fn new(
        direction: Direction,
        actions: Vec<Action>,
        switches: Switches,
        watch: Watch,
        beginnings: Vec<u64>,
    ) -> Policy {
        Policy { direction, actions, switches, watch, beginnings }
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
        self.actions.iter().all(|action| *action == Action::Off)
    }

    /// Which way the texts go that this policy is for.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    pub fn switches(&self) -> &Switches {
        &self.switches
    }
}
