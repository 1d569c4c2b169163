//! Keyed stand-ins for values, made in a request and swapped back in its answer.
//!
//! The same value has the same stand-in in every message, turn and replica that shares the key: fifty bits of HMAC-SHA-256
//! (RFC 2104) in base32 (RFC 4648 section 6, lower case). The mapping back lives only in the request that made it.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroize;

/// Key of an organisation's pseudonyms.
#[derive(Clone)]
pub struct PseudonymKey([u8; 32]);

impl PseudonymKey {
    /// The key of `organization`, derived from the configured secret.
    pub fn derive(secret: &[u8], organization: &str) -> PseudonymKey {
        PseudonymKey(mac(secret, &[b"tollgate pseudonyms", organization.as_bytes()]))
    }
}

impl Drop for PseudonymKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PseudonymKey(…)")
    }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Characters of a stand-in that tell it from others: 50 bits.
const TAG: usize = 10;
/// Longest stand-in that is looked for: of the longest name of a kind, with brackets.
const MAX_STAND_IN: usize = 80;

/// The stand-ins of one request, lower case, and what they stand for.
#[derive(Debug, Clone, Default)]
pub(super) struct StandIns {
    originals: BTreeMap<String, String>,
}

impl StandIns {
    pub(super) fn is_empty(&self) -> bool {
        self.originals.is_empty()
    }

    /// The stand-in of a value: made now, or the same as before.
    pub(super) fn make(&mut self, key: &PseudonymKey, kind: &str, canonical: &str, value: &str) -> String {
        // Another value of this request with the same tag takes the next: none collide within a request.
        for attempt in 0_u8..=u8::MAX {
            let tag = base32(mac(&key.0, &[kind.as_bytes(), canonical.as_bytes(), &[attempt]]));
            let (shown, bare) = match kind {
                "email" => (format!("u-{tag}@pseudonym.invalid"), None),
                _ => {
                    let bare = format!("{}-{tag}", kind.to_uppercase());
                    (format!("[{bare}]"), Some(bare))
                }
            };
            let known = self.originals.entry(shown.to_lowercase()).or_insert_with(|| value.to_owned());
            if super::mask::fold(known) != super::mask::fold(value) {
                continue;
            }
            if let Some(bare) = bare {
                self.originals.insert(bare.to_lowercase(), value.to_owned());
            }
            return shown;
        }
        unreachable!("256 tags of fifty bits collide with no request's values")
    }

    fn begin(&self, lower: &str) -> Match<'_> {
        use std::ops::Bound::{Included, Unbounded};
        match self.originals.range::<str, _>((Included(lower), Unbounded)).next() {
            Some((stand_in, original)) if stand_in == lower => Match::Whole(original),
            Some((stand_in, _)) if stand_in.starts_with(lower) => Match::Beginning,
            _ => Match::None,
        }
    }

    fn may_begin(&self, c: char) -> bool {
        let mut lower = [0; 4];
        c.is_ascii() && self.begin(c.to_ascii_lowercase().encode_utf8(&mut lower)) != Match::None
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Match<'a> {
    Whole(&'a str),
    Beginning,
    None,
}

fn base32(bytes: [u8; 32]) -> String {
    let bits = bytes[..8].iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    (0..TAG).map(|i| char::from(ALPHABET[(bits >> (59 - 5 * i) & 31) as usize])).collect()
}

/// A part of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    Plain(&'a str),
    /// What a stand-in stood for.
    Original(&'a str),
}

/// Finds stand-ins in a text that arrives in pieces, whatever their case.
#[derive(Debug, Default)]
pub(super) struct Restorer {
    /// What may be the beginning of a stand-in.
    pending: String,
}

impl Restorer {
    pub(super) fn held(&self) -> usize {
        self.pending.len()
    }

    /// Splits a piece; false from `take` stops.
    pub(super) fn feed(&mut self, text: &str, stand_ins: &StandIns, mut take: impl FnMut(Part<'_>) -> bool) {
        let mut plain = 0;
        for (at, c) in text.char_indices() {
            if self.pending.is_empty() && !stand_ins.may_begin(c) {
                continue;
            }
            if self.pending.is_empty() && plain < at && !take(Part::Plain(&text[plain..at])) {
                return;
            }
            self.pending.push(c);
            plain = at + c.len_utf8();
            if !self.reduce(stand_ins, &mut take) {
                return;
            }
        }
        if plain < text.len() {
            take(Part::Plain(&text[plain..]));
        }
    }

    /// The text is over: what was pending is no stand-in.
    pub(super) fn finish(&mut self, mut take: impl FnMut(Part<'_>) -> bool) {
        let pending = std::mem::take(&mut self.pending);
        if !pending.is_empty() {
            take(Part::Plain(&pending));
        }
    }

    /// Lets go of what cannot be the beginning of a stand-in any more.
    fn reduce(&mut self, stand_ins: &StandIns, take: &mut impl FnMut(Part<'_>) -> bool) -> bool {
        while !self.pending.is_empty() {
            let lower = self.pending.to_ascii_lowercase();
            match stand_ins.begin(&lower) {
                Match::Whole(original) => {
                    self.pending.clear();
                    return take(Part::Original(original));
                }
                Match::Beginning if lower.len() <= MAX_STAND_IN => return true,
                _ => {
                    let first = self.pending.chars().next().map_or(0, char::len_utf8);
                    let rest = self.pending.split_off(first);
                    let go_on = take(Part::Plain(&self.pending));
                    self.pending = rest;
                    if !go_on {
                        return false;
                    }
                }
            }
        }
        true
    }
}
