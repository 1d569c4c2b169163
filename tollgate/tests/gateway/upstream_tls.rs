//! TLS towards upstreams: verified by the provider's own CA, with a client certificate where the host asks for one.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tollgate_fake_upstream::{Fake, Options, Script};

use crate::harness::{Gateway, HEAD, chat, client};
use crate::listeners::Authority;

/// An upstream with a certificate of `authority` for localhost, that asks its clients for one of the same authority.
fn upstream(authority: &Authority, dir: &Path, h2: bool) -> Fake {
    let (cert, key) = authority.issue("localhost");
    std::fs::write(dir.join("cert.pem"), cert).expect("written");
    std::fs::write(dir.join("key.pem"), key).expect("written");
    authority.write_ca(&dir.join("ca.pem"));
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(dir.join("ca.pem")).expect("PEM")).expect("a CA");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
    let chain = vec![CertificateDer::from_pem_file(dir.join("cert.pem")).expect("PEM")];
    let key = PrivateKeyDer::from_pem_file(dir.join("key.pem")).expect("PEM");
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier.expect("a verifier"))
        .with_single_cert(chain, key)
        .expect("a server");
    tls.alpn_protocols = if h2 { vec![b"h2".to_vec()] } else { vec![b"http/1.1".to_vec()] };
    Fake::start(Options { tls: Some(Arc::new(tls)), ..Options::default() }).expect("the fake upstream starts")
}

/// A gateway whose one provider is `fake` by the name localhost, with `more` settings.
fn gateway(fake: &Fake, dir: &Path, more: &str) -> Gateway {
    let provider = format!(
        "providers: [{{id: up, kind: vllm, base_urls: [\"https://localhost:{}\"], health: {{enabled: false}}{more}}}]\n\
         models: [{{name: \"*\", targets: [{{provider: up}}]}}]\n",
        fake.addr().port()
    );
    Gateway::start(&format!("{HEAD}{provider}").replace("FOLDER", &dir.display().to_string()), &[])
}

async fn call(gateway: &Gateway) -> reqwest::Response {
    let call = client().post(gateway.url("/v1/chat/completions")).json(&chat("m", "Hi", false));
    call.send().await.expect("answered")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_providers_ca_and_client_certificate_are_used() {
    for h2 in [false, true] {
        let dir = tempfile::TempDir::new().expect("a folder");
        let authority = Authority::new("Upstreams");
        let fake = upstream(&authority, dir.path(), h2);
        fake.script("m", Script::says(["over TLS"]));
        let more = format!(
            ", ca: FOLDER/ca.pem, client_cert: FOLDER/cert.pem, client_key: FOLDER/key.pem, h2: {h2}"
        );
        let gateway = gateway(&fake, dir.path(), &more);
        let answer = call(&gateway).await;
        assert_eq!(answer.status(), 200, "h2: {h2}");
        assert!(answer.text().await.expect("text").contains("over TLS"));
    }
}

/// A certificate of a CA that the provider does not name, and a host that wants a certificate we do not have: nothing is sent.
#[tokio::test(flavor = "multi_thread")]
async fn without_them_nothing_is_sent() {
    let dir = tempfile::TempDir::new().expect("a folder");
    let authority = Authority::new("Upstreams");
    let fake = upstream(&authority, dir.path(), false);
    for more in ["", ", ca: FOLDER/ca.pem"] {
        let gateway = gateway(&fake, dir.path(), more);
        let answer = call(&gateway).await;
        assert_eq!(answer.status(), 502, "{more:?}: {}", answer.text().await.expect("text"));
        assert!(fake.ledger().for_model("m").is_empty(), "{more:?}");
    }
}
