//! Blocks of producer ids (KIP-730).

use ottla_types::{BrokerEpoch, NodeId};
use ottla_wire::ErrorCode;
use ottla_wire::messages::allocate_producer_ids_request::AllocateProducerIdsRequest;
use ottla_wire::messages::allocate_producer_ids_response::AllocateProducerIdsResponse;
use ottla_wire::records::{MetadataRecord, ProducerIdsRecord};

use crate::controller::Controller;
use crate::error::ApiError;
use crate::outcome::Outcome;

/// Ids in a block; a broker asks for the next when it has used one up.
const BLOCK_IDS: i32 = 1000;

impl Controller {
    /// Gives a registered broker a block of ids that no other has.
    pub fn allocate_producer_ids(
        &self,
        request: &AllocateProducerIdsRequest,
    ) -> Outcome<AllocateProducerIdsResponse> {
        self.next_block(request).unwrap_or_else(|error| {
            tracing::info!(broker = request.broker_id, %error, "refusing a block of producer ids");
            let error_code = error.code.code();
            Outcome::answer(AllocateProducerIdsResponse {
                error_code,
                ..AllocateProducerIdsResponse::default()
            })
        })
    }

    fn next_block(
        &self,
        request: &AllocateProducerIdsRequest,
    ) -> Result<Outcome<AllocateProducerIdsResponse>, ApiError> {
        self.registered(NodeId(request.broker_id), BrokerEpoch(request.broker_epoch))?;
        let producer_id_start = self.image.next_producer_id;
        let Some(next_producer_id) = producer_id_start.checked_add(i64::from(BLOCK_IDS)) else {
            let message = "Exhausted all producerIds as the next block's end producerId has exceeded the long type limit";
            return Err(ApiError::new(ErrorCode::UnknownServerError, message));
        };
        let mut records = self.records();
        records.push(MetadataRecord::ProducerIds(ProducerIdsRecord {
            broker_id: request.broker_id,
            broker_epoch: request.broker_epoch,
            next_producer_id,
            ..ProducerIdsRecord::default()
        }));
        Ok(records.with(AllocateProducerIdsResponse {
            producer_id_start,
            producer_id_len: BLOCK_IDS,
            ..AllocateProducerIdsResponse::default()
        }))
    }
}
