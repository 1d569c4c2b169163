//! Values among many numbers, and values that are stretched.

use super::*;

/// What a text becomes, whole and a few bytes at a time.
fn masked(text: &str) -> String {
    let engine = engine(|_| Action::Mask);
    let out = whole(&engine, text).0;
    for size in [1, 5] {
        assert_eq!(stream(&engine, pieces(text, size)).0, out, "pieces of {size}: {text}");
    }
    out
}

/// A table of numbers is one token of any length; what stands far behind its beginning is read as well as what stands there.
#[test]
fn values_behind_many_numbers_are_found() {
    for (value, kind) in [
        ("212-555-0123", "PHONE"),
        ("(212) 555-0123", "PHONE"),
        ("219-09-9998", "SSN"),
        ("4111-1111-1111-1111", "CREDIT_CARD"),
        ("203.0.113.9", "IP_ADDRESS"),
    ] {
        for before in 0..70 {
            let before = "17 ".repeat(before);
            assert_eq!(masked(&format!("{before}{value}")), format!("{before}[{kind}_1]"));
            let after = " 305".repeat(20);
            assert_eq!(masked(&format!("{before}{value}{after}")), format!("{before}[{kind}_1]{after}"));
        }
        let before = "17 305 ".repeat(40);
        let text = format!("{before}{value}\n{before}{value}\n");
        assert_eq!(masked(&text), format!("{before}[{kind}_1]\n{before}[{kind}_1]\n"));
    }
}

/// What stands before a bracket is a list's number only at the beginning.
#[test]
fn a_number_before_a_bracket_begins_a_list() {
    let after = " 305".repeat(20);
    let text = format!("12) 219-09-9998{after}");
    assert_eq!(masked(&text), format!("12) [SSN_1]{after}"));
    for before in 1..40 {
        let text = format!("{}12) 219-09-9998{after}", "17 ".repeat(before));
        assert_eq!(masked(&text), text);
    }
}

/// Up to three bytes that print nothing beside each character, a value is found whole: no more and no less of it is taken.
#[test]
fn stretched_values_are_found_whole() {
    for (value, kind) in [
        ("4111 1111 1111 1111", "CREDIT_CARD"),
        ("+1 (212) 555-0123", "PHONE"),
        ("203.0.113.9", "IP_ADDRESS"),
        ("DE89 3704 0044 0532 0130 00", "IBAN"),
        ("alice.liddell@example-corp.com", "EMAIL"),
    ] {
        let mut stretched = String::new();
        for (at, c) in value.chars().enumerate() {
            if at > 0 {
                stretched.push('\u{200b}');
            }
            stretched.push(c);
        }
        assert_eq!(masked(&format!("is {stretched}, so")), format!("is [{kind}_1], so"));
    }
}

/// A dash between spaces is a subtraction's, and a phone number's behind brackets or before a zero.
#[test]
fn wide_dashes_are_read_the_same_at_every_cut() {
    let engine = engine(|_| Action::Mask);
    let most = engine.0.max_held(&engine.1);
    for (text, expect) in [
        ("It is (212) 555 - 0123, or so", "It is [PHONE_1], or so"),
        ("It is (212) 555 - 4567", "It is [PHONE_1]"),
        ("It is 212 - 555 - 0123.", "It is [PHONE_1]."),
        ("It is 212 - 555 - 1234.", "It is 212 - 555 - 1234."),
        ("It is 212 - 555 - 123.", "It is 212 - 555 - 123."),
        ("It is (212) 555 - 12", "It is (212) 555 - 12"),
    ] {
        assert_eq!(whole(&engine, text).0, expect, "{text}");
        for cut in 0..=text.len() {
            let (a, b) = text.split_at(cut);
            assert_eq!(stream(&engine, [a, b].into_iter()).0, expect, "{text} cut at {cut}");
        }
        let (mut scanner, mut masker) = (Scanner::new(&engine.0, &engine.1), Masker::new());
        let mut out = String::new();
        for piece in pieces(text, 1) {
            scanner.push(piece, &mut masker, &mut out);
            assert!(scanner.held_units() <= most.0 && scanner.held() <= most.1, "{} held", scanner.held());
        }
        scanner.finish(&mut masker, End::Whole, &mut out);
        assert_eq!(out, expect, "{text} byte by byte");
    }
}
