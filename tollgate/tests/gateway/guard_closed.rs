//! What a guard cannot read does not leave: the configured answer comes instead, and never an unmasked byte.

use serde_json::{Value, json};
use tollgate_fake_upstream::{Fake, Options, Script, Step};

use crate::harness::{Events, Gateway, HEAD, chat, client, in_front_of_fake};
use crate::leaks;
use crate::streams::{CHAT, SURFACES, Surface, said};

const PLANTED: &str = "alice@corp.com";

fn yaml(failed: &str) -> String {
    format!(
        "bounds: {{max_event: 16KiB}}
providers: [{{id: up, kind: vllm, base_urls: [\"${{UPSTREAM}}\"], breaker: {{consecutive_failures: 1000, min_requests: 1000}}, messages: true, responses: true}}]
models: [{{name: \"*\", targets: [{{provider: up}}]}}]
guardrails: {{profile: strict{failed}}}
"
    )
}

/// What a stream brings.
type Case = (&'static str, Vec<Step>);

/// One delta of a surface's text `index`.
fn delta(path: &str, index: usize, text: &str) -> Step {
    let event = match path {
        CHAT => {
            json!({"object": "chat.completion.chunk", "choices": [{"index": index, "delta": {"content": text}}]})
        }
        "/v1/completions" => {
            json!({"object": "text_completion", "choices": [{"index": index, "text": text}]})
        }
        "/v1/responses" => {
            json!({"type": "response.output_text.delta", "item_id": "i", "output_index": index,
            "content_index": 0, "delta": text})
        }
        _ => {
            json!({"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}})
        }
    };
    Step::Event(event.to_string())
}

/// Everything that a guarded stream can bring and a guard cannot read, with a value in it.
fn unreadable(path: &str) -> Vec<Case> {
    let unknown = match path {
        CHAT | "/v1/completions" => json!({"object": "mystery", "words": PLANTED}),
        _ => json!({"type": "response.brand_new", "words": PLANTED}),
    };
    // More bytes than any rule may hold, in a value that goes on: what prints nothing between two letters.
    let stretched = format!("alice@{}corp.com", "\u{200b}".repeat(500));
    vec![
        ("too many lanes", (0..300).map(|n| delta(path, n, "to alice@co")).collect()),
        ("more held than may be", vec![delta(path, 0, "It is "), delta(path, 0, &stretched)]),
        ("an event too large", vec![delta(path, 0, &format!("{}{PLANTED}", "x ".repeat(9_000)))]),
        ("an event that is no JSON", vec![Step::Event(format!("{{\"choices\": [ {PLANTED}"))]),
        (
            "bytes that are no text",
            vec![Step::Bytes([b"data: {\"x\": \"", PLANTED.as_bytes(), b"\xff\"}\n\n"].concat())],
        ),
        ("an event of unknown form", vec![Step::Event(unknown.to_string())]),
    ]
}

async fn ask(gateway: &Gateway, (path, body, _): Surface, model: &str) -> reqwest::Response {
    client().post(gateway.url(path)).json(&body(model)).send().await.expect("answered")
}

/// After the first word: the stream ends in an error event.
async fn after_content(
    fake: &Fake,
    gateway: &Gateway,
    surface: Surface,
    model: &str,
    steps: &[Step],
) -> (Vec<String>, Vec<u8>) {
    let script = steps.iter().cloned().fold(Script::says(["Hello. "]).then(Step::Gate), Script::then);
    fake.script(model, script.then(Step::text(format!("More of {PLANTED}. "))));
    let mut events = Events::of(ask(gateway, surface, model).await);
    let mut seen = Vec::new();
    while said(&seen).0 != "Hello. " {
        seen.push(events.next().await.expect("not broken").expect("goes on"));
    }
    fake.gate(model).open_all();
    seen.extend(events.rest().await.0);
    (seen, events.raw)
}

/// What a guard that failed is told as: Anthropic's errors have types of their own.
fn told(path: &str) -> &'static str {
    if path == "/v1/messages" { "could not be checked" } else { "GUARDRAIL_FAILED" }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_does_not_leave() {
    let (fake, gateway) = in_front_of_fake(&yaml(""));
    let mut asked = 0;
    for surface in SURFACES {
        let (path, _, whole_end) = surface;
        for (name, steps) in unreadable(path) {
            let place = format!("{name} on {path}");
            asked += 2;
            let (seen, raw) = after_content(&fake, &gateway, surface, &format!("late{asked}"), &steps).await;
            assert!(seen.last().is_some_and(|last| last.contains(told(path))), "{place}: {seen:?}");
            assert!(!seen.iter().any(|event| event.contains(whole_end)), "{place}: {seen:?}");
            assert!(!said(&seen).0.contains("More of"), "{place}: {seen:?}");
            leaks::assert_none(&raw, PLANTED);

            // Nothing has left yet, where no text came before: a whole error.
            let model = format!("early{asked}");
            fake.script(&model, steps.iter().cloned().fold(Script::steps([Step::Header]), Script::then));
            let answer = ask(&gateway, surface, &model).await;
            let begun = matches!(name, "too many lanes" | "more held than may be");
            assert_eq!(answer.status().as_u16(), if begun { 200 } else { 502 }, "{place}");
            let body = answer.bytes().await.expect("whole");
            assert!(String::from_utf8_lossy(&body).contains(told(path)), "{place}: {body:?}");
            leaks::assert_none(&body, PLANTED);
        }
    }
    for event in gateway.events(asked) {
        assert_eq!(
            (&event["status"], &event["code"]),
            (&"error".into(), &"GUARDRAIL_FAILED".into()),
            "{event}"
        );
        assert!(!event.to_string().contains(PLANTED), "{event}");
    }
}

/// Before anything has left, what cannot be read is a target's failure like any other: the next one may do better, and what it
/// says is guarded alike. Nothing of the first is seen.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_begins_unreadable_is_asked_of_the_next_target() {
    let yaml = yaml("").replace(
        "models: [{name: \"*\", targets: [{provider: up}]}]",
        "models: [{name: m, targets: [{provider: up, model: first}], fallback: [{provider: up, model: second}]}]",
    );
    let (fake, gateway) = in_front_of_fake(&yaml);
    for surface in SURFACES {
        for (name, steps) in &unreadable(surface.0)[2..5] {
            let place = format!("{name} on {}", surface.0);
            fake.script("first", steps.iter().cloned().fold(Script::steps([Step::Header]), Script::then));
            fake.script("second", Script::says(["Write to ", "bob@corp-", "secret.com."]));
            let mut events = Events::of(ask(&gateway, surface, "m").await);
            let (seen, _) = events.rest().await;
            assert_eq!(said(&seen).0, "Write to [EMAIL_1].", "{place}: {seen:?}");
            assert!(seen.last().is_some_and(|last| last.contains(surface.2)), "{place}: {seen:?}");
            for value in [PLANTED, "bob@corp-secret.com"] {
                leaks::assert_none(&events.raw, value);
            }
        }
    }
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

/// A bug in the scan is a guard that failed: of that request, whose reservation is given back.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_a_guard_that_failed() {
    for place in ["screen", "pipeline", "pipeline in mid-answer"] {
        let fake = Fake::start(Options::default()).expect("the fake upstream starts");
        let limits = "limits: [{id: one, scope: key, concurrency: 1}]\n";
        let fail = format!("{place}@doomed");
        let environment = [("UPSTREAM", fake.url()), ("TOLLGATE_FAIL_POINT", fail)];
        let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let gateway = Gateway::start(&format!("{HEAD}{}{limits}", yaml("")), &environment);
        let call = |body: Value| {
            let call = client().post(gateway.url(CHAT)).header("x-request-id", "doomed");
            let sent = call.json(&body).send();
            async move { sent.await.expect("answered") }
        };
        fake.script(
            "s",
            Script::says(["Hello. "]).then(Step::Gate).then(Step::text(format!("More of {PLANTED}. "))),
        );
        fake.script("p", Script::says(["Write to ", PLANTED, "."]));
        let events = if place == "pipeline in mid-answer" {
            let mut events = Events::of(call(chat("s", "Hi", true)).await);
            let mut seen = Vec::new();
            while said(&seen).0 != "Hello. " {
                seen.push(events.next().await.expect("not broken").expect("goes on"));
            }
            fake.gate("s").open_all();
            let (rest, _) = events.rest().await;
            assert!(rest.last().is_some_and(|last| last.contains("GUARDRAIL_FAILED")), "{place}: {rest:?}");
            leaks::assert_none(&events.raw, PLANTED);
            1
        } else {
            let small = chat("p", "Hi", false);
            let mut large = small.clone();
            large["padding"] = "x".repeat(200_000).into(); // screened on a thread of its own
            for body in [small, large, chat("s", "Hi", true)] {
                let answer = call(body).await;
                assert_eq!(answer.status(), 502, "{place}");
                let body = answer.bytes().await.expect("whole");
                assert!(String::from_utf8_lossy(&body).contains("GUARDRAIL_FAILED"), "{place}");
                leaks::assert_none(&body, PLANTED);
            }
            3
        };
        if place == "screen" {
            let sent = ["p", "s"].map(|model| fake.ledger().for_model(model).len());
            assert_eq!(sent, [0, 0], "nothing was sent on");
        }
        for event in gateway.events(events) {
            assert_eq!((&event["status"], &event["code"]), (&"error".into(), &"GUARDRAIL_FAILED".into()));
            assert!(!event.to_string().contains(PLANTED), "{event}");
        }
        let others = client().post(gateway.url(CHAT)).json(&chat("p", "Hi", false)).send().await;
        assert_eq!(others.expect("answered").status(), 200, "{place}: others go on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_of_a_failed_guard_can_be_configured() {
    let (fake, gateway) =
        in_front_of_fake(&yaml(", failed: {code: OVERLOADED, message: Ask the security desk.}"));
    for (n, surface) in SURFACES.into_iter().enumerate() {
        let (_, steps) = unreadable(surface.0).swap_remove(5);
        let (seen, raw) = after_content(&fake, &gateway, surface, &format!("late{n}"), &steps).await;
        let last = seen.last().expect("an end");
        assert!(last.contains("Ask the security desk."), "{seen:?}");
        assert!(last.contains("OVERLOADED") || last.contains("overloaded_error"), "{seen:?}");
        leaks::assert_none(&raw, PLANTED);
        let model = format!("early{n}");
        fake.script(&model, steps.iter().cloned().fold(Script::steps([Step::Header]), Script::then));
        let answer = ask(&gateway, surface, &model).await;
        assert_eq!(answer.status(), 503, "{}", surface.0);
        leaks::assert_none(&answer.bytes().await.expect("whole"), PLANTED);
    }
}
