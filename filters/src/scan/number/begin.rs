//! Where a token begins, and those that are not worth beginning.

use super::{DOTS, Number, Phase, SHORT, begins_gap};
use crate::scan::units::View;

impl Number {
    /// Begins a token at `digit`, the raw offset of its first digit; it reaches back over a `+` and brackets, not past `floor`.
    pub(in crate::scan) fn begin(&mut self, view: &View<'_>, digit: usize, floor: usize) {
        self.groups.clear();
        self.digits.clear();
        (self.plus, self.open, self.first, self.units) = (false, false, 0, 0);
        (self.follows_finding, self.extension, self.ended) = (false, None, false);
        self.start = lead(view, digit, floor);
        let mut at = self.start;
        while let Some(unit) = view.next(at).filter(|unit| unit.start < digit) {
            self.plus |= unit.byte == b'+';
            self.open |= unit.byte == b'(';
            at = unit.end;
        }
        at = self.start;
        let border = view.border_unit(at);
        self.before = [(); 3].map(|()| {
            let unit = view.prev(at);
            at = unit.map_or(at, |unit| unit.start);
            unit.map_or(b' ', |unit| unit.byte)
        });
        self.before[0] = border.unwrap_or(b' ');
        // Until the token ends, whatever follows its last group may go on.
        self.after = [b'0'; 2];
        self.at = digit;
        self.phase = Phase::Gap([0; 3], 0);
    }

    /// Reads over a token that is too short for anything, as most numbers are, without looking at its groups. The same as
    /// `begin` and `run` would do, or nothing: false.
    pub(in crate::scan) fn skip_short(&mut self, view: &View<'_>, digit: usize) -> bool {
        let bytes = &view.text.as_bytes()[..view.end - view.base];
        let (mut at, mut digits, mut dots) = (digit - view.base, 0, 0);
        if at.checked_sub(1).is_some_and(|before| matches!(bytes[before], b'+' | b'(' | 0x80..)) {
            return false;
        }
        loop {
            let Some(byte) = bytes.get(at) else { return false };
            match (byte, bytes.get(at + 1)) {
                (b'0'..=b'9', _) => digits += 1,
                (b'.', Some(b'0'..=b'9')) => dots += 1,
                (b'-' | b' ' | b'/', Some(b'0'..=b'9')) => {}
                (b'-' | b'.' | b' ' | b'/', Some(after)) if !after.is_ascii() || begins_gap(&[*after]) => {
                    return false;
                }
                (b'-' | b'.' | b' ' | b'/', Some(_)) => {
                    at += 1;
                    break;
                }
                (b'-' | b'.' | b' ' | b'/' | b'(' | b')', _) | (0x80.., _) => return false,
                _ => break,
            }
            if digits == SHORT || dots == DOTS {
                return false;
            }
            at += 1;
        }
        (self.at, self.ended) = (view.base + at, true);
        true
    }
}

/// Where a number whose first digit stands at `digit` begins: at most three plus signs or brackets before it.
pub(in crate::scan) fn lead(view: &View<'_>, digit: usize, floor: usize) -> usize {
    let mut start = digit;
    for _ in 0..super::MAX_LEAD {
        match view.prev(start) {
            Some(unit) if matches!(unit.byte, b'+' | b'(') && unit.start >= floor => start = unit.start,
            _ => break,
        }
    }
    start
}
