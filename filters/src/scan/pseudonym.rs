//! Keyed stand-ins for values, made in a request and swapped back in its answer.
//!
//! The same value has the same stand-in in every message, turn and replica that shares the key: fifty bits of HMAC-SHA-256
//! (RFC 2104) in base32 (RFC 4648 section 6, lower case). The mapping back lives only in the request that made it.
//!
//! A look-alike, where one is asked for, has the form of the value and less room: see [`LookAlike`].

mod restore;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroize;

use super::escape::{Escape, Escapes, MAX_ESCAPE};
use super::mask::fold;
use super::units::prints_nothing;
pub(super) use restore::{Part, Reading, Restorer};

/// Key of an organisation's pseudonyms.
#[derive(Clone)]
pub struct PseudonymKey([u8; 32]);

impl PseudonymKey {
    /// The key of `organization`, derived from the configured secret.
    pub fn derive(secret: &[u8], organization: &str) -> PseudonymKey {
        PseudonymKey(mac(secret, &[b"tollgate pseudonyms", organization.as_bytes()]))
    }

    /// A keyed hash of an id (`user`, a value of `metadata`): 130 bits, the same for the same id of the organisation.
    pub fn identifier(&self, value: &str) -> String {
        format!("id-{}", base32(&mac(&self.0, &[b"identifier", value.as_bytes()]), 26))
    }

    /// The same for an id that is a number, and stays one.
    pub fn identifier_number(&self, value: &str) -> String {
        (bits(&mac(&self.0, &[b"identifier", value.as_bytes()])) % 1_000_000_000_000_000).to_string()
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

/// A kind whose stand-ins look like its values.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum LookAlike {
    /// `4000 00` and nine keyed digits with their Luhn digit, a range that card networks' test systems use: 29.9 bits.
    CreditCard,
    /// A number of the North American Numbering Plan in 555-0100 to 555-0199, which are set aside for fiction: 71,200 of them,
    /// 16.1 bits.
    Phone,
}

impl LookAlike {
    fn of(kind: &str) -> Option<LookAlike> {
        match kind {
            "credit_card" => Some(LookAlike::CreditCard),
            "phone" => Some(LookAlike::Phone),
            _ => None,
        }
    }
}

/// Characters of a stand-in that tell it from others: 50 bits.
const TAG: usize = 10;

/// How much a request remembers of values. Tests pass in less, to reach its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Most values that have stand-ins of their own; of those behind only the kind is shown.
    pub(super) values: usize,
}

impl Default for Room {
    fn default() -> Room {
        Room { values: 65_536 }
    }
}

impl Room {
    /// Most spellings of stand-ins: a value found as several kinds has one for each.
    const fn written(self) -> usize {
        4 * self.values
    }

    /// Most spellings, past which no look-alikes are made: one has up to 42.
    const fn look_alikes(self) -> usize {
        self.written() / 2
    }
}

/// Look-alikes that are tried before a stand-in with a tag is made.
const TRIES: u16 = 8;

/// Most raw bytes that an answer's stand-ins of these kinds hold back, beside what rules do: what may be the beginning of one.
pub fn max_restored<'k>(
    kinds: impl Iterator<Item = &'k str>,
    look_alikes: &[LookAlike],
    decode: Escapes,
) -> usize {
    let longest_like = look_alikes.iter().map(|like| match like {
        LookAlike::CreditCard => "4000-0000-0000-0000".len(),
        LookAlike::Phone => "+1-(212) 555-0100".len(),
    });
    let tagged = kinds.map(|kind| tagged(&[0; 32], kind).0.len());
    // Past that many it is let go; what may become an escape waits behind it.
    let undecided = if decode.is_none() { 0 } else { MAX_ESCAPE - 1 };
    restore::most_written(decode) * tagged.chain(longest_like).max().unwrap_or(0) + undecided
}

/// The stand-ins of one request as a model may write them, folded, and what they stand for.
#[derive(Debug, Clone, Default)]
pub(super) struct StandIns {
    room: Room,
    written: BTreeMap<String, Entry>,
    /// What was sent for each original.
    shown: BTreeMap<Arc<str>, String>,
    /// ASCII characters that some of them begin with, one bit each.
    first: u128,
    /// Of the longest, in bytes.
    longest: usize,
}

#[derive(Debug, Clone)]
struct Entry {
    original: Arc<str>,
    /// Digits on either side would make another number of it.
    number: bool,
}

impl StandIns {
    #[cfg(test)]
    pub(super) fn with_room(room: Room) -> StandIns {
        StandIns { room, ..StandIns::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.written.is_empty()
    }

    /// The stand-in of a value: made now, or the same as before; none if the request has too many.
    pub(super) fn make(
        &mut self,
        key: &PseudonymKey,
        look_alikes: &[LookAlike],
        kind: &str,
        value: &str,
        exact: bool,
    ) -> Option<String> {
        if self.shown.len() >= self.room.values || self.written.len() >= self.room.written() {
            return self.shown.get(value).cloned();
        }
        // Whoever came while there was room keeps a look-alike: its tag is not written.
        let room = self.written.len() < self.room.look_alikes()
            || self.shown.get(value).is_some_and(|shown| !shown.starts_with('['));
        let look_alike = LookAlike::of(kind).filter(|like| room && look_alikes.contains(like));
        let canonical = |value: &str| if exact { visible(value) } else { fold(value) };
        let own = canonical(value);
        // Another value of this request with the same stand-in takes the next: none collide within a request. Look-alikes can
        // run out, stand-ins with a tag cannot.
        for attempt in 0..u16::MAX {
            let mac = mac(&key.0, &[kind.as_bytes(), own.as_bytes(), &attempt.to_be_bytes()]);
            let look_alike = look_alike.filter(|_| attempt < TRIES);
            let (shown, forms) = match look_alike {
                Some(LookAlike::CreditCard) => card(bits(&mac), value),
                Some(LookAlike::Phone) => phone(bits(&mac), value),
                None => tagged(&mac, kind),
            };
            if self.known(&forms[0]).is_some_and(|known| canonical(known) != own) {
                continue;
            }
            let original: Arc<str> = value.into();
            self.shown.entry(original.clone()).or_insert_with(|| shown.clone());
            for form in forms {
                self.first |= form.bytes().next().map_or(0, |byte| 1 << (byte & 0x7f));
                self.longest = self.longest.max(form.len());
                let entry = || Entry { original: original.clone(), number: look_alike.is_some() };
                self.written.entry(form).or_insert_with(entry);
            }
            return Some(shown);
        }
        None // tags of fifty bits do not collide 65,527 times
    }

    /// Where originals were put back in a text, each with its stand-in; of one that was cut in an original, its beginning too.
    pub(super) fn restored_in(&self, text: &str) -> Vec<(Range<usize>, String)> {
        // Shorter ends are nobody's, and every text has some.
        const SHORTEST_END: usize = 4;
        const CUT: &str = "…";
        // As they are put back.
        let mut originals: BTreeMap<Cow<'_, str>, &String> =
            self.shown.iter().map(|(original, shown)| (Cow::Borrowed(&**original), shown)).collect();
        for (escape, begins) in [(Escape::Percent, '%'), (Escape::Html, '&')] {
            if text.contains(begins) {
                for (original, shown) in &self.shown {
                    originals.entry(escape.write(original).into()).or_insert(shown);
                }
            }
        }
        let finder = aho_corasick::AhoCorasick::builder()
            .match_kind(aho_corasick::MatchKind::LeftmostLongest)
            .build(originals.keys().map(|original| original.as_bytes()));
        let Ok(finder) = finder else { return vec![(0..text.len(), CUT.to_owned())] };
        let stand_ins: Vec<&String> = originals.values().copied().collect();
        let mut restored: Vec<(Range<usize>, String)> = finder
            .find_iter(text)
            .map(|found| (found.range(), stand_ins[found.pattern().as_usize()].clone()))
            .collect();
        let rest = restored.last().map_or(0, |(last, _)| last.end);
        let longest = originals.keys().map(|original| original.len()).max().unwrap_or_default();
        let ends = (SHORTEST_END..longest.min(text.len() - rest + 1)).rev().filter_map(|len| {
            let at = text.len() - len;
            Some((at, text.get(at..)?))
        });
        let cut = ends.into_iter().find(|(_, end)| {
            use std::ops::Bound::{Included, Unbounded};
            let next = originals.range::<str, _>((Included(*end), Unbounded)).next();
            next.is_some_and(|(original, _)| original.starts_with(end))
        });
        if let Some((at, _)) = cut {
            restored.push((at..text.len(), CUT.to_owned()));
        }
        restored
    }

    fn known(&self, form: &str) -> Option<&str> {
        self.written.get(form).map(|entry| &*entry.original)
    }
}

/// A value letter by letter, without what prints nothing: the spelling of a key is the key.
pub(super) fn visible(value: &str) -> String {
    value.nfkc().filter(|c| !prints_nothing(*c)).collect()
}

/// With brackets, and without: a model may drop them.
fn tagged(mac: &[u8; 32], kind: &str) -> (String, Vec<String>) {
    let tag = base32(mac, TAG);
    if kind == "email" {
        let shown = format!("u-{tag}@pseudonym.invalid");
        return (shown.clone(), vec![shown]);
    }
    let bare = format!("{}-{tag}", kind.to_uppercase());
    let form = restore::folded(&bare);
    (format!("[{bare}]"), vec![form.clone(), format!("[{form}]")])
}

fn card(bits: u64, value: &str) -> (String, Vec<String>) {
    let fifteen = format!("400000{:09}", bits % 1_000_000_000);
    let digits = (b'0'..=b'9').map(|last| format!("{fifteen}{}", char::from(last)));
    let digits = digits.into_iter().find(|digits| super::check::luhn(digits.as_bytes())).unwrap_or_default();
    let grouped = |with: &str| {
        let groups: Vec<&str> = (0..4).filter_map(|group| digits.get(4 * group..4 * group + 4)).collect();
        groups.join(with)
    };
    let shown = match value {
        value if value.contains('-') => grouped("-"),
        value if value.contains(' ') => grouped(" "),
        _ => digits.clone(),
    };
    (shown, vec![digits.clone(), grouped(" "), grouped("-")])
}

fn phone(bits: u64, value: &str) -> (String, Vec<String>) {
    // Area codes [2-9][0-8][0-9] but N11: 47 CFR 52.101.
    let (line, area) = (bits % 100, bits / 100 % 712);
    let (first, rest) = (2 + area / 89, area % 89);
    let rest = if rest < 11 { rest } else { rest + 1 };
    let (area, last) = (format!("{first}{rest:02}"), format!("01{line:02}"));
    let shown = match value {
        value if value.starts_with('+') => format!("+1-{area}-555-{last}"),
        value if value.contains('(') => format!("({area}) 555-{last}"),
        value if value.bytes().all(|byte| byte.is_ascii_digit()) => format!("{area}555{last}"),
        _ => format!("{area}-555-{last}"),
    };
    let national = [
        format!("{area}555{last}"),
        format!("{area}-555-{last}"),
        format!("({area}) 555-{last}"),
        format!("({area})555-{last}"),
        format!("{area} 555 {last}"),
        format!("{area}.555.{last}"),
        format!("{area} 555-{last}"),
    ];
    let abroad = |form: &String| ["+1", "+1 ", "+1-", "1-", "1 "].map(|code| format!("{code}{form}"));
    let mut forms = national.to_vec();
    forms.extend(national.iter().flat_map(abroad));
    (shown, forms)
}

fn bits(mac: &[u8; 32]) -> u64 {
    mac[..8].iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte))
}

fn base32(bytes: &[u8; 32], len: usize) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let bit = |at: usize| bytes.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
    let character = |i: usize| (0..5).fold(0, |value, b| value << 1 | usize::from(bit(5 * i + b)));
    (0..len).map(|i| char::from(ALPHABET[character(i)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> PseudonymKey {
        PseudonymKey::derive(b"a secret of some length", "acme")
    }

    #[test]
    fn tags_have_fifty_bits_and_the_published_form() {
        let mut stand_ins = StandIns::default();
        let mail = stand_ins.make(&key(), &[], "email", "a@b.com", false).expect("has room");
        let tag =
            mail.strip_prefix("u-").and_then(|rest| rest.strip_suffix("@pseudonym.invalid")).expect("form");
        assert_eq!(tag.len(), 10);
        assert!(tag.bytes().all(|byte| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(&byte)), "{tag}");
        let phone = stand_ins.make(&key(), &[], "phone", "212-555-0123", false).expect("has room");
        assert!(phone.starts_with("[PHONE-") && phone.ends_with(']') && phone.len() == 18, "{phone}");
        // RFC 4648 section 10 over the first five bytes of "foobar".
        let mut bytes = [0; 32];
        bytes[..5].copy_from_slice(b"fooba");
        assert_eq!(base32(&bytes, 8), "mzxw6ytb");
    }

    #[test]
    fn look_alikes_pass_as_what_they_look_like() {
        let mut stand_ins = StandIns::default();
        for n in 0..200 {
            let value = format!("41111111{n:08}");
            let card = stand_ins
                .make(&key(), &[LookAlike::CreditCard], "credit_card", &value, false)
                .expect("has room");
            assert!(card.starts_with("400000") && card.len() == 16, "{card}");
            assert!(super::super::check::luhn(card.as_bytes()), "{card}");
            let value = format!("(415) 222-{n:04}");
            let phone =
                stand_ins.make(&key(), &[LookAlike::Phone], "phone", &value, false).expect("has room");
            let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
            assert!(phone.starts_with('(') && super::super::check::plan::nanp(digits.as_bytes()), "{phone}");
            assert_eq!(&digits[3..8], "55501", "{phone}");
        }
        let spaced = stand_ins
            .make(&key(), &[LookAlike::CreditCard], "credit_card", "4111 1111 1111 1111", false)
            .expect("has room");
        assert_eq!(spaced.matches(' ').count(), 3, "{spaced}");
    }

    #[test]
    fn look_alikes_are_written_as_their_values() {
        let mut stand_ins = StandIns::default();
        let mut make = |kind, value: &str| {
            let likes = [LookAlike::CreditCard, LookAlike::Phone];
            let made = stand_ins.make(&key(), &likes, kind, value, false).expect("has room");
            made.replace(|c: char| c.is_ascii_digit(), "0")
        };
        for (kind, value, form) in [
            ("phone", "+1 212 555 0123", "+0-000-000-0000"),
            ("phone", "(212) 555-0123", "(000) 000-0000"),
            ("phone", "2125550124", "0000000000"),
            ("phone", "212.555.0125", "000-000-0000"),
            ("credit_card", "4111-1111-1111-1111", "0000-0000-0000-0000"),
            ("credit_card", "4222 2222 2222 2220", "0000 0000 0000 0000"),
            ("credit_card", "4012888888881881", "0000000000000000"),
        ] {
            assert_eq!(make(kind, value), form, "{value}");
        }
    }

    /// Of more values than have room for look-alikes the later ones have tags; who has one keeps it.
    #[test]
    fn look_alikes_end_before_the_room_does() {
        let room = Room { values: 1_000 };
        let mut stand_ins = StandIns::with_room(room);
        let mut make = |n: u64| {
            let value = format!("{}", 4_152_220_000 + n);
            stand_ins.make(&key(), &[LookAlike::Phone], "phone", &value, false).expect("has room")
        };
        let likes = (0..).find(|n| make(*n).starts_with('[')).expect("they end");
        // 42 spellings each, until half of 4,000 are written.
        assert_eq!(likes, 2_000_u64.div_ceil(42));
        assert!(!make(0).starts_with('[') && !make(likes - 1).starts_with('['));
        assert!(make(likes).starts_with('[') && make(likes + 1).starts_with('['));
    }

    /// 3,000 of 71,200: about 63 pairs would collide by chance. (Past 3,120 no more look-alikes are made.)
    #[test]
    fn no_two_values_of_a_request_share_a_look_alike() {
        let mut stand_ins = StandIns::default();
        let mut seen = std::collections::BTreeSet::new();
        for n in 0..3_000 {
            let value = format!("{}", 4_152_220_000_u64 + n);
            let phone =
                stand_ins.make(&key(), &[LookAlike::Phone], "phone", &value, false).expect("has room");
            assert!(!phone.starts_with('['), "{phone} is no look-alike");
            assert!(seen.insert(phone.clone()), "{phone} twice");
            let again = stand_ins.make(&key(), &[LookAlike::Phone], "phone", &value, false);
            assert_eq!(again, Some(phone));
        }
    }

    /// And those that have one keep it.
    #[test]
    fn a_request_with_too_many_values_makes_no_more_stand_ins() {
        for (kind, like) in [("email", None), ("phone", Some(LookAlike::Phone))] {
            let room = Room { values: 1_000 };
            let mut stand_ins = StandIns::with_room(room);
            let value = |n: usize| format!("{}", 4_152_220_000_u64 + n as u64);
            let mut make = |n: usize| stand_ins.make(&key(), like.as_slice(), kind, &value(n), false);
            let first = make(0).expect("has room");
            let last = (1..room.values).map(&mut make).last().expect("many").expect("has room");
            assert_eq!((make(room.values), make(room.values + 1)), (None, None));
            assert_eq!((make(0), make(room.values - 1)), (Some(first), Some(last)));
            assert_eq!(stand_ins.shown.len(), room.values);
            assert!(stand_ins.written.len() < room.written() + 64, "{}", stand_ins.written.len());
        }
    }

    #[test]
    fn what_was_restored_can_be_hidden_again() {
        let mut stand_ins = StandIns::default();
        let mail = stand_ins.make(&key(), &[], "email", "al@corp.com", false).expect("has room");
        let other = stand_ins.make(&key(), &[], "email", "al@corp.com.au", false).expect("has room");
        let quoted = stand_ins.make(&key(), &[], "email", "o'al@corp.com", false).expect("has room");
        let table = [
            ("To al@corp.com, al@corp.com.au!", format!("To {mail}, {other}!")),
            ("Nothing here", "Nothing here".to_owned()),
            ("To al@corp.co", "To …".to_owned()),
            ("To al@", "To al@".to_owned()),
            ("al@corp.co", "…".to_owned()),
            ("Write to al@corp.co", "Write to …".to_owned()),
            ("l@corp.co", "l@corp.co".to_owned()),
            ("", String::new()),
            ("é al@corp.com.a", format!("é {mail}.a")),
            ("?to=al%40corp.com.au&cc=al%40corp.com", format!("?to={other}&cc={mail}")),
            ("?to=al%40corp.co", "?to=…".to_owned()),
            ("?a=%41&to=al%4", "?a=%41&to=…".to_owned()),
            ("al&#64;corp.com", "al&#64;corp.com".to_owned()),
            ("&lt;o&#39;al@corp.com", format!("&lt;{quoted}")),
        ];
        for (text, want) in table {
            let mut edits = crate::json::Edits::new();
            for (span, with) in stand_ins.restored_in(text) {
                edits.replace(span, with.into_bytes());
            }
            assert_eq!(edits.apply_to(text.as_bytes()), want.as_bytes(), "{text}");
        }
    }

    #[test]
    fn hashed_ids_are_stable_keyed_and_of_their_type() {
        let id = key().identifier("alice@corp.com");
        assert_eq!(id, key().identifier("alice@corp.com"));
        assert_ne!(
            id,
            PseudonymKey::derive(b"a secret of some length", "globex").identifier("alice@corp.com")
        );
        assert!(id.starts_with("id-") && id.len() == 29, "{id}");
        let numbers: Vec<u64> =
            (0..40).map(|n| key().identifier_number(&n.to_string()).parse().expect("a number")).collect();
        // What a double holds exactly (RFC 8259 section 6), and most of what it holds.
        assert!(numbers.iter().all(|number| *number < 1_000_000_000_000_000), "{numbers:?}");
        assert!(numbers.iter().filter(|number| **number > 10_000_000_000_000).count() > 30, "{numbers:?}");
    }
}
