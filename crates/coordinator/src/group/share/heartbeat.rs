//! ShareGroupHeartbeat: a member joins, says what it subscribes to, is told what it shall have, and leaves, all with this
//! one request. There is nothing to give up first: partitions are shared.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_types::Uuid;
use ottla_wire::ErrorCode;
use ottla_wire::messages::share_group_heartbeat_response::{
    Assignment as AnsweredAssignment, TopicPartition as AnsweredTopic,
};
use ottla_wire::messages::{ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse};
use ottla_wire::records::ShareGroupMemberMetadataValue;
use tracing::info;

use super::assignor::simple;
use super::check::Inquiry;
use super::draft::ShareDraft;
use super::group::{ShareGroup, ShareMember};
use super::initialize::Initialization;
use super::settings::Settings;
use crate::group::consumer::refusal::Refusal;
use crate::group::context::RequestContext;
use crate::group::modern::assignor::{Assignment, GroupSpec, MemberSpec};
use crate::group::modern::pace::Pace;
use crate::group::modern::{JOIN_EPOCH, LEAVE_EPOCH};
use crate::group::shard::{GroupCompletion, GroupShard, GroupTimer, GroupTurn};
use crate::group::state::StoredGroup;
use crate::runtime::Responder;

/// How long after a removal that could not be written it is tried again, in milliseconds.
const RETRY_MS: i64 = 500;

/// Java prints a UUID with at most so many characters.
const MEMBER_ID_LEN_MAX: usize = 36;

/// The answer, and what the share coordinator must be told and asked then.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    pub(super) response: ShareGroupHeartbeatResponse,
    pub(super) initialization: Option<Initialization>,
    pub(super) inquiry: Option<Inquiry>,
}

impl From<ShareGroupHeartbeatResponse> for Answered {
    fn from(response: ShareGroupHeartbeatResponse) -> Answered {
        Answered { response, initialization: None, inquiry: None }
    }
}

impl GroupShard {
    pub(super) fn share_heartbeat(
        &mut self,
        turn: &mut GroupTurn<'_>,
        context: &RequestContext,
        request: &ShareGroupHeartbeatRequest,
        responder: Responder<Answered>,
    ) {
        let answered = match request.member_epoch {
            LEAVE_EPOCH => self.share_leave(turn, request).map(Answered::from),
            _ => self.share_join_or_beat(turn, context, request),
        };
        match answered {
            Ok(answered) => turn.reply(responder, answered),
            Err(refusal) => turn.reply_at_once(responder, Ok(refused(refusal).into())),
        }
    }

    fn share_join_or_beat(
        &mut self,
        turn: &mut GroupTurn<'_>,
        context: &RequestContext,
        request: &ShareGroupHeartbeatRequest,
    ) -> Result<Answered, Refusal> {
        let is_joining = request.member_epoch == JOIN_EPOCH;
        let mut draft = share_draft(turn, &request.group_id, is_joining)?;
        let member_id: Arc<str> = Arc::from(request.member_id.as_str());
        self.check_share_group_size(draft.group(), &member_id)?;
        let before = find_member(&draft, &member_id, request)?;
        let metadata = updated(&before, context, request);
        let has_changed = metadata.subscribed_topic_names != before.metadata.subscribed_topic_names;
        if draft.group().member(&member_id).is_none() || metadata != before.metadata {
            draft.write_member(&member_id, metadata);
        }
        let is_at_rest = draft.is_unchanged() && self.is_share_group_at_rest(turn, &draft.group_id);
        if !is_at_rest {
            self.refresh_share_group(&mut draft, has_changed);
            self.make_share_target(turn, &mut draft);
        }
        let member = draft.group().member(&member_id).cloned().unwrap_or(before);
        let assigned = self.reconcile_share_member(&mut draft, &member, has_changed);
        let mut initialization = None;
        if !is_at_rest {
            initialization = self.begin_initialization(turn, &mut draft);
            self.note_share_rest(turn, &draft);
        }
        let inquiry = self.begin_check(turn, &draft);

        let settings = self.share_settings(&request.group_id);
        let timer = GroupTimer::Share(Arc::clone(&draft.group_id), Arc::clone(&member_id));
        turn.schedule(timer, i64::from(settings.session_timeout_ms));
        let is_told = is_joining || request.subscribed_topic_names.is_some() || assigned != member.assigned;
        let member_epoch = draft.group().member(&member_id).map_or(0, |member| member.epoch);
        let response = ShareGroupHeartbeatResponse {
            member_id: Some(request.member_id.clone()),
            member_epoch,
            heartbeat_interval_ms: next_beat_ms(turn, draft.group(), settings),
            assignment: is_told.then(|| answered(&assigned)),
            ..ShareGroupHeartbeatResponse::default()
        };
        draft.finish(turn);
        Ok(Answered { response, initialization, inquiry })
    }

    /// Whether an earlier heartbeat has found that nothing is to be assigned or initialized in the group as it is. It is looked at
    /// once for all of its members, who may have very many partitions.
    fn is_share_group_at_rest(&self, turn: &GroupTurn<'_>, group_id: &str) -> bool {
        match (self.share_at_rest.get(group_id), turn.state.groups.get(group_id)) {
            (Some(at_rest), Some(StoredGroup::Share(group))) => Arc::ptr_eq(at_rest, group),
            _ => false,
        }
    }

    fn note_share_rest(&mut self, turn: &GroupTurn<'_>, draft: &ShareDraft) {
        let group = draft.group();
        let is_at_rest = draft.is_unchanged()
            && group.epoch == group.target.epoch
            && !self.share_initializations.contains_key(&draft.group_id);
        match turn.state.groups.get(&draft.group_id) {
            Some(StoredGroup::Share(group)) if is_at_rest => {
                self.share_at_rest.insert(Arc::clone(&draft.group_id), Arc::clone(group));
            }
            _ => drop(self.share_at_rest.remove(&draft.group_id)),
        }
    }

    fn check_share_group_size(&self, group: &ShareGroup, member_id: &str) -> Result<(), Refusal> {
        let max_size = self.config.share.max_size;
        if group.len() >= max_size && group.member(member_id).is_none() {
            let message = format!("The share group has reached its maximum capacity of {max_size} members.");
            return Err(Refusal::new(ErrorCode::GroupMaxSizeReached, message));
        }
        Ok(())
    }

    /// Begins a new epoch if the subscriptions have changed, the topics behind them, or the partitions that may be given
    /// out.
    fn refresh_share_group(&mut self, draft: &mut ShareDraft, has_changed: bool) {
        let group = draft.group();
        let (epoch, hash_before) = (group.epoch, group.metadata_hash);
        let topics = &self.image.topics;
        let partition_count = |id| topics.by_id(id).map_or(0, |topic| topic.partitions.len());
        let has_more = epoch <= group.target.epoch && group.has_unassigned_partitions(partition_count);
        let needs_new_epoch = has_changed || has_more;
        if !needs_new_epoch && self.freshness.is_fresh(&draft.group_id, epoch) {
            return;
        }
        let hash = self.topic_hashes.of_group(&self.image, group.subscribed().names());
        let mut next = epoch;
        if needs_new_epoch || hash != hash_before {
            next += 1;
            info!(group = %draft.group_id, epoch = next, "the share group begins a new epoch");
            draft.write_group(next, hash);
        }
        self.freshness.note(&draft.group_id, next);
    }

    /// Makes a target for the group's epoch, unless there is one, or the last was made just now.
    fn make_share_target(&self, turn: &GroupTurn<'_>, draft: &mut ShareDraft) {
        let group = draft.group();
        let now_ms = turn.now.wall.value();
        let interval_ms = self.share_settings(&draft.group_id).assignment_interval_ms;
        if group.epoch <= group.target.epoch || group.target.next_in_ms(interval_ms, now_ms).is_some() {
            return;
        }
        let assignments = simple(&self.share_group_spec(group));
        let changed: Vec<(Arc<str>, Assignment)> = group
            .target
            .changed_by(&assignments)
            .map(|(member_id, assignment)| (Arc::clone(member_id), assignment.clone()))
            .collect();
        let epoch = group.epoch;
        info!(group = %draft.group_id, epoch, changed = changed.len(), "a new target is made");
        for (member_id, assignment) in changed {
            draft.write_target_of(&member_id, &assignment);
        }
        draft.write_target(epoch, now_ms);
    }

    /// Only what the share coordinator knows of may be given out.
    fn share_group_spec(&self, group: &ShareGroup) -> GroupSpec {
        let mut known: BTreeMap<&[String], Arc<BTreeSet<Uuid>>> = BTreeMap::new();
        let topics = self.topics();
        let member = |member: &Arc<ShareMember>| MemberSpec {
            instance_id: None,
            subscribed: Arc::default(),
            assigned: group.target.of(&member.member_id),
        };
        let mut members: BTreeMap<Arc<str>, MemberSpec> =
            group.members().map(|of| (Arc::clone(&of.member_id), member(of))).collect();
        for of in group.members() {
            let names = of.metadata.subscribed_topic_names.as_slice();
            let subscribed =
                known.entry(names).or_insert_with(|| Arc::new(topics.ids(names.iter().map(String::as_str))));
            if let Some(spec) = members.get_mut(&of.member_id) {
                spec.subscribed = Arc::clone(subscribed);
            }
        }
        let mut partitions = topics.partition_counts(group.subscribed().names().map(|name| &**name));
        partitions.retain(|topic_id, count| {
            let initialized = group.topics.initialized.get(topic_id);
            let ready = initialized.map_or(0, |topic| topic.ready().count());
            *count = i32::try_from(ready).unwrap_or(0).min(*count);
            *count > 0
        });
        GroupSpec { members, partitions }
    }

    /// Lets the member have what it shall have. Answers with what that is.
    fn reconcile_share_member(
        &self,
        draft: &mut ShareDraft,
        member: &ShareMember,
        has_changed: bool,
    ) -> Arc<Assignment> {
        let target_epoch = draft.group().target.epoch;
        if member.epoch == target_epoch && !has_changed {
            return Arc::clone(&member.assigned);
        }
        let names = member.metadata.subscribed_topic_names.iter().map(String::as_str);
        let subscribed = self.topics().ids(names);
        let target = draft.group().target.of(&member.member_id);
        let is_subscribed = |topic_id: &Uuid| subscribed.contains(topic_id);
        let assigned: Assignment = target
            .iter()
            .filter(|(topic_id, _)| is_subscribed(topic_id))
            .map(|(topic_id, partitions)| (*topic_id, partitions.clone()))
            .collect();
        if member.epoch != target_epoch || assigned != *member.assigned {
            draft.write_current(member, target_epoch, &assigned);
        }
        Arc::new(assigned)
    }

    fn share_leave(
        &mut self,
        turn: &mut GroupTurn<'_>,
        request: &ShareGroupHeartbeatRequest,
    ) -> Result<ShareGroupHeartbeatResponse, Refusal> {
        let draft = share_draft(turn, &request.group_id, false)?;
        let member = known_member(&draft, &request.member_id)?;
        info!(group = %draft.group_id, member = request.member_id, "a member leaves the share group");
        self.remove_share_member(turn, draft, &member);
        Ok(ShareGroupHeartbeatResponse {
            member_id: Some(request.member_id.clone()),
            member_epoch: LEAVE_EPOCH,
            ..ShareGroupHeartbeatResponse::default()
        })
    }

    /// Its timer stays: if this can't be written, it is a member still.
    fn remove_share_member(&mut self, turn: &mut GroupTurn<'_>, mut draft: ShareDraft, member: &ShareMember) {
        draft.remove_member(&member.member_id);
        let hash = self.topic_hashes.of_group(&self.image, draft.group().subscribed().names());
        let epoch = draft.group().epoch + 1;
        draft.write_group(epoch, hash);
        draft.finish(turn);
    }

    /// Nothing was heard of a member for too long.
    pub(crate) fn share_session_expired(
        &mut self,
        turn: &mut GroupTurn<'_>,
        group_id: &Arc<str>,
        member_id: &Arc<str>,
    ) {
        let Ok(draft) = share_draft(turn, group_id, false) else { return };
        let Some(member) = draft.group().member(member_id).cloned() else { return };
        info!(group = %group_id, member = %member_id, "a member is removed: its session expired");
        self.remove_share_member(turn, draft, &member);
        let timer = GroupTimer::Share(Arc::clone(group_id), Arc::clone(member_id));
        turn.on_completion(GroupCompletion::ShareRemoved(timer));
    }

    /// A removal that could not be written is tried again; unless the member is back and has a timer of its own by now.
    pub(crate) fn share_removal_failed(turn: &mut GroupTurn<'_>, timer: GroupTimer) {
        turn.schedule_if_absent(timer, RETRY_MS);
    }

    /// Gives the members of all groups a full session.
    pub(crate) fn revive_share_groups(&mut self, turn: &mut GroupTurn<'_>) {
        for (group_id, stored) in &turn.state.groups {
            let StoredGroup::Share(group) = stored else { continue };
            let timeout_ms = i64::from(self.share_settings(group_id).session_timeout_ms);
            let members: Vec<Arc<str>> = group.members().map(|m| Arc::clone(&m.member_id)).collect();
            for member_id in members {
                turn.schedule(GroupTimer::Share(Arc::clone(group_id), member_id), timeout_ms);
            }
        }
    }
}

/// A share group, to be changed; a new one where that is wanted.
pub(super) fn share_draft(
    turn: &GroupTurn<'_>,
    group_id: &str,
    may_create: bool,
) -> Result<ShareDraft, Refusal> {
    match turn.state.groups.get_key_value(group_id) {
        Some((group_id, StoredGroup::Share(group))) => {
            Ok(ShareDraft::new(Arc::clone(group_id), Arc::clone(group)))
        }
        Some(_) => {
            let message = format!("Group {group_id} is not a share group.");
            Err(Refusal::new(ErrorCode::GroupIdNotFound, message))
        }
        None if may_create => Ok(ShareDraft::new(Arc::from(group_id), Arc::default())),
        None => Err(Refusal::new(ErrorCode::GroupIdNotFound, format!("Share group {group_id} not found."))),
    }
}

fn known_member(draft: &ShareDraft, member_id: &str) -> Result<Arc<ShareMember>, Refusal> {
    draft.group().member(member_id).cloned().ok_or_else(|| {
        let message = format!("Member {member_id} is not a member of group {}.", draft.group_id);
        Refusal::new(ErrorCode::UnknownMemberId, message)
    })
}

/// The member as the group knows it, or a new one.
fn find_member(
    draft: &ShareDraft,
    member_id: &Arc<str>,
    request: &ShareGroupHeartbeatRequest,
) -> Result<Arc<ShareMember>, Refusal> {
    if request.member_epoch == JOIN_EPOCH {
        info!(group = %draft.group_id, member = %member_id, "a member joins the share group");
        let new = || Arc::new(ShareMember::new(Arc::clone(member_id)));
        return Ok(draft.group().member(member_id).cloned().unwrap_or_else(new));
    }
    let member = known_member(draft, member_id)?;
    let (received, known) = (request.member_epoch, member.epoch);
    let differs = match received.cmp(&known) {
        std::cmp::Ordering::Greater => "greater",
        // A member may be behind by the one answer that it may have missed.
        std::cmp::Ordering::Less if received != member.previous_epoch => "smaller",
        _ => return Ok(member),
    };
    let message = format!(
        "The share group member has a {differs} member epoch ({received}) than the one known by the group \
         coordinator ({known}). The member must abandon all its partitions and rejoin."
    );
    Err(Refusal::new(ErrorCode::FencedMemberEpoch, message))
}

/// What the member says of itself now: what a request leaves out is as it was.
fn updated(
    member: &ShareMember,
    context: &RequestContext,
    request: &ShareGroupHeartbeatRequest,
) -> ShareGroupMemberMetadataValue {
    let mut metadata = member.metadata.clone();
    if request.rack_id.is_some() {
        metadata.rack_id.clone_from(&request.rack_id);
    }
    if let Some(names) = &request.subscribed_topic_names {
        metadata.subscribed_topic_names.clone_from(names);
        metadata.subscribed_topic_names.sort_unstable();
        metadata.subscribed_topic_names.dedup();
    }
    metadata.client_id.clone_from(&context.client_id);
    (*context.client_host).clone_into(&mut metadata.client_host);
    metadata
}

pub(super) fn refused(refusal: Refusal) -> ShareGroupHeartbeatResponse {
    ShareGroupHeartbeatResponse {
        error_code: refusal.code.code(),
        error_message: Some(refusal.message),
        ..ShareGroupHeartbeatResponse::default()
    }
}

/// When a member of the group is to come again. Partitions are shared, so nobody waits for others.
fn next_beat_ms(turn: &GroupTurn<'_>, group: &ShareGroup, settings: Settings) -> i32 {
    let pace = Pace {
        heartbeat_interval_ms: settings.heartbeat_interval_ms,
        assignment_interval_ms: settings.assignment_interval_ms,
        group_epoch: group.epoch,
        member_count: group.len(),
        // Nobody waits for what others have.
        has_partitions: false,
        target: &group.target,
        waits_for_others: false,
    };
    pace.next_beat_ms(turn.now.wall.value())
}

fn answered(assigned: &Assignment) -> AnsweredAssignment {
    let topic = |(topic_id, partitions): (&Uuid, &BTreeSet<i32>)| AnsweredTopic {
        topic_id: *topic_id,
        partitions: partitions.iter().copied().collect(),
        ..AnsweredTopic::default()
    };
    AnsweredAssignment {
        topic_partitions: assigned.iter().map(topic).collect(),
        ..AnsweredAssignment::default()
    }
}

/// Refuses what no member could mean, before any group is looked at.
pub(super) fn validate(request: &ShareGroupHeartbeatRequest) -> Result<(), Refusal> {
    let says = |message: &str| Err(Refusal::new(ErrorCode::InvalidRequest, message));
    if request.group_id.trim().is_empty() {
        return says("GroupId can't be empty.");
    }
    if request.member_id.trim().is_empty() {
        return says("MemberId can't be empty.");
    }
    if request.member_id.encode_utf16().count() > MEMBER_ID_LEN_MAX {
        return says("MemberId is longer than a UUID can be.");
    }
    if request.rack_id.as_deref().is_some_and(|rack| rack.trim().is_empty()) {
        return says("RackId can't be empty.");
    }
    if request.member_epoch < LEAVE_EPOCH {
        return says("MemberEpoch is invalid.");
    }
    let has_subscription = request.subscribed_topic_names.as_ref().is_some_and(|names| !names.is_empty());
    if request.member_epoch == JOIN_EPOCH && !has_subscription {
        return says("SubscribedTopicNames must be set in first request.");
    }
    Ok(())
}
