//! The operations that wait in purgatories, and what completes each.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use ottla_log::OffsetMetadata;
use ottla_types::{LeaderEpoch, Now, Offset, Uuid};
use ottla_wire::ErrorCode;

use crate::fetch::{Asking, FetchParams, PartitionFetch, ReadLater, answer, read_all, read_in_memory};
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
    params: FetchParams,
    partitions: Vec<PartitionFetch>,
    waits_for: WaitsFor,
    asking: Asking,
}

enum WaitsFor {
    /// Those that could be read: all of them are looked at whenever one has changed.
    Partitions(Vec<WatchedPartition>),
    /// Those that have changed: what each of them has, and at first those that could be read.
    News { first: Vec<WatchedPartition>, available: HashMap<(Uuid, i32), u64>, total: u64 },
}

pub(crate) struct WatchedPartition {
    pub partition: Arc<Partition>,
    pub from: OffsetMetadata,
    pub max_bytes: u32,
    pub client_epoch: LeaderEpoch,
}

impl DelayedFetch {
    pub fn for_partitions(
        params: FetchParams,
        partitions: Vec<PartitionFetch>,
        watched: Vec<WatchedPartition>,
        asking: Asking,
    ) -> DelayedFetch {
        DelayedFetch { params, partitions, waits_for: WaitsFor::Partitions(watched), asking }
    }

    pub fn for_news(
        params: FetchParams,
        partitions: Vec<PartitionFetch>,
        first: Vec<WatchedPartition>,
        asking: Asking,
    ) -> DelayedFetch {
        let waits_for = WaitsFor::News { first, available: HashMap::new(), total: 0 };
        DelayedFetch { params, partitions, waits_for, asking }
    }
}

fn key_of(partition: &Partition) -> (Uuid, i32) {
    (partition.topic_id(), partition.topic_partition().partition)
}

impl DelayedOperation for DelayedFetch {
    fn is_complete(&mut self) -> bool {
        let DelayedFetch { params, waits_for, asking, .. } = self;
        match waits_for {
            WaitsFor::Partitions(watched) => {
                let mut available = 0;
                for watched in watched {
                    match watched.available_bytes(params) {
                        Available::Bytes(bytes) => available += bytes,
                        Available::Complete => return true,
                    }
                }
                available >= u64::from(params.min_bytes)
            }
            WaitsFor::News { first, available, total } => {
                let changed = asking.changed();
                let changed = changed.iter().map(|changed| WatchedPartition::changed(changed, params));
                for watched in first.drain(..).map(Some).chain(changed) {
                    let Some(watched) = watched else { return true };
                    let Available::Bytes(bytes) = watched.available_bytes(params) else { return true };
                    let before = available.insert(key_of(&watched.partition), bytes);
                    *total = *total - before.unwrap_or(0) + bytes;
                }
                *total >= u64::from(params.min_bytes)
                    || asking.news.as_ref().is_some_and(|news| news.is_closed())
            }
        }
    }
}

enum Available {
    Bytes(u64),
    /// What there is can't be counted, or the answer is an error: it is given now.
    Complete,
}

impl WatchedPartition {
    /// A partition that has changed, from where its follower stands; none if there is an error to tell.
    fn changed(asked: &PartitionFetch, params: &FetchParams) -> Option<WatchedPartition> {
        let partition = Arc::clone(asked.partition.as_ref().ok()?);
        let place = params.reader.follower.and_then(|follower| partition.place_of_follower(follower.node));
        let from = place.filter(|place| place.message_offset == asked.offset);
        Some(WatchedPartition {
            partition,
            from: from.unwrap_or(OffsetMetadata::offset_only(asked.offset)),
            max_bytes: asked.max_bytes,
            client_epoch: asked.client_epoch,
        })
    }

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
        let DelayedFetch { params, partitions, mut asking, .. } = self;
        let partitions = asking.reads_again(partitions);
        match read_in_memory(&params, &partitions) {
            Some(read) => answer(&params, read, asking, now),
            None => read_later(Box::new(move || {
                let read = read_all(&params, &partitions);
                answer(&params, read, asking, now);
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
