//! Whole answers, cut everywhere. Each surface's transcripts and tables stand in a file of their own.

mod beside;
mod chat;
mod ends;
mod joined;
mod kept;
mod late;
mod messages;
mod plain;
mod random;
mod responses;
mod structured;
mod unnamed;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::*;
use crate::scan::tests::BUILTIN;
use crate::scan::{Action, Direction, Switches};

pub(super) const MAIL: &str = "alice.liddell@example-corp.com";

/// What a client got.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Got {
    pub(super) text: String,
    pub(super) step: Step,
    pub(super) content: bool,
    pub(super) findings: u32,
    pub(super) kept: String,
    pub(super) reason: Option<String>,
    pub(super) usage: Option<Usage>,
}

/// One event of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Said {
    pub(super) name: Option<String>,
    pub(super) data: Value,
}

pub(super) fn guard(action_of: impl Fn(&str) -> Action) -> Option<Guard> {
    let rules = BUILTIN.clone();
    let policy = Arc::new(rules.policy(Direction::Answer, |rule| action_of(&rule.kind), Switches::default()));
    Some(Guard { rules, policy })
}

pub(super) fn masking(api: Api) -> Options {
    Options { guard: guard(|_| Action::Mask), keep_text: 4096, ..Options::new(api) }
}

pub(super) fn blocking(api: Api) -> Options {
    Options { guard: guard(|_| Action::Block), keep_text: 4096, ..Options::new(api) }
}

pub(super) fn copy(options: &Options) -> Options {
    Options {
        guard: options.guard.clone(),
        model: options.model.clone(),
        metadata: options.metadata.clone(),
        ..Options { guard: None, model: None, metadata: None, ..*options }
    }
}

fn push_all<'a>(options: &Options, form: Form, chunks: impl IntoIterator<Item = &'a [u8]>) -> Got {
    let mut pipeline = Pipeline::new(copy(options), Masker::new());
    pipeline.begin(form);
    let mut out = Vec::new();
    let mut step = Step::More;
    for chunk in chunks {
        let before = out.len();
        step = pipeline.push(chunk, &mut out);
        assert!(pipeline.has_content() || out.len() == before, "nothing leaves before there is content");
        if step != Step::More {
            break;
        }
    }
    if step == Step::More {
        step = pipeline.finish(&mut out);
    }
    assert_eq!(pipeline.held(), 0, "nothing is held after the end");
    let before = out.len();
    assert_eq!(pipeline.push(b"data: late\n\n", &mut out), step, "an end is an end");
    assert_eq!(out.len(), before, "nothing follows an end");
    Got {
        text: String::from_utf8(out).expect("answers are UTF-8"),
        step,
        content: pipeline.has_content(),
        findings: pipeline.masker().findings().iter().map(|finding| finding.count).sum(),
        kept: pipeline.texts().map(|kept| kept.text).collect::<Vec<_>>().join("\n"),
        reason: pipeline.finish_reason().map(str::to_owned),
        usage: pipeline.usage(),
    }
}

/// The answer to `input`, which is the same whole, cut at every point, and byte by byte.
pub(super) fn run(options: &Options, form: Form, input: &str) -> Got {
    let input = input.as_bytes();
    let whole = push_all(options, form, [input]);
    // Long answers repeat themselves: many places, odd steps apart, meet every kind of cut.
    for at in (1..input.len()).step_by(1 + input.len() / 150) {
        let (left, right) = input.split_at(at);
        assert_eq!(push_all(options, form, [left, right]), whole, "split at {at}");
    }
    assert_eq!(push_all(options, form, input.chunks(1)), whole, "byte by byte");
    for size in [3, 64] {
        assert_eq!(push_all(options, form, input.chunks(size)), whole, "chunks of {size}");
    }
    whole
}

pub(super) fn events(text: &str) -> Vec<Said> {
    let mut decoder = Decoder::new(1 << 20);
    decoder.feed(text.as_bytes());
    let mut said = Vec::new();
    while let Ok(Some(frame)) = decoder.next_frame() {
        let Frame::Event(event) = frame else { continue };
        let name = event.name.map(|name| String::from_utf8_lossy(name).into_owned());
        let data = serde_json::from_slice(event.data)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(event.data).into_owned()));
        said.push(Said { name, data });
    }
    assert!(decoder.is_between_events(), "whole events only: {text}");
    said
}

/// Every string of every event, joined with those at the same place of other events: lanes as a client joins them.
pub(super) fn lanes(said: &[Said]) -> BTreeMap<String, String> {
    fn walk(value: &Value, path: &str, lanes: &mut BTreeMap<String, String>) {
        match value {
            Value::String(text) => lanes.entry(path.to_owned()).or_default().push_str(text),
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    // Choices and tool calls say themselves which they are.
                    let at = item["index"].as_u64().unwrap_or(at as u64);
                    walk(item, &format!("{path}[{at}]"), lanes);
                }
            }
            Value::Object(members) => {
                for (key, member) in members {
                    walk(member, &format!("{path}.{key}"), lanes);
                }
            }
            _ => {}
        }
    }
    let mut lanes = BTreeMap::new();
    for event in said {
        // Typed events stand apart by type and place; chunks have none of these.
        let place: String = ["type", "output_index", "content_index", "summary_index", "index"]
            .iter()
            .filter(|key| !event.data[**key].is_null())
            .map(|key| format!("{}/", event.data[*key]))
            .collect();
        walk(&event.data, &place, &mut lanes);
    }
    lanes
}

/// Fails if any six bytes in a row of `value` can be read off the answer: raw, unescaped once or twice, or with its lanes
/// rejoined.
pub(super) fn assert_no_leak(text: &str, value: &str) {
    let mut readings = vec![text.to_owned()];
    readings.extend(lanes(&events(text)).into_values());
    for _ in 0..2 {
        let unescaped: Vec<String> =
            readings.iter().map(|reading| crate::json::decode(reading).into_owned()).collect();
        readings.extend(unescaped);
    }
    let window = 6.min(value.len());
    for reading in readings {
        for start in 0..=value.len() - window {
            let part = &value[start..start + window];
            assert!(!reading.contains(part), "{part:?} of {value:?} stands in {reading:?}");
        }
    }
}

/// Joins events as SSE.
pub(super) fn sse(events: &[&str]) -> String {
    events.iter().map(|data| format!("data: {data}\n\n")).collect()
}

/// Cuts `text` into pieces of `size` characters, as JSON strings without quotes.
pub(super) fn pieces(text: &str, size: usize) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    chars
        .chunks(size)
        .map(|piece| {
            let mut literal = Vec::new();
            crate::json::encode_inner(&piece.iter().collect::<String>(), &mut literal);
            String::from_utf8(literal).expect("UTF-8")
        })
        .collect()
}
