//! A rule's own examples.

use super::{RuleError, Rules};
use crate::scan::{Action, Direction, RuleSpec, Switches};

/// Runs the examples of `specs`, which `rules` were compiled from.
pub(super) fn check(rules: &Rules, specs: &[RuleSpec]) -> Vec<RuleError> {
    let policy = rules.policy(Direction::Answer, |_| Action::Mask, Switches::default());
    let finds = |spec: &RuleSpec, text: &String| {
        let mut found = Vec::new();
        rules.scan(&policy, text, &mut found);
        found.iter().any(|finding| *finding.rule_id == *spec.id)
    };
    let mut errors = Vec::new();
    for spec in specs {
        let mut complain = |message| errors.push(RuleError { rule: spec.id.clone(), message });
        for text in spec.examples.matches.iter().filter(|text| !finds(spec, text)) {
            complain(format!("does not match its example {text:?}: change the rule or the example"));
        }
        for text in spec.examples.no_match.iter().filter(|text| finds(spec, text)) {
            complain(format!("matches {text:?}, which it must not: change the rule or the example"));
        }
    }
    errors
}
