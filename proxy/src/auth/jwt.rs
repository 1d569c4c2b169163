//! One signed token: taken apart, matched with its issuer's rules, verified (RFC 7515, RFC 7519, RFC 8725).
//!
//! The order is what makes it safe: size, shape, `iss` (unverified, only to choose the issuer), the issuer's algorithms, the
//! issuer's key, signature, and only then the claims. Nothing in the token chooses a key's location or an algorithm that the
//! configuration does not name.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use tollgate_filters::identity::claims::Claims;
use tollgate_filters::verdict::{Code, Rejection};

use super::jwks::VerifyingKey;
use crate::config::JwtIssuer;

/// Longest token that is looked at.
pub const MAX_TOKEN: usize = 16 * 1024;
/// Longest `kid` that is looked up.
const MAX_KID: usize = 256;

/// Why a token does not count. The texts are for the caller: what to do next, never a part of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenError {
    #[error("The token is longer than 16 KiB. Ask for one with fewer claims.")]
    TooLong,
    #[error("The token is damaged: it is not a signed JSON Web Token. Copy it again, or ask for a new one.")]
    Malformed,
    #[error(
        "The token's issuer is not configured here. Get the token from an issuer that this gateway trusts."
    )]
    UnknownIssuer,
    #[error(
        "The token's signature algorithm is not accepted here. Ask the issuer to sign with an accepted one."
    )]
    Algorithm,
    #[error(
        "The token's header carries a key, the place of a key, or an extension ('jwk', 'jku', 'x5u', 'x5c', 'crit'), \
             which is not accepted. Ask for a token without it."
    )]
    ForbiddenHeader,
    #[error("The token's type ('typ') is not accepted here. Send an access token for this gateway.")]
    Type,
    #[error(
        "The token is signed with a key that its issuer does not publish. Sign in again to get a new token."
    )]
    UnknownKey,
    #[error("The token names no key ('kid') and its issuer has several. Ask the issuer to set 'kid'.")]
    NoKid,
    #[error("The token's signature is wrong. Copy it again, or sign in again to get a new token.")]
    Signature,
    #[error("The token has expired. Sign in again, or refresh the token, and retry.")]
    Expired,
    #[error("The token is not valid yet. Check the clock of the machine that asked for it, and retry later.")]
    NotYet,
    #[error("The token does not say when it expires ('exp'), which is required. Ask for a token that does.")]
    NoExpiry,
    #[error(
        "The token is meant for somebody else: its audience ('aud' or 'client_id') is not accepted here. Ask for a token \
             for this gateway."
    )]
    Audience,
    #[error(
        "The token's use ('token_use') is not accepted here. Send the other one of access token and ID token."
    )]
    Use,
    #[error(
        "The token cannot be checked right now: its issuer's keys cannot be fetched. Retry in a few seconds."
    )]
    KeysUnavailable,
}

impl From<TokenError> for Rejection {
    fn from(error: TokenError) -> Self {
        let code = match error {
            TokenError::Expired => Code::TokenExpired,
            // Our side or the issuer's, not the caller's: a status that may be retried.
            TokenError::KeysUnavailable => {
                return Rejection::new(Code::Overloaded, error.to_string())
                    .with_retry_after(Duration::from_secs(5));
            }
            _ => Code::InvalidToken,
        };
        Rejection::new(code, error.to_string())
    }
}

/// What one issuer's tokens must be.
#[derive(Debug)]
pub(super) struct Rules {
    audience: Vec<String>,
    algorithms: Vec<Algorithm>,
    /// Lower case, without `application/`.
    types: Vec<String>,
    uses: Vec<String>,
    leeway: Duration,
    /// Changes with any of the above, so that a token verified under other rules is verified again.
    pub(super) fingerprint: [u8; 32],
}

/// A token taken apart; nothing of it is believed yet.
pub(super) struct Token<'a> {
    pub(super) issuer: String,
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    typ: Option<String>,
    signed: &'a str,
    payload: Vec<u8>,
    signature: &'a str,
}

/// Claims behind a good signature, in time, for this gateway.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) claims: Claims,
    /// `exp` and the leeway.
    pub(super) until: SystemTime,
}

/// The derived reader refuses a name that stands twice.
#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: Option<String>,
    kid: Option<String>,
    jwk: Option<IgnoredAny>,
    jku: Option<IgnoredAny>,
    x5u: Option<IgnoredAny>,
    x5c: Option<IgnoredAny>,
    crit: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Peek {
    iss: String,
}

impl<'a> Token<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// Too long, not three parts of base64url, not JSON, no `alg` or `iss`, or a header that may not be there.
    pub(super) fn read(text: &'a str) -> Result<Self, TokenError> {
        if text.len() > MAX_TOKEN {
            return Err(TokenError::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| TokenError::Malformed)?;
        let carries_key = [&header.jwk, &header.jku, &header.x5u, &header.x5c, &header.crit];
        if carries_key.into_iter().any(Option::is_some) {
            return Err(TokenError::ForbiddenHeader);
        }
        let algorithm = algorithm(&header.alg).ok_or(TokenError::Algorithm)?;
        if header.kid.as_ref().is_some_and(|kid| kid.len() > MAX_KID) {
            return Err(TokenError::UnknownKey);
        }
        let payload = decode(payload)?;
        let Peek { iss } = serde_json::from_slice(&payload).map_err(|_| TokenError::Malformed)?;
        Ok(Token { issuer: iss, algorithm, kid: header.kid, typ: header.typ, signed, payload, signature })
    }

    /// Checks the signature with `key`, then the claims.
    pub(super) fn verify(
        &self,
        rules: &Rules,
        key: &VerifyingKey,
        now: SystemTime,
    ) -> Result<Verified, TokenError> {
        if !key.verifies(self.algorithm, self.signed, self.signature) {
            return Err(TokenError::Signature);
        }
        let claims = Claims::parse(&self.payload).map_err(|_| TokenError::Malformed)?;
        let until = rules.check(&claims, now)?;
        Ok(Verified { claims, until })
    }
}

impl Rules {
    pub(super) fn new(issuer: &JwtIssuer) -> Self {
        let types: Vec<String> = issuer.typ.iter().map(|typ| plain_type(typ)).collect();
        let everything = format!(
            "{:?}",
            (&issuer.audience, &issuer.algorithms, &types, &issuer.token_use, &issuer.leeway, &issuer.keys)
        );
        Rules {
            audience: issuer.audience.clone(),
            algorithms: issuer.algorithms.clone(),
            types,
            uses: issuer.token_use.clone(),
            leeway: issuer.leeway,
            fingerprint: *blake3::hash(everything.as_bytes()).as_bytes(),
        }
    }

    /// What can be said before any key is touched.
    pub(super) fn admit(&self, token: &Token<'_>) -> Result<(), TokenError> {
        if !self.algorithms.contains(&token.algorithm) {
            return Err(TokenError::Algorithm);
        }
        let typ = token.typ.as_deref().map(plain_type);
        let fits = self.types.is_empty() || typ.is_some_and(|typ| self.types.contains(&typ));
        if fits { Ok(()) } else { Err(TokenError::Type) }
    }

    /// Checks time, audience and use; returns until when the token is good.
    fn check(&self, claims: &Claims, now: SystemTime) -> Result<SystemTime, TokenError> {
        let expiry = claims.claim("exp").ok_or(TokenError::NoExpiry)?;
        let until = date(expiry).and_then(|at| at.checked_add(self.leeway)).ok_or(TokenError::Malformed)?;
        if now >= until {
            return Err(TokenError::Expired);
        }
        if let Some(from) = claims.claim("nbf") {
            let from = date(from).ok_or(TokenError::Malformed)?;
            if now.checked_add(self.leeway).is_none_or(|latest| latest < from) {
                return Err(TokenError::NotYet);
            }
        }
        self.check_audience(claims)?;
        Ok(until)
    }

    /// `aud` must hold one of ours. Cognito's access tokens have none: there `client_id` stands for it, and `token_use` must
    /// say that it is an access token
    /// (<https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-access-token.html>).
    fn check_audience(&self, claims: &Claims) -> Result<(), TokenError> {
        let ours = |name: &str| self.audience.iter().any(|audience| audience == name);
        let token_use = claims.text("token_use");
        let expected = match claims.claim("aud") {
            Some(Value::String(one)) => ours(one),
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).any(ours),
            Some(_) => false,
            None => claims.text("client_id").is_some_and(ours),
        };
        if !expected {
            return Err(TokenError::Audience);
        }
        let access_only = self.uses.is_empty() && claims.claim("aud").is_none();
        let fits = match token_use {
            Some(name) if access_only => name == "access",
            Some(name) => self.uses.is_empty() || self.uses.iter().any(|accepted| accepted == name),
            None => self.uses.is_empty() && !access_only,
        };
        if fits { Ok(()) } else { Err(TokenError::Use) }
    }
}

/// Signature algorithms with a public key (RFC 7518, section 3.1; `Ed25519` is RFC 9864's name of `EdDSA` with that curve).
/// `none` and the HMACs have no entry: no configuration can let them in.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "EdDSA" | "Ed25519" => Algorithm::EdDSA,
        _ => return None,
    })
}

/// A NumericDate (RFC 7519, section 2): seconds, perhaps with a fraction.
fn date(value: &Value) -> Option<SystemTime> {
    let since = match value.as_u64() {
        Some(seconds) => Duration::from_secs(seconds),
        None => Duration::try_from_secs_f64(value.as_f64()?).ok()?,
    };
    UNIX_EPOCH.checked_add(since)
}

/// RFC 7515, section 4.1.9: `application/` may be left out, and media types have no case.
fn plain_type(typ: &str) -> String {
    let lower = typ.to_ascii_lowercase();
    lower.strip_prefix("application/").map_or(lower.clone(), str::to_owned)
}

fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)
}
