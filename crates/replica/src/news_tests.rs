//! Followers' fetches that look only at what has changed are answered as those that look at everything, whatever happens in
//! between; and leaders know the same of their followers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use ottla_log::disk::SimDisk;
use ottla_log::producer_state::ProducerStateConfig;
use ottla_log::{LogConfig, LogContext, OpenError, OpenLog, UnifiedLog};
use ottla_record::AppendOrigin;
use ottla_testkit::cases;
use ottla_types::{BrokerEpoch, LeaderEpoch, NodeId, Now, Offset, TopicIdPartition, TopicPartition, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::alter_partition_response::{Partition as Decided, Topic};
use ottla_wire::messages::{AlterPartitionRequest, AlterPartitionResponse};
use parking_lot::Mutex;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::fetch_session::{
    FetchContext, FetchPartition, FetchSessions, NO_SESSION, PartitionKey, PartitionSummary, SessionRequest,
};
use crate::tests::{Answers, FETCHERS, LOCAL, at, batch, logs, taken};
use crate::{
    Assignment, Brokers, FetchParams, FetchedPartition, FollowerId, Partition, ProduceEntry, ProduceParams,
    RateWindow, Reader, ReaderKind, ReplicaManager, ReplicaSelector, ReplicaSettings,
};

const TOPIC_ID: Uuid = Uuid([3; 16]);
const PARTITIONS: i32 = 3;
const FOLLOWERS: [NodeId; 2] = [NodeId(2), NodeId(3)];
const ALL: [NodeId; 3] = [LOCAL, FOLLOWERS[0], FOLLOWERS[1]];
const LAG_MS: i64 = 10_000;

#[derive(Debug, Default)]
struct Registered(Mutex<BTreeMap<NodeId, BrokerEpoch>>);

impl Brokers for Registered {
    fn active_epoch(&self, broker: NodeId) -> Option<BrokerEpoch> {
        self.0.lock().get(&broker).copied()
    }

    fn directory(&self, _: NodeId, _: Uuid, _: i32) -> Option<Uuid> {
        None
    }

    fn rack(&self, _: NodeId, _: &str) -> Option<String> {
        None
    }
}

/// A partition as an answer has it: error, high watermark, log start, bytes, and where logs part.
type Told = (i32, ErrorCode, Offset, Offset, u32, Option<(LeaderEpoch, Offset)>);

/// Which request is answered, with which session, and what of its partitions.
type Answer = (usize, i32, Vec<Told>);

/// A leader.
struct Side {
    manager: Arc<ReplicaManager>,
    sessions: Arc<FetchSessions>,
    logs: Vec<Arc<UnifiedLog>>,
    answers: Answers<Answer>,
    /// What was looked at for each of those.
    looks: Answers<Vec<i32>>,
    produced: Answers<(Option<ErrorCode>, Offset)>,
    deleted: Answers<Result<Offset, ErrorCode>>,
    looks_at_everything: bool,
}

impl Side {
    fn new(registered: &Arc<Registered>, looks_at_everything: bool) -> Side {
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

    fn partition(&self, partition: i32) -> Option<Arc<Partition>> {
        self.manager.partition_by_id(TOPIC_ID, partition)
    }

    fn log(&self, partition: i32) -> &Arc<UnifiedLog> {
        &self.logs[partition as usize]
    }

    fn assign(&self, decided: &Assignment, now: Now) {
        let log = Arc::clone(self.log(decided.partition.topic_partition.partition));
        self.manager.assign(decided.clone(), || Ok::<_, OpenError>(log), now).expect("the log is open");
    }

    fn produce(&self, partition: i32, acks: i16, now: Now) {
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

    fn delete_records(&self, partition: i32, now: Now) {
        let into = Arc::clone(&self.deleted);
        let replica = self.partition(partition).ok_or(ErrorCode::UnknownTopicId);
        let respond = move |results: Vec<_>| into.lock().extend(results);
        self.manager.delete_records(vec![(replica, Offset::UNKNOWN)], 700, now, respond);
    }

    fn fetch(&self, number: usize, mut session: SessionRequest, params: FetchParams, now: Now) {
        if self.looks_at_everything {
            session.follower = None;
        }
        let context = self.sessions.begin(session, now.mono).expect("the request fits the session");
        let manager = Arc::clone(&self.manager);
        let find = Box::new(move |key: &PartitionKey| {
            manager.partition_by_id(key.topic_id, key.partition).ok_or(ErrorCode::UnknownTopicId)
        });
        let (sessions, into) = (Arc::clone(&self.sessions), Arc::clone(&self.answers));
        let looks = Arc::clone(&self.looks);
        let respond = move |context: FetchContext, found: Vec<FetchedPartition>, now: Now| {
            let keys = context.partitions.iter().map(|asked| asked.key.clone());
            looks.lock().push(keys.clone().map(|key| key.partition).collect());
            let summaries: Vec<_> = keys.zip(found.iter().map(summary)).collect();
            let (id, carried) = sessions.finish(context, &summaries, now.mono);
            let told = summaries.iter().zip(&found).zip(carried).filter(|(_, is_carried)| *is_carried);
            let told = told.map(|(((key, _), found), _)| told_of(key.partition, found)).collect();
            into.lock().push((number, id, told));
        };
        self.manager.fetch_in_session(params, context, find, now, respond);
    }

    /// All that can be seen of it.
    fn seen(&self) -> impl PartialEq + std::fmt::Debug + use<> {
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

fn key(partition: i32) -> PartitionKey {
    PartitionKey { topic_id: TOPIC_ID, topic: "".into(), partition }
}

/// What a follower says of one partition.
#[derive(Clone, Copy, Debug)]
enum Says {
    Nothing,
    /// That it has everything.
    End,
    Behind,
    Start,
    /// An epoch that the leader is not in.
    OtherEpoch,
    /// The epoch of its last record is one that nobody wrote in.
    OtherLog,
    NoMore,
}

#[derive(Clone, Debug)]
enum Step {
    Produce {
        partition: i32,
        acks: i16,
    },
    Fetch {
        follower: usize,
        says: Vec<Says>,
        begins: bool,
        max_wait_ms: i32,
        min_bytes: u32,
        max_bytes: u32,
    },
    Pass {
        ms: u64,
    },
    DeleteRecords {
        partition: i32,
    },
    /// This node begins to lead in a new epoch.
    Lead {
        partition: i32,
    },
    /// Another does.
    Follow {
        partition: i32,
    },
    /// The controller changes the ISR.
    Isr {
        partition: i32,
        members: [bool; 2],
    },
    /// It decides on what leaders ask for.
    AlterIsrs {
        is_refused: bool,
    },
    /// A process is registered, or gone.
    Register {
        follower: usize,
        is_gone: bool,
    },
    Remove {
        partition: i32,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let partition = 0..PARTITIONS;
    let follower = 0..FOLLOWERS.len();
    let says = prop_oneof![
        10 => Just(Says::Nothing),
        14 => Just(Says::End),
        2 => Just(Says::Behind),
        1 => Just(Says::Start),
        1 => Just(Says::OtherEpoch),
        1 => Just(Says::OtherLog),
        1 => Just(Says::NoMore),
    ];
    let fetch = (
        follower.clone(),
        vec(says, PARTITIONS as usize),
        prop::bool::weighted(0.1),
        prop_oneof![2 => Just(0), 3 => Just(500)],
        prop_oneof![4 => Just(1), 1 => Just(150)],
        prop_oneof![3 => Just(1 << 20), 1 => Just(100)],
    );
    prop_oneof![
        8 => (partition.clone(), prop_oneof![Just(-1), Just(1)])
            .prop_map(|(partition, acks)| Step::Produce { partition, acks }),
        20 => fetch.prop_map(|(follower, says, begins, max_wait_ms, min_bytes, max_bytes)| {
            Step::Fetch { follower, says, begins, max_wait_ms, min_bytes, max_bytes }
        }),
        5 => prop_oneof![Just(100), Just(500), Just(4_000), Just(LAG_MS as u64)].prop_map(|ms| Step::Pass { ms }),
        1 => partition.clone().prop_map(|partition| Step::DeleteRecords { partition }),
        2 => partition.clone().prop_map(|partition| Step::Lead { partition }),
        1 => partition.clone().prop_map(|partition| Step::Follow { partition }),
        2 => (partition.clone(), any::<[bool; 2]>())
            .prop_map(|(partition, members)| Step::Isr { partition, members }),
        3 => prop::bool::weighted(0.3).prop_map(|is_refused| Step::AlterIsrs { is_refused }),
        1 => (follower, any::<bool>()).prop_map(|(follower, is_gone)| Step::Register { follower, is_gone }),
        1 => partition.prop_map(|partition| Step::Remove { partition }),
    ]
}

#[derive(Default)]
struct Follower {
    /// Its ids on both sides, and the epoch of its next request.
    session: Option<([i32; 2], i32)>,
    /// What the session has.
    named: BTreeMap<i32, FetchPartition>,
    /// Its request that is not answered.
    waits: Option<usize>,
}

/// The same happens to both.
struct Run {
    registered: Arc<Registered>,
    walks: Side,
    hears: Side,
    decided: Vec<Assignment>,
    followers: [Follower; 2],
    requests: usize,
    next_epoch: i64,
    now: Now,
}

impl Run {
    fn new() -> Run {
        let registered = Arc::<Registered>::default();
        registered.0.lock().extend((0..).map(BrokerEpoch).zip(FOLLOWERS).map(|(epoch, id)| (id, epoch)));
        let decided = (0..PARTITIONS).map(|partition| Assignment {
            partition: TopicIdPartition {
                topic_id: TOPIC_ID,
                topic_partition: TopicPartition::new("t", partition),
            },
            leader: LOCAL,
            leader_epoch: LeaderEpoch(0),
            partition_epoch: 0,
            replicas: ALL.to_vec(),
            isr: ALL.to_vec(),
            min_insync_replicas: 1,
        });
        let run = Run {
            walks: Side::new(&registered, true),
            hears: Side::new(&registered, false),
            registered,
            decided: decided.collect(),
            followers: Default::default(),
            requests: 0,
            next_epoch: 100,
            now: at(1_000),
        };
        run.decided.iter().for_each(|decided| run.both(|side| side.assign(decided, run.now)));
        run
    }

    fn both(&self, act: impl Fn(&Side)) {
        act(&self.walks);
        act(&self.hears);
    }

    fn step(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Produce { partition, acks } => self.both(|side| side.produce(partition, acks, now)),
            Step::Fetch { follower, says, begins, max_wait_ms, min_bytes, max_bytes } => {
                let is_under_way = self.followers[follower].waits.is_some();
                if begins || !is_under_way {
                    self.fetch(follower, &says, begins, (max_wait_ms, min_bytes, max_bytes));
                }
            }
            Step::Pass { ms } => {
                self.now = at(now.mono.0 + ms);
                self.both(|side| side.manager.tick(self.now));
            }
            Step::DeleteRecords { partition } => self.both(|side| side.delete_records(partition, now)),
            Step::Lead { partition } => self.decide(partition, |decided| {
                decided.leader = LOCAL;
                decided.leader_epoch = LeaderEpoch(decided.leader_epoch.value() + 1);
            }),
            Step::Follow { partition } => self.decide(partition, |decided| {
                decided.leader = FOLLOWERS[0];
                decided.leader_epoch = LeaderEpoch(decided.leader_epoch.value() + 1);
            }),
            Step::Isr { partition, members } => self.decide(partition, |decided| {
                let others = FOLLOWERS.into_iter().zip(members).filter(|(_, is)| *is).map(|(id, _)| id);
                decided.isr = std::iter::once(LOCAL).chain(others).collect();
            }),
            Step::AlterIsrs { is_refused } => self.alter_isrs(is_refused),
            Step::Register { follower, is_gone } => {
                let id = FOLLOWERS[follower];
                self.next_epoch += 1;
                let mut registered = self.registered.0.lock();
                match is_gone {
                    true => drop(registered.remove(&id)),
                    false => drop(registered.insert(id, BrokerEpoch(self.next_epoch))),
                }
            }
            Step::Remove { partition } => self.both(|side| {
                // As who looks for it anew is told.
                let code = ErrorCode::UnknownTopicId;
                side.manager.remove(&TopicPartition::new("t", partition), code, now);
            }),
        }
        self.compare();
    }

    fn decide(&mut self, partition: i32, change: impl FnOnce(&mut Assignment)) {
        let decided = &mut self.decided[partition as usize];
        change(decided);
        decided.partition_epoch += 1;
        let decided = decided.clone();
        self.both(|side| side.assign(&decided, self.now));
    }

    fn alter_isrs(&mut self, is_refused: bool) {
        let asked = |side: &Side| side.manager.next_isr_changes(BrokerEpoch(1), self.now.mono);
        let (walks, hears) = (asked(&self.walks), asked(&self.hears));
        assert_eq!(walks, hears, "they want other ISRs");
        let Some(request) = walks else { return };
        let response = self.decided_on(&request, is_refused);
        self.both(|side| side.manager.isr_changes_answered(Ok(response.clone()), self.now));
    }

    fn decided_on(&mut self, request: &AlterPartitionRequest, is_refused: bool) -> AlterPartitionResponse {
        let partitions = request.topics[0].partitions.iter().map(|asked| {
            let decided = &mut self.decided[asked.partition_index as usize];
            let is_stale = asked.partition_epoch < decided.partition_epoch;
            let code = match (is_stale, is_refused) {
                (true, _) => ErrorCode::InvalidUpdateVersion,
                (false, true) => ErrorCode::IneligibleReplica,
                (false, false) => {
                    let members = asked.new_isr_with_epochs.iter();
                    decided.isr = members.map(|member| NodeId(member.broker_id)).collect();
                    decided.partition_epoch += 1;
                    ErrorCode::None
                }
            };
            Decided {
                partition_index: asked.partition_index,
                error_code: code.code(),
                leader_id: decided.leader.value(),
                leader_epoch: decided.leader_epoch.value(),
                isr: decided.isr.iter().map(|id| id.value()).collect(),
                partition_epoch: decided.partition_epoch,
                ..Decided::default()
            }
        });
        let partitions = partitions.collect();
        let topic = Topic { topic_id: request.topics[0].topic_id, partitions, ..Topic::default() };
        AlterPartitionResponse { topics: vec![topic], ..AlterPartitionResponse::default() }
    }

    fn fetch(&mut self, index: usize, says: &[Says], begins: bool, (wait, min, max): (i32, u32, u32)) {
        let node = FOLLOWERS[index];
        let broker_epoch = self.registered.active_epoch(node);
        let follower = FollowerId { node, broker_epoch };
        let (mut named, mut forgotten) = (Vec::new(), Vec::new());
        for (partition, says) in (0..).zip(says) {
            match (self.said(partition, *says), says) {
                (Some(asked), _) => named.push(asked),
                (None, Says::NoMore) => forgotten.push(key(partition)),
                (None, _) => {}
            }
        }
        let model = &mut self.followers[index];
        let [of_walks, of_hears] = model.session.map_or([NO_SESSION; 2], |(ids, _)| ids);
        let session_epoch = model.session.filter(|_| !begins).map_or(0, |(_, epoch)| epoch);
        if session_epoch == 0 {
            model.named.clear();
            forgotten.clear();
        }
        forgotten.retain(|key| model.named.remove(&key.partition).is_some());
        model.named.extend(named.iter().map(|asked| (asked.key.partition, asked.clone())));
        if model.named.is_empty() {
            model.session = None;
            model.waits = None;
            if session_epoch == 0 {
                return;
            }
        }
        self.requests += 1;
        let number = self.requests;
        model.waits = Some(number);
        let session = SessionRequest {
            session_id: of_walks,
            session_epoch,
            partitions: named,
            forgotten,
            uses_topic_ids: true,
            follower: Some(follower),
        };
        let reader = Reader { kind: ReaderKind::Follower, follower: Some(follower), client: None };
        let params = FetchParams { reader, max_wait_ms: wait, min_bytes: min, max_bytes: max };
        self.walks.fetch(number, session.clone(), params.clone(), self.now);
        let session = SessionRequest { session_id: of_hears, ..session };
        self.hears.fetch(number, session, params, self.now);
    }

    fn said(&self, partition: i32, says: Says) -> Option<FetchPartition> {
        let log = self.walks.log(partition);
        let (end, start) = (log.log_end_offset(), log.log_start_offset());
        let epoch = self.decided[partition as usize].leader_epoch.value();
        let latest = log.latest_epoch().map_or(-1, |epoch| epoch.value());
        let (offset, epoch, last_epoch) = match says {
            Says::Nothing | Says::NoMore => return None,
            Says::End => (end, epoch, latest),
            Says::Behind => (Offset((end.0 - 1).max(start.0)), epoch, -1),
            Says::Start => (Offset::ZERO, epoch, -1),
            Says::OtherEpoch => (end, epoch + 1, latest),
            Says::OtherLog => (Offset(end.0 + 1), epoch, latest),
        };
        Some(FetchPartition {
            key: key(partition),
            fetch_offset: offset,
            log_start_offset: start,
            max_bytes: 1 << 20,
            current_leader_epoch: epoch,
            last_fetched_epoch: last_epoch,
        })
    }

    fn compare(&mut self) {
        let (mut walked, mut heard) = (taken(&self.walks.answers), taken(&self.hears.answers));
        // What a follower does not wait for any more may be answered earlier.
        let waits = |answer: &Answer| self.followers.iter().any(|model| model.waits == Some(answer.0));
        walked.retain(waits);
        heard.retain(waits);
        walked.sort_by_key(|answer| answer.0);
        heard.sort_by_key(|answer| answer.0);
        let told = |answers: &[Answer]| -> Vec<_> {
            let told = answers.iter().map(|(number, id, told)| (*number, *id == NO_SESSION, told.clone()));
            told.collect()
        };
        assert_eq!(told(&walked), told(&heard), "they are answered otherwise");
        for ((number, of_walks, _), (_, of_hears, _)) in walked.into_iter().zip(heard) {
            let Some(model) = self.followers.iter_mut().find(|model| model.waits == Some(number)) else {
                continue;
            };
            model.waits = None;
            model.session = match model.session {
                _ if of_walks == NO_SESSION => None,
                Some((known, epoch)) if known == [of_walks, of_hears] => Some((known, epoch + 1)),
                _ => Some(([of_walks, of_hears], 1)),
            };
        }
        assert_eq!(self.walks.seen(), self.hears.seen(), "leaders know otherwise");
    }
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn a_look_at_what_has_changed_is_one_at_everything(steps in vec(step(), 1..120)) {
        let mut run = Run::new();
        for step in steps {
            run.step(step);
        }
        // And in the end nothing waits that does not wait on the other side.
        run.step(Step::Pass { ms: 1_000 });
        run.step(Step::Pass { ms: LAG_MS as u64 });
        run.alter_isrs(false);
        run.compare();
    }
}

/// What the follower that is told of first says of all partitions, in a fetch that waits for nothing.
fn fetch(says: Says, begins: bool, max_wait_ms: i32) -> Step {
    let says = vec![says; PARTITIONS as usize];
    Step::Fetch { follower: 0, says, begins, max_wait_ms, min_bytes: 1, max_bytes: 1 << 20 }
}

#[test]
fn a_fetch_looks_at_what_has_changed_alone() {
    let mut run = Run::new();
    let mut looks = |steps: &[Step]| {
        steps.iter().for_each(|step| run.step(step.clone()));
        taken(&run.hears.looks)
    };
    let again = fetch(Says::Nothing, false, 0);
    assert_eq!(looks(&[fetch(Says::End, false, 0), again.clone()]), [vec![0, 1, 2], vec![]]);
    // It is looked at until the follower is known to have it, and who waits for that is served.
    let produce = Step::Produce { partition: 1, acks: -1 };
    assert_eq!(looks(&[produce.clone(), again.clone(), again.clone()]), [[1], [1]]);
    let mut says = vec![Says::Nothing; PARTITIONS as usize];
    says[1] = Says::End;
    let has_it = Step::Fetch {
        follower: 0,
        says: says.clone(),
        begins: false,
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: 1 << 20,
    };
    assert_eq!(looks(&[has_it, again.clone()]), [[1], [1]], "the other follower does not have it");
    let other = Step::Fetch {
        follower: 1,
        says: vec![Says::End; PARTITIONS as usize],
        begins: false,
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: 1 << 20,
    };
    assert_eq!(looks(&[other, again.clone(), again.clone()]), [vec![0, 1, 2], vec![1], vec![]]);
    let waits = fetch(Says::Nothing, false, 500);
    assert_eq!(looks(&[waits, produce]), [[1]], "what it waits for has come");
}

#[test]
fn who_waits_is_told_of_a_leader_that_changes() {
    for change in [Step::Lead { partition: 2 }, Step::Follow { partition: 2 }, Step::Remove { partition: 2 }]
    {
        let mut run = Run::new();
        for step in [fetch(Says::End, false, 0), fetch(Says::Nothing, false, 500), change] {
            run.step(step);
        }
        assert_eq!(taken(&run.hears.looks), [vec![0, 1, 2], vec![2]]);
    }
}

#[test]
fn who_waits_in_a_session_that_its_follower_has_replaced_is_answered() {
    let mut run = Run::new();
    run.step(fetch(Says::End, false, 0));
    run.step(fetch(Says::Nothing, false, 500));
    assert!(taken(&run.hears.looks).len() == 1, "the second waits");
    run.step(fetch(Says::End, true, 0));
    assert_eq!(taken(&run.hears.looks), [vec![], vec![0, 1, 2]]);
}

/// Such as one that was given up, and comes after the one that was sent instead.
#[test]
fn a_fetch_of_another_session_lets_no_session_believe_what_it_knew() {
    let mut run = Run::new();
    run.step(fetch(Says::End, false, 0));
    let ([id, _], epoch) = run.followers[0].session.take().expect("a session");
    run.step(Step::Produce { partition: 0, acks: 1 });
    run.step(Step::Isr { partition: 0, members: [true, false] });
    run.step(Step::Pass { ms: LAG_MS as u64 + 1 });
    // What a fetch moves itself is looked at once more.
    for says in [Says::End, Says::Nothing, Says::Nothing] {
        run.step(fetch(says, false, 0));
    }
    assert_eq!(taken(&run.hears.looks), [vec![0, 1, 2], vec![0, 1, 2], vec![0], vec![]]);
    let session = SessionRequest {
        session_id: id,
        session_epoch: epoch,
        partitions: vec![run.said(0, Says::Behind).expect("it says where it is")],
        uses_topic_ids: true,
        follower: Some(FollowerId { node: FOLLOWERS[0], broker_epoch: Some(BrokerEpoch(0)) }),
        ..SessionRequest::default()
    };
    let reader = Reader { kind: ReaderKind::Follower, follower: session.follower, client: None };
    let params = FetchParams { reader, max_wait_ms: 0, min_bytes: 1, max_bytes: 1 << 20 };
    run.both(|side| side.fetch(0, session.clone(), params.clone(), run.now));
    run.step(fetch(Says::Nothing, false, 0));
    assert_eq!(taken(&run.hears.looks), [[0, 1, 2], [0, 1, 2]]);
    let (walks, hears) = (run.walks.partition(0), run.hears.partition(0));
    assert_eq!(walks.map(|it| it.known_followers()), hears.map(|it| it.known_followers()));
}
