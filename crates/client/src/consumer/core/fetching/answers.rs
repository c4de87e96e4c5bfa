//! What comes of the answers to fetch requests.

use std::collections::HashMap;

use ottla_record::RecordError;
use ottla_types::{LeaderEpoch, MonoMs, NodeId, Offset, ProducerId, TopicPartition, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::FetchResponse;
use ottla_wire::messages::fetch_response::Partition as Answer;

use super::chunk::{AbortedTransaction, Chunk};
use super::partition::{Phase, Watermarks};
use super::{Asked, FetchError, Fetcher, OffsetReset};

/// A leader that an answer named (KIP-951).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderHint {
    pub partition: TopicPartition,
    pub leader: NodeId,
    pub epoch: LeaderEpoch,
}

impl Fetcher {
    /// No answer came.
    pub fn fetch_failed(&mut self, node: NodeId, now: MonoMs) {
        self.landed(node, now);
        let retry_at = now.plus_ms(self.settings.retry_backoff_ms as i64);
        if let Some(state) = self.nodes.get_mut(&node) {
            state.session.start_over(true);
            state.retry_at = retry_at;
        }
        self.wants_metadata = true;
        for partition in self.partitions.values_mut() {
            if partition.preferred.is_some_and(|(preferred, _)| preferred == node) {
                partition.preferred = None;
            }
        }
    }

    /// An answer came. Returns what it said of leaders.
    pub fn fetched(&mut self, node: NodeId, answer: FetchResponse, now: MonoMs) -> Vec<LeaderHint> {
        let asked = self.landed(node, now);
        let retry_at = now.plus_ms(self.settings.retry_backoff_ms as i64);
        let Some(state) = self.nodes.get_mut(&node) else { return Vec::new() };
        if answer.error_code != ErrorCode::None.code() {
            let is_known = answer.error_code != ErrorCode::FetchSessionIdNotFound.code();
            state.session.start_over(is_known);
            let of_session = [
                ErrorCode::FetchSessionIdNotFound.code(),
                ErrorCode::InvalidFetchSessionEpoch.code(),
                ErrorCode::FetchSessionTopicIdError.code(),
            ];
            if !of_session.contains(&answer.error_code) {
                state.retry_at = retry_at;
                self.wants_metadata = true;
            }
            return Vec::new();
        }
        state.session.answered(answer.session_id);
        let mut hints = Vec::new();
        for topic in answer.responses {
            for partition in topic.partitions {
                let Some(asked) = asked.get(&(topic.topic_id, partition.partition_index)) else { continue };
                let led = &partition.current_leader;
                if led.leader_id >= 0 && led.leader_epoch >= 0 {
                    hints.push(LeaderHint {
                        partition: asked.partition.clone(),
                        leader: NodeId(led.leader_id),
                        epoch: LeaderEpoch(led.leader_epoch),
                    });
                }
                self.answered(asked, partition, now);
            }
        }
        hints
    }

    /// The request to the node is not on its way any more.
    fn landed(&mut self, node: NodeId, now: MonoMs) -> HashMap<(Uuid, i32), Asked> {
        let in_flight = self.nodes.get_mut(&node).and_then(|node| {
            node.landed_at = now;
            node.in_flight.take()
        });
        in_flight.map_or_else(HashMap::new, |in_flight| {
            self.asked_bytes -= in_flight.bytes_max;
            in_flight.partitions
        })
    }

    fn answered(&mut self, asked: &Asked, answer: Answer, now: MonoMs) {
        let name = &asked.partition;
        let Some(state) = self.partitions.get_mut(name) else { return };
        let is_current =
            state.era == asked.era && state.phase == Phase::Fetch && state.fetch.offset == asked.offset;
        if !is_current {
            return;
        }
        let code = ErrorCode::from_answer(answer.error_code);
        if code != ErrorCode::None {
            return self.refused(name, code, now);
        }
        if answer.high_watermark >= 0 {
            state.watermarks = Some(Watermarks {
                log_start: Offset(answer.log_start_offset),
                last_stable: Offset(answer.last_stable_offset),
                high: Offset(answer.high_watermark),
            });
        }
        if answer.preferred_read_replica >= 0 {
            let until = now.plus_ms(self.settings.metadata_max_age_ms as i64);
            state.preferred = Some((NodeId(answer.preferred_read_replica), until));
        }
        let Some(bytes) = answer.records.bytes().filter(|bytes| !bytes.is_empty()) else { return };
        let aborted = answer.aborted_transactions.unwrap_or_default();
        let aborted = aborted.into_iter().map(|transaction| AbortedTransaction {
            producer: ProducerId(transaction.producer_id),
            first_offset: Offset(transaction.first_offset),
        });
        match Chunk::new(bytes, state.fetch, aborted.collect()) {
            Ok(Some(chunk)) => {
                self.buffered_bytes += chunk.bytes();
                state.push(chunk);
                self.queue(name);
            }
            Ok(None) => {}
            Err(cause) => self.corrupt(name, cause, now),
        }
    }

    fn refused(&mut self, name: &TopicPartition, code: ErrorCode, now: MonoMs) {
        use ErrorCode as E;
        let retry_at = now.plus_ms(self.settings.retry_backoff_ms as i64);
        let Some(state) = self.partitions.get_mut(name) else { return };
        state.retry_at = retry_at;
        match code {
            E::OffsetOutOfRange if state.preferred.take().is_some() => {
                // That replica may be behind or ahead; the leader knows.
                state.retry_at = now;
            }
            E::OffsetOutOfRange => self.out_of_range(name),
            E::TopicAuthorizationFailed => {
                self.errors.push_back(FetchError::Refused { partition: name.clone(), code });
            }
            E::CorruptMessage => {
                self.errors.push_back(FetchError::Refused { partition: name.clone(), code });
            }
            E::UnknownLeaderEpoch | E::UnknownServerError => {}
            // Everything else is about who leads, or whether it does yet.
            _ => {
                state.preferred = None;
                self.wants_metadata = true;
            }
        }
    }

    fn out_of_range(&mut self, name: &TopicPartition) {
        let reset = self.settings.auto_offset_reset;
        let Some(state) = self.partitions.get_mut(name) else { return };
        if state.buffered_bytes() > 0 {
            // First the owner gets what was fetched ahead; then the offset may be asked for again.
            return;
        }
        let offset = state.fetch.offset;
        if reset == OffsetReset::None {
            state.phase = Phase::Stuck;
            self.errors.push_back(FetchError::OffsetOutOfRange { partition: name.clone(), offset });
        } else {
            self.seek_to(name, reset);
        }
    }

    fn corrupt(&mut self, name: &TopicPartition, cause: RecordError, now: MonoMs) {
        let retry_at = now.plus_ms(self.settings.retry_backoff_ms as i64);
        let Some(state) = self.partitions.get_mut(name) else { return };
        state.retry_at = retry_at;
        let offset = state.fetch.offset;
        self.errors.push_back(FetchError::Corrupt { partition: name.clone(), offset, cause });
    }
}
