//! The one automaton that reads every unit: says where something may begin.
//!
//! Bit-parallel Shift-And over short patterns of byte sets, twelve buckets of patterns at once. Twelve bits, a lane, stand for
//! "the last k+1 units fit the first k+1 sets of a pattern in this bucket"; five lanes are one word:
//!
//! ```text
//!   state' = ((state << 12) | enabled) & table[unit]
//! ```
//!
//! Three operations and one load per unit that waits for nothing else, whatever the number of rules; the state to carry from
//! one piece of a text to the next is this one word. Patterns in one bucket blur into each other, so a hit is a question, not
//! an answer; and the lanes that are alive at the end of a piece say how far back an unfinished pattern can reach.

use super::email;
use super::machine::in_ipv6;

/// Buckets, and so bits in a lane.
pub(super) const BUCKETS: u32 = 12;
/// Lanes, and so units that a pattern can look at.
pub(super) const LANES: usize = 5;

/// The four bits of the word that no lane needs: what the last unit is. They come with the step, for nothing.
pub(super) const NOT_LOCAL: u64 = 1 << 60;
pub(super) const NOT_HEX: u64 = 1 << 61;
/// No ASCII character, or one that an escape may begin with, of HTML, URLs or source text: a piece with one is read with more
/// care.
pub(super) const SPECIAL: u64 = 1 << 62;
/// May stand before a number and be a part of it.
pub(super) const LEADS: u64 = 1 << 63;
const KINDS: u64 = NOT_LOCAL | NOT_HEX | SPECIAL | LEADS;

/// Units that the triggers of prefixes read: of those of three characters and of marks, of longer ones, of names.
pub(super) const SHOWN: [usize; 3] = [3, LANES - 1, LANES];

/// A set of units.
pub(super) type Set = [bool; 256];

/// What is looked for in a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Bucket {
    /// `@`
    Email = 0,
    /// A digit after none, and three more characters of a number.
    Number = 1,
    /// A colon between hex digits or colons.
    Ipv6 = 2,
    /// Two letters and two digits after a border.
    Iban = 3,
    /// Prefixes of keys after a border: those of three characters, the others in four buckets of like ones.
    Short = 4,
    Prefix0 = 5,
    Prefix1 = 6,
    Prefix2 = 7,
    Prefix3 = 8,
    /// The first three characters of marks in the middle of keys, after what may stand before them.
    Mark = 9,
    /// Names that secrets are assigned to.
    Name = 10,
    /// The first units of users' patterns, after the unit before them.
    Pattern = 11,
}

impl Bucket {
    pub(super) const ALL: [Bucket; BUCKETS as usize] = [
        Bucket::Email,
        Bucket::Number,
        Bucket::Ipv6,
        Bucket::Iban,
        Bucket::Short,
        Bucket::Prefix0,
        Bucket::Prefix1,
        Bucket::Prefix2,
        Bucket::Prefix3,
        Bucket::Mark,
        Bucket::Name,
        Bucket::Pattern,
    ];
    /// Those of prefixes longer than three characters.
    pub(super) const PREFIXES: [Bucket; 4] =
        [Bucket::Prefix0, Bucket::Prefix1, Bucket::Prefix2, Bucket::Prefix3];

    const fn bit(self) -> u64 {
        1 << self as u64
    }

    /// Units of a prefix or name that its trigger reads; `None`: it is not a bucket of those.
    pub(super) const fn shown(self) -> Option<usize> {
        match self {
            Bucket::Short | Bucket::Mark => Some(SHOWN[0]),
            Bucket::Prefix0 | Bucket::Prefix1 | Bucket::Prefix2 | Bucket::Prefix3 => Some(SHOWN[1]),
            Bucket::Name => Some(SHOWN[2]),
            _ => None,
        }
    }
}

/// The buckets that a policy looks at, and those in which it holds back what is unfinished.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Watch {
    pub(super) enabled: u64,
    pub(super) accept: u64,
    /// What of `accept` is of prefixes, by how many units their triggers read, and what of numbers.
    pub(super) shown: [u64; SHOWN.len()],
    pub(super) number: u64,
    /// Unfinished patterns that are held: of numbers, of key prefixes and marks, of accounts, and of users' patterns.
    pub(super) numbers: u64,
    pub(super) prefixes: u64,
    pub(super) marks: u64,
    pub(super) accounts: u64,
    pub(super) others: u64,
    /// Whether there may be any of these.
    pub(super) begun: u64,
}

/// The compiled patterns.
#[derive(Debug)]
pub(super) struct Triggers {
    table: Box<[u64; 256]>,
    /// Units of a bucket's patterns; 0: none.
    lengths: [u8; BUCKETS as usize],
}

impl Triggers {
    pub(super) fn new() -> Triggers {
        let kinds = |unit: u8| {
            let kind = |is: bool, bit: u64| if is { bit } else { 0 };
            kind(!email::in_local(unit), NOT_LOCAL)
                | kind(!in_ipv6(unit), NOT_HEX)
                | kind(!unit.is_ascii() || matches!(unit, b'%' | b'&' | b'\\'), SPECIAL)
                | kind(matches!(unit, b'+' | b'('), LEADS)
        };
        let table = Box::new(std::array::from_fn(|unit| kinds(unit as u8)));
        Triggers { table, lengths: [0; BUCKETS as usize] }
    }

    /// Adds a pattern. All patterns of a bucket have the same length; longer ones are cut.
    pub(super) fn add(&mut self, bucket: Bucket, sets: &[Set]) {
        let length = &mut self.lengths[bucket as usize];
        if *length == 0 {
            *length = sets.len().min(LANES) as u8;
        }
        debug_assert!(sets.len() >= usize::from(*length), "a pattern is as long as its bucket's");
        for (lane, set) in sets.iter().take(usize::from(*length)).enumerate() {
            for (unit, _) in set.iter().enumerate().filter(|(_, inside)| **inside) {
                self.table[unit] |= bucket.bit() << (lane as u32 * BUCKETS);
            }
        }
    }

    pub(super) fn len(&self, bucket: Bucket) -> usize {
        usize::from(self.lengths[bucket as usize])
    }

    /// What to watch, given for each bucket whether it is looked at and whether it holds back.
    pub(super) fn watch(&self, of: impl Fn(Bucket) -> (bool, bool)) -> Watch {
        let mut watch = Watch { enabled: KINDS, ..Watch::default() };
        for bucket in Bucket::ALL {
            let length = self.lengths[bucket as usize];
            let (enabled, holds) = of(bucket);
            if length == 0 || !enabled {
                continue;
            }
            watch.enabled |= bucket.bit();
            let accept = bucket.bit() << (u32::from(length - 1) * BUCKETS);
            watch.accept |= accept;
            for (shown, accepted) in SHOWN.iter().zip(&mut watch.shown) {
                *accepted |= if bucket.shown() == Some(*shown) { accept } else { 0 };
            }
            watch.number |= if bucket == Bucket::Number { accept } else { 0 };
            if !holds {
                continue;
            }
            // The first unit is the one before the pattern, or the whole of it.
            let lanes = 1..u32::from(length - 1);
            let unfinished = lanes.fold(0, |bits, lane| bits | bucket.bit() << (lane * BUCKETS));
            match bucket {
                Bucket::Number => watch.numbers |= unfinished,
                Bucket::Mark => watch.marks |= unfinished,
                Bucket::Iban => watch.accounts |= unfinished,
                Bucket::Pattern => watch.others |= unfinished,
                Bucket::Email | Bucket::Ipv6 | Bucket::Name => {}
                _ => watch.prefixes |= unfinished,
            }
        }
        watch.begun = watch.numbers | watch.prefixes | watch.marks | watch.accounts | watch.others | LEADS;
        watch
    }

    /// The state before a text: as after a space.
    pub(super) fn start(&self, watch: Watch) -> u64 {
        self.step(0, b' ', watch.enabled)
    }

    /// What may begin behind a border, beside what has begun.
    pub(super) fn after_border(&self, enabled: u64) -> u64 {
        self.step(0, b' ', enabled) & !KINDS
    }

    /// The bits of a bucket, in all lanes.
    pub(super) const fn lanes(bucket: Bucket) -> u64 {
        let mut lanes = 0;
        let mut lane = 0;
        while lane < LANES as u32 {
            lanes |= bucket.bit() << (lane * BUCKETS);
            lane += 1;
        }
        lanes
    }

    #[inline(always)]
    pub(super) fn step(&self, state: u64, unit: u8, enabled: u64) -> u64 {
        ((state << BUCKETS) | enabled) & self.table[usize::from(unit)]
    }

    /// The buckets of these accepting bits.
    #[inline]
    pub(super) fn buckets(mut done: u64) -> impl Iterator<Item = Bucket> {
        // Each bucket has one, whose place in its lane is the bucket's.
        std::iter::from_fn(move || {
            let bit = done.checked_ilog2()?;
            done &= !(1 << bit);
            Some(Bucket::ALL[(bit % BUCKETS) as usize])
        })
    }
}

/// How many of the last units belong to an unfinished pattern of those held. The unit before each does not count.
#[inline]
pub(super) fn unfinished(state: u64, held: u64) -> usize {
    (state & held).checked_ilog2().map_or(0, |bit| (bit / BUCKETS) as usize)
}

/// The set of units for which `inside` holds.
pub(super) fn set(inside: impl Fn(u8) -> bool) -> Set {
    std::array::from_fn(|unit| inside(unit as u8))
}

/// One set per character of a literal.
pub(super) fn literal(text: &[u8], ignore_case: bool) -> Vec<Set> {
    let same = |a: u8, b: u8| if ignore_case { a.eq_ignore_ascii_case(&b) } else { a == b };
    text.iter().map(|byte| set(|unit| same(unit, *byte))).collect()
}

/// Units of a prefix that its trigger reads.
pub(super) type Prefix = [u8; SHOWN[1]];

/// The sets of one bucket of prefixes: how often each unit stands in each lane, and how common these units are together.
struct Blur {
    counts: [[u32; 256]; SHOWN[1]],
    shares: [f64; SHOWN[1]],
}

impl Blur {
    const NONE: Blur = Blur { counts: [[0; 256]; LANES - 1], shares: [0.0; LANES - 1] };

    fn add(&mut self, prefix: Prefix) {
        for (lane, unit) in prefix.into_iter().enumerate() {
            self.counts[lane][usize::from(unit)] += 1;
            self.shares[lane] += if self.counts[lane][usize::from(unit)] == 1 { share(unit) } else { 0.0 };
        }
    }

    fn remove(&mut self, prefix: Prefix) {
        for (lane, unit) in prefix.into_iter().enumerate() {
            self.counts[lane][usize::from(unit)] -= 1;
            self.shares[lane] -= if self.counts[lane][usize::from(unit)] == 0 { share(unit) } else { 0.0 };
        }
    }

    /// How many more texts it lets through with this prefix.
    fn cost(&self, prefix: Prefix) -> f64 {
        let lanes = prefix.into_iter().enumerate();
        let with = lanes.map(|(lane, unit)| {
            let known = self.counts[lane][usize::from(unit)] > 0;
            self.shares[lane] + if known { 0.0 } else { share(unit) }
        });
        with.product::<f64>() - self.shares.iter().product::<f64>()
    }
}

/// A bucket for each prefix, so that all of them together let few texts through: the commonest first, each where it blurs
/// least; then each moves to where it does with the others in place.
pub(super) fn spread(prefixes: &[Prefix]) -> Vec<Bucket> {
    const ROUNDS: usize = 3;
    let common = |at: &usize| prefixes[*at].into_iter().map(share).product::<f64>();
    let mut order: Vec<usize> = (0..prefixes.len()).collect();
    order.sort_by(|a, b| common(b).total_cmp(&common(a)));
    let mut blurs = [Blur::NONE; Bucket::PREFIXES.len()];
    let mut places: Vec<Option<usize>> = vec![None; prefixes.len()];
    for _ in 0..ROUNDS {
        for at in &order {
            let prefix = prefixes[*at];
            if let Some(place) = places[*at] {
                blurs[place].remove(prefix);
            }
            let cost = |place: &usize| blurs[*place].cost(prefix);
            let place = (0..blurs.len()).min_by(|a, b| cost(a).total_cmp(&cost(b))).unwrap_or(0);
            blurs[place].add(prefix);
            places[*at] = Some(place);
        }
    }
    places.into_iter().map(|place| Bucket::PREFIXES[place.unwrap_or(0)]).collect()
}

/// How common a unit is in text: letters as in English, where prefixes of keys and words meet most.
fn share(unit: u8) -> f64 {
    const LETTERS: [u16; 26] =
        [80, 15, 28, 43, 127, 22, 20, 60, 70, 2, 8, 40, 24, 67, 75, 19, 1, 60, 63, 90, 28, 10, 24, 2, 20, 1];
    let tenths_of_a_percent = match unit {
        b'a'..=b'z' => LETTERS[usize::from(unit - b'a')],
        b'A'..=b'Z' => 3,
        b'0'..=b'9' => 4,
        _ => 10,
    };
    f64::from(tenths_of_a_percent) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A literal after a border.
    fn prefixed(text: &str) -> Vec<Set> {
        std::iter::once(set(|unit| !unit.is_ascii_alphanumeric()))
            .chain(literal(text.as_bytes(), false))
            .collect()
    }

    fn hits(triggers: &Triggers, text: &str) -> Vec<(usize, Bucket)> {
        let watch = triggers.watch(|_| (true, true));
        let mut state = triggers.start(watch);
        let mut found = Vec::new();
        for (at, unit) in text.bytes().enumerate() {
            state = triggers.step(state, unit, watch.enabled);
            found.extend(Triggers::buckets(state & watch.accept).map(|bucket| (at, bucket)));
        }
        found
    }

    #[test]
    fn patterns_are_found_at_their_last_unit() {
        let mut triggers = Triggers::new();
        triggers.add(Bucket::Short, &prefixed("sk-"));
        triggers.add(Bucket::Name, &literal(b"token", true));
        triggers.add(Bucket::Email, &literal(b"@", false));
        assert_eq!(
            hits(&triggers, "a@ sk- SK- ToKen ssk-"),
            [(1, Bucket::Email), (5, Bucket::Short), (15, Bucket::Name)]
        );
    }

    #[test]
    fn unfinished_patterns_are_counted_from_their_first_unit() {
        let mut triggers = Triggers::new();
        triggers.add(Bucket::Prefix0, &prefixed("gith"));
        let watch = triggers.watch(|_| (true, true));
        for (text, expect) in [("", 0), ("gi", 2), ("a git", 3), ("ggi", 0), ("gith", 0), ("gitx", 0)] {
            let state =
                text.bytes().fold(triggers.start(watch), |s, unit| triggers.step(s, unit, watch.enabled));
            assert_eq!(unfinished(state, watch.prefixes), expect, "{text}");
        }
    }
}
