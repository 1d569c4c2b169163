use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Event(Option<String>, String),
    Comment(String),
    TooLarge,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn drain(decoder: &mut Decoder, seen: &mut Vec<Seen>) -> bool {
    loop {
        match decoder.next_frame() {
            Ok(None) => return true,
            Ok(Some(Frame::Event(event))) => seen.push(Seen::Event(event.name.map(text), text(event.data))),
            Ok(Some(Frame::Comment(comment))) => seen.push(Seen::Comment(text(comment))),
            Err(TooLarge { .. }) => {
                seen.push(Seen::TooLarge);
                return false;
            }
        }
    }
}

fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, max_event: usize) -> Vec<Seen> {
    let mut decoder = Decoder::new(max_event);
    let mut seen = Vec::new();
    for chunk in chunks {
        decoder.feed(chunk);
        if !drain(&mut decoder, &mut seen) {
            return seen;
        }
    }
    if let Some(event) = decoder.finish() {
        seen.push(Seen::Event(event.name.map(text), text(event.data)));
    }
    seen
}

/// Decodes `input` whole, at every split point and byte by byte: one result.
fn check(input: &[u8], expect: &[Seen]) {
    assert_eq!(decode([input], 1 << 20), expect, "{}", text(input));
    for at in 0..=input.len() {
        let (left, right) = input.split_at(at);
        assert_eq!(decode([left, right], 1 << 20), expect, "{} split at {at}", text(input));
    }
    assert_eq!(decode(input.chunks(1), 1 << 20), expect, "{} byte by byte", text(input));
}

fn event(data: &str) -> Seen {
    Seen::Event(None, data.into())
}

fn named(name: &str, data: &str) -> Seen {
    Seen::Event(Some(name.into()), data.into())
}

fn comment(text: &str) -> Seen {
    Seen::Comment(text.into())
}

#[test]
fn every_line_end_and_spelling_at_every_cut() {
    check(b"", &[]);
    check(b"data: a\n\n", &[event("a")]);
    check(b"data:a\n\ndata:  b\n\n", &[event("a"), event(" b")]);
    check(b"data: a\r\n\r\ndata: b\r\n\r\n", &[event("a"), event("b")]);
    check(b"data: a\r\rdata: b\r\r", &[event("a"), event("b")]);
    check(b"data: a\r\n\ndata: b\n\r\ndata: c\r\r\n", &[event("a"), event("b"), event("c")]);
    check(b"data: a\ndata: b\ndata:\n\n", &[event("a\nb\n")]);
    check(b"\xEF\xBB\xBFdata: a\n\n", &[event("a")]);
    check(b"\xEF\xBB\xBF\n\n\r\r\n\ndata: a\n\n", &[event("a")]);
    check("data: h\u{e9}llo \u{1F600}\r\n\r\n".as_bytes(), &[event("h\u{e9}llo \u{1F600}")]);
    check(b"data\n\ndata:\n\n", &[event(""), event("")]);
}

#[test]
fn names_comments_and_dropped_fields() {
    check(b"event: ping\ndata: {}\n\n", &[named("ping", "{}")]);
    check(b"data: {}\nevent:x\n\ndata: 1\n\n", &[named("x", "{}"), event("1")]);
    check(b"event: ping\n\ndata: 1\n\n", &[event("1")]);
    check(b"id: 7\nretry: 10\n\nid: 8\ndata: 1\nfoo: bar\n\n", &[event("1")]);
    check(b": hi\n\ndata: 1\n\n:\n", &[comment(" hi"), event("1"), comment("")]);
    check(b"data: 1\r\n: in between\r\ndata: 2\r\n\r\n", &[comment(" in between"), event("1\n2")]);
}

#[test]
fn the_end_gives_what_lacks_only_its_blank_line() {
    check(b"data: [DONE]", &[event("[DONE]")]);
    check(b"data: [DONE]\n", &[event("[DONE]")]);
    check(b"data: 1\n\n: bye", &[event("1")]);
    check(b"event: x", &[]);
}

#[test]
fn the_bound_counts_the_same_at_every_cut() {
    let lines = b"event: e\ndata: 12345\n: c\ndata: 6\n\n";
    let size = 9 + 12 + 4 + 8;
    for chunk in 1..lines.len() {
        let fits = decode(lines.chunks(chunk), size);
        assert_eq!(fits.last(), Some(&named("e", "12345\n6")), "chunks of {chunk}");
        let too_large = decode(lines.chunks(chunk), size - 1);
        assert_eq!(too_large.last(), Some(&Seen::TooLarge), "chunks of {chunk}");
    }
    let endless = [b'x'; 64];
    assert_eq!(decode(endless.chunks(7), 50), [Seen::TooLarge]);
    let comments = b": 0123456789\n".repeat(100);
    assert_eq!(decode(comments.chunks(5), 50).len(), 100, "comments between events are bounded one by one");
    let inside = [b"data: x\n".to_vec(), comments].concat();
    assert_eq!(decode(inside.chunks(5), 50).last(), Some(&Seen::TooLarge), "inside an event they add up");
}

#[test]
fn an_event_is_given_before_the_byte_behind_it() {
    let mut decoder = Decoder::new(100);
    let mut seen = Vec::new();
    decoder.feed(b"data: a\r\n\r");
    assert!(drain(&mut decoder, &mut seen));
    assert_eq!(seen, [event("a")]);
    assert!(decoder.is_between_events());
    decoder.feed(b"\ndata: b");
    assert!(drain(&mut decoder, &mut seen));
    assert_eq!(seen.len(), 1);
    assert!(!decoder.is_between_events());
}

proptest! {
    #[test]
    fn any_cut_of_any_bytes_is_the_same(
        pieces in prop::collection::vec(
            prop::sample::select(&[
                "data", "event", ":", " ", "\r", "\n", "\r\n", "\n\n", "data: x", "\u{e9}", "\u{feff}", "id: 1\n",
            ][..]),
            0..40,
        ),
        cuts in prop::collection::vec(0usize..200, 0..8),
    ) {
        let input: Vec<u8> = pieces.concat().into_bytes();
        let whole = decode([&input[..]], 40);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(input.len())).collect();
        cuts.sort_unstable();
        let mut chunks = Vec::new();
        let mut from = 0;
        for cut in cuts.into_iter().chain([input.len()]) {
            chunks.push(&input[from..cut]);
            from = cut;
        }
        prop_assert_eq!(decode(chunks, 40), whole);
    }
}
