//! `tollgate check`: every mistake of a configuration file at once.

use std::path::Path;
use std::process::ExitCode;

use crate::cli;
use crate::config::{self, Loaded, Report};

/// Prints problems and warnings on standard error.
pub(crate) fn run(path: &Path) -> ExitCode {
    match config::load(path) {
        Ok(loaded) => {
            print_warnings(path, &loaded);
            println!("{}: ok ({})", path.display(), loaded.hash);
            ExitCode::SUCCESS
        }
        Err(report) => refuse(&report),
    }
}

/// Warnings, one a line; also for `serve`.
pub(crate) fn print_warnings(path: &Path, loaded: &Loaded) {
    for warning in &loaded.warnings {
        eprintln!("{}:{warning} (warning)", path.display());
    }
}

/// Prints a report and gives its exit code; also for `serve`.
pub(crate) fn refuse(report: &Report) -> ExitCode {
    eprintln!("{report}");
    ExitCode::from(cli::CONFIG)
}
