//! `limits`.

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_filters::conf::Rate;

use crate::config::LimitScope;

/// One limit. Every value of its scope has a bucket of its own; at least one of `requests`, `tokens`, `concurrency` is set.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Name in messages, metrics and the audit trail; unique. A limit with the same id keeps its used amount over a reload.
    #[schemars(example = &"app-rate")]
    pub id: String,
    /// What shares a bucket.
    #[schemars(example = &"application")]
    pub scope: LimitScope,
    /// Which requests it holds for.
    #[serde(default)]
    #[schemars(extend("x-unset" = "all"))]
    pub only: Selector,
    /// Requests per period.
    #[serde(default)]
    #[schemars(extend("x-unset" = "requests are not limited"), example = &"100/min")]
    pub requests: Option<Rate>,
    /// How many requests may come at once.
    #[serde(default)]
    #[schemars(range(min = 1), extend("x-unset" = "the whole period's amount"), example = 20)]
    pub burst: Option<u64>,
    /// Input and output tokens per period; reserved by estimate, settled by the upstream's usage.
    #[serde(default)]
    #[schemars(extend("x-unset" = "tokens are not limited"), example = &"200k/min")]
    pub tokens: Option<Rate>,
    /// How many tokens may be used at once; a request that needs more is refused for good.
    #[serde(default)]
    #[schemars(range(min = 1), extend("x-unset" = "the whole period's amount"), example = 50_000)]
    pub token_burst: Option<u64>,
    /// Requests in flight.
    #[serde(default)]
    #[schemars(range(min = 1), extend("x-unset" = "not limited"), example = 32)]
    pub concurrency: Option<u64>,
}

/// Narrows a rule to some callers. What is not set matches everything.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Selector {
    /// Id of an organisation.
    #[schemars(extend("x-unset" = "any"), example = &"acme")]
    pub organization: Option<String>,
    /// Id of an application.
    #[schemars(extend("x-unset" = "any"), example = &"chat")]
    pub application: Option<String>,
    /// A verified user, or the one of an API key.
    #[schemars(extend("x-unset" = "any"), example = &"alice@example.com")]
    pub user: Option<String>,
    /// Id of an API key.
    #[schemars(extend("x-unset" = "any"), example = &"dev")]
    pub key: Option<String>,
    /// Model name as the caller writes it.
    #[schemars(extend("x-unset" = "any"), example = &"mistral-7b")]
    pub model: Option<String>,
    /// Team route.
    #[schemars(extend("x-unset" = "any"), example = &"quant")]
    pub team: Option<String>,
}
