//! What a reload has replaced, until nobody uses it any more. Freed here and not where the last request ends: a list of a million
//! terms takes tens of milliseconds, which other requests of that thread would wait.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// Between two looks at whether something is still used.
const LOOK: Duration = Duration::from_millis(200);

/// Values on their way out. A thread frees them; it lives as long as there are some.
#[derive(Debug)]
pub(super) struct Retired<T>(Arc<Mutex<Vec<Arc<T>>>>);

impl<T: Send + Sync + 'static> Retired<T> {
    pub(super) fn new() -> Retired<T> {
        Retired(Arc::default())
    }

    /// Takes a value that nobody new can get hold of.
    pub(super) fn push(&self, value: Arc<T>) {
        let mut waiting = self.0.lock();
        waiting.push(value);
        if waiting.len() > 1 {
            return; // its thread runs
        }
        let all = Arc::clone(&self.0);
        let spawned = std::thread::Builder::new().name("retire".into()).spawn(move || {
            super::priority::lower();
            while !free_unused(&all) {
                std::thread::sleep(LOOK);
            }
        });
        if let Err(error) = spawned {
            // Then it is freed by whoever uses it last.
            tracing::warn!(%error, "no thread to free the former configuration");
            waiting.clear();
        }
    }
}

/// Frees what is used here only; true: nothing is left, and the next value needs a thread of its own.
fn free_unused<T>(all: &Mutex<Vec<Arc<T>>>) -> bool {
    let mut waiting = all.lock();
    let unused: Vec<_> = waiting.extract_if(.., |value| Arc::strong_count(value) == 1).collect();
    let none_left = waiting.is_empty();
    drop(waiting);
    drop(unused);
    none_left
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::super::priority;
    use super::*;

    /// Says where it is freed, and how nice that thread is.
    struct Value(&'static str, Sender<(&'static str, Option<String>, i32)>);

    impl Drop for Value {
        fn drop(&mut self) {
            let thread = std::thread::current().name().map(str::to_owned);
            self.1.send((self.0, thread, priority::of_this_thread())).expect("the test listens");
        }
    }

    #[test]
    fn freed_by_its_own_thread_when_the_last_user_is_gone() {
        let (freed, seen) = channel();
        let value = |name| Arc::new(Value(name, freed.clone()));
        let retired = Retired::new();
        let (used, unused) = (value("used"), value("unused"));
        let user = Arc::clone(&used);
        retired.push(used);
        retired.push(unused);
        let patience = Duration::from_secs(30);
        let there = |name| Ok((name, Some("retire".to_owned()), priority::lowered()));
        assert_eq!(seen.recv_timeout(patience), there("unused"));
        assert!(seen.try_recv().is_err());
        drop(user);
        assert_eq!(seen.recv_timeout(patience), there("used"));
        // And once more, after the thread may have ended; by a thread that gives way itself, as a reload's does.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                priority::lower();
                retired.push(value("later"));
            });
        });
        assert_eq!(seen.recv_timeout(patience), there("later"));
    }
}
