//! docs/configuration.md, made from the schema.

pub(crate) fn markdown(_schema: &serde_json::Value) -> String {
    String::new()
}
