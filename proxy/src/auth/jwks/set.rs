//! A JSON Web Key Set, reduced to the keys that may verify a signature.

use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::Deserialize;

use crate::auth::jwt;

/// Most keys of a set.
pub(crate) const MAX_KEYS: usize = 100;
/// Shortest RSA modulus, in bytes: 2048 bits (RFC 7518, section 3.3).
const MIN_MODULUS: usize = 256;

/// The usable keys of one fetch.
#[derive(Debug)]
pub(crate) struct KeySet {
    keys: Vec<VerifyingKey>,
}

#[derive(Debug)]
pub(crate) struct VerifyingKey {
    kid: Option<String>,
    /// What `alg` or the curve narrows the key to; `None`: any RSA algorithm.
    only: Option<Algorithm>,
    key: DecodingKey,
}

/// Which key a token asks for.
#[derive(Debug)]
pub(crate) enum Choice<'a> {
    Key(&'a VerifyingKey),
    /// No such `kid`: a newer set may have it.
    Unknown,
    /// The `kid` exists, for another algorithm.
    Unfit,
    /// The token names no key and several fit.
    Ambiguous,
}

/// Why a document is no usable key set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SetError {
    #[error("not a JSON Web Key Set: {0}")]
    NotASet(String),
    #[error("it has {0} keys, and at most {MAX_KEYS} are accepted")]
    TooMany(usize),
    #[error(
        "none of its {0} keys can verify a signature (RSA of at least 2048 bits, P-256, P-384 or Ed25519, use 'sig')"
    )]
    NoneUsable(usize),
}

#[derive(Deserialize)]
struct RawSet {
    keys: Vec<RawKey>,
}

/// Members of other types than expected make one key unusable, not the whole set.
#[derive(Deserialize)]
struct RawKey {
    kty: Option<serde_json::Value>,
    #[serde(rename = "use")]
    usage: Option<serde_json::Value>,
    key_ops: Option<serde_json::Value>,
    alg: Option<serde_json::Value>,
    kid: Option<serde_json::Value>,
    crv: Option<serde_json::Value>,
    n: Option<serde_json::Value>,
    e: Option<serde_json::Value>,
    x: Option<serde_json::Value>,
    y: Option<serde_json::Value>,
}

impl KeySet {
    /// Reads a set. Keys for encryption, symmetric keys and curves we do not verify are left out.
    ///
    /// # Errors
    /// Not a set, too many keys, or none that is usable.
    pub(crate) fn parse(json: &[u8]) -> Result<KeySet, SetError> {
        let raw: RawSet =
            serde_json::from_slice(json).map_err(|error| SetError::NotASet(error.to_string()))?;
        let total = raw.keys.len();
        if total > MAX_KEYS {
            return Err(SetError::TooMany(total));
        }
        let keys: Vec<VerifyingKey> = raw.keys.iter().filter_map(RawKey::usable).collect();
        if keys.is_empty() {
            return Err(SetError::NoneUsable(total));
        }
        Ok(KeySet { keys })
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The key for a token's `kid` and algorithm. At most one key is ever tried per token.
    pub(crate) fn choose(&self, kid: Option<&str>, algorithm: Algorithm) -> Choice<'_> {
        let mut fitting = self
            .keys
            .iter()
            .filter(|key| kid.is_none_or(|kid| key.kid.as_deref() == Some(kid)) && key.fits(algorithm));
        match (fitting.next(), kid) {
            (Some(key), Some(_)) => Choice::Key(key),
            (Some(key), None) if fitting.next().is_none() => Choice::Key(key),
            (Some(_), None) => Choice::Ambiguous,
            (None, Some(_)) if self.keys.iter().any(|key| key.kid.as_deref() == kid) => Choice::Unfit,
            (None, _) => Choice::Unknown,
        }
    }
}

impl VerifyingKey {
    fn fits(&self, algorithm: Algorithm) -> bool {
        match self.only {
            Some(only) => only == algorithm,
            None => algorithm.family() == self.key.family(),
        }
    }

    /// Whether `signature` (base64url) over `signed` is this key's.
    pub(crate) fn verifies(&self, algorithm: Algorithm, signed: &str, signature: &str) -> bool {
        self.fits(algorithm)
            && crypto::verify(signature, signed.as_bytes(), &self.key, algorithm).unwrap_or(false)
    }
}

impl RawKey {
    fn usable(&self) -> Option<VerifyingKey> {
        if let Some(usage) = &self.usage
            && usage.as_str()? != "sig"
        {
            return None;
        }
        if let Some(operations) = &self.key_ops
            && !operations.as_array()?.iter().any(|operation| operation == "verify")
        {
            return None;
        }
        let kid = match &self.kid {
            Some(kid) => Some(kid.as_str()?.to_owned()),
            None => None,
        };
        let named = match &self.alg {
            Some(name) => Some(jwt::algorithm(name.as_str()?)?),
            None => None,
        };
        let (key, curve) = self.material()?;
        let only = match (named, curve) {
            (Some(named), Some(curve)) if named != curve => return None,
            (Some(named), _) if named.family() != key.family() => return None,
            (named, curve) => named.or(curve),
        };
        Some(VerifyingKey { kid, only, key })
    }

    /// The key itself and, where its curve leaves no choice, its algorithm (RFC 7518, sections 3.4 and 6; RFC 8037).
    fn material(&self) -> Option<(DecodingKey, Option<Algorithm>)> {
        let text = |member: &'_ Option<serde_json::Value>| -> Option<String> {
            member.as_ref()?.as_str().map(str::to_owned)
        };
        match self.kty.as_ref()?.as_str()? {
            "RSA" => {
                let key = DecodingKey::from_rsa_components(&text(&self.n)?, &text(&self.e)?).ok()?;
                modulus_is_long(&key).then_some((key, None))
            }
            "EC" => {
                let (algorithm, coordinate) = match self.crv.as_ref()?.as_str()? {
                    "P-256" => (Algorithm::ES256, 32),
                    "P-384" => (Algorithm::ES384, 48),
                    _ => return None,
                };
                let key = DecodingKey::from_ec_components(&text(&self.x)?, &text(&self.y)?).ok()?;
                has_length(&key, 1 + 2 * coordinate).then_some((key, Some(algorithm)))
            }
            "OKP" if self.crv.as_ref()?.as_str()? == "Ed25519" => {
                let key = DecodingKey::from_ed_components(&text(&self.x)?).ok()?;
                has_length(&key, 32).then_some((key, Some(Algorithm::EdDSA)))
            }
            _ => None,
        }
    }
}

fn has_length(key: &DecodingKey, bytes: usize) -> bool {
    key.try_get_as_bytes().is_ok_and(|point| point.len() == bytes)
}

fn modulus_is_long(key: &DecodingKey) -> bool {
    match key.kind() {
        jsonwebtoken::DecodingKeyKind::RsaModulusExponent { n, .. } => {
            n.iter().skip_while(|byte| **byte == 0).count() >= MIN_MODULUS
        }
        jsonwebtoken::DecodingKeyKind::SecretOrDer(_) => false,
    }
}
