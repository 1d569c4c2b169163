//! Values as people write them in a configuration file: secrets, sizes, durations, rates; and where a mistake stands.
//!
//! Each type parses from its text ([`FromStr`](std::str::FromStr)), says in its error what to write instead, and carries the
//! JSON Schema `format` ([`FORMATS`]) by which a checker can parse the text itself and so report every mistake at once.

mod path;
mod quantity;
mod secret;

pub use path::{KeyPath, Problem, Segment};
pub use quantity::{ByteSize, HumanDuration, Rate};
pub use secret::{SECRET_MARK, Secret};

/// Parses a text only to say what is wrong with it.
pub type Check = fn(&str) -> Result<(), String>;

/// The `format`s of this module's schemas, each with its parser.
pub const FORMATS: &[(&str, Check)] = &[
    (quantity::DURATION, |text| text.parse::<HumanDuration>().map(drop).map_err(|e| e.to_string())),
    (quantity::BYTE_SIZE, |text| text.parse::<ByteSize>().map(drop).map_err(|e| e.to_string())),
    (quantity::RATE, |text| text.parse::<Rate>().map(drop).map_err(|e| e.to_string())),
];
