//! Escapes that a text may be written with: HTML entities and percent codes.
//!
//! One layer is decoded, from left to right: `%2540` stands for `%40`, and that for itself. What is no whole escape stands for
//! itself too. The text is never changed: rules read what it stands for beside what it is, see [`Decoded`].

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

mod decoded;
mod names;

pub(super) use decoded::Decoded;

/// A way of escaping that is looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Escape {
    /// `&#64;`, `&#x40;`, `&commat;`: references by number, with or without their semicolon as browsers read them, and by the
    /// names of ASCII characters, letters of Latin-1, spaces, hyphens, and of characters that print nothing.
    Html,
    /// `%40`, and the bytes of a character in UTF-8: `%E2%80%8B`.
    Percent,
}

impl Escape {
    /// The escape that these bytes are one of.
    pub(super) fn of(escape: &str) -> Option<Escape> {
        match escape.as_bytes() {
            [b'&', _, ..] => Some(Escape::Html),
            [b'%', _, ..] => Some(Escape::Percent),
            _ => None,
        }
    }

    /// A text as it has to be written among escapes: in a part of a URL (RFC 3986 section 2.3), in HTML or an attribute of it.
    pub(super) fn write(self, text: &str) -> String {
        let mut out = String::with_capacity(text.len() + 8);
        for c in text.chars() {
            match (self, c) {
                (Escape::Html, '&') => out.push_str("&amp;"),
                (Escape::Html, '<') => out.push_str("&lt;"),
                (Escape::Html, '>') => out.push_str("&gt;"),
                (Escape::Html, '"') => out.push_str("&quot;"),
                (Escape::Html, '\'') => out.push_str("&#39;"),
                (Escape::Percent, c) if !c.is_ascii_alphanumeric() && !matches!(c, '-' | '.' | '_' | '~') => {
                    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                        let digit = |value: u8| char::from(b"0123456789ABCDEF"[usize::from(value & 15)]);
                        out.extend(['%', digit(byte >> 4), digit(byte)]);
                    }
                }
                _ => out.push(c),
            }
        }
        out
    }
}

/// Which escapes are looked through: what they begin with, or [`NEVER`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Escapes {
    html: u8,
    percent: u8,
}

/// What a text begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// An escape of so many bytes, and the character that it stands for.
    Char(char, usize),
    /// Something that stands for itself.
    Plain,
    /// What may still become an escape.
    More,
}

/// No byte of any text.
const NEVER: u8 = 0xff;

/// Bytes of the longest escape: a number behind many zeros, the longest name. A longer one stands for itself.
pub(super) const MAX_ESCAPE: usize = 24;

impl Default for Escapes {
    fn default() -> Escapes {
        Escapes::NONE
    }
}

impl Escapes {
    /// None: texts are only what they are.
    pub const NONE: Escapes = Escapes { html: NEVER, percent: NEVER };

    pub fn new(escapes: &[Escape]) -> Escapes {
        let begins = |escape: Escape, byte: u8| if escapes.contains(&escape) { byte } else { NEVER };
        Escapes { html: begins(Escape::Html, b'&'), percent: begins(Escape::Percent, b'%') }
    }

    pub fn is_none(self) -> bool {
        self == Escapes::NONE
    }

    pub(super) fn looks_through(self, escape: Escape) -> bool {
        match escape {
            Escape::Html => self.html != NEVER,
            Escape::Percent => self.percent != NEVER,
        }
    }

    /// Where the first byte stands that an escape may begin with.
    #[inline]
    pub(super) fn find(self, text: &[u8]) -> Option<usize> {
        /// Bytes for which looking at each takes less than getting ready for more.
        const SHORT: usize = 16;
        if self.is_none() {
            None
        } else if text.len() <= SHORT {
            text.iter().position(|byte| *byte == self.html || *byte == self.percent)
        } else {
            memchr::memchr2(self.html, self.percent, text)
        }
    }

    #[inline]
    pub(super) fn may_begin_with(self, byte: u8) -> bool {
        byte == self.html || byte == self.percent
    }

    /// Reads what `text` begins with. `ended`: nothing follows it.
    pub(super) fn read(self, text: &[u8], ended: bool) -> Read {
        let read = match text.first() {
            Some(b'%') if self.percent != NEVER => percent(text),
            Some(b'&') if self.html != NEVER && text.get(1) == Some(&b'#') => number(text, ended),
            Some(b'&') if self.html != NEVER => name(text),
            _ => Read::Plain,
        };
        if read == Read::More && ended { Read::Plain } else { read }
    }

    /// The text with its escapes replaced by what they stand for.
    pub(super) fn decode(self, text: &str) -> Cow<'_, str> {
        let bytes = text.as_bytes();
        let (mut out, mut done, mut at) = (String::new(), 0, 0);
        while let Some(next) = self.find(&bytes[at..]) {
            at += next;
            if let Read::Char(c, len) = self.read(&bytes[at..], true) {
                out.push_str(&text[done..at]);
                out.push(c);
                at += len;
                done = at;
            } else {
                at += 1;
            }
        }
        if done == 0 {
            return Cow::Borrowed(text);
        }
        out.push_str(&text[done..]);
        Cow::Owned(out)
    }
}

/// The bytes of one character (RFC 3986 section 2.1, in UTF-8).
fn percent(text: &[u8]) -> Read {
    let mut bytes = [0; 4];
    let mut want = 1;
    let mut len = 0;
    while len < want {
        let code = &text[text.len().min(3 * len)..];
        let byte = match code {
            [b'%', high, low, ..] => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            [] | [b'%'] => return Read::More,
            [b'%', high] if hex(*high).is_some() => return Read::More,
            _ => None,
        };
        let Some(byte) = byte else { return Read::Plain };
        if len == 0 {
            want = match byte {
                0..0x80 => 1,
                0xc2..0xe0 => 2,
                0xe0..0xf0 => 3,
                0xf0..0xf5 => 4,
                _ => return Read::Plain,
            };
        } else if byte & 0xc0 != 0x80 {
            return Read::Plain;
        }
        bytes[len] = byte;
        len += 1;
    }
    let c = std::str::from_utf8(&bytes[..len]).ok().and_then(|text| text.chars().next());
    c.map_or(Read::Plain, |c| Read::Char(c, 3 * len))
}

/// A reference by number (HTML section 13.2.5.75 and on): it ends before what is no digit, if no semicolon ends it.
fn number(text: &[u8], ended: bool) -> Read {
    let radix = if matches!(text.get(2), Some(b'x' | b'X')) { 16 } else { 10 };
    let first = if radix == 16 { 3 } else { 2 };
    let mut value: u32 = 0;
    let mut at = first;
    loop {
        let byte = text.get(at).copied();
        if at == MAX_ESCAPE || (byte.is_none() && !ended) {
            return if at == MAX_ESCAPE { Read::Plain } else { Read::More };
        }
        match byte.and_then(|byte| char::from(byte).to_digit(radix)) {
            Some(digit) => value = value * radix + digit,
            None if at == first => return Read::Plain,
            None => {
                let len = at + usize::from(byte == Some(b';'));
                return referred(value).map_or(Read::Plain, |c| Read::Char(c, len));
            }
        }
        if value > u32::from(char::MAX) {
            return Read::Plain;
        }
        at += 1;
    }
}

/// The character of a number; those of C1 controls are what Windows-1252 has in their place (HTML section 13.2.5.80).
fn referred(value: u32) -> Option<char> {
    const WINDOWS: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
        '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    match value {
        0 => None,
        0x80..0xa0 => Some(WINDOWS[value as usize - 0x80]),
        _ => char::from_u32(value),
    }
}

/// A reference by name, with its semicolon.
fn name(text: &[u8]) -> Read {
    let rest = &text[1..text.len().min(MAX_ESCAPE)];
    let len = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    match rest.get(len) {
        Some(b';') => names::named(&rest[..len]).map_or(Read::Plain, |c| Read::Char(c, len + 2)),
        None if names::begins_one(&rest[..len]) => Read::More,
        _ => Read::Plain,
    }
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Escapes = Escapes { html: b'&', percent: b'%' };

    #[test]
    fn escapes_become_what_they_stand_for_once() {
        for (text, expect) in [
            ("a&#64;b", "a@b"),
            ("a&#x40;b&#X2e;c", "a@b.c"),
            ("a&#64corp", "a@corp"),
            ("a&#0000000000000000064;b", "a@b"),
            ("a&commat;b&period;c&lowbar;d", "a@b.c_d"),
            ("M&uuml;ller &amp; S&ouml;hne", "Müller & Söhne"),
            ("a&ZeroWidthSpace;b&NegativeVeryThinSpace;&#x200b;", "a\u{200b}b\u{200b}\u{200b}"),
            ("1&#150;2", "1–2"),
            ("a%40b%2Ecom", "a@b.com"),
            ("M%C3%BCller, %C2%A0%DF%BF", "Müller, \u{a0}\u{7ff}"),
            ("%E5%8C%97%f0%9f%8e%89%E2%80%8B", "北🎉\u{200b}"),
            // One layer.
            ("a%2540b", "a%40b"),
            ("a&amp;#64;b", "a&#64;b"),
            ("&#37;40 %26#64;", "%40 &#64;"),
            ("%%40", "%@"),
            ("&&#64;", "&@"),
        ] {
            assert_eq!(BOTH.decode(text), expect, "{text}");
        }
    }

    #[test]
    fn what_is_written_among_escapes_is_read_as_it_was() {
        for (text, percent, html) in [
            ("alice@corp.com", "alice%40corp.com", "alice@corp.com"),
            ("(212) 555-0123", "%28212%29%20555-0123", "(212) 555-0123"),
            ("a_b~c+d", "a_b~c%2Bd", "a_b~c+d"),
            ("müller&söhne@x.de", "m%C3%BCller%26s%C3%B6hne%40x.de", "müller&amp;söhne@x.de"),
            ("<\"x'>", "%3C%22x%27%3E", "&lt;&quot;x&#39;&gt;"),
            ("50%40 &#64;", "50%2540%20%26%2364%3B", "50%40 &amp;#64;"),
        ] {
            for (escape, expect) in [(Escape::Percent, percent), (Escape::Html, html)] {
                assert_eq!(escape.write(text), expect, "{escape:?}");
                assert_eq!(Escapes::new(&[escape]).decode(expect), text, "{escape:?}");
            }
        }
    }

    #[test]
    fn what_is_no_escape_stands_for_itself() {
        for text in [
            "",
            "&",
            "%",
            "50% off",
            "100%",
            "AT&T",
            "a&b;",
            "&#;",
            "&#x;",
            "&#xg;",
            "&commat",
            "&AMP&",
            "%4",
            "%4g",
            "%g0",
            "&#0;",
            "&#xd800;",
            "&#x110000;",
            "&#99999999999;",
            "&#00000000000000000000064;",
            "&nosuchname;",
            "%ff",
            "%c0%80",
            "%e2%80",
            "%e2%80x",
            "%ed%a0%80",
            "%f5%80%80%80",
            "%80",
            "&NegativeVeryThinSpaces;",
            "a?x=1&y=2",
            "%u0040",
            "+",
        ] {
            assert_eq!(BOTH.decode(text), text);
        }
        assert_eq!(Escapes::new(&[Escape::Html]).decode("%40&#64;"), "%40@");
        assert_eq!(Escapes::new(&[Escape::Percent]).decode("%40&#64;"), "@&#64;");
        assert_eq!(Escapes::NONE.decode("%40&#64;"), "%40&#64;");
    }

    /// Whatever is not decided is the beginning of an escape that would be, and is bounded.
    #[test]
    fn an_escape_is_decided_at_the_first_byte_that_decides_it() {
        for (text, len) in [
            ("%40", 3),
            ("%E5%8C%97", 9),
            ("&#64;", 5),
            ("&#x40;", 6),
            ("&#000000000000000000064;", 24),
            ("&NegativeVeryThinSpace;", 23),
            ("&period;", 8),
        ] {
            for cut in 1..len {
                assert_eq!(BOTH.read(&text.as_bytes()[..cut], false), Read::More, "{text} cut at {cut}");
            }
            assert!(
                matches!(BOTH.read(text.as_bytes(), false), Read::Char(_, whole) if whole == len),
                "{text}"
            );
        }
        for text in ["% ", "%4 ", "%ff", "%e5%40", "%e5%8 ", "& ", "&T ", "&zzz", "&#-", "&#x-", "&#1114112"]
        {
            assert_eq!(BOTH.read(text.as_bytes(), false), Read::Plain, "{text}");
        }
        let zeros = format!("&#{}", "0".repeat(40));
        for cut in 2..zeros.len() {
            let expect = if cut < MAX_ESCAPE { Read::More } else { Read::Plain };
            assert_eq!(BOTH.read(&zeros.as_bytes()[..cut], false), expect, "{cut} bytes");
        }
    }
}
