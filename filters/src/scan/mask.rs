//! What stands in a value's place, and what one request remembers of its findings.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Action, Direction, Found};

/// What the replaced value was written as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Shape {
    /// Text, or the inside of a JSON string.
    #[default]
    Text,
    /// A JSON number: what stands in its place is one too.
    JsonNumber,
}

/// Findings of one rule, action and place, counted. Never the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub rule: Arc<str>,
    pub kind: Arc<str>,
    pub action: Action,
    pub direction: Direction,
    /// A path such as `messages[2].content`.
    pub location: String,
    pub count: u32,
}

/// Findings kept apart by place; those past it are counted at the last one of their rule and action.
const MAX_FINDINGS: usize = 256;

/// The memory of one request, both directions: numbers of masked values, values the request carried, the tally of findings.
#[derive(Debug, Default)]
pub struct Masker {
    numbers: HashMap<(Arc<str>, String), u32>,
    per_kind: HashMap<Arc<str>, u32>,
    carried: HashSet<(Arc<str>, String)>,
    findings: Vec<Finding>,
    quiet: bool,
}

impl Masker {
    pub fn new() -> Masker {
        Masker::default()
    }

    /// What is written in the place of `value`, the text of `found.span`: the same for the same value.
    pub fn stand_in(&mut self, found: &Found, value: &str, shape: Shape) -> String {
        if shape == Shape::JsonNumber {
            return "0".to_owned();
        }
        let key = (found.kind.clone(), canonical(found, value));
        let next = self.per_kind.entry(found.kind.clone()).or_insert(0);
        let number = *self.numbers.entry(key).or_insert_with(|| {
            *next += 1;
            *next
        });
        format!("[{}_{number}]", found.kind.to_uppercase())
    }

    /// While quiet, nothing is counted: for texts that were counted already and are given again (a delta, then the whole).
    pub fn set_quiet(&mut self, quiet: bool) {
        self.quiet = quiet;
    }

    /// Counts a finding at `location`; a value found in a request counts as carried by it. See [`Masker::carries`].
    pub fn note(&mut self, location: &str, found: &Found, value: &str) {
        if found.direction == Direction::Request {
            self.carried.insert((found.kind.clone(), canonical(found, value)));
        }
        if self.quiet {
            return;
        }
        let full = self.findings.len() >= MAX_FINDINGS;
        let same = |finding: &&mut Finding| {
            finding.rule == found.rule_id
                && finding.action == found.action
                && finding.direction == found.direction
                && (full || finding.location == location)
        };
        if let Some(finding) = self.findings.iter_mut().rev().find(same) {
            finding.count = finding.count.saturating_add(1);
            return;
        }
        self.findings.push(Finding {
            rule: found.rule_id.clone(),
            kind: found.kind.clone(),
            action: found.action,
            direction: found.direction,
            location: location.to_owned(),
            count: 1,
        });
    }

    /// Whether the request carried this value in clear: its answer may say it again.
    pub fn carries(&self, found: &Found, value: &str) -> bool {
        self.carried.contains(&(found.kind.clone(), canonical(found, value)))
    }

    /// The tally so far.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
}

/// The same for two spellings of one value: case, separators and whatever follows a committed key's prefix are left out.
fn canonical(found: &Found, value: &str) -> String {
    let value = value.get(..found.identity).unwrap_or(value);
    value
        .chars()
        .filter(|c| !matches!(c, ' ' | '-' | '(' | ')' | '\u{200b}'))
        .collect::<String>()
        .to_lowercase()
}
