//! ShareAcknowledge (KIP-932): what a member of a share group says of its records, between two fetches.

use std::sync::Arc;

use ottla_replica::share::FINAL_EPOCH;
use ottla_types::Uuid;
use ottla_wire::ErrorCode;
use ottla_wire::messages::share_acknowledge_request::{ShareAcknowledgeRequest, Topic};
use ottla_wire::messages::share_acknowledge_response::{
    CurrentLeader, Partition, Response, ShareAcknowledgeResponse,
};

use super::call::{Call, Context};
use super::partitions::{LeaderHints, TopicKey};
use super::share_groups::{self, PartitionErrors, RawBatch};
use crate::node::Node;

const RENEWAL_SINCE: i16 = 2;

pub(super) fn handle(node: &Arc<Node>, call: Call<ShareAcknowledgeRequest>) {
    let (context, request, answer) = call.into_parts();
    let refuse = |code: ErrorCode| ShareAcknowledgeResponse {
        error_code: code.code(),
        ..ShareAcknowledgeResponse::default()
    };
    if !share_groups::is_enabled(node) {
        return answer.reply(&refuse(ErrorCode::UnsupportedVersion));
    }
    let epoch = request.share_session_epoch;
    let key = share_groups::session_key(request.group_id, request.member_id);
    let key = key.and_then(|key| node.share.sessions.acknowledge(&key, epoch).map(|()| key));
    let key = match key {
        Ok(key) => key,
        Err(code) => return answer.reply(&refuse(code)),
    };
    let may_renew = context.version() >= RENEWAL_SINCE && request.is_renew_ack;
    let asked = request.topics.into_iter().flat_map(of_topic).collect();
    let (node_after, key_after) = (Arc::clone(node), key.clone());
    share_groups::acknowledge(node, &key, asked, may_renew, context.now, move |outcomes| {
        if epoch == FINAL_EPOCH {
            share_groups::end_session(&node_after, &key_after, context.now);
        }
        let mut response = response(&node_after, &context, outcomes);
        let settings = node_after.share_group_settings(&key_after.group_id);
        response.acquisition_lock_timeout_ms = settings.partition.record_lock_duration_ms;
        answer.reply(&response);
    });
}

fn of_topic(topic: Topic) -> Vec<((Uuid, i32), Vec<RawBatch>)> {
    let topic_id = topic.topic_id;
    let of_partition = |partition: ottla_wire::messages::share_acknowledge_request::Partition| {
        let batches = partition.acknowledgement_batches.into_iter();
        let raw = batches.map(|batch| (batch.first_offset, batch.last_offset, batch.acknowledge_types));
        ((topic_id, partition.partition_index), raw.collect())
    };
    // Nothing is said of what nothing was said of.
    let of_some =
        topic.partitions.into_iter().filter(|partition| !partition.acknowledgement_batches.is_empty());
    of_some.map(of_partition).collect()
}

fn response(node: &Node, context: &Context, outcomes: PartitionErrors) -> ShareAcknowledgeResponse {
    let mut responses: Vec<Response> = Vec::new();
    let mut hints = LeaderHints::default();
    for ((topic_id, partition_index), code) in outcomes {
        let mut partition = Partition { partition_index, error_code: code.code(), ..Partition::default() };
        if code == ErrorCode::NotLeaderOrFollower {
            let listener = &context.connection.listener;
            let hint = hints.leader(node, TopicKey::Id(topic_id), partition_index, listener);
            partition.current_leader = CurrentLeader {
                leader_id: hint.leader.0,
                leader_epoch: hint.leader_epoch.0,
                ..CurrentLeader::default()
            };
        }
        match responses.last_mut() {
            Some(last) if last.topic_id == topic_id => last.partitions.push(partition),
            _ => responses.push(Response { topic_id, partitions: vec![partition], ..Response::default() }),
        }
    }
    ShareAcknowledgeResponse {
        responses,
        node_endpoints: hints.into_endpoints(),
        ..ShareAcknowledgeResponse::default()
    }
}
