//! Reloads: everything of the new file or nothing, and no request, count or drain is lost.

use std::time::Duration;

use reqwest::Method;
use tollgate_fake_upstream::{Fake, Options, Script};

use crate::harness::{Events, Gateway, chat, client, free_port, hit, until};
use crate::ops::{Clients, head};

/// One upstream under the model names `names`.
fn serving(names: &[&str], rest: &str) -> String {
    let models: Vec<_> =
        names.iter().map(|name| format!("  - {{name: \"{name}\", targets: [{{provider: up}}]}}")).collect();
    format!(
        "{}providers: [{{id: up, kind: vllm, base_urls: [\"${{UPSTREAM}}\"]}}]\nmodels:\n{}\n{rest}\n",
        head(),
        models.join("\n")
    )
}

fn start(yaml: &str) -> (Fake, Gateway) {
    let fake = Fake::start(Options::default()).expect("the fake upstream starts");
    let gateway = Gateway::start(yaml, &[("UPSTREAM", &fake.url())]);
    (fake, gateway)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_generation_is_in_force_whole() {
    let (_fake, gateway) = start(&serving(&["one"], ""));
    gateway.wait_generation(1);
    assert_eq!(gateway.status_of("one").await, 200);
    assert_eq!(gateway.status_of("two").await, 404);
    gateway.reload(&serving(&["two"], ""), 2);
    assert_eq!(gateway.status_of("one").await, 404);
    assert_eq!(gateway.status_of("two").await, 200);
    let (status, config) = gateway.admin(Method::POST, "/admin/reload").await;
    assert_eq!((status, &config["generation"]), (200, &3.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_changes_nothing_and_says_why() {
    let (_fake, gateway) = start(&serving(&["one"], ""));
    gateway.write(&serving(&["two"], "modelss: 3"));
    gateway.signal("HUP");
    gateway.wait_rejected(1);
    assert_eq!(gateway.metric("tollgate_config_generation", ""), 1.0);
    assert_eq!(gateway.metric("tollgate_config_last_reload_ok", ""), 0.0);
    let (_, config) = gateway.admin(Method::GET, "/admin/config").await;
    assert!(config["last_error"]["message"].as_str().expect("an error").contains("modelss"), "{config}");
    assert_eq!(config["generation"], 1);
    let (_, again) = gateway.admin(Method::GET, "/admin/config").await;
    assert_eq!(
        config["last_error"]["at"], again["last_error"]["at"],
        "the time of the reload, not of the look"
    );
    assert!(gateway.wait_log("reload refused").contains("modelss"));
    assert_eq!(gateway.status_of("one").await, 200);
    assert_eq!(gateway.status_of("two").await, 404);
    let (status, answer) = gateway.admin(Method::POST, "/admin/reload").await;
    assert_eq!(status, 422);
    let problems = answer["error"]["problems"].as_array().expect("a list");
    assert_eq!(problems.len(), 1, "{answer}");
    assert_eq!(problems[0]["path"], "modelss");
    let line = std::fs::read_to_string(&gateway.config)
        .expect("read")
        .lines()
        .position(|l| l.starts_with("modelss"));
    assert_eq!(problems[0]["line"].as_u64(), line.map(|at| at as u64 + 1));

    gateway.reload(&serving(&["two"], ""), 2);
    assert_eq!(gateway.metric("tollgate_config_last_reload_ok", ""), 1.0);
    let (_, config) = gateway.admin(Method::GET, "/admin/config").await;
    assert_eq!(config["last_error"], serde_json::Value::Null);
    assert_eq!(gateway.status_of("two").await, 200);
}

/// The main file is as it was: what it names has changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_file_is_read_again() {
    let rules = tempfile::NamedTempFile::new().expect("a file");
    let write = |word: &str| {
        let rule = format!(
            "- id: project\n  kind: project\n  severity: high\n  pattern: \"Project {word}\"\n  examples: {{match: [\"Project {word}\"], no_match: [\"Project X\"]}}\n"
        );
        std::fs::write(rules.path(), rule).expect("written");
    };
    write("Orion");
    let guard = format!(
        "guardrails: {{profile: strict, rules: [\"{}\"], overrides: [{{kind: project, action: block}}]}}",
        rules.path().display()
    );
    let yaml = serving(&["m"], &guard);
    let (_fake, gateway) = start(&yaml);
    let status = async |text: &str| {
        let call = client().post(gateway.url("/v1/chat/completions")).json(&chat("m", text, false));
        call.send().await.expect("answered").status().as_u16()
    };
    assert_eq!((status("About Project Orion").await, status("About Project Vega").await), (400, 200));
    write("Vega");
    gateway.reload(&yaml, 2);
    assert_eq!((status("About Project Orion").await, status("About Project Vega").await), (200, 400));

    std::fs::write(rules.path(), "- id: project\n  kind: [").expect("written");
    gateway.signal("HUP");
    gateway.wait_rejected(1);
    assert_eq!((status("About Project Orion").await, status("About Project Vega").await), (200, 400));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_socket_is_refused() {
    let yaml = serving(&["one"], "");
    let (_fake, gateway) = start(&yaml);
    let elsewhere = free_port().to_string();
    for (key, what) in [("LISTEN", "listeners[0].address"), ("ADMIN", "admin.address")] {
        gateway.write(&yaml.replace(&format!("${{{key}}}"), &elsewhere));
        let (status, answer) = gateway.admin(Method::POST, "/admin/reload").await;
        assert_eq!(status, 422);
        let message = answer["error"]["message"].as_str().expect("a message");
        assert!(message.contains(what) && message.contains("restart"), "{message}");
    }
    assert_eq!(gateway.status_of("one").await, 200);
}

/// Every second file is broken. The clients never notice, each good file's own model answers, and the bucket is as full as it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_reloads_under_load_fail_no_request() {
    let limit = "limits: [{id: few, scope: key, only: {model: counted}, requests: 10/day, burst: 10}]";
    // No probes: the upstream counts nothing but calls, and of those all, however many there are.
    let quiet = |yaml: String| yaml.replace("kind: vllm,", "kind: vllm, health: {enabled: false},");
    let file = |n: u64| quiet(serving(&["steady", "counted", &format!("generation-{n}")], limit));
    let (fake, gateway) = start(&file(1));
    for _ in 0..5 {
        assert_eq!(gateway.status_of("counted").await, 200);
    }
    let clients = Clients::start(4, &gateway.url("/v1/chat/completions"), "steady");
    for n in 2..=51 {
        gateway.write(&serving(&["broken"], "limits: [{id: few"));
        gateway.signal("HUP");
        gateway.wait_rejected(n - 1);
        gateway.reload(&file(n), n);
        assert_eq!(gateway.status_of(&format!("generation-{n}")).await, 200);
        assert_eq!(gateway.status_of(&format!("generation-{}", n - 1)).await, 404);
    }
    let tally = clients.stop().await;
    assert_eq!(tally.failed, Vec::<String>::new());
    assert!(tally.answered.len() >= 50, "the load was a load: {}", tally.answered.len());
    let (counted, of_generations) = (5, 50);
    assert_eq!(fake.ledger().totals().served, tally.answered.len() as u64 + counted + of_generations);
    assert_eq!(remaining(&gateway).await, "4");
    hit(&[("reloads", 100), ("refused_reloads", 50), ("calls", tally.answered.len() as u64), ("failed", 0)]);
}

async fn remaining(gateway: &Gateway) -> String {
    let answer = gateway.call("counted").await;
    answer.headers()["x-ratelimit-remaining-requests"].to_str().expect("text").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_keeps_what_was_used() {
    let file = |burst: u64| {
        let limit = format!("limits: [{{id: few, scope: key, requests: 10/day, burst: {burst}}}]");
        serving(&["counted"], &limit)
    };
    let (_fake, gateway) = start(&file(10));
    for left in (5..10).rev() {
        assert_eq!(remaining(&gateway).await, left.to_string());
    }
    gateway.reload(&file(10), 2);
    assert_eq!(remaining(&gateway).await, "4");
    gateway.reload(&file(20), 3);
    assert_eq!(remaining(&gateway).await, "13"); // seven used
    gateway.reload(&file(5), 4);
    assert_eq!(gateway.status_of("counted").await, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_flight_keeps_its_rules() {
    let (fake, gateway) = start(&serving(&["gated"], "guardrails: {profile: strict}"));
    fake.script("gated", Script::gated(["One. ", "Write to alice@corp.com today."]));
    let gate = fake.gate("gated");
    let ask = || client().post(gateway.url("/v1/chat/completions")).json(&chat("gated", "Who?", true)).send();
    let mut old = Events::of(ask().await.expect("answered"));
    assert_eq!(old.text().await.as_deref(), Some("One. "));
    let lax = "guardrails: {profile: strict, overrides: [{kind: email, direction: answer, action: \"off\"}]}";
    gateway.reload(&serving(&["gated"], lax), 2);
    gate.open_all();
    let rest = |mut events: Events| async move {
        let mut text = String::new();
        while let Some(piece) = events.text().await {
            text.push_str(&piece);
        }
        text
    };
    assert_eq!(rest(old).await, "Write to [EMAIL_1] today.");
    let new = Events::of(ask().await.expect("answered"));
    assert_eq!(rest(new).await, "One. Write to alice@corp.com today.");
}

/// Two upstreams under one name.
fn pair(extra: &str) -> String {
    format!(
        "{}providers:\n  - {{id: a, kind: vllm, base_urls: [\"${{A}}\"]{extra}}}\n  - {{id: b, kind: vllm, base_urls: [\"${{B}}\"]}}\n\
         models: [{{name: m, targets: [{{provider: a}}, {{provider: b}}]}}]\n",
        head()
    )
}

fn start_pair(extra: &str) -> (Fake, Fake, Gateway) {
    let (a, b) = (Fake::start(Options::default()), Fake::start(Options::default()));
    let (a, b) = (a.expect("starts"), b.expect("starts"));
    let gateway = Gateway::start(&pair(extra), &[("A", &a.url()), ("B", &b.url())]);
    (a, b, gateway)
}

/// The admin API's entry for the provider `a`.
async fn target_a(gateway: &Gateway) -> serde_json::Value {
    let (status, list) = gateway.admin(Method::GET, "/admin/upstreams").await;
    assert_eq!(status, 200, "{list}");
    let mut list = list["upstreams"].as_array().expect("a list").iter();
    list.find(|target| target["provider"] == "a").expect("listed").clone()
}

/// Of ten more calls, how many reached each.
async fn ten_calls(gateway: &Gateway, a: &Fake, b: &Fake) -> (usize, usize) {
    let count = || (a.ledger().for_model("m").len(), b.ledger().for_model("m").len());
    let before = count();
    for _ in 0..10 {
        assert_eq!(gateway.status_of("m").await, 200);
    }
    let after = count();
    (after.0 - before.0, after.1 - before.1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_outlives_reload_and_restart() {
    let (a, b, mut gateway) = start_pair("");
    let name = target_a(&gateway).await["name"].as_str().expect("a name").replace('/', "%2F");
    let (status, answer) = gateway.admin(Method::POST, &format!("/admin/upstreams/{name}/drain")).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(ten_calls(&gateway, &a, &b).await, (0, 10));
    gateway.reload(&format!("{}\nbounds: {{max_body: 1MiB}}\n", pair("")), 2);
    assert_eq!(ten_calls(&gateway, &a, &b).await, (0, 10));
    gateway.signal("TERM");
    gateway.restart();
    assert_eq!(target_a(&gateway).await["drained"], true);
    assert_eq!(ten_calls(&gateway, &a, &b).await, (0, 10));
    let (status, _) = gateway.admin(Method::POST, &format!("/admin/upstreams/{name}/undrain")).await;
    assert_eq!(status, 200);
    until(|| (gateway.metric("tollgate_target_up", r#"provider="a""#) == 1.0).then_some(()), "a is up");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_breaker_stays_open_over_a_reload() {
    let extra = ", breaker: {consecutive_failures: 1, open: 10m, max_open: 10m}";
    let (a, b, gateway) = start_pair(extra);
    a.script("m", Script::error(500, "broken"));
    let calls = async {
        while target_a(&gateway).await["breaker"] == "closed" {
            assert_eq!(gateway.status_of("m").await, 200); // b answers where a fails
        }
    };
    tokio::time::timeout(Duration::from_secs(30), calls).await.expect("it opens");
    assert_eq!(target_a(&gateway).await["breaker"], "open");
    gateway.reload(&format!("{}\nbounds: {{max_body: 1MiB}}\n", pair(extra)), 2);
    assert_eq!(target_a(&gateway).await["breaker"], "open");
    assert_eq!(ten_calls(&gateway, &a, &b).await, (0, 10));
}

/// The second file names one more file; a change in that one is seen, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_reloads_by_itself() {
    let watch = "process: {watch: 1s}";
    let (_fake, gateway) = start(&serving(&["one"], watch));
    let prices = gateway.dir.path().join("prices.yaml");
    let price =
        |input: u32| format!("as_of: 2026-01-01\nmodels: [{{name: one, input: {input}, output: 1}}]\n");
    std::fs::write(&prices, price(1)).expect("written");
    gateway.write(&serving(&["one"], &format!("{watch}\nprices: {}", prices.display())));
    gateway.wait_generation(2);
    std::fs::write(&prices, price(2)).expect("written");
    gateway.wait_generation(3);
    // A broken one is refused once, not with every look, and its repair is seen.
    std::fs::write(&prices, "as_of: [").expect("written");
    gateway.wait_rejected(1);
    std::fs::write(&prices, price(3)).expect("written");
    gateway.wait_generation(4);
    assert_eq!(gateway.metric("tollgate_config_reloads_total", r#"outcome="rejected""#), 1.0);
}

/// What a full queue does is the new file's to say; how many places it has is the running process's.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_audit_queue_does_is_taken_over_and_its_size_is_not() {
    let file = |audit: &str| serving(&["held", "m"], &format!("audit: {{{audit}}}"));
    let (fake, gateway) = start(&file("queue: 1, when_full: drop"));
    fake.script("held", Script::gated(["a"]));
    let call = client().post(gateway.url("/v1/chat/completions")).json(&chat("held", "Hi", true));
    let held = call.send().await.expect("answered"); // it holds the only place
    let ready = async || reqwest::get(gateway.url("/ready")).await.expect("answered").status().as_u16();
    assert_eq!((gateway.status_of("m").await, ready().await), (200, 200));
    gateway.reload(&file("queue: 1, when_full: refuse"), 2);
    assert_eq!((gateway.status_of("m").await, ready().await), (503, 503));
    // A larger queue waits for the next start, so this one is as full as it was.
    gateway.reload(&file("queue: 1000, when_full: refuse"), 3);
    assert!(gateway.wait_log("audit.queue").contains("until the next start"));
    assert_eq!((gateway.status_of("m").await, ready().await), (503, 503));
    gateway.reload(&file("queue: 1, when_full: drop"), 4);
    assert_eq!((gateway.status_of("m").await, ready().await), (200, 200));
    fake.gate("held").open_all();
    assert_eq!(held.text().await.expect("whole").matches("[DONE]").count(), 1);
}

/// A smaller queue in the file does not make the running one full.
#[tokio::test(flavor = "multi_thread")]
async fn readiness_goes_by_the_queue_that_runs() {
    let file = |queue: usize| serving(&["held"], &format!("audit: {{queue: {queue}}}"));
    let (fake, gateway) = start(&file(1000));
    fake.script("held", Script::gated(["a"]));
    let call = || client().post(gateway.url("/v1/chat/completions")).json(&chat("held", "Hi", true)).send();
    let _held = (call().await.expect("answered"), call().await.expect("answered"));
    gateway.reload(&file(1), 2);
    let ready = reqwest::get(gateway.url("/ready")).await.expect("answered").status();
    assert_eq!(ready, 200);
}

/// Reloads asked for at once are done one by one, each from the file as it is by then: every one is a generation of its own, and
/// the newest file is the one in force.
#[tokio::test(flavor = "multi_thread")]
async fn reloads_at_once_are_done_in_turn_and_the_newest_wins() {
    const RELOADS: u64 = 6;
    let (_fake, gateway) = start(&serving(&["generation-1"], ""));
    let gateway = std::sync::Arc::new(gateway);
    let mut asked = Vec::new();
    for n in 2..=RELOADS + 1 {
        let next = gateway.config.with_extension("next");
        std::fs::write(&next, serving(&[&format!("generation-{n}")], "")).expect("written");
        std::fs::rename(&next, &gateway.config).expect("in its place"); // never half a file
        let gateway = std::sync::Arc::clone(&gateway);
        asked.push(tokio::spawn(async move { gateway.admin(Method::POST, "/admin/reload").await }));
    }
    let mut generations = Vec::new();
    for asked in asked {
        let (status, config) = asked.await.expect("no panic");
        assert_eq!(status, 200, "{config}");
        generations.push(config["generation"].as_u64().expect("a number"));
    }
    gateway.wait_generation(RELOADS + 1);
    assert_eq!(gateway.metric("tollgate_config_reloads_total", r#"outcome="applied""#), (RELOADS + 1) as f64);
    assert!(generations.contains(&(RELOADS + 1)), "{generations:?}");
    assert_eq!(gateway.status_of(&format!("generation-{}", RELOADS + 1)).await, 200);
    assert_eq!(gateway.status_of("generation-1").await, 404);
}
