//! Which files the configuration is made of, and whether one of them has changed since they were last read.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use tollgate_proxy::reload::{Fresh, Mistake, Refused};

use crate::config::{Loaded, Report, fingerprint};

/// The files of the latest load, good or bad: a reload may name other files than the one before it.
pub(crate) struct Watched(Mutex<(Vec<PathBuf>, String)>);

impl Watched {
    pub(crate) fn new(loaded: &Loaded) -> Watched {
        Watched(Mutex::new((loaded.files.clone(), loaded.hash.clone())))
    }

    /// Remembers what a load has read, and gives what a reload needs of it.
    pub(crate) fn note(&self, outcome: Result<Loaded, Report>) -> Result<Fresh, Refused> {
        let (seen, fresh) = match outcome {
            Ok(Loaded { config, hash, files, .. }) => ((files, hash.clone()), Ok(Fresh { config, hash })),
            Err(report) => {
                let message = report.to_string();
                let mistakes = report.problems.into_iter();
                let mistakes =
                    mistakes.map(|at| Mistake { line: Some(at.line), problem: at.problem }).collect();
                ((report.read, report.hash), Err(Refused { message, mistakes }))
            }
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        fresh
    }

    /// Whether another load would read something else than the latest one did. Reads the files.
    pub(crate) fn changed(&self) -> bool {
        let (files, hash) = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        fingerprint(&files) != hash
    }
}
