//! Brokers: registration, heartbeats, fencing, controlled shutdown (KIP-631).

mod gone;
mod heartbeat;
mod registration;
mod sessions;

pub(crate) use sessions::BrokerSessions;

use ottla_metadata::image::BrokerRegistration;
use ottla_types::{BrokerEpoch, NodeId};
use ottla_wire::ErrorCode;

use crate::controller::Controller;
use crate::error::ApiError;

impl Controller {
    /// The broker, if that is its epoch.
    pub(crate) fn registered(&self, id: NodeId, epoch: BrokerEpoch) -> Result<&BrokerRegistration, ApiError> {
        let stale = |message: String| ApiError::new(ErrorCode::StaleBrokerEpoch, message);
        let Some(broker) = self.image.brokers.get(&id) else {
            return Err(stale(format!("No broker registration found for broker id {id}")));
        };
        if broker.epoch() != epoch {
            return Err(stale(format!(
                "Expected broker epoch {}, but got broker epoch {epoch}",
                broker.epoch()
            )));
        }
        Ok(broker)
    }

    pub(crate) fn is_active(&self, id: NodeId) -> bool {
        self.image.brokers.get(&id).is_some_and(|broker| broker.is_active())
    }
}
