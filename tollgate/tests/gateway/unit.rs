//! The systemd unit: what it allows is what the gateway does.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use reqwest::Method;
use tempfile::TempDir;
use tollgate_fake_upstream::{Fake, Options};

use crate::harness::{Gateway, ONE_UPSTREAM, until};
use crate::ops::{head, said};

fn unit() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/tollgate.service");
    std::fs::read_to_string(path).expect("there")
}

/// Values of `key`, in the file's order.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

/// A call that the list lacks must fail, not end the process with all that is in flight; and those that the code makes beside
/// the standard library's are on the list. Needs no systemd.
#[test]
fn what_is_not_allowed_fails_and_what_is_needed_is_allowed() {
    let unit = unit();
    assert_eq!(values(&unit, "SystemCallErrorNumber"), ["EPERM"]);
    // The last line that names a call or its set decides (systemd.exec(5), SystemCallFilter=).
    let filters = values(&unit, "SystemCallFilter");
    assert_eq!(filters, ["@system-service", "~@privileged @resources", "setpriority"]);
    assert_eq!(values(&unit, "ExecReload"), ["/bin/kill -HUP $MAINPID"]);
}

/// systemd's own opinion, where it can be asked.
#[test]
fn systemd_reads_it() {
    let dir = TempDir::new().expect("a folder");
    let copy = dir.path().join("tollgate.service");
    std::fs::write(&copy, unit().replace("/usr/bin/tollgate", "/bin/true")).expect("written");
    let Ok(output) = Command::new("systemd-analyze").arg("verify").arg(&copy).output() else {
        eprintln!("no systemd-analyze: the unit was not verified");
        return;
    };
    assert!(output.status.success() && said(&output).is_empty(), "{}", said(&output));
}

/// Every system call of a start, a call, a reload and a stop, as strace counts them, is one that the unit allows. Where there is
/// no strace, or no systemd to say what its sets hold, the table above is all.
#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_a_life_is_allowed() {
    let dir = TempDir::new().expect("a folder");
    let counts = dir.path().join("counts");
    // -D: the gateway stays this process's own child; -U name: one call a line.
    let strace = ["strace", "-D", "-f", "-qq", "-c", "-U", "name", "-o", counts.to_str().expect("UTF-8")];
    let traces = Command::new(strace[0]).args(&strace[1..]).arg("true").status();
    let (Some(allowed), true) = (allowed(), traces.is_ok_and(|status| status.success())) else {
        eprintln!("no strace or systemd-analyze: the calls were not compared");
        return;
    };
    let fake = Fake::start(Options::default()).expect("the fake upstream starts");
    let yaml = format!("{}{ONE_UPSTREAM}", head());
    let mut gateway = Gateway::start_under(&strace, &yaml, &[("UPSTREAM", &fake.url())]);
    assert_eq!(gateway.status_of("m").await, 200);
    gateway.reload(&yaml, 2);
    let (status, _) = gateway.admin(Method::POST, "/admin/reload").await;
    assert_eq!(status, 200);
    assert_eq!(gateway.events(1).len(), 1);
    gateway.signal("TERM");
    assert_eq!(gateway.wait_end().code(), Some(0));
    let seen = until(
        || {
            let text = std::fs::read_to_string(&counts).ok()?;
            let is_call = |line: &&str| !line.starts_with('-') && !matches!(*line, "syscall" | "total");
            let seen: BTreeSet<String> = text.lines().filter(is_call).map(str::to_owned).collect();
            (!seen.is_empty()).then_some(seen)
        },
        "what strace has counted",
    );
    assert!(seen.contains("setpriority"), "the reload was one: {seen:?}");
    let forbidden: Vec<_> = seen.difference(&allowed).collect();
    assert!(forbidden.is_empty(), "not allowed by the unit: {forbidden:?}");
}

/// The calls that the unit allows, its sets written out by systemd; `None` where it cannot be asked.
fn allowed() -> Option<BTreeSet<String>> {
    let mut allowed = BTreeSet::new();
    for line in values(&unit(), "SystemCallFilter") {
        let (removes, names) = line.strip_prefix('~').map_or((false, line), |names| (true, names));
        for name in names.split_whitespace() {
            for call in written_out(name)? {
                if removes {
                    allowed.remove(&call)
                } else {
                    allowed.insert(call)
                };
            }
        }
    }
    // SQLite gives its files to the owner of the database, but only where it runs as root, as tests may: the unit does not.
    allowed.insert("fchown".to_owned());
    Some(allowed)
}

fn written_out(name: &str) -> Option<Vec<String>> {
    if !name.starts_with('@') {
        return Some(vec![name.to_owned()]);
    }
    let output = Command::new("systemd-analyze").args(["syscall-filter", name]).output().ok()?;
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let members = text.lines().filter(|line| line.starts_with(' ')).map(str::trim);
    let members = members.filter(|member| !member.starts_with('#'));
    members.map(written_out).collect::<Option<Vec<_>>>().map(|all| all.concat())
}
