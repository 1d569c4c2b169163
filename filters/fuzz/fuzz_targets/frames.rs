#![no_main]
//! The decoder of event streams: the same frames for every way of cutting the input, within its bound.

use libfuzzer_sys::fuzz_target;
use tollgate_filters::frames::{Decoder, Frame, write_event};

const MAX_EVENT: usize = 512;

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Event(Option<Vec<u8>>, Vec<u8>),
    Comment(Vec<u8>),
    TooLarge,
}

fn decode<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Vec<Seen> {
    let mut decoder = Decoder::new(MAX_EVENT);
    let mut seen = Vec::new();
    for chunk in chunks {
        decoder.feed(chunk);
        loop {
            match decoder.next_frame() {
                Ok(None) => break,
                Ok(Some(Frame::Event(event))) => {
                    assert!(event.data.len() <= MAX_EVENT);
                    seen.push(Seen::Event(event.name.map(<[u8]>::to_vec), event.data.to_vec()));
                }
                Ok(Some(Frame::Comment(text))) => seen.push(Seen::Comment(text.to_vec())),
                Err(_) => {
                    seen.push(Seen::TooLarge);
                    return seen;
                }
            }
        }
    }
    if let Some(event) = decoder.finish() {
        seen.push(Seen::Event(event.name.map(<[u8]>::to_vec), event.data.to_vec()));
    }
    seen
}

fuzz_target!(|input: &[u8]| {
    let Some((&size, bytes)) = input.split_first() else { return };
    let whole = decode([bytes].into_iter());
    assert_eq!(decode(bytes.chunks(1 + usize::from(size))), whole);
    assert_eq!(decode(bytes.chunks(1)), whole);
    // What is written is read back.
    for seen in &whole {
        let Seen::Event(None, data) = seen else { continue };
        let mut out = Vec::new();
        write_event(None, data, &mut out);
        let data = data.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect();
        assert_eq!(decode([&out[..]].into_iter()).last(), Some(&Seen::Event(None, data)));
    }
});
