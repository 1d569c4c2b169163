//! The sweep over what a text stands for: where it begins, what it hands over, when it is not needed any more.

use super::open::units_back;
use super::settle::Settled;
use super::{Decided, MARGIN, Sweep};
use crate::scan::escape::Decoded;
use crate::scan::number::MAX_LEAD;
use crate::scan::trigger::LANES;
use crate::scan::units::View;
use crate::scan::{Action, Policy};

/// The sweep over the decoded text.
#[derive(Debug)]
pub(super) struct Fork {
    pub(super) sweep: Sweep,
    pub(super) text: Decoded,
}

impl Fork {
    /// The same as `raw` for what the text stands for, from the end of the view on. What was found stays with that.
    pub(super) fn new(raw: &mut Sweep, policy: &Policy, view: &View<'_>) -> Fork {
        raw.look_back(policy, view);
        // A key that is committed goes on in either text.
        raw.acting.decoded = raw.acting.rest.map(|rest| (raw.acting.end, rest));
        let open = raw.acting.rest.map_or(view.end, |_| raw.acting.end);
        let from = view.border(raw.needed().min(open).max(view.base));
        let committed = raw.decided.iter().filter(|d| d.rest.is_some()).cloned().collect();
        let sweep = Sweep {
            decided: committed,
            acting: Settled::default(),
            observing: Settled::default(),
            acted: Vec::new(),
            ..raw.clone()
        };
        Fork { sweep, text: Decoded::new(from, view.raw(from, view.end)) }
    }

    /// Hands what was decided over to the sweep of the raw text, which settles it, and holds what is undecided.
    pub(super) fn hand_over(&mut self, raw: &mut Sweep) {
        let text = &self.text;
        let decided = self.sweep.decided.drain(..);
        raw.decided.extend(decided.map(|d| Decided {
            start: text.raw(d.start),
            end: text.raw(d.end),
            decoded: Some(d.end),
            ..d
        }));
        raw.overran |= self.sweep.overran();
        raw.frontier = raw.frontier.min(text.raw(self.sweep.frontier));
        raw.horizon = raw.horizon.min(text.raw(self.sweep.horizon));
    }

    /// Whether both sweeps will find the same from here on: nothing is open, what may still be reached back over lies so far
    /// behind the last escape that neither sees it, and what they remember is the same or lies before all that.
    pub(super) fn joins(&self, raw: &Sweep, policy: &Policy, view: &View<'_>) -> bool {
        let (end, escape) = self.text.last_escape();
        if raw.pos - escape < 2 * MARGIN {
            return false;
        }
        let (own, behind) = (&self.sweep, escape - end);
        let goes_on = raw.acting.goes_on() || raw.observing.goes_on();
        if goes_on || !raw.is_quiet() || !own.is_quiet() || raw.state != own.state {
            return false;
        }
        let Some(triggers) = units_back(view, raw.pos, LANES + MAX_LEAD) else { return false };
        let mut reach = raw.frontier.min(raw.horizon).min(triggers);
        let runs = &policy.reach.runs;
        let local = runs.email.max(runs.lead);
        for (run, other, action) in [(&raw.local, &own.local, local), (&raw.hex, &own.hex, runs.ipv6)] {
            if action != Action::Off {
                if run.start != other.start + behind {
                    return false;
                }
                reach = reach.min(run.start);
            }
        }
        let terms = match (&raw.terms, &own.terms) {
            (Some(terms), Some(others)) => match terms.reach(others, behind) {
                Some(start) => start,
                None => return false,
            },
            _ => raw.pos,
        };
        reach = reach.min(terms);
        let same = |at: usize, other: usize| at == other + behind || at.max(other + behind) <= reach;
        let floors = |sweep: &Sweep, behind: usize| {
            let floors = sweep.floors.iter().map(|floor| floor + behind);
            floors.filter(|floor| *floor > reach).collect::<Vec<_>>()
        };
        let values = |sweep: &Sweep, behind: usize| {
            let values = sweep.values.iter().map(|(start, end)| ((start + behind).max(reach), end + behind));
            let mut values: Vec<_> = values.filter(|(_, end)| *end > reach).collect();
            values.sort_unstable();
            values
        };
        reach >= escape + MARGIN
            && same(raw.number.at, own.number.at)
            && same(raw.ipv6_end, own.ipv6_end)
            && values(raw, 0) == values(own, behind)
            && floors(raw, 0) == floors(own, behind)
    }
}
