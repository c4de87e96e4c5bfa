//! What a heartbeat changes in its group: the member's subscription, the topics behind the subscriptions, the target.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_types::Uuid;
use ottla_wire::ErrorCode;
use ottla_wire::records::{ConsumerGroupMemberMetadataValue, ConsumerGroupRegularExpressionValue};
use tracing::{info, warn};

use super::assignor::Assignor;
use super::draft::Draft;
use super::group::ConsumerGroup;
use super::leave::forget_unused_regexes;
use super::member::ConsumerMember;
use super::record::ConsumerContent;
use super::refusal::Refusal;
use crate::group::modern::assignor::{GroupSpec, MemberSpec};
use crate::group::shard::{GroupShard, GroupTurn};
use crate::pattern::NamePattern;

/// How long patterns that are resolved stay as they are, at the least, whatever topics come and go: in milliseconds. So
/// that many new topics make one rebalance.
const REGEX_REFRESH_MIN_INTERVAL_MS: i64 = 10_000;

/// What became of a member's subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SubscriptionUpdate {
    pub(super) has_changed: bool,
    /// What the group's target was made from is no longer so.
    pub(super) needs_new_epoch: bool,
}

impl GroupShard {
    /// Writes what the member says of itself now, and which topics the group's patterns match.
    pub(super) fn update_member(
        &mut self,
        turn: &GroupTurn<'_>,
        draft: &mut Draft,
        before: &ConsumerMember,
        metadata: ConsumerGroupMemberMetadataValue,
    ) -> Result<SubscriptionUpdate, Refusal> {
        let member_id = &before.member_id;
        if draft.group().member(member_id).is_none() || metadata != before.metadata {
            draft.write_member(member_id, metadata);
        }
        let member = draft.member_or_new(member_id);
        let has_new_regex = member.regex() != before.regex();
        if has_new_regex {
            forget_unused_regexes(draft);
            if let Some(regex) = member.regex().filter(|regex| draft.group().regexes().count(regex) == 1) {
                NamePattern::new(regex).map_err(|error| {
                    let message =
                        format!("SubscribedTopicRegex `{regex}` is not a valid regular expression: {error}.");
                    Refusal::new(ErrorCode::InvalidRegularExpression, message)
                })?;
            }
        }
        let has_changed = has_new_regex || member.topic_names() != before.topic_names();
        let is_resolved_anew = self.resolve_regexes(turn, draft);
        Ok(SubscriptionUpdate { has_changed, needs_new_epoch: has_changed || is_resolved_anew })
    }

    /// Finds the topics of the patterns that are not resolved yet, and of all when it is time for that. Answers whether
    /// other topics than before were found.
    fn resolve_regexes(&self, turn: &GroupTurn<'_>, draft: &mut Draft) -> bool {
        let group = draft.group();
        if group.regexes().is_empty() {
            return false;
        }
        let all = self.is_time_for_regexes(turn, group);
        let due = group.regexes().names().filter(|regex| all || group.resolved(regex).is_none());
        let due: Vec<Arc<str>> = due.cloned().collect();
        let mut has_changed = false;
        for regex in due {
            let topics = self.topics_matching(&regex);
            has_changed |= match draft.group().resolved(&regex) {
                Some(known) => !known.topics.iter().eq(&topics),
                None => !topics.is_empty(),
            };
            let value = ConsumerGroupRegularExpressionValue {
                topics,
                version: self.image.provenance.last_offset.value(),
                timestamp: turn.now.wall.value(),
                ..Default::default()
            };
            draft.write(ConsumerContent::Regex(regex, Some(value)));
        }
        has_changed
    }

    fn is_time_for_regexes(&self, turn: &GroupTurn<'_>, group: &ConsumerGroup) -> bool {
        let Some(last) = group.all_resolved().map(|(_, resolved)| resolved.resolved_at).max() else {
            return true;
        };
        let version = group.all_resolved().map(|(_, resolved)| resolved.version).min().unwrap_or(-1);
        let since_ms = turn.now.wall.value().saturating_sub(last.value());
        let has_new_topics = version < self.topics_changed_at.value();
        (has_new_topics && since_ms > REGEX_REFRESH_MIN_INTERVAL_MS)
            || since_ms > self.config.consumer.regex_refresh_interval_ms
    }

    /// In the order of their names. A pattern that Kafka took and that can't be understood here matches nothing.
    fn topics_matching(&self, regex: &str) -> Vec<String> {
        let names = self.image.topics.iter().map(|topic| &*topic.name);
        match NamePattern::new(regex).and_then(|pattern| pattern.all_matching(names)) {
            Ok(names) => names.into_iter().map(str::to_owned).collect(),
            Err(error) => {
                warn!(regex, %error, "a pattern that is stored can't be understood");
                Vec::new()
            }
        }
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

    /// Whether the group is past its target, and the last was not made just now: so that many who come and go one after
    /// another make one target.
    pub(super) fn may_make_target(
        &self,
        turn: &GroupTurn<'_>,
        group_id: &str,
        group: &ConsumerGroup,
    ) -> bool {
        let (now, made_at) = (turn.now.wall.value(), group.target.made_at.value());
        let interval_ms = i64::from(self.consumer_settings(group_id).assignment_interval_ms);
        group.epoch > group.target.epoch
            // A clock that was set back makes nobody wait for it.
            && (made_at == 0 || interval_ms == 0 || now >= made_at + interval_ms || now < made_at)
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
