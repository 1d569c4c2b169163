//! Numbers and terms at the edge of what they may be: what stands beside them, between their groups, and at a cut.

use super::precision::check;
use super::*;

#[test]
fn phones() {
    check(
        "phone",
        &[
            "⟨1 (212) 5550123⟩",
            "⟨(212) 5550123⟩",
            "⟨2125550123⟩",
            "⟨1-2125550123⟩",
            "⟨004930 901820⟩",
            "é⟨(212) 555-0123⟩",
            "⟨212-555-0123x5⟩%",
            "id: ⟨(212) 555-0123⟩",
            "⟨+44 0 7946 0958⟩",
            "⟨+49 30 901820x5⟩@",
            "1.2.3.4 ⟨0049 30 901820⟩",
            "tel ⟨0301 901820x5⟩%",
            "mobile of Wang: ⟨13912345678⟩",
            "tel ⟨0911-12-14-56⟩",
            "phone ⟨2024-12-34-567⟩",
            "phone ⟨2024-30-12-345⟩",
            "tel ⟨030 901820-12-5⟩",
            "mobile ⟨21-2-911-0123⟩",
            "tel ⟨040-12-1999-55⟩",
            "123) 212-555-0123",
            "x-+49 30 901820",
            "x0049 30 901820",
            "0049930 901820",
            "phone 212 - 5550123",
            "x212-555-0123",
            "order 7, 212 555 0123",
            "1.2125550123",
            "phone 6575 - 318724",
            "tel 030 901820-x",
            "Handy: 3782-82246-10005",
            "mobile of Wang: 1391234567 8",
            "phone 333333333",
            "phone 0123000000",
            "phone 31/12/2024 5",
            "12:00 49 30 901820",
            "+33 1 23 45 67 89:30",
            "212-555-0123/24",
            "2125550123/24",
        ],
    );
}

#[test]
fn social_security_numbers() {
    check(
        "ssn",
        &[
            "ssn ⟨219.09.9998⟩",
            "9:⟨219-09-9998⟩",
            "⟨219-09-9998⟩:3",
            "1 2) 219-09-9998",
            "2*219-09-9998",
            "ssn: A219-09-9998",
            "#219-09-9998",
            "219-09-9998@x",
            "ssn 219099998-5",
            "ssn 219 09 9998/x",
            "219 09 9998/x",
            "ssn 219.09.9998/x",
        ],
    );
}

#[test]
fn cards() {
    check(
        "credit_card",
        &[
            "[-⟨4111111111111111⟩]",
            "⟨5454 5454 5454 5454⟩",
            "5 ⟨3782 822463 10005⟩",
            "⟨4111 １１１１ １１１１ １１１１⟩",
            "+1 5 4111111111111111",
            "4111.1111.1111.1111",
            "5018 0000 0009 5",
            "4111 1111 11111111",
        ],
    );
}

#[test]
fn addresses() {
    check(
        "ip_address",
        &[
            "</td>⟨203.0.113.9⟩",
            "⟨1.1.1.1⟩",
            "7-203.0.113.9",
            "10.203.0.113.9",
            "x -203.0.113.9",
            "192.168.1.10-1-92.5.6",
        ],
    );
}

/// Loopback and the like are left alone, and nothing else for their sake.
#[test]
fn exempt_addresses() {
    for (name, text, expect) in [
        ("chat", "ping 127.0.0.1", "ping 127.0.0.1"),
        ("chat", "8 9 127.0.0.1", "8 9 127.0.0.1"),
        ("chat", "server 203.0.114.9", "server [IP_ADDRESS_1]"),
        ("coding", "route 10.0.0.0/8", "route 10.0.0.0/8"),
        ("coding", "card 4106 1234 5678 9010", "card [CREDIT_CARD_1]"),
    ] {
        let rules = BUILTIN.clone();
        let profile = Profile::builtin(name).expect("is built in");
        let engine = (rules.clone(), Arc::new(rules.policy_of(&profile, Direction::Answer)));
        assert_eq!(whole(&engine, text).0, expect, "{name}: {text}");
    }
}

/// What is cut short is called what it most likely was.
#[test]
fn numbers_cut_short() {
    let (rules, policy) = engine(|_| Action::Mask);
    for (text, expect) in [("41111111", "[CREDIT_CARD_1]"), ("+4930901", "[PHONE_1]")] {
        let (mut out, mut masker) = (String::new(), Masker::new());
        let mut scanner = Scanner::new(&rules, &policy);
        scanner.push(text, &mut masker, &mut out);
        scanner.finish(&mut masker, End::CutShort, &mut out);
        assert_eq!(out, expect);
    }
}

/// A number that is stretched past what may be held is known to have been, only where it is acted on.
#[test]
fn stretched_numbers_overrun() {
    let text = format!("card 4111 1111 1111 1{}111", "\u{200b}".repeat(300));
    for (action, expect) in [(Action::Mask, true), (Action::Log, false)] {
        let (rules, policy) = engine(|_| action);
        let (mut out, mut masker) = (String::new(), Masker::new());
        let mut scanner = Scanner::new(&rules, &policy);
        scanner.push(&text, &mut masker, &mut out);
        scanner.finish(&mut masker, End::Whole, &mut out);
        assert_eq!(scanner.overran(), expect, "{action:?}");
    }
}

/// Terms in all their spellings, and what only looks like them.
#[test]
fn terms() {
    let masked = |terms: &str, text: &str| {
        let rules = format!("- {{id: names, kind: name, terms: [{terms}]}}");
        let rules = Rules::compile(&Rules::parse(&rules).expect("parses")).expect("compiles");
        let policy = rules.policy(Direction::Answer, |_| Action::Mask, Switches::default());
        let engine = (Arc::new(rules), Arc::new(policy));
        let (out, findings) = whole(&engine, text);
        for (at, _) in text.char_indices() {
            let (left, right) = text.split_at(at);
            assert_eq!(
                stream(&engine, [left, right].into_iter()),
                (out.clone(), findings.clone()),
                "{text} at {at}"
            );
        }
        out
    };
    for (terms, text, expect) in [
        ("Constantinople", "to Constantinople.", "to [NAME_1]."),
        ("Donaudampfschifffahrt", "die Donaudampfschifffahrt", "die [NAME_1]"),
        ("falcon_9", "a falcon_9 b", "a [NAME_1] b"),
        ("한국전자", "우리 한국전자 제품", "우리 [NAME_1] 제품"),
        ("Acme", "我在Acme工作", "我在[NAME_1]工作"),
        ("Acme", "„Acme“", "„[NAME_1]“"),
        ("Yahoo!", "at Yahoo! now", "at [NAME_1] now"),
        ("Королёв", "Королев тут", "[NAME_1] тут"),
        ("アクメ", "ｱｸﾒ x", "[NAME_1] x"),
        ("Finanz", "die ﬁnanz x", "die [NAME_1] x"),
        ("Acme Corp", "the Acme　Corp x", "the [NAME_1] x"),
        ("Иванов", "Зданов тут", "Зданов тут"),
        ("アクメ", "テスト x", "テスト x"),
        ("'Acme № 5'", "Acme no 5 x", "[NAME_1] x"),
    ] {
        assert_eq!(masked(terms, text), expect, "{terms}");
    }
    // No two of a list are taken for the same.
    let customers = (10..100).map(|n| format!("customer{n}")).collect::<Vec<_>>().join(", ");
    assert_eq!(masked(&customers, "customer42"), "[NAME_1]");
    assert_eq!(masked("Alan, Qlan", "Qlan, Alan"), "[NAME_1], [NAME_2]");
}
