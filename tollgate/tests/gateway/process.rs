//! The process: how it starts, stops, hands over, and what is left after it was killed.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tollgate_fake_upstream::{Fake, Options, Script};

use crate::harness::{
    Events, Gateway, HEAD, KEY, ONE_UPSTREAM, PATIENCE, binary, chat, client, free_port, hit,
    in_front_of_fake, until,
};
use crate::ops::{Clients, said};
use crate::wire::{Wire, post};

fn with(process: &str) -> String {
    format!("{ONE_UPSTREAM}{process}\n")
}

async fn stream(gateway: &Gateway, model: &str) -> Events {
    let call = client().post(gateway.url("/v1/chat/completions")).json(&chat(model, "Count", true));
    Events::of(call.send().await.expect("answered"))
}

/// The admin listener's word on readiness.
async fn ready(gateway: &Gateway) -> u16 {
    reqwest::get(gateway.admin_url("/ready")).await.expect("answered").status().as_u16()
}

async fn stops_being_ready(gateway: &Gateway) {
    let looking = async {
        while ready(gateway).await != 503 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.expect("not ready any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_process_stops_at_once() {
    let (_fake, mut gateway) = in_front_of_fake(&with("process: {drain: 10m}"));
    let answer = gateway.call("m").await; // its connection stays open
    assert_eq!(answer.status(), 200);
    gateway.signal("TERM");
    assert_eq!(gateway.wait_end().code(), Some(0));
    assert_eq!(gateway.events(1).len(), 1);
    let said = gateway.verify();
    assert!(!said.contains("crash"), "a clean stop abandons nothing: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_in_flight_drains_to_its_end() {
    let (fake, mut gateway) = in_front_of_fake(&with("process: {drain: 10m}"));
    fake.script("gated", Script::gated(["One. ", "Two. "]));
    let mut events = stream(&gateway, "gated").await;
    assert_eq!(events.text().await.as_deref(), Some("One. "));
    gateway.signal("TERM");
    stops_being_ready(&gateway).await;
    until(|| std::net::TcpStream::connect(gateway.listen).is_err().then_some(()), "no new connection");
    fake.gate("gated").open_all();
    assert_eq!(events.text().await.as_deref(), Some("Two. "));
    assert_eq!(events.text().await, None);
    assert!(events.raw.ends_with(b"data: [DONE]\n\n"));
    assert_eq!(gateway.wait_end().code(), Some(0));
    let events = gateway.events(1);
    assert_eq!((events.len(), &events[0]["status"]), (1, &"success".into()));
    gateway.verify();
}

/// An HTTP/2 client is told to open no more streams (GOAWAY, RFC 9113 section 6.8); the one that it has goes on to its end.
#[tokio::test(flavor = "multi_thread")]
async fn an_http_2_connection_is_told_to_go_away() {
    let fake = Fake::start(Options::default()).expect("the fake upstream starts");
    let h2c = HEAD.replace("{address: \"${LISTEN}\"}", "{address: \"${LISTEN}\", h2c: true}");
    let yaml = format!("{h2c}{ONE_UPSTREAM}process: {{drain: 10m}}\n");
    let mut gateway = Gateway::start(&yaml, &[("UPSTREAM", &fake.url())]);
    fake.script("gated", Script::gated(["One. ", "Two. "]));
    let socket = tokio::net::TcpStream::connect(gateway.listen).await.expect("connected");
    let io = hyper_util::rt::TokioIo::new(socket);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let call = hyper::Request::post(gateway.url("/v1/chat/completions"))
        .header("authorization", format!("Bearer {KEY}"))
        .header("content-type", "application/json")
        .body(http_body_util::Full::new(bytes::Bytes::from(chat("gated", "Hi", true).to_string())));
    let answer = sender.send_request(call.expect("a request")).await.expect("answered");
    assert_eq!(answer.status(), 200);
    gateway.signal("TERM");
    let told = async {
        let health = || hyper::Request::get(gateway.url("/health")).body(http_body_util::Full::default());
        while sender.send_request(health().expect("a request")).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("no new stream");
    assert_eq!(fake.ledger().totals().requests - fake.ledger().totals().served, 1, "the stream goes on");
    fake.gate("gated").open_all();
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.expect("whole").to_bytes();
    assert!(body.ends_with(b"data: [DONE]\n\n"), "{}", String::from_utf8_lossy(&body));
    assert_eq!(gateway.wait_end().code(), Some(0));
    connection.await.expect("no panic").expect("ended well");
    assert_eq!(gateway.events(1)[0]["status"], "success");
}

/// Between the signal and the end of `pre_stop` the gateway is not ready, but still answers, and closes every connection.
#[tokio::test(flavor = "multi_thread")]
async fn before_it_stops_it_says_so() {
    let (_fake, mut gateway) = in_front_of_fake(&with("process: {pre_stop: 3s}"));
    let answer = gateway.call("m").await;
    assert!(answer.headers().get("connection").is_none_or(|value| value != "close"));
    gateway.signal("TERM");
    stops_being_ready(&gateway).await;
    let answer = gateway.call("m").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["connection"], "close");
    assert_eq!(gateway.wait_end().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_drain_what_is_in_flight_gets_an_error() {
    let (fake, mut gateway) = in_front_of_fake(&with("process: {drain: 1s}"));
    fake.script("silent", Script::silent());
    let call = client().post(gateway.url("/v1/chat/completions")).json(&chat("silent", "Hi", false));
    let plain = tokio::spawn(call.send());
    let asked = fake.ledger().until(PATIENCE, |entries| !entries.is_empty()).await;
    assert!(asked.is_ok(), "the plain call is in flight");
    fake.script("gated", Script::gated(["One. ", "Two. "]));
    let mut events = stream(&gateway, "gated").await;
    assert_eq!(events.text().await.as_deref(), Some("One. "));
    gateway.signal("TERM");
    let (rest, _) = events.rest().await;
    let last = rest.last().expect("an error event");
    assert!(last.contains("OVERLOADED") && last.contains("shutting down"), "{rest:?}");
    assert!(!rest.iter().any(|event| event.contains("[DONE]")));
    let answer = plain.await.expect("no panic").expect("answered");
    assert_eq!(answer.status(), 503);
    assert!(answer.text().await.expect("text").contains("OVERLOADED"));
    assert_eq!(gateway.wait_end().code(), Some(0));
    let events = gateway.events(2);
    assert_eq!(events.len(), 2);
    assert!(
        events.iter().all(|event| event["status"] == "error" && event["code"] == "OVERLOADED"),
        "{events:?}"
    );
    gateway.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn asked_to_stop_again_it_waits_for_nobody() {
    let (fake, mut gateway) = in_front_of_fake(&with("process: {pre_stop: 600s, drain: 600s}"));
    fake.script("gated", Script::gated(["One. ", "Two. "]));
    let mut events = stream(&gateway, "gated").await;
    assert_eq!(events.text().await.as_deref(), Some("One. "));
    gateway.signal("TERM");
    stops_being_ready(&gateway).await; // it waits for `pre_stop` now
    gateway.signal("TERM");
    let (rest, _) = events.rest().await;
    assert!(rest.last().is_some_and(|last| last.contains("OVERLOADED")), "{rest:?}");
    assert_eq!(gateway.wait_end().code(), Some(0));
    assert_eq!(gateway.events(1)[0]["code"], "OVERLOADED");
    gateway.verify();
}

/// A client that does not read holds up a write, and nothing else is looked at meanwhile: the end of the drain is.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_has_its_event_too() {
    let (fake, mut gateway) = in_front_of_fake(&with("process: {drain: 600s}"));
    // More than all buffers between here and there hold, and nothing that a guard would read first.
    let answer = format!("{{\"object\": \"list\", \"data\": [{}0]}}", "0, ".repeat(32 << 20));
    let length = answer.len();
    fake.script("m", Script::raw(200, "application/json", answer));
    let mut wire = Wire::open(gateway.listen);
    wire.send(&post("/v1/embeddings", r#"{"model": "m", "input": "text"}"#));
    let (mut before, mut there) = (0, vec![0; length]);
    let stuck = || {
        std::thread::sleep(Duration::from_millis(200));
        let now = wire.peek(&mut there);
        (std::mem::replace(&mut before, now) == now).then_some(now)
    };
    assert!(until(stuck, "the write to stand still") < length, "it is in flight");
    gateway.signal("TERM");
    stops_being_ready(&gateway).await;
    gateway.signal("TERM");
    assert_eq!(gateway.wait_end().code(), Some(0));
    let events = gateway.events(1);
    assert_eq!((events.len(), &events[0]["status"]), (1, &"cancelled".into()));
    let said = gateway.verify();
    assert!(!said.contains("shutdown"), "{said}");
}

/// A request that nothing can end does not hold up the end of the process: its number is reported as a gap.
#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_end_with_the_drain_is_a_gap() {
    let fake = Fake::start(Options::default()).expect("the fake upstream starts");
    let url = fake.url();
    let environment = [("UPSTREAM", url.as_str()), ("TOLLGATE_FAIL_POINT", "standstill@stuck")];
    let yaml = format!("{HEAD}{}", with("process: {drain: 600s}"));
    let mut gateway = Gateway::start(&yaml, &environment);
    assert_eq!(gateway.status_of("m").await, 200);
    let call = client().post(gateway.url("/v1/chat/completions")).header("x-request-id", "stuck");
    let stuck = tokio::spawn(call.json(&chat("m", "Hi", false)).send());
    let in_flight = || (gateway.metric("tollgate_requests_in_flight", "") == 1.0).then_some(());
    until(in_flight, "the request stands still");
    gateway.signal("TERM");
    stops_being_ready(&gateway).await;
    gateway.signal("TERM");
    assert_eq!(gateway.wait_end().code(), Some(0));
    assert!(stuck.await.expect("no panic").is_err(), "its connection ends with the process");
    let events = gateway.events(1);
    assert!(events.iter().all(|event| event["request_id"] != "stuck"), "{events:?}");
    let said = gateway.verify();
    assert!(said.contains("shutdown"), "{said}");
}

/// What the gateway says it has committed is in the trail after a kill; the numbers that were lost are reported.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_only_what_was_not_committed() {
    /// Enough commits to see that they come while there is load, and not at its end.
    const MANY: f64 = 200.0;
    let (_fake, mut gateway) = in_front_of_fake(&with("audit: {commit_interval: 50ms}"));
    let clients = Clients::start(8, &gateway.url("/v1/chat/completions"), "m");
    let committed = || gateway.metric("tollgate_audit_events_total", "outcome=\"committed\"");
    let at_least = until(|| Some(committed()).filter(|count| *count >= MANY), "commits under load");
    // Whoever was answered so long ago that all since then has been committed is in the trail by name.
    let early = clients.answered();
    until(|| (committed() >= at_least + early.len() as f64).then_some(()), "as many commits again");
    gateway.signal("KILL");
    gateway.wait_end();
    let tally = clients.stop().await;
    assert!(tally.answered.len() >= early.len());

    gateway.restart();
    until(|| (gateway.metric("tollgate_audit_gaps_total", "") >= 1.0).then_some(()), "the gap's report");
    let events = gateway.events(at_least as usize + early.len());
    let known: std::collections::HashSet<_> =
        events.iter().filter_map(|event| event["request_id"].as_str()).collect();
    let missing: Vec<_> = early.iter().filter(|id| !known.contains(id.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(gateway.status_of("m").await, 200);
    gateway.events(events.len() + 1);
    let said = gateway.verify();
    assert!(said.contains("crash"), "{said}");
    let lost = tally.answered.iter().filter(|id| !known.contains(id.as_str())).count();
    hit(&[
        ("kills", 1),
        ("answered", tally.answered.len() as u64),
        ("answered_without_event_max", lost as u64),
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_successor_sigquit_is_refused() {
    let (_fake, gateway) = in_front_of_fake(ONE_UPSTREAM);
    gateway.signal("QUIT");
    gateway.wait_log("SIGQUIT refused");
    assert_eq!(gateway.status_of("m").await, 200);
    assert_eq!(ready(&gateway).await, 200);
}

/// Under load, with a stream in flight, another process takes the sockets. No request fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_successor_takes_over() {
    let (fake, mut old) = in_front_of_fake(&with("process: {drain: 10m}"));
    fake.script("gated", Script::gated(["One. ", "Two. "]));
    let mut events = stream(&old, "gated").await;
    assert_eq!(events.text().await.as_deref(), Some("One. "));
    let clients = Clients::start(8, &old.url("/v1/chat/completions"), "m");
    let more = |what: &str| {
        let enough = clients.answered().len() + 20;
        until(|| (clients.answered().len() >= enough).then_some(()), what);
    };

    let new = old.successor();
    until(|| waits(&old).then_some(()), "the successor waits");
    more("answers of the old process");
    old.signal("QUIT");
    new.wait_log("serving");
    more("answers while both run");
    fake.gate("gated").open(1);
    assert_eq!(events.text().await.as_deref(), Some("Two. "));
    fake.gate("gated").open_all();
    assert_eq!(events.text().await, None);
    assert!(events.raw.ends_with(b"data: [DONE]\n\n"));
    assert_eq!(old.wait_end().code(), Some(0));

    assert_eq!(new.status_of("m").await, 200);
    until(|| (new.metric("tollgate_config_generation", "") == 1.0).then_some(()), "the admin listener");
    let tally = clients.stop().await;
    assert_eq!(tally.failed, Vec::<String>::new());
    hit(&[("hand_overs", 1), ("calls", tally.answered.len() as u64), ("failed", 0)]);
    let count = tally.answered.len() + 2;
    assert_eq!(new.events(count).len(), count);
    assert!(!new.verify().contains("crash"));
}

/// Whether a successor listens on the hand-over socket.
fn waits(gateway: &Gateway) -> bool {
    let socket = gateway.dir.path().canonicalize().expect("there").join("state/run/upgrade.sock");
    let sockets = std::fs::read_to_string("/proc/net/unix").expect("Linux");
    sockets.lines().any(|line| line.ends_with(socket.to_str().expect("UTF-8")))
}

/// `tollgate serve` with a file that must not start: exit code and words.
fn refused(yaml: &str, listen: SocketAddr, admin: SocketAddr) -> (Option<i32>, String) {
    let dir = TempDir::new().expect("a folder");
    let config = dir.path().join("tollgate.yaml");
    std::fs::write(&config, yaml).expect("written");
    std::fs::write(dir.path().join("broken.pem"), "not a certificate").expect("written");
    // Root may read what nobody may, but not even root reads a folder.
    std::fs::create_dir(dir.path().join("unreadable")).expect("made");
    let mut child = Command::new(binary())
        .args(["serve", "-c"])
        .arg(&config)
        .env("LISTEN", listen.to_string())
        .env("ADMIN", admin.to_string())
        .env("STATE_DIR", dir.path().join("state"))
        .env("TOLLGATE_KEY", KEY)
        .env("UPSTREAM", "http://127.0.0.1:9")
        .env("BROKEN", dir.path().join("broken.pem"))
        .env("UNREADABLE", dir.path().join("unreadable"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().expect("waitable").is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let output = child.wait_with_output().expect("ended");
    (output.status.code(), said(&output))
}

#[test]
fn a_start_that_fails_says_why() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("bound");
    let yaml = format!("{HEAD}{ONE_UPSTREAM}");
    let tls = |files: &str| yaml.replace(r#""${LISTEN}""#, &format!(r#""${{LISTEN}}", tls: {{{files}}}"#));
    let ca = |key: &str| {
        yaml.replace(
            r#"base_urls: ["${UPSTREAM}"]"#,
            &format!(r#"base_urls: ["https://127.0.0.1:9"], {key}"#),
        )
    };
    let table = [
        ("a port that is taken", yaml.clone(), taken, free_port(), 1, format!("cannot listen on {taken}")),
        ("the admin port", yaml.clone(), free_port(), taken, 1, format!("cannot listen on {taken}")),
        (
            "no key file",
            tls("cert: /none.pem, key: /none.pem"),
            free_port(),
            free_port(),
            78,
            "/none.pem".into(),
        ),
        (
            "a key file that cannot be read",
            tls(r#"cert: "${BROKEN}", key: "${UNREADABLE}""#),
            free_port(),
            free_port(),
            78,
            "unreadable".into(),
        ),
        (
            "a broken certificate",
            tls(r#"cert: "${BROKEN}", key: "${BROKEN}""#),
            free_port(),
            free_port(),
            1,
            "broken.pem".into(),
        ),
        ("a broken CA", ca(r#"ca: "${BROKEN}""#), free_port(), free_port(), 1, "broken.pem".into()),
        ("no CA", ca("ca: /none.pem"), free_port(), free_port(), 78, "/none.pem".into()),
        (
            "a long state directory",
            yaml.replace("${STATE_DIR}", &format!("${{STATE_DIR}}/{}", "deep/".repeat(20))),
            free_port(),
            free_port(),
            1,
            "a socket's path may have 107".into(),
        ),
    ];
    for (what, yaml, listen, admin, code, words) in table {
        let (got, said) = refused(&yaml, listen, admin);
        assert_eq!(got, Some(code), "{what}: {said}");
        assert!(said.contains(&words), "{what}: {said}");
    }
}

/// As during an upgrade: each has its own spool, and one store holds what both have seen.
#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_a_state_directory() {
    let (fake, mut one) = in_front_of_fake(ONE_UPSTREAM);
    let mut two = Gateway::start_file(&one.config, Arc::clone(&one.dir), &[("UPSTREAM", &fake.url())], &[]);
    for _ in 0..3 {
        assert_eq!(one.status_of("m").await, 200);
        assert_eq!(two.status_of("m").await, 200);
    }
    assert_eq!(one.events(6).len(), 6);
    for gateway in [&mut one, &mut two] {
        gateway.signal("TERM");
        assert_eq!(gateway.wait_end().code(), Some(0));
    }
    assert_eq!(one.events(6).len(), 6);
    assert!(!one.verify().contains("crash"));
}

/// What systemd hears (sd_notify(3), `Type=notify`).
#[tokio::test(flavor = "multi_thread")]
async fn the_service_manager_is_told() {
    let dir = TempDir::new().expect("a folder");
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("bound");
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    let heard = move |wanted: &str| {
        let mut buffer = [0; 4096];
        loop {
            let n = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{wanted}: {error}"));
            let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
            if text.lines().any(|line| line == wanted) {
                return text;
            }
        }
    };
    let fake = Fake::start(Options::default()).expect("the fake upstream starts");
    let yaml = format!("{HEAD}{ONE_UPSTREAM}");
    let notify = path.display().to_string();
    let environment =
        [("UPSTREAM", fake.url()), ("NOTIFY_SOCKET", notify), ("TOLLGATE_FAIL_POINT", "reload@2".to_owned())];
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut gateway = Gateway::start(&yaml, &environment);
    assert!(heard("READY=1").contains(&format!("MAINPID={}", gateway.pid())));
    gateway.signal("HUP");
    // systemd takes a reload only with the time of its start (systemd.service(5), `Type=notify-reload`).
    assert!(heard("RELOADING=1").contains("MONOTONIC_USEC="));
    heard("READY=1"); // although it panicked: what was in force is in force
    gateway.wait_rejected(1);
    assert!(gateway.wait_log("reload refused").contains("panicked"));
    assert_eq!(gateway.status_of("m").await, 200);
    gateway.signal("TERM");
    heard("STOPPING=1");
    assert_eq!(gateway.wait_end().code(), Some(0));
}

/// A bug in one request is that request's end: its connection closes, its tokens settle, it has one event, all else goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_one_request() {
    for place in ["attempt", "answer"] {
        let fake = Fake::start(Options::default()).expect("the fake upstream starts");
        fake.script("m", Script::says(["Hi"]).tokens(10, 10));
        let limits = "limits: [{id: few, scope: key, tokens: 1000/day, token_burst: 1000, concurrency: 1}]\n";
        let fail = format!("{place}@doomed");
        let environment = [("UPSTREAM", fake.url()), ("TOLLGATE_FAIL_POINT", fail)];
        let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let gateway = Gateway::start(&format!("{HEAD}{ONE_UPSTREAM}{limits}"), &environment);
        let mut body = chat("m", "Hi", false);
        body["max_tokens"] = 500.into();
        let call = |id: &str| {
            let call = client().post(gateway.url("/v1/chat/completions")).header("x-request-id", id);
            call.json(&body).send()
        };
        assert!(call("doomed").await.is_err(), "{place}: the connection closes");
        let answer = call("next").await.expect("answered");
        // There is one place, and room for one reservation of 500 tokens and some: the first one was settled.
        assert_eq!(answer.status(), 200, "{place}: {:?}", answer.text().await);

        let events = gateway.events(2);
        assert_eq!(events.len(), 2);
        let doomed = events.iter().find(|event| event["request_id"] == "doomed").expect("recorded");
        assert_eq!((&doomed["status"], &doomed["code"]), (&"error".into(), &"ABANDONED".into()), "{place}");
        until(
            || (gateway.metric("tollgate_requests_in_flight", "") == 0.0).then_some(()),
            "nothing in flight",
        );
    }
}
