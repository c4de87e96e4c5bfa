//! A member of a group of the classic protocol.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_wire::ErrorCode;
use ottla_wire::messages::sync_group_request::Assignment;
use ottla_wire::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
    join_group_request, leave_group_request,
};
use ottla_wire::records::consumer_protocol_assignment::AssignedPartition;
use ottla_wire::records::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, decode_versioned, encode_versioned,
};
use tokio::time::sleep;

use crate::Outcome;
use crate::client::{Client, check, error_of};
use crate::setup::{BETWEEN_TRIES, Topic, is_loading};

const PROTOCOL_TYPE: &str = "consumer";
const PROTOCOL: &str = "range";
const SESSION_TIMEOUT_MS: i32 = 60_000;
const EMBEDDED_VERSION: i16 = 3;

#[derive(Debug)]
pub struct Member {
    pub client: Client,
    pub group: String,
    pub member_id: String,
    pub generation: i32,
    /// Of the topic.
    pub partitions: Vec<i32>,
}

impl Member {
    pub fn new(client: Client, group: String) -> Member {
        Member { client, group, member_id: String::new(), generation: -1, partitions: Vec::new() }
    }

    /// Joins, again if the group rebalances meanwhile, until it has what the leader assigns.
    pub async fn join(&mut self, topic: &Topic) -> Outcome<()> {
        loop {
            let joined = self.join_once(topic).await?;
            if self.sync(topic, joined).await? {
                return Ok(());
            }
        }
    }

    /// False: the group rebalances, and the member has to join again.
    pub async fn heartbeat(&mut self) -> Outcome<bool> {
        let request = HeartbeatRequest {
            group_id: self.group.clone(),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            ..Default::default()
        };
        is_in_generation("Heartbeat", self.client.call(&request, 4).await?.error_code)
    }

    pub async fn leave(&mut self) -> Outcome<()> {
        let member = leave_group_request::Member { member_id: self.member_id.clone(), ..Default::default() };
        let request =
            LeaveGroupRequest { group_id: self.group.clone(), members: vec![member], ..Default::default() };
        check("LeaveGroup", self.client.call(&request, 5).await?.error_code)
    }

    async fn join_once(&mut self, topic: &Topic) -> Outcome<JoinGroupResponse> {
        let subscription =
            ConsumerProtocolSubscription { topics: vec![topic.name.clone()], ..Default::default() };
        let metadata = encode_versioned(&subscription, EMBEDDED_VERSION)?;
        let protocol =
            join_group_request::Protocol { name: PROTOCOL.to_owned(), metadata, ..Default::default() };
        let mut request = JoinGroupRequest {
            group_id: self.group.clone(),
            session_timeout_ms: SESSION_TIMEOUT_MS,
            rebalance_timeout_ms: SESSION_TIMEOUT_MS,
            protocol_type: PROTOCOL_TYPE.to_owned(),
            protocols: vec![protocol],
            ..Default::default()
        };
        loop {
            request.member_id.clone_from(&self.member_id);
            let response = self.client.call(&request, 9).await?;
            match error_of(response.error_code) {
                None => {
                    self.member_id.clone_from(&response.member_id);
                    self.generation = response.generation_id;
                    return Ok(response);
                }
                Some(ErrorCode::MemberIdRequired) => self.member_id = response.member_id,
                Some(error) if is_loading(error) => sleep(BETWEEN_TRIES).await,
                Some(error) => return Err(format!("JoinGroup: {error}").into()),
            }
        }
    }

    /// False: the group rebalances again.
    async fn sync(&mut self, topic: &Topic, joined: JoinGroupResponse) -> Outcome<bool> {
        let is_leader = joined.leader == self.member_id;
        let assignments = if is_leader { assign(topic, &joined)? } else { Vec::new() };
        let request = SyncGroupRequest {
            group_id: self.group.clone(),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            protocol_type: Some(PROTOCOL_TYPE.to_owned()),
            protocol_name: Some(PROTOCOL.to_owned()),
            assignments,
            ..Default::default()
        };
        let response = self.client.call(&request, 5).await?;
        if !is_in_generation("SyncGroup", response.error_code)? {
            return Ok(false);
        }
        let (assignment, _) = decode_versioned::<ConsumerProtocolAssignment>(response.assignment)?;
        self.partitions =
            assignment.assigned_partitions.into_iter().flat_map(|topic| topic.partitions).collect();
        Ok(true)
    }
}

fn is_in_generation(what: &str, code: i16) -> Outcome<bool> {
    match error_of(code) {
        None => Ok(true),
        Some(ErrorCode::RebalanceInProgress) => Ok(false),
        Some(error) => Err(format!("{what}: {error}").into()),
    }
}

/// A run of partitions for each member, in the order of the members.
fn assign(topic: &Topic, joined: &JoinGroupResponse) -> Outcome<Vec<Assignment>> {
    let members: BTreeMap<&str, ()> = joined.members.iter().map(|member| (&*member.member_id, ())).collect();
    let count = i32::try_from(members.len())?;
    let mut encoded = Vec::with_capacity(members.len());
    for (number, member_id) in (0..count).zip(members.keys()) {
        let part = |number: i32| (i64::from(topic.partitions) * i64::from(number) / i64::from(count)) as i32;
        let partitions = (part(number)..part(number + 1)).collect();
        let assigned = AssignedPartition { topic: topic.name.clone(), partitions };
        let assignment = ConsumerProtocolAssignment { assigned_partitions: vec![assigned], user_data: None };
        let assignment: Bytes = encode_versioned(&assignment, EMBEDDED_VERSION)?;
        encoded.push(Assignment { member_id: (*member_id).to_owned(), assignment, ..Default::default() });
    }
    Ok(encoded)
}
