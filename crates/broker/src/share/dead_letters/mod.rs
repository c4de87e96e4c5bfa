//! Dead letters of share groups (KIP-1191): for each record that a group has given up, a record in a topic that the group
//! names, if it names one.
//!
//! What always holds:
//! - A letter is written before the share coordinator hears that its record was given up. After a crash in between there
//!   may be two of it, and never none.
//! - Letters that can't be written hold the group up for some time and no longer; the log says what became of them.
//! - Of each share partition one batch of letters is on its way at a time.

mod letters;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use ottla_config::{keys, parse_boolean};
use ottla_log::disk::Reach;
use ottla_metadata::MetadataImage;
use ottla_metadata::image::{ConfigResource, ResourceType};
use ottla_record::{AppendOrigin, Batches};
use ottla_replica::share::{DeadLetters, DeadRecords, LettersWritten, SharePartitionId};
use ottla_replica::{Partition, PartitionFetch, ProduceEntry, ProduceParams, ReadLimits, Reader, ReaderKind};
use ottla_types::{LeaderEpoch, NodeId, Now, Offset, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::produce_request::{PartitionData, TopicData};
use ottla_wire::messages::{ProduceRequest, ProduceResponse};
use thiserror::Error;

use super::NodeLink;
use crate::node::Node;
use letters::{Copies, Origin};

/// Of the group: where its letters go. Empty: it wants none.
pub(super) const TOPIC_NAME: &str = "errors.deadletterqueue.topic.name";
/// Of the group: whether a letter has the record in it.
const COPY_RECORD: &str = "errors.deadletterqueue.copy.record.enable";
/// Of the topic: whether groups may write letters to it.
const MAY_HOLD_LETTERS: &str = "errors.deadletterqueue.group.enable";

/// About 25 s together.
const ATTEMPTS: u32 = 8;
const FIRST_BACKOFF_MS: i64 = 100;
/// Of one batch of letters, and of what is read at once to be copied into them; a single batch of the log may be larger.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Of what a batch of the log may be decompressed to for its records to be copied.
const COPY_BYTES_MAX: usize = 64 << 20;

pub(super) struct NodeDeadLetters(pub Arc<NodeLink>);

impl DeadLetters for NodeDeadLetters {
    fn write(
        &self,
        id: &SharePartitionId,
        of: Arc<Partition>,
        dead: Vec<DeadRecords>,
        now: Now,
        done: LettersWritten,
    ) {
        let Some(node) = self.0.get() else { return done(now) };
        Posting { node, id: id.clone(), of, dead: dead.into(), now, attempt: 1, done }.go_on();
    }
}

/// Why letters can't be written.
#[derive(Debug, Error)]
enum Problem {
    /// Not as things are set up.
    #[error("{0}")]
    Refused(&'static str),
    /// It may be otherwise in a moment.
    #[error("again and again {}", .0.name())]
    Passing(ErrorCode),
    #[error("{}", .0.name())]
    Failed(ErrorCode),
}

impl From<ErrorCode> for Problem {
    fn from(code: ErrorCode) -> Problem {
        match code {
            ErrorCode::NotLeaderOrFollower
            | ErrorCode::LeaderNotAvailable
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
            | ErrorCode::NotEnoughReplicas
            | ErrorCode::NotEnoughReplicasAfterAppend
            | ErrorCode::RequestTimedOut
            | ErrorCode::KafkaStorageError
            | ErrorCode::NetworkException => Problem::Passing(code),
            _ => Problem::Failed(code),
        }
    }
}

/// Where letters go.
struct Destination {
    topic: Arc<str>,
    topic_id: Uuid,
    partition: i32,
    leader: NodeId,
    bytes_max: usize,
}

/// Letters that are yet to be written, in the order of their offsets.
struct Posting {
    node: Arc<Node>,
    id: SharePartitionId,
    of: Arc<Partition>,
    dead: VecDeque<DeadRecords>,
    now: Now,
    attempt: u32,
    done: LettersWritten,
}

impl Posting {
    /// Writes the next batch, where it may wait for the disk.
    fn go_on(self) {
        let read_later = Arc::clone(&self.node.hooks.read_later);
        read_later(Box::new(move || self.write_next()));
    }

    fn write_next(self) {
        let image = self.node.metadata.image();
        let name = own(&image, ResourceType::Group, &self.id.group_id, TOPIC_NAME).unwrap_or_default();
        if self.dead.is_empty() || name.is_empty() {
            return (self.done)(self.now);
        }
        let destination = match self.destination(&image, &name) {
            Ok(destination) => destination,
            Err(problem) => return self.failed(problem, 0),
        };
        let are_wanted = own(&image, ResourceType::Group, &self.id.group_id, COPY_RECORD)
            .and_then(|text| parse_boolean(&text))
            .unwrap_or(false);
        let copies = self.copies(are_wanted);
        let source = &self.of.topic_partition().topic;
        let origin = Origin { group_id: &self.id.group_id, topic: source, partition: self.id.partition };
        let bytes_max = destination.bytes_max.min(BATCH_BYTES_MAX);
        match letters::batch(origin, &self.dead, &copies, bytes_max, self.now.wall) {
            Ok((batch, count)) if batch.is_empty() => self.sent(Ok(()), count),
            Ok((batch, count)) => self.send(destination, batch.into(), count),
            Err(problem) => {
                tracing::error!(id = ?self.id, %problem, "dead letters of a share group can't be written");
                self.failed(Problem::Failed(ErrorCode::UnknownServerError), 1);
            }
        }
    }

    /// A partition of the topic that the group names, if it may go there.
    fn destination(&self, image: &MetadataImage, name: &str) -> Result<Destination, Problem> {
        let config = self.node.effective_config.load();
        if name.starts_with("__") {
            return Err(Problem::Refused("topics whose names begin with __ hold no dead letters"));
        }
        if !name.starts_with(config.get(keys::ERRORS_DEADLETTERQUEUE_TOPIC_NAME_PREFIX)) {
            return Err(Problem::Refused("its name lacks errors.deadletterqueue.topic.name.prefix"));
        }
        let Some(topic) = image.topics.by_name(name) else {
            if !config.get(keys::ERRORS_DEADLETTERQUEUE_AUTO_CREATE_TOPICS_ENABLE) {
                return Err(Problem::Refused("there is no such topic"));
            }
            self.node.create_dead_letter_topic(name, MAY_HOLD_LETTERS, self.now);
            return Err(Problem::Passing(ErrorCode::UnknownTopicOrPartition));
        };
        let may_hold = own(image, ResourceType::Topic, name, MAY_HOLD_LETTERS);
        if may_hold.and_then(|text| parse_boolean(&text)) != Some(true) {
            return Err(Problem::Refused("the topic lacks errors.deadletterqueue.group.enable=true"));
        }
        if topic.id == self.id.topic_id {
            return Err(Problem::Refused("the group reads that topic: letters about letters would not end"));
        }
        let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX).max(1);
        let partition = self.id.partition % count;
        let leader =
            topic.partitions.get(&partition).map_or(NodeId::NONE, |registration| registration.leader);
        if leader == NodeId::NONE {
            return Err(Problem::Passing(ErrorCode::LeaderNotAvailable));
        }
        let bytes_max = usize::try_from(self.node.topic_config(image, name).max_message_bytes).unwrap_or(0);
        Ok(Destination { topic: Arc::from(name), topic_id: topic.id, partition, leader, bytes_max })
    }

    /// What lies where the first of the records do, as far as one read goes; the records themselves where they are wanted.
    fn copies(&self, are_wanted: bool) -> Copies {
        let Some(first) = self.dead.front() else { return Copies::none(Offset::MAX) };
        let from = first.first_offset;
        let log_start = self.of.log().log_start_offset();
        if from < log_start {
            return Copies::none(log_start);
        }
        let asked = PartitionFetch {
            partition: Ok(Arc::clone(&self.of)),
            offset: from,
            max_bytes: BATCH_BYTES_MAX as u32,
            client_epoch: LeaderEpoch::NONE,
            last_fetched_epoch: LeaderEpoch::NONE,
            log_start_offset: Offset::UNKNOWN,
        };
        let limits = ReadLimits { max_bytes: asked.max_bytes, min_one_message: true };
        let reader = Reader::of_leaders(ReaderKind::Consumer);
        let read = self.of.read(&asked, &reader, limits, Reach::Disk);
        let slice = read.and_then(|read| read.data?.records);
        let bytes = slice.and_then(|slice| slice.read().ok()).unwrap_or_default();
        copies_in(&bytes, from, first.last_offset, are_wanted)
    }

    fn send(self, to: Destination, batch: Bytes, count: u64) {
        let node = Arc::clone(&self.node);
        let timeout_ms = node.config.get(keys::REQUEST_TIMEOUT_MS);
        if to.leader != node.identity.node_id {
            let request = request(&to, batch, timeout_ms);
            let of_answer = Arc::clone(&node);
            let done = Box::new(move |answer| {
                of_answer.at_next_tick(move |now| Posting { now, ..self }.sent(outcome(answer), count));
            });
            return node.hooks.brokers.produce(to.leader, request, done);
        }
        let partition = node.replicas.partition(&to.topic, to.partition);
        let entry = ProduceEntry::new(partition.ok_or(ErrorCode::NotLeaderOrFollower), batch);
        let params = ProduceParams {
            required_acks: -1,
            timeout_ms,
            origin: AppendOrigin::Client,
            transaction_version: 0,
        };
        node.replicas.produce(params, vec![entry], self.now, move |results| {
            let refusal = results.into_iter().next().and_then(|result| result.refusal);
            self.sent(refusal.map_or(Ok(()), |refusal| Err(refusal.code)), count);
        });
    }

    fn sent(mut self, result: Result<(), ErrorCode>, count: u64) {
        match result {
            Ok(()) => {
                letters::advance(&mut self.dead, count);
                self.attempt = 1;
                self.go_on();
            }
            Err(code) => self.failed(code.into(), count),
        }
    }

    /// Tries again, or goes on without `count` letters; 0: without all that are left.
    fn failed(mut self, problem: Problem, count: u64) {
        match problem {
            Problem::Passing(_) if self.attempt < ATTEMPTS => {
                let due = self.now.mono.plus_ms(FIRST_BACKOFF_MS << (self.attempt - 1));
                self.attempt += 1;
                let node = Arc::clone(&self.node);
                node.deadlines.add(due, move |now| {
                    self.now = now;
                    self.go_on();
                });
                (node.hooks.wake_at)(due);
            }
            Problem::Failed(code) if count > 0 => {
                tracing::warn!(id = ?self.id, letters = count, ?code, "dead letters were refused");
                letters::advance(&mut self.dead, count);
                self.go_on();
            }
            problem => {
                let records =
                    self.dead.iter().map(|dead| dead.last_offset - dead.first_offset + 1).sum::<i64>();
                tracing::warn!(id = ?self.id, records, %problem, "records are given up without dead letters");
                (self.done)(self.now);
            }
        }
    }
}

/// A setting of a group or a topic itself.
fn own(image: &MetadataImage, kind: ResourceType, name: &str, key: &str) -> Option<String> {
    Some(image.configs.of(&ConfigResource::new(kind, name))?.get(key)?.trim().to_owned())
}

/// Of the records that lie in `bytes`, those from `first` to `last`, and where the ends of transactions lie.
fn copies_in(bytes: &[u8], first: Offset, last: Offset, are_wanted: bool) -> Copies {
    let mut copies = Copies::none(first.next());
    let mut room = BATCH_BYTES_MAX;
    for batch in Batches::new(bytes).map_while(Result::ok) {
        if batch.header().base_offset > last {
            return Copies { until: Offset::MAX, ..copies };
        }
        if batch.header().is_control() {
            copies.markers.insert(batch.header().base_offset);
        } else if are_wanted {
            let Ok(mut records) = batch.records(COPY_BYTES_MAX) else { break };
            while let Ok(Some(record)) = records.next() {
                if record.offset < first || record.offset > last {
                    continue;
                }
                if record.size_in_bytes > room && !copies.records.is_empty() {
                    return Copies { until: record.offset, ..copies };
                }
                room = room.saturating_sub(record.size_in_bytes);
                copies.records.insert(record.offset, record.to_owned());
            }
        }
        copies.until = copies.until.max(batch.header().last_offset().next());
    }
    if copies.until > last { Copies { until: Offset::MAX, ..copies } } else { copies }
}

fn request(to: &Destination, batch: Bytes, timeout_ms: i32) -> ProduceRequest {
    let partition = PartitionData { index: to.partition, records: Some(batch), ..PartitionData::default() };
    let topic = TopicData {
        name: to.topic.to_string(),
        topic_id: to.topic_id,
        partition_data: vec![partition],
        ..TopicData::default()
    };
    ProduceRequest { acks: -1, timeout_ms, topic_data: vec![topic], ..ProduceRequest::default() }
}

fn outcome(answer: Result<ProduceResponse, ErrorCode>) -> Result<(), ErrorCode> {
    let mut partitions = answer?.responses.into_iter().flat_map(|topic| topic.partition_responses);
    let partition = partitions.next().ok_or(ErrorCode::UnknownServerError)?;
    match ErrorCode::from_code(partition.error_code) {
        Some(ErrorCode::None) => Ok(()),
        Some(code) => Err(code),
        None => Err(ErrorCode::UnknownServerError),
    }
}
