//! Starts and ends that depend on the metadata quorum and on signals.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ottla_testkit::Launch;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::clients::client;
use super::network::until;
use super::{command, launch};

const PATIENCE: Duration = Duration::from_secs(60);

/// The file of a directory whose name ends in `suffix`, the last of several.
fn last_file(dir: &Path, suffix: &str) -> PathBuf {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.to_string_lossy().ends_with(suffix)).max().unwrap()
}

#[test]
fn a_damaged_snapshot_of_the_metadata_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let launch = launch(dir.path()).set("metadata.log.max.record.bytes.between.snapshots", "100");
    assert!(launch.start().stop().success());
    let snapshot = last_file(&dir.path().join("ottla-data/__cluster_metadata-0"), ".checkpoint");
    let whole = std::fs::read(&snapshot).unwrap();
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(&snapshot, damaged).unwrap();
    let ended = launch.run();
    assert_eq!(ended.status.code(), Some(1));
    let name = snapshot.file_name().unwrap().to_string_lossy().into_owned();
    for text in ["error: ", "the metadata log is corrupt", &name, "moving it away"] {
        assert!(ended.stderr.contains(text), "no '{text}' in {}", ended.stderr);
    }
    std::fs::write(&snapshot, whole).unwrap();
    assert!(launch.start().stop().success());
}

#[test]
fn a_node_ends_whose_metadata_another_program_cuts_off() {
    for is_written_on in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut ottla = launch(dir.path()).start();
        let log = last_file(&dir.path().join("ottla-data/__cluster_metadata-0"), ".log");
        let file = std::fs::File::options().write(true).open(&log).unwrap();
        let len = || file.metadata().unwrap().len();
        // It looks each time before it writes, which it does now and then.
        let before = len();
        until(|| len() > before);
        let grown = len();
        until(|| len() > grown);
        // In the middle of a batch.
        file.set_len(before - 10).unwrap();
        if is_written_on {
            // As by this node itself, before it looks again.
            file.set_len(before + 1000).unwrap();
        }
        assert_eq!(ottla.wait().code(), Some(1));
        let told = ottla.log();
        assert!(told.contains("another program has cut it off"), "{told}");
        assert!(launch(dir.path()).start().stop().success());
    }
}

#[test]
fn a_static_quorum_wants_its_setting() {
    let dir = tempfile::tempdir().unwrap();
    let voters = ("controller.quorum.voters", "1@127.0.0.1:9093");
    let static_quorum =
        launch(dir.path()).set("controller.quorum.bootstrap.servers", "").set(voters.0, voters.1);
    assert!(static_quorum.start().stop().success());
    let state =
        std::fs::read_to_string(dir.path().join("ottla-data/__cluster_metadata-0/quorum-state")).unwrap();
    assert!(state.contains(r#""currentVoters":[{"voterId":1}],"data_version":0"#), "{state}");
    let ended = launch(dir.path()).run();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("Set controller.quorum.voters=1@127.0.0.1:"), "{}", ended.stderr);
    assert!(static_quorum.start().stop().success());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut ottla = launch(dir.path()).start();
    ottla.terminate();
    ottla.interrupt();
    let status = ottla.wait();
    // Whichever comes first: a stop in good order may be through already.
    assert!(matches!(status.code(), Some(0 | 1)), "{status}");
}

/// Whether SIGHUP is ignored here, and by what is started from here.
fn hang_ups_are_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & 1 == 1
}

#[test]
fn a_terminal_that_goes_away_ends_it_in_good_order_unless_it_is_to_stay() {
    let dir = tempfile::tempdir().unwrap();
    if !hang_ups_are_ignored() {
        let mut ottla = launch(dir.path()).start();
        ottla.hang_up();
        let status = ottla.wait();
        assert!(status.success(), "{status}");
        assert!(dir.path().join("ottla-data/.kafka_cleanshutdown").exists());
    }
    let nohup = Launch::bare("nohup", dir.path()).argument(env!("CARGO_BIN_EXE_ottla"));
    let ottla = nohup.listening_on(0, 0).start();
    ottla.hang_up();
    let consumer: BaseConsumer = client(&ottla, &[]).create().unwrap();
    let brokers = consumer.fetch_metadata(None, PATIENCE).unwrap().brokers().len();
    assert_eq!(brokers, 1, "it goes on");
    assert!(ottla.stop().success());
}

#[test]
fn log_lines_are_as_many_as_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let quiet = launch(dir.path()).variable("RUST_LOG", "error");
    let ottla = quiet.start();
    assert!(!ottla.log().contains(" INFO "), "{}", ottla.log());
    drop(ottla);
    let ottla = quiet.variable("RUST_LOG", "off,ottla_server=info").start();
    assert!(ottla.stop().success());
    let log = std::fs::read_to_string(dir.path().join("ottla.log")).unwrap();
    assert!(log.contains(" INFO ottla_server::process: stopped"), "{log}");
    assert!(!log.contains(" INFO ottla_log"), "{log}");
    assert!(command(dir.path(), &["--help"]).run().stderr.is_empty());
}
