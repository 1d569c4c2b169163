//! Finds stand-ins in an answer, wherever it is cut and however the model writes them.

use super::{Entry, StandIns};
use crate::scan::units::prints_nothing;

/// A part of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::scan) enum Part<'a> {
    Plain(&'a str),
    /// A stand-in.
    StandIn {
        /// What it stands for.
        original: &'a str,
        /// As the model wrote it.
        written: &'a str,
    },
}

/// Splits a text that arrives in pieces at the stand-ins of its request.
///
/// Case, the kind of dash, backslashes and what prints nothing make no difference: a model writes markdown, and begins
/// sentences with capitals.
///
/// ```text
///   pending:  [ P H O N E \\ - a b c     as it was written
///   folded:   [ p h o n e    - a b c     lens[5] = 2: the backslash belongs to the `e` before it
/// ```
#[derive(Debug, Default)]
pub(in crate::scan) struct Restorer {
    /// What may be the beginning of a stand-in.
    pending: String,
    folded: String,
    /// Bytes of `pending` behind each character of `folded`.
    lens: Vec<usize>,
    /// What left last was a digit.
    after_digit: bool,
}

/// Most written bytes per folded one: past it what is pending is no stand-in, but something made to be held.
pub(super) const MOST_WRITTEN: usize = 4;

/// What a text begins with.
enum Match<'a> {
    /// So many bytes of the folded text.
    Whole(&'a Entry, usize),
    Beginning,
    None,
}

/// How a stand-in is looked up; `None` for what does not count.
fn fold(c: char) -> Option<char> {
    match c {
        '\\' => None,
        '_' | '\u{2010}'..='\u{2015}' | '\u{2212}' => Some('-'),
        '\u{a0}' | '\u{202f}' => Some(' '),
        _ if prints_nothing(c) => None,
        _ => Some(c.to_ascii_lowercase()),
    }
}

pub(super) fn folded(text: &str) -> String {
    text.chars().filter_map(fold).collect()
}

impl StandIns {
    fn may_begin(&self, c: char) -> bool {
        fold(c).is_some_and(|c| c.is_ascii() && self.first >> (c as u32) & 1 == 1)
    }

    fn begin(&self, folded: &str, after_digit: bool, ended: bool) -> Match<'_> {
        use std::ops::Bound::{Excluded, Unbounded};
        let next = self.written.range::<str, _>((Excluded(folded), Unbounded)).next();
        if !ended && next.is_some_and(|(form, _)| form.starts_with(folded)) {
            return Match::Beginning;
        }
        let longest = folded.len().min(self.longest);
        for len in (1..=longest).rev().filter(|len| folded.is_char_boundary(*len)) {
            let Some(entry) = self.written.get(&folded[..len]) else { continue };
            match folded[len..].chars().next() {
                _ if entry.number && after_digit && folded.starts_with(|c: char| c.is_ascii_digit()) => {}
                Some(c) if entry.number && c.is_ascii_digit() => {}
                None if entry.number && !ended => return Match::Beginning,
                _ => return Match::Whole(entry, len),
            }
        }
        Match::None
    }
}

impl Restorer {
    pub(in crate::scan) fn held(&self) -> usize {
        self.pending.len()
    }

    /// Splits a piece; false from `take` stops.
    pub(in crate::scan) fn feed(
        &mut self,
        text: &str,
        stand_ins: &StandIns,
        mut take: impl FnMut(Part<'_>) -> bool,
    ) {
        let mut plain = 0;
        for (at, c) in text.char_indices() {
            if self.pending.is_empty() && !stand_ins.may_begin(c) {
                continue;
            }
            if plain < at && !self.let_go(&text[plain..at], &mut take) {
                return;
            }
            plain = at + c.len_utf8();
            if !self.add(c, stand_ins, &mut take) {
                return;
            }
        }
        self.let_go(&text[plain..], &mut take);
    }

    /// The text is over: what is pending is a stand-in now, or none.
    pub(in crate::scan) fn finish(&mut self, stand_ins: &StandIns, mut take: impl FnMut(Part<'_>) -> bool) {
        if self.reduce(stand_ins, true, &mut take) {
            *self = Restorer::default();
        }
    }

    fn add(&mut self, c: char, stand_ins: &StandIns, take: &mut impl FnMut(Part<'_>) -> bool) -> bool {
        match (fold(c), self.lens.last_mut()) {
            (Some(folded), _) => {
                self.folded.push(folded);
                self.lens.push(c.len_utf8());
            }
            // Nothing is pending, or it is whole and waits for a border: this is one.
            (None, _) if stand_ins.known(&self.folded).is_some() => {
                let go_on = self.reduce(stand_ins, true, take);
                let mut written = [0; 4];
                return go_on && self.let_go(c.encode_utf8(&mut written), take);
            }
            (None, Some(len)) => *len += c.len_utf8(),
            (None, None) => return self.let_go(c.encode_utf8(&mut [0; 4]), take),
        }
        self.pending.push(c);
        self.reduce(stand_ins, false, take)
    }

    fn let_go(&mut self, plain: &str, take: &mut impl FnMut(Part<'_>) -> bool) -> bool {
        let Some(last) = plain.chars().next_back() else { return true };
        self.after_digit = last.is_ascii_digit();
        take(Part::Plain(plain))
    }

    /// Lets go of what cannot be the beginning of a stand-in any more.
    fn reduce(&mut self, stand_ins: &StandIns, ended: bool, take: &mut impl FnMut(Part<'_>) -> bool) -> bool {
        while !self.folded.is_empty() {
            let stuffed = self.pending.len() > MOST_WRITTEN * stand_ins.longest;
            match stand_ins.begin(&self.folded, self.after_digit, ended || stuffed) {
                Match::Beginning => return true,
                Match::Whole(entry, len) => {
                    let written = self.drop_front(len);
                    self.after_digit = false;
                    if !take(Part::StandIn { original: &entry.original, written: &written }) {
                        return false;
                    }
                }
                Match::None => {
                    let first = self.folded.chars().next().map_or(0, char::len_utf8);
                    let plain = self.drop_front(first);
                    if !self.let_go(&plain, take) {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Takes the first `len` bytes of `folded` away; what had been written for them.
    fn drop_front(&mut self, len: usize) -> String {
        let count = self.folded[..len].chars().count();
        self.folded.drain(..len);
        let written = self.lens.drain(..count).sum();
        let rest = self.pending.split_off(written);
        std::mem::replace(&mut self.pending, rest)
    }
}
