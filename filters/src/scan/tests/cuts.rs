//! The same output and findings for every way of cutting a text.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// Values, almost-values, and what stands between them.
const PARTS: [&str; 93] = [
    "alice@corp.com",
    "a\u{200b}lice@corp.com",
    "bob.smith+x@mail.corp.co.uk",
    "@",
    "a@b",
    "x@y.z.",
    "用户@例子.公司",
    "联系alice@corp.com",
    "212-555-0123",
    "(212) 555-0123",
    "(212) 555 - 0123",
    "212 - 555 - 0123",
    "+1 212 555 0123 ext. 45",
    "+44 (0)20 7946 0958",
    "call 2125550123",
    "+",
    "(",
    " x1",
    "ext",
    "4111 1111 1111 1111",
    "4111-1111-1111-1111",
    "378282246310005",
    "41111111",
    "1 2 3 4 5 6 7 8 9 10",
    "1234567890123456789012345",
    "219-09-9998",
    "ssn 219099998",
    "219-09-",
    "10.0.0.1",
    "1.2.3.4.5",
    "203.0.113.9/24",
    "2001:db8::1",
    "fe80::1ff:fe23:4567:890a%eth0",
    "std::fmt",
    "12:30:45",
    "::ffff:192.0.2.1",
    "DE89 3704 0044 0532 0130 00",
    "GB82WEST12345698765432",
    "de 20",
    "sk-T3BlbkFJx9Qa7Lm2Zp4Rv8Wc6Yd1Nf5Hg0JkSbTe3UiXo",
    "sk-",
    "sk-ant-api03-q8Zr2LmX0vT5bNc7KpWd3HsYfJ6g",
    "ghp_q8Zr2LmX0vT5bNc7KpWd3HsYfJ6gRa1uEo9i",
    "AKIAZ7Q2MXKPVLW4NDTR",
    "AKIA",
    "110201543:AAq8Zr2LmX0vT5bNc7KpWd3HsYfJ6gRa1uE",
    "110201543",
    ":AA",
    "Zr28Q~LmX0vT5bNc7KpWd3HsYfJ6gRa1uEo9iQtBw",
    "9f86d081884c7d659a2feaa0c55ad015",
    "-us21",
    "q8Zr2LmX0vT5bN.atlasv1.c7KpWd3HsYfJ6gRa1uEo9iQtBw4xMq8Zr2LmX0vT5bNc7KpWd3HsYfJ6gRa1",
    "9f86d081884c7d659a2feaa0c55ad0159f86NRAL",
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozj",
    "eyJ",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA1b2c3d4e5f6g7h8\nabcd\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN ",
    "-----",
    "postgres://app:s3cr3tPw9@db.internal:5432/app",
    "https://a.example/b",
    "NATS+tls://app:Xk9;mQ7z@h",
    "://",
    "IPv6:2a02:8071:b81::12ab",
    "fe80::1ff:fe23:4567:890a%br-lan.",
    "authorization: token ",
    "http://",
    "password = \"hunter2!\"",
    "token: q8Zr2LmX0vT5bNc7KpWd",
    "\"api_key\":\"",
    "password=q8Zr2LmX",
    "&",
    ";token=",
    "pass: \"Abcd3f ",
    "\"",
    "secret_key\", \"value\": \"",
    "PASS",
    "- name: DB_PASSWORD\n  value: ",
    "--password ",
    "-----BEGIN PRIVATE KEY-----\n# Comment: 'x'\n# MIIEvQIBADANBgkqhkiG9w0BAQEFAASC5lkl5jYw",
    "ENV API_TOKEN q8Zr2LmX0vT5bNc7KpWd3HsYfJ6g",
    "Bearer ",
    " ",
    "\n",
    "\\n",
    "\\\\t",
    "\\u003d",
    "\\",
    ", ",
    "word ",
    "é",
    "漢字",
    "🎉\u{200d}",
    "\u{200b}",
];

pub(super) fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        6 => select(&PARTS[..]).prop_map(str::to_owned),
        1 => "[a-z0-9@.+: -]{1,6}",
        1 => "\\PC{1,3}",
    ];
    prop::collection::vec(part, 1..9).prop_map(|parts| parts.concat())
}

/// One action per kind and rule, by its name.
fn mixed(seed: u64) -> impl Fn(&RuleInfo) -> Action {
    const ACTIONS: [Action; 6] =
        [Action::Mask, Action::Mask, Action::Log, Action::Off, Action::Shadow, Action::Mask];
    move |rule| {
        let sum: u64 = rule.id.bytes().map(u64::from).sum();
        ACTIONS[(sum.wrapping_mul(seed | 1) >> 3) as usize % ACTIONS.len()]
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_cut_gives_the_same(text in text(), cuts in prop::collection::vec(1_usize..40, 1..8)) {
        let engine = masking();
        let expect = whole(&engine, &text);
        for size in [1, 2, 3, 7] {
            prop_assert_eq!(&stream(&engine, pieces(&text, size)), &expect, "pieces of {}", size);
        }
        let mut rest = text.as_str();
        let random = cuts.iter().cycle().map_while(move |size| {
            let piece = pieces(rest, *size).next()?;
            rest = &rest[piece.len()..];
            Some(piece)
        });
        prop_assert_eq!(&stream(&engine, random), &expect);
    }

    #[test]
    fn every_cut_gives_the_same_whatever_is_done(text in text(), seed in any::<u64>()) {
        let (rules, _) = &masking();
        let policy = rules.policy(Direction::Answer, mixed(seed), Switches::default());
        let engine = (rules.clone(), Arc::new(policy));
        let expect = whole(&engine, &text);
        for size in [1, 4, 11] {
            prop_assert_eq!(&stream(&engine, pieces(&text, size)), &expect, "pieces of {}", size);
        }
    }

    #[test]
    fn every_cut_blocks_at_the_same_place(text in text()) {
        let (rules, _) = &masking();
        let policy = rules.policy(Direction::Answer, |_| Action::Block, Switches::default());
        let engine = (rules.clone(), Arc::new(policy));
        let expect = whole(&engine, &text);
        for size in [1, 5] {
            prop_assert_eq!(&stream(&engine, pieces(&text, size)), &expect, "pieces of {}", size);
        }
    }
}

/// Compiled once: thousands of cases share it.
fn masking() -> (Arc<Rules>, Arc<Policy>) {
    static ENGINE: std::sync::OnceLock<(Arc<Rules>, Arc<Policy>)> = std::sync::OnceLock::new();
    ENGINE.get_or_init(|| engine(|_| Action::Mask)).clone()
}

#[test]
fn keys_with_their_mark_in_the_middle_are_masked_at_every_cut() {
    let (rules, _) = masking();
    // E-mail, which holds a run of its own, is not acted on.
    let secrets = |rule: &RuleInfo| if &*rule.kind == "secret" { Action::Mask } else { Action::Log };
    let policy = rules.policy(Direction::Answer, secrets, Switches::default());
    let logging = (rules.clone(), Arc::new(policy));
    let text = "bot110201543:AAq8Zr2LmX0vT5bNc7KpWd3HsYfJ6gRa1uE, \u{200b}Zr\u{200b}28Q~LmX0vT5bNc7KpWd3HsYfJ6gRa1uEo9iQtBw; \
                9f86d081884c7d659a2feaa0c55ad015-us21 (q8Zr2LmX0vT5bN.atlasv1.c7KpWd3HsYfJ6gRa1uEo9iQtBw4xMq8Zr2LmX0vT5bNc7\
                KpWd3HsYfJ6gRa1) 9f86d081884c7d659a2feaa0c55ad0159f86NRAL \
                q8Zr2LmX0vT5bNc7KpWd3HsYfJ6gRa1uEo9iQtBw4xMq8Zr2LmX0vT5bNc7KpWd3HsYf/J6gRa1u+AStLmX0vQ==";
    let expect = "bot[SECRET_1], \u{200b}[SECRET_2]; [SECRET_3] ([SECRET_4]) [SECRET_5] [SECRET_6]";
    for engine in [masking(), logging] {
        for cut in (0..=text.len()).filter(|cut| text.is_char_boundary(*cut)) {
            let (a, b) = text.split_at(cut);
            assert_eq!(stream(&engine, [a, b].into_iter()).0, expect, "cut at {cut}");
        }
        assert_eq!(stream(&engine, pieces(text, 1)).0, expect);
        assert_eq!(whole(&engine, text).0, expect);
    }
}

#[test]
fn values_are_masked_at_every_cut() {
    let engine = masking();
    let text = "Mail a\u{200b}lice@corp.com or bob@corp.com, call (212) 555-0123; alice@corp.com has \
                4111 1111 1111 1111 and sk-T3BlbkFJx9Qa7Lm2Zp4Rv8Wc6Yd1Nf5Hg0JkSbTe3UiXo.";
    let expect = "Mail [EMAIL_1] or [EMAIL_2], call [PHONE_1]; [EMAIL_1] has [CREDIT_CARD_1] and [SECRET_1].";
    for cut in 0..=text.len() {
        if text.is_char_boundary(cut) {
            let (a, b) = text.split_at(cut);
            assert_eq!(stream(&engine, [a, b].into_iter()).0, expect, "cut at {cut}");
        }
    }
    assert_eq!(whole(&engine, text).0, expect);
}

/// Names inside of values that are inside of values: which of them is read does not depend on what ended first.
#[test]
fn values_inside_of_values_are_the_same_for_every_cut() {
    let engine = masking();
    for text in [
        r#"secret="aa bb password='cc dd token=example/password=Hunter2Zq9'""#,
        r#"secret="aa bb password='cc dd token=example' password=Hunter2Zq9" token=Zq8_kLmN4xWv"#,
        r#"password='a secret="b token='c password=Hunter2Zq9' d" e' password=Zq8_kLmN4xWv"#,
    ] {
        let expect = whole(&engine, text);
        for size in [1, 2, 3, 5, 8] {
            assert_eq!(stream(&engine, pieces(text, size)), expect, "{text} by {size}");
        }
        for (at, _) in text.char_indices() {
            let (left, right) = text.split_at(at);
            assert_eq!(stream(&engine, [left, right].into_iter()), expect, "{text} cut at {at}");
        }
    }
}

/// The digits before a mark, spread over more raw bytes than are held for a mark that may come, are no part of a token: whether
/// they were let go before the mark came must not matter.
#[test]
fn a_stretched_lead_is_the_same_for_every_cut() {
    let rules = engine(|_| Action::Mask);
    for zeros in [0, 3, 7, 8, 11, 13, 16] {
        for digits in [8, 9, 10] {
            let stretched = |text: &str| -> String {
                text.chars()
                    .flat_map(|c| std::iter::once(c).chain(std::iter::repeat_n('\u{200b}', zeros)))
                    .collect()
            };
            let text = stretched(&format!("{}:AA{}", &"1102015431"[..digits], "x".repeat(33)));
            let expect = whole(&rules, &text);
            for size in [1, 2, 5, 40, 41, 300] {
                assert_eq!(
                    stream(&rules, pieces(&text, size)),
                    expect,
                    "{zeros} zeros, {digits} digits, {size} bytes"
                );
            }
        }
    }
}

/// With one rule alone nothing is held for the sake of another: what it holds itself must do, at every cut of its own examples, and is
/// no more than is said of it.
#[test]
fn each_rule_alone_is_the_same_for_every_cut() {
    for spec in Rules::builtin_specs() {
        let policy = BUILTIN.policy(
            Direction::Answer,
            |rule| if *rule.id == *spec.id { Action::Mask } else { Action::Off },
            Switches::default(),
        );
        let engine = (BUILTIN.clone(), Arc::new(policy));
        let (_, held) = BUILTIN.max_held(&engine.1);
        for example in spec.examples.matches.iter().filter(|example| example.len() < 300) {
            let text = format!("say {example} then {example}");
            let expect = whole(&engine, &text);
            assert!(expect.0 != text, "{}: {text}", spec.id);
            let (mut scanner, mut masker) = (Scanner::new(&engine.0, &engine.1), Masker::new());
            let (mut out, behind) =
                (String::new(), format!("{}{text}", "g gh s sk A AK - -- e ey x xo 1 12 ".repeat(40)));
            for piece in pieces(&behind, 1) {
                scanner.push(piece, &mut masker, &mut out);
                assert!(scanner.held() <= held, "{}: {} held of {text}", spec.id, scanner.held());
            }
            scanner.finish(&mut masker, End::Whole, &mut out);
            assert!(out.ends_with(&expect.0), "{}: {text} by bytes: {out}", spec.id);
            for (at, _) in text.char_indices() {
                let (left, right) = text.split_at(at);
                assert_eq!(
                    stream(&engine, [left, right].into_iter()),
                    expect,
                    "{}: {text} cut at {at}",
                    spec.id
                );
            }
        }
    }
}
