//! ShareFetch (KIP-932): gives a member of a share group records, and takes what it says of earlier ones.
//!
//! As in Fetch, records are never read into memory: the response names slices of the segments' files.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_config::keys;
use ottla_log::FileSlice;
use ottla_replica::share::{
    AcquireLimits, AcquireMode, ContextKind, SessionKey, SessionPartition, ShareFetchContext,
    ShareFetchParams, ShareFetched, SharePartitionId, ShareSessionRequest,
};
use ottla_types::{MonoMs, Uuid};
use ottla_wire::messages::share_fetch_request::{ShareFetchRequest, Topic};
use ottla_wire::messages::share_fetch_response::{
    AcquiredRecord, CurrentLeader, Partition, Response, ShareFetchResponse,
};
use ottla_wire::{ErrorCode, Records};
use parking_lot::Mutex;

use super::call::{Answer, Call, Context};
use super::partitions::{self, LeaderHints, TopicKey};
use super::share_groups::{self, PartitionErrors, RawBatch};
use crate::node::Node;

/// Acquire modes and renewals came with this version.
const RENEWAL_SINCE: i16 = 2;

pub(super) fn handle(node: &Arc<Node>, call: Call<ShareFetchRequest>) {
    let (context, mut request, answer) = call.into_parts();
    let now = context.now;
    if !share_groups::is_enabled(node) {
        return answer.reply(&error_response(ErrorCode::UnsupportedVersion));
    }
    let is_renewal = context.version() >= RENEWAL_SINCE && request.is_renew_ack;
    let asked = Asked::new(&mut request);
    let checked = check(&request, is_renewal).and_then(|mode| {
        let key = share_groups::session_key(request.group_id.take(), request.member_id.take())?;
        Ok((mode, key))
    });
    let (mode, key) = match checked {
        Ok(checked) => checked,
        Err(code) => return answer.reply(&error_response(code)),
    };
    let session = node.share.sessions.begin(ShareSessionRequest {
        key: key.clone(),
        epoch: request.share_session_epoch,
        connection: context.connection.id,
        partitions: asked.partitions,
        forgotten: asked.forgotten,
        has_acknowledgements: !asked.acknowledgements.is_empty(),
    });
    let session = match session {
        Ok(session) => session,
        Err(code) => {
            let wait_ms = if code == ErrorCode::ShareSessionLimitReached { request.max_wait_ms } else { 0 };
            return refuse_later(node, answer, code, now.mono.plus_ms(i64::from(wait_ms)), wait_ms);
        }
    };
    let params = params(node, &request, &key, mode);
    let both = Arc::new(Both {
        node: Arc::clone(node),
        context,
        state: Mutex::new(State {
            session: session.clone(),
            answer: Some(answer),
            said: None,
            fetched: None,
        }),
    });
    let said = Arc::clone(&both);
    share_groups::acknowledge(node, &key, asked.acknowledgements, is_renewal, now, move |outcomes| {
        said.put(|state| state.said = Some(outcomes));
    });
    if session.kind == ContextKind::Final || is_renewal {
        return both.put(|state| state.fetched = Some(Vec::new()));
    }
    let wanted = wanted(node, &session);
    node.share.partitions.fetch(params, wanted, now, move |fetched| {
        both.put(|state| state.fetched = Some(fetched));
    });
}

/// What a request asks of which partitions.
struct Asked {
    partitions: Vec<SessionPartition>,
    forgotten: Vec<SessionPartition>,
    acknowledgements: Vec<(SessionPartition, Vec<RawBatch>)>,
}

impl Asked {
    fn new(request: &mut ShareFetchRequest) -> Asked {
        let mut asked = Asked { partitions: Vec::new(), forgotten: Vec::new(), acknowledgements: Vec::new() };
        for Topic { topic_id, partitions, .. } in std::mem::take(&mut request.topics) {
            for partition in partitions {
                let named = (topic_id, partition.partition_index);
                asked.partitions.push(named);
                if partition.acknowledgement_batches.is_empty() {
                    continue;
                }
                let batches = partition.acknowledgement_batches.into_iter();
                let raw =
                    batches.map(|batch| (batch.first_offset, batch.last_offset, batch.acknowledge_types));
                asked.acknowledgements.push((named, raw.collect()));
            }
        }
        for topic in std::mem::take(&mut request.forgotten_topics_data) {
            let named = topic.partitions.into_iter().map(|partition| (topic.topic_id, partition));
            asked.forgotten.extend(named);
        }
        asked
    }
}

/// A request that renews fetches nothing (KIP-1222).
fn check(request: &ShareFetchRequest, is_renewal: bool) -> Result<AcquireMode, ErrorCode> {
    let wants = [request.max_bytes, request.min_bytes, request.max_records, request.max_wait_ms];
    if is_renewal && wants.iter().any(|wanted| *wanted != 0) {
        return Err(ErrorCode::InvalidRequest);
    }
    match request.share_acquire_mode {
        0 => Ok(AcquireMode::BatchOptimized),
        1 => Ok(AcquireMode::RecordLimit),
        _ => Err(ErrorCode::InvalidRequest),
    }
}

fn params(node: &Node, request: &ShareFetchRequest, key: &SessionKey, mode: AcquireMode) -> ShareFetchParams {
    let not_negative = |bytes: i32| u32::try_from(bytes).unwrap_or(0);
    let max_bytes = not_negative(request.max_bytes.min(node.config.get(keys::FETCH_MAX_BYTES)));
    ShareFetchParams {
        group_id: Arc::clone(&key.group_id),
        member: Arc::clone(&key.member),
        max_wait_ms: request.max_wait_ms,
        min_bytes: not_negative(request.min_bytes).min(max_bytes),
        max_bytes,
        limits: AcquireLimits { mode, max_records: request.max_records, batch_size: request.batch_size },
    }
}

/// The session's partitions, each at the front in its turn.
fn wanted(
    node: &Node,
    session: &ShareFetchContext,
) -> Vec<(SharePartitionId, Result<Arc<ottla_replica::Partition>, ErrorCode>)> {
    let (first, last) = session.partitions.split_at(session.rotation.min(session.partitions.len()));
    let in_turn = last.iter().chain(first);
    in_turn
        .map(|(topic_id, partition)| {
            let group_id = Arc::clone(&session.key.group_id);
            let id = SharePartitionId { group_id, topic_id: *topic_id, partition: *partition };
            (id, partitions::by_id(node, *topic_id, *partition))
        })
        .collect()
}

/// Answers with an error, after a while where the client would only come back at once.
fn refuse_later(
    node: &Arc<Node>,
    answer: Answer<ShareFetchRequest>,
    code: ErrorCode,
    due: MonoMs,
    wait_ms: i32,
) {
    if wait_ms <= 0 {
        return answer.reply(&error_response(code));
    }
    node.deadlines.add(due, move |_| answer.reply(&error_response(code)));
    (node.hooks.wake_at)(due);
}

fn error_response(code: ErrorCode) -> ShareFetchResponse {
    ShareFetchResponse { error_code: code.code(), ..ShareFetchResponse::default() }
}

/// What waits until acknowledgements and fetch are both done.
struct Both {
    node: Arc<Node>,
    context: Context,
    state: Mutex<State>,
}

struct State {
    session: ShareFetchContext,
    answer: Option<Answer<ShareFetchRequest>>,
    said: Option<PartitionErrors>,
    fetched: Option<Vec<ShareFetched>>,
}

impl Both {
    fn put(&self, part: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        part(&mut state);
        if state.said.is_none() || state.fetched.is_none() {
            return;
        }
        let (said, fetched) = (state.said.take(), state.fetched.take());
        let (answer, session) = (state.answer.take(), state.session.clone());
        drop(state);
        if let (Some(said), Some(fetched), Some(answer)) = (said, fetched, answer) {
            self.reply(&session, said, fetched, answer);
        }
    }

    fn reply(
        &self,
        session: &ShareFetchContext,
        said: PartitionErrors,
        fetched: Vec<ShareFetched>,
        answer: Answer<ShareFetchRequest>,
    ) {
        let node = &self.node;
        if session.kind == ContextKind::Final {
            share_groups::end_session(node, &session.key, self.context.now);
        }
        let found: Vec<(SessionPartition, bool, bool)> = fetched
            .iter()
            .map(|found| {
                let named = (found.id.topic_id, found.id.partition);
                (named, !found.acquired.is_empty(), found.error != ErrorCode::None)
            })
            .collect();
        let carried = node.share.sessions.carried(session, &found);
        let mut assembly = Assembly::new(node, &self.context);
        for (found, is_carried) in fetched.into_iter().zip(carried) {
            if is_carried || said.contains_key(&(found.id.topic_id, found.id.partition)) {
                assembly.add_fetched(found);
            }
        }
        for (named, code) in said {
            assembly.add_said(named, code);
        }
        let (mut response, files) = assembly.finish();
        let settings = node.share_group_settings(&session.key.group_id);
        response.acquisition_lock_timeout_ms = settings.partition.record_lock_duration_ms;
        answer.reply_with_files(&response, &files);
    }
}

/// A response that is being put together.
struct Assembly<'a> {
    node: &'a Node,
    context: &'a Context,
    topics: BTreeMap<Uuid, Vec<Partition>>,
    files: Vec<FileSlice>,
    hints: LeaderHints,
}

impl<'a> Assembly<'a> {
    fn new(node: &'a Node, context: &'a Context) -> Assembly<'a> {
        Assembly { node, context, topics: BTreeMap::new(), files: Vec::new(), hints: LeaderHints::default() }
    }

    fn add_fetched(&mut self, found: ShareFetched) {
        let mut partition = Partition {
            partition_index: found.id.partition,
            error_code: found.error.code(),
            current_leader: self.current_leader((found.id.topic_id, found.id.partition), found.error),
            records: Records::EMPTY,
            ..Partition::default()
        };
        partition.acquired_records = found
            .acquired
            .iter()
            .map(|records| AcquiredRecord {
                first_offset: records.first_offset.0,
                last_offset: records.last_offset.0,
                delivery_count: records.delivery_count,
                ..AcquiredRecord::default()
            })
            .collect();
        if let Some(slice) = found.records {
            partition.records = Records::External { len: slice.len, token: self.files.len() as u64 };
            self.files.push(slice);
        }
        self.topics.entry(found.id.topic_id).or_default().push(partition);
    }

    fn add_said(&mut self, (topic_id, number): SessionPartition, code: ErrorCode) {
        let current_leader = self.current_leader((topic_id, number), code);
        let partitions = self.topics.entry(topic_id).or_default();
        let known = partitions.iter_mut().find(|partition| partition.partition_index == number);
        if let Some(known) = known {
            known.acknowledge_error_code = code.code();
            return;
        }
        partitions.push(Partition {
            partition_index: number,
            acknowledge_error_code: code.code(),
            current_leader,
            records: Records::EMPTY,
            ..Partition::default()
        });
    }

    fn current_leader(&mut self, (topic_id, partition): SessionPartition, error: ErrorCode) -> CurrentLeader {
        if !matches!(error, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch) {
            return CurrentLeader::default();
        }
        let listener = &self.context.connection.listener;
        let hint = self.hints.leader(self.node, TopicKey::Id(topic_id), partition, listener);
        CurrentLeader {
            leader_id: hint.leader.0,
            leader_epoch: hint.leader_epoch.0,
            ..CurrentLeader::default()
        }
    }

    fn finish(self) -> (ShareFetchResponse, Vec<FileSlice>) {
        let response = |(topic_id, partitions)| Response { topic_id, partitions, ..Response::default() };
        let response = ShareFetchResponse {
            responses: self.topics.into_iter().map(response).collect(),
            node_endpoints: self.hints.into_endpoints(),
            ..ShareFetchResponse::default()
        };
        (response, self.files)
    }
}
