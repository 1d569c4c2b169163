//! Failover: every kind of failure leads to the next target until content has left, and what the client gets when none is left.

use serde_json::{Value, json};
use tollgate_fake_upstream::{Entry, Fake, Fault, Options, Outcome, Script, Step};

use crate::harness::{Events, Gateway, HEAD, KEY, PATIENCE, chat, client, hit, load};

const CHAT: &str = "/v1/chat/completions";

/// Two providers with a credential each, and `models` names `m0`, `m1`, … that go to the first and fall back to the second.
struct Pair {
    a: Fake,
    b: Fake,
    gateway: Gateway,
}

impl Pair {
    /// `of_a`, `of_both`: further settings of the first, or of both providers.
    fn start(models: usize, of_a: &str, of_both: &str) -> Pair {
        let (a, b) = (fake(), fake());
        let mut yaml = format!(
            "{HEAD}
providers:
  - {{id: a, kind: vllm, base_urls: [\"${{A}}\"], api_key: \"${{A_KEY}}\", health: {{enabled: false}}{of_a}{of_both}}}
  - {{id: b, kind: vllm, base_urls: [\"${{B}}\"], api_key: \"${{B_KEY}}\", health: {{enabled: false}}{of_both}}}
models:
"
        );
        for n in 0..models {
            yaml.push_str(&format!(
                "  - {{name: m{n}, targets: [{{provider: a, model: at-a{n}}}], fallback: [{{provider: b, model: at-b{n}}}]}}\n"
            ));
            b.script(&format!("at-b{n}"), Script::says(["from b"]));
        }
        let environment = [
            ("A", a.url()),
            ("B", b.url()),
            ("A_KEY", "key-of-a".to_owned()),
            ("B_KEY", "key-of-b".to_owned()),
        ];
        let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let gateway = Gateway::start(&yaml, &environment);
        Pair { a, b, gateway }
    }
}

/// Failures that do not open a breaker.
const PATIENT: &str = ", breaker: {consecutive_failures: 1000, min_requests: 1000}";

fn fake() -> Fake {
    Fake::start(Options::default()).expect("the fake upstream starts")
}

async fn call(gateway: &Gateway, model: &str, stream: bool) -> reqwest::Response {
    let sent = client().post(gateway.url(CHAT)).json(&chat(model, "Hi", stream)).send().await;
    sent.expect("answered")
}

/// The first choice's words, plain or streamed.
async fn words(answer: reqwest::Response) -> String {
    assert_eq!(answer.status(), 200);
    if answer.headers()["content-type"] != "text/event-stream" {
        let body: Value = answer.json().await.expect("JSON");
        return body["choices"][0]["message"]["content"].as_str().expect("text").to_owned();
    }
    let (mut events, mut all) = (Events::of(answer), String::new());
    while let Some(text) = events.text().await {
        all.push_str(&text);
    }
    assert!(events.raw.ends_with(b"data: [DONE]\n\n"));
    all
}

fn header<'a>(entry: &'a Entry, name: &str) -> Option<&'a str> {
    entry.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_before_content_leads_to_the_next_target() {
    let error = |status| Script::error(status, "no");
    let begins = |fault| Script::steps([Step::Header, Step::Fault(fault)]);
    let cut = |fault| Script::raw(200, "application/json", "{\"a\": 1}".repeat(900)).cut(100, fault);
    let (both, plain, stream) = ([false, true].as_slice(), [false].as_slice(), [true].as_slice());
    let cases = [
        (Script::rate_limited(60), both, "rate_limited"),
        (error(503), both, "status"),
        (error(529), both, "status"),
        (error(500), both, "status"),
        (error(408), both, "status"),
        (error(401), both, "credential"),
        (error(403), both, "credential"),
        (Script::broken(Fault::Close), both, "broken"),
        (Script::broken(Fault::Reset), both, "broken"),
        (cut(Fault::Close), plain, "broken"),
        (cut(Fault::Reset), plain, "broken"),
        (Script::raw(200, "text/html", "<h1>Welcome</h1>"), both, "malformed"),
        (Script::error_event("out of memory"), stream, "error_event"),
        (Script::silent(), stream, "timeout"),
        (begins(Fault::Hang), stream, "timeout"),
        (begins(Fault::End), stream, "broken"),
        (begins(Fault::Close), stream, "broken"),
        (begins(Fault::Reset), stream, "broken"),
    ];
    let all: Vec<_> =
        cases.iter().flat_map(|(s, kinds, label)| kinds.iter().map(move |k| (s, *k, *label))).collect();
    let pair = Pair::start(all.len(), ", timeouts: {first_byte: 2s}", PATIENT);
    for (n, (script, stream, label)) in all.iter().enumerate() {
        pair.a.script(&format!("at-a{n}"), (*script).clone());
        let answer = call(&pair.gateway, &format!("m{n}"), *stream).await;
        assert_eq!(answer.headers()["x-tollgate-provider"], "b", "{label} {script:?}");
        assert_eq!(words(answer).await, "from b", "{label} {script:?}");
    }
    let events = pair.gateway.events(all.len());
    for (n, (event, (script, _, label))) in events.iter().zip(&all).enumerate() {
        assert_eq!(event["status"], "success", "{event}");
        assert_eq!(event["provider"], "b", "{event}");
        assert_eq!(event["attempts"].as_array().map(Vec::len), Some(2), "{event}");
        assert_eq!(event["attempts"][0]["error"], **label, "{script:?}: {event}");
        // A pooled connection that breaks is tried once more on a new one.
        assert!(!pair.a.ledger().for_model(&format!("at-a{n}")).is_empty(), "{event}");
    }
    assert_eq!(pair.gateway.metric("tollgate_failovers_total", ""), all.len() as f64);
    assert_eq!(pair.gateway.metric("tollgate_credential_refused_total", "provider=\"a\""), 4.0);
    // `retry-after`: left alone until then.
    assert_eq!(words(call(&pair.gateway, "m0", false).await).await, "from b");
    assert_eq!(pair.a.ledger().for_model("at-a0").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_leads_to_the_next_target() {
    let mut pair = Pair::start(1, "", "");
    pair.a.kill();
    for stream in [false, true] {
        assert_eq!(words(call(&pair.gateway, "m0", stream).await).await, "from b");
    }
    for event in pair.gateway.events(2) {
        assert_eq!(event["attempts"][0]["error"], "connect", "{event}");
    }
}

/// Each attempt is made for its own target, and none carries anything of the caller's account.
#[tokio::test(flavor = "multi_thread")]
async fn each_attempt_has_its_own_model_host_and_credential() {
    let pair = Pair::start(1, "", "");
    pair.a.script("at-a0", Script::error(500, "no"));
    let request = client()
        .post(pair.gateway.url(CHAT))
        .header("x-api-key", KEY)
        .header("cookie", format!("jwt={KEY}"))
        .header("openai-organization", "org-of-the-caller")
        .header("x-correlation-id", "c-1")
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let answer = request.json(&chat("m0", "Hi", false)).send().await.expect("answered");
    let id = answer.headers()["x-request-id"].to_str().expect("text").to_owned();
    assert_eq!(words(answer).await, "from b");
    for (fake, model, key) in [(&pair.a, "at-a0", "Bearer key-of-a"), (&pair.b, "at-b0", "Bearer key-of-b")] {
        let entries = fake.ledger().for_model(model);
        let [entry] = entries.as_slice() else { panic!("{model}: {entries:?}") };
        assert_eq!(header(entry, "host"), Some(fake.addr().to_string().as_str()));
        assert_eq!(header(entry, "authorization"), Some(key));
        assert_eq!(header(entry, "x-request-id"), Some(id.as_str()));
        assert_eq!(header(entry, "x-correlation-id"), Some("c-1"));
        assert!(
            header(entry, "traceparent")
                .is_some_and(|trace| trace.contains("0af7651916cd43dd8448eb211c80319c"))
        );
        for (name, value) in &entry.headers {
            assert!(!value.contains(&KEY[10..]), "{name} shows the caller's key");
            assert_ne!(value, "org-of-the-caller", "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_any_size_is_sent_whole_on_each_attempt() {
    for h2 in ["", ", h2: true"] {
        let pair = Pair::start(2, "", h2);
        pair.a.script("at-a0", Script::error(503, "no"));
        pair.a.script("at-a1", Script::broken(Fault::Close));
        for (model, size) in [("0", 70 << 10), ("1", 70 << 10), ("0", 11 << 20)] {
            pair.a.ledger().clear();
            pair.b.ledger().clear();
            let text = "lorem ipsum ".repeat(size / 12);
            let body = chat(&format!("m{model}"), &text, false).to_string();
            let answer = client()
                .post(pair.gateway.url(CHAT))
                .header("content-type", "application/json")
                .body(body.clone())
                .send()
                .await;
            assert_eq!(words(answer.expect("answered")).await, "from b");
            for (fake, provider) in [(&pair.a, "a"), (&pair.b, "b")] {
                let name = format!("at-{provider}{model}");
                let entry = fake.ledger().for_model(&name).pop().expect("asked");
                let version = if h2.is_empty() { "HTTP/1.1" } else { "HTTP/2.0" };
                assert_eq!(entry.version, version);
                let want = body.replace(&format!("\"model\":\"m{model}\""), &format!("\"model\":\"{name}\""));
                assert!(entry.body == want.as_bytes(), "{provider} got other bytes ({size}, {h2:?})");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_every_target_failed_the_client_learns_why() {
    let error = |status| Script::error(status, "inner words");
    let limited = || Script::rate_limited(3);
    let cases = [
        (error(500), error(503), 502, "UPSTREAM_ERROR", ""),
        (error(401), error(403), 502, "UPSTREAM_ERROR", ""),
        (Script::broken(Fault::Close), Script::error_event("x"), 502, "UPSTREAM_ERROR", ""),
        (error(500), limited(), 429, "RATE_LIMIT_EXCEEDED", "provider b"),
        (limited(), error(500), 429, "RATE_LIMIT_EXCEEDED", "provider a"),
        (Script::silent(), Script::silent(), 504, "UPSTREAM_TIMEOUT", ""),
        (error(500), error(504), 504, "UPSTREAM_TIMEOUT", ""),
    ];
    let pair = Pair::start(cases.len(), "", &format!(", timeouts: {{first_byte: 2s}}{PATIENT}"));
    for (n, (a, b, status, code, names)) in cases.iter().enumerate() {
        pair.a.script(&format!("at-a{n}"), a.clone());
        pair.b.script(&format!("at-b{n}"), b.clone());
        let answer = call(&pair.gateway, &format!("m{n}"), true).await;
        assert_eq!(answer.status(), *status, "{code} {a:?}");
        let wait = answer.headers().get("retry-after").map(|value| value.to_str().expect("text").to_owned());
        assert_eq!(wait.as_deref(), (*status == 429).then_some("3"), "{code}");
        let body: Value = answer.json().await.expect("JSON");
        assert_eq!(body["error"]["code"], *code, "{body}");
        let message = body["error"]["message"].as_str().expect("text");
        assert!(message.contains(names) && !message.contains("inner words"), "{body}");
    }
    for (event, (_, _, status, code, _)) in pair.gateway.events(cases.len()).iter().zip(&cases) {
        assert_eq!((&event["http_status"], &event["code"]), (&(*status).into(), &(*code).into()), "{event}");
    }
}

/// What is wrong with the request is wrong everywhere: the upstream's own words reach the client.
#[tokio::test(flavor = "multi_thread")]
async fn the_clients_own_error_is_passed_on() {
    let pair = Pair::start(1, "", "");
    let told = json!({"error": {"message": "maximum context length is 8192", "type": "invalid_request_error",
                                "param": "messages", "code": "context_length_exceeded"}});
    pair.a.script("at-a0", Script::json(400, told.clone()));
    for stream in [false, true] {
        let answer = call(&pair.gateway, "m0", stream).await;
        assert_eq!(answer.status(), 400);
        assert_eq!(answer.json::<Value>().await.expect("JSON"), told);
    }
    // The same where the upstream finds it only after its header.
    let event = json!({"error": {"message": "maximum context length is 8192", "type": "BadRequestError", "param": null, "code": 400}});
    pair.a.script("at-a0", Script::steps([Step::Event(event.to_string()), Step::Fault(Fault::End)]));
    let answer = call(&pair.gateway, "m0", true).await;
    assert_eq!(answer.status(), 400);
    let body: Value = answer.json().await.expect("JSON");
    assert_eq!(body["error"]["code"], "INVALID_REQUEST");
    assert_eq!(body["error"]["message"], "maximum context length is 8192");
    assert_eq!(pair.b.ledger().totals().requests, 0);
    assert!(pair.gateway.events(3).iter().all(|event| event["attempts"][0]["error"].is_null()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_pooled_connection_is_replaced_once() {
    let pair = Pair::start(1, "", "");
    let ok = || Script::says(["from a"]);
    let gone = || Script::broken(Fault::Close);
    pair.a.sequence("at-a0", [ok(), gone(), ok(), gone(), gone()]);
    for want in ["from a", "from a", "from b"] {
        assert_eq!(words(call(&pair.gateway, "m0", false).await).await, want);
    }
    assert_eq!(pair.a.ledger().for_model("at-a0").len(), 5);
    assert!(pair.gateway.metric("tollgate_upstream_connections_total", "reused=\"true\"") >= 2.0);
}

/// The second target's pooled connection has died: it is asked twice, and there was one failover.
#[tokio::test(flavor = "multi_thread")]
async fn a_stale_connection_is_no_failover() {
    let pair = Pair::start(1, "", PATIENT);
    pair.a.script("at-a0", Script::error(503, "no"));
    let ok = || Script::says(["from b"]);
    pair.b.sequence("at-b0", [ok(), Script::broken(Fault::Close), ok()]);
    for _ in 0..2 {
        assert_eq!(words(call(&pair.gateway, "m0", false).await).await, "from b");
    }
    assert_eq!(pair.b.ledger().for_model("at-b0").len(), 3);
    assert_eq!(pair.gateway.metric("tollgate_failovers_total", ""), 2.0);
}

/// A listener that accepts nobody, its queue filled: who else connects to it waits (Linux does not answer the SYN).
async fn tarpit() -> (std::net::SocketAddr, impl Sized) {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
    let listener = socket.listen(1).expect("listens");
    let address = listener.local_addr().expect("bound");
    let mut waiting = Vec::new();
    let wait = std::time::Duration::from_millis(300);
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, wait) {
        waiting.push(stream);
        assert!(waiting.len() < 100, "this system takes more connections than were asked for");
    }
    (address, (listener, waiting))
}

/// Nothing else watches the time while a connection is made.
#[tokio::test(flavor = "multi_thread")]
async fn connecting_takes_no_longer_than_the_whole_request_may() {
    let (address, _held) = tarpit().await;
    // Connecting alone would take longer than the client waits.
    let up = |id: &str| {
        format!(
            "  - {{id: {id}, kind: vllm, base_urls: [\"http://{address}\"], health: {{enabled: false}}, timeouts: {{connect: 60s}}}}"
        )
    };
    let yaml = format!(
        "{HEAD}\nproviders:\n{}\n{}\nmodels: [{{name: m, targets: [{{provider: a}}], fallback: [{{provider: b}}]}}]\n\
         routes: [{{timeouts: {{total: 1s}}}}]\n",
        up("a"),
        up("b")
    );
    let gateway = Gateway::start(&yaml, &[]);
    let answer = call(&gateway, "m", false).await;
    assert_eq!(answer.status(), 504);
    assert_eq!(answer.json::<Value>().await.expect("JSON")["error"]["code"], "UPSTREAM_TIMEOUT");
    let event = &gateway.events(1)[0];
    assert_eq!(event["attempts"].as_array().map(Vec::len), Some(1), "the time was used up by one: {event}");
    assert_eq!(event["attempts"][0]["error"], "timeout");
}

/// The next target is asked after `connect`, not after what the system's own patience is.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_accepts_nobody_loses_the_call_after_connect() {
    let (address, _held) = tarpit().await;
    let b = fake();
    b.script("m", Script::says(["from b"]));
    let yaml = format!(
        "{HEAD}
providers:
  - {{id: a, kind: vllm, base_urls: [\"http://{address}\"], health: {{enabled: false}}, timeouts: {{connect: 200ms}}}}
  - {{id: b, kind: vllm, base_urls: [\"${{B}}\"]}}
models: [{{name: m, targets: [{{provider: a}}], fallback: [{{provider: b}}]}}]
"
    );
    let gateway = Gateway::start(&yaml, &[("B", &b.url())]);
    assert_eq!(words(call(&gateway, "m", false).await).await, "from b");
    assert_eq!(gateway.events(1)[0]["attempts"][0]["error"], "timeout");
}

/// Silence after the answer has begun: of a stream, told in it; of a plain answer, another target is asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_silence_in_mid_answer_ends_after_idle() {
    let pair = Pair::start(1, ", timeouts: {idle: 300ms, first_byte: 10m}", "");
    pair.a.script("at-a0", Script::says(["Half. "]).then(Step::Fault(Fault::Hang)));
    let mut events = Events::of(call(&pair.gateway, "m0", true).await);
    let (seen, _) = events.rest().await;
    assert!(seen.iter().any(|event| event.contains("Half. ")), "{seen:?}");
    assert!(seen.last().is_some_and(|last| last.contains("UPSTREAM_TIMEOUT")), "{seen:?}");
    assert!(!seen.iter().any(|event| event.contains("[DONE]")));

    pair.a.script("at-a0", Script::steps([Step::Header, Step::Fault(Fault::Hang)]));
    assert_eq!(words(call(&pair.gateway, "m0", false).await).await, "from b");
    for event in pair.gateway.events(2) {
        assert_eq!(event["attempts"][0]["error"], "timeout", "{event}");
    }
}

/// A route's own `first_byte` holds for every target, whatever theirs is.
#[tokio::test(flavor = "multi_thread")]
async fn a_route_may_be_less_patient_than_its_targets() {
    let up = fake();
    up.script("m", Script::silent());
    let rest = "
providers: [{id: up, kind: vllm, base_urls: [\"${UP}\"], timeouts: {first_byte: 10m}}]
models: [{name: m, targets: [{provider: up}]}]
routes: [{team: quant, model: m, timeouts: {first_byte: 300ms}}]
";
    let gateway = Gateway::start(&format!("{HEAD}{rest}"), &[("UP", &up.url())]);
    let prompt = json!({"prompt": "Hi", "max_tokens": 9});
    let answer =
        client().post(gateway.url("/api/quant/predict")).json(&prompt).send().await.expect("answered");
    assert_eq!(answer.status(), 504);
    assert_eq!(answer.json::<Value>().await.expect("JSON")["error"]["code"], "UPSTREAM_TIMEOUT");
    assert_eq!(up.ledger().for_model("m").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_content_nothing_is_tried_again() {
    let pair = Pair::start(1, "", "");
    pair.a.script("at-a0", Script::says(["Half. "]).then(Step::Gate).then(Step::Fault(Fault::Reset)));
    let mut events = Events::of(call(&pair.gateway, "m0", true).await);
    assert_eq!(events.text().await.as_deref(), Some("Half. "));
    pair.a.gate("at-a0").open(1);
    let (seen, _) = events.rest().await;
    assert!(seen.last().is_some_and(|last| last.contains("UPSTREAM_ERROR")), "{seen:?}");
    assert_eq!(pair.b.ledger().totals().requests, 0);
    let event = &pair.gateway.events(1)[0];
    assert_eq!((&event["status"], &event["attempts"][0]["error"]), (&"error".into(), &"broken".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breaker_opens_after_failures_in_a_row() {
    let pair = Pair::start(1, ", breaker: {consecutive_failures: 2, open: 60s}", "");
    pair.a.script("at-a0", Script::error(500, "no"));
    for _ in 0..6 {
        assert_eq!(words(call(&pair.gateway, "m0", false).await).await, "from b");
    }
    assert_eq!(pair.a.ledger().for_model("at-a0").len(), 2);
    assert_eq!(pair.gateway.metric("tollgate_target_up", "provider=\"a\""), 0.0);
}

/// One request at a time tests whether the target is back, and the first word of its answer is enough to know.
#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_breaker_closes_at_the_probes_first_word() {
    let pair = Pair::start(1, ", breaker: {consecutive_failures: 2, open: 100ms}", "");
    let failing = || Script::error(500, "no");
    let probe = Script::steps([Step::Gate, Step::text("I am. "), Step::Gate, Step::text("Back. ")]);
    pair.a.sequence("at-a0", [failing(), failing(), probe, Script::says(["from a"])]);
    for _ in 0..2 {
        assert_eq!(words(call(&pair.gateway, "m0", false).await).await, "from b");
    }
    let gate = pair.a.gate("at-a0");
    let mut events = loop {
        let mut asked = Box::pin(call(&pair.gateway, "m0", true));
        tokio::select! {
            answer = &mut asked => assert_eq!(words(answer).await, "from b"), // still open
            there = gate.reached(0, PATIENCE) => {
                assert!(there);
                assert_eq!(words(call(&pair.gateway, "m0", false).await).await, "from b", "one probe is enough");
                gate.open(1);
                break Events::of(asked.await);
            }
        }
    };
    assert_eq!(events.text().await.as_deref(), Some("I am. "));
    assert_eq!(words(call(&pair.gateway, "m0", false).await).await, "from a");
    gate.open(2);
    assert_eq!(events.text().await.as_deref(), Some("Back. "));
    assert_eq!(pair.a.ledger().for_model("at-a0").len(), 4);
}

/// One provider with two equal hosts.
fn hosts(a: &Fake, b: &Fake) -> Gateway {
    let rest = "
providers: [{id: gpu, kind: vllm, base_urls: [\"${A}\", \"${B}\"], health: {enabled: false}}]
models: [{name: \"*\", targets: [{provider: gpu}]}]
";
    Gateway::start(&format!("{HEAD}{rest}"), &[("A", &a.url()), ("B", &b.url())])
}

async fn has_open(fake: &Fake) {
    let open = |entries: &[Entry]| entries.iter().any(|entry| entry.outcome == Outcome::Open);
    fake.ledger().until(PATIENCE, open).await.expect("a request in flight");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_killed_under_plain_calls_fails_none_of_them() {
    let (mut a, b) = (fake(), fake());
    let gateway = hosts(&a, &b);
    let client = client();
    let each = 25 * load();
    let callers = (0..8).map(|_| {
        let (client, url) = (client.clone(), gateway.url(CHAT));
        tokio::spawn(async move {
            for _ in 0..each {
                let sent = client.post(&url).json(&chat("words:4:5ms", "Hi", false)).send().await;
                let _ = words(sent.expect("answered")).await;
            }
        })
    });
    let callers: Vec<_> = callers.collect();
    a.ledger().until(PATIENCE, |entries| entries.len() >= 20).await.expect("under load");
    has_open(&a).await;
    a.kill();
    for caller in callers {
        caller.await.expect("no call failed");
    }
    assert!(a.ledger().totals().killed >= 1, "the kill hit nothing");
    assert!(gateway.metric("tollgate_failovers_total", "") >= 1.0);
    let calls = 8 * each;
    let events = gateway.events(calls);
    assert_eq!(events.len(), calls);
    assert!(events.iter().all(|event| event["status"] == "success"));
    // What was handed over at the moment of the kill may not have arrived, and was asked for again.
    let served = a.ledger().totals().served + b.ledger().totals().served;
    let attempts: usize = events.iter().filter_map(|event| event["attempts"].as_array()).map(Vec::len).sum();
    assert!((calls as u64..=attempts as u64).contains(&served), "{served} served in {attempts} attempts");
    let killed = a.ledger().totals().killed;
    hit(&[
        ("calls", calls as u64),
        ("in_flight_at_the_kill", killed),
        ("second_attempts", (attempts - calls) as u64),
        ("failed", 0),
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_killed_under_streams_ends_each_of_its_streams_in_an_error() {
    let (mut a, b) = (fake(), fake());
    let gateway = hosts(&a, &b);
    for fake in [&a, &b] {
        fake.script("m", Script::gated(["One. ", "Two. "]));
    }
    let mut streams = Vec::new();
    let count = 20 * load();
    for _ in 0..count {
        let mut events = Events::of(call(&gateway, "m", true).await);
        assert_eq!(events.text().await.as_deref(), Some("One. "));
        streams.push(events);
    }
    a.kill();
    b.gate("m").open_all();
    let mut broken = 0;
    for mut events in streams {
        let (seen, _) = events.rest().await;
        let last = seen.last().expect("an end");
        if last != "data: [DONE]" {
            assert!(last.contains("UPSTREAM_ERROR"), "{seen:?}");
            assert!(!seen.iter().any(|event| event.contains("[DONE]") || event.contains("Two")), "{seen:?}");
            broken += 1;
        }
    }
    assert!(broken >= 1);
    assert_eq!(a.ledger().totals().killed, broken);
    let errors = gateway.events(count).iter().filter(|event| event["status"] == "error").count() as u64;
    assert_eq!(errors, broken);
    hit(&[("streams", count as u64), ("broken_and_told_so", broken), ("broken_with_a_clean_end", 0)]);
}

/// The client's list, the audit trail and the upstreams' ledgers tell the same.
#[tokio::test(flavor = "multi_thread")]
async fn three_sources_agree_on_calls_and_tokens() {
    let pair = Pair::start(3, "", PATIENT);
    for n in 0..3 {
        pair.b.script(&format!("at-b{n}"), Script::says(["from b"]).tokens(20 + n, 2));
    }
    pair.a.script("at-a0", Script::says(["from a"]).tokens(7, 3));
    pair.a.script("at-a1", Script::error(503, "no"));
    pair.a.script("at-a2", Script::error_event("no"));
    let mut asked = Vec::new();
    for n in 0..30 {
        let (model, stream) = (n % 3, n % 2 == 0 || n % 3 == 2);
        let answer = call(&pair.gateway, &format!("m{model}"), stream).await;
        let id = answer.headers()["x-request-id"].to_str().expect("text").to_owned();
        let said = words(answer).await;
        assert_eq!(said, if model == 0 { "from a" } else { "from b" });
        asked.push(id);
    }
    let events = pair.gateway.events(asked.len());
    let recorded: Vec<_> = events.iter().map(|event| event["request_id"].as_str().expect("text")).collect();
    assert_eq!(recorded, asked);
    let sum = |kind: &str| events.iter().filter_map(|event| event["tokens"][kind].as_u64()).sum::<u64>();
    let (a, b) = (pair.a.ledger().totals(), pair.b.ledger().totals());
    assert_eq!(sum("input"), a.reported.input + b.reported.input);
    assert_eq!(sum("output"), a.reported.output + b.reported.output);
    let attempts: usize = events.iter().filter_map(|event| event["attempts"].as_array()).map(Vec::len).sum();
    assert_eq!(attempts as u64, a.requests + b.requests);
    let counted = pair.gateway.metric("tollgate_tokens_total", "direction=\"output\"");
    assert_eq!(counted, sum("output") as f64);
}
