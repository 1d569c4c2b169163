//! Stand-ins that go upstream, and come back as what they stand for.

use proptest::prelude::*;

use super::cuts::text;
use super::escapes::escaped;
use super::*;
use crate::scan::mask::Repeats;

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

/// What went upstream for `text`, look-alikes asked for, and the masker after it.
fn asked_alike(rules: &Rules, text: &str) -> (Masker, String) {
    let policy = rules.policy(Direction::Request, |_| Action::Pseudonymise, Switches::default());
    let mut masker = Masker::new()
        .with_pseudonyms(PseudonymKey::derive(b"secret", "acme"))
        .with_look_alikes([LookAlike::CreditCard, LookAlike::Phone].into());
    let mut all = Vec::new();
    rules.scan(&policy, text, &mut all);
    let sent =
        all.iter().map(|found| masker.stand_in(found, &text[found.span.clone()], Shape::Text)).collect();
    (masker, sent)
}

fn answered(
    rules: &Arc<Rules>,
    policy: &Arc<Policy>,
    masker: &mut Masker,
    answer: &str,
    size: usize,
) -> String {
    let mut scanner = Scanner::new(rules, policy);
    let mut out = String::new();
    for piece in pieces(answer, size) {
        assert_eq!(scanner.push(piece, masker, &mut out), Flow::Pass);
    }
    scanner.finish(masker, End::Whole, &mut out);
    out
}

#[test]
fn case_and_punctuation_of_the_model_make_no_difference() {
    let (rules, policy) = engine(|_| Action::Off);
    let (mut masker, sent) = asked(&rules, "(212) 555-0123 / alice@corp.com");
    let (phone, mail) = sent.split_once(" / ").expect("two");
    let bare = phone.trim_matches(['[', ']']);
    let table = [
        (format!("{phone}."), "(212) 555-0123."),
        (format!("**{phone}**, \"{phone}\""), "**(212) 555-0123**, \"(212) 555-0123\""),
        (format!("`{bare}`"), "`(212) 555-0123`"),
        (format!("[{bare}, and"), "[(212) 555-0123, and"),
        (format!("({bare})"), "((212) 555-0123)"),
        (format!("[[{bare}]]"), "[(212) 555-0123]"),
        (bare.to_lowercase(), "(212) 555-0123"),
        (bare.replace('-', "\u{2011}"), "(212) 555-0123"),
        (bare.replace('-', "_"), "(212) 555-0123"),
        (phone.replace('[', "\\[").replace('-', "\\-").replace(']', "\\]"), "\\(212) 555-0123"),
        (
            format!("{mail}, <{mail}>; mailto:{}!", mail.to_uppercase()),
            "alice@corp.com, <alice@corp.com>; mailto:alice@corp.com!",
        ),
        (format!("u-u-{mail}"), "u-u-alice@corp.com"),
        (bare[..bare.len() - 1].to_owned(), &bare[..bare.len() - 1]),
        (format!("u-{}", "\\".repeat(600)), &format!("u-{}", "\\".repeat(600))),
    ];
    for (answer, want) in table {
        for size in [1, 2, 3, 7, 4096] {
            assert_eq!(
                answered(&rules, &policy, &mut masker, &answer, size),
                want,
                "{answer} in pieces of {size}"
            );
        }
    }
}

#[test]
fn look_alikes_come_back_however_they_are_grouped() {
    let (rules, policy) = engine(|_| Action::Mask);
    for value in ["4111 1111 1111 1111", "4111-1111-1111-1111", "4111111111111111"] {
        let (mut masker, card) = asked_alike(&rules, value);
        let digits: String = card.chars().filter(char::is_ascii_digit).collect();
        assert_eq!((digits.len(), card.len()), (16, value.len()), "{card}");
        let spaced = format!("{} {} {} {}", &digits[..4], &digits[4..8], &digits[8..12], &digits[12..]);
        for (answer, want) in [
            (format!("It is {card}."), format!("It is {value}.")),
            (format!("{digits}, {spaced}"), format!("{value}, {value}")),
            // Other digits around it make another number of it.
            (format!("9{digits}"), format!("9{digits}")),
        ] {
            for size in [1, 3, 4096] {
                assert_eq!(answered(&rules, &policy, &mut masker, &answer, size), want, "pieces of {size}");
            }
        }
    }
    let (mut masker, phone) = asked_alike(&rules, "(415) 222-0199");
    let plain: String = phone.chars().filter(char::is_ascii_digit).collect();
    let answer = format!("Call {phone} or +1-{}-{}-{} or {plain}", &plain[..3], &plain[3..6], &plain[6..]);
    for size in [1, 5, 4096] {
        assert_eq!(
            answered(&rules, &policy, &mut masker, &answer, size),
            "Call (415) 222-0199 or (415) 222-0199 or (415) 222-0199"
        );
    }
}

/// What nothing may change keeps its stand-ins, and they are no findings.
/// Every character that prints nothing to the rules is none of a value, however that is told from others.
#[test]
fn what_prints_nothing_makes_no_other_value() {
    let (rules, policy) = engine(|_| Action::Mask);
    let (mail, key) = ("alice@corp.com", "sk-T3BlbkFJx9Qa7Lm2Zp4Rv8Wc6Yd1Nf5Hg0JkSbTe3UiXo");
    for nothing in [
        '\u{ad}',
        '\u{34f}',
        '\u{61c}',
        '\u{180b}',
        '\u{200b}',
        '\u{202e}',
        '\u{206f}',
        '\u{3164}',
        '\u{fe0f}',
        '\u{e0041}',
    ] {
        let hidden = |text: &str| format!("{}{nothing}{}", &text[..8], &text[8..]);
        for (action, shape) in [
            (Action::Mask, Shape::Text),
            (Action::Pseudonymise, Shape::Text),
            (Action::Mask, Shape::JsonString),
        ] {
            let request = rules.policy(Direction::Request, |_| action, Switches::default());
            let mut masker = Masker::new().with_pseudonyms(PseudonymKey::derive(b"secret", "acme"));
            for value in [mail, key] {
                let text = format!("{value} {}", hidden(value));
                let mut found = Vec::new();
                rules.scan(&request, &text, &mut found);
                let shown: Vec<String> =
                    found.iter().map(|f| masker.stand_in(f, &text[f.span.clone()], shape)).collect();
                assert!(shown.len() == 2 && shown[0] == shown[1], "{nothing:?}: {shown:?}");
                masker.note("", &found[0], value);
                assert!(
                    masker.may_repeat(&found[1], &text[found[1].span.clone()], true) == Repeats::Yes,
                    "{nothing:?}"
                );
            }
        }
        let (mut masker, sent) = asked(&rules, mail);
        assert_eq!(answered(&rules, &policy, &mut masker, &hidden(&sent), 3), mail, "{nothing:?}");
    }
}

#[test]
fn stand_ins_can_be_kept() {
    let (rules, policy) = engine(|_| Action::Block);
    let (mut masker, sent) = asked(&rules, "alice@corp.com");
    let mut scanner = Scanner::new(&rules, &policy).keeping_stand_ins();
    let mut out = String::new();
    assert_eq!(scanner.push(&format!("to {sent} now"), &mut masker, &mut out), Flow::Pass);
    assert_eq!(scanner.finish(&mut masker, End::Whole, &mut out), Flow::Pass);
    assert_eq!(out, format!("to {sent} now"));
    assert!(masker.findings().is_empty());
}

/// Two keys that begin alike have two stand-ins, whichever comes first, in whichever request; and each comes back as it was.
#[test]
fn keys_that_begin_alike_are_told_apart_in_any_order() {
    let (rules, policy) = engine(|_| Action::Mask);
    let start = "sk-T3BlbkFJx9Qa7Lm2Zp4Rv8Wc6Yd1Nf5Hg0";
    let pem = |end: &str| {
        format!(
            "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n{end}\n-----END PRIVATE KEY-----"
        )
    };
    let jwt = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmN";
    let alike = [
        [format!("{start}JkSbTe3UiXo"), format!("{start}jkSbTe3UiXo"), format!("{start}9")],
        [pem("Zm9vYmFy"), pem("Zm9vYmFz"), pem("zm9vYmFy")],
        [format!("{jwt}A"), format!("{jwt}B"), format!("{jwt}AA")],
    ];
    for values in alike {
        let of = |text: &str| asked(&rules, text).1;
        let alone: Vec<String> = values.iter().map(|value| of(value)).collect();
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 1, 0]] {
            let text = order.map(|i| values[i].as_str()).join(" , ");
            let (mut masker, sent) = asked(&rules, &text);
            assert_eq!(sent, order.map(|i| alone[i].as_str()).join(" , "));
            for cut in 0..=sent.len() {
                let mut scanner = Scanner::new(&rules, &policy);
                let mut out = String::new();
                scanner.push(&sent[..cut], &mut masker, &mut out);
                scanner.push(&sent[cut..], &mut masker, &mut out);
                scanner.finish(&mut masker, End::Whole, &mut out);
                assert_eq!(out, text, "cut at {cut}");
            }
        }
    }
}

/// A stand-in of a value that nobody sent would have nobody to go back to, and of a key that goes on only the beginning is known.
#[test]
fn in_an_answer_new_values_are_masked() {
    let (rules, _) = engine(|_| Action::Mask);
    let policy = Arc::new(rules.policy(Direction::Answer, |_| Action::Pseudonymise, Switches::default()));
    let mut masker = Masker::new().with_pseudonyms(PseudonymKey::derive(b"secret", "acme"));
    let answer = "alice@corp.com has sk-T3BlbkFJx9Qa7Lm2Zp4Rv8Wc6Yd1Nf5Hg0JkSbTe3UiXo";
    for size in [1, 7, 4096] {
        assert_eq!(answered(&rules, &policy, &mut masker, answer, size), "[EMAIL_1] has [SECRET_1]");
    }
    assert!(!masker.restores());
}

/// What makes no difference can be written between any two characters: the bound is in what was written.
#[test]
fn what_stand_ins_hold_back_is_bounded() {
    let (rules, policy) = engine(|_| Action::Off);
    let text = "alice@corp.com / (212) 555-0123 / 4111 1111 1111 1111";
    for alike in [false, true] {
        let (mut masker, sent) = if alike { asked_alike(&rules, text) } else { asked(&rules, text) };
        let likes: &[LookAlike] = if alike { &[LookAlike::CreditCard, LookAlike::Phone] } else { &[] };
        let bound = max_restored(["email", "phone", "credit_card"].into_iter(), likes, Escapes::NONE);
        let mut most = 0;
        for filler in ["", "\\", "\u{200b}", "\\\\\\\\", "\u{200b}\u{200b}"] {
            let written: String =
                sent.chars().flat_map(|c| std::iter::once(c).chain(filler.chars())).collect();
            let stuffed = format!("{written}u-{} [PHONE-{}", filler.repeat(900), filler.repeat(900));
            let (mut scanner, mut out) = (Scanner::new(&rules, &policy), String::new());
            for piece in pieces(&stuffed, 1) {
                scanner.push(piece, &mut masker, &mut out);
                most = most.max(scanner.held());
                assert!(scanner.held() <= bound, "{} of {bound} held of {filler:?}", scanner.held());
            }
        }
        assert!(most * 2 > bound, "the bound is near: {most} of {bound}");
    }
}

/// A policy for answers that looks through these escapes and masks what is new.
fn decoding(escapes: &[Escape]) -> (Arc<Rules>, Arc<Policy>) {
    let (rules, _) = engine(|_| Action::Mask);
    let switches = Switches { decode: Escapes::new(escapes), ..Switches::default() };
    let policy = rules.policy(Direction::Answer, |_| Action::Mask, switches);
    (rules, Arc::new(policy))
}

const BOTH: [Escape; 2] = [Escape::Html, Escape::Percent];

/// What is answered, which is the same for every cut and in pieces of any size.
fn answered_at_every_cut(
    rules: &Arc<Rules>,
    policy: &Arc<Policy>,
    masker: &mut Masker,
    text: &str,
) -> String {
    let expect = answered(rules, policy, masker, text, text.len().max(1));
    for size in [1, 2, 3, 7] {
        assert_eq!(answered(rules, policy, masker, text, size), expect, "{text} in pieces of {size}");
    }
    for cut in (0..=text.len()).filter(|cut| text.is_char_boundary(*cut)) {
        let (mut scanner, mut out) = (Scanner::new(rules, policy), String::new());
        scanner.push(&text[..cut], masker, &mut out);
        scanner.push(&text[cut..], masker, &mut out);
        scanner.finish(masker, End::Whole, &mut out);
        assert_eq!(out, expect, "{text} cut at {cut}");
    }
    expect
}

/// Full-width forms, look-alikes, what prints nothing: whatever the rules fold, with escapes or without.
#[test]
fn stand_ins_come_back_in_every_form_that_rules_fold() {
    let wide = |text: &str| -> String {
        text.chars()
            .map(|c| char::from_u32(c as u32 + 0xfee0).filter(|_| c.is_ascii_graphic()).unwrap_or(c))
            .collect()
    };
    for escapes in [&[][..], &BOTH] {
        let (rules, policy) = decoding(escapes);
        let (mut masker, sent) = asked(&rules, "(212) 555-0123 / alice@corp.com");
        let (phone, mail) = sent.split_once(" / ").expect("two");
        for (answer, expect) in [
            (format!("致{}。", wide(mail)), "致alice@corp.com。"),
            (format!("电{}。", wide(phone)), "电(212) 555-0123。"),
            (mail.replace('e', "е"), "alice@corp.com"),
            (mail.replace("pseudonym", "pse\u{ad}udo\u{200b}nym"), "alice@corp.com"),
            (mail.replace('-', "\u{2014}"), "alice@corp.com"),
            (phone.to_lowercase().replace('p', "𝐩"), "(212) 555-0123"),
            (phone.replace('O', "0"), &phone.replace('O', "0")),
        ] {
            assert_eq!(answered_at_every_cut(&rules, &policy, &mut masker, &answer), expect, "{answer}");
        }
    }
}

#[test]
fn stand_ins_come_back_from_escapes_as_escapes() {
    let (rules, policy) = decoding(&BOTH);
    let (mut masker, sent) = asked(&rules, "(212) 555-0123 / o'neill@corp.com / alice@corp.com");
    let parts: Vec<&str> = sent.split(" / ").collect();
    let [phone, irish, mail] = parts[..] else { panic!("three") };
    let entities = |text: &str| text.chars().map(|c| format!("&#{};", c as u32)).collect::<String>();
    let codes = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let url = |text: &str| text.replace('@', "%40").replace('[', "%5B").replace(']', "%5D");
    for (answer, expect) in [
        (format!("https://x.example/?to={}&cc=1", url(mail)), "https://x.example/?to=alice%40corp.com&cc=1"),
        (format!("tel?n={}#a", url(phone)), "tel?n=%28212%29%20555-0123#a"),
        (format!("tel?n={}#a", url(phone).replace("%5D", "")), "tel?n=%5B(212) 555-0123#a"),
        (
            format!("mailto:{}?cc={}", mail.replace('@', "%40"), codes(mail)),
            "mailto:alice%40corp.com?cc=alice%40corp.com",
        ),
        (format!("<a>{}</a>", mail.replace('@', "&#64;")), "<a>alice@corp.com</a>"),
        (
            format!("<a>{}</a>", mail.replace('@', "&commat;").replace('.', "&period;")),
            "<a>alice@corp.com</a>",
        ),
        (format!("{},", mail.replace('@', "&#x40")), "alice@corp.com,"),
        (entities(mail), "alice@corp.com"),
        (format!("&lt;{}&gt;", entities(phone)), "&lt;(212) 555-0123&gt;"),
        (format!("&#91;{}&#93;", phone.trim_matches(['[', ']'])), "(212) 555-0123"),
        (irish.replace('@', "&#64;"), "o&#39;neill@corp.com"),
        (irish.replace('@', "%40"), "o%27neill%40corp.com"),
        (irish.to_owned(), "o'neill@corp.com"),
        (mail.replace("-", "&shy;-%E2%80%8B"), "alice%40corp.com"),
        // One layer.
        (mail.replace('@', "%2540"), &mail.replace('@', "%2540")),
        (mail.replace('@', "&amp;#64;"), &mail.replace('@', "&amp;#64;")),
        // What is no escape, and what stands around one.
        (format!("50%{mail} &{mail} %4{mail} %"), "50%alice@corp.com &alice@corp.com %4alice@corp.com %"),
        (
            format!("u-%40u-{} %E4%B8%AD{mail}", mail.replace('@', "%40")),
            "u-%40u-alice%40corp.com %E4%B8%ADalice@corp.com",
        ),
        (
            format!("bob%40corp.com {} &#98;ob@corp.com", mail.replace('@', "%40")),
            "[EMAIL_1] alice%40corp.com [EMAIL_1]",
        ),
    ] {
        let answered = answered_at_every_cut(&rules, &policy, &mut masker, &answer);
        assert_eq!(answered, expect, "{answer}");
    }
    // Of another request, or where nothing is decoded.
    let (mut other, _) = asked(&rules, "mallory@corp.com");
    let written = mail.replace('@', "%40");
    assert_eq!(answered_at_every_cut(&rules, &policy, &mut other, &written), "[EMAIL_1]");
    let (rules, plain) = decoding(&[]);
    assert_eq!(answered_at_every_cut(&rules, &plain, &mut masker, &written), written);
}

#[test]
fn what_stand_ins_hold_back_in_escapes_is_bounded() {
    let text = "alice@corp.com / (212) 555-0123 / 4111 1111 1111 1111";
    for (escapes, bound) in [(&[][..], 120), (&[Escape::Percent], 143), (&[Escape::Html], 263), (&BOTH, 263)]
    {
        let (rules, _) = engine(|_| Action::Off);
        let switches = Switches { decode: Escapes::new(escapes), ..Switches::default() };
        let policy = Arc::new(rules.policy(Direction::Answer, |_| Action::Off, switches));
        let (mut masker, sent) = asked(&rules, text);
        assert_eq!(
            max_restored(["email", "phone", "credit_card"].into_iter(), &[], Escapes::new(escapes)),
            bound
        );
        let mut most = 0;
        for between in [
            "",
            "\\",
            "\u{200b}",
            "%E2%80%8B",
            "&shy;",
            "&#0000000000000000008203;",
            "&NegativeVeryThinSpace",
        ] {
            let escape =
                |c: char| [format!("&#{:021};", c as u32), format!("%{:02X}", c as u32), c.to_string()];
            for way in 0..3 {
                let written: String =
                    sent.chars().flat_map(|c| [escape(c)[way].clone(), between.to_owned()]).collect();
                let (mut scanner, mut out) = (Scanner::new(&rules, &policy), String::new());
                for piece in pieces(&written, 1) {
                    scanner.push(piece, &mut masker, &mut out);
                    most = most.max(scanner.held());
                    assert!(scanner.held() <= bound, "{} of {bound} held of {between:?}", scanner.held());
                }
            }
        }
        assert!(most * 3 > bound * 2, "the bound is near: {most} of {bound}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Stand-ins among anything, escaped or not: the same for every cut, and no more held than rules and stand-ins may.
    #[test]
    fn every_cut_gives_the_same(
        parts in prop::collection::vec((text(), 0_usize..4, any::<u64>()), 1..4),
        sizes in prop::collection::vec(1_usize..30, 1..5),
        decodes in any::<bool>(),
    ) {
        let escapes: &[Escape] = if decodes { &BOTH } else { &[] };
        static POLICIES: std::sync::OnceLock<[(Arc<Rules>, Arc<Policy>); 2]> = std::sync::OnceLock::new();
        let policies = POLICIES.get_or_init(|| [decoding(&[]), decoding(&BOTH)]);
        let (rules, policy) = &policies[usize::from(decodes)];
        let (mut masker, sent) = asked(rules, "alice@corp.com / (212) 555-0123 / 4111 1111 1111 1111 / 192.0.2.77");
        let stand_ins: Vec<&str> = sent.split(" / ").collect();
        let answer: String = parts.iter().map(|(text, which, seed)| {
            let text = format!("{text}{}", stand_ins[*which]);
            if seed % 3 == 0 { text } else { escaped(&text, *seed) }
        }).collect();
        let kinds = rules.infos().map(|(_, rule)| &*rule.kind);
        let most = rules.max_held(policy).1 + max_restored(kinds, &[], Escapes::new(escapes));
        let mut run = |sizes: &[usize]| {
            let (mut scanner, mut out) = (Scanner::new(rules, policy), String::new());
            let mut rest = answer.as_str();
            for size in sizes.iter().cycle() {
                let Some(piece) = pieces(rest, *size).next() else { break };
                rest = &rest[piece.len()..];
                scanner.push(piece, &mut masker, &mut out);
                prop_assert!(scanner.held() <= most, "{} of {most} bytes held", scanner.held());
            }
            scanner.finish(&mut masker, End::Whole, &mut out);
            Ok((scanner.overran(), out))
        };
        let expect = run(&[answer.len()])?;
        for sizes in [&sizes[..], &[1]] {
            let other = run(sizes)?;
            prop_assert!(other == expect || other.0 && expect.0, "{:?} is not {:?}", other, expect);
        }
    }
}

/// The spellings of a person are one; of keys every letter counts.
#[test]
fn who_is_the_same_has_the_same_stand_in() {
    let (rules, _) = engine(|_| Action::Mask);
    let stand_ins =
        |text: &str| -> Vec<String> { asked(&rules, text).1.split(" and ").map(str::to_owned).collect() };
    for (text, same) in [
        ("alice@corp.com and Alice@Corp.com", true),
        ("a-l@corp.com and al@corp.com", false),
        ("212-555-0123 and (212) 555-0123", true),
        ("4111 1111 1111 1111 and 4111-1111-1111-1111", true),
        // A closed key, and one with an open end.
        ("ghp_16C7e42F292c6912E7710c838347Ae178B4a and ghp_16c7e42F292c6912E7710c838347Ae178B4a", false),
        ("sk-proj-T3BlbkFJx9Qa7Lm2Zp4RvK8WcYe5 and sk-proj-T3BlbkFJx9Qa7Lm2Zp4RvK8WcYE5", false),
    ] {
        let [one, other] = &stand_ins(text)[..] else { panic!("{text}") };
        assert!(!text.contains(one.as_str()) && !text.contains(other.as_str()), "{one} and {other}");
        assert_eq!(one == other, same, "{text}: {one} and {other}");
    }
    let masked = |text: &str| whole(&engine(|_| Action::Mask), text).0;
    assert_eq!(masked("212-555-0123 and (212) 555-0123"), "[PHONE_1] and [PHONE_1]");
    assert_eq!(masked("a-l@corp.com and al@corp.com"), "[EMAIL_1] and [EMAIL_2]");
}

#[test]
fn a_masker_that_made_stand_ins_restores_and_hides_them() {
    let (rules, _) = engine(|_| Action::Mask);
    let (masker, upstream) = asked(&rules, "alice@corp.com");
    assert!(masker.restores() && !Masker::new().restores());
    assert_eq!(masker.restored_in("To alice@corp.com."), [(3..17, upstream)]);
    assert_eq!(Masker::new().restored_in("To alice@corp.com."), []);
}

/// With a digit before or behind it a look-alike is another number, whatever the cuts.
#[test]
fn look_alikes_inside_of_longer_numbers_stay() {
    let (rules, policy) = engine(|_| Action::Off);
    let (mut masker, upstream) = asked_alike(&rules, "4111 1111 1111 1111");
    let card: String = upstream.chars().filter(char::is_ascii_digit).collect();
    assert_eq!(card.len(), 16, "{upstream}");
    let own = "4111 1111 1111 1111";
    for (text, expect) in [
        (card.clone(), own.to_owned()),
        (format!("{card}."), format!("{own}.")),
        (format!("{card}\\."), format!("{own}\\.")),
        (format!("{card}\\7"), format!("{own}\\7")),
        (format!("x{card} y"), format!("x{own} y")),
        (format!("{card}7"), format!("{card}7")),
        (format!("7{card}"), format!("7{card}")),
        (format!("7 {card}7 {card}"), format!("7 {card}7 {own}")),
    ] {
        for size in [1, 3, text.len()] {
            assert_eq!(answered(&rules, &policy, &mut masker, &text, size), expect, "{text} by {size}");
        }
    }
}

/// 120 bytes are held before the last of thirty characters, as many as may be.
#[test]
fn a_stand_in_may_be_stuffed_up_to_the_bound() {
    let (rules, policy) = engine(|_| Action::Off);
    let (mut masker, mail) = asked(&rules, "alice@corp.com");
    assert_eq!(mail.len(), 30);
    let stuffed = |more: &str| format!("{}{}{more}{}", &mail[..15], "\u{200b}".repeat(30), &mail[15..]);
    let last = stuffed("\\");
    assert_eq!(answered_at_every_cut(&rules, &policy, &mut masker, &last), "alice@corp.com");
    let past = stuffed("\\\\");
    assert_eq!(answered_at_every_cut(&rules, &policy, &mut masker, &past), past);
}
