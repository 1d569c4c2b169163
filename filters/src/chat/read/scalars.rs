//! The small fields: names, switches, numbers.

use std::ops::RangeInclusive;

use super::{Fail, Fields, LONGEST_NAME, MOST_CHOICES, Reader, Seen, wrong};
use crate::chat::call::StreamOptions;
use crate::json::{Str, Value, whole_number};

impl<'a> Reader<'a> {
    /// A string, or `None` for null.
    pub(super) fn string(&mut self, expected: &str) -> Result<Option<Str<'a>>, Fail> {
        let at = self.walk.value_start();
        match self.walk.value()? {
            Value::String(text) => Ok(Some(text)),
            Value::Null => Ok(None),
            other => Err(wrong(at, expected, &other)),
        }
    }

    /// A string short enough to keep, or `None` for null, the empty string, and one that is too long to be a name.
    pub(super) fn name(&mut self, expected: &str) -> Result<Option<String>, Fail> {
        let text = self.string(expected)?;
        Ok(text
            .filter(|text| !text.raw().is_empty() && text.raw().len() <= LONGEST_NAME)
            .map(|text| text.decode().into_owned()))
    }

    pub(super) fn boolean(&mut self, expected: &str) -> Result<Option<bool>, Fail> {
        let at = self.walk.value_start();
        match self.walk.value()? {
            Value::Bool(value) => Ok(Some(value)),
            Value::Null => Ok(None),
            other => Err(wrong(at, expected, &other)),
        }
    }

    /// A whole number in a range, however it is spelled (`1`, `1.0`, `1e0`).
    pub(super) fn whole(&mut self, range: RangeInclusive<u64>, expected: &str) -> Result<Option<u64>, Fail> {
        let at = self.walk.value_start();
        match self.walk.value()? {
            Value::Null => Ok(None),
            Value::Number(spelled) => match whole_number(spelled).filter(|number| range.contains(number)) {
                Some(number) => Ok(Some(number)),
                None => {
                    let shown = if spelled.len() <= 24 { spelled } else { "another number" };
                    Err(Fail::Field { at, message: format!("{expected}; it is {shown}.") })
                }
            },
            other => Err(wrong(at, expected, &other)),
        }
    }

    pub(super) fn choices(&mut self) -> Result<Option<u64>, Fail> {
        self.whole(1..=MOST_CHOICES, "must be a whole number from 1 to 128")
    }

    pub(super) fn model(&mut self, fields: &mut Fields) -> Result<(), Fail> {
        let expected = "must be the name of a model, as a string";
        let at = self.walk.value_start();
        let text = match self.walk.value()? {
            Value::String(text) => text,
            other => return Err(wrong(at, expected, &other)),
        };
        let refused = |message: &str| Fail::Field { at, message: message.to_owned() };
        let name = text.decode();
        if name.is_empty() {
            return Err(refused("is empty: write the name of a model. GET /v1/models lists yours."));
        }
        if name.len() > LONGEST_NAME {
            return Err(refused("is longer than 256 bytes: write the name of a model."));
        }
        // A name can become part of a path, a header, a metric.
        if name.chars().any(char::is_control) || name.chars().all(|c| c == '.') {
            return Err(refused("is not a name: write one without control characters."));
        }
        fields.model = Some(name.into_owned());
        fields.spans.model = text.span();
        Ok(())
    }

    /// <https://platform.openai.com/docs/api-reference/chat/create#chat_create-stream_options>
    pub(super) fn stream_options(&mut self, fields: &mut Fields) -> Result<(), Fail> {
        let at = self.walk.value_start();
        let value = self.walk.value()?;
        match value {
            Value::Null => fields.spans.stream_options = StreamOptions::Null(at..self.walk.at()),
            Value::Object => {
                let first_member = self.walk.at();
                let mut options = StreamOptions::Without { first_member, empty: true };
                let mut seen = Seen::default();
                while let Some(key) = self.walk.key()? {
                    if seen.listed(&["include_usage"], key)?.is_some() {
                        let start = self.walk.value_start();
                        fields.usage_asked = self.boolean("must be true or false")?.unwrap_or(false);
                        options = StreamOptions::With(start..self.walk.at());
                    } else {
                        self.walk.skip()?;
                        if let StreamOptions::Without { empty, .. } = &mut options {
                            *empty = false;
                        }
                    }
                }
                fields.spans.stream_options = options;
            }
            other => {
                return Err(wrong(
                    at,
                    "must be an object such as {\"include_usage\": true}, or null",
                    &other,
                ));
            }
        }
        Ok(())
    }

    /// Notes the literal that began at `start` and was just read as an id; null is none.
    pub(super) fn id(&mut self, start: usize) -> Result<(), Fail> {
        let span = start..self.walk.at();
        if self.walk.text()[span.clone()].starts_with("null") {
            return Ok(());
        }
        if self.ids.len() + self.texts.len() >= self.max_texts {
            let message = "has more ids than one request may have: send fewer.".to_owned();
            return Err(Fail::Field { at: start, message });
        }
        self.ids.push(span);
        Ok(())
    }

    /// Notes every string and number of a value that was just begun as an id.
    pub(super) fn ids_of(&mut self, value: Value<'a>) -> Result<(), Fail> {
        match value {
            Value::String(text) => self.id(text.span().start),
            Value::Number(spelled) => self.id(self.walk.at() - spelled.len()),
            Value::Array => {
                while self.walk.element()? {
                    let value = self.walk.value()?;
                    self.ids_of(value)?;
                }
                Ok(())
            }
            Value::Object => {
                while self.walk.key()?.is_some() {
                    let value = self.walk.value()?;
                    self.ids_of(value)?;
                }
                Ok(())
            }
            Value::Bool(_) | Value::Null => Ok(()),
        }
    }

    /// What of `metadata` names the session. All of it is ids of the caller's own, and never a reason to refuse.
    pub(super) fn metadata(&mut self) -> Result<Option<String>, Fail> {
        let value = self.walk.value()?;
        if !matches!(value, Value::Object) {
            self.ids_of(value)?;
            return Ok(None);
        }
        let (mut session, mut user) = (None, None);
        let mut seen = Seen::default();
        while let Some(key) = self.walk.key()? {
            let known = seen.listed(&["session_id", "user_id"], key)?;
            let value = self.walk.value()?;
            let name = match value {
                Value::String(text) if !text.raw().is_empty() && text.raw().len() <= LONGEST_NAME => {
                    Some(text.decode().into_owned())
                }
                _ => None,
            };
            self.ids_of(value)?;
            match known {
                Some("session_id") => session = name,
                // Claude Code writes account and session into it.
                Some(_) => user = name,
                None => {}
            }
        }
        Ok(session.or(user))
    }

    /// `conversation` of a response: an id, or an object with one.
    pub(super) fn conversation(&mut self) -> Result<Option<String>, Fail> {
        let at = self.walk.value_start();
        match self.walk.value()? {
            Value::String(text) => Ok(Some(text.decode().into_owned()).filter(|id| id.len() <= LONGEST_NAME)),
            Value::Null => Ok(None),
            Value::Object => {
                let mut id = Some(String::new());
                let mut seen = Seen::default();
                while let Some(key) = self.walk.key()? {
                    if seen.listed(&["id"], key)?.is_some() {
                        id = self.loose_name()?.or(id);
                    } else {
                        self.walk.skip()?;
                    }
                }
                Ok(id)
            }
            other => Err(wrong(at, "must be the id of a conversation, an object with it, or null", &other)),
        }
    }

    /// A name where one may be; anything else is passed over.
    fn loose_name(&mut self) -> Result<Option<String>, Fail> {
        let value = self.walk.value()?;
        self.walk.finish(&value)?;
        Ok(match value {
            Value::String(text) if !text.raw().is_empty() && text.raw().len() <= LONGEST_NAME => {
                Some(text.decode().into_owned())
            }
            _ => None,
        })
    }
}
