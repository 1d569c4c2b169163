use tollgate_filters::select::{BreakerState, HealthState};

/// What a target is called in metrics and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetName<'a> {
    pub provider: &'a str,
    /// Its id, `provider@host:port`.
    pub target: &'a str,
}

/// What happens to targets, for whoever counts and logs it. Called on request threads and in background tasks: be quick.
pub trait UpstreamEvents: Send + Sync {
    fn health_changed(&self, _target: TargetName<'_>, _state: HealthState) {}
    fn breaker_changed(&self, _target: TargetName<'_>, _state: BreakerState) {}
    /// The provider answered 401, 402 or 403: our credential there is dead. An alarm.
    fn credential_refused(&self, _target: TargetName<'_>) {}
    /// A health probe failed; says why.
    fn probe_failed(&self, _target: TargetName<'_>, _why: &str) {}
    /// A name could not be resolved; the last good addresses stay in use.
    fn resolve_failed(&self, _target: TargetName<'_>, _why: &str) {}
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEvents;

impl UpstreamEvents for NoEvents {}
