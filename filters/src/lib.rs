//! The pure core of Tollgate: values in, verdicts out.
//!
//! Nothing here does I/O, awaits, reads a clock, draws random numbers or keeps global state. Time, randomness and keys are
//! arguments. Modules are listed bottom-up: each uses only those above it.

pub mod answer;
pub mod audit;
pub mod chat;
pub mod conf;
pub mod frames;
pub mod identity;
pub mod json;
pub mod limits;
pub mod policy;
pub mod providers;
pub mod scan;
pub mod select;
pub mod verdict;
