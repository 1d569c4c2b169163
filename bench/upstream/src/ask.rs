//! What a request asks for: the few fields of each API surface that shape an answer.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::surface::Api;

/// The fields read, of all surfaces together; everything else is ignored. Large parts stay unparsed until needed.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Ask<'b> {
    #[serde(borrow)]
    pub(crate) model: Cow<'b, str>,
    pub(crate) stream: Option<bool>,
    pub(crate) stream_options: Option<StreamOptions>,
    pub(crate) n: Option<u32>,
    pub(crate) max_tokens: Option<u64>,
    pub(crate) max_completion_tokens: Option<u64>,
    pub(crate) max_output_tokens: Option<u64>,
    #[serde(borrow)]
    pub(crate) logprobs: Option<&'b RawValue>,
    #[serde(borrow)]
    pub(crate) tools: Option<&'b RawValue>,
    #[serde(borrow)]
    pub(crate) tool_choice: Option<&'b RawValue>,
    #[serde(borrow)]
    messages: Option<&'b RawValue>,
    #[serde(borrow)]
    prompt: Option<&'b RawValue>,
    #[serde(borrow)]
    pub(crate) input: Option<&'b RawValue>,
    pub(crate) encoding_format: Option<String>,
    pub(crate) dimensions: Option<usize>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct StreamOptions {
    pub(crate) include_usage: Option<bool>,
}

impl<'b> Ask<'b> {
    pub(crate) fn read(body: &'b [u8]) -> Result<Ask<'b>, serde_json::Error> {
        serde_json::from_slice(body)
    }

    pub(crate) fn streams(&self) -> bool {
        self.stream == Some(true)
    }

    pub(crate) fn usage_asked(&self) -> bool {
        self.stream_options.as_ref().is_some_and(|options| options.include_usage == Some(true))
    }

    pub(crate) fn logprobs_asked(&self) -> bool {
        self.logprobs.is_some_and(|raw| !matches!(raw.get(), "null" | "false"))
    }

    pub(crate) fn most_output(&self) -> Option<u64> {
        self.max_completion_tokens.or(self.max_output_tokens).or(self.max_tokens)
    }

    /// What the caller said last, and whether that was a tool's result.
    pub(crate) fn last_said(&self, api: Api) -> (String, bool) {
        let part = match api {
            Api::Chat | Api::Messages | Api::CountTokens => self.messages,
            Api::Completions => self.prompt,
            Api::Responses | Api::Embeddings => self.input,
        };
        let Some(value) = part.and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok()) else {
            return (String::new(), false);
        };
        let last = match &value {
            Value::Array(items) => items.last().unwrap_or(&Value::Null),
            whole => whole,
        };
        (text_of(last), is_tool_result(last))
    }

    /// A token count that grows with what was sent; real tokenisers are beside the point.
    pub(crate) fn input_tokens(&self) -> u64 {
        let bytes = [self.messages, self.prompt, self.input].into_iter().flatten().map(|raw| raw.get().len());
        (bytes.sum::<usize>() as u64).div_ceil(4).max(1)
    }

    pub(crate) fn tools(&self) -> Vec<Value> {
        self.tools.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
    }

    pub(crate) fn forbids_tools(&self) -> bool {
        self.tool_choice.is_some_and(|raw| matches!(raw.get(), "\"none\"" | "null"))
    }
}

/// All text in a message, item or part.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(text_of).collect::<Vec<_>>().join(" "),
        Value::Object(fields) => ["content", "text", "output"]
            .iter()
            .find_map(|name| fields.get(*name))
            .map(text_of)
            .unwrap_or_default(),
        _ => String::new(),
    }
}

fn is_tool_result(item: &Value) -> bool {
    item["role"] == "tool"
        || item["type"] == "function_call_output"
        || item["content"].as_array().is_some_and(|parts| parts.iter().any(|p| p["type"] == "tool_result"))
}
