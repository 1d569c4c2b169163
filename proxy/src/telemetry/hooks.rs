//! What other parts of the data plane report: the audit thread and the upstreams.

use std::time::Duration;

use tollgate_filters::select::{BreakerState, HealthState};

use super::Metrics;
use crate::audit::AuditMetrics;
use crate::upstream::{TargetName, UpstreamEvents};

impl AuditMetrics for Metrics {
    fn committed(&self, events: usize, _bytes: usize, _took: Duration) {
        let events = u64::try_from(events).unwrap_or(u64::MAX);
        self.audit_events.with_label_values(&["committed"]).inc_by(events);
    }

    fn spool_failed(&self) {
        let none: [&str; 0] = [];
        self.audit_spool_errors.with_label_values(&none).inc();
    }

    fn dropped(&self) {
        self.audit_events.with_label_values(&["dropped"]).inc();
    }

    fn lost(&self) {
        self.audit_events.with_label_values(&["lost"]).inc();
    }

    fn refusal_counted(&self) {
        self.audit_events.with_label_values(&["summarised"]).inc();
    }
}

impl UpstreamEvents for Metrics {
    fn health_changed(&self, target: TargetName<'_>, state: HealthState) {
        tracing::warn!(provider = target.provider, target_id = target.target, ?state, "health changed");
    }

    fn breaker_changed(&self, target: TargetName<'_>, state: BreakerState) {
        tracing::warn!(provider = target.provider, target_id = target.target, ?state, "breaker changed");
    }

    fn credential_refused(&self, target: TargetName<'_>) {
        self.credential_refused.with_label_values(&[target.provider]).inc();
        tracing::error!(
            provider = target.provider,
            target_id = target.target,
            "the provider refuses our credential: its key is wrong, revoked, or its account is closed"
        );
    }

    fn probe_failed(&self, target: TargetName<'_>, why: &str) {
        tracing::debug!(provider = target.provider, target_id = target.target, why, "health probe failed");
    }

    fn resolve_failed(&self, target: TargetName<'_>, why: &str) {
        tracing::warn!(
            provider = target.provider,
            target_id = target.target,
            why,
            "the name cannot be resolved"
        );
    }
}

impl Metrics {
    /// The sink has stored so many events.
    pub fn audit_stored(&self, events: u64) {
        let none: [&str; 0] = [];
        self.audit_stored.with_label_values(&none).inc_by(events);
    }

    /// The sink has written a gap down.
    pub fn audit_gap(&self, kind: &str) {
        self.audit_gaps.with_label_values(&[kind]).inc();
    }
}
