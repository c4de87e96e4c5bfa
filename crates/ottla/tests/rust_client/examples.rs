//! The client's examples do what they say.

#[path = "../../../client/examples/dead_letters.rs"]
#[allow(dead_code)]
mod dead_letters;
#[path = "../../../client/examples/exactly_once.rs"]
#[allow(dead_code)]
mod exactly_once;
#[path = "../../../client/examples/graceful_shutdown.rs"]
#[allow(dead_code)]
mod graceful_shutdown;
#[path = "../../../client/examples/orders.rs"]
#[allow(dead_code)]
mod orders;
#[path = "../../../client/examples/salting.rs"]
#[allow(dead_code)]
mod salting;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla_client::admin::{Admin, OffsetSpec};
use ottla_client::consumer::{Consumer, ConsumerRecord, ConsumerSettings, IsolationLevel, OffsetReset};
use ottla_client::types::TopicPartition;
use ottla_client::{Client, ClientSettings, Producer, ProducerSettings, Record};
use ottla_testkit::free_port;
use tokio::sync::oneshot;

use super::{connect, create_topic, launch};

/// Longer than anything that goes well takes.
const PATIENCE: Duration = Duration::from_secs(60);

async fn patiently<T>(what: &str, until: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, until).await;
    done.unwrap_or_else(|_| panic!("{what}: not after a minute"))
}

async fn write(client: &Client, topic: &str, values: &[&str]) {
    let producer = Producer::with_client(
        client.clone(),
        ProducerSettings { client: client.settings().clone(), ..ProducerSettings::default() },
    )
    .unwrap();
    for value in values {
        producer.send(Record::to(topic).key(value).value(value)).await.unwrap().await.unwrap();
    }
}

/// The first so many records of a topic with one partition.
async fn read(bootstrap: &str, topic: &str, count: usize) -> Vec<ConsumerRecord> {
    let mut consumer = Consumer::connect(ConsumerSettings {
        auto_offset_reset: OffsetReset::Earliest,
        isolation_level: IsolationLevel::ReadCommitted,
        ..ConsumerSettings::new(ClientSettings::new(bootstrap))
    })
    .await
    .unwrap();
    consumer.assign([TopicPartition::new(topic, 0)]).unwrap();
    let mut records = Vec::new();
    patiently("the records are there", async {
        while records.len() < count {
            records.extend(consumer.poll(PATIENCE).await.unwrap());
        }
    })
    .await;
    consumer.close(PATIENCE).await.unwrap();
    records
}

fn text(record: &ConsumerRecord) -> String {
    String::from_utf8(record.value.as_ref().unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn what_can_not_be_done_ends_among_the_dead_letters() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    let client = connect(&ottla).await;
    for topic in [dead_letters::TOPIC, dead_letters::RETRY_TOPIC, dead_letters::DEAD_TOPIC] {
        create_topic(&client, topic, 1).await;
    }
    write(&client, dead_letters::TOPIC, &["later", "good", "never"]).await;
    let dead = Arc::new(Mutex::new(Vec::new()));
    let until_dead = async {
        *dead.lock().unwrap() = read(ottla.bootstrap(), dead_letters::DEAD_TOPIC, 1).await;
    };
    patiently("it has ended", dead_letters::run(ottla.bootstrap(), until_dead)).await.unwrap();
    let dead = std::mem::take(&mut *dead.lock().unwrap());
    let headers: BTreeMap<&[u8], &[u8]> = dead[0]
        .headers
        .iter()
        .map(|header| (header.key.as_ref(), header.value.as_deref().unwrap()))
        .collect();
    assert_eq!(text(&dead[0]), "never");
    assert_eq!(headers, BTreeMap::from([(&b"attempts"[..], &b"3"[..]), (b"reason", b"it can't be done")]));
    let retried: BTreeSet<String> =
        read(ottla.bootstrap(), dead_letters::RETRY_TOPIC, 3).await.iter().map(text).collect();
    assert_eq!(retried, BTreeSet::from(["later".to_owned(), "never".to_owned()]));
}

#[tokio::test]
async fn each_order_is_billed_once() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    let client = connect(&ottla).await;
    create_topic(&client, exactly_once::FROM, 1).await;
    create_topic(&client, exactly_once::TO, 1).await;
    let mut expected = Vec::new();
    for orders in [["a", "b"], ["c", "d"]] {
        write(&client, exactly_once::FROM, &orders).await;
        expected.extend(orders.map(|order| format!("bill for {order}")));
        let bootstrap = ottla.bootstrap();
        let until_billed = async {
            drop(read(bootstrap, exactly_once::TO, expected.len()).await);
        };
        patiently("it has ended", exactly_once::run(bootstrap, "billing-1", until_billed)).await.unwrap();
    }
    let bills: Vec<String> =
        read(ottla.bootstrap(), exactly_once::TO, expected.len()).await.iter().map(text).collect();
    assert_eq!(bills, expected);
}

#[tokio::test]
async fn a_worker_that_is_stopped_has_committed_what_it_did() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    let client = connect(&ottla).await;
    create_topic(&client, graceful_shutdown::TOPIC, 1).await;
    let orders: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    let orders: Vec<&str> = orders.iter().map(String::as_str).collect();
    write(&client, graceful_shutdown::TOPIC, &orders).await;
    let worked_on = Arc::new(Mutex::new(BTreeSet::new()));
    // Again and again a worker that is stopped in the middle.
    patiently("all are worked on", async {
        while worked_on.lock().unwrap().len() < orders.len() {
            let (stop, stopped) = oneshot::channel::<()>();
            let stop = Arc::new(Mutex::new(Some(stop)));
            let before = worked_on.lock().unwrap().len();
            let work = |order: ConsumerRecord| {
                let (worked_on, stop) = (Arc::clone(&worked_on), Arc::clone(&stop));
                async move {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    let mut worked_on = worked_on.lock().unwrap();
                    assert!(worked_on.insert(order.offset.0), "{} was done before", order.offset);
                    if worked_on.len() >= before + 30
                        && let Some(stop) = stop.lock().unwrap().take()
                    {
                        stop.send(()).unwrap();
                    }
                    Ok(())
                }
            };
            let all = async {
                tokio::select! {
                    _ = stopped => {}
                    () = until_all(&worked_on, orders.len()) => {}
                }
            };
            graceful_shutdown::run(ottla.bootstrap(), all, work).await.unwrap();
        }
    })
    .await;
    assert_eq!(*worked_on.lock().unwrap(), (0..100).collect());
}

async fn until_all(worked_on: &Mutex<BTreeSet<i64>>, count: usize) {
    while worked_on.lock().unwrap().len() < count {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_salted_key_goes_to_several_partitions_and_is_counted_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    let client = connect(&ottla).await;
    create_topic(&client, salting::TOPIC, 6).await;
    let clicks = (0..200).map(|number| if number % 10 == 0 { "cold" } else { "hot" });
    salting::send(ottla.bootstrap(), clicks, |page| page == "hot").await.unwrap();
    let counts = patiently("all are counted", salting::count(ottla.bootstrap(), 200)).await.unwrap();
    assert_eq!(counts, BTreeMap::from([("cold".to_owned(), 20), ("hot".to_owned(), 180)]));
    let partitions: BTreeSet<i32> = (0..salting::SALTS)
        .map(|salt| ottla_client::partition_of_key(format!("hot#{salt}").as_bytes(), 6))
        .collect();
    assert!(partitions.len() > 1);
}

/// Each record of the topic, in its order.
async fn all_of(bootstrap: &str, topic: &str, partitions: i32, count: usize) -> Vec<ConsumerRecord> {
    let mut consumer = Consumer::connect(ConsumerSettings {
        auto_offset_reset: OffsetReset::Earliest,
        ..ConsumerSettings::new(ClientSettings::new(bootstrap))
    })
    .await
    .unwrap();
    consumer.assign((0..partitions).map(|index| TopicPartition::new(topic, index))).unwrap();
    let mut records = Vec::new();
    patiently("all records are there", async {
        while records.len() < count {
            records.extend(consumer.poll(PATIENCE).await.unwrap());
        }
    })
    .await;
    // Nothing stands behind them.
    records.extend(consumer.poll(Duration::from_millis(100)).await.unwrap());
    consumer.close(PATIENCE).await.unwrap();
    records
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_survive_restarts_of_the_broker() {
    const COUNT: usize = 1500;
    let dir = tempfile::tempdir().unwrap();
    let launch = launch(dir.path()).listening_on(free_port(), 0);
    let mut ottla = launch.start();
    let bootstrap = ottla.bootstrap().to_owned();
    let client = connect(&ottla).await;
    create_topic(&client, orders::TOPIC, 3).await;
    let (to_take_in, to_pack) = (bootstrap.clone(), bootstrap.clone());
    let mut taking_in =
        tokio::spawn(
            async move { orders::take_in(&to_take_in, COUNT).await.map_err(|error| error.to_string()) },
        );
    let packing =
        tokio::spawn(async move { orders::pack(&to_pack, COUNT).await.map_err(|error| error.to_string()) });
    // It crashes twice; after each time more is taken in.
    let admin = Admin::new(client.clone());
    let at = || (0..3).map(|index| TopicPartition::new(orders::TOPIC, index));
    let written = async |at_least: i64| {
        patiently("orders are taken in", async {
            loop {
                let ends = admin.list_offsets_at(at(), OffsetSpec::Latest).await;
                let ends = ends.iter().flat_map(|ends| ends.values()).flatten();
                if ends.map(|end| end.offset).sum::<i64>() >= at_least {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    };
    written(100).await;
    ottla.kill();
    ottla = launch.start();
    written(300).await;
    ottla.kill();
    ottla = launch.start();
    patiently("all are taken in", &mut taking_in).await.unwrap().unwrap();
    let packed = patiently("all are packed", packing).await.unwrap().unwrap();
    assert_eq!(packed, (0..COUNT).map(|number| format!("order {number}")).collect());
    let records = all_of(ottla.bootstrap(), orders::TOPIC, 3, COUNT).await;
    assert_eq!(records.len(), COUNT, "each is written once");
    let mut last = BTreeMap::new();
    for record in &records {
        let number: usize = text(record).trim_start_matches("order ").parse().unwrap();
        let before = last.insert(record.key.clone(), number);
        assert!(before.is_none_or(|before| before + 7 == number), "{before:?} before {number}");
    }
    let committed = Admin::new(connect(&ottla).await).list_group_offsets(orders::GROUP, None).await.unwrap();
    assert_eq!(committed.values().map(|of| of.as_ref().unwrap().offset).sum::<i64>(), COUNT as i64);
}
