//! The audit trail against what clients saw: one event per request, with the content that policy asks for, and a line in the log.

use std::process::Command;

use serde_json::{Value, json};
use tollgate_fake_upstream::{Fake, Fault, Script, Step};

use crate::harness::{Gateway, KEY, ONE_UPSTREAM, binary, chat, client, in_front_of_fake, until};

const CHAT: &str = "/v1/chat/completions";

fn start(rest: &str) -> (Fake, Gateway) {
    in_front_of_fake(&format!("{ONE_UPSTREAM}{rest}\n"))
}

/// The client's own log is the second source: every answer's id and status, exactly once in the trail.
#[tokio::test(flavor = "multi_thread")]
async fn one_event_for_every_request() {
    let (fake, gateway) = start("");
    fake.script("m", Script::says(["Yes"]).tokens(3, 1));
    fake.script("fails", Script::error(400, "no"));
    fake.script("dies", Script::steps([Step::text("One"), Step::Fault(Fault::Close)]));
    let mut seen: Vec<(String, u16, &str)> = Vec::new();
    for _ in 0..3 {
        let cases: [(&str, Value, &str, &str); 9] = [
            (CHAT, chat("m", "Hi", false), KEY, "success"),
            (CHAT, chat("m", "Hi", true), KEY, "success"),
            (CHAT, chat("m", "I am alice@corp.com", false), KEY, "blocked"),
            (CHAT, chat("fails", "Hi", false), KEY, "error"),
            (CHAT, chat("dies", "Hi", false), KEY, "error"),
            (CHAT, chat("dies", "Hi", true), KEY, "error"), // in mid-stream: the client has its 200
            (CHAT, json!({"model": 7}), KEY, "error"),
            ("/v1/nothing", json!({}), KEY, "error"),
            (CHAT, chat("m", "Hi", false), "tg_dev_wrong", "error"),
        ];
        for (path, body, key, status) in cases {
            let request = reqwest::Client::new().post(gateway.url(path)).bearer_auth(key).json(&body);
            let answer = request.send().await.expect("answered");
            let id = answer.headers()["x-request-id"].to_str().expect("text").to_owned();
            seen.push((id, answer.status().as_u16(), status));
            let _ = answer.bytes().await;
        }
    }
    // What only looks leaves none.
    for path in ["/health", "/ready", "/health/ready"] {
        reqwest::get(gateway.url(path)).await.expect("answered");
    }
    client().get(gateway.url("/v1/models")).send().await.expect("answered");
    let events = gateway.events(seen.len());
    assert_eq!(events.len(), seen.len());
    for (id, http_status, status) in seen {
        let mine: Vec<_> = events.iter().filter(|event| event["request_id"] == *id).collect();
        assert_eq!(mine.len(), 1, "{id}");
        assert_eq!(
            (&mine[0]["http_status"], &mine[0]["status"]),
            (&json!(http_status), &json!(status)),
            "{}",
            mine[0]
        );
    }
    let mut numbers: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().expect("a number")).collect();
    numbers.dedup();
    assert_eq!(numbers.len(), events.len(), "every number once");
    assert_eq!(gateway.metric("tollgate_requests_total", "route=\"chat\""), 24.0);
    let tokens: u64 = events.iter().filter_map(|event| event["tokens"]["input"].as_u64()).sum();
    let served: u64 = fake
        .ledger()
        .entries()
        .iter()
        .filter(|e| e.model == "m")
        .filter_map(|e| e.reported)
        .map(|t| t.input)
        .sum();
    let estimated: u64 = events
        .iter()
        .filter(|event| event["tokens"]["estimated"] == true)
        .filter_map(|event| event["tokens"]["input"].as_u64())
        .sum();
    assert_eq!(tokens - estimated, served, "what the upstream counted, each once");
}

/// The prompt and the answer, as policy keeps them.
#[tokio::test(flavor = "multi_thread")]
async fn content_is_off_redacted_or_hashed() {
    let text = |event: &Value, side: &str| event[side]["texts"][0]["text"].as_str().map(str::to_owned);
    let said = "The answer is in the masked.person@corp.com mail";
    let mut digests = Vec::new();
    for (form, key) in [("off", ""), ("redacted", ""), ("hashed", ", hash_key: \"${HASH_KEY}\"")] {
        let fake = Fake::start(tollgate_fake_upstream::Options::default()).expect("starts");
        let yaml = format!("{}{ONE_UPSTREAM}audit: {{content: \"{form}\"{key}}}\n", crate::harness::HEAD);
        let hash_key = "0123456789abcdef0123456789abcdef";
        let gateway = Gateway::start(&yaml, &[("UPSTREAM", &fake.url()), ("HASH_KEY", hash_key)]);
        fake.script("m", Script::says([said]));
        for prompt in ["Tell me.", "Tell me.", "Tell me more."] {
            let answer = client().post(gateway.url(CHAT)).json(&chat("m", prompt, false)).send().await;
            assert_eq!(answer.expect("answered").status(), 200);
        }
        let events = gateway.events(3);
        match form {
            "off" => assert!(events.iter().all(|event| event.get("prompt").is_none_or(Value::is_null)
                && event.get("response").is_none_or(Value::is_null))),
            "redacted" => {
                assert_eq!(
                    text(&events[0], "response").as_deref(),
                    Some("The answer is in the [EMAIL_1] mail")
                );
                assert!(text(&events[0], "prompt").expect("kept").contains("Tell me."));
            }
            _ => {
                assert_eq!(
                    text(&events[0], "prompt"),
                    text(&events[1], "prompt"),
                    "the same text, the same digest"
                );
                assert_ne!(text(&events[0], "prompt"), text(&events[2], "prompt"));
                assert!(!serde_json::to_string(&events).expect("JSON").contains("Tell me"));
                digests.push(text(&events[0], "response"));
            }
        }
    }
    assert!(digests[0].is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_texts_are_cut() {
    let (fake, gateway) = start("audit: {max_text: 64B}");
    fake.script("m", Script::says(["word ".repeat(1000)]));
    let body = chat("m", &"prompt ".repeat(1000), false);
    assert_eq!(client().post(gateway.url(CHAT)).json(&body).send().await.expect("answered").status(), 200);
    let event = &gateway.events(1)[0];
    for side in ["prompt", "response"] {
        let text = event[side]["texts"][0]["text"].as_str().expect("kept");
        assert!((1..=64).contains(&text.len()), "{side}: {} bytes", text.len());
    }
}

/// What the admin listener says of readiness, and why.
async fn readiness(gateway: &Gateway) -> (u16, Value) {
    let answer = reqwest::get(gateway.admin_url("/health/ready")).await.expect("answered");
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.expect("JSON");
    (status, body["checks"].clone())
}

/// What the data listener says of the process, and that the names of the parts can be hidden there.
#[tokio::test(flavor = "multi_thread")]
async fn health_on_the_data_listener() {
    let hidden = crate::harness::HEAD.replace(r#""${ADMIN}"}"#, r#""${ADMIN}", show_checks: false}"#);
    for (head, shown) in [(crate::harness::HEAD, true), (&*hidden, false)] {
        let fake = Fake::start(tollgate_fake_upstream::Options::default()).expect("starts");
        let gateway = Gateway::start(&format!("{head}{ONE_UPSTREAM}"), &[("UPSTREAM", &fake.url())]);
        let ask = async |url: String| {
            let answer = reqwest::get(url).await.expect("answered");
            (answer.status().as_u16(), answer.json::<Value>().await.expect("JSON"))
        };
        for path in ["/health", "/startup", "/ready"] {
            assert_eq!(ask(gateway.url(path)).await, (200, json!({"status": "ok"})), "{path}");
        }
        let all = json!({"status": "ok", "checks": {"process": "ok", "audit": "ok"}});
        let told = if shown { all.clone() } else { json!({"status": "ok"}) };
        assert_eq!(ask(gateway.url("/health/ready")).await, (200, told));
        assert_eq!(
            ask(gateway.admin_url("/health/ready")).await,
            (200, all),
            "the admin listener always names them"
        );
    }
}

/// A full queue: refused before the upstream is called, or served with the gap counted.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_or_drops() {
    for (when_full, refused) in [("refuse", true), ("drop", false)] {
        let (fake, gateway) = start(&format!("audit: {{queue: 1, when_full: {when_full}}}"));
        fake.script("held", Script::gated(["a"]));
        fake.script("m", Script::says(["Yes"]));
        let gate = fake.gate("held");
        let held = tokio::spawn(client().post(gateway.url(CHAT)).json(&chat("held", "Hi", false)).send());
        let there = |entries: &[tollgate_fake_upstream::Entry]| entries.iter().any(|e| e.model == "held");
        fake.ledger().until(crate::harness::PATIENCE, there).await.expect("the first holds the only place");
        let (full, ready) = if refused { ("full", 503) } else { ("ok", 200) };
        assert_eq!(readiness(&gateway).await, (ready, json!({"process": "ok", "audit": full})));
        let answer =
            client().post(gateway.url(CHAT)).json(&chat("m", "Hi", false)).send().await.expect("answered");
        let status = answer.status();
        let body: Value = answer.json().await.expect("JSON");
        if refused {
            assert_eq!((status.as_u16(), &body["error"]["code"]), (503, &json!("AUDIT_UNAVAILABLE")));
            assert!(fake.ledger().for_model("m").is_empty(), "before the upstream is called");
        } else {
            assert_eq!(status, 200);
            let dropped = || {
                (gateway.metric("tollgate_audit_events_total", "outcome=\"dropped\"") >= 1.0).then_some(())
            };
            until(dropped, "the drop is counted");
        }
        gate.open(5);
        assert_eq!(held.await.expect("no panic").expect("answered").status(), 200);
        assert!(gateway.events(1).iter().any(|event| event["model_requested"] == "held"));
        assert_eq!(readiness(&gateway).await, (200, json!({"process": "ok", "audit": "ok"})));
    }
}

/// Who answered and what it cost, in the body: of a plain answer, and of a stream whose caller asked for usage, once.
#[tokio::test(flavor = "multi_thread")]
async fn answers_say_what_they_cost_where_asked() {
    let (fake, gateway) = start("telemetry: {answer_metadata: true}");
    fake.script("gpt-4o", Script::says(["Yes, ", "sir."]).tokens(1000, 100));
    let call = async |body: &Value| {
        let answer = client().post(gateway.url(CHAT)).json(body).send().await.expect("answered");
        answer.text().await.expect("whole")
    };
    let plain: Value = serde_json::from_str(&call(&chat("gpt-4o", "Hi", false)).await).expect("JSON");
    let told = &plain["metadata"];
    assert_eq!((&told["provider"], &told["cost_usd"]), (&json!("up"), &json!(0.0035)), "{plain}");
    assert!(told["latency_ms"].is_u64());
    let mut body = chat("gpt-4o", "Hi", true);
    assert!(!call(&body).await.contains("metadata"), "nobody asked for usage");
    body["stream_options"] = json!({"include_usage": true});
    let stream = call(&body).await;
    let chunks = stream.lines().filter_map(|line| line.strip_prefix("data: {"));
    let chunks = chunks.map(|rest| serde_json::from_str::<Value>(&format!("{{{rest}")).expect("JSON"));
    let told: Vec<_> = chunks.filter(|chunk| !chunk["metadata"].is_null()).collect();
    let [chunk] = &told[..] else { panic!("once: {stream}") };
    assert_eq!((&chunk["usage"]["prompt_tokens"], &chunk["choices"]), (&json!(1000), &json!([])));
    assert_eq!(
        (&chunk["metadata"]["provider"], &chunk["metadata"]["cost_usd"]),
        (&json!("up"), &json!(0.0035))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_one_line_with_the_promised_fields() {
    let (fake, gateway) = start("");
    fake.script("gpt-4o", Script::says(["Yes"]).tokens(1000, 100));
    fake.script("home-made", Script::says(["Yes"]).tokens(1000, 100));
    for model in ["gpt-4o", "home-made"] {
        let answer =
            client().post(gateway.url(CHAT)).json(&chat(model, "Hi", false)).send().await.expect("answered");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers().contains_key("x-tollgate-cost-usd"), model == "gpt-4o");
    }
    let events = gateway.events(2);
    let find = |model: &str| {
        events.iter().find(|event| event["model_requested"] == model).expect("recorded").clone()
    };
    // 2.5 and 10 USD per million tokens.
    assert_eq!(find("gpt-4o")["cost_nano_usd"], 3_500_000);
    assert_eq!(find("home-made")["cost_nano_usd"], Value::Null, "unknown is not free");
    assert_eq!(gateway.metric("tollgate_cost_unknown_total", ""), 1.0);
    let line: Value = serde_json::from_str(&gateway.wait_log("\"gpt-4o\"")).expect("JSON");
    assert_eq!(line["request_id"], find("gpt-4o")["request_id"]);
    let wanted = json!({"org_id": "acme", "app_id": "chat", "model": "gpt-4o", "provider": "up", "tokens_input": 1000, "tokens_output": 100, "cost_usd": 0.0035});
    for (field, value) in wanted.as_object().expect("an object") {
        assert_eq!(&line[field], value, "{field}");
    }
    assert!(line["latency_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{line}");
    let unknown: Value = serde_json::from_str(&gateway.wait_log("\"home-made\"")).expect("JSON");
    assert_eq!(unknown.get("cost_usd"), None);

    let output = Command::new(binary())
        .args(["audit", "tail", "--state-dir"])
        .arg(gateway.dir.path().join("state"))
        .output()
        .expect("the command runs");
    let table = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for word in ["TIME (UTC)", "acme/chat", "gpt-4o > up", "1000/100", "0.0035", "success"] {
        assert!(table.contains(word), "{word} is not in\n{table}");
    }
}
