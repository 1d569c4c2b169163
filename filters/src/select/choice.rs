/// Random numbers from a seed that the caller draws (splitmix64: full period, well mixed, a few instructions).
#[derive(Debug, Clone)]
pub struct Dice(u64);

/// Draws that may hit an unusable option before all of them are looked at. With half of the options unusable, one pick in 256
/// needs the long way.
const DRAWS: usize = 8;

impl Dice {
    pub const fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `n`; 0 where `n` is 0. The bias is below n / 2^64.
    pub fn below(&mut self, n: u64) -> u64 {
        #[allow(clippy::cast_possible_truncation)] // the high half of a 128-bit product
        {
            ((u128::from(self.roll()) * u128::from(n)) >> 64) as u64
        }
    }

    fn index(&mut self, n: usize) -> usize {
        usize::try_from(self.below(n as u64)).unwrap_or(0)
    }
}

/// splitmix64's finaliser: every input bit reaches every output bit.
pub(super) const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Picks an index with a probability in proportion to its weight. `None` where all weights are 0.
pub fn weighted(dice: &mut Dice, weights: impl Iterator<Item = u32> + Clone) -> Option<usize> {
    let mut point = dice.below(weights.clone().map(u64::from).sum());
    for (index, weight) in weights.enumerate() {
        match point.checked_sub(u64::from(weight)) {
            Some(rest) => point = rest,
            None => return Some(index),
        }
    }
    None
}

/// The less loaded of two random usable options among `n`: close to always picking the least loaded one, without looking at
/// all, and without every caller running to the same idle host (Mitzenmacher, "The Power of Two Choices in Randomized Load
/// Balancing", 2001). `load` is `None` where an option cannot be used.
///
/// Costs the same for 10 and for 1,000 options while most are usable; else one look at each.
pub fn two_choices(n: usize, dice: &mut Dice, load: impl Fn(usize) -> Option<u64>) -> Option<usize> {
    if n <= 1 {
        return (n == 1 && load(0).is_some()).then_some(0);
    }
    let with_load = |index| Some((index, load(index)?));
    let Some(first) = (0..DRAWS).find_map(|_| with_load(dice.index(n))) else {
        return least_of_all(n, dice, load);
    };
    // Drawn from all but the first. None within the draws: usable ones are few, and the first is one of them.
    let second = (0..DRAWS).find_map(|_| with_load((first.0 + 1 + dice.index(n - 1)) % n));
    let Some(second) = second else { return Some(first.0) };
    Some(if second.1 < first.1 { second.0 } else { first.0 })
}

/// The least loaded of all; the first of equals from a random start, so that equals share.
fn least_of_all(n: usize, dice: &mut Dice, load: impl Fn(usize) -> Option<u64>) -> Option<usize> {
    let start = dice.index(n);
    let around = (start..n).chain(0..start);
    around.filter_map(|index| Some((load(index)?, index))).min_by_key(|(load, _)| *load).map(|(_, i)| i)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn weights_hold_over_many_picks() {
        let mut dice = Dice::new(1);
        let mut seen = [0u32; 4];
        for _ in 0..100_000 {
            seen[weighted(&mut dice, [80, 0, 20, 0].into_iter()).expect("weights")] += 1;
        }
        assert_eq!((seen[1], seen[3]), (0, 0));
        assert!((79_000..81_000).contains(&seen[0]), "{seen:?}");
        assert_eq!(weighted(&mut dice, [0, 0].into_iter()), None);
        assert_eq!(weighted(&mut dice, std::iter::empty()), None);
        assert_eq!(weighted(&mut dice, [u32::MAX; 3].into_iter().skip(2)), Some(0));
    }

    #[test]
    fn the_only_usable_option_is_found() {
        for n in [1, 2, 3, 10, 1000] {
            for usable in [0, n / 2, n - 1] {
                let mut dice = Dice::new(n as u64);
                let pick = two_choices(n, &mut dice, |i| (i == usable).then_some(7));
                assert_eq!(pick, Some(usable), "{usable} of {n}");
                assert_eq!(two_choices(n, &mut dice, |_| None), None);
            }
        }
        assert_eq!(two_choices(0, &mut Dice::new(0), |_| Some(0)), None);
    }

    #[test]
    fn the_busiest_of_three_is_picked_least() {
        let load = [0u64, 5, 9];
        let mut dice = Dice::new(3);
        let mut seen = [0u32; 3];
        for _ in 0..30_000 {
            seen[two_choices(3, &mut dice, |i| Some(load[i])).expect("usable")] += 1;
        }
        // Of the three pairs, 0 wins two, 1 wins one, 2 wins none.
        assert!((19_000..21_000).contains(&seen[0]), "{seen:?}");
        assert_eq!(seen[2], 0, "{seen:?}");
    }

    #[test]
    fn equal_load_is_shared_evenly() {
        let loads: Vec<Cell<u64>> = (0..10).map(|_| Cell::new(0)).collect();
        let mut dice = Dice::new(4);
        for _ in 0..10_000 {
            let i = two_choices(10, &mut dice, |i| Some(loads[i].get())).expect("usable");
            loads[i].set(loads[i].get() + 1);
        }
        let (least, most) = (loads.iter().min().expect("ten"), loads.iter().max().expect("ten"));
        assert!(most.get() - least.get() < 20, "{loads:?}");
    }

    #[test]
    fn a_thousand_options_cost_what_ten_cost() {
        let looks = |n: usize| {
            let count = Cell::new(0u32);
            let mut dice = Dice::new(5);
            for _ in 0..1_000 {
                two_choices(n, &mut dice, |i| {
                    count.set(count.get() + 1);
                    Some(i as u64)
                });
            }
            count.get()
        };
        assert_eq!(looks(10), looks(1_000));
        assert_eq!(looks(1_000), 2_000);
    }
}
