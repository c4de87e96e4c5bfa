//! A replica among others whose disk is full.

use bytes::Bytes;
use ottla_types::{LeaderEpoch, Offset};

use super::memory_log::{MemoryLog, MemoryStore};
use super::rules::{begin_epoch, fetch};
use super::*;

type Driver = RaftDriver<MemoryLog, MemoryStore>;

/// Replica 1 of three, which leads epoch 1.
fn leader() -> Driver {
    let mut driver =
        RaftDriver::open(settings(1, &[1, 2, 3]), MemoryLog::default(), MemoryStore::default(), at(0))
            .unwrap();
    driver.poll(at(2_000)).unwrap();
    for _pre_vote in [true, false] {
        let sent = requests(&mut driver);
        let (id, to, request) = sent.into_iter().find(|(_, to, _)| *to == node_id(2)).unwrap();
        assert!(matches!(request, Request::Vote(_)), "{request:?} to {to}");
        let leader =
            LeaderInfo { leader_id: None, epoch: driver.core().epoch(), endpoints: Endpoints::new() };
        let granted = VoteResponse { error: None, leader, vote_granted: true };
        driver.handle_response(id, Some(Response::Vote(granted)), at(2_000)).unwrap();
    }
    driver.poll(at(2_000)).unwrap();
    assert_eq!((driver.core().role(), driver.core().epoch()), (RoleName::Leader, LeaderEpoch(1)));
    requests(&mut driver);
    driver
}

fn requests(driver: &mut Driver) -> Vec<(u64, NodeId, Request)> {
    let sent = driver.take_outgoing().into_iter().filter_map(|outgoing| match outgoing {
        Outgoing::Request { correlation_id, to, request } => Some((correlation_id, to.id, request)),
        Outgoing::Reply { .. } | Outgoing::NoReply { .. } => None,
    });
    sent.collect()
}

/// The answers to what was asked before are not awaited any more.
fn fill(driver: &mut Driver) {
    driver.log_mut().room = Some(0);
    driver.append(LeaderEpoch(1), vec![Bytes::from_static(b"a")], at(2_010)).unwrap();
    driver.poll(at(2_100)).unwrap();
    assert!(driver.is_stalled());
}

#[test]
fn a_leader_lets_others_lead() {
    let mut driver = leader();
    let listener = driver.register();
    fill(&mut driver);
    assert_eq!(driver.core().role(), RoleName::Resigned);
    let told: Vec<_> = requests(&mut driver)
        .into_iter()
        .filter_map(|(_, to, request)| matches!(request, Request::EndQuorumEpoch(_)).then_some(to))
        .collect();
    assert_eq!(told, [node_id(2), node_id(3)]);
    let heard = driver.next(listener).unwrap();
    assert!(matches!(heard, Some(Delivery::LeaderChanged(_))), "its controller hears of it: {heard:?}");
    // What waited for room is written before anything else is done.
    driver.log_mut().room = None;
    driver.poll(at(60_000)).unwrap();
    assert!(!driver.is_stalled());
    assert_eq!(driver.log().batches.len(), 2);
    assert!(driver.core().high_watermark().is_none(), "nobody else has it");
}

/// Whoever waits for an answer that can't be given now asks again, rather than wait: what it asks next may be of use.
#[test]
fn nobody_waits_for_an_answer_that_waits_for_room() {
    let mut driver = leader();
    let Request::Fetch(fetch) = fetch(2, 1, 1, 1) else { unreachable!() };
    let waiting = FetchRequest { high_watermark: Offset::MAX, ..fetch };
    driver.handle_request(7, Request::Fetch(waiting), at(2_005)).unwrap();
    assert_eq!(driver.take_outgoing(), [], "there is nothing new yet");
    driver.log_mut().room = Some(0);
    driver.append(LeaderEpoch(1), vec![Bytes::from_static(b"a")], at(2_010)).unwrap();
    driver.poll(at(2_100)).unwrap();
    let sent = driver.take_outgoing();
    assert!(sent.contains(&Outgoing::NoReply { id: 7 }), "{sent:?}");
    driver.log_mut().room = None;
    driver.poll(at(60_000)).unwrap();
    assert!(!driver.take_outgoing().iter().any(|sent| matches!(sent, Outgoing::Reply { .. })));
}

#[test]
fn who_leads_meanwhile_can_be_known() {
    let mut driver = leader();
    fill(&mut driver);
    assert_eq!(driver.leader(), (Some(node_id(1)), local(1).listeners));
    driver.overhear(&begin_epoch(3, 1));
    assert_eq!(driver.leader().0, Some(node_id(1)), "that is no newer epoch");
    driver.overhear(&begin_epoch(2, 3));
    driver.overhear(&begin_epoch(3, 2));
    assert_eq!(driver.leader(), (Some(node_id(2)), local(2).listeners));
    assert_eq!(driver.core().epoch(), LeaderEpoch(1), "nothing of that is written");
    driver.log_mut().room = None;
    driver.poll(at(2_600)).unwrap();
    assert_eq!(driver.leader().0, driver.core().leader_and_epoch().leader_id);
}
