//! A bar on standard error, when a person looks and the input is long.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use super::input::Input;

/// Shorter input is read before anyone could look.
const LONG: u64 = 16 * 1024 * 1024;
const EVERY: Duration = Duration::from_millis(200);
const WIDTH: u64 = 30;

pub(super) struct Progress {
    /// Bytes of all inputs; `None`: nothing is shown.
    total: Option<u64>,
    done: u64,
    started: Instant,
    shown: Instant,
}

impl Progress {
    pub(super) fn new(inputs: &[Input]) -> Progress {
        let total = inputs.iter().map(|input| input.size).sum::<Option<u64>>();
        let total = total.filter(|total| *total >= LONG && std::io::stderr().is_terminal());
        let now = Instant::now();
        Progress { total, done: 0, started: now, shown: now }
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.done += bytes as u64;
        if let Some(total) = self.total
            && self.shown.elapsed() >= EVERY
        {
            self.shown = Instant::now();
            let _ = write!(std::io::stderr(), "\r{}", bar(self.done, total, self.started.elapsed()));
        }
    }

    pub(super) fn end(&self) {
        if self.total.is_some() {
            let _ = write!(std::io::stderr(), "\r{:60}\r", "");
        }
    }
}

fn bar(done: u64, total: u64, elapsed: Duration) -> String {
    let full = usize::try_from(done.min(total) * WIDTH / total.max(1)).unwrap_or_default();
    let empty = WIDTH as usize - full;
    let rate = done as f64 / 1e6 / elapsed.as_secs_f64().max(1e-3);
    format!(
        "[{}{}] {:3} % {rate:6.0} MB/s",
        "#".repeat(full),
        " ".repeat(empty),
        done.min(total) * 100 / total.max(1)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars() {
        assert_eq!(
            bar(50_000_000, 100_000_000, Duration::from_secs(1)),
            format!("[{}{}]  50 %     50 MB/s", "#".repeat(15), " ".repeat(15))
        );
        assert!(bar(7, 0, Duration::ZERO).contains("100 %") || bar(0, 0, Duration::ZERO).contains("0 %"));
    }
}
