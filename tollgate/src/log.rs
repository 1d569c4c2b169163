//! Log lines: JSON, one object per line, on standard output; text for terminals.

mod lines;

use tollgate_proxy::config::{LogFormat, Telemetry};
use tracing_subscriber::EnvFilter;

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
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(ToLines);
    match config.log {
        LogFormat::Json => {
            builder.json().flatten_event(true).with_current_span(false).with_span_list(false).init()
        }
        LogFormat::Text => builder.init(),
        LogFormat::Off => {}
    }
}
