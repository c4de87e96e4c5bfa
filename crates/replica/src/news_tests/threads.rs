//! Leaders' threads at once: whoever waits is told of what it waits for, in whatever order they come to it. Nothing here comes to
//! an end by its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use ottla_record::AppendOrigin;
use ottla_types::{BrokerEpoch, LeaderEpoch, NodeId, Offset, TopicIdPartition, TopicPartition};

use super::side::{ALL, FOLLOWERS, PARTITIONS, Registered, Side, TOPIC_ID, key};
use crate::fetch_session::{FetchPartition, NO_SESSION, SessionRequest};
use crate::tests::{LOCAL, at, batch};
use crate::{
    Assignment, FetchParams, FollowerId, PartitionFetch, ProduceEntry, ProduceParams, Reader, ReaderKind,
};

/// Batches of one record to each partition.
const BATCHES: i64 = 200;
/// On the leader's clock.
const FOR_EVER_MS: i32 = i32::MAX;
const LEADER_EPOCH: i32 = 0;
/// Each so many fetches a follower begins a new session.
const SESSION_EACH: u32 = 16;
/// On a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

fn leader() -> Side {
    let registered = Arc::<Registered>::default();
    registered.0.lock().extend((0..).map(BrokerEpoch).zip(FOLLOWERS).map(|(epoch, id)| (id, epoch)));
    let side = Side::new(&registered, false);
    for partition in 0..PARTITIONS {
        let id =
            TopicIdPartition { topic_id: TOPIC_ID, topic_partition: TopicPartition::new("t", partition) };
        let assignment = Assignment {
            partition: id,
            leader: LOCAL,
            leader_epoch: LeaderEpoch(LEADER_EPOCH),
            partition_epoch: 0,
            replicas: ALL.to_vec(),
            isr: ALL.to_vec(),
            min_insync_replicas: 3,
        };
        side.assign(&assignment, at(0));
    }
    side
}

fn come<T>(answer: &Receiver<T>, what: &str) -> T {
    answer.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{what} still waits, for what is there"))
}

/// Writes to these partitions in turn; each batch is on all replicas before the next is sent.
fn produce(side: &Side, partitions: &[i32]) {
    for _ in 0..BATCHES {
        for partition in partitions {
            let replica = side.partition(*partition).expect("it is there");
            let (sender, answer) = mpsc::channel();
            let origin = AppendOrigin::Client;
            let params =
                ProduceParams { required_acks: -1, timeout_ms: FOR_EVER_MS, origin, transaction_version: 0 };
            let entry = ProduceEntry::new(Ok(replica), batch(&["v"], at(0)));
            side.manager.produce(params, vec![entry], at(0), move |results| {
                sender.send(results[0].refusal.as_ref().map(|refusal| refusal.code)).expect("it waits");
            });
            assert_eq!(come(&answer, "a producer"), None);
        }
    }
}

/// Takes over whatever comes, until it is to end.
fn follow(side: &Side, node: NodeId, is_over: &AtomicBool) {
    let broker_epoch = side.manager.rules.brokers.active_epoch(node);
    let follower = Some(FollowerId { node, broker_epoch });
    let reader = Reader { kind: ReaderKind::Follower, follower, client: None };
    let params = FetchParams { reader, max_wait_ms: FOR_EVER_MS, min_bytes: 1, max_bytes: 1 << 20 };
    let mut positions = [Offset::ZERO; PARTITIONS as usize];
    let mut told = [None; PARTITIONS as usize];
    let (mut session_id, mut session_epoch, mut fetches) = (NO_SESSION, 0, 0);
    while !is_over.load(Ordering::Acquire) {
        fetches += 1;
        if fetches % SESSION_EACH == 0 {
            session_epoch = 0;
        }
        if session_epoch == 0 {
            told = Default::default();
        }
        let mut partitions = Vec::new();
        for (partition, (position, told)) in (0..).zip(positions.iter().zip(&mut told)) {
            if told.replace(*position) != Some(*position) {
                partitions.push(FetchPartition {
                    key: key(partition),
                    fetch_offset: *position,
                    log_start_offset: Offset::ZERO,
                    max_bytes: 1 << 20,
                    current_leader_epoch: LEADER_EPOCH,
                    last_fetched_epoch: -1,
                });
            }
        }
        let session = SessionRequest {
            session_id,
            session_epoch,
            partitions,
            uses_topic_ids: true,
            follower,
            ..SessionRequest::default()
        };
        let (sender, answer) = mpsc::channel();
        // A request that begins a session waits for nothing.
        let max_wait_ms = if session_epoch == 0 { 0 } else { FOR_EVER_MS };
        let params = FetchParams { max_wait_ms, ..params.clone() };
        side.fetch_for(session, params, at(0), move |id, found| sender.send((id, found)).expect("it waits"));
        let (id, found) = come(&answer, "a follower");
        session_id = id;
        session_epoch += 1;
        for (key, found, is_carried) in found {
            let position = &mut positions[key.partition as usize];
            if is_carried && !found.read.is_empty() {
                *position = found.read.log_end_offset.max(*position);
            }
        }
    }
}

/// Reads until it has seen everything.
fn consume(side: &Side) {
    let params = FetchParams {
        reader: Reader::of_leaders(ReaderKind::Consumer),
        max_wait_ms: FOR_EVER_MS,
        min_bytes: 1,
        max_bytes: 1 << 20,
    };
    let mut positions = [Offset::ZERO; PARTITIONS as usize];
    while positions.iter().any(|position| position.0 < BATCHES) {
        let asked = (0..).zip(&positions).map(|(partition, position)| {
            let asked = FetchPartition {
                key: key(partition),
                fetch_offset: *position,
                log_start_offset: Offset::UNKNOWN,
                max_bytes: 1 << 20,
                current_leader_epoch: LEADER_EPOCH,
                last_fetched_epoch: -1,
            };
            PartitionFetch::new(&asked, Ok(side.partition(partition).expect("it is there")))
        });
        let (sender, answer) = mpsc::channel();
        side.manager.fetch(params.clone(), asked.collect(), at(0), move |found, _| {
            sender.send(found).expect("it waits");
        });
        for (position, found) in positions.iter_mut().zip(come(&answer, "a consumer")) {
            if !found.read.is_empty() {
                *position = found.read.high_watermark.max(*position);
            }
        }
    }
}

fn check(producers: &[&[i32]]) {
    let side = leader();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (side, is_over) = (&side, &is_over);
        let followers = FOLLOWERS.map(|node| scope.spawn(move || follow(side, node, is_over)));
        let consumer = scope.spawn(move || consume(side));
        let producers: Vec<_> =
            producers.iter().map(|partitions| scope.spawn(move || produce(side, partitions))).collect();
        let all_is_well = producers.into_iter().chain([consumer]).all(|thread| thread.join().is_ok());
        is_over.store(true, Ordering::Release);
        while !followers.iter().all(|follower| follower.is_finished()) {
            side.manager.tick(at(2 * FOR_EVER_MS as u64));
            std::thread::yield_now();
        }
        assert!(all_is_well);
        followers.into_iter().for_each(|follower| follower.join().expect("it is told of all"));
    });
    let ends = (0..PARTITIONS).map(|partition| side.log(partition).high_watermark().0);
    assert_eq!(ends.collect::<Vec<_>>(), [BATCHES; PARTITIONS as usize]);
}

/// One batch after the other: nothing else happens that would cover for what is not told.
#[test]
fn a_batch_goes_round_though_nothing_else_happens() {
    check(&[&[0, 1, 2]]);
}

#[test]
fn whoever_writes_everybody_hears_of_it() {
    check(&[&[0], &[1], &[2]]);
}
