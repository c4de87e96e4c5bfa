//! Transactions from their requests to the partitions: what readers see of them, whatever happens in between.

use bytes::Bytes;
use ottla_record::{BatchBuilder, BatchOptions, Batches, NewRecord};
use ottla_types::{ProducerEpoch, ProducerId, Uuid};
use ottla_wire::messages::UpdateFeaturesRequest;
use ottla_wire::messages::produce_request::{self, ProduceRequest};
use ottla_wire::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeProducersRequest, DescribeTransactionsRequest,
    EndTxnRequest, FetchRequest, FindCoordinatorRequest, InitProducerIdRequest, ListTransactionsRequest,
    OffsetFetchRequest, TxnOffsetCommitRequest, WriteTxnMarkersRequest, add_partitions_to_txn_request,
    describe_producers_request, fetch_request, offset_fetch_request, txn_offset_commit_request,
    update_features_request, write_txn_markers_request,
};
use ottla_wire::{ErrorCode, Records};

use crate::harness::SteppedNode;
use crate::topics::{create, delete};

pub const ID: &str = "transactional-id";
const GROUP: &str = "group";
const TIMEOUT_MS: i32 = 60_000;
/// The newest version of Produce lets the leader add the partition to the transaction.
pub const ADDING: i16 = 13;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Producer {
    pub id: i64,
    pub epoch: i16,
}

/// What a new cluster has.
const LATEST_LEVEL: i16 = 2;
const SAFE_DOWNGRADE: i8 = 2;

/// A node with a topic of two partitions, and the level of `transaction.version`.
pub struct World {
    pub node: SteppedNode,
    pub topic: Uuid,
    /// The next sequence number, by partition.
    sequences: [i32; 2],
}

impl World {
    pub fn at_level(level: i16, settings: &[(&str, &str)]) -> World {
        let mut node = SteppedNode::start(settings);
        let feature = update_features_request::FeatureUpdate {
            feature: "transaction.version".to_owned(),
            max_version_level: level,
            upgrade_type: SAFE_DOWNGRADE,
            ..Default::default()
        };
        if level < LATEST_LEVEL {
            let request = UpdateFeaturesRequest { feature_updates: vec![feature], ..Default::default() };
            assert_eq!(node.ask(&request, 1).error_code, 0);
        }
        let topic = create(&mut node, "t", 2, &[]);
        let mut world = World { node, topic, sequences: [0; 2] };
        world.find_coordinator(ID, 1);
        world.find_coordinator(GROUP, 0);
        world
    }

    fn new() -> World {
        World::at_level(2, &[])
    }

    pub fn find_coordinator(&mut self, key: &str, key_type: i8) {
        let request = FindCoordinatorRequest {
            key_type,
            coordinator_keys: vec![key.to_owned()],
            ..FindCoordinatorRequest::default()
        };
        for _ in 0..100 {
            if self.node.ask(&request, 6).coordinators[0].error_code == 0 {
                return;
            }
            self.node.pass_ms(100);
        }
        panic!("no coordinator was found");
    }

    pub fn init(&mut self) -> Producer {
        for _ in 0..100 {
            match self.try_init() {
                Ok(producer) => return producer,
                Err(ErrorCode::ConcurrentTransactions | ErrorCode::CoordinatorLoadInProgress) => {
                    self.node.pass_ms(20);
                }
                Err(code) => panic!("{code:?}"),
            }
        }
        panic!("the transaction before is not ended");
    }

    pub fn try_init(&mut self) -> Result<Producer, ErrorCode> {
        let request = InitProducerIdRequest {
            transactional_id: Some(ID.to_owned()),
            transaction_timeout_ms: TIMEOUT_MS,
            ..InitProducerIdRequest::default()
        };
        let response = self.node.ask(&request, 5);
        self.sequences = [0; 2];
        match error(response.error_code) {
            ErrorCode::None => Ok(Producer { id: response.producer_id, epoch: response.producer_epoch }),
            code => Err(code),
        }
    }

    fn add(&mut self, who: Producer, partitions: &[i32]) -> Vec<ErrorCode> {
        let topic = add_partitions_to_txn_request::V3AndBelowTopic {
            name: "t".to_owned(),
            partitions: partitions.to_vec(),
            ..Default::default()
        };
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: ID.to_owned(),
            v3_and_below_producer_id: who.id,
            v3_and_below_producer_epoch: who.epoch,
            v3_and_below_topics: vec![topic],
            ..Default::default()
        };
        let response = self.node.ask(&request, 3);
        let topics = response.results_by_topic_v3_and_below;
        topics[0].results_by_partition.iter().map(|result| error(result.partition_error_code)).collect()
    }

    /// Produces one record, in the transaction of `who` or outside of any.
    pub fn produce(&mut self, version: i16, who: Option<Producer>, index: i32, value: &str) -> ErrorCode {
        let sequence = self.sequences[index as usize];
        let options = who.map_or(BatchOptions::default(), |who| BatchOptions {
            producer_id: ProducerId(who.id),
            producer_epoch: ProducerEpoch(who.epoch),
            base_sequence: sequence,
            transactional: true,
            ..BatchOptions::default()
        });
        let mut builder = BatchBuilder::new(options);
        let timestamp = self.node.now().wall;
        builder
            .append(&NewRecord { timestamp, key: None, value: Some(value.as_bytes()), headers: &[] })
            .unwrap();
        let records = Some(Bytes::from(builder.build().unwrap()));
        let partition = produce_request::PartitionData { index, records, ..Default::default() };
        let topic = produce_request::TopicData {
            name: if version < 13 { "t".to_owned() } else { String::new() },
            topic_id: if version < 13 { Uuid::ZERO } else { self.topic },
            partition_data: vec![partition],
            ..Default::default()
        };
        let request = ProduceRequest {
            transactional_id: who.map(|_| ID.to_owned()),
            acks: -1,
            timeout_ms: 1000,
            topic_data: vec![topic],
            ..ProduceRequest::default()
        };
        let response = self.node.ask(&request, version);
        let code = error(response.responses[0].partition_responses[0].error_code);
        if code == ErrorCode::None && who.is_some() {
            self.sequences[index as usize] += 1;
        }
        code
    }

    pub fn write(&mut self, who: Producer, index: i32, value: &str) {
        assert_eq!(self.produce(ADDING, Some(who), index, value), ErrorCode::None);
    }

    pub fn end(&mut self, version: i16, who: Producer, committed: bool) -> Result<Producer, ErrorCode> {
        let request = EndTxnRequest {
            transactional_id: ID.to_owned(),
            producer_id: who.id,
            producer_epoch: who.epoch,
            committed,
            ..EndTxnRequest::default()
        };
        let response = self.node.ask(&request, version);
        match error(response.error_code) {
            ErrorCode::None if version < 5 => Ok(who),
            ErrorCode::None => {
                self.sequences = [0; 2];
                Ok(Producer { id: response.producer_id, epoch: response.producer_epoch })
            }
            code => Err(code),
        }
    }

    /// The values that a reader gets of a partition, with the last stable offset that it is told.
    fn read(&mut self, index: i32, is_committed: bool) -> (Vec<String>, i64) {
        let partition = fetch_request::Partition {
            partition: index,
            current_leader_epoch: -1,
            partition_max_bytes: 1 << 20,
            ..Default::default()
        };
        let topic =
            fetch_request::Topic { topic_id: self.topic, partitions: vec![partition], ..Default::default() };
        let request = FetchRequest {
            max_wait_ms: 0,
            min_bytes: 0,
            max_bytes: 1 << 20,
            isolation_level: i8::from(is_committed),
            session_epoch: -1,
            topics: vec![topic],
            ..Default::default()
        };
        let response = self.node.ask(&request, 13);
        let data = &response.responses[0].partitions[0];
        assert_eq!(data.error_code, 0);
        let mut aborted: Vec<(i64, i64)> = data
            .aborted_transactions
            .iter()
            .flatten()
            .map(|aborted| (aborted.first_offset, aborted.producer_id))
            .collect();
        let Records::Bytes(bytes) = &data.records else { return (Vec::new(), data.last_stable_offset) };
        let mut values = Vec::new();
        let mut skipped: Vec<i64> = Vec::new();
        for batch in Batches::new(bytes) {
            let batch = batch.unwrap();
            let producer = batch.producer_id.0;
            // As a client does it: an aborted transaction lasts from its first offset to its marker.
            aborted.retain(|(first, of)| {
                let begins = *first <= batch.last_offset().0;
                if begins {
                    skipped.push(*of);
                }
                !begins
            });
            if batch.is_control() {
                skipped.retain(|of| *of != producer);
                continue;
            }
            if batch.is_transactional() && skipped.contains(&producer) {
                continue;
            }
            batch
                .records(1 << 20)
                .unwrap()
                .for_each(|record| {
                    values.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
                    Ok::<(), ottla_record::RecordError>(())
                })
                .unwrap();
        }
        (values, data.last_stable_offset)
    }

    fn committed(&mut self, index: i32) -> Vec<String> {
        self.read(index, true).0
    }

    fn commit_offset(&mut self, version: i16, who: Producer, committed_offset: i64) -> ErrorCode {
        let partition = txn_offset_commit_request::Partition {
            partition_index: 0,
            committed_offset,
            ..Default::default()
        };
        let topic = txn_offset_commit_request::Topic {
            name: "t".to_owned(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request = TxnOffsetCommitRequest {
            transactional_id: ID.to_owned(),
            group_id: GROUP.to_owned(),
            producer_id: who.id,
            producer_epoch: who.epoch,
            topics: vec![topic],
            ..Default::default()
        };
        error(self.node.ask(&request, version).topics[0].partitions[0].error_code)
    }

    fn offset(&mut self, require_stable: bool) -> Result<i64, ErrorCode> {
        let topic = offset_fetch_request::GroupTopic {
            name: "t".to_owned(),
            partition_indexes: vec![0],
            ..Default::default()
        };
        let group = offset_fetch_request::Group {
            group_id: GROUP.to_owned(),
            topics: Some(vec![topic]),
            ..Default::default()
        };
        let request =
            OffsetFetchRequest { groups: vec![group], require_stable, ..OffsetFetchRequest::default() };
        for _ in 0..100 {
            let fetched = self.node.ask(&request, 9).groups.remove(0);
            if error(fetched.error_code) == ErrorCode::CoordinatorLoadInProgress {
                self.node.pass_ms(20);
                continue;
            }
            assert_eq!(fetched.error_code, 0);
            let partition = &fetched.topics[0].partitions[0];
            return match error(partition.error_code) {
                ErrorCode::None => Ok(partition.committed_offset),
                code => Err(code),
            };
        }
        panic!("the group's coordinator does not load");
    }

    /// Lets time pass, little enough at a time for the broker to stay in the cluster.
    pub fn pass_s(&mut self, seconds: usize) {
        (0..seconds).for_each(|_| self.node.pass_ms(1000));
    }

    pub fn status(&mut self) -> String {
        let request = DescribeTransactionsRequest {
            transactional_ids: vec![ID.to_owned()],
            ..DescribeTransactionsRequest::default()
        };
        self.node.ask(&request, 0).transaction_states.remove(0).transaction_state
    }

    /// Ends the process, and starts another on what it left.
    fn restart(
        self,
        stop: impl FnOnce(SteppedNode) -> (std::sync::Arc<ottla_log::disk::SimDisk>, ottla_types::Now),
    ) -> World {
        let World { node, topic, sequences } = self;
        let (disk, now) = stop(node);
        let mut world = World { node: SteppedNode::start_on(disk, &[], now), topic, sequences };
        world.find_coordinator(ID, 1);
        world
    }
}

fn error(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).expect("a known code")
}

#[test]
fn readers_of_what_is_committed_see_all_of_a_transaction_or_nothing() {
    for (level, produce_version, end_version) in [(2, ADDING, 5), (0, 11, 4), (1, 11, 4)] {
        let mut world = World::at_level(level, &[]);
        let mut who = world.init();
        assert_eq!(world.produce(ADDING, None, 0, "before"), ErrorCode::None);
        for (value, committed) in [("a", true), ("b", false), ("c", true)] {
            if end_version < 5 {
                assert_eq!(world.add(who, &[0, 1]), [ErrorCode::None; 2]);
            }
            for index in [0, 1] {
                assert_eq!(world.produce(produce_version, Some(who), index, value), ErrorCode::None);
            }
            assert_eq!(world.produce(ADDING, None, 0, &format!("beside {value}")), ErrorCode::None);
            let (seen, stable) = world.read(0, true);
            assert!(!seen.iter().any(|seen| seen == value || seen.ends_with(value)), "{seen:?}");
            let (all, same) = world.read(0, false);
            assert_eq!(all.last(), Some(&format!("beside {value}")));
            assert_eq!(stable, same);
            who = world.end(end_version, who, committed).unwrap();
            assert!(world.status().starts_with("Complete"));
        }
        assert_eq!(world.committed(0), ["before", "a", "beside a", "beside b", "c", "beside c"], "{level}");
        assert_eq!(world.committed(1), ["a", "c"]);
        assert_eq!(world.read(1, false).0, ["a", "b", "c"]);
    }
}

#[test]
fn a_partition_that_the_client_did_not_add_is_refused_or_added_by_version() {
    let mut world = World::new();
    let who = world.init();
    assert_eq!(world.produce(10, Some(who), 0, "x"), ErrorCode::InvalidTxnState);
    assert_eq!(world.produce(11, Some(who), 0, "x"), ErrorCode::TransactionAbortable);
    assert_eq!(world.read(0, false).0, [""; 0]);
    assert_eq!(world.produce(12, Some(who), 0, "x"), ErrorCode::None);
    assert_eq!(world.status(), "Ongoing");
    let unknown = Producer { id: who.id + 1, ..who };
    assert_eq!(world.produce(12, Some(unknown), 1, "x"), ErrorCode::InvalidProducerIdMapping);
    assert_eq!(
        world.add(who, &[1, 7]),
        [ErrorCode::OperationNotAttempted, ErrorCode::UnknownTopicOrPartition]
    );
}

#[test]
fn without_verification_old_clients_are_trusted() {
    let mut world = World::at_level(2, &[("transaction.partition.verification.enable", "false")]);
    let who = world.init();
    assert_eq!(world.produce(11, Some(who), 0, "x"), ErrorCode::None);
    assert_eq!(world.status(), "Empty", "nobody asked the coordinator");
}

#[test]
fn a_leader_adds_itself_though_a_transaction_of_before_is_open_there() {
    // As when the marker of what a client has ended is to come, and the client does not add partitions any more.
    let mut world = World::at_level(2, &[("transaction.partition.verification.enable", "false")]);
    let who = world.init();
    assert_eq!(world.produce(11, Some(who), 0, "before"), ErrorCode::None);
    assert_eq!(world.status(), "Empty");
    world.write(who, 0, "x");
    assert_eq!(world.status(), "Ongoing");
}

#[test]
fn a_fenced_producer_appends_nothing_and_its_transaction_is_aborted() {
    let mut world = World::new();
    let first = world.init();
    world.write(first, 0, "old");
    let second = world.init();
    assert!(second.epoch > first.epoch);
    world.sequences = [1, 0];
    for index in [0, 1] {
        assert_eq!(world.produce(ADDING, Some(first), index, "late"), ErrorCode::InvalidProducerEpoch);
    }
    assert_eq!(world.end(5, first, true), Err(ErrorCode::ProducerFenced));
    assert_eq!(world.end(1, first, true), Err(ErrorCode::InvalidProducerEpoch));
    world.sequences = [0; 2];
    world.write(second, 0, "new");
    world.end(5, second, true).unwrap();
    assert_eq!(world.committed(0), ["new"]);
    assert_eq!(world.read(0, false).0, ["old", "new"]);
}

#[test]
fn offsets_count_with_their_transaction() {
    for (commit_version, end_version) in [(5, 5), (4, 4), (3, 4)] {
        let mut world = World::at_level(if end_version == 5 { 2 } else { 0 }, &[]);
        let mut who = world.init();
        for (offset, committed, then) in [(10, true, 10), (20, false, 10), (30, true, 30)] {
            let before = world.offset(true).unwrap();
            if commit_version < 5 {
                let wanted = if commit_version == 4 {
                    ErrorCode::TransactionAbortable
                } else {
                    ErrorCode::InvalidTxnState
                };
                assert_eq!(world.commit_offset(commit_version, who, offset), wanted);
                let request = AddOffsetsToTxnRequest {
                    transactional_id: ID.to_owned(),
                    producer_id: who.id,
                    producer_epoch: who.epoch,
                    group_id: GROUP.to_owned(),
                    ..Default::default()
                };
                assert_eq!(world.node.ask(&request, 3).error_code, 0);
            }
            assert_eq!(world.commit_offset(commit_version, who, offset), ErrorCode::None);
            assert_eq!(world.offset(false), Ok(before));
            assert_eq!(world.offset(true), Err(ErrorCode::UnstableOffsetCommit));
            who = world.end(end_version, who, committed).unwrap();
            assert_eq!(world.offset(true), Ok(then), "version {commit_version}");
        }
        world = world.restart(SteppedNode::kill);
        assert_eq!(world.offset(true), Ok(30), "a restarted coordinator has the same");
    }
}

#[test]
fn an_open_transaction_outlives_its_broker_and_ends_afterwards() {
    for committed in [true, false] {
        for stop in [SteppedNode::stop, SteppedNode::kill] {
            let mut world = World::new();
            let who = world.init();
            world.write(who, 0, "a");
            assert_eq!(world.commit_offset(5, who, 5), ErrorCode::None);
            world = world.restart(stop);
            assert_eq!(world.offset(true), Err(ErrorCode::UnstableOffsetCommit));
            assert_eq!(world.committed(0), [""; 0]);
            world.sequences = [1, 0];
            world.write(who, 0, "b");
            world.write(who, 1, "c");
            world.end(5, who, committed).unwrap();
            let (of_0, of_1, offset) =
                if committed { (vec!["a", "b"], vec!["c"], 5) } else { (vec![], vec![], -1) };
            assert_eq!((world.committed(0), world.committed(1)), (strings(&of_0), strings(&of_1)));
            assert_eq!(world.offset(true), Ok(offset));
        }
    }
}

fn strings(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

#[test]
fn what_takes_too_long_is_aborted() {
    let mut world = World::new();
    let who = world.init();
    world.write(who, 0, "a");
    world.pass_s(80);
    assert_eq!(world.status(), "CompleteAbort");
    assert_eq!(world.committed(0), [""; 0]);
    world.sequences = [1, 0];
    assert_eq!(world.produce(ADDING, Some(who), 0, "b"), ErrorCode::InvalidProducerEpoch);
    assert_eq!(world.produce(ADDING, None, 0, "c"), ErrorCode::None);
    assert_eq!(world.committed(0), ["c"], "the last stable offset goes on");
}

#[test]
fn a_transaction_ends_though_a_topic_of_it_is_gone() {
    let mut world = World::new();
    let who = world.init();
    world.write(who, 0, "a");
    assert_eq!(delete(&mut world.node, "t"), 0);
    world.end(5, who, true).unwrap();
    assert_eq!(world.status(), "CompleteCommit");
}

#[test]
fn administrators_find_and_abort_what_hangs() {
    // Nobody knows of the transaction but the partition.
    let mut world = World::at_level(2, &[("transaction.partition.verification.enable", "false")]);
    world.init();
    let who = world.init();
    assert_eq!(world.produce(11, Some(who), 0, "a"), ErrorCode::None);
    assert_eq!(world.produce(ADDING, None, 0, "b"), ErrorCode::None);
    assert_eq!(world.committed(0), [""; 0]);
    let topic = describe_producers_request::Topic {
        name: "t".to_owned(),
        partition_indexes: vec![0],
        ..Default::default()
    };
    let request = DescribeProducersRequest { topics: vec![topic], ..Default::default() };
    let open = world.node.ask(&request, 0).topics[0].partitions[0].active_producers.remove(0);
    assert_eq!((open.producer_id, open.current_txn_start_offset, open.coordinator_epoch), (who.id, 0, -1));
    let mut abort = |coordinator_epoch, epoch| {
        let topic = write_txn_markers_request::Topic {
            name: "t".to_owned(),
            partition_indexes: vec![0],
            ..Default::default()
        };
        let marker = write_txn_markers_request::Marker {
            producer_id: who.id,
            producer_epoch: epoch,
            coordinator_epoch,
            transaction_result: false,
            topics: vec![topic],
            ..Default::default()
        };
        let request = WriteTxnMarkersRequest { markers: vec![marker], ..Default::default() };
        error(world.node.ask(&request, 1).markers[0].topics[0].partitions[0].error_code)
    };
    assert_eq!(abort(3, who.epoch), ErrorCode::None);
    assert_eq!(abort(2, who.epoch), ErrorCode::TransactionCoordinatorFenced);
    assert_eq!(abort(3, who.epoch - 1), ErrorCode::InvalidProducerEpoch);
    assert_eq!(world.committed(0), ["b"]);
}

#[test]
fn transactions_are_listed() {
    let mut world = World::new();
    let who = world.init();
    world.write(who, 0, "a");
    world.node.pass_ms(5000);
    let mut list = |duration_filter, pattern: &str| {
        let request = ListTransactionsRequest {
            duration_filter,
            transactional_id_pattern: Some(pattern.to_owned()),
            ..ListTransactionsRequest::default()
        };
        let response = world.node.ask(&request, 2);
        assert_eq!(response.error_code, 0);
        response
            .transaction_states
            .into_iter()
            .map(|s| (s.transactional_id, s.transaction_state))
            .collect::<Vec<_>>()
    };
    let open = [(ID.to_owned(), "Ongoing".to_owned())];
    assert_eq!(list(-1, ""), open);
    assert_eq!(list(4000, "trans.*"), open);
    assert_eq!(list(6000, ""), []);
    assert_eq!(list(-1, "other"), []);
}
