//! Starts the binary, talks to it, and looks at what it left behind.

#![allow(dead_code)] // each test file uses its own part

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tollgate_fake_upstream::{Fake, Options};

/// Nothing in these tests takes this long; it bounds how long a failure takes to show.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How many times the usual load fault tests put on: `scripts/chaos` asks for more.
pub(crate) fn load() -> usize {
    let asked = std::env::var("TOLLGATE_TEST_LOAD").ok().and_then(|times| times.parse().ok());
    asked.unwrap_or(1).clamp(1, 100)
}

/// Says what a fault hit: `scripts/chaos` adds these lines up, or takes the most of what ends in `_max`.
pub(crate) fn hit(counts: &[(&str, u64)]) {
    let counts: Vec<String> = counts.iter().map(|(name, count)| format!("{name}={count}")).collect();
    eprintln!("hit: {}", counts.join(" "));
}

pub(crate) const KEY: &str = "tg_dev_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Everything above `providers` in a test's configuration; `${…}` come from the harness.
pub(crate) const HEAD: &str = r#"
listeners: [{address: "${LISTEN}"}]
admin: {address: "${ADMIN}"}
state_dir: "${STATE_DIR}"
organizations:
  - {id: acme, applications: [{id: chat, keys: [{id: dev, key: "${TOLLGATE_KEY}"}]}]}
"#;

/// One upstream, any model name passed on, profile `strict`.
pub(crate) const ONE_UPSTREAM: &str = r#"
providers: [{id: up, kind: vllm, base_urls: ["${UPSTREAM}"]}]
models: [{name: "*", targets: [{provider: up}]}]
guardrails: {profile: strict}
"#;

/// A running gateway. Killed when dropped.
pub(crate) struct Gateway {
    child: Child,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) dir: Arc<TempDir>,
    pub(crate) config: PathBuf,
    environment: Vec<(String, String)>,
    lines: Arc<Mutex<Vec<String>>>,
}

/// A port that nobody listens on, of those that no outgoing connection is given (Linux: 32768 and up): it stays free until it is used.
pub(crate) fn free_port() -> SocketAddr {
    const PORTS: std::ops::Range<u32> = 20_000..32_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id() * 61;
    loop {
        let port = PORTS.start + (first + NEXT.fetch_add(1, Relaxed)) % PORTS.len() as u32;
        if let Ok(probe) = TcpListener::bind(("127.0.0.1", port as u16)) {
            return probe.local_addr().expect("bound");
        }
    }
}

pub(crate) fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_tollgate")
}

/// A fake upstream, and a gateway in front of it with [`HEAD`] and `rest`.
pub(crate) fn in_front_of_fake(rest: &str) -> (Fake, Gateway) {
    let fake = Fake::start(Options::default()).expect("the fake upstream starts");
    let gateway = Gateway::start(&format!("{HEAD}{rest}"), &[("UPSTREAM", &fake.url())]);
    (fake, gateway)
}

impl Gateway {
    /// Writes `yaml` into a fresh folder and starts `tollgate serve` with it; returns when it is ready.
    pub(crate) fn start(yaml: &str, environment: &[(&str, &str)]) -> Gateway {
        let dir = Arc::new(TempDir::new().expect("a folder"));
        let config = dir.path().join("tollgate.yaml");
        std::fs::write(&config, yaml).expect("written");
        Gateway::start_file(&config, dir, environment, &[])
    }

    /// The same as an argument of `command`, which must leave the process in its own place.
    pub(crate) fn start_under(command: &[&str], yaml: &str, environment: &[(&str, &str)]) -> Gateway {
        let dir = Arc::new(TempDir::new().expect("a folder"));
        let config = dir.path().join("tollgate.yaml");
        std::fs::write(&config, yaml).expect("written");
        let words = [command, &[binary()]].concat();
        Gateway::start_by(&words, &config, dir, environment, &[])
    }

    /// The same with a file that is there already, and further arguments.
    pub(crate) fn start_file(
        config: &Path,
        dir: Arc<TempDir>,
        environment: &[(&str, &str)],
        arguments: &[&str],
    ) -> Gateway {
        Gateway::start_by(&[binary()], config, dir, environment, arguments)
    }

    fn start_by(
        command: &[&str],
        config: &Path,
        dir: Arc<TempDir>,
        environment: &[(&str, &str)],
        arguments: &[&str],
    ) -> Gateway {
        let (listen, admin) = (free_port(), free_port());
        let mut all = vec![
            ("LISTEN".to_owned(), listen.to_string()),
            ("ADMIN".to_owned(), admin.to_string()),
            ("STATE_DIR".to_owned(), dir.path().join("state").display().to_string()),
            ("TOLLGATE_KEY".to_owned(), KEY.to_owned()),
        ];
        all.extend(environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let listen = address(&all, "LISTEN");
        let admin = address(&all, "ADMIN");
        let mut gateway = Gateway {
            child: spawn(command, config, &all, arguments),
            listen,
            admin,
            dir,
            config: config.to_owned(),
            environment: all,
            lines: Arc::default(),
        };
        gateway.collect_lines();
        gateway.wait_ready();
        gateway
    }

    /// Starts the same file in the same folder again, after this process has ended.
    pub(crate) fn restart(&mut self) {
        let _ = self.child.wait();
        self.child = spawn(&[binary()], &self.config, &self.environment, &[]);
        self.collect_lines();
        self.wait_ready();
    }

    /// A second process with `--take-over`: same file, same sockets. Not waited for: it waits for this one.
    pub(crate) fn successor(&self) -> Gateway {
        let mut successor = Gateway {
            child: spawn(&[binary()], &self.config, &self.environment, &["--take-over"]),
            listen: self.listen,
            admin: self.admin,
            dir: Arc::clone(&self.dir),
            config: self.config.clone(),
            environment: self.environment.clone(),
            lines: Arc::default(),
        };
        successor.collect_lines();
        successor
    }

    fn collect_lines(&mut self) {
        let stdout = self.child.stdout.take().expect("piped");
        let lines = Arc::clone(&self.lines);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                lines.lock().expect("no panic while held").push(line);
            }
        });
    }

    fn wait_ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("waitable") {
                panic!("the gateway ended at once: {status}\n{}", self.log().join("\n"));
            }
            let ready = fetch(&format!("http://{}/ready", self.listen));
            if ready.is_some_and(|(status, _)| status == 200) {
                return;
            }
            assert!(Instant::now() < deadline, "not ready in time\n{}", self.log().join("\n"));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.listen)
    }

    pub(crate) fn admin_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name (`HUP`, `TERM`, `QUIT`, `KILL`).
    pub(crate) fn signal(&self, name: &str) {
        let sent =
            Command::new("kill").args(["-s", name, &self.pid().to_string()]).status().expect("kill runs");
        assert!(sent.success());
    }

    /// Waits for the process's end.
    pub(crate) fn wait_end(&mut self) -> std::process::ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("waitable") {
                return status;
            }
            assert!(Instant::now() < deadline, "the process did not end\n{}", self.log().join("\n"));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Log lines so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.lines.lock().expect("no panic while held").clone()
    }

    /// Waits until a log line contains `text`.
    pub(crate) fn wait_log(&self, text: &str) -> String {
        until(|| self.log().into_iter().find(|line| line.contains(text)), &format!("a log line with {text}"))
    }

    /// All audit events that are stored, oldest first, once there are at least `count` of kind `request`.
    pub(crate) fn events(&self, count: usize) -> Vec<Value> {
        until(
            || {
                let events = self.events_now();
                (events.len() >= count).then_some(events)
            },
            &format!("{count} audit events"),
        )
    }

    /// Audit events of kind `request` as `tollgate audit query` shows them now.
    pub(crate) fn events_now(&self) -> Vec<Value> {
        let state = self.dir.path().join("state");
        let output = Command::new(binary())
            .args(["audit", "query", "--json", "--limit", "100000", "--state-dir"])
            .arg(&state)
            .output()
            .expect("the command runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(output.stdout).expect("UTF-8");
        let mut events: Vec<Value> =
            lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        events.retain(|event| event["kind"] == "request");
        events.sort_by_key(|event| event["seq"].as_u64());
        events
    }

    /// Sum of a metric over all its label sets that contain `labels` (for example `code="INVALID_JSON"`).
    pub(crate) fn metric(&self, name: &str, labels: &str) -> f64 {
        // A successor gets the admin address a moment after its predecessor has let it go.
        let (_, page) = until(|| fetch(&self.admin_url("/metrics")), "the admin listener");
        let is_it = |line: &&str| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(labels)
        };
        let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        page.lines().filter(is_it).filter_map(value).sum()
    }
}

fn address(environment: &[(String, String)], name: &str) -> SocketAddr {
    let last = environment.iter().rev().find(|(known, _)| known == name).expect("set above");
    last.1.parse().expect("an address")
}

fn spawn(command: &[&str], config: &Path, environment: &[(String, String)], arguments: &[&str]) -> Child {
    Command::new(command[0])
        .args(&command[1..])
        .args(["serve", "-c"])
        .arg(config)
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts")
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the gateway ---\n{}", self.log().join("\n"));
        }
    }
}

/// Polls until there is an answer.
pub(crate) fn until<T>(mut look: impl FnMut() -> Option<T>, what: &str) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Status and text of a GET, from wherever it is called: on a thread with a runtime of its own, so that async tests can block.
fn fetch(url: &str) -> Option<(u16, String)> {
    let url = url.to_owned();
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let answer = reqwest::get(url).await.ok()?;
            Some((answer.status().as_u16(), answer.text().await.ok()?))
        })
    };
    std::thread::spawn(work).join().expect("no panic")
}

/// A client with the test's key.
pub(crate) fn client() -> reqwest::Client {
    let mut headers = reqwest::header::HeaderMap::new();
    headers.insert("authorization", format!("Bearer {KEY}").parse().expect("valid"));
    reqwest::Client::builder().default_headers(headers).timeout(PATIENCE).build().expect("a client")
}

/// A chat body: `user` says `text` to `model`.
pub(crate) fn chat(model: &str, text: &str, stream: bool) -> Value {
    serde_json::json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": text}]})
}

/// An open event stream, read event by event.
pub(crate) struct Events {
    answer: reqwest::Response,
    buffer: Vec<u8>,
    /// Every byte of the body so far.
    pub(crate) raw: Vec<u8>,
}

impl Events {
    pub(crate) fn of(answer: reqwest::Response) -> Events {
        Events { answer, buffer: Vec::new(), raw: Vec::new() }
    }

    /// The next event's text, comments included; `None` at a clean end; an error where the body broke.
    pub(crate) async fn next(&mut self) -> Result<Option<String>, reqwest::Error> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return Ok(Some(String::from_utf8_lossy(&event[..end]).into_owned()));
            }
            match self.answer.chunk().await? {
                Some(chunk) => {
                    self.raw.extend_from_slice(&chunk);
                    self.buffer.extend_from_slice(&chunk);
                }
                None => return Ok(None),
            }
        }
    }

    /// The next chat delta's text, past role-only chunks; `None` when the stream says `[DONE]` or ends.
    pub(crate) async fn text(&mut self) -> Option<String> {
        while let Some(event) = self.next().await.expect("not broken") {
            let Some(data) = event.strip_prefix("data: ") else { continue };
            if data == "[DONE]" {
                return None;
            }
            let chunk: Value = serde_json::from_str(data).expect("JSON");
            if let Some(text) =
                chunk["choices"][0]["delta"]["content"].as_str().filter(|text| !text.is_empty())
            {
                return Some(text.to_owned());
            }
        }
        None
    }

    /// Everything until the end: all events, and whether the body ended cleanly.
    pub(crate) async fn rest(&mut self) -> (Vec<String>, bool) {
        let mut events = Vec::new();
        loop {
            match self.next().await {
                Ok(Some(event)) => events.push(event),
                Ok(None) => return (events, true),
                Err(_) => return (events, false),
            }
        }
    }
}
