//! A client that asks the leader of a partition where it ends, again and again, and at once when another leads: a new leader may
//! know less than the one before has told (KIP-207).

use bytes::Bytes;
use ottla_log::LATEST_TIMESTAMP;
use ottla_types::TopicPartition;
use ottla_wire::ErrorCode;
use ottla_wire::messages::list_offsets_request::{Partition, Topic};
use ottla_wire::messages::{ListOffsetsRequest, ListOffsetsResponse};

use super::asking::{Asking, Said};
use super::{Client, Topics, World, is_retriable};
use crate::event::Event;
use crate::network::{Link, decode};

const VERSION: i16 = 10;
/// Between two questions at most, while all is well.
const PAUSE_MS: u64 = 60;

/// See the module.
#[derive(Debug)]
pub struct EndAsker {
    partition: TopicPartition,
    asking: Asking<()>,
    is_finishing: bool,
}

impl EndAsker {
    pub fn new(partition: TopicPartition) -> EndAsker {
        EndAsker { partition, asking: Asking::default(), is_finishing: false }
    }

    /// Who leads in another epoch than the client knows does not answer.
    fn request(&self, topics: &Topics) -> ListOffsetsRequest {
        let asked = Partition {
            partition_index: self.partition.partition,
            current_leader_epoch: topics.leader_epochs.get(&self.partition).copied().unwrap_or(-1),
            timestamp: LATEST_TIMESTAMP.0,
            ..Partition::default()
        };
        let topic =
            Topic { name: self.partition.topic.to_string(), partitions: vec![asked], ..Topic::default() };
        ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..ListOffsetsRequest::default() }
    }

    fn answered(&mut self, body: &Bytes, link: &mut Link, world: &mut World<'_>) {
        let response: ListOffsetsResponse = decode(body, VERSION);
        let found = response.topics.first().and_then(|topic| topic.partitions.first());
        let Some(found) = found else {
            return world.unexpected("end asker", "ListOffsets of nothing", ErrorCode::None.code());
        };
        match ErrorCode::from_code(found.error_code) {
            Some(ErrorCode::None) => {
                let pause_ms = world.rng.below(PAUSE_MS) as i64;
                self.asking.wait_ms(pause_ms, world);
                let partition = self.partition.clone();
                world.events.push(Event::EndTold { partition, offset: found.offset });
            }
            Some(ErrorCode::OffsetNotAvailable) => {
                world.events.push(Event::Counted { what: "ends not told yet", times: 1 });
            }
            // Another leads.
            _ if is_retriable(found.error_code) => link.abandon(),
            _ => world.unexpected("end asker", "ListOffsets", found.error_code),
        }
    }
}

impl Client for EndAsker {
    fn step(&mut self, link: &mut Link, world: &mut World<'_>) {
        while let Some(said) = self.asking.hear(link, world) {
            if let Said::Answer((), body) = said {
                self.answered(&body, link, world);
            }
        }
        if self.is_finishing || !self.asking.may_ask(world) || !world.connect(link) {
            return;
        }
        let ticket = link.send(&self.request(world.topics), VERSION, world.now.mono, world.rng);
        self.asking.ask(ticket, ());
    }

    fn finish(&mut self) {
        self.is_finishing = true;
    }

    fn is_finished(&self, _: &Topics) -> bool {
        self.is_finishing && !self.asking.is_under_way()
    }
}
