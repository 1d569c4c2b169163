//! Text as phrases are compared with: small letters, without accents, look-alikes resolved, without what prints nothing.

use unicode_normalization::UnicodeNormalization;

use super::encoded::{self, HALF, Hidden};
use crate::scan::units::{Fold, IDEOGRAPH, LETTER, NOTHING, is_ideograph_lead};

/// Bytes that are looked at in one step, in halves.
const BLOCK: usize = 2 * HALF;

/// First bytes of ideographs.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        plain[byte] = is_ideograph_lead(byte as u8);
        byte += 1;
    }
    plain
};

/// The least byte of a word that may be encoded: no space or quote.
const LEAST: u8 = b'+';

/// One in each byte.
const EACH: u64 = u64::MAX / 0xff;

/// Eight characters of ASCII in lower case; what is none is left as it is, or not.
fn lower(word: u64) -> u64 {
    let bits = word & (EACH * 0x7f);
    let from = bits + EACH * u64::from(0x80 - b'A');
    let past = bits + EACH * u64::from(0x7f - b'Z');
    word | (from & !past & (EACH << 7)) >> 2
}

/// A folded text, and where in the raw one something may be hidden.
#[derive(Debug, Default)]
pub(super) struct Folded {
    out: Vec<u8>,
    /// Raw offsets of blocks with a half without a space or quote: part of a long word, perhaps an encoded one.
    dense: Vec<usize>,
    /// Text written in tag characters (U+E0020 to U+E007E), which show nothing and which models read.
    tags: String,
    json: bool,
}

impl Folded {
    pub(super) fn text(&self) -> &[u8] {
        &self.out
    }

    /// Whether its quotes are JSON's own.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    pub(super) fn read(&mut self, text: &str, fold: &Fold) {
        self.out.clear();
        self.dense.clear();
        self.tags.clear();
        self.out.reserve(text.len());
        self.json = text.trim_start().starts_with(['{', '[']);
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            if let Some(block) = bytes[at..].first_chunk::<BLOCK>() {
                let mut all = 0;
                let mut breaks = [0; 2];
                let mut lower = *block;
                for (half, breaks) in lower.chunks_exact_mut(HALF).zip(&mut breaks) {
                    for byte in half {
                        all |= *byte;
                        *breaks |= u8::from(*byte < LEAST) | u8::from(byte.wrapping_sub(b':') < 7);
                        *byte |= u8::from(byte.is_ascii_uppercase()) << 5;
                    }
                }
                if all < 0x80 {
                    if breaks[0] & breaks[1] == 0 {
                        self.dense.push(at);
                    }
                    self.out.extend_from_slice(&lower);
                    at += BLOCK;
                    continue;
                }
            }
            at = self.wide(text, at, fold);
        }
    }

    /// Reads on until there is ASCII again for a while.
    fn wide(&mut self, text: &str, at: usize, fold: &Fold) -> usize {
        const STEP: usize = 8;
        const ENOUGH: usize = 2 * STEP;
        let bytes = text.as_bytes();
        let (mut at, mut run) = (at, 0);
        while at < bytes.len() && run < ENOUGH {
            if let Some(block) = bytes[at..].first_chunk::<STEP>() {
                let word = u64::from_le_bytes(*block);
                let ascii = (word & (EACH << 7)).trailing_zeros() as usize / 8;
                if ascii > 0 {
                    self.out.extend_from_slice(&lower(word).to_le_bytes());
                    self.out.truncate(self.out.len() - (STEP - ascii));
                    // A byte that is less has borrowed.
                    let breaks = word.wrapping_sub(EACH * u64::from(LEAST)) & !word & (EACH << 7);
                    if ascii == STEP && breaks == 0 {
                        self.dense.push(at);
                    }
                    run = if ascii == STEP { run + STEP } else { 0 };
                    at += ascii;
                    continue;
                }
            } else if bytes[at] < 0x80 {
                self.out.push(bytes[at].to_ascii_lowercase());
                at += 1;
                continue;
            }
            run = 0;
            at = self.run(text, at).unwrap_or_else(|| {
                let c = text[at..].chars().next().unwrap_or(' ');
                self.push(c, fold);
                at + c.len_utf8()
            });
        }
        at
    }

    /// Copies what folds to itself: ideographs, kana, Hangul.
    fn run(&mut self, text: &str, at: usize) -> Option<usize> {
        /// Characters that are looked at in one step.
        const STEP: usize = 8;
        let bytes = text.as_bytes();
        let is_plain = |at: usize| match bytes[at] {
            0xe3 => matches!(bytes[at + 1], 0x81..=0x83), // U+3040 to U+30FF
            byte => PLAIN[usize::from(byte)],
        };
        if !is_plain(at) {
            return None;
        }
        let mut to = at;
        while let Some(block) = bytes[to..].first_chunk::<{ 3 * STEP }>() {
            if !(0..STEP).fold(true, |all, nth| all & PLAIN[usize::from(block[3 * nth])]) {
                break;
            }
            to += 3 * STEP;
        }
        while to < bytes.len() && is_plain(to) {
            to += 3;
        }
        self.out.extend_from_slice(&bytes[at..to]);
        Some(to)
    }

    fn push(&mut self, c: char, fold: &Fold) {
        if c.is_ascii() {
            self.out.push(c.to_ascii_lowercase() as u8);
            return;
        }
        match fold.unit(c) {
            NOTHING => {
                if let tag @ 0xe0020..=0xe007e = c as u32 {
                    self.tags.push(char::from(tag as u8));
                }
            }
            unit @ 0..0x80 => self.out.push(unit.to_ascii_lowercase()),
            IDEOGRAPH => self.raw(c),
            LETTER => self.letter(c),
            _ => match c {
                '“' | '”' | '„' | '«' | '»' | '「' | '」' | '『' | '』' => self.out.push(b'"'),
                '‘' | '’' => self.out.push(b'\''),
                '。' | '…' => self.out.push(b'.'),
                _ => self.out.push(b' '),
            },
        }
    }

    fn letter(&mut self, c: char) {
        match c {
            'ß' => self.out.push(b's'),
            'А'..='Я' => self.raw(char::from_u32(c as u32 + 0x20).unwrap_or(c)),
            '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => {
                let base = std::iter::once(c).nfd().next().unwrap_or(c);
                self.raw(base.to_ascii_lowercase());
            }
            c if (c as u32) < 0x600 => c.to_lowercase().for_each(|c| self.raw(c)),
            c => self.raw(c),
        }
    }

    fn raw(&mut self, c: char) {
        self.out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }

    /// Texts that `text`, which was just read, holds in another form.
    pub(super) fn hidden(&self, text: &str) -> Vec<Hidden> {
        let mut hidden = encoded::base64_texts(text, &self.dense);
        hidden.extend(encoded::tags_text(&self.tags));
        hidden
    }
}
