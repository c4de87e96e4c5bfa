//! Fetching for a share group: the records that a member is given now, or as soon as there are some.

use std::fmt;
use std::sync::Arc;

use ottla_log::disk::Reach;
use ottla_log::{FetchDataInfo, FileSlice, OffsetMetadata};
use ottla_types::{LeaderEpoch, Now, Offset};
use ottla_wire::ErrorCode;

use super::manager::{Entry, EntryState, Phase, SharePartitions};
use super::partition::SharePartition;
use super::persister::ShareGroupSettings;
use super::spans::{self, BatchSpan};
use super::types::{AcquireLimits, AcquiredRecords, LogBatch, MemberId, SharePartitionId};
use crate::fetch::PartitionFetch;
use crate::partition::{Partition, PartitionRead, ReadLimits, Reader, ReaderKind};
use crate::purgatory::DelayedOperation;

/// How a fetch is to be answered.
#[derive(Clone, Debug)]
pub struct ShareFetchParams {
    pub group_id: Arc<str>,
    pub member: MemberId,
    pub max_wait_ms: i32,
    /// The answer waits until there is this much, or until `max_wait_ms`.
    pub min_bytes: u32,
    /// Of the whole answer; the first batch may be larger.
    pub max_bytes: u32,
    /// Of the whole answer.
    pub limits: AcquireLimits,
}

/// What a member is given of one partition.
#[derive(Clone, Debug)]
pub struct ShareFetched {
    pub id: SharePartitionId,
    pub error: ErrorCode,
    /// The batches that hold what was acquired.
    pub records: Option<FileSlice>,
    pub acquired: Vec<AcquiredRecords>,
}

type Respond = Box<dyn FnOnce(Vec<ShareFetched>) + Send>;

impl SharePartitions {
    /// Answers at once if there is something to acquire, an error to tell, or no time to wait; otherwise when records
    /// arrive or come back, or the time is over. The partitions are served in this order until the answer is full.
    pub fn fetch(
        self: &Arc<Self>,
        params: ShareFetchParams,
        partitions: Vec<(SharePartitionId, Result<Arc<Partition>, ErrorCode>)>,
        now: Now,
        respond: impl FnOnce(Vec<ShareFetched>) + Send + 'static,
    ) {
        let wanted: Vec<Wanted> = partitions
            .into_iter()
            .map(|(id, partition)| {
                let entry = partition.and_then(|partition| self.entry(&id, &partition, now));
                Wanted { id, entry, seen: None }
            })
            .collect();
        let max_wait_ms = params.max_wait_ms;
        let shares = Arc::clone(self);
        let mut fetch = DelayedShareFetch { shares, params, wanted, respond: Box::new(respond) };
        if max_wait_ms <= 0 || fetch.wanted.is_empty() || fetch.is_complete() {
            return fetch.complete(now);
        }
        let deadline = now.mono.plus_ms(i64::from(max_wait_ms));
        let watched: Vec<Arc<Entry>> =
            fetch.wanted.iter().filter_map(|wanted| wanted.entry.as_ref().ok().cloned()).collect();
        let of_logs = watched.iter().map(|entry| &entry.partition.share_fetches);
        let lists = of_logs.chain(watched.iter().map(|entry| &entry.fetches));
        match self.replicas.share_fetches.watch(fetch, deadline, lists) {
            Some(complete) => complete.complete(now),
            None => self.replicas.will_be_due(deadline),
        }
    }
}

/// A fetch until there is something to acquire.
pub(crate) struct DelayedShareFetch {
    shares: Arc<SharePartitions>,
    params: ShareFetchParams,
    wanted: Vec<Wanted>,
    respond: Respond,
}

struct Wanted {
    id: SharePartitionId,
    entry: Result<Arc<Entry>, ErrorCode>,
    /// Where the log stood when there was not enough in it.
    seen: Option<OffsetMetadata>,
}

enum Available {
    Bytes(u64),
    /// There is an error to tell, or what there is can't be counted.
    Complete,
}

impl fmt::Debug for DelayedShareFetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DelayedShareFetch").field("params", &self.params).finish_non_exhaustive()
    }
}

impl DelayedOperation for DelayedShareFetch {
    fn is_complete(&mut self) -> bool {
        let settings = self.shares.groups.settings(&self.params.group_id);
        let mut bytes = 0;
        for wanted in &mut self.wanted {
            match wanted.available(&settings) {
                Available::Bytes(more) => bytes += more,
                Available::Complete => return true,
            }
        }
        bytes > 0 && bytes >= u64::from(self.params.min_bytes)
    }
}

impl Wanted {
    fn available(&mut self, settings: &ShareGroupSettings) -> Available {
        let Ok(entry) = &self.entry else { return Available::Complete };
        if entry.leadership_error().is_some() {
            return Available::Complete;
        }
        let mut held = entry.state.lock();
        let partition = match held.active() {
            Ok(partition) => partition,
            Err(ErrorCode::None) => return Available::Bytes(0),
            Err(_) => return Available::Complete,
        };
        partition.set_settings(settings.partition);
        if !partition.can_acquire() {
            return Available::Bytes(0);
        }
        let next = partition.next_fetch_offset();
        let end = entry.partition.end_for(reader(settings));
        if next < entry.partition.log().log_start_offset() {
            return Available::Complete;
        }
        if next >= end.message_offset {
            // The place of the first record to come.
            self.seen = (next == end.message_offset).then_some(end);
            return Available::Bytes(0);
        }
        let since =
            self.seen.filter(|seen| seen.message_offset == next).and_then(|seen| end.bytes_since(&seen));
        since.map_or(Available::Complete, Available::Bytes)
    }
}

fn reader(settings: &ShareGroupSettings) -> ReaderKind {
    if settings.read_committed { ReaderKind::CommittedConsumer } else { ReaderKind::Consumer }
}

impl DelayedShareFetch {
    /// Acquires what there is now, and answers. What is acquired is found in the headers of the log's batches, which may
    /// have to be read from the disk: the caller isn't kept waiting for it.
    pub(crate) fn complete(self, now: Now) {
        let read_later = Arc::clone(&self.shares.replicas.read_later);
        read_later(Box::new(move || self.acquire(now)));
    }

    fn acquire(self, now: Now) {
        let settings = self.shares.groups.settings(&self.params.group_id);
        let mut budget = Budget {
            bytes: self.params.max_bytes,
            // As Kafka does it: each partition may have its share, so that none starves.
            bytes_each: self.params.max_bytes / u32::try_from(self.wanted.len()).unwrap_or(u32::MAX).max(1),
            records: self.params.limits.max_records,
            has_found: false,
        };
        let fetched: Vec<ShareFetched> = self
            .wanted
            .iter()
            .map(|wanted| match &wanted.entry {
                Ok(entry) => self.shares.acquire(entry, &self.params, &settings, &mut budget, now),
                Err(error) => {
                    ShareFetched { id: wanted.id.clone(), error: *error, records: None, acquired: Vec::new() }
                }
            })
            .collect();
        // As Kafka does it, locks begin when all has been read: a disk that takes its time takes none of the member's.
        let now = (self.shares.present)(now);
        for (wanted, fetched) in self.wanted.iter().zip(&fetched) {
            if let Ok(entry) = &wanted.entry {
                self.shares.hand_over(entry, &self.params.member, &fetched.acquired, now);
            }
        }
        (self.respond)(fetched);
    }
}

/// What is left of what one answer may hold.
struct Budget {
    bytes: u32,
    bytes_each: u32,
    records: i32,
    has_found: bool,
}

impl SharePartitions {
    fn acquire(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        params: &ShareFetchParams,
        settings: &ShareGroupSettings,
        budget: &mut Budget,
        now: Now,
    ) -> ShareFetched {
        let nothing =
            |error| ShareFetched { id: entry.id.clone(), error, records: None, acquired: Vec::new() };
        if let Some(code) = entry.leadership_error() {
            self.drop_entry(entry, code, now);
            return nothing(code);
        }
        if budget.records <= 0 {
            return nothing(ErrorCode::None);
        }
        // Held while the disk is waited for, by threads that have nothing else to do: two of them would read the same, and one
        // of them for nothing. The state is not, for that others need.
        let reading = entry.reading.lock();
        let can_acquire = with_active(entry, |partition| {
            partition.set_settings(settings.partition);
            partition.can_acquire()
        });
        match can_acquire {
            Ok(true) => {}
            Ok(false) => return nothing(ErrorCode::None),
            Err(code) => return nothing(code),
        }
        let (from, data) = match read(entry, settings, budget) {
            Ok(Some(read)) => read,
            Ok(None) => return nothing(ErrorCode::None),
            Err(code) => return nothing(code),
        };
        let Some(slice) = data.records else { return nothing(ErrorCode::None) };
        let found = spans::of_slice(&slice).and_then(|found| {
            let aborted = spans::aborted(&slice, &found, data.aborted_transactions.as_deref())?;
            Ok((found, aborted))
        });
        let (found, aborted) = match found {
            Ok(found) => found,
            Err(code) => {
                tracing::error!(id = ?entry.id, ?code, "batches for a share group can't be read");
                return nothing(code);
            }
        };
        let batches: Vec<LogBatch> = found.iter().map(|span| span.batch).collect();
        let limits = AcquireLimits { max_records: budget.records, ..params.limits };
        let mut held = entry.state.lock();
        let partition = match held.active() {
            Ok(partition) => partition,
            Err(code) => return nothing(code),
        };
        // What others have said and given back since is in the state: of what was read, what is free now is acquired.
        let acquired = partition.acquire(&params.member, &limits, from, &batches, &aborted);
        drop(held);
        drop(reading);
        let records = trim(slice, &found, &acquired);
        let count: i64 = acquired.iter().map(|a| a.last_offset - a.first_offset + 1).sum();
        budget.records = budget.records.saturating_sub(i32::try_from(count).unwrap_or(i32::MAX));
        if let Some(records) = &records {
            budget.bytes = budget.bytes.saturating_sub(records.len);
            budget.has_found = true;
        }
        ShareFetched { id: entry.id.clone(), error: ErrorCode::None, records, acquired }
    }

    /// The member has these records from now on. What the fetch changed besides is written.
    fn hand_over(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        member: &MemberId,
        acquired: &[AcquiredRecords],
        now: Now,
    ) {
        let mut held = entry.state.lock();
        if let Ok(partition) = held.active() {
            partition.begin_locks(member, acquired, now.mono);
            self.note_deadline(partition.next_deadline());
        }
        held.queue_unsent();
        drop(held);
        self.write_next(entry, now);
    }
}

impl EntryState {
    /// The share partition; NONE as an error where it is loading, so that there is nothing yet.
    fn active(&mut self) -> Result<&mut SharePartition, ErrorCode> {
        match &mut self.phase {
            Phase::Loading => Err(ErrorCode::None),
            Phase::Failed(code) => Err(*code),
            Phase::Active(partition) => Ok(partition),
        }
    }
}

fn with_active<T>(entry: &Entry, ask: impl FnOnce(&mut SharePartition) -> T) -> Result<T, ErrorCode> {
    entry.state.lock().active().map(ask)
}

/// Reads where the group goes on, past what the log has lost. None: there is nothing for it.
fn read(
    entry: &Entry,
    settings: &ShareGroupSettings,
    budget: &Budget,
) -> Result<Option<(Offset, FetchDataInfo)>, ErrorCode> {
    let limits =
        ReadLimits { max_bytes: budget.bytes_each.min(budget.bytes), min_one_message: !budget.has_found };
    let read_from = |offset| {
        let asked = PartitionFetch {
            partition: Ok(Arc::clone(&entry.partition)),
            offset,
            max_bytes: limits.max_bytes,
            client_epoch: LeaderEpoch::NONE,
            last_fetched_epoch: LeaderEpoch::NONE,
            log_start_offset: Offset::UNKNOWN,
        };
        // There is nothing that the disk does not reach.
        let read = entry.partition.read(&asked, &Reader::of_leaders(reader(settings)), limits, Reach::Disk);
        read.unwrap_or_else(|| PartitionRead::refused(ErrorCode::KafkaStorageError))
    };
    let mut from = with_active(entry, |partition| partition.next_fetch_offset())?;
    let mut found = read_from(from);
    if found.error == ErrorCode::OffsetOutOfRange {
        let log_start = entry.partition.log().log_start_offset();
        let moved = with_active(entry, |partition| {
            let is_behind = log_start > partition.start_offset();
            partition.log_start_moved(log_start);
            is_behind.then(|| partition.next_fetch_offset())
        })?;
        // None: the group is ahead of the log.
        let Some(moved) = moved else { return Ok(None) };
        from = moved;
        found = read_from(from);
    }
    match found.error {
        ErrorCode::None => Ok(found.data.map(|data| (from, data))),
        code => Err(code),
    }
}

/// The batches from the first that was acquired to the last.
fn trim(slice: FileSlice, found: &[BatchSpan], acquired: &[AcquiredRecords]) -> Option<FileSlice> {
    let (first, last) = (acquired.first()?.first_offset, acquired.last()?.last_offset);
    let mut wanted =
        found.iter().filter(|span| span.batch.last_offset >= first && span.batch.base_offset <= last);
    let start = wanted.next()?;
    let end = wanted.next_back().unwrap_or(start);
    let (from, to) = (start.position, end.position.checked_add(end.len)?);
    Some(FileSlice { file: slice.file, position: slice.position + u64::from(from), len: to - from })
}
