//! From the upstream's bytes to the client's: one answer, guarded, counted and ended properly.
//!
//! A [`Pipeline`] is pushed what arrives and appends what may leave. Its decoder belongs to the attempt, and is forgotten by
//! [`Pipeline::begin`]; lanes, usage and held text belong to the request.

mod arguments;
mod chat;
mod core;
mod fault;
mod kept;
mod lanes;
mod messages;
mod plain;
mod responses;
mod splice;
mod texts;
mod usage;

use std::sync::Arc;

pub use self::kept::{KeptText, Spelling};

use self::chat::Chat;
use self::core::{Core, Halt, Seen};
use self::messages::Messages;
use self::plain::Plain;
use self::responses::Responses;
use crate::chat::{Api, Usage};
use crate::frames::{self, Decoder, Frame};
use crate::scan::{Masker, Policy, Rules};
use crate::verdict::Rejection;

/// What finds and masks. Absent, or with every rule off, nothing is scanned or held.
#[derive(Debug, Clone)]
pub struct Guard {
    pub rules: Arc<Rules>,
    pub policy: Arc<Policy>,
}

/// Appends the `metadata` object, as JSON, made from the usage. Called once: when a plain answer is whole, or for a stream's
/// usage chunk.
pub type Metadata = Arc<dyn Fn(Option<&Usage>, &mut Vec<u8>) + Send + Sync>;

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
    /// The caller asked for JSON: texts are read as such, so that what is masked in them stays JSON.
    pub structured: bool,
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
            structured: false,
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
    core: Core,
    surface: Surface,
    plain: Plain,
    form: Form,
    decoder: Decoder,
    /// The step that ended this attempt's answer: later bytes change nothing.
    over: Option<Step>,
}

/// The state of one surface's stream.
enum Surface {
    Chat(Box<Chat>),
    Responses(Box<Responses>),
    Messages(Box<Messages>),
    /// Nothing here is ever a stream.
    None,
}

impl Pipeline {
    pub fn new(options: Options, masker: Masker) -> Pipeline {
        Pipeline {
            plain: Plain::default(),
            form: Form::Opaque,
            decoder: Decoder::new(options.max_event),
            surface: Surface::new(options.api),
            core: Core::new(options, masker),
            over: None,
        }
    }

    /// A new attempt's header arrived: the last attempt's decoder is forgotten, and, where no content has left yet,
    /// everything else it said.
    pub fn begin(&mut self, form: Form) {
        self.form = form;
        self.decoder = Decoder::new(self.core.options.max_event);
        self.plain = Plain::default();
        self.over = None;
        if !self.has_content() {
            self.core.restart();
            self.surface = Surface::new(self.core.options.api);
        }
    }

    /// Takes the next bytes of the body; appends to `out` what may leave.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Step {
        if let Some(step) = &self.over {
            return step.clone();
        }
        let step = match self.form {
            Form::Events => {
                self.decoder.feed(bytes);
                self.pass_frames()
            }
            Form::Plain => step_of(self.plain.push(&mut self.core, bytes)),
            Form::Opaque => {
                if !bytes.is_empty() {
                    self.core.outlet.commit();
                }
                out.extend_from_slice(bytes);
                Step::More
            }
        };
        self.core.outlet.release(out);
        self.end_with(step)
    }

    /// The upstream's end of body.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Step {
        if let Some(step) = &self.over {
            return step.clone();
        }
        let step = match self.form {
            Form::Events => self.finish_events(),
            Form::Plain => step_of(self.plain.end(&mut self.core)),
            Form::Opaque => Step::Done,
        };
        self.core.outlet.release(out);
        self.end_with(step)
    }

    /// A push or finish panicked: what it left half done is thrown away, and what is held. Nothing more may leave but
    /// [`Pipeline::fail`].
    pub fn give_up(&mut self, why: &'static str) -> Step {
        self.core.outlet.ready.clear();
        self.end_with(Step::GuardFailed(why))
    }

    /// Ends the answer with an error inside the body, in the surface's form. Held text is thrown away and counted.
    ///
    /// A plain answer of which something has left cannot say anything any more: nothing is written, break the connection.
    pub fn fail(&mut self, rejection: &Rejection, request_id: &str, out: &mut Vec<u8>) {
        self.core.lanes.discard();
        match self.form {
            Form::Events => self.surface.fail(&mut self.core, rejection, request_id),
            // Nothing can be said inside half a document: the connection has to break.
            Form::Plain | Form::Opaque if self.has_content() => {}
            Form::Plain | Form::Opaque => {
                let body = rejection.body(self.core.options.api.error_form(), request_id);
                self.core.outlet.ready = body;
            }
        }
        self.core.outlet.commit();
        self.core.outlet.release(out);
        self.over = Some(Step::Done);
    }

    /// What the upstream counted for the whole answer, once it has. Counting tokens costs none.
    pub fn usage(&self) -> Option<Usage> {
        match self.core.options.api {
            Api::CountTokens => Some(Usage::default()),
            _ => self.core.meter.total(),
        }
    }

    /// What was counted here, for answers that were cut: never less than the upstream had counted by then.
    pub fn estimate(&self) -> Usage {
        self.core.estimate()
    }

    pub fn masker(&self) -> &Masker {
        self.core.lanes.masker()
    }

    /// Bytes held back now.
    pub fn held(&self) -> usize {
        self.core.lanes.held()
    }

    /// Bytes of held text that were thrown away.
    pub fn discarded(&self) -> usize {
        self.core.lanes.discarded
    }

    /// Bytes of text that were read for findings.
    pub fn scanned(&self) -> u64 {
        self.core.lanes.scanned
    }

    /// Whether content has left: from then on nothing may be retried unseen.
    pub fn has_content(&self) -> bool {
        self.core.outlet.committed()
    }

    /// The masked texts of the first choice so far, up to [`Options::keep_text`] bytes together. Each may end anywhere: at the
    /// bound, where the answer broke off, or where it was cut short.
    pub fn texts(&self) -> impl Iterator<Item = KeptText<'_>> {
        self.core.kept.texts()
    }

    /// `finish_reason`, `stop_reason` or status of the (first) answer, as the client saw it.
    pub fn finish_reason(&self) -> Option<&str> {
        self.core.finish_reason.as_deref()
    }

    fn pass_frames(&mut self) -> Step {
        loop {
            let seen = match self.decoder.next_frame() {
                Ok(None) => return Step::More,
                Ok(Some(Frame::Comment(_))) => {
                    // The words are the upstream's own; what matters is that something moves.
                    if self.core.outlet.committed() {
                        frames::write_comment(b"", &mut self.core.outlet.ready);
                    }
                    continue;
                }
                Ok(Some(Frame::Event(event))) => self.surface.event(&mut self.core, event),
                Err(too_large) => Err(Halt::Upstream(Fault::new(FaultKind::TooLarge, too_large.to_string()))),
            };
            match step_of(self.closed(seen)) {
                Step::More => {}
                step => return step,
            }
        }
    }

    /// What cannot be read cannot be checked: once something has left, that is the guard's failure. Before, another target may
    /// do better.
    fn closed(&self, seen: Result<Seen, Halt>) -> Result<Seen, Halt> {
        match seen {
            Err(Halt::Upstream(fault)) if self.core.lanes.guarded() && self.has_content() => match fault.kind
            {
                FaultKind::Malformed => Err(Halt::Guard("an event that cannot be read")),
                FaultKind::TooLarge => Err(Halt::Guard("an event is too large")),
                FaultKind::ErrorEvent | FaultKind::Truncated => Err(Halt::Upstream(fault)),
            },
            seen => seen,
        }
    }

    fn finish_events(&mut self) -> Step {
        if let Some(event) = self.decoder.finish()
            // Without its blank line an event may have been cut: only what is whole counts.
            && (event.data == b"[DONE]" || serde_json::from_slice::<serde::de::IgnoredAny>(event.data).is_ok())
        {
            match step_of(self.surface.event(&mut self.core, event)) {
                Step::More => {}
                step => return step,
            }
        }
        match step_of(self.surface.end(&mut self.core)) {
            Step::More => Step::Done,
            step => step,
        }
    }

    fn end_with(&mut self, step: Step) -> Step {
        if step != Step::More {
            if step != Step::Done {
                self.core.lanes.discard();
            }
            self.over = Some(step.clone());
        }
        step
    }
}

impl Surface {
    fn new(api: Api) -> Surface {
        match api {
            Api::Chat => Surface::Chat(Box::new(Chat::new(false))),
            Api::Completions => Surface::Chat(Box::new(Chat::new(true))),
            Api::Responses => Surface::Responses(Box::default()),
            Api::Messages => Surface::Messages(Box::default()),
            Api::Embeddings | Api::CountTokens => Surface::None,
        }
    }

    fn event(&mut self, core: &mut Core, event: frames::Event<'_>) -> Result<Seen, Halt> {
        match self {
            Surface::Chat(chat) => chat.event(core, event),
            Surface::Responses(responses) => responses.event(core, event),
            Surface::Messages(messages) => messages.event(core, event),
            Surface::None => Err(Fault::new(FaultKind::Malformed, "a stream where none can be").into()),
        }
    }

    fn end(&mut self, core: &mut Core) -> Result<Seen, Halt> {
        match self {
            Surface::Chat(chat) => chat.end(core),
            Surface::Responses(responses) => responses.end(core),
            Surface::Messages(messages) => messages.end(core),
            Surface::None => Ok(Seen::Last),
        }
    }

    fn fail(&mut self, core: &mut Core, rejection: &Rejection, request_id: &str) {
        let form = core.options.api.error_form();
        match self {
            Surface::Responses(responses) => responses.fail(core, rejection, request_id),
            Surface::Messages(messages) => messages.fail(core, rejection, request_id),
            Surface::Chat(_) | Surface::None => {
                let body = rejection.body(form, request_id);
                core.outlet.write(None, |out| out.extend_from_slice(&body));
            }
        }
    }
}

fn step_of(seen: Result<Seen, Halt>) -> Step {
    match seen {
        Ok(Seen::More) => Step::More,
        Ok(Seen::Last) => Step::Done,
        Ok(Seen::Stopped) | Err(Halt::Blocked) => Step::Blocked,
        Err(Halt::Guard(why)) => Step::GuardFailed(why),
        Err(Halt::Upstream(fault)) => Step::UpstreamFailed(fault),
    }
}

#[cfg(test)]
mod tests;
