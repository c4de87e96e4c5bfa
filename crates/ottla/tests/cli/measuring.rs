//! `ottla bench` and `ottla top`

use std::fs;

use crate::{Terminal, field};

#[test]
fn a_bench_writes_reads_and_leaves_nothing() {
    let terminal = Terminal::open();
    let said = terminal.run("bench -n 3000 -s 50 -p 3 -r 1 -o jsonl --report report.html");
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(field(&said.out, "phase"), ["write", "read"]);
    assert_eq!(field(&said.out, "records"), ["3000", "3000"]);
    assert_ne!(field(&said.out, "p99_ms")[0], "null");
    assert_eq!(said.err, "The report is in report.html.\n");
    let page = fs::read_to_string(terminal.dir.path().join("report.html")).unwrap();
    assert!(
        page.contains("<td>3 partitions, 1 replicas</td>") && page.contains("<td>50 bytes</td>"),
        "{page}"
    );
    assert_eq!(terminal.well("topic list --no-headers"), "");
}

#[test]
fn a_bench_keeps_to_its_rate_and_leaves_records_where_it_is_told() {
    let terminal = Terminal::open();
    terminal.well("topic create orders -p 2");
    let said = terminal.run("bench -t orders -n 200 --rate 400 --no-read -o jsonl --report picture.svg -q");
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
    assert_eq!(field(&said.out, "phase"), ["write"]);
    // The last of 200 records is due after 497 ms, whatever the machine does.
    let seconds: f64 = field(&said.out, "seconds")[0].parse().unwrap();
    assert!(seconds >= 0.497, "{seconds}");
    assert!(fs::read_to_string(terminal.dir.path().join("picture.svg")).unwrap().starts_with("<svg"));
    assert_eq!(field(&terminal.well("topic list -o jsonl"), "records"), ["200"]);
    for (line, code) in [
        ("bench --report report.pdf", 2),
        ("bench -t orders -p 3", 2),
        ("bench -t ordres -n 1", 4),
        ("bench -r 3 -n 1", 1),
        ("bench --report nothing/report.html", 1),
    ] {
        let said = terminal.run(line);
        assert_eq!((said.code, said.out.as_str()), (code, ""), "{line}");
    }
}

#[test]
fn top_prints_where_there_is_no_terminal() {
    let terminal = Terminal::open();
    terminal.well("topic create orders -p 2");
    terminal.type_in("produce orders -p 1", "a\nb\n");
    terminal.well("consume orders -g billing -n 1");
    let topics = terminal.well("top -i 50ms -o jsonl");
    assert_eq!(
        (field(&topics, "topic"), field(&topics, "records")),
        (vec!["orders".to_owned()], vec!["2".to_owned()])
    );
    assert_eq!(terminal.well("top partitions -i 50ms -n 2 -o jsonl").lines().count(), 4);
    assert_eq!(field(&terminal.well("top groups -i 50ms -o jsonl"), "lag"), ["1"]);
    assert!(terminal.well("top -i 50ms --internal").contains("__consumer_offsets"));
}
