//! Tool arguments: JSON inside a JSON string, cut anywhere, scanned while it stays JSON.
//!
//! A tokenizer walks the decoded argument text. What stands inside strings, keys and values, is decoded once more and goes
//! through a scanner; numbers are held until they are whole and scanned as text. What leaves is the very text that came in but
//! for what was masked, and is valid JSON if the input was.
//!
//! Where the text stops being JSON it is scanned as plain text from there on, escapes still decoded: some client will read it
//! leniently. Values are scanned one by one, each behind what stands before it in the JSON, as in `{"password": "…"`: what is split
//! over two strings or two numbers is not joined.

mod escape;
mod pending;

use super::core::{Halt, pass};
use crate::scan::{End, Masker, Scanner, Shape, number_stand_in};
pub(super) use escape::Escape;
use pending::Pending;

/// Deepest nesting that is still treated as JSON.
const MAX_DEPTH: usize = 256;

/// Longest number that is still treated as one; held bytes are bounded by it.
const MAX_TOKEN: usize = 512;

/// Bytes of decoded JSON that a value is read behind: more than words of context reach.
const SEEN: usize = 96;

#[derive(Debug)]
pub(super) struct Arguments {
    text: Scanner,
    number: Scanner,
    state: State,
    open: Vec<Container>,
    /// A number or word, with the white space behind it: it leaves when a delimiter shows that it is one.
    token: String,
    /// The beginning of an escape that the last piece cut.
    cut: String,
    pending: Pending,
    /// The end of what was read, decoded.
    seen: String,
    /// What the value stands behind that begins now, while its scanner has seen nothing of it.
    before: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Object,
    Array,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Value,
    FirstElement,
    Key,
    FirstKey,
    Colon,
    Comma,
    /// The one value is over; only white space may follow.
    Over,
    Text {
        key: bool,
    },
    Token,
    /// No longer JSON.
    Plain,
}

impl Arguments {
    /// `scanner` makes the scanners of strings and of numbers.
    pub(super) fn new(scanner: impl Fn() -> Scanner) -> Arguments {
        Arguments {
            text: scanner().shaped(Shape::JsonString),
            number: scanner().shaped(Shape::JsonNumber),
            state: State::Value,
            open: Vec::new(),
            token: String::new(),
            cut: String::new(),
            pending: Pending::default(),
            seen: String::new(),
            before: None,
        }
    }

    /// Takes the next piece; appends to `out` what may leave now.
    pub(super) fn push(&mut self, piece: &str, masker: &mut Masker, out: &mut String) -> Result<(), Halt> {
        if self.cut.is_empty() {
            return self.walk(piece, masker, out);
        }
        let mut joined = std::mem::take(&mut self.cut);
        joined.push_str(piece);
        self.walk(&joined, masker, out)
    }

    /// The arguments are over: appends the rest. A new call may begin.
    pub(super) fn finish(&mut self, end: End, masker: &mut Masker, out: &mut String) -> Result<(), Halt> {
        let cut = std::mem::take(&mut self.cut);
        let mut rest = &cut[..];
        while let Some(first) = rest.chars().next() {
            // An escape that never became whole stays as it is.
            let escape = if first == '\\' { Escape::read_last(rest) } else { Escape::Bad };
            let len = match escape {
                Escape::Char(character, len) => {
                    self.pending.add_escape(&rest[..len], character, self.state == State::Plain);
                    len
                }
                Escape::Cut | Escape::Bad => {
                    self.pending.add_plain(&rest[..first.len_utf8()]);
                    first.len_utf8()
                }
            };
            rest = &rest[len..];
        }
        match self.state {
            State::Text { .. } | State::Plain => self.end_text(end, masker, out)?,
            State::Token => self.end_token(end, masker, out)?,
            _ => {}
        }
        self.state = State::Value;
        self.text.set_shape(Shape::JsonString);
        self.open.clear();
        self.seen.clear();
        Ok(())
    }

    /// Throws away what is held; how many bytes that was.
    pub(super) fn discard(&mut self) -> usize {
        let held = self.held();
        self.text.discard();
        self.token.clear();
        self.cut.clear();
        self.pending = Pending::default();
        self.seen.clear();
        self.before = None;
        held
    }

    /// Whether a whole value is there.
    pub(super) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    pub(super) fn held(&self) -> usize {
        self.token.len() + self.cut.len() + self.text.held()
    }

    fn walk(&mut self, piece: &str, masker: &mut Masker, out: &mut String) -> Result<(), Halt> {
        let mut rest = piece;
        while !rest.is_empty() {
            let taken = match self.state {
                State::Text { .. } | State::Plain => self.take_text(rest, masker, out)?,
                State::Token => self.take_token(rest, masker, out)?,
                _ => self.take_structure(rest, out),
            };
            rest = &rest[taken..];
            if taken == 0 && !self.cut.is_empty() {
                break;
            }
        }
        if matches!(self.state, State::Text { .. } | State::Plain) {
            self.scan_pending(masker, out)?;
        }
        Ok(())
    }

    /// Takes white space and one structural character, or finds that a string, a token or something else begins.
    fn take_structure(&mut self, rest: &str, out: &mut String) -> usize {
        let space = rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
        out.push_str(&rest[..space]);
        let Some(&byte) = rest.as_bytes().get(space) else { return space };
        let next = match (self.state, byte) {
            (State::Value | State::FirstElement, b'{') => self.enter(Container::Object, State::FirstKey),
            (State::Value | State::FirstElement, b'[') => self.enter(Container::Array, State::FirstElement),
            (State::Value | State::FirstElement, b'"') => State::Text { key: false },
            (State::Key | State::FirstKey, b'"') => State::Text { key: true },
            (State::Value | State::FirstElement, b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
                self.state = State::Token;
                self.begin();
                return space;
            }
            (State::FirstElement, b']') | (State::FirstKey, b'}') => self.leave(),
            (State::Colon, b':') => State::Value,
            (State::Comma, b',' | b'}' | b']') => match self.delimit(byte) {
                Some(state) => state,
                None => return self.give_up(space),
            },
            _ => return self.give_up(space),
        };
        if next == State::Plain {
            return self.give_up(space);
        }
        self.state = next;
        out.push(char::from(byte));
        self.see(char::from(byte).encode_utf8(&mut [0; 4]));
        if next == (State::Text { key: false }) {
            self.begin();
        }
        space + 1
    }

    /// From the byte at `space` on the text is not JSON.
    fn give_up(&mut self, space: usize) -> usize {
        self.begin();
        self.be_plain();
        space
    }

    fn be_plain(&mut self) {
        self.state = State::Plain;
        self.text.set_shape(Shape::Text);
    }

    fn enter(&mut self, container: Container, state: State) -> State {
        if self.open.len() >= MAX_DEPTH {
            return State::Plain;
        }
        self.open.push(container);
        state
    }

    fn leave(&mut self) -> State {
        self.open.pop();
        if self.open.is_empty() { State::Over } else { State::Comma }
    }

    /// What a comma or closing bracket after a value leads to; `None`: it does not belong there.
    fn delimit(&mut self, byte: u8) -> Option<State> {
        match (self.open.last()?, byte) {
            (Container::Object, b',') => Some(State::Key),
            (Container::Array, b',') => Some(State::Value),
            (Container::Object, b'}') | (Container::Array, b']') => Some(self.leave()),
            _ => None,
        }
    }

    /// Takes what stands inside a string up to its quote or to the end of the piece.
    fn take_text(&mut self, rest: &str, masker: &mut Masker, out: &mut String) -> Result<usize, Halt> {
        let plain = self.state == State::Plain;
        let stop = |byte: &u8| *byte == b'\\' || !plain && (*byte == b'"' || *byte < 0x20);
        let run = rest.bytes().position(|byte| stop(&byte)).unwrap_or(rest.len());
        if run > 0 {
            self.pending.add_plain(&rest[..run]);
            self.see(&rest[..run]);
            return Ok(run);
        }
        match rest.as_bytes().first() {
            Some(b'"') => {
                self.end_text(End::Whole, masker, out)?;
                out.push('"');
                self.see("\"");
                self.state = match self.state {
                    State::Text { key: true } => State::Colon,
                    _ if self.open.is_empty() => State::Over,
                    _ => State::Comma,
                };
                Ok(1)
            }
            Some(b'\\') => match Escape::read(rest) {
                Escape::Char(character, len) => {
                    self.pending.add_escape(&rest[..len], character, plain);
                    self.see(character.encode_utf8(&mut [0; 4]));
                    Ok(len)
                }
                Escape::Cut => {
                    self.cut.push_str(rest);
                    Ok(0)
                }
                Escape::Bad => {
                    self.turn_plain(masker, out)?;
                    self.pending.add_plain("\\");
                    Ok(1)
                }
            },
            _ => {
                // A control character: no JSON string has one, so whatever reads this is lenient.
                self.turn_plain(masker, out)?;
                Ok(0)
            }
        }
    }

    fn see(&mut self, text: &str) {
        if self.state == State::Plain {
            return;
        }
        self.seen.push_str(end_of(text));
        if self.seen.len() > 4 * SEEN {
            self.seen.drain(..self.seen.len() - end_of(&self.seen).len());
        }
    }

    /// What comes next stands behind what was seen.
    fn begin(&mut self) {
        let before = end_of(&self.seen);
        // Without a word nothing is said of it.
        self.before = before.contains(|c: char| c.is_alphanumeric()).then(|| before.to_owned());
    }

    /// A string turns out to be none of JSON's.
    fn turn_plain(&mut self, masker: &mut Masker, out: &mut String) -> Result<(), Halt> {
        if self.state != State::Plain {
            self.scan_pending(masker, out)?;
            self.be_plain();
            self.pending.turn_verbatim();
        }
        Ok(())
    }

    fn scan_pending(&mut self, masker: &mut Masker, out: &mut String) -> Result<(), Halt> {
        let verbatim = self.state == State::Plain;
        if self.pending.has_next()
            && let Some(before) = self.before.take()
        {
            self.text.begin_after(&before, masker);
        }
        loop {
            let mut released = self.pending.released();
            let Some(next) = self.pending.next() else { return Ok(()) };
            let flow = self.text.push(next, masker, &mut released);
            self.pending.settle(released, self.text.held(), verbatim, out);
            pass(&self.text, &flow)?;
        }
    }

    fn end_text(&mut self, end: End, masker: &mut Masker, out: &mut String) -> Result<(), Halt> {
        self.scan_pending(masker, out)?;
        let mut released = self.pending.released();
        let flow = self.text.finish(masker, end, &mut released);
        self.before = None;
        self.pending.settle(released, 0, self.state == State::Plain, out);
        pass(&self.text, &flow)
    }

    /// Takes what can belong to a number or word, then white space; a delimiter ends it, all else shows it was none.
    fn take_token(&mut self, rest: &str, masker: &mut Masker, out: &mut String) -> Result<usize, Halt> {
        let spaced = self.token.ends_with([' ', '\t', '\n', '\r']);
        let belongs = |byte: u8| match byte {
            b' ' | b'\t' | b'\n' | b'\r' => true,
            b'+' | b'-' | b'.' => !spaced,
            _ => !spaced && byte.is_ascii_alphanumeric(),
        };
        let first = rest.as_bytes()[0];
        if belongs(first) {
            let space_first = first.is_ascii_whitespace();
            let run = rest
                .bytes()
                .position(|byte| !belongs(byte) || byte.is_ascii_whitespace() != space_first)
                .unwrap_or(rest.len());
            self.token.push_str(&rest[..run]);
            if self.token.len() > MAX_TOKEN {
                self.token_is_plain();
            }
            return Ok(run);
        }
        let delimiter = matches!(first, b',' | b'}' | b']');
        if delimiter && is_scalar(self.token.trim_end()) && !self.open.is_empty() {
            self.end_token(End::Whole, masker, out)?;
            self.state = State::Comma;
        } else {
            self.token_is_plain();
        }
        Ok(0)
    }

    fn token_is_plain(&mut self) {
        self.be_plain();
        let token = std::mem::take(&mut self.token);
        self.pending.add_plain(&token);
    }

    fn end_token(&mut self, end: End, masker: &mut Masker, out: &mut String) -> Result<(), Halt> {
        let token = std::mem::take(&mut self.token);
        let value = token.trim_end();
        if !is_scalar(value) {
            // Cut in its middle: nothing that a number's form could protect.
            self.be_plain();
            self.pending.add_plain(&token);
            return self.end_text(end, masker, out);
        }
        let mut released = String::new();
        if value.as_bytes()[0].is_ascii_alphabetic() {
            released.push_str(value);
        } else {
            // A minus would make a subtraction of it, and hide what the digits are.
            released.push_str(if value.starts_with('-') { "-" } else { "" });
            let digits = value.trim_start_matches('-');
            if let Some(before) = self.before.take() {
                self.number.begin_after(&before, masker);
            }
            let flow = self.number.push(digits, masker, &mut released);
            pass(&self.number, &flow)?;
            let flow = self.number.finish(masker, end, &mut released);
            pass(&self.number, &flow)?;
        }
        match self.number.take_counted() {
            // A stand-in inside a number (`1` + `9000001` + `.5`) need not be one: the whole number goes.
            Some(counted) => out.push_str(&number_stand_in(value, counted)),
            // A pseudonym was put back, perhaps by what is no number.
            None if is_scalar(&released) => out.push_str(&released),
            None => out.push_str(value),
        }
        out.push_str(&token[value.len()..]);
        self.before = None;
        self.see(value);
        Ok(())
    }
}

/// The end of what was seen.
fn end_of(seen: &str) -> &str {
    let mut from = seen.len().saturating_sub(SEEN);
    while !seen.is_char_boundary(from) {
        from += 1;
    }
    &seen[from..]
}

/// Whether this is a JSON number, `true`, `false` or `null` (RFC 8259 sections 3 and 6).
fn is_scalar(token: &str) -> bool {
    if matches!(token, "true" | "false" | "null") {
        return true;
    }
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let rest = token.strip_prefix('-').unwrap_or(token);
    let whole = digits(rest);
    if whole == 0 || whole > 1 && rest.starts_with('0') {
        return false;
    }
    let mut rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix('.') {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = &fraction[count..];
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        return !exponent.is_empty() && digits(exponent) == exponent.len();
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests;
