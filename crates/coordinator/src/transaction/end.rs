//! EndTxn: a transaction is decided. The decision is written first, and answered when it is committed; only then do the
//! markers follow, so that whatever happens later, the decision stands.

use std::sync::Arc;

use ottla_types::{ProducerEpoch, ProducerId, Timestamp};
use ottla_wire::ErrorCode;
use tracing::{debug, info};

use super::metadata::{EPOCH_BUMP_SINCE, NO_TIMEOUT, Status, TransactionMetadata, bumped, is_last_epoch};
use super::producers::NeedsProducerId;
use super::shard::{Asker, TransactionCompletion, TransactionShard, TransactionTimer, TransactionTurn};
use crate::runtime::Producer;

/// What a producer asks for.
#[derive(Clone, Debug)]
pub(super) struct EndRequest {
    pub transactional_id: Arc<str>,
    pub producer: Producer,
    pub committed: bool,
    /// The transaction version that the client acts by.
    pub client_version: i16,
}

/// What a request means for the transaction as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Refuse(ErrorCode),
    /// It was done before.
    Done,
    /// The transaction is decided now.
    Decide,
}

impl TransactionShard {
    /// Answers with whom the producer is afterwards; in versions without a bump, with nobody.
    pub(super) fn end_transaction(
        &mut self,
        turn: &mut TransactionTurn<'_>,
        request: &EndRequest,
        fresh_id: Option<ProducerId>,
        asker: Asker<Producer>,
    ) -> Result<(), (NeedsProducerId, Asker<Producer>)> {
        let Some(metadata) = turn.state.get(&request.transactional_id).cloned() else {
            turn.reply(asker, Err(ErrorCode::InvalidProducerIdMapping));
            return Ok(());
        };
        let bumps = request.client_version >= EPOCH_BUMP_SINCE;
        let verdict = if bumps { judge(&metadata, request) } else { judge_without_bump(&metadata, request) };
        match verdict {
            Verdict::Refuse(code) => turn.reply(asker, Err(code)),
            Verdict::Done if bumps => turn.reply(asker, Ok(metadata.producer)),
            Verdict::Done => turn.reply(asker, Ok(NOBODY)),
            Verdict::Decide => {
                let is_exhausted = bumps && metadata.is_epoch_exhausted();
                if is_exhausted && fresh_id.is_none() {
                    return Err((NeedsProducerId, asker));
                }
                let next_id = fresh_id.filter(|_| is_exhausted);
                let version = request.client_version;
                let prepared = metadata.prepared(request.committed, version, next_id, turn.now.wall);
                let after = prepared.producer_after_end();
                if bumps {
                    self.note_previous_epoch(&request.transactional_id, after, metadata.producer.epoch);
                }
                self.decide(turn, &request.transactional_id, prepared);
                turn.reply(asker, Ok(if bumps { after } else { NOBODY }));
            }
        }
        Ok(())
    }

    /// Aborts the transaction and bumps the epoch, so that its producer can do nothing more. Where that takes the last
    /// epoch, which no producer may get, the id that follows is needed now: the producer may ask for its place.
    pub(super) fn fence(
        &mut self,
        turn: &mut TransactionTurn<'_>,
        transactional_id: &Arc<str>,
        metadata: &TransactionMetadata,
        fresh_id: Option<ProducerId>,
    ) -> Result<(), NeedsProducerId> {
        let level = self.rules.level();
        let now = turn.now.wall;
        if level >= EPOCH_BUMP_SINCE {
            let is_exhausted = metadata.is_epoch_exhausted();
            if is_exhausted && fresh_id.is_none() {
                return Err(NeedsProducerId);
            }
            let fenced = metadata.prepared(false, level, fresh_id.filter(|_| is_exhausted), now);
            // As in Kafka, the producer itself may go on in the next epoch if no other instance takes it first.
            let after = fenced.producer_after_end();
            self.note_previous_epoch(transactional_id, after, metadata.producer.epoch);
            self.decide(turn, transactional_id, fenced);
            return Ok(());
        }
        self.forget_previous_epoch(transactional_id);
        let producer = Producer { epoch: bumped(metadata.producer.epoch), ..metadata.producer };
        let prepared = metadata.prepared(false, 0, None, now);
        self.decide(turn, transactional_id, TransactionMetadata { producer, ..prepared });
        Ok(())
    }

    fn decide(
        &mut self,
        turn: &mut TransactionTurn<'_>,
        transactional_id: &Arc<str>,
        prepared: TransactionMetadata,
    ) {
        let producer = prepared.producer;
        debug!(%transactional_id, status = prepared.status.name(), "a transaction is decided");
        self.write(turn, transactional_id, Some(prepared));
        let transactional_id = Arc::clone(transactional_id);
        turn.on_completion(TransactionCompletion::Prepared { transactional_id, producer });
    }

    /// Aborts transactions that are open for longer than their producers have asked for.
    pub(super) fn abort_timed_out(&mut self, turn: &mut TransactionTurn<'_>) {
        turn.schedule(TransactionTimer::AbortTimedOut, self.rules.config.abort_timed_out_interval_ms);
        // Each stands for itself, and there may be more than a batch has room for.
        turn.allow_split();
        let now = turn.now.wall;
        let late = turn.state.by_id.iter().filter(|(_, metadata)| is_late(metadata, now));
        let late: Vec<_> = late.map(|(id, metadata)| (Arc::clone(id), Arc::clone(metadata))).collect();
        for (transactional_id, metadata) in late {
            info!(%transactional_id, producer_id = metadata.producer.id.0, "a transaction has timed out");
            if let Err(NeedsProducerId) = self.fence(turn, &transactional_id, &metadata, None) {
                self.channel.exhausted.push(self.channel.partition, transactional_id);
            }
        }
    }

    /// The same for one whose producer needs a new id then.
    pub(super) fn abort_exhausted(
        &mut self,
        turn: &mut TransactionTurn<'_>,
        transactional_id: &Arc<str>,
        fresh_id: Option<ProducerId>,
        asker: Asker<()>,
    ) -> Result<(), (NeedsProducerId, Asker<()>)> {
        let metadata = turn.state.get(transactional_id).cloned();
        if let Some(metadata) = metadata.filter(|metadata| is_late(metadata, turn.now.wall))
            && let Err(needs_id) = self.fence(turn, transactional_id, &metadata, fresh_id)
        {
            return Err((needs_id, asker));
        }
        turn.reply(asker, Ok(()));
        Ok(())
    }

    /// Forgets ids that nobody has used for long.
    pub(super) fn remove_expired(&mut self, turn: &mut TransactionTurn<'_>) {
        let config = &self.rules.config;
        turn.schedule(TransactionTimer::RemoveExpired, config.remove_expired_interval_ms);
        turn.allow_split();
        let expired_before = turn.now.wall.0.saturating_sub(config.id_expiration_ms);
        let expired =
            turn.state.by_id.iter().filter(|(_, metadata)| {
                metadata.status.is_idle() && metadata.last_update.0 <= expired_before
            });
        let expired: Vec<_> = expired.map(|(id, _)| Arc::clone(id)).collect();
        for transactional_id in expired {
            info!(%transactional_id, "a transactional id has expired");
            self.forget_previous_epoch(&transactional_id);
            self.write(turn, &transactional_id, None);
        }
    }
}

/// Whether it is open for longer than its producer has asked for.
fn is_late(metadata: &TransactionMetadata, now: Timestamp) -> bool {
    metadata.status == Status::Ongoing
        && metadata.timeout_ms != NO_TIMEOUT
        && metadata.start.0.saturating_add(i64::from(metadata.timeout_ms)) < now.0
}

const NOBODY: Producer = Producer { id: ProducerId::NONE, epoch: ProducerEpoch::NONE };

/// Clients that do not bump the epoch come again with the same one.
fn judge_without_bump(metadata: &TransactionMetadata, request: &EndRequest) -> Verdict {
    if metadata.producer.id != request.producer.id {
        return Verdict::Refuse(ErrorCode::InvalidProducerIdMapping);
    }
    if metadata.producer.epoch != request.producer.epoch {
        return Verdict::Refuse(ErrorCode::ProducerFenced);
    }
    match (metadata.status, request.committed) {
        (Status::Ongoing, _) => Verdict::Decide,
        (Status::CompleteCommit, true) | (Status::CompleteAbort, false) => Verdict::Done,
        (Status::PrepareCommit, true) | (Status::PrepareAbort, false) => {
            Verdict::Refuse(ErrorCode::ConcurrentTransactions)
        }
        _ => Verdict::Refuse(ErrorCode::InvalidTxnState),
    }
}

/// With a bump at every end, a request in the epoch before the present one is a retry of the last, and one in the present
/// epoch is about a transaction that follows. That one may be aborted even if nothing was added to it: the client can't
/// know whether something was.
fn judge(metadata: &TransactionMetadata, request: &EndRequest) -> Verdict {
    let (current, asked) = (metadata.producer, request.producer);
    let is_current = asked.epoch == current.epoch;
    let is_before_bump = i32::from(asked.epoch.0) + 1 == i32::from(current.epoch.0);
    let is_before_new_id = asked.id == metadata.previous_producer_id
        && is_last_epoch(asked.epoch)
        && current.epoch == ProducerEpoch(0);
    if current.id != asked.id && !is_before_new_id {
        return Verdict::Refuse(ErrorCode::InvalidProducerIdMapping);
    }
    let is_retry = is_before_bump || is_before_new_id;
    let is_known = match metadata.status {
        Status::Empty | Status::Ongoing => is_current,
        Status::PrepareCommit | Status::PrepareAbort => is_before_bump,
        Status::CompleteCommit | Status::CompleteAbort => is_retry || is_current,
    };
    if !is_known {
        return Verdict::Refuse(ErrorCode::ProducerFenced);
    }
    match (metadata.status, request.committed) {
        (Status::Ongoing, _) => Verdict::Decide,
        (Status::Empty, false) => Verdict::Decide,
        (Status::CompleteCommit, true) | (Status::CompleteAbort, false) if is_retry => Verdict::Done,
        (Status::CompleteCommit | Status::CompleteAbort, false) if !is_retry => Verdict::Decide,
        (Status::PrepareCommit, true) | (Status::PrepareAbort, false) => {
            Verdict::Refuse(ErrorCode::ConcurrentTransactions)
        }
        _ => Verdict::Refuse(ErrorCode::InvalidTxnState),
    }
}
