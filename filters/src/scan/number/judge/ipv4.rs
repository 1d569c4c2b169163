//! IPv4 addresses among groups of digits.

use super::{Case, Verdict};
use crate::scan::number::Gap;
use crate::scan::rules::{Context, Detector};
use crate::scan::units::is_word;

impl Case<'_> {
    pub(super) fn ipv4(&self) -> Option<Verdict> {
        let (first, last) = (self.first, self.first + 3);
        let dotted = (first + 1..=last).all(|group| self.gap(group) == Some(Gap::Dot));
        let octets = (first..=last).all(|group| {
            (1..=3).contains(&self.len(group)) && {
                let digits = self.number.digits_of(group, group);
                (digits.len() == 1 || digits[0] != b'0') && (digits.len() < 3 || digits <= b"255".as_slice())
            }
        });
        if !dotted || !octets || self.number.plus || !self.address_borders(last) || self.is_version(last) {
            return None;
        }
        // A prefix length belongs to the address.
        let prefix = self.gap(last + 1) == Some(Gap::Slash) && self.len(last + 1) <= 2;
        self.found(Detector::Ipv4, if prefix { last + 1 } else { last })
    }

    fn address_borders(&self, last: usize) -> bool {
        let number = self.number;
        let [near, far, _] = number.before;
        let left = match number.groups[self.first].gap {
            Gap::None => match near {
                b'/' => far == b'/',
                b'>' if self.follows_tag() => true,
                b'-' | b'.' | b'\\' | b'$' | b'#' | b'^' | b'~' | b'<' | b'>' if far != b' ' => false,
                b'.' | b'-' | b'~' | b'^' => false,
                _ => !is_word(near),
            },
            Gap::Dash => number.follows_finding,
            Gap::Dot => false,
            _ => true,
        };
        let right = match self.gap(last + 1) {
            Some(Gap::Dot) => false,
            // A range.
            Some(Gap::Dash) => self.gap(last + 2) == Some(Gap::Dot),
            Some(_) => true,
            None => match number.after {
                [b'.' | b'-', far] => !is_word(far),
                [near, _] => !is_word(near),
            },
        };
        left && right
    }

    /// `<td>203.0.113.9`, not `package>1.2.3.4`.
    fn follows_tag(&self) -> bool {
        const LONGEST: usize = 48;
        let before = self.view.before(self.number.groups[self.first].start, LONGEST).as_bytes();
        let open = before.iter().rposition(|b| *b == b'<');
        open.and_then(|open| before.get(open + 1)).is_some_and(|b| b.is_ascii_alphabetic() || *b == b'/')
    }

    /// Four numbers with dots that say they are a version, or are too small to be told from a section number.
    fn is_version(&self, last: usize) -> bool {
        let digits = self.digits(last);
        match self.context(Detector::Ipv4) {
            Context::Against | Context::Named => true,
            Context::For => false,
            // Or an object identifier of X.500: 2.5.4 and 2.5.29 are its attributes and extensions.
            Context::Silent => {
                let small = digits.len() == 4 && digits.iter().any(|digit| *digit != digits[0]);
                let group = |at: usize| self.number.digits_of(self.first + at, self.first + at);
                small || group(0) == b"2" && group(1) == b"5" && matches!(group(2), b"4" | b"29")
            }
        }
    }
}
