//! Texts that are one to the client, however a server spreads them: over ids, members, choices and past an end.

use serde_json::json;

use super::chat::*;
use super::*;

/// Makes a piece a member of its choice.
type Member<'a> = &'a dyn Fn(&str) -> String;

const SPLIT: [usize; 3] = [1, 7, 200];

fn masked(api: Api, input: &[String]) -> Got {
    let got = run(&masking(api), Form::Events, &stream(input));
    assert_no_leak(&got.text, MAIL);
    got
}

/// A piece of the call at index 0, under an id and perhaps a name.
fn call(id: &str, name: Option<&str>, arguments: &str) -> String {
    let name = name.map(|name| format!(r#""name":"{name}","#)).unwrap_or_default();
    delta(
        0,
        &format!(
            r#"{{"tool_calls":[{{"index":0,"id":"{id}","function":{{{name}"arguments":"{arguments}"}}}}]}}"#
        ),
    )
}

const ARGUMENTS: &str = ".choices[0].delta.tool_calls[0].function.arguments";

#[test]
fn a_new_id_in_every_piece_is_no_new_call() {
    let arguments = json!({"to": MAIL, "n": 12}).to_string();
    for size in SPLIT {
        for repeats_name in [false, true] {
            for again in [false, true] {
                let mut input = vec![delta(0, r#"{"role":"assistant","content":null}"#)];
                for round in 0..=u32::from(again) {
                    for (at, piece) in pieces(&arguments, size).iter().enumerate() {
                        let name = (at == 0 || repeats_name).then_some("send");
                        input.push(call(&format!("call_{round}_{at}"), name, piece));
                    }
                }
                input.push(finish(0, "tool_calls"));
                let got = masked(Api::Chat, &input);
                assert_eq!(got.step, Step::Done);
                let one = r#"{"to":"email-1@masked.invalid","n":12}"#;
                let want = if again { one.repeat(2) } else { one.to_owned() };
                assert_eq!(lane(&got, ARGUMENTS), want, "by {size}");
            }
        }
    }
}

#[test]
fn a_new_id_with_another_name_is_a_new_call() {
    let one = format!(r#"{{\"to\":\"{}"#, &MAIL[..20]);
    let input = [
        call("a", Some("send"), ""),
        call("b", Some("other"), &one),
        call("c", Some("look"), r#"{\"x\":1}"#),
        call("d", Some("look"), r#"{\"x\":2}"#),
        finish(0, "tool_calls"),
    ];
    let got = masked(Api::Chat, &input);
    assert_eq!(got.step, Step::Done);
    assert_eq!(lane(&got, ARGUMENTS), r#"{"to":"email-1@masked.invalid{"x":1}{"x":2}"#);
    let name = ".choices[0].delta.tool_calls[0].function.name";
    assert_eq!(lane(&got, name), "sendotherlooklook");
}

#[test]
fn a_message_beside_deltas_says_nothing_again() {
    let text = format!("Hello there, write to {MAIL} now, she said.");
    for size in SPLIT {
        for (message_first, last_has_delta) in [(true, true), (false, true), (true, false)] {
            let mut so_far = String::new();
            let beside = |so_far: &str, piece: Option<&str>, end: &str| {
                let message = format!(
                    r#""message":{{"role":"assistant","content":"{so_far}","reasoning_details":[{{"type":"x","text":"{so_far}"}}]}}"#
                );
                let delta =
                    piece.map(|piece| format!(r#""delta":{{"role":"assistant","content":"{piece}"}}"#));
                let mut members = vec![message];
                members.extend(delta);
                if !message_first {
                    members.reverse();
                }
                chunk(&format!(r#"{{"index":0,"finish_reason":{end},{}}}"#, members.join(",")))
            };
            let mut input = vec![beside("", Some(""), "null")];
            for piece in pieces(&text, size) {
                so_far.push_str(&piece);
                input.push(beside(&so_far, Some(&piece), "null"));
            }
            input.push(beside(&so_far, last_has_delta.then_some(""), "\"stop\""));
            let got = masked(Api::Chat, &input);
            assert_eq!(got.step, Step::Done);
            assert_eq!(
                lane(&got, ".choices[0].delta.content"),
                "Hello there, write to [EMAIL_1] now, she said.",
                "by {size}"
            );
            let all = lanes(&events(&got.text));
            assert!(all.keys().any(|path| path.ends_with(".message.content")));
            assert!(all.iter().all(|(path, text)| !path.ends_with(".message.content") || text.is_empty()));
            assert_eq!(
                (got.findings, got.kept.as_str()),
                (1, "Hello there, write to [EMAIL_1] now, she said.")
            );
            assert_eq!(reasons(&got), [(0, "stop".to_owned())]);
            let recording = Options { guard: guard(|_| Action::Log), ..Options::new(Api::Chat) };
            let got = run(&recording, Form::Events, &stream(&input));
            assert_eq!((got.text, got.findings), (stream(&input), 1));
        }
    }
}

#[test]
fn messages_without_deltas_are_pieces() {
    for delta in ["", r#""delta":{},"#, r#""delta":{"content":""},"#] {
        for size in SPLIT {
            let mut input: Vec<String> = pieces(&format!("Write to {MAIL} now"), size)
                .iter()
                .map(|piece| chunk(&format!(r#"{{"index":0,{delta}"message":{{"content":"{piece}"}}}}"#)))
                .collect();
            input.push(finish(0, "stop"));
            let got = masked(Api::Chat, &input);
            let all = lanes(&events(&got.text));
            let said: String = [".choices[0].message.content", ".choices[0].delta.content"]
                .iter()
                .filter_map(|path| all.get(*path))
                .cloned()
                .collect();
            assert_eq!((&got.step, &*said), (&Step::Done, "Write to [EMAIL_1] now"), "{delta} by {size}");
        }
    }
    let twice = chunk(r#"{"index":0,"delta":{"content":"a"},"delta":{"content":"b"}}"#);
    assert_eq!(
        run(&masking(Api::Chat), Form::Events, &stream(&[twice])).step,
        Step::GuardFailed("an event of unknown form")
    );
}

#[test]
fn what_stands_beside_a_delta_leaves_beside_it() {
    let text = format!("Write to {MAIL}");
    for size in [1, 7] {
        let piece = |piece: &String| chunk(&format!(r#"{{"index":0,"delta":{{}},"text":"{piece}"}}"#));
        let mut input: Vec<String> = pieces(&text, size).iter().map(piece).collect();
        input.push(finish(0, "stop"));
        let got = run(&masking(Api::Chat), Form::Events, &stream(&input));
        let all = lanes(&events(&got.text));
        let said = |path: &str| all.get(path).map(String::as_str);
        assert_eq!(
            (said(".choices[0].text"), said(".choices[0].delta.content")),
            (Some("Write to [EMAIL_1]"), None)
        );
    }
}

/// Some upstreams write an end into every chunk, and mean the last.
#[test]
fn an_end_beside_a_text_is_one_if_no_text_follows() {
    let text = format!("Write to {MAIL} now, or to {MAIL}");
    let ended = |text: &str| {
        chunk(&format!(r#"{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":"stop"}}"#))
    };
    for size in [1, 3, 7, 100] {
        for last in [true, false] {
            let mut input: Vec<String> = pieces(&text, size).iter().map(|piece| ended(piece)).collect();
            if !last {
                input.push(finish(0, "stop"));
            }
            let got = run(&masking(Api::Chat), Form::Events, &stream(&input));
            let all = lanes(&events(&got.text));
            let said = all.get(".choices[0].delta.content").map(String::as_str).unwrap_or_default();
            assert_eq!(
                (&got.step, said),
                (&Step::Done, "Write to [EMAIL_1] now, or to [EMAIL_1]"),
                "{size} {last}: {}",
                got.text
            );
            assert!(got.text.contains(r#""finish_reason":"stop""#), "{}", got.text);
        }
    }
    // Whatever comes next, the chunk that waits is not lost.
    type Ends = fn(&Step) -> bool;
    let cases: [(&str, Ends); 3] = [
        (r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#, |step| {
            *step == Step::Done
        }),
        ("{", |step| matches!(step, Step::GuardFailed(_))),
        (
            r#"{"error":{"message":"busy"}}"#,
            |step| matches!(step, Step::UpstreamFailed(fault) if fault.kind == FaultKind::ErrorEvent),
        ),
    ];
    for (next, ends) in cases {
        let got = run(&masking(Api::Chat), Form::Events, &stream(&[ended("that is all"), next.to_owned()]));
        assert!(got.text.contains("that is all") && ends(&got.step), "{next}: {:?} {}", got.step, got.text);
    }
}

#[test]
fn no_text_follows_the_end_of_a_choice() {
    let (left, right) = MAIL.split_at(12);
    let content = |text: &str| format!(r#"{{"content":"{text}"}}"#);
    let tool =
        |text: &str| format!(r#"{{"tool_calls":[{{"index":0,"function":{{"arguments":"{text}"}}}}]}}"#);
    for say in [&content as Member<'_>, &tool] {
        let apart = vec![delta(0, &say(left)), finish(0, "stop"), delta(0, &say(right)), finish(0, "stop")];
        let mut both = vec![delta(1, &content("x")), delta(0, &say(left)), finish(0, "stop")];
        both.extend([delta(1, &content("y")), delta(0, &say(right)), finish(1, "stop")]);
        let mut one: Vec<String> = vec![chunk(&format!(
            r#"{{"index":0,"delta":{},"finish_reason":"stop"}},{{"index":0,"delta":{}}}"#,
            say(left),
            say(right)
        ))];
        one.push(finish(0, "stop"));
        for input in [apart, both, one] {
            let got = run(&masking(Api::Chat), Form::Events, &stream(&input));
            assert_eq!(got.step, Step::GuardFailed("a text goes on after its end"), "{input:?}");
            assert!(!got.text.contains(right), "{}", got.text);
            let recording = Options { guard: guard(|_| Action::Log), ..Options::new(Api::Chat) };
            for options in [Options::new(Api::Chat), recording] {
                let got = run(&options, Form::Events, &stream(&input));
                assert_eq!((got.step, got.text), (Step::Done, stream(&input)));
            }
        }
    }
    let input: Vec<String> =
        [hello(), vec![delta(0, r#"{"role":"assistant","content":""}"#), finish(0, "stop")]].concat();
    assert_eq!(run(&masking(Api::Chat), Form::Events, &stream(&input)).step, Step::Done);
}

#[test]
fn choices_that_end_in_one_chunk_keep_their_order() {
    for reason in ["stop", "length"] {
        let choice = |index: u32, text: &str| {
            format!(r#"{{"index":{index},"delta":{{"content":"{text}"}},"finish_reason":"{reason}"}}"#)
        };
        let texts = ["Hello world", "Hi", &format!("to {MAIL}"), "Good day"];
        let together: Vec<String> = (0..).zip(texts).map(|(index, text)| choice(index, text)).collect();
        let got = masked(Api::Chat, &[chunk(&together.join(","))]);
        assert_eq!(got.step, Step::Done);
        for (index, text) in ["Hello world", "Hi", "to [EMAIL_1]", "Good day"].iter().enumerate() {
            assert_eq!(lane(&got, &format!(".choices[{index}].delta.content")), *text);
        }
    }
}

#[test]
fn unknown_texts_of_a_choice_are_lanes() {
    let text = format!("Write to {MAIL} now");
    for (api, beside) in [(Api::Completions, r#""text":"""#), (Api::Chat, r#""delta":{}"#)] {
        for size in SPLIT {
            let members: [(&str, Member<'_>); 3] = [
                ("reasoning", &|piece| format!(r#""reasoning":"{piece}""#)),
                ("notes.text", &|piece| format!(r#""notes":{{"type":"note","text":"{piece}"}}"#)),
                ("notes[0]", &|piece| format!(r#""notes":["{piece}"]"#)),
            ];
            for (path, member) in members {
                let mut input: Vec<String> = pieces(&text, size)
                    .iter()
                    .map(|piece| chunk(&format!(r#"{{"index":0,{beside},{}}}"#, member(piece))))
                    .collect();
                input.push(chunk(&format!(r#"{{"index":0,{beside},"finish_reason":"stop"}}"#)));
                let got = masked(api, &input);
                let mut all = lanes(&events(&got.text));
                let said = all.remove(&format!(".choices[0].{path}"));
                assert_eq!(
                    (&got.step, said.as_deref()),
                    (&Step::Done, Some("Write to [EMAIL_1] now")),
                    "{path} by {size}: {}",
                    got.text
                );
                for said in events(&got.text) {
                    let choice = &said.data["choices"][0];
                    let usual = if api == Api::Chat { &choice["delta"] } else { &choice["text"] };
                    assert!(said.data.is_string() || !usual.is_null(), "{}", said.data);
                }
            }
        }
    }
}

#[test]
fn unknown_texts_of_a_function_are_lanes() {
    let text = format!("Write to {MAIL} now");
    for size in SPLIT {
        for (path, open, close) in [
            ("tool_calls[1].function", r#""tool_calls":[{"index":1,"function":{"#, "}}]"),
            ("function_call", r#""function_call":{"#, "}"),
        ] {
            let mut input = vec![delta(0, r#"{"role":"assistant","content":""}"#)];
            for piece in pieces(&text, size) {
                input.push(delta(0, &format!(r#"{{{open}"thought":"{piece}"{close}}}"#)));
            }
            input.push(finish(0, "tool_calls"));
            let got = masked(Api::Chat, &input);
            assert_eq!(
                (&got.step, &*lane(&got, &format!(".choices[0].delta.{path}.thought"))),
                (&Step::Done, "Write to [EMAIL_1] now"),
                "by {size}: {}",
                got.text
            );
        }
    }
}

/// What servers tell beside a choice leaves as it came, in the chunk it came in.
#[test]
fn what_stands_whole_beside_a_choice_is_not_torn() {
    let verdict = r#"{"hate":{"filtered":false,"severity":"safe"},"custom":"none"}"#;
    for member in [
        r#""native_finish_reason":"completed""#.to_owned(),
        r#""stop_reason":"word""#.to_owned(),
        r#""matched_stop":"word""#.to_owned(),
        format!(r#""content_filter_results":{verdict}"#),
        r#""content_filter_offsets":{"check_offset":1,"start_offset":1,"end_offset":2}"#.to_owned(),
        r#""error":{"code":502,"message":"word"}"#.to_owned(),
        r#""prompt_logprobs":[null,{"1":{"logprob":-1.5,"rank":1,"decoded_token":"word"}}]"#.to_owned(),
        r#""annotations":[{"title":"word"}]"#.to_owned(),
    ] {
        let input = [
            chunk(&format!(r#"{{"index":0,"delta":{{"content":"Good day. "}},{member}}}"#)),
            finish(0, "stop"),
            chunk(&format!(r#"{{"index":0,"delta":{{}},{member}}}"#)),
        ];
        let got = run(&masking(Api::Chat), Form::Events, &stream(&input));
        assert_eq!((got.step, got.text), (Step::Done, stream(&input)), "{member}");
    }
}

#[test]
fn only_an_end_of_its_own_makes_a_text_whole() {
    let text = format!("Write to {}", &MAIL[..MAIL.len() - 4]);
    for (end, whole) in [
        (r#""finish_reason":"stop""#, true),
        (r#""finish_reason":"tool_calls""#, true),
        (r#""finish_reason":"function_call","stop_reason":null"#, true),
        (r#""finish_reason":"stop","matched_stop":null"#, true),
        (r#""finish_reason":"length""#, false),
        (r#""finish_reason":"content_filter""#, false),
        (r#""finish_reason":"abort""#, false),
        (r#""finish_reason":"error""#, false),
        (r#""finish_reason":"stop","stop_reason":".com""#, false),
        (r#""stop_reason":"","finish_reason":"stop""#, true),
        (r#""stop_reason":13,"finish_reason":"stop""#, true),
        (r#""finish_reason":"stop","matched_stop":".com""#, false),
    ] {
        for size in [3, 100] {
            for with_text in [false, true] {
                let mut said = pieces(&text, size);
                let last = if with_text { said.pop().unwrap_or_default() } else { String::new() };
                let mut input: Vec<String> =
                    said.iter().map(|piece| delta(0, &format!(r#"{{"content":"{piece}"}}"#))).collect();
                input.push(chunk(&format!(r#"{{"index":0,"delta":{{"content":"{last}"}},{end}}}"#)));
                let got = run(&masking(Api::Chat), Form::Events, &stream(&input));
                let want = if whole { &*text } else { "Write to [EMAIL_1]" };
                assert_eq!(
                    (&got.step, &*lane(&got, ".choices[0].delta.content")),
                    (&Step::Done, want),
                    "{end}"
                );
            }
        }
    }
}
