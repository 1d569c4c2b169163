//! How fast the scanner is: bytes per second of ordinary texts with every built-in rule on, whole and in small pieces.
//!
//! `cargo bench -p tollgate-filters --bench scan` prints one line per text; no framework, so that it also runs where time is
//! short. Arguments: a profile (default `strict`), a text's name. Figures are the best of several rounds: what the machine can do, not what else it was doing.

#![allow(clippy::disallowed_methods)] // a bench reads the clock

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
    let only = std::env::args().skip(1).find(|arg| texts().iter().any(|(name, _)| name == arg));
    for (name, text) in
        texts().into_iter().filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name))
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
                for piece in pieces(&text, size) {
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

fn pieces(text: &str, size: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut cut = size.min(rest.len());
        while !rest.is_char_boundary(cut) {
            cut += 1;
        }
        let (piece, others) = rest.split_at(cut);
        rest = others;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Texts as they pass a gateway; the seeds are this project's own.
fn texts() -> Vec<(&'static str, String)> {
    let english = "The committee met on Tuesday to discuss the proposal, which had been circulated a week earlier. Several \
        members asked why the cost had grown; the answer, given at some length, was that prices of steel and timber rose by \
        11 percent in 2023. It was agreed to return to the question in spring, after the report of the auditors.\n";
    let code = include_str!("../src/scan/sweep.rs");
    let json = r#"{"id":"chatcmpl-8f2k","object":"chat.completion","created":1718000000,"model":"mistral-7b","choices":[{"index":0,
        "message":{"role":"assistant","content":"Paris has 2102650 inhabitants.","tool_calls":null},"logprobs":null,
        "finish_reason":"stop"}],"usage":{"prompt_tokens":128,"completion_tokens":17,"total_tokens":145,"cost":0.000231}}
        "#;
    let chinese = "大型语言模型的网关负责认证、限流与审计。它必须在流式回答中逐字检查敏感信息，而不能让用户感到延迟。\
        去年共有二千三百名工程师参与了测试，结果令人满意。\n";
    let emoji = "Great news 🎉🎉 the release is out 🚀! Thanks to everyone 🙏🏽 who tested it 👩‍💻👨‍💻, see you at the party 🥳✨ \
        tonight… ❤️\n";
    let log = "2024-05-14T09:21:07.341Z INFO  worker[2217] request 8f14e45f-ceea-4a7b-9c51-3d2f1a0b7c66 done status=200 \
        bytes=18231 in 12.4ms (queue 0.3ms)\n";
    [
        ("english", english),
        ("code", code),
        ("json", json),
        ("chinese", chinese),
        ("emoji", emoji),
        ("log", log),
    ]
    .map(|(name, seed)| (name, seed.repeat(SIZE / seed.len() + 1)))
    .into()
}
