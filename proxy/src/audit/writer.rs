//! The audit thread: seals what was sent, in the order in which it is committed, and keeps trying until the spool has it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use tollgate_filters::audit::{
    CodeCount, Gap, GapReason, Hash, Kind, Notice, Ranges, Refusals, Seal, Sealed, Timestamp, event_id,
    seal_event, seal_notice,
};
use tollgate_filters::verdict::Code;

use super::queue::{Drops, Item, Phase, Shared, What};
use super::{AuditMetrics, AuditQueue, Options, Spool, SpoolError};

/// The audit thread's handle. Dropped without [`shutdown`](AuditThread::shutdown), the thread runs on: that is a crash's twin,
/// and its open block will be reported as abandoned.
pub struct AuditThread {
    shared: Arc<Shared>,
    ended: Receiver<Shutdown>,
}

/// How the audit trail ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Everything is durable and the block is closed.
    Clean,
    /// The spool did not take so many records before the deadline. The next start reports their numbers.
    Left(usize),
}

impl AuditQueue {
    /// Takes the first block and starts the audit thread.
    pub fn start(
        mut spool: Box<dyn Spool>,
        options: Options,
        metrics: Arc<dyn AuditMetrics>,
    ) -> Result<(AuditQueue, AuditThread), SpoolError> {
        let block = spool.take_block(options.seq_block)?;
        let queue = AuditQueue::new(options, metrics, block.clone());
        let writer = Writer {
            shared: Arc::clone(&queue.shared),
            identity: spool.identity().to_owned(),
            spool,
            first: block.start,
            head: Hash::GENESIS,
            accounted: Ranges::new(),
            pending: VecDeque::new(),
            failing: None,
            notices_from: Instant::now(),
        };
        let (end, ended) = sync_channel(1);
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run(&end))
            .map_err(|error| SpoolError(Box::new(error)))?;
        let thread = AuditThread { shared: Arc::clone(&queue.shared), ended };
        Ok((queue, thread))
    }
}

impl AuditThread {
    /// Gives out no more slots, waits for the open ones, commits everything and closes the block; all of it until `deadline`.
    /// Returns then at the latest, even if the spool hangs.
    pub fn shutdown(self, deadline: Instant) -> Shutdown {
        self.shared.close(Phase::Closing(deadline));
        let patience = deadline.saturating_duration_since(Instant::now()) + LAST_COMMIT;
        self.ended.recv_timeout(patience).unwrap_or_else(|_| Shutdown::Left(self.shared.lock().in_use()))
    }
}

/// A group that becomes durable together.
#[derive(Default)]
struct Batch {
    records: Vec<Sealed>,
    bytes: usize,
    /// Places that its commit gives back.
    places: usize,
    refusals: usize,
    /// An append of it failed, perhaps only in its answer: it must stay as it is.
    tried: bool,
}

impl Batch {
    fn account(&self, numbers: &mut Ranges) {
        for record in &self.records {
            numbers.insert(record.seq);
            numbers.extend(&record.declares);
        }
    }
}

struct Writer {
    shared: Arc<Shared>,
    spool: Box<dyn Spool>,
    identity: String,
    first: u64,
    /// Hash of the last sealed record: sealed is chained, whatever becomes of the commit, because commits keep the order.
    head: Hash,
    /// Numbers whose record, or a notice of them, is committed.
    accounted: Ranges,
    /// Sealed, not yet committed, in order.
    pending: VecDeque<Batch>,
    failing: Option<Failing>,
    notices_from: Instant,
}

/// The spool fails since, and next time waits so long.
struct Failing {
    doing: &'static str,
    since: Instant,
    backoff: Duration,
}

impl Writer {
    fn run(mut self, end: &SyncSender<Shutdown>) {
        // Whatever ends this thread, a panic too: slots are refused from then on instead of waiting for nobody.
        let _closed = CloseOnExit(Arc::clone(&self.shared));
        self.report_abandoned();
        let deadline = loop {
            if let Phase::Closing(deadline) = self.commit_pending() {
                break deadline;
            }
            self.refill();
            self.seal_next();
        };
        let outcome = self.finish(deadline);
        // The receiver may have given up waiting.
        let _ = end.try_send(outcome);
    }

    /// Records about earlier generations come first in the chain.
    fn report_abandoned(&mut self) {
        let abandoned = self.spool.abandoned();
        if abandoned.is_empty() {
            return;
        }
        for earlier in abandoned {
            let count = earlier.ranges.count();
            tracing::warn!(
                instance = earlier.instance,
                numbers = %Brief(&earlier.ranges),
                "audit: an earlier run ended without closing its block; at most {count} events are lost"
            );
            self.seal_gap(&earlier.instance, GapReason::Crash, earlier.ranges, 0);
        }
        self.commit_pending();
        if self.pending.is_empty()
            && let Err(error) = self.spool.abandoned_reported()
        {
            // They are reported again at the next start; a report twice does no harm.
            tracing::warn!(%error, "audit: could not mark earlier gaps as reported");
        }
    }

    /// Takes the next block before the last number of this one is used.
    fn refill(&mut self) {
        if !self.shared.lock().wants_block() {
            return;
        }
        match self.spool.take_block(self.shared.options.seq_block) {
            Ok(block) => {
                self.recovered(NUMBERS);
                self.shared.lock().reserve = Some(block);
            }
            Err(error) => {
                let until = self.failed(&error, NUMBERS);
                self.shared.pause(until);
            }
        }
    }

    fn seal_next(&mut self) {
        let mut state = self.shared.gather(self.notices_from);
        let items = std::mem::take(&mut state.items);
        state.items.reserve(self.shared.options.commit_events);
        let due = state.wants_notice() && Instant::now() >= self.notices_from;
        let notices = due.then(|| (std::mem::take(&mut state.drops), std::mem::take(&mut state.refusals)));
        drop(state);
        for item in items {
            self.seal_item(item);
        }
        if let Some((drops, refusals)) = notices {
            self.notices_from = Instant::now() + self.shared.options.notice_interval;
            self.seal_notices(drops, refusals);
        }
    }

    fn seal_item(&mut self, item: Item) {
        let Item { seq, refusal, what } = item;
        let record = match what {
            What::Event(event) => seal_event(self.seal(seq, event.ts), &event),
            What::Lost(ts) => seal_notice(self.seal(seq, ts), Kind::Lost, &Notice::bare(ts)),
        };
        let batch = self.push(record);
        batch.places += 1;
        batch.refusals += usize::from(refusal);
    }

    fn seal_notices(&mut self, drops: Drops, refusals: BTreeMap<Code, u64>) {
        if drops.unnumbered > 0 || !drops.numbered.is_empty() {
            let identity = self.identity.clone();
            self.seal_gap(&identity, GapReason::Dropped, drops.numbered, drops.unnumbered);
        }
        if !refusals.is_empty() {
            let counts = refusals
                .into_iter()
                .map(|(code, count)| CodeCount { code: code.row().name.into(), count })
                .collect();
            let ts = now();
            self.seal_notice(Kind::Refusals, &Notice::refusals(ts, Refusals { counts }));
        }
    }

    /// One gap record, or several where there are too many ranges for one.
    fn seal_gap(&mut self, instance: &str, reason: GapReason, mut ranges: Ranges, unnumbered: u64) {
        let mut unnumbered = Some(unnumbered);
        while let Some(extra) = unnumbered.take() {
            let rest = ranges.split_off(MAX_GAP_PIECES);
            let count = ranges.count().saturating_add(extra);
            let gap = Gap { instance: instance.to_owned(), reason, ranges, count };
            self.seal_notice(Kind::Gap, &Notice::gap(now(), gap));
            ranges = rest;
            unnumbered = (!ranges.is_empty()).then_some(0);
        }
    }

    /// A notice takes the next number. Without one (the spool gives no block) it is left out: then no event is written either,
    /// and the hole it would have told of shows in the verification.
    fn seal_notice(&mut self, kind: Kind, notice: &Notice) {
        let Some(seq) = self.own_seq() else {
            tracing::error!(kind = kind.as_str(), "audit: no number left for a notice");
            return;
        };
        let record = seal_notice(self.seal(seq, notice.ts), kind, notice);
        self.push(record);
    }

    fn own_seq(&mut self) -> Option<u64> {
        if let Some(seq) = self.shared.lock().take_seq() {
            return Some(seq);
        }
        let block = self.spool.take_block(self.shared.options.seq_block).ok()?;
        let mut state = self.shared.lock();
        state.reserve = Some(block);
        state.take_seq()
    }

    fn seal(&self, seq: u64, ts: Timestamp) -> Seal<'_> {
        Seal { event_id: event_id(ts, rand::random()), instance: &self.identity, seq, prev: self.head }
    }

    fn push(&mut self, record: Sealed) -> &mut Batch {
        self.head = record.hash;
        let full = |batch: &Batch| {
            batch.tried || batch.records.len() >= MAX_BATCH_RECORDS || batch.bytes >= MAX_BATCH_BYTES
        };
        if self.pending.back().is_none_or(full) {
            self.pending.push_back(Batch::default());
        }
        let batch = self.pending.back_mut().expect("one was just put there if there was none");
        batch.bytes += record.bytes.len();
        batch.records.push(record);
        batch
    }

    /// Until all is committed, or the process closes and the first try from then on failed.
    fn commit_pending(&mut self) -> Phase {
        while let Some(batch) = self.pending.front_mut() {
            batch.tried = true;
            let started = Instant::now();
            match self.spool.append(&batch.records) {
                Ok(()) => self.committed(started.elapsed()),
                Err(error) => {
                    let until = self.failed(&error, EVENTS);
                    let phase = self.shared.pause(until);
                    if phase != Phase::Open {
                        return phase;
                    }
                }
            }
        }
        self.shared.lock().phase
    }

    fn committed(&mut self, took: Duration) {
        self.recovered(EVENTS);
        let Some(batch) = self.pending.pop_front() else { return };
        batch.account(&mut self.accounted);
        self.shared.release(batch.places, batch.refusals);
        self.shared.metrics.committed(batch.records.len(), batch.bytes, took);
    }

    /// Returns when to try again.
    fn failed(&mut self, error: &SpoolError, doing: &'static str) -> Instant {
        self.shared.metrics.spool_failed();
        let failing = self.failing.get_or_insert_with(|| {
            tracing::error!(%error, doing, "audit: the spool fails");
            Failing { doing, since: Instant::now(), backoff: FIRST_BACKOFF }
        });
        let until = Instant::now() + failing.backoff;
        failing.backoff = (failing.backoff * 2).min(LAST_BACKOFF);
        until
    }

    fn recovered(&mut self, doing: &str) {
        if let Some(failing) = self.failing.take_if(|failing| failing.doing == doing) {
            tracing::info!(after_ms = failing.since.elapsed().as_millis(), "audit: the spool works again");
        }
    }

    /// From the start of closing to the closed block, or to the deadline.
    fn finish(&mut self, deadline: Instant) -> Shutdown {
        loop {
            let mut state = self.shared.gather_last(deadline);
            let items = std::mem::take(&mut state.items);
            let over = state.open_slots() == 0 || Instant::now() >= deadline;
            if over {
                state.phase = Phase::Closed;
            }
            let notices =
                over.then(|| (std::mem::take(&mut state.drops), std::mem::take(&mut state.refusals)));
            drop(state);
            for item in items {
                self.seal_item(item);
            }
            if let Some((drops, refusals)) = notices {
                self.seal_notices(drops, refusals);
                break;
            }
            self.commit_until(deadline);
        }
        self.seal_open_as_gap();
        self.seal_notice(Kind::Stopped, &Notice::bare(now()));
        if !self.commit_until(deadline) {
            return Shutdown::Left(self.pending.iter().map(|batch| batch.records.len()).sum());
        }
        let next = self.shared.lock().next_seq();
        match self.spool.close(next) {
            Ok(()) => Shutdown::Clean,
            Err(error) => {
                tracing::error!(%error, "audit: could not close the block; the next start will report a gap");
                Shutdown::Left(0)
            }
        }
    }

    /// Requests that are still open now will have no event.
    fn seal_open_as_gap(&mut self) {
        let mut accounted = self.accounted.clone();
        for batch in &self.pending {
            batch.account(&mut accounted);
        }
        let next = self.shared.lock().next_seq();
        let open = accounted.missing(self.first, next.saturating_sub(1));
        if !open.is_empty() {
            let identity = self.identity.clone();
            self.seal_gap(&identity, GapReason::Shutdown, open, 0);
        }
    }

    /// At least one try; then again and again until the deadline.
    fn commit_until(&mut self, deadline: Instant) -> bool {
        while let Some(batch) = self.pending.front_mut() {
            batch.tried = true;
            let started = Instant::now();
            match self.spool.append(&batch.records) {
                Ok(()) => self.committed(started.elapsed()),
                Err(error) => {
                    let until = self.failed(&error, EVENTS);
                    if Instant::now() >= deadline {
                        return false;
                    }
                    std::thread::sleep(until.min(deadline).saturating_duration_since(Instant::now()));
                }
            }
        }
        true
    }
}

struct CloseOnExit(Arc<Shared>);

impl Drop for CloseOnExit {
    fn drop(&mut self) {
        self.0.close(Phase::Closed);
    }
}

/// The first ranges of many, for a log line.
struct Brief<'a>(&'a Ranges);

impl std::fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = self.0.clone();
        let rest = shown.split_off(8);
        write!(f, "{shown}")?;
        if rest.is_empty() { Ok(()) } else { write!(f, " and {} more ranges", rest.pieces()) }
    }
}

fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

/// One spool row: large enough to compress well, small enough to read back whole.
const MAX_BATCH_RECORDS: usize = 4096;
const MAX_BATCH_BYTES: usize = 8 << 20;

/// Ranges in one gap record.
const MAX_GAP_PIECES: usize = 4096;

/// What a failing spool keeps from being done, in the log.
const NUMBERS: &str = "taking numbers";
const EVENTS: &str = "writing events";

const FIRST_BACKOFF: Duration = Duration::from_millis(20);
const LAST_BACKOFF: Duration = Duration::from_secs(1);

/// What `shutdown` waits past its deadline for the commit that is under way then.
const LAST_COMMIT: Duration = Duration::from_millis(500);
