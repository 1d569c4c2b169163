//! `organizations`: tenants and their keys.

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_filters::conf::Secret;
use tollgate_filters::identity::Role;

/// A tenant.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Organization {
    /// Name in limits, logs, metrics and the audit trail; unique.
    #[schemars(example = &"acme")]
    pub id: String,
    /// What calls on its behalf.
    #[serde(default)]
    pub applications: Vec<Application>,
}

/// An application of an organisation.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Application {
    /// Unique within the organisation.
    #[schemars(example = &"chat")]
    pub id: String,
    /// Its API keys.
    #[serde(default)]
    pub keys: Vec<ApiKey>,
    /// Model names it may use; a trailing `*` matches any rest.
    #[serde(default)]
    #[schemars(extend("x-unset" = "all models"), example = serde_json::json!(["mistral-7b", "gpt-4o*"]))]
    pub models: Option<Vec<String>>,
}

/// An API key: either the key itself from the environment or a file, or its hash. `tollgate key create` makes one and prints the entry.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// Unique over all keys; the middle part of a generated key `tg_<id>_<secret>`.
    #[schemars(example = &"dev")]
    pub id: String,
    /// The key: generated, or one's own string of at least 22 characters.
    #[serde(default)]
    #[schemars(extend("x-unset" = "`hash` is needed"), example = &"${TOLLGATE_KEY}")]
    pub key: Option<Secret>,
    /// SHA-256 of a generated key's secret part, 64 hex digits.
    #[serde(default)]
    #[schemars(extend("x-unset" = "`key` is needed"), example = &"9b74c9897bac770ffc029102a200c5de…")]
    pub hash: Option<String>,
    /// What its caller may do.
    #[serde(default = "developer")]
    pub role: Role,
    /// The user whom its requests count for.
    #[serde(default)]
    #[schemars(extend("x-unset" = "no user"), example = &"alice@example.com")]
    pub user: Option<String>,
    /// Model names it may use, within what its application may.
    #[serde(default)]
    #[schemars(extend("x-unset" = "what its application may use"), example = serde_json::json!(["mistral-7b"]))]
    pub models: Option<Vec<String>>,
    /// Stands for the header `x-llm-source` when a request has none.
    #[serde(default)]
    #[schemars(extend("x-unset" = "nothing stands for it"), example = &"ci")]
    pub source: Option<String>,
    /// Stands for the header `x-llm-request-type` when a request has none.
    #[serde(default)]
    #[schemars(extend("x-unset" = "nothing stands for it"), example = &"batch")]
    pub request_type: Option<String>,
    /// Refused, but kept in the file, so that its id is not given twice.
    #[serde(default)]
    pub disabled: bool,
}

fn developer() -> Role {
    Role::Developer
}
