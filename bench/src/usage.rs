//! What a process used, from /proc: CPU by thread name, resident memory.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// CPU so far, by thread name. Threads that ended are not in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cpu(pub(crate) BTreeMap<String, Duration>);

impl Cpu {
    pub(crate) fn of(pid: u32) -> Cpu {
        let mut by_name: BTreeMap<String, Duration> = BTreeMap::new();
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Cpu::default() };
        for task in tasks.flatten() {
            let path = task.path();
            let Ok(name) = fs::read_to_string(path.join("comm")) else { continue };
            *by_name.entry(name.trim().to_owned()).or_default() += on_cpu(&path).unwrap_or_default();
        }
        Cpu(by_name)
    }

    /// What was used since `before`, threads that used nothing left out.
    pub(crate) fn since(&self, before: &Cpu) -> Cpu {
        let used = self.0.iter().map(|(name, now)| {
            (name.clone(), now.saturating_sub(before.0.get(name).copied().unwrap_or_default()))
        });
        Cpu(used.filter(|(_, used)| !used.is_zero()).collect())
    }

    pub(crate) fn total(&self) -> Duration {
        self.0.values().sum()
    }

    /// Of the threads whose name begins so (the kernel keeps 15 characters of a name).
    pub(crate) fn of_threads(&self, prefix: &str) -> Duration {
        let prefix = &prefix[..prefix.len().min(15)];
        self.0.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, used)| used).sum()
    }
}

/// Nanoseconds on a CPU from schedstat; the ticks in stat, 10 ms each, where the kernel has no schedstat.
fn on_cpu(task: &std::path::Path) -> Option<Duration> {
    if let Ok(text) = fs::read_to_string(task.join("schedstat")) {
        return text.split(' ').next()?.parse().ok().map(Duration::from_nanos);
    }
    by_ticks(task)
}

/// Time on a CPU of a whole process, threads that have ended included.
pub(crate) fn of_process(pid: u32) -> Option<Duration> {
    by_ticks(std::path::Path::new(&format!("/proc/{pid}")))
}

fn by_ticks(of: &std::path::Path) -> Option<Duration> {
    let text = fs::read_to_string(of.join("stat")).ok()?;
    // The name in parentheses may hold spaces; user and system time are fields 14 and 15 of all.
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}

/// Resident set in bytes.
pub(crate) fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::{Cpu, resident};

    #[test]
    fn sees_this_process_work() {
        let pid = std::process::id();
        let before = Cpu::of(pid);
        let mut sum = 0u64;
        while Cpu::of(pid).since(&before).total() < std::time::Duration::from_millis(20) {
            sum = (0..100_000).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
        }
        assert!(resident(pid) > 1024 * 1024);
    }
}
