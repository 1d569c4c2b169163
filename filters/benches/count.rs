//! One text, once, in one mode: for counting instructions, which a busy machine does not change.
//!
//! `count MODE TEXT ROUNDS`: `none` compiles the rules and scans nothing; `whole` is a scan of the whole text; `injection` scores
//! it as a prompt injection; a number is a stream in pieces of so many bytes. `scripts/scan-counts` runs it.

#[path = "texts/all.rs"]
mod texts;

use std::process::ExitCode;
use std::sync::Arc;

use tollgate_filters::scan::injection::Scratch;
use tollgate_filters::scan::{Direction, End, Masker, Profile, Rules, Scanner};

/// Bytes of each text.
const SIZE: usize = 64 << 10;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [mode, name, rounds] = args.as_slice() else {
        eprintln!("usage: count none|whole|injection|BYTES TEXT ROUNDS");
        return ExitCode::from(64);
    };
    let text = texts::texts(SIZE).into_iter().find(|(known, _)| known == name);
    let (Some((_, text)), Ok(rounds)) = (text, rounds.parse::<usize>()) else {
        eprintln!("no text `{name}`, or `{rounds}` is not a number");
        return ExitCode::from(64);
    };
    let rules = Arc::new(Rules::compile(&Rules::builtin_specs()).expect("built-in rules compile"));
    let profile = Profile::builtin("strict").expect("is built in");
    let policy = Arc::new(rules.policy_of(&profile, Direction::Answer));
    let (mut found, mut points, mut scratch) = (Vec::new(), 0, Scratch::default());
    let mut out = String::with_capacity(2 * SIZE);
    for _ in 0..rounds {
        match mode.as_str() {
            "none" => {}
            "whole" => rules.scan(&policy, &text, &mut found),
            "injection" => points += usize::from(rules.injection(&text, &mut scratch).points),
            size => {
                let Ok(size @ 1..) = size.parse::<usize>() else {
                    eprintln!("no mode `{size}`");
                    return ExitCode::from(64);
                };
                out.clear();
                let mut masker = Masker::new();
                let mut scanner = Scanner::new(&rules, &policy);
                for piece in texts::pieces(&text, size) {
                    scanner.push(piece, &mut masker, &mut out);
                }
                scanner.finish(&mut masker, End::Whole, &mut out);
            }
        }
    }
    // So that nothing of it is optimised away.
    println!("{} {points} {}", found.len(), out.len());
    ExitCode::SUCCESS
}
