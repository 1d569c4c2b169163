//! Whether a request costs the same however much is configured: few and many keys, organisations and targets, measured in turn in
//! one run.

use std::time::Duration;

use serde_json::{Value, json};

use crate::Failure;
use crate::load::Plan;
use crate::prompt;
use crate::stage::{Gateway, Stage, chat_of, on_stage};
use crate::subject::Subject;
use crate::usage::{Cpu, resident};

const FEW: usize = 10;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    gateway: Gateway,
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Beginning of the names of the gateway's request threads
    #[arg(long, default_value = "data")]
    request_threads: String,
}

/// How much of what is configured.
#[derive(Debug, Clone, Copy)]
struct Size {
    name: &'static str,
    organizations: usize,
    keys: usize,
    targets: usize,
}

const SIZES: [Size; 4] = [
    Size { name: "small", organizations: FEW, keys: FEW, targets: FEW },
    Size { name: "10,000 keys", organizations: FEW, keys: 10_000, targets: FEW },
    Size { name: "1,000 organizations", organizations: 1_000, keys: FEW, targets: FEW },
    Size { name: "1,000 targets", organizations: FEW, keys: FEW, targets: 1_000 },
];

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    on_stage(&arguments.gateway, async |stage| measure(&arguments, stage).await).await
}

async fn measure(arguments: &Arguments, stage: &Stage<'_>) -> Result<(), Failure> {
    let config: Value = serde_saphyr::from_str(&stage.config()?)?;
    let mut subjects = Vec::new();
    for (number, size) in SIZES.iter().enumerate() {
        let path = stage.folder.join(format!("{number}.yaml"));
        // JSON is YAML.
        std::fs::write(&path, enlarged(config.clone(), size)?.to_string())?;
        subjects.push(stage.gateway(size.name, &path)?.0);
    }
    let mut costs = vec![Vec::new(); SIZES.len()];
    // The first round warms up, and does not count.
    for round in 0..=arguments.rounds {
        for (subject, costs) in subjects.iter().zip(&mut costs) {
            let cost = cost(subject, arguments).await?;
            if round > 0 {
                costs.push(cost);
            }
        }
    }
    let rows = rows(&subjects, &costs);
    stage.write("flat", json!({"rounds": arguments.rounds, "seconds": arguments.seconds, "rows": rows}))
}

/// Printed, and as they are written.
fn rows(subjects: &[Subject], costs: &[Vec<f64>]) -> Vec<Value> {
    println!("{:<22}{:>16}{:>12}{:>16}", "", "µs per request", "x small", "resident, MiB");
    let row = |(subject, cost): (&Subject, &Vec<f64>)| {
        // Round by round: what else the machine did hit both.
        let ratios = cost.iter().zip(&costs[0]).map(|(cost, small)| cost / small).collect();
        let (micros, ratio) = (median(cost.clone()), median(ratios));
        let mib = resident(subject.pid()) as f64 / 1_048_576.0;
        println!("{:<22}{micros:>16.1}{ratio:>12.2}{mib:>16.1}", subject.name);
        json!({"name": subject.name, "micros_per_request": micros, "times_small": ratio, "resident_mib": mib})
    };
    subjects.iter().zip(costs).map(row).collect()
}

/// CPU of the request threads, µs per request.
async fn cost(subject: &Subject, arguments: &Arguments) -> Result<f64, Failure> {
    let body = prompt::body("words:20", 300, false);
    let plan = Plan::new(chat_of(subject)?, body, 64, Duration::from_secs_f64(arguments.seconds));
    let before = Cpu::of(subject.pid());
    let outcome = plan.run().await;
    let used = Cpu::of(subject.pid()).since(&before).of_threads(&arguments.request_threads);
    match outcome.failure {
        Some(failure) => Err(format!("{}: {} failed: {failure}", subject.name, outcome.failed).into()),
        None => Ok(used.as_secs_f64() * 1e6 / outcome.requests.max(1) as f64),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The configuration with so many organisations, keys and targets; the load client's key stays, and is not the first.
fn enlarged(mut config: Value, size: &Size) -> Result<Value, Failure> {
    let mut at = |pointer: &str| {
        let list = config.pointer_mut(pointer).and_then(Value::as_array_mut);
        list.map(std::mem::take).ok_or_else(|| format!("the configuration has no {pointer}"))
    };
    let mut keys = at("/organizations/0/applications/0/keys")?;
    let mut organizations = at("/organizations")?;
    let (mut providers, mut models) = (at("/providers")?, at("/models")?);
    let hash = |of: &str, number: usize| format!("{:0>64}", format!("{of}{number:x}"));

    let own = keys.len();
    keys.splice(0..0, (own..size.keys).map(|n| json!({"id": format!("key-{n}"), "hash": hash("a", n)})));
    organizations[0]["applications"][0]["keys"] = keys.into();
    let others = (organizations.len()..size.organizations).map(|n| {
        let key = json!({"id": format!("only-{n}"), "hash": hash("b", n)});
        json!({"id": format!("org-{n}"), "applications": [{"id": "only", "keys": [key]}]})
    });
    organizations.splice(0..0, others);

    let provider = providers.first().cloned().ok_or("the configuration has no provider")?;
    let targets: Vec<Value> = (0..size.targets)
        .map(|n| {
            let mut provider = provider.clone();
            provider["id"] = format!("upstream-{n}").into();
            providers.push(provider);
            json!({"provider": format!("upstream-{n}")})
        })
        .collect();
    models[0]["targets"] = targets.into();
    for (name, list) in [("organizations", organizations), ("providers", providers), ("models", models)] {
        config[name] = list.into();
    }
    Ok(config)
}
