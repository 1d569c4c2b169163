//! API keys: found by id or by hash, compared in constant time.

use std::collections::HashMap;

use subtle::ConstantTimeEq;
use tollgate_filters::identity::{Caller, Proof, key};

use crate::config::{ApiKey, KeySecret, Name};

/// A key's record: who it makes its bearer.
#[derive(Debug)]
pub(super) struct KeyRecord {
    sha256: [u8; 32],
    pub(super) caller: Caller,
    pub(super) disabled: bool,
}

/// All keys. A look-up costs one hash of the key and one table access, however many keys there are.
#[derive(Debug, Default)]
pub(super) struct Keys {
    by_id: HashMap<Name, KeyRecord>,
    by_hash: HashMap<[u8; 32], KeyRecord>,
    models: HashMap<Name, Vec<Name>>,
}

impl Keys {
    pub(super) fn add(&mut self, organization: &Name, application: &Name, key: &ApiKey) {
        let caller = Caller {
            proof: Proof::ApiKey,
            organization: organization.clone(),
            application: application.clone(),
            user: key.user.clone(),
            key_id: Some(key.id.clone()),
            role: key.role,
            source: key.source.clone(),
            request_type: key.request_type.clone(),
        };
        let record = |sha256| KeyRecord { sha256, caller, disabled: key.disabled };
        match key.secret {
            KeySecret::Generated { sha256 } => {
                self.by_id.insert(key.id.clone(), record(sha256));
            }
            KeySecret::Chosen { sha256 } => {
                self.by_hash.insert(sha256, record(sha256));
            }
        }
        if let Some(models) = &key.models {
            self.models.insert(key.id.clone(), models.clone());
        }
    }

    /// The record of this key. An id that does not exist costs what a wrong secret costs: one hash, one compare.
    pub(super) fn find(&self, text: &str) -> Option<&KeyRecord> {
        const NOBODY: [u8; 32] = [0; 32];
        if text.len() > key::MAX_KEY {
            return None;
        }
        let (shown, record) = match key::split(text) {
            Some(generated) => (key::sha256(generated.secret), self.by_id.get(generated.id)),
            None => {
                let shown = key::sha256(text);
                (shown, self.by_hash.get(&shown))
            }
        };
        let stored = record.map_or(&NOBODY, |record| &record.sha256);
        let equal: bool = shown.ct_eq(stored).into();
        record.filter(|_| equal)
    }

    /// The models a key is narrowed to.
    pub(super) fn models(&self, key_id: &str) -> Option<&[Name]> {
        self.models.get(key_id).map(Vec::as_slice)
    }
}
