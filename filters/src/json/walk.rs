//! The walk: a cursor that checks as it goes.

use std::borrow::Cow;
use std::ops::Range;

use super::text::{self, plain_run};

/// Where a body stops being JSON, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset}: {fault}")]
pub struct Invalid {
    /// Byte offset into what was walked.
    pub offset: usize,
    pub fault: Fault,
}

/// What is wrong, in words that say what to write instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("the body is empty; send a JSON object")]
    Empty,
    #[error("the text is not valid UTF-8; encode the whole body as UTF-8")]
    NotUtf8,
    #[error("the body begins with a byte order mark; leave it out")]
    ByteOrderMark,
    #[error("the body ends in the middle of a value; check that it was sent whole")]
    Ended,
    #[error("a value was expected here; write a string, number, object, array, true, false or null")]
    NoValue,
    #[error("a key in double quotes was expected here")]
    NoKey,
    #[error("a colon was expected after the key")]
    NoColon,
    #[error("a comma or the end of the object or array was expected here")]
    NoComma,
    #[error("there is something after the end of the JSON value; send one value and nothing after it")]
    Trailing,
    #[error("objects and arrays are nested too deeply here; flatten them")]
    TooDeep,
    #[error(
        "this is not a JSON number; write digits without leading zeros, with digits on both sides of a point"
    )]
    BadNumber,
    #[error("a control character stands in a string; write it as an escape, such as \\n or \\u0000")]
    ControlCharacter,
    #[error(
        "this is not a JSON escape; write one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t or \\u and four hex digits"
    )]
    BadEscape,
    #[error("half of a surrogate pair stands alone; write both halves, or the character itself")]
    LoneSurrogate,
    #[error("this key stands in the object a second time; send it once")]
    DuplicateKey,
}

/// A string literal that was checked. Cheap to copy; nothing is decoded until asked.
#[derive(Debug, Clone, Copy)]
pub struct Str<'a> {
    raw: &'a str,
    start: usize,
    escaped: bool,
}

/// A key is a string.
pub type Key<'a> = Str<'a>;

/// One step of the walk: a scalar whole, a container just entered.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// Go on with [`Walk::key`].
    Object,
    /// Go on with [`Walk::element`].
    Array,
    String(Str<'a>),
    /// As it is spelled.
    Number(&'a str),
    Bool(bool),
    Null,
}

/// A cursor over one JSON text.
///
/// Invariant: everything before `at` is a valid prefix of a JSON text, and `open` names the containers that are open there.
/// Memory is one byte per open container and nothing else.
#[derive(Debug)]
pub struct Walk<'a> {
    text: &'a str,
    at: usize,
    open: Vec<Container>,
    /// Whether the innermost container has no member yet: then no comma is due.
    fresh: bool,
    limit: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Object,
    Array,
}

impl<'a> Str<'a> {
    /// Between the quotes, as it is spelled.
    pub fn raw(self) -> &'a str {
        self.raw
    }

    /// Of the literal, quotes included.
    pub fn span(self) -> Range<usize> {
        self.start..self.start + self.raw.len() + 2
    }

    /// Whether a backslash stands in it: if not, `raw` is the decoded text.
    pub fn is_escaped(self) -> bool {
        self.escaped
    }

    pub fn decode(self) -> Cow<'a, str> {
        if self.escaped { text::decode(self.raw) } else { Cow::Borrowed(self.raw) }
    }

    /// Whether the decoded text is this one.
    pub fn is(self, other: &str) -> bool {
        if self.escaped { self.decode() == other } else { self.raw == other }
    }
}

impl Value<'_> {
    /// For messages: `an object`, `a string`, …
    pub fn noun(&self) -> &'static str {
        match self {
            Value::Object => "an object",
            Value::Array => "an array",
            Value::String(_) => "a string",
            Value::Number(_) => "a number",
            Value::Bool(_) => "a boolean",
            Value::Null => "null",
        }
    }
}

impl<'a> Walk<'a> {
    /// A walk over a body off the network; nesting deeper than `limit` is refused.
    pub fn new(body: &'a [u8], limit: usize) -> Result<Self, Invalid> {
        let text = std::str::from_utf8(body)
            .map_err(|e| Invalid { offset: e.valid_up_to(), fault: Fault::NotUtf8 })?;
        Self::over(text, limit)
    }

    /// The same over text that is UTF-8 already.
    pub fn over(text: &'a str, limit: usize) -> Result<Self, Invalid> {
        let mut walk = Walk { text, at: 0, open: Vec::new(), fresh: false, limit };
        if text.starts_with('\u{feff}') {
            return Err(walk.fault(Fault::ByteOrderMark));
        }
        walk.space();
        if walk.at == text.len() {
            return Err(walk.fault(Fault::Empty));
        }
        walk.open.reserve(16);
        Ok(walk)
    }

    /// What is walked over.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Offset of the next unread byte.
    pub fn at(&self) -> usize {
        self.at
    }

    /// How many containers are open.
    pub fn depth(&self) -> usize {
        self.open.len()
    }

    /// Whether the innermost open container is an object; `None` when none is open.
    pub(super) fn in_object(&self) -> Option<bool> {
        self.open.last().map(|container| *container == Container::Object)
    }

    /// Offset at which the next value begins.
    pub fn value_start(&mut self) -> usize {
        self.space();
        self.at
    }

    /// Reads a scalar, or enters a container.
    pub fn value(&mut self) -> Result<Value<'a>, Invalid> {
        self.space();
        let Some(&byte) = self.text.as_bytes().get(self.at) else {
            return Err(self.fault(Fault::Ended));
        };
        let value = match byte {
            b'"' => Value::String(self.string()?),
            b'{' => return self.enter(Container::Object),
            b'[' => return self.enter(Container::Array),
            b'-' | b'0'..=b'9' => Value::Number(self.number()?),
            b't' => self.word("true", Value::Bool(true))?,
            b'f' => self.word("false", Value::Bool(false))?,
            b'n' => self.word("null", Value::Null)?,
            _ => return Err(self.fault(Fault::NoValue)),
        };
        self.fresh = false;
        Ok(value)
    }

    /// In an object: the next key, or `None` when the object ends here (and is left).
    pub fn key(&mut self) -> Result<Option<Key<'a>>, Invalid> {
        debug_assert_eq!(self.open.last(), Some(&Container::Object), "key() is for objects");
        self.space();
        let bytes = self.text.as_bytes();
        match bytes.get(self.at) {
            Some(b'}') => {
                self.leave();
                return Ok(None);
            }
            Some(b',') if !self.fresh => {
                self.at += 1;
                self.space();
            }
            Some(_) if self.fresh => {}
            Some(_) => return Err(self.fault(Fault::NoComma)),
            None => return Err(self.fault(Fault::Ended)),
        }
        match bytes.get(self.at) {
            Some(b'"') => {}
            Some(_) => return Err(self.fault(Fault::NoKey)),
            None => return Err(self.fault(Fault::Ended)),
        }
        let key = self.string()?;
        self.space();
        match bytes.get(self.at) {
            Some(b':') => self.at += 1,
            Some(_) => return Err(self.fault(Fault::NoColon)),
            None => return Err(self.fault(Fault::Ended)),
        }
        self.fresh = false;
        Ok(Some(key))
    }

    /// In an array: whether there is another element to read; if not, the array is left.
    pub fn element(&mut self) -> Result<bool, Invalid> {
        debug_assert_eq!(self.open.last(), Some(&Container::Array), "element() is for arrays");
        self.space();
        match self.text.as_bytes().get(self.at) {
            Some(b']') => {
                self.leave();
                Ok(false)
            }
            Some(b',') if !self.fresh => {
                self.at += 1;
                Ok(true)
            }
            Some(_) if self.fresh => Ok(true),
            Some(_) => Err(self.fault(Fault::NoComma)),
            None => Err(self.fault(Fault::Ended)),
        }
    }

    /// Reads and checks a whole value, nested ones included; its span.
    pub fn skip(&mut self) -> Result<Range<usize>, Invalid> {
        let start = self.value_start();
        let value = self.value()?;
        self.finish(&value)?;
        Ok(start..self.at)
    }

    /// Reads to the end of a value that [`Walk::value`] has just returned: containers are walked through and left, scalars
    /// have nothing left.
    pub fn finish(&mut self, value: &Value<'_>) -> Result<(), Invalid> {
        if matches!(value, Value::Object | Value::Array) { self.leave_container() } else { Ok(()) }
    }

    /// Reads to the end of the innermost open container, from between two of its members.
    pub fn leave_container(&mut self) -> Result<(), Invalid> {
        let floor = self.open.len().saturating_sub(1);
        while let Some(container) = self.open.get(floor..).and_then(<[_]>::last) {
            let more = match container {
                Container::Object => self.key()?.is_some(),
                Container::Array => self.element()?,
            };
            if more {
                self.value()?;
            }
        }
        Ok(())
    }

    /// After the one value of the text: nothing but white space may follow.
    pub fn end(&mut self) -> Result<(), Invalid> {
        self.space();
        if self.at < self.text.len() { Err(self.fault(Fault::Trailing)) } else { Ok(()) }
    }

    fn fault(&self, fault: Fault) -> Invalid {
        Invalid { offset: self.at, fault }
    }

    fn space(&mut self) {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(self.at) {
            self.at += 1;
        }
    }

    fn enter(&mut self, container: Container) -> Result<Value<'a>, Invalid> {
        if self.open.len() >= self.limit {
            return Err(self.fault(Fault::TooDeep));
        }
        self.at += 1;
        self.open.push(container);
        self.fresh = true;
        Ok(match container {
            Container::Object => Value::Object,
            Container::Array => Value::Array,
        })
    }

    fn leave(&mut self) {
        self.at += 1;
        self.open.pop();
        self.fresh = false;
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, Invalid> {
        let rest = &self.text.as_bytes()[self.at..];
        if rest.starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(value);
        }
        let cut_short = word.as_bytes().starts_with(rest);
        Err(self.fault(if cut_short { Fault::Ended } else { Fault::NoValue }))
    }

    /// `at` is on the opening quote; afterwards it is past the closing one.
    fn string(&mut self) -> Result<Str<'a>, Invalid> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut at = start + 1;
        let mut escaped = false;
        loop {
            at += plain_run(&bytes[at..]);
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    // Runs of short escapes (`\n\t\t`) without going back to words of plain text.
                    while let Some([b'\\', b'n' | b't' | b'r' | b'"' | b'\\' | b'/']) = bytes.get(at..at + 2)
                    {
                        at += 2;
                    }
                    if bytes.get(at) != Some(&b'\\') {
                        continue;
                    }
                    at += text::escape_len(&bytes[at..])
                        .map_err(|(offset, fault)| Invalid { offset: at + offset, fault })?;
                }
                Some(_) => return Err(Invalid { offset: at, fault: Fault::ControlCharacter }),
                None => return Err(Invalid { offset: at, fault: Fault::Ended }),
            }
        }
        self.at = at + 1;
        Ok(Str { raw: &self.text[start + 1..at], start, escaped })
    }

    /// RFC 8259 section 6.
    fn number(&mut self) -> Result<&'a str, Invalid> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        if bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        let whole = self.digits()?;
        if whole > 1 && bytes[self.at - whole] == b'0' {
            return Err(Invalid { offset: self.at - whole, fault: Fault::BadNumber });
        }
        if bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = bytes.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    /// At least one digit; how many.
    fn digits(&mut self) -> Result<usize, Invalid> {
        let rest = &self.text.as_bytes()[self.at..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return Err(self.fault(if rest.is_empty() { Fault::Ended } else { Fault::BadNumber }));
        }
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
