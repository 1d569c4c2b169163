//! Stand-ins in JSON: of the value's type, the same at every cut, and no findings when they come back. And nothing else is one.

use proptest::prelude::*;

use super::cuts::text;
use super::*;

type Engine = (Arc<Rules>, Arc<Policy>);

/// A text with stand-ins in JSON's shapes, and where each of them stands.
fn masked((rules, policy): &Engine, text: &str) -> (String, Vec<std::ops::Range<usize>>) {
    let mut masker = Masker::new();
    let mut all = Vec::new();
    rules.scan(policy, text, &mut all);
    let (mut out, mut sent, mut made) = (String::new(), 0, Vec::new());
    for found in &all {
        out.push_str(&text[sent..found.span.start]);
        let start = out.len();
        out.push_str(&masker.stand_in(found, &text[found.span.clone()], Shape::JsonString));
        made.push(start..out.len());
        sent = found.span.end;
    }
    out.push_str(&text[sent..]);
    (out, made)
}

#[test]
fn every_kind_keeps_its_type_and_is_not_found_again() {
    let engine = masking();
    for (value, expect) in [
        ("alice@corp.com", "email-1@masked.invalid"),
        ("(212) 555-0123", "(000) 000-0001"),
        ("212-555-0123 ext. 45", "000-000-0000 ext. 01"),
        ("+44 20 7946 0958", "+00 00 0000 0001"),
        ("4111 1111 1111 1111", "0000 0000 0000 0001"),
        ("219-09-9998", "000-00-0001"),
        ("203.0.113.9", "0.0.0.1"),
        ("2a00:1450:4001::2f", "100::1"),
        ("DE89 3704 0044 0532 0130 00", "DE00 0000 0000 0000 0000 01"),
        ("sk-T3BlbkFJx9Qa7Lm2Zp4Rv8Wc6Yd1Nf5Hg0JkSbTe3UiXo", "masked-1-xxxxxxxxxxxxxxxxxxxxxxx"),
        ("postgres://app:s3cr3tPw9@db.internal:5432/app", "postgres://masked-1.invalid"),
    ] {
        let (out, found) = masked(&engine, value);
        assert_eq!((out.as_str(), found.len()), (expect, 1));
        for around in [
            "{}",
            "to: {}",
            "\"password\": \"{}\"",
            "phone {} now",
            "ssn {}, card {}",
            "token={}",
            "Authorization: Bearer {}",
            "ip [{}]:80",
            "<{}>",
        ] {
            let history = around.replace("{}", expect);
            let mut again = Vec::new();
            engine.0.scan(&engine.1, &history, &mut again);
            assert!(again.is_empty(), "{history}: {again:?}");
        }
    }
}

/// Values that are written much like stand-ins.
#[test]
fn what_only_looks_like_a_stand_in_is_found() {
    let own = Rules::parse(
        r#"
- {id: customer, kind: customer, pattern: "CUST-[0-9]{8}", examples: {match: [CUST-00012345, CUST-90000001]}}
- {id: staff, kind: staff, pattern: "EMP-[0-9]{7}", examples: {match: [EMP-0001234]}}
- {id: account, kind: account, terms: ["00012345", "9000012345"], examples: {match: ["00012345", "9000012345"]}}
# Of a kind that has stand-ins: what the numbers of another plan are, a number of zeros may be.
- {id: nino, kind: ssn, pattern: "[A-Z]{2}[0-9]{7}[A-Z]", examples: {match: [QQ0012345C]}}
"#,
    );
    let own = own.expect("the rules parse");
    let rules = Rules::compile(&own).expect("the rules compile");
    assert_eq!(rules.check(&own), Vec::new());
    let (rules, policy) = masking();
    for text in [
        "0012345@corp.com",
        "00012345@uni.edu",
        "9001234.smith@uni.edu",
        "alice@masked.invalid.com",
        "password = \"0000012345aB!\"",
        "password=0.0.1/Kq8Zr2LmX0v",
        "password=\"S3cr3tPw9x@masked.invalid\"",
        "token: 9000001.Kq8ZrW2LmX0vT5bN",
    ] {
        let mut found = Vec::new();
        rules.scan(&policy, text, &mut found);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
    }
}

/// Escapes are no part of a value, and of none that stands for it.
#[test]
fn stand_ins_are_made_and_known_by_what_escapes_stand_for() {
    let switches = Switches { decode: Escapes::new(&[Escape::Html, Escape::Percent]), ..Switches::default() };
    let rules = BUILTIN.clone();
    let engine = (rules.clone(), Arc::new(rules.policy(Direction::Answer, |_| Action::Mask, switches)));
    for (value, expect) in [
        ("4111%201111%201111%201111", "0000 0000 0000 0001"),
        ("%28212%29%20555-0123", "(000) 000-0001"),
        ("2001%3Adb8%3A%3A1", "100::1"),
        ("203.0.113.9%2F24", "0.0.0.1/24"),
        ("&#52;&#49;11111111111111", "0000000000000001"),
        ("alice%40corp.com", "email-1@masked.invalid"),
        ("postgres%3A//app:s3cr3tPw9%40db.internal", "postgres://masked-1.invalid"),
    ] {
        assert_eq!(masked(&engine, value).0, expect, "{value}");
    }
    for text in ["to email-1%40masked.invalid", "ip 100%3A%3A1a", "phone %28000%29%20000-0001"] {
        assert_eq!(masked(&engine, text), (text.to_owned(), Vec::new()));
    }
}

/// What a model may write that is a stand-in, nearly one, or begins as one does.
fn near() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        "[a-z]{0,2}email-[0-9]{0,3}@masked\\.invalid[a-z.]{0,2}",
        "[a-z0-9.]{0,6}@masked\\.invalid",
        "masked-[0-9]{1,3}-x{0,24}[a-zA-Z0-9]{0,6}",
        "(postgres|https|S3cret)://masked-[0-9]{1,2}\\.invalid[/a-z]{0,2}",
        "0\\.0\\.[0-9]{1,3}\\.[0-9]{1,3}(/[0-9]{1,3}|/[a-zA-Z0-9]{9})?",
        "100::[0-9a-f]{1,5}(/[0-9]{1,3})?",
        "[0 -]{0,4}0{2,9}[ -]?[0-9]{4,5}[a-zA-Z]{0,3}",
        "90{3,9}[0-9]{1,5}(\\.[A-Za-z0-9]{8,16})?",
        "0{3,7}[0-9]{3}@corp\\.com",
        "DE00[0X]{10,18}[0-9]{0,5}",
    ];
    let before = prop::sample::select(&["", "", "password=\"", "token: ", "phone ", "ip ", " ", "x"][..]);
    let after = prop::sample::select(&["", "", "\"", " ", ", ", "/x", "%"][..]);
    (before, value, after).prop_map(|(before, value, after)| format!("{before}{value}{after}"))
}

/// Whether a value is a stand-in by the page for operators.
fn is_listed(kind: &str, value: &str) -> bool {
    let digits = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let email = |value: &str| {
        let local = value.strip_suffix("@masked.invalid");
        local
            .and_then(|local| local.rsplit_once("email-"))
            .filter(|(_, n)| digits(n, 5))
            .map(|(x, _)| x.len())
    };
    match kind {
        "email" => email(value).is_some(),
        "secret" => {
            let fill = value.strip_prefix("masked-").and_then(|rest| rest.split_once('-'));
            let url = value.split_once("://masked-").and_then(|(_, rest)| rest.strip_suffix(".invalid"));
            let filled = fill.is_some_and(|(n, fill)| digits(n, 5) && fill.bytes().all(|byte| byte == b'x'));
            filled && [16, 32, 64].contains(&value.len())
                || url.is_some_and(|n| digits(n, 5))
                || email(value) == Some(0)
        }
        "ip_address" => {
            let (bare, prefix) = value.split_once('/').unwrap_or((value, "0"));
            let v4 = bare.strip_prefix("0.0.").is_some_and(|rest| rest.split('.').all(|n| digits(n, 3)));
            let v6 = bare.strip_prefix("100::").is_some_and(|n| n.bytes().all(|b| b.is_ascii_hexdigit()));
            (v4 || v6) && digits(prefix, 3)
        }
        _ => {
            let digits: Vec<u8> = value.bytes().filter(u8::is_ascii_digit).collect();
            digits.len() >= 7 && digits[..digits.len() - 5].iter().all(|digit| *digit == b'0')
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// What stands for a value stays what it is, however often a text comes back.
    #[test]
    fn texts_that_come_back_are_not_renamed(text in text()) {
        let engine = &masking();
        let (once, made) = masked(engine, &text);
        let mut all = Vec::new();
        engine.0.scan(&engine.1, &once, &mut all);
        for found in &all {
            // With what stands beside it, it may be something else, and what is left over of it too.
            let cut = all.iter().any(|before| before.span.end == found.span.start);
            let inside = made.iter().any(|made| made.start <= found.span.start && found.span.end <= made.end);
            prop_assert!(!inside || cut, "{} of {once}", &once[found.span.clone()]);
        }
    }

    /// Stand-ins aside, the same is found as by rules that know of none.
    #[test]
    fn nothing_but_stand_ins_is_left_alone(parts in prop::collection::vec(prop_oneof![1 => text(), 3 => near()], 1..4)) {
        let text = parts.concat();
        let ((rules, policy), blind) = (masking(), blind());
        let (mut found, mut all) = (Vec::new(), Vec::new());
        rules.scan(&policy, &text, &mut found);
        blind.scan(&policy, &text, &mut all);
        let covered = |span: &std::ops::Range<usize>| {
            let over = |at| found.iter().any(|found| found.span.contains(&at));
            span.clone().all(over)
        };
        for other in all.iter().filter(|other| !covered(&other.span)) {
            let value = &text[other.span.clone()];
            // Of one that is cut to what it adds, the whole.
            let cut = all.iter().any(|before| before.span.end == other.span.start);
            let starts = text.char_indices().map(|(at, _)| at).filter(|at| *at < other.span.start);
            let is_listed = is_listed(&other.kind, value)
                || cut && starts.clone().any(|from| is_listed(&other.kind, &text[from..other.span.end]));
            prop_assert!(is_listed, "{value} of {text}");
        }
    }

    #[test]
    fn every_cut_gives_the_same_shapes(text in text(), size in 1_usize..9) {
        let engine = &masking();
        let (expect, _) = masked(engine, &text);
        let mut masker = Masker::new();
        let mut scanner = Scanner::new(&engine.0, &engine.1).shaped(Shape::JsonString);
        let mut out = String::new();
        for piece in pieces(&text, size) {
            scanner.push(piece, &mut masker, &mut out);
        }
        scanner.finish(&mut masker, End::Whole, &mut out);
        prop_assert_eq!(out, expect);
    }
}

fn masking() -> Engine {
    static ENGINE: std::sync::OnceLock<Engine> = std::sync::OnceLock::new();
    ENGINE.get_or_init(|| engine(|_| Action::Mask)).clone()
}

/// The same rules, which know no stand-ins.
fn blind() -> &'static Rules {
    static RULES: LazyLock<Rules> = LazyLock::new(|| {
        Rules::compile(&Rules::builtin_specs()).expect("built-in rules compile").knowing_no_stand_ins()
    });
    &RULES
}

/// A rule of one's own knows what is nobody's whoever looks for it; numbers of zeros may be values of its owner's.
#[test]
fn a_rule_of_ones_own_knows_some_stand_ins() {
    let mut specs = Rules::parse(
        "- {id: extension, kind: phone, pattern: '[0-9]{3}-[0-9]{4}'}\n- {id: mailbox, kind: email, pattern: '[a-z]{5}-[0-9]@[a-z]{6}[.][a-z]{7}'}\n",
    )
    .expect("rules");
    specs.retain(|spec| spec.detector.is_none());
    let rules = Arc::new(Rules::compile(&specs).expect("they compile"));
    let policy = Arc::new(rules.policy(Direction::Request, |_| Action::Mask, Switches::default()));
    let engine = (rules, policy);
    for (text, expect) in [
        ("000-0007", "[PHONE_1]"),
        ("555-0123", "[PHONE_1]"),
        ("email-7@masked.invalid", "email-7@masked.invalid"),
        ("alice-7@acorps.example", "[EMAIL_1]"),
    ] {
        assert_eq!(whole(&engine, text).0, expect);
    }
}
