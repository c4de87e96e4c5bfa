use bytes::Bytes;

use crate::messages::produce_request::{PartitionData, TopicData};
use crate::messages::*;
use crate::*;

#[test]
fn a_produce_request_reads_as_it_was_written() {
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicData {
            name: "a".into(),
            partition_data: vec![PartitionData {
                index: 7,
                records: Some(Bytes::from_static(b"batch")),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    for version in 3..=12 {
        let bytes = request.to_bytes(version).unwrap();
        assert_eq!(ProduceRequest::from_bytes(bytes, version), Ok(request.clone()));
    }
}
