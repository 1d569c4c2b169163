//! The prompt as the audit trail may hold it.

use std::ops::Range;

use super::Screened;
use crate::chat::{Call, Form, Role, Text};
use crate::json;

/// The texts of a request after redaction, one a line, cut after `cap` bytes. Tool definitions are left out.
///
/// Where not everything fits, what is new in the request (the last user message, and tool results after it) is what is kept: the
/// rest stood in the events before. Costs what `cap` bytes cost, whatever the size of the body. Of a request that could not be checked,
/// nothing.
pub fn texts_for_audit(call: &Call, body: &[u8], screened: &Screened, cap: usize) -> String {
    if screened.unchecked {
        return String::new();
    }
    let Ok(body) = std::str::from_utf8(body) else { return String::new() };
    let mut edits = screened.edits.in_order();
    edits.extend(screened.unseen.in_order());
    edits.sort_by_key(|(span, _)| span.start);

    let said = || call.texts.iter().filter(|text| text.role != Role::Schema);
    let fits = said().map(|text| text.span.len()).sum::<usize>() <= cap;
    let only_new = !fits && said().any(|text| text.current);
    let mut writer = Writer { body, edits: &edits, out: String::with_capacity(cap.min(4096)), cap };
    for text in said().filter(|text| !only_new || text.current) {
        if !writer.out.is_empty() {
            writer.push("\n");
        }
        writer.text(text);
        if writer.out.len() >= cap {
            break;
        }
    }
    writer.out
}

struct Writer<'a> {
    body: &'a str,
    /// In the order of the body.
    edits: &'a [(Range<usize>, &'a [u8])],
    out: String,
    cap: usize,
}

impl Writer<'_> {
    fn text(&mut self, text: &Text) {
        let is_literal = text.form != Form::Json;
        let quote = usize::from(is_literal);
        let span = text.span.start + quote..text.span.end.saturating_sub(quote);
        let mut done = span.start;
        let first = self.edits.partition_point(|(edit, _)| edit.end <= span.start);
        for (edit, with) in self.edits[first..].iter().take_while(|(edit, _)| edit.start < span.end) {
            self.raw(done..edit.start, is_literal);
            let with = std::str::from_utf8(with).unwrap_or_default();
            self.push(&if is_literal { json::decode(with) } else { with.into() });
            done = edit.end;
            if self.out.len() >= self.cap {
                return;
            }
        }
        self.raw(done..span.end, is_literal);
    }

    /// A stretch of the body; of a long one only as much as can still be shown.
    fn raw(&mut self, span: Range<usize>, is_literal: bool) {
        // The longest escape of one byte of text: `\u0041`.
        const LONGEST_ESCAPE: usize = 6;
        let room = self.cap.saturating_sub(self.out.len()).saturating_mul(LONGEST_ESCAPE);
        let mut end = span
            .end
            .min(self.body.len())
            .min(span.start.saturating_add(room).saturating_add(2 * LONGEST_ESCAPE));
        while !self.body.is_char_boundary(end) {
            end += 1;
        }
        let raw = self.body.get(span.start..end.min(span.end)).unwrap_or_default();
        self.push(&if is_literal { json::decode(raw) } else { raw.into() });
    }

    fn push(&mut self, text: &str) {
        let mut end = text.len().min(self.cap.saturating_sub(self.out.len()));
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.out.push_str(&text[..end]);
        if end < text.len() {
            // What is left of the room is less than a character: full all the same.
            self.cap = self.out.len();
        }
    }
}
