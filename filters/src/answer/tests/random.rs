//! Random answers in random cuts.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::answer::arguments::Arguments;
use crate::scan::{End, Scanner};

const FRAGMENTS: [&str; 30] = [
    "alice",
    ".liddell",
    "@",
    "example-corp",
    ".com",
    " ",
    ", ",
    "4111",
    "1111",
    "-",
    "536-22-8145",
    "sk-",
    "ghp_",
    "0123456789abcdefghij",
    "\n",
    "\u{e9}",
    "\u{4f60}\u{597d}",
    "\u{1F600}",
    "\"",
    "\\",
    "{",
    "}",
    ":",
    "\\u0040",
    "null",
    "12",
    "[",
    "]",
    "the end",
    "+1 415 555 2671",
];

/// Which text a delta goes to.
const PLACES: [(&str, u32); 5] =
    [("content", 0), ("reasoning_content", 0), ("content", 1), ("arguments", 0), ("arguments", 1)];

fn event(place: usize, text: &str) -> String {
    let (field, index) = PLACES[place];
    let delta = if field == "arguments" {
        json!({"tool_calls": [{"index": index, "function": {"arguments": text}}]})
    } else {
        json!({ field: text })
    };
    // Both calls are in the first choice: what sets them apart is their own index.
    let choice = if field == "arguments" { 0 } else { index };
    json!({"id": "c", "object": "chat.completion.chunk", "choices": [{"index": choice, "delta": delta, "finish_reason": null}]})
        .to_string()
}

fn finish(index: u32, reason: &str) -> String {
    json!({"id": "c", "object": "chat.completion.chunk", "choices": [{"index": index, "delta": {}, "finish_reason": reason}]})
        .to_string()
}

/// The numbers in masks and stand-ins depend on which lane says a value first; all else does not. So digits are compared by
/// where they stand.
fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        let character = if character.is_ascii_digit() { '0' } else { character };
        if character != '0' || !out.ends_with('0') {
            out.push(character);
        }
    }
    out
}

/// What the whole text of a lane becomes.
fn expected(options: &Options, place: usize, text: &str, end: End) -> String {
    let guard = options.guard.as_ref().expect("guarded");
    let mut masker = Masker::new();
    let mut out = String::new();
    let scanner = || Scanner::new(&guard.rules, &guard.policy);
    if PLACES[place].0 == "arguments" {
        let mut arguments = Arguments::new(scanner);
        arguments.push(text, &mut masker, &mut out).expect("masks only");
        arguments.finish(end, &mut masker, &mut out).expect("masks only");
    } else {
        let mut scanner = scanner();
        let _ = scanner.push(text, &mut masker, &mut out);
        let _ = scanner.finish(&mut masker, end, &mut out);
    }
    without_numbers(&out)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn lanes_rejoin_to_their_masked_texts_in_any_cut(
        deltas in prop::collection::vec((0..PLACES.len(), prop::collection::vec(0..FRAGMENTS.len(), 0..4)), 1..40),
        reason in prop::sample::select(&["stop", "length", "tool_calls"][..]),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let options = masking(Api::Chat);
        let mut texts = vec![String::new(); PLACES.len()];
        let mut input: Vec<String> = Vec::new();
        for (place, fragments) in deltas {
            let text: String = fragments.iter().map(|at| FRAGMENTS[*at]).collect();
            texts[place].push_str(&text);
            input.push(event(place, &text));
        }
        input.extend([finish(0, reason), finish(1, reason)]);
        let input = sse(&input.iter().map(String::as_str).chain(["[DONE]"]).collect::<Vec<_>>());
        let whole = push_all(&options, Form::Events, [input.as_bytes()]);
        prop_assert_eq!(&whole.step, &Step::Done);

        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len())).collect();
        cuts.sort_unstable();
        let mut chunks = Vec::new();
        let mut from = 0;
        for cut in cuts.into_iter().chain([input.len()]) {
            chunks.push(&input.as_bytes()[from..cut]);
            from = cut;
        }
        prop_assert_eq!(&push_all(&options, Form::Events, chunks), &whole);

        let end = if reason == "length" { End::CutShort } else { End::Whole };
        let got = lanes(&events(&whole.text));
        for (place, text) in texts.iter().enumerate() {
            let (field, index) = PLACES[place];
            let path = match field {
                "arguments" => format!(".choices[0].delta.tool_calls[{index}].function.arguments"),
                _ => format!(".choices[{index}].delta.{field}"),
            };
            let lane = got.get(&path).map_or("", String::as_str);
            prop_assert_eq!(without_numbers(lane), expected(&options, place, text, end), "{}", path);
        }
    }
}
