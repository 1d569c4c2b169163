//! Content: strings, parts and blocks, whatever the surface calls them.
//!
//! A model reads what stands in a content part, so a part that is not known is searched whole: every string in it is a text,
//! except under the keys that hold ids, signatures and payloads.

use super::{Fail, Reader, Seen, wrong};
use crate::chat::call::{Form, Role};
use crate::json::{self, Fault, Invalid, Str, Value};

/// Keys of a part, block or item that mean something here, wherever it is nested.
const PART: &[&str] = &[
    "type",
    "signature",
    "text",
    "content",
    "arguments",
    "input",
    // Payloads, if they are base64; else text.
    "data",
    "url",
    "image_url",
    "file_url",
    "file_data",
    "result",
    // Never text.
    "id",
    "role",
    "status",
    "call_id",
    "tool_call_id",
    "tool_use_id",
    "file_id",
    "media_type",
    "mime_type",
    "format",
    "detail",
    "cache_control",
    "encrypted_content",
    "encrypted_index",
];

/// What a part says of itself.
#[derive(Default)]
pub(super) struct Part {
    pub(super) kind: Option<String>,
    pub(super) role: Option<String>,
}

impl<'a> Reader<'a> {
    /// Any content: a string, null, or parts nested to any depth.
    pub(super) fn content(&mut self, role: Role) -> Result<(), Fail> {
        match self.walk.value()? {
            Value::String(text) => self.text(text, role, Form::Plain),
            Value::Array => {
                while self.walk.element()? {
                    self.content(role)?;
                }
                Ok(())
            }
            Value::Object => self.part(role).map(drop),
            Value::Number(_) | Value::Bool(_) | Value::Null => Ok(()),
        }
    }

    /// The rest of an object that was just entered.
    pub(super) fn part(&mut self, role: Role) -> Result<Part, Fail> {
        let first = self.texts.len();
        let mut part = Part::default();
        let mut signed = false;
        let mut seen = Seen::default();
        while let Some(key) = self.walk.key()? {
            let Some(name) = seen.listed(PART, key)? else {
                self.content(role)?;
                continue;
            };
            match name {
                "type" => part.kind = self.word()?,
                "role" => part.role = self.word()?,
                "text" | "content" => self.content(role)?,
                "signature" => {
                    signed = true;
                    self.walk.skip()?;
                }
                "arguments" | "input" => self.arguments(role, name == "arguments")?,
                "data" | "url" | "image_url" | "file_url" | "file_data" | "result" => self.payload(role)?,
                _ => {
                    self.walk.skip()?;
                }
            }
        }
        let kind = part.kind.as_deref().unwrap_or_default();
        if is_tool_result(kind) {
            for text in &mut self.texts[first..] {
                text.role = Role::Tool;
            }
        } else if is_document(kind) {
            for text in self.texts[first..].iter_mut().filter(|text| text.role == Role::User) {
                text.role = Role::Document;
            }
        }
        // Anthropic checks the signature over the block's bytes, whichever surface it was said on.
        if signed && matches!(kind, "thinking" | "reasoning.text") || kind == "redacted_thinking" {
            for text in &mut self.texts[first..] {
                text.rewrite = false;
            }
        }
        Ok(part)
    }

    /// A short string such as a type or role; anything else is `None`.
    fn word(&mut self) -> Result<Option<String>, Fail> {
        let value = self.walk.value()?;
        self.walk.finish(&value)?;
        Ok(match value {
            Value::String(text) if text.raw().len() <= 64 => Some(text.decode().into_owned()),
            _ => None,
        })
    }

    /// What a tool is called with: JSON in a string, or JSON itself, or (custom tools) plain text.
    fn arguments(&mut self, role: Role, json_inside: bool) -> Result<(), Fail> {
        let start = self.walk.value_start();
        if self.walk.text().as_bytes().get(start) == Some(&b'"') {
            let form = if json_inside { Form::JsonInside } else { Form::Plain };
            return match self.walk.value()? {
                Value::String(text) => self.text(text, role, form),
                _ => Err(Invalid { offset: start, fault: Fault::NoValue }.into()),
            };
        }
        self.json(role)
    }

    /// A place for base64 or a URL; what is neither is text.
    fn payload(&mut self, role: Role) -> Result<(), Fail> {
        let value = self.walk.value()?;
        match value {
            Value::String(text) if is_payload(text) => {
                self.media.bytes += text.raw().len();
                self.media.count += 1;
                Ok(())
            }
            Value::String(text) => self.text(text, role, Form::Plain),
            Value::Object => self.part(role).map(drop),
            Value::Array => {
                while self.walk.element()? {
                    self.content(role)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Completions' `prompt` and `suffix`, embeddings' `input`: a string, strings, or token ids, which nobody can scan.
    pub(super) fn prompt(&mut self) -> Result<(), Fail> {
        let at = self.walk.value_start();
        match self.walk.value()? {
            Value::Array => {
                while self.walk.element()? {
                    self.content(Role::Input)?;
                }
                Ok(())
            }
            Value::String(text) => self.text(text, Role::Input, Form::Plain),
            Value::Null => Ok(()),
            other => {
                Err(wrong(at, "must be a string, an array of strings, or an array of token ids", &other))
            }
        }
    }
}

fn is_tool_result(kind: &str) -> bool {
    kind.ends_with("_output") || kind.ends_with("tool_result")
}

fn is_document(kind: &str) -> bool {
    matches!(kind, "document" | "search_result" | "file" | "input_file")
}

/// A base64 data URL, or bare base64. Shorter ones could be a number of sixteen digits.
fn is_payload(text: Str<'_>) -> bool {
    let raw = text.raw();
    json::is_data_url(raw, "") || raw.len() >= 64 && json::is_base64(raw)
}
