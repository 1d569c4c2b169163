//! `audit verify`: follows every chain again, from the first record in the store to the last in the spool, and holds the
//! numbers against the reported gaps.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use tollgate_filters::audit::{Chain, Fault, Hash, Header, Ranges};
use tollgate_store::{AuditStore, Filter, GapRow, Progress, SpoolReader};

use super::trail::{SPOOL_PAGE, Trail};

/// Losses that a record or the sink explains; everything else among the gaps is a fault.
const EXPLAINED: [&str; 4] = ["crash", "dropped", "dropped_unnumbered", "shutdown"];

/// Fails when anything is not as it was written, or missing without a report.
pub(super) fn run(state_dir: &Path, out: &mut impl Write) -> io::Result<ExitCode> {
    let found = Findings::collect(&Trail::open(state_dir))?;
    let faults = found.print(out)?;
    if faults == 0 {
        writeln!(out, "ok")?;
        Ok(ExitCode::SUCCESS)
    } else {
        writeln!(out, "{faults} faults")?;
        Ok(ExitCode::FAILURE)
    }
}

#[derive(Default)]
struct Findings {
    instances: BTreeMap<String, Instance>,
    gaps: Vec<GapRow>,
}

#[derive(Default)]
struct Instance {
    chain: Chain,
    faults: Vec<Fault>,
    /// As the sink remembers it, if it is not the end that was found.
    contradicted: Option<Progress>,
    ended: bool,
    waiting: u64,
}

impl Findings {
    fn collect(trail: &Trail) -> io::Result<Findings> {
        let mut found = Findings::default();
        let mut store = trail.store()?;
        let mut after = 0;
        if let Some(store) = &mut store {
            // The position first: the store may grow meanwhile, and never shrinks.
            let progress = store.instances().map_err(io::Error::other)?;
            found.follow_store(store, &mut after)?;
            for (name, progress) in progress {
                let instance = found.instances.entry(name).or_default();
                instance.ended = progress.ended;
                let cut = instance.chain.records < progress.chain.records;
                let other = instance.chain.records == progress.chain.records
                    && instance.chain.head != progress.chain.head;
                if cut || other {
                    instance.contradicted = Some(progress);
                }
            }
        }
        for (_, reader) in trail.spools()? {
            found.follow_spool(reader, store.as_mut(), &mut after)?;
        }
        if let Some(store) = &mut store {
            found.gaps = store.gaps().map_err(io::Error::other)?;
        }
        Ok(found)
    }

    /// What arrived after place `after`.
    fn follow_store(&mut self, store: &mut AuditStore, after: &mut i64) -> io::Result<()> {
        loop {
            let page = store.after(*after, &Filter::default(), PAGE).map_err(io::Error::other)?;
            let Some(last) = page.last() else { return Ok(()) };
            *after = last.id;
            for record in page {
                let instance = self.instances.entry(record.instance.clone()).or_default();
                instance.follow(&record.instance, [record.event.as_bytes()].into_iter());
            }
        }
    }

    fn follow_spool(
        &mut self,
        mut reader: SpoolReader,
        mut store: Option<&mut AuditStore>,
        stored: &mut i64,
    ) -> io::Result<()> {
        let Ok(state) = reader.state() else { return Ok(()) };
        let mut after = 0;
        // It ends, too, where the folder was drained and deleted meanwhile, or a batch is damaged: the sink reports that.
        while let Ok(Ok(batches)) = reader.batches(after, SPOOL_PAGE)
            && let Some(last) = batches.last()
        {
            after = last.id;
            for batch in &batches {
                let fits = |found: &Findings| {
                    let head = found.instances.get(&state.instance).map_or(Hash::GENESIS, |it| it.chain.head);
                    batch
                        .records()
                        .next()
                        .and_then(|first| Header::read(first).ok())
                        .is_some_and(|first| first.prev == head)
                };
                if !fits(self)
                    && let Some(store) = store.as_deref_mut()
                {
                    // Perhaps those between were moved since.
                    self.follow_store(store, stored)?;
                }
                let fits = fits(self);
                let instance = self.instances.entry(state.instance.clone()).or_default();
                let moved = batch.records().next().is_some_and(|first| instance.has(first));
                if fits || !moved {
                    instance.follow(&state.instance, batch.records());
                    instance.waiting += batch.len() as u64;
                }
            }
        }
        Ok(())
    }

    /// Returns the number of faults.
    fn print(&self, out: &mut impl Write) -> io::Result<u64> {
        let mut faults = 0;
        for (name, instance) in &self.instances {
            let (explained, unexplained): (Vec<&GapRow>, Vec<&GapRow>) = self
                .gaps
                .iter()
                .filter(|gap| gap.instance == *name)
                .partition(|gap| EXPLAINED.contains(&gap.reason.as_str()));
            let state = match (instance.ended, instance.chain.stopped) {
                (_, true) => "stopped",
                (true, false) => "crashed",
                (false, false) => "running",
            };
            writeln!(
                out,
                "{name}: {state}, {} records, numbers up to {}{}",
                instance.chain.records,
                instance.chain.last(),
                if instance.waiting > 0 {
                    format!(", {} still in the spool", instance.waiting)
                } else {
                    String::new()
                }
            )?;
            let mut reported = Ranges::new();
            for gap in explained {
                reported.insert_range(gap.from_seq, gap.to_seq);
                writeln!(out, "  reported: {}", describe(gap))?;
            }
            for gap in unexplained {
                faults += 1;
                reported.insert_range(gap.from_seq, gap.to_seq);
                writeln!(out, "  FAULT, found by the sink: {}", describe(gap))?;
            }
            faults += instance.print_faults(&reported, out)?;
        }
        Ok(faults)
    }
}

impl Instance {
    fn has(&self, record: &[u8]) -> bool {
        Header::read(record).is_ok_and(|header| self.chain.seen.contains(header.seq))
    }

    fn follow<'a>(&mut self, name: &str, records: impl Iterator<Item = &'a [u8]>) {
        for bytes in records {
            self.faults.extend(self.chain.follow(name, bytes));
        }
    }

    fn print_faults(&self, reported: &Ranges, out: &mut impl Write) -> io::Result<u64> {
        let mut count = 0;
        for fault in &self.faults {
            count += 1;
            let what = match fault {
                Fault::BrokenLink { seq } => {
                    format!("the record before number {seq} is not the one it was chained to")
                }
                Fault::DuplicateSeq { seq } => format!("number {seq} is there twice"),
                Fault::ForeignInstance { seq } => format!("number {seq} belongs to another instance"),
                Fault::Unreadable { position } => format!("record {position} cannot be read"),
            };
            writeln!(out, "  FAULT: {what}")?;
        }
        if let Some(progress) = &self.contradicted {
            count += 1;
            writeln!(
                out,
                "  FAULT: the sink stored {} records up to {}; they are not the ones that are there",
                progress.chain.records, progress.chain.head
            )?;
        }
        let missing = self.chain.unaccounted(self.chain.last()).without(reported);
        if !missing.is_empty() {
            // While it runs, these are requests in flight; once it has ended there are none.
            let over = self.ended || self.chain.stopped;
            count += u64::from(over);
            let word = if over { "FAULT: missing without a report" } else { "in flight" };
            writeln!(out, "  {word}: {missing}")?;
        }
        Ok(count)
    }
}

fn describe(gap: &GapRow) -> String {
    let GapRow { from_seq, to_seq, reason, count, .. } = gap;
    match (from_seq == to_seq, count) {
        (true, 0) => format!("{reason} at {from_seq}"),
        (true, 1) => format!("{reason} {from_seq}"),
        (true, _) => format!("{reason}, told by {from_seq}: {count} requests"),
        (false, _) => format!("{reason} {from_seq}-{to_seq}: {count} requests at most"),
    }
}

const PAGE: u32 = 2_000;
