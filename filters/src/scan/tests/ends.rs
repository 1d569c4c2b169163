//! What an answer that is cut short keeps of a value that had only begun.

use super::*;

/// Asserts what becomes of a text that is whole, and of one that was cut short.
fn check(engine: &(Arc<Rules>, Arc<Policy>), text: &str, whole: &str, cut: &str) {
    for (end, expect) in [(End::Whole, whole), (End::CutShort, cut)] {
        assert_eq!(ended(engine, pieces(text, usize::MAX), end).0, expect, "{end:?}");
        assert_eq!(ended(engine, pieces(text, 1), end).0, expect, "{end:?}, byte by byte");
    }
}

#[test]
fn an_answer_that_is_cut_short_keeps_its_candidates() {
    let engine = engine(|_| Action::Mask);
    for (text, whole, cut) in [
        ("mail alice@cor", "mail alice@cor", "mail [EMAIL_1]"),
        ("mail alice", "mail alice", "mail alice"),
        ("key sk-T3Blbk", "key sk-T3Blbk", "key [SECRET_1]"),
        ("see postgres://app:s3cr", "see postgres://app:s3cr", "see [SECRET_1]"),
        ("call 212-555-01", "call 212-555-01", "call [PHONE_1]"),
        ("call +1 212", "call +1 212", "call [PHONE_1]"),
        ("card 4111 1111 11", "card 4111 1111 11", "card [CREDIT_CARD_1]"),
        ("from 203.0.11", "from 203.0.11", "from [IP_ADDRESS_1]"),
        ("from 2001:db8:85a3", "from 2001:db8:85a3", "from [IP_ADDRESS_1]"),
        ("pay DE89 3704 00", "pay DE89 3704 00", "pay [IBAN_1]"),
        ("in 2024", "in 2024", "in 2024"),
        ("at 12:30", "at 12:30", "at 12:30"),
        ("pay de 20", "pay de 20", "pay de 20"),
    ] {
        check(&engine, text, whole, cut);
    }
}

#[test]
fn an_assigned_value_is_kept_from_its_fourth_character_on() {
    let engine = engine(|_| Action::Mask);
    for (text, cut) in [
        ("token = q8Zr", "token = [SECRET_1]"),
        ("token = q8Z", "token = q8Z"),
        ("token = ", "token = "),
        ("\"api_key\": \"q8Zr", "\"api_key\": \"[SECRET_1]"),
    ] {
        check(&engine, text, text, cut);
    }
}

/// What a pattern has matched the beginning of, from half of its shortest match on: sixteen characters of a long one.
#[test]
fn the_beginning_of_a_pattern_is_kept() {
    let engine = engine(|_| Action::Mask);
    let webhook = "https://acme.webhook.office.com/webhookb2/9f86d081-884c-4d65-9a2f-eaa0c55ad015@1b4f0e98-51a1-4f2a-8c3d-\
                   7e6f5a4b3c2d/IncomingWebhook/9f86d081884c7d659a2feaa0c55ad015/7c211433-f02e-4d8a-9b1c-2d3e4f5a6b7c";
    let bot = "MTk4NjIyNDgzNDcxOTI1MjQ4.Gq8Zr2.LmX0vT5bNc7KpWd3HsYfJ6gRa1uEo9iQtBw4xM";
    for (value, begun) in [(webhook, 16), (bot, 16)] {
        for len in 8..value.len() {
            let text = format!("see {}", &value[..len]);
            let (kept, _) = ended(&engine, pieces(&text, usize::MAX), End::CutShort);
            assert_eq!(kept == "see [SECRET_1]", len >= begun, "{text}: {kept}");
        }
    }
    // A whole address of another host is none.
    check(
        &engine,
        "see https://docs.office.com/some-page",
        "see https://docs.office.com/some-page",
        "see https://docs.office.com/some-page",
    );
    let own = Rules::parse("- {id: ticket, kind: ticket, pattern: \"[A-Z]{2,4}-[0-9]{6}\"}").expect("parses");
    let rules = Arc::new(Rules::compile(&own).expect("compiles"));
    let policy = rules.policy(Direction::Answer, |_| Action::Mask, Switches::default());
    let engine = (rules, Arc::new(policy));
    check(&engine, "see AB-12345", "see AB-12345", "see [TICKET_1]");
    check(&engine, "see AB-", "see AB-", "see AB-");
}
