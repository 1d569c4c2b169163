//! One escape of a JSON string that may still be arriving.

/// What stands at a backslash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::answer) enum Escape {
    /// A character, and how many bytes it is written in.
    Char(char, usize),
    /// More bytes are needed to tell.
    Cut,
    /// No escape of JSON's.
    Bad,
}

impl Escape {
    /// Reads the escape that `text` begins with.
    ///
    /// Half of a surrogate pair alone is a character that cannot be (U+FFFD), not an error: most parsers take it.
    pub(in crate::answer) fn read(text: &str) -> Escape {
        let bytes = text.as_bytes();
        let simple = match bytes.get(1) {
            None => return Escape::Cut,
            Some(b'u') => return Escape::unicode(bytes),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(&byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(_) => return Escape::Bad,
        };
        Escape::Char(simple, 2)
    }

    /// The same where nothing follows `text` any more.
    pub(super) fn read_last(text: &str) -> Escape {
        match Escape::read(text) {
            Escape::Cut if matches!(text.as_bytes().get(2..).map(hex4), Some(Hex::Unit(_))) => {
                Escape::Char(char::REPLACEMENT_CHARACTER, 6)
            }
            Escape::Cut => Escape::Bad,
            whole => whole,
        }
    }

    fn unicode(bytes: &[u8]) -> Escape {
        let first = match hex4(&bytes[2..]) {
            Hex::Unit(unit) => unit,
            Hex::Cut => return Escape::Cut,
            Hex::Bad => return Escape::Bad,
        };
        let alone = Escape::Char(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 6);
        if !(0xD800..0xDC00).contains(&first) {
            return alone;
        }
        match bytes.get(6..) {
            Some([] | [b'\\']) => Escape::Cut,
            Some([b'\\', b'u', low @ ..]) => match hex4(low) {
                Hex::Unit(low @ 0xDC00..=0xDFFF) => {
                    let code = 0x1_0000 + ((first & 0x3FF) << 10 | low & 0x3FF);
                    Escape::Char(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12)
                }
                Hex::Cut => Escape::Cut,
                Hex::Unit(_) | Hex::Bad => alone,
            },
            _ => alone,
        }
    }
}

enum Hex {
    Unit(u32),
    Cut,
    Bad,
}

/// Four hex digits.
fn hex4(bytes: &[u8]) -> Hex {
    let mut unit = 0;
    for at in 0..4 {
        let Some(&byte) = bytes.get(at) else { return Hex::Cut };
        let Some(digit) = char::from(byte).to_digit(16) else { return Hex::Bad };
        unit = unit << 4 | digit;
    }
    Hex::Unit(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_whole_cut_and_bad() {
        let table = [
            (r"\", Escape::Cut),
            (r"\n!", Escape::Char('\n', 2)),
            (r"\/", Escape::Char('/', 2)),
            (r"\x", Escape::Bad),
            ("\\\u{e9}", Escape::Bad),
            (r"\u", Escape::Cut),
            (r"\u00e", Escape::Cut),
            (r"\u00g", Escape::Bad),
            (r"\u00e9x", Escape::Char('\u{e9}', 6)),
            (r"\ud83d", Escape::Cut),
            (r"\ud83d\", Escape::Cut),
            (r"\ud83d\ude0", Escape::Cut),
            (r"\ud83d\ude00", Escape::Char('\u{1F600}', 12)),
            (r"\ud83dx", Escape::Char('\u{fffd}', 6)),
            (r"\ud83d\n", Escape::Char('\u{fffd}', 6)),
            (r"\ud83d\u0041", Escape::Char('\u{fffd}', 6)),
            (r"\ude00", Escape::Char('\u{fffd}', 6)),
        ];
        for (text, expect) in table {
            assert_eq!(Escape::read(text), expect, "{text}");
        }
        assert_eq!(Escape::read_last(r"\ud83d\ude0"), Escape::Char('\u{fffd}', 6));
        assert_eq!(Escape::read_last(r"\u00e"), Escape::Bad);
        assert_eq!(Escape::read_last(r"\n"), Escape::Char('\n', 2));
    }
}
