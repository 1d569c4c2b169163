//! Stand-ins in JSON: of the value's type, the same at every cut, and no findings when they come back.

use proptest::prelude::*;

use super::cuts::text;
use super::*;

/// A text with stand-ins in JSON's shapes, and how many there are.
fn masked(rules: &Rules, policy: &Policy, text: &str) -> (String, usize) {
    let mut masker = Masker::new();
    let mut all = Vec::new();
    rules.scan(policy, text, &mut all);
    let (mut out, mut sent) = (String::new(), 0);
    for found in &all {
        out.push_str(&text[sent..found.span.start]);
        out.push_str(&masker.stand_in(found, &text[found.span.clone()], Shape::JsonString));
        sent = found.span.end;
    }
    out.push_str(&text[sent..]);
    (out, all.len())
}

#[test]
fn every_kind_keeps_its_type_and_is_not_found_again() {
    let (rules, policy) = engine(|_| Action::Mask);
    for (value, expect) in [
        ("alice@corp.com", "email-1@masked.invalid"),
        ("(212) 555-0123", "(000) 000-0001"),
        ("+44 20 7946 0958", "+00 00 0000 0001"),
        ("4111 1111 1111 1111", "0000 0000 0000 0001"),
        ("219-09-9998", "000-00-0001"),
        ("203.0.113.9", "0.0.0.1"),
        ("2a00:1450:4001::2f", "100::1"),
        ("DE89 3704 0044 0532 0130 00", "DE00 0000 0000 0000 0000 01"),
        ("sk-T3BlbkFJx9Qa7Lm2Zp4Rv8Wc6Yd1Nf5Hg0JkSbTe3UiXo", "masked-1-xxxxxxxxxxxxxxxxxxxxxxx"),
        ("postgres://app:s3cr3tPw9@db.internal:5432/app", "postgres://masked-1.invalid"),
    ] {
        let (out, found) = masked(&rules, &policy, value);
        assert_eq!((out.as_str(), found), (expect, 1));
        for around in [
            "{}",
            "to: {}",
            "\"password\": \"{}\"",
            "call {} now",
            "ssn {}, card {}",
            "token={}",
            "ip {}:80",
            "<{}>",
        ] {
            let history = around.replace("{}", expect);
            let mut again = Vec::new();
            rules.scan(&policy, &history, &mut again);
            assert!(again.is_empty(), "{history}: {again:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// What stands for a value stays what it is, however often a text comes back.
    #[test]
    fn texts_that_come_back_are_not_renamed(text in text()) {
        let (rules, policy) = &engine_once();
        let (once, _) = masked(rules, policy, &text);
        let mut all = Vec::new();
        rules.scan(policy, &once, &mut all);
        for found in all {
            let value = &once[found.span.clone()];
            let own = ["@masked.invalid", "masked-", "0000", "100::"].iter().any(|form| value.starts_with(form));
            prop_assert!(!own, "{value} of {once}");
        }
    }

    #[test]
    fn every_cut_gives_the_same_shapes(text in text(), size in 1_usize..9) {
        let (rules, policy) = &engine_once();
        let (expect, _) = masked(rules, policy, &text);
        let mut masker = Masker::new();
        let mut scanner = Scanner::new(rules, policy).shaped(Shape::JsonString);
        let mut out = String::new();
        for piece in pieces(&text, size) {
            scanner.push(piece, &mut masker, &mut out);
        }
        scanner.finish(&mut masker, End::Whole, &mut out);
        prop_assert_eq!(out, expect);
    }
}

fn engine_once() -> (Arc<Rules>, Arc<Policy>) {
    static ENGINE: std::sync::OnceLock<(Arc<Rules>, Arc<Policy>)> = std::sync::OnceLock::new();
    ENGINE.get_or_init(|| engine(|_| Action::Mask)).clone()
}
