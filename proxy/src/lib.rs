//! The data plane: Pingora phases, authentication, limits backends, upstreams, the audit producer and telemetry.

pub mod audit;
pub mod auth;
pub mod clock;
pub mod config;
mod fail;
mod guard;
pub mod http;
pub mod limits;
mod load;
mod offered;
pub mod reload;
pub mod runtime;
pub mod server;
pub mod telemetry;
pub mod tls;
pub mod upstream;

pub use guard::{Applied, Whom};
pub use load::{Lifecycle, Load};
pub use offered::Offered;
