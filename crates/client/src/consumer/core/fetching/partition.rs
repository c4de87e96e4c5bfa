//! One partition: where it is read, what was fetched of it ahead.

use std::collections::VecDeque;

use ottla_record::RecordError;
use ottla_types::{LeaderEpoch, MonoMs, NodeId, Offset, TopicPartition, Uuid};

use super::chunk::Chunk;
use super::{FetchSettings, IsolationLevel, OffsetReset};
use crate::consumer::core::record::{ConsumerRecord, Position};

/// The ends of a partition's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    pub log_start: Offset,
    /// Where reading of committed transactions ends.
    pub last_stable: Offset,
    /// Where reading ends.
    pub high: Offset,
}

/// What has to happen before the partition can be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The group's committed offset is to be looked up.
    Committed,
    /// An end of the log, or an offset by time, is to be looked up.
    Reset(OffsetReset),
    /// A leader is to be asked whether its log has what was read so far.
    Validate,
    Fetch,
    /// Nothing goes on until the position is set.
    Stuck,
}

#[derive(Debug)]
pub(super) struct Partition {
    /// Tells this assignment of the partition from others.
    pub stay: u64,
    /// Changes whenever the position is set: what was asked before is about something else.
    pub era: u64,
    pub phase: Phase,
    /// As it was last asked for.
    pub topic_id: Option<Uuid>,
    /// A question that `phase` asks for is on its way.
    pub asking: bool,
    pub retry_at: MonoMs,
    /// Of the next record to be handed out.
    pub position: Option<Position>,
    /// After what the owner is done with.
    pub processed: Option<Position>,
    /// Of the next record to be fetched.
    pub fetch: Position,
    /// The leader's epoch when `position` was last found valid.
    pub valid_in: Option<LeaderEpoch>,
    pub paused: bool,
    pub held: bool,
    /// A replica nearby, until when it is read.
    pub preferred: Option<(NodeId, MonoMs)>,
    pub watermarks: Option<Watermarks>,
    chunks: VecDeque<Chunk>,
}

impl Partition {
    pub fn new(era: u64) -> Partition {
        Partition {
            stay: era,
            era,
            phase: Phase::Committed,
            topic_id: None,
            asking: false,
            retry_at: MonoMs(0),
            position: None,
            processed: None,
            fetch: Position::at(Offset::UNKNOWN),
            valid_in: None,
            paused: false,
            held: false,
            preferred: None,
            watermarks: None,
            chunks: VecDeque::new(),
        }
    }

    /// Forgets where it was and all that was fetched.
    pub fn start_over(&mut self, era: u64) {
        self.era = era;
        self.phase = Phase::Stuck;
        self.asking = false;
        self.retry_at = MonoMs(0);
        self.position = None;
        self.processed = None;
        self.valid_in = None;
        self.chunks.clear();
    }

    pub fn seek(&mut self, position: Position) {
        self.position = Some(position);
        self.processed = Some(position);
        self.fetch = position;
        self.phase = if position.leader_epoch.is_some() { Phase::Validate } else { Phase::Fetch };
    }

    pub fn buffered_bytes(&self) -> usize {
        self.chunks.iter().map(Chunk::bytes).sum()
    }

    /// It is known where, and nobody holds it up.
    pub fn is_read(&self) -> bool {
        self.phase == Phase::Fetch && !self.paused && !self.held
    }

    pub fn may_be_handed_out(&self) -> bool {
        !self.chunks.is_empty() && self.is_read()
    }

    /// Everything there was at the last answer is fetched.
    pub fn is_at_end(&self, isolation_level: IsolationLevel) -> bool {
        self.watermarks.is_some_and(|watermarks| {
            let is_stable = isolation_level == IsolationLevel::ReadCommitted;
            let end = if is_stable { watermarks.last_stable } else { watermarks.high };
            self.fetch.offset >= end
        })
    }

    pub fn push(&mut self, chunk: Chunk) {
        self.fetch = chunk.end();
        self.chunks.push_back(chunk);
    }

    /// Appends up to `records_max` records of the first chunk to `taken`.
    pub fn take(
        &mut self,
        name: &TopicPartition,
        records_max: usize,
        settings: &FetchSettings,
        taken: &mut Vec<ConsumerRecord>,
    ) -> Result<(), RecordError> {
        let (Some(chunk), Some(position)) = (self.chunks.front_mut(), self.position.as_mut()) else {
            return Ok(());
        };
        for _ in 0..records_max {
            match chunk.next(name, position.offset, settings)? {
                Some(record) => {
                    *position = record.next_position();
                    taken.push(record);
                }
                None => {
                    // Behind the last record there may be some that aren't for the owner, or aren't there any more.
                    let end = chunk.end();
                    if end.offset > position.offset {
                        *position = end;
                    }
                    self.chunks.pop_front();
                    break;
                }
            }
        }
        Ok(())
    }
}
