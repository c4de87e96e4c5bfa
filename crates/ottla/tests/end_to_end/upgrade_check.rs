use std::path::Path;

use super::{command, launch};

/// The command's code, and all that it said.
fn check(dir: &Path, arguments: &[&str]) -> (i32, String) {
    let ended = command(dir, &[&["upgrade-check"], arguments].concat()).run();
    (ended.status.code().unwrap(), ended.stdout + &ended.stderr)
}

#[track_caller]
fn expect(dir: &Path, arguments: &[&str], code: i32, said: &str) {
    let found = check(dir, arguments);
    assert_eq!(found.0, code, "{}", found.1);
    assert!(found.1.contains(said), "{}", found.1);
}

#[test]
fn a_node_is_looked_at_while_it_runs_and_after() {
    let dir = tempfile::tempdir().unwrap();
    let node = launch(dir.path()).start();
    let data = dir.path().join("ottla-data").display().to_string();
    expect(dir.path(), &[&data], 0, "is in use by a running process");
    node.stop();
    let (code, said) = check(dir.path(), &[&data]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("metadata.version 4.3-IV0 (30), kraft.version 1, 1 brokers"), "{said}");
    assert!(said.ends_with("\n\nNothing is in the way.\n") && !said.contains("To know"), "{said}");
}

#[test]
fn codes_say_what_was_found() {
    let dir = tempfile::tempdir().unwrap();
    let text = "process.roles=broker\nnode.id=1\ncontroller.quorum.bootstrap.servers=localhost:9093\n\
                listeners=PLAINTEXT://localhost:9092\ncontroller.listener.names=CONTROLLER\nlog.dirs=a\n";
    std::fs::write(dir.path().join("p"), text).unwrap();
    let id = "4L6g3nShT-eMCtK--X86sw";
    assert!(command(dir.path(), &["storage", "format", "-c", "p", "-t", id]).run().status.success());
    expect(dir.path(), &["-c", "p"], 0, "\nNothing is in the way.\n");
    let idle = "metric.reporters=x";
    expect(dir.path(), &["-c", "p", "--override", idle], 2, "nothing acts on these settings yet");
    expect(
        dir.path(),
        &["-c", "p", "--override", "super.users=User:a"],
        1,
        "super.users=User:a (--override)",
    );
    expect(dir.path(), &["a", "-c", "p", "--override", "num.partitions=0"], 1, "Invalid value 0");
    expect(dir.path(), &["a", "b", "-c", "p"], 1, "b does not exist");
    expect(dir.path(), &[], 1, "name the log directories");
    expect(dir.path(), &["-c", "none"], 1, "can't read none");
}
