//! Registration of controllers (KIP-919): where they listen, and which feature levels they know.

use ottla_wire::ErrorCode;
use ottla_wire::messages::controller_registration_request::ControllerRegistrationRequest;
use ottla_wire::messages::controller_registration_response::ControllerRegistrationResponse;
use ottla_wire::records::register_controller_record::{EndPoint, Feature};
use ottla_wire::records::{MetadataRecord, RegisterControllerRecord};

use crate::controller::Controller;
use crate::outcome::Outcome;

impl Controller {
    pub fn register_controller(
        &self,
        request: &ControllerRegistrationRequest,
    ) -> Outcome<ControllerRegistrationResponse> {
        if !self.image.features.metadata_version().is_controller_registration_supported() {
            let message = "The current MetadataVersion is too old to support controller registrations.";
            return Outcome::answer(ControllerRegistrationResponse {
                error_code: ErrorCode::UnsupportedVersion.code(),
                error_message: Some(message.into()),
                ..ControllerRegistrationResponse::default()
            });
        }
        tracing::info!(controller = request.controller_id, incarnation = %request.incarnation_id,
            listeners = request.listeners.len(), "registering a controller");
        let end_points = request.listeners.iter().map(|listener| EndPoint {
            name: listener.name.clone(),
            host: listener.host.clone(),
            port: listener.port,
            security_protocol: listener.security_protocol,
            ..EndPoint::default()
        });
        let features = request.features.iter().map(|feature| Feature {
            name: feature.name.clone(),
            min_supported_version: feature.min_supported_version,
            max_supported_version: feature.max_supported_version,
            ..Feature::default()
        });
        let mut records = self.records();
        records.push(MetadataRecord::RegisterController(RegisterControllerRecord {
            controller_id: request.controller_id,
            incarnation_id: request.incarnation_id,
            zk_migration_ready: false,
            end_points: end_points.collect(),
            features: features.collect(),
            ..RegisterControllerRecord::default()
        }));
        records.with(ControllerRegistrationResponse::default())
    }
}
