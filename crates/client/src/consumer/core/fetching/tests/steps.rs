//! Single steps: what one answer or one call does.

use super::*;

/// A reader of partition 0 of node 0, at the start of its log.
fn reader(settings: FetchSettings) -> (Fetcher, Led) {
    let mut fetcher = Fetcher::new(settings);
    fetcher.add([partition(0)]);
    assert!(fetcher.seek(&partition(0), Position::at(Offset(0))));
    (fetcher, Led(vec![(0, 3)]))
}

fn now() -> MonoMs {
    MonoMs(1)
}

fn answer(fetcher: &mut Fetcher, answer: PartitionAnswer) -> Vec<LeaderHint> {
    let topic = TopicAnswer { topic_id: TOPIC, partitions: vec![answer], ..TopicAnswer::default() };
    fetcher.fetched(
        NodeId(0),
        FetchResponse { session_id: 1, responses: vec![topic], ..Default::default() },
        now(),
    )
}

fn refusal(code: ErrorCode) -> PartitionAnswer {
    PartitionAnswer {
        error_code: code.code(),
        preferred_read_replica: -1,
        high_watermark: -1,
        ..Default::default()
    }
}

fn records(bytes: bytes::Bytes) -> PartitionAnswer {
    PartitionAnswer {
        records: bytes.into(),
        high_watermark: 5,
        preferred_read_replica: -1,
        ..Default::default()
    }
}

#[test]
fn what_refusals_lead_to() {
    let name = partition(0);
    let refused = |code| Some(FetchError::Refused { partition: name.clone(), code });
    for (code, reset, wants_metadata, error) in [
        (ErrorCode::NotLeaderOrFollower, OffsetReset::None, true, None),
        (ErrorCode::UnknownTopicId, OffsetReset::None, true, None),
        (ErrorCode::FencedLeaderEpoch, OffsetReset::None, true, None),
        (ErrorCode::OffsetNotAvailable, OffsetReset::None, true, None),
        (ErrorCode::UnknownLeaderEpoch, OffsetReset::None, false, None),
        (
            ErrorCode::TopicAuthorizationFailed,
            OffsetReset::None,
            false,
            refused(ErrorCode::TopicAuthorizationFailed),
        ),
        (ErrorCode::OffsetOutOfRange, OffsetReset::Earliest, false, None),
        (
            ErrorCode::OffsetOutOfRange,
            OffsetReset::None,
            false,
            Some(FetchError::OffsetOutOfRange { partition: name.clone(), offset: Offset(0) }),
        ),
    ] {
        let (mut fetcher, led) =
            reader(FetchSettings { auto_offset_reset: reset, ..FetchSettings::default() });
        assert_eq!(fetcher.fetches(&led, now()).len(), 1);
        answer(&mut fetcher, refusal(code));
        assert_eq!(fetcher.take_wants_metadata(), wants_metadata, "{code}");
        assert_eq!(fetcher.take_error(), error, "{code}");
        let lists = fetcher.list_offsets(&led, Now { wall: Timestamp(0), mono: MonoMs(10_000) });
        assert_eq!(lists.len(), usize::from(reset == OffsetReset::Earliest), "{code}");
    }
}

#[test]
fn what_a_partition_was_refused_is_not_told_once_it_is_set_or_gone() {
    let name = partition(0);
    let leaves: [fn(&mut Fetcher, &TopicPartition); 4] = [
        |fetcher, name| assert!(fetcher.seek(name, Position::at(Offset(3)))),
        |fetcher, name| assert!(fetcher.seek_to(name, OffsetReset::Earliest)),
        |fetcher, name| fetcher.remove([name]),
        |fetcher, name| {
            fetcher.remove([name]);
            fetcher.add([name.clone()]);
        },
    ];
    for leave in leaves {
        let settings = FetchSettings { auto_offset_reset: OffsetReset::None, ..FetchSettings::default() };
        let (mut fetcher, led) = reader(settings);
        fetcher.fetches(&led, now());
        answer(&mut fetcher, refusal(ErrorCode::OffsetOutOfRange));
        assert!(fetcher.has_errors());
        leave(&mut fetcher, &name);
        assert!(!fetcher.has_errors());
        assert_eq!(fetcher.take_error(), None);
    }
}

#[test]
fn replica_nearby_is_read_until_it_is_of_no_use() {
    let (mut fetcher, led) = reader(FetchSettings { rack_id: "r1".to_owned(), ..FetchSettings::default() });
    assert_eq!(fetcher.fetches(&led, now())[0].1.rack_id, "r1");
    let hint = PartitionAnswer { preferred_read_replica: 1, high_watermark: 5, ..PartitionAnswer::default() };
    answer(&mut fetcher, hint);
    assert_eq!(fetcher.fetches(&led, now())[0].0, NodeId(1));
    fetcher.fetch_failed(NodeId(1), now());
    assert_eq!(fetcher.fetches(&led, now())[0].0, NodeId(0));
}

#[test]
fn leaders_that_answers_name_are_passed_on() {
    let (mut fetcher, led) = reader(FetchSettings::default());
    fetcher.fetches(&led, now());
    let mut refused = refusal(ErrorCode::NotLeaderOrFollower);
    refused.current_leader.leader_id = 1;
    refused.current_leader.leader_epoch = 4;
    let expected = LeaderHint { partition: partition(0), leader: NodeId(1), epoch: LeaderEpoch(4) };
    assert_eq!(answer(&mut fetcher, refused), [expected]);
}

#[test]
fn damaged_batch_is_an_error_each_time() {
    for check_crcs in [true, false] {
        let (mut fetcher, led) = reader(FetchSettings { check_crcs, ..FetchSettings::default() });
        for _ in 0..2 {
            fetcher.fetches(&led, MonoMs(10_000));
            let mut bytes = Log::plain(0, 2).read(0, 1_000, true).0.to_vec();
            // A byte of the first record's value.
            let at = bytes.len() - 20;
            bytes[at] ^= 1;
            answer(&mut fetcher, records(bytes.into()));
            let taken = fetcher.take_records(10).len();
            let error = fetcher.take_error();
            if check_crcs {
                assert!(matches!(error, Some(FetchError::Corrupt { .. })), "{error:?}");
                assert_eq!(taken, 0);
            } else {
                assert_eq!((taken, error), (2, None));
                break;
            }
        }
    }
}

#[test]
fn what_isnt_for_the_owner_is_passed_over() {
    let (mut fetcher, led) = reader(FetchSettings::default());
    fetcher.fetches(&led, now());
    let log = Log::plain(0, 2).with_control_record_of_later_versions();
    answer(&mut fetcher, records(log.read(0, 1_000, true).0));
    assert_eq!(fetcher.take_records(10).len(), 2);
    assert!(fetcher.take_records(10).is_empty());
    assert_eq!(
        fetcher.position(&partition(0)),
        Some(Position { offset: Offset(3), leader_epoch: Some(LeaderEpoch(0)) })
    );
}

#[test]
fn what_is_committed_is_what_was_handed_out_before() {
    let (mut fetcher, led) = reader(FetchSettings::default());
    fetcher.fetches(&led, now());
    answer(&mut fetcher, records(Log::plain(0, 4).read(0, 1_000, true).0));
    let processed = |fetcher: &Fetcher| fetcher.processed_positions()[&partition(0)].offset.value();
    assert_eq!(fetcher.take_records(3).len(), 3);
    assert_eq!(processed(&fetcher), 0);
    fetcher.processed();
    assert_eq!(fetcher.take_records(3).len(), 1);
    assert_eq!(processed(&fetcher), 3);
}

/// The owner was at offset 10, read in epoch 2; the leader of epoch 3 says where epoch 2 ends.
#[test]
fn truncation_is_noticed() {
    let name = partition(0);
    let truncated = |diverges_at| {
        Some(FetchError::LogTruncated { partition: name.clone(), position: Offset(10), diverges_at })
    };
    for (reset, end, error, position) in [
        (OffsetReset::None, 12, None, Some(10)),
        (OffsetReset::None, 7, truncated(Some(Offset(7))), Some(10)),
        (OffsetReset::None, -1, truncated(None), Some(10)),
        (OffsetReset::Earliest, 7, None, Some(7)),
        (OffsetReset::Earliest, -1, None, None),
    ] {
        let (mut fetcher, led) =
            reader(FetchSettings { auto_offset_reset: reset, ..FetchSettings::default() });
        fetcher.seek(&name, Position { offset: Offset(10), leader_epoch: Some(LeaderEpoch(2)) });
        assert!(fetcher.fetches(&led, now()).is_empty(), "not before it is valid");
        let (node, request, question) = fetcher.validations(&led, now()).pop().unwrap();
        assert_eq!(node, NodeId(0));
        let asked = &request.topics[0].partitions[0];
        assert_eq!((asked.leader_epoch, asked.current_leader_epoch), (2, 3));
        let told = EpochAnswer {
            leader_epoch: if end < 0 { -1 } else { 2 },
            end_offset: end,
            ..EpochAnswer::default()
        };
        let topic = EpochTopic { topic: "topic".to_owned(), partitions: vec![told], ..EpochTopic::default() };
        let told = OffsetForLeaderEpochResponse { topics: vec![topic], ..Default::default() };
        fetcher.validated(&question, &told, now());
        assert_eq!(fetcher.take_error(), error);
        assert_eq!(fetcher.position(&name).map(|position| position.offset.value()), position);
    }
}

#[test]
fn reset_goes_where_the_setting_says() {
    for (reset, timestamp) in [
        (OffsetReset::Earliest, -2),
        (OffsetReset::Latest, -1),
        (OffsetReset::ByDuration(60_000), 1_000_000 - 60_000),
    ] {
        let mut fetcher =
            Fetcher::new(FetchSettings { auto_offset_reset: reset, ..FetchSettings::default() });
        let led = Led(vec![(0, 3)]);
        fetcher.add([partition(0)]);
        let question = fetcher.wants_committed(now());
        fetcher.committed(&question, &BTreeMap::new());
        let lists = fetcher.list_offsets(&led, Now { wall: Timestamp(1_000_000), mono: now() });
        assert_eq!(lists[0].1.topics[0].partitions[0].timestamp, timestamp);
    }
    let mut fetcher =
        Fetcher::new(FetchSettings { auto_offset_reset: OffsetReset::None, ..FetchSettings::default() });
    fetcher.add([partition(0)]);
    let question = fetcher.wants_committed(now());
    fetcher.committed(&question, &BTreeMap::new());
    assert_eq!(fetcher.take_error(), Some(FetchError::NoOffset(partition(0))));
}

/// With nothing written in that time, reading starts at the end.
#[test]
fn duration_without_records_is_the_end() {
    let mut fetcher = Fetcher::new(FetchSettings {
        auto_offset_reset: OffsetReset::ByDuration(1),
        ..FetchSettings::default()
    });
    let led = Led(vec![(0, 3)]);
    fetcher.add([partition(0)]);
    let question = fetcher.wants_committed(now());
    fetcher.committed(&question, &BTreeMap::new());
    let at = Now { wall: Timestamp(1_000_000), mono: now() };
    let (_, _, question) = fetcher.list_offsets(&led, at).pop().unwrap();
    let none = ListAnswer { offset: -1, leader_epoch: -1, ..ListAnswer::default() };
    let topic = ListTopic { name: "topic".to_owned(), partitions: vec![none], ..ListTopic::default() };
    fetcher.offsets_listed(
        &question,
        &ListOffsetsResponse { topics: vec![topic], ..Default::default() },
        now(),
    );
    let (_, request, _) = fetcher.list_offsets(&led, at).pop().unwrap();
    assert_eq!(request.topics[0].partitions[0].timestamp, -1);
}

#[test]
fn closing_ends_the_sessions() {
    let (mut fetcher, led) = reader(FetchSettings::default());
    fetcher.fetches(&led, now());
    answer(&mut fetcher, records(Log::plain(0, 1).read(0, 1_000, true).0));
    let ended = fetcher.end_sessions();
    assert_eq!((ended[0].0, ended[0].1.session_id, ended[0].1.session_epoch), (NodeId(0), 1, -1));
}

#[test]
fn ends_of_partitions_hold_nobody_up() {
    let settings = FetchSettings { max_partition_fetch_bytes: 1, ..FetchSettings::default() };
    let mut fetcher = Fetcher::new(settings);
    fetcher.add([partition(0), partition(1)]);
    for number in 0..2 {
        assert!(fetcher.seek(&partition(number), Position::at(Offset(0))));
    }
    let led = Led(vec![(0, 3), (0, 3)]);
    let asked = |fetcher: &mut Fetcher, ms| {
        let requests = fetcher.fetches(&led, MonoMs(ms));
        requests.into_iter().next().map(|(_, request)| request.max_wait_ms)
    };
    assert_eq!(asked(&mut fetcher, 1), Some(500));
    let at_end = PartitionAnswer { high_watermark: 0, preferred_read_replica: -1, ..Default::default() };
    let more = PartitionAnswer { partition_index: 1, ..records(Log::plain(0, 2).read(0, 1_000, true).0) };
    let topic = TopicAnswer { topic_id: TOPIC, partitions: vec![at_end, more], ..TopicAnswer::default() };
    let answered = FetchResponse { session_id: 1, responses: vec![topic], ..Default::default() };
    fetcher.fetched(NodeId(0), answered, MonoMs(1));

    // What is fetched of partition 1 is as much as may be, and partition 0 has nothing.
    assert_eq!(asked(&mut fetcher, 2), None);
    assert_eq!(fetcher.deadline(MonoMs(2)), MonoMs(101));
    assert_eq!(asked(&mut fetcher, 101), Some(0));
    fetcher.fetched(NodeId(0), FetchResponse { session_id: 1, ..Default::default() }, MonoMs(101));
    assert_eq!(asked(&mut fetcher, 102), None);
    assert_eq!(fetcher.take_records(10).len(), 2);
    assert_eq!(asked(&mut fetcher, 103), Some(500));
}
