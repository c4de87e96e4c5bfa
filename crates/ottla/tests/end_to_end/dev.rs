//! `ottla dev`: a cluster on one machine.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ottla_testkit::{Ottla, free_port};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::clients::{client, read_all};
use super::command;

const PATIENCE: Duration = Duration::from_secs(120);

const TOPIC: &str = "replicated";

/// Each node takes two.
fn ports_in_a_row(count: u16) -> u16 {
    loop {
        let first = free_port();
        if (1..count).all(|further| free_port() == first + further) {
            return first;
        }
    }
}

/// The nodes' processes.
fn nodes(cluster: &Ottla) -> BTreeSet<i32> {
    let path = format!("/proc/{pid}/task/{pid}/children", pid = cluster.pid());
    std::fs::read_to_string(path).unwrap().split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

fn pid(number: i32) -> Pid {
    Pid::from_raw(number).unwrap()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_local_cluster_serves_while_a_node_is_away_comes_back_and_stops_whole() {
    let dir = tempfile::tempdir().unwrap();
    let port = ports_in_a_row(6);
    let cluster = command(dir.path(), &["dev", "--dir", "cluster", "--port", &port.to_string()]).start();
    let addresses: Vec<_> = [0, 2, 4].iter().map(|behind| format!("127.0.0.1:{}", port + behind)).collect();
    assert_eq!(cluster.bootstrap(), addresses.join(","));
    let first = nodes(&cluster);
    assert_eq!(first.len(), 3);

    let producer: BaseProducer = client(&cluster, &[("enable.idempotence", "true")]).create().unwrap();
    let send = |number: usize| {
        let value = number.to_string();
        producer.send(BaseRecord::<(), str>::to(TOPIC).partition(0).payload(&value)).unwrap();
        producer.flush(PATIENCE).unwrap();
    };
    (0..20).for_each(send);
    // Whichever role it has: the two that are left are enough for every partition and for the quorum.
    kill_process(pid(*first.first().unwrap()), Signal::KILL).unwrap();
    (20..40).for_each(send);
    until("the node comes back", || nodes(&cluster).difference(&first).count() == 1);
    (40..60).for_each(send);
    // None of two that are away serves before the other is there, and no two of three can do without them.
    for (count, numbers) in [(2, 60..80), (3, 80..100)] {
        let before = nodes(&cluster);
        before.iter().take(count).for_each(|node| kill_process(pid(*node), Signal::KILL).unwrap());
        until("all come back", || nodes(&cluster).difference(&before).count() == count);
        numbers.for_each(send);
    }
    assert_eq!(read_all(&cluster, TOPIC), (0..100).map(|number| number.to_string()).collect::<Vec<_>>());

    let last = nodes(&cluster);
    assert!(cluster.stop().success());
    for node in last {
        assert!(test_kill_process(pid(node)).is_err(), "node {node} goes on");
    }
}
