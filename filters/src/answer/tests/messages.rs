use super::*;

pub(super) const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":10,"cache_creation_input_tokens":20,"cache_read_input_tokens":30,"output_tokens":1}}}"#;
const PING: &str = r#"{"type":"ping"}"#;
pub(super) const STOP: &str = r#"{"type":"message_stop"}"#;

pub(super) fn start(index: u32, block: &str) -> String {
    format!(r#"{{"type":"content_block_start","index":{index},"content_block":{block}}}"#)
}

pub(super) fn delta(index: u32, delta: &str) -> String {
    format!(r#"{{"type":"content_block_delta","index":{index},"delta":{delta}}}"#)
}

pub(super) fn stop(index: u32) -> String {
    format!(r#"{{"type":"content_block_stop","index":{index}}}"#)
}

pub(super) fn end(reason: &str) -> String {
    format!(
        r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}","stop_sequence":null}},"usage":{{"output_tokens":42}}}}"#
    )
}

/// Joins events with their `event:` lines.
pub(super) fn stream<S: AsRef<str>>(events: &[S]) -> String {
    let mut text = String::new();
    for data in events.iter().map(AsRef::as_ref) {
        let kind = data.split('"').nth(3).expect("a type first");
        text.push_str(&format!("event: {kind}\ndata: {data}\n\n"));
    }
    text
}

pub(super) fn block(
    index: u32,
    kind: &str,
    begin: &str,
    field: &str,
    text: &str,
    size: usize,
) -> Vec<String> {
    let mut events = vec![start(index, begin)];
    for piece in pieces(text, size) {
        events.push(delta(index, &format!(r#"{{"type":"{kind}","{field}":"{piece}"}}"#)));
    }
    events.push(stop(index));
    events
}

pub(super) fn text_block(index: u32, text: &str, size: usize) -> Vec<String> {
    block(index, "text_delta", r#"{"type":"text","text":""}"#, "text", text, size)
}

pub(super) fn message(blocks: Vec<Vec<String>>, reason: &str) -> Vec<String> {
    let mut events = vec![START.to_owned(), PING.to_owned()];
    events.extend(blocks.into_iter().flatten());
    events.extend([end(reason), STOP.to_owned()]);
    events
}

pub(super) fn lane(got: &Got, index: u32, field: &str) -> String {
    lanes(&events(&got.text))
        .remove(&format!("\"content_block_delta\"/{index}/.delta.{field}"))
        .unwrap_or_default()
}

pub(super) fn kinds(got: &Got) -> Vec<String> {
    events(&got.text)
        .iter()
        .map(|said| {
            assert_eq!(said.name.as_deref(), said.data["type"].as_str(), "event lines are mandatory");
            said.data["type"].as_str().expect("a type").to_owned()
        })
        .collect()
}

#[test]
fn without_a_guard_every_byte_passes_but_early_pings() {
    let thinking = block(
        0,
        "thinking_delta",
        r#"{"type":"thinking","thinking":"","signature":""}"#,
        "thinking",
        "hm",
        1,
    );
    let mut events = message(vec![thinking, text_block(1, "Hello", 2)], "end_turn");
    events.insert(6, delta(0, r#"{"type":"signature_delta","signature":"EqQBCgIYAhIM"}"#));
    events.insert(6, PING.to_owned());
    let got = run(&Options::new(Api::Messages), Form::Events, &stream(&events));
    events.remove(1);
    assert_eq!(got.text, stream(&events));
    let usage = Usage { input: 60, output: 42, cache_read: 30, cache_write: 20, ..Usage::default() };
    assert_eq!((got.usage, got.reason.as_deref()), (Some(usage), Some("end_turn")));
}

#[test]
fn values_are_masked_in_text_and_input() {
    let input = format!(r#"{{"to":"{MAIL}","n":[4111111111111111]}}"#);
    for size in [1, 6, 100] {
        let tool = block(
            1,
            "input_json_delta",
            r#"{"type":"tool_use","id":"toolu_1","name":"send_mail","input":{}}"#,
            "partial_json",
            &input,
            size,
        );
        let events = message(vec![text_block(0, &format!("To {MAIL}."), size), tool], "tool_use");
        let got = run(&masking(Api::Messages), Form::Events, &stream(&events));
        assert_eq!(got.step, Step::Done);
        assert_eq!(lane(&got, 0, "text"), "To [EMAIL_1].");
        assert_eq!(
            lane(&got, 1, "partial_json"),
            r#"{"to":"email-1@masked.invalid","n":[9000000000000001]}"#
        );
        assert!(
            got.text.contains(
                r#""content_block":{"type":"tool_use","id":"toolu_1","name":"send_mail","input":{}}"#
            )
        );
        assert_no_leak(&got.text, MAIL);
        assert_no_leak(&got.text, "4111111111111111");
        let kinds = kinds(&got);
        assert_eq!(kinds[0], "message_start");
        assert_eq!(kinds[kinds.len() - 2..], ["message_delta", "message_stop"]);
        assert_eq!(got.reason.as_deref(), Some("tool_use"));
        // Every block begins before its deltas and ends after them.
        let mut open = Vec::new();
        for said in super::events(&got.text) {
            let index = said.data["index"].as_u64();
            match said.data["type"].as_str() {
                Some("content_block_start") => open.extend(index),
                Some("content_block_delta") => assert!(open.contains(&index.expect("an index"))),
                Some("content_block_stop") => open.retain(|open| Some(*open) != index),
                _ => {}
            }
        }
        assert!(open.is_empty());
    }
}

#[test]
fn signed_thinking_is_never_altered() {
    let begin = r#"{"type":"thinking","thinking":"","signature":""}"#;
    let harmless = "I should think about this, step by step";
    for (text, passes) in [
        (harmless.to_owned(), true),
        (format!("Her address is {MAIL}, I think."), false),
        // Only the end says that it is one.
        (format!("Her address is {MAIL}"), false),
    ] {
        for size in [1, 9, 100] {
            let mut thinking = block(0, "thinking_delta", begin, "thinking", &text, size);
            thinking.insert(thinking.len() - 1, delta(0, r#"{"type":"signature_delta","signature":"EqQB"}"#));
            let events = message(vec![thinking, text_block(1, "Done.", 3)], "end_turn");
            let got = run(&masking(Api::Messages), Form::Events, &stream(&events));
            assert_no_leak(&got.text, MAIL);
            if passes {
                assert_eq!((got.step.clone(), lane(&got, 0, "thinking")), (Step::Done, text.clone()));
                assert_eq!(lane(&got, 0, "signature"), "EqQB");
                let deltas: Vec<Value> = super::events(&got.text)
                    .into_iter()
                    .map(|said| said.data["delta"]["type"].clone())
                    .collect();
                let signature = deltas.iter().position(|kind| kind == "signature_delta");
                let thinking = deltas.iter().rposition(|kind| kind == "thinking_delta");
                assert!(thinking < signature, "the signature comes last: {}", got.text);
                assert_eq!(lane(&got, 1, "text"), "Done.");
            } else {
                assert_eq!(got.step, Step::Blocked);
                assert!(text.starts_with(&lane(&got, 0, "thinking")));
                assert!(!got.text.contains("EMAIL_1") && !got.text.contains("EqQB"), "{}", got.text);
                let kinds = kinds(&got);
                assert_eq!(kinds[kinds.len() - 3..], ["content_block_stop", "message_delta", "message_stop"]);
                assert_eq!(got.reason.as_deref(), Some("refusal"));
            }
        }
    }
}

/// A block that is whole from its beginning has its text before, or beside, its signature.
#[test]
fn signed_thinking_may_come_at_once() {
    let begin =
        |text: &str| start(0, &format!(r#"{{"type":"thinking","thinking":"{text}","signature":"EqQB"}}"#));
    let both = |text: &str| {
        delta(0, &format!(r#"{{"type":"thinking_delta","thinking":"{text}","signature":"EqQB"}}"#))
    };
    let empty = start(0, r#"{"type":"thinking","thinking":"","signature":""}"#);
    let harmless = [vec![begin("step by step"), stop(0)], vec![empty.clone(), both("step by step"), stop(0)]];
    for block in harmless {
        let events = message(vec![block, text_block(1, "Done.", 3)], "end_turn");
        let got = run(&masking(Api::Messages), Form::Events, &stream(&events));
        assert_eq!(super::events(&got.text)[1].data, super::events(&stream(&events))[2].data);
        assert!(!got.text[got.text.find("EqQB").expect("a signature")..].contains("step"), "{}", got.text);
    }
    for block in [vec![begin(MAIL), stop(0)], vec![empty, both(MAIL), stop(0)]] {
        let events = message(vec![block], "end_turn");
        let got = run(&masking(Api::Messages), Form::Events, &stream(&events));
        assert_eq!((&got.step, got.text.contains("EqQB")), (&Step::Blocked, false), "{}", got.text);
        assert_no_leak(&got.text, MAIL);
    }
}

#[test]
fn indexes_are_read_as_clients_read_them() {
    let both = || text_block(0, MAIL, 3).into_iter().zip(text_block(1, &MAIL.to_uppercase(), 3));
    for (one, told) in
        [("1", true), ("1.0", true), ("1e0", true), ("1.5", false), ("-1", false), (r#""1""#, false)]
    {
        let spell = |event: String| event.replace(r#""index":1"#, &format!(r#""index":{one}"#));
        let blocks = both().flat_map(|(left, right)| [left, spell(right)]).collect();
        let events = message(vec![blocks], "end_turn");
        let got = run(&masking(Api::Messages), Form::Events, &stream(&events));
        if !told {
            assert_eq!(got.step, Step::GuardFailed("an event of unknown form"), "{one}");
            continue;
        }
        assert_eq!(got.step, Step::Done, "{one}");
        let mut texts = [String::new(), String::new()];
        for said in super::events(&got.text) {
            let at = usize::from(said.data["index"].as_f64() == Some(1.0));
            texts[at].push_str(said.data["delta"]["text"].as_str().unwrap_or_default());
        }
        assert_eq!(texts, ["[EMAIL_1]", "[EMAIL_1]"], "{one}");
    }
}

#[test]
fn a_block_closes_what_is_open_and_refuses() {
    let events =
        message(vec![text_block(0, "Fine. ", 3), text_block(1, &format!("But {MAIL} too"), 4)], "end_turn");
    let got = run(&blocking(Api::Messages), Form::Events, &stream(&events));
    assert_eq!((got.step.clone(), got.reason.as_deref()), (Step::Blocked, Some("refusal")));
    assert_eq!((lane(&got, 0, "text").as_str(), lane(&got, 1, "text").as_str()), ("Fine. ", "But "));
    assert_no_leak(&got.text, MAIL);
    let said = super::events(&got.text);
    let [.., closed, delta, stop] = &said[..] else { panic!("{}", got.text) };
    assert_eq!((&closed.data["type"], &closed.data["index"]), (&"content_block_stop".into(), &1.into()));
    assert_eq!(delta.data["delta"]["stop_reason"], "refusal");
    assert!(delta.data["usage"]["output_tokens"].is_u64());
    assert_eq!(stop.data["type"], "message_stop");
}

#[test]
fn blocks_that_begin_with_something_are_scanned_too() {
    let tool = [
        start(
            0,
            &format!(
                r#"{{"type":"tool_use","id":"t","name":"f","input":{{"to":"{MAIL}","n":4111111111111111}}}}"#
            ),
        ),
        stop(0),
    ];
    let text = [
        start(1, &format!(r#"{{"type":"text","text":"{}"}}"#, &MAIL[..8])),
        delta(1, &format!(r#"{{"type":"text_delta","text":"{}"}}"#, &MAIL[8..])),
        stop(1),
    ];
    let result = [
        start(
            2,
            &format!(
                r#"{{"type":"web_search_tool_result","tool_use_id":"s","content":[{{"type":"web_search_result","title":"{MAIL}","url":"https://x.test/?q={MAIL}","encrypted_content":"EqgfCioIARgB"}}]}}"#
            ),
        ),
        stop(2),
    ];
    let cited = [
        start(3, r#"{"type":"text","text":""}"#),
        delta(
            3,
            &format!(
                r#"{{"type":"citations_delta","citation":{{"type":"char_location","cited_text":"ask {MAIL}","document_title":null}}}}"#
            ),
        ),
        stop(3),
    ];
    let events = message(vec![tool.to_vec(), text.to_vec(), result.to_vec(), cited.to_vec()], "end_turn");
    let got = run(&masking(Api::Messages), Form::Events, &stream(&events));
    assert_eq!(got.step, Step::Done);
    assert_no_leak(&got.text, MAIL);
    assert_no_leak(&got.text, "4111111111111111");
    assert!(got.text.contains("EqgfCioIARgB") && got.text.contains("ask [EMAIL_1]"));
    assert!(got.text.contains(r#""input":{"to":"email-1@masked.invalid","n":9000000000000001}"#));
}

#[test]
fn unknown_deltas_are_lanes_and_unknown_events_fail_closed() {
    let compaction =
        block(0, "compaction_delta", r#"{"type":"compaction"}"#, "content", &format!("sum {MAIL} up"), 3);
    let events = message(vec![compaction], "end_turn");
    let got = run(&masking(Api::Messages), Form::Events, &stream(&events));
    assert_eq!((got.step.clone(), lane(&got, 0, "content")), (Step::Done, "sum [EMAIL_1] up".to_owned()));
    assert_no_leak(&got.text, MAIL);
    let odd = [START, r#"{"type":"brand_new","words":"hi"}"#];
    assert_eq!(
        run(&masking(Api::Messages), Form::Events, &stream(&odd)).step,
        Step::GuardFailed("an event of unknown form")
    );
    let mut passed = message(vec![text_block(0, "x", 1)], "end_turn");
    passed.insert(4, odd[1].to_owned());
    assert!(run(&Options::new(Api::Messages), Form::Events, &stream(&passed)).text.contains("brand_new"));
}

#[test]
fn broken_streams_and_errors() {
    let whole = message(vec![text_block(0, "Hello there", 4)], "end_turn");
    for options in [Options::new(Api::Messages), masking(Api::Messages)] {
        for cut in 0..whole.len() - 2 {
            let got = run(&options, Form::Events, &stream(&whole[..cut]));
            assert!(
                matches!(&got.step, Step::UpstreamFailed(fault) if fault.kind == FaultKind::Truncated),
                "{cut}"
            );
            assert!(!got.text.contains("message_stop"));
        }
        let without_last = run(&options, Form::Events, &stream(&whole[..whole.len() - 1]));
        assert_eq!(without_last.text, run(&options, Form::Events, &stream(&whole)).text);
        assert_eq!(
            run(&options, Form::Events, &stream(&whole[..5])).usage,
            None,
            "one output token is no total"
        );
        let overloaded = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
        for before in [0, 1, 2, 3] {
            let mut events: Vec<&str> = whole[..before].iter().map(String::as_str).collect();
            events.push(overloaded);
            let got = run(&options, Form::Events, &stream(&events));
            assert!(matches!(&got.step, Step::UpstreamFailed(fault) if fault.status == Some(529)));
            assert!(got.text.is_empty() && !got.content);
        }
    }
    let mut pipeline = Pipeline::new(masking(Api::Messages), Masker::new());
    pipeline.begin(Form::Events);
    let mut out = Vec::new();
    assert_eq!(pipeline.push(stream(&whole[..5]).as_bytes(), &mut out), Step::More);
    let rejection = Rejection::new(crate::verdict::Code::UpstreamError, "broken; try again");
    pipeline.fail(&rejection, "req-1", &mut out);
    let last = super::events(std::str::from_utf8(&out).expect("UTF-8")).pop().expect("an event");
    assert_eq!(
        (last.name.as_deref(), last.data["error"]["type"].as_str()),
        (Some("error"), Some("api_error"))
    );
    assert_eq!(last.data["request_id"], "req-1");
}

#[test]
fn a_text_cut_short_gives_nothing_of_a_value_away() {
    let text = format!("Write to {}", &MAIL[..MAIL.len() - 4]);
    let events = message(vec![text_block(0, &text, 5)], "max_tokens");
    let got = run(&masking(Api::Messages), Form::Events, &stream(&events));
    assert_eq!((got.step.clone(), got.reason.as_deref()), (Step::Done, Some("max_tokens")));
    let kinds = kinds(&got);
    assert_eq!(kinds[kinds.len() - 3..], ["content_block_stop", "message_delta", "message_stop"]);
    assert_eq!(lane(&got, 0, "text"), "Write to [EMAIL_1]");
    let whole = message(vec![text_block(0, &text, 5)], "end_turn");
    assert_eq!(lane(&run(&masking(Api::Messages), Form::Events, &stream(&whole)), 0, "text"), text);
}
