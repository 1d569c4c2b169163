use super::*;

const S: u64 = 1_000_000_000;

const RULES: BreakerRules = BreakerRules {
    consecutive_failures: 3,
    error_rate: 0.5,
    min_requests: 10,
    window: Duration::from_secs(10),
    open: Duration::from_secs(2),
    max_open: Duration::from_secs(7),
};

fn fail(breaker: &mut Breaker, times: u32, now: u64) -> Option<BreakerState> {
    (0..times).filter_map(|_| breaker.failure(&RULES, false, now)).last()
}

#[test]
fn opens_after_failures_in_a_row() {
    let mut breaker = Breaker::default();
    assert_eq!(fail(&mut breaker, 2, S), None);
    assert_eq!(breaker.success(&RULES, false, S), None);
    assert_eq!(fail(&mut breaker, 2, S), None);
    assert_eq!(breaker.gate(S), Gate::Pass);
    assert_eq!(fail(&mut breaker, 1, S), Some(BreakerState::Open));
    assert_eq!(breaker.gate(S), Gate::Shut { until: 3 * S });
    assert_eq!(breaker.gate(3 * S), Gate::Probe);
}

#[test]
fn one_probe_at_a_time_and_back_off() {
    let mut breaker = Breaker::default();
    fail(&mut breaker, 3, 0);
    assert!(!breaker.begin_probe(&RULES, 2 * S - 1));
    let mut now = 2 * S;
    for wait in [4, 7, 7, 7] {
        assert!(breaker.begin_probe(&RULES, now));
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert!(!breaker.begin_probe(&RULES, now), "single probe");
        assert_eq!(breaker.failure(&RULES, false, now), None, "an older request says nothing");
        assert_eq!(breaker.success(&RULES, false, now), None);
        assert_eq!(breaker.failure(&RULES, true, now), Some(BreakerState::Open));
        assert_eq!(breaker.gate(now), Gate::Shut { until: now + wait * S });
        now += wait * S;
    }
    assert!(breaker.begin_probe(&RULES, now));
    assert_eq!(breaker.success(&RULES, true, now), Some(BreakerState::Closed));
    assert_eq!(breaker.gate(now), Gate::Pass);
    fail(&mut breaker, 3, now);
    assert_eq!(breaker.gate(now), Gate::Shut { until: now + 2 * S }, "the back-off starts again");
}

#[test]
fn a_lost_probe_does_not_keep_it_shut() {
    let mut breaker = Breaker::default();
    fail(&mut breaker, 3, 0);
    assert!(breaker.begin_probe(&RULES, 2 * S));
    assert_eq!(breaker.gate(8 * S), Gate::Shut { until: 9 * S });
    assert!(breaker.begin_probe(&RULES, 9 * S));
    breaker.abandon_probe(10 * S);
    assert_eq!(breaker.gate(10 * S), Gate::Probe);
    breaker.abandon_probe(10 * S); // only a probe can be abandoned
    let mut closed = Breaker::default();
    closed.abandon_probe(S);
    assert_eq!(closed.gate(S), Gate::Pass);
}

#[test]
fn opens_at_a_rate_of_errors() {
    let rules = BreakerRules { consecutive_failures: 0, ..RULES };
    let run = |good: u32, bad: u32, spread: u64| {
        let mut breaker = Breaker::default();
        let mut opened = false;
        for _ in 0..good {
            breaker.success(&rules, false, 0);
        }
        for n in 0..bad {
            opened |= breaker.failure(&rules, false, u64::from(n) * spread).is_some();
        }
        opened
    };
    assert!(run(5, 5, 0), "half of ten");
    assert!(!run(4, 5, 0), "fewer than min_requests");
    assert!(!run(20, 10, 0));
    assert!(run(0, 10, S / 2), "all within the window");
    assert!(!run(0, 100, 3 * S), "never ten within the window");
}

#[test]
fn the_window_forgets_in_tenths() {
    let rules = BreakerRules { consecutive_failures: 0, min_requests: 4, ..RULES };
    // (time of 3 failures, time of the fourth) → opens?
    for (first, then, opens) in [
        (0, 9 * S, true),
        (0, 10 * S, false),
        (S / 2, 10 * S, false),
        (5 * S, 14 * S, true),
        (0, u64::MAX, false),
    ] {
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            assert_eq!(breaker.failure(&rules, false, first), None);
        }
        assert_eq!(breaker.failure(&rules, false, then).is_some(), opens, "{first} {then}");
    }
}

#[test]
fn a_slot_is_emptied_before_it_is_used_again() {
    let rules = BreakerRules { consecutive_failures: 0, min_requests: 4, ..RULES };
    let mut breaker = Breaker::default();
    for _ in 0..3 {
        breaker.failure(&rules, false, 0);
    }
    breaker.success(&rules, false, 5 * S);
    // A whole window after the first: their tenth is the newest one now.
    assert_eq!(breaker.failure(&rules, false, 10 * S), None);
}

#[test]
fn a_reason_that_is_off_never_opens() {
    let rules = BreakerRules { consecutive_failures: 0, min_requests: 0, ..RULES };
    let mut breaker = Breaker::default();
    assert!((0..100).all(|_| breaker.failure(&rules, false, S).is_none()));
}

#[test]
fn the_back_off_never_shrinks() {
    let rules = BreakerRules { consecutive_failures: 1, max_open: Duration::from_secs(3_600), ..RULES };
    let mut breaker = Breaker::default();
    breaker.failure(&rules, false, 0);
    let (mut now, mut last) = (0, 0);
    for _ in 0..200 {
        let Gate::Shut { until } = breaker.gate(now) else { panic!("open") };
        assert!(until - now >= last);
        last = until - now;
        now = until;
        assert!(breaker.begin_probe(&rules, now));
        breaker.failure(&rules, true, now);
    }
    assert_eq!(last, 3_600 * S);
}

#[test]
fn extremes_do_not_overflow() {
    let rules = BreakerRules {
        consecutive_failures: 1,
        open: Duration::MAX,
        max_open: Duration::MAX,
        window: Duration::ZERO,
        ..RULES
    };
    let mut breaker = Breaker::default();
    assert_eq!(breaker.failure(&rules, false, u64::MAX), Some(BreakerState::Open));
    assert!(!breaker.begin_probe(&rules, u64::MAX - 1));
    let rules = BreakerRules { open: Duration::from_secs(1), max_open: Duration::from_secs(1), ..rules };
    let mut breaker = Breaker::default();
    breaker.failure(&rules, false, 0);
    for n in 1..200 {
        assert!(breaker.begin_probe(&rules, n * S));
        assert_eq!(breaker.failure(&rules, true, n * S), Some(BreakerState::Open));
    }
    // A clock that goes back counts into the newest slot and panics nowhere.
    let mut breaker = Breaker::default();
    for now in [100 * S, 0, 50 * S, 200 * S, 1] {
        breaker.success(&RULES, false, now);
    }
}
