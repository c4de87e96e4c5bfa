//! A leader with its logs, and what can be seen of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use ottla_log::disk::SimDisk;
use ottla_log::producer_state::ProducerStateConfig;
use ottla_log::{LogConfig, LogContext, OpenError, OpenLog, UnifiedLog};
use ottla_record::AppendOrigin;
use ottla_types::{BrokerEpoch, LeaderEpoch, NodeId, Now, Offset, TopicPartition, Uuid};
use ottla_wire::ErrorCode;
use parking_lot::Mutex;

use crate::fetch_session::{FetchContext, FetchSessions, PartitionKey, PartitionSummary, SessionRequest};
use crate::tests::{Answers, FETCHERS, LOCAL, at, batch, logs};
use crate::{
    Assignment, Brokers, FetchParams, FetchedPartition, Partition, ProduceEntry, ProduceParams, RateWindow,
    ReplicaManager, ReplicaSelector, ReplicaSettings,
};

pub(super) const TOPIC_ID: Uuid = Uuid([3; 16]);
pub(super) const PARTITIONS: i32 = 3;
pub(super) const FOLLOWERS: [NodeId; 2] = [NodeId(2), NodeId(3)];
pub(super) const ALL: [NodeId; 3] = [LOCAL, FOLLOWERS[0], FOLLOWERS[1]];
pub(super) const LAG_MS: i64 = 10_000;

#[derive(Debug, Default)]
pub(super) struct Registered(pub Mutex<BTreeMap<NodeId, BrokerEpoch>>);

impl Brokers for Registered {
    fn active_epoch(&self, broker: NodeId) -> Option<BrokerEpoch> {
        self.0.lock().get(&broker).copied()
    }

    fn directory(&self, _: NodeId, _: Uuid, _: i32) -> Option<Uuid> {
        None
    }

    fn is_lost(&self, _: NodeId, _: Uuid, _: i32) -> bool {
        false
    }

    fn rack(&self, _: NodeId, _: &str) -> Option<String> {
        None
    }
}

/// A partition as an answer has it: error, high watermark, log start, bytes, and where logs part.
pub(super) type Told = (i32, ErrorCode, Offset, Offset, u32, Option<(LeaderEpoch, Offset)>);

/// Which request is answered, with which session, and what of its partitions.
pub(super) type Answer = (usize, i32, Vec<Told>);

/// A leader.
pub(super) struct Side {
    pub manager: Arc<ReplicaManager>,
    pub sessions: Arc<FetchSessions>,
    logs: Vec<Arc<UnifiedLog>>,
    pub answers: Answers<Answer>,
    /// What was looked at for each of those.
    pub looks: Answers<Vec<i32>>,
    produced: Answers<(Option<ErrorCode>, Offset)>,
    deleted: Answers<Result<Offset, ErrorCode>>,
    looks_at_everything: bool,
}

impl Side {
    pub fn new(registered: &Arc<Registered>, looks_at_everything: bool) -> Side {
        let settings = ReplicaSettings {
            producer_purgatory_purge_interval: 1000,
            fetch_purgatory_purge_interval: 10,
            delete_records_purgatory_purge_interval: 1000,
            share_fetch_purgatory_purge_interval: 1000,
            lag_time_max_ms: LAG_MS,
            selector: ReplicaSelector::Leader,
            fetchers: FETCHERS,
            quota_window: RateWindow::default(),
            moves_window: RateWindow::default(),
            moves_at_once: 1,
        };
        let disk = SimDisk::new(1);
        let manager = ReplicaManager::new(
            LOCAL,
            settings,
            logs(&disk),
            Arc::clone(registered) as _,
            Arc::new(|_| {}),
            Arc::new(|job| job()),
        );
        let context = LogContext::new(Arc::new(disk), ProducerStateConfig::default());
        Side {
            manager: Arc::new(manager),
            sessions: Arc::new(FetchSessions::new(10, 7)),
            logs: (0..PARTITIONS).map(|partition| open(&context, partition).expect("it opens")).collect(),
            answers: Arc::default(),
            looks: Arc::default(),
            produced: Arc::default(),
            deleted: Arc::default(),
            looks_at_everything,
        }
    }

    pub fn partition(&self, partition: i32) -> Option<Arc<Partition>> {
        self.manager.partition_by_id(TOPIC_ID, partition)
    }

    pub fn log(&self, partition: i32) -> &Arc<UnifiedLog> {
        &self.logs[partition as usize]
    }

    pub fn assign(&self, decided: &Assignment, now: Now) {
        let log = Arc::clone(self.log(decided.partition.topic_partition.partition));
        self.manager.assign(decided.clone(), || Ok::<_, OpenError>(log), now).expect("the log is open");
    }

    pub fn produce(&self, partition: i32, acks: i16, now: Now) {
        let into = Arc::clone(&self.produced);
        let replica = self.partition(partition).ok_or(ErrorCode::UnknownTopicId);
        let entry = ProduceEntry::new(replica, batch(&["v"], now));
        let origin = AppendOrigin::Client;
        let params = ProduceParams { required_acks: acks, timeout_ms: 800, origin, transaction_version: 0 };
        self.manager.produce(params, vec![entry], now, move |results| {
            let told = results.into_iter().map(|it| (it.refusal.map(|refusal| refusal.code), it.base_offset));
            into.lock().extend(told);
        });
    }

    pub fn delete_records(&self, partition: i32, now: Now) {
        let into = Arc::clone(&self.deleted);
        let replica = self.partition(partition).ok_or(ErrorCode::UnknownTopicId);
        let respond = move |results: Vec<_>| into.lock().extend(results);
        self.manager.delete_records(vec![(replica, Offset::UNKNOWN)], 700, now, respond);
    }

    /// Notes the answer, and what was looked at for it.
    pub fn fetch(&self, number: usize, session: SessionRequest, params: FetchParams, now: Now) {
        let (looks, into) = (Arc::clone(&self.looks), Arc::clone(&self.answers));
        self.fetch_for(session, params, now, move |id, found| {
            looks.lock().push(found.iter().map(|(key, ..)| key.partition).collect());
            let told = found.iter().filter(|(.., is_carried)| *is_carried);
            let told = told.map(|(key, found, _)| told_of(key.partition, found)).collect();
            into.lock().push((number, id, told));
        });
    }

    /// Answers with the session's id, and with what was found, of which an answer carries some.
    pub fn fetch_for(
        &self,
        mut session: SessionRequest,
        params: FetchParams,
        now: Now,
        respond: impl FnOnce(i32, Vec<(PartitionKey, FetchedPartition, bool)>) + Send + 'static,
    ) {
        if self.looks_at_everything {
            session.follower = None;
        }
        let context = self.sessions.begin(session, now.mono).expect("the request fits the session");
        let manager = Arc::clone(&self.manager);
        let find = Box::new(move |key: &PartitionKey| {
            manager.partition_by_id(key.topic_id, key.partition).ok_or(ErrorCode::UnknownTopicId)
        });
        let sessions = Arc::clone(&self.sessions);
        let respond = move |context: FetchContext, found: Vec<FetchedPartition>, now: Now| {
            let keys: Vec<_> = context.partitions.iter().map(|asked| asked.key.clone()).collect();
            let summaries: Vec<_> = keys.iter().cloned().zip(found.iter().map(summary)).collect();
            let (id, carried) = sessions.finish(context, &summaries, now.mono);
            let found = keys.into_iter().zip(found).zip(carried);
            respond(id, found.map(|((key, found), is_carried)| (key, found, is_carried)).collect());
        };
        self.manager.fetch_in_session(params, context, find, now, respond);
    }

    /// All that can be seen of it.
    pub fn seen(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        let of = |partition: i32| {
            let log = self.log(partition);
            let offsets = (log.log_start_offset(), log.high_watermark(), log.log_end_offset());
            let known =
                self.partition(partition).map(|replica| (replica.known_followers(), replica.is_leader()));
            (offsets, known)
        };
        let produced = self.produced.lock().clone();
        (produced, self.deleted.lock().clone(), (0..PARTITIONS).map(of).collect::<Vec<_>>())
    }
}

fn open(context: &Arc<LogContext>, partition: i32) -> Result<Arc<UnifiedLog>, OpenError> {
    let dir = PathBuf::from(format!("/data/t-{partition}"));
    context.disk.create_dir_all(&dir).expect("a directory can be made");
    let params = OpenLog {
        partition: TopicPartition::new("t", partition),
        dir,
        context: Arc::clone(context),
        config: Arc::new(LogConfig::default()),
        log_start_offset: Offset::ZERO,
        recovery_point: Offset::ZERO,
        had_clean_shutdown: false,
        topic_id: Some(TOPIC_ID),
    };
    UnifiedLog::open(params, at(0))
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

fn told_of(partition: i32, FetchedPartition { read, .. }: &FetchedPartition) -> Told {
    let parts = read.diverging.map(|end| (end.epoch, end.end_offset));
    (partition, read.error, read.high_watermark, read.log_start_offset, read.len(), parts)
}

pub(super) fn key(partition: i32) -> PartitionKey {
    PartitionKey { topic_id: TOPIC_ID, topic: "".into(), partition }
}
