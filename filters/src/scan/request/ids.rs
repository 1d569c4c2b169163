//! Ids that say who is asking: `user`, `safety_identifier`, `metadata` and their like.
//!
//! They are never scanned and never a reason to refuse: a provider needs them to tell end users apart, and a hash does that too.

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::json::{self, Edits};
use crate::scan::PseudonymKey;

/// What becomes of ids on their way to the upstream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Identifiers {
    /// They pass as they are.
    #[default]
    Pass,
    /// Each is replaced by a hash under the organisation's key: the same id, the same hash.
    Hash,
}

/// Puts a hash in the place of each id. `None`: the spans do not fit the body.
pub(super) fn hash(ids: &[Range<usize>], body: &str, key: &PseudonymKey, edits: &mut Edits) -> Option<()> {
    for id in ids {
        let literal = body.get(id.clone())?;
        match literal.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            // Nothing is said by nothing.
            Some("") => {}
            Some(inner) => {
                let hashed = key.identifier(&json::decode(inner));
                edits.replace(id.clone(), format!("\"{hashed}\"").into_bytes());
            }
            None => edits.replace(id.clone(), key.identifier_number(literal).into_bytes()),
        }
    }
    Some(())
}
