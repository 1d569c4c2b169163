//! The durable spool: what the audit thread committed and the sink has not moved yet.
//!
//! `STATE_DIR/spool/<generation>/` holds `spool.db` and `lock`. Each start takes the next generation and holds its lock until it
//! ends; so a free lock means that nobody writes there any more, and whoever takes it may drain and delete the folder. Two
//! processes (an upgrade) never share a generation.
//!
//! A record costs its share of one row per group commit: all records of the group behind each other, compressed with zstd.

mod codec;
mod generation;
mod reader;

use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::{Connection as _, Row as _};
use tollgate_filters::audit::{Ranges, Sealed};

use crate::StoreError;
use crate::database::{Access, Database};

pub use generation::{Claimed, claim, generations};
pub use reader::{Batch, Damaged, SpoolReader, SpoolState};

#[derive(Debug, Clone)]
pub struct SpoolOptions {
    pub state_dir: PathBuf,
    /// Name in events. None: a random one, made at the first start and kept in the state directory. A name given here must be
    /// unique among all that write to one store.
    pub instance: Option<String>,
    /// Bound of the file; past it appends fail as with a full disk. What the sink has moved makes room again.
    pub max_bytes: u64,
}

impl SpoolOptions {
    pub fn new(state_dir: impl Into<PathBuf>) -> SpoolOptions {
        SpoolOptions { state_dir: state_dir.into(), instance: None, max_bytes: 4 << 30 }
    }
}

/// The writing end of this process's generation.
pub struct Spool {
    database: Database,
    /// Held open: the lock goes with it, also when the process is killed.
    _lock: File,
    state_dir: PathBuf,
    identity: String,
    generation: u64,
    /// Row id of the next append. A failed append is repeated with the same id, so it is stored once.
    next_batch: i64,
    encoder: codec::Encoder,
    abandoned: Vec<Abandoned>,
    abandoned_in: Vec<u64>,
}

/// Numbers of an earlier generation that no record accounts for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abandoned {
    /// `instance.generation`
    pub instance: String,
    pub ranges: Ranges,
}

impl Spool {
    /// Takes the next generation, and finds out what crashed ones before it left unaccounted.
    pub fn open(options: &SpoolOptions) -> Result<Spool, StoreError> {
        let instance = generation::instance(&options.state_dir, options.instance.as_deref())?;
        let seed = if options.instance.is_some() { unix_seconds() } else { 1 };
        let taken = generation::take(&options.state_dir, seed)?;
        let identity = format!("{instance}.{}", taken.generation);
        let mut database = Database::open(&taken.dir.join(generation::DATABASE), Access::Promise, PATIENCE)?;
        let pages = (options.max_bytes / PAGE_BYTES).clamp(16, u64::from(u32::MAX) - 1);
        database.run(async |connection| {
            let mut transaction = connection.begin().await?;
            sqlx::raw_sql(include_str!("../../migrations/spool/0001_spool.sql"))
                .execute(&mut *transaction)
                .await?;
            sqlx::query("INSERT INTO spool (one, instance) VALUES (1, ?)")
                .bind(&identity)
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            // The pragma takes no bound parameter; `pages` is a number made here.
            sqlx::raw_sql(sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}")))
                .execute(&mut *connection)
                .await?;
            Ok(())
        })?;
        let (abandoned, abandoned_in) = abandoned_before(&options.state_dir, taken.generation)?;
        Ok(Spool {
            database,
            _lock: taken.lock,
            state_dir: options.state_dir.clone(),
            identity,
            generation: taken.generation,
            next_batch: 1,
            encoder: codec::Encoder::new(),
            abandoned,
            abandoned_in,
        })
    }

    /// `instance.generation`
    pub fn identity(&self) -> &str {
        &self.identity
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn abandoned(&self) -> &[Abandoned] {
        &self.abandoned
    }

    /// The records about [`abandoned`](Spool::abandoned) are committed: those folders may go once they are drained.
    pub fn abandoned_reported(&mut self) -> Result<(), StoreError> {
        for generation in std::mem::take(&mut self.abandoned_in) {
            let path = generation::dir(&self.state_dir, generation).join(generation::DATABASE);
            Database::open(&path, Access::Relaxed, PATIENCE)?.run(async |connection| {
                sqlx::query("UPDATE spool SET state = 'reported' WHERE state = 'open'")
                    .execute(connection)
                    .await
            })?;
        }
        Ok(())
    }

    /// The next `n` numbers, durably taken.
    pub fn take_block(&mut self, n: u64) -> Result<Range<u64>, StoreError> {
        let n = i64::try_from(n).unwrap_or(i64::MAX);
        let end: i64 = self.database.run(async |connection| {
            sqlx::query("UPDATE spool SET block_end = block_end + ? RETURNING block_end")
                .bind(n)
                .fetch_one(connection)
                .await?
                .try_get(0)
        })?;
        Ok((end - n) as u64..end as u64)
    }

    /// Makes the records durable, all or none. Repeated after an error with the same records, it stores them once.
    pub fn append(&mut self, records: &[Sealed]) -> Result<(), StoreError> {
        let mut numbers = Ranges::new();
        for record in records {
            numbers.insert(record.seq);
            numbers.extend(&record.declares);
        }
        let numbers = serde_json::to_string(&numbers).expect("a list of numbers is JSON");
        let (data, raw_bytes) = self
            .encoder
            .encode(records.iter().map(|record| record.bytes.as_slice()))
            .map_err(StoreError::io(self.database.path()))?;
        let (id, events) = (self.next_batch, records.len() as i64);
        self.database.run(async |connection| {
            sqlx::query(
                "INSERT INTO batches (id, events, numbers, raw_bytes, data) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
            )
            .bind(id)
            .bind(events)
            .bind(numbers)
            .bind(raw_bytes as i64)
            .bind(data)
            .execute(connection)
            .await
        })?;
        self.next_batch += 1;
        Ok(())
    }

    /// Numbers from `next` on were never used: nothing is abandoned.
    pub fn close(&mut self, next: u64) -> Result<(), StoreError> {
        self.database.run(async |connection| {
            sqlx::query("UPDATE spool SET block_end = ?, state = 'closed'")
                .bind(next as i64)
                .execute(connection)
                .await
        })?;
        Ok(())
    }
}

/// What generations before `own` left unaccounted: those whose owner is gone, that were not closed and not yet reported.
fn abandoned_before(state_dir: &std::path::Path, own: u64) -> Result<(Vec<Abandoned>, Vec<u64>), StoreError> {
    let (mut abandoned, mut found_in) = (Vec::new(), Vec::new());
    for generation in generations(state_dir)?.into_iter().filter(|&generation| generation < own) {
        let Some(claimed) = claim(state_dir, generation)? else { continue };
        // A folder that cannot be read must not keep the gateway from starting; it stays for whoever investigates.
        let state = claimed.reader().and_then(|mut reader| reader.state());
        let state = match state {
            Ok(state) => state,
            Err(error) => {
                tracing::error!(%error, generation, "audit: an earlier generation of the spool cannot be read");
                continue;
            }
        };
        if !state.closed && !state.reported {
            let ranges = state.unaccounted();
            if !ranges.is_empty() {
                abandoned.push(Abandoned { instance: state.instance, ranges });
            }
            found_in.push(generation);
        }
    }
    Ok((abandoned, found_in))
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs())
}

/// How long an append waits for the mover's short transactions.
const PATIENCE: Duration = Duration::from_secs(5);

/// SQLite's default page.
const PAGE_BYTES: u64 = 4096;

#[cfg(test)]
mod tests;
