//! `auth`: token issuers and the cookie.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_filters::conf::HumanDuration;
use tollgate_filters::identity::Role;

use super::FilePath;

/// Ways to prove who is calling, besides API keys.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// Issuers whose tokens are accepted.
    pub jwt: Vec<JwtIssuer>,
    /// Whether a token is also taken from the cookie `jwt`, with a same-site or listed Origin and a JSON body.
    pub cookie: bool,
    /// Origins besides the same site that may use the cookie.
    #[schemars(example = serde_json::json!(["https://app.example.com"]))]
    pub cookie_origins: Vec<String>,
}

/// One issuer. Keys come from discovery, from `jwks_uri` or from `jwks_file`; never from the token.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JwtIssuer {
    /// The `iss` claim, character for character.
    #[schemars(example = &"https://login.example.com")]
    pub issuer: String,
    /// One of these must be in `aud`; for tokens without `aud` (Cognito access tokens) it must be the `client_id`.
    #[schemars(example = serde_json::json!(["my-client"]))]
    pub audience: Vec<String>,
    /// Where the keys are fetched: https, or http on loopback.
    #[serde(default)]
    #[schemars(extend("x-unset" = "`issuer` + /.well-known/openid-configuration says where"), example = &"https://login.example.com/keys")]
    pub jwks_uri: Option<String>,
    /// File with the keys instead. An empty `${NAME:-}` here switches the issuer off.
    #[serde(default)]
    #[schemars(extend("x-unset" = "keys are fetched", "x-off-when-empty" = true), example = &"/etc/tollgate/jwks.json")]
    pub jwks_file: Option<FilePath>,
    /// Accepted signatures: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA. Never HMAC, never none.
    #[serde(default = "algorithms")]
    pub algorithms: Vec<String>,
    /// Accepted `typ` header values, compared without case and without `application/`. Empty: any or none.
    #[serde(default)]
    #[schemars(example = serde_json::json!(["at+jwt"]))]
    pub typ: Vec<String>,
    /// Accepted `token_use` claims (Cognito). Empty: not looked at.
    #[serde(default)]
    #[schemars(example = serde_json::json!(["access"]))]
    pub token_use: Vec<String>,
    /// Clock difference that is forgiven in `exp` and `nbf`; at most 5m.
    #[serde(default = "leeway")]
    pub leeway: HumanDuration,
    /// Which claim holds what.
    #[serde(default)]
    pub claims: ClaimNames,
    /// Organisations that this issuer's tokens may name.
    #[serde(default)]
    #[schemars(extend("x-unset" = "with one issuer: any declared organisation; with several it must be written"), example = serde_json::json!(["acme"]))]
    pub organizations: Option<Vec<String>>,
    /// How often keys are fetched again.
    #[serde(default = "refresh")]
    pub refresh: HumanDuration,
    /// Shortest time between two fetches that tokens with unknown keys ask for.
    #[serde(default = "min_refresh")]
    pub min_refresh: HumanDuration,
    /// How long keys stay good while the issuer cannot be reached.
    #[serde(default = "max_stale")]
    pub max_stale: HumanDuration,
}

/// Claim names. A name with dots is looked up as it is, then as a path.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClaimNames {
    /// Claim with the organisation's id.
    pub organization: String,
    /// Claim with the application's id.
    pub application: String,
    /// Claim with the user; `sub` stands for it where it is absent or an unverified e-mail address.
    pub user: String,
    /// Claim with the role, or a list of them; absent: developer.
    pub role: String,
    /// Values of the role claim (or members of it, where it is a list) and the role each gives.
    #[schemars(extend("x-unset" = "the role's own name: auditor, developer, admin, superadmin"), example = serde_json::json!({"llm-admins": "admin"}))]
    pub roles: BTreeMap<String, Role>,
    /// Organisation of tokens without the claim.
    #[schemars(extend("x-unset" = "such tokens are refused"), example = &"acme")]
    pub default_organization: Option<String>,
    /// Application of tokens without the claim.
    #[schemars(extend("x-unset" = "such tokens are refused"), example = &"chat")]
    pub default_application: Option<String>,
}

impl Default for ClaimNames {
    fn default() -> Self {
        ClaimNames {
            organization: "custom:orgId".into(),
            application: "custom:appId".into(),
            user: "email".into(),
            role: "custom:userRole".into(),
            roles: BTreeMap::new(),
            default_organization: None,
            default_application: None,
        }
    }
}

fn algorithms() -> Vec<String> {
    ["RS256", "ES256", "EdDSA"].map(String::from).into()
}

fn leeway() -> HumanDuration {
    HumanDuration(Duration::from_secs(60))
}

fn refresh() -> HumanDuration {
    HumanDuration(Duration::from_secs(600))
}

fn min_refresh() -> HumanDuration {
    HumanDuration(Duration::from_secs(30))
}

fn max_stale() -> HumanDuration {
    HumanDuration(Duration::from_secs(86_400))
}
