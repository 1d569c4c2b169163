//! Log lines: JSON, one object per line, on standard output; text for terminals.

mod json;
mod lines;

use std::io::Write as _;

use tollgate_proxy::config::{LogFormat, Telemetry};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use json::JsonLines;
use lines::ToLines;
pub(crate) use lines::flush;

/// Chatty parts of libraries that say per connection what our own request line says better.
const QUIET: &str =
    "pingora_core=warn,pingora_proxy=off,hyper=warn,h2=warn,reqwest=warn,sqlx=warn,rustls=warn";

/// Starts logging. Called once, before the first thread.
pub(crate) fn start(config: &Telemetry) {
    lines::start();
    let filter =
        EnvFilter::try_new(format!("{},{QUIET}", config.level)).unwrap_or_else(|_| EnvFilter::new("info"));
    match config.log {
        LogFormat::Json => tracing_subscriber::registry().with(filter).with(JsonLines(lines::append)).init(),
        LogFormat::Text => tracing_subscriber::fmt().with_env_filter(filter).with_writer(ToLines).init(),
        LogFormat::Off => {}
    }
    std::panic::set_hook(Box::new(tell_panic));
}

/// A panic is told on standard error, whatever is logged: it may come from what logs.
fn tell_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    // Not by `eprintln!`: where nobody reads that panics, and a panic in here is the process's end.
    let _ = writeln!(std::io::stderr().lock(), "tollgate: a panic at {place}: {}", words(panic.payload()));
}

/// A panic's words where they stand in the code. Others may quote the text that was looked at, as those of a slice do.
fn words(payload: &dyn std::any::Any) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().unwrap_or("its words are not shown")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_panic_quotes_no_text() {
        let words = |run: fn()| super::words(&*std::panic::catch_unwind(run).expect_err("panics"));
        assert_eq!(words(|| panic!("a bug")), "a bug");
        assert_eq!(words(|| panic!("in {}", std::hint::black_box("alice"))), "its words are not shown");
        let slice = words(|| assert!(!"é alice@corp.com"[std::hint::black_box(1)..].is_empty()));
        assert_eq!(slice, "its words are not shown");
    }
}
