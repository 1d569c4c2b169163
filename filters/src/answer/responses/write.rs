//! Numbering, and events that are made here: rests of lanes, the end that policy demands, and errors.

use super::Responses;
use crate::answer::core::{Core, MAX_DEPTH};
use crate::answer::lanes::{Field, Key};
use crate::answer::splice::Splice;
use crate::json::{self, Invalid, Value, Walk};
use crate::verdict::{ErrorForm, Rejection};

impl Responses {
    /// Writes the event that was read, numbered in the order of what the client gets.
    pub(super) fn pass_on(&mut self, core: &mut Core, text: &str) {
        if let Some((number, span)) = self.read.sequence.clone() {
            let next = self.next.unwrap_or(number);
            if next != number {
                core.splice.replace(span, next.to_string().as_bytes());
            }
            self.next = Some(next.saturating_add(1));
        }
        core.pass_event(Some(self.read.kind.as_bytes()), text.as_bytes());
    }

    /// Writes what the lanes' `out` holds as a delta of its own lane.
    pub(super) fn write_rest(&mut self, core: &mut Core, key: Key) {
        let Field::Other(at) = key.field else { return };
        let known = self.known.iter().find(|known| known.key == key);
        let (Some(kind), Some(known)) = (self.kinds.get(usize::from(at)), known) else { return };
        if core.lanes.out.is_empty() {
            return;
        }
        core.keep(Some(key), None);
        core.outlet.commit();
        let kind = format!("{kind}.delta");
        let mut data = b"{\"type\":".to_vec();
        json::encode(&kind, &mut data);
        number(self.next, &mut data);
        if !known.item_id.is_empty() {
            data.extend_from_slice(b",\"item_id\":");
            data.extend_from_slice(known.item_id.as_bytes());
        }
        data.extend_from_slice(format!(",\"output_index\":{}", key.index).as_bytes());
        if let Some(part) = known.part {
            data.extend_from_slice(format!(",\"{part}\":{}", key.sub).as_bytes());
        }
        data.extend_from_slice(b",\"delta\":");
        json::encode(&core.lanes.out, &mut data);
        if kind == "response.output_text.delta" {
            data.extend_from_slice(b",\"logprobs\":[]");
        }
        data.push(b'}');
        self.write(core, &kind, &data);
    }

    /// The end that policy demands: the text so far, then `response.incomplete`.
    pub(super) fn stop(&mut self, core: &mut Core) {
        core.outlet.commit();
        if let Some(key) = self.current.take() {
            self.write_rest(core, key);
        }
        core.lanes.discard();
        let usage = core.estimate();
        let usage = format!(
            "{{\"input_tokens\":{},\"input_tokens_details\":{{\"cached_tokens\":{}}},\"output_tokens\":{},\
             \"output_tokens_details\":{{\"reasoning_tokens\":{}}},\"total_tokens\":{}}}",
            usage.input,
            usage.cache_read,
            usage.output,
            usage.reasoning,
            usage.input.saturating_add(usage.output)
        );
        let mut data = b"{\"type\":\"response.incomplete\"".to_vec();
        number(self.next, &mut data);
        data.extend_from_slice(b",\"response\":");
        let response = std::mem::take(&mut self.response);
        if incomplete(&String::from_utf8_lossy(&response), Some(&usage), &mut data).is_err() {
            let _ = incomplete("{\"object\":\"response\",\"output\":[]}", Some(&usage), &mut data);
        }
        data.push(b'}');
        self.write(core, "response.incomplete", &data);
        core.finish_reason = Some("incomplete".to_owned());
    }

    /// An error inside the stream. The documented event has its members at the top; SDKs raise on an `error` object.
    pub(in crate::answer) fn fail(&mut self, core: &mut Core, rejection: &Rejection, request_id: &str) {
        let error = rejection.error_object(ErrorForm::OpenAi);
        let mut data = b"{\"type\":\"error\"".to_vec();
        number(self.next, &mut data);
        for (name, member) in [
            ("code", &error["code"]),
            ("message", &error["message"]),
            ("param", &error["param"]),
            ("error", &error),
            ("request_id", &request_id.into()),
        ] {
            data.extend_from_slice(format!(",\"{name}\":{member}").as_bytes());
        }
        data.push(b'}');
        self.write(core, "error", &data);
    }

    fn write(&mut self, core: &mut Core, kind: &str, data: &[u8]) {
        if let Some(next) = &mut self.next {
            *next = next.saturating_add(1);
        }
        core.outlet.write(Some(kind), |out| out.extend_from_slice(data));
    }
}

fn number(next: Option<u64>, data: &mut Vec<u8>) {
    if let Some(next) = next {
        data.extend_from_slice(format!(",\"sequence_number\":{next}").as_bytes());
    }
}

/// Writes `response` as one that a filter ended, with `usage` in the place of its own if given.
pub(in crate::answer) fn incomplete(
    response: &str,
    usage: Option<&str>,
    out: &mut Vec<u8>,
) -> Result<(), Invalid> {
    const DETAILS: &[u8] = b"{\"reason\":\"content_filter\"}";
    let mut walk = Walk::over(response, MAX_DEPTH)?;
    let usage = usage.map_or(&b""[..], str::as_bytes);
    let (mut status, mut details, mut used) = (false, false, usage.is_empty());
    let mut splice = Splice::default();
    let mut last = 0;
    if matches!(walk.value()?, Value::Object) {
        last = walk.at();
        while let Some(key) = walk.key()? {
            let span = walk.skip()?;
            last = span.end;
            match &*key.decode() {
                "status" => {
                    status = true;
                    splice.replace(span, b"\"incomplete\"");
                }
                "incomplete_details" => {
                    details = true;
                    splice.replace(span, DETAILS);
                }
                "usage" if !usage.is_empty() => {
                    used = true;
                    splice.replace(span, usage);
                }
                _ => {}
            }
        }
    }
    let empty = response[..last].ends_with('{');
    splice.write(last..last, |arena| {
        let mut comma = !empty;
        for (there, name, value) in [
            (status, "status", &b"\"incomplete\""[..]),
            (details, "incomplete_details", DETAILS),
            (used, "usage", usage),
        ] {
            if !there {
                arena.extend_from_slice(if comma { b"," } else { b"" });
                arena.extend_from_slice(format!("\"{name}\":").as_bytes());
                arena.extend_from_slice(value);
                comma = true;
            }
        }
    });
    splice.apply(response.as_bytes(), out);
    Ok(())
}
