//! `limits`, and the selectors that guardrails share.

use std::collections::BTreeSet;

use tollgate_filters::conf::KeyPath;

use super::super::{Limit, Name, Selector, raw};
use super::report::{Report, Unique, listed};
use super::tenants::Callers;
use super::upstreams::Names;

/// What a selector may refer to.
pub(super) struct Known<'a> {
    pub(super) callers: &'a Callers,
    pub(super) names: &'a Names,
    pub(super) teams: BTreeSet<Name>,
}

pub(super) fn limits(
    report: &mut Report,
    path: &KeyPath,
    raw: Vec<raw::Limit>,
    known: &Known<'_>,
) -> Vec<Limit> {
    let mut ids = Unique::new();
    raw.into_iter()
        .enumerate()
        .map(|(index, raw)| {
            let path = path.index(index);
            report.name(&path.key("id"), &raw.id);
            ids.insert(report, &path.key("id"), raw.id.clone(), "give every limit an id of its own");
            if raw.requests.is_none() && raw.tokens.is_none() && raw.concurrency.is_none() {
                report.refuse(
                    path.clone(),
                    "limits nothing; write requests: 100/min, tokens: 200k/min or concurrency: 32",
                );
            }
            if raw.burst.is_some() && raw.requests.is_none() {
                report.refuse(path.key("burst"), "needs requests; write requests: 100/min, or remove it");
            }
            if raw.token_burst.is_some() && raw.tokens.is_none() {
                report.refuse(path.key("token_burst"), "needs tokens; write tokens: 200k/min, or remove it");
            }
            Limit {
                id: raw.id.into(),
                scope: raw.scope,
                only: selector(report, &path.key("only"), raw.only, known),
                requests: raw.requests,
                burst: raw.burst,
                tokens: raw.tokens,
                token_burst: raw.token_burst,
                concurrency: raw.concurrency,
            }
        })
        .collect()
}

pub(super) fn selector(
    report: &mut Report,
    path: &KeyPath,
    raw: raw::Selector,
    known: &Known<'_>,
) -> Selector {
    let callers = known.callers;
    let mut check = |key: &str, what: &str, name: &Option<String>, found: bool, all: String| {
        if let Some(name) = name
            && !found
        {
            report.refuse(path.key(key), format!("`{name}` is no {what} here; write one of: {all}"));
        }
    };
    if let Some(organization) = &raw.organization {
        let found = callers.has_organization(organization);
        check("organization", "organisation", &raw.organization, found, listed(callers.organizations()));
    }
    if let Some(application) = &raw.application {
        let found = match &raw.organization {
            // An unknown organisation is reported on its own.
            Some(organization) if callers.has_organization(organization) => {
                callers.has_application(organization, application)
            }
            Some(_) => true,
            None => callers.has_application_anywhere(application),
        };
        check("application", "application", &raw.application, found, listed(callers.applications()));
    }
    if let Some(key) = &raw.key {
        check("key", "API key", &raw.key, callers.has_key(key), listed(callers.keys()));
    }
    if let Some(team) = &raw.team {
        let found = known.teams.iter().any(|known| **known == **team);
        check("team", "team route", &raw.team, found, listed(known.teams.iter().map(|team| &**team)));
    }
    if let Some(model) = &raw.model {
        known.names.check(report, &path.key("model"), model);
    }
    Selector {
        organization: raw.organization.map(Into::into),
        application: raw.application.map(Into::into),
        user: raw.user.map(Into::into),
        key: raw.key.map(Into::into),
        model: raw.model.map(Into::into),
        team: raw.team.map(Into::into),
    }
}
