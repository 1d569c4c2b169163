//! Settling: what is decided takes effect from left to right, once nothing that begins before it can be found any more.

use std::ops::Range;

use super::Sweep;
use crate::scan::escape::Decoded;
use crate::scan::machine::{Rest, Swallowed};
use crate::scan::rules::{Found, RuleId, Rules, Scanned};
use crate::scan::units::View;
use crate::scan::{Escapes, Policy};

/// A finding that is not settled.
#[derive(Debug, Clone)]
pub(in crate::scan) struct Decided {
    pub(super) rule: RuleId,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) rest: Option<Rest>,
    /// Where it ends in the decoded text, if it was found there.
    pub(super) decoded: Option<usize>,
}

impl Decided {
    pub(in crate::scan) fn whole(rule: RuleId, start: usize, end: usize) -> Decided {
        Decided { rule, start, end, rest: None, decoded: None }
    }

    /// Whether this is a finding, whatever it overlaps, as the sink learns: not a stand-in that came back. Of what goes on nobody
    /// knows yet what it is.
    fn is_one(&self, rules: &Rules, policy: &Policy, views: &Views<'_>, sink: &mut impl Sink) -> bool {
        let text = views.raw.raw(self.start, self.end);
        if self.rest.is_none()
            && let Some(number) = rules.stand_in_number(self.rule, &self.escapes(policy).decode(text))
        {
            sink.stand_in(self.rule, number);
            return false;
        }
        sink.demand(self.rule, self.start..self.end);
        true
    }

    /// Escapes that were looked through to find it.
    fn escapes(&self, policy: &Policy) -> Escapes {
        if self.decoded.is_some() { policy.switches().decode } else { Escapes::NONE }
    }
}

/// The text as it is, and what it stands for where that is read as well.
#[derive(Debug, Clone, Copy)]
pub(super) struct Views<'a> {
    pub(super) raw: View<'a>,
    pub(super) decoded: Option<(View<'a>, &'a Decoded)>,
}

/// Who is told of what is settled.
pub(in crate::scan) trait Sink {
    /// A finding of a rule that acts, in order; false: stop here.
    fn act(&mut self, found: Found) -> bool;
    /// The last finding that acts goes on up to `end`, and may go on from there; false: stop here.
    fn extend(&mut self, end: usize, goes_on: bool) -> bool;
    /// A finding that is only recorded; it may go on.
    fn observe(&mut self, found: Found, goes_on: bool);
    /// The last finding that is only recorded goes on up to `end`, and may go on from there.
    fn extend_observed(&mut self, end: usize, goes_on: bool);
    /// A rule has found something, even if nothing else is said of it since it overlaps another finding.
    fn demand(&mut self, rule: RuleId, span: Range<usize>);
    /// What a rule has found is a stand-in that came back, with the number that it bears.
    fn stand_in(&mut self, rule: RuleId, number: u32);
}

/// Findings of a whole text.
#[derive(Debug)]
pub(in crate::scan) struct Whole<'f> {
    found: &'f mut Vec<Found>,
    last: Option<usize>,
    last_observed: Option<usize>,
    beside: Scanned,
    policy: &'f Policy,
}

impl<'f> Whole<'f> {
    pub(in crate::scan) fn new(policy: &'f Policy, found: &'f mut Vec<Found>) -> Whole<'f> {
        Whole { found, last: None, last_observed: None, beside: Scanned::default(), policy }
    }

    /// What was told beside the findings.
    pub(in crate::scan) fn into_beside(self) -> Scanned {
        self.beside
    }
}

impl Sink for Whole<'_> {
    fn act(&mut self, found: Found) -> bool {
        self.last = Some(self.found.len());
        self.found.push(found);
        true
    }

    fn extend(&mut self, end: usize, _goes_on: bool) -> bool {
        if let Some(last) = self.last {
            self.found[last].span.end = end;
        }
        true
    }

    fn observe(&mut self, found: Found, _goes_on: bool) {
        self.last_observed = Some(self.found.len());
        self.found.push(found);
    }

    fn extend_observed(&mut self, end: usize, _goes_on: bool) {
        if let Some(last) = self.last_observed {
            self.found[last].span.end = end;
        }
    }

    fn demand(&mut self, rule: RuleId, span: Range<usize>) {
        if self.policy.demands(rule).is_some() {
            self.beside.demanded.push((rule, span));
        }
    }

    fn stand_in(&mut self, rule: RuleId, number: u32) {
        self.beside.stand_ins.push((rule, number));
    }
}

/// Puts findings in order. One that is only recorded may go on over those that act, which are known by then or not: it is cut
/// into what lies between them. The parts behind the first have no identity and are not counted.
pub fn put_in_order(found: &mut Vec<Found>, first: usize) {
    found[first..].sort_by_key(|finding| (finding.span.start, finding.span.end));
    if found[first..].windows(2).all(|pair| pair[0].span.end <= pair[1].span.start) {
        return;
    }
    let sorted = found.split_off(first);
    let mut over: Option<Found> = None;
    for finding in sorted {
        if let Some(mut before) = over.take() {
            let part = before.span.start..before.span.end.min(finding.span.start);
            if !part.is_empty() {
                found.push(Found { span: part, ..before.clone() });
            }
            if before.span.end > finding.span.end {
                (before.span.start, before.identity) = (finding.span.end, 0);
                over = Some(before);
            }
        }
        if finding.action.acts() || over.is_some() {
            found.push(finding);
        } else {
            over = Some(finding);
        }
    }
    found.extend(over);
}

/// The settled findings of one sort, those that act or those that do not.
#[derive(Debug, Default, Clone)]
pub(super) struct Settled {
    /// End of the last one.
    pub(super) end: usize,
    /// Its rule, and where that has found it.
    of: Option<(RuleId, usize)>,
    /// What of it is still being swallowed; then it ends where the view does.
    pub(super) rest: Option<Rest>,
    /// The same in the decoded text, and up to where it was swallowed there.
    pub(super) decoded: Option<(usize, Rest)>,
}

impl Settled {
    fn new(d: &Decided) -> Settled {
        let settled = Settled { end: d.end, of: Some((d.rule, d.start)), rest: None, decoded: None };
        match d.decoded {
            None => Settled { rest: d.rest, ..settled },
            Some(end) => Settled { decoded: d.rest.map(|rest| (end, rest)), ..settled },
        }
    }

    #[inline]
    pub(super) fn goes_on(&self) -> bool {
        self.rest.is_some() || self.decoded.is_some()
    }

    /// Swallows up to the end of the views.
    fn swallow(&mut self, rules: &Rules, views: &Views<'_>) {
        if let Some(rest) = &mut self.rest
            && !swallow(&mut self.end, rest, rules, &views.raw)
        {
            self.rest = None;
        }
        if let (Some((end, rest)), Some((view, decoded))) = (&mut self.decoded, &views.decoded) {
            let goes_on = swallow(end, rest, rules, view);
            self.end = self.end.max(decoded.raw(*end));
            if !goes_on {
                self.decoded = None;
            }
        }
    }
}

/// Moves `end` to the end of a run, or of the view: then the run may go on.
fn swallow(end: &mut usize, rest: &mut Rest, rules: &Rules, view: &View<'_>) -> bool {
    loop {
        // What prints nothing goes with the run: it needs not be held until the next character is seen.
        let Some(unit) = view.next(*end) else {
            *end = view.end;
            return true;
        };
        *end = unit.start;
        match rest.take(unit.byte, rules) {
            Swallowed::Yes => *end = unit.end,
            Swallowed::Last => {
                *end = unit.end;
                return false;
            }
            Swallowed::No => return false,
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
        views: &Views<'_>,
        sink: &mut impl Sink,
    ) -> bool {
        if self.acting.goes_on() {
            let before = self.acting.end;
            self.acting.swallow(rules, views);
            self.acted.push((before, self.acting.end));
            if !sink.extend(self.acting.end, self.acting.goes_on()) {
                return false;
            }
        }
        if self.observing.goes_on() {
            self.observing.swallow(rules, views);
            sink.extend_observed(self.observing.end, self.observing.goes_on());
        }
        if self.decided.is_empty() {
            self.acted.retain(|(_, end)| *end > horizon);
            return true;
        }
        self.decided.sort_by_key(|d| {
            (d.start, d.rest.is_none(), std::cmp::Reverse(d.end), d.rule, d.decoded.is_some())
        });
        let mut decided = std::mem::take(&mut self.decided);
        let mut go_on = true;
        decided.retain(|d| {
            let acts = policy.acts_on(d.rule);
            if !go_on || acts && d.start >= frontier {
                return true;
            }
            if acts && d.is_one(rules, policy, views, sink) {
                go_on = self.settle_acting(d, rules, policy, views, sink);
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
            if !blocked && d.is_one(rules, policy, views, sink) {
                self.settle_observing(d, rules, policy, views, sink);
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
        views: &Views<'_>,
        sink: &mut impl Sink,
    ) -> bool {
        let start = d.start.max(self.acting.end);
        let mut go_on = true;
        if d.end > self.acting.end {
            self.acting = Settled::new(d);
            go_on = sink.act(found(d, start..d.end, rules, policy));
        } else if self.acting.of == Some((d.rule, d.start)) && d.rest.is_some() {
            // Found as it is and decoded: the run behind it ends with the longer of the two.
            self.acting.decoded = self.acting.decoded.or(Settled::new(d).decoded);
        } else {
            return true;
        }
        if d.rest.is_some() {
            self.acting.swallow(rules, views);
            go_on = go_on && sink.extend(self.acting.end, self.acting.goes_on());
        }
        self.acted.push((start, self.acting.end));
        go_on
    }

    fn settle_observing(
        &mut self,
        d: &Decided,
        rules: &Rules,
        policy: &Policy,
        views: &Views<'_>,
        sink: &mut impl Sink,
    ) {
        let overlaps = self.acted.iter().any(|(start, end)| d.start < *end && *start < d.end);
        if d.start < self.observing.end || overlaps {
            return;
        }
        self.observing = Settled::new(d);
        self.observing.swallow(rules, views);
        let found = Found { span: d.start..self.observing.end, ..found(d, d.start..d.end, rules, policy) };
        sink.observe(found, self.observing.goes_on());
    }
}

fn found(d: &Decided, span: Range<usize>, rules: &Rules, policy: &Policy) -> Found {
    let identity = span.len();
    Found {
        open: d.rest.is_some(),
        decoded: d.escapes(policy),
        ..rules.found(policy, d.rule, span, identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::tests::BUILTIN;
    use crate::scan::{Action, Direction, Switches};

    /// What is only recorded ends where something else that is found begins, and goes on behind it without being counted again.
    #[test]
    fn recorded_findings_are_cut_around_others() {
        let (email, _) = BUILTIN.infos().next().expect("there are rules");
        let policy = |action| BUILTIN.policy(Direction::Answer, |_| action, Switches::default());
        let (log, mask) = (policy(Action::Log), policy(Action::Mask));
        let found = |policy: &Policy, span: Range<usize>| {
            let identity = span.len();
            BUILTIN.found(policy, email, span, identity)
        };
        for (masked, expect) in [
            (&[(3, 5)][..], &[(0, 3, 10), (3, 5, 2), (5, 10, 0)][..]),
            (&[(3, 10)], &[(0, 3, 10), (3, 10, 7)]),
            (&[(3, 12)], &[(0, 3, 10), (3, 12, 9)]),
            (&[(2, 4), (6, 7)], &[(0, 2, 10), (2, 4, 2), (4, 6, 0), (6, 7, 1), (7, 10, 0)]),
            (&[(10, 12)], &[(0, 10, 10), (10, 12, 2)]),
        ] {
            let mut all = vec![found(&log, 0..10)];
            all.extend(masked.iter().map(|(start, end)| found(&mask, *start..*end)));
            put_in_order(&mut all, 0);
            let part = |found: &Found| (found.span.start, found.span.end, found.identity);
            let parts: Vec<_> = all.iter().map(part).collect();
            assert_eq!(parts, expect);
        }
    }
}
