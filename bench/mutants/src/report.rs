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

    /// What no test noticed by name, how many there are of each, and a table of the files.
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
        println!("{}", self.table());
    }

    /// By file, or folder below a module: those that ran and what came of them, and those that could not.
    fn table(&self) -> String {
        let mut files: BTreeMap<String, [usize; 6]> = BTreeMap::new();
        for (name, outcome) in &self.outcomes {
            let columns: &[usize] = match outcome {
                Outcome::Caught(_) => &[0, 1],
                Outcome::Missed | Outcome::Unreached => &[0, 2],
                Outcome::TimedOut => &[0, 3],
                Outcome::Unviable => &[4],
                Outcome::NoSwitch => &[5],
            };
            for file in [place(name), "all".to_owned()] {
                let counts = files.entry(file).or_default();
                columns.iter().for_each(|column| counts[*column] += 1);
            }
        }
        let mut table = String::from(
            "| file | run | caught | missed | timed out | unviable | not to be switched |\n|---|---:|---:|---:|---:|---:|---:|\n",
        );
        let all = files.remove("all").map(|counts| ("all".to_owned(), counts));
        for (file, counts) in files.into_iter().map(|(file, counts)| (format!("`{file}`"), counts)).chain(all)
        {
            table.push_str(&format!("| {file} | {} |\n", counts.map(|count| count.to_string()).join(" | ")));
        }
        table
    }
}

/// `filters/src/scan/sweep/hold.rs:10:5: …` is of `scan/sweep/`, `filters/src/scan/email.rs:…` of `scan/email.rs`.
fn place(name: &str) -> String {
    let file = name.split_once(':').map_or(name, |(file, _)| file);
    let below = file.split_once("src/").map_or(file, |(_, below)| below);
    match below.match_indices('/').nth(1) {
        Some((at, _)) => below[..=at].to_owned(),
        None => below.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_by_module() {
        let outcomes = [
            ("filters/src/scan/sweep/hold.rs:1:2: x", Outcome::Caught("t".to_owned())),
            ("filters/src/scan/sweep/open.rs:1:2: x", Outcome::Unreached),
            ("filters/src/scan/email.rs:9:9: x", Outcome::TimedOut),
            ("proxy/src/limits.rs:9:9: x", Outcome::NoSwitch),
        ];
        let outcomes = outcomes.map(|(name, outcome)| (name.to_owned(), outcome)).into();
        let report = Report { file: tempfile(), outcomes };
        let table = report.table();
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| `limits.rs` | 0 | 0 | 0 | 0 | 0 | 1 |",
                "| `scan/email.rs` | 1 | 0 | 0 | 1 | 0 | 0 |",
                "| `scan/sweep/` | 2 | 1 | 1 | 0 | 0 | 0 |",
                "| all | 3 | 1 | 1 | 1 | 0 | 1 |",
            ]
        );
    }

    fn tempfile() -> File {
        File::open("/dev/null").expect("is there")
    }
}
