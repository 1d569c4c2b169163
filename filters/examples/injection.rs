//! How well prompt injections are told from ordinary texts: `cargo run -p tollgate-filters --example injection -- FILE.jsonl…`
//!
//! Each line of a file is `{"text": …, "label": 1}` for an injection or `0` for an ordinary text (`"source": "tool"` counts it
//! against the threshold of tool results). Prints precision, recall and the share of ordinary texts above each threshold; with
//! `--show missed` or `--show wrong` also the texts.

#![allow(clippy::disallowed_methods)] // reads the files that it measures

use std::collections::BTreeMap;

use tollgate_filters::scan::Rules;
use tollgate_filters::scan::injection::Scratch;

#[derive(serde::Deserialize)]
struct Line {
    text: String,
    label: u8,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let show = arguments.iter().position(|argument| argument == "--show").map(|at| {
        arguments.remove(at);
        arguments.remove(at)
    });
    let rules = Rules::compile(&Rules::builtin_specs()).map_err(|errors| format!("{errors:?}"))?;
    let mut scratch = Scratch::default();
    println!(
        "{:<28}{:>6}{:>6}  {:>9}{:>8}{:>8}{:>8}{:>8}",
        "file", "bad", "good", "threshold", "found", "wrong", "recall", "prec."
    );
    for file in arguments {
        let lines: Vec<Line> =
            std::fs::read_to_string(&file)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let name = file.rsplit('/').next().unwrap_or(&file);
        let mut histogram: BTreeMap<u8, [usize; 2]> = BTreeMap::new();
        for line in &lines {
            let score = rules.injection(&line.text, &mut scratch);
            histogram.entry(score.points).or_default()[usize::from(line.label.min(1))] += 1;
            let missed = line.label == 1 && score.points < 50;
            let wrong = line.label == 0 && score.points >= 50;
            if missed && show.as_deref() == Some("missed") || wrong && show.as_deref() == Some("wrong") {
                let text: String = line.text.chars().take(220).collect();
                println!("  {} {:?} {text:?}", score.points, score.signals);
            }
        }
        let bad = lines.iter().filter(|line| line.label == 1).count();
        for threshold in [30, 50, 70, 90] {
            let above =
                |label: usize| histogram.range(threshold..).map(|(_, count)| count[label]).sum::<usize>();
            let (found, wrong) = (above(1), above(0));
            let share = |part: usize, of: usize| if of == 0 { f64::NAN } else { part as f64 / of as f64 };
            println!(
                "{name:<28}{bad:>6}{:>6}  {threshold:>9}{found:>8}{wrong:>8}{:>8.3}{:>8.3}",
                lines.len() - bad,
                share(found, bad),
                share(found, found + wrong),
            );
        }
    }
    Ok(())
}
