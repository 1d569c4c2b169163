//! One event of a Responses stream, read where it lies.

use std::ops::Range;

use crate::answer::core::MAX_DEPTH;
use crate::answer::texts::Texts;
use crate::answer::usage::Counts;
use crate::json::{Invalid, Value, Walk, whole_index, whole_number};

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
    /// Texts of everything but the delta; in a whole response, those of its output.
    pub(super) texts: Texts,
    /// First text of each output item of a whole response.
    pub(super) items: Vec<usize>,
    /// The whole `response`.
    pub(super) response: Option<Range<usize>>,
    pub(super) model: Option<Range<usize>>,
    pub(super) error: bool,
    /// Which text it is of cannot be told.
    pub(super) odd: bool,
    /// The response says what it cost.
    pub(super) has_usage: bool,
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
                ("delta", Value::String(text)) => self.delta = Some(text.span()),
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
        walk.end()
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
                ("status", Value::String(text)) => self.status = Some(text.span()),
                (name, value) => self.texts.collect_member(walk, name, value, begins)?,
            }
        }
        Ok(())
    }

    /// Of a whole response only the output is the model's; the rest repeats the request.
    fn read_response(&mut self, walk: &mut Walk<'_>, counts: &mut Counts) -> Result<(), Invalid> {
        while let Some(key) = walk.key()? {
            let value = walk.value()?;
            match (&*key.decode(), value) {
                ("status", Value::String(text)) => self.status = Some(text.span()),
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
                        self.texts.locate(&format!("output[{}]", self.items.len()));
                        self.items.push(self.texts.pieces.len());
                        let value = walk.value()?;
                        self.texts.collect(walk, value)?;
                    }
                }
                ("output_text", value @ Value::String(_)) => {
                    self.texts.locate("");
                    self.texts.collect_member(walk, "output_text", value, 0)?;
                }
                (_, value) => walk.finish(&value)?,
            }
        }
        Ok(())
    }
}
