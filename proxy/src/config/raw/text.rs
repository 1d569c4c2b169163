//! Small texts with a meaning of their own.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A file that must be readable; relative to the working directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FilePath(pub PathBuf);

impl JsonSchema for FilePath {
    fn schema_name() -> Cow<'static, str> {
        "FilePath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A readable file; relative to the working directory.",
            "type": "string",
            "x-file": true,
        })
    }
}

/// Free names and values: `{region: eu, on_premises: true}`.
pub type Labels = BTreeMap<String, LabelText>;

/// A label's value. `true` and `2` are the texts `true` and `2`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct LabelText(pub String);

impl<'de> Deserialize<'de> for LabelText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Ok(LabelText(text)),
            value @ (serde_json::Value::Bool(_) | serde_json::Value::Number(_)) => {
                Ok(LabelText(value.to_string()))
            }
            _ => Err(serde::de::Error::custom("a label is a text, true, false or a number")),
        }
    }
}

impl JsonSchema for LabelText {
    fn schema_name() -> Cow<'static, str> {
        "LabelText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A label's value: a text, true, false or a number.",
            "type": ["string", "boolean", "integer"],
        })
    }
}
