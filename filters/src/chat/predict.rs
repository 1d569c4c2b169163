//! Team routes: `{prompt, max_tokens}` in, `{text, model, variant, latency_ms}` out, with a chat call between them.

use bytes::Bytes;

use super::{Api, Call, ReadBounds, read};
use crate::json::{self, DEFAULT_DEPTH, Edits, Invalid, Str, Value, Walk};
use crate::verdict::{Code, Rejection};

/// What a team route's answer says besides the text.
#[derive(Debug, Clone, Copy)]
pub struct Predicted<'a> {
    /// The model's name as the route has it.
    pub model: &'a str,
    /// Id of the target that answered: which of an A/B pair it was.
    pub variant: &'a str,
    pub latency_ms: u64,
}

/// From a team route's body to a chat body for `model`, read. `max_tokens` and whatever else the caller sends (temperature,
/// stop, …) stays as it is; only `prompt` becomes a message.
///
/// # Errors
/// INVALID_JSON and INVALID_REQUEST, as [`Call::read`].
pub fn predict(body: &[u8], model: &str, bounds: ReadBounds) -> Result<(Bytes, Call), Rejection> {
    let prompt = read::team(body, bounds)?;
    let mut edits = Edits::new();
    let mut name = br#""model":"#.to_vec();
    json::encode(model, &mut name);
    name.push(b',');
    edits.insert(prompt.first_member, name);
    edits.replace(prompt.key, *br#""messages""#);
    edits.insert(prompt.value.start, *br#"[{"role":"user","content":"#);
    edits.insert(prompt.value.end, *b"}]");
    let chat = Bytes::from(edits.apply_to(body));
    let mut call = Call::read(Api::Chat, &chat, bounds)?;
    call.team = true;
    Ok((chat, call))
}

/// From a chat answer to a team route's. The text keeps its spelling.
///
/// # Errors
/// UPSTREAM_ERROR where the answer is no chat answer.
pub fn predicted(answer: &[u8], facts: Predicted<'_>) -> Result<Bytes, Rejection> {
    let text = match first_text(answer) {
        Ok(Some(text)) => text.map_or("", Str::raw),
        Ok(None) | Err(_) => {
            let message = "The model's answer could not be read. Send the request again.";
            return Err(Rejection::new(Code::UpstreamError, message));
        }
    };
    let mut out = Vec::with_capacity(text.len() + facts.model.len() + facts.variant.len() + 80);
    out.extend_from_slice(br#"{"text":""#);
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(br#"","model":"#);
    json::encode(facts.model, &mut out);
    out.extend_from_slice(br#","variant":"#);
    json::encode(facts.variant, &mut out);
    out.extend_from_slice(format!(r#","latency_ms":{}}}"#, facts.latency_ms).as_bytes());
    Ok(Bytes::from(out))
}

/// `choices[0].message.content`: `None` where there is no such message, `Some(None)` where it says nothing.
fn first_text(answer: &[u8]) -> Result<Option<Option<Str<'_>>>, Invalid> {
    let mut walk = Walk::new(answer, DEFAULT_DEPTH)?;
    let mut text = None;
    let whole = walk.value()?;
    if enter(&mut walk, &whole, "choices")? {
        let list = walk.value()?;
        if matches!(list, Value::Array) && walk.element()? {
            let choice = walk.value()?;
            if enter(&mut walk, &choice, "message")? {
                let message = walk.value()?;
                if enter(&mut walk, &message, "content")? {
                    match walk.value()? {
                        Value::String(content) => text = Some(Some(content)),
                        Value::Null => text = Some(None),
                        _ => {}
                    }
                }
            }
        }
    }
    // A body that breaks off behind the text is no answer.
    while walk.depth() > 0 {
        walk.leave_container()?;
    }
    walk.end()?;
    Ok(text)
}

/// In an object just entered: goes to the value of `name`. False, at the object's end, where there is none.
fn enter(walk: &mut Walk<'_>, value: &Value<'_>, name: &str) -> Result<bool, Invalid> {
    if !matches!(value, Value::Object) {
        walk.finish(value)?;
        return Ok(false);
    }
    while let Some(key) = walk.key()? {
        if key.is(name) {
            return Ok(true);
        }
        walk.skip()?;
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to_chat(body: &str) -> Result<String, Rejection> {
        let (chat, call) = predict(body.as_bytes(), "m\"1", ReadBounds::default())?;
        assert_eq!(call.model, "m\"1");
        Ok(String::from_utf8(chat.to_vec()).expect("UTF-8"))
    }

    #[test]
    fn a_prompt_becomes_a_message() {
        assert_eq!(
            to_chat(r#" { "prom\u0070t" : "a\u00e9\n" , "max_tokens":5.0,"top_k":1 }"#).as_deref(),
            Ok(
                r#" {"model":"m\"1", "messages" : [{"role":"user","content":"a\u00e9\n"}] , "max_tokens":5.0,"top_k":1 }"#
            )
        );
    }

    #[test]
    fn bad_bodies() {
        let table = [
            ("", Code::InvalidJson, None),
            (r#"{"prompt":"a"} x"#, Code::InvalidJson, None),
            (r#"{"prompt":"a","prompt":"b"}"#, Code::InvalidJson, Some("prompt")),
            ("[]", Code::InvalidRequest, None),
            ("{}", Code::InvalidRequest, Some("prompt")),
            (r#"{"prompt":["a"]}"#, Code::InvalidRequest, Some("prompt")),
            (r#"{"prompt":null}"#, Code::InvalidRequest, Some("prompt")),
            (r#"{"prompt":"a","model":"x"}"#, Code::InvalidRequest, Some("model")),
            (r#"{"prompt":"a","messages":[]}"#, Code::InvalidRequest, Some("messages")),
            (r#"{"prompt":"a","stream":true}"#, Code::InvalidRequest, Some("stream")),
            (r#"{"prompt":"a","max_tokens":"5"}"#, Code::InvalidRequest, Some("max_tokens")),
        ];
        for (body, code, param) in table {
            let rejection = to_chat(body).expect_err(body);
            assert_eq!((rejection.code, rejection.param.as_deref()), (code, param), "{body}: {rejection}");
        }
        assert!(to_chat(r#"{"prompt":"a","stream":false}"#).is_ok());
    }

    #[test]
    fn an_answer_becomes_a_text() {
        let facts = Predicted { model: "m", variant: "base", latency_ms: 12 };
        let answer = |message: &str| {
            let body = format!(
                r#"{{"id":"x","choices":[{{"index":0,"message":{message},"n":1}},{{}}],"usage":{{}}}}"#
            );
            predicted(body.as_bytes(), facts).map(|body| String::from_utf8(body.to_vec()).expect("UTF-8"))
        };
        assert_eq!(
            answer(r#"{"role":"assistant","content":"a\u00e9\"b"}"#).as_deref(),
            Ok(r#"{"text":"a\u00e9\"b","model":"m","variant":"base","latency_ms":12}"#)
        );
        assert!(answer(r#"{"content":null}"#).expect("says nothing").starts_with(r#"{"text":"","#));
        for broken in ["{}", "7", r#"{"content":[]}"#] {
            assert_eq!(answer(broken).map_err(|e| e.code), Err(Code::UpstreamError), "{broken}");
        }
        for body in ["", "[]", r#"{"choices":[]}"#, r#"{"choices":[{"message":{"content":"a"}}]"#] {
            assert!(predicted(body.as_bytes(), facts).is_err(), "{body}");
        }
    }
}
