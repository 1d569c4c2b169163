//! The text of an API key: `tg_<id>_<secret>`, or a string the operator chose.
//!
//! The secret is random, so one round of SHA-256 is enough to store it: there is no dictionary to try, and a slow password
//! hash would let anyone burn the gateway's processor with wrong keys.

use sha2::{Digest, Sha256};

/// What every generated key begins with, so that secret scanners can recognise one.
pub const PREFIX: &str = "tg_";

/// Shortest key an operator may choose: 22 characters of base64 hold 128 bits.
pub const MIN_CHOSEN: usize = 22;

/// Longest key, of either form, that is looked at.
pub const MAX_KEY: usize = 512;

/// A generated key, split. Borrowed from the key's text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Generated<'a> {
    pub id: &'a str,
    pub secret: &'a str,
}

/// Splits `tg_<id>_<secret>`. The id may contain underscores, the secret may not: the last one divides them.
pub fn split(key: &str) -> Option<Generated<'_>> {
    let (id, secret) = key.strip_prefix(PREFIX)?.rsplit_once('_')?;
    (!id.is_empty() && !secret.is_empty()).then_some(Generated { id, secret })
}

/// Writes a new key from its id and 256 random bits; the secret is 64 hexadecimal digits.
pub fn compose(id: &str, random: &[u8; 32]) -> String {
    let mut key = String::with_capacity(PREFIX.len() + id.len() + 1 + 64);
    key.push_str(PREFIX);
    key.push_str(id);
    key.push('_');
    for byte in random {
        for digit in [byte >> 4, byte & 15] {
            key.push(char::from_digit(u32::from(digit), 16).expect("a nibble is below 16"));
        }
    }
    key
}

/// SHA-256: of a generated key's secret, of all of a chosen key.
pub fn sha256(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits() {
        let check = |key: &str, expect: Option<(&str, &str)>| {
            assert_eq!(split(key).map(|k| (k.id, k.secret)), expect, "{key}");
        };
        check("tg_dev_0123", Some(("dev", "0123")));
        check("tg_team_a_0123", Some(("team_a", "0123")));
        check("tg__0123", None);
        check("tg_dev_", None);
        check("tg_dev", None);
        check("tg_", None);
        check("", None);
        check("TG_dev_0123", None);
        check("sk-something", None);
    }

    #[test]
    fn composed_keys_split_again() {
        let key = compose("a_b", &[0xf0; 32]);
        let split = split(&key).expect("a composed key has both parts");
        assert_eq!(split.id, "a_b");
        assert_eq!(split.secret, "f0".repeat(32));
    }

    /// FIPS 180-4 example: `abc`.
    #[test]
    fn hash_is_sha256() {
        assert_eq!(sha256("abc")[..4], [0xba, 0x78, 0x16, 0xbf]);
    }
}
