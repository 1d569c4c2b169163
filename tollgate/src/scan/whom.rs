//! Whose overrides are asked for. A name that the configuration does not have is a mistake, not somebody without overrides.

use tollgate_proxy::config::Config;

use super::Failure;
use crate::cli::{self, ScanArgs};

pub(super) fn check(args: &ScanArgs, config: &Config) -> Result<(), Failure> {
    let organizations = || config.organizations.iter();
    known("--org", "organization", args.org.as_deref(), organizations().map(|entry| &*entry.id))?;
    let of_org = organizations().filter(|entry| args.org.as_deref().is_none_or(|org| org == &*entry.id));
    let applications = || of_org.clone().flat_map(|entry| &entry.applications);
    known("--app", "application", args.app.as_deref(), applications().map(|entry| &*entry.id))?;
    let of_app = applications().filter(|entry| args.app.as_deref().is_none_or(|app| app == &*entry.id));
    known("--key", "API key", args.key.as_deref(), of_app.flat_map(|entry| &entry.keys).map(|key| &*key.id))?;
    known(
        "--team",
        "team",
        args.team.as_deref(),
        config.routes.iter().filter_map(|route| route.team.as_deref()),
    )?;
    // `*` passes any name on.
    let any = config.models.iter().any(|model| &*model.name == "*");
    let model = args.model.as_deref().filter(|_| !any);
    known("--model", "model", model, config.models.iter().map(|model| &*model.name))
}

fn known<'a>(
    option: &str,
    what: &str,
    asked: Option<&str>,
    names: impl Iterator<Item = &'a str>,
) -> Result<(), Failure> {
    let Some(asked) = asked else { return Ok(()) };
    let names: Vec<_> = names.collect();
    if names.contains(&asked) {
        return Ok(());
    }
    let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let message = format!("{option} {asked}: the configuration has no such {what}; it has: {there}");
    Err(Failure { code: cli::USAGE, message })
}
