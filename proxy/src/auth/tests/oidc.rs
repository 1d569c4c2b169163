//! Against a real OpenID provider: npm `oidc-provider`, started by tests/oidc/server.mjs.
//!
//! Ignored in a bare `cargo test`, since it needs Node packages; `make test` installs them and runs it.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::*;

const AUDIENCE: &str = "urn:tollgate";

struct Provider {
    issuer: String,
    http: reqwest::Client,
    /// Closing its standard input ends it, too.
    process: Child,
}

impl Provider {
    fn start() -> Self {
        let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/oidc"));
        let folder = std::env::var_os("TOLLGATE_OIDC_DIR").map_or(beside, PathBuf::from);
        assert!(
            folder.join("node_modules").exists(),
            "no Node packages in {folder:?}: run scripts/test-deps"
        );
        let mut process = Command::new("node")
            .args(["server.mjs", "120"])
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Node starts");
        let mut line = String::new();
        let output = process.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut line).expect("the provider is ready");
        let ready: Value = serde_json::from_str(&line).expect("one line of JSON");
        let issuer = ready["issuer"].as_str().expect("an issuer").to_owned();
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Provider { issuer, http, process }
    }

    async fn post(&self, path: &str) -> Value {
        let answer = self.http.post(format!("{}{path}", self.issuer)).send().await.expect("an answer");
        serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON")
    }

    /// An access token for a machine (RFC 6749, section 4.4).
    async fn machine_token(&self, client: &str) -> String {
        let answer = self
            .http
            .post(format!("{}/token", self.issuer))
            .basic_auth(client, Some(format!("{client}-secret")))
            .header("content-type", "application/x-www-form-urlencoded")
            .body("grant_type=client_credentials")
            .send()
            .await
            .expect("an answer");
        let answer: Value = serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON");
        answer["access_token"].as_str().unwrap_or_else(|| panic!("no token: {answer}")).to_owned()
    }

    fn entry(&self) -> JwtIssuer {
        let mut entry = entry(&self.issuer, KeySource::Discovery);
        entry.audience = vec![AUDIENCE.into()];
        entry.typ = vec!["at+jwt".into()];
        entry.min_refresh = Duration::ZERO;
        entry.claims.default_organization = None;
        entry.claims.default_application = None;
        entry
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn directory(authenticator: &Authenticator, entry: JwtIssuer) -> Directory {
    authenticator.directory_of(&tenants(Vec::new()), &auth_of(vec![entry])).expect("a directory")
}

#[tokio::test]
#[ignore = "needs Node packages: scripts/test-deps, then cargo test -p tollgate-proxy -- --ignored oidc"]
async fn oidc_tokens_of_machines_and_people() {
    let provider = Provider::start();
    let authenticator = authenticator();
    let access = directory(&authenticator, provider.entry());
    let now = SystemTime::now;
    for client in ["rsa", "ec"] {
        let token = provider.machine_token(client).await;
        let caller = authenticator.bearer(&access, &token, now()).await.expect("a genuine token");
        assert_eq!((&*caller.organization, &*caller.application), ("acme", "chat"));
        assert_eq!(caller.user.as_deref(), Some(client));
    }
    let tokens = provider.post("/test/sign-in?user=alice").await;
    let text = |name: &str| tokens[name].as_str().unwrap_or_else(|| panic!("no {name}: {tokens}")).to_owned();
    let caller = authenticator.bearer(&access, &text("access_token"), now()).await.expect("a genuine token");
    assert_eq!((caller.user.as_deref(), caller.role), (Some("alice"), Role::Developer));

    // An ID token is no access token, unless the gateway is told to take it.
    let id_token = text("id_token");
    let refused = authenticator.bearer(&access, &id_token, now()).await.expect_err("an ID token");
    assert_eq!(refused.code, Code::InvalidToken);
    let ids = JwtIssuer { audience: vec!["rsa".into()], typ: Vec::new(), ..provider.entry() };
    let ids = directory(&authenticator, ids);
    let caller = authenticator.bearer(&ids, &id_token, now()).await.expect("a genuine token");
    assert_eq!(caller.user.as_deref(), Some("alice@example.com"));

    let later = now() + Duration::from_secs(620);
    let expired = authenticator.bearer(&ids, &id_token, later).await.expect_err("it lives for 600 s");
    assert_eq!(expired.code, Code::TokenExpired);
}

#[tokio::test]
#[ignore = "needs Node packages: scripts/test-deps, then cargo test -p tollgate-proxy -- --ignored oidc"]
async fn oidc_keys_rotate_and_are_withdrawn() {
    let provider = Provider::start();
    let authenticator = authenticator();
    let directory = directory(&authenticator, provider.entry());
    let call = async |token: &str| {
        authenticator.bearer(&directory, token, SystemTime::now()).await.map(drop).map_err(|e| e.code)
    };
    let old = provider.machine_token("rsa").await;
    assert_eq!(call(&old).await, Ok(()));
    provider.post("/test/rotate").await;
    let new = provider.machine_token("rsa").await;
    assert_eq!(call(&new).await, Ok(()), "a key met for the first time is fetched");
    assert_eq!(call(&old).await, Ok(()), "the old one is still published");
    provider.post("/test/withdraw").await;
    let newest = provider.machine_token("ec").await;
    assert_eq!(call(&newest).await, Ok(()));
    assert_eq!(call(&old).await, Err(Code::InvalidToken), "cached or not, its key is gone");
    assert_eq!(call(&new).await, Err(Code::InvalidToken));
}
