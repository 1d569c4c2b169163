//! Phrases: words in order, with room between them.

use std::collections::BTreeMap;
use std::ops::Range;

use super::anchors;
use super::folded::Folded;
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
    /// The bytes that it begins with.
    firsts: Bytes,
    pub(super) signal: u8,
}

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
    /// The first two bytes of each; the second is none where an underscore or nothing follows.
    heads: Vec<(u8, Option<u8>)>,
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
        let mut phrase =
            Phrase { tokens: Vec::new(), anchor: 0, back: 0, firsts: Bytes::default(), signal: 0 };
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
        let (Some(Token::Any(first)), Some(Token::Any(_))) = (phrase.tokens.first(), phrase.tokens.last())
        else {
            return Err(format!("`{text}` begins or ends with a gap; remove it"));
        };
        phrase.firsts = first.firsts;
        if phrase.anchors().any(|anchor| anchor.len() < anchors::SHORTEST) {
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
        let firsts = mark[..1].iter().copied().collect();
        Ok(Phrase { tokens: vec![Token::Mark(mark)], anchor: 0, back: 0, firsts, signal: 0 })
    }

    pub(super) fn of(self, signal: u8) -> Phrase {
        Phrase { signal, ..self }
    }

    /// What is searched for: the beginnings of the anchor's words.
    pub(super) fn anchors(&self) -> impl Iterator<Item = &[u8]> {
        let (words, mark): (&[Word], Option<&[u8]>) = match &self.tokens[self.anchor] {
            Token::Any(words) => (&words.words, None),
            Token::Mark(mark) => (&[], Some(mark)),
            Token::Gap(_) => (&[], None),
        };
        words.iter().map(Word::anchor).chain(mark)
    }

    /// Where the phrase stands, whose anchor was seen at `at`.
    pub(super) fn find(&self, text: &[u8], at: usize, before: &mut Before) -> Option<Range<usize>> {
        for nth in 0..=self.back {
            let start = before.nth(text, nth)?;
            if self.firsts.has(text[start])
                && let Some(end) = matches(&self.tokens, text, start)
                && end > at
            {
                return Some(start..end);
            }
        }
        None
    }
}

/// Where the words before an anchor begin, found once for all of its phrases.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// The anchor's own first, then backwards.
    starts: Vec<usize>,
    /// There are no more.
    all: bool,
}

impl Before {
    /// Begins anew at an anchor.
    pub(super) fn start(&mut self, anchor: usize) {
        self.starts.clear();
        self.starts.push(anchor);
        self.all = false;
    }

    fn nth(&mut self, text: &[u8], nth: usize) -> Option<usize> {
        while nth >= self.starts.len() && !self.all {
            match self.starts.last().and_then(|last| word_before(text, *last)) {
                Some(start) => self.starts.push(start),
                None => self.all = true,
            }
        }
        self.starts.get(nth).copied()
    }
}

impl Token {
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
        let heads = words
            .iter()
            .map(|word| (word.text[0], word.text.get(1).copied().filter(|second| *second != b'_')));
        Words { heads: heads.collect(), words, firsts }
    }

    /// Those that begin as `text` does.
    fn like<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = &'a Word> {
        let (first, second) = (text.first().copied(), text.get(1).copied());
        let from = first.map_or(self.words.len(), |first| self.heads.partition_point(|head| head.0 < first));
        let heads = self.heads[from..].iter().take_while(move |head| Some(head.0) == first);
        heads
            .zip(&self.words[from..])
            .filter(move |(head, _)| head.1.is_none() || head.1 == second)
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

    fn parts(&self) -> usize {
        1 + memchr::memchr_iter(b'_', &self.text).count()
    }

    /// Its longest part.
    fn anchor(&self) -> &[u8] {
        self.text.split(|byte| *byte == b'_').max_by_key(|part| part.len()).unwrap_or_default()
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
fn word_before(text: &[u8], at: usize) -> Option<usize> {
    let mut end = at;
    while end > 0 && at - end < MAX_BETWEEN && !is_word_byte(text[end - 1]) {
        end -= 1;
    }
    let mut start = end;
    while start > 0 && end - start < MAX_WORD && is_word_byte(text[start - 1]) {
        start -= 1;
        if is_ideograph(text[start]) {
            break;
        }
    }
    (start < end).then_some(start)
}

fn is_word_byte(byte: u8) -> bool {
    WORD_BYTES[usize::from(byte)]
}

const WORD_BYTES: [bool; 256] = {
    let mut word = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        word[byte] = byte >= 0x80 || byte as u8 == b'\'' || (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    word
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
