//! What reading and screening a request body costs: `cargo bench -p tollgate-filters --bench request`.
//!
//! Microseconds, best of many runs, for the bodies that the budget in docs speaks of: 300 bytes, 32 KiB, 114 KB; ASCII prose, code
//! (an escape on every line), Chinese, and an agent's call with tools. `no inj.` is `screen` without looking for prompt injections. serde_json's tree of the same body stands beside it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use tollgate_filters::chat::{Api, Call, Outgoing, ReadBounds};
use tollgate_filters::json::Walk;
use tollgate_filters::scan::injection::InjectionPolicy;
use tollgate_filters::scan::request::{self, Options};
use tollgate_filters::scan::{Direction, Masker, Policy, Profile, Rules};

fn main() {
    let rules = Rules::compile(&Rules::builtin_specs()).expect("built-in rules compile");
    let profile = Profile::builtin("chat").expect("is built in");
    let policy = rules.policy_of(&profile, Direction::Request);
    // The same without looking for prompt injections.
    let trusting = Profile { prompt_injection: InjectionPolicy::OFF, ..profile };
    let trusting = rules.policy_of(&trusting, Direction::Request);
    println!(
        "{:<16}{:>9}{:>9}{:>9}{:>9}{:>9}{:>10}{:>9}{:>9}",
        "body", "bytes", "walk", "read", "screen", "no inj.", "outgoing", "utf8", "tree"
    );
    for (name, body) in bodies() {
        let body = Bytes::from(body.to_string());
        let call = Call::read(Api::Chat, &body, ReadBounds::default()).expect("a valid body");
        let walk = best(|| Walk::new(&body, 128).and_then(|mut walk| walk.skip()));
        let read = best(|| Call::read(Api::Chat, &body, ReadBounds::default()));
        let screen = |policy: &Policy| {
            best(|| {
                let mut masker = Masker::new();
                request::screen(&call, &body, &rules, policy, &mut masker, Options::default()).scanned
            })
        };
        let (screen, trusting) = (screen(&policy), screen(&trusting));
        let outgoing = best(|| {
            call.outgoing(&body, Outgoing { model: "another", usage: true, edits: Default::default() })
        });
        let utf8 = best(|| std::str::from_utf8(&body).map(str::len));
        let tree = best(|| serde_json::from_slice::<Value>(&body));
        println!(
            "{name:<16}{:>9}{walk:>9.2}{read:>9.2}{screen:>9.2}{trusting:>9.2}{outgoing:>10.2}{utf8:>9.2}{tree:>9.2}",
            body.len()
        );
    }
}

/// Microseconds of the fastest run.
#[expect(clippy::disallowed_methods, reason = "a bench reads the clock; the core it measures does not")]
fn best<T>(mut work: impl FnMut() -> T) -> f64 {
    let mut best = Duration::MAX;
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(300) {
        let run = Instant::now();
        black_box(work());
        best = best.min(run.elapsed());
    }
    best.as_secs_f64() * 1e6
}

fn bodies() -> Vec<(&'static str, Value)> {
    const PROSE: &str =
        "The committee met on a grey morning and agreed, after some talk, that the report should go out. ";
    const CODE: &str = "    if (value != null) {\n\t\treturn \"a\\\\b\";\n    }\n";
    const CHINESE: &str = "委员会在一个灰色的早晨开会，经过讨论后同意发布报告。";
    let fill = |text: &str, bytes: usize| text.repeat(bytes / text.len());
    let chat =
        |text: String| json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": text}]});
    let turns = |bytes: usize| {
        let turn = |i: usize| json!({"role": if i.is_multiple_of(2) { "user" } else { "assistant" }, "content": fill(PROSE, 1_000)});
        json!({"model": "m", "messages": (0..bytes / 1_000).map(turn).collect::<Vec<_>>()})
    };
    let tool = |i: usize| {
        json!({"type": "function", "function": {"name": format!("tool_{i}"), "description": fill(PROSE, 800), "parameters":
            {"type": "object", "properties": {"path": {"type": "string", "description": "Where the file is."}, "limit": {"type": "integer", "minimum": 1}}, "required": ["path"]}}})
    };
    let agent = json!({"model": "m", "tools": (0..20).map(tool).collect::<Vec<_>>(), "messages": (0..40).map(|i| match i % 3 {
        0 => json!({"role": "user", "content": "go on"}),
        1 => json!({"role": "assistant", "content": null, "tool_calls": [{"id": format!("c{i}"), "type": "function", "function": {"name": "tool_1", "arguments": "{\"path\": \"src/main.rs\", \"limit\": 200}"}}]}),
        _ => json!({"role": "tool", "tool_call_id": format!("c{}", i - 1), "content": fill(CODE, 6_000)}),
    }).collect::<Vec<_>>()});
    vec![
        ("small", chat(fill(PROSE, 200))),
        ("prose 32K", chat(fill(PROSE, 32 << 10))),
        ("code 32K", chat(fill(CODE, 32 << 10))),
        ("chinese 32K", chat(fill(CHINESE, 32 << 10))),
        ("turns 114K", turns(114_000)),
        ("agent", agent),
        (
            "tokens 114K",
            json!({"model": "m", "messages": [{"role": "user", "content": ""}], "prompt": (0..20_000).collect::<Vec<u32>>()}),
        ),
    ]
}
