//! A member of a group (classic protocol): joins, is given partitions, and moves their committed offsets on.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_wire::ErrorCode;
use ottla_wire::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
    SyncGroupRequest, SyncGroupResponse,
};
use ottla_wire::messages::{
    join_group_request, leave_group_request, offset_commit_request, offset_fetch_request, sync_group_request,
};

use super::asking::{Asking, FIND_VERSION, OF_GROUPS, Said, find, find_error};
use super::{Client, Topics, World, is_retriable};
use crate::event::Event;
use crate::network::{Link, decode};

const JOIN_VERSION: i16 = 9;
const SYNC_VERSION: i16 = 5;
const HEARTBEAT_VERSION: i16 = 4;
const LEAVE_VERSION: i16 = 5;
const COMMIT_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 9;
const RETRY_MS: i64 = 100;
const SESSION_TIMEOUT_MS: i32 = 6_000;
/// The group shares out this topic's partitions, which are as many as this.
const TOPIC: &str = "t0";
const PARTITIONS: i32 = 3;

#[derive(Clone, Debug)]
enum Asked {
    Find,
    Join,
    Sync { generation: i32 },
    Fetch { generation: i32, partitions: Vec<i32> },
    Heartbeat,
    Commit { generation: i32, offsets: Vec<(i32, i64)> },
    Leave,
}

/// Where it stands.
#[derive(Clone, Debug)]
enum State {
    NoCoordinator,
    Out,
    Joined {
        generation: i32,
        leads: Option<Vec<String>>,
    },
    Assigned {
        generation: i32,
        partitions: Vec<i32>,
    },
    /// With the offset of each partition that it owns.
    Working {
        generation: i32,
        offsets: BTreeMap<i32, i64>,
    },
}

/// See the module.
#[derive(Debug)]
pub struct Member {
    group: String,
    name: String,
    member_id: String,
    state: State,
    asking: Asking<Asked>,
    is_finishing: bool,
}

impl Member {
    pub fn new(group: &str, name: &str) -> Member {
        Member {
            group: group.to_owned(),
            name: name.to_owned(),
            member_id: String::new(),
            state: State::NoCoordinator,
            asking: Asking::default(),
            is_finishing: false,
        }
    }

    /// Takes an error; whether there was none.
    fn check(&mut self, what: &str, code: i16, world: &mut World<'_>) -> bool {
        match ErrorCode::from_code(code) {
            Some(ErrorCode::None) => return true,
            Some(ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration) => self.state = State::Out,
            // The group is not known where it was lost with the power.
            Some(ErrorCode::UnknownMemberId | ErrorCode::GroupIdNotFound) => {
                self.member_id.clear();
                self.state = State::Out;
            }
            _ if is_retriable(code) => {
                self.state = State::NoCoordinator;
                self.asking.wait_ms(RETRY_MS, world);
            }
            _ => world.unexpected(&self.name, what, code),
        }
        false
    }

    fn answered(&mut self, asked: Asked, body: &Bytes, world: &mut World<'_>) {
        match asked {
            Asked::Find => {
                if self.check("FindCoordinator", find_error(body), world) {
                    self.state = State::Out;
                }
            }
            Asked::Join => self.joined(decode(body, JOIN_VERSION), world),
            Asked::Sync { generation } => {
                let response: SyncGroupResponse = decode(body, SYNC_VERSION);
                if self.check("SyncGroup", response.error_code, world) {
                    let partitions = response.assignment.iter().map(|b| i32::from(*b)).collect();
                    self.state = State::Assigned { generation, partitions };
                }
            }
            Asked::Fetch { generation, partitions } => self.fetched(generation, &partitions, body, world),
            Asked::Heartbeat => {
                let response: HeartbeatResponse = decode(body, HEARTBEAT_VERSION);
                self.check("Heartbeat", response.error_code, world);
            }
            Asked::Commit { generation, offsets } => {
                let response: OffsetCommitResponse = decode(body, COMMIT_VERSION);
                for (result, (partition, offset)) in response.topics[0].partitions.iter().zip(offsets) {
                    if self.check("OffsetCommit", result.error_code, world) {
                        let group = self.group.clone();
                        world.events.push(Event::OffsetCommitted { group, generation, partition, offset });
                    }
                }
            }
            Asked::Leave => {
                let response: LeaveGroupResponse = decode(body, LEAVE_VERSION);
                self.check("LeaveGroup", response.error_code, world);
                self.member_id.clear();
                self.state = State::Out;
                let pause_ms = world.rng.between(100, 2_000) as i64;
                self.asking.wait_ms(pause_ms, world);
            }
        }
    }

    fn joined(&mut self, response: JoinGroupResponse, world: &mut World<'_>) {
        if response.error_code == ErrorCode::MemberIdRequired.code() {
            self.member_id = response.member_id;
            return;
        }
        if self.check("JoinGroup", response.error_code, world) {
            self.member_id = response.member_id;
            let leads = response.leader == self.member_id;
            let members = response.members.into_iter().map(|member| member.member_id).collect();
            self.state =
                State::Joined { generation: response.generation_id, leads: leads.then_some(members) };
        }
    }

    fn fetched(&mut self, generation: i32, partitions: &[i32], body: &Bytes, world: &mut World<'_>) {
        let response: OffsetFetchResponse = decode(body, FETCH_VERSION);
        let found = &response.groups[0];
        if !self.check("OffsetFetch", found.error_code, world) {
            return;
        }
        let mut offsets = BTreeMap::new();
        for partition in found.topics.iter().flat_map(|topic| &topic.partitions) {
            let (partition, offset) = (partition.partition_index, partition.committed_offset);
            offsets.insert(partition, offset);
            let group = self.group.clone();
            let is_newest = world.hears_newest;
            world.events.push(Event::OffsetSeen { group, generation, partition, offset, is_newest });
        }
        if offsets.len() != partitions.len() {
            let what = format!("{}: asked for offsets of {partitions:?}, got {offsets:?}", self.name);
            world.events.push(Event::Unexpected { what });
        }
        self.state = State::Working { generation, offsets };
    }

    fn next(&mut self, world: &mut World<'_>) -> Option<Asked> {
        match &mut self.state {
            State::NoCoordinator => Some(Asked::Find),
            State::Out => Some(Asked::Join),
            State::Joined { generation, .. } => Some(Asked::Sync { generation: *generation }),
            State::Assigned { generation, partitions } => {
                Some(Asked::Fetch { generation: *generation, partitions: partitions.clone() })
            }
            State::Working { generation, offsets } => {
                if world.rng.one_in(150) && !self.is_finishing {
                    return Some(Asked::Leave);
                }
                if offsets.is_empty() || world.rng.one_in(3) {
                    self.asking.wait_ms(300, world);
                    return Some(Asked::Heartbeat);
                }
                for offset in offsets.values_mut() {
                    *offset = (*offset).max(0) + world.rng.below(5) as i64;
                }
                let offsets = offsets.iter().map(|(partition, offset)| (*partition, *offset)).collect();
                Some(Asked::Commit { generation: *generation, offsets })
            }
        }
    }

    fn send(&mut self, asked: Asked, link: &mut Link, world: &mut World<'_>) {
        let now = world.now.mono;
        let (group_id, member_id) = (self.group.clone(), self.member_id.clone());
        let ticket = match &asked {
            Asked::Find => link.send(&find(OF_GROUPS, &group_id), FIND_VERSION, now, world.rng),
            Asked::Join => {
                let protocol = join_group_request::Protocol {
                    name: "shared".to_owned(),
                    metadata: Bytes::from_static(b"all"),
                    ..join_group_request::Protocol::default()
                };
                let request = JoinGroupRequest {
                    group_id,
                    member_id,
                    session_timeout_ms: SESSION_TIMEOUT_MS,
                    rebalance_timeout_ms: 3_000,
                    protocol_type: "consumer".to_owned(),
                    protocols: vec![protocol],
                    ..JoinGroupRequest::default()
                };
                link.send(&request, JOIN_VERSION, now, world.rng)
            }
            Asked::Sync { generation } => {
                let request = SyncGroupRequest {
                    group_id,
                    member_id,
                    generation_id: *generation,
                    protocol_type: Some("consumer".to_owned()),
                    protocol_name: Some("shared".to_owned()),
                    assignments: self.assignments(),
                    ..SyncGroupRequest::default()
                };
                link.send(&request, SYNC_VERSION, now, world.rng)
            }
            Asked::Fetch { partitions, .. } => {
                let topic = offset_fetch_request::GroupTopic {
                    name: TOPIC.to_owned(),
                    partition_indexes: partitions.clone(),
                    ..offset_fetch_request::GroupTopic::default()
                };
                let group = offset_fetch_request::Group {
                    group_id,
                    member_epoch: -1,
                    topics: Some(vec![topic]),
                    ..offset_fetch_request::Group::default()
                };
                let request = OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
                link.send(&request, FETCH_VERSION, now, world.rng)
            }
            Asked::Heartbeat => {
                let generation_id = self.generation();
                let request =
                    HeartbeatRequest { group_id, member_id, generation_id, ..HeartbeatRequest::default() };
                link.send(&request, HEARTBEAT_VERSION, now, world.rng)
            }
            Asked::Commit { generation, offsets } => {
                let partition = |(partition, offset): &(i32, i64)| offset_commit_request::Partition {
                    partition_index: *partition,
                    committed_offset: *offset,
                    committed_leader_epoch: -1,
                    ..offset_commit_request::Partition::default()
                };
                let topic = offset_commit_request::Topic {
                    name: TOPIC.to_owned(),
                    partitions: offsets.iter().map(partition).collect(),
                    ..offset_commit_request::Topic::default()
                };
                let request = OffsetCommitRequest {
                    group_id,
                    member_id,
                    generation_id_or_member_epoch: *generation,
                    topics: vec![topic],
                    ..OffsetCommitRequest::default()
                };
                link.send(&request, COMMIT_VERSION, now, world.rng)
            }
            Asked::Leave => {
                let member =
                    leave_group_request::Member { member_id, ..leave_group_request::Member::default() };
                let request =
                    LeaveGroupRequest { group_id, members: vec![member], ..LeaveGroupRequest::default() };
                link.send(&request, LEAVE_VERSION, now, world.rng)
            }
        };
        self.asking.ask(ticket, asked);
    }

    fn generation(&self) -> i32 {
        match &self.state {
            State::NoCoordinator | State::Out => -1,
            State::Joined { generation, .. }
            | State::Assigned { generation, .. }
            | State::Working { generation, .. } => *generation,
        }
    }

    /// The leader deals the partitions out: a byte each.
    fn assignments(&self) -> Vec<sync_group_request::Assignment> {
        let State::Joined { leads: Some(members), .. } = &self.state else { return Vec::new() };
        let count = members.len().max(1);
        let of_member = |(i, member_id): (usize, &String)| sync_group_request::Assignment {
            member_id: member_id.clone(),
            assignment: (0..PARTITIONS).filter(|p| *p as usize % count == i).map(|p| p as u8).collect(),
            ..sync_group_request::Assignment::default()
        };
        members.iter().enumerate().map(of_member).collect()
    }
}

impl Client for Member {
    fn step(&mut self, link: &mut Link, world: &mut World<'_>) {
        while let Some(said) = self.asking.hear(link, world) {
            match said {
                Said::Answer(asked, body) => self.answered(asked, &body, world),
                // What was committed without an answer is not known: it asks anew where the group stands.
                Said::Lost(asked) => {
                    let is_commit = matches!(asked, Some(Asked::Commit { .. }));
                    match &self.state {
                        State::Working { generation, offsets } if is_commit => {
                            let partitions = offsets.keys().copied().collect();
                            self.state = State::Assigned { generation: *generation, partitions };
                        }
                        _ => {}
                    }
                    self.asking.wait_ms(RETRY_MS, world);
                }
            }
        }
        if !self.asking.may_ask(world) || world.topics.lasting.is_empty() || !world.connect(link) {
            return;
        }
        if let Some(asked) = self.next(world) {
            self.send(asked, link, world);
        }
    }

    fn finish(&mut self) {
        self.is_finishing = true;
    }

    fn is_finished(&self, _: &Topics) -> bool {
        matches!(self.state, State::Working { .. })
    }
}
