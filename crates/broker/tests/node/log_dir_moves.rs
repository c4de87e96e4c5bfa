//! Replicas that move between log directories.

use std::path::{Path, PathBuf};

use ottla_log::disk::Disk;
use ottla_types::{Offset, TopicPartition, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::alter_replica_log_dirs_request::{Dir, Topic};
use ottla_wire::messages::describe_log_dirs_response::Partition as Described;
use ottla_wire::messages::{AlterReplicaLogDirsRequest, DescribeLogDirsRequest};

use crate::configs::{BROKER, alter_well};
use crate::harness::SteppedNode;
use crate::records::{log_of, produce, put, records};
use crate::topics::{create, delete, metadata, new_topic};

const TWO: &[(&str, &str)] = &[("log.dirs", "/data,/second"), ("log.initial.task.delay.ms", "0")];
const RATE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";

pub fn alter(node: &mut SteppedNode, topic: &str, dir: &str) -> ErrorCode {
    let topics = vec![Topic { name: topic.to_owned(), partitions: vec![0], ..Topic::default() }];
    let request = AlterReplicaLogDirsRequest {
        dirs: vec![Dir { path: dir.to_owned(), topics, ..Dir::default() }],
        ..AlterReplicaLogDirsRequest::default()
    };
    let result = node.ask(&request, 2).results.remove(0);
    assert_eq!((result.topic_name.as_str(), result.partitions[0].partition_index), (topic, 0));
    ErrorCode::from_code(result.partitions[0].error_code).unwrap()
}

/// Directories with what is said of the topic there.
fn described(node: &mut SteppedNode, topic: &str) -> Vec<(String, Described)> {
    let dirs =
        node.ask(&DescribeLogDirsRequest { topics: None, ..DescribeLogDirsRequest::default() }, 4).results;
    let mut found = Vec::new();
    for dir in dirs {
        for described in dir.topics.into_iter().filter(|described| described.name == topic) {
            found.extend(described.partitions.into_iter().map(|partition| (dir.log_dir.clone(), partition)));
        }
    }
    found.sort_by_key(|(_, partition)| partition.is_future_key);
    found
}

fn dir_of(node: &SteppedNode, topic: &str) -> PathBuf {
    log_of(node, topic).log_dir()
}

fn other(dir: &Path) -> &'static str {
    if dir == Path::new("/data") { "/second" } else { "/data" }
}

/// Where the topic's replica is not.
fn elsewhere(node: &SteppedNode, topic: &str) -> &'static str {
    other(&dir_of(node, topic))
}

/// More than is copied at once.
fn put_much(node: &mut SteppedNode, topic: Uuid) {
    for key in ["a", "b", "c"] {
        let now = node.now().wall;
        produce(node, topic, key, Some(&[7; 600_000]), now).unwrap();
    }
}

/// A topic whose replica is on its way, and stays so while no time passes. Returns where it goes.
fn on_its_way(node: &mut SteppedNode) -> (Uuid, &'static str) {
    let topic = create(node, "a", 1, &[]);
    put_much(node, topic);
    alter_well(node, BROKER, "1", &[(RATE, Some("1"))]);
    node.step();
    let to = elsewhere(node, "a");
    assert_eq!(alter(node, "a", to), ErrorCode::None);
    node.step();
    (topic, to)
}

fn names(node: &SteppedNode, dir: &str, start: &str) -> usize {
    let entries = node.disk.read_dir(Path::new(dir)).unwrap();
    entries.iter().filter(|entry| entry.name.starts_with(start)).count()
}

#[test]
fn a_replica_moves_with_all_that_it_has() {
    let mut node = SteppedNode::start(TWO);
    let topic = create(&mut node, "a", 1, &[]);
    put_much(&mut node, topic);
    let to = elsewhere(&node, "a");
    assert_eq!(alter(&mut node, "a", to), ErrorCode::None);
    node.run_until(|node| dir_of(node, "a") == Path::new(to));
    // Whatever was on disk before is so still.
    let (disk, now) = node.crash();
    let mut node = SteppedNode::start_on(disk, TWO, now);
    assert_eq!(dir_of(&node, "a"), Path::new(to));
    put(&mut node, topic, "d");
    let log = log_of(&node, "a");
    assert_eq!((records(&log), log.log_end_offset(), log.high_watermark()), (4, Offset(4), Offset(4)));
    let found = described(&mut node, "a");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].0.as_str(), found[0].1.is_future_key, found[0].1.offset_lag), (to, false, 0));
    assert_eq!(names(&node, other(Path::new(to)), "a-0."), 1, "what is left is to be deleted");
    // Asked for again it is where it should be.
    assert_eq!(alter(&mut node, "a", to), ErrorCode::None);
    node.pass_ms(1_000);
    assert_eq!(described(&mut node, "a").len(), 1);
}

#[test]
fn a_move_that_is_on_its_way_is_described_and_goes_on_while_records_come() {
    let mut node = SteppedNode::start(TWO);
    let (topic, to) = on_its_way(&mut node);
    let found = described(&mut node, "a");
    assert_eq!(found.len(), 2, "{found:?}");
    let (dir, future) = &found[1];
    assert_eq!((dir.as_str(), future.is_future_key, future.offset_lag), (to, true, 2));
    assert!(!found[0].1.is_future_key);
    put(&mut node, topic, "d");
    assert_eq!(described(&mut node, "a")[1].1.offset_lag, 3);
    alter_well(&mut node, BROKER, "1", &[(RATE, None)]);
    node.run_until(|node| dir_of(node, "a") == Path::new(to));
    assert_eq!(records(&log_of(&node, "a")), 4);
}

#[test]
fn a_move_back_ends_one_that_is_on_its_way() {
    let mut node = SteppedNode::start(TWO);
    let (topic, to) = on_its_way(&mut node);
    let stays = other(Path::new(to));
    assert_eq!(alter(&mut node, "a", stays), ErrorCode::None);
    alter_well(&mut node, BROKER, "1", &[(RATE, None)]);
    node.pass_ms(20_000);
    put(&mut node, topic, "d");
    assert_eq!(described(&mut node, "a").len(), 1);
    assert_eq!((dir_of(&node, "a").as_path(), records(&log_of(&node, "a"))), (Path::new(stays), 4));
    node.pass_ms(100_000);
    node.maintain().unwrap();
    assert_eq!(names(&node, to, "a-0"), 0, "the copy is deleted");
}

#[test]
fn the_next_process_goes_on_with_a_move() {
    for has_stopped_well in [true, false] {
        let mut node = SteppedNode::start(TWO);
        let (topic, to) = on_its_way(&mut node);
        put(&mut node, topic, "d");
        let (disk, now) = if has_stopped_well { node.stop() } else { node.kill() };
        let mut node = SteppedNode::start_on(disk, TWO, now);
        assert_eq!(dir_of(&node, "a").as_path(), Path::new(other(Path::new(to))), "it is on its way still");
        alter_well(&mut node, BROKER, "1", &[(RATE, None)]);
        node.run_until(|node| dir_of(node, "a") == Path::new(to));
        put(&mut node, topic, "e");
        assert_eq!(records(&log_of(&node, "a")), 5);
    }
}

#[test]
fn a_copy_goes_with_its_partition_while_the_node_is_away_or_the_log_offline() {
    let mut node = SteppedNode::start(TWO);
    // It is to be in the second directory, whose failure a node survives.
    assert_eq!(alter(&mut node, "a", "/second"), ErrorCode::ReplicaNotAvailable);
    let (_, to) = on_its_way(&mut node);
    assert_eq!(to, "/data");
    // What is left when its partition has gone elsewhere meanwhile.
    let (disk, now) = node.kill();
    let stray = "/second/stray-0";
    for dir in [stray, "/data/stray-0.0123456789abcdef0123456789abcdef-future"] {
        disk.create_dir_all(Path::new(dir)).unwrap();
    }
    let mut node = SteppedNode::start_on(disk, TWO, now);
    assert!(node.node.logs().future_log(&TopicPartition::new("stray", 0)).is_none());
    assert_eq!((names(&node, "/data", "stray-0."), names(&node, "/second", "stray-0.")), (1, 1));
    node.disk.fail_dir(Path::new("/second"));
    node.node.logs().checkpoint_recovery_points();
    node.maintain().unwrap();
    assert_eq!(delete(&mut node, "a"), 0);
    node.step();
    assert!(node.node.logs().future_log(&TopicPartition::new("a", 0)).is_none());
}

/// Its process may have ended before it was told.
#[test]
fn a_copy_that_does_not_know_its_topic_is_told() {
    let mut node = SteppedNode::start(TWO);
    let (topic, to) = on_its_way(&mut node);
    let (disk, now) = node.kill();
    let entries = disk.read_dir(Path::new(to)).unwrap();
    let copy = entries.iter().find(|entry| entry.name.starts_with("a-0.")).unwrap();
    disk.remove_file(&Path::new(to).join(&copy.name).join("partition.metadata")).unwrap();
    let mut node = SteppedNode::start_on(disk, TWO, now);
    alter_well(&mut node, BROKER, "1", &[(RATE, None)]);
    node.run_until(|node| dir_of(node, "a") == Path::new(to));
    assert_eq!(log_of(&node, "a").topic_id(), Some(topic));
}

#[test]
fn a_topic_that_is_deleted_takes_its_move_along() {
    let mut node = SteppedNode::start(TWO);
    let (_, to) = on_its_way(&mut node);
    assert_eq!(delete(&mut node, "a"), 0);
    alter_well(&mut node, BROKER, "1", &[(RATE, None)]);
    node.pass_ms(100_000);
    node.maintain().unwrap();
    assert_eq!((names(&node, to, "a-0"), names(&node, other(Path::new(to)), "a-0")), (0, 0));
    // Another topic of that name is compacted and shortened as any.
    let again = create(&mut node, "a", 1, &[("retention.ms", "1")]);
    put(&mut node, again, "x");
    node.pass_ms(400_000);
    node.maintain().unwrap();
    assert_eq!(log_of(&node, "a").log_start_offset(), Offset(1));
}

#[test]
fn a_replica_that_is_to_come_is_wanted_in_a_directory() {
    for dir in ["/data", "/second"] {
        let mut node = SteppedNode::start(TWO);
        assert_eq!(alter(&mut node, "a", dir), ErrorCode::ReplicaNotAvailable);
        assert_eq!(node.ask(&new_topic("a", 1, &[]), 7).topics[0].error_code, 0);
        node.step();
        assert_eq!(dir_of(&node, "a"), Path::new(dir));
    }
}

#[test]
fn a_replica_moves_to_no_directory_that_is_not_there_or_takes_none() {
    let mut node = SteppedNode::start(TWO);
    let topic = create(&mut node, "a", 1, &[]);
    put(&mut node, topic, "a");
    assert_eq!(alter(&mut node, "a", "/third"), ErrorCode::KafkaStorageError);
    let to = elsewhere(&node, "a");
    alter_well(&mut node, BROKER, "1", &[("cordoned.log.dirs", Some(to))]);
    node.step();
    assert_eq!(alter(&mut node, "a", to), ErrorCode::InvalidReplicaAssignment);
    alter_well(&mut node, BROKER, "1", &[("cordoned.log.dirs", None)]);
    node.step();
    node.disk.fail_dir(Path::new("/second"));
    node.node.logs().checkpoint_recovery_points();
    node.maintain().unwrap();
    assert_eq!(alter(&mut node, "a", "/second"), ErrorCode::KafkaStorageError);
}

#[test]
fn a_replica_whose_directory_fails_before_its_copy_takes_over_does_not_lead() {
    let mut node = SteppedNode::start(TWO);
    assert_eq!(alter(&mut node, "a", "/second"), ErrorCode::ReplicaNotAvailable);
    let topic = create(&mut node, "a", 1, &[]);
    put(&mut node, topic, "a");
    assert_eq!(alter(&mut node, "a", "/data"), ErrorCode::None);
    // The controller is told that the replica is there, before it is.
    node.step();
    assert_eq!((dir_of(&node, "a").as_path(), described(&mut node, "a").len()), (Path::new("/second"), 2));
    put(&mut node, topic, "b");
    node.disk.fail_dir(Path::new("/second"));
    node.node.logs().checkpoint_recovery_points();
    node.maintain().unwrap();
    node.pass_ms(5_000);
    let described = metadata(&mut node, &["a"], false).topics.remove(0);
    assert_eq!(described.partitions[0].leader_id, -1, "{described:?}");
    assert!(node.node.logs().log(&TopicPartition::new("a", 0)).is_none(), "the copy is one still");
    // With the disk mended the next start has all of it again, and goes on.
    node.disk.heal();
    let (disk, now) = node.kill();
    let mut node = SteppedNode::start_on(disk, TWO, now);
    node.run_until(|node| dir_of(node, "a") == Path::new("/data"));
    put(&mut node, topic, "c");
    assert_eq!(records(&log_of(&node, "a")), 3);
}

#[test]
fn a_directory_that_fails_ends_the_moves_to_it_and_nothing_else() {
    let mut node = SteppedNode::start(TWO);
    // It is to go to the second directory, whose failure a node survives.
    assert_eq!(alter(&mut node, "a", "/data"), ErrorCode::ReplicaNotAvailable);
    let (topic, to) = on_its_way(&mut node);
    assert_eq!(to, "/second");
    node.disk.fail_dir(Path::new(to));
    node.node.logs().checkpoint_recovery_points();
    node.maintain().unwrap();
    alter_well(&mut node, BROKER, "1", &[(RATE, None)]);
    node.pass_ms(5_000);
    put(&mut node, topic, "d");
    assert_eq!((dir_of(&node, "a").as_path(), records(&log_of(&node, "a"))), (Path::new("/data"), 4));
    assert!(node.node.logs().future_log(&TopicPartition::new("a", 0)).is_none());
}
