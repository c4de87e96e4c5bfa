use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_log::log_manager::LogManager;
use ottla_log::{EARLIEST_LOCAL_TIMESTAMP, LATEST_TIMESTAMP};
use ottla_types::{BrokerEpoch, LeaderEpoch, Now};
use ottla_wire::messages::fetch_request::ReplicaState;
use ottla_wire::messages::list_offsets_request::{Partition as AskedOffset, Topic};
use ottla_wire::messages::{FetchRequest, ListOffsetsRequest};

use super::{Asked, Fetcher, FetcherRequest, Followed, Key, Next, ToFetch, UnderWay};

impl Fetcher {
    /// The next request, unless one is under way, there is nothing to ask, or it is too early after a failure.
    pub fn poll(
        &mut self,
        broker_epoch: Option<BrokerEpoch>,
        logs: &LogManager,
        now: Now,
    ) -> Option<ToFetch> {
        if self.give_up_at.is_some_and(|at| at <= now.mono) {
            self.give_up();
        }
        if self.under_way.is_some() || self.retry_at > now.mono {
            return None;
        }
        self.end_delays(logs, now);
        self.hold_back(now.mono);
        let (request, under_way) = match self.list_offsets() {
            Some((request, asked)) => (FetcherRequest::ListOffsets(request), UnderWay::ListOffsets(asked)),
            None => {
                let request = self.fetch(broker_epoch)?;
                let waits = request.max_wait_ms > 0;
                (FetcherRequest::Fetch(request), UnderWay::Fetch { waits })
            }
        };
        self.next_ticket += 1;
        self.under_way = Some((self.next_ticket, under_way));
        let connection = 2 * self.id.index + u32::from(self.is_on_other_connection);
        Some(ToFetch { fetcher: self.id, ticket: self.next_ticket, connection, request })
    }

    fn fetch(&mut self, broker_epoch: Option<BrokerEpoch>) -> Option<FetchRequest> {
        if !self.partitions.values().any(|followed| followed.is_ready(Next::Records)) {
            // The session would hold nothing: the leader drops it, and so does this side.
            self.session.reset();
            self.changed.clear();
            return None;
        }
        if self.session.is_full() {
            self.session.reset();
            self.changed = self.partitions.keys().copied().collect();
        }
        let begins_session = self.session.begins();
        let changed: BTreeSet<Key> = std::mem::take(&mut self.changed);
        let max_bytes = self.settings.max_bytes;
        let wanted = |key: &Key| {
            let followed = self.partitions.get(key).filter(|followed| followed.is_ready(Next::Records))?;
            Some(followed.wanted(max_bytes))
        };
        let part = self.session.request(&changed, wanted);
        Some(FetchRequest {
            replica_state: ReplicaState {
                replica_id: self.local.value(),
                replica_epoch: broker_epoch.unwrap_or(BrokerEpoch::NONE).value(),
                ..ReplicaState::default()
            },
            max_wait_ms: if begins_session { 0 } else { self.settings.wait_max_ms },
            min_bytes: self.settings.min_bytes,
            max_bytes: self.settings.response_max_bytes,
            session_id: part.id,
            session_epoch: part.epoch,
            topics: part.topics,
            forgotten_topics_data: part.forgotten,
            ..FetchRequest::default()
        })
    }

    /// By name: the request knows no ids.
    #[expect(clippy::type_complexity, reason = "what is asked, to find it again in the answer")]
    fn list_offsets(
        &self,
    ) -> Option<(ListOffsetsRequest, BTreeMap<(Arc<str>, i32), (Key, LeaderEpoch, Next)>)> {
        if self.out_of_range.is_empty() {
            return None;
        }
        let mut asked = BTreeMap::new();
        let mut topics: Vec<Topic> = Vec::new();
        for key in &self.out_of_range {
            let Some(followed) = self.partitions.get(key) else { continue };
            let id = followed.partition.topic_partition();
            let timestamp = match followed.next {
                Next::LeaderStart => EARLIEST_LOCAL_TIMESTAMP,
                _ => LATEST_TIMESTAMP,
            };
            let partition = AskedOffset {
                partition_index: id.partition,
                current_leader_epoch: followed.leader_epoch.value(),
                timestamp: timestamp.value(),
                ..AskedOffset::default()
            };
            match topics.last_mut().filter(|topic| *topic.name == *id.topic) {
                Some(topic) => topic.partitions.push(partition),
                None => topics.push(Topic {
                    name: id.topic.to_string(),
                    partitions: vec![partition],
                    ..Topic::default()
                }),
            }
            asked.insert((Arc::clone(&id.topic), id.partition), (*key, followed.leader_epoch, followed.next));
        }
        let request =
            ListOffsetsRequest { replica_id: self.local.value(), topics, ..ListOffsetsRequest::default() };
        Some((request, asked))
    }
}

impl Followed {
    fn wanted(&self, max_bytes: i32) -> Asked {
        let (offset, last_epoch) = self.partition.follower_position();
        let log = self.partition.log();
        // One append can't be larger than a segment; a first batch comes whole in any case.
        let segment_bytes = i32::try_from(log.config().segment_bytes).unwrap_or(i32::MAX);
        Asked {
            leader_epoch: self.leader_epoch,
            offset,
            last_fetched_epoch: last_epoch.unwrap_or(LeaderEpoch::NONE),
            log_start_offset: log.log_start_offset(),
            max_bytes: max_bytes.min(segment_bytes),
        }
    }
}
