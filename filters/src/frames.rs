//! Framing of event streams: a push decoder for what arrives in any cut, and the one form in which events leave.
//!
//! Server-sent events as in <https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation>,
//! with two differences that belong to a proxy: comments are reported (they are keep-alives worth passing on), and `id:` and
//! `retry:` lines are dropped (two client SDKs fail on them).

mod sse;

pub use sse::Decoder;

/// What a decoder found.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    Event(Event<'a>),
    /// A comment line without its colon.
    Comment(&'a [u8]),
}

/// One dispatched event. Its bytes are whatever arrived: not even UTF-8 is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// Value of the last `event:` line.
    pub name: Option<&'a [u8]>,
    /// The `data:` lines, joined with `\n`.
    pub data: &'a [u8],
}

/// An event is larger than the decoder's bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is larger than {max_event} bytes")]
pub struct TooLarge {
    pub max_event: usize,
}

/// Writes an event as `event: …` (where named) and one `data: …` line.
///
/// Line ends inside `data` become spaces: between JSON tokens both mean nothing, and inside strings JSON has none.
pub fn write_event(name: Option<&[u8]>, data: &[u8], out: &mut Vec<u8>) {
    begin_event(name, out);
    let start = out.len();
    out.extend_from_slice(data);
    end_event(start, out);
}

/// Writes what stands in front of an event's data, for callers that splice the data straight into `out`.
pub fn begin_event(name: Option<&[u8]>, out: &mut Vec<u8>) {
    if let Some(name) = name {
        out.extend_from_slice(b"event: ");
        // A name read out of JSON may hold what would end its line.
        out.extend(name.iter().copied().filter(|byte| !matches!(byte, b'\n' | b'\r')));
        out.push(b'\n');
    }
    out.extend_from_slice(b"data: ");
}

/// Ends an event whose data stands in `out` from `data_start` on.
pub fn end_event(data_start: usize, out: &mut Vec<u8>) {
    let data = &mut out[data_start..];
    if memchr::memchr2(b'\n', b'\r', data).is_some() {
        for byte in data.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
            *byte = b' ';
        }
    }
    out.extend_from_slice(b"\n\n");
}

/// Writes a comment. Clients skip it; load balancers see traffic.
pub fn write_comment(text: &[u8], out: &mut Vec<u8>) {
    out.push(b':');
    out.extend(text.iter().copied().filter(|byte| !matches!(byte, b'\n' | b'\r')));
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_leave_in_one_form() {
        let write = |name: Option<&str>, data: &str| {
            let mut out = Vec::new();
            write_event(name.map(str::as_bytes), data.as_bytes(), &mut out);
            String::from_utf8(out).expect("UTF-8 went in")
        };
        assert_eq!(write(None, "{}"), "data: {}\n\n");
        assert_eq!(write(Some("ping"), "{}"), "event: ping\ndata: {}\n\n");
        assert_eq!(write(Some("a\ndata: b"), "{}"), "event: adata: b\ndata: {}\n\n");
        assert_eq!(write(None, "{\n\"a\":1\r}"), "data: { \"a\":1 }\n\n");
        let mut out = Vec::new();
        write_comment(b" a\nb", &mut out);
        assert_eq!(out, b": ab\n\n");
    }
}
