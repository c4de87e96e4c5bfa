//! The group coordinator as the rest of the broker sees it: one method an API, each answering through a callback.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_metadata::{Changes, MetadataImage};
use ottla_types::{LeaderEpoch, MonoMs, Now, Offset, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::delete_groups_response::Result as DeletedGroup;
use ottla_wire::messages::describe_groups_response::Group as DescribedGroup;
use ottla_wire::messages::leave_group_request::Member as LeavingMember;
use ottla_wire::messages::leave_group_response::Member as LeftMember;
use ottla_wire::messages::list_groups_response::Group as ListedGroup;
use ottla_wire::messages::offset_commit_response::{
    Partition as CommittedPartition, Topic as CommittedTopic,
};
use ottla_wire::messages::offset_fetch_request::{Group as FetchGroup, GroupTopic as FetchTopic};
use ottla_wire::messages::offset_fetch_response::{
    Group as FetchedGroup, GroupTopic as FetchedTopic, GroupTopicPartition as FetchedPartition, Topic,
    TopicPartition,
};
use ottla_wire::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, ListGroupsRequest, ListGroupsResponse, OffsetCommitRequest, OffsetCommitResponse,
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest, OffsetFetchResponse, SyncGroupRequest,
    SyncGroupResponse, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};

use super::config::GroupCoordinatorConfig;
use super::context::RequestContext;
use super::errors;
use super::listing::ListFilter;
use super::metadata::{ChangedTopics, SharedMetadata};
use super::offsets::fetch_offsets;
use super::shard::{GroupShard, GroupTurn};
use crate::gather::Gather;
use crate::runtime::{
    Executor, LoadProgress, LoadTask, PartitionReader, PartitionWriter, Responder, Runtime, RuntimeConfig,
    TransactionMarker, partition_for_key,
};

/// The topic that group coordinators keep their state in.
pub const CONSUMER_OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Coordinates the groups whose partition of `__consumer_offsets` this node leads.
///
/// Callbacks are called on whichever thread brings their answer about, never while a shard is held.
pub struct GroupCoordinator {
    pub(super) config: Arc<GroupCoordinatorConfig>,
    pub(super) metadata: Arc<SharedMetadata>,
    pub(super) runtime: Runtime<GroupShard>,
}

impl std::fmt::Debug for GroupCoordinator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupCoordinator").field("runtime", &self.runtime).finish_non_exhaustive()
    }
}

/// Reads the log of a shard back; see [`GroupCoordinator::next_load`].
#[derive(Debug)]
pub struct GroupLoad(LoadTask<GroupShard>);

impl GroupLoad {
    /// Reads and replays one buffer, on the caller's thread.
    pub fn step(&mut self, now: Now) -> LoadProgress {
        self.0.step(now)
    }
}

impl GroupCoordinator {
    pub fn new(
        config: GroupCoordinatorConfig,
        writer: Arc<dyn PartitionWriter>,
        reader: Arc<dyn PartitionReader>,
    ) -> GroupCoordinator {
        let config = Arc::new(config);
        let runtime_config = RuntimeConfig {
            write_timeout_ms: config.offsets_commit_timeout_ms,
            append_linger_ms: config.append_linger_ms,
            load_buffer_bytes: config.offsets_load_buffer_size,
        };
        let metadata = Arc::new(SharedMetadata::new(
            config.consumer.assignment_interval_ms.default,
            config.share.assignment_interval_ms.default,
        ));
        let of_shard = (Arc::clone(&config), Arc::clone(&metadata));
        let new_shard = move |_: &ottla_types::TopicPartition| {
            let (config, metadata) = &of_shard;
            GroupShard::new(Arc::clone(config), Arc::clone(metadata))
        };
        let runtime = Runtime::new(CONSUMER_OFFSETS_TOPIC, runtime_config, writer, reader, new_shard);
        GroupCoordinator { config, metadata, runtime }
    }

    /// Has `executor` do what would hold up a shard. Without it the thread does so that has run the shard.
    #[must_use]
    pub fn with_executor(mut self, executor: Executor) -> GroupCoordinator {
        self.runtime = self.runtime.with_executor(executor);
        self
    }

    /// Begins to serve, with this many partitions of `__consumer_offsets`: those that the topic has, or else
    /// `offsets.topic.num.partitions`. Until then all requests are answered COORDINATOR_NOT_AVAILABLE.
    pub fn start(&self, partitions: i32) {
        self.runtime.start(partitions);
    }

    /// Stops serving and gives all shards up.
    pub fn stop(&self) {
        self.runtime.stop();
    }

    /// The partition of `__consumer_offsets` that holds the group: its leader is the group's coordinator. `None` before
    /// the start.
    pub fn partition_for(&self, group_id: &str) -> Option<i32> {
        self.runtime.partition_for(group_id)
    }

    /// This node leads `partition` of `__consumer_offsets` from now on; see [`GroupCoordinator::next_load`].
    pub fn on_partition_leader(&self, partition: i32, epoch: LeaderEpoch) {
        self.runtime.become_leader(partition, epoch);
    }

    /// This node no longer leads `partition`: since this epoch, or it has no replica of it any more.
    pub fn on_resign(&self, partition: i32, epoch: Option<LeaderEpoch>) {
        self.runtime.resign(partition, epoch);
    }

    /// The next shard to load. Its requests are answered COORDINATOR_LOAD_IN_PROGRESS until somebody has stepped the
    /// task through, on a thread that may wait for the disk.
    pub fn next_load(&self) -> Option<GroupLoad> {
        self.runtime.next_load().map(GroupLoad)
    }

    /// The high watermark of `partition` is `offset` now; see [`PartitionWriter`] for where this may be called from.
    pub fn high_watermark_updated(&self, partition: i32, offset: Offset) {
        self.runtime.high_watermark_updated(partition, offset);
    }

    /// Topics with these names and ids are gone, and with them the offsets committed for them.
    pub fn on_topics_deleted(&self, topics: &[(String, Uuid)], now: Now) {
        for partition in self.runtime.partitions() {
            let topics = topics.to_vec();
            self.runtime.submit(
                partition,
                now,
                Responder::new(|_: Result<(), ErrorCode>| {}),
                move |shard, turn, done| {
                    shard.topics_deleted(turn, &topics);
                    turn.reply(done, ());
                },
            );
        }
    }

    /// The metadata is this from now on. Before the first image no topic exists.
    pub fn on_new_image(
        &self,
        previous: &MetadataImage,
        image: &Arc<MetadataImage>,
        changes: &Changes,
        now: Now,
    ) {
        self.metadata.set_image(Arc::clone(image));
        let changed = ChangedTopics::new(image, previous, changes);
        for partition in self.runtime.partitions() {
            let (image, changed) = (Arc::clone(image), changed.clone());
            let nobody = Responder::new(|_: Result<(), ErrorCode>| {});
            self.runtime.submit(partition, now, nobody, move |shard, turn, done| {
                shard.new_image(turn, image, &changed);
                turn.reply_at_once(done, Ok(()));
            });
        }
    }

    pub(super) fn topic_id(&self, name: &str) -> Option<Uuid> {
        Some(self.metadata.image().topics.by_name(name)?.id)
    }

    pub(super) fn topic_name(&self, id: Uuid) -> Option<String> {
        Some(self.metadata.image().topics.by_id(id)?.name.to_string())
    }

    pub fn tick(&self, now: Now) {
        self.runtime.tick(now);
    }

    /// When [`GroupCoordinator::tick`] has something to do next. Any request may bring it forward, so look again in between.
    pub fn next_deadline(&self) -> MonoMs {
        self.runtime.next_deadline()
    }

    pub fn join_group(
        &self,
        context: RequestContext,
        mut request: JoinGroupRequest,
        reply: impl FnOnce(JoinGroupResponse) + Send + 'static,
    ) {
        let api_version = context.api_version;
        let reply = move |mut response: JoinGroupResponse| {
            if api_version < 7 {
                // These versions have no null here.
                response.protocol_name.get_or_insert_default();
            } else {
                response.protocol_name = response.protocol_name.filter(|name| !name.is_empty());
            }
            reply(response);
        };
        if api_version == 0 {
            request.rebalance_timeout_ms = request.session_timeout_ms;
        }
        let timeouts = self.config.group_min_session_timeout_ms..=self.config.group_max_session_timeout_ms;
        let partition = match self.partition_of_named(&request.group_id) {
            Ok(_) if !timeouts.contains(&request.session_timeout_ms) => {
                return reply(errors::join(ErrorCode::InvalidSessionTimeout, &request.member_id));
            }
            Ok(partition) => partition,
            Err(code) => return reply(errors::join(code, &request.member_id)),
        };
        let now = context.now;
        let responder = responder(reply, |code| errors::join(code, ""));
        self.runtime.submit(partition, now, responder, move |shard, turn, responder| {
            shard.join(turn, &context, request, responder);
        });
    }

    pub fn sync_group(
        &self,
        context: RequestContext,
        request: SyncGroupRequest,
        reply: impl FnOnce(SyncGroupResponse) + Send + 'static,
    ) {
        let partition = match self.partition_of_named(&request.group_id) {
            Ok(partition) => partition,
            Err(code) => return reply(errors::sync(code)),
        };
        let responder = responder(reply, errors::sync);
        self.runtime.submit(partition, context.now, responder, move |shard, turn, responder| {
            shard.sync(turn, request, responder);
        });
    }

    pub fn heartbeat(
        &self,
        context: RequestContext,
        request: HeartbeatRequest,
        reply: impl FnOnce(HeartbeatResponse) + Send + 'static,
    ) {
        let error = |code: ErrorCode| {
            // The session is not over while the coordinator is loading: the member need not know.
            let code = if code == ErrorCode::CoordinatorLoadInProgress { ErrorCode::None } else { code };
            HeartbeatResponse { error_code: code.code(), ..HeartbeatResponse::default() }
        };
        let partition = match self.partition_of_named(&request.group_id) {
            Ok(partition) => partition,
            Err(code) => return reply(error(code)),
        };
        self.runtime.submit(
            partition,
            context.now,
            responder(reply, error),
            move |shard, turn, responder| {
                shard.heartbeat(turn, request, responder);
            },
        );
    }

    pub fn leave_group(
        &self,
        context: RequestContext,
        mut request: LeaveGroupRequest,
        reply: impl FnOnce(LeaveGroupResponse) + Send + 'static,
    ) {
        let is_batched = context.api_version >= 3;
        if !is_batched {
            let member_id = std::mem::take(&mut request.member_id);
            request.members = vec![LeavingMember { member_id, ..LeavingMember::default() }];
        }
        let reply = move |mut response: LeaveGroupResponse| {
            if !is_batched {
                let of_member = response.members.first().map_or(0, |member| member.error_code);
                response.error_code = if response.error_code == 0 { of_member } else { response.error_code };
                response.members.clear();
            }
            reply(response);
        };
        let error =
            |code: ErrorCode| LeaveGroupResponse { error_code: code.code(), ..LeaveGroupResponse::default() };
        let partition = match self.partition_of_named(&request.group_id) {
            Ok(partition) => partition,
            Err(code) => return reply(error(code)),
        };
        let members = request.members.clone();
        let responder = responder(reply, move |code| match code {
            ErrorCode::UnknownMemberId => {
                let members = members.into_iter().map(unknown).collect();
                LeaveGroupResponse { members, ..LeaveGroupResponse::default() }
            }
            code => error(code),
        });
        self.runtime.submit(partition, context.now, responder, move |shard, turn, responder| {
            shard.leave(turn, request, responder);
        });
    }

    /// Topics must come with their names, and with their ids where the request has them: whoever knows the metadata has
    /// resolved and answered for what is unknown.
    pub fn offset_commit(
        &self,
        context: RequestContext,
        request: OffsetCommitRequest,
        reply: impl FnOnce(OffsetCommitResponse) + Send + 'static,
    ) {
        let template = request.topics.clone();
        let error = move |code: ErrorCode| {
            let topics = template.into_iter().map(|topic| {
                let partitions = topic.partitions.into_iter().map(|partition| CommittedPartition {
                    partition_index: partition.partition_index,
                    error_code: code.code(),
                    ..CommittedPartition::default()
                });
                CommittedTopic {
                    name: topic.name,
                    topic_id: topic.topic_id,
                    partitions: partitions.collect(),
                    ..CommittedTopic::default()
                }
            });
            OffsetCommitResponse { topics: topics.collect(), ..OffsetCommitResponse::default() }
        };
        let Some(partition) = self.partition_for(&request.group_id) else {
            return reply(error(ErrorCode::CoordinatorNotAvailable));
        };
        let now = context.now;
        self.runtime.submit(partition, now, responder(reply, error), move |shard, turn, responder| {
            shard.commit_offsets(turn, &context, request, responder);
        });
    }

    /// Topics of version 10 must come with names and ids, as in [`GroupCoordinator::offset_commit`].
    pub fn offset_fetch(
        &self,
        context: RequestContext,
        request: OffsetFetchRequest,
        reply: impl FnOnce(OffsetFetchResponse) + Send + 'static,
    ) {
        let api_version = context.api_version;
        let require_stable = request.require_stable;
        let groups = groups_of_fetch(request, api_version);
        let gather = Gather::new(groups.len(), move |groups| reply(fetch_response(groups, api_version)));
        for (index, group) in groups.into_iter().enumerate() {
            let gather = Arc::clone(&gather);
            self.fetch_group(&context, group, require_stable, move |group| gather.put(index, group));
        }
    }

    fn fetch_group(
        &self,
        context: &RequestContext,
        group: FetchGroup,
        require_stable: bool,
        reply: impl FnOnce(FetchedGroup) + Send + 'static,
    ) {
        let api_version = context.api_version;
        let template = group.clone();
        let partition = self.partition_for(&group.group_id);
        let responder = Responder::new(move |result: Result<FetchedGroup, ErrorCode>| {
            let error = |code| fetch_error(template, errors::of_offset_fetch(code), api_version);
            reply(result.unwrap_or_else(error));
        });
        let Some(partition) = partition else {
            responder.answer(Err(ErrorCode::CoordinatorNotAvailable));
            return;
        };
        self.runtime.submit(partition, context.now, responder, move |_, turn, responder| {
            let state = if require_stable { turn.state } else { turn.committed };
            match fetch_offsets(state, group, require_stable) {
                // What an open transaction may still change is answered from all that is written, once that is safe.
                Ok(fetched) if require_stable => turn.reply(responder, fetched),
                result => turn.reply_at_once(responder, result),
            }
        });
    }

    /// Commits as part of a transaction: nobody hears of the offsets unless it is committed. `verification` is the number
    /// that the log has given for the transaction, where one was needed. Topics that are unknown must be answered for
    /// before.
    pub fn txn_offset_commit(
        &self,
        context: RequestContext,
        request: TxnOffsetCommitRequest,
        verification: Option<u64>,
        reply: impl FnOnce(TxnOffsetCommitResponse) + Send + 'static,
    ) {
        let template = request.topics.clone();
        let error = move |code: ErrorCode| errors::txn_offset_commit(template, code);
        let partition = match self.partition_of_named(&request.group_id) {
            Ok(partition) => partition,
            Err(code) => return reply(error(code)),
        };
        let now = context.now;
        self.runtime.submit(partition, now, responder(reply, error), move |shard, turn, responder| {
            shard.commit_transactional_offsets(turn, request, verification, responder);
        });
    }

    /// Ends a transaction that may have committed offsets in `partition` of `__consumer_offsets`: appends the marker, and
    /// answers when it is committed.
    pub fn end_transaction(
        &self,
        partition: i32,
        marker: TransactionMarker,
        now: Now,
        reply: impl FnOnce(Result<(), ErrorCode>) + Send + 'static,
    ) {
        self.runtime.end_transaction(partition, now, marker, Responder::new(reply));
    }

    pub fn offset_delete(
        &self,
        context: RequestContext,
        request: OffsetDeleteRequest,
        reply: impl FnOnce(OffsetDeleteResponse) + Send + 'static,
    ) {
        let error = |code: ErrorCode| OffsetDeleteResponse {
            error_code: code.code(),
            ..OffsetDeleteResponse::default()
        };
        let partition = match self.partition_of_named(&request.group_id) {
            Ok(partition) => partition,
            Err(code) => return reply(error(code)),
        };
        self.runtime.submit(
            partition,
            context.now,
            responder(reply, error),
            move |shard, turn, responder| {
                shard.delete_offsets(turn, request, responder);
            },
        );
    }

    pub fn delete_groups(
        &self,
        context: RequestContext,
        request: DeleteGroupsRequest,
        reply: impl FnOnce(DeleteGroupsResponse) + Send + 'static,
    ) {
        let finish = move |results: Vec<DeletedGroup>| {
            reply(DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() });
        };
        let error = |group_id: String, code: ErrorCode| DeletedGroup {
            group_id,
            error_code: code.code(),
            ..DeletedGroup::default()
        };
        self.for_groups(
            &context,
            request.groups_names,
            error,
            finish,
            |shard, turn, group_ids, responder| {
                shard.delete_groups(turn, group_ids, responder);
            },
        );
    }

    pub fn describe_groups(
        &self,
        context: RequestContext,
        request: DescribeGroupsRequest,
        reply: impl FnOnce(DescribeGroupsResponse) + Send + 'static,
    ) {
        let api_version = context.api_version;
        let finish = move |groups: Vec<DescribedGroup>| {
            reply(DescribeGroupsResponse { groups, ..DescribeGroupsResponse::default() });
        };
        let error = |group_id: String, code: ErrorCode| DescribedGroup {
            group_id,
            error_code: code.code(),
            ..DescribedGroup::default()
        };
        self.for_groups(&context, request.groups, error, finish, move |shard, turn, group_ids, responder| {
            let described = shard.describe(turn, group_ids, api_version);
            turn.reply_at_once(responder, Ok(described));
        });
    }

    /// Lists the groups that this node coordinates.
    pub fn list_groups(
        &self,
        context: RequestContext,
        request: ListGroupsRequest,
        reply: impl FnOnce(ListGroupsResponse) + Send + 'static,
    ) {
        if self.runtime.topic_partitions().is_none() {
            let error_code = ErrorCode::CoordinatorNotAvailable.code();
            return reply(ListGroupsResponse { error_code, ..ListGroupsResponse::default() });
        }
        let filter = ListFilter::new(&request.states_filter, &request.types_filter);
        let partitions = self.runtime.partitions();
        let gather = Gather::new(partitions.len(), move |parts| reply(list_response(parts)));
        for (index, partition) in partitions.into_iter().enumerate() {
            let gather = Arc::clone(&gather);
            let responder = Responder::new(move |listed| gather.put(index, listed));
            let filter = filter.clone();
            self.runtime.submit(partition, context.now, responder, move |shard, turn, responder| {
                let listed = shard.list(turn, &filter);
                turn.reply_at_once(responder, Ok(listed));
            });
        }
    }

    /// Asks each shard for its part of the groups, and answers when all have answered.
    pub(super) fn for_groups<T: Send + 'static>(
        &self,
        context: &RequestContext,
        group_ids: Vec<String>,
        error: impl Fn(String, ErrorCode) -> T + Copy + Send + 'static,
        finish: impl FnOnce(Vec<T>) + Send + 'static,
        operation: impl Fn(&mut GroupShard, &mut GroupTurn<'_>, Vec<String>, Responder<Vec<T>>)
        + Copy
        + Send
        + 'static,
    ) {
        let Some(partitions) = self.runtime.topic_partitions() else {
            let refused = |group_id| error(group_id, ErrorCode::CoordinatorNotAvailable);
            return finish(group_ids.into_iter().map(refused).collect());
        };
        let mut by_partition: BTreeMap<i32, Vec<String>> = BTreeMap::new();
        for group_id in group_ids {
            by_partition.entry(partition_for_key(&group_id, partitions)).or_default().push(group_id);
        }
        let gather = Gather::new(by_partition.len(), |parts: Vec<Vec<T>>| {
            finish(parts.into_iter().flatten().collect());
        });
        for (index, (partition, group_ids)) in by_partition.into_iter().enumerate() {
            let gather = Arc::clone(&gather);
            let of_error = group_ids.clone();
            let responder = responder(
                move |part| gather.put(index, part),
                move |code| of_error.into_iter().map(|group_id| error(group_id, code)).collect(),
            );
            self.runtime.submit(partition, context.now, responder, move |shard, turn, responder| {
                operation(shard, turn, group_ids, responder);
            });
        }
    }

    /// The partition of a group that must have a name: one whose members the coordinator manages.
    pub(super) fn partition_of_named(&self, group_id: &str) -> Result<i32, ErrorCode> {
        let partition = self.partition_for(group_id).ok_or(ErrorCode::CoordinatorNotAvailable)?;
        if group_id.is_empty() { Err(ErrorCode::InvalidGroupId) } else { Ok(partition) }
    }
}

pub(super) fn responder<R: Send + 'static>(
    reply: impl FnOnce(R) + Send + 'static,
    error: impl FnOnce(ErrorCode) -> R + Send + 'static,
) -> Responder<R> {
    Responder::new(move |result: Result<R, ErrorCode>| {
        reply(result.unwrap_or_else(|code| error(errors::of_operation(code))));
    })
}

fn unknown(member: LeavingMember) -> LeftMember {
    LeftMember {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        error_code: ErrorCode::UnknownMemberId.code(),
        ..LeftMember::default()
    }
}

/// Before version 8 a request is for one group.
fn groups_of_fetch(request: OffsetFetchRequest, api_version: i16) -> Vec<FetchGroup> {
    if api_version >= 8 {
        return request.groups;
    }
    let topics = request.topics.map(|topics| {
        let topic = |topic: ottla_wire::messages::offset_fetch_request::Topic| FetchTopic {
            name: topic.name,
            partition_indexes: topic.partition_indexes,
            ..FetchTopic::default()
        };
        topics.into_iter().map(topic).collect()
    });
    vec![FetchGroup { group_id: request.group_id, topics, ..FetchGroup::default() }]
}

fn fetch_response(mut groups: Vec<FetchedGroup>, api_version: i16) -> OffsetFetchResponse {
    if api_version >= 8 {
        return OffsetFetchResponse { groups, ..OffsetFetchResponse::default() };
    }
    let Some(group) = groups.pop() else { return OffsetFetchResponse::default() };
    let partition = |partition: FetchedPartition| TopicPartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
        ..TopicPartition::default()
    };
    let topic = |topic: FetchedTopic| Topic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
        ..Topic::default()
    };
    OffsetFetchResponse {
        topics: group.topics.into_iter().map(topic).collect(),
        error_code: group.error_code,
        ..OffsetFetchResponse::default()
    }
}

/// Version 1 has room for errors with the partitions alone.
fn fetch_error(group: FetchGroup, code: ErrorCode, api_version: i16) -> FetchedGroup {
    if api_version >= 2 {
        return FetchedGroup { group_id: group.group_id, error_code: code.code(), ..FetchedGroup::default() };
    }
    let topic = |topic: FetchTopic| FetchedTopic {
        name: topic.name,
        partitions: topic
            .partition_indexes
            .into_iter()
            .map(|partition_index| FetchedPartition {
                partition_index,
                committed_offset: -1,
                committed_leader_epoch: -1,
                metadata: Some(String::new()),
                error_code: code.code(),
                ..FetchedPartition::default()
            })
            .collect(),
        ..FetchedTopic::default()
    };
    let topics = group.topics.unwrap_or_default().into_iter().map(topic).collect();
    FetchedGroup { group_id: group.group_id, topics, ..FetchedGroup::default() }
}

/// Shards that were lost meanwhile have nothing to list; one that is loading makes the list incomplete, so there is none.
fn list_response(parts: Vec<Result<Vec<ListedGroup>, ErrorCode>>) -> ListGroupsResponse {
    let mut groups = Vec::new();
    for part in parts {
        match part {
            Ok(listed) => groups.extend(listed),
            Err(ErrorCode::NotCoordinator) => {}
            Err(code) => {
                let error_code = errors::of_operation(code).code();
                return ListGroupsResponse { error_code, ..ListGroupsResponse::default() };
            }
        }
    }
    ListGroupsResponse { groups, ..ListGroupsResponse::default() }
}
