//! The side of the request threads: places, numbers, hand-over. One lock guards all of it, held for tens of nanoseconds.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tollgate_filters::audit::{Event, Ranges, Timestamp};
use tollgate_filters::verdict::Code;

use super::{AuditMetrics, Options, WhenFull};

/// The queue has no place, or the spool no numbers; with [`WhenFull::Refuse`] the request is to be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit queue is full")]
pub struct Full;

/// Gives out slots. Cheap to clone.
#[derive(Clone)]
pub struct AuditQueue {
    pub(super) shared: Arc<Shared>,
}

/// One request's place and number. Dropped unsent, it is reported as lost.
pub struct AuditSlot {
    shared: Arc<Shared>,
    seq: Option<u64>,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Request,
    Refusal,
    /// The queue was full and the policy is to drop: counted already.
    Dropped,
    /// Sent: nothing left to do.
    Sent,
}

pub(super) struct Shared {
    state: Mutex<State>,
    /// The audit thread waits here.
    wake: Condvar,
    pub(super) options: Options,
    pub(super) metrics: Arc<dyn AuditMetrics>,
}

/// Invariant: `places = open + items.len() + taken by the audit thread and not yet committed`.
pub(super) struct State {
    /// The next number is its start.
    pub(super) block: Range<u64>,
    /// Follows `block`; taken while that is used up.
    pub(super) reserve: Option<Range<u64>>,
    pub(super) items: Vec<Item>,
    places: usize,
    refusal_places: usize,
    /// Slots that are neither sent nor dropped.
    open: usize,
    pub(super) drops: Drops,
    pub(super) refusals: BTreeMap<Code, u64>,
    pub(super) phase: Phase,
    sleep: Sleep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// No new slots; what is open may still be sent until then.
    Closing(Instant),
    Closed,
}

/// What the audit thread waits for, so that `send` makes a system call once per commit and not once per event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sleep {
    /// Not waiting, or not to be disturbed.
    Busy,
    /// For anything at all.
    Idle,
    /// For anything but more notices.
    Events,
    /// For so many events, or the end of the interval.
    Gathering,
}

pub(super) struct Item {
    pub(super) seq: u64,
    pub(super) refusal: bool,
    pub(super) what: What,
}

pub(super) enum What {
    Event(Box<Event>),
    Lost(Timestamp),
}

/// Requests that went on without an event.
#[derive(Debug, Default)]
pub(super) struct Drops {
    pub(super) numbered: Ranges,
    /// Past [`MAX_DROP_PIECES`], or when the numbers ran out: these took no number, so they leave no hole either.
    pub(super) unnumbered: u64,
}

impl AuditQueue {
    pub(super) fn new(options: Options, metrics: Arc<dyn AuditMetrics>, block: Range<u64>) -> AuditQueue {
        let state = State {
            block,
            reserve: None,
            items: Vec::with_capacity(options.commit_events),
            places: 0,
            refusal_places: 0,
            open: 0,
            drops: Drops::default(),
            refusals: BTreeMap::new(),
            phase: Phase::Open,
            sleep: Sleep::Busy,
        };
        AuditQueue {
            shared: Arc::new(Shared { state: Mutex::new(state), wake: Condvar::new(), options, metrics }),
        }
    }

    /// A place and a number for one request that is to be admitted; `when_full` is the policy of its configuration.
    pub fn slot(&self, when_full: WhenFull) -> Result<AuditSlot, Full> {
        let shared = &self.shared;
        let mut state = shared.state.lock();
        if let Some(seq) = state.place(shared.options.capacity) {
            shared.unlock_and_wake(state);
            return Ok(AuditSlot { shared: Arc::clone(shared), seq: Some(seq), place: Place::Request });
        }
        if when_full == WhenFull::Refuse {
            return Err(Full);
        }
        let seq = state.count_drop();
        shared.unlock_and_wake(state);
        shared.metrics.dropped();
        Ok(AuditSlot { shared: Arc::clone(shared), seq, place: Place::Dropped })
    }

    /// The same for a request refused before admission. None: its share of the queue is used up, and it is counted in the
    /// next summary instead.
    pub fn refusal(&self, code: Code) -> Option<AuditSlot> {
        let shared = &self.shared;
        let mut state = shared.state.lock();
        if state.refusal_places < shared.options.refusal_capacity
            && let Some(seq) = state.place(shared.options.capacity)
        {
            state.refusal_places += 1;
            shared.unlock_and_wake(state);
            return Some(AuditSlot { shared: Arc::clone(shared), seq: Some(seq), place: Place::Refusal });
        }
        *state.refusals.entry(code).or_default() += 1;
        shared.unlock_and_wake(state);
        shared.metrics.refusal_counted();
        None
    }

    /// No place is left: the next request depends on its `when_full`.
    pub fn is_full(&self) -> bool {
        self.shared.lock().in_use() >= self.shared.options.capacity
    }

    /// Events that are not committed yet. What is still open holds a place too, but is not counted here.
    pub fn waiting(&self) -> usize {
        let state = self.shared.lock();
        state.in_use() - state.open_slots()
    }
}

impl AuditSlot {
    /// This request's number; None where it was dropped without one.
    pub fn seq(&self) -> Option<u64> {
        self.seq
    }

    /// Hands the event over. Never waits, never fails: the place was taken before.
    pub fn send(mut self, event: Box<Event>) {
        self.settle(What::Event(event));
    }

    fn settle(&mut self, what: What) {
        let refusal = match std::mem::replace(&mut self.place, Place::Sent) {
            Place::Request => false,
            Place::Refusal => true,
            Place::Dropped | Place::Sent => return,
        };
        let lost = matches!(what, What::Lost(_));
        let mut state = self.shared.state.lock();
        state.open -= 1;
        let late = state.phase == Phase::Closed;
        if !late && let Some(seq) = self.seq {
            state.items.push(Item { seq, refusal, what });
        }
        self.shared.unlock_and_wake(state);
        if late || lost {
            self.shared.metrics.lost();
        }
    }
}

impl Drop for AuditSlot {
    fn drop(&mut self) {
        if matches!(self.place, Place::Request | Place::Refusal) {
            self.settle(What::Lost(Timestamp::from(SystemTime::now())));
        }
    }
}

impl State {
    fn place(&mut self, capacity: usize) -> Option<u64> {
        if self.phase != Phase::Open || self.places >= capacity {
            return None;
        }
        let seq = self.take_seq()?;
        self.places += 1;
        self.open += 1;
        Some(seq)
    }

    pub(super) fn take_seq(&mut self) -> Option<u64> {
        if self.block.is_empty() {
            self.block = self.reserve.take()?;
        }
        self.block.next()
    }

    fn count_drop(&mut self) -> Option<u64> {
        // A piece more at most per drop, so the list stays within its bound.
        let numbered = self.phase == Phase::Open && self.drops.numbered.pieces() < MAX_DROP_PIECES;
        match numbered.then(|| self.take_seq()).flatten() {
            Some(seq) => {
                self.drops.numbered.insert(seq);
                Some(seq)
            }
            None => {
                self.drops.unnumbered += 1;
                None
            }
        }
    }

    /// The lowest number not yet used. Blocks are consecutive, so an empty one's start is its successor's.
    pub(super) fn next_seq(&self) -> u64 {
        self.block.start
    }

    pub(super) fn in_use(&self) -> usize {
        self.places
    }

    pub(super) fn open_slots(&self) -> usize {
        self.open
    }

    pub(super) fn wants_notice(&self) -> bool {
        !self.refusals.is_empty() || self.drops.unnumbered > 0 || !self.drops.numbered.is_empty()
    }

    pub(super) fn wants_block(&self) -> bool {
        self.reserve.is_none()
    }

    fn has_work(&self) -> bool {
        !self.items.is_empty() || self.wants_block() || self.phase != Phase::Open
    }

    fn is_awaited(&self, commit_events: usize) -> bool {
        match self.sleep {
            Sleep::Busy => false,
            Sleep::Idle => self.wants_notice() || self.has_work(),
            Sleep::Events => self.has_work(),
            Sleep::Gathering => {
                self.items.len() >= commit_events || self.wants_block() || self.phase != Phase::Open
            }
        }
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Wakes the audit thread if what it waits for is there. The lock is given back first: it would only be waited for.
    pub(super) fn unlock_and_wake(&self, mut state: MutexGuard<'_, State>) {
        let wake = state.is_awaited(self.options.commit_events);
        if wake {
            state.sleep = Sleep::Busy;
        }
        drop(state);
        if wake {
            self.wake.notify_one();
        }
    }

    /// Waits until there is something to do, then for more of it: one interval from then, or `commit_events`.
    /// `notices_from`: notices alone are no reason to come back before.
    pub(super) fn gather(&self, notices_from: Instant) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        while !state.has_work() {
            if !state.wants_notice() {
                state.sleep = Sleep::Idle;
                self.wake.wait(&mut state);
            } else if Instant::now() < notices_from {
                state.sleep = Sleep::Events;
                self.wake.wait_until(&mut state, notices_from);
            } else {
                break;
            }
        }
        let due = Instant::now() + self.options.commit_interval;
        while state.phase == Phase::Open
            && !state.wants_block()
            && state.items.len() < self.options.commit_events
            && Instant::now() < due
        {
            state.sleep = Sleep::Gathering;
            self.wake.wait_until(&mut state, due);
        }
        state.sleep = Sleep::Busy;
        state
    }

    /// While closing: waits for an event, for the last open slot, or for the deadline.
    pub(super) fn gather_last(&self, deadline: Instant) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        while state.items.is_empty() && state.open > 0 && Instant::now() < deadline {
            // Every slot ends in an item, so this is woken by the last one too.
            state.sleep = Sleep::Events;
            self.wake.wait_until(&mut state, deadline);
        }
        state.sleep = Sleep::Busy;
        state
    }

    /// Waits out a failure of the spool; cut short by closing.
    pub(super) fn pause(&self, until: Instant) -> Phase {
        let mut state = self.state.lock();
        while state.phase == Phase::Open && Instant::now() < until {
            state.sleep = Sleep::Busy;
            self.wake.wait_until(&mut state, until);
        }
        state.phase
    }

    pub(super) fn close(&self, phase: Phase) {
        let mut state = self.state.lock();
        if state.phase != Phase::Closed {
            state.phase = phase;
        }
        state.sleep = Sleep::Busy;
        drop(state);
        self.wake.notify_one();
    }

    /// What was committed gives its places back.
    pub(super) fn release(&self, places: usize, refusals: usize) {
        let mut state = self.state.lock();
        state.places -= places;
        state.refusal_places -= refusals;
    }
}

/// Ranges of dropped numbers that are listed one by one between two notices.
const MAX_DROP_PIECES: usize = 4096;
