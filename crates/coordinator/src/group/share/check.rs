//! Whether the share coordinator still has what a group's log says that it has. The two are different logs, and one may have
//! lost more than the other: a partition without a state would be given to members, and nobody could read it for ever. So
//! who takes a share group over asks once; what is missing is taken out, and initialized again with a later heartbeat.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ottla_types::{MonoMs, Uuid};
use ottla_wire::ErrorCode;
use tracing::warn;

use super::draft::ShareDraft;
use super::heartbeat::share_draft;
use crate::group::shard::{GroupShard, GroupTurn};
use crate::group::state::StoredGroup;
use crate::runtime::Responder;

/// How far the check of a group has come that was read from the log; a group without one is known to be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StatesCheck {
    /// The next heartbeat begins it.
    Due,
    Asked(Question),
}

/// What the share coordinator was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    number: u64,
    at: MonoMs,
    /// Without those that were initialized since.
    partitions: BTreeSet<(Uuid, i32)>,
}

/// A question is not asked again within this time, in milliseconds: it takes so long to find that the share coordinator can't
/// be reached.
const ANSWERED_WITHIN_MS: i64 = 30_000;

/// Partitions whose states are to be looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inquiry {
    pub(super) group_id: Arc<str>,
    /// By which the answer is known.
    pub(super) number: u64,
    pub(super) partitions: BTreeSet<(Uuid, i32)>,
}

/// Whether the share coordinator has a state, or why it is not known.
pub(super) type Found = BTreeMap<(Uuid, i32), Result<bool, ErrorCode>>;

impl GroupShard {
    /// All groups were read from the log.
    pub(crate) fn share_checks_due(&mut self, turn: &GroupTurn<'_>) {
        for (group_id, stored) in &turn.state.groups {
            if matches!(stored, StoredGroup::Share(group) if !group.topics.initialized.is_empty()) {
                self.share_checks.insert(Arc::clone(group_id), StatesCheck::Due);
            }
        }
    }

    /// Something of the group's was deleted at the share coordinator, or may be some time, though the group goes on: what is
    /// initialized since may be deleted with it.
    pub(crate) fn check_share_states_again(&mut self, group_id: &str) {
        self.share_checks.insert(Arc::from(group_id), StatesCheck::Due);
    }

    /// What to ask the share coordinator for, if that is still to be done, or was not answered for too long.
    pub(super) fn begin_check(&mut self, turn: &GroupTurn<'_>, draft: &ShareDraft) -> Option<Inquiry> {
        let retry_ms = self.config.share.initialize_retry_interval_ms.max(ANSWERED_WITHIN_MS);
        let check = self.share_checks.get_mut(&draft.group_id)?;
        if matches!(check, StatesCheck::Asked(question) if question.at.plus_ms(retry_ms) > turn.now.mono) {
            return None;
        }
        let partitions = draft.group().topics.initialized_partitions();
        if partitions.is_empty() {
            return None;
        }
        let number = self.share_inquiries.fetch_add(1, Ordering::Relaxed) + 1;
        *check = StatesCheck::Asked(Question { number, at: turn.now.mono, partitions: partitions.clone() });
        Some(Inquiry { group_id: Arc::clone(&draft.group_id), number, partitions })
    }

    /// These were initialized just now: what was asked before says nothing of them.
    pub(super) fn end_check_of(&mut self, group_id: &str, initialized: impl Iterator<Item = (Uuid, i32)>) {
        if let Some(StatesCheck::Asked(question)) = self.share_checks.get_mut(group_id) {
            for partition in initialized {
                question.partitions.remove(&partition);
            }
        }
    }

    /// Takes up what the share coordinator answered. What it could not tell is asked again with a later heartbeat.
    pub(super) fn checked(
        &mut self,
        turn: &mut GroupTurn<'_>,
        group_id: &Arc<str>,
        number: u64,
        found: &Found,
        responder: Responder<()>,
    ) {
        // What was asked before there was a new reason to ask does not do, nor what a former life of the shard has asked.
        match self.share_checks.remove(group_id) {
            Some(StatesCheck::Asked(question)) if question.number == number => {
                // A topic that is gone is taken out with its deletion.
                let is_known = |found: &Result<bool, ErrorCode>| {
                    matches!(found, Ok(_) | Err(ErrorCode::UnknownTopicOrPartition))
                };
                if !found.values().all(is_known) {
                    self.share_checks.insert(Arc::clone(group_id), StatesCheck::Due);
                }
                let partitions = question.partitions.iter();
                let missing = partitions.filter(|partition| found.get(partition) == Some(&Ok(false)));
                take_out(turn, group_id, missing);
            }
            Some(other) => drop(self.share_checks.insert(Arc::clone(group_id), other)),
            None => {}
        }
        turn.reply(responder, ());
    }
}

/// These partitions are not initialized after all.
fn take_out<'a>(
    turn: &mut GroupTurn<'_>,
    group_id: &Arc<str>,
    missing: impl Iterator<Item = &'a (Uuid, i32)>,
) {
    let Ok(mut draft) = share_draft(turn, group_id, false) else { return };
    let mut topics = (*draft.group().topics).clone();
    for (topic_id, partition) in missing {
        if topics.take_out(*topic_id, *partition) {
            warn!(
                group = %group_id, topic = %topic_id, partition,
                "the state of a share partition is lost: it is initialized again"
            );
        }
    }
    if topics != *draft.group().topics {
        draft.write_topics(&topics);
        draft.finish(turn);
    }
}
