//! `tollgate-bench`: what the gateway costs, against a bare Pingora pass-through in the same run.

mod bare;
mod compare;
mod flat;
mod guard;
mod load;
mod prompt;
mod reading;
mod reload;
mod report;
mod stage;
mod subject;
mod usage;

use clap::{Parser, Subcommand};

/// The same allocator as the gateway's: a comparison is of code, not of allocators.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
#[command(about = "Benchmarks of Tollgate; everything stays on this machine")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A bare Pingora pass-through: one upstream, no filter
    Bare(bare::Arguments),
    /// Load on one address, with what it cost a process
    Load(load::Arguments),
    /// Fake upstream, bare pass-through and gateway, measured in turn
    Compare(compare::Arguments),
    /// Few and many keys, organisations and targets, measured in turn
    Flat(flat::Arguments),
    /// Streams through the gateway with its guard on and off
    Guard(guard::Arguments),
    /// What requests wait while a large list of terms is reloaded
    Reload(reload::Arguments),
}

fn main() -> std::process::ExitCode {
    let done = match Arguments::parse().command {
        Command::Bare(arguments) => bare::run(&arguments),
        Command::Load(arguments) => block_on(load::run(arguments)),
        Command::Flat(arguments) => with_subjects(flat::run(arguments)),
        Command::Guard(arguments) => with_subjects(guard::run(arguments)),
        Command::Compare(arguments) => with_subjects(compare::run(arguments)),
        Command::Reload(arguments) => with_subjects(reload::run(arguments)),
    };
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("tollgate-bench: {failure}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// One thread drives all connections: the load must not take more of the machine than it has to.
fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// The same, where processes are measured: before there are threads, so that all of them are pinned with it.
fn with_subjects(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    subject::prepare_own_process();
    block_on(work)
}
