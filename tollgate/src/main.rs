//! The process on one page: what each subcommand does, and with which exit code.
//!
//! Exit codes (sysexits.h where it has one): 0 done, 1 failed start, 64 wrong usage, 78 bad configuration.

mod adapters;
mod audit;
mod check;
mod cli;
mod config;
mod demo;
mod key;
mod log;
mod plane;
mod scan;
mod schema;
mod serve;
mod signals;
mod watch;

use std::process::ExitCode;

use cli::Command;

// Measured against the system allocator: bench/README.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Pingora links ring, other crates aws-lc-rs: with both, rustls panics at its first use unless one is installed.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("tollgate: a TLS provider was installed before main");
    }
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let code = match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(&args.config),
        Command::Schema(args) => schema::run(&args),
        Command::Key(command) => key::run(&command),
        Command::Scan(args) => scan::run(&args),
        Command::Audit(command) => audit::run(&command),
        Command::Demo(args) => demo::run(&args),
    };
    log::flush();
    code
}
