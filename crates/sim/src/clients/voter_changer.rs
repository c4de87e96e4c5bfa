//! An operator who changes who votes in the quorum, as `kafka-metadata-quorum` does: adds controllers that are none of the
//! voters, and removes others, as long as some are left.

use bytes::Bytes;
use ottla_types::{METADATA_TOPIC, NodeId, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::add_raft_voter_request::Listener;
use ottla_wire::messages::describe_quorum_request::{Partition, Topic};
use ottla_wire::messages::{
    AddRaftVoterRequest, AddRaftVoterResponse, DescribeQuorumRequest, DescribeQuorumResponse,
    RemoveRaftVoterRequest, RemoveRaftVoterResponse,
};

use super::asking::{Asking, Said};
use super::{Client, Topics, World, is_retriable};
use crate::event::Event;
use crate::network::{Link, decode};
use crate::node::{CLUSTER, CONTROLLER_LISTENER, CONTROLLER_PORT};

const DESCRIBE_VERSION: i16 = 2;
const ADD_VERSION: i16 = 1;
const REMOVE_VERSION: i16 = 0;
const RETRY_MS: i64 = 200;
/// Between two changes at most.
const PAUSE_MS: u64 = 2_000;
const VOTERS_MIN: usize = 3;
const TIMEOUT_MS: i32 = 2_000;

/// A replica of the quorum, and its directory.
type Replica = (i32, Uuid);

#[derive(Clone, Debug)]
enum Asked {
    Describe,
    Add,
    Remove,
}

/// See the module.
#[derive(Debug)]
pub struct VoterChanger {
    /// Who may vote.
    controllers: Vec<NodeId>,
    voters: Vec<Replica>,
    observers: Vec<Replica>,
    has_looked: bool,
    asking: Asking<Asked>,
    is_finishing: bool,
}

impl VoterChanger {
    pub fn new(controllers: Vec<NodeId>) -> VoterChanger {
        VoterChanger {
            controllers,
            voters: Vec::new(),
            observers: Vec::new(),
            has_looked: false,
            asking: Asking::default(),
            is_finishing: false,
        }
    }

    fn answered(&mut self, asked: Asked, body: &Bytes, world: &mut World<'_>) {
        let (what, code) = match asked {
            Asked::Describe => return self.described(&decode(body, DESCRIBE_VERSION), world),
            Asked::Add => {
                let response: AddRaftVoterResponse = decode(body, ADD_VERSION);
                ("voters added", response.error_code)
            }
            Asked::Remove => {
                let response: RemoveRaftVoterResponse = decode(body, REMOVE_VERSION);
                ("voters removed", response.error_code)
            }
        };
        if code == 0 {
            world.events.push(Event::Counted { what, times: 1 });
            let pause_ms = world.rng.below(PAUSE_MS) as i64;
            return self.asking.wait_ms(pause_ms, world);
        }
        self.asking.wait_ms(RETRY_MS, world);
        // By itself, or by an answer that was lost.
        let is_so =
            [ErrorCode::DuplicateVoter, ErrorCode::VoterNotFound].map(ErrorCode::code).contains(&code);
        if !is_so && !is_retriable(code) {
            world.unexpected("voter changer", what, code);
        }
    }

    fn described(&mut self, response: &DescribeQuorumResponse, world: &mut World<'_>) {
        self.asking.wait_ms(RETRY_MS, world);
        if response.error_code != 0 {
            if !is_retriable(response.error_code) {
                world.unexpected("voter changer", "DescribeQuorum", response.error_code);
            }
            return;
        }
        let Some(found) = response.topics.first().and_then(|topic| topic.partitions.first()) else { return };
        if found.error_code != 0 {
            if !is_retriable(found.error_code) {
                world.unexpected("voter changer", "DescribeQuorum of the partition", found.error_code);
            }
            return;
        }
        let voters = found.current_voters.iter();
        self.voters = voters.map(|voter| (voter.replica_id, voter.replica_directory_id)).collect();
        let may_vote = |id: i32| self.controllers.contains(&NodeId(id));
        let observers = found.observers.iter().filter(|observer| may_vote(observer.replica_id));
        self.observers =
            observers.map(|observer| (observer.replica_id, observer.replica_directory_id)).collect();
        self.has_looked = true;
    }

    fn change(&mut self, link: &mut Link, world: &mut World<'_>) {
        self.has_looked = false;
        let may_remove = self.voters.len() > VOTERS_MIN;
        let adds = !self.observers.is_empty() && (!may_remove || world.rng.one_in(2));
        if adds {
            let (voter_id, voter_directory_id) = world.rng.pick(&self.observers);
            let listener = Listener {
                name: CONTROLLER_LISTENER.to_owned(),
                host: format!("n{voter_id}"),
                port: CONTROLLER_PORT,
                ..Listener::default()
            };
            let request = AddRaftVoterRequest {
                cluster_id: Some(CLUSTER.to_owned()),
                timeout_ms: TIMEOUT_MS,
                voter_id,
                voter_directory_id,
                listeners: vec![listener],
                ack_when_committed: world.rng.one_in(2),
                ..AddRaftVoterRequest::default()
            };
            let ticket = link.send(&request, ADD_VERSION, world.now.mono, world.rng);
            self.asking.ask(ticket, Asked::Add);
        } else if may_remove {
            let (voter_id, voter_directory_id) = world.rng.pick(&self.voters);
            let request = RemoveRaftVoterRequest {
                cluster_id: Some(CLUSTER.to_owned()),
                voter_id,
                voter_directory_id,
                ..RemoveRaftVoterRequest::default()
            };
            let ticket = link.send(&request, REMOVE_VERSION, world.now.mono, world.rng);
            self.asking.ask(ticket, Asked::Remove);
        }
    }
}

fn describe() -> DescribeQuorumRequest {
    let partition = Partition { partition_index: 0, ..Partition::default() };
    let topic =
        Topic { topic_name: METADATA_TOPIC.to_owned(), partitions: vec![partition], ..Topic::default() };
    DescribeQuorumRequest { topics: vec![topic], ..DescribeQuorumRequest::default() }
}

impl Client for VoterChanger {
    fn step(&mut self, link: &mut Link, world: &mut World<'_>) {
        while let Some(said) = self.asking.hear(link, world) {
            match said {
                Said::Answer(asked, body) => self.answered(asked, &body, world),
                Said::Lost(_) => self.asking.wait_ms(RETRY_MS, world),
            }
        }
        if self.is_finishing || !self.asking.may_ask(world) || !world.connect(link) {
            return;
        }
        if self.has_looked {
            return self.change(link, world);
        }
        let ticket = link.send(&describe(), DESCRIBE_VERSION, world.now.mono, world.rng);
        self.asking.ask(ticket, Asked::Describe);
    }

    fn finish(&mut self) {
        self.is_finishing = true;
    }

    fn is_finished(&self, _: &Topics) -> bool {
        self.is_finishing && !self.asking.is_under_way()
    }
}
