use proptest::prelude::*;

use super::*;

const S: u64 = 1_000_000_000;
const MIN: Duration = Duration::from_secs(60);

fn per_second(amount: u64, burst: u64) -> Shape {
    Shape::new(amount, Duration::from_secs(1), Some(burst))
}

fn short(secs: u64) -> Result<(), Short> {
    Err(Short { wait: Duration::from_secs(secs), impossible: false })
}

#[test]
fn takes_up_to_the_burst_then_at_the_rate() {
    let shape = Shape::new(60, MIN, Some(2));
    let mut bucket = Bucket::default();
    let mut check = |now, units, expect| assert_eq!(bucket.take(&shape, units, now), expect, "at {now}");
    check(10 * S, 1, Ok(()));
    check(10 * S, 1, Ok(()));
    check(10 * S, 1, short(1));
    check(11 * S - 1, 1, Err(Short { wait: Duration::from_nanos(1), impossible: false }));
    check(11 * S, 1, Ok(()));
    check(11 * S, 2, short(2));
    check(100 * S, 2, Ok(()));
    check(100 * S, 1, short(1));
}

#[test]
fn more_than_the_capacity_is_impossible() {
    let shape = Shape::new(100, MIN, None);
    let never = Err(Short { wait: Duration::MAX, impossible: true });
    assert_eq!(Bucket::default().take(&shape, 101, 0), never);
    assert_eq!(Bucket::default().take(&shape, 100, 0), Ok(()));
    let nothing = Shape::new(0, MIN, None);
    assert_eq!(Bucket::default().take(&nothing, 1, 0), never);
    assert_eq!(Bucket::default().take(&nothing, 0, 0), Ok(()));
    let once = Shape::new(0, MIN, Some(1));
    let mut bucket = Bucket::default();
    assert_eq!(bucket.take(&once, 1, 0), Ok(()));
    assert_eq!(bucket.take(&once, 1, u64::MAX), Err(Short { wait: Duration::MAX, impossible: false }));
}

#[test]
fn rates_that_divide_nothing_do_not_drift() {
    // 7 per second over a million seconds, looked at every 1.1 s or so: exactly 7,000,000 come back.
    let shape = per_second(7, 10);
    let mut bucket = Bucket::default();
    bucket.charge(&shape, 7_000_010, 0);
    let mut now = 0;
    while now < 1_000_000 * S - 2 * S {
        now += 1_100_000_007;
        bucket.refund(&shape, 0, now);
    }
    assert_eq!(bucket.remaining(&shape, 1_000_000 * S - 1), 0);
    assert_eq!(bucket.remaining(&shape, 1_000_000 * S), 0);
    assert_eq!(bucket.take(&shape, 1, 1_000_000 * S + S / 7), short_nanos(1));
    assert_eq!(bucket.take(&shape, 1, 1_000_000 * S + S / 7 + 1), Ok(()));
}

fn short_nanos(nanos: u64) -> Result<(), Short> {
    Err(Short { wait: Duration::from_nanos(nanos), impossible: false })
}

#[test]
fn settling_refunds_charges_and_goes_into_debt() {
    let shape = per_second(10, 100);
    let mut bucket = Bucket::default();
    assert_eq!(bucket.take(&shape, 60, 0), Ok(()));
    bucket.settle(&shape, 60, 20, 0);
    assert_eq!(bucket.remaining(&shape, 0), 80);
    assert_eq!(bucket.take(&shape, 80, 0), Ok(()));
    bucket.settle(&shape, 80, 130, 0); // 150 used of 100
    assert_eq!(bucket.remaining(&shape, 0), 0);
    assert_eq!(bucket.full_in(&shape, 0), Duration::from_secs(15));
    assert_eq!(bucket.take(&shape, 0, 0), Ok(()));
    assert_eq!(bucket.take(&shape, 1, 5 * S), short_nanos(S / 10));
    assert_eq!(bucket.take(&shape, 1, 5 * S + S / 10), Ok(()));
    assert!(!bucket.is_full(&shape, 15 * S));
    assert!(bucket.is_full(&shape, 15 * S + S / 10));
    bucket.refund(&shape, 50, 15 * S + S / 10); // never more than full
    assert_eq!(bucket.remaining(&shape, 15 * S + S / 10), 100);
}

#[test]
fn a_clock_that_goes_back_gives_nothing() {
    let shape = per_second(1, 1);
    let mut bucket = Bucket::default();
    assert_eq!(bucket.take(&shape, 1, 100 * S), Ok(()));
    assert_eq!(bucket.take(&shape, 1, 50 * S), short(1));
    bucket.refund(&shape, 0, 0);
    assert_eq!(bucket.take(&shape, 1, 100 * S), short(1));
    assert_eq!(bucket.take(&shape, 1, 101 * S), Ok(()));
}

#[test]
fn a_changed_shape_keeps_what_was_used() {
    let old = Shape::new(100, MIN, None);
    let mut bucket = Bucket::default();
    assert_eq!(bucket.take(&old, 40, 0), Ok(()));
    for (shape, left) in [
        (Shape::new(100, MIN, Some(50)), 10),
        (Shape::new(1000, MIN, None), 960),
        (Shape::new(10, MIN, None), 0),
        (Shape::new(100, Duration::from_secs(3600), None), 60),
        (Shape::new(100, Duration::from_nanos(1), None), 60),
        (Shape::new(100, Duration::from_nanos(7), None), 60),
    ] {
        assert_eq!(bucket.remaining(&shape, 0), left, "{shape:?}");
    }
    bucket.refund(&Shape::new(100, Duration::from_nanos(7), None), 0, 0);
    assert_eq!(bucket.remaining(&old, 0), 60, "there and back");
}

#[test]
fn rescaling_rounds_up() {
    let (thirds, ones, tens) = (shape_ns(1, 3), shape_ns(1, 1), shape_ns(1, 10));
    let mut bucket = Bucket::default();
    assert_eq!(bucket.take(&thirds, 1, 0), Ok(()));
    // One of three parts is back; two thirds of a unit are a whole one where there are no thirds.
    bucket.refund(&thirds, 0, 1);
    assert_eq!(bucket.full_in(&ones, 1), Duration::from_nanos(1));
    assert_eq!(bucket.full_in(&tens, 1), Duration::from_nanos(7));
    let mut bucket = Bucket::default();
    assert_eq!(bucket.take(&ones, 1, 0), Ok(()));
    assert_eq!(bucket.full_in(&tens, 0), Duration::from_nanos(10));
}

fn shape_ns(amount: u64, nanos: u64) -> Shape {
    Shape::new(amount, Duration::from_nanos(nanos), None)
}

#[test]
fn extremes_saturate() {
    let shape = Shape::new(u64::MAX, Duration::MAX, Some(u64::MAX));
    let mut bucket = Bucket::default();
    for _ in 0..5 {
        bucket.charge(&shape, u64::MAX, u64::MAX);
    }
    assert_eq!(bucket.remaining(&shape, u64::MAX), 0);
    let tiny = Shape::new(1, Duration::from_nanos(1), Some(1));
    assert!(bucket.check(&tiny, 1, u64::MAX).is_err());
    assert_eq!(bucket.full_in(&Shape::new(1, Duration::MAX, Some(1)), u64::MAX), Duration::MAX);
    assert_eq!(Shape::new(5, Duration::ZERO, None).per, 1);
}

#[test]
fn the_capacity_is_the_burst_or_else_the_amount() {
    assert_eq!(Shape::new(100, MIN, None).capacity(), 100);
    assert_eq!(Shape::new(100, MIN, Some(20)).capacity(), 20);
}

/// The slow exact model: parts, refilled one nanosecond at a time. Only what changes a bucket moves its time: a refused take
/// leaves no trace, also not of the time it was tried at.
#[derive(Clone)]
struct Slow {
    used: u128,
    at: u64,
}

impl Slow {
    fn to(&mut self, shape: &Shape, now: u64) {
        while self.at < now {
            self.used = self.used.saturating_sub(u128::from(shape.amount));
            self.at += 1;
        }
    }
}

#[derive(Debug, Clone)]
enum Op {
    Take(u64),
    Settle { reserved: u64, actual: u64 },
    Refund(u64),
}

fn ops() -> impl Strategy<Value = Vec<(i64, Op)>> {
    let op = prop_oneof![
        (0u64..12).prop_map(Op::Take),
        (0u64..12, 0u64..25).prop_map(|(reserved, actual)| Op::Settle { reserved, actual }),
        (0u64..12).prop_map(Op::Refund),
    ];
    // Mostly forward in time, sometimes back.
    proptest::collection::vec((-20i64..200, op), 1..60)
}

proptest! {
    #[test]
    fn equals_the_slow_model(amount in 0u64..9, per in 1u64..50, burst in 0u64..10, ops in ops()) {
        let shape = Shape::new(amount, Duration::from_nanos(per), Some(burst));
        let (mut fast, mut slow) = (Bucket::default(), Slow { used: 0, at: 0 });
        let mut clock: u64 = 0;
        for (step, op) in ops {
            clock = clock.saturating_add_signed(step);
            let before = slow.clone();
            slow.to(&shape, clock);
            let full = u128::from(burst) * u128::from(per);
            let mut refused = false;
            match op {
                Op::Take(n) => {
                    let fits = n <= burst
                        && (n == 0 || slow.used + u128::from(n) * u128::from(per) <= full);
                    let got = fast.take(&shape, n, clock);
                    prop_assert_eq!(got.is_ok(), fits);
                    refused = !fits;
                    if fits {
                        slow.used += u128::from(n) * u128::from(per);
                    }
                    if let Err(Short { wait, impossible }) = got {
                        prop_assert_eq!(impossible, n > burst);
                        // The wait is exact: one nanosecond less is still too early.
                        if !impossible && amount > 0 {
                            let at = slow.at + u64::try_from(wait.as_nanos()).expect("short waits");
                            prop_assert!(fast.check(&shape, n, at).is_ok());
                            prop_assert!(fast.check(&shape, n, at - 1).is_err());
                        }
                    }
                }
                Op::Settle { reserved, actual } => {
                    fast.settle(&shape, reserved, actual, clock);
                    let parts = |n: u64| u128::from(n) * u128::from(per);
                    slow.used = if actual >= reserved {
                        slow.used + parts(actual - reserved)
                    } else {
                        slow.used.saturating_sub(parts(reserved - actual))
                    };
                }
                Op::Refund(n) => {
                    fast.refund(&shape, n, clock);
                    slow.used = slow.used.saturating_sub(u128::from(n) * u128::from(per));
                }
            }
            prop_assert_eq!(fast.used_at(&shape, clock), slow.used);
            if refused {
                slow = before;
                continue;
            }
            prop_assert_eq!(u128::from(fast.remaining(&shape, clock)), full.saturating_sub(slow.used) / u128::from(per));
            prop_assert_eq!(fast.is_full(&shape, clock), slow.used == 0);
        }
    }

    /// Whatever the pattern of takes, no window of time lets more through than burst + rate × window.
    #[test]
    fn never_more_than_burst_and_rate(amount in 1u64..1000, per in 1u64..100_000, burst in 1u64..50,
                                      steps in proptest::collection::vec((0u64..5_000, 1u64..8), 1..200)) {
        let shape = Shape::new(amount, Duration::from_nanos(per), Some(burst));
        let mut bucket = Bucket::default();
        let mut taken: Vec<(u64, u64)> = Vec::new();
        let mut now = 0;
        for (step, n) in steps {
            now += step;
            if bucket.take(&shape, n, now).is_ok() {
                taken.push((now, n));
            }
        }
        for (i, (from, _)) in taken.iter().enumerate() {
            let mut sum = 0u128;
            for (to, n) in &taken[i..] {
                sum += u128::from(*n) * u128::from(per);
                let most = u128::from(burst) * u128::from(per) + u128::from(amount) * u128::from(to - from);
                prop_assert!(sum <= most);
            }
        }
    }
}
