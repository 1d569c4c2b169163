//! Streams: what leaves, what is held, and how a stream ends when something breaks.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tollgate_fake_upstream::{Fake, Fault, Outcome, Script, Step};

use crate::harness::{Events, Gateway, KEY, ONE_UPSTREAM, PATIENCE, chat, client, in_front_of_fake, until};
use crate::leaks;

/// One upstream that speaks every surface.
const ALL_SURFACES: &str = r#"
providers: [{id: up, kind: vllm, base_urls: ["${UPSTREAM}"], responses: true, messages: true}]
models: [{name: "*", targets: [{provider: up}]}]
guardrails: {profile: strict}
"#;

/// The same, with comments as soon as the model is silent.
const IMPATIENT: &str = r#"
providers: [{id: up, kind: vllm, base_urls: ["${UPSTREAM}"], messages: true, timeouts: {first_byte: "${FIRST_BYTE:-20s}"}}]
models: [{name: "*", targets: [{provider: up}], first_event_comment_after: 100ms}]
"#;

const CHAT: &str = "/v1/chat/completions";

/// Path, body for a model, and what the last event of a whole stream holds.
type Surface = (&'static str, fn(&str) -> Value, &'static str);
const SURFACES: [Surface; 4] = [
    (CHAT, |model| chat(model, "Hi", true), "data: [DONE]"),
    ("/v1/completions", |model| json!({"model": model, "stream": true, "prompt": "Hi"}), "data: [DONE]"),
    ("/v1/responses", |model| json!({"model": model, "stream": true, "input": "Hi"}), "response.completed"),
    (
        "/v1/messages",
        |model| json!({"model": model, "stream": true, "max_tokens": 99, "messages": [{"role": "user", "content": "Hi"}]}),
        "message_stop",
    ),
];

async fn open(gateway: &Gateway, path: &str, body: &Value) -> Events {
    let answer = client().post(gateway.url(path)).json(body).send().await.expect("answered");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    Events::of(answer)
}

/// The data of all events that are JSON.
fn chunks(events: &[String]) -> Vec<Value> {
    let data = events.iter().flat_map(|event| event.lines()).filter_map(|line| line.strip_prefix("data: "));
    data.filter_map(|data| serde_json::from_str(data).ok()).collect()
}

/// Text and tool arguments of a stream of any surface, joined.
fn said(events: &[String]) -> (String, String) {
    let (mut text, mut arguments) = (String::new(), String::new());
    for chunk in chunks(events) {
        let choice = &chunk["choices"][0];
        let kind = chunk["type"].as_str().unwrap_or_default();
        let delta = &chunk["delta"];
        let texts = [&choice["delta"]["content"], &choice["text"], &delta["text"]];
        texts.iter().filter_map(|piece| piece.as_str()).for_each(|piece| text.push_str(piece));
        let calls = [&choice["delta"]["tool_calls"][0]["function"]["arguments"], &delta["partial_json"]];
        calls.iter().filter_map(|piece| piece.as_str()).for_each(|piece| arguments.push_str(piece));
        match kind {
            "response.output_text.delta" => text.push_str(delta.as_str().expect("text")),
            "response.function_call_arguments.delta" => arguments.push_str(delta.as_str().expect("text")),
            _ => {}
        }
    }
    (text, arguments)
}

async fn ended_as(fake: &Fake, wanted: Outcome) {
    let ended = fake
        .ledger()
        .until(PATIENCE, |all| all.iter().any(|entry| entry.path != "/health" && entry.outcome == wanted))
        .await;
    ended.unwrap_or_else(|entries| panic!("no request ended as {wanted:?}: {entries:?}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_surface_streams_word_by_word_to_its_own_end() {
    let (fake, gateway) = in_front_of_fake(ALL_SURFACES);
    for (n, (path, body, end)) in SURFACES.into_iter().enumerate() {
        let model = format!("gated{n}");
        fake.script(&model, Script::gated(["One. ", "Two. ", "Three. "]));
        let mut events = open(&gateway, path, &body(&model)).await;
        let (mut seen, mut opened) = (Vec::new(), 0);
        while let Some(event) = events.next().await.expect("whole") {
            seen.push(event);
            // All of word k is here before anything may follow it.
            let words = said(&seen).0.matches(". ").count() as u64;
            if words > opened {
                opened = words;
                fake.gate(&model).open(opened);
            }
        }
        assert_eq!(said(&seen).0, "One. Two. Three. ", "{path}");
        assert!(seen.last().is_some_and(|last| last.contains(end)), "{path}: {seen:?}");
    }
    for event in gateway.events(SURFACES.len()) {
        assert_eq!((&event["status"], &event["tokens"]["output"]), (&"success".into(), &3.into()), "{event}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_cut_over_deltas_is_masked_on_every_surface() {
    let (fake, gateway) = in_front_of_fake(ALL_SURFACES);
    let tool = |script: Script| {
        script
            .then(Step::tool(0, "call_1", "send", "{\"to\": \"ali"))
            .then(Step::arguments(0, "ce@corp"))
            .then(Step::arguments(0, ".com\", \"n\": 1}"))
    };
    for (n, (path, body, _)) in SURFACES.into_iter().enumerate() {
        let model = format!("leaky{n}");
        let text = Script::says(["Ask al", "ice@", "corp.c", "om now."]);
        let tools = path != "/v1/completions";
        fake.script(&model, if tools { tool(text) } else { text }.recut(7));
        let mut events = open(&gateway, path, &body(&model)).await;
        let (seen, clean) = events.rest().await;
        assert!(clean, "{path}");
        let arguments = if tools { "{\"to\": \"[EMAIL_1]\", \"n\": 1}" } else { "" };
        assert_eq!(said(&seen), ("Ask [EMAIL_1] now.".to_owned(), arguments.to_owned()), "{path}");
        leaks::assert_none(&events.raw, "alice@corp.com");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_sent_once_where_asked_and_always_counted() {
    let (fake, gateway) = in_front_of_fake(ONE_UPSTREAM);
    fake.script("m", Script::says(["a", "b"]).tokens(11, 5));
    for asked in [true, false] {
        let mut body = chat("m", "Hi", true);
        if asked {
            body["stream_options"] = json!({"include_usage": true});
        }
        let (seen, _) = open(&gateway, CHAT, &body).await.rest().await;
        let all = chunks(&seen);
        let counted: Vec<_> = all.iter().filter(|chunk| chunk["usage"].is_object()).collect();
        assert_eq!(counted.len(), usize::from(asked), "{seen:?}");
        assert_eq!(all.iter().any(|chunk| chunk["choices"] == json!([])), asked, "{seen:?}");
    }
    for event in gateway.events(2) {
        assert_eq!((&event["tokens"]["input"], &event["tokens"]["output"]), (&11.into(), &5.into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_ends_the_stream_by_policy_and_the_upstream_with_it() {
    let block = "guardrails: {profile: strict, overrides: [{kind: email, direction: answer, action: block}]}";
    let (fake, gateway) = in_front_of_fake(&ONE_UPSTREAM.replace("guardrails: {profile: strict}", block));
    fake.script("m", Script::gated(["Sure. ", "It is alice@corp.com now. ", "More. ", "And more. "]));
    let mut events = open(&gateway, CHAT, &chat("m", "Who?", true)).await;
    fake.gate("m").open(1);
    let (seen, clean) = events.rest().await; // ends while the upstream stands at its second gate
    assert!(clean);
    assert_eq!(seen.last().map(String::as_str), Some("data: [DONE]"));
    let finish: Vec<_> = chunks(&seen).iter().map(|c| c["choices"][0]["finish_reason"].clone()).collect();
    assert_eq!(
        finish.iter().filter(|reason| !reason.is_null()).collect::<Vec<_>>(),
        [&json!("content_filter")]
    );
    assert!(said(&seen).0.starts_with("Sure. "));
    leaks::assert_none(&events.raw, "alice@corp.com");
    fake.gate("m").open(2); // an HTTP/1.1 upstream is let go at its next bytes
    ended_as(&fake, Outcome::Cancelled).await;
    let event = &gateway.events(1)[0];
    assert_eq!(event["status"], "blocked");
    assert_eq!(event["findings"][0]["action"], "block");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_breaks_in_mid_stream_ends_in_an_error_event() {
    let patient = "kind: vllm, breaker: {consecutive_failures: 1000, min_requests: 1000}";
    let (fake, gateway) = in_front_of_fake(&ALL_SURFACES.replace("kind: vllm", patient));
    let breaks = [
        Step::Fault(Fault::End),
        Step::Fault(Fault::Close),
        Step::Fault(Fault::Reset),
        Step::Error("CUDA error".to_owned()),
    ];
    let mut calls = 0;
    for (path, body, end) in SURFACES {
        for step in &breaks {
            let model = format!("breaks{calls}");
            // The last word could be the start of an address: it is held, and must not be let go.
            fake.script(
                &model,
                Script::says(["Hello. ", "Ask alice@co"]).then(Step::Gate).then(step.clone()),
            );
            let mut events = open(&gateway, path, &body(&model)).await;
            let first = events.next().await.expect("not broken yet").expect("an event");
            fake.gate(&model).open(1);
            let (mut seen, _) = events.rest().await;
            seen.insert(0, first);
            assert!(said(&seen).0.starts_with("Hello."), "{path} {step:?}: {seen:?}");
            let last = seen.last().expect("an event");
            assert!(last.contains("error") && !last.contains(end), "{path} {step:?}: {seen:?}");
            assert!(!seen.iter().any(|event| event.contains(end)), "{path} {step:?}: {seen:?}");
            leaks::assert_none(&events.raw, "alice@co");
            calls += 1;
        }
    }
    let events = gateway.events(calls);
    assert_eq!(events.len(), calls);
    for event in events {
        assert_eq!(
            (&event["status"], &event["code"]),
            (&"error".into(), &"UPSTREAM_ERROR".into()),
            "{event}"
        );
        assert_eq!(event["tokens"]["estimated"], true, "{event}");
        assert!(event["tokens"]["output"].as_u64().is_some_and(|tokens| tokens > 0), "{event}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_answer_cut_in_its_body_is_a_502() {
    let (fake, gateway) = in_front_of_fake(ONE_UPSTREAM);
    for (n, fault) in [Fault::Close, Fault::Reset].into_iter().enumerate() {
        let model = format!("cut{n}");
        fake.script(&model, Script::raw(200, "application/json", "x".repeat(5_000)).cut(100, fault));
        let answer = client().post(gateway.url(CHAT)).json(&chat(&model, "Hi", false)).send().await;
        let answer = answer.expect("answered");
        assert_eq!(answer.status(), 502);
        let body: Value = answer.json().await.expect("JSON");
        assert_eq!(body["error"]["code"], "UPSTREAM_ERROR");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_ends_its_upstream_request_and_gives_back_its_limits() {
    let limits = "limits: [{id: one, scope: organization, concurrency: 1}]\n";
    let (fake, gateway) = in_front_of_fake(&format!("{ONE_UPSTREAM}{limits}"));
    fake.script("m", Script::gated(["One. ", "Two. "]));
    let mut events = open(&gateway, CHAT, &chat("m", "Hi", true)).await;
    assert_eq!(events.text().await.as_deref(), Some("One. "));
    let refused = client().post(gateway.url(CHAT)).json(&chat("m", "Hi", true)).send().await;
    assert_eq!(refused.expect("answered").status(), 429);
    drop(events);
    ended_as(&fake, Outcome::Cancelled).await;
    let events = gateway.events(2);
    let event = events.iter().find(|event| event["status"] == "cancelled").expect("recorded");
    assert_eq!(event["tokens"]["estimated"], true);
    fake.gate("m").open_all();
    let (seen, _) = open(&gateway, CHAT, &chat("m", "Hi", true)).await.rest().await;
    assert_eq!(said(&seen).0, "One. Two. ");
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_reads_to_the_end_for_a_client_that_left() {
    let drain = ONE_UPSTREAM.replace("kind: vllm", "kind: vllm, on_client_gone: drain");
    let (fake, gateway) = in_front_of_fake(&drain);
    let words: Vec<String> = (0..20).map(|n| format!("word {n}. ")).collect();
    fake.script("m", Script::gated(words).tokens(30, 20));
    let mut events = open(&gateway, CHAT, &chat("m", "Hi", true)).await;
    assert!(events.text().await.is_some());
    drop(events);
    for k in 0..20 {
        assert!(fake.gate("m").reached(k, PATIENCE).await);
        fake.gate("m").open(k + 1);
    }
    ended_as(&fake, Outcome::Served).await;
    let event = &gateway.events(1)[0];
    assert_eq!(event["status"], "cancelled");
    assert_eq!((&event["tokens"]["input"], &event["tokens"]["output"]), (&30.into(), &20.into()));
    assert!(event["tokens"]["estimated"].is_null() || event["tokens"]["estimated"] == false, "{event}");
}

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
    let (fake, gateway) = in_front_of_fake(&IMPATIENT.replace("${FIRST_BYTE:-20s}", "500ms"));
    fake.script("silent", Script::silent());
    // Its own error, late: a client acts on its words.
    let late = json!({"error": {"message": "too long", "type": "invalid_request_error", "param": null, "code": "context_length_exceeded"}});
    let wait = Step::WaitMs(250);
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
        assert_eq!(event["status"], "error", "{event}");
    }
}

/// Between two comments the gateway still changes targets.
#[tokio::test(flavor = "multi_thread")]
async fn failover_stays_open_behind_comments() {
    let yaml = r#"
providers:
  - {id: first, kind: vllm, base_urls: ["${UPSTREAM}"], timeouts: {first_byte: 500ms}}
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
