//! OffsetForLeaderEpoch (KIP-101, KIP-320): where an epoch ends, so that readers find where their log parts from the
//! leader's.

use std::sync::Arc;

use ottla_types::LeaderEpoch;
use ottla_wire::ErrorCode;
use ottla_wire::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, Partition as Asked,
};
use ottla_wire::messages::offset_for_leader_epoch_response::{
    OffsetForLeaderEpochResponse, Partition, Topic,
};

use super::call::Call;
use super::partitions;
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<OffsetForLeaderEpochRequest>) {
    let topic = |topic: &ottla_wire::messages::offset_for_leader_epoch_request::Topic| Topic {
        topic: topic.topic.clone(),
        partitions: topic.partitions.iter().map(|asked| look_up(node, &topic.topic, asked)).collect(),
        ..Topic::default()
    };
    let topics = call.request.topics.iter().map(topic).collect();
    let response = OffsetForLeaderEpochResponse { topics, ..OffsetForLeaderEpochResponse::default() };
    call.reply(&response);
}

fn look_up(node: &Node, topic: &str, asked: &Asked) -> Partition {
    let found = partitions::by_name(node, topic, asked.partition).and_then(|partition| {
        let client_epoch = LeaderEpoch(asked.current_leader_epoch);
        partition.end_offset_for_epoch(LeaderEpoch(asked.leader_epoch), client_epoch)
    });
    let nothing = Partition { partition: asked.partition, ..Partition::default() };
    match found {
        Ok(end) => Partition {
            error_code: ErrorCode::None.code(),
            leader_epoch: end.epoch.0,
            end_offset: end.end_offset.0,
            ..nothing
        },
        Err(code) => Partition { error_code: code.code(), ..nothing },
    }
}
