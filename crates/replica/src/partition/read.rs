use ottla_log::disk::Reach;
use ottla_log::leader_epoch_cache::EpochEndOffset;
use ottla_log::{
    EARLIEST_LOCAL_TIMESTAMP, EARLIEST_TIMESTAMP, FetchDataInfo, FetchIsolation, LATEST_TIMESTAMP, ReadError,
    TimestampAndOffset,
};
use ottla_types::{LeaderEpoch, NodeId, Offset, Timestamp};
use ottla_wire::ErrorCode;

use super::{Partition, Role, State};
use crate::errors;
use crate::fetch::PartitionFetch;
use crate::follower_state::FollowerId;
use crate::replica_selector::FetchClient;

/// Who reads, which decides how far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReaderKind {
    /// A replica: to the end of the log.
    Follower,
    /// `read_uncommitted`: to the high watermark.
    Consumer,
    /// `read_committed`: to the last stable offset.
    CommittedConsumer,
}

impl ReaderKind {
    pub fn isolation(self) -> FetchIsolation {
        match self {
            ReaderKind::Follower => FetchIsolation::LogEnd,
            ReaderKind::Consumer => FetchIsolation::HighWatermark,
            ReaderKind::CommittedConsumer => FetchIsolation::TxnCommitted,
        }
    }
}

/// For whom is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    pub kind: ReaderKind,
    /// The replica that reads, if one does: where it stands counts for the high watermark.
    pub follower: Option<FollowerId>,
    /// A consumer that may be sent to another replica, and may read here where this is a follower.
    pub client: Option<FetchClient>,
}

impl Reader {
    /// Who reads from leaders alone.
    pub fn of_leaders(kind: ReaderKind) -> Reader {
        Reader { kind, follower: None, client: None }
    }

    pub(crate) fn may_read_from_followers(&self, knows: LeaderEpoch) -> bool {
        self.client.as_ref().is_some_and(|client| client.may_mean_a_follower(knows))
    }
}

/// How much one read may return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    pub max_bytes: u32,
    /// The first batch may be larger than that.
    pub min_one_message: bool,
}

/// What a fetch finds in one partition.
#[derive(Clone, Debug)]
pub struct PartitionRead {
    pub error: ErrorCode,
    pub data: Option<FetchDataInfo>,
    pub high_watermark: Offset,
    pub last_stable_offset: Offset,
    pub log_start_offset: Offset,
    /// Before the records were read.
    pub log_end_offset: Offset,
    /// The follower's log parts from the leader's before this (KIP-595).
    pub diverging: Option<EpochEndOffset>,
    /// Nothing was read: the consumer is to read from this replica (KIP-392).
    pub preferred_read_replica: Option<NodeId>,
    /// Of the log that was read.
    pub(crate) log_generation: u32,
}

impl PartitionRead {
    pub fn refused(error: ErrorCode) -> PartitionRead {
        PartitionRead {
            error,
            data: None,
            high_watermark: Offset::UNKNOWN,
            last_stable_offset: Offset::UNKNOWN,
            log_start_offset: Offset::UNKNOWN,
            log_end_offset: Offset::UNKNOWN,
            diverging: None,
            preferred_read_replica: None,
            log_generation: 0,
        }
    }

    /// Nothing of what was found is given away.
    pub(crate) fn hold_back(&mut self) {
        if let Some(data) = &mut self.data {
            data.records = None;
        }
    }

    /// Bytes of records.
    pub fn len(&self) -> u32 {
        self.data.as_ref().map_or(0, FetchDataInfo::len)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Partition {
    /// Reads from an offset on. A client that knows another leader epoch than this node's is refused (KIP-320). One
    /// whose last record is of an epoch that ended before that offset here reads nothing, and is told where (KIP-595). None if
    /// that takes more than `reach`.
    ///
    /// Followers serve consumers that may read there up to the high watermark that they know.
    pub fn read(
        &self,
        asked: &PartitionFetch,
        reader: &Reader,
        limits: ReadLimits,
        reach: Reach,
    ) -> Option<PartitionRead> {
        let state = self.state.read();
        let allowed = self
            .check_serves(&state, reader, asked.client_epoch)
            .and_then(|()| check_epoch(&state, asked.client_epoch))
            .and_then(|()| {
                reader.follower.map_or(Ok(()), |id| self.check_follower(&state, id, asked.client_epoch))
            });
        if let Err(code) = allowed {
            return Some(PartitionRead::refused(code));
        }
        let log = self.log();
        let log_end_offset = log.log_end_offset();
        let high_watermark = log.high_watermark();
        let last_stable_offset = log.last_stable_offset();
        let nothing = || PartitionRead {
            error: ErrorCode::None,
            data: None,
            high_watermark,
            last_stable_offset,
            log_start_offset: log.log_start_offset(),
            log_end_offset,
            diverging: None,
            preferred_read_replica: None,
            log_generation: self.log_generation(),
        };
        let preferred_read_replica = reader
            .client
            .as_ref()
            .and_then(|client| self.preferred_read_replica(&state, client, asked.offset));
        if preferred_read_replica.is_some() {
            return Some(PartitionRead { preferred_read_replica, ..nothing() });
        }
        match self.divergence(asked) {
            Err(code) => return Some(PartitionRead::refused(code)),
            Ok(None) => {}
            Ok(diverging) => return Some(PartitionRead { diverging, ..nothing() }),
        }
        let ReadLimits { max_bytes, min_one_message } = limits;
        let read = log.read_within(asked.offset, max_bytes, reader.kind.isolation(), min_one_message, reach);
        Some(match read {
            Ok(mut data) => {
                if data.first_entry_incomplete {
                    // Less than a batch is of no use to a reader, who would take it for progress (KIP-74).
                    data.records = None;
                }
                // The log's start is read after the records: an offset that has fallen below it meanwhile is the client's to
                // find out next.
                PartitionRead { data: Some(data), ..nothing() }
            }
            Err(ReadError::NotInMemory) if reach == Reach::Memory => return None,
            Err(ReadError::OffsetOutOfRange { .. })
                if asked.offset > log_end_offset
                    && asked.client_epoch == LeaderEpoch::NONE
                    && matches!(state.role, Role::Follower) =>
            {
                // It need not be out of range elsewhere, and a client that knows no epochs would believe it.
                PartitionRead::refused(ErrorCode::OffsetNotAvailable)
            }
            Err(error) => PartitionRead::refused(errors::of_read(&error)),
        })
    }

    /// Where the client's log parts from this one, if it tells the epoch of its last record. One whose epoch is
    /// unknown here, or that asks for what is here no more, can't be told: it has to begin anew.
    fn divergence(&self, asked: &PartitionFetch) -> Result<Option<EpochEndOffset>, ErrorCode> {
        let epoch = asked.last_fetched_epoch;
        if epoch == LeaderEpoch::NONE {
            return Ok(None);
        }
        let log = self.log();
        let end = log.end_offset_for_epoch(epoch);
        if end == EpochEndOffset::UNKNOWN || asked.offset < log.log_start_offset() {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        Ok(Some(end).filter(|end| end.epoch < epoch || end.end_offset < asked.offset))
    }

    /// Whether a reader that knows `client_epoch` may go on asking here.
    pub(crate) fn check_reader(&self, reader: &Reader, client_epoch: LeaderEpoch) -> Result<(), ErrorCode> {
        let state = self.state.read();
        self.check_serves(&state, reader, client_epoch).and_then(|()| check_epoch(&state, client_epoch))
    }

    /// ListOffsets of one partition. None: no record is that young.
    ///
    /// A new leader may know more committed records than its high watermark says. Until that has reached the start of
    /// its epoch, a consumer is told OFFSET_NOT_AVAILABLE instead of an offset that goes back (KIP-207).
    pub fn offset_for_timestamp(
        &self,
        timestamp: Timestamp,
        client_epoch: LeaderEpoch,
        reader: ReaderKind,
    ) -> Result<Option<TimestampAndOffset>, ErrorCode> {
        let state = self.state.read();
        self.check_leads(&state)?;
        check_epoch(&state, client_epoch)?;
        let epoch = state.assignment.leader_epoch;
        let readable_end = self.end_for(reader).message_offset;
        let is_catching_up = reader != ReaderKind::Follower && self.is_catching_up(&state);
        if timestamp == LATEST_TIMESTAMP {
            if is_catching_up {
                return Err(ErrorCode::OffsetNotAvailable);
            }
            let leader_epoch = Some(epoch);
            return Ok(Some(TimestampAndOffset {
                timestamp: Timestamp::NONE,
                offset: readable_end,
                leader_epoch,
            }));
        }
        let found = self.log().offset_for_timestamp(timestamp).map_err(|error| errors::of_read(&error))?;
        let is_position = matches!(timestamp, EARLIEST_TIMESTAMP | EARLIEST_LOCAL_TIMESTAMP);
        match found.filter(|found| is_position || found.offset < readable_end) {
            None if is_catching_up => Err(ErrorCode::OffsetNotAvailable),
            // A record that the reader may not see yet is not there for it.
            found => Ok(found),
        }
    }

    fn is_catching_up(&self, state: &State) -> bool {
        match state.role {
            Role::Leader(ref leading) => leading.epoch_start_offset > self.log().high_watermark(),
            Role::Follower | Role::Gone(_) => false,
        }
    }

    /// Where `epoch` ends here, for OffsetForLeaderEpoch.
    pub fn end_offset_for_epoch(
        &self,
        epoch: LeaderEpoch,
        client_epoch: LeaderEpoch,
    ) -> Result<EpochEndOffset, ErrorCode> {
        let state = self.state.read();
        self.check_leads(&state)?;
        check_epoch(&state, client_epoch)?;
        Ok(self.log().end_offset_for_epoch(epoch))
    }
}

pub(super) fn check_epoch(state: &State, client_epoch: LeaderEpoch) -> Result<(), ErrorCode> {
    let known = state.assignment.leader_epoch;
    if client_epoch == LeaderEpoch::NONE || client_epoch == known {
        Ok(())
    } else if client_epoch < known {
        Err(ErrorCode::FencedLeaderEpoch)
    } else {
        Err(ErrorCode::UnknownLeaderEpoch)
    }
}
