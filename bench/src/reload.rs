//! What requests wait while a large list of terms is read and compiled beside them: plain calls before a reload, from SIGHUP to
//! the new generation, and after it, when the old list is given back.

use std::cell::Cell;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::LocalSet;

use crate::Failure;
use crate::load::{Outcome, Plan, Target, quantile};
use crate::prompt;
use crate::stage::{Gateway, Stage, chat_of, on_stage};
use crate::subject::Subject;
use crate::usage::{Cpu, of_process, resident};

/// What p99 may become during a reload.
const MOST: f64 = 2.0;
/// Between two looks at the generation.
const LOOK: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(120);
const MOST_TERMS: usize = 1 << 20;
const MOST_ROUNDS: u64 = 20;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    gateway: Gateway,
    /// Terms in the list
    #[arg(long, default_value_t = 1_000_000)]
    terms: usize,
    /// Reloads under each load
    #[arg(long, default_value_t = 3)]
    rounds: u64,
    /// Seconds before and after each reload
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
}

/// Connections, and the time from one call of a connection to its next.
const LOADS: [(&str, usize, Duration); 2] =
    [("light", 16, Duration::from_millis(10)), ("full", 64, Duration::ZERO)];

#[derive(Debug, Clone, Copy)]
enum Phase {
    Before,
    During,
    After,
}

const PHASES: [(Phase, &str); 3] =
    [(Phase::Before, "before"), (Phase::During, "during"), (Phase::After, "after")];

/// Microseconds by phase, of all rounds; and how long the reloads took.
#[derive(Debug, Default)]
struct Waits {
    phases: [Vec<u32>; 3],
    reloads: Vec<Duration>,
    /// On a CPU, of the threads that did not serve requests.
    others: Vec<Duration>,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    on_stage(&arguments.gateway, async |stage| measure(&arguments, stage).await).await
}

async fn measure(arguments: &Arguments, stage: &Stage<'_>) -> Result<(), Failure> {
    let count = arguments.terms.min(MOST_TERMS - 1);
    let list = stage.folder.join("terms.txt");
    std::fs::write(&list, terms(count, 0))?;
    let rules = stage.folder.join("own.yaml");
    std::fs::write(&rules, "- {id: terms, kind: term, terms_file: terms.txt}\n")?;
    let config = stage.folder.join("gateway.yaml");
    std::fs::write(&config, with_terms(&stage.config()?, &rules)?)?;
    let (gateway, admin) = stage.gateway("gateway", &config)?;
    let metrics = Target::new(admin, "/metrics", None)?;
    let chat = chat_of(&gateway)?;
    println!("{count} terms, {} MiB resident", resident(gateway.pid()) >> 20);
    let (mut generation, mut rows, mut holds) = (1, Vec::new(), true);
    for (name, connections, period) in LOADS {
        let body = prompt::body("words:20", 300, false);
        let plan = Plan { period, ..Plan::new(chat.clone(), body, connections, LONGEST) };
        // Warms up, and does not count.
        checked(&Plan { time: Duration::from_secs(1), ..plan.clone() }.run().await)?;
        let mut waits = Waits::default();
        for _ in 0..arguments.rounds.clamp(1, MOST_ROUNDS) {
            generation += 1;
            std::fs::write(&list, terms(count, generation))?;
            let seconds = Duration::from_secs_f64(arguments.seconds);
            waits.add(one_reload(&plan, &gateway, &metrics, generation, seconds).await?);
        }
        let row = waits.row(name);
        print!("{}", row.0);
        holds &= row.1["holds"] == true;
        rows.push(row.1);
    }
    println!("p99 during a reload <= {MOST} x before: {}", if holds { "holds" } else { "MISSED" });
    println!("{} MiB resident after {} reloads", resident(gateway.pid()) >> 20, generation - 1);
    stage.write("reload", json!({"terms": count, "rounds": arguments.rounds, "rows": rows}))
}

/// The load, and in the midst of it a reload.
async fn one_reload(
    plan: &Plan,
    gateway: &Subject,
    metrics: &Target,
    generation: u64,
    around: Duration,
) -> Result<Waits, Failure> {
    let stop = Rc::new(Cell::new(false));
    let plan = Plan { stop: Rc::clone(&stop), ..plan.clone() };
    let steer = async {
        tokio::time::sleep(around).await;
        let (asked, cpu) = (Instant::now(), others(gateway)?);
        hang_up(gateway.pid())?;
        while !in_force(metrics, generation).await? {
            if asked.elapsed() > LONGEST {
                return Err("the new list was not put in force in time".into());
            }
            tokio::time::sleep(LOOK).await;
        }
        let (done, cpu) = (Instant::now(), others(gateway)?.saturating_sub(cpu));
        tokio::time::sleep(around).await;
        stop.set(true);
        Ok::<_, Failure>((asked, done, cpu))
    };
    let local = LocalSet::new();
    let (steered, outcome) = local.run_until(async { tokio::join!(steer, plan.run()) }).await;
    let (asked, done, cpu) = steered?;
    checked(&outcome)?;
    let mut waits = Waits::default();
    for (sent, micros) in &outcome.answers {
        let ended = *sent + Duration::from_micros(u64::from(*micros));
        let phase = match (ended < asked, *sent > done) {
            (true, _) => Phase::Before,
            (_, true) => Phase::After,
            _ => Phase::During,
        };
        waits.phases[phase as usize].push(*micros);
    }
    waits.reloads.push(done - asked);
    waits.others.push(cpu);
    Ok(waits)
}

fn checked(outcome: &Outcome) -> Result<(), Failure> {
    match &outcome.failure {
        Some(failure) => Err(format!("{} requests failed, the first with: {failure}", outcome.failed).into()),
        None => Ok(()),
    }
}

/// CPU of all threads but those that serve requests, of those too that have ended.
fn others(gateway: &Subject) -> Result<Duration, Failure> {
    let whole = of_process(gateway.pid()).ok_or("the gateway is gone")?;
    Ok(whole.saturating_sub(Cpu::of(gateway.pid()).of_threads("data")))
}

fn hang_up(pid: u32) -> Result<(), Failure> {
    let sent = Command::new("kill").args(["-s", "HUP", &pid.to_string()]).status()?;
    if sent.success() { Ok(()) } else { Err("the gateway is gone".into()) }
}

async fn in_force(metrics: &Target, generation: u64) -> Result<bool, Failure> {
    let page = metrics.get().await?;
    let line = |name: &str| page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
    if line("tollgate_config_reloads_total{outcome=\"rejected\"}").is_some_and(|count| count > 0.0) {
        return Err("the gateway refused the new list".into());
    }
    Ok(line("tollgate_config_generation ") == Some(generation as f64))
}

impl Waits {
    fn add(&mut self, other: Waits) {
        for (all, more) in self.phases.iter_mut().zip(other.phases) {
            all.extend(more);
        }
        self.reloads.extend(other.reloads);
        self.others.extend(other.others);
    }

    /// As text, and as JSON.
    fn row(&mut self, load: &str) -> (String, Value) {
        let mut text = String::new();
        let mut row = json!({"load": load});
        let mut p99 = [f64::NAN; 3];
        for (phase, name) in PHASES {
            let waits = &mut self.phases[phase as usize];
            waits.sort_unstable();
            let ms = |share| quantile(waits, share).map_or(f64::NAN, |us| f64::from(us) / 1000.0);
            let (p50, most) = (ms(0.5), ms(1.0));
            p99[phase as usize] = ms(0.99);
            let p99 = p99[phase as usize];
            let _ = writeln!(
                text,
                "{load:<8}{name:<8}{:>8} calls   p50 {p50:>8.3} ms   p99 {p99:>8.3} ms   longest {most:>8.3} ms",
                waits.len()
            );
            row[name] = json!({"calls": waits.len(), "p50_ms": p50, "p99_ms": p99, "longest_ms": most});
        }
        let mean =
            |times: &[Duration]| times.iter().sum::<Duration>().as_secs_f64() / times.len().max(1) as f64;
        let (took, cpu) = (mean(&self.reloads), mean(&self.others));
        let ratio =
            [Phase::During, Phase::After].map(|phase| p99[phase as usize] / p99[Phase::Before as usize]);
        let holds = ratio[0] <= MOST;
        let _ = writeln!(
            text,
            "{load:<8}reload {took:.1} s, {cpu:.1} s of CPU beside the requests'; p99 during {:.2} x, after {:.2} x before",
            ratio[0], ratio[1]
        );
        row["reload_s"] = took.into();
        row["other_cpu_s"] = cpu.into();
        row["p99_during_to_before"] = ratio[0].into();
        row["p99_after_to_before"] = ratio[1].into();
        row["holds"] = holds.into();
        (text, row)
    }
}

/// The configuration with a file of rules of its own, whose terms are masked.
fn with_terms(yaml: &str, rules: &Path) -> Result<String, Failure> {
    let head = "guardrails:\n  profile: strict\n";
    let more = format!("{head}  rules: [\"{}\"]\n", rules.display());
    let masked = "  overrides:\n    - {kind: term, action: mask}\n";
    let out = yaml.replacen(head, &more, 1).replacen("  overrides:\n", masked, 1);
    if out == yaml { Err("the configuration has no guardrails to add a list to".into()) } else { Ok(out) }
}

/// Made-up names of two words and a number, one a line; some of them change from one `edition` to the next.
fn terms(count: usize, edition: u64) -> String {
    const SYLLABLES: [&str; 16] = [
        "al", "bor", "cor", "den", "fer", "gul", "hex", "jos", "kan", "lum", "mir", "nor", "pal", "ras",
        "sti", "zet",
    ];
    let mut state = 1_u64;
    let mut text = String::with_capacity(count * 32);
    for at in 0..count {
        for len in [3, 4] {
            for _ in 0..len {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push_str(SYLLABLES[(state >> 60) as usize]);
            }
            text.push(' ');
        }
        let number = if at.is_multiple_of(1_000) { edition } else { 7 };
        let _ = writeln!(text, "{number}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn terms_differ_and_change_a_little() {
        let (one, two) = (super::terms(5_000, 1), super::terms(5_000, 2));
        let (one, two): (BTreeSet<_>, BTreeSet<_>) = (one.lines().collect(), two.lines().collect());
        assert_eq!((one.len(), two.len(), one.difference(&two).count()), (5_000, 5_000, 5));
    }

    #[test]
    fn a_list_is_added_to_a_configuration() {
        let yaml = "a: 1\nguardrails:\n  profile: strict\n  overrides:\n    - {kind: email}\n";
        assert_eq!(
            super::with_terms(yaml, Path::new("/own.yaml")).expect("has a guard"),
            "a: 1\nguardrails:\n  profile: strict\n  rules: [\"/own.yaml\"]\n  overrides:\n    - {kind: term, action: mask}\n    - {kind: email}\n"
        );
        assert!(super::with_terms("a: 1\n", Path::new("/own.yaml")).is_err());
    }
}
