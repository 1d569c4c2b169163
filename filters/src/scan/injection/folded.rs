//! Text as phrases are compared with: small letters, without accents, look-alikes resolved, without what prints nothing.

use unicode_normalization::UnicodeNormalization;

use super::encoded::{self, Hidden};
use crate::scan::units::{Fold, IDEOGRAPH, LETTER, NOTHING, is_ideograph_lead};

/// Bytes that are looked at in one step.
const BLOCK: usize = 32;

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

/// A folded text, and where in the raw one something may be hidden.
#[derive(Debug, Default)]
pub(super) struct Folded {
    out: Vec<u8>,
    /// Raw offsets of blocks without a space: part of a long word, perhaps an encoded one.
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
                let mut spaces = 0;
                let mut lower = *block;
                for byte in &mut lower {
                    all |= *byte;
                    spaces |= u8::from(*byte <= b' ');
                    *byte |= u8::from(byte.is_ascii_uppercase()) << 5;
                }
                if all < 0x80 {
                    if spaces == 0 {
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

    /// Reads on until there is ASCII again.
    fn wide(&mut self, text: &str, at: usize, fold: &Fold) -> usize {
        const ENOUGH: usize = 8;
        let bytes = text.as_bytes();
        let mut at = at;
        while at < bytes.len() {
            if let Some(block) = bytes[at..].first_chunk::<ENOUGH>()
                && block.is_ascii()
            {
                self.out.extend_from_slice(&block.map(|byte| byte.to_ascii_lowercase()));
                return at + ENOUGH;
            }
            if bytes[at] < 0x80 {
                self.out.push(bytes[at].to_ascii_lowercase());
                at += 1;
                continue;
            }
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
