//! `ottla cluster` and `ottla errors`, and what is said where no broker answers

use expect_test::expect;

use crate::{Terminal, field, run};

#[test]
fn the_cluster_at_a_glance() {
    let terminal = Terminal::open();
    terminal.well("topic create orders -p 3");
    let overview: serde_json::Value =
        serde_json::from_str(&terminal.well("cluster overview -o jsonl")).unwrap();
    for (name, expected) in [
        ("brokers", 1),
        ("controller", 1),
        ("topics", 1),
        ("partitions", 3),
        ("offline_partitions", 0),
        ("groups", 0),
    ] {
        assert_eq!(overview[name], expected, "{name}");
    }
    let brokers = terminal.well("cluster brokers -o jsonl");
    assert_eq!(
        (field(&brokers, "leaders"), field(&brokers, "controller")),
        (vec!["3".to_owned()], vec!["true".to_owned()])
    );
    assert!(terminal.well("cluster brokers -o wide").contains("DIRECTORIES"));
    let quorum = terminal.run("cluster quorum -o jsonl");
    assert_eq!(
        (field(&quorum.out, "role"), field(&quorum.out, "lag")),
        (vec!["leader".to_owned()], vec!["0".to_owned()])
    );
    assert!(quorum.err.starts_with("epoch "), "{}", quorum.err);
    assert!(
        field(&terminal.well("cluster features -o jsonl"), "feature")
            .contains(&"metadata.version".to_owned())
    );
}

#[test]
fn nobody_answers() {
    let dir = tempfile::tempdir().unwrap();
    // Nothing listens on the port for discarding.
    let said = run(dir.path(), "topic list -b 127.0.0.1:9 --timeout 300ms", "", &[]);
    assert_eq!((said.code, said.out.as_str()), (3, ""));
    assert!(said.err.starts_with("error: asking for metadata: no answer within 300 ms"), "{}", said.err);
    assert!(said.err.contains("\n  hint: is the broker running"), "{}", said.err);
}

#[test]
fn errors_are_explained_without_a_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let of = |line: &str| run(dir.path(), line, "", &[]);
    expect![[r#"
        code              19
        name              NOT_ENOUGH_REPLICAS
        meaning           Fewer replicas are in sync than the topic demands
        remedy            fewer replicas are in sync than min.insync.replicas asks for: bring brokers back (ottla topic list --unhealthy); lowering it risks loss
        retriable         yes
        possibly written  no
        fatal             no
    "#]]
    .assert_eq(&of("errors NotEnoughReplicasException").out);
    assert_eq!(of("errors 19 -1 -o jsonl").out.lines().count(), 2);
    assert!(of("errors").out.lines().count() > 130);
    let misspelt = of("errors NOT_ENOUGH_REPLICA");
    assert_eq!(misspelt.code, 4);
    expect![[r#"
        error: there is no error 'NOT_ENOUGH_REPLICA'
          hint: did you mean NOT_ENOUGH_REPLICAS?
    "#]]
    .assert_eq(&misspelt.err);
}

#[test]
fn misspelt_commands_and_flags_are_answered_with_the_right_ones() {
    let dir = tempfile::tempdir().unwrap();
    let of = |line: &str| run(dir.path(), line, "", &[]);
    for (line, hint, code) in [
        ("topic lsit", "'list'", 2),
        ("topic list --interal", "'--internal'", 2),
        ("topic list -o jsno", "'json'", 2),
        ("topci list", "'topic'", 2),
        ("config show topics/a", "topic/a", 2),
    ] {
        let said = of(line);
        assert_eq!(said.code, code, "{line}: {said:?}");
        assert!(said.err.contains(hint), "{line}: {}", said.err);
    }
}
