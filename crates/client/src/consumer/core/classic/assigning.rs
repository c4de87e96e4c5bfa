//! The leader's part: it assigns partitions to all members.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_wire::messages::sync_group_request::Assignment as MemberAssignment;
use ottla_wire::messages::{JoinGroupResponse, SyncGroupRequest};

use super::super::assignors::{GroupMember, TopicRacks};
use super::super::membership::{Effect, GroupError, GroupRequest};
use super::super::protocol::{PROTOCOL_TYPE, Subscription};
use super::{ClassicMembership, Phase};

/// What a leader's assignment was made of.
#[derive(Debug)]
pub(super) struct Led {
    wanted: BTreeSet<Arc<str>>,
    topics: TopicRacks,
}

impl Led {
    pub fn is_outdated(&self, now: &TopicRacks) -> bool {
        self.wanted.iter().any(|topic| self.topics.get(topic) != now.get(topic))
    }
}

impl ClassicMembership {
    /// Asks for the partitions of all topics that anybody in the group reads.
    pub(super) fn lead(&mut self, answer: JoinGroupResponse) {
        match members(&answer) {
            Ok(members) => {
                let wanted = wanted(&members);
                self.phase = Phase::Assigning(Box::new(answer));
                self.effects.push(Effect::NeedTopics(wanted.into_iter().collect()));
            }
            Err(error) => self.fail(error),
        }
    }

    /// Topics of all members of the group that this member leads; beside its own ones.
    pub fn led_topics(&self) -> impl Iterator<Item = &Arc<str>> {
        self.led.iter().flat_map(|led| &led.wanted)
    }

    /// The topics that [`Effect::NeedTopics`] asked for, as far as they exist.
    pub fn assign(&mut self, topics: TopicRacks) {
        let Phase::Assigning(answer) = &mut self.phase else { return };
        let answer = std::mem::take(answer);
        let members = match members(&answer) {
            Ok(members) => members,
            Err(error) => return self.fail(error),
        };
        let chosen = answer.protocol_name.clone().unwrap_or_default();
        let Some(assignor) = self.settings.assignors.iter().find(|a| a.name() == chosen) else {
            return self.fail(GroupError::UnknownStrategy(chosen));
        };
        let wanted = wanted(&members);
        let topics: TopicRacks = topics.into_iter().filter(|(topic, _)| wanted.contains(topic)).collect();
        // A static member that comes back while nothing changed leads without assigning (KIP-814).
        let assigned =
            if answer.skip_assignment { Default::default() } else { assignor.assign(&topics, &members) };
        let encoded = assigned.into_iter().map(|(member_id, assignment)| {
            let assignment = assignment.encode()?;
            Ok(MemberAssignment { member_id, assignment, ..MemberAssignment::default() })
        });
        match encoded.collect::<Result<Vec<_>, ottla_wire::EncodeError>>() {
            Ok(assignments) => {
                self.led = Some(Led { wanted, topics });
                self.sync(answer.protocol_name, assignments);
            }
            Err(error) => self.fail(GroupError::Unreadable(error.to_string())),
        }
    }

    pub(super) fn sync(&mut self, protocol_name: Option<String>, assignments: Vec<MemberAssignment>) {
        self.chosen.clone_from(&protocol_name);
        self.phase = Phase::Syncing;
        self.send(GroupRequest::Sync(SyncGroupRequest {
            group_id: self.settings.group_id.clone(),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id: self.settings.group_instance_id.clone(),
            protocol_type: Some(PROTOCOL_TYPE.to_owned()),
            protocol_name,
            assignments,
            ..SyncGroupRequest::default()
        }));
    }
}

fn members(answer: &JoinGroupResponse) -> Result<Vec<GroupMember>, GroupError> {
    let member = |member: &ottla_wire::messages::join_group_response::Member| {
        let subscription = Subscription::decode(&member.metadata)
            .map_err(|error| GroupError::Unreadable(format!("{}: {error}", member.member_id)))?;
        Ok(GroupMember {
            member_id: member.member_id.clone(),
            group_instance_id: member.group_instance_id.clone(),
            subscription,
        })
    };
    answer.members.iter().map(member).collect()
}

fn wanted(members: &[GroupMember]) -> BTreeSet<Arc<str>> {
    members.iter().flat_map(|member| member.subscription.topics.iter().cloned()).collect()
}
