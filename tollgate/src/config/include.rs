//! Files that the configuration names: secrets, prices, profiles, rules.

use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tollgate_filters::conf::{KeyPath, Problem};
use tollgate_filters::policy::Prices;
use tollgate_filters::scan::{Profile, RuleSpec};
use tollgate_proxy::config::{Files, raw};

use super::node;

/// Larger files are a mistake: nothing that is configured is that long.
const MAX_FILE: u64 = 16 << 20;

/// Reads files and remembers which, and what was in them, for a watcher.
#[derive(Debug)]
pub(super) struct Reader {
    read: Vec<(PathBuf, Digest)>,
}

/// Of a file's content; zeros where it could not be read.
pub(super) type Digest = [u8; 32];

/// The digest of what is in a file now.
pub(super) fn digest(path: &Path) -> Digest {
    read_bounded(path).map_or([0; 32], |bytes| Sha256::digest(bytes).into())
}

impl Reader {
    /// `first` is the configuration itself.
    pub(super) fn new(first: &Path) -> Self {
        Reader { read: vec![(first.into(), [0; 32])] }
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

    /// Every file so far, with the digest of what was read.
    pub(super) fn read_so_far(&self) -> &[(PathBuf, Digest)] {
        &self.read
    }

    fn bytes(&mut self, path: &Path) -> Result<Vec<u8>, String> {
        let read = read_bounded(path);
        let digest = read.as_ref().map_or([0; 32], |bytes| Sha256::digest(bytes).into());
        match self.read.iter_mut().find(|(known, _)| known == path) {
            Some((_, known)) => *known = digest,
            None => self.read.push((path.into(), digest)),
        }
        read
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let file = std::fs::File::open(path).map_err(cannot)?;
    let meta = file.metadata().map_err(cannot)?;
    if meta.is_dir() {
        return Err(format!("{} is a folder; name a file", path.display()));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("{} is larger than 16 MiB; is it the right file?", path.display()));
    }
    Ok(bytes)
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
