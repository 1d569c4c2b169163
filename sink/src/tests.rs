use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tollgate_filters::audit::{
    Event, Gap, GapReason, Hash, Kind, Notice, Ranges, Seal, Sealed, Timestamp, event_id, seal_event,
    seal_notice,
};
use tollgate_store::{AuditStore, DATABASE_FILE, Filter, GapRow, Spool, SpoolOptions, generations};

use crate::{Drained, Mover, MoverOptions, NoObserver};

/// A writer as simple as it gets: chains what it appends.
struct Writer {
    spool: Spool,
    prev: Hash,
}

impl Writer {
    fn open(state: &Path) -> Writer {
        Writer { spool: Spool::open(&SpoolOptions::new(state)).unwrap(), prev: Hash::GENESIS }
    }

    fn seal(&mut self, seq: u64, notice: Option<&Notice>) -> Sealed {
        let id = event_id(Timestamp::from_micros(1), rand_bytes());
        let seal = Seal { event_id: id, instance: self.spool.identity(), seq, prev: self.prev };
        let sealed = match notice {
            Some(notice) => seal_notice(seal, Kind::Gap, notice),
            None => seal_event(seal, &Event { request_id: format!("r{seq}").into(), ..Event::default() }),
        };
        self.prev = sealed.hash;
        sealed
    }

    fn append(&mut self, seqs: impl IntoIterator<Item = u64>) {
        let batch: Vec<Sealed> = seqs.into_iter().map(|seq| self.seal(seq, None)).collect();
        self.spool.append(&batch).unwrap();
    }
}

fn rand_bytes() -> [u8; 10] {
    use std::hash::{BuildHasher, RandomState};
    let mut bytes = [0; 10];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = RandomState::new().hash_one(at) as u8;
    }
    bytes
}

fn drain(state: &Path, store_dir: &Path, own: Option<u64>, until: impl Fn() -> bool) -> Drained {
    let options = MoverOptions { poll: Duration::from_millis(1), events: 7, ..MoverOptions::new(state, own) };
    let store = AuditStore::open(&store_dir.join(DATABASE_FILE)).unwrap();
    let mover = Mover::start(store, options, Arc::new(NoObserver)).unwrap();
    // A shutdown leaves orphans alone.
    let deadline = Instant::now() + Duration::from_secs(20);
    while !until() {
        assert!(Instant::now() < deadline, "never came");
        std::thread::sleep(Duration::from_millis(2));
    }
    mover.shutdown(Instant::now() + Duration::from_secs(20))
}

fn requests(store: &Path) -> Vec<String> {
    let mut store = AuditStore::open_read_only(&store.join(DATABASE_FILE)).unwrap();
    let filter = Filter { kind: Some("request".into()), ..Filter::default() };
    let records = store.newest(&filter, 10_000).unwrap();
    records
        .iter()
        .map(|record| serde_json::from_str::<Event>(&record.event).unwrap().request_id.to_string())
        .collect()
}

fn gaps(store: &Path) -> Vec<GapRow> {
    AuditStore::open_read_only(&store.join(DATABASE_FILE)).unwrap().gaps().unwrap()
}

fn names(seqs: impl IntoIterator<Item = u64>) -> Vec<String> {
    seqs.into_iter().map(|seq| format!("r{seq}")).collect()
}

#[test]
fn a_clean_run_is_moved_whole_and_leaves_no_folder() {
    let state = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(state.path());
    writer.spool.take_block(30).unwrap();
    writer.append(1..=10);
    writer.append((11..=30).rev());
    writer.spool.close(31).unwrap();
    let own = writer.spool.generation();
    drop(writer);
    assert_eq!(drain(state.path(), state.path(), Some(own), || true), Drained::Empty);
    assert_eq!(requests(state.path()), names((1..=10).chain((11..=30).rev())));
    assert_eq!(gaps(state.path()), []);
    assert!(generations(state.path()).unwrap().is_empty());
}

#[test]
fn a_crash_is_reported_by_the_next_chain_and_by_the_sink_as_the_same_gaps() {
    let state = tempfile::tempdir().unwrap();
    let mut crashed = Writer::open(state.path());
    let instance = crashed.spool.identity().to_owned();
    crashed.spool.take_block(20).unwrap();
    crashed.append([1, 2, 4]);
    drop(crashed);
    // Seen by the sink first: nothing reported it in a chain yet, so the folder stays.
    assert_eq!(drain(state.path(), state.path(), None, || !gaps(state.path()).is_empty()), Drained::Empty);
    let expect = |by: &str| {
        let row = |from_seq, to_seq, count| GapRow {
            instance: instance.clone(),
            from_seq,
            to_seq,
            reason: "crash".into(),
            count,
            reported_by: by.into(),
        };
        vec![row(3, 3, 1), row(5, 20, 16)]
    };
    assert_eq!(gaps(state.path()), expect("sink"));
    assert_eq!(generations(state.path()).unwrap(), [1]);

    let mut next = Writer::open(state.path());
    next.spool.take_block(5).unwrap();
    let abandoned = next.spool.abandoned().to_vec();
    let ranges = abandoned[0].ranges.clone();
    let gap = Gap { instance: instance.clone(), reason: GapReason::Crash, count: ranges.count(), ranges };
    let record = next.seal(1, Some(&Notice::gap(Timestamp::default(), gap)));
    next.spool.append(&[record]).unwrap();
    next.spool.abandoned_reported().unwrap();
    next.spool.close(2).unwrap();
    let own = next.spool.generation();
    drop(next);
    let orphan_gone = || !generations(state.path()).unwrap().contains(&1);
    assert_eq!(drain(state.path(), state.path(), Some(own), orphan_gone), Drained::Empty);
    assert_eq!(gaps(state.path()), expect("sink"), "two accounts of the same loss are one row each");
    assert!(generations(state.path()).unwrap().is_empty());
}

#[test]
fn what_is_dropped_or_out_of_the_chain_is_a_row() {
    let state = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(state.path());
    writer.spool.take_block(10).unwrap();
    let instance = writer.spool.identity().to_owned();
    writer.append([1, 2]);
    let ranges = Ranges::try_from(vec![(3, 4)]).unwrap();
    let gap = Gap { instance: instance.clone(), reason: GapReason::Dropped, ranges, count: 7 };
    let notice = writer.seal(5, Some(&Notice::gap(Timestamp::default(), gap)));
    writer.spool.append(std::slice::from_ref(&notice)).unwrap();
    // Sealed and thrown away: a hole and a broken link.
    writer.seal(6, None);
    writer.append([7]);
    writer.spool.close(8).unwrap();
    let own = writer.spool.generation();
    drop(writer);
    drain(state.path(), state.path(), Some(own), || true);
    let found: Vec<_> = gaps(state.path())
        .into_iter()
        .map(|gap| (gap.from_seq, gap.to_seq, gap.reason, gap.count, gap.reported_by == "sink"))
        .collect();
    let expect = [
        (3, 4, "dropped".to_owned(), 2, false),
        (5, 5, "dropped_unnumbered".to_owned(), 5, false),
        (7, 7, "broken_link".to_owned(), 0, true),
        (6, 6, "hole".to_owned(), 1, true),
    ];
    assert_eq!(found, expect);
}

/// Two hosts by mistake with one name, or a state directory restored from a copy: told, and nothing is lost.
#[test]
fn a_reused_identity_loses_nothing() {
    let store = tempfile::tempdir().unwrap();
    for (host, seqs) in [(1, 1..=5), (2, 6..=9)] {
        let state: TempDir = tempfile::tempdir().unwrap();
        std::fs::write(state.path().join("instance"), "same").unwrap();
        let mut writer = Writer::open(state.path());
        assert_eq!(writer.spool.identity(), "same.1");
        writer.spool.take_block(10).unwrap();
        for seq in seqs {
            writer.append([seq]);
        }
        writer.spool.close(6).unwrap();
        drop(writer);
        assert_eq!(drain(state.path(), store.path(), Some(1), || true), Drained::Empty, "host {host}");
    }
    assert_eq!(requests(store.path()), names(1..=9));
    let reasons: Vec<_> = gaps(store.path()).into_iter().map(|gap| gap.reason).collect();
    assert!(reasons.contains(&"reused_identity".to_owned()), "{reasons:?}");
}

/// `cargo test --release -p tollgate-sink cost -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn cost_of_a_move() {
    let state = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(state.path());
    let events = 40_000u64;
    writer.spool.take_block(events).unwrap();
    let filler = "word and 4711 ".repeat(120);
    for group in 0..events / 500 {
        let batch: Vec<Sealed> = (group * 500 + 1..=(group + 1) * 500)
            .map(|seq| {
                let id = event_id(Timestamp::from_micros(seq as i64), rand_bytes());
                let event = Event {
                    request_id: format!("req-{seq:032x}").into(),
                    org: Some("acme".into()),
                    model: Some("mistral-7b".into()),
                    session_id: Some(filler.clone()),
                    ..Event::default()
                };
                let seal = Seal { event_id: id, instance: writer.spool.identity(), seq, prev: writer.prev };
                let sealed = seal_event(seal, &event);
                writer.prev = sealed.hash;
                sealed
            })
            .collect();
        writer.spool.append(&batch).unwrap();
    }
    writer.spool.close(events + 1).unwrap();
    drop(writer);
    let store = AuditStore::open(&state.path().join(DATABASE_FILE)).unwrap();
    let started = Instant::now();
    let mover = Mover::start(store, MoverOptions::new(state.path(), Some(1)), Arc::new(NoObserver)).unwrap();
    assert_eq!(mover.shutdown(Instant::now() + Duration::from_secs(300)), Drained::Empty);
    let took = started.elapsed();
    println!(
        "{events} events of 2 KB moved: {:.2} us per event, {:.0} events/s",
        took.as_micros() as f64 / events as f64,
        events as f64 / took.as_secs_f64()
    );
    assert_eq!(requests(state.path()).len(), 10_000);
}
