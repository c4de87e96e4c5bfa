//! Log directories that fail or are full, and logs that are emptied, compacted and deleted.

use std::path::Path;

use ottla_broker::log_maintenance::Halt;
use ottla_log::disk::Disk;
use ottla_types::{Offset, Uuid};
use ottla_wire::ErrorCode;

use crate::configs::{TOPIC, alter_well};
use crate::harness::SteppedNode;
use crate::log_settings::{log_of, produce, put, records};
use crate::topics::{create, metadata};

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
