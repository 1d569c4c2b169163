//! What a client sends.

use serde_json::{Value, json};
use tollgate_filters::chat::Api;

use crate::{Attempt, CARD, Carrier, EMAIL, TOKEN};

const DECODED: &str = "Decoded text is scanned, whatever its JSON spelling.";
const FOLDED: &str = "Rules see folded text; the original characters are what is cut.";
const BY_DESIGN: &str = "Each text is scanned by itself; what is whole in none of them is not found.";
const ENCODING: &str = "Other encodings than `decode` names are not looked through: any could be used, and decoding all would find values by chance.";
const ESCAPED: &str =
    "Escapes are looked through where `decode` says so; the original bytes are what is cut.";
const ONE_LAYER: &str = "One layer is decoded: what reads the text next would have to decode it twice.";
const IDS: &str =
    "Ids and labels that only the provider's billing reads: passed on, never a reason to block.";

/// A user who says `text`.
fn says(text: &str) -> String {
    json!({"model": "m", "messages": [{"role": "user", "content": text}]}).to_string()
}

fn text(what: &'static str, text: impl Into<String>, found: bool, why: &'static str) -> Attempt {
    let written = text.into();
    let body = says(&format!("Write to {written} now"));
    Attempt { what, written, carrier: Carrier::Request(Api::Chat, body), found, why }
}

/// A message literal as it stands in the body.
fn literal(what: &'static str, written: String, found: bool, why: &'static str) -> Attempt {
    let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{written}"}}]}}"#);
    Attempt { what, written, carrier: Carrier::Request(Api::Chat, body), found, why }
}

#[expect(clippy::needless_pass_by_value, reason = "tables read better without borrows")]
fn body(what: &'static str, written: &str, api: Api, body: Value, found: bool, why: &'static str) -> Attempt {
    Attempt {
        what,
        written: written.to_owned(),
        carrier: Carrier::Request(api, body.to_string()),
        found,
        why,
    }
}

fn raw(what: &'static str, written: &str, raw: String, found: bool, why: &'static str) -> Attempt {
    Attempt { what, written: written.to_owned(), carrier: Carrier::Request(Api::Chat, raw), found, why }
}

pub(crate) fn attempts() -> Vec<Attempt> {
    [spellings(), characters(), rewritings(), places(), splits()].into_iter().flatten().collect()
}

fn spellings() -> Vec<Attempt> {
    let all: String = EMAIL.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    vec![
        literal("JSON escape of one character", EMAIL.replace('@', "\\u0040"), true, DECODED),
        literal("JSON escapes of all characters", all.clone(), true, DECODED),
        literal(
            "Escaped slashes in a URL with a password",
            r"postgres:\/\/app:s3cr3tPw9@db.internal\/x".into(),
            true,
            DECODED,
        ),
        literal(
            "Escapes escaped twice in a message",
            EMAIL.replace('@', "\\\\u0040"),
            false,
            "A message is text, not JSON: the model reads a backslash. In tool arguments and results, which are JSON, it is found.",
        ),
        body(
            "Escapes escaped twice in tool arguments",
            r#""arguments": "{\"to\": \"alice.liddell\\u0040corp-secret.com\"}""#,
            Api::Chat,
            json!({"model": "m", "messages": [{"role": "assistant", "tool_calls": [{"id": "1", "type": "function",
                "function": {"name": "f", "arguments": format!("{{\"to\": \"{}\"}}", EMAIL.replace('@', "\\u0040"))}}]}]}),
            true,
            "JSON inside of JSON is decoded once more.",
        ),
        body(
            "JSON in JSON in JSON",
            r#""arguments": "{\"a\": \"{\\\"to\\\": \\\"alice.liddell\\\\u0040…"#,
            Api::Chat,
            {
                let inner = format!("{{\"to\": \"{}\"}}", EMAIL.replace('@', "\\u0040"));
                let outer = json!({"a": inner}).to_string();
                json!({"model": "m", "messages": [{"role": "assistant", "tool_calls": [{"id": "1", "type": "function",
                    "function": {"name": "f", "arguments": outer}}]}]})
            },
            false,
            "Two layers are decoded, the third is text.",
        ),
        raw(
            "Escapes in a field's name",
            r#""conten\u0074": "alice…""#,
            format!(r#"{{"model":"m","messages":[{{"role":"user","conten\u0074":"{EMAIL}"}}]}}"#),
            true,
            "Names are decoded too.",
        ),
        raw(
            "The same key twice",
            r#""content": "hi", "content": "alice…""#,
            format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi","content":"{EMAIL}"}}]}}"#),
            true,
            "Parsers disagree on which of the two counts.",
        ),
        raw(
            "A lone surrogate before the value",
            r"\ud83d alice…",
            format!(r#"{{"model":"m","messages":[{{"role":"user","content":"\ud83d {EMAIL}"}}]}}"#),
            true,
            "What is no character cannot hide what stands behind it.",
        ),
    ]
}

fn characters() -> Vec<Attempt> {
    let between = |mark: &str| EMAIL.chars().map(String::from).collect::<Vec<_>>().join(mark);
    vec![
        text("Upper and lower case", "ALICE.Liddell@CORP-Secret.COM", true, FOLDED),
        text("A zero-width space inside", EMAIL.replacen('l', "l\u{200b}", 1), true, FOLDED),
        text("Zero-width joiners after every character", between("\u{200d}"), true, FOLDED),
        text("A soft hyphen inside", EMAIL.replacen("li", "l\u{ad}i", 1), true, FOLDED),
        text("Right-to-left marks around it", format!("\u{202e}{EMAIL}\u{202c}"), true, FOLDED),
        text("A right-to-left mark inside", EMAIL.replacen('@', "\u{200f}@", 1), true, FOLDED),
        text("Combining marks on letters", EMAIL.replacen('l', "l\u{301}", 1), true, FOLDED),
        text("Variation selectors", EMAIL.replacen('@', "@\u{fe0f}", 1), true, FOLDED),
        text("Cyrillic and Greek look-alikes", "аliсе.liddеll@соrp-sесrеt.соm", true, FOLDED),
        text(
            "Full-width characters",
            "ａｌｉｃｅ．ｌｉｄｄｅｌｌ＠ｃｏｒｐ－ｓｅｃｒｅｔ．ｃｏｍ",
            true,
            FOLDED,
        ),
        text("Mathematical letters", "𝐚𝐥𝐢𝐜𝐞.𝐥𝐢𝐝𝐝𝐞𝐥𝐥@𝐜𝐨𝐫𝐩-𝐬𝐞𝐜𝐫𝐞𝐭.𝐜𝐨𝐦", true, FOLDED),
        text("Full-width digits of a card", "４１１１１１１１１１１１１１１１", true, FOLDED),
        text("Circled digits of a card", "④①①①①①①①①①①①①①①①", true, FOLDED),
        text("Arabic-Indic digits of a card", "٤١١١١١١١١١١١١١١١", true, FOLDED),
        text(
            "Look-alikes outside the table",
            "4lll llll llll llll",
            false,
            "The letter l for 1 is ordinary text to every rule.",
        ),
        text(
            "Tag characters, which show nothing",
            EMAIL.chars().filter_map(|c| char::from_u32(0xe0000 + c as u32)).collect::<String>(),
            false,
            "They have no unit for the rules of values. An order to the model in tag characters is found as `hidden_text`.",
        ),
    ]
}

fn rewritings() -> Vec<Attempt> {
    let percent: String = EMAIL.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let numbers: String = EMAIL.bytes().map(|byte| format!("&#{byte};")).collect();
    vec![
        text("Spaces between a card's groups", CARD, true, "Written forms of numbers are known."),
        text(
            "Dashes between a card's groups",
            CARD.replace(' ', "-"),
            true,
            "Written forms of numbers are known.",
        ),
        text(
            "Spaces between all digits",
            "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
            false,
            "Would find sums and tables of digits.",
        ),
        text("Digits spelled out", "four one one one, then twelve ones", false, "Language, not a pattern."),
        text(
            "at and dot spelled out",
            "alice dot liddell at corp-secret dot com",
            false,
            "Would find ordinary sentences.",
        ),
        text(
            "Brackets around the at",
            "alice.liddell [at] corp-secret.com",
            false,
            "Would find ordinary text.",
        ),
        text("Reversed", EMAIL.chars().rev().collect::<String>(), false, ENCODING),
        text(
            "ROT13",
            "nyvpr.yvqqryy@pbec-frperg.pbz",
            false,
            "An address by form only if its domain ends in a known top-level domain.",
        ),
        text("Base64", "YWxpY2UubGlkZGVsbEBjb3JwLXNlY3JldC5jb20=", false, ENCODING),
        text("Hexadecimal", "616c6963652e6c696464656c6c40636f72702d7365637265742e636f6d", false, ENCODING),
        text("A percent code for the at", EMAIL.replace('@', "%40"), true, ESCAPED),
        text("Percent codes for all characters", percent, true, ESCAPED),
        text("An HTML entity by number", EMAIL.replace('@', "&#64;"), true, ESCAPED),
        text("HTML entities by number for all characters", numbers, true, ESCAPED),
        text(
            "An entity without its semicolon",
            EMAIL.replace('@', "&#64"),
            true,
            "Read as browsers read it.",
        ),
        text("HTML entities by name", EMAIL.replace('@', "&commat;").replace('.', "&period;"), true, ESCAPED),
        text(
            "Entities for what prints nothing",
            EMAIL.replacen('l', "l&shy;&ZeroWidthSpace;", 2),
            true,
            ESCAPED,
        ),
        text("Percent codes for a zero-width space", EMAIL.replacen('l', "l%E2%80%8B", 2), true, ESCAPED),
        text("Percent codes for spaces in a card", CARD.replace(' ', "%20"), true, ESCAPED),
        text("A percent code in a token", TOKEN.replacen('X', "%58", 1), true, ESCAPED),
        text("Percent codes encoded twice", EMAIL.replace('@', "%2540"), false, ONE_LAYER),
        text("An entity in an entity", EMAIL.replace('@', "&amp;#64;"), false, ONE_LAYER),
        text("A percent code in an entity", EMAIL.replace('@', "&#37;40"), false, ONE_LAYER),
        text(
            "An entity with many zeros",
            EMAIL.replace('@', "&#00000000000000000000000064;"),
            false,
            "An entity has 24 bytes at most; longer ones stand for themselves.",
        ),
        text(
            "Unicode codes of old servers",
            EMAIL.replace('@', "%u0040"),
            false,
            "No standard: nothing decodes it.",
        ),
        text(
            "Markdown emphasis inside the name",
            "alice.**liddell**@corp-secret.com",
            false,
            "Asterisks end an address.",
        ),
        text(
            "Markdown emphasis inside the domain",
            "alice.liddell@corp-**secret**.com",
            false,
            "Asterisks end an address.",
        ),
        text("A line break inside", "alice.liddell@\ncorp-secret.com", false, "A break ends an address."),
        text(
            "A token cut by a space",
            format!("{} {}", &TOKEN[..12], &TOKEN[12..]),
            false,
            "A space ends a token.",
        ),
        text(
            "A token with a letter changed",
            TOKEN.replacen("ghp_", "gho-", 1),
            false,
            "Another prefix is another word.",
        ),
        text(
            "A token behind a word",
            format!("token{TOKEN}"),
            false,
            "Prefixes begin words: inside of words they stand in any hash.",
        ),
        text(
            "A written line break before a token",
            format!("line\\n{TOKEN}"),
            true,
            "An escape of source text is a border, also where nobody decodes it.",
        ),
        text(
            "A word for identifiers before a card",
            format!("id {CARD}"),
            true,
            "Cards in groups have no veto.",
        ),
        text(
            "The same before a card without spaces",
            format!("id {}", CARD.replace(' ', "")),
            false,
            "One in ten identifiers passes as a card.",
        ),
    ]
}

fn places() -> Vec<Attempt> {
    let chat = |message: Value| json!({"model": "m", "messages": [message]});
    let with = |name: &str, value: Value| {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        body[name] = value;
        body
    };
    let system = |system: Value| json!({"model": "m", "max_tokens": 9, "system": system, "messages": [{"role": "user", "content": "hi"}]});
    vec![
        body(
            "System prompt",
            r#""role": "system""#,
            Api::Chat,
            chat(json!({"role": "system", "content": EMAIL})),
            true,
            "Every role is scanned.",
        ),
        body(
            "System prompt of `/v1/messages`, a string",
            r#""system": "alice…""#,
            Api::Messages,
            system(json!(EMAIL)),
            true,
            "Scanned and masked.",
        ),
        body(
            "The first block of a system prompt of `/v1/messages`",
            r#""system": [{"type": "text", "text": "alice…"}, …]"#,
            Api::Messages,
            system(json!([{"type": "text", "text": EMAIL}])),
            true,
            "Recorded; passed on, since a provider knows a coding agent by it. Under `block` refused. Blocks after it are masked.",
        ),
        body(
            "A name of a participant",
            r#""name": "alice…""#,
            Api::Chat,
            chat(json!({"role": "user", "name": EMAIL, "content": "hi"})),
            true,
            "A message's name is read by the model.",
        ),
        body(
            "A content part of an unknown type",
            r#"{"type": "x", "y": ["alice…"]}"#,
            Api::Chat,
            chat(json!({"role": "user", "content": [{"type": "x", "y": [EMAIL]}]})),
            true,
            "Unknown parts are searched whole.",
        ),
        body(
            "A key of tool arguments",
            r#"{"alice…": 1}"#,
            Api::Chat,
            chat(
                json!({"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": json!({EMAIL: 1}).to_string()}}]}),
            ),
            true,
            "Keys of arguments are texts.",
        ),
        body(
            "A number in tool arguments",
            r#"{"card": 4111111111111111}"#,
            Api::Chat,
            chat(
                json!({"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"card\": 4111111111111111}"}}]}),
            ),
            true,
            "Numbers are texts; a masked one is a number of as many digits.",
        ),
        body(
            "A tool's result",
            r#""role": "tool""#,
            Api::Chat,
            chat(json!({"role": "tool", "tool_call_id": "1", "content": EMAIL})),
            true,
            "Results are scanned, JSON inside decoded.",
        ),
        body(
            "A tool's description",
            r#""description": "alice…""#,
            Api::Chat,
            with("tools", json!([{"type": "function", "function": {"name": "f", "description": EMAIL}}])),
            true,
            "Definitions are scanned.",
        ),
        body(
            "An answer's schema",
            r#""response_format": …"#,
            Api::Chat,
            with(
                "response_format",
                json!({"type": "json_schema", "json_schema": {"name": "s", "schema": {"description": EMAIL}}}),
            ),
            true,
            "Schemas are scanned.",
        ),
        body(
            "Predicted output",
            r#""prediction": …"#,
            Api::Chat,
            with("prediction", json!({"type": "content", "content": EMAIL})),
            true,
            "The model reads it.",
        ),
        body(
            "Stop sequences",
            r#""stop": ["alice…"]"#,
            Api::Chat,
            with("stop", json!([EMAIL])),
            false,
            "No text that a model reads; it is only compared.",
        ),
        body(
            "An unknown field of the body",
            r#""x": "alice…""#,
            Api::Chat,
            with("x", json!(EMAIL)),
            false,
            "What no surface reads as text is passed on unread.",
        ),
        body("`user`", r#""user": "alice…""#, Api::Chat, with("user", json!(EMAIL)), false, IDS),
        body(
            "`metadata`",
            r#""metadata": {"e": "alice…"}"#,
            Api::Chat,
            with("metadata", json!({"e": EMAIL})),
            false,
            IDS,
        ),
        body(
            "The model's name",
            r#""model": "alice…""#,
            Api::Chat,
            json!({"model": EMAIL, "messages": [{"role": "user", "content": "hi"}]}),
            false,
            "Only configured models are passed on: MODEL_NOT_FOUND.",
        ),
        body(
            "An image's URL",
            r#""url": "https://x.example/?q=alice…""#,
            Api::Chat,
            chat(
                json!({"role": "user", "content": [{"type": "image_url", "image_url": {"url": format!("https://x.example/?q={EMAIL}")}}]}),
            ),
            true,
            "A URL is text.",
        ),
        body(
            "An image's data URL",
            r#""url": "data:image/png;base64,…""#,
            Api::Chat,
            chat(
                json!({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,YWxpY2UubGlkZGVsbEBjb3JwLXNlY3JldC5jb20="}}]}),
            ),
            false,
            "Images are neither decoded nor read: text in pictures passes.",
        ),
        body(
            "A text file as a data URL",
            r#""file_data": "data:text/plain;base64,…""#,
            Api::Chat,
            chat(
                json!({"role": "user", "content": [{"type": "file", "file": {"file_data": "data:text/plain;base64,YWxpY2UubGlkZGVsbEBjb3JwLXNlY3JldC5jb20="}}]}),
            ),
            false,
            "Files in base64 are not decoded: send text as text.",
        ),
        body(
            "Text that only begins like a data URL",
            r#""url": "data:;base64,write to alice…""#,
            Api::Chat,
            chat(
                json!({"role": "user", "content": [{"type": "image_url", "image_url": {"url": format!("data:;base64,write to {EMAIL}")}}]}),
            ),
            true,
            "Base64 is known by all of its characters.",
        ),
        body(
            "A data URL that is no base64",
            r#""url": "data:text/plain,alice…""#,
            Api::Chat,
            chat(
                json!({"role": "user", "content": [{"type": "image_url", "image_url": {"url": format!("data:text/plain,{EMAIL}")}}]}),
            ),
            true,
            "Without base64 it is text.",
        ),
        body(
            "Token ids as a prompt",
            r#""prompt": [9906, 499]"#,
            Api::Completions,
            json!({"model": "m", "prompt": [9906, 499]}),
            false,
            "Nobody can scan token ids without the tokeniser.",
        ),
        body(
            "Signed thinking, sent back",
            r#"{"type": "thinking", "signature": …}"#,
            Api::Messages,
            json!({"model": "m", "max_tokens": 9, "messages": [{"role": "assistant", "content": [{"type": "thinking", "thinking": EMAIL, "signature": "s"}]}]}),
            true,
            "Recorded; passed on, since any change breaks the signature.",
        ),
    ]
}

fn splits() -> Vec<Attempt> {
    let parts = |pieces: &[&str]| {
        let parts: Vec<_> = pieces.iter().map(|piece| json!({"type": "text", "text": piece})).collect();
        json!({"model": "m", "messages": [{"role": "user", "content": parts}]})
    };
    let turns = |pieces: &[&str]| {
        let turns: Vec<_> = pieces.iter().map(|piece| json!({"role": "user", "content": piece})).collect();
        json!({"model": "m", "messages": turns})
    };
    let halves = ["alice.liddell@", "corp-secret.com"];
    vec![
        body(
            "Split over content parts",
            r#"["alice.liddell@", "corp-secret.com"]"#,
            Api::Chat,
            parts(&halves),
            false,
            BY_DESIGN,
        ),
        body(
            "Split over messages",
            r#"{"content": "alice.liddell@"}, {"content": "corp-secret.com"}"#,
            Api::Chat,
            turns(&halves),
            false,
            BY_DESIGN,
        ),
        body(
            "Split over two tool arguments",
            r#"{"user": "alice.liddell", "host": "corp-secret.com"}"#,
            Api::Chat,
            json!({"model": "m", "messages": [{"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"user\": \"alice.liddell\", \"host\": \"corp-secret.com\"}"}}]}]}),
            false,
            BY_DESIGN,
        ),
        text(
            "Built by the model",
            "x + y where x = alice.liddell and y = corp-secret.com",
            false,
            "What the model puts together is scanned in its answer.",
        ),
    ]
}
