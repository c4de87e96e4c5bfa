use std::collections::BTreeSet;

use ottla_metadata::image::BrokerRegistration;
use ottla_types::{BrokerEpoch, NodeId, Now, Offset, Uuid};
use ottla_wire::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use ottla_wire::messages::broker_heartbeat_response::BrokerHeartbeatResponse;
use ottla_wire::records::{BrokerRegistrationChangeRecord, MetadataRecord};

use crate::change_log::CONTROLLED_SHUTDOWN;
use crate::controller::Controller;
use crate::error::ApiError;
use crate::outcome::{Outcome, Records};
use crate::partition_change::BrokerEvent;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BrokerState {
    Fenced,
    Active,
    /// In controlled shutdown: its leaderships have moved away, and the others are learning of it.
    Leaving,
    /// It may stop.
    ShutdownNow,
}

impl BrokerState {
    pub(super) fn of(broker: &BrokerRegistration) -> BrokerState {
        if broker.is_fenced() {
            BrokerState::Fenced
        } else if broker.is_in_controlled_shutdown() {
            BrokerState::Leaving
        } else {
            BrokerState::Active
        }
    }
}

impl Controller {
    /// One heartbeat: keeps the broker's session, and moves it between fenced, active and leaving.
    pub fn broker_heartbeat(
        &mut self,
        request: &BrokerHeartbeatRequest,
        now: Now,
    ) -> Outcome<BrokerHeartbeatResponse> {
        self.heartbeat(request, now).unwrap_or_else(|error| {
            tracing::info!(broker = request.broker_id, %error, "refusing a heartbeat");
            let error_code = error.code.code();
            Outcome::answer(BrokerHeartbeatResponse { error_code, ..BrokerHeartbeatResponse::default() })
        })
    }

    fn heartbeat(
        &mut self,
        request: &BrokerHeartbeatRequest,
        now: Now,
    ) -> Result<Outcome<BrokerHeartbeatResponse>, ApiError> {
        let id = NodeId(request.broker_id);
        let broker = self.registered(id, BrokerEpoch(request.broker_epoch))?.clone();
        let metadata_offset = Offset(request.current_metadata_offset);
        self.sessions.touch(id, metadata_offset, now.mono);
        if self.sessions.is_back(id) {
            tracing::warn!(broker = %id, epoch = request.broker_epoch, "a broker that was taken for gone lives");
        }
        let registered_at = self.sessions.registered_at(id).unwrap_or(Offset(broker.record.broker_epoch));
        let is_caught_up = metadata_offset >= registered_at;
        let next = self.next_state(&broker, request, is_caught_up);
        let is_fenced = matches!(next, BrokerState::Fenced | BrokerState::ShutdownNow);
        if is_fenced {
            self.sessions.end_shutdown(id);
        }
        let mut records = self.records();
        self.enter_state(&broker, next, reason(&broker, request, next), &mut records);
        let was_leaving = BrokerState::of(&broker) == BrokerState::Leaving;
        if was_leaving && next == BrokerState::Leaving && self.index.leads_anything(id) {
            // A controller before this one did not come to the end of it.
            records.extend(self.hand_on(id));
        }
        self.take_directories_offline(&broker, &request.offline_log_dirs, &mut records);
        self.cordon_directories(&broker, request.cordoned_log_dirs.as_deref(), &mut records);
        Ok(records.with(BrokerHeartbeatResponse {
            is_caught_up,
            is_fenced,
            should_shut_down: next == BrokerState::ShutdownNow,
            ..BrokerHeartbeatResponse::default()
        }))
    }

    fn next_state(
        &mut self,
        broker: &BrokerRegistration,
        request: &BrokerHeartbeatRequest,
        is_caught_up: bool,
    ) -> BrokerState {
        let id = broker.id();
        match BrokerState::of(broker) {
            BrokerState::Fenced if request.want_shut_down => BrokerState::ShutdownNow,
            // First it is noted which directories are lost: nothing is to be led in them.
            BrokerState::Fenced if loses_directories(broker, &request.offline_log_dirs) => {
                BrokerState::Fenced
            }
            // One that was leaving has to register again.
            BrokerState::Fenced
                if !request.want_fence && is_caught_up && !broker.is_in_controlled_shutdown() =>
            {
                BrokerState::Active
            }
            BrokerState::Active if request.want_fence && request.want_shut_down => BrokerState::ShutdownNow,
            BrokerState::Active if request.want_fence => BrokerState::Fenced,
            BrokerState::Active if request.want_shut_down && self.index.leads_anything(id) => {
                BrokerState::Leaving
            }
            BrokerState::Active if request.want_shut_down => BrokerState::ShutdownNow,
            BrokerState::Leaving if self.may_leave(id) => BrokerState::ShutdownNow,
            current => current,
        }
    }

    fn may_leave(&mut self, id: NodeId) -> bool {
        if self.index.leads_anything(id) {
            return false;
        }
        let began = self.sessions.shutdown_offset(id, self.image.provenance.last_offset);
        let others =
            self.image.brokers.values().filter(|broker| broker.is_active()).map(|broker| broker.id());
        began <= self.sessions.lowest_offset(others)
    }

    fn enter_state(
        &self,
        broker: &BrokerRegistration,
        next: BrokerState,
        reason: &str,
        records: &mut Records,
    ) {
        let current = BrokerState::of(broker);
        let id = broker.id();
        let is_no_change =
            next == current || (current == BrokerState::Fenced && next == BrokerState::ShutdownNow);
        if is_no_change {
            return;
        }
        tracing::info!(broker = %id, epoch = %broker.epoch(), from = ?current, to = ?next, reason, "broker changes state");
        match next {
            BrokerState::Fenced | BrokerState::ShutdownNow => {
                records.extend(
                    self.changes_for(BrokerEvent::Removed(id), "broker fenced", |p| p.isr.contains(&id)),
                );
                records.push(fencing(broker, 1));
            }
            BrokerState::Active => {
                records.push(fencing(broker, -1));
                let without_leader =
                    self.changes_for(BrokerEvent::Added(id), "broker unfenced", |p| p.leader == NodeId::NONE);
                records.extend(without_leader);
            }
            BrokerState::Leaving => {
                records.push(registration_change(broker, |change| change.in_controlled_shutdown = 1));
                records.extend(self.hand_on(id));
            }
        }
    }

    /// Other leaders and ISRs for the partitions of a broker that is leaving.
    fn hand_on(&self, id: NodeId) -> Vec<MetadataRecord> {
        self.changes_for(BrokerEvent::Removed(id), CONTROLLED_SHUTDOWN, |p| p.isr.contains(&id))
    }

    /// Replicas in directories that have failed leave their ISRs (KIP-858).
    fn take_directories_offline(&self, broker: &BrokerRegistration, offline: &[Uuid], records: &mut Records) {
        if !self.image.features.metadata_version().is_directory_assignment_supported() {
            return;
        }
        let id = broker.id();
        let (lost, left): (Vec<Uuid>, Vec<Uuid>) =
            broker.record.log_dirs.iter().partition(|directory| offline.contains(directory));
        if lost.is_empty() {
            return;
        }
        tracing::warn!(broker = %id, ?lost, ?left, "directories are offline");
        records.extend(self.changes_for(BrokerEvent::DirectoryLost(id), "directory offline", |partition| {
            partition.directory(id).is_some_and(|directory| lost.contains(&directory))
        }));
        records.push(registration_change(broker, |change| change.log_dirs = left));
    }

    /// Cordoned directories get no new replicas (KIP-1066).
    fn cordon_directories(
        &self,
        broker: &BrokerRegistration,
        cordoned: Option<&[Uuid]>,
        records: &mut Records,
    ) {
        let Some(cordoned) = cordoned else { return };
        if !self.image.features.metadata_version().are_cordoned_log_dirs_supported() {
            return;
        }
        let as_set = |list: &[Uuid]| list.iter().copied().collect::<BTreeSet<Uuid>>();
        if broker.record.cordoned_log_dirs.as_deref().map(as_set) == Some(as_set(cordoned)) {
            return;
        }
        tracing::info!(broker = %broker.id(), from = ?broker.record.cordoned_log_dirs, to = ?cordoned, "directories are cordoned");
        records
            .push(registration_change(broker, |change| change.cordoned_log_dirs = Some(cordoned.to_vec())));
    }

    /// Fences one broker that was not heard of for a session's time.
    pub(crate) fn fence_stale_broker(&mut self, now: Now) -> Option<Outcome<()>> {
        let is_stale = |broker: &BrokerRegistration| {
            !broker.is_fenced() && !self.sessions.is_alive(broker.id(), now.mono)
        };
        let stale = self.image.brokers.values().find(|broker| is_stale(broker))?.clone();
        let mut records = self.records();
        self.fence(&stale, "not heard of for its session timeout", &mut records);
        Some(records.with(()))
    }

    pub(super) fn fence(&mut self, broker: &BrokerRegistration, reason: &str, records: &mut Records) {
        self.sessions.end_shutdown(broker.id());
        self.enter_state(broker, BrokerState::Fenced, reason, records);
    }
}

/// Why a heartbeat makes a broker enter its next state.
fn reason(broker: &BrokerRegistration, request: &BrokerHeartbeatRequest, next: BrokerState) -> &'static str {
    match (BrokerState::of(broker), next) {
        (BrokerState::Leaving, _) => "the others know that it leads nothing any more",
        (_, BrokerState::Active) => "it has caught up",
        (_, BrokerState::Fenced) => "it asks to be fenced",
        (_, BrokerState::Leaving) => "it asks to stop",
        (_, BrokerState::ShutdownNow) if request.want_fence => "it asks to be fenced and to stop",
        (_, BrokerState::ShutdownNow) => "it asks to stop, and leads nothing",
    }
}

fn loses_directories(broker: &BrokerRegistration, offline: &[Uuid]) -> bool {
    broker.record.log_dirs.iter().any(|directory| offline.contains(directory))
}

fn fencing(broker: &BrokerRegistration, fenced: i8) -> MetadataRecord {
    registration_change(broker, |change| change.fenced = fenced)
}

fn registration_change(
    broker: &BrokerRegistration,
    change: impl FnOnce(&mut BrokerRegistrationChangeRecord),
) -> MetadataRecord {
    let mut record = BrokerRegistrationChangeRecord {
        broker_id: broker.record.broker_id,
        broker_epoch: broker.record.broker_epoch,
        ..BrokerRegistrationChangeRecord::default()
    };
    change(&mut record);
    MetadataRecord::BrokerRegistrationChange(record)
}
