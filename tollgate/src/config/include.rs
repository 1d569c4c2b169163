//! Files that the configuration names: secrets, prices, profiles, rules.

use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tollgate_filters::conf::{KeyPath, Problem};
use tollgate_filters::policy::Prices;
use tollgate_filters::scan::injection::InjectionSpec;
use tollgate_filters::scan::{Profile, RuleSpec, TermCheck, TermList};
use tollgate_proxy::config::{Files, raw};

use super::node;

/// Larger files are a mistake: nothing that is configured is that long.
const MAX_FILE: u64 = 16 << 20;
/// A million terms of sixty bytes.
const MAX_TERMS_FILE: u64 = 64 << 20;

/// Reads files and remembers which, and what was in them, for a watcher.
#[derive(Debug)]
pub(super) struct Reader {
    read: Vec<(PathBuf, Digest)>,
}

/// Of a file's content; zeros where it could not be read.
pub(super) type Digest = [u8; 32];

/// The digest of what is in a file now.
pub(super) fn digest(path: &Path) -> Digest {
    read_bounded(path, MAX_TERMS_FILE).map_or([0; 32], |bytes| Sha256::digest(bytes).into())
}

impl Reader {
    /// `first` is the configuration itself.
    pub(super) fn new(first: &Path) -> Self {
        Reader { read: vec![(first.into(), [0; 32])] }
    }

    /// The text of a file; the message says what to do.
    pub(super) fn text(&mut self, path: &Path) -> Result<String, String> {
        let bytes = self.bytes(path, MAX_FILE)?;
        String::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8 text", path.display()))
    }

    /// The text of a file of terms, which may be larger than others.
    fn terms(&mut self, path: &Path) -> Result<String, String> {
        let bytes = self.bytes(path, MAX_TERMS_FILE)?;
        String::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8 text", path.display()))
    }

    /// That a file can be read, now.
    pub(super) fn check(&mut self, path: &Path) -> Result<(), String> {
        self.bytes(path, MAX_FILE).map(drop)
    }

    /// Every file so far, with the digest of what was read.
    pub(super) fn read_so_far(&self) -> &[(PathBuf, Digest)] {
        &self.read
    }

    fn bytes(&mut self, path: &Path, max: u64) -> Result<Vec<u8>, String> {
        // As `digest` reads it: a file too large for its kind must not look changed at every look.
        let read = read_bounded(path, MAX_TERMS_FILE);
        let digest = read.as_ref().map_or([0; 32], |bytes| Sha256::digest(bytes).into());
        match self.read.iter_mut().find(|(known, _)| known == path) {
            Some((_, known)) => *known = digest,
            None => self.read.push((path.into(), digest)),
        }
        let bytes = read?;
        if bytes.len() as u64 > max { Err(too_large(path, max)) } else { Ok(bytes) }
    }
}

fn read_bounded(path: &Path, max: u64) -> Result<Vec<u8>, String> {
    let cannot = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let file = std::fs::File::open(path).map_err(cannot)?;
    let meta = file.metadata().map_err(cannot)?;
    if meta.is_dir() {
        return Err(format!("{} is a folder; name a file", path.display()));
    }
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > max {
        return Err(too_large(path, max));
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
        let mut rules = parse::<Vec<RuleSpec>>(reader, &file.0, &at, &mut problems).unwrap_or_default();
        rules.retain_mut(|rule| {
            let read = read_terms(rule, &file.0, |path| reader.terms(path));
            read.map_err(|message| problems.push(Problem::new(at.clone(), message))).is_ok()
        });
        files.rules.push(rules);
    }
    for (index, file) in raw.guardrails.injection_signals.iter().enumerate() {
        let at = guardrails.key("injection_signals").index(index);
        let signals = parse::<InjectionSpec>(reader, &file.0, &at, &mut problems).unwrap_or_default();
        files.injection_signals.push(signals);
    }
    Included { files, problems }
}

/// Reads the terms of a rule whose file names a file of them, one a line; `read` gives a file's text.
pub(crate) fn read_terms(
    rule: &mut RuleSpec,
    rule_file: &Path,
    read: impl FnOnce(&Path) -> Result<String, String>,
) -> Result<(), String> {
    let Some(file) = &rule.terms_file else { return Ok(()) };
    if !rule.terms.is_empty() {
        return Err(format!("rule `{}` has `terms` and `terms_file`; make it two rules", rule.id));
    }
    let path = rule_file.parent().unwrap_or(Path::new("")).join(file);
    let text = read(&path).map_err(|message| format!("rule `{}`: {message}", rule.id))?;
    let check = TermCheck::new();
    let mut terms = Vec::new();
    for (line, term) in text.lines().enumerate().filter(|(_, term)| !term.trim().is_empty()) {
        check
            .check(term)
            .map_err(|message| format!("rule `{}`: {}:{}: {message}", rule.id, path.display(), line + 1))?;
        terms.push(term.trim().to_owned());
    }
    rule.terms = TermList::new(terms);
    Ok(())
}

fn parse<T: serde::de::DeserializeOwned>(
    reader: &mut Reader,
    file: &Path,
    at: &KeyPath,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    // That it cannot be read was reported with the shape.
    let text = reader.text(file).ok()?;
    match node::read_yaml(&text) {
        Ok(value) => Some(value),
        Err(located) => {
            problems.push(Problem::new(at.clone(), format!("{}:{located}", file.display())));
            None
        }
    }
}

fn too_large(path: &Path, max: u64) -> String {
    format!("{} is larger than {} MiB; is it the right file?", path.display(), max >> 20)
}
