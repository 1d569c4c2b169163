//! Anthropic messages: <https://docs.anthropic.com/en/docs/build-with-claude/streaming>.

use serde_json::{Value, json};

use super::{Api, Said, Setting, Spoken, Surface, error_body, named};
use crate::script::Tokens;

pub(super) struct Messages {
    setting: Setting,
    spoken: Spoken,
    /// The content block being written, and how many there were before it.
    block: Option<Block>,
    blocks: u32,
    finish: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    Text,
    Thinking,
    Tool(u32),
}

const SIGNATURE: &str = "ZmFrZSBzaWduYXR1cmU=";

impl Messages {
    pub(super) fn new(setting: Setting) -> Messages {
        Messages { setting, spoken: Spoken::default(), block: None, blocks: 0, finish: "stop".to_owned() }
    }

    fn message(&self, content: &Value, stop: &Value, usage: &Value) -> Value {
        json!({
            "id": format!("msg_fake{}", self.setting.id), "type": "message", "role": "assistant",
            "model": self.setting.model, "content": content, "stop_reason": stop, "stop_sequence": null,
            "usage": usage,
        })
    }

    fn enter(&mut self, block: Block, said: Said<'_>, out: &mut Vec<u8>) {
        if self.block == Some(block) {
            return;
        }
        self.leave(out);
        let start = match (block, said) {
            (Block::Text, _) => json!({"type": "text", "text": ""}),
            (Block::Thinking, _) => json!({"type": "thinking", "thinking": "", "signature": ""}),
            (Block::Tool(_), Said::Tool(tool)) => {
                json!({"type": "tool_use", "id": tool.id, "name": tool.name, "input": {}})
            }
            (Block::Tool(_), _) => Value::Null,
        };
        let event = json!({"type": "content_block_start", "index": self.blocks, "content_block": start});
        named("content_block_start", &event, out);
        self.block = Some(block);
    }

    fn leave(&mut self, out: &mut Vec<u8>) {
        let Some(block) = self.block.take() else { return };
        if block == Block::Thinking {
            self.delta(&json!({"type": "signature_delta", "signature": SIGNATURE}), out);
        }
        named("content_block_stop", &json!({"type": "content_block_stop", "index": self.blocks}), out);
        self.blocks += 1;
    }

    fn delta(&self, delta: &Value, out: &mut Vec<u8>) {
        let event = json!({"type": "content_block_delta", "index": self.blocks, "delta": delta});
        named("content_block_delta", &event, out);
    }
}

impl Surface for Messages {
    fn open(&mut self, out: &mut Vec<u8>) {
        let usage = json!({"input_tokens": self.setting.input_tokens, "output_tokens": 1,
                           "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0});
        let message = self.message(&json!([]), &Value::Null, &usage);
        named("message_start", &json!({"type": "message_start", "message": message}), out);
        named("ping", &json!({"type": "ping"}), out);
    }

    fn say(&mut self, _choice: u32, said: Said<'_>, out: &mut Vec<u8>) {
        self.spoken.hear(said);
        let (block, delta) = match said {
            Said::Text(piece) | Said::Refusal(piece) => {
                (Block::Text, json!({"type": "text_delta", "text": piece}))
            }
            Said::Reasoning(piece) => (Block::Thinking, json!({"type": "thinking_delta", "thinking": piece})),
            Said::Tool(tool) => {
                (Block::Tool(tool.index), json!({"type": "input_json_delta", "partial_json": tool.arguments}))
            }
        };
        self.enter(block, said, out);
        self.delta(&delta, out);
    }

    fn finish(&mut self, finish: &str, out: &mut Vec<u8>) {
        self.leave(out);
        // Usage belongs into the same event, so it is written by `done`.
        self.finish = finish.to_owned();
    }

    fn done(&mut self, tokens: Option<Tokens>, out: &mut Vec<u8>) -> bool {
        let mut event = json!({"type": "message_delta",
            "delta": {"stop_reason": stop_reason(&self.finish), "stop_sequence": null}});
        if let Some(tokens) = tokens {
            event["usage"] = usage(tokens);
        }
        named("message_delta", &event, out);
        named("message_stop", &json!({"type": "message_stop"}), out);
        tokens.is_some()
    }

    fn error(&self, message: &str, out: &mut Vec<u8>) {
        named("error", &error_body(Some(Api::Messages), 500, message), out);
    }

    fn whole(&self, finish: &str, tokens: Option<Tokens>) -> Value {
        let mut content = Vec::new();
        if !self.spoken.reasoning.is_empty() {
            content
                .push(json!({"type": "thinking", "thinking": self.spoken.reasoning, "signature": SIGNATURE}));
        }
        if !self.spoken.text.is_empty() || self.spoken.tools.is_empty() {
            content.push(json!({"type": "text", "text": self.spoken.text}));
        }
        for tool in &self.spoken.tools {
            let input = serde_json::from_str(&tool.arguments).unwrap_or(Value::Null);
            content.push(json!({"type": "tool_use", "id": tool.id, "name": tool.name, "input": input}));
        }
        let usage = tokens.map_or(Value::Null, usage);
        self.message(&Value::Array(content), &stop_reason(finish).into(), &usage)
    }
}

fn stop_reason(finish: &str) -> &str {
    match finish {
        "stop" => "end_turn",
        "length" => "max_tokens",
        "tool_calls" => "tool_use",
        "content_filter" => "refusal",
        other => other,
    }
}

/// Anthropic's `input_tokens` leaves out what came from a cache.
fn usage(tokens: Tokens) -> Value {
    json!({
        "input_tokens": tokens.input.saturating_sub(tokens.cached), "output_tokens": tokens.output,
        "cache_read_input_tokens": tokens.cached, "cache_creation_input_tokens": 0,
    })
}
