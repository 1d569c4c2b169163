//! What is done about each rule, resolved for one direction and one caller.

use super::injection::InjectionPolicy;
use super::trigger::Watch;
use super::{Action, Demands, Direction, Escapes, Exemption, RuleId, RuleInfo, Rules, Treatment};

/// The parts of a profile that are not an action per rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switches {
    /// What is left alone although it has the form of a finding.
    pub exempt: Vec<Exemption>,
    /// In answers: a value that the request carried is not masked again.
    pub echo: bool,
    /// Escapes that are looked through.
    pub decode: Escapes,
    /// In requests: what is done about prompt injections.
    pub injection: InjectionPolicy,
}

impl Default for Switches {
    fn default() -> Self {
        Switches { exempt: Vec::new(), echo: false, decode: Escapes::NONE, injection: InjectionPolicy::OFF }
    }
}

/// The strongest action of the rules that reach back over a run of characters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Runs {
    pub(super) lead: Action,
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
    /// The same of prefixes in the middle of a value.
    pub(super) marks: Vec<u64>,
    pub(super) runs: Runs,
    /// Whether some rule is looked for and does not act.
    pub(super) observes: bool,
    /// Raw bytes that any candidate may have. Without escapes those that its rule may have are fewer.
    pub(super) most_raw: usize,
}

/// Resolved actions, indexed by rule. Built once per config and scope, shared by every request it applies to.
#[derive(Debug, Clone)]
pub struct Policy {
    direction: Direction,
    actions: Vec<Action>,
    /// What a shadow stands for, of the rules whose action that is.
    shadows: Vec<(RuleId, Action)>,
    /// Labels that findings demand, by rule.
    demands: Vec<(RuleId, Demands)>,
    switches: Switches,
    idle: bool,
    acts: bool,
    pub(super) reach: Reach,
}

impl Rules {
    /// Resolves treatments for one direction. Labels are demanded by requests only: an answer has its target already.
    pub fn policy_by(
        &self,
        direction: Direction,
        treatment_of: impl Fn(&RuleInfo) -> Treatment,
        switches: Switches,
    ) -> Policy {
        let mut policy = self.policy(direction, |rule| treatment_of(rule).action(), switches);
        for (id, rule) in self.infos() {
            let treatment = treatment_of(rule);
            if let Some(would) = treatment.would() {
                policy.shadows.push((id, would));
            }
            if direction == Direction::Request && !treatment.require().is_empty() {
                policy.demands.push((id, treatment.require().clone()));
            }
        }
        policy
    }
}

impl Policy {
    pub(super) fn new(
        direction: Direction,
        actions: Vec<Action>,
        switches: Switches,
        reach: Reach,
    ) -> Policy {
        let idle = actions.iter().all(|action| *action == Action::Off);
        let acts = actions.iter().any(|action| action.acts());
        Policy { direction, actions, shadows: Vec::new(), demands: Vec::new(), switches, idle, acts, reach }
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

    /// What would be done about `rule` if its action were not [`Action::Shadow`].
    pub fn would(&self, rule: RuleId) -> Option<Action> {
        let shadow = self.shadows.iter().find(|(id, _)| *id == rule).map(|(_, would)| *would);
        shadow.or_else(|| (self.action(rule) == Action::Shadow).then_some(Action::Mask))
    }

    /// Labels that a finding of `rule` demands.
    pub fn demands(&self, rule: RuleId) -> Option<&Demands> {
        self.demands.iter().find(|(id, _)| *id == rule).map(|(_, demands)| demands)
    }

    /// Whether some rule's action is this one.
    pub fn has(&self, action: Action) -> bool {
        self.actions.contains(&action)
    }

    /// Whether anything is done about some rule but to record it.
    pub(crate) fn acts(&self) -> bool {
        self.acts
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

#[cfg(test)]
mod tests {
    use crate::scan::tests::BUILTIN;
    use crate::scan::{Action, Direction, Masker, Profile, Switches};

    #[test]
    fn a_finding_in_shadow_says_what_would_have_been_done() {
        let profile = "{name: p, request: {email: shadow, phone: {shadow: block}, iban: mask}, answer: {}}";
        let profile = Profile::parse(profile).expect("parses");
        let policy = BUILTIN.policy_of(&profile, Direction::Request);
        let text = "Mail alice@corp.com, call (212) 555-0123, pay DE89 3704 0044 0532 0130 00.";
        let (mut found, mut masker) = (Vec::new(), Masker::new());
        BUILTIN.scan(&policy, text, &mut found);
        for found in &found {
            masker.note("", found, &text[found.span.clone()]);
        }
        let seen: Vec<_> = masker.findings().iter().map(|f| (&*f.kind, f.action, f.would)).collect();
        let expect = [
            ("email", Action::Shadow, Some(Action::Mask)),
            ("iban", Action::Mask, None),
            ("phone", Action::Shadow, Some(Action::Block)),
        ];
        assert_eq!(seen, expect);
    }

    #[test]
    fn a_shadow_without_more_stands_for_a_mask() {
        for (action, would) in [(Action::Shadow, Some(Action::Mask)), (Action::Mask, None)] {
            let policy = BUILTIN.policy(Direction::Request, |_| action, Switches::default());
            assert!(BUILTIN.infos().all(|(rule, _)| policy.would(rule) == would), "{action:?}");
            assert!(policy.has(action) && !policy.has(Action::Block), "{action:?}");
        }
    }

    /// The page for operators says what each rule holds back; this keeps it true.
    #[test]
    fn the_documentation_lists_what_each_rule_holds() {
        let row =
            |rule: &crate::scan::RuleInfo| format!("| `{}` | {} | {} |", rule.id, rule.kind, rule.max_hold);
        let want: Vec<String> = BUILTIN.infos().map(|(_, rule)| row(rule)).collect();
        let page = include_str!("../../../docs/guardrails.md");
        let table = page.lines().skip_while(|line| *line != "| rule | kind | bytes |").skip(2);
        let listed: Vec<&str> = table.take_while(|line| line.starts_with('|')).collect();
        assert_eq!(listed, want, "write into docs/guardrails.md:\n{}", want.join("\n"));
    }
}
