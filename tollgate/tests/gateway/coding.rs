//! A coding agent's session of fifty turns, as chat completions and as Anthropic messages, with profile `coding`: what it works on
//! arrives byte for byte in both directions. What was planted in the files that it reads does not reach the upstream, and what
//! the model says of its own does not reach the agent, in text and in a tool's arguments.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tollgate_fake_upstream::{Fake, Script, Step};

use crate::harness::{Events, Gateway, client, in_front_of_fake};

const TURNS: usize = 50;
/// Bytes of a file that a tool returns at once, as agents do it.
const READ: usize = 5_000;

const CODING: &str = r#"
providers: [{id: up, kind: vllm, base_urls: ["${UPSTREAM}"]}]
models: [{name: "*", targets: [{provider: up}]}]
guardrails: {profile: coding}
"#;

/// What the agent reads and writes.
const MATERIAL: [(&str, &str); 14] = [
    ("git log", include_str!("coding/git-log.txt")),
    ("stack trace", include_str!("coding/stack-trace.txt")),
    ("git diff", include_str!("coding/diff.txt")),
    ("shell", include_str!("coding/listing.txt")),
    ("Cargo.lock", include_str!("../../../Cargo.lock")),
    ("package-lock.json", include_str!("../../../tests/clients/node/package-lock.json")),
    ("README.md", include_str!("../../../README.md")),
    ("Cargo.toml", include_str!("../../../Cargo.toml")),
    ("Makefile", include_str!("../../../Makefile")),
    ("seam.rs", include_str!("../../../proxy/src/http/seam.rs")),
    ("walk.rs", include_str!("../../../filters/src/json/walk.rs")),
    ("tiny_model.py", include_str!("../../../tests/engine/tiny_model.py")),
    ("all-on.yaml", include_str!("../../../conf/all-on.yaml")),
    ("architecture.md", include_str!("../../../docs/architecture.md")),
];

/// What must not arrive: what stands before it in its line, the value, and what the place is called then.
type Planted = (&'static str, &'static str, &'static str);

/// In what tools return.
const PLANTED: [Planted; 6] = [
    ("export GITHUB_TOKEN=", "ghp_q8Zr2LmX0vT5bNc7KpWd3HsYfJ6gRa1uEo9i", "SECRET"),
    ("AWS_ACCESS_KEY_ID=", "AKIAQ4XH7M2PLZK9WJ3T", "SECRET"),
    ("# test card ", "4111 1111 1111 1111", "CREDIT_CARD"),
    ("pay to ", "DE89 3704 0044 0532 0130 00", "IBAN"),
    ("// old key: ", "sk_live_9aKq2LmX0vT5bNc7KpWd3HsY", "SECRET"),
    ("    ssn: ", "536-22-8726", "SSN"),
];

/// In answers. No request holds them: what the agent has sent may be said to it again.
const SAID: [Planted; 5] = [
    ("1042,Jane Roe,1981-04-02,", "219-09-9998", "SSN"),
    ("Authorization: Bearer ", "gho_7KpWd3HsYfJ6gRa1uEo9iq8Zr2LmX0vT5bNc", "SECRET"),
    ("  card: ", "5105 1051 0510 5100", "CREDIT_CARD"),
    ("aws_access_key_id = ", "AKIAZ7Q2MXKPVLW4NDTR", "SECRET"),
    ("-- refund to ", "GB33BUKB20201555555555", "IBAN"),
];

/// A piece of a file, and what is planted in it.
struct Piece {
    name: &'static str,
    text: String,
    planted: Option<Planted>,
}

/// What the tool of turn `n` returns.
fn result(n: usize) -> Piece {
    piece(n, (n % 5 == 2).then(|| PLANTED[n / 5 % PLANTED.len()]))
}

/// What the model says in turn `n`, and writes to a file.
fn answer(n: usize) -> Piece {
    piece(n * 5 + 3, (n % 4 == 1).then(|| SAID[n / 4 % SAID.len()]))
}

fn piece(n: usize, planted: Option<Planted>) -> Piece {
    let (name, text) = MATERIAL[n % MATERIAL.len()];
    let from = (n / MATERIAL.len()) * READ % text.len().max(1);
    let mut text = slice(text, from, READ).to_owned();
    if let Some((before, value, _)) = planted {
        let middle = border(&text, text.len() / 2);
        text.insert_str(middle, &format!("\n{before}{value}\n"));
    }
    Piece { name, text, planted }
}

fn border(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

fn slice(text: &str, from: usize, len: usize) -> &str {
    let from = border(text, from);
    let to = border(text, text.len().min(from + len));
    &text[from..to]
}

/// A surface of the same session.
trait Surface {
    const PATH: &'static str;
    fn call(&mut self, n: usize, read: &Piece);
    fn body(&self, model: &str) -> Value;
    /// What a client puts together from the stream: the text, and the arguments of the tool call.
    fn said(events: &[Value]) -> (String, String);
}

#[derive(Default)]
struct Chat(Vec<Value>);

impl Surface for Chat {
    const PATH: &'static str = "/v1/chat/completions";

    fn call(&mut self, n: usize, read: &Piece) {
        let arguments = json!({"path": read.name, "from": n * 100, "to": "\u{e9}\t\"end\"\n"}).to_string();
        let function = json!({"name": "read", "arguments": arguments});
        self.0.push(json!({"role": "user", "content": format!("{n}: look at `{}`", read.name)}));
        self.0.push(json!({"role": "assistant", "content": null, "tool_calls": [{"id": format!("c{n}"), "type": "function", "function": function}]}));
        self.0.push(json!({"role": "tool", "tool_call_id": format!("c{n}"), "content": read.text}));
    }

    fn body(&self, model: &str) -> Value {
        json!({"model": model, "stream": true, "messages": self.0})
    }

    fn said(events: &[Value]) -> (String, String) {
        let (mut text, mut arguments) = (String::new(), String::new());
        for delta in events.iter().map(|event| &event["choices"][0]["delta"]) {
            text.push_str(delta["content"].as_str().unwrap_or_default());
            arguments.push_str(delta["tool_calls"][0]["function"]["arguments"].as_str().unwrap_or_default());
        }
        (text, arguments)
    }
}

#[derive(Default)]
struct Messages(Vec<Value>);

impl Surface for Messages {
    const PATH: &'static str = "/v1/messages";

    fn call(&mut self, n: usize, read: &Piece) {
        let input = json!({"path": read.name, "from": n * 100, "to": "\u{e9}\t\"end\"\n"});
        self.0.push(json!({"role": "user", "content": format!("{n}: look at `{}`", read.name)}));
        self.0.push(json!({"role": "assistant", "content": [{"type": "tool_use", "id": format!("t{n}"), "name": "read", "input": input}]}));
        self.0.push(json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": format!("t{n}"), "content": read.text}]}));
        self.0.push(json!({"role": "assistant", "content": [{"type": "text", "text": "Seen."}]}));
    }

    fn body(&self, model: &str) -> Value {
        let system = json!([{"type": "text", "text": "You edit code."}]);
        let messages = &self.0[..self.0.len() - 1];
        json!({"model": model, "stream": true, "max_tokens": 4096, "system": system, "messages": messages})
    }

    fn said(events: &[Value]) -> (String, String) {
        let (mut text, mut arguments) = (String::new(), String::new());
        for delta in events.iter().map(|event| &event["delta"]) {
            text.push_str(delta["text"].as_str().unwrap_or_default());
            arguments.push_str(delta["partial_json"].as_str().unwrap_or_default());
        }
        (text, arguments)
    }
}

async fn replay<S: Surface>(mut session: S) {
    let (fake, gateway) = in_front_of_fake(CODING);
    let mut changed = Vec::new();
    let mut leaked = Vec::new();
    let (mut sent_in, mut said_of_its_own) = (BTreeMap::new(), BTreeSet::new());
    for n in 0..TURNS {
        let read = result(n);
        sent_in.extend(read.planted.map(|(_, value, kind)| (value, kind)));
        session.call(n, &read);
        let model = format!("turn-{n}");
        let file = answer(n);
        let arguments = json!({"path": file.name, "content": file.text}).to_string();
        fake.script(&model, writes(&file.text, &arguments));
        let sent = session.body(&model);
        let events = stream(&gateway, S::PATH, &sent).await;

        let received = received(&fake, &model);
        leaked.extend(
            sent_in
                .keys()
                .filter(|value| received.contains(**value))
                .map(|value| format!("turn {n}: {value}")),
        );
        let mut before = sent.to_string();
        for (value, kind) in &sent_in {
            before = before.replace(value, &format!("[{kind}_1]"));
        }
        compare(&format!("request {n}"), &unnumbered(&before), &unnumbered(&received), &mut changed);

        let (text, written) = S::said(&events);
        let (mut said, mut wrote) = (file.text, arguments);
        if let Some((_, value, kind)) = file.planted {
            said_of_its_own.insert(value);
            let masked = replaced(&said, value, &text);
            leaked.extend(
                [&text, &written]
                    .iter()
                    .filter(|out| out.contains(value))
                    .map(|_| format!("answer {n}: {value}")),
            );
            assert!(
                masked.is_some_and(|mask| unnumbered(mask) == format!("[{kind}]")),
                "answer {n}: {masked:?}"
            );
            said = said.replace(value, masked.unwrap_or_default());
            wrote = wrote.replace(value, replaced(&wrote, value, &written).unwrap_or_default());
        }
        compare(&format!("text {n}, {}", file.name), &said, &text, &mut changed);
        compare(&format!("arguments {n}, {}", file.name), &wrote, &written, &mut changed);
    }
    assert!(leaked.is_empty(), "planted values came through: {leaked:#?}");
    assert!(changed.is_empty(), "bytes changed that should not have been: {changed:#?}");
    assert_eq!((sent_in.len(), said_of_its_own.len()), (PLANTED.len(), SAID.len()), "all were tried");
}

/// What stands in `after` where `value` stood in `before`, if all around it is the same.
fn replaced<'a>(before: &str, value: &str, after: &'a str) -> Option<&'a str> {
    let (head, tail) = before.split_once(value)?;
    after.strip_prefix(head)?.strip_suffix(tail)
}

/// Says a file, then writes it with a tool, in the small pieces of a model.
fn writes(text: &str, arguments: &str) -> Script {
    let mut steps: Vec<Step> = pieces(text).map(Step::text).collect();
    steps.push(Step::tool(0, "call_1", "write", ""));
    steps.extend(pieces(arguments).map(|piece| Step::arguments(0, piece)));
    Script::steps(steps)
}

fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    let mut size = 3;
    std::iter::from_fn(move || {
        size = size * 5 % 23 + 1;
        let at = rest.char_indices().nth(size).map_or(rest.len(), |(at, _)| at);
        let (piece, after) = rest.split_at(at);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

async fn stream(gateway: &Gateway, path: &str, body: &Value) -> Vec<Value> {
    let answer = client().post(gateway.url(path)).json(body).send().await.expect("answered");
    assert_eq!(answer.status(), 200, "{path}");
    let (events, whole) = Events::of(answer).rest().await;
    assert!(whole, "the stream ends cleanly");
    let data = events.iter().filter_map(|event| event.split_once("data: ").map(|(_, data)| data));
    data.filter_map(|data| serde_json::from_str(data).ok()).collect()
}

/// The body that the upstream got, as it stands.
fn received(fake: &Fake, model: &str) -> String {
    let entries = fake.ledger().for_model(model);
    let entry = entries.last().expect("it was asked");
    let mut body = String::from_utf8(entry.body.to_vec()).expect("UTF-8");
    // The one thing that the gateway adds: without it no upstream counts tokens in a stream.
    if let Some(at) = body.find(r#""stream_options":{"include_usage":true}"#) {
        let asked = r#""stream_options":{"include_usage":true},"#;
        body.replace_range(at..at + asked.len(), "");
    }
    body
}

/// Numbers of placeholders are of no interest here.
fn unnumbered(body: &str) -> String {
    let mut out = body.to_owned();
    for kind in ["SECRET", "CREDIT_CARD", "IBAN", "SSN"] {
        for number in (1..=PLANTED.len() + SAID.len()).rev() {
            out = out.replace(&format!("[{kind}_{number}]"), &format!("[{kind}]"));
        }
    }
    out
}

/// Notes the first place at which two texts differ.
fn compare(what: &str, before: &str, after: &str, changed: &mut Vec<String>) {
    if before == after {
        return;
    }
    let same = before.bytes().zip(after.bytes()).take_while(|(a, b)| a == b).count();
    let shown = |text: &str| slice(text, same.saturating_sub(30), 90).to_owned();
    changed.push(format!("{what}: {:?} became {:?}", shown(before), shown(after)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_chat_completions_comes_through_unhurt() {
    replay(Chat::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_messages_comes_through_unhurt() {
    replay(Messages::default()).await;
}
