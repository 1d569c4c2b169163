//! `tollgate-mutants`: runs the mutants that cargo-mutants lists, all from one build.
//!
//! cargo-mutants builds the crate anew for every mutant, and building is most of what a mutant costs. Here every mutant is
//! woven into a copy of the sources behind a switch that the environment sets, the copy is built once, and each mutant is one run of
//! those tests that come by its place. What a mutant is stays cargo-mutants' choice (`cargo mutants --list --json`).

mod build;
mod listing;
mod place;
mod report;
mod run;
mod weave;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
#[command(about = "Runs the mutants that cargo-mutants lists, all from one build")]
struct Arguments {
    /// What `cargo mutants --list --json` printed
    #[arg(long)]
    list: PathBuf,
    /// A copy of the tree; its sources are changed
    #[arg(long)]
    tree: PathBuf,
    /// The package whose mutants are run, by its own tests
    #[arg(long)]
    package: String,
    /// The cargo profile to build with
    #[arg(long, default_value = "mutants")]
    profile: String,
    /// File that the outcomes are written to, a JSON object a line; mutants that are in it already are not run again
    #[arg(long)]
    out: PathBuf,
    /// Processor time in seconds of a test run after which a mutant is taken to loop, however busy the machine is: several times what all tests take
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Runs at once
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Every Nth mutant from the Kth on, counted from 0
    #[arg(long, value_name = "K/N", value_parser = listing::shard)]
    shard: Option<(usize, usize)>,
    /// Only mutants whose names hold this text; may be given more than once
    #[arg(long)]
    name: Vec<String>,
}

fn main() -> ExitCode {
    match mutants(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("tollgate-mutants: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn mutants(arguments: &Arguments) -> Result<(), Failure> {
    let listed = listing::read(&arguments.list, &arguments.package)?;
    let mut woven = weave::Woven::new(&arguments.tree, &listed)?;
    let tests = build::until_it_compiles(&mut woven, arguments)?;
    let chosen = listed.iter().filter(|mutant| {
        arguments.shard.is_none_or(|(k, n)| (mutant.id as usize - 1) % n == k)
            && (arguments.name.is_empty()
                || arguments.name.iter().any(|name| mutant.name.contains(name.as_str())))
    });
    let mut report = report::Report::open(&arguments.out)?;
    let mut to_run = Vec::new();
    for mutant in chosen {
        match woven.left_out(mutant.id) {
            _ if report.has(&mutant.name) => {}
            Some(why) => report.add(mutant, &why.into())?,
            None => to_run.push(mutant),
        }
    }
    run::all(&tests, &to_run, arguments.jobs, &mut report)?;
    report.summary();
    Ok(())
}
