//! Profiles: readable sets of actions, `strict`, `chat` and `coding` built in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::injection::InjectionPolicy;
use super::{Action, Direction, Escape, Escapes, RuleInfo, Switches, Treatment};

/// What is left alone although it has the form of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Exemption {
    /// 127.0.0.0/8, ::1, unspecified and broadcast addresses.
    LoopbackAddresses,
    /// RFC 1918, RFC 6598, link-local, unique local and multicast addresses.
    PrivateAddresses,
    /// RFC 5737, RFC 3849 and RFC 9637 addresses.
    DocumentationAddresses,
    /// Addresses at example.com, .net, .org, and the top-level domains of RFC 2606 and RFC 6762.
    ExampleDomains,
    /// At any domain: `git` (as in `git@github.com`), `no-reply`, and whatever begins with `noreply`; and all addresses under
    /// `users.noreply.github.com`.
    CodeHostAddresses,
}

/// A readable set of actions by kind and direction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    pub name: String,
    /// For people: what the profile is for.
    #[serde(default)]
    pub about: String,
    /// Action per kind in requests; the key `*` is for every kind not named.
    pub request: BTreeMap<String, Treatment>,
    /// Action per kind in answers.
    pub answer: BTreeMap<String, Treatment>,
    /// Actions of single rules, stronger than their kind's.
    #[serde(default)]
    pub rules: BTreeMap<String, RuleActions>,
    /// What is left alone although it has the form of a finding.
    #[serde(default)]
    pub exempt: Vec<Exemption>,
    /// In answers: a value that the request carried is not masked again.
    #[serde(default)]
    pub echo: bool,
    /// Escapes that are looked through, beside the text as it is: `html`, `percent`.
    #[serde(default)]
    pub decode: Vec<Escape>,
    /// In requests: what is done about prompt injections.
    #[serde(default)]
    pub prompt_injection: InjectionPolicy,
}

/// Actions of one rule.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleActions {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Treatment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Treatment>,
}

const BUILTIN: [(&str, &str); 3] = [
    ("strict", include_str!("../../../conf/profiles/strict.yaml")),
    ("chat", include_str!("../../../conf/profiles/chat.yaml")),
    ("coding", include_str!("../../../conf/profiles/coding.yaml")),
];

impl Profile {
    /// Names of the built-in profiles.
    pub const NAMES: [&str; 3] = ["strict", "chat", "coding"];

    /// The built-in profile of this name.
    pub fn builtin(name: &str) -> Option<Profile> {
        let (_, text) = BUILTIN.iter().find(|(builtin, _)| *builtin == name)?;
        Some(Profile::parse(text).expect("built-in profiles parse, as a test shows"))
    }

    /// Reads a profile file.
    pub fn parse(yaml: &str) -> Result<Profile, String> {
        serde_saphyr::from_str(yaml).map_err(|e| e.to_string())
    }

    /// What is done about `rule` in `direction`: the rule's own entry, else its kind's, else that of `*`, else nothing.
    pub fn treatment(&self, rule: &RuleInfo, direction: Direction) -> Treatment {
        let own = self.rules.get(&*rule.id);
        let (own, kinds) = match direction {
            Direction::Request => (own.and_then(|r| r.request.as_ref()), &self.request),
            Direction::Answer => (own.and_then(|r| r.answer.as_ref()), &self.answer),
        };
        let found = own.or_else(|| kinds.get(&*rule.kind)).or_else(|| kinds.get("*"));
        found.cloned().unwrap_or_else(|| Treatment::new(Action::Off))
    }

    pub fn switches(&self) -> Switches {
        Switches {
            exempt: self.exempt.clone(),
            echo: self.echo,
            decode: Escapes::new(&self.decode),
            injection: self.prompt_injection,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builtin_profiles_parse_and_bear_their_names() {
        for name in Profile::NAMES {
            assert_eq!(Profile::builtin(name).expect("is built in").name, name);
        }
        assert!(Profile::builtin("lax").is_none());
    }
}
