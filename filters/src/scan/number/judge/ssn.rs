//! US social security numbers among groups of digits.

use super::{Case, Side, Verdict};
use crate::scan::check::ssn;
use crate::scan::number::Gap;
use crate::scan::rules::{Context, Detector};

impl Case<'_> {
    pub(super) fn ssn(&self) -> Option<Verdict> {
        let first = self.first;
        if self.number.plus {
            return None;
        }
        if self.len(first) == 9 {
            let free = self.left_of(Detector::Ssn) != Side::Joined && self.right(first) != Side::Joined;
            let valid = free && ssn(self.digits(first)) && self.context(Detector::Ssn) == Context::For;
            return valid.then_some(Verdict { last: first, end: None, rule: Detector::Ssn, exempt: false });
        }
        let last = first + 2;
        let gap = self.gap(first + 1)?;
        if [first, first + 1, last].map(|group| self.len(group)) != [3, 2, 4]
            || self.gap(last) != Some(gap)
            || !ssn(self.digits(last))
        {
            return None;
        }
        let (left, right, context) =
            (self.left_of(Detector::Ssn), self.right(last), self.context(Detector::Ssn));
        let apart = match gap {
            Gap::Dash => left != Side::Joined && right != Side::Joined && context != Context::Named,
            Gap::Space if context == Context::For => left != Side::Joined && right != Side::Joined,
            Gap::Space => left == Side::Free && right == Side::Free && context == Context::Silent,
            Gap::Dot => left == Side::Free && right == Side::Free && context == Context::For,
            _ => false,
        };
        if apart { self.found(Detector::Ssn, last) } else { None }
    }
}
