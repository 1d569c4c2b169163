//! Log lines leave in batches, from a thread of its own: a request thread only appends to a buffer, and makes no system call.
//!
//! A line waits at most [`GATHER`]. A full buffer makes whoever logs write it, so nothing is dropped and memory stays bounded.

use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Longest wait of a line.
const GATHER: Duration = Duration::from_millis(20);
/// Bytes that may wait; past it whoever logs writes.
const ROOM: usize = 1 << 20;

/// The buffer. One per process.
pub(super) struct Lines {
    waiting: Mutex<Vec<u8>>,
    arrived: Condvar,
}

static LINES: Lines = Lines { waiting: Mutex::new(Vec::new()), arrived: Condvar::new() };

/// Hands every line of a formatter to the buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct ToLines;

impl<'a> MakeWriter<'a> for ToLines {
    type Writer = ToLines;

    fn make_writer(&'a self) -> ToLines {
        ToLines
    }
}

impl Write for ToLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        append(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes a whole line.
pub(super) fn append(line: &[u8]) {
    let mut waiting = LINES.lock();
    let first = waiting.is_empty();
    waiting.extend_from_slice(line);
    if waiting.len() > ROOM {
        // A reader of the log that is gone must not stop the gateway.
        let _ = LINES.write(waiting);
        return;
    }
    drop(waiting);
    if first {
        LINES.arrived.notify_one(); // later lines find it awake
    }
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what waits; who logs meanwhile does not wait for it.
    fn write(&self, mut waiting: MutexGuard<'_, Vec<u8>>) -> io::Result<()> {
        let batch = std::mem::take(&mut *waiting);
        drop(waiting);
        io::stdout().lock().write_all(&batch)
    }

    fn run(&self) {
        loop {
            let mut waiting = self.lock();
            while waiting.is_empty() {
                waiting = self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            drop(waiting);
            std::thread::sleep(GATHER);
            // A reader of the log that is gone must not stop the gateway.
            let _ = self.write(self.lock());
        }
    }
}

/// Starts the thread that writes. Without it (no thread to be had) lines wait for [`flush`].
pub(super) fn start() {
    let started = std::thread::Builder::new().name("log".into()).spawn(|| LINES.run());
    if let Err(error) = started {
        eprintln!("tollgate: the log's thread cannot be started: {error}");
    }
}

/// Writes what still waits: before the process ends.
pub(crate) fn flush() {
    let _ = LINES.write(LINES.lock());
}
