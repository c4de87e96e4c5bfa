//! A member of a share group (KIP-932): acquires records, and accepts, releases, rejects, renews or forgets them.

mod requests;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ottla_types::{MonoMs, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::{
    IncrementalAlterConfigsResponse, ShareAcknowledgeResponse, ShareFetchResponse,
    ShareGroupHeartbeatResponse,
};
use ottla_wire::messages::{share_fetch_response, share_group_heartbeat_response};

use super::asking::{Asking, Said, find_error};
use super::membership::Membership;
use super::{Client, Topics, World};
use crate::event::{GroupEvent, Protocol, Word};
use crate::log_files::read_batches;
use crate::network::{Link, decode};

const RETRY_MS: i64 = 100;
const HEARTBEAT_MS: i64 = 250;
/// So long nobody must have got a record, and kept it to himself, for a member to believe that there is none left.
const QUIET_MS: i64 = 2_500;

/// What it says of each record, by partition and offset.
type Words = BTreeMap<(Uuid, i32), Vec<(i64, Word)>>;

#[derive(Clone, Debug)]
enum Asked {
    Configure,
    Find,
    Beat,
    Leave,
    Fetch { sent: MonoMs, words: Words },
    Acknowledge { words: Words },
}

/// See the module.
#[derive(Debug)]
pub struct ShareMember {
    membership: Membership,
    topics: usize,
    /// `read_committed` or `read_uncommitted`.
    isolation_level: &'static str,
    configured: bool,
    /// Its next heartbeat says everything, since an answer may be lost: so it is told all that it has.
    says_all: bool,
    assigned: BTreeSet<(Uuid, i32)>,
    /// Of its session: 0 begins one.
    session_epoch: i32,
    in_session: BTreeSet<(Uuid, i32)>,
    /// Offsets that it has, with whether there is no record there.
    held: BTreeMap<(Uuid, i32), BTreeMap<i64, bool>>,
    asking: Asking<Asked>,
    is_finishing: bool,
    /// Nobody writes any more.
    is_concluding: bool,
    /// Since then: since when it gets nothing.
    quiet_since: Option<MonoMs>,
    is_done: bool,
}

impl ShareMember {
    /// It waits until there are so many topics to read.
    pub fn new(group: &str, name: &str, topics: usize, isolation_level: &'static str) -> ShareMember {
        ShareMember {
            topics,
            membership: Membership::new(Protocol::Share, group, name),
            isolation_level,
            configured: false,
            says_all: true,
            assigned: BTreeSet::new(),
            session_epoch: 0,
            in_session: BTreeSet::new(),
            held: BTreeMap::new(),
            asking: Asking::default(),
            is_finishing: false,
            is_concluding: false,
            quiet_since: None,
            is_done: false,
        }
    }

    /// Its session is over, and with it what it has.
    fn forget_session(&mut self, world: &mut World<'_>) {
        self.session_epoch = 0;
        self.in_session.clear();
        self.held.clear();
        let client = self.membership.name.clone();
        self.membership.tell(GroupEvent::Forgot { client }, world);
    }

    fn be_out(&mut self, world: &mut World<'_>) {
        self.says_all = true;
        self.assigned.clear();
        self.held.clear();
        self.membership.be_out(world);
    }

    fn tell_unserved(&self, named: (Uuid, i32), world: &mut World<'_>) {
        if let Some(partition) = world.topics.partition(named.0, named.1) {
            let client = self.membership.name.clone();
            self.membership.tell(GroupEvent::Unserved { client, partition }, world);
        }
    }

    fn tell_too_late(&self, world: &mut World<'_>) {
        let client = self.membership.name.clone();
        self.membership.tell(GroupEvent::TooLate { client }, world);
    }

    /// Takes an error; whether there was none.
    fn check(&mut self, what: &str, code: i16, world: &mut World<'_>) -> bool {
        match ErrorCode::from_code(code) {
            Some(ErrorCode::None) => return true,
            Some(ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId | ErrorCode::GroupIdNotFound) => {
                self.membership.tell_fenced(code, world);
                self.be_out(world);
            }
            Some(ErrorCode::ShareSessionNotFound | ErrorCode::InvalidShareSessionEpoch) => {
                self.forget_session(world);
            }
            Some(ErrorCode::InvalidRecordState) => self.tell_too_late(world),
            _ if self.membership.may_ask_again(code) => {
                self.says_all = true;
                self.asking.wait_ms(RETRY_MS, world);
            }
            _ => world.unexpected(&self.membership.name, what, code),
        }
        false
    }

    fn answered(&mut self, asked: Asked, body: &Bytes, world: &mut World<'_>) {
        match asked {
            Asked::Configure => {
                let response: IncrementalAlterConfigsResponse = decode(body, requests::CONFIGURE_VERSION);
                let code = response.responses[0].error_code;
                self.configured = self.check("IncrementalAlterConfigs", code, world);
            }
            Asked::Find => {
                self.membership.found = self.check("FindCoordinator", find_error(body), world);
            }
            Asked::Beat => {
                let response: ShareGroupHeartbeatResponse = decode(body, requests::HEARTBEAT_VERSION);
                if self.check("ShareGroupHeartbeat", response.error_code, world) {
                    self.says_all = false;
                    self.membership.beat_in_ms(HEARTBEAT_MS, world);
                    self.take_assignment(&response, world);
                }
            }
            Asked::Leave => self.come_back(world),
            Asked::Fetch { sent, words } => self.fetched(sent, &words, body, world),
            Asked::Acknowledge { words } => self.acknowledged(&words, body, world),
        }
    }

    fn take_assignment(&mut self, response: &ShareGroupHeartbeatResponse, world: &mut World<'_>) {
        let is_new = self.membership.epoch != response.member_epoch;
        self.membership.epoch = response.member_epoch;
        if let Some(assignment) = &response.assignment {
            let partitions = |topic: &share_group_heartbeat_response::TopicPartition| {
                let topic_id = topic.topic_id;
                topic.partitions.iter().map(move |number| (topic_id, *number)).collect::<Vec<_>>()
            };
            self.assigned = assignment.topic_partitions.iter().flat_map(partitions).collect();
            // What it has of others comes back when its lock runs out.
            self.held.retain(|partition, _| self.assigned.contains(partition));
        }
        if is_new || response.assignment.is_some() {
            self.membership.tell_assigned(self.assigned.iter().copied(), world);
        }
    }

    fn fetched(&mut self, sent: MonoMs, words: &Words, body: &Bytes, world: &mut World<'_>) {
        let response: ShareFetchResponse = decode(body, requests::FETCH_VERSION);
        if !self.check("ShareFetch", response.error_code, world) {
            return;
        }
        self.session_epoch += 1;
        let mut got_something = false;
        for topic in &response.responses {
            for partition in &topic.partitions {
                let named = (topic.topic_id, partition.partition_index);
                self.said(named, words, partition.acknowledge_error_code, world);
                if partition.error_code == ErrorCode::UnknownServerError.code() {
                    // As clients do: it asks again.
                    got_something = true;
                    self.tell_unserved(named, world);
                } else if self.check("ShareFetch of a partition", partition.error_code, world) {
                    got_something |= self.acquired(sent, named, partition, world);
                }
            }
        }
        if got_something || !self.held.is_empty() {
            self.quiet_since = None;
        } else if self.is_concluding {
            let since = *self.quiet_since.get_or_insert(world.mono());
            self.is_done |= world.mono() >= since.plus_ms(QUIET_MS);
        }
    }

    /// Whether there were any.
    fn acquired(
        &mut self,
        sent: MonoMs,
        named: (Uuid, i32),
        found: &share_fetch_response::Partition,
        world: &mut World<'_>,
    ) -> bool {
        let Some(partition) = world.topics.partition(named.0, named.1) else { return false };
        let mut stored = Vec::new();
        if let Some(bytes) = found.records.bytes() {
            read_batches(bytes, &mut stored);
        }
        let records: BTreeSet<i64> =
            stored.iter().filter(|record| record.marker.is_none()).map(|record| record.offset).collect();
        let held = self.held.entry(named).or_default();
        for range in &found.acquired_records {
            for offset in range.first_offset..=range.last_offset {
                held.insert(offset, !records.contains(&offset));
            }
            let event = GroupEvent::Acquired {
                client: self.membership.name.clone(),
                partition: partition.clone(),
                first: range.first_offset,
                last: range.last_offset,
                delivery_count: range.delivery_count,
                sent,
                heard: world.now.mono,
                is_newest: world.hears_newest,
            };
            self.membership.tell(event, world);
        }
        if held.is_empty() {
            self.held.remove(&named);
        }
        !found.acquired_records.is_empty()
    }

    fn acknowledged(&mut self, words: &Words, body: &Bytes, world: &mut World<'_>) {
        let response: ShareAcknowledgeResponse = decode(body, requests::ACKNOWLEDGE_VERSION);
        if !self.check("ShareAcknowledge", response.error_code, world) {
            return;
        }
        self.session_epoch += 1;
        for topic in &response.responses {
            for partition in &topic.partitions {
                let named = (topic.topic_id, partition.partition_index);
                self.said(named, words, partition.error_code, world);
            }
        }
    }

    /// What became of what it said of a partition's records.
    fn said(&mut self, named: (Uuid, i32), words: &Words, code: i16, world: &mut World<'_>) {
        let Some(words) = words.get(&named) else { return };
        let heard = world.mono();
        // The leader may have begun anew, and given nobody what lies there.
        if code == ErrorCode::InvalidRequest.code() {
            return self.tell_too_late(world);
        }
        if !self.check("an acknowledgement", code, world) {
            return;
        }
        if let Some(partition) = world.topics.partition(named.0, named.1) {
            self.membership.tell(GroupEvent::Said { partition, words: words.clone(), heard }, world);
        }
    }

    /// What it says next of what it has; it lets go of that.
    fn words(&mut self, may_renew: bool, world: &mut World<'_>) -> Words {
        let mut words = Words::new();
        for (partition, held) in &mut self.held {
            let wanted = if world.rng.one_in(3) { world.rng.below(4) as usize } else { held.len() };
            let offsets: Vec<(i64, bool)> =
                held.iter().take(wanted).map(|(offset, is_gap)| (*offset, *is_gap)).collect();
            for (offset, is_gap) in offsets {
                let word = match world.rng.below(100) {
                    _ if is_gap => Some(Word::Gap),
                    _ if self.is_finishing => Some(Word::Accept),
                    0..=9 => Some(Word::Release),
                    10..=12 => Some(Word::Reject),
                    13..=15 if may_renew => Some(Word::Renew),
                    16..=19 => None,
                    _ => Some(Word::Accept),
                };
                if word != Some(Word::Renew) {
                    held.remove(&offset);
                }
                words.entry(*partition).or_default().extend(word.map(|word| (offset, word)));
            }
        }
        self.held.retain(|_, held| !held.is_empty());
        words.retain(|_, words| !words.is_empty());
        for ((topic_id, number), words) in &words {
            if let Some(partition) = world.topics.partition(*topic_id, *number) {
                let (client, words) = (self.membership.name.clone(), words.clone());
                self.membership.tell(GroupEvent::Saying { client, partition, words }, world);
            }
        }
        words
    }

    fn next(&mut self, world: &mut World<'_>) -> Option<Asked> {
        if !self.configured {
            return Some(Asked::Configure);
        }
        if !self.membership.found {
            return Some(Asked::Find);
        }
        if self.membership.is_beat_due(world) {
            return Some(Asked::Beat);
        }
        if !self.is_finishing && world.rng.one_in(300) {
            return Some(Asked::Leave);
        }
        if self.assigned.is_empty() && self.in_session.is_empty() {
            // The others have everything.
            self.is_done |= self.is_concluding;
            return None;
        }
        if !world.rng.one_in(2) {
            return None;
        }
        if !self.held.is_empty() && world.rng.one_in(2) {
            let words = self.words(true, world);
            return (!words.is_empty()).then_some(Asked::Acknowledge { words });
        }
        let words = if self.session_epoch > 0 { self.words(false, world) } else { Words::new() };
        Some(Asked::Fetch { sent: world.mono(), words })
    }

    /// Comes back as somebody else, while the group still counts on it.
    fn vanish(&mut self, link: &mut Link, world: &mut World<'_>) {
        link.abandon();
        self.asking.give_up();
        self.come_back(world);
    }

    /// The member that comes has another session.
    fn come_back(&mut self, world: &mut World<'_>) {
        self.be_out(world);
        self.forget_session(world);
        self.membership.live_again();
        let pause_ms = world.rng.between(100, 2_000) as i64;
        self.asking.wait_ms(pause_ms, world);
    }
}

impl Client for ShareMember {
    fn step(&mut self, link: &mut Link, world: &mut World<'_>) {
        while let Some(said) = self.asking.hear(link, world) {
            match said {
                Said::Answer(asked, body) => self.answered(asked, &body, world),
                Said::Lost(_) => {
                    self.says_all = true;
                    self.forget_session(world);
                    self.asking.wait_ms(RETRY_MS, world);
                }
            }
        }
        if !self.is_finishing && self.membership.is_member() && world.rng.per_myriad(15) {
            return self.vanish(link, world);
        }
        if !self.asking.may_ask(world) || world.topics.lasting.len() < self.topics || !world.connect(link) {
            return;
        }
        if let Some(asked) = self.next(world) {
            let ticket = self.send(&asked, link, world);
            self.asking.ask(ticket, asked);
        }
    }

    fn finish(&mut self) {
        self.is_finishing = true;
    }

    fn conclude(&mut self) {
        self.is_concluding = true;
    }

    fn is_finished(&self, _: &Topics) -> bool {
        self.is_done || !self.is_concluding
    }
}
