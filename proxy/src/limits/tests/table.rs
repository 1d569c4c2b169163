//! The table of buckets when it is full: what is kept, what is forgotten and when.

use super::*;

const PARTS: u64 = 64;
const MS: u64 = 1_000_000;

fn from(n: u64, now: u64) -> Ask<'static> {
    Ask { address: IpAddr::from((u128::from(n) << 64).to_be_bytes()), now, ..ask() }
}

#[test]
fn every_part_of_the_table_fills() {
    let rules = rules(&[Limit { requests: per_min(60), ..limit("l", LimitScope::Address) }]);
    let backend = LocalLimits::with_room(PARTS as usize * 4);
    let held: Vec<_> = (0..10_000).map(|n| reserve(&backend, &rules, &from(n, S))).collect();
    assert_eq!(backend.buckets(), PARTS as usize * 4 + 1);
    drop(held);
}

/// Each alone keeps a bucket: its name must not start afresh.
#[test]
fn nothing_that_is_used_is_forgotten() {
    let table: [(&str, Limit); 3] = [
        ("a place", Limit { concurrency: Some(1), ..limit("l", LimitScope::Address) }),
        ("requests", Limit { requests: per_min(1), ..limit("l", LimitScope::Address) }),
        ("tokens", Limit { tokens: per_min(10), ..limit("l", LimitScope::Address) }),
    ];
    for (what, limit) in table {
        let both = Limit { requests: limit.requests.or(per_min(60_000)), ..limit };
        let rules = rules(&[Limit { tokens: both.tokens.or(per_min(60_000)), ..both }]);
        let backend = LocalLimits::with_room(PARTS as usize);
        let first = reserve(&backend, &rules, &from(0, S)).expect("first");
        let first = if what == "a place" { Some(first) } else { None };
        // A second later everything else has refilled, and every part is swept.
        for n in 1..1_000 {
            drop(reserve(&backend, &rules, &from(n, 2 * S + n * 20 * MS)));
        }
        let again = reserve(&backend, &rules, &from(0, 30 * S));
        assert!(again.is_err(), "{what}");
        drop(first);
    }
}

/// A part in which nothing could be forgotten is swept again ten milliseconds later, and not before: a flood of new names must
/// not buy a sweep each.
#[test]
fn a_full_part_is_not_swept_at_every_new_name() {
    // Two requests at once, and one more after a millisecond.
    let quick = Some(Rate { amount: 1_000, per: Duration::from_secs(1) });
    let rules = rules(&[Limit { requests: quick, burst: Some(2), ..limit("l", LimitScope::Address) }]);
    let backend = LocalLimits::with_room(PARTS as usize);
    for n in 0..1_000 {
        drop(reserve(&backend, &rules, &from(n, S)));
    }
    // All have a request left over, and all parts are full. New names share a bucket, however idle the others are by now …
    let passed = |from_n: u64, now: u64| {
        (from_n..from_n + 1_000).filter(|n| reserve(&backend, &rules, &from(*n, now)).is_ok()).count()
    };
    assert_eq!(passed(1_000, S + 9 * MS), 2);
    // … until the pause is over: then each part forgets its one bucket, for one new name.
    assert_eq!(passed(2_000, S + 10 * MS), PARTS as usize + 1);
}

/// Each limit that ever met a full table has a bucket there for new names. Reloads take limits away.
#[test]
fn limits_that_are_gone_leave_nothing_behind_for_long() {
    let backend = LocalLimits::with_room(PARTS as usize);
    let rules_of = |name: String| {
        rules(&[Limit { requests: per_min(60), burst: Some(1), ..limit(&name, LimitScope::Address) }])
    };
    let full = rules_of("full".to_owned());
    let held: Vec<_> = (0..1_000).map(|n| reserve(&backend, &full, &from(n, S))).collect();
    assert_eq!(backend.buckets(), PARTS as usize + 1);
    // Used at this moment, whatever their number: none may start afresh.
    let name = |n: u64| format!("gone-{n}");
    for n in 0..1_200 {
        assert!(reserve(&backend, &rules_of(name(n)), &from(5_000, S)).is_ok(), "{n}");
    }
    for n in 0..1_200 {
        assert!(reserve(&backend, &rules_of(name(n)), &from(6_000, S)).is_err(), "{n}");
    }
    // Later they are idle. Those of the limits that are left are made again when they are needed.
    for n in 0..3_000 {
        let now = 60 * S + n * 2 * S;
        assert!(reserve(&backend, &rules_of(format!("later-{n}")), &from(5_000, now)).is_ok(), "{n}");
        assert!(backend.buckets() < 1_400, "{} buckets", backend.buckets());
    }
    drop(held);
}
