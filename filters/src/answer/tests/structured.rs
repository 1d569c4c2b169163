//! Answers that are to be JSON stay JSON: a number that is masked is a number still.

use serde_json::{Value, json};

use super::*;

fn asked(api: Api) -> Options {
    Options { structured: true, ..masking(api) }
}

fn content() -> String {
    json!({"to": MAIL, "card": 4_111_111_111_111_111_u64, "note": format!("\u{e9} \"{MAIL}\"")}).to_string()
}

fn want() -> Value {
    json!({"to": "email-1@masked.invalid", "card": 9_000_000_000_000_001_u64, "note": "\u{e9} \"email-1@masked.invalid\""})
}

#[test]
fn a_stream_of_json_stays_json_at_every_cut() {
    let content = content();
    for size in [1, 2, 3, 5, 17, 4096] {
        let mut pipeline = Pipeline::new(asked(Api::Chat), Masker::new());
        pipeline.begin(Form::Events);
        let (mut out, mut said) = (Vec::new(), String::new());
        let characters: Vec<char> = content.chars().collect();
        for piece in characters.chunks(size) {
            let delta = json!({"content": piece.iter().collect::<String>()});
            let event = json!({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]});
            assert_eq!(pipeline.push(format!("data: {event}\n\n").as_bytes(), &mut out), Step::More);
        }
        let end = json!({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
        assert_eq!(
            pipeline.push(format!("data: {end}\n\ndata: [DONE]\n\n").as_bytes(), &mut out),
            Step::Done
        );
        for line in String::from_utf8(out).expect("UTF-8").lines() {
            let Some(data) = line.strip_prefix("data: ").filter(|data| *data != "[DONE]") else { continue };
            let chunk: Value = serde_json::from_str(data).expect("JSON");
            said.push_str(chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default());
        }
        assert_eq!(serde_json::from_str::<Value>(&said).expect("JSON"), want(), "pieces of {size}");
    }
}

#[test]
fn a_plain_answer_of_json_stays_json() {
    let text = json!({"type": "text", "text": content()});
    let item = json!({"type": "message", "content": [{"type": "output_text", "text": content()}]});
    let cases = [
        (
            Api::Chat,
            json!({"object": "chat.completion", "choices": [{"index": 0, "message": {"role": "assistant", "content": content()}}]}),
            "/choices/0/message/content",
        ),
        (
            Api::Messages,
            json!({"type": "message", "content": [text], "stop_reason": "end_turn"}),
            "/content/0/text",
        ),
        (
            Api::Responses,
            json!({"object": "response", "status": "completed", "output": [item]}),
            "/output/0/content/0/text",
        ),
    ];
    for (api, answer, place) in cases {
        let mut pipeline = Pipeline::new(asked(api), Masker::new());
        pipeline.begin(Form::Plain);
        let mut out = Vec::new();
        assert_eq!(pipeline.push(answer.to_string().as_bytes(), &mut out), Step::More);
        assert_eq!(pipeline.finish(&mut out), Step::Done);
        let got: Value = serde_json::from_slice(&out).expect("JSON");
        let said = got.pointer(place).and_then(Value::as_str).expect("text");
        assert_eq!(serde_json::from_str::<Value>(said).expect("JSON"), want(), "{api:?}");
    }
}

/// A model that says something else is read as ever.
#[test]
fn what_is_no_json_after_all_is_masked_too() {
    let mut pipeline = Pipeline::new(asked(Api::Chat), Masker::new());
    pipeline.begin(Form::Plain);
    let said = format!("Sorry, ask {MAIL} or C:\\new\\table");
    let answer = json!({"object": "chat.completion", "choices": [{"index": 0, "message": {"role": "assistant", "content": said}}]});
    let mut out = Vec::new();
    let _ = pipeline.push(answer.to_string().as_bytes(), &mut out);
    assert_eq!(pipeline.finish(&mut out), Step::Done);
    let got: Value = serde_json::from_slice(&out).expect("JSON");
    assert_eq!(got["choices"][0]["message"]["content"], "Sorry, ask [EMAIL_1] or C:\\new\\table");
}
