//! `guardrails`: profile, overrides, rules.

use std::collections::BTreeSet;

use tollgate_filters::conf::{KeyPath, Secret};
use tollgate_filters::policy::labels_allow;
use tollgate_filters::scan::injection::{self, InjectionSpec};
use tollgate_filters::scan::request::Identifiers;
use tollgate_filters::scan::{Action, Direction, Profile, RuleSpec, Rules, Treatment};

use super::super::{
    GuardFailed, GuardrailOverride, Guardrails, Labels, MAX_OVERRIDES, Model, Provider, Shadowed, Target, raw,
};
use super::limits::{Known, selector};
use super::report::{Report, Unique, listed};

/// Every kind that is not named, in a profile.
const ANY_KIND: &str = "*";

/// Kinds of the design; a file may name them whichever rules this build brings.
const KINDS: [&str; 8] =
    ["email", "phone", "ssn", "credit_card", "ip_address", "iban", "secret", injection::KIND];

/// Ids and kinds of all rules.
struct Catalogue {
    ids: BTreeSet<String>,
    kinds: BTreeSet<String>,
}

/// Everything that can serve a request.
pub(super) struct Fleet<'a> {
    pub(super) models: &'a [Model],
    pub(super) providers: &'a [Provider],
}

pub(super) fn guardrails(
    report: &mut Report,
    path: &KeyPath,
    raw: raw::Guardrails,
    profiles: &[Profile],
    (rules, signals): (Vec<Vec<RuleSpec>>, Vec<InjectionSpec>),
    known: &Known<'_>,
    fleet: &Fleet<'_>,
) -> Guardrails {
    let builtin = Rules::builtin_specs();
    check_rules(report, path, &raw, &builtin, (&rules, &signals));
    let all = || builtin.iter().chain(rules.iter().flatten());
    let catalogue = Catalogue {
        ids: all().map(|rule| rule.id.clone()).collect(),
        kinds: KINDS.map(String::from).into_iter().chain(all().map(|rule| rule.kind.clone())).collect(),
    };
    for (index, profile) in profiles.iter().enumerate() {
        let at = path.key("profiles").index(index);
        for kind in profile.request.keys().chain(profile.answer.keys()).filter(|kind| *kind != ANY_KIND) {
            catalogue.check_kind(report, &at, kind);
        }
        for rule in profile.rules.keys() {
            catalogue.check_rule(report, &at, rule);
        }
        if profile.request.contains_key(injection::KIND) || profile.answer.contains_key(injection::KIND) {
            let message =
                "names prompt_injection as a kind; write prompt_injection: {action: …} beside request";
            report.refuse(at.clone(), message);
        }
        if let Some(problem) = profile.prompt_injection.problem() {
            report.refuse(at.key("prompt_injection"), problem);
        }
        let of_rules = profile.rules.values().filter_map(|rule| rule.answer.as_ref());
        if profile.answer.values().chain(of_rules).any(|treatment| !treatment.require().is_empty()) {
            report.refuse(
                at.clone(),
                "demands labels of answers, which have their target already; write them under request",
            );
        }
    }
    let mut profile = profile(report, path, &raw.profile, profiles);
    if let Some(decode) = raw.decode {
        profile.decode = decode;
    }
    fleet.check_profile(report, &path.key("profile"), &profile);
    if raw.overrides.len() > MAX_OVERRIDES {
        let message = format!(
            "has {} entries, and {MAX_OVERRIDES} are the most; let one entry speak for more callers",
            raw.overrides.len()
        );
        report.refuse(path.key("overrides"), message);
    }
    let mut overrides = Vec::with_capacity(raw.overrides.len());
    for (index, raw) in raw.overrides.into_iter().enumerate() {
        let path = path.key("overrides").index(index);
        overrides.push(override_of(report, &path, raw, &catalogue, known, fleet));
    }
    let needs_key = if uses_pseudonyms(&profile, &overrides) {
        Some("an action is `pseudonymise`")
    } else {
        (raw.identifiers == Identifiers::Hash).then_some("identifiers are hashed")
    };
    let pseudonym_key = pseudonym_key(report, path, raw.pseudonym_key, needs_key);
    Guardrails {
        profile,
        overrides,
        rules: rules.into_iter().flatten().collect(),
        injection_signals: signals,
        max_hold_bytes: raw.max_hold_bytes,
        show_values: raw.show_values,
        pseudonym_key,
        look_alike: raw.look_alike.into(),
        identifiers: raw.identifiers,
        failed: GuardFailed {
            code: raw.failed.code,
            message: raw.failed.message.filter(|text| !text.is_empty()),
        },
    }
}

fn pseudonym_key(
    report: &mut Report,
    path: &KeyPath,
    key: Option<Secret>,
    needed: Option<&str>,
) -> Option<Secret> {
    let path = path.key("pseudonym_key");
    let key = key.filter(|key| !key.is_empty());
    if let (None, Some(why)) = (&key, needed) {
        let message =
            format!("is missing, and {why}; write pseudonym_key: \"${{NAME}}\" (openssl rand -hex 32)");
        report.refuse(path, message);
    } else if key.as_ref().is_some_and(|key| key.expose().len() < 32) {
        report.refuse(path, "is too short; write at least 32 characters: openssl rand -hex 32");
    }
    key
}

fn profile(report: &mut Report, path: &KeyPath, name: &str, own: &[Profile]) -> Profile {
    let mut names = Unique::new();
    for (index, profile) in own.iter().enumerate() {
        let at = path.key("profiles").index(index);
        if Profile::NAMES.contains(&profile.name.as_str()) {
            report.refuse(at.clone(), format!("`{}` is a built-in profile; rename yours", profile.name));
        }
        names.insert(report, &at, profile.name.clone(), "profiles need names of their own");
    }
    let all = listed(Profile::NAMES.into_iter().chain(own.iter().map(|profile| profile.name.as_str())));
    let found = own.iter().find(|profile| profile.name == name).cloned();
    found.or_else(|| Profile::builtin(name)).unwrap_or_else(|| {
        report.refuse(path.key("profile"), format!("`{name}` is no profile; write one of: {all}"));
        Profile::builtin(Profile::NAMES[0]).expect("the first built-in profile exists")
    })
}

/// Compiles only where there is something the built-in rules' own tests do not cover.
fn check_rules(
    report: &mut Report,
    path: &KeyPath,
    raw: &raw::Guardrails,
    builtin: &[RuleSpec],
    (files, signals): (&[Vec<RuleSpec>], &[InjectionSpec]),
) {
    let at = path.key("rules");
    let mut ids: BTreeSet<&str> = builtin.iter().map(|rule| rule.id.as_str()).collect();
    let mut fresh = true;
    for (index, rule) in
        files.iter().enumerate().flat_map(|(i, rules)| rules.iter().map(move |rule| (i, rule)))
    {
        if !ids.insert(&rule.id) {
            fresh = false;
            report.refuse(
                at.index(index),
                format!("rule `{}` exists already; give it an id of its own", rule.id),
            );
        }
    }
    let own = !files.is_empty() || !signals.is_empty();
    if !fresh || (!own && raw.max_hold_bytes == raw::Guardrails::default().max_hold_bytes) {
        return;
    }
    let specs: Vec<_> = builtin.iter().chain(files.iter().flatten()).cloned().collect();
    let file_of = |id: &str| {
        let of_rules = files.iter().position(|rules| rules.iter().any(|rule| rule.id == id));
        let of_signals =
            || signals.iter().rposition(|spec| spec.signals.iter().any(|signal| signal.id == id));
        match of_rules {
            Some(index) => at.index(index),
            None => of_signals().map_or_else(
                || path.key("max_hold_bytes"),
                |index| path.key("injection_signals").index(index),
            ),
        }
    };
    match Rules::compile_with(&specs, signals) {
        Ok(rules) => {
            for (_, rule) in rules.infos().filter(|(_, rule)| rule.max_hold > raw.max_hold_bytes) {
                report.refuse(
                    file_of(&rule.id),
                    format!(
                        "rule `{}` may hold back {} bytes of a stream, more than max_hold_bytes: {}; bound its repeats or raise that",
                        rule.id, rule.max_hold, raw.max_hold_bytes
                    ),
                );
            }
            // The built-in ones do what theirs say, as a test shows.
            let own: Vec<RuleSpec> = files.iter().flatten().cloned().collect();
            for error in rules.check(&own).into_iter().chain(rules.check_signals(signals)) {
                report.refuse(file_of(&error.rule), error.to_string());
            }
        }
        Err(errors) => {
            for error in errors {
                report.refuse(file_of(&error.rule), error.to_string());
            }
        }
    }
}

fn override_of(
    report: &mut Report,
    path: &KeyPath,
    raw: raw::Override,
    catalogue: &Catalogue,
    known: &Known<'_>,
    fleet: &Fleet<'_>,
) -> GuardrailOverride {
    match (&raw.kind, &raw.rule) {
        (None, None) => {
            report.refuse(path.clone(), "names neither kind nor rule; write kind: email, or rule: ID")
        }
        (Some(_), Some(_)) => report.refuse(path.key("rule"), "stands beside kind; remove one of the two"),
        (Some(kind), None) => catalogue.check_kind(report, &path.key("kind"), kind),
        (None, Some(rule)) => catalogue.check_rule(report, &path.key("rule"), rule),
    }
    if raw.kind.as_deref() == Some(injection::KIND) {
        if raw.action.is_some_and(|action| !injection::is_possible(action))
            || matches!(raw.shadow, Some(Shadowed::Mask | Shadowed::Pseudonymise))
        {
            let message = "prompt_injection cannot be replaced; write off, log, shadow or block";
            report.refuse(path.key("action"), message);
        }
        if raw.require.is_some() {
            report.refuse(path.key("require"), "prompt_injection demands no labels; remove it");
        }
    }
    let action = match (raw.action, raw.shadow) {
        (Some(action), Some(_)) if action != Action::Shadow => {
            report.refuse(path.key("shadow"), "stands beside action; remove one of the two");
            Some(Treatment::new(action))
        }
        (_, Some(shadow)) => Some(Treatment::shadow(match shadow {
            Shadowed::Mask => Action::Mask,
            Shadowed::Pseudonymise => Action::Pseudonymise,
            Shadowed::Block => Action::Block,
        })),
        (action, None) => action.map(Treatment::new),
    };
    let require: Option<Labels> = raw
        .require
        .map(|labels| labels.into_iter().map(|(name, raw::LabelText(text))| (name, text)).collect());
    match &require {
        None if action.is_none() => report.refuse(
            path.clone(),
            "says nothing; write action: mask, shadow: block or require: {LABEL: VALUE}",
        ),
        Some(_) if raw.direction == Some(Direction::Answer) => report.refuse(
            path.key("require"),
            "demands labels of answers, which have their target already; write direction: request",
        ),
        Some(labels) => fleet.check(report, &path.key("require"), labels),
        None => {}
    }
    GuardrailOverride {
        only: selector(report, &path.key("only"), raw.only, known),
        kind: raw.kind,
        rule: raw.rule,
        direction: raw.direction,
        action,
        require,
    }
}

fn uses_pseudonyms(profile: &Profile, overrides: &[GuardrailOverride]) -> bool {
    let of_rules =
        profile.rules.values().flat_map(|rule| [rule.request.as_ref(), rule.answer.as_ref()]).flatten();
    let of_kinds = profile.request.values().chain(profile.answer.values());
    // An answer is never pseudonymised on its own account; its pseudonyms come from the request.
    let of_overrides = overrides.iter().filter(|entry| entry.direction != Some(Direction::Answer));
    let of_overrides = of_overrides.filter_map(|entry| entry.action.as_ref());
    of_kinds.chain(of_rules).chain(of_overrides).any(|treatment| treatment.action() == Action::Pseudonymise)
}

impl Fleet<'_> {
    /// Labels that no target carries are a slip of the pen: every request with such a finding would fail.
    fn check(&self, report: &mut Report, path: &KeyPath, labels: &Labels) {
        let carries = |target: &Target, labels: &Labels| {
            let provider = self.providers.iter().find(|provider| provider.id == target.provider);
            // An unknown provider is reported on its own.
            provider.is_none_or(|provider| labels_allow(labels, &[&target.labels, &provider.labels]))
        };
        let targets = || self.models.iter().flat_map(|model| model.targets.iter().chain(&model.fallback));
        if !labels.is_empty() && !targets().any(|target| carries(target, labels)) {
            let wanted: Vec<String> = labels.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            report.refuse(
                path.clone(),
                format!(
                    "demands {{{}}}, which no target carries; add the labels to a provider or target that has them",
                    wanted.join(", ")
                ),
            );
        }
    }

    fn check_profile(&self, report: &mut Report, path: &KeyPath, profile: &Profile) {
        let of_rules = profile.rules.values().filter_map(|rule| rule.request.as_ref());
        let mut seen = BTreeSet::new();
        for treatment in profile.request.values().chain(of_rules) {
            if seen.insert(treatment.require()) {
                self.check(report, path, treatment.require());
            }
        }
    }
}

impl Catalogue {
    fn check_kind(&self, report: &mut Report, path: &KeyPath, kind: &str) {
        if !self.kinds.contains(kind) {
            let all = listed(self.kinds.iter().map(String::as_str));
            report.refuse(path.clone(), format!("`{kind}` is no kind of finding; write one of: {all}"));
        }
    }

    fn check_rule(&self, report: &mut Report, path: &KeyPath, rule: &str) {
        if !self.ids.contains(rule) {
            let all = listed(self.ids.iter().map(String::as_str));
            report.refuse(path.clone(), format!("`{rule}` is no rule; write one of: {all}"));
        }
    }
}
