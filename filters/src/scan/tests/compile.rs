//! What is refused of a rule, and with which words.

use super::*;
use crate::scan::injection::InjectionSpec;

#[test]
fn what_is_wrong_with_a_rule_is_said() {
    for (rule, says) in [
        ("{id: A b, kind: k, pattern: abc}", "`id` and `kind` are"),
        ("{id: '', kind: k, pattern: abc}", "`id` and `kind` are"),
        ("{id: a, kind: '', pattern: abc}", "`id` and `kind` are"),
        ("{id: a, kind: K, pattern: abc}", "`id` and `kind` are"),
        (
            "{id: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, kind: k, pattern: abc}",
            "`id` and `kind` are",
        ),
        ("{id: a, kind: k, starts: [abc_], body: {class: '', min: 4}}", "write ASCII"),
        ("{id: a, kind: k, starts: [abc_], body: {class: 'a-zé', min: 4}}", "write ASCII"),
        (
            "{id: a, kind: k, starts: [abc_], body: {class: a-z, min: 0}, lead: {class: a-z, min: 1, max: 4}}",
            "at least 1",
        ),
        ("{id: a, kind: k, starts: [abc_], body: {class: a-z, min: 0, max: 4}}", "at least 1"),
        (
            "{id: a, kind: k, starts: [abc_], body: {class: a-z, min: 4}, lead: {class: a-z, min: 0, max: 4}}",
            "of a lead",
        ),
        (
            "{id: a, kind: k, starts: [abc_], body: {class: a-z, min: 4}, lead: {class: a-z, min: 5, max: 4}}",
            "of a lead",
        ),
        (
            "{id: a, kind: k, starts: [abc_], body: {class: a-z, min: 4}, lead: {class: a-z, min: 1, max: 65535}}",
            "of a lead",
        ),
        ("{id: a, kind: k}", "give one of"),
        ("{id: a, kind: k, pattern: abc, terms: [Acme]}", "give one of"),
        ("{id: a, kind: k, starts: [abc_]}", "needs a `body`"),
        ("{id: a, kind: k, starts: [ab], body: {class: a-z, min: 4}}", "3 to 24"),
        ("{id: a, kind: k, starts: [abc_], body: {class: a-z, min: 0}}", "at least 1"),
        ("{id: a, kind: k, starts: [abc_], body: {class: a-z, min: 4, max: 3}}", "at most `max`"),
        ("{id: a, kind: k, starts: [abc_], body: {class: z-a, min: 4}}", "`class: z-a`"),
        (
            "{id: a, kind: k, starts: [abc_], body: {class: a-z, min: 1, label: true}}",
            "at least two characters",
        ),
        ("{id: a, kind: k, starts: [abc_], body: {class: a-z, min: 1, max: 9, label: true}}", "at least two"),
        (
            "{id: a, kind: k, starts: [abc_], body: {class: a-z, min: 4, label: true}, lead: {class: a-z, min: 1, max: 4}}",
            "stands beside `label`",
        ),
        (
            "{id: a, kind: k, starts: [abc_], body: {class: a-z, min: 4}, lead: {class: '!', min: 1, max: 4}}",
            "of a lead",
        ),
        ("{id: a, kind: k, pattern: abc, body: {class: a-z, min: 4}}", "`body` and `lead`"),
        ("{id: a, kind: k, terms: [Acme], lead: {class: a-z, min: 1, max: 4}}", "`body` and `lead`"),
        ("{id: a, kind: k, detector: jwt, starts: [eyJ], body: {class: a-z, min: 4}}", "`body` and `lead`"),
        ("{id: a, kind: k, detector: jwt}", "needs `starts`"),
        ("{id: a, kind: k, pattern: 'a+'}", "no longest match"),
        ("{id: a, kind: k, pattern: 'a?'}", "matches nothing"),
        ("{id: a, kind: k, pattern: '('}", "does not parse"),
        ("{id: a, kind: k, pattern: '机密[0-9]{4}'}", "outside ASCII"),
    ] {
        let specs = Rules::parse(&format!("- {rule}")).expect(rule);
        let errors = Rules::compile(&specs).expect_err(rule);
        assert_eq!(errors.len(), 1, "{rule}: {errors:?}");
        assert!(errors[0].to_string().contains(says), "{rule}: {}", errors[0]);
    }
}

/// Of rules and signals together.
#[test]
fn all_errors_come_at_once() {
    let specs = "[{id: a, kind: k}, {id: b, kind: k, pattern: abc}, {id: b, kind: k, pattern: abc}, {id: c, kind: k, pattern: '('}]";
    let specs = Rules::parse(specs).expect("parses");
    let signals =
        "signals: [{id: s, weight: 1, phrases: ['<nowhere> helpdesk']}, {id: t, weight: 1, marks: ['[[']}]";
    let signals = InjectionSpec::parse(signals).expect("parses");
    let errors = Rules::compile_with(&specs, &[signals]).expect_err("is wrong");
    let of: Vec<&str> = errors.iter().map(|error| &*error.rule).collect();
    assert_eq!(of, ["s", "t", "a", "b", "c"], "{errors:?}");
}

#[test]
fn what_rules_say_of_themselves() {
    let compiled = |rule: &str| {
        let specs = Rules::parse(&format!("- {rule}")).expect(rule);
        (Rules::compile(&specs).expect(rule), specs)
    };
    let (rules, _) = compiled("{id: a, kind: k, terms: [Falcon, Ab]}");
    assert_eq!(rules.infos().next().map(|(_, rule)| rule.max_hold), Some("Falcon".len() + 1));

    for (rule, says) in [
        (
            "{id: a, kind: k, pattern: abc, examples: {match: [xyz]}}",
            Some("does not match its example \"xyz\""),
        ),
        (
            "{id: a, kind: k, pattern: abc, examples: {no_match: [abc]}}",
            Some("matches \"abc\", which it must not"),
        ),
        ("{id: a, kind: k, pattern: abc, examples: {match: [abc], no_match: [xyz]}}", None),
    ] {
        let (rules, specs) = compiled(rule);
        let errors = rules.check(&specs);
        assert_eq!(errors.len(), usize::from(says.is_some()), "{rule}: {errors:?}");
        assert!(
            errors.iter().all(|error| error.to_string().contains(says.unwrap_or_default())),
            "{errors:?}"
        );
    }

    let signals = "signals: [{id: a, weight: 60, marks: ['[[sudo]]'], examples: {match: ['sudo']}}]";
    let signals = [InjectionSpec::parse(signals).expect("parses")];
    let rules = Rules::compile_with(&[], &signals).expect("compiles");
    let errors = rules.check_signals(&signals);
    assert!(errors.len() == 1 && errors[0].to_string().contains("does not match"), "{errors:?}");

    let all = [Severity::Low, Severity::Medium, Severity::High, Severity::Critical];
    assert_eq!(all.map(Severity::as_str), ["low", "medium", "high", "critical"]);
}

#[test]
fn there_are_so_many_prefixes_at_most() {
    let rule = "- {id: a, kind: k, starts: [abc_], body: {class: a-z, min: 4}}";
    let mut specs = Rules::parse(rule).expect("parses");
    specs[0].starts = (0..16_385).map(|n| format!("k{n:05}_")).collect();
    let errors = Rules::compile(&specs).expect_err("one too many");
    assert!(errors[0].to_string().contains("more than 16384 prefixes"), "{errors:?}");
}
