//! Members of groups, as their bytes go over the wire.

use std::io::Write;
use std::net::TcpStream;

use bytes::Bytes;
use ottla_testkit::Ottla;
use ottla_types::Uuid;
use ottla_wire::ErrorCode;
use ottla_wire::messages::consumer_group_heartbeat_request as heartbeat_request;
use ottla_wire::messages::join_group_request::Protocol;
use ottla_wire::messages::sync_group_request::Assignment;
use ottla_wire::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, DescribeGroupsRequest, HeartbeatRequest,
    JoinGroupRequest, JoinGroupResponse, SyncGroupRequest, SyncGroupResponse,
};

use super::{LONG_MS, TOPIC, call, code, connect, frame_of, receive, until_some};

/// A member of the classic protocol, on its own connection.
pub(super) struct Member {
    pub stream: TcpStream,
    group: String,
    timeout_ms: i32,
    pub id: String,
    generation_id: i32,
    pub is_leader: bool,
}

impl Member {
    pub fn new(ottla: &Ottla, group: &str, timeout_ms: i32) -> Member {
        let stream = connect(ottla);
        Member {
            stream,
            group: group.to_owned(),
            timeout_ms,
            id: String::new(),
            generation_id: -1,
            is_leader: false,
        }
    }

    pub fn join_request(&self, metadata: Bytes) -> JoinGroupRequest {
        JoinGroupRequest {
            group_id: self.group.clone(),
            session_timeout_ms: self.timeout_ms,
            rebalance_timeout_ms: self.timeout_ms,
            member_id: self.id.clone(),
            protocol_type: "consumer".to_owned(),
            protocols: vec![Protocol { name: "range".to_owned(), metadata, ..Protocol::default() }],
            ..JoinGroupRequest::default()
        }
    }

    /// Sends a JoinGroup, with an id that it has been given; the answer waits for the others.
    pub fn send_join(&mut self) {
        if self.id.is_empty() {
            let answer = call(&self.stream, &self.join_request(Bytes::from_static(b"m")), 9);
            assert_eq!(code(answer.error_code), ErrorCode::MemberIdRequired);
            self.id = answer.member_id;
        }
        let frame = frame_of(&self.join_request(Bytes::from_static(b"m")), 9);
        self.stream.write_all(&frame).unwrap();
    }

    pub fn joined(&mut self) -> JoinGroupResponse {
        let answer = receive::<JoinGroupRequest>(&self.stream, 9);
        self.generation_id = answer.generation_id;
        self.is_leader = answer.leader == self.id;
        answer
    }

    pub fn join(&mut self) -> ErrorCode {
        self.send_join();
        code(self.joined().error_code)
    }

    /// With assignments for these members, from a leader.
    pub fn send_sync(&mut self, members: &[&str]) {
        let assignment = |member_id: &&str| Assignment {
            member_id: (*member_id).to_owned(),
            assignment: Bytes::from_static(b"a"),
            ..Assignment::default()
        };
        let request = SyncGroupRequest {
            group_id: self.group.clone(),
            generation_id: self.generation_id,
            member_id: self.id.clone(),
            protocol_type: Some("consumer".to_owned()),
            protocol_name: Some("range".to_owned()),
            assignments: members.iter().map(assignment).collect(),
            ..SyncGroupRequest::default()
        };
        self.stream.write_all(&frame_of(&request, 5)).unwrap();
    }

    pub fn synced(&self) -> SyncGroupResponse {
        receive::<SyncGroupRequest>(&self.stream, 5)
    }

    pub fn heartbeat_request(&self) -> HeartbeatRequest {
        HeartbeatRequest {
            group_id: self.group.clone(),
            generation_id: self.generation_id,
            member_id: self.id.clone(),
            ..HeartbeatRequest::default()
        }
    }

    /// Does what the coordinator asks for until it is the only member of a stable group.
    pub fn live_until_alone(&mut self) {
        until_some(|| {
            match code(call(&self.stream, &self.heartbeat_request(), 4).error_code) {
                ErrorCode::None if self.is_alone() => return Some(()),
                ErrorCode::None => return None,
                ErrorCode::UnknownMemberId => self.id.clear(),
                ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration => {}
                refused => panic!("{refused:?}"),
            }
            if self.join() == ErrorCode::None {
                let id = self.id.clone();
                let members: &[&str] = if self.is_leader { &[&id] } else { &[] };
                self.send_sync(members);
                let synced = code(self.synced().error_code);
                assert!(matches!(synced, ErrorCode::None | ErrorCode::RebalanceInProgress), "{synced:?}");
            }
            None
        });
    }

    pub fn is_alone(&self) -> bool {
        let request = DescribeGroupsRequest { groups: vec![self.group.clone()], ..Default::default() };
        let group = call(&self.stream, &request, 5).groups.remove(0);
        let members: Vec<&str> = group.members.iter().map(|member| member.member_id.as_str()).collect();
        group.group_state == "Stable" && members == [self.id.as_str()]
    }

    /// Joins and syncs as the only member; None where its session ended meanwhile.
    pub fn settle(&mut self) -> Option<()> {
        let joined = self.join() == ErrorCode::None;
        let id = self.id.clone();
        self.send_sync(&[&id]);
        (joined && code(self.synced().error_code) == ErrorCode::None).then_some(())
    }
}

/// What a member of the consumer protocol owns, by topic.
pub(super) type Owned = Vec<(Uuid, Vec<i32>)>;

/// A heartbeat with all that such a member can say.
pub(super) fn beat(
    stream: &TcpStream,
    group: &str,
    member: &str,
    epoch: i32,
    owned: &Owned,
) -> ConsumerGroupHeartbeatResponse {
    let topic = |(topic_id, partitions): &(Uuid, Vec<i32>)| heartbeat_request::TopicPartition {
        topic_id: *topic_id,
        partitions: partitions.clone(),
        ..Default::default()
    };
    let request = ConsumerGroupHeartbeatRequest {
        group_id: group.to_owned(),
        member_id: member.to_owned(),
        member_epoch: epoch,
        rebalance_timeout_ms: LONG_MS,
        subscribed_topic_names: Some(vec![TOPIC.to_owned()]),
        topic_partitions: Some(owned.iter().map(topic).collect()),
        ..ConsumerGroupHeartbeatRequest::default()
    };
    call(stream, &request, 1)
}

pub(super) fn join_modern(stream: &TcpStream, group: &str, member: &str) -> ConsumerGroupHeartbeatResponse {
    beat(stream, group, member, 0, &Owned::new())
}

pub(super) fn assigned(answer: &ConsumerGroupHeartbeatResponse) -> Option<Owned> {
    let topics = &answer.assignment.as_ref()?.topic_partitions;
    Some(topics.iter().map(|topic| (topic.topic_id, topic.partitions.clone())).collect())
}

/// Does what the coordinator asks for until it owns both partitions.
pub(super) fn live_until_it_owns_all(stream: &TcpStream, group: &str, member: &str) {
    let (mut epoch, mut owned) = (0, Owned::new());
    until_some(|| {
        let answer = beat(stream, group, member, epoch, &owned);
        match code(answer.error_code) {
            ErrorCode::None => {
                epoch = answer.member_epoch;
                owned = assigned(&answer).unwrap_or(std::mem::take(&mut owned));
            }
            ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch => (epoch, owned) = (0, Owned::new()),
            refused => panic!("{refused:?}"),
        }
        (owned.iter().map(|(_, partitions)| partitions.len()).sum::<usize>() == 2).then_some(())
    });
}
