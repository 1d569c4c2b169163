use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::*;
use crate::config::{Limit, Rate, Selector};

mod table;

const S: u64 = 1_000_000_000;

fn limit(id: &str, scope: LimitScope) -> Limit {
    Limit {
        id: id.into(),
        scope,
        only: Selector::default(),
        requests: None,
        burst: None,
        tokens: None,
        token_burst: None,
        concurrency: None,
    }
}

fn per_min(amount: u64) -> Option<Rate> {
    Some(Rate { amount, per: Duration::from_secs(60) })
}

fn rules(limits: &[Limit]) -> Arc<LimitRules> {
    Arc::new(LimitRules::new(limits))
}

fn ask() -> Ask<'static> {
    Ask {
        organization: "acme",
        application: "chat",
        user: Some("ann"),
        key: Some("dev"),
        model: "gpt",
        team: None,
        address: IpAddr::from([192, 0, 2, 1]),
        tokens: 10,
        now: S,
    }
}

fn reserve(backend: &LocalLimits, rules: &Arc<LimitRules>, ask: &Ask<'_>) -> Result<Reservation, Refused> {
    match backend.reserve(rules, ask) {
        Reserving::Ready(result) => result.expect("polled once"),
        Reserving::Pending(_) => panic!("in process answers at once"),
    }
}

fn refusal(result: Result<Reservation, Refused>) -> Refusal {
    match result {
        Err(Refused::Over(refusal)) => *refusal,
        other => panic!("expected a refusal: {other:?}"),
    }
}

#[test]
fn scopes_tell_callers_apart() {
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    let other = |change: fn(&mut Ask<'static>)| {
        let mut other = ask();
        change(&mut other);
        other
    };
    // (scope, another caller, shares the bucket)
    let table = [
        (LimitScope::Organization, other(|a| a.application = "x"), true),
        (LimitScope::Organization, other(|a| a.organization = "x"), false),
        (LimitScope::Application, other(|a| a.user = None), true),
        (LimitScope::Application, other(|a| a.organization = "x"), false),
        (LimitScope::Application, other(|a| a.application = "x"), false),
        (LimitScope::User, other(|a| a.application = "x"), true),
        (LimitScope::User, other(|a| a.user = Some("bob")), false),
        (LimitScope::User, other(|a| a.organization = "x"), false),
        (LimitScope::Key, other(|a| a.user = None), true),
        (LimitScope::Key, other(|a| a.key = Some("x")), false),
        (LimitScope::Model, other(|a| a.organization = "x"), true),
        (LimitScope::Model, other(|a| a.model = "x"), false),
        (LimitScope::Address, other(|a| a.organization = "x"), true),
        (LimitScope::Address, other(|a| a.address = IpAddr::from([192, 0, 2, 2])), false),
    ];
    for (scope, other, shared) in table {
        let rules = rules(&[Limit { requests: per_min(1), ..limit("l", scope) }]);
        let backend = LocalLimits::default();
        assert!(reserve(&backend, &rules, &ask()).is_ok());
        assert_eq!(reserve(&backend, &rules, &other).is_err(), shared, "{scope:?} {other:?}");
    }
    for (first, second, shared) in [
        ("2001:db8::1", "2001:db8::ffff", true),
        ("2001:db8::1", "2001:db8:0:1::1", false),
        ("::ffff:192.0.2.1", "192.0.2.1", true),
    ] {
        let rules = rules(&[Limit { requests: per_min(1), ..limit("l", LimitScope::Address) }]);
        let backend = LocalLimits::default();
        assert!(reserve(&backend, &rules, &Ask { address: address(first), ..ask() }).is_ok());
        let second = reserve(&backend, &rules, &Ask { address: address(second), ..ask() });
        assert_eq!(second.is_err(), shared, "{first}");
    }
}

#[test]
fn callers_without_a_user_or_key_are_left_alone() {
    for scope in [LimitScope::User, LimitScope::Key] {
        let rules = rules(&[Limit { requests: per_min(1), ..limit("l", scope) }]);
        let backend = LocalLimits::default();
        let nobody = Ask { user: None, key: None, ..ask() };
        assert!((0..3).all(|_| reserve(&backend, &rules, &nobody).is_ok()));
        assert_eq!(backend.buckets(), 0);
    }
}

#[test]
fn selectors_choose_who_is_held() {
    let only = |set: fn(&mut Selector)| {
        let mut only = Selector::default();
        set(&mut only);
        only
    };
    for (only, holds) in [
        (only(|_| ()), true),
        (only(|o| o.organization = Some("acme".into())), true),
        (only(|o| o.organization = Some("x".into())), false),
        (only(|o| o.application = Some("chat".into())), true),
        (only(|o| o.user = Some("bob".into())), false),
        (only(|o| o.key = Some("dev".into())), true),
        (only(|o| o.model = Some("gpt".into())), true),
        (only(|o| o.team = Some("quant".into())), false),
        (only(|o| (o.key, o.organization) = (Some("dev".into()), Some("x".into()))), false),
        (only(|o| (o.key, o.model) = (Some("dev".into()), Some("gpt".into()))), true),
    ] {
        let rules =
            rules(&[Limit { only: only.clone(), requests: per_min(0), ..limit("l", LimitScope::Key) }]);
        assert_eq!(reserve(&LocalLimits::default(), &rules, &ask()).is_err(), holds, "{only:?}");
    }
}

#[test]
fn all_or_none() {
    let wide =
        Limit { requests: per_min(100), tokens: per_min(1_000), ..limit("wide", LimitScope::Organization) };
    let tight = Limit { requests: per_min(1), ..limit("tight", LimitScope::Key) };
    let rules = rules(&[wide, tight]);
    let backend = LocalLimits::default();
    reserve(&backend, &rules, &ask()).expect("the first passes").settle(10, S);
    for _ in 0..50 {
        assert_eq!(&*refusal(reserve(&backend, &rules, &ask())).limit, "tight");
    }
    // Another key sees an organisation that was charged once.
    let other = reserve(&backend, &rules, &Ask { key: Some("other"), ..ask() }).expect("its own key");
    assert_eq!(
        other.standing().requests,
        Some(Level { limit: 1, remaining: 0, reset: Duration::from_secs(60) })
    );
    assert_eq!(other.standing().tokens.map(|level| level.remaining), Some(980));
}

#[test]
fn settled_with_what_was_used_or_else_the_estimate() {
    let rules = rules(&[Limit { tokens: per_min(100), ..limit("l", LimitScope::Key) }]);
    let left = |end: fn(Reservation)| {
        let backend = LocalLimits::default();
        end(reserve(&backend, &rules, &Ask { tokens: 40, ..ask() }).expect("fits"));
        let probe = reserve(&backend, &rules, &Ask { tokens: 0, ..ask() }).expect("nothing is always there");
        probe.standing().tokens.map(|level| (level.remaining, level.reset.as_secs()))
    };
    assert_eq!(left(drop), Some((60, 24)));
    assert_eq!(left(|r| r.settle(40, S)), Some((60, 24)));
    assert_eq!(left(|r| r.settle(0, S)), Some((100, 0)));
    assert_eq!(left(|r| r.settle(15, S)), Some((85, 9)));
    assert_eq!(left(|r| r.settle(150, S)), Some((0, 90)), "debt");
    // A usage that cannot be is not believed: debt of years would be a way to lock a tenant out.
    assert_eq!(left(|r| r.settle(u64::MAX, S)), Some((0, MOST_TOKENS * 60 / 100)));
}

#[test]
fn concurrency_is_given_back_by_settling_and_by_dropping() {
    let rules = rules(&[Limit { concurrency: Some(2), ..limit("l", LimitScope::Application) }]);
    let backend = LocalLimits::default();
    let first = reserve(&backend, &rules, &ask()).expect("first");
    let second = reserve(&backend, &rules, &ask()).expect("second");
    let third = refusal(reserve(&backend, &rules, &ask()));
    assert_eq!((third.what, third.capacity, third.impossible), (What::Concurrency, 2, false));
    drop(first);
    let first = reserve(&backend, &rules, &ask()).expect("a place came free");
    second.settle(5, S);
    let second = reserve(&backend, &rules, &ask()).expect("a place came free");
    assert!(reserve(&backend, &rules, &ask()).is_err());
    assert_eq!(first.standing(), &Standing::default());
    drop((first, second));
}

#[test]
fn a_reload_keeps_what_was_used_and_who_is_in_flight() {
    let shape = |requests, tokens, concurrency| {
        rules(&[Limit {
            requests: per_min(requests),
            tokens: per_min(tokens),
            concurrency: Some(concurrency),
            ..limit("l", LimitScope::Key)
        }])
    };
    let backend = LocalLimits::default();
    let old = shape(10, 1_000, 9);
    let held: Vec<_> =
        (0..4).map(|_| reserve(&backend, &old, &Ask { tokens: 100, ..ask() }).expect("fits")).collect();
    let new = shape(5, 2_000, 5);
    let fifth = reserve(&backend, &new, &Ask { tokens: 100, ..ask() }).expect("one more");
    assert_eq!(fifth.standing().requests.map(|l| (l.limit, l.remaining)), Some((5, 0)));
    assert_eq!(fifth.standing().tokens.map(|l| (l.limit, l.remaining)), Some((2_000, 1_500)));
    assert_eq!(refusal(reserve(&backend, &shape(100, 2_000, 5), &ask())).what, What::Concurrency);
    for reservation in held {
        reservation.settle(0, S); // under the new shape
    }
    let after = reserve(&backend, &shape(100, 2_000, 5), &Ask { tokens: 0, ..ask() }).expect("room again");
    assert_eq!(after.standing().tokens.map(|l| l.remaining), Some(1_900));
    // Another id, or another scope, is another limit.
    let renamed = rules(&[Limit { requests: per_min(10), ..limit("m", LimitScope::Key) }]);
    let fresh = reserve(&backend, &renamed, &ask()).expect("fresh");
    assert_eq!(fresh.standing().requests.map(|l| l.remaining), Some(9));
}

#[test]
fn the_tightest_limit_stands_in_the_headers() {
    let rules = rules(&[
        Limit { requests: per_min(100), tokens: per_min(500), ..limit("a", LimitScope::Organization) },
        Limit { requests: per_min(3), tokens: per_min(9_000), ..limit("b", LimitScope::Key) },
    ]);
    let held = reserve(&LocalLimits::default(), &rules, &ask()).expect("fits");
    let level =
        |limit, remaining, seconds| Some(Level { limit, remaining, reset: Duration::from_secs(seconds) });
    let Standing { requests, tokens, .. } = *held.standing();
    assert_eq!(requests, level(3, 2, 20));
    // What is left in part of a second counts as a whole one where it is written.
    let tokens = tokens
        .map(|level| Level { reset: Duration::from_secs(level.reset.as_secs_f64().ceil() as u64), ..level });
    assert_eq!(tokens, level(500, 490, 2));
}

#[test]
fn refusals_say_which_and_how_long() {
    let check = |limit: Limit, tokens: u64, before: usize, expect: (What, u64, bool), words: &str| {
        let rules = rules(&[limit]);
        let backend = LocalLimits::default();
        let ask = Ask { tokens, ..ask() };
        let held: Vec<_> = (0..before).map(|_| reserve(&backend, &rules, &ask).expect("fits")).collect();
        let refused = refusal(reserve(&backend, &rules, &ask));
        assert_eq!((refused.what, refused.wait.as_secs(), refused.impossible), expect);
        let Standing { requests, tokens } = refused.standing;
        assert!(requests.or(tokens).is_some() || refused.what == What::Concurrency, "a 429 has its headers");
        let standing = refused.standing;
        let refused = Refused::Over(Box::new(refused));
        assert_eq!(refused.standing(), standing);
        let rejection = refused.rejection();
        assert_eq!(rejection.code, Code::RateLimitExceeded);
        assert!(rejection.message.contains(words), "{}", rejection.message);
        assert_eq!(rejection.is_permanent(), expect.1 > 60, "{}", rejection.message);
        drop(held);
    };
    let key = || limit("l", LimitScope::Key);
    check(
        Limit { requests: per_min(2), ..key() },
        1,
        2,
        (What::Requests, 30, false),
        "Limit l on requests for your API key is used up. Try again in 30s.",
    );
    check(
        Limit { tokens: per_min(60), ..key() },
        40,
        1,
        (What::Tokens, 20, false),
        "Limit l on tokens for your API key is used up. Try again in 20s.",
    );
    let never = MAX_WAIT.as_secs();
    check(Limit { tokens: per_min(60), ..key() }, 61, 0, (What::Tokens, never, true), "lower max_tokens");
    check(Limit { requests: per_min(0), ..key() }, 1, 0, (What::Requests, never, true), "no such requests");
    check(
        Limit { concurrency: Some(1), ..key() },
        1,
        1,
        (What::Concurrency, 1, false),
        "1 requests at a time",
    );
    let daily = Some(Rate { amount: 1, per: Duration::from_secs(86_400) });
    check(Limit { requests: daily, ..key() }, 1, 1, (What::Requests, 86_400, false), "Try again in 24h0m0s");
    let yearly = Some(Rate { amount: 1, per: Duration::from_secs(365 * 86_400) });
    check(Limit { requests: yearly, ..key() }, 1, 1, (What::Requests, 365 * 86_400, false), "in 8760h0m0s");
}

#[test]
fn of_several_refusals_the_one_that_lasts_longest_is_told() {
    let rules = rules(&[
        Limit { requests: per_min(60), burst: Some(1), ..limit("second", LimitScope::Key) },
        Limit { requests: per_min(1), ..limit("minute", LimitScope::Organization) },
        Limit { concurrency: Some(1), ..limit("places", LimitScope::Key) },
    ]);
    let backend = LocalLimits::default();
    let held = reserve(&backend, &rules, &ask()).expect("first");
    let refused = refusal(reserve(&backend, &rules, &ask()));
    assert_eq!(&*refused.limit, "minute");
    assert_eq!(refused.standing.requests.map(|l| l.remaining), Some(0));
    drop(held);
}

#[test]
fn the_table_is_bounded_and_forgets_only_what_is_full() {
    let rules = rules(&[Limit { requests: per_min(60), burst: Some(2), ..limit("l", LimitScope::Address) }]);
    let backend = LocalLimits::with_room(PARTS_FOR_TEST * 4);
    let from = |n: u32, now| Ask { address: IpAddr::from(n.to_be_bytes()), now, ..ask() };
    let mut passed = 0;
    for n in 0..10_000 {
        passed += u32::from(reserve(&backend, &rules, &from(n, S)).is_ok());
    }
    // 64 × 4 slots, and one that all others share: two of them passed.
    assert!(backend.buckets() <= PARTS_FOR_TEST * 4 + 1, "{}", backend.buckets());
    assert_eq!(passed as usize, backend.buckets() - 1 + 2);
    // Known names are not forgotten while anything of theirs is used.
    assert!(reserve(&backend, &rules, &from(0, S)).is_ok());
    assert!(reserve(&backend, &rules, &from(0, S)).is_err());
    // Later all have refilled: new names get their own again. (Few, as they may share a part of the table.)
    assert!((20_000..20_020).all(|n| reserve(&backend, &rules, &from(n, 4 * S)).is_ok()));
    assert!(backend.buckets() <= PARTS_FOR_TEST * 4 + 1);
}

const PARTS_FOR_TEST: usize = 64;

#[test]
fn who_is_in_flight_is_not_forgotten() {
    let rules = rules(&[Limit { concurrency: Some(1), ..limit("l", LimitScope::Address) }]);
    let backend = LocalLimits::with_room(64);
    let from = |n: u32, now| Ask { address: IpAddr::from(n.to_be_bytes()), now, ..ask() };
    let held = reserve(&backend, &rules, &from(0, 0)).expect("first");
    for n in 1..1_000 {
        drop(reserve(&backend, &rules, &from(n, u64::from(n) * S)));
    }
    assert!(reserve(&backend, &rules, &from(0, 2_000 * S)).is_err());
    drop(held);
    assert!(reserve(&backend, &rules, &from(0, 2_000 * S)).is_ok());
}

#[test]
fn a_thousand_limits_for_others_are_not_looked_at() {
    let many: Vec<Limit> = (0..1_000)
        .map(|n| {
            let only = Selector { organization: Some(format!("org-{n}").into()), ..Selector::default() };
            Limit { only, requests: per_min(5), ..limit(&format!("l{n}"), LimitScope::Organization) }
        })
        .collect();
    let rules = LimitRules::new(&many);
    assert_eq!(rules.holding(&Ask { organization: "org-7", ..ask() }).count(), 1);
    assert_eq!(rules.holding(&ask()).count(), 0);
    assert!(!rules.is_empty() && LimitRules::new(&[]).is_empty());
}

/// Exact under concurrency: however the threads interleave, exactly the capacity passes, and nothing is lost or left over.
#[test]
fn threads_together_never_exceed_a_limit() {
    const THREADS: u64 = 8;
    const TRIES: u64 = 2_000;
    let rules = rules(&[
        Limit { requests: per_min(3_000), ..limit("org", LimitScope::Organization) },
        Limit { tokens: per_min(20_000), ..limit("app", LimitScope::Application) },
        Limit { concurrency: Some(5), ..limit("model", LimitScope::Model) },
        Limit { requests: per_min(700), ..limit("key", LimitScope::Key) },
    ]);
    let backend = LocalLimits::default();
    let (passed, used, busy) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (rules, backend, passed, used, busy) = (&rules, &backend, &passed, &used, &busy);
            scope.spawn(move || {
                let key = format!("key-{}", thread % 4);
                for n in 0..TRIES {
                    let ask = Ask { key: Some(&key), tokens: 20, ..ask() };
                    let Ok(held) = reserve(backend, rules, &ask) else { continue };
                    assert!(busy.fetch_add(1, Ordering::SeqCst) < 5, "more in flight than allowed");
                    passed.fetch_add(1, Ordering::SeqCst);
                    busy.fetch_sub(1, Ordering::SeqCst);
                    if n % 3 == 0 {
                        used.fetch_add(20, Ordering::SeqCst);
                        drop(held);
                    } else {
                        used.fetch_add(n % 9, Ordering::SeqCst);
                        held.settle(n % 9, S);
                    }
                }
            });
        }
    });
    let (passed, used) = (passed.into_inner(), used.into_inner());
    assert!(passed <= 2_800 && used <= 20_000, "{passed} {used}");
    // What was settled is what is gone, to the token.
    let rest = reserve(&backend, &rules, &Ask { key: Some("fresh"), tokens: 0, ..ask() }).expect("the last");
    assert_eq!(rest.standing().tokens.map(|l| l.remaining), Some(20_000 - used));
    drop(rest);
    let all: Vec<_> =
        (0..6).map(|_| reserve(&backend, &rules, &Ask { key: None, tokens: 0, ..ask() })).collect();
    assert_eq!(all.iter().filter(|held| held.is_ok()).count(), 5, "every place was given back");
}

#[test]
fn a_backend_that_answers_later_fits_the_same_trait() {
    struct Remote;
    impl LimitsBackend for Remote {
        fn reserve(&self, _: &Arc<LimitRules>, _: &Ask<'_>) -> Reserving {
            Reserving::Pending(Box::pin(async { Err(Refused::Unavailable) }))
        }
    }
    let backend: &dyn LimitsBackend = &Remote;
    let later = backend.reserve(&rules(&[]), &ask());
    let now = (&LocalLimits::default() as &dyn LimitsBackend).reserve(&rules(&[]), &ask());
    let (later, now) = futures::executor::block_on(async { (later.await, now.await) });
    assert_eq!(later.expect_err("unavailable").rejection().code, Code::LimitsUnavailable);
    assert_eq!(now.expect("no limits").tokens(), 10);
}

/// `cargo test -p tollgate-proxy --lib limits::tests::cost -- --ignored --nocapture`, with optimisation.
#[test]
#[ignore = "measures"]
fn cost() {
    let rules = rules(&[
        Limit {
            requests: per_min(1 << 40),
            tokens: per_min(1 << 40),
            concurrency: Some(1 << 40),
            ..limit("org", LimitScope::Organization)
        },
        Limit {
            requests: per_min(1 << 40),
            tokens: per_min(1 << 40),
            ..limit("app", LimitScope::Application)
        },
        Limit { requests: per_min(1 << 40), ..limit("key", LimitScope::Key) },
        Limit { requests: per_min(1 << 40), ..limit("address", LimitScope::Address) },
    ]);
    let backend = LocalLimits::default();
    for limits in ["4 limits", "again"] {
        let start = std::time::Instant::now();
        const N: u32 = 300_000;
        for n in 0..N {
            let held =
                reserve(&backend, &rules, &Ask { now: S + u64::from(n) * 50_000, ..ask() }).expect("fits");
            held.settle(7, S + u64::from(n) * 50_000);
        }
        println!("{limits}: reserve + settle {:?}", start.elapsed() / N);
    }
}
