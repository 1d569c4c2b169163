//! `tollgate scan`: the guardrail rules on one's own texts. What is printed is masked; the values found are not shown.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use tollgate_filters::scan::{Direction, Masker, Policy, Profile, RuleSpec, Rules, Shape};

use crate::cli::{self, ScanArgs, ScanDirection};

pub(crate) fn run(args: &ScanArgs) -> ExitCode {
    let (rules, policy) = match prepare(args) {
        Ok(ready) => ready,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(cli::CONFIG);
        }
    };
    let done = match &args.file {
        Some(path) => std::fs::File::open(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))
            .and_then(|file| scan(args.jsonl, BufReader::new(file), &rules, &policy)),
        None => scan(args.jsonl, std::io::stdin().lock(), &rules, &policy),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn prepare(args: &ScanArgs) -> Result<(Rules, Policy), String> {
    let mut specs = Rules::builtin_specs();
    for path in &args.rules {
        specs.extend(read::<Vec<RuleSpec>>(path)?);
    }
    let rules = Rules::compile(&specs)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    let profile = match Profile::builtin(&args.profile) {
        Some(profile) => profile,
        None if Path::new(&args.profile).exists() => read::<Profile>(Path::new(&args.profile))?,
        None => {
            let names = Profile::NAMES.join(", ");
            return Err(format!("`{}` is no profile; write one of: {names}, or a file's path", args.profile));
        }
    };
    let direction = match args.direction {
        ScanDirection::Request => Direction::Request,
        ScanDirection::Answer => Direction::Answer,
    };
    let policy = rules.policy_of(&profile, direction);
    Ok((rules, policy))
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    serde_saphyr::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

fn scan(jsonl: bool, mut input: impl BufRead, rules: &Rules, policy: &Policy) -> Result<(), String> {
    let cannot = |error: std::io::Error| format!("cannot read or write: {error}");
    let mut out = std::io::stdout().lock();
    if !jsonl {
        let mut text = String::new();
        input.read_to_string(&mut text).map_err(cannot)?;
        let (masked, findings) = masked(&text, rules, policy);
        out.write_all(masked.as_bytes()).map_err(cannot)?;
        for finding in findings {
            eprintln!(
                "{}..{} {} ({}): {}",
                finding["start"],
                finding["end"],
                finding["kind"].as_str().unwrap_or_default(),
                finding["rule"].as_str().unwrap_or_default(),
                finding["action"].as_str().unwrap_or_default(),
            );
        }
        return Ok(());
    }
    for (number, line) in input.lines().enumerate() {
        let line = line.map_err(cannot)?;
        let text = text_of(&line);
        let (masked, findings) = masked(&text, rules, policy);
        let result = json!({"line": number + 1, "text": masked, "findings": findings});
        writeln!(out, "{result}").map_err(cannot)?;
    }
    Ok(())
}

/// A line is a JSON string, an object with `text`, or the text itself.
fn text_of(line: &str) -> String {
    match serde_json::from_str::<serde_json::Value>(line) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(serde_json::Value::Object(members)) => members
            .get("text")
            .and_then(serde_json::Value::as_str)
            .map_or_else(|| line.to_owned(), str::to_owned),
        _ => line.to_owned(),
    }
}

/// The text with everything that would be masked or blocked replaced, and the findings by byte range.
fn masked(text: &str, rules: &Rules, policy: &Policy) -> (String, Vec<serde_json::Value>) {
    let mut found = Vec::new();
    rules.scan(policy, text, &mut found);
    let mut masker = Masker::new();
    let mut out = String::with_capacity(text.len());
    let mut sent = 0;
    let mut findings = Vec::with_capacity(found.len());
    for found in &found {
        findings.push(json!({
            "rule": &*found.rule_id,
            "kind": &*found.kind,
            "action": found.action.as_str(),
            "start": found.span.start,
            "end": found.span.end,
        }));
        if found.action.acts() {
            out.push_str(&text[sent..found.span.start]);
            out.push_str(&masker.stand_in(found, &text[found.span.clone()], Shape::Text));
            sent = found.span.end;
        }
    }
    out.push_str(&text[sent..]);
    (out, findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_and_masked_text() {
        let args = ScanArgs {
            file: None,
            profile: "strict".into(),
            rules: Vec::new(),
            direction: ScanDirection::Answer,
            jsonl: true,
        };
        let (rules, policy) = prepare(&args).expect("built-in rules and profiles");
        let (text, findings) = masked("ask alice@corp.org, then bob@corp.org", &rules, &policy);
        assert_eq!(text, "ask [EMAIL_1], then [EMAIL_2]");
        assert_eq!((findings.len(), &findings[0]["start"]), (2, &json!(4)));
        assert!(!format!("{findings:?}").contains("alice"));
        let wrong = ScanArgs { profile: "lax".into(), ..args };
        assert!(prepare(&wrong).expect_err("no such profile").contains("strict, chat, coding"));
    }

    #[test]
    fn lines() {
        for (line, text) in [
            ("plain", "plain"),
            ("\"a\\u0040b\"", "a@b"),
            ("{\"text\":\"x\"}", "x"),
            ("{\"t\":1}", "{\"t\":1}"),
        ] {
            assert_eq!(text_of(line), text);
        }
    }
}
