//! What came of every mutant: a line each in a file, and the sums.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};

use crate::{Failure, listing::Mutant, weave::LeftOut};

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome", content = "by")]
pub(crate) enum Outcome {
    /// This test failed.
    Caught(String),
    /// Its tests did not end in their time.
    TimedOut,
    /// All tests that come by its place passed.
    Missed,
    /// No test comes by its place.
    Unreached,
    /// It does not compile.
    Unviable,
    /// It is for cargo-mutants itself: no switch can stand at its place.
    NoSwitch,
}

impl From<LeftOut> for Outcome {
    fn from(why: LeftOut) -> Outcome {
        match why {
            LeftOut::Unviable => Outcome::Unviable,
            LeftOut::NoSwitch => Outcome::NoSwitch,
        }
    }
}

#[derive(Deserialize, Serialize)]
struct Line {
    name: String,
    #[serde(flatten)]
    outcome: Outcome,
}

pub(crate) struct Report {
    file: File,
    outcomes: BTreeMap<String, Outcome>,
}

impl Report {
    /// Goes on with what the file holds.
    pub(crate) fn open(path: &Path) -> Result<Report, Failure> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut outcomes = BTreeMap::new();
        for line in BufReader::new(&file).lines() {
            // A line cut short is run again.
            if let Ok(Line { name, outcome }) = serde_json::from_str(&line?) {
                outcomes.insert(name, outcome);
            }
        }
        Ok(Report { file, outcomes })
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.outcomes.contains_key(name)
    }

    pub(crate) fn add(&mut self, mutant: &Mutant, outcome: &Outcome) -> Result<(), Failure> {
        let line = Line { name: mutant.name.clone(), outcome: outcome.clone() };
        self.file.write_all(format!("{}\n", serde_json::to_string(&line)?).as_bytes())?;
        self.outcomes.insert(line.name, line.outcome);
        Ok(())
    }

    /// What no test noticed by name, and how many there are of each.
    pub(crate) fn summary(&self) {
        let mut sums: BTreeMap<&str, usize> = BTreeMap::new();
        for (name, outcome) in &self.outcomes {
            let told = match outcome {
                Outcome::Caught(_) => "caught",
                Outcome::TimedOut => "timed out",
                Outcome::Missed => "missed",
                Outcome::Unreached => "unreached",
                Outcome::Unviable => "unviable",
                Outcome::NoSwitch => "left to cargo-mutants",
            };
            *sums.entry(told).or_default() += 1;
            if !matches!(outcome, Outcome::Caught(_) | Outcome::Unviable) {
                println!("{told}: {name}");
            }
        }
        let sums: Vec<String> = sums.iter().map(|(told, count)| format!("{count} {told}")).collect();
        println!("{} mutants: {}", self.outcomes.len(), sums.join(", "));
    }
}
