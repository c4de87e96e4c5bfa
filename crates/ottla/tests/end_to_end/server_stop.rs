//! kafka-server-stop: it stops nodes of the same executable, which is therefore one of the test's own.

use std::path::Path;

use ottla_testkit::{Ended, Launch};

/// By another name: other tests run the same program meanwhile.
fn own_executable(dir: &Path) -> String {
    let executable = dir.join("ottla");
    std::fs::hard_link(env!("CARGO_BIN_EXE_ottla"), &executable).unwrap();
    executable.to_str().unwrap().to_owned()
}

fn stop(executable: &str, dir: &Path, arguments: &[&str]) -> Ended {
    let launch = Launch::bare(executable, dir).argument("kafka-server-stop");
    arguments.iter().fold(launch, |launch, argument| launch.argument(argument)).run()
}

#[test]
fn nodes_are_stopped_by_id_by_role_or_all() {
    // Beside the program: links lead to no other disk.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let executable = own_executable(dir.path());
    let node = |id: &str| {
        let home = dir.path().join(id);
        std::fs::create_dir(&home).unwrap();
        Launch::new(&executable, &home).set("node.id", id).begin()
    };
    let nodes: Vec<_> = ["1", "2", "3"].map(node).into_iter().collect();
    let [mut one, mut two, mut three] =
        <[_; 3]>::try_from(nodes).unwrap_or_else(|_| panic!()).map(|node| node.wait());

    let none = stop(&executable, dir.path(), &["--process-role=broker"]);
    assert_eq!((none.status.code(), none.stdout.as_str()), (Some(0), ""));
    assert_eq!(none.stderr, "None of the nodes that run here is meant.\n");

    let by_id = stop(&executable, dir.path(), &["--node-id=2", "--process-role=broker"]);
    assert!(by_id.status.success() && by_id.stdout.ends_with("the value for node-id will take precedence\n"));
    assert!(two.wait().success());

    assert!(stop(&executable, dir.path(), &[]).status.success());
    assert!(one.wait().success() && three.wait().success());

    let nobody = stop(&executable, dir.path(), &[]);
    assert_eq!((nobody.status.code(), nobody.stdout.as_str()), (Some(1), "No kafka server to stop\n"));
}
