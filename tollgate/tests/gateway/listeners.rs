//! What listeners speak: TLS with HTTP/1.1 and HTTP/2, client certificates, cleartext HTTP/2; and certificates that change.

use std::net::SocketAddr;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use reqwest::tls::TlsInfo;
use reqwest::{Certificate, ClientBuilder, Identity, StatusCode, Version};
use tempfile::TempDir;
use tollgate_fake_upstream::{Fake, Options};

use crate::harness::{Gateway, KEY, ONE_UPSTREAM, PATIENCE, chat, free_port};
use crate::ops::head;

/// A CA with the folder that its files lie in.
pub(crate) struct Authority {
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        Authority { ca: CertifiedIssuer::self_signed(params, key).expect("a CA") }
    }

    /// A certificate for `name` and its key, PEM.
    pub(crate) fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        (params.signed_by(&key, &self.ca).expect("signed").pem(), key.serialize_pem())
    }

    /// Writes `cert.pem` and `key.pem` of a fresh server certificate.
    fn write_server(&self, dir: &Path) {
        let (cert, key) = self.issue("127.0.0.1");
        std::fs::write(dir.join("cert.pem"), cert).expect("written");
        std::fs::write(dir.join("key.pem"), key).expect("written");
    }

    pub(crate) fn write_ca(&self, path: &Path) {
        std::fs::write(path, self.ca.pem()).expect("written");
    }

    /// A client that trusts this CA alone.
    fn client(&self) -> ClientBuilder {
        let root = Certificate::from_pem(self.ca.pem().as_bytes()).expect("PEM");
        reqwest::Client::builder().tls_certs_only([root]).tls_info(true).timeout(PATIENCE)
    }

    fn identity(&self) -> Identity {
        let (cert, key) = self.issue("client");
        Identity::from_pem(format!("{cert}{key}").as_bytes()).expect("PEM")
    }
}

/// A gateway with a plain listener for the harness, and another one whose settings are `second`.
struct Second {
    _fake: Fake,
    gateway: Gateway,
    address: SocketAddr,
    dir: TempDir,
    yaml: String,
}

impl Second {
    fn start(authority: &Authority, second: &str) -> Second {
        Second::start_with(authority, second, |head| head)
    }

    fn start_with(authority: &Authority, second: &str, change: impl Fn(String) -> String) -> Second {
        let (dir, address) = (TempDir::new().expect("a folder"), free_port());
        authority.write_server(dir.path());
        authority.write_ca(&dir.path().join("ca.pem"));
        let second = format!(r#"{{address: "${{LISTEN}}"}}, {{address: "{address}", {second}}}"#);
        let listeners = head().replace(r#"{address: "${LISTEN}"}"#, &second);
        let yaml =
            change(format!("{listeners}{ONE_UPSTREAM}")).replace("@DIR", dir.path().to_str().expect("UTF-8"));
        let fake = Fake::start(Options::default()).expect("the fake upstream starts");
        let gateway = Gateway::start(&yaml, &[("UPSTREAM", &fake.url())]);
        Second { _fake: fake, gateway, address, dir, yaml }
    }

    async fn call(&self, scheme: &str, client: ClientBuilder) -> Result<reqwest::Response, reqwest::Error> {
        let url = format!("{scheme}://{}/v1/chat/completions", self.address);
        let client = client.build().expect("a client");
        client.post(url).bearer_auth(KEY).json(&chat("m", "Hi", false)).send().await
    }
}

/// The certificate that the server showed, DER.
fn shown(answer: &reqwest::Response) -> Vec<u8> {
    let info = answer.extensions().get::<TlsInfo>().expect("TLS");
    info.peer_certificate().expect("a certificate").to_vec()
}

const TLS: &str = "tls: {cert: @DIR/cert.pem, key: @DIR/key.pem}";
const MUTUAL: &str = "tls: {cert: @DIR/cert.pem, key: @DIR/key.pem, client_ca: @DIR/ca.pem}";

#[tokio::test(flavor = "multi_thread")]
async fn tls_speaks_both_versions() {
    let authority = Authority::new("test CA");
    let second = Second::start(&authority, TLS);
    let answer = second.call("https", authority.client()).await.expect("answered");
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_2));
    let answer = second.call("https", authority.client().http1_only()).await.expect("answered");
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_11));
    assert!(second.call("http", authority.client()).await.is_err(), "no cleartext on a TLS port");
    assert!(second.call("https", Authority::new("another").client()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn h2_can_be_off() {
    let authority = Authority::new("test CA");
    let second = Second::start(&authority, &format!("h2: false, {TLS}"));
    let answer = second.call("https", authority.client()).await.expect("answered");
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_11));
}

#[tokio::test(flavor = "multi_thread")]
async fn client_certificates_are_required_where_a_ca_is_named() {
    let authority = Authority::new("test CA");
    let second = Second::start(&authority, MUTUAL);
    assert!(second.call("https", authority.client()).await.is_err());
    let stranger = Authority::new("another").identity();
    assert!(second.call("https", authority.client().identity(stranger)).await.is_err());
    let answer = second.call("https", authority.client().identity(authority.identity())).await;
    assert_eq!(answer.expect("answered").status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn cleartext_http_2() {
    let authority = Authority::new("test CA");
    let second = Second::start(&authority, "h2c: true");
    let answer = second.call("http", authority.client().http2_prior_knowledge()).await.expect("answered");
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_2));
    let answer = second.call("http", authority.client()).await.expect("answered");
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_11));
    let plain = second.gateway.url("/v1/models");
    let client = authority.client().http2_prior_knowledge().build().expect("a client");
    assert!(client.get(plain).send().await.is_err(), "a listener without h2c does not speak it");
}

/// The next handshake shows the new certificate and asks for the new CA's clients; broken files change nothing.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_change_with_a_reload() {
    let authority = Authority::new("test CA");
    let second = Second::start(&authority, MUTUAL);
    let old = || authority.client().identity(authority.identity());
    let before = shown(&second.call("https", old()).await.expect("answered"));

    std::fs::write(second.dir.path().join("key.pem"), "not a key").expect("written");
    second.gateway.signal("HUP");
    second.gateway.wait_rejected(1);
    assert_eq!(shown(&second.call("https", old()).await.expect("answered")), before);

    authority.write_server(second.dir.path());
    second.gateway.reload(&second.yaml, 2);
    assert_ne!(shown(&second.call("https", old()).await.expect("answered")), before);

    let other = Authority::new("other clients");
    other.write_ca(&second.dir.path().join("ca.pem"));
    second.gateway.reload(&second.yaml, 3);
    assert!(second.call("https", old()).await.is_err(), "the old CA's clients are out");
    let new = second.call("https", authority.client().identity(other.identity())).await;
    assert_eq!(new.expect("answered").status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_listener_speaks_tls() {
    let authority = Authority::new("test CA");
    let with_tls = |yaml: String| yaml.replace(r#""${ADMIN}","#, &format!(r#""${{ADMIN}}", {TLS},"#));
    let second = Second::start_with(&authority, "h2c: true", with_tls);
    let ready = || async {
        let client = authority.client().build().expect("a client");
        let call = client.get(format!("https://{}/ready", second.gateway.admin));
        call.send().await.expect("answered")
    };
    let first = ready().await;
    assert_eq!(first.status(), 200);
    assert!(reqwest::get(second.gateway.admin_url("/ready")).await.is_err(), "no cleartext");

    authority.write_server(second.dir.path());
    second.gateway.signal("HUP");
    second.gateway.wait_log("configuration reloaded");
    assert_ne!(shown(&ready().await), shown(&first));
}
