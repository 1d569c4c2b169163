//! A verified token's claims → who is calling. Pure: the signature has been checked before anything here runs.
//!
//! Claims are JSON (RFC 7519, section 4). A claim is found by its exact name first (`custom:orgId`, or a URL as some issuers
//! use), then, if the name has dots, by its path (`realm_access.roles`).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

use super::Role;

/// Longest value that may become an organisation, application, user or role.
pub const MAX_VALUE: usize = 256;

/// A token's claims. Two claims of one name are refused, as RFC 7519 section 4 asks: parsers disagree on which one counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims(BTreeMap<String, Value>);

/// Which claim holds what, and what stands in for an absent one.
#[derive(Debug, Clone)]
pub struct ClaimMapping {
    pub organization: String,
    pub application: String,
    pub user: String,
    pub role: String,
    /// Value of the role claim, or member of a list → role. Empty: the roles' own names.
    pub roles: BTreeMap<String, Role>,
    pub default_organization: Option<Arc<str>>,
    pub default_application: Option<Arc<str>>,
}

/// What the claims say, not yet matched with the organisations the gateway knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity<'a> {
    pub organization: Cow<'a, str>,
    pub application: Cow<'a, str>,
    pub user: Option<Cow<'a, str>>,
    pub role: Role,
}

/// Why claims name nobody. `claim` is the configured name, so that an operator finds the setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    #[error("the token has no claim '{claim}', which must name the {what}")]
    Missing { claim: String, what: &'static str },
    #[error("the token's claim '{claim}' must be a string of 1 to {MAX_VALUE} printable characters")]
    Unusable { claim: String },
    #[error("the token's claim '{claim}' grants no role here")]
    NoRole { claim: String },
}

impl Claims {
    /// Reads a JSON object.
    ///
    /// # Errors
    /// Not JSON, not an object, or a claim stands twice.
    pub fn parse(json: &[u8]) -> Result<Claims, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// A claim by its exact name.
    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.claim(name).and_then(Value::as_str)
    }

    /// By exact name, else by dotted path.
    fn find(&self, name: &str) -> Option<&Value> {
        let found = self.claim(name).or_else(|| {
            let mut steps = name.split('.');
            let first = self.claim(steps.next()?)?;
            steps.try_fold(first, |value, step| value.as_object()?.get(step))
        });
        found.filter(|value| !value.is_null())
    }

    /// The address in `email` may be one the user merely typed in: it names the user only if the issuer does not say that it
    /// is unverified (OpenID Connect Core 5.1; some issuers write the boolean as a string).
    fn is_unverified_email(&self, claim: &str) -> bool {
        claim == "email"
            && match self.claim("email_verified") {
                Some(Value::Bool(verified)) => !verified,
                Some(Value::String(verified)) => verified != "true",
                Some(_) => true,
                None => false,
            }
    }
}

impl ClaimMapping {
    /// Who the claims name.
    ///
    /// # Errors
    /// A claim that is needed is absent and has no default, cannot be used, or grants no role.
    pub fn identify<'a>(&'a self, claims: &'a Claims) -> Result<Identity<'a>, ClaimError> {
        let named = |claim: &str, default: &'a Option<Arc<str>>, what| match claims.find(claim) {
            Some(value) => usable(claim, value),
            None => match default {
                Some(name) => Ok(Cow::Borrowed(&**name)),
                None => Err(ClaimError::Missing { claim: claim.to_owned(), what }),
            },
        };
        Ok(Identity {
            organization: named(&self.organization, &self.default_organization, "organization")?,
            application: named(&self.application, &self.default_application, "application")?,
            user: self.user(claims)?,
            role: self.role(claims)?,
        })
    }

    /// The user claim, else the subject.
    fn user<'a>(&self, claims: &'a Claims) -> Result<Option<Cow<'a, str>>, ClaimError> {
        if !claims.is_unverified_email(&self.user)
            && let Some(value) = claims.find(&self.user)
        {
            return usable(&self.user, value).map(Some);
        }
        claims.find("sub").map(|value| usable("sub", value)).transpose()
    }

    /// Without the claim: developer. With it: the strongest role that one of its values grants, and nothing if none does.
    fn role(&self, claims: &Claims) -> Result<Role, ClaimError> {
        let Some(value) = claims.find(&self.role) else { return Ok(Role::Developer) };
        let strongest = match value {
            Value::String(name) => self.granted(name),
            Value::Array(names) => {
                names.iter().filter_map(Value::as_str).filter_map(|name| self.granted(name)).max()
            }
            _ => None,
        };
        strongest.ok_or_else(|| ClaimError::NoRole { claim: self.role.clone() })
    }

    fn granted(&self, value: &str) -> Option<Role> {
        if !self.roles.is_empty() {
            return self.roles.get(value).copied();
        }
        match value {
            "superadmin" => Some(Role::Superadmin),
            "admin" => Some(Role::Admin),
            "developer" => Some(Role::Developer),
            "auditor" => Some(Role::Auditor),
            _ => None,
        }
    }
}

impl Default for ClaimMapping {
    fn default() -> Self {
        ClaimMapping {
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

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ClaimsVisitor)
    }
}

struct ClaimsVisitor;

impl<'de> Visitor<'de> for ClaimsVisitor {
    type Value = Claims;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of claims")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claims, A::Error> {
        let mut claims = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if claims.insert(name, value).is_some() {
                return Err(A::Error::custom("a claim stands twice"));
            }
        }
        Ok(Claims(claims))
    }
}

/// These values end up in logs, metrics and header lines: no control characters, no unbounded length.
fn usable<'a>(claim: &str, value: &'a Value) -> Result<Cow<'a, str>, ClaimError> {
    let text = match value {
        Value::String(text) => Cow::Borrowed(text.as_str()),
        Value::Number(number) if number.is_u64() => Cow::Owned(number.to_string()),
        _ => return Err(ClaimError::Unusable { claim: claim.to_owned() }),
    };
    let fits = !text.is_empty() && text.len() <= MAX_VALUE && !text.chars().any(char::is_control);
    fits.then_some(text).ok_or_else(|| ClaimError::Unusable { claim: claim.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(json: &str) -> Claims {
        Claims::parse(json.as_bytes()).expect("the test's claims are an object")
    }

    fn check(mapping: &ClaimMapping, json: &str, expect: Result<(&str, &str, Option<&str>, Role), &str>) {
        let claims = claims(json);
        let found = mapping.identify(&claims).map_err(|e| e.to_string());
        let found = match &found {
            Ok(id) => Ok((&*id.organization, &*id.application, id.user.as_deref(), id.role)),
            Err(message) => Err(message.as_str()),
        };
        assert_eq!(found, expect, "{json}");
    }

    #[test]
    fn default_names() {
        let mapping = ClaimMapping::default();
        let base = r#""custom:orgId":"acme","custom:appId":"chat""#;
        let with = |more: &str| format!("{{{base}{more}}}");
        check(&mapping, &with(""), Ok(("acme", "chat", None, Role::Developer)));
        check(&mapping, &with(r#","sub":"u1""#), Ok(("acme", "chat", Some("u1"), Role::Developer)));
        check(
            &mapping,
            &with(r#","email":"a@b.c","sub":"u1","custom:userRole":"admin""#),
            Ok(("acme", "chat", Some("a@b.c"), Role::Admin)),
        );
        for unverified in ["false", r#""false""#, "0", "null"] {
            let json = with(&format!(r#","email":"ceo@b.c","email_verified":{unverified},"sub":"u1""#));
            check(&mapping, &json, Ok(("acme", "chat", Some("u1"), Role::Developer)));
        }
        check(
            &mapping,
            &with(r#","custom:userRole":"root""#),
            Err("the token's claim 'custom:userRole' grants no role here"),
        );
        check(
            &mapping,
            r#"{"custom:appId":"chat"}"#,
            Err("the token has no claim 'custom:orgId', which must name the organization"),
        );
        let long = format!(r#"{{"custom:orgId":"{}","custom:appId":"chat"}}"#, "x".repeat(257));
        let unusable =
            Err("the token's claim 'custom:orgId' must be a string of 1 to 256 printable characters");
        for bad in [r#"{"custom:orgId":"a\u0000b","custom:appId":"c"}"#, r#"{"custom:orgId":""}"#, &long] {
            check(&mapping, bad, unusable);
        }
        check(&mapping, r#"{"custom:orgId":["acme"]}"#, unusable);
        check(&mapping, r#"{"custom:orgId":42,"custom:appId":"c"}"#, Ok(("42", "c", None, Role::Developer)));
    }

    #[test]
    fn mapped_names_paths_groups_and_defaults() {
        let mapping = ClaimMapping {
            organization: "https://acme.example/org".into(),
            application: "azp".into(),
            user: "preferred_username".into(),
            role: "realm_access.roles".into(),
            roles: BTreeMap::from([
                ("llm-admins".into(), Role::Admin),
                ("llm-users".into(), Role::Developer),
            ]),
            default_organization: Some("acme".into()),
            default_application: None,
        };
        check(
            &mapping,
            r#"{"azp":"chat","realm_access":{"roles":["other","llm-users","llm-admins"]},"preferred_username":"al"}"#,
            Ok(("acme", "chat", Some("al"), Role::Admin)),
        );
        check(
            &mapping,
            r#"{"https://acme.example/org":"o2","azp":"chat"}"#,
            Ok(("o2", "chat", None, Role::Developer)),
        );
        for roles in [r#"["other"]"#, "[]", r#"{"llm-admins":1}"#, r#""admin""#, "7"] {
            let json = format!(r#"{{"azp":"chat","realm_access":{{"roles":{roles}}}}}"#);
            check(&mapping, &json, Err("the token's claim 'realm_access.roles' grants no role here"));
        }
    }

    #[test]
    fn refuses_what_is_not_one_object() {
        for bad in [
            &b"[]"[..],
            b"\"x\"",
            b"{\"a\":1,\"a\":2}",
            b"{\"a\":1,\"\\u0061\":2}",
            b"{\"a\":1} x",
            b"{\"a\":\"\xff\"}",
            b"",
        ] {
            assert!(Claims::parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
