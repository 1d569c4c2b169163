//! The reading end: for the sink, which deletes what it moved, and for the command line, which only looks.

use std::path::Path;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::Row as _;
use tollgate_filters::audit::Ranges;

use super::{codec, generation};
use crate::StoreError;
use crate::database::{Access, Database};

pub struct SpoolReader {
    database: Database,
}

/// One group commit.
#[derive(Debug)]
pub struct Batch {
    pub id: u64,
    raw: Vec<u8>,
    starts: Vec<usize>,
}

/// A row that cannot be read back.
#[derive(Debug)]
pub struct Damaged {
    pub id: u64,
    /// Numbers that its records accounted for.
    pub numbers: Ranges,
    pub what: String,
}

/// Where a generation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolState {
    /// `instance.generation`
    pub instance: String,
    /// One past the highest number that may have been used.
    pub block_end: u64,
    pub closed: bool,
    pub reported: bool,
    /// Numbers that records account for, moved ones and waiting ones.
    pub accounted: Ranges,
    /// Batches waiting to be moved.
    pub waiting: u64,
    pub damaged: u64,
}

impl SpoolState {
    /// Numbers taken that nothing accounts for. Final only when the owner is gone.
    pub fn unaccounted(&self) -> Ranges {
        self.accounted.missing(1, self.block_end.saturating_sub(1))
    }
}

impl Batch {
    /// The records, in the order in which they were chained.
    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        let ends = self.starts.iter().skip(1).map(|start| start - 4).chain([self.raw.len()]);
        self.starts.iter().zip(ends).map(|(&start, end)| &self.raw[start..end])
    }

    pub fn len(&self) -> usize {
        self.starts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }
}

impl SpoolReader {
    /// For who holds the generation: the sink in the process that writes it.
    pub fn open(state_dir: &Path, generation: u64) -> Result<SpoolReader, StoreError> {
        SpoolReader::open_at(
            &generation::dir(state_dir, generation).join(generation::DATABASE),
            Access::Relaxed,
        )
    }

    /// For who only looks.
    pub fn open_read_only(state_dir: &Path, generation: u64) -> Result<SpoolReader, StoreError> {
        SpoolReader::open_at(
            &generation::dir(state_dir, generation).join(generation::DATABASE),
            Access::ReadOnly,
        )
    }

    pub(super) fn open_at(path: &Path, access: Access) -> Result<SpoolReader, StoreError> {
        let mut database = Database::open(path, access, PATIENCE)?;
        let found: i64 = database.run(async |connection| {
            sqlx::query("PRAGMA user_version").fetch_one(connection).await?.try_get(0)
        })?;
        if found > SCHEMA {
            return Err(StoreError::Newer { path: path.to_owned(), found, known: SCHEMA });
        }
        Ok(SpoolReader { database })
    }

    /// An owner that died while it made the file leaves no tables, or no row: nothing was ever written there.
    pub fn state(&mut self) -> Result<SpoolState, StoreError> {
        let path = self.database.path().to_owned();
        let (row, numbers, damaged) = self.database.run(async |connection| {
            // One snapshot: a batch must not be acknowledged between two of these.
            let mut snapshot = connection.begin().await?;
            let made =
                sqlx::query("PRAGMA user_version").fetch_one(&mut *snapshot).await?.try_get::<i64, _>(0)?;
            if made == 0 {
                return Ok((None, Vec::new(), 0));
            }
            let row = sqlx::query("SELECT instance, block_end, state, acked FROM spool")
                .fetch_optional(&mut *snapshot)
                .await?;
            let numbers = sqlx::query_scalar::<_, String>("SELECT numbers FROM batches")
                .fetch_all(&mut *snapshot)
                .await?;
            let damaged = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM damaged")
                .fetch_one(&mut *snapshot)
                .await?;
            Ok((row, numbers, damaged))
        })?;
        let Some(row) = row else {
            return Ok(SpoolState {
                instance: String::new(),
                block_end: 1,
                closed: true,
                reported: false,
                accounted: Ranges::new(),
                waiting: 0,
                damaged: 0,
            });
        };
        let column = |error| StoreError::sql(&path, error);
        let ranges = |text: &str| {
            serde_json::from_str::<Ranges>(text)
                .map_err(|error| StoreError::Damaged { path: path.clone(), what: error.to_string() })
        };
        let mut accounted = ranges(row.try_get("acked").map_err(column)?)?;
        for numbers in &numbers {
            accounted.extend(&ranges(numbers)?);
        }
        let state: &str = row.try_get("state").map_err(column)?;
        Ok(SpoolState {
            closed: state == "closed",
            reported: state == "reported",
            instance: row.try_get("instance").map_err(column)?,
            block_end: row.try_get::<i64, _>("block_end").map_err(column)? as u64,
            accounted,
            waiting: numbers.len() as u64,
            damaged: damaged as u64,
        })
    }

    /// The batches after that id, oldest first, until they hold `events` records (at least one batch if there is one).
    /// Stops at a damaged one; if that is the first, it is the answer.
    pub fn batches(&mut self, after: u64, events: usize) -> Result<Result<Vec<Batch>, Damaged>, StoreError> {
        let mut batches = Vec::new();
        let (mut after, mut held) = (after, 0);
        while held < events {
            let row = self.database.run(async |connection| {
                sqlx::query(
                    "SELECT id, events, numbers, raw_bytes, data FROM batches WHERE id > ? ORDER BY id LIMIT 1",
                )
                .bind(after as i64)
                .fetch_optional(connection)
                .await
            })?;
            let Some(row) = row else { break };
            match read_batch(&row).map_err(|error| StoreError::sql(self.database.path(), error))? {
                Ok(batch) => {
                    after = batch.id;
                    held += batch.len();
                    batches.push(batch);
                }
                Err(damaged) if batches.is_empty() => return Ok(Err(damaged)),
                Err(_) => break,
            }
        }
        Ok(Ok(batches))
    }

    /// They are safe elsewhere: deletes the batches up to that id, and remembers their numbers.
    pub fn acknowledge(&mut self, up_to: u64) -> Result<(), StoreError> {
        self.drop_batches(up_to, false)
    }

    /// Puts a damaged batch aside, and those before it that were moved.
    pub fn put_aside(&mut self, id: u64) -> Result<(), StoreError> {
        self.drop_batches(id, true)
    }

    fn drop_batches(&mut self, up_to: u64, keep_last: bool) -> Result<(), StoreError> {
        let up_to = up_to as i64;
        self.database.run(async |connection| {
            let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
            let acked: String =
                sqlx::query_scalar("SELECT acked FROM spool").fetch_one(&mut *transaction).await?;
            let mut acked: Ranges = decode(&acked)?;
            let gone = sqlx::query_scalar::<_, String>("SELECT numbers FROM batches WHERE id <= ?")
                .bind(up_to)
                .fetch_all(&mut *transaction)
                .await?;
            for numbers in gone {
                acked.extend(&decode(&numbers)?);
            }
            if keep_last {
                sqlx::query("INSERT OR REPLACE INTO damaged SELECT * FROM batches WHERE id = ?")
                    .bind(up_to)
                    .execute(&mut *transaction)
                    .await?;
            }
            sqlx::query("DELETE FROM batches WHERE id <= ?").bind(up_to).execute(&mut *transaction).await?;
            sqlx::query("UPDATE spool SET acked = ?")
                .bind(serde_json::to_string(&acked).expect("a list of numbers is JSON"))
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await
        })
    }
}

fn read_batch(row: &sqlx::sqlite::SqliteRow) -> Result<Result<Batch, Damaged>, sqlx::Error> {
    let id = row.try_get::<i64, _>("id")? as u64;
    let (events, raw_bytes) = (row.try_get::<i64, _>("events")?, row.try_get::<i64, _>("raw_bytes")?);
    let decoded = codec::decode(
        row.try_get("data")?,
        usize::try_from(raw_bytes).unwrap_or(usize::MAX),
        usize::try_from(events).unwrap_or(usize::MAX),
    );
    Ok(match decoded {
        Ok((raw, starts)) => Ok(Batch { id, raw, starts }),
        Err(what) => Err(Damaged { id, numbers: decode(row.try_get("numbers")?).unwrap_or_default(), what }),
    })
}

fn decode(ranges: &str) -> Result<Ranges, sqlx::Error> {
    serde_json::from_str(ranges).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// `user_version` of migrations/spool.
const SCHEMA: i64 = 1;

const PATIENCE: Duration = Duration::from_secs(2);
