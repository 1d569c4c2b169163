//! `tollgate check`: every mistake of a configuration file at once.

use std::path::Path;
use std::process::ExitCode;

use tollgate_filters::scan::{Action, Direction, Rules, max_restored};

use crate::cli;
use crate::config::{self, Loaded, Report};

/// Prints problems and warnings on standard error.
pub(crate) fn run(path: &Path) -> ExitCode {
    match config::load(path) {
        Ok(loaded) => {
            print_warnings(path, &loaded);
            println!("{}: ok ({})", path.display(), loaded.hash);
            print_holds(&loaded);
            ExitCode::SUCCESS
        }
        Err(report) => refuse(&report),
    }
}

/// What each rule may hold back of a stream. Of the built-in rules only the most: docs/guardrails.md lists them.
fn print_holds(loaded: &Loaded) {
    let guardrails = &loaded.config.guardrails;
    let builtin = Rules::builtin_specs();
    let mut specs = builtin.clone();
    specs.extend(guardrails.rules.iter().cloned());
    let Ok(rules) = Rules::compile(&specs) else { return }; // it did when the file was built
    let (mut most, mut own) = (0, Vec::new());
    for (_, rule) in rules.infos() {
        if builtin.iter().any(|spec| *spec.id == *rule.id) {
            most = most.max(rule.max_hold);
        } else {
            own.push(rule);
        }
    }
    println!(
        "guardrails: {} built-in rules hold back at most {most} bytes of a stream (allowed: {})",
        builtin.len(),
        guardrails.max_hold_bytes
    );
    let strictest = rules.policy(Direction::Answer, |_| Action::Mask, guardrails.profile.switches());
    println!("guardrails: that is at most {} raw bytes of each text", rules.max_held(&strictest).1);
    if guardrails.pseudonym_key.is_some() {
        let kinds = rules.infos().map(|(_, rule)| &*rule.kind);
        println!(
            "guardrails: pseudonyms in an answer hold back at most {} raw bytes beside that",
            max_restored(kinds, &guardrails.look_alike, guardrails.profile.switches().decode)
        );
    }
    let signals: usize = guardrails.injection_signals.iter().map(|spec| spec.signals.len()).sum();
    if signals > 0 {
        println!("guardrails: {signals} signals of prompt injections of your own do what their examples say");
    }
    for rule in own {
        println!("guardrails: rule {} ({}) holds back at most {} bytes", rule.id, rule.kind, rule.max_hold);
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
