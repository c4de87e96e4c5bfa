//! Reads the offsets that transactions commit for groups, now and then only such as are stable.

use bytes::Bytes;
use ottla_wire::ErrorCode;
use ottla_wire::messages::offset_fetch_request::{Group, GroupTopic};
use ottla_wire::messages::{OffsetFetchRequest, OffsetFetchResponse};

use super::asking::{Asking, FIND_VERSION, OF_GROUPS, Said, find, find_error};
use super::transactional::{OFFSET_PARTITIONS, TOPIC};
use super::{Client, Topics, World, is_retriable};
use crate::event::{Event, TransactionEvent};
use crate::network::{Link, decode};

const FETCH_VERSION: i16 = 9;
const RETRY_MS: i64 = 60;
/// Stable answers that end its work.
const LAST_ANSWERS: usize = 3;

#[derive(Clone, Debug)]
enum Asked {
    Find,
    Fetch { is_stable: bool },
}

/// See the module.
#[derive(Debug)]
pub struct OffsetReader {
    name: String,
    group: String,
    found: bool,
    asking: Asking<Asked>,
    /// Stable answers since nobody commits any more.
    answers_since: Option<usize>,
}

impl OffsetReader {
    pub fn new(name: &str, group: &str) -> OffsetReader {
        OffsetReader {
            name: name.to_owned(),
            group: group.to_owned(),
            found: false,
            asking: Asking::default(),
            answers_since: None,
        }
    }

    fn answered(&mut self, asked: &Asked, body: &Bytes, world: &mut World<'_>) {
        self.asking.wait_ms(RETRY_MS, world);
        let code = match asked {
            Asked::Find => {
                let code = find_error(body);
                self.found = code == 0;
                code
            }
            Asked::Fetch { is_stable } => {
                let response: OffsetFetchResponse = decode(body, FETCH_VERSION);
                let group = &response.groups[0];
                match group.error_code {
                    0 => self.fetched(*is_stable, group, world),
                    code => code,
                }
            }
        };
        match ErrorCode::from_code(code) {
            Some(ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable) => self.found = false,
            _ if code == 0 || is_retriable(code) => {}
            _ => world.unexpected(&self.name, "OffsetFetch", code),
        }
    }

    fn fetched(
        &mut self,
        is_stable: bool,
        group: &ottla_wire::messages::offset_fetch_response::Group,
        world: &mut World<'_>,
    ) -> i16 {
        let partitions = &group.topics[0].partitions;
        let unstable = ErrorCode::UnstableOffsetCommit.code();
        if partitions.iter().any(|partition| partition.error_code == unstable) {
            let event = TransactionEvent::OffsetsUnstable { reader: self.name.clone() };
            world.events.push(Event::Transaction(event));
            return 0;
        }
        if let Some(failed) = partitions.iter().find(|partition| partition.error_code != 0) {
            return failed.error_code;
        }
        self.answers_since = self.answers_since.map(|answers| answers + usize::from(is_stable));
        let event = TransactionEvent::OffsetsSeen {
            reader: self.name.clone(),
            group: self.group.clone(),
            is_stable,
            offsets: partitions.iter().map(|partition| partition.committed_offset).collect(),
            is_newest: world.hears_newest,
        };
        world.events.push(Event::Transaction(event));
        0
    }

    fn fetch(&self, is_stable: bool) -> OffsetFetchRequest {
        let topic = GroupTopic {
            name: TOPIC.to_owned(),
            partition_indexes: (0..OFFSET_PARTITIONS).collect(),
            ..GroupTopic::default()
        };
        let group = Group {
            group_id: self.group.clone(),
            member_epoch: -1,
            topics: Some(vec![topic]),
            ..Group::default()
        };
        OffsetFetchRequest { groups: vec![group], require_stable: is_stable, ..OffsetFetchRequest::default() }
    }
}

impl Client for OffsetReader {
    fn step(&mut self, link: &mut Link, world: &mut World<'_>) {
        while let Some(said) = self.asking.hear(link, world) {
            match said {
                Said::Answer(asked, body) => self.answered(&asked, &body, world),
                Said::Lost(_) => self.asking.wait_ms(RETRY_MS, world),
            }
        }
        if !self.asking.may_ask(world) || !world.connect(link) {
            return;
        }
        let now = world.now.mono;
        if !self.found {
            let ticket = link.send(&find(OF_GROUPS, &self.group), FIND_VERSION, now, world.rng);
            return self.asking.ask(ticket, Asked::Find);
        }
        let is_stable = self.answers_since.is_some() || world.rng.one_in(2);
        let event = TransactionEvent::OffsetsAsked { reader: self.name.clone(), group: self.group.clone() };
        world.events.push(Event::Transaction(event));
        let ticket = link.send(&self.fetch(is_stable), FETCH_VERSION, now, world.rng);
        self.asking.ask(ticket, Asked::Fetch { is_stable });
    }

    fn conclude(&mut self) {
        self.answers_since = Some(0);
    }

    fn is_finished(&self, _: &Topics) -> bool {
        self.answers_since.is_none_or(|answers| answers >= LAST_ANSWERS)
    }
}
