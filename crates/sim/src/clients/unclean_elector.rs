//! An operator who would rather have a leader that lacks records than none, as `kafka-leader-election --election-type unclean`
//! does: whenever one partition has no leader, any replica that is there may lead.

use bytes::Bytes;
use ottla_types::TopicPartition;
use ottla_wire::ErrorCode;
use ottla_wire::messages::elect_leaders_request::TopicPartition as Asked;
use ottla_wire::messages::{ElectLeadersRequest, ElectLeadersResponse};

use super::asking::{Asking, Said};
use super::{Client, Topics, World, is_retriable};
use crate::event::{Event, UncleanElection};
use crate::network::{Link, decode};

const VERSION: i16 = 2;
const UNCLEAN: i8 = 1;
const TIMEOUT_MS: i32 = 2_000;
/// Between two questions at most.
const PAUSE_MS: u64 = 1_500;

/// See the module.
#[derive(Debug)]
pub struct UncleanElector {
    partition: TopicPartition,
    asking: Asking<()>,
    is_finishing: bool,
}

impl UncleanElector {
    pub fn new(partition: TopicPartition) -> UncleanElector {
        UncleanElector { partition, asking: Asking::default(), is_finishing: false }
    }

    fn request(&self) -> ElectLeadersRequest {
        let topic = Asked {
            topic: self.partition.topic.to_string(),
            partitions: vec![self.partition.partition],
            ..Asked::default()
        };
        ElectLeadersRequest {
            election_type: UNCLEAN,
            topic_partitions: Some(vec![topic]),
            timeout_ms: TIMEOUT_MS,
            ..ElectLeadersRequest::default()
        }
    }

    fn answered(&mut self, body: &Bytes, world: &mut World<'_>) {
        let response: ElectLeadersResponse = decode(body, VERSION);
        let mut results = response.replica_election_results.iter().flat_map(|topic| &topic.partition_result);
        let result = results.next().map_or(ErrorCode::RequestTimedOut.code(), |result| result.error_code);
        let code = if response.error_code == 0 { result } else { response.error_code };
        let none_was_made = [ErrorCode::ElectionNotNeeded, ErrorCode::EligibleLeadersNotAvailable];
        let election = match code {
            0 => UncleanElection::Made,
            code if none_was_made.iter().any(|none| none.code() == code) => UncleanElection::NotMade,
            code => {
                if !is_retriable(code) {
                    world.unexpected("unclean elector", "ElectLeaders", code);
                }
                UncleanElection::Unknown
            }
        };
        self.end(election, world);
    }

    fn end(&mut self, election: UncleanElection, world: &mut World<'_>) {
        world.events.push(Event::UncleanAnswered { partition: self.partition.clone(), election });
        let pause_ms = world.rng.below(PAUSE_MS) as i64;
        self.asking.wait_ms(pause_ms, world);
    }
}

impl Client for UncleanElector {
    fn step(&mut self, link: &mut Link, world: &mut World<'_>) {
        while let Some(said) = self.asking.hear(link, world) {
            match said {
                Said::Answer((), body) => self.answered(&body, world),
                Said::Lost(Some(())) => self.end(UncleanElection::Unknown, world),
                Said::Lost(None) => {}
            }
        }
        if self.is_finishing || !self.asking.may_ask(world) || !world.connect(link) {
            return;
        }
        world.events.push(Event::UncleanAsked { partition: self.partition.clone() });
        let ticket = link.send(&self.request(), VERSION, world.now.mono, world.rng);
        self.asking.ask(ticket, ());
    }

    fn finish(&mut self) {
        self.is_finishing = true;
    }

    fn is_finished(&self, _: &Topics) -> bool {
        self.is_finishing && !self.asking.is_under_way()
    }
}
