use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tollgate_filters::conf::Secret;

use super::*;

/// A host whose health a test decides.
#[derive(Default)]
struct Probed {
    status: AtomicUsize,
    probes: AtomicUsize,
    head: Mutex<String>,
}

impl Probed {
    /// Serves on a port of its own until the runtime ends.
    async fn start() -> (Arc<Probed>, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let probed = Arc::new(Probed { status: 200.into(), ..Probed::default() });
        let served = Arc::clone(&probed);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(Arc::clone(&served), stream));
            }
        });
        (probed, port)
    }

    fn say(&self, status: usize) {
        self.status.store(status, Ordering::SeqCst);
    }

    fn probes(&self) -> usize {
        self.probes.load(Ordering::SeqCst)
    }
}

async fn answer(probed: Arc<Probed>, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    *probed.head.lock() = String::from_utf8_lossy(&head).to_lowercase();
    let status = probed.status.load(Ordering::SeqCst);
    let text = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
    probed.probes.fetch_add(1, Ordering::SeqCst);
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}

fn vllm(ports: &[u16]) -> Value {
    let urls: Vec<String> = ports.iter().map(|port| format!("http://127.0.0.1:{port}")).collect();
    let health = json!({"interval": "20ms", "timeout": "10s", "healthy_after": 2, "unhealthy_after": 2});
    json!({"id": "gpu", "kind": "vllm", "base_urls": urls, "health": health})
}

fn models() -> Value {
    json!([{"name": "m", "targets": [{"provider": "gpu"}], "max_attempts": 9}])
}

fn health_of(setup: &Setup, port: u16) -> &'static str {
    let id = format!("gpu@127.0.0.1:{port}");
    setup.upstreams.list().iter().find(|target| target.id == id).map_or("gone", |target| target.health)
}

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn unknown_targets_come_after_healthy_ones() {
    let setup = setup();
    let (_up, up) = Probed::start().await;
    let (down, down_port) = Probed::start().await;
    down.say(503);
    let fleet = setup.fleet(json!([vllm(&[up, down_port])]), models());
    assert_eq!(
        order(&fleet, "m", &want(), SERVER_ERROR, S).len(),
        2,
        "none is known to be healthy: any will do"
    );
    setup.upstreams.warm(&fleet, LIMIT).await;
    assert_eq!((health_of(&setup, up), health_of(&setup, down_port)), ("healthy", "unknown"));
    for seed in 0..20 {
        let now = S * (1_000 + seed * 1_000);
        let order = order(&fleet, "m", &Want { seed, ..want() }, SERVER_ERROR, now);
        assert!(order[0].ends_with(&format!(":{up}")), "{order:?}");
        assert!(order[1].ends_with(&format!(":{down_port}")), "{order:?}");
    }
    let probes = down.probes();
    setup.upstreams.warm(&fleet, LIMIT).await;
    assert_eq!(down.probes(), probes + 1, "only what is still unknown is looked at again");
    assert_eq!(health_of(&setup, down_port), "unhealthy");
    assert_eq!(order(&fleet, "m", &want(), SERVER_ERROR, 1_000_000 * S).len(), 1);
}

#[tokio::test]
async fn probes_follow_the_host_and_the_reloads() {
    let setup = setup();
    let (first, first_port) = Probed::start().await;
    let (second, second_port) = Probed::start().await;
    let upstreams = setup.upstreams.clone();
    let background = tokio::spawn(async move { upstreams.run().await });
    setup.fleet(json!([vllm(&[first_port])]), models());
    until("healthy", || health_of(&setup, first_port) == "healthy").await;
    first.say(500);
    until("unhealthy", || health_of(&setup, first_port) == "unhealthy").await;
    first.say(204);
    until("healthy again", || health_of(&setup, first_port) == "healthy").await;
    assert_eq!(
        setup.told.all(),
        ["healthy", "unhealthy", "healthy"].map(|state| format!("gpu@127.0.0.1:{first_port} {state}"))
    );
    // A reload that adds a target leaves the probing of the other one alone.
    setup.fleet(json!([vllm(&[first_port, second_port])]), models());
    until("the new one is probed", || health_of(&setup, second_port) == "healthy").await;
    assert_eq!(health_of(&setup, first_port), "healthy");
    // A reload without the first ends its probes.
    setup.fleet(json!([vllm(&[second_port])]), models());
    let seen = second.probes();
    until("the second goes on", || second.probes() > seen + 2).await;
    let (last, seen) = (first.probes(), second.probes());
    until("the second goes on", || second.probes() > seen + 4).await;
    assert_eq!(first.probes(), last);
    background.abort();
}

#[tokio::test]
async fn probes_carry_the_credential_and_the_prefix() {
    let setup = setup();
    let (host, port) = Probed::start().await;
    let provider = json!({
        "id": "gpu", "kind": "vllm", "base_urls": [format!("http://127.0.0.1:{port}/team/v1")],
        "health": {"path": "/health", "timeout": "10s"},
    });
    let mut config = config(json!([provider]), models());
    config.providers[0].api_key = Some(Secret::new("sk-upstream"));
    let fleet = setup.adopt(&config);
    setup.upstreams.warm(&fleet, LIMIT).await;
    let head = host.head.lock().clone();
    assert!(head.starts_with("get /team/health http/1.1"), "{head}");
    assert!(head.contains("authorization: bearer sk-upstream"), "{head}");
    assert!(head.contains(&format!("host: 127.0.0.1:{port}")), "{head}");
}

#[tokio::test]
async fn names_are_resolved_and_the_last_good_addresses_kept() {
    let setup = setup();
    let (_host, port) = Probed::start().await;
    let urls = [format!("http://localhost:{port}"), "http://no-such-host.invalid:80".to_owned()];
    let health = json!({"interval": "1h", "timeout": "10s"});
    let provider = json!({"id": "gpu", "kind": "vllm", "base_urls": urls, "health": health});
    let fleet = setup.fleet(json!([provider.clone()]), models());
    assert!(setup.upstreams.list().iter().all(|target| target.addresses.is_empty()));
    setup.upstreams.warm(&fleet, LIMIT).await;
    let addresses: Vec<usize> = setup.upstreams.list().iter().map(|target| target.addresses.len()).collect();
    assert!(addresses[0] >= 1 && addresses[1] == 0, "{addresses:?}");
    let first = plan(&fleet, "m", &want()).next(S).expect("localhost");
    assert_eq!(first.host().id(), format!("gpu@localhost:{port}"));
    assert!(first.address().ip().is_loopback());
    // The reloaded fleet has them at once.
    let fleet = setup.fleet(json!([provider]), models());
    assert!(plan(&fleet, "m", &want()).next(S).is_some());
}

/// Futures that the binary spawns.
#[test]
fn background_work_can_move_between_threads() {
    fn check<T: Send>(_: T) {}
    let setup = setup();
    let fleet = setup.fleet(json!([]), json!([]));
    check(setup.upstreams.run());
    check(setup.upstreams.warm(&fleet, LIMIT));
}

/// A CA with a server and a client certificate, written as files.
struct Authority {
    dir: tempfile::TempDir,
    server: (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
    roots: rustls::RootCertStore,
}

impl Authority {
    fn new() -> Authority {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test CA");
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA");
        let issue = |name: &str| {
            let key = KeyPair::generate().expect("a key");
            let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
            let cert = params.signed_by(&key, &ca).expect("signed");
            (cert, key)
        };
        let (server, server_key) = issue("127.0.0.1");
        let (client, client_key) = issue("gateway");
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("written");
        write("ca.pem", &ca.pem());
        write("client.pem", &client.pem());
        write("client.key", &client_key.serialize_pem());
        write("other.key", &server_key.serialize_pem());
        write("garbage.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        write("empty.pem", "nothing here\n");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(ca.der().clone()).expect("a CA");
        let key = PrivateKeyDer::from_pem_slice(server_key.serialize_pem().as_bytes()).expect("a key");
        Authority { dir, server: (vec![server.der().clone()], key), roots }
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// A server that asks every client for a certificate of this CA.
    async fn serve(&self) -> (Arc<Probed>, u16) {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
            Arc::new(self.roots.clone()),
            Arc::clone(&provider),
        )
        .build()
        .expect("a verifier");
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.server.0.clone(), self.server.1.clone_key())
            .expect("a certificate");
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let probed = Arc::new(Probed { status: 200.into(), ..Probed::default() });
        let served = Arc::clone(&probed);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (served, acceptor) = (Arc::clone(&served), acceptor.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        answer(served, stream).await;
                    }
                });
            }
        });
        (probed, port)
    }
}

#[tokio::test]
async fn probes_use_the_providers_ca_and_client_certificate() {
    let authority = Authority::new();
    let (_host, port) = authority.serve().await;
    let health = |files: Value| {
        let mut provider = json!({
            "id": "gpu", "kind": "vllm", "base_urls": [format!("https://127.0.0.1:{port}")],
            "health": {"timeout": "20s", "unhealthy_after": 1},
        });
        provider.as_object_mut().expect("an object").extend(files.as_object().expect("an object").clone());
        config(json!([provider]), models())
    };
    let (ca, cert, key) =
        (authority.file("ca.pem"), authority.file("client.pem"), authority.file("client.key"));
    for (files, expect) in [
        (json!({"ca": ca, "client_cert": cert, "client_key": key}), "healthy"),
        (json!({"ca": ca}), "unhealthy"),
        (json!({}), "unhealthy"),
    ] {
        let setup = setup();
        let fleet = setup.adopt(&health(files.clone()));
        setup.upstreams.warm(&fleet, LIMIT).await;
        assert_eq!(health_of(&setup, port), expect, "{files}");
        let provider = &fleet.providers()[0];
        assert_eq!(provider.ca().map(|ca| ca.len()), files.get("ca").map(|_| 1));
        assert_eq!(provider.client_cert().is_some(), files.get("client_cert").is_some());
    }
}

#[test]
fn broken_tls_files_are_problems_with_their_place() {
    let authority = Authority::new();
    let setup = setup();
    let file = |name: &str| authority.file(name);
    let check = |files: Value, place: &str, words: &str| {
        let mut provider = json!({"id": "gpu", "kind": "vllm", "base_urls": ["https://127.0.0.1:1"]});
        provider.as_object_mut().expect("an object").extend(files.as_object().expect("an object").clone());
        let problems = setup.upstreams.build(&config(json!([provider]), models())).expect_err("refused");
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].path.to_string(), format!("providers[0].{place}"), "{}", problems[0]);
        assert!(problems[0].message.contains(words), "{}", problems[0]);
    };
    check(json!({"ca": file("missing.pem")}), "ca", "missing.pem");
    check(json!({"ca": file("garbage.pem")}), "ca", "garbage.pem");
    check(json!({"ca": file("empty.pem")}), "ca", "no certificate");
    let cert = |cert: &str, key: &str| json!({"client_cert": file(cert), "client_key": file(key)});
    check(cert("client.pem", "other.key"), "client_key", "does not fit");
    check(cert("client.pem", "missing.key"), "client_key", "missing.key");
    check(cert("client.pem", "client.pem"), "client_key", "no private key");
    check(cert("garbage.pem", "client.key"), "client_key", "does not fit");
}

#[test]
fn changed_tls_files_change_the_pool() {
    let (one, other) = (Authority::new(), Authority::new());
    let setup = setup();
    let group = |ca: &Authority| {
        let provider = json!({"id": "gpu", "kind": "openai", "base_urls": ["https://127.0.0.1:1"], "ca": ca.file("ca.pem")});
        let fleet = setup.adopt(&config(json!([provider]), models()));
        plan(&fleet, "m", &want()).next(S).expect("a host").group_key()
    };
    assert_eq!(group(&one), group(&one));
    assert_ne!(group(&one), group(&other));
}
