//! The public keys of one issuer (RFC 7517): read, chosen by `kid` and algorithm, kept fresh.
//!
//! `set` reads a key set, `live` keeps it fresh in the background, `fetch` gets its bytes.

mod fetch;
mod live;
mod set;

pub(super) use fetch::Fetcher;
pub use live::KeyStatus;
pub(super) use live::{IssuerKeys, Settings};
pub(super) use set::{Choice, VerifyingKey};
