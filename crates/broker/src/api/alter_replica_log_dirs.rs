//! AlterReplicaLogDirs (KIP-113): moves replicas between the log directories of this broker.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_types::TopicPartition;
use ottla_wire::ErrorCode;
use ottla_wire::messages::AlterReplicaLogDirsRequest;
use ottla_wire::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirsResponse, Partition, Result as OfTopic,
};

use super::call::Call;
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<AlterReplicaLogDirsRequest>) {
    // Making a log waits for the disk.
    let of_job = Arc::clone(node);
    (node.hooks.read_later)(Box::new(move || respond(&of_job, call)));
}

fn respond(node: &Arc<Node>, call: Call<AlterReplicaLogDirsRequest>) {
    let now = call.context.now;
    // A partition that is named more than once goes where it is named last.
    let mut wanted: BTreeMap<(&str, i32), PathBuf> = BTreeMap::new();
    for dir in &call.request.dirs {
        for topic in &dir.topics {
            for partition in &topic.partitions {
                wanted.insert((&topic.name, *partition), without_trailing_slash(&dir.path));
            }
        }
    }
    let mut results: Vec<OfTopic> = Vec::new();
    for ((topic, partition_index), dir) in &wanted {
        let id = TopicPartition::new(*topic, *partition_index);
        let moved = node.alter_replica_log_dir(&id, dir, now);
        let error_code = moved.err().unwrap_or(ErrorCode::None).code();
        let result = Partition { partition_index: *partition_index, error_code, ..Partition::default() };
        match results.last_mut().filter(|last| last.topic_name == *topic) {
            Some(last) => last.partitions.push(result),
            None => results.push(OfTopic {
                topic_name: (*topic).to_owned(),
                partitions: vec![result],
                ..OfTopic::default()
            }),
        }
    }
    let response = AlterReplicaLogDirsResponse { results, ..AlterReplicaLogDirsResponse::default() };
    call.reply(&response);
}

/// As paths of directories are compared.
fn without_trailing_slash(path: &str) -> PathBuf {
    Path::new(path).components().collect()
}
