//! Text as the rules see it: one small byte, a unit, per significant character.
//!
//! A unit is the ASCII character that a character stands for (itself, its compatibility form, its look-alike), or one of three
//! classes for all else. Characters that print nothing have no unit. Offsets stay those of the raw text, so nothing has to be
//! mapped back: whoever walks over units is told where each one's raw bytes begin and end.

use unicode_normalization::UnicodeNormalization;

use super::escape::{Decoded, MAX_ESCAPE};

/// A letter, digit or mark that is no ASCII character's look-alike.
pub(super) const LETTER: u8 = 0x80;
/// A character of a script that is written without spaces: a border for whatever is written in ASCII beside it.
pub(super) const IDEOGRAPH: u8 = 0x81;
/// Any other character.
pub(super) const OTHER: u8 = 0x82;
/// No unit: prints nothing.
pub(super) const NOTHING: u8 = 0xff;

/// Characters that print nothing between two units that [`View::prev`] skips; more of them are a border.
pub(super) const MAX_SKIPPED_BACK: usize = 16;

/// The unit of every character: a two-stage table, since text in most scripts looks up a single page.
#[derive(Debug)]
pub(super) struct Fold {
    index: Vec<u16>,
    pages: Vec<[u8; 256]>,
}

impl Fold {
    pub(super) fn new() -> Fold {
        let mut fold = Fold { index: Vec::with_capacity(0x1100), pages: Vec::new() };
        for page in 0..0x1100_u32 {
            let mut units = match page {
                0x200..0x400 => [IDEOGRAPH; 256],
                0xe00..0xe10 => [NOTHING; 256],
                _ => [OTHER; 256],
            };
            if page < 0x200 {
                for (low, unit) in (0_u32..).zip(units.iter_mut()) {
                    *unit = char::from_u32(page << 8 | low).map_or(OTHER, unit_of);
                }
            }
            let uniform = units.iter().all(|unit| *unit == units[0]);
            let known = fold.pages.iter().position(|other| uniform && *other == units);
            let at = known.unwrap_or_else(|| {
                fold.pages.push(units);
                fold.pages.len() - 1
            });
            fold.index.push(at as u16);
        }
        fold
    }

    #[inline]
    pub(super) fn unit(&self, c: char) -> u8 {
        let c = c as usize;
        self.pages[usize::from(self.index[c >> 8])][c & 0xff]
    }
}

/// How long a part of a text may be: in bytes of its own, and in bytes of the raw text, which escapes make more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    pub(super) bytes: usize,
    pub(super) raw: usize,
}

/// A unit and its place in the raw text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) byte: u8,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The part of a text that is at hand. All offsets are absolute: `text` begins at `base` of the whole text.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) text: &'a str,
    pub(super) base: usize,
    /// Where reading ends for now; a character border, at most `base + text.len()`.
    pub(super) end: usize,
    pub(super) fold: &'a Fold,
    /// Where its characters stand in the raw text, if it is a decoded one.
    pub(super) decoded: Option<&'a Decoded>,
}

impl<'a> View<'a> {
    /// The first unit at or after `at`; none before `end`.
    #[inline]
    pub(super) fn next(&self, at: usize) -> Option<Unit> {
        if at >= self.end {
            return None;
        }
        let byte = self.text.as_bytes()[at - self.base];
        if byte < 0x80 {
            return Some(Unit { byte, start: at, end: at + 1 });
        }
        self.next_wide(at)
    }

    #[inline(never)]
    fn next_wide(&self, mut at: usize) -> Option<Unit> {
        for c in self.text[at - self.base..self.end - self.base].chars() {
            let end = at + c.len_utf8();
            let byte = self.fold.unit(c);
            if byte != NOTHING {
                return Some(Unit { byte, start: at, end });
            }
            at = end;
        }
        None
    }

    /// The last unit before `at`. Too many characters that print nothing are a unit themselves, a border.
    #[inline(always)]
    pub(super) fn prev(&self, at: usize) -> Option<Unit> {
        let last = (at - self.base).checked_sub(1)?;
        let byte = self.text.as_bytes()[last];
        if byte < 0x80 {
            return Some(Unit { byte, start: at - 1, end: at });
        }
        self.prev_wide(at)
    }

    #[inline(never)]
    fn prev_wide(&self, at: usize) -> Option<Unit> {
        let last = self.text[..at - self.base].chars().next_back()?;
        let byte = self.fold.unit(last);
        if byte != NOTHING {
            return Some(Unit { byte, start: at - last.len_utf8(), end: at });
        }
        self.prev_skipping(at)
    }

    #[inline(never)]
    fn prev_skipping(&self, at: usize) -> Option<Unit> {
        let mut end = at;
        for (skipped, c) in self.text[..at - self.base].chars().rev().enumerate() {
            let start = end - c.len_utf8();
            let byte = self.fold.unit(c);
            if byte != NOTHING {
                return Some(Unit { byte, start, end });
            }
            if skipped == MAX_SKIPPED_BACK {
                return Some(Unit { byte: OTHER, start, end });
            }
            end = start;
        }
        None
    }

    /// The unit before `at`; a space where it ends an escape of source text, `\n` or `\u003d`, which is a border.
    #[inline]
    pub(super) fn border_unit(&self, at: usize) -> Option<u8> {
        let unit = self.prev(at)?;
        let may = is_written_letter(unit.byte) || unit.byte.is_ascii_hexdigit();
        Some(if may && self.ends_written(unit) { b' ' } else { unit.byte })
    }

    /// Whether a unit is the last of a written escape. The same as [`Written`] says, which reads forwards.
    fn ends_written(&self, last: Unit) -> bool {
        let is_backslash = |unit: Option<Unit>| unit.is_some_and(|unit| unit.byte == b'\\');
        let mut before = self.prev(last.start);
        if is_written_letter(last.byte) && is_backslash(before) {
            return true;
        }
        let mut digits = 1;
        while digits <= 4 && last.byte.is_ascii_hexdigit() {
            let Some(unit) = before else { return false };
            before = self.prev(unit.start);
            match (unit.byte, digits) {
                (b'u', 4) | (b'x', 2) if is_backslash(before) => return true,
                (digit, _) if digit.is_ascii_hexdigit() => digits += 1,
                _ => return false,
            }
        }
        false
    }

    /// Where a run that begins at `start` and ends before `end` begins without the written escape that it begins with, or in.
    pub(super) fn after_written(&self, start: usize, end: usize) -> usize {
        /// Units of the longest escape, `\u003d`, but for its last.
        const MOST: usize = 5;
        let before = std::iter::successors(self.prev(start), |unit| self.prev(unit.start)).take(MOST);
        let Some(backslash) = before.into_iter().find(|unit| unit.byte == b'\\') else { return start };
        let mut written = Written::default();
        written.read(backslash.byte);
        let mut at = backslash.end;
        while let Some(unit) = self.next(at).filter(|unit| unit.end < end) {
            if written.read(unit.byte) {
                return unit.end.max(start);
            }
            if !written.is_open() {
                break;
            }
            at = unit.end;
        }
        start
    }

    /// The last character border at or before `at`.
    pub(super) fn border(&self, at: usize) -> usize {
        let mut border = at - self.base;
        while !self.text.is_char_boundary(border) {
            border -= 1;
        }
        self.base + border
    }

    /// The first character border at or after `at`, which lies in the text.
    pub(super) fn border_after(&self, at: usize) -> usize {
        let mut border = at - self.base;
        while !self.text.is_char_boundary(border) {
            border += 1;
        }
        self.base + border
    }

    /// Whether what stands from `start` to `end` is longer than `most`.
    #[inline]
    pub(super) fn is_longer(&self, start: usize, end: usize, most: Most) -> bool {
        let len = end - start;
        if len > most.bytes {
            return true;
        }
        match self.decoded {
            None => len > most.raw,
            Some(decoded) => MAX_ESCAPE * len > most.raw && decoded.raw(end) - decoded.raw(start) > most.raw,
        }
    }

    /// An offset up to which what stands from `start` on is not longer than `most`, whatever it is.
    pub(super) fn short_to(&self, start: usize, most: Most) -> usize {
        let raw = if self.decoded.is_some() { most.raw / MAX_ESCAPE } else { most.raw };
        start.saturating_add(most.bytes.min(raw))
    }

    /// The last character border behind `start` up to which the text is not longer than `most`.
    pub(super) fn reach(&self, start: usize, most: Most) -> usize {
        let end = match self.decoded {
            None => start.saturating_add(most.raw),
            Some(decoded) => decoded.own(decoded.raw(start).saturating_add(most.raw)),
        };
        self.border(end.min(start + most.bytes))
    }

    /// The text from `start` to `end`.
    pub(super) fn raw(&self, start: usize, end: usize) -> &'a str {
        &self.text[start - self.base..end - self.base]
    }

    /// Up to `len` raw bytes before `at`, from a character border on.
    pub(super) fn before(&self, at: usize, len: usize) -> &'a str {
        let at = at - self.base;
        let mut from = at.saturating_sub(len);
        while !self.text.is_char_boundary(from) {
            from += 1;
        }
        &self.text[from..at]
    }
}

/// An escape of source text, read forwards: the letter that ends `\n`, `\t` or `\u003d` is no letter of what follows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Written {
    #[default]
    No,
    Backslash,
    /// So many hex digits to come.
    Digits(u8),
}

impl Written {
    /// Reads a unit; true: an escape ends with it.
    pub(super) fn read(&mut self, unit: u8) -> bool {
        let (next, ends) = match (*self, unit) {
            (_, b'\\') => (Written::Backslash, false),
            (Written::Backslash, b'u') => (Written::Digits(4), false),
            (Written::Backslash, b'x') => (Written::Digits(2), false),
            (Written::Backslash, letter) => (Written::No, is_written_letter(letter)),
            (Written::Digits(1), digit) => (Written::No, digit.is_ascii_hexdigit()),
            (Written::Digits(n), digit) if digit.is_ascii_hexdigit() => (Written::Digits(n - 1), false),
            _ => (Written::No, false),
        };
        *self = next;
        ends
    }

    pub(super) fn is_open(self) -> bool {
        self != Written::No
    }
}

const fn is_written_letter(unit: u8) -> bool {
    matches!(unit, b'n' | b't' | b'r' | b'f' | b'b' | b'v')
}

/// Letters, digits and the underscore of ASCII, and the letters of scripts with spaces.
pub(super) const fn is_word(unit: u8) -> bool {
    unit.is_ascii_alphanumeric() || unit == b'_' || unit == LETTER
}

/// Whether a byte begins a character of three bytes that is an ideograph for sure: U+4000 to U+9FFF, and Hangul from U+B000 to
/// U+CFFF.
#[inline]
pub(super) const fn is_ideograph_lead(byte: u8) -> bool {
    matches!(byte, 0xe4..=0xe9 | 0xeb | 0xec)
}

fn unit_of(c: char) -> u8 {
    if c.is_ascii() {
        return c as u8;
    }
    if prints_nothing(c) {
        return NOTHING;
    }
    if matches!(c as u32, 0xac00..0xd7a4 | 0x3400..0xa000) {
        return IDEOGRAPH;
    }
    if let Some(alike) = look_alike(c) {
        return alike;
    }
    if let Some(compat) = compatible(c) {
        return compat;
    }
    if has_no_spaces(c) {
        IDEOGRAPH
    } else if c.is_alphanumeric() {
        LETTER
    } else {
        OTHER
    }
}

/// The single ASCII character that a character is a form of (NFKC), or looks like one of.
fn compatible(c: char) -> Option<u8> {
    // Where compatibility characters are: the rest would only cost time.
    let may = matches!(c as u32, 0x80..0x3400 | 0xa700..0xac00 | 0xf900..0x1_0000 | 0x1_0780..0x1_07c0 | 0x1_d400..0x1_d800
        | 0x1_f100..0x1_f300 | 0x1_fbf0..0x1_fc00);
    let mut compat = std::iter::once(c).filter(|_| may).nfkc();
    match (compat.next(), compat.next()) {
        (Some(one), None) if one.is_ascii() => Some(one as u8),
        (Some(one), None) if one != c => look_alike(one),
        _ => None,
    }
}

/// Default_Ignorable_Code_Point (UCD DerivedCoreProperties.txt) and the combining marks of Latin script.
pub(super) const fn prints_nothing(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{300}'..='\u{36f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Scripts written without spaces between words, and Hangul, whose particles follow a word at once.
const fn has_no_spaces(c: char) -> bool {
    matches!(c,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{11ff}' | '\u{1780}'..='\u{17ff}' | '\u{2e80}'..='\u{2fff}'
        | '\u{3005}'..='\u{3007}' | '\u{3021}'..='\u{3029}' | '\u{3041}'..='\u{3096}' | '\u{309d}'..='\u{309f}'
        | '\u{30a1}'..='\u{30fa}' | '\u{30fc}'..='\u{30ff}' | '\u{3105}'..='\u{318e}' | '\u{31a0}'..='\u{31ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{a4cf}' | '\u{a960}'..='\u{a97f}' | '\u{ac00}'..='\u{d7ff}'
        | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ffdc}' | '\u{20000}'..='\u{3ffff}')
}

/// Characters drawn like an ASCII one (UTS 39 confusables.txt: the letters of Cyrillic and Greek, hyphens), and other digits.
fn look_alike(c: char) -> Option<u8> {
    const CYRILLIC: (&str, &str) = ("аеорсухіјѕһԁԛԝкАВЕКМНОРСТУХЅІЈ", "aeopcyxijshdqwkABEKMHOPCTYXSIJ");
    const GREEK: (&str, &str) = ("ονραικυχΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ovpaikuxABEZHIKMNOPTYX");
    const LATIN: (&str, &str) = ("ıɡɑ‐‑‒–−﹘", "iga------");
    if !matches!(c as u32, 0x131..0x2300 | 0xfe58) {
        return None;
    }
    for digits in ['\u{660}', '\u{6f0}', '\u{966}'] {
        let value = (c as u32).wrapping_sub(digits as u32);
        if value < 10 {
            return Some(b'0' + value as u8);
        }
    }
    [CYRILLIC, GREEK, LATIN]
        .iter()
        .find_map(|(from, to)| from.chars().zip(to.bytes()).find(|(from, _)| *from == c))
        .map(|(_, to)| to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(text: &str) -> Vec<u8> {
        static FOLD: std::sync::LazyLock<Fold> = std::sync::LazyLock::new(Fold::new);
        let view = View { text, base: 0, end: text.len(), fold: &FOLD, decoded: None };
        let mut at = 0;
        let forward: Vec<u8> = std::iter::from_fn(|| view.next(at).inspect(|unit| at = unit.end))
            .map(|unit| unit.byte)
            .collect();
        let mut at = text.len();
        let mut backward: Vec<u8> = std::iter::from_fn(|| view.prev(at).inspect(|unit| at = unit.start))
            .map(|unit| unit.byte)
            .collect();
        backward.reverse();
        assert_eq!(forward, backward, "{text:?}");
        forward
    }

    #[test]
    fn ideographs_are_known_by_their_first_byte() {
        let fold = Fold::new();
        let wide =
            ('\u{800}'..=char::MAX).filter(|c| is_ideograph_lead(c.encode_utf8(&mut [0; 4]).as_bytes()[0]));
        let mut count = 0;
        for c in wide {
            assert_eq!((fold.unit(c), c.len_utf8()), (IDEOGRAPH, 3), "{c}");
            count += 1;
        }
        assert_eq!(count, 0x8000);
    }

    #[test]
    fn characters_become_what_they_stand_for() {
        for (text, expect) in [
            ("plain", "plain"),
            ("a\u{200b}lice\u{feff}", "alice"),
            ("ａｌｉｃｅ＠ｃｏｒｐ．ｃｏｍ", "alice@corp.com"),
            ("４１１１\u{3000}1", "4111 1"),
            ("аliсе", "alice"),
            ("𝟏𝟐①", "121"),
            ("+1\u{a0}212\u{2011}555", "+1 212-555"),
            ("e\u{301}", "e"),
            ("٤١١١۴۵६७", "41114567"),
            ("٠٩۰۹०९", "090909"),
            ("𝛂lice", "alice"),
        ] {
            assert_eq!(units(text), expect.as_bytes(), "{text:?}");
        }
        assert_eq!(units("٪"), [OTHER], "behind the nine of Arabic");
        assert_eq!(units("é漢。🎉"), [LETTER, IDEOGRAPH, OTHER, OTHER]);
    }
}
