//! The chain of hashes and the count of numbers: following them proves what a sequence of records holds and lacks.

use std::borrow::Cow;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Gap, Header, Kind, Ranges};

/// BLAKE3 of a record's written bytes. In JSON: 64 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// `prev` of the first record of a generation.
    pub const GENESIS: Hash = Hash([0; 32]);

    pub fn of(bytes: &[u8]) -> Hash {
        Hash(*blake3::hash(bytes).as_bytes())
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(super) fn write_hex<'a>(&self, out: &'a mut [u8; 64]) -> &'a str {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for (pair, byte) in out.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        std::str::from_utf8(out).expect("hex digits are ASCII")
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.write_hex(&mut [0; 64]))
    }
}

impl std::str::FromStr for Hash {
    type Err = blake3::HexError;

    fn from_str(text: &str) -> Result<Hash, blake3::HexError> {
        Ok(Hash(*blake3::Hash::from_hex(text)?.as_bytes()))
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.write_hex(&mut [0; 64]))
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// What is known of one instance generation after following its records in the order they were written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chain {
    /// Hash of the last record.
    pub head: Hash,
    pub records: u64,
    /// Numbers that have a record.
    pub seen: Ranges,
    /// Numbers that a gap notice of this same chain says have none.
    pub declared: Ranges,
    /// A `stopped` record was the last.
    pub stopped: bool,
}

impl Default for Chain {
    fn default() -> Chain {
        Chain {
            head: Hash::GENESIS,
            records: 0,
            seen: Ranges::new(),
            declared: Ranges::new(),
            stopped: false,
        }
    }
}

/// What is wrong with one record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "fault")]
pub enum Fault {
    /// `prev` is not the hash of the record before: something was changed, removed or put in between.
    BrokenLink { seq: u64 },
    /// The number was used before.
    DuplicateSeq { seq: u64 },
    /// The record belongs to another instance.
    ForeignInstance { seq: u64 },
    /// Not a record at all; `position` counts from 1.
    Unreadable { position: u64 },
}

impl Chain {
    /// Takes the next record. Goes on after a fault, from the record as it stands.
    pub fn follow(&mut self, instance: &str, bytes: &[u8]) -> Vec<Fault> {
        match Header::read(bytes) {
            Ok(header) => self.follow_header(instance, &header, Hash::of(bytes)),
            Err(_) => {
                self.records += 1;
                self.head = Hash::of(bytes);
                self.stopped = false;
                vec![Fault::Unreadable { position: self.records }]
            }
        }
    }

    /// The same for a record that was read already; `hash` is that of its bytes.
    pub fn follow_header(&mut self, instance: &str, header: &Header<'_>, hash: Hash) -> Vec<Fault> {
        let mut faults = Vec::new();
        let seq = header.seq;
        if header.instance != instance {
            faults.push(Fault::ForeignInstance { seq });
        }
        if header.prev != self.head {
            faults.push(Fault::BrokenLink { seq });
        }
        if !self.seen.insert(seq) {
            faults.push(Fault::DuplicateSeq { seq });
        }
        if let Some(Gap { instance: whose, ranges, .. }) = &header.gap
            && whose == instance
        {
            self.declared.extend(ranges);
        }
        self.records += 1;
        self.head = hash;
        self.stopped = header.kind == Kind::Stopped;
        faults
    }

    /// Numbers from 1 to `last` that have neither a record nor a notice.
    pub fn unaccounted(&self, last: u64) -> Ranges {
        self.seen.missing(1, last).without(&self.declared)
    }

    /// The highest number that has a record or a notice.
    pub fn last(&self) -> u64 {
        self.seen.last().max(self.declared.last()).unwrap_or(0)
    }
}

/// The verdict on a whole sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub chain: Chain,
    pub faults: Vec<Fault>,
    /// Numbers with neither a record nor a notice. While the instance runs, requests in flight are among them.
    pub unaccounted: Ranges,
}

impl Report {
    pub fn is_whole(&self) -> bool {
        self.faults.is_empty() && self.unaccounted.is_empty()
    }
}

/// Follows all `records` of `instance`, in the order they were written. `last`: the highest number that may have been used, where
/// it is known (the end of the block); else the highest seen.
pub fn verify<'a>(instance: &str, records: impl IntoIterator<Item = &'a [u8]>, last: Option<u64>) -> Report {
    let mut chain = Chain::default();
    let mut faults = Vec::new();
    for bytes in records {
        faults.extend(chain.follow(instance, bytes));
    }
    let unaccounted = chain.unaccounted(last.unwrap_or(0).max(chain.last()));
    Report { chain, faults, unaccounted }
}
