//! JSONL: every line a text of its own.

use std::borrow::Cow;
use std::io::{BufRead, Read, Write};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use tollgate_filters::scan::{End, Found, Masker, Scanner, Shape, put_in_order};

use super::input::Input;
use super::{Counted, Failure, Progress, Search, injection};

/// Longest line: it is held whole.
const LONGEST: u64 = 64 * 1024 * 1024;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "any")]
    id: Option<&'a RawValue>,
}

/// Whatever is there, `null` too.
fn any<'a, D: Deserializer<'a>>(value: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(value).map(Some)
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

/// Lines that cannot be read are told on standard error, so many of them one by one, and passed over.
const TOLD: u64 = 20;

pub(super) fn scan(
    search: &Search,
    input: Input,
    progress: &mut Progress,
    out: &mut impl Write,
) -> Result<Counted, Failure> {
    let Input { name, mut reader, .. } = input;
    let (mut line, mut masked, mut found) = (Vec::new(), String::new(), Vec::new());
    let (mut number, mut counted) = (0_u64, Counted::default());
    loop {
        line.clear();
        let failed = |error| Failure::reading(&name, &error);
        let mut read = (&mut reader).take(LONGEST).read_until(b'\n', &mut line).map_err(failed)?;
        if read == 0 {
            return Ok(counted);
        }
        number += 1;
        let long = read as u64 == LONGEST && !line.ends_with(b"\n");
        if long {
            read += reader.skip_until(b'\n').map_err(failed)?;
        }
        progress.add(read);
        let mut text = line.trim_ascii();
        if number == 1 {
            text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text); // a byte order mark
        }
        if text.is_empty() {
            continue;
        }
        let asked = if long { Err("is longer than 64 MiB".to_owned()) } else { asked(text) };
        let asked = match asked {
            Ok(asked) => asked,
            Err(what) => {
                counted.unread += 1;
                if counted.unread <= TOLD {
                    eprintln!("{name}:{number}: {what}");
                }
                continue;
            }
        };
        masked.clear();
        found.clear();
        look(search, &asked.text, &mut found, &mut masked);
        counted.found += found.len() as u64;
        let findings = found.iter().map(|found| Finding {
            rule: &found.rule_id,
            kind: &found.kind,
            start: found.span.start,
            end: found.span.end,
        });
        let score = search.scored.and_then(|scored| scored.score(&search.rules, &asked.text));
        let injection = search.scored.zip(score.as_ref());
        counted.found += u64::from(injection.is_some_and(|(scored, score)| scored.is_finding(score)));
        let injection = injection.map(|(scored, score)| scored.told(score));
        let told = Told { id: asked.id, findings: findings.collect(), masked: &masked, injection };
        serde_json::to_writer(&mut *out, &told).map_err(|error| Failure::io(error.into()))?;
        out.write_all(b"\n").map_err(Failure::io)?;
    }
}

/// Reads a line, or says by its column where it stops being one: serde's own words may quote the text.
fn asked(line: &[u8]) -> Result<Line<'_>, String> {
    let wrong = |column| format!("is no JSON object with a `text`, from column {column} on");
    if !line.starts_with(b"{") {
        return Err(wrong(1)); // serde would take a list for an object
    }
    serde_json::from_slice(line).map_err(|error| wrong(error.column()))
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
