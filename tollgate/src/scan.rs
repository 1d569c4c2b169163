//! `tollgate scan`: the guardrail rules on one's own texts. The values found are not shown.
//!
//! Plain input is read in pieces and goes through the scanner of streams, so its size does not matter; JSONL is read line by
//! line. Exit codes: 0 nothing was found, 1 something was, 64 and above something was wrong; 65 if lines could not be read, all others
//! having been scanned.

mod injection;
mod input;
mod lines;
mod plain;
mod progress;
mod whom;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use tollgate_filters::scan::injection::InjectionSpec;
use tollgate_filters::scan::{Action, Direction, Found, Policy, Profile, RuleSpec, Rules};
use tollgate_proxy::config::Guardrails;
use tollgate_proxy::{Applied, Whom};

use self::injection::Scored;
use self::input::Input;
use self::progress::Progress;
use crate::cli::{self, ScanArgs, ScanDirection};
use crate::config;

/// Bytes of a text that the scanner is given at once, where nothing else is asked for.
const PIECE: usize = 64 * 1024;

/// What ended the scan before its time.
struct Failure {
    code: u8,
    message: String,
}

/// What is looked for, and how.
struct Search {
    rules: Arc<Rules>,
    /// Masks what the profile masks or blocks, and records the rest.
    policy: Arc<Policy>,
    /// The profile's own actions, to be shown.
    shown: Policy,
    /// How prompt injections are scored, if they are.
    scored: Option<Scored>,
    piece: usize,
    /// Asked for by the user: even a whole text goes through the scanner of streams.
    chunked: bool,
}

pub(crate) fn run(args: &ScanArgs) -> ExitCode {
    match scan(args) {
        Ok(found) => ExitCode::from(u8::from(found > 0)),
        Err(Failure { code, message }) => {
            eprintln!("{message}");
            ExitCode::from(code)
        }
    }
}

/// What there was in a file.
#[derive(Default)]
struct Counted {
    found: u64,
    /// Lines that could not be read.
    unread: u64,
}

/// How many findings there were.
fn scan(args: &ScanArgs) -> Result<u64, Failure> {
    let search = prepare(args)?;
    let inputs = Input::all(&args.inputs)?;
    let mut progress = Progress::new(&inputs);
    let mut out = io::BufWriter::with_capacity(PIECE, io::stdout().lock());
    let several = inputs.len() > 1;
    let (mut found, mut unread) = (0, 0);
    for input in inputs {
        let name = several.then(|| input.name.clone());
        found += if args.jsonl {
            let counted = lines::scan(&search, input, &mut progress, &mut out)?;
            unread += counted.unread;
            counted.found
        } else if args.mask {
            plain::mask(&search, input, &mut progress, &mut out)?
        } else {
            plain::list(&search, input, name.as_deref(), &mut progress, &mut out)?
        };
    }
    out.flush().map_err(Failure::io)?;
    progress.end();
    if unread > 0 {
        let lines = if unread == 1 { "1 line was" } else { &format!("{unread} lines were") };
        let message = format!("{lines} not scanned: each must be a JSON object with a `text`, in UTF-8");
        return Err(Failure { code: cli::DATA, message });
    }
    Ok(found)
}

impl Failure {
    #[allow(clippy::needless_pass_by_value)] // `map_err` hands it over
    fn io(error: io::Error) -> Failure {
        Failure { code: cli::IO, message: format!("cannot write: {error}") }
    }

    fn reading(name: &str, error: &io::Error) -> Failure {
        Failure { code: cli::IO, message: format!("cannot read {name}: {error}") }
    }

    fn config(message: impl Into<String>) -> Failure {
        Failure { code: cli::CONFIG, message: message.into() }
    }
}

impl Search {
    fn action(&self, found: &Found) -> &'static str {
        self.shown.action(found.rule).as_str()
    }

    fn severity(&self, found: &Found) -> &'static str {
        self.rules.info(found.rule).severity.as_str()
    }
}

fn prepare(args: &ScanArgs) -> Result<Search, Failure> {
    let configured = match &args.config {
        Some(path) => {
            let loaded = config::load(path).map_err(|report| Failure::config(report.to_string()))?;
            whom::check(args, &loaded.config)?;
            Some(loaded.config.guardrails)
        }
        None => None,
    };
    let (rules, signals) = rules(args, configured.as_ref())?;
    let own = profile(args.profile.as_deref(), configured.as_ref().map(|guardrails| &guardrails.profile))?;
    let overrides = configured.as_ref().map_or(&[][..], |guardrails| &guardrails.overrides);
    let whom = Whom {
        organization: args.org.as_deref(),
        application: args.app.as_deref(),
        user: args.user.as_deref(),
        key: args.key.as_deref(),
        model: args.model.as_deref(),
        team: args.team.as_deref(),
    };
    let applied = Applied::to(&own, overrides, &whom);
    let direction = match args.direction {
        ScanDirection::Request => Direction::Request,
        ScanDirection::Answer => Direction::Answer,
    };
    let listed = |errors: Vec<_>| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let rules = Rules::compile_with(&rules, &signals).map_err(|errors| Failure::config(listed(errors)))?;
    let shown = rules.policy_by(direction, |rule| applied.treatment(rule, direction), applied.switches());
    let mut switches = applied.switches();
    switches.echo = false; // there is no request that could have said it
    let acts = |action: Action| if action.acts() { Action::Mask } else { action };
    let policy = rules.policy(direction, |rule| acts(applied.treatment(rule, direction).action()), switches);
    let scored = Scored::of(&applied.switches(), direction, args.tool_result);
    Ok(Search {
        rules: Arc::new(rules),
        policy: Arc::new(policy),
        shown,
        scored,
        piece: args.chunk.map_or(PIECE, |chunk| chunk as usize),
        chunked: args.chunk.is_some(),
    })
}

/// All rules and the signals besides the built-in ones.
fn rules(
    args: &ScanArgs,
    configured: Option<&Guardrails>,
) -> Result<(Vec<RuleSpec>, Vec<InjectionSpec>), Failure> {
    let mut specs = Rules::builtin_specs();
    specs.extend(configured.iter().flat_map(|guardrails| guardrails.rules.iter().cloned()));
    for path in &args.rules {
        let mut rules = read::<Vec<RuleSpec>>(path)?;
        for rule in &mut rules {
            let text = |file: &Path| {
                std::fs::read_to_string(file)
                    .map_err(|error| format!("cannot read {}: {error}", file.display()))
            };
            config::read_terms(rule, path, text).map_err(Failure::config)?;
        }
        specs.extend(rules);
    }
    let mut signals: Vec<InjectionSpec> =
        configured.map(|guardrails| guardrails.injection_signals.clone()).unwrap_or_default();
    for path in &args.signals {
        signals.push(read(path)?);
    }
    Ok((specs, signals))
}

fn profile(name: Option<&str>, configured: Option<&Profile>) -> Result<Profile, Failure> {
    let Some(name) = name else {
        return Ok(configured
            .cloned()
            .unwrap_or_else(|| Profile::builtin("strict").expect("strict is built in")));
    };
    match Profile::builtin(name) {
        Some(profile) => Ok(profile),
        None if Path::new(name).exists() => read(Path::new(name)),
        None => {
            let names = Profile::NAMES.join(", ");
            let message = format!("`{name}` is no profile; write one of: {names}, or a file's path");
            Err(Failure { code: cli::USAGE, message })
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::config(format!("cannot read {}: {error}", path.display())))?;
    config::read_yaml(&text).map_err(|located| Failure::config(format!("{}:{located}", path.display())))
}
