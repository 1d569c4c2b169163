use serde_json::json;

use super::*;

fn parse(got: &Got) -> Value {
    serde_json::from_str(&got.text).expect("JSON")
}

fn no_leak(got: &Got) {
    assert!(!got.text.contains("alice.l") && !got.text.contains("example-corp"), "{}", got.text);
}

fn chat(content: &Value, extra: &Value) -> String {
    let mut message = json!({"role": "assistant", "content": content, "refusal": null});
    for (key, member) in extra.as_object().into_iter().flatten() {
        message[key] = member.clone();
    }
    json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": message, "logprobs": {"content": [{"token": content, "logprob": -0.1}]}, "finish_reason": "stop"},
            {"index": 1, "message": {"role": "assistant", "content": "Hi"}, "logprobs": null, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}})
    .to_string()
}

#[test]
fn what_is_harmless_leaves_byte_exact() {
    let body = format!(
        " {} \n",
        chat(&json!("Hello"), &json!({"reasoning_content": "hm 1.0"})).replace("Hello", "H\\u0065llo")
    );
    for options in [Options::new(Api::Chat), masking(Api::Chat)] {
        let got = run(&options, Form::Plain, &body);
        assert_eq!(
            (got.text.as_str(), &got.step, got.reason.as_deref()),
            (&*body, &Step::Done, Some("stop"))
        );
        assert_eq!(got.usage.map(|usage| (usage.input, usage.output)), Some((9, 5)));
    }
}

#[test]
fn values_are_masked_in_every_field() {
    let calls = json!({"reasoning_content": format!("about {MAIL}"), "refusal": format!("no {MAIL}"),
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": json!({"to": MAIL, "n": 4_111_111_111_111_111_u64}).to_string()}}],
        "audio": {"transcript": format!("say {MAIL}"), "data": "QUJD"}});
    let body = chat(&json!(format!("To {MAIL}!")), &calls).replacen('@', "\\u0040", 1);
    let got = run(&masking(Api::Chat), Form::Plain, &body);
    no_leak(&got);
    let message = &parse(&got)["choices"][0]["message"];
    assert_eq!(message["content"], "To [EMAIL_1]!");
    assert_eq!(message["reasoning_content"], "about [EMAIL_1]");
    assert_eq!(message["refusal"], "no [EMAIL_1]");
    assert_eq!(message["audio"], json!({"transcript": "say [EMAIL_1]", "data": "QUJD"}));
    let arguments: Value =
        serde_json::from_str(message["tool_calls"][0]["function"]["arguments"].as_str().expect("text"))
            .expect("JSON");
    assert_eq!(arguments, json!({"to": "email-1@masked.invalid", "n": 9_000_000_000_000_001_u64}));
    assert!(parse(&got)["choices"][0]["logprobs"].is_null());
    assert!(got.kept.contains("To [EMAIL_1]!"));
}

#[test]
fn a_block_ends_the_choice_it_is_in() {
    let body = chat(&json!(format!("To {MAIL}!")), &json!({}));
    let got = run(&blocking(Api::Chat), Form::Plain, &body);
    no_leak(&got);
    let answer = parse(&got);
    assert_eq!((&got.step, got.reason.as_deref()), (&Step::Blocked, Some("content_filter")));
    assert_eq!(
        (&answer["choices"][0]["message"]["content"], &answer["choices"][0]["finish_reason"]),
        (&json!("To "), &json!("content_filter"))
    );
    assert_eq!(
        (&answer["choices"][1]["message"]["content"], &answer["choices"][1]["finish_reason"]),
        (&json!("Hi"), &json!("stop"))
    );
    assert_eq!(answer["usage"]["total_tokens"], 14);
    let calls = json!({"tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": json!({"to": MAIL}).to_string()}}]});
    let got = run(&blocking(Api::Chat), Form::Plain, &chat(&json!("Sure."), &calls));
    no_leak(&got);
    let message = &parse(&got)["choices"][0]["message"];
    assert_eq!((&message["content"], &message["tool_calls"]), (&json!("Sure."), &Value::Null));
}

#[test]
fn completions() {
    let body = json!({"id": "c", "object": "text_completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "text": format!("a {MAIL}"), "logprobs": {"tokens": [MAIL]}, "finish_reason": "stop"}]})
    .to_string();
    let got = run(&masking(Api::Completions), Form::Plain, &body);
    no_leak(&got);
    assert_eq!(parse(&got)["choices"][0]["text"], "a [EMAIL_1]");
    let got = run(&blocking(Api::Completions), Form::Plain, &body);
    no_leak(&got);
    assert_eq!(parse(&got)["choices"][0]["text"], "a ");
}

fn messages(thinking: &str, text: &str) -> String {
    json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "tool_use", "stop_sequence": null,
        "content": [{"type": "thinking", "thinking": thinking, "signature": "EqQB"}, {"type": "text", "text": text},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"to": text, "n": 4_111_111_111_111_111_u64}}],
        "usage": {"input_tokens": 10, "cache_read_input_tokens": 30, "output_tokens": 5}})
    .to_string()
}

#[test]
fn anthropic_messages() {
    let got = run(&masking(Api::Messages), Form::Plain, &messages("hm", &format!("To {MAIL}")));
    no_leak(&got);
    let content = &parse(&got)["content"];
    assert_eq!(content[0], json!({"type": "thinking", "thinking": "hm", "signature": "EqQB"}));
    assert_eq!(content[1]["text"], "To [EMAIL_1]");
    assert_eq!(
        content[2]["input"],
        json!({"to": "To email-1@masked.invalid", "n": 9_000_000_000_000_001_u64})
    );
    assert_eq!(got.usage.map(|usage| usage.input), Some(40));

    let got = run(&blocking(Api::Messages), Form::Plain, &messages("hm", &format!("To {MAIL}")));
    no_leak(&got);
    let answer = parse(&got);
    assert_eq!(
        (&got.step, got.reason.as_deref(), &answer["stop_reason"]),
        (&Step::Blocked, Some("refusal"), &json!("refusal"))
    );
    assert_eq!(answer["content"].as_array().map(Vec::len), Some(2));
    assert_eq!(answer["content"][1]["text"], "To ");

    for options in [masking(Api::Messages), blocking(Api::Messages)] {
        let got = run(&options, Form::Plain, &messages(&format!("so {MAIL}"), "x"));
        no_leak(&got);
        assert_eq!(
            (&got.step, &parse(&got)["content"]),
            (&Step::Blocked, &json!([])),
            "signed thinking is never altered"
        );
    }
}

fn response(text: &str) -> String {
    json!({"id": "resp_1", "object": "response", "status": "completed", "error": null, "incomplete_details": null, "model": "m",
        "output": [{"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "gAAA"},
            {"type": "message", "id": "msg", "status": "completed", "role": "assistant", "content": [
                {"type": "output_text", "text": text, "annotations": [], "logprobs": [1]}]},
            {"type": "function_call", "id": "fc", "call_id": "c", "name": "f", "arguments": json!({"a": text}).to_string(), "status": "completed"}],
        "usage": {"input_tokens": 9, "output_tokens": 5, "total_tokens": 14}})
    .to_string()
}

#[test]
fn responses() {
    let got = run(&masking(Api::Responses), Form::Plain, &response(&format!("To {MAIL}")));
    no_leak(&got);
    let output = &parse(&got)["output"];
    assert_eq!(output[0]["encrypted_content"], "gAAA");
    assert_eq!(
        (&output[1]["content"][0]["text"], &output[1]["content"][0]["logprobs"]),
        (&json!("To [EMAIL_1]"), &json!([]))
    );
    assert_eq!(output[2]["arguments"], json!({"a": "To email-1@masked.invalid"}).to_string());
    assert_eq!(got.reason.as_deref(), Some("completed"));

    let got = run(&blocking(Api::Responses), Form::Plain, &response(&format!("To {MAIL}")));
    no_leak(&got);
    let answer = parse(&got);
    assert_eq!(
        (&answer["status"], &answer["incomplete_details"]["reason"]),
        (&json!("incomplete"), &json!("content_filter"))
    );
    assert_eq!(
        (answer["output"].as_array().map(Vec::len), &answer["output"][1]["content"][0]["text"]),
        (Some(2), &json!("To "))
    );
    assert_eq!((&answer["usage"]["output_tokens"], &got.step), (&json!(5), &Step::Blocked));
}

#[test]
fn half_answers_and_errors_are_the_upstreams_fault() {
    let body = chat(&json!("Hello"), &json!({}));
    let kind = |step: &Step| match step {
        Step::UpstreamFailed(fault) => Some(fault.kind),
        _ => None,
    };
    for options in [Options::new(Api::Chat), masking(Api::Chat)] {
        for cut in (0..body.len()).step_by(7) {
            let got = push_all(&options, Form::Plain, [&body.as_bytes()[..cut]]);
            assert_eq!(
                (kind(&got.step), got.text.as_str(), got.content),
                (Some(FaultKind::Truncated), "", false)
            );
        }
        assert_eq!(kind(&run(&options, Form::Plain, "<html>").step), Some(FaultKind::Malformed));
        let error = r#"{"error":{"message":"no","code":503}}"#;
        let got = run(&options, Form::Plain, error);
        assert!(matches!(
            got.step,
            Step::UpstreamFailed(Fault { kind: FaultKind::ErrorEvent, status: Some(503), .. })
        ));
    }
    let got = run(&masking(Api::Chat), Form::Plain, "[1]");
    assert_eq!(got.step, Step::GuardFailed("an answer of unknown form"));
}

#[test]
fn an_answer_too_large_to_read_passes_only_unguarded() {
    let body = chat(&json!("Hello"), &json!({}));
    let small = |options: Options| Options { max_answer: 100, ..options };
    let got = run(&small(Options::new(Api::Chat)), Form::Plain, &body);
    assert_eq!((got.text.as_str(), &got.step), (&*body, &Step::Done));
    assert_eq!(got.usage.map(|usage| usage.output), Some(5));
    let got = run(&small(masking(Api::Chat)), Form::Plain, &body);
    assert_eq!(got.step, Step::GuardFailed("an answer is too large to be read whole"));
    assert!(got.text.is_empty());
}

#[test]
fn embeddings_pass_through_and_tell_their_usage() {
    let data: Vec<f64> = (0..2000).map(f64::from).collect();
    let body = json!({"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": data}], "model": "e"}).to_string();
    let body =
        body.replacen(r#""model":"e""#, r#""model":"e","usage":{"prompt_tokens":8,"total_tokens":8}"#, 1);
    let got = run(&masking(Api::Embeddings), Form::Plain, &body);
    assert_eq!(
        (got.text.as_str(), &got.step, got.usage.map(|usage| usage.input)),
        (&*body, &Step::Done, Some(8))
    );
    let counted = run(&masking(Api::CountTokens), Form::Plain, r#"{"input_tokens":12}"#);
    assert_eq!((counted.text.as_str(), counted.usage), (r#"{"input_tokens":12}"#, Some(Usage::default())));
    let opaque = run(&masking(Api::Chat), Form::Opaque, "anything at all");
    assert_eq!((opaque.text.as_str(), &opaque.step), ("anything at all", &Step::Done));
}

#[test]
fn metadata_is_inserted_where_there_is_none() {
    let tell = |usage: Option<&Usage>, out: &mut Vec<u8>| {
        out.extend_from_slice(
            format!(r#"{{"cost_usd":{}}}"#, usage.map_or(0, |usage| usage.output)).as_bytes(),
        );
    };
    let run = |body: &str| {
        let options = Options {
            metadata: Some(std::sync::Arc::new(tell)),
            model: Some("house".into()),
            ..masking(Api::Chat)
        };
        let mut pipeline = Pipeline::new(options, Masker::new());
        pipeline.begin(Form::Plain);
        let mut out = Vec::new();
        assert_eq!(pipeline.push(body.as_bytes(), &mut out), Step::More);
        assert!(out.is_empty());
        assert_eq!(pipeline.finish(&mut out), Step::Done);
        serde_json::from_slice::<Value>(&out).expect("JSON")
    };
    let answer = run(&chat(&json!("Hello"), &json!({})));
    assert_eq!((&answer["metadata"], &answer["model"]), (&json!({"cost_usd": 5}), &json!("house")));
    let own = chat(&json!("Hello"), &json!({})).replacen('{', r#"{"metadata":{"x":1},"#, 1);
    assert_eq!(run(&own)["metadata"], json!({"x": 1}));
}

#[test]
fn no_corner_of_an_answer_is_left_out() {
    let corners = [
        json!({"choices": [{"index": 0, "message": {"content": [{"type": "text", "text": MAIL}]}, "finish_reason": "stop"}]}),
        json!({"choices": [{"index": 0, "message": {"tool_calls": [{"function": {"name": "f", "arguments": {"to": MAIL}}}]}}]}),
        json!({"choices": [{"index": 0, "message": {"data": MAIL, "thinking": "x"}, "notes": [MAIL]}]}),
        json!({"choices": [{"index": 0, "message": MAIL}]}),
        json!({"choices": [MAIL]}),
        json!({"choices": [{"index": 0, "message": {"content": "x"}}], "citations": [{"url": MAIL}]}),
    ];
    for corner in corners {
        for options in [masking(Api::Chat), blocking(Api::Chat)] {
            let got = run(&options, Form::Plain, &corner.to_string());
            assert!(matches!(got.step, Step::Done | Step::Blocked), "{corner}: {:?}", got.step);
            no_leak(&got);
            let _ = parse(&got);
        }
    }
    let thinking =
        json!({"choices": [{"index": 0, "message": {"thinking": MAIL, "content": "x"}}]}).to_string();
    let got = run(&masking(Api::Chat), Form::Plain, &thinking);
    no_leak(&got);
    assert_eq!(got.step, Step::Blocked);
    let image = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0NTY3ODk=";
    let body =
        json!({"choices": [{"index": 0, "message": {"images": [{"b64_json": image, "data": image}]}}]})
            .to_string();
    assert_eq!(run(&masking(Api::Chat), Form::Plain, &body).text, body);
}
