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
        let last =
            automaton.find_iter(before).filter(|found| begins_word(before.as_bytes(), found.start())).last();
        match last {
            None => Context::Silent,
            Some(found) if found.pattern().as_usize() < self.speak_for => Context::For,
            Some(_) => Context::Against,
        }
    }
}

/// After no letter, or at the next word of `camelCase`.
fn begins_word(text: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|before| text[before]) else { return true };
    !before.is_ascii_alphabetic()
        || !text[at].is_ascii_alphabetic()
        || before.is_ascii_lowercase() && text[at].is_ascii_uppercase()
}
