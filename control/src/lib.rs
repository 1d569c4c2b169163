//! The admin listener: health for whoever asks, metrics for Prometheus, and an API for whoever holds the admin token.
//!
//! It reaches the data plane only through [`Plane`], which the binary implements. It holds no state of its own.

mod admin;
mod gate;
mod open;
mod plane;
mod serve;

#[cfg(test)]
mod tests;

pub use plane::{Answer, Check, ConfigStatus, DrainError, Failure, Fault, Health, Issuer, Plane, Target};
pub use serve::serve;
