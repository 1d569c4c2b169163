//! What one delta costs in the answer pipeline: `cargo bench -p tollgate-filters --bench answer`.
//!
//! Nanoseconds per delta, best of many runs, over a stream of 1,000 deltas, each pushed alone as an upstream flushes them: guard
//! off, guard on (profile `chat`), text and tool arguments, every surface. The decoder alone and a walk of the events alone stand
//! beside it.

#![allow(clippy::disallowed_methods)] // a bench reads the clock

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tollgate_filters::answer::{Form, Guard, Options, Pipeline, Step};
use tollgate_filters::chat::Api;
use tollgate_filters::frames::Decoder;
use tollgate_filters::json::{Walk, encode};
use tollgate_filters::scan::{Direction, Masker, Profile, Rules};

const DELTAS: usize = 1_000;

fn main() {
    let rules = Arc::new(Rules::compile(&Rules::builtin_specs()).expect("built-in rules compile"));
    let profile = Profile::builtin("chat").expect("is built in");
    let policy = Arc::new(rules.policy_of(&profile, Direction::Answer));
    println!("{:<22}{:>8}{:>9}{:>9}{:>9}{:>9}", "stream", "bytes", "frames", "walk", "off", "on");
    for (name, api, events) in streams() {
        let bytes: usize = events.iter().map(String::len).sum();
        let frames = best(|| {
            let mut decoder = Decoder::new(1 << 20);
            for event in &events {
                decoder.feed(event.as_bytes());
                while let Ok(Some(frame)) = decoder.next_frame() {
                    black_box(frame);
                }
            }
        });
        let walk = best(|| {
            for event in &events {
                let data = event.split_once("data: ").map_or("", |(_, data)| data.trim_end());
                black_box(Walk::over(data, 128).and_then(|mut walk| walk.skip())).ok();
            }
        });
        let run = |guard: Option<Guard>| {
            best(|| {
                let mut pipeline = Pipeline::new(
                    Options { guard: guard.clone(), keep_text: 2048, ..Options::new(api) },
                    Masker::new(),
                );
                pipeline.begin(Form::Events);
                let mut out = Vec::new();
                for event in &events {
                    out.clear();
                    assert_eq!(pipeline.push(event.as_bytes(), &mut out), Step::More);
                }
                out.len()
            })
        };
        let off = run(None);
        let on = run(Some(Guard { rules: rules.clone(), policy: policy.clone() }));
        println!("{name:<22}{:>8}{frames:>9.0}{walk:>9.0}{off:>9.0}{on:>9.0}", bytes / DELTAS);
    }
}

/// Nanoseconds per delta of the fastest run.
fn best<T>(mut work: impl FnMut() -> T) -> f64 {
    let mut best = Duration::MAX;
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(500) {
        let run = Instant::now();
        black_box(work());
        best = best.min(run.elapsed());
    }
    best.as_secs_f64() * 1e9 / DELTAS as f64
}

fn streams() -> Vec<(&'static str, Api, Vec<String>)> {
    const WORDS: [&str; 12] = [
        "The",
        " committee",
        " met",
        " on",
        " a",
        " grey",
        " morning",
        ",",
        " agreed",
        " and",
        " left",
        ".\n",
    ];
    let events = |before: &str, after: &str, piece: &dyn Fn(usize) -> String| -> Vec<String> {
        (0..DELTAS)
            .map(|at| {
                let mut literal = Vec::new();
                encode(&piece(at), &mut literal);
                format!("{before}{}{after}\n\n", String::from_utf8_lossy(&literal))
            })
            .collect()
    };
    let chat = r#"data: {"id":"chatcmpl-123","object":"chat.completion.chunk","created":1694268190,"model":"gpt-4o-mini","system_fingerprint":"fp_44709d6fcb","choices":[{"index":0,"delta":{"#;
    let tail = r#"},"logprobs":null,"finish_reason":null}]}"#;
    let word = |at: usize| WORDS[at % WORDS.len()].to_owned();
    let characters = |at: usize| WORDS.concat().chars().cycle().skip(at % 50).take(1).collect::<String>();
    let json = |at: usize| match at % 6 {
        _ if at == 0 => "{\"".to_owned(),
        0 => "\",\"".to_owned(),
        1 => format!("key{at}"),
        2 => "\":\"".to_owned(),
        _ => format!(" value{}", at % 7),
    };
    vec![
        ("chat words", Api::Chat, events(&format!("{chat}\"content\":"), tail, &word)),
        ("chat characters", Api::Chat, events(&format!("{chat}\"content\":"), tail, &characters)),
        (
            "chat arguments",
            Api::Chat,
            events(
                &format!("{chat}\"tool_calls\":[{{\"index\":0,\"function\":{{\"arguments\":"),
                &format!("}}}}]{tail}"),
                &json,
            ),
        ),
        (
            "responses words",
            Api::Responses,
            events(
                "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":7,\"item_id\":\"msg_1\",\"output_index\":0,\"content_index\":0,\"delta\":",
                ",\"logprobs\":[]}",
                &word,
            ),
        ),
        (
            "messages words",
            Api::Messages,
            events(
                "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":",
                "}}",
                &word,
            ),
        ),
    ]
}
