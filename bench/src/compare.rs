//! Fake upstream, bare Pingora and the gateway, measured in turn in one run: the rows of the performance budget that compare
//! with bare Pingora.
//!
//! What is measured runs on one core, client and upstream on another. Every figure is the median over the rounds; in each round every
//! subject gets the same load right after the other, so that what else the machine does hits all of them.

mod scenario;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::task::LocalSet;

use self::scenario::{Figures, Scenario, check, per_unit};
use crate::Failure;
use crate::load::{Outcome, Target, open_streams};
use crate::prompt;
use crate::report::{self, Budget, Row};
use crate::stage::{Gateway, Stage, chat_of, on_stage};
use crate::subject::Subject;
use crate::usage::{Cpu, resident};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    gateway: Gateway,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Open streams for the memory row
    #[arg(long, default_value_t = 1000)]
    streams: usize,
    /// Beginning of the names of the gateway's request threads
    #[arg(long, default_value = "data")]
    request_threads: String,
    /// Another bare pass-through in the gateway's place: shows how far two equals differ on this machine
    #[arg(long)]
    bare_only: bool,
}

struct Bench {
    direct: Target,
    bare: (Subject, Target),
    gateway: (Subject, Target),
    /// None: the gateway's place is taken by a bare proxy.
    request_threads: Option<String>,
    time: Duration,
    figures: BTreeMap<(&'static str, Scenario), Vec<Figures>>,
    threads: BTreeMap<Scenario, Vec<Cpu>>,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    on_stage(&arguments.gateway, async |stage| measure(&arguments, stage).await).await
}

async fn measure(arguments: &Arguments, stage: &Stage<'_>) -> Result<(), Failure> {
    let bare = stage.bare("bare")?;
    let gateway = if arguments.bare_only {
        stage.bare("second")?
    } else {
        stage.gateway("gateway", &arguments.gateway.config)?.0
    };
    let targets = (chat_of(&bare)?, chat_of(&gateway)?);
    let mut bench = Bench {
        direct: stage.direct()?,
        bare: (bare, targets.0),
        gateway: (gateway, targets.1),
        request_threads: (!arguments.bare_only).then(|| arguments.request_threads.clone()),
        time: Duration::from_secs_f64(arguments.seconds),
        figures: BTreeMap::new(),
        threads: BTreeMap::new(),
    };
    bench.warm_up().await?;
    for round in 1..=arguments.rounds {
        for scenario in Scenario::ALL {
            eprintln!("round {round} of {}: {scenario:?}", arguments.rounds);
            bench.round(scenario).await?;
        }
    }
    let mut rows = bench.rows();
    eprintln!("memory: {} open streams", arguments.streams);
    rows.push(bench.memory(arguments.streams).await?);
    print!("{}", report::table(&rows));
    let threads = bench.by_thread();
    print!("{}", threads.1);
    stage.write(
        "compare",
        json!({
            "rounds": arguments.rounds, "seconds": arguments.seconds, "bare_only": arguments.bare_only,
            "rows": report::json(&rows), "tollgate_threads_us": threads.0,
        }),
    )
}

impl Bench {
    async fn warm_up(&self) -> Result<(), Failure> {
        for (_, target) in [&self.bare, &self.gateway] {
            for scenario in Scenario::ALL {
                let outcome = scenario.plan(target, Duration::from_secs(1)).run().await;
                check(&outcome, scenario)?;
            }
        }
        Ok(())
    }

    async fn round(&mut self, scenario: Scenario) -> Result<(), Failure> {
        let direct = scenario.plan(&self.direct, self.time).run().await;
        self.note("direct", scenario, &direct, &Cpu::default())?;
        for _ in 0..scenario.slices() {
            self.slice(scenario, self.time / scenario.slices()).await?;
        }
        Ok(())
    }

    /// The same load on both, one right after the other.
    async fn slice(&mut self, scenario: Scenario, time: Duration) -> Result<(), Failure> {
        for name in ["bare", "gateway"] {
            let (subject, target) = if name == "bare" { &self.bare } else { &self.gateway };
            let (pid, plan) = (subject.pid(), scenario.plan(target, time));
            let before = Cpu::of(pid);
            let outcome = plan.run().await;
            let cpu = Cpu::of(pid).since(&before);
            self.note(name, scenario, &outcome, &cpu)?;
            if name == "gateway" {
                self.threads.entry(scenario).or_default().push(per_unit(&cpu, scenario, &outcome));
            }
        }
        Ok(())
    }

    fn note(
        &mut self,
        name: &'static str,
        scenario: Scenario,
        outcome: &Outcome,
        cpu: &Cpu,
    ) -> Result<(), Failure> {
        check(outcome, scenario).map_err(|failure| format!("{name}: {failure}"))?;
        // Bare Pingora has no background work worth the name: all of it is request work.
        let requests = match &self.request_threads {
            Some(prefix) if name == "gateway" => cpu.of_threads(prefix),
            _ => cpu.total(),
        };
        let figures = Figures::of(scenario, outcome, cpu.total(), requests);
        self.figures.entry((name, scenario)).or_default().push(figures);
        Ok(())
    }

    fn median(&self, name: &'static str, scenario: Scenario, of: fn(&Figures) -> f64) -> f64 {
        let mut values = self.values(name, scenario, of);
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn values(&self, name: &'static str, scenario: Scenario, of: fn(&Figures) -> f64) -> Vec<f64> {
        self.figures.get(&(name, scenario)).into_iter().flatten().map(of).collect()
    }

    fn ratios(&self, scenario: Scenario, of: fn(&Figures) -> f64) -> Vec<f64> {
        let (bare, gateway) = (self.values("bare", scenario, of), self.values("gateway", scenario, of));
        let mut ratios: Vec<f64> =
            bare.into_iter().zip(gateway).map(|(bare, gateway)| gateway / bare).collect();
        ratios.sort_by(f64::total_cmp);
        ratios
    }

    fn rows(&self) -> Vec<Row> {
        let row = |name, unit, scenario, of: fn(&Figures) -> f64, direct: bool, budget| Row {
            name,
            unit,
            direct: direct.then(|| self.median("direct", scenario, of)),
            bare: self.median("bare", scenario, of),
            gateway: self.median("gateway", scenario, of),
            ratios: self.ratios(scenario, of),
            budget,
        };
        use Scenario::{First, Large, Paced, Single, Small, Stream};
        vec![
            row(
                "a: 300 B, CPU of request threads",
                "µs",
                Small,
                |f| f.request_cpu_us,
                false,
                Budget::Ratio(2.0),
            ),
            row("a: 300 B, CPU of the process", "µs", Small, |f| f.cpu_us, false, Budget::Ratio(3.0)),
            row(
                "a at 2,500 req/s, CPU of request threads",
                "µs",
                Paced,
                |f| f.request_cpu_us,
                false,
                Budget::Ratio(2.0),
            ),
            row("a at 2,500 req/s, CPU of the process", "µs", Paced, |f| f.cpu_us, false, Budget::Ratio(3.0)),
            row("a at 2,500 req/s, answered", "req/s", Paced, |f| f.per_second, true, Budget::None),
            row("a: 300 B, 64 connections", "req/s", Small, |f| f.per_second, true, Budget::None),
            row("a: 300 B, 64 connections, p50", "ms", Small, |f| f.p50_ms, true, Budget::None),
            row("a: 300 B, 64 connections, p99", "ms", Small, |f| f.p99_ms, true, Budget::None),
            row("a: 300 B, one connection, p50", "ms", Single, |f| f.p50_ms, true, Budget::None),
            row(
                "b: 32 KiB, CPU of request threads",
                "µs",
                Large,
                |f| f.request_cpu_us,
                false,
                Budget::Ratio(3.5),
            ),
            row("b: 32 KiB, 64 connections", "req/s", Large, |f| f.per_second, true, Budget::None),
            row("stream, CPU per delta", "µs", Stream, |f| f.request_cpu_us, false, Budget::Ratio(2.0)),
            row(
                "stream, one at a time, first token, p50",
                "ms",
                First,
                |f| f.first_ms,
                true,
                Budget::Added(0.2),
            ),
            row(
                "stream, 100 at once, first token, p50",
                "ms",
                Stream,
                |f| f.first_ms,
                true,
                Budget::Added(0.2),
            ),
            row(
                "stream, 100 at once, first token, p99",
                "ms",
                Stream,
                |f| f.first_p99_ms,
                true,
                Budget::None,
            ),
        ]
    }

    /// Resident memory per stream with so many open, after all the other loads.
    async fn memory(&self, streams: usize) -> Result<Row, Failure> {
        // The second word comes after the measurement is over.
        let body = Bytes::from(prompt::body("words:2:60000ms", 300, true));
        let mut per_stream = Vec::new();
        for (subject, target) in [&self.bare, &self.gateway] {
            let before = resident(subject.pid());
            let local = LocalSet::new();
            let grown = local
                .run_until(async {
                    let open = open_streams(target, &body, streams).await?;
                    let grown = resident(subject.pid()).saturating_sub(before);
                    drop(open);
                    Ok::<u64, Failure>(grown)
                })
                .await
                .map_err(|failure| format!("{}: {failure}", subject.name))?;
            eprintln!("{}: resident {:.1} MiB + {:.1} MiB", subject.name, mib(before), mib(grown));
            per_stream.push(grown as f64 / 1024.0 / streams as f64);
        }
        Ok(Row {
            name: "memory per open stream",
            unit: "KiB",
            direct: None,
            bare: per_stream[0],
            gateway: per_stream[1],
            ratios: vec![per_stream[1] / per_stream[0]],
            budget: Budget::Ratio(1.3),
        })
    }

    /// The gateway's CPU by thread, per request (streams: per delta), of the last round.
    fn by_thread(&self) -> (Value, String) {
        let mut object = serde_json::Map::new();
        let mut text =
            String::from("\ntollgate's CPU by thread, µs per request (stream: per delta), last round\n");
        for (scenario, rounds) in &self.threads {
            let Some(cpu) = rounds.last() else { continue };
            let mut threads = serde_json::Map::new();
            for (name, used) in &cpu.0 {
                let us = used.as_secs_f64() * 1e6;
                threads.insert(name.clone(), us.into());
                text.push_str(&format!("  {:<8} {name:<15} {us:>9.2}\n", format!("{scenario:?}")));
            }
            object.insert(format!("{scenario:?}").to_lowercase(), threads.into());
        }
        (object.into(), text)
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1048576.0
}
