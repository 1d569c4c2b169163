//! Who may call: organisations, applications, keys and token issuers, as one configuration names them.

use std::collections::HashMap;
use std::sync::Arc;

use tollgate_filters::identity::claims::{ClaimMapping, Claims};
use tollgate_filters::identity::{Caller, Proof, Role};
use tollgate_filters::policy::model_allowed;
use tollgate_filters::verdict::{Code, Rejection};

use super::credential::{CookieRules, Head};
use super::jwks::IssuerKeys;
use super::jwt::Rules;
use super::keys::Keys;
use crate::config::{Auth, JwtIssuer, Name, Organization};

/// Application of a caller without credentials, on routes that allow that.
pub const ANONYMOUS: &str = "anonymous";

/// A snapshot: a request keeps the one it started with. Live state (fetched keys, verified tokens) is only referred to.
#[derive(Debug)]
pub struct Directory {
    keys: Keys,
    organizations: HashMap<Name, Tenant>,
    issuers: HashMap<Box<str>, Issuer>,
    cookie: Option<CookieRules>,
    anonymous: Name,
}

#[derive(Debug)]
struct Tenant {
    id: Name,
    applications: HashMap<Name, Permissions>,
}

#[derive(Debug)]
struct Permissions {
    id: Name,
    /// `None`: all.
    models: Option<Vec<Name>>,
}

/// One token issuer as this configuration sees it.
#[derive(Debug)]
pub(super) struct Issuer {
    pub(super) rules: Rules,
    pub(super) keys: Arc<IssuerKeys>,
    mapping: ClaimMapping,
    /// Organisations its tokens may name; `None`: any.
    organizations: Option<Vec<Name>>,
}

impl Issuer {
    pub(super) fn new(rules: Rules, keys: Arc<IssuerKeys>, issuer: &JwtIssuer) -> Self {
        let names = &issuer.claims;
        let mapping = ClaimMapping {
            organization: names.organization.clone(),
            application: names.application.clone(),
            user: names.user.clone(),
            role: names.role.clone(),
            roles: names.roles.clone(),
            default_organization: names.default_organization.clone(),
            default_application: names.default_application.clone(),
        };
        Issuer { rules, keys, mapping, organizations: issuer.organizations.clone() }
    }
}

impl Directory {
    /// `issuers` by their `iss`.
    pub(super) fn new(
        organizations: &[Organization],
        auth: &Auth,
        issuers: HashMap<Box<str>, Issuer>,
    ) -> Self {
        let mut keys = Keys::default();
        let mut tenants = HashMap::with_capacity(organizations.len());
        for organization in organizations {
            let mut applications = HashMap::with_capacity(organization.applications.len());
            for application in &organization.applications {
                for key in &application.keys {
                    keys.add(&organization.id, &application.id, key);
                }
                let models = application.models.clone();
                applications
                    .insert(application.id.clone(), Permissions { id: application.id.clone(), models });
            }
            tenants.insert(organization.id.clone(), Tenant { id: organization.id.clone(), applications });
        }
        let cookie = auth.cookie.then(|| CookieRules::new(&auth.cookie_origins));
        Directory { keys, organizations: tenants, issuers, cookie, anonymous: ANONYMOUS.into() }
    }

    /// The bearer of an API key.
    ///
    /// # Errors
    /// `INVALID_API_KEY`: no such key, or it is switched off.
    pub fn by_key(&self, key: &str) -> Result<Caller, Rejection> {
        match self.keys.find(key) {
            Some(record) if record.disabled => Err(Rejection::new(
                Code::InvalidApiKey,
                "This API key is disabled. Ask whoever runs this gateway for a new one.",
            )),
            Some(record) => Ok(record.caller.clone()),
            None => Err(Rejection::new(
                Code::InvalidApiKey,
                "This API key is not known here. Check that it was copied whole (it looks like tg_<id>_<secret>) and that \
                 it belongs to this gateway.",
            )),
        }
    }

    /// The caller of a request without any credential, on a route that says `anonymous_as: organization`. `None` where the
    /// request shows one, good or bad: a mistyped key must not silently become someone else.
    pub fn anonymous(&self, organization: &str, head: Head<'_>) -> Option<Caller> {
        if head.shows_credential(self.cookie.is_some()) {
            return None;
        }
        let tenant = self.organizations.get(organization)?;
        Some(Caller {
            proof: Proof::Anonymous,
            organization: tenant.id.clone(),
            application: self.anonymous.clone(),
            user: None,
            key_id: None,
            role: Role::Developer,
            source: None,
            request_type: None,
        })
    }

    /// Whether this caller may use a model by this name: its application's list and its key's list must both agree.
    pub fn allows(&self, caller: &Caller, model: &str) -> bool {
        let application = self
            .organizations
            .get(&caller.organization)
            .and_then(|tenant| tenant.applications.get(&caller.application))
            .and_then(|permissions| permissions.models.as_deref());
        let key = caller.key_id.as_ref().and_then(|id| self.keys.models(id));
        model_allowed(application, model) && model_allowed(key, model)
    }

    pub(super) fn cookie(&self) -> Option<&CookieRules> {
        self.cookie.as_ref()
    }

    pub(super) fn issuer(&self, iss: &str) -> Option<&Issuer> {
        self.issuers.get(iss)
    }

    pub(super) fn issuers(&self) -> impl Iterator<Item = &Issuer> {
        self.issuers.values()
    }

    /// The caller that verified claims name. Its organisation and application must be ones this gateway knows: policies hang
    /// on them, and an unknown name would have none.
    pub(super) fn by_claims(&self, issuer: &Issuer, claims: &Claims) -> Result<Caller, Rejection> {
        let identity = issuer.mapping.identify(claims).map_err(|error| {
            let code = match error {
                tollgate_filters::identity::claims::ClaimError::NoRole { .. } => Code::ForbiddenRole,
                _ => Code::InvalidToken,
            };
            Rejection::new(
                code,
                format!("The token is genuine, but {error}. Ask whoever issues your tokens to set it."),
            )
        })?;
        let unknown = |what: &str| {
            Rejection::new(
                Code::InvalidToken,
                format!(
                    "The token is genuine, but its {what} is not known here. Ask whoever runs this gateway to add it, or your \
                     token's issuer to name the right one."
                ),
            )
        };
        // The same words as for an organisation that is not there: who asks learns nothing about other tenants.
        let may_name =
            |id: &str| issuer.organizations.as_ref().is_none_or(|own| own.iter().any(|name| **name == *id));
        let tenant = self.organizations.get(&*identity.organization).filter(|tenant| may_name(&tenant.id));
        let tenant = tenant.ok_or_else(|| unknown("organization"))?;
        let application =
            tenant.applications.get(&*identity.application).ok_or_else(|| unknown("application"))?;
        Ok(Caller {
            proof: Proof::Jwt,
            organization: tenant.id.clone(),
            application: application.id.clone(),
            user: identity.user.map(Arc::from),
            key_id: None,
            role: identity.role,
            source: None,
            request_type: None,
        })
    }
}
