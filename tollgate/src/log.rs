//! Log lines: JSON, one object per line, on standard output; text for terminals.

mod json;
mod lines;

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
}
