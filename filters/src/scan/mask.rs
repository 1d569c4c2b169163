//! What stands in a value's place, and what one request remembers of its findings.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use unicode_normalization::UnicodeNormalization;

pub(super) mod shape;

use super::pseudonym::{Room, StandIns, visible};
use super::units::prints_nothing;
use super::{Action, Direction, Found, LookAlike, PseudonymKey};

/// What the replaced value was written as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Shape {
    #[default]
    Text,
    /// The inside of a JSON string that a program reads: what stands in a value's place keeps its type and shape.
    JsonString,
    /// A JSON number: what stands in its place is one too, of as many digits.
    JsonNumber,
}

/// Findings of one rule, action and place, counted. Never the value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub direction: Direction,
    /// A path such as `messages[2].content`.
    pub location: String,
    pub rule: Arc<str>,
    pub kind: Arc<str>,
    pub action: Action,
    /// What would have been done, where the action is [`Action::Shadow`].
    pub would: Option<Action>,
    pub count: u32,
}

/// Findings kept apart by place.
const MAX_FINDINGS: usize = 256;
/// Whether a value of an answer is one that its request carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeats {
    No,
    /// One begins so.
    Perhaps,
    Yes,
}

/// Kinds whose masks are kept free, and that have values.
const MAX_KINDS: usize = 1024;
/// Longest key that an answer may say again: so much of it is held until its last letter is known.
const MAX_REPEATED: usize = 320;
/// Place of the others.
const OVERFLOW: &str = "…";

/// The memory of one request, both directions: numbers of masked values, values the request carried, the tally of findings.
#[derive(Debug, Default)]
pub struct Masker {
    room: Room,
    numbers: HashMap<(Arc<str>, String), u32>,
    per_kind: HashMap<Arc<str>, u32>,
    carried: HashSet<(Arc<str>, String)>,
    /// Of them the keys, letter by letter.
    keys: BTreeSet<(Arc<str>, String)>,
    findings: Vec<Finding>,
    quiet: bool,
    key: Option<PseudonymKey>,
    look_alikes: Arc<[LookAlike]>,
    stand_ins: Arc<StandIns>,
}

impl Masker {
    pub fn new() -> Masker {
        Masker::default()
    }

    #[cfg(test)]
    pub(super) fn with_room(room: Room) -> Masker {
        Masker { room, stand_ins: Arc::new(StandIns::with_room(room)), ..Masker::default() }
    }

    /// A masker that can make pseudonyms. Without a key, what is to be pseudonymised is masked.
    #[must_use]
    pub fn with_pseudonyms(mut self, key: PseudonymKey) -> Masker {
        self.key = Some(key);
        self
    }

    /// Kinds whose pseudonyms look like their values.
    #[must_use]
    pub fn with_look_alikes(mut self, kinds: Arc<[LookAlike]>) -> Masker {
        self.look_alikes = kinds;
        self
    }

    /// The key of the caller's organisation, where there is one.
    pub fn key(&self) -> Option<&PseudonymKey> {
        self.key.as_ref()
    }

    /// Whether pseudonyms were made: then answers have to be read for them.
    pub fn restores(&self) -> bool {
        !self.stand_ins.is_empty()
    }

    /// What was put back in a text of the answer, and its stand-ins: what the client read, the audit trail may not. Of a text
    /// that was cut in a value, its beginning too.
    pub fn restored_in(&self, text: &str) -> Vec<(Range<usize>, String)> {
        if self.restores() { self.stand_ins.restored_in(text) } else { Vec::new() }
    }

    /// The pseudonyms made so far, to be swapped back.
    pub(super) fn stand_ins(&self) -> Option<&Arc<StandIns>> {
        (!self.stand_ins.is_empty()).then_some(&self.stand_ins)
    }

    /// What is written in the place of `value`, the text of `found.span`: the same for the same value. Past 65,536 different
    /// values, `[EMAIL]` without a number or tag.
    ///
    /// Pseudonyms are made in requests, where the whole value is known: two keys that begin alike have two, whichever comes
    /// first. In an answer new values are masked.
    pub fn stand_in(&mut self, found: &Found, value: &str, shape: Shape) -> String {
        let pseudonym = found.action == Action::Pseudonymise && found.direction == Direction::Request;
        if let (true, true, Some(key)) = (pseudonym, shape != Shape::JsonNumber, &self.key) {
            let stand_ins = Arc::make_mut(&mut self.stand_ins);
            let exact = is_exact(found);
            let value = found.decoded.decode(value);
            let made = stand_ins.make(key, &self.look_alikes, &found.kind, &value, exact);
            return made.unwrap_or_else(|| format!("[{}]", found.kind.to_uppercase()));
        }
        let number = self.number(found, value);
        match (shape, number) {
            (Shape::Text, Some(number)) => format!("[{}_{number}]", found.kind.to_uppercase()),
            (Shape::Text, None) => format!("[{}]", found.kind.to_uppercase()),
            (Shape::JsonString, _) => {
                // Of an open-ended key a stream knows no more.
                let known = found.decoded.decode(value.get(..found.identity).unwrap_or(value));
                shape::string(&found.kind, &known, number.unwrap_or_default())
            }
            (Shape::JsonNumber, _) => shape::number(value, number.unwrap_or_default()),
        }
    }

    /// The same in the place of the JSON number `literal`, which `value` was found in.
    pub(super) fn number_stand_in(&mut self, found: &Found, value: &str, literal: &str) -> String {
        let number = self.number(found, value);
        shape::number(literal, number.unwrap_or_default())
    }

    /// Values of a kind are numbered in order of appearance.
    pub(super) fn number(&mut self, found: &Found, value: &str) -> Option<u32> {
        let (values, key) = (self.numbers.len(), (found.kind.clone(), canonical(found, value)));
        match self.numbers.entry(key) {
            Entry::Occupied(known) => Some(*known.get()),
            Entry::Vacant(_) if values >= self.room.values => None,
            Entry::Vacant(new) => {
                let last = self.per_kind.entry(found.kind.clone()).or_insert(0);
                *last += 1;
                Some(*new.insert(*last))
            }
        }
    }

    /// A conversation holds a mask with this number already, of a value that nobody knows any more: new values get later ones.
    pub(super) fn keep_free(&mut self, kind: &str, number: u32) {
        if number as usize > self.room.values / 2 {
            return; // likely none of ours, and there must be as many behind it
        }
        if let Some(last) = self.per_kind.get_mut(kind) {
            *last = number.max(*last);
        } else if self.per_kind.len() < MAX_KINDS {
            self.per_kind.insert(kind.into(), number);
        }
    }

    /// While quiet, nothing is counted: for texts that were counted already and are given again (a delta, then the whole).
    pub fn set_quiet(&mut self, quiet: bool) {
        self.quiet = quiet;
    }

    /// Counts a finding at `location`; a value found in a request counts as carried by it. See [`Switches::echo`](super::Switches::echo).
    pub fn note(&mut self, location: &str, found: &Found, value: &str) {
        if found.identity == 0 {
            return; // goes on behind another finding; was counted with its beginning
        }
        // Past the limit: what was not noted is masked in the answer, as if the request had not said it.
        if found.direction == Direction::Request && self.carried.len() < self.room.values {
            self.carried.insert((found.kind.clone(), canonical(found, value)));
            if is_exact(found) && value.len() <= MAX_REPEATED {
                let key = visible(&found.decoded.decode(value));
                self.keys.insert((found.kind.clone(), key.trim_end_matches('.').to_owned()));
            }
        }
        self.tally(Finding {
            direction: found.direction,
            location: location.to_owned(),
            rule: found.rule_id.clone(),
            kind: found.kind.clone(),
            action: found.action,
            would: found.would.filter(|_| found.action == Action::Shadow),
            count: 1,
        });
    }

    /// Counts a finding.
    pub(super) fn tally(&mut self, mut finding: Finding) {
        if self.quiet {
            return;
        }
        if self.findings.len() >= MAX_FINDINGS {
            OVERFLOW.clone_into(&mut finding.location);
        }
        // Within a place in order: what was found first there depends on how its text was cut.
        let here = |f: &Finding| f.direction == finding.direction && f.location == finding.location;
        let first = self.findings.iter().position(here).unwrap_or(self.findings.len());
        let len = self.findings[first..].iter().take_while(|f| here(f)).count();
        let order =
            |f: &Finding| (&f.rule, f.action, f.would).cmp(&(&finding.rule, finding.action, finding.would));
        match self.findings[first..first + len].binary_search_by(order) {
            Ok(at) => self.findings[first + at].count = self.findings[first + at].count.saturating_add(1),
            Err(at) => self.findings.insert(first + at, finding),
        }
    }

    /// Whether the request carried this value in clear: its answer may say it again. Of a key, every letter counts; `ended`: what
    /// follows `value` is no part of it.
    pub(super) fn may_repeat(&self, found: &Found, value: &str, ended: bool) -> Repeats {
        let whole = ended || !found.open;
        let known = if !is_exact(found) {
            self.carried.contains(&(found.kind.clone(), canonical(found, value)))
        } else {
            // Of a key that is still coming in, escapes would be cut.
            let decoded = if found.open { value.into() } else { found.decoded.decode(value) };
            let key = visible(&decoded);
            // The full stop of a sentence, which the run of some keys takes in.
            let from = (found.kind.clone(), key.strip_suffix('.').unwrap_or(&key).to_owned());
            let next = self.keys.range(&from..).next();
            next.is_some_and(|(kind, key)| {
                *kind == from.0 && if whole { *key == from.1 } else { key.starts_with(&from.1) }
            })
        };
        match (known, whole) {
            (false, _) => Repeats::No,
            (true, false) => Repeats::Perhaps,
            (true, true) => Repeats::Yes,
        }
    }

    /// The tally so far.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
}

/// The same for two spellings of one value: escapes, case and compatibility forms, what prints nothing, separators of numbers, and
/// whatever follows a committed key's prefix are left out.
fn canonical(found: &Found, value: &str) -> String {
    fold(&found.decoded.decode(value.get(..found.identity).unwrap_or(value)))
}

/// Whether every letter of a value counts, its case included: keys that differ in it are two.
fn is_exact(found: &Found) -> bool {
    &*found.kind == "secret" || found.open
}

pub(super) fn fold(value: &str) -> String {
    let visible = value.nfkc().filter(|c| !prints_nothing(*c));
    let mut folded: String = visible.flat_map(char::to_lowercase).collect();
    if !folded.contains(['@', '.', ':', '_', '/']) {
        folded.retain(|c| !matches!(c, ' ' | '-' | '(' | ')' | '\u{2010}'..='\u{2013}'));
    }
    folded
}
