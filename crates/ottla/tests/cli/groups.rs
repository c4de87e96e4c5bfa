//! `ottla group` and `ottla share`

use expect_test::expect;

use crate::{Terminal, field, said};

fn with_a_group() -> Terminal {
    let terminal = Terminal::open();
    terminal.well("topic create orders -p 2");
    terminal.type_in("produce orders -p 0", "a\nb\nc\n");
    terminal.type_in("produce orders -p 1", "d\ne\n");
    assert_eq!(terminal.well("consume orders -g billing -o jsonl").lines().count(), 5);
    terminal
}

#[test]
fn a_group_reads_on_where_it_was() {
    let terminal = with_a_group();
    assert_eq!(terminal.well("consume orders -g billing -o jsonl"), "");
    terminal.type_in("produce orders -p 1", "f\ng\nh\n");
    assert_eq!(field(&terminal.well("consume orders -g billing -n 2 -o jsonl"), "value"), ["f", "g"]);
    assert_eq!(field(&terminal.well("consume orders -g billing -o jsonl"), "value"), ["h"]);
    assert_eq!(
        terminal.well("group list"),
        "GROUP    TYPE     PROTOCOL  STATE\nbilling  classic  consumer  Empty\n"
    );
    assert_eq!(terminal.well("group list x* --no-headers"), "");
    assert_eq!(terminal.well("group list --state stable --no-headers"), "");
    assert_eq!(terminal.well("group list --type share --no-headers"), "");
    expect![[r#"
        group          billing
        state          Empty
        assignor       -
        coordinator    1
        members count  0
        lag            0
        epoch          -

        members (0)

        offsets (2)
          TOPIC   PARTITION  COMMITTED  END  LAG
          orders          0          3    3    0
          orders          1          5    5    0
    "#]]
    .assert_eq(&terminal.well("group describe billing"));
    let misspelt = terminal.run("group describe biling");
    assert!(misspelt.code == 4 && misspelt.err.contains("did you mean 'billing'?"), "{misspelt:?}");
}

#[test]
fn lag_is_in_records_and_in_time() {
    let terminal = with_a_group();
    assert_eq!(field(&terminal.well("group lag -o jsonl"), "lag"), ["0", "0"]);
    assert_eq!(field(&terminal.well("group lag billing -o jsonl"), "lag_seconds"), ["0.0", "0.0"]);
    terminal.well("produce orders x y -p 1 --timestamp -2h");
    let lag = terminal.well("group lag billing -o jsonl");
    assert_eq!(field(&lag, "lag"), ["0", "2"]);
    let seconds: f64 = field(&lag, "lag_seconds")[1].parse().unwrap();
    assert!((7200.0..10_000.0).contains(&seconds), "{seconds}");
    assert_eq!(field(&terminal.well("group lag billing --sum -o jsonl"), "lag"), ["2"]);
    assert_eq!(terminal.well("group lag billing -t orders:0 -o jsonl").lines().count(), 1);
    assert_eq!(terminal.well("group lag billing -t other -o jsonl"), "");
    assert_eq!(terminal.run("group lag billing --fail-above 2").code, 0);
    let above = terminal.run("group lag billing --fail-above 1");
    assert_eq!(
        (above.code, above.err.as_str()),
        (5, "error: group billing is 2 records behind in orders-1\n")
    );
}

#[test]
fn what_a_group_never_committed_is_told_of() {
    let terminal = Terminal::open();
    terminal.well("topic create orders -p 3");
    terminal.type_in("produce orders -p 0", "a\nb\n");
    terminal.type_in("produce orders -p 2", "c\n");
    terminal.well("topic create other");
    terminal.well("group seek billing --to 1 -t orders:0 --execute");
    let told = "Of 2 partitions group billing has committed nothing: its members' auto.offset.reset says where it begins there.\n";
    let lag = terminal.run("group lag billing -o jsonl");
    assert_eq!((lag.code, lag.err.as_str()), (0, told));
    assert_eq!(field(&lag.out, "partition"), ["0", "1", "2"]);
    assert_eq!(field(&lag.out, "committed"), ["1", "null", "null"]);
    assert_eq!(field(&lag.out, "end"), ["2", "0", "1"]);
    assert_eq!(field(&lag.out, "lag"), ["1", "null", "null"]);
    let sum = terminal.well("group lag billing --sum -o jsonl");
    assert_eq!(
        (field(&sum, "committed"), field(&sum, "end"), field(&sum, "lag")),
        (vec!["1".to_owned()], vec!["2".to_owned()], vec!["1".to_owned()])
    );
    // Only what is asked for.
    let chosen = terminal.run("group lag billing -t orders:0,1 -o jsonl");
    assert_eq!(field(&chosen.out, "partition"), ["0", "1"]);
    assert!(chosen.err.starts_with("Of 1 partition group billing"), "{}", chosen.err);
    let described = terminal.run("group describe billing");
    assert_eq!((described.code, described.err.as_str()), (0, told));
    expect![[r#"
        group          billing
        state          Empty
        assignor       -
        coordinator    1
        members count  0
        lag            1
        epoch          -

        members (0)

        offsets (3)
          TOPIC   PARTITION  COMMITTED  END  LAG
          orders          0          1    2    1
          orders          1          -    0    -
          orders          2          -    1    -
    "#]]
    .assert_eq(&described.out);
    assert_eq!(terminal.run("group lag billing -q").err, "");
}

#[test]
fn groups_seek_are_cloned_and_deleted() {
    let terminal = with_a_group();
    let preview = terminal.run("group seek billing --to -1");
    expect![[r#"
        TOPIC   PARTITION  BEFORE  AFTER  READ-AGAIN  LEFT-OUT  NOTE
        orders          0       3      2           1  -         -
        orders          1       2      1           1  -         -
    "#]]
    .assert_eq(&preview.out);
    assert!(preview.err.starts_with("Nothing was changed."), "{}", preview.err);
    let committed = |group: &str| {
        let mut offsets = field(&terminal.well(&format!("group lag {group} -o jsonl")), "committed");
        offsets.retain(|offset| offset != "null");
        offsets
    };
    assert_eq!(committed("billing"), ["3", "2"]);
    terminal.well("group seek billing --to -1 --execute");
    assert_eq!(committed("billing"), ["2", "1"]);
    for (to, expected) in [
        ("start", ["0", "0"]),
        ("+1", ["1", "1"]),
        ("committed+1", ["2", "2"]),
        ("committed-2", ["0", "0"]),
        ("@now", ["3", "2"]),
        ("2", ["2", "2"]),
    ] {
        terminal.well(&format!("group seek billing --to {to} --execute"));
        assert_eq!(committed("billing"), expected, "{to}");
    }
    terminal.well("group seek billing --to start -t orders:1 --execute");
    assert_eq!(committed("billing"), ["2", "0"]);
    terminal.well("group seek fresh --to end -t orders --execute");
    assert_eq!(committed("fresh"), ["3", "2"]);
    assert_eq!(terminal.run("group seek unknown --to end").code, 4);

    terminal.well("group clone billing copy -t orders:0");
    assert_eq!(terminal.run("group lag copy").code, 4);
    terminal.well("group clone billing copy -t orders:0 --execute");
    assert_eq!(committed("copy"), ["2"]);
    terminal.well("group clone billing copy --execute");
    assert_eq!(committed("copy"), ["2", "0"]);
    assert_eq!(terminal.run("group clone billing billing").code, 2);

    terminal.well("group delete copy -t orders:1");
    assert_eq!(committed("copy"), ["2", "0"]);
    terminal.well("group delete copy -t orders:1 --execute");
    assert_eq!(committed("copy"), ["2"]);
    let deleted = terminal.run("group delete copy fresh --execute");
    assert_eq!((deleted.code, deleted.err.as_str()), (0, "Deleted group copy.\nDeleted group fresh.\n"));
    assert_eq!(field(&terminal.well("group list -o jsonl"), "group"), ["billing"]);
}

#[test]
fn share_groups_are_read_and_moved() {
    let terminal = Terminal::open();
    terminal.well("topic create tasks");
    terminal.well("config set group/workers share.auto.offset.reset=earliest");
    terminal.type_in("produce tasks", "a\nb\nc\n");
    assert_eq!(
        field(&terminal.well("share consume tasks -g workers -n 1 --acknowledge release -o jsonl"), "value"),
        ["a"]
    );
    let again = terminal.well("share consume tasks -g workers -n 2 -o jsonl");
    assert_eq!(
        (field(&again, "value"), field(&again, "delivery")[0].as_str()),
        (vec!["a".to_owned(), "b".to_owned()], "2")
    );
    assert_eq!(
        field(&terminal.well("share consume tasks -g workers -n 1 --acknowledge reject -o jsonl"), "value"),
        ["c"]
    );
    // What was rejected doesn't come again.
    terminal.well("produce tasks d");
    assert_eq!(field(&terminal.well("share consume tasks -g workers -n 1 -o jsonl"), "value"), ["d"]);
    assert_eq!(terminal.well("share list --no-headers").split_whitespace().next(), Some("workers"));
    assert_eq!(terminal.well("share list x* --no-headers"), "");
    assert!(terminal.well("share describe workers").contains("tasks          0"));
    terminal.well("share seek workers --to start");
    let standing = |field: &str| {
        let described: serde_json::Value =
            serde_json::from_str(&terminal.well("share describe workers -o jsonl")).unwrap();
        described["offsets"][0][field].clone()
    };
    assert_eq!((standing("lag"), standing("lag_seconds")), (0.into(), 0.0.into()));
    terminal.well("produce tasks e --timestamp -2h");
    terminal.well("share seek workers --to 4 -t tasks:0 --execute");
    let seconds = standing("lag_seconds").as_f64().unwrap();
    assert!((7200.0..10_000.0).contains(&seconds), "{seconds}");
    // Beside groups of consumers, and with their checks.
    terminal.well("consume tasks -g billing");
    let lags = terminal.well("group lag -o jsonl");
    assert_eq!(
        (field(&lags, "group"), field(&lags, "lag")),
        (vec!["billing".to_owned(), "workers".to_owned()], vec!["0".to_owned(), "1".to_owned()])
    );
    assert_eq!(terminal.run("group lag workers --fail-above 0").code, 5);
    assert_eq!(terminal.well("group lag workers -t other -o jsonl"), "");
    terminal.well("share seek workers --to 1 -t tasks:0 --execute");
    assert_eq!((standing("start"), standing("lag")), (1.into(), 4.into()));
    assert_eq!(terminal.run("share seek workers --to committed").code, 2);
    terminal.well("share delete workers");
    assert_eq!(standing("start"), 1);
    terminal.well("share delete workers --execute");
    assert_eq!(terminal.run("share describe workers").code, 4);
}

#[test]
fn a_streams_application_is_reset_when_its_members_are_removed() {
    let terminal = with_a_group();
    let bootstrap = terminal.node.bootstrap();
    let reset = format!(
        "kafka-streams-application-reset --bootstrap-server {bootstrap} --application-id billing --input-topics orders"
    );
    let mut member = terminal
        .begin("consume orders -g billing -f -X session.timeout.ms=60000 -X heartbeat.interval.ms=20000");
    let members = || field(&terminal.well("group describe billing -o jsonl"), "members_count")[0].clone();
    while members() != "1" {}
    let refused = terminal.run(&reset);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("is still active and has following members: [ottla-cli-"), "{refused:?}");
    let committed = || field(&terminal.well("group lag billing -o jsonl"), "committed");
    assert_eq!(committed(), ["3", "2"]);
    // The member comes back at its next heartbeat, which is not waited for: once it has, offsets can't be set any more.
    let forced = terminal.run(&format!("{reset} --force"));
    assert_eq!(forced.code, 0, "{forced:?}");
    assert!(forced.out.contains("Force deleting all active members in the group: billing\n"), "{forced:?}");
    assert!(forced.out.contains("Topic: orders Partition: 1 Offset: 0\n"), "{forced:?}");
    member.kill().unwrap();
    // It reads from there again, at the latest when it has joined anew.
    let read = said(member).out;
    assert!(committed() == ["0", "0"] || read.contains('a'), "{read}");
}
