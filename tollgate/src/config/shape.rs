//! Fits a tree to the generated JSON Schema: every unknown key, missing key and wrong type at once, where serde would stop at
//! the first. What does not fit is reported and mended with something that does, so that the checks after this one still run.
//!
//! Understands what schemars generates for `raw::Config`, and the keywords of our own: `x-secret`, `x-file`, `x-off-when-empty`.

mod mend;
mod words;

use serde_json::Value as Schema;
use tollgate_filters::conf::{FORMATS, KeyPath, Problem, SECRET_MARK};

use super::include::Reader;
use super::node::{Entry, Node, Origin, Place, Value};

/// Keys of the design that are not built yet.
const NOT_YET: &[(&str, &str)] = &[
    ("budgets", "budgets are not built yet; until then use limits: [{id, scope, tokens: 1M/day}]"),
    ("kafka", "Kafka is not built yet; events go to the embedded store"),
    ("otlp", "OTLP is not built yet; metrics are on the admin listener"),
];

/// Paths at which something was mended: further problems there are no news.
#[derive(Debug, Default)]
pub(super) struct Mended(Vec<KeyPath>);

impl Mended {
    /// Whether a problem at `path` follows from a mended one: it stands at, within, or directly around one.
    pub(super) fn explain(&self, path: &KeyPath) -> bool {
        let at = path.segments();
        self.0.iter().any(|mended| {
            let mended = mended.segments();
            at.starts_with(mended) || (mended.len() == at.len() + 1 && mended.starts_with(at))
        })
    }
}

pub(super) struct Shape<'a> {
    root: &'a Schema,
    files: &'a mut Reader,
    problems: Vec<(Place, Problem)>,
    mended: Mended,
    /// Null because a variable is not set, which was reported.
    unknown: Vec<KeyPath>,
}

impl<'a> Shape<'a> {
    pub(super) fn new(root: &'a Schema, files: &'a mut Reader, unknown: Vec<KeyPath>) -> Self {
        Shape { root, files, problems: Vec::new(), mended: Mended(unknown.clone()), unknown }
    }

    pub(super) fn finish(self) -> (Vec<(Place, Problem)>, Mended) {
        (self.problems, self.mended)
    }

    /// Fits the whole document.
    pub(super) fn fit_root(&mut self, tree: &mut Node) {
        if matches!(tree.value, Value::Null) {
            self.misfit(
                tree,
                &KeyPath::root(),
                "the file is empty; begin with a copy of conf/quickstart.yaml",
            );
        } else if self.fit(tree, self.root, &KeyPath::root()) {
            return;
        }
        self.mended.0.push(KeyPath::root());
        tree.value = self.substitute(self.root, tree.place);
    }

    /// Whether `node` fits `schema`, its members mended where they do not. A misfit of the node itself is reported and left to
    /// the caller, who knows whether it can be left out.
    fn fit(&mut self, node: &mut Node, schema: &'a Schema, path: &KeyPath) -> bool {
        if self.unknown.contains(path) {
            return false;
        }
        let off_when_empty = schema.get("x-off-when-empty").is_some();
        let (schema, optional) = self.resolve(schema);
        if optional && matches!(node.value, Value::Null) {
            return true;
        }
        if schema.get(SECRET_MARK).is_some() {
            return self.fit_secret(node, path);
        }
        if let Some(all) = words::choices(schema) {
            return self.fit_choice(node, &all, path);
        }
        coerce(node, schema);
        let kind = words::kind(&node.value);
        // Every number may stand where a float is asked for; only whole ones where an integer is.
        let allowed = words::types(schema);
        let fits = allowed.contains(&kind) || (kind == "integer" && allowed.contains(&"number"));
        if !fits {
            self.misfit(node, path, words::wrong_type(&node.value, schema));
            return false;
        }
        match &mut node.value {
            Value::Map(_) => self.fit_map(node, schema, path),
            Value::List(_) => self.fit_list(node, schema, path),
            Value::Text { text, .. } if schema.get("x-file").is_some() => {
                if text.is_empty() && off_when_empty {
                    return true;
                }
                let checked = if text.is_empty() {
                    Err("is empty; write a file's path, or remove the key".into())
                } else {
                    self.files.check(std::path::Path::new(text))
                };
                checked.map_err(|message| self.misfit(node, path, message)).is_ok()
            }
            Value::Text { text, .. } => {
                let format = schema.get("format").and_then(Schema::as_str);
                let check = FORMATS.iter().find(|(name, _)| Some(*name) == format);
                let checked = check.map_or(Ok(()), |(_, check)| check(text));
                checked.map_err(|message| self.misfit(node, path, message)).is_ok()
            }
            Value::Number(number) => {
                let wrong = words::out_of_range(number, schema);
                wrong.map(|message| self.misfit(node, path, message)).is_none()
            }
            Value::Null | Value::Bool(_) => true,
        }
    }

    fn fit_map(&mut self, node: &mut Node, schema: &'a Schema, path: &KeyPath) -> bool {
        let Value::Map(entries) = &mut node.value else { return true };
        let properties = schema.get("properties").and_then(Schema::as_object);
        let others = schema.get("additionalProperties").filter(|others| others.is_object());
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Schema::as_array)
            .into_iter()
            .flatten()
            .filter_map(Schema::as_str)
            .collect();
        let mut meant = Vec::new();
        entries.retain_mut(|entry| {
            let at = path.key(&entry.key);
            let Some(property) = properties.and_then(|all| all.get(&entry.key)).or(others) else {
                meant.extend(self.unknown_key(entry, properties, path));
                return false;
            };
            if self.fit(&mut entry.node, property, &at) {
                return true;
            }
            self.mended.0.push(at);
            if !required.contains(&entry.key.as_str()) {
                return false;
            }
            entry.node.value = self.substitute(property, entry.node.place);
            true
        });
        let place = node.place;
        let Value::Map(entries) = &mut node.value else { return true };
        for key in required {
            if entries.iter().any(|entry| entry.key == key) {
                continue;
            }
            let property = &schema["properties"][key];
            if !meant.iter().any(|meant| meant == key) {
                let message = format!("lacks `{key}`; {}", words::advice(self.resolve(property).0, property));
                self.problems.push((place, Problem::new(path.clone(), message)));
            }
            self.mended.0.push(path.key(key));
            let node = Node { place, value: self.substitute(property, place) };
            entries.push(Entry { key: key.to_owned(), place, node });
        }
        true
    }

    fn fit_list(&mut self, node: &mut Node, schema: &'a Schema, path: &KeyPath) -> bool {
        let (Value::List(nodes), Some(items)) = (&mut node.value, schema.get("items")) else { return true };
        for (index, node) in nodes.iter_mut().enumerate() {
            let at = path.index(index);
            if !self.fit(node, items, &at) {
                self.mended.0.push(at);
                node.value = self.substitute(items, node.place);
            }
        }
        true
    }

    /// A secret comes from the environment or a file; a literal would end in backups, tickets and version control.
    fn fit_secret(&mut self, node: &mut Node, path: &KeyPath) -> bool {
        const ADVICE: &str = "write \"${NAME}\" (an environment variable) or {file: PATH}";
        let read = match &node.value {
            Value::Text { origin: Origin::Environment, .. } => return true,
            Value::Text { .. } => {
                Err(format!("is a secret and must not stand in this file, nor may a default; {ADVICE}"))
            }
            Value::Map(entries) => match entries.as_slice() {
                [Entry { key, node: Node { value: Value::Text { text, .. }, .. }, .. }] if key == "file" => {
                    self.files.text(std::path::Path::new(text))
                }
                _ => Err(format!("is not a secret's place; {ADVICE}")),
            },
            Value::Null => Err(format!("is empty; {ADVICE}, or remove the key")),
            _ => Err(format!("is not a secret's place; {ADVICE}")),
        };
        match read {
            Ok(mut text) => {
                text.truncate(text.trim_end_matches(['\n', '\r']).len());
                node.value = Value::Text { text, origin: Origin::Environment };
                true
            }
            Err(message) => {
                self.misfit(node, path, message);
                false
            }
        }
    }

    fn fit_choice(&mut self, node: &Node, all: &[&str], path: &KeyPath) -> bool {
        let fits = matches!(&node.value, Value::Text { text, .. } if all.contains(&text.as_str()));
        if !fits {
            self.misfit(node, path, words::wrong_choice(&node.value, all));
        }
        fits
    }

    /// Reports a key that nobody reads; what it probably meant.
    fn unknown_key(
        &mut self,
        entry: &Entry,
        properties: Option<&serde_json::Map<String, Schema>>,
        path: &KeyPath,
    ) -> Option<String> {
        let keys: Vec<_> = properties.into_iter().flat_map(|all| all.keys()).map(String::as_str).collect();
        let near = words::nearest(&entry.key, &keys);
        let message = match (NOT_YET.iter().find(|(key, _)| *key == entry.key), near) {
            (Some((_, message)), _) => (*message).to_owned(),
            (None, Some(near)) => format!("is an unknown key; did you mean `{near}`?"),
            (None, None) => format!("is an unknown key; write one of: {}", keys.join(", ")),
        };
        self.problems.push((entry.place, Problem::new(path.key(&entry.key), message)));
        if let Some(near) = near {
            self.mended.0.push(path.key(near));
        }
        near.map(str::to_owned)
    }

    /// Follows references, and takes the non-null branch of an optional value.
    fn resolve(&self, schema: &'a Schema) -> (&'a Schema, bool) {
        let (mut schema, mut optional) = (schema, false);
        loop {
            if let Some(reference) = schema.get("$ref").and_then(Schema::as_str) {
                let found = self.root.pointer(reference.trim_start_matches('#'));
                schema = found.expect("schemars defines what it refers to");
            } else if let (Some(branches), None) =
                (schema.get("anyOf").and_then(Schema::as_array), schema.get(SECRET_MARK))
            {
                let is_null = |branch: &&Schema| branch.get("type").and_then(Schema::as_str) == Some("null");
                optional |= branches.iter().any(|branch| is_null(&branch));
                schema = branches.iter().find(|branch| !is_null(branch)).expect("one branch is a value");
            } else {
                return (schema, optional || words::types(schema).contains(&"null"));
            }
        }
    }

    fn misfit(&mut self, node: &Node, path: &KeyPath, message: impl Into<String>) {
        self.problems.push((node.place, Problem::new(path.clone(), message)));
    }
}

/// A text from the environment may stand for a number or a truth value.
fn coerce(node: &mut Node, schema: &Schema) {
    let Value::Text { text, origin: Origin::Environment | Origin::Mixed } = &node.value else { return };
    let types = words::types(schema);
    if types.contains(&"string") {
        return;
    }
    let coerced = if types.contains(&"boolean") {
        text.parse().ok().map(Value::Bool)
    } else if types.contains(&"integer") || types.contains(&"number") {
        text.parse().ok().map(Value::Number)
    } else {
        None
    };
    if let Some(value) = coerced {
        node.value = value;
    }
}
