use super::*;

pub(super) const HEAD: &str = r#""id":"chatcmpl-9","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o-mini-2024-07-18","system_fingerprint":"fp_1""#;

pub(super) fn chunk(choices: &str) -> String {
    format!("{{{HEAD},\"choices\":[{choices}]}}")
}

pub(super) fn delta(index: u32, delta: &str) -> String {
    chunk(&format!("{{\"index\":{index},\"delta\":{delta},\"logprobs\":null,\"finish_reason\":null}}"))
}

pub(super) fn finish(index: u32, reason: &str) -> String {
    chunk(&format!("{{\"index\":{index},\"delta\":{{}},\"logprobs\":null,\"finish_reason\":\"{reason}\"}}"))
}

pub(super) fn stream(events: &[String]) -> String {
    let events: Vec<&str> = events.iter().map(String::as_str).chain(["[DONE]"]).collect();
    sse(&events)
}

pub(super) fn usage_chunk() -> String {
    format!(
        "{{{HEAD},\"choices\":[],\"usage\":{{\"prompt_tokens\":9,\"completion_tokens\":5,\"total_tokens\":14,\
         \"prompt_tokens_details\":{{\"cached_tokens\":4}},\"completion_tokens_details\":{{\"reasoning_tokens\":2}}}}}}"
    )
}

pub(super) fn texts(got: &Got) -> BTreeMap<String, String> {
    lanes(&events(&got.text)).into_iter().filter(|(path, _)| path.contains("delta")).collect()
}

pub(super) fn lane(got: &Got, path: &str) -> String {
    texts(got).remove(path).unwrap_or_default()
}

pub(super) fn last_data(got: &Got) -> Value {
    events(&got.text).pop().map_or(Value::Null, |said| said.data)
}

pub(super) fn reasons(got: &Got) -> Vec<(u64, String)> {
    let mut reasons = Vec::new();
    for said in events(&got.text) {
        for choice in said.data["choices"].as_array().into_iter().flatten() {
            if let Some(reason) = choice["finish_reason"].as_str() {
                reasons.push((choice["index"].as_u64().expect("an index"), reason.to_owned()));
            }
        }
    }
    reasons
}

pub(super) fn hello() -> Vec<String> {
    vec![
        delta(0, r#"{"role":"assistant","content":"","refusal":null}"#),
        delta(0, r#"{"content":"Hello"}"#),
        delta(0, r#"{"content":" w\u00f6rld"}"#),
        finish(0, "stop"),
    ]
}

/// `MAIL` in `lane`, cut into pieces of `size`.
pub(super) fn mail_in(field: &str, size: usize) -> Vec<String> {
    let mut events = vec![delta(0, r#"{"role":"assistant","content":""}"#)];
    for piece in pieces(&format!("Write to {MAIL} now, she said."), size) {
        events.push(delta(0, &format!("{{\"{field}\":\"{piece}\"}}")));
    }
    events.push(finish(0, "stop"));
    events
}

#[test]
fn without_a_guard_every_byte_passes() {
    let input = stream(&hello());
    let got = run(&Options { keep_text: 9, ..Options::new(Api::Chat) }, Form::Events, &input);
    assert_eq!(got.text, input);
    assert_eq!(
        (got.step, got.kept.as_str(), got.reason.as_deref()),
        (Step::Done, "Hello w\u{f6}", Some("stop"))
    );
}

#[test]
fn upstream_spellings_leave_in_one_form() {
    let want = stream(&hello());
    let options = Options::new(Api::Chat);
    for (from, to) in
        [("\n\n", "\r\n\r\n"), ("\n\n", "\r\r"), ("data: ", "data:"), ("data: ", "id: 7\nretry: 5\ndata: ")]
    {
        assert_eq!(run(&options, Form::Events, &want.replace(from, to)).text, want);
    }
    let pings = want.replacen("data: ", "event: ping\ndata: {}\n\nevent: ping\n\ndata: ", 3);
    assert_eq!(run(&options, Form::Events, &pings).text, want);
    let unended = want.trim_end();
    assert_eq!(run(&options, Form::Events, unended).text, want);
    let without_done = want.replace("data: [DONE]\n\n", "");
    assert_eq!(run(&options, Form::Events, &without_done).text, want);
    let more_after = format!("{want}data: {}\n\ndata: [DONE]\n\n", usage_chunk());
    assert_eq!(run(&options, Form::Events, &more_after).text, want);
}

#[test]
fn comments_pass_once_there_is_content() {
    let input =
        format!(": early\n\n{}", stream(&hello()).replacen("data: [DONE]", ": late\n\ndata: [DONE]", 1));
    let got = run(&Options::new(Api::Chat), Form::Events, &input);
    assert_eq!(got.text, stream(&hello()).replacen("data: [DONE]", ":\n\ndata: [DONE]", 1));
}

#[test]
fn values_are_masked_in_every_lane_however_they_are_cut() {
    for field in ["content", "reasoning_content", "reasoning", "refusal", "something_new"] {
        for size in [1, 5, 100] {
            let got = run(&masking(Api::Chat), Form::Events, &stream(&mail_in(field, size)));
            assert_eq!(got.step, Step::Done);
            assert_eq!(
                lane(&got, &format!(".choices[0].delta.{field}")),
                "Write to [EMAIL_1] now, she said.",
                "{field} by {size}"
            );
            assert_no_leak(&got.text, MAIL);
            assert_eq!((got.findings, last_data(&got)), (1, Value::String("[DONE]".into())));
            assert_eq!(reasons(&got), [(0, "stop".to_owned())]);
            assert_eq!(got.kept, "Write to [EMAIL_1] now, she said.");
        }
    }
}

#[test]
fn a_lane_deep_inside_an_unknown_field_is_one_too() {
    let mut input = vec![delta(0, r#"{"role":"assistant","content":""}"#)];
    for piece in pieces(&format!("to {MAIL}"), 3) {
        input.push(delta(
            0,
            &format!(
                r#"{{"reasoning_details":[{{"type":"reasoning.text","text":"{piece}","format":"unknown"}}]}}"#
            ),
        ));
    }
    input.push(finish(0, "stop"));
    let got = run(&masking(Api::Chat), Form::Events, &stream(&input));
    assert_eq!(lane(&got, ".choices[0].delta.reasoning_details[0].text"), "to [EMAIL_1]");
    assert_no_leak(&got.text, MAIL);
}

#[test]
fn tool_arguments_stay_json_and_ids_stay_whole() {
    let arguments = format!(r#"{{"to": "{MAIL}", "n": 4111111111111111, "note": "caf\u00e9 \"{MAIL}\""}}"#);
    for size in [1, 4, 200] {
        let mut input = vec![delta(
            0,
            r#"{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"send_mail","arguments":""}}]}"#,
        )];
        for piece in pieces(&arguments, size) {
            input.push(delta(
                0,
                &format!(r#"{{"tool_calls":[{{"index":0,"function":{{"arguments":"{piece}"}}}}]}}"#),
            ));
        }
        input.push(delta(
            0,
            r#"{"tool_calls":[{"index":1,"id":"call_2","type":"function","function":{"name":"get_time","arguments":"{}"}}]}"#,
        ));
        input.push(finish(0, "tool_calls"));
        let got = run(&masking(Api::Chat), Form::Events, &stream(&input));
        assert_eq!(got.step, Step::Done);
        let call = ".choices[0].delta.tool_calls[0]";
        let sent: Value =
            serde_json::from_str(&lane(&got, &format!("{call}.function.arguments"))).expect("still JSON");
        assert_eq!(
            sent,
            serde_json::json!({"to": "email-1@masked.invalid", "n": 9_000_000_000_000_001_u64, "note": "caf\u{e9} \"email-1@masked.invalid\""})
        );
        assert_eq!(lane(&got, &format!("{call}.function.name")), "send_mail");
        assert_eq!(lane(&got, &format!("{call}.id")), "call_1");
        assert_eq!(lane(&got, ".choices[0].delta.tool_calls[1].function.name"), "get_time");
        assert_eq!(lane(&got, ".choices[0].delta.tool_calls[1].function.arguments"), "{}");
        assert_no_leak(&got.text, MAIL);
        assert_no_leak(&got.text, "4111111111111111");
        for said in events(&got.text) {
            let calls =
                said.data["choices"][0]["delta"]["tool_calls"].as_array().cloned().unwrap_or_default();
            assert!(calls.iter().all(|call| call["index"].is_u64()), "an index always");
        }
    }
}

#[test]
fn calls_that_share_an_index_are_told_apart_by_id() {
    let call = |id: &str, arguments: &str| {
        delta(
            0,
            &format!(
                r#"{{"tool_calls":[{{"index":0,"id":"{id}","function":{{"name":"f","arguments":"{arguments}"}}}}]}}"#
            ),
        )
    };
    let input =
        [call("a", r#"{\"x\":1"#), call("a", "}"), call("b", r#"{\"y\":2}"#), finish(0, "tool_calls")];
    let got = run(&masking(Api::Chat), Form::Events, &stream(&input));
    assert_eq!(got.step, Step::Done);
    assert_eq!(lane(&got, ".choices[0].delta.tool_calls[0].function.arguments"), r#"{"x":1}{"y":2}"#);
    let in_pieces = [
        delta(0, r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"send_"}}]}"#),
        delta(0, r#"{"tool_calls":[{"index":0,"function":{"name":"mail"}}]}"#),
    ];
    let got = run(&masking(Api::Chat), Form::Events, &stream(&in_pieces));
    assert_eq!(got.step, Step::GuardFailed("the name of a tool came in pieces"));
}

#[test]
fn legacy_function_calls() {
    let mut input = vec![delta(
        0,
        r#"{"role":"assistant","content":null,"function_call":{"name":"send","arguments":""}}"#,
    )];
    for piece in pieces(&format!(r#"{{"to":"{MAIL}"}}"#), 3) {
        input.push(delta(0, &format!(r#"{{"function_call":{{"arguments":"{piece}"}}}}"#)));
    }
    input.push(finish(0, "function_call"));
    let got = run(&masking(Api::Chat), Form::Events, &stream(&input));
    assert_eq!(lane(&got, ".choices[0].delta.function_call.arguments"), r#"{"to":"email-1@masked.invalid"}"#);
    assert_eq!(lane(&got, ".choices[0].delta.function_call.name"), "send");
    assert_no_leak(&got.text, MAIL);
}

#[test]
fn interleaved_choices_never_mix() {
    let other = "bob.builder@example-corp.com";
    let (left, right) = (pieces(&format!("a {MAIL} b"), 2), pieces(&format!("c {other} d {MAIL}"), 2));
    let mut input = vec![
        delta(0, r#"{"role":"assistant","content":""}"#),
        delta(1, r#"{"role":"assistant","content":""}"#),
    ];
    for at in 0..left.len().max(right.len()) {
        for (index, pieces) in [(0, &left), (1, &right)] {
            if let Some(piece) = pieces.get(at) {
                input.push(delta(index, &format!("{{\"content\":\"{piece}\"}}")));
            } else if at == pieces.len() {
                input.push(finish(index, "stop"));
            }
        }
    }
    input.push(finish(1, "stop"));
    let got = run(&masking(Api::Chat), Form::Events, &stream(&input));
    let (zero, one) = (lane(&got, ".choices[0].delta.content"), lane(&got, ".choices[1].delta.content"));
    assert_eq!(got.step, Step::Done);
    let number = |text: &str, at: usize| text.split("EMAIL_").nth(at).and_then(|rest| rest.chars().next());
    assert_eq!(zero.len(), "a [EMAIL_1] b".len());
    assert_eq!(one.len(), "c [EMAIL_2] d [EMAIL_1]".len());
    assert_eq!(number(&zero, 1), number(&one, 2), "the same value has the same number");
    assert_ne!(number(&one, 1), number(&one, 2));
    assert_no_leak(&got.text, MAIL);
    assert_no_leak(&got.text, other);
}

/// However an index is spelled, its lane is its own; what is no index ends the answer.
#[test]
fn indexes_are_read_as_clients_read_them() {
    for one in ["1", "1.0", "1e0", "10e-1"] {
        let choice = |index: &str, text: &str| {
            chunk(&format!(r#"{{"index":{index},"delta":{{"content":"{text}"}},"finish_reason":null}}"#))
        };
        let call = |index: &str, text: &str| {
            delta(
                0,
                &format!(r#"{{"tool_calls":[{{"index":{index},"function":{{"arguments":"{text}"}}}}]}}"#),
            )
        };
        let mut input = Vec::new();
        for (left, right) in pieces(MAIL, 3).iter().zip(pieces(&MAIL.to_uppercase(), 3)) {
            input.extend([choice("0", left), choice(one, &right), call("0", left), call(one, &right)]);
        }
        let end = |index: &str| chunk(&format!(r#"{{"index":{index},"delta":{{}},"finish_reason":"stop"}}"#));
        input.extend([end("0"), end(one)]);
        let got = run(&masking(Api::Chat), Form::Events, &stream(&input));
        assert_eq!(got.step, Step::Done, "{one}");
        assert_no_leak(&got.text, MAIL);
        assert_no_leak(&got.text, &MAIL.to_uppercase());
        let (mut texts, mut calls) = ([String::new(), String::new()], [String::new(), String::new()]);
        let at = |value: &Value| usize::from(value.as_f64() == Some(1.0));
        for said in events(&got.text) {
            let choice = &said.data["choices"][0];
            texts[at(&choice["index"])].push_str(choice["delta"]["content"].as_str().unwrap_or_default());
            let call = &choice["delta"]["tool_calls"][0];
            calls[at(&call["index"])].push_str(call["function"]["arguments"].as_str().unwrap_or_default());
        }
        let masked = ["[EMAIL_1]".to_owned(), "[EMAIL_1]".to_owned()];
        assert_eq!((&texts, &calls), (&masked, &masked), "{one}");
    }
    for odd in ["-1", "1.5", "4294967296", "\"1\"", "[1]"] {
        for event in [
            chunk(&format!(r#"{{"index":{odd},"delta":{{"content":"x "}}}}"#)),
            delta(0, &format!(r#"{{"tool_calls":[{{"index":{odd},"function":{{"arguments":"x "}}}}]}}"#)),
            delta(0, &format!(r#"{{"reasoning_details":[{{"index":{odd},"text":"x "}}]}}"#)),
        ] {
            let got = run(&masking(Api::Chat), Form::Events, &stream(&[event.clone(), finish(0, "stop")]));
            assert_eq!(got.step, Step::GuardFailed("an event of unknown form"), "{event}");
            let got = run(&Options::new(Api::Chat), Form::Events, &stream(&[event, finish(0, "stop")]));
            assert_ne!(got.step, Step::GuardFailed("an event of unknown form"));
        }
    }
}

#[test]
fn a_rest_leaves_in_front_of_the_end() {
    // The last word may begin an address: held, then released by the end, before it.
    let input = [
        delta(0, r#"{"role":"assistant","content":""}"#),
        delta(0, r#"{"content":"so long"}"#),
        finish(0, "stop"),
    ];
    let got = run(&masking(Api::Chat), Form::Events, &stream(&input));
    assert_eq!(lane(&got, ".choices[0].delta.content"), "so long");
    let said = events(&got.text);
    let at = |wanted: &dyn Fn(&Value) -> bool| {
        said.iter().rposition(|said| wanted(&said.data)).expect("it is there")
    };
    let text =
        at(&|data| data["choices"][0]["delta"]["content"].as_str().is_some_and(|text| !text.is_empty()));
    let end = at(&|data| data["choices"][0]["finish_reason"].is_string());
    assert!(text < end);
    for said in &said[..=end] {
        assert_eq!((&said.data["id"], &said.data["created"]), (&"chatcmpl-9".into(), &1_700_000_000.into()));
    }
}

#[test]
fn text_and_end_in_one_chunk() {
    let input = [
        delta(0, r#"{"role":"assistant"}"#),
        delta(0, &format!(r#"{{"content":"to {}"}}"#, &MAIL[..10])),
        chunk(&format!(
            r#"{{"index":0,"delta":{{"content":"{}"}},"finish_reason":"stop","stop_reason":null}}"#,
            &MAIL[10..]
        )),
    ];
    let got = run(&masking(Api::Chat), Form::Events, &stream(&input));
    assert_eq!(lane(&got, ".choices[0].delta.content"), "to [EMAIL_1]");
    assert_eq!(reasons(&got), [(0, "stop".to_owned())]);
    assert_no_leak(&got.text, MAIL);
}

#[test]
fn changed_text_takes_its_logprobs_along() {
    let with = |text: &str| {
        chunk(&format!(
            r#"{{"index":0,"delta":{{"content":"{text}"}},"logprobs":{{"content":[{{"token":"{text}","logprob":-0.1,"bytes":null,"top_logprobs":[]}}]}},"token_ids":[1,2],"finish_reason":null}}"#
        ))
    };
    let mut input = vec![delta(0, r#"{"role":"assistant","content":""}"#)];
    input.extend(pieces(MAIL, 7).iter().map(|piece| with(piece)));
    input.push(finish(0, "stop"));
    let got = run(&masking(Api::Chat), Form::Events, &stream(&input));
    assert_eq!(lane(&got, ".choices[0].delta.content"), "[EMAIL_1]");
    assert_no_leak(&got.text, MAIL);
    let got = run(&Options::new(Api::Chat), Form::Events, &stream(&input));
    assert!(got.text.contains("logprob\":-0.1"), "without a guard they pass");
}

/// An upstream that reads calls or reasoning off its text tells the tokens in chunks whose text is empty, or not there at all.
#[test]
fn tokens_apart_from_their_text_do_not_leave_in_clear() {
    let told = |delta: &str, token: &str| {
        chunk(&format!(
            r#"{{"index":0,"delta":{delta},"logprobs":{{"content":[{{"token":"{token}","logprob":-0.1,"bytes":null,"top_logprobs":[]}}]}},"token_ids":[1,2],"finish_reason":null}}"#
        ))
    };
    let slides = format!("{}@example-corp.com", "a".repeat(90));
    for value in [MAIL, "4111111111111111", &*slides] {
        for nothing in [r#"{"content":""}"#, r#"{"content":null}"#, "{}", r#"{"tool_calls":[]}"#] {
            for size in [1, 7] {
                let pieces = pieces(value, size);
                let text = |piece: &str| delta(0, &format!(r#"{{"content":"{piece}"}}"#));
                let both = |piece: &String| [told(nothing, piece), text(piece)];
                let before = pieces.iter().flat_map(both);
                let after = pieces.iter().flat_map(|piece| both(piece).into_iter().rev());
                for mut input in [before.collect::<Vec<_>>(), after.collect()] {
                    input.insert(0, delta(0, r#"{"role":"assistant","content":""}"#));
                    input.push(finish(0, "stop"));
                    let got = push_all(&masking(Api::Chat), Form::Events, [stream(&input).as_bytes()]);
                    assert_eq!(got.step, Step::Done);
                    assert!(!got.text.contains("token\""), "{}", got.text);
                    assert!(!got.text.contains("\"token_ids\":["), "{}", got.text);
                }
            }
        }
        let mut input = vec![delta(0, r#"{"role":"assistant","content":""}"#)];
        input
            .extend(pieces(value, 1).iter().map(|piece| told(&format!(r#"{{"content":"{piece}"}}"#), piece)));
        input.push(finish(0, "stop"));
        let got = run(&masking(Api::Chat), Form::Events, &stream(&input));
        assert!(!got.text.contains("token\""), "held text has its tokens held: {}", got.text);
    }
    let harmless = [told(r#"{"content":"Good day, "}"#, "Good day, "), finish(0, "stop")];
    let got = run(&masking(Api::Chat), Form::Events, &stream(&harmless));
    assert_eq!(got.text, stream(&harmless), "text that leaves takes its tokens along");
    let recording = Options { guard: guard(|_| Action::Log), ..Options::new(Api::Chat) };
    let apart = [told("{}", "Good"), delta(0, r#"{"content":"Good"}"#), finish(0, "stop")];
    assert_eq!(run(&recording, Form::Events, &stream(&apart)).text, stream(&apart));
    let inside = [told(r#"{"token_ids":[7]}"#, "x"), finish(0, "stop")];
    assert!(!run(&masking(Api::Chat), Form::Events, &stream(&inside)).text.contains("[7]"));
}

#[test]
fn usage_is_for_those_who_asked() {
    let mut input = hello();
    for event in &mut input {
        *event = event.replacen("}]}", "}],\"usage\":null}", 1);
    }
    input.push(usage_chunk());
    let usage = Usage { input: 9, output: 5, cache_read: 4, reasoning: 2, ..Usage::default() };
    let got = run(&Options::new(Api::Chat), Form::Events, &stream(&input));
    assert_eq!((got.text.as_str(), got.usage), (&*stream(&hello()), Some(usage)));
    let asked = Options { usage_asked: true, ..Options::new(Api::Chat) };
    assert_eq!(run(&asked, Form::Events, &stream(&input)).text, stream(&input));
}

#[test]
fn continuous_usage_is_neither_summed_nor_sent_twice() {
    let running =
        |n: u32| format!(r#""usage":{{"prompt_tokens":7,"total_tokens":{},"completion_tokens":{n}}}"#, 7 + n);
    let mut plain = vec![];
    let mut input = vec![];
    for (n, text) in ["a ", "b ", "c "].iter().enumerate() {
        let event = delta(0, &format!("{{\"content\":\"{text}\"}}"));
        input.push(event.replacen("}]}", &format!("}}],{}}}", running(n as u32 + 1)), 1));
        plain.push(event);
    }
    plain.push(finish(0, "stop"));
    input.push(finish(0, "stop").replacen("}]}", &format!("}}],{}}}", running(3)), 1));
    let got = run(&Options::new(Api::Chat), Form::Events, &stream(&input));
    assert_eq!(got.text, stream(&plain));
    assert_eq!(got.usage.map(|usage| (usage.input, usage.output)), Some((7, 3)));

    let asked = Options { usage_asked: true, ..Options::new(Api::Chat) };
    let in_last = run(&asked, Form::Events, &stream(&input));
    assert_eq!(in_last.text.matches("prompt_tokens").count(), 1, "{}", in_last.text);
    assert!(
        events(&in_last.text).iter().rev().nth(1).expect("a chunk before [DONE]").data["choices"]
            == Value::Array(vec![])
    );
    input.push(usage_chunk());
    input.push(usage_chunk());
    let extra = run(&asked, Form::Events, &stream(&input));
    assert_eq!(extra.text.matches("prompt_tokens\"").count(), 1, "{}", extra.text);
}

#[test]
fn metadata_stands_beside_the_usage_that_the_caller_asked_for() {
    let telling = |usage_asked| {
        let tell = |usage: Option<&Usage>, out: &mut Vec<u8>| {
            out.extend_from_slice(usage.map_or(0, |usage| usage.output).to_string().as_bytes());
        };
        Options { usage_asked, metadata: Some(std::sync::Arc::new(tell)), ..Options::new(Api::Chat) }
    };
    let mut input = hello();
    input.push(usage_chunk());
    let got = run(&telling(true), Form::Events, &stream(&input));
    let told: Vec<_> =
        events(&got.text).into_iter().filter(|event| !event.data["metadata"].is_null()).collect();
    assert_eq!(told.len(), 1, "{}", got.text);
    assert_eq!(
        (&told[0].data["metadata"], &told[0].data["usage"]["completion_tokens"]),
        (&5.into(), &5.into())
    );
    assert!(!run(&telling(false), Form::Events, &stream(&input)).text.contains("metadata"));
}

#[test]
fn azure_first_chunk_passes_as_it_is() {
    let first = r#"{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0,"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}}}]}"#;
    let mut input = vec![first.to_owned()];
    input.extend(hello());
    for options in [Options::new(Api::Chat), masking(Api::Chat)] {
        let got = run(&options, Form::Events, &stream(&input));
        assert!(got.text.starts_with(&sse(&[first])), "{}", got.text);
        assert_eq!(
            (got.step.clone(), lane(&got, ".choices[0].delta.content").as_str()),
            (Step::Done, "Hello w\u{f6}rld")
        );
    }
}

#[test]
fn lanes_are_bounded() {
    let mut input: Vec<String> = Vec::new();
    for tool in 0..5 {
        input.push(delta(
            0,
            &format!(r#"{{"tool_calls":[{{"index":{tool},"function":{{"arguments":"{{\"a"}}}}]}}"#),
        ));
    }
    let few = Options { max_lanes: 4, ..masking(Api::Chat) };
    let got = run(&few, Form::Events, &stream(&input));
    assert_eq!(got.step, Step::GuardFailed("too many lanes in one answer"));
}

#[test]
fn completions() {
    let chunk = |text: &str, finish: &str| {
        format!(
            r#"{{"id":"cmpl-1","object":"text_completion","created":1,"model":"m","choices":[{{"index":0,"text":"{text}","logprobs":null,"finish_reason":{finish}}}]}}"#
        )
    };
    for size in [1, 3, 50] {
        let mut input: Vec<String> =
            pieces(&format!("To: {MAIL}\nBye"), size).iter().map(|piece| chunk(piece, "null")).collect();
        input.push(chunk("", "\"stop\""));
        let got = run(&masking(Api::Completions), Form::Events, &stream(&input));
        assert_eq!(got.step, Step::Done);
        assert_eq!(lanes(&events(&got.text))[".choices[0].text"], "To: [EMAIL_1]\nBye");
        assert_no_leak(&got.text, MAIL);
        let blocked = run(&blocking(Api::Completions), Form::Events, &stream(&input));
        assert_eq!(lanes(&events(&blocked.text))[".choices[0].text"], "To: ");
        assert_eq!(reasons(&blocked), [(0, "content_filter".to_owned())]);
        assert_eq!(last_data(&blocked), Value::String("[DONE]".into()));
    }
}

#[test]
fn the_callers_model_name_can_be_written_back() {
    let options = Options { model: Some("house".into()), ..masking(Api::Chat) };
    let got = run(&options, Form::Events, &stream(&hello()));
    for said in events(&got.text) {
        assert!(said.data.is_string() || said.data["model"] == "house", "{:?}", said.data);
    }
}

#[test]
fn what_only_records_changes_nothing() {
    let options = Options { guard: guard(|_| Action::Log), ..Options::new(Api::Chat) };
    for field in ["content", "reasoning"] {
        let input = stream(&mail_in(field, 3));
        let got = run(&options, Form::Events, &input);
        assert_eq!((got.text.as_str(), got.findings), (&*input, 1));
    }
}

/// Lanes come by turns; what is kept of each is whole, so that a value in it is still seen as one.
#[test]
fn what_is_kept_is_kept_by_lanes() {
    let mut input = vec![delta(0, r#"{"role":"assistant","content":""}"#)];
    for piece in pieces(&format!("ask {MAIL}"), 4) {
        input.push(delta(0, &format!(r#"{{"reasoning_content":"{piece}","content":"{piece}"}}"#)));
        input.push(delta(1, &format!(r#"{{"content":"{piece}"}}"#)));
    }
    input.extend([finish(0, "stop"), finish(1, "stop")]);
    let options = |keep_text| Options { guard: guard(|_| Action::Log), keep_text, ..Options::new(Api::Chat) };
    let got = run(&options(4096), Form::Events, &stream(&input));
    assert_eq!(got.kept, format!("ask {MAIL}\nask {MAIL}"));
    let got = run(&options(30), Form::Events, &stream(&input));
    assert_eq!(got.kept.replace('\n', "").len(), 30);
}

#[test]
fn what_may_leave_leaves_with_its_delta() {
    let mut pipeline = Pipeline::new(masking(Api::Chat), Masker::new());
    pipeline.begin(Form::Events);
    let mut all = String::new();
    for (text, sent) in [
        ("Good morning, ", "Good morning, "),
        ("it is nice ", "Good morning, it is nice "),
        ("to see ", "Good morning, it is nice to see "),
    ] {
        let mut out = Vec::new();
        let event = sse(&[&delta(0, &format!("{{\"content\":\"{text}\"}}"))]);
        assert_eq!(pipeline.push(event.as_bytes(), &mut out), Step::More);
        all.push_str(std::str::from_utf8(&out).expect("UTF-8"));
        assert_eq!(lanes(&events(&all))[".choices[0].delta.content"], sent);
        assert_eq!(pipeline.held(), 0);
    }
    let held = sse(&[&delta(0, &format!("{{\"content\":\"{}\"}}", &MAIL[..10]))]);
    let mut out = Vec::new();
    assert_eq!(pipeline.push(held.as_bytes(), &mut out), Step::More);
    assert!(out.is_empty(), "an event whose text is all held is dropped");
    assert_eq!(pipeline.held(), 10);
    let with_more = chunk(r#"{"index":0,"delta":{"content":"x"},"finish_reason":null,"vendor_field":1}"#);
    assert_eq!(pipeline.push(sse(&[&with_more]).as_bytes(), &mut out), Step::More);
    let kept = events(std::str::from_utf8(&out).expect("UTF-8"));
    assert_eq!(
        (&kept[0].data["choices"][0]["vendor_field"], &kept[0].data["choices"][0]["delta"]["content"]),
        (&1.into(), &"".into())
    );
}

#[test]
fn no_corner_of_a_chunk_is_left_out() {
    let corners = [
        delta(
            0,
            &format!(
                r#"{{"tool_calls":[{{"index":0,"id":"a","function":{{"name":"f","arguments":{{"to":"{MAIL}"}}}}}}]}}"#
            ),
        ),
        delta(
            0,
            &format!(
                r#"{{"tool_calls":[{{"index":0,"function":{{"description":"{MAIL}"}},"extra":["{MAIL}"]}}]}}"#
            ),
        ),
        delta(0, &format!(r#"{{"content":[{{"type":"text","text":"{MAIL}"}}]}}"#)),
        delta(0, &format!(r#"{{"data":"{MAIL}"}}"#)),
        chunk(&format!(r#"{{"index":0,"message":{{"role":"assistant","content":"{MAIL}"}}}}"#)),
        chunk(&format!(r#"{{"index":0,"delta":{{}},"notes":[{{"about":"{MAIL}"}}]}}"#)),
        chunk(r#"{"index":0,"delta":{}}"#).replacen(
            "\"choices\"",
            &format!("\"citations\":[\"{MAIL}\"],\"choices\""),
            1,
        ),
    ];
    for corner in corners {
        let input = [delta(0, r#"{"role":"assistant","content":""}"#), corner.clone(), finish(0, "stop")];
        let got = run(&masking(Api::Chat), Form::Events, &stream(&input));
        assert_eq!(got.step, Step::Done, "{corner}");
        let masked = ["[EMAIL_1]", "email-1@masked.invalid"].iter().any(|mask| got.text.contains(mask));
        assert!(masked, "{corner}");
        assert_no_leak(&got.text, MAIL);
        let got = run(&blocking(Api::Chat), Form::Events, &stream(&input));
        assert_eq!(got.step, Step::Blocked, "{corner}");
        assert_no_leak(&got.text, MAIL);
    }
    for odd in
        [format!(r#"{{"choices":["{MAIL}"]}}"#), format!(r#"{{"text":"{MAIL}"}}"#), format!("\"{MAIL}\"")]
    {
        let got = run(&masking(Api::Chat), Form::Events, &sse(&[&odd]));
        assert!(matches!(got.step, Step::GuardFailed(_) | Step::UpstreamFailed(_)), "{odd}");
        assert_eq!(got.text, "");
    }
}
