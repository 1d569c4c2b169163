//! What a test wants the upstream to do with one request.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

/// One answer, faults included. The same script serves plain and streamed requests of every API surface: what the model says
/// is written in the form that the request asked for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Script {
    pub status: u16,
    /// Besides, or instead of, those that the answer's form brings.
    pub headers: Vec<(String, String)>,
    pub content: Content,
    /// `finish_reason` in OpenAI's words; default `stop`, or `tool_calls` after a tool call.
    pub finish: Option<String>,
    /// Usage to report; default: input by bytes / 4, output one per piece said.
    pub tokens: Option<Tokens>,
    /// Usage is never reported, whatever the request asks.
    pub no_usage: bool,
    /// Only so many bytes of the body are sent, then the fault happens. A plain answer declares its whole length.
    pub cut: Option<Cut>,
    /// A stream's bytes leave in pieces of this size, whatever events they cut.
    pub recut: Option<usize>,
    /// Milliseconds from one piece to the next, counted from the first.
    pub pace_ms: Option<u64>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Said step by step.
    Steps(Vec<Step>),
    /// This JSON, whatever was asked.
    Json(Value),
    /// These bytes, whatever was asked; set `content-type` in the headers.
    Raw(String),
    /// The surface's error body with this message.
    Error(String),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A piece of the answer's text.
    Text(Cow<'static, str>),
    Reasoning(String),
    Refusal(String),
    Tool(Tool),
    /// What follows is said by this choice (0 at the start).
    Choice(u32),
    /// Waits for the script key's gate to be opened this far: see [`Gate`](crate::Gate). Gates are numbered from 0 in the
    /// script's order.
    Gate,
    WaitMs(u64),
    /// Sends the header now rather than with the first piece (a plain answer becomes chunked).
    Header,
    /// An SSE comment.
    Comment(String),
    /// One SSE event with this data, as it stands.
    Event(String),
    /// Bytes, at any cut: not UTF-8 on purpose, half an event, two at once.
    Bytes(Vec<u8>),
    /// The finish, now: what follows comes after it. Usage and the terminal marker are left to later steps, or never come.
    Finish(String),
    /// The usage and the terminal marker, now.
    Done,
    /// The surface's error event with this message, then a clean end.
    Error(String),
    Fault(Fault),
}

/// A piece of a tool call: `id` and `name` on the call's first piece only.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tool {
    pub index: u32,
    pub id: Option<String>,
    pub name: Option<String>,
    /// JSON text, cut anywhere.
    pub arguments: String,
}

/// How an answer breaks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The body ends cleanly, whatever is missing: no finish, no `[DONE]`.
    End,
    /// The connection closes without the body's end.
    Close,
    /// The connection is reset (RST).
    Reset,
    /// Nothing more ever comes.
    Hang,
}

/// See [`Script::cut`].
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Cut {
    pub after: usize,
    pub fault: Fault,
}

/// Tokens as the upstream reports them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(default)]
pub struct Tokens {
    /// All of the input, cached parts included.
    pub input: u64,
    pub output: u64,
    /// The part of the input that came from a cache.
    pub cached: u64,
    /// The part of the output that was reasoning.
    pub reasoning: u64,
}

impl Default for Script {
    fn default() -> Self {
        Script {
            status: 200,
            headers: Vec::new(),
            content: Content::Steps(Vec::new()),
            finish: None,
            tokens: None,
            no_usage: false,
            cut: None,
            recut: None,
            pace_ms: None,
        }
    }
}

impl Script {
    pub fn steps(steps: impl IntoIterator<Item = Step>) -> Script {
        Script { content: Content::Steps(steps.into_iter().collect()), ..Script::default() }
    }

    /// Says these pieces, one delta each.
    pub fn says<S: Into<String>>(pieces: impl IntoIterator<Item = S>) -> Script {
        Script::steps(pieces.into_iter().map(|piece| Step::text(piece)))
    }

    /// Says these pieces with a gate after each: the first leaves at once, piece k (from 0) when k gates are open, the finish
    /// when as many gates are open as there are pieces.
    pub fn gated<S: Into<String>>(pieces: impl IntoIterator<Item = S>) -> Script {
        Script::steps(pieces.into_iter().flat_map(|piece| [Step::text(piece), Step::Gate]))
    }

    /// The surface's error body.
    pub fn error(status: u16, message: impl Into<String>) -> Script {
        Script { status, content: Content::Error(message.into()), ..Script::default() }
    }

    /// 429 with `retry-after` in seconds.
    pub fn rate_limited(retry_after: u64) -> Script {
        Script::error(429, "Rate limit reached for requests").header("retry-after", retry_after.to_string())
    }

    pub fn json(status: u16, body: Value) -> Script {
        Script { status, content: Content::Json(body), ..Script::default() }
    }

    pub fn raw(status: u16, content_type: &str, body: impl Into<String>) -> Script {
        Script { status, content: Content::Raw(body.into()), ..Script::default() }
            .header("content-type", content_type)
    }

    /// Reads the request and never answers.
    pub fn silent() -> Script {
        Script::steps([Step::Fault(Fault::Hang)])
    }

    /// Reads the request and breaks off without an answer.
    pub fn broken(fault: Fault) -> Script {
        Script::steps([Step::Fault(fault)])
    }

    /// A stream that starts with an error event inside a 200.
    pub fn error_event(message: impl Into<String>) -> Script {
        Script::steps([Step::Error(message.into())])
    }

    #[must_use]
    pub fn then(mut self, step: Step) -> Script {
        match &mut self.content {
            Content::Steps(steps) => steps.push(step),
            other => *other = Content::Steps(vec![step]),
        }
        self
    }

    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Script {
        self.headers.push((name.into(), value.into()));
        self
    }

    #[must_use]
    pub fn finish(mut self, reason: impl Into<String>) -> Script {
        self.finish = Some(reason.into());
        self
    }

    #[must_use]
    pub fn tokens(mut self, input: u64, output: u64) -> Script {
        self.tokens = Some(Tokens { input, output, ..Tokens::default() });
        self
    }

    #[must_use]
    pub fn without_usage(mut self) -> Script {
        self.no_usage = true;
        self
    }

    #[must_use]
    pub fn cut(mut self, after: usize, fault: Fault) -> Script {
        self.cut = Some(Cut { after, fault });
        self
    }

    /// # Panics
    /// If `size` is 0.
    #[must_use]
    pub fn recut(mut self, size: usize) -> Script {
        assert!(size > 0, "pieces of no bytes never end");
        self.recut = Some(size);
        self
    }

    #[must_use]
    pub fn pace(mut self, every: Duration) -> Script {
        self.pace_ms = Some(u64::try_from(every.as_millis()).unwrap_or(u64::MAX));
        self
    }
}

impl Step {
    pub fn text(piece: impl Into<String>) -> Step {
        Step::Text(Cow::Owned(piece.into()))
    }

    /// A whole tool call in one piece.
    pub fn tool(index: u32, id: &str, name: &str, arguments: &str) -> Step {
        Step::Tool(Tool {
            index,
            id: Some(id.to_owned()),
            name: Some(name.to_owned()),
            arguments: arguments.to_owned(),
        })
    }

    /// A later piece of a tool call.
    pub fn arguments(index: u32, arguments: &str) -> Step {
        Step::Tool(Tool { index, id: None, name: None, arguments: arguments.to_owned() })
    }
}
