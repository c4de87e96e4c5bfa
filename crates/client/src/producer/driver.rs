//! The task that runs a producer's [`Sender`]: sends its requests, brings it the answers, and wakes it in time.

mod asking;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use ottla_types::{
    LeaderEpoch, MonoMs, NodeId, Offset, ProducerEpoch, ProducerId, Timestamp, TopicPartition, Uuid,
};
use ottla_wire::ErrorCode;
use ottla_wire::messages::{
    InitProducerIdRequest, ProduceRequest, ProduceResponse, produce_request, produce_response,
};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tracing::Instrument;

use super::core::accumulator::Accumulator;
use super::core::lane::Identity;
use super::core::sender::{Action, Answered, PartitionAnswer, ProduceAction, Sender, View};
use super::core::transactions::{GroupOffsets, Level, Status};
use crate::client::{Client, Target};
use crate::cluster::{Broker, Metadata};
use crate::consumer::{CommittedOffset, GroupMetadata};
use crate::error::ClientError;

/// The first version in which topics have ids instead of names.
const TOPIC_IDS_SINCE: i16 = 13;
const REQUEST_TIMEOUT_MS_MAX: u64 = i32::MAX as u64;

/// What the task hears.
#[derive(Debug)]
pub(super) enum Event {
    Answered {
        request: u64,
        answered: Answered,
    },
    /// An attempt to connect has ended, well or not.
    Attempted(NodeId),
    Identified(Result<(ProducerId, ProducerEpoch), ClientError>),
    /// Give up everything that is not answered.
    GiveUp(ClientError),
    /// What a coordinator said of a transaction.
    StepAnswered(Result<Option<Identity>, ClientError>),
    /// Begin the transaction with this number.
    Begin(u64),
    End {
        number: u64,
        commits: bool,
    },
    CommitOffsets {
        number: u64,
        group: GroupMetadata,
        offsets: BTreeMap<TopicPartition, CommittedOffset>,
        done: OffsetsDone,
    },
}

type OffsetsDone = oneshot::Sender<Result<(), ClientError>>;

/// What only a transactional producer has.
#[derive(Debug)]
pub(super) struct Transactional {
    pub id: Arc<str>,
    pub timeout_ms: u64,
    pub status: watch::Sender<Status>,
}

/// See the module.
pub(super) struct Driver {
    client: Client,
    accumulator: Arc<Accumulator>,
    sender: Sender,
    /// Somebody has appended something that the sender should look at.
    wakeup: Arc<Notify>,
    events: mpsc::UnboundedReceiver<Event>,
    /// As many events come as requests and attempts are under way, which are bounded.
    told: mpsc::UnboundedSender<Event>,
    changed: watch::Receiver<u64>,
    connecting: HashSet<NodeId>,
    acks: i16,
    idle_ms: u64,
    idle_check: Instant,
    transactional: Option<Transactional>,
    /// Whoever waits for offsets, by their tickets.
    offsets: HashMap<u64, OffsetsDone>,
    next_ticket: u64,
    /// Once closed: what isn't settled by then never will be, as the coordinator has aborted it.
    gives_up_at: Option<Instant>,
}

/// What the sender sees.
struct Seen<'a> {
    client: &'a Client,
    metadata: &'a Metadata,
    connecting: &'a mut HashSet<NodeId>,
    told: &'a mpsc::UnboundedSender<Event>,
}

impl View for Seen<'_> {
    fn leader(&self, topic: &str, partition: i32) -> Option<NodeId> {
        self.metadata.leader(topic, partition).map(|leader| leader.node)
    }

    fn is_ready(&mut self, node: NodeId) -> bool {
        if self.client.link_now(node).is_some() {
            return true;
        }
        if self.connecting.insert(node) {
            let (client, told) = (self.client.clone(), self.told.clone());
            tokio::spawn(async move {
                let timeout = Duration::from_millis(client.settings().request_timeout_ms);
                let link = client.link(&Target::Node(node), None, Instant::now() + timeout).await;
                if let Err(error) = link {
                    client.learn_from(&Target::Node(node), &error);
                    if matches!(error, ClientError::UnknownNode(_)) {
                        // The leader is not among the brokers: only other metadata help.
                        let wait = Duration::from_millis(client.settings().retry_backoff_ms);
                        tokio::time::sleep(wait).await;
                    }
                }
                let _ = told.send(Event::Attempted(node));
            });
        }
        false
    }

    fn random(&mut self) -> f64 {
        rand::random()
    }
}

impl Driver {
    pub fn new(
        client: Client,
        accumulator: Arc<Accumulator>,
        wakeup: Arc<Notify>,
        idle_ms: u64,
        transactional: Option<Transactional>,
    ) -> (Driver, mpsc::UnboundedSender<Event>) {
        let (told, events) = mpsc::unbounded_channel();
        let acks = accumulator.settings.acks;
        let driver = Driver {
            changed: client.metadata_changed(),
            sender: Sender::new(Arc::clone(&accumulator)),
            client,
            accumulator,
            wakeup,
            events,
            told: told.clone(),
            connecting: HashSet::new(),
            acks,
            idle_ms,
            idle_check: Instant::now() + Duration::from_millis(idle_ms),
            transactional,
            offsets: HashMap::new(),
            next_ticket: 0,
            gives_up_at: None,
        };
        (driver, told)
    }

    /// Goes on until the producer is closed, and everything is answered.
    pub async fn run(mut self) {
        let timer = sleep_until(Instant::now());
        tokio::pin!(timer);
        loop {
            let wake = self.tick();
            self.tell();
            if self.is_done() {
                return;
            }
            let at = self.client.clock().instant(wake).min(self.idle_check);
            let at = self.gives_up_at.map_or(at, |gives_up_at| at.min(gives_up_at));
            if timer.deadline() != at {
                timer.as_mut().reset(at);
            }
            tokio::select! {
                event = self.events.recv() => {
                    let mut next = event;
                    while let Some(event) = next {
                        self.hear(event);
                        next = self.events.try_recv().ok();
                    }
                }
                () = self.wakeup.notified() => {}
                // The client has gone: what is left times out.
                Ok(()) = self.changed.changed() => {}
                () = timer.as_mut() => self.forget_idle_topics(),
            }
        }
    }

    fn is_done(&mut self) -> bool {
        if !self.accumulator.is_over() {
            return false;
        }
        let (Some(transactional), false) = (&self.transactional, self.sender.is_settled()) else {
            return true;
        };
        let patience = Duration::from_millis(transactional.timeout_ms);
        let gives_up_at = *self.gives_up_at.get_or_insert_with(|| Instant::now() + patience);
        Instant::now() >= gives_up_at
    }

    fn tick(&mut self) -> MonoMs {
        let metadata = self.client.metadata();
        let now = self.client.clock().mono();
        let mut seen = Seen {
            client: &self.client,
            metadata: &metadata,
            connecting: &mut self.connecting,
            told: &self.told,
        };
        let (actions, wake) = self.sender.tick(&mut seen, now);
        for action in actions {
            match action {
                Action::Produce(action) => self.produce(action, &metadata),
                Action::Identify => self.identify(),
                Action::Ask(asking) => self.ask(asking),
                Action::Refresh => self.client.refresh_soon(),
            }
        }
        self.count();
        wake
    }

    fn count(&mut self) {
        let counts = self.sender.take_counts();
        let metrics = self.client.metrics();
        metrics.records_sent.add(counts.sent);
        metrics.record_errors.add(counts.failed);
        metrics.record_retries.add(counts.retried);
        counts.queued_ms.into_iter().for_each(|ms| metrics.record_queue_time.note(ms));
    }

    fn hear(&mut self, event: Event) {
        let metadata = self.client.metadata();
        let now = self.client.clock().mono();
        let mut seen = Seen {
            client: &self.client,
            metadata: &metadata,
            connecting: &mut self.connecting,
            told: &self.told,
        };
        match event {
            Event::Answered { request, answered } => {
                if self.sender.answered(request, answered, &mut seen, now) {
                    self.client.refresh_soon();
                }
            }
            Event::Attempted(node) => {
                self.connecting.remove(&node);
            }
            Event::Identified(result) => self.sender.identified(result, &mut seen, now),
            Event::GiveUp(error) => self.sender.fail_all(&error),
            Event::StepAnswered(result) => self.sender.step_answered(result, rand::random(), now),
            Event::Begin(number) => {
                let level = level(&self.client, &metadata).or(self.sender.transaction_level());
                self.sender.begin_transaction(number, level.unwrap_or(Level::Added));
            }
            Event::End { number, commits } => self.sender.end_transaction(number, commits),
            Event::CommitOffsets { number, group, offsets, done } => {
                let ticket = self.next_ticket;
                self.next_ticket += 1;
                self.offsets.insert(ticket, done);
                self.sender.commit_offsets(number, GroupOffsets { ticket, group, offsets });
            }
        }
    }

    fn produce(&self, action: ProduceAction, metadata: &Metadata) {
        let request = action.request;
        let told = self.told.clone();
        match self.begin(action, metadata) {
            Ok(answering) => {
                tokio::spawn(async move {
                    let answered = answering.await;
                    let _ = told.send(Event::Answered { request, answered });
                });
            }
            Err(error) => {
                let _ = told.send(Event::Answered { request, answered: Answered::Lost(error) });
            }
        }
    }

    /// Puts the request in line, in the order of the sender's; what is left is to wait.
    fn begin(
        &self,
        action: ProduceAction,
        metadata: &Metadata,
    ) -> Result<impl Future<Output = Answered> + Send + use<>, ClientError> {
        let timeout_ms = self.client.settings().request_timeout_ms;
        let link = self.client.link_now(action.node).ok_or(ClientError::UnknownNode(action.node))?;
        let places: Vec<Place> = action.batches.iter().map(|batch| place(batch, metadata)).collect();
        let has_ids = places.iter().all(|place| !place.id.is_zero());
        let by_name = (!has_ids).then_some(TOPIC_IDS_SINCE - 1);
        let explicit = self.sender.transaction_level().and_then(Level::produce_version_max);
        let version = link.choose::<ProduceRequest>(explicit.or(by_name))?;
        let span = tracing::debug_span!("produce", node = %action.node, batches = places.len());
        let request = ProduceRequest {
            transactional_id: self.transactional.as_ref().map(|transactional| transactional.id.to_string()),
            acks: self.acks,
            timeout_ms: i32::try_from(timeout_ms.min(REQUEST_TIMEOUT_MS_MAX)).unwrap_or(i32::MAX),
            topic_data: topic_data(action, &places, version),
            ..ProduceRequest::default()
        };
        let is_answered = self.acks != 0;
        let begun = link.begin(&request, version, Duration::from_millis(timeout_ms), is_answered)?;
        let client = self.client.clone();
        Ok(async move {
            if !is_answered {
                return match begun.written().await {
                    Ok(()) => Answered::Nobody,
                    Err(error) => Answered::Lost(error),
                };
            }
            match begun.answer().await {
                Ok(response) => {
                    learn_leaders(&client, &response, &places);
                    let throttled_ms = u64::try_from(response.throttle_time_ms).unwrap_or(0);
                    client.metrics().produce_throttle_time.note(throttled_ms);
                    Answered::By(partition_answers(response, &places))
                }
                // What can't be read may say anything: the broker may have written.
                Err(ClientError::Protocol { node, why }) => {
                    Answered::Lost(ClientError::Disconnected { node, why, is_sent: true })
                }
                Err(error) => Answered::Lost(error),
            }
        }
        .instrument(span))
    }

    fn identify(&self) {
        let (client, told) = (self.client.clone(), self.told.clone());
        tokio::spawn(async move {
            let request = InitProducerIdRequest {
                transactional_id: None,
                transaction_timeout_ms: i32::MAX,
                ..InitProducerIdRequest::default()
            };
            let result = client.send(Target::AnyNode, &request).await.and_then(|answer| {
                let code = ErrorCode::from_answer(answer.error_code);
                if code.is_error() {
                    return Err(ClientError::broker(code, None, "asking for a producer id"));
                }
                Ok((ProducerId(answer.producer_id), ProducerEpoch(answer.producer_epoch)))
            });
            let _ = told.send(Event::Identified(result));
        });
    }

    /// A topic to which nothing was sent for `metadata.max.idle.ms` is refreshed no more.
    fn forget_idle_topics(&mut self) {
        if Instant::now() < self.idle_check {
            return;
        }
        self.idle_check = Instant::now() + Duration::from_millis(self.idle_ms.max(1) / 2);
        let active = self.sender.active_topics();
        let since = MonoMs(self.client.clock().mono().0.saturating_sub(self.idle_ms));
        for topic in self.accumulator.unused_topics(since) {
            if !active.contains(&topic) {
                self.client.unwatch(&topic);
            }
        }
    }
}

/// Which version of transactions the cluster speaks, as the broker says that has the latest news of its features.
fn level(client: &Client, metadata: &Metadata) -> Option<Level> {
    let served = metadata.brokers().keys().filter_map(|id| client.versions(*id));
    let latest = served.max_by_key(|served| served.features_epoch())?;
    Some(Level::of_feature(latest.feature("transaction.version")))
}

/// Whose batch it is in a request.
struct Place {
    lane: usize,
    topic: Arc<str>,
    id: Uuid,
    partition: i32,
}

fn place(batch: &super::core::sender::ProduceBatch, metadata: &Metadata) -> Place {
    let id = metadata.topic(&batch.topic).map_or(Uuid::ZERO, |topic| topic.id);
    Place { lane: batch.lane, topic: Arc::clone(&batch.topic), id, partition: batch.partition }
}

fn topic_data(action: ProduceAction, places: &[Place], version: i16) -> Vec<produce_request::TopicData> {
    let mut topics: Vec<(Arc<str>, produce_request::TopicData)> = Vec::new();
    for (batch, place) in action.batches.into_iter().zip(places) {
        let data = produce_request::PartitionData {
            index: batch.partition,
            records: Some(batch.bytes),
            ..produce_request::PartitionData::default()
        };
        match topics.iter_mut().find(|(name, _)| *name == batch.topic) {
            Some((_, topic)) => topic.partition_data.push(data),
            None => {
                let mut topic = produce_request::TopicData::default();
                if version < TOPIC_IDS_SINCE {
                    topic.name = batch.topic.to_string();
                } else {
                    topic.topic_id = place.id;
                }
                topic.partition_data.push(data);
                topics.push((batch.topic, topic));
            }
        }
    }
    topics.into_iter().map(|(_, topic)| topic).collect()
}

fn find<'a>(places: &'a [Place], topic: &produce_response::Response, partition: i32) -> Option<&'a Place> {
    let is_it = |place: &&Place| {
        let is_topic =
            if topic.name.is_empty() { place.id == topic.topic_id } else { *place.topic == *topic.name };
        is_topic && place.partition == partition
    };
    places.iter().find(is_it)
}

fn partition_answers(response: ProduceResponse, places: &[Place]) -> Vec<PartitionAnswer> {
    let mut answers = Vec::with_capacity(places.len());
    for mut topic in response.responses {
        for partition in std::mem::take(&mut topic.partition_responses) {
            let Some(place) = find(places, &topic, partition.index) else { continue };
            let records = partition.record_errors.into_iter();
            answers.push(PartitionAnswer {
                lane: place.lane,
                code: ErrorCode::from_answer(partition.error_code),
                message: partition.error_message,
                base_offset: Offset(partition.base_offset),
                log_append_time: Some(Timestamp(partition.log_append_time_ms)).filter(|time| time.0 >= 0),
                records: records
                    .map(|record| (record.batch_index, record.batch_index_error_message))
                    .collect(),
            });
        }
    }
    answers
}

/// Answers that say who leads now spare a request (KIP-951).
fn learn_leaders(client: &Client, response: &ProduceResponse, places: &[Place]) {
    for topic in &response.responses {
        for partition in &topic.partition_responses {
            let leader = &partition.current_leader;
            let Some(place) = find(places, topic, partition.index).filter(|_| leader.leader_id >= 0) else {
                continue;
            };
            let endpoints = response.node_endpoints.iter();
            let mut endpoints = endpoints.filter(|node| node.node_id == leader.leader_id);
            let address = endpoints.next().map(|node| Broker {
                id: NodeId(node.node_id),
                host: node.host.as_str().into(),
                port: u16::try_from(node.port).unwrap_or_default(),
                rack: node.rack.as_deref().map(Arc::from),
            });
            let epoch = LeaderEpoch(leader.leader_epoch);
            client.learn_leader(&place.topic, place.partition, NodeId(leader.leader_id), epoch, address);
        }
    }
}
