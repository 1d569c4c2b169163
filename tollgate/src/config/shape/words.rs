//! What a schema allows, and how to say so.

use serde_json::Value as Schema;

use crate::config::node::Value;

/// JSON Schema's word for a value's type.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::Text { .. } => "string",
        Value::List(_) => "array",
        Value::Map(_) => "object",
    }
}

/// The types that a schema allows.
pub(super) fn types(schema: &Schema) -> Vec<&str> {
    match schema.get("type") {
        Some(Schema::String(one)) => vec![one],
        Some(Schema::Array(several)) => several.iter().filter_map(Schema::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The words of an enumeration: `enum`, or `oneOf` with a `const` each where they are documented.
pub(super) fn choices(schema: &Schema) -> Option<Vec<&str>> {
    fn words(schema: &Schema) -> Vec<&str> {
        let listed = schema.get("enum").and_then(Schema::as_array).into_iter().flatten();
        listed.chain(schema.get("const")).filter_map(Schema::as_str).collect()
    }
    let one_of = schema.get("oneOf").and_then(Schema::as_array).into_iter().flatten();
    let all: Vec<_> = words(schema).into_iter().chain(one_of.flat_map(words)).collect();
    (!all.is_empty()).then_some(all)
}

pub(super) fn wrong_choice(value: &Value, all: &[&str]) -> String {
    let list = all.join(", ");
    match value {
        Value::Text { text, .. } => match nearest(text, all) {
            Some(near) => format!("did you mean `{near}`? Write one of: {list}"),
            None => format!("is unknown; write one of: {list}"),
        },
        // YAML readers disagree on these two words; we do not guess.
        Value::Bool(value) if all.contains(&"off") && !value => format!("is {value}; write one of: {list}"),
        other => format!("is {}; write one of: {list}", noun(other)),
    }
}

/// What stands there and what should.
pub(super) fn wrong_type(value: &Value, schema: &Schema) -> String {
    let wanted = wanted(schema);
    let allowed = types(schema);
    match value {
        Value::Null => format!("is empty; write {wanted}, or remove the key"),
        Value::Number(number) if allowed.contains(&"string") && schema.get("format").is_none() => {
            format!("is a number; put it in quotes: \"{number}\"")
        }
        Value::Bool(value) if allowed.contains(&"string") => {
            format!("is a truth value; put it in quotes: \"{value}\"")
        }
        Value::Text { .. } if allowed.contains(&"array") => format!("is a text; write {wanted}"),
        Value::Text { text, .. } if allowed.contains(&"boolean") && is_yes_or_no(text) => {
            "is a text here; write true or false".to_owned()
        }
        Value::Text { text, .. }
            if (allowed.contains(&"integer") || allowed.contains(&"number"))
                && text.parse::<f64>().is_ok() =>
        {
            format!("is a text; write {wanted} without quotes")
        }
        other => format!("is {}; write {wanted}", noun(other)),
    }
}

pub(super) fn out_of_range(number: &serde_json::Number, schema: &Schema) -> Option<String> {
    let bound = |key: &str| schema.get(key).and_then(Schema::as_f64);
    let value = number.as_f64()?;
    let low = bound("minimum").is_some_and(|least| value < least);
    let high = bound("maximum").is_some_and(|most| value > most);
    (low || high).then(|| format!("is {number}; write {}", wanted(schema)))
}

/// How to fill in a key that is missing.
pub(super) fn advice(schema: &Schema, property: &Schema) -> String {
    let example = property.get("examples").and_then(|examples| examples.get(0));
    match (example, choices(schema)) {
        (Some(example), _) => format!("write for example {example}"),
        (None, Some(all)) => format!("write one of: {}", all.join(", ")),
        (None, None) => format!("write {}", wanted(schema)),
    }
}

/// The name in `names` that `word` probably means.
pub(super) fn nearest<'a>(word: &str, names: &[&'a str]) -> Option<&'a str> {
    let allowed = match word.chars().count() {
        0..=2 => 0,
        3..=5 => 1,
        6..=9 => 2,
        _ => 3,
    };
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_'], "");
    let distances = names.iter().map(|name| {
        let name_and_word = (plain(name), plain(word));
        let distance = if name_and_word.0 == name_and_word.1 { 0 } else { distance(word, name) };
        (distance, *name)
    });
    distances
        .filter(|(distance, name)| *distance <= allowed && *distance < name.len())
        .min()
        .map(|(_, name)| name)
}

fn wanted(schema: &Schema) -> String {
    let bound = |key: &str| schema.get(key).and_then(Schema::as_f64);
    let format = schema.get("format").and_then(Schema::as_str);
    match (types(schema).first().copied(), format) {
        (_, Some("duration-with-unit")) => "a duration such as 30s or 1m30s".into(),
        (_, Some("byte-size")) => "a size such as 2KiB or 32MiB".into(),
        (_, Some("rate")) => "a rate such as 100/min".into(),
        (Some("integer" | "number"), _) => {
            let what = if types(schema).contains(&"integer") { "a whole number" } else { "a number" };
            match (bound("minimum"), bound("maximum")) {
                (Some(least), Some(most)) => format!("{what} from {least} to {most}"),
                (Some(least), None) => format!("{what} of at least {least}"),
                (None, Some(most)) => format!("{what} of at most {most}"),
                (None, None) => what.into(),
            }
        }
        (Some("boolean"), _) => "true or false".into(),
        (Some("array"), _) => "a list: [a, b], or one line `- …` for each".into(),
        (Some("object"), _) => {
            let keys =
                schema.get("properties").and_then(Schema::as_object).into_iter().flat_map(|p| p.keys());
            let keys: Vec<_> = keys.take(6).map(String::as_str).collect();
            if keys.is_empty() {
                "names and values: {name: value}".into()
            } else {
                format!("a block with keys such as {}", keys.join(", "))
            }
        }
        _ => "a text".into(),
    }
}

fn noun(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "a truth value",
        Value::Number(number) if number.is_f64() => "a fraction",
        Value::Number(_) => "a number",
        Value::Text { .. } => "a text",
        Value::List(_) => "a list",
        Value::Map(_) => "a block of keys",
    }
}

fn is_yes_or_no(text: &str) -> bool {
    ["yes", "no", "on", "off", "true", "false", "y", "n"].contains(&text.to_ascii_lowercase().as_str())
}

/// Levenshtein's, with a swap of neighbours as one step (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<_>, Vec<_>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words() {
        let keys = ["api_key", "base_urls", "id", "kind", "weight", "first_byte"];
        for (word, expect) in [
            ("apikey", Some("api_key")),
            ("api-key", Some("api_key")),
            ("API_KEY", Some("api_key")),
            ("base_url", Some("base_urls")),
            ("wieght", Some("weight")),
            ("knd", Some("kind")),
            ("x", None),
            ("timeouts", None),
        ] {
            assert_eq!(nearest(word, &keys), expect, "{word}");
        }
    }
}
