//! What goes wrong at the start is said so that it can be mended, and nothing is written meanwhile.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use expect_test::{Expect, expect};
use ottla_testkit::Launch;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::clients::{client, read_all};
use super::{command, launch};

/// The start is refused: with code 1, nothing on standard output, and on standard error, beside log lines, what is expected.
fn refuses(launch: &Launch, expected: Expect) {
    let ended = launch.run();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
    let is_logged = |line: &&str| line.starts_with(|first: char| first.is_ascii_digit());
    let told: Vec<_> = ended.stderr.lines().filter(|line| !is_logged(line)).map(masked).collect();
    expected.assert_eq(&(told.join("\n") + "\n"));
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
    refuses(
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
        error: Invalid value 0 for configuration num.partitions: Value must be at least 1
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

#[test]
fn a_stop_under_load_takes_no_longer_than_clients_wait() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    // A client that never says anything, and one that stopped in the middle of a request.
    let silent = std::net::TcpStream::connect(ottla.bootstrap()).unwrap();
    let mut half = std::net::TcpStream::connect(ottla.bootstrap()).unwrap();
    half.write_all(&[0, 0, 0, 100, 0]).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    assert!(ottla.stop().success());
    drop((silent, half));
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
