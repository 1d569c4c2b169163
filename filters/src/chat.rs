//! The API surfaces: which there are, and the fields of each that Tollgate reads or rewrites. All else passes untouched.

mod call;
mod outgoing;
mod predict;
mod read;

pub use call::{Call, Form, ReadBounds, Role, Text, TokenEstimate};
pub use outgoing::Outgoing;
pub use predict::{Predicted, predict, predicted};

use crate::verdict::ErrorForm;

/// An API surface of the data listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Api {
    /// `POST /v1/chat/completions`
    Chat,
    /// `POST /v1/completions`
    Completions,
    /// `POST /v1/embeddings`
    Embeddings,
    /// `POST /v1/responses`
    Responses,
    /// `POST /v1/messages` (Anthropic)
    Messages,
    /// `POST /v1/messages/count_tokens` (Anthropic)
    CountTokens,
}

impl Api {
    /// Name in metrics, logs and the audit trail.
    pub const fn as_str(self) -> &'static str {
        match self {
            Api::Chat => "chat",
            Api::Completions => "completions",
            Api::Embeddings => "embeddings",
            Api::Responses => "responses",
            Api::Messages => "messages",
            Api::CountTokens => "count_tokens",
        }
    }

    /// Path on the data listener, and at upstreams that speak this surface.
    pub const fn path(self) -> &'static str {
        match self {
            Api::Chat => "/v1/chat/completions",
            Api::Completions => "/v1/completions",
            Api::Embeddings => "/v1/embeddings",
            Api::Responses => "/v1/responses",
            Api::Messages => "/v1/messages",
            Api::CountTokens => "/v1/messages/count_tokens",
        }
    }

    pub const fn error_form(self) -> ErrorForm {
        match self {
            Api::Messages | Api::CountTokens => ErrorForm::Anthropic,
            _ => ErrorForm::OpenAi,
        }
    }

    /// Whether answers on this surface can be event streams.
    pub const fn streams(self) -> bool {
        !matches!(self, Api::Embeddings | Api::CountTokens)
    }
}

/// Tokens as the upstream counted them. `input` includes what was read from or written to a cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub input: u64,
    pub output: u64,
    pub cache_read: u64,
    pub cache_write: u64,
    pub reasoning: u64,
    /// The upstream reported nothing (or the answer was cut): these are our estimate.
    pub estimated: bool,
}
