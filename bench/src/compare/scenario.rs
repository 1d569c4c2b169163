//! The loads of a round, and what one cost one subject.

use std::time::Duration;

use crate::Failure;
use crate::load::{Outcome, Plan, Target, quantile};
use crate::prompt;
use crate::usage::Cpu;

/// Words per stream and the time between them; see the fake upstream's model names.
const STREAM: &str = "words:100:10ms";
const WORDS: u64 = 100;
const STREAMS: usize = 100;
/// Requests per second of a paced load.
const RATE: f64 = 2500.0;

/// The loads of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scenario {
    Small,
    /// The same at a rate that every subject can keep: each wakes and is woken as often.
    Paced,
    Large,
    Single,
    /// One short stream at a time: what stands between upstream and client when nothing else does.
    First,
    Stream,
}

impl Scenario {
    pub(super) const ALL: [Scenario; 6] = [
        Scenario::Small,
        Scenario::Paced,
        Scenario::Large,
        Scenario::Single,
        Scenario::First,
        Scenario::Stream,
    ];

    /// A load whose CPU is compared is cut into pieces that alternate between the subjects: a ratio is then of neighbours in time.
    pub(super) fn slices(self) -> u32 {
        match self {
            Scenario::Small | Scenario::Paced | Scenario::Large => 4,
            Scenario::Single | Scenario::First | Scenario::Stream => 1,
        }
    }

    pub(super) fn plan(self, target: &Target, time: Duration) -> Plan {
        let (model, size, stream, concurrency) = match self {
            Scenario::Small | Scenario::Paced => ("words:20", 300, false, 64),
            Scenario::Large => ("words:20", 32 * 1024, false, 64),
            Scenario::Single => ("words:20", 300, false, 1),
            Scenario::First => ("words:2", 300, true, 1),
            Scenario::Stream => (STREAM, 300, true, STREAMS),
        };
        let plan = Plan::new(target.clone(), prompt::body(model, size, stream), concurrency, time);
        let plan = Plan { stream, ..plan };
        if self == Scenario::Paced { plan.at_rate(RATE) } else { plan }
    }
}

/// What one load cost one subject.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Figures {
    pub(super) cpu_us: f64,
    pub(super) request_cpu_us: f64,
    pub(super) per_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) first_ms: f64,
    pub(super) first_p99_ms: f64,
}

impl Figures {
    pub(super) fn of(scenario: Scenario, outcome: &Outcome, cpu: Duration, request_cpu: Duration) -> Figures {
        let ms = |sorted: &[u32], share| quantile(sorted, share).map_or(0.0, |us| f64::from(us) / 1000.0);
        let per = |time: Duration| time.as_secs_f64() * 1e6 / units(scenario, outcome);
        Figures {
            cpu_us: per(cpu),
            request_cpu_us: per(request_cpu),
            per_second: outcome.requests as f64 / outcome.took.as_secs_f64(),
            p50_ms: ms(&outcome.latency, 0.5),
            p99_ms: ms(&outcome.latency, 0.99),
            first_ms: ms(&outcome.first_token, 0.5),
            first_p99_ms: ms(&outcome.first_token, 0.99),
        }
    }
}

/// What a load's cost is divided by: requests, or words of streams.
fn units(scenario: Scenario, outcome: &Outcome) -> f64 {
    let units = if scenario == Scenario::Stream { outcome.words } else { outcome.requests };
    units.max(1) as f64
}

pub(super) fn per_unit(cpu: &Cpu, scenario: Scenario, outcome: &Outcome) -> Cpu {
    let units = units(scenario, outcome);
    Cpu(cpu.0.iter().map(|(name, used)| (name.clone(), used.div_f64(units))).collect())
}

/// A figure of a load that failed in part says nothing.
pub(super) fn check(outcome: &Outcome, scenario: Scenario) -> Result<(), Failure> {
    if let Some(failure) = &outcome.failure {
        return Err(
            format!("{scenario:?}: {} requests failed, the first with: {failure}", outcome.failed).into()
        );
    }
    if scenario == Scenario::Stream && outcome.words != outcome.requests * WORDS {
        let expected = outcome.requests * WORDS;
        return Err(format!("{scenario:?}: {} words came instead of {expected}", outcome.words).into());
    }
    Ok(())
}
