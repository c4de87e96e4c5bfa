use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use ottla_config::Config;
use ottla_log::disk::{Disk, SimDisk};
use ottla_log::log_manager::{CreateLog, LogManager};
use ottla_log::{LogConfig, OpenError, UnifiedLog};
use ottla_metadata::image::{PartitionRegistration, TopicImage};
use ottla_metadata::loader::Publication;
use ottla_metadata::{Changes, Feature, MetadataImage};
use ottla_raft::{
    Endpoints, EpochResponse, LeaderInfo, RaftError, Request as QuorumRequest, Response, VoterChangeResponse,
};
use ottla_record::{BatchBuilder, BatchOptions, NewRecord};
use ottla_replica::Assignment;
use ottla_types::{
    CONSUMER_OFFSETS_TOPIC, LeaderEpoch, MonoMs, NodeId, Now, SHARE_GROUP_STATE_TOPIC,
    TRANSACTION_STATE_TOPIC, Timestamp, TopicIdPartition, TopicPartition, Uuid,
};
use ottla_wire::records::register_broker_record::EndPoint;
use ottla_wire::records::{
    FeatureLevelRecord, MetadataRecord, PartitionRecord, RegisterBrokerRecord, TopicRecord,
};
use ottla_wire::{FRAME_LENGTH_BYTES, Request, decode_response, encode_request};
use parking_lot::Mutex;

use crate::assembly::Channels;
use crate::controller_channel::{ControllerChannel, NO_CONTROLLER_IN_TIME, QuorumView};
use crate::exchange::{Connection, Handler, Held, Part, Reply, ReplySink, ReplySlot, ResponseFrame};
use crate::ids::Ids;
use crate::node::{Hooks, Identity, Node, NodeHandler};
use crate::peers::Peers;
use crate::quorum_channel::{QuorumChannel, QuorumEvent};
use crate::{assembly, node_settings};

pub(super) const LOCAL: i32 = 1;
/// A broker that is alive elsewhere.
pub(super) const OTHER: i32 = 2;
pub(super) const TOPIC_ID: Uuid = Uuid([7; 16]);
pub(super) const ELSEWHERE_ID: Uuid = Uuid([8; 16]);
pub(super) const UNKNOWN_ID: Uuid = Uuid([9; 16]);
pub(super) const OFFSETS_ID: Uuid = Uuid([10; 16]);
const TRANSACTIONS_ID: Uuid = Uuid([11; 16]);
pub(super) const SHARE_STATES_ID: Uuid = Uuid([12; 16]);

pub(super) fn at(ms: u64) -> Now {
    Now { wall: Timestamp(1_700_000_000_000 + ms as i64), mono: MonoMs(ms) }
}

/// A node that leads topic `t` with two partitions and `__consumer_offsets` with one. Topic `elsewhere` has its one
/// partition on another broker.
pub(super) struct Harness {
    pub node: Arc<Node>,
    connection: Arc<Connection>,
    client_id: String,
    answers: Arc<Answers>,
    next_sequence: std::cell::Cell<u64>,
    /// The earliest time that the node has asked to be ticked at since it was last looked at.
    woken_at: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Answers(Mutex<BTreeMap<u64, Reply>>);

impl ReplySink for Answers {
    fn reply(&self, sequence: u64, reply: Reply) {
        assert!(self.0.lock().insert(sequence, reply).is_none(), "request {sequence} was answered twice");
    }
}

/// A request that was sent, and the version that its answer has.
pub(super) struct Sent<R> {
    sequence: u64,
    version: i16,
    request: std::marker::PhantomData<R>,
}

impl Harness {
    pub fn new() -> Harness {
        Harness::with_settings(&[])
    }

    pub fn with_settings(settings: &[(&str, &str)]) -> Harness {
        let harness = Harness::without_metadata(settings);
        harness.publish_image();
        harness
    }

    /// The node learns of its topics and of the other broker.
    pub fn publish_image(&self) {
        self.node.metadata.publish(Arc::new(image()));
        self.take_up_image();
    }

    /// Of a node that knows of no topics and brokers yet.
    pub fn without_metadata(settings: &[(&str, &str)]) -> Harness {
        Harness::with_hooks(settings, Hooks::default())
    }

    /// Of a node with a way to others.
    pub fn with_peers(peers: Arc<dyn Peers>) -> Harness {
        let harness = Harness::with_hooks(&[], Hooks { peers, ..Hooks::default() });
        harness.node.metadata.publish(Arc::new(image()));
        harness
    }

    /// Of a node whose transactions' topic has one partition, which `leader` leads; `hooks` has the way to other brokers.
    pub fn with_transactions(settings: &[(&str, &str)], leader: i32, hooks: Hooks) -> Harness {
        let harness = Harness::with_hooks(settings, hooks);
        harness.node.metadata.publish(Arc::new(image()));
        harness.replay(&[
            topic(TRANSACTION_STATE_TOPIC, TRANSACTIONS_ID),
            partition(TRANSACTIONS_ID, 0, leader),
        ]);
        harness.take_up_image();
        let node = &harness.node;
        assert!(!node.producer_ids.take_block(Ok(1000..2000)), "nobody waits for an id");
        node.transactions.start(1);
        node.transactions.set_transaction_version(2);
        if leader == LOCAL {
            let replica = node.replicas.partition(TRANSACTION_STATE_TOPIC, 0).expect("it is here");
            replica.set_listener(Some(Arc::clone(&node.transactions_listener) as _));
            node.transactions.on_partition_leader(0, LeaderEpoch(3));
            while node.load_next_shard(|| at(0)) {}
        }
        harness
    }

    /// Of a node whose topic of share groups' states has one partition, which `leader` leads.
    pub fn with_share_states(settings: &[(&str, &str)], leader: i32, hooks: Hooks) -> Harness {
        let harness = Harness::with_hooks(settings, hooks);
        harness.node.metadata.publish(Arc::new(image()));
        harness.replay(&[
            topic(SHARE_GROUP_STATE_TOPIC, SHARE_STATES_ID),
            partition(SHARE_STATES_ID, 0, leader),
        ]);
        let share = &harness.node.share;
        share.coordinator.start(1, at(0));
        if leader == LOCAL {
            harness.take_up_image();
            let replica = harness.node.replicas.partition(SHARE_GROUP_STATE_TOPIC, 0).expect("it is here");
            replica.set_listener(Some(Arc::clone(&share.listener) as _));
            share.coordinator.on_partition_leader(0, LeaderEpoch(3));
            while harness.node.load_next_shard(|| at(0)) {}
        }
        harness
    }

    pub fn with_hooks(settings: &[(&str, &str)], mut hooks: Hooks) -> Harness {
        let woken_at = Arc::new(AtomicU64::new(u64::MAX));
        let of_hook = Arc::clone(&woken_at);
        hooks.wake_at = Arc::new(move |due| {
            of_hook.fetch_min(due.0, Ordering::Relaxed);
        });
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
        let defaults = [("group.initial.rebalance.delay.ms", "0"), ("log.dirs", "/data")];
        let settings = defaults.iter().chain(settings).copied();
        let config = Arc::new(Config::of_pairs(settings).expect("the settings are valid"));
        let log_manager = node_settings::log_manager(&config);
        let node = assembly::node(
            Identity { node_id: NodeId(LOCAL), cluster_id: "cluster".to_owned() },
            config,
            Arc::new(LogManager::new(log_manager, disk, at(0))),
            Vec::new(),
            Channels {
                controller: Arc::new(ControllerChannel::new(Arc::new(|| {}))),
                quorum: Arc::new(QuorumChannel::new(Arc::new(|| {}))),
            },
            Arc::new(Ids::from_seed([1; 32])),
            hooks,
            at(0),
        );
        let harness = Harness {
            node,
            connection: connection(),
            client_id: "client".to_owned(),
            answers: Arc::default(),
            next_sequence: 0.into(),
            woken_at,
        };
        harness.node.share.link.set(&harness.node);
        harness
    }

    /// Opens a log for each partition that the image places here.
    fn take_up_image(&self) {
        self.node.groups.start(1);
        let image = Arc::clone(&self.node.metadata.image());
        self.node.groups.on_new_image(&MetadataImage::default(), &image, &Changes::default(), at(0));
        for topic in image.topics.iter() {
            for (partition, registration) in &topic.partitions {
                if !registration.replicas.contains(&NodeId(LOCAL)) {
                    continue;
                }
                let assignment = assignment(topic, *partition, registration);
                let open = || open(&self.node.logs, topic, *partition);
                let replica = self.node.replicas.assign(assignment, open, at(0)).expect("the log opens");
                if *topic.name == *CONSUMER_OFFSETS_TOPIC {
                    replica.set_listener(Some(Arc::clone(&self.node.offsets_listener) as _));
                    self.node.groups.on_partition_leader(*partition, registration.leader_epoch);
                }
            }
        }
        while let Some(mut load) = self.node.groups.next_load() {
            while !matches!(load.step(at(0)), ottla_coordinator::runtime::LoadProgress::Done) {}
        }
    }

    /// From now on another replica of a topic's first partition belongs to those in sync, and never asks for anything.
    pub fn widen_isr(&self, topic_id: Uuid, topic: &str) {
        let assignment = Assignment {
            partition: TopicIdPartition { topic_id, topic_partition: TopicPartition::new(topic, 0) },
            leader: NodeId(LOCAL),
            leader_epoch: LeaderEpoch(3),
            partition_epoch: 9,
            replicas: vec![NodeId(LOCAL), NodeId(OTHER)],
            isr: vec![NodeId(LOCAL), NodeId(OTHER)],
            min_insync_replicas: 1,
        };
        let open = || -> Result<_, OpenError> { unreachable!("the log is open") };
        self.node.replicas.assign(assignment, open, at(0)).expect("it is led here");
    }

    /// As a replica that does not lead answers what asks for other voters.
    pub fn refuse_quorum_requests(&self) {
        let refused = || VoterChangeResponse { error: Some(RaftError::NotLeaderOrFollower), message: None };
        let leader = LeaderInfo { leader_id: None, epoch: LeaderEpoch(0), endpoints: Endpoints::new() };
        for event in self.node.quorum.take() {
            let QuorumEvent::Request(request, reply) = event else { continue };
            match request {
                QuorumRequest::AddRaftVoter(_) => reply(Response::AddRaftVoter(refused())),
                QuorumRequest::RemoveRaftVoter(_) => reply(Response::RemoveRaftVoter(refused())),
                QuorumRequest::UpdateRaftVoter(_) => reply(Response::UpdateRaftVoter(EpochResponse {
                    error: Some(RaftError::NotLeaderOrFollower),
                    leader: leader.clone(),
                })),
                other => panic!("{other:?} has nothing in it"),
            }
        }
    }

    /// Answers what the node has asked of the controller: that there was none in time.
    pub fn refuse_controller_requests(&self) {
        // Who does not learn enough asks the controller.
        for question in self.node.controller.take_questions() {
            question(QuorumView::UNKNOWN);
        }
        for job in self.node.controller.take_all() {
            job.refuse(NO_CONTROLLER_IN_TIME);
        }
    }

    /// How many requests to the controller wait.
    pub fn controller_requests(&self) -> usize {
        self.node.controller.take(MonoMs(0)).len()
    }

    /// Asks as a client of another id.
    pub fn with_client_id(mut self, client_id: &str) -> Harness {
        self.client_id = client_id.to_owned();
        self
    }

    /// Publishes the image after `records`; replicas stay as they are.
    pub fn replay(&self, records: &[MetadataRecord]) {
        let mut image = MetadataImage::clone(&self.node.metadata.image());
        for record in records {
            image.replay(record, &mut Changes::default()).expect("the record fits the image");
        }
        self.node.metadata.publish(Arc::new(image));
    }

    /// As [`Harness::replay`], and coordinators follow.
    pub fn publish(&self, records: &[MetadataRecord]) {
        let previous = Arc::clone(&self.node.metadata.image());
        let (mut image, mut changes) = (MetadataImage::clone(&previous), Changes::default());
        for record in records {
            image.replay(record, &mut changes).expect("the record fits the image");
        }
        let image = Arc::new(image);
        self.node.metadata.publish(Arc::clone(&image));
        self.node.published(&Publication { previous, image, changes }, at(0));
    }

    pub fn send<R: Request>(&self, version: i16, request: &R, now: Now) -> Sent<R> {
        let frame =
            encode_request(1, Some(&self.client_id), request, version).expect("the version can carry it");
        self.send_frame(frame.bytes.slice(FRAME_LENGTH_BYTES..), version, now)
    }

    /// Everything comes to the listener of controllers from now on.
    pub fn of_controllers(mut self) -> Harness {
        self.connection = Arc::new(Connection {
            id: 2,
            listener: "CONTROLLER".into(),
            is_controller_listener: true,
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            host: "/127.0.0.1".into(),
            software: Mutex::default(),
            held: Held::default(),
        });
        self
    }

    pub fn send_frame<R>(&self, frame: Bytes, version: i16, now: Now) -> Sent<R> {
        let sequence = self.next_sequence.replace(self.next_sequence.get() + 1);
        let slot = ReplySlot::new(Arc::clone(&self.answers) as _, sequence);
        let due_before = self.node.next_deadline();
        self.woken_at.store(u64::MAX, Ordering::Relaxed);
        NodeHandler(Arc::clone(&self.node)).handle(&self.connection, frame, now, slot);
        let (due, woken_at) = (self.node.next_deadline(), MonoMs(self.woken_at.load(Ordering::Relaxed)));
        assert!(due >= due_before || woken_at <= due, "nobody is told that something is due at {due:?}");
        Sent { sequence, version, request: std::marker::PhantomData }
    }

    /// What became of a request, if anything has.
    pub fn reply<R>(&self, sent: &Sent<R>) -> Option<Reply> {
        self.answers.0.lock().remove(&sent.sequence)
    }

    /// The response to a request, with records in memory; none while it is not there.
    pub fn response<R: Request>(&self, sent: &Sent<R>) -> Option<R::Response> {
        match self.reply(sent)? {
            Reply::Send(frame) => {
                let (_, response) = decode_response(bytes(&frame).slice(FRAME_LENGTH_BYTES..), sent.version)
                    .expect("the response is what its version says");
                Some(response)
            }
            other => panic!("{} of version {} was not answered but {other:?}", R::NAME, sent.version),
        }
    }

    /// The connection breaks.
    pub fn close_connection(&self) {
        NodeHandler(Arc::clone(&self.node)).closed(&self.connection);
    }

    /// Sends a request that is answered at once.
    pub fn call<R: Request>(&self, version: i16, request: &R, now: Now) -> R::Response {
        let sent = self.send(version, request, now);
        self.response(&sent).expect("the answer does not wait")
    }
}

fn bytes(frame: &ResponseFrame) -> Bytes {
    let mut all = BytesMut::new();
    for part in &frame.parts {
        match part {
            Part::Bytes(bytes) => all.extend_from_slice(bytes),
            Part::File(part) => {
                let mut read = vec![0; part.len as usize];
                assert_eq!(
                    part.file.read_at(&mut read, part.position).expect("the file is there"),
                    read.len()
                );
                all.extend_from_slice(&read);
            }
        }
    }
    let all = all.freeze();
    let length = all.first_chunk().copied().map(i32::from_be_bytes);
    assert_eq!(length, i32::try_from(all.len() - FRAME_LENGTH_BYTES).ok());
    all
}

fn connection() -> Arc<Connection> {
    Arc::new(Connection {
        id: 1,
        listener: "PLAINTEXT".into(),
        is_controller_listener: false,
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        host: "/127.0.0.1".into(),
        software: Mutex::default(),
        held: Held::default(),
    })
}

fn image() -> MetadataImage {
    let mut image = MetadataImage::default();
    let records = [
        feature(Feature::GroupVersion),
        broker(LOCAL),
        broker(OTHER),
        topic("t", TOPIC_ID),
        partition(TOPIC_ID, 0, LOCAL),
        partition(TOPIC_ID, 1, LOCAL),
        topic("elsewhere", ELSEWHERE_ID),
        partition(ELSEWHERE_ID, 0, OTHER),
        topic(CONSUMER_OFFSETS_TOPIC, OFFSETS_ID),
        partition(OFFSETS_ID, 0, LOCAL),
    ];
    for record in records {
        image.replay(&record, &mut Changes::default()).expect("the records fit each other");
    }
    image
}

/// A feature at its first level: consumer groups, share groups.
pub(super) fn feature(feature: Feature) -> MetadataRecord {
    let name = feature.name().to_owned();
    MetadataRecord::FeatureLevel(FeatureLevelRecord {
        name,
        feature_level: 1,
        ..FeatureLevelRecord::default()
    })
}

fn broker(broker_id: i32) -> MetadataRecord {
    broker_as(broker_id, Uuid::ZERO)
}

/// As the process of this incarnation.
pub(super) fn broker_as(broker_id: i32, incarnation_id: Uuid) -> MetadataRecord {
    let end_point = EndPoint {
        name: "PLAINTEXT".to_owned(),
        host: format!("host{broker_id}"),
        port: 9092,
        ..EndPoint::default()
    };
    MetadataRecord::RegisterBroker(RegisterBrokerRecord {
        broker_id,
        incarnation_id,
        broker_epoch: 1,
        fenced: false,
        end_points: vec![end_point],
        ..RegisterBrokerRecord::default()
    })
}

pub(super) fn topic(name: &str, topic_id: Uuid) -> MetadataRecord {
    MetadataRecord::Topic(TopicRecord { name: name.to_owned(), topic_id, ..TopicRecord::default() })
}

pub(super) fn partition(topic_id: Uuid, partition_id: i32, leader: i32) -> MetadataRecord {
    MetadataRecord::Partition(PartitionRecord {
        topic_id,
        partition_id,
        replicas: vec![leader],
        isr: vec![leader],
        leader,
        leader_epoch: 3,
        ..PartitionRecord::default()
    })
}

fn assignment(topic: &TopicImage, partition: i32, registration: &PartitionRegistration) -> Assignment {
    Assignment {
        partition: TopicIdPartition {
            topic_id: topic.id,
            topic_partition: TopicPartition { topic: Arc::clone(&topic.name), partition },
        },
        leader: registration.leader,
        leader_epoch: registration.leader_epoch,
        partition_epoch: registration.partition_epoch,
        replicas: registration.replicas.clone(),
        isr: registration.isr.clone(),
        min_insync_replicas: 1,
    }
}

fn open(logs: &LogManager, topic: &TopicImage, partition: i32) -> Result<Arc<UnifiedLog>, OpenError> {
    let create = CreateLog {
        partition: TopicPartition { topic: Arc::clone(&topic.name), partition },
        topic_id: Some(topic.id),
        config: Arc::new(LogConfig::default()),
        is_new: true,
        dir: None,
    };
    logs.get_or_create(&create, at(0))
}

/// A batch with these values, as a producer sends it.
pub(super) fn batch(values: &[&str]) -> Bytes {
    batch_with(BatchOptions::default(), values)
}

pub(super) fn batch_with(options: BatchOptions, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for value in values {
        let record =
            NewRecord { timestamp: at(0).wall, key: None, value: Some(value.as_bytes()), headers: &[] };
        builder.append(&record).expect("the record fits");
    }
    Bytes::from(builder.build().expect("the batch can be built"))
}
