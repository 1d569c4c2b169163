use super::*;
use crate::chat::Call;

fn call(api: Api, body: &str) -> Call {
    Call::read(api, body.as_bytes(), ReadBounds::default()).expect(body)
}

/// `role place text`, with `!` for current and `=` for texts that may not be rewritten.
fn texts(api: Api, body: &str) -> Vec<String> {
    let call = call(api, body);
    call.texts
        .iter()
        .map(|text| {
            let marks =
                format!("{}{}", if text.current { "!" } else { "" }, if text.rewrite { "" } else { "=" });
            let form = match text.form {
                Form::Plain => "",
                Form::JsonInside => "in:",
                Form::Json => "json:",
            };
            let shown = body[text.span.clone()].trim_matches('"');
            assert_eq!(text.escaped, text.form != Form::Json && shown.contains('\\'));
            format!("{marks}{:?} {} {form}{shown}", text.role, call.location(body.as_bytes(), text))
        })
        .collect()
}

#[test]
fn scalars_of_chat() {
    let call = call(
        Api::Chat,
        r#"{"messages":[{"role":"user","content":"hi"}],"mod\u0065l":"gpt\u002d4o","stream":true,"n":2.0,
            "stream_options":{"include_usage":true},"max_tokens":10,"max_completion_tokens":20,"tools":[{}],
            "metadata":{"session_id":"s1"},"user":"u","logit_bias":{"1":1e999}}"#,
    );
    assert_eq!((&*call.model, call.stream, call.usage_asked, call.choices), ("gpt-4o", true, true, 2));
    assert_eq!((call.max_output, call.tools, call.stateful), (Some(20), true, false));
    assert_eq!(call.session.as_deref(), Some("s1"));
}

#[test]
fn nulls_are_absent() {
    let call = call(
        Api::Chat,
        r#"{"model":"m","messages":[{"role":"assistant","content":null,"refusal":null}],"stream":null,"n":null,
            "stream_options":null,"max_tokens":null,"tools":null,"metadata":null}"#,
    );
    assert!(!call.stream && !call.usage_asked && !call.tools && call.texts.is_empty());
    assert_eq!((call.choices, call.max_output, call.session), (1, None, None));
}

#[test]
fn texts_of_chat() {
    let body = r#"{"model":"m","user":"NO","metadata":{"a":"NO"},"safety_identifier":"NO","messages":[
        {"role":"system","content":"s"},
        {"content":"old","role":"user","name":"bob","extra":"NO"},
        {"role":"assistant","content":null,"refusal":"r","reasoning_content":"why","tool_calls":[
            {"id":"NO","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},
        {"role":"tool","tool_call_id":"NO","content":"earlier"},
        {"role":"user","content":[{"type":"text","text":"ne\u0077"},{"type":"image_url","image_url":{"url":"data:image/png;base64,NO","detail":"NO"}},
            {"type":"image_url","image_url":{"url":"https://x"}},{"type":"input_audio","input_audio":{"data":"data:;base64,NO","format":"NO"}},
            {"type":"file","file":{"file_data":"data:a/b;base64,NO","filename":"fn","file_id":"NO"}},{"type":"new","deep":[{"er":"found"}]}]},
        {"role":"assistant","tool_calls":[]},
        {"role":"tool","content":[{"type":"text","text":"later"}]},
        {"role":"assistant","content":"prefill"}],
        "tools":[{"type":"function","function":{"name":"NO","description":"d","parameters":{"type":"object"},"strict":true}}],
        "functions":[{"name":"NO","description":"d2"}],
        "response_format":{"type":"json_schema"},"prediction":{"type":"content","content":"p"},
        "chat_template_kwargs":{"a":"NO"},"guided_json":{"a":"NO"}}"#;
    assert_eq!(
        texts(Api::Chat, body),
        [
            "System messages[0].content s",
            "User messages[1].content old",
            "User messages[1].name bob",
            "Assistant messages[2].refusal r",
            "Assistant messages[2].reasoning_content why",
            "Assistant messages[2].tool_calls[0].function.name f",
            r#"Assistant messages[2].tool_calls[0].function.arguments in:{\"a\":1}"#,
            "Tool messages[3].content in:earlier",
            r"!User messages[4].content[0].text ne\u0077",
            "!User messages[4].content[2].image_url.url https://x",
            "!User messages[4].content[4].file.filename fn",
            "!User messages[4].content[5].deep[0].er found",
            "!Tool messages[6].content[0].text in:later",
            "Assistant messages[7].content prefill",
            "Schema tools[0].function.description d",
            r#"Schema tools[0].function.parameters json:{"type":"object"}"#,
            "Schema functions[0].description d2",
            r#"Schema response_format json:{"type":"json_schema"}"#,
            "Assistant prediction.content p",
        ]
    );
}

#[test]
fn texts_of_completions_and_embeddings() {
    assert_eq!(
        texts(Api::Completions, r#"{"model":"m","prompt":"p","suffix":"s","input":"NO"}"#),
        ["!Input prompt p", "!Input suffix s"]
    );
    assert_eq!(texts(Api::Completions, r#"{"model":"m","prompt":["a","",[1,2],3,"b"]}"#).len(), 2);
    assert!(texts(Api::Completions, r#"{"model":"m","prompt":[1,2,3]}"#).is_empty());
    assert_eq!(
        texts(Api::Embeddings, r#"{"model":"m","input":["a","b"]}"#),
        ["!Input input[0] a", "!Input input[1] b"]
    );
    assert!(texts(Api::Embeddings, r#"{"model":"m","input":[[1,2],[3]],"prompt":"NO"}"#).is_empty());
}

/// Thinking that a gateway's clients send back on the chat surface: what is signed is read and left as it is.
#[test]
fn signed_thinking_of_chat_messages() {
    let body = r#"{"model":"m","messages":[
        {"role":"assistant","thinking_blocks":[{"type":"thinking","thinking":"one","signature":"NO"},{"type":"thinking","thinking":"two"}],
            "reasoning_details":[{"type":"reasoning.text","text":"three","signature":"NO","format":"NO","index":0},
                {"type":"reasoning.summary","summary":"four"},{"type":"reasoning.text","text":"five"}]},
        {"role":"user","content":"q","thinking_blocks":[{"type":"thinking","thinking":"forged","signature":"NO"}]}]}"#;
    assert_eq!(
        texts(Api::Chat, body),
        [
            "=Assistant messages[0].thinking_blocks[0].thinking one",
            "Assistant messages[0].thinking_blocks[1].thinking two",
            "=Assistant messages[0].reasoning_details[0].text three",
            "Assistant messages[0].reasoning_details[1].summary four",
            "Assistant messages[0].reasoning_details[2].text five",
            "!User messages[1].content q",
            "!User messages[1].thinking_blocks[0].thinking forged",
        ]
    );
}

#[test]
fn texts_of_anthropic_messages() {
    let body = r#"{"model":"m","max_tokens":1,"metadata":{"user_id":"u_session_1"},"system":[{"type":"text","text":"first","cache_control":{"type":"ephemeral"}},{"type":"text","text":"second"}],
        "messages":[{"role":"user","content":"old"},
        {"role":"assistant","content":[{"type":"thinking","thinking":"signed","signature":"NO"},{"type":"redacted_thinking","data":"opaque!"},
            {"type":"thinking","thinking":"unsigned"},{"type":"text","text":"t"},{"type":"tool_use","id":"NO","name":"f","input":{"a":"b@c"}}]},
        {"role":"user","content":[{"content":[{"type":"text","text":"result"}],"type":"tool_result","tool_use_id":"NO","is_error":false},
            {"type":"thinking","thinking":"forged","signature":"NO"}]},
        {"role":"assistant","content":[{"type":"tool_use","id":"NO","name":"f","input":{}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"NO","content":"last"}]},
        {"role":"user","content":[{"type":"document","source":{"type":"text","media_type":"NO","data":"plain"},"title":"ti"},
            {"type":"image","source":{"type":"base64","media_type":"NO","data":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}]}],
        "tools":[{"name":"NO","description":"d","input_schema":{"type":"object"}}]}"#;
    assert_eq!(
        texts(Api::Messages, body),
        [
            "=System system[0].text first",
            "System system[1].text second",
            "User messages[0].content old",
            "=Assistant messages[1].content[0].thinking signed",
            "=Assistant messages[1].content[1].data opaque!",
            "Assistant messages[1].content[2].thinking unsigned",
            "Assistant messages[1].content[3].text t",
            "Assistant messages[1].content[4].name f",
            r#"Assistant messages[1].content[4].input json:{"a":"b@c"}"#,
            "Tool messages[2].content[0].content[0].text in:result",
            "User messages[2].content[1].thinking forged",
            "Assistant messages[3].content[0].name f",
            "Tool messages[4].content[0].content in:last",
            "!User messages[5].content[0].source.data plain",
            "!User messages[5].content[0].title ti",
            "Schema tools[0].description d",
            r#"Schema tools[0].input_schema json:{"type":"object"}"#,
        ]
    );
    assert_eq!(call(Api::Messages, body).session.as_deref(), Some("u_session_1"));
    let string = r#"{"model":"m","system":"whole","messages":[{"role":"user","content":"q"},
        {"role":"user","content":[{"type":"tool_result","content":"r"}]}]}"#;
    assert_eq!(
        texts(Api::CountTokens, string),
        ["System system whole", "!User messages[0].content q", "!Tool messages[1].content[0].content in:r"]
    );
}

#[test]
fn texts_of_responses() {
    let body = r#"{"model":"m","instructions":"i","prompt_cache_key":"k","conversation":{"id":"c"},"store":false,"input":[
        {"role":"user","content":"old"},
        {"type":"reasoning","id":"NO","summary":[{"type":"summary_text","text":"sum"}],"encrypted_content":"NO"},
        {"type":"function_call","call_id":"NO","name":"f","arguments":"{}"},
        {"type":"message","role":"user","content":[{"type":"input_text","text":"new"},{"type":"input_image","image_url":"data:image/png;base64,NO"}]},
        {"type":"function_call_output","call_id":"NO","output":"out"},
        {"type":"custom_tool_call","name":"f","input":"raw"}],
        "text":{"format":{"type":"text"}}}"#;
    assert_eq!(
        texts(Api::Responses, body),
        [
            "System instructions i",
            "User input[0].content old",
            "Assistant input[1].summary[0].text sum",
            "Assistant input[2].name f",
            "Assistant input[2].arguments in:{}",
            "!User input[3].content[0].text new",
            "!Tool input[4].output in:out",
            "Assistant input[5].name f",
            "Assistant input[5].input raw",
            r#"Schema text json:{"format":{"type":"text"}}"#,
        ]
    );
    let read = call(Api::Responses, body);
    assert_eq!((read.stateful, read.store, read.session.as_deref()), (true, Some(false), Some("k")));
    assert_eq!(texts(Api::Responses, r#"{"model":"m","input":"q"}"#), ["!Input input q"]);
    assert_eq!(
        texts(Api::Responses, r#"{"model":"m","prompt":{"id":"NO","variables":{"x":"v"}}}"#),
        ["!Input prompt.variables.x v"]
    );
    for (field, stateful) in [
        (r#""previous_response_id":"r""#, true),
        (r#""previous_response_id":null"#, false),
        (r#""conversation":"c""#, true),
        (r#""prompt":{"id":"p"}"#, true),
        (r#""prompt":null,"store":true"#, false),
        (r#""input":[{"type":"item_reference","id":"i"}]"#, true),
    ] {
        assert_eq!(
            call(Api::Responses, &format!(r#"{{"model":"m",{field}}}"#)).stateful,
            stateful,
            "{field}"
        );
    }
}

#[test]
fn bad_requests_say_what_to_write() {
    use Api::{Chat, Completions, Embeddings, Messages, Responses};
    use Code::{InvalidJson, InvalidRequest};
    const M: &str = r#""model":"m","messages":[{"role":"user","content":"a"}]"#;
    let with = |field: &str| format!("{{{M},{field}}}");
    let message = |message: &str| format!(r#"{{"model":"m","messages":[{message}]}}"#);
    let table = [
        (Chat, String::new(), InvalidJson, "", "is empty"),
        (Chat, "{".into(), InvalidJson, "", "at byte 1"),
        (Chat, "[]".into(), InvalidRequest, "", "The body must be a JSON object"),
        (Chat, "null".into(), InvalidRequest, "", "it is null"),
        (Chat, "{}".into(), InvalidRequest, "model", "is missing"),
        (Chat, r#"{"model":"m"}"#.into(), InvalidRequest, "messages", "is missing"),
        (Embeddings, r#"{"model":"m"}"#.into(), InvalidRequest, "input", "is missing"),
        (Messages, r#"{"model":"m"}"#.into(), InvalidRequest, "messages", "is missing"),
        (
            Chat,
            r#"{"messages":[{"role":"user","content":"a"}]}"#.into(),
            InvalidRequest,
            "model",
            "GET /v1/models",
        ),
        (Chat, r#"{"model":null}"#.into(), InvalidRequest, "model", "as a string; it is null"),
        (Chat, r#"{"model":["m"]}"#.into(), InvalidRequest, "model", "it is an array"),
        (Chat, r#"{"model":""}"#.into(), InvalidRequest, "model", "is empty"),
        (Chat, r#"{"model":".."}"#.into(), InvalidRequest, "model", "not a name"),
        (Chat, r#"{"model":"a\nb"}"#.into(), InvalidRequest, "model", "not a name"),
        (Chat, format!(r#"{{"model":"{}"}}"#, "m".repeat(257)), InvalidRequest, "model", "longer than"),
        (
            Chat,
            r#"{"model":"m","messages":"hi"}"#.into(),
            InvalidRequest,
            "messages",
            "must be an array of messages",
        ),
        (Chat, r#"{"model":"m","messages":{}}"#.into(), InvalidRequest, "messages", "it is an object"),
        (Chat, message(""), InvalidRequest, "messages", "is empty"),
        (Chat, message(r#""hi""#), InvalidRequest, "messages[0]", "it is a string"),
        (Chat, message(r#"{"content":"a"}"#), InvalidRequest, "messages[0]", "has no role"),
        (Chat, message(r#"{"role":1}"#), InvalidRequest, "messages[0].role", "it is a number"),
        (
            Chat,
            message(r#"{"role":"user","content":{}}"#),
            InvalidRequest,
            "messages[0].content",
            "it is an object",
        ),
        (
            Chat,
            message(r#"{"role":"user","content":1}"#),
            InvalidRequest,
            "messages[0].content",
            "it is a number",
        ),
        (Chat, with(r#""stream":"true""#), InvalidRequest, "stream", "must be true or false; it is a string"),
        (Chat, with(r#""stream":1"#), InvalidRequest, "stream", "it is a number"),
        (Chat, with(r#""stream_options":true"#), InvalidRequest, "stream_options", "include_usage"),
        (
            Chat,
            with(r#""stream_options":{"include_usage":1}"#),
            InvalidRequest,
            "stream_options.include_usage",
            "true or false",
        ),
        (Chat, with(r#""n":0"#), InvalidRequest, "n", "from 1 to 128; it is 0"),
        (Chat, with(r#""n":129"#), InvalidRequest, "n", "it is 129"),
        (Chat, with(r#""n":1.5"#), InvalidRequest, "n", "it is 1.5"),
        (Chat, with(r#""n":1e999"#), InvalidRequest, "n", "it is 1e999"),
        (Chat, with(r#""n":"2""#), InvalidRequest, "n", "it is a string"),
        (Chat, with(r#""max_tokens":-1"#), InvalidRequest, "max_tokens", "0 or more; it is -1"),
        (Chat, with(r#""max_tokens":99999999999999999999999"#), InvalidRequest, "max_tokens", "whole number"),
        (Chat, with(r#""tools":{}"#), InvalidRequest, "tools", "array of tools"),
        (Chat, with(r#""tools":["a"]"#), InvalidRequest, "tools[0]", "it is a string"),
        (
            Chat,
            with(r#""tools":[{"function":{"description":1}}]"#),
            InvalidRequest,
            "tools[0].function.description",
            "must be a string",
        ),
        (Completions, r#"{"model":"m","prompt":{}}"#.into(), InvalidRequest, "prompt", "array of token ids"),
        (Embeddings, r#"{"model":"m","input":7}"#.into(), InvalidRequest, "input", "it is a number"),
        (Responses, r#"{"model":"m","input":7}"#.into(), InvalidRequest, "input", "array of items"),
        (Responses, r#"{"model":"m","input":["a"]}"#.into(), InvalidRequest, "input[0]", "an item"),
        (
            Responses,
            r#"{"model":"m","previous_response_id":7}"#.into(),
            InvalidRequest,
            "previous_response_id",
            "id of a response",
        ),
        (Messages, r#"{"model":"m","system":7}"#.into(), InvalidRequest, "system", "text blocks"),
        // Duplicates, plain and escaped, where we read.
        (Chat, with(r#""model":"other""#), InvalidJson, "model", "a second time"),
        (Chat, with(r#""mod\u0065l":"other""#), InvalidJson, "model", "a second time"),
        (Chat, with(r#""messages":[]"#), InvalidJson, "messages", "a second time"),
        (Chat, with(r#""stream":true,"stream":false"#), InvalidJson, "stream", "a second time"),
        (
            Chat,
            message(r#"{"role":"user","role":"system"}"#),
            InvalidJson,
            "messages[0].role",
            "a second time",
        ),
        (
            Chat,
            message(r#"{"role":"user","content":"a","c\u006fntent":"b"}"#),
            InvalidJson,
            "messages[0].content",
            "a second time",
        ),
        (
            Chat,
            message(r#"{"role":"user","content":[{"type":"text","text":"a","text":"b"}]}"#),
            InvalidJson,
            "messages[0].content[0].text",
            "a second time",
        ),
        (
            Chat,
            with(r#""stream_options":{"include_usage":true,"include_usage":false}"#),
            InvalidJson,
            "stream_options.include_usage",
            "a second time",
        ),
        // Other cases of a key that we read.
        (Chat, with(r#""Messages":[]"#), InvalidRequest, "Messages", "write `messages`"),
        (Chat, with(r#""me\u017f\u017fages":[]"#), InvalidRequest, "", "in case only"),
        (
            Chat,
            message(r#"{"role":"user","CONTENT":"a"}"#),
            InvalidRequest,
            "messages[0].CONTENT",
            "write `content`",
        ),
        // JSON that is none, in fields that nobody reads too.
        (Chat, with(r#""x":[1,]"#), InvalidJson, "x[1]", "a value was expected"),
        (Chat, with(r#""x":"\ud800""#), InvalidJson, "x", "surrogate"),
        (
            Chat,
            message("{\"role\":\"user\",\"content\":\"a\u{1}\"}"),
            InvalidJson,
            "messages[0].content",
            "control character",
        ),
        (Chat, format!("{{{M}}} x"), InvalidJson, "", "after the end"),
        (
            Chat,
            with(&format!(r#""x":{}{}"#, "[".repeat(128), "]".repeat(128))),
            InvalidJson,
            "",
            "nested too deeply",
        ),
    ];
    for (api, body, code, param, says) in table {
        let rejection = Call::read(api, body.as_bytes(), ReadBounds::default()).expect_err(&body);
        assert_eq!(rejection.code, code, "{body}: {rejection}");
        assert!(rejection.message.contains(says), "{body}: {rejection}");
        if says == "in case only" {
            assert_eq!(rejection.param.as_deref(), Some("[*]"));
        // Deep nesting has a path too long to repeat here.
        } else if says != "nested too deeply" {
            assert_eq!(rejection.param.as_deref().unwrap_or_default(), param, "{body}: {rejection}");
        }
    }
    let invalid = Call::read(Chat, b"{\"model\":\"\xff\"}", ReadBounds::default()).expect_err("not UTF-8");
    assert_eq!((invalid.code, invalid.message.contains("at byte 10")), (InvalidJson, true));
}

#[test]
fn duplicates_where_nobody_reads_pass() {
    let body =
        r#"{"model":"m","messages":[{"role":"user","content":"a","x":1,"x":2}],"logit_bias":{"1":1,"1":2}}"#;
    assert_eq!(call(Api::Chat, body).texts.len(), 1);
}

#[test]
fn content_nests_as_deep_as_is_allowed() {
    let nested = |depth: usize| {
        let (open, close) = (r#"{"x":["#.repeat(depth / 2), "]}".repeat(depth / 2));
        format!(r#"{{"model":"m","messages":[{{"role":"user","content":[{open}"deep"{close}]}}]}}"#)
    };
    let read = |depth: usize| {
        let bounds = ReadBounds { max_depth: usize::MAX, ..ReadBounds::default() };
        Call::read(Api::Chat, nested(depth).as_bytes(), bounds)
    };
    assert_eq!(read(ReadBounds::DEEPEST - 4).expect("deep, but not too deep").texts.len(), 1);
    let rejection = read(100_000).expect_err("too deep");
    assert!(rejection.code == Code::InvalidJson && rejection.message.len() < 500, "{rejection}");
}

#[test]
fn the_number_of_texts_is_bounded() {
    let body = format!(r#"{{"model":"m","input":[{}"x"]}}"#, r#""x","#.repeat(9));
    let read = |max_texts| {
        Call::read(Api::Embeddings, body.as_bytes(), ReadBounds { max_texts, ..ReadBounds::default() })
    };
    assert!(read(10).is_ok());
    let rejection = read(9).expect_err("ten texts");
    assert_eq!((rejection.code, rejection.param.as_deref()), (Code::InvalidRequest, Some("input[9]")));
}

#[test]
fn truncated_anywhere_it_is_refused_and_nothing_panics() {
    let body = r#"{"model":"m","system":[{"type":"text","text":"a\u00e9"}],"messages":[{"role":"user","content":[{"type":"tool_result","content":"😀"}]}]}"#;
    for cut in 0..body.len() {
        for api in
            [Api::Chat, Api::Messages, Api::Responses, Api::Completions, Api::Embeddings, Api::CountTokens]
        {
            let cut = Call::read(api, &body.as_bytes()[..cut], ReadBounds::default());
            assert_eq!(cut.expect_err("cut").code, Code::InvalidJson);
        }
    }
}

#[test]
fn estimates() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAAAAAAAAAAAAAAAAAAAAAA"}}]}],"max_tokens":100,"n":3}"#;
    let estimate = call(Api::Chat, body).estimate(body.len());
    assert_eq!((estimate.input, estimate.output), ((body.len() as u64 - 46).div_ceil(4) + 1_000, 300));
    let huge = r#"{"model":"m","prompt":"x","max_tokens":18446744073709551615,"best_of":128}"#;
    assert_eq!(call(Api::Completions, huge).estimate(huge.len()).total(), u64::MAX);
    let embed = r#"{"model":"m","input":"abcd"}"#;
    assert_eq!(call(Api::Embeddings, embed).estimate(embed.len()).output, 0);
}
