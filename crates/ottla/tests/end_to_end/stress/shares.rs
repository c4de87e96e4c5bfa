//! Members of share groups that storm and vanish.

use std::net::TcpStream;

use ottla_types::Uuid;
use ottla_wire::messages::share_fetch_request::{Partition, Topic as FetchTopic};
use ottla_wire::messages::{ShareFetchRequest, ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse};

use super::*;

/// As Java prints a UUID: other names are no members of share sessions.
const STAYS: &str = "stays-stays-stays-stay";
const GHOST: &str = "ghost-ghost-ghost-ghos";

fn heartbeat(group: &str, member: &str, epoch: i32) -> ShareGroupHeartbeatRequest {
    ShareGroupHeartbeatRequest {
        group_id: group.to_owned(),
        member_id: member.to_owned(),
        member_epoch: epoch,
        subscribed_topic_names: Some(vec![TOPIC.to_owned()]),
        ..ShareGroupHeartbeatRequest::default()
    }
}

fn partitions(answer: &ShareGroupHeartbeatResponse) -> Option<Vec<(Uuid, i32)>> {
    let topics = &answer.assignment.as_ref()?.topic_partitions;
    let of_topic = topics.iter().flat_map(|topic| topic.partitions.iter().map(|p| (topic.topic_id, *p)));
    Some(of_topic.collect())
}

/// Does what the coordinator asks for until it has so many partitions; answers with its epoch and those.
fn live_until_it_has(stream: &TcpStream, group: &str, member: &str, count: usize) -> (i32, Vec<(Uuid, i32)>) {
    let mut epoch = 0;
    until_some(|| {
        let answer = call(stream, &heartbeat(group, member, epoch), 1);
        match code(answer.error_code) {
            ErrorCode::None => epoch = answer.member_epoch,
            ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch => epoch = 0,
            refused => panic!("{refused:?}"),
        }
        partitions(&answer).filter(|has| has.len() == count).map(|has| (epoch, has))
    })
}

/// Opens a share session of these partitions, or goes on with one that there may not be.
fn fetch(stream: &TcpStream, group: &str, member: &str, epoch: i32, of: &[(Uuid, i32)]) -> ErrorCode {
    let topic = |(topic_id, partition_index): &(Uuid, i32)| FetchTopic {
        topic_id: *topic_id,
        partitions: vec![Partition { partition_index: *partition_index, ..Partition::default() }],
        ..FetchTopic::default()
    };
    let request = ShareFetchRequest {
        group_id: Some(group.to_owned()),
        member_id: Some(member.to_owned()),
        share_session_epoch: epoch,
        max_wait_ms: 0,
        max_bytes: 1 << 20,
        max_records: 100,
        batch_size: 100,
        topics: of.iter().map(topic).collect(),
        ..ShareFetchRequest::default()
    };
    code(call(stream, &request, 1).error_code)
}

#[test]
fn storms_on_share_groups_hurt_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).set("group.share.assignment.interval.ms", "0").start();
    let stream = with_topic(&ottla);
    wait_for_coordinator(&stream, 0);
    let (epoch, has) = live_until_it_has(&stream, "stormed", STAYS, 2);
    let before = peak_bytes(&ottla);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            let (ottla, is_over, has) = (&ottla, &is_over, &has);
            scope.spawn(move || {
                let stream = connect(ottla);
                let mut good = heartbeat("stormed", STAYS, epoch);
                good.subscribed_topic_names = None;
                let stranger = ShareGroupHeartbeatRequest { member_id: GHOST.to_owned(), ..good.clone() };
                let ahead = ShareGroupHeartbeatRequest { member_epoch: epoch + 1, ..good.clone() };
                let nowhere = ShareGroupHeartbeatRequest { group_id: "nowhere".to_owned(), ..good.clone() };
                let storm: Vec<_> =
                    (0..25).flat_map(|_| [&good, &stranger, &ahead, &nowhere]).cloned().collect();
                let expected = [
                    ErrorCode::None,
                    ErrorCode::UnknownMemberId,
                    ErrorCode::FencedMemberEpoch,
                    ErrorCode::GroupIdNotFound,
                ];
                while !is_over.load(Ordering::Relaxed) {
                    for (number, answer) in pipeline(&stream, &storm, 1).iter().enumerate() {
                        assert_eq!(code(answer.error_code), expected[number % 4]);
                    }
                    let refused = fetch(&stream, "stormed", GHOST, 7, has);
                    assert_eq!(refused, ErrorCode::ShareSessionNotFound);
                }
            });
        }
        // Meanwhile others live as ever.
        for offset in 0..50 {
            assert_eq!(commit(&stream, "quiet", offset), ErrorCode::None);
        }
        live_until_it_has(&stream, "other", STAYS, 2);
        assert_eq!(fetch(&stream, "stormed", STAYS, 0, &has), ErrorCode::None);
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(peak_bytes(&ottla) < before + 64 * MEGABYTE);
    assert!(ottla.stop().success());
}

#[test]
fn members_that_vanish_out_of_a_share_group_leave_their_partitions() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = hurried(dir.path()).start();
    let stream = with_topic(&ottla);
    wait_for_coordinator(&stream, 0);
    for phase in ["just joined", "with partitions", "with a session"] {
        println!("{phase}");
        let ghost = connect(&ottla);
        if phase == "just joined" {
            assert_eq!(code(call(&ghost, &heartbeat(phase, GHOST, 0), 1).error_code), ErrorCode::None);
        } else {
            let (_, has) = live_until_it_has(&ghost, phase, GHOST, 2);
            if phase == "with a session" {
                assert_eq!(fetch(&ghost, phase, GHOST, 0, &has), ErrorCode::None);
            }
        }
        // Each has one while there are two: until the other's session is over.
        drop(ghost);
        live_until_it_has(&stream, phase, STAYS, 2);
    }
    assert!(ottla.stop().success());
}
