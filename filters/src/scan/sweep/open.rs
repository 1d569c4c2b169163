//! Where triggers open candidates.

use super::run::back;
use super::{Candidate, MAX_RAW_PER_UNIT, Sweep, UNITS_OF_A_NUMBER};
use crate::scan::check::iban;
use crate::scan::machine::{
    Assignment, Ipv6Part, Jwt, Key, Lead, MAX_IPV6, MAX_LED, Machine, Pattern, Pem, Url, in_ipv6,
};
use crate::scan::number::Judge;
use crate::scan::rules::{Detector, LeadForm, Opens, RuleId, Rules, Start};
use crate::scan::trigger::{Bucket, LANES, SHOWN};
use crate::scan::units::{IDEOGRAPH, LETTER, View, is_word};
use crate::scan::{Policy, email};

impl Sweep {
    /// Asks a bucket's rules whether something begins; its pattern is complete with the unit at `at`.
    pub(super) fn open_at(
        &mut self,
        bucket: Bucket,
        rules: &Rules,
        policy: &Policy,
        view: &View<'_>,
        at: usize,
    ) {
        // Each by itself: what all of them need to begin would be done for each.
        match bucket {
            Bucket::Email => self.open_email(rules, policy, view, at),
            Bucket::Number => self.open_number(rules, policy, view, at),
            Bucket::Ipv6 => self.open_ipv6(rules, policy, view, at),
            Bucket::Iban => self.open_iban(rules, policy, view, at),
            Bucket::Pattern => self.open_patterns(rules, policy, view, at),
            _ => self.open_prefixed(bucket, rules, policy, view, at),
        }
    }

    #[inline(never)]
    fn open_email(&mut self, rules: &Rules, policy: &Policy, view: &View<'_>, at: usize) {
        let Some(rule) = rules.detector(Detector::Email).filter(|rule| policy.looks_for(*rule)) else {
            return;
        };
        let Some(after) = view.next(at).map(|unit| unit.end) else { return };
        let floor = self.floor(at);
        let start = view.after_written(email_start(view, at, floor), at);
        if start < at {
            let machine = Machine::Email { units: 0, label: 0, ideographs: false };
            self.start(candidate(rule, machine, start, after), rules, policy, view);
        }
    }

    #[inline(never)]
    fn open_number(&mut self, rules: &Rules, policy: &Policy, view: &View<'_>, at: usize) {
        let Some(digit) = units_back(view, at, UNITS_OF_A_NUMBER) else { return };
        if digit < self.number.at {
            return;
        }
        let floor = self.number.at;
        if self.number.skip_short(view, digit) {
            return;
        }
        self.number.begin(view, digit, floor);
        let (decided, overran) = (&mut self.decided, &mut self.overran);
        self.number.run(view, &mut Judge { rules, policy, decided, overran });
    }

    #[inline(never)]
    fn open_ipv6(&mut self, rules: &Rules, policy: &Policy, view: &View<'_>, at: usize) {
        let Some(rule) = rules.detector(Detector::Ipv6).filter(|rule| policy.looks_for(*rule)) else {
            return;
        };
        let reading = self.open.iter().any(|open| matches!(open.machine, Machine::Ipv6 { .. }));
        if at < self.ipv6_end || reading {
            return;
        }
        let Some(after) = view.next(at).map(|unit| unit.end) else { return };
        let mut start = view.after_written(back(view, after, self.ipv6_end, MAX_IPV6, in_ipv6), after);
        match view.border_unit(start) {
            // `IPv6:2001:db8::1`: a word ends in what may stand in an address.
            Some(unit) if is_word(unit) => match colon(view, start, at) {
                Some(colon) => start = colon,
                None => return,
            },
            Some(b'.' | b':' | b'-') => return,
            _ => {}
        }
        // `地址：2001:db8::1`; what is behind the unit at `at` may not have been read yet.
        if let Some(first) = view.next(start).filter(|unit| unit.byte == b':' && unit.start < at)
            && view.next(first.end).is_some_and(|unit| unit.byte != b':')
        {
            start = first.end;
        }
        let machine = Machine::Ipv6 { units: 0, part: Ipv6Part::Groups };
        self.start(candidate(rule, machine, start, start), rules, policy, view);
    }

    #[inline(never)]
    fn open_iban(&mut self, rules: &Rules, policy: &Policy, view: &View<'_>, at: usize) {
        let Some(rule) = rules.detector(Detector::Iban).filter(|rule| policy.looks_for(*rule)) else {
            return;
        };
        let Some((start, units)) = last_units(view, at, 4) else { return };
        if !iban::is_country([units[0], units[1]]) {
            return;
        }
        let machine = Machine::Iban { head: [0; 2], taken: 0, len: 0, gap: false };
        self.start(candidate(rule, machine, start, start), rules, policy, view);
    }

    #[inline(never)]
    fn open_patterns(&mut self, rules: &Rules, policy: &Policy, view: &View<'_>, at: usize) {
        // The unit before the match is the first of the trigger.
        let Some(start) = units_back(view, at, rules.triggers.len(Bucket::Pattern).saturating_sub(2)) else {
            return;
        };
        let before = view.border_unit(start);
        for (automaton, rule) in (0_u16..).zip(&rules.patterns) {
            if policy.looks_for(*rule)
                && let Some(pattern) = Pattern::new(automaton, before, rules)
            {
                self.start(candidate(*rule, Machine::Pattern(pattern), start, start), rules, policy, view);
            }
        }
    }

    /// Opens what begins with the units that a trigger has read.
    #[inline(never)]
    fn open_prefixed(&mut self, bucket: Bucket, rules: &Rules, policy: &Policy, view: &View<'_>, at: usize) {
        let Some(read) = bucket.shown() else { return };
        let Some((start, units)) = last_units(view, at, read) else { return };
        let end = view.next(at).map_or(at, |unit| unit.end);
        for opens in rules.starts.of(&units[..read]).filter(|start| start.bucket == bucket) {
            let prefix = &rules.keys[usize::from(opens.key)].prefix[..read];
            let same = match opens.opens {
                Opens::Assignment => prefix.eq_ignore_ascii_case(&units[..read]),
                _ => *prefix == units[..read],
            };
            let led = rules.keys[usize::from(opens.key)].lead.is_some();
            if same && policy.looks_for(opens.rule) && (led || begins(opens, view, start)) {
                self.open_start(opens, rules, policy, view, (start, end), &units[..read]);
            }
        }
    }

    /// `read`: end of what its trigger has read, which are these units.
    fn open_start(
        &mut self,
        opens: &Start,
        rules: &Rules,
        policy: &Policy,
        view: &View<'_>,
        (start, read): (usize, usize),
        units: &[u8],
    ) {
        let key = opens.key;
        if let Some(lead) = &rules.keys[usize::from(key)].lead {
            return self.open_led(lead, opens, rules, policy, view, (start, read));
        }
        let machine = match opens.opens {
            Opens::Key => Machine::Key(Key { key, matched: 0, body: 0, led: 0 }),
            Opens::Jwt => Machine::Jwt(Jwt::default()),
            Opens::Pem => Machine::Pem(Pem::default()),
            Opens::Url => Machine::Url(Url::new(key)),
            Opens::Assignment => {
                let far = view.prev(start).and_then(|near| view.prev(near.start));
                let lead = Lead::of(view.border_unit(start), far.map(|unit| unit.byte));
                Machine::Assignment(Assignment::new(key, lead, units))
            }
        };
        let mut candidate = candidate(opens.rule, machine, start, start);
        if opens.opens == Opens::Assignment {
            if self.is_in_value(start) {
                return;
            }
            (candidate.start, candidate.at) = (None, read);
        }
        if opens.opens == Opens::Key && rules.keys[usize::from(key)].label {
            candidate.start = None;
        }
        self.start(candidate, rules, policy, view);
    }

    /// Opens a key at the mark in the middle of it: it begins before.
    #[inline(never)]
    fn open_led(
        &mut self,
        lead: &LeadForm,
        opens: &Start,
        rules: &Rules,
        policy: &Policy,
        view: &View<'_>,
        (mark, read): (usize, usize),
    ) {
        // What is held for a mark that may come reaches no further back.
        let lowest = lowest_lead(mark, read);
        let floor = self.floor(mark).max(lowest);
        let (mut start, mut led) = (mark, 0);
        while usize::from(led) < lead.max
            && let Some(unit) = view.prev(start)
            && lead.class[usize::from(unit.byte)]
            && unit.start >= floor
        {
            (start, led) = (unit.start, led + 1);
        }
        if usize::from(led) >= lead.min {
            let machine = match opens.opens {
                Opens::Url => Machine::Url(Url::new(opens.key)),
                _ => Machine::Key(Key { key: opens.key, matched: 0, body: 0, led }),
            };
            self.start(candidate(opens.rule, machine, start, mark), rules, policy, view);
        }
    }

    /// Whether `at` lies inside of an assigned value.
    fn is_in_value(&self, at: usize) -> bool {
        let reading = self.open.iter().any(|open| match &open.machine {
            Machine::Assignment(assignment) => {
                assignment.has_value()
                    && open.start.is_some_and(|start| start <= at)
                    && open.core.is_none_or(|core| at < core)
            }
            _ => false,
        });
        let mut read = self.values.iter().rev().take_while(|(_, end)| *end > at);
        reading || read.any(|(start, _)| *start <= at)
    }
}

/// Where what stands behind the first colon from `start` on begins, if another follows before the unit at `at`, and if no clock
/// stands there: `T12:30:45`.
fn colon(view: &View<'_>, start: usize, at: usize) -> Option<usize> {
    let (mut reading, mut digits, mut first) = (start, 0, None);
    while let Some(unit) = view.next(reading).filter(|unit| unit.start < at) {
        match unit.byte {
            b':' if first.is_some() => return first,
            b':' if digits == 2 => return None,
            b':' => first = Some(unit.end),
            unit => digits = if unit.is_ascii_digit() { digits + 1 } else { 0 },
        }
        reading = unit.end;
    }
    None
}

/// The first raw offset at which a key may begin whose mark stands at `mark`, and of which was read up to `read`: as many bytes
/// as its lead and what its trigger reads of the mark may have together, so that stretching either does not add up.
pub(super) fn lowest_lead(mark: usize, read: usize) -> usize {
    let led = mark.saturating_sub(MAX_RAW_PER_UNIT * MAX_LED);
    led.max(read.saturating_sub(MAX_RAW_PER_UNIT * (MAX_LED + SHOWN[0])))
}

/// Where an address begins whose `@` stands at `at`: a run of local-part characters, or a few ideographs.
pub(super) fn email_start(view: &View<'_>, at: usize, floor: usize) -> usize {
    match view.prev(at) {
        Some(unit) if unit.byte == IDEOGRAPH => {
            back(view, at, floor, email::MAX_IDEOGRAPHS, |unit| unit == IDEOGRAPH)
        }
        _ => back(view, at, floor, email::MAX_LOCAL, email::in_local),
    }
}

/// Whether a prefix may begin at `at`, by the unit before it.
fn begins(start: &Start, view: &View<'_>, at: usize) -> bool {
    if start.opens == Opens::Assignment {
        return true;
    }
    match view.border_unit(at) {
        None => true,
        Some(b'_' | b'-') => start.opens != Opens::Jwt,
        Some(unit) => !unit.is_ascii_alphanumeric() && unit != LETTER,
    }
}

fn candidate(rule: RuleId, machine: Machine, start: usize, at: usize) -> Candidate {
    Candidate { rule, machine, start: Some(start), anchor: start, at, mark: None, core: None }
}

/// The last units up to the one at `at`, and where they begin.
#[inline]
fn last_units(view: &View<'_>, at: usize, count: usize) -> Option<(usize, [u8; LANES])> {
    let mut units = [0; LANES];
    let end = at + 1 - view.base;
    if let Some(raw) = end.checked_sub(count).map(|start| &view.text.as_bytes()[start..end])
        && raw.is_ascii()
    {
        units[..count].copy_from_slice(raw);
        return Some((at + 1 - count, units));
    }
    let start = units_back(view, at, count - 1)?;
    let (mut last, mut reading) = (start, start);
    for slot in &mut units[..count] {
        let unit = view.next(reading)?;
        *slot = unit.byte;
        (last, reading) = (unit.start, unit.end);
    }
    // Backwards, too much that prints nothing is a border; forwards it is passed over.
    (last == at).then_some((start, units))
}

/// Raw offset of the unit `count` units before the one at `at`.
#[inline]
pub(super) fn units_back(view: &View<'_>, at: usize, count: usize) -> Option<usize> {
    (0..count).try_fold(at, |at, _| view.prev(at).map(|unit| unit.start))
}
