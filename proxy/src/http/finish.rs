//! The end of a request, on every path: limits settle with the real usage, and one record is closed from which the audit
//! event, the log line and the metrics are all made.

use std::sync::Arc;
use std::time::Duration;

use pingora_error::Error;
use pingora_proxy::Session;
use tollgate_filters::audit::{
    self, Content as EventContent, ContentForm, ContentText, Decision, Event, FindingCount, Status, Tokens,
    keyed_digest,
};
use tollgate_filters::chat::Usage;
use tollgate_filters::scan::{Action, Masker};
use tollgate_filters::verdict::Code;

use super::ctx::Exchange;
use super::retry;
use super::seam::Seam;
use crate::clock;
use crate::config::{Audit, Content};
use crate::telemetry::{self, Closed};
use crate::upstream::Outcome;

/// How the request came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Through Pingora's last phase.
    Whole,
    /// The same, with an error.
    Failed,
    /// Without it: a panic, or a task killed at the end of a shutdown.
    Abandoned,
}

/// Pingora's `logging`: once per request, after all attempts.
pub(crate) fn finish(session: &mut Session, error: Option<&Error>, exchange: &mut Exchange) {
    close(exchange, if error.is_some() { End::Failed } else { End::Whole });
    if let Some(home) = exchange.proxied.as_mut().and_then(|proxied| proxied.home.take()) {
        Seam::unwrap_session(&mut session.downstream_session, &home); // else the connection could not be kept alive
    }
}

/// Settles, closes the record, and writes it. Exactly once.
pub(crate) fn close(exchange: &mut Exchange, end: End) {
    if std::mem::replace(&mut exchange.closed, true) {
        return;
    }
    judge(exchange, end);
    let usage = usage(exchange);
    settle(exchange, usage.as_ref());
    complete(exchange, usage.as_ref());
    let closed = Closed::of(exchange);
    telemetry::record(&exchange.live.metrics, &exchange.runtime.config.telemetry, &closed);
    let event = std::mem::take(&mut exchange.facts.event);
    if exchange.facts.audited || exchange.facts.rejection.is_some() {
        let slot = exchange.permits.slot.take().or_else(|| {
            let code =
                exchange.facts.rejection.as_ref().map_or(Code::InvalidRequest, |rejection| rejection.code);
            exchange.live.audit.refusal(code)
        });
        if let Some(slot) = slot {
            slot.send(Box::new(event));
        }
    }
    exchange.permits = Default::default();
}

/// What became of it.
fn judge(exchange: &mut Exchange, end: End) {
    let Some(proxied) = &exchange.proxied else {
        if end == End::Failed && exchange.facts.rejection.is_none() {
            exchange.facts.event.status = Status::Cancelled; // the client left while its request was read
        }
        return;
    };
    // Whoever leaves with the whole answer has not left early.
    let gone = proxied.control.client_gone() && (!proxied.done || proxied.left_early);
    let (blocked, done) = (proxied.blocked, proxied.done);
    let told_late = proxied.late.is_some();
    // What has left is what the client got, whatever became of it later.
    let status = proxied.control.status_sent().map_or(0, |status| status.as_u16());
    exchange.facts.event.http_status = status;
    exchange.facts.event.status = if exchange.facts.rejection.is_some() {
        exchange.facts.event.status
    } else if blocked {
        Status::Blocked
    } else if gone {
        Status::Cancelled
    } else if (end == End::Whole || done) && !told_late && (200..300).contains(&status) {
        Status::Success
    } else {
        Status::Error
    };
    if end == End::Abandoned && exchange.facts.event.code.is_none() {
        exchange.facts.event.code = Some("ABANDONED".into());
    }
    let outcome = if gone { Outcome::ClientGone } else { Outcome::Ok };
    retry::finish_attempt(exchange, outcome, gone.then_some("client_gone"));
}

/// What the upstream counted; else, where something was generated, our estimate.
fn usage(exchange: &Exchange) -> Option<Usage> {
    let proxied = exchange.proxied.as_ref()?;
    if let Some(usage) = proxied.pipeline.usage() {
        return Some(usage);
    }
    // A plain answer's header comes after all of it was generated: who leaves or gives up before it has used the host too.
    let generated = |attempt: &audit::Attempt| match (attempt.status, attempt.error.as_deref()) {
        (Some(status), _) => status == 200,
        (None, error) => matches!(error, Some("client_gone" | "timeout")),
    };
    if !exchange.facts.event.attempts.iter().any(generated) {
        return None;
    }
    let counted = proxied.pipeline.estimate();
    Some(Usage { input: counted.input.max(exchange.facts.estimate.input), estimated: true, ..counted })
}

fn settle(exchange: &mut Exchange, usage: Option<&Usage>) {
    if let Some(reservation) = exchange.permits.reservation.take() {
        let tokens = usage.map_or(0, |usage| usage.input.saturating_add(usage.output));
        reservation.settle(tokens, clock::now());
    }
}

/// Fills in what is known only now.
fn complete(exchange: &mut Exchange, usage: Option<&Usage>) {
    let cost = cost(exchange, usage);
    let total = exchange.started.elapsed();
    let overhead = exchange.facts.overhead;
    let first = exchange.facts.first_content.map(|at| at.duration_since(exchange.started));
    let audit = exchange.runtime.config.audit.clone();
    let versions = audit::Versions {
        config: Some(exchange.runtime.version.clone()),
        rules: Some(exchange.runtime.rules_version.clone()),
        prices: Some(exchange.runtime.prices_version.clone()),
    };
    let event = &mut exchange.facts.event;
    event.tokens = usage.map(|usage| Tokens::from(*usage));
    event.cost_nano_usd = cost;
    event.versions = versions;
    event.timing_us =
        audit::Timing { total: micros(total), overhead: micros(overhead), ttft: first.map(micros), queue: 0 };
    if let Some(proxied) = &exchange.proxied {
        event.findings = findings(proxied.pipeline.masker());
        decide(event, proxied.pipeline.masker());
        let masker = proxied.pipeline.masker();
        let redacted = |text| exchange.runtime.guard.redact(&proxied.policies, masker, text);
        let texts: Vec<String> = match audit.content {
            Content::Off => Vec::new(),
            Content::Redacted | Content::Hashed => proxied.pipeline.texts().map(redacted).collect(),
        };
        if !texts.is_empty() {
            event.response = content(&audit, texts.join("\n"));
        }
    }
}

/// Nano-USD of an answer by the prices in force; `None`: unknown, never zero.
pub(crate) fn cost(exchange: &Exchange, usage: Option<&Usage>) -> Option<u64> {
    let usage = usage?;
    let proxied = exchange.proxied.as_ref()?;
    let running = proxied.attempt.as_ref().map(|running| running.attempt.model(&proxied.call.model));
    let model = running.or(exchange.facts.event.model.as_deref())?;
    exchange.runtime.config.prices.cost(model, usage)
}

/// A text in the form that the audit policy asks for.
pub(crate) fn content(audit: &Audit, text: String) -> Option<EventContent> {
    let (form, text) = match (audit.content, &audit.hash_key) {
        (Content::Redacted, _) => (ContentForm::Redacted, text),
        (Content::Hashed, Some(key)) => {
            (ContentForm::Hashed, keyed_digest(key.expose().as_bytes(), text.as_bytes()))
        }
        // Without a key the configuration is refused; nothing is better than clear text.
        (Content::Off, _) | (Content::Hashed, None) => return None,
    };
    Some(EventContent { form, texts: vec![ContentText { location: "".into(), text, cut_from: None }] })
}

pub(crate) fn findings(masker: &Masker) -> Vec<FindingCount> {
    masker
        .findings()
        .iter()
        .map(|finding| FindingCount {
            rule: finding.rule.to_string().into(),
            kind: finding.kind.to_string().into(),
            action: finding.action.as_str().into(),
            location: finding.location.clone().into(),
            count: finding.count,
        })
        .collect()
}

/// What each rule that did something, or would have, decided: once per rule and outcome. The findings say where and how often.
pub(crate) fn decide(event: &mut Event, masker: &Masker) {
    for finding in masker.findings() {
        let outcome = match (finding.action, finding.would) {
            (Action::Block, _) => "blocked",
            (Action::Mask, _) => "masked",
            (Action::Pseudonymise, _) => "pseudonymised",
            (Action::Shadow, Some(Action::Block)) => "would_block",
            (Action::Shadow, Some(Action::Mask)) => "would_mask",
            (Action::Shadow, Some(Action::Pseudonymise)) => "would_pseudonymise",
            _ => continue,
        };
        let is_it =
            |known: &Decision| known.rule.as_deref() == Some(&*finding.rule) && known.outcome == outcome;
        if !event.decisions.iter().any(is_it) {
            let rule = Some(Arc::clone(&finding.rule));
            event.decisions.push(Decision { rule, outcome: outcome.into(), ..Decision::default() });
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
