//! What was asked and what was served: the second source that tests compare audit rows and settled usage with.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::script::Tokens;

/// One request as it was received, and how far its answer came.
#[derive(Debug, Clone)]
pub struct Entry {
    /// From 0, in the order of arrival.
    pub id: u64,
    pub at: SystemTime,
    /// From 0, in the order of accepting.
    pub connection: u64,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    pub method: String,
    /// With query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    pub model: String,
    /// The script key that answered; `None`: a default answer.
    pub script: Option<String>,
    pub status: u16,
    /// Pieces said and bytes of body handed to the connection.
    pub pieces: u64,
    pub bytes: u64,
    /// Usage as it was reported to the client; `None`: not (or not yet) reported.
    pub reported: Option<Tokens>,
    pub outcome: Outcome,
    /// From arrival until the outcome was known.
    pub took: Option<Duration>,
    /// When the outcome was known.
    pub ended: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Still being answered.
    Open,
    /// The whole answer was handed over.
    Served,
    /// The client closed the connection or reset the stream before the end.
    Cancelled,
    /// A fault that the script asked for ended it.
    Faulted,
    /// The upstream was killed.
    Killed,
}

/// Sums over all requests ever, kept when old entries are dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Totals {
    pub requests: u64,
    pub served: u64,
    pub cancelled: u64,
    pub faulted: u64,
    pub killed: u64,
    pub pieces: u64,
    pub reported: Tokens,
}

#[derive(Clone)]
pub struct Ledger {
    shared: Arc<Shared>,
}

struct Shared {
    book: Mutex<Pages>,
    changed: watch::Sender<u64>,
    /// Most entries kept; 0: totals only.
    keep: usize,
}

#[derive(Default)]
struct Pages {
    entries: VecDeque<Entry>,
    next: u64,
    totals: Totals,
}

impl Ledger {
    pub(crate) fn new(keep: usize) -> Ledger {
        let shared = Shared { book: Mutex::default(), changed: watch::Sender::new(0), keep };
        Ledger { shared: Arc::new(shared) }
    }

    /// Every request kept, oldest first.
    pub fn entries(&self) -> Vec<Entry> {
        self.shared.book.lock().entries.iter().cloned().collect()
    }

    /// Requests for one model.
    pub fn for_model(&self, model: &str) -> Vec<Entry> {
        self.shared.book.lock().entries.iter().filter(|e| e.model == model).cloned().collect()
    }

    pub fn last(&self) -> Option<Entry> {
        self.shared.book.lock().entries.back().cloned()
    }

    pub fn totals(&self) -> Totals {
        self.shared.book.lock().totals
    }

    /// Forgets entries and totals; requests still open count when they end.
    pub fn clear(&self) {
        let mut pages = self.shared.book.lock();
        pages.entries.clear();
        pages.totals = Totals::default();
    }

    /// Waits until the entries are as `wanted` says. `Err` has them as they were when `limit` was over.
    pub async fn until(
        &self,
        limit: Duration,
        wanted: impl Fn(&[Entry]) -> bool,
    ) -> Result<Vec<Entry>, Vec<Entry>> {
        let mut changed = self.shared.changed.subscribe();
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            changed.mark_unchanged();
            let entries = self.entries();
            if wanted(&entries) {
                return Ok(entries);
            }
            match tokio::time::timeout_at(deadline, changed.changed()).await {
                Ok(Ok(())) => {}
                _ => return Err(entries),
            }
        }
    }

    pub(crate) fn keeps_entries(&self) -> bool {
        self.shared.keep > 0
    }

    /// Enters a request; `entry.id` is set here.
    pub(crate) fn enter(&self, mut entry: Entry) -> Record {
        let mut pages = self.shared.book.lock();
        let id = pages.next;
        entry.id = id;
        pages.next += 1;
        pages.totals.requests += 1;
        if self.shared.keep > 0 {
            if pages.entries.len() == self.shared.keep {
                pages.entries.pop_front();
            }
            pages.entries.push_back(entry);
        }
        drop(pages);
        self.notify();
        Record { ledger: self.clone(), id, began: Instant::now(), said: Said::default(), ended: false }
    }

    pub(crate) fn killed(&self) {
        let mut pages = self.shared.book.lock();
        let mut count = 0;
        for entry in pages.entries.iter_mut().filter(|e| e.outcome == Outcome::Open) {
            entry.outcome = Outcome::Killed;
            entry.ended = Some(Instant::now());
            count += 1;
        }
        pages.totals.killed += count;
        drop(pages);
        self.notify();
    }

    /// Changes an entry, if it is (still) kept, and the totals in one step: no reader sees one without the other.
    fn update(&self, id: u64, change: impl FnOnce(Option<&mut Entry>, &mut Totals)) {
        let mut pages = self.shared.book.lock();
        let Pages { entries, totals, .. } = &mut *pages;
        let first = entries.front().map_or(u64::MAX, |e| e.id);
        let index = id.checked_sub(first).and_then(|at| usize::try_from(at).ok());
        change(index.and_then(|at| entries.get_mut(at)), totals);
        drop(pages);
        self.notify();
    }

    fn notify(&self) {
        self.shared.changed.send_modify(|version| *version += 1);
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Said {
    pub(crate) pieces: u64,
    pub(crate) bytes: u64,
}

/// An open entry. Dropped before its end, the client has gone.
pub(crate) struct Record {
    ledger: Ledger,
    pub(crate) id: u64,
    began: Instant,
    pub(crate) said: Said,
    ended: bool,
}

impl Record {
    pub(crate) fn read(&self, body: Bytes, model: &str, script: Option<&str>, status: u16) {
        let (model, script) = (model.to_owned(), script.map(str::to_owned));
        self.ledger.update(self.id, |entry, _| {
            if let Some(entry) = entry {
                (entry.body, entry.model, entry.script, entry.status) = (body, model, script, status);
            }
        });
    }

    /// Makes what was said so far visible.
    pub(crate) fn progress(&self) {
        let said = self.said;
        if self.ledger.keeps_entries() {
            self.ledger.update(self.id, |entry, _| {
                if let Some(entry) = entry {
                    (entry.pieces, entry.bytes) = (said.pieces, said.bytes);
                }
            });
        }
    }

    pub(crate) fn report(&self, tokens: Tokens) {
        self.ledger.update(self.id, |entry, totals| {
            if let Some(entry) = entry {
                entry.reported = Some(tokens);
            }
            let sum = &mut totals.reported;
            sum.input += tokens.input;
            sum.output += tokens.output;
            sum.cached += tokens.cached;
            sum.reasoning += tokens.reasoning;
        });
    }

    pub(crate) fn end(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let (said, took) = (self.said, self.began.elapsed());
        self.ledger.update(self.id, |entry, totals| {
            totals.pieces += said.pieces;
            if let Some(entry) = entry {
                (entry.pieces, entry.bytes) = (said.pieces, said.bytes);
                if entry.outcome == Outcome::Killed {
                    return; // counted by `killed`
                }
                (entry.outcome, entry.took, entry.ended) = (outcome, Some(took), Some(Instant::now()));
            }
            match outcome {
                Outcome::Served => totals.served += 1,
                Outcome::Cancelled => totals.cancelled += 1,
                Outcome::Faulted => totals.faulted += 1,
                Outcome::Killed | Outcome::Open => {}
            }
        });
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.end(Outcome::Cancelled);
    }
}
