//! Streams of Anthropic's `/v1/messages`. (<https://docs.anthropic.com/en/docs/build-with-claude/streaming>)

mod read;

use std::collections::BTreeSet;

use read::Read;

use super::core::{Core, Halt, LATE, Seen, end_for};
use super::lanes::{Field, Inside, Key, Passed};
use super::texts::{hide_tokens, inner, pass_all};
use super::{Fault, FaultKind};
use crate::frames::Event;
use crate::json;
use crate::scan::End;
use crate::verdict::{ErrorForm, Rejection};

/// The state of one stream.
#[derive(Default)]
pub(super) struct Messages {
    read: Read,
    /// Blocks that have begun for the client and not ended.
    open: Vec<Open>,
    /// Every block that has begun.
    begun: BTreeSet<u32>,
    /// Types of deltas that are not known here, each with the name of its text: what [`Field::Other`] counts.
    kinds: Vec<(String, String)>,
    /// A `content_block_stop` whose block still holds text: why the answer ends, which the next event may say, decides what of
    /// it may leave.
    deferred: Option<Deferred>,
    /// The text that is being worked on, for the case that it ends the answer.
    current: Option<Key>,
    stop_reason: bool,
}

struct Open {
    index: u32,
    /// Its signature came: there is no more thinking.
    signed: bool,
}

struct Deferred {
    index: u32,
    data: Vec<u8>,
}

/// Most content blocks of one answer.
const MAX_BLOCKS: usize = 4096;

const TEXT: (&str, &str) = ("text_delta", "text");
const THINKING: (&str, &str) = ("thinking_delta", "thinking");
const INPUT: (&str, &str) = ("input_json_delta", "partial_json");

impl Messages {
    pub(super) fn event(&mut self, core: &mut Core, event: Event<'_>) -> Result<Seen, Halt> {
        let data = event.data.trim_ascii();
        if data.is_empty() {
            return Ok(Seen::More);
        }
        let read =
            std::str::from_utf8(data).ok().map(|text| (text, self.read.read(text, &mut core.meter.counts)));
        let Some((text, Ok(()))) = read else {
            return Err(Fault::new(FaultKind::Malformed, "an event is not JSON").into());
        };
        if self.read.error || self.read.kind == "error" || event.name == Some(b"error") {
            return Err(Fault::read(data).into());
        }
        if core.lanes.guarded() && self.read.odd {
            return Err(Halt::Guard("an event of unknown form"));
        }
        core.splice.clear();
        self.current = None;
        let seen = match self.settle_deferred(core, text) {
            Ok(()) => self.pass(core, text),
            Err(halt) => Err(halt),
        };
        match seen {
            Err(Halt::Blocked) => {
                self.stop(core);
                Ok(Seen::Stopped)
            }
            other => other,
        }
    }

    /// The end of the body: an answer that said why it ends lacks only its last event.
    pub(super) fn end(&mut self, core: &mut Core) -> Result<Seen, Halt> {
        if !self.stop_reason {
            return Err(Fault::new(FaultKind::Truncated, "the stream ended without a message_stop").into());
        }
        core.outlet.commit();
        write(core, "message_stop", "{\"type\":\"message_stop\"}");
        Ok(Seen::Last)
    }

    pub(super) fn fail(&mut self, core: &mut Core, rejection: &Rejection, request_id: &str) {
        let body = rejection.body(ErrorForm::Anthropic, request_id);
        core.outlet.write(Some("error"), |out| out.extend_from_slice(&body));
    }

    fn pass(&mut self, core: &mut Core, text: &str) -> Result<Seen, Halt> {
        match &*self.read.kind {
            "ping" => {
                if core.outlet.committed() {
                    self.pass_texts(core, text)?;
                    self.pass_on(core, text);
                }
            }
            "message_start" => {
                if let (Some(model), Some(span)) = (&core.options.model, &self.read.model) {
                    core.splice.replace_text(span.clone(), model);
                }
                self.pass_texts(core, text)?;
                self.pass_on(core, text);
            }
            "content_block_start" => self.pass_start(core, text)?,
            "content_block_delta" => self.pass_delta(core, text)?,
            "content_block_stop" => self.pass_stop(core, text)?,
            "message_delta" => {
                if let Some(reason) = &self.read.stop_reason {
                    self.stop_reason = true;
                    core.ended_with(&inner(&text[reason.clone()]));
                    // A block that was never ended is ended by the message.
                    while let Some(key) = core.lanes.any_open(|_| true) {
                        self.close_block(core, key.index, End::CutShort)?;
                    }
                }
                self.pass_texts(core, text)?;
                core.meter.complete = true;
                core.outlet.commit();
                self.pass_on(core, text);
            }
            "message_stop" => {
                if !self.stop_reason {
                    let fault = Fault::new(FaultKind::Truncated, "the stream ended without a stop_reason");
                    return Err(fault.into());
                }
                self.pass_texts(core, text)?;
                core.outlet.commit();
                self.pass_on(core, text);
                return Ok(Seen::Last);
            }
            _ => {
                let says_something = !self.read.fields.is_empty() || !self.read.texts.pieces.is_empty();
                if core.lanes.guarded() && says_something {
                    return Err(Halt::Guard("an event of unknown form"));
                }
                self.pass_on(core, text);
            }
        }
        Ok(Seen::More)
    }

    fn pass_on(&mut self, core: &mut Core, text: &str) {
        core.pass_event(Some(self.read.kind.as_bytes()), text.as_bytes());
    }

    fn pass_start(&mut self, core: &mut Core, text: &str) -> Result<(), Halt> {
        let is_text = matches!(&*self.read.inner, "text" | "thinking");
        if core.lanes.guarded() {
            self.begin()?;
        }
        let (leaves, _) = self.pass_fields(core, text)?;
        self.pass_texts(core, text)?;
        if leaves || !is_text {
            core.outlet.commit();
        }
        self.open(core)?;
        self.remember_signature();
        self.pass_on(core, text);
        Ok(())
    }

    fn remember_signature(&mut self) {
        let index = self.read.index;
        if let Some(open) = self.open.iter_mut().find(|open| open.index == index) {
            open.signed |= self.read.signed;
        }
    }

    fn begin(&mut self) -> Result<(), Halt> {
        if !self.begun.insert(self.read.index) {
            return Err(Halt::Guard(LATE));
        }
        if self.begun.len() > MAX_BLOCKS {
            return Err(Halt::Guard("too many content blocks in one answer"));
        }
        Ok(())
    }

    fn open(&mut self, core: &Core) -> Result<(), Halt> {
        if self.open.len() >= core.options.max_lanes {
            return Err(Halt::Guard("too many content blocks at one time"));
        }
        self.open.push(Open { index: self.read.index, signed: false });
        Ok(())
    }

    fn pass_delta(&mut self, core: &mut Core, text: &str) -> Result<(), Halt> {
        // Some upstreams do not say that a block begins.
        if core.lanes.guarded() && !self.begun.contains(&self.read.index) {
            self.begin()?;
            self.open(core)?;
        }
        let (leaves, held) = self.pass_fields(core, text)?;
        self.remember_signature();
        self.pass_texts(core, text)?;
        let bytes = self.read.fields.iter().map(|field| field.span.len().saturating_sub(2)).sum();
        core.meter.delta(bytes);
        let carries_more = self.read.fields.is_empty() || !self.read.texts.pieces.is_empty();
        if held && !leaves && !carries_more {
            return Ok(());
        }
        if leaves || carries_more {
            core.outlet.commit();
        }
        self.pass_on(core, text);
        Ok(())
    }

    /// Passes the texts beside those of lanes. Nothing of this surface tells tokens: what does is not told apart.
    fn pass_texts(&mut self, core: &mut Core, text: &str) -> Result<(), Halt> {
        self.current = None;
        if pass_all(core, text, &self.read.texts)? || core.lanes.acts() {
            hide_tokens(core, &self.read.texts.tokens, b"null");
        }
        Ok(())
    }

    /// Passes the texts of a delta or block through their lanes: whether any text leaves, and whether any is held.
    fn pass_fields(&mut self, core: &mut Core, text: &str) -> Result<(bool, bool), Halt> {
        let (mut leaves, mut held) = (false, false);
        let is_start = self.read.kind == "content_block_start";
        if self.read.signed && self.read.fields.iter().all(|field| field.name != THINKING.1) {
            self.close_thinking(core)?;
        }
        for at in 0..self.read.fields.len() {
            let field = &self.read.fields[at];
            let span = field.span.clone();
            let Some(lane) = self.lane_of(at, is_start) else {
                return Err(Halt::Guard("too many kinds of deltas in one answer"));
            };
            let key = Key { index: self.read.index, sub: 0, field: lane };
            self.current = Some(key);
            let decoded = inner(&text[span.clone()]);
            if !decoded.is_empty() && core.lanes.guarded() && self.is_late(lane, is_start) {
                return Err(Halt::Guard(LATE));
            }
            let inside = if lane == Field::ToolArguments { Inside::Json } else { Inside::Text };
            let passed = match lane {
                Field::Name => {
                    core.lanes.once(|| key.location(core.options.api), inside, End::Whole, &decoded)?
                }
                Field::Thinking if self.read.signed => {
                    core.lanes.push_last(key, inside, &decoded, End::Whole)?
                }
                _ => core.lanes.push(key, inside, &decoded)?,
            };
            match passed {
                Passed::Same => {
                    leaves |= !decoded.is_empty();
                    core.keep(Some(key), Some(&decoded));
                }
                Passed::Changed => {
                    leaves |= !core.lanes.out.is_empty();
                    held |= core.lanes.out.is_empty();
                    core.keep(Some(key), None);
                    core.splice.replace_text(span, &core.lanes.out);
                }
            }
        }
        Ok((leaves, held))
    }

    /// Whether this block's text has ended, or its thinking.
    fn is_late(&self, lane: Field, is_start: bool) -> bool {
        let open = self.open.iter().find(|open| open.index == self.read.index);
        let goes_on = is_start || open.is_some_and(|open| !(open.signed && lane == Field::Thinking));
        self.stop_reason || !goes_on
    }

    /// The lane of a field of this event: by the type of its delta. What a block begins with is the text of its deltas, but
    /// names and the like come whole.
    fn lane_of(&mut self, at: usize, is_start: bool) -> Option<Field> {
        let name = &self.read.fields[at].name;
        if is_start {
            return Some(match &**name {
                "text" => Field::Text,
                "thinking" => Field::Thinking,
                _ => Field::Name,
            });
        }
        Some(match (&*self.read.inner, &**name) {
            TEXT => Field::Text,
            THINKING => Field::Thinking,
            INPUT => Field::ToolArguments,
            _ if self.read.odd => Field::Other(u16::MAX),
            kind => {
                let known = self.kinds.iter().position(|(delta, name)| (&**delta, &**name) == kind);
                let at = known.unwrap_or(self.kinds.len());
                if at == self.kinds.len() {
                    self.kinds.push((kind.0.to_owned(), kind.1.to_owned()));
                }
                Field::Other(u8::try_from(at).ok()?.into())
            }
        })
    }

    fn pass_stop(&mut self, core: &mut Core, text: &str) -> Result<(), Halt> {
        let index = self.read.index;
        self.pass_texts(core, text)?;
        if core.lanes.holds(|key| key.index == index) {
            let mut data = Vec::with_capacity(text.len());
            core.splice.apply(text.as_bytes(), &mut data);
            self.deferred = Some(Deferred { index, data });
            return Ok(());
        }
        self.close_block(core, index, End::Whole)?;
        self.pass_on(core, text);
        Ok(())
    }

    /// Ends the block whose end was put off: this event says whether its text was cut short.
    fn settle_deferred(&mut self, core: &mut Core, text: &str) -> Result<(), Halt> {
        if self.read.kind == "ping" {
            return Ok(());
        }
        let Some(deferred) = self.deferred.take() else { return Ok(()) };
        let reason = self.read.stop_reason.as_ref().map(|reason| inner(&text[reason.clone()]));
        let end = match reason {
            Some(reason) => end_for(&reason),
            // Why it ended is not said yet.
            None if self.read.kind == "message_delta" => End::CutShort,
            None => End::Whole,
        };
        self.close_block(core, deferred.index, end)?;
        core.pass_event(Some(b"content_block_stop"), &deferred.data);
        Ok(())
    }

    /// A signature comes last: what is held of the thinking it vouches for leaves before it, or ends the answer.
    fn close_thinking(&mut self, core: &mut Core) -> Result<(), Halt> {
        let key = Key { index: self.read.index, sub: 0, field: Field::Thinking };
        self.current = Some(key);
        core.lanes.out.clear();
        core.lanes.close(key, End::Whole)?;
        self.write_rest(core, key);
        Ok(())
    }

    fn close_block(&mut self, core: &mut Core, index: u32, end: End) -> Result<(), Halt> {
        while let Some(key) = core.lanes.any_open(|key| key.index == index) {
            self.current = Some(key);
            core.lanes.out.clear();
            core.lanes.close(key, end)?;
            self.write_rest(core, key);
        }
        self.open.retain(|open| open.index != index);
        Ok(())
    }

    /// Writes what the lanes' `out` holds as a delta of its own lane.
    fn write_rest(&self, core: &mut Core, key: Key) {
        if core.lanes.out.is_empty() {
            return;
        }
        let (kind, name) = match key.field {
            Field::Thinking => THINKING,
            Field::ToolArguments => INPUT,
            Field::Other(at) => match self.kinds.get(usize::from(at)) {
                Some((kind, name)) => (&**kind, &**name),
                None => return,
            },
            _ => TEXT,
        };
        core.keep(Some(key), None);
        core.outlet.commit();
        let (text, index) = (&core.lanes.out, key.index);
        core.outlet.write(Some("content_block_delta"), |out| {
            let head = format!("{{\"type\":\"content_block_delta\",\"index\":{index},\"delta\":{{\"type\":");
            out.extend_from_slice(head.as_bytes());
            json::encode(kind, out);
            out.push(b',');
            json::encode(name, out);
            out.push(b':');
            json::encode(text, out);
            out.extend_from_slice(b"}}");
        });
    }

    /// The end that policy demands: the text so far, open blocks closed, `refusal`.
    fn stop(&mut self, core: &mut Core) {
        core.outlet.commit();
        let is_open = |index| self.open.iter().any(|open| open.index == index);
        if let Some(key) = self.current.filter(|key| key.field != Field::Name && is_open(key.index)) {
            self.write_rest(core, key);
        }
        core.lanes.discard();
        for Open { index, .. } in self.open.drain(..) {
            write(
                core,
                "content_block_stop",
                &format!("{{\"type\":\"content_block_stop\",\"index\":{index}}}"),
            );
        }
        let output = core.estimate().output;
        write(
            core,
            "message_delta",
            &format!(
                "{{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"refusal\",\"stop_sequence\":null}},\
                 \"usage\":{{\"output_tokens\":{output}}}}}"
            ),
        );
        write(core, "message_stop", "{\"type\":\"message_stop\"}");
        core.finish_reason = Some("refusal".to_owned());
    }
}

fn write(core: &mut Core, name: &str, data: &str) {
    core.outlet.write(Some(name), |out| out.extend_from_slice(data.as_bytes()));
}
