use std::path::Path;

use super::{command, launch};

const ID: &str = "4L6g3nShT-eMCtK--X86sw";

fn properties(dir: &Path) -> String {
    let path = dir.join("server.properties");
    let text = "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.bootstrap.servers=localhost:9093\n\
                listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\ncontroller.listener.names=CONTROLLER\n\
                log.dirs=a,b\n";
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// The command's code, what it printed, and what it complained of.
fn run(dir: &Path, arguments: &[&str]) -> (i32, String, String) {
    let ended = command(dir, &[&["storage"], arguments].concat()).run();
    (ended.status.code().unwrap(), ended.stdout, ended.stderr)
}

#[test]
fn directories_are_formatted_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = properties(dir.path());
    let config = path.as_str();
    let info = |expected: i32| {
        let (code, text, _) = run(dir.path(), &["info", "-c", config]);
        assert_eq!(code, expected, "{text}");
        text
    };
    assert_eq!(info(1), "Found problems:\n  a does not exist\n  b does not exist\n\n");

    let (code, out, err) = run(dir.path(), &["format", "-c", config, "-t", ID]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("Because controller.quorum.voters is not set on this controller"), "{err}");

    let format = ["format", "-c", config, "-t", ID, "--standalone"];
    let (code, out, err) = run(dir.path(), &format);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(
        out.ends_with(
            "\nFormatting dynamic metadata voter directory a with metadata.version 4.3-IV0.\n\
             Formatting data directory b with metadata.version 4.3-IV0.\n"
        ),
        "{out}"
    );
    assert!(info(0).starts_with("Found log directories:\n  a\n  b\n\nFound metadata: {cluster.id=4L6g"));

    let (code, _, err) = run(dir.path(), &format);
    assert_eq!(code, 1);
    assert!(err.contains("Log directory a is already formatted."), "{err}");
    let (code, out, _) = run(dir.path(), &[&format[..], &["-g"]].concat());
    assert_eq!(code, 0);
    assert!(out.ends_with("All of the log directories are already formatted.\n"), "{out}");
}

#[test]
fn flags_are_checked_together() {
    let dir = tempfile::tempdir().unwrap();
    let path = properties(dir.path());
    let check = |flags: &[&str], code: i32, expected: &str| {
        let (found, out, err) =
            run(dir.path(), &[&["format", "-c", path.as_str(), "-t", ID], flags].concat());
        assert_eq!((found, out.as_str()), (code, ""), "{err}");
        assert!(err.contains(expected), "{err}");
        assert!(!dir.path().join("a").exists());
    };
    check(&["--standalone", "--no-initial-controllers"], 2, "cannot be used with");
    check(&["-I", "1@h"], 1, "No colon following hostname");
    check(&["-s", "-f", "foo=1"], 1, "Unsupported feature: foo.");
    check(&["-s", "-r", "2.0"], 1, "Unknown metadata.version '2.0'");
    check(&["-s", "-S", "x"], 1, "Failed to find equals sign in SCRAM argument 'x'");
    check(&["-s", "--releas-version", "4.0"], 2, "--release-version");
    check(
        &["-s", "--override", "controller.quorum.voters=1@localhost:9093"],
        1,
        "You cannot specify controller.quorum.voters and format the node with",
    );
    check(
        &["-s", "--override", "process.roles=broker", "--override", "listeners=PLAINTEXT://:9092"],
        1,
        "You can only use --standalone on a controller.",
    );
}

#[test]
fn a_directory_formatted_so_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let path = properties(dir.path());
    let (code, ..) = run(dir.path(), &["format", "-c", &path, "-t", ID, "-s", "-r", "4.0"]);
    assert_eq!(code, 0);
    let launch =
        launch(dir.path()).argument("--config").argument(&path).set("offsets.topic.replication.factor", "1");
    let ottla = launch.start();
    assert!(ottla.stop().success());
    assert!(dir.path().join("b/.kafka_cleanshutdown").exists());
}

#[test]
fn levels_and_ids_are_printed() {
    let dir = tempfile::tempdir().unwrap();
    let check = |arguments: &[&str], code: i32, expected: &str| {
        let (found, out, err) = run(dir.path(), arguments);
        assert_eq!(found, code, "{out}{err}");
        assert!(format!("{out}{err}").contains(expected), "{out}{err}");
    };
    check(&["version-mapping"], 0, "metadata.version=30 (4.3-IV0)\nkraft.version=1\n");
    check(&["version-mapping", "-r", "9"], 1, "Unknown metadata.version '9'");
    check(&["feature-dependencies", "-f", "group.version=1"], 0, "group.version=1 has no dependencies.\n");
    check(&["feature-dependencies"], 2, "--feature");
    check(&[], 2, "Usage: ottla storage <COMMAND>");
    let (_, id, _) = run(dir.path(), &["random-uuid"]);
    assert_eq!(id.trim_end().len(), 22);
}
