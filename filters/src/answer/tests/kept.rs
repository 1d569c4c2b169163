//! What is kept of an answer holds no value in clear, however it is spelled and wherever it was cut.

use serde_json::json;

use super::*;
use crate::json::decode;
use crate::scan::{PseudonymKey, Shape};

const JSON: Spelling = Spelling::Json;

fn redacted(text: &str, spelling: Spelling) -> String {
    let guard = guard(|_| Action::Mask).expect("a guard");
    KeptText { text, spelling }.redacted(&Masker::new(), &guard.rules, Some(&guard.policy))
}

/// A masker after a request in which this value was found.
fn asked(value: &str) -> (Masker, String) {
    let text = format!("password: '{value}'");
    let policy = BUILTIN.policy(Direction::Request, |_| Action::Pseudonymise, Switches::default());
    let mut masker = Masker::new().with_pseudonyms(PseudonymKey::derive(b"secret", "acme"));
    let mut found = Vec::new();
    BUILTIN.scan(&policy, &text, &mut found);
    assert_eq!(&text[found[0].span.clone()], value);
    let shown = masker.stand_in(&found[0], value, Shape::Text);
    (masker, shown)
}

/// Tool arguments, or an answer that is to be JSON, on every surface.
fn surfaces(said: &str) -> Vec<(Options, Form, String)> {
    let options = |api| Options { structured: true, ..masking(api) };
    let mut surfaces = Vec::new();
    for field in ["content", "tool", "function"] {
        let events: Vec<String> = pieces(said, 3)
            .into_iter()
            .map(|piece| match field {
                "content" => format!(r#"{{"content":"{piece}"}}"#),
                "tool" => {
                    format!(r#"{{"tool_calls":[{{"index":0,"function":{{"arguments":"{piece}"}}}}]}}"#)
                }
                _ => format!(r#"{{"function_call":{{"arguments":"{piece}"}}}}"#),
            })
            .map(|delta| chat::delta(0, &delta))
            .chain([chat::finish(0, "stop")])
            .collect();
        surfaces.push((options(Api::Chat), Form::Events, chat::stream(&events)));
    }
    let mut events: Vec<String> = pieces(said, 3)
        .into_iter()
        .map(|piece| {
            format!(
                r#"{{"type":"response.function_call_arguments.delta","item_id":"fc","output_index":0,"delta":"{piece}"}}"#
            )
        })
        .collect();
    events.push(json!({"type": "response.function_call_arguments.done", "item_id": "fc", "output_index": 0, "arguments": said}).to_string());
    events.push(
        json!({"type": "response.completed", "response": {"object": "response", "output": []}}).to_string(),
    );
    surfaces.push((
        options(Api::Responses),
        Form::Events,
        sse(&events.iter().map(|e| &**e).collect::<Vec<_>>()),
    ));
    let mut events = vec![
        json!({"type": "message_start", "message": {"type": "message", "content": []}}).to_string(),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}}})
            .to_string(),
    ];
    for piece in pieces(said, 3) {
        events.push(format!(
            r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"input_json_delta","partial_json":"{piece}"}}}}"#
        ));
    }
    for end in [json!({"type": "content_block_stop", "index": 0}), json!({"type": "message_stop"})] {
        events.push(end.to_string());
    }
    surfaces.push((
        options(Api::Messages),
        Form::Events,
        sse(&events.iter().map(|e| &**e).collect::<Vec<_>>()),
    ));
    let call = json!([{"id": "c", "type": "function", "function": {"name": "f", "arguments": said}}]);
    let body = json!({"object": "chat.completion", "choices": [{"index": 0, "message": {"tool_calls": call}, "finish_reason": "stop"}]});
    surfaces.push((options(Api::Chat), Form::Plain, body.to_string()));
    if serde_json::from_str::<Value>(said).is_ok() {
        let body = format!(
            r#"{{"type":"message","content":[{{"type":"tool_use","id":"t","name":"f","input":{said}}}],"stop_reason":"tool_use"}}"#
        );
        surfaces.push((options(Api::Messages), Form::Plain, body));
    }
    surfaces
}

/// What is kept of an answer, redacted: at every length that may be kept, the whole last.
fn kept(options: &Options, form: Form, body: &str, masker: Masker) -> Vec<String> {
    let mut pipeline = Pipeline::new(copy(options), masker);
    pipeline.begin(form);
    let mut out = Vec::new();
    if pipeline.push(body.as_bytes(), &mut out) == Step::More {
        assert_eq!(pipeline.finish(&mut out), Step::Done);
    }
    let guard = guard(|_| Action::Mask).expect("a guard");
    let whole = pipeline.texts().last().expect("a text"); // what stands before it is the tool's name
    (0..=whole.text.len())
        .filter_map(|len| Some(KeptText { text: whole.text.get(..len)?, ..whole }))
        .map(|cut| cut.redacted(pipeline.masker(), &guard.rules, Some(&guard.policy)))
        .collect()
}

#[test]
fn what_json_escapes_is_read() {
    for (text, want) in [
        (r#"{"to":"alice\u0040corp.com"}"#, r#"{"to":"[EMAIL]"}"#),
        (r#"{"to":"m\u00fcller@corp.de"}"#, r#"{"to":"[EMAIL]"}"#),
        (
            r#"{"a":"caf\u00e9 \/ \ud83d\ude00\n\u0061l@corp.com\t\"x\""}"#,
            r#"{"a":"caf\u00e9 \/ \ud83d\ude00\n[EMAIL]\t\"x\""}"#,
        ),
        (r#"{"card":"4111\u00201111 1111 111\u0031","b":"\\"}"#, r#"{"card":"[CREDIT_CARD]","b":"\\"}"#),
        (r#"{"pass\u0077ord":"Zq8_kLm\\N4xWv"}"#, r#"{"pass\u0077ord":"[SECRET]"}"#),
        // No JSON, but some will read it as if it were.
        (r"to=alice\u0040corp.com \q \", r"to=[EMAIL] \q "),
        (r"\ud83d alice\u0040corp.com", r"\ud83d [EMAIL]"),
    ] {
        assert_eq!(redacted(text, JSON), want);
    }
    let text = r"C:\u0040 alice\u0040corp.com bob@corp.com";
    assert_eq!(redacted(text, Spelling::Plain), r"C:\u0040 alice\u0040corp.com [EMAIL]");
}

/// Whatever was cut, also inside an escape: the same is taken out as of the text that it says.
#[test]
fn escapes_hide_nothing_at_a_cut() {
    let said =
        "é alice.liddell@example-corp.com, 4111 1111 1111 1111, ghp_16C7e42F292c6912E7710c838347Ae178B4a!";
    let escaped: String = said.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    for cut in 0..=escaped.len() {
        let whole = said.chars().take(cut / 6).collect::<String>();
        let got = redacted(&escaped[..cut], JSON);
        assert_eq!(decode(&got), redacted(&whole, Spelling::Plain), "cut at {cut}");
    }
}

#[test]
fn what_is_only_recorded_is_redacted_on_every_surface_at_every_length() {
    let said =
        r#"{"n":"\u00e9","to":"alice.liddell\u0040example-corp.com","card":"4111\u00201111 1111 1111"}"#;
    for (mut options, form, body) in surfaces(said) {
        options.guard = guard(|_| Action::Log);
        let kept = kept(&options, form, &body, Masker::new());
        for cut in &kept {
            let read = decode(cut);
            assert!(!read.contains('@') && !read.contains("4111 1111"), "{:?}: {cut}", options.api);
        }
        let want = r#"{"n":"\u00e9","to":"[EMAIL]","card":"[CREDIT_CARD]"}"#;
        assert_eq!(kept.last().map(String::as_str), Some(want), "{:?}", options.api);
    }
}

#[test]
fn what_was_put_back_is_hidden_in_every_spelling_at_every_length() {
    for value in [r#"Zq8"kLm\N4xWv"#, r#"Zq8"kLm\n4xWv"#, "Zq8_kLmN4xWv"] {
        let shown = asked(value).1;
        let mut literal = Vec::new();
        crate::json::encode_inner(value, &mut literal);
        let literal = String::from_utf8(literal).expect("UTF-8");
        // The second is no JSON: there the value is put back as it is.
        for said in [format!(r#"{{"of":"\u00e9 {shown}!"}}"#), format!(r"{{of: {shown}!}}")] {
            for (mut options, form, body) in surfaces(&said) {
                options.guard = guard(|_| Action::Off);
                let kept = kept(&options, form, &body, asked(value).0);
                for cut in &kept {
                    for part in [&value[..4], &value[4..8], &literal[..5], &literal[literal.len() - 4..]] {
                        assert!(!cut.contains(part), "{:?}: {part} of {value} in {cut}", options.api);
                    }
                }
                assert_eq!(kept.last(), Some(&said), "{:?}", options.api);
            }
        }
    }
}
