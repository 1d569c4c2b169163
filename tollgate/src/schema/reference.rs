//! docs/configuration.md, made from the schema: purpose, type and unit, default, what happens when unset, reload, example.

use std::fmt::Write;

use serde_json::{Map, Value};

const INTRO: &str = include_str!("intro.md");

/// The whole page.
pub(crate) fn markdown(schema: &Value) -> String {
    let mut page = Page { root: schema, out: INTRO.to_owned() };
    for (key, property) in properties(schema) {
        page.section(key, property, is_required(schema, key));
    }
    page.out
}

struct Page<'a> {
    root: &'a Value,
    out: String,
}

/// What an entry takes over from the one around it.
#[derive(Clone, Copy)]
struct Around<'a> {
    path: &'a str,
    reload: Option<&'a str>,
}

impl<'a> Page<'a> {
    fn section(&mut self, key: &str, property: &'a Value, required: bool) {
        self.write(format_args!("\n## {key}\n"));
        self.entry(key, property, required, Around { path: "", reload: None });
    }

    /// One entry, and those within it.
    fn entry(&mut self, key: &str, property: &'a Value, required: bool, around: Around<'_>) {
        let path = if around.path.is_empty() { key.to_owned() } else { format!("{}.{key}", around.path) };
        let reload = text(property, "x-reload").or(around.reload);
        let shape = self.resolve(property);
        if !around.path.is_empty() {
            self.write(format_args!("\n### {path}\n"));
        }
        let purpose =
            text(property, "description").or_else(|| text(shape, "description")).unwrap_or_default();
        self.write(format_args!("{}\n", purpose.replace('\n', " ")));
        let kind = self.kind(property);
        self.write(format_args!("\n- Type: {kind}\n"));
        let default = property.get("default").filter(|default| !default.is_null());
        let unset = match (default, text(property, "x-unset"), required) {
            (_, _, true) => "Unset: refused, it must be there".to_owned(),
            (None | Some(Value::Object(_)), Some(unset), _) => format!("Unset: {unset}"),
            (None | Some(Value::Object(_)), None, _) if kind == "block" => {
                "Unset: the defaults below".to_owned()
            }
            (Some(Value::Object(_)), None, _) => "Unset: none".to_owned(),
            (Some(Value::Array(list)), None, _) if list.is_empty() => "Unset: none".to_owned(),
            (Some(default), _, _) => format!("Default: `{}`", plain(default)),
            (None, None, _) => "Unset: none".to_owned(),
        };
        self.write(format_args!("- {unset}\n"));
        self.write(format_args!("- Reload: {}\n", reload.unwrap_or("taken over")));
        for example in property.get("examples").and_then(Value::as_array).into_iter().flatten() {
            self.write(format_args!("- Example: `{key}: {}`\n", flow(example)));
        }
        let items = shape.get("items").map(|items| self.resolve(items));
        let (path, inner) = match items {
            Some(items) => (format!("{path}[]"), items),
            None => (path, shape),
        };
        if text(property, "description").is_some()
            && let (Some(about), true) = (text(inner, "description"), inner.get("properties").is_some())
        {
            self.write(format_args!("\n{}\n", about.replace('\n', " ")));
        }
        for (key, property) in properties(inner) {
            let around = Around { path: &path, reload };
            self.entry(key, property, is_required(inner, key), around);
        }
    }

    fn kind(&self, schema: &'a Value) -> String {
        let shape = self.resolve(schema);
        if shape.get("x-secret").is_some() {
            return "secret: `\"${NAME}\"` or `{file: PATH}`".into();
        }
        if shape.get("x-file").is_some() {
            return "path of a readable file".into();
        }
        if let Some(words) = words(shape) {
            return format!("one of `{}`", words.join("`, `"));
        }
        let types = shape.get("type").map(|t| t.as_array().map_or_else(|| vec![t.clone()], Clone::clone));
        let first = types.iter().flatten().filter_map(Value::as_str).find(|t| *t != "null").unwrap_or("any");
        match (first, text(shape, "format")) {
            (_, Some("duration-with-unit")) => "duration, such as `30s`".into(),
            (_, Some("byte-size")) => "size in bytes, such as `32MiB`".into(),
            (_, Some("rate")) => "rate, such as `100/min`".into(),
            ("string", _) => "text".into(),
            ("boolean", _) => "`true` or `false`".into(),
            ("integer" | "number", _) => {
                range(if first == "integer" { "whole number" } else { "number" }, schema, shape)
            }
            ("array", _) => {
                let items = shape.get("items").map_or_else(|| "anything".into(), |items| self.kind(items));
                if items == "block" { "list of blocks".into() } else { format!("list of: {items}") }
            }
            ("object", _) => match shape.get("additionalProperties").filter(|others| others.is_object()) {
                Some(others) => format!("names and values, each: {}", self.kind(others)),
                None => "block".into(),
            },
            _ => "anything".into(),
        }
    }

    fn resolve(&self, schema: &'a Value) -> &'a Value {
        if let Some(reference) = text(schema, "$ref") {
            let found = self.root.pointer(reference.trim_start_matches('#'));
            return self.resolve(found.expect("schemars defines what it refers to"));
        }
        if schema.get("x-secret").is_none()
            && let Some(branches) = schema.get("anyOf").and_then(Value::as_array)
        {
            let is_value = |branch: &&Value| text(branch, "type") != Some("null");
            return branches.iter().find(is_value).map_or(schema, |branch| self.resolve(branch));
        }
        schema
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.out.write_fmt(text).expect("writing to a String cannot fail");
    }
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

fn is_required(schema: &Value, key: &str) -> bool {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().any(|required| required == key)
}

fn text<'a>(schema: &'a Value, key: &str) -> Option<&'a str> {
    schema.get(key).and_then(Value::as_str)
}

fn words(schema: &Value) -> Option<Vec<&str>> {
    fn list<'a>(schema: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
        schema.get(key).and_then(Value::as_array).into_iter().flatten()
    }
    let nested = list(schema, "oneOf").flat_map(|branch| list(branch, "enum").chain(branch.get("const")));
    let all: Vec<_> = list(schema, "enum").chain(nested).filter_map(Value::as_str).collect();
    (!all.is_empty()).then_some(all)
}

fn range(what: &str, schema: &Value, shape: &Value) -> String {
    let bound = |key: &str| schema.get(key).or_else(|| shape.get(key)).and_then(Value::as_f64);
    match (bound("minimum"), bound("maximum")) {
        (Some(least), Some(most)) => format!("{what}, {least} to {most}"),
        (Some(least), None) => format!("{what}, at least {least}"),
        _ => what.to_owned(),
    }
}

/// A default as one writes it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => flow(other),
    }
}

/// YAML's flow form: JSON with a space after each sign, texts in quotes only where they need them.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let word = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
                && !text.contains([',', '{', '}', '[', ']', '#', '"', ' ', '*', '&', '…'])
                && !text.ends_with(':');
            if word { text.clone() } else { format!("{text:?}") }
        }
        Value::Array(list) => format!("[{}]", list.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let members = members.iter().map(|(key, value)| format!("{key}: {}", flow(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}
