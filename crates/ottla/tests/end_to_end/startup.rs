//! What goes wrong at the start is said so that it can be mended, and nothing is written meanwhile.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use ottla_testkit::Launch;

use super::{command, launch};

/// The start is refused with code 1, and one error on standard error that has all these texts.
fn refuses(launch: &Launch, expected: &[&str]) {
    let ended = launch.run();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
    let error = ended.stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or(&ended.stderr);
    for text in expected {
        assert!(error.contains(text), "no '{text}' in: {}", ended.stderr);
    }
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
    let expected = [&format!("127.0.0.1:{port} is in use"), "listener PLAINTEXT", "listeners="];
    refuses(&launch(dir.path()).listening_on(port, 0), &expected.map(|text| &*text.to_owned().leak()));
    assert!(!dir.path().join("ottla-data").exists());
}

#[test]
fn flags_that_there_are_not_are_refused_with_a_suggestion() {
    let dir = tempfile::tempdir().unwrap();
    let ended = command(dir.path(), &["--confg", "x"]).run();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("--config"), "{}", ended.stderr);
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
        &["Invalid value 0 for configuration num.partitions"],
    );
    refuses(&launch(dir.path()).argument("--config").argument("none"), &["can't read none"]);
    refuses(
        &launch(dir.path()).set("authorizer.class.name", "x.Y"),
        &["authorizer.class.name", "is refused", "security"],
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
    refuses(&launch(dir.path()), &["./ottla-data is not a directory", "log.dirs"]);
}

#[test]
fn what_is_not_empty_is_not_formatted() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("ottla-data");
    std::fs::create_dir_all(data.join("photos")).unwrap();
    refuses(&launch(dir.path()), &["./ottla-data has no meta.properties but is not empty", "photos"]);
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
    refuses(&launch, &["./ottla-data is in use by another process", "./ottla-data/.lock"]);
}

#[test]
fn directories_of_others_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let launch = used(dir.path());
    refuses(&launch.clone().set("node.id", "2"), &["Stored node id 1 doesn't match previous node id 2"]);
    refuses(
        &launch.clone().set("log.dirs", "./ottla-data,./more"),
        &["./more is not formatted", "storage format --ignore-formatted"],
    );
    std::fs::create_dir(dir.path().join("other")).unwrap();
    let other = "version=1\ncluster.id=other\nnode.id=1\n";
    std::fs::write(dir.path().join("other/meta.properties"), other).unwrap();
    refuses(
        &launch.set("log.dirs", "./ottla-data,./other"),
        &["Invalid cluster.id in: ./ottla-data/meta.properties. Expected other"],
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
    refuses(&launch, &["./ottla-data/bootstrap.checkpoint can't be read", "restore it"]);
    std::fs::write(data.join("bootstrap.checkpoint"), &bootstrap).unwrap();

    let properties = std::fs::read_to_string(data.join("meta.properties")).unwrap();
    std::fs::write(data.join("meta.properties"), "version=1\n").unwrap();
    refuses(&launch, &["./ottla-data/meta.properties: node.id is missing"]);
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
