//! Single records: produces them, and looks at what is stored of them.

use std::sync::Arc;

use bytes::Bytes;
use ottla_log::UnifiedLog;
use ottla_record::{BatchBuilder, BatchOptions, Batches, NewRecord};
use ottla_types::{Timestamp, TopicPartition, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::produce_request::{self, ProduceRequest};

use crate::harness::SteppedNode;

/// Produces one record; its batch's time of append, or why it was refused.
pub fn produce(
    node: &mut SteppedNode,
    topic: Uuid,
    key: &str,
    value: Option<&[u8]>,
    timestamp: Timestamp,
) -> Result<i64, ErrorCode> {
    produce_to(node, topic, 0, key, value, timestamp)
}

pub fn produce_to(
    node: &mut SteppedNode,
    topic: Uuid,
    index: i32,
    key: &str,
    value: Option<&[u8]>,
    timestamp: Timestamp,
) -> Result<i64, ErrorCode> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(&NewRecord { timestamp, key: Some(key.as_bytes()), value, headers: &[] }).unwrap();
    let records = Some(Bytes::from(builder.build().unwrap()));
    let partition = produce_request::PartitionData { index, records, ..Default::default() };
    let topic_data =
        produce_request::TopicData { topic_id: topic, partition_data: vec![partition], ..Default::default() };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 1000,
        topic_data: vec![topic_data],
        ..ProduceRequest::default()
    };
    let answer = node.ask(&request, 13).responses.remove(0).partition_responses.remove(0);
    match ErrorCode::from_code(answer.error_code).unwrap() {
        ErrorCode::None => Ok(answer.log_append_time_ms),
        error => Err(error),
    }
}

/// Produces one record that is fine.
pub fn put(node: &mut SteppedNode, topic: Uuid, key: &str) {
    let now = node.now().wall;
    produce(node, topic, key, Some(&[b'v'; 100]), now).unwrap();
}

pub fn log_of(node: &SteppedNode, topic: &str) -> Arc<UnifiedLog> {
    node.node.logs().log(&TopicPartition::new(topic, 0)).unwrap()
}

/// All batches' bytes as they lie on disk.
pub fn stored(log: &UnifiedLog) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for segment in log.segments().iter() {
        let mut bytes = vec![0; segment.size() as usize];
        segment.file().unwrap().read_at(&mut bytes, 0).unwrap();
        all.push(bytes);
    }
    all
}

pub fn records(log: &UnifiedLog) -> i64 {
    let count = |bytes: &Vec<u8>| -> i64 {
        Batches::new(bytes).map(|batch| i64::from(batch.unwrap().header().record_count)).sum()
    };
    stored(log).iter().map(count).sum()
}
