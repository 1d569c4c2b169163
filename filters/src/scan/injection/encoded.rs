//! Text that is hidden in text: long base64 words, tag characters.

/// What was hidden, and the signal that this gives.
#[derive(Debug)]
pub(super) struct Hidden {
    pub(super) text: String,
    pub(super) signal: &'static str,
}

/// Bytes of half a block of a text as it is folded: words that are long enough have a whole one.
pub(super) const HALF: usize = 16;

/// Points that the hidden text must have by itself.
pub(super) const WORTH_A_LOOK: i32 = 40;

/// Characters of a base64 word that is decoded; more are left out.
const LONGEST: usize = 4_096;
const SHORTEST: usize = 40;
/// Words decoded in one text.
const MOST: usize = 64;
/// Tag characters: a flag's emoji has at most six.
const SHORTEST_TAGS: usize = 12;
/// Characters that are looked at before the rest is decoded.
const SAMPLE: usize = 32;

/// Base64 words (RFC 4648, both alphabets) of `text` that decode to text. `dense`: the blocks of two halves in which they lie.
pub(super) fn base64_texts(text: &str, dense: &[usize]) -> Vec<Hidden> {
    let bytes = text.as_bytes();
    let is_part = |byte: &u8| IS_PART[usize::from(*byte)];
    let mut found = Vec::new();
    let mut done = 0;
    for at in dense.iter().flat_map(|at| [*at, at + HALF]) {
        // A word that is long enough has a whole one of these.
        if at < done
            || found.len() == MOST
            || !bytes.get(at..).and_then(|rest| rest.first_chunk()).is_some_and(all_parts)
        {
            continue;
        }
        let start = at - bytes[done..at].iter().rev().take(LONGEST).take_while(|byte| is_part(byte)).count();
        let end = at + HALF + bytes[at + HALF..].iter().take_while(|byte| is_part(byte)).count();
        done = end;
        let word = &bytes[start..end.min(start + LONGEST)];
        if word.len() < SHORTEST || decode(&word[..SAMPLE]).is_none() {
            continue;
        }
        found.extend(decode(word).map(|text| Hidden { text, signal: "encoded_payload" }));
    }
    found
}

/// Whether all of them may be of a word, without a branch for each.
fn all_parts(bytes: &[u8; HALF]) -> bool {
    let mut other = [0; HALF];
    for (other, byte) in other.iter_mut().zip(bytes) {
        let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
        let digit = byte.wrapping_sub(b'0') < 10;
        let mark = (*byte == b'+') | (*byte == b'-') | (*byte == b'/') | (*byte == b'_');
        *other = u8::from(!(letter | digit | mark));
    }
    u128::from_ne_bytes(other) == 0
}

/// A text in tag characters.
pub(super) fn tags_text(tags: &str) -> Option<Hidden> {
    (tags.len() >= SHORTEST_TAGS).then(|| Hidden { text: tags.to_owned(), signal: "hidden_text" })
}

/// The text that a base64 word stands for: none unless it is printable through and through.
fn decode(word: &[u8]) -> Option<String> {
    let mut out = Vec::with_capacity(word.len() / 4 * 3);
    for group in word.chunks_exact(4) {
        let mut bits = 0_u32;
        for byte in group {
            bits = bits << 6 | u32::from(value(*byte)?);
        }
        out.extend_from_slice(&bits.to_be_bytes()[1..]);
    }
    // The last character may be cut.
    let text = String::from_utf8_lossy(&out);
    let text = text.trim_end_matches('\u{fffd}');
    let printable = |c: char| c != '\u{fffd}' && (!c.is_control() || matches!(c, '\n' | '\r' | '\t'));
    (text.contains(' ') && text.chars().all(printable)).then(|| text.to_owned())
}

const IS_PART: [bool; 256] = {
    let mut part = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        part[byte] = value(byte as u8).is_some();
        byte += 1;
    }
    part
};

const fn value(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}
