//! Candidates: read on until they are decided, then judged.

use super::settle::Decided;
use super::{Candidate, MAX_RAW_PER_UNIT, Sweep};
use crate::scan::Policy;
use crate::scan::machine::{Machine, Rest, Step, Text};
use crate::scan::number::Judge;
use crate::scan::rules::Rules;
use crate::scan::units::{Most, View};

impl Sweep {
    pub(super) fn resume(&mut self, rules: &Rules, policy: &Policy, view: &View<'_>) {
        if self.number.is_open() {
            let (decided, overran) = (&mut self.decided, &mut self.overran);
            self.number.run(view, &mut Judge { rules, policy, decided, overran });
        }
        let mut i = 0;
        while i < self.open.len() {
            let mut candidate = self.open.swap_remove(i);
            if self.read(&mut candidate, rules, policy, view) {
                self.open.push(candidate);
                let last = self.open.len() - 1;
                self.open.swap(i, last);
                i += 1;
            }
        }
    }

    /// Starts a candidate: it reads what is there, and stays open if that does not decide it.
    pub(super) fn start(
        &mut self,
        mut candidate: Candidate,
        rules: &Rules,
        policy: &Policy,
        view: &View<'_>,
    ) {
        if self.read(&mut candidate, rules, policy, view) {
            self.open.push(candidate);
        }
    }

    /// Reads on; true while undecided.
    fn read(&mut self, candidate: &mut Candidate, rules: &Rules, policy: &Policy, view: &View<'_>) -> bool {
        let bytes = MAX_RAW_PER_UNIT * rules.max_hold(candidate.rule);
        let most = Most { bytes, raw: policy.reach.most_raw };
        // It begins no earlier later on.
        let short = view.short_to(candidate.start.unwrap_or(candidate.anchor), most);
        loop {
            let unit = view.next(candidate.at);
            let next = unit.map_or(view.end, |unit| unit.start);
            if next > short && self.is_too_long(candidate, next, most, policy, view) {
                self.forget(candidate);
                return false;
            }
            let Some(unit) = unit else { return true };
            let step = candidate.machine.feed(unit.byte, rules);
            match step {
                Step::More => {}
                Step::Mark | Step::Committed(_) => candidate.mark = Some(unit.end),
                Step::MarkBefore => candidate.mark = Some(candidate.at),
                Step::Begin => {
                    candidate.start = Some(unit.start);
                    candidate.mark = Some(unit.end);
                }
                Step::Pause => candidate.core = candidate.core.or(candidate.mark),
                Step::Ended | Step::EndedHere => {
                    if step == Step::EndedHere {
                        candidate.mark = Some(candidate.at);
                    }
                    self.judge(candidate, None, rules, policy, view);
                    self.forget(candidate);
                    return false;
                }
            }
            candidate.at = unit.end;
            if let Step::Committed(rest) = step {
                self.judge(candidate, Some(rest), rules, policy, view);
                self.forget(candidate);
                return false;
            }
        }
    }

    /// Whether a candidate spans more raw bytes, up to `next`, than its rule's units can. Then as much as they can is found.
    fn is_too_long(
        &mut self,
        candidate: &Candidate,
        next: usize,
        most: Most,
        policy: &Policy,
        view: &View<'_>,
    ) -> bool {
        if !view.is_longer(candidate.start.unwrap_or(candidate.anchor), next, most) {
            return false;
        }
        if let Some(start) = candidate.start {
            self.overran |= policy.acts_on(candidate.rule);
            self.decided.push(Decided::whole(candidate.rule, start, view.reach(start, most)));
        }
        true
    }

    /// Keeps what later triggers must know of a candidate that is gone.
    fn forget(&mut self, candidate: &Candidate) {
        match &candidate.machine {
            Machine::Ipv6 { .. } => self.ipv6_end = self.ipv6_end.max(candidate.at),
            Machine::Assignment(assignment) if assignment.has_value() => {
                let end = candidate.core.unwrap_or(candidate.at);
                let at = self.values.partition_point(|(_, other)| *other <= end);
                self.values.insert(at, (candidate.start.unwrap_or(candidate.at), end));
            }
            _ => {}
        }
    }

    /// Asks whether what a candidate has read is a value.
    pub(super) fn judge(
        &mut self,
        candidate: &Candidate,
        rest: Option<Rest>,
        rules: &Rules,
        policy: &Policy,
        view: &View<'_>,
    ) {
        let (Some(start), Some(end)) = (candidate.start, candidate.mark) else { return };
        self.units.clear();
        self.ends.clear();
        let mut at = start;
        let mut first = start;
        while at < end {
            let Some(unit) = view.next(at) else { break };
            if self.units.is_empty() {
                first = unit.start;
            }
            self.units.push(unit.byte);
            self.ends.push(unit.end);
            at = unit.end;
        }
        let text = Text {
            units: &self.units,
            before: view.border_unit(start),
            farther: view.prev(start).and_then(|unit| view.prev(unit.start)).map(|unit| unit.byte),
            next: if rest.is_some() { None } else { view.next(end).map(|unit| unit.byte) },
        };
        let Some((from, to)) = candidate.machine.judge(candidate.rule, text, rules, policy) else { return };
        if from >= to || !rules.is_in_context(candidate.rule, view, start) {
            return;
        }
        let begin = if from == 0 { first } else { self.after_gap(from, view) };
        let end = self.ends[to - 1];
        self.decided.push(Decided { rest, ..Decided::whole(candidate.rule, begin, end) });
        if rest.is_some() {
            self.floors.push(end);
        }
    }

    /// Raw offset of a judged unit: past what prints nothing behind the one before.
    fn after_gap(&self, unit: usize, view: &View<'_>) -> usize {
        let before = self.ends[unit - 1];
        view.next(before).map_or(before, |unit| unit.start)
    }
}
