//! Drives the quorum's replica, the controller on it, and the image that the node publishes from it: one thing after
//! the other, by whoever calls [`MetadataDriver::poll`].
//!
//! The controller works on what is written, the published image on what is committed. An operation's answer is
//! released when everything that was written up to it is committed, and a client's when this node acts on it; if the
//! leadership is lost before, it is done anew by this node's next controller. On a full disk the metadata stands still:
//! what is asked of a controller that could only be on this node is refused until there is room, and others are asked as ever.

use std::sync::Arc;

use bytes::Bytes;
use ottla_controller::{Controller, ControllerSettings, Outcome, QuorumVersion};
use ottla_metadata::image::{Provenance, VersionedRecord};
use ottla_metadata::loader::MetadataLoader;
use ottla_metadata::{Feature, MetadataImage, ReplayError};
use ottla_raft::{
    AppendError, Delivery, LeaderAndEpoch, ListenerId, LogError, OffsetAndEpoch, RaftDriverError,
    SnapshotPolicy,
};
use ottla_types::{LeaderEpoch, MonoMs, NodeId, Now, Offset};
use ottla_wire::ErrorCode;
use ottla_wire::messages::{ControllerRegistrationRequest, ControllerRegistrationResponse};
use ottla_wire::records::MetadataRecord;
use thiserror::Error;

use crate::controller_channel::{
    ControllerChannel, ControllerLink, ControllerRequest, Fate, NO_CONTROLLER_IN_TIME, Operation, QuorumView,
    Release, Way, Written,
};
use crate::ids::Ids;
use crate::peers::{PeerAddress, Peers};
use crate::publisher::{Desk, Progress};
use crate::quorum::{
    FinishedSnapshot, Quorum, SnapshotBatch, begin_snapshot, committed_batches, complete_snapshot,
    discard_snapshot,
};
use crate::quorum_link::QuorumLink;

/// So many records go into the log together, all or none. An operation yields more only where a broker with many
/// partitions comes or goes: then each record holds by itself, and what is missing is done when the operation is repeated.
const MAX_RECORDS_TOGETHER: usize = 10_000;

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
    /// The way between the quorum's replicas.
    pub link: QuorumLink,
    pub peers: Arc<dyn Peers>,
    /// On which controllers reach one another.
    pub controller_listener: String,
    /// `request.timeout.ms`
    pub request_timeout_ms: i64,
    pub ids: Arc<Ids>,
    /// What this controller tells of itself; none of a node that is none.
    pub registration: Option<ControllerRegistrationRequest>,
}

/// See the module.
#[derive(Debug)]
pub struct MetadataDriver {
    parts: MetadataDriverParts,
    listener: ListenerId,
    loader: MetadataLoader,
    active: Option<Active>,
    /// The node that was known to lead last.
    leader: Option<NodeId>,
    /// On a full disk.
    stood_still: bool,
    /// When this controller may tell another of itself again.
    register_at: MonoMs,
    desk: Desk,
}

/// The controller while this node leads the quorum.
#[derive(Debug)]
struct Active {
    epoch: LeaderEpoch,
    controller: Controller,
    /// The offset of the last record that was written.
    last_written: Offset,
    /// In the order in which they came.
    waiting: Vec<Waiting>,
}

struct Waiting {
    last_offset: Offset,
    awaits_effect: bool,
    release: Release,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting").field("last_offset", &self.last_offset).finish_non_exhaustive()
    }
}

impl MetadataDriver {
    pub(crate) fn new(mut parts: MetadataDriverParts, desk: Desk) -> MetadataDriver {
        let listener = parts.quorum.register();
        MetadataDriver {
            parts,
            listener,
            loader: MetadataLoader::default(),
            active: None,
            leader: None,
            stood_still: false,
            register_at: MonoMs(0),
            desk,
        }
    }

    /// Does all that is to be done by `now`.
    pub fn poll(&mut self, now: Now) -> Result<(), MetadataDriverError> {
        loop {
            let MetadataDriverParts { link, quorum, .. } = &mut self.parts;
            link.take(quorum, now)?;
            // Followers may write what is being flushed here.
            link.send(quorum);
            quorum.poll(now)?;
            link.send(quorum);
            self.take_deliveries(now)?;
            let kraft_version = self.parts.quorum.core().voters().latest_kraft_version();
            self.desk.node().metadata.publish_kraft_version(kraft_version);
            let in_effect = self.put_into_effect(now)?;
            self.release_committed(in_effect);
            let wrote = self.run_operations(now)?;
            if !wrote && self.parts.link.is_empty() {
                break;
            }
        }
        let stands_still = self.parts.quorum.is_stalled();
        if self.stood_still != stands_still {
            self.stood_still = stands_still;
            self.desk.node().metadata_stand_still(stands_still, now);
        }
        self.register_elsewhere(now);
        for question in self.parts.channel.take_questions() {
            let leader = self.parts.quorum.core().leader_and_epoch().leader_id.unwrap_or(NodeId::NONE);
            question(QuorumView { leader, info: self.parts.quorum.describe(now) });
        }
        self.snapshot_if_due(now)
    }

    /// When to [`MetadataDriver::poll`] next, unless operations come in before.
    pub fn next_deadline(&self, now: Now) -> MonoMs {
        let controller = match &self.active {
            Some(active) if !self.parts.quorum.is_stalled() => active.controller.next_deadline(),
            _ => MonoMs::NEVER,
        };
        let desk = self.desk.progress();
        // A busy one wakes this driver.
        let desk = if desk.is_busy { MonoMs::NEVER } else { desk.retry_at };
        let retries = desk.min(self.parts.channel.next_retry());
        let register = if self.is_to_register() { self.register_at } else { MonoMs::NEVER };
        self.parts.quorum.next_deadline(now).min(controller).min(retries).min(register)
    }

    pub fn quorum(&mut self) -> &mut Quorum {
        &mut self.parts.quorum
    }

    /// Leaves the quorum and closes its log. Who waits for the controller waits no longer.
    pub fn close(mut self, now: Now) -> Result<(), MetadataDriverError> {
        self.deactivate("the node ends");
        for job in self.parts.channel.take_all() {
            job.refuse(NO_CONTROLLER_IN_TIME);
        }
        self.parts.link.tell_left();
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
        self.deactivate("it no longer leads the quorum");
        if leader.leader_id != Some(self.parts.local) {
            return Ok(());
        }
        let ids = Arc::clone(&self.parts.ids);
        let next_id = move || ids.next_u128();
        let image = self.loader.decided();
        let last_written = image.provenance.last_offset;
        let mut controller = Controller::new(self.parts.controller.clone(), image, Box::new(next_id), now);
        if let Some((former, heard_at)) = self.parts.quorum.core().heard_of() {
            controller.takes_over_from(former, heard_at);
        }
        let node = self.parts.local.value();
        tracing::info!(node, epoch = %leader.epoch, at = %last_written, from = "standby", to = "active",
            why = "it leads the quorum and has replayed all before", "controller changed state");
        let activation = controller.activate(&self.parts.bootstrap, self.loader.has_open_transaction());
        self.active = Some(Active { epoch: leader.epoch, controller, last_written, waiting: Vec::new() });
        self.write_unasked(activation.records, now)?;
        self.desk.node().doubt_all_brokers(now);
        self.register_controller(now)
    }

    /// The active controller registers itself as every controller does with it (KIP-919).
    fn register_controller(&mut self, now: Now) -> Result<(), MetadataDriverError> {
        let (Some(active), Some(request)) = (&self.active, &self.parts.registration) else { return Ok(()) };
        if !lacks(active.controller.image(), request) {
            return Ok(());
        }
        let Outcome { records, response: _ } = active.controller.register_controller(request);
        self.write_unasked(records, now).map(drop)
    }

    /// The controller is gone, and with it what it has written and the quorum has not committed.
    fn deactivate(&mut self, why: &'static str) {
        let Some(active) = self.active.take() else { return };
        let (node, waiting) = (self.parts.local.value(), active.waiting.len());
        tracing::info!(node, epoch = %active.epoch, at = %active.last_written, waiting, from = "active", to = "standby", why,
            "controller changed state");
        let lost: Vec<_> =
            active.waiting.into_iter().filter_map(|waiting| (waiting.release)(Fate::Lost)).collect();
        self.parts.channel.put_back(lost.into_iter());
    }

    /// Has what is new put into effect, if nothing else is just then. Returns through where the log is in effect on this node.
    fn put_into_effect(&mut self, now: Now) -> Result<Offset, MetadataDriverError> {
        let before = self.desk.progress();
        let was_busy = before.is_busy;
        let publication = if was_busy { None } else { self.loader.publish() };
        let Progress { is_busy, through, failure, .. } = match publication {
            Some(publication) => self.desk.publish(publication, now),
            None if !was_busy && before.retry_at <= now.mono => self.desk.retry(now),
            None => before,
        };
        if let Some(failure) = failure {
            return Err(MetadataDriverError::Publish(failure));
        }
        // What has been replayed since it began is not in effect, even if it has ended by now.
        Ok(if was_busy || is_busy { through } else { Offset(i64::MAX) })
    }

    /// A client is answered after the publication, so that it finds here what was decided.
    fn release_committed(&mut self, in_effect: Offset) {
        let Some(active) = &mut self.active else { return };
        let committed = self.parts.quorum.core().high_watermark().unwrap_or(Offset::ZERO);
        let is_due = |waiting: &mut Waiting| {
            waiting.last_offset < committed && (!waiting.awaits_effect || waiting.last_offset <= in_effect)
        };
        let due: Vec<_> = active.waiting.extract_if(.., is_due).collect();
        due.into_iter().for_each(|waiting| drop((waiting.release)(Fate::Committed)));
    }

    /// Runs what has come in and what the controller has to do by itself; whether anything was written.
    fn run_operations(&mut self, now: Now) -> Result<bool, MetadataDriverError> {
        let is_stalled = self.parts.quorum.is_stalled();
        if is_stalled && !self.may_lead_elsewhere() {
            for job in self.parts.channel.take(now.mono) {
                job.refuse(ErrorCode::KafkaStorageError);
            }
            return Ok(false);
        }
        if is_stalled || self.active.is_none() {
            self.pass_on_operations(now);
            return Ok(false);
        }
        let mut wrote = false;
        let quorum = self.quorum_version();
        for job in self.parts.channel.take(now.mono) {
            let Some(active) = &mut self.active else { break };
            active.controller.set_quorum_version(quorum);
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

    fn quorum_version(&self) -> QuorumVersion {
        let core = self.parts.quorum.core();
        let level = core.voters().latest_kraft_version();
        QuorumVersion { level, cannot_rise: core.check_kraft_version(level.saturating_add(1)).err() }
    }

    /// Whether there are voters on other nodes.
    fn may_lead_elsewhere(&self) -> bool {
        let voters = self.parts.quorum.core().voters().latest().ids();
        voters.into_iter().any(|voter| voter != self.parts.local)
    }

    /// Where another node leads the quorum.
    fn controller_elsewhere(&self) -> Option<PeerAddress> {
        let (leader, endpoints) = self.parts.quorum.leader();
        let node = leader.filter(|leader| *leader != self.parts.local)?;
        let address = endpoints.get(&self.parts.controller_listener)?;
        let (host, port) = (address.host.clone(), address.port);
        Some(PeerAddress { node, host, port, is_controller_listener: true })
    }

    /// Sends what waits for the controller to the node that has it. What waits for this node's controller is told that it is
    /// not the active one.
    fn pass_on_operations(&mut self, now: Now) {
        let (leader, _) = self.parts.quorum.leader();
        if self.leader != leader {
            self.leader = leader;
            self.parts.channel.take_back_all();
        }
        if leader == Some(self.parts.local) {
            return;
        }
        let to = self.controller_elsewhere();
        let parts = &self.parts;
        let mut waiting = Vec::new();
        for job in parts.channel.take(now.mono) {
            match &to {
                _ if job.is_for_this_node() => job.refuse(ErrorCode::NotController),
                None => waiting.push(job),
                Some(to) => job.send(&ControllerLink {
                    to,
                    peers: &parts.peers,
                    channel: &parts.channel,
                    timeout_ms: parts.request_timeout_ms,
                    now,
                }),
            }
        }
        parts.channel.put_back(waiting.into_iter());
    }

    /// Whether the active controller, another node's, is to be told of this one.
    fn is_to_register(&self) -> bool {
        let Some(request) = &self.parts.registration else { return false };
        self.active.is_none()
            && self.loader.published().provenance.last_offset != Offset::UNKNOWN
            && lacks(self.loader.published(), request)
    }

    /// Every controller tells the active one of itself (KIP-919), until it finds that in the metadata.
    fn register_elsewhere(&mut self, now: Now) {
        const AGAIN_MS: i64 = 1000;
        let Some(request) = self.parts.registration.clone() else { return };
        if !self.is_to_register() || self.register_at > now.mono || self.controller_elsewhere().is_none() {
            return;
        }
        self.register_at = now.mono.plus_ms(AGAIN_MS);
        let done = |result: Result<ControllerRegistrationResponse, ErrorCode>| match result {
            Ok(response) if response.error_code == 0 => {}
            Ok(response) => {
                let code = ErrorCode::from_code(response.error_code).map_or("unknown", ErrorCode::name);
                tracing::warn!(code, "the active controller refused this controller's registration");
            }
            Err(error) => tracing::debug!(%error, "the active controller was not told of this one"),
        };
        self.parts.channel.submit(Box::new(Operation {
            request,
            way: Way::Own {
                channel: ControllerRegistrationRequest::CHANNEL,
                is_elsewhere: ControllerRegistrationRequest::is_elsewhere,
            },
            operation: |controller: &mut Controller, request: &ControllerRegistrationRequest, now: Now| {
                ControllerRegistrationRequest::run(controller, request, now)
            },
            due: self.register_at,
            waiting: Arc::new(parking_lot::Mutex::new(Some(Box::new(done)))),
        }));
    }

    /// Writes what the controller decided by itself.
    fn write_unasked(
        &mut self,
        records: Vec<VersionedRecord>,
        now: Now,
    ) -> Result<bool, MetadataDriverError> {
        self.write(Written::for_nobody(records), now)
    }

    fn raise_kraft_version(&mut self, level: i16, now: Now) -> Result<(), Fate> {
        let Some(active) = &mut self.active else { return Err(Fate::Lost) };
        match self.parts.quorum.raise_kraft_version(active.epoch, level, now) {
            Ok(last) => {
                active.last_written = last;
                Ok(())
            }
            Err(why) => {
                tracing::warn!(level, why, "kraft.version is not raised");
                Err(Fate::Refused(ErrorCode::InvalidUpdateVersion))
            }
        }
    }

    /// Writes an operation's records, has the controller replay them, and keeps the answer until they are committed. False
    /// if not all of them were written.
    fn write(&mut self, written: Written, now: Now) -> Result<bool, MetadataDriverError> {
        let Written { mut records, awaits_effect, release } = written;
        for level in take_quorum_levels(&mut records) {
            if let Err(fate) = self.raise_kraft_version(level, now) {
                self.end(release, fate);
                return Ok(false);
            }
        }
        for together in records.chunks(MAX_RECORDS_TOGETHER) {
            if let Err(fate) = self.write_batch(together, now)? {
                self.end(release, fate);
                return Ok(false);
            }
        }
        let Some(active) = &mut self.active else {
            self.end(release, Fate::Lost);
            return Ok(false);
        };
        active.waiting.push(Waiting { last_offset: active.last_written, awaits_effect, release });
        Ok(true)
    }

    /// Writes all of the records, or none, and has the controller replay them.
    fn write_batch(
        &mut self,
        records: &[VersionedRecord],
        now: Now,
    ) -> Result<Result<(), Fate>, MetadataDriverError> {
        let Some(active) = &mut self.active else { return Ok(Err(Fate::Lost)) };
        let values = records.iter().map(|(record, version)| record.encode(*version));
        let values = match values.collect::<Result<Vec<_>, _>>() {
            Ok(values) => values,
            Err(error) => {
                tracing::error!(%error, "the controller made a record that can't be written");
                return Ok(Err(Fate::Refused(ErrorCode::UnknownServerError)));
            }
        };
        match self.parts.quorum.append(active.epoch, values, now) {
            Ok(last) => active.last_written = last,
            Err(error) => {
                tracing::warn!(%error, "the controller's records were not appended");
                return Ok(Err(not_appended(error)));
            }
        }
        let first = active.last_written - (records.len() as i64 - 1);
        for (offset, (record, _)) in (first.value()..).map(Offset).zip(records) {
            let replayed = active.controller.replay(record, offset);
            replayed.map_err(|source| MetadataDriverError::Replay { offset, source })?;
        }
        Ok(Ok(()))
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

/// Levels of `kraft.version` are no records of the metadata: the quorum writes them into records of its own.
fn take_quorum_levels(records: &mut Vec<VersionedRecord>) -> Vec<i16> {
    let is_of_quorum = |(record, _): &mut VersionedRecord| match record {
        MetadataRecord::FeatureLevel(level) => level.name == Feature::KRaftVersion.name(),
        _ => false,
    };
    let taken = records.extract_if(.., is_of_quorum);
    let level = |(record, _)| match record {
        MetadataRecord::FeatureLevel(level) => Some(level.feature_level),
        _ => None,
    };
    taken.filter_map(level).collect()
}

/// Whether the image does not know a controller as it is now.
fn lacks(image: &MetadataImage, request: &ControllerRegistrationRequest) -> bool {
    let known = image.controllers.get(&NodeId(request.controller_id));
    image.features.metadata_version().is_controller_registration_supported()
        && known.is_none_or(|known| known.incarnation_id != request.incarnation_id)
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
