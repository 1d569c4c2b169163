//! The example files, the schema and the reference are current.

use std::path::PathBuf;

use tollgate_filters::conf::FORMATS;

use super::environment;
use crate::config::{fingerprint, load_with, schema};

const FILES: [&str; 3] = ["quickstart.yaml", "all-on.yaml", "fleet.yaml"];

fn root(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

#[test]
fn every_example_loads_with_the_key_and_only_with_it() {
    for file in FILES {
        let path = root("conf").join(file);
        let loaded = load_with(&path, &environment).unwrap_or_else(|report| panic!("{report}"));
        let config = &loaded.config;
        assert_eq!(config.listeners[0].address.to_string(), "127.0.0.1:8080");
        assert_eq!(config.admin.address.to_string(), "127.0.0.1:8081");
        assert_eq!(config.state_dir, PathBuf::from("./state"));
        assert_eq!(loaded.hash, fingerprint(&loaded.files));
        assert_eq!(loaded.files, std::slice::from_ref(&path));

        let report = load_with(&path, &|_| None).expect_err("there is no key");
        let said: Vec<_> = report.problems.iter().map(|located| located.problem.to_string()).collect();
        assert_eq!(
            said,
            [
                "organizations[0].applications[0].keys[0].key: the environment variable TOLLGATE_KEY is not set: \
              create one with: tollgate key create"
            ],
            "{file}"
        );
    }
}

#[test]
fn addresses_and_state_come_from_the_environment() {
    for file in FILES {
        let set = |name: &str| match name {
            "LISTEN" => Some("127.0.0.1:1001".to_owned()),
            "ADMIN" => Some("127.0.0.1:1002".to_owned()),
            "STATE_DIR" => Some("/tmp/elsewhere".to_owned()),
            other => environment(other),
        };
        let config = load_with(&root("conf").join(file), &set).expect("loads").config;
        assert_eq!(config.listeners[0].address.port(), 1001);
        assert_eq!(config.admin.address.port(), 1002);
        assert_eq!(config.state_dir, PathBuf::from("/tmp/elsewhere"));
    }
}

#[test]
fn a_jwks_file_switches_the_issuer_of_all_on_on() {
    let path = root("conf/all-on.yaml");
    let off = load_with(&path, &environment).expect("loads").config;
    assert!(off.auth.jwt.is_empty());
    let jwks = tempfile::NamedTempFile::new().expect("a temporary file");
    let name = jwks.path().display().to_string();
    let set = |var: &str| if var == "JWKS_FILE" { Some(name.clone()) } else { environment(var) };
    let on = load_with(&path, &set).expect("loads").config;
    assert_eq!(on.auth.jwt.len(), 1);
}

/// `UPDATE=1 cargo test -p tollgate current` writes both files anew.
#[test]
fn schema_and_reference_are_current() {
    let made = [
        ("conf/tollgate.schema.json", crate::schema::text()),
        ("docs/configuration.md", crate::schema::reference::markdown(&schema())),
    ];
    for (path, text) in made {
        let path = root(path);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a writable checkout");
            std::fs::write(&path, &text).expect("a writable checkout");
        }
        let stored = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(stored == text, "{} is old: UPDATE=1 cargo test -p tollgate current", path.display());
    }
}

#[test]
fn every_key_says_what_it_is_for() {
    fn walk(schema: &serde_json::Value, path: &str, bare: &mut Vec<String>) {
        let members = schema.get("properties").and_then(serde_json::Value::as_object);
        for (key, property) in members.into_iter().flatten() {
            if property.get("description").is_none() {
                bare.push(format!("{path}.{key}"));
            }
        }
    }
    let (schema, mut bare) = (schema(), Vec::new());
    walk(&schema, "", &mut bare);
    for (name, definition) in schema["$defs"].as_object().expect("definitions") {
        walk(definition, name, &mut bare);
    }
    assert!(bare.is_empty(), "without description: {bare:?}");
}

#[test]
fn a_changed_file_has_another_fingerprint() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files = [folder.path().join("a"), folder.path().join("b")];
    let mut seen = vec![fingerprint(&files)];
    for (file, text) in [(0, "x"), (1, "x"), (0, "y"), (1, "")] {
        std::fs::write(&files[file], text).expect("a writable folder");
        let now = fingerprint(&files);
        assert!(!seen.contains(&now));
        seen.push(now);
    }
}

#[test]
fn examples_in_the_reference_have_the_form_they_show() {
    let (schema, mut shown) = (schema(), 0);
    let mut check = |definition: &serde_json::Value| {
        for property in definition["properties"].as_object().into_iter().flat_map(|all| all.values()) {
            let branches =
                property["anyOf"].as_array().map_or_else(|| vec![property], |all| all.iter().collect());
            let target = branches.iter().find_map(|branch| branch["$ref"].as_str());
            let target =
                target.and_then(|name| schema.pointer(name.trim_start_matches('#'))).unwrap_or(property);
            let Some((_, parse)) = FORMATS.iter().find(|(name, _)| target["format"] == *name) else {
                continue;
            };
            let examples = property["examples"].as_array().into_iter().flatten();
            for text in examples.chain(property.get("default")).filter_map(serde_json::Value::as_str) {
                parse(text).expect("an example has its form");
                shown += 1;
            }
        }
    };
    schema["$defs"].as_object().expect("definitions").values().for_each(&mut check);
    assert!(shown > 20, "{shown} durations, sizes and rates");
}
