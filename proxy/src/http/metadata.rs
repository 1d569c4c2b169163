//! The `metadata` object of plain answers, where `telemetry.answer_metadata` asks for it: who answered, what it cost, how long
//! it took.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use serde_json::json;
use tollgate_filters::answer::Metadata;

use crate::config::Name;
use crate::runtime::Runtime;

/// Who serves the running attempt: its provider, and the model's name there. The pipeline is older than its attempts, so it reads
/// this when the answer is whole.
#[derive(Debug, Clone, Default)]
pub(crate) struct Serving(Arc<Mutex<Option<(Name, String)>>>);

impl Serving {
    pub(crate) fn set(&self, provider: &Name, model: &str) {
        *self.0.lock() = Some((Arc::clone(provider), model.to_owned()));
    }

    /// What the pipeline calls once, when the answer is whole.
    pub(crate) fn metadata(&self, runtime: &Arc<Runtime>, started: Instant) -> Option<Metadata> {
        if !runtime.config.telemetry.answer_metadata {
            return None;
        }
        let (serving, runtime) = (self.clone(), Arc::clone(runtime));
        Some(Box::new(move |usage| {
            let serving = serving.0.lock();
            let cost = serving.as_ref().zip(usage);
            let cost = cost.and_then(|((_, model), usage)| runtime.config.prices.cost(model, usage));
            json!({
                "provider": serving.as_ref().map(|(provider, _)| &**provider),
                "cost_usd": cost.map(|nano| nano as f64 / 1e9),
                "latency_ms": started.elapsed().as_millis() as u64,
            })
            .to_string()
        }))
    }
}
