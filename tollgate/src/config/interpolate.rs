//! `${NAME}`, `${NAME:-default}`, `${NAME:?message}` in values, `$${` for a plain `${`.
//!
//! Filled in on the parsed tree, scalar by scalar, so that no value can bring YAML of its own.

use tollgate_filters::conf::{KeyPath, Problem};

use super::Environment;
use super::node::{Node, Origin, Value};

/// What could not be filled in.
#[derive(Debug, Default)]
pub(super) struct Broken {
    pub(super) problems: Vec<Problem>,
    /// Values that are unknown now; they are null in the tree.
    pub(super) paths: Vec<KeyPath>,
}

/// Replaces every `${…}` in the tree.
pub(super) fn fill(tree: &mut Node, environment: Environment<'_>) -> Broken {
    let mut broken = Broken::default();
    visit(tree, &KeyPath::root(), environment, &mut broken);
    broken
}

fn visit(node: &mut Node, path: &KeyPath, environment: Environment<'_>, broken: &mut Broken) {
    match &mut node.value {
        Value::Text { text, origin } if text.contains("${") => match expand(text, environment) {
            Ok((filled, from)) => {
                *text = filled;
                *origin = from;
            }
            Err(message) => {
                broken.problems.push(Problem::new(path.clone(), message));
                broken.paths.push(path.clone());
                node.value = Value::Null;
            }
        },
        Value::List(nodes) => {
            for (index, node) in nodes.iter_mut().enumerate() {
                visit(node, &path.index(index), environment, broken);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                visit(&mut entry.node, &path.key(&entry.key), environment, broken);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text { .. } => {}
    }
}

/// The text with its variables, and where it came from. Messages name variables, never values.
fn expand(text: &str, environment: Environment<'_>) -> Result<(String, Origin), String> {
    const SHAPE: &str = "write ${NAME}, ${NAME:-default} or ${NAME:?message}, and $${ for a plain ${";
    let mut out = String::with_capacity(text.len());
    let (mut written, mut variables) = (false, false);
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, from) = rest.split_at(start);
        if let Some(plain) = before.strip_suffix('$') {
            out.push_str(plain);
            out.push_str("${");
            written = true;
            rest = &from[2..];
            continue;
        }
        written |= !before.is_empty();
        out.push_str(before);
        let end = from.find('}').ok_or_else(|| format!("has a `${{` without its `}}`; {SHAPE}"))?;
        let inside = &from[2..end];
        rest = &from[end + 1..];
        let name_end = inside.find(':').unwrap_or(inside.len());
        let (name, operator) = inside.split_at(name_end);
        let is_name = |name: &str| {
            !name.is_empty()
                && !name.starts_with(|c: char| c.is_ascii_digit())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        if !is_name(name) {
            return Err(format!("has a `${{…}}` without a variable's name; {SHAPE}"));
        }
        variables = true;
        let value = environment(name);
        if operator.is_empty() {
            let value = value.ok_or_else(|| {
                format!("the environment variable {name} is not set; set it, or write ${{{name}:-default}}")
            })?;
            out.push_str(&value);
        } else if let Some(default) = operator.strip_prefix(":-") {
            match value.filter(|value| !value.is_empty()) {
                Some(value) => out.push_str(&value),
                None => {
                    written |= !default.is_empty();
                    out.push_str(default);
                }
            }
        } else if let Some(message) = operator.strip_prefix(":?") {
            let message = if message.is_empty() { "set it" } else { message };
            let value = value.filter(|value| !value.is_empty());
            out.push_str(
                &value.ok_or_else(|| format!("the environment variable {name} is not set: {message}"))?,
            );
        } else {
            return Err(format!("has a `${{{name}…}}` that cannot be read; {SHAPE}"));
        }
    }
    written |= !rest.is_empty();
    out.push_str(rest);
    let origin = match (variables, written) {
        (true, false) => Origin::Environment,
        (true, true) => Origin::Mixed,
        (false, _) => Origin::Written,
    };
    Ok((out, origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Result<(&str, Origin), &str>) {
        let environment = |name: &str| match name {
            "A" => Some("one".to_owned()),
            "EMPTY" => Some(String::new()),
            "YAML" => Some("x: [${A}".to_owned()),
            _ => None,
        };
        match (expand(text, &environment), expect) {
            (Ok((got, origin)), Ok((text, from))) => assert_eq!((got.as_str(), origin), (text, from)),
            (Err(got), Err(part)) => assert!(got.contains(part), "{text}: {got}"),
            (got, expect) => panic!("{text}: {got:?}, not {expect:?}"),
        }
    }

    #[test]
    fn variables() {
        use Origin::{Environment, Mixed, Written};
        check("${A}", Ok(("one", Environment)));
        check("${A}${A}", Ok(("oneone", Environment)));
        check("http://${A}:80", Ok(("http://one:80", Mixed)));
        check("${B:-two}", Ok(("two", Mixed)));
        check("${B:-}", Ok(("", Environment)));
        check("${A:-two}", Ok(("one", Environment)));
        check("${EMPTY}", Ok(("", Environment)));
        check("${EMPTY:-two}", Ok(("two", Mixed)));
        check("${A:?never}", Ok(("one", Environment)));
        check("${YAML}", Ok(("x: [${A}", Environment)));
        check("$${A}", Ok(("${A}", Written)));
        check("$5 {A}", Ok(("$5 {A}", Written)));
        check("${B}", Err("variable B is not set; set it, or write ${B:-default}"));
        check("${EMPTY:?make one}", Err("variable EMPTY is not set: make one"));
        check("${B:?make one: now}", Err("variable B is not set: make one: now"));
        check("${A", Err("without its `}`"));
        check("${}", Err("without a variable's name"));
        check("${1A}", Err("without a variable's name"));
        check("${A-x}", Err("without a variable's name"));
        check("${A:x}", Err("cannot be read"));
    }
}
