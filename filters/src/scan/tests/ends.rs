//! What an answer that is cut short keeps of a value that had only begun.

use super::*;

#[test]
fn an_assigned_value_is_kept_from_its_fourth_character_on() {
    let (rules, policy) = engine(|_| Action::Mask);
    for (text, cut) in [
        ("token = q8Zr", "token = [SECRET_1]"),
        ("token = q8Z", "token = q8Z"),
        ("token = ", "token = "),
        ("\"api_key\": \"q8Zr", "\"api_key\": \"[SECRET_1]"),
    ] {
        for (end, expect) in [(End::Whole, text), (End::CutShort, cut)] {
            let mut masker = Masker::new();
            let mut scanner = Scanner::new(&rules, &policy);
            let mut out = String::new();
            scanner.push(text, &mut masker, &mut out);
            scanner.finish(&mut masker, end, &mut out);
            assert_eq!(out, expect, "{end:?}");
        }
    }
}
