//! Figures as text and as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::load::{Outcome, quantile};
use crate::usage::Cpu;

pub(crate) fn load(outcome: &Outcome) -> String {
    let mut text = String::new();
    let seconds = outcome.took.as_secs_f64();
    let _ = writeln!(
        text,
        "{} requests in {seconds:.2} s: {:.0}/s, {} failed",
        outcome.requests,
        outcome.requests as f64 / seconds,
        outcome.failed
    );
    let ms = |sorted: &[u32], share| quantile(sorted, share).map_or(f64::NAN, |us| f64::from(us) / 1000.0);
    let _ = writeln!(
        text,
        "latency ms p50 {:.3} p99 {:.3}",
        ms(&outcome.latency, 0.5),
        ms(&outcome.latency, 0.99)
    );
    if !outcome.first_token.is_empty() {
        let (p50, p99) = (ms(&outcome.first_token, 0.5), ms(&outcome.first_token, 0.99));
        let _ = writeln!(text, "first token ms p50 {p50:.3} p99 {p99:.3}; {} words", outcome.words);
    }
    text
}

pub(crate) fn cost(cpu: &Cpu, outcome: &Outcome) -> String {
    let mut text = String::new();
    let per = |time: Duration| time.as_secs_f64() * 1e6 / outcome.requests.max(1) as f64;
    let _ = writeln!(text, "CPU per request {:.1} µs", per(cpu.total()));
    for (name, used) in &cpu.0 {
        let _ = writeln!(text, "  {name:<15} {:>8.1} µs  {:.3} s", per(*used), used.as_secs_f64());
    }
    text
}

/// One row of the comparison.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) direct: Option<f64>,
    pub(crate) bare: f64,
    pub(crate) gateway: f64,
    /// Gateway / bare, of measurements that followed each other, ascending.
    pub(crate) ratios: Vec<f64>,
    /// The budget: what gateway / bare (or, for added times, gateway - bare) must not pass.
    pub(crate) budget: Budget,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Budget {
    Ratio(f64),
    Added(f64),
    None,
}

impl Row {
    fn against(&self) -> String {
        match self.budget {
            Budget::Added(_) => format!("{:+.3}", self.gateway - self.bare),
            _ => format!("{:.2} x", self.ratio()),
        }
    }

    /// The median of all pairs: what the machine does meanwhile changes both of a pair, and few pairs.
    fn ratio(&self) -> f64 {
        self.ratios.get(self.ratios.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// None: no budget.
    pub(crate) fn holds(&self) -> Option<bool> {
        match self.budget {
            Budget::Ratio(most) => Some(self.ratio() <= most),
            Budget::Added(most) => Some(self.gateway - self.bare <= most),
            Budget::None => None,
        }
    }
}

pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{:<46} {:>9} {:>10} {:>10} {:>9}  budget", "", "direct", "bare", "tollgate", "");
    for row in rows {
        let direct = row.direct.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
        let budget = match row.budget {
            Budget::Ratio(most) => format!("<= {most:.1} x"),
            Budget::Added(most) => format!("<= +{most:.1}"),
            Budget::None => String::new(),
        };
        let verdict = match row.holds() {
            Some(true) => "holds",
            Some(false) => "MISSED",
            None => "",
        };
        let name = format!("{}, {}", row.name, row.unit);
        let _ = writeln!(
            text,
            "{name:<46} {direct:>9} {:>10.3} {:>10.3} {:>9}  {budget:<9} {verdict}",
            row.bare,
            row.gateway,
            row.against()
        );
    }
    text
}

pub(crate) fn json(rows: &[Row]) -> Value {
    rows.iter()
        .map(|row| {
            json!({
                "name": row.name, "unit": row.unit, "direct": row.direct, "bare": row.bare, "tollgate": row.gateway,
                "against_bare": row.against(), "ratios": row.ratios, "holds": row.holds(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Budget, Row};

    #[test]
    fn budgets_are_ratios_or_differences() {
        let ratios = vec![1.0, 1.5, 9.0];
        let row = |budget| Row {
            name: "n",
            unit: "u",
            direct: None,
            bare: 2.0,
            gateway: 3.0,
            ratios: ratios.clone(),
            budget,
        };
        assert_eq!(row(Budget::Ratio(1.5)).holds(), Some(true));
        assert_eq!(row(Budget::Ratio(1.4)).holds(), Some(false));
        assert_eq!(row(Budget::Added(1.0)).holds(), Some(true));
        assert_eq!(row(Budget::Added(0.9)).holds(), Some(false));
        assert_eq!(row(Budget::None).holds(), None);
    }
}
