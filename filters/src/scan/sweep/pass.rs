//! The pass over a text as it is and, from its first escape on, over what it stands for.
//!
//! Two sweeps, each over a text of its own, that settle together: what either finds is found, by the bytes of the raw text. So
//! to look through escapes only ever adds findings. A password may hold `%20`, a card may stand behind a percent sign, and is
//! found as it stands whatever its escapes would make of it.
//!
//! ```text
//!   raw:      … send it to bob%40corp.com or …       no sweep but this one up to `%40`
//!   decoded:    send it to bob@corp.com or …         forked there: the same state, and then the `@`
//! ```
//!
//! Both have always read the same: an escape that is not whole, or may be none, is read by neither. Far enough behind the last
//! escape both are in the same state, and one goes on alone.

use super::fork::Fork;
use super::settle::Views;
use super::{MARGIN, SLACK, Sink, Sweep};
use crate::scan::escape::Read;
use crate::scan::rules::Rules;
use crate::scan::units::View;
use crate::scan::{End, Escapes, Policy};

#[derive(Debug)]
pub(in crate::scan) struct Pass {
    raw: Sweep,
    escapes: Escapes,
    decoded: Option<Box<Fork>>,
}

impl Pass {
    pub(in crate::scan) fn new(rules: &Rules, policy: &Policy) -> Pass {
        Pass { raw: Sweep::new(rules, policy), escapes: policy.switches().decode, decoded: None }
    }

    /// Reads what the view has gained.
    pub(in crate::scan) fn advance(&mut self, rules: &Rules, policy: &Policy, view: &View<'_>) {
        if self.escapes.is_none() {
            self.raw.advance(rules, policy, view);
        } else {
            self.advance_decoding(rules, policy, view, false);
        }
    }

    fn advance_decoding(&mut self, rules: &Rules, policy: &Policy, view: &View<'_>, ended: bool) {
        let bytes = &view.text.as_bytes()[..view.end - view.base];
        let mut at = self.raw.pos - view.base;
        let mut plain = at;
        while let Some(next) = self.escapes.find(&bytes[at..]) {
            at += next;
            match self.escapes.read(&bytes[at..], ended) {
                Read::Plain => at += 1,
                Read::Char(c, len) => {
                    let here = View { end: view.base + at, ..*view };
                    if self.decoded.is_none() {
                        self.raw.advance(rules, policy, &here);
                        self.decoded = Some(Box::new(Fork::new(&mut self.raw, policy, &here)));
                        plain = at;
                    }
                    at += len;
                    if let Some(fork) = &mut self.decoded {
                        fork.text.push_plain(view.raw(view.base + plain, here.end));
                        fork.text.push(c, view.base + at);
                    }
                    plain = at;
                }
                Read::More => return self.advance_both(plain, at, rules, policy, view),
            }
        }
        self.advance_both(plain, bytes.len(), rules, policy, view);
    }

    /// Reads up to `at`; from `plain` on there is nothing to decode.
    fn advance_both(&mut self, plain: usize, at: usize, rules: &Rules, policy: &Policy, view: &View<'_>) {
        let view = View { end: view.base + at, ..*view };
        self.raw.advance(rules, policy, &view);
        if let Some(fork) = &mut self.decoded {
            fork.text.push_plain(view.raw(view.base + plain, view.end));
            fork.sweep.advance(rules, policy, &fork.text.view(view.fold));
        }
    }

    /// Reads a short piece the short way, if nothing of it may be an escape; see [`Sweep::glide`].
    #[inline]
    pub(in crate::scan) fn glide(&mut self, rules: &Rules, policy: &Policy, view: &View<'_>) -> bool {
        self.decoded.is_none() && self.raw.glide(rules, policy, view)
    }

    /// Moves the frontier and settles what lies before it. False when the sink has had enough.
    pub(in crate::scan) fn settle(
        &mut self,
        rules: &Rules,
        policy: &Policy,
        view: &View<'_>,
        sink: &mut impl Sink,
    ) -> bool {
        let end = view.end;
        let view = View { end: self.raw.pos, ..*view };
        self.raw.look_back(policy, &view);
        if let Some(fork) = &mut self.decoded {
            fork.sweep.look_back(policy, &fork.text.view(view.fold));
            fork.hand_over(&mut self.raw);
        }
        // A run, or the beginning of a trigger, that is written in more slides: what begins before and is found overran.
        let lowest = view.end.saturating_sub(policy.reach.most_raw);
        if self.raw.frontier < lowest {
            self.raw.frontier = view.border_after(lowest);
        }
        if !policy.acts() {
            self.raw.frontier = end; // nor for what may become an escape
        }
        let (frontier, horizon) = (self.raw.frontier, self.raw.horizon);
        let go_on = self.settle_to(frontier, horizon, rules, policy, view, sink);
        if self.decoded.as_ref().is_some_and(|fork| fork.joins(&self.raw, policy, &view)) {
            self.decoded = None;
        }
        go_on
    }

    /// The text is over: decides and settles everything. False when the sink has had enough.
    pub(in crate::scan) fn finish(
        &mut self,
        rules: &Rules,
        policy: &Policy,
        view: &View<'_>,
        end: End,
        sink: &mut impl Sink,
    ) -> bool {
        if !self.escapes.is_none() {
            self.advance_decoding(rules, policy, view, true);
        }
        self.raw.finish(rules, policy, view, end);
        if let Some(fork) = &mut self.decoded {
            fork.sweep.finish(rules, policy, &fork.text.view(view.fold), end);
            fork.hand_over(&mut self.raw);
        }
        self.settle_to(usize::MAX, usize::MAX, rules, policy, *view, sink)
    }

    fn settle_to(
        &mut self,
        frontier: usize,
        horizon: usize,
        rules: &Rules,
        policy: &Policy,
        raw: View<'_>,
        sink: &mut impl Sink,
    ) -> bool {
        let decoded = self.decoded.as_ref().map(|fork| (fork.text.view(raw.fold), &fork.text));
        self.raw.settle_to(frontier, horizon, rules, policy, &Views { raw, decoded }, sink)
    }

    /// Bytes and marks of the decoded text that are kept.
    #[cfg(test)]
    pub(in crate::scan) fn kept(&self) -> (usize, usize) {
        self.decoded.as_ref().map_or((0, 0), |fork| fork.text.kept())
    }

    /// Whether there are two sweeps now.
    pub(in crate::scan) fn is_forked(&self) -> bool {
        self.decoded.is_some()
    }

    /// The first raw offset that is not sure to pass as it is.
    pub(in crate::scan) fn frontier(&self) -> usize {
        self.raw.frontier
    }

    /// The first raw offset that is still to be looked at.
    pub(in crate::scan) fn needed(&self) -> usize {
        self.raw.needed()
    }

    /// Whether a value of a rule that acts had more raw bytes than may be held; see [`Sweep::overran`].
    pub(in crate::scan) fn overran(&self) -> bool {
        self.raw.overran()
    }

    /// Drops what can no longer be looked at.
    pub(in crate::scan) fn forget(&mut self) {
        if let Some(fork) = &mut self.decoded {
            // What is decided may still have to wait for its turn, and then to swallow the run behind it.
            let waiting = self.raw.decided.iter().filter_map(|d| d.decoded).min();
            let needed = fork.sweep.needed().min(waiting.unwrap_or(usize::MAX));
            fork.text.forget(needed, SLACK + MARGIN);
        }
    }
}
