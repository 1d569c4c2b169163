//! What a profile or an override says about a kind or a rule: an action, what a shadow stands for, labels that are demanded.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Action;

/// Labels that a target must carry, by name.
pub type Demands = BTreeMap<String, String>;

/// Everything that is done about one rule's findings.
///
/// In a file it is an action (`mask`), or `{action: mask, require: {on_premises: true}}`, or `{shadow: block}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Treatment {
    action: Action,
    /// What would be done; there if the action is [`Action::Shadow`], and only then.
    would: Option<Action>,
    require: Demands,
}

impl Treatment {
    pub fn new(action: Action) -> Treatment {
        let would = (action == Action::Shadow).then_some(Action::Mask);
        Treatment { action, would, require: Demands::new() }
    }

    /// Decides as `would` does, and changes nothing.
    pub fn shadow(would: Action) -> Treatment {
        Treatment { action: Action::Shadow, would: Some(would), require: Demands::new() }
    }

    /// Also demands labels of every target that the request may go to. What was not looked for is then logged.
    #[must_use]
    pub fn requiring(mut self, require: Demands) -> Treatment {
        if self.action == Action::Off && !require.is_empty() {
            self.action = Action::Log;
        }
        self.require = require;
        self
    }

    /// This treatment, changed by a narrower one that need not say everything. `off` alone also lifts what was demanded.
    #[must_use]
    pub fn narrowed(self, action: Option<&Treatment>, require: Option<&Demands>) -> Treatment {
        let kept = match (require, action) {
            (Some(require), _) => require.clone(),
            (None, Some(treatment)) if treatment.action == Action::Off => Demands::new(),
            (None, _) => self.require.clone(),
        };
        action.cloned().unwrap_or(self).requiring(kept)
    }

    pub fn action(&self) -> Action {
        self.action
    }

    pub fn would(&self) -> Option<Action> {
        self.would
    }

    pub fn require(&self) -> &Demands {
        &self.require
    }
}

impl From<Action> for Treatment {
    fn from(action: Action) -> Treatment {
        Treatment::new(action)
    }
}

/// A label's value: `true` and `2` are the texts `true` and `2`.
#[derive(Debug)]
struct LabelText(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    action: Option<Word>,
    shadow: Option<Word>,
    #[serde(default)]
    require: BTreeMap<String, LabelText>,
}

/// An action, however YAML reads the word: `off` is false to some.
struct Word(Action);

impl<'de> Deserialize<'de> for Treatment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Treatment, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Treatment;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "an action such as mask, or {action: mask, require: {LABEL: VALUE}}, or {shadow: block}",
                )
            }

            fn visit_bool<E: Error>(self, word: bool) -> Result<Treatment, E> {
                word_of_bool(word).map(Treatment::new)
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<Treatment, E> {
                Action::deserialize(StrDeserializer::new(word)).map(Treatment::new)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Treatment, A::Error> {
                let written = Written::deserialize(MapAccessDeserializer::new(map))?;
                let base = match (written.action, written.shadow) {
                    (Some(Word(Action::Shadow)) | None, Some(Word(would))) => {
                        if matches!(would, Action::Off | Action::Log | Action::Shadow) {
                            return Err(A::Error::custom(
                                "shadow needs what would be done: mask, pseudonymise or block",
                            ));
                        }
                        Treatment::shadow(would)
                    }
                    (Some(_), Some(_)) => {
                        return Err(A::Error::custom("action stands beside shadow; remove one of the two"));
                    }
                    (Some(Word(action)), None) => Treatment::new(action),
                    (None, None) if written.require.is_empty() => {
                        return Err(A::Error::custom("says nothing; write action, shadow or require"));
                    }
                    (None, None) => Treatment::new(Action::Log),
                };
                if base.action == Action::Off && !written.require.is_empty() {
                    return Err(A::Error::custom(
                        "require needs the finding, and off does not look for it; write action: log",
                    ));
                }
                let require = written.require.into_iter().map(|(name, LabelText(value))| (name, value));
                Ok(base.requiring(require.collect()))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

fn word_of_bool<E: Error>(word: bool) -> Result<Action, E> {
    if word { Err(E::custom("on is no action; write log, mask or block")) } else { Ok(Action::Off) }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Word, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Word;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("off, log, shadow, mask, pseudonymise or block")
            }

            fn visit_bool<E: Error>(self, word: bool) -> Result<Word, E> {
                word_of_bool(word).map(Word)
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<Word, E> {
                Action::deserialize(StrDeserializer::new(word)).map(Word)
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl<'de> Deserialize<'de> for LabelText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<LabelText, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = LabelText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a label's value: a text, true, false or a number")
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<LabelText, E> {
                Ok(LabelText(value.to_string()))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<LabelText, E> {
                Ok(LabelText(value.to_string()))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<LabelText, E> {
                Ok(LabelText(value.to_string()))
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<LabelText, E> {
                Ok(LabelText(value.to_owned()))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl Serialize for Treatment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.require.is_empty() && *self == Treatment::new(self.action) {
            return self.action.serialize(serializer);
        }
        let mut map = serializer.serialize_map(None)?;
        match self.would {
            Some(would) => map.serialize_entry("shadow", &would)?,
            None => map.serialize_entry("action", &self.action)?,
        }
        if !self.require.is_empty() {
            map.serialize_entry("require", &self.require)?;
        }
        map.end()
    }
}

impl JsonSchema for Treatment {
    fn schema_name() -> Cow<'static, str> {
        "Treatment".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let action = generator.subschema_for::<Action>();
        json_schema!({
            "description": "An action, or an object: an action or what a shadow stands for, and labels that a target must carry.",
            "anyOf": [action, {
                "type": "object",
                "additionalProperties": false,
                "minProperties": 1,
                "properties": {
                    "action": action,
                    "shadow": {"enum": ["mask", "pseudonymise", "block"]},
                    "require": {
                        "type": "object",
                        "additionalProperties": {"type": ["string", "boolean", "integer"]},
                    },
                },
            }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<Treatment, String> {
        serde_saphyr::from_str(yaml).map_err(|error| error.to_string())
    }

    fn on_premises() -> Demands {
        Demands::from([("on_premises".to_owned(), "true".to_owned())])
    }

    #[test]
    fn every_way_to_write_it() {
        let table = [
            ("mask", Treatment::new(Action::Mask)),
            ("off", Treatment::new(Action::Off)),
            ("\"off\"", Treatment::new(Action::Off)),
            ("shadow", Treatment::shadow(Action::Mask)),
            ("{action: block}", Treatment::new(Action::Block)),
            ("{action: off}", Treatment::new(Action::Off)),
            ("{shadow: block}", Treatment::shadow(Action::Block)),
            ("{action: shadow, shadow: block}", Treatment::shadow(Action::Block)),
            ("{require: {on_premises: true}}", Treatment::new(Action::Log).requiring(on_premises())),
            (
                "{action: mask, require: {on_premises: \"true\"}}",
                Treatment::new(Action::Mask).requiring(on_premises()),
            ),
            (
                "{action: mask, require: {zone: 2}}",
                Treatment::new(Action::Mask).requiring(Demands::from([("zone".into(), "2".into())])),
            ),
        ];
        for (yaml, want) in table {
            assert_eq!(read(yaml).as_ref(), Ok(&want), "{yaml}");
            let again = serde_json::to_value(&want).expect("JSON");
            assert_eq!(serde_json::from_value::<Treatment>(again).expect("reads what it writes"), want);
        }
        for (yaml, says) in [
            ("masks", "pseudonymise"),
            ("true", "no action"),
            ("{}", "says nothing"),
            ("{action: mask, shadow: block}", "beside"),
            ("{shadow: log}", "what would be done"),
            ("{shadow: [mask]}", "off, log, shadow"),
            ("{action: off, require: {a: b}}", "does not look for it"),
            ("{acts: mask}", "acts"),
            ("{require: {a: [1]}}", "label"),
            ("[mask]", "an action such as"),
        ] {
            let error = read(yaml).expect_err(yaml);
            assert!(error.contains(says), "{yaml}: {error}");
        }
    }

    #[test]
    fn what_is_narrower_need_not_say_everything() {
        let wide = Treatment::new(Action::Mask).requiring(on_premises());
        let log = Treatment::new(Action::Log);
        assert_eq!(wide.clone().narrowed(Some(&log), None), log.clone().requiring(on_premises()));
        assert_eq!(wide.clone().narrowed(None, Some(&Demands::new())), Treatment::new(Action::Mask));
        let off = Treatment::new(Action::Off);
        assert_eq!(wide.narrowed(Some(&off), None), off);
        assert_eq!(off.clone().narrowed(None, Some(&on_premises())), log.requiring(on_premises()));
    }
}
