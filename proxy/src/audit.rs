//! The audit producer: a place and a number for every request before it is admitted, one event for every request when it is over.
//!
//! [`AuditQueue::slot`] takes both under one short lock: no I/O, no await. [`AuditSlot::send`] hands the event over; a slot that
//! is dropped unsent is written as `lost`, so that every number is accounted for. A thread of its own seals what was sent
//! (identity, number, chain) and commits it to the [`Spool`] in groups. While the spool fails, events stay queued; when the
//! queue is full, `when_full` decides: refuse the next request, or let it pass, count it and report its number as a gap.
//!
//! A place is held from admission until the event is committed. So `capacity` bounds requests in flight plus events waiting.

mod queue;
mod writer;

use std::ops::Range;
use std::time::Duration;

use tollgate_filters::audit::{Ranges, Sealed};

use crate::config;
pub use crate::config::WhenFull;
pub use queue::{AuditQueue, AuditSlot, Full};
pub use writer::{AuditThread, Shutdown};

/// Where sealed records become durable. One per process, used by the audit thread alone; every call may block.
pub trait Spool: Send {
    /// `instance.generation`, written into every record.
    fn identity(&self) -> &str;

    /// What earlier generations left without a record, found when the spool was opened.
    fn abandoned(&self) -> Vec<Abandoned>;

    /// The records that report [`abandoned`](Spool::abandoned) are committed; it need not be reported again.
    fn abandoned_reported(&mut self) -> Result<(), SpoolError>;

    /// The next `n` numbers, consecutive to the last block, durably taken: a crash from now on abandons what of them is unused.
    fn take_block(&mut self, n: u64) -> Result<Range<u64>, SpoolError>;

    /// Makes the records durable, all or none. After an error the same call is made again, so it must not store a batch twice.
    fn append(&mut self, batch: &[Sealed]) -> Result<(), SpoolError>;

    /// The end of this generation: numbers from `next` on were never used.
    fn close(&mut self, next: u64) -> Result<(), SpoolError>;
}

/// Numbers of an earlier generation that have no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abandoned {
    /// `instance.generation`
    pub instance: String,
    pub ranges: Ranges,
}

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SpoolError(#[from] pub Box<dyn std::error::Error + Send + Sync>);

/// What the producer counts. Called from request threads too: must not block.
pub trait AuditMetrics: Send + Sync {
    /// A group was committed.
    fn committed(&self, events: usize, bytes: usize, took: Duration);
    /// The spool refused; the call is repeated.
    fn spool_failed(&self);
    /// A request went on without an event (`when_full: drop`).
    fn dropped(&self);
    /// A slot was dropped unsent, or sent after the end.
    fn lost(&self);
    /// A refusal was counted instead of getting an event.
    fn refusal_counted(&self);
}

/// Counts nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMetrics;

impl AuditMetrics for NoMetrics {
    fn committed(&self, _: usize, _: usize, _: Duration) {}
    fn spool_failed(&self) {}
    fn dropped(&self) {}
    fn lost(&self) {}
    fn refusal_counted(&self) {}
}

#[derive(Debug, Clone)]
pub struct Options {
    /// Places: requests in flight plus events not yet committed.
    pub capacity: usize,
    /// Places of those that refusals before admission may hold.
    pub refusal_capacity: usize,
    /// Longest time from `send` to the start of the commit, while the spool works.
    pub commit_interval: Duration,
    /// So many events waiting start the commit at once.
    pub commit_events: usize,
    /// Numbers taken from the spool at a time.
    pub seq_block: u64,
    /// Shortest time between two summaries of drops and of counted refusals.
    pub notice_interval: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            capacity: 10_000,
            refusal_capacity: 1_000,
            commit_interval: Duration::from_millis(50),
            commit_events: 1_000,
            seq_block: 10_000,
            notice_interval: Duration::from_secs(1),
        }
    }
}

impl From<&config::Audit> for Options {
    /// A tenth of the places for refusals before admission.
    fn from(audit: &config::Audit) -> Options {
        Options {
            capacity: audit.queue,
            refusal_capacity: (audit.queue / 10).max(1),
            commit_interval: audit.commit_interval,
            seq_block: audit.seq_block,
            ..Options::default()
        }
    }
}

#[cfg(test)]
mod tests;
