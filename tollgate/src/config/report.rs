//! Problems with their places, as a person reads them: `file:line:column: key.path: what to do`.

use std::fmt;
use std::path::{Path, PathBuf};

use tollgate_filters::conf::{KeyPath, Problem};

use super::node::{Node, Place};

/// A problem and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Located {
    pub(crate) line: u64,
    pub(crate) column: u64,
    pub(crate) problem: Problem,
}

impl Located {
    pub(super) fn new(place: Place, problem: Problem) -> Self {
        Located { line: place.line, column: place.column, problem }
    }
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.problem)
    }
}

/// Everything that is wrong with a configuration file.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) file: PathBuf,
    pub(crate) problems: Vec<Located>,
    /// Every file that was read, and their fingerprint: one of them has to change before another try makes sense.
    pub(crate) read: Vec<PathBuf>,
    pub(crate) hash: String,
}

impl Report {
    pub(super) fn new(file: &Path, problems: Vec<Located>) -> Self {
        Report { file: file.into(), problems, read: Vec::new(), hash: String::new() }
    }

    pub(super) fn at_start(file: &Path, message: String) -> Self {
        Report::new(file, vec![Located::new(Place::START, Problem::new(KeyPath::root(), message))])
    }

    pub(super) fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    pub(super) fn push(&mut self, place: Place, problem: Problem) {
        self.problems.push(Located::new(place, problem));
    }

    /// Adds problems at the places of their paths.
    pub(super) fn extend(&mut self, tree: &Node, problems: impl IntoIterator<Item = Problem>) {
        for problem in problems {
            self.push(tree.place_of(&problem.path), problem);
        }
    }

    /// In the order of the file.
    pub(super) fn sort(&mut self) {
        self.problems.sort();
        self.problems.dedup();
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for located in &self.problems {
            writeln!(f, "{}:{located}", self.file.display())?;
        }
        match self.problems.len() {
            1 => f.write_str("1 problem"),
            count => write!(f, "{count} problems"),
        }
    }
}

impl std::error::Error for Report {}
