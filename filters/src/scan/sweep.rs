//! The pass over a text: triggers open candidates, candidates are decided, decisions are settled from left to right.
//!
//! ```text
//!   … sent …│… held: may still become part of something …│
//!           frontier                                     pos
//! ```
//!
//! The frontier is the first byte of an undecided candidate, of an unfinished trigger, or of a run that a later `@` or colon
//! would reach back over. Nothing that is found later begins before it, so a decision that begins before it is final: this, and
//! not where the pieces of a stream were cut, gives the order in which decisions are settled. What overlaps an earlier finding
//! is cut to what it adds; what lies inside of one is dropped.
//!
//! Rules that only log are swept with the rest, but hold nothing and give way to those that act.

use super::machine::{Machine, Rest, Step, Swallowed, Text};
use super::number::{Judge, Number};
use super::rules::{Found, RuleId, Rules};
use super::terms::Lexer;
use super::trigger::Triggers;
use super::units::{MAX_SKIPPED_BACK, View};
use super::{End, Policy};

mod hold;
mod open;
mod run;

use run::Run;

/// Raw bytes per unit that a candidate may have: past that it is taken for a finding, since nobody writes like that.
pub(super) const MAX_RAW_PER_UNIT: usize = 4;
/// Four raw bytes each, as many as a trigger's units can take that is not complete, with what prints nothing between them.
pub(super) const MAX_BEGUN: usize = 4 * (1 + MAX_SKIPPED_BACK);
/// Raw bytes before the frontier that candidates may look at: context, borders, and what prints nothing between.
pub(super) const MARGIN: usize = 512;

/// What reads on from a trigger.
#[derive(Debug, Clone)]
struct Candidate {
    rule: RuleId,
    machine: Machine,
    /// Raw offset of what would be found; `None` while only its name was read.
    start: Option<usize>,
    /// First raw offset that it will be judged by.
    anchor: usize,
    /// Raw offset up to which it has read.
    at: usize,
    /// Raw offset at which a value may end.
    mark: Option<usize>,
}

/// A finding that is not settled.
#[derive(Debug, Clone)]
pub(super) struct Decided {
    rule: RuleId,
    start: usize,
    end: usize,
    rest: Option<Rest>,
}

impl Decided {
    pub(super) fn whole(rule: RuleId, start: usize, end: usize) -> Decided {
        Decided { rule, start, end, rest: None }
    }
}

/// Who is told of what is settled.
pub(super) trait Sink {
    /// A finding of a rule that acts, in order; false: stop here.
    fn act(&mut self, found: Found) -> bool;
    /// The last finding that acts goes on up to `end`.
    fn extend(&mut self, end: usize);
    /// A finding that is only recorded.
    fn observe(&mut self, found: Found);
}

/// Findings of a whole text.
#[derive(Debug)]
pub(super) struct Whole<'f> {
    found: &'f mut Vec<Found>,
    last: Option<usize>,
}

impl<'f> Whole<'f> {
    pub(super) fn new(found: &'f mut Vec<Found>) -> Whole<'f> {
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
struct Settled {
    /// End of the last one.
    end: usize,
    /// What of it is still being swallowed.
    rest: Option<Rest>,
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

/// State of the pass, carried from piece to piece.
#[derive(Debug)]
pub(super) struct Sweep {
    /// The trigger automaton's.
    state: u64,
    /// Raw offset up to which triggers were looked for.
    pos: usize,
    open: Vec<Candidate>,
    decided: Vec<Decided>,
    number: Number,
    /// End of the last IPv6 candidate: what lies before it was read.
    ipv6_end: usize,
    /// The last assigned value: names inside of it are none.
    value: (usize, usize),
    /// Where keys committed: no e-mail address begins before the last of these at its `@`.
    floors: Vec<usize>,
    local: Run,
    hex: Run,
    acting: Settled,
    observing: Settled,
    /// What reads terms, if there are any.
    terms: Option<Lexer>,
    /// What was settled of the rules that act, as far as the others may overlap it.
    acted: Vec<(usize, usize)>,
    /// Where the last settlement put the frontier, for rules that act and for all.
    frontier: usize,
    horizon: usize,
    /// Units of the candidate that is judged, and where each ends.
    units: Vec<u8>,
    ends: Vec<usize>,
}

impl Sweep {
    pub(super) fn new(rules: &Rules, policy: &Policy) -> Sweep {
        Sweep {
            state: rules.triggers.start(policy.reach.watch),
            pos: 0,
            open: Vec::new(),
            decided: Vec::new(),
            number: Number::new(),
            ipv6_end: 0,
            value: (0, 0),
            floors: Vec::new(),
            local: Run::default(),
            hex: Run::default(),
            acting: Settled::default(),
            observing: Settled::default(),
            terms: rules.lexer(policy),
            acted: Vec::new(),
            frontier: 0,
            horizon: 0,
            units: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Reads what the view has gained.
    pub(super) fn advance(&mut self, rules: &Rules, policy: &Policy, view: &View<'_>) {
        self.resume(rules, policy, view);
        let bytes = &view.text.as_bytes()[..view.end - view.base];
        let (enabled, accept, triggers) =
            (policy.reach.watch.enabled, policy.reach.watch.accept, &rules.triggers);
        let mut at = self.pos - view.base;
        let mut state = self.state;
        while at < bytes.len() {
            if let Some(block) = bytes[at..].first_chunk::<8>()
                && u64::from_le_bytes(*block) & 0x8080_8080_8080_8080 == 0
            {
                let mut states = [0; 8];
                let mut seen = 0;
                for (after, unit) in states.iter_mut().zip(block) {
                    state = triggers.step(state, *unit, enabled);
                    *after = state;
                    seen |= state;
                }
                if seen & accept != 0 {
                    for (i, after) in states.iter().enumerate().filter(|(_, after)| **after & accept != 0) {
                        self.hits(rules, policy, view, *after, view.base + at + i);
                    }
                }
                at += 8;
                continue;
            }
            let Some(unit) = view.next(view.base + at) else { break };
            state = triggers.step(state, unit.byte, enabled);
            if state & accept != 0 {
                self.hits(rules, policy, view, state, unit.start);
            }
            at = unit.end - view.base;
        }
        self.state = state;
        self.pos = view.end;
        if let Some(terms) = &mut self.terms {
            terms.read(rules, view, &mut self.decided);
        }
    }

    #[inline(never)]
    fn hits(&mut self, rules: &Rules, policy: &Policy, view: &View<'_>, state: u64, at: usize) {
        for bucket in Triggers::hits(state, policy.reach.watch) {
            self.open_at(bucket, rules, policy, view, at);
        }
    }

    fn resume(&mut self, rules: &Rules, policy: &Policy, view: &View<'_>) {
        if self.number.is_open() {
            self.number.run(view, &mut Judge { rules, policy, decided: &mut self.decided });
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
    fn start(&mut self, mut candidate: Candidate, rules: &Rules, policy: &Policy, view: &View<'_>) {
        if self.read(&mut candidate, rules, policy, view) {
            self.open.push(candidate);
        }
    }

    /// Reads on; true while undecided.
    fn read(&mut self, candidate: &mut Candidate, rules: &Rules, policy: &Policy, view: &View<'_>) -> bool {
        loop {
            let unit = view.next(candidate.at);
            if self.is_too_long(candidate, unit.map_or(view.end, |unit| unit.start), rules, view) {
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
                Step::Ended => {
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
    fn is_too_long(&mut self, candidate: &Candidate, next: usize, rules: &Rules, view: &View<'_>) -> bool {
        let limit = MAX_RAW_PER_UNIT * rules.max_hold(candidate.rule);
        if next - candidate.start.unwrap_or(candidate.anchor) <= limit {
            return false;
        }
        if let Some(start) = candidate.start {
            self.decided.push(Decided::whole(candidate.rule, start, view.border(start + limit)));
        }
        true
    }

    /// Keeps what later triggers must know of a candidate that is gone.
    fn forget(&mut self, candidate: &Candidate) {
        match &candidate.machine {
            Machine::Ipv6 { .. } => self.ipv6_end = self.ipv6_end.max(candidate.at),
            Machine::Assignment(assignment) if assignment.has_value() => {
                self.value = (candidate.start.unwrap_or(candidate.at), candidate.at);
            }
            _ => {}
        }
    }

    /// Asks whether what a candidate has read is a value.
    fn judge(
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
            before: view.prev(start).map(|unit| unit.byte),
            farther: view.prev(start).and_then(|unit| view.prev(unit.start)).map(|unit| unit.byte),
            next: if rest.is_some() { None } else { view.next(end).map(|unit| unit.byte) },
        };
        let Some((from, to)) = candidate.machine.judge(candidate.rule, text, rules, policy) else { return };
        if from >= to || !rules.is_in_context(candidate.rule, view, start) {
            return;
        }
        let begin = if from == 0 { first } else { self.after_gap(from, view) };
        self.decided.push(Decided { rule: candidate.rule, start: begin, end: self.ends[to - 1], rest });
        if rest.is_some() {
            self.floors.push(end);
        }
    }

    /// Raw offset of a judged unit: past what prints nothing behind the one before.
    fn after_gap(&self, unit: usize, view: &View<'_>) -> usize {
        let before = self.ends[unit - 1];
        view.next(before).map_or(before, |unit| unit.start)
    }

    /// Moves the frontier and settles what lies before it. False when the sink has had enough.
    pub(super) fn settle(
        &mut self,
        rules: &Rules,
        policy: &Policy,
        view: &View<'_>,
        sink: &mut impl Sink,
    ) -> bool {
        self.look_back(policy, view);
        self.settle_to(self.frontier, self.horizon, rules, policy, view, sink)
    }

    /// The text is over: decides and settles everything. False when the sink has had enough.
    pub(super) fn finish(
        &mut self,
        rules: &Rules,
        policy: &Policy,
        view: &View<'_>,
        end: End,
        sink: &mut impl Sink,
    ) -> bool {
        if let Some(terms) = &mut self.terms {
            terms.finish(rules, view, &mut self.decided);
        }
        self.number.finish(view, end, &mut Judge { rules, policy, decided: &mut self.decided });
        for mut candidate in std::mem::take(&mut self.open) {
            if let Machine::Pattern(pattern) = &candidate.machine
                && pattern.ends_here(rules)
            {
                candidate.mark = Some(candidate.at);
            }
            let before = self.decided.len();
            self.judge(&candidate, None, rules, policy, view);
            let undecided = before == self.decided.len() && candidate.machine.is_past_trigger(rules);
            if end == End::CutShort
                && undecided
                && let Some(start) = candidate.start
            {
                self.decided.push(Decided::whole(candidate.rule, start, view.end));
            }
        }
        (self.frontier, self.horizon) = (view.end, view.end);
        self.settle_to(usize::MAX, usize::MAX, rules, policy, view, sink)
    }

    fn settle_to(
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

    /// The first raw offset that is not sure to pass as it is.
    pub(super) fn frontier(&self) -> usize {
        self.frontier
    }

    /// The first raw offset that is still to be looked at.
    pub(super) fn needed(&self) -> usize {
        let anchors =
            self.open.iter().map(|candidate| candidate.anchor.min(candidate.start.unwrap_or(usize::MAX)));
        let decided = self.decided.iter().map(|d| d.start);
        let number = self.number.is_open().then(|| self.number.hold());
        anchors
            .chain(decided)
            .chain(number)
            .fold(self.frontier.min(self.horizon), usize::min)
            .saturating_sub(MARGIN)
    }
}
