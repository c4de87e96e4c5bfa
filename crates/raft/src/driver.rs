//! The core with a log under it: carries out actions in order, reports back, and hands what is committed to listeners.
//!
//! Synchronous and stepped from outside, so that a thread of the server and the simulator run the same. A step may leave a
//! flush due; [`RaftDriver::poll`] does it. What is in [`RaftDriver::take_outgoing`] before the flush may leave before it:
//! that lets followers write while the leader does.
//!
//! A full disk, or a lack of descriptors, stops the replica and does not end it: what could not be written is tried again now and then, nothing else
//! is done before, and nothing is committed. To others it is as if the network had lost what they send. A leader lets another one
//! lead, where there is any, and who that is can be known here, though not written down.

use std::collections::VecDeque;

use bytes::Bytes;
use ottla_types::{LeaderEpoch, MonoMs, NodeId, Now, Offset};
use thiserror::Error;

use crate::accumulator::AppendError;
use crate::control::ControlRecord;
use crate::core::{Action, Event, QuorumInfo, QuorumSettings, RaftCore, RaftStart};
use crate::log::{LogError, QuorumStateStore, ReplicatedLog};
use crate::messages::{FetchedRecords, RaftError, Request, Response, SnapshotBytes};
use crate::quorum_state::{LeaderAndEpoch, RoleName};
use crate::replica::{Endpoints, Node, OffsetAndEpoch};

/// Between two looks for segments and snapshots that can be deleted.
const CLEAN_INTERVAL_MS: i64 = 60_000;

/// Between two attempts at what a full disk has no room for.
const STALLED_RETRY_MS: i64 = 500;

/// Bytes that one [`Delivery::Committed`] holds, about.
const DELIVERY_MAX_BYTES: usize = 8 * 1024 * 1024;

/// Why a replica can't go on: without its metadata log a node must stop.
#[derive(Debug, Error)]
pub enum RaftDriverError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("{0}")]
    Halted(String),
}

/// What is to be sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Outgoing {
    /// Its answer comes back with the correlation id, through [`RaftDriver::handle_response`].
    Request { correlation_id: u64, to: Node, request: Request },
    /// The answer to the request that came in with this id.
    Reply { id: u64, response: Response },
    /// The request that came in with this id will not be answered: whoever waits for that had better ask again.
    NoReply { id: u64 },
}

/// A reader of the committed log, such as the controller or the broker's image of the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerId(usize);

/// What a listener gets, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Delivery {
    /// Forget everything and load this snapshot; records follow from its end offset on.
    Snapshot(OffsetAndEpoch),
    /// Committed batches. The first may begin before the listener's position; records below it are to be skipped.
    Committed { from: Offset, next_offset: Offset, bytes: Bytes },
    /// The known leader changed. A listener on the leader itself hears it once it has everything committed before.
    LeaderChanged(LeaderAndEpoch),
}

#[derive(Debug)]
struct Listener {
    /// `None` before anything was delivered.
    next_offset: Option<Offset>,
    leader: Option<LeaderAndEpoch>,
}

/// A replica of the metadata partition on a log.
#[derive(Debug)]
pub struct RaftDriver<L, S> {
    core: RaftCore,
    log: L,
    store: S,
    outgoing: Vec<Outgoing>,
    listeners: Vec<Listener>,
    leader: (LeaderAndEpoch, Option<Offset>),
    flush_due: bool,
    stalled: Option<Stalled>,
    /// Size and control records of the snapshot that was installed just now.
    installed: Option<(u64, Vec<ControlRecord>)>,
    clean_at: MonoMs,
    shutdown: Option<bool>,
    failed: Option<String>,
}

/// What waits for room on the disk.
#[derive(Debug)]
struct Stalled {
    /// In order, the one that failed first.
    actions: VecDeque<Action>,
    retry_at: MonoMs,
    /// Who leads in a newer epoch than this replica can write down, and where it listens.
    overheard: Option<(LeaderEpoch, NodeId, Endpoints)>,
}

impl<L: ReplicatedLog, S: QuorumStateStore> RaftDriver<L, S> {
    /// Reads log and election state and starts the replica.
    pub fn open(
        quorum: QuorumSettings,
        log: L,
        store: S,
        now: Now,
    ) -> Result<RaftDriver<L, S>, RaftDriverError> {
        let start = RaftStart { quorum, election: store.read()?, log: log.start()? };
        let core = RaftCore::new(start, now);
        let leader = (LeaderAndEpoch { leader_id: None, epoch: core.epoch() }, None);
        let mut driver = RaftDriver {
            core,
            log,
            store,
            outgoing: Vec::new(),
            listeners: Vec::new(),
            leader,
            flush_due: false,
            stalled: None,
            installed: None,
            clean_at: now.mono.plus_ms(CLEAN_INTERVAL_MS),
            shutdown: None,
            failed: None,
        };
        driver.poll(now)?;
        Ok(driver)
    }

    pub fn core(&self) -> &RaftCore {
        &self.core
    }

    pub fn log(&self) -> &L {
        &self.log
    }

    pub fn log_mut(&mut self) -> &mut L {
        &mut self.log
    }

    /// Ends the replica; its log and store go back to who gave them.
    pub fn into_parts(self) -> (L, S) {
        (self.log, self.store)
    }

    /// See [`RaftCore::append`].
    pub fn append(
        &mut self,
        epoch: LeaderEpoch,
        records: Vec<Bytes>,
        now: Now,
    ) -> Result<Offset, AppendError> {
        self.core.append(epoch, records, now)
    }

    /// See [`RaftCore::raise_kraft_version`].
    pub fn raise_kraft_version(
        &mut self,
        epoch: LeaderEpoch,
        level: i16,
        now: Now,
    ) -> Result<Offset, &'static str> {
        self.core.raise_kraft_version(epoch, level, now)
    }

    /// Flushes what is due to be flushed and does what is due at `now`.
    pub fn poll(&mut self, now: Now) -> Result<(), RaftDriverError> {
        self.retry(now)?;
        self.flush(now)?;
        if self.is_stalled() {
            return Ok(());
        }
        let actions = self.core.tick(now);
        self.run(actions.into(), now)?;
        self.flush(now)?;
        if self.clean_at <= now.mono && !self.is_stalled() {
            self.clean_at = now.mono.plus_ms(CLEAN_INTERVAL_MS);
            self.clean(now)?;
        }
        Ok(())
    }

    /// When [`RaftDriver::poll`] must be called at the latest.
    pub fn next_deadline(&self, now: Now) -> MonoMs {
        match &self.stalled {
            Some(stalled) => stalled.retry_at,
            None if self.flush_due => now.mono,
            None => self.core.next_deadline(now).min(self.clean_at),
        }
    }

    /// The disk is full: nothing is written, committed or answered until there is room.
    pub fn is_stalled(&self) -> bool {
        self.stalled.is_some()
    }

    /// A request that comes while this replica stands still. It is not handled, but it may tell who leads.
    pub fn overhear(&mut self, request: &Request) {
        let (Some(stalled), Request::BeginQuorumEpoch(begins)) = (&mut self.stalled, request) else { return };
        let known = stalled.overheard.as_ref().map_or(self.core.epoch(), |(epoch, ..)| *epoch);
        if begins.leader_epoch > known {
            let leader = (begins.leader_epoch, begins.leader_id, begins.leader_endpoints.clone());
            stalled.overheard = Some(leader);
        }
    }

    /// Who leads as far as is known, and where it listens: for those who have something to ask of it.
    pub fn leader(&self) -> (Option<NodeId>, Endpoints) {
        match self.stalled.as_ref().and_then(|stalled| stalled.overheard.clone()) {
            Some((_, leader, endpoints)) => (Some(leader), endpoints),
            None => (self.core.leader_and_epoch().leader_id, self.core.leader_endpoints()),
        }
    }

    /// A request of another node; its reply comes with the same id in [`RaftDriver::take_outgoing`], maybe later.
    pub fn handle_request(&mut self, id: u64, request: Request, now: Now) -> Result<(), RaftDriverError> {
        self.step(Event::Request { id, request }, now)
    }

    /// The answer to an [`Outgoing::Request`]; `None` when there will be none.
    pub fn handle_response(
        &mut self,
        correlation_id: u64,
        response: Option<Response>,
        now: Now,
    ) -> Result<(), RaftDriverError> {
        let event = match response {
            None => Event::RequestFailed { correlation_id },
            Some(Response::Fetch(mut fetch)) => {
                if let FetchedRecords::Bytes(bytes) = fetch.records {
                    fetch.records = FetchedRecords::Batches(self.log.parse(bytes));
                }
                Event::Response { correlation_id, response: Response::Fetch(fetch) }
            }
            Some(response) => Event::Response { correlation_id, response },
        };
        self.step(event, now)
    }

    /// An [`Outgoing::Request`] was not sent, since nobody listens where the node did.
    pub fn handle_refusal(&mut self, correlation_id: u64, now: Now) -> Result<(), RaftDriverError> {
        self.step(Event::RequestRefused { correlation_id }, now)
    }

    /// Gives up leadership of this epoch.
    pub fn resign(&mut self, epoch: LeaderEpoch, now: Now) -> Result<(), RaftDriverError> {
        self.step(Event::Resign { epoch }, now)
    }

    /// Begins to leave the quorum in order; see [`RaftDriver::shutdown_complete`].
    pub fn shutdown(&mut self, timeout_ms: i64, now: Now) -> Result<(), RaftDriverError> {
        if self.is_stalled() {
            self.shutdown = Some(true);
            return Ok(());
        }
        self.step(Event::Shutdown { timeout_ms }, now)
    }

    /// `Some(true)` when the time ran out before another replica led.
    pub fn shutdown_complete(&self) -> Option<bool> {
        self.shutdown
    }

    /// A snapshot of the committed state up to `id` is complete in the log's directory.
    pub fn snapshot_created(
        &mut self,
        id: OffsetAndEpoch,
        size: u64,
        now: Now,
    ) -> Result<(), RaftDriverError> {
        // What it covers may have become too much to keep.
        self.clean_at = now.mono;
        self.step(Event::SnapshotCreated { id, size }, now)
    }

    /// What to send, in order.
    pub fn take_outgoing(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.outgoing)
    }

    /// `None` unless this replica leads.
    pub fn describe(&mut self, now: Now) -> Option<QuorumInfo> {
        self.core.describe(now)
    }

    /// A listener that begins with the latest snapshot, or the log's beginning.
    pub fn register(&mut self) -> ListenerId {
        self.listeners.push(Listener { next_offset: None, leader: None });
        ListenerId(self.listeners.len() - 1)
    }

    /// What comes next for a listener; `None` when it has everything. A delivery counts as taken.
    pub fn next(&mut self, listener: ListenerId) -> Result<Option<Delivery>, RaftDriverError> {
        let high_watermark = self.core.high_watermark();
        let (leader, epoch_start_offset) = self.leader;
        let start_offset = self.core.log().start_offset();
        let latest = self.core.log().latest_snapshot();
        let Some(state) = self.listeners.get_mut(listener.0) else {
            return Ok(None);
        };
        let committed = high_watermark.unwrap_or(Offset::UNKNOWN);
        let behind_log = state.next_offset.is_none_or(|next| next < start_offset);
        if let Some(id) = latest
            && behind_log
            && id.offset <= committed
        {
            state.next_offset = Some(id.offset);
            return Ok(Some(Delivery::Snapshot(id)));
        }
        let next_offset = state.next_offset.unwrap_or(Offset::ZERO);
        if next_offset < committed && (!behind_log || start_offset == Offset::ZERO) {
            let read = self.log.read(next_offset, committed, DELIVERY_MAX_BYTES)?;
            if read.next_offset > next_offset {
                state.next_offset = Some(read.next_offset);
                return Ok(Some(Delivery::Committed {
                    from: next_offset,
                    next_offset: read.next_offset,
                    bytes: read.bytes,
                }));
            }
        }
        let caught_up = epoch_start_offset.is_none_or(|start| next_offset > start);
        if state.leader != Some(leader) && caught_up {
            state.leader = Some(leader);
            return Ok(Some(Delivery::LeaderChanged(leader)));
        }
        Ok(None)
    }

    fn step(&mut self, event: Event, now: Now) -> Result<(), RaftDriverError> {
        if self.is_stalled() {
            tracing::debug!(?event, "lost: the metadata log can't be written now");
            return Ok(());
        }
        let actions = self.core.step(event, now);
        self.run(actions.into(), now)
    }

    fn run(&mut self, mut actions: VecDeque<Action>, now: Now) -> Result<(), RaftDriverError> {
        while let Some(action) = actions.pop_front() {
            match self.write(&action, now) {
                Ok(()) => {}
                Err(error) if error.passes() => {
                    actions.push_front(action);
                    return self.stall(actions, &error, now);
                }
                Err(error) => return Err(error.into()),
            }
            if let Some(event) = self.carry_out(action)? {
                actions.extend(self.core.step(event, now));
            }
        }
        match &self.failed {
            Some(reason) => Err(RaftDriverError::Halted(reason.clone())),
            None => Ok(()),
        }
    }

    fn stall(
        &mut self,
        mut actions: VecDeque<Action>,
        error: &LogError,
        now: Now,
    ) -> Result<(), RaftDriverError> {
        tracing::error!("{error}; the metadata stands still until it can be");
        actions.retain(|action| match action {
            // What it says may not be so before that is written, and what is asked next waits behind it.
            Action::Reply { id, .. } => {
                self.outgoing.push(Outgoing::NoReply { id: *id });
                false
            }
            _ => true,
        });
        for action in self.resign_for_another(now) {
            match action {
                // Nothing of this says what is in the log, so that it need not wait for what has to be written first.
                Action::Send { .. } | Action::Reply { .. } | Action::LeaderChanged { .. } => {
                    self.carry_out(action)?;
                }
                action => actions.push_back(action),
            }
        }
        let retry_at = now.mono.plus_ms(STALLED_RETRY_MS);
        self.stalled = Some(Stalled { actions, retry_at, overheard: None });
        Ok(())
    }

    /// A leader that has no room leaves the lead to others, if there are any.
    fn resign_for_another(&mut self, now: Now) -> Vec<Action> {
        if self.core.role() != RoleName::Leader || self.core.voters().latest().ids().len() < 2 {
            return Vec::new();
        }
        let mut actions = self.core.step(Event::Resign { epoch: self.core.epoch() }, now);
        // The others are told.
        actions.extend(self.core.tick(now));
        actions
    }

    /// Goes on with what waits for room, if it is time to look.
    fn retry(&mut self, now: Now) -> Result<(), RaftDriverError> {
        let Some(mut stalled) = self.stalled.take() else { return Ok(()) };
        if stalled.retry_at > now.mono {
            self.stalled = Some(stalled);
            return Ok(());
        }
        let has_room = match stalled.actions.front() {
            Some(first) => self.write(first, now),
            None => self.log.flush(now).map(drop),
        };
        match has_room {
            Ok(()) => {}
            Err(error) if error.passes() => {
                stalled.retry_at = now.mono.plus_ms(STALLED_RETRY_MS);
                self.stalled = Some(stalled);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        tracing::info!("the metadata log can be written again");
        if let Some(first) = stalled.actions.pop_front()
            && let Some(event) = self.carry_out(first)?
        {
            stalled.actions.extend(self.core.step(event, now));
        }
        self.run(stalled.actions, now)
    }

    /// What an action writes, where a full disk is to be waited for. Done again it does no harm.
    fn write(&mut self, action: &Action, now: Now) -> Result<(), LogError> {
        match action {
            Action::WriteQuorumState { election, kraft_version } => {
                self.store.write(election, *kraft_version)
            }
            Action::AppendAsLeader(batches) => self.log.append_as_leader(batches, now),
            Action::AppendAsFollower(batches) => self.log.append_as_follower(batches, now),
            Action::WriteSnapshot { id, position, bytes } => self.log.write_snapshot(*id, *position, bytes),
            Action::TruncateLog { offset } => self.log.truncate_to(*offset, now),
            Action::InstallSnapshot { id } => {
                self.installed = self.log.install_snapshot(*id, now)?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn carry_out(&mut self, action: Action) -> Result<Option<Event>, RaftDriverError> {
        match action {
            // Written already.
            Action::WriteQuorumState { .. }
            | Action::AppendAsLeader(_)
            | Action::AppendAsFollower(_)
            | Action::TruncateLog { .. }
            | Action::WriteSnapshot { .. } => {}
            Action::FlushLog => self.flush_due = true,
            Action::InstallSnapshot { id } => {
                return Ok(Some(match self.installed.take() {
                    Some((size, control)) => Event::SnapshotInstalled { id, size, control },
                    None => Event::SnapshotRefused,
                }));
            }
            Action::Send { correlation_id, to, request } => {
                self.outgoing.push(Outgoing::Request { correlation_id, to, request });
            }
            Action::Reply { id, response } => {
                let response = self.fill_in(response);
                self.outgoing.push(Outgoing::Reply { id, response });
            }
            Action::HighWatermark(offset) => self.log.set_high_watermark(offset),
            Action::LeaderChanged { leader, epoch_start_offset } => {
                self.leader = (leader, epoch_start_offset);
            }
            Action::ShutdownComplete { timed_out } => self.shutdown = Some(timed_out),
            Action::Halt { reason } => self.failed = Some(reason),
        }
        Ok(None)
    }

    /// Reads the records that a response names. A failed read is the reader's error, not this replica's end.
    fn fill_in(&self, response: Response) -> Response {
        match response {
            Response::Fetch(mut fetch) => {
                if let FetchedRecords::FromLog { offset, max_bytes } = fetch.records {
                    let end = self.core.log().end_offset();
                    fetch.records = match self.log.read(offset, end, max_bytes.max(1) as usize) {
                        Ok(read) => FetchedRecords::Bytes(read.bytes),
                        Err(error) => {
                            tracing::error!(%error, offset = offset.value(), "can't read the metadata log");
                            fetch.error = Some(RaftError::UnknownServerError);
                            FetchedRecords::None
                        }
                    };
                }
                Response::Fetch(fetch)
            }
            Response::FetchSnapshot(mut fetch) => {
                if let SnapshotBytes::FromFile { max_bytes } = fetch.bytes {
                    let max_bytes = max_bytes.max(1) as usize;
                    let read = self.log.read_snapshot(fetch.snapshot_id, fetch.position, max_bytes);
                    fetch.bytes = match read {
                        Ok(bytes) => SnapshotBytes::Bytes(bytes),
                        Err(error) => {
                            tracing::error!(%error, snapshot = %fetch.snapshot_id, "can't read a snapshot");
                            fetch.error = Some(RaftError::SnapshotNotFound);
                            SnapshotBytes::None
                        }
                    };
                }
                Response::FetchSnapshot(fetch)
            }
            response => response,
        }
    }

    fn flush(&mut self, now: Now) -> Result<(), RaftDriverError> {
        while self.flush_due && !self.is_stalled() {
            let end_offset = match self.log.flush(now) {
                Ok(end_offset) => end_offset,
                Err(error) if error.passes() => {
                    return self.stall(VecDeque::new(), &error, now);
                }
                Err(error) => return Err(error.into()),
            };
            self.flush_due = false;
            self.step(Event::Flushed { end_offset }, now)?;
        }
        Ok(())
    }

    /// Deletes old segments and snapshots; [`RaftDriver::poll`] does it now and then. On a full disk it may have to be done
    /// again.
    pub fn clean(&mut self, now: Now) -> Result<(), RaftDriverError> {
        match self.log.clean(now) {
            Ok(Some((start_offset, snapshots))) => {
                self.step(Event::LogCleaned { start_offset, snapshots }, now)
            }
            Ok(None) => Ok(()),
            Err(error) if error.passes() => {
                tracing::warn!("old metadata is not removed: {error}");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}
