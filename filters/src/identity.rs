//! Who is calling: an API key's record or a token's claims become the same [`Caller`].

pub mod claims;
pub mod key;

use std::sync::Arc;

/// What a caller may do on the admin surface; data-plane routes may ask for one too.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Auditor,
    Developer,
    Admin,
    Superadmin,
}

/// How the caller proved who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    ApiKey,
    Jwt,
    Anonymous,
}

/// An authenticated caller. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub proof: Proof,
    pub organization: Arc<str>,
    pub application: Arc<str>,
    /// Verified user (from claims); never what a header merely asserts.
    pub user: Option<Arc<str>>,
    /// Id of the API key, never the key.
    pub key_id: Option<Arc<str>>,
    pub role: Role,
    /// Defaults of the audit headers, by the key's record.
    pub source: Option<Arc<str>>,
    pub request_type: Option<Arc<str>>,
}
