//! A text cut into tokens as it arrives, and the terms that its tokens may become.

use std::sync::Arc;

use super::fold::{Class, TermFold};
use super::{Dictionary, ROOT, link};
use crate::scan::rules::{RuleId, Rules};
use crate::scan::sweep::{Decided, MAX_RAW_PER_UNIT};
use crate::scan::units::{Most, View};

/// A token so far: eight bytes at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Token {
    hash: u64,
    bytes: u64,
    /// The first four bytes.
    head: u32,
    pub(super) len: usize,
}

/// Multiplies to 128 bits and folds them.
#[inline]
pub(super) fn mix(x: u64) -> u64 {
    let wide = u128::from(x ^ 0xa076_1d64_78bd_642f) * u128::from(0xe703_7ed1_a0b4_28db_u64);
    (wide >> 64) as u64 ^ wide as u64
}

impl Token {
    pub(super) fn of(bytes: &[u8]) -> Token {
        let mut token = Token::default();
        token.push_all(bytes);
        token
    }

    /// An ASCII word at once, in any case. `text` goes on behind it.
    #[inline]
    fn of_word(text: &[u8], len: usize) -> Token {
        const LOWER: u64 = 0x2020_2020_2020_2020;
        let mut token = Token { len, ..Token::default() };
        let mut rest = text;
        let mut left = len;
        while left >= 8 {
            let Some((chunk, after)) = rest.split_first_chunk::<8>() else { break };
            let bytes = u64::from_le_bytes(*chunk) | LOWER;
            token.head = if left == len { bytes as u32 } else { token.head };
            token.hash = mix(token.hash ^ bytes);
            (rest, left) = (after, left - 8);
        }
        if left > 0 {
            let bytes = match rest.first_chunk::<8>() {
                Some(chunk) => u64::from_le_bytes(*chunk) | LOWER,
                None => rest[..left].iter().rev().fold(0, |bytes, byte| bytes << 8 | u64::from(*byte | 0x20)),
            };
            token.bytes = bytes & (u64::MAX >> (64 - 8 * left));
            token.head = if left == len { token.bytes as u32 } else { token.head };
        }
        token
    }

    /// One byte, in lower case; the underscore as [`Token::of_word`] makes it.
    #[inline]
    fn push(&mut self, byte: u8) {
        let byte = if byte == b'_' { b'_' | 0x20 } else { byte };
        if self.len < 4 {
            self.head |= u32::from(byte) << (8 * self.len);
        }
        self.bytes |= u64::from(byte) << (8 * (self.len % 8));
        self.len += 1;
        if self.len.is_multiple_of(8) {
            self.hash = mix(self.hash ^ self.bytes);
            self.bytes = 0;
        }
    }

    /// The number of the token that is one character of three bytes.
    fn of_char(c: char) -> u64 {
        let mut bytes = [0; 8];
        let len = c.encode_utf8(&mut bytes).len();
        mix(mix(u64::from_le_bytes(bytes)) ^ len as u64)
    }

    pub(super) fn push_all(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.push(*byte));
    }

    #[inline]
    pub(super) fn number(&self) -> u64 {
        mix(mix(self.hash ^ self.bytes) ^ self.len as u64)
    }

    /// A number for its first `len` bytes, at most four.
    pub(super) fn head(&self, len: usize) -> u64 {
        mix(u64::from(self.head) & ((1 << (8 * len)) - 1) | (len as u64) << 32)
    }
}

/// The beginning of a term.
#[derive(Debug, Clone)]
struct Open {
    chain: u64,
    /// Raw offset.
    start: usize,
    /// Characters that the text had before it, as folded.
    chars: usize,
    /// The longest term so far, and its raw end.
    mark: Option<(u32, usize)>,
}

/// Letters and digits of ASCII.
const WORD: [bool; 256] = {
    let mut word = [false; 256];
    let mut byte = 0;
    while byte < 0x80 {
        word[byte] = (byte as u8).is_ascii_alphanumeric() || byte as u8 == b'_';
        byte += 1;
    }
    word
};

/// What one dictionary makes of the text.
#[derive(Debug, Clone)]
struct Reader {
    rule: RuleId,
    acts: bool,
    dictionary: Arc<Dictionary>,
    /// Raw bytes that a term may have.
    limit: usize,
    open: Vec<Open>,
}

/// State of the pass over a text.
#[derive(Debug, Clone)]
pub(in crate::scan) struct Lexer {
    readers: Vec<Reader>,
    /// Raw offset up to which it has read.
    at: usize,
    /// Characters so far, as folded.
    chars: usize,
    /// The word that the text ends with: its bytes, where it begins and ends, and `chars` before it.
    word: Token,
    start: usize,
    end: usize,
    before: usize,
    decided: Vec<Decided>,
    overran: bool,
    /// Raw bytes that any term may have.
    most_raw: usize,
}

/// A complete token.
struct Done {
    number: u64,
    class: Class,
    start: usize,
    end: usize,
    before: usize,
    /// Raw offset at which it was known to be complete.
    known: usize,
}

impl Lexer {
    /// None if there is nothing to look for.
    pub(in crate::scan) fn new(
        dictionaries: impl Iterator<Item = (RuleId, bool, Arc<Dictionary>)>,
        most_raw: usize,
    ) -> Option<Lexer> {
        let readers: Vec<Reader> = dictionaries
            .map(|(rule, acts, dictionary)| {
                let limit = MAX_RAW_PER_UNIT * (dictionary.longest + 1);
                Reader { rule, acts, dictionary, limit, open: Vec::new() }
            })
            .collect();
        (!readers.is_empty()).then(|| Lexer {
            readers,
            at: 0,
            chars: 0,
            word: Token::default(),
            start: 0,
            end: 0,
            before: 0,
            decided: Vec::new(),
            overran: false,
            most_raw,
        })
    }

    /// Reads what the view has gained; appends to `decided`.
    pub(in crate::scan) fn read(&mut self, rules: &Rules, view: &View<'_>, decided: &mut Vec<Decided>) {
        let Some(table) = &rules.term_fold else { return };
        let bytes = &view.text.as_bytes()[..view.end - view.base];
        let mut at = self.at - view.base;
        while at < bytes.len() {
            let byte = bytes[at];
            if WORD[usize::from(byte)] {
                at = self.read_word(bytes, at, view.base);
            } else if byte < 0x80 {
                self.end_word(rules, view, view.base + at);
                let folded = if byte.is_ascii_whitespace() { b' ' } else { byte };
                if self.wants_mark() {
                    self.single(Token::of(&[folded]).number(), Class::Mark, (at, at + 1), rules, view);
                }
                self.chars += 1;
                at += 1;
            } else {
                at = self.read_wide(table, at, rules, view);
            }
        }
        self.at = view.end;
        self.drop_long(rules, view);
        decided.append(&mut self.decided);
    }

    /// Reads ASCII letters and digits.
    #[inline]
    fn read_word(&mut self, bytes: &[u8], mut at: usize, base: usize) -> usize {
        if self.word.len == 0 {
            (self.start, self.before) = (base + at, self.chars);
        }
        let rest = &bytes[at..];
        let len = rest.iter().position(|byte| !WORD[usize::from(*byte)]).unwrap_or(rest.len());
        if self.word.len == 0 {
            self.word = Token::of_word(rest, len);
        } else {
            rest[..len].iter().for_each(|byte| self.word.push(byte.to_ascii_lowercase()));
        }
        at += len;
        self.chars += len;
        self.end = base + at;
        at
    }

    #[inline(never)]
    fn read_wide(&mut self, table: &TermFold, at: usize, rules: &Rules, view: &View<'_>) -> usize {
        let Some(c) = view.text[at..].chars().next() else { return at + 1 };
        let end = at + c.len_utf8();
        if TermFold::is_plain(c) {
            self.end_word(rules, view, view.base + at);
            self.single(Token::of_char(c), Class::Ideograph, (at, end), rules, view);
            self.chars += 1;
            return end;
        }
        let Some((folded, class)) = table.fold(c, view.fold) else {
            self.stretch(view, view.base + at, view.base + end);
            return end;
        };
        if class == Class::Word {
            if self.word.len == 0 {
                (self.start, self.before) = (view.base + at, self.chars);
            }
            self.word.push_all(folded.as_bytes());
            self.end = view.base + end;
        } else {
            self.end_word(rules, view, view.base + at);
            self.single(Token::of(folded.as_bytes()).number(), class, (at, end), rules, view);
        }
        self.chars += folded.chars;
        end
    }

    /// A character that prints nothing, from one raw offset to another. Where it makes what may be the beginning of a term longer
    /// than may be held, as much as may be is taken for a finding.
    fn stretch(&mut self, view: &View<'_>, from: usize, to: usize) {
        for reader in self.readers.iter().filter(|reader| reader.acts) {
            let most = Most { bytes: reader.limit, raw: self.most_raw };
            let fits = |start: usize, chars: usize| {
                let crosses = !view.is_longer(start, from, most) && view.is_longer(start, to, most);
                crosses && self.chars - chars <= reader.dictionary.longest
            };
            let mut starts =
                reader.open.iter().filter(|open| fits(open.start, open.chars)).map(|open| open.start);
            let word =
                self.word.len > 0 && fits(self.start, self.before) && reader.dictionary.may_begin(&self.word);
            if let Some(start) = starts.next().or_else(|| word.then_some(self.start)) {
                self.overran = true;
                self.decided.push(Decided::whole(reader.rule, start, from));
            }
        }
    }

    /// Whether something that may have been a term of a rule that acts had more raw bytes than may be held.
    pub(in crate::scan) fn overran(&self) -> bool {
        self.overran
    }

    /// Whether a mark can matter: it begins or goes on with a term.
    fn wants_mark(&self) -> bool {
        self.readers.iter().any(|reader| !reader.open.is_empty() || reader.dictionary.begins_with_mark)
    }

    fn end_word(&mut self, rules: &Rules, view: &View<'_>, known: usize) {
        if self.word.len == 0 {
            return;
        }
        let number = self.word.number();
        self.word = Token::default();
        let (start, end, before) = (self.start, self.end, self.before);
        self.complete(&Done { number, class: Class::Word, start, end, before, known }, rules, view);
    }

    fn single(
        &mut self,
        number: u64,
        class: Class,
        (at, end): (usize, usize),
        rules: &Rules,
        view: &View<'_>,
    ) {
        let (start, end) = (view.base + at, view.base + end);
        self.complete(&Done { number, class, start, end, before: self.chars, known: end }, rules, view);
    }

    /// Goes on with every beginning, and begins anew.
    fn complete(&mut self, done: &Done, rules: &Rules, view: &View<'_>) {
        for reader in &mut self.readers {
            let (limit, acts, overran) = (reader.limit, reader.acts, &mut self.overran);
            let most = Most { bytes: limit, raw: self.most_raw };
            let mut fits = |start: usize| {
                let fits = !view.is_longer(start, done.known, most);
                // What prints nothing is looked at where it stands.
                *overran |= acts && !fits && done.known - start <= limit;
                fits
            };
            if !reader.open.is_empty() {
                let dictionary = reader.dictionary.clone();
                let mut open = std::mem::take(&mut reader.open);
                open.retain_mut(|open| {
                    open.chain = link(open.chain, done.number);
                    let chain = dictionary.chain(open.chain).filter(|_| fits(open.start));
                    if let Some(chain) = chain {
                        if chain.term > 0 {
                            open.mark = Some((chain.term, done.end));
                        }
                        if chain.goes_on {
                            return true;
                        }
                    }
                    reader.close(open, rules, view, &mut self.decided);
                    false
                });
                reader.open = open;
            }
            if done.class == Class::Mark && !reader.dictionary.begins_with_mark {
                continue;
            }
            let chain = link(ROOT, done.number);
            let Some(entry) = reader.dictionary.chain(chain).filter(|_| fits(done.start)) else { continue };
            let mark = (entry.term > 0).then_some((entry.term, done.end));
            let open = Open { chain, start: done.start, chars: done.before, mark };
            if entry.goes_on {
                reader.open.push(open);
            } else {
                reader.close(&open, rules, view, &mut self.decided);
            }
        }
    }

    /// Lets go of what is longer than any term.
    fn drop_long(&mut self, rules: &Rules, view: &View<'_>) {
        for reader in &mut self.readers {
            if reader.open.is_empty() {
                continue;
            }
            let limit = reader.limit;
            let longest = reader.dictionary.longest;
            let (chars, at) = (self.chars, self.at);
            let mut open = std::mem::take(&mut reader.open);
            open.retain(|open| {
                let alive = chars - open.chars <= longest && at - open.start <= limit;
                if !alive {
                    reader.close(open, rules, view, &mut self.decided);
                }
                alive
            });
            reader.open = open;
        }
    }

    /// The text is over.
    pub(in crate::scan) fn finish(&mut self, rules: &Rules, view: &View<'_>, decided: &mut Vec<Decided>) {
        self.end_word(rules, view, view.end);
        for reader in &mut self.readers {
            for open in std::mem::take(&mut reader.open) {
                reader.close(&open, rules, view, &mut self.decided);
            }
        }
        decided.append(&mut self.decided);
    }

    /// The first raw offset that a term may reach back to, if this and another lexer, whose offsets are so far behind, go on in
    /// the same way.
    pub(in crate::scan) fn reach(&self, other: &Lexer, behind: usize) -> Option<usize> {
        let is_idle = |lexer: &Lexer| lexer.readers.iter().all(|reader| reader.open.is_empty());
        if !is_idle(self) || !is_idle(other) || self.word != other.word {
            return None;
        }
        if self.word.len == 0 {
            return Some(self.at);
        }
        let same = self.start == other.start + behind
            && self.end == other.end + behind
            && self.chars - self.before == other.chars - other.before;
        same.then_some(self.start)
    }

    /// Says where each beginning of a term stands, and whether its rule acts.
    pub(in crate::scan) fn hold(&self, mut hold: impl FnMut(usize, bool)) {
        for reader in &self.readers {
            if let Some(first) = reader.open.first() {
                hold(first.start, reader.acts);
            }
            let fits =
                self.chars - self.before <= reader.dictionary.longest && self.at - self.start <= reader.limit;
            if self.word.len > 0 && fits && reader.dictionary.may_begin(&self.word) {
                hold(self.start, reader.acts);
            }
        }
    }
}

impl Reader {
    /// A beginning goes on no further: what it has marked is found, if it is what its hash says.
    fn close(&self, open: &Open, rules: &Rules, view: &View<'_>, decided: &mut Vec<Decided>) {
        let (Some((term, end)), Some(table)) = (open.mark, &rules.term_fold) else { return };
        // Only what was never held, and so is none, can begin before the view.
        if open.start < view.base {
            return;
        }
        let term = self.dictionary.text(term).as_bytes();
        let mut rest = term;
        for c in view.raw(open.start, end).chars() {
            let Some((folded, _)) = table.fold(c, view.fold) else { continue };
            let Some(after) = rest.strip_prefix(folded.as_bytes()) else { return };
            rest = after;
        }
        if rest.is_empty() && rules.is_in_context(self.rule, view, open.start) {
            decided.push(Decided::whole(self.rule, open.start, end));
        }
    }
}
