//! Reading back: the last events, events by filter, every record for verification, gaps.

use std::collections::HashSet;

use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{QueryBuilder, Row as _};
use tollgate_filters::audit::Timestamp;

use super::{AuditStore, GapRow, Progress, progress};
use crate::StoreError;

/// Empty fields match everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub kind: Option<String>,
    pub organization: Option<String>,
    pub application: Option<String>,
    pub user: Option<String>,
    pub key: Option<String>,
    pub model: Option<String>,
    pub status: Option<String>,
    pub code: Option<String>,
    pub request_id: Option<String>,
}

/// A record as it was written, and its place in the order of arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    pub id: i64,
    pub instance: String,
    pub event: String,
}

impl AuditStore {
    /// The newest that match, oldest of them first.
    pub fn newest(&mut self, filter: &Filter, limit: u32) -> Result<Vec<StoredRecord>, StoreError> {
        let mut records = self.select(filter, None, "DESC", limit)?;
        records.reverse();
        Ok(records)
    }

    /// Those that match and arrived after `id`, in the order of arrival.
    pub fn after(&mut self, id: i64, filter: &Filter, limit: u32) -> Result<Vec<StoredRecord>, StoreError> {
        self.select(filter, Some(id), "ASC", limit)
    }

    /// Which of these `event_id`s are in the store.
    pub fn known(&mut self, event_ids: &[&str]) -> Result<HashSet<String>, StoreError> {
        let mut known = HashSet::new();
        for ids in event_ids.chunks(IDS) {
            let mut query =
                QueryBuilder::<Sqlite>::new("SELECT event_id FROM audit_events WHERE event_id IN (");
            let mut list = query.separated(", ");
            for id in ids {
                list.push_bind(*id);
            }
            query.push(")");
            known.extend(
                self.database.run(async |connection| {
                    query.build_query_scalar::<String>().fetch_all(connection).await
                })?,
            );
        }
        Ok(known)
    }

    pub fn gaps(&mut self) -> Result<Vec<GapRow>, StoreError> {
        self.database.run(async |connection| {
            let rows = sqlx::query(
                "SELECT instance, from_seq, to_seq, reason, count, reported_by FROM audit_gaps ORDER BY id",
            )
            .fetch_all(connection)
            .await?;
            rows.iter().map(gap).collect()
        })
    }

    /// Every instance generation that was ever moved, and how far.
    pub fn instances(&mut self) -> Result<Vec<(String, Progress)>, StoreError> {
        self.database.run(async |connection| {
            let rows = sqlx::query(
                "SELECT instance, last_batch, chain, ended FROM audit_instances ORDER BY updated_us",
            )
            .fetch_all(connection)
            .await?;
            rows.iter().map(|row| Ok((row.try_get("instance")?, progress(row)?))).collect()
        })
    }

    fn select(
        &mut self,
        filter: &Filter,
        after: Option<i64>,
        order: &'static str,
        limit: u32,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        let mut query =
            QueryBuilder::<Sqlite>::new("SELECT id, instance, event FROM audit_events WHERE TRUE");
        let numbers = [
            (" AND id > ", after),
            (" AND ts_us >= ", filter.since.map(Timestamp::micros)),
            (" AND ts_us < ", filter.until.map(Timestamp::micros)),
        ];
        for (condition, value) in numbers {
            if let Some(value) = value {
                query.push(condition).push_bind(value);
            }
        }
        let texts = [
            (" AND kind = ", &filter.kind),
            (" AND org = ", &filter.organization),
            (" AND app = ", &filter.application),
            (" AND \"user\" = ", &filter.user),
            (" AND key_id = ", &filter.key),
            (" AND model_requested = ", &filter.model),
            (" AND status = ", &filter.status),
            (" AND code = ", &filter.code),
            (" AND request_id = ", &filter.request_id),
        ];
        for (condition, value) in texts {
            if let Some(value) = value {
                query.push(condition).push_bind(value);
            }
        }
        query.push(" ORDER BY id ").push(order).push(" LIMIT ").push_bind(limit);
        self.database.run(async |connection| {
            let rows = query.build().fetch_all(connection).await?;
            rows.iter().map(record).collect()
        })
    }
}

fn record(row: &SqliteRow) -> Result<StoredRecord, sqlx::Error> {
    Ok(StoredRecord {
        id: row.try_get("id")?,
        instance: row.try_get("instance")?,
        event: row.try_get("event")?,
    })
}

fn gap(row: &SqliteRow) -> Result<GapRow, sqlx::Error> {
    Ok(GapRow {
        instance: row.try_get("instance")?,
        from_seq: row.try_get::<i64, _>("from_seq")? as u64,
        to_seq: row.try_get::<i64, _>("to_seq")? as u64,
        reason: row.try_get("reason")?,
        count: row.try_get::<i64, _>("count")? as u64,
        reported_by: row.try_get("reported_by")?,
    })
}

/// Values per statement, far below SQLite's 32 766.
const IDS: usize = 1_000;
