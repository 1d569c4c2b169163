//! Panics on demand, to show that one request's bug is one request's end, and a reload's no request's. Nothing of it is compiled without the feature
//! `fail-points`, which only tests switch on.

/// Panics where the environment says `TOLLGATE_FAIL_POINT=<place>@<request id, or generation>`.
#[cfg(feature = "fail-points")]
pub(crate) fn point(place: &str, which: &str) {
    let Ok(wanted) = std::env::var("TOLLGATE_FAIL_POINT") else { return };
    assert!(wanted.split_once('@') != Some((place, which)), "fail point {wanted}");
}

#[cfg(not(feature = "fail-points"))]
pub(crate) fn point(_place: &str, _which: &str) {}
