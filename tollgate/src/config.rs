//! Loading the configuration file: YAML → tree with positions → `${…}` and secret files → shape, by the generated schema →
//! serde → [`Config::build`]. Every mistake is found in one go and reported with its line and column.

mod include;
mod interpolate;
mod node;
mod report;
mod shape;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tollgate_filters::conf::{KeyPath, Problem};
use tollgate_proxy::config::{Config, raw};

pub(crate) use include::read_terms;
pub(crate) use node::read_yaml;
pub(crate) use report::{Located, Report};

/// A loaded configuration.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    /// Names this very state of `files`: 16 hex digits of their SHA-256.
    pub(crate) hash: String,
    /// Every file that was read, the configuration first: what a watcher looks at.
    pub(crate) files: Vec<PathBuf>,
    /// Not errors: what an operator should know.
    pub(crate) warnings: Vec<Located>,
}

/// Where `${NAME}` comes from.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Loads `path` with the process's environment.
///
/// # Errors
/// Everything that is wrong, at once.
pub(crate) fn load(path: &Path) -> Result<Loaded, Report> {
    load_with(path, &|name| std::env::var(name).ok())
}

/// Loads `path` with another environment.
///
/// # Errors
/// Everything that is wrong, at once.
pub(crate) fn load_with(path: &Path, environment: Environment<'_>) -> Result<Loaded, Report> {
    let mut files = include::Reader::new(path);
    let text = files.text(path).map_err(|message| Report::at_start(path, message));
    let loaded = text.and_then(|text| build(&text, environment, &mut files, path));
    loaded.map_err(|report| {
        let (read, hash) = seen(&files);
        Report { read, hash, ..report }
    })
}

/// The JSON Schema of the configuration file.
pub(crate) fn schema() -> serde_json::Value {
    schemars::schema_for!(raw::Config).to_value()
}

/// The `hash` that a load of these files would have now; a file that cannot be read counts, too.
pub(crate) fn fingerprint(files: &[PathBuf]) -> String {
    hash_of(files.iter().map(|file| include::digest(file)))
}

fn hash_of(digests: impl Iterator<Item = include::Digest>) -> String {
    let mut hash = Sha256::new();
    for digest in digests {
        hash.update(digest);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Files that were read, and the fingerprint of what was read, not of what is there now: a change in between must not go unseen.
fn seen(files: &include::Reader) -> (Vec<PathBuf>, String) {
    let hash = hash_of(files.read_so_far().iter().map(|(_, digest)| *digest));
    (files.read_so_far().iter().map(|(path, _)| path.clone()).collect(), hash)
}

fn build(
    text: &str,
    environment: Environment<'_>,
    files: &mut include::Reader,
    path: &Path,
) -> Result<Loaded, Report> {
    let mut tree = node::parse(text).map_err(|located| Report::new(path, vec![located]))?;
    let mut report = Report::new(path, Vec::new());
    let broken = interpolate::fill(&mut tree, environment);
    report.extend(&tree, broken.problems);

    let schema = schema();
    let mut shape = shape::Shape::new(&schema, files, broken.paths);
    shape.fit_root(&mut tree);
    let (problems, mended) = shape.finish();
    for (place, problem) in problems {
        report.push(place, problem);
    }

    let raw: raw::Config = match serde_json::from_value(tree.to_json()) {
        Ok(raw) => raw,
        // The shape covers what serde asks for, as a property test shows; should it not, the operator still gets a reason.
        Err(error) => {
            if report.is_empty() {
                let message =
                    format!("cannot be read; please report this as a bug of tollgate check: {error}");
                report.push(tree.place, Problem::new(KeyPath::root(), message));
            }
            return Err(report);
        }
    };
    let included = include::read(&raw, files);
    report.extend(&tree, included.problems);
    let built = Config::build(raw, included.files);
    let (config, problems) = match built {
        Ok(config) => (Some(config), Vec::new()),
        Err(problems) => (None, problems),
    };
    // What was put in the place of a mistake may be wrong in turn: that is no news.
    report.extend(&tree, problems.into_iter().filter(|problem| !mended.explain(&problem.path)));
    match config {
        Some(config) if report.is_empty() => {
            let warnings = config.warnings.iter().cloned();
            let warnings =
                warnings.map(|problem| Located::new(tree.place_of(&problem.path), problem)).collect();
            let (files, hash) = seen(files);
            Ok(Loaded { config, hash, files, warnings })
        }
        _ => {
            report.sort();
            Err(report)
        }
    }
}
