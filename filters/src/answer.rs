//! From the upstream's bytes to the client's: one answer, guarded, counted and ended properly.
//!
//! A [`Pipeline`] is pushed what arrives and appends what may leave. Its decoder belongs to the attempt, and is forgotten by
//! [`Pipeline::begin`]; lanes, usage and held text belong to the request.

use std::sync::Arc;

use crate::chat::{Api, Usage};
use crate::scan::{Masker, Policy, Rules};
use crate::verdict::Rejection;

/// What finds and masks. Absent, or with every rule off, nothing is scanned or held.
#[derive(Debug, Clone)]
pub struct Guard {
    pub rules: Arc<Rules>,
    pub policy: Arc<Policy>,
}

/// Makes the `metadata` object of a plain answer, as JSON, from its usage. Called once, when the answer is whole.
pub type Metadata = Box<dyn Fn(Option<&Usage>) -> String + Send + Sync>;

/// How one request's answer is treated.
pub struct Options {
    pub api: Api,
    /// The caller asked for usage in the stream: else what the gateway's own asking added is taken out again.
    pub usage_asked: bool,
    pub guard: Option<Guard>,
    /// Bytes of the largest event.
    pub max_event: usize,
    /// Lanes open at one time; past it the answer fails.
    pub max_lanes: usize,
    /// Bytes of the largest plain answer that is collected.
    pub max_answer: usize,
    /// Written in the place of the upstream's model name.
    pub model: Option<String>,
    /// Bytes of masked answer text kept for the audit trail.
    pub keep_text: usize,
    /// Inserted into plain answers.
    pub metadata: Option<Metadata>,
    /// Tokens of the prompt, for usage that must be written before the upstream has counted.
    pub input_estimate: u64,
}

impl Options {
    /// Nothing guarded, nothing asked; the default bounds.
    pub fn new(api: Api) -> Options {
        Options {
            api,
            usage_asked: false,
            guard: None,
            max_event: 8 << 20,
            max_lanes: 256,
            max_answer: 32 << 20,
            model: None,
            keep_text: 0,
            metadata: None,
            input_estimate: 0,
        }
    }
}

/// What kind of body an attempt's header announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `text/event-stream`
    Events,
    /// One JSON object, read whole and checked (embeddings and token counts: passed through, read for usage).
    Plain,
    /// Anything else: passed through.
    Opaque,
}

/// What the caller of the pipeline does next.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Go on.
    More,
    /// The end was seen and written; later bytes are dropped.
    Done,
    /// The policy's end was written: close the attempt.
    Blocked,
    /// Nothing of the fault was written. No content has left yet: another attempt; else [`Pipeline::fail`].
    UpstreamFailed(Fault),
    /// A guard could not answer. Nothing more may leave but [`Pipeline::fail`].
    GuardFailed(&'static str),
}

/// What the upstream did wrong inside an answer that began well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    /// In the upstream's words where it had any. For logs; a caller of the API sees it only by decision.
    pub message: String,
    /// The HTTP status that the upstream named or that its error type stands for.
    pub status: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// An error object where an answer should be.
    ErrorEvent,
    /// The body ended before the answer did.
    Truncated,
    /// Not the surface's form.
    Malformed,
    /// An event past [`Options::max_event`].
    TooLarge,
}

/// One request's answer.
pub struct Pipeline {
    masker: Masker,
    wrote: bool,
}

impl Pipeline {
    pub fn new(_options: Options, masker: Masker) -> Pipeline {
        Pipeline { masker, wrote: false }
    }

    /// A new attempt's header arrived: the last attempt's decoder is forgotten, and, where no content has left yet,
    /// everything else it said.
    pub fn begin(&mut self, _form: Form) {}

    /// Takes the next bytes of the body; appends to `out` what may leave.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Step {
        self.wrote |= !bytes.is_empty();
        out.extend_from_slice(bytes);
        Step::More
    }

    /// The upstream's end of body.
    pub fn finish(&mut self, _out: &mut Vec<u8>) -> Step {
        Step::Done
    }

    /// Ends the answer with an error inside the body, in the surface's form. Held text is thrown away and counted.
    pub fn fail(&mut self, _rejection: &Rejection, _request_id: &str, _out: &mut Vec<u8>) {}

    /// What the upstream counted, if it did.
    pub fn usage(&self) -> Option<Usage> {
        None
    }

    /// What was counted here, for answers that were cut.
    pub fn estimate(&self) -> Usage {
        Usage { estimated: true, ..Usage::default() }
    }

    pub fn masker(&self) -> &Masker {
        &self.masker
    }

    /// Bytes held back now.
    pub fn held(&self) -> usize {
        0
    }

    /// Bytes of held text that were thrown away.
    pub fn discarded(&self) -> usize {
        0
    }

    /// Deltas whose text was held back, wholly or in part.
    pub fn deltas_held(&self) -> u64 {
        0
    }

    /// Whether content has left: from then on nothing may be retried unseen.
    pub fn has_content(&self) -> bool {
        self.wrote
    }

    /// The masked text so far, up to [`Options::keep_text`] bytes.
    pub fn text(&self) -> &str {
        ""
    }

    /// `finish_reason`, `stop_reason` or status of the (first) answer, as the client saw it.
    pub fn finish_reason(&self) -> Option<&str> {
        None
    }
}
