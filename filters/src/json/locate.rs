//! Paths for people: `messages[2].content[0].text`.

use super::tokens::{Token, Tokens};
use super::walk::{Str, Value};

/// Names places in a body. Nothing keeps paths while a body is read, because almost no request ever needs one; this walks the
/// body again, once, when places are asked for in ascending order.
#[derive(Debug)]
pub struct Locator<'a> {
    /// `None`: the text is no JSON from its first byte.
    tokens: Option<Tokens<'a>>,
    /// Which member of each open container the walk is in.
    path: Vec<Step<'a>>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    /// Entered, no member read yet.
    Entered,
    Key(Str<'a>),
    Index(usize),
}

/// Longer keys, and those that are not plain names, could be a caller's data: they are not repeated in messages and logs.
const LONGEST_NAME: usize = 40;

/// Where a path is cut: deeper than any real place.
const LONGEST_PATH: usize = 200;

impl<'a> Locator<'a> {
    pub fn new(body: &'a [u8], limit: usize) -> Self {
        Locator { tokens: Tokens::new(body, limit).ok(), path: Vec::new() }
    }

    /// Path of the value or key that stands at `offset`, or of the last place before it that is valid JSON. The whole body is
    /// the empty path. An offset before the last asked names the last place.
    pub fn path(&mut self, offset: usize) -> String {
        while self.tokens.as_ref().is_some_and(|tokens| tokens.at() <= offset) && self.step() {}
        let mut path = String::new();
        for step in &self.path {
            if path.len() >= LONGEST_PATH {
                path.push('…');
                break;
            }
            match step {
                Step::Entered => {}
                Step::Index(index) => path.push_str(&format!("[{index}]")),
                Step::Key(key) => {
                    let key = key.decode();
                    if is_plain_name(&key) {
                        if !path.is_empty() {
                            path.push('.');
                        }
                        path.push_str(&key);
                    } else {
                        path.push_str("[*]");
                    }
                }
            }
        }
        path
    }

    /// Reads one token; false at the end of the text, or where it stops being JSON.
    fn step(&mut self) -> bool {
        let Some(Ok(Some(token))) = self.tokens.as_mut().map(Tokens::token) else { return false };
        match token {
            Token::Value(Value::Object | Value::Array) => self.path.push(Step::Entered),
            Token::Value(_) => {}
            Token::Leave => {
                self.path.pop();
            }
            Token::Key(key) => {
                if let Some(last) = self.path.last_mut() {
                    *last = Step::Key(key);
                }
            }
            Token::Element => {
                if let Some(last) = self.path.last_mut() {
                    *last = match *last {
                        Step::Index(index) => Step::Index(index + 1),
                        Step::Entered | Step::Key(_) => Step::Index(0),
                    };
                }
            }
        }
        true
    }
}

fn is_plain_name(key: &str) -> bool {
    let first = key.bytes().next();
    first.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && key.len() <= LONGEST_NAME
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_paths() {
        let body = br#"{"m":[{"r":"u"}, {"c\u0061":[1,{"text":"HERE"}]},[]],"a b@c":{"x":7}, "z":8}"#;
        let table = [
            ("{", ""),
            ("[{", "m"),
            (r#""u""#, "m[0].r"),
            ("HERE", "m[1].ca[1].text"),
            ("1,", "m[1].ca[0]"),
            ("[]],", "m[2]"),
            ("7", "[*].x"),
            ("8", "z"),
        ];
        let find =
            |needle: &str| std::str::from_utf8(body).expect("ASCII").find(needle).expect("it is there");
        let mut forward = Locator::new(body, 128);
        let mut last = 0;
        for (needle, expected) in table {
            let offset = find(needle);
            assert_eq!(Locator::new(body, 128).path(offset), expected, "{needle}");
            if offset >= last {
                assert_eq!(forward.path(offset), expected, "{needle}, going on");
                last = offset;
            }
        }
    }

    #[test]
    fn broken_bodies_are_located_as_far_as_they_go() {
        assert_eq!(Locator::new(b"", 128).path(0), "");
        assert_eq!(Locator::new(b"\xff", 128).path(7), "");
        assert_eq!(Locator::new(br#"{"a":[1,]}"#, 128).path(8), "a[1]");
        assert_eq!(Locator::new(br#"{"a":{"b":1,}}"#, 128).path(12), "a.b");
    }
}
