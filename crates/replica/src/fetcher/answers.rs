use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ottla_log::AppendError;
use ottla_log::leader_epoch_cache::EpochEndOffset;
use ottla_log::log_manager::LogManager;
use ottla_types::{LeaderEpoch, Now, Offset};
use ottla_wire::messages::fetch_response::Partition as Answered;
use ottla_wire::messages::{FetchResponse, ListOffsetsResponse};
use ottla_wire::{ErrorCode, Records};

use super::{Asked, Fetcher, FetcherAnswer, Key, Next, UnderWay};
use crate::partition::{FollowError, Followed as Progress, LeaderOffsets, Partition};

/// A partition whose readers may find more than before.
#[derive(Debug)]
pub(crate) struct Changed {
    pub partition: Arc<Partition>,
    pub has_advanced: bool,
}

/// What an answer has changed.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub changed: Vec<Changed>,
    /// Partitions that there was no room for.
    pub without_room: Vec<Arc<Partition>>,
}

type ListedOffsets = BTreeMap<(Arc<str>, i32), (Key, LeaderEpoch, Next)>;

impl Fetcher {
    /// Takes the answer to the request with this ticket. What it changed is for the caller to tell those who wait.
    pub fn answered(
        &mut self,
        ticket: u64,
        answer: FetcherAnswer,
        logs: &LogManager,
        now: Now,
    ) -> Vec<Changed> {
        let Some((_, under_way)) = self.under_way.take_if(|(awaited, _)| *awaited == ticket) else {
            return Vec::new();
        };
        self.give_up_at = None;
        match (under_way, answer) {
            (UnderWay::Fetch { .. }, FetcherAnswer::Fetch(response)) => self.fetched(response, logs, now),
            (UnderWay::ListOffsets(asked), FetcherAnswer::ListOffsets(response)) => {
                self.listed(asked, response, logs, now);
                Vec::new()
            }
            _ => {
                self.failed(now);
                Vec::new()
            }
        }
    }

    /// The leader could not be asked: the connection, and its session with it, may be gone.
    fn failed(&mut self, now: Now) {
        self.session.reset();
        self.retry_at = now.mono.plus_ms(self.settings.backoff_ms);
    }

    fn fetched(&mut self, response: FetchResponse, logs: &LogManager, now: Now) -> Vec<Changed> {
        match ErrorCode::from_code(response.error_code) {
            Some(ErrorCode::None) => {}
            Some(
                ErrorCode::FetchSessionIdNotFound
                | ErrorCode::InvalidFetchSessionEpoch
                | ErrorCode::FetchSessionTopicIdError,
            ) => {
                tracing::debug!(fetcher = ?self.id, code = response.error_code, "begins a new fetch session");
                self.session.reset();
                return Vec::new();
            }
            code => {
                tracing::warn!(fetcher = ?self.id, ?code, "a fetch was refused");
                self.failed(now);
                return Vec::new();
            }
        }
        let mut changed = Vec::new();
        for topic in response.responses {
            for answered in topic.partitions {
                let key = (topic.topic_id, answered.partition_index);
                changed.extend(self.partition_fetched(key, answered, logs, now));
            }
        }
        self.session.answered(response.session_id);
        changed
    }

    fn partition_fetched(
        &mut self,
        key: Key,
        answered: Answered,
        logs: &LogManager,
        now: Now,
    ) -> Option<Changed> {
        let asked = *self.session.asked(&key)?;
        let followed = self.partitions.get(&key)?;
        if followed.leader_epoch != asked.leader_epoch || !followed.is_ready(Next::Records) {
            return None;
        }
        let partition = Arc::clone(&followed.partition);
        match ErrorCode::from_code(answered.error_code) {
            Some(ErrorCode::None) => {}
            Some(code) => {
                self.refused(key, &partition, code, now);
                return None;
            }
            None => {
                self.delay(key, now.mono);
                return None;
            }
        }
        let leader_high_watermark = Offset(answered.high_watermark);
        let bytes = answered.records.len();
        let taken = take(&partition, &asked, answered, logs, now);
        if bytes > 0 {
            self.session.served(key);
        }
        if partition.is_throttled_follower() {
            self.rules.follower_quota.record(bytes as u64, now.mono);
        }
        if let Some(followed) = self.partitions.get_mut(&key) {
            followed.unknown_there = 0;
            followed.is_in_sync = leader_high_watermark <= partition.log().log_end_offset();
        }
        self.changed.insert(key);
        match taken {
            Ok(progress) if progress.has_appended || progress.has_advanced => {
                Some(Changed { partition, has_advanced: progress.has_advanced })
            }
            Ok(_) => None,
            Err(error) => {
                self.not_taken(key, &partition, &error, now);
                None
            }
        }
    }

    fn refused(&mut self, key: Key, partition: &Partition, code: ErrorCode, now: Now) {
        let id = partition.topic_partition();
        match code {
            ErrorCode::OffsetOutOfRange => {
                tracing::info!(partition = %id, log_end = %partition.log().log_end_offset(),
                    "its end is out of the leader's range");
                self.set_next(key, Some(Next::LeaderEnd));
            }
            // There is a newer leader: the metadata will tell which.
            ErrorCode::FencedLeaderEpoch => {
                tracing::debug!(partition = %id, "the leader is in a newer epoch");
                self.set_next(key, Some(Next::NewLeader));
            }
            // The metadata have not told the leader yet that it leads.
            ErrorCode::UnknownLeaderEpoch
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::UnknownTopicId
            | ErrorCode::UnknownTopicOrPartition => {
                tracing::debug!(partition = %id, code = code.name(), "the leader does not know that it leads");
                self.delay_unknown(key, now.mono);
            }
            _ => {
                tracing::debug!(partition = %id, code = code.name(), "is not fetched for a while");
                self.delay(key, now.mono);
            }
        }
    }

    pub(super) fn not_taken(&mut self, key: Key, partition: &Arc<Partition>, error: &FollowError, now: Now) {
        match error {
            FollowError::NotFollowing(_) => self.set_next(key, Some(Next::NewLeader)),
            FollowError::Moved { .. } => {}
            FollowError::Append(AppendError::Corrupt(_)) => {
                // Harm on the way, perhaps: it is asked for again.
                tracing::warn!(partition = %partition.topic_partition(), %error, "what a leader sent is damaged");
                self.delay(key, now.mono);
            }
            FollowError::Append(_) | FollowError::Storage(_) => {
                if error.is_no_space() {
                    self.without_room.push(Arc::clone(partition));
                }
                tracing::error!(partition = %partition.topic_partition(), %error, "can't follow its leader");
                self.delay(key, now.mono);
            }
        }
    }

    fn listed(&mut self, asked: ListedOffsets, response: ListOffsetsResponse, logs: &LogManager, now: Now) {
        let mut unanswered = asked;
        for topic in &response.topics {
            for answered in &topic.partitions {
                let named = (Arc::from(topic.name.as_str()), answered.partition_index);
                let Some((key, leader_epoch, next)) = unanswered.remove(&named) else { continue };
                let followed = self.partitions.get(&key);
                let Some(followed) = followed
                    .filter(|followed| followed.leader_epoch == leader_epoch && followed.next == next)
                else {
                    continue;
                };
                let partition = Arc::clone(&followed.partition);
                if answered.error_code != ErrorCode::None.code() || answered.offset < 0 {
                    tracing::debug!(partition = %partition.topic_partition(), code = answered.error_code,
                        "the leader does not tell its offsets");
                    self.delay(key, now.mono);
                    continue;
                }
                match reposition(&partition, leader_epoch, next, Offset(answered.offset), logs, now) {
                    Ok(next) => self.set_next(key, Some(next)),
                    Err(error) => self.not_taken(key, &partition, &error, now),
                }
            }
        }
        for (key, ..) in unanswered.into_values() {
            self.delay(key, now.mono);
        }
    }
}

/// Appends what came, or cuts off what the leader does not have.
fn take(
    partition: &Partition,
    asked: &Asked,
    answered: Answered,
    logs: &LogManager,
    now: Now,
) -> Result<Progress, FollowError> {
    let diverging = answered.diverging_epoch;
    if diverging.end_offset >= 0 {
        let leader =
            EpochEndOffset { epoch: LeaderEpoch(diverging.epoch), end_offset: Offset(diverging.end_offset) };
        partition.truncate_to_leader(logs, asked.leader_epoch, leader, now)?;
        return Ok(Progress::default());
    }
    let records = match answered.records {
        Records::Bytes(bytes) => bytes,
        Records::Null | Records::External { .. } => Bytes::new(),
    };
    let leader = LeaderOffsets {
        high_watermark: Offset(answered.high_watermark),
        log_start_offset: Offset(answered.log_start_offset),
    };
    partition.append_from_leader(asked.leader_epoch, asked.offset, &records, leader, now)
}

/// Goes to where the leader has records. Returns what is to be asked next.
fn reposition(
    partition: &Partition,
    leader_epoch: LeaderEpoch,
    next: Next,
    offset: Offset,
    logs: &LogManager,
    now: Now,
) -> Result<Next, FollowError> {
    match next {
        Next::LeaderStart => {
            partition.start_where_leader_starts(logs, leader_epoch, offset, now)?;
            Ok(Next::Records)
        }
        _ if offset < partition.log().log_end_offset() => {
            partition.truncate_to_leader_end(logs, leader_epoch, offset, now)?;
            Ok(Next::Records)
        }
        _ => Ok(Next::LeaderStart),
    }
}
