//! Brokers that come, fail, move their partitions and go, under controllers that fall over in the middle of it: every
//! change keeps the promises, and who replays the log, from its start or from a snapshot, has what the controller had.

use ottla_metadata::image::directory as reserved;
use ottla_metadata::{Changes, Feature};
use ottla_testkit::cases;
use ottla_types::NodeId;
use ottla_wire::messages::alter_partition_reassignments_request as moves;
use ottla_wire::messages::alter_partition_request::{self as isr, AlterPartitionRequest};
use ottla_wire::messages::assign_replicas_to_dirs_request::{self as dirs, AssignReplicasToDirsRequest};
use ottla_wire::messages::create_topics_request::CreateTopicsRequest;
use ottla_wire::messages::elect_leaders_request::ElectLeadersRequest;
use ottla_wire::messages::incremental_alter_configs_request::{
    Config as Alteration, IncrementalAlterConfigsRequest, Resource,
};
use ottla_wire::messages::unregister_broker_request::UnregisterBrokerRequest;
use ottla_wire::messages::update_features_request::{FeatureUpdate, UpdateFeaturesRequest};
use proptest::prelude::*;

use super::consistency::rebuilt;
use super::promises::{Asked, Leaders, check_change, check_image, check_partition, note_leader};
use super::topics::topic;
use super::*;
use crate::partition_index::PartitionIndex;

const BROKERS: std::ops::Range<i32> = 1..5;
const TOPICS: [&str; 2] = ["a", "b"];

#[derive(Clone, Debug)]
enum Step {
    /// A new process, or the same again, with the directories of the mask.
    Register {
        broker: i32,
        incarnation: u8,
        clean: bool,
        directories: u8,
    },
    Heartbeat {
        broker: i32,
        fence: bool,
        leave: bool,
        offline: u8,
    },
    /// All that are unfenced, for a while in which others may run out of time.
    Wait {
        ms: u64,
        silent: i32,
    },
    Unregister {
        broker: i32,
    },
    Create {
        topic: usize,
        partitions: i32,
        replicas: i16,
    },
    Sync {
        topic: usize,
        partition: i32,
        mask: u8,
    },
    Move {
        topic: usize,
        partition: i32,
        to: Option<Vec<i32>>,
    },
    Assign {
        broker: i32,
        topic: usize,
        partition: i32,
        directory: u8,
    },
    Elect {
        unclean: bool,
    },
    Configure {
        topic: Option<usize>,
        key: &'static str,
        value: &'static str,
    },
    Eligible {
        on: bool,
    },
    /// So many records at the end of the log are lost, and another controller goes on.
    Failover {
        lost: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (topic, partition) = (0..TOPICS.len(), 0..3i32);
    let list = Just((1..5).collect::<Vec<i32>>()).prop_shuffle();
    let to = (list, 1..4usize).prop_map(|(mut list, len)| {
        list.truncate(len);
        list
    });
    let settings = prop_oneof![
        Just(("min.insync.replicas", "1")),
        Just(("min.insync.replicas", "2")),
        Just(("min.insync.replicas", "3")),
        Just(("unclean.leader.election.enable", "true")),
        Just(("unclean.leader.election.enable", "false")),
    ];
    prop_oneof![
        4 => (BROKERS, 0..4u8, any::<bool>(), 1..4u8).prop_map(|(broker, incarnation, clean, directories)| {
            Step::Register { broker, incarnation, clean, directories }
        }),
        8 => (BROKERS, prop::bool::weighted(0.3), prop::bool::weighted(0.2), prop_oneof![9 => Just(0), 1 => 1..4u8])
            .prop_map(|(broker, fence, leave, offline)| Step::Heartbeat { broker, fence, leave, offline }),
        2 => (1..12_000u64, BROKERS).prop_map(|(ms, silent)| Step::Wait { ms, silent }),
        1 => BROKERS.prop_map(|broker| Step::Unregister { broker }),
        2 => (topic.clone(), 1..4i32, 1..4i16)
            .prop_map(|(topic, partitions, replicas)| Step::Create { topic, partitions, replicas }),
        8 => (topic.clone(), partition.clone(), any::<u8>())
            .prop_map(|(topic, partition, mask)| Step::Sync { topic, partition, mask }),
        3 => (topic.clone(), partition.clone(), prop::option::weighted(0.8, to))
            .prop_map(|(topic, partition, to)| Step::Move { topic, partition, to }),
        2 => (BROKERS, topic, partition, 0..4u8)
            .prop_map(|(broker, topic, partition, directory)| Step::Assign { broker, topic, partition, directory }),
        1 => any::<bool>().prop_map(|unclean| Step::Elect { unclean }),
        1 => (prop::option::of(0..TOPICS.len()), settings)
            .prop_map(|(topic, (key, value))| Step::Configure { topic, key, value }),
        1 => prop::bool::weighted(0.8).prop_map(|on| Step::Eligible { on }),
        2 => (0..12usize).prop_map(|lost| Step::Failover { lost }),
    ]
}

fn directories(broker: i32, mask: u8) -> Vec<Uuid> {
    let all = [directory(broker), Uuid([200 + broker as u8; 16])];
    all.into_iter().enumerate().filter(|(i, _)| mask & 1 << i != 0).map(|(_, id)| id).collect()
}

/// The controller, and beside it what replaying its log record by record gives.
struct World {
    cluster: Cluster,
    shadow: MetadataImage,
    /// Batches of the log that the shadow has.
    replayed: usize,
    leaders: Leaders,
}

impl World {
    fn new() -> World {
        let cluster = Cluster::new(&[]);
        let mut world =
            World { cluster, shadow: MetadataImage::default(), replayed: 0, leaders: Leaders::new() };
        for broker in 1..4 {
            world.take(&Step::Register { broker, incarnation: 9, clean: false, directories: 3 });
            world.take(&Step::Heartbeat { broker, fence: false, leave: false, offline: 0 });
        }
        for topic in 0..TOPICS.len() {
            world.take(&Step::Create { topic, partitions: 2, replicas: 3 });
        }
        world
    }

    fn epoch(&self, broker: i32) -> i64 {
        let broker = self.cluster.controller.image().brokers.get(&NodeId(broker));
        broker.map_or(-1, |broker| broker.epoch().value())
    }

    fn take(&mut self, step: &Step) {
        let mut asked = Asked::default();
        match step {
            Step::Failover { lost } => self.fail_over(*lost),
            step => self.run(step, &mut asked),
        }
        self.check(asked);
    }

    fn run(&mut self, step: &Step, asked: &mut Asked) {
        let now = self.cluster.now;
        match step {
            Step::Register { broker, incarnation, clean, directories: mask } => {
                let mut request = self.cluster.registration(*broker, *incarnation);
                request.log_dirs = directories(*broker, *mask);
                // A process gets no directory that it did not have at its start.
                let registered = self.cluster.controller.image().brokers.get(&NodeId(*broker));
                if let Some(same) =
                    registered.filter(|same| same.record.incarnation_id == request.incarnation_id)
                {
                    let had = same.record.log_dirs.clone();
                    request.log_dirs.retain(|directory| had.contains(directory));
                    if request.log_dirs.is_empty() {
                        request.log_dirs = had;
                    }
                }
                request.rack = (broker % 2 == 0).then(|| "even".to_owned());
                request.previous_broker_epoch = if *clean { self.epoch(*broker) } else { -1 };
                let outcome = self.cluster.controller.register_broker(&request, now);
                self.cluster.commit(outcome);
            }
            Step::Heartbeat { broker, fence, leave, offline } => {
                let (epoch, end) = (self.epoch(*broker), self.cluster.next_offset.value() - 1);
                // A broker without any directory ends: nobody says that of itself.
                let has_more = |offline: &Vec<Uuid>| {
                    let registered = self.cluster.controller.image().brokers.get(&NodeId(*broker));
                    registered
                        .is_some_and(|broker| broker.record.log_dirs.iter().any(|id| !offline.contains(id)))
                };
                let offline = Some(directories(*broker, *offline)).filter(has_more).unwrap_or_default();
                let request = BrokerHeartbeatRequest {
                    broker_id: *broker,
                    broker_epoch: epoch,
                    current_metadata_offset: end,
                    want_fence: *fence,
                    want_shut_down: *leave,
                    offline_log_dirs: offline,
                    ..BrokerHeartbeatRequest::default()
                };
                let outcome = self.cluster.controller.broker_heartbeat(&request, now);
                self.cluster.commit(outcome);
            }
            Step::Wait { ms, silent } => {
                for broker in BROKERS.filter(|broker| broker != silent) {
                    let is_unfenced = self.cluster.controller.image().brokers.get(&NodeId(broker));
                    if is_unfenced.is_some_and(|broker| !broker.is_fenced()) {
                        self.run(&Step::Heartbeat { broker, fence: false, leave: false, offline: 0 }, asked);
                    }
                }
                self.cluster.advance(*ms);
            }
            Step::Unregister { broker } => {
                let request = UnregisterBrokerRequest { broker_id: *broker, ..Default::default() };
                let outcome = self.cluster.controller.unregister_broker(&request);
                self.cluster.commit(outcome);
            }
            Step::Create { topic: name, partitions, replicas } => {
                let topics = vec![topic(TOPICS[*name], *partitions, *replicas)];
                let outcome = self
                    .cluster
                    .controller
                    .create_topics(&CreateTopicsRequest { topics, ..Default::default() });
                self.cluster.commit(outcome);
            }
            Step::Sync { topic, partition, mask } => self.say_in_sync(*topic, *partition, *mask, asked),
            Step::Move { topic, partition, to } => {
                asked.moves = true;
                let partition = moves::Partition {
                    partition_index: *partition,
                    replicas: to.clone(),
                    ..Default::default()
                };
                let topic = moves::Topic {
                    name: TOPICS[*topic].into(),
                    partitions: vec![partition],
                    ..Default::default()
                };
                let request = moves::AlterPartitionReassignmentsRequest {
                    topics: vec![topic],
                    allow_replication_factor_change: true,
                    ..Default::default()
                };
                let outcome = self.cluster.controller.alter_partition_reassignments(&request);
                self.cluster.commit(outcome);
            }
            Step::Assign { broker, topic, partition, directory } => {
                self.assign(*broker, *topic, *partition, *directory);
            }
            Step::Elect { unclean } => {
                asked.unclean_election = *unclean;
                let election_type = i8::from(*unclean);
                let request =
                    ElectLeadersRequest { election_type, topic_partitions: None, ..Default::default() };
                let outcome = self.cluster.controller.elect_leaders(&request);
                self.cluster.commit(outcome);
            }
            Step::Configure { topic, key, value } => self.configure(*topic, key, value),
            Step::Eligible { on } => {
                let update = FeatureUpdate {
                    feature: "eligible.leader.replicas.version".into(),
                    max_version_level: i16::from(*on),
                    upgrade_type: if *on { 1 } else { 2 },
                    ..FeatureUpdate::default()
                };
                let request = UpdateFeaturesRequest { feature_updates: vec![update], ..Default::default() };
                let outcome = self.cluster.controller.update_features(&request, 2);
                self.cluster.commit(outcome);
            }
            Step::Failover { .. } => {}
        }
    }

    fn say_in_sync(&mut self, topic: usize, partition_index: i32, mask: u8, asked: &mut Asked) {
        let image = self.cluster.controller.image();
        let Some(topic) = image.topics.by_name(TOPICS[topic]) else { return };
        let Some(p) = topic.partitions.get(&partition_index) else { return };
        let leader = p.leader;
        let is_chosen = |(i, id): &(usize, &NodeId)| **id == leader || mask & 1 << i != 0;
        asked.in_sync = p.replicas.iter().enumerate().filter(is_chosen).map(|(_, id)| *id).collect();
        let new_isr = asked.in_sync.iter().map(|id| isr::NewIsrWithEpoch {
            broker_id: id.0,
            broker_epoch: self.epoch(id.0),
            ..Default::default()
        });
        let partition = isr::Partition {
            partition_index,
            leader_epoch: p.leader_epoch.0,
            partition_epoch: p.partition_epoch,
            new_isr_with_epochs: new_isr.collect(),
            ..Default::default()
        };
        let topic = isr::Topic { topic_id: topic.id, partitions: vec![partition], ..Default::default() };
        let request = AlterPartitionRequest {
            broker_id: leader.0,
            broker_epoch: self.epoch(leader.0),
            topics: vec![topic],
            ..Default::default()
        };
        let outcome = self.cluster.controller.alter_partition(&request);
        self.cluster.commit(outcome);
    }

    fn assign(&mut self, broker: i32, topic: usize, partition_index: i32, id: u8) {
        let id = match id {
            0 => directory(broker),
            1 => Uuid([200 + broker as u8; 16]),
            2 => reserved::LOST,
            _ => reserved::UNASSIGNED,
        };
        let Some(topic) = self.cluster.controller.image().topics.by_name(TOPICS[topic]) else { return };
        let partition = dirs::Partition { partition_index, ..Default::default() };
        let topic = dirs::Topic { topic_id: topic.id, partitions: vec![partition], ..Default::default() };
        let request = AssignReplicasToDirsRequest {
            broker_id: broker,
            broker_epoch: self.epoch(broker),
            directories: vec![dirs::Directory { id, topics: vec![topic], ..Default::default() }],
            ..Default::default()
        };
        let outcome = self.cluster.controller.assign_replicas_to_dirs(&request);
        self.cluster.commit(outcome);
    }

    fn configure(&mut self, topic: Option<usize>, key: &str, value: &str) {
        let config = Alteration { name: key.into(), value: Some(value.into()), ..Default::default() };
        let (resource_type, resource_name) = topic.map_or((4, ""), |topic| (2, TOPICS[topic]));
        let resource = Resource {
            resource_type,
            resource_name: resource_name.into(),
            configs: vec![config],
            ..Default::default()
        };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
        let outcome = self.cluster.controller.incremental_alter_configs(&request);
        self.cluster.commit(outcome);
    }

    /// What is lost was never committed. What a broker causes may be cut anywhere: it may be in several batches.
    fn fail_over(&mut self, mut lost: usize) {
        let mut log = self.cluster.log.clone();
        // The first batches are those that make the topics.
        while lost > 0 && log.len() > 16 {
            let Some(last) = log.last_mut() else { break };
            let is_of_a_broker = last.iter().all(|record| {
                matches!(
                    record,
                    MetadataRecord::PartitionChange(_)
                        | MetadataRecord::BrokerRegistrationChange(_)
                        | MetadataRecord::RegisterBroker(_)
                )
            });
            if is_of_a_broker && last.len() > lost {
                last.truncate(last.len() - lost);
                break;
            }
            lost = lost.saturating_sub(last.len());
            log.pop();
        }
        (self.shadow, self.leaders, self.replayed) = (MetadataImage::default(), Leaders::new(), log.len());
        let mut offset = Offset::ZERO;
        for record in log.iter().flatten() {
            self.shadow.replay(record, &mut Changes::default()).expect("it fits");
            self.shadow.provenance.last_offset = offset;
            offset = offset.next();
            if let MetadataRecord::Partition(_) | MetadataRecord::PartitionChange(_) = record {
                note_leaders(&mut self.leaders, &self.shadow, record);
            }
        }
        let now = self.cluster.now;
        // From a snapshot at its end, and what the snapshot does not hold.
        let image = rebuilt(&self.shadow);
        assert_eq!(image, self.shadow, "a snapshot loses something");
        self.cluster = Cluster::from_image(&[], image, offset);
        (self.cluster.log, self.cluster.now) = (log, now);
        self.cluster.advance(0);
    }

    fn check(&mut self, mut asked: Asked) {
        let batches = self.cluster.log[self.replayed..].to_vec();
        self.replayed = self.cluster.log.len();
        for record in batches.iter().flatten() {
            let key = match record {
                MetadataRecord::PartitionChange(change) => Some((change.topic_id, change.partition_id)),
                MetadataRecord::Partition(partition) => Some((partition.topic_id, partition.partition_id)),
                _ => None,
            };
            let of =
                |image: &MetadataImage, (topic, partition)| image.topics.partition(topic, partition).cloned();
            let before = key.and_then(|key| of(&self.shadow, key));
            let is_unclean_allowed = key.is_some_and(|(topic, _)| self.is_unclean_allowed(topic));
            self.shadow.replay(record, &mut Changes::default()).expect("it fits");
            if let Some(after) = key.and_then(|key| of(&self.shadow, key)) {
                if let Some(before) = before {
                    asked.has_elr = self.shadow.features.level(Feature::EligibleLeaderReplicasVersion) > 0;
                    check_change(&before, &after, is_unclean_allowed, &asked);
                }
                check_partition(&after, &format!("{key:?}"));
                note_leaders(&mut self.leaders, &self.shadow, record);
            }
        }
        let controller = &self.cluster.controller;
        self.shadow.provenance = controller.image().provenance;
        assert_eq!(self.shadow, *controller.image(), "replayed, the log says something else");
        assert_eq!(controller.index, PartitionIndex::of(controller.image()));
        check_image(controller.image());
    }

    fn is_unclean_allowed(&self, topic: Uuid) -> bool {
        let image = self.cluster.controller.image();
        image.topics.by_id(topic).is_some_and(|topic| {
            let defaults = self.cluster.controller.topic_defaults();
            defaults.rules(&self.cluster.controller, topic).is_unclean_election_enabled
        })
    }

    /// Everybody is back with all directories, and in sync wherever a leader can say so.
    fn heal(&mut self) {
        for round in 0..12 {
            for broker in BROKERS {
                let is_active = self.cluster.controller.is_active(NodeId(broker));
                let has_all = self
                    .cluster
                    .controller
                    .image()
                    .brokers
                    .get(&NodeId(broker))
                    .is_some_and(|broker| broker.record.log_dirs.len() == 2);
                if round == 0 || !is_active || !has_all {
                    self.take(&Step::Heartbeat { broker, fence: true, leave: false, offline: 0 });
                    let incarnation = 100 + round;
                    self.take(&Step::Register { broker, incarnation, clean: true, directories: 3 });
                }
                self.take(&Step::Heartbeat { broker, fence: false, leave: false, offline: 0 });
            }
            for topic in 0..TOPICS.len() {
                for partition in 0..3 {
                    for broker in BROKERS {
                        self.take(&Step::Assign { broker, topic, partition, directory: 0 });
                    }
                }
            }
            self.take(&Step::Elect { unclean: true });
            for topic in 0..TOPICS.len() {
                for partition in 0..3 {
                    self.take(&Step::Sync { topic, partition, mask: 0xff });
                }
            }
        }
        self.take(&Step::Elect { unclean: false });
    }

    fn assert_whole(&self) {
        for topic in self.cluster.controller.image().topics.iter() {
            for (id, p) in &topic.partitions {
                let what = format!("{}-{id}: {p:?}", topic.name);
                assert!(!p.is_reassigning(), "a move without end {what}");
                assert_eq!(Some(p.leader), p.preferred_leader(), "not led by its first replica {what}");
                assert!(p.replicas.iter().all(|id| p.isr.contains(id)) && p.elr.is_empty(), "{what}");
            }
        }
    }
}

fn note_leaders(leaders: &mut Leaders, image: &MetadataImage, record: &MetadataRecord) {
    let key = match record {
        MetadataRecord::PartitionChange(change) => (change.topic_id, change.partition_id),
        MetadataRecord::Partition(partition) => (partition.topic_id, partition.partition_id),
        _ => return,
    };
    if let Some(partition) = image.topics.partition(key.0, key.1) {
        note_leader(leaders, key.0, key.1, partition);
    }
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn promises_hold_whatever_happens(steps in prop::collection::vec(step(), 1..80), has_elr in any::<bool>()) {
        let mut world = World::new();
        if has_elr {
            world.take(&Step::Eligible { on: true });
            let level = world.shadow.features.level(Feature::EligibleLeaderReplicasVersion);
            prop_assert_eq!(level, 1);
        }
        for step in &steps {
            world.take(step);
        }
        world.heal();
        world.assert_whole();
    }
}
