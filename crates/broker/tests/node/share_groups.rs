//! Share groups on a whole node: from the member that joins to the records that it gets, and what is left of them after a
//! restart.

use std::collections::BTreeMap;

use ottla_types::Uuid;
use ottla_wire::ErrorCode;
use ottla_wire::messages::share_acknowledge_request as acknowledge;
use ottla_wire::messages::share_fetch_request as fetch;
use ottla_wire::messages::{
    DescribeShareGroupOffsetsRequest, FindCoordinatorRequest, ShareAcknowledgeRequest, ShareFetchRequest,
    ShareFetchResponse, ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse,
    describe_share_group_offsets_request,
};

use crate::configs::{GROUP, alter_well};
use crate::data_plane::find_coordinator;
use crate::harness::{SteppedNode, connection};
use crate::node_settings::Settings;
use crate::records::put;
use crate::topics::create;

pub const ACCEPT: i8 = 1;
pub const RELEASE: i8 = 2;
pub const REJECT: i8 = 3;
pub const RENEW: i8 = 4;
/// Ends a session.
const FINAL: i32 = -1;

pub fn name_of(code: i16) -> String {
    ErrorCode::from_code(code).map_or_else(|| code.to_string(), |code| code.name().to_owned())
}

/// A node with a topic `t` of one partition, which the group `g` reads from the start.
pub struct Shared {
    pub node: SteppedNode,
    pub topic: Uuid,
    /// Of each member's session, the epoch that comes next.
    epochs: BTreeMap<String, i32>,
}

/// First offset, last offset, how often they were delivered.
pub type Acquired = Vec<(i64, i64, i16)>;

impl Shared {
    pub fn start(settings: Settings<'_>) -> Shared {
        let mut node = SteppedNode::start(settings);
        find_coordinator(&mut node);
        let topic = create(&mut node, "t", 1, &[]);
        alter_well(&mut node, GROUP, "g", &[("share.auto.offset.reset", Some("earliest"))]);
        Shared { node, topic, epochs: BTreeMap::new() }
    }

    pub fn of(node: SteppedNode, topic: Uuid) -> Shared {
        Shared { node, topic, epochs: BTreeMap::new() }
    }

    pub fn set(&mut self, key: &str, value: &str) {
        alter_well(&mut self.node, GROUP, "g", &[(key, Some(value))]);
    }

    /// In steps that keep the broker's own session.
    fn pass_s(&mut self, seconds: usize) {
        (0..seconds).for_each(|_| self.node.pass_ms(1000));
    }

    pub fn put(&mut self, count: usize) {
        (0..count).for_each(|_| put(&mut self.node, self.topic, "k"));
    }

    pub fn beat(&mut self, member_id: &str, member_epoch: i32) -> ShareGroupHeartbeatResponse {
        let request = ShareGroupHeartbeatRequest {
            group_id: "g".to_owned(),
            member_id: member_id.to_owned(),
            member_epoch,
            rack_id: None,
            subscribed_topic_names: (member_epoch == 0).then(|| vec!["t".to_owned()]),
            ..ShareGroupHeartbeatRequest::default()
        };
        self.node.ask(&request, 1)
    }

    /// Joins, and waits until the partition is given to the member.
    pub fn join(&mut self, member_id: &str) {
        let mut epoch = 0;
        for _ in 0..100 {
            let response = self.beat(member_id, epoch);
            assert_eq!(response.error_code, 0, "{:?}", response.error_message);
            epoch = response.member_epoch;
            if response.assignment.is_some_and(|assignment| !assignment.topic_partitions.is_empty()) {
                return;
            }
            self.node.pass_ms(1000);
        }
        panic!("{member_id} was given nothing");
    }

    pub fn request(&mut self, member_id: &str) -> ShareFetchRequest {
        let epoch = self.epochs.entry(member_id.to_owned()).or_insert(0);
        let partition = fetch::Partition { partition_index: 0, ..fetch::Partition::default() };
        let topic =
            fetch::Topic { topic_id: self.topic, partitions: vec![partition], ..fetch::Topic::default() };
        let request = ShareFetchRequest {
            group_id: Some("g".to_owned()),
            member_id: Some(member_id.to_owned()),
            share_session_epoch: *epoch,
            max_wait_ms: 100,
            min_bytes: 1,
            max_bytes: 1 << 20,
            max_records: 500,
            batch_size: 500,
            topics: vec![topic],
            ..ShareFetchRequest::default()
        };
        *epoch += 1;
        request
    }

    pub fn respond(&mut self, request: &ShareFetchRequest) -> ShareFetchResponse {
        self.node.ask(request, 2)
    }

    pub fn fetch(&mut self, member_id: &str) -> Acquired {
        let request = self.request(member_id);
        acquired(&self.respond(&request))
    }

    /// Fetches, and says this of earlier records.
    pub fn fetch_after(&mut self, member_id: &str, first: i64, last: i64, kind: i8) -> Acquired {
        let mut request = self.request(member_id);
        let batch = fetch::AcknowledgementBatch {
            first_offset: first,
            last_offset: last,
            acknowledge_types: vec![kind],
            ..fetch::AcknowledgementBatch::default()
        };
        request.topics[0].partitions[0].acknowledgement_batches = vec![batch];
        let response = self.respond(&request);
        assert_eq!(response.responses[0].partitions[0].acknowledge_error_code, 0);
        acquired(&response)
    }

    /// The error of the whole, or that of the partition.
    pub fn acknowledge(&mut self, member_id: &str, first: i64, last: i64, kind: i8) -> String {
        let request = self.acknowledgement(member_id, first, last, kind);
        let response = self.node.ask(&request, 2);
        match response.error_code {
            0 => name_of(response.responses[0].partitions[0].error_code),
            code => name_of(code),
        }
    }

    pub fn acknowledgement(
        &mut self,
        member_id: &str,
        first: i64,
        last: i64,
        kind: i8,
    ) -> ShareAcknowledgeRequest {
        let epoch = self.epochs.get_mut(member_id).expect("the member has fetched");
        let batch = acknowledge::AcknowledgementBatch {
            first_offset: first,
            last_offset: last,
            acknowledge_types: vec![kind],
            ..acknowledge::AcknowledgementBatch::default()
        };
        let partition = acknowledge::Partition {
            partition_index: 0,
            acknowledgement_batches: vec![batch],
            ..acknowledge::Partition::default()
        };
        let topic = acknowledge::Topic {
            topic_id: self.topic,
            partitions: vec![partition],
            ..acknowledge::Topic::default()
        };
        let request = ShareAcknowledgeRequest {
            group_id: Some("g".to_owned()),
            member_id: Some(member_id.to_owned()),
            share_session_epoch: *epoch,
            is_renew_ack: kind == RENEW,
            topics: vec![topic],
            ..ShareAcknowledgeRequest::default()
        };
        *epoch += 1;
        request
    }

    /// Where the group stands, and how much is left for it.
    fn position(&mut self) -> (i64, i64) {
        let group = describe_share_group_offsets_request::Group {
            group_id: "g".to_owned(),
            topics: None,
            ..describe_share_group_offsets_request::Group::default()
        };
        let request = DescribeShareGroupOffsetsRequest {
            groups: vec![group],
            ..DescribeShareGroupOffsetsRequest::default()
        };
        let response = self.node.ask(&request, 1);
        let partition = &response.groups[0].topics[0].partitions[0];
        assert_eq!(partition.error_code, 0);
        (partition.start_offset, partition.lag)
    }

    fn restarted(self, crashes: bool) -> Shared {
        let (disk, now) = if crashes { self.node.kill() } else { self.node.stop() };
        let mut node = SteppedNode::start_on(disk, &[], now);
        find_coordinator(&mut node);
        Shared { node, topic: self.topic, epochs: BTreeMap::new() }
    }
}

pub fn acquired(response: &ShareFetchResponse) -> Acquired {
    assert_eq!(response.error_code, 0, "{:?}", response.error_message);
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    let mut all = Acquired::new();
    for partition in partitions {
        assert_eq!(partition.error_code, 0);
        let acquired = partition.acquired_records.iter();
        all.extend(acquired.map(|a| (a.first_offset, a.last_offset, a.delivery_count)));
    }
    all
}

fn offsets(acquired: &Acquired) -> Vec<i64> {
    acquired.iter().flat_map(|(first, last, _)| *first..=*last).collect()
}

#[test]
fn each_record_goes_to_one_member_and_comes_back_if_it_is_released() {
    let mut shared = Shared::start(&[]);
    shared.join("a");
    shared.join("b");
    shared.put(5);
    assert_eq!(offsets(&shared.fetch("a")), [0, 1, 2, 3, 4]);
    assert_eq!(shared.fetch("b"), []);
    assert_eq!(shared.acknowledge("b", 0, 0, ACCEPT), "INVALID_RECORD_STATE", "they are a's");
    assert_eq!(shared.acknowledge("a", 0, 1, ACCEPT), "NONE");
    assert_eq!(shared.acknowledge("a", 2, 2, REJECT), "NONE");
    assert_eq!(shared.acknowledge("a", 4, 4, RELEASE), "NONE");
    assert_eq!(shared.fetch("b"), [(4, 4, 2)]);
    assert_eq!(shared.fetch_after("b", 4, 4, ACCEPT), []);
    assert_eq!(shared.position(), (3, 1));
    shared.put(1);
    assert_eq!(shared.fetch_after("a", 3, 3, ACCEPT), [(5, 5, 1)]);
    // The start moves with what is written next; what is done with behind it counts already.
    assert_eq!(shared.position(), (3, 1));
}

#[test]
fn a_lock_that_runs_out_gives_records_to_others_unless_it_is_renewed() {
    let mut shared = Shared::start(&[]);
    shared.join("a");
    shared.join("b");
    shared.put(2);
    assert_eq!(offsets(&shared.fetch("a")), [0, 1]);
    shared.pass_s(20);
    assert_eq!(shared.acknowledge("a", 1, 1, RENEW), "NONE");
    shared.pass_s(11);
    assert_eq!(shared.fetch("b"), [(0, 0, 2)], "30 s are over");
    shared.pass_s(20);
    assert_eq!(shared.fetch("b"), [(1, 1, 2)]);
    assert_eq!(shared.acknowledge("a", 1, 1, ACCEPT), "INVALID_RECORD_STATE");
}

#[test]
fn a_fetch_waits_for_records() {
    let mut shared = Shared::start(&[]);
    shared.join("a");
    assert_eq!(shared.fetch("a"), []);
    let mut request = shared.request("a");
    request.max_wait_ms = 5_000;
    let answer = shared.node.send(&request, 2);
    shared.node.pass_ms(1_000);
    assert!(answer.take::<ShareFetchRequest>(2).is_none());
    shared.put(1);
    let response = answer.take::<ShareFetchRequest>(2).expect("there is a record");
    assert_eq!(acquired(&response), [(0, 0, 1)]);
}

#[test]
fn what_is_held_comes_back_when_the_session_or_the_connection_ends() {
    let mut shared = Shared::start(&[]);
    shared.join("a");
    shared.put(2);
    assert_eq!(offsets(&shared.fetch("a")), [0, 1]);
    let mut request = shared.request("a");
    request.share_session_epoch = FINAL;
    request.topics.clear();
    shared.respond(&request);
    shared.epochs.clear();
    assert_eq!(shared.fetch("a"), [(0, 1, 2)], "they may have been seen");
    let connection = connection(1);
    shared.node.closed(&connection);
    shared.node.step();
    assert_eq!(shared.fetch("b"), [(0, 1, 3)]);
}

#[test]
fn sessions_have_epochs() {
    let mut shared = Shared::start(&[]);
    shared.join("a");
    let mut request = shared.request("a");
    request.share_session_epoch = 3;
    assert_eq!(name_of(shared.respond(&request).error_code), "SHARE_SESSION_NOT_FOUND");
    request.share_session_epoch = 0;
    assert_eq!(shared.respond(&request).error_code, 0);
    request.share_session_epoch = 2;
    assert_eq!(name_of(shared.respond(&request).error_code), "INVALID_SHARE_SESSION_EPOCH");
    request.share_session_epoch = 1;
    assert_eq!(shared.respond(&request).error_code, 0);
}

#[test]
fn a_restart_keeps_what_was_said_of_records() {
    for crashes in [false, true] {
        let mut shared = Shared::start(&[]);
        shared.join("a");
        shared.put(4);
        assert_eq!(offsets(&shared.fetch("a")), [0, 1, 2, 3]);
        assert_eq!(shared.acknowledge("a", 0, 0, ACCEPT), "NONE");
        assert_eq!(shared.acknowledge("a", 2, 2, RELEASE), "NONE");
        let mut shared = shared.restarted(crashes);
        shared.join("b");
        let mut all = shared.fetch("b");
        for _ in 0..100 {
            if !all.is_empty() {
                break;
            }
            shared.node.pass_ms(100);
            all = shared.fetch("b");
        }
        assert_eq!(offsets(&all), [1, 2, 3]);
        assert!(all.contains(&(2, 2, 2)), "{all:?}");
        assert_eq!(shared.position().0, 1);
    }
}

#[test]
fn the_share_coordinator_is_found_by_group_topic_and_partition() {
    let mut shared = Shared::start(&[]);
    let mut find = |key: String, version: i16| {
        let request = FindCoordinatorRequest {
            key_type: 2,
            coordinator_keys: vec![key],
            ..FindCoordinatorRequest::default()
        };
        name_of(shared.node.ask(&request, version).coordinators[0].error_code)
    };
    let key = format!("g:{}:0", shared.topic);
    assert_eq!(find(key.clone(), 6), "COORDINATOR_NOT_AVAILABLE", "its topic is created now");
    for _ in 0..100 {
        if find(key.clone(), 6) == "NONE" {
            return;
        }
    }
    panic!("it was not found");
}
