//! Characters as terms are compared: no case, no accents, no compatibility forms, and what only looks like ASCII is ASCII.

use unicode_normalization::UnicodeNormalization;

use crate::scan::units::{Fold, IDEOGRAPH, NOTHING, is_word};

/// What a character is a token of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Letters and digits of scripts with spaces: together with their neighbours.
    Word,
    /// By itself, of a script without spaces.
    Ideograph,
    /// By itself.
    Mark,
}

/// A few characters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Folded {
    bytes: [u8; MAX],
    len: u8,
    pub(super) chars: usize,
}

/// Bytes of one folded character. What is longer, some ligatures, is cut: alike in terms and texts.
const MAX: usize = 14;

impl Folded {
    fn new(chars: impl Iterator<Item = char>) -> Folded {
        let mut folded = Folded { bytes: [0; MAX], len: 0, chars: 0 };
        for c in chars {
            let len = usize::from(folded.len);
            if len + c.len_utf8() > MAX {
                break;
            }
            c.encode_utf8(&mut folded.bytes[len..]);
            folded.len += c.len_utf8() as u8;
            folded.chars += 1;
        }
        folded
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

/// The folded forms of the characters below U+3000; others are computed, or stand for themselves.
#[derive(Debug)]
pub(in crate::scan) struct TermFold(Vec<Folded>);

const TABLE: u32 = 0x3000;

impl TermFold {
    pub(in crate::scan) fn new(fold: &Fold) -> TermFold {
        let folded = |c: u32| Folded::new(char::from_u32(c).into_iter().flat_map(|c| compute(c, fold)));
        TermFold((0..TABLE).map(folded).collect())
    }

    /// Han and Hangul stand for themselves, each a token.
    pub(super) const fn is_plain(c: char) -> bool {
        matches!(c as u32, 0x3400..0xa000 | 0xac00..0xd7a4)
    }

    /// The folded form of a character and what it is a token of; none if it prints nothing.
    pub(super) fn fold(&self, c: char, fold: &Fold) -> Option<(Folded, Class)> {
        let unit = fold.unit(c);
        if unit == NOTHING {
            return None;
        }
        let class = match unit {
            IDEOGRAPH => Class::Ideograph,
            _ if is_word(unit) => Class::Word,
            _ => Class::Mark,
        };
        let folded = match c as u32 {
            ..TABLE => self.0[c as usize],
            _ if TermFold::is_plain(c) => Folded::new(std::iter::once(c)),
            _ if class == Class::Mark && unit >= 0x80 => Folded::new(std::iter::once(c)),
            _ => Folded::new(compute(c, fold)),
        };
        Some((folded, class))
    }
}

/// Decomposed, without what prints nothing, accents among it, in lower case; spaces are all the same.
fn compute(c: char, fold: &Fold) -> impl Iterator<Item = char> {
    let unit = fold.unit(c);
    let ascii = (unit < 0x80)
        .then(|| if unit.is_ascii_whitespace() { ' ' } else { char::from(unit).to_ascii_lowercase() });
    let letters =
        std::iter::once(c).filter(move |_| ascii.is_none()).nfkd().filter(|c| fold.unit(*c) != NOTHING);
    let lower = letters.flat_map(char::to_lowercase).filter(|c| fold.unit(*c) != NOTHING);
    let same = move |c: char| match fold.unit(c) {
        unit if unit < 0x80 => char::from(unit).to_ascii_lowercase(),
        _ => c,
    };
    ascii.into_iter().chain(lower.map(same))
}
