//! Who may commit and fetch offsets of a consumer group.

use ottla_types::Uuid;
use ottla_wire::ErrorCode;

use super::group::ConsumerGroup;
use super::member::ConsumerMember;

/// Since this version of OffsetCommit members of the consumer protocol may use it (KIP-848).
const MEMBER_EPOCH_SINCE: i16 = 9;

/// Who says that a commit is its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Committer<'a> {
    pub(crate) member_id: &'a str,
    pub(crate) instance_id: Option<&'a str>,
    /// The member's epoch, or its generation if it speaks the classic protocol.
    pub(crate) epoch: i32,
    /// Set unless the commit is part of a transaction: the version of OffsetCommit.
    pub(crate) offset_commit_version: Option<i16>,
}

impl ConsumerGroup {
    /// A member commits under its epoch, or under an earlier one for partitions that it had then and still has
    /// (KIP-1251). From outside, an empty group takes commits; a transaction that names no member takes any.
    pub(crate) fn validate_commit(
        &self,
        by: Committer<'_>,
        mut partitions: impl Iterator<Item = (Uuid, i32)>,
    ) -> Result<(), ErrorCode> {
        let names_nobody = by.epoch == -1 && by.member_id.is_empty() && by.instance_id.is_none();
        if (by.epoch < 0 && self.is_empty()) || (by.offset_commit_version.is_none() && names_nobody) {
            return Ok(());
        }
        let member = self.member(by.member_id).ok_or(ErrorCode::UnknownMemberId)?;
        let is_too_old = by.offset_commit_version.is_some_and(|version| version < MEMBER_EPOCH_SINCE);
        if is_too_old && !member.uses_classic_protocol() {
            return Err(ErrorCode::UnsupportedVersion);
        }
        let is_current = by.epoch == member.current.epoch;
        let has_had = |(topic_id, partition)| has_since(member, topic_id, partition, by.epoch);
        if is_current || (by.epoch < member.current.epoch && partitions.all(has_had)) {
            return Ok(());
        }
        Err(stale(member))
    }

    /// Whoever names a member must know its epoch.
    pub(crate) fn validate_fetch(&self, member_id: Option<&str>, epoch: i32) -> Result<(), ErrorCode> {
        if member_id.is_none() && epoch < 0 {
            return Ok(());
        }
        let member = member_id.and_then(|id| self.member(id)).ok_or(ErrorCode::UnknownMemberId)?;
        if member.current.epoch == epoch { Ok(()) } else { Err(stale(member)) }
    }
}

/// Has the member had the partition at this epoch, and has it not been told to be without it and done so?
fn has_since(member: &ConsumerMember, topic_id: Uuid, partition: i32, epoch: i32) -> bool {
    let owned = [&member.current.assigned, &member.current.pending_revocation];
    let mut since = owned.iter().filter_map(|owned| owned.get(&topic_id)?.get(&partition));
    since.next().is_some_and(|since| epoch >= *since)
}

fn stale(member: &ConsumerMember) -> ErrorCode {
    if member.uses_classic_protocol() { ErrorCode::IllegalGeneration } else { ErrorCode::StaleMemberEpoch }
}
