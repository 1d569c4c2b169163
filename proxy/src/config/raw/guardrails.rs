//! `guardrails`.

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_filters::conf::Secret;
use tollgate_filters::scan::request::Identifiers;
use tollgate_filters::scan::{Action, Direction, Escape, LookAlike};

use super::{FilePath, Labels, Selector};
use crate::config::{FailedCode, Shadowed};

/// What is looked for, and what happens then.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Guardrails {
    /// Actions for everyone: `strict`, `chat`, `coding`, or a name from `profiles`.
    pub profile: String,
    /// Files with further profiles.
    pub profiles: Vec<FilePath>,
    /// Narrower settings: for a kind or a rule, a direction, some callers. The narrowest match wins.
    #[schemars(length(max = 65_535))]
    pub overrides: Vec<Override>,
    /// Files with rules besides the built-in ones.
    pub rules: Vec<FilePath>,
    /// Files with signals of prompt injections besides the built-in ones; docs/prompt-injection.md says how they are written.
    pub injection_signals: Vec<FilePath>,
    /// Escapes that are looked through, beside the text as it is: `html` (`&#64;`, `&commat;`), `percent` (`%40`). One layer is
    /// decoded; what is masked are the original bytes.
    #[schemars(extend("x-unset" = "what the profile says: both in `strict`, none in `chat` and `coding`"), example = &["html", "percent"])]
    pub decode: Option<Vec<Escape>>,
    /// Longest text a rule may hold back in a stream, in normalised bytes; a rule that needs more is refused. In raw bytes, escapes
    /// that `decode` looks through counted in, it is at most four times that.
    #[schemars(range(min = 16, max = 65_536))]
    pub max_hold_bytes: usize,
    /// Show found values in error details, unmasked.
    pub show_values: bool,
    /// Key of the pseudonyms and of hashed ids; needed where an action is `pseudonymise`, or `identifiers: hash`.
    #[schemars(extend("x-unset" = "no pseudonyms"), example = &"${TOLLGATE_PSEUDONYM_KEY}")]
    pub pseudonym_key: Option<Secret>,
    /// Kinds whose pseudonyms look like values of their kind, instead of `[PHONE-…]`. They have less room: see docs/guardrails.md.
    pub look_alike: Vec<LookAlike>,
    /// What becomes of `user`, `safety_identifier`, `metadata`, `prompt_cache_key` and `session_id`: passed on, or replaced by a
    /// hash under the organisation's key. They are never a reason to refuse.
    pub identifiers: Identifiers,
    /// What the client is told when a guard cannot do its work.
    pub failed: Failed,
}

/// The answer to a request, or the end of a stream, that could not be checked.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Failed {
    /// Code and status: GUARDRAIL_FAILED (502), UPSTREAM_ERROR (502), OVERLOADED (503) or NO_UPSTREAM (503).
    pub code: FailedCode,
    /// What the error says.
    #[schemars(extend("x-unset" = "what could not be checked, and that it was not passed on"), example = &"Ask the security desk.")]
    pub message: Option<String>,
}

impl Default for Guardrails {
    fn default() -> Self {
        Guardrails {
            profile: "strict".into(),
            profiles: Vec::new(),
            overrides: Vec::new(),
            rules: Vec::new(),
            injection_signals: Vec::new(),
            decode: None,
            max_hold_bytes: 320,
            show_values: false,
            pseudonym_key: None,
            look_alike: Vec::new(),
            identifiers: Identifiers::Pass,
            failed: Failed::default(),
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
    /// Kind of finding: `email`, `phone`, `ssn`, `credit_card`, `ip_address`, `iban`, `secret`, `prompt_injection`, or a kind of your rules.
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
    #[serde(default)]
    #[schemars(extend("x-unset" = "as without this entry"), example = &"mask")]
    pub action: Option<Action>,
    /// What would happen: decided and recorded, without effect. Stands in the place of `action`.
    #[serde(default)]
    #[schemars(extend("x-unset" = "`action` takes effect"), example = &"block")]
    pub shadow: Option<Shadowed>,
    /// Labels that a target must carry to get a request with such a finding, on every attempt; `{}` lifts what wider entries
    /// demand. Requests only.
    #[serde(default)]
    #[schemars(extend("x-unset" = "as without this entry"))]
    pub require: Option<Labels>,
}
