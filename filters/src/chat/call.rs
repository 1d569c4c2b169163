//! A request's body, read: what routing, limits and scanning need of it, as values and spans.

use std::ops::Range;

use super::{Api, read};
use crate::json::{DEFAULT_DEPTH, Locator};
use crate::verdict::Rejection;

/// What was read of a request body. Holds no text of it: spans point into the body.
#[derive(Debug, Clone)]
pub struct Call {
    pub api: Api,
    /// As the caller wrote it.
    pub model: String,
    pub stream: bool,
    /// The caller asked for usage in the stream (`stream_options.include_usage`).
    pub usage_asked: bool,
    /// `n`: answers asked for.
    pub choices: u32,
    /// `max_tokens`, `max_completion_tokens` or `max_output_tokens`: the largest, should several be there.
    pub max_output: Option<u64>,
    /// Whether tools are declared.
    pub tools: bool,
    /// Whether it refers to something kept at one upstream: `previous_response_id`, `conversation`, a stored `prompt`, an
    /// `item_reference`.
    pub stateful: bool,
    /// `store`, where it was written.
    pub store: Option<bool>,
    /// What names the conversation, for stickiness: `prompt_cache_key`, `session_id`, `metadata.session_id`, a conversation's
    /// id, Anthropic's `metadata.user_id`.
    pub session: Option<String>,
    /// Every text to be scanned, in the order of the body.
    pub texts: Vec<Text>,
    /// Spans of the ids in it, literals with their quotes: `user`, `safety_identifier`, `prompt_cache_key`, `session_id`, the
    /// strings and numbers of `metadata`. They are never a reason to refuse.
    pub ids: Vec<Range<usize>>,
    /// The answer is to be JSON (`response_format`, `text.format`, `output_format`).
    pub structured: bool,
    pub(super) spans: Spans,
    /// Largest of `n` and `best_of`: answers that are generated.
    pub(super) generated: u32,
    pub(super) media: Media,
    /// It was made from a team route's body, whose caller knows nothing of messages.
    pub(super) team: bool,
}

/// A text to be scanned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Of the string literal, quotes included; or, for [`Form::Json`], of the value.
    pub span: Range<usize>,
    pub role: Role,
    pub form: Form,
    /// False: it must reach the upstream byte by byte (the first block of Anthropic's `system`, signed thinking).
    pub rewrite: bool,
    /// It stands in the last user message, or is a tool result after it: what it holds is new, and can be a reason to refuse.
    /// Anything earlier was sent before.
    pub current: bool,
    /// Whether a backslash stands in the literal.
    pub(crate) escaped: bool,
}

/// Who speaks in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    System,
    User,
    Assistant,
    Tool,
    /// A document or search result that stands in a message.
    Document,
    /// Tool definitions and answer formats.
    Schema,
    /// A prompt or input that is no message.
    Input,
}

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// A string literal.
    Plain,
    /// A string literal whose text is JSON if it parses (tool-call arguments, tool results), else plain.
    JsonInside,
    /// A JSON value of the body itself: its keys, strings and numbers are the texts.
    Json,
}

/// What reading may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadBounds {
    /// Deepest nesting; at most [`ReadBounds::DEEPEST`] counts.
    pub max_depth: usize,
    /// Most texts in one body.
    pub max_texts: usize,
}

/// Tokens a request may use, before anyone has counted. Never tokenises: that costs milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenEstimate {
    pub input: u64,
    pub output: u64,
}

/// Places that [`Call::outgoing`] may change.
#[derive(Debug, Clone, Default)]
pub(super) struct Spans {
    /// Literal of `model`.
    pub(super) model: Range<usize>,
    /// Just inside the body's opening brace.
    pub(super) first_member: usize,
    pub(super) stream_options: StreamOptions,
}

/// Where `stream_options.include_usage` is, or would be.
#[derive(Debug, Clone, Default)]
pub(super) enum StreamOptions {
    #[default]
    Absent,
    /// `null`, at this span.
    Null(Range<usize>),
    /// An object without `include_usage`; just inside its opening brace, and whether it is empty.
    Without { first_member: usize, empty: bool },
    /// The value of `include_usage`.
    With(Range<usize>),
}

/// Payloads that are no text: images, audio, files.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Media {
    pub(super) bytes: usize,
    pub(super) count: u64,
}

/// Output assumed where the request sets no limit: long for a chat answer, short for a model that thinks.
const DEFAULT_OUTPUT: u64 = 1024;

/// What an image costs at 1024 × 1024 is between 765 (GPT-4o, high detail) and 1,600 (Claude) tokens.
const TOKENS_PER_MEDIA: u64 = 1_000;

/// English text and code measure 3.5 to 4.5 bytes per token, JSON about 3.
const BYTES_PER_TOKEN: u64 = 4;

impl ReadBounds {
    /// Reading recurses into content blocks: past this nesting a body is refused whatever the configuration says.
    pub const DEEPEST: usize = 512;
}

impl Default for ReadBounds {
    fn default() -> Self {
        ReadBounds { max_depth: DEFAULT_DEPTH, max_texts: 65_536 }
    }
}

impl Call {
    /// Reads a body: checks all of it as JSON, and of the fields that Tollgate reads that they are what they should be.
    /// Everything else is for the upstream to judge.
    ///
    /// # Errors
    /// INVALID_JSON and INVALID_REQUEST, with the place and what to write instead.
    pub fn read(api: Api, body: &[u8], bounds: ReadBounds) -> Result<Call, Rejection> {
        read::read(api, body, bounds)
    }

    /// Names places of `body` as this call's sender knows them: `messages[2].content[0].text`. Asked in ascending order.
    pub(crate) fn locator<'a>(&self, body: &'a [u8]) -> impl FnMut(usize) -> String + use<'a> {
        let mut locator = Locator::new(body, ReadBounds::DEEPEST);
        let team = self.team;
        move |offset| {
            let path = locator.path(offset);
            if team && path == "messages[0].content" { "prompt".to_owned() } else { path }
        }
    }

    /// Where one text of this call stands in `body`.
    pub fn location(&self, body: &[u8], text: &Text) -> String {
        self.locator(body)(text.span.start)
    }

    /// Tokens to reserve for a body of this length.
    pub fn estimate(&self, body_len: usize) -> TokenEstimate {
        let text = body_len.saturating_sub(self.media.bytes) as u64;
        let media = self.media.count.saturating_mul(TOKENS_PER_MEDIA);
        let output = match self.api {
            Api::Embeddings | Api::CountTokens => 0,
            _ => self.max_output.unwrap_or(DEFAULT_OUTPUT).saturating_mul(u64::from(self.generated)),
        };
        TokenEstimate { input: text.div_ceil(BYTES_PER_TOKEN).saturating_add(media), output }
    }
}

impl TokenEstimate {
    pub fn total(self) -> u64 {
        self.input.saturating_add(self.output)
    }
}
