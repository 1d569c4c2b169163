//! What a guard cannot read does not leave: the configured answer comes instead, and never an unmasked byte.

use serde_json::json;
use tollgate_fake_upstream::{Fake, Script, Step};

use crate::harness::{Events, Gateway, chat, client, in_front_of_fake};
use crate::leaks;
use crate::streams::{CHAT, said};

const PLANTED: &str = "alice@corp.com";

fn yaml(failed: &str) -> String {
    format!(
        "bounds: {{max_event: 16KiB}}
providers: [{{id: up, kind: vllm, base_urls: [\"${{UPSTREAM}}\"], breaker: {{consecutive_failures: 1000, min_requests: 1000}}, messages: true}}]
models: [{{name: \"*\", targets: [{{provider: up}}]}}]
guardrails: {{profile: strict{failed}}}
"
    )
}

/// Everything that a guarded stream can bring and a guard cannot read, with a value in it.
fn unreadable() -> Vec<(&'static str, Vec<Step>)> {
    let call = |n: u32| Step::tool(n, &format!("call_{n}"), "send", "{\"to\": \"alice@co");
    let large = json!({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": format!("{}{PLANTED}", "x ".repeat(9_000))}}]});
    vec![
        ("too many lanes", (0..300).map(call).collect()),
        ("an event too large", vec![Step::Event(large.to_string())]),
        ("an event that is no JSON", vec![Step::Event(format!("{{\"choices\": [ {PLANTED}"))]),
        (
            "bytes that are no text",
            vec![Step::Bytes([b"data: {\"x\": \"", PLANTED.as_bytes(), b"\xff\"}\n\n"].concat())],
        ),
        (
            "an event of unknown form",
            vec![Step::Event(json!({"object": "mystery", "words": PLANTED}).to_string())],
        ),
    ]
}

async fn ask(gateway: &Gateway, model: &str) -> reqwest::Response {
    client().post(gateway.url(CHAT)).json(&chat(model, "Hi", true)).send().await.expect("answered")
}

/// After the first word: the stream ends in an error event.
async fn after_content(
    fake: &Fake,
    gateway: &Gateway,
    model: &str,
    steps: &[Step],
) -> (Vec<String>, Vec<u8>) {
    let script = steps.iter().cloned().fold(Script::says(["Hello. "]).then(Step::Gate), Script::then);
    fake.script(model, script.then(Step::text(format!("More of {PLANTED}. "))));
    let mut events = Events::of(ask(gateway, model).await);
    assert_eq!(events.text().await.as_deref(), Some("Hello. "));
    fake.gate(model).open_all();
    let (seen, _) = events.rest().await;
    (seen, events.raw)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_does_not_leave() {
    let (fake, gateway) = in_front_of_fake(&yaml(""));
    let cases = unreadable();
    for (n, (name, steps)) in cases.iter().enumerate() {
        let (seen, raw) = after_content(&fake, &gateway, &format!("late{n}"), steps).await;
        let last = seen.last().expect("an end");
        assert!(last.contains("GUARDRAIL_FAILED"), "{name}: {seen:?}");
        assert!(!seen.iter().any(|event| event.contains("[DONE]")), "{name}: {seen:?}");
        assert!(!said(&seen).0.contains("More of"), "{name}: {seen:?}");
        leaks::assert_none(&raw, PLANTED);

        // Nothing has left yet, where it is not the lanes themselves that have begun: a whole error.
        let model = format!("early{n}");
        fake.script(&model, steps.iter().cloned().fold(Script::steps([Step::Header]), Script::then));
        let answer = ask(&gateway, &model).await;
        assert_eq!(answer.status().as_u16(), if *name == "too many lanes" { 200 } else { 502 }, "{name}");
        let body = answer.bytes().await.expect("whole");
        assert!(String::from_utf8_lossy(&body).contains("GUARDRAIL_FAILED"), "{name}");
        leaks::assert_none(&body, PLANTED);
    }
    for event in gateway.events(2 * cases.len()) {
        assert_eq!(
            (&event["status"], &event["code"]),
            (&"error".into(), &"GUARDRAIL_FAILED".into()),
            "{event}"
        );
        assert!(!event.to_string().contains(PLANTED), "{event}");
    }
}

/// A guard of one surface knows all its events: another one ends the answer there too.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_event_ends_a_stream_of_messages() {
    let (fake, gateway) = in_front_of_fake(&yaml(""));
    let event = json!({"type": "brand_new", "words": PLANTED}).to_string();
    fake.script("m", Script::says(["Hello. "]).then(Step::Event(event)).then(Step::text("More. ")));
    let body = json!({"model": "m", "stream": true, "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]});
    let answer = client().post(gateway.url("/v1/messages")).json(&body).send().await.expect("answered");
    let raw = answer.bytes().await.expect("whole");
    assert!(
        String::from_utf8_lossy(&raw).contains("could not be checked"),
        "{}",
        String::from_utf8_lossy(&raw)
    );
    leaks::assert_none(&raw, PLANTED);
    assert_eq!(gateway.events(1)[0]["code"], "GUARDRAIL_FAILED");
}

/// Plain answers alike: not JSON a guard knows, or too large to be read whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_plain_answer_that_cannot_be_read_does_not_leave() {
    let (fake, gateway) = in_front_of_fake(&yaml("").replace("max_event", "max_answer: 64KiB, max_event"));
    let large = json!({"id": "x", "object": "chat.completion", "choices": [{"index": 0, "finish_reason": "stop",
        "message": {"role": "assistant", "content": format!("{PLANTED} {}", "x".repeat(70_000))}}]});
    for (n, script) in
        [Script::json(200, large), Script::json(200, json!({"mystery": PLANTED}))].into_iter().enumerate()
    {
        let model = format!("m{n}");
        fake.script(&model, script);
        let answer = client().post(gateway.url(CHAT)).json(&chat(&model, "Hi", false)).send().await;
        let answer = answer.expect("answered");
        assert_eq!(answer.status(), 502);
        let body = answer.bytes().await.expect("whole");
        assert!(String::from_utf8_lossy(&body).contains("GUARDRAIL_FAILED"));
        leaks::assert_none(&body, PLANTED);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_of_a_failed_guard_can_be_configured() {
    let (fake, gateway) =
        in_front_of_fake(&yaml(", failed: {code: OVERLOADED, message: Ask the security desk.}"));
    let (_, steps) = unreadable().swap_remove(4);
    let (seen, _) = after_content(&fake, &gateway, "late", &steps).await;
    let last = seen.last().expect("an end");
    assert!(last.contains("OVERLOADED") && last.contains("Ask the security desk."), "{seen:?}");
    fake.script("early", steps.iter().cloned().fold(Script::steps([Step::Header]), Script::then));
    assert_eq!(ask(&gateway, "early").await.status(), 503);
}

/// What was read, held and thrown away are metrics; what was found is one by rule.
#[tokio::test(flavor = "multi_thread")]
async fn what_guards_do_can_be_measured() {
    let (fake, gateway) = in_front_of_fake(&yaml(""));
    fake.script("m", Script::says(["Ask alice@co"]).then(Step::Gate).then(Step::text("rp.com now. ")));
    let mut events = Events::of(ask(&gateway, "m").await);
    assert_eq!(events.text().await.as_deref(), Some("Ask "));
    fake.gate("m").open_all();
    events.rest().await;
    fake.script("b", Script::says(["Ask alice@co"]).then(Step::Fault(tollgate_fake_upstream::Fault::Close)));
    Events::of(ask(&gateway, "b").await).rest().await;
    gateway.events(2);
    let metric = |name: &str, labels: &str| gateway.metric(name, labels);
    let labels = "action=\"mask\",direction=\"answer\",kind=\"email\",rule=\"email\"";
    assert_eq!(metric("tollgate_findings_total", labels), 1.0);
    assert_eq!(metric("tollgate_scanned_bytes_total", "direction=\"request\""), 4.0);
    assert_eq!(metric("tollgate_scanned_bytes_total", "direction=\"answer\""), 36.0);
    assert_eq!(metric("tollgate_held_bytes_count", ""), 2.0);
    assert_eq!(metric("tollgate_held_bytes_sum", ""), 16.0);
    assert!(metric("tollgate_held_seconds_sum", "") > 0.0);
    assert_eq!(metric("tollgate_held_discarded_bytes_total", ""), 8.0);
}
