//! What happens to two leaders alike, of which one looks at everything.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_types::{BrokerEpoch, LeaderEpoch, NodeId, Now, Offset, TopicIdPartition, TopicPartition};
use ottla_wire::ErrorCode;
use ottla_wire::messages::alter_partition_response::{Partition as Decided, Topic};
use ottla_wire::messages::{AlterPartitionRequest, AlterPartitionResponse};
use proptest::collection::vec;
use proptest::prelude::*;

use super::side::{ALL, Answer, FOLLOWERS, LAG_MS, PARTITIONS, Registered, Side, TOPIC_ID, key};
use crate::fetch_session::{FetchPartition, NO_SESSION, SessionRequest};
use crate::tests::{LOCAL, at, taken};
use crate::{Assignment, Brokers, FetchParams, FollowerId, Reader, ReaderKind};

/// What a follower says of one partition.
#[derive(Clone, Copy, Debug)]
pub(super) enum Says {
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
pub(super) enum Step {
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

pub(super) fn step() -> impl Strategy<Value = Step> {
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
pub(super) struct Follower {
    /// Its ids on both sides, and the epoch of its next request.
    pub session: Option<([i32; 2], i32)>,
    /// What the session has.
    named: BTreeMap<i32, FetchPartition>,
    /// Its request that is not answered.
    waits: Option<usize>,
}

/// The same happens to both.
pub(super) struct Run {
    pub registered: Arc<Registered>,
    pub walks: Side,
    pub hears: Side,
    decided: Vec<Assignment>,
    pub followers: [Follower; 2],
    requests: usize,
    next_epoch: i64,
    pub now: Now,
}

impl Run {
    pub fn new() -> Run {
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

    pub fn both(&self, act: impl Fn(&Side)) {
        act(&self.walks);
        act(&self.hears);
    }

    pub fn step(&mut self, step: Step) {
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

    pub fn alter_isrs(&mut self, is_refused: bool) {
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

    pub fn said(&self, partition: i32, says: Says) -> Option<FetchPartition> {
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

    pub fn compare(&mut self) {
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
