//! Finding personal data and secrets in text: whole or in a stream cut anywhere, with the same result.
//!
//! [`Rules`] are compiled once from [`RuleSpec`]s (files in `conf/rules`); a [`Policy`] says what is done about each rule in one
//! direction for one caller; [`Rules::scan`] looks at a whole text, a [`Scanner`] at a stream. What stands in a value's place,
//! and what is remembered of it for the length of one request, is the [`Masker`]'s business.

mod action;
mod address;
mod check;
mod email;
mod escape;
pub mod injection;
mod machine;
mod mask;
mod number;
mod policy;
mod profile;
mod pseudonym;
pub mod request;
mod rules;
mod spec;
mod stream;
mod sweep;
mod terms;
mod treatment;
mod trigger;
mod units;

pub use action::{Action, Direction};
pub use escape::{Escape, Escapes};
pub(crate) use mask::shape::number as number_stand_in;
pub use mask::{Finding, Masker, Shape};
pub use policy::{Policy, Switches};
pub use profile::{Exemption, Profile, RuleActions};
pub use pseudonym::{LookAlike, PseudonymKey, max_restored};
pub use rules::{Found, RuleError, RuleId, RuleInfo, Rules};
pub use spec::{Body, Detector, Examples, Lead, RuleSpec, Severity, Validator};
pub use stream::{End, Flow, Scanner};
pub use sweep::put_in_order;
pub use terms::{TermCheck, TermList};
pub use treatment::{Demands, Treatment};

#[cfg(test)]
pub(crate) mod tests;
