//! One event of a Responses stream, read where it lies.

use std::ops::Range;

use crate::answer::core::{MAX_DEPTH, end_for};
use crate::answer::texts::{Home, Texts};
use crate::answer::usage::Counts;
use crate::json::{Invalid, Str, Value, Walk, whole_index, whole_number};
use crate::scan::End;

/// What of an event matters here, as spans of its data. Used again for the next.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) kind: String,
    /// Value of `sequence_number`, and its place.
    pub(super) sequence: Option<(u64, Range<usize>)>,
    pub(super) output_index: u32,
    /// `content_index` or `summary_index`, and which.
    pub(super) part: Option<(&'static str, u32)>,
    pub(super) item_id: Option<Range<usize>>,
    /// Of the literal, where `delta` is a string.
    pub(super) delta: Option<Range<usize>>,
    /// Type of `item` or `part`.
    pub(super) inner: String,
    /// Of the item or of the response.
    pub(super) status: Option<Range<usize>>,
    /// What that says of the text's end.
    pub(super) end: Option<End>,
    /// Texts of everything but the delta; in a whole response, those that do not repeat the request.
    pub(super) texts: Texts,
    /// First text of each output item of a whole response.
    pub(super) items: Vec<usize>,
    /// The text of all items together.
    pub(super) output_text: Option<Range<usize>>,
    /// The whole `response`.
    pub(super) response: Option<Range<usize>>,
    pub(super) model: Option<Range<usize>>,
    pub(super) error: bool,
    /// Which text it is of cannot be told, or what of it may go on.
    pub(super) odd: bool,
    /// The response says what it cost.
    pub(super) has_usage: bool,
}

/// Longest type and id. Of longer ones too many could be remembered.
const LONGEST_TYPE: usize = 256;
const LONGEST_ID: usize = 4 << 10;

/// Most items of one response.
const MAX_ITEMS: usize = 1 << 16;

/// Members of a response that repeat the request or what is not the model's, up to `id` and the like.
/// (<https://platform.openai.com/docs/api-reference/responses/object>)
const OF_THE_REQUEST: [&str; 22] = [
    "background",
    "conversation",
    "incomplete_details",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_p",
    "truncation",
    "user",
];

/// Whether this member of a response says what was asked, not what the model answers.
pub(in crate::answer) fn repeats_request(name: &str) -> bool {
    OF_THE_REQUEST.binary_search(&name).is_ok()
}

impl Read {
    /// Reads `data`, forgetting the last event.
    pub(super) fn read(&mut self, data: &str, counts: &mut Counts) -> Result<(), Invalid> {
        let (mut kind, mut inner) = (std::mem::take(&mut self.kind), std::mem::take(&mut self.inner));
        let (mut texts, mut items) = (std::mem::take(&mut self.texts), std::mem::take(&mut self.items));
        kind.clear();
        inner.clear();
        texts.clear();
        items.clear();
        *self = Read { kind, inner, texts, items, ..Read::default() };
        let mut walk = Walk::over(data, MAX_DEPTH)?;
        let value = walk.value()?;
        if !matches!(value, Value::Object) {
            walk.finish(&value)?;
            return walk.end();
        }
        while let Some(key) = walk.key()? {
            let begins = walk.value_start();
            let value = walk.value()?;
            match (&*key.decode(), value) {
                ("type", Value::String(text)) => self.kind.push_str(&text.decode()),
                ("sequence_number", Value::Number(number)) => {
                    self.sequence = whole_number(number).map(|number| (number, begins..walk.at()));
                }
                ("output_index" | "content_index" | "summary_index", Value::Null) => {}
                ("output_index", value) => self.output_index = self.read_index(&mut walk, &value)?,
                ("content_index", value) => {
                    self.part = Some(("content_index", self.read_index(&mut walk, &value)?));
                }
                ("summary_index", value) => {
                    self.part = Some(("summary_index", self.read_index(&mut walk, &value)?));
                }
                ("item_id", Value::String(text)) => self.item_id = Some(text.span()),
                ("delta", Value::String(text)) => self.odd |= self.delta.replace(text.span()).is_some(),
                ("delta", value) => {
                    let known = self.texts.pieces.len();
                    self.texts.collect_member(&mut walk, "delta", value, begins)?;
                    self.odd |= self.texts.pieces.len() > known;
                }
                ("item" | "part", Value::Object) => self.read_inner(&mut walk)?,
                ("response", Value::Object) => {
                    self.read_response(&mut walk, counts)?;
                    self.response = Some(begins..walk.at());
                }
                ("error", Value::Object | Value::String(_)) => {
                    self.error = true;
                    walk.finish(&value)?;
                }
                (name, value) => self.texts.collect_member(&mut walk, name, value, begins)?,
            }
        }
        self.texts.home = Home::Output(self.output_index);
        self.odd |= self.kind.len() > LONGEST_TYPE;
        self.odd |= self.item_id.as_ref().is_some_and(|id| id.len() > LONGEST_ID);
        walk.end()
    }

    fn read_status(&mut self, text: Str<'_>) {
        self.status = Some(text.span());
        self.end = Some(end_for(&text.decode()));
    }

    fn read_index(&mut self, walk: &mut Walk<'_>, value: &Value<'_>) -> Result<u32, Invalid> {
        walk.finish(value)?;
        let index = if let Value::Number(number) = value { whole_index(number) } else { None };
        self.odd |= index.is_none();
        Ok(index.unwrap_or(0))
    }

    fn read_inner(&mut self, walk: &mut Walk<'_>) -> Result<(), Invalid> {
        while let Some(key) = walk.key()? {
            let begins = walk.value_start();
            let value = walk.value()?;
            match (&*key.decode(), value) {
                ("type", Value::String(text)) => self.inner.push_str(&text.decode()),
                ("status", Value::String(text)) => self.read_status(text),
                (name, value) => self.texts.collect_member(walk, name, value, begins)?,
            }
        }
        Ok(())
    }

    fn read_response(&mut self, walk: &mut Walk<'_>, counts: &mut Counts) -> Result<(), Invalid> {
        while let Some(key) = walk.key()? {
            let begins = walk.value_start();
            let value = walk.value()?;
            match (&*key.decode(), value) {
                ("status", Value::String(text)) => self.read_status(text),
                ("model", Value::String(text)) => self.model = Some(text.span()),
                ("usage", Value::Object) => {
                    self.has_usage = true;
                    counts.read(walk)?;
                }
                ("error", Value::Object) => {
                    self.error = true;
                    walk.finish(&value)?;
                }
                ("output", Value::Array) => {
                    while walk.element()? {
                        self.texts.too_many |= self.items.len() >= MAX_ITEMS;
                        if !self.texts.too_many {
                            self.items.push(self.texts.pieces.len());
                        }
                        let value = walk.value()?;
                        self.texts.collect(walk, value)?;
                    }
                }
                (name, value) if repeats_request(name) => walk.finish(&value)?,
                (name, value) => {
                    if let ("output_text", Value::String(text)) = (name, value) {
                        self.output_text = Some(text.span());
                    }
                    self.texts.collect_member(walk, name, value, begins)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn members_of_the_request_are_sorted() {
        assert!(super::OF_THE_REQUEST.is_sorted());
    }
}
