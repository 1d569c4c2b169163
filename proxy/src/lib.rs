//! The data plane: Pingora phases, authentication, limits backends, upstreams, the audit producer and telemetry.

pub mod audit;
pub mod config;
