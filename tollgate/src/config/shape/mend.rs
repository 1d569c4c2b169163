//! Something that fits, to stand where something did not.

use serde_json::Value as Schema;

use super::{Shape, words};
use crate::config::node::{Entry, Node, Origin, Place, Value};

impl<'a> Shape<'a> {
    /// The plainest value that fits `schema`. It is never used: the file is refused, with everything else that is wrong in it.
    pub(super) fn substitute(&self, schema: &'a Schema, place: Place) -> Value {
        let text = |text: &str| Value::Text { text: text.to_owned(), origin: Origin::Environment };
        let (schema, optional) = self.resolve(schema);
        if optional {
            return Value::Null;
        }
        if let Some(choices) = words::choices(schema) {
            return text(choices.first().copied().unwrap_or_default());
        }
        match words::types(schema).first().copied() {
            Some("object") => {
                let required = schema.get("required").and_then(Schema::as_array).into_iter().flatten();
                let entries = required.filter_map(Schema::as_str).map(|key| Entry {
                    key: key.to_owned(),
                    place,
                    node: Node { place, value: self.substitute(&schema["properties"][key], place) },
                });
                Value::Map(entries.collect())
            }
            Some("array") => Value::List(Vec::new()),
            Some("integer" | "number") => {
                let least = schema.get("minimum").and_then(Schema::as_u64).unwrap_or(0);
                Value::Number(least.max(1).into())
            }
            Some("boolean") => Value::Bool(false),
            _ => text(match schema.get("format").and_then(Schema::as_str) {
                Some("duration-with-unit") => "1s",
                Some("byte-size") => "1GiB",
                Some("rate") => "1/s",
                _ => "",
            }),
        }
    }
}
