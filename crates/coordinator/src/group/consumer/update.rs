//! What a heartbeat changes in its group: the member's subscription, the topics behind the subscriptions, the target.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_types::Uuid;
use ottla_wire::records::ConsumerGroupMemberMetadataValue;
use tracing::info;

use super::assignor::Assignor;
use super::draft::Draft;
use super::group::ConsumerGroup;
use super::leave::forget_unused_regexes;
use super::member::ConsumerMember;
use super::patterns::Resolved;
use super::record::ConsumerContent;
use super::refusal::Refusal;
use crate::group::modern::assignor::{GroupSpec, MemberSpec};
use crate::group::shard::{GroupShard, GroupTurn};

/// What became of a member's subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SubscriptionUpdate {
    pub(super) has_changed: bool,
    /// What the group's target was made from is no longer so.
    pub(super) needs_new_epoch: bool,
}

impl GroupShard {
    /// Writes what the member says of itself now (borrowed where it is as before), and which topics patterns were found to match for it.
    pub(super) fn update_member(
        turn: &GroupTurn<'_>,
        draft: &mut Draft,
        before: &ConsumerMember,
        metadata: Cow<'_, ConsumerGroupMemberMetadataValue>,
        resolved: &Resolved,
    ) -> Result<SubscriptionUpdate, Refusal> {
        let member_id = &before.member_id;
        let known = draft.group().member(member_id).cloned();
        let said = match metadata {
            Cow::Owned(metadata) if known.is_none() || metadata != before.metadata => Some(metadata),
            Cow::Borrowed(as_before) if known.is_none() => Some(as_before.clone()),
            Cow::Owned(_) | Cow::Borrowed(_) => None,
        };
        let member = match (known, said) {
            (Some(known), None) => known,
            (_, said) => {
                said.into_iter().for_each(|metadata| draft.write_member(member_id, metadata));
                draft.member_or_new(member_id)
            }
        };
        let has_new_regex = member.regex() != before.regex();
        if has_new_regex {
            forget_unused_regexes(draft);
            if let Some(regex) = member.regex().filter(|regex| draft.group().regexes().count(regex) == 1) {
                resolved.check(regex)?;
            }
        }
        let has_changed = has_new_regex || member.topic_names() != before.topic_names();
        let is_resolved_anew = GroupShard::write_resolved(turn, draft, resolved);
        Ok(SubscriptionUpdate { has_changed, needs_new_epoch: has_changed || is_resolved_anew })
    }

    /// Begins a new epoch if one is needed, or the topics behind the subscriptions have changed since the last.
    pub(super) fn refresh_group(&mut self, draft: &mut Draft, needs_new_epoch: bool) {
        let group = draft.group();
        let mut epoch = group.epoch;
        if !needs_new_epoch && self.freshness.is_fresh(&draft.group_id, epoch) {
            return;
        }
        let hash = self.metadata_hash(group);
        let has_partition_metadata = group.has_partition_metadata;
        if needs_new_epoch || hash != group.metadata_hash {
            epoch += 1;
            info!(group = %draft.group_id, epoch, "the consumer group begins a new epoch");
            draft.write_group(epoch, hash);
        }
        if has_partition_metadata {
            draft.write(ConsumerContent::PartitionMetadata(None));
        }
        self.freshness.note(&draft.group_id, epoch);
    }

    pub(super) fn metadata_hash(&mut self, group: &ConsumerGroup) -> i64 {
        self.topic_hashes.of_group(&self.image, group.subscribed().names())
    }

    /// Whether the group is past its target, and the last was not made just now.
    pub(super) fn may_make_target(
        &self,
        turn: &GroupTurn<'_>,
        group_id: &Arc<str>,
        group: &ConsumerGroup,
    ) -> bool {
        let is_too_soon = || {
            let interval_ms = self.consumer_settings(group_id).assignment_interval_ms;
            group.target.next_in_ms(interval_ms, turn.now.wall.value()).is_some()
        };
        group.epoch > group.target.epoch && !is_too_soon()
    }

    /// The one that most members name; the first of those that are configured if none does.
    pub(super) fn assignor_of(&self, group: &ConsumerGroup) -> Assignor {
        let supported = &self.config.consumer.assignors;
        let preferred = group.assignors().most_frequent().and_then(|name| Assignor::from_name(name));
        let preferred = preferred.filter(|assignor| supported.contains(assignor));
        preferred.or_else(|| supported.first().copied()).unwrap_or(Assignor::Uniform)
    }

    pub(super) fn group_spec(&self, group: &ConsumerGroup) -> GroupSpec {
        let topics = self.topics();
        let mut known: BTreeMap<_, Arc<BTreeSet<Uuid>>> = BTreeMap::new();
        let mut members = BTreeMap::new();
        for member in group.members() {
            let subscription = (member.topic_names(), member.regex());
            let subscribed =
                known.entry(subscription).or_insert_with(|| Arc::new(topics.ids(group.topics_of(member))));
            let spec = MemberSpec {
                instance_id: member.metadata.instance_id.clone(),
                subscribed: Arc::clone(subscribed),
                assigned: group.target.of(&member.member_id),
            };
            members.insert(Arc::clone(&member.member_id), spec);
        }
        let partitions = topics.partition_counts(group.subscribed().names().map(|name| &**name));
        GroupSpec { members, partitions }
    }
}
