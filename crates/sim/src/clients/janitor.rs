//! An operator who ends transactions that hang, as `kafka-transactions` does: those of which no coordinator knows any more,
//! since what it had written was lost with the power.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_types::{CONSUMER_OFFSETS_TOPIC, MonoMs, TopicPartition};
use ottla_wire::messages::{
    DescribeProducersRequest, DescribeProducersResponse, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};
use ottla_wire::messages::{
    describe_producers_request, describe_producers_response, write_txn_markers_request,
};

use super::asking::{Asking, Said};
use super::{Client, Topics, World, is_retriable};
use crate::event::{Event, TransactionEvent};
use crate::network::{Link, decode};

const DESCRIBE_VERSION: i16 = 0;
const MARKERS_VERSION: i16 = 1;
/// Longer than any producer's transaction may take.
const HANGS_AFTER_MS: i64 = 8_000;
const PAUSE_MS: i64 = 100;
const OFFSETS_PARTITIONS: i32 = 3;

/// A transaction, and where it begins.
type Open = (TopicPartition, i64, i64);

#[derive(Clone, Debug)]
enum Asked {
    Describe,
    Abort,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Janitor {
    /// Since when each open transaction is known.
    open: BTreeMap<Open, MonoMs>,
    asking: Asking<Asked>,
    is_at_work: bool,
    has_looked: bool,
}

impl Janitor {
    pub fn new() -> Janitor {
        Janitor::default()
    }

    /// Which transaction to abort, if one hangs.
    fn described(
        &mut self,
        response: &DescribeProducersResponse,
        world: &mut World<'_>,
    ) -> Option<WriteTxnMarkersRequest> {
        let mut open = BTreeMap::new();
        let mut hanging = None;
        for topic in &response.topics {
            for found in topic.partitions.iter().filter(|found| found.error_code == 0) {
                let partition = TopicPartition::new(topic.name.clone(), found.partition_index);
                let producers = found.active_producers.iter();
                for producer in producers.filter(|producer| producer.current_txn_start_offset >= 0) {
                    let key = (partition.clone(), producer.producer_id, producer.current_txn_start_offset);
                    let since = self.open.get(&key).copied().unwrap_or(world.mono());
                    if world.mono() >= since.plus_ms(HANGS_AFTER_MS) {
                        hanging = Some((partition.clone(), producer.clone()));
                    }
                    open.insert(key, since);
                }
            }
        }
        self.open = open;
        self.has_looked = true;
        let (partition, producer) = hanging?;
        let producer_id = producer.producer_id;
        let event = TransactionEvent::Hanging { partition: partition.clone(), producer_id };
        world.events.push(Event::Transaction(event));
        Some(abort(&partition, &producer))
    }

    fn answered(&mut self, asked: Asked, body: &Bytes, link: &mut Link, world: &mut World<'_>) {
        self.asking.wait_ms(PAUSE_MS, world);
        match asked {
            Asked::Describe => {
                let response: DescribeProducersResponse = decode(body, DESCRIBE_VERSION);
                if let Some(request) = self.described(&response, world) {
                    let ticket = link.send(&request, MARKERS_VERSION, world.now.mono, world.rng);
                    self.asking.ask(ticket, Asked::Abort);
                }
            }
            Asked::Abort => {
                let response: WriteTxnMarkersResponse = decode(body, MARKERS_VERSION);
                let code = response.markers[0].topics[0].partitions[0].error_code;
                if code != 0 && !is_retriable(code) {
                    world.unexpected("janitor", "WriteTxnMarkers", code);
                }
            }
        }
    }
}

fn abort(
    partition: &TopicPartition,
    producer: &describe_producers_response::ActiveProducer,
) -> WriteTxnMarkersRequest {
    let topic = write_txn_markers_request::Topic {
        name: partition.topic.to_string(),
        partition_indexes: vec![partition.partition],
        ..Default::default()
    };
    let marker = write_txn_markers_request::Marker {
        producer_id: producer.producer_id,
        producer_epoch: producer.producer_epoch as i16,
        transaction_result: false,
        topics: vec![topic],
        coordinator_epoch: producer.coordinator_epoch.max(0),
        ..Default::default()
    };
    WriteTxnMarkersRequest { markers: vec![marker], ..WriteTxnMarkersRequest::default() }
}

fn describe(topics: &Topics) -> DescribeProducersRequest {
    let lasting = topics.lasting.iter().map(|(name, (_, partitions))| (name.as_str(), *partitions));
    let topic = |(name, partitions): (&str, i32)| describe_producers_request::Topic {
        name: name.to_owned(),
        partition_indexes: (0..partitions).collect(),
        ..Default::default()
    };
    let all = lasting.chain([(CONSUMER_OFFSETS_TOPIC, OFFSETS_PARTITIONS)]);
    DescribeProducersRequest { topics: all.map(topic).collect(), ..DescribeProducersRequest::default() }
}

impl Client for Janitor {
    fn step(&mut self, link: &mut Link, world: &mut World<'_>) {
        while let Some(said) = self.asking.hear(link, world) {
            match said {
                Said::Answer(asked, body) => self.answered(asked, &body, link, world),
                Said::Lost(_) => self.asking.wait_ms(PAUSE_MS, world),
            }
        }
        let is_ready = self.is_at_work && self.asking.may_ask(world);
        if is_ready && world.connect(link) {
            let request = describe(world.topics);
            let ticket = link.send(&request, DESCRIBE_VERSION, world.now.mono, world.rng);
            self.asking.ask(ticket, Asked::Describe);
        }
    }

    fn finish(&mut self) {
        self.is_at_work = true;
    }

    /// Nothing is open any more.
    fn is_finished(&self, _: &Topics) -> bool {
        self.has_looked && self.open.is_empty()
    }
}
