//! The command line. Exit codes: 0, 1 failed (`scan`: something was found), 64 usage, 78 configuration (sysexits.h).

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Wrong usage: `EX_USAGE`.
pub(crate) const USAGE: u8 = 64;
/// Input that is not what it should be: `EX_DATAERR`.
pub(crate) const DATA: u8 = 65;
/// Input that cannot be opened: `EX_NOINPUT`.
pub(crate) const NO_INPUT: u8 = 66;
/// Reading or writing failed: `EX_IOERR`.
pub(crate) const IO: u8 = 74;
/// Wrong configuration: `EX_CONFIG`.
pub(crate) const CONFIG: u8 = 78;

/// One gate for all LLM traffic of an organisation.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the gateway
    Serve(ServeArgs),
    /// Check a configuration file: every mistake at once, with line and column
    Check(ConfigFile),
    /// Print the JSON Schema of the configuration file, or its reference
    Schema(SchemaArgs),
    /// API keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Run in front of a built-in fake upstream, with a key made at this start
    Demo(DemoArgs),
    /// The audit trail
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Try the guardrail rules on your own texts
    Scan(Box<ScanArgs>),
}

#[derive(Debug, Args)]
pub(crate) struct ConfigFile {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", env = "TOLLGATE_CONFIG")]
    pub(crate) config: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) file: ConfigFile,
    /// Take the listening sockets of the running gateway, which then gets SIGQUIT: no connection is refused
    #[arg(long)]
    pub(crate) take_over: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// Print docs/configuration.md instead
    #[arg(long)]
    pub(crate) reference: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make an API key: printed once, with the entry to paste into the configuration
    Create(KeyArgs),
}

#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// Organisation of the entry
    #[arg(long, default_value = "acme")]
    pub(crate) org: String,
    /// Application of the entry
    #[arg(long, default_value = "chat")]
    pub(crate) app: String,
    /// The key's id, a part of the key itself
    #[arg(long, default_value = "dev")]
    pub(crate) id: String,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Where clients connect
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8080", env = "LISTEN")]
    pub(crate) listen: String,
    /// The admin listener
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8081", env = "ADMIN")]
    pub(crate) admin: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Show the last events, readable
    Tail {
        #[command(flatten)]
        place: AuditPlace,
        /// How many
        #[arg(short = 'n', long, default_value_t = 20)]
        lines: usize,
        /// Go on as events come
        #[arg(short, long)]
        follow: bool,
        /// One JSON event per line
        #[arg(long)]
        json: bool,
    },
    /// Find events
    Query {
        #[command(flatten)]
        place: AuditPlace,
        #[command(flatten)]
        filter: Box<AuditFilter>,
        /// Most events
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// One JSON event per line
        #[arg(long)]
        json: bool,
    },
    /// Check the chain and the numbers: every loss is a reported range
    Verify {
        #[command(flatten)]
        place: AuditPlace,
    },
}

/// Which store to look into; with both, the state directory. Both may come from the environment.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct AuditPlace {
    /// The configuration file, for its state_dir
    #[arg(short, long, value_name = "FILE", env = "TOLLGATE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// The state directory itself
    #[arg(long, value_name = "DIR", env = "STATE_DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct AuditFilter {
    #[arg(long)]
    pub(crate) org: Option<String>,
    #[arg(long)]
    pub(crate) app: Option<String>,
    #[arg(long)]
    pub(crate) user: Option<String>,
    #[arg(long)]
    pub(crate) key: Option<String>,
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// success, error, blocked or cancelled
    #[arg(long)]
    pub(crate) status: Option<String>,
    /// Rejection code, such as PII_DETECTED
    #[arg(long)]
    pub(crate) code: Option<String>,
    #[arg(long)]
    pub(crate) request_id: Option<String>,
    /// Not before: RFC 3339, such as 2026-01-31T00:00:00Z
    #[arg(long)]
    pub(crate) since: Option<String>,
    /// Before this
    #[arg(long)]
    pub(crate) until: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ScanArgs {
    /// Files with texts; standard input without them
    #[arg(value_name = "INPUT")]
    pub(crate) inputs: Vec<PathBuf>,
    /// Take rules, profile and overrides from a configuration file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Built-in profile, or a profile file, with its own `decode`; without it that of the configuration file, else `strict`
    #[arg(long)]
    pub(crate) profile: Option<String>,
    /// Rule files besides the built-in ones
    #[arg(long, value_name = "FILE")]
    pub(crate) rules: Vec<PathBuf>,
    /// Which of the profile's directions
    #[arg(long, value_enum, default_value_t = ScanDirection::Request)]
    pub(crate) direction: ScanDirection,
    /// Overrides of the configuration file for this organisation; those for everyone hold without any of these
    #[arg(long, visible_alias = "organization", requires = "config", value_name = "ID")]
    pub(crate) org: Option<String>,
    /// Overrides for this application
    #[arg(long, visible_alias = "application", requires = "config", value_name = "ID")]
    pub(crate) app: Option<String>,
    /// Overrides for this user
    #[arg(long, requires = "config", value_name = "ID")]
    pub(crate) user: Option<String>,
    /// Overrides for this API key, by its id
    #[arg(long, requires = "config", value_name = "ID")]
    pub(crate) key: Option<String>,
    /// Overrides for this model
    #[arg(long, requires = "config", value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// Overrides for this team's route
    #[arg(long, visible_alias = "route", requires = "config", value_name = "ID")]
    pub(crate) team: Option<String>,
    /// Files with signals of prompt injections besides the built-in ones
    #[arg(long, value_name = "FILE")]
    pub(crate) signals: Vec<PathBuf>,
    /// Score prompt injections as in tool results and documents, not as in a user's text
    #[arg(long)]
    pub(crate) tool_result: bool,
    /// Every input line is a JSON object with a `text` and maybe an `id`, every output line one with the findings
    #[arg(long)]
    pub(crate) jsonl: bool,
    /// Feed the scanner so many bytes at a time, as a stream would; what is printed is the same
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub(crate) chunk: Option<u32>,
    /// Print the masked text instead of the findings
    #[arg(long, conflicts_with = "jsonl")]
    pub(crate) mask: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScanDirection {
    Request,
    Answer,
}

/// The parsed command line, or the exit code of a help text (0) or of wrong usage (64).
///
/// # Errors
/// There is nothing to run; what there is to say has been printed.
pub(crate) fn parse() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|error| {
        // A closed terminal is no reason for another exit code.
        let _ = error.print();
        if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn commands() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        assert!(matches!(parse("tollgate serve -c f.yaml").map(|c| c.command), Ok(Command::Serve(_))));
        assert!(matches!(
            parse("tollgate key create --id ci").map(|c| c.command),
            Ok(Command::Key(KeyCommand::Create(KeyArgs { id, .. }))) if id == "ci"
        ));
        assert!(parse("tollgate audit tail --state-dir s -n 5").is_ok());
        assert!(parse("tollgate frobnicate").is_err());
        assert!(parse("tollgate serve").is_err());
    }
}
