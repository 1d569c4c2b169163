//! Payment cards among groups of digits.

use super::{Case, Side, Verdict};
use crate::scan::check::card;
use crate::scan::number::Gap;
use crate::scan::rules::{Context, Detector};
use crate::scan::units::is_word;

impl Case<'_> {
    pub(super) fn card(&self) -> Option<Verdict> {
        let first = self.first;
        // A sign, not a hyphen: `[-4111111111111111]`, but not `blk_-4111111111111111`.
        let signed =
            first == 0 && matches!(self.number.before, [b'-', far, _] if !is_word(far) && far != b'-');
        if self.number.plus || self.len(first) < 4 || self.left_of(Detector::Card) == Side::Joined && !signed
        {
            return None;
        }
        if self.len(first) >= 12 {
            let digits = self.digits(first);
            let free = self.right(first) != Side::Joined || self.is_followed_by_another(first);
            let valid = card::card(digits) && free && self.believable(digits);
            return if valid { self.found(Detector::Card, first) } else { None };
        }
        let gap = self.gap(first + 1)?;
        if self.len(first) != 4 || !matches!(gap, Gap::Space | Gap::Dash) {
            return None;
        }
        let (mut last, mut best) = (first + 1, None);
        while self.gap(last) == Some(gap) && last - first < 5 {
            let digits = self.digits(last);
            if digits.len() > 19 {
                break;
            }
            let next = self.right(last);
            let ends = next == Side::Free
                || self.is_followed_by_another(last)
                || next == Side::Number && (digits.len() >= 15 || self.gap(last + 1) != Some(gap));
            // The longest: nineteen digits often have a valid sixteen in them.
            if ends && self.card_layout(last) && !self.counts_up(last) && card::card(digits) {
                best = Some(last);
            }
            last += 1;
        }
        // Grouped as cards are and with a valid checksum: no word speaks louder.
        best.and_then(|last| self.found(Detector::Card, last))
    }

    /// Groups as cards are embossed: fours with a shorter or longer last one, or 4-6-5, 4-6-4, 4-5-6.
    fn card_layout(&self, last: usize) -> bool {
        let fours = (self.first..last).all(|group| self.len(group) == 4) && self.len(last) <= 5;
        let lens = [self.len(self.first), self.len(self.first + 1), self.len(self.first + 2)];
        fours || last == self.first + 2 && matches!(lens, [4, 6, 5] | [4, 6, 4] | [4, 5, 6])
    }

    /// A list of numbers, `5070 5071 5072 5073` or the accounts `4100 4120 4130 4138`: each group more than the one before, and all
    /// with one first digit. Of cards that are grouped in fours about one in 24,000 looks like that.
    fn counts_up(&self, last: usize) -> bool {
        let group = |group: usize| self.number.digits_of(group, group);
        last > self.first
            && (self.first..last).all(|at| {
                let (one, next) = (group(at), group(at + 1));
                one.len() == next.len() && one[0] == next[0] && one < next
            })
    }

    /// Whether bare digits that pass as a card are rather that than an identifier or barcode.
    fn believable(&self, digits: &[u8]) -> bool {
        match self.context(Detector::Card) {
            Context::For => true,
            Context::Named => false,
            // UATP shares its 1 with every timestamp.
            Context::Against | Context::Silent => {
                !card::is_doubtful(digits) && (digits[0] != b'1' || self.alone())
            }
        }
    }
}
