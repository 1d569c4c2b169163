//! Plain text, of any size.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::Write;

use tollgate_filters::scan::injection::KIND;
use tollgate_filters::scan::{End, Found, Masker, Scanner};

use super::input::{Input, Pieces};
use super::{Failure, Progress, Search};

/// A finding that nothing is done about is told when it is decided, which can be after the next one: lines wait for so many
/// bytes, more than any rule looks ahead.
const LATE: usize = 64 * 1024;

/// Bytes after which numbers given to values are forgotten, where nobody sees them.
const FORGET: usize = 1024 * 1024;

/// Bytes of a text that are scored for prompt injections: the text is not held, but its beginning.
const SCORED: usize = 1024 * 1024;

/// The first bytes of a text, however it is cut.
#[derive(Default)]
struct Beginning {
    text: String,
    full: bool,
}

impl Beginning {
    fn push(&mut self, piece: &str) {
        if self.full {
            return;
        }
        let mut room = (SCORED - self.text.len()).min(piece.len());
        while !piece.is_char_boundary(room) {
            room -= 1;
        }
        self.full = room < piece.len();
        self.text.push_str(&piece[..room]);
    }

    /// A line of the table where something in it speaks for a prompt injection, and whether that is a finding.
    fn score(&self, search: &Search) -> Option<(String, bool)> {
        let scored = search.scored?;
        let score = scored.score(&search.rules, &self.text)?;
        let place = format!("0..{}", self.text.len());
        Some((format!("{place:<24} {KIND:<14} {}", scored.line(&score)), scored.is_finding(&score)))
    }
}

/// A line that waits for its turn: begin, end, and what the line says.
type Waiting = Reverse<(usize, usize, String)>;

/// One line per finding, in the order of the text.
pub(super) fn list(
    search: &Search,
    input: Input,
    name: Option<&str>,
    progress: &mut Progress,
    out: &mut impl Write,
) -> Result<u64, Failure> {
    let prefix = name.map(|name| format!("{name}: ")).unwrap_or_default();
    let mut scanner = Scanner::new(&search.rules, &search.policy).recording();
    let mut masker = Masker::new();
    let path = input.name.clone();
    let mut pieces = Pieces::of(input, search.piece);
    let (mut waiting, mut ignored) = (BinaryHeap::<Waiting>::new(), String::new());
    let (mut at, mut forget_at, mut count) = (0, FORGET, 0);
    let mut beginning = Beginning::default();
    let line = |found: &Found| {
        let place = format!("{}..{}", found.span.start, found.span.end);
        let (severity, action) = (search.severity(found), search.action(found));
        format!("{prefix}{place:<24} {:<14} {:<30} {severity:<9} {action}", found.kind, found.rule_id)
    };
    let mut print = |waiting: &mut BinaryHeap<Waiting>, up_to: usize| {
        while waiting.peek().is_some_and(|Reverse((start, ..))| *start < up_to) {
            if let Some(Reverse((.., line))) = waiting.pop() {
                writeln!(out, "{}", line.trim_end()).map_err(Failure::io)?;
            }
        }
        Ok(())
    };
    while let Some((text, read)) = pieces.next().map_err(|error| Failure::reading(&path, &error))? {
        progress.add(read);
        let _ = scanner.push(text, &mut masker, &mut ignored); // nothing blocks here
        at += text.len();
        ignored.clear();
        beginning.push(text);
        for found in scanner.take_found() {
            count += 1;
            waiting.push(Reverse((found.span.start, found.span.end, line(&found))));
        }
        print(&mut waiting, at.saturating_sub(LATE))?;
        if at >= forget_at {
            masker = Masker::new();
            forget_at = at + FORGET;
        }
    }
    let _ = scanner.finish(&mut masker, End::Whole, &mut ignored);
    let rest = scanner.take_found();
    count += rest.len() as u64;
    waiting.extend(rest.iter().map(|found| Reverse((found.span.start, found.span.end, line(found)))));
    print(&mut waiting, usize::MAX)?;
    if let Some((line, is_finding)) = beginning.score(search) {
        count += u64::from(is_finding);
        writeln!(out, "{prefix}{line}").map_err(Failure::io)?;
    }
    Ok(count)
}

/// The text with everything replaced that would be masked or blocked. What is found of a prompt injection cannot be shown in it, and
/// is told to whom it may concern.
pub(super) fn mask(
    search: &Search,
    input: Input,
    progress: &mut Progress,
    out: &mut impl Write,
) -> Result<u64, Failure> {
    let mut scanner = Scanner::new(&search.rules, &search.policy).recording();
    let mut masker = Masker::new();
    let name = input.name.clone();
    let mut pieces = Pieces::of(input, search.piece);
    let (mut masked, mut count) = (String::new(), 0);
    let mut beginning = Beginning::default();
    while let Some((text, read)) = pieces.next().map_err(|error| Failure::reading(&name, &error))? {
        progress.add(read);
        beginning.push(text);
        let _ = scanner.push(text, &mut masker, &mut masked);
        count += scanner.take_found().len() as u64;
        out.write_all(masked.as_bytes()).map_err(Failure::io)?;
        masked.clear();
    }
    let _ = scanner.finish(&mut masker, End::Whole, &mut masked);
    count += scanner.take_found().len() as u64;
    out.write_all(masked.as_bytes()).map_err(Failure::io)?;
    if let Some((line, true)) = beginning.score(search) {
        eprintln!("{name}: {line}");
        count += 1;
    }
    Ok(count)
}
