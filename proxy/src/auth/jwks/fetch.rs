//! Gets a key set's bytes from its issuer: bounded in size and time, over TLS, without following anyone elsewhere.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::{Client, Url};
use serde::Deserialize;

use crate::config::KeySource;

/// Largest discovery document or key set.
pub(crate) const MAX_DOCUMENT: usize = 1024 * 1024;
const CONNECT: Duration = Duration::from_secs(2);
/// One document, whole.
const TOTAL: Duration = Duration::from_secs(5);

/// Why no key set came. For operators: it may name addresses, never a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("{0} is not an https URL (plain http is accepted on the loopback interface only)")]
    Insecure(String),
    #[error("{url}: {cause}")]
    Unreachable { url: String, cause: String },
    #[error("{url} answered with status {status} (redirects are not followed)")]
    Status { url: String, status: u16 },
    #[error("{0} is larger than 1 MiB")]
    TooLarge(String),
    #[error("{url} is no discovery document: {cause}")]
    Discovery { url: String, cause: String },
    #[error("{path}: {cause}")]
    File { path: String, cause: String },
}

/// HTTP clients, made at the first use: a gateway without remote issuers needs none.
#[derive(Debug, Default)]
pub(crate) struct Fetcher {
    outside: OnceLock<Client>,
    /// Loopback addresses are never reached through a proxy.
    loopback: OnceLock<Client>,
}

/// OpenID Connect Discovery 1.0, section 3.
#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    jwks_uri: String,
}

impl Fetcher {
    pub(crate) async fn key_set(&self, issuer: &str, source: &KeySource) -> Result<Vec<u8>, FetchError> {
        match source {
            KeySource::File(path) => {
                let path = path.clone();
                tokio::task::spawn_blocking(move || read_file(&path)).await.unwrap_or_else(|error| {
                    Err(FetchError::File { path: String::new(), cause: error.to_string() })
                })
            }
            KeySource::Uri(uri) => self.get(uri).await,
            KeySource::Discovery => {
                let uri = self.discover(issuer).await?;
                self.get(&uri).await
            }
        }
    }

    /// The `jwks_uri` of an issuer. The document must be that issuer's own (section 4.3 of the specification).
    async fn discover(&self, issuer: &str) -> Result<String, FetchError> {
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let document = self.get(&url).await?;
        let failed = |cause: String| FetchError::Discovery { url: url.clone(), cause };
        let found: Discovered =
            serde_json::from_slice(&document).map_err(|error| failed(error.to_string()))?;
        if found.issuer != issuer {
            return Err(failed(format!("its issuer is {:?}, not {issuer:?}", found.issuer)));
        }
        Ok(found.jwks_uri)
    }

    async fn get(&self, address: &str) -> Result<Vec<u8>, FetchError> {
        let (url, is_loopback) = checked(address)?;
        let unreachable = |cause: reqwest::Error| FetchError::Unreachable {
            url: address.to_owned(),
            cause: reason(&cause),
        };
        let client = self.client(is_loopback).map_err(unreachable)?;
        let mut answer = client
            .get(url)
            .header("accept", "application/json, application/jwk-set+json")
            .send()
            .await
            .map_err(unreachable)?;
        if answer.status() != 200 {
            return Err(FetchError::Status { url: address.to_owned(), status: answer.status().as_u16() });
        }
        let mut document = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if document.len() + chunk.len() > MAX_DOCUMENT {
                return Err(FetchError::TooLarge(address.to_owned()));
            }
            document.extend_from_slice(&chunk);
        }
        Ok(document)
    }

    fn client(&self, is_loopback: bool) -> Result<&Client, reqwest::Error> {
        let slot = if is_loopback { &self.loopback } else { &self.outside };
        if let Some(client) = slot.get() {
            return Ok(client);
        }
        let builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .timeout(TOTAL)
            .pool_max_idle_per_host(0)
            .user_agent(concat!("tollgate/", env!("CARGO_PKG_VERSION")));
        let client = if is_loopback { builder.no_proxy() } else { builder }.build()?;
        Ok(slot.get_or_init(|| client))
    }
}

/// Reads a key set from a file. Blocks: at start and on a blocking thread only.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, FetchError> {
    use std::io::Read as _;
    let failed = |cause: std::io::Error| FetchError::File {
        path: path.display().to_string(),
        cause: cause.to_string(),
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut document = Vec::new();
    file.take(MAX_DOCUMENT as u64 + 1).read_to_end(&mut document).map_err(failed)?;
    if document.len() > MAX_DOCUMENT {
        return Err(FetchError::TooLarge(path.display().to_string()));
    }
    Ok(document)
}

/// Whoever can change a key set on its way can sign tokens, so only TLS, or no network at all, will do.
fn checked(address: &str) -> Result<(Url, bool), FetchError> {
    let insecure = || FetchError::Insecure(address.to_owned());
    let url = Url::parse(address).map_err(|_| insecure())?;
    let host = url.host_str().ok_or_else(insecure)?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = bare == "localhost" || bare.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    match url.scheme() {
        "https" => Ok((url, is_loopback)),
        "http" if is_loopback => Ok((url, true)),
        _ => Err(insecure()),
    }
}

/// The innermost cause says what happened; the outer ones only that a request failed.
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tls_or_loopback() {
        let check = |address: &str, expect: Option<bool>| {
            assert_eq!(checked(address).ok().map(|(_, is_loopback)| is_loopback), expect, "{address}");
        };
        check("https://idp.example/keys", Some(false));
        check("http://127.0.0.1:9/keys", Some(true));
        check("http://[::1]:9/keys", Some(true));
        check("http://localhost/keys", Some(true));
        check("https://localhost/keys", Some(true));
        check("http://idp.example/keys", None);
        check("http://169.254.169.254/latest", None);
        check("http://localhost.evil.example/keys", None);
        check("http://127.0.0.1.evil.example/keys", None);
        check("file:///etc/passwd", None);
        check("/etc/passwd", None);
        check("", None);
    }
}
