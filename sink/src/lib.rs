//! Audit events from the spool into the store, exactly once in effect, and verified on the way.
//!
//! A step reads a few group commits, follows their chain, and stores records, position and findings in one transaction; only
//! then it deletes them from the spool. Killed between the two, it meets the same batches again: the position says that they
//! were followed, and `event_id` keeps them from being stored twice.

mod mover;
mod source;

pub use mover::{Drained, Mover, MoverOptions, NoObserver, Observer};

#[cfg(test)]
mod tests;
