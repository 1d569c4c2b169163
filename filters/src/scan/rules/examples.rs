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
        // An example of a list is one of its terms, and those are not shown.
        let shown = |list: &str, at: usize, text: &String| {
            if spec.terms.is_empty() { format!("{text:?}") } else { format!("{list}[{at}]") }
        };
        for (at, text) in spec.examples.matches.iter().enumerate().filter(|(_, text)| !finds(spec, text)) {
            let shown = shown("match", at, text);
            complain(format!("does not match its example {shown}: change the rule or the example"));
        }
        for (at, text) in spec.examples.no_match.iter().enumerate().filter(|(_, text)| finds(spec, text)) {
            let shown = shown("no_match", at, text);
            complain(format!("matches {shown}, which it must not: change the rule or the example"));
        }
    }
    errors
}
