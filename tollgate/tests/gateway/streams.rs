//! Streams: what leaves, what is held, and how a stream ends when something breaks.

use serde_json::{Value, json};
use tollgate_fake_upstream::{Fake, Fault, Outcome, Script, Step};

use crate::harness::{
    Events, Gateway, HEAD, KEY, ONE_UPSTREAM, PATIENCE, chat, client, hit, in_front_of_fake,
};
use crate::leaks;

/// One upstream that speaks every surface.
const ALL_SURFACES: &str = r#"
providers: [{id: up, kind: vllm, base_urls: ["${UPSTREAM}"], responses: true, messages: true}]
models: [{name: "*", targets: [{provider: up}]}]
guardrails: {profile: strict}
"#;

/// The same, with comments as soon as the model is silent.
pub(crate) const IMPATIENT: &str = r#"
providers: [{id: up, kind: vllm, base_urls: ["${UPSTREAM}"], messages: true, timeouts: {first_byte: "${FIRST_BYTE:-20s}"}}]
models: [{name: "*", targets: [{provider: up}], first_event_comment_after: 100ms}]
"#;

pub(crate) const CHAT: &str = "/v1/chat/completions";

/// Path, body for a model, and what the last event of a whole stream holds.
pub(crate) type Surface = (&'static str, fn(&str) -> Value, &'static str);
pub(crate) const SURFACES: [Surface; 4] = [
    (CHAT, |model| chat(model, "Hi", true), "data: [DONE]"),
    ("/v1/completions", |model| json!({"model": model, "stream": true, "prompt": "Hi"}), "data: [DONE]"),
    ("/v1/responses", |model| json!({"model": model, "stream": true, "input": "Hi"}), "response.completed"),
    (
        "/v1/messages",
        |model| json!({"model": model, "stream": true, "max_tokens": 99, "messages": [{"role": "user", "content": "Hi"}]}),
        "message_stop",
    ),
];

pub(crate) async fn open(gateway: &Gateway, path: &str, body: &Value) -> Events {
    let answer = client().post(gateway.url(path)).json(body).send().await.expect("answered");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    Events::of(answer)
}

/// The data of all events that are JSON.
pub(crate) fn chunks(events: &[String]) -> Vec<Value> {
    let data = events.iter().flat_map(|event| event.lines()).filter_map(|line| line.strip_prefix("data: "));
    data.filter_map(|data| serde_json::from_str(data).ok()).collect()
}

/// Text and tool arguments of a stream of any surface, joined.
pub(crate) fn said(events: &[String]) -> (String, String) {
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

pub(crate) async fn ended_as(fake: &Fake, wanted: Outcome) {
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
        let arguments = if tools { "{\"to\": \"email-1@masked.invalid\", \"n\": 1}" } else { "" };
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

/// Over HTTP/2 a reset stream, over HTTP/1.1 a closed connection: both are the same to the client.
#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_breaks_in_mid_stream_ends_in_an_error_event() {
    for h2 in [false, true] {
        let patient =
            format!("kind: vllm, h2: {h2}, breaker: {{consecutive_failures: 1000, min_requests: 1000}}");
        let (fake, gateway) = in_front_of_fake(&ALL_SURFACES.replace("kind: vllm", &patient));
        let breaks = [
            Step::Fault(Fault::End),
            Step::Fault(Fault::Close),
            Step::Fault(Fault::Reset),
            Step::Error("CUDA error".to_owned()),
        ];
        let mut calls = 0;
        for surface in SURFACES {
            for step in &breaks {
                breaks_with(&fake, &gateway, surface, step, &format!("breaks{calls}")).await;
                calls += 1;
            }
        }
        let events = gateway.events(calls);
        assert_eq!(events.len(), calls);
        for event in events {
            assert_eq!((&event["status"], &event["code"]), (&"error".into(), &"UPSTREAM_ERROR".into()));
            assert_eq!(event["tokens"]["estimated"], true, "{event}");
            assert!(event["tokens"]["output"].as_u64().is_some_and(|tokens| tokens > 0), "{event}");
        }
    }
}

async fn breaks_with(fake: &Fake, gateway: &Gateway, (path, body, end): Surface, step: &Step, model: &str) {
    // The last word could be the start of an address: it is held, and must not be let go.
    fake.script(model, Script::says(["Hello. ", "Ask alice@co"]).then(Step::Gate).then(step.clone()));
    let mut events = open(gateway, path, &body(model)).await;
    let first = events.next().await.expect("not broken yet").expect("an event");
    fake.gate(model).open(1);
    let (mut seen, _) = events.rest().await;
    seen.insert(0, first);
    assert!(said(&seen).0.starts_with("Hello."), "{path} {step:?}: {seen:?}");
    assert!(seen.last().is_some_and(|last| last.contains("error")), "{path} {step:?}: {seen:?}");
    assert!(!seen.iter().any(|event| event.contains(end)), "{path} {step:?}: {seen:?}");
    leaks::assert_none(&events.raw, "alice@co");
}

/// Choices interleave, and logprobs repeat their texts: every lane is masked for itself, and nothing tells what was masked.
#[tokio::test(flavor = "multi_thread")]
async fn choices_and_logprobs_do_not_leak() {
    let (fake, gateway) = in_front_of_fake(ONE_UPSTREAM);
    let pieces = [
        (0, "Ask ali"),
        (1, "Or bob@"),
        (0, "ce@corp"),
        (1, "example-corp"),
        (0, ".com now."),
        (1, ".com too."),
    ];
    let steps = pieces.into_iter().flat_map(|(choice, piece)| [Step::Choice(choice), Step::text(piece)]);
    fake.script("m", Script::steps(steps));
    let mut body = chat("m", "Hi", true);
    (body["n"], body["logprobs"]) = (2.into(), true.into());
    let mut events = open(&gateway, CHAT, &body).await;
    let (seen, clean) = events.rest().await;
    assert!(clean);
    let mut texts = [String::new(), String::new()];
    for chunk in chunks(&seen) {
        for choice in chunk["choices"].as_array().into_iter().flatten() {
            let index = choice["index"].as_u64().expect("a number") as usize;
            texts[index].push_str(choice["delta"]["content"].as_str().unwrap_or_default());
        }
    }
    assert_eq!(texts[0].replace("EMAIL_2", "EMAIL_1"), "Ask [EMAIL_1] now.");
    assert_eq!(texts[1].replace("EMAIL_2", "EMAIL_1"), "Or [EMAIL_1] too.");
    assert_ne!(texts[0].contains("EMAIL_1"), texts[1].contains("EMAIL_1"), "{texts:?}");
    leaks::assert_none(&events.raw, "alice@corp.com");
    leaks::assert_none(&events.raw, "bob@example-corp.com");
}

/// Whose header has left and whose end never came: no client may take it for the whole.
#[tokio::test(flavor = "multi_thread")]
async fn half_an_error_answer_is_never_a_whole_one() {
    let (fake, gateway) = in_front_of_fake(ONE_UPSTREAM);
    fake.script("m", Script::error(400, "x".repeat(9_000)).cut(200, Fault::Close));
    for stream in [false, true] {
        let sent = client().post(gateway.url(CHAT)).json(&chat("m", "Hi", stream)).send().await;
        let answer = sent.expect("answered");
        let status = answer.status();
        let body = answer.bytes().await;
        assert!(status == 502 || body.is_err(), "{status}: {body:?}");
    }
    for event in gateway.events(2) {
        assert_eq!(event["status"], "error", "{event}");
    }
}

/// An HTTP/2 upstream that is silent after the block hears of it at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_block_resets_a_silent_http_2_upstream() {
    let yaml = r#"
providers: [{id: up, kind: vllm, base_urls: ["${UPSTREAM}"], h2: true}]
models: [{name: "*", targets: [{provider: up}]}]
guardrails: {overrides: [{kind: email, direction: answer, action: block}]}
"#;
    let (fake, gateway) = in_front_of_fake(yaml);
    fake.script("m", Script::says(["It is alice@corp.com now. "]).then(Step::Fault(Fault::Hang)));
    let (seen, clean) = open(&gateway, CHAT, &chat("m", "Who?", true)).await.rest().await;
    assert!(clean);
    assert_eq!(seen.last().map(String::as_str), Some("data: [DONE]"));
    ended_as(&fake, Outcome::Cancelled).await;
    assert_eq!(gateway.events(1)[0]["status"], "blocked");
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
    let left = std::time::Instant::now();
    drop(events);
    ended_as(&fake, Outcome::Cancelled).await;
    hit(&[
        ("clients_gone", 1),
        ("microseconds_until_the_upstream_knew_max", left.elapsed().as_micros() as u64),
    ]);
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

/// One HTTP/2 connection: a gated stream, comments and an error behind them, half an answer, and a client that resets its stream.
#[tokio::test(flavor = "multi_thread")]
async fn an_http_2_client_gets_the_same() {
    let fake = Fake::start(tollgate_fake_upstream::Options::default()).expect("the fake upstream starts");
    let head = HEAD.replace("{address: \"${LISTEN}\"}", "{address: \"${LISTEN}\", h2c: true}");
    let yaml = format!("{head}{IMPATIENT}").replace("${FIRST_BYTE:-20s}", "2s");
    let gateway = Gateway::start(&yaml, &[("UPSTREAM", &fake.url())]);
    let client =
        reqwest::Client::builder().http2_prior_knowledge().timeout(PATIENCE).build().expect("a client");
    let ask =
        |model: &str| client.post(gateway.url(CHAT)).bearer_auth(KEY).json(&chat(model, "Hi", true)).send();

    fake.script("gated", Script::gated(["One. ", "Two. "]));
    let mut events = Events::of(ask("gated").await.expect("answered"));
    for (k, word) in [(1, "One. "), (2, "Two. ")] {
        assert_eq!(events.text().await.as_deref(), Some(word));
        fake.gate("gated").open(k);
    }
    assert_eq!(events.text().await, None);

    fake.script("silent", Script::silent());
    let (seen, clean) = Events::of(ask("silent").await.expect("answered")).rest().await;
    assert!(clean && seen[0].starts_with(": "), "{seen:?}");
    assert!(seen.last().is_some_and(|last| last.contains("UPSTREAM_TIMEOUT")), "{seen:?}");

    fake.script("half", Script::error(400, "x".repeat(9_000)).cut(200, Fault::Close));
    let half = ask("half").await.expect("answered");
    assert!(half.status() == 502 || half.bytes().await.is_err());

    fake.ledger().clear();
    fake.script("left", Script::gated(["One. ", "Two. "]));
    let mut events = Events::of(ask("left").await.expect("answered"));
    assert_eq!(events.text().await.as_deref(), Some("One. "));
    drop(events);
    ended_as(&fake, Outcome::Cancelled).await;
    let events = gateway.events(4);
    assert_eq!(events[3]["status"], "cancelled");
    assert_eq!(events[1]["code"], "UPSTREAM_TIMEOUT");
}
