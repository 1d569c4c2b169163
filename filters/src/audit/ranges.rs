//! A set of sequence numbers, kept as few ranges.

use serde::{Deserialize, Serialize};

/// Sorted, disjoint, non-adjacent inclusive ranges. In JSON: `[[1,5],[7,7]]`.
///
/// Invariant: for neighbours `(a, b)`, `(c, d)`: `a <= b`, `b + 1 < c`, `c <= d`.
///
/// Numbers arrive nearly in order, so the number of ranges is that of the requests in flight, and insertion near the end
/// is what has to be fast.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    pub const fn new() -> Ranges {
        Ranges(Vec::new())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Number of ranges, not of numbers.
    pub fn pieces(&self) -> usize {
        self.0.len()
    }

    /// How many numbers are in the set.
    pub fn count(&self) -> u64 {
        self.0.iter().fold(0u64, |sum, (from, to)| sum.saturating_add((to - from).saturating_add(1)))
    }

    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().copied()
    }

    pub fn last(&self) -> Option<u64> {
        self.0.last().map(|&(_, to)| to)
    }

    pub fn contains(&self, number: u64) -> bool {
        let at = self.0.partition_point(|&(_, to)| to < number);
        self.0.get(at).is_some_and(|&(from, _)| from <= number)
    }

    /// False when it was there already.
    pub fn insert(&mut self, number: u64) -> bool {
        let new = !self.contains(number);
        if new {
            self.insert_range(number, number);
        }
        new
    }

    /// Adds `from..=to`; nothing when it is empty.
    pub fn insert_range(&mut self, from: u64, to: u64) {
        if from > to {
            return;
        }
        // The first range that touches or follows `from`, and the first that lies wholly behind `to`.
        let start = self.0.partition_point(|&(_, end)| end.saturating_add(1) < from);
        let end = start + self.0[start..].partition_point(|&(begin, _)| begin <= to.saturating_add(1));
        if start == end {
            self.0.insert(start, (from, to));
            return;
        }
        let merged = (self.0[start].0.min(from), self.0[end - 1].1.max(to));
        self.0[start] = merged;
        self.0.drain(start + 1..end);
    }

    pub fn extend(&mut self, other: &Ranges) {
        for (from, to) in other.iter() {
            self.insert_range(from, to);
        }
    }

    /// What of `from..=to` is not in the set.
    pub fn missing(&self, from: u64, to: u64) -> Ranges {
        let mut missing = Vec::new();
        let mut next = from;
        let start = self.0.partition_point(|&(_, end)| end < from);
        for &(begin, end) in &self.0[start..] {
            if next > to || begin > to {
                break;
            }
            if next < begin {
                missing.push((next, begin - 1));
            }
            match end.checked_add(1) {
                Some(after) => next = after,
                None => return Ranges(missing),
            }
        }
        if next <= to {
            missing.push((next, to));
        }
        Ranges(missing)
    }

    /// What is here and not in `other`.
    pub fn without(&self, other: &Ranges) -> Ranges {
        Ranges(self.iter().flat_map(|(from, to)| other.missing(from, to).0).collect())
    }

    /// Cuts off the ranges past the first `pieces` and returns them.
    pub fn split_off(&mut self, pieces: usize) -> Ranges {
        Ranges(self.0.split_off(pieces.min(self.0.len())))
    }
}

impl TryFrom<Vec<(u64, u64)>> for Ranges {
    type Error = String;

    /// Any order and overlap is taken; a backward range is not.
    fn try_from(pairs: Vec<(u64, u64)>) -> Result<Ranges, String> {
        let mut ranges = Ranges::new();
        for (from, to) in pairs {
            if from > to {
                return Err(format!("a range runs backwards: [{from},{to}]"));
            }
            ranges.insert_range(from, to);
        }
        Ok(ranges)
    }
}

impl From<Ranges> for Vec<(u64, u64)> {
    fn from(ranges: Ranges) -> Vec<(u64, u64)> {
        ranges.0
    }
}

impl std::fmt::Display for Ranges {
    /// `1-5, 7`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (from, to)) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            if from == to {
                write!(f, "{comma}{from}")?;
            } else {
                write!(f, "{comma}{from}-{to}")?;
            }
        }
        Ok(())
    }
}
