use std::collections::HashMap;
use std::hash::Hasher;
use std::net::IpAddr;
use std::sync::Arc;

use tollgate_filters::limits::Shape;

use super::Ask;
use crate::config::{Limit, LimitScope, Name, Selector};

/// The limits of one configuration, arranged so that a request looks only at those that can hold for it: a thousand limits for a
/// thousand tenants cost each of them what one costs.
#[derive(Debug, Default)]
pub struct LimitRules {
    rules: Vec<Rule>,
    everywhere: Vec<usize>,
    /// By the narrowest field of their selectors.
    by_key: HashMap<Name, Vec<usize>>,
    by_user: HashMap<Name, Vec<usize>>,
    by_application: HashMap<Name, Vec<usize>>,
    by_team: HashMap<Name, Vec<usize>>,
    by_organization: HashMap<Name, Vec<usize>>,
    by_model: HashMap<Name, Vec<usize>>,
}

#[derive(Debug)]
pub(super) struct Rule {
    pub(super) id: Arc<str>,
    pub(super) scope: LimitScope,
    only: Selector,
    pub(super) requests: Option<Shape>,
    pub(super) tokens: Option<Shape>,
    pub(super) concurrency: Option<u64>,
}

impl LimitRules {
    pub fn new(limits: &[Limit]) -> LimitRules {
        let mut all = LimitRules::default();
        for (index, limit) in limits.iter().enumerate() {
            let only = &limit.only;
            let narrowest = [
                (&only.key, &mut all.by_key),
                (&only.user, &mut all.by_user),
                (&only.application, &mut all.by_application),
                (&only.team, &mut all.by_team),
                (&only.organization, &mut all.by_organization),
                (&only.model, &mut all.by_model),
            ];
            match narrowest.into_iter().find_map(|(name, map)| Some((name.as_ref()?, map))) {
                Some((name, map)) => map.entry(Arc::clone(name)).or_default().push(index),
                None => all.everywhere.push(index),
            }
            all.rules.push(Rule {
                id: Arc::clone(&limit.id),
                scope: limit.scope,
                only: limit.only.clone(),
                requests: limit.requests.map(|rate| Shape::new(rate.amount, rate.per, limit.burst)),
                tokens: limit.tokens.map(|rate| Shape::new(rate.amount, rate.per, limit.token_burst)),
                concurrency: limit.concurrency,
            });
        }
        all
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The limits that hold for this request.
    pub(super) fn holding<'r>(&'r self, ask: &Ask<'r>) -> impl Iterator<Item = &'r Rule> {
        let ask = *ask;
        let some = |map: &'r HashMap<Name, Vec<usize>>, name: Option<&str>| {
            if map.is_empty() { None } else { map.get(name?) }
        };
        let sets = [
            Some(&self.everywhere),
            some(&self.by_key, ask.key),
            some(&self.by_user, ask.user),
            some(&self.by_application, Some(ask.application)),
            some(&self.by_team, ask.team),
            some(&self.by_organization, Some(ask.organization)),
            some(&self.by_model, Some(ask.model)),
        ];
        let rules = sets.into_iter().flatten().flatten().map(|index| &self.rules[*index]);
        rules.filter(move |rule| matches(&rule.only, &ask))
    }
}

impl Rule {
    /// Feeds what tells this rule's buckets apart; `false` where the caller has no such thing (no user, no key).
    ///
    /// Users are told apart within their organisation, applications too; keys and models are names of the whole gateway.
    pub(super) fn identify(&self, ask: &Ask<'_>, hash: &mut impl Hasher) -> bool {
        let parts: [&str; 2] = match self.scope {
            LimitScope::Organization => [ask.organization, ""],
            LimitScope::Application => [ask.organization, ask.application],
            LimitScope::User => match ask.user {
                Some(user) => [ask.organization, user],
                None => return false,
            },
            LimitScope::Key => match ask.key {
                Some(key) => [key, ""],
                None => return false,
            },
            LimitScope::Model => [ask.model, ""],
            LimitScope::Address => ["", ""],
        };
        self.name(hash);
        for part in parts {
            hash.write_usize(part.len());
            hash.write(part.as_bytes());
        }
        if self.scope == LimitScope::Address {
            match ask.address.to_canonical() {
                IpAddr::V4(address) => hash.write_u32(address.to_bits()),
                IpAddr::V6(address) => hash.write_u128(address.to_bits() >> 64),
            }
        }
        true
    }

    /// Feeds what names the rule itself. The scope belongs to it: a limit that was per key and is now per user starts afresh.
    pub(super) fn name(&self, hash: &mut impl Hasher) {
        hash.write_usize(self.id.len());
        hash.write(self.id.as_bytes());
        hash.write_u8(self.scope as u8);
    }
}

fn matches(only: &Selector, ask: &Ask<'_>) -> bool {
    let fits = |wanted: &Option<Name>, has: Option<&str>| match wanted {
        Some(wanted) => has == Some(&**wanted),
        None => true,
    };
    fits(&only.organization, Some(ask.organization))
        && fits(&only.application, Some(ask.application))
        && fits(&only.user, ask.user)
        && fits(&only.key, ask.key)
        && fits(&only.model, Some(ask.model))
        && fits(&only.team, ask.team)
}
