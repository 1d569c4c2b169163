//! Members of chat answers that no surface names: what comes whole, what comes in pieces, and thinking that is signed.

use serde_json::json;

use super::chat::*;
use super::*;

/// Base64 with what would be a token of GitHub's in it.
const IMAGE: &str = "iVBORw0KGgoAAAANSUhEUg+ghp_0123456789abcdefghijABCDEFGHIJ012345/8A==";

fn first() -> String {
    delta(0, r#"{"role":"assistant","content":""}"#)
}

fn masked(input: &[String]) -> Got {
    let got = run(&masking(Api::Chat), Form::Events, &stream(input));
    assert_no_leak(&got.text, MAIL);
    got
}

/// The elements of `name` in every delta.
fn elements(got: &Got, name: &str) -> Vec<Value> {
    let deltas = events(&got.text).into_iter().map(|said| said.data["choices"][0]["delta"][name].clone());
    deltas.filter_map(|list| list.as_array().cloned()).flatten().collect()
}

#[test]
fn what_comes_whole_is_not_torn() {
    let members = [
        r#"{"annotations":[{"type":"url_citation","url_citation":{"url":"https://site.test/page-1","title":"A page"}}]}"#.to_owned(),
        r#"{"annotations":[{"type":"url_citation","url_citation":{"url":"https://site.test/page-2","title":"Another"}}]}"#.to_owned(),
        r#"{"content":"","citations":["https://site.test/a"],"search_results":[{"title":"A","date":"2025"}]}"#.to_owned(),
        format!(r#"{{"images":[{{"type":"image_url","index":0,"image_url":{{"url":"data:image/png;base64,{IMAGE}"}}}}]}}"#),
        format!(r#"{{"pictures":[{{"image_url":"data:image\/png;base64,{}"}}]}}"#, IMAGE.replace('/', r"\/")),
        r#"{"extra_content":{"google":{"thought_signature":"abc123"}}}"#.to_owned(),
        format!(r#"{{"tool_calls":[{{"index":0,"id":"c","function":{{"name":"f","arguments":"{{}}"}},"extra_content":{{"google":{{"thought_signature":"{IMAGE}"}}}}}}]}}"#),
        r#"{"audio":{"id":"audio_1","data":"UklGRg"}}"#.to_owned(),
        r#"{"audio":{"data":"//v/+w=="}}"#.to_owned(),
        r#"{"links":[{"url":"https://site.test/word"}]}"#.to_owned(),
    ];
    for member in &members {
        let input = [first(), delta(0, member), finish(0, "stop")];
        assert_eq!(masked(&input).text, stream(&input), "{member}");
    }
    for member in [
        format!(r#"{{"annotations":[{{"url_citation":{{"url":"mailto:{MAIL}","title":"ask {MAIL}"}}}}]}}"#),
        format!(r#"{{"images":[{{"image_url":{{"url":"data:image/png;base64,{MAIL}"}}}}]}}"#),
        format!(r#"{{"extra_content":{{"signature":"x","thought_signature":"{MAIL}"}}}}"#),
        format!(r#"{{"links":[{{"url":"mailto:{MAIL}"}}]}}"#),
        format!(r#"{{"tool_calls":[{{"index":0,"extra_content":{{"note":"{MAIL}"}}}}]}}"#),
    ] {
        let got = masked(&[first(), delta(0, &member), finish(0, "stop")]);
        assert_eq!((&got.step, got.text.contains("[EMAIL_1]")), (&Step::Done, true), "{member}");
    }
}

#[test]
fn a_delta_made_here_has_the_members_of_those_before_it() {
    let mut input = vec![first()];
    for index in [0, 1] {
        for piece in pieces(&format!("{index}: to {MAIL}"), 3) {
            input.push(delta(0, &format!(r#"{{"reasoning_details":[{{"type":"reasoning.text","format":"unknown","text":"{piece}","index":{index}}}]}}"#)));
        }
    }
    input.push(finish(0, "stop"));
    let got = masked(&input);
    let details = elements(&got, "reasoning_details");
    for index in [0, 1] {
        let mut text = String::new();
        for detail in details.iter().filter(|detail| detail["index"] == index) {
            assert_eq!((&detail["type"], &detail["format"]), (&json!("reasoning.text"), &json!("unknown")));
            text.push_str(detail["text"].as_str().expect("a text"));
        }
        assert_eq!(text, format!("{index}: to [EMAIL_1]"));
    }
    assert!(details.iter().all(|detail| detail["index"].is_u64()), "{}", got.text);

    let mut input = vec![first()];
    for piece in pieces(&format!("to {MAIL}"), 3) {
        input.push(delta(
            0,
            &format!(
                r#"{{"content":[{{"type":"thinking","thinking":[{{"type":"text","text":"{piece}"}}]}}]}}"#
            ),
        ));
        input.push(delta(0, &format!(r#"{{"tool_calls":[{{"index":1,"x":{{"note":"{piece}"}}}}]}}"#)));
    }
    input.push(finish(0, "stop"));
    // Nothing is repeated but what no eye reads.
    let beside = format!(
        r#"{{"reasoning_details":[{{"text":"so","format":"unknown","more":{{"note":"ask {MAIL}","url":"mailto:{MAIL}"}},"signature":""}}]}}"#
    );
    input.insert(input.len() - 1, delta(0, &beside));
    let got = masked(&input);
    let (mut thought, mut note) = (String::new(), String::new());
    for part in elements(&got, "content") {
        assert_eq!((&part["type"], &part["thinking"][0]["type"]), (&json!("thinking"), &json!("text")));
        thought.push_str(part["thinking"][0]["text"].as_str().expect("a text"));
    }
    for call in elements(&got, "tool_calls") {
        assert_eq!(call["index"], 1);
        note.push_str(call["x"]["note"].as_str().expect("a text"));
    }
    assert_eq!((&*thought, &*note), ("to [EMAIL_1]", "to [EMAIL_1]"));
}

/// A block of signed thinking in pieces, in the shapes of two gateways.
fn signed(text: &str, size: usize) -> [(&'static str, &'static str, Vec<String>); 2] {
    let in_pieces = |element: &dyn Fn(&str) -> String, last: String| {
        let mut events: Vec<String> =
            pieces(text, size).iter().map(|piece| delta(0, &element(piece))).collect();
        events.push(delta(0, &last));
        events
    };
    [
        (
            "thinking_blocks",
            "thinking",
            in_pieces(
                &|piece| format!(r#"{{"thinking_blocks":[{{"type":"thinking","thinking":"{piece}","signature":""}}]}}"#),
                r#"{"thinking_blocks":[{"type":"thinking","thinking":"","signature":"EqQB"}]}"#.to_owned(),
            ),
        ),
        (
            "reasoning_details",
            "text",
            in_pieces(
                &|piece| format!(r#"{{"reasoning_details":[{{"type":"reasoning.text","text":"{piece}","format":"anthropic-claude-v1","index":0}}]}}"#),
                r#"{"reasoning_details":[{"type":"reasoning.text","signature":"EqQB","format":"anthropic-claude-v1","index":0}]}"#.to_owned(),
            ),
        ),
    ]
}

#[test]
fn signed_thinking_is_never_altered() {
    let harmless = "I should think about this, step by step";
    for size in [1, 9, 100] {
        // Two blocks, one after the other.
        for ((name, field, one), (_, _, two)) in signed(harmless, size).into_iter().zip(signed("More", size))
        {
            let input: Vec<String> = [vec![first()], one, two, vec![finish(0, "stop")]].concat();
            let got = masked(&input);
            assert_eq!(got.step, Step::Done);
            let (mut blocks, mut text) = (Vec::new(), String::new());
            for element in elements(&got, name) {
                assert!(element["type"].is_string(), "{element}");
                text.push_str(element[field].as_str().unwrap_or_default());
                if element["signature"] == "EqQB" {
                    blocks.push(std::mem::take(&mut text));
                }
            }
            assert_eq!(
                (blocks, &*text),
                (vec![harmless.to_owned(), "More".to_owned()], ""),
                "{name} by {size}"
            );
        }
        let text = format!("Her address is {MAIL}, I think");
        for (name, field, thinking) in signed(&text, size) {
            let input: Vec<String> = [vec![first()], thinking, vec![finish(0, "stop")]].concat();
            let got = masked(&input);
            assert_eq!(
                (&got.step, got.reason.as_deref()),
                (&Step::Blocked, Some("content_filter")),
                "{name}"
            );
            assert!(text.starts_with(&lane(&got, &format!(".choices[0].delta.{name}[0].{field}"))));
            assert!(!got.text.contains("EMAIL_1") && !got.text.contains("EqQB"), "{}", got.text);
        }
    }
}

fn plain(message: &Value) -> Got {
    let body = json!({"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]});
    run(&masking(Api::Chat), Form::Plain, &body.to_string())
}

#[test]
fn plain_answers_are_treated_alike() {
    let url = format!("data:image/png;base64,{IMAGE}");
    for (name, element) in [
        (
            "thinking_blocks",
            json!({"type": "thinking", "thinking": format!("so {MAIL}"), "signature": "EqQB"}),
        ),
        (
            "reasoning_details",
            json!({"type": "reasoning.text", "text": format!("so {MAIL}"), "signature": "EqQB"}),
        ),
    ] {
        let got = plain(&json!({"role": "assistant", name: [element], "content": "Done."}));
        let answer: Value = serde_json::from_str(&got.text).expect("JSON");
        let choice = &answer["choices"][0];
        assert_eq!((&got.step, &choice["finish_reason"]), (&Step::Blocked, &json!("content_filter")));
        assert_eq!(
            (&choice["message"][name], &choice["message"]["content"]),
            (&Value::Null, &json!("Done."))
        );
        let harmless = json!({"role": "assistant", name: [{"thinking": "so", "signature": "EqQB"}], "images": [{"image_url": {"url": url}}]});
        assert_eq!(
            serde_json::from_str::<Value>(&plain(&harmless).text).expect("JSON")["choices"][0]["message"],
            harmless
        );
    }
    let got = plain(
        &json!({"role": "assistant", "reasoning_details": [{"type": "reasoning.text", "text": format!("so {MAIL}")}]}),
    );
    let answer: Value = serde_json::from_str(&got.text).expect("JSON");
    assert_eq!(answer["choices"][0]["message"]["reasoning_details"][0]["text"], "so [EMAIL_1]");
}

/// What follows a block in the same message is not read any more: it does not leave.
#[test]
fn calls_after_a_block_do_not_leave() {
    let arguments = json!({"to": MAIL}).to_string();
    let message = json!({"role": "assistant", "content": format!("To {MAIL}"),
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}]});
    let body = json!({"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]});
    let got = run(&blocking(Api::Chat), Form::Plain, &body.to_string());
    assert!(!got.text.contains("liddell"), "{}", got.text);
    let answer: Value = serde_json::from_str(&got.text).expect("JSON");
    let message = &answer["choices"][0]["message"];
    assert_eq!((&message["content"], &message["tool_calls"]), (&json!("To "), &Value::Null));
}
