#![no_main]
//! The answer pipeline on every surface, structured or not, with escapes and pseudonyms or not: the same answer for every way of
//! cutting it, nothing before there is content, nothing after an end, well-formed events only. A value that the guard finds in a
//! stream's text wherever it stands there is nowhere in the same text once it is guarded, and JSON in such a text stays JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tollgate_filters::answer::{Form, Guard, Options, Pipeline, Step};
use tollgate_filters::chat::Api;
use tollgate_filters::frames::{Decoder, Frame};
use tollgate_filters::scan::{
    Action, Direction, Escape, Escapes, Masker, Policy, PseudonymKey, Rules, Shape, Switches,
};

/// The one value that the request held, in a pseudonym's place.
const SENT: &str = "alice@corp.com";

static RULES: LazyLock<Arc<Rules>> =
    LazyLock::new(|| Arc::new(Rules::compile(&Rules::builtin_specs()).expect("built-in rules compile")));

const MASK: usize = 0;
const BLOCK: usize = 1;
const OFF: usize = 3;

/// By escapes, then by action.
static POLICIES: LazyLock<Vec<[Arc<Policy>; 4]>> = LazyLock::new(|| {
    let escapes: [&[Escape]; 4] =
        [&[], &[Escape::Html], &[Escape::Percent], &[Escape::Html, Escape::Percent]];
    let policies = escapes.map(|escapes| {
        let switches = Switches { decode: Escapes::new(escapes), ..Switches::default() };
        [Action::Mask, Action::Block, Action::Log, Action::Off]
            .map(|action| Arc::new(RULES.policy(Direction::Answer, |_| action, switches.clone())))
    });
    policies.into()
});

const APIS: [Api; 6] =
    [Api::Chat, Api::Completions, Api::Responses, Api::Messages, Api::Embeddings, Api::CountTokens];

/// What the first two bytes of an input say.
#[derive(Clone, Copy)]
struct Mode {
    surface: u8,
    guard: u8,
}

impl Mode {
    fn api(self) -> Api {
        APIS[usize::from(self.surface & 15) % APIS.len()]
    }

    fn action(self) -> usize {
        usize::from(self.surface >> 4 & 3)
    }

    fn usage_asked(self) -> bool {
        self.surface & 0x40 != 0
    }

    fn form(self) -> Form {
        if self.surface & 0x80 == 0 { Form::Events } else { Form::Plain }
    }

    fn policies(self) -> &'static [Arc<Policy>; 4] {
        &POLICIES[usize::from(self.guard & 3)]
    }

    fn structured(self) -> bool {
        self.guard & 4 != 0
    }

    fn pseudonyms(self) -> bool {
        self.guard & 8 != 0
    }

    fn options(self, action: usize) -> Options {
        Options {
            guard: Some(Guard { rules: RULES.clone(), policy: self.policies()[action].clone() }),
            usage_asked: self.usage_asked(),
            structured: self.structured(),
            max_event: 2048,
            max_lanes: 16,
            max_answer: 3000,
            keep_text: 64,
            ..Options::new(self.api())
        }
    }

    /// With a pseudonym, `u-m4v4j55o6g@pseudonym.invalid`, for what the request held.
    fn masker(self) -> Masker {
        if !self.pseudonyms() {
            return Masker::new();
        }
        let mut masker =
            Masker::new().with_pseudonyms(PseudonymKey::derive(b"a secret of some length", "acme"));
        let policy = RULES.policy(Direction::Request, |_| Action::Pseudonymise, Switches::default());
        let mut found = Vec::new();
        RULES.scan(&policy, SENT, &mut found);
        masker.stand_in(&found[0], SENT, Shape::Text);
        masker
    }
}

fn run<'a>(
    mode: Mode,
    action: usize,
    chunks: impl Iterator<Item = &'a [u8]>,
) -> (Vec<u8>, Step, Option<u64>) {
    let mut pipeline = Pipeline::new(mode.options(action), mode.masker());
    pipeline.begin(mode.form());
    let mut out = Vec::new();
    let mut step = Step::More;
    for chunk in chunks {
        step = pipeline.push(chunk, &mut out);
        assert!(out.is_empty() || pipeline.has_content());
        if step != Step::More {
            break;
        }
    }
    if step == Step::More {
        step = pipeline.finish(&mut out);
    }
    assert_ne!(step, Step::More);
    assert_eq!(pipeline.held(), 0);
    assert!(pipeline.texts().map(|kept| kept.text.len()).sum::<usize>() <= 64);
    let end = out.len();
    assert_eq!(pipeline.push(b"data: {\"late\":1}\n\n", &mut out), step);
    assert_eq!(out.len(), end);
    (out, step, pipeline.usage().map(|usage| usage.output))
}

fn events(out: &[u8]) -> Vec<Value> {
    let mut decoder = Decoder::new(1 << 20);
    decoder.feed(out);
    let mut events = Vec::new();
    while let Ok(Some(frame)) = decoder.next_frame() {
        let Frame::Event(event) = frame else { continue };
        match serde_json::from_slice(event.data) {
            Ok(json) => events.push(json),
            Err(error) => assert!(event.data == b"[DONE]" || is_out_of_range(&error)),
        }
    }
    assert!(decoder.is_between_events(), "whole events only");
    events
}

/// A text of a stream, put together from its deltas.
#[derive(Default)]
struct Lane {
    text: String,
    /// Its end was said.
    over: bool,
    /// It went on behind its end: another text, of which the guard tells no more.
    unclear: bool,
}

#[derive(Default)]
struct Lanes(BTreeMap<String, Lane>);

/// What the name of a lane of JSON begins with.
const JSON: &str = "json ";

impl Lanes {
    /// The texts that a client tells by their place.
    fn of(api: Api, structured: bool, events: &[Value]) -> Lanes {
        let mut lanes = Lanes::default();
        // Of a stream with the fields of both surfaces nobody says which text is whose.
        let others = match api {
            Api::Chat => "text",
            Api::Completions => "delta",
            _ => "",
        };
        let mut choices = events.iter().filter_map(|event| event["choices"].as_array()).flatten();
        if choices.any(|choice| !choice[others].is_null()) {
            return lanes;
        }
        let text = if structured { JSON } else { "" };
        for event in events {
            match api {
                Api::Chat | Api::Completions => lanes.chat(text, event),
                Api::Messages => lanes.messages(text, event),
                Api::Responses => lanes.responses(text, event),
                Api::Embeddings | Api::CountTokens => {}
            }
        }
        lanes
    }

    fn chat(&mut self, text: &str, event: &Value) {
        for choice in event["choices"].as_array().into_iter().flatten() {
            let Some(index) = choice["index"].as_u64() else { continue };
            let delta = &choice["delta"];
            self.add(format!("{text}{index}.text"), &choice["text"]);
            self.add(format!("{text}{index}.content"), &delta["content"]);
            self.add(format!("{index}.refusal"), &delta["refusal"]);
            self.add(format!("{index}.reasoning"), &delta["reasoning_content"]);
            for call in delta["tool_calls"].as_array().into_iter().flatten() {
                let Some(sub) = call["index"].as_u64() else { continue };
                self.add(format!("{JSON}{index}.{sub}"), &call["function"]["arguments"]);
            }
            if !choice["finish_reason"].is_null() {
                self.end();
            }
        }
    }

    fn messages(&mut self, text: &str, event: &Value) {
        let delta = &event["delta"];
        match (event["type"].as_str(), event["index"].as_u64()) {
            (Some("content_block_delta"), Some(index)) => {
                // Each type of delta is a text of its own.
                let kind = &delta["type"];
                self.add(format!("{text}{index}.{kind}.text"), &delta["text"]);
                self.add(format!("{index}.{kind}.thinking"), &delta["thinking"]);
                self.add(format!("{JSON}{index}.{kind}"), &delta["partial_json"]);
            }
            (Some("ping"), _) => {}
            _ => self.end(),
        }
    }

    fn responses(&mut self, text: &str, event: &Value) {
        let place = [&event["output_index"], &event["content_index"]].map(Value::as_u64);
        match (event["type"].as_str(), place) {
            (Some("response.output_text.delta"), [Some(item), Some(part)]) => {
                self.add(format!("{text}{item}.{part}"), &event["delta"]);
            }
            (Some("response.function_call_arguments.delta"), [Some(item), _]) => {
                self.add(format!("{JSON}{item}.arguments"), &event["delta"]);
            }
            _ => self.end(),
        }
    }

    fn add(&mut self, name: String, text: &Value) {
        if let Some(text) = text.as_str().filter(|text| !text.is_empty()) {
            let lane = self.0.entry(name).or_default();
            lane.unclear |= lane.over;
            lane.text.push_str(text);
        }
    }

    fn end(&mut self) {
        self.0.values_mut().for_each(|lane| lane.over = true);
    }
}

/// Strings and keys of a JSON text.
fn strings(value: Value, out: &mut Vec<String>) {
    match value {
        Value::String(text) => out.push(text),
        Value::Array(items) => items.into_iter().for_each(|item| strings(item, out)),
        Value::Object(fields) => fields.into_iter().for_each(|(key, field)| {
            out.push(key);
            strings(field, out);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What the rules find in `texts` wherever it stands there. In JSON the key before a value counts, so only what is known by its
/// form alone.
fn found_everywhere(policy: &Policy, texts: &[String], by_form_alone: bool) -> BTreeSet<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for text in texts {
        let mut found = Vec::new();
        RULES.scan(policy, text, &mut found);
        let by_form = |rule: &str| matches!(rule, "email" | "aws_access_key" | "github_token");
        for found in found.into_iter().filter(|found| !by_form_alone || by_form(&found.rule_id)) {
            *counts.entry(&text[found.span]).or_default() += 1;
        }
    }
    let everywhere =
        |value: &str, count| texts.iter().map(|text| text.matches(value).count()).sum::<usize>() == count;
    let values = counts.into_iter().filter(|(value, count)| everywhere(value, *count));
    values
        .map(|(value, _)| value.to_owned())
        .filter(|value| !value.contains(SENT) && !SENT.contains(value))
        .collect()
}

/// `bare` is what nobody looked at, `seen` the same stream guarded.
fn check_values(mode: Mode, bare: &[Value], (seen, step): (&[Value], &Step)) {
    let mut guarded = Lanes::of(mode.api(), mode.structured(), seen).0;
    for (name, lane) in Lanes::of(mode.api(), mode.structured(), bare).0 {
        if lane.unclear {
            continue;
        }
        let masked = guarded.remove(&name).unwrap_or_default();
        let texts = if name.starts_with(JSON) {
            let Ok(json) = serde_json::from_str(&lane.text) else { continue };
            if *step == Step::Done && lane.over && mode.action() == MASK {
                assert!(
                    serde_json::from_str::<Value>(&masked.text).is_ok(),
                    "{name}: {} became {}",
                    lane.text,
                    masked.text
                );
            }
            let mut texts = Vec::new();
            strings(json, &mut texts);
            texts
        } else {
            vec![lane.text]
        };
        for value in found_everywhere(&mode.policies()[MASK], &texts, name.starts_with(JSON)) {
            assert!(!masked.text.contains(&value), "{value} of {texts:?} in {}", masked.text);
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let [surface, guard, size, bytes @ ..] = input else { return };
    let mode = Mode { surface: *surface, guard: *guard };
    let whole = run(mode, mode.action(), [bytes].into_iter());
    let cut = run(mode, mode.action(), bytes.chunks(1 + usize::from(*size)));
    assert_eq!(cut, whole);
    assert_eq!(run(mode, mode.action(), bytes.chunks(1)), whole);
    if mode.form() == Form::Events {
        let seen = events(&whole.0);
        if matches!(mode.action(), MASK | BLOCK) {
            let bare = run(mode, OFF, [bytes].into_iter());
            check_values(mode, &events(&bare.0), (&seen, &whole.1));
        }
    }
});

fn is_out_of_range(error: &serde_json::Error) -> bool {
    error.to_string().contains("out of range") || error.to_string().contains("recursion")
}
