//! Limits at run time: reserve before the call, settle after it, exactly once.
//!
//! [`LimitRules`] are built from a configuration and belong to its snapshot. The live state belongs to the backend and outlives
//! reloads: a bucket is found by what it limits (limit id and scope value), so a changed capacity keeps what was used.
//! [`LocalLimits`] keeps it in process; a shared backend answers through the same [`LimitsBackend`].

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tollgate_filters::limits::reset_text;
use tollgate_filters::verdict::{Code, Rejection};

use crate::config::LimitScope;

mod local;
mod rules;

pub use local::LocalLimits;
pub use rules::LimitRules;

/// Longest wait that a refusal names; a request that can never pass waits this long.
const MAX_WAIT: Duration = Duration::from_secs(366 * 86_400);

/// Takes all of a request's limits in one step, or none.
pub trait LimitsBackend: Send + Sync {
    fn reserve(&self, rules: &Arc<LimitRules>, ask: &Ask<'_>) -> Reserving;
}

/// What one request wants, and by whom.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    pub organization: &'a str,
    pub application: &'a str,
    /// Verified user. A limit per user leaves a caller without one alone.
    pub user: Option<&'a str>,
    /// Key id. A limit per key leaves a caller without one alone.
    pub key: Option<&'a str>,
    /// The model as the client named it.
    pub model: &'a str,
    pub team: Option<&'a str>,
    /// The client. All addresses of an IPv6 /64 are one client: that much is handed to a single subscriber.
    pub address: IpAddr,
    /// Estimate of input and output together.
    pub tokens: u64,
    /// [`crate::clock::now`].
    pub now: u64,
}

/// An answer that in process is there at once, without an allocation, and elsewhere comes later.
pub enum Reserving {
    Ready(Option<Result<Reservation, Refused>>),
    Pending(Pin<Box<dyn Future<Output = Result<Reservation, Refused>> + Send>>),
}

/// Why a request may not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    Over(Box<Refusal>),
    /// The backend cannot tell, and policy says that no answer means no.
    Unavailable,
}

/// The limit that stands in the way; of several, the one with the longest wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub limit: Arc<str>,
    pub scope: LimitScope,
    pub what: What,
    /// What was asked for, in units of `what`.
    pub asked: u64,
    /// Most that can be had at once.
    pub capacity: u64,
    /// Time until the same request can pass, if nobody else takes in between; a guess for concurrency.
    pub wait: Duration,
    /// More than the capacity: no wait helps.
    pub impossible: bool,
    pub standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    Requests,
    Tokens,
    Concurrency,
}

/// The tightest of a request's limits, for its headers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    pub requests: Option<Level>,
    pub tokens: Option<Level>,
}

/// One limit as `x-ratelimit-*` headers describe it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// Capacity.
    pub limit: u64,
    pub remaining: u64,
    /// Time until all of it is there again.
    pub reset: Duration,
}

/// The right to make one call. Ends exactly once: by [`settle`](Reservation::settle) with the tokens that were used, or by Drop,
/// which lets the estimate stand. Either gives the place under concurrency limits back.
#[must_use = "dropping a reservation settles it with its estimate"]
pub struct Reservation {
    tokens: u64,
    standing: Standing,
    hold: Option<Box<dyn Hold>>,
}

/// What a backend keeps of a reservation. One of the two is called, once.
trait Hold: Send + Sync {
    fn settle(&mut self, reserved: u64, actual: u64, now: u64);
    fn keep(&mut self);
}

impl Reservation {
    /// For requests that no limit holds.
    pub fn unlimited() -> Reservation {
        Reservation { tokens: 0, standing: Standing::default(), hold: None }
    }

    /// Replaces the estimate by the tokens that were really used: 0 where nothing reached an upstream.
    pub fn settle(mut self, actual: u64, now: u64) {
        if let Some(mut hold) = self.hold.take() {
            hold.settle(self.tokens, actual.min(MOST_TOKENS), now);
        }
    }

    /// The reserved estimate.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// How things stood right after this reservation.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }
}

/// Tokens past which an upstream's usage is not believed: its word must not put a tenant into debt for years.
const MOST_TOKENS: u64 = 10_000_000;

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(mut hold) = self.hold.take() {
            hold.keep();
        }
    }
}

impl std::fmt::Debug for Reservation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Reservation { tokens, standing, hold } = self;
        let open = hold.is_some();
        f.debug_struct("Reservation")
            .field("tokens", tokens)
            .field("standing", standing)
            .field("open", &open)
            .finish()
    }
}

impl Reserving {
    fn now(result: Result<Reservation, Refused>) -> Reserving {
        Reserving::Ready(Some(result))
    }
}

impl Future for Reserving {
    type Output = Result<Reservation, Refused>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            // Polled again after it was ready: a mistake of ours, answered by the safe side of the two.
            Reserving::Ready(result) => Poll::Ready(result.take().unwrap_or(Err(Refused::Unavailable))),
            Reserving::Pending(future) => future.as_mut().poll(cx),
        }
    }
}

impl What {
    /// Label in metrics and in the audit trail.
    pub const fn as_str(self) -> &'static str {
        match self {
            What::Requests => "requests",
            What::Tokens => "tokens",
            What::Concurrency => "concurrency",
        }
    }
}

impl Refused {
    /// For the caller.
    pub fn rejection(&self) -> Rejection {
        match self {
            Refused::Over(refusal) => refusal.rejection(),
            Refused::Unavailable => Rejection::new(
                Code::LimitsUnavailable,
                "The gateway cannot check your limits right now. Try again shortly.",
            )
            .with_retry_after(Duration::from_secs(1)),
        }
    }

    pub fn standing(&self) -> Standing {
        match self {
            Refused::Over(refusal) => refusal.standing,
            Refused::Unavailable => Standing::default(),
        }
    }
}

impl Refusal {
    fn rejection(&self) -> Rejection {
        let Refusal { limit, what, asked, capacity, .. } = self;
        let whose = match self.scope {
            LimitScope::Organization => "your organization",
            LimitScope::Application => "your application",
            LimitScope::User => "you",
            LimitScope::Key => "your API key",
            LimitScope::Model => "this model",
            LimitScope::Address => "your address",
        };
        let message = match what {
            What::Tokens if self.impossible => format!(
                "This request may use {asked} tokens; limit {limit} never lets {whose} use more than {capacity} at once. \
                 Shorten the prompt or set a lower max_tokens."
            ),
            _ if self.impossible => format!("Limit {limit} lets {whose} make no such requests."),
            What::Concurrency => format!(
                "Limit {limit} lets {whose} have {capacity} requests at a time. Wait for one to end, then try again."
            ),
            What::Requests | What::Tokens => format!(
                "Limit {limit} on {} for {whose} is used up. Try again in {}.",
                what.as_str(),
                reset_text(self.wait)
            ),
        };
        Rejection::new(Code::RateLimitExceeded, message).with_retry_after(self.wait)
    }
}

#[cfg(test)]
mod tests;
