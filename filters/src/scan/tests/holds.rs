//! The hold-back contract, line by line.

use super::*;

/// What was sent of `text`, pushed a byte at a time, before it ended.
fn sent(action: impl Fn(&RuleInfo) -> Action, text: &str) -> String {
    let (rules, policy) = engine(action);
    let mut masker = Masker::new();
    let mut scanner = Scanner::new(&rules, &policy);
    let mut out = String::new();
    for piece in pieces(text, 1) {
        assert_eq!(scanner.push(piece, &mut masker, &mut out), Flow::Pass);
    }
    out
}

fn only(kind: &'static str) -> impl Fn(&RuleInfo) -> Action {
    move |rule| if &*rule.kind == kind { Action::Mask } else { Action::Off }
}

#[test]
fn the_longest_suffix_that_can_still_match_is_held() {
    for (kind, text, held) in [
        ("email", "write to alice", "alice"),
        ("email", "write to alice ", ""),
        ("email", "write to alice@corp.com", "alice@corp.com"),
        ("email", "an andré", "andré"),
        ("ip_address", "from ｆｅ８０", "ｆｅ８０"),
        ("secret", "the key gh", "gh"),
        ("secret", "the key (", ""),
        // A key that has its mark in the middle may begin like any word.
        ("secret", "the key is q", "q"),
        ("secret", "on to 110201543:A", "110201543:A"),
        ("secret", "on to x.9f86d081884c7d659a2feaa0c55ad015-u", "x.9f86d081884c7d659a2feaa0c55ad015-u"),
        ("secret", "on to sha512-/9f86d081884c7d659a2feaa0", "sha512-/9f86d081884c7d659a2feaa0"),
        ("secret", "AKIAZ7Q2MX", "AKIAZ7Q2MX"),
        ("phone", "call (21", "(21"),
        ("phone", "call +", "+"),
        ("phone", "call 212-555-01", "212-555-01"),
        ("iban", "pay DE89 37", "DE89 37"),
        // Italy and Iceland have accounts, no country is `of` or `in`.
        ("iban", "pay it", "it"),
        ("iban", "this is ", "is "),
        ("iban", "the end of ", ""),
        ("iban", "the end o", "o"),
        ("iban", "pay IN8", ""),
        ("ip_address", "from fe80:", "fe80:"),
        ("ip_address", "from 10.0.", "10.0."),
        ("secret", "password = hunter2", "hunter2"),
    ] {
        let out = sent(only(kind), text);
        assert_eq!(&text[out.len()..], held, "{kind}: {text}");
    }
}

#[test]
fn a_long_local_part_slides() {
    let text = "a".repeat(200);
    assert_eq!(sent(only("email"), &text).len(), 200 - 64);
    let masked = sent(only("email"), &format!("{text}@corp.com "));
    assert_eq!(masked, format!("{}[EMAIL_1] ", "a".repeat(200 - 64)));
}

#[test]
fn an_open_ended_key_leaves_its_mask_at_once_and_holds_nothing() {
    let key = "sk-T3BlbkFJx9Qa7Lm2Zp4R";
    assert_eq!(sent(only("secret"), &format!("key {key}")), "key [SECRET_1]");
    assert_eq!(sent(only("secret"), &format!("key {key}{}", "v8".repeat(5000))), "key [SECRET_1]");
    assert_eq!(
        sent(only("secret"), &format!("key {key}{} end. ", "v8".repeat(5000))),
        "key [SECRET_1] end. "
    );
}

#[test]
fn a_run_before_a_mark_slides() {
    let run = "9f8".repeat(200);
    // And the last of it, which may be the mark's first.
    assert_eq!(sent(only("secret"), &run).len(), run.len() - 80 - 1);
    let text = format!("{run} 110201543:AAq8Zr2LmX0vT5bNc7KpWd3HsYfJ6gRa1uE");
    assert_eq!(sent(only("secret"), &text), format!("{run} [SECRET_1]"));
    let logged = |rule: &RuleInfo| if &*rule.kind == "secret" { Action::Log } else { Action::Off };
    assert_eq!(sent(logged, &text), text);
}

#[test]
fn a_number_without_end_flows() {
    let (rules, policy) = engine(|_| Action::Mask);
    for text in ["7".repeat(3000), "12 ".repeat(1000), "1 ".repeat(1500), "555-".repeat(800)] {
        let mut masker = Masker::new();
        let mut scanner = Scanner::new(&rules, &policy);
        let mut out = String::new();
        for piece in pieces(&text, 3) {
            scanner.push(piece, &mut masker, &mut out);
            assert!(scanner.held() <= 130, "{} held of {text}", scanner.held());
        }
    }
}

#[test]
fn what_only_logs_holds_nothing() {
    for action in [Action::Log, Action::Shadow, Action::Off] {
        for text in [
            "alice@corp.co",
            "call (212) 555-01",
            "sk-T3Blbk",
            "fe80::1:2",
            "password = hunter",
            "DE89 3704 00",
        ] {
            assert_eq!(sent(|_| action, text), text, "{action:?}");
        }
    }
}

#[test]
fn no_rule_holds_more_than_its_maximum() {
    let (rules, policy) = engine(|_| Action::Mask);
    let max = rules.infos().map(|(_, rule)| rule.max_hold).max().expect("there are rules");
    assert!(max <= 320);
    for part in [
        "a",
        "a.",
        "1",
        "1.",
        "@",
        "eyJa",
        "a@b.c",
        "-",
        "-----BEGIN ",
        "http://a:",
        "token=",
        "é",
        "DE1",
        "f:",
        "字",
        " ",
    ] {
        let text = part.repeat(2000 / part.len());
        let mut masker = Masker::new();
        let mut scanner = Scanner::new(&rules, &policy);
        let mut out = String::new();
        for piece in pieces(&text, 1) {
            scanner.push(piece, &mut masker, &mut out);
            assert!(scanner.held() <= 4 * max, "{} held of {part:?}", scanner.held());
        }
    }
}

#[test]
fn hiding_a_value_among_characters_that_print_nothing_does_not_help() {
    let (rules, policy) = engine(|_| Action::Mask);
    let flood = "\u{200b}".repeat(2000);
    for text in [
        format!("mail alice@{flood}corp.com"),
        format!("call 212-555{flood}-0123"),
        format!("key sk-T3BlbkFJ{flood}x9Qa7Lm2Zp4R"),
        format!("key sk-T3BlbkFJx9Qa7Lm2Zp4R{flood}v8Wc6 end"),
        format!("IBAN DE89 3704{flood}0044 0532 0130 00"),
    ] {
        let mut masker = Masker::new();
        let mut scanner = Scanner::new(&rules, &policy);
        let mut out = String::new();
        for piece in pieces(&text, 3) {
            scanner.push(piece, &mut masker, &mut out);
            assert!(scanner.held() <= 4 * 320, "{} held", scanner.held());
        }
        scanner.finish(&mut masker, End::Whole, &mut out);
        assert_eq!(out, whole(&(rules.clone(), policy.clone()), &text).0);
        assert!(out.contains("_1]"), "{out}");
    }
}

#[test]
fn a_broken_stream_discards_what_was_held() {
    let (rules, policy) = engine(|_| Action::Mask);
    let mut masker = Masker::new();
    let mut scanner = Scanner::new(&rules, &policy);
    let mut out = String::new();
    scanner.push("write to alice@corp", &mut masker, &mut out);
    assert_eq!((out.as_str(), scanner.held()), ("write to ", 10));
    assert_eq!(scanner.discard(), 10);
    scanner.finish(&mut masker, End::Whole, &mut out);
    assert_eq!(out, "write to ");
}

#[test]
fn an_answer_may_repeat_what_its_request_carried() {
    let rules = BUILTIN.clone();
    let profile = Profile::builtin("chat").expect("is built in");
    let request = rules.policy_of(&profile, Direction::Request);
    let answer = Arc::new(rules.policy_of(&profile, Direction::Answer));
    let mut masker = Masker::new();
    let mut found = Vec::new();
    let text = "I am alice@corp.com";
    rules.scan(&request, text, &mut found);
    masker.note("messages[0].content", &found[0], &text[found[0].span.clone()]);
    let mut scanner = Scanner::new(&rules, &answer);
    let mut out = String::new();
    scanner.push("Hello Alice@corp.com, ask bob@corp.com.", &mut masker, &mut out);
    scanner.finish(&mut masker, End::Whole, &mut out);
    assert_eq!(out, "Hello Alice@corp.com, ask [EMAIL_1].");
    // Not where the profile says no, nor in another request.
    let strict = Profile::builtin("strict").expect("is built in");
    for policy in [rules.policy_of(&strict, Direction::Answer), {
        let switches = Switches { echo: true, ..Switches::default() };
        rules.policy(Direction::Request, |_| Action::Mask, switches)
    }] {
        out.clear();
        let mut scanner = Scanner::new(&rules, &Arc::new(policy));
        scanner.push("Hello Alice@corp.com.", &mut masker, &mut out);
        scanner.finish(&mut masker, End::Whole, &mut out);
        assert!(!out.contains("Alice"), "{out}");
    }
}

/// After a block nothing more leaves, whatever comes, and nothing is kept of it.
#[test]
fn nothing_leaves_after_a_block() {
    let (rules, policy) = engine(|_| Action::Block);
    for size in [1, 7, 100] {
        let mut masker = Masker::new();
        let mut scanner = Scanner::new(&rules, &policy);
        let mut out = String::new();
        let mut blocked = false;
        for piece in pieces(
            "To alice@corp.com, and on it goes with plain words, one after the other, to the end.",
            size,
        ) {
            blocked |= scanner.push(piece, &mut masker, &mut out) != Flow::Pass;
            assert!(!blocked || scanner.held() == 0);
        }
        assert!(blocked);
        assert!(scanner.finish(&mut masker, End::Whole, &mut out) != Flow::Pass, "it stays blocked");
        assert_eq!(out, "To ", "by {size}");
    }
}

/// A long piece is read in slices that end between characters.
#[test]
fn a_long_piece_is_cut_between_characters() {
    let (rules, policy) = engine(|_| Action::Mask);
    for lead in 0..4 {
        let text =
            format!("{}{} alice@corp.com {}", "x".repeat(lead), "字é🎉 ".repeat(4000), "字".repeat(9000));
        let (out, _) = stream(&(rules.clone(), policy.clone()), std::iter::once(text.as_str()));
        assert_eq!(out, text.replace("alice@corp.com", "[EMAIL_1]"));
        assert_eq!(whole(&(rules.clone(), policy.clone()), &text).0, out);
    }
}

/// A key is the request's own only if it is so to its last letter: until then it waits, whatever the cuts.
#[test]
fn an_answer_may_repeat_a_key_but_no_other_that_begins_alike() {
    let rules = BUILTIN.clone();
    let profile = Profile::builtin("chat").expect("is built in");
    let request = rules.policy_of(&profile, Direction::Request);
    let answer = Arc::new(rules.policy_of(&profile, Direction::Answer));
    let jwt = |payload: &str| {
        format!("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ{payload}.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJVadQssw5c")
    };
    let pem = |body: &str| {
        format!("-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B{body}\n-----END PRIVATE KEY-----")
    };
    let slack = |end: &str| format!("xoxb-2134567890-2134567890123-{end}");
    let long = "qR7".repeat(400);
    for (own, other) in [
        (jwt("hbGljZSJ9"), jwt("ib2IifQ")),
        (pem("AQEFAASCBKcwggSjAgEAAoIBAQ"), pem("AQEFAASCBKgwggSkAgEAAoIBAQ")),
        (slack("pQ2wE4rT6yU8iO0pAsDfGhJk"), slack("zX9cV7bN5mQ1wE3rT5yU7iO9")),
    ] {
        let carrying = |texts: &[&str]| {
            let mut masker = Masker::new();
            for text in texts {
                let mut found = Vec::new();
                rules.scan(&request, text, &mut found);
                assert!(found.len() == 1 && found[0].span == (0..text.len()), "{text}: {found:?}");
                masker.note("messages[0].content", &found[0], text);
            }
            masker
        };
        let kept = format!("{own} end");
        let stops = format!("{own}{}", ".".repeat(2000));
        let dots = !own.starts_with("-----");
        let cut = &own[..own.len() - 1];
        for (text, end, expect) in [
            (kept.as_str(), End::Whole, kept.as_str()),
            (&own, End::Whole, &own),
            (cut, End::CutShort, "[SECRET_1]"),
            (&format!("{other} end"), End::Whole, "[SECRET_1] end"),
            (&format!("{other} then {own}."), End::Whole, &format!("[SECRET_1] then {own}.")),
            // A run that would never end: it is a key with dots, as far as anybody can know.
            (&format!("{own}{}", ".".repeat(2000)), End::Whole, if dots { "[SECRET_1]" } else { &stops }),
            // Longer than is held for it.
            (&pem(&long), End::Whole, "[SECRET_1]"),
        ] {
            for size in [1, 2, 3, 7, text.len()] {
                // As a sentence ends with it.
                let said = if dots { format!("{own}.") } else { own.clone() };
                let mut masker = carrying(&[&said, &pem(&long)]);
                let mut scanner = Scanner::new(&rules, &answer);
                let mut out = String::new();
                for piece in pieces(text, size) {
                    scanner.push(piece, &mut masker, &mut out);
                    assert!(scanner.held() <= 4 * 320, "{} held", scanner.held());
                }
                scanner.finish(&mut masker, end, &mut out);
                assert_eq!(out, expect, "by {size}");
            }
        }
    }
}

/// Of a key without an open end every letter counts as well.
#[test]
fn an_answer_may_repeat_a_password_but_none_that_is_spelled_otherwise() {
    let rules = BUILTIN.clone();
    let profile = Profile::builtin("chat").expect("is built in");
    let request = rules.policy_of(&profile, Direction::Request);
    let answer = Arc::new(rules.policy_of(&profile, Direction::Answer));
    let own = "password: Zq8_kLmN4xWv";
    let mut masker = Masker::new();
    let mut found = Vec::new();
    rules.scan(&request, own, &mut found);
    masker.note("", &found[0], &own[found[0].span.clone()]);
    for (text, expect) in [
        (own, own),
        ("password: zQ8_KlMn4XwV", "password: [SECRET_1]"),
        ("password: Zq8-kLmN4xWv", "password: [SECRET_2]"),
    ] {
        let mut scanner = Scanner::new(&rules, &answer);
        let mut out = String::new();
        scanner.push(text, &mut masker, &mut out);
        scanner.finish(&mut masker, End::Whole, &mut out);
        let masked = expect.split('[').next();
        assert!(
            out == expect
                || expect != text && out.starts_with(masked.unwrap_or_default()) && out.contains("[SECRET_"),
            "{out}"
        );
    }
}

/// Written escapes are read where they stand, far behind what was dropped.
#[test]
fn written_escapes_far_into_a_stream() {
    let plain = "Plain words only. ".repeat(400);
    for size in [7, 700] {
        let engine = engine(|_| Action::Mask);
        let text = format!("{plain}x\\nalice@corp.com then {plain}x\\u003dbob@corp.com then");
        let expect = format!("{plain}x\\n[EMAIL_1] then {plain}x\\u003d[EMAIL_2] then");
        assert!(stream(&engine, pieces(&text, size)).0 == expect, "by {size}");
    }
}

/// A key that begins as one of the request and is another is told from its first byte to its last.
#[test]
fn a_key_that_turns_out_to_be_another_is_told_whole() {
    let rules = BUILTIN.clone();
    let profile = Profile::builtin("chat").expect("is built in");
    let request = rules.policy_of(&profile, Direction::Request);
    let answer = Arc::new(rules.policy_of(&profile, Direction::Answer));
    let key = |end: &str| format!("xoxb-2134567890-2134567890123-{end}");
    let (own, other) = (key("pQ2wE4rT6yU8iO0pAsDfGhJk"), key("zX9cV7bN5mQ1wE3rT5yU7iO9"));
    let text = format!("{other} end");
    for size in [1, 7, text.len()] {
        let mut masker = Masker::new();
        let mut found = Vec::new();
        rules.scan(&request, &own, &mut found);
        masker.note("", &found[0], &own);
        let mut scanner = Scanner::new(&rules, &answer).recording();
        let mut out = String::new();
        for piece in pieces(&text, size) {
            scanner.push(piece, &mut masker, &mut out);
        }
        scanner.finish(&mut masker, End::Whole, &mut out);
        assert_eq!(out, "[SECRET_1] end");
        let spans: Vec<_> =
            scanner.take_found().iter().map(|found| (found.span.start, found.span.end)).collect();
        assert_eq!(spans, [(0, other.len())], "by {size}");
    }
}
