//! Texts that stand where no surface says they would, and what looks like none.

use serde_json::json;

use super::messages::{STOP, delta, end, message, start, stop, text_block};
use super::responses::{deltas, find, joined, message_item, response, with};
use super::*;

/// A token that is base64 for URLs.
const TOKEN: &str = "ghp_q8Zr2LmX0vT5bNc7KpWd3HsYfJ6gRa1uEo9i";

const UNKNOWN: Step = Step::GuardFailed("an event of unknown form");

fn stream_of(events: Vec<Value>) -> Got {
    let mut all = vec![json!({"type": "response.created", "response": response("in_progress", &json!([]))})];
    all.extend(events);
    all.push(json!({"type": "response.completed", "response": response("completed", &json!([]))}));
    run(&masking(Api::Responses), Form::Events, &responses::stream(&all))
}

#[test]
fn deltas_that_are_no_strings_end_the_answer() {
    let place = json!({"item_id": "i", "output_index": 0, "content_index": 0});
    for kind in [
        "response.reasoning.delta",
        "response.reasoning_summary.delta",
        "response.mcp_call.arguments.delta",
        "response.output_text.delta",
    ] {
        let event = |delta: Value| with(place.clone(), kind, &json!({"delta": delta}));
        let (left, right) = MAIL.split_at(9);
        for said in [
            |text: &str| json!({"text": text}),
            |text: &str| json!([text]),
            |text: &str| json!({"arguments": {"to": text}}),
        ] {
            let got = stream_of(vec![event(said(left)), event(said(right))]);
            assert_no_leak(&got.text, MAIL);
            assert_eq!(got.step, UNKNOWN, "{kind}");
        }
        for nothing in [json!(null), json!({}), json!({"type": "text", "text": ""})] {
            assert_eq!(stream_of(vec![event(nothing)]).step, Step::Done, "{kind}");
        }
    }
    let twice = r#"data: {"type":"response.output_text.delta","output_index":0,"delta":"alice","delta":"b"}"#;
    let got = run(&masking(Api::Responses), Form::Events, &format!("{twice}\n\n"));
    assert_eq!(got.step, UNKNOWN);
}

/// A model may write what looks like an image: it is one only where images stand.
#[test]
fn texts_that_look_like_images_are_texts() {
    let text = format!("data:image/png;base64,{TOKEN}");
    let aws = "data:image/png;base64,AKIAQ7RZ2LMX5VTB3NC6";
    for (text, value) in [(&*text, TOKEN), (aws, "AKIAQ7RZ2LMX5VTB3NC6")] {
        for size in [1, 7, 100] {
            let events = message(vec![text_block(0, text, size)], "end_turn");
            let got = run(&masking(Api::Messages), Form::Events, &messages::stream(&events));
            assert_eq!(got.step, Step::Done);
            assert_no_leak(&got.text, value);

            let place = json!({"item_id": "msg_1", "output_index": 0, "content_index": 0});
            let item = message_item(text, "completed");
            let part = json!({"part": {"type": "output_text", "text": text, "annotations": []}});
            let mut events = deltas("response.output_text", &place, text, size);
            events.push(with(place.clone(), "response.output_text.done", &json!({"text": text})));
            events.push(with(place, "response.content_part.done", &part));
            events.push(json!({"type": "response.output_item.done", "output_index": 0, "item": item}));
            let got = stream_of(events);
            assert_eq!(got.step, Step::Done);
            assert_no_leak(&got.text, value);
            assert_eq!(find(&got, "response.output_text.done")["text"], joined(&got, "response.output_text"));
        }
        let plain = [
            (
                Api::Chat,
                json!({"choices": [{"index": 0, "message": {"content": text, "refusal": text, "reasoning": text}}]}),
            ),
            (Api::Completions, json!({"choices": [{"index": 0, "text": text}]})),
            (Api::Messages, json!({"type": "message", "content": [{"type": "text", "text": text}]})),
            (
                Api::Responses,
                json!({"object": "response", "output": [message_item(text, "completed")], "output_text": text}),
            ),
        ];
        for (api, body) in plain {
            let got = run(&masking(api), Form::Plain, &body.to_string());
            assert_eq!(got.step, Step::Done, "{api:?}");
            assert!(!got.text.contains(&value[..8]), "{}", got.text);
        }
    }
    // Where an image may stand, only what images are made of is none.
    let place = |url: &str| {
        let output = json!([{"type": "code_interpreter_call", "status": "completed", "outputs": [{"type": "image", "url": url}]}]);
        json!({"object": "response", "status": "completed", "output": output}).to_string()
    };
    let image = place("data:image/png;base64,iVBORw0KGgoAAAANSUhEUg+AKIAQ7RZ2LMX5VTB3NC6/8A==");
    assert_eq!(run(&masking(Api::Responses), Form::Plain, &image).text, image);
    let got = run(&masking(Api::Responses), Form::Plain, &place(&text));
    assert!(!got.text.contains(&TOKEN[..8]), "{}", got.text);
}

#[test]
fn known_events_of_messages_are_read_whole() {
    let whole = message(vec![text_block(0, "Good day to you", 3)], "end_turn");
    let with = |at: usize, event: String| {
        let mut events = whole.clone();
        events[at] = event;
        events
    };
    let stop_at = whole.iter().position(|event| *event == stop(0)).expect("a stop");
    let (end_at, last) = (whole.len() - 2, whole.len() - 1);
    let refusal = json!({"type": "message_delta", "delta": {"stop_reason": "refusal", "stop_details":
        {"type": "refusal", "category": null, "explanation": format!("It asks for {MAIL} too")}}});
    let noted = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "note": MAIL}});
    let begun = json!({"type": "message_start", "message": {"id": "m", "type": "message", "content": [],
        "note": {"of": MAIL}, "stop_sequence": null}});
    for (at, event) in [
        (0, begun),
        (end_at, refusal),
        (end_at, noted),
        (stop_at, json!({"type": "content_block_stop", "index": 0, "note": MAIL})),
        (last, json!({"type": "message_stop", "note": MAIL})),
        (last, json!({"type": "message_stop", "delta": {"note": MAIL}})),
    ] {
        let event = event.to_string();
        // `type` comes first only in some.
        let kind = serde_json::from_str::<Value>(&event).expect("JSON")["type"].clone();
        let mut text = messages::stream(&with(at, format!(r#"{{"type":{kind}}}"#)));
        text = text.replacen(&format!(r#"data: {{"type":{kind}}}"#), &format!("data: {event}"), 1);
        let got = run(&masking(Api::Messages), Form::Events, &text);
        assert_eq!((&got.step, got.findings), (&Step::Done, 1), "{event}");
        assert!(got.text.contains("[EMAIL_1]"), "{}", got.text);
        assert_no_leak(&got.text, MAIL);
        let got = run(&blocking(Api::Messages), Form::Events, &text);
        assert_eq!((&got.step, got.reason.as_deref()), (&Step::Blocked, Some("refusal")), "{event}");
        assert_no_leak(&got.text, MAIL);
    }
    let mut pinged = whole.clone();
    pinged.insert(5, format!(r#"{{"type":"ping","note":"{MAIL}"}}"#));
    assert_no_leak(&run(&masking(Api::Messages), Form::Events, &messages::stream(&pinged)).text, MAIL);
    assert_eq!(end("end_turn"), whole[end_at]);
    assert_eq!(STOP, whole[last]);
}

#[test]
fn members_beside_the_list_are_read_in_plain_answers() {
    let mail = format!("It asks for {MAIL} too");
    let bodies = [
        (
            Api::Messages,
            json!({"type": "message", "content": [], "stop_reason": "refusal", "stop_sequence": null,
            "stop_details": {"type": "refusal", "category": null, "explanation": mail}}),
        ),
        (
            Api::Responses,
            json!({"object": "response", "status": "completed", "output": [], "output_messages": [{"content": [{"text": mail}]}]}),
        ),
        (Api::Chat, json!({"object": "chat.completion", "choices": [], "note": mail})),
    ];
    for (api, body) in bodies {
        let got = run(&masking(api), Form::Plain, &body.to_string());
        assert_eq!((&got.step, got.findings), (&Step::Done, 1), "{api:?}");
        assert!(got.text.contains("It asks for [EMAIL_1] too"), "{}", got.text);
        let got = run(&blocking(api), Form::Plain, &body.to_string());
        assert!(!got.text.contains("liddell"), "{}", got.text);
    }
    // What repeats the request is the caller's own.
    let own = json!({"object": "response", "status": "completed", "output": [], "instructions": mail, "metadata": {"of": mail},
        "tools": [{"type": "function", "name": "f", "description": mail}], "user": mail, "prompt": {"id": "p", "variables": {"of": mail}}})
    .to_string();
    assert_eq!(run(&masking(Api::Responses), Form::Plain, &own).text, own);
    let streamed = json!({"type": "response.completed", "response": {"status": "completed", "output": [], "instructions": mail,
        "output_messages": [{"text": mail}]}});
    let got = run(&masking(Api::Responses), Form::Events, &responses::stream(&[streamed]));
    let last = find(&got, "response.completed")["response"].clone();
    assert_eq!(
        (&last["instructions"], &last["output_messages"][0]["text"], got.findings),
        (&json!(mail), &json!("It asks for [EMAIL_1] too"), 1)
    );
}

#[test]
fn audio_is_not_torn() {
    let place = json!({"item_id": "i", "output_index": 0, "content_index": 0});
    let chunks = [
        "UklGRiQAAABXQVZFZm10IBAAAAABAAEA",
        "AKIAQ7RZ2LMX5VTB3NC6",
        "4111",
        "1111",
        "11111111",
        "ghp+0123/A==",
    ];
    for kind in ["response.audio", "response.output_audio"] {
        let audio = |text: &str| with(place.clone(), &format!("{kind}.delta"), &json!({"delta": text}));
        let events: Vec<Value> = chunks.iter().map(|chunk| audio(chunk)).collect();
        let got = stream_of(events);
        let said: Vec<Value> = events_of(&got, kind);
        assert_eq!((&got.step, said), (&Step::Done, chunks.map(|chunk| json!(chunk)).to_vec()), "{kind}");
        // What is no audio is a text, from its beginning.
        assert_eq!(stream_of(vec![audio("alice"), audio(&MAIL[5..])]).step, UNKNOWN, "{kind}");
        let got = stream_of(vec![audio("to "), audio("alice"), audio(&MAIL[5..])]);
        assert_eq!((&got.step, &*joined(&got, kind)), (&Step::Done, "to [EMAIL_1]"), "{kind}");
        let spoken = deltas(&format!("{kind}.transcript"), &place, &format!("to {MAIL}"), 3);
        let got = stream_of(spoken);
        assert_eq!(joined(&got, &format!("{kind}.transcript")), "to [EMAIL_1]");
    }
}

fn events_of(got: &Got, kind: &str) -> Vec<Value> {
    let said = events(&got.text).into_iter().filter(|said| said.data["type"] == format!("{kind}.delta"));
    said.map(|said| said.data["delta"].clone()).collect()
}

fn locations(options: &Options, form: Form, body: &str) -> Vec<String> {
    let mut pipeline = Pipeline::new(copy(options), Masker::new());
    pipeline.begin(form);
    let mut out = Vec::new();
    if pipeline.push(body.as_bytes(), &mut out) == Step::More {
        let _ = pipeline.finish(&mut out);
    }
    assert!(!String::from_utf8_lossy(&out).contains("bob@corp"));
    pipeline.masker().findings().iter().map(|finding| finding.location.clone()).collect()
}

#[test]
fn places_are_named_without_what_they_hold() {
    let item = json!({"type": "x", "text": "bob@corp.net", "attributes":
        {"alice@corp.com": "bob@corp.com", "k".repeat(9000): ["bob@corp.org"]}});
    let places = |at: &str| {
        vec![format!("{at}.attributes[*]"), format!("{at}.attributes[*][0]"), format!("{at}.text")]
    };
    let sorted = |mut found: Vec<String>| {
        found.sort();
        found
    };
    let responses = masking(Api::Responses);
    let response_with =
        |output: Value| json!({"object": "response", "status": "completed", "output": output});
    let body = response_with(json!([{"type": "y"}, item])).to_string();
    assert_eq!(sorted(locations(&responses, Form::Plain, &body)), places("output[1]"));
    let done = json!({"type": "response.output_item.done", "output_index": 7, "item": item});
    assert_eq!(sorted(locations(&responses, Form::Events, &responses::stream(&[done]))), places("output[7]"));
    let last = json!({"type": "response.completed", "response": response_with(json!([{"type": "y"}, item]))});
    assert_eq!(sorted(locations(&responses, Form::Events, &responses::stream(&[last]))), places("output[1]"));

    let messages = masking(Api::Messages);
    let body = json!({"type": "message", "content": [item]}).to_string();
    assert_eq!(sorted(locations(&messages, Form::Plain, &body)), places("content[0]"));
    let begun = start(3, &json!({"type": "x", "attributes": item["attributes"]}).to_string());
    assert_eq!(
        sorted(locations(&messages, Form::Events, &messages::stream(&[begun]))),
        places("content[3]")[..2].to_vec()
    );

    let body = json!({"choices": [{"index": 0, "message": item}]}).to_string();
    assert_eq!(sorted(locations(&masking(Api::Chat), Form::Plain, &body)), places("choices[0].message"));
    let delta = delta(3, r#"{"type":"citations_delta","citation":{"cited_text":"bob@corp.com"}}"#);
    let open = start(3, r#"{"type":"text","text":""}"#);
    assert_eq!(
        locations(&messages, Form::Events, &messages::stream(&[open, delta])),
        ["content[3].citation.cited_text"]
    );
    let refusal =
        json!({"type": "message_delta", "delta": {"stop_details": {"explanation": "bob@corp.com"}}});
    assert_eq!(
        locations(&messages, Form::Events, &format!("data: {refusal}\n\n")),
        ["stop_details.explanation"]
    );
}

#[test]
fn more_texts_than_can_be_read_end_the_answer() {
    let list = |texts: usize| format!(r#"["","{}"]"#, vec!["a"; texts].join(r#"",""#));
    let push = |options: &Options, form, body: &str| push_all(options, form, [body.as_bytes()]);
    let (fits, many) = (list(1 << 18), list((1 << 18) + 1));
    let plain = |list: &str| format!(r#"{{"object":"chat.completion","choices":[],"notes":{list}}}"#);
    assert_eq!(push(&masking(Api::Chat), Form::Plain, &plain(&fits)).text, plain(&fits));
    assert_eq!(push(&Options::new(Api::Chat), Form::Plain, &plain(&many)).text, plain(&many));
    let too_many = Step::GuardFailed("too many texts in one answer");
    assert_eq!(push(&masking(Api::Chat), Form::Plain, &plain(&many)).step, too_many);
    for (api, event) in [
        (Api::Chat, format!(r#"{{"choices":[],"usage":{{}},"notes":{many}}}"#)),
        (Api::Messages, format!(r#"{{"type":"message_start","message":{{"notes":{many}}}}}"#)),
        (Api::Responses, format!(r#"{{"type":"response.created","notes":{many}}}"#)),
    ] {
        let got = push(&masking(api), Form::Events, &format!("data: {event}\n\n"));
        assert_eq!(got.step, too_many, "{api:?}");
    }
    let choices = format!(r#"{{"choices":[{}]}}"#, vec!["{}"; 70_000].join(","));
    let got = push_all(&masking(Api::Chat), Form::Plain, [choices.as_bytes()]);
    assert_eq!(got.step, too_many);
    assert_eq!(push_all(&Options::new(Api::Chat), Form::Plain, [choices.as_bytes()]).text, choices);
}

#[test]
fn more_items_than_can_be_told_apart_end_the_answer() {
    let items = (0..5000)
        .map(|at| json!({"type": "response.output_item.done", "output_index": at, "item": {"type": "x"}}));
    let events: Vec<Value> = items.collect();
    let text = responses::stream(&events);
    let got = push_all(&masking(Api::Responses), Form::Events, [text.as_bytes()]);
    assert_eq!(got.step, Step::GuardFailed("too many items in one answer"));
}
