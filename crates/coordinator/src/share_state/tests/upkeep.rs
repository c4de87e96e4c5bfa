use super::*;

fn of_interval(update_records_per_snapshot: u32) -> ShareCoordinatorConfig {
    ShareCoordinatorConfig { update_records_per_snapshot, ..ShareCoordinatorConfig::default() }
}

/// Kinds of the records in the log: a snapshot, an update, or a tombstone.
fn kinds(fixture: &Fixture) -> String {
    let kind = |record: &crate::runtime::StoredRecord| match (record.key.as_ref().unwrap()[1], &record.value)
    {
        (0, Some(_)) => 's',
        (0, None) => 't',
        _ => 'u',
    };
    let records = fixture.logs.log(0).batches.into_iter().flat_map(|batch| match batch.content {
        crate::runtime::StoredContent::Records(records) => records,
        _ => Vec::new(),
    });
    records.map(|record| kind(&record)).collect()
}

#[test]
fn a_snapshot_follows_as_many_updates_as_the_settings_say() {
    for (interval, expected) in [(0, "sssss"), (1, "susus"), (3, "suuus")] {
        let fixture = Fixture::with(of_interval(interval));
        let key = fixture.key(0);
        assert_eq!(fixture.initialize(&key, 1, 0), Ok(()));
        for offset in 0..4 {
            assert_eq!(fixture.write(&key, written(-1, -1, &[batch(offset, offset, 2, 1)])), Ok(()));
        }
        assert_eq!(kinds(&fixture), expected);
        assert_eq!(*fixture.read(&key, -1).unwrap().batches, [batch(0, 3, 2, 1)]);
    }
}

#[test]
fn the_log_is_pruned_up_to_the_oldest_snapshot_that_counts() {
    let never = i64::from(i32::MAX);
    let mut fixture = Fixture::with(ShareCoordinatorConfig {
        cold_partition_snapshot_interval_ms: never,
        ..of_interval(1)
    });
    let (a, b) = (fixture.key(0), fixture.key(1));
    assert_eq!(fixture.initialize(&a, 1, 0), Ok(()));
    assert_eq!(fixture.initialize(&b, 1, 0), Ok(()));
    for _ in 0..2 {
        assert_eq!(fixture.write(&a, written(-1, -1, &[])), Ok(()));
    }
    assert_eq!(kinds(&fixture), "ssus");
    fixture.advance(299_999);
    assert_eq!(*fixture.pruned.lock(), []);
    fixture.advance(1);
    assert_eq!(*fixture.pruned.lock(), [(0, Offset(1))]);
    assert_eq!(fixture.delete(&b), Ok(()));
    fixture.advance(300_000);
    fixture.advance(300_000);
    assert_eq!(kinds(&fixture), "ssust");
    assert_eq!(*fixture.pruned.lock(), [(0, Offset(1)), (0, Offset(3))]);
}

#[test]
fn quiet_partitions_get_one_more_snapshot_and_no_second_one_for_nothing() {
    let mut fixture = Fixture::new();
    let key = fixture.key(0);
    assert_eq!(fixture.initialize(&key, 1, 0), Ok(()));
    assert_eq!(fixture.write(&key, written(-1, -1, &[batch(0, 3, 0, 1)])), Ok(()));
    for _ in 0..4 {
        fixture.advance(300_000);
    }
    assert_eq!(kinds(&fixture), "sus");
    fixture.reload();
    assert_eq!(*fixture.read(&key, -1).unwrap().batches, [batch(0, 3, 0, 1)]);
}

#[test]
fn topics_that_are_deleted_take_their_states_along() {
    let fixture = Fixture::new();
    for partition in 0..2 {
        assert_eq!(fixture.initialize(&fixture.key(partition), 1, 0), Ok(()));
    }
    fixture.coordinator.on_topics_deleted(&[Uuid([9; 16])], fixture.now());
    assert_eq!(kinds(&fixture), "ss");
    fixture.coordinator.on_topics_deleted(&[TOPIC], fixture.now());
    assert_eq!(kinds(&fixture), "sstt");
    assert_eq!(fixture.summary(&fixture.key(0)), Ok(StateSummary::NONE));
}
