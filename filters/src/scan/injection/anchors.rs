//! Finds where phrases may stand: four bytes of each, looked up in a bitmap at every third byte of a text.
//!
//! ```text
//!   … p l e a s e _ i g n o r e _ …        anchor `ignore` is known by `igno`, `gnor` and `nore`, a longer one by its rarest:
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
const BITS: u32 = 16;
/// Bits of a hash by which its grams are found.
const PLACE_BITS: u32 = 11;

/// All anchors, by their numbers.
#[derive(Debug)]
pub(super) struct Anchors {
    /// Bits of the hashes of all grams.
    map: Box<[u64]>,
    /// Where the grams begin whose hashes have these upper bits.
    places: Box<[u32]>,
    /// In the order of their hashes.
    grams: Vec<Gram>,
    anchors: Vec<Box<[u8]>>,
}

#[derive(Debug)]
struct Gram {
    key: u32,
    /// Bytes of the anchor before it.
    back: u32,
    anchor: u32,
    /// The first bytes of the anchor and which of a word they are: what most others differ in.
    head: u64,
    mask: u64,
}

impl Anchors {
    /// From their texts, each at least [`SHORTEST`] bytes long and none twice; numbered in this order.
    pub(super) fn new<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Anchors {
        let anchors: Vec<Box<[u8]>> = texts.map(Box::from).collect();
        let mut grams = Vec::new();
        for (anchor, text) in (0..).zip(&anchors) {
            let (head, mask) = head(text);
            let rarest = rarest(text);
            for back in rarest..rarest + STRIDE {
                let Some(bytes) = text.get(back..).and_then(|rest| rest.first_chunk()) else { continue };
                grams.push(Gram { key: key(bytes), back: back as u32, anchor, head, mask });
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

    /// Calls back for every anchor with its place and number, until told to stop.
    pub(super) fn each(&self, text: &[u8], mut see: impl FnMut(usize, usize) -> bool) {
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

    fn look(&self, text: &[u8], at: usize, see: &mut impl FnMut(usize, usize) -> bool) -> bool {
        let Some(key) = text[at..].first_chunk().map(key) else { return true };
        let place = place_of(hash(key));
        let (from, to) = (self.places[place] as usize, self.places[place + 1] as usize);
        for gram in self.grams[from..to].iter().filter(|gram| gram.key == key) {
            let Some(start) = at.checked_sub(gram.back as usize) else { continue };
            let (rest, anchor) = (&text[start..], gram.anchor as usize);
            // What is no longer than a word is compared as one.
            let other = |bytes: &[u8; 8]| (u64::from_le_bytes(*bytes) ^ gram.head) & gram.mask != 0;
            let stands = match rest.first_chunk() {
                Some(bytes) if other(bytes) => false,
                Some(_) if gram.mask != u64::MAX => true,
                _ => rest.starts_with(&self.anchors[anchor]),
            };
            if stands && !see(start, anchor) {
                return false;
            }
        }
        true
    }
}

/// Where the grams of an anchor begin that are met least often in other texts.
fn rarest(text: &[u8]) -> usize {
    // Of a thousand.
    let share = |byte: &u8| match byte {
        b'a' | b'e' | b'i' | b'n' | b'o' | b'r' | b's' | b't' | b' ' | b'"' | 0x80.. => 70,
        b'a'..=b'z' | b':' => 20,
        _ => 10,
    };
    let cost = |from: &usize| -> u64 {
        let grams = text[*from..].windows(GRAM).take(STRIDE);
        grams.map(|gram| gram.iter().map(share).product::<u64>()).sum()
    };
    (0..=text.len().saturating_sub(SHORTEST)).min_by_key(cost).unwrap_or_default()
}

/// The first eight bytes of a text, as a word, and which bits of it they are.
fn head(text: &[u8]) -> (u64, u64) {
    text.iter()
        .take(8)
        .rev()
        .fold((0, 0), |(head, mask), byte| (head << 8 | u64::from(*byte), mask << 8 | 0xff))
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
        let anchors = Anchors::new([&b"ignorance"[..], b"ignore"].into_iter());
        for before in 0..60 {
            let text = format!("{}ignore{}", "x".repeat(before), "y".repeat(before % 7));
            let mut seen = Vec::new();
            anchors.each(text.as_bytes(), |at, anchor| {
                seen.push((at, anchor));
                true
            });
            assert_eq!(seen, [(before, 1)], "{text}");
        }
    }
}
