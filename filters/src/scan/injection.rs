//! Prompt injection: text that tries to give orders to the model that its author has no business giving.
//!
//! Phrases and marks add up to a score from 0 to 100 per text; what is done above which score is policy. Nothing here is sure:
//! the same words stand in an attack and in an article about it, so hits that are quoted, negated or told about count for
//! less, and a text that speaks of attacks counts for less as a whole. A miss is better than a refusal of honest work.
//!
//! One pass: the text is folded (case, look-alikes, accents, what prints nothing), a table of short anchors says where a phrase
//! may stand, and only there words are compared. Each comparison is bounded, and so is their number.

mod anchors;
mod encoded;
mod folded;
mod group;
mod mention;
mod phrase;
mod policy;
mod spec;

use std::ops::Range;
use std::sync::Arc;

use self::anchors::Anchors;
use self::folded::Folded;
use self::group::{Before, Group};
use self::phrase::Phrase;
pub use self::policy::{InjectionPolicy, KIND, ToolResults, is_possible};
pub use self::spec::{InjectionSpec, SignalSpec};
use super::RuleError;
use super::units::Fold;

/// Highest score.
pub const MAX_SCORE: u8 = 100;
/// Score that a signal's examples reach or do not.
const FOUND: u8 = 50;
/// Phrases of all signals.
const MAX_PHRASES: usize = 16_384;

/// Lists of words by their names.
type WordLists = std::collections::BTreeMap<String, Vec<String>>;

/// Comparisons of a phrase with a place: this many in any text, and one more for so many bytes of it.
const FREE_LOOKS: usize = 2_048;
const BYTES_PER_LOOK: usize = 64;

/// A text longer than this is a document: a single signal in it counts for less.
const DOCUMENT: usize = 4 * 1024;
/// In percent.
const ALONE_IN_DOCUMENT: i32 = 70;

/// The signals, compiled once.
#[derive(Debug)]
pub(super) struct Injection {
    signals: Vec<Signal>,
    phrases: Vec<Phrase>,
    anchors: Anchors,
    /// By the numbers of their anchors.
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Signal {
    id: Arc<str>,
    weight: i8,
}

/// What was seen in one text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Score {
    /// 0 to [`MAX_SCORE`].
    pub points: u8,
    /// Signals that spoke for it with their points, the strongest first.
    pub signals: Vec<(Arc<str>, u8)>,
}

impl std::fmt::Display for Score {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "score {}", self.points)?;
        for (nth, (signal, points)) in self.signals.iter().enumerate() {
            write!(f, "{}{signal} {points}", if nth == 0 { ": " } else { ", " })?;
        }
        Ok(())
    }
}

/// Buffers that are kept from text to text.
#[derive(Debug, Default)]
pub struct Scratch {
    folded: Folded,
}

impl Injection {
    /// Compiles the built-in signals and those of further files; appends to `errors` all that is wrong with them. A file's phrases may
    /// name the built-in lists of words beside its own, which come first.
    pub(super) fn compile(own: &[InjectionSpec], fold: &Fold, errors: &mut Vec<RuleError>) -> Injection {
        let builtin = InjectionSpec::builtin();
        let mut compiled = Injection {
            signals: Vec::new(),
            phrases: Vec::new(),
            anchors: Anchors::new(std::iter::empty()),
            groups: Vec::new(),
        };
        for spec in std::iter::once(&builtin).chain(own) {
            let mut words = builtin.words.clone();
            words.extend(spec.words.iter().map(|(name, list)| (name.clone(), list.clone())));
            for signal in &spec.signals {
                compiled.add(&words, signal, fold, errors);
            }
        }
        compiled.index();
        compiled
    }

    fn add(&mut self, words: &WordLists, signal: &SignalSpec, fold: &Fold, errors: &mut Vec<RuleError>) {
        let index = self.signals.len();
        if index >= usize::from(u8::MAX) || self.signals.iter().any(|other| *other.id == *signal.id) {
            errors.push(error(
                &signal.id,
                "has the id of another signal, or is one too many; rename or remove it",
            ));
            return;
        }
        let weight = signal.weight.clamp(-100, 100);
        self.signals.push(Signal { id: signal.id.as_str().into(), weight });
        let phrases = signal.phrases.iter().map(|text| Phrase::parse(text, words, fold));
        let marks = signal.marks.iter().map(|text| Phrase::mark(text, fold));
        for phrase in phrases.chain(marks) {
            match phrase {
                Ok(_) if self.phrases.len() >= MAX_PHRASES => {
                    errors.push(error(
                        &signal.id,
                        format!("there are more than {MAX_PHRASES} phrases in all: remove some"),
                    ));
                    return;
                }
                Ok(phrase) => self.phrases.push(phrase.of(index as u8)),
                Err(message) => errors.push(error(&signal.id, message)),
            }
        }
    }

    fn index(&mut self) {
        let groups = group::groups(&self.phrases);
        self.anchors = Anchors::new(groups.keys().copied());
        self.groups = groups.into_values().collect();
    }

    /// Runs the signals' own examples: a text that must match reaches [`FOUND`] points with the signal among them, one that must
    /// not stays below.
    pub(super) fn check(&self, specs: &[InjectionSpec], fold: &Fold) -> Vec<RuleError> {
        let mut errors = Vec::new();
        let mut scratch = Scratch::default();
        for signal in specs.iter().flat_map(|spec| &spec.signals) {
            for text in &signal.examples.matches {
                let score = self.score(fold, text, &mut scratch);
                let seen = score.signals.iter().any(|(id, _)| **id == *signal.id);
                if score.points < FOUND || !seen {
                    let message = format!(
                        "does not match its example {text:?} ({score}): change a phrase, the weight or the example"
                    );
                    errors.push(error(&signal.id, message));
                }
            }
            for text in &signal.examples.no_match {
                let score = self.score(fold, text, &mut scratch);
                let own = score.signals.iter().find(|(id, _)| **id == *signal.id);
                let full = own.is_some_and(|(_, points)| i32::from(*points) == i32::from(signal.weight));
                if score.points >= FOUND || full && i32::from(signal.weight) >= i32::from(FOUND) {
                    let message = format!(
                        "matches {text:?}, which it must not ({score}): change a phrase, the weight or the example"
                    );
                    errors.push(error(&signal.id, message));
                }
            }
        }
        errors
    }

    /// Scores a text.
    pub(super) fn score(&self, fold: &Fold, text: &str, scratch: &mut Scratch) -> Score {
        let folded = &mut scratch.folded;
        folded.read(text, fold);
        let mut points = vec![0_i32; self.signals.len()];
        self.look(folded.text(), folded.is_json(), &mut points);
        for hidden in folded.hidden(text) {
            self.look_inside(fold, &hidden, &mut points);
        }
        self.sum(folded.text().len(), &points)
    }

    /// The best hit of each signal, in points.
    fn look(&self, text: &[u8], json: bool, points: &mut [i32]) {
        let mut looks = FREE_LOOKS + text.len() / BYTES_PER_LOOK;
        let (mut found, mut before) = (Vec::new(), Before::default());
        self.anchors.each(text, |at, anchor| {
            found.clear();
            self.groups[anchor].each(text, at, &mut before, |place| {
                let phrase = &self.phrases[usize::from(place.phrase)];
                looks = looks.saturating_sub(1);
                if !found.contains(&place.phrase)
                    && let Some(span) = phrase.find(text, place, at)
                {
                    // The nearest is the one that counts.
                    found.push(place.phrase);
                    self.count(phrase, span, text, json, points);
                }
                looks > 0
            })
        });
    }

    fn count(&self, phrase: &Phrase, span: Range<usize>, text: &[u8], json: bool, points: &mut [i32]) {
        let at = usize::from(phrase.signal);
        let weight = i32::from(self.signals[at].weight);
        if weight < 0 {
            points[at] = weight;
            return;
        }
        let worth = weight * mention::percent(text, span, json) / 100;
        points[at] = points[at].max(worth);
    }

    /// A text that was hidden in another: what it says counts in full, and that it was hidden besides.
    fn look_inside(&self, fold: &Fold, hidden: &encoded::Hidden, points: &mut [i32]) {
        let mut folded = Folded::default();
        folded.read(&hidden.text, fold);
        let mut inside = vec![0_i32; self.signals.len()];
        self.look(folded.text(), false, &mut inside);
        if inside.iter().filter(|points| **points > 0).sum::<i32>() < encoded::WORTH_A_LOOK {
            return;
        }
        for (outer, inner) in points.iter_mut().zip(inside).filter(|(_, inner)| *inner > 0) {
            *outer = (*outer).max(inner);
        }
        if let Some(at) = self.signals.iter().position(|signal| &*signal.id == hidden.signal) {
            points[at] = i32::from(self.signals[at].weight);
        }
    }

    fn sum(&self, len: usize, points: &[i32]) -> Score {
        let mut signals: Vec<(Arc<str>, u8)> = self
            .signals
            .iter()
            .zip(points)
            .filter(|(_, points)| **points > 0)
            .map(|(signal, points)| (signal.id.clone(), *points as u8))
            .collect();
        signals.sort_by_key(|(_, points)| std::cmp::Reverse(*points));
        // What is only spoken of does not add up: an article names many attacks.
        let (mut total, mut spoken_of) = (0, 0);
        for (signal, points) in self.signals.iter().zip(points) {
            if *points < 0 || *points >= i32::from(signal.weight) {
                total += points;
            } else {
                spoken_of = spoken_of.max(*points);
            }
        }
        total += spoken_of;
        if len > DOCUMENT && signals.len() == 1 {
            total = total * ALONE_IN_DOCUMENT / 100;
        }
        Score { points: total.clamp(0, i32::from(MAX_SCORE)) as u8, signals }
    }
}

fn error(rule: &str, message: impl std::fmt::Display) -> RuleError {
    RuleError { rule: rule.to_owned(), message: message.to_string() }
}

#[cfg(test)]
mod tests;
