//! Finds where phrases may stand: four bytes of each, looked up in a bitmap at every byte of a text.
//!
//! Aho-Corasick reads some 300 anchors at a byte per nanosecond, each step waiting for the one before. A hash of four bytes waits
//! for nothing, whatever the number of anchors; the bitmap fits the first cache.

/// Bytes that are looked at.
pub(super) const LENGTH: usize = 4;
/// Bits of a hash.
const BITS: u32 = 15;

/// The first bytes of anchors, with the phrases that begin so.
#[derive(Debug)]
pub(super) struct Anchors {
    map: Box<[u64]>,
    /// Sorted.
    keys: Vec<u32>,
    phrases: Vec<Vec<u16>>,
}

impl Anchors {
    /// From the anchors of phrases, each at least [`LENGTH`] bytes long.
    pub(super) fn new<'a>(anchors: impl Iterator<Item = (u16, &'a [u8])>) -> Anchors {
        let mut by_key: Vec<(u32, u16)> =
            anchors.filter_map(|(phrase, anchor)| Some((key(anchor.first_chunk()?), phrase))).collect();
        by_key.sort_unstable();
        by_key.dedup();
        let mut all = Anchors { map: vec![0; 1 << (BITS - 6)].into(), keys: Vec::new(), phrases: Vec::new() };
        for (key, phrase) in by_key {
            if all.keys.last() != Some(&key) {
                let hash = hash(key);
                all.map[hash >> 6] |= 1 << (hash & 63);
                all.keys.push(key);
                all.phrases.push(Vec::new());
            }
            if let Some(last) = all.phrases.last_mut() {
                last.push(phrase);
            }
        }
        all
    }

    /// Calls back for every place and the phrases that may stand there, until told to stop.
    pub(super) fn each(&self, text: &[u8], mut see: impl FnMut(usize, &[u16]) -> bool) {
        const STEP: usize = 8;
        let is_set = |window: &[u8]| {
            let hash = window.first_chunk().map_or(0, |bytes| hash(key(bytes)));
            self.map[hash >> 6] >> (hash & 63) & 1
        };
        let mut at = 0;
        while let Some(block) = text.get(at..).and_then(|rest| rest.first_chunk::<{ STEP + LENGTH - 1 }>()) {
            let mut any = 0;
            for offset in 0..STEP {
                any |= is_set(&block[offset..]);
            }
            if any != 0 {
                for offset in (0..STEP).filter(|offset| is_set(&block[*offset..]) != 0) {
                    if !self.look(&block[offset..], at + offset, &mut see) {
                        return;
                    }
                }
            }
            at += STEP;
        }
        for at in at..text.len() {
            if !self.look(&text[at..], at, &mut see) {
                return;
            }
        }
    }

    fn look(&self, window: &[u8], at: usize, see: &mut impl FnMut(usize, &[u16]) -> bool) -> bool {
        let Some(bytes) = window.first_chunk() else { return true };
        match self.keys.binary_search(&key(bytes)) {
            Ok(index) => see(at, &self.phrases[index]),
            Err(_) => true,
        }
    }
}

fn key(bytes: &[u8; LENGTH]) -> u32 {
    u32::from_le_bytes(*bytes)
}

fn hash(key: u32) -> usize {
    (key.wrapping_mul(0x9e37_79b1) >> (32 - BITS)) as usize
}
