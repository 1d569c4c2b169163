//! JSONL: every line a text of its own.

use std::borrow::Cow;
use std::io::{BufRead, Read, Write};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tollgate_filters::scan::{End, Found, Masker, Scanner, Shape, put_in_order};

use super::input::Input;
use super::{Failure, Progress, Search, injection};
use crate::cli;

/// Longest line: it is held whole.
const LONGEST: u64 = 64 * 1024 * 1024;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Told<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a RawValue>,
    findings: Vec<Finding<'a>>,
    masked: &'a str,
    /// Where something speaks for a prompt injection.
    #[serde(skip_serializing_if = "Option::is_none")]
    injection: Option<injection::Told<'a>>,
}

#[derive(Serialize)]
struct Finding<'a> {
    rule: &'a str,
    kind: &'a str,
    start: usize,
    end: usize,
}

pub(super) fn scan(
    search: &Search,
    input: Input,
    progress: &mut Progress,
    out: &mut impl Write,
) -> Result<u64, Failure> {
    let Input { name, mut reader, .. } = input;
    let (mut line, mut masked, mut found) = (Vec::new(), String::new(), Vec::new());
    let (mut number, mut count) = (0_u64, 0);
    loop {
        line.clear();
        let read = (&mut reader).take(LONGEST).read_until(b'\n', &mut line).map_err(Failure::io)?;
        if read == 0 {
            return Ok(count);
        }
        number += 1;
        progress.add(read);
        let wrong = |what: &str| Failure { code: cli::DATA, message: format!("{name}:{number}: {what}") };
        if read as u64 == LONGEST && !line.ends_with(b"\n") {
            return Err(wrong("is longer than 64 MiB"));
        }
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        let asked = asked(text)
            .map_err(|column| wrong(&format!("is no JSON object with a `text`, from column {column} on")))?;
        masked.clear();
        found.clear();
        look(search, &asked.text, &mut found, &mut masked);
        count += found.len() as u64;
        let findings = found.iter().map(|found| Finding {
            rule: &found.rule_id,
            kind: &found.kind,
            start: found.span.start,
            end: found.span.end,
        });
        let score = search.scored.and_then(|scored| scored.score(&search.rules, &asked.text));
        let injection = search.scored.zip(score.as_ref());
        count += u64::from(injection.is_some_and(|(scored, score)| scored.is_finding(score)));
        let injection = injection.map(|(scored, score)| scored.told(score));
        let told = Told { id: asked.id, findings: findings.collect(), masked: &masked, injection };
        serde_json::to_writer(&mut *out, &told).map_err(|error| Failure::io(error.into()))?;
        out.write_all(b"\n").map_err(Failure::io)?;
    }
}

/// Reads a line, or says by its column where it stops being one: serde's own words may quote the text.
fn asked(line: &[u8]) -> Result<Line<'_>, usize> {
    if !line.starts_with(b"{") {
        return Err(1); // serde would take a list for an object
    }
    serde_json::from_slice(line).map_err(|error| error.column())
}

/// The findings of one text in its order, and the text masked.
fn look(search: &Search, text: &str, found: &mut Vec<Found>, masked: &mut String) {
    let mut masker = Masker::new();
    if search.chunked {
        let mut scanner = Scanner::new(&search.rules, &search.policy).recording();
        let mut rest = text;
        while !rest.is_empty() {
            let mut cut = search.piece.min(rest.len());
            while !rest.is_char_boundary(cut) {
                cut += 1;
            }
            let (piece, others) = rest.split_at(cut);
            let _ = scanner.push(piece, &mut masker, masked); // nothing blocks here
            rest = others;
        }
        let _ = scanner.finish(&mut masker, End::Whole, masked);
        *found = scanner.take_found();
        put_in_order(found, 0);
        return;
    }
    search.rules.scan(&search.policy, text, found);
    let mut done = 0;
    for finding in found.iter().filter(|finding| finding.action.acts()) {
        masked.push_str(&text[done..finding.span.start]);
        masked.push_str(&masker.stand_in(finding, &text[finding.span.clone()], Shape::Text));
        done = finding.span.end;
    }
    masked.push_str(&text[done..]);
}
