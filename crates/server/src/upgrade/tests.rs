use std::collections::BTreeSet;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use expect_test::{Expect, expect};
use ottla_broker::quorum::PARTITION_DIR;
use ottla_config::Config;
use ottla_log::disk::{Disk, Open, SimDisk};
use ottla_log::{clean_shutdown, files};
use ottla_raft::{ControlRecord, record_batches};
use ottla_record::{BatchBuilder, BatchOptions, NewRecord};
use ottla_types::{BrokerEpoch, LeaderEpoch, MonoMs, NodeId, Now, Offset, Timestamp, Uuid};
use ottla_wire::records::{
    AccessControlEntryRecord, ClientQuotaRecord, ConfigRecord, FeatureLevelRecord, MetadataRecord,
    PartitionRecord, TopicRecord,
};

use super::*;
use crate::storage::{DynamicVoters, FeatureLevels, Formatter};

const NOW: Now = Now { wall: Timestamp(0), mono: MonoMs(0) };
const DIR: &str = "/upgrade-check";

/// A directory that was formatted and left clean.
fn formatted() -> Arc<dyn Disk> {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
    let formatter = Formatter {
        node_id: NodeId(1),
        cluster_id: "4L6g3nShT-eMCtK--X86sw".to_owned(),
        log_dirs: [DIR.to_owned()].into(),
        metadata_log_dir: DIR.to_owned(),
        controller_listener: "CONTROLLER".to_owned(),
        features: FeatureLevels::new(None, &[], true).unwrap(),
        scram_credentials: Vec::new(),
        initial_controllers: Some(DynamicVoters::parse("1@localhost:9093:07R5amHmR32VDA6jHkGbTA").unwrap()),
        ignores_formatted: false,
    };
    formatter.run(&disk, NOW, &mut |_| {}).unwrap();
    clean_shutdown::write(&*disk, Path::new(DIR), BrokerEpoch(1)).unwrap();
    disk
}

fn path(name: &str) -> std::path::PathBuf {
    Path::new(DIR).join(name)
}

fn write(disk: &dyn Disk, name: &str, content: &[u8]) {
    let path = path(name);
    disk.create_dir_all(path.parent().unwrap()).unwrap();
    let file = disk.open(&path, Open::Create).unwrap();
    let end = file.len().unwrap();
    file.write_all_at(&[IoSlice::new(content)], end).unwrap();
}

/// Appends a batch to the metadata log.
fn metadata(disk: &dyn Disk, base_offset: i64, records: &[(MetadataRecord, i16)]) {
    let values: Vec<Bytes> =
        records.iter().map(|(record, version)| record.encode(*version).unwrap()).collect();
    let batch =
        record_batches::encode_data(Offset(base_offset), LeaderEpoch(1), Timestamp(1), &values).unwrap();
    write(disk, &format!("{PARTITION_DIR}/{:020}.log", 0), &batch);
}

fn level(name: &str, level: i16) -> (MetadataRecord, i16) {
    let record =
        FeatureLevelRecord { name: name.to_owned(), feature_level: level, ..FeatureLevelRecord::default() };
    (MetadataRecord::FeatureLevel(record), 0)
}

fn config_record(resource_type: i8, resource: &str, name: &str, value: &str) -> (MetadataRecord, i16) {
    let record = ConfigRecord {
        resource_type,
        resource_name: resource.to_owned(),
        name: name.to_owned(),
        value: Some(value.to_owned()),
        ..ConfigRecord::default()
    };
    (MetadataRecord::Config(record), 0)
}

fn dirs() -> BTreeSet<String> {
    [DIR.to_owned()].into()
}

fn checked(disk: &dyn Disk) -> Report {
    let mut report = Report::default();
    check_directories(disk, &dirs(), None, &mut report);
    report
}

#[track_caller]
fn check(disk: &dyn Disk, gravest: Option<Weight>, expected: Expect) {
    let report = checked(disk);
    assert_eq!(report.gravest(), gravest);
    expected.assert_eq(&report.text());
}

#[test]
fn a_node_of_which_nothing_is_lost() {
    let disk = formatted();
    metadata(&*disk, 0, &[level("metadata.version", 30), level("group.version", 1)]);
    let control = [ControlRecord::KRaftVersion(1)];
    let batch = record_batches::encode_control(Offset(2), LeaderEpoch(1), Timestamp(1), &control).unwrap();
    write(&*disk, &format!("{PARTITION_DIR}/{:020}.log", 0), &batch);
    write(&*disk, "t-0/00000000000000000000.log", &batch);
    // The torn end of a log is no fault.
    write(&*disk, &format!("{PARTITION_DIR}/{:020}.log", 0), &batch[..30]);
    check(
        &*disk,
        None,
        expect![[r#"
        node 1 of cluster 4L6g3nShT-eMCtK--X86sw
        metadata.version 4.3-IV0 (30), kraft.version 1, 0 brokers, 0 topics, 0 partitions
        voters of the quorum: 1-07R5amHmR32VDA6jHkGbTA
        /upgrade-check: 1 partitions, 1 segments

        Nothing is in the way.
    "#]],
    );
}

#[test]
fn a_node_that_was_never_started() {
    check(
        &*formatted(),
        Some(Weight::ToKnow),
        expect![[r#"
        node 1 of cluster 4L6g3nShT-eMCtK--X86sw
        metadata.version 4.3-IV0 (30), kraft.version 1, 0 brokers, 0 topics, 0 partitions
        voters of the quorum: 1-07R5amHmR32VDA6jHkGbTA
        /upgrade-check: 0 partitions, 0 segments

        To know:
          - the node was formatted and never started

        Nothing is in the way.
    "#]],
    );
}

#[test]
fn what_is_kept_and_not_acted_on() {
    let disk = formatted();
    let topic_id = Uuid([7; 16]);
    let acl = AccessControlEntryRecord {
        id: Uuid([1; 16]),
        principal: "User:a".to_owned(),
        ..AccessControlEntryRecord::default()
    };
    let topic = TopicRecord { name: "t".to_owned(), topic_id, ..TopicRecord::default() };
    let partition = PartitionRecord {
        topic_id,
        replicas: vec![1, 2],
        isr: vec![1],
        leader: 1,
        ..PartitionRecord::default()
    };
    let quota = ClientQuotaRecord {
        key: "producer_byte_rate".to_owned(),
        value: 1.0,
        ..ClientQuotaRecord::default()
    };
    metadata(
        &*disk,
        0,
        &[
            level("metadata.version", 30),
            (MetadataRecord::AccessControlEntry(acl), 0),
            (MetadataRecord::ClientQuota(quota), 0),
            (MetadataRecord::Topic(topic), 0),
            (MetadataRecord::Partition(partition), 0),
            config_record(16, "subscription", "metrics", "*"),
            config_record(4, "", "ssl.cipher.suites", "X"),
        ],
    );
    check(
        &*disk,
        Some(Weight::NotActedOn),
        expect![[r#"
            node 1 of cluster 4L6g3nShT-eMCtK--X86sw
            metadata.version 4.3-IV0 (30), kraft.version 1, 0 brokers, 1 topics, 1 partitions
            voters of the quorum: 1-07R5amHmR32VDA6jHkGbTA
            /upgrade-check: 0 partitions, 0 segments

            Kept, but not acted on:
              - access rules (ACLs), 1 of them: nobody is denied anything
              - quotas of clients or users, 1 of them: nobody is held to them
              - subscriptions to metrics of clients, 1 of them: no client is asked for metrics
              - ssl.cipher.suites is set for all brokers, and nothing acts on it yet

            To know:
              - 1 partitions lack replicas in sync on other brokers, as far as this node has heard: before a node is stopped, wait until kafka-topics --describe --under-replicated-partitions shows none

            This node can be taken over; see what would not be acted on.
        "#]],
    );
}

#[test]
fn what_is_in_the_way() {
    let disk = formatted();
    metadata(
        &*disk,
        0,
        &[
            level("metadata.version", 30),
            level("future.version", 1),
            config_record(2, "t", "remote.storage.enable", "true"),
        ],
    );
    disk.create_dir_all(&path("lost+found")).unwrap();
    check(
        &*disk,
        Some(Weight::InTheWay),
        expect![[r#"
        node 1 of cluster 4L6g3nShT-eMCtK--X86sw
        metadata.version 4.3-IV0 (30), kraft.version 1, 0 brokers, 0 topics, 0 partitions
        voters of the quorum: 1-07R5amHmR32VDA6jHkGbTA
        /upgrade-check: 0 partitions, 0 segments

        In the way: Ottla would not start, or not have what is stored:
          - the feature future.version is finalized at level 1, and this program does not know it: a node that runs it can't register. kafka-features downgrade --feature future.version=0, if that may be
          - topics have records in remote storage, which there is not here (t): what is only there can't be read. Turn it off for them first (remote.storage.enable, with remote.log.delete.on.disable or after the records have been brought back)
          - /upgrade-check: 'lost+found' is not the name of a partition's directory (topic-partition, or topic-partition.id-delete, -future or -stray): move it out of the log directory if it is not Kafka's

        This node can't be taken over as it is.
    "#]],
    );
}

#[test]
fn levels_of_later_versions() {
    let disk = formatted();
    metadata(&*disk, 0, &[level("metadata.version", 31)]);
    let report = checked(&*disk);
    let found: Vec<_> = report.of(Weight::InTheWay).collect();
    expect!["the metadata log in /upgrade-check: the metadata log sets metadata.version to level 31; this version supports 7 to 30"].assert_eq(&found.join("\n"));
}

#[test]
fn directories_that_do_not_fit() {
    let disk = formatted();
    files::replace(&*disk, &path("meta.properties"), b"version=1\ncluster.id=c\nnode.id=7\n").unwrap();
    clean_shutdown::remove(&*disk, Path::new(DIR)).unwrap();
    let config = Config::of_pairs([
        ("process.roles", "broker"),
        ("node.id", "1"),
        ("controller.listener.names", "CONTROLLER"),
        ("controller.quorum.bootstrap.servers", "localhost:1"),
        ("listeners", "PLAINTEXT://localhost:2"),
    ])
    .unwrap();
    let dirs = [DIR.to_owned(), "/none".to_owned()].into();
    let mut report = Report::default();
    check_directories(&*disk, &dirs, Some(&config), &mut report);
    expect![[r#"
        node 7 of cluster c
        metadata.version 4.3-IV0 (30), kraft.version 1, 0 brokers, 0 topics, 0 partitions
        voters of the quorum: 1-07R5amHmR32VDA6jHkGbTA
        /upgrade-check: 0 partitions, 0 segments

        In the way: Ottla would not start, or not have what is stored:
          - /none does not exist

        To know:
          - /upgrade-check was not left clean, or never used: its logs are recovered at the next start, by whichever program. Start and stop the node in good order to spare that
          - the node was formatted and never started

        This node can't be taken over as it is.
    "#]].assert_eq(&report.text());
    let mut report = Report::default();
    check_directories(&*disk, &[DIR.to_owned()].into(), Some(&config), &mut report);
    assert!(report.of(Weight::InTheWay).any(|text| text.contains("Stored node id 7")), "{}", report.text());
}

#[test]
fn settings() {
    let mut pairs = vec![
        ("process.roles", "broker"),
        ("node.id", "1"),
        ("controller.listener.names", "CONTROLLER"),
        ("controller.quorum.bootstrap.servers", "localhost:1"),
        ("listeners", "PLAINTEXT://localhost:2"),
    ];
    let checked = |pairs: &[(&str, &str)], warnings: &[Warning]| {
        let mut report = Report::default();
        check_settings(&Config::of_pairs(pairs.iter().copied()).unwrap(), warnings, &mut report);
        report
    };
    assert_eq!(checked(&pairs, &[]).gravest(), None);
    let idle = Warning::NotActedOn { names: vec!["metric.reporters"] };
    assert_eq!(checked(&pairs, &[idle]).gravest(), Some(Weight::NotActedOn));
    pairs.push(("super.users", "User:a"));
    let report = checked(&pairs, &[]);
    assert!(
        report.of(Weight::InTheWay).any(|text| text.starts_with("super.users=User:a")),
        "{}",
        report.text()
    );
}

/// The first bytes of a message of format 1.
fn older_batch() -> Vec<u8> {
    let mut bytes = vec![0; 12];
    bytes[8..12].copy_from_slice(&100i32.to_be_bytes());
    bytes.extend([0, 0, 0, 0, 1]);
    bytes.resize(112, 0);
    bytes
}

fn streams_group(group: &str, is_there: bool, base_offset: i64) -> Vec<u8> {
    let mut key = BytesMut::new();
    key.put_i16(17);
    key.put_i16(group.len() as i16);
    key.put_slice(group.as_bytes());
    let options = BatchOptions { base_offset: Offset(base_offset), ..BatchOptions::default() };
    let mut builder = BatchBuilder::new(options);
    let value = is_there.then_some(&b"\0\0"[..]);
    let record = NewRecord { timestamp: Timestamp(1), key: Some(&key), value, ..NewRecord::default() };
    builder.append(&record).unwrap();
    builder.build().unwrap()
}

#[test]
fn what_lies_in_partitions() {
    let disk = formatted();
    metadata(&*disk, 0, &[level("metadata.version", 30)]);
    write(&*disk, "old-0/00000000000000000000.log", &older_batch());
    write(&*disk, "old-0/00000000000000000009.log", &streams_group("x", true, 9));
    disk.create_dir_all(&path("t-0.0123abc-future")).unwrap();
    disk.create_dir_all(&path("t-1.0123abc-delete")).unwrap();
    let log = "__consumer_offsets-3/00000000000000000000.log";
    for (offset, (group, is_there)) in (0..).zip([("gone", true), ("here", true), ("gone", false)]) {
        write(&*disk, log, &streams_group(group, is_there, offset));
    }
    check(
        &*disk,
        Some(Weight::NotActedOn),
        expect![[r#"
        node 1 of cluster 4L6g3nShT-eMCtK--X86sw
        metadata.version 4.3-IV0 (30), kraft.version 1, 0 brokers, 0 topics, 0 partitions
        voters of the quorum: 1-07R5amHmR32VDA6jHkGbTA
        /upgrade-check: 2 partitions, 3 segments

        Kept, but not acted on:
          - streams groups (KIP-1071) are not served: their members can't join (here). Groups of Kafka Streams with group.protocol=classic are served

        To know:
          - 1 of 3 segments in /upgrade-check begin with records in a format older than Kafka 0.11's: they are kept, served and compacted as they are
          - replicas that move to /upgrade-check from another log directory, 1 of them: let them arrive first (kafka-log-dirs shows isFuture)

        This node can be taken over; see what would not be acted on.
    "#]],
    );
}
