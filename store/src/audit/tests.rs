use tollgate_filters::audit::{Event, Hash, Seal, Sealed, Status, Tokens, event_id, seal_event};

use super::*;

const INSTANCE: &str = "gate.1";

fn open(dir: &tempfile::TempDir) -> AuditStore {
    AuditStore::open(&dir.path().join(crate::DATABASE_FILE)).unwrap()
}

fn record(seq: u64, prev: Hash, event: &Event) -> Sealed {
    let id = event_id(Timestamp::from_micros(seq as i64), [seq as u8; 10]);
    seal_event(Seal { event_id: id, instance: INSTANCE, seq, prev }, event)
}

fn event(seq: u64) -> Event {
    Event {
        ts: Timestamp::from_micros(1_000_000 + seq as i64),
        request_id: format!("r{seq}").into(),
        org: Some(if seq.is_multiple_of(2) { "even" } else { "odd" }.into()),
        user: Some("alice".into()),
        status: if seq.is_multiple_of(5) { Status::Blocked } else { Status::Success },
        tokens: Some(Tokens { input: seq, output: 1, ..Tokens::default() }),
        ..Event::default()
    }
}

fn store(store: &mut AuditStore, from: u64, to: u64, records: &[Sealed]) -> Result<u64, StoreError> {
    let mut chain = store.progress(INSTANCE)?.chain;
    for record in records {
        chain.follow(INSTANCE, &record.bytes);
    }
    store.store(&Moved {
        instance: INSTANCE,
        from_batch: from,
        to_batch: to,
        chain: &chain,
        ended: false,
        records: &records.iter().map(|record| record.bytes.as_slice()).collect::<Vec<_>>(),
        gaps: &[GapRow {
            instance: INSTANCE.into(),
            from_seq: 1,
            to_seq: 1,
            reason: "hole".into(),
            count: 1,
            reported_by: "sink".into(),
        }],
        now: Timestamp::from_micros(7),
    })
}

#[test]
fn replayed_records_are_stored_once_and_the_position_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut audit = open(&dir);
    let records: Vec<_> = (1..=70).map(|seq| record(seq, Hash::GENESIS, &event(seq))).collect();
    assert_eq!(store(&mut audit, 0, 3, &records[..40]).unwrap(), 40);
    // The same ones again, with some that are new.
    assert_eq!(store(&mut audit, 3, 4, &records).unwrap(), 30);
    assert_eq!(audit.progress(INSTANCE).unwrap().last_batch, 4);
    // A second mover that still believes in 3 changes nothing.
    let more = [record(71, Hash::GENESIS, &event(71))];
    assert!(matches!(store(&mut audit, 3, 5, &more), Err(StoreError::Conflict { .. })));
    let all = audit.newest(&Filter::default(), 1000).unwrap();
    assert_eq!(all.len(), 70);
    assert_eq!(all[69].event.as_bytes(), records[69].bytes);
    assert_eq!(audit.gaps().unwrap().len(), 1);
}

#[test]
fn filters_narrow() {
    let dir = tempfile::tempdir().unwrap();
    let mut audit = open(&dir);
    let records: Vec<_> = (1..=20).map(|seq| record(seq, Hash::GENESIS, &event(seq))).collect();
    store(&mut audit, 0, 1, &records).unwrap();
    let mut count = |filter: Filter| audit.newest(&filter, 100).unwrap().len();
    let any = Filter::default;
    assert_eq!(count(Filter { organization: Some("even".into()), ..any() }), 10);
    assert_eq!(count(Filter { status: Some("blocked".into()), ..any() }), 4);
    assert_eq!(
        count(Filter { organization: Some("even".into()), status: Some("blocked".into()), ..any() }),
        2
    );
    assert_eq!(count(Filter { since: Some(Timestamp::from_micros(1_000_016)), ..any() }), 5);
    assert_eq!(count(Filter { until: Some(Timestamp::from_micros(1_000_016)), ..any() }), 15);
    assert_eq!(count(Filter { user: Some("bob' OR 1=1 --".into()), ..any() }), 0);
    assert_eq!(count(Filter { request_id: Some("r7".into()), ..any() }), 1);
    let newest = audit.newest(&any(), 3).unwrap();
    let after = audit.after(newest[0].id, &any(), 100).unwrap();
    assert_eq!(after, newest[1..]);
}

#[test]
fn the_schema_is_checked_in_both_directions() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(crate::DATABASE_FILE);
    assert!(AuditStore::open_read_only(&path).is_err(), "a reader makes no file");
    std::fs::write(&path, "").unwrap();
    assert!(matches!(AuditStore::open_read_only(&path), Err(StoreError::Older { .. })));
    let mut audit = open(&dir);
    // Opening again changes nothing.
    drop(open(&dir));
    assert!(AuditStore::open_read_only(&path).is_ok());
    audit
        .database
        .run(async |connection| {
            sqlx::query(
                "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, '', TRUE, x'00', 0)",
            )
            .execute(connection)
            .await
        })
        .unwrap();
    for refused in [AuditStore::open(&path), AuditStore::open_read_only(&path)] {
        assert!(matches!(refused, Err(StoreError::Newer { found: 9999, .. })));
    }
}

#[test]
fn a_store_that_somebody_else_writes_to_is_locked() {
    let dir = tempfile::tempdir().unwrap();
    let mut audit = open(&dir);
    let mut other =
        Database::open(&dir.path().join(crate::DATABASE_FILE), Access::Relaxed, PATIENCE).unwrap();
    let begin = |sql: &'static str| {
        async move |connection: &mut SqliteConnection| sqlx::raw_sql(sql).execute(connection).await.map(drop)
    };
    other.run(begin("BEGIN IMMEDIATE")).unwrap();
    audit.database.set_patience(Duration::from_millis(1)).unwrap();
    let records = [record(1, Hash::GENESIS, &event(1))];
    assert!(matches!(store(&mut audit, 0, 1, &records), Err(StoreError::Locked { .. })));
    other.run(begin("COMMIT")).unwrap();
    assert_eq!(store(&mut audit, 0, 1, &records).unwrap(), 1);
}

#[cfg(unix)]
#[test]
fn files_are_for_the_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let _audit = open(&dir);
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", entry.path());
    }
}
