use std::sync::Arc;

use super::*;
use crate::scan::{Action, Direction, Masker, RuleSpec, Rules, Scanner, Switches};

/// A rule with these terms.
fn compile(terms: &[&str]) -> Rules {
    let terms = TermList::new(terms.iter().map(|term| (*term).to_owned()).collect());
    let spec = RuleSpec { terms, ..serde_saphyr::from_str("{id: names, kind: name}").expect("is a rule") };
    Rules::compile(&[spec]).expect("compiles")
}

/// What it finds.
fn found(rules: &Rules, text: &str) -> Vec<String> {
    let policy = rules.policy(Direction::Answer, |_| Action::Mask, Switches::default());
    let mut found = Vec::new();
    rules.scan(&policy, text, &mut found);
    found.into_iter().map(|found| text[found.span].to_owned()).collect()
}

#[test]
fn terms_are_found_at_word_borders_whatever_their_form() {
    let rules = compile(&[
        "Acme Corp",
        "Acme",
        "Müller & Söhne",
        "C++ Guild",
        "北京公司",
        "AT&T",
        ".hidden",
        "Straße 5",
    ]);
    for (text, expect) in [
        ("ask ACME corp.", &["ACME corp"][..]),
        ("acme\ncorp", &["acme\ncorp"]),
        ("acme corporation", &["acme"]),
        ("acmes, xacme, acme_x", &[]),
        ("(acme)", &["acme"]),
        ("Ａｃｍｅ", &["Ａｃｍｅ"]),
        ("аcme", &["аcme"]),
        ("A\u{200b}c\u{ad}me", &["A\u{200b}c\u{ad}me"]),
        ("MULLER & SO\u{308}HNE", &["MULLER & SO\u{308}HNE"]),
        ("muller & söhnen", &[]),
        ("the c++ guild", &["c++ guild"]),
        ("我在北京公司工作", &["北京公司"]),
        ("我在北京的公司", &[]),
        ("at&t at & t", &["at&t"]),
        ("a .hidden file", &[".hidden"]),
        ("STRAßE 5, strasse 5", &["STRAßE 5"]),
        ("acme acme corp acme", &["acme", "acme corp", "acme"]),
    ] {
        assert_eq!(found(&rules, text), expect, "{text}");
    }
}

#[test]
fn a_term_that_begins_with_a_mark_is_found_by_itself() {
    assert_eq!(found(&compile(&[".hidden"]), "a .hidden file"), [".hidden"]);
}

#[test]
fn a_list_has_a_million_terms_at_most() {
    for (count, says) in [(MAX_TERMS, "terms[0]: "), (MAX_TERMS + 1, "more than 1048576")] {
        let message = Dictionary::build(&vec![String::new(); count], &Fold::new()).expect_err("is refused");
        assert!(message.contains(says), "{message}");
    }
}

#[test]
fn unusable_terms_are_refused_with_what_to_do() {
    for (term, says) in [("a", "two letters"), ("+-+", "two letters"), (&"x".repeat(201), "more than 200")] {
        let message = TermCheck::new().check(term).expect_err("is refused");
        assert!(message.contains(says), "{message}");
    }
    for term in ["Ü".to_owned(), format!("Falcon {}", "x".repeat(200))] {
        let message = TermCheck::new().check(&term).expect_err("is refused");
        assert!(!message.contains("Falcon") && !message.contains('Ü'), "{message}");
        let terms = TermList::new(vec!["Acme".into(), term]);
        let spec =
            RuleSpec { terms, ..serde_saphyr::from_str("{id: names, kind: name}").expect("is a rule") };
        let errors = Rules::compile(&[spec]).expect_err("is refused");
        assert!(errors[0].message.contains("terms[1]: the term "), "{}", errors[0]);
        assert!(!errors[0].message.contains("Falcon") && !errors[0].message.contains('Ü'), "{}", errors[0]);
    }
    assert_eq!(TermCheck::new().check(&"x".repeat(200)), Ok(()));
    let spec: RuleSpec =
        serde_saphyr::from_str("{id: names, kind: name, terms_file: names.txt}").expect("is a rule");
    let errors = Rules::compile(&[spec]).expect_err("was not read");
    assert!(errors[0].message.contains("holds no terms"), "{}", errors[0]);
}

#[test]
fn whoever_shares_a_list_shares_what_it_was_compiled_to() {
    let fold = Fold::new();
    let list = TermList::new(vec!["Acme Corp".into()]);
    let first = Dictionary::of(&list, &fold).expect("builds");
    let again = Dictionary::of(&list.clone(), &fold).expect("builds");
    assert!(Arc::ptr_eq(&first, &again));
}

/// Names share words and beginnings: each is found as itself, and what is put together of them is none.
#[test]
fn many_terms_keep_apart() {
    const WORDS: [&str; 12] = [
        "north",
        "nord",
        "river",
        "riverside",
        "stone",
        "stones",
        "steel",
        "blue",
        "bluebird",
        "gold",
        "golden",
        "star",
    ];
    let mut terms = Vec::new();
    for (i, first) in WORDS.iter().enumerate() {
        for (j, second) in WORDS.iter().enumerate() {
            for (k, third) in WORDS.iter().enumerate().filter(|(k, _)| (i + 2 * j + 3 * k) % 2 == 0) {
                terms.push(format!("{first}{k} {second}{i} {third}{j}"));
            }
        }
    }
    let rules = compile(&terms.iter().map(String::as_str).collect::<Vec<_>>());
    for term in &terms {
        assert_eq!(found(&rules, &format!("to {term}, as said")), [term.as_str()]);
        let mut words: Vec<&str> = term.split(' ').collect();
        words.reverse();
        let reversed = words.join(" ");
        let expect = if terms.contains(&reversed) { vec![reversed.clone()] } else { vec![] };
        assert_eq!(found(&rules, &reversed), expect);
    }
}

/// Two terms that fold to different texts and the same chain: no such pair is known, so its tokens are made up.
#[test]
fn a_clash_does_not_show_the_terms() {
    let mut dictionary = Dictionary::of(&TermList::default(), &Fold::new()).map(Arc::into_inner);
    let dictionary = dictionary.as_mut().expect("builds").as_mut().expect("is not shared");
    let tokens = |text: &str| Tokens {
        text: text.into(),
        chars: text.len(),
        tokens: vec![(7, Class::Word)],
        first: Token::default(),
    };
    assert_eq!(dictionary.add(&tokens("falcon")), Ok(()));
    let message = dictionary.add(&tokens("eagle")).expect_err("is refused");
    assert!(message.contains("has 5 characters") && message.contains("that has 6"), "{message}");
    assert!(!message.contains("falcon") && !message.contains("eagle"), "{message}");
}

#[test]
fn a_list_does_not_show_its_terms() {
    let list = TermList::new(vec!["Project Falcon".into()]);
    assert!(!format!("{list:?}").contains("Falcon"));
}

/// However the pieces are cut: what stretches the beginning of a term past what may be held is not let go as if it were none.
#[test]
fn a_term_that_is_stretched_past_the_bound_overran() {
    let yaml = r"[{id: names, kind: name, terms: [Falcon, Falcon Nine Heavy]}]";
    let rules = Arc::new(Rules::compile(&Rules::parse(yaml).expect("parses")).expect("compiles"));
    let policy = Arc::new(rules.policy(Direction::Answer, |_| Action::Mask, Switches::default()));
    let stretched = |text: &str, by: usize| -> String {
        text.chars().flat_map(|c| std::iter::once(c).chain(std::iter::repeat_n('\u{200b}', by))).collect()
    };
    for (term, by, overran) in [
        ("Falcon", 0, false),
        ("Falcon", 3, false),
        ("Falcon", 9, true),
        ("Falcon Nine Heavy", 1, false),
        ("Falcon Nine Heavy", 4, true),
        ("Eagle Nine", 40, false),
    ] {
        let text = format!("the {} flies", stretched(term, by));
        let mut found = Vec::new();
        rules.scan(&policy, &text, &mut found);
        assert_eq!(found.len(), usize::from(term != "Eagle Nine"), "{term} by {by}: {found:?}");
        for size in [1, 7, text.len()] {
            let (mut masker, mut out) = (Masker::new(), String::new());
            let mut scanner = Scanner::new(&rules, &policy);
            let mut rest = text.as_str();
            while !rest.is_empty() && !scanner.overran() {
                let mut cut = size.min(rest.len());
                while !rest.is_char_boundary(cut) {
                    cut += 1;
                }
                let (piece, others) = rest.split_at(cut);
                rest = others;
                scanner.push(piece, &mut masker, &mut out);
            }
            assert_eq!(scanner.overran(), overran, "{term} by {by} in pieces of {size}");
            assert!(!overran || out.starts_with("the [NAME_1]") || out == "the ", "{term} by {by}: {out:?}");
        }
    }
}
