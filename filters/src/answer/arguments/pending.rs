//! What of a string is still held, in both its spellings.

use super::escape::Escape;
use crate::json;

/// Text that was read but has not left: decoded, as the scanner sees it, and as it was spelled.
///
/// A scanner releases decoded text. Where that is exactly the beginning of what was read it leaves as it was spelled
/// (`\u00e9` stays `\u00e9`); where something was masked it is encoded anew. Either way what leaves decodes to what the
/// scanner released.
///
/// How much a scanner releases at once depends on how much it is given at once. So that no spelling depends on how the text
/// was cut, it is given one character at a time while a spelling is pending that encoding anew would not give back.
#[derive(Debug, Default)]
pub(super) struct Pending {
    decoded: Queue,
    raw: Queue,
    /// `decoded[..scanned]` has been through the scanner and is held by it.
    scanned: usize,
    /// `decoded[..odd]` ends with the last character of an odd spelling.
    odd: usize,
    /// Kept for its capacity.
    released: String,
}

/// A text that grows at its end and leaves at its front.
///
/// It may be long and leave a character at a time: what stays is moved only once as much has left, so that all the moving
/// together is no more than the text.
#[derive(Debug, Default)]
struct Queue {
    text: String,
    /// `text[..gone]` has left.
    gone: usize,
    /// Bytes that were moved to the front.
    #[cfg(test)]
    moved: usize,
}

impl Queue {
    fn rest(&self) -> &str {
        &self.text[self.gone..]
    }

    fn len(&self) -> usize {
        self.text.len() - self.gone
    }

    fn push_str(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn push(&mut self, character: char) {
        self.text.push(character);
    }

    fn drop_front(&mut self, len: usize) {
        self.gone += len;
        if self.gone >= self.len() {
            self.text.drain(..self.gone);
            self.gone = 0;
            #[cfg(test)]
            {
                self.moved += self.text.len();
            }
        }
    }
}

impl Pending {
    /// Text that is spelled as it is.
    pub(super) fn add_plain(&mut self, text: &str) {
        self.raw.push_str(text);
        self.decoded.push_str(text);
    }

    /// One character spelled as an escape. `verbatim`: where something is masked it would not be spelled as an escape again.
    pub(super) fn add_escape(&mut self, raw: &str, character: char, verbatim: bool) {
        self.raw.push_str(raw);
        self.decoded.push(character);
        if verbatim || !is_canonical(raw, character) {
            self.odd = self.decoded.len();
        }
    }

    /// What leaves from now on is not encoded anew where something is masked.
    pub(super) fn turn_verbatim(&mut self) {
        if self.raw.len() != self.decoded.len() {
            self.odd = self.decoded.len();
        }
    }

    /// Whether there is something that the scanner was not given.
    pub(super) fn has_next(&self) -> bool {
        self.scanned < self.decoded.len()
    }

    /// What the scanner is given next.
    pub(super) fn next(&mut self) -> Option<&str> {
        let rest = &self.decoded.rest()[self.scanned..];
        let first = rest.chars().next()?;
        let len = if self.odd > 0 { first.len_utf8() } else { rest.len() };
        self.scanned += len;
        Some(&rest[..len])
    }

    /// An empty buffer for what the scanner releases; [`Pending::settle`] takes it back.
    pub(super) fn released(&mut self) -> String {
        let mut released = std::mem::take(&mut self.released);
        released.clear();
        released
    }

    /// Appends what was `released` to `out`, in its own spelling where nothing changed. The last `held` scanned bytes stay.
    pub(super) fn settle(&mut self, released: String, held: usize, verbatim: bool, out: &mut String) {
        let unchanged = released.len() + held == self.scanned && self.decoded.rest().starts_with(&released);
        if unchanged {
            out.push_str(&self.raw.rest()[..self.raw_offset(released.len())]);
        } else if verbatim {
            out.push_str(&released);
        } else {
            encode(&released, out);
        }
        let mut stays = self.scanned.saturating_sub(held);
        while !self.decoded.rest().is_char_boundary(stays) {
            stays += 1;
        }
        let raw_stays = self.raw_offset(stays);
        self.decoded.drop_front(stays);
        self.raw.drop_front(raw_stays);
        self.scanned -= stays;
        self.odd = self.odd.saturating_sub(stays);
        self.released = released;
    }

    /// Where the decoded byte `offset` begins in the spelling.
    fn raw_offset(&self, offset: usize) -> usize {
        if self.raw.len() == self.decoded.len() {
            return offset;
        }
        let raw = self.raw.rest();
        let (mut at, mut decoded) = (0, 0);
        while decoded < offset {
            let rest = &raw[at..];
            let escape = if rest.starts_with('\\') { Escape::read_last(rest) } else { Escape::Bad };
            let (character, len) = match escape {
                Escape::Char(character, len) => (character, len),
                Escape::Cut | Escape::Bad => {
                    let Some(character) = rest.chars().next() else { break };
                    (character, character.len_utf8())
                }
            };
            at += len;
            decoded += character.len_utf8();
        }
        at
    }
}

/// Whether encoding the character anew gives this spelling back.
fn is_canonical(raw: &str, character: char) -> bool {
    let mut again = Vec::with_capacity(raw.len());
    json::encode_inner(character.encode_utf8(&mut [0; 4]), &mut again);
    again == raw.as_bytes()
}

fn encode(text: &str, out: &mut String) {
    if !text.bytes().any(|byte| byte < 0x20 || matches!(byte, b'"' | b'\\')) {
        out.push_str(text);
        return;
    }
    let mut bytes = Vec::with_capacity(text.len() + 8);
    json::encode_inner(text, &mut bytes);
    out.push_str(&String::from_utf8_lossy(&bytes));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A long string whose last character has an odd spelling goes through a character at a time, and is not moved each time.
    #[test]
    fn what_leaves_a_character_at_a_time_moves_no_more_than_the_text() {
        const LEN: usize = 256 << 10;
        for held in [0, 1, 80] {
            let mut pending = Pending::default();
            let text = "a word, ".repeat(LEN / 8);
            pending.add_plain(&text);
            pending.add_escape(r"\u00e9", '\u{e9}', false);
            let (mut out, mut given) = (String::new(), String::new());
            loop {
                let mut released = pending.released();
                let Some(next) = pending.next() else { break };
                given.push_str(next);
                let until = given.len().saturating_sub(held);
                if given.is_char_boundary(until) {
                    released.push_str(&given[..until]);
                    given.drain(..until);
                }
                pending.settle(released, given.len(), false, &mut out);
            }
            pending.settle(given, 0, false, &mut out);
            assert_eq!(out.strip_prefix(&*text), Some(r"\u00e9"));
            for queue in [&pending.decoded, &pending.raw] {
                assert!(queue.moved <= LEN + 6, "{} bytes moved for {LEN}", queue.moved);
            }
        }
    }
}
