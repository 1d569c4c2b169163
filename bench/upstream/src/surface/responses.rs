//! Responses: <https://platform.openai.com/docs/api-reference/responses-streaming>.

use serde_json::{Value, json};

use super::{Said, Setting, Spoken, SpokenTool, Surface, error_body, named};
use crate::script::Tokens;

pub(super) struct Responses {
    setting: Setting,
    spoken: Spoken,
    item: Option<Item>,
    /// Finished items, as they stand in `response.output`.
    output: Vec<Value>,
    sequence: std::cell::Cell<u64>,
    finish: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Item {
    Message,
    Reasoning,
    Call(u32),
}

impl Responses {
    pub(super) fn new(setting: Setting) -> Responses {
        Responses {
            setting,
            spoken: Spoken::default(),
            item: None,
            output: Vec::new(),
            sequence: std::cell::Cell::new(0),
            finish: "stop".to_owned(),
        }
    }

    fn event(&self, name: &str, mut event: Value, out: &mut Vec<u8>) {
        event["type"] = name.into();
        event["sequence_number"] = self.sequence.get().into();
        self.sequence.set(self.sequence.get() + 1);
        named(name, &event, out);
    }

    fn response(&self, status: &str, output: &[Value], tokens: Option<Tokens>) -> Value {
        let details = match (status, self.finish.as_str()) {
            ("incomplete", "length") => json!({"reason": "max_output_tokens"}),
            ("incomplete", _) => json!({"reason": "content_filter"}),
            _ => Value::Null,
        };
        json!({
            "id": format!("resp_fake{}", self.setting.id), "object": "response",
            "created_at": self.setting.created, "status": status, "error": null,
            "incomplete_details": details, "instructions": null, "max_output_tokens": null,
            "model": self.setting.model, "output": output, "parallel_tool_calls": true,
            "previous_response_id": null, "reasoning": {"effort": null, "summary": null}, "store": false,
            "temperature": 1.0, "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [],
            "top_p": 1.0, "truncation": "disabled", "usage": tokens.map_or(Value::Null, usage),
            "user": null, "metadata": {},
        })
    }

    fn item_id(&self) -> String {
        format!("item_fake{}_{}", self.setting.id, self.output.len())
    }

    fn enter(&mut self, item: Item, said: Said<'_>, out: &mut Vec<u8>) {
        if self.item == Some(item) {
            return;
        }
        self.leave(out);
        let (id, at) = (self.item_id(), self.output.len());
        let start = match (item, said) {
            (Item::Call(_), Said::Tool(tool)) => {
                json!({"id": id, "type": "function_call", "status": "in_progress",
                "arguments": "", "call_id": tool.id, "name": tool.name})
            }
            (Item::Reasoning, _) => json!({"id": id, "type": "reasoning", "summary": []}),
            _ => message(&id, "in_progress", &[]),
        };
        self.event("response.output_item.added", json!({"output_index": at, "item": start}), out);
        match item {
            Item::Message => {
                let part = json!({"type": "output_text", "text": "", "annotations": []});
                let event = json!({"item_id": id, "output_index": at, "content_index": 0, "part": part});
                self.event("response.content_part.added", event, out);
            }
            Item::Reasoning => {
                let part = json!({"type": "summary_text", "text": ""});
                let event = json!({"item_id": id, "output_index": at, "summary_index": 0, "part": part});
                self.event("response.reasoning_summary_part.added", event, out);
            }
            Item::Call(_) => {}
        }
        self.item = Some(item);
    }

    fn leave(&mut self, out: &mut Vec<u8>) {
        let Some(item) = self.item.take() else { return };
        let (id, at) = (self.item_id(), self.output.len());
        let whole = match item {
            Item::Message => {
                let text = std::mem::take(&mut self.spoken.text);
                let place = json!({"item_id": id, "output_index": at, "content_index": 0});
                let part = text_part(&text);
                self.event("response.output_text.done", with(&place, "text", text.into()), out);
                self.event("response.content_part.done", with(&place, "part", part.clone()), out);
                message(&id, "completed", &[part])
            }
            Item::Reasoning => {
                let text = std::mem::take(&mut self.spoken.reasoning);
                let place = json!({"item_id": id, "output_index": at, "summary_index": 0});
                let part = json!({"type": "summary_text", "text": text});
                self.event("response.reasoning_summary_text.done", with(&place, "text", text.into()), out);
                self.event("response.reasoning_summary_part.done", with(&place, "part", part.clone()), out);
                json!({"id": id, "type": "reasoning", "summary": [part]})
            }
            Item::Call(index) => {
                let tool = self.spoken.tools.iter().find(|t| t.index == index).cloned().unwrap_or_default();
                let event = json!({"item_id": id, "output_index": at, "arguments": tool.arguments});
                self.event("response.function_call_arguments.done", event, out);
                call(&id, &tool)
            }
        };
        self.event("response.output_item.done", json!({"output_index": at, "item": whole}), out);
        self.output.push(whole);
    }
}

impl Surface for Responses {
    fn open(&mut self, out: &mut Vec<u8>) {
        let response = self.response("in_progress", &[], None);
        self.event("response.created", json!({"response": response}), out);
        self.event("response.in_progress", json!({"response": response}), out);
    }

    fn say(&mut self, _choice: u32, said: Said<'_>, out: &mut Vec<u8>) {
        let item = match said {
            Said::Text(_) | Said::Refusal(_) => Item::Message,
            Said::Reasoning(_) => Item::Reasoning,
            Said::Tool(tool) => Item::Call(tool.index),
        };
        self.enter(item, said, out);
        // This surface has refusals as parts of their own; as text they serve the same tests.
        let said = if let Said::Refusal(piece) = said { Said::Text(piece) } else { said };
        self.spoken.hear(said);
        let place = json!({"item_id": self.item_id(), "output_index": self.output.len()});
        match said {
            Said::Text(piece) | Said::Refusal(piece) => {
                let event = with(&with(&place, "content_index", 0.into()), "delta", piece.into());
                self.event("response.output_text.delta", event, out);
            }
            Said::Reasoning(piece) => {
                let event = with(&with(&place, "summary_index", 0.into()), "delta", piece.into());
                self.event("response.reasoning_summary_text.delta", event, out);
            }
            Said::Tool(tool) => {
                let event = with(&place, "delta", tool.arguments.as_str().into());
                self.event("response.function_call_arguments.delta", event, out);
            }
        }
    }

    fn finish(&mut self, finish: &str, out: &mut Vec<u8>) {
        self.leave(out);
        self.finish = finish.to_owned();
    }

    fn done(&mut self, tokens: Option<Tokens>, out: &mut Vec<u8>) -> bool {
        let status = status(&self.finish);
        let response = self.response(status, &self.output, tokens);
        self.event(&format!("response.{status}"), json!({"response": response}), out);
        tokens.is_some()
    }

    fn error(&self, message: &str, out: &mut Vec<u8>) {
        let mut event = error_body(None, 500, message)["error"].take();
        event["code"] = "server_error".into();
        self.event("error", event, out);
    }

    fn whole(&self, finish: &str, tokens: Option<Tokens>) -> Value {
        // Plain answers are played as a stream into nowhere, so the items stand in `output`.
        self.response(status(finish), &self.output, tokens)
    }
}

fn status(finish: &str) -> &'static str {
    if matches!(finish, "length" | "content_filter") { "incomplete" } else { "completed" }
}

fn with(place: &Value, name: &str, value: Value) -> Value {
    let mut event = place.clone();
    event[name] = value;
    event
}

fn message(id: &str, status: &str, content: &[Value]) -> Value {
    json!({"id": id, "type": "message", "status": status, "role": "assistant", "content": content})
}

fn text_part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn call(id: &str, tool: &SpokenTool) -> Value {
    json!({"id": id, "type": "function_call", "status": "completed", "arguments": tool.arguments,
           "call_id": tool.id, "name": tool.name})
}

fn usage(tokens: Tokens) -> Value {
    json!({
        "input_tokens": tokens.input, "input_tokens_details": {"cached_tokens": tokens.cached},
        "output_tokens": tokens.output, "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        "total_tokens": tokens.input + tokens.output,
    })
}
