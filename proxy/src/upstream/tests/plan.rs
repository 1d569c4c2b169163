use std::time::Duration;

use tollgate_filters::verdict::Code;

use super::*;

/// Hosts without a health check: all count as healthy.
fn gpu(ports: &[u16]) -> Value {
    let urls: Vec<String> = ports.iter().map(|port| format!("http://127.0.0.1:{port}")).collect();
    json!({"id": "gpu", "kind": "openai", "base_urls": urls})
}

fn cloud(id: &str, port: u16) -> Value {
    json!({"id": id, "kind": "openai", "base_urls": [format!("http://127.0.0.1:{port}")]})
}

fn with(mut value: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("an object") };
    value.as_object_mut().expect("an object").extend(more);
    value
}

fn simple(provider: &str) -> Value {
    json!([{"name": "m", "targets": [{"provider": provider}], "max_attempts": 10}])
}

fn ports(order: &[String]) -> Vec<&str> {
    order.iter().map(|tried| tried.rsplit(':').next().expect("a port")).collect()
}

#[test]
fn hosts_then_variants_then_fallbacks() {
    for seed in 0..50 {
        let setup = setup();
        let fleet = setup.fleet(
            json!([gpu(&[1, 2, 3]), cloud("cloud", 10), cloud("far", 11)]),
            json!([{
                "name": "m",
                "targets": [
                    {"id": "base", "provider": "gpu", "weight": 1},
                    {"id": "lora", "provider": "gpu", "model": "m-lora", "weight": 0},
                ],
                "fallback": [{"provider": "cloud", "model": "c"}, {"provider": "far", "model": "f"}],
                "max_attempts": 10,
            }]),
        );
        let tried = order(&fleet, "m", &Want { seed, ..want() }, SERVER_ERROR, S);
        let variants: Vec<&str> = tried.iter().map(|t| t.split(':').next().expect("id")).collect();
        assert_eq!(variants[..6], ["base", "base", "base", "lora", "lora", "lora"], "{tried:?}");
        assert_eq!(ports(&tried)[6..], ["10", "11"], "{tried:?}");
        let mut hosts = ports(&tried)[..3].to_vec();
        hosts.sort_unstable();
        assert_eq!(hosts, ["1", "2", "3"]);
    }
}

#[test]
fn a_host_out_of_reach_is_not_tried_for_another_variant() {
    let setup = setup();
    let models = json!([{
        "name": "m",
        "targets": [{"id": "a", "provider": "gpu", "weight": 1}, {"id": "b", "provider": "gpu", "weight": 1}],
        "max_attempts": 10,
    }]);
    let fleet = setup.fleet(json!([gpu(&[1, 2])]), models);
    for (failure, attempts) in [(Failure::Connect, 2), (Failure::Timeout, 2), (SERVER_ERROR, 4)] {
        // Each failure kind at its own time, past what the breaker remembers of the last.
        assert_eq!(order(&fleet, "m", &want(), failure, S).len(), attempts, "{failure:?}");
    }
}

#[test]
fn weights_choose_the_variant_and_the_seed_decides() {
    let setup = setup();
    let models = json!([{
        "name": "m",
        "targets": [{"id": "a", "provider": "gpu", "weight": 80}, {"id": "b", "provider": "gpu", "weight": 20}],
    }]);
    let fleet = setup.fleet(json!([gpu(&[1])]), models);
    let first = |seed| {
        let attempt = plan(&fleet, "m", &Want { seed, ..want() }).next(S).expect("a target");
        attempt.target().id.to_string()
    };
    let a = (0..10_000).filter(|seed| first(*seed) == "a").count();
    assert!((7_800..8_200).contains(&a), "{a}");
    assert_eq!(first(7), first(7));
}

#[test]
fn sticky_variants_stay_with_the_session_or_user() {
    let setup = setup();
    let models = |by: &str| {
        json!([{
            "name": "m", "sticky": by,
            "targets": [{"id": "a", "provider": "gpu", "weight": 50}, {"id": "b", "provider": "gpu", "weight": 50}],
        }])
    };
    let variants = |by: &str, wants: &dyn Fn(u64) -> Want<'static>| {
        let fleet = setup.fleet(json!([gpu(&[1])]), models(by));
        let ids = (0..40)
            .map(|seed| plan(&fleet, "m", &wants(seed)).next(S).expect("a target").target().id.to_string());
        ids.collect::<std::collections::BTreeSet<_>>().len()
    };
    assert_eq!(variants("session", &|seed| Want { seed, session: Some("s1"), ..want() }), 1);
    assert_eq!(variants("user", &|seed| Want { seed, user: Some("ann"), session: Some("s1"), ..want() }), 1);
    // With nobody to keep it for, chance decides.
    assert_eq!(variants("user", &|seed| Want { seed, key: None, ..want() }), 2);
}

#[test]
fn the_less_busy_host_is_preferred() {
    let setup = setup();
    let fleet = setup.fleet(json!([gpu(&[1, 2])]), simple("gpu"));
    let busy: Vec<_> = (0..9)
        .filter_map(|seed| plan(&fleet, "m", &Want { seed, ..want() }).next(S))
        .filter(|attempt| attempt.address().port() == 1)
        .collect();
    assert!(!busy.is_empty());
    for seed in 0..20 {
        let attempt = plan(&fleet, "m", &Want { seed, ..want() }).next(S).expect("a host");
        assert_eq!(attempt.address().port(), 2);
    }
    assert_eq!(setup.upstreams.list().iter().map(|t| t.in_flight).sum::<usize>(), busy.len());
    drop(busy);
    assert_eq!(setup.upstreams.list().iter().map(|t| t.in_flight).sum::<usize>(), 0, "places are given back");
}

#[test]
fn max_in_flight_holds_per_target() {
    let setup = setup();
    let fleet = setup.fleet(json!([with(gpu(&[1, 2]), json!({"max_in_flight": 2}))]), simple("gpu"));
    let mut held: Vec<_> = (0..4).map(|_| plan(&fleet, "m", &want()).next(S).expect("room")).collect();
    let mut full = plan(&fleet, "m", &want());
    assert!(full.next(S).is_none());
    let rejection = full.rejection(S);
    assert_eq!((rejection.code, rejection.retry_after_secs()), (Code::NoUpstream, Some(2)));
    held.pop();
    assert!(full.next(S).is_some());
}

#[test]
fn max_attempts_bounds_all_of_it() {
    let setup = setup();
    let models = json!([{"name": "m", "targets": [{"provider": "gpu"}], "max_attempts": 3}]);
    let fleet = setup.fleet(json!([gpu(&[1, 2, 3, 4, 5])]), models);
    assert_eq!(order(&fleet, "m", &want(), SERVER_ERROR, S).len(), 3);
}

#[test]
fn an_open_breaker_is_passed_by_and_probed_once() {
    let setup = setup();
    let breaker = json!({"breaker": {"consecutive_failures": 2, "open": "2s", "max_open": "60s"}});
    let fleet = setup.fleet(
        json!([with(gpu(&[1]), breaker), cloud("cloud", 9)]),
        json!([{
            "name": "m", "targets": [{"provider": "gpu"}], "fallback": [{"provider": "cloud", "model": "c"}],
        }]),
    );
    for _ in 0..2 {
        assert_eq!(ports(&order(&fleet, "m", &want(), Failure::Timeout, S)[..1]), ["1"]);
    }
    let first = |now| plan(&fleet, "m", &want()).next(now);
    let port = |now| first(now).map(|attempt| attempt.address().port());
    assert_eq!(port(S), Some(9), "open");
    // Half open: one request is the probe, all others go on as before.
    let probe = first(3 * S).expect("the probe");
    assert_eq!(probe.address().port(), 1);
    assert_eq!(port(3 * S), Some(9));
    drop(probe); // its client left: the next one probes
    let mut probe = first(3 * S).expect("the probe");
    assert_eq!(probe.address().port(), 1);
    probe.report(Outcome::Ok, 3 * S);
    assert_eq!(port(3 * S), Some(1), "closed");
    probe.report(Outcome::Ok, 3 * S);
    probe.report(Outcome::Failed(Failure::Broken), 3 * S); // the answer began, then broke: counts
    probe.report(Outcome::Failed(Failure::Broken), 3 * S); // but once
    assert_eq!(port(3 * S), Some(1));
    drop(probe);
    order(&fleet, "m", &want(), Failure::Broken, 3 * S);
    assert_eq!(port(3 * S), Some(9));
    let gpu: Vec<String> = setup.told.all().into_iter().filter(|told| told.starts_with("gpu@")).collect();
    assert_eq!(gpu, ["gpu@127.0.0.1:1 open", "gpu@127.0.0.1:1 closed", "gpu@127.0.0.1:1 open"]);
}

#[test]
fn a_rate_limit_pauses_the_credential_and_model_only() {
    let setup = setup();
    let models = json!([
        {"name": "a", "targets": [{"provider": "gpu"}]},
        {"name": "b", "targets": [{"provider": "gpu"}]},
    ]);
    let fleet = setup.fleet(json!([gpu(&[1])]), models);
    let limited = Failure::RateLimited { retry_after: Some(Duration::from_secs(7)) };
    assert_eq!(order(&fleet, "a", &want(), limited, S).len(), 1);
    let mut paused = plan(&fleet, "a", &want());
    assert!(paused.next(2 * S).is_none());
    let rejection = paused.rejection(2 * S);
    assert_eq!((rejection.code, rejection.retry_after_secs()), (Code::RateLimitExceeded, Some(6)));
    assert!(rejection.message.contains("gpu"), "{}", rejection.message);
    assert!(plan(&fleet, "b", &want()).next(2 * S).is_some());
    assert!(plan(&fleet, "a", &want()).next(8 * S).is_some());
    assert!(setup.told.all().is_empty(), "a rate limit is not the host's fault");
}

#[test]
fn a_dead_credential_is_an_alarm_and_rests() {
    let setup = setup();
    let fleet = setup.fleet(json!([gpu(&[1])]), simple("gpu"));
    let mut first = plan(&fleet, "m", &want());
    let attempt = first.next(S).expect("a target");
    first.fail(attempt, Failure::Credential, S);
    assert_eq!(first.rejection(S).code, Code::UpstreamError);
    assert_eq!(setup.told.all(), ["gpu@127.0.0.1:1 credential"]);
    let mut second = plan(&fleet, "m", &want());
    assert!(second.next(S).is_none());
    assert_eq!(second.rejection(S).code, Code::UpstreamError);
    assert!(second.next(7 * S).is_some());
}

#[test]
fn the_last_rejection_names_what_happened() {
    let setup = setup();
    let fleet = setup.fleet(json!([gpu(&[1, 2])]), simple("gpu"));
    let ends = |failures: [Failure; 2], now| {
        let mut plan = plan(&fleet, "m", &want());
        for failure in failures {
            let attempt = plan.next(now).expect("a host");
            plan.fail(attempt, failure, now);
        }
        assert!(plan.next(now).is_none());
        plan.rejection(now).code
    };
    let limited = Failure::RateLimited { retry_after: None };
    assert_eq!(ends([limited, SERVER_ERROR], S), Code::RateLimitExceeded);
    assert_eq!(ends([SERVER_ERROR, Failure::Timeout], S), Code::UpstreamTimeout);
    assert_eq!(ends([Failure::Timeout, SERVER_ERROR], S), Code::UpstreamError);
}

#[test]
fn labels_hold_on_every_attempt() {
    let setup = setup();
    let providers = json!([
        with(gpu(&[1]), json!({"labels": {"region": "eu", "on_premises": true}})),
        with(cloud("us", 2), json!({"labels": {"region": "us"}})),
        with(cloud("eu", 3), json!({"labels": {"region": "eu"}})),
        cloud("nowhere", 4),
    ]);
    let models = json!([{
        "name": "m",
        "targets": [{"id": "a", "provider": "us", "weight": 1}, {"id": "b", "provider": "gpu", "weight": 1}],
        "fallback": [
            {"provider": "nowhere", "model": "x"}, {"provider": "eu", "model": "x"},
            {"provider": "us", "model": "x", "labels": {"region": "eu"}},
        ],
        "max_attempts": 10,
    }]);
    let fleet = setup.fleet(providers, models);
    let demand = |pairs: &[(&str, &str)]| -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let tried = |labels: &Labels| {
        let mut tried = order(&fleet, "m", &Want { require: Some(labels), ..want() }, SERVER_ERROR, S);
        tried.sort_unstable();
        ports(&tried).iter().map(|port| (*port).to_owned()).collect::<Vec<_>>().join(" ")
    };
    let mut eu = tried(&demand(&[("region", "eu")])).split(' ').map(str::to_owned).collect::<Vec<_>>();
    eu.sort_unstable();
    assert_eq!(eu, ["1", "2", "3"], "the last fallback's own label says that it is in the EU");
    assert_eq!(tried(&demand(&[("on_premises", "true")])), "1");
    let nobody = demand(&[("region", "mars")]);
    let refused = fleet.plan(fleet.model("m").expect("m"), &Want { require: Some(&nobody), ..want() });
    let rejection = refused.expect_err("no target can");
    assert_eq!(rejection.code, Code::NoUpstream);
    assert!(rejection.message.contains("region=mars"), "{}", rejection.message);
}

type Labels = crate::config::Labels;

#[test]
fn surfaces_that_nobody_speaks_are_refused_with_a_reason() {
    let setup = setup();
    let fleet = setup.fleet(json!([gpu(&[1])]), simple("gpu"));
    let refused = fleet.plan(fleet.model("m").expect("m"), &Want { api: Api::Messages, ..want() });
    let rejection = refused.expect_err("OpenAI does not speak it");
    assert_eq!(rejection.code, Code::InvalidRequest);
    assert!(rejection.message.contains("/v1/messages"), "{}", rejection.message);
}

#[test]
fn stateful_requests_stay_with_one_host_or_are_refused() {
    let setup = setup();
    let fleet = setup.fleet(json!([gpu(&[1, 2, 3])]), simple("gpu"));
    let want = Want { api: Api::Responses, stateful: true, user: Some("ann"), ..want() };
    let refused = fleet.plan(fleet.model("m").expect("m"), &want).expect_err("three hosts share nothing");
    assert_eq!(refused.param.as_deref(), Some("previous_response_id"));

    let fleet = setup.fleet(json!([with(gpu(&[1, 2, 3]), json!({"sticky": true}))]), simple("gpu"));
    let first = |seed, stateful| {
        plan(&fleet, "m", &Want { seed, stateful, ..want }).next(S).expect("a host").address().port()
    };
    let home = first(0, false);
    assert!((0..30).all(|seed| first(seed, seed % 2 == 0) == home));
    let spread = |want: Want<'static>| {
        let first =
            |seed| plan(&fleet, "m", &Want { seed, ..want }).next(S).expect("a host").address().port();
        (0..30).map(first).collect::<std::collections::BTreeSet<_>>().len()
    };
    let chat = Want { api: Api::Chat, stateful: false, ..want };
    assert_eq!(spread(chat), 3, "no upstream keeps a chat: one key's calls are spread");
    assert_eq!(spread(Want { session: Some("s1"), ..chat }), 1, "a session's are not");
    // The host that keeps the conversation fails: another one could not go on with it.
    assert_eq!(order(&fleet, "m", &want, SERVER_ERROR, S).len(), 1);
    assert_eq!(order(&fleet, "m", &Want { stateful: false, ..want }, SERVER_ERROR, S).len(), 3);
}

#[test]
fn any_model_is_passed_on_by_name() {
    let setup = setup();
    let fleet = setup.fleet(json!([gpu(&[1])]), json!([{"name": "*", "targets": [{"provider": "gpu"}]}]));
    let attempt = plan(&fleet, "whatever", &want()).next(S).expect("a host");
    assert_eq!(attempt.model("whatever"), "whatever");
    assert_eq!(attempt.path(Api::Chat, "whatever"), "/v1/chat/completions");
    assert_eq!((attempt.sni(), attempt.is_tls(), attempt.number()), ("127.0.0.1", false, 1));
}

#[test]
fn drains_outlive_reload_and_restart() {
    let setup = setup();
    let of = |providers: Value| config(providers, simple("gpu"));
    let fleet = setup.adopt(&of(json!([gpu(&[1, 2])])));
    setup.upstreams.drain("gpu@127.0.0.1:1").expect("drained");
    assert_eq!(ports(&order(&fleet, "m", &want(), SERVER_ERROR, S)), ["2"]);
    let unknown = setup.upstreams.drain("gpu@127.0.0.1:7").expect_err("no such target").to_string();
    assert!(unknown.contains("gpu@127.0.0.1:1"), "{unknown}");
    // Reloaded without it, then with it again; and in a new process.
    setup.adopt(&of(json!([gpu(&[2])])));
    let fleet = setup.adopt(&of(json!([gpu(&[1, 2])])));
    assert_eq!(ports(&order(&fleet, "m", &want(), SERVER_ERROR, 100 * S)), ["2"]);
    let again = Upstreams::new(&setup.state, Arc::new(NoEvents)).expect("readable");
    let fleet = again.build(&of(json!([gpu(&[1, 2])]))).expect("a fleet");
    again.adopt(&fleet);
    assert_eq!(ports(&order(&fleet, "m", &want(), SERVER_ERROR, S)), ["2"]);
    again.undrain("gpu@127.0.0.1:1").expect("undrained");
    assert_eq!(order(&fleet, "m", &want(), SERVER_ERROR, 200 * S).len(), 2);
    // By configuration.
    let fleet = setup.adopt(&of(json!([with(gpu(&[1]), json!({"drained": true}))])));
    let mut none = plan(&fleet, "m", &want());
    assert!(none.next(S).is_none());
    assert_eq!(none.rejection(S).code, Code::NoUpstream);
    let status = &setup.upstreams.list()[0];
    assert!(status.drained && status.drained_by_config && !status.usable);
}

#[test]
fn a_reload_keeps_live_state_by_identity() {
    let setup = setup();
    let rules = json!({"breaker": {"consecutive_failures": 1, "open": "60s"}});
    let fleet = setup.fleet(json!([with(gpu(&[1, 2]), rules.clone())]), simple("gpu"));
    let held: Vec<_> =
        (0..2).map(|seed| plan(&fleet, "m", &Want { seed, ..want() }).next(S).expect("a host")).collect();
    let mut failing = plan(&fleet, "m", &want());
    let attempt = failing.next(S).expect("a host");
    let port = attempt.address().port();
    failing.fail(attempt, SERVER_ERROR, S);
    let fleet = setup.fleet(json!([with(gpu(&[1, 2, 3]), rules.clone())]), simple("gpu"));
    let statuses = setup.upstreams.list();
    assert_eq!(statuses.iter().map(|target| target.in_flight).sum::<usize>(), 2);
    let open = |status: &&TargetStatus| status.breaker == "open";
    let open: Vec<_> = statuses.iter().filter(open).map(|target| target.id.clone()).collect();
    assert_eq!(open, [format!("gpu@127.0.0.1:{port}")]);
    assert_eq!(order(&fleet, "m", &want(), SERVER_ERROR, S).len(), 2);
    // Another provider id is another target.
    let renamed = with(gpu(&[1, 2]), json!({"id": "new"}));
    setup.fleet(json!([renamed]), simple("new"));
    assert!(setup.upstreams.list().iter().all(|target| target.breaker == "closed" && target.in_flight == 0));
    drop(held);
}

#[test]
fn several_addresses_rotate_and_bad_ones_are_left_out() {
    let setup = setup();
    let fleet = setup
        .fleet(json!([{"id": "n", "kind": "openai", "base_urls": ["http://name.invalid:1"]}]), simple("n"));
    let host = Arc::clone(fleet.providers()[0].endpoints()[0].host());
    let mut unresolved = plan(&fleet, "m", &want());
    assert!(unresolved.next(S).is_none());
    assert_eq!(unresolved.rejection(S).code, Code::NoUpstream);

    let address = |text: &str| text.parse().expect("an address");
    host.set_addresses(vec![address("[::1]:1"), address("127.0.0.1:1"), address("127.0.0.2:1")]);
    let at = |now| plan(&fleet, "m", &want()).next(now).expect("an address").address().to_string();
    assert!((0..4).all(|_| at(S) == "[::1]:1"), "the resolver's family");
    // One request finds the first address dead and goes on to the others, by itself.
    let mut finding = plan(&fleet, "m", &want());
    let mut seen = Vec::new();
    while let Some(attempt) = finding.next(S) {
        seen.push(attempt.address().to_string());
        if seen.len() == 3 {
            break;
        }
        finding.fail(attempt, Failure::Connect, S);
    }
    assert_eq!(seen[0], "[::1]:1");
    let mut rest = seen[1..].to_vec();
    rest.sort_unstable();
    assert_eq!(rest, ["127.0.0.1:1", "127.0.0.2:1"]);
    assert!(setup.told.all().is_empty(), "a host with a good address left is not to blame");
    assert!((0..4).all(|_| at(2 * S) == seen[2]), "those that failed rest");
    assert_eq!(at(100 * S), "[::1]:1", "for a while");
    host.set_addresses(vec![address("127.0.0.1:1"), address("127.0.0.2:1")]);
    let both: std::collections::BTreeSet<_> = (0..4).map(|_| at(100 * S)).collect();
    assert_eq!(both.len(), 2);
}

#[test]
fn pooled_connections_can_be_given_up() {
    let setup = setup();
    let fleet = setup.fleet(json!([gpu(&[1])]), simple("gpu"));
    let attempt = plan(&fleet, "m", &want()).next(S).expect("a host");
    let before = attempt.group_key();
    attempt.forsake_pool();
    assert_ne!(attempt.group_key(), before);
}

#[test]
fn one_attempt_costs_the_same_among_10_and_1000_hosts() {
    // Looks at targets are what grows; they are counted in filters::select. Here: the picks spread, and none is left out.
    let setup = setup();
    let many: Vec<u16> = (1..=1000).collect();
    let fleet = setup.fleet(json!([gpu(&many)]), simple("gpu"));
    let held: Vec<_> =
        (0..1000).filter_map(|seed| plan(&fleet, "m", &Want { seed, ..want() }).next(S)).collect();
    assert_eq!(held.len(), 1000);
    let most = setup.upstreams.list().iter().map(|target| target.in_flight).max();
    assert!(most <= Some(4), "{most:?}");
}

/// `cargo test -p tollgate-proxy --lib upstream::tests::plan::cost -- --ignored --nocapture`, with optimisation.
#[test]
#[ignore = "measures"]
fn cost() {
    for hosts in [10u16, 1000] {
        let setup = setup();
        let many: Vec<u16> = (1..=hosts).collect();
        let fleet = setup.fleet(json!([gpu(&many)]), simple("gpu"));
        const N: u64 = 100_000;
        let start = std::time::Instant::now();
        for seed in 0..N {
            let mut attempt = plan(&fleet, "m", &Want { seed, ..want() }).next(S).expect("a host");
            attempt.report(Outcome::Ok, S);
        }
        println!("{hosts} hosts: plan + attempt + report {:?}", start.elapsed() / 100_000);
    }
}
