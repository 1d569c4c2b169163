//! Finds where phrases may stand: four bytes of each, looked up in a bitmap at every third byte of a text.
//!
//! ```text
//!   … p l e a s e _ i g n o r e _ …        anchor `ignore` is known by `igno`, `gnor` and `nore`:
//!         └─────┘ └─────┘ └─────┘          one of them begins at a byte that is looked at
//! ```
//!
//! Aho-Corasick would read every byte, each step waiting for the one before. A hash of four bytes waits for nothing, whatever
//! the number of anchors; the bitmap stays in the first cache.

use std::collections::BTreeMap;

/// Bytes of a text from one look to the next.
const STRIDE: usize = 3;
/// Bytes that are looked at.
const GRAM: usize = 4;
/// Bytes of the shortest anchor: one of its grams is met wherever it begins.
pub(super) const SHORTEST: usize = GRAM + STRIDE - 1;
/// Bits of a hash.
const BITS: u32 = 15;
/// Bits of a hash by which its grams are found.
const PLACE_BITS: u32 = 11;

/// All anchors, each with the phrases that it stands for.
#[derive(Debug)]
pub(super) struct Anchors {
    /// Bits of the hashes of all grams.
    map: Box<[u64]>,
    /// Where the grams begin whose hashes have these upper bits.
    places: Box<[u32]>,
    /// In the order of their hashes.
    grams: Vec<Gram>,
    anchors: Vec<Anchor>,
}

#[derive(Debug)]
struct Gram {
    key: u32,
    /// Bytes of the anchor before it.
    back: u32,
    anchor: u32,
}

#[derive(Debug)]
struct Anchor {
    text: Box<[u8]>,
    phrases: Vec<u16>,
}

impl Anchors {
    /// From the anchors of phrases, each at least [`SHORTEST`] bytes long.
    pub(super) fn new<'a>(anchors: impl Iterator<Item = (u16, &'a [u8])>) -> Anchors {
        let mut phrases: BTreeMap<&[u8], Vec<u16>> = BTreeMap::new();
        for (phrase, anchor) in anchors {
            phrases.entry(anchor).or_default().push(phrase);
        }
        let anchors: Vec<Anchor> =
            phrases.into_iter().map(|(text, phrases)| Anchor { text: text.into(), phrases }).collect();
        let mut grams = Vec::new();
        for (anchor, Anchor { text, .. }) in (0..).zip(&anchors) {
            for back in 0..STRIDE {
                let Some(bytes) = text.get(back..).and_then(|rest| rest.first_chunk()) else { continue };
                grams.push(Gram { key: key(bytes), back: back as u32, anchor });
            }
        }
        grams.sort_by_key(|gram| hash(gram.key));
        let mut map = vec![0; 1 << (BITS - 6)].into_boxed_slice();
        for gram in &grams {
            let hash = hash(gram.key);
            map[hash >> 6] |= 1 << (hash & 63);
        }
        let places = (0..=1 << PLACE_BITS)
            .map(|place| grams.partition_point(|gram| place_of(hash(gram.key)) < place) as u32)
            .collect();
        Anchors { map, places, grams, anchors }
    }

    /// Calls back for every anchor with the phrases that it stands for, until told to stop.
    pub(super) fn each(&self, text: &[u8], mut see: impl FnMut(usize, &[u16]) -> bool) {
        const LOOKS: usize = 8;
        const BLOCK: usize = STRIDE * (LOOKS - 1) + GRAM;
        let is_set = |window: &[u8]| {
            let hash = window.first_chunk().map_or(0, |bytes| hash(key(bytes)));
            self.map[hash >> 6] >> (hash & 63) & 1
        };
        let mut at = 0;
        while let Some(block) = text.get(at..).and_then(|rest| rest.first_chunk::<BLOCK>()) {
            let mut set = 0;
            for look in 0..LOOKS {
                set |= is_set(&block[STRIDE * look..]) << look;
            }
            while set != 0 {
                let look = set.trailing_zeros() as usize;
                if !self.look(text, at + STRIDE * look, &mut see) {
                    return;
                }
                set &= set - 1;
            }
            at += STRIDE * LOOKS;
        }
        for at in (at..text.len()).step_by(STRIDE) {
            if !self.look(text, at, &mut see) {
                return;
            }
        }
    }

    fn look(&self, text: &[u8], at: usize, see: &mut impl FnMut(usize, &[u16]) -> bool) -> bool {
        let Some(key) = text[at..].first_chunk().map(key) else { return true };
        let place = place_of(hash(key));
        let (from, to) = (self.places[place] as usize, self.places[place + 1] as usize);
        for gram in self.grams[from..to].iter().filter(|gram| gram.key == key) {
            let Some(start) = at.checked_sub(gram.back as usize) else { continue };
            let anchor = &self.anchors[gram.anchor as usize];
            if text[start..].starts_with(&anchor.text) && !see(start, &anchor.phrases) {
                return false;
            }
        }
        true
    }
}

fn key(bytes: &[u8; GRAM]) -> u32 {
    u32::from_le_bytes(*bytes)
}

fn hash(key: u32) -> usize {
    (key.wrapping_mul(0x9e37_79b1) >> (32 - BITS)) as usize
}

fn place_of(hash: usize) -> usize {
    hash >> (BITS - PLACE_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_is_seen_wherever_it_begins() {
        let anchors = Anchors::new([(7_u16, &b"ignore"[..]), (9, b"ignorance")].into_iter());
        for before in 0..60 {
            let text = format!("{}ignore{}", "x".repeat(before), "y".repeat(before % 7));
            let mut seen = Vec::new();
            anchors.each(text.as_bytes(), |at, phrases| {
                seen.extend(phrases.iter().map(|phrase| (at, *phrase)));
                true
            });
            assert_eq!(seen, [(before, 7)], "{text}");
        }
    }
}
