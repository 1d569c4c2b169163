//! What cargo-mutants lists.

use std::{fs, path::Path};

use serde::Deserialize;

use crate::Failure;

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
pub(crate) enum Genre {
    FnValue,
    BinaryOperator,
    UnaryOperator,
    MatchArm,
    MatchArmGuard,
    StructField,
}

/// Line and column, both counted from 1; columns in characters.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Span {
    pub(crate) start: Position,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Mutant {
    /// Counted from 1; 0 is the code as it is.
    #[serde(skip)]
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) package: String,
    /// From the tree's root.
    pub(crate) file: String,
    pub(crate) span: Span,
    pub(crate) replacement: String,
    pub(crate) genre: Genre,
}

/// The mutants of one package, in the order of the list.
pub(crate) fn read(list: &Path, package: &str) -> Result<Vec<Mutant>, Failure> {
    let text = fs::read_to_string(list).map_err(|error| format!("{}: {error}", list.display()))?;
    let all: Vec<Mutant> = serde_json::from_str(&text).map_err(|error| {
        format!("{} is not what `cargo mutants --list --json` prints: {error}", list.display())
    })?;
    let mut own: Vec<Mutant> = all.into_iter().filter(|mutant| mutant.package == package).collect();
    if own.is_empty() {
        return Err(format!("{} lists no mutant of {package}", list.display()).into());
    }
    for (id, mutant) in (1..).zip(&mut own) {
        mutant.id = id;
    }
    Ok(own)
}

pub(crate) fn shard(text: &str) -> Result<(usize, usize), String> {
    let read = text.split_once('/').and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
    match read {
        Some((k, n)) if k < n => Ok((k, n)),
        _ => Err("give K/N with K below N, such as 0/32".to_owned()),
    }
}
