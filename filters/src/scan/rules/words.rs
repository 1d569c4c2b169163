//! Words before a candidate that speak for or against it.

use std::borrow::Cow;

use aho_corasick::{AhoCorasick, MatchKind};
use unicode_normalization::UnicodeNormalization;

use crate::scan::units::{View, prints_nothing};

/// Raw bytes before a candidate that are looked at.
pub(in crate::scan) const CONTEXT: usize = 64;
/// Bytes between a word and what it still speaks of, in a sentence.
const SENTENCE: usize = 24;

/// What the words before a candidate say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::scan) enum Context {
    For,
    /// A word against it stands somewhere before, in the same line.
    Against,
    /// A word against it names it: nothing but marks, `no` and the like stand between.
    Named,
    Silent,
}

/// How close a word stands that speaks for a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::scan) enum Nearness {
    Far,
    /// In the same line, a few words away.
    Near,
    /// Nothing but marks and `no`, `is`, `at` and the like stand between.
    Next,
}

/// A rule's words, whatever their case: those for it matched at the beginning of a word, those against it as whole words.
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
            .build(context.iter().chain(avoid).map(|word| folded(word).into_owned()))
            .map_err(|e| format!("its context words do not compile: {e}"))?;
        Ok(Words { automaton: Some(automaton), speak_for: context.len() })
    }

    /// The word nearest to `at` decides.
    pub(super) fn context(&self, view: &View<'_>, at: usize) -> Context {
        self.said(&folded(view.before(at, CONTEXT))).0
    }

    /// How close the word stands that speaks for what is at `at`, if the nearest does.
    pub(super) fn nearness(&self, view: &View<'_>, at: usize) -> Nearness {
        let before = folded(view.before(at, CONTEXT));
        let (Context::For, end) = self.said(&before) else { return Nearness::Far };
        // The rest of the word is its ending: `telefonisch`.
        let between = before[end..].trim_start_matches(|c: char| c.is_ascii_lowercase());
        match between {
            _ if names(between) => Nearness::Next,
            _ if between.len() <= SENTENCE && !between.contains(|c: char| c.is_numeric() || c == '\n') => {
                Nearness::Near
            }
            _ => Nearness::Far,
        }
    }

    /// What the nearest word says, and where it ends.
    fn said(&self, before: &str) -> (Context, usize) {
        let mut said = (Context::Silent, 0);
        let Some(automaton) = &self.automaton else { return said };
        let text = before.as_bytes();
        // What is said of another field or line does not count against this one.
        let field = field_start(text).max(line_start(text));
        for found in automaton.find_iter(before) {
            let (start, end) = (found.start(), found.end());
            if found.pattern().as_usize() < self.speak_for {
                if is_word_of(text, start, end) {
                    said = (Context::For, end);
                }
            } else if start >= field && begins_word(text, start) && ends_word(text, end) {
                said = (Context::Against, end);
            }
        }
        if said.0 == Context::Against && names(&before[said.1..]) {
            said.0 = Context::Named;
        }
        said
    }
}

/// A text whose letters have no accents and the width of ASCII's: `Tél` and `ＴＥＬ` are the same word.
fn folded(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    // Upper case stays in ASCII: it begins a word of `camelCase`.
    let mut plain = String::with_capacity(text.len());
    for c in text.nfkd().filter(|c| !prints_nothing(*c)) {
        if c.is_ascii() {
            plain.push(c);
        } else {
            plain.extend(c.to_lowercase());
        }
    }
    Cow::Owned(plain)
}

/// Where the last line begins.
fn line_start(text: &[u8]) -> usize {
    memchr::memrchr(b'\n', text).map_or(0, |at| at + 1)
}

/// Whether what stands between a word and a number leaves the number to the word: `order no. `, `_id":"`, `s: `.
fn names(between: &str) -> bool {
    const LABELS: [&str; 26] = [
        "s", "no", "nr", "num", "number", "numbers", "id", "code", "is", "was", "me", "us", "at", "on",
        "ist", "unter", "au", "al", "es", "号", "号码", "番号", "是", "は", "번호", "numero",
    ];
    !between.contains(|c: char| c.is_numeric() || matches!(c, ',' | ';' | '!' | '?' | '\n'))
        && between
            .split(|c: char| !c.is_alphabetic())
            .filter(|part| !part.is_empty())
            .all(|part| LABELS.iter().any(|label| label.eq_ignore_ascii_case(part)))
}

/// Whether a word, or its plural, ends here: `part` is no `party`, but one word of `partNumber`.
fn ends_word(text: &[u8], end: usize) -> bool {
    let goes_on = |at: usize| {
        let last = text[at - 1];
        text.get(at).is_some_and(|after| {
            last.is_ascii_alphabetic()
                && after.is_ascii_alphabetic()
                && (last.is_ascii_uppercase() || after.is_ascii_lowercase())
        })
    };
    !goes_on(end) || text.get(end).is_some_and(|after| after.eq_ignore_ascii_case(&b's')) && !goes_on(end + 1)
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
