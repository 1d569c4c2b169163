//! A record as one line.

use std::io::{self, Write};

use tollgate_filters::audit::{Event, Header, Kind, Notice};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Columns,
    /// As it was written.
    Json,
}

pub(super) fn header(form: Form, out: &mut impl Write) -> io::Result<()> {
    match form {
        Form::Json => Ok(()),
        Form::Columns => writeln!(
            out,
            "{:<23}  {:<9} {:>4}  {:<22} {:<16} {:<30} {:>13} {:>10} {:>8}  WHAT",
            "TIME (UTC)", "STATUS", "HTTP", "ORG/APP", "USER", "MODEL > TARGET", "TOKENS IN/OUT", "USD", "MS"
        ),
    }
}

pub(super) fn record(form: Form, record: &str, out: &mut impl Write) -> io::Result<()> {
    match form {
        Form::Json => writeln!(out, "{record}"),
        Form::Columns => writeln!(out, "{}", columns(record)),
    }
}

/// What callers chose (a user's name, a model) is shown without control characters: this goes to a terminal.
fn columns(record: &str) -> String {
    let line = match Header::read(record.as_bytes()) {
        Ok(header) if header.kind == Kind::Request => {
            serde_json::from_str::<Event>(record).map(|event| request(&event)).ok()
        }
        Ok(header) => Some(notice(&header, record)),
        Err(_) => None,
    };
    let line = line.unwrap_or_else(|| format!("cannot be read: {record}"));
    line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn request(event: &Event) -> String {
    let model = or_dash(event.model_requested.as_deref());
    let place = match &event.target {
        Some(target) => format!("{model} > {target}"),
        None => model.to_owned(),
    };
    let who = format!("{}/{}", or_dash(event.org.as_deref()), or_dash(event.app.as_deref()));
    let tokens = event.tokens.map_or("-".to_owned(), |tokens| {
        format!("{}{}/{}", if tokens.estimated { "~" } else { "" }, tokens.input, tokens.output)
    });
    let cost = event.cost_nano_usd.map_or("-".to_owned(), usd);
    let user = match (&event.user, &event.asserted_user) {
        (Some(user), _) => user.to_string(),
        // Not proven.
        (None, Some(asserted)) => format!("({asserted})"),
        (None, None) => "-".to_owned(),
    };
    format!(
        "{}  {:<9} {:>4}  {:<22} {:<16} {:<30} {:>13} {:>10} {:>8}  {}",
        time(event.ts),
        event.status.as_str(),
        event.http_status,
        who,
        user,
        place,
        tokens,
        cost,
        event.timing_us.total / 1000,
        what(event)
    )
}

/// Code, findings, failed attempts, id: what one looks for next.
fn what(event: &Event) -> String {
    let mut words = Vec::new();
    words.extend(event.code.as_deref().map(str::to_owned));
    for finding in &event.findings {
        words.push(format!("{}:{}x{}", finding.action, finding.kind, finding.count));
    }
    if event.attempts.len() > 1 {
        words.push(format!("{} attempts", event.attempts.len()));
    }
    if event.stream {
        words.push("stream".to_owned());
    }
    words.push(event.request_id.to_string());
    words.join(" ")
}

fn notice(header: &Header<'_>, record: &str) -> String {
    let refusals = serde_json::from_str::<Notice>(record).ok().and_then(|notice| notice.refusals);
    let told = match (&header.gap, refusals) {
        (Some(gap), _) => {
            let mut ranges = gap.ranges.clone();
            let more = if ranges.split_off(8).is_empty() { "" } else { ", …" };
            format!(
                "{}: {} without an event in {}: {ranges}{more}",
                gap.reason.as_str(),
                gap.count,
                gap.instance
            )
        }
        (None, Some(refusals)) => {
            let counts: Vec<String> =
                refusals.counts.iter().map(|count| format!("{} x{}", count.code, count.count)).collect();
            format!("refused and only counted: {}", counts.join(", "))
        }
        (None, None) => format!("{} number {}", header.instance, header.seq),
    };
    format!("{}  [{}] {told}", time(header.ts), header.kind.as_str())
}

/// Milliseconds are enough for reading.
fn time(ts: tollgate_filters::audit::Timestamp) -> String {
    let text = ts.to_string();
    text.get(..23).map_or_else(|| text.clone(), |text| text.replace('T', " "))
}

fn usd(nano: u64) -> String {
    // Rounded up to the sixth decimal: never zero for what was not free.
    let micro = nano.div_ceil(1000);
    format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000)
}

fn or_dash(text: Option<&str>) -> &str {
    text.unwrap_or("-")
}
