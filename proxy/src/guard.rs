//! Which guardrail actions hold for whom: the profile, and over it the overrides that match a caller, the narrowest last.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tollgate_filters::answer::KeptText;
use tollgate_filters::identity::Caller;
use tollgate_filters::scan::injection;
use tollgate_filters::scan::request::{self, Identifiers};
use tollgate_filters::scan::{
    Action, Direction, Masker, Policy, Profile, PseudonymKey, RuleError, RuleInfo, RuleSpec, Rules, Switches,
    Treatment,
};
use tollgate_filters::verdict::{Code, Rejection};

use crate::config::{FailedCode, GuardrailOverride, Guardrails, Selector};

/// Codes that ask for another try name a time for it.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Sets of overrides that were resolved, kept; past this many, they are resolved anew each time.
const MAX_RESOLVED: usize = 1024;

/// Resolved actions of both directions.
#[derive(Debug, Clone)]
pub(crate) struct Policies {
    pub(crate) request: Arc<Policy>,
    pub(crate) answer: Arc<Policy>,
    /// Some values reach the client as they are: a rule only records them, or the caller had said them (echo, pseudonyms). What
    /// the client may read, the audit trail may not: this finds whatever is looked for.
    shown: Option<Arc<Policy>>,
}

/// All compiled rules, and who gets which actions.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) rules: Arc<Rules>,
    config: Guardrails,
    version: String,
    everyone: Policies,
    /// Keyed by the indices of the overrides that match; there are [`MAX_OVERRIDES`](crate::config::MAX_OVERRIDES) at most.
    resolved: RwLock<HashMap<Vec<u16>, Policies>>,
}

/// A caller, as far as it is known, and what is asked: by what overrides are chosen. What is not known matches no entry that
/// names it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Whom<'a> {
    pub organization: Option<&'a str>,
    pub application: Option<&'a str>,
    pub user: Option<&'a str>,
    /// Id of an API key.
    pub key: Option<&'a str>,
    pub model: Option<&'a str>,
    pub team: Option<&'a str>,
}

impl Whom<'_> {
    fn matches(&self, selector: &Selector) -> bool {
        let is = |wanted: &Option<Arc<str>>, has: Option<&str>| match wanted {
            None => true,
            Some(wanted) => has == Some(&**wanted),
        };
        is(&selector.organization, self.organization)
            && is(&selector.application, self.application)
            && is(&selector.user, self.user)
            && is(&selector.key, self.key)
            && is(&selector.model, self.model)
            && is(&selector.team, self.team)
    }
}

/// A profile with the overrides that hold for somebody, the narrowest last.
#[derive(Debug)]
pub struct Applied<'a> {
    profile: &'a Profile,
    overrides: Vec<&'a GuardrailOverride>,
}

impl<'a> Applied<'a> {
    /// Of `entries`, in the order of the file, those that hold for `whom`.
    pub fn to(profile: &'a Profile, entries: &'a [GuardrailOverride], whom: &Whom<'_>) -> Applied<'a> {
        Applied::by(profile, entries.iter().filter(|entry| whom.matches(&entry.only)).collect())
    }

    /// `overrides` in the order of the file.
    fn by(profile: &'a Profile, mut overrides: Vec<&'a GuardrailOverride>) -> Applied<'a> {
        // Stable: of two equally narrow overrides the later one in the file wins.
        overrides.sort_by_key(|entry| narrowness(&entry.only));
        Applied { profile, overrides }
    }

    /// What is done about a rule.
    pub fn treatment(&self, rule: &RuleInfo, direction: Direction) -> Treatment {
        let applies = |entry: &&&GuardrailOverride| {
            entry.kind.as_deref().is_none_or(|kind| kind == &*rule.kind)
                && entry.rule.as_deref().is_none_or(|id| id == &*rule.id)
                && entry.direction.is_none_or(|wanted| wanted == direction)
        };
        let widest = self.profile.treatment(rule, direction);
        self.overrides
            .iter()
            .filter(applies)
            .fold(widest, |wider, entry| wider.narrowed(entry.action.as_ref(), entry.require.as_ref()))
    }

    /// The rest of the profile.
    pub fn switches(&self) -> Switches {
        // Scored by text, not found by a rule: an override names its kind.
        let injection = self.overrides.iter().rev().find(|entry| {
            entry.kind.as_deref() == Some(injection::KIND) && entry.direction != Some(Direction::Answer)
        });
        let mut switches = self.profile.switches();
        if let Some(treatment) = injection.and_then(|entry| entry.action.as_ref()) {
            switches.injection = switches.injection.with_action(treatment.action());
        }
        switches
    }
}

/// What a guardrail override is matched against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) model: &'a str,
    pub(crate) team: Option<&'a str>,
}

impl Subject<'_> {
    /// Whether every field that the selector names is this subject's.
    pub(crate) fn matches(&self, selector: &Selector) -> bool {
        let whom = Whom {
            organization: Some(&self.caller.organization),
            application: Some(&self.caller.application),
            user: self.caller.user.as_deref(),
            key: self.caller.key_id.as_deref(),
            model: Some(self.model),
            team: self.team,
        };
        whom.matches(selector)
    }
}

/// Key beats user beats application beats organisation; a model or a team narrows any of them.
fn narrowness(selector: &Selector) -> u32 {
    let weigh = |field: &Option<Arc<str>>, weight: u32| if field.is_some() { weight } else { 0 };
    weigh(&selector.key, 32)
        + weigh(&selector.user, 16)
        + weigh(&selector.application, 8)
        + weigh(&selector.organization, 4)
        + weigh(&selector.team, 2)
        + weigh(&selector.model, 1)
}

impl Guard {
    pub(crate) fn build(config: &Guardrails) -> Result<Guard, Vec<RuleError>> {
        let mut specs = Rules::builtin_specs();
        specs.extend(config.rules.iter().cloned());
        let rules = Arc::new(Rules::compile_with(&specs, &config.injection_signals)?);
        let config = config.clone();
        let everyone = resolve(&rules, &config, &[]);
        let version = version(&specs, &config);
        Ok(Guard { rules, config, version, everyone, resolved: RwLock::default() })
    }

    /// The actions for this subject.
    pub(crate) fn policies(&self, subject: Subject<'_>) -> Policies {
        if self.config.overrides.is_empty() {
            return self.everyone.clone();
        }
        let matching: Vec<u16> = (0u16..)
            .zip(&self.config.overrides)
            .filter(|(_, entry)| subject.matches(&entry.only))
            .map(|(index, _)| index)
            .collect();
        if matching.is_empty() {
            return self.everyone.clone();
        }
        if let Some(known) = self.resolved.read().get(&matching) {
            return known.clone();
        }
        let fresh = resolve(&self.rules, &self.config, &matching);
        let mut resolved = self.resolved.write();
        if resolved.len() < MAX_RESOLVED {
            resolved.insert(matching, fresh.clone());
        }
        fresh
    }

    /// An answer's text as the audit trail may hold it: what was masked is masked already; what the client got to see is taken out,
    /// and so is what of a value stands at a cut.
    pub(crate) fn redact(&self, policies: &Policies, masker: &Masker, kept: KeptText<'_>) -> String {
        kept.redacted(masker, &self.rules, policies.shown.as_deref())
    }

    /// Changes whenever a rule, the profile or an override does: what audit events name.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// How requests are screened.
    pub(crate) fn options(&self) -> request::Options {
        request::Options { show_values: self.config.show_values, identifiers: self.config.identifiers }
    }

    /// The memory of a request of this organisation, with its key where something needs one.
    pub(crate) fn masker(&self, policies: &Policies, organization: &str) -> Masker {
        let needed =
            policies.request.has(Action::Pseudonymise) || self.config.identifiers == Identifiers::Hash;
        match self.config.pseudonym_key.as_ref().filter(|_| needed) {
            Some(secret) => Masker::new()
                .with_pseudonyms(PseudonymKey::derive(secret.expose().as_bytes(), organization))
                .with_look_alikes(Arc::clone(&self.config.look_alike)),
            None => Masker::new(),
        }
    }

    /// How an id of this caller is written down: as the upstream gets it.
    pub(crate) fn id(&self, organization: &str, id: String) -> String {
        match (self.config.identifiers, &self.config.pseudonym_key) {
            (Identifiers::Hash, Some(secret)) => {
                PseudonymKey::derive(secret.expose().as_bytes(), organization).identifier(&id)
            }
            _ => id,
        }
    }

    /// What the client is told of a guard that could not do its work. Other rejections stay what they are.
    pub(crate) fn failed(&self, rejection: Rejection) -> Rejection {
        if rejection.code != Code::GuardrailFailed {
            return rejection;
        }
        let code = match self.config.failed.code {
            FailedCode::GuardrailFailed => Code::GuardrailFailed,
            FailedCode::UpstreamError => Code::UpstreamError,
            FailedCode::Overloaded => Code::Overloaded,
            FailedCode::NoUpstream => Code::NoUpstream,
        };
        let told = Rejection::new(code, self.config.failed.message.clone().unwrap_or(rejection.message));
        match code {
            Code::Overloaded | Code::NoUpstream => told.with_retry_after(RETRY_AFTER),
            _ => told,
        }
    }
}

fn version(specs: &[RuleSpec], config: &Guardrails) -> String {
    // Debug forms are enough: they change when the values do, and nothing outside compares them.
    let text = format!("{specs:?}{:?}{:?}{:?}", config.injection_signals, config.profile, config.overrides);
    blake3::hash(text.as_bytes()).to_hex().chars().take(12).collect()
}

fn resolve(rules: &Rules, config: &Guardrails, matching: &[u16]) -> Policies {
    let overrides = matching.iter().map(|index| &config.overrides[usize::from(*index)]).collect();
    let applied = Applied::by(&config.profile, overrides);
    let policy = |direction: Direction| {
        Arc::new(rules.policy_by(direction, |rule| applied.treatment(rule, direction), applied.switches()))
    };
    let answer = policy(Direction::Answer);
    let lets_through = |action| matches!(action, Action::Log | Action::Shadow | Action::Pseudonymise);
    let shows = answer.switches().echo || rules.infos().any(|(id, _)| lets_through(answer.action(id)));
    let shown = shows.then(|| {
        let action = |rule: &RuleInfo| match applied.treatment(rule, Direction::Answer).action() {
            Action::Off => Action::Off,
            _ => Action::Mask,
        };
        Arc::new(rules.policy(Direction::Answer, action, applied.switches()))
    });
    Policies { request: policy(Direction::Request), answer, shown }
}

#[cfg(test)]
mod tests {
    use tollgate_filters::answer::Spelling;

    use super::*;
    use crate::config::GuardFailed;

    fn guard(profile: &str) -> Guard {
        let config = Guardrails {
            profile: Profile::builtin(profile).expect("built in"),
            overrides: Vec::new(),
            rules: Vec::new(),
            injection_signals: Vec::new(),
            max_hold_bytes: 320,
            show_values: false,
            pseudonym_key: None,
            look_alike: Arc::default(),
            identifiers: Identifiers::Pass,
            failed: GuardFailed { code: FailedCode::default(), message: None },
        };
        Guard::build(&config).expect("compiles")
    }

    fn redact(guard: &Guard, spelling: Spelling, text: &str) -> String {
        guard.redact(&guard.everyone, &Masker::new(), KeptText { text, spelling })
    }

    #[test]
    fn what_is_only_recorded_is_kept_out_of_the_audit_trail() {
        let coding = guard("coding"); // logs e-mail addresses
        for (spelling, text, want) in [
            (Spelling::Plain, "Ask alice@corp.com or bob@corp.com.", "Ask [EMAIL] or [EMAIL]."),
            (Spelling::Json, r#"{"to":"alice\u0040corp.com\n"}"#, r#"{"to":"[EMAIL]\n"}"#),
        ] {
            assert_eq!(redact(&coding, spelling, text), want);
        }
        for cut in [
            "Ask alice@corp-sec",
            "Ask alice@corp.com or bob@co",
            "Call +1 415 555 26",
            "4111 1111 1111",
            "ghp_0123456789abc",
        ] {
            let escaped: String = cut.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
            // The last one ends in a half of an escape.
            for (spelling, text) in [
                (Spelling::Plain, cut),
                (Spelling::Json, cut),
                (Spelling::Json, &escaped[..escaped.len() - 3]),
            ] {
                let redacted = redact(&coding, spelling, text);
                assert!(redacted.ends_with(']') && !redacted.contains("@co"), "{text} -> {redacted}");
            }
        }
        let strict = guard("strict"); // has masked them before
        assert_eq!(redact(&strict, Spelling::Plain, "Ask [EMAIL_1]."), "Ask [EMAIL_1].");
    }

    #[test]
    fn an_override_says_what_is_done_about_injections() {
        let mut config = guard("strict").config;
        let entry = |direction| GuardrailOverride {
            only: Selector::default(),
            kind: Some(injection::KIND.to_owned()),
            rule: None,
            direction,
            action: Some(Treatment::new(Action::Block)),
            require: None,
        };
        config.overrides = vec![entry(Some(Direction::Answer))];
        let answers_only = Guard::build(&config).expect("compiles");
        let logged = resolve(&answers_only.rules, &config, &[0]).request;
        assert_eq!(logged.switches().injection.action, Action::Log);
        config.overrides = vec![entry(None)];
        let blocked = resolve(&answers_only.rules, &config, &[0]).request;
        assert_eq!(blocked.switches().injection.action, Action::Block);
    }
}
