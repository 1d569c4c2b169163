//! What a run of digit groups is: an address, a social security number, a card, a phone number, or none of ours.

use super::{Gap, Number};
use crate::scan::address;
use crate::scan::check::{card, e164, isbn10, nanp, ssn};
use crate::scan::rules::{Context, Detector, Rules};
use crate::scan::sweep::Decided;
use crate::scan::units::{LETTER, View, is_word};
use crate::scan::{Policy, RuleId};

/// Asks the number rules of a policy, and collects what they find.
#[derive(Debug)]
pub(in crate::scan) struct Judge<'r, 'd> {
    pub(in crate::scan) rules: &'r Rules,
    pub(in crate::scan) policy: &'r Policy,
    pub(in crate::scan) decided: &'d mut Vec<Decided>,
}

/// Something begins at the group that was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::scan) struct Verdict {
    /// Its last group.
    pub(in crate::scan) last: usize,
    /// Raw offset of its end, if not that of its last group.
    end: Option<usize>,
    rule: Detector,
    /// It is left alone.
    exempt: bool,
}

/// How a finding would be bordered on one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// By nothing that belongs to it.
    Free,
    /// By another number, after a space.
    Number,
    /// By something that it is a part of.
    Joined,
}

impl Judge<'_, '_> {
    pub(super) fn ask(&mut self, number: &Number, view: &View<'_>) -> Option<Verdict> {
        let case = Case { number, view, rules: self.rules, first: number.first };
        let verdict = [Case::ipv4, Case::ssn, Case::card, Case::phone]
            .iter()
            .find_map(|ask| ask(&case))
            .filter(|verdict| self.rule(verdict.rule).is_some())?;
        let rule = self.rule(verdict.rule)?;
        let groups = &number.groups;
        let whole_lead = number.first == 0 && verdict.rule == Detector::Phone;
        let mut start = groups[number.first].start;
        if whole_lead {
            start = number.start;
        } else if verdict.rule == Detector::Phone && groups[number.first].gap == Gap::Open {
            start = view.prev(start).map_or(start, |unit| unit.start);
        }
        let end = verdict.end.unwrap_or(groups[verdict.last].end);
        if !verdict.exempt && !self.exempt(verdict.rule, number, verdict.last) {
            self.decided.push(Decided::whole(rule, start, end));
        }
        Some(verdict)
    }

    /// Takes the raw bytes for a finding of the first rule that acts.
    pub(super) fn overflow(&mut self, start: usize, end: usize) {
        let rules = [Detector::Card, Detector::Ssn, Detector::Phone, Detector::Ipv4];
        let acting =
            rules.iter().filter_map(|detector| self.rule(*detector)).find(|rule| self.policy.acts_on(*rule));
        if let Some(rule) = acting {
            self.decided.push(Decided::whole(rule, start, end));
        }
    }

    fn rule(&self, detector: Detector) -> Option<RuleId> {
        self.rules.detector(detector).filter(|rule| self.policy.looks_for(*rule))
    }

    fn exempt(&self, rule: Detector, number: &Number, last: usize) -> bool {
        if rule != Detector::Ipv4 || last < number.first + 3 {
            return false;
        }
        let octet = |i: usize| number.digits_of(number.first + i, number.first + i).iter().fold(0, octet);
        address::exempt_v4([octet(0), octet(1), octet(2), octet(3)], &self.policy.switches().exempt)
    }
}

fn octet(value: u8, digit: &u8) -> u8 {
    value.wrapping_mul(10).wrapping_add(digit - b'0')
}

struct Case<'a> {
    number: &'a Number,
    view: &'a View<'a>,
    rules: &'a Rules,
    first: usize,
}

impl Case<'_> {
    fn len(&self, group: usize) -> u8 {
        self.number.groups.get(group).map_or(0, |group| group.len)
    }

    /// Separator before a group; none past the last.
    fn gap(&self, group: usize) -> Option<Gap> {
        self.number.groups.get(group).map(|group| group.gap)
    }

    fn digits(&self, last: usize) -> &[u8] {
        self.number.digits_of(self.first, last)
    }

    fn context(&self, rule: Detector) -> Context {
        let Some(rule) = self.rules.detector(rule) else { return Context::Silent };
        self.rules.context(rule, self.view, self.number.groups[self.first].start)
    }

    /// What stands before the first group.
    fn left(&self) -> Side {
        let number = self.number;
        if self.first > 0 {
            return match number.groups[self.first].gap {
                _ if number.follows_finding => Side::Free,
                Gap::Space | Gap::Wide | Gap::Open => Side::Number,
                _ => Side::Joined,
            };
        }
        let [near, far] = number.before;
        match near {
            // A thousands separator, not a list.
            b',' if far.is_ascii_digit() && self.len(self.first) == 3 => Side::Joined,
            b'-' | b'.' | b'/' | b'\\' | b'$' | b'%' | b'#' | b'&' | b'^' | b'~' | b'*' => Side::Joined,
            _ if is_word(near) => Side::Joined,
            _ if number.plus => Side::Joined,
            _ => Side::Free,
        }
    }

    /// What stands after group `last`.
    fn right(&self, last: usize) -> Side {
        if let Some(gap) = self.gap(last + 1) {
            return match gap {
                Gap::Space | Gap::Wide | Gap::Open => Side::Number,
                _ => Side::Joined,
            };
        }
        let [near, far] = self.number.after;
        match near {
            b'@' | b'%' => Side::Joined,
            b'-' | b'.' | b'/' if is_word(far) => Side::Joined,
            b':' if far.is_ascii_digit() => Side::Joined,
            _ if is_word(near) => Side::Joined,
            _ => Side::Free,
        }
    }

    fn found(&self, rule: Detector, last: usize) -> Option<Verdict> {
        Some(Verdict { last, end: None, rule, exempt: false })
    }

    fn ipv4(&self) -> Option<Verdict> {
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
        let [near, far] = number.before;
        let left = match number.groups[self.first].gap {
            Gap::None => match near {
                b'/' => far == b'/',
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

    /// Four numbers with dots that say they are a version, or are too small to be told from a section number.
    fn is_version(&self, last: usize) -> bool {
        let digits = self.digits(last);
        match self.context(Detector::Ipv4) {
            Context::Against => true,
            Context::For => false,
            Context::Silent => digits.len() == 4 && digits.iter().any(|digit| *digit != digits[0]),
        }
    }

    fn ssn(&self) -> Option<Verdict> {
        let first = self.first;
        if self.number.plus {
            return None;
        }
        if self.len(first) == 9 {
            let free = self.left() != Side::Joined && self.right(first) != Side::Joined;
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
        let (left, right) = (self.left(), self.right(last));
        let apart = match gap {
            Gap::Dash => {
                left != Side::Joined
                    && right != Side::Joined
                    && self.context(Detector::Ssn) != Context::Against
            }
            Gap::Space => {
                left == Side::Free && right == Side::Free && self.context(Detector::Ssn) != Context::Against
                    || left != Side::Joined
                        && right != Side::Joined
                        && self.context(Detector::Ssn) == Context::For
            }
            Gap::Dot => {
                left == Side::Free && right == Side::Free && self.context(Detector::Ssn) == Context::For
            }
            _ => false,
        };
        if apart { self.found(Detector::Ssn, last) } else { None }
    }

    fn card(&self) -> Option<Verdict> {
        let first = self.first;
        // A sign, not a hyphen: `[-4111111111111111]`, but not `blk_-4111111111111111`.
        let signed = first == 0 && matches!(self.number.before, [b'-', far] if !is_word(far) && far != b'-');
        if self.number.plus || self.len(first) < 4 || self.left() == Side::Joined && !signed {
            return None;
        }
        if self.len(first) >= 12 {
            let digits = self.digits(first);
            let valid = card::card(digits) && self.right(first) != Side::Joined && self.believable(digits);
            return if valid { self.found(Detector::Card, first) } else { None };
        }
        let gap = self.gap(first + 1)?;
        if self.len(first) != 4 || !matches!(gap, Gap::Space | Gap::Dash) {
            return None;
        }
        let mut last = first + 1;
        while self.gap(last) == Some(gap) && last - first < 5 {
            let digits = self.digits(last);
            if digits.len() > 19 {
                return None;
            }
            let next = self.right(last);
            let ends = next == Side::Free
                || next == Side::Number && (digits.len() >= 15 || self.gap(last + 1) != Some(gap));
            if ends
                && self.card_layout(last)
                && card::card(digits)
                && self.context(Detector::Card) != Context::Against
            {
                return self.found(Detector::Card, last);
            }
            last += 1;
        }
        None
    }

    /// Groups as cards are embossed: fours with a shorter or longer last one, or 4-6-5, 4-6-4, 4-5-6.
    fn card_layout(&self, last: usize) -> bool {
        let fours = (self.first..last).all(|group| self.len(group) == 4) && self.len(last) <= 5;
        let lens = [self.len(self.first), self.len(self.first + 1), self.len(self.first + 2)];
        fours || last == self.first + 2 && matches!(lens, [4, 6, 5] | [4, 6, 4] | [4, 5, 6])
    }

    /// Whether bare digits that pass as a card are rather that than an identifier or barcode.
    fn believable(&self, digits: &[u8]) -> bool {
        match self.context(Detector::Card) {
            Context::For => true,
            Context::Against => false,
            // EAN-13 barcodes begin with 4 as old Visa cards do; UATP shares its 1 with every timestamp.
            Context::Silent => digits.len() != 13 && digits[0] != b'1',
        }
    }

    fn phone(&self) -> Option<Verdict> {
        let last = if self.number.plus && self.first == 0 {
            self.international(0)?
        } else {
            self.nanp_layout().or_else(|| self.double_zero()).or_else(|| self.national())?
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
            if last > self.first && group.gap == Gap::Wide || last - self.first >= 9 {
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

    /// `001` or `00` and a country code, in several groups.
    fn double_zero(&self) -> Option<usize> {
        let digits = self.digits(self.first);
        if !digits.starts_with(b"00") || digits.len() > 6 || self.left() == Side::Joined {
            return None;
        }
        self.international(2)
    }

    fn opens(&self, group: usize) -> bool {
        group == 0 && self.number.open || self.gap(group) == Some(Gap::Open)
    }

    /// `[1] NPA NXX XXXX` in the ways it is written.
    fn nanp_layout(&self) -> Option<usize> {
        let number = self.number;
        let (first, bracket) = (self.first, self.opens(self.first));
        let code = self.len(first) == 1 && number.digits_of(first, first) == b"1";
        let area = if code { first + 1 } else { first };
        let (lens, last) = match [self.len(area), self.len(area + 1), self.len(area + 2)] {
            [3, 3, 4] => (3, area + 2),
            [3, 7, _] => (2, area + 1),
            [10, ..] => (1, area),
            _ => return None,
        };
        if !nanp(number.digits_of(area, last)) {
            return None;
        }
        let opened = bracket || code && self.opens(area);
        let gaps = (area + 1..=last).all(|group| match self.gap(group) {
            Some(Gap::Close) => opened && group == area + 1,
            Some(Gap::Dash | Gap::Dot | Gap::Space) => !opened || group > area + 1,
            Some(Gap::Slash | Gap::Wide) => !opened && group == area + 1 && lens == 3,
            _ => false,
        });
        let left = if first == 0
            && bracket
            && (number.before[0].is_ascii_alphabetic() || number.before[0] == LETTER)
        {
            Side::Free
        } else {
            self.left()
        };
        let right = match self.right(last) {
            Side::Joined if last + 1 == number.groups.len() && number.extension.is_some() => Side::Free,
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
            (_, Context::Against) if !opened && !code => false,
            (3, _) if opened || dashed || extension => true,
            (3, Context::For) => true,
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
    fn alone(&self) -> bool {
        self.number.start == 0
            && matches!(self.number.after[0], b' ' | b'\n')
            && self.number.groups.len() == 1
    }

    /// A number in a national form, by what is said of it: it begins with 0 or is in several groups.
    fn national(&self) -> Option<usize> {
        let number = self.number;
        if self.left() == Side::Joined {
            return None;
        }
        let starts_zero = number.digits_of(self.first, self.first).first() == Some(&b'0');
        let (mut total, mut best) = (0, None);
        for last in self.first..number.groups.len().min(self.first + 6) {
            total += usize::from(self.len(last));
            if total > 11 || last > self.first && self.gap(last) == Some(Gap::Wide) {
                break;
            }
            let grouped = last > self.first && self.len(self.first) >= 3;
            let ends = self.right(last) != Side::Joined
                || last + 1 == number.groups.len() && number.extension.is_some();
            if ends && total >= 9 && (starts_zero || grouped) {
                best = Some(last);
            }
        }
        best.filter(|_| self.context(Detector::Phone) == Context::For)
    }
}
