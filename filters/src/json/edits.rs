//! Splices: what of a body changes, applied in one pass.

use std::ops::Range;

use bytes::Bytes;

/// Replacements and inserts, by offsets into one body. Collected in any order; every byte outside them stays.
#[derive(Debug, Clone, Default)]
pub struct Edits {
    list: Vec<Edit>,
}

#[derive(Debug, Clone)]
struct Edit {
    span: Range<usize>,
    with: Box<[u8]>,
}

impl Edits {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Puts `with` in the place of the bytes at `span`. Spans of one body's edits do not overlap.
    pub fn replace(&mut self, span: Range<usize>, with: impl Into<Box<[u8]>>) {
        self.list.push(Edit { span, with: with.into() });
    }

    /// Puts `with` in front of the byte at `at`; several at one place stand in the order they were added, and before a
    /// replacement that begins there.
    pub fn insert(&mut self, at: usize, with: impl Into<Box<[u8]>>) {
        self.replace(at..at, with);
    }

    pub fn append(&mut self, other: Edits) {
        self.list.extend(other.list);
    }

    /// The edits in the order of the body, each with what it puts there.
    pub fn in_order(&self) -> Vec<(Range<usize>, &[u8])> {
        let mut order: Vec<_> = self.list.iter().map(|edit| (edit.span.clone(), &*edit.with)).collect();
        order.sort_by_key(|(span, _)| (span.start, span.end));
        order
    }

    /// The body with its edits; the very same bytes when there are none.
    pub fn apply(&self, body: &Bytes) -> Bytes {
        if self.list.is_empty() { body.clone() } else { Bytes::from(self.apply_to(body)) }
    }

    /// The same over any bytes. An edit that overlaps an earlier one, or lies past the end, is a bug of whoever made it: it is
    /// refused in tests, and left out in release builds rather than tearing the body.
    pub fn apply_to(&self, body: &[u8]) -> Vec<u8> {
        let added: usize = self.list.iter().map(|edit| edit.with.len()).sum();
        let mut out = Vec::with_capacity(body.len() + added);
        let mut done = 0;
        for (span, with) in self.in_order() {
            let fits = done <= span.start && span.start <= span.end && span.end <= body.len();
            debug_assert!(fits, "edit {span:?} overlaps another one or ends past {}", body.len());
            if fits {
                out.extend_from_slice(&body[done..span.start]);
                out.extend_from_slice(with);
                done = span.end;
            }
        }
        out.extend_from_slice(&body[done..]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_apply_in_the_order_of_the_body() {
        let body = Bytes::from_static(b"0123456789");
        let mut edits = Edits::new();
        assert_eq!(edits.apply(&body).as_ptr(), body.as_ptr(), "nothing to change, nothing copied");
        edits.replace(8..10, *b"END");
        edits.replace(2..4, *b"x");
        edits.insert(2, *b"<");
        edits.insert(2, *b"=");
        edits.insert(0, *b"^");
        let mut more = Edits::new();
        more.replace(4..5, *b"");
        edits.append(more);
        assert_eq!(edits.apply(&body), &b"^01<=x567END"[..]);
        assert_eq!(edits.len(), 6);
    }

    #[test]
    fn an_insert_at_the_end() {
        let mut edits = Edits::new();
        edits.insert(2, *b"!");
        assert_eq!(edits.apply_to(b"ab"), b"ab!");
    }
}
