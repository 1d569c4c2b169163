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

/// The bytes as they stand, and every text of all events: decoded, and joined over the events lane by lane.
fn views(raw: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(raw).into_owned();
    let mut views = BTreeMap::new();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).chain([text.as_str()]);
    for value in data.filter_map(|data| serde_json::from_str::<Value>(data).ok()) {
        join(&value, String::new(), &mut views);
    }
    views.insert("the raw bytes".to_owned(), text);
    views
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
    let cases: [&[u8]; 4] = [
        b"data: {\"a\": \"xalice@corp\"}\n\n",
        b"data: {\"a\": \"ali\"}\n\ndata: {\"a\": \"ce@co\"}\n\n",
        br#"data: {"a": "\u0061lice\u0040corp"}"#,
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
