//! The file of signals.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::scan::Examples;

/// `conf/rules/injection.yaml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InjectionSpec {
    /// Lists of words that phrases name as `<list>`.
    #[serde(default)]
    pub words: BTreeMap<String, Vec<String>>,
    pub signals: Vec<SignalSpec>,
}

/// One thing that speaks for an injection, or, with a negative weight, against it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalSpec {
    /// Name in findings.
    pub id: String,
    /// For people.
    #[serde(default)]
    pub about: String,
    /// Points, -100 to 100.
    pub weight: i8,
    /// Words in order: `a|b` one of them, `<list>` one of a list, `word*` whatever begins so, `~3` up to three other words;
    /// `!` before the token that is searched for (the rarest), else it is the first.
    #[serde(default)]
    pub phrases: Vec<String>,
    /// Characters as they stand, whatever is around them.
    #[serde(default)]
    pub marks: Vec<String>,
    /// Texts that reach 50 points through this signal and others, and texts in which the signal is not seen at full weight.
    #[serde(default)]
    pub examples: Examples,
}

const BUILTIN: &str = include_str!("../../../../conf/rules/injection.yaml");

impl InjectionSpec {
    /// The signals of `conf/rules/injection.yaml`.
    pub fn builtin() -> InjectionSpec {
        InjectionSpec::parse(BUILTIN).expect("the built-in signals parse, as a test shows")
    }

    /// Reads a file of signals.
    pub fn parse(yaml: &str) -> Result<InjectionSpec, String> {
        serde_saphyr::from_str(yaml).map_err(|e| e.to_string())
    }
}
