//! Files that the configuration names: secrets, prices, profiles, rules.

use std::path::{Path, PathBuf};

use tollgate_filters::conf::{KeyPath, Problem};
use tollgate_filters::policy::Prices;
use tollgate_filters::scan::{Profile, RuleSpec};
use tollgate_proxy::config::{Files, raw};

use super::node;

/// Larger files are a mistake: nothing that is configured is that long.
const MAX_FILE: u64 = 16 << 20;

/// Reads files and remembers which, for a watcher.
#[derive(Debug)]
pub(super) struct Reader {
    read: Vec<PathBuf>,
}

impl Reader {
    pub(super) fn new(first: &Path) -> Self {
        Reader { read: vec![first.into()] }
    }

    /// The text of a file; the message says what to do.
    pub(super) fn text(&mut self, path: &Path) -> Result<String, String> {
        let bytes = self.bytes(path)?;
        String::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8 text", path.display()))
    }

    /// That a file can be read, now.
    pub(super) fn check(&mut self, path: &Path) -> Result<(), String> {
        self.bytes(path).map(drop)
    }

    pub(super) fn read_so_far(&self) -> Vec<PathBuf> {
        self.read.clone()
    }

    fn bytes(&mut self, path: &Path) -> Result<Vec<u8>, String> {
        let cannot = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
        if !self.read.iter().any(|known| known == path) {
            self.read.push(path.into());
        }
        let meta = std::fs::metadata(path).map_err(cannot)?;
        if meta.is_dir() {
            return Err(format!("{} is a folder; name a file", path.display()));
        }
        if meta.len() > MAX_FILE {
            return Err(format!("{} is larger than 16 MiB; is it the right file?", path.display()));
        }
        std::fs::read(path).map_err(cannot)
    }
}

/// Contents, and what is wrong with them.
pub(super) struct Included {
    pub(super) files: Files,
    pub(super) problems: Vec<Problem>,
}

/// Reads what `raw` names.
pub(super) fn read(raw: &raw::Config, reader: &mut Reader) -> Included {
    let mut problems = Vec::new();
    let mut files = Files::default();
    let builtin: Prices =
        serde_saphyr::from_str(Prices::BUILTIN).expect("built-in prices parse, as a test shows");
    files.prices = match &raw.prices {
        None => builtin,
        Some(file) => {
            let at = KeyPath::root().key("prices");
            parse::<Prices>(reader, &file.0, &at, &mut problems).unwrap_or_default().over(&builtin)
        }
    };
    let guardrails = KeyPath::root().key("guardrails");
    for (index, file) in raw.guardrails.profiles.iter().enumerate() {
        let at = guardrails.key("profiles").index(index);
        files.profiles.extend(parse::<Profile>(reader, &file.0, &at, &mut problems));
    }
    for (index, file) in raw.guardrails.rules.iter().enumerate() {
        let at = guardrails.key("rules").index(index);
        // One list per file even where one is broken: positions are counted.
        files.rules.push(parse::<Vec<RuleSpec>>(reader, &file.0, &at, &mut problems).unwrap_or_default());
    }
    Included { files, problems }
}

fn parse<T: serde::de::DeserializeOwned>(
    reader: &mut Reader,
    file: &Path,
    at: &KeyPath,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    // That it cannot be read was reported with the shape.
    let text = reader.text(file).ok()?;
    let options = serde_saphyr::options! { with_snippet: false };
    match serde_saphyr::from_str_with_options(&text, options) {
        Ok(value) => Some(value),
        Err(error) => {
            let located = node::located(&error);
            problems.push(Problem::new(at.clone(), format!("{}:{located}", file.display())));
            None
        }
    }
}
