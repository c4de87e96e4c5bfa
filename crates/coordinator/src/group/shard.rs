//! One partition of `__consumer_offsets` as a state machine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use ottla_metadata::MetadataImage;
use ottla_types::{MonoMs, Offset, Uuid};
use ottla_wire::ErrorCode;

use super::classic::{ClassicGroup, StaticReplacement};
use super::config::GroupCoordinatorConfig;
use super::consumer::{ConsumerGroup, ConsumerTimer, UnderWay};
use super::metadata::SharedMetadata;
use super::modern::freshness::Freshness;
use super::modern::topics::{TopicHashes, Topics};
use super::record::{self, GroupRecord};
use super::share::{ShareGroup, StatesCheck};
use super::state::{GroupState, StoredGroup};
use crate::runtime::{DecodeError, EncodedRecord, Producer, Shard, Turn};

pub(crate) type GroupTurn<'a> = Turn<'a, GroupShard>;

pub(crate) struct GroupShard {
    pub(super) config: Arc<GroupCoordinatorConfig>,
    /// Classic groups with members, or with somebody about to be one.
    pub(super) live: BTreeMap<Arc<str>, ClassicGroup>,
    /// The metadata as this shard was last told it.
    pub(super) image: Arc<MetadataImage>,
    /// What shards of the coordinator are told next.
    pub(super) shared: Arc<SharedMetadata>,
    /// The image that topics last came or went with.
    pub(super) topics_changed_at: Offset,
    pub(super) freshness: Freshness,
    pub(super) topic_hashes: TopicHashes,
    /// Groups whose targets are being made.
    pub(super) assigning: UnderWay,
    /// Groups whose patterns are being matched with all topics.
    pub(super) matching: UnderWay,
    /// Share groups as they were when nothing was left to do for them, with the topics that there are.
    pub(super) share_at_rest: BTreeMap<Arc<str>, Arc<ShareGroup>>,
    /// Since when the share coordinator is being told of partitions, by group.
    pub(super) share_initializations: BTreeMap<Arc<str>, BTreeMap<(Uuid, i32), MonoMs>>,
    /// Share groups of which it is not known yet that the share coordinator has what it is said to have.
    pub(super) share_checks: BTreeMap<Arc<str>, StatesCheck>,
    /// How often shards of the coordinator have asked the share coordinator: no two questions have the same number, not even
    /// where one shard follows another.
    pub(super) share_inquiries: Arc<AtomicU64>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum GroupTimer {
    /// Time to look for offsets and groups that have expired.
    Expiry,
    /// The join phase of the group is over.
    Join(Arc<str>),
    /// All members should have asked for their assignment.
    Sync(Arc<str>),
    /// Nothing was heard of the member for too long.
    Session(Arc<str>, String),
    /// A member of a consumer group takes too long.
    Consumer(ConsumerTimer, Arc<str>, Arc<str>),
    /// Nothing was heard of the member of a share group for too long.
    Share(Arc<str>, Arc<str>),
    /// Time to try once more to take back what was committed for topics that are gone.
    TopicsDeleted(Arc<[(String, Uuid)]>),
}

pub(crate) enum GroupCompletion {
    /// The record of a new group.
    Created {
        group_id: Arc<str>,
    },
    /// The leader's assignment for a generation.
    Assigned {
        group_id: Arc<str>,
        generation_id: i32,
        assignments: BTreeMap<String, Bytes>,
    },
    /// The group without members.
    Emptied {
        group_id: Arc<str>,
    },
    StaticMemberReplaced(Box<StaticReplacement>),
    /// The removal of a member of a consumer group that took too long.
    ConsumerRemoved(GroupTimer),
    /// The removal of a member of a share group that was silent for too long.
    ShareRemoved(GroupTimer),
    /// The change of a group's kind.
    Converted {
        group_id: Arc<str>,
    },
    /// Taking back what was committed for topics that are gone.
    TopicsDeleted(Arc<[(String, Uuid)]>),
}

/// A group as requests find it.
pub(crate) enum Found<'a> {
    Live(&'a mut ClassicGroup),
    /// A classic group without members.
    Idle,
    Consumer(&'a Arc<ConsumerGroup>),
    Share(&'a Arc<ShareGroup>),
    Foreign(&'a super::state::ForeignGroup),
    Nothing,
}

impl GroupShard {
    pub(crate) fn new(
        config: Arc<GroupCoordinatorConfig>,
        shared: Arc<SharedMetadata>,
        share_inquiries: Arc<AtomicU64>,
    ) -> GroupShard {
        GroupShard {
            config,
            live: BTreeMap::new(),
            image: Arc::default(),
            shared,
            topics_changed_at: Offset::UNKNOWN,
            freshness: Freshness::default(),
            topic_hashes: TopicHashes::default(),
            assigning: UnderWay::default(),
            matching: UnderWay::default(),
            share_at_rest: BTreeMap::new(),
            share_initializations: BTreeMap::new(),
            share_checks: BTreeMap::new(),
            share_inquiries,
        }
    }

    pub(crate) fn topics(&self) -> Topics<'_> {
        Topics(&self.image)
    }

    pub(crate) fn find<'a>(&'a mut self, state: &'a GroupState, group_id: &str) -> Found<'a> {
        if let Some(group) = self.live.get_mut(group_id) {
            return Found::Live(group);
        }
        match state.groups.get(group_id) {
            Some(StoredGroup::Consumer(group)) => Found::Consumer(group),
            Some(StoredGroup::Share(group)) => Found::Share(group),
            Some(StoredGroup::Foreign(group)) => Found::Foreign(group),
            Some(_) => Found::Idle,
            None => Found::Nothing,
        }
    }

    /// Takes the group from memory if the log knows all there is to know of it.
    pub(crate) fn forget_if_idle(&mut self, group_id: &str) {
        if self.live.get(group_id).is_some_and(ClassicGroup::is_idle) {
            self.live.remove(group_id);
        }
    }
}

impl Shard for GroupShard {
    type State = GroupState;
    type Record = GroupRecord;
    type Timer = GroupTimer;
    type Completion = GroupCompletion;

    const BASE_SEQUENCE: i32 = 0;

    fn encode(record: &GroupRecord) -> Result<EncodedRecord, ErrorCode> {
        record::encode(record)
    }

    fn encode_all(records: &[GroupRecord]) -> Result<Vec<EncodedRecord>, ErrorCode> {
        record::encode_all(records)
    }

    fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<GroupRecord>, DecodeError> {
        record::decode(key, value)
    }

    fn replay(state: &mut GroupState, offset: Offset, producer: Option<Producer>, record: GroupRecord) {
        state.replay(offset, producer, record);
    }

    fn replay_end_transaction(state: &mut GroupState, producer: Producer, committed: bool) {
        state.offsets.replay_end_transaction(producer, committed);
    }

    fn loaded(&mut self, turn: &mut GroupTurn<'_>) {
        turn.schedule(GroupTimer::Expiry, self.config.offsets_retention_check_interval_ms);
        self.image = self.shared.image();
        self.topics_changed_at = self.image.provenance.last_offset;
        self.revive_groups(turn);
        self.revive_consumer_groups(turn);
        self.revive_share_groups(turn);
        self.share_checks_due(turn);
    }

    fn timer_fired(&mut self, turn: &mut GroupTurn<'_>, timer: GroupTimer) {
        match timer {
            GroupTimer::Expiry => self.expire(turn),
            GroupTimer::Join(group_id) => self.join_phase_over(turn, &group_id),
            GroupTimer::Sync(group_id) => self.sync_phase_over(turn, &group_id),
            GroupTimer::Session(group_id, member_id) => self.session_expired(turn, &group_id, &member_id),
            GroupTimer::Consumer(timer, group_id, member_id) => {
                self.consumer_timer_fired(turn, timer, &group_id, &member_id);
            }
            GroupTimer::Share(group_id, member_id) => {
                self.share_session_expired(turn, &group_id, &member_id);
            }
            GroupTimer::TopicsDeleted(topics) => self.topics_deleted(turn, topics),
        }
    }

    fn completed(
        &mut self,
        turn: &mut GroupTurn<'_>,
        completion: GroupCompletion,
        result: Result<(), ErrorCode>,
    ) {
        match completion {
            GroupCompletion::Created { group_id } => self.created(turn, &group_id, result),
            GroupCompletion::Assigned { group_id, generation_id, assignments } => {
                self.assigned(turn, &group_id, generation_id, assignments, result);
            }
            GroupCompletion::Emptied { group_id } => self.emptied(&group_id, result),
            GroupCompletion::StaticMemberReplaced(replacement) => {
                self.static_member_replaced(turn, *replacement, result);
            }
            GroupCompletion::ConsumerRemoved(timer) => {
                if result.is_err() {
                    Self::consumer_removal_failed(turn, timer);
                }
            }
            GroupCompletion::ShareRemoved(timer) => {
                if result.is_err() {
                    Self::share_removal_failed(turn, timer);
                }
            }
            GroupCompletion::Converted { group_id } => self.converted(turn, &group_id, result),
            GroupCompletion::TopicsDeleted(topics) => {
                if result.is_err() {
                    Self::deletion_of_topics_failed(turn, topics);
                }
            }
        }
    }
}
