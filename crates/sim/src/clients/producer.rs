//! A producer: numbers its records, sends batches, and sends again what it got no answer for.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use ottla_record::{BatchBuilder, BatchOptions, Codec, Compression, NewRecord};
use ottla_types::{MonoMs, ProducerEpoch, ProducerId, TopicPartition};
use ottla_wire::ErrorCode;
use ottla_wire::messages::produce_request::{PartitionData, TopicData};
use ottla_wire::messages::{InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse};

use super::{Client, Topics, World, is_retriable};
use crate::event::{Event, RecordId};
use crate::log_files::value;
use crate::network::{Heard, Link, Ticket, decode};

const INIT_VERSION: i16 = 5;
const TOPIC_IDS_SINCE: i16 = 13;
const RETRY_MS: i64 = 50;
const GIVES_UP_ONE_IN: u64 = 3;

/// How a producer works.
#[derive(Clone, Copy, Debug)]
pub struct ProducerSettings {
    pub id: u32,
    /// -1 for all.
    pub acks: i16,
    pub is_idempotent: bool,
    pub in_flight_max: usize,
    pub codec: Codec,
    /// Of Produce.
    pub version: i16,
    /// Now and then it gives up what was under way when its connection ended, and goes on under its next epoch (KIP-360).
    pub gives_up: bool,
}

/// A batch that is to be in the log.
#[derive(Debug)]
struct Pending {
    partition: TopicPartition,
    first: u64,
    count: u64,
    records: Bytes,
    /// While it is under way.
    ticket: Option<Ticket>,
}

/// See the module.
#[derive(Debug)]
pub struct Producer {
    settings: ProducerSettings,
    identity: Option<(i64, i16)>,
    asked_identity: Option<Ticket>,
    pending: VecDeque<Pending>,
    /// The next record's number.
    numbers: BTreeMap<TopicPartition, u64>,
    /// The next record's sequence number under this identity.
    sequences: BTreeMap<TopicPartition, i32>,
    wait_until: MonoMs,
    is_finishing: bool,
}

impl Producer {
    pub fn new(settings: ProducerSettings) -> Producer {
        Producer {
            settings,
            identity: None,
            asked_identity: None,
            pending: VecDeque::new(),
            numbers: BTreeMap::new(),
            sequences: BTreeMap::new(),
            wait_until: MonoMs(0),
            is_finishing: false,
        }
    }

    fn name(&self) -> String {
        format!("producer {}", self.settings.id)
    }

    /// Everything under way is to be sent again.
    fn start_over(&mut self, world: &World<'_>) {
        self.asked_identity = None;
        self.pending.iter_mut().for_each(|pending| pending.ticket = None);
        self.wait_until = world.mono().plus_ms(RETRY_MS);
    }

    /// Nobody knows whether what was under way is in the log; it is too late for it from now on.
    fn give_up(&mut self, world: &mut World<'_>) {
        if !self.settings.gives_up || self.pending.is_empty() || !world.rng.one_in(GIVES_UP_ONE_IN) {
            return;
        }
        if let Some((_, epoch)) = &mut self.identity {
            *epoch += 1;
            self.pending.clear();
            self.sequences.clear();
            world.events.push(Event::Counted { what: "producers that gave batches up", times: 1 });
        }
    }

    /// Closes the connection first, so that answers to what was sent before are not taken for answers to what is sent
    /// again.
    fn retry(&mut self, link: &mut Link, world: &World<'_>) {
        link.abandon();
        self.start_over(world);
    }

    fn answered(&mut self, ticket: Ticket, body: &Bytes, link: &mut Link, world: &mut World<'_>) {
        if self.asked_identity == Some(ticket) {
            self.asked_identity = None;
            let response: InitProducerIdResponse = decode(body, INIT_VERSION);
            match response.error_code {
                0 => self.identity = Some((response.producer_id, response.producer_epoch)),
                code if is_retriable(code) => self.wait_until = world.mono().plus_ms(RETRY_MS),
                code => world.unexpected(&self.name(), "InitProducerId", code),
            }
            return;
        }
        let Some(index) = self.pending.iter().position(|pending| pending.ticket == Some(ticket)) else {
            return;
        };
        let response: ProduceResponse = decode(body, self.settings.version);
        let result = &response.responses[0].partition_responses[0];
        let code = ErrorCode::from_code(result.error_code);
        match code {
            Some(ErrorCode::None | ErrorCode::DuplicateSequenceNumber) => {
                let Some(done) = self.pending.remove(index) else { return };
                world.events.push(Event::Acknowledged {
                    partition: done.partition,
                    first: RecordId { producer: self.settings.id, number: done.first },
                    count: done.count,
                    base_offset: (result.base_offset >= 0).then_some(result.base_offset),
                    is_newest: world.hears_newest,
                });
            }
            Some(
                ErrorCode::OutOfOrderSequenceNumber
                | ErrorCode::UnknownProducerId
                | ErrorCode::InvalidProducerEpoch,
            ) => {
                let partition = self.pending[index].partition.clone();
                let producer = self.settings.id;
                let code = result.error_code;
                world.events.push(Event::SequenceBroken { producer, partition, code });
                link.abandon();
                self.identity = None;
                self.asked_identity = None;
                self.pending.clear();
                self.sequences.clear();
            }
            _ if is_retriable(result.error_code) => self.retry(link, world),
            _ => world.unexpected(&self.name(), "Produce", result.error_code),
        }
    }

    fn produce_more(&mut self, world: &mut World<'_>) {
        let partitions = world.topics.partitions();
        if self.is_finishing || partitions.is_empty() || self.pending.len() >= self.settings.in_flight_max {
            return;
        }
        if !world.rng.one_in(4) {
            return;
        }
        let partition = partitions[world.rng.below(partitions.len() as u64) as usize].clone();
        let count = world.rng.between(1, 6);
        let number = self.numbers.entry(partition.clone()).or_default();
        let first = *number;
        *number += count;
        let mut options =
            BatchOptions { compression: Compression::new(self.settings.codec), ..BatchOptions::default() };
        if let Some((id, epoch)) = self.identity {
            let sequence = self.sequences.entry(partition.clone()).or_default();
            options.producer_id = ProducerId(id);
            options.producer_epoch = ProducerEpoch(epoch);
            options.base_sequence = *sequence;
            *sequence += count as i32;
        }
        let mut builder = BatchBuilder::new(options);
        for number in first..first + count {
            let key = format!("k{}", number % 7);
            let value = value(RecordId { producer: self.settings.id, number }, world.rng.below(400) as usize);
            // Timestamps are not in order, as with several producers' clocks.
            let timestamp = ottla_types::Timestamp(world.now.wall.0 - world.rng.below(50) as i64);
            let record =
                NewRecord { timestamp, key: Some(key.as_bytes()), value: Some(&value), headers: &[] };
            builder.append(&record).expect("the record can be written");
        }
        let records = Bytes::from(builder.build().expect("the batch can be built"));
        self.pending.push_back(Pending { partition, first, count, records, ticket: None });
    }

    fn send(&mut self, link: &mut Link, world: &mut World<'_>) {
        for pending in self.pending.iter_mut().filter(|pending| pending.ticket.is_none()) {
            let by_id = self.settings.version >= TOPIC_IDS_SINCE;
            let topic = &*pending.partition.topic;
            let data = PartitionData {
                index: pending.partition.partition,
                records: Some(pending.records.clone()),
                ..PartitionData::default()
            };
            let request = ProduceRequest {
                acks: self.settings.acks,
                timeout_ms: 5_000,
                topic_data: vec![TopicData {
                    name: if by_id { String::new() } else { topic.to_owned() },
                    topic_id: if by_id { world.topics.id(topic) } else { ottla_types::Uuid::ZERO },
                    partition_data: vec![data],
                    ..TopicData::default()
                }],
                ..ProduceRequest::default()
            };
            pending.ticket = Some(link.send(&request, self.settings.version, world.now.mono, world.rng));
        }
        if self.settings.acks == 0 {
            // There is no answer to wait for, and nothing is promised.
            let sent = self.pending.drain(..);
            let events = sent.map(|Pending { partition, count, .. }| Event::Unanswered { partition, count });
            world.events.extend(events);
        }
    }
}

impl Client for Producer {
    fn step(&mut self, link: &mut Link, world: &mut World<'_>) {
        while let Some(heard) = link.hear(world.mono()) {
            match heard {
                Heard::Closed => {
                    self.give_up(world);
                    self.start_over(world);
                }
                Heard::Answer { ticket, body } => self.answered(ticket, &body, link, world),
            }
        }
        if world.mono() < self.wait_until || !world.connect(link) {
            return;
        }
        if self.settings.is_idempotent && self.identity.is_none() {
            if self.asked_identity.is_none() {
                let request =
                    InitProducerIdRequest { transactional_id: None, ..InitProducerIdRequest::default() };
                self.asked_identity = Some(link.send(&request, INIT_VERSION, world.now.mono, world.rng));
            }
            return;
        }
        self.produce_more(world);
        self.send(link, world);
    }

    fn finish(&mut self) {
        self.is_finishing = true;
    }

    fn is_finished(&self, _: &Topics) -> bool {
        self.pending.is_empty()
    }
}
