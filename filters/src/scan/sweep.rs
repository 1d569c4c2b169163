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
//! is cut to what it adds; what lies inside of one is dropped, though whoever is told of findings learns that its rule found
//! something: labels are demanded all the same.
//!
//! Rules that only log are swept with the rest, but hold nothing and give way to those that act.

use super::machine::Machine;
use super::number::{Judge, Number};
use super::rules::{RuleId, Rules};
use super::terms::Lexer;
use super::trigger::{Bucket, Triggers};
use super::units::{IDEOGRAPH, MAX_SKIPPED_BACK, View, Written, is_ideograph_lead};
use super::{End, Policy};

mod fork;
mod hold;
mod open;
mod pass;
mod read;
mod run;
mod settle;

pub(super) use pass::Pass;
use run::Run;
use settle::Settled;
pub use settle::put_in_order;
pub(super) use settle::{Decided, Sink, Whole};

/// Raw bytes per unit that a candidate may have: past that it is taken for a finding, since nobody writes like that.
pub(super) const MAX_RAW_PER_UNIT: usize = 4;
/// Four raw bytes each, as many as a trigger's units can take that is not complete, with what prints nothing between them.
pub(super) const MAX_BEGUN: usize = 4 * (1 + MAX_SKIPPED_BACK);
/// Raw bytes before the frontier that candidates may look at: context, borders, and what prints nothing between.
pub(super) const MARGIN: usize = 512;
/// Units that its trigger reads behind a number's first digit.
const UNITS_OF_A_NUMBER: usize = 3;
/// Bytes that were sent and are not looked at again, past which they are dropped from a window.
pub(super) const SLACK: usize = 1024;

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
    /// Raw offset up to which names of other values are part of this one, if not to its end.
    core: Option<usize>,
}

/// State of the pass, carried from piece to piece.
#[derive(Debug, Clone)]
struct Sweep {
    /// The trigger automaton's.
    state: u64,
    /// The escape of source text that was read last, if it may go on.
    written: Written,
    /// Raw offset up to which triggers were looked for.
    pos: usize,
    open: Vec<Candidate>,
    decided: Vec<Decided>,
    number: Number,
    /// End of the last IPv6 candidate: what lies before it was read.
    ipv6_end: usize,
    /// Assigned values that were read, begin and end, by their ends: names inside of them are none.
    values: Vec<(usize, usize)>,
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
    /// A value of a rule that acts had more raw bytes than may be held.
    overran: bool,
}

impl Sweep {
    fn new(rules: &Rules, policy: &Policy) -> Sweep {
        Sweep {
            state: rules.triggers.start(policy.reach.watch),
            written: Written::No,
            pos: 0,
            open: Vec::new(),
            decided: Vec::new(),
            number: Number::new(),
            ipv6_end: 0,
            values: Vec::new(),
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
            overran: false,
        }
    }

    /// Whether a value of a rule that acts went on past the raw bytes that may be held. As many as may were taken for a finding;
    /// what follows may be the rest of the value.
    fn overran(&self) -> bool {
        self.overran || self.terms.as_ref().is_some_and(Lexer::overran)
    }

    /// Reads what the view has gained.
    fn advance(&mut self, rules: &Rules, policy: &Policy, view: &View<'_>) {
        self.resume(rules, policy, view);
        let bytes = &view.text.as_bytes()[..view.end - view.base];
        let mut at = self.pos - view.base;
        loop {
            if self.written.is_open() {
                at = self.read_written(rules, policy, view, at);
            }
            let rest = &bytes[at..];
            // A call costs more than a delta is long.
            let backslash = match rest.len() {
                0..16 => rest.iter().position(|byte| *byte == b'\\'),
                _ => memchr::memchr(b'\\', rest),
            };
            let end = backslash.map_or(bytes.len(), |backslash| at + backslash);
            self.pass_over(rules, policy, view, at, end);
            if end == bytes.len() {
                break;
            }
            at = self.read_written(rules, policy, view, end);
        }
        self.pos = view.end;
        if let Some(terms) = &mut self.terms {
            terms.read(rules, view, &mut self.decided);
        }
    }

    /// Looks for triggers in a part of the view.
    #[inline(always)]
    fn pass_over(&mut self, rules: &Rules, policy: &Policy, view: &View<'_>, mut at: usize, end: usize) {
        let bytes = &view.text.as_bytes()[..end];
        let (enabled, accept, triggers) =
            (policy.reach.watch.enabled, policy.reach.watch.accept, &rules.triggers);
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
                        self.hit(rules, policy, view, *after, view.base + at + i);
                    }
                }
                at += 8;
                continue;
            }
            if is_ideograph_lead(bytes[at]) {
                state = triggers.step(state, IDEOGRAPH, enabled);
                if state & accept != 0 {
                    self.hit(rules, policy, view, state, view.base + at);
                }
                at += 3;
                continue;
            }
            let Some(unit) = view.next(view.base + at).filter(|unit| unit.start < view.base + end) else {
                break;
            };
            state = triggers.step(state, unit.byte, enabled);
            if state & accept != 0 {
                self.hit(rules, policy, view, state, unit.start);
            }
            at = unit.end - view.base;
        }
        self.state = state;
    }

    /// Reads an escape of source text, from its backslash or from where the last piece ended in it: the letter that ends it is
    /// a border, too.
    #[inline(never)]
    fn read_written(&mut self, rules: &Rules, policy: &Policy, view: &View<'_>, mut at: usize) -> usize {
        let watch = &policy.reach.watch;
        while let Some(unit) = view.next(view.base + at) {
            self.state = rules.triggers.step(self.state, unit.byte, watch.enabled);
            let ends = self.written.read(unit.byte);
            if ends {
                // Its digits are none of a number that may follow.
                self.state &= !Triggers::lanes(Bucket::Number);
            }
            if self.state & watch.accept != 0 {
                self.hit(rules, policy, view, self.state, unit.start);
            }
            at = unit.end - view.base;
            if ends {
                self.state |= rules.triggers.after_border(watch.enabled);
            }
            if !self.written.is_open() {
                break;
            }
        }
        at
    }

    /// Patterns are complete with the unit at `at`; or something is that blurs into one.
    #[inline]
    fn hit(&mut self, rules: &Rules, policy: &Policy, view: &View<'_>, state: u64, at: usize) {
        let watch = &policy.reach.watch;
        let mut done =
            rules.starts.sift(state & watch.accept, watch, view.text.as_bytes(), at + 1 - view.base);
        if at < self.number.at + UNITS_OF_A_NUMBER {
            // It was read: its first digit lies before.
            done &= !watch.number;
        }
        if done != 0 {
            self.open_all(done, rules, policy, view, at);
        }
    }

    #[inline(never)]
    fn open_all(&mut self, done: u64, rules: &Rules, policy: &Policy, view: &View<'_>, at: usize) {
        for bucket in Triggers::buckets(done) {
            self.open_at(bucket, rules, policy, view, at);
        }
    }

    /// The text is over: decides everything.
    fn finish(&mut self, rules: &Rules, policy: &Policy, view: &View<'_>, end: End) {
        if let Some(terms) = &mut self.terms {
            terms.finish(rules, view, &mut self.decided);
        }
        let (decided, overran) = (&mut self.decided, &mut self.overran);
        self.number.finish(view, end, &mut Judge { rules, policy, decided, overran });
        for mut candidate in std::mem::take(&mut self.open) {
            let ends_here = match &candidate.machine {
                Machine::Pattern(pattern) => pattern.ends_here(rules),
                Machine::Assignment(assignment) => assignment.ends_here(),
                _ => false,
            };
            if ends_here {
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
    }

    /// The first raw offset that is still to be looked at.
    fn needed(&self) -> usize {
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
