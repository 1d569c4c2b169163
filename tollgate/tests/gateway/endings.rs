//! Answers at their end: whole, empty, or broken where little is missing.

use serde_json::{Value, json};
use tollgate_fake_upstream::{Fake, Fault, Options, Script, Step};

use crate::harness::{Events, Gateway, HEAD, ONE_UPSTREAM, PATIENCE, chat, client, in_front_of_fake};

const TWO_UPSTREAMS: &str = r#"
providers:
  - {id: one, kind: vllm, base_urls: ["${UPSTREAM}"], timeouts: {first_byte: 1s}}
  - {id: two, kind: vllm, base_urls: ["${SECOND}"]}
models: [{name: "*", targets: [{provider: one}], fallback: [{provider: two}]}]
guardrails: {profile: strict}
"#;

fn two() -> (Fake, Fake, Gateway) {
    let start = || Fake::start(Options::default()).expect("the fake upstream starts");
    let (one, two) = (start(), start());
    let environment = [("UPSTREAM", one.url()), ("SECOND", two.url())];
    let environment: Vec<_> = environment.iter().map(|(name, url)| (*name, url.as_str())).collect();
    let gateway = Gateway::start(&format!("{HEAD}{TWO_UPSTREAMS}"), &environment);
    (one, two, gateway)
}

/// Embeddings leave in pieces: none of them may declare itself the whole.
#[tokio::test(flavor = "multi_thread")]
async fn large_embeddings_arrive_whole() {
    let (fake, gateway) = in_front_of_fake(ONE_UPSTREAM);
    let vector: Vec<u32> = (0..40_000).collect();
    let answer = json!({"object": "list", "model": "m", "usage": {"prompt_tokens": 2, "total_tokens": 2},
        "data": [{"object": "embedding", "index": 0, "embedding": vector}]});
    fake.script("m", Script::json(200, answer.clone()));
    let ask = json!({"model": "m", "input": "text"});
    for _ in 0..5 {
        let got = client().post(gateway.url("/v1/embeddings")).json(&ask).send().await.expect("answered");
        assert_eq!(got.status(), 200);
        assert!(got.json::<Value>().await.expect("whole JSON") == answer, "another answer"); // not printed: it is large
    }
}

/// A success without a body is no answer: another target gives one.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_success_leads_to_the_next_target() {
    let (one, two, gateway) = two();
    for (stream, kind) in [(true, "text/event-stream"), (false, "application/json")] {
        one.script("m", Script::raw(200, kind, ""));
        two.script("m", Script::says(["second"]));
        let ask = chat("m", "Hi", stream);
        let got =
            client().post(gateway.url("/v1/chat/completions")).json(&ask).send().await.expect("answered");
        let text = got.text().await.expect("a body");
        assert!(text.contains("second"), "{kind}: {text}");
    }
}

/// A host that accepts a plain call and says nothing loses it after `first_byte`.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_host_loses_a_plain_call() {
    let (one, two, gateway) = two();
    one.script("m", Script::silent());
    two.script("m", Script::says(["second"]));
    let ask = chat("m", "Hi", false);
    let got = client().post(gateway.url("/v1/chat/completions")).json(&ask).send().await.expect("answered");
    assert!(got.text().await.expect("a body").contains("second"));
    assert_eq!(one.ledger().for_model("m").len(), 1, "it was asked first");
}

/// What an upstream does after `[DONE]` is its own affair: the client has everything, and nothing follows.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_follows_done() {
    let (fake, gateway) = in_front_of_fake(ONE_UPSTREAM);
    for (model, fault) in [("close", Fault::Close), ("reset", Fault::Reset)] {
        let steps = [Step::text("All."), Step::Finish("stop".into()), Step::Done, Step::Fault(fault)];
        fake.script(model, Script::steps(steps));
        let ask = chat(model, "Hi", true);
        let got =
            client().post(gateway.url("/v1/chat/completions")).json(&ask).send().await.expect("answered");
        let mut events = Events::of(got);
        let _ = events.rest().await;
        assert!(events.raw.ends_with(b"data: [DONE]\n\n"), "{}", String::from_utf8_lossy(&events.raw));
    }
    for event in gateway.events(2) {
        assert_eq!(event["status"], "success", "{event}");
    }
}

/// Hanging up right before a plain answer does not make its tokens free.
#[tokio::test(flavor = "multi_thread")]
async fn leaving_before_a_plain_answer_is_not_free() {
    let (fake, gateway) = in_front_of_fake(ONE_UPSTREAM);
    fake.script("m", Script::silent());
    let call = client().post(gateway.url("/v1/chat/completions")).json(&chat("m", "Hi", false));
    let impatient = tokio::spawn(call.send());
    let asked = fake.ledger().until(PATIENCE, |all| all.iter().any(|entry| entry.model == "m")).await;
    asked.expect("the upstream works on it");
    impatient.abort(); // it gives up
    let event = &gateway.events(1)[0];
    assert_eq!(event["status"], "cancelled");
    assert!(event["tokens"]["input"].as_u64() > Some(0), "{event}");
    assert_eq!(event["tokens"]["estimated"], true);
}
