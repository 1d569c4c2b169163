//! Panics and standstills on demand, to show that one request's bug is one request's end, and a reload's no request's. Nothing of it
//! is compiled without the feature `fail-points`, which only tests switch on.

/// Whether the environment says `TOLLGATE_FAIL_POINT=<place>@<request id, or generation>`.
#[cfg(feature = "fail-points")]
fn is_asked(place: &str, which: &str) -> bool {
    std::env::var("TOLLGATE_FAIL_POINT").is_ok_and(|wanted| wanted.split_once('@') == Some((place, which)))
}

#[cfg(not(feature = "fail-points"))]
fn is_asked(_place: &str, _which: &str) -> bool {
    false
}

/// Panics where it is asked to.
pub(crate) fn point(place: &str, which: &str) {
    assert!(!is_asked(place, which), "fail point {place}@{which}");
}

/// Goes on no further where it is asked to.
pub(crate) async fn standstill(place: &str, which: &str) {
    if is_asked(place, which) {
        std::future::pending::<()>().await;
    }
}
