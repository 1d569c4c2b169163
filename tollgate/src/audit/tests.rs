//! The whole trail: queue, spool, sink, store, and what the command line says of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tollgate_filters::audit::{Event, FindingCount, Header, Kind, Sealed, Status};
use tollgate_proxy::audit::{
    Abandoned, AuditQueue, AuditThread, NoMetrics, Options, Shutdown, SpoolError, WhenFull,
};
use tollgate_sink::{Drained, Mover, MoverOptions, NoObserver};
use tollgate_store::{AuditStore, DATABASE_FILE, Filter, Spool, SpoolOptions};

use super::*;
use crate::adapters::SpoolAdapter;

struct Gate {
    queue: AuditQueue,
    thread: AuditThread,
    mover: Option<Mover>,
}

impl Gate {
    fn start(state: &Path, moving: bool) -> Gate {
        Gate::start_with(state, moving, SpoolAdapter::new)
    }

    fn start_with<S: tollgate_proxy::audit::Spool + 'static>(
        state: &Path,
        moving: bool,
        adapter: impl FnOnce(Spool) -> S,
    ) -> Gate {
        let spool = Spool::open(&SpoolOptions::new(state)).unwrap();
        let options = MoverOptions {
            poll: Duration::from_millis(1),
            orphans: Duration::from_millis(5),
            ..MoverOptions::new(state, Some(spool.generation()))
        };
        let mover = moving.then(|| {
            let store = AuditStore::open(&state.join(DATABASE_FILE)).unwrap();
            Mover::start(store, options, Arc::new(NoObserver)).unwrap()
        });
        let options =
            Options { commit_interval: Duration::from_millis(1), seq_block: 50, ..Options::default() };
        let (queue, thread) =
            AuditQueue::start(Box::new(adapter(spool)), options, Arc::new(NoMetrics)).unwrap();
        Gate { queue, thread, mover }
    }

    fn send(&self, event: Event) {
        let deadline = soon();
        let slot = loop {
            match self.queue.slot(WhenFull::Refuse) {
                Ok(slot) => break slot,
                Err(_) => assert!(Instant::now() < deadline, "no slot"),
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        slot.send(Box::new(event));
    }

    fn stop(self) {
        assert_eq!(self.thread.shutdown(soon()), Shutdown::Clean);
        if let Some(mover) = self.mover {
            assert_eq!(mover.shutdown(soon()), Drained::Empty);
        }
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

fn event(id: &str) -> Event {
    Event {
        ts: Timestamp::from_micros(1_764_000_000_000_000),
        request_id: id.into(),
        org: Some("acme".into()),
        app: Some("chat".into()),
        status: Status::Success,
        http_status: 200,
        ..Event::default()
    }
}

fn say(work: impl FnOnce(&mut Vec<u8>) -> io::Result<ExitCode>) -> (bool, String) {
    let mut out = Vec::new();
    let code = work(&mut out).unwrap();
    (code == ExitCode::SUCCESS, String::from_utf8(out).unwrap())
}

fn verdict(state: &Path) -> (bool, String) {
    say(|out| verify::run(state, out))
}

#[test]
fn tail_and_query_see_store_and_spool_as_one() {
    let state = tempfile::tempdir().unwrap();
    let shown = |limit| say(|out| tail(state.path(), limit, false, Form::Columns, out)).1;
    assert_eq!(shown(5).lines().count(), 1, "a header before the first start");
    // Moved into the store.
    let gate = Gate::start(state.path(), true);
    for n in 0..30 {
        gate.send(event(&format!("stored-{n}")));
    }
    gate.stop();
    // Still in the spool: nobody moves it.
    let gate = Gate::start(state.path(), false);
    gate.send(Event {
        user: Some("\u{1b}[31mmallory".into()),
        status: Status::Blocked,
        code: Some("PII_DETECTED".into()),
        cost_nano_usd: Some(1_234_567),
        findings: vec![FindingCount {
            kind: "email".into(),
            action: "block".into(),
            count: 2,
            ..FindingCount::default()
        }],
        ..event("waiting")
    });
    gate.stop();
    let text = shown(3);
    let lines: Vec<&str> = text.lines().collect();
    // The last three records: stored's stop, waiting, waiting's stop.
    assert_eq!(lines.len(), 4);
    assert!(lines[1].contains("[stopped]") && lines[3].contains("[stopped]"), "{text}");
    for word in ["2025-11-24 16:00:00.000", "blocked", "acme/chat", "PII_DETECTED block:emailx2", "0.001235"]
    {
        assert!(lines[2].contains(word), "{word}: {text}");
    }
    assert!(!text.contains('\u{1b}'), "callers do not paint this terminal");

    let found = |filter: &Filter| {
        let (_, text) = say(|out| query(state.path(), filter, 100, Form::Json, out));
        text.lines().map(|line| Header::read(line.as_bytes()).unwrap().kind).collect::<Vec<_>>()
    };
    assert_eq!(found(&Filter { status: Some("blocked".into()), ..Filter::default() }), [Kind::Request]);
    assert_eq!(found(&Filter { organization: Some("acme".into()), ..Filter::default() }).len(), 31);
    assert_eq!(found(&Filter { request_id: Some("stored-7".into()), ..Filter::default() }).len(), 1);
    let (whole, text) = verdict(state.path());
    assert!(whole && text.contains("2 still in the spool"), "{text}");
}

#[test]
fn following_shows_each_record_once_on_its_way_from_spool_to_store() {
    let state = tempfile::tempdir().unwrap();
    let gate = Gate::start(state.path(), false);
    for n in 0..5 {
        gate.send(event(&format!("r{n}")));
    }
    gate.stop();
    let mut trail = Trail::open(state.path());
    let first = trail.newest(&Filter::default(), 3).unwrap();
    assert_eq!((first.records.len(), first.last_id), (3, 0));
    let again = trail.after(first.last_id, &first.ahead).unwrap();
    assert!(again.records.is_empty());
    // The next start moves the old spool, and adds.
    let gate = Gate::start(state.path(), true);
    gate.send(event("r5"));
    let deadline = soon();
    while state.path().join("spool/1").exists() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(2));
    }
    gate.stop();
    let new = trail.after(again.last_id, &again.ahead).unwrap();
    let ids: Vec<String> = new
        .records
        .iter()
        .map(|record| serde_json::from_str::<Event>(record).map_or("-".into(), |e| e.request_id.to_string()))
        .collect();
    assert_eq!(ids, ["r5", "-"]);
    assert!(new.ahead.is_empty());
}

#[test]
fn verify_finds_a_changed_byte() {
    let state = tempfile::tempdir().unwrap();
    let gate = Gate::start(state.path(), true);
    for n in 0..20 {
        gate.send(Event { session_id: Some(format!("needle-{n:02}")), ..event("r") });
    }
    gate.stop();
    let (whole, text) = verdict(state.path());
    assert!(whole && text.ends_with("ok\n"), "{text}");
    let path = state.path().join(DATABASE_FILE);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(9).position(|window| window == b"needle-07").unwrap();
    bytes[at + 8] = b'8';
    std::fs::write(&path, bytes).unwrap();
    let (whole, text) = verdict(state.path());
    assert!(!whole && text.contains("FAULT: the record before number"), "{text}");
}

#[test]
fn times_are_points_or_ages() {
    let now = Timestamp::from_micros(1_000_000_000_000);
    for (text, micros) in [
        ("90s", 1_000_000_000_000 - 90_000_000),
        ("1h 30m", 1_000_000_000_000 - 5_400_000_000),
        ("7d", 1_000_000_000_000 - 604_800_000_000),
        ("1970-01-01T00:00:01Z", 1_000_000),
    ] {
        assert_eq!(read_time(text, now).unwrap().micros(), micros, "{text}");
    }
    assert!(read_time("yesterday-ish", now).unwrap_err().contains("90m"));
}

const STATE: &str = "TOLLGATE_AUDIT_KILL_TEST_STATE";

/// Says what was committed, to a pipe that outlives the process.
struct Aloud(SpoolAdapter);

impl tollgate_proxy::audit::Spool for Aloud {
    fn identity(&self) -> &str {
        self.0.identity()
    }
    fn abandoned(&self) -> Vec<Abandoned> {
        self.0.abandoned()
    }
    fn abandoned_reported(&mut self) -> Result<(), SpoolError> {
        self.0.abandoned_reported()
    }
    fn take_block(&mut self, n: u64) -> Result<Range<u64>, SpoolError> {
        let block = self.0.take_block(n)?;
        println!("BLOCK {} {}", self.identity(), block.end);
        Ok(block)
    }
    fn append(&mut self, batch: &[Sealed]) -> Result<(), SpoolError> {
        self.0.append(batch)?;
        for record in batch {
            let id = Header::read(&record.bytes).unwrap().event_id.to_string();
            println!("COMMITTED {id}");
        }
        Ok(())
    }
    fn close(&mut self, next: u64) -> Result<(), SpoolError> {
        self.0.close(next)
    }
}

/// The gateway's side of `kill.rs` in the sink: requests on several threads, some long, some never answered.
fn serve_until_killed(state: &Path) -> ! {
    let gate = Gate::start_with(state, true, |spool| Aloud(SpoolAdapter::new(spool)));
    std::thread::scope(|scope| {
        for worker in 0..3 {
            let queue = gate.queue.clone();
            scope.spawn(move || {
                let mut long = Vec::new();
                for n in 0u64.. {
                    match queue.slot(WhenFull::Refuse) {
                        Ok(slot) if n % 17 == 0 => long.push(slot),
                        Ok(slot) if n % 13 == 0 => drop(slot),
                        Ok(slot) => slot.send(Box::new(event(&format!("{worker}-{n}")))),
                        Err(_) => {}
                    }
                    if long.len() > 20 {
                        long.clear();
                    }
                    std::thread::sleep(Duration::from_micros(300));
                }
            });
        }
    });
    unreachable!("the workers never end")
}

#[test]
fn killed_gateways_leave_a_trail_that_verifies() {
    if let Ok(state) = std::env::var(STATE) {
        serve_until_killed(Path::new(&state));
    }
    let state = tempfile::tempdir().unwrap();
    let mut committed = BTreeSet::new();
    let mut block_ends: BTreeMap<String, u64> = BTreeMap::new();
    for round in 0..12u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "audit::tests::killed_gateways_leave_a_trail_that_verifies", "--nocapture"])
            .env(STATE, state.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut enough = 1 + rand::random_range(0..150u64);
        for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["COMMITTED", id] => {
                    // The last line may be cut.
                    if id.len() == 36 {
                        assert!(committed.insert(id.to_owned()), "round {round}: committed twice");
                    }
                    enough = enough.saturating_sub(1);
                    if enough == 0 {
                        let _ = child.kill();
                    }
                }
                ["BLOCK", instance, end] => {
                    block_ends.insert(instance.to_owned(), end.parse().unwrap());
                }
                _ => {}
            }
        }
        child.wait().unwrap();
    }
    let gate = Gate::start(state.path(), true);
    gate.send(event("last"));
    let deadline = soon();
    while tollgate_store::generations(state.path()).unwrap().len() > 1 {
        assert!(Instant::now() < deadline, "older generations are not drained");
        std::thread::sleep(Duration::from_millis(5));
    }
    gate.stop();

    let mut store = AuditStore::open_read_only(&state.path().join(DATABASE_FILE)).unwrap();
    let mut accounted: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for row in store.newest(&Filter::default(), u32::MAX).unwrap() {
        let header = Header::read(row.event.as_bytes()).unwrap();
        committed.remove(&*header.event_id);
        assert!(accounted.entry(row.instance.clone()).or_default().insert(header.seq), "a number twice");
    }
    assert!(committed.is_empty(), "committed and lost: {committed:?}");
    for gap in store.gaps().unwrap() {
        let seen = accounted.entry(gap.instance.clone()).or_default();
        for seq in gap.from_seq..=gap.to_seq {
            assert!(seen.insert(seq), "an event and a gap: {gap:?}");
        }
    }
    for (instance, end) in &block_ends {
        let seen = &accounted[instance];
        let last = *seen.last().unwrap();
        assert_eq!(seen.len() as u64, last, "{instance}: numbers that nothing accounts for");
        assert!(last + 1 >= *end, "{instance}: {last} against {end}");
    }
    let (whole, text) = verdict(state.path());
    assert!(whole, "{text}");
    assert!(text.contains("reported: crash"), "{text}");
}
