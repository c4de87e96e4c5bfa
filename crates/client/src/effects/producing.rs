//! Settings of producers.

use std::time::Duration;

use ottla_record::Batch;
use ottla_wire::messages::{InitProducerIdRequest, MetadataRequest, ProduceRequest};
use ottla_wire::{ApiKey, ErrorCode};
use tokio::time::{Instant, sleep};

use super::connection::asks_what_is_wanted;
use super::fake::{Fate, Seen};
use super::{Effect, Given, about, effect};
use crate::settings::Scope;
use crate::{ClientError, Producer, ProducerSettings, Record, TransactionalProducer, TrySendReason};

const PRODUCER: &[Scope] = &[Scope::Producer];

pub(super) const EFFECTS: &[Effect] = &[
    effect!(PRODUCER, "enable.metrics.push" = "false", tells, "asks what is wanted" => "never asks"),
    effect!(PRODUCER, "acks" = "1", |given| requested(given, |request| request.acks.to_string()), "-1" => "1"),
    effect!(PRODUCER, "batch.size" = "150", batches, "4" => "1 1 1 1", with [("linger.ms", "50")]),
    effect!(PRODUCER, "buffer.memory" = "40000", room, "for 100 of 1000 bytes" => "is used up before that"),
    effect!(PRODUCER, "compression.type" = "gzip", codec, "0" => "1"),
    effect!(PRODUCER, "compression.gzip.level" = "1", |given| bytes(given, "gzip"), "as large as by default" => "of another size"),
    effect!(PRODUCER, "compression.lz4.level" = "1", |given| bytes(given, "lz4"), "as large as by default" => "of another size"),
    effect!(PRODUCER, "compression.zstd.level" = "-50", |given| bytes(given, "zstd"), "as large as by default" => "of another size"),
    effect!(PRODUCER, "delivery.timeout.ms" = "40000", time_of_a_delivery, "about 120000 ms" => "about 40000 ms"),
    effect!(PRODUCER, "enable.idempotence" = "false", numbering, "has a producer id" => "has none"),
    effect!(PRODUCER, "key.serializer" = "com.example.Avro", is_accepted, "accepted" => "refused"),
    effect!(PRODUCER, "value.serializer" = "com.example.Avro", is_accepted, "accepted" => "refused"),
    effect!(PRODUCER, "linger.ms" = "700", linger, "about 5 ms" => "about 700 ms"),
    effect!(PRODUCER, "max.block.ms" = "20000", blocks, "about 60000 ms" => "about 20000 ms"),
    effect!(PRODUCER, "max.in.flight.requests.per.connection" = "2", in_flight, "5" => "2", with [("batch.size", "0"), ("enable.idempotence", "false")]),
    effect!(PRODUCER, "max.request.size" = "2000", size_limit, "taken" => "max.request.size of 2000"),
    effect!(PRODUCER, "metadata.max.idle.ms" = "20000", idle_topic, "is asked about" => "is forgotten",
        with [("metadata.max.age.ms", "5000")]),
    effect!(PRODUCER, "partitioner.adaptive.partitioning.enable" = "false", slow_leader,
        "gets less" => "gets as much as the others", with [("batch.size", "1000"), ("delivery.timeout.ms", "3600000"),
            ("request.timeout.ms", "3000000")]),
    effect!(PRODUCER, "partitioner.class" = "org.apache.kafka.clients.producer.RoundRobinPartitioner", places,
        "in one partition" => "in 3 partitions"),
    effect!(PRODUCER, "partitioner.ignore.keys" = "true", places, "in one partition" => "in 3 partitions",
        with [("batch.size", "100")]),
    effect!(PRODUCER, "retries" = "2", attempts, "more than 10" => "3", with [("delivery.timeout.ms", "3600000")]),
    effect!(PRODUCER, "retry.backoff.ms" = "400", |given| retries(given, 1), "about 100 ms" => "about 400 ms"),
    effect!(PRODUCER, "retry.backoff.max.ms" = "200", |given| retries(given, 9), "about 1000 ms" => "about 200 ms"),
    effect!(PRODUCER, "transactional.id" = "t", transactional_id, "refused" => "Some(\"t\")"),
    effect!(PRODUCER, "transaction.timeout.ms" = "7000", transaction_timeout, "60000" => "7000",
        with [("transactional.id", "t")]),
];

impl Given {
    fn producer_settings(&self) -> ProducerSettings {
        let settings = ProducerSettings::from_settings(&self.settings()).unwrap();
        ProducerSettings { client: self.connected(settings.client.clone()), ..settings }
    }

    /// A producer that knows the topic `t`, of three partitions.
    async fn producer(&self) -> Producer {
        self.fake.topic("t", 3);
        let producer = Producer::start(self.producer_settings()).unwrap();
        producer.partitions("t").await.unwrap();
        producer
    }

    /// No node answers what is to be written.
    fn never_writes(&self) {
        self.fake.on_request(|seen| match seen.api {
            ApiKey::Produce => Fate::Unanswered,
            _ => Fate::Answered,
        });
    }
}

/// What a request says of one record.
async fn requested(given: Given, show: fn(&ProduceRequest) -> String) -> String {
    let producer = given.producer().await;
    drop(producer.send(Record::to("t").partition(0).value("v")).await.unwrap());
    show(&given.fake.first::<ProduceRequest>().await)
}

/// Where, and as which batch.
fn written(seen: &Seen) -> Vec<(i32, bytes::Bytes)> {
    let request: ProduceRequest = seen.read();
    let data = request.topic_data.into_iter().flat_map(|topic| topic.partition_data);
    data.map(|data| (data.index, data.records.unwrap())).collect()
}

fn all_written(given: &Given) -> Vec<(i32, bytes::Bytes)> {
    given.fake.seen(ApiKey::Produce).iter().flat_map(written).collect()
}

async fn batches(given: Given) -> String {
    let producer = given.producer().await;
    for _ in 0..4 {
        drop(producer.send(Record::to("t").partition(0).value(&[b'x'; 100])).await.unwrap());
    }
    producer.flush().await;
    let counts = all_written(&given).into_iter().map(|(_, batch)| Batch::parse(&batch).unwrap().record_count);
    counts.map(|count| count.to_string()).collect::<Vec<_>>().join(" ")
}

async fn room(given: Given) -> String {
    given.never_writes();
    let producer = given.producer().await;
    for _ in 0..100 {
        match producer.try_send(Record::to("t").value(&[b'x'; 1_000])).map_err(|error| error.reason) {
            Ok(_) => {}
            Err(TrySendReason::Full) => return "is used up before that".to_owned(),
            Err(other) => panic!("{other}"),
        }
    }
    "for 100 of 1000 bytes".to_owned()
}

async fn one_batch(given: &Given, value: &[u8]) -> bytes::Bytes {
    let producer = given.producer().await;
    producer.send(Record::to("t").partition(0).value(value)).await.unwrap().await.unwrap();
    all_written(given).remove(0).1
}

async fn codec(given: Given) -> String {
    let batch = one_batch(&given, &[b'x'; 1_000]).await;
    format!("{:?}", Batch::parse(&batch).unwrap().attributes.codec_id())
}

/// How large a batch becomes that can be compressed well or badly, beside one with the default level.
async fn bytes(mut given: Given, codec: &str) -> String {
    let words = [
        "topic",
        "partition",
        "offset",
        "leader",
        "epoch",
        "replica",
        "batch",
        "record",
        "producer",
        "consumer",
    ];
    let mut state = 1_u32;
    let mut text = String::new();
    while text.len() < 10_000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.push_str(words[usize::try_from(state >> 16).unwrap() % words.len()]);
        text.push(char::from(b' ' + u8::try_from(state >> 28).unwrap()));
    }
    given.pairs.insert("compression.type".to_owned(), codec.to_owned());
    given.pairs.insert("batch.size".to_owned(), "100000".to_owned());
    let usual = Given {
        fake: super::Fake::new(),
        scope: given.scope,
        pairs: given.pairs.clone().into_iter().filter(|(key, _)| !key.ends_with(".level")).collect(),
    };
    let [made, usual] =
        [one_batch(&given, text.as_bytes()).await.len(), one_batch(&usual, text.as_bytes()).await.len()];
    if made == usual { "as large as by default" } else { "of another size" }.to_owned()
}

fn since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap()
}

async fn time_of_a_delivery(given: Given) -> String {
    given.never_writes();
    let producer = given.producer().await;
    let began = Instant::now();
    producer.send(Record::to("t").value("v")).await.unwrap().await.unwrap_err();
    about(since(began), &[40_000, 120_000])
}

async fn numbering(given: Given) -> String {
    let batch = one_batch(&given, b"v").await;
    if Batch::parse(&batch).unwrap().has_producer_id() { "has a producer id" } else { "has none" }.to_owned()
}

pub(super) async fn is_accepted(given: Given) -> String {
    if given.read().is_ok() { "accepted" } else { "refused" }.to_owned()
}

async fn linger(given: Given) -> String {
    let producer = given.producer().await;
    // Who it is and the connection are there by then.
    producer.send(Record::to("t").partition(0).value("v")).await.unwrap().await.unwrap();
    let before = given.fake.now_ms();
    drop(producer.send(Record::to("t").partition(0).value("v")).await.unwrap());
    let seen = given.fake.until_seen(ApiKey::Produce, 2).await;
    about(seen[1].at_ms - before, &[5, 700])
}

async fn blocks(given: Given) -> String {
    let producer = Producer::start(given.producer_settings()).unwrap();
    let began = Instant::now();
    let error = producer.send(Record::to("not-there").value("v")).await.unwrap_err();
    assert!(matches!(error, ClientError::Blocked { .. }), "{error}");
    about(since(began), &[20_000, 60_000])
}

async fn in_flight(given: Given) -> String {
    given.never_writes();
    let producer = given.producer().await;
    for _ in 0..20 {
        drop(producer.send(Record::to("t").partition(0).value("v")).await.unwrap());
    }
    sleep(Duration::from_secs(5)).await;
    given.fake.seen(ApiKey::Produce).len().to_string()
}

async fn size_limit(given: Given) -> String {
    let producer = given.producer().await;
    match producer.send(Record::to("t").value(&[b'x'; 3_000])).await {
        Ok(_) => "taken".to_owned(),
        Err(ClientError::RecordTooLarge { setting, limit, .. }) => format!("{setting} of {limit}"),
        Err(other) => panic!("{other}"),
    }
}

async fn idle_topic(given: Given) -> String {
    let producer = given.producer().await;
    producer.send(Record::to("t").value("v")).await.unwrap().await.unwrap();
    sleep(Duration::from_secs(100)).await;
    let last: MetadataRequest = given.fake.seen(ApiKey::Metadata).last().unwrap().read();
    let is_named = last.topics.unwrap().iter().any(|topic| topic.name.as_deref() == Some("t"));
    if is_named { "is asked about" } else { "is forgotten" }.to_owned()
}

/// The share of a partition whose leader answers nothing, in records that go anywhere.
async fn slow_leader(given: Given) -> String {
    given.fake.on_request(|seen| match (seen.api, seen.node) {
        (ApiKey::Produce, 2) => Fate::Unanswered,
        _ => Fate::Answered,
    });
    let producer = given.producer().await;
    const RECORDS: usize = 3_000;
    let mut deliveries = Vec::new();
    for _ in 0..RECORDS {
        deliveries.push(producer.send(Record::to("t").value(&[b'x'; 500])).await.unwrap());
        sleep(Duration::from_millis(1)).await;
    }
    sleep(Duration::from_secs(60)).await;
    // Partition 1 is the one that node 2 leads: what isn't answered is there.
    let waiting = deliveries.iter().filter(|delivery| delivery.peek().is_none()).count();
    if waiting < RECORDS / 6 { "gets less" } else { "gets as much as the others" }.to_owned()
}

async fn places(given: Given) -> String {
    let producer = given.producer().await;
    for _ in 0..100 {
        let record = Record::to("t").key("the same").value(&[b'x'; 90]);
        producer.send(record).await.unwrap().await.unwrap();
    }
    let mut places: Vec<i32> = all_written(&given).into_iter().map(|(partition, _)| partition).collect();
    places.sort_unstable();
    places.dedup();
    if places.len() == 1 { "in one partition".to_owned() } else { format!("in {} partitions", places.len()) }
}

fn refuses(given: &Given) {
    given.fake.on_request(|seen| match seen.api {
        ApiKey::Produce => Fate::Refused(ErrorCode::NotEnoughReplicas),
        _ => Fate::Answered,
    });
}

async fn attempts(given: Given) -> String {
    refuses(&given);
    let producer = given.producer().await;
    drop(producer.send(Record::to("t").partition(0).value("v")).await.unwrap());
    sleep(Duration::from_secs(60)).await;
    let count = given.fake.seen(ApiKey::Produce).len();
    if count > 10 { "more than 10".to_owned() } else { count.to_string() }
}

async fn retries(given: Given, place: usize) -> String {
    refuses(&given);
    let producer = given.producer().await;
    drop(producer.send(Record::to("t").partition(0).value("v")).await.unwrap());
    let seen = given.fake.until_seen(ApiKey::Produce, place + 1).await;
    about(seen[place].at_ms - seen[place - 1].at_ms, &[100, 200, 400, 1_000])
}

async fn transactional_id(given: Given) -> String {
    match TransactionalProducer::start(given.producer_settings()).await {
        Ok(_) => format!("{:?}", given.fake.first::<InitProducerIdRequest>().await.transactional_id),
        Err(_) => "refused".to_owned(),
    }
}

async fn transaction_timeout(given: Given) -> String {
    TransactionalProducer::start(given.producer_settings()).await.unwrap();
    given.fake.first::<InitProducerIdRequest>().await.transaction_timeout_ms.to_string()
}

async fn tells(given: Given) -> String {
    given.takes_metrics();
    let _kept = given.producer().await;
    asks_what_is_wanted(&given).await
}
