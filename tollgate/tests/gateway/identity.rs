//! Who calls, what they may use, and what the audit trail says about them.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tollgate_fake_upstream::{Fake, Options, Script};

use crate::harness::{Gateway, KEY, ONE_UPSTREAM, PATIENCE, chat, in_front_of_fake, until};
use crate::wire::last_call;

const CHAT: &str = "/v1/chat/completions";
const OTHER: &str = "an-operators-own-key-0123456789";

/// Two organisations; keys of every kind; models for some only; team routes.
const TENANTS: &str = r#"
listeners:
  - address: "${LISTEN}"
    trusted_proxies: ["127.0.0.0/8"]
    cors: {origins: ["https://app.example.com"]}
admin: {address: "${ADMIN}"}
state_dir: "${STATE_DIR}"
organizations:
  - id: acme
    applications:
      - id: chat
        keys:
          - {id: dev, key: "${TOLLGATE_KEY}"}
          - {id: old, key: "${OLD_KEY}", disabled: true}
          - {id: auditor, key: "${AUDITOR_KEY}", role: auditor}
      - id: small
        models: [cheap, "open-*"]
        keys:
          - {id: own, key: "${OTHER_KEY}", user: alice@example.com, source: ci, request_type: batch}
          - {id: narrow, key: "${NARROW_KEY}", models: [cheap]}
  - {id: guests}
providers:
  - {id: up, kind: vllm, base_urls: ["${UPSTREAM}"]}
models:
  - {name: cheap, targets: [{id: a, provider: up}]}
  - {name: open-one, targets: [{provider: up}]}
  - {name: dear, targets: [{provider: up}]}
routes:
  - {team: quant, model: cheap, required_headers: [x-llm-source]}
  - {team: hasty, model: dear, timeouts: {total: 500ms}}
  - {team: public, model: open-one, anonymous_as: guests}
  - {team: admins, model: dear, minimum_role: admin}
  - {minimum_role: developer}
guardrails: {profile: strict}
"#;

const OLD: &str = "tg_old_1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const AUDITOR: &str = "tg_auditor_2223456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const NARROW: &str = "tg_narrow_3323456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn tenants() -> (Fake, Gateway) {
    let fake = Fake::start(Options::default()).expect("the fake upstream starts");
    let keys = [("OLD_KEY", OLD), ("AUDITOR_KEY", AUDITOR), ("OTHER_KEY", OTHER), ("NARROW_KEY", NARROW)];
    let url = fake.url();
    let environment: Vec<_> = keys.into_iter().chain([("UPSTREAM", &*url)]).collect();
    let gateway = Gateway::start(TENANTS, &environment);
    (fake, gateway)
}

fn bare() -> Client {
    Client::builder().timeout(PATIENCE).build().expect("a client")
}

async fn ask(gateway: &Gateway, model: &str, headers: &[(&str, &str)]) -> Response {
    let request = bare().post(gateway.url(CHAT)).json(&chat(model, "Hi", false));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.send().await.expect("answered")
}

async fn code(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.expect("JSON");
    (status, body["error"]["code"].as_str().unwrap_or("").to_owned())
}

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

fn passed_on(fake: &Fake) -> usize {
    fake.ledger().entries().iter().filter(|entry| entry.method == "POST").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_known_unknown_or_switched_off() {
    let (fake, gateway) = tenants();
    let (dev, own, old) = (bearer(KEY), bearer(OTHER), bearer(OLD));
    let changed = bearer(&KEY.replace("cdef", "cdee"));
    let refused: [(&str, &[(&str, &str)]); 10] = [
        ("none", &[]),
        ("an empty one", &[("authorization", "Bearer ")]),
        ("not a bearer", &[("authorization", "Basic ZGV2OmRldg==")]),
        ("an unknown one", &[("authorization", "Bearer tg_nobody_0123456789abcdef")]),
        ("a changed one", &[("authorization", &changed)]),
        ("its id only", &[("authorization", "Bearer tg_dev_")]),
        ("one switched off", &[("authorization", &old)]),
        ("an unknown x-api-key", &[("x-api-key", "sk-unknown")]),
        ("two that differ", &[("authorization", &dev), ("x-api-key", OTHER)]),
        ("not a text", &[("authorization", "Bearer \u{e4}\u{f6}")]),
    ];
    for (name, headers) in refused {
        let answer = ask(&gateway, "cheap", headers).await;
        assert_eq!(answer.headers()["www-authenticate"], "Bearer", "{name}");
        assert_eq!(answer.headers()["x-should-retry"], "false", "{name}");
        assert_eq!(code(answer).await, (401, "INVALID_API_KEY".to_owned()), "{name}");
    }
    assert_eq!(passed_on(&fake), 0);
    let accepted: [(&str, &[(&str, &str)]); 5] = [
        ("a bearer", &[("authorization", &dev)]),
        ("an operator's own", &[("authorization", &own)]),
        ("x-api-key", &[("x-api-key", KEY)]),
        ("both alike", &[("authorization", &dev), ("x-api-key", KEY)]),
        ("lower case scheme", &[("authorization", &dev.replace("Bearer", "bearer"))]),
    ];
    for (name, headers) in accepted {
        assert_eq!(ask(&gateway, "cheap", headers).await.status(), 200, "{name}");
    }
    // No upstream ever sees a caller's credential.
    for entry in fake.ledger().entries() {
        for (name, value) in entry.headers {
            assert!(!value.contains(KEY) && !value.contains(OTHER), "{name} carries it");
        }
    }
    let events = gateway.events(15);
    assert_eq!(events.len(), 15);
    let own = events.iter().find(|event| event["key_id"] == "own").expect("recorded");
    assert_eq!(
        (&own["org"], &own["app"], &own["user"]),
        (&json!("acme"), &json!("small"), &json!("alice@example.com"))
    );
    assert_eq!((&own["source"], &own["request_type"]), (&json!("ci"), &json!("batch")));
    let page = gateway.log().join("\n") + &serde_json::to_string(&events).expect("JSON");
    for secret in [KEY, OTHER, OLD, &KEY[7..]] {
        assert!(!page.contains(secret), "a key is in the log or the audit trail");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_for_those_who_may_use_them() {
    let (fake, gateway) = tenants();
    let cases = [
        (KEY, "dear", 200, ""),
        (KEY, "nothing", 404, "MODEL_NOT_FOUND"),
        (OTHER, "cheap", 200, ""),
        (OTHER, "open-one", 200, ""),
        (OTHER, "dear", 403, "MODEL_NOT_ALLOWED"),
        (NARROW, "cheap", 200, ""),
        (NARROW, "open-one", 403, "MODEL_NOT_ALLOWED"),
        (AUDITOR, "cheap", 403, "FORBIDDEN_ROLE"),
    ];
    for (key, model, status, wanted) in cases {
        let answer = ask(&gateway, model, &[("x-api-key", key)]).await;
        assert_eq!(code(answer).await, (status, wanted.to_owned()), "{model} by {}", &key[..8]);
    }
    assert_eq!(passed_on(&fake), 4);

    let list = async |key: &str| -> Vec<String> {
        let answer =
            bare().get(gateway.url("/v1/models")).header("x-api-key", key).send().await.expect("answered");
        assert_eq!(answer.status(), 200);
        let body: Value = answer.json().await.expect("JSON");
        assert_eq!(body["object"], "list");
        body["data"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|m| m["id"].as_str().expect("a name").to_owned())
            .collect()
    };
    assert_eq!(list(KEY).await, ["cheap", "dear", "open-one"]);
    assert_eq!(list(OTHER).await, ["cheap", "open-one"]);
    assert_eq!(list(NARROW).await, ["cheap"]);
    let one = async |key: &str, name: &str| {
        let url = gateway.url(&format!("/v1/models/{name}"));
        bare().get(url).header("x-api-key", key).send().await.expect("answered").status()
    };
    assert_eq!(one(OTHER, "cheap").await, 200);
    assert_eq!(one(OTHER, "dear").await, 404, "what one may not use is not shown to exist");
    assert_eq!(one(OTHER, "nothing").await, 404);
    assert_eq!(bare().get(gateway.url("/v1/models")).send().await.expect("answered").status(), 401);
    // The same in Anthropic's form.
    let answer = bare().get(gateway.url("/v1/models?limit=1000")).header("x-api-key", NARROW);
    let answer = answer.header("anthropic-version", "2023-06-01").send().await.expect("answered");
    let body: Value = answer.json().await.expect("JSON");
    assert_eq!((&body["data"][0]["type"], &body["data"][0]["id"]), (&json!("model"), &json!("cheap")));
    assert_eq!(
        (&body["has_more"], &body["first_id"], &body["last_id"]),
        (&json!(false), &json!("cheap"), &json!("cheap"))
    );
}

/// A wildcard lists what the hosts behind it offer, and only that.
#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_lists_what_its_hosts_offer() {
    let options = Options {
        models: vec!["org/a".into(), "b".into()],
        key: Some("secret-of-the-host".into()),
        ..Options::default()
    };
    let fake = Fake::start(options).expect("starts");
    // Two providers at one URL: what is offered depends on who asks, and the first has no right to ask.
    let rest = r#"
providers:
  - {id: a, kind: vllm, base_urls: ["${UPSTREAM}"], api_key: "${OTHER_KEY}"}
  - {id: b, kind: vllm, base_urls: ["${UPSTREAM}"], api_key: "${HOST_KEY}"}
models: [{name: "*", targets: [{provider: a}, {provider: b}]}]
"#;
    let yaml = format!("{}{rest}", crate::harness::HEAD);
    let keys = [("HOST_KEY", "secret-of-the-host"), ("OTHER_KEY", "of-another-account")];
    let gateway = Gateway::start(&yaml, &[&keys[..], &[("UPSTREAM", &*fake.url())]].concat());
    let wanted = ["b", "org/a"];
    let list = || {
        let (url, client) = (gateway.url("/v1/models"), crate::harness::client());
        async move { client.get(url).send().await.expect("answered").json::<Value>().await.expect("JSON") }
    };
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let body = list().await;
        let names: Vec<_> =
            body["data"].as_array().expect("a list").iter().map(|m| m["id"].clone()).collect();
        if names == wanted {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{names:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // As written, and as SDKs encode it.
    for path in ["/v1/models/org/a", "/v1/models/org%2Fa"] {
        let one = crate::harness::client().get(gateway.url(path)).send().await.expect("answered");
        assert_eq!(one.status(), 200);
        assert_eq!(one.json::<Value>().await.expect("JSON")["id"], "org/a");
    }
}

/// A key pair, its key set in a file, and tokens signed with it.
pub(crate) struct Issuer {
    key: EncodingKey,
    kid: &'static str,
    pub(crate) file: tempfile::NamedTempFile,
}

impl Issuer {
    pub(crate) fn new() -> Issuer {
        Issuer::with_kid("k1")
    }

    fn with_kid(kid: &'static str) -> Issuer {
        let signing = &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = aws_lc_rs::signature::EcdsaKeyPair::generate(signing).expect("a key");
        let key = EncodingKey::from_ec_der(pair.to_pkcs8v1().expect("an encoding").as_ref());
        let file = tempfile::NamedTempFile::new().expect("a file");
        let issuer = Issuer { key, kid, file };
        std::fs::write(issuer.file.path(), issuer.key_set()).expect("written");
        issuer
    }

    /// Its public key as a key set.
    fn key_set(&self) -> String {
        let jwk = Jwk::from_encoding_key(&self.key, Algorithm::ES256).expect("a public key");
        let mut jwk = serde_json::to_value(jwk).expect("JSON");
        jwk["kid"] = self.kid.into();
        json!({"keys": [jwk]}).to_string()
    }

    #[allow(clippy::needless_pass_by_value)] // literals read better at the calls
    pub(crate) fn token(&self, changes: Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let mut claims = json!({
            "iss": "https://login.test", "aud": "gateway", "sub": "u-1", "exp": now + 600, "nbf": now - 10,
            "custom:orgId": "acme", "custom:appId": "chat", "email": "alice@corp.com", "email_verified": true,
            "custom:userRole": "developer",
        });
        for (name, value) in changes.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        let header = Header { kid: Some(self.kid.into()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, &claims, &self.key).expect("signed")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_verified_and_mapped() {
    let issuer = Issuer::new();
    let fake = Fake::start(Options::default()).expect("starts");
    let jwt = "auth: {cookie: true, jwt: [{issuer: \"https://login.test\", audience: [gateway], jwks_file: \"${JWKS}\"}]}\n";
    let yaml = format!("{}{jwt}{ONE_UPSTREAM}", crate::harness::HEAD);
    let file = issuer.file.path().display().to_string();
    let gateway = Gateway::start(&yaml, &[("UPSTREAM", &fake.url()), ("JWKS", &file)]);
    let stranger = Issuer::new();
    let good = issuer.token(json!({}));
    let (head, rest) = good.split_once('.').expect("three parts");
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    let cases = [
        ("good", good.clone(), 200, ""),
        ("good, again: from the cache", good.clone(), 200, ""),
        ("expired", issuer.token(json!({"exp": 1_700_000_000})), 401, "TOKEN_EXPIRED"),
        (
            "not yet valid",
            issuer.token(json!({"nbf": 4_000_000_000u64, "exp": 4_000_000_600u64})),
            401,
            "INVALID_TOKEN",
        ),
        ("another audience", issuer.token(json!({"aud": "someone-else"})), 401, "INVALID_TOKEN"),
        ("another issuer", issuer.token(json!({"iss": "https://evil.test"})), 401, "INVALID_TOKEN"),
        ("no expiry", issuer.token(json!({"exp": null})), 401, "INVALID_TOKEN"),
        ("an unknown organisation", issuer.token(json!({"custom:orgId": "globex"})), 401, "INVALID_TOKEN"),
        ("a stranger's key", stranger.token(json!({})), 401, "INVALID_TOKEN"),
        (
            "no signature",
            format!("{none}.{}.", rest.split('.').next().expect("a payload")),
            401,
            "INVALID_TOKEN",
        ),
        ("cut", good[..good.len() - 4].to_owned(), 401, "INVALID_TOKEN"),
        ("a changed head", format!("{}.{rest}", head.replace('e', "f")), 401, "INVALID_TOKEN"),
    ];
    for (name, token, status, wanted) in &cases {
        let answer = ask(&gateway, "m", &[("authorization", &bearer(token))]).await;
        assert_eq!(code(answer).await, (*status, (*wanted).to_owned()), "{name}");
    }
    assert_eq!(passed_on(&fake), 2);
    // The cookie counts only from this site or a listed origin.
    let cookie = format!("jwt={good}");
    let own = format!("http://{}", gateway.listen);
    assert_eq!(ask(&gateway, "m", &[("cookie", &cookie), ("origin", &own)]).await.status(), 200);
    assert_eq!(
        ask(&gateway, "m", &[("cookie", &cookie), ("origin", "https://evil.test")]).await.status(),
        401
    );

    let events = gateway.events(cases.len() + 2);
    let first = &events[0];
    assert_eq!(
        (&first["org"], &first["app"], &first["user"]),
        (&json!("acme"), &json!("chat"), &json!("alice@corp.com"))
    );
    let page = gateway.log().join("\n") + &serde_json::to_string(&events).expect("JSON");
    assert!(!page.contains(rest), "a token is in the log or the audit trail");
}

/// Keys of a file are read again by a reload; tokens that the old ones verified are no longer good, cached or not.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_is_read_again() {
    let (first, second) = (Issuer::new(), Issuer::new());
    let fake = Fake::start(Options::default()).expect("starts");
    let jwt =
        "auth: {jwt: [{issuer: \"https://login.test\", audience: [gateway], jwks_file: \"${JWKS}\"}]}\n";
    let yaml = format!("{}{jwt}{ONE_UPSTREAM}", crate::harness::HEAD);
    let keys = tempfile::NamedTempFile::new().expect("a file");
    std::fs::copy(first.file.path(), keys.path()).expect("copied");
    let file = keys.path().display().to_string();
    let gateway = Gateway::start(&yaml, &[("UPSTREAM", &fake.url()), ("JWKS", &file)]);
    let (old, new) = (first.token(json!({})), second.token(json!({})));
    let status =
        async |token: &str| ask(&gateway, "m", &[("authorization", &bearer(token))]).await.status().as_u16();
    assert_eq!((status(&old).await, status(&old).await, status(&new).await), (200, 200, 401));
    std::fs::copy(second.file.path(), keys.path()).expect("copied");
    gateway.reload(&yaml, 2);
    assert_eq!((status(&old).await, status(&new).await), (401, 200));
}

async fn predict(gateway: &Gateway, team: &str, body: &Value, headers: &[(&str, &str)]) -> Response {
    let request = bare().post(gateway.url(&format!("/api/{team}/predict"))).json(body);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.send().await.expect("answered")
}

#[tokio::test(flavor = "multi_thread")]
async fn team_routes() {
    let (fake, gateway) = tenants();
    fake.script("cheap", Script::says(["Forty", "-two"]).tokens(5, 2));
    fake.script("dear", Script::silent());
    let asked = json!({"prompt": "How many?", "max_tokens": 16, "temperature": 0.5});
    let key = ("x-api-key", KEY);
    let answer =
        predict(&gateway, "quant", &asked, &[key, ("x-llm-source", "desk"), ("x-llm-user", "bob")]).await;
    assert_eq!(answer.status(), 200);
    let body: Value = answer.json().await.expect("JSON");
    assert_eq!(
        (&body["text"], &body["model"], &body["variant"]),
        (&json!("Forty-two"), &json!("cheap"), &json!("a"))
    );
    assert!(body["latency_ms"].is_u64(), "{body}");
    assert_eq!(body.as_object().expect("an object").len(), 4, "{body}");
    let sent: Value = serde_json::from_slice(&last_call(&fake).body).expect("JSON");
    assert_eq!(sent["messages"], json!([{"role": "user", "content": "How many?"}]));
    assert_eq!(
        (&sent["max_tokens"], &sent["temperature"], &sent["model"]),
        (&json!(16), &json!(0.5), &json!("cheap"))
    );
    assert!(!last_call(&fake).headers.iter().any(|(name, _)| name.starts_with("x-llm-")));

    let missing = predict(&gateway, "quant", &asked, &[key]).await;
    assert_eq!(code(missing).await, (400, "MISSING_HEADER".to_owned()));
    // The key's own source stands for the header.
    assert_eq!(predict(&gateway, "quant", &asked, &[("x-api-key", OTHER)]).await.status(), 200);
    let nobody = predict(&gateway, "nobody", &asked, &[key]).await;
    assert_eq!(code(nobody).await, (404, "NOT_FOUND".to_owned()));
    let empty = predict(&gateway, "quant", &json!({"max_tokens": 5}), &[key, ("x-llm-source", "desk")]).await;
    assert_eq!(code(empty).await, (400, "INVALID_REQUEST".to_owned()));
    let late = predict(&gateway, "hasty", &asked, &[key]).await;
    assert_eq!(code(late).await, (504, "UPSTREAM_TIMEOUT".to_owned()));
    let role = predict(&gateway, "admins", &asked, &[key]).await;
    assert_eq!(code(role).await, (403, "FORBIDDEN_ROLE".to_owned()));
    let not_allowed = predict(&gateway, "hasty", &asked, &[("x-api-key", OTHER)]).await;
    assert_eq!(code(not_allowed).await, (403, "MODEL_NOT_ALLOWED".to_owned()));

    let events = gateway.events(8);
    let first = &events[0];
    assert_eq!(
        (&first["route"], &first["source"], &first["asserted_user"]),
        (&json!("quant"), &json!("desk"), &json!("bob"))
    );
    assert_eq!(first["user"], Value::Null, "what a caller says of itself is not a verified user");
}

#[tokio::test(flavor = "multi_thread")]
async fn anonymous_only_where_it_is_allowed() {
    let (fake, gateway) = tenants();
    fake.script("open-one", Script::says(["Hello"]));
    let asked = json!({"prompt": "Hi", "max_tokens": 16});
    assert_eq!(predict(&gateway, "public", &asked, &[]).await.status(), 200);
    // A mistyped key must not silently become someone else.
    assert_eq!(predict(&gateway, "public", &asked, &[("x-api-key", "tg_dev_wrong")]).await.status(), 401);
    assert_eq!(predict(&gateway, "quant", &asked, &[]).await.status(), 401);
    let events = gateway.events(3);
    assert_eq!((&events[0]["org"], &events[0]["app"]), (&json!("guests"), &json!("anonymous")));
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_of_listed_origins_may_call() {
    let (_fake, gateway) = tenants();
    let preflight = async |origin: &str| {
        let request = bare().request(reqwest::Method::OPTIONS, gateway.url(CHAT)).header("origin", origin);
        let request = request.header("access-control-request-method", "POST");
        request
            .header("access-control-request-headers", "authorization, content-type")
            .send()
            .await
            .expect("answered")
    };
    let granted = preflight("https://app.example.com").await;
    assert_eq!(granted.status(), StatusCode::NO_CONTENT);
    assert_eq!(granted.headers()["access-control-allow-origin"], "https://app.example.com");
    assert_eq!(granted.headers()["access-control-allow-headers"], "authorization, content-type");
    let refused = preflight("https://evil.test").await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert!(!refused.headers().contains_key("access-control-allow-origin"));
    // The headers are on every answer, refusals too: a page must be able to read why.
    let origin = ("origin", "https://app.example.com");
    for (key, status) in [(KEY, 200), ("tg_dev_wrong", 401)] {
        let answer = ask(&gateway, "cheap", &[("x-api-key", key), origin]).await;
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["access-control-allow-origin"], "https://app.example.com");
        assert!(
            answer.headers()["access-control-expose-headers"]
                .to_str()
                .expect("text")
                .contains("x-request-id")
        );
    }
    assert_eq!(gateway.events(2).len(), 2, "preflights leave no event");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_address_is_believed_from_trusted_proxies_only() {
    let (fake, gateway) = tenants();
    let forwarded = [("x-api-key", KEY), ("x-forwarded-for", "6.6.6.6, 203.0.113.7, 127.0.0.9")];
    assert_eq!(ask(&gateway, "cheap", &forwarded).await.status(), 200);
    assert_eq!(gateway.events(1)[0]["client_ip"], "203.0.113.7", "the rightmost that no proxy of ours has");
    let sent = last_call(&fake).headers;
    assert!(!sent.iter().any(|(name, _)| name == "x-forwarded-for"));
    let (_fake, gateway) = in_front_of_fake(ONE_UPSTREAM);
    assert_eq!(ask(&gateway, "m", &forwarded).await.status(), 200);
    assert_eq!(gateway.events(1)[0]["client_ip"], "127.0.0.1");
    until(
        || (gateway.metric("tollgate_requests_in_flight", "") == 0.0).then_some(()),
        "no request in flight",
    );
}

/// Serves a key set over HTTP, or an error where there is none.
struct KeyServer {
    address: std::net::SocketAddr,
    set: Arc<Mutex<Option<String>>>,
}

impl KeyServer {
    fn start(set: String) -> KeyServer {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let set = Arc::new(Mutex::new(Some(set)));
        let served = Arc::clone(&set);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut head = [0; 4096];
                let _ = stream.read(&mut head); // a GET fits
                let body = served.lock().expect("no panic while held").clone();
                let status = if body.is_some() { "200 OK" } else { "500 No" };
                let body = body.unwrap_or_default();
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        KeyServer { address, set }
    }

    fn serve(&self, set: Option<String>) {
        *self.set.lock().expect("no panic while held") = set;
    }
}

/// Keys by URL in a running gateway: the first token waits for them, a new key is found by its first token, an issuer that is down
/// is told by metric and admin answer while its last keys go on.
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_fetched_rotated_and_kept() {
    let [first, second, third] = ["k1", "k2", "k3"].map(Issuer::with_kid);
    let keys = KeyServer::start(first.key_set());
    let fake = Fake::start(Options::default()).expect("starts");
    let jwt = format!(
        "auth: {{jwt: [{{issuer: \"https://login.test\", audience: [gateway], jwks_uri: \"http://{}/keys\", min_refresh: 1s}}]}}\n",
        keys.address
    );
    let yaml = format!("{}{jwt}{ONE_UPSTREAM}", crate::ops::head());
    let gateway = Gateway::start(&yaml, &[("UPSTREAM", &fake.url())]);
    let status = async |issuer: &Issuer| {
        ask(&gateway, "m", &[("authorization", &bearer(&issuer.token(json!({}))))]).await.status()
    };
    assert_eq!((status(&first).await.as_u16(), status(&second).await.as_u16()), (200, 401));
    let told = async || gateway.admin(reqwest::Method::GET, "/admin/issuers").await.1["issuers"][0].clone();
    let now = told().await;
    assert_eq!(
        (&now["issuer"], &now["usable"], &now["keys"], &now["error"]),
        (&json!("https://login.test"), &json!(true), &json!(1), &Value::Null)
    );
    assert_eq!(gateway.metric("tollgate_issuer_keys_usable", "https://login.test"), 1.0);

    keys.serve(Some(second.key_set()));
    let deadline = std::time::Instant::now() + PATIENCE;
    // A key that is not known is asked for, once in `min_refresh`.
    while status(&second).await != 200 {
        assert!(std::time::Instant::now() < deadline, "the new key was not found");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(status(&first).await, 401, "the old key is gone, from the cache of tokens too");

    keys.serve(None);
    while told().await["error"].is_null() {
        assert!(std::time::Instant::now() < deadline, "the failure was not told: {}", told().await);
        assert_eq!(status(&third).await, 401);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!((&told().await["usable"], &told().await["keys"]), (&json!(true), &json!(1)));
    assert!(gateway.metric("tollgate_issuer_keys_age_seconds", "https://login.test") > 0.0);
    assert_eq!(status(&second).await, 200, "stale keys go on");
}
