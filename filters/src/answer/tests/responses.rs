use serde_json::json;

use super::*;
use crate::answer::responses::FAMILIES;

/// Numbers events, and joins them with their `event:` lines.
pub(super) fn stream(events: &[Value]) -> String {
    let mut text = String::new();
    for (at, event) in events.iter().enumerate() {
        let mut event = event.clone();
        event["sequence_number"] = json!(at);
        let kind = event["type"].as_str().expect("a type");
        text.push_str(&format!("event: {kind}\ndata: {event}\n\n"));
    }
    text
}

pub(super) fn response(status: &str, output: &Value) -> Value {
    json!({"id": "resp_1", "object": "response", "created_at": 1, "status": status, "error": null, "incomplete_details": null,
        "instructions": "Be brief", "model": "gpt-5-mini", "output": output, "parallel_tool_calls": true, "tools": [],
        "usage": if status == "in_progress" { Value::Null } else {
            json!({"input_tokens": 9, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 5,
                "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 14})
        }, "metadata": {}})
}

pub(super) fn message_item(text: &str, status: &str) -> Value {
    json!({"type": "message", "id": "msg_1", "status": status, "role": "assistant", "content": [
        {"type": "output_text", "text": text, "annotations": [], "logprobs": [{"token": text, "logprob": -0.5}]}]})
}

fn call_item(arguments: &str) -> Value {
    json!({"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "send", "arguments": arguments, "status": "completed"})
}

fn reasoning_item(text: &str) -> Value {
    json!({"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": text}], "encrypted_content": "gAAAAABo"})
}

pub(super) fn deltas(kind: &str, place: &Value, text: &str, size: usize) -> Vec<Value> {
    let chars: Vec<char> = text.chars().collect();
    chars
        .chunks(size)
        .map(|piece| {
            let mut event = place.clone();
            event["type"] = json!(format!("{kind}.delta"));
            event["delta"] = json!(piece.iter().collect::<String>());
            if kind.ends_with("output_text") {
                event["logprobs"] = json!([{"token": piece.iter().collect::<String>(), "logprob": -0.1}]);
            }
            event
        })
        .collect()
}

pub(super) fn with(mut event: Value, kind: &str, members: &Value) -> Value {
    event["type"] = json!(kind);
    for (key, member) in members.as_object().expect("members") {
        event[key] = member.clone();
    }
    event
}

/// A reasoning summary, a message and a call, each with `text` in it.
fn whole(text: &str, size: usize, status: &str) -> Vec<Value> {
    let arguments = json!({"to": text, "n": 1}).to_string();
    let mut events = vec![
        json!({"type": "response.created", "response": response("in_progress", &json!([]))}),
        json!({"type": "response.in_progress", "response": response("in_progress", &json!([]))}),
    ];
    let place = json!({"item_id": "rs_1", "output_index": 0, "summary_index": 0});
    let item = json!({"type": "reasoning", "id": "rs_1", "summary": []});
    events.push(json!({"type": "response.output_item.added", "output_index": 0, "item": item}));
    let part = |text: &str| json!({"part": {"type": "summary_text", "text": text}});
    events.push(with(place.clone(), "response.reasoning_summary_part.added", &part("")));
    events.extend(deltas("response.reasoning_summary_text", &place, text, size));
    events.push(with(place.clone(), "response.reasoning_summary_text.done", &json!({"text": text})));
    events.push(with(place, "response.reasoning_summary_part.done", &part(text)));
    events
        .push(json!({"type": "response.output_item.done", "output_index": 0, "item": reasoning_item(text)}));

    let place = json!({"item_id": "msg_1", "output_index": 1, "content_index": 0});
    let mut item = message_item("", "in_progress");
    item["content"] = json!([]);
    events.push(json!({"type": "response.output_item.added", "output_index": 1, "item": item}));
    let part = |text: &str| json!({"part": {"type": "output_text", "text": text, "annotations": [], "logprobs": []}});
    events.push(with(place.clone(), "response.content_part.added", &part("")));
    events.extend(deltas("response.output_text", &place, text, size));
    events.push(with(place.clone(), "response.output_text.done", &json!({"text": text, "logprobs": []})));
    events.push(with(place, "response.content_part.done", &part(text)));
    events.push(
        json!({"type": "response.output_item.done", "output_index": 1, "item": message_item(text, status)}),
    );

    let place = json!({"item_id": "fc_1", "output_index": 2});
    events.push(json!({"type": "response.output_item.added", "output_index": 2, "item": call_item("")}));
    events.extend(deltas("response.function_call_arguments", &place, &arguments, size));
    events.push(with(place, "response.function_call_arguments.done", &json!({"arguments": arguments})));
    events
        .push(json!({"type": "response.output_item.done", "output_index": 2, "item": call_item(&arguments)}));
    let output = json!([reasoning_item(text), message_item(text, status), call_item(&arguments)]);
    events.push(json!({"type": format!("response.{status}"), "response": response(status, &output)}));
    events
}

fn numbers(got: &Got) {
    for (at, said) in events(&got.text).iter().enumerate() {
        assert_eq!(said.data["sequence_number"], json!(at), "{:?}", said.data);
        assert_eq!(said.name.as_deref(), said.data["type"].as_str());
    }
}

pub(super) fn joined(got: &Got, kind: &str) -> String {
    events(&got.text)
        .iter()
        .filter(|said| said.data["type"] == format!("{kind}.delta"))
        .filter_map(|said| said.data["delta"].as_str().map(str::to_owned))
        .collect()
}

pub(super) fn find(got: &Got, kind: &str) -> Value {
    events(&got.text).into_iter().find(|said| said.data["type"] == kind).map_or(Value::Null, |said| said.data)
}

#[test]
fn without_a_guard_every_byte_passes() {
    let input = stream(&whole("Hello there", 3, "completed"));
    let got = run(&Options::new(Api::Responses), Form::Events, &input);
    assert_eq!((got.text.as_str(), &got.step), (&*input, &Step::Done));
    let usage = Usage { input: 9, output: 5, cache_read: 4, reasoning: 2, ..Usage::default() };
    assert_eq!((got.usage, got.reason.as_deref()), (Some(usage), Some("completed")));
}

#[test]
fn one_text_is_masked_alike_wherever_it_stands() {
    let (text, masked) = (format!("Write to {MAIL}, please"), "Write to [EMAIL_1], please");
    for size in [1, 4, 100] {
        let got = run(&masking(Api::Responses), Form::Events, &stream(&whole(&text, size, "completed")));
        assert_eq!(got.step, Step::Done);
        assert_no_leak(&got.text, MAIL);
        numbers(&got);
        assert_eq!(joined(&got, "response.output_text"), masked);
        assert_eq!(joined(&got, "response.reasoning_summary_text"), masked);
        assert_eq!(find(&got, "response.output_text.done")["text"], masked);
        assert_eq!(find(&got, "response.content_part.done")["part"]["text"], masked);
        let arguments = json!({"to": "Write to email-1@masked.invalid, please", "n": 1}).to_string();
        assert_eq!(joined(&got, "response.function_call_arguments"), arguments);
        assert_eq!(find(&got, "response.function_call_arguments.done")["arguments"], json!(arguments));
        let output = &find(&got, "response.completed")["response"]["output"];
        assert_eq!(output[0]["summary"][0]["text"], masked);
        assert_eq!(output[0]["encrypted_content"], "gAAAAABo");
        assert_eq!(output[1]["content"][0]["text"], masked);
        assert_eq!(output[1]["content"][0]["logprobs"], json!([]));
        assert_eq!(output[2]["arguments"], json!(arguments));
        assert_eq!(got.findings, 3, "one text in each of three items, counted once");
    }
}

#[test]
fn tokens_apart_from_their_text_do_not_leave_in_clear() {
    let place = json!({"item_id": "msg_1", "output_index": 0, "content_index": 0});
    let created = json!({"type": "response.created", "response": response("in_progress", &json!([]))});
    let mut input = vec![created.clone()];
    for piece in deltas("response.output_text", &place, MAIL, 3) {
        let (mut tokens, mut text) = (piece.clone(), piece);
        tokens["delta"] = json!("");
        text["logprobs"] = json!([]);
        input.extend([tokens, text]);
    }
    let item = message_item(MAIL, "completed");
    let tokens = item["content"][0]["logprobs"].clone();
    input.push(with(place.clone(), "response.output_text.done", &json!({"logprobs": tokens})));
    input.push(json!({"type": "response.completed", "response": response("completed", &json!([item]))}));
    let got = run(&masking(Api::Responses), Form::Events, &stream(&input));
    assert_eq!((got.step.clone(), joined(&got, "response.output_text").as_str()), (Step::Done, "[EMAIL_1]"));
    assert!(!got.text.contains("token\""), "{}", got.text);
    let mut harmless = vec![created];
    harmless.extend(deltas("response.output_text", &place, "Good day, ", 20));
    harmless.push(json!({"type": "response.completed", "response": response("completed", &json!([]))}));
    assert_eq!(run(&masking(Api::Responses), Form::Events, &stream(&harmless)).text, stream(&harmless));
}

#[test]
fn indexes_are_read_as_clients_read_them() {
    let place =
        |output: u32, part: u32| json!({"item_id": "msg_1", "output_index": output, "content_index": part});
    for (item, part) in [(1, 0), (0, 1)] {
        let left = deltas("response.output_text", &place(0, 0), MAIL, 3);
        let right = deltas("response.output_text", &place(item, part), &MAIL.to_uppercase(), 3);
        let mut input =
            vec![json!({"type": "response.created", "response": response("in_progress", &json!([]))})];
        input.extend(left.into_iter().zip(right).flat_map(|(left, right)| [left, right]));
        input.push(json!({"type": "response.completed", "response": response("completed", &json!([]))}));
        for (one, step) in [
            ("1.0", Step::Done),
            ("1e0", Step::Done),
            ("1.5", Step::GuardFailed("an event of unknown form")),
            ("\"1\"", Step::GuardFailed("an event of unknown form")),
        ] {
            let spelled = ["output_index", "content_index"].iter().fold(stream(&input), |text, key| {
                text.replace(&format!("\"{key}\":1"), &format!("\"{key}\":{one}"))
            });
            let got = run(&masking(Api::Responses), Form::Events, &spelled);
            assert_eq!(got.step, step, "{one}");
            if step == Step::Done {
                assert_eq!(joined(&got, "response.output_text"), "[EMAIL_1][EMAIL_1]", "{one}");
            }
        }
    }
}

#[test]
fn a_rest_leaves_before_the_done_that_repeats_it() {
    let got = run(&masking(Api::Responses), Form::Events, &stream(&whole("so long", 2, "completed")));
    assert_eq!(joined(&got, "response.output_text"), "so long");
    numbers(&got);
    let kinds: Vec<String> =
        events(&got.text).iter().map(|said| said.data["type"].as_str().expect("a type").to_owned()).collect();
    let last_delta = kinds.iter().rposition(|kind| kind == "response.output_text.delta").expect("a delta");
    let done = kinds.iter().position(|kind| kind == "response.output_text.done").expect("done");
    assert_eq!(done, last_delta + 1);
    assert_eq!(kinds[done + 1..done + 3], ["response.content_part.done", "response.output_item.done"]);
    assert_eq!(got.findings, 0);
}

#[test]
fn what_is_cut_short_is_cut_alike() {
    let text = format!("Write to {}", &MAIL[..MAIL.len() - 4]);
    let got = run(&masking(Api::Responses), Form::Events, &stream(&whole(&text, 3, "incomplete")));
    assert_eq!(got.step, Step::Done);
    numbers(&got);
    let masked = joined(&got, "response.output_text");
    assert_eq!(masked, "Write to [EMAIL_1]");
    assert_eq!(joined(&got, "response.reasoning_summary_text"), text, "that item was whole");
    assert_eq!(find(&got, "response.output_text.done")["text"], json!(masked));
    let output = &find(&got, "response.incomplete")["response"]["output"];
    assert_eq!(output[1]["content"][0]["text"], json!(masked));
}

#[test]
fn a_block_ends_incomplete() {
    let text = format!("Write to {MAIL}, please");
    for size in [1, 5, 100] {
        let got = run(&blocking(Api::Responses), Form::Events, &stream(&whole(&text, size, "completed")));
        assert_eq!((got.step.clone(), got.reason.as_deref()), (Step::Blocked, Some("incomplete")));
        assert_no_leak(&got.text, MAIL);
        numbers(&got);
        assert_eq!(joined(&got, "response.reasoning_summary_text"), "Write to ");
        let last = find(&got, "response.incomplete");
        assert_eq!(last["response"]["status"], "incomplete");
        assert_eq!(last["response"]["incomplete_details"], json!({"reason": "content_filter"}));
        assert_eq!(last["response"]["id"], "resp_1");
        assert!(last["response"]["usage"]["output_tokens"].is_u64());
    }
}

/// Each text is counted once, whether its item had deltas or not, and wherever it stands first.
#[test]
fn what_stands_only_in_a_done_is_counted() {
    let arguments = json!({"to": MAIL}).to_string();
    let call = json!({"type": "mcp_call", "id": "mcp_1", "name": "send", "server_label": "mail", "arguments": arguments,
        "output": "sent to bob.builder@example-corp.com", "status": "completed"});
    let run_code = json!({"type": "code_interpreter_call", "id": "ci_1", "code": "print(1)", "status": "completed",
        "outputs": [{"type": "logs", "logs": format!("{MAIL}\n")}, {"type": "logs", "logs": "4111 1111 1111 1111"}]});
    let found = json!({"type": "file_search_call", "id": "fs_1", "queries": [format!("mail of {MAIL}")], "status": "completed",
        "results": [{"text": format!("{MAIL}, she said"), "filename": "a.txt", "score": 0.5}]});
    let mut message = message_item(&format!("Ask {MAIL}."), "completed");
    message["content"][0]["annotations"] =
        json!([{"type": "url_citation", "url": format!("mailto:{MAIL}"), "title": "t"}]);
    let output = json!([call, run_code, found, message]);
    let mut input =
        vec![json!({"type": "response.created", "response": response("in_progress", &json!([]))})];
    let place = json!({"item_id": "mcp_1", "output_index": 0});
    input.extend(deltas("response.mcp_call_arguments", &place, &arguments, 4));
    input.push(with(place, "response.mcp_call_arguments.done", &json!({"arguments": arguments})));
    let place = json!({"item_id": "ci_1", "output_index": 1});
    input.extend(deltas("response.code_interpreter_call_code", &place, "print(1)", 3));
    input.push(with(place, "response.code_interpreter_call_code.done", &json!({"code": "print(1)"})));
    let place = json!({"item_id": "msg_1", "output_index": 3, "content_index": 0});
    input.extend(deltas("response.output_text", &place, &format!("Ask {MAIL}."), 4));
    input.push(with(place, "response.output_text.done", &json!({"text": format!("Ask {MAIL}.")})));
    for (index, item) in output.as_array().expect("items").iter().enumerate() {
        input.push(json!({"type": "response.output_item.done", "output_index": index, "item": item}));
    }
    let mut last = response("completed", &output);
    last["output_text"] = json!(format!("Ask {MAIL}."));
    input.push(json!({"type": "response.completed", "response": last}));
    for options in
        [masking(Api::Responses), Options { guard: guard(|_| Action::Log), ..Options::new(Api::Responses) }]
    {
        let got = run(&options, Form::Events, &stream(&input));
        // Arguments and output, two logs, query and result, text and annotation.
        assert_eq!((&got.step, got.findings), (&Step::Done, 8));
    }
    let got = run(&masking(Api::Responses), Form::Events, &stream(&input));
    assert_no_leak(&got.text, MAIL);
    assert_no_leak(&got.text, "bob.builder@");
}

/// What ends the stream is the first response again: as the client got it, not as it came.
#[test]
fn a_block_repeats_nothing_unmasked() {
    let first = response("in_progress", &json!([message_item(&format!("Ask {MAIL}."), "completed")]));
    let place = json!({"item_id": "msg_2", "output_index": 1, "content_index": 0});
    let mut input = vec![json!({"type": "response.created", "response": first})];
    input.extend(deltas("response.output_text", &place, "Pay by 4111 1111 1111 1111 now", 4));
    input.push(json!({"type": "response.completed", "response": response("completed", &json!([]))}));
    let action = |kind: &str| if kind == "credit_card" { Action::Block } else { Action::Mask };
    let options =
        Options { guard: guard(action), model: Some("house".to_owned()), ..Options::new(Api::Responses) };
    let got = run(&options, Form::Events, &stream(&input));
    assert_eq!(got.step, Step::Blocked);
    assert_no_leak(&got.text, MAIL);
    let last = find(&got, "response.incomplete")["response"].clone();
    assert_eq!((&last["model"], &last["status"]), (&json!("house"), &json!("incomplete")));
    assert_eq!(last["output"][0]["content"][0]["text"], "Ask [EMAIL_1].");
}

#[test]
fn arguments_are_masked_alike_however_their_events_are_called() {
    let arguments = json!({"to": MAIL, "card": 4_111_111_111_111_111_u64}).to_string();
    let masked = r#"{"to":"email-1@masked.invalid","card":9000000000000001}"#;
    for kind in
        ["response.mcp_call.arguments", "response.mcp_call_arguments", "response.function_call_arguments"]
    {
        let place = json!({"item_id": "i", "output_index": 0});
        let item = json!({"type": "mcp_call", "id": "i", "name": "send", "arguments": arguments, "status": "completed"});
        let mut input =
            vec![json!({"type": "response.created", "response": response("in_progress", &json!([]))})];
        input.extend(deltas(kind, &place, &arguments, 3));
        input.push(with(place, &format!("{kind}.done"), &json!({"arguments": arguments})));
        input.push(json!({"type": "response.output_item.done", "output_index": 0, "item": item}));
        input.push(json!({"type": "response.completed", "response": response("completed", &json!([item]))}));
        let got = run(&masking(Api::Responses), Form::Events, &stream(&input));
        assert_eq!((&got.step, joined(&got, kind).as_str()), (&Step::Done, masked), "{kind}");
        assert_eq!(find(&got, &format!("{kind}.done"))["arguments"], masked);
        assert_eq!(find(&got, "response.completed")["response"]["output"][0]["arguments"], masked);
        assert_eq!(got.findings, 2, "{kind}");
    }
}

#[test]
fn unknown_kinds_of_deltas_are_lanes() {
    let place = json!({"item_id": "x_1", "output_index": 0});
    let mut input =
        vec![json!({"type": "response.created", "response": response("in_progress", &json!([]))})];
    input.extend(deltas("response.brand_new", &place, &format!("to {MAIL} now"), 2));
    input.push(with(place, "response.brand_new.done", &json!({"words": format!("to {MAIL} now")})));
    input.push(json!({"type": "response.completed", "response": response("completed", &json!([]))}));
    let got = run(&masking(Api::Responses), Form::Events, &stream(&input));
    assert_eq!(
        (got.step.clone(), joined(&got, "response.brand_new")),
        (Step::Done, "to [EMAIL_1] now".to_owned())
    );
    assert_eq!(find(&got, "response.brand_new.done")["words"], "to [EMAIL_1] now");
    assert_no_leak(&got.text, MAIL);
    numbers(&got);
}

/// Of a kind that is not known nothing but a `delta` says that its text goes on, and nothing but `done` that it is whole.
#[test]
fn other_texts_of_unknown_kinds_end_the_answer() {
    assert!(FAMILIES.is_sorted());
    let event = |kind: &str, members: Value| with(json!({"item_id": "i"}), kind, &members);
    let words = json!({"words": "to ali"});
    for (event, ends) in [
        (event("response.brand_new", words.clone()), true),
        (event("brand_new", words.clone()), true),
        (event("response.brand_new.delta", json!({"delta": "a", "words": "to ali"})), true),
        (event("response.brand_new.delta", json!({"delta": "a"})), false),
        (event("response.brand_new", json!({"n": 1, "id": "x"})), false),
        (event("response.web_search_call.searching", words), false),
    ] {
        let text = stream(&[
            json!({"type": "response.created", "response": response("in_progress", &json!([]))}),
            event.clone(),
            json!({"type": "response.completed", "response": response("completed", &json!([]))}),
        ]);
        let expect = if ends { Step::GuardFailed("an event of unknown form") } else { Step::Done };
        assert_eq!(run(&masking(Api::Responses), Form::Events, &text).step, expect, "{event}");
        assert_eq!(run(&Options::new(Api::Responses), Form::Events, &text).step, Step::Done, "{event}");
    }
}

#[test]
fn broken_streams_and_errors() {
    let all = whole("Hello there", 4, "completed");
    for options in [Options::new(Api::Responses), masking(Api::Responses)] {
        for cut in 0..all.len() {
            let got = run(&options, Form::Events, &stream(&all[..cut]));
            assert!(
                matches!(&got.step, Step::UpstreamFailed(fault) if fault.kind == FaultKind::Truncated),
                "{cut}"
            );
            assert!(cut > 4 || got.text.is_empty() && !got.content, "{cut}: {}", got.text);
        }
        for error in [
            json!({"type": "error", "code": "rate_limit_exceeded", "message": "slow down", "param": null}),
            json!({"type": "response.failed", "response": {"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "slow down"}}}),
        ] {
            let got = run(&options, Form::Events, &stream(&[all[0].clone(), error]));
            let Step::UpstreamFailed(fault) = &got.step else { panic!("{:?}", got.step) };
            assert_eq!((fault.status, &*fault.message, got.text.as_str()), (Some(429), "slow down", ""));
        }
    }
    let mut pipeline = Pipeline::new(masking(Api::Responses), Masker::new());
    pipeline.begin(Form::Events);
    let mut out = Vec::new();
    assert_eq!(pipeline.push(stream(&all[..7]).as_bytes(), &mut out), Step::More);
    let rejection = Rejection::new(crate::verdict::Code::UpstreamError, "broken; try again");
    pipeline.fail(&rejection, "req-1", &mut out);
    let text = String::from_utf8(out).expect("UTF-8");
    let last = events(&text).pop().expect("an event").data;
    assert_eq!((&last["type"], &last["code"]), (&json!("error"), &json!("UPSTREAM_ERROR")));
    assert_eq!(last["error"]["message"], "broken; try again");
    assert!(last["sequence_number"].is_u64());
}
