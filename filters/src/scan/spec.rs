//! A rule as it stands in a file.

use super::TermList;
use serde::{Deserialize, Serialize};

/// One rule of a rule file.
///
/// Exactly one of `detector`, `pattern`, `starts`, and terms says what is looked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleSpec {
    /// Unique name, as it stands in findings, metrics and overrides.
    pub id: String,
    /// What is found: `email`, `phone`, `ssn`, `credit_card`, `ip_address`, `iban`, `secret`, or a kind of your own.
    pub kind: String,
    /// For people: what the rule finds, and where its format is published.
    #[serde(default)]
    pub about: String,
    /// A detector built into the engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detector: Option<Detector>,
    /// A regular expression over normalised ASCII text, of bounded length, that matches between word borders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Whether `pattern` ignores case.
    #[serde(default)]
    pub ignore_case: bool,
    /// Literal prefixes of at least three ASCII characters, each followed by `body`; or the names, schemes or first lines that
    /// a detector looks for. A name behind `^` stands at the beginning of a word only, which costs less.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub starts: Vec<String>,
    /// What follows a prefix of `starts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Body>,
    /// What stands before a prefix of `starts` and belongs to the value, where the mark is in the middle of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead: Option<Lead>,
    /// Terms to be found wherever they stand between word borders, whatever their case, accents and width: names of customers,
    /// code names. Each has two letters or digits at least and 200 characters at most.
    #[serde(default, skip_serializing_if = "TermList::is_empty")]
    pub terms: TermList,
    /// A file with such terms, one a line, up to a million; its path is relative to the rule file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms_file: Option<String>,
    /// A check that a match must pass as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validator: Option<Validator>,
    /// Words that speak for a match when they stand in the 64 bytes before it. A `pattern` with context words needs one;
    /// detectors need one where the form alone could be anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub context: Vec<String>,
    /// Whole words that speak against a match when they stand there in the same line, nearer than those for it. Those of a
    /// detector must stand right before a number whose form says what it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub avoid: Vec<String>,
    /// How bad a leak is; `tollgate scan` shows it to people, without effect on what is done.
    #[serde(default)]
    pub severity: Severity,
    /// Texts that must and must not match; run by `tollgate check` and by the tests.
    #[serde(default)]
    pub examples: Examples,
}

/// What code finds, because a pattern cannot say it or would be slow.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Detector {
    Email,
    Ipv4,
    Ipv6,
    Ssn,
    Card,
    Phone,
    Iban,
    /// JSON web tokens.
    Jwt,
    /// PEM blocks of private keys.
    Pem,
    /// URLs with a password; `starts` lists their schemes.
    UrlPassword,
    /// Values given to a name of `starts`.
    Assignment,
}

impl Detector {
    pub(super) const COUNT: usize = Detector::Assignment as usize + 1;
}

/// The run of characters after a key's prefix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Body {
    /// Characters as in a regular expression's brackets: `A-Za-z0-9_-`.
    pub class: String,
    /// Fewest characters; 0 only behind a `lead`, and with `max`. Without `max` the rule commits here: the rest of the run is
    /// swallowed.
    pub min: usize,
    /// Most characters; a longer run is no match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<usize>,
    /// The prefix only says what follows, and stays: `Bearer `.
    #[serde(default)]
    pub label: bool,
}

/// The run of characters before a key's mark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lead {
    /// Characters as in a regular expression's brackets; of letters, digits and `. _ % + - ' / ~`.
    pub class: String,
    /// Fewest characters.
    pub min: usize,
    /// Most characters, up to 80; a longer run is no match.
    pub max: usize,
}

/// A check in code that a match must pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Validator {
    /// Luhn checksum over the digits.
    Luhn,
    /// IBAN: country's length and structure, mod-97 checksum.
    Iban,
    /// Random-looking: entropy, not a placeholder, not a word.
    Entropy,
}

/// How bad a leak is.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Low,
    #[default]
    Medium,
    High,
    Critical,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }
}

/// Texts that a rule must and must not match.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Examples {
    #[serde(default, rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub no_match: Vec<String>,
}
