use tempfile::TempDir;
use tollgate_filters::audit::{
    Event, Gap, GapReason, Hash, Kind, Notice, Seal, Timestamp, event_id, seal_event, seal_notice,
};

use super::*;

fn open(state: &TempDir) -> Spool {
    Spool::open(&SpoolOptions::new(state.path())).unwrap()
}

/// Records of these numbers with texts of that length, chained.
fn records(instance: &str, prev: &mut Hash, seqs: Range<u64>, length: usize) -> Vec<Sealed> {
    seqs.map(|seq| {
        let id = event_id(Timestamp::from_micros(1), rand::random());
        // Not compressible.
        let text: String = (0..length)
            .map(|_| char::from(b'!' + rand::random_range(0..90u8)).to_ascii_lowercase())
            .collect();
        let event = Event { request_id: text.into(), ..Event::default() };
        let sealed = seal_event(Seal { event_id: id, instance, seq, prev: *prev }, &event);
        *prev = sealed.hash;
        sealed
    })
    .collect()
}

fn waiting(reader: &mut SpoolReader) -> Vec<Vec<u8>> {
    let batches = reader.batches(0, usize::MAX).unwrap().unwrap();
    batches.iter().flat_map(Batch::records).map(<[u8]>::to_vec).collect()
}

#[test]
fn what_is_appended_is_read_back_until_it_is_acknowledged() {
    let state = tempfile::tempdir().unwrap();
    let mut spool = open(&state);
    assert_eq!(spool.take_block(100).unwrap(), 1..101);
    assert_eq!(spool.take_block(50).unwrap(), 101..151);
    let mut prev = Hash::GENESIS;
    let first = records(spool.identity(), &mut prev, 1..4, 10);
    let second = records(spool.identity(), &mut prev, 4..6, 10);
    spool.append(&first).unwrap();
    spool.append(&second).unwrap();
    let mut reader = SpoolReader::open(state.path(), spool.generation()).unwrap();
    let all: Vec<_> = first.iter().chain(&second).map(|record| record.bytes.clone()).collect();
    assert_eq!(waiting(&mut reader), all);
    assert_eq!(reader.batches(0, 1).unwrap().unwrap().len(), 1);
    assert_eq!(reader.batches(0, 4).unwrap().unwrap().len(), 2);
    reader.acknowledge(1).unwrap();
    assert_eq!(waiting(&mut reader), all[3..]);
    let state = reader.state().unwrap();
    assert_eq!((state.block_end, state.waiting, state.closed), (151, 1, false));
    assert_eq!(state.unaccounted(), Ranges::try_from(vec![(6, 150)]).unwrap());
}

#[test]
fn an_append_repeated_after_a_lost_answer_is_stored_once() {
    let state = tempfile::tempdir().unwrap();
    let mut spool = open(&state);
    let batch = records(spool.identity(), &mut Hash::GENESIS.clone(), 1..3, 10);
    spool.append(&batch).unwrap();
    // As if the answer had been an error.
    spool.next_batch -= 1;
    spool.append(&batch).unwrap();
    let mut reader = SpoolReader::open_read_only(state.path(), spool.generation()).unwrap();
    assert_eq!(waiting(&mut reader).len(), 2);
}

#[test]
fn a_crash_abandons_what_nothing_accounts_for_and_a_clean_stop_nothing() {
    let state = tempfile::tempdir().unwrap();
    let mut spool = open(&state);
    let (crashed, identity) = (spool.generation(), spool.identity().to_owned());
    spool.take_block(10).unwrap();
    let mut prev = Hash::GENESIS;
    spool.append(&records(&identity, &mut prev, 1..3, 10)).unwrap();
    // 5 was dropped and a notice with number 6 says so; 3, 4 and 7 to 10 were never written. 1 and 2 are moved already.
    let gap = Gap {
        instance: identity.clone(),
        reason: GapReason::Dropped,
        ranges: Ranges::try_from(vec![(5, 5)]).unwrap(),
        count: 1,
    };
    let seal = Seal { event_id: event_id(Timestamp::default(), [0; 10]), instance: &identity, seq: 6, prev };
    let notice = seal_notice(seal, Kind::Gap, &Notice::gap(Timestamp::default(), gap));
    spool.append(&[notice]).unwrap();
    SpoolReader::open(state.path(), crashed).unwrap().acknowledge(1).unwrap();
    drop(spool);

    let mut next = open(&state);
    let abandoned =
        Abandoned { instance: identity, ranges: Ranges::try_from(vec![(3, 4), (7, 10)]).unwrap() };
    assert_eq!(next.abandoned(), std::slice::from_ref(&abandoned));
    drop(next);
    // Not reported: found again, with the one between, which took no block.
    let mut again = open(&state);
    assert_eq!(again.abandoned(), [abandoned]);
    again.abandoned_reported().unwrap();
    again.take_block(10).unwrap();
    again.close(1).unwrap();
    drop(again);
    next = open(&state);
    assert!(next.abandoned().is_empty());
    assert_eq!(next.generation(), crashed + 3);
}

#[test]
fn a_full_spool_says_so_and_goes_on_when_there_is_room() {
    let state = tempfile::tempdir().unwrap();
    let options = SpoolOptions { max_bytes: 256 << 10, ..SpoolOptions::new(state.path()) };
    let mut spool = Spool::open(&options).unwrap();
    let mut prev = Hash::GENESIS;
    let mut stored = 0;
    let refused = loop {
        let batch = records(spool.identity(), &mut prev, stored * 10 + 1..stored * 10 + 11, 2000);
        match spool.append(&batch) {
            Ok(()) => stored += 1,
            Err(StoreError::Full { .. }) => break batch,
            Err(other) => panic!("{other}"),
        }
        assert!(stored < 100, "never full");
    };
    let mut reader = SpoolReader::open(state.path(), spool.generation()).unwrap();
    assert_eq!(waiting(&mut reader).len() as u64, stored * 10);
    assert!(matches!(spool.append(&refused), Err(StoreError::Full { .. })));
    reader.acknowledge(stored / 2).unwrap();
    spool.append(&refused).unwrap();
    assert_eq!(waiting(&mut reader).last(), refused.last().map(|record| &record.bytes));
}

#[test]
fn a_held_generation_cannot_be_claimed_and_a_free_one_once() {
    let state = tempfile::tempdir().unwrap();
    let first = open(&state);
    let second = open(&state);
    assert_eq!(generations(state.path()).unwrap(), [1, 2]);
    assert_eq!(first.identity().rsplit_once('.').unwrap().0, second.identity().rsplit_once('.').unwrap().0);
    assert!(second.abandoned().is_empty(), "its owner lives");
    assert!(claim(state.path(), 1).unwrap().is_none());
    drop(first);
    let claimed = claim(state.path(), 1).unwrap().unwrap();
    assert!(claim(state.path(), 1).unwrap().is_none());
    claimed.remove().unwrap();
    assert_eq!(generations(state.path()).unwrap(), [2]);
    drop(second);
    claim(state.path(), 2).unwrap().unwrap().remove().unwrap();
    // All folders are gone; the number still grows.
    assert_eq!(open(&state).generation(), 3);
}

#[test]
fn a_start_that_died_early_leaves_nothing_to_report() {
    let state = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(state.path().join("spool/1")).unwrap();
    std::fs::create_dir_all(state.path().join("spool/2")).unwrap();
    std::fs::write(state.path().join("spool/2/spool.db"), "").unwrap();
    let spool = open(&state);
    assert_eq!((spool.generation(), spool.abandoned().len()), (3, 0));
    assert_eq!(generations(state.path()).unwrap(), [2, 3]);
}

#[test]
fn a_configured_name_on_a_new_state_directory_never_repeats_an_identity() {
    let state = tempfile::tempdir().unwrap();
    let options = SpoolOptions { instance: Some("gate-0".to_owned()), ..SpoolOptions::new(state.path()) };
    let first = Spool::open(&options).unwrap().identity().to_owned();
    let generation: u64 = first.strip_prefix("gate-0.").unwrap().parse().unwrap();
    assert!(generation > 1_700_000_000);
    assert_eq!(Spool::open(&options).unwrap().generation(), generation + 1);
}

#[test]
fn a_damaged_batch_is_put_aside() {
    let state = tempfile::tempdir().unwrap();
    let mut spool = open(&state);
    let mut prev = Hash::GENESIS;
    for seq in [1, 3, 5] {
        spool.append(&records(spool.identity(), &mut prev, seq..seq + 2, 10)).unwrap();
    }
    spool
        .database
        .run(async |connection| {
            sqlx::query("UPDATE batches SET data = x'00' WHERE id = 2").execute(connection).await
        })
        .unwrap();
    let mut reader = SpoolReader::open(state.path(), spool.generation()).unwrap();
    assert_eq!(reader.batches(0, 100).unwrap().unwrap().len(), 1);
    let damaged = reader.batches(1, 100).unwrap().unwrap_err();
    assert_eq!((damaged.id, damaged.numbers), (2, Ranges::try_from(vec![(3, 4)]).unwrap()));
    reader.acknowledge(1).unwrap();
    reader.put_aside(2).unwrap();
    assert_eq!(reader.batches(2, 100).unwrap().unwrap().len(), 1);
    let state = reader.state().unwrap();
    assert_eq!((state.damaged, state.waiting), (1, 1));
}

#[test]
fn rows_that_lie_are_refused() {
    let mut encoder = codec::Encoder::new();
    let (data, raw_bytes) = encoder.encode([b"one".as_slice(), b"", b"three"].into_iter()).unwrap();
    assert_eq!(codec::decode(&data, raw_bytes, 3).unwrap().1.len(), 3);
    for (raw_bytes, events) in [(raw_bytes, 2), (raw_bytes - 1, 3), (raw_bytes + 1, 3), (usize::MAX, 3)] {
        assert!(codec::decode(&data, raw_bytes, events).is_err(), "{raw_bytes} {events}");
    }
    let short = zstd::bulk::compress(&[9, 0, 0, 0, 1], 1).unwrap();
    assert!(codec::decode(&short, 5, 1).is_err());
    let cut = zstd::bulk::compress(&[9, 0], 1).unwrap();
    assert!(codec::decode(&cut, 2, 1).is_err());
}

/// `cargo test --release -p tollgate-store cost -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn cost_of_an_append() {
    let state = tempfile::tempdir().unwrap();
    let mut spool = open(&state);
    let identity = spool.identity().to_owned();
    for (groups, group) in [(200, 50), (50, 1000)] {
        let started = std::time::Instant::now();
        let mut sealing = Duration::ZERO;
        let mut bytes = 0;
        for round in 0..groups {
            let begun = std::time::Instant::now();
            let mut prev = Hash::GENESIS;
            let batch: Vec<Sealed> = (0..group)
                .map(|n| {
                    let seq = round * group + n;
                    let id = event_id(Timestamp::from_micros(1), rand::random());
                    let sealed =
                        seal_event(Seal { event_id: id, instance: &identity, seq, prev }, &realistic(seq));
                    prev = sealed.hash;
                    bytes += sealed.bytes.len();
                    sealed
                })
                .collect();
            sealing += begun.elapsed();
            spool.append(&batch).unwrap();
        }
        let events = (groups * group) as f64;
        let total = started.elapsed();
        println!(
            "{groups} groups of {group}: {:.0} bytes per event, {:.2} us per event ({:.2} making and sealing), {:.0} events/s",
            bytes as f64 / events,
            total.as_micros() as f64 / events,
            sealing.as_micros() as f64 / events,
            events / total.as_secs_f64()
        );
    }
}

/// About 2 KB, with text that is not the same in every event.
fn realistic(n: u64) -> Event {
    use tollgate_filters::audit::{Content, ContentForm, ContentText};
    let words =
        ["gateway", "token", "please", "summarise", "invoice", "Berlin", "and", "the", "of", "[EMAIL_1]"];
    let text = |length: usize| {
        let mut text = String::new();
        while text.len() < length {
            text.push_str(words[rand::random_range(0..words.len())]);
            text.push(' ');
            text.push_str(&format!("{:x} ", rand::random::<u16>()));
        }
        text
    };
    let content = |length| {
        Some(Content {
            form: ContentForm::Redacted,
            texts: vec![ContentText {
                location: "messages[0].content".into(),
                text: text(length),
                cut_from: None,
            }],
        })
    };
    Event {
        ts: Timestamp::from_micros(1_764_000_000_000_000 + n as i64),
        request_id: format!("req-{n:032x}").into(),
        org: Some("acme".into()),
        app: Some("chat".into()),
        user: Some("alice".into()),
        key_id: Some("dev".into()),
        api: Some("chat".into()),
        model: Some("mistral-7b".into()),
        model_requested: Some("mistral-7b".into()),
        provider: Some("gpu".into()),
        target: Some("gpu/10.0.0.1:8000".into()),
        prompt: content(800),
        response: content(500),
        ..Event::default()
    }
}
