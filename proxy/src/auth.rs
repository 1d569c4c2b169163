//! Who is calling: the credential of a request becomes a [`Caller`], or a 401 that says what to do.
//!
//! [`Directory`] is a snapshot of the configuration. [`Authenticator`] is what lives across reloads: fetched keys and the
//! tokens verified with them.

mod address;
mod asserted;
mod cache;
pub mod cors;
mod credential;
mod directory;
mod jwks;
mod jwt;
mod keys;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};
use std::time::{Instant, SystemTime};

use parking_lot::Mutex;
use tollgate_filters::conf::{KeyPath, Problem};
use tollgate_filters::identity::Caller;
use tollgate_filters::identity::claims::Claims;
use tollgate_filters::verdict::{Code, Rejection};

use self::cache::{Entry, TokenCache};
use self::credential::Credential;
use self::directory::Issuer;
use self::jwks::{Choice, Fetcher, IssuerKeys, Settings};
use self::jwt::{Rules, Token, TokenError};
use crate::config::{Auth, Config, JwtIssuer, Organization};

pub use self::address::client_address;
pub use self::asserted::{Asserted, REQUEST_TYPE, SOURCE, USER, audit_headers};
pub use self::credential::Head;
pub use self::directory::{ANONYMOUS, Directory};
pub use self::jwks::KeyStatus;
pub use self::jwt::MAX_TOKEN;

/// Live state of authentication; one per process.
#[derive(Debug)]
pub struct Authenticator {
    runtime: tokio::runtime::Handle,
    fetcher: Arc<Fetcher>,
    generations: Arc<AtomicU64>,
    issuers: Mutex<Vec<Weak<IssuerKeys>>>,
    cache: TokenCache,
}

impl Authenticator {
    /// Keys are fetched on `runtime`, never on a request's thread.
    pub fn new(runtime: tokio::runtime::Handle) -> Self {
        Authenticator {
            runtime,
            fetcher: Arc::default(),
            generations: Arc::default(),
            issuers: Mutex::default(),
            cache: TokenCache::default(),
        }
    }

    /// The directory of a configuration. Issuers that an earlier one had keep their keys; new ones start to fetch at once.
    ///
    /// # Errors
    /// Key files that cannot be used, each with its place in the configuration. Keys in use stay as they were.
    pub fn directory(&self, config: &Config) -> Result<Directory, Vec<Problem>> {
        self.directory_of(&config.organizations, &config.auth)
    }

    fn directory_of(&self, organizations: &[Organization], auth: &Auth) -> Result<Directory, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut issuers = HashMap::with_capacity(auth.jwt.len());
        let path = KeyPath::root().key("auth").key("jwt");
        for (index, issuer) in auth.jwt.iter().enumerate() {
            let path = path.index(index);
            if issuers.contains_key(issuer.issuer.as_str()) {
                let message = "this issuer stands in an earlier entry; write its settings there";
                problems.push(Problem::new(path.key("issuer"), message));
                continue;
            }
            let keys = self.keys(issuer);
            if let Err(error) = keys.load_file() {
                problems.push(Problem::new(
                    path.key("jwks_file"),
                    format!("{error}; write the path of a JWKS file"),
                ));
            }
            issuers.insert(issuer.issuer.as_str().into(), Issuer::new(Rules::new(issuer), keys, issuer));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Directory::new(organizations, auth, issuers))
    }

    /// Who is calling.
    ///
    /// # Errors
    /// 401 without a good credential, 403 where a token grants no role, 503 while an issuer's keys cannot be had.
    pub async fn authenticate(
        &self,
        directory: &Directory,
        head: Head<'_>,
        now: SystemTime,
    ) -> Result<Caller, Rejection> {
        match head.credential(directory.cookie())? {
            Some(Credential::Key(key)) => directory.by_key(key),
            Some(Credential::Token(token)) => self.by_token(directory, token, now).await,
            None => Err(Rejection::new(
                Code::InvalidApiKey,
                "The request has no credential. Send 'Authorization: Bearer <API key or token>' or 'x-api-key: <API key>'.",
            )),
        }
    }

    /// State of every issuer's keys in `directory`.
    pub fn key_status(&self, directory: &Directory) -> Vec<KeyStatus> {
        let now = Instant::now();
        let mut all: Vec<KeyStatus> = directory.issuers().map(|issuer| issuer.keys.status(now)).collect();
        all.sort_by(|a, b| a.issuer.cmp(&b.issuer));
        all
    }

    /// The live keys of an issuer, made and started when there are none yet.
    fn keys(&self, issuer: &JwtIssuer) -> Arc<IssuerKeys> {
        let mut live = self.issuers.lock();
        live.retain(|keys| keys.strong_count() > 0);
        if let Some(keys) = live.iter().filter_map(Weak::upgrade).find(|keys| keys.are_of(issuer)) {
            keys.set_settings(Settings::new(issuer));
            return keys;
        }
        let keys = IssuerKeys::new(issuer, self.generations.clone());
        keys.start(&self.runtime, self.fetcher.clone());
        live.push(Arc::downgrade(&keys));
        keys
    }

    async fn by_token(
        &self,
        directory: &Directory,
        text: &str,
        now: SystemTime,
    ) -> Result<Caller, Rejection> {
        if text.len() > MAX_TOKEN {
            return Err(TokenError::TooLong.into());
        }
        let hash = *blake3::hash(text.as_bytes()).as_bytes();
        if let Some(entry) = self.cache.find(&hash)
            && let Some(issuer) = still_good(&entry, directory, now)
        {
            return directory.by_claims(issuer, &entry.claims);
        }
        let token = Token::read(text)?;
        let issuer = directory.issuer(&token.issuer).ok_or(TokenError::UnknownIssuer)?;
        issuer.rules.admit(&token)?;
        let (claims, generation, until) = self.verify(issuer, &token, now).await?;
        let caller = directory.by_claims(issuer, &claims);
        let entry = Entry {
            issuer: token.issuer.as_str().into(),
            claims,
            fingerprint: issuer.rules.fingerprint,
            generation,
            until: now.checked_add(cache::MAX_AGE).map_or(until, |latest| until.min(latest)),
            size: text.len(),
        };
        self.cache.keep(hash, entry, now);
        caller
    }

    /// Checks a token with the issuer's keys, asking once for newer ones when it names a key they do not have.
    async fn verify(
        &self,
        issuer: &Issuer,
        token: &Token<'_>,
        now: SystemTime,
    ) -> Result<(Claims, u64, SystemTime), TokenError> {
        let mut asked = false;
        loop {
            let loaded = issuer.keys.current(Instant::now());
            let choice =
                loaded.as_ref().map(|loaded| loaded.set.choose(token.kid.as_deref(), token.algorithm));
            match (choice, &loaded) {
                (Some(Choice::Key(key)), Some(loaded)) => {
                    let verified = token.verify(&issuer.rules, key, now)?;
                    return Ok((verified.claims, loaded.generation, verified.until));
                }
                (Some(Choice::Unfit), _) => return Err(TokenError::Algorithm),
                (Some(Choice::Ambiguous), _) => return Err(TokenError::NoKid),
                (Some(Choice::Unknown), _) if asked => return Err(TokenError::UnknownKey),
                (None, _) if asked => return Err(TokenError::KeysUnavailable),
                _ => {}
            }
            issuer.keys.freshen().await;
            asked = true;
        }
    }
}

/// The issuer of a cached token, if it would still verify it: same rules, same keys, in time.
fn still_good<'d>(entry: &Entry, directory: &'d Directory, now: SystemTime) -> Option<&'d Issuer> {
    let issuer = directory.issuer(&entry.issuer)?;
    let good = now < entry.until
        && issuer.rules.fingerprint == entry.fingerprint
        && issuer.keys.is_current(entry.generation, Instant::now());
    good.then_some(issuer)
}
