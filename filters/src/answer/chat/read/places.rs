//! Members of choices and deltas that no surface names: what of them comes whole, and what in pieces.

use std::ops::Range;

use super::{Choice, Chunk, Slot};
use crate::answer::lanes::Field;
use crate::answer::texts::{THINKING, VERDICTS, is_no_text, is_signature};
use crate::json::{Invalid, Key, Str, Value, Walk, is_base64};

/// Where a text stands in a choice or its delta that no surface names.
#[derive(Debug)]
pub(in crate::answer::chat) struct Place {
    path: Vec<Segment>,
    /// What stands around it in a delta made here: what stood there when it was first seen, other texts left out.
    pub(in crate::answer::chat) before: String,
    pub(in crate::answer::chat) after: String,
    /// What it is a member of.
    pub(in crate::answer::chat) of: Owner,
}

/// What a member that no surface names is one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::answer::chat) enum Owner {
    Choice,
    Delta,
    Call,
    CalledFunction,
    /// `function_call`
    Function,
}

/// One step of a path into a choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    /// From the choice itself, not from its delta.
    Choice,
    /// A tool call, whichever it is.
    Call,
    /// Of the call, or without one of the delta.
    Function,
    Key(String),
    Element(usize),
}

/// Most places that are told apart in one answer.
const MAX_PLACES: usize = 256;

/// Most bytes that stand around a text, other texts left out.
const MAX_AROUND: usize = 16 << 10;

/// Texts of thinking that a signature vouches for.
const SIGNED: [&str; 2] = ["text", "thinking"];

/// Longest string under a key without text that is a word, such as a type, and no payload.
const LONGEST_WORD: usize = 64;

/// Members of deltas and calls that come whole, with all that is in them.
const WHOLE: [&str; 5] = ["annotations", "citations", "extra_content", "images", "search_results"];

impl Chunk {
    /// A member of a choice, of its delta, or of a call in that, that no surface names.
    pub(super) fn read_other(
        &mut self,
        walk: &mut Walk<'_>,
        choice: &mut Choice,
        name: &str,
        key: Key<'_>,
        value: Value<'_>,
        begins: usize,
    ) -> Result<(), Invalid> {
        choice.other = true;
        if WHOLE.contains(&name) || VERDICTS.contains(&name) {
            return self.texts.collect_member(walk, name, value, begins);
        }
        let (first, known) = (self.slots.len(), self.places.len());
        self.path.push(Segment::Key(name.to_owned()));
        self.read_unknown(walk, choice, value, begins)?;
        self.path.pop();
        self.remember_places(walk.text(), key.span().start..walk.at(), first, known);
        Ok(())
    }

    /// What no surface names: each of its strings is a lane of its own, known by its place.
    fn read_unknown(
        &mut self,
        walk: &mut Walk<'_>,
        choice: &mut Choice,
        value: Value<'_>,
        begins: usize,
    ) -> Result<(), Invalid> {
        match value {
            Value::String(text) => {
                let name = match self.path.last() {
                    Some(Segment::Key(name)) => &**name,
                    _ => "",
                };
                let part_of_audio = name == "data" && self.path.first().is_some_and(|path| path.is("audio"));
                if is_no_text(name, text) || part_of_audio && is_base64(text.raw()) {
                    if is_signature(name) || text.raw().len() > LONGEST_WORD {
                        self.once.push(text.span());
                    }
                } else if matches!(name, "url" | "uri" | "image_url") {
                    self.once.push(text.span());
                    self.texts.collect_member(walk, name, value, begins)?;
                } else {
                    self.add_other(text);
                }
            }
            Value::Object => {
                while let Some(key) = walk.key()? {
                    self.path.push(Segment::Key(key.decode().into_owned()));
                    let begins = walk.value_start();
                    let value = walk.value()?;
                    self.read_unknown(walk, choice, value, begins)?;
                    self.path.pop();
                }
            }
            Value::Array
                if self.path.last().is_some_and(|path| THINKING.iter().any(|name| path.is(name))) =>
            {
                self.read_thinking(walk, choice)?;
            }
            Value::Array => {
                let mut at = 0;
                while walk.element()? {
                    self.path.push(Segment::Element(at));
                    let begins = walk.value_start();
                    let value = walk.value()?;
                    self.read_unknown(walk, choice, value, begins)?;
                    self.path.pop();
                    at += 1;
                }
            }
            Value::Number(_) | Value::Bool(_) | Value::Null => {}
        }
        Ok(())
    }

    /// The rest of an array of thinking. Its elements say themselves which they are, and what of them is signed.
    fn read_thinking(&mut self, walk: &mut Walk<'_>, choice: &mut Choice) -> Result<(), Invalid> {
        let mut position = 0;
        while walk.element()? {
            let begins = walk.value_start();
            match walk.value()? {
                Value::Object => self.read_thought(walk, choice, position)?,
                value => {
                    self.path.push(Segment::Element(position as usize));
                    self.read_unknown(walk, choice, value, begins)?;
                    self.path.pop();
                }
            }
            position += 1;
        }
        Ok(())
    }

    fn read_thought(
        &mut self,
        walk: &mut Walk<'_>,
        choice: &mut Choice,
        position: u32,
    ) -> Result<(), Invalid> {
        let (mut at, mut may_be_signed, mut signature) = (position, true, false);
        let mut texts: Vec<(String, Str<'_>)> = Vec::new();
        while let Some(key) = walk.key()? {
            let begins = walk.value_start();
            let value = walk.value()?;
            match (&*key.decode(), value) {
                ("index", value) => {
                    walk.finish(&value)?;
                    at = self.read_index(&value, at);
                }
                // Whose thinking is signed says so here, or nothing.
                ("format", Value::String(text)) => may_be_signed = text.raw().starts_with("anthropic"),
                ("signature", Value::String(text)) => {
                    signature = !text.raw().is_empty();
                    self.once.push(text.span());
                }
                ("data", Value::String(text)) if is_base64(text.raw()) => self.once.push(text.span()),
                (name, Value::String(text)) if is_no_text(name, text) => {}
                (name, Value::String(text)) => texts.push((name.to_owned(), text)),
                (name, value) => {
                    self.path.extend([Segment::Element(position as usize), Segment::Key(name.to_owned())]);
                    self.read_unknown(walk, choice, value, begins)?;
                    self.path.truncate(self.path.len() - 2);
                }
            }
        }
        self.path.push(Segment::Element(at as usize));
        for (name, text) in texts {
            let signed = (signature || may_be_signed) && SIGNED.contains(&&*name);
            self.path.push(Segment::Key(name));
            let first = self.slots.len();
            self.add_other(text);
            for slot in &mut self.slots[first..] {
                slot.signed = signed;
            }
            self.path.pop();
        }
        for name in SIGNED.iter().filter(|_| signature) {
            self.path.push(Segment::Key((*name).to_owned()));
            if let Some(at) = self.places.iter().position(|place| place.path == self.path) {
                choice.signed.push(Field::Other(at as u16));
            }
            self.path.pop();
        }
        self.path.pop();
        Ok(())
    }

    /// A text at the place where the path leads.
    fn add_other(&mut self, text: Str<'_>) {
        let at = match self.places.iter().position(|place| place.path == self.path) {
            Some(at) => at,
            None if self.places.len() < MAX_PLACES => {
                let of = match &self.path[..] {
                    [Segment::Choice, ..] => Owner::Choice,
                    [Segment::Call, Segment::Function, ..] => Owner::CalledFunction,
                    [Segment::Call, ..] => Owner::Call,
                    [Segment::Function, ..] => Owner::Function,
                    _ => Owner::Delta,
                };
                let path = self.path.clone();
                self.places.push(Place { path, before: String::new(), after: String::new(), of });
                self.places.len() - 1
            }
            None => {
                self.odd = true;
                return;
            }
        };
        self.add(Field::Other(at as u16), 0, text);
    }

    /// Keeps what stands around the texts of `member` that are seen for the first time: `slots[first..]` are its texts, and
    /// `places[known..]` are new.
    fn remember_places(&mut self, data: &str, member: Range<usize>, first: usize, known: usize) {
        if self.places.len() == known {
            return;
        }
        let texts = self.slots[first..].iter().map(|slot| &slot.span);
        let mut others: Vec<Range<usize>> = texts.chain(&self.once).cloned().collect();
        others.sort_by_key(|span| span.start);
        for (at, place) in self.places.iter_mut().enumerate().skip(known) {
            let here = |slot: &&Slot| slot.field == Field::Other(at as u16);
            let Some(slot) = self.slots[first..].iter().find(here) else { continue };
            place.before = emptied(data, member.start..slot.span.start, &others);
            place.after = emptied(data, slot.span.end..member.end, &others);
            self.odd |= place.before.len() + place.after.len() > MAX_AROUND;
        }
    }
}

impl Segment {
    fn is(&self, name: &str) -> bool {
        matches!(self, Segment::Key(key) if key == name)
    }
}

/// What stands at `span`, with the empty string in the place of `literals`.
fn emptied(data: &str, span: Range<usize>, literals: &[Range<usize>]) -> String {
    let mut out = String::new();
    let mut done = span.start;
    for literal in literals.iter().filter(|literal| span.start <= literal.start && literal.end <= span.end) {
        out.push_str(&data[done..literal.start]);
        out.push_str("\"\"");
        done = literal.end;
    }
    out.push_str(&data[done..span.end]);
    out
}
