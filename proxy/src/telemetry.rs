//! What operators see: every metric (declared once, in [`metrics`]) and one log line per request.

mod closed;
mod hooks;
mod metrics;

pub(crate) use closed::{Closed, record};
pub use metrics::{DECLARED, Declared, Kind, Metrics};
