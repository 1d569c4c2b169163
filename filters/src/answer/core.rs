//! What every surface works on: lanes, what is ready to leave, the meter, and what is kept for the audit trail.

use super::kept::Kept;
use super::lanes::{Key, Lanes};
use super::splice::Splice;
use super::usage::Meter;
use super::{Fault, Options};
use crate::chat::Usage;
use crate::frames;
use crate::scan::{End, Flow, Masker, Scanner};

/// Deepest nesting of an event or answer that is read.
pub(super) const MAX_DEPTH: usize = 128;

/// A guard's failure: what was taken for a whole text is none.
pub(super) const LATE: &str = "a text goes on after its end";

/// Why an answer does not simply go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Halt {
    /// A finding whose action is to block; what stood before it is in [`Lanes::out`].
    Blocked,
    Guard(&'static str),
    Upstream(Fault),
}

/// What a scanner's answer means for the text.
pub(super) fn pass(scanner: &Scanner, flow: &Flow) -> Result<(), Halt> {
    match flow {
        _ if scanner.overran() => Err(Halt::Guard("a value is longer than what may be held")),
        Flow::Pass => Ok(()),
        Flow::Block(_) => Err(Halt::Blocked),
    }
}

/// How a text ends, by what its surface says of why the answer or the item did. Only these say that nothing was cut off: at a
/// caller's stop sequence, a refusal or an abort a value may have only begun.
pub(super) fn end_for(reason: &str) -> End {
    match reason {
        "completed" | "end_turn" | "function_call" | "stop" | "tool_calls" | "tool_use" => End::Whole,
        _ => End::CutShort,
    }
}

/// What an event was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    More,
    /// The terminal marker.
    Last,
    /// The end that policy demands, written by the surface.
    Stopped,
}

/// The parts of a request's answer that no surface owns.
pub(super) struct Core {
    pub(super) options: Options,
    pub(super) lanes: Lanes,
    pub(super) outlet: Outlet,
    pub(super) meter: Meter,
    pub(super) splice: Splice,
    pub(super) kept: Kept,
    pub(super) finish_reason: Option<String>,
}

impl Core {
    pub(super) fn new(mut options: Options, masker: Masker) -> Core {
        let guard = options.guard.take();
        Core {
            lanes: Lanes::new(guard, &options, masker),
            outlet: Outlet { ready: Vec::new(), committed: false, max_ready: options.max_event },
            meter: Meter::default(),
            splice: Splice::default(),
            kept: Kept::new(options.keep_text),
            finish_reason: None,
            options,
        }
    }

    /// Another attempt, of which nothing has been seen: all but the request's own memory begins anew.
    pub(super) fn restart(&mut self) {
        self.lanes.discard();
        self.outlet.ready.clear();
        self.meter = Meter::default();
        self.kept = Kept::new(self.options.keep_text);
        self.finish_reason = None;
    }

    pub(super) fn estimate(&self) -> Usage {
        self.meter.estimate(self.options.input_estimate)
    }

    /// Usage that must be written now: reported or estimated.
    pub(super) fn best_usage(&self) -> Usage {
        self.meter.best(self.options.input_estimate)
    }

    /// Writes an event as the splice changed it.
    pub(super) fn pass_event(&mut self, name: Option<&[u8]>, data: &[u8]) {
        let ready = &mut self.outlet.ready;
        frames::begin_event(name, ready);
        let start = ready.len();
        self.splice.apply(data, ready);
        frames::end_event(start, ready);
    }

    /// Keeps a text that the lanes were given last: as it came, or without that, what of it left.
    pub(super) fn keep(&mut self, key: Option<Key>, as_it_came: Option<&str>) {
        self.kept.add(key, self.lanes.spelling, as_it_came.unwrap_or(&self.lanes.out));
    }

    /// Remembers why the answer ended: the first choice to end says it.
    pub(super) fn ended_with(&mut self, reason: &str) {
        if self.finish_reason.is_none() {
            self.finish_reason = Some(reason.chars().take(64).collect());
        }
    }
}

/// What is ready to leave. Until there is content nothing does, so that another target can still be tried.
pub(super) struct Outlet {
    pub(super) ready: Vec<u8>,
    committed: bool,
    max_ready: usize,
}

impl Outlet {
    /// There is content: from here on everything leaves as soon as it is ready.
    pub(super) fn commit(&mut self) {
        self.committed = true;
    }

    pub(super) fn committed(&self) -> bool {
        self.committed
    }

    /// Writes an event made here.
    pub(super) fn write(&mut self, name: Option<&str>, write: impl FnOnce(&mut Vec<u8>)) {
        frames::begin_event(name.map(str::as_bytes), &mut self.ready);
        let start = self.ready.len();
        write(&mut self.ready);
        frames::end_event(start, &mut self.ready);
    }

    /// Hands over what may leave. Past the bound even a preamble does: memory comes before failover.
    pub(super) fn release(&mut self, out: &mut Vec<u8>) {
        if !self.committed && self.ready.len() > self.max_ready {
            self.committed = true;
        }
        if self.committed {
            out.append(&mut self.ready);
        }
    }
}
