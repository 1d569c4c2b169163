//! Answers in one piece: collected, checked, rewritten and given at once.

mod read;

use std::ops::Range;

use read::Whole;

use super::core::{Core, Halt, Seen, end_for};
use super::responses::incomplete;
use super::texts::{Home, Kind, Piece, Places, hide_tokens, inner, pass_piece};
use super::{Fault, FaultKind};
use crate::chat::Api;
use crate::json::{self, Value, Walk};
use crate::scan::End;

/// A plain answer that is arriving.
#[derive(Default)]
pub(super) struct Plain {
    body: Vec<u8>,
    /// Too large to collect, and nobody must read it: it goes through as it comes.
    passing: bool,
}

/// The last bytes of an answer that passes through: its usage stands there.
const TAIL: usize = 4 << 10;

impl Plain {
    pub(super) fn push(&mut self, core: &mut Core, bytes: &[u8]) -> Result<Seen, Halt> {
        let reads = matches!(core.options.api, Api::Embeddings | Api::CountTokens);
        if !self.passing && !reads {
            if self.body.len().saturating_add(bytes.len()) <= core.options.max_answer {
                self.body.extend_from_slice(bytes);
                return Ok(Seen::More);
            }
            if core.lanes.guarded() {
                return Err(Halt::Guard("an answer is too large to be read whole"));
            }
            core.outlet.ready.append(&mut self.body);
            self.passing = true;
        }
        if !bytes.is_empty() {
            core.outlet.commit();
        }
        core.outlet.ready.extend_from_slice(bytes);
        self.passing = true;
        self.body.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
        if self.body.len() > 2 * TAIL {
            self.body.drain(..self.body.len() - TAIL);
        }
        Ok(Seen::More)
    }

    /// The end of the body.
    pub(super) fn end(&mut self, core: &mut Core) -> Result<Seen, Halt> {
        let body = std::mem::take(&mut self.body);
        if self.passing {
            return end_passed(core, &body);
        }
        let Ok(text) = std::str::from_utf8(&body) else {
            return Err(Fault::new(FaultKind::Malformed, "an answer is not UTF-8").into());
        };
        let whole = match Whole::read(core.options.api, text) {
            Ok(whole) => whole,
            Err(invalid) if matches!(invalid.fault, json::Fault::Ended | json::Fault::Empty) => {
                return Err(Fault::new(FaultKind::Truncated, "an answer ended in its middle").into());
            }
            Err(_) => return Err(Fault::new(FaultKind::Malformed, "an answer is not JSON").into()),
        };
        if whole.error && whole.units.is_empty() {
            return Err(Fault::read(&body).into());
        }
        if core.lanes.guarded() && whole.inside.is_none() {
            return Err(Halt::Guard("an answer of unknown form"));
        }
        whole.texts.check(core)?;
        core.meter.counts = whole.counts;
        core.meter.complete = true;
        Rewrite { whole, text, blocked: false, cut_at: None }.run(core)
    }
}

fn end_passed(core: &mut Core, tail: &[u8]) -> Result<Seen, Halt> {
    if !tail.trim_ascii_end().ends_with(b"}") {
        return Err(Fault::new(FaultKind::Truncated, "an answer ended in its middle").into());
    }
    let usage = memchr::memmem::rfind(tail, b"\"usage\"").map(|at| &tail[at + b"\"usage\"".len()..]);
    let object = usage.and_then(|rest| rest.trim_ascii_start().strip_prefix(b":"));
    if let Some(text) = object.and_then(|rest| std::str::from_utf8(rest).ok())
        && let Ok(mut walk) = Walk::over(text, 16)
        && let Ok(Value::Object) = walk.value()
    {
        let mut counts = core.meter.counts;
        if counts.read(&mut walk).is_ok() {
            core.meter.counts = counts;
            core.meter.complete = true;
        }
    }
    Ok(Seen::Last)
}

struct Rewrite<'a> {
    whole: Whole,
    text: &'a str,
    blocked: bool,
    /// The list of items or blocks ends here.
    cut_at: Option<usize>,
}

impl Rewrite<'_> {
    fn run(mut self, core: &mut Core) -> Result<Seen, Halt> {
        core.splice.clear();
        let mut places = Places::new(self.text, Home::Answer);
        for at in 0..self.whole.units.len() {
            if self.cut_at.is_none() {
                self.pass_unit(core, &mut places, at)?;
            }
        }
        self.pass_beside(core)?;
        self.write_end(core);
        if let (Some(model), Some(span)) = (&core.options.model, &self.whole.model) {
            core.splice.replace_text(span.clone(), model);
        }
        self.insert_metadata(core);
        core.outlet.commit();
        core.splice.apply(self.text.as_bytes(), &mut core.outlet.ready);
        if !self.blocked {
            return Ok(Seen::Last);
        }
        if core.options.api == Api::Responses {
            write_incomplete(core);
        }
        Ok(Seen::Stopped)
    }

    fn is_choices(core: &Core) -> bool {
        matches!(core.options.api, Api::Chat | Api::Completions)
    }

    /// How the text of a unit ends: choices and items say so themselves, else the answer's end is the last unit's.
    fn end_of(&self, core: &Core, at: usize) -> End {
        let last = at + 1 == self.whole.units.len() && !Self::is_choices(core);
        let own = self.whole.units[at].end.as_ref();
        let reason = own.or(self.whole.end.as_ref().filter(|_| last)).map(|span| &self.text[span.clone()]);
        match reason {
            _ if self.whole.units[at].stopped => End::CutShort,
            Some(literal) if literal.starts_with('"') => end_for(&inner(literal)),
            _ => End::Whole,
        }
    }

    fn pass_unit(&mut self, core: &mut Core, places: &mut Places<'_>, at: usize) -> Result<(), Halt> {
        let end = self.end_of(core, at);
        let choices = Self::is_choices(core);
        let unit = &self.whole.units[at];
        let (mut changed, mut blocked, mut gone) = (false, false, false);
        let spelled = !core.lanes.acts() || !unit.pieces.is_empty();
        // What was taken out last.
        let mut taken = 0..0;
        for piece in &self.whole.texts.pieces[unit.pieces.clone()] {
            if gone || taken.contains(&piece.span.start) {
                continue;
            }
            let call = unit.calls.iter().find(|call| call.contains(&piece.span.start));
            if let Some(call) = call.filter(|_| blocked) {
                take_out(core, call);
                taken = call.clone();
                continue;
            }
            core.meter.text(piece.span.len().saturating_sub(2));
            match pass_piece(core, places, piece, end) {
                Ok(same_or_not) => {
                    changed |= same_or_not;
                    if !choices || at == 0 {
                        keep(core, self.text, piece, same_or_not);
                    }
                }
                Err(Halt::Blocked) => {
                    blocked = true;
                    changed = true;
                    if let Some(call) = call {
                        take_out(core, call);
                        taken = call.clone();
                    } else if choices && piece.kind == Kind::Raw {
                        core.splice.replace(piece.span.clone(), b"null");
                    } else if choices || piece.kind == Kind::Text && matches!(&*unit.kind, "text" | "message")
                    {
                        core.splice.replace_text(piece.span.clone(), &core.lanes.out);
                        keep(core, self.text, piece, true);
                    } else {
                        gone = true;
                    }
                }
                Err(halt) => return Err(halt),
            }
        }
        if (changed || !spelled) && !gone {
            let nothing: &[u8] = if core.options.api == Api::Responses { b"[]" } else { b"null" };
            hide_tokens(core, &self.whole.texts.tokens[unit.tokens.clone()], nothing);
        }
        if blocked {
            self.blocked = true;
            self.block_unit(core, at, gone);
        } else if let Some(reason) = unit.end.as_ref().filter(|_| choices) {
            core.ended_with(&inner(&self.text[reason.clone()]));
        }
        Ok(())
    }

    /// A choice ends by filter; a list of items or blocks ends behind the one at fault, or in front of it.
    fn block_unit(&mut self, core: &mut Core, at: usize, gone: bool) {
        let unit = &self.whole.units[at];
        if Self::is_choices(core) {
            core.ended_with("content_filter");
            match &unit.end {
                Some(end) => core.splice.replace(end.clone(), b"\"content_filter\""),
                None if !self.text[unit.span.clone()].starts_with('{') => {}
                None => {
                    let brace = unit.span.end - 1;
                    core.splice.replace(brace..brace, b",\"finish_reason\":\"content_filter\"");
                }
            }
            return;
        }
        let Some(inside) = &self.whole.inside else { return };
        let from = match (gone, at) {
            (false, _) => unit.span.end,
            (true, 0) => inside.start,
            (true, _) => self.whole.units[at - 1].span.end,
        };
        core.splice.forget(&(from..inside.end));
        core.splice.replace(from..inside.end, b"");
        self.cut_at = Some(from);
    }

    /// Texts that belong to no unit. Those of a response may repeat what its items say, as its `output_text` does.
    fn pass_beside(&mut self, core: &mut Core) -> Result<(), Halt> {
        if core.lanes.acts() {
            let nothing: &[u8] = if core.options.api == Api::Responses { b"[]" } else { b"null" };
            hide_tokens(core, &self.whole.tokens_beside, nothing);
        }
        let mut places = Places::new(self.text, Home::Answer);
        let end = match self.whole.units.len() {
            0 => End::Whole,
            units if core.options.api == Api::Responses => self.end_of(core, units - 1),
            _ => End::Whole,
        };
        for piece in &self.whole.texts.pieces[self.whole.beside..] {
            if self.blocked && core.options.api == Api::Responses {
                core.splice.replace_text(piece.span.clone(), "");
                continue;
            }
            core.lanes.set_quiet(self.whole.output_text.as_ref() == Some(&piece.span));
            let passed = pass_piece(core, &mut places, piece, end);
            core.lanes.set_quiet(false);
            match passed {
                Ok(_) => {}
                Err(Halt::Blocked) if piece.kind == Kind::Raw => {
                    core.splice.replace(piece.span.clone(), b"null")
                }
                Err(Halt::Blocked) => core.splice.replace_text(piece.span.clone(), ""),
                Err(halt) => return Err(halt),
            }
        }
        Ok(())
    }

    fn write_end(&self, core: &mut Core) {
        match (core.options.api, self.blocked, &self.whole.end) {
            (Api::Messages, true, end) => {
                core.ended_with("refusal");
                match end {
                    Some(end) => core.splice.replace(end.clone(), b"\"refusal\""),
                    None => core
                        .splice
                        .replace(self.whole.brace..self.whole.brace, b",\"stop_reason\":\"refusal\""),
                }
            }
            (Api::Responses, true, _) => core.ended_with("incomplete"),
            (_, false, Some(end)) => core.ended_with(&inner(&self.text[end.clone()])),
            _ => {}
        }
    }

    fn insert_metadata(&self, core: &mut Core) {
        let Some(make) = core.options.metadata.as_ref().filter(|_| !self.whole.has_metadata) else { return };
        if self.whole.brace == 0 {
            return;
        }
        let usage = core.meter.reported();
        core.splice.write(self.whole.brace..self.whole.brace, |out| {
            out.extend_from_slice(if self.whole.is_empty { b"\"metadata\":" } else { b",\"metadata\":" });
            make(usage.as_ref(), out);
        });
    }
}

/// Puts `null` in the place of a value and of all that was changed in it.
fn take_out(core: &mut Core, value: &Range<usize>) {
    core.splice.forget(value);
    core.splice.replace(value.clone(), b"null");
}

fn keep(core: &mut Core, text: &str, piece: &Piece, changed: bool) {
    let literal = &text[piece.span.clone()];
    match piece.kind {
        _ if changed => core.keep(None, None),
        Kind::Raw => core.keep(None, Some(literal)),
        _ => core.keep(None, Some(&inner(literal))),
    }
}

/// Rewrites what is ready as a response that a filter ended; its usage stays.
fn write_incomplete(core: &mut Core) {
    let body = std::mem::take(&mut core.outlet.ready);
    let text = String::from_utf8_lossy(&body);
    if incomplete(&text, None, &mut core.outlet.ready).is_err() {
        core.outlet.ready = body;
    }
}
