//! The data plane: Pingora phases, authentication, limits backends, upstreams, the audit producer and telemetry.

// pub mod config; (enabled once filters::conf, filters::policy and filters::scan carry its types)
