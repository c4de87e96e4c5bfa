use ottla_wire::ErrorCode;
use ottla_wire::messages::{
    ReadShareGroupStateSummaryRequest, WriteShareGroupStateRequest,
    read_share_group_state_summary_request as summary, write_share_group_state_request as write,
};

use super::*;

#[test]
fn a_group_begins_where_it_is_initialized_and_goes_on_from_what_it_wrote() {
    let mut fixture = Fixture::new();
    let key = fixture.key(0);
    assert_eq!(fixture.summary(&key), Ok(StateSummary::NONE));
    assert_eq!(fixture.read(&key, 0), Err(ErrorCode::InvalidRequest));
    assert_eq!(fixture.write(&key, written(0, 5, &[])), Err(ErrorCode::InvalidRequest));
    assert_eq!(fixture.initialize(&key, 1, 5), Ok(()));
    let state = fixture.read(&key, 0).unwrap();
    assert_eq!((state.state_epoch, state.start_offset, state.batches.len()), (1, 5, 0));
    let batches = [batch(5, 9, 2, 1), batch(10, 19, 0, 1)];
    assert_eq!(
        fixture.write(&key, WriteState { delivery_complete_count: 5, ..written(0, 5, &batches) }),
        Ok(())
    );
    assert_eq!(
        fixture
            .write(&key, WriteState { delivery_complete_count: 3, ..written(0, -1, &[batch(12, 14, 4, 2)]) }),
        Ok(())
    );
    for _ in 0..2 {
        let state = fixture.read(&key, 0).unwrap();
        let expected = [batch(5, 9, 2, 1), batch(10, 11, 0, 1), batch(12, 14, 4, 2), batch(15, 19, 0, 1)];
        assert_eq!((state.start_offset, &*state.batches), (5, &expected[..]));
        let summary = fixture.summary(&key).unwrap();
        assert_eq!((summary.start_offset, summary.delivery_complete_count), (5, 3));
        fixture.reload();
    }
}

/// What lies in front of the start is done with, and would be delivered again.
#[test]
fn a_write_that_comes_late_takes_no_start_back() {
    let mut fixture = Fixture::new();
    let key = fixture.key(0);
    assert_eq!(fixture.initialize(&key, 1, 10), Ok(()));
    assert_eq!(fixture.write(&key, written(0, 12, &[batch(12, 12, 0, 1)])), Ok(()));
    assert_eq!(fixture.write(&key, written(0, 10, &[batch(11, 11, 0, 1), batch(14, 14, 2, 1)])), Ok(()));
    for _ in 0..2 {
        let state = fixture.read(&key, 0).unwrap();
        let expected = [batch(12, 12, 0, 1), batch(14, 14, 2, 1)];
        assert_eq!((state.start_offset, &*state.batches), (12, &expected[..]));
        fixture.reload();
    }
    assert_eq!(fixture.initialize(&key, 2, 3), Ok(()));
    assert_eq!(fixture.read(&key, 0).unwrap().start_offset, 3, "an administrator may");
}

#[test]
fn older_leaders_and_older_epochs_are_fenced() {
    let mut fixture = Fixture::new();
    let key = fixture.key(1);
    assert_eq!(fixture.initialize(&key, 2, 0), Ok(()));
    assert!(fixture.read(&key, 4).is_ok());
    for _ in 0..2 {
        assert_eq!(fixture.read(&key, 3), Err(ErrorCode::FencedLeaderEpoch));
        assert!(fixture.read(&key, -1).is_ok());
        let by = |leader_epoch, state_epoch| WriteState { state_epoch, ..written(leader_epoch, 0, &[]) };
        assert_eq!(fixture.write(&key, by(3, 2)), Err(ErrorCode::FencedLeaderEpoch));
        assert_eq!(fixture.write(&key, by(4, 1)), Err(ErrorCode::FencedStateEpoch));
        assert_eq!(fixture.write(&key, by(4, 2)), Ok(()));
        assert_eq!(fixture.write(&key, by(-1, -1)), Ok(()));
        assert_eq!(fixture.initialize(&key, 1, 0), Err(ErrorCode::FencedStateEpoch));
        // A leader of a later epoch may write before it has read; only reading fences.
        assert_eq!(fixture.write(&key, by(9, 2)), Ok(()));
        fixture.reload();
    }
    assert_eq!(fixture.summary(&key).unwrap().leader_epoch, 4);
    assert_eq!(fixture.initialize(&key, 3, 7), Ok(()));
    assert_eq!(fixture.read(&key, 3), Err(ErrorCode::FencedLeaderEpoch));
    assert_eq!(fixture.summary(&key).unwrap().leader_epoch, 0);
}

#[test]
fn what_is_not_there_is_refused() {
    let fixture = Fixture::new();
    for (key, code) in [
        (SharePartitionKey::new("g", Uuid([8; 16]), 0), ErrorCode::UnknownTopicOrPartition),
        (fixture.key(PARTITIONS), ErrorCode::UnknownTopicOrPartition),
        (fixture.key(-1), ErrorCode::InvalidRequest),
    ] {
        assert_eq!(fixture.initialize(&key, 1, 0), Err(code));
        assert_eq!(fixture.delete(&key), Err(code));
        assert_eq!(fixture.summary(&key), Err(code));
        assert_eq!(fixture.read(&key, 0), Err(ErrorCode::InvalidRequest));
        assert_eq!(fixture.write(&key, written(0, 0, &[])), Err(ErrorCode::InvalidRequest));
    }
    assert_eq!(fixture.records(), 0);
}

#[test]
fn what_is_deleted_is_as_if_it_had_never_been() {
    let mut fixture = Fixture::new();
    let key = fixture.key(0);
    assert_eq!(fixture.delete(&key), Ok(()));
    assert_eq!(fixture.records(), 0);
    assert_eq!(fixture.initialize(&key, 5, 0), Ok(()));
    assert_eq!(fixture.delete(&key), Ok(()));
    for _ in 0..2 {
        assert_eq!(fixture.read(&key, 0), Err(ErrorCode::InvalidRequest));
        assert_eq!(fixture.summary(&key), Ok(StateSummary::NONE));
        fixture.reload();
    }
    assert_eq!(fixture.initialize(&key, 1, 3), Ok(()));
    assert_eq!(fixture.read(&key, 0).unwrap().start_offset, 3);
}

#[test]
fn nothing_is_answered_before_it_is_committed() {
    let fixture = Fixture::new();
    let key = fixture.key(0);
    assert_eq!(fixture.initialize(&key, 1, 0), Ok(()));
    *fixture.logs.commit_at_once.lock() = false;
    let answers: Arc<Mutex<Vec<&str>>> = Arc::default();
    let say = |what: &'static str| {
        let answers = Arc::clone(&answers);
        move || answers.lock().push(what)
    };
    let (wrote, read) = (say("written"), say("read"));
    fixture.coordinator.write(key.clone(), written(0, 4, &[]), fixture.now(), move |outcome| {
        assert_eq!(outcome, Ok(()));
        wrote();
    });
    fixture.coordinator.read(key, -1, fixture.now(), move |outcome| {
        assert_eq!(outcome.unwrap().start_offset, 4);
        read();
    });
    assert!(answers.lock().is_empty());
    let end = fixture.logs.commit(0);
    fixture.coordinator.high_watermark_updated(0, end);
    assert_eq!(*answers.lock(), ["written", "read"]);
}

#[test]
fn a_write_that_fails_has_not_happened() {
    let fixture = Fixture::new();
    let key = fixture.key(0);
    assert_eq!(fixture.initialize(&key, 1, 0), Ok(()));
    fixture.logs.failures.lock().push_back(ErrorCode::NotEnoughReplicas);
    assert_eq!(fixture.write(&key, written(0, 9, &[])), Err(ErrorCode::CoordinatorNotAvailable));
    assert_eq!(fixture.read(&key, -1).unwrap().start_offset, 0);
}

#[test]
fn a_request_is_answered_partition_by_partition() {
    let fixture = Fixture::new();
    assert_eq!(fixture.initialize(&fixture.key(1), 1, 0), Ok(()));
    let partition = |partition| write::Partition { partition, state_epoch: 1, ..write::Partition::default() };
    let request = WriteShareGroupStateRequest {
        group_id: "g".into(),
        topics: vec![
            write::Topic {
                topic_id: TOPIC,
                partitions: vec![partition(0), partition(1)],
                ..Default::default()
            },
            write::Topic { topic_id: Uuid::ZERO, partitions: vec![partition(2)], ..Default::default() },
        ],
        ..WriteShareGroupStateRequest::default()
    };
    let (slot, answer) = (Arc::new(Mutex::new(None)), ());
    let told = Arc::clone(&slot);
    fixture
        .coordinator
        .write_state(request, fixture.now(), move |response| *told.lock() = Some((response, answer)));
    let (response, ()) = slot.lock().take().unwrap();
    let codes: Vec<Vec<(i32, i16)>> = response
        .results
        .iter()
        .map(|topic| topic.partitions.iter().map(|p| (p.partition, p.error_code)).collect())
        .collect();
    let invalid = ErrorCode::InvalidRequest.code();
    assert_eq!(codes, [vec![(0, invalid), (1, 0)], vec![(2, invalid)]]);
}

#[test]
fn old_versions_of_a_summary_have_no_count() {
    let fixture = Fixture::new();
    assert_eq!(fixture.initialize(&fixture.key(0), 1, 0), Ok(()));
    for (version, count) in [(0, -1), (1, 0)] {
        let partitions = vec![summary::Partition::default()];
        let request = ReadShareGroupStateSummaryRequest {
            group_id: "g".into(),
            topics: vec![summary::Topic { topic_id: TOPIC, partitions, ..Default::default() }],
            ..Default::default()
        };
        let slot = Arc::new(Mutex::new(None));
        let told = Arc::clone(&slot);
        fixture.coordinator.read_state_summary(version, request, fixture.now(), move |response| {
            *told.lock() = Some(response);
        });
        let response = slot.lock().take().unwrap();
        assert_eq!(response.results[0].partitions[0].delivery_complete_count, count);
    }
}
