// Replaced when the process is wired: this dispatches what stands alone.
#[allow(dead_code, reason = "for `serve`")]
mod adapters;
mod audit;
mod check;
mod cli;
mod config;
mod key;
mod scan;
mod schema;

use std::process::ExitCode;

use cli::Command;

fn main() -> ExitCode {
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match cli.command {
        Command::Check(args) => check::run(&args.config),
        Command::Schema(args) => schema::run(&args),
        Command::Key(command) => key::run(&command),
        Command::Scan(args) => scan::run(&args),
        Command::Audit(command) => audit::run(&command),
        Command::Serve(_) | Command::Demo(_) => {
            eprintln!("not wired yet");
            ExitCode::FAILURE
        }
    }
}
