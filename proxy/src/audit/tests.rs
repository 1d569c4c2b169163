use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use tollgate_filters::audit::{Event, Gap, GapReason, Header, Kind, Report, verify};
use tollgate_filters::verdict::Code;

use super::*;

const INSTANCE: &str = "gate.1";

/// A spool in memory that fails or stands still on demand.
#[derive(Clone, Default)]
struct Memory(Arc<Inner>);

#[derive(Default)]
struct Inner {
    written: Mutex<Vec<Vec<u8>>>,
    block_end: AtomicU64,
    failing: AtomicBool,
    /// Succeeds in storing, then says it failed: what a lost acknowledgement looks like.
    stores_then_fails: AtomicBool,
    failures: AtomicUsize,
    closed_at: AtomicU64,
    abandoned: Mutex<Vec<Abandoned>>,
    reported: AtomicBool,
    held: Mutex<bool>,
    /// An append stands still.
    standing: AtomicBool,
    released: Condvar,
}

impl Memory {
    fn new() -> Memory {
        let memory = Memory::default();
        memory.0.block_end.store(1, SeqCst);
        memory
    }

    fn hold(&self) {
        *self.0.held.lock() = true;
    }

    fn release(&self) {
        *self.0.held.lock() = false;
        self.0.released.notify_all();
    }

    fn check(&self) -> Result<(), SpoolError> {
        if self.0.failing.load(SeqCst) {
            self.0.failures.fetch_add(1, SeqCst);
            return Err(SpoolError("disk full".into()));
        }
        Ok(())
    }

    fn records(&self) -> Vec<Vec<u8>> {
        self.0.written.lock().clone()
    }

    fn report(&self, last: Option<u64>) -> Report {
        let records = self.records();
        verify(INSTANCE, records.iter().map(Vec::as_slice), last)
    }

    /// The request ids, in commit order; numbers of other kinds of records; gaps.
    fn sorted_out(&self) -> (Vec<String>, Vec<Kind>, Vec<Gap>) {
        let (mut ids, mut kinds, mut gaps) = (Vec::new(), Vec::new(), Vec::new());
        for bytes in self.records() {
            let header = Header::read(&bytes).unwrap();
            match header.kind {
                Kind::Request => {
                    ids.push(serde_json::from_slice::<Event>(&bytes).unwrap().request_id.to_string());
                }
                kind => kinds.push(kind),
            }
            gaps.extend(header.gap.clone());
        }
        (ids, kinds, gaps)
    }
}

impl Spool for Memory {
    fn identity(&self) -> &str {
        INSTANCE
    }
    fn abandoned(&self) -> Vec<Abandoned> {
        self.0.abandoned.lock().clone()
    }
    fn abandoned_reported(&mut self) -> Result<(), SpoolError> {
        self.0.reported.store(true, SeqCst);
        Ok(())
    }
    fn take_block(&mut self, n: u64) -> Result<Range<u64>, SpoolError> {
        self.check()?;
        let start = self.0.block_end.fetch_add(n, SeqCst);
        Ok(start..start + n)
    }
    fn append(&mut self, batch: &[Sealed]) -> Result<(), SpoolError> {
        let mut held = self.0.held.lock();
        while *held {
            self.0.standing.store(true, SeqCst);
            self.0.released.wait(&mut held);
        }
        drop(held);
        self.check()?;
        let mut written = self.0.written.lock();
        // Idempotent, as the trait asks.
        if written.last() != batch.last().map(|record| &record.bytes) {
            written.extend(batch.iter().map(|record| record.bytes.clone()));
        }
        if self.0.stores_then_fails.swap(false, SeqCst) {
            return Err(SpoolError("no answer".into()));
        }
        Ok(())
    }
    fn close(&mut self, next: u64) -> Result<(), SpoolError> {
        self.check()?;
        self.0.closed_at.store(next, SeqCst);
        Ok(())
    }
}

#[derive(Default)]
struct Counts {
    committed: AtomicUsize,
    dropped: AtomicUsize,
    lost: AtomicUsize,
    refusals: AtomicUsize,
}

impl AuditMetrics for Counts {
    fn committed(&self, events: usize, _: usize, _: Duration) {
        self.committed.fetch_add(events, SeqCst);
    }
    fn spool_failed(&self) {}
    fn dropped(&self) {
        self.dropped.fetch_add(1, SeqCst);
    }
    fn lost(&self) {
        self.lost.fetch_add(1, SeqCst);
    }
    fn refusal_counted(&self) {
        self.refusals.fetch_add(1, SeqCst);
    }
}

fn quick() -> Options {
    Options {
        commit_interval: Duration::from_millis(2),
        notice_interval: Duration::from_millis(5),
        seq_block: 16,
        ..Options::default()
    }
}

fn start(memory: &Memory, options: Options) -> (AuditQueue, AuditThread, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let (queue, thread) = AuditQueue::start(Box::new(memory.clone()), options, counts.clone()).unwrap();
    (queue, thread, counts)
}

fn event(id: usize) -> Box<Event> {
    Box::new(Event { request_id: format!("r{id}").into(), ..Event::default() })
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// Waits for something that another thread is about to make true.
fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = soon();
    while !is() {
        assert!(Instant::now() < deadline, "never came: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The slot, or waits for one: the audit thread may be about to take the next block.
fn slot(queue: &AuditQueue) -> AuditSlot {
    let mut slot = None;
    eventually("a slot", || {
        slot = queue.slot(WhenFull::Refuse).ok();
        slot.is_some()
    });
    slot.unwrap()
}

#[test]
fn every_number_is_written_once_and_the_block_is_closed() {
    let memory = Memory::new();
    let (queue, thread, counts) = start(&memory, quick());
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let queue = queue.clone();
            scope.spawn(move || {
                for n in 0..250 {
                    let slot = slot(&queue);
                    // Every tenth request dies on the way.
                    if n % 10 != 0 {
                        slot.send(event(worker * 1000 + n));
                    }
                }
            });
        }
    });
    assert_eq!(thread.shutdown(soon()), Shutdown::Clean);
    let (ids, kinds, _) = memory.sorted_out();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 900);
    assert_eq!(ids.len(), 900);
    assert_eq!(kinds.iter().filter(|kind| **kind == Kind::Lost).count(), 100);
    assert_eq!(counts.lost.load(SeqCst), 100);
    let report = memory.report(Some(memory.0.closed_at.load(SeqCst) - 1));
    assert!(report.is_whole() && report.chain.stopped, "{report:?}");
    assert_eq!(report.chain.records, 1001);
    assert_eq!(queue.shared.lock().in_use(), 0);
    assert!(queue.slot(WhenFull::Refuse).is_err(), "nobody would write it");
}

#[test]
fn a_full_queue_refuses_until_the_spool_works_again() {
    let memory = Memory::new();
    let (queue, thread, counts) = start(&memory, Options { capacity: 8, ..quick() });
    eventually("the second block", || memory.0.block_end.load(SeqCst) == 33);
    memory.0.failing.store(true, SeqCst);
    for n in 0..8 {
        queue.slot(WhenFull::Refuse).unwrap().send(event(n));
    }
    assert_eq!(queue.slot(WhenFull::Refuse).err(), Some(Full));
    eventually("some tries", || memory.0.failures.load(SeqCst) > 2);
    assert_eq!(queue.slot(WhenFull::Refuse).err(), Some(Full));
    memory.0.failing.store(false, SeqCst);
    slot(&queue).send(event(8));
    assert_eq!(thread.shutdown(soon()), Shutdown::Clean);
    assert_eq!(memory.sorted_out().0, (0..9).map(|n| format!("r{n}")).collect::<Vec<_>>());
    assert!(memory.report(None).is_whole());
    assert_eq!(counts.dropped.load(SeqCst), 0);
}

#[test]
fn a_full_queue_that_drops_reports_which_numbers() {
    let memory = Memory::new();
    let options = Options { capacity: 4, ..quick() };
    let (queue, thread, counts) = start(&memory, options);
    eventually("the second block", || memory.0.block_end.load(SeqCst) == 33);
    memory.hold();
    let mut dropped = BTreeSet::new();
    let mut unnumbered = 0;
    for n in 0..4 {
        queue.slot(WhenFull::Drop).unwrap().send(event(n));
    }
    eventually("an append", || memory.0.standing.load(SeqCst));
    // 32 numbers are there; the requests past them have none.
    for n in 4..40 {
        let slot = queue.slot(WhenFull::Drop).unwrap();
        match slot.seq() {
            Some(seq) => assert!(dropped.insert(seq)),
            None => unnumbered += 1,
        }
        slot.send(event(n));
    }
    assert_eq!((dropped.len(), unnumbered), (28, 8));
    memory.release();
    assert_eq!(thread.shutdown(soon()), Shutdown::Clean);
    let (ids, _, gaps) = memory.sorted_out();
    assert_eq!(ids, ["r0", "r1", "r2", "r3"]);
    let reported: BTreeSet<u64> =
        gaps.iter().flat_map(|gap| gap.ranges.iter()).flat_map(|(from, to)| from..=to).collect();
    assert_eq!(reported, dropped);
    assert_eq!(gaps.iter().map(|gap| gap.count).sum::<u64>(), 36);
    assert!(gaps.iter().all(|gap| gap.reason == GapReason::Dropped));
    assert_eq!(counts.dropped.load(SeqCst), 36);
    assert!(memory.report(Some(memory.0.closed_at.load(SeqCst) - 1)).is_whole());
}

#[test]
fn refusals_have_a_share_and_are_counted_past_it() {
    let memory = Memory::new();
    let (queue, thread, counts) = start(&memory, Options { refusal_capacity: 3, ..quick() });
    memory.hold();
    let placed = (0..10).filter_map(|_| queue.refusal(Code::InvalidApiKey)).collect::<Vec<_>>();
    assert_eq!(placed.len(), 3);
    assert!(queue.refusal(Code::NotFound).is_none());
    slot(&queue).send(event(0));
    for slot in placed {
        slot.send(event(1));
    }
    memory.release();
    assert_eq!(thread.shutdown(soon()), Shutdown::Clean);
    assert_eq!(counts.refusals.load(SeqCst), 8);
    let mut counted = 0;
    for bytes in memory.records() {
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        for count in value["refusals"]["counts"].as_array().into_iter().flatten() {
            assert!(["INVALID_API_KEY", "NOT_FOUND"].contains(&count["code"].as_str().unwrap()));
            counted += count["count"].as_u64().unwrap();
        }
    }
    assert_eq!(counted, 8);
    assert!(memory.report(None).is_whole());
}

#[test]
fn an_answer_lost_by_the_spool_doubles_nothing() {
    let memory = Memory::new();
    let (queue, thread, _) = start(&memory, quick());
    memory.0.stores_then_fails.store(true, SeqCst);
    for n in 0..5 {
        slot(&queue).send(event(n));
    }
    assert_eq!(thread.shutdown(soon()), Shutdown::Clean);
    assert_eq!(memory.sorted_out().0.len(), 5);
    assert!(memory.report(None).is_whole());
}

#[test]
fn earlier_losses_are_the_first_records() {
    let memory = Memory::new();
    let ranges = Ranges::try_from(vec![(4, 4), (9, 16)]).unwrap();
    memory.0.abandoned.lock().push(Abandoned { instance: "gate.0".into(), ranges: ranges.clone() });
    let (queue, thread, _) = start(&memory, quick());
    slot(&queue).send(event(0));
    assert_eq!(thread.shutdown(soon()), Shutdown::Clean);
    assert!(memory.0.reported.load(SeqCst));
    let first = memory.records().remove(0);
    let gap = Header::read(&first).unwrap().gap.unwrap();
    assert_eq!(gap, Gap { instance: "gate.0".into(), reason: GapReason::Crash, ranges, count: 9 });
    assert!(memory.report(None).is_whole());
}

#[test]
fn requests_open_at_the_deadline_are_a_gap() {
    let memory = Memory::new();
    let (queue, thread, counts) = start(&memory, quick());
    let open = slot(&queue);
    let sent = slot(&queue);
    let seq = open.seq().unwrap();
    sent.send(event(0));
    // It may come back before the last commit is done: how long that takes is the disk's affair.
    thread.shutdown(Instant::now() + Duration::from_millis(30));
    eventually("the last commit", || memory.0.closed_at.load(SeqCst) != 0);
    open.send(event(1));
    assert_eq!(counts.lost.load(SeqCst), 1);
    let (ids, _, gaps) = memory.sorted_out();
    assert_eq!(ids, ["r0"]);
    assert_eq!((gaps[0].reason, gaps[0].count, gaps[0].ranges.contains(seq)), (GapReason::Shutdown, 1, true));
    assert!(memory.report(None).is_whole());
}

#[test]
fn closing_waits_for_what_is_still_open() {
    let memory = Memory::new();
    let (queue, thread, _) = start(&memory, quick());
    let open = slot(&queue);
    std::thread::scope(|scope| {
        let closing = scope.spawn(|| thread.shutdown(soon()));
        eventually("closing", || queue.slot(WhenFull::Refuse).is_err());
        open.send(event(7));
        assert_eq!(closing.join().unwrap(), Shutdown::Clean);
    });
    assert_eq!(memory.sorted_out().0, ["r7"]);
    assert!(memory.report(None).is_whole());
}

#[test]
fn a_dead_spool_ends_the_shutdown_at_its_deadline() {
    let memory = Memory::new();
    let (queue, thread, _) = start(&memory, quick());
    let waiting = slot(&queue);
    memory.0.failing.store(true, SeqCst);
    waiting.send(event(0));
    let left = thread.shutdown(Instant::now() + Duration::from_millis(20));
    assert!(matches!(left, Shutdown::Left(n) if n > 0), "{left:?}");
    assert_eq!(memory.0.closed_at.load(SeqCst), 0);
}

/// `cargo test --release -p tollgate-proxy audit::tests::cost -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn cost_of_a_slot() {
    let memory = Memory::new();
    let options = Options { capacity: 2_000_000, seq_block: 1_000_000, ..Options::default() };
    let (queue, thread, _) = start(&memory, options);
    eventually("the second block", || memory.0.block_end.load(SeqCst) > 1_000_001);
    for threads in [1u32, 2, 4] {
        let rounds = 40_000u32;
        let each = (0..rounds).map(event_of_2_kib).collect::<Vec<_>>();
        let spent: Duration = std::thread::scope(|scope| {
            let parts = each.chunks((rounds / threads) as usize).map(<[_]>::to_vec).collect::<Vec<_>>();
            let workers: Vec<_> = parts
                .into_iter()
                .map(|events| {
                    let queue = queue.clone();
                    scope.spawn(move || {
                        let started = Instant::now();
                        for event in events {
                            queue.slot(WhenFull::Refuse).unwrap().send(event);
                        }
                        started.elapsed()
                    })
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        println!("{threads} threads: slot() + send() {:.0} ns", spent.as_nanos() as f64 / f64::from(rounds));
        eventually("all committed", || queue.shared.lock().in_use() == 0);
    }
    thread.shutdown(soon());
}

fn event_of_2_kib(n: u32) -> Box<Event> {
    Box::new(Event { request_id: format!("{n:01500}").into(), ..Event::default() })
}
