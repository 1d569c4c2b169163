//! Each mutant against the tests that come by its place.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{Failure, build::Tests, listing::Mutant, report::Outcome, report::Report};

/// Tests of a mutant's first run; each further run has four times as many.
const QUICK: usize = 12;
/// For a mutant that waits for what never comes.
const PATIENCE: Duration = Duration::from_secs(600);
/// Address space of a test run, in KiB: a mutant that fills its memory ends there.
const MEMORY: u32 = 6_000_000;

/// What ends a process whose processor time is over (getrlimit(2)).
const SIGXCPU: i32 = 24;
const SIGKILL: i32 = 9;

struct Test {
    name: String,
    took: Duration,
    passes: Vec<u32>,
}

/// What came of a run of some tests.
enum Run {
    Passed,
    Failed(String),
    TimedOut,
}

pub(crate) fn all(
    tests: &Tests,
    mutants: &[&Mutant],
    jobs: usize,
    report: &mut Report,
) -> Result<(), Failure> {
    let traced = trace(tests, jobs)?;
    let mut by_mutant: HashMap<u32, Vec<&Test>> = HashMap::new();
    for test in &traced {
        for id in &test.passes {
            by_mutant.entry(*id).or_default().push(test);
        }
    }
    let report = Mutex::new(report);
    in_turn(mutants, jobs, |mutant| {
        let outcome = match by_mutant.get(&mutant.id) {
            None => Outcome::Unreached,
            Some(passing) => against(tests, mutant, passing)?,
        };
        report.lock().unwrap_or_else(PoisonError::into_inner).add(mutant, &outcome)
    })
}

/// Does `work` on every item, `jobs` at once, and stops at the first failure.
fn in_turn<T: Sync>(
    items: &[T],
    jobs: usize,
    work: impl Fn(&T) -> Result<(), Failure> + Sync,
) -> Result<(), Failure> {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.max(1))
            .map(|_| {
                scope.spawn(|| {
                    while let Some(item) = items.get(next.fetch_add(1, Relaxed)) {
                        work(item).inspect_err(|_| next.store(items.len(), Relaxed))?;
                    }
                    Ok(())
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|_| Err("a worker panicked".into())))
    })
}

/// Runs every test alone on the code as it is: how long it takes, and which places it passes.
fn trace(tests: &Tests, jobs: usize) -> Result<Vec<Test>, Failure> {
    let folder = std::env::temp_dir().join(format!("tollgate-mutants-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let listed = Command::new(&tests.binary)
        .args(["--list", "--format", "terse"])
        .current_dir(&tests.directory)
        .output()?;
    let listed = String::from_utf8(listed.stdout)?;
    let names: Vec<&str> = listed.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    eprintln!("tollgate-mutants: {} tests, each alone", names.len());
    let traced = Mutex::new(Vec::new());
    in_turn(&names, jobs, |name| {
        let trace = folder.join(name.replace(':', "-"));
        let began = Instant::now();
        let mut command = command(tests, &[name]);
        match finish(command.env("MUTANT_TRACE", &trace), PATIENCE)? {
            Run::Passed => {}
            Run::Failed(test) => return Err(format!("without any mutant, {test} fails").into()),
            Run::TimedOut => return Err(format!("without any mutant, {name} does not end").into()),
        }
        let passes = fs::read_to_string(&trace).unwrap_or_default();
        let passes = passes.lines().filter_map(|line| line.parse().ok()).collect();
        let test = Test { name: (*name).to_owned(), took: began.elapsed(), passes };
        traced.lock().unwrap_or_else(PoisonError::into_inner).push(test);
        Ok(())
    })?;
    fs::remove_dir_all(&folder)?;
    let mut traced = traced.into_inner().unwrap_or_else(PoisonError::into_inner);
    // Quick ones first: most mutants are caught by one of them.
    traced.sort_by_key(|test| test.took);
    Ok(traced)
}

fn against(tests: &Tests, mutant: &Mutant, passing: &[&Test]) -> Result<Outcome, Failure> {
    // The quick ones by themselves: the order within a run is libtest's, and most mutants meet no slow test.
    let (mut rest, mut size) = (passing, QUICK);
    while !rest.is_empty() {
        let (some, others) = rest.split_at(size.min(rest.len()));
        (rest, size) = (others, size * 4);
        let names: Vec<&str> = some.iter().map(|test| test.name.as_str()).collect();
        match finish(command(tests, &names).env("MUTANT", mutant.id.to_string()), PATIENCE)? {
            Run::Passed => {}
            Run::Failed(test) => return Ok(Outcome::Caught(test)),
            Run::TimedOut => return Ok(Outcome::TimedOut),
        }
    }
    Ok(Outcome::Missed)
}

fn command(tests: &Tests, names: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("ulimit -t {} && ulimit -v {MEMORY} && exec \"$@\"", tests.seconds), "sh"])
        .arg(&tests.binary)
        .args(["--exact", "--test-threads", "1", "-Z", "unstable-options", "--fail-fast"])
        .args(names)
        .current_dir(&tests.directory)
        // `--fail-fast` is not stable yet.
        .env("RUSTC_BOOTSTRAP", "1")
        // A smaller example of a failure is of no use here.
        .env("PROPTEST_MAX_SHRINK_ITERS", "0")
        .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true")
        .env("CARGO_MANIFEST_DIR", &tests.directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// Waits for the tests to end, and ends them at the first failure or when they take too long.
fn finish(command: &mut Command, at_most: Duration) -> Result<Run, Failure> {
    let mut child = command.spawn()?;
    let stdout = child.stdout.take().ok_or("no output to read")?;
    let reader = thread::spawn(move || {
        let (mut failed, mut last) = (None, None);
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            let Some(test) = line.strip_prefix("test ") else { continue };
            let name = test.split(" ... ").next().unwrap_or_default().to_owned();
            // The name stands alone while the test runs: a process that dies has said which one it was.
            if test.ends_with("FAILED") && test.contains(" ... ") {
                failed.get_or_insert(name.clone());
            }
            last = Some(name);
        }
        failed.or(last)
    });
    let status = wait(&mut child, at_most)?;
    let told = reader.join().ok().flatten();
    Ok(match status {
        None => Run::TimedOut,
        Some(status) if status.success() => Run::Passed,
        Some(status) if matches!(status.signal(), Some(SIGXCPU | SIGKILL)) => Run::TimedOut,
        Some(_) => Run::Failed(told.unwrap_or_else(|| "the tests' process".to_owned())),
    })
}

/// None if it had to be killed.
fn wait(child: &mut Child, at_most: Duration) -> Result<Option<ExitStatus>, Failure> {
    let began = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if began.elapsed() > at_most {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}
