//! What goes wrong at the start is said so that it can be mended, and nothing is written meanwhile.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use expect_test::{Expect, expect};
use ottla_testkit::Launch;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::administering::create_topic;
use super::clients::{client, read_all};
use super::deliveries::Deliveries;
use super::network::until;
use super::{command, launch};

/// The start is refused: with code 1, nothing on standard output, and on standard error, beside log lines, what is expected.
fn refuses(launch: &Launch, expected: Expect) {
    refuses_with(1, launch, expected);
}

fn refuses_with(code: i32, launch: &Launch, expected: Expect) {
    let ended = launch.run();
    assert_eq!(ended.status.code(), Some(code), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
    expected.assert_eq(&told(&ended.stderr));
}

/// What is told on standard error beside log lines, without what differs from run to run.
pub fn told(stderr: &str) -> String {
    let is_logged = |line: &&str| line.starts_with(|first: char| first.is_ascii_digit());
    let told: Vec<_> = stderr.lines().filter(|line| !is_logged(line)).map(masked).collect();
    told.join("\n") + "\n"
}

/// What differs from run to run stands behind these.
const CHANGING: &[&str] = &["127.0.0.1:", "--cluster-id ", "Expected ", "0x", "at offset "];

fn masked(line: &str) -> String {
    CHANGING.iter().fold(line.to_owned(), |line, before| {
        let mut parts = line.split(before);
        let mut masked = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let end = part.find([' ', ',', '.', ':']).unwrap_or(part.len());
            masked.extend([before, "_", &part[end..]]);
        }
        masked
    })
}

/// Starts a node on `dir` once, so that there is data.
fn used(dir: &Path) -> Launch {
    let launch = launch(dir);
    assert!(launch.start().stop().success());
    launch
}

#[test]
fn a_taken_port_is_told_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    refuses(
        &launch(dir.path()).listening_on(port, 0),
        expect![[r#"
            error: listener PLAINTEXT: 127.0.0.1:_ is in use: another program, or another node, listens there. Stop it, or give the listener another port (listeners=...)
        "#]],
    );
    assert!(!dir.path().join("ottla-data").exists());
}

#[test]
fn flags_that_there_are_not_are_refused_with_a_suggestion() {
    let dir = tempfile::tempdir().unwrap();
    refuses_with(
        2,
        &command(dir.path(), &["--confg", "x"]),
        expect![[r#"
        error: unexpected argument '--confg' found

          tip: a similar argument exists: '--config'

        Usage: ottla --config <FILE>

        For more information, try '--help'.
    "#]],
    );
    let ended = command(dir.path(), &["--version"]).run();
    assert_eq!(ended.stdout, format!("ottla {}\n", env!("CARGO_PKG_VERSION")));
    let ended = command(dir.path(), &["--help"]).run();
    assert!(ended.status.success() && ended.stdout.contains("Usage: ottla"), "{}", ended.stdout);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    refuses(
        &launch(dir.path()).set("num.partitions", "0"),
        expect![[r#"
        error: Invalid value 0 for configuration num.partitions: Value must be at least 1 (--override)
    "#]],
    );
    refuses(
        &launch(dir.path()).argument("--config").argument("none"),
        expect![[r#"
        error: can't read none: No such file or directory (os error 2)
    "#]],
    );
    refuses(
        &launch(dir.path()).set("authorizer.class.name", "x.Y"),
        expect![[r#"
            error: authorizer.class.name=x.Y (--override) is refused: there are no access rules yet, so everybody could do everything. Remove it, or set it to its default (empty).
        "#]],
    );
    assert!(!dir.path().join("ottla-data").exists());
}

#[test]
fn the_effective_configuration_is_printed() {
    let dir = tempfile::tempdir().unwrap();
    let launch = launch(dir.path()).variable("KAFKA_NUM_PARTITIONS", "7").argument("--check-config");
    let ended = launch.run();
    assert!(ended.status.success());
    let line = ended.stdout.lines().find(|line| line.starts_with("num.partitions=")).unwrap();
    assert!(
        line.starts_with("num.partitions=7 ") && line.ends_with("# environment KAFKA_NUM_PARTITIONS"),
        "{line}"
    );
    assert!(!dir.path().join("ottla-data").exists());
}

#[test]
fn a_file_in_the_directorys_place_is_told() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ottla-data"), "").unwrap();
    refuses(
        &launch(dir.path()),
        expect![[r#"
        error: ./ottla-data is not a directory, but log.dirs names it as one: move the file away, or name another directory
    "#]],
    );
}

#[test]
fn what_is_not_empty_is_not_formatted() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("ottla-data");
    std::fs::create_dir_all(data.join("photos")).unwrap();
    refuses(
        &launch(dir.path()),
        expect![[r#"
        error: ./ottla-data has no meta.properties but is not empty (photos is in it): only an empty directory is formatted. Name another directory in log.dirs, move away what is in this one, or bring meta.properties back
    "#]],
    );
    assert!(!data.join("meta.properties").exists());
}

#[test]
fn formatting_that_was_cut_off_is_done_again() {
    let dir = tempfile::tempdir().unwrap();
    let launch = used(dir.path());
    let data = dir.path().join("ottla-data");
    let keep = ["bootstrap.checkpoint", ".lock"];
    for entry in std::fs::read_dir(&data).unwrap().map(Result::unwrap) {
        let is_dir = entry.file_type().unwrap().is_dir();
        if is_dir {
            std::fs::remove_dir_all(entry.path()).unwrap();
        } else if !keep.contains(&&*entry.file_name().to_string_lossy()) {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    std::fs::create_dir(data.join("__cluster_metadata-0")).unwrap();
    std::fs::write(data.join("__cluster_metadata-0/00000000000000000000-0000000000.checkpoint"), "half")
        .unwrap();
    assert!(launch.start().stop().success());
}

#[test]
fn one_directory_has_one_node() {
    let dir = tempfile::tempdir().unwrap();
    let launch = launch(dir.path());
    let _first = launch.start();
    refuses(
        &launch,
        expect![[r#"
        error: ./ottla-data is in use by another process: stop it, or choose another log directory. (Its lock is ./ottla-data/.lock)
    "#]],
    );
}

#[test]
fn directories_of_others_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let launch = used(dir.path());
    refuses(
        &launch.clone().set("node.id", "2"),
        expect![[r#"
        error: Stored node id 1 doesn't match previous node id 2 in ./ottla-data/meta.properties. If you moved your data, make sure your configured node id matches. If you intend to create a new node, you should remove all data in your data directories.
    "#]],
    );
    refuses(
        &launch.clone().set("log.dirs", "./ottla-data,./more"),
        expect![[r#"
            error: ./more is not formatted, while other log directories of this node are. If a disk is missing there, mount it; if the directory is new, run: ottla storage format --ignore-formatted with this configuration and --cluster-id _
        "#]],
    );
}

#[test]
fn damaged_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let launch = used(dir.path());
    let data = dir.path().join("ottla-data");
    let bootstrap = std::fs::read(data.join("bootstrap.checkpoint")).unwrap();
    let mut damaged = bootstrap.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(data.join("bootstrap.checkpoint"), &damaged).unwrap();
    refuses(
        &launch,
        expect![[r#"
            error: ./ottla-data/bootstrap.checkpoint can't be read: the metadata log is corrupt: ./ottla-data/bootstrap.checkpoint: checksum mismatch: stored 0x_, computed 0x_. If the file is damaged, restore it from a copy, or remove it: a cluster that has been running before does not need it any more
        "#]],
    );
    std::fs::write(data.join("bootstrap.checkpoint"), &bootstrap).unwrap();

    let properties = std::fs::read_to_string(data.join("meta.properties")).unwrap();
    std::fs::write(data.join("meta.properties"), "version=1\n").unwrap();
    refuses(
        &launch,
        expect![[r#"
        error: ./ottla-data/meta.properties: node.id is missing; it should say version=1, node.id, cluster.id and directory.id: copy it from another log directory of this node and give it a directory.id of its own
    "#]],
    );
    std::fs::write(data.join("meta.properties"), properties).unwrap();
    assert!(launch.start().stop().success());
}

#[test]
fn a_stop_is_clean_and_a_kill_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let launch = launch(dir.path());
    let mark = dir.path().join("ottla-data/.kafka_cleanshutdown");
    let ottla = launch.start();
    assert!(!mark.exists());
    assert!(ottla.stop().success());
    assert!(mark.exists());
    let mut ottla = launch.start();
    assert!(!mark.exists());
    ottla.interrupt();
    assert!(ottla.wait().success());
    launch.start().kill();
    assert!(!mark.exists());
    assert!(launch.start().stop().success());
}

/// Sends numbers without a pause, for as long as there is somebody to take them.
fn start_sending(producer: ThreadedProducer<Deliveries>, is_done: Arc<AtomicBool>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut number = 0;
        while !is_done.load(Ordering::Relaxed) {
            let value = number.to_string();
            match producer.send(BaseRecord::<(), str>::to("load").partition(0).payload(&value)) {
                Ok(()) => number += 1,
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    })
}

#[test]
fn a_stop_under_load_waits_for_nobody_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let launch = launch(dir.path());
    let ottla = launch.start();
    create_topic(&ottla, "load", 1);
    create_topic(&ottla, "silent", 1);
    // A client that never says anything, and one that stopped in the middle of a request.
    let silent = std::net::TcpStream::connect(ottla.bootstrap()).unwrap();
    let mut half = std::net::TcpStream::connect(ottla.bootstrap()).unwrap();
    half.write_all(&[0, 0, 0, 100, 0]).unwrap();
    // One that waits longer for records than anybody here waits for the stop.
    let patient = [("group.id", "patient"), ("fetch.wait.max.ms", "200000"), ("socket.timeout.ms", "250000")];
    let consumer: BaseConsumer = client(&ottla, &patient).create().unwrap();
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset("silent", 0, Offset::Beginning).unwrap();
    consumer.assign(&assignment).unwrap();
    // And one that sends all it can.
    let deliveries = Deliveries::default();
    let settings = [("acks", "all"), ("queue.buffering.max.messages", "1000"), ("log_level", "0")];
    let producer = client(&ottla, &settings).create_with_context(deliveries.clone()).unwrap();
    let is_done = Arc::new(AtomicBool::new(false));
    let sending = start_sending(producer, Arc::clone(&is_done));
    until(|| {
        consumer.poll(Duration::from_millis(10));
        deliveries.count() > 1000
    });
    assert!(ottla.stop().success());
    is_done.store(true, Ordering::Relaxed);
    sending.join().unwrap();
    drop((silent, half, consumer));

    let ottla = launch.start();
    assert!(!ottla.log().contains("recovered a log"), "the stop was clean");
    let stored = read_all(&ottla, "load");
    for delivery in deliveries.all() {
        if let Ok(offset) = delivery.result {
            assert_eq!(stored[usize::try_from(offset).unwrap()].as_bytes(), delivery.value);
        }
    }
    assert!(ottla.stop().success());
}

#[test]
fn a_cluster_is_not_mixed_with_another() {
    let dir = tempfile::tempdir().unwrap();
    let launch = launch(dir.path()).set("log.dirs", "./one,./two");
    assert!(launch.start().stop().success());
    let path = dir.path().join("two/meta.properties");
    let text = std::fs::read_to_string(&path).unwrap();
    let own = text.lines().find_map(|line| line.strip_prefix("cluster.id=")).unwrap();
    std::fs::write(&path, text.replace(own, "another-cluster")).unwrap();
    refuses(
        &launch,
        expect![[r#"
        error: Invalid cluster.id in: ./two/meta.properties. Expected _, but read another-cluster: the directory belongs to another cluster. Remove it from log.dirs, or empty it if nothing in it is needed.
    "#]],
    );
}

#[test]
fn directories_that_are_no_partitions_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let launch = used(dir.path());
    std::fs::create_dir(dir.path().join("ottla-data/photos")).unwrap();
    refuses(
        &launch,
        expect![[r#"
            error: the logs could not be loaded: in log directory ./ottla-data: 'photos' is not the name of a partition's directory (topic-partition, or topic-partition.id-delete, -future or -stray): move it out of the log directory if it is not Kafka's
        "#]],
    );
}

/// Puts another level in the place of the one that the metadata log gives metadata.version, as a newer program would
/// have written it.
fn set_metadata_version(log: &Path, level: i16) {
    const NAME: &[u8] = b"metadata.version";
    let mut bytes = std::fs::read(log).unwrap();
    let at = bytes.windows(NAME.len()).position(|window| window == NAME).unwrap() + NAME.len();
    bytes[at..at + 2].copy_from_slice(&level.to_be_bytes());
    let mut batch = 0;
    loop {
        let length = u32::from_be_bytes(bytes[batch + 8..batch + 12].try_into().unwrap());
        let end = batch + 12 + usize::try_from(length).unwrap();
        if at < end {
            let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &bytes[batch + 21..end]);
            bytes[batch + 17..batch + 21].copy_from_slice(&u32::try_from(crc).unwrap().to_be_bytes());
            break;
        }
        batch = end;
    }
    std::fs::write(log, bytes).unwrap();
}

#[test]
fn metadata_of_a_newer_version_is_refused_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let launch = used(dir.path());
    let log = dir.path().join("ottla-data/__cluster_metadata-0/00000000000000000000.log");
    set_metadata_version(&log, 99);
    let before = std::fs::read(&log).unwrap();
    refuses(
        &launch,
        expect![[r#"
            error: ./ottla-data/__cluster_metadata-0: the metadata log can't be replayed at offset _: the metadata log sets metadata.version to level 99; this version supports 7 to 30. Start a version that knows this level; nothing has been lost
        "#]],
    );
    assert!(std::fs::read(&log).unwrap().starts_with(&before));
}

#[test]
fn partitions_are_not_set_aside_for_want_of_metadata() {
    let dir = tempfile::tempdir().unwrap();
    let launch = launch(dir.path());
    let ottla = launch.start();
    create_topic(&ottla, "kept", 1);
    assert!(ottla.stop().success());
    let log = dir.path().join("ottla-data/__cluster_metadata-0/00000000000000000000.log");
    let whole = std::fs::read(&log).unwrap();
    for damaged in ["", "garbage"] {
        std::fs::write(&log, damaged).unwrap();
        refuses(
            &launch,
            expect![[r#"
                error: nothing is in the metadata log in ./ottla-data, but there are logs of partitions (./ottla-data/kept-0 is one): without the metadata, nobody knows their topics. Restore __cluster_metadata-0 from a copy; or, to begin anew without them, move them away
            "#]],
        );
    }
    std::fs::write(&log, whole).unwrap();
    let ottla = launch.start();
    assert_eq!(read_all(&ottla, "kept"), Vec::<String>::new());
    assert!(ottla.stop().success());
}

#[test]
fn damaged_checkpoints_cost_time_and_no_records() {
    let dir = tempfile::tempdir().unwrap();
    let launch = launch(dir.path());
    let ottla = launch.start();
    let producer: BaseProducer = client(&ottla, &[("acks", "all")]).create().unwrap();
    for value in ["a", "b", "c"] {
        producer.send(BaseRecord::<(), str>::to("topic").partition(0).payload(value)).unwrap();
    }
    producer.flush(Duration::from_secs(60)).unwrap();
    assert!(ottla.stop().success());
    let names =
        ["recovery-point-offset-checkpoint", "replication-offset-checkpoint", "log-start-offset-checkpoint"];
    for name in names {
        std::fs::write(dir.path().join("ottla-data").join(name), "garbage").unwrap();
    }
    let ottla = launch.start();
    assert_eq!(read_all(&ottla, "topic"), ["a", "b", "c"]);
    for name in names {
        let warned = |line: &str| line.contains("WARN") && line.contains(name);
        assert!(ottla.log().lines().any(warned), "{name}: {}", ottla.log());
    }
    assert!(ottla.stop().success());
}

/// The keys of the file that comes with Apache Kafka, with what they are there, but for paths.
const OF_KAFKA: &str = "\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=./kraft-combined-logs
num.partitions=1
num.recovery.threads.per.data.dir=1
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
";

fn with_file(dir: &Path, text: &str) -> Launch {
    std::fs::write(dir.join("server.properties"), text).unwrap();
    command(dir, &["--config", "server.properties"])
}

#[test]
fn the_file_that_comes_with_kafka_is_taken_without_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let launch = with_file(dir.path(), OF_KAFKA)
        .listening_on(0, 0)
        .set("advertised.listeners", "PLAINTEXT://localhost:0,CONTROLLER://localhost:0");
    let ottla = launch.start();
    assert!(ottla.bootstrap().starts_with("localhost:"), "{}", ottla.bootstrap());
    assert!(!ottla.log().contains("warning"), "{}", ottla.log());
    assert!(ottla.stop().success());
    assert!(dir.path().join("kraft-combined-logs/meta.properties").exists());
}

#[test]
fn settings_that_are_not_understood_or_not_acted_on_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let more = "log.retention.hour=1\nzookeeper.connect=z:2181\nnum.io.threads=16\nbackground.threads=3\n";
    let ended = with_file(dir.path(), &format!("{OF_KAFKA}{more}"))
        .variable("KAFKA_LOG_RETENTON_MS", "5")
        .variable("KAFKA_HEAP_OPTS", "-Xmx1g")
        .argument("--check-config")
        .run();
    assert!(ended.status.success(), "{}", ended.stderr);
    expect![[r#"
        warning: unknown setting KAFKA_LOG_RETENTON_MS (environment KAFKA_LOG_RETENTON_MS) is ignored; did you mean log.retention.ms?
        warning: unknown setting log.retention.hour (server.properties:25) is ignored; did you mean log.retention.hours?
        warning: unknown setting zookeeper.connect (server.properties:26) is ignored
        warning: accepted, but nothing acts on these settings yet: background.threads
    "#]].assert_eq(&told(&ended.stderr));
    let ended = with_file(dir.path(), "zookeeper.connect=z:2181\nbroker.id=1\n").run();
    assert_eq!(ended.status.code(), Some(1));
    expect![[r#"
        error: Missing required configuration "controller.listener.names" which has no default value.
        error: Missing required configuration "process.roles" which has no default value.
        error: zookeeper.connect is set: this is a configuration for ZooKeeper, which Kafka has left behind with 4.0. Give process.roles, node.id, controller.listener.names and controller.quorum.bootstrap.servers instead.
    "#]].assert_eq(&told(&ended.stderr));
}

#[test]
fn flags_are_stronger_than_the_environment_and_that_than_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let effective = |launch: &Launch| {
        let ended = launch.run();
        let line = ended.stdout.lines().find(|line| line.starts_with("num.partitions=")).unwrap().to_owned();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let twice = format!("{OF_KAFKA}num.partitions=2\nnum.partitions=3\n");
    let file = with_file(dir.path(), &twice).argument("--check-config");
    assert_eq!(effective(&file), "num.partitions=3 # server.properties:26");
    let environment = file.variable("KAFKA_NUM_PARTITIONS", "4");
    assert_eq!(effective(&environment), "num.partitions=4 # environment KAFKA_NUM_PARTITIONS");
    assert_eq!(effective(&environment.set("num.partitions", "5")), "num.partitions=5 # --override");
}

#[test]
fn directories_that_cannot_be_used_are_told() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    refuses(
        &launch(dir.path()).set("log.dirs", "./file/below"),
        expect![[r#"
        error: the log directory ./file/below can't be used: Not a directory (os error 20). Make it one that this user may read and write, or name another in log.dirs
    "#]],
    );
    std::fs::create_dir_all(dir.path().join("locked/.lock")).unwrap();
    refuses(
        &launch(dir.path()).set("log.dirs", "./locked"),
        expect![[r#"
            error: the log directory ./locked can't be used: Is a directory (os error 21). Make it one that this user may read and write, or name another in log.dirs
        "#]],
    );
    // A second directory that can't be used is left out, as long as there is another.
    let ottla = launch(dir.path()).set("log.dirs", "./good,./file/below").start();
    let said = |line: &str| {
        line.contains("ERROR") && line.contains("./file/below") && line.contains("going on without it")
    };
    assert!(ottla.log().lines().any(said), "{}", ottla.log());
    assert!(ottla.stop().success());
}

#[test]
fn a_start_tells_where_it_listens_and_where_its_data_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut ottla = launch(dir.path()).start_in_view();
    let (bootstrap, lines) = (ottla.0.bootstrap().to_owned(), ottla.1.clone());
    ottla.0.interrupt();
    assert!(ottla.0.wait().success());
    let is_time = |text: &str| text.strip_suffix(" ms.").is_some_and(|ms| ms.parse::<u64>().is_ok());
    let first = lines[0].strip_prefix(&format!("Ottla {} is ready after ", env!("CARGO_PKG_VERSION")));
    assert!(first.is_some_and(is_time), "{lines:?}");
    assert_eq!(lines[1].split_whitespace().collect::<Vec<_>>(), ["bootstrap", &bootstrap]);
    let log = std::fs::read_to_string(dir.path().join("ottla.log")).unwrap();
    assert!(!log.contains("ApiMessageAndVersion"), "{log}");
}
