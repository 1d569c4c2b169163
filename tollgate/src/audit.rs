//! `tollgate audit`: looks at the embedded store and at what still waits in the spool. Changes nothing, and may run beside the
//! gateway.

mod show;
mod trail;
mod verify;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use tollgate_filters::audit::Timestamp;
use tollgate_store::Filter;

use crate::cli::{self, AuditCommand, AuditFilter, AuditPlace};
use crate::{check, config};
use show::Form;
use trail::Trail;

/// What the command line says, on standard output.
pub(crate) fn run(command: &AuditCommand) -> ExitCode {
    let place = match command {
        AuditCommand::Tail { place, .. }
        | AuditCommand::Query { place, .. }
        | AuditCommand::Verify { place } => place,
    };
    let state_dir = match state_dir(place) {
        Ok(state_dir) => state_dir,
        Err(code) => return code,
    };
    if !Trail::open(&state_dir).exists() {
        eprintln!("tollgate: {} holds no audit trail: is it the gateway's state_dir?", state_dir.display());
        return ExitCode::FAILURE;
    }
    let mut out = io::stdout().lock();
    let done = match command {
        AuditCommand::Tail { lines, follow, json, .. } => {
            tail(&state_dir, *lines, *follow, form(*json), &mut out)
        }
        AuditCommand::Query { filter, limit, json, .. } => {
            let now = Timestamp::from(SystemTime::now());
            match read_filter(filter, now) {
                Ok(filter) => query(&state_dir, &filter, *limit, form(*json), &mut out),
                Err(message) => {
                    eprintln!("tollgate: {message}");
                    return ExitCode::from(cli::USAGE);
                }
            }
        }
        AuditCommand::Verify { .. } => verify::run(&state_dir, &mut out),
    };
    match done {
        Ok(code) => code,
        // `tollgate audit tail | head` has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tollgate: {error}");
            ExitCode::FAILURE
        }
    }
}

fn state_dir(place: &AuditPlace) -> Result<PathBuf, ExitCode> {
    match (&place.state_dir, &place.config) {
        (Some(state_dir), _) => Ok(state_dir.clone()),
        (None, Some(path)) => match config::load(path) {
            Ok(loaded) => Ok(loaded.config.state_dir),
            Err(report) => Err(check::refuse(&report)),
        },
        (None, None) => {
            eprintln!("tollgate: say which store: --config FILE or --state-dir DIR");
            Err(ExitCode::from(cli::USAGE))
        }
    }
}

fn form(json: bool) -> Form {
    if json { Form::Json } else { Form::Columns }
}

fn tail(
    state_dir: &std::path::Path,
    lines: usize,
    follow: bool,
    form: Form,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    let mut trail = Trail::open(state_dir);
    let newest = trail.newest(&Filter::default(), lines)?;
    show::header(form, out)?;
    for record in &newest.records {
        show::record(form, record, out)?;
    }
    if !follow {
        return Ok(ExitCode::SUCCESS);
    }
    out.flush()?;
    let mut after = newest.last_id;
    // Shown from the spool, not yet met in the store: as many as wait there.
    let mut ahead: HashSet<String> = newest.ahead;
    loop {
        std::thread::sleep(FOLLOW);
        let new = trail.after(after, &ahead)?;
        for record in &new.records {
            show::record(form, record, out)?;
        }
        out.flush()?;
        (after, ahead) = (new.last_id, new.ahead);
    }
}

fn query(
    state_dir: &std::path::Path,
    filter: &Filter,
    limit: usize,
    form: Form,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    let found = Trail::open(state_dir).newest(filter, limit)?;
    show::header(form, out)?;
    for record in &found.records {
        show::record(form, record, out)?;
    }
    if found.records.len() >= limit {
        eprintln!("tollgate: the newest {limit}; more with --limit");
    }
    Ok(ExitCode::SUCCESS)
}

fn read_filter(filter: &AuditFilter, now: Timestamp) -> Result<Filter, String> {
    let time = |text: &Option<String>| text.as_deref().map(|text| read_time(text, now)).transpose();
    Ok(Filter {
        since: time(&filter.since)?,
        until: time(&filter.until)?,
        kind: None,
        organization: filter.org.clone(),
        application: filter.app.clone(),
        user: filter.user.clone(),
        key: filter.key.clone(),
        model: filter.model.clone(),
        status: filter.status.clone(),
        code: filter.code.clone(),
        request_id: filter.request_id.clone(),
    })
}

/// A point in time, or how long ago: `2026-01-31T00:00:00Z`, `90m`, `2h 30m`, `7d`.
fn read_time(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let ago = text
        .parse::<jiff::Span>()
        .and_then(|span| span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()))
        .map_err(|_| {
            format!("{text:?} is not a time: write 2026-01-31T00:00:00Z, or how long ago: 90m, 7d")
        })?;
    let micros = i64::try_from(ago.as_micros()).unwrap_or(i64::MAX);
    Ok(Timestamp::from_micros(now.micros().saturating_sub(micros)))
}

/// How often `tail -f` looks.
const FOLLOW: Duration = Duration::from_millis(300);
