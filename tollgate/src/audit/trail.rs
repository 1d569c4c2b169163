//! Store and spool as one sequence: what the sink has not moved yet comes last.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tollgate_filters::audit::Timestamp;
use tollgate_store::{AuditStore, DATABASE_FILE, Filter, SpoolReader, StoreError, generations};

/// Opens what is there each time it is asked: files come and go while the gateway runs.
pub(super) struct Trail {
    state_dir: PathBuf,
}

/// A part of the sequence, oldest first.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// As they were written.
    pub(super) records: Vec<String>,
    /// Place of the last one from the store.
    pub(super) last_id: i64,
    /// `event_id`s that were in the spool: not to be shown again when they are met in the store.
    pub(super) ahead: HashSet<String>,
}

/// What filters look at.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Keys {
    event_id: String,
    kind: String,
    ts: Timestamp,
    org: Option<String>,
    app: Option<String>,
    user: Option<String>,
    key_id: Option<String>,
    model_requested: Option<String>,
    status: Option<String>,
    code: Option<String>,
    request_id: Option<String>,
}

impl Trail {
    pub(super) fn open(state_dir: &Path) -> Trail {
        Trail { state_dir: state_dir.to_owned() }
    }

    pub(super) fn exists(&self) -> bool {
        self.state_dir.join(DATABASE_FILE).exists() || self.state_dir.join("spool").exists()
    }

    /// The newest `limit` records that match.
    pub(super) fn newest(&mut self, filter: &Filter, limit: usize) -> io::Result<Part> {
        // The spool first: what is moved meanwhile is met twice, and not missed.
        let mut part = Part::default();
        let mut waiting = VecDeque::new();
        self.each_waiting(|keys, record| {
            part.ahead.insert(keys.event_id.clone());
            if keys.fit(filter) {
                waiting.push_back((keys.event_id, record));
                if waiting.len() > limit {
                    waiting.pop_front();
                }
            }
        })?;
        let mut known = HashSet::new();
        if let Some(mut store) = self.store()? {
            let most = u32::try_from(limit).unwrap_or(u32::MAX);
            let stored = store.newest(filter, most).map_err(io::Error::other)?;
            part.last_id = last_id(&mut store)?;
            let ids: Vec<&str> = waiting.iter().map(|(id, _)| id.as_str()).collect();
            known = store.known(&ids).map_err(io::Error::other)?;
            part.records.extend(stored.into_iter().map(|record| record.event));
        }
        for (id, record) in waiting {
            if !known.contains(&id) {
                part.records.push(record);
            }
        }
        part.records.drain(..part.records.len().saturating_sub(limit));
        Ok(part)
    }

    /// What came after place `id`, without what was `shown` from the spool before.
    pub(super) fn after(&mut self, id: i64, shown: &HashSet<String>) -> io::Result<Part> {
        let mut part = Part { last_id: id, ..Part::default() };
        let mut waiting = Vec::new();
        self.each_waiting(|keys, record| {
            // Kept only where it may have to be shown.
            let record = (!shown.contains(&keys.event_id)).then_some(record);
            waiting.push((keys.event_id, record));
        })?;
        let mut stored_ids = HashSet::new();
        if let Some(mut store) = self.store()? {
            loop {
                let stored = store.after(part.last_id, &Filter::default(), PAGE).map_err(io::Error::other)?;
                let Some(last) = stored.last() else { break };
                part.last_id = last.id;
                for record in stored {
                    let keys = Keys::read(&record.event);
                    if !shown.contains(&keys.event_id) {
                        part.records.push(record.event);
                    }
                    stored_ids.insert(keys.event_id);
                }
            }
        }
        for (id, record) in waiting {
            if !stored_ids.contains(&id) {
                part.records.extend(record);
                part.ahead.insert(id);
            }
        }
        Ok(part)
    }

    /// None before the first start.
    pub(super) fn store(&self) -> io::Result<Option<AuditStore>> {
        let path = self.state_dir.join(DATABASE_FILE);
        if !path.exists() {
            return Ok(None);
        }
        AuditStore::open_read_only(&path).map(Some).map_err(io::Error::other)
    }

    /// The spool's generations, oldest first. One that vanishes while it is looked at was drained: its records are in the store.
    pub(super) fn spools(&self) -> io::Result<Vec<(u64, SpoolReader)>> {
        let mut readers = Vec::new();
        for generation in generations(&self.state_dir).map_err(io::Error::other)? {
            match SpoolReader::open_read_only(&self.state_dir, generation) {
                Ok(reader) => readers.push((generation, reader)),
                Err(error) if !self.state_dir.join("spool").join(generation.to_string()).exists() => {
                    tracing::debug!(%error, generation, "gone");
                }
                // A folder whose owner got no further than making it.
                Err(StoreError::Sql { .. }) => {}
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(readers)
    }

    fn each_waiting(&self, mut visit: impl FnMut(Keys, String)) -> io::Result<()> {
        for (generation, mut reader) in self.spools()? {
            let mut after = 0;
            loop {
                match reader.batches(after, SPOOL_PAGE) {
                    Ok(Ok(batches)) => {
                        let Some(last) = batches.last() else { break };
                        after = last.id;
                        for bytes in batches.iter().flat_map(|batch| batch.records()) {
                            let record = String::from_utf8_lossy(bytes).into_owned();
                            visit(Keys::read(&record), record);
                        }
                    }
                    Ok(Err(damaged)) => {
                        eprintln!(
                            "tollgate: spool {generation}: batch {} is damaged: {}",
                            damaged.id, damaged.what
                        );
                        after = damaged.id;
                    }
                    // Drained and deleted under our hands.
                    Err(_) => break,
                }
            }
        }
        Ok(())
    }
}

fn last_id(store: &mut AuditStore) -> io::Result<i64> {
    let last = store.newest(&Filter::default(), 1).map_err(io::Error::other)?;
    Ok(last.last().map_or(0, |record| record.id))
}

impl Keys {
    fn read(record: &str) -> Keys {
        serde_json::from_str(record).unwrap_or_default()
    }

    fn fit(&self, filter: &Filter) -> bool {
        let texts = [
            (&filter.organization, &self.org),
            (&filter.application, &self.app),
            (&filter.user, &self.user),
            (&filter.key, &self.key_id),
            (&filter.model, &self.model_requested),
            (&filter.status, &self.status),
            (&filter.code, &self.code),
            (&filter.request_id, &self.request_id),
        ];
        texts.iter().all(|(wanted, is)| wanted.is_none() || wanted == is)
            && filter.kind.as_ref().is_none_or(|kind| *kind == self.kind)
            && filter.since.is_none_or(|since| self.ts >= since)
            && filter.until.is_none_or(|until| self.ts < until)
    }
}

const PAGE: u32 = 1_000;

/// Records read from the spool at once, about.
pub(super) const SPOOL_PAGE: usize = 2_000;
