//! How each API surface writes an answer: events of a stream, or one JSON body.

mod chat;
mod completions;
mod messages;
mod responses;

use serde_json::{Value, json};

use crate::ask::Ask;
use crate::script::{Tokens, Tool};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Api {
    Chat,
    Completions,
    Embeddings,
    Responses,
    Messages,
    CountTokens,
}

impl Api {
    pub(crate) fn of_path(path: &str) -> Option<Api> {
        Some(match path {
            "/v1/chat/completions" => Api::Chat,
            "/v1/completions" => Api::Completions,
            "/v1/embeddings" => Api::Embeddings,
            "/v1/responses" => Api::Responses,
            "/v1/messages" => Api::Messages,
            "/v1/messages/count_tokens" => Api::CountTokens,
            // Azure: /openai/deployments/{deployment}/chat/completions
            _ => match path.strip_prefix("/openai/deployments/")?.split_once('/')?.1 {
                "chat/completions" => Api::Chat,
                "completions" => Api::Completions,
                "embeddings" => Api::Embeddings,
                _ => return None,
            },
        })
    }
}

/// One thing the model says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Said<'a> {
    Text(&'a str),
    Reasoning(&'a str),
    Refusal(&'a str),
    Tool(&'a Tool),
}

/// What a surface needs to know of the request.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    /// Number of the request, for ids that a test can tell apart.
    pub(crate) id: u64,
    pub(crate) model: String,
    pub(crate) created: u64,
    /// Streams: the request set `stream_options.include_usage`.
    pub(crate) usage_asked: bool,
    pub(crate) logprobs: bool,
    pub(crate) input_tokens: u64,
}

impl Setting {
    pub(crate) fn of(ask: &Ask<'_>, id: u64, created: u64) -> Setting {
        Setting {
            id,
            model: ask.model.as_ref().to_owned(),
            created,
            usage_asked: ask.usage_asked(),
            logprobs: ask.logprobs_asked(),
            input_tokens: ask.input_tokens(),
        }
    }
}

/// Writes one answer. `finish` is in OpenAI's words; each surface translates it.
pub(crate) trait Surface: Send {
    /// What comes before the first piece of a stream.
    fn open(&mut self, out: &mut Vec<u8>);
    /// A piece, as an event; [`Surface::whole`] remembers it too.
    fn say(&mut self, choice: u32, said: Said<'_>, out: &mut Vec<u8>);
    fn finish(&mut self, finish: &str, out: &mut Vec<u8>);
    /// Usage (`None`: not reported) and the terminal marker. True if usage was written.
    fn done(&mut self, tokens: Option<Tokens>, out: &mut Vec<u8>) -> bool;
    fn error(&self, message: &str, out: &mut Vec<u8>);
    /// The plain answer with everything said so far.
    fn whole(&self, finish: &str, tokens: Option<Tokens>) -> Value;
}

pub(crate) fn new(api: Api, setting: Setting) -> Box<dyn Surface> {
    match api {
        Api::Completions => Box::new(completions::Completions::new(setting)),
        Api::Responses => Box::new(responses::Responses::new(setting)),
        Api::Messages => Box::new(messages::Messages::new(setting)),
        _ => Box::new(chat::Chat::new(setting)),
    }
}

/// The JSON body of a refusal.
pub(crate) fn error_body(api: Option<Api>, status: u16, message: &str) -> Value {
    let kind = match status {
        400 | 404 | 409 | 413 | 422 => "invalid_request_error",
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        _ => "server_error",
    };
    if matches!(api, Some(Api::Messages | Api::CountTokens)) {
        let kind = if kind == "server_error" { "api_error" } else { kind };
        json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_fake"})
    } else {
        let code = match status {
            401 => Value::from("invalid_api_key"),
            404 => Value::from("model_not_found"),
            429 => Value::from("rate_limit_exceeded"),
            _ => Value::Null,
        };
        json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
    }
}

/// What one choice has said, for plain answers and for events that repeat it.
#[derive(Debug, Clone, Default)]
struct Spoken {
    text: String,
    reasoning: String,
    refusal: String,
    pieces: Vec<String>,
    tools: Vec<SpokenTool>,
}

#[derive(Debug, Clone, Default)]
struct SpokenTool {
    index: u32,
    id: String,
    name: String,
    arguments: String,
}

impl Spoken {
    fn hear(&mut self, said: Said<'_>) {
        match said {
            Said::Text(piece) => {
                self.text.push_str(piece);
                self.pieces.push(piece.to_owned());
            }
            Said::Reasoning(piece) => self.reasoning.push_str(piece),
            Said::Refusal(piece) => self.refusal.push_str(piece),
            Said::Tool(piece) => {
                let tool = match self.tools.iter_mut().position(|tool| tool.index == piece.index) {
                    Some(at) => &mut self.tools[at],
                    None => {
                        self.tools.push(SpokenTool { index: piece.index, ..SpokenTool::default() });
                        let last = self.tools.len() - 1;
                        &mut self.tools[last]
                    }
                };
                tool.id.push_str(piece.id.as_deref().unwrap_or_default());
                tool.name.push_str(piece.name.as_deref().unwrap_or_default());
                tool.arguments.push_str(&piece.arguments);
            }
        }
    }
}

/// The choices of one answer, in order of their numbers.
#[derive(Debug, Clone, Default)]
struct Choices(std::collections::BTreeMap<u32, Spoken>);

impl Choices {
    fn hear(&mut self, choice: u32, said: Said<'_>) {
        self.0.entry(choice).or_default().hear(said);
    }

    /// At least choice 0, which may have said nothing.
    fn all(&self) -> Vec<(u32, Spoken)> {
        if self.0.is_empty() {
            return vec![(0, Spoken::default())];
        }
        self.0.iter().map(|(n, spoken)| (*n, spoken.clone())).collect()
    }
}

fn data(event: &Value, out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    write_json(event, out);
    out.extend_from_slice(b"\n\n");
}

fn named(name: &str, event: &Value, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.push(b'\n');
    data(event, out);
}

fn write_json<T: serde::Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("strings, numbers and maps with string keys serialise");
}
