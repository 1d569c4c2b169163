//! The data plane's traits, filled with the store: here, because neither crate knows the other.

use std::ops::Range;
use std::sync::Arc;

use tollgate_filters::audit::Sealed;
use tollgate_proxy::audit::{Abandoned, Spool, SpoolError};
use tollgate_proxy::telemetry::Metrics;
use tollgate_sink::Observer;
use tollgate_store::GapRow;
use tollgate_store::StoreError;

/// The SQLite spool as the audit thread uses it.
pub(crate) struct SpoolAdapter(tollgate_store::Spool);

impl SpoolAdapter {
    pub(crate) fn new(spool: tollgate_store::Spool) -> SpoolAdapter {
        SpoolAdapter(spool)
    }
}

impl Spool for SpoolAdapter {
    fn identity(&self) -> &str {
        self.0.identity()
    }

    fn abandoned(&self) -> Vec<Abandoned> {
        let abandoned = self.0.abandoned().iter();
        abandoned
            .map(|earlier| Abandoned { instance: earlier.instance.clone(), ranges: earlier.ranges.clone() })
            .collect()
    }

    fn abandoned_reported(&mut self) -> Result<(), SpoolError> {
        self.0.abandoned_reported().map_err(failed)
    }

    fn take_block(&mut self, n: u64) -> Result<Range<u64>, SpoolError> {
        self.0.take_block(n).map_err(failed)
    }

    fn append(&mut self, batch: &[Sealed]) -> Result<(), SpoolError> {
        self.0.append(batch).map_err(failed)
    }

    fn close(&mut self, next: u64) -> Result<(), SpoolError> {
        self.0.close(next).map_err(failed)
    }
}

fn failed(error: StoreError) -> SpoolError {
    SpoolError(Box::new(error))
}

/// What the sink reports becomes metrics and log lines.
pub(crate) struct Observed(Arc<Metrics>);

impl Observed {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Observed {
        Observed(metrics)
    }
}

impl Observer for Observed {
    fn moved(&self, events: u64) {
        self.0.audit_stored(events);
    }

    fn gap(&self, gap: &GapRow) {
        self.0.audit_gap(&gap.reason);
        tracing::warn!(?gap, "audit gap");
    }

    fn failed(&self, error: &StoreError) {
        tracing::warn!(%error, "the audit store did not take a batch; it stays in the spool");
    }
}
