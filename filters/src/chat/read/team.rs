//! The body of a team route.

use std::ops::Range;

use super::{Fail, Seen, wrong};
use crate::chat::call::ReadBounds;
use crate::json::{Value, Walk};
use crate::verdict::Rejection;

/// Where a team route's prompt stands.
pub(in crate::chat) struct Prompt {
    /// Just inside the body's opening brace.
    pub(in crate::chat) first_member: usize,
    pub(in crate::chat) key: Range<usize>,
    pub(in crate::chat) value: Range<usize>,
}

/// Besides `prompt`, the fields that the route decides itself.
const TEAM: &[&str] = &["prompt", "model", "messages", "n", "stream"];

pub(in crate::chat) fn team(body: &[u8], bounds: ReadBounds) -> Result<Prompt, Rejection> {
    let depth = bounds.max_depth.min(ReadBounds::DEEPEST);
    let prompt = Walk::new(body, depth).map_err(Fail::from).and_then(|walk| prompt(walk));
    prompt.map_err(|fail| fail.into_rejection(body, depth))
}

fn prompt(mut walk: Walk<'_>) -> Result<Prompt, Fail> {
    let at = walk.value_start();
    match walk.value()? {
        Value::Object => {}
        other => return Err(wrong(at, "must be a JSON object, for example {\"prompt\": \"Hello\"}", &other)),
    }
    let first_member = walk.at();
    let mut prompt = None;
    let mut seen = Seen::default();
    while let Some(key) = walk.key()? {
        let at = walk.value_start();
        match seen.known(TEAM, key)? {
            Some("prompt") => match walk.value()? {
                Value::String(text) => {
                    prompt = Some(Prompt { first_member, key: key.span(), value: text.span() });
                }
                other => return Err(wrong(at, "must be a string", &other)),
            },
            Some("stream") => match walk.value()? {
                Value::Bool(false) | Value::Null => {}
                _ => {
                    let message = "must be left out: this route answers in one piece. \
                                   POST /v1/chat/completions streams.";
                    return Err(Fail::Field { at, message: message.to_owned() });
                }
            },
            Some(_) => {
                let message = "must be left out: this route decides it.".to_owned();
                return Err(Fail::Field { at, message });
            }
            None => {
                walk.skip()?;
            }
        }
    }
    walk.end()?;
    prompt.ok_or(Fail::Missing { name: "prompt", message: "add the text to answer, as a string." })
}
