//! A process that writes and moves is killed at random points, again and again. Its own log of what was committed, written to a
//! pipe, is held against the rows in the store: each committed event once, each number an event or a reported gap.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tollgate_filters::audit::{
    Event, Gap, GapReason, Hash, Header, Kind, Notice, Seal, Sealed, Timestamp, event_id, seal_event,
    seal_notice,
};
use tollgate_sink::{Drained, Mover, MoverOptions, Observer};
use tollgate_store::{
    AuditStore, DATABASE_FILE, Filter, GapRow, Spool, SpoolOptions, StoreError, generations,
};

const STATE: &str = "TOLLGATE_KILL_TEST_STATE";
const BLOCK: u64 = 40;
const GROUP: u64 = 12;
const KILLS: usize = 40;

#[test]
fn killed_at_any_point_nothing_is_lost_or_doubled() {
    if let Ok(state) = std::env::var(STATE) {
        write_and_move(Path::new(&state));
    }
    let state = tempfile::tempdir().expect("a directory");
    let mut log = Log::default();
    for _ in 0..KILLS {
        log.read(run_and_kill(state.path(), Duration::from_micros(random(15_000))));
    }
    // A last start in good order, so that the last crash is reported and everything is moved.
    let mut writer = Writer::start(state.path());
    let next = writer.next;
    writer.spool.close(next).expect("closed");
    let own = writer.spool.generation();
    drop(writer);
    let mover = mover(state.path(), own);
    let deadline = Instant::now() + Duration::from_secs(60);
    while generations(state.path()).expect("a list").len() > 1 {
        assert!(Instant::now() < deadline, "older generations are not drained");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(mover.shutdown(deadline), Drained::Empty);
    assert!(generations(state.path()).expect("a list").is_empty());
    log.hold_against(state.path());
}

/// What the children said.
#[derive(Default)]
struct Log {
    committed: BTreeMap<String, (String, u64)>,
    block_ends: BTreeMap<String, u64>,
}

impl Log {
    fn read(&mut self, lines: Vec<String>) {
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["COMMITTED", id, instance, seq] => {
                    let seq = seq.parse().expect("a number");
                    assert!(self.committed.insert(id.to_owned(), (instance.to_owned(), seq)).is_none());
                }
                ["BLOCK", instance, end] => {
                    self.block_ends.insert(instance.to_owned(), end.parse().expect("a number"));
                }
                // The last line may be cut, and the test harness has lines of its own.
                _ => {}
            }
        }
    }

    fn hold_against(&self, state: &Path) {
        let mut store = AuditStore::open_read_only(&state.join(DATABASE_FILE)).expect("a store");
        let rows = store.newest(&Filter::default(), u32::MAX).expect("rows");
        let mut ids = BTreeSet::new();
        let mut seen: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        let mut unlogged = 0;
        for row in &rows {
            let header = Header::read(row.event.as_bytes()).expect("a record");
            assert!(ids.insert(header.event_id.to_string()), "stored twice");
            assert!(seen.entry(row.instance.clone()).or_default().insert(header.seq), "a number twice");
            match self.committed.get(&*header.event_id) {
                Some(logged) => assert_eq!(*logged, (row.instance.clone(), header.seq)),
                None => unlogged += u64::from(header.kind == Kind::Request),
            }
        }
        let lost: Vec<_> = self.committed.keys().filter(|id| !ids.contains(*id)).collect();
        assert!(lost.is_empty(), "committed and not stored: {lost:?}");
        assert!(self.committed.len() as u64 > KILLS as u64 * GROUP, "the children got nowhere");
        // Killed between the commit and the line about it: one group per kill at most.
        assert!(unlogged <= KILLS as u64 * GROUP, "{unlogged} rows that nobody wrote");

        let gaps = store.gaps().expect("gaps");
        let mut crashes = 0;
        for gap in gaps {
            assert_eq!(gap.reason, "crash", "{gap:?}");
            crashes += 1;
            let seen = seen.entry(gap.instance.clone()).or_default();
            for seq in gap.from_seq..=gap.to_seq {
                assert!(seen.insert(seq), "{seq} of {} is a gap and an event", gap.instance);
            }
        }
        assert!(crashes > 0, "no crash was reported");
        // Every number of every block is an event or a gap, and no other is.
        for (instance, end) in &self.block_ends {
            let seen = &seen[instance];
            let last = *seen.last().expect("not empty");
            assert_eq!(seen.len() as u64, last, "{instance} has numbers that nothing accounts for");
            // The block after the last one logged may have been taken just before the kill.
            assert!(last == end - 1 || last == end - 1 + BLOCK, "{instance}: {last} against {end}");
        }
    }
}

fn run_and_kill(state: &Path, after: Duration) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "killed_at_any_point_nothing_is_lost_or_doubled", "--nocapture"])
        .env(STATE, state)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut log = Vec::new();
    // One in four is killed while it starts; the others when their mover was at work so often.
    let mut enough = if random(4) == 0 { 0 } else { 1 + random(8) };
    while enough > 0
        && let Some(Ok(line)) = lines.next()
    {
        enough -= u64::from(line.starts_with("MOVED"));
        log.push(line);
    }
    let reader = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
    std::thread::sleep(after);
    child.kill().expect("killed");
    child.wait().expect("gone");
    log.extend(reader.join().expect("read"));
    log
}

/// The child: never returns.
fn write_and_move(state: &Path) -> ! {
    let mut writer = Writer::start(state);
    let _mover = mover(state, writer.spool.generation());
    loop {
        writer.write_group();
        // The mover has its turn, too: else it would only ever wait for the spool's lock, and never be killed at its work.
        std::thread::sleep(Duration::from_micros(random(6_000)));
    }
}

fn mover(state: &Path, own: u64) -> Mover {
    let store = AuditStore::open(&state.join(DATABASE_FILE)).expect("a store");
    let options = MoverOptions {
        poll: Duration::from_millis(1),
        orphans: Duration::from_millis(5),
        events: 30,
        ..MoverOptions::new(state, Some(own))
    };
    Mover::start(store, options, Arc::new(Aloud)).expect("a thread")
}

/// Says what the child's mover did: a test in which it never came to move anything would prove nothing.
struct Aloud;

impl Observer for Aloud {
    fn moved(&self, events: u64) {
        println!("MOVED {events}");
        // Stored, and not yet acknowledged: the one point that a kill must not miss.
        if std::env::var(STATE).is_ok() && random(8) == 0 {
            std::process::abort();
        }
    }
    fn gap(&self, _: &GapRow) {}
    fn failed(&self, error: &StoreError) {
        println!("FAILED {error}");
    }
}

struct Writer {
    spool: Spool,
    prev: Hash,
    next: u64,
    end: u64,
}

impl Writer {
    fn start(state: &Path) -> Writer {
        let mut options = SpoolOptions::new(state);
        options.max_bytes = 64 << 20;
        let spool = Spool::open(&options).expect("a spool");
        let mut writer = Writer { spool, prev: Hash::GENESIS, next: 1, end: 1 };
        for abandoned in writer.spool.abandoned().to_vec() {
            let gap = Gap {
                instance: abandoned.instance,
                reason: GapReason::Crash,
                count: abandoned.ranges.count(),
                ranges: abandoned.ranges,
            };
            let seq = writer.take();
            let record = writer
                .seal(|seal| seal_notice(seal, Kind::Gap, &Notice::gap(Timestamp::default(), gap)), seq);
            writer.spool.append(&[record.1]).expect("appended");
        }
        writer.spool.abandoned_reported().expect("marked");
        writer
    }

    fn take(&mut self) -> u64 {
        if self.next == self.end {
            let block = self.spool.take_block(BLOCK).expect("a block");
            self.end = block.end;
            println!("BLOCK {} {}", self.spool.identity(), self.end);
        }
        self.next += 1;
        self.next - 1
    }

    fn seal(&mut self, seal: impl FnOnce(Seal<'_>) -> Sealed, seq: u64) -> (String, Sealed) {
        let random = random(u64::MAX).to_le_bytes();
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&random);
        let event_id = event_id(Timestamp::from_micros(1), bytes);
        let sealed = seal(Seal { event_id, instance: self.spool.identity(), seq, prev: self.prev });
        self.prev = sealed.hash;
        (event_id.to_string(), sealed)
    }

    fn write_group(&mut self) {
        let mut said = String::new();
        let mut batch = Vec::new();
        for _ in 0..1 + random(GROUP) {
            let seq = self.take();
            // Some numbers are never written: requests in flight.
            if random(10) > 0 {
                let event = Event { request_id: format!("r{seq}").into(), ..Event::default() };
                let (id, sealed) = self.seal(|seal| seal_event(seal, &event), seq);
                said.push_str(&format!("COMMITTED {id} {} {seq}\n", self.spool.identity()));
                batch.push(sealed);
            }
        }
        if batch.is_empty() {
            return;
        }
        self.spool.append(&batch).expect("appended");
        let mut out = std::io::stdout().lock();
        out.write_all(said.as_bytes()).and_then(|()| out.flush()).expect("the parent reads");
    }
}

fn random(below: u64) -> u64 {
    RandomState::new().hash_one(0) % below
}
