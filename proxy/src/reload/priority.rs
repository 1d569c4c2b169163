//! Work that may take its time gives way to requests.

/// How much nicer than the process (its first thread). At 10 a thread gets a tenth of a core that requests fill, and all of one
/// that they do not.
const NICER: i32 = 10;
/// The nicest there is.
const NICEST: i32 = 19;

/// Lowers the priority of the calling thread, for good (Linux counts it by thread: setpriority(2), notes). A thread that was
/// started by a lowered one is as nice as that one already, and stays so.
pub(super) fn lower() {
    let lowered =
        of_process().and_then(|nice| rustix::process::setpriority_process(None, (nice + NICER).min(NICEST)));
    if let Err(error) = lowered {
        tracing::debug!(%error, "the priority stays as it is");
    }
}

fn of_process() -> rustix::io::Result<i32> {
    rustix::process::getpriority_process(Some(rustix::process::getpid()))
}

#[cfg(test)]
pub(super) fn of_this_thread() -> i32 {
    rustix::process::getpriority_process(None).expect("there")
}

/// That of a thread that gives way.
#[cfg(test)]
pub(super) fn lowered() -> i32 {
    (of_process().expect("there") + NICER).min(NICEST)
}
