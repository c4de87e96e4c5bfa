//! InitProducerId: a new instance of a producer takes over its transactional id, and all older instances are fenced
//! (KIP-98, KIP-360).

use std::sync::Arc;

use ottla_types::{ProducerEpoch, ProducerId};
use ottla_wire::ErrorCode;
use tracing::info;

use super::metadata::{TransactionMetadata, bumped, is_epoch_exhausted};
use super::shard::{Asker, TransactionShard, TransactionTurn};
use crate::runtime::Producer;

/// What a producer asks for.
#[derive(Clone, Debug)]
pub(super) struct Initialization {
    pub transactional_id: Arc<str>,
    pub timeout_ms: i32,
    /// Who the producer takes itself for, if it goes on after an error.
    pub expected: Option<Producer>,
}

/// An operation can't go on without an id that no producer has had; it is repeated with one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NeedsProducerId;

/// What a request does to the id.
enum Step {
    Refuse(ErrorCode),
    /// The producer's last request again: it is who it is.
    Retry,
    /// The transaction that is open has to be aborted first.
    Fence,
    /// The next epoch, or a new id with its first.
    Become(Producer),
}

impl TransactionShard {
    pub(super) fn initialize(
        &mut self,
        turn: &mut TransactionTurn<'_>,
        request: &Initialization,
        fresh_id: Option<ProducerId>,
        asker: Asker<Producer>,
    ) -> Result<(), (NeedsProducerId, Asker<Producer>)> {
        let id = &request.transactional_id;
        let now = turn.now.wall;
        let known = turn.state.get(id).cloned();
        let metadata = match (known, fresh_id) {
            (Some(known), _) => known,
            (None, Some(fresh)) => Arc::new(TransactionMetadata::new(fresh, request.timeout_ms, now)),
            (None, None) => return Err((NeedsProducerId, asker)),
        };
        match self.next_step(&metadata, request, fresh_id) {
            Err(needs_id) => return Err((needs_id, asker)),
            Ok(Step::Refuse(code)) => turn.reply(asker, Err(code)),
            Ok(Step::Retry) => {
                let renewed = metadata.initialized(metadata.producer, request.timeout_ms, now);
                self.write(turn, id, Some(renewed));
                turn.reply(asker, Ok(metadata.producer));
            }
            Ok(Step::Fence) => {
                if let Err(needs_id) = self.fence(turn, id, &metadata, fresh_id) {
                    return Err((needs_id, asker));
                }
                // The producer asks again, and gets an epoch that is larger than the fence's.
                turn.reply(asker, Err(ErrorCode::ConcurrentTransactions));
            }
            Ok(Step::Become(producer)) => {
                info!(transactional_id = %id, producer_id = producer.id.0, epoch = producer.epoch.0,
                    "a producer is initialized");
                let previous = request.expected.map_or(ProducerEpoch::NONE, |_| metadata.producer.epoch);
                self.note_previous_epoch(id, producer, previous);
                let initialized = metadata.initialized(producer, request.timeout_ms, now);
                self.write(turn, id, Some(initialized));
                turn.reply(asker, Ok(producer));
            }
        }
        Ok(())
    }

    fn next_step(
        &self,
        metadata: &TransactionMetadata,
        request: &Initialization,
        fresh_id: Option<ProducerId>,
    ) -> Result<Step, NeedsProducerId> {
        let current = metadata.producer;
        if let Some(expected) = request.expected
            && !may_be(metadata, expected)
        {
            return Ok(Step::Refuse(ErrorCode::ProducerFenced));
        }
        if metadata.status.prepared().is_some() {
            return Ok(Step::Refuse(ErrorCode::ConcurrentTransactions));
        }
        if !metadata.status.is_idle() {
            return Ok(Step::Fence);
        }
        let expected_epoch = request.expected.map(|expected| expected.epoch);
        if metadata.is_epoch_exhausted() && expected_epoch.is_none_or(|epoch| epoch == current.epoch) {
            let id = fresh_id.ok_or(NeedsProducerId)?;
            return Ok(Step::Become(Producer { id, epoch: ProducerEpoch(0) }));
        }
        let next = Producer { id: current.id, epoch: bumped(current.epoch) };
        Ok(match expected_epoch {
            _ if current.epoch == ProducerEpoch::NONE => Step::Become(next),
            None => Step::Become(next),
            Some(epoch) if epoch == current.epoch => Step::Become(next),
            // The answer to the producer's last request was lost. No other instance has come since: it would have left no
            // previous epoch.
            Some(epoch) if epoch == self.previous_epoch(&request.transactional_id, current) => Step::Retry,
            Some(_) => Step::Refuse(ErrorCode::ProducerFenced),
        })
    }
}

/// Whether the id can belong to a producer that takes itself for `expected`: it was just made, or has that producer's
/// id, or has got its present one because that producer's epochs were used up.
fn may_be(metadata: &TransactionMetadata, expected: Producer) -> bool {
    metadata.producer.epoch == ProducerEpoch::NONE
        || expected.id == metadata.producer.id
        || (expected.id == metadata.previous_producer_id && is_epoch_exhausted(expected.epoch))
}
