//! JSON as a text to scan: flattened so that rules see decoded values beside their keys, and findings put back into place.

use super::Cut;
use crate::chat::{ReadBounds, Role};
use crate::json::{OffsetMap, Str, Token, Tokens, Value};
use crate::scan::{Found, Shape};

/// The JSON with each string literal decoded in place: what a rule should see, its context included. `None` where that is the
/// JSON as it stands, or where it is no JSON after all.
pub(super) fn flatten(text: &str) -> Option<String> {
    memchr::memchr(b'\\', text.as_bytes())?;
    let mut flat = String::with_capacity(text.len());
    let mut done = 0;
    each_literal(text, |literal| {
        if let Literal::Key(string) | Literal::String(string) = literal
            && string.is_escaped()
        {
            let inner = inner(string);
            flat.push_str(&text[done..inner.start]);
            flat.push_str(&string.decode());
            done = inner.end;
        }
    })?;
    flat.push_str(&text[done..]);
    Some(flat)
}

/// Where each finding in the flattened text lies in the JSON itself, cut down to the literals it touches, so that masking leaves
/// JSON behind. A finding over a key and its value (`"password": "…"`) is cut down to the value: the key says what it was.
/// A schema's numbers are bounds, not data. `None` where the text is no JSON.
pub(super) fn places(text: &str, found: &[Found], role: Role) -> Option<Vec<Vec<Cut>>> {
    struct Piece {
        cut: Cut,
        key: bool,
    }
    let mut pieces: Vec<Vec<Piece>> = found.iter().map(|_| Vec::new()).collect();
    // Flattened offset = offset in the text - what decoding has taken away so far.
    let mut taken = 0;
    // Findings before this one end before the literal that is looked at.
    let mut from = 0;
    each_literal(text, |literal| {
        let (span, string, key) = match literal {
            Literal::Key(string) => (inner(string), Some(string), true),
            Literal::String(string) => (inner(string), Some(string), false),
            Literal::Number(span) => (span, None, false),
        };
        let escaped = string.filter(|string| string.is_escaped());
        let flat_len = escaped.map_or(span.len(), |string| string.decode().len());
        let flat = span.start - taken..span.start - taken + flat_len;
        taken += span.len() - flat_len;
        while found.get(from).is_some_and(|found| found.span.end <= flat.start) {
            from += 1;
        }
        let mut map = escaped.map(|string| OffsetMap::new(string.raw()));
        for (found, pieces) in found[from..].iter().zip(&mut pieces[from..]) {
            if found.span.start >= flat.end {
                break;
            }
            let cut = if string.is_some() {
                let mut place = |offset: usize| {
                    let offset = offset.clamp(flat.start, flat.end) - flat.start;
                    span.start + map.as_mut().map_or(offset, |map| map.raw(offset))
                };
                Cut {
                    span: place(found.span.start)..place(found.span.end),
                    shape: Shape::JsonString,
                    number: None,
                    nested: true,
                }
            } else if role == Role::Schema {
                continue;
            } else {
                Cut {
                    span: span.clone(),
                    shape: Shape::JsonNumber,
                    number: text.get(span.clone()).map(str::to_owned),
                    nested: false,
                }
            };
            pieces.push(Piece { cut, key });
        }
    })?;
    // Two findings in one number would replace it twice.
    let mut last_end = 0;
    let places = pieces.into_iter().map(|pieces| {
        let only_keys = pieces.iter().all(|piece| piece.key);
        let kept = pieces.into_iter().filter(|piece| only_keys || !piece.key).map(|piece| piece.cut);
        let kept: Vec<Cut> = kept.filter(|cut| cut.span.start >= last_end).collect();
        last_end = kept.last().map_or(last_end, |cut| cut.span.end);
        kept
    });
    Some(places.collect())
}

enum Literal<'a> {
    Key(Str<'a>),
    String(Str<'a>),
    Number(std::ops::Range<usize>),
}

/// Between the quotes.
fn inner(string: Str<'_>) -> std::ops::Range<usize> {
    let span = string.span();
    span.start + 1..span.end - 1
}

/// Calls back for every key, string and number, in order; `None` where the text is not one JSON value.
fn each_literal<'a>(text: &'a str, mut see: impl FnMut(Literal<'a>)) -> Option<()> {
    let mut tokens = Tokens::over(text, ReadBounds::DEEPEST).ok()?;
    while let Some(token) = tokens.token().ok()? {
        match token {
            Token::Key(key) => see(Literal::Key(key)),
            Token::Value(Value::String(string)) => see(Literal::String(string)),
            Token::Value(Value::Number(spelled)) => {
                let end = tokens.at();
                see(Literal::Number(end - spelled.len()..end));
            }
            _ => {}
        }
    }
    tokens.end().ok()
}
