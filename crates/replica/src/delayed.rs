//! The operations that wait in purgatories, and what completes each.

use std::fmt;
use std::sync::Arc;

use ottla_log::OffsetMetadata;
use ottla_types::{LeaderEpoch, Now, Offset};
use ottla_wire::ErrorCode;

use crate::fetch::{
    FetchParams, FetchedPartition, PartitionFetch, ReadLater, answer, read_all, read_in_memory,
};
use crate::partition::Partition;
use crate::produce::ProduceResult;
use crate::purgatory::DelayedOperation;

/// A produce with acks=all, until every in-sync replica has its records.
pub(crate) struct DelayedProduce {
    pub waiting: Vec<WaitingAppend>,
    pub results: Vec<ProduceResult>,
    pub respond: Box<dyn FnOnce(Vec<ProduceResult>) + Send>,
}

/// An append that is not replicated yet.
pub(crate) struct WaitingAppend {
    pub partition: Arc<Partition>,
    /// The high watermark that it waits for.
    pub required_offset: Offset,
    /// See [`Appended::leader_epoch`](crate::partition::Appended::leader_epoch).
    pub leader_epoch: Option<LeaderEpoch>,
    /// Its place in the results.
    pub index: usize,
}

impl DelayedOperation for DelayedProduce {
    fn is_complete(&mut self) -> bool {
        let results = &mut self.results;
        self.waiting.retain(|waiting| {
            let WaitingAppend { partition, required_offset, leader_epoch, index } = waiting;
            match partition.is_replicated_up_to(*required_offset, *leader_epoch) {
                Ok(is_replicated) => !is_replicated,
                Err(code) => {
                    fail(results, *index, code);
                    false
                }
            }
        });
        self.waiting.is_empty()
    }
}

impl DelayedProduce {
    /// Answers; what is still waiting has timed out.
    pub fn complete(mut self) {
        for waiting in &self.waiting {
            fail(&mut self.results, waiting.index, ErrorCode::RequestTimedOut);
        }
        (self.respond)(self.results);
    }
}

fn fail(results: &mut [ProduceResult], index: usize, code: ErrorCode) {
    if let Some(result) = results.get_mut(index) {
        *result = ProduceResult::refused(code);
    }
}

/// A fetch until there is as much to read as it asks for.
pub(crate) struct DelayedFetch {
    pub params: FetchParams,
    pub partitions: Vec<PartitionFetch>,
    /// For each partition that could be read: where it was read from.
    pub watched: Vec<WatchedPartition>,
    pub respond: Box<dyn FnOnce(Vec<FetchedPartition>, Now) + Send>,
}

pub(crate) struct WatchedPartition {
    pub partition: Arc<Partition>,
    pub from: OffsetMetadata,
    pub max_bytes: u32,
    pub client_epoch: LeaderEpoch,
}

impl DelayedOperation for DelayedFetch {
    fn is_complete(&mut self) -> bool {
        let mut available = 0;
        for watched in &self.watched {
            match watched.available_bytes(&self.params) {
                Available::Bytes(bytes) => available += bytes,
                Available::Complete => return true,
            }
        }
        available >= u64::from(self.params.min_bytes)
    }
}

enum Available {
    Bytes(u64),
    /// What there is can't be counted, or the answer is an error: it is given now.
    Complete,
}

impl WatchedPartition {
    fn available_bytes(&self, params: &FetchParams) -> Available {
        if self.partition.check_reader(&params.reader, self.client_epoch).is_err() {
            return Available::Complete;
        }
        if params.reader.follower.is_some_and(|follower| self.partition.has_high_watermark_for(follower.node))
        {
            return Available::Complete;
        }
        let end = self.partition.end_for(params.reader.kind);
        if end.message_offset == self.from.message_offset {
            return Available::Bytes(0);
        }
        if end.message_offset < self.from.message_offset {
            // It is there, and not to be seen yet; or the log was truncated below where the reader stands.
            let is_there = self.from.message_offset <= self.partition.log().log_end_offset();
            return if is_there { Available::Bytes(0) } else { Available::Complete };
        }
        match end.bytes_since(&self.from) {
            _ if params
                .reader
                .follower
                .is_some_and(|follower| self.partition.holds_back_from(follower.node)) =>
            {
                Available::Bytes(0)
            }
            Some(bytes) => Available::Bytes(bytes.min(u64::from(self.max_bytes))),
            // A segment was rolled in between.
            None => Available::Complete,
        }
    }
}

impl DelayedFetch {
    /// Reads what there is now, and answers.
    pub fn complete(self, now: Now, read_later: &ReadLater) {
        match read_in_memory(&self.params, &self.partitions) {
            Some(read) => answer(&self.params, read, now, self.respond),
            None => read_later(Box::new(move || {
                let read = read_all(&self.params, &self.partitions);
                answer(&self.params, read, now, self.respond);
            })),
        }
    }
}

/// The low watermark of each partition that records were to be deleted from.
pub(crate) type DeleteResults = Vec<Result<Offset, ErrorCode>>;

/// A deletion of records, until the partitions' low watermarks have reached what was asked for.
pub(crate) struct DelayedDelete {
    pub waiting: Vec<WaitingDelete>,
    pub results: DeleteResults,
    pub respond: Box<dyn FnOnce(DeleteResults) + Send>,
}

pub(crate) struct WaitingDelete {
    pub partition: Arc<Partition>,
    pub required_low_watermark: Offset,
    pub index: usize,
}

impl DelayedOperation for DelayedDelete {
    fn is_complete(&mut self) -> bool {
        let results = &mut self.results;
        self.waiting.retain(|waiting| {
            let outcome = match waiting.partition.low_watermark() {
                Ok(low) if low < waiting.required_low_watermark => return true,
                outcome => outcome,
            };
            if let Some(result) = results.get_mut(waiting.index) {
                *result = outcome;
            }
            false
        });
        self.waiting.is_empty()
    }
}

impl DelayedDelete {
    /// Answers; what is still waiting has timed out.
    pub fn complete(mut self) {
        for waiting in &self.waiting {
            if let Some(result) = self.results.get_mut(waiting.index) {
                *result = Err(ErrorCode::RequestTimedOut);
            }
        }
        (self.respond)(self.results);
    }
}

macro_rules! opaque_debug {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}

opaque_debug!(DelayedProduce, DelayedFetch, DelayedDelete);
