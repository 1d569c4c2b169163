//! Models that are silent for long: comments meanwhile, and what can still happen behind them.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tollgate_fake_upstream::{Fault, Outcome, Script, Step};

use crate::harness::{KEY, PATIENCE, chat, in_front_of_fake, until};
use crate::streams::{CHAT, IMPATIENT, SURFACES, chunks, ended_as, open, said};

#[tokio::test(flavor = "multi_thread")]
async fn comments_pass_the_time_while_the_model_is_silent() {
    let (fake, gateway) = in_front_of_fake(IMPATIENT);
    fake.script("slow", Script::steps([Step::Gate, Step::text("Done.")]));
    for (path, body, silence) in [(CHAT, SURFACES[0].1, ": "), ("/v1/messages", SURFACES[3].1, "event: ping")]
    {
        let mut events = open(&gateway, path, &body("slow")).await;
        for _ in 0..3 {
            let event = events.next().await.expect("whole").expect("an event");
            assert!(event.starts_with(silence), "{path}: {event}");
        }
        fake.gate("slow").open(1);
        let (seen, clean) = events.rest().await;
        assert!(clean);
        assert_eq!(said(&seen).0, "Done.", "{path}");
        fake.gate("slow").shut();
    }
}

/// HTTP/1.0 knows neither comments before the answer nor chunks.
#[tokio::test(flavor = "multi_thread")]
async fn http_1_0_gets_the_stream_alone() {
    let (fake, gateway) = in_front_of_fake(IMPATIENT);
    fake.script("slow", Script::steps([Step::Gate, Step::text("Done.")]));
    let body = chat("slow", "Hi", true).to_string();
    let mut old = tokio::net::TcpStream::connect(gateway.listen).await.expect("connected");
    let head = format!(
        "POST {CHAT} HTTP/1.0\r\nhost: gateway\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    old.write_all(format!("{head}{body}").as_bytes()).await.expect("written");
    assert!(fake.gate("slow").reached(0, PATIENCE).await);
    // By the time that another client has had three comments, this one would have had one.
    let mut new = open(&gateway, CHAT, &chat("slow", "Hi", true)).await;
    for _ in 0..3 {
        assert!(new.next().await.expect("whole").expect("an event").starts_with(": "));
    }
    fake.gate("slow").open(1);
    let mut all = String::new();
    let read = tokio::time::timeout(PATIENCE, old.read_to_string(&mut all)).await;
    read.expect("closed at the end").expect("read");
    assert!(all.starts_with("HTTP/1.") && all.contains(" 200 "), "{all}");
    assert!(!all.to_ascii_lowercase().contains("transfer-encoding"), "{all}");
    let (_, stream) = all.split_once("\r\n\r\n").expect("a head");
    assert!(stream.starts_with("data: {") && stream.ends_with("data: [DONE]\n\n"), "{all}");
}

/// After comments the status is spent: what goes wrong then is told inside the stream.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_after_comments_stands_in_the_stream() {
    let (fake, gateway) = in_front_of_fake(&IMPATIENT.replace("${FIRST_BYTE:-20s}", "2s"));
    fake.script("silent", Script::silent());
    // Its own error, late: a client acts on its words.
    let late = json!({"error": {"message": "too long", "type": "invalid_request_error", "param": null, "code": "context_length_exceeded"}});
    let wait = Step::WaitMs(600);
    let bytes = Step::Bytes(late.to_string().into_bytes());
    let refused = Script {
        status: 400,
        ..Script::steps([wait, bytes, Step::Fault(Fault::End)]).header("content-type", "application/json")
    };
    fake.script("refused", refused);
    for (path, body) in [(CHAT, SURFACES[0].1), ("/v1/messages", SURFACES[3].1)] {
        for (model, code) in [("silent", "UPSTREAM_TIMEOUT"), ("refused", "context_length_exceeded")] {
            let mut events = open(&gateway, path, &body(model)).await;
            let (seen, _) = events.rest().await;
            assert!(seen[0].starts_with(": ") || seen[0].starts_with("event: ping"), "{seen:?}");
            let error = chunks(&seen).pop().expect("an event");
            assert_eq!(error["error"]["code"], code, "{path}: {seen:?}");
            assert!(!String::from_utf8_lossy(&events.raw).contains("[DONE]"));
            let named = seen.last().is_some_and(|last| last.starts_with("event: error\n"));
            assert_eq!(named, path == "/v1/messages", "{seen:?}");
        }
    }
    for event in gateway.events(4) {
        assert_eq!((&event["status"], &event["http_status"]), (&"error".into(), &200.into()), "{event}");
    }
}

/// Between two comments the gateway still changes targets.
#[tokio::test(flavor = "multi_thread")]
async fn failover_stays_open_behind_comments() {
    let yaml = r#"
providers:
  - {id: first, kind: vllm, base_urls: ["${UPSTREAM}"], timeouts: {first_byte: 2s}}
  - {id: second, kind: vllm, base_urls: ["${UPSTREAM}"]}
models: [{name: m, targets: [{provider: first, model: silent}], fallback: [{provider: second, model: talks}], first_event_comment_after: 100ms}]
"#;
    let (fake, gateway) = in_front_of_fake(yaml);
    fake.script("silent", Script::silent());
    fake.script("talks", Script::says(["Here I am."]));
    let (seen, clean) = open(&gateway, CHAT, &chat("m", "Hi", true)).await.rest().await;
    assert!(clean);
    assert!(seen[0].starts_with(": "), "{seen:?}");
    assert_eq!(said(&seen).0, "Here I am.");
    assert_eq!(seen.last().map(String::as_str), Some("data: [DONE]"));
    ended_as(&fake, Outcome::Cancelled).await;
    let attempts = gateway.events(1)[0]["attempts"].clone();
    assert_eq!((&attempts[0]["error"], &attempts[1]["error"]), (&"timeout".into(), &Value::Null));
    until(
        || (gateway.metric("tollgate_failovers_total", "") >= 1.0).then_some(()),
        "the failover to be counted",
    );
}
