//! The push decoder of server-sent events.

use std::ops::Range;

use memchr::memchr2;

use super::{Event, Frame, TooLarge};

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Capacity that an emptied buffer may keep; what one large event needed is given back.
const KEPT_CAPACITY: usize = 64 << 10;

/// Decodes server-sent events that arrive in any cut: inside a character, inside `\r\n`, inside `data:`.
///
/// [`Decoder::feed`] takes bytes, [`Decoder::next_frame`] gives what is whole. Every byte is looked at once:
///
/// ```text
/// buffer   | dispatched | lines of the open event | line being read | not yet searched |
///          0          start                      line            searched             len
/// ```
///
/// `start <= line <= searched <= len`. A CR ends its line at once, so that an event never waits for the byte behind it; if
/// that byte turns out to be the LF of a CRLF it is skipped, in this chunk or the next (`a\r` + `\nb` is two lines, not three).
#[derive(Debug)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
    line: usize,
    searched: usize,
    /// The last byte consumed was a CR: an LF that follows belongs to it.
    after_cr: bool,
    /// Only the very first bytes of a stream can be a byte order mark.
    at_beginning: bool,
    open: Open,
    /// The joined data of an event with several `data:` lines.
    joined: Vec<u8>,
    max_event: usize,
}

/// Fields of the event whose blank line has not come yet.
#[derive(Debug, Default)]
struct Open {
    name: Option<Range<usize>>,
    data: Data,
    /// Bytes of its lines, counted without line ends so that every cut counts the same, plus one per line.
    size: usize,
}

#[derive(Debug, Default)]
enum Data {
    #[default]
    None,
    /// One `data:` line: a range of the buffer.
    Line(Range<usize>),
    /// Several, in [`Decoder::joined`].
    Joined,
}

/// What one line amounted to.
enum Found {
    Nothing,
    Comment(Range<usize>),
    Dispatch,
}

impl Decoder {
    /// A decoder that refuses events of more than `max_event` bytes.
    pub fn new(max_event: usize) -> Self {
        Decoder {
            buffer: Vec::new(),
            start: 0,
            line: 0,
            searched: 0,
            after_cr: false,
            at_beginning: true,
            open: Open::default(),
            joined: Vec::new(),
            max_event,
        }
    }

    /// Takes the next bytes of the stream. Frames come from [`Decoder::next_frame`], to be called until it gives `None`.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            if self.buffer.capacity() > KEPT_CAPACITY {
                self.buffer.shrink_to(KEPT_CAPACITY);
            }
            (self.start, self.line, self.searched) = (0, 0, 0);
        } else if self.start > 0 {
            self.compact();
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole event or comment, or `None` until more bytes are fed.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, TooLarge> {
        if !self.pass_bom() {
            return Ok(None);
        }
        loop {
            match self.take_line()? {
                None => return Ok(None),
                Some(Found::Nothing) => {}
                Some(Found::Comment(text)) => return Ok(Some(Frame::Comment(&self.buffer[text]))),
                Some(Found::Dispatch) => break,
            }
        }
        Ok(Some(Frame::Event(self.dispatch())))
    }

    /// The end of the stream: an event that lacks only its blank line, if there is one.
    ///
    /// The standard drops it. A proxy may not: an upstream that ends right after `data: [DONE]` has said everything. Whether
    /// the data is whole is for the caller to judge.
    pub fn finish(&mut self) -> Option<Event<'_>> {
        if self.line < self.buffer.len() {
            let line = self.line..self.buffer.len();
            self.line = self.buffer.len();
            self.searched = self.line;
            if let Found::Dispatch = self.read_line(line) {
                return Some(self.dispatch());
            }
        }
        if matches!(self.open.data, Data::None) {
            return None;
        }
        Some(self.dispatch())
    }

    /// Whether the stream stands between two events.
    pub fn is_between_events(&self) -> bool {
        self.start == self.buffer.len() && self.open.size == 0
    }

    /// Moves the open event to the front. What is moved is at most one event, and never twice: `start` is 0 afterwards.
    fn compact(&mut self) {
        self.buffer.drain(..self.start);
        let shift = |range: &mut Range<usize>| {
            range.start -= self.start;
            range.end -= self.start;
        };
        if let Some(name) = &mut self.open.name {
            shift(name);
        }
        if let Data::Line(line) = &mut self.open.data {
            shift(line);
        }
        self.line -= self.start;
        self.searched -= self.start;
        self.start = 0;
    }

    /// Skips a byte order mark at the very beginning. `false`: too few bytes to tell.
    fn pass_bom(&mut self) -> bool {
        if !self.at_beginning {
            return true;
        }
        if self.buffer.len() < BOM.len() && BOM.starts_with(&self.buffer) {
            return false;
        }
        self.at_beginning = false;
        if self.buffer.starts_with(BOM) {
            (self.start, self.line, self.searched) = (BOM.len(), BOM.len(), BOM.len());
        }
        true
    }

    fn take_line(&mut self) -> Result<Option<Found>, TooLarge> {
        if self.after_cr && self.searched < self.buffer.len() {
            self.after_cr = false;
            if self.buffer[self.searched] == b'\n' {
                self.searched += 1;
                // Nothing of the open event stands between a CR and its LF, so the byte can simply be stepped over.
                if self.start == self.line {
                    self.start = self.searched;
                }
                self.line = self.searched;
            }
        }
        let Some(at) = memchr2(b'\r', b'\n', &self.buffer[self.searched..]) else {
            self.searched = self.buffer.len();
            self.check_size(self.searched - self.line)?;
            return Ok(None);
        };
        let end = self.searched + at;
        let line = self.line..end;
        self.after_cr = self.buffer[end] == b'\r';
        self.line = end + 1;
        self.searched = self.line;
        self.check_size(line.len())?;
        let first = self.start == line.start;
        let found = self.read_line(line);
        if first && self.open.size == 0 {
            // Comments and stray blank lines between events are no part of an event.
            self.start = self.line;
        }
        Ok(Some(found))
    }

    fn check_size(&self, line: usize) -> Result<(), TooLarge> {
        if self.open.size.saturating_add(line) > self.max_event {
            return Err(TooLarge { max_event: self.max_event });
        }
        Ok(())
    }

    fn read_line(&mut self, line: Range<usize>) -> Found {
        let bytes = &self.buffer[line.clone()];
        if bytes.is_empty() {
            if matches!(self.open.data, Data::None) {
                // An event without data is not dispatched: `event: ping` alone crashes two SDKs.
                self.open = Open::default();
                self.start = self.line;
                return Found::Nothing;
            }
            return Found::Dispatch;
        }
        let colon = memchr::memchr(b':', bytes);
        if colon == Some(0) {
            if self.open.size > 0 {
                self.open.size += line.len() + 1;
            }
            return Found::Comment(line.start + 1..line.end);
        }
        self.open.size += line.len() + 1;
        let name_len = colon.unwrap_or(bytes.len());
        let mut value = line.start + colon.map_or(bytes.len(), |at| at + 1)..line.end;
        if self.buffer.get(value.start) == Some(&b' ') && !value.is_empty() {
            value.start += 1;
        }
        match &self.buffer[line.start..line.start + name_len] {
            b"data" => self.add_data(value),
            b"event" => self.open.name = Some(value),
            _ => {}
        }
        Found::Nothing
    }

    fn add_data(&mut self, value: Range<usize>) {
        match &self.open.data {
            Data::None => {
                self.open.data = Data::Line(value);
                return;
            }
            Data::Line(first) => {
                self.joined.clear();
                self.joined.shrink_to(KEPT_CAPACITY);
                self.joined.extend_from_slice(&self.buffer[first.clone()]);
                self.open.data = Data::Joined;
            }
            Data::Joined => {}
        }
        self.joined.push(b'\n');
        self.joined.extend_from_slice(&self.buffer[value]);
    }

    fn dispatch(&mut self) -> Event<'_> {
        let open = std::mem::take(&mut self.open);
        self.start = self.line;
        let data = match open.data {
            Data::None => &[],
            Data::Line(range) => &self.buffer[range],
            Data::Joined => &self.joined[..],
        };
        Event { name: open.name.map(|range| &self.buffer[range]), data }
    }
}

#[cfg(test)]
mod tests;
