//! Guardrails at the request's side: what is refused, what is masked, for whom, and that nothing of it shows anywhere.

use serde_json::{Value, json};
use tollgate_fake_upstream::{Fake, Fault, Options, Script, Step};

use crate::harness::{Gateway, KEY, ONE_UPSTREAM, chat, client, in_front_of_fake};

const CHAT: &str = "/v1/chat/completions";
pub(crate) const EMAIL: &str = "alice.planted@corp-secret.com";
pub(crate) const CARD: &str = "4111 1111 1111 1111";
const TOKEN: &str = "ghp_q8Zr2LmX0vT5bNc7KpWd3HsYfJ6gRa1uEo9i";

pub(crate) async fn ask(gateway: &Gateway, path: &str, body: &Value) -> (u16, Value) {
    let answer = client().post(gateway.url(path)).json(body).send().await.expect("answered");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

/// The last body that was passed on.
pub(crate) fn sent(fake: &Fake) -> Value {
    let entries = fake.ledger().entries();
    let last = entries.iter().rfind(|entry| entry.method == "POST").expect("passed on");
    serde_json::from_slice(&last.body).expect("JSON")
}

pub(crate) fn passed_on(fake: &Fake) -> usize {
    fake.ledger().entries().iter().filter(|entry| entry.method == "POST").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_where_and_what_to_do_but_not_the_value() {
    let (fake, gateway) = in_front_of_fake(ONE_UPSTREAM);
    let body = json!({"model": "m", "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": format!("Mail {EMAIL} about {CARD}, please.")},
    ]});
    let (status, answer) = ask(&gateway, CHAT, &body).await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("PII_DETECTED")));
    let message = answer["error"]["message"].as_str().expect("text");
    assert!(message.contains("messages[1].content"), "which message: {message}");
    assert!(message.contains("placeholder"), "how to go on: {message}");
    let details = answer["error"]["details"].as_array().expect("a list");
    let kinds: Vec<_> = details.iter().map(|detail| detail["type"].as_str().expect("a kind")).collect();
    assert_eq!(kinds, ["email", "credit_card"]);
    for detail in details {
        assert_eq!(detail["location"], "messages[1].content");
        let value = detail["value"].as_str().expect("masked");
        assert!(!EMAIL.contains(value) && !CARD.contains(value), "{value}");
    }
    let (status, answer) = ask(&gateway, CHAT, &chat("m", &format!("My token: {TOKEN}"), false)).await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("SECRET_DETECTED")));
    assert_eq!(passed_on(&fake), 0);

    let events = gateway.events(2);
    assert_eq!((&events[0]["status"], &events[0]["code"]), (&json!("blocked"), &json!("PII_DETECTED")));
    for (kind, count) in [("email", 1.0), ("credit_card", 1.0), ("secret", 1.0)] {
        let labels = format!("kind=\"{kind}\"");
        assert_eq!(gateway.metric("tollgate_findings_total", &labels), count, "{kind}");
        let found: u64 = events
            .iter()
            .flat_map(|event| event["findings"].as_array().cloned().unwrap_or_default())
            .filter(|finding| finding["kind"] == kind && finding["action"] == "block")
            .map(|finding| finding["count"].as_u64().expect("a number"))
            .sum();
        assert_eq!(found as f64, count, "{kind} in the audit trail");
    }
}

/// A block looks at what is new; the same value in history is masked, so that one mistake does not end a conversation for good.
#[tokio::test(flavor = "multi_thread")]
async fn history_is_masked_where_the_present_is_blocked() {
    let (fake, gateway) = in_front_of_fake(ONE_UPSTREAM);
    let body = json!({"model": "m", "messages": [
        {"role": "user", "content": format!("I am {EMAIL}")},
        {"role": "assistant", "content": format!("Hello {EMAIL}, and bob@corp-secret.com")},
        {"role": "user", "content": "What did I say?"},
    ]});
    assert_eq!(ask(&gateway, CHAT, &body).await.0, 200);
    let sent = sent(&fake);
    assert_eq!(sent["messages"][0]["content"], "I am [EMAIL_1]");
    assert_eq!(sent["messages"][1]["content"], "Hello [EMAIL_1], and [EMAIL_2]");
    assert_eq!(sent["messages"][2]["content"], "What did I say?");
}

/// Decoded text is scanned: whatever JSON spelling a value has, it is found.
#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_hides_a_value() {
    let (fake, gateway) = in_front_of_fake(ONE_UPSTREAM);
    let all: String = EMAIL.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    let upper: String = EMAIL.bytes().map(|byte| format!("\\u{byte:04X}")).collect();
    let spellings = [EMAIL.replace('@', "\\u0040"), EMAIL.replace('.', "\\u002e"), all, upper];
    for spelling in spellings {
        for key in ["content", "conten\\u0074"] {
            let body = format!(r#"{{"model":"m","messages":[{{"role":"user","{key}":"I am {spelling}"}}]}}"#);
            let answer = client().post(gateway.url(CHAT)).body(body).send().await.expect("answered");
            assert_eq!(answer.status(), 400, "{key}: {spelling}");
        }
    }
    // In arguments, a JSON text within a JSON text: escaped twice.
    let nested = EMAIL.replace('@', "\\\\u0040");
    let body = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":"go"}},{{"role":"assistant","tool_calls":[{{"id":"1","type":"function","function":{{"name":"f","arguments":"{{\"to\":\"{nested}\"}}"}}}}]}},{{"role":"tool","tool_call_id":"1","content":"done"}}]}}"#
    );
    let answer = client().post(gateway.url(CHAT)).body(body).send().await.expect("answered");
    if answer.status() == 200 {
        let arguments = sent(&fake)["messages"][1]["tool_calls"][0]["function"]["arguments"].clone();
        let inner: Value = serde_json::from_str(arguments.as_str().expect("text")).expect("still JSON");
        assert_eq!(inner["to"], "email-1@masked.invalid");
    } else {
        assert_eq!(answer.status(), 400);
    }
}

/// Masks everywhere, so that each field shows where the value went.
const MASKS: &str = r#"
providers: [{id: up, kind: vllm, base_urls: ["${UPSTREAM}"]}]
models: [{name: "*", targets: [{provider: up}]}]
guardrails: {profile: chat}
"#;

/// Every field in which a text can hide: nothing of the value reaches the upstream.
#[tokio::test(flavor = "multi_thread")]
async fn every_field_is_looked_at() {
    let (fake, gateway) = in_front_of_fake(MASKS);
    let function = |arguments: String| json!({"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}});
    let said = |message: Value| json!({"model": "m", "messages": [message]});
    let v = format!("ask {EMAIL} now");
    let cases: Vec<(&str, &str, Value)> = vec![
        ("system", CHAT, said(json!({"role": "system", "content": v}))),
        ("developer", CHAT, said(json!({"role": "developer", "content": v}))),
        ("user", CHAT, said(json!({"role": "user", "content": v}))),
        ("a text part", CHAT, said(json!({"role": "user", "content": [{"type": "text", "text": v}]}))),
        (
            "a refusal",
            CHAT,
            said(json!({"role": "assistant", "content": [{"type": "refusal", "refusal": v}]})),
        ),
        (
            "a tool call",
            CHAT,
            said(json!({"role": "assistant", "tool_calls": [function(json!({"to": v}).to_string())]})),
        ),
        ("a tool's result", CHAT, said(json!({"role": "tool", "tool_call_id": "1", "content": v}))),
        ("a message's name", CHAT, said(json!({"role": "user", "name": EMAIL, "content": "Hi"}))),
        (
            "a tool's description",
            CHAT,
            json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}],
            "tools": [{"type": "function", "function": {"name": "f", "description": v, "parameters": {"type": "object"}}}]}),
        ),
        (
            "a schema",
            CHAT,
            json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}],
            "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object", "description": v}}}}),
        ),
        ("prompt", "/v1/completions", json!({"model": "m", "prompt": v})),
        ("prompts", "/v1/completions", json!({"model": "m", "prompt": ["Hi", v]})),
        ("suffix", "/v1/completions", json!({"model": "m", "prompt": "Hi", "suffix": v})),
        ("input", "/v1/embeddings", json!({"model": "m", "input": v})),
        ("inputs", "/v1/embeddings", json!({"model": "m", "input": ["Hi", v]})),
        ("responses: input", "/v1/responses", json!({"model": "m", "input": v})),
        (
            "responses: an item",
            "/v1/responses",
            json!({"model": "m", "input": [{"role": "user", "content": [{"type": "input_text", "text": v}]}]}),
        ),
        ("responses: instructions", "/v1/responses", json!({"model": "m", "input": "Hi", "instructions": v})),
        (
            "responses: a tool's output",
            "/v1/responses",
            json!({"model": "m", "input": [{"type": "function_call_output", "call_id": "1", "output": v}]}),
        ),
        (
            "messages: user",
            "/v1/messages",
            json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": v}]}),
        ),
        (
            "messages: a block",
            "/v1/messages",
            json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [{"type": "text", "text": v}]}]}),
        ),
        (
            "messages: system",
            "/v1/messages",
            json!({"model": "m", "max_tokens": 9, "system": v, "messages": [{"role": "user", "content": "Hi"}]}),
        ),
        (
            "messages: the second block of system",
            "/v1/messages",
            json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}],
            "system": [{"type": "text", "text": "first"}, {"type": "text", "text": v}]}),
        ),
        (
            "messages: a tool's result",
            "/v1/messages",
            json!({"model": "m", "max_tokens": 9, "messages": [
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": v}]}]}),
        ),
        (
            "messages: a tool's input",
            "/v1/messages",
            json!({"model": "m", "max_tokens": 9, "messages": [
            {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {"to": v}}]}, {"role": "user", "content": "Hi"}]}),
        ),
    ];
    let mut wrong = Vec::new();
    for (name, path, body) in &cases {
        let before = passed_on(&fake);
        let (status, answer) = ask(&gateway, path, body).await;
        if passed_on(&fake) == before {
            wrong.push(format!("{name}: {status} {answer}"));
            continue;
        }
        let sent = sent(&fake).to_string();
        let masked = sent.contains("[EMAIL_1]") || sent.contains("email-1@masked.invalid");
        if sent.contains("planted") || !masked {
            wrong.push(format!("{name}: {sent}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // A coding agent's first block of `system` must arrive as it is: it is looked at, and never rewritten.
    let system = json!([{"type": "text", "text": v}]);
    let body = json!({"model": "m", "max_tokens": 9, "system": system, "messages": [{"role": "user", "content": "Hi"}]});
    assert_eq!(ask(&gateway, "/v1/messages", &body).await.0, 200);
    assert_eq!(sent(&fake)["system"], system);
    assert_eq!(gateway.metric("tollgate_findings_total", "action=\"log\",direction=\"request\""), 1.0);
    // Ids are never a reason to do anything.
    let mut body = chat("m", "Hi", false);
    body["user"] = json!(EMAIL);
    body["metadata"] = json!({"session": EMAIL});
    assert_eq!(ask(&gateway, CHAT, &body).await.0, 200);
    assert_eq!(sent(&fake)["user"], EMAIL);
}

const OVERRIDES: &str = r#"
listeners: [{address: "${LISTEN}"}]
admin: {address: "${ADMIN}"}
state_dir: "${STATE_DIR}"
organizations:
  - id: acme
    applications:
      - {id: chat, keys: [{id: dev, key: "${TOLLGATE_KEY}"}, {id: trusted, key: "${TRUSTED}"}]}
      - {id: ops, keys: [{id: ops, key: "${OPS}"}]}
providers: [{id: up, kind: vllm, base_urls: ["${UPSTREAM}"]}]
models: [{name: "*", targets: [{provider: up}]}]
guardrails:
  profile: strict
  overrides:
    - {only: {application: chat}, kind: email, action: mask}
    - {only: {key: trusted}, kind: email, action: log}
    - {only: {application: ops}, kind: secret, direction: request, action: mask}
"#;

/// The narrowest override wins, and says nothing about other kinds or other callers.
#[tokio::test(flavor = "multi_thread")]
async fn overrides_are_for_those_they_name() {
    let trusted = "tg_trusted_11223456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let ops = "tg_ops_22223456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let fake = Fake::start(Options::default()).expect("starts");
    let gateway = Gateway::start(OVERRIDES, &[("UPSTREAM", &fake.url()), ("TRUSTED", trusted), ("OPS", ops)]);
    let say = async |key: &str, text: &str| {
        let request = reqwest::Client::new().post(gateway.url(CHAT)).bearer_auth(key);
        let status = request.json(&chat("m", text, false)).send().await.expect("answered").status().as_u16();
        (status, (status == 200).then(|| sent(&fake)["messages"][0]["content"].clone()))
    };
    assert_eq!(say(KEY, EMAIL).await, (200, Some(json!("[EMAIL_1]"))));
    assert_eq!(say(KEY, CARD).await.0, 400);
    assert_eq!(say(trusted, EMAIL).await, (200, Some(json!(EMAIL))));
    assert_eq!(say(trusted, CARD).await.0, 400);
    assert_eq!(say(ops, EMAIL).await.0, 400);
    assert_eq!(say(ops, TOKEN).await, (200, Some(json!("[SECRET_1]"))));
    assert_eq!(gateway.metric("tollgate_findings_total", "action=\"log\",direction=\"request\""), 1.0);
}

/// HTML entities and percent codes are looked through as configured, in requests and in streams cut anywhere; what is masked are
/// the bytes as they were written, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn escapes_are_looked_through_where_configured() {
    let written = [EMAIL.replace('@', "%40"), EMAIL.replace('@', "&#64;").replace('.', "&period;")];
    let said = format!("See ?a=1%20&to={}&b=50% or {} now.", written[0], written[1]);
    let ask_both = async |guardrails: &str| {
        let yaml = ONE_UPSTREAM.replace("{profile: strict}", guardrails);
        let (fake, gateway) = in_front_of_fake(&yaml);
        fake.script("m", Script::says(said.chars().map(String::from).collect::<Vec<_>>()));
        let request = ask(&gateway, CHAT, &chat("m", &said, false)).await.0;
        let answer = ask(&gateway, CHAT, &chat("m", "Hi", false)).await.1;
        let streamed = client().post(gateway.url(CHAT)).json(&chat("m", "Hi", true)).send().await;
        let stream = streamed.expect("answered").text().await.expect("whole");
        let deltas = stream
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
        let text: String = deltas
            .filter_map(|event| Some(event["choices"][0]["delta"]["content"].as_str()?.to_owned()))
            .collect();
        (request, answer["choices"][0]["message"]["content"].clone(), text)
    };
    let masked = "See ?a=1%20&to=[EMAIL_1]&b=50% or [EMAIL_1] now.";
    assert_eq!(ask_both("{profile: strict}").await, (400, json!(masked), masked.to_owned()));
    assert_eq!(ask_both("{profile: strict, decode: []}").await, (200, json!(said), said.clone()));
    let percent = ask_both("{profile: chat, decode: [percent]}").await;
    let expect = format!("See ?a=1%20&to=[EMAIL_1]&b=50% or {} now.", written[1]);
    assert_eq!(percent, (200, json!(expect), expect.clone()));
}

/// Profile `chat`: the caller knows what it has just said, so it stands in the answer; what it has not said is masked.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_caller_said_may_come_back() {
    let yaml = MASKS.replace(
        "{profile: chat}",
        "{profile: chat, overrides: [{kind: email, direction: request, action: log}]}",
    );
    let (fake, gateway) = in_front_of_fake(&yaml);
    fake.script("m", Script::says([format!("You are {EMAIL}, not bob@corp-secret.com.")]));
    let (status, answer) = ask(&gateway, CHAT, &chat("m", &format!("I am {EMAIL}"), false)).await;
    assert_eq!(status, 200);
    let text = answer["choices"][0]["message"]["content"].as_str().expect("text");
    assert!(text.starts_with(&format!("You are {EMAIL}, not [EMAIL_")), "{text}");
    let (_, answer) = ask(&gateway, CHAT, &chat("m", "Who am I?", false)).await;
    assert!(!answer.to_string().contains("planted"), "{answer}");
}

/// Log, metrics, audit trail, its files, the state folder: none holds a planted value or the key.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_planted_is_found_anywhere() {
    let (fake, gateway) = in_front_of_fake(&format!("{MASKS}telemetry: {{level: trace}}\n"));
    fake.script("m", Script::says(["It is ", "4111 1111 ", "1111 1111", " and ", TOKEN]));
    for stream in [false, true] {
        let body = chat("m", &format!("I am {EMAIL}, {CARD}, {TOKEN}"), stream);
        let answer = client().post(gateway.url(CHAT)).json(&body).send().await.expect("answered");
        assert_eq!(answer.status(), 200);
        let text = answer.text().await.expect("whole");
        assert!(!text.contains("planted") || stream, "the answer says nothing of it: {text}");
    }
    // Upstreams quote the prompt in their errors: before, in the midst of, and instead of an answer.
    let quoted = format!("Cannot say {EMAIL}, {CARD}, {TOKEN}");
    let midst = Script::says(["It is "]).then(Step::Error(quoted.clone()));
    let broken =
        Script::raw(200, "application/json", format!("{{\"error\": \"{quoted}\", ")).cut(40, Fault::Close);
    let failing = [
        Script::error_event(&*quoted),
        midst,
        Script::error(500, &*quoted),
        Script::error(400, &*quoted),
        broken,
    ];
    let failures = failing.len();
    for (n, script) in failing.into_iter().enumerate() {
        let model = format!("failing{n}");
        fake.script(&model, script);
        let answer = client().post(gateway.url(CHAT)).json(&chat(&model, "Hi", n < 2)).send().await;
        let _ = answer.expect("answered").bytes().await;
        assert_eq!(fake.ledger().for_model(&model).len(), 1, "it has failed");
    }
    let bad =
        json!({"model": "m", "messages": [{"role": "user", "content": EMAIL, "content ": 1}], "n": EMAIL});
    let _ = ask(&gateway, CHAT, &bad).await;
    let strict =
        reqwest::Client::new().post(gateway.url(CHAT)).bearer_auth(KEY.replace("ef", "fe")).json(&bad);
    assert_eq!(strict.send().await.expect("answered").status(), 401);
    let events = gateway.events(4 + failures);
    let (_, page) =
        (0, reqwest::get(gateway.admin_url("/metrics")).await.expect("answered").text().await.expect("text"));
    let mut places = vec![
        ("the log".to_owned(), gateway.log().join("\n").into_bytes()),
        ("the audit trail".to_owned(), serde_json::to_vec(&events).expect("JSON")),
        ("the metrics".to_owned(), page.into_bytes()),
    ];
    collect(&gateway.dir.path().join("state"), &mut places);
    assert!(places.len() > 4, "the state folder has files");
    let secret = KEY.rsplit('_').next().expect("a part");
    let wrong = secret.replace("ef", "fe");
    for (place, bytes) in places {
        for planted in ["planted", "1111 1111", "q8Zr2LmX0vT5bNc7KpWd", secret, &wrong] {
            let holds = bytes.windows(planted.len()).any(|window| window == planted.as_bytes());
            assert!(!holds, "{planted} is in {place}");
        }
    }
}

fn collect(folder: &std::path::Path, places: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.ends_with("spool") {
            continue; // compressed: what is in it is in the audit trail, too, which was read
        }
        if path.is_dir() {
            collect(&path, places);
        } else if let Ok(bytes) = std::fs::read(&path) {
            places.push((path.display().to_string(), bytes));
        }
    }
}

/// The key of a gateway is a secret like any other: pasted into a prompt, it is not sent on.
#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_own_keys_are_secrets() {
    let (fake, gateway) = in_front_of_fake(ONE_UPSTREAM);
    let random = "tg_dev_q8Zr2LmX0vT5bNc7KpWd3HsYfJ6gRa1uEo9iQtBw4xM";
    assert_eq!(ask(&gateway, CHAT, &chat("m", &format!("use {random}"), false)).await.0, 400);
    assert_eq!(passed_on(&fake), 0);
}

/// A block looks at the last user message and the tool results after it; the refused message, sent again as history, is masked.
#[tokio::test(flavor = "multi_thread")]
async fn one_mistake_does_not_end_a_conversation() {
    let (fake, gateway) = in_front_of_fake(ONE_UPSTREAM);
    let mistake = json!({"role": "user", "content": format!("I am {EMAIL}")});
    let call = json!({"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    let result = |text: &str| json!({"role": "tool", "tool_call_id": "1", "content": text});
    let ask_with =
        async |messages: &[&Value]| ask(&gateway, CHAT, &json!({"model": "m", "messages": messages})).await;
    let (status, answer) = ask_with(&[&mistake]).await;
    assert_eq!((status, &answer["error"]["param"]), (400, &json!("messages[0].content")));
    let sorry = json!({"role": "user", "content": "Sorry, without it then."});
    assert_eq!(ask_with(&[&mistake, &sorry]).await.0, 200);
    assert_eq!(sent(&fake)["messages"][0]["content"], "I am [EMAIL_1]");
    // A tool's result after it is new; before it, it is history.
    let (status, answer) = ask_with(&[&mistake, &sorry, &call, &result(EMAIL)]).await;
    assert_eq!((status, &answer["error"]["param"]), (400, &json!("messages[3].content")));
    let message = answer["error"]["message"].as_str().expect("text");
    assert!(
        message.contains("tool") && message.contains("The rest of the conversation can stay."),
        "{message}"
    );
    assert_eq!(ask_with(&[&sorry, &call, &result(EMAIL), &sorry]).await.0, 200);
    assert_eq!(sent(&fake)["messages"][2]["content"], "[EMAIL_1]");
}

/// Images in base64 are neither scanned nor touched; signed thinking in history passes byte by byte, and is recorded.
#[tokio::test(flavor = "multi_thread")]
async fn images_and_signed_thinking_pass_as_they_are() {
    let yaml = MASKS.replace("kind: vllm", "kind: vllm, messages: true");
    let (fake, gateway) = in_front_of_fake(&yaml);
    let image = format!(
        "data:image/png;base64,{}",
        "4111111111111111ghp+q8Zr2LmX0vT5bNc7KpWd3HsYfJ6gRa1uEo9i".repeat(50)
    );
    let body = json!({"model": "m", "messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": image}}, {"type": "text", "text": "What is it?"}]}]});
    assert_eq!(ask(&gateway, CHAT, &body).await.0, 200);
    assert_eq!(sent(&fake)["messages"], body["messages"]);
    // Only the text was read.
    assert_eq!(
        gateway.metric("tollgate_scanned_bytes_total", "direction=\"request\""),
        "What is it?".len() as f64
    );
    assert_eq!(gateway.metric("tollgate_findings_total", "direction=\"request\""), 0.0);

    let thought = format!("The user is {EMAIL}.");
    let thinking = json!({"type": "thinking", "thinking": thought, "signature": "c2lnbmVk"});
    let body = json!({"model": "m", "max_tokens": 9, "messages": [
        {"role": "user", "content": format!("I am {EMAIL}")},
        {"role": "assistant", "content": [thinking, {"type": "text", "text": format!("Hello {EMAIL}")}]},
        {"role": "user", "content": "Go on"}]});
    assert_eq!(ask(&gateway, "/v1/messages", &body).await.0, 200);
    let messages = sent(&fake)["messages"].clone();
    assert_eq!(messages[1]["content"][0], thinking);
    assert_eq!(messages[1]["content"][1]["text"], "Hello [EMAIL_1]");
    let event = &gateway.events(2)[1];
    let logged =
        event["findings"].as_array().expect("some").iter().find(|finding| finding["action"] == "log");
    assert_eq!(logged.expect("recorded")["location"], "messages[1].content[0].thinking", "{event}");

    // In an answer it cannot be masked: the answer is blocked instead, and nothing of it leaves.
    let answer = json!({"id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
        "stop_sequence": null, "usage": {"input_tokens": 1, "output_tokens": 1}, "content": [
        {"type": "thinking", "thinking": "It is bob@corp-secret.com.", "signature": "c2ln"}, {"type": "text", "text": "Hi"}]});
    fake.script("t", Script::json(200, answer));
    let body = json!({"model": "t", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]});
    let (status, got) = ask(&gateway, "/v1/messages", &body).await;
    assert_eq!((status, &got["stop_reason"]), (200, &json!("refusal")), "{got}");
    assert!(!got.to_string().contains("bob@"), "{got}");
}
