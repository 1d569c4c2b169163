//! The embedded audit store: rows for queries, the written bytes for proof, and how far each chain was followed.

mod query;
mod record;

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Row as _};
use tollgate_filters::audit::{Chain, Timestamp};

use crate::StoreError;
use crate::database::{Access, Database};

pub use query::{Filter, StoredRecord};

/// One connection, for one thread.
pub struct AuditStore {
    database: Database,
}

/// How far an instance generation was moved.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Spool batches up to this id are in the store; 0: none.
    pub last_batch: u64,
    pub chain: Chain,
    /// Nothing will follow; its holes are final and reported.
    pub ended: bool,
}

/// One step of the sink: goes in whole or not at all.
#[derive(Debug)]
pub struct Moved<'a> {
    pub instance: &'a str,
    /// What [`AuditStore::progress`] said before.
    pub from_batch: u64,
    pub to_batch: u64,
    pub chain: &'a Chain,
    pub ended: bool,
    /// Written records, in the order of the chain. What is stored already (by `event_id`) is skipped.
    pub records: &'a [&'a [u8]],
    pub gaps: &'a [GapRow],
    pub now: Timestamp,
}

/// A known loss or a fault of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GapRow {
    pub instance: String,
    pub from_seq: u64,
    pub to_seq: u64,
    pub reason: String,
    /// Requests without an event; 0 for faults of the chain.
    pub count: u64,
    /// `event_id` of the gap event, or `sink`.
    pub reported_by: String,
}

impl AuditStore {
    /// Creates the file and brings its schema up to date. A newer schema is refused.
    pub fn open(path: &Path) -> Result<AuditStore, StoreError> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(StoreError::io(parent))?;
        }
        let mut database = Database::open(path, Access::Promise, MIGRATION_PATIENCE)?;
        database.migrate()?;
        database.set_patience(PATIENCE)?;
        Ok(AuditStore { database })
    }

    /// For who only looks; the file must be there, with this version's schema.
    pub fn open_read_only(path: &Path) -> Result<AuditStore, StoreError> {
        let mut database = Database::open(path, Access::ReadOnly, PATIENCE)?;
        database.check_schema()?;
        Ok(AuditStore { database })
    }

    pub fn progress(&mut self, instance: &str) -> Result<Progress, StoreError> {
        let row = self.database.run(async |connection| {
            sqlx::query("SELECT last_batch, chain, ended FROM audit_instances WHERE instance = ?")
                .bind(instance)
                .fetch_optional(connection)
                .await?
                .map(|row| progress(&row))
                .transpose()
        })?;
        Ok(row.unwrap_or_else(|| Progress { last_batch: 0, chain: Chain::default(), ended: false }))
    }

    /// Returns how many records were new.
    pub fn store(&mut self, moved: &Moved<'_>) -> Result<u64, StoreError> {
        let chain = serde_json::to_string(moved.chain).expect("a chain is hashes and numbers");
        let stored = self.database.run(async |connection| {
            // Immediate: a deferred one may find itself locked after it has read.
            let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
            if !advance(&mut transaction, moved, &chain).await? {
                return Ok(None);
            }
            let inserted = record::insert(&mut transaction, moved.records).await?;
            insert_gaps(&mut transaction, moved.gaps, moved.now).await?;
            transaction.commit().await?;
            Ok(Some(inserted))
        })?;
        stored.ok_or_else(|| StoreError::Conflict { instance: moved.instance.to_owned() })
    }
}

/// False when somebody else has moved this instance meanwhile.
async fn advance(
    connection: &mut SqliteConnection,
    moved: &Moved<'_>,
    chain: &str,
) -> Result<bool, sqlx::Error> {
    let updated = sqlx::query(
        "INSERT INTO audit_instances (instance, last_batch, chain, ended, updated_us) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (instance) DO UPDATE
         SET last_batch = excluded.last_batch, chain = excluded.chain, ended = excluded.ended, updated_us = excluded.updated_us
         WHERE last_batch = ?",
    )
    .bind(moved.instance)
    .bind(moved.to_batch as i64)
    .bind(chain)
    .bind(moved.ended)
    .bind(moved.now.micros())
    .bind(moved.from_batch as i64)
    .execute(connection)
    .await?;
    Ok(updated.rows_affected() == 1)
}

async fn insert_gaps(
    connection: &mut SqliteConnection,
    gaps: &[GapRow],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    for gap in gaps {
        sqlx::query(
            "INSERT INTO audit_gaps (instance, from_seq, to_seq, reason, count, reported_by, found_us)
             VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(&gap.instance)
        .bind(gap.from_seq as i64)
        .bind(gap.to_seq as i64)
        .bind(&gap.reason)
        .bind(gap.count as i64)
        .bind(&gap.reported_by)
        .bind(now.micros())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

fn progress(row: &sqlx::sqlite::SqliteRow) -> Result<Progress, sqlx::Error> {
    let chain = serde_json::from_str(row.try_get("chain")?)
        .map_err(|error| sqlx::Error::ColumnDecode { index: "chain".to_owned(), source: Box::new(error) })?;
    let last_batch = row.try_get::<i64, _>("last_batch")? as u64;
    Ok(Progress { last_batch, chain, ended: row.try_get("ended")? })
}

/// The mover has its own back-off; a query of the command line waits as long.
const PATIENCE: Duration = Duration::from_millis(500);

/// Two processes may start at once; one waits for the other's migrations.
const MIGRATION_PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
