//! What the fake says when no script tells it: an echo, a greeting, the demo's contact card, a tool call, or so many words.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::ask::Ask;
use crate::script::{Script, Step};
use crate::surface::Api;

/// An e-mail address and a card number (a test number, Luhn-valid), cut over deltas the way a model's tokens cut them.
const CONTACT: [&str; 11] = [
    "Sure! ",
    "Ask for Jane Doe, ",
    "jane",
    ".doe@cor",
    "p.com",
    ". She books the trip ",
    "with card 41",
    "11 1111 ",
    "1111 1",
    "111",
    ", as always.",
];

const HELLO: [&str; 9] =
    ["Hello! ", "This ", "answer ", "comes ", "from ", "the ", "fake model ", "built into ", "Tollgate."];

const WORDS: [&str; 8] = ["every ", "word ", "of ", "this ", "answer ", "is ", "one ", "delta "];

/// `words:N` and `words:N:Tms`: N words, T milliseconds apart. A benchmark's way to say how long an answer is, since model
/// names pass through any gateway.
fn words(model: &str) -> Option<Script> {
    let mut parts = model.strip_prefix("words:")?.split(':');
    let count: usize = parts.next()?.parse().ok()?;
    let script = Script::steps(WORDS.iter().cycle().take(count.min(1_000_000)).map(|word| fixed(word)));
    match parts.next() {
        Some(pace) => Some(script.pace(Duration::from_millis(pace.strip_suffix("ms")?.parse().ok()?))),
        None => Some(script),
    }
}

pub(crate) fn script(api: Api, ask: &Ask<'_>) -> Script {
    if let Some(script) = words(&ask.model) {
        return script;
    }
    let (said, is_tool_result) = ask.last_said(api);
    let may_call = !is_tool_result && !ask.forbids_tools();
    if let Some(script) = may_call.then(|| tool_call(&ask.tools(), &said)).flatten() {
        return script;
    }
    let asked = said.to_lowercase();
    let known: [(&str, &[&'static str]); 2] = [("contact", &CONTACT), ("hello", &HELLO)];
    if let Some((_, answer)) = known.iter().find(|(word, _)| !is_tool_result && asked.contains(word)) {
        return Script::steps(answer.iter().map(|piece| fixed(piece)));
    }
    let opening = if is_tool_result { "The tool said: " } else { "You said: " };
    let mut pieces: Vec<String> = vec![opening.to_owned()];
    pieces.extend(said.split_inclusive(char::is_whitespace).map(str::to_owned));
    let most = ask.most_output().map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    let finish = if pieces.len() > most { "length" } else { "stop" };
    pieces.truncate(most);
    let choices = ask.n.unwrap_or(1).clamp(1, 128);
    let steps = pieces.iter().flat_map(|piece| {
        (0..choices).flat_map(move |choice| {
            // Choices interleave piece by piece, as a server that batches them does.
            let turn = (choices > 1).then_some(Step::Choice(choice));
            turn.into_iter().chain([Step::text(piece.as_str())])
        })
    });
    Script::steps(steps.collect::<Vec<_>>()).finish(finish)
}

fn fixed(piece: &'static str) -> Step {
    Step::Text(Cow::Borrowed(piece))
}

/// Calls the first tool offered, with arguments that its schema allows, cut over deltas.
fn tool_call(tools: &[Value], said: &str) -> Option<Script> {
    let tool = tools.first()?;
    // Chat nests the function; Responses and Anthropic do not.
    let function = tool.get("function").unwrap_or(tool);
    let name = function.get("name")?.as_str()?;
    let schema = function.get("parameters").or_else(|| function.get("input_schema"));
    let mut arguments = Map::new();
    if let Some(properties) = schema.and_then(|schema| schema["properties"].as_object()) {
        for (property, of) in properties {
            arguments.insert(property.clone(), example(of, said));
        }
    }
    let json = Value::Object(arguments).to_string();
    let middle = json.char_indices().nth(json.chars().count() / 2).map_or(0, |(at, _)| at);
    let (start, rest) = json.split_at(middle);
    Some(Script::steps([
        Step::tool(0, "call_fake0", name, ""),
        Step::arguments(0, start),
        Step::arguments(0, rest),
    ]))
}

fn example(schema: &Value, said: &str) -> Value {
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    match schema["type"].as_str() {
        Some("integer" | "number") => 1.into(),
        Some("boolean") => true.into(),
        Some("array") => Value::Array(Vec::new()),
        Some("object") => Value::Object(Map::new()),
        _ => said.split_whitespace().last().unwrap_or("nothing").trim_end_matches(['?', '.', '!']).into(),
    }
}
