//! `ottla produce` and `ottla consume`

use std::io::Write;

use expect_test::expect;

use crate::{Terminal, field, interrupt, said};

#[test]
fn records_in_and_out() {
    let terminal = Terminal::open();
    terminal.well("topic create orders -p 2");
    expect![[r#"
        TOPIC   PARTITION  RECORDS  FIRST-OFFSET  LAST-OFFSET
        orders          1        2             0            1
    "#]]
    .assert_eq(
        &terminal.well("produce orders one two~words -p 1 -k key -H a=1 -H b=2 --timestamp 2026-11-01T10:00"),
    );
    expect![[r#"
        TOPIC         PARTITION  OFFSET    TIMESTAMP                 LEADER-EPOCH  HEADERS           KEY           VALUE
        orders        1          0         2026-11-01T10:00:00.000Z  0             a=1,b=2           key           one
        orders        1          1         2026-11-01T10:00:00.000Z  0             a=1,b=2           key           two words
    "#]]
    .assert_eq(&terminal.well("consume orders -o wide"));
    assert_eq!(
        terminal.well("consume orders --format %t-%p@%o~%d~%k~%v~%h~%K~%S\\n"),
        "orders-1@0 2026-11-01T10:00:00.000Z key one a=1,b=2 3 3\norders-1@1 2026-11-01T10:00:00.000Z key two words a=1,b=2 3 9\n"
    );
    let lines = terminal.type_in("produce orders -K : --null NULL -p 0", "k:v\nk:NULL\nk:a:b\r\n");
    assert_eq!(lines.code, 0, "{lines:?}");
    let read = terminal.well("consume orders -p 0 -o jsonl");
    assert_eq!(field(&read, "value"), ["v", "null", "a:b"]);
    assert_eq!(field(&read, "key"), ["k"; 3]);
    assert_eq!(terminal.type_in("produce orders -i whole -p 0", "all\nof it\n").code, 0);
    assert_eq!(field(&terminal.well("consume orders -p 0 -O -1 -o jsonl"), "value"), ["all\nof it\n"]);
    assert_eq!(terminal.well("consume orders --grep ^two -o jsonl").lines().count(), 1);
    assert_eq!(terminal.well("consume orders -n 3 -o jsonl").lines().count(), 3);
    assert_eq!(terminal.well("consume orders --no-headers").lines().count(), 6);
}

#[test]
fn offsets_as_they_are_written() {
    let terminal = Terminal::open();
    terminal.well("topic create orders");
    for hour in 10..20 {
        terminal.well(&format!("produce orders {hour} --timestamp 2026-11-01T{hour}:00"));
    }
    for (offsets, expected) in [
        ("5..8", vec!["15", "16", "17"]),
        ("-2..", vec!["18", "19"]),
        ("-2", vec!["18", "19"]),
        ("..2", vec!["10", "11"]),
        ("+8", vec!["18", "19"]),
        ("8", vec!["18", "19"]),
        ("end", vec![]),
        ("start..+1", vec!["10"]),
        ("@2026-11-01T17:30", vec!["18", "19"]),
        ("@2026-11-01T11:00..@2026-11-01T13:00", vec!["11", "12"]),
        ("@2026-11-01T11:00+01:00..2", vec!["10", "11"]),
        ("..@2026-11-01T10:00:00.001Z", vec!["10"]),
        ("100..", vec![]),
    ] {
        let read = terminal.well(&format!("consume orders -o jsonl -O {offsets}"));
        assert_eq!(field(&read, "value"), expected, "{offsets}");
    }
    let clamped = terminal.run("consume orders -O 100..");
    assert_eq!(clamped.err, "orders-0 has offsets 0 to 10: beginning at 10 instead of 100\n");
    for line in [
        "consume orders -O soon",
        "consume orders -O 8..5",
        "consume orders -O committed",
        "consume orders -O 5..8 -f",
        "consume orders --format %x",
        "consume orders -o json --format %v",
        "consume orders -g g -O 5",
        "produce orders a -i jsonl",
        "produce orders --keep-partitions",
        "produce orders a --timestamp soon",
    ] {
        assert_eq!(terminal.run(line).code, 2, "{line}");
    }
    // Nothing is begun where there is nothing to read or to write to.
    for line in [
        "consume orders -p 3",
        "consume ordres",
        "consume ordres -o json",
        "consume ordres -g g",
        "produce ordres a",
        "produce orders -p 1 a",
    ] {
        let said = terminal.run(line);
        assert_eq!((said.code, said.out.as_str()), (4, ""), "{line}");
    }
    assert_eq!(terminal.well("-o json --quiet consume orders -O end"), "[]\n");
}

#[test]
fn records_are_followed_as_they_come() {
    let terminal = Terminal::open();
    terminal.well("topic create orders");
    terminal.well("produce orders one");
    std::thread::scope(|scope| {
        let alone = scope.spawn(|| terminal.well("consume orders -f -n 2 -o jsonl"));
        let later = scope.spawn(|| terminal.well("consume orders --follow -O end -n 1 -o jsonl"));
        let grouped = scope.spawn(|| terminal.well("consume orders -f -n 2 -g billing -o jsonl"));
        // Until all three have what they want.
        while !(alone.is_finished() && later.is_finished() && grouped.is_finished()) {
            terminal.well("produce orders two");
        }
        assert_eq!(field(&alone.join().unwrap(), "value"), ["one", "two"]);
        assert_eq!(field(&later.join().unwrap(), "value"), ["two"]);
        assert_eq!(field(&grouped.join().unwrap(), "value").len(), 2);
    });
}

#[test]
fn what_consume_prints_produce_takes() {
    let terminal = Terminal::open();
    terminal.well("topic create one -p 3");
    terminal.well("topic create other -p 3");
    let made = "{\"partition\":2,\"timestamp\":5,\"key\":{\"base64\":\"+go=\"},\"headers\":[{\"key\":\"h\",\"value\":null},{\"key\":\"h\",\"value\":\"v\"}],\"value\":\"x\"}\n\
                {\"partition\":0,\"timestamp\":7,\"value\":{\"a\":[1,null]}}\n\n\
                {\"partition\":2,\"timestamp\":9,\"key\":\"tombstone\"}\n";
    let said = terminal.type_in("produce one -i jsonl --keep-partitions -o jsonl", made);
    assert_eq!(
        (said.code, field(&said.out, "partition")),
        (0, vec!["0".to_owned(), "2".to_owned()]),
        "{said:?}"
    );
    let read = terminal.well("consume one -o jsonl");
    let copied = terminal.type_in("produce other -i jsonl --keep-partitions", &read);
    assert_eq!(copied.code, 0, "{copied:?}");
    let sorted = |text: String| {
        let mut lines: Vec<String> =
            text.replace("\"topic\":\"other\"", "\"topic\":\"one\"").lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(terminal.well("consume other -o jsonl")), sorted(read.clone()));
    assert!(read.contains(r#""headers":[{"key":"h","value":null},{"key":"h","value":"v"}],"key":{"base64":"+go="},"value":"x""#), "{read}");
    // Every format is one document.
    let json: serde_json::Value = serde_json::from_str(&terminal.well("consume one -o json")).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 3);
    assert_eq!(terminal.well("consume one -o yaml").matches("- topic: one\n").count(), 3);
    let wrong = terminal.type_in("produce one -i jsonl", "{\"value\":1}\n{\"vaule\":1}\n");
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.starts_with("error: line 2: a record has no field 'vaule'"), "{}", wrong.err);
    assert!(wrong.out.lines().count() == 2, "what was written before is told: {}", wrong.out);
}

#[test]
fn settings_of_producers_and_consumers_have_their_effect() {
    let terminal = Terminal::open();
    terminal.well("topic create orders");
    let unknown = terminal.well("produce orders a -X acks=0 -o jsonl");
    assert_eq!(field(&unknown, "first_offset"), ["null"]);
    let large = terminal.type_in("produce orders -X max.request.size=2000", &"x".repeat(3000));
    assert_eq!(large.code, 1);
    assert!(large.err.contains("max.request.size"), "{}", large.err);
    let refused = terminal.run("consume orders -X isolation.level=sometimes");
    assert_eq!(refused.code, 2, "{refused:?}");
    let misspelt = terminal.run("consume orders -X isolation.levle=read_committed");
    assert!(misspelt.err.contains("did you mean isolation.level?"), "{misspelt:?}");
}

#[test]
fn what_was_taken_before_ctrl_c_is_written() {
    let terminal = Terminal::open();
    terminal.well("topic create orders");
    // Nothing is sent by itself.
    let mut producing = terminal.begin("produce orders -o jsonl -X linger.ms=60000 -X batch.size=1000000");
    let mut input = producing.stdin.take().unwrap();
    // More than a pipe and what is read ahead hold, so that some are taken when all are handed over.
    for number in 0..4000 {
        writeln!(input, "{number:0100}").unwrap();
    }
    interrupt(&producing);
    let interrupted = said(producing);
    drop(input);
    assert_eq!(interrupted.code, 130, "{interrupted:?}");
    assert!(interrupted.err.contains("What was taken is written"), "{interrupted:?}");
    let told: usize = field(&interrupted.out, "records")[0].parse().unwrap();
    let values = field(&terminal.well("consume orders -o jsonl"), "value");
    assert!(told > 0);
    assert_eq!(values, (0..told).map(|number| format!("{number:0100}")).collect::<Vec<_>>());
}

#[test]
fn a_second_ctrl_c_ends_at_once_and_says_what_is_unknown() {
    let terminal = Terminal::open();
    terminal.well("topic create orders");
    let mut producing = terminal.begin("produce orders -X linger.ms=60000 -X batch.size=1000000");
    let mut input = producing.stdin.take().unwrap();
    for number in 0..4000 {
        writeln!(input, "{number:0100}").unwrap();
    }
    // Nobody answers any more.
    terminal.node.kill();
    interrupt(&producing);
    let mut err = std::io::BufReader::new(producing.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut err, &mut line).unwrap();
    assert_eq!(line, "What was taken is written; Ctrl-C ends at once.\n");
    interrupt(&producing);
    let code = producing.wait().unwrap().code();
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut err, &mut rest).unwrap();
    assert_eq!(code, Some(130), "{rest}");
    assert!(rest.contains("records: they may be written, or not"), "{rest}");
}
