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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Points need not be on their curve here: that is found when a signature is checked.
    fn coordinate(bytes: usize) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(vec![0x41; bytes])
    }

    fn rsa() -> Value {
        json!({"kty": "RSA", "kid": "r", "n": coordinate(256), "e": "AQAB"})
    }

    fn ec() -> Value {
        json!({"kty": "EC", "kid": "e", "crv": "P-256", "x": coordinate(32), "y": coordinate(32)})
    }

    fn ed() -> Value {
        json!({"kty": "OKP", "kid": "d", "crv": "Ed25519", "x": coordinate(32)})
    }

    fn with(mut key: Value, name: &str, value: impl Into<Value>) -> Value {
        key[name] = value.into();
        key
    }

    fn parse(keys: &[Value]) -> Result<KeySet, SetError> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    #[test]
    fn which_keys_are_usable() {
        let p384 = with(with(with(ec(), "crv", "P-384"), "x", coordinate(48)), "y", coordinate(48));
        let good = [
            rsa(),
            ec(),
            ed(),
            p384.clone(),
            with(rsa(), "use", "sig"),
            with(rsa(), "alg", "PS512"),
            with(ec(), "alg", "ES256"),
            with(ed(), "alg", "Ed25519"),
            with(rsa(), "key_ops", json!(["verify"])),
            with(rsa(), "n", coordinate(512)),
            with(rsa(), "unknown", json!({"deep": [1]})),
        ];
        for key in good {
            assert_eq!(parse(std::slice::from_ref(&key)).map(|set| set.len()), Ok(1), "{key}");
        }
        let bad = [
            json!({}),
            json!({"kty": "oct", "kid": "o", "k": "c2VjcmV0", "alg": "HS256"}),
            with(rsa(), "use", "enc"),
            with(rsa(), "use", 7),
            with(rsa(), "alg", "HS256"),
            with(rsa(), "alg", "none"),
            with(rsa(), "alg", "RSA-OAEP"),
            with(rsa(), "alg", "ES256"),
            with(rsa(), "key_ops", json!(["encrypt"])),
            with(rsa(), "key_ops", "verify"),
            with(rsa(), "kid", 7),
            with(rsa(), "n", coordinate(255)),
            with(rsa(), "n", "AAAA".repeat(100)),
            with(rsa(), "n", "not base64!"),
            with(rsa(), "n", Value::Null),
            with(ec(), "alg", "ES384"),
            with(ec(), "alg", "RS256"),
            with(ec(), "x", coordinate(31)),
            with(p384, "alg", "ES256"),
            with(ec(), "crv", "P-521"),
            with(ec(), "crv", "secp256k1"),
            with(ed(), "x", coordinate(31)),
            with(ed(), "crv", "X25519"),
            with(ed(), "crv", "Ed448"),
        ];
        for key in bad {
            assert_eq!(
                parse(std::slice::from_ref(&key)).map(|set| set.len()),
                Err(SetError::NoneUsable(1)),
                "{key}"
            );
            assert_eq!(
                parse(&[key.clone(), ec()]).map(|set| set.len()),
                Ok(1),
                "one bad key spoils no set: {key}"
            );
        }
    }

    #[test]
    fn which_key_is_chosen() {
        let set = parse(&[rsa(), ec(), with(ec(), "kid", "e2"), with(ed(), "kid", "r")]).expect("a set");
        let check = |kid: Option<&str>, algorithm, expect: &str| {
            let found = match set.choose(kid, algorithm) {
                Choice::Key(key) => key.kid.clone().expect("every key has one"),
                other => format!("{other:?}"),
            };
            assert_eq!(found, expect, "{kid:?} {algorithm:?}");
        };
        check(Some("r"), Algorithm::RS256, "r");
        check(Some("r"), Algorithm::EdDSA, "r");
        check(Some("r"), Algorithm::ES256, "Unfit");
        check(Some("e"), Algorithm::ES256, "e");
        check(Some("e"), Algorithm::ES384, "Unfit");
        check(Some("x"), Algorithm::RS256, "Unknown");
        check(Some(""), Algorithm::RS256, "Unknown");
        check(None, Algorithm::RS256, "r");
        check(None, Algorithm::ES256, "Ambiguous");
        check(None, Algorithm::ES384, "Unknown");
        check(Some("r"), Algorithm::HS256, "Unfit");
    }

    #[test]
    fn documents() {
        let many: Vec<Value> = std::iter::repeat_with(ec).take(MAX_KEYS + 1).collect();
        assert_eq!(parse(&many).map(|set| set.len()), Err(SetError::TooMany(MAX_KEYS + 1)));
        assert_eq!(parse(&many[1..]).map(|set| set.len()), Ok(MAX_KEYS));
        for bad in [
            &b""[..],
            b"[]",
            b"{}",
            b"{\"keys\":{}}",
            b"{\"keys\":[],\"keys\":[]}",
            b"\xff",
            b"{\"keys\":[1]}",
        ] {
            assert!(matches!(KeySet::parse(bad), Err(SetError::NotASet(_))), "{bad:?}");
        }
    }
}
