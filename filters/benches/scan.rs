//! How fast the scanner is: bytes per second of ordinary texts with every built-in rule on, whole and in small pieces.
//!
//! `cargo bench -p tollgate-filters --bench scan` prints one line per text; no framework, so that it also runs where time is
//! short. Arguments: a profile (default `strict`), a text's name, and
//! a number of made-up terms that are looked for beside the rules, with what building them takes. Figures are the best of several rounds: what the machine can do, not what else it was doing.

#![allow(clippy::disallowed_methods)] // a bench reads the clock

#[path = "texts/all.rs"]
mod texts;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tollgate_filters::scan::injection::Scratch;
use tollgate_filters::scan::{Action, Direction, End, Masker, Profile, RuleSpec, Rules, Scanner, TermList};

/// Bytes of each text.
const SIZE: usize = 1 << 20;
const ROUNDS: usize = 7;

fn main() {
    let mut specs = Rules::builtin_specs();
    let terms = std::env::args().find_map(|arg| arg.parse::<usize>().ok());
    if let Some(count) = terms {
        specs.push(dictionary(count));
    }
    let before = resident();
    let start = Instant::now();
    let rules = Arc::new(Rules::compile(&specs).expect("the rules compile"));
    if let Some(count) = terms {
        println!(
            "{count} terms: built in {} ms, {} MiB more resident",
            start.elapsed().as_millis(),
            (resident() - before) >> 20
        );
    }
    let profile = std::env::args().find(|name| Profile::NAMES.contains(&name.as_str()));
    let profile = Profile::builtin(profile.as_deref().unwrap_or("strict")).expect("is built in");
    let policy = rules.policy(
        Direction::Answer,
        |rule| {
            if &*rule.kind == "term" {
                Action::Mask
            } else {
                profile.treatment(rule, Direction::Answer).action()
            }
        },
        profile.switches(),
    );
    let policy = Arc::new(policy);
    println!(
        "profile {}, {} rules, {} KiB a text, best of {ROUNDS}",
        profile.name,
        rules.infos().count(),
        SIZE >> 10
    );
    println!(
        "{:10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "MB/s", "prompt", "whole", "one push", "64 B", "4 B", "findings"
    );
    let only = std::env::args().skip(1).find(|arg| texts::texts(SIZE).iter().any(|(name, _)| name == arg));
    for (name, text) in
        texts::texts(SIZE).into_iter().filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name))
    {
        let (mut found, mut scratch) = (Vec::new(), Scratch::default());
        // As a request's text is read: by all rules, and for prompt injections.
        let prompt = best(|| {
            found.clear();
            rules.scan(&policy, &text, &mut found);
            std::hint::black_box(rules.injection(&text, &mut scratch));
        });
        let whole = best(|| {
            found.clear();
            rules.scan(&policy, &text, &mut found);
        });
        let stream = |size: usize| {
            let mut out = String::with_capacity(2 * SIZE);
            best(|| {
                out.clear();
                let mut masker = Masker::new();
                let mut scanner = Scanner::new(&rules, &policy);
                for piece in texts::pieces(&text, size) {
                    scanner.push(piece, &mut masker, &mut out);
                }
                scanner.finish(&mut masker, End::Whole, &mut out);
            })
        };
        let rate = |time: Duration| text.len() as f64 / 1e6 / time.as_secs_f64();
        let (one, small, tiny) = (stream(SIZE), stream(64), stream(4));
        println!(
            "{name:10} {:9.0} {:9.0} {:9.0} {:9.0} {:9.0} {:9}",
            rate(prompt),
            rate(whole),
            rate(one),
            rate(small),
            rate(tiny),
            found.len()
        );
    }
}

fn best(mut run: impl FnMut()) -> Duration {
    let time = |run: &mut dyn FnMut()| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    (0..ROUNDS).map(|_| time(&mut run)).min().unwrap_or_default()
}

/// Names of customers and projects as one would make them up: two words out of common syllables, every tenth with a third.
fn dictionary(count: usize) -> RuleSpec {
    const SYLLABLES: [&str; 32] = [
        "al", "ba", "cor", "den", "el", "fa", "gor", "hu", "in", "jo", "ka", "lu", "mar", "nor", "os", "pra",
        "qui", "ros", "sa", "tor", "ul", "ver", "wel", "xi", "yor", "zan", "bri", "cle", "dro", "fri", "gla",
        "sti",
    ];
    let mut state = 1_u64;
    let mut word = |len: u64| {
        let mut word = String::new();
        for _ in 0..len {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            word.push_str(SYLLABLES[(state >> 59) as usize]);
        }
        word
    };
    let term = |at: usize| {
        let third = if at.is_multiple_of(10) { " Holding" } else { "" };
        format!("{} {}{third}", word(3), word(4))
    };
    let terms = TermList::new((0..count).map(term).collect());
    RuleSpec { terms, ..Rules::parse("[{id: terms, kind: term}]").expect("a rule").remove(0) }
}

/// Resident bytes of this process, where the system says so.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}
