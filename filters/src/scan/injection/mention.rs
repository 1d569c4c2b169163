//! Whether a phrase is said or only spoken of.

use std::ops::Range;

/// Bytes before a hit that tell how it is meant.
const BEFORE: usize = 100;
/// Bytes of its line before it in which a quote may open.
const LINE: usize = 1_024;
/// Bytes behind it in which its quote closes.
const BEHIND: usize = 200;

/// In percent of a hit's weight.
const SAID: i32 = 100;
const QUOTED: i32 = 40;
const TOLD: i32 = 50;
const NEGATED: i32 = 30;

/// Words of one who tells of a phrase, in the same sentence before it.
const TELLING: &[&str] = &[
    "such as",
    "e.g",
    "for example",
    "for instance",
    "example",
    "examples",
    "phrase",
    "phrases",
    "attack",
    "attacks",
    "attacker",
    "attackers",
    "injection",
    "injections",
    "injected",
    "jailbreak",
    "attempt",
    "attempts",
    "detect",
    "detects",
    "tries to",
    "try to",
    "trying to",
    "asks",
    "asking",
    "says",
    "saying",
    "zum beispiel",
    "par exemple",
    "por ejemplo",
    "例如",
    "比如",
];

/// Words that take it back, or make it a case.
const NEGATING: &[&str] = &[
    "not",
    "never",
    "don't",
    "dont",
    "cannot",
    "can't",
    "won't",
    "doesn't",
    "didn't",
    "shouldn't",
    "refuse",
    "refuses",
    "without",
    "if",
    "when",
    "whether",
    "unless",
    "should i",
    "can i",
    "could i",
    "how do i",
    "how can i",
    "how to",
    "nicht",
    "nie",
    "niemals",
    "wenn",
    "falls",
    "jamais",
    "si",
    "nunca",
    "quando",
    "不要",
    "如果",
    "不能",
    "нe",
    "ecли", // folded: the Latin look-alikes
];

/// What a hit is worth where it stands.
pub(super) fn percent(text: &[u8], span: Range<usize>, json: bool) -> i32 {
    let said = if is_quoted(text, &span, json) { QUOTED } else { SAID };
    let before = sentence_before(text, span.start);
    let has = |words: &[&str]| words.iter().any(|word| holds_word(before, word.as_bytes()));
    let meant = if has(NEGATING) {
        NEGATED
    } else if has(TELLING) {
        TOLD
    } else {
        SAID
    };
    said.min(meant)
}

/// Inside of quotes or backticks that open before it on its line and close behind it. JSON's quotes say nothing.
fn is_quoted(text: &[u8], span: &Range<usize>, json: bool) -> bool {
    let line = text[..span.start].iter().rev().take(LINE).take_while(|byte| **byte != b'\n');
    let mut open = [false; 3];
    let mut after = 0;
    for byte in line {
        match byte {
            b'"' => open[0] ^= true,
            // Two in a row are one.
            b'`' if after != b'`' => open[1] ^= true,
            _ => {}
        }
        after = *byte;
    }
    // An apostrophe opens a quote only in front of a word.
    open[2] =
        span.start >= 2 && text[span.start - 1] == b'\'' && !text[span.start - 2].is_ascii_alphanumeric();
    let behind = &text[span.end..text.len().min(span.end + BEHIND)];
    let behind = behind.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let closes = |quote: u8| memchr::memchr(quote, behind).is_some();
    open[0] && !json && closes(b'"') || open[1] && closes(b'`') || open[2] && closes(b'\'')
}

/// What stands in the same sentence before `at`.
fn sentence_before(text: &[u8], at: usize) -> &[u8] {
    let from = at.saturating_sub(BEFORE);
    let before = &text[from..at];
    let ends = |pair: &[u8]| {
        matches!(pair[0], b'.' | b'!' | b'?' | b';') && pair[1].is_ascii_whitespace() || pair == b"\n\n"
    };
    let start = before.windows(2).rposition(ends).map_or(0, |end| end + 1);
    &before[start..]
}

/// Whether `word` stands in `text`, between borders where it is written in letters with spaces.
fn holds_word(text: &[u8], word: &[u8]) -> bool {
    let borders = word[0] < 0xe2;
    let letter = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte >= 0xc0);
    memchr::memmem::find_iter(text, word).any(|at| {
        let before = at.checked_sub(1).and_then(|before| text.get(before));
        !borders || !letter(before) && !letter(text.get(at + word.len()))
    })
}
