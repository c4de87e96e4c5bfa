//! Clients as small state machines: they send real requests, and believe what they are answered.
//!
//! What a client is told becomes an [`Event`]; it judges nothing itself. After a lost connection it connects anew and
//! asks again, as real clients do.

mod admin;
mod asking;
mod consumer;
mod consumer_member;
mod dir_mover;
mod end_asker;
mod janitor;
mod machines;
mod member;
mod membership;
mod mover;
mod offset_reader;
mod operator;
mod producer;
mod share_member;
mod transactional;
mod unclean_elector;
mod voter_changer;

use std::collections::BTreeMap;
use std::fmt::Debug;

use ottla_types::{MonoMs, NodeId, Now, TopicPartition, Uuid};
use ottla_wire::ErrorCode;

pub use admin::Admin;
pub use consumer::Consumer;
pub use consumer_member::ConsumerMember;
pub use dir_mover::DirMover;
pub use end_asker::EndAsker;
pub use janitor::Janitor;
pub use machines::Machines;
pub use member::Member;
pub use mover::Mover;
pub use offset_reader::OffsetReader;
pub use operator::Operator;
pub use producer::{Producer, ProducerSettings};
pub use share_member::ShareMember;
pub use transactional::{Transactional, TransactionalSettings};
pub use unclean_elector::UncleanElector;
pub use voter_changer::VoterChanger;

use crate::event::Event;
use crate::network::Link;
use crate::rng::Rng;

/// What a client may use while it is stepped.
#[derive(Debug)]
pub struct World<'a> {
    pub rng: &'a mut Rng,
    pub now: Now,
    pub events: &'a mut Vec<Event>,
    pub topics: &'a mut Topics,
    /// The node takes connections.
    pub is_up: bool,
    pub next_connection_id: &'a mut u64,
    /// What it hears in this step comes from nobody whom another has taken over from.
    pub hears_newest: bool,
}

impl World<'_> {
    /// Connects if the node is there; whether there is a connection.
    pub fn connect(&mut self, link: &mut Link) -> bool {
        if !link.is_open() && self.is_up {
            *self.next_connection_id += 1;
            link.connect(*self.next_connection_id);
        }
        link.is_open()
    }

    pub fn mono(&self) -> MonoMs {
        self.now.mono
    }

    pub fn unexpected(&mut self, client: &str, what: &str, code: i16) {
        let code = ErrorCode::from_code(code).map_or("a code that there is not", ErrorCode::name);
        self.events.push(Event::Unexpected { what: format!("{client}: {what}: {code}") });
    }
}

/// The topics that last for the whole run, once they are created.
#[derive(Debug, Default)]
pub struct Topics {
    pub lasting: BTreeMap<String, (Uuid, i32)>,
    /// As the metadata tell; clients that know none do not tell it.
    pub leader_epochs: BTreeMap<TopicPartition, i32>,
    /// A replica near to a consumer, which it reads from instead of the leader (KIP-392).
    pub nearest: Option<NodeId>,
}

impl Topics {
    /// Takes note of what metadata tell of a partition's leader. False if a newer one is known: a node that has not heard of it
    /// yet tells of an older one (KIP-320).
    pub fn is_newest_leader(&mut self, partition: TopicPartition, leader_epoch: i32) -> bool {
        let known = self.leader_epochs.entry(partition).or_insert(-1);
        let is_newest = leader_epoch >= *known;
        *known = leader_epoch.max(*known);
        is_newest
    }

    pub fn partitions(&self) -> Vec<TopicPartition> {
        let of = |(name, (_, count)): (&String, &(Uuid, i32))| {
            let name = name.clone();
            (0..*count).map(move |partition| TopicPartition::new(name.clone(), partition))
        };
        self.lasting.iter().flat_map(of).collect()
    }

    pub fn id(&self, name: &str) -> Uuid {
        self.lasting.get(name).map_or(Uuid::ZERO, |(id, _)| *id)
    }

    /// The partition that an assignment names; none of a topic that does not last.
    pub fn partition(&self, topic_id: Uuid, partition: i32) -> Option<TopicPartition> {
        let (name, _) = self.lasting.iter().find(|(_, (id, _))| *id == topic_id)?;
        Some(TopicPartition::new(name.clone(), partition))
    }
}

/// A client.
pub trait Client: Debug {
    /// Hears what has come and sends what is next.
    fn step(&mut self, link: &mut Link, world: &mut World<'_>);

    /// From now on it only ends what it has begun.
    fn finish(&mut self) {}

    /// Nobody writes any more: what is there is to be read to its end.
    fn conclude(&mut self) {}

    /// Whether nothing that it began is left.
    fn is_finished(&self, topics: &Topics) -> bool;

    /// For a run that does not come to an end: what it waits for.
    fn describe(&self) -> String {
        format!("{self:?}")
    }
}

/// Whether a client asks again after such an answer: nothing is wrong with the request.
pub(crate) fn is_retriable(code: i16) -> bool {
    use ErrorCode::*;
    ErrorCode::from_code(code).is_some_and(|code| {
        matches!(
            code,
            LeaderNotAvailable
                | NotLeaderOrFollower
                | RequestTimedOut
                | UnknownTopicOrPartition
                | UnknownTopicId
                | KafkaStorageError
                | NotEnoughReplicas
                | NotEnoughReplicasAfterAppend
                | CoordinatorNotAvailable
                | CoordinatorLoadInProgress
                | NotCoordinator
                | NotController
                | OffsetNotAvailable
                | FencedLeaderEpoch
                | UnknownLeaderEpoch
        )
    })
}
