//! Where requests go: live targets, and the order in which one request tries them.
//!
//! [`Upstreams`] is what lives across reloads: one [`Host`] per provider, address and TLS name, with its in-flight count,
//! breaker, health, addresses and drain flag. A [`Fleet`] is built from a configuration, belongs to its snapshot, and points to
//! those hosts. [`Fleet::plan`] gives a request its [`Plan`], which hands out [`Attempt`]s until one succeeds.
//!
//! Nothing on a request's path resolves names, reads files or waits: that happens in the background ([`Upstreams::run`]).

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use tollgate_filters::conf::Problem;

use crate::clock;
use crate::config::Config;

mod attempt;
mod drains;
mod events;
mod fleet;
mod host;
mod plan;
mod probe;
mod status;
mod tls;

#[cfg(test)]
mod tests;

pub use attempt::{Attempt, Outcome};
pub use drains::DrainError;
pub use events::{NoEvents, TargetName, UpstreamEvents};
pub use fleet::{Endpoint, Fleet, ModelEntry, ProviderEntry, TargetEntry};
pub use host::Host;
pub use plan::{Plan, Want};
pub use status::TargetStatus;

use self::drains::Drains;
use self::host::HostKey;

/// The live registry. Cheap to clone.
#[derive(Clone)]
pub struct Upstreams {
    shared: Arc<Shared>,
}

struct Shared {
    hosts: Mutex<HashMap<HostKey, Arc<Host>>>,
    drains: Drains,
    events: Arc<dyn UpstreamEvents>,
    current: watch::Sender<Option<Arc<Fleet>>>,
}

impl Upstreams {
    /// Reads the drains that an earlier process kept in `state_dir`. A file that cannot be read is an error: a target that an
    /// operator took out of service must not come back by accident.
    pub fn new(state_dir: &Path, events: Arc<dyn UpstreamEvents>) -> Result<Upstreams, DrainError> {
        let shared = Shared {
            hosts: Mutex::default(),
            drains: Drains::open(state_dir)?,
            events,
            current: watch::Sender::new(None),
        };
        Ok(Upstreams { shared: Arc::new(shared) })
    }

    /// Builds the snapshot of a configuration: reads CAs and certificates, finds the live hosts it shares with the current one.
    /// Changes nothing.
    pub fn build(&self, config: &Config) -> Result<Arc<Fleet>, Vec<Problem>> {
        let known = self.shared.hosts.lock().clone();
        let host = |key: &HostKey| match known.get(key) {
            Some(host) => Arc::clone(host),
            None => Arc::new(Host::new(key.clone(), self.shared.drains.contains(&key.id()))),
        };
        fleet::build(config, &self.shared.events, host).map(Arc::new)
    }

    /// Resolves names and probes targets that have never been looked at, all at once, at most for `limit`: so that a start or a
    /// reload does not send its first requests blind. What is not known by then is found out in the background.
    pub async fn warm(&self, fleet: &Arc<Fleet>, limit: std::time::Duration) {
        probe::warm(fleet, &self.shared.events, limit).await;
    }

    /// Makes this the fleet that background tasks, the admin API and drains see. Targets it no longer has are forgotten once
    /// their requests end.
    pub fn adopt(&self, fleet: &Arc<Fleet>) {
        let mut hosts = HashMap::new();
        for endpoint in fleet.endpoints() {
            // An admin may have drained it between build and now.
            let host = Arc::clone(endpoint.host());
            host.set_drained(self.shared.drains.contains(host.id()));
            hosts.insert(host.key().clone(), host);
        }
        *self.shared.hosts.lock() = hosts;
        self.shared.current.send_replace(Some(Arc::clone(fleet)));
    }

    /// Resolves names and probes health in the background, always for the adopted fleet. Ends when its future is dropped.
    pub async fn run(&self) {
        probe::run(self.shared.current.subscribe(), Arc::clone(&self.shared.events)).await;
    }

    /// The adopted fleet, and word of each that follows it.
    pub(crate) fn adopted(&self) -> watch::Receiver<Option<Arc<Fleet>>> {
        self.shared.current.subscribe()
    }

    /// Takes a target out of service for new requests, now and after reloads and restarts. Waits for the disk.
    pub fn drain(&self, id: &str) -> Result<(), DrainError> {
        self.set_drained(id, true)
    }

    /// Puts a target back into service, also one that the configuration no longer has.
    pub fn undrain(&self, id: &str) -> Result<(), DrainError> {
        self.set_drained(id, false)
    }

    fn set_drained(&self, id: &str, drained: bool) -> Result<(), DrainError> {
        let hosts = self.shared.hosts.lock();
        let found = hosts.values().find(|host| host.id() == id);
        if found.is_none() && (drained || !self.shared.drains.contains(id)) {
            return Err(DrainError::Unknown {
                id: id.to_owned(),
                known: hosts.values().map(|h| h.id().to_owned()).collect(),
            });
        }
        self.shared.drains.set(id, drained)?;
        if let Some(host) = found {
            host.set_drained(drained);
        }
        Ok(())
    }

    /// Every target of the adopted fleet, for the admin API and gauges.
    pub fn list(&self) -> Vec<TargetStatus> {
        let fleet = self.shared.current.borrow().clone();
        fleet.map(|fleet| status::list(&fleet, clock::now())).unwrap_or_default()
    }
}

impl std::fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstreams").field("hosts", &self.shared.hosts.lock().len()).finish_non_exhaustive()
    }
}
