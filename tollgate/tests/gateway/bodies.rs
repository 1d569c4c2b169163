//! Request bodies of every size and framing arrive at the upstream byte for byte, within bounds that hold for all of them together.

use http_body_util::StreamBody;
use hyper::body::Frame;
use serde_json::Value;
use tollgate_fake_upstream::{Entry, Fake, Options, Script};

use crate::harness::{Gateway, HEAD, KEY, PATIENCE, client, until};
use crate::wire::{Wire, chunks, head, last_call, post};

const CHAT: &str = "/v1/chat/completions";

/// One upstream, nothing looked for: what arrives is what was sent.
const UNGUARDED: &str = r#"
providers: [{id: up, kind: vllm, base_urls: ["${UPSTREAM}"]}]
models: [{name: "*", targets: [{provider: up}]}]
guardrails: {profile: strict, overrides: [{kind: email, action: "off"}, {kind: phone, action: "off"}, {kind: secret, action: "off"}]}
"#;

fn start(rest: &str) -> (Fake, Gateway) {
    let head = HEAD.replace("\"${LISTEN}\"}", "\"${LISTEN}\", h2c: true}");
    let fake = Fake::start(Options::default()).expect("the fake upstream starts");
    let gateway = Gateway::start(&format!("{head}{UNGUARDED}{rest}"), &[("UPSTREAM", &fake.url())]);
    (fake, gateway)
}

/// A chat body of exactly `size` bytes whose model is `model`; every part of it differs from every other.
fn body_of(model: &str, size: usize) -> Vec<u8> {
    let before = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":""#);
    let after = r#""}]}"#;
    let mut body = before.into_bytes();
    let mut count = 0u64;
    while body.len() + after.len() < size {
        let word = format!("w{count:x} ");
        let room = size - after.len() - body.len();
        body.extend_from_slice(&word.as_bytes()[..word.len().min(room)]);
        count += 1;
    }
    body.extend_from_slice(after.as_bytes());
    assert_eq!(body.len(), size);
    body
}

const SIZES: [usize; 7] = [1 << 10, 65_535, 65_536, 65_537, 128 << 10, 1 << 20, 11 << 20];

fn assert_arrived(fake: &Fake, sent: &[u8], what: &str) {
    let entry = last_call(fake);
    assert_eq!(entry.body.len(), sent.len(), "{what}");
    assert!(entry.body == sent, "{what}: other bytes");
    let length =
        entry.headers.iter().find(|(name, _)| name == "content-length").map(|(_, value)| value.clone());
    assert_eq!(length, Some(sent.len().to_string()), "{what}");
    assert!(!entry.headers.iter().any(|(name, _)| name == "transfer-encoding" || name == "expect"), "{what}");
}

#[test]
fn over_http1_with_a_length_in_chunks_and_after_asking() {
    let (fake, gateway) = start("");
    fake.script("m", Script::says(["Yes"]));
    let mut wire = Wire::open(gateway.listen); // all of it on one connection
    for size in SIZES {
        let body = body_of("m", size);
        wire.send(&post(CHAT, &body));
        assert_eq!(wire.reply().expect("answered").status, 200, "{size}");
        assert_arrived(&fake, &body, &format!("{size} with its length"));

        wire.send(&[head(CHAT, "transfer-encoding: chunked\r\n"), chunks(&body, 4001)].concat());
        assert_eq!(wire.reply().expect("answered").status, 200, "{size} in chunks");
        assert_arrived(&fake, &body, &format!("{size} in chunks"));

        // The body is sent only after the gateway has said so.
        wire.send(&head(CHAT, &format!("content-length: {size}\r\nexpect: 100-continue\r\n")));
        assert_eq!(wire.reply().expect("answered").status, 100, "{size} after asking");
        wire.send(&body);
        assert_eq!(wire.reply().expect("answered").status, 200, "{size}");
        assert_arrived(&fake, &body, &format!("{size} after asking"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_h2_with_and_without_a_length() {
    let (fake, gateway) = start("");
    fake.script("m", Script::says(["Yes"]));
    let client =
        reqwest::Client::builder().http2_prior_knowledge().timeout(PATIENCE).build().expect("a client");
    for size in SIZES {
        let body = body_of("m", size);
        for declared in [true, false] {
            let sent = if declared { body.clone().into() } else { pieces(&body) };
            let answer = client.post(gateway.url(CHAT)).bearer_auth(KEY).body(sent).send().await;
            assert_eq!(answer.expect("answered").status(), 200, "{size}, declared {declared}");
            assert_arrived(&fake, &body, &format!("{size}, declared {declared}"));
        }
    }
}

fn pieces(whole: &[u8]) -> reqwest::Body {
    let pieces: Vec<Result<_, std::io::Error>> =
        whole.chunks(50_000).map(|piece| Ok(Frame::data(bytes::Bytes::copy_from_slice(piece)))).collect();
    reqwest::Body::wrap(StreamBody::new(futures::stream::iter(pieces)))
}

/// Only the model's name is replaced where the target has another one; every other byte stays.
#[test]
fn only_what_the_target_wants_otherwise_is_rewritten() {
    let fake = Fake::start(Options::default()).expect("starts");
    let yaml = format!(
        "{HEAD}\nproviders: [{{id: up, kind: vllm, base_urls: [\"${{UPSTREAM}}\"]}}]\n\
         models: [{{name: alias, targets: [{{provider: up, model: \"org/real\"}}]}}]\n"
    );
    let gateway = Gateway::start(&yaml, &[("UPSTREAM", &fake.url())]);
    let sent = r#" {"temperature": 1.0, "big":12345678901234567890123 ,"model" : "alias","messages":[{"role":"user","content":"a\u00e9\/"}],"x":null,"guided_json":{"a" :1}}  "#;
    let mut wire = Wire::open(gateway.listen);
    assert_eq!(wire.send(&post(CHAT, sent)).reply().expect("answered").status, 200);
    let arrived = last_call(&fake).body;
    assert_eq!(String::from_utf8_lossy(&arrived), sent.replace("\"alias\"", "\"org/real\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_bytes_in_flight_are_refused_at_once_and_given_back() {
    let (fake, gateway) = start("bounds: {max_body: 1MiB, max_bodies: 1MiB}\n");
    fake.script("held", Script::silent());
    fake.script("m", Script::says(["Yes"]));
    let held = {
        let url = gateway.url(CHAT);
        tokio::spawn(async move { client().post(url).body(body_of("held", 700_000)).send().await })
    };
    let arrived = |entries: &[Entry]| entries.iter().any(|entry| entry.model == "held");
    fake.ledger().until(PATIENCE, arrived).await.expect("the first is at the upstream");
    // Waiting for its answer, its body is still held for the next attempt.
    let refused =
        client().post(gateway.url(CHAT)).body(body_of("m", 700_000)).send().await.expect("answered");
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(refused.json::<Value>().await.expect("JSON")["error"]["code"], "OVERLOADED");
    let chunked = client().post(gateway.url(CHAT)).body(pieces(&body_of("m", 700_000))).send().await;
    assert_eq!(chunked.expect("answered").status(), 503);
    let small = client().post(gateway.url(CHAT)).body(body_of("m", 100_000)).send().await.expect("answered");
    assert_eq!(small.status(), 200);
    held.abort(); // the client leaves
    until(
        || (gateway.metric("tollgate_body_bytes_in_flight", "") == 0.0).then_some(()),
        "all bytes given back",
    );
    let again = client().post(gateway.url(CHAT)).body(body_of("m", 700_000)).send().await.expect("answered");
    assert_eq!(again.status(), 200);
    assert_eq!(fake.ledger().for_model("m").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_requests_in_flight_are_refused_at_once_and_given_back() {
    let (fake, gateway) = start("bounds: {max_requests: 2}\n");
    fake.script("held", Script::gated(["a", "b"]));
    fake.script("m", Script::says(["Yes"]));
    let gate = fake.gate("held");
    let ask = |model: &str| client().post(gateway.url(CHAT)).body(body_of(model, 200)).send();
    let both = |entries: &[Entry]| entries.iter().filter(|entry| entry.model == "held").count() == 2;
    let held: Vec<_> = (0..2).map(|_| tokio::spawn(ask("held"))).collect();
    fake.ledger().until(PATIENCE, both).await.expect("both are at the upstream");
    let refused = ask("m").await.expect("answered");
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.json::<Value>().await.expect("JSON")["error"]["code"], "OVERLOADED");
    assert_eq!(reqwest::get(gateway.url("/health")).await.expect("answered").status(), 200);
    gate.open(10);
    for held in held {
        assert_eq!(held.await.expect("no panic").expect("answered").status(), 200);
    }
    until(|| (gateway.metric("tollgate_requests_in_flight", "") == 0.0).then_some(()), "all given back");
    assert_eq!(ask("m").await.expect("answered").status(), 200);
    assert_eq!(fake.ledger().for_model("m").len(), 1);
}

/// One connection carries refused and served requests alike: nothing of one is taken for the next.
#[test]
fn a_connection_stays_usable_over_refused_requests() {
    let (fake, gateway) = start("bounds: {max_body: 64KiB}\n");
    fake.script("m", Script::says(["Yes"]));
    let good = body_of("m", 1000);
    let strange =
        String::from_utf8(post(CHAT, &good)).expect("text").replace(KEY, "tg_dev_nobody").into_bytes();
    let mut wire = Wire::open(gateway.listen);
    for round in 0..3 {
        for (name, request, status) in [
            ("served", post(CHAT, &good), 200),
            ("a bad key", strange.clone(), 401),
            ("not JSON", post(CHAT, vec![b'x'; 70]), 400),
            ("an unknown path", post("/v1/nothing", &good), 404),
            (
                "too large, in chunks",
                [head(CHAT, "transfer-encoding: chunked\r\n"), chunks(&body_of("m", 80_000), 999)].concat(),
                413,
            ),
            ("a model that is not there", post(CHAT, body_of("*", 300)), 404),
            (
                "served in chunks",
                [head(CHAT, "transfer-encoding: chunked\r\n"), chunks(&good, 100)].concat(),
                200,
            ),
        ] {
            let reply =
                wire.send(&request).reply().unwrap_or_else(|| panic!("round {round}, {name}: closed"));
            assert_eq!(reply.status, status, "round {round}, {name}: {}", reply.json());
        }
    }
    assert_eq!(fake.ledger().for_model("m").len(), 6);
}

/// Without `bounds.max_body`: as many bytes are asked for, and not one more.
#[test]
fn by_default_32_mib_are_taken() {
    let (_fake, gateway) = start("");
    let reply = |length: usize| {
        let mut wire = Wire::open(gateway.listen);
        let lines = format!("content-length: {length}\r\nexpect: 100-continue\r\n");
        wire.send(&head(CHAT, &lines)).reply().expect("answered")
    };
    assert_eq!(reply(32 << 20).status, 100);
    let refused = reply((32 << 20) + 1);
    assert_eq!((refused.status, refused.code().as_deref()), (413, Some("BODY_TOO_LARGE")));
    let message = refused.json()["error"]["message"].as_str().expect("text").to_owned();
    assert!(message.contains("32"), "{message}");
}
