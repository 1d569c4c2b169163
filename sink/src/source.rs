//! One instance generation on its way from its spool into the store.

use std::path::Path;
use std::time::SystemTime;

use tollgate_filters::audit::{Chain, Fault, GapReason, Hash, Header, Ranges, Timestamp};
use tollgate_store::{
    AuditStore, Batch, Claimed, Damaged, GapRow, Moved, Progress, SpoolReader, StoreError, claim,
};

use crate::Observer;

/// Where a generation's batches are read.
pub(crate) struct Source {
    reader: SpoolReader,
    instance: String,
    /// Its owner is gone, and nobody else can take it: its holes are final. None: this process writes it.
    claimed: Option<Claimed>,
    /// As the store has it; None after an error, then it is read again.
    progress: Option<Progress>,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many records were moved or put aside; there may be more.
    Moved(usize),
    /// Nothing is waiting.
    Empty,
}

impl Source {
    /// The generation that this process writes.
    pub(crate) fn own(state_dir: &Path, generation: u64) -> Result<Source, StoreError> {
        Source::new(SpoolReader::open(state_dir, generation)?, None)
    }

    /// An older one, if its owner is gone and there is anything to it.
    pub(crate) fn orphan(state_dir: &Path, generation: u64) -> Result<Option<Source>, StoreError> {
        let Some(claimed) = claim(state_dir, generation)? else { return Ok(None) };
        let source = Source::new(claimed.reader()?, Some(claimed))?;
        if source.instance.is_empty() {
            // Its owner died before it wrote a word.
            source.remove()?;
            return Ok(None);
        }
        Ok(Some(source))
    }

    fn new(mut reader: SpoolReader, claimed: Option<Claimed>) -> Result<Source, StoreError> {
        let instance = reader.state()?.instance;
        Ok(Source { reader, instance, claimed, progress: None })
    }

    /// Moves the next batches, up to about `events` records.
    pub(crate) fn step(
        &mut self,
        store: &mut AuditStore,
        events: usize,
        observer: &dyn Observer,
    ) -> Result<Step, StoreError> {
        let progress = match self.progress.take() {
            Some(progress) => progress,
            None => store.progress(&self.instance)?,
        };
        // From the first that is there: an acknowledgement may have been lost.
        match self.reader.batches(0, events)? {
            Ok(batches) if batches.is_empty() => {
                self.progress = Some(progress);
                Ok(Step::Empty)
            }
            Ok(mut batches) => {
                let records = batches.iter().map(Batch::len).sum();
                let new = batches.partition_point(|batch| batch.id <= progress.last_batch);
                let new = batches.split_off(new);
                if !batches.is_empty() {
                    self.replay(store, &progress, &batches, observer)?;
                }
                if !new.is_empty() {
                    self.move_new(store, &progress, &new, observer)?;
                }
                Ok(Step::Moved(records))
            }
            Err(damaged) => {
                self.put_aside(store, &progress, &damaged, observer)?;
                Ok(Step::Moved(events))
            }
        }
    }

    /// These were stored, only their acknowledgement was lost. If any record is new after all, somebody used this identity before.
    fn replay(
        &mut self,
        store: &mut AuditStore,
        progress: &Progress,
        batches: &[Batch],
        observer: &dyn Observer,
    ) -> Result<(), StoreError> {
        let records: Vec<&[u8]> = batches.iter().flat_map(Batch::records).collect();
        let last = batches.last().map_or(0, |batch| batch.id);
        let mut moved = self.moved(progress, &progress.chain, progress.last_batch);
        moved.records = &records;
        let inserted = store.store(&moved)?;
        if inserted > 0 {
            let gaps = [self.fault("reused_identity", last)];
            let mut moved = self.moved(progress, &progress.chain, progress.last_batch);
            moved.gaps = &gaps;
            store.store(&moved)?;
            report(observer, inserted, &gaps);
        }
        self.reader.acknowledge(last)
    }

    fn move_new(
        &mut self,
        store: &mut AuditStore,
        progress: &Progress,
        batches: &[Batch],
        observer: &dyn Observer,
    ) -> Result<(), StoreError> {
        let mut chain = progress.chain.clone();
        let (mut records, mut gaps) = (Vec::new(), Vec::new());
        let mut unreadable = false;
        let mut last = progress.last_batch;
        for batch in batches {
            last = batch.id;
            for bytes in batch.records() {
                unreadable |= self.follow(&mut chain, bytes, &mut gaps);
                records.push(bytes);
            }
            if unreadable {
                // It stays in the spool, put aside; the batches behind it are for the next step.
                break;
            }
        }
        let mut moved = self.moved(progress, &chain, last);
        moved.records = &records;
        moved.gaps = &gaps;
        let inserted = store.store(&moved)?;
        report(observer, inserted, &gaps);
        if unreadable {
            self.reader.put_aside(last)?;
        } else {
            self.reader.acknowledge(last)?;
        }
        self.progress = Some(Progress { last_batch: last, chain, ended: progress.ended });
        Ok(())
    }

    /// True when the record could not be read.
    fn follow(&self, chain: &mut Chain, bytes: &[u8], gaps: &mut Vec<GapRow>) -> bool {
        let Ok(header) = Header::read(bytes) else {
            chain.follow(&self.instance, bytes);
            gaps.push(self.fault("unreadable", chain.records));
            return true;
        };
        for fault in chain.follow_header(&self.instance, &header, Hash::of(bytes)) {
            let (reason, seq) = match fault {
                Fault::BrokenLink { seq } => ("broken_link", seq),
                Fault::DuplicateSeq { seq } => ("duplicate_seq", seq),
                Fault::ForeignInstance { seq } => ("foreign_instance", seq),
                Fault::Unreadable { position } => ("unreadable", position),
            };
            gaps.push(self.fault(reason, seq));
        }
        if let Some(gap) = &header.gap {
            gaps.extend(rows(&gap.instance, &gap.ranges, gap.reason.as_str(), &header.event_id));
            let unnumbered = gap.count.saturating_sub(gap.ranges.count());
            if unnumbered > 0 {
                gaps.push(GapRow {
                    instance: gap.instance.clone(),
                    from_seq: header.seq,
                    to_seq: header.seq,
                    reason: "dropped_unnumbered".to_owned(),
                    count: unnumbered,
                    reported_by: header.event_id.clone().into_owned(),
                });
            }
        }
        false
    }

    fn put_aside(
        &mut self,
        store: &mut AuditStore,
        progress: &Progress,
        damaged: &Damaged,
        observer: &dyn Observer,
    ) -> Result<(), StoreError> {
        tracing::error!(
            instance = self.instance,
            batch = damaged.id,
            what = damaged.what,
            "audit: a batch of the spool cannot be read; it is put aside"
        );
        let mut chain = progress.chain.clone();
        chain.declared.extend(&damaged.numbers);
        let gaps: Vec<GapRow> = rows(&self.instance, &damaged.numbers, "damaged", "sink").collect();
        let last = damaged.id.max(progress.last_batch);
        let mut moved = self.moved(progress, &chain, last);
        moved.gaps = &gaps;
        store.store(&moved)?;
        report(observer, 0, &gaps);
        self.reader.put_aside(damaged.id)?;
        self.progress = Some(Progress { last_batch: last, chain, ended: progress.ended });
        Ok(())
    }

    /// After the last batch of an orphan: its holes are final now. The folder goes once nobody needs it: stopped in good order,
    /// or the crash was reported in a later generation's chain; and nothing was put aside.
    pub(crate) fn finish(
        mut self,
        store: &mut AuditStore,
        observer: &dyn Observer,
    ) -> Result<(), StoreError> {
        let state = self.reader.state()?;
        let progress = store.progress(&self.instance)?;
        if !progress.ended {
            let reason = if state.closed { "hole" } else { GapReason::Crash.as_str() };
            let last = state.block_end.saturating_sub(1).max(progress.chain.last());
            let gaps: Vec<GapRow> =
                rows(&self.instance, &progress.chain.unaccounted(last), reason, "sink").collect();
            let mut moved = self.moved(&progress, &progress.chain, progress.last_batch);
            moved.gaps = &gaps;
            moved.ended = true;
            store.store(&moved)?;
            report(observer, 0, &gaps);
        }
        if state.waiting == 0 && state.damaged == 0 && (state.closed || state.reported) {
            self.remove()?;
        }
        Ok(())
    }

    fn remove(self) -> Result<(), StoreError> {
        drop(self.reader);
        self.claimed.map_or(Ok(()), Claimed::remove)
    }

    fn moved<'a>(&'a self, progress: &Progress, chain: &'a Chain, to_batch: u64) -> Moved<'a> {
        Moved {
            instance: &self.instance,
            from_batch: progress.last_batch,
            to_batch,
            chain,
            ended: progress.ended,
            records: &[],
            gaps: &[],
            now: Timestamp::from(SystemTime::now()),
        }
    }

    fn fault(&self, reason: &str, seq: u64) -> GapRow {
        GapRow {
            instance: self.instance.clone(),
            from_seq: seq,
            to_seq: seq,
            reason: reason.to_owned(),
            count: 0,
            reported_by: "sink".to_owned(),
        }
    }
}

fn rows(instance: &str, ranges: &Ranges, reason: &str, by: &str) -> impl Iterator<Item = GapRow> {
    ranges.iter().map(move |(from_seq, to_seq)| GapRow {
        instance: instance.to_owned(),
        from_seq,
        to_seq,
        reason: reason.to_owned(),
        count: to_seq - from_seq + 1,
        reported_by: by.to_owned(),
    })
}

fn report(observer: &dyn Observer, moved: u64, gaps: &[GapRow]) {
    if moved > 0 {
        observer.moved(moved);
    }
    for gap in gaps {
        tracing::warn!(
            instance = gap.instance,
            from = gap.from_seq,
            to = gap.to_seq,
            reason = gap.reason,
            "audit: numbers without an event, or a chain that does not fit"
        );
        observer.gap(gap);
    }
}
