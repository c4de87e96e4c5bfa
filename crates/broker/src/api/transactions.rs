//! What the handlers of transactions have in common.

use ottla_coordinator::runtime::Producer;
use ottla_types::{ProducerEpoch, ProducerId};
use ottla_wire::ErrorCode;

/// Since this version clients know PRODUCER_FENCED in what they ask of a transaction's coordinator.
const PRODUCER_FENCED_SINCE: i16 = 2;

pub(super) fn producer(id: i64, epoch: i16) -> Producer {
    Producer { id: ProducerId(id), epoch: ProducerEpoch(epoch) }
}

/// What a client of a version is told of a fenced producer.
pub(super) fn of_version(code: ErrorCode, version: i16) -> ErrorCode {
    match code {
        ErrorCode::ProducerFenced if version < PRODUCER_FENCED_SINCE => ErrorCode::InvalidProducerEpoch,
        code => code,
    }
}
