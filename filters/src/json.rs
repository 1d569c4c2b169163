//! JSON read where it lies: a validating walk over a whole body without a tree, and edits that splice it.
//!
//! A gateway reads a dozen fields of a body and changes fewer, so nothing is built for the rest: [`Walk`] hands out spans of the
//! body, [`Edits`] replaces some of them in one pass, and every byte that policy does not change leaves as it came: spelling of
//! numbers, order of keys, unknown fields, white space.
//!
//! The grammar is RFC 8259's. Where that leaves a choice, the strict one is taken, because two parsers that read one body
//! differently are a way around every rule: lone surrogates (section 8.2) and a byte order mark (section 8.1) are refused,
//! nesting is bounded (section 9). Duplicate keys (section 4) are for the reader of an object to refuse, for the keys it reads.

mod edits;
mod locate;
mod number;
mod payload;
mod text;
mod tokens;
mod walk;

pub use edits::Edits;
pub use locate::Locator;
pub(crate) use number::{whole_index, whole_number};
pub(crate) use payload::{is_base64, is_data_url, is_standard_base64};
pub use text::{OffsetMap, decode, encode, encode_inner};
pub use tokens::{Token, Tokens};
pub use walk::{Fault, Invalid, Key, Str, Value, Walk};

/// Deepest nesting that is read unless configured otherwise.
pub const DEFAULT_DEPTH: usize = 128;
