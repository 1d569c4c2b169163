use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::scan::tests::BUILTIN;
use crate::scan::{Action, Direction, Escape, Escapes, LookAlike, Policy, PseudonymKey, Rules, Switches};

const MAIL: &str = "alice.liddell@example-corp.com";
const CARD: &str = "4111111111111111";

fn guard(action: Action) -> (Arc<Rules>, Arc<Policy>) {
    let rules = BUILTIN.clone();
    let policy = Arc::new(rules.policy(Direction::Answer, |_| action, Switches::default()));
    (rules, policy)
}

fn run<'a>(
    guard: &(Arc<Rules>, Arc<Policy>),
    pieces: impl IntoIterator<Item = &'a str>,
    end: End,
) -> (String, Result<(), Halt>) {
    let mut masker = Masker::new();
    let mut arguments = Arguments::new(|| Scanner::new(&guard.0, &guard.1));
    let mut out = String::new();
    for piece in pieces {
        if let Err(halt) = arguments.push(piece, &mut masker, &mut out) {
            return (out, Err(halt));
        }
    }
    let result = arguments.finish(end, &mut masker, &mut out);
    assert_eq!(arguments.held(), 0, "nothing is held after the end");
    (out, result)
}

fn chars(text: &str) -> impl Iterator<Item = &str> {
    text.char_indices().map(|(at, character)| &text[at..at + character.len_utf8()])
}

/// Runs `text` whole, at every split point and character by character: one result, and nothing of the values in it.
fn check(text: &str, expect: &str) {
    let guard = guard(Action::Mask);
    let (out, result) = run(&guard, [text], End::Whole);
    assert_eq!((&*out, result), (expect, Ok(())), "{text}");
    for (at, _) in text.char_indices() {
        let (left, right) = text.split_at(at);
        assert_eq!(run(&guard, [left, right], End::Whole).0, expect, "{text} split at {at}");
    }
    assert_eq!(run(&guard, chars(text), End::Whole).0, expect, "{text} by characters");
    if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
        serde_json::from_str::<serde::de::IgnoredAny>(&out).expect("still JSON");
    }
}

#[test]
fn what_is_harmless_leaves_as_it_was_spelled() {
    for text in [
        "",
        " \n",
        "{}",
        r#"{"city": "Paris", "days" :3,"units":[ "C" , null,true , -1.5e+3]} "#,
        r#"{"a":"caf\u00e9 \/ \ud83d\ude00 \u0041\n\"x\"\\"}"#,
        r#"{"lone":"\ud83d","other":"\ude00 \ud83dx"}"#,
        r#"[[],{},[{}],"",0]"#,
        r#""just a string""#,
        "12.5",
        "null",
        // Not JSON, and nothing to find.
        "city=Paris",
        r#"{"a":1}{"b":2}"#,
        r#"{'a': 'b'}"#,
        r#"{"a": tru}"#,
        r#"{"a":"\x"}"#,
        "{\"a\":\"line\nbreak\"}",
        r#"{"a":01}"#,
        r#"{"cut":"in the mid"#,
        r#"{"cut":"\u00"#,
        r#"{"cut":"\ud83d"#,
        r#"{"cut":12."#,
        "}",
        "{,}",
        "[1 2]",
    ] {
        check(text, text);
    }
}

#[test]
fn values_are_masked_wherever_they_stand() {
    check(&format!(r#"{{"to":"{MAIL}"}}"#), r#"{"to":"email-1@masked.invalid"}"#);
    check(
        &format!(r#"{{"{MAIL}": 1, "b": "{MAIL} {MAIL}"}}"#),
        r#"{"email-1@masked.invalid": 1, "b": "email-1@masked.invalid email-1@masked.invalid"}"#,
    );
    check(r#"{"to":"bob\u0040example-corp.com"}"#, r#"{"to":"email-1@masked.invalid"}"#);
    check(r#"["b\u006fb@example-corp.com","\u00e9"]"#, r#"["email-1@masked.invalid","\u00e9"]"#);
    check(r#"["say \"hi\" to\nbob@example-corp.com\t!"]"#, r#"["say \"hi\" to\nemail-1@masked.invalid\t!"]"#);
}

/// What a value is often only its key tells: as in the same text outside of JSON, and as in a request.
#[test]
fn a_value_is_read_behind_its_key() {
    check(r#"{"password":"Zq8_kLmN4xWv"}"#, r#"{"password":"masked-1-xxxxxxx"}"#);
    check(
        r#"{"db": {"pass\u0077ord" : "Zq8_kLmN4xWv" }}"#,
        r#"{"db": {"pass\u0077ord" : "masked-1-xxxxxxx" }}"#,
    );
    check(r#"{"ssn":536228726,"n":17}"#, r#"{"ssn":900000001,"n":17}"#);
    check(r#"{"ssn":["536228726",536228726]}"#, r#"{"ssn":["000000001",900000001]}"#);
    check(r#"{"phone":"0151 12345678"}"#, r#"{"phone":"0000 00000001"}"#);
    check(
        &format!(r#"{{"{}password":"Zq8_kLmN4xWv"}}"#, "a ".repeat(200)),
        &format!(r#"{{"{}password":"masked-1-xxxxxxx"}}"#, "a ".repeat(200)),
    );
    // Or what stands beside it, as in a list of variables.
    check(
        r#"{"env":[{"name":"DB_PASSWORD","value":"Sommer2024!Kx"}]}"#,
        r#"{"env":[{"name":"DB_PASSWORD","value":"masked-1-xxxxxxx"}]}"#,
    );
    check(r#"{"type":"ssn","value":"536228726"}"#, r#"{"type":"ssn","value":"000000001"}"#);
    // Not quite JSON, which some read all the same.
    check(r#"{"password": Zq8_kLmN4xWv}"#, r#"{"password": [SECRET_1]}"#);
    check(r#"{"ssn": 0536228726, "a": 1}"#, r#"{"ssn": 0536228726, "a": 1}"#);
    check(r#"{password: 'Zq8_kLmN4xWv'}"#, r#"{password: '[SECRET_1]'}"#);
    check(
        &format!(r#"{{"note":"{}","password":"Zq8_kLmN4xWv"}}"#, "plain words ".repeat(100)),
        &format!(r#"{{"note":"{}","password":"masked-1-xxxxxxx"}}"#, "plain words ".repeat(100)),
    );
    // A key is none of its value, nor of the next one's.
    check(
        r#"{"password":"","note":"Zq8_kLmN4xWv","password":null}"#,
        r#"{"password":"","note":"Zq8_kLmN4xWv","password":null}"#,
    );
    check(
        &format!(r#"{{"{MAIL}":"Zq8_kLmN4xWv","card {CARD}":"x"}}"#),
        r#"{"email-1@masked.invalid":"Zq8_kLmN4xWv","card 0000000000000001":"x"}"#,
    );
    let guard = guard(Action::Log);
    let text = format!(r#"{{"{MAIL}":"x","b":{{"password":"Zq8_kLmN4xWv"}}}}"#);
    let (mut masker, mut out) = (Masker::new(), String::new());
    let mut arguments = Arguments::new(|| Scanner::new(&guard.0, &guard.1));
    arguments.push(&text, &mut masker, &mut out).expect("passes");
    arguments.finish(End::Whole, &mut masker, &mut out).expect("passes");
    let counted: Vec<_> = masker.findings().iter().map(|f| (&*f.kind, f.count)).collect();
    assert_eq!((out, counted), (text, vec![("secret", 1), ("email", 1)]), "each is found once");
}

#[test]
fn a_masked_number_stays_a_number() {
    check(&format!(r#"{{"card":{CARD}}}"#), r#"{"card":9000000000000001}"#);
    check(&format!(r#"{{"card": {CARD} ,"n":12}}"#), r#"{"card": 9000000000000001 ,"n":12}"#);
    check(&format!("[-{CARD}]"), "[-9000000000000001]");
    check(CARD, "9000000000000001");
}

/// Each value keeps the number that it has in this conversation, however short, and whatever stands around it in its literal.
#[test]
fn masked_numbers_keep_their_values_apart() {
    let rules = Rules::parse("- {id: pins, kind: pin, terms: [\"4821\", \"5932\"]}").expect("parses");
    let rules = Arc::new(Rules::compile(&rules).expect("compiles"));
    let policy = Arc::new(rules.policy(Direction::Answer, |_| Action::Mask, Switches::default()));
    for (text, expect) in [
        (r#"{"a":4821,"b":5932,"c":4821}"#, r#"{"a":9001,"b":9002,"c":9001}"#),
        (r#"[4821.5,-5932]"#, r#"[9001.0,-9002]"#),
        (r#"[48, 1.4821, 5932]"#, r#"[48, 9.0000, 9002]"#),
    ] {
        for pieces in [vec![text], chars(text).collect()] {
            assert_eq!(
                run(&(rules.clone(), policy.clone()), pieces, End::Whole),
                (expect.to_owned(), Ok(()))
            );
        }
    }
}

/// A pseudonym that a model wrote as a number is put back; by what is no number, it stays.
#[test]
fn a_pseudonym_is_put_back_in_a_number() {
    let guard = guard(Action::Pseudonymise);
    let rules = &guard.0;
    let request = rules.policy(Direction::Request, |_| Action::Pseudonymise, Switches::default());
    for (value, back) in [(CARD, Some(CARD)), ("4111 1111 1111 1111", None)] {
        let mut masker = Masker::new()
            .with_pseudonyms(PseudonymKey::derive(b"secret", "acme"))
            .with_look_alikes([LookAlike::CreditCard].into());
        let mut found = Vec::new();
        rules.scan(&request, value, &mut found);
        let shown = masker.stand_in(&found[0], value, Shape::Text).replace(' ', "");
        let mut arguments = Arguments::new(|| Scanner::new(&guard.0, &guard.1));
        let mut out = String::new();
        arguments.push(&format!("{{\"n\":{shown}}}"), &mut masker, &mut out).expect("masks only");
        assert_eq!(out, format!("{{\"n\":{}}}", back.unwrap_or(&shown)));
    }
}

/// However a stand-in is escaped, in JSON or inside of its strings, what is put back is right there.
#[test]
fn a_pseudonym_is_put_back_from_escapes() {
    let rules = BUILTIN.clone();
    let decode = Escapes::new(&[Escape::Html, Escape::Percent]);
    let switches = Switches { decode, ..Switches::default() };
    let guard = (rules.clone(), Arc::new(rules.policy(Direction::Answer, |_| Action::Mask, switches)));
    let request = rules.policy(Direction::Request, |_| Action::Pseudonymise, Switches::default());
    let mut masker = Masker::new().with_pseudonyms(PseudonymKey::derive(b"secret", "acme"));
    let mut found = Vec::new();
    rules.scan(&request, MAIL, &mut found);
    let shown = masker.stand_in(&found[0], MAIL, Shape::Text);
    let coded = MAIL.replace('@', "%40");
    for (at, back) in
        [("@", MAIL), (r"\u0040", MAIL), ("%40", &coded), (r"%\u00340", &coded), ("&#64;", MAIL)]
    {
        let text = format!(r#"{{"url":"x?to={}&n=1"}}"#, shown.replace('@', at));
        for size in [1, 3, text.len()] {
            let mut arguments = Arguments::new(|| Scanner::new(&guard.0, &guard.1));
            let (mut out, mut rest) = (String::new(), &*text);
            while !rest.is_empty() {
                let (piece, others) = rest.split_at(size.min(rest.len()));
                rest = others;
                arguments.push(piece, &mut masker, &mut out).expect("masks only");
            }
            arguments.finish(End::Whole, &mut masker, &mut out).expect("masks only");
            assert_eq!(out, format!(r#"{{"url":"x?to={back}&n=1"}}"#), "{at} in pieces of {size}");
        }
    }
}

#[test]
fn what_is_no_json_is_scanned_as_text() {
    check(&format!("to={MAIL}"), "to=[EMAIL_1]");
    check(&format!("{{to: \"{MAIL}\"}}"), "{to: \"[EMAIL_1]\"}");
    check(r"{to: 'bob\u0040example-corp.com'}", "{to: '[EMAIL_1]'}");
    check("536-22-8145", "[SSN_1]");
    check("[536-22-8145]", "[[SSN_1]]");
    check("4111 1111 1111 1111", "[CREDIT_CARD_1]");
    check("[4111 1111 1111 1111]", "[[CREDIT_CARD_1]]");
    check(&format!(r#"{{"a":1}}{{"b":"{MAIL}"}}"#), r#"{"a":1}{"b":"[EMAIL_1]"}"#);
    check(&format!(r#"{{"cut":"{MAIL}"#), r#"{"cut":"email-1@masked.invalid"#);
    let deep = format!("{}\"{MAIL}\"", "[".repeat(MAX_DEPTH + 1));
    check(&deep, &format!("{}\"[EMAIL_1]\"", "[".repeat(MAX_DEPTH + 1)));
}

#[test]
fn a_block_leaves_what_stood_before() {
    let guard = guard(Action::Block);
    let text = format!(r#"{{"a":"x","to":"so {MAIL}"}}"#);
    let (out, result) = run(&guard, [&*text], End::Whole);
    assert_eq!(result, Err(Halt::Blocked));
    assert_eq!(out, r#"{"a":"x","to":"so "#);
    let number = format!(r#"{{"n":{CARD}}}"#);
    assert_eq!(run(&guard, chars(&number), End::Whole), (r#"{"n":"#.to_owned(), Err(Halt::Blocked)));
}

#[test]
fn what_is_held_is_bounded() {
    let guard = guard(Action::Mask);
    let mut masker = Masker::new();
    let mut arguments = Arguments::new(|| Scanner::new(&guard.0, &guard.1));
    let mut out = String::new();
    for text in ["[", &"1".repeat(5_000), &"9.".repeat(5_000)] {
        for piece in chars(text) {
            arguments.push(piece, &mut masker, &mut out).expect("masks only");
            assert!(arguments.token.len() <= MAX_TOKEN + 1, "{}", arguments.token.len());
        }
    }
}

proptest! {
    #[test]
    fn any_cut_is_the_same_and_nothing_leaks(
        parts in prop::collection::vec(
            prop::sample::select(&[
                "{", "}", "[", "]", ":", ",", "\"", "\\", "\\u00", "e9", "\\n", "\\ud83d", "\\ude00", "1", "-", ".", "e", " ",
                "null", "tru", "é", "\u{1}", " bob@example-corp.com ", "\" bob\\u0040example-corp.com \"", "4111111111111111",
                "{\"k\":\"v\"}",
            ][..]),
            0..24,
        ),
        cuts in prop::collection::vec(0usize..400, 0..6),
    ) {
        let text = parts.concat();
        let guard = guard(Action::Mask);
        let whole = run(&guard, [&*text], End::Whole);
        let mut cuts: Vec<usize> =
            cuts.into_iter().map(|cut| cut.min(text.len())).filter(|cut| text.is_char_boundary(*cut)).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts.into_iter().chain([text.len()]) {
            pieces.push(&text[from..cut]);
            from = cut;
        }
        let cut = run(&guard, pieces, End::Whole);
        prop_assert_eq!(&cut, &whole);
        if serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok() {
            prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&whole.0).is_ok(), "{} -> {}", text, whole.0);
        }
        prop_assert!(!whole.0.contains("bob@example-corp.com"), "{} -> {}", text, whole.0);
        prop_assert!(!whole.0.contains("bob\\u0040example-corp.com"), "{} -> {}", text, whole.0);
    }
}
