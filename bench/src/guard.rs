//! What the guard adds to a stream: time to the first token and the delay of each word, with and without it, in one run.
//!
//! The upstream says word `k` at `k` times its pace after the first. A word's delay is its arrival after the request was sent, less
//! that: the upstream's own share is what the direct connection shows. A word that could begin a value waits for the next one;
//! that is part of its delay.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::task::LocalSet;
use tollgate_fake_upstream::{Fake, Options};

use crate::Failure;
use crate::load::{Target, quantile};
use crate::prompt;
use crate::reading::Reading;
use crate::subject::{self, Subject};

const CHAT: &str = "/v1/chat/completions";
const KEY: &str = "bench-key-of-the-load-client-0001";
const WORDS: u32 = 100;
const MOST_STREAMS: usize = 1_000;
const MOST_ROUNDS: usize = 100;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The gateway's configuration, guard on
    #[arg(long, default_value = "conf/all-on.yaml")]
    config: PathBuf,
    /// The gateway's binary; default: the one built beside this
    #[arg(long)]
    gateway: Option<PathBuf>,
    /// Streams at once
    #[arg(long, default_value_t = 20)]
    streams: usize,
    /// Milliseconds between the words of a stream
    #[arg(long, default_value_t = 10)]
    pace: u32,
    /// Times that all streams are run against each subject
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// Microseconds of one subject, unsorted.
#[derive(Debug, Default)]
struct Times {
    first: Vec<u32>,
    delays: Vec<u32>,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let fake = Fake::start(Options { keep: 0, ..Options::default() })?;
    let folder = std::env::temp_dir().join(format!("tollgate-bench-guard-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let done = measure(&arguments, &fake, &folder).await;
    match &done {
        Ok(()) => std::fs::remove_dir_all(&folder)?,
        Err(_) => eprintln!("logs: {}", folder.display()),
    }
    done
}

async fn measure(arguments: &Arguments, fake: &Fake, folder: &Path) -> Result<(), Failure> {
    let yaml = std::fs::read_to_string(&arguments.config)?;
    let off = folder.join("off.yaml");
    std::fs::write(
        folder.join("none.yaml"),
        "name: none\nrequest: {\"*\": off}\nanswer: {\"*\": off}\nprompt_injection: {action: off}\n",
    )?;
    std::fs::write(&off, without_guard(&yaml, &folder.join("none.yaml"))?)?;
    let upstream = fake.url();
    let start = |name, config: &Path| start_gateway(arguments, name, config, &upstream, folder);
    let (without, with) = (start("guard-off", &off)?, start("guard-on", &arguments.config)?);
    let at = |subject: &Subject| Target::new(subject.address, CHAT, Some(KEY.to_owned()));
    let subjects = [
        ("direct", Target::new(fake.addr(), CHAT, None)?),
        ("guard off", at(&without)?),
        ("guard on", at(&with)?),
    ];
    let mut times: Vec<Times> = subjects.iter().map(|_| Times::default()).collect();
    // The first round warms up, and does not count.
    for round in 0..=arguments.rounds.min(MOST_ROUNDS) {
        for ((name, target), times) in subjects.iter().zip(&mut times) {
            let seen = streams(target, arguments).await.map_err(|failure| format!("{name}: {failure}"))?;
            if round > 0 {
                times.first.extend(seen.first);
                times.delays.extend(seen.delays);
            }
        }
    }
    print_table(&subjects.map(|(name, _)| name), &mut times);
    Ok(())
}

fn print_table(names: &[&str], times: &mut [Times]) {
    println!(
        "{:<12}{:>24}{:>28}{:>8}",
        "ms", "first token p50    p99", "delay of a word p50    p99", "words"
    );
    for (name, times) in names.iter().zip(times) {
        times.first.sort_unstable();
        times.delays.sort_unstable();
        let ms =
            |sorted: &[u32], share| quantile(sorted, share).map_or(f64::NAN, |us| f64::from(us) / 1000.0);
        println!(
            "{name:<12}{:>17.3}{:>7.3}{:>21.3}{:>7.3}{:>8}",
            ms(&times.first, 0.5),
            ms(&times.first, 0.99),
            ms(&times.delays, 0.5),
            ms(&times.delays, 0.99),
            times.delays.len()
        );
    }
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

fn start_gateway(
    arguments: &Arguments,
    name: &'static str,
    config: &Path,
    upstream: &str,
    folder: &Path,
) -> Result<Subject, Failure> {
    let (address, admin) = (subject::free_address()?, subject::free_address()?);
    let program = match &arguments.gateway {
        Some(path) => path.clone(),
        None => subject::sibling("tollgate")?,
    };
    let environment = [
        ("LISTEN", address.to_string()),
        ("ADMIN", admin.to_string()),
        ("STATE_DIR", folder.join(name).display().to_string()),
        ("TOLLGATE_KEY", KEY.to_owned()),
        ("UPSTREAM", upstream.to_owned()),
    ];
    let serve = ["serve".to_owned(), "-c".to_owned(), config.display().to_string()];
    Subject::start(name, &program, &serve, &environment, address, &folder.join(format!("{name}.log")))
}

/// All streams at once, each to its end.
async fn streams(target: &Target, arguments: &Arguments) -> Result<Times, Failure> {
    let model = format!("words:{WORDS}:{}ms", arguments.pace);
    let body = Bytes::from(prompt::body(&model, 300, true));
    let pace = Duration::from_millis(arguments.pace.into());
    let local = LocalSet::new();
    let target = Rc::new(target.clone());
    local
        .run_until(async {
            let open = (0..arguments.streams.clamp(1, MOST_STREAMS)).map(|_| {
                let (target, body) = (Rc::clone(&target), body.clone());
                tokio::task::spawn_local(async move { one_stream(&target, &body, pace).await })
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

async fn one_stream(target: &Target, body: &Bytes, pace: Duration) -> Result<Times, Failure> {
    let mut sender = target.connect().await?;
    sender.ready().await?;
    let sent = Instant::now();
    let answer = sender.send_request(target.request(body)).await?;
    let status = answer.status();
    let mut stream = answer.into_body();
    let mut reading = Reading::default();
    let mut times = Times::default();
    let mut words = 0;
    while let Some(frame) = stream.frame().await {
        reading.push(frame?.data_ref().map_or(&[][..], |data| data));
        let after = sent.elapsed();
        while words < u32::try_from(reading.words).unwrap_or(u32::MAX) {
            let delay = after.saturating_sub(pace * words);
            times.delays.push(u32::try_from(delay.as_micros()).unwrap_or(u32::MAX));
            words += 1;
        }
    }
    if !status.is_success() || !reading.done || words != WORDS {
        return Err(format!("{status}: {words} words came instead of {WORDS}").into());
    }
    let first = reading.first.map(|first| u32::try_from((first - sent).as_micros()).unwrap_or(u32::MAX));
    times.first.extend(first);
    Ok(times)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn only_the_guard_is_taken_out() {
        let yaml =
            "a: 1\nguardrails:\n  profile: strict\n  overrides:\n    - {kind: email}\n\naudit: {x: y}\n";
        let off = super::without_guard(yaml, Path::new("/p.yaml")).expect("has a guard");
        assert_eq!(off, "a: 1\naudit: {x: y}\nguardrails: {profile: none, profiles: [\"/p.yaml\"]}\n");
        assert!(super::without_guard("a: 1\n", Path::new("/p.yaml")).is_err());
    }
}
