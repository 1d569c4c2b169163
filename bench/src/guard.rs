//! What the guard adds to a stream: time to the first token and the delay of each word, with and without it, in one run.
//!
//! The upstream says word `k` at `k` times its pace after the first. A word's delay is the arrival of its last byte after the
//! request was sent, less that: the upstream's own share is what the direct connection shows. A word that could begin a value
//! waits for what comes after it; that is part of its delay. Where words bring the space before them, as the tokens of most models
//! do, that is every word: an `@` might follow.

use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::json;
use tokio::task::LocalSet;
use tollgate_fake_upstream::Script;

use crate::Failure;
use crate::load::{Target, micros, quantile};
use crate::prompt;
use crate::reading::Reading;
use crate::stage::{Gateway, Stage, chat_of, on_stage};

const WORDS: [&str; 8] = ["every", "word", "of", "this", "answer", "is", "one", "delta"];
const COUNT: usize = 100;
const MOST_STREAMS: usize = 1_000;
const MOST_ROUNDS: usize = 100;
/// Of fewer samples the largest is p99 by name only.
const FEWEST_FOR_P99: usize = 100;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    gateway: Gateway,
    /// Streams at once
    #[arg(long, default_value_t = 20)]
    streams: usize,
    /// Milliseconds between the words of a stream
    #[arg(long, default_value_t = 10)]
    pace: u64,
    /// Times that all streams are run against each subject
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// Where a word's space stands.
#[derive(Debug, Clone, Copy)]
enum Spaces {
    Behind,
    Before,
}

/// What is said, and how fast.
struct Answer {
    model: &'static str,
    /// Where each word ends in the text.
    ends: Vec<usize>,
    pace: Duration,
}

/// Microseconds of one subject.
#[derive(Debug, Default)]
struct Times {
    first: Vec<u32>,
    delays: Vec<u32>,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    on_stage(&arguments.gateway, async |stage| measure(&arguments, stage).await).await
}

async fn measure(arguments: &Arguments, stage: &Stage<'_>) -> Result<(), Failure> {
    let (off, profile) = (stage.folder.join("off.yaml"), stage.folder.join("none.yaml"));
    std::fs::write(
        &profile,
        "name: none\nrequest: {\"*\": off}\nanswer: {\"*\": off}\nprompt_injection: {action: off}\n",
    )?;
    std::fs::write(&off, without_guard(&stage.config()?, &profile)?)?;
    let (without, _) = stage.gateway("guard-off", &off)?;
    let (with, _) = stage.gateway("guard-on", &arguments.gateway.config)?;
    let subjects =
        [("direct", stage.direct()?), ("guard off", chat_of(&without)?), ("guard on", chat_of(&with)?)];
    let mut rows = Vec::new();
    for spaces in [Spaces::Behind, Spaces::Before] {
        let answer = Answer::new(spaces, Duration::from_millis(arguments.pace), stage);
        let mut times: Vec<Times> = subjects.iter().map(|_| Times::default()).collect();
        // The first round warms up, and does not count.
        for round in 0..=arguments.rounds.min(MOST_ROUNDS) {
            for turn in 0..subjects.len() {
                // Each begins as often as the others: what a subject leaves behind burdens the next.
                let at = (round + turn) % subjects.len();
                let (name, target) = &subjects[at];
                let seen = streams(target, &answer, arguments.streams).await;
                let seen = seen.map_err(|failure| format!("{name}: {failure}"))?;
                if round > 0 {
                    times[at].first.extend(seen.first);
                    times[at].delays.extend(seen.delays);
                }
            }
        }
        println!(
            "space {spaces:?} each word, {} streams, a word each {} ms",
            arguments.streams, arguments.pace
        );
        rows.extend(table(spaces, &subjects, times, answer.pace));
    }
    stage.write("guard", json!({"streams": arguments.streams, "pace_ms": arguments.pace, "rows": rows}))
}

/// Prints the figures of all subjects, and gives them as JSON.
fn table(
    spaces: Spaces,
    subjects: &[(&str, Target)],
    times: Vec<Times>,
    pace: Duration,
) -> Vec<serde_json::Value> {
    println!(
        "{:<12}{:>24}{:>9}{:>28}{:>8}{:>22}",
        "ms",
        "first token p50    p99",
        "streams",
        "delay of a word p50    p99",
        "words",
        "a pace late or more"
    );
    let row = |((name, _), mut times): (&(&str, Target), Times)| {
        let ([first, first_p99], [delay, delay_p99]) =
            (quantiles(&mut times.first), quantiles(&mut times.delays));
        let late = times.delays.iter().filter(|delay| **delay >= micros(pace)).count();
        let late = late as f64 / times.delays.len().max(1) as f64;
        println!(
            "{name:<12}{:>17}{:>7}{:>9}{:>21}{:>7}{:>8}{:>21.1}%",
            shown(first),
            shown(first_p99),
            times.first.len(),
            shown(delay),
            shown(delay_p99),
            times.delays.len(),
            100.0 * late
        );
        json!({
            "space": format!("{spaces:?}").to_lowercase(), "subject": name, "streams": times.first.len(),
            "first_token_ms": {"p50": first, "p99": first_p99}, "word_delay_ms": {"p50": delay, "p99": delay_p99},
            "words": times.delays.len(), "a_pace_late": late,
        })
    };
    subjects.iter().zip(times).map(row).collect()
}

/// p50 and p99 in milliseconds, as far as there are samples for them.
fn quantiles(times: &mut [u32]) -> [Option<f64>; 2] {
    times.sort_unstable();
    let ms = |share| quantile(times, share).map(|us| f64::from(us) / 1000.0);
    [ms(0.5), ms(0.99).filter(|_| times.len() >= FEWEST_FOR_P99)]
}

fn shown(ms: Option<f64>) -> String {
    ms.map_or("-".to_owned(), |ms| format!("{ms:.3}"))
}

/// The configuration with a profile in which nothing is looked for.
fn without_guard(yaml: &str, profile: &Path) -> Result<String, Failure> {
    let mut out = String::new();
    let mut inside = false;
    for line in yaml.lines() {
        if !line.starts_with([' ', '#', '-']) && !line.is_empty() {
            inside = line.starts_with("guardrails:");
        }
        if !inside {
            out.push_str(line);
            out.push('\n');
        }
    }
    if out.lines().count() == yaml.lines().count() {
        return Err("the configuration has no guardrails: there is nothing to compare".into());
    }
    out.push_str(&format!("guardrails: {{profile: none, profiles: [\"{}\"]}}\n", profile.display()));
    Ok(out)
}

impl Answer {
    /// Teaches the upstream what to say.
    fn new(spaces: Spaces, pace: Duration, stage: &Stage<'_>) -> Answer {
        let (model, word): (_, fn(&&str) -> String) = match spaces {
            Spaces::Behind => ("behind", |word| format!("{word} ")),
            Spaces::Before => ("before", |word| format!(" {word}")),
        };
        let words: Vec<String> = WORDS.iter().cycle().take(COUNT).map(word).collect();
        let mut end = 0;
        let ends = words.iter().map(|word| {
            end += word.len();
            end
        });
        let ends = ends.collect();
        stage.teach(model, Script::says(words).pace(pace));
        Answer { model, ends, pace }
    }
}

/// All streams at once, each to its end.
async fn streams(target: &Target, answer: &Answer, count: usize) -> Result<Times, Failure> {
    let body = Bytes::from(prompt::body(answer.model, 300, true));
    let local = LocalSet::new();
    let (target, ends) = (Rc::new(target.clone()), Rc::new(answer.ends.clone()));
    let pace = answer.pace;
    local
        .run_until(async {
            let open = (0..count.clamp(1, MOST_STREAMS)).map(|_| {
                let (target, ends, body) = (Rc::clone(&target), Rc::clone(&ends), body.clone());
                tokio::task::spawn_local(async move { one_stream(&target, &body, &ends, pace).await })
            });
            let mut all = Times::default();
            for stream in open.collect::<Vec<_>>() {
                let seen = stream.await??;
                all.first.extend(seen.first);
                all.delays.extend(seen.delays);
            }
            Ok(all)
        })
        .await
}

async fn one_stream(target: &Target, body: &Bytes, ends: &[usize], pace: Duration) -> Result<Times, Failure> {
    let mut sender = target.connect().await?;
    sender.ready().await?;
    let sent = Instant::now();
    let answer = sender.send_request(target.request(body)).await?;
    let status = answer.status();
    let mut stream = answer.into_body();
    let mut reading = Reading::default();
    let mut times = Times::default();
    while let Some(frame) = stream.frame().await {
        reading.push(frame?.data_ref().map_or(&[][..], |data| data));
        let after = sent.elapsed();
        while ends.get(times.delays.len()).is_some_and(|end| *end <= reading.bytes) {
            let due = pace * u32::try_from(times.delays.len())?;
            times.delays.push(micros(after.saturating_sub(due)));
        }
    }
    if !status.is_success() || !reading.done || times.delays.len() != ends.len() {
        let words = times.delays.len();
        return Err(format!("{status}: {words} words came instead of {}", ends.len()).into());
    }
    // All of the first word: of one that begins with a space, that may be here long before.
    times.first.extend(times.delays.first());
    Ok(times)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn few_samples_have_no_p99() {
        let mut times: Vec<u32> = (1..=100).rev().map(|ms| ms * 1000).collect();
        assert_eq!(super::quantiles(&mut times), [Some(51.0), Some(99.0)]);
        assert_eq!(super::quantiles(&mut times[..99])[1], None);
        assert_eq!(super::quantiles(&mut []), [None, None]);
    }

    #[test]
    fn only_the_guard_is_taken_out() {
        let yaml =
            "a: 1\nguardrails:\n  profile: strict\n  overrides:\n    - {kind: email}\n\naudit: {x: y}\n";
        let off = super::without_guard(yaml, Path::new("/p.yaml")).expect("has a guard");
        assert_eq!(off, "a: 1\naudit: {x: y}\nguardrails: {profile: none, profiles: [\"/p.yaml\"]}\n");
        assert!(super::without_guard("a: 1\n", Path::new("/p.yaml")).is_err());
    }
}
