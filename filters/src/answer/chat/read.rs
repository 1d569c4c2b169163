//! One chunk of a chat or completions stream, read where it lies.

mod places;

use std::ops::Range;

pub(super) use places::Place;
use places::Segment;

use crate::answer::core::MAX_DEPTH;
use crate::answer::lanes::Field;
use crate::answer::texts::Texts;
use crate::answer::usage::Counts;
use crate::json::{Invalid, Str, Value, Walk, whole_index};

/// What of a chunk matters here, as spans of its data. Used again for the next.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) choices: Vec<Choice>,
    /// Texts of all choices, in the order of the chunk.
    pub(super) slots: Vec<Slot>,
    pub(super) has_choices: bool,
    pub(super) error: bool,
    pub(super) usage: Option<Reported>,
    /// Value of `model`.
    pub(super) model: Option<Range<usize>>,
    /// Members that every chunk of an answer repeats: `"id":"…","model":"…",`.
    pub(super) envelope: Vec<Range<usize>>,
    /// It carries something besides envelope, choices and usage.
    pub(super) other: bool,
    /// Texts in members of deltas that no surface names.
    pub(super) places: Vec<Place>,
    /// Texts beside the choices' own: each stands whole in this chunk.
    pub(super) texts: Texts,
    /// It has a form in which text cannot be told from the rest, or more members than can be told apart.
    pub(super) odd: bool,
    path: Vec<Segment>,
    /// Literals of this chunk that are no pieces: a delta made here does not repeat them.
    once: Vec<Range<usize>>,
}

/// The `usage` member.
#[derive(Debug)]
pub(super) struct Reported {
    /// What to cut so that the rest stays valid: the member with one of its commas.
    pub(super) member: Range<usize>,
    pub(super) value: Range<usize>,
    /// `None`: it is `null`.
    pub(super) counts: Option<Counts>,
}

#[derive(Debug, Default)]
pub(super) struct Choice {
    pub(super) index: u32,
    /// Of `finish_reason`, where it is a string.
    pub(super) finish: Option<Range<usize>>,
    /// Values that tell the tokens of the text: `logprobs`, `token_ids`.
    pub(super) tokens: Vec<Range<usize>>,
    /// `slots[..]` of this choice.
    pub(super) slots: Range<usize>,
    /// Lanes whose signature is here: nothing of them may follow.
    pub(super) signed: Vec<Field>,
    pub(super) role: bool,
    /// A tool call begins here.
    pub(super) calls: bool,
    /// It carries something that is no text.
    pub(super) other: bool,
}

/// One text.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) field: Field,
    /// Tool call.
    pub(super) sub: u32,
    /// Of the literal, quotes included.
    pub(super) span: Range<usize>,
    /// Of the tool call's `id`, in the slot of its first text.
    pub(super) call: Option<Range<usize>>,
    /// A signature comes with it, or may come.
    pub(super) signed: bool,
}

/// The "tool" of a legacy `function_call`.
const LEGACY: u32 = u32::MAX;

impl Chunk {
    /// Reads `data`, forgetting the last chunk.
    pub(super) fn read(&mut self, data: &str) -> Result<(), Invalid> {
        self.choices.clear();
        self.slots.clear();
        self.envelope.clear();
        self.path.clear();
        self.once.clear();
        self.texts.clear();
        (self.has_choices, self.error, self.other, self.odd) = (false, false, false, false);
        (self.usage, self.model) = (None, None);
        let mut walk = Walk::over(data, MAX_DEPTH)?;
        let value = walk.value()?;
        if !matches!(value, Value::Object) {
            self.error = matches!(value, Value::String(_));
            walk.finish(&value)?;
            return walk.end();
        }
        let mut last_end = None;
        while let Some(key) = walk.key()? {
            let start = key.span().start;
            // The usage member that stood first is cut together with the comma behind it.
            if let Some(usage) = self.usage.as_mut().filter(|usage| usage.member.start == usage.member.end) {
                usage.member = usage.member.start..start;
            }
            let begins = walk.value_start();
            let value = walk.value()?;
            match &*key.decode() {
                "choices" if matches!(value, Value::Array) => {
                    self.has_choices = true;
                    while walk.element()? {
                        self.read_choice(&mut walk)?;
                    }
                }
                "usage" => self.read_usage(&mut walk, &value, begins, last_end, start)?,
                "error" if !matches!(value, Value::Null) => {
                    self.error = true;
                    walk.finish(&value)?;
                }
                "object" => {
                    self.error |= matches!(value, Value::String(text) if text.is("error"));
                    walk.finish(&value)?;
                    self.envelope.push(start..walk.at());
                }
                "obfuscation" => walk.finish(&value)?,
                name => self.read_member(&mut walk, name, value, start, begins)?,
            }
            last_end = Some(walk.at());
        }
        if let (Some(usage), Some(end)) = (self.usage.as_mut(), last_end)
            && usage.member.is_empty()
        {
            usage.member = usage.member.start..end;
        }
        walk.end()
    }

    fn read_member(
        &mut self,
        walk: &mut Walk<'_>,
        name: &str,
        value: Value<'_>,
        start: usize,
        begins: usize,
    ) -> Result<(), Invalid> {
        match name {
            "id" | "created" | "model" | "system_fingerprint" | "service_tier" => {
                walk.finish(&value)?;
                if name == "model" {
                    self.model = Some(begins..walk.at());
                }
                self.envelope.push(start..walk.at());
            }
            _ => {
                self.other |= !matches!(value, Value::Null);
                self.texts.collect_member(walk, name, value, begins)?;
            }
        }
        Ok(())
    }

    fn read_usage(
        &mut self,
        walk: &mut Walk<'_>,
        value: &Value<'_>,
        begins: usize,
        last_end: Option<usize>,
        start: usize,
    ) -> Result<(), Invalid> {
        let counts = if matches!(value, Value::Object) {
            let mut counts = Counts::default();
            counts.read(walk)?;
            Some(counts)
        } else {
            walk.finish(value)?;
            None
        };
        let member = last_end.map_or(start..start, |end| end..walk.at());
        self.usage = Some(Reported { member, value: begins..walk.at(), counts });
        Ok(())
    }

    fn read_choice(&mut self, walk: &mut Walk<'_>) -> Result<(), Invalid> {
        let mut choice = Choice {
            index: u32::try_from(self.choices.len()).unwrap_or(u32::MAX),
            slots: self.slots.len()..self.slots.len(),
            ..Choice::default()
        };
        let value = walk.value()?;
        if !matches!(value, Value::Object) {
            self.odd = true;
            return walk.finish(&value);
        }
        while let Some(key) = walk.key()? {
            let begins = walk.value_start();
            let value = walk.value()?;
            match (&*key.decode(), value) {
                ("index", value) => {
                    walk.finish(&value)?;
                    choice.index = self.read_index(&value, choice.index);
                }
                ("finish_reason", Value::String(text)) => choice.finish = Some(text.span()),
                ("text", Value::String(text)) => self.add(Field::Text, 0, text),
                ("delta" | "message", Value::Object) => self.read_delta(walk, &mut choice)?,
                ("logprobs" | "token_ids", Value::Object | Value::Array) => {
                    walk.finish(&value)?;
                    choice.tokens.push(begins..walk.at());
                }
                (_, Value::Null) => {}
                (name, value) => {
                    choice.other = true;
                    self.texts.collect_member(walk, name, value, begins)?;
                }
            }
        }
        choice.slots.end = self.slots.len();
        self.choices.push(choice);
        Ok(())
    }

    /// Which of several it is. What cannot be told apart cannot be checked.
    fn read_index(&mut self, value: &Value<'_>, default: u32) -> u32 {
        let index = match value {
            Value::Number(number) => whole_index(number),
            Value::Null => return default,
            _ => None,
        };
        self.odd |= index.is_none();
        index.unwrap_or(default)
    }

    fn add(&mut self, field: Field, sub: u32, text: Str<'_>) {
        self.slots.push(Slot { field, sub, span: text.span(), call: None, signed: false });
    }

    fn read_delta(&mut self, walk: &mut Walk<'_>, choice: &mut Choice) -> Result<(), Invalid> {
        while let Some(key) = walk.key()? {
            let begins = walk.value_start();
            let value = walk.value()?;
            match (&*key.decode(), value) {
                ("content", Value::String(text)) => self.add(Field::Content, 0, text),
                ("reasoning_content", Value::String(text)) => self.add(Field::ReasoningContent, 0, text),
                ("reasoning", Value::String(text)) => self.add(Field::Reasoning, 0, text),
                ("refusal", Value::String(text)) => self.add(Field::Refusal, 0, text),
                ("role", Value::String(_)) => choice.role = true,
                ("tool_calls", Value::Array) => {
                    let mut position = 0;
                    while walk.element()? {
                        self.read_call(walk, choice, position)?;
                        position += 1;
                    }
                }
                ("function_call", Value::Object) => {
                    choice.calls |= self.read_function(walk, Field::FunctionArguments, LEGACY)?;
                }
                ("logprobs" | "token_ids", Value::Object | Value::Array) => {
                    walk.finish(&value)?;
                    choice.tokens.push(begins..walk.at());
                }
                (_, Value::Null) => {}
                (name, value) => self.read_other(walk, choice, name, key, value, begins)?,
            }
        }
        Ok(())
    }

    fn read_call(&mut self, walk: &mut Walk<'_>, choice: &mut Choice, position: u32) -> Result<(), Invalid> {
        let first = self.slots.len();
        let value = walk.value()?;
        if !matches!(value, Value::Object) {
            self.odd = true;
            return walk.finish(&value);
        }
        let (mut sub, mut id) = (position, None);
        while let Some(key) = walk.key()? {
            let begins = walk.value_start();
            let value = walk.value()?;
            match (&*key.decode(), value) {
                ("index", value) => {
                    walk.finish(&value)?;
                    sub = self.read_index(&value, sub);
                }
                ("id", Value::String(text)) if !text.raw().is_empty() => id = Some(text.span()),
                ("function", Value::Object) => {
                    choice.calls |= self.read_function(walk, Field::ToolArguments, position)?;
                }
                ("type", Value::String(_)) | (_, Value::Null) => {}
                (name, value) => {
                    self.path.push(Segment::Call);
                    self.read_other(walk, choice, name, key, value, begins)?;
                    self.path.clear();
                }
            }
        }
        for slot in &mut self.slots[first..] {
            slot.sub = sub;
        }
        if id.is_some() {
            choice.calls = true;
            match self.slots.get_mut(first) {
                Some(slot) => slot.call = id,
                None => choice.other = true,
            }
        }
        Ok(())
    }

    /// Whether it names a function.
    fn read_function(&mut self, walk: &mut Walk<'_>, arguments: Field, sub: u32) -> Result<bool, Invalid> {
        let mut named = false;
        while let Some(key) = walk.key()? {
            let begins = walk.value_start();
            let value = walk.value()?;
            match (&*key.decode(), value) {
                ("name", Value::String(text)) => {
                    named |= !text.raw().is_empty();
                    self.add(Field::Name, sub, text);
                }
                ("arguments", Value::String(text)) => self.add(arguments, sub, text),
                (name, value) => self.texts.collect_member(walk, name, value, begins)?,
            }
        }
        Ok(named)
    }
}
