use super::*;
use crate::scan::tests::{BUILTIN, pieces};
use crate::scan::{Action, Direction, Escape, Escapes, Switches};

/// A stream of any length takes as much memory as a short one.
#[test]
fn what_was_sent_is_forgotten() {
    let decode = Escapes::new(&[Escape::Html, Escape::Percent]);
    let policy = |decode| {
        let switches = Switches { decode, ..Switches::default() };
        Arc::new(BUILTIN.policy(Direction::Answer, |_| Action::Mask, switches))
    };
    let (plain, decoding) = (policy(Escapes::NONE), policy(decode));
    let (_, held) = BUILTIN.max_held(&plain);
    for part in [
        "Plain words, and alice@corp.com between them. ",
        "7 17 305 ",
        "字é🎉\u{200b}",
        "v8Wc6",
        "key sk-T3BlbkFJx9Qa7Lm2Zp4Rv8Wc6Yd1Nf5Hg0JkSbTe3UiXo\n",
    ] {
        // The decoded text as well, which an escape in every piece keeps going.
        for (size, policy, escape) in
            [(7, &plain, ""), (700, &plain, ""), (7, &decoding, "%41&amp;"), (700, &decoding, "%41 ")]
        {
            let piece = format!("{escape}{}", part.repeat(size / part.len() + 1));
            let mut scanner = Scanner::new(&BUILTIN, policy);
            let (mut masker, mut out) = (Masker::new(), String::new());
            for _ in 0..100_000 / piece.len() {
                scanner.push(&piece, &mut masker, &mut out);
                let most = 2 * (SLACK + MARGIN) + held + piece.len();
                assert!(scanner.window.len() <= most, "{} bytes are kept of {part:?}", scanner.window.len());
                let (decoded, marks) = scanner.pass.kept();
                assert!(decoded <= most && marks <= most / 2, "{decoded} bytes, {marks} marks of {part:?}");
                out.clear();
            }
        }
    }
}

/// A value that began in what stands before the text is masked from the text's beginning on; what lies before it alone is nothing.
#[test]
fn what_stands_before_a_text_is_seen_and_does_not_leave() {
    let rules = &BUILTIN;
    let policy = |action| Arc::new(rules.policy(Direction::Answer, |_| action, Switches::default()));
    for (before, text, expect, masked) in [
        ("alice@", "corp.com, then", "[EMAIL_1], then", 1),
        ("alice@corp.com ", "then", "then", 0),
        ("ghp_16C7e42F292c6912E7710c838347Ae178B4a ", "then", "then", 0),
        ("sk-proj-T3BlbkFJx9Qa7Lm2Zp4RvK8WcYe5", "Dn3Hs6Tb then", "[SECRET_1] then", 1),
        ("\"password\":\"", "Zq8_kLmN4xWv", "[SECRET_1]", 1),
        ("password", "Zq8_kLmN4xWv", "Zq8_kLmN4xWv", 0),
        ("", "then", "then", 0),
    ] {
        for action in [Action::Mask, Action::Log] {
            let policy = policy(action);
            for size in [1, text.len()] {
                let mut masker = Masker::new();
                let mut scanner = Scanner::new(rules, &policy);
                let mut out = String::new();
                for round in 1..=2 {
                    out.clear();
                    scanner.begin_after(before, &mut masker);
                    for piece in pieces(text, size) {
                        scanner.push(piece, &mut masker, &mut out);
                    }
                    scanner.finish(&mut masker, End::Whole, &mut out);
                    let expect = if action == Action::Mask { expect } else { text };
                    assert_eq!(out, expect, "behind {before}, by {size}");
                    let counted: u32 = masker.findings().iter().map(|finding| finding.count).sum();
                    // What is only recorded, and began as a whole one before, was counted there.
                    let logged = masked * u32::from(!before.starts_with("sk-"));
                    let count = if action == Action::Mask { masked } else { logged };
                    assert_eq!(counted, count * round, "behind {before}, by {size}, {action:?}");
                }
            }
        }
    }
}

/// What stands in the place of a value that a key before the text goes on into depends on no cut.
#[test]
fn the_rest_of_a_key_before_a_text_is_masked_alike_by_every_cut() {
    let policy = Arc::new(BUILTIN.policy(Direction::Answer, |_| Action::Mask, Switches::default()));
    let before = "\"-----BEGIN PRIVATE KEY-----MIIEvQIBADANBgkqhkiG9w0B\":\"";
    let values =
        ["QWxsIG9mIGl0IGlzIGEgc2VjcmV0IGFuZCBzdGF5cyBvbmU", "QWxpY2UgYW5kIEJvYiBzaGFyZSBub3RoaW5nIGhlcmU"];
    let run = |size: usize| {
        let (mut masker, mut out) = (Masker::new(), String::new());
        let mut scanner = Scanner::new(&BUILTIN, &policy).shaped(Shape::JsonString);
        for value in values {
            scanner.begin_after(before, &mut masker);
            for piece in pieces(value, size) {
                scanner.push(piece, &mut masker, &mut out);
            }
            scanner.finish(&mut masker, End::Whole, &mut out);
            out.push('\n');
        }
        out
    };
    let whole = run(100);
    assert!(
        values.iter().all(|value| !whole.contains(&value[..8])) && whole.contains("masked-1-"),
        "{whole}"
    );
    for size in [1, 2, 7, 20] {
        assert_eq!(run(size), whole, "by {size}");
    }
}
