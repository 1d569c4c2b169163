//! The prefixes that triggers stand for, found by what a trigger has read.

use super::{RuleId, packed};
use crate::scan::trigger::Bucket;

/// What begins at a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::scan) enum Opens {
    Key,
    Jwt,
    Pem,
    Url,
    Assignment,
}

/// A prefix that triggers.
#[derive(Debug, Clone, Copy)]
pub(in crate::scan) struct Start {
    pub(in crate::scan) bucket: Bucket,
    /// Index in `Rules::keys`.
    pub(in crate::scan) key: u16,
    pub(in crate::scan) rule: RuleId,
    pub(in crate::scan) opens: Opens,
}

/// All of them, by the units that their trigger has read.
#[derive(Debug, Default)]
pub(in crate::scan) struct Starts {
    all: Vec<Start>,
    /// Packed units and index in `all`, sorted.
    index: Vec<(u64, u16)>,
    /// Bits of the packed units' hashes: most hits are blur, and end here.
    filter: Vec<u64>,
}

const FILTER_BITS: u32 = 14;

impl Starts {
    /// Adds a start whose trigger reads `shown`, letters of either case.
    pub(super) fn add(&mut self, start: Start, shown: &[u8]) {
        let key = packed(&shown.to_ascii_lowercase());
        self.filter.resize(1 << (FILTER_BITS - 6), 0);
        let bit = bit(key);
        self.filter[bit >> 6] |= 1 << (bit & 63);
        let entry = (key, self.all.len() as u16);
        let at = self.index.partition_point(|other| *other < entry);
        self.index.insert(at, entry);
        self.all.push(start);
    }

    pub(in crate::scan) fn iter(&self) -> impl Iterator<Item = &Start> {
        self.all.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The starts whose trigger reads these units.
    #[inline]
    pub(in crate::scan) fn of(&self, units: &[u8]) -> impl Iterator<Item = &Start> {
        let key = units.iter().fold(0, |packed, unit| packed << 8 | u64::from(unit.to_ascii_lowercase()));
        let bit = bit(key);
        let known = self.filter.get(bit >> 6).is_some_and(|word| word >> (bit & 63) & 1 == 1);
        let first =
            if known { self.index.partition_point(|(other, _)| *other < key) } else { self.index.len() };
        self.index[first..]
            .iter()
            .take_while(move |(other, _)| *other == key)
            .map(|(_, at)| &self.all[usize::from(*at)])
    }
}

fn bit(key: u64) -> usize {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - FILTER_BITS)) as usize
}
