//! The commands that stand alone, as a shell sees them.

use std::io::Write;
use std::process::{Command, Output, Stdio};

fn tollgate(arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(arguments)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

fn said(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

#[test]
fn exit_codes() {
    for (arguments, code) in [
        (&["--version"][..], 0),
        (&["--help"], 0),
        (&["schema"], 0),
        (&[], 64),
        (&["frobnicate"], 64),
        (&["check"], 64),
        (&["key", "create", "--id", "a b"], 64),
        (&["check", "-c", "/nowhere"], 78),
        (&["check", "-c", "conf/quickstart.yaml"], 78),
        (&["scan", "/nowhere"], 1),
    ] {
        let output = tollgate(arguments, &[], "");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output.stderr));
    }
}

#[test]
fn a_created_key_passes_the_quickstart_check() {
    let made = tollgate(&["key", "create"], &[], "");
    let key = said(&made.stdout);
    assert!(!said(&made.stderr).contains(key.trim()), "the key is shown once");
    let checked = tollgate(&["check", "-c", "conf/quickstart.yaml"], &[("TOLLGATE_KEY", key.trim())], "");
    assert_eq!(checked.status.code(), Some(0), "{}", said(&checked.stderr));
    assert!(said(&checked.stdout).starts_with("conf/quickstart.yaml: ok ("));
    assert_eq!(said(&checked.stderr), "");
}

#[test]
fn a_missing_key_is_named_with_what_to_do() {
    let output = tollgate(&["check", "-c", "conf/quickstart.yaml"], &[], "");
    let report = said(&output.stderr);
    assert!(report.starts_with("conf/quickstart.yaml:") && report.ends_with("1 problem\n"), "{report}");
    assert!(report.contains("TOLLGATE_KEY is not set: create one with: tollgate key create"), "{report}");
}

#[test]
fn scan_masks_texts() {
    let output =
        tollgate(&["scan", "--direction", "answer", "--jsonl"], &[], "\"to a\\u0040corp.org\"\nnothing\n");
    let lines: Vec<serde_json::Value> =
        said(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(
        (lines.len(), &lines[0]["text"], &lines[1]["text"]),
        (2, &"to [EMAIL_1]".into(), &"nothing".into())
    );
    assert_eq!(lines[0]["findings"][0]["kind"], "email");
}
