//! The admin listener over a real socket, with a process that is only pretended.

use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tollgate_proxy::config::Admin;

use crate::*;

const TOKEN: &str = "an-admin-token-of-256-bits";

struct Pretended {
    settings: Admin,
    health: Mutex<Health>,
    drained: Mutex<Vec<(String, bool)>>,
    bad_file: bool,
    /// A reload says that it has begun, and waits to go on.
    begun: Notify,
    go_on: Notify,
    slow: bool,
}

impl Plane for Pretended {
    fn settings(&self) -> Arc<Admin> {
        Arc::new(self.settings.clone())
    }

    fn health(&self) -> Health {
        self.health.lock().clone()
    }

    fn metrics(&self) -> String {
        "tollgate_up 1\n".to_owned()
    }

    fn config(&self) -> ConfigStatus {
        ConfigStatus {
            generation: 7,
            hash: "abc".into(),
            loaded_at: SystemTime::UNIX_EPOCH,
            last_error: None,
            warnings: Vec::new(),
        }
    }

    fn reload(&self) -> Answer<'_, Result<ConfigStatus, Failure>> {
        Box::pin(async {
            if self.slow {
                self.begun.notify_one();
                self.go_on.notified().await;
            }
            if !self.bad_file {
                return Ok(ConfigStatus { generation: 8, ..self.config() });
            }
            let fault = Fault { path: "models[0].name".into(), message: "is empty".into(), line: Some(3) };
            Err(Failure { at: SystemTime::UNIX_EPOCH, message: "1 problem".into(), problems: vec![fault] })
        })
    }

    fn upstreams(&self) -> Vec<Target> {
        let drained = self.drained.lock().last().is_some_and(|(_, drained)| *drained);
        vec![Target {
            name: "gpu/10.0.0.1:8000".into(),
            provider: "gpu".into(),
            address: "10.0.0.1:8000".into(),
            health: "healthy".into(),
            breaker: "closed".into(),
            drained,
            in_flight: 3,
        }]
    }

    fn issuers(&self) -> Vec<Issuer> {
        vec![Issuer {
            issuer: "https://login.example".into(),
            keys: 2,
            age_seconds: Some(7),
            usable: true,
            error: None,
        }]
    }

    fn drain<'a>(&'a self, target: &'a str, drained: bool) -> Answer<'a, Result<(), DrainError>> {
        Box::pin(async move {
            match target {
                "gpu/10.0.0.1:8000" => {
                    self.drained.lock().push((target.to_owned(), drained));
                    Ok(())
                }
                "fixed" => Err(DrainError::ByConfig),
                "full" => Err(DrainError::NotKept("disk full".into())),
                _ => Err(DrainError::Unknown),
            }
        })
    }
}

fn pretended(token: Option<&str>) -> Pretended {
    Pretended {
        settings: Admin {
            address: ([127, 0, 0, 1], 0).into(),
            tls: None,
            token_hash: token.map(|token| Sha256::digest(token).into()),
            hosts: vec!["localhost".into()],
            show_checks: true,
        },
        health: Mutex::new(Health { started: true, ready: true, checks: Vec::new() }),
        drained: Mutex::default(),
        bad_file: false,
        begun: Notify::new(),
        go_on: Notify::new(),
        slow: false,
    }
}

struct Running {
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    done: tokio::task::JoinHandle<()>,
}

async fn start(plane: Arc<Pretended>) -> Running {
    start_with(plane, None).await
}

async fn start_with(plane: Arc<Pretended>, tls: Option<Arc<rustls::ServerConfig>>) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel();
    let done = tokio::spawn(serve(listener, tls, plane, async move {
        let _ = stopped.await;
    }));
    Running { address, stop, done }
}

impl Running {
    /// Status and body of one request.
    async fn ask(&self, method: &str, path: &str, lines: &[&str]) -> (u16, String) {
        let host =
            if lines.iter().any(|line| line.starts_with("host:")) { "" } else { "host: localhost\r\n" };
        let head = format!("{method} {path} HTTP/1.1\r\n{host}connection: close\r\n{}\r\n", lines.join(""));
        self.raw(head.as_bytes()).await
    }

    async fn raw(&self, bytes: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.expect("a connection");
        stream.write_all(bytes).await.expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
        (status, body)
    }
}

fn token(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

const PROTECTED: [(&str, &str); 6] = [
    ("GET", "/admin/config"),
    ("POST", "/admin/reload"),
    ("GET", "/admin/upstreams"),
    ("GET", "/admin/issuers"),
    ("POST", "/admin/upstreams/x/drain"),
    ("POST", "/admin/upstreams/x/undrain"),
];

#[tokio::test]
async fn open_paths() {
    let plane = Arc::new(pretended(None));
    let running = start(plane.clone()).await;
    assert_eq!(running.ask("GET", "/health", &[]).await, (200, r#"{"status":"ok"}"#.into()));
    assert_eq!(running.ask("GET", "/metrics", &[]).await, (200, "tollgate_up 1\n".into()));
    assert_eq!(running.ask("GET", "/startup", &[]).await.0, 200);
    assert_eq!(running.ask("HEAD", "/ready", &[]).await, (200, String::new()));
    assert_eq!(running.ask("POST", "/ready", &[]).await.0, 405);
    let failed = Check { name: "database".into(), state: "failed".into() };
    let fine = Check { name: "upstreams".into(), state: "ok".into() };
    *plane.health.lock() = Health { started: false, ready: false, checks: vec![failed, fine] };
    for path in ["/ready", "/health/ready"] {
        let (status, body) = running.ask("GET", path, &[]).await;
        assert_eq!(status, 503);
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        let expect =
            serde_json::json!({"status": "degraded", "checks": {"database": "failed", "upstreams": "ok"}});
        assert_eq!(body, expect);
    }
    assert_eq!(running.ask("GET", "/startup", &[]).await.0, 503);
    assert_eq!(running.ask("GET", "/health", &[]).await.0, 200, "alive all the same");
}

#[tokio::test]
async fn without_a_token_the_protected_paths_do_not_exist() {
    let running = start(Arc::new(pretended(None))).await;
    let unknown = running.ask("GET", "/nothing", &[]).await;
    assert_eq!(unknown.0, 404);
    for (method, path) in PROTECTED {
        for header in [String::new(), token(""), token(TOKEN)] {
            let (status, body) = running.ask(method, path, &[&header]).await;
            assert_eq!(status, 404, "{path}");
            let same = |body: &str| body.split("request_id").next().map(str::to_owned);
            assert_eq!(same(&body), same(&unknown.1), "nothing tells them apart");
        }
    }
    assert_eq!(running.ask("DELETE", "/admin/config", &[]).await.0, 404);
}

#[tokio::test]
async fn the_token_opens_them() {
    let running = start(Arc::new(pretended(Some(TOKEN)))).await;
    for (method, path) in PROTECTED.into_iter().chain([("GET", "/nothing")]) {
        for wrong in
            ["", "authorization: Bearer wrong\r\n", "authorization: Basic eDp5\r\n", "x-api-key: x\r\n"]
        {
            assert_eq!(running.ask(method, path, &[wrong]).await.0, 401, "{path} {wrong}");
        }
        let twice = format!("{}{}", token(TOKEN), token(TOKEN));
        assert_eq!(running.ask(method, path, &[&twice]).await.0, 401);
    }
    let good = token(TOKEN);
    let (status, body) = running.ask("GET", "/admin/config", &[&good]).await;
    assert_eq!(status, 200);
    assert!(body.contains(r#""generation":7"#) && body.contains("1970-01-01T00:00:00Z"), "{body}");
    assert_eq!(running.ask("GET", "/nothing", &[&good]).await.0, 404);
    assert_eq!(running.ask("GET", "/admin/reload", &[&good]).await.0, 405);
    assert_eq!(running.ask("GET", "/admin/../health", &[&good]).await.0, 404);
    assert_eq!(running.ask("GET", "//admin/config", &[]).await.0, 401);
    assert_eq!(running.ask("GET", "/%61dmin/config", &[]).await.0, 401);
}

#[tokio::test]
async fn only_under_our_own_name() {
    let running = start(Arc::new(pretended(Some(TOKEN)))).await;
    let good = token(TOKEN);
    for host in ["host: evil.example\r\n", "host: localhost\r\nhost: localhost\r\n", "host: \r\n"] {
        for path in ["/health", "/metrics", "/admin/config"] {
            assert_eq!(running.ask("GET", path, &[host, &good]).await.0, 400, "{host}{path}");
        }
    }
    let own = format!("host: {}\r\n", running.address);
    assert_eq!(running.ask("GET", "/health", &[&own]).await.0, 200);
    assert_eq!(
        running.raw(b"GET /health HTTP/1.1\r\nconnection: close\r\n\r\n").await.0,
        400,
        "no Host at all"
    );
}

#[tokio::test]
async fn reload_says_what_is_wrong() {
    let good = token(TOKEN);
    let running = start(Arc::new(pretended(Some(TOKEN)))).await;
    let (status, body) = running.ask("POST", "/admin/reload", &[&good]).await;
    assert!(status == 200 && body.contains(r#""generation":8"#), "{body}");
    let running = start(Arc::new(Pretended { bad_file: true, ..pretended(Some(TOKEN)) })).await;
    let (status, body) = running.ask("POST", "/admin/reload", &[&good]).await;
    assert_eq!(status, 422);
    assert!(body.contains("models[0].name") && body.contains(r#""generation":7"#), "{body}");
}

#[tokio::test]
async fn drain_and_undrain() {
    let good = token(TOKEN);
    let plane = Arc::new(pretended(Some(TOKEN)));
    let running = start(plane.clone()).await;
    for (action, drained) in [("drain", true), ("undrain", false)] {
        let path = format!("/admin/upstreams/gpu%2F10.0.0.1:8000/{action}");
        let (status, body) = running.ask("POST", &path, &[&good]).await;
        assert!(status == 200 && body.contains(&format!(r#""drained":{drained}"#)), "{body}");
        assert_eq!(plane.drained.lock().last().map(|(_, drained)| *drained), Some(drained));
    }
    for (target, expect) in [("nobody", 404), ("fixed", 400), ("full", 500), ("%ff", 400)] {
        let path = format!("/admin/upstreams/{target}/drain");
        let (status, body) = running.ask("POST", &path, &[&good]).await;
        assert_eq!(status, expect, "{target}");
        assert!(!body.contains("disk full"), "the log's business");
    }
}

#[tokio::test]
async fn bytes_that_are_no_request() {
    let running = start(Arc::new(pretended(None))).await;
    let long =
        format!("GET /{} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", "x".repeat(70_000));
    for bytes in [&b"\x16\x03\x01\x00\x00"[..], b"GET\r\n\r\n", b"\xff\xfe\r\n\r\n", b"GET / HTTP/9\r\n\r\n"]
    {
        assert_ne!(running.raw(bytes).await.0, 200);
    }
    assert_ne!(running.raw(long.as_bytes()).await.0, 200);
    assert_eq!(running.ask("GET", "/health", &[]).await.0, 200, "and it still answers");
}

#[tokio::test]
async fn stops_when_told_and_finishes_what_is_under_way() {
    let plane = Arc::new(Pretended { slow: true, ..pretended(Some(TOKEN)) });
    let running = start(plane.clone()).await;
    let idle = TcpStream::connect(running.address).await.expect("a connection");
    let mut busy = TcpStream::connect(running.address).await.expect("a connection");
    let head = format!(
        "POST /admin/reload HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n{}\r\n",
        token(TOKEN)
    );
    busy.write_all(head.as_bytes()).await.expect("written");
    plane.begun.notified().await;
    running.stop.send(()).expect("running");
    plane.go_on.notify_one();
    let mut answer = String::new();
    busy.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    running.done.await.expect("no panic");
    drop(idle);
    assert!(TcpStream::connect(running.address).await.is_err(), "nobody listens any more");
}

/// Status of `GET path` over TLS, or why there is none.
async fn ask_over_tls(
    running: &Running,
    client: rustls::ClientConfig,
    path: &str,
) -> Result<u16, std::io::Error> {
    let stream = TcpStream::connect(running.address).await?;
    let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
    let mut stream = tokio_rustls::TlsConnector::from(Arc::new(client)).connect(name, stream).await?;
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    Ok(answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default())
}

#[tokio::test]
async fn tls_with_and_without_a_client_certificate() {
    use rustls::pki_types::PrivateKeyDer;
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = || PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert.der().clone()).expect("a root");
    let roots = Arc::new(roots);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .expect("a verifier");
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![cert.der().clone()], key())
        .expect("a server");
    let client = || {
        rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots.clone())
    };
    let running = start_with(Arc::new(pretended(Some(TOKEN))), Some(Arc::new(server))).await;
    let certified = || client().with_client_auth_cert(vec![cert.der().clone()], key()).expect("a client");
    assert_eq!(ask_over_tls(&running, certified(), "/metrics").await.expect("an answer"), 200);
    assert_eq!(ask_over_tls(&running, certified(), "/admin/config").await.expect("an answer"), 401);
    assert!(ask_over_tls(&running, client().with_no_client_auth(), "/health").await.is_err());
    assert_ne!(running.ask("GET", "/health", &[]).await.0, 200, "no plain text on a TLS port");
}
