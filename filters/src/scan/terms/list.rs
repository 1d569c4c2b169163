//! The terms of a rule as they are configured.

use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Dictionary;

/// A list of terms. Cheap to copy; shows how many it has, never which.
#[derive(Clone, Default)]
pub struct TermList(Option<Arc<List>>);

struct List {
    terms: Vec<String>,
    digest: [u8; 32],
    compiled: OnceLock<Result<Arc<Dictionary>, String>>,
}

impl TermList {
    pub fn new(terms: Vec<String>) -> TermList {
        if terms.is_empty() {
            return TermList(None);
        }
        let mut hasher = blake3::Hasher::new();
        for term in &terms {
            hasher.update(term.as_bytes()).update(b"\n");
        }
        let digest = *hasher.finalize().as_bytes();
        TermList(Some(Arc::new(List { terms, digest, compiled: OnceLock::new() })))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub fn terms(&self) -> &[String] {
        self.0.as_deref().map_or(&[], |list| &list.terms)
    }

    pub(super) fn digest(&self) -> [u8; 32] {
        self.0.as_deref().map_or([0; 32], |list| list.digest)
    }

    /// What `build` makes of the terms, the first time that it is asked for.
    pub(super) fn compiled(
        &self,
        build: impl FnOnce(&[String]) -> Result<Arc<Dictionary>, String>,
    ) -> Result<Arc<Dictionary>, String> {
        match &self.0 {
            Some(list) => list.compiled.get_or_init(|| build(&list.terms)).clone(),
            None => build(&[]),
        }
    }
}

impl PartialEq for TermList {
    fn eq(&self, other: &TermList) -> bool {
        self.digest() == other.digest()
    }
}

impl fmt::Debug for TermList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = self.digest();
        write!(
            f,
            "{} terms {:02x}{:02x}{:02x}{:02x}",
            self.terms().len(),
            digest[0],
            digest[1],
            digest[2],
            digest[3]
        )
    }
}

impl Serialize for TermList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.terms().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for TermList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TermList, D::Error> {
        Ok(TermList::new(Vec::deserialize(deserializer)?))
    }
}

impl schemars::JsonSchema for TermList {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TermList".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Vec::<String>::json_schema(generator)
    }
}
