//! Words before a candidate that speak for or against it.

use aho_corasick::{AhoCorasick, MatchKind};

use crate::scan::units::View;

/// Raw bytes before a candidate that are looked at.
pub(in crate::scan) const CONTEXT: usize = 64;

/// What the words before a candidate say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::scan) enum Context {
    For,
    Against,
    Silent,
}

/// A rule's words, matched at the beginning of a word, whatever their case.
#[derive(Debug, Default)]
pub(in crate::scan) struct Words {
    automaton: Option<AhoCorasick>,
    speak_for: usize,
}

impl Words {
    pub(super) fn new(context: &[String], avoid: &[String]) -> Result<Words, String> {
        if context.is_empty() && avoid.is_empty() {
            return Ok(Words::default());
        }
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::LeftmostLongest)
            .build(context.iter().chain(avoid))
            .map_err(|e| format!("its context words do not compile: {e}"))?;
        Ok(Words { automaton: Some(automaton), speak_for: context.len() })
    }

    /// The word nearest to `at` decides.
    pub(super) fn context(&self, view: &View<'_>, at: usize) -> Context {
        let Some(automaton) = &self.automaton else { return Context::Silent };
        let before = view.before(at, CONTEXT);
        let text = before.as_bytes();
        let field = field_start(text);
        let mut said = Context::Silent;
        for found in automaton.find_iter(before) {
            let speaks_for = found.pattern().as_usize() < self.speak_for;
            // What is said of another field does not count against this one.
            let counts = speaks_for || found.start() >= field;
            if counts && is_word_of(text, found.start(), found.end()) {
                said = if speaks_for { Context::For } else { Context::Against };
            }
        }
        said
    }
}

/// Where the last field of a JSON object begins: `"id":7,"value":"`.
fn field_start(text: &[u8]) -> usize {
    for (at, byte) in text.iter().enumerate().rev().filter(|(_, byte)| **byte == b',') {
        let next = text[at + 1..].iter().find(|b| !b.is_ascii_whitespace());
        if matches!(next, Some(b'"' | b'\'')) && *byte == b',' {
            return at;
        }
    }
    0
}

/// Whether a word begins and, if it is short, ends here: `v` is not the beginning of `value`.
fn is_word_of(text: &[u8], start: usize, end: usize) -> bool {
    const SHORT: usize = 3;
    let after = text.get(end).copied().unwrap_or(b' ');
    let ends = end - start > SHORT
        || !text[end - 1].is_ascii_alphabetic()
        || !after.is_ascii_lowercase()
        || after == b's';
    ends && begins_word(text, start)
}

/// After no letter, or at the next word of `camelCase`.
fn begins_word(text: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|before| text[before]) else { return true };
    !before.is_ascii_alphabetic()
        || !text[at].is_ascii_alphabetic()
        || before.is_ascii_lowercase() && text[at].is_ascii_uppercase()
}
