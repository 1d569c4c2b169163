//! Chunks that are made here: rests of lanes, usage, and the end that policy demands.

use super::read::{Owner, Place};
use super::{Chat, Progress};
use crate::answer::core::Core;
use crate::answer::lanes::{Field, Key};
use crate::chat::Usage;
use crate::json;

impl Chat {
    /// Takes over the members that every chunk repeats from the first that has choices: Azure's very first has no id.
    pub(super) fn remember_envelope(&mut self, core: &Core, text: &str) {
        if !self.envelope.is_empty() || self.chunk.choices.is_empty() {
            return;
        }
        for member in &self.chunk.envelope {
            let is_model = self.chunk.model.as_ref().is_some_and(|model| model.end == member.end);
            match &core.options.model {
                Some(model) if is_model => {
                    self.envelope.extend_from_slice(b"\"model\":");
                    json::encode(model, &mut self.envelope);
                }
                _ => self.envelope.extend_from_slice(text[member.clone()].as_bytes()),
            }
            self.envelope.push(b',');
        }
    }

    /// Writes one delta; `literal` is its text as a JSON string.
    pub(super) fn write_delta(&mut self, core: &mut Core, key: Key, literal: &[u8]) {
        let progress = self.choices.iter_mut().find(|choice| choice.index == key.index);
        let role =
            !self.completions && progress.is_some_and(|choice| !std::mem::replace(&mut choice.role, true));
        let (envelope, places, completions) = (&self.envelope, &self.chunk.places, self.completions);
        core.outlet.write(None, |out| {
            begin_choice(envelope, key.index, out);
            // What stands beside the delta, and what is written around it.
            let of_choice = match key.field {
                Field::Other(at) => places
                    .get(usize::from(at))
                    .filter(|place| place.of == Owner::Choice)
                    .map(|place| (&*place.before, &*place.after)),
                Field::Text if !completions => Some(("\"text\":", "")),
                _ => None,
            };
            if completions {
                out.extend_from_slice(b"\"text\":");
                out.extend_from_slice(if of_choice.is_some() { b"\"\"" } else { literal });
                out.extend_from_slice(b",\"logprobs\":null");
            } else {
                out.extend_from_slice(b"\"delta\":{");
                if role {
                    out.extend_from_slice(b"\"role\":\"assistant\"");
                }
                if of_choice.is_none() {
                    out.extend_from_slice(if role { b"," } else { b"" });
                    write_field(key, places, literal, out);
                }
                out.push(b'}');
            }
            if let Some((before, after)) = of_choice {
                out.push(b',');
                out.extend_from_slice(before.as_bytes());
                out.extend_from_slice(literal);
                out.extend_from_slice(after.as_bytes());
            }
            out.extend_from_slice(b",\"finish_reason\":null}]}");
        });
    }

    /// The end that policy demands: what may still leave of this chunk, then every choice ends, usage if asked, `[DONE]`.
    pub(super) fn stop(&mut self, core: &mut Core, text: &str) {
        let blocked = self.current.take();
        let rest = std::mem::take(&mut core.lanes.out);
        let settled = self.settled;
        core.outlet.commit();
        for at in 0..self.chunk.choices.len() {
            let (index, slots) = (self.chunk.choices[at].index, self.chunk.choices[at].slots.clone());
            // An end in this very chunk does not leave with it.
            if let Some(choice) = self.choices.iter_mut().find(|choice| choice.index == index) {
                choice.finished = false;
            }
            for at in slots.take_while(|at| *at < settled) {
                let slot = &self.chunk.slots[at];
                let key = Key { index, sub: slot.sub, field: slot.field };
                let literal = core.splice.at(&slot.span).unwrap_or(text[slot.span.clone()].as_bytes());
                // A call that only begins here is not worth beginning.
                let of_a_call =
                    matches!(key.field, Field::Name | Field::ToolArguments | Field::FunctionArguments);
                if literal != b"\"\"" && !of_a_call {
                    let literal = literal.to_vec();
                    self.write_delta(core, key, &literal);
                }
            }
        }
        core.lanes.out = rest;
        if let Some(key) = blocked.filter(|key| key.field != Field::Name) {
            let begins_here = self.chunk.slots.iter().any(|slot| slot.sub == key.sub && slot.call.is_some());
            if !begins_here || !matches!(key.field, Field::ToolArguments) {
                self.write_rest(core, key);
            }
        }
        core.lanes.discard();
        if self.choices.is_empty() {
            self.choices.push(Progress { index: 0, role: false, finished: false });
        }
        for choice in self.choices.iter_mut().filter(|choice| !choice.finished) {
            choice.finished = true;
            let (envelope, completions, index) = (&self.envelope, self.completions, choice.index);
            core.outlet.write(None, |out| {
                begin_choice(envelope, index, out);
                let nothing: &[u8] =
                    if completions { b"\"text\":\"\",\"logprobs\":null" } else { b"\"delta\":{}" };
                out.extend_from_slice(nothing);
                out.extend_from_slice(b",\"finish_reason\":\"content_filter\"}]}");
            });
        }
        core.finish_reason = Some("content_filter".to_owned());
        if core.options.usage_asked && !core.meter.sent {
            let usage = usage_object(&core.best_usage());
            self.write_usage(core, usage.as_bytes());
        }
        core.outlet.write(None, |out| out.extend_from_slice(b"[DONE]"));
    }

    /// The extra chunk with usage.
    pub(super) fn write_usage(&mut self, core: &mut Core, usage: &[u8]) {
        core.meter.sent = true;
        let counted = core.best_usage();
        let Core { options, outlet, .. } = core;
        outlet.write(None, |out| {
            out.push(b'{');
            out.extend_from_slice(&self.envelope);
            out.extend_from_slice(b"\"choices\":[],\"usage\":");
            out.extend_from_slice(usage);
            if let Some(make) = &options.metadata {
                out.extend_from_slice(b",\"metadata\":");
                make(Some(&counted), out);
            }
            out.push(b'}');
        });
    }
}

fn begin_choice(envelope: &[u8], index: u32, out: &mut Vec<u8>) {
    out.push(b'{');
    out.extend_from_slice(envelope);
    out.extend_from_slice(format!("\"choices\":[{{\"index\":{index},").as_bytes());
}

fn write_field(key: Key, places: &[Place], literal: &[u8], out: &mut Vec<u8>) {
    let sub = key.sub;
    let (before, after) = match key.field {
        Field::ReasoningContent => ("\"reasoning_content\":".to_owned(), String::new()),
        Field::Reasoning => ("\"reasoning\":".to_owned(), String::new()),
        Field::Refusal => ("\"refusal\":".to_owned(), String::new()),
        Field::ToolArguments => {
            (format!("\"tool_calls\":[{{\"index\":{sub},\"function\":{{\"arguments\":"), "}}]".to_owned())
        }
        Field::FunctionArguments => ("\"function_call\":{\"arguments\":".to_owned(), "}".to_owned()),
        Field::Other(at) => match places.get(usize::from(at)) {
            Some(Place { before, after, of, .. }) => match of {
                Owner::Call => (format!("\"tool_calls\":[{{\"index\":{sub},{before}"), format!("{after}}}]")),
                Owner::CalledFunction => (
                    format!("\"tool_calls\":[{{\"index\":{sub},\"function\":{{{before}"),
                    format!("{after}}}}}]"),
                ),
                Owner::Function => (format!("\"function_call\":{{{before}"), format!("{after}}}")),
                Owner::Choice | Owner::Delta => (before.clone(), after.clone()),
            },
            None => return,
        },
        _ => ("\"content\":".to_owned(), String::new()),
    };
    out.extend_from_slice(before.as_bytes());
    out.extend_from_slice(literal);
    out.extend_from_slice(after.as_bytes());
}

fn usage_object(usage: &Usage) -> String {
    let Usage { input, output, .. } = *usage;
    let total = input.saturating_add(output);
    format!("{{\"prompt_tokens\":{input},\"completion_tokens\":{output},\"total_tokens\":{total}}}")
}
