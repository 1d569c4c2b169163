//! Reads a chat event stream the way a client does: text and when it came, not events (a guard may join two deltas).

use std::time::Instant;

/// Counts words and bytes of `delta.content` in SSE bytes at any cut.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// The line under way; a line belongs to one event of this surface.
    line: Vec<u8>,
    pub(crate) words: u64,
    /// Bytes of text.
    pub(crate) bytes: usize,
    pub(crate) first: Option<Instant>,
    pub(crate) done: bool,
    pub(crate) failed: bool,
}

const CONTENT: &[u8] = b"\"content\":\"";

impl Reading {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            self.line.extend_from_slice(&rest[..end]);
            self.take_line();
            rest = &rest[end + 1..];
        }
        self.line.extend_from_slice(rest);
    }

    fn take_line(&mut self) {
        let line = &self.line;
        if line.starts_with(b"data: [DONE]") {
            self.done = true;
        } else if line.starts_with(b"data: {\"error\"") {
            self.failed = true;
        } else if let Some(at) = find(line, CONTENT) {
            let text = &line[at + CONTENT.len()..];
            // The fake's words hold no quotes, so the first one ends the text.
            let text = &text[..text.iter().position(|b| *b == b'"').unwrap_or(text.len())];
            if !text.is_empty() {
                self.first.get_or_insert_with(Instant::now);
                self.bytes += text.len();
                self.words += text.iter().filter(|b| **b == b' ').count() as u64;
            }
        }
        self.line.clear();
    }
}

fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::Reading;

    #[test]
    fn counts_words_at_every_cut() {
        let stream = b"data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n\
            data: {\"choices\":[{\"delta\":{\"content\":\"every \"}}]}\n\n: wait\n\n\
            data: {\"choices\":[{\"delta\":{\"content\":\"word of \"}}]}\n\ndata: [DONE]\n\n";
        for cut in 0..stream.len() {
            let mut reading = Reading::default();
            reading.push(&stream[..cut]);
            reading.push(&stream[cut..]);
            assert_eq!((reading.words, reading.done, reading.failed), (3, true, false), "cut at {cut}");
            assert_eq!(reading.bytes, "every word of ".len());
            assert!(reading.first.is_some());
        }
    }
}
