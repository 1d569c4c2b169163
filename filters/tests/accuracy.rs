//! How much the built-in rules find, and what they find where nothing is: the sets of `tests/data`, measured.
//!
//! `cargo test -p tollgate-filters --test accuracy`; `UPDATE=1` writes `docs/accuracy.md`, `SHOW=phone` (a row's name, or
//! `harmless`) prints what went wrong in the part that rules may be written against. The other part is only counted.

#![allow(clippy::disallowed_methods)] // a harness reads its sets, and what it is asked to show

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use regex_automata::meta::Regex;
use serde::Deserialize;
use tollgate_filters::scan::{
    Action, Direction, End, Escape, Escapes, Masker, Policy, Rules, Scanner, Switches,
};

/// Kinds that harmless texts must be free of.
const KINDS: [&str; 6] = ["email", "ssn", "credit_card", "ip_address", "iban", "phone"];

/// Rows of the table of values, with the share of them that must be covered.
const MUSTS: [(&str, f64); 13] = [
    ("email", 0.99),
    ("ssn", 0.98),
    ("credit_card", 0.98),
    ("ip_address", 0.98),
    ("iban", 0.98),
    ("phone", 0.92),
    ("phone: nanp", 0.0),
    ("phone: e164", 0.0),
    ("phone: national", 0.0),
    ("secret_format", 0.95),
    (FRESH, 0.0),
    ("secret_connection", 0.80),
    ("secret_assignment", 0.75),
];
/// Drawn when the rules were done: there is no part of it that rules may be written against.
const FRESH: &str = "secret_format: fresh";
const MAX_HARMLESS: f64 = 0.002;
const MAX_HARMLESS_OF_A_KIND: f64 = 0.001;
const MAX_LOOK_ALIKES: f64 = 0.08;

/// What people paste into a filter first.
const CLASSIC: [(&str, &str); 5] = [
    ("email", r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}"),
    ("phone", r"(?:\+?1[-. ]?)?\(?[0-9]{3}\)?[-. ]?[0-9]{3}[-. ]?[0-9]{4}"),
    ("ssn", r"\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b"),
    ("credit_card", r"\b(?:[0-9][ -]?){13,16}\b"),
    ("ip_address", r"\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}\b"),
];

#[derive(Debug, Deserialize)]
struct Row {
    text: String,
    values: Vec<Value>,
    source: String,
    part: Part,
    #[serde(default)]
    form: String,
    #[serde(default)]
    set: String,
}

#[derive(Debug, Deserialize)]
struct Value {
    kind: String,
    start: usize,
    end: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Part {
    Seen,
    HeldOut,
}

type Spans = Vec<(String, Range<usize>)>;

/// Something that finds.
trait Finder {
    fn find(&self, text: &str) -> Spans;
}

struct Ours {
    rules: Rules,
    policy: Policy,
}

impl Ours {
    fn new() -> Ours {
        let rules = Rules::compile(&Rules::builtin_specs()).expect("built-in rules compile");
        let policy = rules.policy(Direction::Answer, |_| Action::Mask, Switches::default());
        Ours { rules, policy }
    }

    /// The same, looking through escapes.
    fn decoding() -> Ours {
        let Ours { rules, .. } = Ours::new();
        let switches =
            Switches { decode: Escapes::new(&[Escape::Html, Escape::Percent]), ..Switches::default() };
        let policy = rules.policy(Direction::Answer, |_| Action::Mask, switches);
        Ours { rules, policy }
    }
}

impl Finder for Ours {
    fn find(&self, text: &str) -> Spans {
        let mut found = Vec::new();
        self.rules.scan(&self.policy, text, &mut found);
        found.into_iter().map(|finding| (finding.kind.to_string(), finding.span)).collect()
    }
}

struct Classic(Vec<(&'static str, Regex)>);

impl Classic {
    fn new() -> Classic {
        Classic(CLASSIC.map(|(kind, pattern)| (kind, Regex::new(pattern).expect("parses"))).into())
    }
}

impl Finder for Classic {
    fn find(&self, text: &str) -> Spans {
        let of = |(kind, regex): &(&str, Regex)| -> Spans {
            regex.find_iter(text).map(|found| (String::from(*kind), found.range())).collect()
        };
        self.0.iter().flat_map(of).collect()
    }
}

/// So many of so many.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    hits: usize,
    all: usize,
}

impl Share {
    fn add(&mut self, hit: bool) {
        self.hits += usize::from(hit);
        self.all += 1;
    }

    fn value(self) -> f64 {
        if self.all == 0 { 0.0 } else { self.hits as f64 / self.all as f64 }
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.all == 0 { f.write_str("–") } else { write!(f, "{:.2} %", 100.0 * self.value()) }
    }
}

/// By row of a table and part.
#[derive(Debug, Default)]
struct Results {
    covered: BTreeMap<(String, Part), Share>,
    harmless: BTreeMap<(String, Part), Share>,
    look_alikes: BTreeMap<Part, Share>,
    wrong: BTreeMap<String, Vec<String>>,
}

impl Results {
    fn of(&self, table: &BTreeMap<(String, Part), Share>, name: &str, part: Part) -> Share {
        table.get(&(name.to_owned(), part)).copied().unwrap_or_default()
    }

    fn wrong(&mut self, row: &Row, name: &str, found: &Spans) {
        if row.part == Part::Seen {
            let found: Vec<_> = found.iter().map(|(kind, span)| (kind, &row.text[span.clone()])).collect();
            let line = format!("{} {:?}\n        found {found:?}", row.source, row.text);
            self.wrong.entry(name.to_owned()).or_default().push(line);
        }
    }
}

fn load(name: &str) -> Vec<Row> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    let text = std::fs::read_to_string(&path).expect("the set is there");
    text.lines().map(|line| serde_json::from_str(line).expect("a row")).collect()
}

fn all_rows() -> Vec<Row> {
    ["personal.jsonl", "secrets.jsonl", "secrets_fresh.jsonl", "harmless.jsonl"]
        .into_iter()
        .flat_map(load)
        .collect()
}

fn measure(finder: &impl Finder, rows: &[Row]) -> Results {
    let mut results = Results::default();
    for row in rows {
        let found = finder.find(&row.text);
        match row.set.as_str() {
            "harmless" => measure_harmless(&mut results, row, &found),
            "secret_look_alike" => {
                let hit = found.iter().any(|(kind, _)| kind == "secret");
                results.look_alikes.entry(row.part).or_default().add(hit);
                if hit {
                    results.wrong(row, "secret_look_alike", &found);
                }
            }
            _ => measure_values(&mut results, row, &found),
        }
    }
    results
}

fn measure_harmless(results: &mut Results, row: &Row, found: &Spans) {
    let mut add = |name: &str, hit: bool| {
        results.harmless.entry((name.to_owned(), row.part)).or_default().add(hit);
    };
    for kind in KINDS.iter().chain(&["secret"]) {
        add(kind, found.iter().any(|(other, _)| other == kind));
    }
    add("any of these", found.iter().any(|(kind, _)| KINDS.contains(&kind.as_str())));
    if !found.is_empty() {
        results.wrong(row, "harmless", found);
    }
}

fn measure_values(results: &mut Results, row: &Row, found: &Spans) {
    let covered = |value: &Value| {
        row.text[value.start..value.end]
            .char_indices()
            .filter(|(_, c)| c.is_alphanumeric())
            .all(|(at, _)| found.iter().any(|(_, span)| span.contains(&(value.start + at))))
    };
    for value in &row.values {
        let hit = covered(value);
        let mut names = vec![if row.set.is_empty() { value.kind.clone() } else { row.set.clone() }];
        if value.kind == "phone" {
            names.push(format!("phone: {}", row.form));
            if row.form == "national" {
                names.remove(0);
            }
        }
        for name in names {
            results.covered.entry((name.clone(), row.part)).or_default().add(hit);
            if !hit {
                results.wrong(row, &name, found);
            }
        }
    }
}

fn table(ours: &Results, classic: &Results) -> String {
    let mut out = String::from(
        "| values | seen: how many | covered | must | held out: how many | covered | five regexes, seen |\n|---|---:|---:|---:|---:|---:|---:|\n",
    );
    for (name, must) in MUSTS {
        let [seen, held] = [Part::Seen, Part::HeldOut].map(|part| ours.of(&ours.covered, name, part));
        let must = if must > 0.0 { format!("≥ {:.0} %", must * 100.0) } else { "–".into() };
        let other = classic.of(&classic.covered, name, Part::Seen);
        writeln!(out, "| {name} | {} | {seen} | {must} | {} | {held} | {other} |", seen.all, held.all)
            .expect("a string");
    }
    out.push_str(
        "\n| found in | seen: texts | with a finding | must | held out: texts | with a finding | five regexes, seen |\n|---|---:|---:|---:|---:|---:|---:|\n",
    );
    let mut line = |name: &str, seen: Share, must: f64, held: Share, other: Share| {
        let [ours, held_out] =
            [seen, held].map(|share| format!("{}: {:.3} %", share.hits, 100.0 * share.value()));
        let over = if held.value() > must { ", **over**" } else { "" };
        let must = format!("≤ {} %", must * 100.0);
        writeln!(
            out,
            "| {name} | {} | {ours} | {must} | {} | {held_out}{over} | {other} |",
            seen.all, held.all
        )
        .expect("a string");
    };
    for name in KINDS.iter().chain(&["any of these", "secret"]) {
        let of = |results: &Results, part| results.of(&results.harmless, name, part);
        let must = if *name == "any of these" { MAX_HARMLESS } else { MAX_HARMLESS_OF_A_KIND };
        line(
            &format!("harmless: {name}"),
            of(ours, Part::Seen),
            must,
            of(ours, Part::HeldOut),
            of(classic, Part::Seen),
        );
    }
    let of = |results: &Results, part| results.look_alikes.get(&part).copied().unwrap_or_default();
    line(
        "look-alikes of secrets",
        of(ours, Part::Seen),
        MAX_LOOK_ALIKES,
        of(ours, Part::HeldOut),
        of(classic, Part::Seen),
    );
    out
}

/// What is below the musts, on the part that was seen.
fn misses(results: &Results) -> Vec<String> {
    let mut misses = Vec::new();
    for (name, must) in MUSTS {
        let part = if name == FRESH { Part::HeldOut } else { Part::Seen };
        let share = results.of(&results.covered, name, part);
        if share.value() < must || share.all == 0 {
            misses.push(format!("{name}: {share} of {}, must be {must}", share.all));
        }
    }
    for name in KINDS.iter().chain(&["any of these", "secret"]) {
        let must = if *name == "any of these" { MAX_HARMLESS } else { MAX_HARMLESS_OF_A_KIND };
        let share = results.of(&results.harmless, name, Part::Seen);
        if share.value() > must || share.all < 5000 {
            misses.push(format!("harmless, {name}: {share} of {}, may be {must}", share.all));
        }
    }
    if results.look_alikes[&Part::Seen].value() > MAX_LOOK_ALIKES {
        misses.push(format!("look-alikes: {}", results.look_alikes[&Part::Seen]));
    }
    misses
}

const BEGIN: &str = "<!-- figures: UPDATE=1 cargo test -p tollgate-filters --test accuracy -->\n";
const END: &str = "<!-- end of figures -->";

/// The document with these figures in it.
fn with_figures(document: &str, figures: &str) -> String {
    let (before, rest) = document.split_once(BEGIN).expect("the document marks its figures");
    let (_, after) = rest.split_once(END).expect("the document marks their end");
    format!("{before}{BEGIN}\n{figures}\n{END}{after}")
}

#[test]
fn values_are_covered_and_harmless_texts_are_left_alone() {
    let rows = all_rows();
    let ours = measure(&Ours::new(), &rows);
    let figures = table(&ours, &measure(&Classic::new(), &rows));
    println!("{figures}");
    if let Ok(name) = std::env::var("SHOW") {
        for line in ours.wrong.get(&name).into_iter().flatten() {
            println!("{line}");
        }
    }
    let misses = misses(&ours);
    assert!(misses.is_empty(), "below the musts:\n{}", misses.join("\n"));
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/accuracy.md");
    let document = std::fs::read_to_string(&path).expect("the document is there");
    let expect = with_figures(&document, &figures);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, expect).expect("the document can be written");
    } else {
        assert!(document == expect, "docs/accuracy.md has other figures: run this test with UPDATE=1");
    }
}

/// Looking through HTML entities and percent codes keeps to the same bounds, and finds hardly more in harmless texts.
#[test]
fn looking_through_escapes_leaves_harmless_texts_alone() {
    let rows = all_rows();
    let (plain, decoding) = (Ours::new(), Ours::decoding());
    let misses = misses(&measure(&decoding, &rows));
    assert!(misses.is_empty(), "below the musts:\n{}", misses.join("\n"));
    let harmless: Vec<&Row> = rows.iter().filter(|row| row.set == "harmless").collect();
    let escaped = harmless.iter().filter(|row| row.text.contains(['%', '&'])).count();
    let more: Vec<String> = harmless
        .iter()
        .filter(|row| plain.find(&row.text).is_empty() && !decoding.find(&row.text).is_empty())
        .map(|row| format!("{:?} {:?}", row.text, decoding.find(&row.text)))
        .collect();
    assert!(more.is_empty(), "{}", more.join("\n"));
    let page = guardrails();
    let said = format!(
        "In {} harmless texts, {escaped} of them with a `%` or `&`, decoding adds no finding",
        grouped(harmless.len())
    );
    assert!(page.contains(&said), "docs/guardrails.md has other figures: {said}");
}

/// docs/guardrails.md on one line.
fn guardrails() -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/guardrails.md");
    std::fs::read_to_string(path).expect("the page is there").replace('\n', " ")
}

fn grouped(number: usize) -> String {
    if number < 1000 { number.to_string() } else { format!("{},{:03}", number / 1000, number % 1000) }
}

/// Texts with every character escaped, in each way that somebody writes: what overran and so would end in GUARDRAIL_FAILED.
#[test]
fn texts_in_escapes_do_not_overrun() {
    let rows = all_rows();
    let Ours { rules, policy } = Ours::decoding();
    let (rules, policy) = (Arc::new(rules), Arc::new(policy));
    let (_, most) = rules.max_held(&policy);
    assert_eq!(most, 4 * 319, "as docs/guardrails.md says");
    type Way = (&'static str, fn(char) -> String);
    let ways: [Way; 4] = [
        ("numbers", |c| format!("&#{};", c as u32)),
        ("hexadecimal numbers", |c| format!("&#x{:04X};", c as u32)),
        ("percent codes", |c| {
            c.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("%{byte:02X}")).collect()
        }),
        ("as encodeURIComponent does", |c| match c {
            c if c.is_ascii_alphanumeric() || "-_.!~*'()".contains(c) => c.to_string(),
            c => c.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("%{byte:02X}")).collect(),
        }),
    ];
    let (mut worst, mut all) = (Share::default(), 0);
    for (way, escape) in ways {
        let (mut harmless, mut values, mut held) = (Share::default(), Share::default(), 0);
        for row in rows.iter().filter(|row| row.set == "harmless" || !row.values.is_empty()) {
            let text: String = row.text.chars().map(escape).collect();
            let (mut scanner, mut masker) = (Scanner::new(&rules, &policy), Masker::new());
            let mut out = String::new();
            let mut rest = text.as_str();
            while !rest.is_empty() {
                let (piece, others) = rest.split_at(rest.len().min(40));
                rest = others;
                scanner.push(piece, &mut masker, &mut out);
                held = held.max(scanner.held());
            }
            scanner.finish(&mut masker, End::Whole, &mut out);
            let is_harmless = row.set == "harmless";
            if is_harmless { &mut harmless } else { &mut values }.add(scanner.overran());
        }
        println!(
            "{way}: {} of {} harmless texts overran, {} of {} with values; {held} of {most} bytes held",
            harmless.hits, harmless.all, values.hits, values.all
        );
        assert_eq!(harmless.hits, 0, "{way}: harmless texts overran");
        assert!(held <= most, "{way}: {held} of {most} bytes held");
        worst = if values.hits > worst.hits { values } else { worst };
        all = harmless.all;
    }
    let said = format!(
        "none of {} harmless texts does, and of {} texts with values {} do,",
        grouped(all),
        grouped(worst.all),
        worst.hits
    );
    assert!(guardrails().contains(&said), "docs/guardrails.md has other figures: {said}");
}
