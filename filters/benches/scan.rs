//! How fast the scanner is: bytes per second of ordinary texts with every built-in rule on, whole and in small pieces.
//!
//! `cargo bench -p tollgate-filters --bench scan` prints one line per text; no framework, so that it also runs where time is
//! short. Arguments: a profile (default `strict`), a text's name. Figures are the best of several rounds: what the machine can do, not what else it was doing.

#![allow(clippy::disallowed_methods)] // a bench reads the clock

#[path = "texts/all.rs"]
mod texts;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tollgate_filters::scan::{Direction, End, Masker, Profile, Rules, Scanner};

/// Bytes of each text.
const SIZE: usize = 1 << 20;
const ROUNDS: usize = 7;

fn main() {
    let rules = Arc::new(Rules::compile(&Rules::builtin_specs()).expect("built-in rules compile"));
    let profile = std::env::args().find(|name| Profile::NAMES.contains(&name.as_str()));
    let profile = Profile::builtin(profile.as_deref().unwrap_or("strict")).expect("is built in");
    let policy = Arc::new(rules.policy_of(&profile, Direction::Answer));
    println!(
        "profile {}, {} rules, {} KiB a text, best of {ROUNDS}",
        profile.name,
        rules.infos().count(),
        SIZE >> 10
    );
    println!("{:10} {:>9} {:>9} {:>9} {:>9} {:>9}", "MB/s", "whole", "one push", "64 B", "4 B", "findings");
    let only = std::env::args().skip(1).find(|arg| texts::texts(SIZE).iter().any(|(name, _)| name == arg));
    for (name, text) in
        texts::texts(SIZE).into_iter().filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name))
    {
        let mut found = Vec::new();
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
            "{name:10} {:9.0} {:9.0} {:9.0} {:9.0} {:9}",
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
