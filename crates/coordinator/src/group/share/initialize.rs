//! Telling the share coordinator of the partitions that a group reads. It is called after the group's own log says that it
//! will be, and what it answers is written again: a coordinator that takes over sees what was begun.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_types::Uuid;
use ottla_wire::ErrorCode;
use tracing::{info, warn};

use super::draft::ShareDraft;
use super::heartbeat::share_draft;
use crate::group::shard::{GroupShard, GroupTurn};
use crate::group::state::StoredGroup;
use crate::runtime::Responder;

/// Partitions to be told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Initialization {
    pub(super) group_id: Arc<str>,
    pub(super) state_epoch: i32,
    /// With where the group begins; -1: by its policy.
    pub(super) partitions: Vec<(Uuid, i32, i64)>,
}

impl GroupShard {
    /// Notes which partitions of the topics that are subscribed to are to be initialized: those that are not, and whose
    /// initialization was not begun just now.
    pub(super) fn begin_initialization(
        &mut self,
        turn: &GroupTurn<'_>,
        draft: &mut ShareDraft,
    ) -> Option<Initialization> {
        let group = draft.group();
        let retry_ms = self.config.share.initialize_retry_interval_ms;
        let begun = self.share_initializations.entry(Arc::clone(&draft.group_id)).or_default();
        begun.retain(|_, at| at.plus_ms(retry_ms) > turn.now.mono);
        let mut partitions = Vec::new();
        for name in group.subscribed().names() {
            let Some(topic) = self.image.topics.by_name(name) else { continue };
            let unknown = topic.partitions.keys().map(|partition| (topic.id, *partition));
            let unknown = unknown.filter(|(id, partition)| !group.topics.has(*id, *partition));
            partitions
                .extend(unknown.filter(|partition| !begun.contains_key(partition)).map(|of| (name, of)));
        }
        begun.extend(partitions.iter().map(|(_, partition)| (*partition, turn.now.mono)));
        if begun.is_empty() {
            self.share_initializations.remove(&draft.group_id);
        }
        if partitions.is_empty() {
            return None;
        }
        info!(group = %draft.group_id, partitions = partitions.len(), "partitions of a share group are initialized");
        let mut topics = (*group.topics).clone();
        for (name, (topic_id, partition)) in &partitions {
            topics.begin(*topic_id, name, *partition);
        }
        let partitions =
            partitions.iter().map(|(_, (topic_id, partition))| (*topic_id, *partition, -1)).collect();
        let state_epoch = group.epoch;
        draft.write_topics(&topics);
        Some(Initialization { group_id: Arc::clone(&draft.group_id), state_epoch, partitions })
    }

    /// Takes up what the share coordinator answered. What failed is begun again with a later heartbeat.
    pub(super) fn initialized(
        &mut self,
        turn: &mut GroupTurn<'_>,
        group_id: &Arc<str>,
        outcomes: &BTreeMap<(Uuid, i32), Result<(), ErrorCode>>,
        responder: Responder<()>,
    ) {
        if let Some(begun) = self.share_initializations.get_mut(group_id) {
            begun.retain(|partition, _| !outcomes.contains_key(partition));
            if begun.is_empty() {
                self.share_initializations.remove(group_id);
            }
        }
        let done = outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).map(|(partition, _)| *partition);
        self.end_check_of(group_id, done);
        if let Ok(mut draft) = share_draft(turn, group_id, false) {
            let mut topics = (*draft.group().topics).clone();
            for ((topic_id, partition), outcome) in outcomes {
                if let Err(code) = outcome {
                    warn!(group = %group_id, topic = %topic_id, partition, ?code, "a partition is not initialized");
                }
                topics.end(*topic_id, *partition, outcome.is_ok());
            }
            if topics != *draft.group().topics {
                draft.write_topics(&topics);
                draft.finish(turn);
            }
        }
        turn.reply(responder, ());
    }

    /// Topics are gone, and with them what groups had of them.
    pub(crate) fn share_topics_deleted(&mut self, turn: &mut GroupTurn<'_>, topic_ids: &[Uuid]) {
        turn.allow_split();
        let groups = turn.state.groups.iter();
        let concerned: Vec<(Arc<str>, Arc<super::ShareGroup>)> = groups
            .filter_map(|(group_id, stored)| match stored {
                StoredGroup::Share(group) => Some((Arc::clone(group_id), Arc::clone(group))),
                _ => None,
            })
            .collect();
        for (group_id, group) in concerned {
            let mut topics = (*group.topics).clone();
            let forgotten = topic_ids.iter().filter(|id| topics.forget(**id)).count();
            if forgotten > 0 {
                let mut draft = ShareDraft::new(group_id, group);
                draft.write_topics(&topics);
                draft.finish(turn);
            }
        }
    }
}
