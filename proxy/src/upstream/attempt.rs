use std::net::SocketAddr;
use std::sync::Arc;

use tollgate_filters::chat::Api;
use tollgate_filters::select::{BreakerState, Failure};

use super::{Endpoint, Host, ProviderEntry, TargetEntry, TargetName, UpstreamEvents};

/// One try at one target, with all that a connection and a request to it need. Holds a place among the target's requests in
/// flight until it is dropped.
pub struct Attempt {
    pub(super) target: Arc<TargetEntry>,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) address: SocketAddr,
    /// This is the breaker's probe.
    pub(super) probe: bool,
    pub(super) said: Said,
    pub(super) number: usize,
    pub(super) events: Arc<dyn UpstreamEvents>,
}

/// How an attempt ended, as far as the target is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It answered; also with an error that is the client's (400, 404, 413, 422).
    Ok,
    Failed(Failure),
    /// The client left before the target could show anything.
    ClientGone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Nothing,
    Good,
    Bad,
}

impl Attempt {
    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn target(&self) -> &Arc<TargetEntry> {
        &self.target
    }

    pub fn provider(&self) -> &Arc<ProviderEntry> {
        &self.target.provider
    }

    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    pub fn host(&self) -> &Arc<Host> {
        &self.endpoint.host
    }

    pub fn is_tls(&self) -> bool {
        self.endpoint.url.tls
    }

    /// The name that the certificate must carry.
    pub fn sni(&self) -> &str {
        &self.endpoint.url.host
    }

    /// The model's name at this provider.
    pub fn model<'a>(&'a self, asked: &'a str) -> &'a str {
        self.target.model.as_deref().unwrap_or(asked)
    }

    /// Path and query of the request.
    pub fn path(&self, api: Api, asked: &str) -> String {
        let provider = &self.target.provider.settings;
        let prefix = &self.endpoint.url.prefix;
        provider.kind.request_path(api, prefix, self.model(asked), provider.api_version.as_deref())
    }

    /// Counted from 1.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Keeps pooled connections apart that Pingora's own key does not: by CA and client certificate, by h2, and by the number of
    /// times they were given up.
    pub fn group_key(&self) -> u64 {
        let provider = &self.target.provider;
        let h2 = u64::from(provider.settings.h2);
        provider.tls.fingerprint.rotate_left(8) ^ self.endpoint.host.pool().rotate_left(1) ^ h2
    }

    /// Connections to this target are not to be used again: a write that timed out may have left one half written.
    pub fn forsake_pool(&self) {
        self.endpoint.host.forsake_pool();
    }

    /// Tells the target's breaker how it went; once, except that a success may still turn into a failure (the answer began, then
    /// broke). Report success at the first real event: a half-open breaker waits for it. Dropped without a word, it counts for
    /// neither side.
    pub fn report(&mut self, outcome: Outcome, now: u64) {
        let host = &self.endpoint.host;
        let rules = &self.target.provider.breaker;
        let change = match (self.said, outcome) {
            (Said::Nothing, Outcome::Ok) => {
                self.said = Said::Good;
                host.succeeded(rules, std::mem::take(&mut self.probe), now)
            }
            (Said::Nothing | Said::Good, Outcome::Failed(failure)) => {
                self.said = Said::Bad;
                host.pause(self.target.lane, failure, now);
                if failure == Failure::Credential {
                    self.events.credential_refused(self.name());
                }
                let elsewhere = failure == Failure::Connect && host.shun(self.address, now);
                // A dead credential or a rate limit leaves the probe undecided: Drop gives its place to the next.
                let counts = failure.is_hosts_fault() && !elsewhere;
                counts.then(|| host.failed(rules, std::mem::take(&mut self.probe), now)).flatten()
            }
            _ => None,
        };
        if let Some(state) = change {
            self.breaker_changed(state);
        }
    }

    pub fn name(&self) -> TargetName<'_> {
        TargetName { provider: &self.target.provider.settings.id, target: self.endpoint.host.id() }
    }

    fn breaker_changed(&self, state: BreakerState) {
        self.events.breaker_changed(self.name(), state);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.probe {
            self.endpoint.host.abandoned();
        }
        self.endpoint.host.leave();
    }
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt")
            .field("target", &self.target.id)
            .field("host", &self.endpoint.host.id())
            .field("address", &self.address)
            .field("probe", &self.probe)
            .field("said", &self.said)
            .finish_non_exhaustive()
    }
}
