//! Groups and transactions under clients that storm, hoard or vanish: each is answered as Kafka does, costs little, and
//! harms nobody else.

mod members;
mod patterns;
mod producers;
mod shares;
mod vanishing;

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_testkit::{Launch, Ottla};
use ottla_wire::messages::create_topics_request::{CreateTopicsRequest, Topic};
use ottla_wire::messages::offset_commit_request::{self, OffsetCommitRequest};
use ottla_wire::messages::offset_fetch_request::{self, OffsetFetchRequest};
use ottla_wire::messages::{ConsumerGroupHeartbeatRequest, FindCoordinatorRequest, HeartbeatRequest};
use ottla_wire::{ErrorCode, Request};

use self::members::{Member, join_modern};
use self::producers::init;
use super::bad_input::{MEGABYTE, call, connect, frame_of, peak_bytes, receive};
use super::launch;
use super::network::{PATIENCE, until};

const TOPIC: &str = "t";
/// Sessions and rebalances of those who vanish.
const SHORT_MS: i32 = 300;
/// Of those who stay.
const LONG_MS: i32 = 60_000;

/// A node on which sessions may be short.
fn hurried(dir: &Path) -> Launch {
    launch(dir)
        .set("group.min.session.timeout.ms", "100")
        .set("group.consumer.min.session.timeout.ms", "100")
        .set("group.consumer.min.heartbeat.interval.ms", "50")
        .set("group.consumer.heartbeat.interval.ms", "50")
        .set("group.consumer.session.timeout.ms", &SHORT_MS.to_string())
        .set("group.consumer.assignment.interval.ms", "0")
        .set("group.share.min.session.timeout.ms", "100")
        .set("group.share.min.heartbeat.interval.ms", "50")
        .set("group.share.heartbeat.interval.ms", "50")
        .set("group.share.session.timeout.ms", &SHORT_MS.to_string())
        .set("group.share.assignment.interval.ms", "0")
        .set("transaction.abort.timed.out.transaction.cleanup.interval.ms", "100")
}

/// Waits for the coordinator of groups (0) or transactions (1), whose topic the first question creates.
fn wait_for_coordinator(stream: &TcpStream, key_type: i8) {
    let request = FindCoordinatorRequest {
        key_type,
        coordinator_keys: vec!["g".to_owned()],
        ..FindCoordinatorRequest::default()
    };
    until(|| call(stream, &request, 4).coordinators[0].error_code == 0);
    match key_type {
        0 => until(|| commit(stream, "first", 1) == ErrorCode::None),
        _ => until(|| init(stream, "first", LONG_MS).is_some()),
    }
}

fn code(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).unwrap()
}

fn commit_request(group: &str, offset: i64) -> OffsetCommitRequest {
    let partition = offset_commit_request::Partition { committed_offset: offset, ..Default::default() };
    let topic = offset_commit_request::Topic {
        name: TOPIC.to_owned(),
        partitions: vec![partition],
        ..Default::default()
    };
    OffsetCommitRequest {
        group_id: group.to_owned(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..OffsetCommitRequest::default()
    }
}

fn commit(stream: &TcpStream, group: &str, offset: i64) -> ErrorCode {
    code(call(stream, &commit_request(group, offset), 9).topics[0].partitions[0].error_code)
}

/// Sends requests without waiting for answers in between, and returns those.
fn pipeline<R: Request>(mut stream: &TcpStream, requests: &[R], version: i16) -> Vec<R::Response> {
    let frames: Vec<u8> = requests.iter().flat_map(|request| frame_of(request, version)).collect();
    stream.write_all(&frames).unwrap();
    requests.iter().map(|_| receive::<R>(stream, version)).collect()
}

/// What a group has committed for the topic's first partition, where nothing is on its way.
fn committed(stream: &TcpStream, groups: &[String]) -> Result<Vec<i64>, ErrorCode> {
    let group = |group_id: &String| offset_fetch_request::Group {
        group_id: group_id.clone(),
        topics: None,
        ..Default::default()
    };
    let request = OffsetFetchRequest {
        groups: groups.iter().map(group).collect(),
        require_stable: true,
        ..OffsetFetchRequest::default()
    };
    let answer = call(stream, &request, 9);
    let partitions = answer.groups.iter().flat_map(|group| &group.topics).flat_map(|topic| &topic.partitions);
    partitions
        .map(|partition| match code(partition.error_code) {
            ErrorCode::None => Ok(partition.committed_offset),
            refused => Err(refused),
        })
        .collect()
}

fn with_topic(ottla: &Ottla) -> TcpStream {
    let stream = connect(ottla);
    let topic =
        Topic { name: TOPIC.to_owned(), num_partitions: 2, replication_factor: 1, ..Topic::default() };
    let request =
        CreateTopicsRequest { topics: vec![topic], timeout_ms: LONG_MS, ..CreateTopicsRequest::default() };
    assert_eq!(call(&stream, &request, 7).topics[0].error_code, 0);
    stream
}

fn until_some<T>(mut step: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = step() {
            return found;
        }
        assert!(Instant::now() < deadline, "it does not come to that");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Tries with ever more time, from little on.
fn with_enough_time(attempt: impl Fn(i32) -> Option<()>) {
    let mut timeouts_ms = std::iter::successors(Some(SHORT_MS), |timeout_ms| Some(2 * timeout_ms));
    assert!(timeouts_ms.by_ref().take(7).any(|timeout_ms| attempt(timeout_ms).is_some()), "it is too slow");
}

#[test]
fn storms_of_heartbeats_hurt_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    let stream = with_topic(&ottla);
    wait_for_coordinator(&stream, 0);
    let mut member = Member::new(&ottla, "stormed", LONG_MS);
    member.settle().unwrap();
    let modern = join_modern(&stream, "modern", "m");
    assert_eq!(code(modern.error_code), ErrorCode::None);
    let before = peak_bytes(&ottla);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let stream = connect(&ottla);
                let good = member.heartbeat_request();
                let stranger = HeartbeatRequest { member_id: "stranger".to_owned(), ..good.clone() };
                let late = HeartbeatRequest { generation_id: good.generation_id - 1, ..good.clone() };
                let nowhere = HeartbeatRequest { group_id: "nowhere".to_owned(), ..good.clone() };
                let storm: Vec<_> =
                    (0..25).flat_map(|_| [&good, &stranger, &late, &nowhere]).cloned().collect();
                let expected = [
                    ErrorCode::None,
                    ErrorCode::UnknownMemberId,
                    ErrorCode::IllegalGeneration,
                    ErrorCode::UnknownMemberId,
                ];
                let modern = ConsumerGroupHeartbeatRequest {
                    group_id: "modern".to_owned(),
                    member_id: "m".to_owned(),
                    member_epoch: modern.member_epoch,
                    ..ConsumerGroupHeartbeatRequest::default()
                };
                while !is_over.load(Ordering::Relaxed) {
                    for (number, answer) in pipeline(&stream, &storm, 4).iter().enumerate() {
                        assert_eq!(code(answer.error_code), expected[number % 4]);
                    }
                    for answer in pipeline(&stream, &vec![modern.clone(); 100], 1) {
                        assert_eq!(code(answer.error_code), ErrorCode::None);
                    }
                }
            });
        }
        // Meanwhile others live as ever.
        for offset in 0..50 {
            assert_eq!(commit(&stream, "quiet", offset), ErrorCode::None);
        }
        let mut other = Member::new(&ottla, "other", LONG_MS);
        other.settle().unwrap();
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(peak_bytes(&ottla) < before + 64 * MEGABYTE);
    assert!(ottla.stop().success());
}

#[test]
fn a_thousand_groups_commit_beside_one_that_never_stops() {
    const GROUPS: usize = 1000;
    const ROUNDS: i64 = 3;
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    let stream = with_topic(&ottla);
    wait_for_coordinator(&stream, 0);
    let groups: Vec<String> = (0..GROUPS).map(|number| format!("group-{number}")).collect();
    let is_over = AtomicBool::new(false);
    let last = thread::scope(|scope| {
        let greedy = scope.spawn(|| {
            let stream = connect(&ottla);
            let mut offset = 0;
            loop {
                let requests: Vec<_> = (offset..offset + 50).map(|o| commit_request("greedy", o)).collect();
                for answer in pipeline(&stream, &requests, 9) {
                    assert_eq!(code(answer.topics[0].partitions[0].error_code), ErrorCode::None);
                }
                offset += 50;
                if is_over.load(Ordering::Relaxed) {
                    return offset - 1;
                }
            }
        });
        for round in 0..ROUNDS {
            for some in groups.chunks(100) {
                let requests: Vec<_> = some.iter().map(|group| commit_request(group, round)).collect();
                for answer in pipeline(&stream, &requests, 9) {
                    assert_eq!(code(answer.topics[0].partitions[0].error_code), ErrorCode::None);
                }
            }
        }
        is_over.store(true, Ordering::Relaxed);
        greedy.join().unwrap()
    });
    assert_eq!(committed(&stream, &groups), Ok(vec![ROUNDS - 1; GROUPS]));
    assert_eq!(committed(&stream, &["greedy".to_owned()]), Ok(vec![last]));
    assert!(ottla.stop().success());
}

#[test]
fn who_is_one_too_many_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).set("group.max.size", "1").set("group.consumer.max.size", "1").start();
    let stream = with_topic(&ottla);
    wait_for_coordinator(&stream, 0);
    let mut member = Member::new(&ottla, "full", LONG_MS);
    member.settle().unwrap();
    assert_eq!(code(join_modern(&stream, "full-too", "m").error_code), ErrorCode::None);
    let before = peak_bytes(&ottla);
    let crowd = Member::new(&ottla, "full", LONG_MS);
    let large = Bytes::from(vec![7; 2 * MEGABYTE]);
    for number in 0..100 {
        let refused = code(call(&crowd.stream, &crowd.join_request(large.clone()), 3).error_code);
        assert_eq!(refused, ErrorCode::GroupMaxSizeReached);
        let refused = join_modern(&stream, "full-too", &format!("m{number}"));
        assert_eq!(code(refused.error_code), ErrorCode::GroupMaxSizeReached);
    }
    assert!(peak_bytes(&ottla) < before + 64 * MEGABYTE, "{} MB", (peak_bytes(&ottla) - before) / MEGABYTE);
    assert!(member.is_alone());
    assert!(ottla.stop().success());
}
