//! The spine: a plain call and gated streams, from listener to audit row.

use crate::harness::{Events, ONE_UPSTREAM, chat, client, in_front_of_fake};
use tollgate_fake_upstream::Script;

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_call_is_answered_counted_and_recorded() {
    let (fake, gateway) = in_front_of_fake(ONE_UPSTREAM);
    fake.script("m", Script::says(["Hello", " there"]).tokens(7, 2));
    let answer =
        client().post(gateway.url("/v1/chat/completions")).json(&chat("m", "Hi", false)).send().await;
    let answer = answer.expect("answered");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["x-tollgate-provider"], "up");
    let id = answer.headers()["x-request-id"].to_str().expect("text").to_owned();
    let body: serde_json::Value = answer.json().await.expect("JSON");
    assert_eq!(body["choices"][0]["message"]["content"], "Hello there");

    let events = gateway.events(1);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["request_id"], id.as_str());
    assert_eq!(events[0]["status"], "success");
    assert_eq!(events[0]["tokens"]["input"], 7);
    assert_eq!(events[0]["tokens"]["output"], 2);
    assert_eq!(fake.ledger().for_model("m").len(), 1);
}

/// The upstream sends delta k+1 only after the client has read delta k: a gateway that buffers never gets past the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_leaves_delta_by_delta() {
    let (fake, gateway) = in_front_of_fake(ONE_UPSTREAM);
    let words = ["One. ", "Two. ", "Three. "];
    fake.script("gated", Script::gated(words));
    let gate = fake.gate("gated");
    let answer =
        client().post(gateway.url("/v1/chat/completions")).json(&chat("gated", "Count", true)).send().await;
    let mut events = Events::of(answer.expect("answered"));
    for (k, word) in (1u64..).zip(words) {
        assert_eq!(events.text().await.as_deref(), Some(word));
        gate.open(k);
    }
    assert_eq!(events.text().await, None);
    assert!(events.raw.ends_with(b"data: [DONE]\n\n"));
}

/// A value cut over gated deltas: what cannot be part of it leaves at once, what can is held, and nothing of it leaks.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_cut_over_deltas_is_masked() {
    let (fake, gateway) = in_front_of_fake(ONE_UPSTREAM);
    fake.script("leaky", Script::gated(["Write to ali", "ce@co", "rp.com", " today."]));
    let gate = fake.gate("leaky");
    let answer =
        client().post(gateway.url("/v1/chat/completions")).json(&chat("leaky", "Who?", true)).send().await;
    let mut events = Events::of(answer.expect("answered"));
    // The upstream has said no more than the value's first letters: the words before it are here all the same.
    assert_eq!(events.text().await.as_deref(), Some("Write to "));
    gate.open_all();
    let mut text = String::new();
    while let Some(piece) = events.text().await {
        text.push_str(&piece);
    }
    assert_eq!(text, "[EMAIL_1] today.");
    crate::leaks::assert_none(&events.raw, "alice@corp.com");
}
