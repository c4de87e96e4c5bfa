use ottla_types::Uuid;
use ottla_wire::ErrorCode;
use ottla_wire::messages::offset_fetch_request::{Group as FetchGroup, GroupTopic as FetchTopic};
use ottla_wire::messages::offset_fetch_response::{
    Group, GroupTopic as FetchedTopic, GroupTopicPartition as FetchedPartition,
};

use super::CommittedOffset;
use super::by_partition::GroupOffsets;
use crate::group::state::{GroupState, StoredGroup};

/// What the group has committed, as `state` says. With `require_stable`, partitions with offsets in an open transaction
/// answer UNSTABLE_OFFSET_COMMIT, since these may replace what is committed now (KIP-447).
pub(crate) fn fetch_offsets(
    state: &GroupState,
    request: FetchGroup,
    require_stable: bool,
) -> Result<Group, ErrorCode> {
    let group_id = request.group_id;
    let mut is_readable = true;
    match state.groups.get(group_id.as_str()) {
        Some(StoredGroup::Share(_)) => is_readable = false,
        Some(StoredGroup::Consumer(group)) => {
            group.validate_fetch(request.member_id.as_deref(), request.member_epoch)?;
        }
        // Members of such groups are known to those alone who serve them.
        Some(StoredGroup::Foreign(_)) if request.member_id.is_some() || request.member_epoch >= 0 => {
            return Err(ErrorCode::UnknownMemberId);
        }
        _ => {}
    }
    let reader = Reader { state, group_id: &group_id, is_readable, require_stable };
    let topics = match request.topics {
        Some(topics) => topics.into_iter().map(|topic| reader.topic(topic)).collect(),
        None => reader.all_topics(),
    };
    Ok(Group { group_id: group_id.clone(), topics, ..Group::default() })
}

struct Reader<'a> {
    state: &'a GroupState,
    group_id: &'a str,
    is_readable: bool,
    require_stable: bool,
}

impl Reader<'_> {
    fn topic(&self, topic: FetchTopic) -> FetchedTopic {
        let offsets = self.state.offsets.of_group(self.group_id).filter(|_| self.is_readable);
        let partitions = topic.partition_indexes.iter().map(|&index| {
            let committed = offsets.and_then(|offsets| offsets.get(&topic.name, index));
            // A topic that was deleted and created anew has nothing to do with what was committed for the old one.
            let committed = committed.filter(|committed| is_same_topic(committed.topic_id, topic.topic_id));
            self.partition(&topic.name, index, committed)
        });
        let partitions = partitions.collect();
        FetchedTopic { name: topic.name, topic_id: topic.topic_id, partitions, ..FetchedTopic::default() }
    }

    fn all_topics(&self) -> Vec<FetchedTopic> {
        let mut topics: Vec<FetchedTopic> = Vec::new();
        let offsets = self.state.offsets.of_group(self.group_id).filter(|_| self.is_readable);
        for (name, partition, committed) in offsets.into_iter().flat_map(GroupOffsets::iter) {
            let fetched = self.partition(name, partition, Some(committed));
            match topics.last_mut() {
                Some(topic) if topic.name == **name => topic.partitions.push(fetched),
                _ => topics.push(FetchedTopic {
                    name: name.to_string(),
                    partitions: vec![fetched],
                    ..FetchedTopic::default()
                }),
            }
        }
        topics
    }

    fn partition(
        &self,
        topic: &str,
        partition: i32,
        committed: Option<&CommittedOffset>,
    ) -> FetchedPartition {
        let nothing = FetchedPartition {
            partition_index: partition,
            committed_offset: -1,
            committed_leader_epoch: -1,
            metadata: Some(String::new()),
            ..FetchedPartition::default()
        };
        if self.require_stable && self.state.offsets.has_pending(self.group_id, topic, partition) {
            return FetchedPartition { error_code: ErrorCode::UnstableOffsetCommit.code(), ..nothing };
        }
        match committed {
            None => nothing,
            Some(committed) => FetchedPartition {
                committed_offset: committed.offset,
                committed_leader_epoch: committed.leader_epoch.value(),
                metadata: Some(committed.metadata.clone()),
                ..nothing
            },
        }
    }
}

/// Zero stands for "by name only".
fn is_same_topic(committed: Uuid, requested: Uuid) -> bool {
    committed.is_zero() || requested.is_zero() || committed == requested
}
