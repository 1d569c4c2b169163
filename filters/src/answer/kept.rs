//! The masked texts of an answer that are kept for the audit trail, and how what the client got to see is taken out of them.

use std::borrow::Cow;
use std::ops::Range;

use super::arguments::Escape;
use super::lanes::Key;
use crate::json::Edits;
use crate::scan::{Masker, Policy, Rules};

/// How a text spells what it says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Spelling {
    #[default]
    Plain,
    /// With JSON's escapes: the arguments of a tool, or an answer that is to be JSON.
    Json,
}

/// A text of an answer, which may end anywhere, inside an escape too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptText<'a> {
    pub text: &'a str,
    pub spelling: Spelling,
}

/// The masked texts of the first choice, as far as the audit trail wants them: each lane's apart, since lanes come by turns and a
/// value in one of them must still be seen as one.
pub(super) struct Kept {
    texts: Vec<Lane>,
    room: usize,
}

struct Lane {
    key: Option<Key>,
    spelling: Spelling,
    text: String,
}

/// A text as it reads, and where it is spelled.
struct Reading<'a> {
    text: Cow<'a, str>,
    /// Of each escape where it ends, in `text` and in `spelled`: from there to the next one both run alike.
    escapes: Vec<(usize, usize)>,
    /// Without the beginning of an escape that was cut.
    spelled: &'a str,
}

impl KeptText<'_> {
    /// The text as the audit trail may hold it: a stand-in where `masker` put a value back, a kind where `policy` finds one, and
    /// nothing of either that was cut at the end.
    pub fn redacted(self, masker: &Masker, rules: &Rules, policy: Option<&Policy>) -> String {
        // What turns out to be no JSON gets its values back as they are, whatever their backslashes would say in JSON.
        let hidden = Spelling::Plain.replace(self.text, |text| masker.restored_in(text));
        let hidden = match self.spelling {
            Spelling::Plain => hidden,
            Spelling::Json => Spelling::Json.replace(&hidden, |text| masker.restored_in(text)),
        };
        let Some(policy) = policy else { return hidden };
        self.spelling.replace(&hidden, |text| {
            let mut found = Vec::new();
            rules.scan_cut(policy, text, &mut found);
            found.into_iter().map(|found| (found.span, format!("[{}]", found.kind.to_uppercase()))).collect()
        })
    }
}

impl Spelling {
    /// Replaces what `find` finds in what `text` says. The rest stays as it is spelled; stand-ins and kinds are spelled alike
    /// everywhere.
    fn replace(self, text: &str, find: impl FnOnce(&str) -> Vec<(Range<usize>, String)>) -> String {
        let reading = Reading::of(text, self);
        let mut edits = Edits::new();
        for (span, with) in find(&reading.text) {
            if !span.is_empty() {
                edits
                    .replace(reading.spelled_at(span.start)..reading.spelled_at(span.end), with.into_bytes());
            }
        }
        // Spans end where characters do; the lossy way is the total one.
        String::from_utf8_lossy(&edits.apply_to(reading.spelled.as_bytes())).into_owned()
    }
}

impl<'a> Reading<'a> {
    fn of(spelled: &'a str, spelling: Spelling) -> Reading<'a> {
        if spelling == Spelling::Plain || !spelled.contains('\\') {
            return Reading { text: Cow::Borrowed(spelled), escapes: Vec::new(), spelled };
        }
        let mut text = String::with_capacity(spelled.len());
        let mut escapes = Vec::new();
        let mut at = 0;
        while let Some(plain) = memchr::memchr(b'\\', &spelled.as_bytes()[at..]) {
            text.push_str(&spelled[at..at + plain]);
            at += plain;
            match Escape::read(&spelled[at..]) {
                Escape::Char(character, len) => {
                    text.push(character);
                    at += len;
                    escapes.push((text.len(), at));
                }
                Escape::Bad => {
                    text.push('\\');
                    at += 1;
                }
                Escape::Cut => {
                    return Reading { text: Cow::Owned(text), escapes, spelled: &spelled[..at] };
                }
            }
        }
        text.push_str(&spelled[at..]);
        Reading { text: Cow::Owned(text), escapes, spelled }
    }

    /// Where the character at `offset` of the text is spelled.
    fn spelled_at(&self, offset: usize) -> usize {
        let before = self.escapes.partition_point(|(end, _)| *end <= offset);
        let (text, spelled) = before.checked_sub(1).map_or((0, 0), |last| self.escapes[last]);
        spelled + (offset - text)
    }
}

impl Kept {
    pub(super) fn new(room: usize) -> Kept {
        Kept { texts: Vec::new(), room }
    }

    /// Adds to the text of a lane; without one, a text of its own.
    pub(super) fn add(&mut self, key: Option<Key>, spelling: Spelling, text: &str) {
        let mut end = self.room.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        if end == 0 {
            return;
        }
        // What follows a cut would read as if it belonged there.
        self.room = if end < text.len() { 0 } else { self.room - end };
        match self.texts.iter_mut().rev().find(|lane| lane.key.is_some() && lane.key == key) {
            Some(lane) => lane.text.push_str(&text[..end]),
            None => self.texts.push(Lane { key, spelling, text: text[..end].to_owned() }),
        }
    }

    pub(super) fn texts(&self) -> impl Iterator<Item = KeptText<'_>> {
        self.texts.iter().map(|lane| KeptText { text: &lane.text, spelling: lane.spelling })
    }
}
