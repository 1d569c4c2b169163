//! Finds where phrases may stand: four bytes of each, looked up in a bitmap at every third byte of a text.
//!
//! ```text
//!   … p l e a s e _ i g n o r e _ …        anchor `ignore` is known by `igno`, `gnor` and `nore`:
//!         └─────┘ └─────┘ └─────┘          one of them begins at a byte that is looked at
//! ```
//!
//! Aho-Corasick would read every byte, each step waiting for the one before. A hash of four bytes waits for nothing, whatever
//! the number of anchors; the bitmap stays in the first cache.

/// Bytes of a text from one look to the next.
const STRIDE: usize = 3;
/// Bytes that are looked at.
const GRAM: usize = 4;
/// Bytes of the shortest anchor: one of its grams is met wherever it begins.
pub(super) const SHORTEST: usize = GRAM + STRIDE - 1;
/// Bits of a hash.
const BITS: u32 = 15;

/// All anchors, each with the phrases that it stands for.
#[derive(Debug)]
pub(super) struct Anchors {
    map: Box<[u64]>,
    /// Sorted by gram.
    grams: Vec<Gram>,
}

#[derive(Debug)]
struct Gram {
    key: u32,
    /// Bytes of the anchor before it.
    back: usize,
    anchor: Box<[u8]>,
    phrase: u16,
}

impl Anchors {
    /// From the anchors of phrases, each at least [`SHORTEST`] bytes long.
    pub(super) fn new<'a>(anchors: impl Iterator<Item = (u16, &'a [u8])>) -> Anchors {
        let mut grams = Vec::new();
        for (phrase, anchor) in anchors {
            for back in 0..STRIDE {
                let Some(bytes) = anchor.get(back..).and_then(|rest| rest.first_chunk()) else { continue };
                grams.push(Gram { key: key(bytes), back, anchor: anchor.into(), phrase });
            }
        }
        grams.sort_by_key(|gram| gram.key);
        let mut map = vec![0; 1 << (BITS - 6)].into_boxed_slice();
        for gram in &grams {
            let hash = hash(gram.key);
            map[hash >> 6] |= 1 << (hash & 63);
        }
        Anchors { map, grams }
    }

    /// Calls back for every anchor and a phrase that it stands for, until told to stop.
    pub(super) fn each(&self, text: &[u8], mut see: impl FnMut(usize, u16) -> bool) {
        const LOOKS: usize = 8;
        const BLOCK: usize = STRIDE * (LOOKS - 1) + GRAM;
        let is_set = |window: &[u8]| {
            let hash = window.first_chunk().map_or(0, |bytes| hash(key(bytes)));
            self.map[hash >> 6] >> (hash & 63) & 1
        };
        let mut at = 0;
        while let Some(block) = text.get(at..).and_then(|rest| rest.first_chunk::<BLOCK>()) {
            let mut any = 0;
            for look in 0..LOOKS {
                any |= is_set(&block[STRIDE * look..]);
            }
            if any != 0 {
                for offset in (0..LOOKS).map(|look| STRIDE * look) {
                    if is_set(&block[offset..]) != 0 && !self.look(text, at + offset, &mut see) {
                        return;
                    }
                }
            }
            at += STRIDE * LOOKS;
        }
        for at in (at..text.len()).step_by(STRIDE) {
            if !self.look(text, at, &mut see) {
                return;
            }
        }
    }

    fn look(&self, text: &[u8], at: usize, see: &mut impl FnMut(usize, u16) -> bool) -> bool {
        let Some(key) = text[at..].first_chunk().map(key) else { return true };
        let first = self.grams.partition_point(|gram| gram.key < key);
        for gram in self.grams[first..].iter().take_while(|gram| gram.key == key) {
            let start = at.wrapping_sub(gram.back);
            if text.get(start..).is_some_and(|rest| rest.starts_with(&gram.anchor))
                && !see(start, gram.phrase)
            {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_is_seen_wherever_it_begins() {
        let anchors = Anchors::new([(7_u16, &b"ignore"[..]), (9, b"ignorance")].into_iter());
        for before in 0..60 {
            let text = format!("{}ignore{}", "x".repeat(before), "y".repeat(before % 7));
            let mut seen = Vec::new();
            anchors.each(text.as_bytes(), |at, phrase| {
                seen.push((at, phrase));
                true
            });
            assert_eq!(seen, [(before, 7)], "{text}");
        }
    }
}
