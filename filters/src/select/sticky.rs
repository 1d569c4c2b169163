use super::choice::mix;

/// What requests stay together by (a session, a user), hashed. The same text gives the same key in every process, so replicas
/// agree without talking to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StickyKey(u64);

/// A consistent-hash ring over the hosts of a provider: a key keeps its host when others come and go.
#[derive(Debug, Clone, Default)]
pub struct Ring {
    /// Sorted; each host stands in it [`POINTS`] times.
    points: Vec<(u64, u32)>,
    hosts: Vec<u64>,
}

/// Places per host: the shares of 10 hosts then differ by about a tenth. 1,000 hosts take 1 MiB.
const POINTS: u64 = 64;
/// Places that are tried on the ring before every host is scored.
const STEPS: usize = 64;

impl StickyKey {
    /// `scope` keeps the same text of different tenants apart.
    pub fn new(scope: &str, text: &str) -> StickyKey {
        let mut hash = blake3::Hasher::new();
        hash.update(&(scope.len() as u64).to_le_bytes());
        hash.update(scope.as_bytes());
        hash.update(text.as_bytes());
        StickyKey(first_word(&hash.finalize()))
    }

    /// The hash of an option's identity, for [`weighted_by_key`] and [`Ring::new`].
    pub fn identity(text: &str) -> u64 {
        first_word(&blake3::hash(text.as_bytes()))
    }

    const fn with(self, identity: u64) -> u64 {
        mix(self.0 ^ mix(identity))
    }
}

fn first_word(hash: &blake3::Hash) -> u64 {
    let (word, _) = hash.as_bytes().split_first_chunk::<8>().expect("a hash has 32 bytes");
    u64::from_le_bytes(*word)
}

/// Picks the same index for the same key, in proportion to weights over many keys (weighted rendezvous hashing: every option
/// draws an exponential time at a rate of its weight, the earliest wins). A changed weight moves only the share it must.
/// `None` where all weights are 0. Options are (identity, weight).
pub fn weighted_by_key(key: StickyKey, options: impl Iterator<Item = (u64, u32)>) -> Option<usize> {
    options
        .enumerate()
        .filter(|(_, (_, weight))| *weight > 0)
        .map(|(index, (identity, weight))| {
            #[allow(clippy::cast_precision_loss)] // 53 bits fit; half a step keeps it above 0
            let uniform = ((key.with(identity) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
            (-uniform.ln() / f64::from(weight), index)
        })
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, index)| index)
}

impl Ring {
    /// A ring over hosts, given by the hashes of their identities; picks are indices into `hosts`.
    pub fn new(hosts: Vec<u64>) -> Ring {
        let mut points: Vec<(u64, u32)> = (0u32..)
            .zip(&hosts)
            .flat_map(|(index, host)| (0..POINTS).map(move |n| (mix(host.wrapping_add(mix(n))), index)))
            .collect();
        points.sort_unstable();
        Ring { points, hosts }
    }

    /// The first usable host from the key's place on. With few usable ones, the usable one that scores best for the key: as
    /// stable, at the price of a look at each.
    pub fn pick(&self, key: StickyKey, usable: impl Fn(usize) -> bool) -> Option<usize> {
        let place = key.with(0);
        let start = self.points.partition_point(|(at, _)| *at < place);
        let walk = self.points[start..].iter().chain(&self.points[..start]).take(STEPS);
        walk.map(|(_, index)| *index as usize).find(|index| usable(*index)).or_else(|| {
            let all = self.hosts.iter().enumerate().filter(|(index, _)| usable(*index));
            all.min_by_key(|(_, host)| key.with(**host)).map(|(index, _)| index)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> StickyKey {
        StickyKey::new("acme", &format!("session-{n}"))
    }

    fn ids(n: u32) -> Vec<u64> {
        (0..n).map(|i| StickyKey::identity(&format!("host-{i}"))).collect()
    }

    #[test]
    fn keys_are_stable_and_scoped() {
        assert_ne!(StickyKey::new("a", "b"), StickyKey::new("ab", ""));
        assert_ne!(StickyKey::new("a", "b"), StickyKey::new("b", "b"));
        // A fixed value: replicas and releases must agree.
        assert_eq!(StickyKey::identity("x"), 7_249_239_548_261_623_610);
    }

    #[test]
    fn weights_hold_over_many_keys() {
        let ids = ids(3);
        let share = |weights: [u32; 3]| {
            let mut seen = [0u32; 3];
            for n in 0..20_000 {
                let options = ids.iter().copied().zip(weights);
                seen[weighted_by_key(key(n), options).expect("weights")] += 1;
            }
            seen
        };
        let seen = share([80, 20, 0]);
        assert!((15_700..16_300).contains(&seen[0]) && seen[2] == 0, "{seen:?}");
        assert_eq!(weighted_by_key(key(1), ids.iter().map(|id| (*id, 0))), None);
    }

    #[test]
    fn a_changed_weight_moves_only_its_share() {
        let ids = ids(2);
        let pick = |n, w: [u32; 2]| weighted_by_key(key(n), ids.iter().copied().zip(w)).expect("weights");
        let moved: Vec<u32> = (0..10_000).filter(|n| pick(*n, [80, 20]) != pick(*n, [70, 30])).collect();
        assert!((800..1_200).contains(&moved.len()), "{}", moved.len());
        assert!(moved.iter().all(|n| pick(*n, [80, 20]) == 0), "only towards the one that grew");
    }

    #[test]
    fn a_ring_moves_only_the_keys_of_the_host_that_left() {
        let ring = Ring::new(ids(10));
        let mut seen = [0u32; 10];
        for n in 0..10_000 {
            let before = ring.pick(key(n), |_| true).expect("hosts");
            seen[before] += 1;
            let after = ring.pick(key(n), |i| i != 3).expect("hosts");
            assert!(before == 3 || before == after);
            assert_ne!(after, 3);
        }
        assert!(seen.iter().all(|n| (600..1_500).contains(n)), "{seen:?}");
    }

    #[test]
    fn the_only_usable_host_is_found() {
        let ring = Ring::new(ids(1_000));
        for usable in [0, 500, 999] {
            assert_eq!(ring.pick(key(1), |i| i == usable), Some(usable));
        }
        assert_eq!(ring.pick(key(1), |_| false), None);
        assert_eq!(Ring::default().pick(key(1), |_| true), None);
    }
}
