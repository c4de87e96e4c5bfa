use std::collections::BTreeSet;

use ottla_metadata::Feature;
use ottla_metadata::image::directory;
use ottla_types::{BrokerEpoch, NodeId, Now, Offset, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::broker_registration_request::BrokerRegistrationRequest;
use ottla_wire::messages::broker_registration_response::BrokerRegistrationResponse;
use ottla_wire::messages::unregister_broker_request::UnregisterBrokerRequest;
use ottla_wire::messages::unregister_broker_response::UnregisterBrokerResponse;
use ottla_wire::records::register_broker_record::{EndPoint, Feature as FeatureRange};
use ottla_wire::records::{MetadataRecord, RegisterBrokerRecord, UnregisterBrokerRecord};

use super::heartbeat::BrokerState;
use crate::change_log::{BROKER_RESTARTED, UNCLEAN_SHUTDOWN};
use crate::controller::Controller;
use crate::error::ApiError;
use crate::outcome::{Outcome, Records};
use crate::partition_change::BrokerEvent;

impl Controller {
    /// Registers a broker, fenced, under an epoch that no broker had before. A new incarnation is in no ISR until it has
    /// caught up; one that did not stop cleanly may have lost what it had acknowledged, and is not eligible to lead
    /// either (KIP-966).
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
        let mut record = registration_record(request);
        if !self.image.features.metadata_version().is_directory_assignment_supported() {
            record.log_dirs.clear();
        }
        let mut records = self.records();
        let was = existing.as_deref().map(BrokerState::of);
        let previous_epoch = existing.as_ref().map_or(-1, |broker| broker.record.broker_epoch);
        let same = existing.filter(|broker| broker.record.incarnation_id == request.incarnation_id);
        if let Some(same) = &same {
            record.broker_epoch = same.record.broker_epoch;
            record.fenced = same.record.fenced;
            record.in_controlled_shutdown = same.record.in_controlled_shutdown;
            records.extend(self.changes_for(BrokerEvent::Removed(id), "directory not registered", |p| {
                let directory = p.directory(id);
                directory
                    .is_some_and(|id| same.record.log_dirs.contains(&id) && !record.log_dirs.contains(&id))
            }));
        } else {
            self.sessions.forget(id);
            record.broker_epoch = self.image.provenance.last_offset.next().value();
            let stopped_cleanly = previous_epoch >= 0 && request.previous_broker_epoch == previous_epoch;
            self.clean_up_after(id, stopped_cleanly, &mut records);
        }
        let epoch = BrokerEpoch(record.broker_epoch);
        let becomes = same.as_deref().map_or(BrokerState::Fenced, BrokerState::of);
        tracing::info!(broker = %id, %epoch, previous_epoch, incarnation = %request.incarnation_id,
            is_same_incarnation = same.is_some(), from = was.map(tracing::field::debug), to = ?becomes,
            partitions_changed = records.len(), "registering a broker");
        self.sessions.touch(id, Offset::UNKNOWN, now.mono);
        records.push(MetadataRecord::RegisterBroker(record));
        Ok(records.with(epoch))
    }

    fn clean_up_after(&self, id: NodeId, stopped_cleanly: bool, records: &mut Records) {
        if self.is_elr_enabled() && !stopped_cleanly {
            let event = BrokerEvent::UncleanShutdown(id);
            records.extend(self.changes_for(event, UNCLEAN_SHUTDOWN, |partition| {
                partition.isr.contains(&id) || partition.elr.contains(&id)
            }));
        } else {
            let event = BrokerEvent::Removed(id);
            records
                .extend(self.changes_for(event, BROKER_RESTARTED, |partition| partition.isr.contains(&id)));
        }
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
        // What registered with this node's id before this process did has ended. Another process may have a copy of its settings.
        let is_own =
            id == self.settings.node_id && self.settings.own_incarnation == Some(request.incarnation_id);
        let may_live = other.is_some_and(|other| !other.is_fenced()) && self.sessions.is_alive(id, now.mono);
        if may_live && !is_own {
            let message = "Another broker is registered with that broker id. If the broker was recently restarted this \
                           should self-resolve once the heartbeat manager expires the broker's session.";
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
        let dirs: BTreeSet<Uuid> = request.log_dirs.iter().copied().collect();
        if dirs.is_empty() {
            return invalid("No directories specified in request".into());
        }
        if dirs.iter().any(|dir| directory::is_reserved(*dir)) {
            return invalid("Reserved directory ID in request".into());
        }
        if dirs.len() < request.log_dirs.len() {
            return invalid("Duplicate directory ID in request".into());
        }
        let others =
            self.image.brokers.values().filter(|broker| broker.record.broker_id != request.broker_id);
        for other in others {
            if let Some(shared) = other.record.log_dirs.iter().find(|dir| dirs.contains(*dir)) {
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
        let range_of = |name: &str| {
            let range = request.features.iter().find(|feature| feature.name == name);
            range.map(|feature| (feature.min_supported_version, feature.max_supported_version))
        };
        if range_of(Feature::MetadataVersion.name()).is_none() {
            let message = "Request features do not contain 'metadata.version'";
            return Err(ApiError::new(ErrorCode::InvalidRegistration, message));
        }
        for (name, level) in self.image.features.finalized() {
            let (min, max) = range_of(name).unwrap_or((0, 0));
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

    /// Forgets a broker, whether or not it is fenced.
    pub fn unregister_broker(&self, request: &UnregisterBrokerRequest) -> Outcome<UnregisterBrokerResponse> {
        let id = NodeId(request.broker_id);
        let Some(broker) = self.image.brokers.get(&id) else {
            return Outcome::answer(UnregisterBrokerResponse {
                error_code: ErrorCode::BrokerIdNotRegistered.code(),
                error_message: Some(format!("Broker ID {id} is not currently registered")),
                ..UnregisterBrokerResponse::default()
            });
        };
        let mut records = self.records();
        let event = BrokerEvent::Removed(id);
        records.extend(self.changes_for(event, "broker unregistered", |partition| {
            partition.isr.contains(&id) || partition.elr.contains(&id)
        }));
        tracing::info!(broker = %id, epoch = %broker.epoch(), from = ?BrokerState::of(broker), partitions_changed = records.len(),
            "unregistering a broker");
        records.push(MetadataRecord::UnregisterBroker(UnregisterBrokerRecord {
            broker_id: id.0,
            broker_epoch: broker.record.broker_epoch,
            ..UnregisterBrokerRecord::default()
        }));
        records.with(UnregisterBrokerResponse::default())
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
    let features = request.features.iter().map(|feature| FeatureRange {
        name: feature.name.clone(),
        min_supported_version: feature.min_supported_version,
        max_supported_version: feature.max_supported_version,
        ..FeatureRange::default()
    });
    RegisterBrokerRecord {
        broker_id: request.broker_id,
        incarnation_id: request.incarnation_id,
        end_points: end_points.collect(),
        features: features.collect(),
        rack: request.rack.clone(),
        fenced: true,
        log_dirs: request.log_dirs.clone(),
        ..RegisterBrokerRecord::default()
    }
}
