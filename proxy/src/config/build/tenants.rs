//! `organizations`: tenants, applications, API keys.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_filters::conf::{KeyPath, Secret};
use tollgate_filters::identity::key;

use super::super::{ApiKey, Application, KeySecret, Name, Organization, raw};
use super::report::{Report, Unique, sha256_hex};
use super::upstreams::Names;

/// Who is declared, for references from elsewhere.
#[derive(Debug)]
pub(super) struct Callers {
    applications: BTreeMap<Name, BTreeSet<Name>>,
    keys: BTreeSet<Name>,
    tokens: bool,
}

impl Callers {
    pub(super) fn of(organizations: &[Organization], tokens: bool) -> Self {
        let mut callers = Callers { applications: BTreeMap::new(), keys: BTreeSet::new(), tokens };
        for organization in organizations {
            let applications = callers.applications.entry(organization.id.clone()).or_default();
            for application in &organization.applications {
                applications.insert(application.id.clone());
                callers.keys.extend(application.keys.iter().map(|key| key.id.clone()));
            }
        }
        callers
    }

    pub(super) fn is_nobody(&self) -> bool {
        self.keys.is_empty() && !self.tokens
    }

    pub(super) fn has_organization(&self, id: &str) -> bool {
        self.applications.contains_key(id)
    }

    pub(super) fn has_application(&self, organization: &str, id: &str) -> bool {
        self.applications.get(organization).is_some_and(|applications| applications.contains(id))
    }

    pub(super) fn has_application_anywhere(&self, id: &str) -> bool {
        self.applications.values().any(|applications| applications.contains(id))
    }

    pub(super) fn has_key(&self, id: &str) -> bool {
        self.keys.contains(id)
    }

    pub(super) fn organizations(&self) -> impl Iterator<Item = &str> {
        self.applications.keys().map(|id| &**id)
    }

    pub(super) fn applications(&self) -> impl Iterator<Item = &str> {
        self.applications.values().flatten().map(|id| &**id)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|id| &**id)
    }
}

/// What must be unique over all tenants.
struct Keys {
    ids: Unique<String>,
    secrets: Unique<[u8; 32]>,
}

pub(super) fn organizations(
    report: &mut Report,
    path: &KeyPath,
    raw: Vec<raw::Organization>,
    models: &Names,
) -> Vec<Organization> {
    let mut ids = Unique::new();
    let mut keys = Keys { ids: Unique::new(), secrets: Unique::new() };
    raw.into_iter()
        .enumerate()
        .map(|(index, raw)| {
            let path = path.index(index);
            report.name(&path.key("id"), &raw.id);
            ids.insert(report, &path.key("id"), raw.id.clone(), "give every organisation an id of its own");
            let mut ids = Unique::new();
            let mut applications = Vec::with_capacity(raw.applications.len());
            for (index, raw) in raw.applications.into_iter().enumerate() {
                let path = path.key("applications").index(index);
                report.name(&path.key("id"), &raw.id);
                ids.insert(
                    report,
                    &path.key("id"),
                    raw.id.clone(),
                    "give every application an id of its own",
                );
                applications.push(application(report, &path, raw, models, &mut keys));
            }
            Organization { id: raw.id.into(), applications }
        })
        .collect()
}

fn application(
    report: &mut Report,
    path: &KeyPath,
    raw: raw::Application,
    models: &Names,
    keys: &mut Keys,
) -> Application {
    let allowed = allow_list(report, &path.key("models"), raw.models, models);
    let mut made = Vec::with_capacity(raw.keys.len());
    for (index, raw) in raw.keys.into_iter().enumerate() {
        made.extend(api_key(report, &path.key("keys").index(index), raw, models, keys));
    }
    Application { id: raw.id.into(), keys: made, models: allowed }
}

fn api_key(
    report: &mut Report,
    path: &KeyPath,
    raw: raw::ApiKey,
    models: &Names,
    keys: &mut Keys,
) -> Option<ApiKey> {
    report.plain_name(&path.key("id"), &raw.id);
    keys.ids.insert(report, &path.key("id"), raw.id.clone(), "give every key an id of its own");
    let secret = match (&raw.key, &raw.hash) {
        (Some(_), Some(_)) => {
            report.refuse(path.key("hash"), "stands beside key; remove one of the two");
            None
        }
        (Some(secret), None) => secret_of(report, path, &raw.id, secret),
        (None, Some(hash)) => {
            let hash = sha256_hex(hash);
            if hash.is_none() {
                report.refuse(
                    path.key("hash"),
                    "is not a SHA-256; write the 64 hex digits that `tollgate key create` prints",
                );
            }
            hash.map(|sha256| KeySecret::Generated { sha256 })
        }
        (None, None) => {
            report.refuse(
                path.clone(),
                "has no key; write key: \"${NAME}\", or the hash that `tollgate key create` prints",
            );
            None
        }
    };
    let models = allow_list(report, &path.key("models"), raw.models, models);
    let secret = secret?;
    let (KeySecret::Generated { sha256 } | KeySecret::Chosen { sha256 }) = &secret;
    let at = path.key(if raw.key.is_some() { "key" } else { "hash" });
    keys.secrets.insert(report, &at, *sha256, "give every entry a key of its own");
    Some(ApiKey {
        id: raw.id.into(),
        secret,
        role: raw.role,
        user: raw.user.map(Into::into),
        models,
        source: raw.source.map(Into::into),
        request_type: raw.request_type.map(Into::into),
        disabled: raw.disabled,
    })
}

fn secret_of(report: &mut Report, path: &KeyPath, id: &str, secret: &Secret) -> Option<KeySecret> {
    const NEW: &str = "make one with: tollgate key create";
    let (at, text) = (path.key("key"), secret.expose());
    if text.is_empty() {
        report.refuse(at, format!("is empty; {NEW}"));
        return None;
    }
    if text.len() > key::MAX_KEY || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        report.refuse(
            at,
            format!(
                "is longer than {} characters or has spaces or signs no header can carry; {NEW}",
                key::MAX_KEY
            ),
        );
        return None;
    }
    if !text.starts_with(key::PREFIX) && text.bytes().filter(|byte| *byte == b'.').count() == 2 {
        report.refuse(
            at,
            format!("has two dots, so it would be read as a token (JWT); write another, or {NEW}"),
        );
        return None;
    }
    let long_enough = |text: &str| text.len() >= key::MIN_CHOSEN;
    match key::split(text) {
        Some(generated) if generated.id != id => {
            report.refuse(
                at,
                format!(
                    "is a key of the id `{}`; write id: {} here, or make one with: tollgate key create --id {id}",
                    generated.id, generated.id
                ),
            );
            None
        }
        Some(generated) if long_enough(generated.secret) => {
            Some(KeySecret::Generated { sha256: key::sha256(generated.secret) })
        }
        None if long_enough(text) => {
            report.warn(at, "is a string of your own; a generated key is safer: tollgate key create");
            Some(KeySecret::Chosen { sha256: key::sha256(text) })
        }
        _ => {
            report.refuse(
                at,
                format!("is too short to be safe; write at least {} characters, or {NEW}", key::MIN_CHOSEN),
            );
            None
        }
    }
}

fn allow_list(
    report: &mut Report,
    path: &KeyPath,
    raw: Option<Vec<String>>,
    models: &Names,
) -> Option<Vec<Name>> {
    let raw = raw?;
    if raw.is_empty() {
        report.warn(path.clone(), "is empty, so no model may be used; remove the key to allow all");
    }
    for (index, entry) in raw.iter().enumerate() {
        models.check_pattern(report, &path.index(index), entry);
    }
    Some(raw.into_iter().map(Into::into).collect())
}
