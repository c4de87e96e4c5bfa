//! Producers that vanish in any phase of a transaction.

use std::io::Write;
use std::net::TcpStream;

use ottla_record::{BatchBuilder, BatchOptions, NewRecord};
use ottla_types::{ProducerEpoch, ProducerId, Timestamp};
use ottla_wire::ErrorCode;
use ottla_wire::messages::add_partitions_to_txn_request::{AddPartitionsToTxnRequest, V3AndBelowTopic};
use ottla_wire::messages::list_offsets_request::{self, ListOffsetsRequest};
use ottla_wire::messages::produce_request::{self, ProduceRequest};
use ottla_wire::messages::txn_offset_commit_request::{self, TxnOffsetCommitRequest};
use ottla_wire::messages::{AddOffsetsToTxnRequest, EndTxnRequest, InitProducerIdRequest};

use super::{
    LONG_MS, TOPIC, call, code, committed, connect, frame_of, hurried, until, wait_for_coordinator,
    with_enough_time, with_topic,
};

fn init_request(id: &str, timeout_ms: i32) -> InitProducerIdRequest {
    InitProducerIdRequest {
        transactional_id: Some(id.to_owned()),
        transaction_timeout_ms: timeout_ms,
        ..InitProducerIdRequest::default()
    }
}

pub(super) fn init(stream: &TcpStream, id: &str, timeout_ms: i32) -> Option<(i64, i16)> {
    let answer = call(stream, &init_request(id, timeout_ms), 5);
    (answer.error_code == 0).then_some((answer.producer_id, answer.producer_epoch))
}

/// A producer, and the group that it commits to, of the same name.
struct Producer<'a> {
    stream: &'a TcpStream,
    id: &'a str,
    producer_id: i64,
    epoch: i16,
}

impl Producer<'_> {
    fn add_partition(&self) -> Option<()> {
        let topic = V3AndBelowTopic { name: TOPIC.to_owned(), partitions: vec![0], ..Default::default() };
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.id.to_owned(),
            v3_and_below_producer_id: self.producer_id,
            v3_and_below_producer_epoch: self.epoch,
            v3_and_below_topics: vec![topic],
            ..Default::default()
        };
        let answer = call(self.stream, &request, 3);
        let code = answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code;
        (code == 0).then_some(())
    }

    fn produce(&self) -> Option<()> {
        let mut builder = BatchBuilder::new(BatchOptions {
            producer_id: ProducerId(self.producer_id),
            producer_epoch: ProducerEpoch(self.epoch),
            base_sequence: 0,
            transactional: true,
            ..BatchOptions::default()
        });
        let timestamp = Timestamp(1_700_000_000_000);
        builder.append(&NewRecord { timestamp, key: None, value: Some(b"v"), headers: &[] }).unwrap();
        let records = Some(builder.build().unwrap().into());
        let partition = produce_request::PartitionData { records, ..Default::default() };
        let topic = produce_request::TopicData {
            name: TOPIC.to_owned(),
            partition_data: vec![partition],
            ..Default::default()
        };
        let request = ProduceRequest {
            transactional_id: Some(self.id.to_owned()),
            acks: -1,
            timeout_ms: LONG_MS,
            topic_data: vec![topic],
            ..ProduceRequest::default()
        };
        let answer = call(self.stream, &request, 11);
        (answer.responses[0].partition_responses[0].error_code == 0).then_some(())
    }

    fn add_offsets(&self) -> Option<()> {
        let request = AddOffsetsToTxnRequest {
            transactional_id: self.id.to_owned(),
            producer_id: self.producer_id,
            producer_epoch: self.epoch,
            group_id: self.id.to_owned(),
            ..AddOffsetsToTxnRequest::default()
        };
        (call(self.stream, &request, 3).error_code == 0).then_some(())
    }

    fn commit_offset(&self) -> Option<()> {
        let partition = txn_offset_commit_request::Partition { committed_offset: 7, ..Default::default() };
        let topic = txn_offset_commit_request::Topic {
            name: TOPIC.to_owned(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request = TxnOffsetCommitRequest {
            transactional_id: self.id.to_owned(),
            group_id: self.id.to_owned(),
            producer_id: self.producer_id,
            producer_epoch: self.epoch,
            topics: vec![topic],
            ..TxnOffsetCommitRequest::default()
        };
        let answer = call(self.stream, &request, 3);
        (answer.topics[0].partitions[0].error_code == 0).then_some(())
    }

    /// Does not wait for the answer.
    fn send_end(&self, committed: bool) -> Option<()> {
        let request = EndTxnRequest {
            transactional_id: self.id.to_owned(),
            producer_id: self.producer_id,
            producer_epoch: self.epoch,
            committed,
            ..EndTxnRequest::default()
        };
        let mut stream = self.stream;
        stream.write_all(&frame_of(&request, 4)).unwrap();
        Some(())
    }
}

/// The end of the topic's first partition as readers of this isolation are told.
fn end_of(stream: &TcpStream, isolation_level: i8) -> i64 {
    let partition = list_offsets_request::Partition { timestamp: -1, ..Default::default() };
    let topic = list_offsets_request::Topic {
        name: TOPIC.to_owned(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = ListOffsetsRequest {
        replica_id: -1,
        isolation_level,
        topics: vec![topic],
        ..ListOffsetsRequest::default()
    };
    let answer = call(stream, &request, 8).topics.remove(0).partitions.remove(0);
    assert_eq!(code(answer.error_code), ErrorCode::None);
    answer.offset
}

#[test]
fn producers_that_vanish_in_any_phase_hold_up_nobody_for_longer_than_they_said() {
    const PHASES: usize = 8;
    let dir = tempfile::tempdir().unwrap();
    let ottla = hurried(dir.path()).start();
    let stream = with_topic(&ottla);
    wait_for_coordinator(&stream, 0);
    wait_for_coordinator(&stream, 1);
    for phase in 0..PHASES {
        with_enough_time(|timeout_ms| {
            let id = format!("phase {phase} in {timeout_ms} ms");
            let ghost = connect(&ottla);
            if phase == 0 {
                // Not even the answer with its id is read.
                (&ghost).write_all(&frame_of(&init_request(&id, timeout_ms), 5)).unwrap();
            } else {
                let (producer_id, epoch) = init(&ghost, &id, timeout_ms)?;
                let producer = Producer { stream: &ghost, id: &id, producer_id, epoch };
                let steps: [&dyn Fn() -> Option<()>; 6] = [
                    &|| Some(()),
                    &|| producer.add_partition(),
                    &|| producer.produce(),
                    &|| producer.add_offsets(),
                    &|| producer.commit_offset(),
                    &|| producer.send_end(phase == PHASES - 1),
                ];
                steps.iter().take(phase.min(PHASES - 2)).try_for_each(|step| step())?;
            }
            drop(ghost);
            // Readers of what is committed come to the end, and what the group has committed is known.
            until(|| end_of(&stream, 1) == end_of(&stream, 0));
            until(|| committed(&stream, std::slice::from_ref(&id)).is_ok());
            let offsets = committed(&stream, std::slice::from_ref(&id)).unwrap();
            let expected: &[i64] = if phase == PHASES - 1 { &[7] } else { &[] };
            // Whether the end was heard before its connection closed, or came too late, is for the network to say.
            assert!(offsets == expected || (phase >= PHASES - 2 && offsets.is_empty()), "{offsets:?}");
            // The next one with the id goes on at once, or as soon as the last one's end is written.
            until(|| init(&stream, &id, LONG_MS).is_some());
            Some(())
        });
    }
    assert!(ottla.stop().success());
}
