//! Log directories that fail under a running node. Nothing refuses a directory to an administrator's process, so it is
//! taken away, and a file put in its place, as an unmounted disk leaves one.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ottla_testkit::{Launch, Ottla};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::administering::create_topic;
use super::clients::{client, read_all};
use super::launch;

const PATIENCE: Duration = Duration::from_secs(60);

/// A directory that can be taken away and given back.
struct Disk(PathBuf);

impl Disk {
    fn fail(&self) {
        std::fs::rename(&self.0, self.0.with_extension("away")).unwrap();
        std::fs::write(&self.0, "not mounted").unwrap();
    }

    fn mend(&self) {
        std::fs::remove_file(&self.0).unwrap();
        std::fs::rename(self.0.with_extension("away"), &self.0).unwrap();
    }
}

/// Writes something into every directory all the time, so that a failure is met.
fn node(dir: &Path, log_dirs: &str) -> Launch {
    launch(dir)
        .set("log.dirs", log_dirs)
        .set("log.initial.task.delay.ms", "10")
        .set("log.flush.offset.checkpoint.interval.ms", "50")
}

fn produce(ottla: &Ottla, topic: &str, values: &[&str]) {
    let producer: BaseProducer = client(ottla, &[("acks", "all")]).create().unwrap();
    for value in values {
        producer.send(BaseRecord::<(), str>::to(topic).partition(0).payload(*value)).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

/// -1: nobody.
fn leader(ottla: &Ottla, topic: &str) -> i32 {
    let consumer: BaseConsumer = client(ottla, &[]).create().unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    metadata.topics()[0].partitions()[0].leader()
}

fn wait_until(ottla: &Ottla, what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}; the log:\n{}", ottla.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_directory_that_fails_takes_its_partitions_with_it_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let launch = node(dir.path(), "./one,./two");
    let second = Disk(dir.path().join("two"));
    let ottla = launch.start();
    for topic in ["a", "b"] {
        create_topic(&ottla, topic, 1);
        produce(&ottla, topic, &["x", "y"]);
    }
    // Logs are spread over the directories.
    let (stays, goes) = if second.0.join("a-0").exists() { ("b", "a") } else { ("a", "b") };
    assert!(second.0.join(format!("{goes}-0")).exists());
    second.fail();
    wait_until(&ottla, "its partitions have no leader", || leader(&ottla, goes) == -1);
    assert_eq!(leader(&ottla, stays), 1);
    produce(&ottla, stays, &["z"]);
    assert_eq!(read_all(&ottla, stays), ["x", "y", "z"]);
    assert!(ottla.log().lines().any(|line| line.contains("log directory failed") && line.contains("two")));
    // A topic that is made now has its place in the directory that is left.
    create_topic(&ottla, "c", 1);
    produce(&ottla, "c", &["x"]);
    assert!(dir.path().join("one/c-0").exists());
    assert!(ottla.stop().success());

    // It starts without the directory too, and has everything when that is back.
    let ottla = launch.start();
    assert_eq!(leader(&ottla, goes), -1);
    assert_eq!(read_all(&ottla, stays), ["x", "y", "z"]);
    assert!(ottla.stop().success());
    second.mend();
    let ottla = launch.start();
    wait_until(&ottla, "its partitions are led again", || leader(&ottla, goes) == 1);
    produce(&ottla, goes, &["z"]);
    assert_eq!(read_all(&ottla, goes), ["x", "y", "z"]);
    assert_eq!(read_all(&ottla, stays), ["x", "y", "z"]);
    assert!(ottla.stop().success());
}

/// The process ends by itself when this directory fails, says so, and has lost nothing.
fn ends_without(log_dirs: &str, failing: &str) {
    let dir = tempfile::tempdir().unwrap();
    let launch = node(dir.path(), log_dirs).set("metadata.log.dir", "./one");
    let disk = Disk(dir.path().join(failing));
    let mut ottla = launch.start();
    create_topic(&ottla, "a", 1);
    create_topic(&ottla, "b", 1);
    produce(&ottla, "a", &["x"]);
    produce(&ottla, "b", &["x"]);
    disk.fail();
    let status = ottla.wait();
    assert_eq!(status.code(), Some(1), "{}", ottla.log());
    let told = |line: &str| line.contains("ERROR") && line.contains(failing);
    assert!(ottla.log().lines().any(told), "{}", ottla.log());
    disk.mend();
    let ottla = launch.start();
    for topic in ["a", "b"] {
        wait_until(&ottla, "it is led", || leader(&ottla, topic) == 1);
        assert_eq!(read_all(&ottla, topic), ["x"]);
    }
    assert!(ottla.stop().success());
}

#[test]
fn it_ends_without_its_metadata_directory() {
    ends_without("./one,./two", "one");
}

#[test]
fn it_ends_without_any_directory_left() {
    ends_without("./one", "one");
}
