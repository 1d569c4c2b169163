//! Limits as callers see them: refusals, headers, and what a request really used.

use reqwest::Response;
use serde_json::{Value, json};
use tollgate_fake_upstream::{Fake, Outcome, Script, Step};

use crate::harness::{Events, Gateway, KEY, ONE_UPSTREAM, PATIENCE, chat, client, in_front_of_fake, until};

const CHAT: &str = "/v1/chat/completions";

fn start(limits: &str) -> (Fake, Gateway) {
    in_front_of_fake(&format!("{ONE_UPSTREAM}{limits}\n"))
}

/// A bounded call: 100 tokens of answer at most.
fn call(model: &str, stream: bool) -> Value {
    let mut body = chat(model, "Hi", stream);
    body["max_tokens"] = json!(100);
    body
}

async fn ask(gateway: &Gateway, body: &Value) -> Response {
    client().post(gateway.url(CHAT)).json(body).send().await.expect("answered")
}

fn text<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).unwrap_or_else(|| panic!("no {name}")).to_str().expect("text")
}

fn number(answer: &Response, name: &str) -> u64 {
    text(answer, name).parse().expect("a number")
}

/// What is left of the tokens, asked with a request that itself takes none for good: it is refused as too large.
async fn tokens_left(gateway: &Gateway) -> u64 {
    let mut large = chat("m", "Hi", false);
    large["max_tokens"] = json!(1_000_000);
    let refused = ask(gateway, &large).await;
    assert_eq!(refused.status(), 429);
    number(&refused, "x-ratelimit-remaining-tokens")
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_and_refused() {
    let (fake, gateway) = start("limits: [{id: app-rate, scope: application, requests: 2/day}]");
    for left in [1, 0] {
        let answer = ask(&gateway, &call("m", false)).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(number(&answer, "x-ratelimit-limit-requests"), 2);
        assert_eq!(number(&answer, "x-ratelimit-remaining-requests"), left);
        let reset = text(&answer, "x-ratelimit-reset-requests");
        assert!(reset.contains('h') || reset.contains('m'), "as OpenAI writes it: {reset}");
    }
    let refused = ask(&gateway, &call("m", false)).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(number(&refused, "x-ratelimit-remaining-requests"), 0);
    assert_eq!(
        text(&refused, "retry-after"),
        "60",
        "a longer wait makes clients sleep: it is in the message"
    );
    assert_eq!(text(&refused, "x-should-retry"), "false");
    let body: Value = refused.json().await.expect("JSON");
    assert_eq!(
        (&body["error"]["code"], &body["error"]["type"]),
        (&json!("RATE_LIMIT_EXCEEDED"), &json!("rate_limit_exceeded"))
    );
    let message = body["error"]["message"].as_str().expect("text");
    assert!(message.contains("app-rate") && message.contains('h'), "{message}");
    assert_eq!(fake.ledger().for_model("m").len(), 2);
    assert_eq!(gateway.metric("tollgate_limit_refusals_total", "limit=\"app-rate\""), 1.0);
    let events = gateway.events(3);
    assert_eq!(events[2]["code"], "RATE_LIMIT_EXCEEDED");
    assert_eq!(events[2]["decisions"][0]["limit"], "app-rate");

    // The same on Anthropic's surface, in its own words.
    let refused =
        client().post(gateway.url("/v1/messages")).json(&call("m", false)).send().await.expect("answered");
    assert_eq!(refused.status(), 429);
    assert_eq!(number(&refused, "anthropic-ratelimit-requests-limit"), 2);
    assert_eq!(number(&refused, "anthropic-ratelimit-requests-remaining"), 0);
    let reset = text(&refused, "anthropic-ratelimit-requests-reset");
    assert!(reset.contains('T') && reset.ends_with('Z'), "RFC 3339: {reset}");
    let body: Value = refused.json().await.expect("JSON");
    assert_eq!((&body["type"], &body["error"]["type"]), (&json!("error"), &json!("rate_limit_error")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_wait_may_be_retried() {
    let (_fake, gateway) = start("limits: [{id: r, scope: key, requests: 6/min, burst: 1}]");
    assert_eq!(ask(&gateway, &call("m", false)).await.status(), 200);
    let refused = ask(&gateway, &call("m", false)).await;
    assert_eq!(refused.status(), 429);
    assert!((1..=10).contains(&number(&refused, "retry-after")));
    assert!(!refused.headers().contains_key("x-should-retry"));
}

/// What an upstream reports is cut where no answer can be, and no sum of it runs over: neither back to free, nor below zero.
#[tokio::test(flavor = "multi_thread")]
async fn a_usage_that_cannot_be_is_cut() {
    let (fake, gateway) = start("limits: [{id: t, scope: application, tokens: 10000/day}]");
    let usage = json!({"prompt_tokens": u64::MAX, "completion_tokens": 2, "total_tokens": 1});
    let message = json!({"role": "assistant", "content": "Yes"});
    let choices = json!([{"index": 0, "message": message, "finish_reason": "stop"}]);
    fake.script(
        "liar",
        Script::json(200, json!({"object": "chat.completion", "choices": choices, "usage": usage})),
    );
    assert_eq!(tokens_left(&gateway).await, 10_000);
    assert_eq!(ask(&gateway, &call("liar", false)).await.status(), 200);
    let events = gateway.events(2);
    let event = events.iter().find(|event| event["model_requested"] == "liar").expect("recorded");
    assert_eq!((&event["status"], &event["tokens"]["input"]), (&json!("success"), &json!(1_000_000_000)));
    assert_eq!(gateway.metric("tollgate_tokens_total", "direction=\"input\""), 1e9);
    assert_eq!(tokens_left(&gateway).await, 0);
}

/// Reserved by estimate, settled by what the upstream counted: the ledger is the second source.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_settled_with_the_real_usage() {
    let (fake, gateway) = start("limits: [{id: t, scope: application, tokens: 10000/day}]");
    fake.script("m", Script::says(["Yes"]).tokens(7, 13));
    fake.script("fails", Script::error(400, "the prompt is too long"));
    fake.script("broken", Script::error(500, "no"));
    let full = tokens_left(&gateway).await;
    assert_eq!(full, 10_000);

    let answer = ask(&gateway, &call("m", false)).await;
    let reserved = full - number(&answer, "x-ratelimit-remaining-tokens");
    assert!(reserved >= 100, "max_tokens is reserved: {reserved}");
    answer.bytes().await.expect("whole");
    settled(&gateway, full - 20, "a plain answer").await;

    let mut events = Events::of(ask(&gateway, &call("m", true)).await);
    let (seen, clean) = events.rest().await;
    assert!(
        clean && !seen.iter().any(|event| event.contains("\"usage\":{")),
        "usage was not asked for: {seen:?}"
    );
    settled(&gateway, full - 40, "a stream").await;

    assert_eq!(ask(&gateway, &call("fails", false)).await.status(), 400);
    settled(&gateway, full - 40, "an upstream's own error costs nothing").await;
    assert_eq!(ask(&gateway, &call("broken", false)).await.status(), 502);
    settled(&gateway, full - 40, "a failure costs nothing").await;
    let blocked = ask(&gateway, &chat("m", "I am alice@corp.com", false)).await;
    assert_eq!(blocked.status(), 400);
    settled(&gateway, full - 40, "a blocked request costs nothing").await;
    let reported: u64 =
        fake.ledger().for_model("m").iter().filter_map(|e| e.reported).map(|t| t.input + t.output).sum();
    assert_eq!(reported, 40);
}

async fn settled(gateway: &Gateway, wanted: u64, what: &str) {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let left = tokens_left(gateway).await;
        // A few may have come back in the meantime: 10,000 a day are one each 8.6 s.
        if (wanted..wanted + 10).contains(&left) {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{what}: {left} are left, not {wanted}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// A client that leaves is charged for what was said until then, not for what it might have been.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_settled_when_the_client_leaves() {
    let (fake, gateway) = start("limits: [{id: t, scope: application, tokens: 10000/day, concurrency: 1}]");
    fake.script(
        "long",
        Script::steps([Step::text("One "), Step::text("two "), Step::Gate, Step::text("three")]),
    );
    let mut body = call("long", true);
    body["max_tokens"] = json!(5000);
    let mut events = Events::of(ask(&gateway, &body).await);
    assert_eq!(events.text().await.as_deref(), Some("One "));
    drop(events);
    fake.ledger()
        .until(PATIENCE, |entries| {
            entries.iter().any(|e| e.model == "long" && e.outcome == Outcome::Cancelled)
        })
        .await
        .expect("the upstream sees that the client has left");
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let left = tokens_left(&gateway).await;
        if (9_900..10_000).contains(&left) {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{left} are left");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(gateway.events(1)[0]["status"], "cancelled");
    assert_eq!(gateway.events(1)[0]["tokens"]["estimated"], true);
    assert_eq!(ask(&gateway, &call("m", false)).await.status(), 200, "its place is given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_can_never_fit_is_told_so() {
    let (fake, gateway) = start("limits: [{id: t, scope: application, tokens: 1000/min}]");
    let refused = ask(
        &gateway,
        &json!({"model": "m", "max_tokens": 5000, "messages": [{"role": "user", "content": "Hi"}]}),
    )
    .await;
    assert_eq!(refused.status(), 429);
    assert_eq!(text(&refused, "x-should-retry"), "false");
    let body: Value = refused.json().await.expect("JSON");
    assert!(body["error"]["message"].as_str().expect("text").contains("max_tokens"), "{body}");
    assert!(fake.ledger().for_model("m").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_at_a_time() {
    let (fake, gateway) = start("limits: [{id: few, scope: application, concurrency: 2}]");
    fake.script("held", Script::gated(["a"]));
    let gate = fake.gate("held");
    let held: Vec<_> = (0..2)
        .map(|_| tokio::spawn(client().post(gateway.url(CHAT)).json(&call("held", false)).send()))
        .collect();
    let both =
        |entries: &[tollgate_fake_upstream::Entry]| entries.iter().filter(|e| e.model == "held").count() == 2;
    fake.ledger().until(PATIENCE, both).await.expect("both are at the upstream");
    let refused = ask(&gateway, &call("m", false)).await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    gate.open(5);
    for held in held {
        assert_eq!(held.await.expect("no panic").expect("answered").status(), 200);
    }
    until(
        || (gateway.metric("tollgate_requests_in_flight", "") == 0.0).then_some(()),
        "no request in flight",
    );
    assert_eq!(ask(&gateway, &call("m", false)).await.status(), 200);
}

/// All of a request's limits are taken in one step: what one refuses, the others keep.
#[tokio::test(flavor = "multi_thread")]
async fn all_or_none() {
    let (_fake, gateway) = start(
        "limits:\n  - {id: wide, scope: organization, requests: 100/day}\n  - {id: dear, scope: model, only: {model: dear}, requests: 1/day}\n",
    );
    // A model of its own, so that only it is narrow.
    assert_eq!(ask(&gateway, &call("m", false)).await.status(), 200);
    let first = ask(&gateway, &call("dear", false)).await.status();
    assert_eq!(first, 200);
    for _ in 0..5 {
        assert_eq!(ask(&gateway, &call("dear", false)).await.status(), 429);
    }
    let answer = ask(&gateway, &call("m", false)).await;
    assert_eq!(
        number(&answer, "x-ratelimit-remaining-requests"),
        97,
        "refused requests took nothing of the wide limit"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_address_has_its_own() {
    let head =
        crate::harness::HEAD.replace("\"${LISTEN}\"}", "\"${LISTEN}\", trusted_proxies: [\"127.0.0.1/32\"]}");
    let fake = Fake::start(tollgate_fake_upstream::Options::default()).expect("starts");
    let yaml = format!("{head}{ONE_UPSTREAM}limits: [{{id: a, scope: address, requests: 1/day}}]\n");
    let gateway = Gateway::start(&yaml, &[("UPSTREAM", &fake.url())]);
    let from = async |address: &str| {
        let request = reqwest::Client::new()
            .post(gateway.url(CHAT))
            .bearer_auth(KEY)
            .header("x-forwarded-for", address);
        request.json(&call("m", false)).send().await.expect("answered").status().as_u16()
    };
    assert_eq!(from("203.0.113.1").await, 200);
    assert_eq!(from("203.0.113.1").await, 429);
    assert_eq!(from("6.6.6.6, 203.0.113.1").await, 429, "what stands left of it proves nothing");
    assert_eq!(from("203.0.113.2").await, 200);
}
