#![no_main]
//! The scanner: the same output and findings for every way of cutting a text, whatever is done about what is found, and never
//! more held back than is stated.

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use tollgate_filters::scan::{
    Action, Direction, End, Escape, Escapes, Finding, Flow, Masker, Policy, Profile, Rules, Scanner, Shape,
    Switches,
};

const OWN: &str = include_str!("../../src/scan/tests/own.yaml");

static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| {
    let mut specs = Rules::builtin_specs();
    specs.extend(Rules::parse(OWN).expect("the rules parse"));
    Arc::new(Rules::compile(&specs).expect("the rules compile"))
});

/// The built-in profiles, and sixteen times one action per rule.
static POLICIES: LazyLock<Vec<Arc<Policy>>> = LazyLock::new(|| {
    const ACTIONS: [Action; 6] =
        [Action::Mask, Action::Off, Action::Log, Action::Shadow, Action::Pseudonymise, Action::Block];
    let profiles = Profile::NAMES.into_iter().map(|name| {
        let profile = Profile::builtin(name).expect("is built in");
        Arc::new(RULES.policy_of(&profile, Direction::Answer))
    });
    let mixed = (0..16_u64).map(|seed| {
        let action = move |id: &str| {
            let mixed = id.bytes().fold(seed, |sum, b| (sum ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
            ACTIONS[(mixed >> 40) as usize % ACTIONS.len()]
        };
        let escapes: &[Escape] = match seed % 4 {
            0 => &[Escape::Html, Escape::Percent],
            1 => &[Escape::Html],
            2 => &[Escape::Percent],
            _ => &[],
        };
        let switches = Switches { decode: Escapes::new(escapes), ..Switches::default() };
        Arc::new(RULES.policy(Direction::Answer, |rule| action(&rule.id), switches))
    });
    profiles.chain(mixed).collect()
});

/// Findings that change the text: at a block, those that are only recorded may not be decided yet.
fn acting(masker: &Masker) -> Vec<Finding> {
    masker.findings().iter().filter(|finding| finding.action.acts()).cloned().collect()
}

fn whole(policy: &Arc<Policy>, text: &str) -> (String, Vec<Finding>) {
    let mut masker = Masker::new();
    let mut all = Vec::new();
    RULES.scan(policy, text, &mut all);
    let (mut out, mut sent) = (String::new(), 0);
    for found in all {
        let value = &text[found.span.clone()];
        masker.note("", &found, value);
        if found.action.acts() {
            out.push_str(&text[sent..found.span.start]);
            sent = found.span.end;
            if found.action == Action::Block {
                return (out, acting(&masker));
            }
            out.push_str(&masker.stand_in(&found, value, Shape::Text));
        }
    }
    out.push_str(&text[sent..]);
    (out, masker.findings().to_vec())
}

fn stream(policy: &Arc<Policy>, text: &str, sizes: impl Iterator<Item = usize>) -> (String, Vec<Finding>) {
    let (_, most) = RULES.max_held(policy);
    let mut masker = Masker::new();
    let mut scanner = Scanner::new(&RULES, policy);
    let (mut out, mut rest) = (String::new(), text);
    for size in sizes {
        if rest.is_empty() {
            break;
        }
        let mut cut = size.clamp(1, rest.len());
        while !rest.is_char_boundary(cut) {
            cut += 1;
        }
        let (piece, others) = rest.split_at(cut);
        rest = others;
        if scanner.push(piece, &mut masker, &mut out) != Flow::Pass {
            return (out, acting(&masker));
        }
        assert!(scanner.held() <= most, "{} of {most} bytes held", scanner.held());
    }
    match scanner.finish(&mut masker, End::Whole, &mut out) {
        Flow::Pass => (out, masker.findings().to_vec()),
        Flow::Block(_) => (out, acting(&masker)),
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((head, bytes)) = input.split_first_chunk::<4>() else { return };
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let policy = &POLICIES[usize::from(head[0]) % POLICIES.len()];
    let sizes = [head[1] % 8 + 1, head[2] % 40 + 1, head[3]].map(usize::from);
    let expect = whole(policy, text);
    assert_eq!(stream(policy, text, std::iter::repeat(1)), expect);
    assert_eq!(stream(policy, text, sizes.into_iter().cycle()), expect);
});
