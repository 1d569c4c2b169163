//! Cuts, holds and actions of the whole engine.

use std::sync::{Arc, LazyLock};

use super::*;

mod borders;
mod bounds;
mod compile;
mod cuts;
mod drawn;
mod ends;
mod escapes;
mod few;
mod holds;
mod numbers;
mod precision;
mod pseudonyms;
mod shapes;

/// The built-in rules, compiled once for all tests: unoptimised that takes longer than most of them.
pub(crate) static BUILTIN: LazyLock<Arc<Rules>> =
    LazyLock::new(|| Arc::new(Rules::compile(&Rules::builtin_specs()).expect("built-in rules compile")));

/// Built-in rules with every rule's action given by `action`.
fn engine(action: impl Fn(&RuleInfo) -> Action) -> (Arc<Rules>, Arc<Policy>) {
    let policy = BUILTIN.policy(Direction::Answer, action, Switches::default());
    (BUILTIN.clone(), Arc::new(policy))
}

/// What a stream of these pieces becomes, and its findings.
fn stream<'a>(
    engine: &(Arc<Rules>, Arc<Policy>),
    pieces: impl Iterator<Item = &'a str>,
) -> (String, Vec<Finding>) {
    ended(engine, pieces, End::Whole)
}

/// The same of one that ends in this way.
fn ended<'a>(
    (rules, policy): &(Arc<Rules>, Arc<Policy>),
    pieces: impl Iterator<Item = &'a str>,
    end: End,
) -> (String, Vec<Finding>) {
    let mut masker = Masker::new();
    let mut scanner = Scanner::new(rules, policy);
    let mut out = String::new();
    for piece in pieces {
        let flow = scanner.push(piece, &mut masker, &mut out);
        if flow != Flow::Pass {
            return (out, masker.findings().to_vec());
        }
    }
    scanner.finish(&mut masker, end, &mut out);
    (out, masker.findings().to_vec())
}

/// The same from a scan of the whole text and its replacements.
fn whole((rules, policy): &(Arc<Rules>, Arc<Policy>), text: &str) -> (String, Vec<Finding>) {
    let mut masker = Masker::new();
    let mut all = Vec::new();
    rules.scan(policy, text, &mut all);
    let (mut out, mut sent) = (String::new(), 0);
    for found in all {
        let value = &text[found.span.clone()];
        masker.note("", &found, value);
        if found.action.acts() {
            out.push_str(&text[sent..found.span.start]);
            sent = found.span.end;
            if found.action == Action::Block {
                return (out, masker.findings().to_vec());
            }
            out.push_str(&masker.stand_in(&found, value, Shape::Text));
        }
    }
    out.push_str(&text[sent..]);
    (out, masker.findings().to_vec())
}

/// Pieces of at most `size` bytes, cut at character borders.
pub(super) fn pieces(text: &str, size: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut cut = size.min(rest.len());
        while !rest.is_char_boundary(cut) {
            cut += 1;
        }
        let (piece, others) = rest.split_at(cut);
        rest = others;
        (!piece.is_empty()).then_some(piece)
    })
}
