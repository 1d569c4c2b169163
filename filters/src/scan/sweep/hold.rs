//! What is held back: how far back what is unfinished reaches; and the short way for pieces in which nothing begins.

use super::Sweep;
use super::open::{email_start, lowest_lead, units_back};
use super::run::{back_to, shorten};
use crate::scan::check::iban;
use crate::scan::machine::{MAX_IPV6, MAX_LED, in_ipv6, in_lead};
use crate::scan::number::{MAX_LEAD, lead};
use crate::scan::rules::Rules;
use crate::scan::trigger::{LANES, LEADS, NOT_HEX, NOT_LOCAL, SPECIAL, unfinished};
use crate::scan::units::{IDEOGRAPH, LETTER, NOTHING, View};
use crate::scan::{Action, Policy, email};

impl Sweep {
    /// Whether nothing but the end of what was read is held back, and nothing is swallowed.
    #[inline]
    pub(super) fn is_quiet(&self) -> bool {
        self.open.is_empty()
            && self.decided.is_empty()
            && !self.number.is_open()
            && self.acting.rest.is_none()
            && self.observing.rest.is_none()
            && !self.written.is_open()
    }

    /// Reads a short piece the short way: the same as `advance` and `settle` do where nothing is open before and after, as with
    /// most deltas of a stream. False: there is something to settle, or the piece was not read.
    #[inline]
    pub(super) fn glide(&mut self, rules: &Rules, policy: &Policy, view: &View<'_>) -> bool {
        if !self.is_quiet() {
            return false;
        }
        let piece = &view.text.as_bytes()[self.pos - view.base..];
        if piece.last().is_some_and(|byte| *byte >= 0x80) {
            return self.glide_wide(rules, policy, view);
        }
        let (enabled, accept) = (policy.reach.watch.enabled, policy.reach.watch.accept);
        let (mut state, mut seen, mut end) = (self.state, 0, self.pos);
        let (mut local, mut hex) = (self.local.start, self.hex.start);
        for byte in piece {
            end += 1;
            state = rules.triggers.step(state, *byte, enabled);
            seen |= state;
            local = if state & NOT_LOCAL == 0 { local } else { end };
            hex = if state & NOT_HEX == 0 { hex } else { end };
        }
        if seen & (accept | SPECIAL) == 0 {
            (self.state, self.pos) = (state, end);
        } else if seen & SPECIAL != 0 {
            return self.glide_wide(rules, policy, view);
        } else {
            self.advance(rules, policy, view);
            if !self.is_quiet() {
                return false;
            }
            hex = hex.max(self.ipv6_end.min(end));
        }
        self.keep(local, hex, rules, policy, view)
    }

    /// The same for a piece that is not all ASCII, or may hold an escape.
    #[inline(never)]
    fn glide_wide(&mut self, rules: &Rules, policy: &Policy, view: &View<'_>) -> bool {
        let escapes = policy.switches().decode;
        let (enabled, accept) = (policy.reach.watch.enabled, policy.reach.watch.accept);
        let (mut state, mut seen, mut end) = (self.state, 0, self.pos);
        let (mut local, mut hex) = (self.local.start, self.hex.start);
        for c in view.text[self.pos - view.base..].chars() {
            let byte = view.fold.unit(c);
            // How many of these may stand between two units, and whether this is an escape, is looked at elsewhere.
            if byte == NOTHING || byte == b'\\' || escapes.may_begin_with(byte) {
                return false;
            }
            end += c.len_utf8();
            state = rules.triggers.step(state, byte, enabled);
            seen |= state;
            local = if state & NOT_LOCAL == 0 { local } else { end };
            hex = if state & NOT_HEX == 0 { hex } else { end };
        }
        if seen & accept != 0 {
            return false;
        }
        (self.state, self.pos) = (state, end);
        self.keep(local, hex, rules, policy, view)
    }

    /// Keeps where the runs at the end begin, and holds back what is unfinished; nothing is open. False: a term was found.
    #[inline(always)]
    fn keep(
        &mut self,
        mut local: usize,
        mut hex: usize,
        rules: &Rules,
        policy: &Policy,
        view: &View<'_>,
    ) -> bool {
        let end = self.pos;
        if end - local > email::MAX_LOCAL {
            local = shorten(view, end, self.floor(end), email::MAX_LOCAL, email::in_local);
        }
        if end - hex > MAX_IPV6 {
            hex = shorten(view, end, self.ipv6_end.min(end), MAX_IPV6, in_ipv6);
        }
        self.local.set(local, end);
        self.hex.set(hex, end);
        if let Some(terms) = &mut self.terms {
            terms.read(rules, view, &mut self.decided);
        }
        (self.frontier, self.horizon) = self.held_end((end, end), policy, view);
        self.decided.is_empty()
    }

    /// Where the last key committed before `at`.
    #[inline]
    pub(super) fn floor(&self, at: usize) -> usize {
        self.floors.iter().copied().filter(|floor| *floor <= at).max().unwrap_or(0)
    }

    /// Computes frontier and horizon.
    pub(super) fn look_back(&mut self, policy: &Policy, view: &View<'_>) {
        let pos = self.pos;
        if policy.reach.runs.email != Action::Off || policy.reach.runs.lead != Action::Off {
            let floor = self.floor(pos);
            self.local.update(view, pos, floor, email::MAX_LOCAL, email::in_local);
        }
        if policy.reach.runs.ipv6 != Action::Off {
            self.hex.update(view, pos, self.ipv6_end.min(pos), MAX_IPV6, in_ipv6);
        }
        self.hold(policy, view);
        self.floors.retain(|floor| *floor + 1024 > pos);
    }

    /// Puts the frontier and the horizon at the first byte of what is unfinished.
    fn hold(&mut self, policy: &Policy, view: &View<'_>) {
        let pos = self.pos;
        let mut held = (pos, pos);
        for candidate in &self.open {
            if let Some(start) = candidate.start {
                hold(&mut held, start, policy.acts_on(candidate.rule));
            }
        }
        if self.number.is_open() {
            hold(&mut held, self.number.hold(), policy.reach.runs.number.acts());
        }
        if policy.reach.observes {
            // Triggers of rules that hold nothing, and what may lead to their marks: what is decided of others waits for what they
            // may open.
            let led = if policy.reach.runs.lead == Action::Off { 0 } else { MAX_LED };
            let reach = LANES + MAX_LEAD.max(led);
            hold(&mut held, units_back(view, pos, reach).unwrap_or(view.base), false);
        }
        (self.frontier, self.horizon) = self.held_end(held, policy, view);
    }

    /// Lowers frontier and horizon to what of the end may become a part of something although nothing is open.
    #[inline(always)]
    fn held_end(&self, mut held: (usize, usize), policy: &Policy, view: &View<'_>) -> (usize, usize) {
        let (watch, runs) = (&policy.reach.watch, &policy.reach.runs);
        if runs.email != Action::Off {
            let start = if self.state & SPECIAL == 0 { self.local.start } else { self.local_start(view) };
            hold(&mut held, start, runs.email.acts());
        }
        if runs.lead != Action::Off {
            hold(&mut held, self.lead_start(self.pos, self.local.start, view), runs.lead.acts());
        }
        if runs.ipv6 != Action::Off {
            hold(&mut held, self.hex.start, runs.ipv6.acts());
        }
        if self.state & watch.begun != 0 {
            self.hold_begun(&mut held, policy, view);
        }
        if let Some(terms) = &self.terms {
            terms.hold(|from, acts| hold(&mut held, from, acts));
        }
        held
    }

    /// Where a key may have begun whose mark stands at `at` or comes there; from `near` on all are of its characters.
    #[inline]
    fn lead_start(&self, at: usize, near: usize, view: &View<'_>) -> usize {
        match view.text.as_bytes()[..near - view.base].last() {
            Some(byte) if !byte.is_ascii() || in_lead(*byte) => {
                let (floor, lowest) = (self.floor(at), lowest_lead(at, self.pos));
                // In ASCII every byte is a unit.
                let walked = view.raw(near, at).is_ascii().then_some(at - near);
                match walked.and_then(|units| MAX_LED.checked_sub(units)) {
                    Some(left) => back_to(view, near, floor.max(lowest), left, in_lead),
                    None => back_to(view, at, floor.max(lowest), MAX_LED, in_lead).min(near),
                }
            }
            _ => near,
        }
    }

    /// Where a key may have begun of whose mark the last units, at most `longest`, are the beginning.
    fn unfinished_mark(&self, policy: &Policy, view: &View<'_>, longest: usize) -> usize {
        let (mut start, mut at, mut packed) = (self.pos, self.pos, 0);
        for shift in 0..longest {
            let Some(unit) = view.prev(at) else { break };
            at = unit.start;
            packed |= u64::from(unit.byte) << (8 * shift);
            if policy.reach.marks.binary_search(&packed).is_ok() {
                // The run behind it was walked already, where it goes on over the mark.
                start = start.min(self.lead_start(at, self.local.start.min(at), view));
            }
        }
        start
    }

    /// Where an address may have begun whose `@` comes next.
    #[inline(never)]
    fn local_start(&self, view: &View<'_>) -> usize {
        match view.prev(self.pos) {
            Some(unit) if unit.byte == IDEOGRAPH => email_start(view, self.pos, self.floor(self.pos)),
            _ => self.local.start,
        }
    }

    /// Lowers them to what a trigger may have begun with.
    #[inline(never)]
    fn hold_begun(&self, held: &mut (usize, usize), policy: &Policy, view: &View<'_>) {
        let pos = self.pos;
        let (watch, runs) = (&policy.reach.watch, &policy.reach.runs);
        if self.state & (watch.numbers | LEADS) != 0 && runs.number != Action::Off && !self.number.is_open() {
            let digit = units_back(view, pos, unfinished(self.state, watch.numbers)).unwrap_or(pos);
            hold(held, lead(view, digit.max(self.number.at), self.number.at), runs.number.acts());
        }
        let account = unfinished(self.state, watch.accounts);
        if account > 0 {
            hold(held, unfinished_account(view, pos, account), true);
        }
        let others = unfinished(self.state, watch.others);
        if others > 0 {
            hold(held, units_back(view, pos, others).unwrap_or(pos), true);
        }
        let longest = unfinished(self.state, watch.prefixes);
        let marked = unfinished(self.state, watch.marks);
        if marked > 0 {
            hold(held, self.unfinished_mark(policy, view, marked), true);
        }
        // Mostly it lies inside of what is held anyway.
        if longest > 0 && units_back(view, pos, longest).is_none_or(|from| from < held.0) {
            hold(held, unfinished_prefix(policy, view, pos, longest), true);
        }
    }
}

/// Lowers the frontier, if what begins at `from` acts, and the horizon.
#[inline]
fn hold((frontier, horizon): &mut (usize, usize), from: usize, acts: bool) {
    *horizon = from.min(*horizon);
    if acts {
        *frontier = from.min(*frontier);
    }
}

/// Where an account may have begun of which the last units, so many, are the beginning: two letters are a country's, or none's.
fn unfinished_account(view: &View<'_>, pos: usize, units: usize) -> usize {
    let Some(start) = units_back(view, pos, units) else { return pos };
    let head = view.next(start).and_then(|first| Some([first.byte, view.next(first.end)?.byte]));
    if units >= 2 && head.is_some_and(|head| !iban::is_country(head)) { pos } else { start }
}

/// Where a prefix may have begun of which the last units, at most `longest`, are the beginning.
fn unfinished_prefix(policy: &Policy, view: &View<'_>, pos: usize, longest: usize) -> usize {
    let (mut start, mut at, mut packed) = (pos, pos, 0);
    for shift in 0..longest {
        let Some(unit) = view.prev(at) else { break };
        at = unit.start;
        packed |= u64::from(unit.byte) << (8 * shift);
        if policy.reach.beginnings.binary_search(&packed).is_ok() {
            let before = view.border_unit(at);
            if !before.is_some_and(|unit| unit.is_ascii_alphanumeric() || unit == LETTER) {
                start = at;
            }
        }
    }
    start
}
