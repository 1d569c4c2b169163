//! How chat streams end: by policy, by a fault, cut short.

use super::chat::*;
use super::*;

#[test]
fn a_block_ends_every_choice_then_usage_then_done() {
    let mut input = vec![
        delta(0, r#"{"role":"assistant","content":""}"#),
        delta(1, r#"{"role":"assistant","content":""}"#),
        delta(1, r#"{"content":"I am harmless. "}"#),
    ];
    for piece in pieces(&format!("Write to {MAIL} now"), 4) {
        input.push(delta(0, &format!("{{\"content\":\"{piece}\"}}")));
    }
    input.extend([finish(0, "stop"), finish(1, "stop"), usage_chunk()]);
    let got = run(&blocking(Api::Chat), Form::Events, &stream(&input));
    assert_eq!((got.step.clone(), got.reason.as_deref()), (Step::Blocked, Some("content_filter")));
    assert_eq!(lane(&got, ".choices[0].delta.content"), "Write to ");
    assert_eq!(reasons(&got), [(0, "content_filter".to_owned()), (1, "content_filter".to_owned())]);
    assert_eq!(last_data(&got), Value::String("[DONE]".into()));
    assert!(!got.text.contains("usage"));
    assert_no_leak(&got.text, MAIL);

    let asked = Options { usage_asked: true, input_estimate: 11, ..blocking(Api::Chat) };
    let got = run(&asked, Form::Events, &stream(&input));
    let said = events(&got.text);
    assert_eq!(said[said.len() - 2].data["usage"]["prompt_tokens"], 11);
    assert_eq!(said[said.len() - 2].data["choices"], Value::Array(vec![]));
}

#[test]
fn a_block_in_the_first_chunk_still_says_who_speaks() {
    let input = [delta(0, &format!(r#"{{"role":"assistant","content":"hi {MAIL} x"}}"#)), finish(0, "stop")];
    let got = run(&blocking(Api::Chat), Form::Events, &stream(&input));
    assert_eq!(lane(&got, ".choices[0].delta.content"), "hi ");
    assert_eq!(lane(&got, ".choices[0].delta.role"), "assistant");
    assert_eq!(reasons(&got), [(0, "content_filter".to_owned())]);
    assert_no_leak(&got.text, MAIL);
}

#[test]
fn broken_streams_never_end_cleanly() {
    let whole = hello();
    let truncated = |events: &[String]| sse(&events.iter().map(String::as_str).collect::<Vec<_>>());
    let kind = |got: &Got| match &got.step {
        Step::UpstreamFailed(fault) => Some(fault.kind),
        _ => None,
    };
    for options in [Options::new(Api::Chat), masking(Api::Chat)] {
        for (input, content) in [
            (String::new(), false),
            (truncated(&whole[..1]), false),
            (truncated(&whole[..3]), true),
            (stream(&whole[..3]), true),
            (format!("{}data: {{\"id\":\"x\",\"cho", truncated(&whole[..1])), false),
        ] {
            let got = run(&options, Form::Events, &input);
            assert_eq!(kind(&got), Some(FaultKind::Truncated), "{input}");
            assert!(content || !got.content && got.text.is_empty(), "{input}");
            assert!(!got.text.contains("[DONE]"));
        }
        for data in ["{not json}", "1} trailing", "{} {}", "{\"choices\":[}"] {
            let malformed = format!("{}data: {data}\n\n", truncated(&whole[..1]));
            assert_eq!(kind(&run(&options, Form::Events, &malformed)), Some(FaultKind::Malformed), "{data}");
        }
        let large = Options { max_event: 64, ..copy(&options) };
        assert_eq!(kind(&run(&large, Form::Events, &stream(&whole))), Some(FaultKind::TooLarge));
        for error in [
            r#"{"error":{"message":"CUDA out of memory","type":"InternalServerError","param":null,"code":500}}"#,
            r#"{"object":"error","message":"CUDA out of memory","type":"x","param":null,"code":500}"#,
        ] {
            for before in [0, 1, 3] {
                let mut input: Vec<&str> = whole[..before].iter().map(String::as_str).collect();
                input.push(error);
                let got = run(&options, Form::Events, &sse(&input));
                let Step::UpstreamFailed(fault) = &got.step else { panic!("{:?}", got.step) };
                assert_eq!((fault.kind, fault.status), (FaultKind::ErrorEvent, Some(500)));
                assert_eq!(fault.message, "CUDA out of memory");
                assert!(!got.text.contains("CUDA"));
                assert!(before == 3 || !got.content, "an error before content can be retried");
            }
        }
    }
}

#[test]
fn a_failed_answer_says_so_in_band() {
    let mut pipeline = Pipeline::new(masking(Api::Chat), Masker::new());
    pipeline.begin(Form::Events);
    let mut out = Vec::new();
    let input = sse(&[&delta(0, r#"{"content":"Hello there, wor"}"#)]);
    assert_eq!(pipeline.push(input.as_bytes(), &mut out), Step::More);
    let rejection = Rejection::new(crate::verdict::Code::UpstreamError, "the upstream broke off; try again");
    pipeline.fail(&rejection, "req-1", &mut out);
    let text = String::from_utf8(out).expect("UTF-8");
    let error = events(&text).pop().expect("an event").data;
    assert_eq!(error["error"]["code"], "UPSTREAM_ERROR");
    assert!(error["error"]["message"].is_string() && error["error"]["param"].is_null());
    assert!(!text.contains("[DONE]"));
    assert!(pipeline.discarded() > 0 && pipeline.held() == 0);
    let mut late = Vec::new();
    assert_eq!(pipeline.push(b"data: [DONE]\n\n", &mut late), Step::Done);
    assert!(late.is_empty());
}

#[test]
fn another_attempt_begins_anew() {
    let mut pipeline = Pipeline::new(masking(Api::Chat), Masker::new());
    let mut out = Vec::new();
    pipeline.begin(Form::Events);
    let first = sse(&[&delta(0, r#"{"role":"assistant","content":""}"#).replace("chatcmpl-9", "dead")]);
    assert_eq!(pipeline.push(first.as_bytes(), &mut out), Step::More);
    assert!(matches!(pipeline.finish(&mut out), Step::UpstreamFailed(_)));
    assert!(out.is_empty() && !pipeline.has_content());
    pipeline.begin(Form::Events);
    assert_eq!(pipeline.push(stream(&hello()).as_bytes(), &mut out), Step::Done);
    let text = String::from_utf8(out).expect("UTF-8");
    assert!(!text.contains("dead"));
    assert!(text.ends_with("data: [DONE]\n\n"));
}

#[test]
fn a_text_cut_short_gives_nothing_of_a_value_away() {
    for reason in ["length", "stop"] {
        let mut input = mail_in("content", 4);
        let text = format!("Write to {}", &MAIL[..MAIL.len() - 4]);
        input.truncate(1);
        input.extend(pieces(&text, 4).iter().map(|piece| delta(0, &format!("{{\"content\":\"{piece}\"}}"))));
        input.push(finish(0, reason));
        let got = run(&masking(Api::Chat), Form::Events, &stream(&input));
        let said = lane(&got, ".choices[0].delta.content");
        if reason == "length" {
            assert_eq!(said, "Write to [EMAIL_1]");
            assert_no_leak(&got.text, &MAIL[..MAIL.len() - 4]);
        } else {
            assert_eq!(said, text, "whole, it is no address");
        }
    }
}
