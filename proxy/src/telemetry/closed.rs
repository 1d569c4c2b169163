//! The record of a request that is over, as the log line and the metrics read it.

use std::time::Instant;

use tollgate_filters::audit::Event;
use tollgate_filters::scan::{Direction, Finding};

use crate::config::Telemetry;
use crate::http::{Exchange, Held};
use crate::telemetry::Metrics;

/// Borrowed from the exchange at its end: the audit event is moved out right after.
pub(crate) struct Closed<'a> {
    pub(crate) event: &'a Event,
    pub(crate) endpoint: &'static str,
    /// Bounded: the configured name.
    pub(crate) model: &'a str,
    pub(crate) findings: Vec<FindingCount<'a>>,
    pub(crate) guarded: Option<Guarded>,
    pub(crate) client_gone: bool,
    /// A local answer (health, models, preflight): no log line, unless it was refused.
    pub(crate) quiet: bool,
}

/// Findings of one sort: the labels of their metric, and how many there were.
pub(crate) struct FindingCount<'a> {
    rule: &'a str,
    kind: &'a str,
    action: &'a str,
    direction: Direction,
    count: u32,
}

/// What guarding the answer came to.
pub(crate) struct Guarded {
    scanned: u64,
    held: Held,
    discarded: usize,
}

impl<'a> Closed<'a> {
    pub(crate) fn of(exchange: &'a Exchange) -> Closed<'a> {
        let proxied = exchange.proxied.as_ref();
        let findings = match proxied {
            Some(proxied) => {
                let of = |f: &'a Finding| FindingCount {
                    rule: &f.rule,
                    kind: &f.kind,
                    action: f.action.as_str(),
                    direction: f.direction,
                    count: f.count,
                };
                proxied.pipeline.masker().findings().iter().map(of).collect()
            }
            // Refused before any answer: whatever was found is the request's.
            None => {
                let of = |f: &'a tollgate_filters::audit::FindingCount| FindingCount {
                    rule: &f.rule,
                    kind: &f.kind,
                    action: &f.action,
                    direction: Direction::Request,
                    count: f.count,
                };
                exchange.facts.event.findings.iter().map(of).collect()
            }
        };
        let guarded = proxied.map(|proxied| Guarded {
            scanned: proxied.pipeline.scanned(),
            held: proxied.held.so_far(Instant::now()),
            discarded: proxied.pipeline.discarded(),
        });
        Closed {
            event: &exchange.facts.event,
            endpoint: exchange.facts.endpoint,
            model: exchange.facts.model_label.as_deref().unwrap_or(""),
            findings,
            guarded,
            client_gone: exchange.client_gone(),
            quiet: !exchange.facts.audited && exchange.facts.rejection.is_none(),
        }
    }
}

/// Counts and logs the request, together.
pub(crate) fn record(metrics: &Metrics, config: &Telemetry, closed: &Closed<'_>) {
    count(metrics, config, closed);
    if !closed.quiet {
        log(closed);
    }
}

fn count(metrics: &Metrics, config: &Telemetry, closed: &Closed<'_>) {
    let event = closed.event;
    let code = event.code.as_deref().unwrap_or("");
    let seconds = |micros: u64| micros as f64 / 1e6;
    metrics.requests.with_label_values(&[closed.endpoint, closed.model, event.status.as_str(), code]).inc();
    metrics.duration.with_label_values(&[closed.endpoint]).observe(seconds(event.timing_us.total));
    if closed.client_gone {
        metrics.client_gone.with_label_values(&[closed.endpoint]).inc();
    }
    for FindingCount { rule, kind, action, direction, count } in &closed.findings {
        let labels = [*rule, *kind, *action, direction.as_str()];
        metrics.findings.with_label_values(&labels).inc_by(u64::from(*count));
    }
    let Some(provider) = event.provider.as_deref() else { return };
    metrics.overhead.with_label_values(&[closed.endpoint]).observe(seconds(event.timing_us.overhead));
    if let Some(ttft) = event.timing_us.ttft.filter(|_| event.stream) {
        metrics.first_token.with_label_values(&[closed.endpoint, provider]).observe(seconds(ttft));
    }
    if let Some(Guarded { scanned, held, discarded }) = &closed.guarded {
        metrics.scanned.with_label_values(&[Direction::Answer.as_str()]).inc_by(*scanned);
        metrics.held_discarded.with_label_values(&[closed.endpoint]).inc_by(*discarded as u64);
        if event.stream {
            metrics.held.with_label_values(&[closed.endpoint]).observe(held.most as f64);
            metrics.held_seconds.with_label_values(&[closed.endpoint]).observe(held.longest.as_secs_f64());
        }
    }
    let org = if config.org_label { event.org.as_deref().unwrap_or("") } else { "" };
    let Some(tokens) = &event.tokens else { return };
    let directions = [
        ("input", tokens.input),
        ("output", tokens.output),
        ("cache_read", tokens.cache_read),
        ("cache_write", tokens.cache_write),
        ("reasoning", tokens.reasoning),
    ];
    for (direction, count) in directions.into_iter().filter(|(_, count)| *count > 0) {
        metrics.tokens.with_label_values(&[closed.model, provider, org, direction]).inc_by(count);
    }
    if tokens.estimated {
        metrics.tokens_estimated.with_label_values(&[closed.model, provider]).inc();
    }
    match event.cost_nano_usd {
        Some(nano) => metrics.cost.with_label_values(&[closed.model, provider, org]).inc_by(nano),
        None => metrics.cost_unknown.with_label_values(&[closed.model, provider]).inc(),
    }
}

fn log(closed: &Closed<'_>) {
    let event = closed.event;
    let tokens = event.tokens.unwrap_or_default();
    tracing::info!(
        target: "tollgate::request",
        request_id = &*event.request_id,
        org_id = event.org.as_deref(),
        app_id = event.app.as_deref(),
        key_id = event.key_id.as_deref(),
        route = closed.endpoint,
        model = event.model_requested.as_deref(),
        provider = event.provider.as_deref(),
        target_id = event.target.as_deref(),
        attempts = event.attempts.len(),
        stream = event.stream,
        status = event.status.as_str(),
        http_status = event.http_status,
        code = event.code.as_deref(),
        tokens_input = tokens.input,
        tokens_output = tokens.output,
        cost_usd = event.cost_nano_usd.map(|nano| nano as f64 / 1e9),
        latency_ms = event.timing_us.total as f64 / 1e3,
        overhead_us = event.timing_us.overhead,
        "request"
    );
}
