use super::*;

fn builtin() -> Prices {
    serde_saphyr::from_str(Prices::BUILTIN).expect("conf/prices.yaml is valid")
}

fn list(json: serde_json::Value) -> Result<Prices, String> {
    serde_json::from_value(json).map_err(|e| e.to_string())
}

fn usage(input: u64, cache_read: u64, cache_write: u64, output: u64) -> Usage {
    Usage { input, output, cache_read, cache_write, ..Usage::default() }
}

#[test]
fn the_builtin_list_is_dated_and_versioned() {
    let prices = builtin();
    assert_eq!(prices.as_of().len(), "2025-12-01".len());
    assert!(prices.version().starts_with(prices.as_of()));
    assert_eq!(prices.version(), builtin().version(), "the version does not depend on map order");
}

#[test]
fn costs_are_exact_integers() {
    let prices = builtin();
    let check = |model, usage: Usage, nano| assert_eq!(prices.cost(model, &usage), nano, "{model} {usage:?}");
    check("gpt-4o-mini", usage(1_000_000, 0, 0, 0), Some(150_000_000));
    check("gpt-4o-mini", usage(0, 0, 0, 1), Some(600));
    // 1000 input of which 400 were cached: 600 × 150 + 400 × 75
    check("gpt-4o-mini", usage(1000, 400, 0, 0), Some(120_000));
    // Anthropic: 1000 = 100 fresh + 300 read + 600 written
    check("claude-haiku-4-5", usage(1000, 300, 600, 10), Some(100_000 + 30_000 + 750_000 + 50_000));
    check("gpt-4o-mini", usage(1000, 0, 1000, 0), Some(150_000)); // no price for writes: as input
    check("gpt-4o", usage(10, 400, 0, 0), Some(500_000));
    check("gpt-5-pro", usage(1000, 1000, 0, 0), Some(15_000_000)); // no price for reads: as input
    check("gpt-4o-mini", usage(10, 400, 0, 0), Some(30_000)); // more cached than input: never negative
    check("gpt-4o-mini", usage(u64::MAX, 0, 0, u64::MAX), Some(u64::MAX)); // saturates
    check("mistral-7b", usage(1, 0, 0, 1), None);
    check("", usage(1, 0, 0, 1), None);
}

#[test]
fn names_snapshots_and_strangers() {
    let prices = builtin();
    let input = |model| prices.price(model, 1).map(|p| p.input);
    for (model, expect) in [
        ("gpt-4o", Some(2500)),
        ("gpt-4o-2024-08-06", Some(2500)),
        ("gpt-4o-2024-05-13", Some(5000)), // its own entry wins over the snapshot rule
        ("gpt-4o-mini-2024-07-18", Some(150)),
        ("claude-sonnet-4-5-20250929", Some(3000)),
        ("claude-sonnet-4@20250514", Some(3000)),
        ("claude-3-5-haiku-latest", Some(800)),
        ("gpt-4o-audio-preview", None), // another price: not the family's
        ("gpt-5.9", None),
        ("gpt-4o-2024-08", None),
        ("-2024-08-06", None),
        ("-latest", None),
        ("gpt-4o-２０２４-08-06", None),
    ] {
        assert_eq!(input(model), expect, "{model}");
    }
}

#[test]
fn long_inputs_cost_the_long_price() {
    let prices = builtin();
    let at = |input| prices.price("claude-sonnet-4-5", input).map(|p| (p.input, p.output));
    assert_eq!(at(200_000), Some((3000, 15_000)));
    assert_eq!(at(200_001), Some((6000, 22_500)));
}

#[test]
fn own_prices_win_over_the_builtin_ones() {
    let own = list(serde_json::json!({"as_of": "2026-01-01", "models": [
        {"name": "gpt-4o", "input": 1, "output": 2},
        {"name": "claude-*", "input": 7, "output": 8},
        {"name": "claude-haiku*", "input": 9, "output": 9},
        {"name": "*", "input": 0, "output": 0},
    ]}))
    .expect("valid");
    let both = own.clone().over(&builtin());
    let input = |model| both.price(model, 1).map(|p| p.input);
    assert_eq!(input("gpt-4o"), Some(1000));
    assert_eq!(input("gpt-4o-2024-05-13"), Some(1000), "its own snapshots too");
    assert_eq!(input("claude-sonnet-4-5"), Some(7000));
    assert_eq!(input("claude-haiku-4-5"), Some(9000), "the most literal pattern wins");
    assert_eq!(input("llama"), Some(0));
    assert_eq!(both.as_of(), "2026-01-01");
    assert_ne!(both.version(), builtin().version());
    for _ in 0..20 {
        // Each map has its own order: what is merged must not depend on it.
        let none = Prices::default().over(&builtin());
        assert_eq!(none.version(), builtin().version());
        assert_eq!(none.price("gpt-4o-2024-05-13", 1).map(|p| p.input), Some(5000));
    }
}

#[test]
fn bad_lists_say_what_to_write() {
    let one = |model: serde_json::Value| list(serde_json::json!({"as_of": "x", "models": [model]}));
    let check = |model, expect: &str| {
        let error = one(model).expect_err("refused");
        assert!(error.contains(expect), "{error}");
    };
    check(serde_json::json!({"name": "a", "input": -1, "output": 0}), "a: input is -1");
    check(serde_json::json!({"name": "a", "input": 0.0001, "output": 0}), "three decimals");
    check(serde_json::json!({"name": "a", "input": 1, "output": 1e6}), "output is 1000000");
    check(serde_json::json!({"name": "", "input": 1, "output": 1}), "without a name");
    check(serde_json::json!({"name": "a", "input": 1, "output": 1, "out": 1}), "unknown field");
    let twice = serde_json::json!({"name": "a", "input": 1, "output": 1});
    let error = list(serde_json::json!({"as_of": "x", "models": [twice, twice]})).expect_err("refused");
    assert!(error.contains("priced twice"), "{error}");
}

#[test]
fn globs() {
    for (glob, text, expect) in [
        ("*", "", true),
        ("a*", "a", true),
        ("a*c", "abbc", true),
        ("a*c", "abbcd", false),
        ("*b*b", "abab", true),
        ("a**", "a", true),
        ("", "a", false),
        ("*é*", "café au lait", true),
    ] {
        assert_eq!(glob_matches(glob, text), expect, "{glob} {text}");
    }
}
