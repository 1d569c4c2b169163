//! The leak oracle: reads an answer's raw bytes in every way a client could, and finds any part of a value in any of them.

use std::collections::BTreeMap;

use serde_json::Value;

/// Parts shorter than this can be there by chance.
const SHORTEST: usize = 6;

/// Panics if `raw`, an event stream or a plain answer, holds [`SHORTEST`] or more bytes of `value` in a row.
pub(crate) fn assert_none(raw: &[u8], value: &str) {
    let views = views(raw);
    for part in value.as_bytes().windows(SHORTEST) {
        let part = std::str::from_utf8(part).expect("values are ASCII here");
        for (name, view) in &views {
            assert!(!view.contains(part), "{part:?} of {value:?} leaked into {name}: {view}");
        }
    }
}

/// The bytes as they stand, and every text of all events: decoded, joined over the events lane by lane, and each of these once
/// more without its own escapes, as a client reads tool arguments.
fn views(raw: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(raw).into_owned();
    let mut views = BTreeMap::new();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).chain([text.as_str()]);
    for value in data.filter_map(|data| serde_json::from_str::<Value>(data).ok()) {
        join(&value, String::new(), &mut views);
    }
    views.insert("the raw bytes".to_owned(), text);
    let escaped: Vec<_> = views.iter().filter(|(_, text)| text.contains('\\')).collect();
    let inner: Vec<_> =
        escaped.iter().map(|(lane, text)| (format!("{lane}, unescaped"), unescaped(text))).collect();
    views.extend(inner);
    views
}

/// A text without its JSON escapes (RFC 8259, section 7), whether it is whole or not.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once('\\') {
        out.push_str(before);
        let unit = escape.strip_prefix('u').and_then(|hex| u32::from_str_radix(hex.get(..4)?, 16).ok());
        let (character, taken) = match (unit, escape.chars().next()) {
            (Some(unit), _) => (char::from_u32(unit), 5),
            (None, Some('n')) => (Some('\n'), 1),
            (None, Some('t')) => (Some('\t'), 1),
            (None, Some(other)) => (Some(other), other.len_utf8()),
            (None, None) => (None, 0),
        };
        out.extend(character);
        rest = &escape[taken..];
    }
    out + rest
}

fn join(value: &Value, lane: String, views: &mut BTreeMap<String, String>) {
    match value {
        Value::String(text) => views.entry(lane).or_default().push_str(text),
        Value::Array(items) => {
            let bytes: Option<Vec<u8>> =
                items.iter().map(|item| item.as_u64().and_then(|n| u8::try_from(n).ok())).collect();
            if let Some(bytes) = bytes {
                // Logprobs carry their token's bytes as numbers.
                views.entry(format!("{lane}#")).or_default().push_str(&String::from_utf8_lossy(&bytes));
            }
            for item in items {
                join(item, lane.clone(), views);
            }
        }
        Value::Object(fields) => {
            let place: Vec<String> = ["index", "output_index", "content_index"]
                .iter()
                .filter_map(|name| Some(format!("{name}{}", fields.get(*name)?)))
                .collect();
            for (name, field) in fields {
                join(field, format!("{lane}/{}{name}", place.concat()), views);
            }
        }
        Value::Number(number) => views.entry(lane).or_default().push_str(&number.to_string()),
        Value::Null | Value::Bool(_) => {}
    }
}

#[test]
fn the_oracle_sees_through_cuts_escapes_and_lanes() {
    let cases: [&[u8]; 6] = [
        b"data: {\"a\": \"xalice@corp\"}\n\n",
        b"data: {\"a\": \"ali\"}\n\ndata: {\"a\": \"ce@co\"}\n\n",
        br#"data: {"a": "\u0061lice\u0040corp"}"#,
        br#"data: {"arguments": "{\"to\": \"\\u0061lice\\u0040corp\"}"}"#,
        b"data: {\"arguments\": \"{\\\"to\\\": \\\"ali\\\\u00\"}\n\ndata: {\"arguments\": \"63e@co\\\"}\"}\n\n",
        b"data: {\"bytes\": [97, 108, 105]}\n\ndata: {\"bytes\": [99, 101, 64]}\n\n",
    ];
    for raw in cases {
        let seen = std::panic::catch_unwind(|| assert_none(raw, "alice@corp.com"));
        assert!(seen.is_err(), "{}", String::from_utf8_lossy(raw));
    }
    assert_none(
        b"data: {\"index\": 0, \"a\": \"ali\"}\n\ndata: {\"index\": 1, \"a\": \"ce@co\"}\n\n",
        "alice@corp.com",
    );
}
