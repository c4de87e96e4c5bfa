//! What the controller and the published image cost with 100,000 partitions of three replicas over five brokers:
//! `cargo run --release -p ottla-controller --example hundred_thousand_partitions [PARTITIONS_A_TOPIC]`

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a tool that is run by hand"
)]

use std::time::Instant;

use ottla_config::Config;
use ottla_controller::{Controller, ControllerSettings};
use ottla_metadata::image::metadata_version_record;
use ottla_metadata::loader::MetadataLoader;
use ottla_metadata::{MetadataImage, MetadataVersion};
use ottla_types::{LeaderEpoch, MonoMs, NodeId, Now, Offset, Timestamp, Uuid};
use ottla_wire::messages::alter_partition_request::{self as isr, AlterPartitionRequest};
use ottla_wire::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use ottla_wire::messages::broker_registration_request::{BrokerRegistrationRequest, Feature};
use ottla_wire::messages::create_topics_request::{CreateTopicsRequest, Topic};
use ottla_wire::records::MetadataRecord;

const PARTITIONS: i32 = 100_000;
const BROKERS: i32 = 5;

struct Log {
    controller: Controller,
    loader: MetadataLoader,
    next: Offset,
    now: Now,
}

impl Log {
    fn new() -> Log {
        let controller = controller(MetadataImage::default());
        let mut log =
            Log { controller, loader: MetadataLoader::default(), next: Offset::ZERO, now: Now::default() };
        log.write(vec![metadata_version_record(MetadataVersion::LATEST)]);
        log
    }

    /// Replays on both sides; yields the published image's part of the time.
    fn write(&mut self, records: Vec<(MetadataRecord, i16)>) -> f64 {
        let records: Vec<_> = records.into_iter().map(|(record, _)| record).collect();
        for record in &records {
            self.controller.replay(record, self.next).expect("it fits");
            self.next = self.next.next();
        }
        let began = Instant::now();
        let last = self.next - 1;
        self.loader.apply(last, LeaderEpoch(1), Timestamp::NONE, &records).expect("it fits");
        let publication = self.loader.publish();
        drop(publication);
        ms(began)
    }

    fn heartbeat(&mut self, broker_id: i32, want_fence: bool) -> Vec<(MetadataRecord, i16)> {
        let broker = self.controller.image().brokers.get(&NodeId(broker_id)).expect("it is registered");
        let request = BrokerHeartbeatRequest {
            broker_id,
            broker_epoch: broker.epoch().value(),
            current_metadata_offset: self.next.value() - 1,
            want_fence,
            ..BrokerHeartbeatRequest::default()
        };
        self.controller.broker_heartbeat(&request, self.now).records
    }
}

fn ms(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1000.0
}

fn controller(image: MetadataImage) -> Controller {
    let config = Config::of_pairs([]).expect("no settings");
    let settings = ControllerSettings::from_config("a-cluster".into(), config.into());
    let mut last = 0u128;
    let ids = move || {
        last += 1;
        last << 64 | last
    };
    Controller::new(settings, image, Box::new(ids), Now { mono: MonoMs(1), ..Now::default() })
}

fn register(log: &mut Log, broker_id: i32) {
    let range = Feature {
        name: "metadata.version".into(),
        min_supported_version: 7,
        max_supported_version: 30,
        ..Feature::default()
    };
    let request = BrokerRegistrationRequest {
        broker_id,
        cluster_id: "a-cluster".into(),
        incarnation_id: Uuid([broker_id as u8; 16]),
        features: vec![range],
        log_dirs: vec![Uuid([100 + broker_id as u8; 16])],
        previous_broker_epoch: -1,
        ..BrokerRegistrationRequest::default()
    };
    let outcome = log.controller.register_broker(&request, log.now);
    log.write(outcome.records);
    let records = log.heartbeat(broker_id, false);
    log.write(records);
}

fn shrink(log: &Log, partition_index: i32) -> AlterPartitionRequest {
    let image = log.controller.image();
    let topic = image.topics.iter().next().expect("there is one");
    let p = &topic.partitions[&partition_index];
    let epoch_of = |id: NodeId| image.brokers.get(&id).expect("it is registered").epoch().value();
    let leader = isr::NewIsrWithEpoch {
        broker_id: p.leader.0,
        broker_epoch: epoch_of(p.leader),
        ..Default::default()
    };
    let partition = isr::Partition {
        partition_index,
        leader_epoch: p.leader_epoch.0,
        partition_epoch: p.partition_epoch,
        new_isr_with_epochs: vec![leader],
        ..Default::default()
    };
    AlterPartitionRequest {
        broker_id: p.leader.0,
        broker_epoch: epoch_of(p.leader),
        topics: vec![isr::Topic { topic_id: topic.id, partitions: vec![partition], ..Default::default() }],
        ..Default::default()
    }
}

fn main() {
    let partitions_a_topic: i32 = std::env::args().nth(1).and_then(|arg| arg.parse().ok()).unwrap_or(100);
    let mut log = Log::new();
    (1..=BROKERS).for_each(|broker| register(&mut log, broker));
    for topic in 0..PARTITIONS / partitions_a_topic {
        let topic = Topic {
            name: format!("topic-{topic}"),
            num_partitions: partitions_a_topic,
            replication_factor: 3,
            ..Topic::default()
        };
        let outcome =
            log.controller.create_topics(&CreateTopicsRequest { topics: vec![topic], ..Default::default() });
        log.write(outcome.records);
    }
    println!("{PARTITIONS} partitions in topics of {partitions_a_topic}, {BROKERS} brokers, 3 replicas");
    let (mut deciding, mut publishing) = (0.0, 0.0);
    let changes = partitions_a_topic.min(100);
    for partition in 0..changes {
        let request = shrink(&log, partition);
        let began = Instant::now();
        let outcome = log.controller.alter_partition(&request);
        deciding += ms(began);
        publishing += log.write(outcome.records);
    }
    let each = f64::from(changes);
    println!(
        "one change of an ISR: decided in {:.4} ms, published in {:.4} ms",
        deciding / each,
        publishing / each
    );
    let began = Instant::now();
    (0..1000).for_each(|_| drop(log.heartbeat(2, false)));
    println!("one heartbeat: {:.4} ms", ms(began) / 1000.0);
    let began = Instant::now();
    let records = log.heartbeat(1, true);
    let (count, decided) = (records.len(), ms(began));
    let bytes: usize =
        records.iter().map(|(record, version)| record.encode(*version).map_or(0, |bytes| bytes.len())).sum();
    let began = Instant::now();
    let published = log.write(records);
    println!(
        "fencing one broker: {count} records of {bytes} bytes decided in {decided:.1} ms, replayed in {:.1} ms, published \
         in {published:.1} ms",
        ms(began) - published
    );
    let began = Instant::now();
    let next = controller(log.loader.decided());
    println!("a new controller from what is loaded: {:.1} ms", ms(began));
    drop(next);
    let began = Instant::now();
    let encoded: Vec<_> = log
        .loader
        .published()
        .to_records()
        .map(|(record, version)| record.encode(version).expect("it encodes"))
        .collect();
    println!("a snapshot: {} records encoded in {:.1} ms", encoded.len(), ms(began));
    let began = Instant::now();
    let decoded = encoded.into_iter().map(|bytes| MetadataRecord::decode(bytes).expect("it decodes").0);
    let mut loader = MetadataLoader::default();
    loader.load_snapshot(log.loader.published().provenance, decoded).expect("it fits");
    println!("loading it: {:.1} ms", ms(began));
}
