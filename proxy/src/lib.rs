//! The data plane: Pingora phases, authentication, limits backends, upstreams, the audit producer and telemetry.

pub mod audit;
pub mod auth;
pub mod clock;
pub mod config;
pub mod limits;
pub mod upstream;
