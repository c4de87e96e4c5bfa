//! Reading partitions: positions, fetch requests and sessions, what was fetched ahead, the records in it.
//!
//! What always holds: records of a partition are handed out in the order of their offsets, each once after a
//! position was set; nothing is handed out from before the last change of a position; at most one fetch request a node is on
//! its way; what is fetched ahead and what is asked for stays within `buffer_bytes_max`, but for a first batch that is larger
//! than what was asked for; a node waits for room only behind those that were asked less lately.

mod answers;
mod chunk;
mod offsets;
mod partition;
mod requests;
mod session;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use ottla_types::{LeaderEpoch, MonoMs, NodeId, Offset, TopicPartition, Uuid};
use ottla_wire::ErrorCode;
use thiserror::Error;

use super::record::{ConsumerRecord, Position};
pub use answers::LeaderHint;
pub(crate) use chunk::read_batches;
pub use offsets::{Question, by_topic};
pub use partition::Watermarks;
use partition::{Partition, Phase};
use session::Session;

/// Where reading starts without a committed offset, or when the position doesn't exist any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetReset {
    Earliest,
    Latest,
    /// Nowhere: that is an error.
    None,
    /// At the first record of the last so many milliseconds (KIP-1106).
    ByDuration(i64),
}

/// Which records of transactions are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IsolationLevel {
    #[default]
    ReadUncommitted,
    ReadCommitted,
}

/// The `fetch.*` settings and what belongs to them.
#[derive(Clone, Debug)]
pub struct FetchSettings {
    pub fetch_min_bytes: i32,
    pub fetch_max_bytes: i32,
    pub fetch_max_wait_ms: i32,
    pub max_partition_fetch_bytes: i32,
    /// What may be fetched and asked for ahead, of all partitions. Twice `fetch_max_bytes` keeps the network busy while a
    /// full answer is worked on.
    pub buffer_bytes_max: usize,
    pub check_crcs: bool,
    pub isolation_level: IsolationLevel,
    /// `client.rack`: asks to be sent to a replica nearby (KIP-392).
    pub rack_id: String,
    pub auto_offset_reset: OffsetReset,
    pub retry_backoff_ms: u64,
    /// How long a replica nearby is read before the leader is asked again.
    pub metadata_max_age_ms: u64,
}

impl Default for FetchSettings {
    /// Kafka's defaults.
    fn default() -> FetchSettings {
        FetchSettings {
            fetch_min_bytes: 1,
            fetch_max_bytes: 52_428_800,
            fetch_max_wait_ms: 500,
            max_partition_fetch_bytes: 1_048_576,
            buffer_bytes_max: 2 * 52_428_800,
            check_crcs: true,
            isolation_level: IsolationLevel::ReadUncommitted,
            rack_id: String::new(),
            auto_offset_reset: OffsetReset::Latest,
            retry_backoff_ms: 100,
            metadata_max_age_ms: 300_000,
        }
    }
}

/// What reading needs to know of the cluster.
pub trait Leaders {
    fn leader(&self, partition: &TopicPartition) -> Option<(NodeId, LeaderEpoch)>;
    fn topic_id(&self, topic: &str) -> Option<Uuid>;
    fn is_node(&self, node: NodeId) -> bool;
}

/// Why a partition can't be read until its position is set anew or the cause is gone.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FetchError {
    #[error("{0} has no committed offset, and auto.offset.reset is none")]
    NoOffset(TopicPartition),
    #[error("offset {offset} of {partition} doesn't exist, and auto.offset.reset is none")]
    OffsetOutOfRange { partition: TopicPartition, offset: Offset },
    /// The log lost what was read: a leader without it was elected.
    #[error("the log of {partition} was truncated below the position {position}{}", shown(.diverges_at))]
    LogTruncated { partition: TopicPartition, position: Offset, diverges_at: Option<Offset> },
    #[error("a batch of {partition} at or after offset {offset} can't be read: {cause}")]
    Corrupt { partition: TopicPartition, offset: Offset, cause: ottla_record::RecordError },
    #[error("{partition} can't be read: {code}")]
    Refused { partition: TopicPartition, code: ErrorCode },
}

impl FetchError {
    fn partition(&self) -> &TopicPartition {
        match self {
            FetchError::NoOffset(partition)
            | FetchError::OffsetOutOfRange { partition, .. }
            | FetchError::LogTruncated { partition, .. }
            | FetchError::Corrupt { partition, .. }
            | FetchError::Refused { partition, .. } => partition,
        }
    }
}

/// Errors in their order, one of a partition: it may go wrong many times while nobody asks.
#[derive(Debug, Default)]
struct Errors {
    order: VecDeque<TopicPartition>,
    last: BTreeMap<TopicPartition, FetchError>,
}

impl Errors {
    fn push_back(&mut self, error: FetchError) {
        let partition = error.partition().clone();
        if self.last.insert(partition.clone(), error).is_none() {
            self.order.push_back(partition);
        }
    }

    fn take(&mut self) -> Option<FetchError> {
        self.last.remove(&self.order.pop_front()?)
    }

    /// What went wrong before its position was set, or before it was given up, is nobody's business any more.
    fn forget(&mut self, partition: &TopicPartition) {
        if self.last.remove(partition).is_some() {
            self.order.retain(|waiting| waiting != partition);
        }
    }

    fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

fn shown(offset: &Option<Offset>) -> String {
    offset.map_or_else(String::new, |offset| format!("; it ends or differs from offset {offset} on"))
}

/// The partitions that are read, and all that is on its way for them.
#[derive(Debug)]
pub struct Fetcher {
    settings: FetchSettings,
    partitions: BTreeMap<TopicPartition, Partition>,
    nodes: BTreeMap<NodeId, Node>,
    /// Partitions with something to hand out, in turn.
    turn: VecDeque<TopicPartition>,
    /// In all partitions together.
    buffered_bytes: usize,
    /// What requests on their way may bring.
    asked_bytes: usize,
    /// Counts requests.
    asks: u64,
    /// Counts positions that were set, so that an answer about an older one is known.
    eras: u64,
    errors: Errors,
    wants_metadata: bool,
    /// There is room for more to be fetched since this was last asked.
    has_room: bool,
}

#[derive(Debug, Default)]
struct Node {
    session: Session,
    in_flight: Option<InFlight>,
    /// The number of its last request among those to all nodes.
    asked: u64,
    /// When its last answer came, or none.
    landed_at: MonoMs,
    retry_at: MonoMs,
    /// It isn't asked before that for partitions alone that are read to their ends, while there are others.
    held_until: MonoMs,
}

/// What was asked of a node.
#[derive(Debug)]
struct InFlight {
    partitions: HashMap<(Uuid, i32), Asked>,
    bytes_max: usize,
}

#[derive(Clone, Debug)]
struct Asked {
    partition: TopicPartition,
    era: u64,
    offset: Offset,
}

impl Fetcher {
    pub fn new(settings: FetchSettings) -> Fetcher {
        Fetcher {
            settings,
            partitions: BTreeMap::new(),
            nodes: BTreeMap::new(),
            turn: VecDeque::new(),
            buffered_bytes: 0,
            asked_bytes: 0,
            asks: 0,
            eras: 0,
            errors: Errors::default(),
            wants_metadata: false,
            has_room: false,
        }
    }

    /// Reads these too; where to start is to be found out. Those that are read already go on.
    pub fn add(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        for partition in partitions {
            self.eras += 1;
            self.partitions.entry(partition).or_insert(Partition::new(self.eras));
        }
    }

    /// Doesn't read these any more, and forgets what was fetched of them.
    pub fn remove<'a>(&mut self, partitions: impl IntoIterator<Item = &'a TopicPartition>) {
        for partition in partitions {
            if let Some(removed) = self.partitions.remove(partition) {
                self.buffered_bytes -= removed.buffered_bytes();
            }
            self.turn.retain(|waiting| waiting != partition);
            self.errors.forget(partition);
        }
    }

    /// Tells the time since the partition was added from earlier ones; `None` if it isn't read.
    pub fn stay(&self, partition: &TopicPartition) -> Option<u64> {
        self.partitions.get(partition).map(|state| state.stay)
    }

    /// What is read.
    pub fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.partitions.keys()
    }

    /// Stops handing out and fetching partitions that are about to be given up; what was handed out stays counted.
    pub fn hold<'a>(&mut self, partitions: impl IntoIterator<Item = &'a TopicPartition>) {
        for partition in partitions {
            if let Some(state) = self.partitions.get_mut(partition) {
                state.held = true;
            }
        }
    }

    /// Goes on reading at this position; `false` if the partition isn't read here.
    pub fn seek(&mut self, partition: &TopicPartition, position: Position) -> bool {
        self.errors.forget(partition);
        self.set(partition, |state| state.seek(position))
    }

    /// Goes on reading at one end of the log.
    pub fn seek_to(&mut self, partition: &TopicPartition, reset: OffsetReset) -> bool {
        self.errors.forget(partition);
        self.set(partition, |state| state.phase = Phase::Reset(reset))
    }

    pub fn pause(&mut self, partition: &TopicPartition) -> bool {
        let state = self.partitions.get_mut(partition);
        state.map(|state| state.paused = true).is_some()
    }

    pub fn resume(&mut self, partition: &TopicPartition) -> bool {
        let Some(state) = self.partitions.get_mut(partition) else { return false };
        state.paused = false;
        self.queue(partition);
        true
    }

    pub fn paused(&self) -> impl Iterator<Item = &TopicPartition> {
        self.partitions.iter().filter(|(_, state)| state.paused).map(|(partition, _)| partition)
    }

    /// Where the next record to be handed out is; `None` while that isn't known.
    pub fn position(&self, partition: &TopicPartition) -> Option<Position> {
        self.partitions.get(partition)?.position
    }

    /// The ends of the log, as the last answer said.
    pub fn watermarks(&self, partition: &TopicPartition) -> Option<Watermarks> {
        self.partitions.get(partition)?.watermarks
    }

    /// The owner is done with all that was handed out so far.
    pub fn processed(&mut self) {
        for state in self.partitions.values_mut() {
            state.processed = state.position;
        }
    }

    /// For each partition, where to go on after what the owner is done with: what is to be committed.
    pub fn processed_positions(&self) -> BTreeMap<TopicPartition, Position> {
        let positions = self.partitions.iter();
        positions.filter_map(|(partition, state)| Some((partition.clone(), state.processed?))).collect()
    }

    /// Up to `records_max` records, of one partition after the other.
    pub fn take_records(&mut self, records_max: usize) -> Vec<ConsumerRecord> {
        let mut taken = Vec::new();
        while taken.len() < records_max
            && let Some(partition) = self.turn.pop_front()
        {
            let Some(state) = self.partitions.get_mut(&partition) else { continue };
            if !state.may_be_handed_out() {
                continue;
            }
            let before = state.buffered_bytes();
            let read = state.take(&partition, records_max - taken.len(), &self.settings, &mut taken);
            let after = state.buffered_bytes();
            self.buffered_bytes -= before - after;
            self.has_room |= after < before || read.is_err();
            if let Err(cause) = read {
                let offset = state.position.map_or(Offset::UNKNOWN, |position| position.offset);
                self.errors.push_back(FetchError::Corrupt { partition: partition.clone(), offset, cause });
                self.refetch(&partition);
            }
            self.queue(&partition);
        }
        taken
    }

    /// Is there room for more to be fetched, since records were taken, that there wasn't when this was last called?
    pub fn take_has_room(&mut self) -> bool {
        std::mem::take(&mut self.has_room)
    }

    /// What can't go on by itself. What happens several times of a partition before this is asked, comes once: as it was last.
    pub fn take_error(&mut self) -> Option<FetchError> {
        self.errors.take()
    }

    pub fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// For each partition, where the next record to be handed out is.
    pub fn positions(&self) -> BTreeMap<TopicPartition, Position> {
        let positions = self.partitions.iter();
        positions.filter_map(|(partition, state)| Some((partition.clone(), state.position?))).collect()
    }

    /// Did an answer say that the cluster is not as it was known, since this was last called?
    pub fn take_wants_metadata(&mut self) -> bool {
        std::mem::take(&mut self.wants_metadata)
    }

    /// Is there anything to hand out?
    pub fn has_records(&self) -> bool {
        let mut waiting = self.turn.iter().filter_map(|partition| self.partitions.get(partition));
        waiting.any(Partition::may_be_handed_out)
    }

    /// Topics whose partitions are read.
    pub fn topics(&self) -> BTreeSet<Arc<str>> {
        self.partitions.keys().map(|partition| Arc::clone(&partition.topic)).collect()
    }

    fn set(&mut self, partition: &TopicPartition, change: impl FnOnce(&mut Partition)) -> bool {
        self.eras += 1;
        let era = self.eras;
        let Some(state) = self.partitions.get_mut(partition) else { return false };
        self.buffered_bytes -= state.buffered_bytes();
        state.start_over(era);
        change(state);
        true
    }

    /// Forgets what was fetched ahead, and fetches it again.
    fn refetch(&mut self, partition: &TopicPartition) {
        let Some(state) = self.partitions.get(partition) else { return };
        let (position, processed) = (state.position, state.processed);
        self.set(partition, |state| {
            if let Some(position) = position {
                state.seek(position);
            }
            state.processed = processed;
        });
    }

    /// Lets the partition have its turn, if it has something and doesn't wait for it already.
    fn queue(&mut self, partition: &TopicPartition) {
        let ready = self.partitions.get(partition).is_some_and(Partition::may_be_handed_out);
        if ready && !self.turn.contains(partition) {
            self.turn.push_back(partition.clone());
        }
    }
}
