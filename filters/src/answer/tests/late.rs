//! What comes after the end of a text, and texts that end before they are whole.

use serde_json::json;

use super::messages::{START, STOP, delta, end, lane, message, start, stop, text_block};
use super::responses::{deltas, find, joined, message_item, response, with};
use super::*;

const LATE: Step = Step::GuardFailed("a text goes on after its end");

fn said(text: &str) -> String {
    delta(0, &format!(r#"{{"type":"text_delta","text":"{text}"}}"#))
}

fn messages_of(events: &[String]) -> Got {
    run(&masking(Api::Messages), Form::Events, &messages::stream(events))
}

#[test]
fn a_message_may_say_more_than_once_what_it_cost() {
    let (left, right) = MAIL.split_at(9);
    let counted =
        r#"{"type":"message_delta","delta":{"stop_reason":null},"usage":{"output_tokens":7}}"#.to_owned();
    let begin = start(0, r#"{"type":"text","text":""}"#);
    let events = [
        START.to_owned(),
        begin,
        said(left),
        counted.clone(),
        said(right),
        stop(0),
        counted,
        end("end_turn"),
        STOP.to_owned(),
    ];
    let got = messages_of(&events);
    assert_eq!((&got.step, &*lane(&got, 0, "text")), (&Step::Done, "[EMAIL_1]"));
}

#[test]
fn blocks_do_not_go_on_after_their_end() {
    let (left, right) = MAIL.split_at(9);
    let begin = || start(0, r#"{"type":"text","text":""}"#);
    let thought = |text: &str| delta(0, &format!(r#"{{"type":"thinking_delta","thinking":"{text}"}}"#));
    let signature = delta(0, r#"{"type":"signature_delta","signature":"EqQB"}"#);
    let cases = [
        vec![begin(), said(left), stop(0), said(right)],
        vec![begin(), said(left), stop(0), begin(), said(right), stop(0)],
        vec![begin(), said(left), stop(0), start(0, &format!(r#"{{"type":"text","text":"{right}"}}"#))],
        vec![begin(), said(left), end("end_turn"), said(right)],
        vec![said(left), stop(0), said(right)],
        vec![
            start(0, r#"{"type":"thinking","thinking":"","signature":""}"#),
            thought(left),
            signature,
            thought(right),
        ],
    ];
    for case in cases {
        let mut events = vec![START.to_owned()];
        events.extend(case);
        events.extend([end("end_turn"), STOP.to_owned()]);
        let got = messages_of(&events);
        assert_no_leak(&got.text, right);
        assert_eq!(got.step, LATE, "{events:?}");
    }
    // Not every upstream says that a block begins.
    let events = [START.to_owned(), said(left), said(right), stop(0), end("end_turn"), STOP.to_owned()];
    let got = messages_of(&events);
    assert_eq!((&got.step, &*lane(&got, 0, "text")), (&Step::Done, "[EMAIL_1]"));
    let mut empty = message(vec![text_block(0, "Good day", 3)], "end_turn");
    empty.insert(empty.len() - 2, said(""));
    assert_eq!(messages_of(&empty).step, Step::Done);
}

fn responses_of(events: &[Value]) -> Got {
    run(&masking(Api::Responses), Form::Events, &responses::stream(events))
}

fn created() -> Value {
    json!({"type": "response.created", "response": response("in_progress", &json!([]))})
}

fn ended(status: &str, output: &Value) -> Value {
    json!({"type": format!("response.{status}"), "response": response(status, output)})
}

#[test]
fn items_do_not_go_on_after_their_end() {
    let (left, right) = MAIL.split_at(9);
    let place = |id: &str| json!({"item_id": id, "output_index": 0, "content_index": 0});
    let text = |id: &str, text: &str| {
        with(place(id), "response.output_text.delta", &json!({"delta": text, "logprobs": []}))
    };
    let done = with(place("msg_1"), "response.output_text.done", &json!({"text": left}));
    let part = with(
        place("msg_1"),
        "response.content_part.done",
        &json!({"part": {"type": "output_text", "text": left, "annotations": []}}),
    );
    let item = json!({"type": "response.output_item.done", "output_index": 0, "item": message_item(left, "completed")});
    for end in [vec![done.clone()], vec![part], vec![item.clone()], vec![done.clone(), item]] {
        let mut events = vec![created(), text("msg_1", left)];
        events.extend(end);
        events.extend([text("msg_1", right), ended("completed", &json!([]))]);
        let got = responses_of(&events);
        assert_no_leak(&got.text, right);
        assert_eq!(got.step, LATE, "{events:?}");
    }
    // Some call every item the first; their ids tell them apart.
    let events = [
        created(),
        text("msg_1", left),
        done,
        text("msg_1", ""),
        text("msg_2", "Write to "),
        text("msg_2", MAIL),
        ended("completed", &json!([])),
    ];
    let got = responses_of(&events);
    assert_eq!(got.step, Step::Done);
    assert_eq!(joined(&got, "response.output_text"), format!("{left}Write to [EMAIL_1]"));
    assert!(got.text.contains(r#""item_id":"msg_2","output_index":0,"content_index":0,"delta":"[EMAIL_1]""#));
}

#[test]
fn an_item_may_be_cut_without_a_done_of_its_own() {
    let text = format!("Write to {}", &MAIL[..MAIL.len() - 4]);
    let place = json!({"item_id": "msg_1", "output_index": 0, "content_index": 0});
    for size in [1, 4, 100] {
        let mut events = vec![created()];
        events.extend(deltas("response.output_text", &place, &text, size));
        let item = message_item(&text, "incomplete");
        events.push(json!({"type": "response.output_item.done", "output_index": 0, "item": item}));
        events.push(ended("incomplete", &json!([item])));
        let got = responses_of(&events);
        assert_eq!(got.step, Step::Done);
        assert_eq!(joined(&got, "response.output_text"), "Write to [EMAIL_1]");
        for (kind, item) in
            [("response.output_item.done", "/item"), ("response.incomplete", "/response/output/0")]
        {
            let text = find(&got, kind).pointer(&format!("{item}/content/0/text")).cloned();
            assert_eq!(text, Some(json!("Write to [EMAIL_1]")), "{kind}");
        }
    }
}

/// Only what says that nothing was cut off lets go what may be the beginning of a value.
#[test]
fn whatever_cuts_a_text_gives_nothing_of_a_value_away() {
    let cut = format!("Write to {}", &MAIL[..MAIL.len() - 4]);
    let expect = |whole: bool| if whole { cut.as_str() } else { "Write to [EMAIL_1]" };
    for (reason, whole) in [
        ("end_turn", true),
        ("tool_use", true),
        ("max_tokens", false),
        ("model_context_window_exceeded", false),
        ("stop_sequence", false),
        ("refusal", false),
        ("pause_turn", false),
        ("brand_new", false),
    ] {
        let events = message(vec![text_block(0, &cut, 5)], reason);
        let got = run(&masking(Api::Messages), Form::Events, &messages::stream(&events));
        assert_eq!((&got.step, &*lane(&got, 0, "text")), (&Step::Done, expect(whole)), "{reason}");
        let body = json!({"type": "message", "role": "assistant", "stop_reason": reason,
            "content": [{"type": "text", "text": "x"}, {"type": "text", "text": cut}]});
        let got = run(&masking(Api::Messages), Form::Plain, &body.to_string());
        let answer: Value = serde_json::from_str(&got.text).expect("JSON");
        assert_eq!(answer["content"][1]["text"], expect(whole), "{reason}");
    }
    let choice = |members: Value| {
        let mut choice = json!({"index": 0, "message": {"role": "assistant", "content": cut}});
        for (key, member) in members.as_object().expect("members") {
            choice[key] = member.clone();
        }
        let body = json!({"object": "chat.completion", "choices": [choice]});
        let got = run(&masking(Api::Chat), Form::Plain, &body.to_string());
        let answer: Value = serde_json::from_str(&got.text).expect("JSON");
        answer["choices"][0]["message"]["content"].clone()
    };
    for (members, whole) in [
        (json!({}), true),
        (json!({"finish_reason": null}), true),
        (json!({"finish_reason": "stop"}), true),
        (json!({"finish_reason": "stop", "stop_reason": null}), true),
        (json!({"finish_reason": "stop", "stop_reason": 151_645, "matched_stop": 151_645}), true),
        (json!({"finish_reason": "tool_calls"}), true),
        (json!({"finish_reason": "function_call"}), true),
        (json!({"finish_reason": "length"}), false),
        (json!({"finish_reason": "content_filter"}), false),
        (json!({"finish_reason": "abort"}), false),
        (json!({"finish_reason": "stop", "stop_reason": ".com"}), false),
        (json!({"finish_reason": "stop", "matched_stop": ".com"}), false),
    ] {
        assert_eq!(choice(members.clone()), expect(whole), "{members}");
    }
}
