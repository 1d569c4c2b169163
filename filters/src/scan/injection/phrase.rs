//! Phrases: words in order, with room between them.

use std::collections::BTreeMap;
use std::ops::Range;

use super::anchors;
use super::folded::Folded;
use super::group::Place;
use crate::scan::units::Fold;

/// Bytes of spaces and punctuation between two words, at most.
const MAX_BETWEEN: usize = 24;
/// Bytes of a word that is skipped, at most.
const MAX_WORD: usize = 48;
/// Words that a gap may skip.
const MAX_GAP: usize = 8;

/// A compiled phrase.
#[derive(Debug, Clone)]
pub(super) struct Phrase {
    tokens: Vec<Token>,
    /// The token that is searched for.
    anchor: usize,
    /// Words that may stand before the anchor.
    back: usize,
    pub(super) signal: u8,
}

/// The first two bytes of a text; the second is none where anything may follow.
pub(super) type Start = (u8, Option<u8>);

/// A set of bytes, as bits.
#[derive(Debug, Clone, Copy, Default)]
struct Bytes([u64; 4]);

#[derive(Debug, Clone)]
enum Token {
    /// One of these.
    Any(Words),
    /// Up to so many other words.
    Gap(usize),
    /// Bytes as they stand.
    Mark(Vec<u8>),
}

#[derive(Debug, Clone)]
struct Words {
    /// By their first bytes; of those with the same, longer ones first.
    words: Vec<Word>,
    /// The bytes that they begin with: most texts are none of them by their first byte.
    firsts: Bytes,
    /// The first two bytes of each.
    starts: Vec<Start>,
}

#[derive(Debug, Clone)]
struct Word {
    /// An underscore stands for what is between two words.
    text: Vec<u8>,
    /// Whatever begins so.
    prefix: bool,
}

impl Phrase {
    pub(super) fn parse(
        text: &str,
        lists: &BTreeMap<String, Vec<String>>,
        fold: &Fold,
    ) -> Result<Phrase, String> {
        let mut phrase = Phrase { tokens: Vec::new(), anchor: 0, back: 0, signal: 0 };
        for token in text.split_whitespace() {
            let (token, anchor) = token.strip_prefix('!').map_or((token, false), |token| (token, true));
            if anchor {
                phrase.anchor = phrase.tokens.len();
            }
            if let Some(gap) = token.strip_prefix('~') {
                let gap = gap.parse().ok().filter(|gap| (1..=MAX_GAP).contains(gap));
                phrase
                    .tokens
                    .push(Token::Gap(gap.ok_or_else(|| format!("`~{token}`: write ~1 to ~{MAX_GAP}"))?));
                continue;
            }
            let mut words = Vec::new();
            for word in token.split('|') {
                if let Some(list) = word.strip_prefix('<').and_then(|word| word.strip_suffix('>')) {
                    let list = lists.get(list).ok_or_else(|| format!("`{word}` names no list of `words`"))?;
                    words.extend(list.iter().map(|word| Word::new(word, fold)));
                } else {
                    words.push(Word::new(word, fold));
                }
            }
            if words.iter().any(|word| word.text.is_empty()) {
                return Err(format!("`{token}` has an empty word in it; remove a `|` or `*`"));
            }
            phrase.tokens.push(Token::Any(Words::new(words)));
        }
        let before: usize = phrase.tokens[..phrase.anchor].iter().map(Token::most_words).sum();
        phrase.back = before + phrase.tokens.get(phrase.anchor).map_or(0, |anchor| anchor.most_words() - 1);
        if !matches!(
            (phrase.tokens.first(), phrase.tokens.last()),
            (Some(Token::Any(_)), Some(Token::Any(_)))
        ) {
            return Err(format!("`{text}` begins or ends with a gap; remove it"));
        }
        if phrase.anchors().any(|(_, anchor)| anchor.len() < anchors::SHORTEST) {
            return Err(format!(
                "`{text}`: the words that are searched for need six letters; put `!` before others"
            ));
        }
        Ok(phrase)
    }

    /// Characters as they stand.
    pub(super) fn mark(text: &str, fold: &Fold) -> Result<Phrase, String> {
        let mark = folded(text, fold);
        if mark.len() < anchors::SHORTEST {
            return Err(format!("`{text}`: a mark needs six characters"));
        }
        Ok(Phrase { tokens: vec![Token::Mark(mark)], anchor: 0, back: 0, signal: 0 })
    }

    pub(super) fn of(self, signal: u8) -> Phrase {
        Phrase { signal, ..self }
    }

    /// What is searched for: the longest part of each of the anchor's words, with the part before it.
    pub(super) fn anchors(&self) -> impl Iterator<Item = (Option<&[u8]>, &[u8])> {
        let (words, mark): (&[Word], Option<&[u8]>) = match &self.tokens[self.anchor] {
            Token::Any(words) => (&words.words, None),
            Token::Mark(mark) => (&[], Some(mark)),
            Token::Gap(_) => (&[], None),
        };
        words.iter().map(Word::anchor).chain(mark.map(|mark| (None, mark)))
    }

    /// The first two bytes of each of the texts that it may begin with; the second is none where anything may follow.
    pub(super) fn firsts(&self) -> impl Iterator<Item = Start> {
        self.tokens.first().into_iter().flat_map(Token::starts)
    }

    /// Words that may stand before the anchor, at most.
    pub(super) fn back(&self) -> usize {
        self.back
    }

    /// Words before the anchor among which the token before it begins, and how; none where the anchor is the first.
    pub(super) fn near(&self) -> Option<(usize, impl Iterator<Item = Start>)> {
        let (mut back, mut tokens) =
            (self.tokens[self.anchor].most_words() - 1, self.tokens[..self.anchor].iter());
        while let Some(token) = tokens.next_back() {
            back += token.most_words();
            if !matches!(token, Token::Gap(_)) {
                return Some((back, token.starts()));
            }
        }
        None
    }

    /// Where the phrase stands, if it begins at a place and reaches beyond its anchor at `at`.
    pub(super) fn find(&self, text: &[u8], place: Place, at: usize) -> Option<Range<usize>> {
        if place.back > self.back {
            return None;
        }
        matches(&self.tokens, text, place.start).filter(|end| *end > at).map(|end| place.start..end)
    }
}

impl Token {
    /// The first two bytes of each of its texts; the second is none where an underscore or nothing follows.
    fn starts(&self) -> impl Iterator<Item = Start> {
        let (words, mark): (&[_], _) = match self {
            Token::Any(words) => (&words.starts, None),
            Token::Mark(mark) => (&[], mark.first().map(|first| (*first, mark.get(1).copied()))),
            Token::Gap(_) => (&[], None),
        };
        words.iter().copied().chain(mark)
    }

    fn most_words(&self) -> usize {
        match self {
            Token::Gap(most) => *most,
            Token::Any(words) => words.words.iter().map(Word::parts).max().unwrap_or(1),
            Token::Mark(_) => 1,
        }
    }
}

impl Words {
    fn new(mut words: Vec<Word>) -> Words {
        words.sort_by_key(|word| (word.text[0], std::cmp::Reverse(word.text.len())));
        let firsts = words.iter().map(|word| word.text[0]).collect();
        let starts = words
            .iter()
            .map(|word| (word.text[0], word.text.get(1).copied().filter(|second| *second != b'_')));
        Words { starts: starts.collect(), words, firsts }
    }

    /// Those that begin as `text` does.
    fn like<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = &'a Word> {
        let (first, second) = (text.first().copied(), text.get(1).copied());
        let from =
            first.map_or(self.words.len(), |first| self.starts.partition_point(|start| start.0 < first));
        let starts = self.starts[from..].iter().take_while(move |start| Some(start.0) == first);
        starts
            .zip(&self.words[from..])
            .filter(move |(start, _)| start.1.is_none() || start.1 == second)
            .map(|(_, word)| word)
    }
}

impl Bytes {
    #[inline]
    fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
    }
}

impl FromIterator<u8> for Bytes {
    fn from_iter<I: IntoIterator<Item = u8>>(bytes: I) -> Bytes {
        let mut all = Bytes::default();
        bytes.into_iter().for_each(|byte| all.0[usize::from(byte >> 6)] |= 1 << (byte & 63));
        all
    }
}

impl Word {
    fn new(text: &str, fold: &Fold) -> Word {
        let (text, prefix) = text.strip_suffix('*').map_or((text, false), |text| (text, true));
        Word { text: folded(text, fold), prefix }
    }

    /// Words that it is; an ideograph is one by itself.
    fn parts(&self) -> usize {
        let words = |part: &[u8]| match part.first() {
            Some(lead) if is_ideograph(*lead) => part.iter().filter(|byte| **byte >= 0xc0).count(),
            _ => 1,
        };
        self.text.split(|byte| *byte == b'_').map(words).sum()
    }

    /// Its longest part, and the part before that.
    fn anchor(&self) -> (Option<&[u8]>, &[u8]) {
        let parts = || self.text.split(|byte| *byte == b'_');
        let pairs = std::iter::once(None).chain(parts().map(Some)).zip(parts());
        pairs.max_by_key(|(_, part)| part.len()).unwrap_or_default()
    }

    /// End of this word, if it stands at `at`.
    fn at(&self, text: &[u8], at: usize) -> Option<usize> {
        let mut at = at;
        for (nth, part) in self.text.split(|byte| *byte == b'_').enumerate() {
            if nth > 0 {
                at = between(text, at).filter(|next| *next > at)?;
            }
            if !text[at..].starts_with(part) {
                return None;
            }
            at += part.len();
        }
        let closed = self.prefix || !is_letter_at(text, at) || is_ideograph(*self.text.first()?);
        closed.then_some(at)
    }
}

fn folded(text: &str, fold: &Fold) -> Vec<u8> {
    let mut folded = Folded::default();
    folded.read(text, fold);
    folded.text().to_vec()
}

/// End of the tokens, if they stand at `at`. The depth is that of the phrase, the width that of its gaps.
fn matches(tokens: &[Token], text: &[u8], at: usize) -> Option<usize> {
    let (first, rest) = tokens.split_first()?;
    match first {
        Token::Mark(mark) => text[at..].starts_with(mark).then_some(at + mark.len()),
        Token::Any(words) => {
            let first = *text.get(at)?;
            if !words.firsts.has(first) || is_letter_before(text, at) && !is_ideograph(first) {
                return None;
            }
            words.like(&text[at..]).find_map(|word| {
                let end = word.at(text, at)?;
                if rest.is_empty() {
                    return Some(end);
                }
                // Behind a prefix stands the rest of its word.
                let end = if word.prefix && is_letter_at(text, end) { word_end(text, end) } else { end };
                matches(rest, text, between(text, end)?)
            })
        }
        Token::Gap(most) => {
            let mut at = at;
            for _ in 0..=*most {
                if let Some(end) = matches(rest, text, at) {
                    return Some(end);
                }
                let end = word_end(text, at);
                at = between(text, end).filter(|next| *next > at)?;
            }
            None
        }
    }
}

/// Past spaces and punctuation, but not past the end of a sentence.
fn between(text: &[u8], at: usize) -> Option<usize> {
    for (skipped, byte) in text.get(at..)?.iter().enumerate() {
        if byte.is_ascii_alphanumeric() || *byte >= 0x80 {
            return Some(at + skipped);
        }
        let ends = matches!(byte, b'.' | b'!' | b'?' | b';')
            && text.get(at + skipped + 1).is_none_or(|next| !next.is_ascii_alphanumeric());
        if ends || skipped == MAX_BETWEEN {
            return None;
        }
    }
    None
}

/// End of the word at `at`; an ideograph, or a symbol, is one by itself.
fn word_end(text: &[u8], at: usize) -> usize {
    match text.get(at) {
        Some(lead) if is_ideograph(*lead) => at + char_len(*lead).min(text.len() - at),
        _ => {
            let mut end = at;
            while end - at < MAX_WORD && is_letter_at(text, end) {
                end += char_len(text[end]).min(text.len() - end);
            }
            end
        }
    }
}

/// Start of the word before `at`.
pub(super) fn word_before(text: &[u8], at: usize) -> Option<usize> {
    let gap = &text[at.saturating_sub(MAX_BETWEEN)..at];
    let skipped = gap.iter().rev().position(|byte| KINDS[usize::from(*byte)] != Kind::Between)?;
    let end = at - skipped;
    let word = &text[end.saturating_sub(MAX_WORD)..end];
    let len =
        word.iter().rev().position(|byte| KINDS[usize::from(*byte)] != Kind::Word).unwrap_or(word.len());
    let ideograph =
        end.checked_sub(len + 1).filter(|before| KINDS[usize::from(text[*before])] == Kind::Ideograph);
    Some(ideograph.unwrap_or(end - len))
}

/// What a byte is to words that are read backwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Between,
    Word,
    /// The first byte of an ideograph.
    Ideograph,
}

const KINDS: [Kind; 256] = {
    let mut kinds = [Kind::Between; 256];
    let mut byte = 0;
    while byte < 256 {
        if is_ideograph(byte as u8) {
            kinds[byte] = Kind::Ideograph;
        } else if byte >= 0x80 || byte as u8 == b'\'' || (byte as u8).is_ascii_alphanumeric() {
            kinds[byte] = Kind::Word;
        }
        byte += 1;
    }
    kinds
};

/// The first byte of a character of U+2000 and above, and no letter of a script with spaces.
const fn is_ideograph(lead: u8) -> bool {
    lead >= 0xe2
}

const fn char_len(lead: u8) -> usize {
    match lead {
        0..0xc0 => 1,
        0xc0..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    }
}

/// Whether a word goes on at `at`.
fn is_letter_at(text: &[u8], at: usize) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || (0xc0..0xe2).contains(byte);
    match text.get(at) {
        Some(b'\'') => text.get(at + 1).is_some_and(is_letter),
        byte => byte.is_some_and(is_letter),
    }
}

fn is_letter_before(text: &[u8], at: usize) -> bool {
    let before = &text[..at];
    match before.last() {
        None => false,
        Some(byte) if *byte < 0x80 => byte.is_ascii_alphanumeric(),
        Some(_) => {
            let lead = before.iter().rev().take(4).find(|byte| **byte >= 0xc0);
            lead.is_some_and(|lead| !is_ideograph(*lead))
        }
    }
}
