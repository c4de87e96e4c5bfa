//! Log directories that fail or are full, and logs that are emptied, compacted and deleted.

use std::path::Path;
use std::sync::Arc;

use ottla_broker::lifecycle::LifecycleState;
use ottla_broker::log_maintenance::Halt;
use ottla_log::disk::{Disk, SimDisk};
use ottla_types::{MonoMs, Now, Offset, Timestamp, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::create_topics_request::{CreateTopicsRequest, Topic};
use ottla_wire::messages::{AddRaftVoterRequest, RemoveRaftVoterRequest, add_raft_voter_request};

use crate::configs::{TOPIC, alter_well};
use crate::harness::{SteppedNode, connection_on};
use crate::records::{log_of, produce, put, records};
use crate::topics::{create, metadata, new_topic};

const TWO: &[(&str, &str)] = &[("log.dirs", "/data,/second"), ("log.initial.task.delay.ms", "0")];

fn try_put(node: &mut SteppedNode, topic: Uuid) -> Result<i64, ErrorCode> {
    let now = node.now().wall;
    produce(node, topic, "key", Some(&[1; 100]), now)
}

/// Two topics, one in each directory.
fn on_both(node: &mut SteppedNode) -> [(&'static str, Uuid); 2] {
    let ids = ["a", "b"].map(|name| (name, create(node, name, 1, &[])));
    ids.iter().for_each(|(_, id)| put(node, *id, "key"));
    let is_first = log_of(node, "a").log_dir() == Path::new("/data");
    if is_first { ids } else { [ids[1], ids[0]] }
}

#[test]
fn a_failed_directory_takes_its_partitions_with_it_and_nothing_else() {
    let mut node = SteppedNode::start(TWO);
    let [(stays, kept), (goes, lost)] = on_both(&mut node);
    assert_eq!(log_of(&node, goes).log_dir(), Path::new("/second"));
    node.run_until(|node| node.node.next_deadline() > node.now().mono);
    node.disk.fail_dir(Path::new("/second"));
    assert_eq!(try_put(&mut node, lost), Err(ErrorCode::KafkaStorageError));
    assert_eq!(node.node.next_maintenance().0, 0, "it is due at once");
    node.maintain().unwrap();
    assert_eq!(try_put(&mut node, lost), Err(ErrorCode::KafkaStorageError));
    node.pass_ms(100);
    // The controller knows: nobody leads the partition.
    let topic = metadata(&mut node, &[goes], false).topics.remove(0);
    assert_eq!(topic.partitions[0].leader_id, -1, "{:?}", topic.partitions[0]);
    assert_eq!(try_put(&mut node, lost), Err(ErrorCode::KafkaStorageError));
    try_put(&mut node, kept).unwrap();
    node.pass_ms(60_000);
    node.maintain().unwrap();
    try_put(&mut node, kept).unwrap();
    // With the disk mended the next start has all of it again.
    node.disk.heal();
    let (disk, now) = node.kill();
    let mut node = SteppedNode::start_on(disk, TWO, now);
    try_put(&mut node, kept).unwrap();
    try_put(&mut node, lost).unwrap();
    assert_eq!((records(&log_of(&node, stays)), records(&log_of(&node, goes))), (4, 2));
}

#[test]
fn a_node_ends_without_its_metadata_directory() {
    let mut node = SteppedNode::start(TWO);
    on_both(&mut node);
    node.disk.fail_dir(Path::new("/data"));
    node.node.logs().checkpoint_recovery_points();
    let halt = node.node.maintain(node.now()).unwrap_err();
    let Halt::MetadataDirFailed { dir, why } = halt else { panic!("{halt}") };
    assert_eq!(dir, Path::new("/data"));
    assert!(why.starts_with("writing a checkpoint: /data/recovery-point-offset-checkpoint"), "{why}");
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    let mut node = SteppedNode::start(&[]);
    let id = create(&mut node, "a", 1, &[]);
    put(&mut node, id, "key");
    node.disk.set_capacity_bytes(Some(0));
    assert_eq!(try_put(&mut node, id), Err(ErrorCode::KafkaStorageError));
    assert_eq!(node.node.logs().offline_dirs().len(), 0);
    assert_eq!(node.node.maintain(node.now()), Ok(()));
    node.disk.set_capacity_bytes(None);
    try_put(&mut node, id).unwrap();
    assert_eq!(records(&log_of(&node, "a")), 2);
}

#[test]
fn who_changes_voters_while_metadata_find_no_room_may_ask_again() {
    let mut node = SteppedNode::start(&[]);
    node.disk.set_capacity_bytes(Some(0));
    let created = node.send(&new_topic("a", 1, &[]), 7);
    let listener = add_raft_voter_request::Listener::default();
    let add = AddRaftVoterRequest { listeners: vec![listener], ..AddRaftVoterRequest::default() };
    let remove = RemoveRaftVoterRequest { voter_id: 1, ..RemoveRaftVoterRequest::default() };
    // As another node passes them on.
    let from_node = connection_on(7, true);
    let added = node.send_on(&from_node, &add, 1).take::<AddRaftVoterRequest>(1).unwrap();
    let removed = node.send_on(&from_node, &remove, 0).take::<RemoveRaftVoterRequest>(0).unwrap();
    let not_now = ErrorCode::RequestTimedOut.code();
    assert_eq!((added.error_code, removed.error_code), (not_now, not_now));
    node.disk.set_capacity_bytes(None);
    node.pass_ms(1_000);
    let created = created.take::<CreateTopicsRequest>(7).expect("there is room again");
    assert_eq!(created.topics[0].error_code, 0);
}

#[test]
fn no_retention_empties_a_topic_and_deleting_the_setting_ends_that() {
    let mut node = SteppedNode::start(&[
        ("log.retention.check.interval.ms", "1000"),
        ("log.initial.task.delay.ms", "0"),
    ]);
    let id = create(&mut node, "a", 1, &[]);
    (0..5).for_each(|_| put(&mut node, id, "key"));
    node.pass_ms(2000);
    node.maintain().unwrap();
    assert_eq!(records(&log_of(&node, "a")), 5);
    alter_well(&mut node, TOPIC, "a", &[("retention.ms", Some("0"))]);
    node.pass_ms(2000);
    node.maintain().unwrap();
    let log = log_of(&node, "a");
    assert_eq!((log.log_start_offset(), log.log_end_offset(), records(&log)), (Offset(5), Offset(5), 0));
    alter_well(&mut node, TOPIC, "a", &[("retention.ms", None)]);
    put(&mut node, id, "key");
    node.pass_ms(100_000);
    node.maintain().unwrap();
    assert_eq!((log.log_start_offset(), records(&log)), (Offset(5), 1));
}

#[test]
fn a_topic_that_is_not_compacted_any_more_stops_being_compacted() {
    let mut node = SteppedNode::start(&[]);
    let id = create(&mut node, "a", 1, &[("cleanup.policy", "compact"), ("segment.ms", "1000")]);
    for _ in 0..5 {
        put(&mut node, id, "key");
        node.pass_ms(2000);
    }
    let mut worker = node.node.cleaner_worker();
    node.node.clean_step(&mut worker, node.now());
    assert!(worker.is_busy());
    alter_well(&mut node, TOPIC, "a", &[("cleanup.policy", Some("delete"))]);
    while node.node.clean_step(&mut worker, node.now()) == 0 {}
    assert_eq!(records(&log_of(&node, "a")), 5);
    alter_well(&mut node, TOPIC, "a", &[("cleanup.policy", Some("compact,delete"))]);
    node.clean();
    assert!(records(&log_of(&node, "a")) < 5);
}

#[test]
fn a_log_that_no_metadata_puts_here_is_set_aside() {
    let mut node = SteppedNode::start(&[]);
    let id = create(&mut node, "a", 1, &[]);
    put(&mut node, id, "key");
    let (disk, now) = node.stop();
    // Of a topic that was deleted, and a partition that never was, while the node was away.
    for name in ["gone-0", "a-1"] {
        disk.create_dir_all(&Path::new("/data").join(name)).unwrap();
    }
    let mut node = SteppedNode::start_on(disk, &[], now);
    put(&mut node, id, "key");
    let logs: Vec<String> = node.node.logs().logs().iter().map(|log| log.partition().to_string()).collect();
    assert_eq!(logs, ["a-0"]);
    let names: Vec<String> =
        node.disk.read_dir(Path::new("/data")).unwrap().into_iter().map(|entry| entry.name).collect();
    let is_aside = |of: &str| names.iter().any(|name| name.starts_with(of) && name.ends_with("-stray"));
    assert!(is_aside("gone-0.") && is_aside("a-1."), "{names:?}");
}

/// Full to the last byte: what is written anew has no room, what is there stays.
fn fill(node: &SteppedNode) {
    node.disk.set_capacity_bytes(Some(0));
}

#[test]
fn metadata_stands_still_on_a_full_disk_and_goes_on_when_there_is_room() {
    let mut node = SteppedNode::start(&[]);
    let id = create(&mut node, "a", 1, &[]);
    put(&mut node, id, "key");
    fill(&node);
    // The first request goes to the log, which has no room; it is answered when its time is over.
    let refused = create_with_timeout(&mut node, "b", 1000);
    assert_eq!(refused, ErrorCode::RequestTimedOut);
    // From then on it is known that there is none.
    assert_eq!(create_with_timeout(&mut node, "c", 1000), ErrorCode::KafkaStorageError);
    node.pass_ms(60_000);
    node.maintain().unwrap();
    assert_eq!(try_put(&mut node, id), Err(ErrorCode::KafkaStorageError));
    assert_eq!(records(&log_of(&node, "a")), 1);
    node.disk.set_capacity_bytes(None);
    node.pass_ms(1000);
    // What nobody was told of is there now; nobody was fenced for not being heard.
    try_put(&mut node, id).unwrap();
    assert_eq!(create_with_timeout(&mut node, "b", 1000), ErrorCode::TopicAlreadyExists);
    assert_eq!(create_with_timeout(&mut node, "c", 1000), ErrorCode::None);
    let epoch = metadata(&mut node, &["a"], false).topics.remove(0).partitions.remove(0).leader_epoch;
    assert_eq!(epoch, 0, "it had one leader all the time");
    let (disk, now) = node.crash();
    let mut node = SteppedNode::start_on(disk, &[], now);
    assert_eq!(create_with_timeout(&mut node, "b", 1000), ErrorCode::TopicAlreadyExists);
}

#[test]
fn a_node_that_starts_on_a_full_disk_waits_for_room() {
    let mut node = SteppedNode::start(&[]);
    let id = create(&mut node, "a", 1, &[]);
    (0..50).for_each(|_| put(&mut node, id, "key"));
    for clean in [true, false] {
        fill(&node);
        let (disk, now) = if clean { node.stop() } else { node.kill() };
        node = SteppedNode::try_start(disk, &[], now).unwrap();
        for _ in 0..20 {
            node.pass_ms(500);
        }
        assert_ne!(node.node.lifecycle_state(), LifecycleState::Running);
        node.maintain().unwrap();
        node.disk.set_capacity_bytes(None);
        node.run_until(|node| node.node.lifecycle_state() == LifecycleState::Running);
        assert_eq!(records(&log_of(&node, "a")), 50);
    }
    try_put(&mut node, id).unwrap();
}

#[test]
fn a_partition_without_room_is_made_when_there_is_some() {
    let mut node = SteppedNode::start(&[("log.preallocate", "true"), ("log.segment.bytes", "1048576")]);
    let id = create(&mut node, "a", 1, &[]);
    put(&mut node, id, "key");
    // Enough for the metadata, and not for a segment.
    node.disk.set_capacity_bytes(Some(node.disk.used_bytes() + 100_000));
    let other = create(&mut node, "b", 1, &[]);
    assert_eq!(try_put(&mut node, other), Err(ErrorCode::KafkaStorageError));
    node.pass_ms(5000);
    assert_eq!(try_put(&mut node, other), Err(ErrorCode::KafkaStorageError));
    node.disk.set_capacity_bytes(None);
    node.pass_ms(1000);
    try_put(&mut node, other).unwrap();
    assert_eq!(records(&log_of(&node, "b")), 1);
}

#[test]
fn requests_for_the_controller_outlast_a_change_of_leadership() {
    let mut node = SteppedNode::start(&[]);
    node.resign();
    let patient = node.send(&topic_request("a", 30_000), 7);
    let impatient = node.send(&topic_request("b", 10), 7);
    node.pass_ms(10);
    assert!(patient.take::<CreateTopicsRequest>(7).is_none());
    let late = impatient.take::<CreateTopicsRequest>(7).expect("it is answered");
    assert_eq!(late.topics[0].error_code, ErrorCode::RequestTimedOut.code());
    for _ in 0..500 {
        node.pass_ms(20);
    }
    let response = patient.take::<CreateTopicsRequest>(7).expect("it is answered");
    assert_eq!(response.topics[0].error_code, 0, "{:?}", response.topics[0].error_message);
    assert_eq!(create_with_timeout(&mut node, "b", 1000), ErrorCode::None, "what was too late was not done");
}

#[test]
fn a_request_that_comes_before_there_is_a_controller_waits_for_it() {
    let at = Now { wall: Timestamp(1_700_000_000_000), mono: MonoMs(1000) };
    let mut node = SteppedNode::try_start(Arc::new(SimDisk::new(7)), &[], at).unwrap();
    let response = node.ask(&topic_request("a", 30_000), 7);
    let code = ErrorCode::from_code(response.topics[0].error_code).unwrap();
    // No broker is unfenced yet, which is what Kafka's controller says too.
    assert!(matches!(code, ErrorCode::None | ErrorCode::InvalidReplicationFactor), "{code}");
}

fn topic_request(name: &str, timeout_ms: i32) -> CreateTopicsRequest {
    let topic = Topic { name: name.into(), num_partitions: 1, replication_factor: 1, ..Topic::default() };
    CreateTopicsRequest { topics: vec![topic], timeout_ms, ..CreateTopicsRequest::default() }
}

fn create_with_timeout(node: &mut SteppedNode, name: &str, timeout_ms: i32) -> ErrorCode {
    let response = node.ask(&topic_request(name, timeout_ms), 7);
    ErrorCode::from_code(response.topics[0].error_code).unwrap()
}
