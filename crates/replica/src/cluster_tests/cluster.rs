use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ottla_log::disk::SimDisk;
use ottla_log::disk::sim::Loss;
use ottla_log::log_manager::{CreateLog, LoadProgress, LogManager, LogManagerConfig};
use ottla_log::{FetchIsolation, FileSlice, LogConfig, OpenError, UnifiedLog};
use ottla_record::{AppendOrigin, Batch, BatchBuilder, BatchOptions, Batches, NewRecord};
use ottla_types::{
    BrokerEpoch, LeaderEpoch, MonoMs, NodeId, Now, Offset, ProducerEpoch, ProducerId, Timestamp,
    TopicIdPartition, TopicPartition, Uuid,
};
use ottla_wire::messages::fetch_response::{DivergingEpoch, Partition as FetchedData, Response};
use ottla_wire::messages::list_offsets_response::{Partition as ListedOffset, Topic as ListedTopic};
use ottla_wire::messages::{
    AlterPartitionRequest, AlterPartitionResponse, FetchRequest, FetchResponse, ListOffsetsRequest,
    ListOffsetsResponse, alter_partition_response,
};
use ottla_wire::{ErrorCode, Records};
use parking_lot::Mutex;

use crate::fetch_session::{
    FetchContext, FetchPartition, FetchSessions, PartitionKey, PartitionSummary, SessionRequest,
};
use crate::fetcher::{FetcherAnswer, FetcherId, FetcherRequest, FetcherSettings, ToFetch};
use crate::tests::{Answers, FETCHERS, at, taken};
use crate::{
    Assignment, Brokers, FetchClient, FetchParams, FetchedPartition, FollowerId, Partition, PartitionFetch,
    PartitionRead, ProduceEntry, ProduceParams, ProduceResult, RateWindow, Reader, ReaderKind,
    ReplicaManager, ReplicaSelector, ReplicaSettings,
};

pub const X: NodeId = NodeId(1);
pub const Y: NodeId = NodeId(2);
pub const Z: NodeId = NodeId(3);
pub const ALL: [NodeId; 3] = [X, Y, Z];
pub const LAG_MS: u64 = 10_000;
const TOPIC: &str = "t";
const TOPIC_ID: Uuid = Uuid([3; 16]);
const DIR: &str = "/data";
const LISTENER: &str = "CLIENTS";

/// Who is registered, as every broker sees it.
#[derive(Debug, Default)]
struct Registered {
    epochs: Mutex<BTreeMap<NodeId, BrokerEpoch>>,
    racks: BTreeMap<NodeId, &'static str>,
    /// Whose replica is in no directory.
    lost: Mutex<BTreeSet<NodeId>>,
}

impl Brokers for Registered {
    fn active_epoch(&self, broker: NodeId) -> Option<BrokerEpoch> {
        self.epochs.lock().get(&broker).copied()
    }

    fn directory(&self, _: NodeId, _: Uuid, _: i32) -> Option<Uuid> {
        None
    }

    fn is_lost(&self, broker: NodeId, _: Uuid, _: i32) -> bool {
        self.lost.lock().contains(&broker)
    }

    fn rack(&self, broker: NodeId, listener: &str) -> Option<String> {
        assert_eq!(listener, LISTENER);
        self.epochs.lock().get(&broker)?;
        self.racks.get(&broker).map(|rack| (*rack).to_owned())
    }
}

/// A broker's process.
struct Process {
    manager: Arc<ReplicaManager>,
    logs: Arc<LogManager>,
    sessions: FetchSessions,
    epoch: BrokerEpoch,
}

/// One partition on three brokers.
pub struct Cluster {
    processes: BTreeMap<NodeId, Process>,
    disks: BTreeMap<NodeId, SimDisk>,
    registered: Arc<Registered>,
    /// What the controller has decided.
    pub decided: Assignment,
    /// What brokers are about to send.
    outbox: BTreeMap<NodeId, Vec<ToFetch>>,
    /// The first can't reach the second.
    pub cut: BTreeSet<(NodeId, NodeId)>,
    pub now: Now,
    next_broker_epoch: i64,
    pub settings: FetcherSettings,
    selector: ReplicaSelector,
    pub config: LogConfig,
    /// How many requests followers have sent.
    pub requests: usize,
    /// Those that name all their partitions.
    pub full_requests: usize,
}

impl Cluster {
    /// X leads, all are in sync.
    pub fn new() -> Cluster {
        Cluster::with(1, LogConfig::default(), FETCHERS)
    }

    /// Consumers are sent to replicas in their own rack.
    pub fn in_racks(racks: [&'static str; 3]) -> Cluster {
        let registered = Registered { racks: ALL.into_iter().zip(racks).collect(), ..Registered::default() };
        Cluster::of(1, LogConfig::default(), FETCHERS, ReplicaSelector::RackAware, registered)
    }

    pub fn with(min_insync_replicas: usize, config: LogConfig, settings: FetcherSettings) -> Cluster {
        let registered = Registered::default();
        Cluster::of(min_insync_replicas, config, settings, ReplicaSelector::Leader, registered)
    }

    fn of(
        min_insync_replicas: usize,
        config: LogConfig,
        settings: FetcherSettings,
        selector: ReplicaSelector,
        registered: Registered,
    ) -> Cluster {
        let decided = Assignment {
            partition: TopicIdPartition {
                topic_id: TOPIC_ID,
                topic_partition: TopicPartition::new(TOPIC, 0),
            },
            leader: X,
            leader_epoch: LeaderEpoch(0),
            partition_epoch: 0,
            replicas: ALL.to_vec(),
            isr: ALL.to_vec(),
            min_insync_replicas,
        };
        let mut cluster = Cluster {
            processes: BTreeMap::new(),
            disks: (0..).zip(ALL).map(|(seed, id)| (id, SimDisk::new(seed))).collect(),
            registered: Arc::new(registered),
            decided,
            outbox: BTreeMap::new(),
            cut: BTreeSet::new(),
            now: at(1_000),
            next_broker_epoch: 100,
            settings,
            selector,
            config,
            requests: 0,
            full_requests: 0,
        };
        ALL.into_iter().for_each(|id| cluster.start(id));
        cluster
    }

    /// Starts a broker's process on its disk, and tells it what the controller has decided.
    pub fn start(&mut self, id: NodeId) {
        let disk = &self.disks[&id];
        disk.set_now(self.now.wall);
        let config = LogManagerConfig {
            recovery_threads_per_dir: 1,
            ..LogManagerConfig::new(vec![PathBuf::from(DIR)])
        };
        let logs = Arc::new(LogManager::new(config, Arc::new(disk.clone()), self.now));
        let topic = Arc::new(self.config.clone());
        let of_topic = move |_: &str| Arc::clone(&topic);
        logs.load(&of_topic, &LoadProgress::default(), self.now).expect("the logs can be loaded");
        self.next_broker_epoch += 1;
        let epoch = BrokerEpoch(self.next_broker_epoch);
        self.registered.epochs.lock().insert(id, epoch);
        let settings = ReplicaSettings {
            producer_purgatory_purge_interval: 1000,
            fetch_purgatory_purge_interval: 1000,
            delete_records_purgatory_purge_interval: 1000,
            share_fetch_purgatory_purge_interval: 1000,
            lag_time_max_ms: LAG_MS as i64,
            selector: self.selector,
            fetchers: self.settings,
            quota_window: RateWindow::default(),
            moves_window: RateWindow::default(),
            moves_at_once: 1,
        };
        let manager = ReplicaManager::new(
            id,
            settings,
            Arc::clone(&logs),
            Arc::clone(&self.registered) as _,
            Arc::new(|_| {}),
            Arc::new(|job| job()),
        );
        let sessions = FetchSessions::new(10, self.next_broker_epoch as u64);
        self.processes.insert(id, Process { manager: Arc::new(manager), logs, sessions, epoch });
        self.tell(id);
    }

    /// Ends a broker's process; with a loss of power what was not flushed is lost.
    pub fn crash(&mut self, id: NodeId, loss: Option<Loss>) {
        self.processes.remove(&id);
        self.outbox.remove(&id);
        self.registered.epochs.lock().remove(&id);
        match loss {
            Some(loss) => self.disks[&id].crash(loss),
            None => self.disks[&id].kill(),
        }
    }

    pub fn disk(&self, id: NodeId) -> &SimDisk {
        &self.disks[&id]
    }

    pub fn is_up(&self, id: NodeId) -> bool {
        self.processes.contains_key(&id)
    }

    /// The controller makes `leader` the leader in a new epoch, and every broker that is up hears of it.
    pub fn elect(&mut self, leader: NodeId, isr: &[NodeId]) {
        self.decide(leader, isr);
        ALL.into_iter().for_each(|id| self.tell(id));
    }

    /// The controller is told whether a broker's replica is in a directory. Without one it is in sync no more; whoever else leads
    /// leads on.
    pub fn set_lost(&mut self, id: NodeId, is_lost: bool) {
        let mut lost = self.registered.lost.lock();
        if is_lost {
            lost.insert(id);
            self.decided.isr.retain(|member| *member != id);
        } else {
            lost.remove(&id);
        }
        drop(lost);
        self.decided.partition_epoch += 1;
        ALL.into_iter().for_each(|id| self.tell(id));
    }

    /// As [`Cluster::elect`], before anybody hears of it.
    pub fn decide(&mut self, leader: NodeId, isr: &[NodeId]) {
        self.decided.leader = leader;
        self.decided.leader_epoch = LeaderEpoch(self.decided.leader_epoch.value() + 1);
        self.decided.partition_epoch += 1;
        self.decided.isr = isr.to_vec();
    }

    /// A broker hears what the controller has decided.
    pub fn tell(&self, id: NodeId) {
        let Some(process) = self.processes.get(&id) else { return };
        let open = || -> Result<Arc<UnifiedLog>, OpenError> {
            let create = CreateLog {
                partition: TopicPartition::new(TOPIC, 0),
                topic_id: Some(TOPIC_ID),
                config: Arc::new(self.config.clone()),
                is_new: true,
                dir: None,
            };
            process.logs.get_or_create(&create, self.now)
        };
        process.manager.assign(self.decided.clone(), open, self.now).expect("the log opens");
    }

    pub fn manager(&self, id: NodeId) -> &Arc<ReplicaManager> {
        &self.processes[&id].manager
    }

    pub fn partition(&self, id: NodeId) -> Arc<Partition> {
        self.manager(id).partition(TOPIC, 0).expect("it has a replica")
    }

    pub fn log(&self, id: NodeId) -> Arc<UnifiedLog> {
        self.partition(id).log()
    }

    pub fn pass_ms(&mut self, ms: u64) {
        self.now.mono = MonoMs(self.now.mono.0 + ms);
        self.now.wall = Timestamp(self.now.wall.0 + ms as i64);
        self.processes.values().for_each(|process| process.manager.tick(self.now));
    }

    pub fn produce(&self, to: NodeId, acks: i16, values: &[&str]) -> Answers<ProduceResult> {
        self.produce_batch(to, acks, batch(values, self.now, None))
    }

    /// The `sequence`th batch, of one record, of an idempotent producer.
    pub fn produce_once(&self, to: NodeId, value: &str, sequence: i32) -> Answers<ProduceResult> {
        self.produce_batch(to, -1, batch(&[value], self.now, Some(sequence)))
    }

    fn produce_batch(&self, to: NodeId, acks: i16, records: Bytes) -> Answers<ProduceResult> {
        let answers: Answers<ProduceResult> = Arc::default();
        let into = Arc::clone(&answers);
        let entry = ProduceEntry::new(Ok(self.partition(to)), records);
        let origin = AppendOrigin::Client;
        let params = ProduceParams { required_acks: acks, timeout_ms: 5_000, origin, transaction_version: 0 };
        self.manager(to).produce(params, vec![entry], self.now, move |results| into.lock().extend(results));
        answers
    }

    /// Puts records into a log as they lie in one that knows of no leader epochs.
    pub fn write_without_epoch(&self, id: NodeId, values: &[&str]) {
        let records = batch(values, self.now, None);
        self.log(id).append_as_follower(&records, LeaderEpoch(0), self.now).expect("it fits");
    }

    /// Everything that followers want is fetched, and every ISR that leaders want is decided on, until nothing changes any
    /// more.
    pub fn replicate(&mut self) {
        let mut quiet_rounds = 0;
        for _ in 0..200 {
            let before = self.positions();
            ALL.into_iter().for_each(|id| self.fetch_once(id));
            let was_quiet = !self.alter_isrs() && self.positions() == before;
            quiet_rounds = if was_quiet { quiet_rounds + 1 } else { 0 };
            if quiet_rounds == 2 {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    /// Where every log is.
    fn positions(&self) -> Vec<(Offset, Offset, Offset, Option<LeaderEpoch>)> {
        let up = ALL.into_iter().filter(|id| self.is_up(*id));
        let logs = up.map(|id| self.log(id));
        let position = |log: Arc<UnifiedLog>| {
            (log.log_start_offset(), log.high_watermark(), log.log_end_offset(), log.latest_epoch())
        };
        logs.map(position).collect()
    }

    /// One broker fetches once from each leader that it follows.
    pub fn fetch_once(&mut self, id: NodeId) {
        for to_fetch in self.due(id) {
            let (fetcher, ticket) = (to_fetch.fetcher, to_fetch.ticket);
            let answer = self.answer(id, to_fetch);
            self.hand_in(id, fetcher, ticket, answer);
        }
    }

    /// As [`Cluster::fetch_once`], and the answer gets lost.
    pub fn fetch_unheard(&mut self, id: NodeId) {
        for to_fetch in self.due(id) {
            let (fetcher, ticket) = (to_fetch.fetcher, to_fetch.ticket);
            self.answer(id, to_fetch);
            self.hand_in(id, fetcher, ticket, FetcherAnswer::Failed);
        }
    }

    /// The requests that a broker sends now.
    pub fn due(&mut self, id: NodeId) -> Vec<ToFetch> {
        let Some(process) = self.processes.get(&id) else { return Vec::new() };
        let mut due = self.outbox.remove(&id).unwrap_or_default();
        due.extend(process.manager.poll_fetchers(Some(process.epoch), self.now));
        due
    }

    pub fn answer(&mut self, id: NodeId, to_fetch: ToFetch) -> FetcherAnswer {
        let leader = to_fetch.fetcher.leader;
        self.requests += 1;
        if self.cut.contains(&(id, leader)) || !self.is_up(leader) {
            return FetcherAnswer::Failed;
        }
        self.serve(leader, to_fetch.request)
    }

    pub fn hand_in(&mut self, id: NodeId, fetcher: FetcherId, ticket: u64, answer: FetcherAnswer) {
        let Some(process) = self.processes.get(&id) else { return };
        let epoch = Some(process.epoch);
        let next = process.manager.fetcher_answered(fetcher, ticket, answer, epoch, self.now);
        self.outbox.entry(id).or_default().extend(next);
    }

    fn serve(&mut self, leader: NodeId, request: FetcherRequest) -> FetcherAnswer {
        match request {
            FetcherRequest::Fetch(request) => {
                self.full_requests += usize::from(request.session_epoch == 0);
                FetcherAnswer::Fetch(self.serve_fetch(leader, request))
            }
            FetcherRequest::ListOffsets(request) => {
                FetcherAnswer::ListOffsets(self.serve_list_offsets(leader, &request))
            }
        }
    }

    fn serve_fetch(&self, leader: NodeId, request: FetchRequest) -> FetchResponse {
        let Process { manager, sessions, .. } = &self.processes[&leader];
        let follower = FollowerId {
            node: NodeId(request.replica_state.replica_id),
            broker_epoch: Some(BrokerEpoch(request.replica_state.replica_epoch)),
        };
        let key = |topic_id, partition| PartitionKey { topic_id, topic: "".into(), partition };
        let partitions = request.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|asked| FetchPartition {
                key: key(topic.topic_id, asked.partition),
                fetch_offset: Offset(asked.fetch_offset),
                log_start_offset: Offset(asked.log_start_offset),
                max_bytes: asked.partition_max_bytes,
                current_leader_epoch: asked.current_leader_epoch,
                last_fetched_epoch: asked.last_fetched_epoch,
            })
        });
        let forgotten = request.forgotten_topics_data.iter();
        let session = SessionRequest {
            session_id: request.session_id,
            session_epoch: request.session_epoch,
            partitions: partitions.collect(),
            forgotten: forgotten
                .flat_map(|topic| topic.partitions.iter().map(|partition| key(topic.topic_id, *partition)))
                .collect(),
            uses_topic_ids: true,
            follower: Some(follower),
        };
        let session = match sessions.begin(session, self.now.mono) {
            Ok(session) => session,
            Err(code) => return FetchResponse { error_code: code.code(), ..FetchResponse::default() },
        };
        let of = Arc::clone(manager);
        let find = Box::new(move |key: &PartitionKey| {
            of.partition_by_id(key.topic_id, key.partition).ok_or(ErrorCode::UnknownTopicId)
        });
        let params = FetchParams {
            reader: Reader { kind: ReaderKind::Follower, follower: Some(follower), client: None },
            max_wait_ms: 0,
            min_bytes: request.min_bytes as u32,
            max_bytes: request.max_bytes as u32,
        };
        let found: Answers<(FetchContext, Vec<FetchedPartition>)> = Arc::default();
        let into = Arc::clone(&found);
        let respond = move |session, found, _| into.lock().push((session, found));
        manager.fetch_in_session(params, session, find, self.now, respond);
        let (session, found) = taken(&found).pop().expect("nobody waits");
        let keys: Vec<_> = session.partitions.iter().map(|asked| asked.key.clone()).collect();
        let summaries: Vec<_> = keys.iter().cloned().zip(found.iter().map(summary)).collect();
        let (session_id, carried) = sessions.finish(session, &summaries, self.now.mono);
        let responses = keys.iter().zip(found).zip(carried).filter(|(_, carried)| *carried);
        let responses = responses.map(|((key, found), _)| Response {
            topic_id: key.topic_id,
            partitions: vec![fetched_data(key.partition, &found)],
            ..Response::default()
        });
        FetchResponse { session_id, responses: responses.collect(), ..FetchResponse::default() }
    }

    /// What a consumer finds at a broker from an offset on. It waits up to half a second, and `rack` is none where it can't read
    /// from followers.
    pub fn consume(
        &self,
        from: NodeId,
        offset: i64,
        kind: ReaderKind,
        rack: Option<&str>,
    ) -> Answers<PartitionRead> {
        self.consume_in_epoch(from, offset, kind, rack, LeaderEpoch::NONE)
    }

    pub fn consume_in_epoch(
        &self,
        from: NodeId,
        offset: i64,
        kind: ReaderKind,
        rack: Option<&str>,
        client_epoch: LeaderEpoch,
    ) -> Answers<PartitionRead> {
        let client = rack.map(|rack| FetchClient {
            rack: Some(rack.into()).filter(|_| !rack.is_empty()),
            listener: LISTENER.into(),
            compares_replicas: false,
        });
        self.fetch_waiting(from, Reader { kind, follower: None, client }, offset, client_epoch)
    }

    /// As a follower that waits for records.
    pub fn follow_waiting(&self, follower: NodeId, offset: i64) -> Answers<PartitionRead> {
        let follower =
            FollowerId { node: follower, broker_epoch: self.processes.get(&follower).map(|up| up.epoch) };
        let reader = Reader { kind: ReaderKind::Follower, follower: Some(follower), client: None };
        self.fetch_waiting(self.decided.leader, reader, offset, self.decided.leader_epoch)
    }

    fn fetch_waiting(
        &self,
        from: NodeId,
        reader: Reader,
        offset: i64,
        client_epoch: LeaderEpoch,
    ) -> Answers<PartitionRead> {
        let asked = PartitionFetch {
            partition: Ok(self.partition(from)),
            offset: Offset(offset),
            max_bytes: 1 << 20,
            client_epoch,
            last_fetched_epoch: LeaderEpoch::NONE,
            log_start_offset: if reader.follower.is_some() { Offset::ZERO } else { Offset::UNKNOWN },
        };
        let params = FetchParams { reader, max_wait_ms: 500, min_bytes: 1, max_bytes: 1 << 20 };
        let answers: Answers<PartitionRead> = Arc::default();
        let into = Arc::clone(&answers);
        let respond = move |found: Vec<FetchedPartition>, _| {
            into.lock().extend(found.into_iter().map(|found| found.read))
        };
        self.manager(from).fetch(params, vec![asked], self.now, respond);
        answers
    }

    fn serve_list_offsets(&self, leader: NodeId, request: &ListOffsetsRequest) -> ListOffsetsResponse {
        let manager = &self.processes[&leader].manager;
        let topics = request.topics.iter().map(|topic| ListedTopic {
            name: topic.name.clone(),
            partitions: topic
                .partitions
                .iter()
                .map(|asked| {
                    let partition = manager.partition(&topic.name, asked.partition_index);
                    let epoch = LeaderEpoch(asked.current_leader_epoch);
                    let found = partition.ok_or(ErrorCode::UnknownTopicOrPartition).and_then(|partition| {
                        let timestamp = Timestamp(asked.timestamp);
                        partition.offset_for_timestamp(timestamp, epoch, ReaderKind::Follower)
                    });
                    ListedOffset {
                        partition_index: asked.partition_index,
                        error_code: found.as_ref().err().map_or(0, |code| code.code()),
                        offset: found.ok().flatten().map_or(-1, |found| found.offset.0),
                        ..ListedOffset::default()
                    }
                })
                .collect(),
            ..ListedTopic::default()
        });
        ListOffsetsResponse { topics: topics.collect(), ..ListOffsetsResponse::default() }
    }

    /// The controller decides on what leaders ask for, and tells everybody. Whether anything was asked.
    pub fn alter_isrs(&mut self) -> bool {
        let mut was_asked = false;
        for id in ALL {
            while let Some(request) = self.isr_request(id) {
                was_asked = true;
                let answer = self.decide_on(&request);
                self.manager(id).isr_changes_answered(Ok(answer), self.now);
                ALL.into_iter().for_each(|id| self.tell(id));
            }
        }
        was_asked
    }

    pub fn isr_request(&self, id: NodeId) -> Option<AlterPartitionRequest> {
        let process = self.processes.get(&id)?;
        process.manager.next_isr_changes(process.epoch, self.now.mono)
    }

    /// As the controller decides: nobody may join as another process than the one that is registered.
    pub fn decide_on(&mut self, request: &AlterPartitionRequest) -> AlterPartitionResponse {
        let asked = &request.topics[0].partitions[0];
        let is_registered = |id: i32, epoch: i64| {
            let registered = self.registered.active_epoch(NodeId(id));
            registered.is_some_and(|registered| epoch == -1 || registered.value() == epoch)
        };
        let isr = &asked.new_isr_with_epochs;
        let error = if asked.leader_epoch < self.decided.leader_epoch.value() {
            ErrorCode::FencedLeaderEpoch
        } else if asked.partition_epoch < self.decided.partition_epoch {
            ErrorCode::InvalidUpdateVersion
        } else if !isr.iter().all(|member| is_registered(member.broker_id, member.broker_epoch)) {
            ErrorCode::IneligibleReplica
        } else {
            self.decided.isr = isr.iter().map(|member| NodeId(member.broker_id)).collect();
            self.decided.partition_epoch += 1;
            ErrorCode::None
        };
        let partition = alter_partition_response::Partition {
            partition_index: asked.partition_index,
            error_code: error.code(),
            leader_id: self.decided.leader.value(),
            leader_epoch: self.decided.leader_epoch.value(),
            isr: self.decided.isr.iter().map(|id| id.value()).collect(),
            partition_epoch: self.decided.partition_epoch,
            ..alter_partition_response::Partition::default()
        };
        let topic = alter_partition_response::Topic {
            topic_id: request.topics[0].topic_id,
            partitions: vec![partition],
            ..alter_partition_response::Topic::default()
        };
        AlterPartitionResponse { topics: vec![topic], ..AlterPartitionResponse::default() }
    }

    /// All values in a replica's log, above the high watermark too.
    pub fn values(&self, id: NodeId) -> Vec<String> {
        let log = self.log(id);
        let (mut at, mut values) = (log.log_start_offset(), Vec::new());
        loop {
            let found = log.read(at, 1 << 20, FetchIsolation::LogEnd, true).expect("it can be read");
            let Some(slice) = found.records else { return values };
            at = values_in(&slice, &mut values);
        }
    }

    /// What a consumer may read from the leader, which tells its high watermark.
    pub fn high_watermark(&self, id: NodeId) -> i64 {
        self.log(id).high_watermark().0
    }

    pub fn end(&self, id: NodeId) -> i64 {
        self.log(id).log_end_offset().0
    }
}

/// Adds them; returns the offset behind.
pub fn values_in(slice: &FileSlice, values: &mut Vec<String>) -> Offset {
    let mut end = Offset::ZERO;
    for batch in Batches::new(&contents(slice)) {
        let batch = batch.expect("the log is sound");
        values.extend(values_of(&batch));
        end = batch.header().next_offset();
    }
    end
}

fn values_of(batch: &Batch<'_>) -> Vec<String> {
    let mut records = batch.records(1 << 20).expect("they can be read");
    let mut values = Vec::new();
    while let Some(record) = records.next().expect("it is sound") {
        values.push(String::from_utf8(record.value.unwrap_or_default().to_vec()).expect("it is text"));
    }
    values
}

fn contents(slice: &FileSlice) -> Bytes {
    let mut bytes = BytesMut::zeroed(slice.len as usize);
    let read = slice.file.read_at(&mut bytes, slice.position).expect("the file is readable");
    assert_eq!(read, bytes.len());
    bytes.freeze()
}

fn summary(found: &FetchedPartition) -> PartitionSummary {
    PartitionSummary {
        error: found.read.error,
        has_records: !found.read.is_empty(),
        high_watermark: found.read.high_watermark,
        log_start_offset: found.read.log_start_offset,
        has_redirect: found.read.diverging.is_some(),
        is_at_rest: found.is_at_rest,
    }
}

fn fetched_data(partition_index: i32, found: &FetchedPartition) -> FetchedData {
    let read = &found.read;
    let records = read.data.as_ref().and_then(|data| data.records.as_ref());
    FetchedData {
        partition_index,
        error_code: read.error.code(),
        high_watermark: read.high_watermark.0,
        log_start_offset: read.log_start_offset.0,
        diverging_epoch: read.diverging.map_or_else(DivergingEpoch::default, |end| DivergingEpoch {
            epoch: end.epoch.0,
            end_offset: end.end_offset.0,
            ..DivergingEpoch::default()
        }),
        records: records.map_or(Records::EMPTY, |slice| Records::Bytes(contents(slice))),
        ..FetchedData::default()
    }
}

fn batch(values: &[&str], now: Now, sequence: Option<i32>) -> Bytes {
    let options = match sequence {
        Some(base_sequence) => BatchOptions {
            producer_id: ProducerId(77),
            producer_epoch: ProducerEpoch(0),
            base_sequence,
            ..BatchOptions::default()
        },
        None => BatchOptions::default(),
    };
    let mut builder = BatchBuilder::new(options);
    for value in values {
        let record =
            NewRecord { timestamp: now.wall, key: None, value: Some(value.as_bytes()), headers: &[] };
        builder.append(&record).expect("it fits");
    }
    Bytes::from(builder.build().expect("it is sound"))
}

/// What a producer was told: the code of a refusal, or the offset.
pub fn told(answers: &Answers<ProduceResult>) -> Option<Result<i64, ErrorCode>> {
    let result = taken(answers).pop()?;
    Some(match result.refusal {
        Some(refusal) => Err(refusal.code),
        None => Ok(result.base_offset.0),
    })
}
