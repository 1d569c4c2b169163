use std::time::Duration;

/// A wait as OpenAI's `x-ratelimit-reset-*` headers write it: `0s`, `20ms`, `1s`, `6m0s`, `24h0m0s`. Rounded up, so that a
/// client that sleeps for it is never early.
/// <https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers>
pub fn reset_text(wait: Duration) -> String {
    let millis = wait.as_nanos().div_ceil(1_000_000);
    let mut text = String::with_capacity(24);
    let mut push = |count: u128, unit| {
        text.push_str(itoa::Buffer::new().format(count));
        text.push_str(unit);
    };
    if millis < 1_000 && millis > 0 {
        push(millis, "ms");
        return text;
    }
    let seconds = millis.div_ceil(1_000);
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        push(hours, "h");
    }
    if hours > 0 || minutes > 0 {
        push(minutes, "m");
    }
    push(seconds, "s");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_like_the_provider_does() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ms"),
            (20_000_000, "20ms"),
            (999_000_001, "1s"),
            (1_000_000_000, "1s"),
            (1_000_000_001, "2s"),
            (59_500_000_000, "1m0s"),
            (360_000_000_000, "6m0s"),
            (3_600_000_000_000, "1h0m0s"),
            (86_400_000_000_000, "24h0m0s"),
        ] {
            assert_eq!(reset_text(Duration::from_nanos(nanos)), text, "{nanos}");
        }
        assert!(reset_text(Duration::MAX).ends_with('s'));
    }
}
