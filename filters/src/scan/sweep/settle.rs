//! Settling: what is decided takes effect from left to right, once nothing that begins before it can be found any more.

use super::Sweep;
use crate::scan::Policy;
use crate::scan::machine::{Rest, Swallowed};
use crate::scan::rules::{Found, RuleId, Rules};
use crate::scan::units::View;

/// A finding that is not settled.
#[derive(Debug, Clone)]
pub(in crate::scan) struct Decided {
    pub(super) rule: RuleId,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) rest: Option<Rest>,
}

impl Decided {
    pub(in crate::scan) fn whole(rule: RuleId, start: usize, end: usize) -> Decided {
        Decided { rule, start, end, rest: None }
    }
}

/// Who is told of what is settled.
pub(in crate::scan) trait Sink {
    /// A finding of a rule that acts, in order; false: stop here.
    fn act(&mut self, found: Found) -> bool;
    /// The last finding that acts goes on up to `end`.
    fn extend(&mut self, end: usize);
    /// A finding that is only recorded.
    fn observe(&mut self, found: Found);
}

/// Findings of a whole text.
#[derive(Debug)]
pub(in crate::scan) struct Whole<'f> {
    found: &'f mut Vec<Found>,
    last: Option<usize>,
}

impl<'f> Whole<'f> {
    pub(in crate::scan) fn new(found: &'f mut Vec<Found>) -> Whole<'f> {
        Whole { found, last: None }
    }
}

impl Sink for Whole<'_> {
    fn act(&mut self, found: Found) -> bool {
        self.last = Some(self.found.len());
        self.found.push(found);
        true
    }

    fn extend(&mut self, end: usize) {
        if let Some(last) = self.last {
            self.found[last].span.end = end;
        }
    }

    fn observe(&mut self, found: Found) {
        self.found.push(found);
    }
}

/// The settled findings of one sort, those that act or those that do not.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// End of the last one.
    end: usize,
    /// What of it is still being swallowed.
    pub(super) rest: Option<Rest>,
}

impl Settled {
    /// Swallows up to the end of the view.
    fn swallow(&mut self, rules: &Rules, view: &View<'_>) {
        while let Some(rest) = &mut self.rest {
            // What prints nothing goes with the run: it needs not be held until the next character is seen.
            let Some(unit) = view.next(self.end) else {
                self.end = view.end;
                return;
            };
            self.end = unit.start;
            match rest.take(unit.byte, rules) {
                Swallowed::Yes => self.end = unit.end,
                Swallowed::Last => {
                    self.end = unit.end;
                    self.rest = None;
                }
                Swallowed::No => self.rest = None,
            }
        }
    }
}

impl Sweep {
    pub(super) fn settle_to(
        &mut self,
        frontier: usize,
        horizon: usize,
        rules: &Rules,
        policy: &Policy,
        view: &View<'_>,
        sink: &mut impl Sink,
    ) -> bool {
        if self.acting.rest.is_some() {
            let before = self.acting.end;
            self.acting.swallow(rules, view);
            self.acted.push((before, self.acting.end));
            sink.extend(self.acting.end);
        }
        self.observing.swallow(rules, view);
        if self.decided.is_empty() {
            self.acted.retain(|(_, end)| *end > horizon);
            return true;
        }
        self.decided.sort_by_key(|d| (d.start, d.rest.is_none(), std::cmp::Reverse(d.end), d.rule));
        let mut decided = std::mem::take(&mut self.decided);
        let mut go_on = true;
        decided.retain(|d| {
            let acts = policy.acts_on(d.rule);
            if !go_on || acts && d.start >= frontier {
                return true;
            }
            if acts {
                go_on = self.settle_acting(d, rules, policy, view, sink);
            }
            !acts
        });
        // In order: one that must wait lets none behind it pass.
        let mut blocked = false;
        decided.retain(|d| {
            if policy.acts_on(d.rule) {
                return true;
            }
            blocked |= d.start >= horizon || d.end > frontier;
            if !blocked {
                self.settle_observing(d, rules, policy, view, sink);
            }
            blocked
        });
        self.decided = decided;
        let waiting = self.decided.iter().map(|d| d.start).fold(horizon, usize::min);
        self.acted.retain(|(_, end)| *end > waiting);
        go_on
    }

    fn settle_acting(
        &mut self,
        d: &Decided,
        rules: &Rules,
        policy: &Policy,
        view: &View<'_>,
        sink: &mut impl Sink,
    ) -> bool {
        if d.end <= self.acting.end {
            return true;
        }
        let start = d.start.max(self.acting.end);
        self.acting = Settled { end: d.end, rest: d.rest };
        let go_on = sink.act(rules.found(policy, d.rule, start..d.end, d.end - start));
        if d.rest.is_some() {
            self.acting.swallow(rules, view);
            sink.extend(self.acting.end);
        }
        self.acted.push((start, self.acting.end));
        go_on
    }

    fn settle_observing(
        &mut self,
        d: &Decided,
        rules: &Rules,
        policy: &Policy,
        view: &View<'_>,
        sink: &mut impl Sink,
    ) {
        let overlaps = self.acted.iter().any(|(start, end)| d.start < *end && *start < d.end);
        if d.start < self.observing.end || overlaps {
            return;
        }
        sink.observe(rules.found(policy, d.rule, d.start..d.end, d.end - d.start));
        self.observing = Settled { end: d.end, rest: d.rest };
        self.observing.swallow(rules, view);
    }
}
