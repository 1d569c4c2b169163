use std::time::Duration;

use crate::verdict::{Code, Rejection};

/// Longest pause that a provider's `retry-after` gets from us: one wrong header must not take a target out for a day.
const MAX_PAUSE: Duration = Duration::from_secs(600);

/// How an attempt failed, before anything of it reached the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// No connection: refused, unreachable, connect timeout, TLS.
    Connect,
    /// No header or no first event in time, or silence.
    Timeout,
    /// The connection broke, or the answer ended before it was whole.
    Broken,
    /// 401, 402, 403: our credential or account, never the caller's. An alarm.
    Credential,
    /// 429.
    RateLimited { retry_after: Option<Duration> },
    /// Another status that is the upstream's fault: 408, 3xx, 5xx, 529.
    Status { status: u16, retry_after: Option<Duration> },
    /// A 200 that began with an error event.
    ErrorEvent,
    /// A 200 whose body is not what its surface says.
    Malformed,
}

/// What to do with an upstream's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// The answer is the client's, also where it is an error: clients act on `context_length_exceeded`.
    Deliver,
    /// Try the next target.
    Next(Failure),
}

/// One failed attempt of a request, for [`exhausted`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed<'a> {
    pub provider: &'a str,
    pub failure: Failure,
}

impl Failure {
    /// Label in metrics and in the audit trail's attempts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Failure::Connect => "connect",
            Failure::Timeout => "timeout",
            Failure::Broken => "broken",
            Failure::Credential => "credential",
            Failure::RateLimited { .. } => "rate_limited",
            Failure::Status { .. } => "status",
            Failure::ErrorEvent => "error_event",
            Failure::Malformed => "malformed",
        }
    }

    /// Whether it speaks against the host, and so counts in its breaker. A rate limit or a dead credential belongs to our
    /// account there; other credentials on the same host work.
    pub const fn is_hosts_fault(self) -> bool {
        !matches!(self, Failure::Credential | Failure::RateLimited { .. })
    }

    /// Whether the host itself is out of reach, so that another model on it is not worth a try in the same request.
    pub const fn is_out_of_reach(self) -> bool {
        matches!(self, Failure::Connect | Failure::Timeout | Failure::Broken)
    }

    pub const fn is_timeout(self) -> bool {
        matches!(self, Failure::Timeout | Failure::Status { status: 408 | 504, .. })
    }

    /// How long the provider asks us to stay away, capped.
    pub fn pause(self) -> Option<Duration> {
        match self {
            Failure::RateLimited { retry_after } | Failure::Status { retry_after, .. } => {
                retry_after.map(|wait| wait.min(MAX_PAUSE))
            }
            _ => None,
        }
    }
}

/// The table: an upstream's status, and its `retry-after` if any.
pub fn judge_status(status: u16, retry_after: Option<Duration>) -> Judgement {
    match status {
        200..=299 => Judgement::Deliver,
        401..=403 => Judgement::Next(Failure::Credential),
        429 => Judgement::Next(Failure::RateLimited { retry_after }),
        // 408 and 425 ask for the same request again; 421 says that this host was the wrong one.
        408 | 421 | 425 => Judgement::Next(Failure::Status { status, retry_after }),
        // 400, 404, 409, 413, 422 and their like: about this request, wherever it goes.
        400..=499 => Judgement::Deliver,
        // 1xx never end an answer, a redirect of a POST is a wrong base URL, 5xx and 529 are the upstream's.
        _ => Judgement::Next(Failure::Status { status, retry_after }),
    }
}

/// The same for the error event of a 200, by the `type` or `code` that stands in it (OpenAI's and Anthropic's names).
pub fn judge_event(name: &str) -> Failure {
    match name {
        "rate_limit_error" | "rate_limit_exceeded" | "insufficient_quota" | "429" => {
            Failure::RateLimited { retry_after: None }
        }
        "authentication_error" | "permission_error" | "billing_error" | "invalid_api_key" => {
            Failure::Credential
        }
        "overloaded_error" => Failure::Status { status: 529, retry_after: None },
        "timeout_error" => Failure::Timeout,
        _ => Failure::ErrorEvent,
    }
}

/// A wait from `retry-after-ms`, or else `retry-after` in seconds (also fractional) or as an HTTP date (RFC 9110, 10.2.3).
/// `now` is the time since the Unix epoch. What cannot be read is no wait.
pub fn retry_after(
    retry_after: Option<&str>,
    retry_after_ms: Option<&str>,
    now: Duration,
) -> Option<Duration> {
    let number = |text: &str, scale: f64| {
        let value = text.trim().parse::<f64>().ok()? * scale;
        (value.is_finite() && value >= 0.0).then(|| Duration::from_secs_f64(value.min(1e9)))
    };
    if let Some(wait) = retry_after_ms.and_then(|text| number(text, 0.001)) {
        return Some(wait);
    }
    let text = retry_after?;
    number(text, 1.0).or_else(|| {
        let date = jiff::fmt::rfc2822::parse(text.trim()).ok()?;
        let at = u64::try_from(date.timestamp().as_second()).ok()?;
        Some(Duration::from_secs(at).saturating_sub(now))
    })
}

/// What the client gets when every target failed: the last 429 by name, else the last failure's kind.
pub fn exhausted(failures: &[Failed<'_>]) -> Rejection {
    let limited = failures.iter().rev().find_map(|failed| match failed.failure {
        Failure::RateLimited { retry_after } => Some((failed.provider, retry_after)),
        _ => None,
    });
    if let Some((provider, retry_after)) = limited {
        return rate_limited(provider, retry_after);
    }
    let tried = match failures.len() {
        1 => "The upstream".to_owned(),
        n => format!("All {n} upstreams tried"),
    };
    match failures.last() {
        Some(last) if last.failure.is_timeout() => Rejection::new(
            Code::UpstreamTimeout,
            format!("{tried} did not answer in time. Try again, or ask for a shorter answer (max_tokens)."),
        ),
        _ => Rejection::new(
            Code::UpstreamError,
            format!(
                "{tried} failed before an answer began. Try again; if it goes on, tell the gateway's operator."
            ),
        ),
    }
}

/// A provider's own rate limit, as the client sees it.
pub fn rate_limited(provider: &str, retry_after: Option<Duration>) -> Rejection {
    let message = format!("The provider {provider} limits this gateway's requests. Wait and try again.");
    let rejection = Rejection::new(Code::RateLimitExceeded, message);
    match retry_after {
        Some(wait) => rejection.with_retry_after(wait),
        None => rejection,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn status(status: u16) -> Failure {
        Failure::Status { status, retry_after: None }
    }

    const LIMITED: Failure = Failure::RateLimited { retry_after: Some(Duration::from_secs(7)) };

    #[test]
    fn statuses() {
        for code in [200, 201, 204, 400, 404, 405, 409, 413, 415, 422, 424, 451] {
            assert_eq!(judge_status(code, None), Judgement::Deliver, "{code}");
        }
        for code in [401, 402, 403] {
            assert_eq!(judge_status(code, None), Judgement::Next(Failure::Credential), "{code}");
        }
        for code in [0, 100, 301, 307, 408, 421, 425, 500, 502, 503, 504, 529, 599, 999] {
            assert_eq!(judge_status(code, None), Judgement::Next(status(code)), "{code}");
        }
        assert_eq!(judge_status(429, Some(Duration::from_secs(7))), Judgement::Next(LIMITED));
    }

    #[test]
    fn error_events() {
        assert_eq!(judge_event("overloaded_error"), status(529));
        assert_eq!(judge_event("rate_limit_exceeded"), Failure::RateLimited { retry_after: None });
        assert_eq!(judge_event("authentication_error"), Failure::Credential);
        assert_eq!(judge_event("server_error"), Failure::ErrorEvent);
        assert_eq!(judge_event(""), Failure::ErrorEvent);
    }

    #[test]
    fn waits() {
        let now = Duration::from_secs(1_445_412_479); // one second before the date below
        let check = |after, ms, expect: Option<u64>| {
            assert_eq!(retry_after(after, ms, now), expect.map(Duration::from_millis), "{after:?} {ms:?}");
        };
        check(None, None, None);
        check(Some("7"), None, Some(7_000));
        check(Some(" 0.25 "), None, Some(250));
        check(Some("7"), Some("1500"), Some(1_500));
        check(Some("7"), Some("soon"), Some(7_000));
        check(Some("Wed, 21 Oct 2015 07:28:00 GMT"), None, Some(1_000));
        check(Some("Tue, 20 Oct 2015 07:28:00 GMT"), None, Some(0));
        check(Some("1e300"), None, Some(1_000_000_000_000));
        for bad in ["-1", "NaN", "inf", "", "later", "\u{0}"] {
            check(Some(bad), None, None);
        }
    }

    #[test]
    fn when_every_target_failed() {
        let check = |failures: &[Failure], code: Code| {
            let failed: Vec<_> =
                failures.iter().map(|failure| Failed { provider: "gpu", failure: *failure }).collect();
            assert_eq!(exhausted(&failed).code, code, "{failures:?}");
        };
        check(&[Failure::Connect], Code::UpstreamError);
        check(&[Failure::Credential, Failure::Credential], Code::UpstreamError);
        check(&[Failure::Timeout], Code::UpstreamTimeout);
        check(&[status(500), Failure::Timeout], Code::UpstreamTimeout);
        check(&[Failure::Timeout, status(500)], Code::UpstreamError);
        check(&[status(504)], Code::UpstreamTimeout);
        check(&[LIMITED], Code::RateLimitExceeded);
        check(&[LIMITED, status(500)], Code::RateLimitExceeded);
        check(&[LIMITED, Failure::Timeout], Code::RateLimitExceeded);
        check(&[], Code::UpstreamError);
    }

    #[test]
    fn the_last_rate_limit_is_named() {
        let failed = [
            Failed { provider: "first", failure: Failure::RateLimited { retry_after: None } },
            Failed { provider: "second", failure: LIMITED },
            Failed { provider: "third", failure: Failure::Broken },
        ];
        let rejection = exhausted(&failed);
        assert!(rejection.message.contains("second"), "{}", rejection.message);
        assert_eq!(rejection.retry_after, Some(Duration::from_secs(7)));
    }

    #[test]
    fn pauses_are_capped() {
        let long = Failure::RateLimited { retry_after: Some(Duration::from_secs(86_400)) };
        assert_eq!(long.pause(), Some(MAX_PAUSE));
        assert_eq!(Failure::Timeout.pause(), None);
    }
}
