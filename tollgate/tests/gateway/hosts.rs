//! Which host gets a call: health checks, stored state, labels that a model demands.

use serde_json::{Value, json};
use tollgate_fake_upstream::{Fake, Options, Script};

use crate::harness::{Gateway, HEAD, chat, client, until};

fn fake() -> Fake {
    Fake::start(Options::default()).expect("the fake upstream starts")
}

/// Calls that a host got, besides health probes.
fn calls(fake: &Fake) -> usize {
    fake.ledger().entries().iter().filter(|entry| entry.method == "POST").count()
}

async fn post(gateway: &Gateway, path: &str, body: &Value) -> (u16, Value) {
    let answer = client().post(gateway.url(path)).json(body).send().await.expect("answered");
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

async fn call(gateway: &Gateway) -> (u16, Value) {
    post(gateway, "/v1/chat/completions", &chat("m", "Hi", false)).await
}

/// Waits until the gateway counts so many hosts as usable.
fn usable(gateway: &Gateway, count: usize) {
    let up = || gateway.metric("tollgate_target_up", "");
    until(|| (up() == count as f64).then_some(()), &format!("{count} usable hosts"));
}

/// A host whose `/health` says no gets no call until it says yes again; with none left the caller is told so at once.
#[tokio::test(flavor = "multi_thread")]
async fn an_unhealthy_host_gets_no_call_until_it_is_well() {
    let (a, b) = (fake(), fake());
    let rest = "
providers:
  - id: gpu
    kind: vllm
    base_urls: [\"${A}\", \"${B}\"]
    health: {interval: 20ms, healthy_after: 2, unhealthy_after: 2}
models: [{name: m, targets: [{provider: gpu}]}]
";
    let gateway = Gateway::start(&format!("{HEAD}{rest}"), &[("A", &a.url()), ("B", &b.url())]);
    usable(&gateway, 2);
    a.script("/health", Script::error(503, "loading"));
    usable(&gateway, 1);
    let before = calls(&a);
    for _ in 0..20 {
        assert_eq!(call(&gateway).await.0, 200);
    }
    assert_eq!((calls(&a) - before, calls(&b)), (0, 20));
    b.script("/health", Script::error(503, "loading"));
    usable(&gateway, 0);
    let (status, body) = call(&gateway).await;
    assert_eq!((status, &body["error"]["code"]), (503, &json!("NO_UPSTREAM")), "{body}");
    assert_eq!((calls(&a) - before, calls(&b)), (0, 20), "an unhealthy host was called");

    // The breaker has nothing to do with it: no call failed.
    a.script("/health", Script::says(["well"]));
    usable(&gateway, 1);
    assert_eq!(call(&gateway).await.0, 200);
    assert_eq!((calls(&a) - before, calls(&b)), (1, 20));
}

/// A call that builds on what one host keeps is refused where hosts share nothing, and goes to that host where it is sticky.
#[tokio::test(flavor = "multi_thread")]
async fn stored_state_needs_a_sticky_provider() {
    let (a, b) = (fake(), fake());
    let rest = "
providers:
  - {id: shared, kind: openai, base_urls: [\"${A}/v1\", \"${B}/v1\"], health: {enabled: false}}
  - {id: kept, kind: openai, base_urls: [\"${A}/v1\", \"${B}/v1\"], health: {enabled: false}, sticky: true}
models:
  - {name: loose, targets: [{provider: shared}]}
  - {name: bound, targets: [{provider: kept}]}
";
    let gateway = Gateway::start(&format!("{HEAD}{rest}"), &[("A", &a.url()), ("B", &b.url())]);
    let ask = |model: &str, field: &str, value: Value| json!({"model": model, "input": "Hi", field: value});
    let stored = [
        ("previous_response_id", json!("resp_1")),
        ("prompt", json!({"id": "pmpt_1"})),
        ("conversation", json!("conv_1")),
    ];
    for (field, value) in &stored {
        let (status, body) = post(&gateway, "/v1/responses", &ask("loose", field, value.clone())).await;
        assert_eq!((status, &body["error"]["code"]), (400, &json!("INVALID_REQUEST")), "{field}: {body}");
        let message = body["error"]["message"].as_str().expect("a message");
        assert!(message.contains("Send the whole conversation instead"), "{message}");
    }
    assert_eq!(calls(&a) + calls(&b), 0);
    let made = json!({"model": "bound", "input": "Hi", "prompt_cache_key": "session 7"});
    assert_eq!(post(&gateway, "/v1/responses", &made).await.0, 200);
    for (field, value) in &stored {
        for _ in 0..4 {
            let (status, body) = post(&gateway, "/v1/responses", &ask("bound", field, value.clone())).await;
            assert_eq!(status, 200, "{field}: {body}");
        }
    }
    let (of_a, of_b) = (calls(&a), calls(&b));
    assert!((of_a, of_b) == (13, 0) || (of_a, of_b) == (0, 13), "one caller, one host: {of_a} and {of_b}");
}

/// A model's demand for a label holds on every attempt: the fallback without it is never asked, however the first host fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_a_model_demands_holds_on_failover() {
    let (house, cloud) = (fake(), fake());
    let rest = "
providers:
  - {id: house, kind: vllm, base_urls: [\"${A}\"], health: {enabled: false}, labels: {on_premises: true}, breaker: {consecutive_failures: 1000, min_requests: 1000}}
  - {id: cloud, kind: vllm, base_urls: [\"${B}\"], health: {enabled: false}}
models:
  - {name: m, targets: [{provider: house}], fallback: [{provider: cloud}], require: {on_premises: true}}
  - {name: free, targets: [{provider: house}], fallback: [{provider: cloud}]}
";
    let gateway = Gateway::start(&format!("{HEAD}{rest}"), &[("A", &house.url()), ("B", &cloud.url())]);
    house.script("*", Script::error(503, "no"));
    let (status, body) = call(&gateway).await;
    assert_eq!((status, &body["error"]["code"]), (502, &json!("UPSTREAM_ERROR")), "{body}");
    assert_eq!((calls(&house) > 0, calls(&cloud)), (true, 0));
    let (status, _) = post(&gateway, "/v1/chat/completions", &chat("free", "Hi", false)).await;
    assert_eq!((status, calls(&cloud)), (200, 1), "the other model may fail over");
}
