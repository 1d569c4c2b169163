//! Rules that nobody has written: any two to four, beside some of the built-in ones, any actions, texts made of what they look for.

use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

use super::bounds::actions;
use super::cuts::text as ordinary;
use super::*;

const CLASSES: [&str; 6] = ["0-9", "0-9a-f", "ab1", "A-Za-z0-9", "A-Za-z0-9_-", "a-z0-9.~+/"];
const LEADS: [&str; 5] = ["0-9", "a-z", "ab1", "A-Za-z0-9._-", "a-z0-9+/"];
/// Runs of these are cut from.
const RUN: &str = "7ab1d0c2e9f3b8a1ab11a0b1c6d4e2f7a9b0";

/// A rule, and what may stand in a text that it is tried on.
#[derive(Debug, Clone)]
struct Drawn {
    spec: RuleSpec,
    /// Its marks, its words, and texts that its pattern matches.
    parts: Vec<String>,
}

fn validator() -> impl Strategy<Value = Option<Validator>> {
    prop_oneof![4 => Just(None), 1 => Just(Some(Validator::Entropy)), 1 => Just(Some(Validator::Luhn))]
}

fn words() -> impl Strategy<Value = Vec<String>> {
    prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec("key|id|ab|ticket", 1..3)]
}

fn named(look: impl Strategy<Value = (RuleSpec, Vec<String>)>) -> impl Strategy<Value = Drawn> {
    (look, select(vec!["secret", "email", "ticket", "code"]), validator(), words(), words()).prop_map(
        |((mut spec, mut parts), kind, validator, context, avoid)| {
            spec.kind = kind.to_owned();
            if spec.terms.is_empty() {
                (spec.validator, spec.context, spec.avoid) = (validator, context, avoid);
            }
            parts.extend(spec.context.iter().chain(&spec.avoid).map(|word| format!("{word} ")));
            Drawn { spec, parts }
        },
    )
}

fn spec(yaml: &str) -> RuleSpec {
    let yaml = format!("- {{id: none, kind: none, {yaml}}}");
    Rules::parse(&yaml).expect(&yaml).remove(0)
}

/// `starts` with and without a lead; bodies with and without an end, labels.
fn key() -> impl Strategy<Value = (RuleSpec, Vec<String>)> {
    let start = prop_oneof!["[ab1]{3}", "[ab1]{1,2}[_:.-]{2}", "[_:~-][ab1]{2,5}", "[ab1_-]{4,9}"];
    let lead =
        prop::option::weighted(0.4, (select(&LEADS[..]), 1_usize..6, prop_oneof![0_usize..4, 0_usize..75]));
    let body = (select(&CLASSES[..]), 1_usize..24, prop::option::of(0_usize..12), prop::bool::weighted(0.2));
    (prop::collection::vec(start, 1..3), body, lead, any::<bool>()).prop_map(
        |(starts, body, lead, bodiless)| {
            let (class, mut min, more, mut label) = body;
            if lead.is_some() {
                label = false;
                min = if bodiless && more.is_some() { 0 } else { min };
            }
            min = min.max(if label { 2 } else { 0 });
            let mut written =
                format!("starts: {starts:?}, body: {{class: \"{class}\", min: {min}, label: {label}");
            if let Some(more) = more {
                written.push_str(&format!(", max: {}", min + more));
            }
            written.push('}');
            if let Some((class, min, more)) = lead {
                written.push_str(&format!(", lead: {{class: \"{class}\", min: {min}, max: {}}}", min + more));
            }
            let mut parts = starts.clone();
            for start in &starts {
                parts.push(format!("{start}{}", &RUN[..min]));
                parts.push(format!("{}{start}{}", &RUN[..lead.map_or(0, |(_, min, _)| min)], &RUN[..min]));
                parts.push(start[..start.len() - 1].to_owned());
            }
            (spec(&written), parts)
        },
    )
}

/// Bounded patterns, and a text that each matches.
fn pattern() -> impl Strategy<Value = (RuleSpec, Vec<String>)> {
    let form = prop_oneof![
        (1_usize..4, 1_usize..5).prop_map(|(a, b)| (
            format!("[ab]{{{a},4}}-[0-9]{{{b},6}}"),
            format!("{}-{}", "a".repeat(a), "1".repeat(b))
        )),
        (3_usize..9, 0_usize..30)
            .prop_map(|(n, m)| (format!("#?[0-9a-f]{{{n},{}}}", n + m), RUN[..n].to_owned())),
        (2_usize..5).prop_map(|n| (format!("ab(1|b1|-a){{1,{n}}}"), "ab1-ab1".to_owned())),
        (0_usize..3).prop_map(|n| (
            format!("a[b1]{{2}}( |-| - ){{1,2}}b{{1,{}}}(a|1)?", n + 1),
            "ab1 - b".to_owned()
        )),
        Just(("(ab|abab|ababab1)[0-9]{0,2}".to_owned(), "ababab".to_owned())),
        Just(("[a-z]{2,12}:(//)?[a-z0-9]{2,12}".to_owned(), "ab://b1".to_owned())),
    ];
    (form, any::<bool>()).prop_map(|((pattern, example), fold)| {
        let longer = format!("{example}{example}");
        (spec(&format!("pattern: {pattern:?}, ignore_case: {fold}")), vec![example, longer])
    })
}

fn terms() -> impl Strategy<Value = (RuleSpec, Vec<String>)> {
    prop::collection::vec("ab1?( |-)?(a|ab|b1)( ab)?|[ab1]{2,5}", 1..4)
        .prop_map(|terms| (spec(&format!("terms: {terms:?}")), terms))
}

fn rules() -> impl Strategy<Value = Vec<Drawn>> {
    let drawn =
        prop_oneof![5 => named(key()).boxed(), 3 => named(pattern()).boxed(), 1 => named(terms()).boxed()];
    prop::collection::vec(drawn, 2..5).prop_map(|mut drawn| {
        for (n, rule) in drawn.iter_mut().enumerate() {
            rule.spec.id = format!("drawn-{n}");
        }
        drawn
    })
}

/// What a text is made of: a part of a rule, a run, or what stands between.
fn part() -> impl Strategy<Value = (Index, Part)> {
    let between = prop_oneof![
        select(vec![" ", "-", ":", "_", ".", "\n", "\"", ", ", "\u{200b}", "é", "漢", "&#97;", "%62"])
            .prop_map(str::to_owned),
        (1_usize..40).prop_map(|n| "\u{200b}".repeat(n)),
        ordinary(),
    ];
    let part = prop_oneof![
        6 => Just(Part::Of),
        1 => (1_usize..14).prop_map(Part::Stretched),
        3 => (0_usize..20, 1_usize..17).prop_map(|(from, len)| Part::Other(RUN[from..from + len].to_owned())),
        1 => ("[ab1-]", 1_usize..120).prop_map(|(unit, n)| Part::Other(unit.repeat(n))),
        4 => between.prop_map(Part::Other),
    ];
    (any::<Index>(), part)
}

#[derive(Debug, Clone)]
enum Part {
    /// Of a rule, as it is.
    Of,
    /// The same with so many characters that print nothing behind each of its own.
    Stretched(usize),
    Other(String),
}

fn written(rules: &[Drawn], parts: &[(Index, Part)]) -> String {
    let of_rules: Vec<&String> = rules.iter().flat_map(|rule| &rule.parts).collect();
    let write = |(index, part): &(Index, Part)| match part {
        Part::Of => index.get(&of_rules).to_string(),
        Part::Stretched(by) => {
            let nothing = "\u{200b}".repeat(*by);
            index.get(&of_rules).chars().map(|c| format!("{c}{nothing}")).collect()
        }
        Part::Other(text) => text.clone(),
    };
    parts.iter().map(write).collect()
}

/// Each case compiles rules.
fn fewer() -> ProptestConfig {
    let all = ProptestConfig::default();
    ProptestConfig { cases: all.cases.div_ceil(4), failure_persistence: None, ..all }
}

proptest! {
    #![proptest_config(fewer())]

    /// Rules are compiled once a case, and tried on several texts.
    #[test]
    fn any_rules_are_the_same_for_every_cut_and_hold_no_more_than_is_said(
        drawn in rules(),
        builtin in subsequence(Rules::builtin_specs(), 0..3),
        texts in prop::collection::vec(prop::collection::vec(part(), 1..12), 8),
        seed in any::<u64>(),
        escapes in subsequence(vec![Escape::Html, Escape::Percent], 0..=2),
        cuts in prop::collection::vec(1_usize..30, 1..6),
    ) {
        let specs: Vec<RuleSpec> = drawn.iter().map(|drawn| drawn.spec.clone()).chain(builtin).collect();
        let rules = Arc::new(Rules::compile(&specs).expect("the rules compile"));
        let switches = Switches { decode: Escapes::new(&escapes), ..Switches::default() };
        let policy = Arc::new(rules.policy(Direction::Answer, actions(seed), switches));
        let (units, raw) = rules.max_held(&policy);
        for parts in &texts {
            let text = written(&drawn, parts);
            let expect = whole(&(rules.clone(), policy.clone()), &text);
            for cuts in [&cuts[..], &[1]] {
                let (mut masker, mut scanner) = (Masker::new(), Scanner::new(&rules, &policy));
                let (mut out, mut rest) = (String::new(), text.as_str());
                for size in cuts.iter().cycle() {
                    let Some(piece) = pieces(rest, *size).next() else { break };
                    rest = &rest[piece.len()..];
                    scanner.push(piece, &mut masker, &mut out);
                    // Escapes are counted in raw bytes alone.
                    prop_assert!(
                        !escapes.is_empty() || scanner.held_units() <= units,
                        "{} of {units} held of {text:?}", scanner.held_units()
                    );
                    prop_assert!(scanner.held() <= raw, "{} of {raw} bytes held of {text:?}", scanner.held());
                }
                scanner.finish(&mut masker, End::Whole, &mut out);
                prop_assert_eq!(&(out, masker.findings().to_vec()), &expect, "{:?} by {:?}", text, cuts);
            }
        }
    }
}
