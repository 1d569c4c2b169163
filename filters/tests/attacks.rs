//! What an attacker, or a clever user, would try, and what comes of it: docs/attacks.md is this table with its results.
//!
//! `UPDATE=1 cargo test -p tollgate-filters --test attacks` writes the document anew.

#![allow(clippy::disallowed_methods)] // reads and writes the document

#[path = "attacks/answers.rs"]
mod answers;
#[path = "attacks/orders.rs"]
mod orders;
#[path = "attacks/requests.rs"]
mod requests;

use std::sync::{Arc, LazyLock};

use tollgate_filters::answer::{Form, Guard, Options, Pipeline};
use tollgate_filters::chat::{Api, Call, ReadBounds};
use tollgate_filters::scan::injection::{InjectionPolicy, Scratch};
use tollgate_filters::scan::request::{self, Options as Screening};
use tollgate_filters::scan::{Action, Direction, Escape, Escapes, Masker, Rules, Switches};

pub(crate) const EMAIL: &str = "alice.liddell@corp-secret.com";
pub(crate) const CARD: &str = "4111 1111 1111 1111";
pub(crate) const TOKEN: &str = "ghp_q8Zr2LmX0vT5bNc7KpWd3HsYfJ6gRa1uEo9i";

static RULES: LazyLock<Arc<Rules>> =
    LazyLock::new(|| Arc::new(Rules::compile(&Rules::builtin_specs()).expect("built-in rules compile")));

/// One attempt.
pub(crate) struct Attempt {
    /// What is tried.
    pub(crate) what: &'static str,
    /// How it is written, for the document.
    pub(crate) written: String,
    pub(crate) carrier: Carrier,
    /// Whether Tollgate finds it, or refuses the body.
    pub(crate) found: bool,
    /// Why, or what else helps.
    pub(crate) why: &'static str,
}

/// What carries the value.
pub(crate) enum Carrier {
    /// A body that a client sends.
    Request(Api, String),
    /// A stream that an upstream sends, and the value that must not come through.
    Answer(Api, String, String),
    /// A text that gives orders to the model.
    Order(String),
}

impl Carrier {
    /// What comes of it, or nothing.
    fn result(&self) -> Option<String> {
        match self {
            Carrier::Request(api, body) => findings(*api, body),
            Carrier::Answer(api, stream, value) => {
                let guarded = comes_through(*api, stream, value, Action::Mask);
                // Else the stream would be no proof of anything.
                let unguarded = comes_through(*api, stream, value, Action::Off);
                assert!(unguarded || is_never_passed_on(stream), "{stream}");
                (!guarded).then(|| "does not come through".to_owned())
            }
            Carrier::Order(text) => {
                let score = RULES.injection_through(switches().decode, text, &mut Scratch::default());
                (score.points >= InjectionPolicy::default().threshold)
                    .then(|| format!("score {}", score.points))
            }
        }
    }
}

/// As the profile `strict` has them.
fn switches() -> Switches {
    Switches { decode: Escapes::new(&[Escape::Html, Escape::Percent]), ..Switches::default() }
}

fn findings(api: Api, body: &str) -> Option<String> {
    let policy = RULES.policy(Direction::Request, |_| Action::Mask, switches());
    let call = match Call::read(api, body.as_bytes(), ReadBounds::default()) {
        Ok(call) => call,
        Err(refused) => return Some(format!("refused: {}", refused.code.as_str())),
    };
    let mut masker = Masker::new();
    request::screen(&call, body.as_bytes(), &RULES, &policy, &mut masker, Screening::default());
    masker.findings().first().map(|finding| format!("found as `{}`", finding.kind))
}

/// Whether the client can read the value, its beginning or its end in what leaves, byte by byte and whole: both must say the same.
fn comes_through(api: Api, stream: &str, value: &str, action: Action) -> bool {
    let policy = Arc::new(RULES.policy(Direction::Answer, |_| action, switches()));
    let borders: Vec<usize> = value.char_indices().map(|(at, _)| at).chain([value.len()]).collect();
    let most = (borders.len() - 1).min(12);
    let ends = [&value[..borders[most]], &value[borders[borders.len() - 1 - most]..]];
    let run = |size: usize| {
        let guard = Some(Guard { rules: RULES.clone(), policy: policy.clone() });
        let mut pipeline = Pipeline::new(Options { guard, ..Options::new(api) }, Masker::new());
        pipeline.begin(Form::Events);
        let mut out = Vec::new();
        for chunk in stream.as_bytes().chunks(size) {
            let _ = pipeline.push(chunk, &mut out);
        }
        let _ = pipeline.finish(&mut out);
        let lanes = answers::lanes(&String::from_utf8(out).expect("UTF-8"));
        lanes.iter().any(|lane| ends.iter().any(|end| lane.contains(end)))
    };
    let whole = run(stream.len());
    assert_eq!(run(1), whole, "cuts change nothing");
    whole
}

/// The value stands behind the end, or in a comment.
fn is_never_passed_on(stream: &str) -> bool {
    stream.starts_with(": ") || !stream.ends_with("[DONE]\n\n")
}

#[test]
fn the_document_says_what_happens() {
    let mut page = String::from(HEAD);
    let mut wrong = Vec::new();
    let sections = [
        ("Requests", requests::attempts()),
        ("Answers and streams", answers::attempts()),
        ("Orders to the model", orders::attempts()),
    ];
    for (title, attempts) in sections {
        page.push_str(&format!(
            "\n## {title}\n\n| What is tried | Written as | Result | Why |\n| --- | --- | --- | --- |\n"
        ));
        for attempt in attempts {
            let result = attempt.carrier.result();
            let found = result.is_some();
            if found != attempt.found {
                wrong.push(format!(
                    "{}: {} is {}",
                    attempt.what,
                    attempt.written,
                    if found { "found" } else { "not found" }
                ));
            }
            let result = result.unwrap_or_else(|| "**not found**".to_owned());
            page.push_str(&format!(
                "| {} | {} | {result} | {} |\n",
                attempt.what,
                code(&attempt.written),
                attempt.why
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/attacks.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &page).expect("written");
    }
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(stored == page, "docs/attacks.md is old: UPDATE=1 cargo test -p tollgate-filters --test attacks");
}

/// As a code span in a table; what does not show is written as an escape.
fn code(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        match c {
            '|' => shown.push_str("\\|"),
            '\n' => shown.push_str("\\n"),
            '\u{ad}'
            | '\u{300}'..='\u{36f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{e0000}'..='\u{e007f}' => shown.push_str(&format!("<{:X}>", c as u32)),
            c => shown.push(c),
        }
    }
    format!("`` {shown} ``")
}

const HEAD: &str = "# What an attacker would try

Ways to bring a value past the guard, and what comes of each with all built-in rules on and `decode: [html, percent]`, as in the
profile `strict`. The table is a test:
`cargo test -p tollgate-filters --test attacks` makes every attempt and compares this page; `UPDATE=1` before it writes the page
anew. A number in angle brackets stands for a character that does not show, by its code.

Tollgate keeps honest people's mistakes from leaving, and makes hiding a value take a deliberate step. Somebody who wants a value
out and controls both ends can always encode it in a way no rule knows; those ways are listed as **not found**.
";
