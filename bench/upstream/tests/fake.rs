//! What the fake promises, seen from a socket.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tollgate_fake_upstream::{Fake, Fault, Options, Outcome, Script, Step};

const LONG: Duration = Duration::from_secs(20);

/// Sends a request and gives the socket back, so that a test can read as slowly as it likes.
async fn send(fake: &Fake, method: &str, path: &str, body: &Value) -> TcpStream {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut socket = TcpStream::connect(fake.addr()).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: fake\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket
}

/// Head and body as they came, chunk sizes taken out; the error that ended them, if one did.
async fn rest(mut socket: TcpStream) -> (String, String, Option<std::io::ErrorKind>) {
    let mut all = Vec::new();
    let error = socket.read_to_end(&mut all).await.err().map(|e| e.kind());
    let text = String::from_utf8_lossy(&all).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let body = if head.contains("transfer-encoding: chunked") { unchunk(body) } else { body.to_owned() };
    (head.to_owned(), body, error)
}

fn unchunk(mut body: &str) -> String {
    let mut out = String::new();
    while let Some((size, after)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        out.push_str(&after[..size.min(after.len())]);
        body = after.get(size + 2..).unwrap_or("");
    }
    out
}

async fn call(fake: &Fake, path: &str, body: &Value) -> (String, String) {
    let (head, body, _) = rest(send(fake, "POST", path, body).await).await;
    (head, body)
}

async fn read_until(socket: &mut TcpStream, wanted: &str) -> String {
    let mut seen = String::new();
    let mut piece = [0; 4096];
    while !seen.contains(wanted) {
        let n = tokio::time::timeout(LONG, socket.read(&mut piece)).await.expect(wanted).unwrap();
        assert!(n > 0, "ended before {wanted:?}: {seen}");
        seen.push_str(&String::from_utf8_lossy(&piece[..n]));
    }
    seen
}

fn chat(model: &str, stream: bool) -> Value {
    json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": "one two"}]})
}

fn events(body: &str) -> Vec<Value> {
    body.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter_map(|d| serde_json::from_str(d).ok())
        .collect()
}

#[tokio::test]
async fn plain_answers_echo_and_report_usage() {
    let fake = Fake::start(Options::default()).unwrap();
    let (head, body) = call(&fake, "/v1/chat/completions", &chat("m", false)).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["choices"][0]["message"]["content"], "You said: one two");
    let entry = fake.ledger().last().unwrap();
    assert_eq!(entry.reported.unwrap().input, body["usage"]["prompt_tokens"].as_u64().unwrap());
    assert_eq!(entry.reported.unwrap().output, 3);
    assert_eq!((entry.outcome, entry.model.as_str()), (Outcome::Served, "m"));
}

#[tokio::test]
async fn usage_is_streamed_only_when_asked() {
    let fake = Fake::start(Options::default()).unwrap();
    let (_, body) = call(&fake, "/v1/chat/completions", &chat("m", true)).await;
    assert!(!body.contains("usage") && body.ends_with("data: [DONE]\n\n"), "{body}");
    assert_eq!(fake.ledger().last().unwrap().reported, None);

    let mut asking = chat("m", true);
    asking["stream_options"] = json!({"include_usage": true});
    let (_, body) = call(&fake, "/v1/chat/completions", &asking).await;
    let events = events(&body);
    let (last, others) = events.split_last().unwrap();
    assert!(others.iter().all(|event| event["usage"].is_null() && event.get("usage").is_some()));
    assert_eq!((last["usage"]["completion_tokens"].as_u64(), &last["choices"]), (Some(3), &json!([])));
    assert_eq!(fake.ledger().last().unwrap().reported.unwrap().output, 3);
}

#[tokio::test]
async fn every_surface_says_the_same() {
    let fake = Fake::start(Options::default()).unwrap();
    let steps = || {
        [
            Step::Reasoning("hm".into()),
            Step::text("a "),
            Step::text("b"),
            Step::tool(0, "call_1", "f", "{\"x\":1}"),
        ]
    };
    fake.script("s", Script::steps(steps()));
    let surfaces = [
        ("/v1/chat/completions", "messages"),
        ("/v1/completions", "prompt"),
        ("/v1/responses", "input"),
        ("/v1/messages", "messages"),
    ];
    for (path, field) in surfaces {
        for recut in [None, Some(1), Some(7)] {
            fake.script("s", Script { recut, ..Script::steps(steps()) });
            let (_, body) = call(&fake, path, &json!({"model": "s", "stream": true, field: "hi"})).await;
            let text: String = events(&body)
                .iter()
                .filter_map(|e| {
                    let spots =
                        [&e["choices"][0]["delta"]["content"], &e["choices"][0]["text"], &e["delta"]["text"]];
                    let delta = (e["type"] == "response.output_text.delta").then_some(&e["delta"]);
                    spots.into_iter().chain(delta).find_map(Value::as_str).map(str::to_owned)
                })
                .collect();
            assert_eq!(text, "a b", "{path} {recut:?} {body}");
        }
        let (_, body) = call(&fake, path, &json!({"model": "s", field: "hi"})).await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert!(body.to_string().contains("a b"), "{path} {body}");
        assert!(body["usage"].is_object(), "{path} {body}");
    }
}

#[tokio::test]
async fn a_gate_holds_what_follows() {
    let fake = Fake::start(Options::default()).unwrap();
    fake.script("g", Script::gated(["first", "second"]));
    let gate = fake.gate("g");
    let mut socket = send(&fake, "POST", "/v1/chat/completions", &chat("g", true)).await;
    read_until(&mut socket, "first").await;
    assert!(gate.reached(0, LONG).await);
    assert_eq!(fake.ledger().last().unwrap().pieces, 1);
    gate.open(1);
    let seen = read_until(&mut socket, "second").await;
    assert!(!seen.contains("[DONE]"));
    gate.open(2);
    let (_, body, _) = rest(socket).await;
    assert!(body.is_empty(), "the head was read before");
    let entries =
        fake.ledger().until(LONG, |all| all.iter().all(|e| e.outcome == Outcome::Served)).await.unwrap();
    assert_eq!(entries[0].pieces, 2);
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed() {
    let fake = Fake::start(Options::default()).unwrap();
    fake.script("g", Script::gated(["first", "second"]));
    fake.script("mute", Script::silent());
    let mut streaming = send(&fake, "POST", "/v1/chat/completions", &chat("g", true)).await;
    read_until(&mut streaming, "first").await;
    let waiting = send(&fake, "POST", "/v1/chat/completions", &chat("mute", false)).await;
    fake.ledger().until(LONG, |all| all.len() == 2 && all[1].model == "mute").await.unwrap();
    drop((streaming, waiting));
    let cancelled =
        |all: &[tollgate_fake_upstream::Entry]| all.iter().all(|e| e.outcome == Outcome::Cancelled);
    fake.ledger().until(LONG, cancelled).await.expect("both cancelled");
    assert_eq!(fake.ledger().totals().cancelled, 2);
}

#[tokio::test]
async fn faults_look_like_faults() {
    let fake = Fake::start(Options::default()).unwrap();
    let said = || Script::says(["a ", "b "]);
    let cases: [(&str, Script, bool); 7] = [
        ("reset", Script::broken(Fault::Reset), true),
        ("close", Script::broken(Fault::Close), true),
        ("late-reset", said().then(Step::Fault(Fault::Reset)), true),
        ("late-close", said().then(Step::Fault(Fault::Close)), true),
        ("no-finish", said().then(Step::Fault(Fault::End)), true),
        ("half", said().cut(40, Fault::Close), false),
        ("event", Script::error_event("went wrong"), true),
    ];
    for (model, script, stream) in cases {
        fake.script(model, script);
        let socket = send(&fake, "POST", "/v1/chat/completions", &chat(model, stream)).await;
        let (head, body, error) = rest(socket).await;
        match model {
            "reset" | "late-reset" => assert_eq!(error, Some(std::io::ErrorKind::ConnectionReset), "{model}"),
            "close" => assert_eq!((head.as_str(), error), ("", None)),
            "late-close" => {
                assert!(body.contains("b ") && !body.contains("stop") && !body.ends_with("\n\n0"))
            }
            "no-finish" => assert!(body.contains("b ") && !body.contains("[DONE]")),
            "half" => assert!(body.len() == 40 && !head.contains("content-length: 40\r"), "{head} {body}"),
            _ => assert_eq!(events(&body)[0]["error"]["message"], "went wrong"),
        }
        assert_eq!(fake.ledger().last().unwrap().outcome, Outcome::Faulted, "{model}");
    }
}

#[tokio::test]
async fn sequences_statuses_and_keys() {
    let fake = Fake::start(Options { key: Some("k".into()), ..Options::default() }).unwrap();
    fake.sequence("s", [Script::rate_limited(7), Script::error(500, "no"), Script::says(["yes"])]);
    for expected in ["429", "500", "200", "200"] {
        let (head, _) = call(&fake, "/v1/chat/completions", &chat("s", false)).await;
        assert!(head.contains(expected), "{head}");
        assert_eq!(head.contains("retry-after: 7"), expected == "429");
    }
    let (head, _) = call(&fake, "/v1/chat/completions", &chat("any", false)).await;
    assert!(head.contains("401"), "{head}");
    let (head, body, _) = rest(send(&fake, "GET", "/health", &Value::Null).await).await;
    assert!(head.contains("200") && body.contains("ok"));
    fake.script("/health", Script::error(503, "sick"));
    let (head, _, _) = rest(send(&fake, "GET", "/health", &Value::Null).await).await;
    assert!(head.contains("503"));
}

#[tokio::test]
async fn killed_and_started_again() {
    let mut fake = Fake::start(Options::default()).unwrap();
    fake.script("g", Script::gated(["first", "second"]));
    let mut socket = send(&fake, "POST", "/v1/chat/completions", &chat("g", true)).await;
    read_until(&mut socket, "first").await;
    fake.kill();
    let (_, body, _) = rest(socket).await;
    assert!(!body.contains("second"));
    assert_eq!(fake.ledger().last().unwrap().outcome, Outcome::Killed);
    assert!(TcpStream::connect(fake.addr()).await.is_err());
    fake.restart().unwrap();
    let (head, _) = call(&fake, "/v1/chat/completions", &chat("m", false)).await;
    assert!(head.contains("200"));
    assert_eq!(fake.ledger().totals().killed, 1);
}

#[tokio::test]
async fn default_answers_serve_the_demo_and_benchmarks() {
    let fake = Fake::start(Options::default()).unwrap();
    let mut body = chat("m", true);
    body["messages"][0]["content"] = "Whom do I contact?".into();
    let (_, answer) = call(&fake, "/v1/chat/completions", &body).await;
    assert!(!answer.contains("jane.doe@corp.com") && !answer.contains("4111 1111"), "cut over deltas");
    body["stream"] = false.into();
    let (_, answer) = call(&fake, "/v1/chat/completions", &body).await;
    assert!(answer.contains("jane.doe@corp.com") && answer.contains("4111 1111 1111 1111"));
    let (_, answer) = call(&fake, "/v1/chat/completions", &chat("words:5", true)).await;
    assert_eq!(events(&answer).iter().filter(|e| e["choices"][0]["delta"]["content"] != "").count(), 6);

    let tool = json!({"type": "function", "function": {"name": "weather", "parameters":
        {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}}});
    let mut body = chat("m", false);
    body["tools"] = json!([tool]);
    let (_, answer) = call(&fake, "/v1/chat/completions", &body).await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let called = &answer["choices"][0]["message"]["tool_calls"][0]["function"];
    assert_eq!(
        (called["name"].as_str(), answer["choices"][0]["finish_reason"].as_str()),
        (Some("weather"), Some("tool_calls"))
    );
    let arguments: Value = serde_json::from_str(called["arguments"].as_str().unwrap()).unwrap();
    assert_eq!(arguments, json!({"city": "two", "days": 1}));

    let (_, answer) = call(&fake, "/v1/embeddings", &json!({"model": "e", "input": ["a", "b"]})).await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["data"].as_array().unwrap().len(), 2);
    assert_ne!(answer["data"][0]["embedding"], answer["data"][1]["embedding"]);
}

#[tokio::test]
async fn scripted_over_http() {
    let fake = Fake::start(Options::default()).unwrap();
    let order = json!({"key": "h", "scripts": [
        {"status": 429, "content": {"error": "slow down"}, "headers": [["retry-after", "1"]]},
        {"content": {"steps": [{"text": "over "}, "gate", {"text": "http"}]}, "finish": "length"},
    ]});
    let (head, body) = call(&fake, "/script", &order).await;
    assert!(head.contains("200"), "{body}");
    let (head, _) = call(&fake, "/v1/chat/completions", &chat("h", false)).await;
    assert!(head.contains("429") && head.contains("retry-after: 1"));
    call(&fake, "/gate", &json!({"key": "h", "open": 1})).await;
    let (_, body) = call(&fake, "/v1/chat/completions", &chat("h", false)).await;
    assert!(body.contains("over http") && body.contains("length"), "{body}");
    let (_, ledger, _) = rest(send(&fake, "GET", "/ledger", &Value::Null).await).await;
    let ledger: Value = serde_json::from_str(&ledger).unwrap();
    assert_eq!(ledger["totals"]["requests"], 2);
    assert_eq!(ledger["entries"][1]["script"], "h");
    let (head, _) = call(&fake, "/script", &json!({"key": "h", "script": {"stauts": 1}})).await;
    assert!(head.contains("400"));
}

#[tokio::test]
async fn speaks_http2_without_tls() {
    use http_body_util::{BodyExt, Full};
    let fake = Fake::start(Options::default()).unwrap();
    let socket = TcpStream::connect(fake.addr()).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(socket);
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    fake.script("g", Script::gated(["first", "second"]));
    let request = |model| {
        let body = Full::new(bytes::Bytes::from(chat(model, true).to_string()));
        http::Request::post(format!("{}/v1/chat/completions", fake.url())).body(body).unwrap()
    };
    let whole =
        client.send_request(request("m")).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&whole).ends_with("data: [DONE]\n\n"));
    let mut leaving = client.send_request(request("g")).await.unwrap().into_body();
    leaving.frame().await.unwrap().unwrap();
    drop(leaving); // RST_STREAM; the connection stays
    let cancelled = fake.ledger().until(LONG, |all| all[1].outcome == Outcome::Cancelled).await.unwrap();
    assert_eq!(
        (cancelled[1].version.as_str(), cancelled[1].connection),
        ("HTTP/2.0", cancelled[0].connection)
    );
}

#[tokio::test]
async fn speaks_tls() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let fake = Fake::start(Options { tls: Some(Arc::new(server)), ..Options::default() }).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let socket = TcpStream::connect(fake.addr()).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(Arc::new(client)).connect(name, socket).await.unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: fake\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    // hyper closes without close_notify, which rustls calls an unexpected end of file.
    let _ = stream.read_to_string(&mut answer).await;
    assert!(fake.url().starts_with("https") && answer.starts_with("HTTP/1.1 200"), "{answer}");
}
