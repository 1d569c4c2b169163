//! The `metadata` object of plain answers and of a stream's usage chunk, where `telemetry.answer_metadata` asks for it: who
//! answered, what it cost, how long it took.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tollgate_filters::answer::Metadata;
use tollgate_filters::json;

use super::respond::usd;
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
        Some(Arc::new(move |usage, object| {
            let serving = serving.0.lock();
            let cost = serving.as_ref().zip(usage);
            let cost = cost.and_then(|((_, model), usage)| runtime.config.prices.cost(model, usage));
            object.extend_from_slice(b"{\"provider\":");
            match &*serving {
                Some((provider, _)) => json::encode(provider, object),
                None => object.extend_from_slice(b"null"),
            }
            object.extend_from_slice(b",\"cost_usd\":");
            match cost {
                Some(nano) => object.extend_from_slice(usd(nano).as_bytes()),
                None => object.extend_from_slice(b"null"),
            }
            object.extend_from_slice(b",\"latency_ms\":");
            object.extend_from_slice(started.elapsed().as_millis().to_string().as_bytes());
            object.push(b'}');
        }))
    }
}
