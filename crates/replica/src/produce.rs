//! Appending what producers, and coordinators, send.

use std::sync::Arc;

use bytes::Bytes;
use ottla_log::producer_state::VerificationGuard;
use ottla_log::{AppendError, StorageError};
use ottla_record::AppendOrigin;
use ottla_types::{Now, Offset, Timestamp};
use ottla_wire::ErrorCode;

use crate::delayed::{DelayedProduce, WaitingAppend};
use crate::errors::{AppendRefusal, of_append};
use crate::manager::ReplicaManager;
use crate::partition::{Appended, LeaderAppendError, LeaderHint, Partition};

/// Records for one partition. `None` where it is not known here.
#[derive(Clone, Debug)]
pub struct ProduceEntry {
    pub partition: Result<Arc<Partition>, ErrorCode>,
    pub records: Bytes,
    /// What [`Partition::start_verification`] gave for a transactional batch.
    pub verification: VerificationGuard,
}

impl ProduceEntry {
    /// Records that are no part of a transaction.
    pub fn new(partition: Result<Arc<Partition>, ErrorCode>, records: Bytes) -> ProduceEntry {
        ProduceEntry { partition, records, verification: VerificationGuard::NotNeeded }
    }
}

/// What a producer is told of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceResult {
    pub refusal: Option<AppendRefusal>,
    pub base_offset: Offset,
    /// None unless the topic's timestamps are the broker's.
    pub log_append_time: Timestamp,
    pub log_start_offset: Offset,
    /// Where the leader is, if this node is not the one to ask.
    pub leader_hint: Option<LeaderHint>,
}

impl ProduceResult {
    pub fn refused(code: ErrorCode) -> ProduceResult {
        ProduceResult::of_refusal(AppendRefusal::of(code))
    }

    fn of_refusal(refusal: AppendRefusal) -> ProduceResult {
        ProduceResult {
            refusal: Some(refusal),
            base_offset: Offset::UNKNOWN,
            log_append_time: Timestamp::NONE,
            log_start_offset: Offset::UNKNOWN,
            leader_hint: None,
        }
    }

    fn appended(appended: &Appended) -> ProduceResult {
        ProduceResult {
            refusal: None,
            base_offset: appended.info.first_offset,
            log_append_time: appended.info.log_append_time,
            log_start_offset: appended.info.log_start_offset,
            leader_hint: None,
        }
    }
}

/// How a produce is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProduceParams {
    /// 0, 1, or -1 for all in-sync replicas.
    pub required_acks: i16,
    /// How long acks=all may wait.
    pub timeout_ms: i32,
    pub origin: AppendOrigin,
    /// Of the transactions that markers end (`transaction.version`); 0 for all else.
    pub transaction_version: i16,
}

impl ProduceParams {
    /// Of markers, which every in-sync replica must have.
    pub fn of_markers(transaction_version: i16, timeout_ms: i32) -> ProduceParams {
        let origin = AppendOrigin::Coordinator;
        ProduceParams { required_acks: -1, timeout_ms, origin, transaction_version }
    }
}

impl ReplicaManager {
    /// Appends to each partition and answers when as many replicas have the records as was asked for: often before
    /// this returns.
    pub fn produce(
        &self,
        params: ProduceParams,
        entries: Vec<ProduceEntry>,
        now: Now,
        respond: impl FnOnce(Vec<ProduceResult>) + Send + 'static,
    ) {
        let mut results = Vec::with_capacity(entries.len());
        let mut waiting = Vec::new();
        let mut changed = Vec::with_capacity(entries.len());
        for (index, entry) in entries.into_iter().enumerate() {
            let (result, appended) = match entry.partition {
                Ok(partition) => self.append_one(&params, entry.verification, partition, &entry.records, now),
                Err(code) => (ProduceResult::refused(code), None),
            };
            results.push(result);
            let Some((partition, appended)) = appended else { continue };
            if params.required_acks == -1 {
                waiting.push(WaitingAppend {
                    partition: Arc::clone(&partition),
                    required_offset: appended.info.last_offset.next(),
                    leader_epoch: appended.leader_epoch,
                    index,
                });
            }
            changed.push((partition, appended.has_advanced));
        }
        let produce = DelayedProduce { waiting, results, respond: Box::new(respond) };
        self.await_replicas(produce, params.timeout_ms, now);
        for (partition, has_advanced) in changed {
            self.after_append(&partition, has_advanced, now);
        }
    }

    /// Appends what a coordinator writes to its own partition and does not wait for other replicas: it follows the high
    /// watermark itself. `transaction_version` is that of a marker. Returns where the log ends after the batch.
    pub fn append(
        &self,
        partition: Arc<Partition>,
        records: &Bytes,
        verification: VerificationGuard,
        transaction_version: i16,
        now: Now,
    ) -> Result<Offset, ErrorCode> {
        let params = ProduceParams::of_markers(transaction_version, 0);
        let (result, appended) = self.append_one(&params, verification, partition, records, now);
        let Some((partition, appended)) = appended else {
            return Err(result.refusal.map_or(ErrorCode::UnknownServerError, |refusal| refusal.code));
        };
        self.after_append(&partition, appended.has_advanced, now);
        Ok(appended.info.last_offset.next())
    }

    fn await_replicas(&self, mut produce: DelayedProduce, timeout_ms: i32, now: Now) {
        use crate::purgatory::DelayedOperation;
        if produce.is_complete() {
            return produce.complete();
        }
        let deadline = now.mono.plus_ms(i64::from(timeout_ms));
        let partitions: Vec<_> =
            produce.waiting.iter().map(|waiting| Arc::clone(&waiting.partition)).collect();
        let watchers = partitions.iter().map(|partition| &partition.produces);
        match self.produce_purgatory.watch(produce, deadline, watchers) {
            Some(complete) => complete.complete(),
            None => self.will_be_due(deadline),
        }
    }

    fn append_one(
        &self,
        params: &ProduceParams,
        verification: VerificationGuard,
        partition: Arc<Partition>,
        records: &Bytes,
        now: Now,
    ) -> (ProduceResult, Option<(Arc<Partition>, Appended)>) {
        match partition.append(records, params, verification, now) {
            Ok(appended) => (ProduceResult::appended(&appended), Some((partition, appended))),
            Err(LeaderAppendError::Refused(code)) => {
                let leader_hint = (code == ErrorCode::NotLeaderOrFollower).then(|| partition.leader_hint());
                (ProduceResult { leader_hint, ..ProduceResult::refused(code) }, None)
            }
            Err(LeaderAppendError::Log(error)) => {
                let refusal = of_append(&error);
                if matches!(error, AppendError::Storage(StorageError::NoSpace { .. })) {
                    self.has_no_room(&partition, now);
                }
                tracing::debug!(partition = %partition.topic_partition(), %error, "an append was refused");
                let mut result = ProduceResult::of_refusal(refusal);
                // As in Kafka, only what a look at records and producers refuses tells where the log starts.
                if matches!(
                    error,
                    AppendError::Invalid(_) | AppendError::InvalidBatch(_) | AppendError::Producer(_)
                ) && !matches!(result.refusal, Some(AppendRefusal { code: ErrorCode::CorruptMessage, .. }))
                {
                    result.log_start_offset = partition.log().log_start_offset();
                }
                (result, None)
            }
        }
    }
}
