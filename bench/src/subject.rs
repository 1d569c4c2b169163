//! The processes that are measured: where they run, and that they end.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Failure;

/// Core of what is measured; client and upstream run on the other one.
const SUBJECT_CORE: &str = "0";
const OWN_CORE: &str = "1";

/// Moves this process to its own core, and lifts its limit of open files as far as it may. Both are best effort: the report says
/// how many cores there were.
pub(crate) fn prepare_own_process() {
    let own = std::process::id().to_string();
    if can_pin() {
        quietly(Command::new("taskset").args(["-a", "-c", "-p", OWN_CORE, &own]));
    }
    quietly(Command::new("prlimit").args(["--pid", &own, "--nofile=20000:"]));
}

fn quietly(command: &mut Command) {
    // Whatever it says, the run goes on without it.
    let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
}

/// Two cores at least, and taskset.
pub(crate) fn can_pin() -> bool {
    let cores = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default().matches("processor\t").count();
    cores >= 2 && Command::new("taskset").arg("-V").stdout(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// A child that is ended with its value.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Subject {
    /// Starts `program`, pinned if possible, and waits until its port answers. Its output goes to `log`.
    pub(crate) fn start(
        name: &'static str,
        program: &Path,
        arguments: &[String],
        environment: &[(&str, String)],
        address: SocketAddr,
        log: &Path,
    ) -> Result<Subject, Failure> {
        let mut command = if can_pin() {
            let mut command = Command::new("taskset");
            command.args(["-c", SUBJECT_CORE]).arg(program);
            command
        } else {
            Command::new(program)
        };
        let out = std::fs::File::create(log)?;
        command.args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
        let child = command.stdin(Stdio::null()).stderr(out.try_clone()?).stdout(out).spawn()?;
        let mut subject = Subject { name, address, child };
        let deadline = Instant::now() + Duration::from_secs(30);
        while std::net::TcpStream::connect(address).is_err() {
            if subject.child.try_wait()?.is_some() || Instant::now() > deadline {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                return Err(format!("{name} did not come up:\n{said}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(subject)
    }

    /// taskset becomes the program it starts, so this is the program's own.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A loopback address that was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// A program built beside this one.
pub(crate) fn sibling(name: &str) -> Result<PathBuf, Failure> {
    let path = std::env::current_exe()?.with_file_name(name);
    if path.exists() {
        Ok(path)
    } else {
        Err(format!("{} is missing: build it first", path.display()).into())
    }
}
