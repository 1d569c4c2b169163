//! The arrows between crates, and who may use which library. `deny.toml` says the same to cargo-deny; this needs nothing installed.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Our crates, each with those of ours that it may depend on.
const ARROWS: [(&str, &[&str]); 9] = [
    ("tollgate-filters", &[]),
    ("tollgate-fake-upstream", &[]),
    ("tollgate-mutants", &[]),
    ("tollgate-store", &["tollgate-filters"]),
    ("tollgate-proxy", &["tollgate-filters"]),
    ("tollgate-sink", &["tollgate-store", "tollgate-filters"]),
    ("tollgate-control", &["tollgate-proxy", "tollgate-store", "tollgate-filters"]),
    ("tollgate-bench", &["tollgate-fake-upstream"]),
    (
        "tollgate",
        &[
            "tollgate-control",
            "tollgate-sink",
            "tollgate-store",
            "tollgate-proxy",
            "tollgate-filters",
            "tollgate-fake-upstream",
        ],
    ),
];

/// Libraries (and all whose names start so) with the crates that may name them, and why nobody else.
const ONLY_IN: [(&str, &[&str], &str); 6] = [
    ("sqlx", &["tollgate-store"], "SQL lives in store"),
    ("pingora", &["tollgate-proxy", "tollgate-bench"], "the data plane is proxy; bench has the bare one"),
    ("redis", &["tollgate-proxy"], "shared limits are a backend of proxy"),
    ("rdkafka", &["tollgate-proxy", "tollgate-sink"], "proxy produces audit events, sink consumes them"),
    ("object_store", &["tollgate-sink"], "objects are written by sink"),
    ("axum", &["tollgate-control"], "the admin API is control"),
];

/// What the pure core must never name: I/O, async, clocks, randomness.
const NOT_IN_FILTERS: [&str; 8] =
    ["tokio", "futures", "hyper", "reqwest", "tracing", "rand", "socket2", "parking_lot"];

/// Normal dependencies by package.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs the tests, so it can be run");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let name = |value: &serde_json::Value| value["name"].as_str().expect("a name").to_owned();
    packages
        .iter()
        .map(|package| {
            let listed = package["dependencies"].as_array().expect("a list of dependencies");
            (name(package), listed.iter().filter(|d| d["kind"].is_null()).map(name).collect())
        })
        .collect()
}

#[test]
fn our_crates_depend_one_way() {
    let all = dependencies();
    let known: BTreeSet<&str> = ARROWS.iter().map(|(of, _)| *of).collect();
    assert_eq!(
        all.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        known,
        "a new crate needs its arrows"
    );
    for (of, allowed) in ARROWS {
        let ours: Vec<_> = all[of].iter().filter(|d| known.contains(d.as_str())).collect();
        let wrong: Vec<_> = ours.iter().filter(|d| !allowed.contains(&d.as_str())).collect();
        assert!(wrong.is_empty(), "{of} must not depend on {wrong:?}");
    }
}

#[test]
fn libraries_stay_where_they_belong() {
    for (of, named) in dependencies() {
        for (library, allowed, why) in ONLY_IN {
            let uses = named.iter().any(|d| d == library || d.starts_with(&format!("{library}-")));
            assert!(!uses || allowed.contains(&of.as_str()), "{of} must not use {library}: {why}");
        }
    }
}

#[test]
fn filters_are_pure() {
    let named = &dependencies()["tollgate-filters"];
    let impure: Vec<_> = NOT_IN_FILTERS.iter().filter(|library| named.contains(**library)).collect();
    assert!(impure.is_empty(), "filters has no I/O, clock or randomness of its own: {impure:?}");
}
