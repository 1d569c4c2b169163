//! Streams of `/v1/responses`. (<https://platform.openai.com/docs/api-reference/responses-streaming>)
//!
//! The same text stands in its deltas, in `*.done`, in `content_part.done`, in `output_item.done` and in the response that ends
//! the stream. The deltas go through a lane; every repetition is scanned whole, with the same result, and not counted again.

mod read;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher};

use read::Read;
pub(super) use read::repeats_request;
pub(super) use write::incomplete;

use super::core::{Core, Halt, LATE, Seen};
use super::lanes::{Field, Inside, Key, Passed};
use super::texts::{Kind, Piece, Places, hide_tokens, inner, pass_all, pass_piece};
use super::{Fault, FaultKind};
use crate::frames::Event;
use crate::json::is_standard_base64;
use crate::scan::End;

/// The state of one stream.
#[derive(Default)]
pub(super) struct Responses {
    read: Read,
    /// What lanes have in common, by the types of their deltas: what [`Field::Other`] counts.
    kinds: Vec<String>,
    /// Lanes that have been opened, with what a delta made here must repeat.
    known: Vec<Known>,
    /// Texts that were read, by their output item and hash: whoever says one again says nothing new.
    said: BTreeSet<(u32, u64)>,
    /// Events put off until it is known whether the item's text was cut short.
    deferred: Vec<Vec<u8>>,
    deferred_index: u32,
    /// Output items that ended, and how.
    ends: BTreeMap<u32, End>,
    /// The first `response` of the stream, as it left, for the one that ends it by policy.
    response: Vec<u8>,
    /// What the next event is numbered; `None`: the stream has no numbers.
    next: Option<u64>,
    current: Option<Key>,
}

struct Known {
    key: Key,
    /// Literal of `item_id`.
    item_id: Box<str>,
    part: Option<&'static str>,
    /// Of its text so far.
    hash: DefaultHasher,
    ended: bool,
    /// Its deltas are no text.
    audio: bool,
}

/// Most events that wait for their item's end.
const MAX_DEFERRED: usize = 8;

/// Most texts, of all items and parts, in one answer.
const MAX_KNOWN: usize = 4096;

/// Most output items whose ends are remembered.
const MAX_ENDS: usize = 4096;

/// Most texts that are remembered; those past it are counted as often as they are said.
const MAX_SAID: usize = 16 << 10;

/// Largest `response` that is kept for an end by policy.
const MAX_RESPONSE: usize = 256 << 10;

/// What comes behind `response.` in the types of events, up to the next dot; vLLM's among them.
pub(super) const FAMILIES: [&str; 30] = [
    "audio",
    "code_interpreter_call",
    "code_interpreter_call_code",
    "completed",
    "computer_call",
    "content_part",
    "created",
    "custom_tool_call_input",
    "failed",
    "file_search_call",
    "function_call_arguments",
    "image_generation_call",
    "in_progress",
    "incomplete",
    "mcp_call",
    "mcp_call_arguments",
    "mcp_list_tools",
    "output_item",
    "output_text",
    "output_text_annotation",
    "queued",
    "reasoning",
    "reasoning_part",
    "reasoning_summary",
    "reasoning_summary_part",
    "reasoning_summary_text",
    "reasoning_text",
    "refusal",
    "shell_call",
    "web_search_call",
];

impl Responses {
    pub(super) fn event(&mut self, core: &mut Core, event: Event<'_>) -> Result<Seen, Halt> {
        let data = event.data.trim_ascii();
        if data == b"[DONE]" {
            return self.end(core);
        }
        if data.is_empty() || event.name == Some(b"ping") {
            return Ok(Seen::More);
        }
        let result = self.take(core, data, event.name == Some(b"error"));
        match result {
            Err(Halt::Blocked) => {
                self.stop(core);
                Ok(Seen::Stopped)
            }
            other => other,
        }
    }

    /// The end of the body comes too early if it comes here: the terminal event ended the answer before.
    pub(super) fn end(&mut self, _core: &mut Core) -> Result<Seen, Halt> {
        Err(Fault::new(FaultKind::Truncated, "the stream ended without response.completed").into())
    }

    fn take(&mut self, core: &mut Core, data: &[u8], named_error: bool) -> Result<Seen, Halt> {
        let text = self.read_event(core, data)?;
        if self.read.error || named_error || matches!(&*self.read.kind, "error" | "response.failed") {
            return Err(Fault::read(data).into());
        }
        if core.lanes.guarded() && self.is_odd() {
            return Err(Halt::Guard("an event of unknown form"));
        }
        if self.must_wait(core) {
            self.deferred_index = self.read.output_index;
            self.deferred.push(data.to_vec());
            return Ok(Seen::More);
        }
        if !self.deferred.is_empty() {
            self.settle_deferred(core)?;
            self.read_event(core, data)?;
        }
        self.pass(core, text)
    }

    /// An event of a kind that is not known here, with texts that may be pieces of longer ones: only a `delta` says so itself, and
    /// only what is done is whole. Or of which text it is cannot be told.
    fn is_odd(&self) -> bool {
        let family = self.read.kind.strip_prefix("response.").unwrap_or(&self.read.kind).split('.').next();
        let known = family.is_some_and(|family| FAMILIES.binary_search(&family).is_ok());
        let unknown = !known && !self.read.texts.pieces.is_empty() && !self.read.kind.ends_with(".done");
        unknown || self.read.odd
    }

    fn read_event<'a>(&mut self, core: &mut Core, data: &'a [u8]) -> Result<&'a str, Halt> {
        core.splice.clear();
        self.current = None;
        let read =
            std::str::from_utf8(data).ok().map(|text| (text, self.read.read(text, &mut core.meter.counts)));
        match read {
            Some((text, Ok(()))) => Ok(text),
            _ => Err(Fault::new(FaultKind::Malformed, "an event is not JSON").into()),
        }
    }

    /// Whether this event ends a text of which something is still held, or repeats one whose end waits already.
    fn must_wait(&self, core: &Core) -> bool {
        let index = self.read.output_index;
        if self.deferred.len() >= MAX_DEFERRED || !self.read.kind.ends_with(".done") {
            return false;
        }
        if self.read.kind == "response.output_item.done" {
            return false;
        }
        if !self.deferred.is_empty() {
            return index == self.deferred_index;
        }
        core.lanes.holds(|key| key.index == index)
    }

    /// This event says how the item of the waiting ones ended.
    fn settle_deferred(&mut self, core: &mut Core) -> Result<(), Halt> {
        let same = self.read.output_index == self.deferred_index;
        let end = match &*self.read.kind {
            "response.output_item.done" if same => self.read.end.unwrap_or(End::Whole),
            "response.incomplete" => End::CutShort,
            // The item's end is further off than is waited for.
            kind if same && kind.ends_with(".done") => End::CutShort,
            _ => End::Whole,
        };
        self.ended(core, self.deferred_index, end)?;
        for data in std::mem::take(&mut self.deferred) {
            let text = self.read_event(core, &data)?;
            self.pass(core, text)?;
        }
        Ok(())
    }

    fn ended(&mut self, core: &Core, index: u32, end: End) -> Result<(), Halt> {
        if !core.lanes.guarded() {
            return Ok(());
        }
        self.ends.insert(index, end);
        if self.ends.len() > MAX_ENDS {
            return Err(Halt::Guard("too many items in one answer"));
        }
        Ok(())
    }

    /// How the text of an output item ends.
    fn end_of(&self, index: u32) -> End {
        let answer = match &*self.read.kind {
            "response.incomplete" => End::CutShort,
            "response.completed" => self.read.end.unwrap_or(End::Whole),
            _ => End::Whole,
        };
        self.ends.get(&index).copied().unwrap_or(answer)
    }

    fn pass(&mut self, core: &mut Core, text: &str) -> Result<Seen, Halt> {
        if let (Some(model), Some(span)) = (&core.options.model, &self.read.model) {
            core.splice.replace_text(span.clone(), model);
        }
        if let Some(delta) = self.read.delta.clone() {
            self.pass_delta(core, text, delta)?;
            return Ok(Seen::More);
        }
        let last = matches!(&*self.read.kind, "response.completed" | "response.incomplete");
        if last {
            self.close_all(core)?;
        } else if self.read.kind.ends_with(".done") {
            self.close_done(core)?;
        }
        self.pass_texts(core, text)?;
        if last {
            core.meter.complete = self.read.has_usage;
            if let Some(status) = self.read.status.clone() {
                core.ended_with(&inner(&text[status]));
            }
        }
        if !self.is_preamble() {
            core.outlet.commit();
        }
        if self.response.is_empty()
            && let Some(response) = self.read.response.clone().filter(|span| span.len() <= MAX_RESPONSE)
        {
            core.splice.apply_within(text.as_bytes(), response, &mut self.response);
        }
        self.pass_on(core, text);
        Ok(if last { Seen::Last } else { Seen::More })
    }

    /// Whether nothing has been said yet that could not be said again by another target.
    fn is_preamble(&self) -> bool {
        let quiet = matches!(
            &*self.read.kind,
            "response.created" | "response.in_progress" | "response.queued" | "response.content_part.added"
        );
        let begins = matches!(
            &*self.read.kind,
            "response.output_item.added" | "response.reasoning_summary_part.added"
        );
        quiet || begins && matches!(&*self.read.inner, "message" | "reasoning" | "summary_text" | "")
    }

    fn pass_delta(&mut self, core: &mut Core, text: &str, span: std::ops::Range<usize>) -> Result<(), Halt> {
        let decoded = inner(&text[span.clone()]);
        core.meter.delta(decoded.len());
        let key = self.key(core, text)?;
        self.current = Some(key);
        let is_audio = self.is_audio(core, key, &text[span.clone()]);
        if let Some(known) = self.known.iter_mut().find(|known| known.key == key)
            && !decoded.is_empty()
        {
            if known.ended {
                return Err(Halt::Guard(LATE));
            }
            if known.audio && !is_audio {
                return Err(Halt::Guard("an event of unknown form"));
            }
            known.audio = is_audio;
            known.hash.write(decoded.as_bytes());
        }
        let inside = if is_arguments(&self.read.kind) { Inside::Json } else { Inside::Text };
        let mut whole = false;
        let passed = if is_audio { Passed::Same } else { core.lanes.push(key, inside, &decoded)? };
        match passed {
            Passed::Same if is_audio => {
                if !decoded.is_empty() {
                    core.outlet.commit();
                }
            }
            Passed::Same => {
                core.keep(Some(key), Some(&decoded));
                if !decoded.is_empty() {
                    core.outlet.commit();
                    whole = !core.lanes.holds(|open| open == key);
                }
            }
            Passed::Changed => {
                core.keep(Some(key), None);
                if core.lanes.out.is_empty() {
                    return Ok(());
                }
                core.outlet.commit();
                core.splice.replace_text(span, &core.lanes.out);
            }
        }
        self.current = None;
        if pass_all(core, text, &self.read.texts)? || core.lanes.acts() && !whole {
            hide_tokens(core, &self.read.texts.tokens, b"[]");
        }
        self.pass_on(core, text);
        Ok(())
    }

    /// The lane of this event's text. Its place and kind say which: `response.output_text` of part 0 of item 1.
    fn key(&mut self, core: &Core, text: &str) -> Result<Key, Halt> {
        let kind = if self.read.odd { "" } else { self.kind_of_lane() };
        let at = self.kinds.iter().position(|known| known == kind).unwrap_or(self.kinds.len());
        if at >= core.options.max_lanes {
            return Err(Halt::Guard("too many kinds of deltas in one answer"));
        }
        if at == self.kinds.len() {
            self.kinds.push(kind.to_owned());
        }
        let key = Key {
            index: self.read.output_index,
            sub: self.read.part.map_or(0, |(_, at)| at),
            field: Field::Other(u16::try_from(at).unwrap_or(u16::MAX)),
        };
        if core.lanes.guarded() {
            self.know(key, self.read.item_id.as_ref().map_or("", |span| &text[span.clone()]))?;
        }
        Ok(key)
    }

    /// Remembers the text of a lane. Some upstreams give every item the same index: then the text before it, which ended, is
    /// another one's.
    fn know(&mut self, key: Key, item_id: &str) -> Result<(), Halt> {
        let known = self.known.iter().position(|known| known.key == key);
        let fresh = || Known {
            key,
            item_id: item_id.into(),
            part: self.read.part.map(|(name, _)| name),
            hash: DefaultHasher::new(),
            ended: false,
            audio: false,
        };
        match known {
            Some(at) => {
                let known = &self.known[at];
                if known.ended && !item_id.is_empty() && *known.item_id != *item_id {
                    self.known[at] = fresh();
                }
            }
            None if self.known.len() >= MAX_KNOWN => {
                return Err(Halt::Guard("too many texts in one answer"));
            }
            None => self.known.push(fresh()),
        }
        Ok(())
    }

    /// Whether a delta is a piece of audio, which is not torn. What began as a text is one to its end.
    fn is_audio(&self, core: &Core, key: Key, literal: &str) -> bool {
        matches!(&*self.read.kind, "response.audio.delta" | "response.output_audio.delta")
            && is_standard_base64(&literal[1..literal.len() - 1])
            && core.lanes.any_open(|open| open == key).is_none()
    }

    fn kind_of_lane(&self) -> &str {
        let kind = &*self.read.kind;
        kind.strip_suffix(".delta").or_else(|| kind.strip_suffix(".done")).unwrap_or(kind)
    }

    /// Ends the lanes that this `*.done` is about: one text, one part's, or one item's.
    fn close_done(&mut self, core: &mut Core) -> Result<(), Halt> {
        let index = self.read.output_index;
        let sub = self.read.part.map(|(_, at)| at);
        let kind = self.kind_of_lane().to_owned();
        let lane = self.kinds.iter().position(|known| *known == kind);
        if self.read.kind == "response.output_item.done" {
            self.ended(core, index, self.read.end.unwrap_or(End::Whole))?;
        }
        let end = self.end_of(index);
        loop {
            let wanted = |key: Key| {
                let same_kind =
                    lane.is_none_or(|at| key.field == Field::Other(u16::try_from(at).unwrap_or(u16::MAX)));
                key.index == index && same_kind && sub.is_none_or(|sub| sub == key.sub)
            };
            let Some(key) = core.lanes.any_open(wanted) else { return Ok(()) };
            self.close_lane(core, key, end)?;
        }
    }

    fn close_all(&mut self, core: &mut Core) -> Result<(), Halt> {
        while let Some(key) = core.lanes.any_open(|_| true) {
            let end = self.end_of(key.index);
            self.close_lane(core, key, end)?;
        }
        Ok(())
    }

    fn close_lane(&mut self, core: &mut Core, key: Key, end: End) -> Result<(), Halt> {
        self.current = Some(key);
        if let Some(known) = self.known.iter_mut().find(|known| known.key == key) {
            known.ended = true;
            let hash = std::mem::take(&mut known.hash).finish();
            is_new(&mut self.said, key.index, hash);
        }
        core.lanes.out.clear();
        core.lanes.close(key, end)?;
        self.write_rest(core, key);
        self.current = None;
        Ok(())
    }

    /// Passes the whole texts of an event. Those that were said before, in deltas or whole, are not counted again.
    fn pass_texts(&mut self, core: &mut Core, text: &str) -> Result<(), Halt> {
        self.read.texts.check(core)?;
        let mut places = Places::new(text, self.read.texts.home);
        let whole_response = self.read.response.is_some();
        let mut unspelled = core.lanes.acts() && self.read.texts.pieces.is_empty();
        for (at, piece) in self.read.texts.pieces.iter().enumerate() {
            let index = if whole_response {
                let item = self.read.items.partition_point(|first| *first <= at).saturating_sub(1);
                u32::try_from(item).unwrap_or(u32::MAX)
            } else {
                self.read.output_index
            };
            let end = self.end_of(index);
            let repeats = self.read.output_text.as_ref() == Some(&piece.span);
            core.lanes.set_quiet(
                repeats || core.lanes.guarded() && !is_new(&mut self.said, index, hash(text, piece)),
            );
            let passed = pass_piece(core, &mut places, piece, end);
            core.lanes.set_quiet(false);
            unspelled |= passed?;
        }
        if unspelled {
            hide_tokens(core, &self.read.texts.tokens, b"[]");
        }
        Ok(())
    }
}

/// Remembers a text of an output item; whether it was not said before.
fn is_new(said: &mut BTreeSet<(u32, u64)>, index: u32, hash: u64) -> bool {
    if said.len() >= MAX_SAID { !said.contains(&(index, hash)) } else { said.insert((index, hash)) }
}

fn hash(text: &str, piece: &Piece) -> u64 {
    let literal = &text[piece.span.clone()];
    let mut hash = DefaultHasher::new();
    match piece.kind {
        Kind::Raw => hash.write(literal.as_bytes()),
        _ => hash.write(inner(literal).as_bytes()),
    }
    hash.finish()
}

/// Whether the deltas of this kind are pieces of JSON: `response.function_call_arguments`, and `response.mcp_call.arguments`, as
/// some upstreams spell it. The text they become is then called `arguments`, and read as JSON too.
fn is_arguments(kind: &str) -> bool {
    kind.strip_suffix(".delta").is_some_and(|kind| kind.ends_with("arguments"))
}
