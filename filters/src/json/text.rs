//! String literals: their plain runs, escapes, decoding, encoding, and where a decoded byte stands in the literal.

use std::borrow::Cow;

use super::walk::Fault;

/// Bytes up to the first that means something in a string literal: a quote, a backslash or a control character.
///
/// Many bytes at a time: most of a body is strings, and this loop is most of what reading one costs. The borrow of each
/// subtraction runs upwards only, so the lowest flag is exact and the ones above it do not matter.
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES << 7;
    const fn flags(word: u64) -> u64 {
        let quote = word ^ (ONES * b'"' as u64);
        let backslash = word ^ (ONES * b'\\' as u64);
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let quote = quote.wrapping_sub(ONES) & !quote;
        let backslash = backslash.wrapping_sub(ONES) & !backslash;
        (control | quote | backslash) & HIGH
    }
    const BLOCK: usize = 32;
    let mut at = 0;
    // A block that is plain as a whole: compared all at once, where the processor can.
    while let Some(block) = bytes[at..].first_chunk::<BLOCK>() {
        let matters = |byte: &u8| (*byte < 0x20) | (*byte == b'"') | (*byte == b'\\');
        if block.iter().fold(false, |any, byte| any | matters(byte)) {
            break;
        }
        at += BLOCK;
    }
    while let Some(chunk) = bytes[at..].first_chunk::<8>() {
        let found = flags(u64::from_le_bytes(*chunk));
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let tail = &bytes[at..];
    at + tail.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\').unwrap_or(tail.len())
}

/// Length of the escape at the front of `bytes` (which begin with a backslash); a surrogate pair counts as one escape.
pub(super) fn escape_len(bytes: &[u8]) -> Result<usize, (usize, Fault)> {
    match bytes.get(1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(2),
        Some(b'u') => {
            let unit = hex4(bytes, 2)?;
            match unit {
                0xD800..=0xDBFF => {
                    if bytes.get(6..8) != Some(b"\\u") {
                        return Err((0, Fault::LoneSurrogate));
                    }
                    match hex4(bytes, 8)? {
                        0xDC00..=0xDFFF => Ok(12),
                        _ => Err((0, Fault::LoneSurrogate)),
                    }
                }
                0xDC00..=0xDFFF => Err((0, Fault::LoneSurrogate)),
                _ => Ok(6),
            }
        }
        Some(_) => Err((0, Fault::BadEscape)),
        None => Err((1, Fault::Ended)),
    }
}

fn hex4(bytes: &[u8], from: usize) -> Result<u32, (usize, Fault)> {
    let mut unit = 0;
    for offset in from..from + 4 {
        match bytes.get(offset).map(|&byte| char::from(byte).to_digit(16)) {
            Some(Some(digit)) => unit = unit << 4 | digit,
            Some(None) => return Err((offset, Fault::BadEscape)),
            None => return Err((offset, Fault::Ended)),
        }
    }
    Ok(unit)
}

/// One escape at the front of `raw`: the character it stands for and its length. An escape that is none (which a walk would
/// have refused) reads as U+FFFD, so that decoding is total.
fn escape(raw: &[u8]) -> (char, usize) {
    const BROKEN: char = char::REPLACEMENT_CHARACTER;
    let Ok(len) = escape_len(raw) else { return (BROKEN, 1) };
    let character = match (raw.get(1), len) {
        (Some(b'b'), _) => '\u{8}',
        (Some(b'f'), _) => '\u{c}',
        (Some(b'n'), _) => '\n',
        (Some(b'r'), _) => '\r',
        (Some(b't'), _) => '\t',
        (Some(b'u'), 6) => hex4(raw, 2).ok().and_then(char::from_u32).unwrap_or(BROKEN),
        (Some(b'u'), _) => match (hex4(raw, 2), hex4(raw, 8)) {
            (Ok(high), Ok(low)) => {
                let offset = (high & 0x3FF) << 10 | low & 0x3FF;
                char::from_u32(0x1_0000 + offset).unwrap_or(BROKEN)
            }
            _ => BROKEN,
        },
        (Some(&byte), _) => char::from(byte),
        (None, _) => BROKEN,
    };
    (character, len)
}

/// Decodes what stands between the quotes of a literal. Borrows where there is no backslash.
pub fn decode(raw: &str) -> Cow<'_, str> {
    match memchr::memchr(b'\\', raw.as_bytes()) {
        None => Cow::Borrowed(raw),
        Some(first) => {
            let mut text = String::with_capacity(raw.len());
            decode_from(raw, first, &mut text);
            Cow::Owned(text)
        }
    }
}

/// Appends the decoded text; `first` is the offset of the first backslash.
fn decode_from(raw: &str, first: usize, out: &mut String) {
    let (mut done, mut backslash) = (0, Some(first));
    while let Some(at) = backslash {
        out.push_str(&raw[done..at]);
        let (character, len) = escape(&raw.as_bytes()[at..]);
        out.push(character);
        done = at + len;
        // Escapes come in pairs and runs (`\r\n`, `\u…\u…`): look before searching.
        backslash = match raw.as_bytes().get(done) {
            Some(b'\\') => Some(done),
            _ => memchr::memchr(b'\\', &raw.as_bytes()[done..]).map(|next| done + next),
        };
    }
    out.push_str(&raw[done..]);
}

/// Appends a string literal with its quotes.
pub fn encode(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    encode_inner(text, out);
    out.push(b'"');
}

/// Appends what stands between the quotes.
pub fn encode_inner(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut rest = text.as_bytes();
    loop {
        let (plain, special) = rest.split_at(plain_run(rest));
        out.extend_from_slice(plain);
        let Some((&byte, after)) = special.split_first() else { return };
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
        rest = after;
    }
}

/// From offsets into a decoded text to offsets into its literal, so that a found value can be cut out of the literal and every
/// other byte of it stays as it was spelled.
///
/// Asked in ascending order it walks the literal once. With `a\u0062c` decoded to `abc`: 0 → 0, 1 → 1, 2 → 7, 3 → 8.
#[derive(Debug)]
pub struct OffsetMap<'a> {
    raw: &'a str,
    /// Equal positions: the first `at_raw` bytes of the literal decode to the first `at_text` bytes of the text.
    at_raw: usize,
    at_text: usize,
}

impl<'a> OffsetMap<'a> {
    /// `raw` is what stands between the quotes.
    pub fn new(raw: &'a str) -> Self {
        OffsetMap { raw, at_raw: 0, at_text: 0 }
    }

    /// Where the decoded byte `offset` begins in the literal. An offset inside a character that is written as an escape counts
    /// as the end of that escape; one before the last asked starts over.
    pub fn raw(&mut self, offset: usize) -> usize {
        if offset < self.at_text {
            *self = OffsetMap::new(self.raw);
        }
        let bytes = self.raw.as_bytes();
        while self.at_text < offset && self.at_raw < bytes.len() {
            let rest = &bytes[self.at_raw..];
            let wanted = (offset - self.at_text).min(rest.len());
            match memchr::memchr(b'\\', &rest[..wanted]) {
                Some(0) => {
                    let (character, len) = escape(rest);
                    self.at_raw += len;
                    self.at_text += character.len_utf8();
                }
                plain => {
                    let run = plain.unwrap_or(wanted);
                    self.at_raw += run;
                    self.at_text += run;
                }
            }
        }
        self.at_raw
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_runs_end_at_the_first_byte_that_matters() {
        for length in 0..40 {
            for special in ["", "\"", "\\", "\n", "\0", "\u{1f}"] {
                for after in ["", "z", "\"\\\u{1}\u{7f}é", "zzzzzzzzzzzz\""] {
                    let plain: String = "é a!#[]^\u{7f}".chars().cycle().take(length).collect();
                    let text = format!("{plain}{special}{after}");
                    let expected =
                        text.find(|c: char| c < ' ' || c == '"' || c == '\\').unwrap_or(text.len());
                    assert_eq!(plain_run(text.as_bytes()), expected, "{text:?}");
                }
            }
        }
    }

    #[test]
    fn decoding() {
        let table = [
            ("", ""),
            ("plain é", "plain é"),
            (r#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t"),
            (r"a\u0062c", "abc"),
            (r"\u00e9\u4E2D", "é中"),
            (r"\ud83d\ude00!", "😀!"),
            (r"\u0000", "\0"),
            // Never out of a walk, but total all the same.
            (r"\ud83d", "\u{fffd}ud83d"),
            (r"a\", "a\u{fffd}"),
            (r"\q", "\u{fffd}q"),
        ];
        for (raw, expected) in table {
            assert_eq!(decode(raw), expected, "{raw}");
        }
    }

    #[test]
    fn what_is_encoded_decodes_to_itself() {
        let text: String = (0..0x250).filter_map(char::from_u32).chain("😀\u{2028}".chars()).collect();
        let mut literal = Vec::new();
        encode(&text, &mut literal);
        assert_eq!(serde_json::from_slice::<String>(&literal).expect("a JSON string"), text);
        let literal = String::from_utf8(literal).expect("UTF-8 in, UTF-8 out");
        assert_eq!(decode(&literal[1..literal.len() - 1]), text);
    }

    #[test]
    fn offsets_map_back_into_the_literal() {
        let raw = r#"a\u0062c \ud83d\ude00é\n\"z"#;
        let text = decode(raw).into_owned();
        for (start, _) in text.char_indices() {
            let mut map = OffsetMap::new(raw);
            let cut = map.raw(start);
            assert_eq!(decode(&raw[..cut]), &text[..start]);
            assert_eq!(decode(&raw[cut..]), &text[start..]);
        }
        let mut map = OffsetMap::new(raw);
        assert_eq!((map.raw(text.len()), map.raw(0), map.raw(2)), (raw.len(), 0, 7));
    }
}
