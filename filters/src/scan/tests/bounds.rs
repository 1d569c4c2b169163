//! What is held after every push, for any text, rules, actions and cuts.

use proptest::prelude::*;

use super::cuts::text;
use super::*;
use crate::scan::mask::Repeats;
use crate::scan::pseudonym::Room;

/// Rules of a user beside the built-in ones.
const OWN: &str = include_str!("own.yaml");

fn rules() -> Arc<Rules> {
    static RULES: std::sync::OnceLock<Arc<Rules>> = std::sync::OnceLock::new();
    let compile = || {
        let mut specs = Rules::builtin_specs();
        specs.extend(Rules::parse(OWN).expect("the rules parse"));
        Arc::new(Rules::compile(&specs).expect("the rules compile"))
    };
    RULES.get_or_init(compile).clone()
}

/// One action per rule, most of them off for some seeds.
pub(super) fn actions(seed: u64) -> impl Fn(&RuleInfo) -> Action {
    const FEW: [Action; 8] = [
        Action::Off,
        Action::Mask,
        Action::Off,
        Action::Log,
        Action::Off,
        Action::Off,
        Action::Mask,
        Action::Off,
    ];
    const MANY: [Action; 8] = [
        Action::Mask,
        Action::Pseudonymise,
        Action::Mask,
        Action::Log,
        Action::Mask,
        Action::Shadow,
        Action::Mask,
        Action::Off,
    ];
    let actions = if seed & 1 == 0 { FEW } else { MANY };
    move |rule| {
        let mixed = rule.id.bytes().fold(seed, |sum, b| (sum ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        actions[(mixed >> 40) as usize % actions.len()]
    }
}

/// Parts that are long, or full of what prints nothing.
fn long() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => text(),
        1 => ("[a@1(+.:-]|\u{1d7cf}|é|字|eyJ|\u{ff08}", 1..90_usize).prop_map(|(part, n)| part.repeat(n)),
        1 => (1..40_usize).prop_map(|n| "\u{200b}".repeat(n)),
        1 => (text(), 1..18_usize).prop_map(|(text, n)| {
            text.chars().take(12).flat_map(|c| std::iter::once(c).chain(std::iter::repeat_n('\u{200b}', n))).collect()
        }),
        1 => "[A-Z]{1,4}-?[0-9]{0,6}",
        1 => "mem_[0-9]{0,9}",
        3 => "(([Aa]cme|Acm|corp|hold|holding|Müller|Mu\u{308}ller|Söhne|&|北|京|北京公司|AT&T|falcon|nine|heavy|.hidden|12|45)[ _\n]?){1,5}",
        1 => "#[0-9a-fA-F]{0,7}",
    ];
    prop::collection::vec(part, 1..5).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_held_is_bounded_and_cuts_do_not_matter(
        text in long(),
        seed in any::<u64>(),
        cuts in prop::collection::vec(1_usize..30, 1..6),
    ) {
        let rules = rules();
        let policy = Arc::new(rules.policy(Direction::Answer, actions(seed), Switches::default()));
        let (units, raw) = rules.max_held(&policy);
        let expect = whole(&(rules.clone(), policy.clone()), &text);
        let mut masker = Masker::new();
        let mut scanner = Scanner::new(&rules, &policy);
        let (mut out, mut rest) = (String::new(), text.as_str());
        for size in cuts.iter().cycle() {
            let Some(piece) = pieces(rest, *size).next() else { break };
            rest = &rest[piece.len()..];
            scanner.push(piece, &mut masker, &mut out);
            prop_assert!(scanner.held_units() <= units, "{} of {units} held", scanner.held_units());
            prop_assert!(scanner.held() <= raw, "{} of {raw} bytes held", scanner.held());
        }
        scanner.finish(&mut masker, End::Whole, &mut out);
        prop_assert_eq!(&(out, masker.findings().to_vec()), &expect);
    }
}

/// What a request remembers of values is bounded; past the bound nothing of a value is shown.
#[test]
fn values_past_the_limit_are_masked_without_a_number() {
    assert_eq!(Room::default().values, 65_536, "as Masker::stand_in says");
    let room = Room { values: 1_000 };
    let rules = &BUILTIN;
    let (email, _) = rules.infos().find(|(_, rule)| &*rule.kind == "email").expect("built in");
    for action in [Action::Mask, Action::Pseudonymise] {
        let policy = rules.policy(Direction::Request, |_| action, Switches::default());
        let mut masker = Masker::with_room(room).with_pseudonyms(PseudonymKey::derive(b"secret", "acme"));
        let mut stand_in = |n: usize| {
            let value = format!("u{n}@corp.com");
            let found = rules.found(&policy, email, 0..value.len(), value.len());
            masker.note("", &found, &value);
            (
                masker.stand_in(&found, &value, Shape::Text),
                masker.may_repeat(&found, &value, true) == Repeats::Yes,
            )
        };
        let first = stand_in(0);
        for n in 1..room.values {
            let (shown, carried) = stand_in(n);
            assert!(shown != "[EMAIL]" && carried, "{n}");
        }
        assert_eq!(stand_in(room.values), ("[EMAIL]".to_owned(), false));
        assert_eq!(stand_in(0), first);
    }
}
/// What stands before a mark and the beginning of the mark, both stretched, are held no longer than the key may be.
#[test]
fn a_stretched_lead_and_its_mark_are_bounded_together() {
    let rules = &BUILTIN;
    let (marked, rule) = rules.infos().find(|(_, rule)| &*rule.id == "marked_at_end").expect("built in");
    let only = |info: &RuleInfo| if info.id == rule.id { Action::Mask } else { Action::Off };
    let policy = Arc::new(rules.policy(Direction::Answer, only, Switches::default()));
    assert!(policy.acts_on(marked));
    let (units, raw) = rules.max_held(&policy);
    let nothing = "\u{200b}".repeat(11);
    let text: String = "192.0.2.1-----BEGIN ROOM".chars().map(|c| format!("{c}{nothing}")).collect();
    let mut scanner = Scanner::new(rules, &policy);
    let (mut masker, mut out) = (Masker::new(), String::new());
    for piece in pieces(&text, 1) {
        scanner.push(piece, &mut masker, &mut out);
        assert!(scanner.held() <= raw && scanner.held_units() <= units, "{} of {raw}", scanner.held());
    }
    scanner.finish(&mut masker, End::Whole, &mut out);
    assert_eq!(out, text);
}
