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

/// Options with weights, to pick from at random.
#[derive(Debug, Clone, Default)]
pub struct Weights {
    /// The sum of the weights up to and with each option.
    up_to: Vec<u64>,
}

impl Weights {
    pub fn new(weights: impl IntoIterator<Item = u32>) -> Weights {
        let mut sum = 0;
        let up_to = weights.into_iter().map(|weight| {
            sum += u64::from(weight);
            sum
        });
        Weights { up_to: up_to.collect() }
    }

    fn of(&self, index: usize) -> u64 {
        self.up_to[index] - index.checked_sub(1).map_or(0, |before| self.up_to[before])
    }

    /// An index among the usable ones, with a probability in proportion to its weight. `None` where none of them has a weight.
    ///
    /// Costs nearly the same for 10 and for 1,000 options while most of the weight is usable; else one look at each.
    pub fn pick(&self, dice: &mut Dice, usable: impl Fn(usize) -> bool) -> Option<usize> {
        let total = self.up_to.last().copied().filter(|total| *total > 0)?;
        // Of all, until a usable one is hit: among those, the odds are the same as if only they had been drawn from.
        for _ in 0..DRAWS {
            let point = dice.below(total);
            let index = self.up_to.partition_point(|up_to| *up_to <= point);
            if usable(index) {
                return Some(index);
            }
        }
        let left: Vec<usize> = (0..self.up_to.len()).filter(|index| usable(*index)).collect();
        let mut point = dice.below(left.iter().map(|index| self.of(*index)).sum());
        left.into_iter().find(|index| match point.checked_sub(self.of(*index)) {
            Some(rest) => {
                point = rest;
                false
            }
            None => true,
        })
    }
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
        let weights = Weights::new([80, 0, 20, 0]);
        let mut seen = [0u32; 4];
        for _ in 0..100_000 {
            seen[weights.pick(&mut dice, |_| true).expect("weights")] += 1;
        }
        assert_eq!((seen[1], seen[3]), (0, 0));
        assert!((79_000..81_000).contains(&seen[0]), "{seen:?}");
        assert_eq!(Weights::new([0, 0]).pick(&mut dice, |_| true), None);
        assert_eq!(Weights::new([]).pick(&mut dice, |_| true), None);
        assert_eq!(Weights::new([u32::MAX; 3]).pick(&mut dice, |index| index == 2), Some(2));
    }

    /// With nearly all of the weight out of use the draws miss, and the long way must give the same odds.
    #[test]
    fn weights_hold_among_the_few_that_are_usable() {
        let mut dice = Dice::new(2);
        let weights = Weights::new([1_000_000, 30, 0, 10]);
        let mut seen = [0u32; 4];
        for _ in 0..40_000 {
            seen[weights.pick(&mut dice, |index| index > 0).expect("usable")] += 1;
        }
        assert_eq!((seen[0], seen[2]), (0, 0));
        assert!((29_000..31_000).contains(&seen[1]), "{seen:?}");
        assert_eq!(weights.pick(&mut dice, |index| index == 2), None, "usable, and without weight");
        assert_eq!(weights.pick(&mut dice, |_| false), None);
    }

    #[test]
    fn a_thousand_weights_are_not_all_looked_at() {
        let weights = Weights::new([1; 1_000]);
        let (looks, mut dice) = (Cell::new(0), Dice::new(6));
        for _ in 0..1_000 {
            weights.pick(&mut dice, |index| {
                looks.set(looks.get() + 1);
                index % 2 == 0
            });
        }
        assert!(looks.get() < 10_000, "{}", looks.get());
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
