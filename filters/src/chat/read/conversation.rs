//! Messages and items: who speaks, and what of it is new.

use super::{Fail, Reader, Seen, wrong};
use crate::chat::Api;
use crate::chat::call::{Form, Role};
use crate::json::Value;

/// Fields of a message that are read; others pass.
const MESSAGE: &[&str] = &[
    "role",
    "content",
    "name",
    "tool_calls",
    "function_call",
    "refusal",
    "reasoning",
    "reasoning_content",
    "reasoning_details",
    "thinking_blocks",
];

/// Finds the last user message and the tool results after it, while a conversation is read in its order.
struct Turns {
    /// The first text of the conversation, and those of the last user message.
    first: usize,
    last_user: Option<std::ops::Range<usize>>,
}

impl Reader<'_> {
    /// `messages` of chat and of Anthropic.
    pub(super) fn messages(&mut self) -> Result<(), Fail> {
        const EXPECTED: &str =
            "must be an array of messages, for example [{\"role\": \"user\", \"content\": \"Hello\"}]";
        let at = self.walk.value_start();
        match self.walk.value()? {
            Value::Array => {}
            other => return Err(wrong(at, EXPECTED, &other)),
        }
        let mut turns = Turns { first: self.texts.len(), last_user: None };
        let mut count = 0_usize;
        while self.walk.element()? {
            let first = self.texts.len();
            let role = self.message()?;
            self.speaks(first, role, &mut turns);
            count += 1;
        }
        if count == 0 {
            return Err(Fail::Field { at, message: "is empty: add at least one message.".to_owned() });
        }
        self.mark_current(&turns);
        Ok(())
    }

    fn message(&mut self) -> Result<Role, Fail> {
        let at = self.walk.value_start();
        match self.walk.value()? {
            Value::Object => {}
            other => return Err(wrong(at, "must be a message, an object with role and content", &other)),
        }
        let mut role = None;
        let mut seen = Seen::default();
        while let Some(key) = self.walk.key()? {
            match seen.known(MESSAGE, key)? {
                Some("role") => role = Some(self.role()?),
                Some("content") => self.message_content()?,
                Some(_) => self.content(Role::User)?,
                None => {
                    self.walk.skip()?;
                }
            }
        }
        role.ok_or_else(|| Fail::Field {
            at,
            message: "has no role: add one, for example \"role\": \"user\".".to_owned(),
        })
    }

    fn role(&mut self) -> Result<Role, Fail> {
        let at = self.walk.value_start();
        match self.walk.value()? {
            Value::String(text) => Ok(role_of(&text.decode())),
            other => Err(wrong(at, "must be a string such as \"user\" or \"assistant\"", &other)),
        }
    }

    fn message_content(&mut self) -> Result<(), Fail> {
        let at = self.walk.value_start();
        match self.walk.value()? {
            Value::String(text) => self.text(text, Role::User, Form::Plain),
            Value::Null => Ok(()),
            Value::Array => {
                while self.walk.element()? {
                    self.content(Role::User)?;
                }
                Ok(())
            }
            other => Err(wrong(at, "must be a string, an array of content parts, or null", &other)),
        }
    }

    /// `input` of a response: a string, or items
    /// (<https://platform.openai.com/docs/api-reference/responses/create#responses_create-input>).
    pub(super) fn input(&mut self) -> Result<(), Fail> {
        let at = self.walk.value_start();
        match self.walk.value()? {
            Value::String(text) => return self.text(text, Role::Input, Form::Plain),
            Value::Null => return Ok(()),
            Value::Array => {}
            other => return Err(wrong(at, "must be a string or an array of items", &other)),
        }
        let mut turns = Turns { first: self.texts.len(), last_user: None };
        while self.walk.element()? {
            let first = self.texts.len();
            let at = self.walk.value_start();
            let item = match self.walk.value()? {
                Value::Object => self.part(Role::User)?,
                other => return Err(wrong(at, "must be an item, an object with type or role", &other)),
            };
            let kind = item.kind.as_deref().unwrap_or("message");
            self.stateful |= kind == "item_reference";
            let role = match (kind, item.role.as_deref()) {
                ("message", Some(role)) => role_of(role),
                ("message", None) => Role::User,
                // Calls, reasoning, and whatever else a model has said. Results were marked as such.
                _ => Role::Assistant,
            };
            self.speaks(first, role, &mut turns);
        }
        self.mark_current(&turns);
        Ok(())
    }

    /// `prompt` of a response: a prompt stored at the provider, with the values of its variables.
    pub(super) fn stored_prompt(&mut self) -> Result<(), Fail> {
        let at = self.walk.value_start();
        match self.walk.value()? {
            Value::Null => Ok(()),
            Value::Object => {
                self.stateful = true;
                self.part(Role::Input).map(drop)
            }
            other => Err(wrong(at, "must be an object with the id of a stored prompt, or null", &other)),
        }
    }

    /// Anthropic's `system`: a string or blocks. Of blocks the first is left as it is: it is what the provider knows a coding agent
    /// by. A string is an application's own prompt.
    pub(super) fn system(&mut self) -> Result<(), Fail> {
        let at = self.walk.value_start();
        match self.walk.value()? {
            Value::Null => {}
            Value::String(text) => self.text(text, Role::System, Form::Plain)?,
            Value::Array => {
                let mut first = true;
                while self.walk.element()? {
                    let from = self.texts.len();
                    self.content(Role::System)?;
                    if std::mem::take(&mut first) {
                        self.texts[from..].iter_mut().for_each(|text| text.rewrite = false);
                    }
                }
            }
            other => return Err(wrong(at, "must be a string or an array of text blocks", &other)),
        }
        Ok(())
    }

    /// A message has been read whole: its texts, from `first` on, are `role`'s, unless they are a tool's.
    fn speaks(&mut self, first: usize, role: Role, turns: &mut Turns) {
        let end = self.texts.len();
        let texts = &mut self.texts[first..];
        let mut only_results = !texts.is_empty();
        for text in texts {
            if text.role != Role::Tool {
                only_results = false;
                text.role = role;
                // Only a model's own thinking is signed.
                text.rewrite |= role != Role::Assistant;
            }
            if text.role == Role::Tool && text.form == Form::Plain {
                text.form = Form::JsonInside;
            }
        }
        // On Anthropic's surface tool results are blocks of user messages: one that holds nothing else says nothing new.
        let says = !(only_results && matches!(self.api, Api::Messages | Api::CountTokens));
        if role == Role::User && says {
            turns.last_user = Some(first..end);
        }
    }

    fn mark_current(&mut self, turns: &Turns) {
        let (first, end) = match &turns.last_user {
            Some(span) => (span.start, span.end),
            None => (turns.first, turns.first),
        };
        for (index, text) in self.texts.iter_mut().enumerate().skip(first) {
            text.current = index < end || text.role == Role::Tool;
        }
    }
}

/// Unknown roles are users: what they say is looked at most closely.
fn role_of(role: &str) -> Role {
    match role {
        "system" | "developer" => Role::System,
        "assistant" | "model" => Role::Assistant,
        "tool" | "function" => Role::Tool,
        _ => Role::User,
    }
}
