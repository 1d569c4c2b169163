//! `limits`, `guardrails`.

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_filters::conf::{Rate, Secret};
use tollgate_filters::scan::{Action, Direction};

use super::FilePath;
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

/// What is looked for, and what happens then.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Guardrails {
    /// Actions for everyone: `strict`, `chat`, `coding`, or a name from `profiles`.
    pub profile: String,
    /// Files with further profiles.
    pub profiles: Vec<FilePath>,
    /// Narrower settings: for a kind or a rule, a direction, some callers. The narrowest match wins.
    pub overrides: Vec<Override>,
    /// Files with rules besides the built-in ones.
    pub rules: Vec<FilePath>,
    /// Longest text a rule may hold back in a stream, in bytes; a rule that needs more is refused.
    #[schemars(range(min = 16, max = 65_536))]
    pub max_hold_bytes: usize,
    /// Show found values in error details, unmasked.
    pub show_values: bool,
    /// Key of the pseudonyms; needed where an action is `pseudonymise`.
    #[schemars(extend("x-unset" = "no pseudonyms"), example = &"${TOLLGATE_PSEUDONYM_KEY}")]
    pub pseudonym_key: Option<Secret>,
}

impl Default for Guardrails {
    fn default() -> Self {
        Guardrails {
            profile: "strict".into(),
            profiles: Vec::new(),
            overrides: Vec::new(),
            rules: Vec::new(),
            max_hold_bytes: 320,
            show_values: false,
            pseudonym_key: None,
        }
    }
}

/// One exception from the profile.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// Whom it holds for.
    #[serde(default)]
    #[schemars(extend("x-unset" = "everyone"))]
    pub only: Selector,
    /// Kind of finding: `email`, `phone`, `ssn`, `credit_card`, `ip_address`, `iban`, `secret`, or a kind of your rules.
    #[serde(default)]
    #[schemars(extend("x-unset" = "`rule` is needed"), example = &"email")]
    pub kind: Option<String>,
    /// Id of one rule.
    #[serde(default)]
    #[schemars(extend("x-unset" = "all rules of the kind"), example = &"github-token")]
    pub rule: Option<String>,
    /// Requests or answers.
    #[serde(default)]
    #[schemars(extend("x-unset" = "both"), example = &"answer")]
    pub direction: Option<Direction>,
    /// What happens.
    #[schemars(example = &"mask")]
    pub action: Action,
}
