//! Brokers: registration, heartbeats, fencing, controlled shutdown (KIP-631).

use std::collections::BTreeMap;

use ottla_metadata::Feature;
use ottla_metadata::image::{BrokerRegistration, directory};
use ottla_types::{BrokerEpoch, MonoMs, NodeId, Now, Offset};
use ottla_wire::ErrorCode;
use ottla_wire::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use ottla_wire::messages::broker_heartbeat_response::BrokerHeartbeatResponse;
use ottla_wire::messages::broker_registration_request::BrokerRegistrationRequest;
use ottla_wire::messages::broker_registration_response::BrokerRegistrationResponse;
use ottla_wire::messages::unregister_broker_request::UnregisterBrokerRequest;
use ottla_wire::messages::unregister_broker_response::UnregisterBrokerResponse;
use ottla_wire::records::register_broker_record::{EndPoint, Feature as FeatureRange};
use ottla_wire::records::{
    BrokerRegistrationChangeRecord, MetadataRecord, RegisterBrokerRecord, UnregisterBrokerRecord,
};

use crate::controller::Controller;
use crate::error::ApiError;
use crate::outcome::{Outcome, Records};
use crate::partition_change::changes_for_broker;

/// When each broker was last heard of: soft state, which a new controller starts afresh.
#[derive(Debug)]
pub(crate) struct BrokerSessions {
    timeout_ms: i64,
    brokers: BTreeMap<NodeId, Session>,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    last_heard: MonoMs,
    metadata_offset: Offset,
    /// The end of the log when its controlled shutdown began: it may go when all others have seen that.
    shutdown_offset: Option<Offset>,
}

impl BrokerSessions {
    pub fn new(timeout_ms: i64) -> BrokerSessions {
        BrokerSessions { timeout_ms, brokers: BTreeMap::new() }
    }

    pub fn touch(&mut self, broker: NodeId, metadata_offset: Offset, now: MonoMs) {
        let session = self.brokers.entry(broker).or_insert(Session {
            last_heard: now,
            metadata_offset,
            shutdown_offset: None,
        });
        session.last_heard = now;
        session.metadata_offset = session.metadata_offset.max(metadata_offset);
    }

    pub fn forget(&mut self, broker: NodeId) {
        self.brokers.remove(&broker);
    }

    pub fn is_alive(&self, broker: NodeId, now: MonoMs) -> bool {
        self.brokers.get(&broker).is_some_and(|session| session.last_heard.plus_ms(self.timeout_ms) > now)
    }

    /// When the first of `brokers` runs out of time.
    pub fn next_expiry(&self, brokers: impl Iterator<Item = NodeId>) -> MonoMs {
        brokers
            .filter_map(|broker| self.brokers.get(&broker))
            .map(|session| session.last_heard.plus_ms(self.timeout_ms))
            .min()
            .unwrap_or(MonoMs::NEVER)
    }

    fn shutdown_offset(&mut self, broker: NodeId, end: Offset) -> Offset {
        match self.brokers.get_mut(&broker) {
            Some(session) => *session.shutdown_offset.get_or_insert(end),
            None => end,
        }
    }

    /// The offset that all of `brokers` have reached.
    fn lowest_offset(&self, brokers: impl Iterator<Item = NodeId>) -> Offset {
        let offsets = brokers.filter_map(|broker| self.brokers.get(&broker)).map(|s| s.metadata_offset);
        offsets.min().unwrap_or(Offset::MAX)
    }
}

impl Controller {
    /// Registers a broker, fenced, under an epoch that is the offset of its record.
    pub fn register_broker(
        &mut self,
        request: &BrokerRegistrationRequest,
        now: Now,
    ) -> Outcome<BrokerRegistrationResponse> {
        match self.registration(request, now) {
            Ok(outcome) => outcome.map(|epoch| BrokerRegistrationResponse {
                broker_epoch: epoch.value(),
                ..BrokerRegistrationResponse::default()
            }),
            Err(error) => {
                tracing::info!(broker = request.broker_id, %error, "refusing to register a broker");
                let error_code = error.code.code();
                Outcome::answer(BrokerRegistrationResponse {
                    error_code,
                    ..BrokerRegistrationResponse::default()
                })
            }
        }
    }

    fn registration(
        &mut self,
        request: &BrokerRegistrationRequest,
        now: Now,
    ) -> Result<Outcome<BrokerEpoch>, ApiError> {
        let id = NodeId(request.broker_id);
        self.check_registration(request, now)?;
        let existing = self.image.brokers.get(&id).cloned();
        let is_same_incarnation =
            existing.as_ref().is_some_and(|broker| broker.record.incarnation_id == request.incarnation_id);
        let mut record = registration_record(request);
        match &existing {
            Some(existing) if is_same_incarnation => {
                record.broker_epoch = existing.record.broker_epoch;
                record.fenced = existing.record.fenced;
                record.in_controlled_shutdown = existing.record.in_controlled_shutdown;
            }
            _ => {
                self.sessions.forget(id);
                record.broker_epoch = self.image.provenance.last_offset.next().value();
            }
        }
        if !self.image.features.metadata_version().is_directory_assignment_supported() {
            record.log_dirs.clear();
        }
        let epoch = BrokerEpoch(record.broker_epoch);
        tracing::info!(broker = %id, %epoch, incarnation = %request.incarnation_id, is_same_incarnation,
            previous_epoch = existing.map_or(-1, |broker| broker.record.broker_epoch), "registering a broker");
        self.sessions.touch(id, Offset::UNKNOWN, now.mono);
        let mut records = self.records();
        records.push(MetadataRecord::RegisterBroker(record));
        Ok(records.with(epoch))
    }

    fn check_registration(&self, request: &BrokerRegistrationRequest, now: Now) -> Result<(), ApiError> {
        let id = NodeId(request.broker_id);
        let expected = &self.settings.cluster_id;
        if *expected != request.cluster_id {
            let message =
                format!("Expected cluster ID {expected}, but got cluster ID {}", request.cluster_id);
            return Err(ApiError::new(ErrorCode::InconsistentClusterId, message));
        }
        let other = self.image.brokers.get(&id).filter(|b| b.record.incarnation_id != request.incarnation_id);
        if other.is_some() && self.sessions.is_alive(id, now.mono) {
            let message = "Another broker is registered with that broker id.";
            return Err(ApiError::new(ErrorCode::DuplicateBrokerRegistration, message));
        }
        if request.is_migrating_zk_broker {
            let message = "Controller does not support registering ZK brokers.";
            return Err(ApiError::new(ErrorCode::BrokerIdNotRegistered, message));
        }
        self.check_directories(request)?;
        self.check_features(request)
    }

    fn check_directories(&self, request: &BrokerRegistrationRequest) -> Result<(), ApiError> {
        if !self.image.features.metadata_version().is_directory_assignment_supported() {
            return Ok(());
        }
        let invalid = |message: String| Err(ApiError::new(ErrorCode::InvalidRegistration, message));
        let dirs = &request.log_dirs;
        if dirs.is_empty() {
            return invalid("No directories specified in request".into());
        }
        if dirs.iter().any(|dir| directory::is_reserved(*dir)) {
            return invalid("Reserved directory ID in request".into());
        }
        if (1..dirs.len()).any(|i| dirs.get(..i).is_some_and(|before| before.contains(&dirs[i]))) {
            return invalid("Duplicate directory ID in request".into());
        }
        let others =
            self.image.brokers.values().filter(|broker| broker.record.broker_id != request.broker_id);
        for other in others {
            if let Some(shared) = other.record.log_dirs.iter().find(|dir| dirs.contains(dir)) {
                return invalid(format!(
                    "Broker {} is already registered with directory {shared}",
                    other.id()
                ));
            }
        }
        Ok(())
    }

    /// The broker must support every finalized level.
    fn check_features(&self, request: &BrokerRegistrationRequest) -> Result<(), ApiError> {
        for (name, level) in self.image.features.finalized() {
            let range = request.features.iter().find(|feature| feature.name == name);
            let (min, max) = range.map_or((0, 0), |f| (f.min_supported_version, f.max_supported_version));
            if level != 0 && !(min..=max).contains(&level) {
                let message = format!(
                    "Unable to register because the broker does not support finalized version {level} of {name}. \
                     The broker wants a version between {min} and {max}, inclusive."
                );
                return Err(ApiError::new(ErrorCode::UnsupportedVersion, message));
            }
        }
        Ok(())
    }

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
        let registered_at = Offset(broker.record.broker_epoch);
        let is_caught_up = metadata_offset >= registered_at;
        let next = self.next_state(&broker, request, is_caught_up);
        let mut records = self.records();
        self.enter_state(&broker, next, &mut records);
        Ok(records.with(BrokerHeartbeatResponse {
            is_caught_up,
            is_fenced: matches!(next, BrokerState::Fenced | BrokerState::ShutdownNow),
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
            BrokerState::Fenced if !request.want_fence && is_caught_up => BrokerState::Active,
            BrokerState::Active if request.want_fence && request.want_shut_down => BrokerState::ShutdownNow,
            BrokerState::Active if request.want_fence => BrokerState::Fenced,
            BrokerState::Active if request.want_shut_down && !self.leads_anything(id) => {
                BrokerState::ShutdownNow
            }
            BrokerState::Active if request.want_shut_down => BrokerState::Leaving,
            BrokerState::Leaving => {
                let began = self.sessions.shutdown_offset(id, self.image.provenance.last_offset);
                let others = self.image.brokers.values().filter(|b| b.is_active()).map(|b| b.id());
                let have_seen = began <= self.sessions.lowest_offset(others);
                if have_seen && !self.leads_what_others_could(id) {
                    BrokerState::ShutdownNow
                } else {
                    BrokerState::Leaving
                }
            }
            current => current,
        }
    }

    fn enter_state(&self, broker: &BrokerRegistration, next: BrokerState, records: &mut Records) {
        let current = BrokerState::of(broker);
        let id = broker.id();
        let change = match next {
            _ if next == current => return,
            BrokerState::Fenced | BrokerState::ShutdownNow if current == BrokerState::Fenced => return,
            BrokerState::Fenced | BrokerState::ShutdownNow => (1, 0),
            BrokerState::Active => (-1, 0),
            BrokerState::Leaving => (0, 1),
        };
        tracing::info!(broker = %id, epoch = %broker.epoch(), from = ?current, to = ?next, "broker changes state");
        let (fenced, in_controlled_shutdown) = change;
        let change = MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
            broker_id: id.0,
            broker_epoch: broker.record.broker_epoch,
            fenced,
            in_controlled_shutdown,
            ..BrokerRegistrationChangeRecord::default()
        });
        let will_be_active = next == BrokerState::Active;
        let is_eligible = |node: NodeId| if node == id { will_be_active } else { self.is_active(node) };
        let partitions = changes_for_broker(&self.image, id, is_eligible);
        if will_be_active {
            records.push(change);
            records.extend(partitions);
        } else {
            records.extend(partitions);
            records.push(change);
        }
    }

    pub(crate) fn fence_stale_broker(&mut self, now: Now) -> Option<Outcome<()>> {
        let stale = self
            .image
            .brokers
            .values()
            .find(|broker| !broker.is_fenced() && !self.sessions.is_alive(broker.id(), now.mono))?
            .clone();
        tracing::info!(broker = %stale.id(), "fencing a broker that was not heard of for its session timeout");
        let mut records = self.records();
        self.enter_state(&stale, BrokerState::Fenced, &mut records);
        Some(records.with(()))
    }

    /// Forgets a broker, whether or not it is fenced (KIP-631).
    pub fn unregister_broker(&self, request: &UnregisterBrokerRequest) -> Outcome<UnregisterBrokerResponse> {
        let id = NodeId(request.broker_id);
        let Some(broker) = self.image.brokers.get(&id) else {
            let message = format!("Broker ID {id} is not currently registered");
            return Outcome::answer(UnregisterBrokerResponse {
                error_code: ErrorCode::BrokerIdNotRegistered.code(),
                error_message: Some(message),
                ..UnregisterBrokerResponse::default()
            });
        };
        let mut records = self.records();
        records.extend(changes_for_broker(&self.image, id, |node| node != id && self.is_active(node)));
        records.push(MetadataRecord::UnregisterBroker(UnregisterBrokerRecord {
            broker_id: id.0,
            broker_epoch: broker.record.broker_epoch,
            ..UnregisterBrokerRecord::default()
        }));
        tracing::info!(broker = %id, epoch = %broker.epoch(), "unregistering a broker");
        records.with(UnregisterBrokerResponse::default())
    }

    pub(crate) fn registered(&self, id: NodeId, epoch: BrokerEpoch) -> Result<&BrokerRegistration, ApiError> {
        let Some(broker) = self.image.brokers.get(&id) else {
            let message = format!("No broker registration found for broker id {id}");
            return Err(ApiError::new(ErrorCode::StaleBrokerEpoch, message));
        };
        if broker.epoch() != epoch {
            let message = format!("Expected broker epoch {}, but got broker epoch {epoch}", broker.epoch());
            return Err(ApiError::new(ErrorCode::StaleBrokerEpoch, message));
        }
        Ok(broker)
    }

    pub(crate) fn is_active(&self, id: NodeId) -> bool {
        self.image.brokers.get(&id).is_some_and(|broker| broker.is_active())
    }

    fn leads_anything(&self, id: NodeId) -> bool {
        self.image.topics.iter().any(|topic| topic.partitions.values().any(|p| p.leader == id))
    }

    /// Whether a partition is still led by `id` although another replica is in sync and could.
    fn leads_what_others_could(&self, id: NodeId) -> bool {
        self.image.topics.iter().any(|topic| {
            topic.partitions.values().any(|partition| {
                partition.leader == id
                    && partition.isr.iter().any(|other| *other != id && self.is_active(*other))
            })
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BrokerState {
    Fenced,
    Active,
    /// In controlled shutdown: its leaderships move away.
    Leaving,
    /// It may stop.
    ShutdownNow,
}

impl BrokerState {
    fn of(broker: &BrokerRegistration) -> BrokerState {
        if broker.is_fenced() {
            BrokerState::Fenced
        } else if broker.is_in_controlled_shutdown() {
            BrokerState::Leaving
        } else {
            BrokerState::Active
        }
    }
}

fn registration_record(request: &BrokerRegistrationRequest) -> RegisterBrokerRecord {
    let end_points = request.listeners.iter().map(|listener| EndPoint {
        name: listener.name.clone(),
        host: listener.host.clone(),
        port: listener.port,
        security_protocol: listener.security_protocol,
        ..EndPoint::default()
    });
    let mut features: Vec<FeatureRange> = request
        .features
        .iter()
        .map(|feature| FeatureRange {
            name: feature.name.clone(),
            min_supported_version: feature.min_supported_version,
            max_supported_version: feature.max_supported_version,
            ..FeatureRange::default()
        })
        .collect();
    // A broker that tells no range knows the first metadata version that there was.
    if !features.iter().any(|feature| feature.name == Feature::MetadataVersion.name()) {
        features.push(FeatureRange {
            name: Feature::MetadataVersion.name().to_owned(),
            min_supported_version: 1,
            max_supported_version: 1,
            ..FeatureRange::default()
        });
    }
    RegisterBrokerRecord {
        broker_id: request.broker_id,
        incarnation_id: request.incarnation_id,
        end_points: end_points.collect(),
        features,
        rack: request.rack.clone(),
        fenced: true,
        log_dirs: request.log_dirs.clone(),
        ..RegisterBrokerRecord::default()
    }
}
