//! Streams of `/v1/chat/completions` and `/v1/completions`.
//! (<https://platform.openai.com/docs/api-reference/chat-streaming>, and vLLM's fields beside it)

mod read;
mod write;

use std::ops::Range;

use read::{Chunk, Owner};

use super::core::{Core, Halt, LATE, Seen, end_for};
use super::lanes::{Field, Inside, Key, Passed};
use super::texts::{hide_tokens, inner, pass_all};
use super::{Fault, FaultKind};
use crate::frames::Event;
use crate::json;
use crate::scan::End;

/// The state of one stream.
#[derive(Default)]
pub(super) struct Chat {
    /// `/v1/completions`: `text` stands where `delta` would.
    completions: bool,
    chunk: Chunk,
    /// Members that every chunk repeats, with a comma behind: what chunks made here begin with.
    envelope: Vec<u8>,
    choices: Vec<Progress>,
    tools: Vec<Tool>,
    /// The text that is being worked on, for the case that it ends the answer.
    current: Option<Key>,
    /// Slots of the chunk that have been worked off.
    settled: usize,
    /// A chunk with both a text and its end. Some upstreams end every chunk: only the next tells whether this was the last.
    waiting: Option<Box<str>>,
    /// Choices that the chunk does not end, though it says so.
    going_on: Vec<u32>,
}

struct Progress {
    index: u32,
    /// The client has been told the role.
    role: bool,
    finished: bool,
}

struct Tool {
    choice: u32,
    sub: u32,
    id: Box<str>,
    name: Box<str>,
}

/// What the choices of a chunk amount to.
#[derive(Default)]
struct Amount {
    /// Text, a call or an end leaves: content.
    content: bool,
    /// Text came and none of it may leave yet.
    held: bool,
    /// There is something else that the client must see.
    kept: bool,
    /// A text was changed, is held, or is not there: tokens that the chunk tells may be those of something else.
    unspelled: bool,
}

impl Chat {
    pub(super) fn new(completions: bool) -> Chat {
        Chat { completions, ..Chat::default() }
    }

    pub(super) fn event(&mut self, core: &mut Core, event: Event<'_>) -> Result<Seen, Halt> {
        let data = event.data.trim_ascii();
        if data == b"[DONE]" {
            return self.end(core);
        }
        // Only comments are keep-alives here; `ping` is another surface's, and two SDKs choke on it.
        if data.is_empty() || event.name == Some(b"ping") {
            return Ok(Seen::More);
        }
        let text = std::str::from_utf8(data).ok();
        let mut is_read = text.is_some_and(|text| self.chunk.read(text).is_ok());
        if self.waiting.is_some() {
            self.going_on.extend(self.chunk.speaking().filter(|_| is_read));
            let seen = self.release(core)?;
            if seen != Seen::More {
                return Ok(seen);
            }
            is_read = text.is_some_and(|text| self.chunk.read(text).is_ok());
        }
        let Some(text) = text.filter(|_| is_read) else {
            return Err(Fault::new(FaultKind::Malformed, "an event is not JSON").into());
        };
        if self.chunk.error || event.name == Some(b"error") {
            return Err(Fault::read(data).into());
        }
        if core.lanes.guarded() && (self.chunk.odd || !self.chunk.has_choices && self.chunk.usage.is_none()) {
            return Err(Halt::Guard("an event of unknown form"));
        }
        if core.lanes.acts() && self.chunk.ends_with_text() {
            self.waiting = Some(text.into());
            return Ok(Seen::More);
        }
        self.pass(core, text)
    }

    /// Lets the chunk that waits go.
    fn release(&mut self, core: &mut Core) -> Result<Seen, Halt> {
        let Some(text) = self.waiting.take() else { return Ok(Seen::More) };
        if self.chunk.read(&text).is_err() {
            return Err(Fault::new(FaultKind::Malformed, "an event is not JSON").into());
        }
        let seen = self.pass(core, &text);
        self.going_on.clear();
        seen
    }

    /// Passes the chunk that was read.
    fn pass(&mut self, core: &mut Core, text: &str) -> Result<Seen, Halt> {
        core.splice.clear();
        self.settled = 0;
        if let Some(usage) = &self.chunk.usage
            && let Some(counts) = usage.counts
        {
            core.meter.counts = counts;
            core.meter.complete = self.chunk.choices.is_empty();
            core.meter.raw.clear();
            core.meter.raw.extend_from_slice(text[usage.value.clone()].as_bytes());
        }
        if let (Some(model), Some(span)) = (&core.options.model, &self.chunk.model) {
            core.splice.replace_text(span.clone(), model);
        }
        self.remember_envelope(core, text);
        match self.pass_all(core, text) {
            Err(Halt::Blocked) => {
                self.stop(core, text);
                Ok(Seen::Stopped)
            }
            other => other.map(|()| Seen::More),
        }
    }

    /// `[DONE]`, or the end of a body whose upstream left it out.
    pub(super) fn end(&mut self, core: &mut Core) -> Result<Seen, Halt> {
        let seen = self.release(core)?;
        if seen != Seen::More {
            return Ok(seen);
        }
        if self.choices.is_empty() || self.choices.iter().any(|choice| !choice.finished) {
            return Err(Fault::new(FaultKind::Truncated, "the stream ended without a finish_reason").into());
        }
        if let Err(halt) = self.close_lanes(core, None, End::CutShort) {
            if halt != Halt::Blocked {
                return Err(halt);
            }
            self.chunk.choices.clear();
            self.stop(core, "");
            return Ok(Seen::Stopped);
        }
        if core.options.usage_asked && !core.meter.sent && !core.meter.raw.is_empty() {
            let raw = std::mem::take(&mut core.meter.raw);
            self.write_usage(core, &raw);
        }
        core.meter.complete = true;
        core.outlet.commit();
        core.outlet.write(None, |out| out.extend_from_slice(b"[DONE]"));
        Ok(Seen::Last)
    }

    /// Azure's first chunk, and the extra one with usage.
    fn pass_without_choices(&mut self, core: &mut Core, data: &[u8]) {
        let reports = self.chunk.usage.as_ref().is_some_and(|usage| usage.counts.is_some());
        if reports && (!core.options.usage_asked || core.meter.sent) {
            return;
        }
        if reports {
            core.meter.sent = true;
            self.insert_metadata(core);
        } else {
            self.strip_usage(core);
        }
        core.pass_event(None, data);
    }

    /// Who answered and what it cost, where that is asked for, stands beside the usage.
    fn insert_metadata(&self, core: &mut Core) {
        let (Some(make), Some(usage)) = (&core.options.metadata, &self.chunk.usage) else { return };
        let counted = core.meter.reported();
        core.splice.write(usage.value.end..usage.value.end, |out| {
            out.extend_from_slice(b",\"metadata\":");
            make(counted.as_ref(), out);
        });
    }

    /// Takes out what the gateway's own asking for usage put in; where the caller asked too, usage comes once, at the end.
    fn strip_usage(&self, core: &mut Core) {
        let Some(usage) = &self.chunk.usage else { return };
        if !core.options.usage_asked {
            core.splice.replace(usage.member.clone(), b"");
        } else if usage.counts.is_some() {
            core.splice.replace(usage.value.clone(), b"null");
        }
    }

    fn pass_all(&mut self, core: &mut Core, text: &str) -> Result<(), Halt> {
        self.current = None;
        let changed = pass_all(core, text, &self.chunk.texts)?;
        let mut amount = Amount { unspelled: changed, ..Amount::default() };
        for at in 0..self.chunk.choices.len() {
            self.pass_choice(core, text, at, &mut amount)?;
        }
        if amount.unspelled {
            hide_tokens(core, &self.chunk.texts.tokens, b"null");
        }
        if self.chunk.choices.is_empty() {
            self.pass_without_choices(core, text.as_bytes());
        } else {
            self.pass_with_choices(core, text, &amount);
        }
        Ok(())
    }

    fn pass_with_choices(&self, core: &mut Core, text: &str, amount: &Amount) {
        let bytes = self.chunk.slots.iter().map(|slot| slot.span.len().saturating_sub(2)).sum();
        core.meter.delta(bytes);
        if amount.held && !amount.content && !amount.kept && !self.chunk.other {
            return;
        }
        if amount.content {
            core.outlet.commit();
        }
        self.strip_usage(core);
        core.pass_event(None, text.as_bytes());
    }

    fn pass_choice(
        &mut self,
        core: &mut Core,
        text: &str,
        at: usize,
        amount: &mut Amount,
    ) -> Result<(), Halt> {
        let choice = &self.chunk.choices[at];
        let (index, slots) = (choice.index, choice.slots.clone());
        let believed = choice.finish.as_ref().filter(|_| !self.going_on.contains(&index));
        let end = believed.map(|reason| match end_for(&inner(&text[reason.clone()])) {
            End::Whole if choice.stopped => End::CutShort,
            end => end,
        });
        amount.content |= choice.calls || end.is_some();
        amount.kept |= choice.role || choice.other;
        let role = choice.role;
        let progress = self.progress(core, index)?;
        if core.lanes.acts() {
            if self.choices[progress].finished && self.chunk.speaks(at) {
                return Err(Halt::Guard(LATE));
            }
            for span in &self.chunk.choices[at].repeated {
                let is_text = text[span.start..].starts_with('"');
                core.splice.replace(span.clone(), if is_text { b"\"\"" } else { b"null" });
            }
        }
        self.close_signed(core, at)?;
        let (mut changed, mut whole) = (false, false);
        for slot in slots.clone() {
            let signature = self.chunk.choices[at].signed.contains(&self.chunk.slots[slot].field);
            let end = if signature { Some(End::Whole) } else { end };
            let (passed, empty) = self.pass_slot(core, text, index, slot..slots.end, end)?;
            self.settled = slot + 1;
            let leaves = match passed {
                Passed::Same => !empty,
                Passed::Changed => !core.lanes.out.is_empty(),
            };
            amount.content |= leaves;
            amount.held |= !leaves && !empty;
            whole |= leaves && self.chunk.slots[slot].field != Field::Name;
            if passed == Passed::Changed {
                changed = true;
                core.splice.replace_text(self.chunk.slots[slot].span.clone(), &core.lanes.out);
            }
        }
        self.choices[progress].role |= role;
        // Some upstreams tell tokens in other chunks than their text.
        if changed || core.lanes.acts() && (!whole || core.lanes.holds(|key| key.index == index)) {
            amount.unspelled = true;
            hide_tokens(core, &self.chunk.choices[at].tokens, b"null");
        }
        if let Some(end) = end {
            self.close_lanes(core, Some(index), end)?;
            self.choices[progress].finished = true;
            if let Some(reason) = &self.chunk.choices[at].finish {
                core.ended_with(&inner(&text[reason.clone()]));
            }
        }
        Ok(())
    }

    /// Ends the lanes whose signature stands in this chunk without any more text: what they hold leaves before it.
    fn close_signed(&mut self, core: &mut Core, at: usize) -> Result<(), Halt> {
        for at_field in 0..self.chunk.choices[at].signed.len() {
            let choice = &self.chunk.choices[at];
            let (index, field) = (choice.index, choice.signed[at_field]);
            if self.chunk.slots[choice.slots.clone()].iter().any(|slot| slot.field == field) {
                continue; // with its last text, then
            }
            if let Some(key) = core.lanes.any_open(|key| key.index == index && key.field == field) {
                self.close_lane(core, key, End::Whole)?;
            }
        }
        Ok(())
    }

    /// Passes the first text of these, which are the rest of a choice; whether it was empty to begin with.
    fn pass_slot(
        &mut self,
        core: &mut Core,
        text: &str,
        index: u32,
        slots: Range<usize>,
        end: Option<End>,
    ) -> Result<(Passed, bool), Halt> {
        let slot = &self.chunk.slots[slots.start];
        let (field, sub, span, signed) = (slot.field, slot.sub, slot.span.clone(), slot.signed);
        let key = Key { index, sub, field };
        if core.lanes.guarded()
            && let Some(id) = slot.call.clone()
        {
            let later = self.chunk.slots[slots.clone()].iter().skip(1).take_while(|slot| slot.call.is_none());
            let name = std::iter::once(slot).chain(later).find(|slot| slot.field == Field::Name);
            let name = name.map(|slot| inner(&text[slot.span.clone()]).into_owned()).unwrap_or_default();
            self.begin_call(core, key, &text[id], &name)?;
        }
        self.current = Some(key);
        let decoded = json::decode(&text[span.start + 1..span.end - 1]);
        let later = &self.chunk.slots[slots.start + 1..slots.end];
        let last = || !later.iter().any(|later| (later.field, later.sub) == (field, sub));
        let inside = match field {
            Field::ToolArguments | Field::FunctionArguments => Inside::Json,
            _ if signed => Inside::Signed,
            _ => Inside::Text,
        };
        let passed = match (field, end) {
            (Field::Name, _) => self.pass_name(core, key, &decoded)?,
            (_, Some(end)) if last() => core.lanes.push_last(key, inside, &decoded, end)?,
            _ => core.lanes.push(key, inside, &decoded)?,
        };
        if index == 0 && field != Field::Name {
            core.keep(Some(key), (passed == Passed::Same).then_some(&*decoded));
        }
        Ok((passed, decoded.is_empty()))
    }

    /// A name comes whole: SDKs read it off the first delta, so none of it can be held. One that goes on later could carry a
    /// value past its beginning.
    fn pass_name(&mut self, core: &mut Core, key: Key, name: &str) -> Result<Passed, Halt> {
        if name.is_empty() || !core.lanes.guarded() {
            return Ok(Passed::Same);
        }
        let tool = self.tool(core, key)?;
        if tool.name.is_empty() {
            tool.name = name.into();
        } else if *tool.name != *name {
            return Err(Halt::Guard("the name of a tool came in pieces"));
        }
        core.lanes.once(|| key.location(core.options.api), Inside::Text, End::Whole, name)
    }

    /// A call begins. Some upstreams give every call the same index: then the one before it is over. Others give every piece of
    /// a call another id: it goes on until its arguments are whole, or another function is named.
    fn begin_call(&mut self, core: &mut Core, key: Key, id: &str, name: &str) -> Result<(), Halt> {
        let whole = core.lanes.is_over(Key { field: Field::ToolArguments, ..key });
        let tool = self.tool(core, key)?;
        let known = std::mem::replace(&mut tool.id, id.into());
        let another = !name.is_empty() && !tool.name.is_empty() && *tool.name != *name;
        if *known == *id || !whole && !another {
            return Ok(());
        }
        tool.name = "".into();
        let end = if whole { End::Whole } else { End::CutShort };
        while let Some(key) = core.lanes.any_open(|lane| self.is_of_call(lane, key)) {
            self.close_lane(core, key, end)?;
        }
        Ok(())
    }

    /// Whether a lane is one of the call that `key` is of.
    fn is_of_call(&self, lane: Key, key: Key) -> bool {
        let of_a_call = match lane.field {
            Field::ToolArguments => true,
            Field::Other(at) => self
                .chunk
                .places
                .get(usize::from(at))
                .is_some_and(|place| matches!(place.of, Owner::Call | Owner::CalledFunction)),
            _ => false,
        };
        of_a_call && (lane.index, lane.sub) == (key.index, key.sub)
    }

    fn tool(&mut self, core: &Core, key: Key) -> Result<&mut Tool, Halt> {
        let known = self.tools.iter().position(|tool| (tool.choice, tool.sub) == (key.index, key.sub));
        let at = match known {
            Some(at) => at,
            None if self.tools.len() >= core.options.max_lanes => {
                return Err(Halt::Guard("too many tool calls in one answer"));
            }
            None => {
                self.tools.push(Tool { choice: key.index, sub: key.sub, id: "".into(), name: "".into() });
                self.tools.len() - 1
            }
        };
        Ok(&mut self.tools[at])
    }

    fn progress(&mut self, core: &Core, index: u32) -> Result<usize, Halt> {
        if let Some(at) = self.choices.iter().position(|choice| choice.index == index) {
            return Ok(at);
        }
        if self.choices.len() >= core.options.max_lanes {
            return Err(Fault::new(FaultKind::Malformed, "too many choices in one answer").into());
        }
        self.choices.push(Progress { index, role: false, finished: false });
        Ok(self.choices.len() - 1)
    }

    /// Ends the open lanes of a choice, or of all: their rests leave as deltas of their own.
    fn close_lanes(&mut self, core: &mut Core, choice: Option<u32>, end: End) -> Result<(), Halt> {
        while let Some(key) = core.lanes.any_open(|key| choice.is_none_or(|index| key.index == index)) {
            self.close_lane(core, key, end)?;
        }
        Ok(())
    }

    fn close_lane(&mut self, core: &mut Core, key: Key, end: End) -> Result<(), Halt> {
        self.current = Some(key);
        core.lanes.out.clear();
        core.lanes.close(key, end)?;
        self.write_rest(core, key);
        Ok(())
    }

    /// Writes what [`super::lanes::Lanes::out`] holds as a delta of its own lane.
    fn write_rest(&mut self, core: &mut Core, key: Key) {
        if core.lanes.out.is_empty() {
            return;
        }
        let mut literal = Vec::with_capacity(core.lanes.out.len() + 2);
        json::encode(&core.lanes.out, &mut literal);
        if key.index == 0 {
            core.keep(Some(key), None);
        }
        core.outlet.commit();
        self.write_delta(core, key, &literal);
    }
}
