//! Values go out as keyed stand-ins and come back as themselves.

use serde_json::{Value, json};
use tollgate_fake_upstream::{Script, Step};

use crate::guard::{CARD, EMAIL, ask, sent};
use crate::harness::{Gateway, chat, client, in_front_of_fake};
use crate::streams::{CHAT, SURFACES, open, said};

/// Every surface; what is found is pseudonymised on its way out and masked where it is new in an answer.
fn yaml(more: &str) -> String {
    format!(
        "providers: [{{id: up, kind: vllm, base_urls: [\"${{UPSTREAM}}\"], responses: true, messages: true}}]
models: [{{name: \"*\", targets: [{{provider: up}}]}}]
guardrails:
  profile: strict
  pseudonym_key: \"${{TOLLGATE_KEY}}\"
  overrides:
    - {{kind: email, direction: request, action: pseudonymise}}
    - {{kind: phone, direction: request, action: pseudonymise}}
    - {{kind: credit_card, direction: request, action: pseudonymise}}
{more}"
    )
}

const PHONE: &str = "(415) 222-0199";

/// The body of a surface, with this text in the place of its greeting.
fn says(body: &Value, text: &str) -> Value {
    let quoted = serde_json::to_string(text).expect("JSON");
    serde_json::from_str(&body.to_string().replace("\"Hi\"", &quoted)).expect("JSON")
}

async fn stand_ins(gateway: &Gateway, fake: &tollgate_fake_upstream::Fake, text: &str) -> String {
    assert_eq!(ask(gateway, CHAT, &chat("first", text, false)).await.0, 200);
    sent(fake)["messages"][0]["content"].as_str().expect("text").to_owned()
}

/// Cut at every size, in texts and tool arguments, in capitals and without brackets.
#[tokio::test(flavor = "multi_thread")]
async fn stand_ins_come_back_on_every_surface() {
    let (fake, gateway) = in_front_of_fake(&yaml(""));
    let [mail, phone] = [EMAIL, PHONE].map(|value| value.to_owned());
    let (mail, phone) = (stand_ins(&gateway, &fake, &mail).await, stand_ins(&gateway, &fake, &phone).await);
    assert!(mail.starts_with("u-") && mail.ends_with("@pseudonym.invalid"), "{mail}");
    assert!(phone.starts_with("[PHONE-"), "{phone}");
    let bare = phone.trim_matches(['[', ']']).to_lowercase();
    let upper = mail.to_uppercase();
    let answer = format!("Call {phone} or {bare}, write {upper}. Not mallory@corp-secret.com.");
    let want = format!("Call {PHONE} or {PHONE}, write {EMAIL}. Not [EMAIL_1].");
    let asked = format!("I am {EMAIL}, {PHONE}");
    for (n, (path, body, _)) in SURFACES.into_iter().enumerate() {
        for size in [1, 3, 7] {
            let model = format!("m{n}-{size}");
            let pieces: Vec<String> = answer
                .as_bytes()
                .chunks(size)
                .map(|piece| String::from_utf8_lossy(piece).into_owned())
                .collect();
            let mut script = Script::says(pieces);
            let tools = path != "/v1/completions";
            if tools {
                let arguments = json!({"to": mail, "call": bare}).to_string();
                let (first, rest) = arguments.split_at(9 + size);
                script = script.then(Step::tool(0, "call_1", "send", first)).then(Step::arguments(0, rest));
            }
            fake.script(&model, script);
            let (seen, clean) = open(&gateway, path, &says(&body(&model), &asked)).await.rest().await;
            assert!(clean);
            let (text, arguments) = said(&seen);
            assert_eq!(text, want, "{path} in pieces of {size}");
            if tools {
                let arguments: Value = serde_json::from_str(&arguments).expect("still JSON");
                assert_eq!(arguments, json!({"to": EMAIL, "call": PHONE}), "{path}");
            }
            assert!(!sent(&fake).to_string().contains("planted"), "{path}");
        }
        // The same in one piece.
        let mut body = says(&body(&format!("m{n}-1")), &asked);
        body["stream"] = json!(false);
        let (status, whole) = ask(&gateway, path, &body).await;
        assert_eq!(status, 200);
        assert!(whole.to_string().contains(&want), "{path}: {whole}");
        assert!(!whole.to_string().contains("pseudonym.invalid"), "{path}: {whole}");
    }
    for event in gateway.events(2 + 4 * 4) {
        let text = event.to_string();
        assert!(!text.contains("planted") && !text.contains("222-0199"), "{text}");
        assert!(
            event["response"].to_string().contains("pseudonym.invalid") || text.contains("PHONE-"),
            "{text}"
        );
    }
}

/// Nothing else is looked for in answers: what went out comes back all the same.
#[tokio::test(flavor = "multi_thread")]
async fn stand_ins_come_back_where_answers_are_not_scanned() {
    let kinds = ["email", "phone", "ssn", "credit_card", "ip_address", "iban", "secret"];
    let off: String = kinds
        .into_iter()
        .map(|kind| {
            format!("    - {{kind: {kind}, direction: answer, action: off, only: {{application: chat}}}}\n")
        })
        .collect();
    let (fake, gateway) = in_front_of_fake(&yaml(&off));
    let phone = stand_ins(&gateway, &fake, PHONE).await;
    fake.script("m", Script::says([format!("It is {phone}.")]).recut(5));
    for stream in [false, true] {
        let answer = client().post(gateway.url(CHAT)).json(&chat("m", PHONE, stream)).send().await;
        let text = answer.expect("answered").text().await.expect("whole");
        assert!(stream || text.contains(PHONE), "{text}");
        assert!(!text.contains("PHONE"), "{text}");
    }
}

/// The next turn carries the originals again, and the same stand-ins go out: in history, in a tool's arguments, in its result.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_has_one_stand_in_through_a_conversation() {
    let (fake, gateway) = in_front_of_fake(&yaml(""));
    let mail = stand_ins(&gateway, &fake, EMAIL).await;
    let body = json!({"model": "m", "messages": [
        {"role": "user", "content": format!("I am {EMAIL}")},
        {"role": "assistant", "content": format!("Hello {}", EMAIL.to_uppercase()), "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "f", "arguments": json!({"to": EMAIL}).to_string()}}]},
        {"role": "tool", "tool_call_id": "1", "content": json!({"sent_to": [EMAIL]}).to_string()},
    ]});
    assert_eq!(ask(&gateway, CHAT, &body).await.0, 200);
    let messages = sent(&fake)["messages"].clone();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    assert_eq!(text(&messages[0]["content"]), format!("I am {mail}"));
    assert_eq!(text(&messages[1]["content"]), format!("Hello {mail}"));
    let arguments = text(&messages[1]["tool_calls"][0]["function"]["arguments"]);
    assert_eq!(serde_json::from_str::<Value>(&arguments).expect("JSON"), json!({"to": mail}));
    assert_eq!(
        serde_json::from_str::<Value>(&text(&messages[2]["content"])).expect("JSON"),
        json!({"sent_to": [mail]})
    );
    let event = &gateway.events(2)[1];
    assert!(event["decisions"].as_array().expect("some").iter().any(|one| one["outcome"] == "pseudonymised"));
    // The prompt in the audit trail shows stand-ins.
    assert!(event["prompt"].to_string().contains(&mail), "{event}");
}

/// Only where they are asked for; and a model may group them as it likes.
#[tokio::test(flavor = "multi_thread")]
async fn look_alikes_go_out_where_they_are_asked_for() {
    let (fake, gateway) = in_front_of_fake(&yaml("  look_alike: [credit_card, phone]\n"));
    let card = stand_ins(&gateway, &fake, CARD).await;
    let phone = stand_ins(&gateway, &fake, PHONE).await;
    assert!(card.starts_with("4000 00") && card.len() == CARD.len(), "{card}");
    assert!(phone.contains(") 555-01"), "{phone}");
    fake.script("m", Script::says([format!("Card {}, call {phone}.", card.replace(' ', "-"))]).recut(3));
    let body = chat("m", &format!("{CARD} and {PHONE}"), true);
    let (seen, _) = open(&gateway, CHAT, &body).await.rest().await;
    assert_eq!(said(&seen).0, format!("Card {CARD}, call {PHONE}."));
}

/// Signed thinking is never changed: its stand-ins stay, and are no reason to block.
#[tokio::test(flavor = "multi_thread")]
async fn stand_ins_in_signed_thinking_stay() {
    let (fake, gateway) = in_front_of_fake(&yaml(""));
    let mail = stand_ins(&gateway, &fake, EMAIL).await;
    let answer = json!({"id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
        "stop_sequence": null, "usage": {"input_tokens": 1, "output_tokens": 1}, "content": [
        {"type": "thinking", "thinking": format!("The user is {mail}."), "signature": "c2ln"},
        {"type": "text", "text": format!("You are {mail}.")}]});
    fake.script("m", Script::json(200, answer));
    let body = json!({"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": EMAIL}]});
    let (status, got) = ask(&gateway, "/v1/messages", &body).await;
    assert_eq!(status, 200);
    assert_eq!(got["content"][0]["thinking"], format!("The user is {mail}."));
    assert_eq!(got["content"][1]["text"], format!("You are {EMAIL}."));
}
