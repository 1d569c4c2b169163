//! The prefixes that triggers stand for, found by what a trigger has read.

use super::{RuleId, packed};
use crate::scan::trigger::{Bucket, SHOWN, Watch};

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
    /// Packed units and index in `all`, by their hashes and in this order.
    index: Vec<(u64, u16)>,
    /// Bits of the packed units' hashes: most hits are blur, and end here.
    filter: Vec<u64>,
    /// Where in `index` those of each block of hashes begin.
    places: Vec<u16>,
}

/// Bits of a hash.
const FILTER_BITS: u32 = 14;
/// Hashes in a block.
const BLOCK: usize = 1 << 4;

impl Starts {
    /// Adds a start whose trigger reads `shown`, letters of either case.
    pub(super) fn add(&mut self, start: Start, shown: &[u8]) {
        let key = key(shown);
        self.filter.resize(1 << (FILTER_BITS - 6), 0);
        self.places.resize((1 << FILTER_BITS) / BLOCK + 1, 0);
        let hash = bit(key);
        self.filter[hash >> 6] |= 1 << (hash & 63);
        let entry = (hash, key, self.all.len() as u16);
        let at = self.index.partition_point(|(key, start)| (bit(*key), *key, *start) < entry);
        self.index.insert(at, (key, entry.2));
        self.places[hash / BLOCK + 1..].iter_mut().for_each(|place| *place += 1);
        self.all.push(start);
    }

    pub(in crate::scan) fn iter(&self) -> impl Iterator<Item = &Start> {
        self.all.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Start> {
        self.all.iter_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// What is left of a state's accepting bits without those of prefixes that do not end at `end`, as most hits are.
    #[inline]
    pub(in crate::scan) fn sift(&self, mut done: u64, watch: &Watch, text: &[u8], end: usize) -> u64 {
        let Some(word) = text[..end].last_chunk::<8>() else { return done };
        let word = u64::from_be_bytes(*word);
        for (shown, bits) in SHOWN.into_iter().zip(watch.shown) {
            let unused = 64 - 8 * shown;
            let units = word & u64::MAX >> unused;
            if done & bits != 0 && units & NOT_ASCII == 0 && !self.may(units | LOWER >> unused) {
                done &= !bits;
            }
        }
        done
    }

    #[inline]
    fn may(&self, key: u64) -> bool {
        let bit = bit(key);
        self.filter.get(bit >> 6).is_some_and(|word| word >> (bit & 63) & 1 == 1)
    }

    /// The starts whose trigger reads these units.
    #[inline]
    pub(in crate::scan) fn of(&self, units: &[u8]) -> impl Iterator<Item = &Start> {
        let key = key(units);
        let block = bit(key) / BLOCK;
        let places = if self.may(key) { self.places.get(block..block + 2) } else { None };
        let near =
            places.map_or(&[][..], |places| &self.index[usize::from(places[0])..usize::from(places[1])]);
        near.iter().filter(move |(other, _)| *other == key).map(|(_, at)| &self.all[usize::from(*at)])
    }
}

const NOT_ASCII: u64 = 0x8080_8080_8080_8080;

/// Makes letters lower case, and mixes up a few marks, which does no harm.
const LOWER: u64 = 0x2020_2020_2020_2020;

fn key(units: &[u8]) -> u64 {
    packed(units) | LOWER >> (64 - 8 * units.len())
}

fn bit(key: u64) -> usize {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - FILTER_BITS)) as usize
}
