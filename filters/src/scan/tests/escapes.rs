//! Values that are written with HTML entities and percent codes.

use proptest::prelude::*;

use super::cuts::text;
use super::*;

type Engine = (Arc<Rules>, Arc<Policy>);

fn rules() -> Arc<Rules> {
    static RULES: std::sync::OnceLock<Arc<Rules>> = std::sync::OnceLock::new();
    let compile = || {
        let mut specs = Rules::builtin_specs();
        let own = r##"
- {id: ticket, kind: ticket, pattern: "[A-Z]{2,4}-[0-9]{3,6}"}
- {id: names, kind: name, terms: [Acme Corp, "Müller & Söhne", 北京公司]}
"##;
        specs.extend(Rules::parse(own).expect("the rules parse"));
        Arc::new(Rules::compile(&specs).expect("the rules compile"))
    };
    RULES.get_or_init(compile).clone()
}

fn decoding(escapes: &[Escape], action: impl Fn(&RuleInfo) -> Action) -> Engine {
    let rules = rules();
    let switches = Switches { decode: Escapes::new(escapes), ..Switches::default() };
    let policy = rules.policy(Direction::Answer, action, switches);
    (rules, Arc::new(policy))
}

fn masking() -> Engine {
    static ENGINE: std::sync::OnceLock<Engine> = std::sync::OnceLock::new();
    ENGINE.get_or_init(|| decoding(&[Escape::Html, Escape::Percent], |_| Action::Mask)).clone()
}

#[test]
fn values_are_found_behind_their_escapes_at_every_cut() {
    let engine = masking();
    for (text, expect) in [
        ("mail alice%40corp.com now", "mail [EMAIL_1] now"),
        ("mail alice&#64;corp&period;com now", "mail [EMAIL_1] now"),
        ("mail &#97;&#108;&#x69;ce&commat;corp.com, alice@corp.com.", "mail [EMAIL_1], [EMAIL_1]."),
        ("mail alice&#64corp.com", "mail [EMAIL_1]"),
        ("mail a&ZeroWidthSpace;lice%E2%80%8B@corp.com", "mail [EMAIL_1]"),
        ("mail %61%6C%69%63%65%40%63%6F%72%70%2E%63%6F%6D", "mail [EMAIL_1]"),
        ("?to=alice%40corp.com&cc=bob%40corp.com&x=1", "?to=[EMAIL_1]&cc=[EMAIL_2]&x=1"),
        ("call &#40;212&#41;&nbsp;555&hyphen;0123;", "call [PHONE_1];"),
        ("call %2B1%20212%20555%200123.", "call [PHONE_1]."),
        ("card 4111%201111%201111%201111 and", "card [CREDIT_CARD_1] and"),
        ("card %34111111111111111 and", "card [CREDIT_CARD_1] and"),
        ("from 203.0.113&#46;9 and 2001&colon;db8&colon;&colon;1", "from [IP_ADDRESS_1] and [IP_ADDRESS_2]"),
        ("iban DE89%203704%200044%200532%200130%2000.", "iban [IBAN_1]."),
        ("key sk-T3BlbkFJx9Qa7L%6D2Zp4Rv8%57c6Yd1Nf5Hg0JkSbTe3UiXo end", "key [SECRET_1] end"),
        ("key s%6B-T3BlbkFJx9Qa7Lm2Zp4Rv8Wc6Yd1Nf5Hg0JkSbTe3UiXo end", "key [SECRET_1] end"),
        ("p%61ssword = \"hunter2!xQ9\" end", "p%61ssword = \"[SECRET_1]\" end"),
        ("password&equals;&quot;hunter2!xQ9&quot; end", "password&equals;&quot;[SECRET_1]&quot; end"),
        ("for M&uuml;ller &amp; S&ouml;hne and Acme%20Corp", "for [NAME_1] and [NAME_2]"),
        ("for %E5%8C%97%E4%BA%AC公司", "for [NAME_1]"),
        ("see AB&#45;1234.", "see [TICKET_1]."),
        ("key g\u{200b}hp_q8Zr2LmX0vT5bNc7KpWd3HsYfJ6gRa1uEo9i end", "key [SECRET_1] end"),
    ] {
        assert_eq!(whole(&engine, text).0, expect, "{text}");
        for cut in (0..=text.len()).filter(|cut| text.is_char_boundary(*cut)) {
            let (a, b) = text.split_at(cut);
            assert_eq!(stream(&engine, [a, b].into_iter()).0, expect, "{text} cut at {cut}");
        }
        assert_eq!(stream(&engine, pieces(text, 1)).0, expect, "{text} byte by byte");
    }
}

#[test]
fn one_layer_is_decoded_and_what_is_no_escape_is_not() {
    for text in [
        "alice%2540corp.com",
        "alice&amp;#64;corp.com",
        "alice&#37;40corp.com",
        "alice%26%2364;corp.com",
        "alice%4corp.com",
        "alice&commat corp.com",
        "alice&#00000000000000000000000064;corp.com",
        "alice%u0040corp.com",
        "50%40 of 100%, AT&T; a&b, x % 40",
        "%",
        "&",
        "alice%",
        "alice&#",
        "100%ff",
    ] {
        let engine = masking();
        assert_eq!(whole(&engine, text), (text.to_owned(), Vec::new()), "{text}");
        assert_eq!(stream(&engine, pieces(text, 1)).0, text, "byte by byte");
    }
    let html = decoding(&[Escape::Html], |_| Action::Mask);
    assert_eq!(whole(&html, "a%40corp.com b&#64;corp.com").0, "a%40corp.com [EMAIL_1]");
    let percent = decoding(&[Escape::Percent], |_| Action::Mask);
    assert_eq!(whole(&percent, "a%40corp.com b&#64;corp.com").0, "[EMAIL_1] b&#64;corp.com");
    let none = decoding(&[], |_| Action::Mask);
    assert_eq!(whole(&none, "a%40corp.com b&#64;corp.com").1, Vec::new());
}

/// What a text says as it stands is found, whatever its escapes would make of it.
#[test]
fn decoding_takes_no_finding_away() {
    let engine = masking();
    for (text, expect) in [
        ("postgres://app:p%40ss%2Fw0rd9@db.internal/app x", "[SECRET_1] x"),
        ("a%40b.c@corp.com x", "[EMAIL_1] x"),
        ("fe80::1ff:fe23:4567:890a%eth0 x", "[IP_ADDRESS_1] x"),
    ] {
        let plain = decoding(&[], |_| Action::Mask);
        assert!(!whole(&plain, text).1.is_empty(), "{text}");
        assert_eq!(whole(&engine, text).0, expect, "{text}");
    }
}

#[test]
fn what_may_become_an_escape_waits_until_it_is_decided() {
    let (rules, policy) = masking();
    for (text, held) in [
        ("all 50%", "50%"),
        ("all 50% ", ""),
        ("yes %4", "%4"),
        ("yes %4x ", ""),
        ("yes &am", "&am"),
        ("yes &a ", ""),
        ("yes &#000", "&#000"),
        ("to alice%4", "alice%4"),
        ("to alice%40corp", "alice%40corp"),
        ("call %28", "%28"),
    ] {
        let mut masker = Masker::new();
        let mut scanner = Scanner::new(&rules, &policy);
        let mut out = String::new();
        for piece in pieces(text, 1) {
            scanner.push(piece, &mut masker, &mut out);
        }
        assert_eq!(&text[out.len()..], held, "{text}");
        assert_eq!(scanner.held(), held.len(), "{text}");
    }
}

#[test]
fn a_finding_that_is_only_recorded_passes_with_its_escapes() {
    let engine = decoding(&[Escape::Percent], |_| Action::Log);
    let text = "to alice%40corp.com and sk-T3BlbkFJx9Qa7Lm2Zp4Rv8Wc6Yd1Nf5Hg0%4AkSbTe3UiXo.";
    let (out, findings) = whole(&engine, text);
    assert_eq!((out.as_str(), findings.len()), (text, 2));
    assert_eq!(stream(&engine, pieces(text, 1)), (out, findings));
}

/// Where nothing acts, nothing is held, whatever it may become.
#[test]
fn what_only_logs_holds_no_escape() {
    for action in [Action::Log, Action::Shadow] {
        let (rules, policy) = decoding(&[Escape::Html, Escape::Percent], |_| action);
        assert_eq!(rules.max_held(&policy), (0, 0));
        for text in
            ["all 50%", "yes %E2%80", "yes &am", "yes &#000", "to alice%40corp.c", "a%40b.com &commat"]
        {
            let mut scanner = Scanner::new(&rules, &policy);
            let (mut masker, mut out) = (Masker::new(), String::new());
            for piece in pieces(text, 1) {
                scanner.push(piece, &mut masker, &mut out);
                assert_eq!(scanner.held(), 0, "{out} of {text}");
            }
            assert_eq!(out, text);
        }
    }
}

/// Escapes of what prints nothing stretch a value like the characters themselves.
#[test]
fn a_value_that_escapes_stretch_past_the_bound_overran() {
    let (rules, policy) = masking();
    for (between, overran) in [("&shy;", false), (&*"%E2%80%8B".repeat(9), true)] {
        let stretched = |c: char| [c.to_string(), between.repeat(8)];
        let domain: String = "corporation.com".chars().flat_map(stretched).collect();
        let text = format!("alice@{domain}");
        for size in [1, 7, text.len()] {
            let (mut masker, mut out) = (Masker::new(), String::new());
            let mut scanner = Scanner::new(&rules, &policy);
            for piece in pieces(&text, size) {
                scanner.push(piece, &mut masker, &mut out);
            }
            scanner.finish(&mut masker, End::Whole, &mut out);
            assert_eq!(scanner.overran(), overran, "{between} in pieces of {size}");
        }
    }
}

/// Every character written in as many bytes as an escape may have, with what prints nothing between them.
fn padded(text: &str, between: usize) -> String {
    let escape = |c: char| format!("&#{:021};", c as u32);
    text.chars().map(|c| escape(c) + &escape('\u{200b}').repeat(between)).collect()
}

/// However a value is stretched by escapes, no more of it is held than may be, and nothing of it leaves once it has begun: it is
/// masked, or the text ends.
#[test]
fn what_escapes_stretch_is_held_within_the_bound_or_ends() {
    let mut overran = 0;
    for kind in ["", "phone"] {
        let acts = |rule: &RuleInfo| kind.is_empty() || *rule.kind == *kind;
        let (rules, policy) =
            decoding(
                &[Escape::Html, Escape::Percent],
                |rule| {
                    if acts(rule) { Action::Mask } else { Action::Off }
                },
            );
        let (_, most) = rules.max_held(&policy);
        assert_eq!(most, 4 * 319, "whatever acts");
        for (begins, value) in [
            ("alice@", "a-corporation-with-a-long-name.example.com"),
            ("", "+1 (212) 555-0123 ext. 12345"),
            ("", "4111 1111 1111 1111"),
            ("", "DE89 3704 0044 0532 0130 00"),
            ("", "2001:db8:1234:5678:9abc:def0:1234:5678"),
            ("ghp_", "q8Zr2LmX0vT5bNc7KpWd3HsYfJ6gRa1uEo9i"),
            ("postgres://app:", "s3cr3tPw9s3cr3tPw9s3cr3tPw9s3cr3tPw9@db.internal/app"),
            ("password = \"", "hunter2!hunter2!hunter2!hunter2!hunter2!hunter2!hunter2!\""),
            ("110201543:AA", "q8Zr2LmX0vT5bNc7KpWd3HsYfJ6gRa1uE"),
            ("", "Acme Corp"),
        ] {
            for between in [0, 2, 11] {
                let (head, tail) = (padded(begins, 0), padded(value, between));
                let text = format!("It is {head}{tail} and more");
                let one = {
                    let (mut scanner, mut masker) = (Scanner::new(&rules, &policy), Masker::new());
                    let mut out = String::new();
                    scanner.push(&text, &mut masker, &mut out);
                    scanner.finish(&mut masker, End::Whole, &mut out);
                    (scanner.overran(), masker.findings().len(), out)
                };
                for size in [1, 50] {
                    let (mut scanner, mut masker) = (Scanner::new(&rules, &policy), Masker::new());
                    let (mut out, mut left) = (String::new(), 0);
                    for piece in pieces(&text, size) {
                        left = out.len();
                        scanner.push(piece, &mut masker, &mut out);
                        let held = scanner.held();
                        assert!(held <= most, "{held} of {most} held of {value} with {between} between");
                        if scanner.overran() {
                            break;
                        }
                    }
                    if !scanner.overran() {
                        scanner.finish(&mut masker, End::Whole, &mut out);
                    }
                    assert_eq!(scanner.overran(), one.0, "{value} with {between} in pieces of {size}");
                    if one.0 {
                        overran += 1;
                        let left = Escapes::new(&[Escape::Html]).decode(&out[..left]).replace('\u{200b}', "");
                        let left = left.strip_prefix("It is ").unwrap_or_default();
                        // No more than a trigger may begin with.
                        let few = left.split('&').next().is_some_and(|left| left.len() <= 2)
                            || left == "password = \"";
                        assert!(few, "{left:?} left of {value} with {between}");
                    } else {
                        assert_eq!((masker.findings().len(), &out), (one.1, &one.2), "{value}, {between}");
                    }
                }
            }
        }
    }
    assert!(overran > 20, "{overran} overran");
}

/// Long runs of escapes in which nothing begins flow.
#[test]
fn harmless_escapes_flow() {
    let entities = |text: &str| text.chars().map(|c| format!("&#{};", c as u32)).collect::<String>();
    let codes = |text: &str| {
        text.chars()
            .flat_map(|c| c.to_string().into_bytes())
            .map(|byte| format!("%{byte:02X}"))
            .collect::<String>()
    };
    for kind in ["", "phone", "secret", "ip_address"] {
        let (rules, policy) = decoding(&[Escape::Html, Escape::Percent], |rule| {
            if kind.is_empty() || *rule.kind == *kind { Action::Mask } else { Action::Off }
        });
        for (part, most) in [
            ("中文", 120),
            ("ข้อความ", 120),
            ("Предложение", 1000),
            ("🎉", 120),
            ("小明@小红", 700),
            ("a\u{ad}b", 1000),
            ("1 2\u{a0}3 ", 500),
            ("17.5 203 48 ", 500),
            ("x", 600),
            ("/pfad/zu?q=", 200),
            ("&nbsp;", 100),
        ] {
            for text in [entities(&part.repeat(400)), codes(&part.repeat(400))] {
                let (mut scanner, mut masker) = (Scanner::new(&rules, &policy), Masker::new());
                let (mut out, mut held) = (String::new(), 0);
                for piece in pieces(&text, 7) {
                    scanner.push(piece, &mut masker, &mut out);
                    held = held.max(scanner.held());
                }
                scanner.finish(&mut masker, End::Whole, &mut out);
                assert!(!scanner.overran(), "{part} overran");
                assert!(held <= most, "{held} held of {part}");
                assert!(out == text, "{part}");
            }
        }
    }
}

/// One value has one stand-in, however it is escaped, and is put back as what it says.
#[test]
fn a_pseudonym_stands_for_what_the_value_says() {
    let rules = rules();
    let switches = Switches { decode: Escapes::new(&[Escape::Html, Escape::Percent]), ..Switches::default() };
    let policy = rules.policy(Direction::Request, |_| Action::Pseudonymise, switches.clone());
    let text = "alice%40corp.com alice&#64;corp.com alice@corp.com";
    let mut found = Vec::new();
    rules.scan(&policy, text, &mut found);
    let mut masker = Masker::new().with_pseudonyms(PseudonymKey::derive(b"secret", "acme"));
    let shown: Vec<String> =
        found.iter().map(|f| masker.stand_in(f, &text[f.span.clone()], Shape::Text)).collect();
    assert!(shown.len() == 3 && shown.iter().all(|one| *one == shown[0]), "{shown:?}");
    let answer = Arc::new(rules.policy(Direction::Answer, |_| Action::Pseudonymise, switches));
    let mut scanner = Scanner::new(&rules, &answer);
    let mut out = String::new();
    for piece in pieces(&format!("mail 50%{}", shown[0]), 3) {
        scanner.push(piece, &mut masker, &mut out);
    }
    scanner.finish(&mut masker, End::Whole, &mut out);
    assert_eq!(out, "mail 50%alice@corp.com");
}

/// A long text after an escape: the windows of both texts move on.
#[test]
fn long_texts_are_read_on_after_an_escape() {
    let engine = masking();
    let filler = "Ordinary words with 100% of nothing & more of it, %41 and &amp; too. ".repeat(400);
    let text = format!("a%40corp.com {filler}b&#64;corp.com {filler}a@corp.com {filler}b@corp.com");
    let expect = format!("[EMAIL_1] {filler}[EMAIL_2] {filler}[EMAIL_1] {filler}[EMAIL_2]");
    assert!(whole(&engine, &text).0 == expect);
    for size in [3, 50, 5000, 100_000] {
        assert!(stream(&engine, pieces(&text, size)).0 == expect, "pieces of {size}");
    }
    let key = format!("sk-T3BlbkFJx9Qa7Lm2Zp4R{}", "v8%41".repeat(4000));
    assert_eq!(whole(&engine, &format!("key {key} end")).0, "key [SECRET_1] end");
    assert_eq!(stream(&engine, pieces(&format!("key {key} end"), 7)).0, "key [SECRET_1] end");
    // Found only by what an escape stands for, and far longer than is read twice.
    let key = format!("s%6B-T3BlbkFJx9Qa7Lm2Zp4R{}", "v8".repeat(2000));
    assert_eq!(whole(&engine, &format!("key {key} end")).0, "key [SECRET_1] end");
    assert_eq!(stream(&engine, pieces(&format!("key {key} end"), 7)).0, "key [SECRET_1] end");
    // Runs without end behind an escape, in which something may be open all the time.
    for run in ["12 ".repeat(600), "7".repeat(1500), "a:".repeat(800), "a.".repeat(800)] {
        let text = format!("%41 {run} 4111 1111 1111 1111, a@corp.com");
        let expect = whole(&engine, &text);
        for size in [3, 400] {
            assert!(stream(&engine, pieces(&text, size)) == expect, "{} in pieces of {size}", &text[..20]);
        }
    }
}

/// What the text stands for is read beside it from an escape on, until that makes no difference any more.
#[test]
fn a_text_is_read_twice_only_around_escapes() {
    let (rules, policy) = masking();
    let words = "Ordinary words, some of them at 10:30 and 3 o'clock; version 1.2.3. ".repeat(60);
    for size in [1, 4, 64, 9000] {
        let mut scanner = Scanner::new(&rules, &policy);
        let (mut masker, mut out) = (Masker::new(), String::new());
        let mut push = |text: &str| {
            pieces(text, size).for_each(|piece| {
                scanner.push(piece, &mut masker, &mut out);
            });
            scanner.is_forked()
        };
        assert!(!push(&words));
        assert!(push("bob%40corp.com and "));
        assert!(!push(&words));
        assert!(push("bob&#64;corp.com and "));
        assert!(push("more, 100% of it"));
        assert!(!push(&words));
        scanner.finish(&mut masker, End::Whole, &mut out);
        let expect = format!("{words}[EMAIL_1] and {words}[EMAIL_1] and more, 100% of it{words}");
        assert!(out == expect, "pieces of {size}");
    }
}

/// Writes some characters of a text as escapes.
pub(super) fn escaped(text: &str, seed: u64) -> String {
    let mut state = seed | 1;
    let mut out = String::new();
    for c in text.chars() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        match state >> 59 {
            0..3 => out.push_str(&format!("&#{};", c as u32)),
            3..5 => out.push_str(&format!("&#x{:x};", c as u32)),
            5 => out.push_str(&format!("&#{}", c as u32)),
            6 => out.push_str(&format!("&#{:018};", c as u32)),
            7..10 => {
                c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| out.push_str(&format!("%{byte:02X}")))
            }
            10 => out
                .push_str(["%", "&", "&#", "%4", "&shy;", "%E2%80%8B", "&amp;"][(state >> 40) as usize % 7]),
            _ => out.push(c),
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_cut_gives_the_same(text in text(), seed in any::<u64>(), few in any::<bool>(), sizes in prop::collection::vec(1_usize..30, 1..6)) {
        let text = if few { format!("{text}{}", escaped(&text, seed)) } else { escaped(&text, seed) };
        let actions = [Action::Mask, Action::Mask, Action::Log, Action::Shadow, Action::Mask, Action::Off];
        let action = |rule: &RuleInfo| match seed % 4 {
            0 => Action::Mask,
            1 => Action::Log,
            _ => actions[(rule.id.len() + seed as usize) % actions.len()],
        };
        let engine = decoding(&[Escape::Html, Escape::Percent], action);
        let (rules, policy) = &engine;
        let (_, raw) = rules.max_held(policy);
        prop_assert!(raw <= 4 * 320, "four times the normalised bytes that may be held: {}", raw);
        let expect = whole(&engine, &text);
        let mut masker = Masker::new();
        let mut scanner = Scanner::new(rules, policy);
        let (mut out, mut rest) = (String::new(), text.as_str());
        for size in sizes.iter().cycle() {
            let Some(piece) = pieces(rest, *size).next() else { break };
            rest = &rest[piece.len()..];
            scanner.push(piece, &mut masker, &mut out);
            prop_assert!(scanner.held() <= raw, "{} of {raw} bytes held", scanner.held());
        }
        scanner.finish(&mut masker, End::Whole, &mut out);
        prop_assert_eq!(&(out, masker.findings().to_vec()), &expect);
        for size in [1, 4] {
            prop_assert_eq!(&stream(&engine, pieces(&text, size)), &expect, "pieces of {}", size);
        }
    }

    /// Escapes far apart: the two readings join and part again, wherever the pieces are cut.
    #[test]
    fn every_cut_gives_the_same_far_from_escapes(
        parts in prop::collection::vec((text(), any::<u64>(), 0_usize..1500), 1..5),
        size in 1_usize..400,
        observes in any::<bool>(),
    ) {
        let mut long = String::new();
        for (text, seed, len) in &parts {
            long.push_str(&escaped(text, *seed));
            let end = long.len() + *len;
            while long.len() < end {
                long.push_str(text);
                long.push(' ');
            }
        }
        let action = |rule: &RuleInfo| if observes && rule.id.len().is_multiple_of(2) { Action::Log } else { Action::Mask };
        let engine = decoding(&[Escape::Html, Escape::Percent], action);
        let expect = whole(&engine, &long);
        prop_assert_eq!(&stream(&engine, pieces(&long, size)), &expect, "pieces of {}", size);
        prop_assert_eq!(&stream(&engine, pieces(&long, 3)), &expect, "pieces of 3");
    }

    /// Every byte that is found without decoding is found with it.
    #[test]
    fn decoding_only_adds(text in text(), seed in any::<u64>()) {
        let text = escaped(&text, seed);
        let covered = |engine: &Engine| {
            let mut found = Vec::new();
            engine.0.scan(&engine.1, &text, &mut found);
            let mut covered = vec![false; text.len()];
            found.iter().for_each(|f| covered[f.span.clone()].fill(true));
            covered
        };
        let (plain, decoded) = (covered(&decoding(&[], |_| Action::Mask)), covered(&masking()));
        prop_assert!(plain.iter().zip(&decoded).all(|(plain, decoded)| *decoded || !plain));
    }

    /// A value whose characters are escaped, each of them or not, is found whole.
    #[test]
    fn however_a_value_is_escaped_it_is_found(seed in any::<u64>()) {
        for (value, mask) in [("alice@corp.com", "[EMAIL_1]"), ("4111 1111 1111 1111", "[CREDIT_CARD_1]"), ("212-555-0123", "[PHONE_1]")] {
            let mut state = seed | 1;
            let written: String = value.chars().map(|c| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                match state >> 61 {
                    0 => format!("&#{};", c as u32),
                    1 => format!("&#x{:X};", c as u32),
                    2 | 3 => format!("%{:02x}", c as u32),
                    _ => c.to_string(),
                }
            }).collect();
            let text = format!("it is {written} and more");
            prop_assert_eq!(whole(&masking(), &text).0, format!("it is {mask} and more"), "{}", text);
            prop_assert_eq!(stream(&masking(), pieces(&text, 1)).0, format!("it is {mask} and more"), "{}", text);
        }
    }
}

proptest! {
    // Long texts, read a byte at a time.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 8, failure_persistence: None, ..ProptestConfig::default() })]

    /// Escapes that stretch a text as far as they can: the bound holds after every push, and a text overran at every cut or at none.
    #[test]
    fn what_is_held_is_bounded_however_long_escapes_are(
        parts in prop::collection::vec((text(), 0_usize..14, any::<bool>()), 1..4),
        seed in any::<u64>(),
        sizes in prop::collection::vec(1_usize..60, 1..6),
    ) {
        let stretched = |(text, between, all): &(String, usize, bool)| if *all {
            padded(&text.chars().take(40).collect::<String>(), *between)
        } else {
            escaped(text, seed)
        };
        let text: String = parts.iter().map(stretched).collect();
        // None that only records: past the bound no text is refused for it, and what is counted depends on the cuts.
        let actions = [Action::Mask, Action::Mask, Action::Off, Action::Mask];
        let action = |rule: &RuleInfo| match seed % 3 {
            0 => Action::Mask,
            _ => actions[(rule.id.len() + seed as usize % 7) % actions.len()],
        };
        let (rules, policy) = decoding(&[Escape::Html, Escape::Percent], action);
        let (_, most) = rules.max_held(&policy);
        let run = |sizes: &[usize]| {
            let (mut scanner, mut masker) = (Scanner::new(&rules, &policy), Masker::new());
            let (mut out, mut rest) = (String::new(), text.as_str());
            for size in sizes.iter().cycle() {
                let Some(piece) = pieces(rest, *size).next() else { break };
                rest = &rest[piece.len()..];
                scanner.push(piece, &mut masker, &mut out);
                prop_assert!(scanner.held() <= most, "{} of {most} bytes held", scanner.held());
            }
            scanner.finish(&mut masker, End::Whole, &mut out);
            Ok((scanner.overran(), out, masker.findings().to_vec()))
        };
        let (overran, out, findings) = run(&[text.len().max(1)])?;
        for sizes in [&sizes[..], &[1]] {
            let other = run(sizes)?;
            prop_assert_eq!(other.0, overran);
            if !overran {
                prop_assert_eq!((&other.1, &other.2), (&out, &findings));
            }
        }
    }
}

/// Of what may be held, all but what a unit may take and an escape's beginning may be a value's.
#[test]
fn a_value_of_as_many_raw_bytes_as_may_be_is_found_whole() {
    let (rules, policy) = masking();
    let domain = format!("{}.", "b".repeat(51));
    let mail = format!("a@{}com", padded(&domain, 0));
    assert_eq!(mail.len(), rules.max_held(&policy).1 - 23);
    let text = format!("{mail} x");
    for size in [1, 50, text.len()] {
        let (mut scanner, mut masker, mut out) =
            (Scanner::new(&rules, &policy), Masker::new(), String::new());
        for piece in pieces(&text, size) {
            scanner.push(piece, &mut masker, &mut out);
        }
        scanner.finish(&mut masker, End::Whole, &mut out);
        assert_eq!((out.as_str(), scanner.overran()), ("[EMAIL_1] x", false), "by {size}");
    }
}

/// The bound on what is held may fall inside of a character.
#[test]
fn a_run_that_escapes_stretch_slides_by_whole_characters() {
    let (rules, policy) = masking();
    let (_, most) = rules.max_held(&policy);
    for escapes in 17..20 {
        let text = format!("x {}", (padded(&"a".repeat(escapes), 0) + "é").repeat(6));
        let (mut scanner, mut masker, mut out) =
            (Scanner::new(&rules, &policy), Masker::new(), String::new());
        for piece in pieces(&text, 1) {
            scanner.push(piece, &mut masker, &mut out);
            assert!(scanner.held() <= most, "{} of {most} held", scanner.held());
        }
        scanner.finish(&mut masker, End::Whole, &mut out);
        assert!(out == text);
    }
}
