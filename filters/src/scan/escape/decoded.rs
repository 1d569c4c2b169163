//! The decoded text beside the raw one.

use crate::scan::units::{Fold, View};

/// What a piece of a text stands for, and where in the raw text each of its characters stands.
///
/// ```text
///   raw:      m a i l   a % 4 0 b        5 … 9 of it: `a%40b`
///   decoded:  m a i l   a @ b            marks: (0, 0), (7, 9): what ends at 7 here ends at 9 there
/// ```
///
/// Offsets are those of the raw text up to the first escape, and fall behind with each.
#[derive(Debug)]
pub(in crate::scan) struct Decoded {
    text: String,
    base: usize,
    /// Ends of escapes: here, and in the raw text. In order; the first is where `text` begins, or lies before it.
    marks: Vec<(usize, usize)>,
}

impl Decoded {
    /// Begins with `text`, which has no escapes and stands at `base` of the raw text.
    pub(in crate::scan) fn new(base: usize, text: &str) -> Decoded {
        Decoded { text: text.to_owned(), base, marks: vec![(base, base)] }
    }

    /// Goes on with text that stands for itself.
    pub(in crate::scan) fn push_plain(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Goes on with a character whose escape ends at `raw`.
    pub(in crate::scan) fn push(&mut self, c: char, raw: usize) {
        self.text.push(c);
        self.marks.push((self.base + self.text.len(), raw));
    }

    pub(in crate::scan) fn view<'a>(&'a self, fold: &'a Fold) -> View<'a> {
        let end = self.base + self.text.len();
        View { text: &self.text, base: self.base, end, fold, decoded: Some(self) }
    }

    /// Where the last escape ends: here, and in the raw text.
    pub(in crate::scan) fn last_escape(&self) -> (usize, usize) {
        self.marks.last().copied().unwrap_or_default()
    }

    /// Raw offset of a character border: behind the escape before it, in front of the one after it.
    pub(in crate::scan) fn raw(&self, at: usize) -> usize {
        let (end, raw) = self.marks[self.marks.partition_point(|(end, _)| *end <= at).saturating_sub(1)];
        raw + at - end
    }

    /// The offset here that is the last at or before a raw one; inside of the character of an escape, if that reaches over it.
    pub(in crate::scan) fn own(&self, raw: usize) -> usize {
        let next = self.marks.partition_point(|(_, end)| *end <= raw);
        let (end, at) = self.marks[next.saturating_sub(1)];
        let own = end + raw.saturating_sub(at);
        self.marks.get(next).map_or(own, |(end, _)| own.min(end - 1))
    }

    #[cfg(test)]
    pub(in crate::scan) fn kept(&self) -> (usize, usize) {
        (self.text.len(), self.marks.len())
    }

    /// Drops what lies before `at`, if that is worth it.
    pub(in crate::scan) fn forget(&mut self, at: usize, slack: usize) {
        let mut gone = at.saturating_sub(self.base);
        if gone < slack {
            return;
        }
        while !self.text.is_char_boundary(gone) {
            gone -= 1;
        }
        self.text.drain(..gone);
        self.base += gone;
        let before = self.marks.partition_point(|(end, _)| *end <= self.base);
        self.marks.drain(..before.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_map_to_the_ends_of_escapes() {
        let mut decoded = Decoded::new(3, "a ");
        decoded.push('@', 8);
        decoded.push_plain("b");
        decoded.push('北', 18);
        decoded.push('c', 21);
        for (at, raw) in [(3, 3), (5, 5), (6, 8), (7, 9), (10, 18), (11, 21), (12, 22)] {
            assert_eq!(decoded.raw(at), raw, "{at}");
            assert_eq!(decoded.own(raw), at, "{raw}");
        }
        // In the middle of an escape: in the character, which ends behind it.
        for (raw, at) in [(6, 5), (7, 5), (12, 9), (17, 9), (19, 10), (20, 10)] {
            assert_eq!(decoded.own(raw), at, "{raw}");
        }
        decoded.forget(9, 1);
        for (at, raw) in [(7, 9), (10, 18), (11, 21)] {
            assert_eq!(decoded.raw(at), raw, "{at} after what lies before is gone");
        }
        let fold = Fold::new();
        assert_eq!((decoded.view(&fold).base, decoded.view(&fold).text), (7, "北c"));
    }
}
