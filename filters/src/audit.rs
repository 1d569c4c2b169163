//! The audit trail's event, version 1: what is written, how it is numbered and chained, and how a sequence is verified.
//!
//! Every written event carries an envelope: `event_id`, `schema`, `kind`, `instance`, `seq`, `prev`. `seq` numbers what one
//! instance generation decided about, taken when a request is admitted or refused; `prev` is the hash of the event written
//! before it. The two orders differ: a long stream keeps an early `seq` and is written late.
//! See docs/audit-event.md for the reader's side.

mod chain;
mod digest;
mod event;
mod ranges;
mod record;
mod time;

pub use chain::{Chain, Fault, Hash, Report, verify};
pub use digest::keyed_digest;
pub use event::{
    Attempt, Content, ContentForm, ContentText, Decision, Event, FindingCount, Status, Timing, Tokens,
    Versions,
};
pub use ranges::Ranges;
pub use record::{
    CodeCount, Gap, GapReason, Header, Kind, Notice, Refusals, SCHEMA, Seal, Sealed, event_id, json_schema,
    seal_event, seal_notice,
};
pub use time::Timestamp;

#[cfg(test)]
mod tests;
