//! `auth`.

use std::time::Duration;

use jsonwebtoken::Algorithm;
use tollgate_filters::conf::KeyPath;

use super::super::{Auth, ClaimNames, JwtIssuer, KeySource, raw};
use super::process::origins;
use super::report::{Report, Unique, listed};
use super::tenants::Callers;
use super::url;

const ALGORITHMS: &[(&str, Algorithm)] = &[
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

pub(super) fn auth(report: &mut Report, path: &KeyPath, raw: raw::Auth) -> Auth {
    let at = path.key("cookie_origins");
    origins(report, &at, &raw.cookie_origins, false);
    if !raw.cookie && !raw.cookie_origins.is_empty() {
        report.refuse(at.clone(), "means nothing without the cookie; write cookie: true, or remove it");
    }
    if raw.cookie && raw.cookie_origins.is_empty() {
        report.warn(
            path.key("cookie"),
            "only pages of the gateway's own site can use the cookie; others: cookie_origins: [https://app.example.com]",
        );
    }
    if raw.cookie && raw.jwt.is_empty() {
        report.refuse(path.key("cookie"), "needs an issuer of tokens; write auth.jwt, or remove it");
    }
    let mut issuers = Unique::new();
    let jwt = raw
        .jwt
        .into_iter()
        .enumerate()
        .filter(|(_, raw)| !is_switched_off(raw))
        .map(|(index, raw)| {
            let path = path.key("jwt").index(index);
            issuers.insert(report, &path.key("issuer"), raw.issuer.clone(), "write each issuer once");
            issuer(report, &path, raw)
        })
        .collect();
    Auth { jwt, cookie_origins: raw.cookie_origins, cookie: raw.cookie }
}

/// Whose organisations an issuer may name, and default tenants that nobody declared: those would refuse every token.
pub(super) fn check_tenants(report: &mut Report, path: &KeyPath, auth: &Auth, callers: &Callers) {
    check_organizations(report, path, auth, callers);
    // Positions may have moved by switched-off issuers, so the issuer is named instead.
    for issuer in &auth.jwt {
        let claims = &issuer.claims;
        let Some(organization) = &claims.default_organization else { continue };
        let application = claims.default_application.as_deref();
        if !callers.has_organization(organization) {
            report.refuse(
                path.key("jwt"),
                format!(
                    "{}: default_organization `{organization}` is unknown; write one of: {}",
                    issuer.issuer,
                    listed(callers.organizations())
                ),
            );
        } else if let Some(application) = application
            && !callers.has_application(organization, application)
        {
            report.refuse(
                path.key("jwt"),
                format!(
                    "{}: default_application `{application}` is unknown in `{organization}`; add it there",
                    issuer.issuer
                ),
            );
        }
    }
}

/// One issuer among several must not speak for the others' tenants, so with several each says whom it speaks for.
fn check_organizations(report: &mut Report, path: &KeyPath, auth: &Auth, callers: &Callers) {
    let known = || listed(callers.organizations());
    let unbound = auth.jwt.iter().filter(|issuer| issuer.organizations.is_none() && auth.jwt.len() > 1);
    let unbound: Vec<_> = unbound.map(|issuer| issuer.issuer.as_str()).collect();
    if !unbound.is_empty() {
        let message = format!(
            "{} could name any organisation, another issuer's too; write organizations: [those it may name, of {}] at each",
            unbound.join(" and "),
            known()
        );
        report.refuse(path.key("jwt"), message);
    }
    for issuer in &auth.jwt {
        let Some(organizations) = &issuer.organizations else { continue };
        let mut refuse =
            |message: String| report.refuse(path.key("jwt"), format!("{}: {message}", issuer.issuer));
        if organizations.is_empty() {
            refuse(format!(
                "organizations is empty, so every token would be refused; write some of: {}",
                known()
            ));
        }
        for name in organizations.iter().filter(|name| !callers.has_organization(name)) {
            refuse(format!("organizations names `{name}`, which is unknown; write some of: {}", known()));
        }
        if let Some(default) = &issuer.claims.default_organization
            && callers.has_organization(default)
            && !organizations.contains(default)
        {
            refuse(format!("default_organization `{default}` is not among its organizations; add it there"));
        }
    }
}

/// `jwks_file: ${NAME:-}` with nothing in NAME.
fn is_switched_off(raw: &raw::JwtIssuer) -> bool {
    raw.jwks_file.as_ref().is_some_and(|file| file.0.as_os_str().is_empty())
}

fn issuer(report: &mut Report, path: &KeyPath, raw: raw::JwtIssuer) -> JwtIssuer {
    if raw.issuer.is_empty() {
        report.refuse(path.key("issuer"), "is empty; write the tokens' iss claim");
    }
    if raw.audience.iter().all(String::is_empty) {
        report.refuse(
            path.key("audience"),
            "is empty, so tokens made for other applications would be accepted; write your client's id",
        );
    }
    let keys = match (raw.jwks_uri, raw.jwks_file) {
        (Some(_), Some(_)) => {
            report.refuse(path.key("jwks_file"), "stands beside jwks_uri; remove one of the two");
            KeySource::Discovery
        }
        (Some(uri), None) => {
            if let Err(message) = url::trustworthy(&uri) {
                report.refuse(path.key("jwks_uri"), message);
            }
            KeySource::Uri(uri)
        }
        (None, Some(file)) => KeySource::File(file.0),
        (None, None) => {
            if !raw.issuer.is_empty()
                && let Err(message) = url::trustworthy(&raw.issuer)
            {
                report.refuse(
                    path.key("issuer"),
                    format!("{message}; or say where the keys are: jwks_uri or jwks_file"),
                );
            }
            KeySource::Discovery
        }
    };
    let times = |secs| Duration::from_secs(secs);
    let refresh = report.time_within(&path.key("refresh"), raw.refresh, times(10), times(7 * 86_400));
    JwtIssuer {
        issuer: raw.issuer,
        audience: raw.audience,
        keys,
        algorithms: algorithms(report, &path.key("algorithms"), &raw.algorithms),
        typ: raw.typ,
        token_use: raw.token_use,
        leeway: report.time_within(&path.key("leeway"), raw.leeway, Duration::ZERO, times(300)),
        claims: claims(report, &path.key("claims"), raw.claims),
        organizations: raw.organizations.map(|names| names.into_iter().map(Into::into).collect()),
        refresh,
        min_refresh: report.time_within(&path.key("min_refresh"), raw.min_refresh, times(1), times(3600)),
        max_stale: report.time_within(
            &path.key("max_stale"),
            raw.max_stale,
            Duration::ZERO,
            times(30 * 86_400),
        ),
    }
}

fn algorithms(report: &mut Report, path: &KeyPath, names: &[String]) -> Vec<Algorithm> {
    let all = listed(ALGORITHMS.iter().map(|(name, _)| *name));
    if names.is_empty() {
        report.refuse(path.clone(), format!("is empty; write some of: {all}"));
    }
    let mut found = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        match ALGORITHMS.iter().find(|(known, _)| known == name) {
            Some((_, algorithm)) => found.push(*algorithm),
            None if name.starts_with("HS") || name.eq_ignore_ascii_case("none") => report.refuse(
                path.index(index),
                "lets whoever can read the keys make tokens and is never accepted; use an issuer with RS256 or ES256",
            ),
            None => report.refuse(path.index(index), format!("is unknown; write some of: {all}")),
        }
    }
    found
}

fn claims(report: &mut Report, path: &KeyPath, raw: raw::ClaimNames) -> ClaimNames {
    let names = [
        ("organization", &raw.organization),
        ("application", &raw.application),
        ("user", &raw.user),
        ("role", &raw.role),
    ];
    for (key, name) in names {
        if name.is_empty() {
            report.refuse(path.key(key), "is empty; write the claim's name");
        }
    }
    ClaimNames {
        organization: raw.organization,
        application: raw.application,
        user: raw.user,
        role: raw.role,
        roles: raw.roles,
        default_organization: raw.default_organization.map(Into::into),
        default_application: raw.default_application.map(Into::into),
    }
}
