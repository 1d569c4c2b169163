//! Stand-ins that go upstream, and come back as what they stand for.

use super::*;

/// A masker after a request with this text, and the text that went upstream.
fn asked(rules: &Rules, text: &str) -> (Masker, String) {
    let policy = rules.policy(Direction::Request, |_| Action::Pseudonymise, Switches::default());
    let mut masker = Masker::new().with_pseudonyms(PseudonymKey::derive(b"secret", "acme"));
    let mut all = Vec::new();
    rules.scan(&policy, text, &mut all);
    let (mut out, mut sent) = (String::new(), 0);
    for found in all {
        out.push_str(&text[sent..found.span.start]);
        out.push_str(&masker.stand_in(&found, &text[found.span.clone()], Shape::Text));
        sent = found.span.end;
    }
    out.push_str(&text[sent..]);
    (masker, out)
}

#[test]
fn stand_ins_are_stable_and_come_back_at_every_cut() {
    let (rules, policy) = engine(|_| Action::Mask);
    let text = "Tell alice@corp.com and bob@corp.com, or call (212) 555-0123.";
    let (mut masker, upstream) = asked(&rules, text);
    assert_eq!(asked(&rules, text).1, upstream);
    assert!(upstream.contains("@pseudonym.invalid") && upstream.contains("[PHONE-"), "{upstream}");
    assert!(!upstream.contains("alice") && !upstream.contains("0123"), "{upstream}");
    let answer = format!("{upstream} {} carol@corp.com u- u-x [PHONE-2", upstream.to_uppercase());
    let expect = format!(
        "{text} TELL alice@corp.com AND bob@corp.com, OR CALL (212) 555-0123. [EMAIL_1] u- u-x [PHONE-2"
    );
    for size in [1, 2, 5, 64, 4096] {
        let mut scanner = Scanner::new(&rules, &policy);
        let mut out = String::new();
        for piece in pieces(&answer, size) {
            assert_eq!(scanner.push(piece, &mut masker, &mut out), Flow::Pass);
        }
        scanner.finish(&mut masker, End::Whole, &mut out);
        assert_eq!(out, expect, "pieces of {size}");
    }
}

#[test]
fn only_stand_ins_of_this_request_come_back() {
    let (rules, policy) = engine(|rule| if &*rule.kind == "email" { Action::Mask } else { Action::Off });
    let (_, others) = asked(&rules, "mallory@corp.com");
    let (mut masker, _) = asked(&rules, "alice@corp.com");
    let mut scanner = Scanner::new(&rules, &policy);
    let mut out = String::new();
    scanner.push(&others, &mut masker, &mut out);
    scanner.finish(&mut masker, End::Whole, &mut out);
    assert_eq!(out, "[EMAIL_1]");
}

#[test]
fn without_a_key_values_are_masked() {
    let (rules, _) = engine(|_| Action::Mask);
    let policy = Arc::new(rules.policy(Direction::Answer, |_| Action::Pseudonymise, Switches::default()));
    assert_eq!(whole(&(rules, policy), "alice@corp.com").0, "[EMAIL_1]");
}

#[test]
fn organisations_have_stand_ins_of_their_own() {
    let (rules, _) = engine(|_| Action::Mask);
    let policy = rules.policy(Direction::Request, |_| Action::Pseudonymise, Switches::default());
    let text = "alice@corp.com";
    let mut all = Vec::new();
    rules.scan(&policy, text, &mut all);
    let of = |org: &str| {
        let mut masker = Masker::new().with_pseudonyms(PseudonymKey::derive(b"secret", org));
        masker.stand_in(&all[0], text, Shape::Text)
    };
    assert_ne!(of("acme"), of("globex"));
}
