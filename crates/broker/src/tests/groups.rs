use std::sync::Arc;

use bytes::Bytes;
use ottla_types::Uuid;
use ottla_wire::ErrorCode;
use ottla_wire::messages::join_group_request::Protocol;
use ottla_wire::messages::offset_commit_request as commit;
use ottla_wire::messages::offset_delete_request as delete;
use ottla_wire::messages::offset_fetch_request as fetch;
use ottla_wire::messages::sync_group_request::Assignment;
use ottla_wire::messages::{
    ConsumerGroupHeartbeatRequest, DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest,
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest,
    OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, SyncGroupRequest,
};
use ottla_wire::records::{MetadataRecord, RemoveTopicRecord};
use parking_lot::Mutex;

use super::harness::{Harness, LOCAL, OFFSETS_ID, TOPIC_ID, UNKNOWN_ID, at, partition, topic};
use crate::node::{ComputeLater, Hooks};

fn join(harness: &Harness, version: i16, member_id: &str) -> JoinGroupResponse {
    let protocol =
        Protocol { name: "range".to_owned(), metadata: Bytes::from_static(b"m"), ..Protocol::default() };
    let request = JoinGroupRequest {
        group_id: "g".to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        member_id: member_id.to_owned(),
        protocol_type: "consumer".to_owned(),
        protocols: vec![protocol],
        ..JoinGroupRequest::default()
    };
    let sent = harness.send(version, &request, at(0));
    harness.node.groups.tick(at(1));
    harness.response(&sent).expect("nobody else is waited for")
}

/// A group with one member, whose id is returned.
fn stable_group(harness: &Harness) -> (String, i32) {
    let first = join(harness, 9, "");
    assert_eq!(first.error_code, ErrorCode::MemberIdRequired.code());
    let joined = join(harness, 9, &first.member_id);
    assert_eq!((joined.error_code, joined.leader.as_str()), (0, first.member_id.as_str()));
    let assignment = Assignment {
        member_id: first.member_id.clone(),
        assignment: Bytes::from_static(b"a"),
        ..Assignment::default()
    };
    let request = SyncGroupRequest {
        group_id: "g".to_owned(),
        generation_id: joined.generation_id,
        member_id: first.member_id.clone(),
        protocol_type: Some("consumer".to_owned()),
        protocol_name: Some("range".to_owned()),
        assignments: vec![assignment],
        ..SyncGroupRequest::default()
    };
    let synced = harness.call(5, &request, at(2));
    assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"a"[..]));
    (first.member_id, joined.generation_id)
}

#[test]
fn members_ids_tell_of_their_clients_and_nobody_has_them_twice() {
    let harness = Harness::new();
    let ids = [join(&harness, 9, "").member_id, join(&harness, 9, "").member_id];
    assert_ne!(ids[0], ids[1]);
    assert!(ids.iter().all(|id| id.starts_with("client-")), "{ids:?}");
}

/// The harness looks whether whoever ticks is told of what is due earlier than before.
#[test]
fn answers_that_linger_are_waited_for() {
    let linger = [("group.coordinator.append.linger.ms", "5")];
    let harness = Harness::with_settings(&linger);
    let request = ConsumerGroupHeartbeatRequest {
        group_id: "g".to_owned(),
        member_id: "member".to_owned(),
        rebalance_timeout_ms: 10_000,
        subscribed_topic_names: Some(vec!["t".to_owned()]),
        topic_partitions: Some(Vec::new()),
        ..ConsumerGroupHeartbeatRequest::default()
    };
    let sent = harness.send(0, &request, at(0));
    assert_eq!(harness.node.next_deadline(), at(5).mono);
    assert_eq!(harness.response(&sent), None);
    harness.node.tick(at(5));
    assert_eq!(harness.response(&sent).map(|joined| joined.error_code), Some(0));
}

#[test]
fn patterns_are_looked_at_where_nobody_reads() {
    let jobs = Arc::new(Mutex::new(Vec::new()));
    let of_hook = Arc::clone(&jobs);
    let compute_later: ComputeLater = Arc::new(move |job| of_hook.lock().push(job));
    let harness = Harness::with_hooks(&[], Hooks { compute_later, ..Hooks::default() });
    harness.publish_image();
    let request = ConsumerGroupHeartbeatRequest {
        group_id: "g".to_owned(),
        member_id: "member".to_owned(),
        rebalance_timeout_ms: 10_000,
        subscribed_topic_regex: Some("t.*".to_owned()),
        topic_partitions: Some(Vec::new()),
        ..ConsumerGroupHeartbeatRequest::default()
    };
    let sent = harness.send(1, &request, at(0));
    assert_eq!(harness.response(&sent), None);
    let waiting = std::mem::take(&mut *jobs.lock());
    assert_eq!(waiting.len(), 1);
    waiting.into_iter().for_each(|job| job());
    assert_eq!(harness.response(&sent).map(|joined| joined.error_code), Some(0));
}

#[test]
fn a_group_lives_and_ends() {
    let harness = Harness::new();
    let (member_id, generation_id) = stable_group(&harness);
    let heartbeat = HeartbeatRequest {
        group_id: "g".to_owned(),
        generation_id,
        member_id: member_id.clone(),
        ..HeartbeatRequest::default()
    };
    assert_eq!(harness.call(4, &heartbeat, at(3)).error_code, 0);

    let listed = harness.call(5, &ListGroupsRequest::default(), at(3));
    let [group] = &listed.groups[..] else { panic!("{listed:?}") };
    assert_eq!((group.group_id.as_str(), group.group_state.as_str()), ("g", "Stable"));

    let delete = DeleteGroupsRequest {
        groups_names: vec!["g".to_owned(), "g".to_owned()],
        ..DeleteGroupsRequest::default()
    };
    let refused = harness.call(2, &delete, at(3)).results;
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].error_code, ErrorCode::NonEmptyGroup.code());

    let leave = LeaveGroupRequest { group_id: "g".to_owned(), member_id, ..LeaveGroupRequest::default() };
    assert_eq!(harness.call(2, &leave, at(4)).error_code, 0);
    assert_eq!(harness.call(2, &delete, at(5)).results[0].error_code, 0);
    assert_eq!(harness.call(5, &ListGroupsRequest::default(), at(6)).groups, []);
}

#[test]
fn groups_are_described_with_what_may_be_done_to_them() {
    let harness = Harness::new();
    let (member_id, _) = stable_group(&harness);
    for version in 0..=6 {
        let request = DescribeGroupsRequest {
            groups: vec!["g".to_owned(), "nowhere".to_owned()],
            include_authorized_operations: version >= 3,
            ..DescribeGroupsRequest::default()
        };
        let response = harness.call(version, &request, at(3));
        let [group, missing] = &response.groups[..] else { panic!("{response:?}") };
        assert_eq!((group.error_code, group.group_state.as_str()), (0, "Stable"));
        assert_eq!(group.members[0].member_id, member_id);
        assert_eq!(group.members[0].client_host, "/127.0.0.1");
        assert_eq!(group.authorized_operations, if version >= 3 { 3400 } else { i32::MIN });
        assert_eq!(missing.group_state, "Dead");
        let not_found = if version >= 6 { ErrorCode::GroupIdNotFound } else { ErrorCode::None };
        assert_eq!(missing.error_code, not_found.code());
    }
}

#[test]
fn from_version_5_on_a_sync_names_its_protocol() {
    let request = SyncGroupRequest { group_id: "g".to_owned(), ..SyncGroupRequest::default() };
    let code = |version| Harness::new().call(version, &request, at(0)).error_code;
    assert_eq!(code(5), ErrorCode::InconsistentGroupProtocol.code());
    assert_eq!(code(4), ErrorCode::UnknownMemberId.code());
}

/// Commits `offset` for partitions of one topic, as nobody's member; returns each partition's error.
fn commit(
    harness: &Harness,
    version: i16,
    topic: (&str, Uuid),
    partitions: &[i32],
    offset: i64,
) -> Vec<(i32, i16)> {
    let partition = |partition_index: &i32| commit::Partition {
        partition_index: *partition_index,
        committed_offset: offset,
        ..commit::Partition::default()
    };
    let (name, topic_id) = if version >= 10 { ("", topic.1) } else { (topic.0, Uuid::ZERO) };
    let topic = commit::Topic {
        name: name.to_owned(),
        topic_id,
        partitions: partitions.iter().map(partition).collect(),
        ..commit::Topic::default()
    };
    let request = OffsetCommitRequest {
        group_id: "g".to_owned(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..OffsetCommitRequest::default()
    };
    let response = harness.call(version, &request, at(0));
    let [topic] = &response.topics[..] else { panic!("one topic has one entry: {response:?}") };
    if version >= 10 {
        assert_eq!((topic.name.as_str(), topic.topic_id), ("", topic_id));
    } else {
        assert_eq!(topic.name, name);
    }
    topic.partitions.iter().map(|partition| (partition.partition_index, partition.error_code)).collect()
}

#[test]
fn offsets_are_committed_for_partitions_that_exist() {
    let harness = Harness::new();
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    for version in 2..=10 {
        let offset = i64::from(version);
        assert_eq!(
            commit(&harness, version, ("t", TOPIC_ID), &[0, 5, 1], offset),
            [(5, unknown), (0, 0), (1, 0)]
        );
        let no_topic = if version >= 10 { ErrorCode::UnknownTopicId.code() } else { unknown };
        assert_eq!(commit(&harness, version, ("nowhere", UNKNOWN_ID), &[0], offset), [(0, no_topic)]);
    }
    for version in 1..=7 {
        let topic =
            fetch::Topic { name: "t".to_owned(), partition_indexes: vec![0, 7], ..fetch::Topic::default() };
        let request = OffsetFetchRequest {
            group_id: "g".to_owned(),
            topics: Some(vec![topic]),
            ..OffsetFetchRequest::default()
        };
        let response = harness.call(version, &request, at(0));
        let offsets: Vec<_> = response.topics[0].partitions.iter().map(|p| p.committed_offset).collect();
        assert_eq!((response.error_code, offsets), (0, vec![10, -1]));
    }
}

/// A topic's name or id, and for each partition the offset and the error.
type FetchedTopic = (String, Uuid, Vec<(i64, i16)>);

/// What a commit is told, so many milliseconds after it, that another replica does not take over.
fn commit_in_vain(settings: &[(&str, &str)], ms: u64) -> Option<i16> {
    let harness = Harness::with_settings(settings);
    harness.widen_isr(OFFSETS_ID, "__consumer_offsets");
    let partition = commit::Partition { committed_offset: 1, ..commit::Partition::default() };
    let topic =
        commit::Topic { name: "t".to_owned(), partitions: vec![partition], ..commit::Topic::default() };
    let request = OffsetCommitRequest {
        group_id: "g".to_owned(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..OffsetCommitRequest::default()
    };
    let sent = harness.send(9, &request, at(0));
    harness.node.groups.tick(at(ms));
    Some(harness.response(&sent)?.topics[0].partitions[0].error_code)
}

#[test]
fn commits_wait_for_replicas_as_long_as_the_setting_says() {
    let late = Some(ErrorCode::CoordinatorNotAvailable.code());
    assert_eq!((commit_in_vain(&[], 4999), commit_in_vain(&[], 5001)), (None, late));
    let short = [("offsets.commit.timeout.ms", "1000")];
    assert_eq!((commit_in_vain(&short, 999), commit_in_vain(&short, 1001)), (None, late));
}

/// What version 8 and later answer for one group.
fn fetched(harness: &Harness, version: i16, topics: Option<Vec<fetch::GroupTopic>>) -> Vec<FetchedTopic> {
    let group = fetch::Group { group_id: "g".to_owned(), topics, ..fetch::Group::default() };
    let request = OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
    let response = harness.call(version, &request, at(0));
    let [group] = &response.groups[..] else { panic!("{response:?}") };
    assert_eq!((group.group_id.as_str(), group.error_code), ("g", 0));
    let topic = |topic: &ottla_wire::messages::offset_fetch_response::GroupTopic| {
        let offsets = topic.partitions.iter().map(|p| (p.committed_offset, p.error_code)).collect();
        (topic.name.clone(), topic.topic_id, offsets)
    };
    group.topics.iter().map(topic).collect()
}

#[test]
fn offsets_are_fetched_by_name_or_by_id() {
    let harness = Harness::new();
    commit(&harness, 9, ("t", TOPIC_ID), &[0], 42);
    let by = |name: &str, topic_id| fetch::GroupTopic {
        name: name.to_owned(),
        topic_id,
        partition_indexes: vec![0],
        ..fetch::GroupTopic::default()
    };
    let none = Uuid::ZERO;
    let expected = [("t".to_owned(), none, vec![(42, 0)])];
    assert_eq!(fetched(&harness, 9, Some(vec![by("t", none)])), expected);
    assert_eq!(fetched(&harness, 9, None), expected);
    let found = (String::new(), TOPIC_ID, vec![(42, 0)]);
    let unknown = (String::new(), UNKNOWN_ID, vec![(-1, ErrorCode::UnknownTopicId.code())]);
    let both = Some(vec![by("", UNKNOWN_ID), by("", TOPIC_ID)]);
    assert_eq!(fetched(&harness, 10, both), [found.clone(), unknown]);
    assert_eq!(fetched(&harness, 10, None), [found]);
    harness.replay(&[remove(TOPIC_ID)]);
    assert_eq!(fetched(&harness, 10, None), []);
}

#[test]
fn offsets_do_not_pass_to_a_topic_that_only_has_the_same_name() {
    let harness = Harness::new();
    commit(&harness, 9, ("t", TOPIC_ID), &[0], 42);
    harness.replay(&[remove(TOPIC_ID), topic("t", UNKNOWN_ID), partition(UNKNOWN_ID, 0, LOCAL)]);
    let anew = fetch::GroupTopic {
        topic_id: UNKNOWN_ID,
        partition_indexes: vec![0],
        ..fetch::GroupTopic::default()
    };
    assert_eq!(fetched(&harness, 10, Some(vec![anew])), [(String::new(), UNKNOWN_ID, vec![(-1, 0)])]);
}

fn remove(topic_id: Uuid) -> MetadataRecord {
    MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id, ..RemoveTopicRecord::default() })
}

#[test]
fn offsets_are_taken_back() {
    let harness = Harness::new();
    let delete = |group_id: &str| {
        let partition = |partition_index| delete::Partition { partition_index };
        let topic = |name: &str, partitions: Vec<i32>| delete::Topic {
            name: name.to_owned(),
            partitions: partitions.into_iter().map(partition).collect(),
        };
        let request = OffsetDeleteRequest {
            group_id: group_id.to_owned(),
            topics: vec![topic("t", vec![0, 5]), topic("nowhere", vec![0])],
        };
        let response = harness.call(0, &request, at(0));
        let topics: Vec<_> = response
            .topics
            .iter()
            .map(|topic| {
                let codes = topic.partitions.iter().map(|p| (p.partition_index, p.error_code)).collect();
                (topic.name.clone(), codes)
            })
            .collect::<Vec<(_, Vec<_>)>>();
        (response.error_code, topics)
    };
    commit(&harness, 9, ("t", TOPIC_ID), &[0, 1], 42);
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    let expected =
        vec![("t".to_owned(), vec![(5, unknown), (0, 0)]), ("nowhere".to_owned(), vec![(0, unknown)])];
    assert_eq!(delete("g"), (0, expected));
    assert_eq!(fetched(&harness, 9, None), [("t".to_owned(), Uuid::ZERO, vec![(42, 0)])]);
    assert_eq!(delete("nobody"), (ErrorCode::GroupIdNotFound.code(), vec![]));
}

#[test]
fn a_groups_coordinator_leads_its_partition() {
    let harness = Harness::new();
    for version in 0..=3 {
        let request = FindCoordinatorRequest { key: "g".to_owned(), ..FindCoordinatorRequest::default() };
        let response = harness.call(version, &request, at(0));
        let found = (response.error_code, response.node_id, response.host.as_str(), response.port);
        assert_eq!(found, (0, LOCAL, "host1", 9092));
    }
    for version in 4..=6 {
        let coordinator_keys = vec!["g".to_owned(), "h".to_owned()];
        let request = FindCoordinatorRequest { coordinator_keys, ..FindCoordinatorRequest::default() };
        let response = harness.call(version, &request, at(0));
        let keys: Vec<_> = response.coordinators.iter().map(|c| (c.key.as_str(), c.node_id)).collect();
        assert_eq!(keys, [("g", LOCAL), ("h", LOCAL)]);
    }
}

#[test]
fn other_coordinators_are_not_here() {
    let harness = Harness::new();
    let share_partition = format!("g:{TOPIC_ID}:0");
    for (version, key_type, key, expected) in [
        (6, 1, "x", ErrorCode::CoordinatorNotAvailable),
        (5, 2, &share_partition, ErrorCode::InvalidRequest),
        (6, 2, &share_partition, ErrorCode::CoordinatorNotAvailable),
        (6, 2, "x", ErrorCode::InvalidRequest),
        (6, 3, "x", ErrorCode::InvalidRequest),
    ] {
        let coordinator_keys = vec![key.to_owned()];
        let request =
            FindCoordinatorRequest { key_type, coordinator_keys, ..FindCoordinatorRequest::default() };
        let response = harness.call(version, &request, at(0));
        let found = &response.coordinators[0];
        assert_eq!((found.error_code, found.node_id, found.port), (expected.code(), -1, -1));
    }
}

#[test]
fn the_topic_of_offsets_is_asked_for_once() {
    let harness = Harness::new();
    harness.replay(&[remove(OFFSETS_ID)]);
    let request = FindCoordinatorRequest { key: "g".to_owned(), ..FindCoordinatorRequest::default() };
    for _ in 0..2 {
        let response = harness.call(3, &request, at(0));
        assert_eq!(response.error_code, ErrorCode::CoordinatorNotAvailable.code());
        assert_eq!((response.node_id, response.port), (-1, -1));
    }
    assert_eq!(harness.controller_requests(), 1);
}
