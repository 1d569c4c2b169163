//! Completions (legacy): <https://platform.openai.com/docs/api-reference/completions>.

use serde_json::{Value, json};

use super::{Choices, Said, Setting, Surface, chat, data, error_body};
use crate::script::Tokens;

pub(super) struct Completions {
    setting: Setting,
    choices: Choices,
}

impl Completions {
    pub(super) fn new(setting: Setting) -> Completions {
        Completions { setting, choices: Choices::default() }
    }

    fn body(&self, choices: &Value) -> Value {
        json!({
            "id": format!("cmpl-fake{}", self.setting.id), "object": "text_completion",
            "created": self.setting.created, "model": self.setting.model, "choices": choices,
        })
    }

    fn chunk(&self, choices: &Value, out: &mut Vec<u8>) {
        let mut chunk = self.body(choices);
        if self.setting.usage_asked {
            chunk["usage"] = Value::Null;
        }
        data(&chunk, out);
    }
}

impl Surface for Completions {
    fn open(&mut self, _out: &mut Vec<u8>) {}

    fn say(&mut self, choice: u32, said: Said<'_>, out: &mut Vec<u8>) {
        self.choices.hear(choice, said);
        // This surface knows text only; other words are remembered, never written.
        if let Said::Text(piece) = said {
            let choices = json!([{"text": piece, "index": choice, "logprobs": null, "finish_reason": null}]);
            self.chunk(&choices, out);
        }
    }

    fn finish(&mut self, finish: &str, out: &mut Vec<u8>) {
        for (index, _) in self.choices.all() {
            let choices = json!([{"text": "", "index": index, "logprobs": null, "finish_reason": finish}]);
            self.chunk(&choices, out);
        }
    }

    fn done(&mut self, tokens: Option<Tokens>, out: &mut Vec<u8>) -> bool {
        let tokens = tokens.filter(|_| self.setting.usage_asked);
        if let Some(tokens) = tokens {
            let mut chunk = self.body(&json!([]));
            chunk["usage"] = chat::usage(tokens);
            data(&chunk, out);
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
        tokens.is_some()
    }

    fn error(&self, message: &str, out: &mut Vec<u8>) {
        data(&error_body(None, 500, message), out);
    }

    fn whole(&self, finish: &str, tokens: Option<Tokens>) -> Value {
        let choice = |(index, spoken): (u32, super::Spoken)| json!({"text": spoken.text, "index": index, "logprobs": null, "finish_reason": finish});
        let mut body = self.body(&self.choices.all().into_iter().map(choice).collect());
        if let Some(tokens) = tokens {
            body["usage"] = chat::usage(tokens);
        }
        body
    }
}
