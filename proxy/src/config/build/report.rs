//! What was found while building, and the checks that every section uses.

use std::collections::HashMap;
use std::time::Duration;

use tollgate_filters::conf::{ByteSize, HumanDuration, KeyPath, Problem};

/// Longest name of anything.
const MAX_NAME: usize = 128;

#[derive(Debug, Default)]
pub(super) struct Report {
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Report {
    pub(super) fn refuse(&mut self, path: KeyPath, message: impl Into<String>) {
        self.problems.push(Problem::new(path, message));
    }

    pub(super) fn warn(&mut self, path: KeyPath, message: impl Into<String>) {
        self.warnings.push(Problem::new(path, message));
    }

    /// The warnings, if nothing was refused.
    pub(super) fn finish(self) -> Result<Vec<Problem>, Vec<Problem>> {
        if self.problems.is_empty() { Ok(self.warnings) } else { Err(self.problems) }
    }

    /// Names go into headers, logs and metrics: visible ASCII without quotes and backslashes.
    pub(super) fn name(&mut self, path: &KeyPath, name: &str) {
        let fits = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\' | ',');
        if name.is_empty() {
            self.refuse(path.clone(), "is empty; write a name");
        } else if name.len() > MAX_NAME || !name.chars().all(fits) {
            self.refuse(
                path.clone(),
                format!("write at most {MAX_NAME} letters, digits and signs, without spaces, quotes, commas or backslashes"),
            );
        }
    }

    /// A name that stands in a URL path or in a key.
    pub(super) fn plain_name(&mut self, path: &KeyPath, name: &str) {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(fits) {
            self.refuse(
                path.clone(),
                format!("write 1 to {MAX_NAME} letters, digits, `_`, `-` or `.`, such as team-a"),
            );
        }
    }

    /// A header's name, lower case.
    pub(super) fn header(&mut self, path: &KeyPath, name: &str) -> String {
        let lower = name.to_ascii_lowercase();
        if http::HeaderName::from_bytes(lower.as_bytes()).is_err() {
            self.refuse(path.clone(), "is not a header's name; write one such as x-llm-source");
        }
        lower
    }

    /// A duration above zero.
    pub(super) fn time(&mut self, path: &KeyPath, value: HumanDuration) -> Duration {
        self.time_within(path, value, Duration::from_millis(1), Duration::MAX)
    }

    pub(super) fn time_within(
        &mut self,
        path: &KeyPath,
        value: HumanDuration,
        least: Duration,
        most: Duration,
    ) -> Duration {
        if value.0 < least {
            let (is, least) = (value, HumanDuration(least));
            self.refuse(path.clone(), format!("is {is}; write {least} or more"));
        } else if value.0 > most {
            let (is, most) = (value, HumanDuration(most));
            self.refuse(path.clone(), format!("is {is}; write {most} or less"));
        }
        value.0
    }

    pub(super) fn size(&mut self, path: &KeyPath, value: ByteSize, least: u64) -> usize {
        if value.0 < least {
            self.refuse(path.clone(), format!("is {value}; write {} or more", ByteSize(least)));
        }
        value.as_usize()
    }
}

/// Finds the second use of what must be unique, and names the first.
pub(super) struct Unique<T> {
    seen: HashMap<T, KeyPath>,
}

impl<T: std::hash::Hash + Eq> Unique<T> {
    pub(super) fn new() -> Self {
        Unique { seen: HashMap::new() }
    }

    /// Refuses `value` at `path` when it was seen; `what` is as in "is already the id of".
    pub(super) fn insert(&mut self, report: &mut Report, path: &KeyPath, value: T, advice: &str) {
        match self.seen.get(&value) {
            Some(first) => report.refuse(path.clone(), format!("is the same as {first}; {advice}")),
            None => {
                self.seen.insert(value, path.clone());
            }
        }
    }
}

/// `a, b, c`, or "none" where there are none; long lists are cut.
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 12;
    let names: Vec<_> = names.into_iter().filter(|name| !name.is_empty()).collect();
    match names.len() {
        0 => "none yet".to_owned(),
        count if count > SHOWN => format!("{}, and {} more", names[..SHOWN].join(", "), count - SHOWN),
        _ => names.join(", "),
    }
}

/// 64 hexadecimal digits.
pub(super) fn sha256_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let nibble = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(nibble(pair[0])? << 4 | nibble(pair[1])?).ok()?;
    }
    Some(bytes)
}
