//! One partition of `__share_group_state` as a state machine. An operation is about one share partition.

use std::sync::Arc;

use bytes::Bytes;
use ottla_types::{Offset, Uuid};
use ottla_wire::ErrorCode;
use tracing::{debug, info};

use super::batches::{StateBatch, combine};
use super::config::ShareCoordinatorConfig;
use super::coordinator::TopicPartitions;
use super::key::SharePartitionKey;
use super::outcome::{Outcome, ReadState, ShareStateError, StateSummary, WriteState};
use super::record::{self, ShareStateRecord, Snapshot, Update};
use super::state::{ShareState, StoredPartition};
use crate::runtime::{DecodeError, EncodedRecord, Producer, Responder, Shard, Turn};

pub(crate) type ShareStateTurn<'a> = Turn<'a, ShareStateShard>;

pub(crate) struct ShareStateShard {
    pub(super) config: Arc<ShareCoordinatorConfig>,
    pub(super) topics: Arc<dyn TopicPartitions>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ShareStateTimer {
    /// Time to look for snapshots that hold the log's start back.
    ColdPartitions,
}

impl ShareStateShard {
    /// Sets a share partition to where a group begins, whatever it was before.
    pub(crate) fn initialize(
        &self,
        turn: &mut ShareStateTurn<'_>,
        key: SharePartitionKey,
        state_epoch: i32,
        start_offset: i64,
        responder: Responder<Outcome<()>>,
    ) {
        let stored = turn.state.partitions.get(&key);
        let fencing = stored.map_or(i32::MIN, |stored| stored.fencing_state_epoch);
        let checked = match self.check_key(&key) {
            Ok(()) if state_epoch != -1 && state_epoch < fencing => {
                Err(ShareStateError::of(ErrorCode::FencedStateEpoch))
            }
            Ok(()) => self.check_exists(&key),
            refused => refused,
        };
        if let Err(refusal) = checked {
            return turn.reply_at_once(responder, Ok(Err(refusal)));
        }
        let now = turn.now.wall.value();
        let snapshot = Snapshot {
            snapshot_epoch: stored.map_or(0, |stored| stored.snapshot_epoch.saturating_add(1)),
            state_epoch,
            leader_epoch: 0,
            start_offset,
            // Unknown until somebody knows where the group begins.
            delivery_complete_count: if start_offset == -1 { -1 } else { 0 },
            create_timestamp: now,
            write_timestamp: now,
            batches: Arc::new([]),
        };
        turn.record(ShareStateRecord::Snapshot(key, snapshot));
        turn.reply(responder, Ok(()));
    }

    /// What the partition's leader begins with. It fences the leaders before.
    pub(crate) fn read(
        &self,
        turn: &mut ShareStateTurn<'_>,
        key: SharePartitionKey,
        leader_epoch: i32,
        responder: Responder<Outcome<ReadState>>,
    ) {
        let stored = self.find(turn, &key, "Read operation on uninitialized share partition not allowed.");
        let checked = stored.and_then(|stored| {
            check_leader_epoch(stored, leader_epoch)?;
            self.check_exists(&key)?;
            Ok(Arc::clone(stored))
        });
        let stored = match checked {
            Ok(stored) => stored,
            Err(refusal) => return turn.reply_at_once(responder, Ok(Err(refusal))),
        };
        let answer = ReadState {
            state_epoch: stored.state_epoch,
            start_offset: stored.start_offset,
            batches: Arc::clone(&stored.batches),
        };
        // What is written fences earlier leaders also after the log has been read again.
        if leader_epoch != -1 && leader_epoch != stored.leader_epoch {
            info!(%key, leader_epoch, "a new leader reads the state");
            let change = Change {
                leader_epoch: Some(leader_epoch),
                start_offset: stored.start_offset,
                delivery_complete_count: stored.delivery_complete_count,
                batches: Vec::new(),
            };
            self.change(turn, key, &stored, change);
        }
        turn.reply(responder, Ok(answer));
    }

    pub(crate) fn write(
        &self,
        turn: &mut ShareStateTurn<'_>,
        key: SharePartitionKey,
        data: WriteState,
        responder: Responder<Outcome<()>>,
    ) {
        let stored = self.find(turn, &key, "Write operation on uninitialized share partition not allowed.");
        let checked = stored.and_then(|stored| {
            check_leader_epoch(stored, data.leader_epoch)?;
            if data.state_epoch != -1 && data.state_epoch < stored.fencing_state_epoch {
                return Err(ShareStateError::of(ErrorCode::FencedStateEpoch));
            }
            self.check_exists(&key)?;
            Ok(Arc::clone(stored))
        });
        let stored = match checked {
            Ok(stored) => stored,
            Err(refusal) => return turn.reply_at_once(responder, Ok(Err(refusal))),
        };
        let change = Change {
            leader_epoch: None,
            // A leader's changes are on their way beside each other: one that comes late names the start from before. A group that is
            // to begin further back is initialized anew.
            start_offset: if data.start_offset == -1 {
                -1
            } else {
                data.start_offset.max(stored.start_offset)
            },
            delivery_complete_count: data.delivery_complete_count,
            batches: data.batches,
        };
        self.change(turn, key, &stored, change);
        turn.reply(responder, Ok(()));
    }

    /// One that is not there is deleted already.
    pub(crate) fn delete(
        &self,
        turn: &mut ShareStateTurn<'_>,
        key: SharePartitionKey,
        responder: Responder<Outcome<()>>,
    ) {
        if let Err(refusal) = self.check_key(&key).and_then(|()| self.check_exists(&key)) {
            return turn.reply_at_once(responder, Ok(Err(refusal)));
        }
        if turn.state.partitions.contains_key(&key) {
            turn.record(ShareStateRecord::Tombstone(key));
        }
        turn.reply(responder, Ok(()));
    }

    /// One that is not there has no position (-1).
    pub(crate) fn summarize(
        &self,
        turn: &mut ShareStateTurn<'_>,
        key: &SharePartitionKey,
        responder: Responder<Outcome<StateSummary>>,
    ) {
        if let Err(refusal) = self.check_key(key).and_then(|()| self.check_exists(key)) {
            return turn.reply_at_once(responder, Ok(Err(refusal)));
        }
        let answer = turn.state.partitions.get(key).map_or(StateSummary::NONE, |stored| StateSummary {
            state_epoch: stored.state_epoch,
            leader_epoch: stored.leader_epoch,
            start_offset: stored.start_offset,
            delivery_complete_count: stored.delivery_complete_count,
        });
        turn.reply(responder, Ok(answer));
    }

    /// Topics with these ids are gone, and with them the states of their partitions.
    pub(crate) fn topics_deleted(&self, turn: &mut ShareStateTurn<'_>, topic_ids: &[Uuid]) {
        let of_deleted = |key: &&SharePartitionKey| topic_ids.contains(&key.topic_id);
        let gone: Vec<_> = turn.state.partitions.keys().filter(of_deleted).cloned().collect();
        turn.allow_split();
        for key in gone {
            turn.record(ShareStateRecord::Tombstone(key));
        }
    }

    /// Writes snapshots of partitions whose last one has become old, so that the log before them can go.
    fn snapshot_cold_partitions(&self, turn: &mut ShareStateTurn<'_>) {
        let now = turn.now.wall.value();
        let partitions = &turn.state.partitions;
        // Once all are such snapshots, writing them again would gain nothing.
        let has_work = partitions.values().any(|stored| stored.create_timestamp == stored.write_timestamp);
        let is_cold = |stored: &StoredPartition| {
            now.saturating_sub(stored.write_timestamp) >= self.config.cold_partition_snapshot_interval_ms
        };
        let cold: Vec<_> = partitions
            .iter()
            .filter(|(_, stored)| has_work && is_cold(stored))
            .map(|(key, stored)| (key.clone(), Arc::clone(stored)))
            .collect();
        if !cold.is_empty() {
            debug!(partitions = cold.len(), "writing snapshots of share partitions that are quiet");
        }
        turn.allow_split();
        for (key, stored) in cold {
            let snapshot = Snapshot {
                snapshot_epoch: stored.snapshot_epoch.saturating_add(1),
                write_timestamp: now,
                ..stored.as_snapshot()
            };
            turn.record(ShareStateRecord::Snapshot(key, snapshot));
        }
    }

    fn change(
        &self,
        turn: &mut ShareStateTurn<'_>,
        key: SharePartitionKey,
        stored: &StoredPartition,
        change: Change,
    ) {
        let leader_epoch = change.leader_epoch.unwrap_or(stored.leader_epoch);
        let record = if stored.updates >= self.config.update_records_per_snapshot {
            let now = turn.now.wall.value();
            let start_offset =
                if change.start_offset == -1 { stored.start_offset } else { change.start_offset };
            let snapshot = Snapshot {
                snapshot_epoch: stored.snapshot_epoch.saturating_add(1),
                state_epoch: stored.state_epoch,
                leader_epoch,
                start_offset,
                delivery_complete_count: change.delivery_complete_count,
                create_timestamp: now,
                write_timestamp: now,
                batches: combine(&stored.batches, &change.batches, start_offset).into(),
            };
            ShareStateRecord::Snapshot(key, snapshot)
        } else {
            let update = Update {
                snapshot_epoch: stored.snapshot_epoch,
                leader_epoch,
                start_offset: change.start_offset,
                delivery_complete_count: change.delivery_complete_count,
                batches: combine(&[], &change.batches, change.start_offset),
            };
            ShareStateRecord::Update(key, update)
        };
        turn.record(record);
    }

    fn find<'a>(
        &self,
        turn: &ShareStateTurn<'a>,
        key: &SharePartitionKey,
        uninitialized: &str,
    ) -> Outcome<&'a Arc<StoredPartition>> {
        self.check_key(key)?;
        turn.state.partitions.get(key).ok_or_else(|| invalid(uninitialized))
    }

    fn check_key(&self, key: &SharePartitionKey) -> Outcome<()> {
        if key.partition < 0 {
            return Err(invalid("The partition id cannot be a negative number."));
        }
        Ok(())
    }

    fn check_exists(&self, key: &SharePartitionKey) -> Outcome<()> {
        match self.topics.partition_count(key.topic_id) {
            Some(partitions) if key.partition < partitions => Ok(()),
            _ => Err(ShareStateError::of(ErrorCode::UnknownTopicOrPartition)),
        }
    }
}

/// What is to become of a share partition's state.
struct Change {
    /// `None`: as before. Only reading changes it.
    leader_epoch: Option<i32>,
    start_offset: i64,
    delivery_complete_count: i32,
    batches: Vec<StateBatch>,
}

fn invalid(message: &str) -> ShareStateError {
    ShareStateError { code: ErrorCode::InvalidRequest, message: message.to_owned() }
}

fn check_leader_epoch(stored: &StoredPartition, leader_epoch: i32) -> Outcome<()> {
    if leader_epoch != -1 && leader_epoch < stored.fencing_leader_epoch {
        return Err(ShareStateError::of(ErrorCode::FencedLeaderEpoch));
    }
    Ok(())
}

impl Shard for ShareStateShard {
    type State = ShareState;
    type Record = ShareStateRecord;
    type Timer = ShareStateTimer;
    type Completion = ();

    const BASE_SEQUENCE: i32 = 0;

    fn encode(record: &ShareStateRecord) -> Result<EncodedRecord, ErrorCode> {
        record::encode(record)
    }

    fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<ShareStateRecord>, DecodeError> {
        record::decode(key, value)
    }

    /// Nothing here is ever part of a transaction.
    fn replay(state: &mut ShareState, offset: Offset, _: Option<Producer>, record: ShareStateRecord) {
        state.replay(offset, record);
    }

    fn replay_end_transaction(_: &mut ShareState, _: Producer, _: bool) {}

    fn loaded(&mut self, turn: &mut ShareStateTurn<'_>) {
        turn.schedule(ShareStateTimer::ColdPartitions, self.config.cold_partition_snapshot_interval_ms);
    }

    fn timer_fired(&mut self, turn: &mut ShareStateTurn<'_>, timer: ShareStateTimer) {
        match timer {
            ShareStateTimer::ColdPartitions => {
                self.snapshot_cold_partitions(turn);
                turn.schedule(
                    ShareStateTimer::ColdPartitions,
                    self.config.cold_partition_snapshot_interval_ms,
                );
            }
        }
    }

    fn completed(&mut self, _: &mut ShareStateTurn<'_>, (): (), _: Result<(), ErrorCode>) {}
}
