//! One plain answer, read where it lies.

use std::ops::Range;

use crate::answer::core::MAX_DEPTH;
use crate::answer::responses::repeats_request;
use crate::answer::texts::{THINKING, Texts};
use crate::answer::usage::Counts;
use crate::chat::Api;
use crate::json::{Invalid, Value, Walk};

/// What of an answer matters here, as spans of its body.
#[derive(Debug, Default)]
pub(super) struct Whole {
    pub(super) texts: Texts,
    /// Choices, output items or content blocks.
    pub(super) units: Vec<Unit>,
    /// Of what stands between the brackets around them.
    pub(super) inside: Option<Range<usize>>,
    /// First piece that belongs to none of them.
    pub(super) beside: usize,
    /// Tokens of those.
    pub(super) tokens_beside: Vec<Range<usize>>,
    /// The text of all of a response's items together.
    pub(super) output_text: Option<Range<usize>>,
    pub(super) counts: Counts,
    /// Value of `stop_reason` (Anthropic) or `status` (Responses).
    pub(super) end: Option<Range<usize>>,
    pub(super) model: Option<Range<usize>>,
    pub(super) has_metadata: bool,
    pub(super) error: bool,
    /// Offset of the closing brace; 0 if the answer is no object.
    pub(super) brace: usize,
    pub(super) is_empty: bool,
}

/// A choice, output item or content block.
#[derive(Debug, Default)]
pub(super) struct Unit {
    pub(super) span: Range<usize>,
    pub(super) pieces: Range<usize>,
    pub(super) tokens: Range<usize>,
    /// `type` of an item or block.
    pub(super) kind: String,
    /// Value of a choice's `finish_reason`, or of an item's `status`.
    pub(super) end: Option<Range<usize>>,
    /// A stop sequence ended it, which vLLM and SGLang repeat.
    pub(super) stopped: bool,
    /// Values of `tool_calls`, `function_call` and of thinking that may be signed: a block takes them out whole.
    pub(super) calls: Vec<Range<usize>>,
}

/// Most choices, items or blocks of one answer.
const MAX_UNITS: usize = 1 << 16;

impl Whole {
    pub(super) fn read(api: Api, data: &str) -> Result<Whole, Invalid> {
        let mut whole = Whole::default();
        let mut walk = Walk::over(data, MAX_DEPTH)?;
        let value = walk.value()?;
        if !matches!(value, Value::Object) {
            walk.finish(&value)?;
            walk.end()?;
            return Ok(whole);
        }
        let list = match api {
            Api::Responses => "output",
            Api::Messages => "content",
            _ => "choices",
        };
        whole.is_empty = true;
        let mut apart = Texts::default();
        while let Some(key) = walk.key()? {
            whole.is_empty = false;
            let begins = walk.value_start();
            let value = walk.value()?;
            match (&*key.decode(), value) {
                (name, Value::Array) if name == list => whole.read_list(&mut walk, api, begins)?,
                ("usage", Value::Object) => whole.counts.read(&mut walk)?,
                ("error", Value::Object | Value::String(_)) => {
                    whole.error = true;
                    walk.finish(&value)?;
                }
                ("model", Value::String(text)) => whole.model = Some(text.span()),
                ("stop_reason" | "status", Value::String(text)) => whole.end = Some(text.span()),
                ("object" | "type", Value::String(text)) => whole.error |= text.is("error"),
                // It is one of the caller's own.
                ("stop_sequence", Value::String(_)) => {}
                (name, value) => {
                    whole.has_metadata |= name == "metadata";
                    if name == "output_text" && matches!(value, Value::String(_)) {
                        whole.output_text = Some(begins..walk.at());
                    }
                    if api == Api::Responses && repeats_request(name) {
                        walk.finish(&value)?;
                    } else {
                        apart.collect_member(&mut walk, name, value, begins)?;
                    }
                }
            }
        }
        whole.brace = walk.at() - 1;
        whole.beside = whole.texts.pieces.len();
        whole.texts.pieces.append(&mut apart.pieces);
        whole.tokens_beside = apart.tokens;
        whole.texts.too_many |= apart.too_many;
        walk.end()?;
        Ok(whole)
    }

    fn read_list(&mut self, walk: &mut Walk<'_>, api: Api, begins: usize) -> Result<(), Invalid> {
        while walk.element()? {
            let (first, tokens) = (self.texts.pieces.len(), self.texts.tokens.len());
            let start = walk.value_start();
            let mut unit = Unit::default();
            let value = walk.value()?;
            match value {
                Value::Object => self.read_unit(walk, api, &mut unit)?,
                value => self.texts.collect(walk, value)?,
            }
            unit.span = start..walk.at();
            unit.pieces = first..self.texts.pieces.len();
            unit.tokens = tokens..self.texts.tokens.len();
            self.texts.too_many |= self.units.len() >= MAX_UNITS;
            if !self.texts.too_many {
                self.units.push(unit);
            }
        }
        self.inside = Some(begins + 1..walk.at() - 1);
        Ok(())
    }

    fn read_unit(&mut self, walk: &mut Walk<'_>, api: Api, unit: &mut Unit) -> Result<(), Invalid> {
        let choices = matches!(api, Api::Chat | Api::Completions);
        while let Some(key) = walk.key()? {
            let begins = walk.value_start();
            let value = walk.value()?;
            match (&*key.decode(), value) {
                ("finish_reason", value) if choices => {
                    walk.finish(&value)?;
                    unit.end = Some(begins..walk.at());
                }
                (name @ ("stop_reason" | "matched_stop"), Value::String(text)) if choices => {
                    unit.stopped |= !text.raw().is_empty();
                    self.texts.collect_member(walk, name, value, begins)?;
                }
                ("message", Value::Object) if choices => self.read_message(walk, unit)?,
                (name, value) if choices => self.texts.collect_member(walk, name, value, begins)?,
                ("type", Value::String(text)) => unit.kind.push_str(&text.decode()),
                ("status", Value::String(text)) => unit.end = Some(text.span()),
                (name, value) => self.texts.collect_member(walk, name, value, begins)?,
            }
        }
        Ok(())
    }

    fn read_message(&mut self, walk: &mut Walk<'_>, unit: &mut Unit) -> Result<(), Invalid> {
        while let Some(key) = walk.key()? {
            let begins = walk.value_start();
            let value = walk.value()?;
            let name = key.decode();
            self.texts.collect_member(walk, &name, value, begins)?;
            if matches!(&*name, "tool_calls" | "function_call") || THINKING.contains(&&*name) {
                unit.calls.push(begins..walk.at());
            }
        }
        Ok(())
    }
}
