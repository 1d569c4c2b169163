//! What is demanded and what is kept out of the audit trail where findings overlap, or go on.

use super::*;
use crate::scan::{RuleInfo, RuleSpec, TermList, Treatment};

fn on_premises() -> Demands {
    Demands::from([("on_premises".to_owned(), "true".to_owned())])
}

/// Built-in rules, and one that finds customers.
fn with_customers() -> Rules {
    let mut specs = Rules::builtin_specs();
    let terms = TermList::new(vec!["acme".into(), "x bob".into()]);
    let spec: RuleSpec = serde_saphyr::from_str("{id: customers, kind: customer}").expect("is a rule");
    specs.push(RuleSpec { terms, ..spec });
    Rules::compile(&specs).expect("compiles")
}

fn screened(rules: &Rules, treatment: impl Fn(&RuleInfo) -> Treatment, api: Api, body: &str) -> Screened {
    let policy = rules.policy_by(Direction::Request, treatment, Switches::default());
    let call = Call::read(api, body.as_bytes(), ReadBounds::default()).expect(body);
    screen(&call, body.as_bytes(), rules, &policy, &mut Masker::new(), Options::default())
}

/// The finding that demands labels lies in another, over its edge, or in a text that nothing may change.
#[test]
fn what_a_finding_demands_is_demanded_where_it_overlaps_another() {
    let rules = with_customers();
    let thinking = r#"{"model":"m","max_tokens":9,"messages":[{"role":"assistant","content":[
        {"type":"thinking","thinking":"mail bob@acme.com","signature":"s"}]},{"role":"user","content":"q"}]}"#;
    let table = [
        (Api::Chat, user(r#""mail bob@acme.com""#)),
        (Api::Chat, user(r#""mail x bob@corp.com""#)),
        (Api::Chat, user(r#""{\"mail\": \"bob@acme.com\"}""#)),
        (Api::Messages, thinking.to_owned()),
    ];
    for (api, body) in &table {
        for email in [Action::Log, Action::Shadow, Action::Mask, Action::Block] {
            for customer in [Action::Log, Action::Mask, Action::Pseudonymise] {
                let treatment = |rule: &RuleInfo| match &*rule.kind {
                    "email" => Treatment::new(email),
                    "customer" => Treatment::new(customer).requiring(on_premises()),
                    _ => Treatment::new(Action::Off),
                };
                let done = screened(&rules, treatment, *api, body);
                assert_eq!(done.require, on_premises(), "{email:?} {customer:?} {body}");
                let refused = done.rejection.map(|rejection| rejection.code);
                assert!(refused.is_none_or(|code| code == Code::PiiDetected), "{refused:?} {body}");
            }
            let shadow = |rule: &RuleInfo| match &*rule.kind {
                "email" => Treatment::new(email),
                "customer" => Treatment::shadow(Action::Mask).requiring(on_premises()),
                _ => Treatment::new(Action::Off),
            };
            let done = screened(&rules, shadow, *api, body);
            assert_eq!((done.require, done.would_require), (Demands::new(), on_premises()), "{body}");
        }
    }
}

#[test]
fn nothing_is_demanded_by_the_bounds_in_a_schema() {
    let body = r#"{"model":"m","tools":[{"type":"function","function":{"name":"f","parameters":
        {"maximum":4111111111111111}}}],"messages":[{"role":"user","content":"q"}]}"#;
    let treatment = |_: &RuleInfo| Treatment::new(Action::Mask).requiring(on_premises());
    assert_eq!(screened(&BUILTIN, treatment, Api::Chat, body).require, Demands::new());
    let said = screened(&BUILTIN, treatment, Api::Chat, &user(r#""4111111111111111""#));
    assert_eq!(said.require, on_premises());
}

#[test]
fn what_a_schema_says_demands_and_what_bounds_it_does_not() {
    let body = r#"{"model":"m","tools":[{"type":"function","function":{"name":"f","parameters":
        {"description":"ask bob@corp.com","maximum":4111111111111111}}}],"messages":[{"role":"user","content":"q"}]}"#;
    let label = |value: &str| Demands::from([("zone".to_owned(), value.to_owned())]);
    let treatment = |rule: &RuleInfo| match &*rule.kind {
        "email" => Treatment::new(Action::Mask).requiring(label("eu")),
        _ => Treatment::new(Action::Mask).requiring(label("us")),
    };
    let done = screened(&BUILTIN, treatment, Api::Chat, body);
    assert_eq!((done.require, done.rejection), (label("eu"), None));
    let both = user(r#""bob@corp.com pays with 4111111111111111""#);
    let rejection = screened(&BUILTIN, treatment, Api::Chat, &both).rejection.expect("is refused");
    assert_eq!(rejection.code, Code::NoUpstream);
    assert!(rejection.message.contains("zone=eu and zone=us"), "{rejection}");
}

/// In history a block would have masked, in what must stay nothing would have been done.
#[test]
fn a_shadow_says_what_would_have_been_done_where_it_stands() {
    let thinking = r#"{"model":"m","max_tokens":9,"messages":[{"role":"assistant","content":[
        {"type":"thinking","thinking":"bob@corp.com","signature":"s"}]},{"role":"user","content":"q"}]}"#;
    let history = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"bob@corp.com"},
        {"role":"assistant","content":"Hi"},{"role":"user","content":"q"}]}"#;
    let new = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"bob@corp.com"}]}"#;
    for (would, body, expect) in [
        (Action::Block, new, Some(Action::Block)),
        (Action::Block, history, Some(Action::Mask)),
        (Action::Block, thinking, None),
        (Action::Mask, new, Some(Action::Mask)),
        (Action::Pseudonymise, history, Some(Action::Pseudonymise)),
        (Action::Mask, thinking, None),
    ] {
        let policy = BUILTIN.policy_by(Direction::Request, |_| Treatment::shadow(would), Switches::default());
        let call = Call::read(Api::Messages, body.as_bytes(), ReadBounds::default()).expect(body);
        let mut masker = Masker::new();
        let done = screen(&call, body.as_bytes(), &BUILTIN, &policy, &mut masker, Options::default());
        assert_eq!(done.rejection, None);
        let seen: Vec<_> = masker.findings().iter().map(|found| (found.action, found.would)).collect();
        assert_eq!(seen, [(Action::Shadow, expect)], "{would:?} {body}");
    }
}

fn keys() -> [String; 3] {
    let line = "q8Zr2LmX0vT5bNc7KpWd3HsYfJ6gRa1uEo9iT3BlbkFJx9Qa7Lm2Zp4Rv8Wc6Yd1\n";
    let base64: String = line.trim().repeat(20);
    [
        format!("-----BEGIN RSA PRIVATE KEY-----\n{}-----END RSA PRIVATE KEY-----", line.repeat(600)),
        format!("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.{base64}"),
        format!("sk-ant-api03-{base64}"),
    ]
}

/// The whole of it, also of one that is longer than what is looked at between two settlements.
#[test]
fn nothing_of_a_key_that_passes_gets_into_the_audit_trail() {
    for key in keys() {
        let body = user(&serde_json::to_string(&format!("Use {key} here")).expect("text"));
        for action in [|_: &str| Action::Log, |_: &str| Action::Shadow] {
            let outcome = bench(action).screen(Api::Chat, &body);
            assert_eq!((&outcome.body, &outcome.rejection), (&body, &None));
            assert_eq!(outcome.audit, "Use [SECRET] here");
        }
    }
}

/// Whole, and in pieces.
#[test]
fn a_key_that_is_only_recorded_is_found_with_its_end() {
    for key in keys() {
        let text = format!("Use {key} here");
        let expect = 4..4 + key.len();
        for action in [Action::Log, Action::Shadow, Action::Mask] {
            let policy = BUILTIN.policy(
                Direction::Request,
                |rule| if &*rule.kind == "secret" { action } else { Action::Off },
                Switches::default(),
            );
            let mut found = Vec::new();
            BUILTIN.scan(&policy, &text, &mut found);
            let spans = |found: &[Found]| found.iter().map(|found| found.span.clone()).collect::<Vec<_>>();
            assert_eq!(spans(&found), vec![expect.clone()], "{action:?}");
            let mut scanner = crate::scan::Scanner::new(&BUILTIN, &std::sync::Arc::new(policy)).recording();
            let (mut masker, mut out) = (Masker::new(), String::new());
            for piece in text.as_bytes().chunks(7) {
                scanner.push(std::str::from_utf8(piece).expect("ASCII"), &mut masker, &mut out);
            }
            scanner.finish(&mut masker, crate::scan::End::Whole, &mut out);
            assert_eq!(spans(&scanner.take_found()), vec![expect.clone()], "{action:?}");
        }
    }
}

/// A masked value inside a key that is only recorded: the key's parts on both sides are kept out, and it counts once.
#[test]
fn a_key_that_goes_on_over_what_is_masked_is_cut_not_lost() {
    let line = "q8Zr2LmX0vT5bNc7KpWd3HsYfJ6gRa1uEo9iT3BlbkFJx9Qa7Lm2Zp4Rv8Wc6Yd1\n";
    let many = line.repeat(8);
    let key =
        format!("-----BEGIN RSA PRIVATE KEY-----\n{many}acme\nacme\n{many}-----END RSA PRIVATE KEY-----");
    let body = user(&serde_json::to_string(&format!("Use {key} here")).expect("text"));
    let action: fn(&str) -> Action = |kind| match kind {
        "customer" => Action::Mask,
        "secret" => Action::Log,
        _ => Action::Off,
    };
    let outcome = Bench { rules: Box::leak(Box::new(with_customers())), action }.screen(Api::Chat, &body);
    assert_eq!(outcome.audit, "Use [SECRET][CUSTOMER_1][SECRET][CUSTOMER_1][SECRET] here");
    let secrets = outcome.findings.iter().filter(|finding| &*finding.kind == "secret");
    assert_eq!(secrets.map(|finding| finding.count).sum::<u32>(), 1);
}
