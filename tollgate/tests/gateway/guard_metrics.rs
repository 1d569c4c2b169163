//! What guards read, find and hold are metrics, and they say what the audit trail and the test itself say.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tollgate_fake_upstream::{Fault, Script, Step};

use crate::guard::{CARD, EMAIL};
use crate::harness::{Events, Gateway, chat, client, in_front_of_fake};
use crate::streams::{CHAT, SURFACES};

const YAML: &str = r#"
providers: [{id: up, kind: vllm, base_urls: ["${UPSTREAM}"], messages: true, responses: true}]
models: [{name: "*", targets: [{provider: up}]}]
guardrails:
  profile: strict
  overrides:
    - {kind: email, direction: request, action: mask}
    - {kind: phone, action: log}
    - {kind: ip_address, shadow: block}
"#;

/// Everything that a metric counts, by its labels.
type Counts = BTreeMap<[String; 4], u64>;

fn counted(rule: &str, kind: &str, action: &str, direction: &str) -> [String; 4] {
    [rule, kind, action, direction].map(str::to_owned)
}

/// `tollgate_findings_total` as the page has it.
async fn findings(gateway: &Gateway) -> Counts {
    let page = reqwest::get(gateway.admin_url("/metrics")).await.expect("answered");
    let page = page.text().await.expect("text");
    let lines = page.lines().filter_map(|line| line.strip_prefix("tollgate_findings_total{"));
    lines
        .map(|line| {
            let (labels, count) = line.split_once("} ").expect("a value");
            let label = |name: &str| {
                let (_, rest) = labels.split_once(&format!("{name}=\"")).expect("the label");
                rest.split('"').next().unwrap_or_default().to_owned()
            };
            let labels = ["rule", "kind", "action", "direction"].map(label);
            (labels, count.parse().expect("a number"))
        })
        .collect()
}

/// The same by the audit trail.
fn recorded(gateway: &Gateway, requests: usize) -> Counts {
    let mut counts = Counts::new();
    for event in gateway.events(requests) {
        for finding in event["findings"].as_array().into_iter().flatten() {
            let text = |name: &str| finding[name].as_str().expect("a text").to_owned();
            let asked = ["messages[", "prompt", "input", "system"];
            let is_request = asked.iter().any(|place| text("location").starts_with(place));
            let direction = if is_request { "request" } else { "answer" };
            let labels = [text("rule"), text("kind"), text("action"), direction.to_owned()];
            *counts.entry(labels).or_default() += finding["count"].as_u64().expect("a number");
        }
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn findings_and_bytes_are_counted_by_rule_action_and_direction() {
    let (fake, gateway) = in_front_of_fake(YAML);
    let asks = format!("Mail {EMAIL}, call +1 415 867 5309 from 93.184.216.34.");
    let says = ["Twice: alice@corp-", "a.com, bob@corp-b.com", " and +1 415 867 5309. "];
    let says_all = says.concat().len();
    let scanned = |direction: &str| {
        gateway.metric("tollgate_scanned_bytes_total", &format!("direction=\"{direction}\"")) as usize
    };
    let mut closed = 0;
    for (n, (path, body, _)) in SURFACES.into_iter().enumerate() {
        let model = format!("m{n}");
        fake.script(&model, Script::says(says));
        for stream in [true, false] {
            let read = scanned("answer");
            let body = body(&model).to_string().replace("Hi", &asks).replace("true", &stream.to_string());
            let call = client().post(gateway.url(path)).header("content-type", "application/json").body(body);
            let answer = call.send().await.expect("answered");
            assert_eq!(answer.status(), 200, "{path}");
            answer.bytes().await.expect("whole");
            closed += 1;
            gateway.events(closed);
            let expect = match (path, stream) {
                ("/v1/responses", true) => 5 * says_all, // deltas, three kinds of done, and the whole response
                (CHAT, false) => says_all + "fp_fake".len(),
                _ => says_all,
            };
            assert_eq!(scanned("answer") - read, expect, "{path}, stream: {stream}");
        }
    }
    let refused =
        client().post(gateway.url(CHAT)).json(&chat("m", &format!("Pay with {CARD}"), false)).send();
    assert_eq!(refused.await.expect("answered").status(), 400);
    let answers = 2 * SURFACES.len() as u64;
    let expect = Counts::from([
        (counted("email", "email", "mask", "request"), answers),
        (counted("phone", "phone", "log", "request"), answers),
        (counted("ipv4", "ip_address", "shadow", "request"), answers),
        (counted("email", "email", "mask", "answer"), 2 * answers),
        (counted("phone", "phone", "log", "answer"), answers),
        (counted("credit_card", "credit_card", "block", "request"), 1),
    ]);
    assert_eq!(recorded(&gateway, answers as usize + 1), expect);
    assert_eq!(findings(&gateway).await, expect);
    let asked = answers as usize * asks.len() + "Pay with ".len() + CARD.len();
    assert_eq!(scanned("request"), asked);
}

/// Bytes and time of what was held, and of what was thrown away.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_measured() {
    let (fake, gateway) = in_front_of_fake(YAML);
    let ask = |model: &str| client().post(gateway.url(CHAT)).json(&chat(model, "Hi", true)).send();
    fake.script("m", Script::says(["Ask alice@co"]).then(Step::Gate).then(Step::text("rp.com now. ")));
    let began = Instant::now();
    let mut events = Events::of(ask("m").await.expect("answered"));
    assert_eq!(events.text().await.as_deref(), Some("Ask "));
    let waited = Duration::from_millis(300);
    tokio::time::sleep(waited).await;
    assert_eq!(gateway.metric("tollgate_held_bytes_count", ""), 0.0, "counted when the stream is over");
    fake.gate("m").open_all();
    events.rest().await;
    fake.script("b", Script::says(["Ask alice@co"]).then(Step::Fault(Fault::Close)));
    Events::of(ask("b").await.expect("answered")).rest().await;
    let took = began.elapsed(); // of both, one after the other
    gateway.events(2);
    let metric = |name: &str, labels: &str| gateway.metric(name, labels);
    let labels = "action=\"mask\",direction=\"answer\",kind=\"email\",rule=\"email\"";
    assert_eq!(metric("tollgate_findings_total", labels), 1.0);
    assert_eq!(metric("tollgate_scanned_bytes_total", "direction=\"request\""), 4.0);
    assert_eq!(metric("tollgate_scanned_bytes_total", "direction=\"answer\""), 36.0);
    assert_eq!(metric("tollgate_held_bytes_count", "route=\"chat\""), 2.0);
    assert_eq!(metric("tollgate_held_bytes_sum", "route=\"chat\""), 2.0 * "alice@co".len() as f64);
    assert_eq!(metric("tollgate_held_bytes_bucket", "le=\"8\""), 2.0);
    assert_eq!(metric("tollgate_held_bytes_bucket", "le=\"0\""), 0.0);
    let held = metric("tollgate_held_seconds_sum", "route=\"chat\"");
    assert!((waited.as_secs_f64()..=took.as_secs_f64()).contains(&held), "{held}");
    assert_eq!(metric("tollgate_held_discarded_bytes_total", "route=\"chat\""), 8.0);
}

/// A rule that is only recorded holds nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_recorded_holds_nothing() {
    let others = ["phone", "ssn", "credit_card", "ip_address", "iban", "secret"];
    let off: String = others.iter().map(|kind| format!(", {{kind: {kind}, action: \"off\"}}")).collect();
    let before = YAML.split("guardrails:").next().expect("something stands before it");
    let yaml =
        format!("{before}guardrails: {{profile: strict, overrides: [{{kind: email, action: log}}{off}]}}\n");
    let (fake, gateway) = in_front_of_fake(&yaml);
    fake.script("m", Script::gated(["Ask ali", "ce@co", "rp.com", " now."]));
    let mut events = Events::of(
        client().post(gateway.url(CHAT)).json(&chat("m", "Hi", true)).send().await.expect("answered"),
    );
    let gate = fake.gate("m");
    for (k, piece) in (1u64..).zip(["Ask ali", "ce@co", "rp.com", " now."]) {
        assert_eq!(events.text().await.as_deref(), Some(piece));
        gate.open(k);
    }
    events.rest().await;
    gateway.events(1);
    assert_eq!(gateway.metric("tollgate_held_bytes_sum", ""), 0.0);
    assert_eq!(gateway.metric("tollgate_findings_total", "action=\"log\""), 1.0);
    assert_eq!(gateway.events(1)[0]["findings"][0]["action"], "log");
}
