//! Every file in `conf/` is started and exercised, and `tollgate demo` does what it prints.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;
use tollgate_fake_upstream::{Fake, Options, Script};

use crate::harness::{Events, Gateway, KEY, binary, chat, client, free_port, until};
use crate::identity::Issuer;
use crate::ops::said;

fn conf(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf").join(name)
}

fn start(file: &Path, environment: &[(&str, &str)]) -> Gateway {
    Gateway::start_file(file, Arc::new(TempDir::new().expect("a folder")), environment, &[])
}

fn fake() -> Fake {
    Fake::start(Options::default()).expect("the fake upstream starts")
}

async fn say(gateway: &Gateway, model: &str, text: &str) -> (StatusCode, Value) {
    let call = client().post(gateway.url("/v1/chat/completions")).json(&chat(model, text, false));
    let answer = call.send().await.expect("answered");
    (answer.status(), answer.json().await.expect("JSON"))
}

fn content(answer: &Value) -> &str {
    answer["choices"][0]["message"]["content"].as_str().expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn quickstart() {
    let fake = fake();
    let gateway = start(&conf("quickstart.yaml"), &[("UPSTREAM", &fake.url())]);
    fake.script("leaky", Script::says(["Ask bob@corp.com."]));
    let (status, answer) = say(&gateway, "anything", "Good day").await;
    assert_eq!((status, content(&answer)), (StatusCode::OK, "You said: Good day"));
    let (_, answer) = say(&gateway, "leaky", "Whom?").await;
    assert_eq!(content(&answer), "Ask [EMAIL_1].");
    let (status, answer) = say(&gateway, "anything", "I am alice@corp.com").await;
    assert_eq!((status.as_u16(), &answer["error"]["code"]), (400, &"PII_DETECTED".into()));
    assert_eq!(gateway.events(3).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_on() {
    let fake = fake();
    let gateway = start(&conf("all-on.yaml"), &[("UPSTREAM", &fake.url())]);
    let (status, answer) = say(&gateway, "m", "I am alice@corp.com").await;
    assert_eq!(status, 200, "{answer}");
    let asked = fake.ledger().for_model("m").pop().expect("asked"); // the ledger has health probes, too
    let asked = String::from_utf8_lossy(&asked.body).into_owned();
    assert!(asked.contains("[EMAIL_1]") && !asked.contains("alice"), "{asked}");
    let events = gateway.events(1);
    assert!(!events[0].to_string().contains("alice@"), "{}", events[0]);
    assert_eq!((&events[0]["source"], &events[0]["request_type"]), (&"bench".into(), &"load".into()));
    let prompt = events[0]["prompt"].to_string();
    assert!(prompt.contains("[EMAIL_1]"), "{prompt}");
    let h2c = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    assert_eq!(h2c.get(gateway.url("/health")).send().await.expect("answered").status(), 200);
}

/// Where JWKS_FILE names a file, tokens of the issuer are good, too; the route's headers are then the caller's to send.
#[tokio::test(flavor = "multi_thread")]
async fn all_on_with_tokens() {
    let (fake, issuer) = (fake(), Issuer::new());
    let file = issuer.file.path().display().to_string();
    let environment = [("UPSTREAM", fake.url()), ("JWKS_FILE", file)];
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let gateway = start(&conf("all-on.yaml"), &environment);
    let call = async |token: &str, headers: &[(&str, &str)]| {
        let call = reqwest::Client::new().post(gateway.url("/v1/chat/completions")).bearer_auth(token);
        let call = headers.iter().fold(call, |call, (name, value)| call.header(*name, *value));
        call.json(&chat("m", "Good day", false)).send().await.expect("answered").status().as_u16()
    };
    let token = |claims: Value| {
        let mut all = serde_json::json!({"iss": "https://issuer.example", "aud": "tollgate", "custom:orgId": null, "custom:appId": null});
        all.as_object_mut().expect("an object").extend(claims.as_object().expect("an object").clone());
        issuer.token(all)
    };
    let both = [("x-llm-source", "test"), ("x-llm-request-type", "trial")];
    assert_eq!(call(&token(serde_json::json!({})), &both).await, 200);
    assert_eq!(call(&token(serde_json::json!({})), &both[..1]).await, 400);
    assert_eq!(call(&token(serde_json::json!({"aud": "others"})), &both).await, 401);
    assert_eq!(call(KEY, &[]).await, 200, "the key's record stands for both");
    let events = gateway.events(4);
    let first = &events[0];
    let who = (&first["org"], &first["app"], &first["user"], &first["source"]);
    assert_eq!(who, (&"acme".into(), &"chat".into(), &"alice@corp.com".into(), &"test".into()));
}

/// 80 of 100 sessions go to the base model, give or take (five standard deviations: 20); without GPUs Azure answers, then OpenAI.
#[tokio::test(flavor = "multi_thread")]
async fn fleet() {
    let mut gpus = [fake(), fake(), fake()];
    let (mut azure, openai) = (fake(), fake());
    let openai_url = format!("{}/v1", openai.url());
    let dir = Arc::new(TempDir::new().expect("a folder"));
    let file = dir.path().join("fleet.yaml");
    let text = std::fs::read_to_string(conf("fleet.yaml")).expect("there");
    assert!(text.contains("burst: 20,"));
    std::fs::write(&file, text.replace("burst: 20,", "burst: 1000,")).expect("written");
    let environment = [
        ("GPU_1", gpus[0].url()),
        ("GPU_2", gpus[1].url()),
        ("GPU_3", gpus[2].url()),
        ("AZURE_OPENAI_ENDPOINT", azure.url()),
        ("AZURE_OPENAI_API_KEY", "azure-key".to_owned()),
        ("OPENAI_BASE_URL", openai_url),
        ("OPENAI_API_KEY", "openai-key".to_owned()),
    ];
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let gateway = Gateway::start_file(&file, dir, &environment, &[]);
    for session in 0..100 {
        let mut body = chat("mistral-7b", "Hi", false);
        body["prompt_cache_key"] = format!("session-{session}").into(); // the variant is kept per session
        let call = client().post(gateway.url("/v1/chat/completions")).json(&body);
        assert_eq!(call.send().await.expect("answered").status(), 200);
    }
    let count = |model: &str| gpus.iter().map(|gpu| gpu.ledger().for_model(model).len()).sum::<usize>();
    let (base, lora) = (count("mistral-7b"), count("mistral-7b-lora"));
    assert_eq!(base + lora, 100);
    assert!((60..=97).contains(&base), "{base} to the base model");
    assert!(gpus.iter().all(|gpu| !gpu.ledger().for_model("mistral-7b").is_empty()), "every host has worked");

    gpus.iter_mut().for_each(Fake::kill);
    assert_eq!(provider_of_call(101, &gateway).await, "azure");
    // Azure's own path, version and credential header (its REST reference, data plane).
    let entry = azure.ledger().last().expect("asked");
    let (path, query) = entry.path.split_once('?').expect("a query");
    assert_eq!(path, "/openai/deployments/gpt-4o-mini/chat/completions");
    assert!(query.starts_with("api-version=20"), "{query}");
    assert!(entry.headers.contains(&("api-key".into(), "azure-key".into())), "{:?}", entry.headers);
    assert!(!entry.headers.iter().any(|(name, _)| name == "authorization"), "{:?}", entry.headers);
    azure.kill();
    assert_eq!(provider_of_call(102, &gateway).await, "openai");
    let entry = openai.ledger().last().expect("asked");
    assert_eq!(entry.model, "gpt-4o-mini");
    assert!(entry.headers.contains(&("authorization".into(), "Bearer openai-key".into())));
}

/// Which provider answered the gateway's `n`th call; in the failure's message, what was tried.
async fn provider_of_call(n: usize, gateway: &Gateway) -> String {
    let answer = gateway.call("mistral-7b").await;
    let event = gateway.events(n).pop().expect("there");
    assert_eq!(answer.status(), 200, "{event}");
    event["provider"].as_str().expect("text").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn openai() {
    let options = Options { key: Some("account-key".to_owned()), ..Options::default() };
    let fake = Fake::start(options).expect("the fake upstream starts");
    let url = format!("{}/v1", fake.url());
    let environment = [("OPENAI_BASE_URL", url.as_str()), ("OPENAI_API_KEY", "account-key")];
    let gateway = start(&conf("openai.yaml"), &environment);
    let (status, answer) = say(&gateway, "gpt-4o-mini", "Good day").await;
    assert_eq!((status, content(&answer)), (StatusCode::OK, "You said: Good day"));
    let call =
        client().post(gateway.url("/v1/chat/completions")).json(&chat("gpt-4o-mini", "Good day", true));
    let mut events = Events::of(call.send().await.expect("answered"));
    let mut text = String::new();
    while let Some(piece) = events.text().await {
        text.push_str(&piece);
    }
    assert_eq!(text, "You said: Good day");
    let sent = fake.ledger().entries();
    assert!(sent.iter().all(|entry| !entry.headers.iter().any(|(_, value)| value.contains(KEY))));
}

/// Ends the demo with the test.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Demo {
    /// Starts it with `environment`; gives what it has printed once it serves.
    fn start(environment: &[(&str, &str)]) -> (Demo, String) {
        let (listen, admin) = (free_port().to_string(), free_port().to_string());
        let child = Command::new(binary())
            .args(["demo", "--listen", &listen, "--admin", &admin])
            .env_remove("OPENAI_API_KEY")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        let mut demo = Demo(child.expect("the binary starts"));
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let (stdout, written) = (demo.0.stdout.take().expect("piped"), Arc::clone(&lines));
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                written.lock().expect("no panic while held").push(line);
            }
        });
        let all = || lines.lock().expect("no panic while held").join("\n");
        until(|| all().contains("\"serving\"").then_some(()), "the demo serves");
        let printed = all();
        (demo, printed)
    }
}

fn has_curl() -> bool {
    let there = Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !there {
        eprintln!("no curl: the demo's calls were not run");
    }
    there
}

/// With an account's key the same calls go to the real provider; here to one that knows the key.
#[test]
fn demo_in_front_of_an_account() {
    if !has_curl() {
        return;
    }
    let options = Options { key: Some("account-key".to_owned()), ..Options::default() };
    let fake = Fake::start(options).expect("the fake upstream starts");
    fake.script("gpt-4o-mini", Script::says(["It is I."]));
    let url = format!("{}/v1", fake.url());
    let (_demo, printed) = Demo::start(&[("OPENAI_API_KEY", "account-key"), ("OPENAI_BASE_URL", &url)]);
    let calls: Vec<&str> = printed.split("# ").skip(1).collect();
    let first = paste(calls[0]);
    assert!(first.contains("It is I."), "{first}\n{printed}");
    assert!(!printed.contains("account-key"));
    let entry = fake.ledger().last().expect("asked");
    assert!(entry.headers.contains(&("authorization".into(), "Bearer account-key".into())));
}

/// The three calls that the demo prints are run as they stand.
#[test]
fn demo() {
    if !has_curl() {
        return;
    }
    let (_demo, printed) = Demo::start(&[]);
    let calls: Vec<&str> = printed.split("# ").skip(1).collect();
    assert_eq!(calls.len(), 3, "{printed}");
    let answers: Vec<String> = calls.iter().map(|call| paste(call)).collect();
    assert!(answers[0].contains("Hello!"), "{}", answers[0]);
    assert!(answers[1].contains("[EMAIL_1]") && answers[1].contains("[CREDIT_CARD_1]"), "{}", answers[1]);
    assert!(!answers[1].contains('@') && answers[1].contains("data: [DONE]"), "{}", answers[1]);
    assert!(answers[2].contains("PII_DETECTED"), "{}", answers[2]);
}

/// Runs one printed call: from `curl` to the end of its last line.
fn paste(call: &str) -> String {
    let start = call.find("curl ").expect("a call");
    let lines: Vec<&str> = call[start..].split('\n').collect();
    let last = lines.iter().position(|line| !line.ends_with('\\')).expect("it ends");
    let command = lines[..=last].join("\n");
    let output = Command::new("sh").args(["-c", &command]).output().expect("sh runs");
    said(&output)
}
