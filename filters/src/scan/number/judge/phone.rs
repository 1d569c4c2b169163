//! Phone numbers among groups of digits.

use super::{Case, Side, Verdict};
use crate::scan::check::isbn10;
use crate::scan::check::plan::{e164, is_grouped_nanp, nanp};
use crate::scan::number::Gap;
use crate::scan::rules::{Context, Detector, Nearness};
use crate::scan::units::LETTER;

/// Digits of the longest number in a national form (Austria: 0 and thirteen, of which few are written).
const MAX_NATIONAL: usize = 13;
/// The same where no 0 stands before it (China).
const MAX_WITHOUT_ZERO: usize = 11;

impl Case<'_> {
    pub(super) fn phone(&self) -> Option<Verdict> {
        let last = if self.number.plus && self.first == 0 {
            self.international(0)?
        } else {
            self.nanp_layout().or_else(|| self.exit_code()).or_else(|| self.national())?
        };
        let end = self.number.extension.filter(|_| last + 1 == self.number.groups.len());
        Some(Verdict { last, end, rule: Detector::Phone, exempt: false })
    }

    /// The last group of a number that begins with a country code, after `skip` digits.
    fn international(&self, skip: usize) -> Option<usize> {
        let number = self.number;
        if skip == 0 && matches!(number.before[0], b'0'..=b'9' | b')' | b']' | b'.' | b'-' | b'+') {
            return None;
        }
        let mut digits = [0; 20];
        let mut count = 0;
        let mut best = None;
        for (last, group) in number.groups.iter().enumerate().skip(self.first) {
            let trunk = group.gap == Gap::Open && group.len == 1 && self.number.digits[group.digit] == b'0';
            if last - self.first >= 9 {
                break;
            }
            for digit in self.number.digits_of(last, last).iter().filter(|_| !trunk) {
                if count == digits.len() {
                    return best;
                }
                digits[count] = *digit;
                count += 1;
            }
            let ends = match self.right(last) {
                Side::Free | Side::Number => true,
                Side::Joined => last + 1 == number.groups.len() && number.extension.is_some(),
            };
            if count > 15 + skip {
                break;
            }
            if ends && count > skip && e164(&digits[skip..count]) {
                best = Some(last);
            }
        }
        best
    }

    /// `00` or `011` and a country code, in several groups.
    fn exit_code(&self) -> Option<usize> {
        let digits = self.digits(self.first);
        if digits.len() > 6 || self.left() == Side::Joined {
            return None;
        }
        match digits {
            b"011" => self.international(3),
            [b'0', b'0', ..] => self.international(2),
            _ => None,
        }
    }

    fn opens(&self, group: usize) -> bool {
        let open = group == 0 && self.number.open || self.gap(group) == Some(Gap::Open);
        open && self.gap(group + 1) == Some(Gap::Close)
    }

    /// `[1] NPA NXX XXXX` in the ways it is written.
    fn nanp_layout(&self) -> Option<usize> {
        let number = self.number;
        let (first, bracket) = (self.first, self.opens(self.first));
        let code = number.digits_of(first, first) == b"1" && self.gap(first + 1) != Some(Gap::Close);
        let area = if code { first + 1 } else { first };
        let (lens, last) = match [self.len(area), self.len(area + 1), self.len(area + 2)] {
            [3, 3, 4] => (3, area + 2),
            [3, 7, _] => (2, area + 1),
            [10, ..] => (1, area),
            _ => return None,
        };
        let digits = number.digits_of(area, last);
        if !(nanp(digits) || lens == 3 && is_grouped_nanp(digits)) {
            return None;
        }
        let opened = bracket || code && self.opens(area);
        let gaps = (area + 1..=last).all(|group| match self.gap(group) {
            Some(Gap::Close) => opened && group == area + 1,
            Some(Gap::Dash | Gap::Dot | Gap::Space) => !opened || group > area + 1,
            Some(Gap::Slash) => !opened && group == area + 1 && lens == 3,
            // In brackets the area code is apart already: `(212) 555 - 0123`.
            Some(Gap::Wide) => lens == 3 && (!opened || group == area + 2),
            _ => false,
        });
        // `f(212 555 0123)`, `call(212) 555-0123`: a bracket is a border.
        let left = if first == 0
            && number.open
            && (number.before[0].is_ascii_alphabetic() || number.before[0] == LETTER)
        {
            Side::Free
        } else {
            self.left_of(Detector::Phone)
        };
        let right = match self.right(last) {
            Side::Joined if last + 1 == number.groups.len() && number.extension.is_some() => Side::Free,
            Side::Joined if self.is_followed_by_another(last) => Side::Number,
            side => side,
        };
        if !gaps || left == Side::Joined || right == Side::Joined {
            return None;
        }
        self.nanp_believed(lens, code, opened, area, left == Side::Free && right == Side::Free)
            .then_some(last)
    }

    /// Whether a ten-digit layout is a phone number by its form or by what is said of it.
    fn nanp_believed(&self, groups: usize, code: bool, opened: bool, area: usize, apart: bool) -> bool {
        let context = self.context(Detector::Phone);
        let extension = self.number.extension.is_some();
        let dashed = matches!(self.gap(area + 1), Some(Gap::Dash | Gap::Dot | Gap::Slash | Gap::Close));
        match (groups, context) {
            (_, Context::Named) if !opened && !code => false,
            // A subtraction, unless it is said to be a number, or written as none is: behind brackets, before a zero.
            (3, _) if self.gap(area + 2) == Some(Gap::Wide) => {
                let zero = self.number.digits_of(area + 2, area + 2).first() == Some(&b'0');
                let none = opened || zero && apart && self.gap(area + 1) == Some(Gap::Wide);
                context == Context::For || none && context == Context::Silent
            }
            (3, _) if opened || dashed || extension => true,
            (3, Context::For) => true,
            (3, Context::Against) => false,
            (3, _) => apart,
            (2, _) => opened || code || extension || context == Context::For,
            (_, Context::For) => true,
            _ => {
                extension
                    || code && self.gap(area) == Some(Gap::Dash)
                    || context == Context::Silent
                        && self.alone()
                        && !isbn10(self.number.digits_of(area, area))
            }
        }
    }

    /// Nothing else stands before the number, and it ends at the text's end or line's.
    pub(super) fn alone(&self) -> bool {
        self.number.start == 0
            && matches!(self.number.after, [b'\n', _] | [b' ', b' ' | b'\n'])
            && self.number.groups.len() == 1
    }

    /// A number in a national form, by what is said of it: it begins with 0 and a word for it stands near, or right before it.
    fn national(&self) -> Option<usize> {
        if self.left() == Side::Joined {
            return None;
        }
        let zero = self.digits(self.first).first() == Some(&b'0');
        let last = self.national_layout(zero).filter(|last| !self.is_something_else(*last, zero))?;
        let near = if zero || self.is_mobile(last) { Nearness::Near } else { Nearness::Next };
        (self.nearness(Detector::Phone) >= near).then_some(last)
    }

    /// The last group of nine digits to thirteen, or of an extension behind a dash.
    fn national_layout(&self, zero: bool) -> Option<usize> {
        let number = self.number;
        let (mut total, mut best) = (0, None);
        for last in self.first..number.groups.len().min(self.first + 6) {
            let len = usize::from(self.len(last));
            if last > self.first && self.gap(last) == Some(Gap::Wide) {
                break;
            }
            let ends = self.right(last) != Side::Joined
                || last + 1 == number.groups.len() && number.extension.is_some();
            let extends = zero && total >= 9 && len <= 5 && self.gap(last) == Some(Gap::Dash);
            total += len;
            if total > if zero { MAX_NATIONAL } else { MAX_WITHOUT_ZERO } {
                return if extends && ends { Some(last) } else { best };
            }
            if ends && total >= 9 {
                best = Some(last);
            }
        }
        best
    }

    /// A Chinese mobile's number: eleven digits from 13 to 19.
    fn is_mobile(&self, last: usize) -> bool {
        matches!(self.digits(last), [b'1', b'3'..=b'9', rest @ ..] if rest.len() == 9)
            && [self.len(self.first), self.len(self.first + 1)] != [10, 1]
    }

    /// A date, a book, a fraction, an amount, frequencies: what looks like a national number.
    fn is_something_else(&self, last: usize, zero: bool) -> bool {
        let (first, digits) = (self.first, self.digits(last));
        let round =
            (first..=last).filter(|group| self.number.digits_of(*group, *group).ends_with(b"00")).count();
        let dots = (first + 1..=last).all(|group| self.gap(group) == Some(Gap::Dot));
        self.holds_date(last)
            || last == first && isbn10(digits)
            || self.len(first) == 1 && self.gap(first + 1) == Some(Gap::Dot)
            || !zero && (self.len(first) == 1 || last > first && dots || round > 1)
            || digits.iter().all(|digit| *digit == digits[0])
            || last == first && digits.ends_with(b"000000")
    }
}
