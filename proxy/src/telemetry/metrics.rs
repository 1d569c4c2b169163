//! Every metric of the data plane, declared once. `docs/metrics.md` is held to [`DECLARED`] by a test.
//!
//! Labels are bounded: names from the configuration, codes, kinds. A model that only the wildcard `*` matched is labelled `*`.

use parking_lot::Mutex;
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// One metric as the documentation lists it.
#[derive(Debug, Clone, Copy)]
pub struct Declared {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Counter,
    Gauge,
    FloatGauge,
    Histogram(&'static [f64]),
}

const LATENCY: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];
const OVERHEAD: &[f64] = &[0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25];
const BYTES: &[f64] = &[0.0, 8.0, 32.0, 64.0, 128.0, 256.0, 320.0, 1280.0];

macro_rules! metrics {
    ($($field:ident: $type:ident = $kind:expr, $name:literal, [$($label:literal),*], $help:literal;)*) => {
        /// The declarations, in the order of the documentation.
        pub const DECLARED: &[Declared] = &[
            $(Declared { name: $name, kind: $kind, labels: &[$($label),*], help: $help },)*
        ];

        /// Handles of all metrics, on a registry of their own.
        pub struct Metrics {
            registry: Registry,
            /// Held while gauges that are counted at each look are filled, until their page is written.
            pub(crate) page: Mutex<()>,
            $(pub(crate) $field: $type,)*
        }

        impl Metrics {
            pub fn new() -> Result<Metrics, prometheus::Error> {
                let registry = Registry::new();
                registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
                $(let $field = $type::declare(&Declared { name: $name, kind: $kind, labels: &[$($label),*], help: $help })?;
                registry.register(Box::new($field.clone()))?;)*
                Ok(Metrics { registry, page: Mutex::default(), $($field,)* })
            }
        }
    };
}

metrics! {
    requests: IntCounterVec = Kind::Counter, "tollgate_requests_total", ["route", "model", "status", "code"],
        "Requests closed, by what became of them: status is success, error, blocked or cancelled; code is the rejection's, else empty.";
    duration: HistogramVec = Kind::Histogram(LATENCY), "tollgate_request_duration_seconds", ["route"],
        "From the request's head to the last byte of its answer.";
    first_token: HistogramVec = Kind::Histogram(LATENCY), "tollgate_first_token_seconds", ["route", "provider"],
        "From the request's head to the first content sent, of streams.";
    overhead: HistogramVec = Kind::Histogram(OVERHEAD), "tollgate_overhead_seconds", ["route"],
        "Time that the gateway itself took before the first attempt, without waiting for the client's body.";
    in_flight: IntGaugeVec = Kind::Gauge, "tollgate_requests_in_flight", [],
        "Requests being served.";
    body_bytes: IntGaugeVec = Kind::Gauge, "tollgate_body_bytes_in_flight", [],
        "Bytes of request bodies held.";
    tokens: IntCounterVec = Kind::Counter, "tollgate_tokens_total", ["model", "provider", "org", "direction"],
        "Tokens by the upstream's count (direction input, output, cache_read, cache_write, reasoning); input includes cached. org is empty unless telemetry.org_label is on.";
    tokens_estimated: IntCounterVec = Kind::Counter, "tollgate_usage_estimated_total", ["model", "provider"],
        "Answers whose upstream reported no usage, so that limits were settled with an estimate.";
    cost: IntCounterVec = Kind::Counter, "tollgate_cost_nano_usd_total", ["model", "provider", "org"],
        "Cost in nano-USD by the configured prices.";
    cost_unknown: IntCounterVec = Kind::Counter, "tollgate_cost_unknown_total", ["model", "provider"],
        "Answers of models that have no configured price.";
    attempts: IntCounterVec = Kind::Counter, "tollgate_upstream_attempts_total", ["provider", "target", "outcome"],
        "Attempts by outcome: ok, connect, timeout, status, rate_limited, credential, broken, error_event, malformed, guard, shutdown, client_gone.";
    failovers: IntCounterVec = Kind::Counter, "tollgate_failovers_total", ["model"],
        "Attempts after a request's first.";
    connections: IntCounterVec = Kind::Counter, "tollgate_upstream_connections_total", ["provider", "reused"],
        "Upstream connections used, by whether they came from the pool.";
    target_up: IntGaugeVec = Kind::Gauge, "tollgate_target_up", ["provider", "target"],
        "1 when the target takes requests: healthy, breaker closed, not drained.";
    target_in_flight: IntGaugeVec = Kind::Gauge, "tollgate_target_requests_in_flight", ["provider", "target"],
        "Attempts running at the target.";
    credential_refused: IntCounterVec = Kind::Counter, "tollgate_credential_refused_total", ["provider"],
        "Answers 401, 402 or 403 of an upstream: the gateway's own credential there is dead. Alert on any.";
    limit_refusals: IntCounterVec = Kind::Counter, "tollgate_limit_refusals_total", ["limit", "what"],
        "Requests refused by a limit (what is requests, tokens or concurrency).";
    findings: IntCounterVec = Kind::Counter, "tollgate_findings_total", ["rule", "kind", "action", "direction"],
        "Values that guardrails found, by what was done with them.";
    scanned: IntCounterVec = Kind::Counter, "tollgate_scanned_bytes_total", ["direction"],
        "Bytes of decoded text that guardrails have read.";
    held: HistogramVec = Kind::Histogram(BYTES), "tollgate_held_bytes", ["route"],
        "Most bytes held back at one time, of each stream.";
    held_seconds: HistogramVec = Kind::Histogram(LATENCY), "tollgate_held_seconds", ["route"],
        "Longest time in a row that something was held back, of each stream.";
    held_discarded: IntCounterVec = Kind::Counter, "tollgate_held_discarded_bytes_total", ["route"],
        "Held bytes that never left, because the stream broke or was ended by policy.";
    client_gone: IntCounterVec = Kind::Counter, "tollgate_client_gone_total", ["route"],
        "Requests whose client left before the answer was whole.";
    auth_failures: IntCounterVec = Kind::Counter, "tollgate_auth_failures_total", ["code"],
        "Requests refused because of their credential.";
    issuer_usable: IntGaugeVec = Kind::Gauge, "tollgate_issuer_keys_usable", ["issuer"],
        "Whether tokens of this issuer can be checked: its keys were loaded, and confirmed within `refresh` and `max_stale`.";
    issuer_age: GaugeVec = Kind::FloatGauge, "tollgate_issuer_keys_age_seconds", ["issuer"],
        "Since the keys of this issuer were last confirmed by their source.";
    audit_events: IntCounterVec = Kind::Counter, "tollgate_audit_events_total", ["outcome"],
        "Audit events by outcome: committed; refused (queue full, so was the request); dropped (queue full, request served); summarised (refusals past their share of the queue); lost (no event was handed in).";
    audit_queue: IntGaugeVec = Kind::Gauge, "tollgate_audit_queue_events", [],
        "Events waiting for the spool. Requests in flight hold a place of `audit.queue` too, and are not counted here.";
    audit_spool_errors: IntCounterVec = Kind::Counter, "tollgate_audit_spool_errors_total", [],
        "Failed commits of the spool; the events stay queued.";
    audit_stored: IntCounterVec = Kind::Counter, "tollgate_audit_stored_total", [],
        "Events moved from the spool into the store.";
    audit_gaps: IntCounterVec = Kind::Counter, "tollgate_audit_gaps_total", ["kind"],
        "Gaps that the sink has written down. Explained losses: crash, dropped, dropped_unnumbered, shutdown; faults: hole, broken_link, duplicate_seq, foreign_instance, reused_identity, unreadable, damaged.";
    config_generation: IntGaugeVec = Kind::Gauge, "tollgate_config_generation", [],
        "Number of the configuration in force; grows by one with each reload that succeeds.";
    config_reloads: IntCounterVec = Kind::Counter, "tollgate_config_reloads_total", ["outcome"],
        "Reloads by outcome: applied, rejected.";
    config_last_ok: IntGaugeVec = Kind::Gauge, "tollgate_config_last_reload_ok", [],
        "1 when the last reload was applied, 0 when it was rejected.";
    build: GaugeVec = Kind::FloatGauge, "tollgate_build_info", ["version"],
        "Always 1.";
}

trait Declare: Sized {
    fn declare(declared: &Declared) -> Result<Self, prometheus::Error>;
}

impl Declare for IntCounterVec {
    fn declare(declared: &Declared) -> Result<Self, prometheus::Error> {
        IntCounterVec::new(Opts::new(declared.name, declared.help), declared.labels)
    }
}
impl Declare for IntGaugeVec {
    fn declare(declared: &Declared) -> Result<Self, prometheus::Error> {
        IntGaugeVec::new(Opts::new(declared.name, declared.help), declared.labels)
    }
}
impl Declare for GaugeVec {
    fn declare(declared: &Declared) -> Result<Self, prometheus::Error> {
        GaugeVec::new(Opts::new(declared.name, declared.help), declared.labels)
    }
}
impl Declare for HistogramVec {
    fn declare(declared: &Declared) -> Result<Self, prometheus::Error> {
        let mut options = HistogramOpts::new(declared.name, declared.help);
        if let Kind::Histogram(buckets) = declared.kind {
            options = options.buckets(buckets.to_vec());
        }
        HistogramVec::new(options, declared.labels)
    }
}

impl Metrics {
    /// The exposition text (Prometheus format 0.0.4).
    pub fn text(&self) -> String {
        let families = self.registry.gather();
        TextEncoder::new().encode_to_string(&families).unwrap_or_else(|error| {
            tracing::error!(%error, "metrics could not be encoded");
            String::new()
        })
    }

    /// Sets a metric without labels.
    pub(crate) fn set(gauge: &IntGaugeVec, value: usize) {
        let none: [&str; 0] = [];
        gauge.with_label_values(&none).set(i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// A new configuration is in force.
    pub fn on_config(&self, generation: u64) {
        Metrics::set(&self.config_generation, usize::try_from(generation).unwrap_or(usize::MAX));
        Metrics::set(&self.config_last_ok, 1);
        self.config_reloads.with_label_values(&["applied"]).inc();
        self.build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
    }

    /// A reload was refused.
    pub fn on_bad_config(&self) {
        Metrics::set(&self.config_last_ok, 0);
        self.config_reloads.with_label_values(&["rejected"]).inc();
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").field("families", &self.registry.gather().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_follow_the_conventions() {
        let mut names: Vec<_> = DECLARED.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DECLARED.len());
        for metric in DECLARED {
            assert!(metric.name.starts_with("tollgate_"), "{}", metric.name);
            assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
        }
    }

    #[test]
    fn registers_and_encodes() {
        let metrics = Metrics::new().expect("unique names");
        metrics.on_config(3);
        assert!(metrics.text().contains("tollgate_config_generation 3"));
    }

    #[test]
    fn the_documentation_lists_exactly_these() {
        let docs = include_str!("../../../docs/metrics.md");
        for metric in DECLARED {
            let labels = metric.labels.join(", ");
            let row = format!("| `{}` | {labels} |", metric.name);
            assert!(docs.contains(&row), "docs/metrics.md lacks the row beginning {row}");
        }
        let listed = docs.lines().filter(|line| line.starts_with("| `tollgate_")).count();
        assert_eq!(listed, DECLARED.len(), "docs/metrics.md lists a metric that does not exist");
    }
}
