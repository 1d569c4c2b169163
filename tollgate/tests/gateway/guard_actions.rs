//! What findings lead to besides masks and refusals: where a request may go, what only a shadow decides, ids that are hashed.

use serde_json::{Value, json};
use tollgate_fake_upstream::{Fake, Options, Script};

use crate::guard::{CARD, EMAIL, ask, passed_on, sent};
use crate::harness::{Gateway, HEAD, ONE_UPSTREAM, chat, client, in_front_of_fake};
use crate::streams::{CHAT, said};

/// A host of one's own, and the cloud behind it.
fn house_and_cloud(guardrails: &str) -> (Fake, Fake, Gateway) {
    let start = || Fake::start(Options::default()).expect("the fake upstream starts");
    let (house, cloud) = (start(), start());
    let yaml = format!(
        "{HEAD}
providers:
  - {{id: house, kind: vllm, base_urls: [\"${{HOUSE}}\"], labels: {{on_premises: true}}, health: {{enabled: false}}}}
  - {{id: cloud, kind: openai, base_urls: [\"${{CLOUD}}\"], api_key: \"${{CLOUD_KEY}}\", health: {{enabled: false}}}}
models: [{{name: m, targets: [{{provider: house}}], fallback: [{{provider: cloud}}]}}]
guardrails: {guardrails}
"
    );
    let environment = [("HOUSE", house.url()), ("CLOUD", cloud.url()), ("CLOUD_KEY", "sk-cloud".to_owned())];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let gateway = Gateway::start(&yaml, &environment);
    (house, cloud, gateway)
}

fn decisions(event: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = event["decisions"].as_array().cloned().unwrap_or_default();
    all.iter()
        .map(|one| (format!("{}{}", text(&one["rule"]), text(&one["label"])), text(&one["outcome"])))
        .collect()
}

/// On no attempt, plain or streamed, while the host is there or when it is gone.
#[tokio::test(flavor = "multi_thread")]
async fn what_must_stay_in_the_house_never_reaches_the_cloud() {
    let (mut house, cloud, gateway) = house_and_cloud(
        "{profile: chat, overrides: [{kind: email, direction: request, action: log}, {kind: email, require: {on_premises: true}}]}",
    );
    let personal = format!("Write to {EMAIL}");
    for script in [Script::says(["at home"]), Script::error(500, "no"), Script::error_event("no")] {
        house.script("m", script);
        for stream in [false, true] {
            let answer = client().post(gateway.url(CHAT)).json(&chat("m", &personal, stream)).send().await;
            let answer = answer.expect("answered");
            if answer.status() == 200 {
                assert_eq!(answer.headers()["x-tollgate-provider"], "house");
            }
        }
    }
    assert_eq!(sent(&house)["messages"][0]["content"], personal, "unchanged, where no other action applies");
    assert_eq!(cloud.ledger().totals().requests, 0);

    // Other labels are no obstacle: without personal data the cloud helps out.
    house.kill();
    let (status, answer) = ask(&gateway, CHAT, &chat("m", "Hello", false)).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(passed_on(&cloud), 1);
    for stream in [false, true] {
        let (status, answer) = ask(&gateway, CHAT, &chat("m", &personal, stream)).await;
        assert_eq!((status, &answer["error"]["code"]), (503, &json!("NO_UPSTREAM")), "{answer}");
        let message = answer["error"]["message"].as_str().expect("text");
        assert!(message.contains("on_premises=true"), "{message}");
    }
    assert_eq!(passed_on(&cloud), 1, "the ledger of the cloud");
    let events = gateway.events(9);
    for event in events.iter().filter(|event| !event["findings"].is_null()) {
        let demanded = ("on_premises=true".to_owned(), "required".to_owned());
        assert!(decisions(event).contains(&demanded), "{event}");
        assert_ne!(event["provider"], "cloud", "{event}");
    }
}

/// A demand stands beside any other action, and a kind without one goes anywhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_demand_can_stand_beside_a_mask() {
    let dir = tempfile::TempDir::new().expect("a folder");
    let profile = dir.path().join("house.yaml");
    let text = "name: house\nrequest: {email: {action: mask, require: {on_premises: true}}, credit_card: mask, \"*\": off}\nanswer: {\"*\": mask}\n";
    std::fs::write(&profile, text).expect("written");
    let (mut house, cloud, gateway) =
        house_and_cloud(&format!("{{profile: house, profiles: [{}]}}", profile.display()));
    assert_eq!(ask(&gateway, CHAT, &chat("m", &format!("I am {EMAIL}"), false)).await.0, 200);
    assert_eq!(sent(&house)["messages"][0]["content"], "I am [EMAIL_1]");
    let event = &gateway.events(1)[0];
    assert!(decisions(event).contains(&("email".into(), "masked".into())), "{event}");
    house.kill();
    assert_eq!(ask(&gateway, CHAT, &chat("m", CARD, false)).await.0, 200);
    assert_eq!(sent(&cloud)["messages"][0]["content"], "[CREDIT_CARD_1]");
    assert_eq!(ask(&gateway, CHAT, &chat("m", EMAIL, false)).await.0, 503);
    assert_eq!(passed_on(&cloud), 1);
}

/// A shadow decides as the real action would, message by message and in answers, and not a byte changes.
#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_records_what_would_have_happened() {
    let (house, _cloud, gateway) = house_and_cloud(
        "{profile: strict, overrides: [{kind: email, direction: request, shadow: block, require: {on_premises: true}}, \
         {kind: email, direction: answer, action: shadow}]}",
    );
    house.script("m", Script::says(["Ask bob@", "corp-secret.com."]));
    let body = json!({"model": "m", "stream": true, "messages": [
        {"role": "user", "content": format!("I am {EMAIL}")},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": format!("Again, {EMAIL}")},
    ]});
    let (seen, _) = crate::streams::open(&gateway, CHAT, &body).await.rest().await;
    assert_eq!(said(&seen).0, "Ask bob@corp-secret.com.");
    assert_eq!(sent(&house)["messages"], body["messages"]);
    let event = &gateway.events(1)[0];
    let got = decisions(event);
    for (what, outcome) in
        [("email", "would_block"), ("email", "would_mask"), ("on_premises=true", "would_require")]
    {
        assert!(got.contains(&(what.into(), outcome.into())), "{what} {outcome}: {event}");
    }
    assert!(event["findings"].as_array().expect("some").iter().all(|finding| finding["action"] == "shadow"));
    assert_eq!(event["status"], "success");
    // What a shadow would demand is no obstacle either.
    assert_eq!(gateway.metric("tollgate_findings_total", "action=\"shadow\""), 3.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_names_the_rule_that_decided() {
    let (_fake, gateway) = in_front_of_fake(ONE_UPSTREAM);
    assert_eq!(ask(&gateway, CHAT, &chat("m", EMAIL, false)).await.0, 400);
    assert_eq!(decisions(&gateway.events(1)[0]), [("email".to_owned(), "blocked".to_owned())]);
}

/// By policy ids are hashed under a key, alike in every request, and never a reason to refuse.
#[tokio::test(flavor = "multi_thread")]
async fn ids_are_hashed_on_every_surface() {
    let yaml = r#"
providers: [{id: up, kind: vllm, base_urls: ["${UPSTREAM}"], responses: true, messages: true}]
models: [{name: "*", targets: [{provider: up}]}]
guardrails: {profile: strict, identifiers: hash, pseudonym_key: "${TOLLGATE_KEY}"}
"#;
    let (fake, gateway) = in_front_of_fake(yaml);
    let mut hashes = std::collections::BTreeSet::new();
    for (path, asked) in [
        (CHAT, json!({"messages": [{"role": "user", "content": "Hi"}]})),
        ("/v1/completions", json!({"prompt": "Hi"})),
        ("/v1/embeddings", json!({"input": "Hi"})),
        ("/v1/responses", json!({"input": "Hi"})),
        ("/v1/messages", json!({"max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]})),
    ] {
        let mut body = asked;
        for (name, value) in [
            ("model", json!("m")),
            ("user", json!(EMAIL)),
            ("safety_identifier", json!(EMAIL)),
            ("metadata", json!({"user_id": EMAIL, "phone": 4_155_550_100_u64, "fine": true})),
        ] {
            body[name] = value;
        }
        let (status, answer) = ask(&gateway, path, &body).await;
        assert_eq!(status, 200, "{path}: {answer}");
        let sent = sent(&fake);
        assert!(!sent.to_string().contains("planted") && !sent.to_string().contains("4155550100"), "{sent}");
        let (user, metadata) = (&sent["user"], &sent["metadata"]);
        assert_eq!((user, user), (&sent["safety_identifier"], &metadata["user_id"]), "{sent}");
        assert!(metadata["phone"].is_u64() && metadata["fine"] == true, "{sent}");
        hashes.insert(user.as_str().expect("text").to_owned());
    }
    assert_eq!(hashes.len(), 1, "the same id, the same hash: {hashes:?}");
    for event in gateway.events(5) {
        assert!(!event.to_string().contains("planted"), "{event}");
    }
}
