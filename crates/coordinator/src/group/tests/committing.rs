//! Offsets that are committed at once and in transactions, taken back one by one or with their group or topic, and that
//! expire; over a log that fails, commits late, is compacted and changes its leader at any record: all from one seed. What
//! anybody is told is what the log says, read by a model that knows nothing of shards.

use std::collections::BTreeMap;

use ottla_testkit::cases;
use ottla_types::{ProducerEpoch, ProducerId, TopicPartition};
use ottla_wire::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, OffsetCommitResponse, OffsetDeleteRequest,
    OffsetDeleteResponse, OffsetFetchRequest, OffsetFetchResponse, TxnOffsetCommitRequest,
    TxnOffsetCommitResponse, offset_delete_request, offset_fetch_request, txn_offset_commit_request,
};
use proptest::prelude::*;

use super::offsets::{commit_request, send_commit, send_fetch};
use super::*;
use crate::group::record::{self, GroupRecord};
use crate::runtime::{Producer, StoredContent, TransactionMarker};
use crate::testing::Choices;

const GROUPS: [&str; 2] = [GROUP, "other"];
const PARTITIONS: [(&str, i32); 3] = [("t", 0), ("t", 1), ("u", 0)];
const PRODUCERS: i64 = 3;
const RETENTION_MS: i64 = 60_000;

/// What a fetch of all partitions is answered: each one's error and offset.
type Fetched = Vec<(ErrorCode, i64)>;

/// What a log says of offsets.
#[derive(Debug, Default, PartialEq)]
struct Model {
    /// With where they lie in the log.
    committed: BTreeMap<(String, TopicPartition), (Offset, i64)>,
    pending: BTreeMap<(ProducerId, String, TopicPartition), (Offset, i64)>,
}

impl Model {
    fn of(log: &MemoryLog) -> Model {
        let mut model = Model::default();
        for batch in &log.batches {
            match (&batch.content, batch.producer) {
                (StoredContent::Records(records), producer) => {
                    for stored in records {
                        let key = stored.key.clone().unwrap();
                        let decoded = record::decode(key, stored.value.clone()).unwrap();
                        model.read(stored.offset, producer, decoded);
                    }
                }
                (StoredContent::EndTransaction { committed }, Some(producer)) => {
                    model.end(producer.id, *committed);
                }
                _ => {}
            }
        }
        model
    }

    fn read(&mut self, at: Offset, producer: Option<Producer>, record: Option<GroupRecord>) {
        let Some(GroupRecord::OffsetCommit { group_id, partition, value }) = record else { return };
        let group = group_id.to_string();
        match (value, producer) {
            (Some(value), None) => {
                self.committed.insert((group, partition), (at, value.offset));
            }
            (Some(value), Some(producer)) => {
                self.pending.insert((producer.id, group, partition), (at, value.offset));
            }
            (None, _) => {
                self.pending.retain(|(_, g, p), _| (g, p) != (&group, &partition));
                self.committed.remove(&(group, partition));
            }
        }
    }

    fn end(&mut self, producer: ProducerId, is_committed: bool) {
        for ((id, group, partition), offset) in std::mem::take(&mut self.pending) {
            if id != producer {
                self.pending.insert((id, group, partition), offset);
            } else if is_committed {
                let committed = self.committed.entry((group, partition)).or_insert(offset);
                *committed = offset.max(*committed);
            }
        }
    }

    fn has_pending(&self, group: &str, partition: &TopicPartition) -> bool {
        self.pending.keys().any(|(_, g, p)| (g.as_str(), p) == (group, partition))
    }

    fn fetched(&self, group: &str, require_stable: bool) -> Fetched {
        let of = |(topic, number): (&str, i32)| {
            let partition = TopicPartition::new(topic, number);
            if require_stable && self.has_pending(group, &partition) {
                return (ErrorCode::UnstableOffsetCommit, -1);
            }
            let committed = self.committed.get(&(group.to_owned(), partition));
            (ErrorCode::None, committed.map_or(-1, |(_, offset)| *offset))
        };
        PARTITIONS.into_iter().map(of).collect()
    }
}

/// A request that waits for its answer, with where the log ended when it was taken.
struct Asked<R> {
    answer: Answer<R>,
    log_end: Offset,
}

struct World {
    choices: Choices,
    rig: Rig,
    /// Where the log ended that the coordinator found.
    found_end: Offset,
    last_offset: i64,
    commits: Vec<Asked<OffsetCommitResponse>>,
    txn_commits: Vec<Asked<TxnOffsetCommitResponse>>,
    ends: Vec<Asked<Result<(), ErrorCode>>>,
    deletions: Vec<Asked<OffsetDeleteResponse>>,
    group_deletions: Vec<Asked<DeleteGroupsResponse>>,
    /// With what they must be answered unless the coordinator is lost first.
    fetches: Vec<(Fetched, Asked<OffsetFetchResponse>)>,
}

impl World {
    fn new(seed: u64) -> World {
        let rig = Rig::with_config(GroupCoordinatorConfig {
            offsets_retention_ms: RETENTION_MS,
            offsets_retention_check_interval_ms: 5_000,
            ..config()
        });
        rig.hold_commits();
        World {
            choices: Choices::new(seed),
            rig,
            found_end: Offset::ZERO,
            last_offset: 0,
            commits: Vec::new(),
            txn_commits: Vec::new(),
            ends: Vec::new(),
            deletions: Vec::new(),
            group_deletions: Vec::new(),
            fetches: Vec::new(),
        }
    }

    fn step(&mut self) {
        match self.choices.below(40) {
            0..=4 => self.commit(),
            5..=13 => self.commit_in_transaction(),
            14..=18 => self.end_transaction(),
            19..=22 => self.fetch(),
            23..=24 => self.delete_offset(),
            25 => self.delete_group(),
            26 => self.delete_topic(),
            27..=29 => self.rig.pass([1, 4_000, 20_000][self.choices.below(3)]),
            30..=36 => self.rig.commit_some(&mut self.choices),
            37 => self.rig.fail_next_append(ErrorCode::NotEnoughReplicas),
            38 => self.fail_over(),
            _ => {}
        }
        self.look_at_answers();
        self.rig.check_replay();
    }

    fn group(&mut self) -> &'static str {
        GROUPS[self.choices.below(GROUPS.len())]
    }

    fn partition(&mut self) -> (&'static str, i32) {
        PARTITIONS[self.choices.below(PARTITIONS.len())]
    }

    fn producer(&mut self) -> Producer {
        Producer { id: ProducerId(self.choices.below(PRODUCERS as usize) as i64), epoch: ProducerEpoch(0) }
    }

    fn next_offset(&mut self) -> i64 {
        self.last_offset += 1;
        self.last_offset
    }

    fn asked<R>(&self, answer: Answer<R>) -> Asked<R> {
        Asked { answer, log_end: self.rig.logs.log(0).end() }
    }

    fn commit(&mut self) {
        let (group, (topic, partition), offset) = (self.group(), self.partition(), self.next_offset());
        let request = commit_request(&[(topic, partition, offset)]);
        let request = ottla_wire::messages::OffsetCommitRequest { group_id: group.to_owned(), ..request };
        let answer = send_commit(&self.rig, 9, request);
        self.commits.push(self.asked(answer));
    }

    fn commit_in_transaction(&mut self) {
        let (group, (topic, number)) = (self.group(), self.partition());
        let (producer, offset) = (self.producer(), self.next_offset());
        let partition = txn_offset_commit_request::Partition {
            partition_index: number,
            committed_offset: offset,
            ..Default::default()
        };
        let request = TxnOffsetCommitRequest {
            group_id: group.to_owned(),
            producer_id: producer.id.0,
            producer_epoch: producer.epoch.0,
            topics: vec![txn_offset_commit_request::Topic {
                name: topic.to_owned(),
                partitions: vec![partition],
                ..Default::default()
            }],
            ..TxnOffsetCommitRequest::default()
        };
        let rig = &self.rig;
        let answer =
            Answer::of(|reply| rig.coordinator.txn_offset_commit(rig.context(4), request, Some(1), reply));
        self.txn_commits.push(self.asked(answer));
    }

    fn end_transaction(&mut self) {
        let marker = TransactionMarker {
            producer: self.producer(),
            committed: self.choices.one_in(2),
            coordinator_epoch: 0,
            transaction_version: 2,
        };
        let answer = self.send_end(marker);
        self.ends.push(self.asked(answer));
    }

    fn send_end(&self, marker: TransactionMarker) -> Answer<Result<(), ErrorCode>> {
        let rig = &self.rig;
        Answer::of(|reply| rig.coordinator.end_transaction(0, marker, rig.now(), reply))
    }

    fn fetch(&mut self) {
        let (group, require_stable) = (self.group(), self.choices.one_in(2));
        let log = self.rig.logs.log(0);
        let waits = require_stable || log.high_watermark < self.found_end;
        let seen = if waits { log } else { log.truncated(log.high_watermark) };
        let expected = Model::of(&seen).fetched(group, require_stable);
        let answer = self.send_fetch(group, require_stable);
        self.fetches.push((expected, self.asked(answer)));
    }

    fn send_fetch(&self, group: &str, require_stable: bool) -> Answer<OffsetFetchResponse> {
        let topics = PARTITIONS.into_iter().map(|(topic, number)| offset_fetch_request::GroupTopic {
            name: topic.to_owned(),
            partition_indexes: vec![number],
            ..Default::default()
        });
        let group = offset_fetch_request::Group {
            group_id: group.to_owned(),
            member_epoch: -1,
            topics: Some(topics.collect()),
            ..Default::default()
        };
        let request =
            OffsetFetchRequest { groups: vec![group], require_stable, ..OffsetFetchRequest::default() };
        send_fetch(&self.rig, 9, request)
    }

    fn delete_offset(&mut self) {
        let (group, (topic, partition_index)) = (self.group(), self.partition());
        let request = OffsetDeleteRequest {
            group_id: group.to_owned(),
            topics: vec![offset_delete_request::Topic {
                name: topic.to_owned(),
                partitions: vec![offset_delete_request::Partition { partition_index }],
            }],
        };
        let rig = &self.rig;
        let answer = Answer::of(|reply| rig.coordinator.offset_delete(rig.context(0), request, reply));
        self.deletions.push(self.asked(answer));
    }

    fn delete_group(&mut self) {
        let group = self.group();
        let request = DeleteGroupsRequest { groups_names: vec![group.to_owned()], ..Default::default() };
        let rig = &self.rig;
        let answer = Answer::of(|reply| rig.coordinator.delete_groups(rig.context(2), request, reply));
        self.group_deletions.push(self.asked(answer));
    }

    fn delete_topic(&mut self) {
        let (topic, _) = self.partition();
        self.rig.coordinator.on_topics_deleted(&[(topic.to_owned(), Uuid([9; 16]))], self.rig.now());
    }

    fn fail_over(&mut self) {
        self.rig = self.rig.failed_over(&mut self.choices);
        self.found_end = self.rig.logs.log(0).end();
        // Whoever waited has been told that this is no coordinator any more.
        self.look_at_answers();
        let waiting = self.commits.len() + self.txn_commits.len() + self.ends.len();
        let waiting = waiting + self.deletions.len() + self.group_deletions.len() + self.fetches.len();
        assert_eq!(waiting, 0, "somebody was left hanging");
    }

    fn look_at_answers(&mut self) {
        let committed = self.rig.logs.log(0).high_watermark;
        let is_none = |code: i16| code == ErrorCode::None.code();
        heed(&mut self.commits, committed, |r| is_none(r.topics[0].partitions[0].error_code));
        heed(&mut self.txn_commits, committed, |r| is_none(r.topics[0].partitions[0].error_code));
        heed(&mut self.ends, committed, Result::is_ok);
        heed(&mut self.deletions, committed, |r| is_none(r.error_code));
        heed(&mut self.group_deletions, committed, |r| is_none(r.results[0].error_code));
        self.fetches.retain(|(expected, asked)| {
            let Some(response) = asked.answer.get() else { return true };
            let group = &response.groups[0];
            if is_none(group.error_code) {
                assert_eq!(&partitions(group), expected);
            }
            false
        });
    }

    /// Once nothing fails any more, transactions end, and what nobody uses expires.
    fn settle(&mut self) {
        self.rig.logs.failures.lock().clear();
        *self.rig.logs.commit_at_once.lock() = true;
        self.rig.commit();
        self.look_at_answers();
        for id in 0..PRODUCERS {
            let producer = Producer { id: ProducerId(id), epoch: ProducerEpoch(0) };
            let marker =
                TransactionMarker { producer, committed: true, coordinator_epoch: 0, transaction_version: 2 };
            assert_eq!(self.send_end(marker).now(), Ok(()));
        }
        let model = Model::of(&self.rig.logs.log(0));
        for group in GROUPS {
            let response = self.send_fetch(group, true).now();
            assert_eq!(partitions(&response.groups[0]), model.fetched(group, true));
        }
        self.rig.check_replay();
        self.rig.pass(RETENTION_MS as i32);
        self.rig.pass(RETENTION_MS as i32);
        let (written, _) = self.rig.states();
        assert_eq!(written, GroupState::default(), "something outlives its time");
    }
}

fn partitions(group: &ottla_wire::messages::offset_fetch_response::Group) -> Fetched {
    let partitions = group.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|partition| (error(partition.error_code), partition.committed_offset)).collect()
}

/// Takes the answers that have come: what was done is committed by then.
fn heed<R: Clone + Send + 'static>(
    waiting: &mut Vec<Asked<R>>,
    committed: Offset,
    is_done: impl Fn(&R) -> bool,
) {
    waiting.retain(|asked| {
        let Some(response) = asked.answer.get() else { return true };
        assert!(!is_done(&response) || asked.log_end <= committed, "answered before it was committed");
        false
    });
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 0, ..cases(40) })]

    #[test]
    fn whatever_happens(seed in any::<u64>()) {
        let mut world = World::new(seed);
        for _ in 0..250 {
            world.step();
        }
        world.settle();
    }
}
