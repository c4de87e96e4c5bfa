//! Transactions and a group on three processes, of which one after the other is killed: the copier goes on with those that are
//! left, and each record is copied once.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ottla_wire::messages::FindCoordinatorRequest;
use rdkafka::producer::{BaseProducer, Producer};

use super::cluster::{Cluster, ask};
use super::replication::{clients, create, partitions, wait_until_in_sync};
use super::transactions::{Copying, Random, committed, read, send};

const PATIENCE: Duration = Duration::from_secs(180);
/// Of what is drawn by lot: when a process is killed, and which transactions are given up.
const SEED: &str = "OTTLA_SEED";
/// Records that are copied between two kills.
const RECORDS_A_KILL: usize = 50;
/// librdkafka 2.12 forgets a node that the metadata have no more, and who waits for that node to learn where the group's
/// coordinator is waits on until some connection comes or goes. Idle ones go.
const IDLE_MAX: (&str, &str) = ("connections.max.idle.ms", "2000");
/// Why nodes are killed, one after the other.
const PARTS: [Part; 4] = [Part::Transactions, Part::Group, Part::Source, Part::Transactions];

/// What a node does for the copier.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// It coordinates the transactions.
    Transactions,
    /// It coordinates the group.
    Group,
    /// It leads what is copied.
    Source,
}

fn who_has(cluster: &Cluster, part: Part) -> i32 {
    match part {
        Part::Transactions => coordinator(cluster, "copier", 1),
        Part::Group => coordinator(cluster, "copiers", 0),
        Part::Source => cluster.until(|| {
            let leader = partitions(cluster, "in")?.first()?.leader_id;
            (leader >= 0).then_some(leader)
        }),
    }
}

/// Who coordinates what goes by this key: 0 for groups, 1 for transactions.
fn coordinator(cluster: &Cluster, key: &str, key_type: i8) -> i32 {
    cluster.until(|| {
        let through = *cluster.brokers().first()?;
        let request =
            FindCoordinatorRequest { key_type, coordinator_keys: vec![key.to_owned()], ..Default::default() };
        let found = ask(cluster.ottla(through).bootstrap(), &request, 4)?.coordinators.remove(0);
        (found.error_code == 0).then_some(found.node_id)
    })
}

/// Waits until so many records are copied.
fn wait_for(copying: &Copying, wanted: usize) {
    let deadline = Instant::now() + PATIENCE;
    while copying.copied.load(Ordering::Relaxed) < wanted {
        if Instant::now() > deadline {
            copying.is_given_up.store(true, Ordering::Relaxed);
            panic!("{} of {wanted} records are copied", copying.copied.load(Ordering::Relaxed));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn every_record_is_copied_once_though_nodes_are_killed() {
    let seed = std::env::var(SEED).map_or(1, |text| text.parse::<u64>().expect("a number"));
    println!("{SEED}={seed}");
    let mut random = Random(seed);
    let count = (2 * PARTS.len() + 1) * RECORDS_A_KILL;
    let mut cluster = Cluster::start_with(&["broker,controller"; 3], 3);
    create(&cluster, "in", 1);
    create(&cluster, "out", 3);
    let plain: BaseProducer = clients(&cluster, &[("acks", "all")]).create().unwrap();
    for number in 0..count {
        send(&plain, "in", 0, &number.to_string()).unwrap();
    }
    plain.flush(PATIENCE).unwrap();
    let copying = Copying::new(clients(&cluster, &[IDLE_MAX]), count);
    let copier = copying.start_copier(random.below(u64::MAX));
    for (kill, part) in (1..).zip(PARTS) {
        wait_for(&copying, (2 * kill - 1) * RECORDS_A_KILL);
        std::thread::sleep(Duration::from_millis(random.below(40)));
        let victim = who_has(&cluster, part);
        println!("node {victim} is killed, which has the {part:?}");
        let killed_at = Instant::now();
        cluster.kill(victim);
        wait_for(&copying, 2 * kill * RECORDS_A_KILL);
        println!("it went on within {} ms", killed_at.elapsed().as_millis());
        cluster.begin(&[victim]);
        for topic in ["in", "out", "__consumer_offsets", "__transaction_state"] {
            wait_until_in_sync(&cluster, topic);
        }
    }
    copier.join().unwrap();
    let mut copied: Vec<usize> = Vec::new();
    for partition in 0..3 {
        let values = read(cluster.ottla(1), "out", partition, "read_committed");
        copied.extend(values.iter().map(|value| value.parse::<usize>().unwrap()));
    }
    copied.sort_unstable();
    assert_eq!(copied, (0..count).collect::<Vec<_>>());
    assert_eq!(committed(&copying.consumer().unwrap()).unwrap(), count);
}
