use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const INSTANCE: &str = "gate-1.7";

fn full_event() -> Event {
    Event {
        ts: Timestamp::from_micros(1_764_000_000_123_456),
        request_id: "req-1".into(),
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".into()),
        session_id: Some("s-9".into()),
        org: Some("acme".into()),
        app: Some("chat".into()),
        user: Some("alice".into()),
        asserted_user: Some("bob".into()),
        key_id: Some("dev".into()),
        source: Some("ide".into()),
        request_type: Some("completion".into()),
        route: Some("quant".into()),
        api: Some("chat".into()),
        model_requested: Some("mistral-7b".into()),
        model: Some("mistral-7b-lora".into()),
        provider: Some("gpu".into()),
        target: Some("gpu/10.0.0.1:8000".into()),
        region: Some("eu".into()),
        attempts: vec![
            Attempt { target: "a".into(), status: None, error: Some("connect".into()), ms: 3 },
            Attempt { target: "b".into(), status: Some(200), error: None, ms: 41 },
        ],
        stream: true,
        status: Status::Blocked,
        http_status: 200,
        code: Some("PII_DETECTED".into()),
        decisions: vec![
            Decision { limit: Some("app-rate".into()), outcome: "pass".into(), ..Decision::default() },
            Decision { rule: Some("email".into()), outcome: "mask".into(), ..Decision::default() },
            Decision { label: Some("region".into()), outcome: "pass".into(), ..Decision::default() },
        ],
        versions: Versions {
            config: Some("c1".into()),
            rules: Some("r1".into()),
            prices: Some("2026-11-01".into()),
        },
        tokens: Some(Tokens {
            input: 10,
            output: 5,
            cache_read: 4,
            cache_write: 0,
            reasoning: 2,
            estimated: true,
        }),
        cost_nano_usd: Some(1_250),
        timing_us: Timing { total: 44_000, overhead: 120, ttft: Some(12_000), queue: 0 },
        findings: vec![FindingCount {
            rule: "email".into(),
            kind: "email".into(),
            action: "mask".into(),
            location: "messages[0].content".into(),
            count: 2,
        }],
        prompt: Some(Content {
            form: ContentForm::Redacted,
            texts: vec![ContentText {
                location: "messages[0].content".into(),
                text: "write to [EMAIL_1] \"now\"".into(),
                cut_from: Some(4096),
            }],
        }),
        response: Some(Content {
            form: ContentForm::Hashed,
            texts: vec![ContentText { location: "".into(), text: "ab".repeat(32), cut_from: None }],
        }),
        client_ip: Some("192.0.2.7".parse().expect("an address")),
    }
}

fn seal(seq: u64, prev: Hash) -> Seal<'static> {
    let id = event_id(Timestamp::from_micros(1_764_000_000_123_456), [seq as u8; 10]);
    Seal { event_id: id, instance: INSTANCE, seq, prev }
}

/// A chain of records with these numbers, in this order.
fn chain_of(seqs: &[u64]) -> Vec<Sealed> {
    let mut prev = Hash::GENESIS;
    seqs.iter()
        .map(|&seq| {
            let event = Event { request_id: format!("r{seq}").into(), ..Event::default() };
            let sealed = seal_event(seal(seq, prev), &event);
            prev = sealed.hash;
            sealed
        })
        .collect()
}

fn bytes(records: &[Sealed]) -> Vec<&[u8]> {
    records.iter().map(|record| record.bytes.as_slice()).collect()
}

/// The written form is a contract: a change of this file is a new schema version.
#[test]
fn golden_event() {
    let written = seal_event(seal(42, Hash::of(b"before")), &full_event()).bytes;
    let golden = include_str!("event-v1.json");
    assert_eq!(String::from_utf8(written).unwrap(), golden.trim_end());
    let read: Event = serde_json::from_str(golden).unwrap();
    assert_eq!(read, full_event());
}

#[test]
fn golden_smallest_event() {
    let written = seal_event(seal(1, Hash::GENESIS), &Event::default()).bytes;
    assert_eq!(
        String::from_utf8(written).unwrap(),
        concat!(
            r#"{"event_id":"019ab697-e87b-7101-8101-010101010101","schema":1,"kind":"request","instance":"gate-1.7","seq":1,"#,
            r#""prev":"0000000000000000000000000000000000000000000000000000000000000000","ts":"1970-01-01T00:00:00.000000Z","#,
            r#""request_id":"","stream":false,"status":"error","http_status":0,"versions":{},"timing_us":{"total":0,"overhead":0,"queue":0}}"#
        )
    );
}

/// Every field that is written is in the schema and the other way round.
#[test]
fn the_schema_lists_exactly_the_written_fields() {
    let schema = json_schema().to_value();
    let listed: BTreeSet<&str> =
        schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    let written = seal_event(seal(1, Hash::GENESIS), &full_event()).bytes;
    let value: serde_json::Value = serde_json::from_slice(&written).unwrap();
    let fields: BTreeSet<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(listed, fields);
}

#[test]
fn header_reads_notices() {
    let gap = Gap {
        instance: "gate-1.6".into(),
        reason: GapReason::Crash,
        ranges: Ranges::try_from(vec![(5, 9), (11, 11)]).unwrap(),
        count: 6,
    };
    let notice = Notice::gap(Timestamp::from_micros(0), gap.clone());
    let sealed = seal_notice(seal(1, Hash::GENESIS), Kind::Gap, &notice);
    let header = Header::read(&sealed.bytes).unwrap();
    assert_eq!((header.kind, header.seq, header.gap), (Kind::Gap, 1, Some(gap)));
}

#[test]
fn event_ids_are_version_7_and_carry_the_time() {
    let id = event_id(Timestamp::from_micros(1_764_000_000_123_456), [0xff; 10]);
    assert_eq!(id.get_version_num(), 7);
    assert_eq!(u64::from_str_radix(&id.simple().to_string()[..12], 16).unwrap(), 1_764_000_000_123);
}

#[test]
fn timestamps_are_fixed_width_and_read_back() {
    for (micros, text) in [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1_764_000_000_000_001, "2025-11-24T16:00:00.000001Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
    ] {
        let time = Timestamp::from_micros(micros);
        assert_eq!(time.to_string(), text);
        assert_eq!(text.parse::<Timestamp>().unwrap(), time);
    }
    assert_eq!("2025-11-24T17:00:00+01:00".parse::<Timestamp>().unwrap().micros(), 1_764_000_000_000_000);
}

#[test]
fn a_whole_chain_has_no_fault() {
    let records = chain_of(&[2, 1, 5, 3, 4]);
    let report = verify(INSTANCE, bytes(&records), None);
    assert!(report.is_whole());
    assert_eq!(report.chain.records, 5);
}

#[test]
fn what_is_done_to_a_chain_shows() {
    let records = chain_of(&[1, 2, 3, 4, 5]);
    let check = |records: &[Sealed], last: Option<u64>, faults: &[Fault], unaccounted: &[(u64, u64)]| {
        let report = verify(INSTANCE, bytes(records), last);
        assert_eq!(report.faults, faults);
        assert_eq!(report.unaccounted, Ranges::try_from(unaccounted.to_vec()).unwrap());
    };
    // Taken out of the middle, off the front, off the end.
    let mut cut = records.clone();
    cut.remove(2);
    check(&cut, None, &[Fault::BrokenLink { seq: 4 }], &[(3, 3)]);
    check(&records[1..], None, &[Fault::BrokenLink { seq: 2 }], &[(1, 1)]);
    check(&records[..4], Some(5), &[], &[(5, 5)]);
    // Changed: the next link breaks.
    let mut changed = records.clone();
    let text = String::from_utf8(changed[1].bytes.clone()).unwrap();
    changed[1].bytes = text.replace("\"r2\"", "\"rX\"").into_bytes();
    check(&changed, None, &[Fault::BrokenLink { seq: 3 }], &[]);
    // Twice, exchanged, of another instance, not a record.
    let mut twice = records.clone();
    twice.insert(3, records[2].clone());
    check(&twice, None, &[Fault::BrokenLink { seq: 3 }, Fault::DuplicateSeq { seq: 3 }], &[]);
    let mut exchanged = records.clone();
    exchanged.swap(1, 2);
    let broken = |seq| Fault::BrokenLink { seq };
    check(&exchanged, None, &[broken(3), broken(2), broken(4)], &[]);
    let mut garbage = records.clone();
    garbage[2].bytes = b"{}".to_vec();
    check(&garbage, None, &[Fault::Unreadable { position: 3 }, broken(4)], &[(3, 3)]);
    let foreign = verify("other.1", bytes(&records[..1]), None);
    assert_eq!(foreign.faults, [Fault::ForeignInstance { seq: 1 }]);
}

#[test]
fn declared_gaps_are_accounted_for() {
    let ranges = Ranges::try_from(vec![(2, 3)]).unwrap();
    let first = seal_event(seal(1, Hash::GENESIS), &Event::default());
    let gap = Gap { instance: INSTANCE.into(), reason: GapReason::Dropped, ranges, count: 2 };
    let second = seal_notice(seal(4, first.hash), Kind::Gap, &Notice::gap(Timestamp::default(), gap));
    let third = seal_notice(seal(5, second.hash), Kind::Stopped, &Notice::bare(Timestamp::default()));
    let report = verify(INSTANCE, [&first.bytes[..], &second.bytes, &third.bytes], None);
    assert!(report.is_whole(), "{report:?}");
    assert!(report.chain.stopped);
}

proptest! {
    /// The ranges agree with a set, whatever the order of insertion.
    #[test]
    fn ranges_are_a_set(inserts in prop::collection::vec((0u64..60, 0u64..6), 0..40), probe in (0u64..60, 0u64..60)) {
        let mut set = BTreeSet::new();
        let mut ranges = Ranges::new();
        for (from, length) in inserts {
            if length == 1 {
                prop_assert_eq!(ranges.insert(from), set.insert(from));
            } else {
                ranges.insert_range(from, from + length);
                set.extend(from..=from + length);
            }
        }
        prop_assert_eq!(ranges.count(), set.len() as u64);
        for (left, right) in ranges.iter().zip(ranges.iter().skip(1)) {
            prop_assert!(left.0 <= left.1 && left.1 + 1 < right.0);
        }
        for number in 0..70 {
            prop_assert_eq!(ranges.contains(number), set.contains(&number));
        }
        let (from, to) = (probe.0.min(probe.1), probe.0.max(probe.1));
        let missing: BTreeSet<u64> =
            ranges.missing(from, to).iter().flat_map(|(from, to)| from..=to).collect();
        let expect: BTreeSet<u64> = (from..=to).filter(|number| !set.contains(number)).collect();
        prop_assert_eq!(missing, expect);
        let json = serde_json::to_string(&ranges).unwrap();
        prop_assert_eq!(serde_json::from_str::<Ranges>(&json).unwrap(), ranges);
    }

    /// Whatever single record is taken out of any order, it is noticed.
    #[test]
    fn one_missing_record_never_goes_unnoticed(order in Just((1u64..=8).collect::<Vec<_>>()).prop_shuffle(), gone in 0usize..8) {
        let mut records = chain_of(&order);
        records.remove(gone);
        let report = verify(INSTANCE, bytes(&records), Some(8));
        prop_assert_eq!(report.unaccounted.count(), 1);
        prop_assert_eq!(report.faults.len(), usize::from(gone != 7));
    }

    #[test]
    fn bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let mut chain = Chain::default();
        chain.follow(INSTANCE, &bytes);
    }
}
