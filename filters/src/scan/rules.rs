//! Rules, compiled once and shared.

use std::ops::Range;
use std::sync::Arc;

use regex_automata::meta::Regex;

use super::{Action, Direction, Policy, Profile, RuleSpec, Severity, Switches};

/// A rule's place in its [`Rules`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(u16);

impl RuleId {
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What others need to know of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleInfo {
    pub id: Arc<str>,
    pub kind: Arc<str>,
    pub severity: Severity,
    /// Most normalised bytes that the rule ever holds back.
    pub max_hold: usize,
}

/// A rule that cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rule `{rule}`: {message}")]
pub struct RuleError {
    /// The rule's id.
    pub rule: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

/// One finding in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub rule: RuleId,
    /// The rule's name.
    pub rule_id: Arc<str>,
    pub kind: Arc<str>,
    pub action: Action,
    pub direction: Direction,
    /// Raw bytes of the text.
    pub span: Range<usize>,
    /// How many raw bytes of the span tell this value from others: all, but for open-ended keys, known by where they committed.
    pub identity: usize,
}

/// All rules with their automata. Shared in an `Arc`.
#[derive(Debug)]
pub struct Rules {
    infos: Vec<RuleInfo>,
    regexes: Vec<Regex>,
}

const BUILTIN: [(&str, &str); 5] = [
    ("email", r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,4}\.[A-Za-z]{2,24}"),
    ("credit_card", r"\b[3-6][0-9]{3}[ -]?[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}\b"),
    ("ssn", r"\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b"),
    ("phone", r"(?:\+1[ -]?)?\(?\b[2-9][0-9]{2}\)?[-. ][2-9][0-9]{2}[-. ][0-9]{4}\b"),
    ("secret", r"\b(?:sk-[A-Za-z0-9_-]{20,64}|ghp_[A-Za-z0-9]{36}|AKIA[A-Z0-9]{16})"),
];

impl Rules {
    /// The rules of `conf/rules`.
    pub fn builtin_specs() -> Vec<RuleSpec> {
        let spec = |(kind, pattern): &(&str, &str)| RuleSpec {
            id: (*kind).to_owned(),
            kind: (*kind).to_owned(),
            about: String::new(),
            detector: None,
            pattern: Some((*pattern).to_owned()),
            ignore_case: false,
            starts: Vec::new(),
            body: None,
            validator: None,
            context: Vec::new(),
            severity: Severity::default(),
            examples: super::Examples::default(),
        };
        BUILTIN.iter().map(spec).collect()
    }

    /// Compiles rules; all errors at once.
    pub fn compile(specs: &[RuleSpec]) -> Result<Rules, Vec<RuleError>> {
        let mut rules = Rules { infos: Vec::new(), regexes: Vec::new() };
        let mut errors = Vec::new();
        for spec in specs {
            match Regex::new(spec.pattern.as_deref().unwrap_or("[^\\s\\S]")) {
                Ok(regex) => rules.regexes.push(regex),
                Err(e) => errors.push(RuleError { rule: spec.id.clone(), message: e.to_string() }),
            }
            rules.infos.push(RuleInfo {
                id: spec.id.as_str().into(),
                kind: spec.kind.as_str().into(),
                severity: spec.severity,
                max_hold: 320,
            });
        }
        if errors.is_empty() { Ok(rules) } else { Err(errors) }
    }

    /// What is known of a rule.
    pub fn info(&self, rule: RuleId) -> &RuleInfo {
        &self.infos[rule.index()]
    }

    /// All rules, in their order.
    pub fn infos(&self) -> impl Iterator<Item = (RuleId, &RuleInfo)> {
        self.infos.iter().enumerate().map(|(i, info)| (RuleId(i as u16), info))
    }

    /// Most normalised bytes that the rule ever holds back.
    pub fn max_hold(&self, rule: RuleId) -> usize {
        self.info(rule).max_hold
    }

    /// Resolves actions for one direction.
    pub fn policy(
        &self,
        direction: Direction,
        action_of: impl Fn(&RuleInfo) -> Action,
        switches: Switches,
    ) -> Policy {
        Policy::new(direction, self.infos.iter().map(action_of).collect(), switches)
    }

    /// The policy of a profile as it stands.
    pub fn policy_of(&self, profile: &Profile, direction: Direction) -> Policy {
        self.policy(direction, |rule| profile.action(rule, direction), profile.switches())
    }

    /// Appends the findings in `text` to `found`, leftmost first, none overlapping another.
    pub fn scan(&self, policy: &Policy, text: &str, found: &mut Vec<Found>) {
        let first = found.len();
        for (rule, info) in self.infos() {
            let action = policy.action(rule);
            if action == Action::Off {
                continue;
            }
            found.extend(self.regexes[rule.index()].find_iter(text).map(|m| Found {
                rule,
                rule_id: info.id.clone(),
                kind: info.kind.clone(),
                action,
                direction: policy.direction(),
                span: m.range(),
                identity: m.len(),
            }));
        }
        found[first..].sort_by_key(|f| (f.span.start, f.rule));
        let mut end = 0;
        let mut keep = first;
        for i in first..found.len() {
            if found[i].span.start >= end {
                end = found[i].span.end;
                found.swap(keep, i);
                keep += 1;
            }
        }
        found.truncate(keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_leftmost() {
        let rules = Rules::compile(&Rules::builtin_specs()).expect("built-in rules compile");
        let policy = rules.policy_of(&Profile::builtin("strict").expect("is built in"), Direction::Answer);
        let mut found = Vec::new();
        rules.scan(&policy, "write to a@b.co or 212-555-0123", &mut found);
        let kinds: Vec<_> = found.iter().map(|f| (&*f.kind, f.span.clone())).collect();
        assert_eq!(kinds, [("email", 9..15), ("phone", 19..31)]);
    }
}
