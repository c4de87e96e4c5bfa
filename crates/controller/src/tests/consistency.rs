//! Whatever happens in whatever order: the metadata stay consistent, and what follows depends on nothing but them.

use std::collections::BTreeMap;

use ottla_metadata::Changes;
use ottla_testkit::cases;
use ottla_types::{NodeId, Uuid};
use ottla_wire::messages::create_partitions_request::{self as partitions, CreatePartitionsRequest};
use ottla_wire::messages::create_topics_request::CreateTopicsRequest;
use ottla_wire::messages::delete_topics_request::{self as deletion, DeleteTopicsRequest};
use ottla_wire::messages::elect_leaders_request::ElectLeadersRequest;
use ottla_wire::messages::unregister_broker_request::UnregisterBrokerRequest;
use proptest::prelude::*;

use super::topics::topic;
use super::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    Register { broker: i32, incarnation: u8, clean: bool },
    Heartbeat { broker: i32, fence: bool, leave: bool },
    Offline { broker: i32 },
    Unregister { broker: i32 },
    Create { name: usize, partitions: i32, replicas: i16 },
    Grow { name: usize, by: i32 },
    Delete { name: usize },
    Elect { unclean: bool },
    Wait { ms: u64 },
}

const NAMES: [&str; 3] = ["a", "b", "c.d"];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let broker = 1..5i32;
    let step = prop_oneof![
        3 => (broker.clone(), 0..4u8, any::<bool>())
            .prop_map(|(broker, incarnation, clean)| Step::Register { broker, incarnation, clean }),
        6 => (broker.clone(), prop::bool::weighted(0.3), prop::bool::weighted(0.2))
            .prop_map(|(broker, fence, leave)| Step::Heartbeat { broker, fence, leave }),
        1 => broker.clone().prop_map(|broker| Step::Offline { broker }),
        1 => broker.prop_map(|broker| Step::Unregister { broker }),
        3 => (0..3usize, 1..4i32, 1..4i16)
            .prop_map(|(name, partitions, replicas)| Step::Create { name, partitions, replicas }),
        1 => (0..3usize, 1..3i32).prop_map(|(name, by)| Step::Grow { name, by }),
        1 => (0..3usize).prop_map(|name| Step::Delete { name }),
        1 => any::<bool>().prop_map(|unclean| Step::Elect { unclean }),
        2 => (1..6_000u64).prop_map(|ms| Step::Wait { ms }),
    ];
    prop::collection::vec(step, 1..60)
}

/// The records that a step yields; nothing is replayed but by the caller.
fn records_of(cluster: &mut Cluster, step: Step) -> Vec<MetadataRecord> {
    let now = cluster.now;
    let epoch = |cluster: &Cluster, id: i32| {
        cluster.controller.image().brokers.get(&NodeId(id)).map_or(-1, |broker| broker.epoch().value())
    };
    let records = match step {
        Step::Register { broker, incarnation, clean } => {
            let mut request = cluster.registration(broker, incarnation);
            request.previous_broker_epoch = if clean { epoch(cluster, broker) } else { -1 };
            cluster.controller.register_broker(&request, now).records
        }
        Step::Heartbeat { broker, fence, leave } => {
            let request = BrokerHeartbeatRequest {
                broker_id: broker,
                broker_epoch: epoch(cluster, broker),
                current_metadata_offset: cluster.next_offset.value() - 1,
                want_fence: fence,
                want_shut_down: leave,
                ..BrokerHeartbeatRequest::default()
            };
            cluster.controller.broker_heartbeat(&request, now).records
        }
        Step::Offline { broker } => {
            let request = BrokerHeartbeatRequest {
                broker_id: broker,
                broker_epoch: epoch(cluster, broker),
                offline_log_dirs: vec![directory(broker)],
                ..BrokerHeartbeatRequest::default()
            };
            cluster.controller.broker_heartbeat(&request, now).records
        }
        Step::Unregister { broker } => {
            let request = UnregisterBrokerRequest { broker_id: broker, ..Default::default() };
            cluster.controller.unregister_broker(&request).records
        }
        Step::Create { name, partitions, replicas } => {
            let topics = vec![topic(NAMES[name], partitions, replicas)];
            let request = CreateTopicsRequest { topics, ..Default::default() };
            cluster.controller.create_topics(&request).records
        }
        Step::Grow { name, by } => {
            let image = cluster.controller.image();
            let has = image.topics.by_name(NAMES[name]).map_or(0, |topic| topic.partitions.len() as i32);
            let topic = partitions::Topic {
                name: NAMES[name].into(),
                count: has + by,
                assignments: None,
                ..Default::default()
            };
            let request = CreatePartitionsRequest { topics: vec![topic], ..Default::default() };
            cluster.controller.create_partitions(&request).records
        }
        Step::Delete { name } => {
            let topic = deletion::Topic { name: Some(NAMES[name].into()), ..Default::default() };
            let request = DeleteTopicsRequest { topics: vec![topic], ..Default::default() };
            cluster.controller.delete_topics(&request, 6).records
        }
        Step::Elect { unclean } => {
            let election_type = i8::from(unclean);
            let request = ElectLeadersRequest { election_type, topic_partitions: None, ..Default::default() };
            cluster.controller.elect_leaders(&request).records
        }
        Step::Wait { ms } => {
            cluster.advance(ms);
            Vec::new()
        }
    };
    records.into_iter().map(|(record, _)| record).collect()
}

type Epochs = BTreeMap<(Uuid, i32), (i32, i32)>;

fn assert_consistent(image: &MetadataImage, has_elr: bool, epochs: &mut Epochs) {
    for topic in image.topics.iter() {
        for (id, partition) in &topic.partitions {
            let place = format!("{}-{id}: {partition:?}", topic.name);
            assert!(partition.isr.iter().all(|id| partition.replicas.contains(id)), "ISR outside {place}");
            assert!(partition.elr.iter().all(|id| !partition.isr.contains(id)), "ELR in ISR {place}");
            assert!(!partition.isr.is_empty() || has_elr, "empty ISR {place}");
            assert_eq!(partition.directories.len(), partition.replicas.len(), "{place}");
            if partition.leader != NodeId::NONE {
                assert!(partition.isr.contains(&partition.leader), "leader out of sync {place}");
                let leader = image.brokers.get(&partition.leader);
                assert!(
                    leader.is_some_and(|leader| leader.is_active()),
                    "led by a broker that is not active {place}"
                );
            }
            let now = (partition.leader_epoch.0, partition.partition_epoch);
            let before = epochs.insert((topic.id, *id), now).unwrap_or(now);
            assert!(before.0 <= now.0 && before.1 <= now.1, "epochs went back {place}");
        }
    }
}

/// The image again, from what a snapshot would hold.
pub(super) fn rebuilt(image: &MetadataImage) -> MetadataImage {
    let mut new = MetadataImage { provenance: image.provenance, ..MetadataImage::default() };
    for (record, version) in image.to_records() {
        let bytes = record.encode(version).expect("it encodes");
        let record = MetadataRecord::decode(bytes).expect("it decodes").0;
        new.replay(&record, &mut Changes::default()).expect("it fits");
    }
    new
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn metadata_stay_consistent(steps in steps(), has_elr in any::<bool>(), min_insync in 1..3i32) {
        let min_insync = min_insync.to_string();
        let settings = [("min.insync.replicas", min_insync.as_str())];
        let mut cluster = Cluster::with_brokers(&settings, &[1, 2, 3]);
        if has_elr {
            cluster.enable_elr();
        }
        let mut epochs = Epochs::new();
        for step in steps {
            let records = records_of(&mut cluster, step);
            cluster.append(&records);
            assert_consistent(cluster.controller.image(), has_elr, &mut epochs);
        }
    }

    #[test]
    fn a_controller_that_takes_over_decides_the_same(steps in steps(), later in steps(), has_elr in any::<bool>()) {
        let mut cluster = Cluster::with_brokers(&[], &[1, 2, 3]);
        if has_elr {
            cluster.enable_elr();
        }
        for step in steps {
            let records = records_of(&mut cluster, step);
            cluster.append(&records);
        }
        // Both as new controllers, so that soft state is the same.
        let image = cluster.controller.image().clone();
        let mut second = Cluster::from_image(&[], rebuilt(&image), cluster.next_offset);
        let mut first = Cluster::from_image(&[], image, cluster.next_offset);
        for step in later {
            let records = records_of(&mut first, step);
            prop_assert_eq!(&records, &records_of(&mut second, step));
            first.append(&records);
            second.append(&records);
        }
        prop_assert_eq!(first.controller.image(), second.controller.image());
    }
}
