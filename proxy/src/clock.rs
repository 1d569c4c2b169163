//! The one monotonic clock: what `now` is where filters take it as an argument.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Nanoseconds on a clock that never goes back. The zero is an hour before the first call, so that an early "a minute ago" is
/// still a time.
pub fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get_or_init(Instant::now);
    nanos(start.elapsed()).saturating_add(3_600_000_000_000)
}

/// A duration in whole nanoseconds; past 584 years: as long as it gets.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
