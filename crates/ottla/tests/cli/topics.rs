//! `ottla topic` and `ottla config`

use expect_test::expect;

use crate::{Terminal, field};

/// Of the topic itself.
fn own_settings(terminal: &Terminal) -> String {
    let shown = terminal.well("config show topic/orders -o jsonl");
    shown
        .lines()
        .filter(|line| line.contains("DYNAMIC_TOPIC_CONFIG"))
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn a_topic_from_its_creation_to_its_end() {
    let terminal = Terminal::open();
    expect![[r#"
        TOPIC   OUTCOME  PARTITIONS  REPLICAS
        orders  created           3         1
    "#]]
    .assert_eq(&terminal.well("topic create orders -p 3 -r 1 -c retention.ms=3600000"));
    terminal.well("topic create events payments -p 1");
    let again = terminal.run("topic create orders");
    assert_eq!((again.code, again.out.as_str()), (1, ""));
    assert!(again.err.starts_with("error: creating topic orders: TOPIC_ALREADY_EXISTS: "), "{}", again.err);
    assert!(again.err.contains("\n  hint: choose another name, or say --if-not-exists"), "{}", again.err);
    expect![[r#"
        TOPIC   OUTCOME    PARTITIONS  REPLICAS
        more    created             1         1
        orders  was there           3         1
    "#]]
    .assert_eq(&terminal.well("topic create orders more --if-not-exists"));
    expect![[r#"
        TOPIC   OUTCOME           PARTITIONS  REPLICAS
        tested  could be created  -           -
    "#]]
    .assert_eq(&terminal.well("topic create tested --dry-run"));
    expect![[r#"
        TOPIC     PARTITIONS  REPLICAS  HEALTH
        events             1         1  ok
        more               1         1  ok
        orders             3         1  ok
        payments           1         1  ok
    "#]]
    .assert_eq(&terminal.well("topic list"));
    assert_eq!(terminal.well("topic list o* pay* --no-headers -o jsonl").lines().count(), 2);
    assert_eq!(terminal.well("topic list --no-headers").lines().count(), 4);
    assert_eq!(terminal.well("topic list --unhealthy -o json"), "[]\n");
    let misspelt = terminal.run("topic describe ordres");
    assert_eq!(misspelt.code, 4);
    expect![[r#"
        error: there is no topic 'ordres'
          hint: did you mean 'orders'?
    "#]]
    .assert_eq(&misspelt.err);

    let preview = terminal.run("topic delete more events");
    assert_eq!(preview.code, 0);
    expect![[r#"
        TOPIC   PARTITIONS  RECORDS  SIZE
        more             1        0   0 B
        events           1        0   0 B
    "#]]
    .assert_eq(&preview.out);
    assert!(
        preview.err.starts_with("Nothing was changed. This is what --execute does, on cluster "),
        "{}",
        preview.err
    );
    assert_eq!(
        field(&terminal.well("topic list -o jsonl"), "topic"),
        ["events", "more", "orders", "payments"]
    );
    let done = terminal.run("topic delete more events --execute");
    assert_eq!((done.code, done.err.as_str()), (0, "Deleted topic events.\nDeleted topic more.\n"));
    assert_eq!(field(&terminal.well("topic list -o jsonl"), "topic"), ["orders", "payments"]);
    assert_eq!(terminal.run("topic delete payments --execute -q").err, "");
}

#[test]
fn details_are_for_people_and_for_programs() {
    let terminal = Terminal::open();
    terminal.well("topic create orders -p 2 -c retention.ms=3600000");
    terminal.type_in("produce orders -p 1", "a\nb\n");
    let shown = terminal.well("topic describe orders");
    let id = shown.lines().find_map(|line| line.strip_prefix("id")).unwrap().trim().to_owned();
    expect![[r#"
        topic             orders
        id                ID
        partitions count  2
        replicas          1
        health            ok
        records           2
        size              77 B
        internal          no

        partitions (2)
          PARTITION  LEADER  REPLICAS  IN-SYNC  START  END  RECORDS  SIZE
                  0       1  1         1            0    0        0   0 B
                  1       1  1         1            0    2        2  77 B

        settings (1)
          SETTING       VALUE
          retention.ms  3600000
    "#]]
    .assert_eq(&shown.replace(&id, "ID"));
    let json = terminal.well("topic describe orders -o jsonl");
    let row: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(row["partitions"][1]["end"], 2);
    assert_eq!(row["partitions"][1]["in_sync"][0], 1);
    assert_eq!(row["settings"][0]["value"], "3600000");
    assert_eq!(field(&terminal.well("topic list -o jsonl"), "records"), ["2"]);
    assert!(terminal.well("topic list -o wide").contains("ID"));
    assert!(terminal.well("topic list --internal -o yaml").contains("topic: orders"));
    assert!(terminal.well("topic list --color always").contains("\u{1b}[32mok"));
    assert!(!terminal.well("topic list --color never").contains('\u{1b}'));
}

#[test]
fn what_cannot_be_undone_waits_for_execute() {
    let terminal = Terminal::open();
    terminal.well("topic create orders -p 2");
    terminal.well("topic alter orders -c compression.type=zstd -c retention.ms=-1");
    let settings = || own_settings(&terminal);
    assert_eq!(field(&settings(), "setting"), ["compression.type", "retention.ms"]);
    expect![[r#"
        TOPIC   WHAT          BEFORE  AFTER  WARNING
        orders  retention.ms  -1      1000   records may be deleted
        orders  partitions    2       4      keys go to other partitions from now on
    "#]]
    .assert_eq(&terminal.well("topic alter orders -c retention.ms=1000 -p 4"));
    assert_eq!(field(&settings(), "value"), ["zstd", "-1"]);
    terminal.well("topic alter orders -c retention.ms=1000 -p 4 --execute");
    assert_eq!(field(&settings(), "value"), ["zstd", "1000"]);
    assert_eq!(field(&terminal.well("topic list -o jsonl"), "partitions"), ["4"]);
    expect![[r#"
        TOPIC   WHAT              BEFORE  AFTER      WARNING
        orders  compression.type  zstd    producer   -
        orders  retention.ms      1000    604800000  -
    "#]]
    .assert_eq(&terminal.well("topic alter orders --reset compression.type --reset retention.ms --dry-run"));
    assert_eq!(field(&settings(), "value"), ["zstd", "1000"]);
    terminal.well("topic alter orders --reset compression.type --reset retention.ms");
    assert_eq!(settings(), "");
    let nothing = terminal.run("topic alter orders");
    assert_eq!((nothing.code, nothing.err.lines().next()), (2, Some("error: nothing is to be changed")));
    let fewer = terminal.run("topic alter orders -p 1 --execute");
    assert!(fewer.code == 1 && fewer.err.contains("INVALID_PARTITIONS"), "{fewer:?}");
    let misspelt = terminal.run("topic alter orders -c retention.mss=1");
    assert!(misspelt.code == 2 && misspelt.err.contains("did you mean retention.ms?"), "{misspelt:?}");
}

#[test]
fn records_are_truncated_at_a_place() {
    let terminal = Terminal::open();
    terminal.well("topic create orders -p 2");
    terminal.type_in("produce orders -p 1", "a\nb\nc\nd\n");
    expect![[r#"
        TOPIC   PARTITION  START  NEW-START  DELETED
        orders          0      0          0        0
        orders          1      0          3        3
    "#]]
    .assert_eq(&terminal.well("topic truncate orders --before -1"));
    assert_eq!(terminal.well("consume orders -o jsonl").lines().count(), 4);
    let done = terminal.run("topic truncate orders --before -1 -p 1 --execute");
    assert_eq!((done.code, done.err.as_str()), (0, "orders-1 starts at 3.\n"));
    assert_eq!(field(&terminal.well("consume orders -o jsonl"), "value"), ["d"]);
    for (line, code) in [
        ("topic truncate orders --before committed", 2),
        ("topic truncate orders --before soon", 2),
        ("topic truncate orders --before end -p 7", 4),
    ] {
        assert_eq!(terminal.run(line).code, code, "{line}");
    }
}

#[test]
fn settings_are_shown_set_and_explained() {
    let terminal = Terminal::open();
    terminal.well("topic create orders");
    let preview = terminal.run("config set topic/orders retention.ms=5000");
    assert!(preview.code == 0 && preview.err.contains("say --execute"), "{preview:?}");
    assert_eq!(own_settings(&terminal), "");
    expect![[r#"
        SETTING       BEFORE     AFTER  WARNING
        retention.ms  604800000  5000   records may be deleted
    "#]]
    .assert_eq(&terminal.well("config set topic/orders retention.ms=5000 --execute"));
    expect![[r#"
        SETTING              VALUE  SOURCE
        min.insync.replicas  1      DYNAMIC_DEFAULT_BROKER_CONFIG
        retention.ms         5000   DYNAMIC_TOPIC_CONFIG
    "#]]
    .assert_eq(&terminal.well("config show topic/orders"));
    assert!(terminal.well("config show topic/orders --all").lines().count() > 20);
    assert_eq!(terminal.well("config show topic/orders retention.*").lines().count(), 3);
    let dry = terminal.run("config reset topic/orders retention.ms --dry-run");
    assert_eq!((dry.code, dry.err.as_str()), (0, "Nothing was changed: it could be.\n"));
    assert_eq!(terminal.well("config set topic/orders segment.ms=7000 --dry-run").lines().count(), 2);
    assert_eq!(field(&own_settings(&terminal), "value"), ["5000"]);
    let reset = terminal.well("config reset topic/orders retention.ms -o jsonl");
    assert_eq!(
        (field(&reset, "before"), field(&reset, "after")),
        (vec!["5000".to_owned()], vec!["604800000".to_owned()])
    );
    assert_eq!(own_settings(&terminal), "");
    terminal.well("config set topic/orders retention.ms=700000000");
    assert!(terminal.run("config reset topic/orders retention.ms").err.contains("say --execute"));
    assert_eq!(field(&own_settings(&terminal), "value"), ["700000000"]);
    terminal.well("config reset topic/orders retention.ms --execute");
    assert_eq!(own_settings(&terminal), "");
    terminal.well("config set brokers log.retention.ms=777777");
    assert_eq!(field(&terminal.well("config show topic/orders retention.ms -o jsonl"), "value"), ["777777"]);
    terminal.well("config set group/g consumer.session.timeout.ms=50000");
    assert_eq!(terminal.well("config list group"), "NAME\ng\n");
    let wrong = terminal.run("config set topic/orders retention.ms=soon");
    assert!(wrong.code == 1 && wrong.err.contains("INVALID_CONFIG"), "{wrong:?}");
    assert_eq!(terminal.run("config show topic/orders nothing").code, 4);
    let explained = terminal.well("config explain min.insync.replicas -o json");
    assert!(
        explained.contains("\"of\": \"topic\"") && explained.contains("\"of\": \"broker\""),
        "{explained}"
    );
    let misspelt = terminal.run("config explain retention.mss");
    assert!(misspelt.code == 4 && misspelt.err.contains("did you mean retention.ms?"), "{misspelt:?}");
}
