//! Who takes part in a run: producers and consumers of one partition each, and clients that need the whole cluster, which
//! write transactions and are members of groups.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_metadata::MetadataVersion;
use ottla_record::Codec;
use ottla_types::TopicPartition;

use super::actors::{Actor, OfCluster, OfNode, OfPartition};
use super::shape::Shape;
use crate::cast::{CLASSIC_GROUP, CONSUMER_GROUP, SHARE_GROUP, TRANSACTIONAL_IDS, group_of, transactional};
use crate::clients::{
    Client, Consumer, ConsumerMember, DirMover, EndAsker, Machines, Member, Mover, OffsetReader, Operator,
    Producer, ProducerSettings, ShareMember, UncleanElector, VoterChanger,
};
use crate::rng::Rng;

/// Topics with one partition each, which producers without transactions write to.
pub(super) const PLAIN: [&str; 2] = ["a", "b"];
/// Topics with their partitions, which transactions are written to.
pub(super) const TRANSACTIONAL: [(&str, i32); 2] = [("t0", 3), ("t1", 1)];
/// A topic with one partition, for which somebody would rather have a leader that lacks records than none.
pub(super) const UNCLEAN: &str = "u";
const NUMBER_OF_UNCLEAN: u32 = 2;
/// Where consumers say that they are: nowhere, or with one of the nodes.
const RACKS: [&str; 4] = ["", "r1", "r2", "r3"];
const LATENCY_MS: u64 = 12;
/// Acknowledgements that are asked for.
const ALL: i16 = -1;
/// What some clusters are upgraded from.
const OLD: &str = "4.0";

/// The clients of a run.
#[derive(Debug)]
pub(super) struct Cast {
    pub actors: Vec<Box<dyn Actor>>,
    /// Producers whose records fewer than all in-sync replicas have when they are acknowledged.
    pub fewer_acks: BTreeSet<u32>,
    pub share_reads_committed: bool,
    has_share_group: bool,
    gives_up: bool,
    /// The levels of features that the cluster begins with.
    pub begins_at: MetadataVersion,
}

/// `may_be_old`: features may be lower than they are by default, to begin with or later. `gives_up`: producers may.
pub(super) fn draw(may_be_old: bool, gives_up: bool, rng: &mut Rng) -> Cast {
    let mut cast = Cast {
        actors: Vec::new(),
        fewer_acks: BTreeSet::new(),
        share_reads_committed: rng.one_in(2),
        has_share_group: false,
        gives_up,
        begins_at: MetadataVersion::LATEST,
    };
    for (number, topic) in (0..).zip(PLAIN) {
        cast.add_plain(number, topic, rng);
    }
    cast.add_transactions(rng);
    cast.add_groups();
    if may_be_old && rng.one_in(2) {
        // From before there were share groups.
        cast.begins_at = MetadataVersion::from_name(OLD).expect("there was such a version");
    } else if !rng.one_in(4) {
        cast.add_share_group();
    }
    let operator = Operator::new(cast.begins_at, cast.has_share_group, may_be_old);
    cast.of_cluster("operator", &["t1"], operator);
    cast
}

impl Cast {
    fn of_partition(&mut self, name: String, topic: &str, client: impl Client + 'static) {
        self.actors.push(Box::new(OfPartition::new(name, topic, Box::new(client), LATENCY_MS)));
    }

    fn of_cluster(&mut self, name: &str, topics: &[&str], client: impl Client + 'static) {
        self.actors.push(Box::new(OfCluster::new(name, topics, Box::new(client), LATENCY_MS)));
    }

    /// Who asks for all in-sync replicas is idempotent.
    fn add_producer(&mut self, id: u32, topic: &str, acks: i16, rng: &mut Rng) {
        let is_idempotent = acks == ALL;
        let settings = ProducerSettings {
            id,
            acks,
            is_idempotent,
            in_flight_max: if is_idempotent { rng.between(1, 5) as usize } else { 1 },
            codec: rng.pick(&[Codec::None, Codec::None, Codec::Lz4, Codec::Zstd]),
            version: rng.pick(&[9, 11, 12, 13]),
            gives_up: is_idempotent && self.gives_up,
        };
        self.of_partition(format!("producer {id}"), topic, Producer::new(settings));
    }

    fn add_plain(&mut self, number: u32, topic: &str, rng: &mut Rng) {
        for n in 0..3 {
            let id = number * 10 + n;
            // One of each topic asks for less, and may lose records: of the first topic for its leader's word, of the other
            // for nothing.
            let is_idempotent = n < 2;
            if !is_idempotent {
                self.fewer_acks.insert(id);
            }
            let acks = if is_idempotent { ALL } else { i16::from(number == 0) };
            self.add_producer(id, topic, acks, rng);
        }
        let consumer = Consumer::new(number, rng.pick(&[11, 12, 13, 17]), (number % 2) as i8);
        let consumer = consumer.in_rack(rng.pick(&RACKS));
        self.of_partition(format!("consumer {number}"), topic, consumer);
    }

    /// Producers with transactions, and who reads what they write.
    fn add_transactions(&mut self, rng: &mut Rng) {
        let topics = TRANSACTIONAL.map(|(name, _)| name);
        for (name, producer) in transactional(rng) {
            self.of_cluster(&name, &topics, producer);
        }
        for transactional_id in TRANSACTIONAL_IDS {
            let name = format!("reader of the offsets of {transactional_id}");
            self.of_cluster(&name, &topics, OffsetReader::new(&name, &group_of(transactional_id)));
        }
        for (number, topic, isolation_level) in [(10, "t0", 1), (11, "t1", 1), (12, "t0", 0)] {
            let consumer = Consumer::new(number, rng.pick(&[12, 13, 17]), isolation_level);
            let consumer = consumer.in_rack(rng.pick(&RACKS));
            self.of_partition(format!("consumer {number}"), topic, consumer);
        }
    }

    /// Who moves partitions, replicas and voters.
    pub fn add_operators(&mut self, shape: &Shape, machines: &Arc<Machines>, takes_back: bool) {
        let may_leave = shape.members.iter().filter(|member| member.may_leave).map(|member| member.id);
        self.of_cluster("mover", &["t1"], Mover::new(Arc::clone(machines), may_leave.collect(), takes_back));
        if shape.has_voters_in_log {
            self.of_cluster("voter changer", &["t1"], VoterChanger::new(shape.controllers()));
        }
        if shape.log_dirs.len() > 1 {
            for id in shape.brokers() {
                let name = format!("mover between directories of node {id}");
                let client = Box::new(DirMover::new(&name));
                self.actors.push(Box::new(OfNode::new(name, id, client, LATENCY_MS)));
            }
        }
    }

    /// Who asks where topics end that lose nothing.
    pub fn add_end_askers(&mut self) {
        for topic in PLAIN {
            let asker = EndAsker::new(TopicPartition::new(topic, 0));
            self.of_partition(format!("end asker of {topic}"), topic, asker);
        }
    }

    /// Who would rather lose records of a topic than wait, and who writes and reads there.
    pub fn add_unclean(&mut self, rng: &mut Rng) {
        for n in 0..2 {
            let id = NUMBER_OF_UNCLEAN * 10 + n;
            self.add_producer(id, UNCLEAN, ALL, rng);
        }
        let consumer = Consumer::new(NUMBER_OF_UNCLEAN, rng.pick(&[11, 12, 13, 17]), 0);
        let consumer = consumer.in_rack(rng.pick(&RACKS));
        self.of_partition(format!("consumer {NUMBER_OF_UNCLEAN}"), UNCLEAN, consumer);
        let elector = UncleanElector::new(TopicPartition::new(UNCLEAN, 0));
        self.of_cluster("unclean elector", &[UNCLEAN], elector);
    }

    fn add_groups(&mut self) {
        let topics = TRANSACTIONAL.map(|(name, _)| name);
        for id in 0..2 {
            let name = format!("member {id}");
            self.of_cluster(&name, &topics, Member::new(CLASSIC_GROUP, &name));
        }
        for id in 0..2 {
            let name = format!("consumer-member-{id}");
            self.of_cluster(&name, &topics, ConsumerMember::new(CONSUMER_GROUP, &name));
        }
    }

    /// Its members read one partition: a session is with one leader.
    fn add_share_group(&mut self) {
        self.has_share_group = true;
        let isolation_level = if self.share_reads_committed { "read_committed" } else { "read_uncommitted" };
        for id in 0..2 {
            let name = format!("share-member-{id}");
            self.of_cluster(&name, &["t1"], ShareMember::new(SHARE_GROUP, &name, 1, isolation_level));
        }
    }
}
