//! One event of an Anthropic stream, read where it lies.

use std::ops::Range;

use crate::answer::core::MAX_DEPTH;
use crate::answer::texts::{Home, Kind, Texts, is_no_text};
use crate::answer::usage::Counts;
use crate::json::{Invalid, Value, Walk, whole_index};

/// What of an event matters here, as spans of its data. Used again for the next.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) kind: String,
    pub(super) index: u32,
    /// `type` of the delta or of the content block.
    pub(super) inner: String,
    /// Strings directly in the delta or block of a content block: the texts of lanes.
    pub(super) fields: Vec<Field>,
    /// Texts anywhere else.
    pub(super) texts: Texts,
    /// The signature of the block's thinking is here.
    pub(super) signed: bool,
    /// Of `stop_reason`, where it is a string.
    pub(super) stop_reason: Option<Range<usize>>,
    pub(super) model: Option<Range<usize>>,
    pub(super) error: bool,
    /// Which block it is of cannot be told, or what of it may go on.
    pub(super) odd: bool,
}

/// Most fields of one delta or block, and the longest name of one.
const MAX_FIELDS: usize = 256;
const LONGEST_NAME: usize = 256;

#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    /// Of the literal, quotes included.
    pub(super) span: Range<usize>,
}

impl Read {
    /// Reads `data`, forgetting the last event. Counts are running totals: what is reported replaces what was.
    pub(super) fn read(&mut self, data: &str, counts: &mut Counts) -> Result<(), Invalid> {
        self.kind.clear();
        self.inner.clear();
        self.fields.clear();
        self.texts.clear();
        (self.index, self.odd) = (0, false);
        (self.signed, self.stop_reason, self.model, self.error) = (false, None, None, false);
        let mut nested = false;
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
                ("index", Value::Null) => {}
                ("index", value) => {
                    walk.finish(&value)?;
                    let index = if let Value::Number(number) = value { whole_index(number) } else { None };
                    self.odd |= index.is_none();
                    self.index = index.unwrap_or(0);
                }
                ("delta" | "content_block", Value::Object) => nested |= self.read_inner(&mut walk)?,
                (name @ ("delta" | "content_block"), value) => {
                    let known = self.texts.pieces.len();
                    self.texts.collect_member(&mut walk, name, value, begins)?;
                    nested |= self.texts.pieces.len() > known;
                }
                ("message", Value::Object) => self.read_message(&mut walk, counts)?,
                ("usage", Value::Object) => counts.read(&mut walk)?,
                ("error", Value::Object | Value::String(_)) => {
                    self.error = true;
                    walk.finish(&value)?;
                }
                (name, value) => self.texts.collect_member(&mut walk, name, value, begins)?,
            }
        }
        let of_block = self.kind.starts_with("content_block");
        self.texts.home = if of_block { Home::Content(self.index) } else { Home::Message };
        self.odd |= nested && self.kind == "content_block_delta" || self.inner.len() > LONGEST_NAME;
        if !matches!(&*self.kind, "content_block_start" | "content_block_delta") {
            for field in self.fields.drain(..) {
                self.texts.add(field.span, Kind::Text);
            }
            self.texts.pieces.sort_by_key(|piece| piece.span.start);
        }
        walk.end()
    }

    /// Whether texts stand deeper than those of lanes, which nothing says to be whole. Citations are.
    fn read_inner(&mut self, walk: &mut Walk<'_>) -> Result<bool, Invalid> {
        let mut nested = false;
        while let Some(key) = walk.key()? {
            let begins = walk.value_start();
            let value = walk.value()?;
            match (&*key.decode(), value) {
                ("type", Value::String(text)) => self.inner.push_str(&text.decode()),
                ("stop_reason", Value::String(text)) => self.stop_reason = Some(text.span()),
                ("signature", Value::String(text)) => self.signed |= !text.raw().is_empty(),
                // It is one of the caller's own.
                ("stop_sequence", Value::String(_)) => {}
                (name, Value::String(text)) if !is_no_text(name, text) => {
                    let fits = self.fields.len() < MAX_FIELDS && name.len() <= LONGEST_NAME;
                    self.odd |= !fits;
                    if fits {
                        self.fields.push(Field { name: name.to_owned(), span: text.span() });
                    }
                }
                (name, value) => {
                    let known = self.texts.pieces.len();
                    self.texts.collect_member(walk, name, value, begins)?;
                    nested |= name != "citation" && self.texts.pieces.len() > known;
                }
            }
        }
        Ok(nested)
    }

    fn read_message(&mut self, walk: &mut Walk<'_>, counts: &mut Counts) -> Result<(), Invalid> {
        while let Some(key) = walk.key()? {
            let begins = walk.value_start();
            let value = walk.value()?;
            match (&*key.decode(), value) {
                ("usage", Value::Object) => counts.read(walk)?,
                ("model", Value::String(text)) => self.model = Some(text.span()),
                // It is one of the caller's own.
                ("stop_sequence", Value::String(_)) => {}
                (name, value) => self.texts.collect_member(walk, name, value, begins)?,
            }
        }
        Ok(())
    }
}
