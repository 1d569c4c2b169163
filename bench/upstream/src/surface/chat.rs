//! Chat completions: <https://platform.openai.com/docs/api-reference/chat-streaming>.

use serde_json::{Value, json};

use super::{Choices, Said, Setting, Spoken, Surface, data, error_body, write_json};
use crate::script::Tokens;

pub(super) struct Chat {
    setting: Setting,
    choices: Choices,
    opened: Vec<u32>,
    /// The chunk up to its choices, and what follows them: the same in every event.
    head: Vec<u8>,
}

impl Chat {
    pub(super) fn new(setting: Setting) -> Chat {
        let mut head = Vec::with_capacity(160);
        head.extend_from_slice(b"data: {\"id\":");
        write_json(&id(&setting), &mut head);
        head.extend_from_slice(
            format!(",\"object\":\"chat.completion.chunk\",\"created\":{},\"model\":", setting.created)
                .as_bytes(),
        );
        write_json(&setting.model, &mut head);
        head.extend_from_slice(b",\"system_fingerprint\":\"fp_fake\",\"choices\":[");
        Chat { setting, choices: Choices::default(), opened: Vec::new(), head }
    }

    fn chunk(&self, choice: u32, delta: &Value, logprobs: &Value, finish: Option<&str>, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        write_json(
            &json!({"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": finish}),
            out,
        );
        self.end_chunk(out);
    }

    fn end_chunk(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.setting.usage_asked { b"],\"usage\":null}\n\n" } else { b"]}\n\n" });
    }

    fn open_choice(&mut self, choice: u32, out: &mut Vec<u8>) {
        if !self.opened.contains(&choice) {
            self.opened.push(choice);
            self.chunk(choice, &json!({"role": "assistant", "content": ""}), &Value::Null, None, out);
        }
    }
}

impl Surface for Chat {
    fn open(&mut self, out: &mut Vec<u8>) {
        self.open_choice(0, out);
    }

    fn say(&mut self, choice: u32, said: Said<'_>, out: &mut Vec<u8>) {
        self.open_choice(choice, out);
        self.choices.hear(choice, said);
        let delta = match said {
            Said::Text(piece) if !self.setting.logprobs => {
                out.extend_from_slice(&self.head);
                out.extend_from_slice(format!("{{\"index\":{choice},\"delta\":{{\"content\":").as_bytes());
                write_json(piece, out);
                out.extend_from_slice(b"},\"logprobs\":null,\"finish_reason\":null}");
                return self.end_chunk(out);
            }
            Said::Text(piece) => {
                let logprobs = logprobs(std::slice::from_ref(&piece.to_owned()));
                return self.chunk(choice, &json!({"content": piece}), &logprobs, None, out);
            }
            Said::Reasoning(piece) => json!({"reasoning_content": piece}),
            Said::Refusal(piece) => json!({"refusal": piece}),
            Said::Tool(tool) => {
                let mut call = json!({"index": tool.index, "function": {"arguments": tool.arguments}});
                if let Some(id) = &tool.id {
                    call["id"] = id.as_str().into();
                    call["type"] = "function".into();
                }
                if let Some(name) = &tool.name {
                    call["function"]["name"] = name.as_str().into();
                }
                json!({"tool_calls": [call]})
            }
        };
        self.chunk(choice, &delta, &Value::Null, None, out);
    }

    fn finish(&mut self, finish: &str, out: &mut Vec<u8>) {
        self.open_choice(0, out);
        for choice in self.opened.clone() {
            self.chunk(choice, &json!({}), &Value::Null, Some(finish), out);
        }
    }

    fn done(&mut self, tokens: Option<Tokens>, out: &mut Vec<u8>) -> bool {
        let tokens = tokens.filter(|_| self.setting.usage_asked);
        if let Some(tokens) = tokens {
            out.extend_from_slice(&self.head);
            out.extend_from_slice(b"],\"usage\":");
            write_json(&usage(tokens), out);
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
        tokens.is_some()
    }

    fn error(&self, message: &str, out: &mut Vec<u8>) {
        data(&error_body(None, 500, message), out);
    }

    fn whole(&self, finish: &str, tokens: Option<Tokens>) -> Value {
        let choices: Vec<Value> = self
            .choices
            .all()
            .into_iter()
            .map(|(index, spoken)| {
                let logprobs =
                    if self.setting.logprobs { logprobs(&spoken.pieces) } else { Value::Null };
                json!({"index": index, "message": message(&spoken), "logprobs": logprobs, "finish_reason": finish})
            })
            .collect();
        let mut body = json!({
            "id": id(&self.setting), "object": "chat.completion", "created": self.setting.created,
            "model": self.setting.model, "choices": choices, "system_fingerprint": "fp_fake",
        });
        if let Some(tokens) = tokens {
            body["usage"] = usage(tokens);
        }
        body
    }
}

fn id(setting: &Setting) -> String {
    format!("chatcmpl-fake{}", setting.id)
}

fn message(spoken: &Spoken) -> Value {
    let or_null = |text: &str| if text.is_empty() { Value::Null } else { Value::from(text) };
    let silent = spoken.text.is_empty() && !(spoken.tools.is_empty() && spoken.refusal.is_empty());
    let content = if silent { Value::Null } else { Value::from(spoken.text.as_str()) };
    let mut message = json!({"role": "assistant", "content": content, "refusal": or_null(&spoken.refusal)});
    if !spoken.reasoning.is_empty() {
        message["reasoning_content"] = spoken.reasoning.as_str().into();
    }
    if !spoken.tools.is_empty() {
        let call = |tool: &super::SpokenTool| {
            json!({"id": tool.id, "type": "function",
                   "function": {"name": tool.name, "arguments": tool.arguments}})
        };
        message["tool_calls"] = spoken.tools.iter().map(call).collect();
    }
    message
}

fn logprobs(pieces: &[String]) -> Value {
    let token = |piece: &String| json!({"token": piece, "logprob": -0.25, "bytes": piece.as_bytes(), "top_logprobs": []});
    json!({"content": pieces.iter().map(token).collect::<Vec<_>>(), "refusal": null})
}

pub(super) fn usage(tokens: Tokens) -> Value {
    json!({
        "prompt_tokens": tokens.input, "completion_tokens": tokens.output,
        "total_tokens": tokens.input + tokens.output,
        "prompt_tokens_details": {"cached_tokens": tokens.cached},
        "completion_tokens_details": {"reasoning_tokens": tokens.reasoning},
    })
}
