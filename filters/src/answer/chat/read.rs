//! One chunk of a chat or completions stream, read where it lies.

mod places;

use std::ops::Range;

use places::Segment;
pub(super) use places::{Owner, Place};

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
    /// Texts in members of choices and deltas that no surface names.
    pub(super) places: Vec<Place>,
    /// Texts beside the choices' own: each stands whole in this chunk.
    pub(super) texts: Texts,
    /// It has a form in which text cannot be told from the rest, or more members than can be told apart.
    pub(super) odd: bool,
    path: Vec<Segment>,
    /// Choices whose deltas have said something.
    spoken: Vec<u32>,
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
    /// A stop sequence or token cut it.
    pub(super) stopped: bool,
    /// Values that tell the tokens of the text: `logprobs`, `token_ids`.
    pub(super) tokens: Vec<Range<usize>>,
    /// `slots[..]` of this choice.
    pub(super) slots: Range<usize>,
    /// Lanes whose signature is here: nothing of them may follow.
    pub(super) signed: Vec<Field>,
    pub(super) role: bool,
    /// What a `message` says again that deltas say.
    pub(super) repeated: Vec<Range<usize>>,
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

/// What a delta or message added to a chunk, and to a choice.
struct Said {
    slots: Range<usize>,
    signed: Range<usize>,
    tokens: Range<usize>,
}

/// Members of choices that come whole, with all that is in them.
const CHOICE_WHOLE: [&str; 7] = [
    "content_filter_offsets",
    "error",
    "finish_details",
    "matched_stop",
    "native_finish_reason",
    "prompt_logprobs",
    "stop_reason",
];

/// The "tool" of a legacy `function_call`.
const LEGACY: u32 = u32::MAX;

impl Chunk {
    /// Whether the choice at `at` has a text in it that is not empty.
    pub(super) fn speaks(&self, at: usize) -> bool {
        self.slots[self.choices[at].slots.clone()].iter().any(|slot| slot.span.len() > 2)
    }

    /// The choices that have one.
    pub(super) fn speaking(&self) -> impl Iterator<Item = u32> {
        (0..self.choices.len()).filter(|at| self.speaks(*at)).map(|at| self.choices[at].index)
    }

    /// Whether a choice has both a text and its end in it.
    pub(super) fn ends_with_text(&self) -> bool {
        (0..self.choices.len()).any(|at| self.choices[at].finish.is_some() && self.speaks(at))
    }

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
        let (mut delta, mut message) = (None, None);
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
                (name @ ("delta" | "message"), Value::Object) => {
                    let read = self.read_said(walk, &mut choice)?;
                    let said = if name == "delta" { &mut delta } else { &mut message };
                    self.odd |= said.replace(read).is_some();
                }
                ("logprobs" | "token_ids", Value::Object | Value::Array) => {
                    walk.finish(&value)?;
                    choice.tokens.push(begins..walk.at());
                }
                (_, Value::Null) => {}
                (name, value) if CHOICE_WHOLE.contains(&name) => {
                    choice.other = true;
                    // A number is the token that ends every answer of some models.
                    let stop = matches!(value, Value::String(text) if !text.raw().is_empty());
                    choice.stopped |= stop && matches!(name, "stop_reason" | "matched_stop");
                    self.texts.collect_member(walk, name, value, begins)?;
                }
                (name, value) => {
                    self.path.push(Segment::Choice);
                    self.read_other(walk, &mut choice, name, key, value, begins)?;
                    self.path.pop();
                }
            }
        }
        self.set_apart(&mut choice, delta, message);
        choice.slots.end = self.slots.len();
        self.choices.push(choice);
        Ok(())
    }

    fn read_said(&mut self, walk: &mut Walk<'_>, choice: &mut Choice) -> Result<Said, Invalid> {
        let (slots, signed, tokens) = (self.slots.len(), choice.signed.len(), choice.tokens.len());
        self.read_delta(walk, choice)?;
        Ok(Said {
            slots: slots..self.slots.len(),
            signed: signed..choice.signed.len(),
            tokens: tokens..choice.tokens.len(),
        })
    }

    /// Some servers send a `message` with all that was said so far beside deltas, or behind them: of their lanes it is no part.
    fn set_apart(&mut self, choice: &mut Choice, delta: Option<Said>, message: Option<Said>) {
        let says = |slot: &Slot| slot.span.len() > 2;
        if delta.is_some_and(|delta| self.slots[delta.slots].iter().any(says))
            && !self.spoken.contains(&choice.index)
        {
            self.spoken.push(choice.index);
        }
        let Some(message) = message.filter(|_| self.spoken.contains(&choice.index)) else { return };
        choice.repeated.extend(self.slots.drain(message.slots).map(|slot| slot.span));
        choice.repeated.extend(choice.tokens.drain(message.tokens));
        choice.signed.drain(message.signed);
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
                    self.read_function(walk, choice, Field::FunctionArguments, LEGACY)?;
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
                    self.path.push(Segment::Call);
                    self.read_function(walk, choice, Field::ToolArguments, position)?;
                    self.path.pop();
                }
                ("type", Value::String(_)) | (_, Value::Null) => {}
                (name, value) => {
                    self.path.push(Segment::Call);
                    self.read_other(walk, choice, name, key, value, begins)?;
                    self.path.pop();
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

    fn read_function(
        &mut self,
        walk: &mut Walk<'_>,
        choice: &mut Choice,
        arguments: Field,
        sub: u32,
    ) -> Result<(), Invalid> {
        while let Some(key) = walk.key()? {
            let begins = walk.value_start();
            let value = walk.value()?;
            match (&*key.decode(), value) {
                ("name", Value::String(text)) => {
                    choice.calls |= !text.raw().is_empty();
                    self.add(Field::Name, sub, text);
                }
                ("arguments", Value::String(text)) => self.add(arguments, sub, text),
                ("arguments", value) => self.texts.collect_member(walk, "arguments", value, begins)?,
                (_, Value::Null) => {}
                (name, value) => {
                    self.path.push(Segment::Function);
                    self.read_other(walk, choice, name, key, value, begins)?;
                    self.path.pop();
                }
            }
        }
        Ok(())
    }
}
