#![no_main]
//! The walk against serde_json, and what is built on it.

use libfuzzer_sys::fuzz_target;
use serde_json::Value as Tree;
use tollgate_filters::json::{Invalid, Locator, OffsetMap, Token, Tokens, Value, Walk, decode, encode};

fuzz_target!(|body: &[u8]| {
    let whole = Walk::new(body, 100).and_then(|mut walk| {
        walk.skip()?;
        walk.end()
    });
    let theirs = serde_json::from_slice::<Tree>(body);
    match (&whole, &theirs) {
        (Ok(()), Ok(theirs)) => {
            let mut walk = Walk::new(body, 100).expect("accepted above");
            assert_eq!(&tree(&mut walk).expect("accepted above"), theirs);
            tokens(body);
        }
        (Ok(()), Err(e)) => {
            let e = e.to_string();
            assert!(e.contains("out of range"), "accepted, but serde_json says {e}");
        }
        (Err(e), Ok(_)) => assert!(e.to_string().contains("nested"), "refused, but serde_json accepts: {e}"),
        (Err(e), Err(_)) => assert!(e.offset <= body.len()),
    }
    for offset in [0, body.len() / 2, body.len()] {
        let _ = Locator::new(body, 100).path(offset);
    }
    // Decoding is total, and its offsets map back, whatever the text.
    if let Ok(text) = std::str::from_utf8(body) {
        let decoded = decode(text);
        let mut map = OffsetMap::new(text);
        let mut last = 0;
        for (offset, _) in decoded.char_indices() {
            let raw = map.raw(offset);
            assert!(raw >= last && text.is_char_boundary(raw));
            last = raw;
        }
        let mut literal = Vec::new();
        encode(text, &mut literal);
        assert_eq!(serde_json::from_slice::<String>(&literal).expect("a JSON string"), text);
    }
});

fn tree(walk: &mut Walk<'_>) -> Result<Tree, Invalid> {
    Ok(match walk.value()? {
        Value::Null => Tree::Null,
        Value::Bool(value) => Tree::Bool(value),
        Value::Number(text) => serde_json::from_str(text).expect("serde_json accepts the whole"),
        Value::String(text) => Tree::String(text.decode().into_owned()),
        Value::Array => {
            let mut list = Vec::new();
            while walk.element()? {
                list.push(tree(walk)?);
            }
            Tree::Array(list)
        }
        Value::Object => {
            let mut map = serde_json::Map::new();
            while let Some(key) = walk.key()? {
                map.insert(key.decode().into_owned(), tree(walk)?);
            }
            Tree::Object(map)
        }
    })
}

/// Spans are what they say.
fn tokens(body: &[u8]) {
    let mut tokens = Tokens::new(body, 100).expect("accepted");
    while let Some(token) = tokens.token().expect("accepted") {
        if let Token::Key(text) | Token::Value(Value::String(text)) = token {
            let literal = &body[text.span()];
            assert_eq!(serde_json::from_slice::<String>(literal).expect("a literal"), text.decode());
        }
    }
    tokens.end().expect("accepted");
}
