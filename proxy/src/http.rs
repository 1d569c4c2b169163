//! The data plane's request path on Pingora: [`service`] is the table of contents, each phase has a file of its own.

mod admit;
mod answer_head;
mod body;
mod ctx;
mod endpoint;
mod errors;
mod finish;
mod intake;
mod local;
mod metadata;
mod respond;
mod retry;
mod route;
mod seam;
mod send;
mod service;
mod stream;

use std::sync::Arc;

use arc_swap::ArcSwap;

pub use ctx::Exchange;
pub(crate) use ctx::Held;

use crate::runtime::{Live, Runtime};

/// The proxy service: the configuration in force, and the state that outlives it.
#[derive(Clone)]
pub struct Gateway {
    pub(crate) runtime: Arc<ArcSwap<Runtime>>,
    pub(crate) live: Arc<Live>,
}

impl Gateway {
    pub fn new(runtime: Arc<ArcSwap<Runtime>>, live: Arc<Live>) -> Gateway {
        Gateway { runtime, live }
    }

    /// The configuration in force.
    pub fn runtime(&self) -> Arc<ArcSwap<Runtime>> {
        Arc::clone(&self.runtime)
    }
}
