//! What an upstream streams.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tollgate_filters::chat::Api;

use crate::{Attempt, CARD, Carrier, EMAIL, TOKEN};

const HELD: &str = "What could still become a value is held until it is decided.";

pub(crate) fn attempts() -> Vec<Attempt> {
    [chats(), surfaces()].into_iter().flatten().collect()
}

/// A chat stream of these deltas, each with its choice.
fn chat(deltas: impl IntoIterator<Item = (u64, Value)>) -> String {
    let chunk = |index: u64, delta: Value, reason: Value| {
        json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": index, "delta": delta, "finish_reason": reason}]})
    };
    let mut events = Vec::new();
    let mut choices = std::collections::BTreeSet::new();
    for (index, delta) in deltas {
        choices.insert(index);
        events.push(chunk(index, delta, Value::Null));
    }
    events.extend(choices.into_iter().map(|index| chunk(index, json!({}), json!("stop"))));
    let mut stream: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    stream.push_str("data: [DONE]\n\n");
    stream
}

fn by_letter(value: &str) -> Vec<String> {
    format!("It is {value} then.").chars().map(String::from).collect()
}

fn said(
    what: &'static str,
    written: &str,
    stream: String,
    value: &str,
    found: bool,
    why: &'static str,
) -> Attempt {
    Attempt {
        what,
        written: written.to_owned(),
        carrier: Carrier::Answer(Api::Chat, stream, value.to_owned()),
        found,
        why,
    }
}

fn chats() -> Vec<Attempt> {
    let content = |text: &str| (0, json!({"content": text}));
    let letters = |value: &str| chat(by_letter(value).iter().map(|letter| content(letter)));
    let both = by_letter(EMAIL).into_iter().zip(by_letter(EMAIL));
    let choices = both.flat_map(|(a, b)| [(0, json!({"content": a})), (1, json!({"content": b}))]);
    let arguments = |key: &str, value: &str| {
        let text = json!({key: value}).to_string();
        let start = json!({"tool_calls": [{"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": ""}}]});
        let pieces = text
            .chars()
            .map(|c| (0, json!({"tool_calls": [{"index": 0, "function": {"arguments": c.to_string()}}]})));
        chat(std::iter::once((0, start)).chain(pieces).collect::<Vec<_>>())
    };
    let event = |mut choice: Value| {
        choice["index"] = json!(0);
        format!("data: {}\n\n", json!({"id": "c", "created": 1, "model": "m", "choices": [choice]}))
    };
    let new_ids = {
        let text = json!({"to": EMAIL}).to_string();
        let pieces = text.chars().enumerate().map(|(at, c)| {
            (0, json!({"tool_calls": [{"index": 0, "id": at.to_string(), "function": {"arguments": c.to_string()}}]}))
        });
        chat(pieces.collect::<Vec<_>>())
    };
    let so_far: String = {
        let letters = by_letter(EMAIL);
        let said = |at: usize| json!({"message": {"content": letters[..=at].concat()}, "delta": {"content": letters[at]}});
        (0..letters.len()).map(|at| event(said(at))).chain([chat([(0, json!({}))])]).collect()
    };
    let escaped_forms = EMAIL.replace('@', "%40").replacen('.', "&#46;", 1).replace('.', "&period;");
    let padded: String = EMAIL
        .chars()
        .map(|c| format!("&#{:020};{}", c as u32, "&#000000000000000008203;".repeat(2)))
        .collect();
    let escaped = EMAIL.replace('@', "\\u0040");
    let escapes = {
        let text = format!("{{\"to\": \"{escaped}\"}}");
        let start = json!({"tool_calls": [{"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": ""}}]});
        let pieces = text
            .chars()
            .map(|c| (0, json!({"tool_calls": [{"index": 0, "function": {"arguments": c.to_string()}}]})));
        chat(std::iter::once((0, start)).chain(pieces).collect::<Vec<_>>())
    };
    let logprobs: String = by_letter(EMAIL)
        .iter()
        .map(|letter| {
            let token = json!({"token": letter, "logprob": -0.1, "bytes": letter.as_bytes(), "top_logprobs": []});
            let event = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [
                {"index": 0, "delta": {"content": letter}, "logprobs": {"content": [token]}, "finish_reason": null}]});
            format!("data: {event}\n\n")
        })
        .collect();
    let logprobs = format!("{logprobs}{}", chat([(0, json!({}))]));
    vec![
        said("A value cut into single letters", "`a` `l` `i` `c` `e` …", letters(EMAIL), EMAIL, true, HELD),
        said(
            "Percent codes and entities cut into single characters",
            &escaped_forms,
            letters(&escaped_forms),
            &escaped_forms,
            true,
            "What may become an escape is held, at most 24 bytes.",
        ),
        said(
            "Entities padded with zeros, and escapes that print nothing between them",
            "`&#00000000000000000097;&#000000000000000008203;` …",
            letters(&padded),
            &padded,
            true,
            "Past 1,276 raw bytes with a value begun the answer ends in GUARDRAIL_FAILED.",
        ),
        said("A card cut into single digits", "`4` `1` `1` `1` …", letters(CARD), CARD, true, HELD),
        said(
            "A token cut into single letters",
            "`g` `h` `p` `_` …",
            letters(TOKEN),
            TOKEN,
            true,
            "It commits at prefix and least length; the rest is swallowed.",
        ),
        said(
            "Two choices at once (`n: 2`)",
            "letters of both in turn",
            chat(choices),
            EMAIL,
            true,
            "Every choice is a lane of its own.",
        ),
        said(
            "Log probabilities beside the text",
            "`logprobs.content[].token`, `bytes`",
            logprobs,
            EMAIL,
            true,
            "Tokens are masked with the text they spell.",
        ),
        said(
            "Tool arguments by letter",
            r#"`{` `"` `t` `o` …"#,
            arguments("to", EMAIL),
            EMAIL,
            true,
            "Arguments are decoded while they stream.",
        ),
        said(
            "A value in tool arguments that only its key tells",
            r#"{"password": "Zq8_kLmN4xWv"}"#,
            arguments("password", "Zq8_kLmN4xWv"),
            "Zq8_kLmN4xWv",
            true,
            "A value is read behind its key, as in a request.",
        ),
        said(
            "Tool arguments with JSON escapes",
            r"alice.liddell\u0040corp-secret.com",
            escapes,
            &escaped,
            true,
            "Escapes are decoded while they stream.",
        ),
        said(
            "Reasoning beside the answer",
            "`reasoning_content`",
            chat(by_letter(EMAIL).iter().map(|letter| (0, json!({"reasoning_content": letter})))),
            EMAIL,
            true,
            "Every text of a delta is a lane.",
        ),
        said(
            "A refusal",
            "`refusal`",
            chat(by_letter(EMAIL).iter().map(|letter| (0, json!({"refusal": letter})))),
            EMAIL,
            true,
            "Every text of a delta is a lane.",
        ),
        said(
            "A field that nobody knows",
            "`delta.x`",
            chat([(0, json!({"x": EMAIL}))]),
            EMAIL,
            true,
            "Unknown texts of a delta are scanned as well.",
        ),
        said(
            "Events after the end",
            "`[DONE]`, then more",
            format!("{}data: {{\"x\": \"{EMAIL}\"}}\n\n", chat([content("Hi")])),
            EMAIL,
            true,
            "Nothing follows an end.",
        ),
        said(
            "A comment line",
            ": alice…",
            format!(": {EMAIL}\n\n{}", chat([content("Hi")])),
            EMAIL,
            true,
            "Comments of an upstream are not passed on.",
        ),
        said(
            "A field of a choice that nobody knows, by letter",
            "`choices[].x`",
            by_letter(EMAIL)
                .iter()
                .map(|letter| event(json!({"x": letter, "delta": {}, "finish_reason": null})))
                .chain([chat([(0, json!({}))])])
                .collect(),
            EMAIL,
            true,
            "Unknown texts of a choice or a function are lanes as well.",
        ),
        said(
            "A call whose pieces have an id each",
            r#"`{"id": "1", "function": {"arguments": "{\"to\":\"ali"}}` …"#,
            new_ids,
            EMAIL,
            true,
            "A call goes on until its arguments are whole or another function is named.",
        ),
        said(
            "A `message` with all so far beside each delta",
            r#"`{"message": {"content": "alice"}, "delta": {"content": "e"}}` …"#,
            so_far,
            EMAIL,
            true,
            "What repeats the deltas leaves empty.",
        ),
        said(
            "Text after the end of its choice",
            r#"`alice` with `"finish_reason": "stop"`, then `.liddell` …"#,
            format!(
                "{}{}",
                event(json!({"delta": {"content": &EMAIL[..7]}, "finish_reason": "stop"})),
                chat([content(&EMAIL[7..])])
            ),
            EMAIL,
            true,
            "The answer ends in GUARDRAIL_FAILED.",
        ),
        said(
            "A key of an object that nobody knows",
            r#"`delta` `{"attributes": {"alice…": 1}}`"#,
            chat([(0, json!({"content": "Hi", "attributes": {EMAIL: 1}}))]),
            EMAIL,
            false,
            "Unknown texts are scanned, names of fields are not, but for those of arguments and of answers in JSON.",
        ),
        said(
            "The model answers in base64",
            "YWxpY2U…",
            letters("YWxpY2UubGlkZGVsbEBjb3JwLXNlY3JldC5jb20="),
            "YWxpY2UubGlkZGVsbEBjb3JwLXNlY3JldC5jb20=",
            false,
            "Encodings are not decoded. The value had to be in the prompt, where it was masked, or in the model.",
        ),
        said(
            "The model spells a value out",
            "a l i c e …",
            letters("a l i c e . l i d d e l l @ c o r p"),
            "a l i c e",
            false,
            "Language, not a pattern.",
        ),
        said(
            "The model reverses a value",
            "moc.terces…",
            letters("moc.terces-proc@lleddil.ecila"),
            "moc.terces-proc@lleddil.ecila",
            false,
            "Encodings are not decoded.",
        ),
        said(
            "The answer stops inside a value",
            "It is alice.liddell@corp-sec",
            chat([content("It is alice.liddell@corp-sec")]).replace("\"stop\"", "\"length\""),
            "liddell@corp-sec",
            true,
            "At a cut-off end what had begun as a value is masked.",
        ),
        said(
            "A filter or a stop sequence cuts a value",
            r#"`"finish_reason": "content_filter"`, `"stop_reason": ".com"`"#,
            chat([
                content("It is alice.liddell@corp-sec"),
                (1, json!({"content": "It is alice.liddell@corp-sec"})),
            ])
            .replacen("\"stop\"", "\"content_filter\"", 1)
            .replacen("\"stop\"", "\"stop\",\"stop_reason\":\".com\"", 1),
            "liddell@corp-sec",
            true,
            "Whole is what ends by itself or in a call; any other end may be anywhere.",
        ),
    ]
}

fn surfaces() -> Vec<Attempt> {
    let messages: String = {
        let mut events = vec![
            json!({"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "content": [], "model": "m", "usage": {"input_tokens": 1, "output_tokens": 1}}}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        ];
        events.extend(by_letter(EMAIL).iter().map(|letter| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": letter}})));
        events.extend([
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}}}),
        ]);
        let input = json!({"to": EMAIL}).to_string();
        events.extend(input.chars().map(|c| json!({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": c.to_string()}})));
        events.extend([
            json!({"type": "content_block_stop", "index": 1}),
            json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}}),
            json!({"type": "message_stop"}),
        ]);
        named(&events)
    };
    let responses: String = {
        let mut events = vec![
            json!({"type": "response.created", "response": {"id": "r", "status": "in_progress", "output": []}}),
        ];
        events.extend(by_letter(EMAIL).iter().map(|letter| json!({"type": "response.output_text.delta", "item_id": "i", "output_index": 0, "content_index": 0, "delta": letter})));
        let text = format!("It is {EMAIL} then.");
        events.push(json!({"type": "response.output_text.done", "item_id": "i", "output_index": 0, "content_index": 0, "text": text}));
        events.push(json!({"type": "response.completed", "response": {"id": "r", "status": "completed", "output": [
            {"type": "message", "id": "i", "role": "assistant", "content": [{"type": "output_text", "text": text}]}]}}));
        named(&events)
    };
    let block = |events: &[Value], reason: &str| {
        let mut all = vec![
            json!({"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "content": [], "model": "m"}}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        ];
        all.extend(events.iter().cloned());
        all.push(json!({"type": "content_block_stop", "index": 0}));
        all.push(json!({"type": "message_delta", "delta": {"stop_reason": reason}}));
        all.push(json!({"type": "message_stop"}));
        named(&all)
    };
    let text = |text: &str| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}});
    let (left, right) = EMAIL.split_at(9);
    let late =
        block(&[text(left), json!({"type": "content_block_stop", "index": 0}), text(right)], "end_turn");
    let stopped = block(&[text("It is alice.liddell@corp-sec")], "stop_sequence");
    let like_image = block(&[text(&format!("data:image/png;base64,{TOKEN}"))], "end_turn");
    let in_pieces = named(&[left, right].map(|text| {
        json!({"type": "response.reasoning.delta", "output_index": 0, "content_index": 0, "delta": {"text": text}})
    }));
    let on = |api, what, written: &str, stream, why| Attempt {
        what,
        written: written.to_owned(),
        carrier: Carrier::Answer(api, stream, EMAIL.to_owned()),
        found: true,
        why,
    };
    vec![
        on(
            Api::Messages,
            "Anthropic messages, text and tool input by letter",
            "`text_delta`, `input_json_delta`",
            messages,
            HELD,
        ),
        on(
            Api::Responses,
            "Responses: deltas, then the whole text twice more",
            "`delta`, `done`, `completed`",
            responses,
            "All three are masked alike.",
        ),
        on(
            Api::Responses,
            "Responses: deltas that are objects",
            r#"`delta: {"text": "alice.lid"}`, …"#,
            in_pieces,
            "What may be a piece and is no lane ends the answer in GUARDRAIL_FAILED.",
        ),
        on(
            Api::Messages,
            "A block that goes on after its end",
            "`alice.lid`, `content_block_stop`, `dell@…`",
            late,
            "The rest does not leave: GUARDRAIL_FAILED.",
        ),
        Attempt {
            carrier: Carrier::Answer(Api::Messages, stopped, "liddell@corp-sec".to_owned()),
            ..on(
                Api::Messages,
                "A stop sequence inside a value",
                "It is alice.liddell@corp-sec",
                String::new(),
                "Whatever does not say that the text is whole has cut it.",
            )
        },
        Attempt {
            carrier: Carrier::Answer(Api::Messages, like_image, TOKEN.to_owned()),
            ..on(
                Api::Messages,
                "A text that looks like an image",
                "`data:image/png;base64,ghp_…`",
                String::new(),
                "A data URL is one where URLs and files stand, and has no letters but those of base64.",
            )
        },
    ]
}

fn named(events: &[Value]) -> String {
    let name = |event: &Value| event["type"].as_str().map(str::to_owned).unwrap_or_default();
    events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", name(event))).collect()
}

/// Every text of an answer's events, joined by its path; tool arguments once more with their own escapes; the raw bytes.
pub(crate) fn lanes(out: &str) -> Vec<String> {
    let mut lanes = BTreeMap::new();
    for data in out.lines().filter_map(|line| line.strip_prefix("data: ")) {
        if let Ok(event) = serde_json::from_str::<Value>(data) {
            join(&event, String::new(), &mut lanes);
        }
    }
    let mut all: Vec<String> = lanes.into_values().collect();
    all.push(out.to_owned());
    all
}

fn join(value: &Value, path: String, lanes: &mut BTreeMap<String, String>) {
    match value {
        Value::String(text) => lanes.entry(path).or_default().push_str(text),
        Value::Array(items) => items.iter().for_each(|item| join(item, path.clone(), lanes)),
        Value::Object(fields) => {
            let index = fields.get("index").map(Value::to_string).unwrap_or_default();
            for (name, field) in fields {
                join(field, format!("{path}/{index}{name}"), lanes);
            }
        }
        _ => {}
    }
}
