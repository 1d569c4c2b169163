//! `tollgate schema`: what a configuration file may hold, for editors and for people.

pub(crate) mod reference;

use std::process::ExitCode;

use crate::cli::SchemaArgs;
use crate::config;

/// Prints the JSON Schema, or the reference made from it.
pub(crate) fn run(args: &SchemaArgs) -> ExitCode {
    if args.reference {
        print!("{}", reference::markdown(&config::schema()));
    } else {
        print!("{}", text());
    }
    ExitCode::SUCCESS
}

/// The schema as conf/tollgate.schema.json holds it.
pub(crate) fn text() -> String {
    let schema = serde_json::to_string_pretty(&config::schema()).expect("a schema is JSON");
    schema + "\n"
}
