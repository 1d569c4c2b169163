//! Work that may take its time gives way to requests.

/// How much nicer than the rest of the process. At 10 a thread gets a tenth of a core that requests fill, and all of one that
/// they do not.
const NICER: i32 = 10;
/// The nicest there is.
const NICEST: i32 = 19;

/// Lowers the priority of the calling thread, for good (Linux counts it by thread: setpriority(2), notes).
pub(super) fn lower() {
    let lowered = rustix::process::getpriority_process(None)
        .and_then(|nice| rustix::process::setpriority_process(None, (nice + NICER).min(NICEST)));
    if let Err(error) = lowered {
        tracing::debug!(%error, "the priority stays as it is");
    }
}
