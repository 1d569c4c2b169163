//! Tokens: what the upstream reported, and what was counted here in case it never does.

use crate::chat::Usage;
use crate::json::{Invalid, Value, Walk};

/// Every spelling of a count that a surface has. What is reported later replaces what was reported before, field by field:
/// vLLM's continuous usage and Anthropic's `message_delta` are running totals, never increments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// OpenAI: `prompt_tokens` or, on `/v1/responses`, `input_tokens`. Cached tokens are part of it.
    /// Anthropic: `input_tokens`. Cached tokens are not part of it.
    input: Option<u64>,
    output: Option<u64>,
    cached: Option<u64>,
    reasoning: Option<u64>,
    cache_write: Option<u64>,
    /// Anthropic's `cache_read_input_tokens`.
    cache_read: Option<u64>,
}

impl Counts {
    /// Reads a `usage` object that `walk` has just entered.
    /// (<https://platform.openai.com/docs/api-reference/chat/object>, <https://docs.anthropic.com/en/api/messages>)
    pub(super) fn read(&mut self, walk: &mut Walk<'_>) -> Result<(), Invalid> {
        while let Some(key) = walk.key()? {
            let value = walk.value()?;
            let field = match &*key.decode() {
                "prompt_tokens" | "input_tokens" => &mut self.input,
                "completion_tokens" | "output_tokens" => &mut self.output,
                "cached_tokens" => &mut self.cached,
                "reasoning_tokens" => &mut self.reasoning,
                "cache_creation_input_tokens" => &mut self.cache_write,
                "cache_read_input_tokens" => &mut self.cache_read,
                name if name.ends_with("_tokens_details") && matches!(value, Value::Object) => {
                    self.read(walk)?;
                    continue;
                }
                _ => {
                    walk.finish(&value)?;
                    continue;
                }
            };
            match value {
                Value::Number(number) => *field = Some(count(number)),
                other => walk.finish(&other)?,
            }
        }
        Ok(())
    }

    fn usage(&self) -> Option<Usage> {
        if *self == Counts::default() {
            return None;
        }
        let cache_read = self.cache_read.or(self.cached).unwrap_or(0);
        let cache_write = self.cache_write.unwrap_or(0);
        let apart = self.cache_read.unwrap_or(0).saturating_add(cache_write);
        Some(Usage {
            input: self.input.unwrap_or(0).saturating_add(apart),
            output: self.output.unwrap_or(0),
            cache_read,
            cache_write,
            reasoning: self.reasoning.unwrap_or(0),
            estimated: false,
        })
    }
}

/// No answer has more: a hundred times the largest context. What an upstream reports beyond is cut, so that its word cannot
/// run over the sums that are made of it.
const MOST: u64 = 1_000_000_000;

/// Some upstreams write counts as `12.0`. Anything that is no count is 0.
fn count(number: &str) -> u64 {
    let count = number.parse().unwrap_or_else(|_| {
        let float: f64 = number.parse().unwrap_or(0.0);
        // Saturates at both ends, and NaN is 0.
        float as u64
    });
    count.min(MOST)
}

/// The usage of one answer.
#[derive(Debug, Default)]
pub(super) struct Meter {
    pub(super) counts: Counts,
    /// The last `usage` object as it came.
    pub(super) raw: Vec<u8>,
    /// What was reported is the whole: not a running total, nor what a message begins with.
    pub(super) complete: bool,
    /// The client has been given usage: once is enough (LangChain adds up whatever it sees).
    pub(super) sent: bool,
    deltas: u64,
    bytes: u64,
}

/// Bytes of text that a delta is taken to hold at most per token. A token is four on average; upstreams that send several
/// tokens in one delta are caught by this, those that send one per delta are counted by their deltas.
const BYTES_PER_TOKEN: u64 = 8;

impl Meter {
    /// Text of one delta went by.
    pub(super) fn delta(&mut self, bytes: usize) {
        if bytes > 0 {
            self.deltas += 1;
            self.bytes += bytes as u64;
        }
    }

    /// Text of a plain answer went by.
    pub(super) fn text(&mut self, bytes: usize) {
        self.deltas += (bytes as u64).div_ceil(4);
    }

    /// What the upstream counted for the whole answer.
    pub(super) fn total(&self) -> Option<Usage> {
        self.reported().filter(|_| self.complete)
    }

    /// What it has counted so far.
    pub(super) fn reported(&self) -> Option<Usage> {
        self.counts.usage()
    }

    pub(super) fn estimate(&self, input: u64) -> Usage {
        let reported = self.reported().unwrap_or_default();
        Usage {
            input: if reported.input > 0 { reported.input } else { input },
            output: self.deltas.max(self.bytes / BYTES_PER_TOKEN).max(reported.output),
            estimated: true,
            ..reported
        }
    }

    /// What was reported, else the estimate.
    pub(super) fn best(&self, input: u64) -> Usage {
        match self.reported() {
            Some(usage) if usage.output > 0 => usage,
            _ => self.estimate(input),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(usages: &[&str]) -> Option<Usage> {
        let mut meter = Meter::default();
        for usage in usages {
            let mut walk = Walk::new(usage.as_bytes(), 128).expect("a test's JSON");
            assert!(matches!(walk.value(), Ok(Value::Object)));
            meter.counts.read(&mut walk).expect("a test's JSON");
        }
        meter.reported()
    }

    #[test]
    fn every_surface_counts_the_same() {
        let usage = |input, output, cache_read, cache_write, reasoning| {
            Some(Usage { input, output, cache_read, cache_write, reasoning, estimated: false })
        };
        let chat = r#"{"prompt_tokens":100,"completion_tokens":20,"total_tokens":120,
            "prompt_tokens_details":{"cached_tokens":64,"audio_tokens":0},
            "completion_tokens_details":{"reasoning_tokens":12}}"#;
        assert_eq!(read(&[chat]), usage(100, 20, 64, 0, 12));
        let responses = r#"{"input_tokens":100,"input_tokens_details":{"cached_tokens":64},"output_tokens":20,
            "output_tokens_details":{"reasoning_tokens":12},"total_tokens":120}"#;
        assert_eq!(read(&[responses]), usage(100, 20, 64, 0, 12));
        let start = r#"{"input_tokens":10,"cache_creation_input_tokens":30,"cache_read_input_tokens":60,"output_tokens":1}"#;
        assert_eq!(read(&[start, r#"{"output_tokens":20}"#]), usage(100, 20, 60, 30, 0));
        assert_eq!(read(&[r#"{"prompt_tokens":8,"total_tokens":8}"#]), usage(8, 0, 0, 0, 0));
        assert_eq!(read(&[chat, chat]), usage(100, 20, 64, 0, 12), "running totals are not added up");
        assert_eq!(read(&["{}"]), None);
    }

    #[test]
    fn odd_numbers_are_counts_all_the_same() {
        let table = [("12", 12), ("12.0", 12), ("1e3", 1000), ("-5", 0), ("0.5", 0)];
        let too_many = ["1e99", "18446744073709551615", "99999999999999999999"].map(|text| (text, MOST));
        for (text, expect) in table.into_iter().chain(too_many) {
            assert_eq!(count(text), expect, "{text}");
        }
    }

    #[test]
    fn without_a_report_deltas_are_counted() {
        let mut meter = Meter::default();
        for _ in 0..5 {
            meter.delta(4);
        }
        meter.delta(0);
        assert_eq!(meter.best(7), Usage { input: 7, output: 5, estimated: true, ..Usage::default() });
        meter.delta(8000);
        assert_eq!(meter.estimate(7).output, 8020 / BYTES_PER_TOKEN);
    }
}
