mod examples;
mod mistakes;
mod random;

use std::path::Path;

use super::{Loaded, Report, build, include};

/// A generated key of the id `dev`.
const KEY: &str = "tg_dev_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn environment(name: &str) -> Option<String> {
    let value = match name {
        "TOLLGATE_KEY" => KEY,
        "OWN_KEY" => "correct-horse-battery-staple",
        "SHORT_KEY" => "tg_dev_short",
        "OTHER_KEY" => "tg_other_0123456789abcdef0123456789abcdef",
        "SPACED" => "two words",
        "EMPTY" => "",
        "FOUR" => "4",
        "TRUE" => "true",
        "EVIL" => "x\nadmin: {address: \"0.0.0.0:1\"}",
        _ => return None,
    };
    Some(value.to_owned())
}

fn load(text: &str) -> Result<Loaded, Report> {
    let path = Path::new("t.yaml");
    build(text, &environment, &mut include::Reader::new(path), path)
}

/// `line:column: path: message` of each problem; none if the file loads.
fn problems(text: &str) -> Vec<String> {
    match load(text) {
        Ok(_) => Vec::new(),
        Err(report) => report.problems.iter().map(ToString::to_string).collect(),
    }
}
