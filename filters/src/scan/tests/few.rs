//! Few rules at a time: what others would cover for must be right by itself.

use super::*;

/// The rules of one kind mask, all others are off.
fn only(kind: &'static str) -> (Arc<Rules>, Arc<Policy>) {
    engine(move |rule| if &*rule.kind == kind { Action::Mask } else { Action::Off })
}

/// These rules of one's own alone, all of which do this.
fn own(rules: &str, action: Action) -> (Arc<Rules>, Arc<Policy>) {
    let rules = Rules::compile(&Rules::parse(rules).expect(rules)).expect("they compile");
    let policy = rules.policy(Direction::Answer, |_| action, Switches::default());
    (Arc::new(rules), Arc::new(policy))
}

/// The same whole and at every cut.
fn check(engine: &(Arc<Rules>, Arc<Policy>), text: &str, expect: &str) {
    let (out, findings) = whole(engine, text);
    assert_eq!(out, expect, "{text}");
    for size in [1, 2, 3, 7] {
        assert_eq!(stream(engine, pieces(text, size)), (out.clone(), findings.clone()), "{text} by {size}");
    }
    for (at, _) in text.char_indices() {
        let (left, right) = text.split_at(at);
        let cut = stream(engine, [left, right].into_iter());
        assert_eq!(cut, (out.clone(), findings.clone()), "{text} cut at {at}");
    }
}

#[test]
fn what_a_kind_finds_by_itself() {
    for (kind, text, expect) in [
        ("iban", "x\\u00DE89370400440532013000 y", "x\\u00DE89370400440532013000 y"),
        ("iban", "\\xgaDE89370400440532013000 y", "\\xgaDE89370400440532013000 y"),
        ("email", "\\n@corp.com", "\\[EMAIL_1]"),
        ("secret", "ѕk-T3BlbkFJx9Qa7Lm2Zp4Rv8Wc6Yd1Nf5Hg0JkSbTe3UiXo", "[SECRET_1]"),
        ("secret", "key ｇｈｐ_q8Zr2LmX0vT5bNc7KpWd3HsYfJ6gRa1uEo9i", "key [SECRET_1]"),
        ("secret", "key g\u{200b}hp_q8Zr2LmX0vT5bNc7KpWd3HsYfJ6gRa1uEo9i end", "key [SECRET_1] end"),
        ("secret", "dbPassword = \"hunter2!xQ9\"", "dbPassword = \"[SECRET_1]\""),
        ("secret", "password=\"a token=Zq8_kLmN4xWv b9!\"", "password=\"a token=[SECRET_1] b9!\""),
        (
            "secret",
            "_eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozj",
            "_eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozj",
        ),
        ("ip_address", "fe80:0000:0000:0000:01ff:fe23:4567:890a%enp0s31f6 x", "[IP_ADDRESS_1] x"),
        (
            "ip_address",
            "fe80::1ff:fe23:4567:890a%eth0 and 2a00:1450:4001::5",
            "[IP_ADDRESS_1] and [IP_ADDRESS_2]",
        ),
        ("ip_address", "2a00:1450:4001::5x", "2a00:1450:4001::5x"),
        ("ip_address", "2a00:1450:4001::5: x", "[IP_ADDRESS_1]: x"),
        ("ip_address", "2a00:1450:4001::5:x", "2a00:1450:4001::5:x"),
        ("email", "an andré@corp.com", "an [EMAIL_1]"),
        ("email", "an ａndré@corp.com", "an [EMAIL_1]"),
        ("phone", "2125550123 ", "[PHONE_1] "),
        ("phone", "2125550123 -", "2125550123 -"),
        ("phone", "2125550123 -\n", "2125550123 -\n"),
        ("phone", "hotel 2125550123", "hotel 2125550123"),
        ("phone", "tel 2125550123", "tel [PHONE_1]"),
        ("phone", "xphone 2125550123", "xphone 2125550123"),
    ] {
        check(&only(kind), text, expect);
    }
}

/// A label has 63 characters, a domain that is looked at 254.
#[test]
fn long_domains() {
    let email = only("email");
    for (domain, found) in [
        (format!("{}.com", "b".repeat(63)), true),
        (format!("{}.com", "b".repeat(64)), false),
        (format!("{}com", "b.".repeat(125)), true),
        (format!("{}com", "b.".repeat(130)), false),
    ] {
        let text = format!("to a@{domain} x");
        let expect = if found { "to [EMAIL_1] x" } else { &text };
        check(&email, &text, expect);
    }
}

/// What is only recorded gives way to what is masked, also where its beginning is known by a mark that comes long after it.
#[test]
fn what_is_recorded_waits_for_the_marks_of_its_keys() {
    let mails = engine(|rule| match &*rule.kind {
        "email" => Action::Mask,
        "secret" => Action::Log,
        _ => Action::Off,
    });
    for (text, expect) in [
        ("bob@mail.corp.com.xyNATS+tls://app:Xk9;mQ7z@h ", "[EMAIL_1].xyNATS+tls://app:Xk9;mQ7z@h "),
        ("a nats+tls://app:Xk9;mQ7z@h and bob@corp.com", "a nats+tls://app:Xk9;mQ7z@h and [EMAIL_1]"),
    ] {
        check(&mails, text, expect);
    }
}

/// A rule that is off finds nothing, whatever another has of the same sort.
#[test]
fn what_is_off_finds_nothing() {
    let specs = Rules::builtin_specs();
    let ours = specs.iter().find(|spec| spec.id == "github_token").expect("built in");
    let engine = engine(|rule| if &*rule.id == "github_token" { Action::Mask } else { Action::Off });
    for spec in specs.iter().filter(|spec| spec.id != ours.id) {
        for example in spec.examples.matches.iter().filter(|example| !example.contains("gh")) {
            let text = format!("say {example} then");
            assert_eq!(whole(&engine, &text), (text.clone(), Vec::new()), "{}", spec.id);
        }
    }
}

#[test]
fn rules_of_ones_own_by_themselves() {
    for (rules, text, expect) in [
        (
            "- {id: url, kind: k, detector: url_password, starts: ['postgres://']}",
            "x postgres://app:s3cr3tPw9@db.internal y",
            "x [K_1] y",
        ),
        // `bcd` blurs into the marks at the unit where `abcd` is complete.
        (
            "- {id: a, kind: k, starts: [abcd_], body: {class: a-z0-9, min: 6, max: 8}}\n\
             - {id: b, kind: k, starts: [bxx, xcx, xxd], body: {class: a-z0-9, min: 6, max: 6}, lead: {class: a-z, min: 1, max: 4}}",
            "some abcd_12345678 y",
            "some [K_1] y",
        ),
        ("- {id: p, kind: k, pattern: 'AB\\\\[a-z]{4}'}", "x AB\\cdef y", "x [K_1] y"),
        ("- {id: color, kind: k, pattern: '#[0-9a-f]{6}'}", "x#ff00ff y", "x[K_1] y"),
        ("- {id: id, kind: k, pattern: 'ID[^0-9]{2}[0-9]{4}'}", "ID号码1234。", "[K_1]。"),
        (
            "- {id: badge, kind: k, pattern: '[0-9]{6}', context: [badge]}",
            "badge 123456, or order 654321 at the end of a text that is long enough to be far from it",
            "badge [K_1], or order [K_2] at the end of a text that is long enough to be far from it",
        ),
        ("- {id: badge, kind: k, pattern: '[0-9]{6}', context: [badge]}", "order 123456", "order 123456"),
        (
            "- {id: badge, kind: k, starts: [bdg_], body: {class: a-z0-9, min: 6, max: 6}, context: [badge]}",
            "order bdg_123456",
            "order bdg_123456",
        ),
        (
            "- {id: led, kind: k, starts: [':AA'], body: {class: a-z0-9, min: 6, max: 6}, lead: {class: a-z/, min: 2, max: 4}}",
            "x/abcd:AA123456 y",
            "x/[K_1] y",
        ),
    ] {
        check(&own(rules, Action::Mask), text, expect);
        check(&own(rules, Action::Log), text, text);
    }
}

/// Whatever a rule's keys begin with, or have in their middle: one that is drawn by chance is found, and by this rule.
#[test]
fn a_key_is_found_behind_each_prefix() {
    let mut state = 1_u64;
    let mut drawn = |class: &str, count: usize| -> String {
        let all: Vec<char> = ('!'..='~').filter(|c| regex_class(class).is_match(&[*c as u8])).collect();
        let some = |state: &mut u64| {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            all[(*state >> 33) as usize % all.len()]
        };
        (0..count).map(|_| some(&mut state)).collect()
    };
    for spec in Rules::builtin_specs() {
        let Some(body) = &spec.body else { continue };
        let engine = engine(|rule| if *rule.id == *spec.id { Action::Mask } else { Action::Off });
        for prefix in &spec.starts {
            let found = (0..20).any(|_| {
                let lead = spec.lead.as_ref().map(|lead| drawn(&lead.class, lead.min)).unwrap_or_default();
                let key = drawn(&body.class, body.max.unwrap_or(body.min.max(40)));
                let text = format!("a {lead}{prefix}{key} b");
                let label = if body.label { prefix.as_str() } else { "" };
                whole(&engine, &text).0 == format!("a {label}[SECRET_1] b")
            });
            assert!(found, "{}: {prefix}", spec.id);
        }
    }
}

fn regex_class(class: &str) -> regex_automata::meta::Regex {
    regex_automata::meta::Regex::new(&format!("^[{class}]$")).expect("a class")
}

/// Inside of a word no pattern begins that begins with a letter or digit, not even where a text is cut short.
#[test]
fn a_pattern_that_is_cut_short_begins_a_word() {
    let eight = own("- {id: eight, kind: k, pattern: '[0-9]{8}'}", Action::Mask);
    for (text, expect) in [("x1234", "x1234"), ("x 1234", "x [K_1]")] {
        assert_eq!(ended(&eight, std::iter::once(text), End::CutShort).0, expect, "{text}");
    }
}
