//! The only crate with SQL: the audit spool (one SQLite file per instance generation) and the audit store.
//!
//! Everything here blocks, and is called from threads that may: the audit thread, the sink's thread, the command line.
//! Never call it from an async task.

mod audit;
mod database;
mod error;
mod spool;

pub use audit::{AuditStore, Filter, GapRow, Moved, Progress, StoredRecord};
pub use error::StoreError;
pub use spool::{
    Abandoned, Batch, Claimed, Damaged, Spool, SpoolOptions, SpoolReader, SpoolState, claim, generations,
};

/// The embedded store's file in the state directory.
pub const DATABASE_FILE: &str = "tollgate.db";
