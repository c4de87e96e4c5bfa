//! Files that are damaged: each start says which, and what to do; where nothing is lost it goes on, as Apache Kafka does with
//! what can be made anew.

use std::path::{Path, PathBuf};
use std::time::Duration;

use expect_test::{Expect, expect};
use ottla_testkit::Launch;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::clients::{client, read_all};
use super::launch;
use super::startup::told;

/// A node with a topic and snapshots of its metadata, stopped.
struct Damaged {
    root: tempfile::TempDir,
    launch: Launch,
}

impl Damaged {
    fn new() -> Damaged {
        let root = tempfile::tempdir().unwrap();
        let launch = launch(root.path()).set("metadata.log.max.record.bytes.between.snapshots", "100");
        let ottla = launch.start();
        let producer: BaseProducer = client(&ottla, &[("acks", "all")]).create().unwrap();
        for value in ["a", "b", "c"] {
            producer.send(BaseRecord::<(), str>::to("topic").partition(0).payload(value)).unwrap();
        }
        producer.flush(Duration::from_secs(60)).unwrap();
        assert!(ottla.stop().success());
        Damaged { root, launch }
    }

    fn data(&self) -> PathBuf {
        self.root.path().join("ottla-data")
    }

    fn damage(&self, file: &str) -> Vec<u8> {
        let path = self.data().join(file);
        let whole = std::fs::read(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
        std::fs::write(path, "garbage\nand more\n").unwrap();
        whole
    }

    /// The start is refused, and goes well with the file mended.
    fn refuses(&self, file: &str, expected: &Expect) {
        let whole = self.damage(file);
        let ended = self.launch.run();
        assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(1), ""), "{file}: {}", ended.stderr);
        expected.assert_eq(&told(&ended.stderr));
        std::fs::write(self.data().join(file), whole).unwrap();
    }

    /// The start goes on, with everything there.
    fn goes_on(&self, file: &str, expected: &str) {
        self.damage(file);
        let ottla = self.launch.start();
        assert_eq!(read_all(&ottla, "topic"), ["a", "b", "c"], "{file}");
        let log = ottla.log();
        assert!(ottla.stop().success(), "{file}");
        let is_told = |line: &str| {
            (line.contains("WARN") || line.contains("ERROR"))
                && line.contains(file)
                && line.contains(expected)
        };
        assert!(expected.is_empty() || log.lines().any(is_told), "{file}: no '{expected}' in {log}");
    }
}

/// The newest snapshot, by its path in the data directory.
fn snapshot(data: &Path) -> String {
    let names = std::fs::read_dir(data.join("__cluster_metadata-0")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let last = names.filter(|name| name.ends_with(".checkpoint")).max().unwrap();
    format!("__cluster_metadata-0/{last}")
}

#[test]
fn what_cannot_be_made_anew_is_named_with_what_to_do() {
    let node = Damaged::new();
    let cases = [
        (
            "meta.properties",
            expect![[r#"
            error: ./ottla-data/meta.properties has no cluster.id: take the line from another log directory of this node
        "#]],
        ),
        (
            "bootstrap.checkpoint",
            expect![[r#"
            error: ./ottla-data/bootstrap.checkpoint can't be read: the metadata log is corrupt: ./ottla-data/bootstrap.checkpoint: no valid batch at byte 0: invalid magic 10. If the file is damaged, restore it from a copy, or remove it: a cluster that has been running before does not need it any more
        "#]],
        ),
        (
            "topic-0/partition.metadata",
            expect![[r#"
            error: the log directory ./ottla-data, which holds the metadata log, has failed while reading partition.metadata: ./ottla-data/topic-0/partition.metadata, line 1: 'garbage' is not a name and a value; write 'version: 0' and 'topic_id: <the topic's id>' as its two lines, or remove the partition's directory if other replicas have it. Mend that, or its disk, and start again
        "#]],
        ),
        (
            "topic-0/leader-epoch-checkpoint",
            expect![[r#"
                error: the log directory ./ottla-data, which holds the metadata log, has failed while loading a log: ./ottla-data/topic-0/leader-epoch-checkpoint, line 1: 'garbage' is not a version number; delete the file: leader epochs are noted again from the next one on. Mend that, or its disk, and start again
            "#]],
        ),
        (
            "__cluster_metadata-0/quorum-state",
            expect![[r#"
            error: the metadata log in ./ottla-data can't be opened: the metadata log is corrupt: ./ottla-data/__cluster_metadata-0/quorum-state: no valid JSON: expected value at line 1 column 1; restore it from a copy. The only voter of a quorum may also remove it: it votes for itself again
        "#]],
        ),
        (
            "__cluster_metadata-0/leader-epoch-checkpoint",
            expect![[r#"
                error: the metadata log in ./ottla-data can't be opened: log directory ./ottla-data failed while loading a log: ./ottla-data/__cluster_metadata-0/leader-epoch-checkpoint, line 1: 'garbage' is not a version number; delete the file: leader epochs are noted again from the next one on
            "#]],
        ),
        (
            "__cluster_metadata-0/partition.metadata",
            expect![[r#"
            error: the metadata log in ./ottla-data can't be opened: log directory ./ottla-data failed while reading partition.metadata: ./ottla-data/__cluster_metadata-0/partition.metadata, line 1: 'garbage' is not a name and a value; write 'version: 0' and 'topic_id: <the topic's id>' as its two lines, or remove the partition's directory if other replicas have it
        "#]],
        ),
    ];
    for (file, expected) in cases {
        node.refuses(file, &expected);
    }
    let newest = snapshot(&node.data());
    let whole = node.damage(&newest);
    let ended = node.launch.run();
    for text in [newest.as_str(), "invalid magic 10", "moving this one away may be enough"] {
        assert!(ended.stderr.contains(text), "no '{text}' in {}", ended.stderr);
    }
    std::fs::write(node.data().join(newest), whole).unwrap();
    assert!(node.launch.start().stop().success());
}

#[test]
fn what_can_be_made_anew_is_passed_over() {
    let node = Damaged::new();
    let cases = [
        ("recovery-point-offset-checkpoint", "delete the file: all logs of its directory are then checked"),
        ("log-start-offset-checkpoint", "delete the file: logs then start at their first segment"),
        ("replication-offset-checkpoint", "delete the file: high watermarks then start at"),
        ("cleaner-offset-checkpoint", "delete the file: compaction then starts at the beginning"),
        ("topic-0/00000000000000000003.snapshot", "is passed over"),
        (".kafka_cleanshutdown", ""),
    ];
    for (file, expected) in cases {
        if !node.data().join(file).exists() {
            std::fs::write(node.data().join(file), "").unwrap();
        }
        node.goes_on(file, expected);
    }
}

#[test]
fn what_the_messages_allow_to_be_removed_is_not_needed() {
    let node = Damaged::new();
    let files = [
        "bootstrap.checkpoint",
        "topic-0/leader-epoch-checkpoint",
        "__cluster_metadata-0/quorum-state",
        "__cluster_metadata-0/leader-epoch-checkpoint",
        "recovery-point-offset-checkpoint",
        "replication-offset-checkpoint",
    ];
    for file in files {
        std::fs::remove_file(node.data().join(file)).unwrap();
        let ottla = node.launch.start();
        assert_eq!(read_all(&ottla, "topic"), ["a", "b", "c"], "{file}");
        assert!(ottla.stop().success(), "{file}");
    }
}

#[test]
fn a_recovery_tells_how_far_it_has_come() {
    let root = tempfile::tempdir().unwrap();
    let launch = launch(root.path()).set("log.segment.bytes", "1048576");
    let ottla = launch.start();
    let of_producer = [("acks", "all"), ("batch.num.messages", "1")];
    let producer: BaseProducer = client(&ottla, &of_producer).create().unwrap();
    let value = "v".repeat(400_000);
    for topic in ["one", "two", "two", "two", "two", "two"] {
        producer.send(BaseRecord::<(), str>::to(topic).partition(0).payload(&value)).unwrap();
        producer.flush(Duration::from_secs(60)).unwrap();
    }
    assert!(ottla.stop().success());
    // As if nothing had ever been flushed.
    let data = root.path().join("ottla-data");
    std::fs::remove_file(data.join(".kafka_cleanshutdown")).unwrap();
    std::fs::remove_file(data.join("recovery-point-offset-checkpoint")).unwrap();
    let ottla = launch.start();
    assert_eq!(read_all(&ottla, "two").len(), 5);
    let log = ottla.log();
    assert!(ottla.stop().success());
    let is_told = |texts: &[&str]| {
        let told = log.lines().any(|line| texts.iter().all(|text| line.contains(text)));
        assert!(told, "no line with {texts:?} in {log}");
    };
    for (recovered, base_offset) in [(1, 0), (2, 2), (3, 4)] {
        let segment = format!("partition=two-0 base_offset={base_offset} recovered={recovered} of=3");
        is_told(&["recovered a segment", &segment]);
    }
    // They are recovered in any order.
    for partition in ["one-0", "two-0"] {
        is_told(&["recovered a log", &format!("partition={partition} "), " of=2"]);
    }
    for loaded in [1, 2] {
        is_told(&["recovered a log", &format!(" loaded={loaded} of=2")]);
    }
}
