//! Every kind of finding, one character per delta and each delta only after the one before is on its way: nothing leaks, on any
//! surface, in text and in tool arguments.

use serde_json::json;
use tollgate_fake_upstream::{Fake, Script, Step};

use crate::harness::{Events, Gateway, ONE_UPSTREAM, PATIENCE, client, in_front_of_fake};
use crate::leaks;

const KINDS: [(&str, &str); 7] = [
    ("email", "alice.planted@corp-secret.com"),
    ("phone", "+1 415 867 5309"),
    ("ssn", "536-22-8726"),
    ("credit_card", "4111 1111 1111 1111"),
    ("ip_address", "93.184.216.34"),
    ("iban", "DE89 3704 0044 0532 0130 00"),
    ("secret", "ghp_q8Zr2LmX0vT5bNc7KpWd3HsYfJ6gRa1uEo9i"),
];

const PATHS: [&str; 3] = ["/v1/chat/completions", "/v1/messages", "/v1/responses"];

fn body(path: &str, model: &str) -> serde_json::Value {
    if path == "/v1/responses" {
        return json!({"model": model, "stream": true, "input": "go"});
    }
    json!({"model": model, "stream": true, "max_tokens": 500, "messages": [{"role": "user", "content": "go"}]})
}

/// Streams a gated script to its end: each piece leaves after the upstream has seen the one before go; gives all bytes.
///
/// The header is waited for beside the gates: it leaves with the first byte that is sure to be no part of a value.
async fn read(fake: &Fake, gateway: &Gateway, path: &str, model: &str, gates: u64) -> Vec<u8> {
    let request = client().post(gateway.url(path)).json(&body(path, model));
    let reader = tokio::spawn(async move {
        let answer = request.send().await.expect("answered");
        assert_eq!(answer.status(), 200);
        let mut events = Events::of(answer);
        let (_, whole) = events.rest().await;
        assert!(whole, "the stream ends cleanly");
        events.raw
    });
    let gate = fake.gate(model);
    for open in 0..gates {
        assert!(gate.reached(open, PATIENCE).await, "{path} {model}: gate {open}");
        gate.open(open + 1);
    }
    reader.await.expect("read")
}

async fn none_leaks(name: &str, script: impl Fn(&str) -> Script, gates: impl Fn(&str) -> u64) {
    let (fake, gateway) = in_front_of_fake(ONE_UPSTREAM);
    for (kind, value) in KINDS {
        for path in PATHS {
            let before = gateway.metric("tollgate_findings_total", &format!("kind=\"{kind}\""));
            let model = format!("{name}-{kind}{}", path.replace('/', "-"));
            fake.script(&model, script(value));
            let raw = read(&fake, &gateway, path, &model, gates(value)).await;
            leaks::assert_none(&raw, value);
            let found = gateway.metric("tollgate_findings_total", &format!("kind=\"{kind}\""));
            assert!(found > before, "{kind} on {path}: {}", String::from_utf8_lossy(&raw));
        }
    }
}

fn text_of(value: &str) -> String {
    format!("It is {value} then.")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kind_leaks_from_text() {
    let script = |value: &str| Script::gated(text_of(value).chars().map(String::from));
    none_leaks("text", script, |value| text_of(value).chars().count() as u64).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kind_leaks_from_tool_arguments() {
    let text = |value: &str| json!({"note": text_of(value), "n": 1}).to_string();
    none_leaks("tool", |value| tool(&text(value)), |value| text(value).len() as u64).await;
}

/// The same with every character of the value as a JSON escape.
#[tokio::test(flavor = "multi_thread")]
async fn no_kind_leaks_from_escaped_tool_arguments() {
    let text = |value: &str| {
        let escaped: String = value.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
        format!("{{\"note\": \"{}\"}}", text_of(&escaped))
    };
    // By fives, so that cuts fall into escapes at every place.
    let cut = |value: &str| text(value).len().div_ceil(5) as u64;
    let script = |value: &str| {
        let text = text(value);
        let pieces = text.as_bytes().chunks(5).map(|piece| String::from_utf8_lossy(piece).into_owned());
        gated_tool(pieces.collect())
    };
    none_leaks("escaped", script, cut).await;
}

fn tool(arguments: &str) -> Script {
    gated_tool(arguments.chars().map(String::from).collect())
}

fn gated_tool(pieces: Vec<String>) -> Script {
    let mut steps = vec![Step::tool(0, "call_1", "note", "")];
    for piece in pieces {
        steps.extend([Step::arguments(0, &piece), Step::Gate]);
    }
    Script::steps(steps)
}
