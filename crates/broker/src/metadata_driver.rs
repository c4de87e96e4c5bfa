//! Drives the quorum's replica, the controller on it, and the image that the node publishes from it: one thing after
//! the other, by whoever calls [`MetadataDriver::poll`].
//!
//! The controller works on what is written, the published image on what is committed. An operation's answer is
//! released when everything that was written up to it is committed; if the leadership is lost before, it is done anew by
//! this node's next controller. On a full disk the metadata stands still: operations are refused until there is room.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use ottla_controller::{Controller, ControllerSettings, Outcome};
use ottla_metadata::ReplayError;
use ottla_metadata::image::{Provenance, VersionedRecord};
use ottla_metadata::loader::MetadataLoader;
use ottla_raft::{
    AppendError, Delivery, LeaderAndEpoch, ListenerId, LogError, OffsetAndEpoch, RaftDriverError,
    SnapshotPolicy,
};
use ottla_types::{LeaderEpoch, MonoMs, NodeId, Now, Offset};
use ottla_wire::ErrorCode;
use ottla_wire::messages::ControllerRegistrationRequest;
use ottla_wire::records::MetadataRecord;
use thiserror::Error;

use crate::controller_channel::{
    ControllerChannel, Fate, NO_CONTROLLER_IN_TIME, QuorumView, Release, Written,
};
use crate::ids::Ids;
use crate::publisher::Publisher;
use crate::quorum::{
    FinishedSnapshot, Quorum, SnapshotBatch, begin_snapshot, committed_batches, complete_snapshot,
    discard_snapshot,
};

/// Why the node can't go on: its metadata log failed, or says what can't be so.
#[derive(Debug, Error)]
pub enum MetadataDriverError {
    #[error(transparent)]
    Quorum(#[from] RaftDriverError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the metadata log can't be replayed at offset {offset}: {source}")]
    Replay { offset: Offset, source: ReplayError },
    #[error("a record of the metadata log at offset {offset} can't be read: {message}")]
    Undecodable { offset: Offset, message: String },
    #[error("{0}")]
    Publish(String),
}

/// What a driver is made of.
#[derive(Debug)]
pub struct MetadataDriverParts {
    pub local: NodeId,
    pub quorum: Quorum,
    pub snapshots: SnapshotPolicy,
    pub controller: ControllerSettings,
    /// Records for a cluster whose log is empty: from bootstrap.checkpoint, or the defaults of this version.
    pub bootstrap: Vec<VersionedRecord>,
    pub channel: Arc<ControllerChannel>,
    pub ids: Arc<Ids>,
    /// What this controller tells of itself.
    pub registration: ControllerRegistrationRequest,
}

/// See the module.
#[derive(Debug)]
pub struct MetadataDriver {
    parts: MetadataDriverParts,
    listener: ListenerId,
    loader: MetadataLoader,
    active: Option<Active>,
    /// Since when the metadata stands still.
    stands_still_since: Option<MonoMs>,
    publisher: Publisher,
}

/// The controller while this node leads the quorum.
#[derive(Debug)]
struct Active {
    epoch: LeaderEpoch,
    controller: Controller,
    /// The offset of the last record that was written.
    last_written: Offset,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    last_offset: Offset,
    release: Release,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting").field("last_offset", &self.last_offset).finish_non_exhaustive()
    }
}

impl MetadataDriver {
    pub fn new(mut parts: MetadataDriverParts, publisher: Publisher) -> MetadataDriver {
        let listener = parts.quorum.register();
        MetadataDriver {
            parts,
            listener,
            loader: MetadataLoader::default(),
            active: None,
            stands_still_since: None,
            publisher,
        }
    }

    /// Does all that is to be done by `now`.
    pub fn poll(&mut self, now: Now) -> Result<(), MetadataDriverError> {
        loop {
            self.parts.quorum.poll(now)?;
            self.take_deliveries(now)?;
            self.publisher.publish_kraft_version(self.parts.quorum.core().voters().latest_kraft_version());
            if let Some(publication) = self.loader.publish() {
                self.publisher.publish(&publication, now).map_err(MetadataDriverError::Publish)?;
            }
            self.release_committed();
            let wrote = self.run_operations(now)?;
            if !wrote {
                break;
            }
        }
        self.publisher.retry(now);
        for question in self.parts.channel.take_questions() {
            let leader = self.parts.quorum.core().leader_and_epoch().leader_id.unwrap_or(NodeId::NONE);
            question(QuorumView { leader, info: self.parts.quorum.describe(now) });
        }
        self.snapshot_if_due(now)
    }

    /// The last [`MetadataDriver::poll`] took so long, making logs perhaps: heartbeats waited meanwhile, which the controller
    /// must not take for the silence of brokers.
    pub fn was_busy_for(&mut self, ms: i64) {
        if let Some(active) = &mut self.active {
            active.controller.was_deaf_for(ms);
        }
    }

    /// When to [`MetadataDriver::poll`] next, unless operations come in before.
    pub fn next_deadline(&self, now: Now) -> MonoMs {
        let controller = match &self.active {
            Some(active) if !self.parts.quorum.is_stalled() => active.controller.next_deadline(),
            _ => MonoMs::NEVER,
        };
        self.parts.quorum.next_deadline(now).min(controller).min(self.publisher.retry_at())
    }

    pub fn quorum(&mut self) -> &mut Quorum {
        &mut self.parts.quorum
    }

    /// Leaves the quorum and closes its log. Who waits for the controller waits no longer.
    pub fn close(mut self, now: Now) -> Result<(), MetadataDriverError> {
        self.deactivate();
        for job in self.parts.channel.take() {
            job.refuse(NO_CONTROLLER_IN_TIME);
        }
        for question in self.parts.channel.take_questions() {
            question(QuorumView::UNKNOWN);
        }
        match self.parts.quorum.log().close(now) {
            // It is read through at the start in any case.
            Err(error) if error.passes() => tracing::warn!("the metadata log is left as it is: {error}"),
            closed => closed?,
        }
        Ok(())
    }

    fn take_deliveries(&mut self, now: Now) -> Result<(), MetadataDriverError> {
        while let Some(delivery) = self.parts.quorum.next(self.listener)? {
            match delivery {
                Delivery::Snapshot(id) => self.load_snapshot(id, now)?,
                Delivery::Committed { from, bytes, .. } => self.load_committed(from, &bytes)?,
                Delivery::LeaderChanged(leader) => self.leader_changed(leader, now)?,
            }
        }
        Ok(())
    }

    fn load_snapshot(&mut self, id: OffsetAndEpoch, now: Now) -> Result<(), MetadataDriverError> {
        let mut reader = self.parts.quorum.log().open_snapshot(id)?;
        let mut records = Vec::new();
        while let Some(batch) = reader.next_batch()? {
            if let SnapshotBatch::Data(values) = batch {
                for value in values {
                    records.push(decode(value, id.offset)?);
                }
            }
        }
        let provenance =
            Provenance { last_offset: id.offset - 1, last_epoch: id.epoch, ..Provenance::default() };
        let loaded = self.loader.load_snapshot(provenance, records);
        loaded.map_err(|source| MetadataDriverError::Replay { offset: id.offset, source })?;
        self.parts.snapshots.taken(now.mono);
        Ok(())
    }

    fn load_committed(&mut self, from: Offset, bytes: &Bytes) -> Result<(), MetadataDriverError> {
        for batch in committed_batches(from, bytes)? {
            let offset = batch.last_offset;
            let records = batch.values.into_iter().map(|value| decode(value, offset));
            let records: Vec<_> = records.collect::<Result<_, _>>()?;
            self.loader
                .apply(offset, batch.leader_epoch, batch.append_timestamp, &records)
                .map_err(|source| MetadataDriverError::Replay { offset, source })?;
            self.parts.snapshots.committed(batch.size as u64);
        }
        Ok(())
    }

    fn leader_changed(&mut self, leader: LeaderAndEpoch, now: Now) -> Result<(), MetadataDriverError> {
        self.deactivate();
        if leader.leader_id != Some(self.parts.local) {
            return Ok(());
        }
        let ids = Arc::clone(&self.parts.ids);
        let next_id = move || ids.next_u128();
        let image = self.loader.decided();
        let last_written = image.provenance.last_offset;
        let controller = Controller::new(self.parts.controller.clone(), image, Box::new(next_id), now);
        tracing::info!(epoch = %leader.epoch, at = %last_written, "this node is the active controller");
        let activation = controller.activate(&self.parts.bootstrap, self.loader.has_open_transaction());
        self.active =
            Some(Active { epoch: leader.epoch, controller, last_written, waiting: VecDeque::new() });
        self.write_unasked(activation.records, now)?;
        self.register_controller(now)
    }

    /// The active controller registers itself as every controller does with it (KIP-919).
    fn register_controller(&mut self, now: Now) -> Result<(), MetadataDriverError> {
        let Some(active) = &self.active else { return Ok(()) };
        let request = &self.parts.registration;
        let image = active.controller.image();
        let known = image.controllers.get(&NodeId(request.controller_id));
        let is_supported = image.features.metadata_version().is_controller_registration_supported();
        if !is_supported || known.is_some_and(|known| known.incarnation_id == request.incarnation_id) {
            return Ok(());
        }
        let Outcome { records, response: _ } = active.controller.register_controller(request);
        self.write_unasked(records, now).map(drop)
    }

    /// The controller is gone, and with it what it has written and the quorum has not committed.
    fn deactivate(&mut self) {
        let Some(active) = self.active.take() else { return };
        tracing::info!(epoch = %active.epoch, "this node is no longer the active controller");
        let lost: Vec<_> =
            active.waiting.into_iter().filter_map(|waiting| (waiting.release)(Fate::Lost)).collect();
        self.parts.channel.put_back(lost.into_iter());
    }

    /// After the publication, so that whoever is answered finds here what was decided.
    fn release_committed(&mut self) {
        let Some(active) = &mut self.active else { return };
        let committed = self.parts.quorum.core().high_watermark().unwrap_or(Offset::ZERO);
        while active.waiting.front().is_some_and(|waiting| waiting.last_offset < committed) {
            if let Some(waiting) = active.waiting.pop_front() {
                (waiting.release)(Fate::Committed);
            }
        }
    }

    /// Runs what has come in and what the controller has to do by itself; whether anything was written.
    fn run_operations(&mut self, now: Now) -> Result<bool, MetadataDriverError> {
        if self.parts.quorum.is_stalled() {
            self.stands_still_since.get_or_insert(now.mono);
            for job in self.parts.channel.take() {
                job.refuse(ErrorCode::KafkaStorageError);
            }
            return Ok(false);
        }
        if let Some(since) = self.stands_still_since.take() {
            self.was_busy_for(i64::try_from(now.mono.since_ms(since)).unwrap_or(i64::MAX));
        }
        if self.active.is_none() {
            return Ok(false);
        }
        let mut wrote = false;
        for job in self.parts.channel.take() {
            let Some(active) = &mut self.active else { break };
            let written = job.run(&mut active.controller, now);
            wrote |= self.write(written, now)?;
        }
        while let Some(outcome) = self.active.as_mut().and_then(|active| active.controller.tick(now)) {
            if !self.write_unasked(outcome.records, now)? {
                break;
            }
            wrote = true;
        }
        Ok(wrote)
    }

    /// Writes what the controller decided by itself.
    fn write_unasked(
        &mut self,
        records: Vec<VersionedRecord>,
        now: Now,
    ) -> Result<bool, MetadataDriverError> {
        self.write(Written { records, release: Box::new(|_| None) }, now)
    }

    /// Writes an operation's records, has the controller replay them, and keeps the answer until they are committed. False
    /// if they were not written.
    fn write(&mut self, written: Written, now: Now) -> Result<bool, MetadataDriverError> {
        let Written { records, release } = written;
        let Some(active) = &mut self.active else {
            self.end(release, Fate::Lost);
            return Ok(false);
        };
        if !records.is_empty() {
            let values = records.iter().map(|(record, version)| record.encode(*version));
            let values = match values.collect::<Result<Vec<_>, _>>() {
                Ok(values) => values,
                Err(error) => {
                    tracing::error!(%error, "the controller made a record that can't be written");
                    self.end(release, Fate::Refused(ErrorCode::UnknownServerError));
                    return Ok(false);
                }
            };
            let count = values.len() as i64;
            match self.parts.quorum.append(active.epoch, values, now) {
                Ok(last) => active.last_written = last,
                Err(error) => {
                    tracing::warn!(%error, "the controller's records were not appended");
                    self.end(release, not_appended(error));
                    return Ok(false);
                }
            }
            let first = active.last_written - (count - 1);
            for (i, (record, _)) in records.iter().enumerate() {
                let offset = first + i as i64;
                active
                    .controller
                    .replay(record, offset)
                    .map_err(|source| MetadataDriverError::Replay { offset, source })?;
            }
        }
        active.waiting.push_back(Waiting { last_offset: active.last_written, release });
        Ok(true)
    }

    fn end(&self, release: Release, fate: Fate) {
        self.parts.channel.put_back(release(fate).into_iter());
    }

    /// A snapshot of the published image, when there is enough behind the last one. On a full disk the next one is waited for.
    fn snapshot_if_due(&mut self, now: Now) -> Result<(), MetadataDriverError> {
        if self.parts.quorum.is_stalled() {
            return Ok(());
        }
        let Some(reason) = self.parts.snapshots.due(now.mono) else { return Ok(()) };
        self.parts.snapshots.taken(now.mono);
        let Provenance { last_offset, last_epoch, .. } = self.loader.published().provenance;
        let id = OffsetAndEpoch { offset: last_offset.next(), epoch: last_epoch };
        match self.write_snapshot(id, now) {
            Ok(Some(finished)) => {
                tracing::info!(id = ?id, ?reason, bytes = finished.size(), "wrote a snapshot of the metadata");
                complete_snapshot(&mut self.parts.quorum, finished, now)?;
            }
            Ok(None) => {}
            Err(MetadataDriverError::Log(error)) if error.passes() => {
                tracing::warn!(id = ?id, ?reason, "no snapshot of the metadata is written: {error}");
                discard_snapshot(&self.parts.quorum, id);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn write_snapshot(
        &mut self,
        id: OffsetAndEpoch,
        now: Now,
    ) -> Result<Option<FinishedSnapshot>, MetadataDriverError> {
        let image = Arc::clone(self.loader.published());
        let Provenance { last_offset, last_append_time, .. } = image.provenance;
        let Some(mut writer) = begin_snapshot(&self.parts.quorum, id, last_append_time, now)? else {
            return Ok(None);
        };
        for (record, version) in image.to_records() {
            let value = record.encode(version).map_err(|error| MetadataDriverError::Undecodable {
                offset: last_offset,
                message: error.to_string(),
            })?;
            writer.append(value, now)?;
        }
        Ok(Some(writer.finish(now)?))
    }
}

fn not_appended(error: AppendError) -> Fate {
    match error {
        AppendError::NotLeader(_) => Fate::Lost,
        AppendError::Full => Fate::Refused(NO_CONTROLLER_IN_TIME),
        AppendError::TooLarge { .. } | AppendError::Empty => Fate::Refused(ErrorCode::UnknownServerError),
    }
}

fn decode(value: Bytes, offset: Offset) -> Result<MetadataRecord, MetadataDriverError> {
    match MetadataRecord::decode(value) {
        Ok((record, _)) => Ok(record),
        Err(error) => Err(MetadataDriverError::Undecodable { offset, message: error.to_string() }),
    }
}
