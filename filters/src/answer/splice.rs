//! What changes in one event, in buffers that are used again for the next.

use std::ops::Range;

use crate::json;

/// Replacements by offsets into one text, applied in one pass; all else stays byte-exact.
///
/// [`json::Edits`] does the same for a body; this one keeps its memory, because events come by the thousand.
#[derive(Debug, Default)]
pub(super) struct Splice {
    edits: Vec<Edit>,
    arena: Vec<u8>,
}

#[derive(Debug)]
struct Edit {
    span: Range<usize>,
    /// Of the arena.
    with: Range<usize>,
}

impl Splice {
    pub(super) fn clear(&mut self) {
        self.edits.clear();
        self.arena.clear();
    }

    /// Puts bytes in the place of `span`. Spans of one text do not overlap.
    pub(super) fn replace(&mut self, span: Range<usize>, with: &[u8]) {
        self.write(span, |arena| arena.extend_from_slice(with));
    }

    /// Puts a string literal in the place of another.
    pub(super) fn replace_text(&mut self, span: Range<usize>, text: &str) {
        self.write(span, |arena| json::encode(text, arena));
    }

    pub(super) fn write(&mut self, span: Range<usize>, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.arena.len();
        write(&mut self.arena);
        self.edits.push(Edit { span, with: start..self.arena.len() });
    }

    /// Drops every replacement that begins inside `span`: something replaces all of it.
    pub(super) fn forget(&mut self, span: &Range<usize>) {
        self.edits.retain(|edit| !span.contains(&edit.span.start));
    }

    /// What now stands at `span`, as far as one replacement is exactly there.
    pub(super) fn at(&self, span: &Range<usize>) -> Option<&[u8]> {
        let edit = self.edits.iter().find(|edit| edit.span == *span)?;
        Some(&self.arena[edit.with.clone()])
    }

    /// Appends `text` with its replacements.
    pub(super) fn apply(&mut self, text: &[u8], out: &mut Vec<u8>) {
        self.apply_within(text, 0..text.len(), out);
    }

    /// Appends what stands at `span` of `text` with the replacements in it.
    pub(super) fn apply_within(&mut self, text: &[u8], span: Range<usize>, out: &mut Vec<u8>) {
        self.edits.sort_by_key(|edit| (edit.span.start, edit.span.end));
        let text = text.get(..span.end).unwrap_or(text);
        let mut done = span.start;
        let inside = |edit: &&Edit| span.start <= edit.span.start && edit.span.end <= span.end;
        for edit in self.edits.iter().filter(inside) {
            // Overlaps would be a bug of ours: the later one is left out rather than tearing the event.
            debug_assert!(edit.span.start >= done, "edits do not overlap");
            let Some(between) = text.get(done..edit.span.start) else { continue };
            out.extend_from_slice(between);
            out.extend_from_slice(&self.arena[edit.with.clone()]);
            done = edit.span.end;
        }
        out.extend_from_slice(text.get(done..).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacements_apply_in_the_order_of_the_text() {
        let mut splice = Splice::default();
        splice.replace(6..7, b"");
        splice.replace_text(1..3, "\"");
        splice.replace(0..0, b"<");
        assert_eq!(splice.at(&(1..3)), Some(&b"\"\\\"\""[..]));
        let mut out = Vec::new();
        splice.apply(b"0123456789", &mut out);
        assert_eq!(out, b"<0\"\\\"\"345789");
        out.clear();
        splice.apply_within(b"0123456789", 1..6, &mut out);
        assert_eq!(out, b"\"\\\"\"345");
        splice.forget(&(0..4));
        out.clear();
        splice.apply(b"0123456789", &mut out);
        assert_eq!(out, b"012345789");
    }
}
