//! Authentication, whole: from a request's headers to a caller.

mod cost;
mod fake_issuer;
mod issuers;
mod keys;
mod oidc;
mod signer;
mod tokens;

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use jsonwebtoken::Algorithm;
use tollgate_filters::identity::claims::ClaimMapping;
use tollgate_filters::identity::{Caller, Role, key};

use super::*;
use crate::config::{ApiKey, Application, ClaimNames, KeySecret, KeySource};

const ISSUER: &str = "https://idp.example/";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// An issuer entry with the defaults of a strict configuration.
fn entry(issuer: &str, keys: KeySource) -> JwtIssuer {
    let defaults = ClaimMapping::default();
    JwtIssuer {
        issuer: issuer.into(),
        audience: vec!["gate".into(), "gate-2".into()],
        keys,
        algorithms: vec![Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA],
        typ: Vec::new(),
        token_use: Vec::new(),
        leeway: seconds(10),
        claims: ClaimNames {
            organization: defaults.organization,
            application: defaults.application,
            user: defaults.user,
            role: defaults.role,
            roles: defaults.roles,
            default_organization: Some("acme".into()),
            default_application: Some("chat".into()),
        },
        refresh: seconds(3600),
        min_refresh: seconds(3600),
        organizations: None,
        max_stale: seconds(3600),
    }
}

fn api_key(id: &str, secret: KeySecret) -> ApiKey {
    ApiKey {
        id: id.into(),
        secret,
        role: Role::Developer,
        user: None,
        models: None,
        source: Some("cli".into()),
        request_type: None,
        disabled: false,
    }
}

/// `acme` with `chat` (keys given) and `batch`, and `other` with `chat`.
fn tenants(keys: Vec<ApiKey>) -> Vec<Organization> {
    let application = |id: &str, keys, models| Application { id: id.into(), keys, models };
    vec![
        Organization {
            id: "acme".into(),
            applications: vec![
                application("chat", keys, None),
                application("batch", Vec::new(), Some(vec!["gpt-4o*".into(), "small".into()])),
            ],
        },
        Organization { id: "other".into(), applications: vec![application("chat", Vec::new(), None)] },
    ]
}

fn auth_of(jwt: Vec<JwtIssuer>) -> Auth {
    Auth { jwt, cookie_origins: Vec::new(), cookie: false }
}

fn bearer(credential: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let value = http::HeaderValue::from_str(&format!("Bearer {credential}")).expect("a header value");
    headers.insert(http::header::AUTHORIZATION, value);
    headers
}

fn authenticator() -> Authenticator {
    Authenticator::new(tokio::runtime::Handle::current())
}

impl Authenticator {
    async fn bearer(
        &self,
        directory: &Directory,
        credential: &str,
        now: SystemTime,
    ) -> Result<Caller, Rejection> {
        let headers = bearer(credential);
        let result = self.authenticate(directory, Head::from(&headers), now).await;
        if let Err(rejection) = &result {
            assert!(
                credential.len() < 16 || !rejection.to_string().contains(credential),
                "a credential must not be said back"
            );
        }
        result
    }
}
