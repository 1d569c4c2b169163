//! Panics on demand, to show that one request's bug is one request's end. Nothing of it is compiled without the feature
//! `fail-points`, which only tests switch on.

/// Panics where the environment says `TOLLGATE_FAIL_POINT=<place>@<request id>`.
#[cfg(feature = "fail-points")]
pub(crate) fn point(place: &str, request_id: &str) {
    let Ok(wanted) = std::env::var("TOLLGATE_FAIL_POINT") else { return };
    assert!(wanted.split_once('@') != Some((place, request_id)), "fail point {wanted}");
}

#[cfg(not(feature = "fail-points"))]
pub(crate) fn point(_place: &str, _request_id: &str) {}
