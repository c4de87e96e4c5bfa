//! The APIs of share groups, as the rest of the broker sees them: what the group's own log says, and what the share
//! coordinator is asked before or after.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use ottla_types::{Now, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::delete_groups_response::Result as DeletedGroup;
use ottla_wire::messages::delete_share_group_offsets_response::Response as DeletedTopic;
use ottla_wire::messages::describe_share_group_offsets_request::Group as AskedGroup;
use ottla_wire::messages::describe_share_group_offsets_response::{
    Group as OffsetsOfGroup, Partition as OffsetsOfPartition, Topic as OffsetsOfTopic,
};
use ottla_wire::messages::share_group_describe_response::Group as DescribedGroup;
use ottla_wire::messages::{
    AlterShareGroupOffsetsRequest, AlterShareGroupOffsetsResponse, DeleteGroupsRequest, DeleteGroupsResponse,
    DeleteShareGroupOffsetsRequest, DeleteShareGroupOffsetsResponse, DescribeShareGroupOffsetsRequest,
    DescribeShareGroupOffsetsResponse, ShareGroupDescribeRequest, ShareGroupDescribeResponse,
    ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse,
};

use super::check::{Found, Inquiry};
use super::heartbeat::{Answered, refused, validate};
use super::initialize::Initialization;
use super::offsets::{Alteration, GroupDeletion, OffsetDeletion, answered_partition};
use crate::gather::Gather;
use crate::group::consumer::refusal::Refusal;
use crate::group::context::RequestContext;
use crate::group::coordinator::{GroupCoordinator, responder};
use crate::group::errors;
use crate::runtime::Responder;
use crate::share_state::{Outcome, SharePartitionKey, StateSummary};

/// Takes what the share coordinator answered, and when that was.
pub type StateAnswer<T> = Box<dyn FnOnce(Outcome<T>, Now) + Send>;

/// The share coordinator, wherever it is, as the group coordinator needs it. Each call is answered once, with the error if
/// it can't be reached.
pub trait ShareStates: Send + Sync {
    /// `start_offset` of -1: the group begins where its policy says.
    fn initialize(
        &self,
        key: SharePartitionKey,
        state_epoch: i32,
        start_offset: i64,
        now: Now,
        done: StateAnswer<()>,
    );

    fn delete(&self, key: SharePartitionKey, now: Now, done: StateAnswer<()>);

    fn summarize(&self, key: SharePartitionKey, now: Now, done: StateAnswer<StateSummary>);

    /// The end of a partition as consumers see it; none if it can't be had.
    fn latest_offset(&self, topic_id: Uuid, partition: i32, done: Box<dyn FnOnce(Option<i64>) + Send>);
}

/// Share groups: their coordinator, and the way to the share coordinator.
#[derive(Clone)]
pub struct ShareGroups {
    pub groups: Arc<GroupCoordinator>,
    pub states: Arc<dyn ShareStates>,
}

impl std::fmt::Debug for ShareGroups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShareGroups").field("groups", &self.groups).finish_non_exhaustive()
    }
}

type Outcomes = BTreeMap<(Uuid, i32), Result<(), ErrorCode>>;

/// What was answered of a partition, and when.
type OutcomeAt = ((Uuid, i32), Result<(), ErrorCode>, Now);

/// Whether there is a state of a partition, and when that was said.
type FoundAt = ((Uuid, i32), Result<bool, ErrorCode>, Now);

impl GroupCoordinator {
    /// `group.share.assignment.interval.ms` is this from now on, in milliseconds.
    pub fn set_share_assignment_interval_ms(&self, interval_ms: i32) {
        self.metadata.set_share_assignment_interval_ms(interval_ms);
    }
}

impl ShareGroups {
    pub fn heartbeat(
        &self,
        context: RequestContext,
        request: ShareGroupHeartbeatRequest,
        reply: impl FnOnce(ShareGroupHeartbeatResponse) + Send + 'static,
    ) {
        let error = |code: ErrorCode| ShareGroupHeartbeatResponse {
            error_code: code.code(),
            ..ShareGroupHeartbeatResponse::default()
        };
        let Some(partition) = self.groups.partition_for(&request.group_id) else {
            return reply(error(ErrorCode::CoordinatorNotAvailable));
        };
        if let Err(refusal) = validate(&request) {
            return reply(refused(refusal));
        }
        let (of, now) = (self.clone(), context.now);
        let answered = move |Answered { response, initialization, inquiry }: Answered| {
            reply(response);
            if let Some(initialization) = initialization {
                of.initialize(initialization, now, |_| {});
            }
            if let Some(inquiry) = inquiry {
                of.look_for_states(inquiry, now);
            }
        };
        let responder = responder(answered, move |code| error(code).into());
        self.groups.runtime.submit(partition, now, responder, move |shard, turn, responder| {
            shard.share_heartbeat(turn, &context, &request, responder);
        });
    }

    /// Tells the share coordinator, then writes what it answered.
    fn initialize(
        &self,
        initialization: Initialization,
        now: Now,
        done: impl FnOnce(Outcomes) + Send + 'static,
    ) {
        let Initialization { group_id, state_epoch, partitions } = initialization;
        let (of, of_group) = (self.clone(), Arc::clone(&group_id));
        let gather = Gather::new(partitions.len(), move |answers: Vec<OutcomeAt>| {
            let now = answers.iter().map(|(_, _, now)| *now).max_by_key(|now| now.mono).unwrap_or(now);
            let outcomes: Outcomes =
                answers.into_iter().map(|(partition, outcome, _)| (partition, outcome)).collect();
            let Some(shard) = of.groups.partition_for(&of_group) else { return done(outcomes) };
            let of_operation = outcomes.clone();
            let responder = Responder::new(move |_: Result<(), ErrorCode>| done(outcomes));
            of.groups.runtime.submit(shard, now, responder, move |shard, turn, responder| {
                shard.initialized(turn, &of_group, &of_operation, responder);
            });
        });
        for (index, (topic_id, partition, start_offset)) in partitions.into_iter().enumerate() {
            let gather = Arc::clone(&gather);
            let key = SharePartitionKey::new(Arc::clone(&group_id), topic_id, partition);
            let done = Box::new(move |outcome: Outcome<()>, now| {
                gather.put(index, ((topic_id, partition), outcome.map_err(|error| error.code), now));
            });
            self.states.initialize(key, state_epoch, start_offset, now, done);
        }
    }

    /// Asks the share coordinator what it has of a group, and hands on what it answered.
    fn look_for_states(&self, inquiry: Inquiry, now: Now) {
        let Inquiry { group_id, number, partitions } = inquiry;
        let (of, of_group) = (self.clone(), Arc::clone(&group_id));
        let gather = Gather::new(partitions.len(), move |answers: Vec<FoundAt>| {
            let now = answers.iter().map(|(_, _, now)| *now).max_by_key(|now| now.mono).unwrap_or(now);
            let found: Found = answers.into_iter().map(|(partition, found, _)| (partition, found)).collect();
            let Some(shard) = of.groups.partition_for(&of_group) else { return };
            let nobody = Responder::new(|_: Result<(), ErrorCode>| {});
            of.groups.runtime.submit(shard, now, nobody, move |shard, turn, responder| {
                shard.checked(turn, &of_group, number, &found, responder);
            });
        });
        for (index, (topic_id, partition)) in partitions.into_iter().enumerate() {
            let gather = Arc::clone(&gather);
            let key = SharePartitionKey::new(Arc::clone(&group_id), topic_id, partition);
            let done = Box::new(move |outcome: Outcome<StateSummary>, now| {
                let found = outcome.map(|summary| summary != StateSummary::NONE).map_err(|error| error.code);
                gather.put(index, ((topic_id, partition), found, now));
            });
            self.states.summarize(key, now, done);
        }
    }

    pub fn describe(
        &self,
        context: RequestContext,
        request: ShareGroupDescribeRequest,
        reply: impl FnOnce(ShareGroupDescribeResponse) + Send + 'static,
    ) {
        let finish = move |groups: Vec<DescribedGroup>| {
            reply(ShareGroupDescribeResponse { groups, ..ShareGroupDescribeResponse::default() });
        };
        let error = |group_id: String, code: ErrorCode| DescribedGroup {
            group_id,
            error_code: code.code(),
            ..DescribedGroup::default()
        };
        self.groups.for_groups(&context, request.group_ids, error, finish, |shard, turn, ids, responder| {
            let described = shard.describe_share_groups(turn, ids);
            turn.reply_at_once(responder, Ok(described));
        });
    }

    pub fn describe_offsets(
        &self,
        context: RequestContext,
        request: DescribeShareGroupOffsetsRequest,
        reply: impl FnOnce(DescribeShareGroupOffsetsResponse) + Send + 'static,
    ) {
        let gather = Gather::new(request.groups.len(), move |groups| {
            reply(DescribeShareGroupOffsetsResponse {
                groups,
                ..DescribeShareGroupOffsetsResponse::default()
            });
        });
        for (index, group) in request.groups.into_iter().enumerate() {
            let gather = Arc::clone(&gather);
            self.describe_offsets_of(&context, group, move |described| gather.put(index, described));
        }
    }

    fn describe_offsets_of(
        &self,
        context: &RequestContext,
        asked: AskedGroup,
        reply: impl FnOnce(OffsetsOfGroup) + Send + 'static,
    ) {
        let AskedGroup { group_id, topics, .. } = asked;
        let (now, api_version, of) = (context.now, context.api_version, self.clone());
        let refuse = |group_id: String, code: ErrorCode| OffsetsOfGroup {
            group_id,
            error_code: code.code(),
            error_message: Some(code.description().to_owned()),
            ..OffsetsOfGroup::default()
        };
        let Some(shard) = self.groups.partition_for(&group_id) else {
            return reply(refuse(group_id, ErrorCode::CoordinatorNotAvailable));
        };
        if let Some(topics) = topics {
            let topics = topics.into_iter().map(|topic| {
                let id = of.groups.topic_id(&topic.topic_name);
                (topic.topic_name, id, topic.partitions)
            });
            return self.summarize(group_id, topics.collect(), now, api_version, reply);
        }
        let of_operation = group_id.clone();
        let responder =
            Responder::new(move |found: Result<BTreeMap<Uuid, Vec<i32>>, ErrorCode>| match found {
                Ok(found) => {
                    let topics = found.into_iter().filter_map(|(topic_id, partitions)| {
                        Some((of.groups.topic_name(topic_id)?, Some(topic_id), partitions))
                    });
                    of.summarize(group_id, topics.collect(), now, api_version, reply);
                }
                Err(code) => reply(refuse(group_id, errors::of_operation(code))),
            });
        self.groups.runtime.submit(shard, now, responder, move |shard, turn, responder| {
            let found = shard.initialized_partitions(turn, &of_operation);
            turn.reply_at_once(responder, Ok(found));
        });
    }

    /// Asks the share coordinator where a group stands. A topic without an id is unknown: the group stands nowhere in it.
    fn summarize(
        &self,
        group_id: String,
        topics: Vec<(String, Option<Uuid>, Vec<i32>)>,
        now: Now,
        api_version: i16,
        reply: impl FnOnce(OffsetsOfGroup) + Send + 'static,
    ) {
        let asked: Vec<(usize, Option<Uuid>, i32)> = topics
            .iter()
            .enumerate()
            .flat_map(|(index, (_, id, partitions))| partitions.iter().map(move |p| (index, *id, *p)))
            .collect();
        let of_group = group_id.clone();
        let gather = Gather::new(asked.len(), move |answers: Vec<(usize, OffsetsOfPartition)>| {
            let mut described: Vec<OffsetsOfTopic> = topics
                .into_iter()
                .map(|(topic_name, topic_id, _)| OffsetsOfTopic {
                    topic_name,
                    topic_id: topic_id.unwrap_or(Uuid::ZERO),
                    ..OffsetsOfTopic::default()
                })
                .collect();
            for (index, partition) in answers {
                if let Some(topic) = described.get_mut(index) {
                    topic.partitions.push(partition);
                }
            }
            reply(OffsetsOfGroup { group_id, topics: described, ..OffsetsOfGroup::default() });
        });
        for (slot, (index, topic_id, partition)) in asked.into_iter().enumerate() {
            let gather = Arc::clone(&gather);
            let Some(topic_id) = topic_id else {
                gather.put(slot, (index, described_offsets(partition, &StateSummary::NONE, None)));
                continue;
            };
            let key = SharePartitionKey::new(of_group.as_str(), topic_id, partition);
            let states = Arc::clone(&self.states);
            let done = Box::new(move |outcome: Outcome<StateSummary>, _| match outcome {
                Ok(summary) if api_version >= 1 && summary.has_lag() => {
                    let told = Box::new(move |end: Option<i64>| {
                        let lag = end.map(|end| summary.lag(end));
                        gather.put(slot, (index, described_offsets(partition, &summary, lag)));
                    });
                    states.latest_offset(topic_id, partition, told);
                }
                Ok(summary) => gather.put(slot, (index, described_offsets(partition, &summary, None))),
                Err(error) => gather.put(slot, (index, offsets_error(partition, error.code))),
            });
            self.states.summarize(key, now, done);
        }
    }

    pub fn alter_offsets(
        &self,
        context: RequestContext,
        request: AlterShareGroupOffsetsRequest,
        reply: impl FnOnce(AlterShareGroupOffsetsResponse) + Send + 'static,
    ) {
        let refuse = |code: ErrorCode, message: Option<String>| AlterShareGroupOffsetsResponse {
            error_code: code.code(),
            error_message: message.or_else(|| Some(code.description().to_owned())),
            ..AlterShareGroupOffsetsResponse::default()
        };
        let partition = match self.groups.partition_of_named(&request.group_id) {
            Ok(partition) => partition,
            Err(code) => return reply(refuse(code, None)),
        };
        let (of, now) = (self.clone(), context.now);
        let responder = Responder::new(move |altered: Result<Alteration, ErrorCode>| match altered {
            Ok(Ok((mut responses, initialization))) => {
                of.initialize(initialization, now, move |outcomes| {
                    for topic in &mut responses {
                        for partition in &mut topic.partitions {
                            let outcome = outcomes.get(&(topic.topic_id, partition.partition_index));
                            if let Some(Err(code)) = outcome {
                                *partition = answered_partition(partition.partition_index, *code);
                            }
                        }
                    }
                    reply(AlterShareGroupOffsetsResponse {
                        responses,
                        ..AlterShareGroupOffsetsResponse::default()
                    });
                });
            }
            Ok(Err(refusal)) => reply(refuse(refusal.code, Some(refusal.message))),
            Err(code) => reply(refuse(errors::of_operation(code), None)),
        });
        self.groups.runtime.submit(partition, now, responder, move |shard, turn, responder| {
            let altered = shard.alter_share_offsets(turn, &request.group_id, &request.topics);
            turn.reply(responder, altered);
        });
    }

    pub fn delete_offsets(
        &self,
        context: RequestContext,
        request: DeleteShareGroupOffsetsRequest,
        reply: impl FnOnce(DeleteShareGroupOffsetsResponse) + Send + 'static,
    ) {
        let refuse = |code: ErrorCode, message: Option<String>| DeleteShareGroupOffsetsResponse {
            error_code: code.code(),
            error_message: message.or_else(|| Some(code.description().to_owned())),
            ..DeleteShareGroupOffsetsResponse::default()
        };
        let partition = match self.groups.partition_of_named(&request.group_id) {
            Ok(partition) => partition,
            Err(code) => return reply(refuse(code, None)),
        };
        let (of, now, group_id) = (self.clone(), context.now, request.group_id.clone());
        let responder =
            Responder::new(move |begun: Result<Result<OffsetDeletion, Refusal>, ErrorCode>| match begun {
                Ok(Ok(deletion)) => of.finish_offset_deletion(group_id, deletion, now, reply),
                Ok(Err(refusal)) => reply(refuse(refusal.code, Some(refusal.message))),
                Err(code) => reply(refuse(errors::of_operation(code), None)),
            });
        self.groups.runtime.submit(partition, now, responder, move |shard, turn, responder| {
            let begun = shard.begin_offset_deletion(turn, &request.group_id, &request.topics);
            turn.reply(responder, begun);
        });
    }

    fn finish_offset_deletion(
        &self,
        group_id: String,
        deletion: OffsetDeletion,
        now: Now,
        reply: impl FnOnce(DeleteShareGroupOffsetsResponse) + Send + 'static,
    ) {
        let OffsetDeletion { partitions, names, refused } = deletion;
        let (of, of_group) = (self.clone(), group_id.clone());
        self.delete_states(&group_id, partitions, now, move |outcomes, now| {
            let failed: BTreeMap<Uuid, ErrorCode> =
                outcomes.iter().filter_map(|((id, _), outcome)| Some((*id, outcome.err()?))).collect();
            let deleted: BTreeSet<Uuid> =
                names.keys().copied().filter(|id| !failed.contains_key(id)).collect();
            let answered = names.into_iter().map(|(topic_id, topic_name)| {
                let code = failed.get(&topic_id).copied().unwrap_or(ErrorCode::None);
                DeletedTopic {
                    topic_name,
                    topic_id,
                    error_code: code.code(),
                    error_message: code.is_error().then(|| code.description().to_owned()),
                    ..DeletedTopic::default()
                }
            });
            let responses = answered.chain(refused).collect();
            let some_have_failed = !failed.is_empty();
            let response =
                DeleteShareGroupOffsetsResponse { responses, ..DeleteShareGroupOffsetsResponse::default() };
            let Some(shard) = of.groups.partition_for(&of_group) else { return reply(response) };
            // A topic that is not taken out now is deleted again with the next request for it.
            let responder = Responder::new(move |_: Result<(), ErrorCode>| reply(response));
            of.groups.runtime.submit(shard, now, responder, move |shard, turn, responder| {
                shard.end_offset_deletion(turn, &of_group, &deleted, some_have_failed);
                turn.reply(responder, ());
            });
        });
    }

    /// Deletes what the share coordinator has of these partitions.
    fn delete_states(
        &self,
        group_id: &str,
        partitions: BTreeSet<(Uuid, i32)>,
        now: Now,
        done: impl FnOnce(Outcomes, Now) + Send + 'static,
    ) {
        let gather = Gather::new(partitions.len(), move |answers: Vec<OutcomeAt>| {
            let now = answers.iter().map(|(_, _, now)| *now).max_by_key(|now| now.mono).unwrap_or(now);
            done(answers.into_iter().map(|(partition, outcome, _)| (partition, outcome)).collect(), now);
        });
        for (index, (topic_id, partition)) in partitions.into_iter().enumerate() {
            let gather = Arc::clone(&gather);
            let key = SharePartitionKey::new(group_id, topic_id, partition);
            let done = Box::new(move |outcome: Outcome<()>, now| {
                let outcome = match outcome.map_err(|error| error.code) {
                    // The topic is gone, and its states with it.
                    Err(ErrorCode::UnknownTopicOrPartition) => Ok(()),
                    outcome => outcome,
                };
                gather.put(index, ((topic_id, partition), outcome, now));
            });
            self.states.delete(key, now, done);
        }
    }

    /// Deletes groups of any kind. What the share coordinator has of a share group goes first: a group of the same name
    /// must not find it.
    pub fn delete_groups(
        &self,
        context: RequestContext,
        request: DeleteGroupsRequest,
        reply: impl FnOnce(DeleteGroupsResponse) + Send + 'static,
    ) {
        let of = self.clone();
        let group_ids = request.groups_names.clone();
        let of_deletion = context.clone();
        let finish = move |deletions: Vec<GroupDeletion>| {
            of.delete_groups_without_states(of_deletion, request, deletions, reply);
        };
        let failed = |group_id: String, code: ErrorCode| (group_id, Err(code));
        self.groups.for_groups(&context, group_ids, failed, finish, |shard, turn, ids, responder| {
            let deletions = shard.begin_group_deletions(turn, ids);
            turn.reply(responder, deletions);
        });
    }

    fn delete_groups_without_states(
        &self,
        context: RequestContext,
        mut request: DeleteGroupsRequest,
        deletions: Vec<GroupDeletion>,
        reply: impl FnOnce(DeleteGroupsResponse) + Send + 'static,
    ) {
        let of = self.clone();
        let now = context.now;
        let gather = Gather::new(deletions.len(), move |failed: Vec<Option<DeletedGroup>>| {
            let failed: Vec<DeletedGroup> = failed.into_iter().flatten().collect();
            let with_states: HashSet<&str> = failed.iter().map(|group| group.group_id.as_str()).collect();
            request.groups_names.retain(|group_id| !with_states.contains(group_id.as_str()));
            of.groups.delete_groups(context, request, move |mut response| {
                response.results.extend(failed);
                reply(response);
            });
        });
        let not_deleted = |group_id: String, code: ErrorCode| DeletedGroup {
            group_id,
            error_code: code.code(),
            ..DeletedGroup::default()
        };
        for (index, (group_id, deletion)) in deletions.into_iter().enumerate() {
            let partitions = match deletion {
                Ok(partitions) => partitions,
                Err(code) => {
                    gather.put(index, Some(not_deleted(group_id, code)));
                    continue;
                }
            };
            let gather = Arc::clone(&gather);
            let (of, of_group) = (self.clone(), group_id.clone());
            self.delete_states(&group_id, partitions, now, move |outcomes, now| {
                let Some(code) = outcomes.values().find_map(|outcome| outcome.err()) else {
                    return gather.put(index, None);
                };
                let failed = not_deleted(of_group.clone(), code);
                let Some(shard) = of.groups.partition_for(&of_group) else {
                    return gather.put(index, Some(failed));
                };
                let noted = Responder::new(move |_: Result<(), ErrorCode>| gather.put(index, Some(failed)));
                of.groups.runtime.submit(shard, now, noted, move |shard, turn, noted| {
                    shard.group_deletion_failed(turn, &of_group);
                    turn.reply_at_once(noted, Ok(()));
                });
            });
        }
    }
}

fn described_offsets(partition: i32, summary: &StateSummary, lag: Option<i64>) -> OffsetsOfPartition {
    OffsetsOfPartition {
        partition_index: partition,
        start_offset: summary.start_offset,
        leader_epoch: summary.leader_epoch,
        lag: lag.unwrap_or(-1),
        ..OffsetsOfPartition::default()
    }
}

fn offsets_error(partition: i32, code: ErrorCode) -> OffsetsOfPartition {
    OffsetsOfPartition {
        partition_index: partition,
        start_offset: -1,
        error_code: code.code(),
        error_message: Some(code.description().to_owned()),
        ..OffsetsOfPartition::default()
    }
}
