//! Builds the copy, leaving out mutant after mutant until the compiler is content.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Deserialize;

use crate::{Arguments, Failure, weave::Woven};

/// The tests inside a package's library.
pub(crate) struct Tests {
    pub(crate) binary: PathBuf,
    /// Where cargo would run them.
    pub(crate) directory: PathBuf,
    /// Processor time of a run, in seconds.
    pub(crate) seconds: u32,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
}

/// A line of `cargo test --message-format json`.
#[derive(Deserialize)]
struct Line {
    reason: String,
    message: Option<Message>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Message {
    level: String,
    message: String,
    code: Option<ErrorCode>,
    rendered: Option<String>,
    spans: Vec<MessageSpan>,
}

impl Message {
    /// The function that a constant calls (E0015: "cannot call non-const function `a::b::name` in constants").
    fn not_const(&self) -> Option<&str> {
        self.code.as_ref().filter(|code| code.code == "E0015")?;
        let called = self.message.split('`').nth(1)?;
        called.rsplit("::").next()
    }
}

#[derive(Deserialize)]
struct ErrorCode {
    code: String,
}

#[derive(Deserialize)]
struct MessageSpan {
    file_name: String,
    byte_start: usize,
    byte_end: usize,
    is_primary: bool,
}

pub(crate) fn until_it_compiles(woven: &mut Woven, arguments: &Arguments) -> Result<Tests, Failure> {
    let directory = directory(&arguments.tree, &arguments.package)?;
    woven.add_switches(&directory.join("src"), woven.count())?;
    for round in 1.. {
        woven.write()?;
        let (done, lines) = cargo(arguments)?;
        if done {
            let built = lines.into_iter().filter(|line| line.reason == "compiler-artifact");
            let binary = built.into_iter().find_map(|line| line.executable).ok_or("cargo built no tests")?;
            return Ok(Tests { binary, directory, seconds: arguments.seconds });
        }
        let errors =
            lines.iter().filter_map(|line| line.message.as_ref()).filter(|message| message.level == "error");
        let (mut taken_out, mut not_ours) = (0, None);
        for error in errors {
            if let Some(function) = error.not_const()
                && woven.must_be_const(function)
            {
                taken_out += 1;
                continue;
            }
            // Of several places that an error names, the one that it is about comes first.
            let mut spans: Vec<&MessageSpan> = error.spans.iter().collect();
            spans.sort_by_key(|span| !span.is_primary);
            match spans
                .iter()
                .find(|span| woven.complained(&span.file_name, &(span.byte_start..span.byte_end)))
            {
                Some(_) => taken_out += 1,
                None => not_ours = error.rendered.clone().or(not_ours),
            }
        }
        eprintln!("tollgate-mutants: build {round}: {taken_out} complaints about mutants");
        if taken_out == 0 {
            return Err(format!(
                "the copy does not compile, and not for a mutant: {}",
                not_ours.unwrap_or_else(|| "cargo says why above".to_owned())
            )
            .into());
        }
    }
    unreachable!("rounds have no end")
}

fn directory(tree: &Path, package: &str) -> Result<PathBuf, Failure> {
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(tree)
        .stderr(Stdio::inherit())
        .output()?;
    let metadata: Metadata = serde_json::from_slice(&output.stdout)?;
    let found = metadata.packages.into_iter().find(|known| known.name == package);
    let manifest = found.ok_or_else(|| format!("{} has no package {package}", tree.display()))?.manifest_path;
    Ok(manifest.parent().unwrap_or(tree).to_owned())
}

fn cargo(arguments: &Arguments) -> Result<(bool, Vec<Line>), Failure> {
    let output = Command::new("cargo")
        .args(["test", "--no-run", "--lib", "--message-format", "json"])
        .args(["--package", &arguments.package, "--profile", &arguments.profile])
        // What a mutant leaves unused is no error.
        .env("RUSTFLAGS", "--cap-lints allow")
        .current_dir(&arguments.tree)
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    Ok((output.status.success(), lines))
}
