//! Finds stand-ins in an answer, wherever it is cut and however the model writes them.

use super::{Entry, StandIns};
use crate::scan::escape::{Escape, Escapes, Read};
use crate::scan::units::{Fold, NOTHING};

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
        /// An escape that it was written with: what is put in its place is written so too.
        escape: Option<Escape>,
    },
}

/// How a text is read: as the rules do.
#[derive(Debug, Clone, Copy)]
pub(in crate::scan) struct Reading<'a> {
    pub(in crate::scan) fold: &'a Fold,
    pub(in crate::scan) escapes: Escapes,
}

/// Splits a text that arrives in pieces at the stand-ins of its request.
///
/// Case, the kind of dash, backslashes and whatever the rules fold make no difference: a model writes markdown, begins sentences
/// with capitals, and widens what stands among ideographs. Escapes are looked through where the rules do it.
///
/// ```text
///   pending:  % 5 B P h o n e \\ - a b c    as it was written
///   folded:   [     p h o n e    - a b c    written[0]: 3 bytes, percent codes; written[5]: the backslash belongs to the `e`
/// ```
#[derive(Debug, Default)]
pub(in crate::scan) struct Restorer {
    /// What may be the beginning of a stand-in.
    pending: String,
    folded: String,
    /// What of `pending` is behind each character of `folded`.
    written: Vec<Written>,
    /// What may become an escape, behind that.
    undecided: String,
    /// What left last was a digit.
    after_digit: bool,
}

#[derive(Debug, Clone, Copy)]
struct Written {
    bytes: usize,
    escape: Option<Escape>,
}

/// What a text begins with.
enum Match<'a> {
    /// So many bytes of the folded text.
    Whole(&'a Entry, usize),
    Beginning,
    None,
}

/// Most written bytes per folded one: past it what is pending is no stand-in, but something made to be held. A percent code has
/// three, a character with a backslash two; of entities those with names have up to eight.
pub(super) fn most_written(escapes: Escapes) -> usize {
    if escapes.looks_through(Escape::Html) { 8 } else { 4 }
}

/// How a character of ASCII is looked up; `None` for what does not count.
fn looked_up(c: char) -> Option<char> {
    match c {
        '\\' => None,
        '_' => Some('-'),
        _ => Some(c.to_ascii_lowercase()),
    }
}

pub(super) fn folded(text: &str) -> String {
    text.chars().filter_map(looked_up).collect()
}

impl Reading<'_> {
    /// The first character of a text, or that of the escape which it begins with, and its bytes; none at the end, and of what
    /// may become an escape if the text goes on.
    fn first(&self, text: &str, ended: bool) -> Option<(char, usize)> {
        let c = text.chars().next()?;
        if c.is_ascii() && self.escapes.may_begin_with(c as u8) {
            match self.escapes.read(text.as_bytes(), ended) {
                Read::Char(c, len) => return Some((c, len)),
                Read::More => return None,
                Read::Plain => {}
            }
        }
        Some((c, c.len_utf8()))
    }

    /// How a character is looked up; `None` for what does not count.
    fn folded(&self, c: char) -> Option<char> {
        match (self.fold.unit(c), c) {
            (NOTHING, _) => None,
            (unit, _) if unit.is_ascii() => looked_up(char::from(unit)),
            (_, '\u{2014}' | '\u{2015}') => Some('-'),
            _ => Some(c),
        }
    }
}

impl StandIns {
    fn may_begin(&self, folded: Option<char>) -> bool {
        folded.is_some_and(|c| c.is_ascii() && self.first >> (c as u32) & 1 == 1)
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
        self.pending.len() + self.undecided.len()
    }

    /// Splits a piece; false from `take` stops.
    pub(in crate::scan) fn feed(
        &mut self,
        text: &str,
        stand_ins: &StandIns,
        reading: &Reading<'_>,
        mut take: impl FnMut(Part<'_>) -> bool,
    ) {
        if self.undecided.is_empty() {
            self.read(text, stand_ins, reading, false, &mut take);
        } else {
            let text = std::mem::take(&mut self.undecided) + text;
            self.read(&text, stand_ins, reading, false, &mut take);
        }
    }

    /// The text is over: what is pending is a stand-in now, or none.
    pub(in crate::scan) fn finish(
        &mut self,
        stand_ins: &StandIns,
        reading: &Reading<'_>,
        mut take: impl FnMut(Part<'_>) -> bool,
    ) {
        let rest = std::mem::take(&mut self.undecided);
        if self.read(&rest, stand_ins, reading, true, &mut take)
            && self.reduce(stand_ins, reading, true, &mut take)
        {
            *self = Restorer::default();
        }
    }

    fn read(
        &mut self,
        text: &str,
        stand_ins: &StandIns,
        reading: &Reading<'_>,
        ended: bool,
        take: &mut impl FnMut(Part<'_>) -> bool,
    ) -> bool {
        let (mut plain, mut at, mut digit) = (0, 0, self.after_digit);
        while let Some((c, len)) = reading.first(&text[at..], ended) {
            let (folded, end) = (reading.folded(c), at + len);
            if self.pending.is_empty() && !stand_ins.may_begin(folded) {
                digit = folded.map_or(digit, |c| c.is_ascii_digit());
            } else {
                let go_on = self.let_go(&text[plain..at], digit, take)
                    && self.add(folded, &text[at..end], stand_ins, reading, take);
                if !go_on {
                    return false;
                }
                (plain, digit) = (end, self.after_digit);
            }
            at = end;
        }
        self.undecided.push_str(&text[at..]);
        self.let_go(&text[plain..at], digit, take)
    }

    fn add(
        &mut self,
        folded: Option<char>,
        written: &str,
        stand_ins: &StandIns,
        reading: &Reading<'_>,
        take: &mut impl FnMut(Part<'_>) -> bool,
    ) -> bool {
        let escape = Escape::of(written);
        match (folded, self.written.last_mut()) {
            (Some(folded), _) => {
                self.folded.push(folded);
                self.written.push(Written { bytes: written.len(), escape });
            }
            // It is whole and waits for a border: this is one.
            (None, _) if stand_ins.known(&self.folded).is_some() => {
                return self.reduce(stand_ins, reading, true, take) && self.let_go(written, false, take);
            }
            (None, Some(last)) => {
                last.bytes += written.len();
                last.escape = last.escape.or(escape);
            }
            (None, None) => return self.let_go(written, self.after_digit, take),
        }
        self.pending.push_str(written);
        self.reduce(stand_ins, reading, false, take)
    }

    /// Lets text go that is no part of a stand-in, and whether its last character is a digit.
    fn let_go(&mut self, plain: &str, digit: bool, take: &mut impl FnMut(Part<'_>) -> bool) -> bool {
        self.after_digit = digit;
        plain.is_empty() || take(Part::Plain(plain))
    }

    /// Lets go of what cannot be the beginning of a stand-in any more.
    fn reduce(
        &mut self,
        stand_ins: &StandIns,
        reading: &Reading<'_>,
        ended: bool,
        take: &mut impl FnMut(Part<'_>) -> bool,
    ) -> bool {
        let most = most_written(reading.escapes) * stand_ins.longest;
        while let Some(first) = self.folded.chars().next() {
            let stuffed = self.pending.len() > most;
            match stand_ins.begin(&self.folded, self.after_digit, ended || stuffed) {
                Match::Beginning => return true,
                Match::Whole(entry, len) => {
                    let (written, escape) = self.drop_front(len);
                    self.after_digit = false;
                    if !take(Part::StandIn { original: &entry.original, written: &written, escape }) {
                        return false;
                    }
                }
                Match::None => {
                    let (plain, _) = self.drop_front(first.len_utf8());
                    if !self.let_go(&plain, first.is_ascii_digit(), take) {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Takes the first `len` bytes of `folded` away; what had been written for them, and with which escape. One of a URL goes
    /// before one of HTML: what is written with it is right in both.
    fn drop_front(&mut self, len: usize) -> (String, Option<Escape>) {
        let count = self.folded[..len].chars().count();
        self.folded.drain(..len);
        let (mut bytes, mut escape) = (0, None);
        for written in self.written.drain(..count) {
            bytes += written.bytes;
            escape = written.escape.filter(|own| *own == Escape::Percent).or(escape).or(written.escape);
        }
        let rest = self.pending.split_off(bytes);
        (std::mem::replace(&mut self.pending, rest), escape)
    }
}
