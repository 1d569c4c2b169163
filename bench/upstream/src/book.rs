//! Which script answers which request, and how far each key's gates are open.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::script::Script;

#[derive(Default)]
pub(crate) struct Book {
    scripts: Mutex<HashMap<String, Sequence>>,
    gates: Mutex<HashMap<String, Gate>>,
}

struct Sequence {
    scripts: Vec<Arc<Script>>,
    next: usize,
}

impl Book {
    pub(crate) fn write(&self, key: &str, scripts: Vec<Script>) {
        let scripts: Vec<_> = scripts.into_iter().map(Arc::new).collect();
        let mut all = self.scripts.lock();
        if scripts.is_empty() {
            all.remove(key);
        } else {
            all.insert(key.to_owned(), Sequence { scripts, next: 0 });
        }
    }

    /// The next script of the first of `keys` that has any, with that key. The last script of a sequence repeats.
    pub(crate) fn pick<'k>(&self, keys: impl IntoIterator<Item = &'k str>) -> Option<(&'k str, Arc<Script>)> {
        let mut all = self.scripts.lock();
        if all.is_empty() {
            return None;
        }
        for key in keys {
            if let Some(sequence) = all.get_mut(key) {
                let script = Arc::clone(&sequence.scripts[sequence.next]);
                sequence.next = (sequence.next + 1).min(sequence.scripts.len() - 1);
                return Some((key, script));
            }
        }
        None
    }

    pub(crate) fn gate(&self, key: &str) -> Gate {
        self.gates.lock().entry(key.to_owned()).or_default().clone()
    }
}

/// The gates of one script key: a count of how many are open, shared by all requests with that key.
#[derive(Debug, Clone)]
pub struct Gate {
    open: Arc<watch::Sender<u64>>,
    reached: Arc<watch::Sender<u64>>,
}

impl Default for Gate {
    fn default() -> Self {
        Gate { open: Arc::new(watch::Sender::new(0)), reached: Arc::new(watch::Sender::new(0)) }
    }
}

impl Gate {
    /// From now on the first `k` gates are open (never fewer than before).
    pub fn open(&self, k: u64) {
        self.open.send_modify(|open| *open = k.max(*open));
    }

    /// Opens one gate more.
    pub fn open_next(&self) {
        self.open.send_modify(|open| *open += 1);
    }

    pub fn open_all(&self) {
        self.open(u64::MAX);
    }

    /// Shuts them all again, for the next request.
    pub fn shut(&self) {
        self.open.send_replace(0);
        self.reached.send_replace(0);
    }

    /// Waits until some request stands at gate `k` (from 0) or has passed it. False: it took longer than `limit`.
    pub async fn reached(&self, k: u64, limit: Duration) -> bool {
        let mut reached = self.reached.subscribe();
        let waiting = reached.wait_for(|at| *at > k);
        tokio::time::timeout(limit, waiting).await.is_ok_and(|seen| seen.is_ok())
    }

    /// Where a request stands until gate `k` (from 0) is open.
    pub(crate) async fn pass(&self, k: u64) {
        self.reached.send_modify(|at| *at = (*at).max(k + 1));
        let mut open = self.open.subscribe();
        // The sender lives as long as `self`, so waiting ends only by opening.
        let _ = open.wait_for(|open| *open > k).await;
    }
}
