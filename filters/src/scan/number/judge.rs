//! What a run of digit groups is: an address, a social security number, a card, a phone number, or none of ours.

use super::{Gap, Number};
use crate::scan::address;
use crate::scan::rules::{Context, Detector, Nearness, Rules};
use crate::scan::sweep::Decided;
use crate::scan::units::{View, is_word};
use crate::scan::{Policy, RuleId};

mod card;
mod ipv4;
mod phone;
mod ssn;

/// Asks the number rules of a policy, and collects what they find.
#[derive(Debug)]
pub(in crate::scan) struct Judge<'r, 'd> {
    pub(in crate::scan) rules: &'r Rules,
    pub(in crate::scan) policy: &'r Policy,
    pub(in crate::scan) decided: &'d mut Vec<Decided>,
    /// Set where a number of a rule that acts went on past the bytes that it may have.
    pub(in crate::scan) overran: &'d mut bool,
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
            start = lead_of(number, view);
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
        let before = self.decided.len();
        self.take_for([Detector::Card, Detector::Ssn, Detector::Phone, Detector::Ipv4], start, end);
        *self.overran |= self.decided.len() > before;
    }

    /// Takes a number for a finding that would have gone on.
    pub(super) fn cut_short(&mut self, number: &Number, start: usize, end: usize) {
        let dotted = number.groups.iter().skip(1).all(|group| group.gap == Gap::Dot);
        let likeliest = match number.groups.len() {
            _ if number.plus || number.open => Detector::Phone,
            3.. if dotted => Detector::Ipv4,
            1 => Detector::Card,
            _ if number.groups[0].len == 4 => Detector::Card,
            _ => Detector::Phone,
        };
        self.take_for([likeliest, Detector::Card, Detector::Phone, Detector::Ssn], start, end);
    }

    fn take_for(&mut self, rules: [Detector; 4], start: usize, end: usize) {
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

/// Where a phone number begins: a bracket that closes elsewhere only stands around it.
fn lead_of(number: &Number, view: &View<'_>) -> usize {
    let mut start = number.start;
    if number.groups.get(1).is_some_and(|group| group.gap == Gap::Close) {
        return start;
    }
    while let Some(unit) = view.next(start).filter(|unit| unit.byte == b'(') {
        start = view.next(unit.end).map_or(unit.end, |unit| unit.start);
    }
    start
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

    /// How close the word for it stands before the first group.
    fn nearness(&self, rule: Detector) -> Nearness {
        let Some(rule) = self.rules.detector(rule) else { return Nearness::Far };
        self.rules.nearness(rule, self.view, self.number.groups[self.first].start)
    }

    /// What stands before the first group.
    fn left(&self) -> Side {
        let number = self.number;
        if self.first > 0 {
            return match number.groups[self.first].gap {
                _ if number.follows_finding => Side::Free,
                Gap::Close if self.numbers_a_list() => Side::Free,
                Gap::Space | Gap::Wide | Gap::Open => Side::Number,
                _ => Side::Joined,
            };
        }
        let [near, far, farther] = number.before;
        match near {
            // The rest of an amount, perhaps; in a list more than spaces would stand between the groups.
            b',' if far.is_ascii_digit() && self.len(self.first) == 3 => match self.gap(self.first + 1) {
                None => Side::Joined,
                Some(Gap::Space) => Side::Number,
                Some(_) => Side::Free,
            },
            // The minutes or seconds of a clock.
            b':' if far.is_ascii_digit() && self.len(self.first) <= 2 => Side::Joined,
            // Set in bold or italics, not multiplied.
            b'*' if !ends_operand(if far == b'*' { farther } else { far }) => Side::Free,
            b'_' if !ends_operand(if far == b'_' { farther } else { far }) => Side::Free,
            b'-' | b'.' | b'/' | b'\\' | b'$' | b'%' | b'#' | b'&' | b'^' | b'~' | b'*' => Side::Joined,
            _ if is_word(near) => Side::Joined,
            _ if number.plus => Side::Joined,
            _ => Side::Free,
        }
    }

    /// The same for a rule whose words stand before it: `SSN#219-09-9998`.
    fn left_of(&self, rule: Detector) -> Side {
        let hash = self.first == 0 && self.number.before[0] == b'#';
        if hash && self.context(rule) == Context::For { Side::Free } else { self.left() }
    }

    /// `212-555-0123/212-555-0124`: what follows the slash begins as this did.
    fn is_followed_by_another(&self, last: usize) -> bool {
        self.gap(last + 1) == Some(Gap::Slash) && self.len(last + 1) == self.len(self.first)
    }

    /// `1) 219-09-9998`: what stands before is the item's number, with nothing before it.
    fn numbers_a_list(&self) -> bool {
        self.first == 1 && self.gap(0) == Some(Gap::None) && !self.number.open && self.len(0) <= 2
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
            // The end of italics, not a part of a name.
            b'_' if far == b'_' || !is_word(far) => Side::Free,
            // The hours or minutes of a clock.
            b':' if far.is_ascii_digit() && self.len(last) <= 2 => Side::Joined,
            _ if is_word(near) => Side::Joined,
            _ => Side::Free,
        }
    }

    /// Whether a date stands in the groups up to `last`: `2024-06-15`, `15.06.2024`, `6/15/2024`.
    fn holds_date(&self, last: usize) -> bool {
        (self.first..last.saturating_sub(1)).any(|group| {
            let gap = self.gap(group + 1);
            let number = |group: usize| {
                self.number.digits_of(group, group).iter().fold(0_u32, |n, d| n * 10 + u32::from(d - b'0'))
            };
            let is_year = |group| self.len(group) == 4 && (1900..2100).contains(&number(group));
            let is_day = |group| self.len(group) <= 2 && (1..=31).contains(&number(group));
            let is_month = |group| is_day(group) && number(group) <= 12;
            let [one, two, three] = [group, group + 1, group + 2];
            matches!(gap, Some(Gap::Dash | Gap::Dot | Gap::Slash))
                && self.gap(three) == gap
                && (is_year(one) && is_month(two) && is_day(three)
                    || is_year(three) && (is_month(one) && is_day(two) || is_day(one) && is_month(two)))
        })
    }

    fn found(&self, rule: Detector, last: usize) -> Option<Verdict> {
        Some(Verdict { last, end: None, rule, exempt: false })
    }
}

/// Whether an operator may follow this unit.
fn ends_operand(unit: u8) -> bool {
    is_word(unit) || matches!(unit, b')' | b']')
}
