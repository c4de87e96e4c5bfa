//! The requests of a transactional producer, and what their answers say.

use bytes::Bytes;
use ottla_record::{BatchBuilder, BatchOptions, NewRecord};
use ottla_types::{ProducerEpoch, ProducerId, Timestamp, Uuid};
use ottla_wire::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse, ProduceRequest,
    ProduceResponse, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use ottla_wire::messages::{add_partitions_to_txn_request, produce_request, txn_offset_commit_request};

use super::{Asked, Batch, Identity, OFFSET_PARTITIONS, TOPIC, Transactional};
use crate::clients::World;
use crate::clients::asking::{FIND_VERSION, OF_GROUPS, OF_TRANSACTIONS, find, find_error};
use crate::event::{Event, RecordId, TransactionEvent};
use crate::log_files::value;
use crate::network::{Link, Ticket, decode};

const INIT_VERSION: i16 = 5;
const ADD_VERSION: i16 = 3;
const ADD_OFFSETS_VERSION: i16 = 3;

/// What an answer says.
pub(super) enum Outcome {
    Done,
    Failed(i16),
}

impl Asked {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Asked::Find { .. } => "FindCoordinator",
            Asked::Initialize { .. } => "InitProducerId",
            Asked::Add(_) => "AddPartitionsToTxn",
            Asked::Produce => "Produce",
            Asked::AddOffsets => "AddOffsetsToTxn",
            Asked::CommitOffsets => "TxnOffsetCommit",
            Asked::End => "EndTxn",
        }
    }
}

impl Transactional {
    fn produce_version(&self) -> i16 {
        if self.settings.is_version_2 { 13 } else { 11 }
    }

    fn commit_version(&self) -> i16 {
        if self.settings.is_version_2 { 5 } else { 4 }
    }

    fn end_version(&self) -> i16 {
        if self.settings.is_version_2 { 5 } else { 4 }
    }

    pub(super) fn send(&mut self, asked: &Asked, link: &mut Link, world: &mut World<'_>) -> Ticket {
        let now = world.now.mono;
        match asked {
            Asked::Find { of_group } => {
                let request = match of_group {
                    true => find(OF_GROUPS, &self.settings.group),
                    false => find(OF_TRANSACTIONS, &self.settings.transactional_id),
                };
                link.send(&request, FIND_VERSION, now, world.rng)
            }
            Asked::Initialize { producer } => {
                let request = self.initialize(*producer, world);
                link.send(&request, INIT_VERSION, now, world.rng)
            }
            Asked::Add(partition) => {
                let topic = add_partitions_to_txn_request::V3AndBelowTopic {
                    name: partition.topic.to_string(),
                    partitions: vec![partition.partition],
                    ..Default::default()
                };
                let who = self.who();
                let request = AddPartitionsToTxnRequest {
                    v3_and_below_transactional_id: self.settings.transactional_id.clone(),
                    v3_and_below_producer_id: who.id,
                    v3_and_below_producer_epoch: who.epoch,
                    v3_and_below_topics: vec![topic],
                    ..AddPartitionsToTxnRequest::default()
                };
                link.send(&request, ADD_VERSION, now, world.rng)
            }
            Asked::Produce => {
                let request = self.produce(world);
                link.send(&request, self.produce_version(), now, world.rng)
            }
            Asked::AddOffsets => {
                let who = self.who();
                let request = AddOffsetsToTxnRequest {
                    transactional_id: self.settings.transactional_id.clone(),
                    producer_id: who.id,
                    producer_epoch: who.epoch,
                    group_id: self.settings.group.clone(),
                    ..AddOffsetsToTxnRequest::default()
                };
                link.send(&request, ADD_OFFSETS_VERSION, now, world.rng)
            }
            Asked::CommitOffsets => {
                let request = self.commit_offsets(world);
                link.send(&request, self.commit_version(), now, world.rng)
            }
            Asked::End => {
                let request = self.end(world);
                link.send(&request, self.end_version(), now, world.rng)
            }
        }
    }

    /// Whose requests these are; nobody's before it was told.
    fn who(&self) -> Identity {
        self.identity.unwrap_or(Identity { id: -1, epoch: -1 })
    }

    fn initialize(&self, producer: u32, world: &mut World<'_>) -> InitProducerIdRequest {
        let transactional_id = self.settings.transactional_id.clone();
        let event = TransactionEvent::Initializing { transactional_id: transactional_id.clone(), producer };
        world.events.push(Event::Transaction(event));
        let expected = self.expected.unwrap_or(Identity { id: -1, epoch: -1 });
        InitProducerIdRequest {
            transactional_id: Some(transactional_id),
            transaction_timeout_ms: self.settings.timeout_ms,
            producer_id: expected.id,
            producer_epoch: expected.epoch,
            ..InitProducerIdRequest::default()
        }
    }

    fn produce(&mut self, world: &mut World<'_>) -> ProduceRequest {
        if self.open.as_ref().is_some_and(|open| open.batch.is_none()) {
            let batch = self.new_batch(world);
            if let Some(open) = &mut self.open {
                open.batch = batch;
                if self.settings.is_version_2 {
                    // The leader adds the partition, whether this is heard of or not.
                    open.added.extend(open.batch.as_ref().map(|batch| batch.partition.clone()));
                }
            }
        }
        let batch = self.open.as_ref().and_then(|open| open.batch.clone()).expect("there is a batch to send");
        let by_id = self.settings.is_version_2;
        let topic = &*batch.partition.topic;
        let data = produce_request::PartitionData {
            index: batch.partition.partition,
            records: Some(batch.records.clone()),
            ..Default::default()
        };
        ProduceRequest {
            transactional_id: Some(self.settings.transactional_id.clone()),
            acks: -1,
            timeout_ms: 5_000,
            topic_data: vec![produce_request::TopicData {
                name: if by_id { String::new() } else { topic.to_owned() },
                topic_id: if by_id { world.topics.id(topic) } else { Uuid::ZERO },
                partition_data: vec![data],
                ..Default::default()
            }],
            ..ProduceRequest::default()
        }
    }

    fn new_batch(&mut self, world: &mut World<'_>) -> Option<Batch> {
        let who = self.who();
        let open = self.open.as_ref()?;
        let super::Step::Write(partition) = open.steps.front()?.clone() else { return None };
        let count = world.rng.between(1, 4);
        let number = self.numbers.entry(partition.clone()).or_default();
        let first = RecordId { producer: self.producer, number: *number };
        *number += count;
        let sequence = self.sequences.entry(partition.clone()).or_default();
        let options = BatchOptions {
            producer_id: ProducerId(who.id),
            producer_epoch: ProducerEpoch(who.epoch),
            base_sequence: *sequence,
            transactional: true,
            ..BatchOptions::default()
        };
        *sequence += count as i32;
        let mut builder = BatchBuilder::new(options);
        for number in first.number..first.number + count {
            let value = value(RecordId { number, ..first }, world.rng.below(200) as usize);
            let timestamp = Timestamp(world.now.wall.0);
            let record = NewRecord { timestamp, key: None, value: Some(&value), headers: &[] };
            builder.append(&record).expect("the record can be written");
        }
        let records = Bytes::from(builder.build().expect("the batch can be built"));
        world.events.push(Event::Transaction(TransactionEvent::Sent {
            transaction: open.id,
            partition: partition.clone(),
            first,
            count,
        }));
        Some(Batch { partition, first, count, records })
    }

    fn commit_offsets(&mut self, world: &mut World<'_>) -> TxnOffsetCommitRequest {
        let who = self.who();
        let group = self.settings.group.clone();
        let open = self.open.as_mut().expect("offsets are part of a transaction");
        open.has_group = true;
        if open.offset.is_none() {
            // No other transaction has it, and later ones have larger ones.
            let offset = world.now.mono.0 as i64 * 1_000 + i64::from(self.settings.first_producer) / 10_000;
            open.offset = Some(offset);
            let event = TransactionEvent::OffsetSent { transaction: open.id, group: group.clone(), offset };
            world.events.push(Event::Transaction(event));
        }
        let committed_offset = open.offset.unwrap_or_default();
        let partition = |partition_index| txn_offset_commit_request::Partition {
            partition_index,
            committed_offset,
            ..Default::default()
        };
        let topic = txn_offset_commit_request::Topic {
            name: TOPIC.to_owned(),
            partitions: (0..OFFSET_PARTITIONS).map(partition).collect(),
            ..Default::default()
        };
        TxnOffsetCommitRequest {
            transactional_id: self.settings.transactional_id.clone(),
            group_id: group,
            producer_id: who.id,
            producer_epoch: who.epoch,
            topics: vec![topic],
            ..TxnOffsetCommitRequest::default()
        }
    }

    fn end(&mut self, world: &mut World<'_>) -> EndTxnRequest {
        let who = self.who();
        let open = self.open.as_mut().expect("a transaction ends that was begun");
        if !open.is_ending {
            open.is_ending = true;
            let event = TransactionEvent::Ending { transaction: open.id, committed: open.is_to_commit };
            world.events.push(Event::Transaction(event));
        }
        EndTxnRequest {
            transactional_id: self.settings.transactional_id.clone(),
            producer_id: who.id,
            producer_epoch: who.epoch,
            committed: open.is_to_commit,
            ..EndTxnRequest::default()
        }
    }

    /// Takes what an answer brings.
    pub(super) fn read(&mut self, asked: &Asked, body: &Bytes, world: &mut World<'_>) -> Outcome {
        let code = match asked {
            Asked::Find { .. } => find_error(body),
            Asked::Initialize { producer } => {
                let response: InitProducerIdResponse = decode(body, INIT_VERSION);
                if response.error_code == 0 {
                    let identity = Identity { id: response.producer_id, epoch: response.producer_epoch };
                    self.initialized(*producer, identity, world);
                }
                response.error_code
            }
            Asked::Add(_) => {
                let response: AddPartitionsToTxnResponse = decode(body, ADD_VERSION);
                response.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
            }
            Asked::Produce => {
                let response: ProduceResponse = decode(body, self.produce_version());
                let result = &response.responses[0].partition_responses[0];
                let batch = self.open.as_ref().and_then(|open| open.batch.as_ref());
                if let Some(batch) = batch.filter(|_| result.error_code == 0) {
                    world.events.push(Event::Acknowledged {
                        partition: batch.partition.clone(),
                        first: batch.first,
                        count: batch.count,
                        base_offset: (result.base_offset >= 0).then_some(result.base_offset),
                        is_newest: world.hears_newest,
                    });
                }
                result.error_code
            }
            Asked::AddOffsets => {
                let response: AddOffsetsToTxnResponse = decode(body, ADD_OFFSETS_VERSION);
                response.error_code
            }
            Asked::CommitOffsets => {
                let response: TxnOffsetCommitResponse = decode(body, self.commit_version());
                let mut codes = response.topics[0].partitions.iter().map(|partition| partition.error_code);
                codes.find(|code| *code != 0).unwrap_or(0)
            }
            Asked::End => {
                let response: EndTxnResponse = decode(body, self.end_version());
                if response.error_code == 0 && self.settings.is_version_2 {
                    self.identity =
                        Some(Identity { id: response.producer_id, epoch: response.producer_epoch });
                    self.sequences.clear();
                }
                response.error_code
            }
        };
        if code == 0 { Outcome::Done } else { Outcome::Failed(code) }
    }
}
