//! What followers ask for, and what they do with the answers.

use std::sync::Arc;

use ottla_log::LogConfig;
use ottla_types::Offset;
use ottla_wire::ErrorCode;

use super::cluster::{ALL, Cluster, X, Y, Z, told};
use crate::fetcher::FetcherRequest;
use crate::tests::{Answers, taken};

fn fetch_request(request: &FetcherRequest) -> &ottla_wire::messages::FetchRequest {
    match request {
        FetcherRequest::Fetch(request) => request,
        FetcherRequest::ListOffsets(_) => panic!("{request:?}"),
    }
}

#[test]
fn a_session_names_what_has_changed_alone() {
    let mut cluster = Cluster::new();
    cluster.produce(X, -1, &["a"]);
    let first = cluster.due(Y).remove(0);
    let request = fetch_request(&first.request).clone();
    let asked = &request.topics[0].partitions[0];
    assert_eq!((request.session_id, request.session_epoch), (0, 0));
    assert_eq!((asked.fetch_offset, asked.current_leader_epoch, asked.last_fetched_epoch), (0, 0, -1));
    // Until it has a session it waits for nothing.
    assert_eq!((request.max_wait_ms, request.min_bytes, request.max_bytes), (0, 1, 10 << 20));
    assert_eq!((request.replica_state.replica_id, request.replica_state.replica_epoch), (2, 102));
    assert!(cluster.due(Y).is_empty(), "one request at a time");
    let (fetcher, ticket) = (first.fetcher, first.ticket);
    let answer = cluster.answer(Y, first);
    cluster.hand_in(Y, fetcher, ticket, answer);
    let second = cluster.due(Y).remove(0);
    let request = fetch_request(&second.request).clone();
    let asked = &request.topics[0].partitions[0];
    assert_eq!((request.session_epoch, request.max_wait_ms), (1, 500));
    assert_eq!((asked.fetch_offset, asked.last_fetched_epoch), (1, 0));
    let (fetcher, ticket) = (second.fetcher, second.ticket);
    let answer = cluster.answer(Y, second);
    cluster.hand_in(Y, fetcher, ticket, answer);
    let third = cluster.due(Y).remove(0);
    let request = fetch_request(&third.request);
    assert_eq!((request.session_epoch, request.topics.len()), (2, 0), "nothing is new");
}

/// Each request that is given up holds up those behind it on its connection for as long as it waits.
#[test]
fn however_many_leaders_change_no_more_than_one_request_is_given_up() {
    let mut cluster = Cluster::new();
    cluster.replicate();
    let waits = cluster.due(Y);
    assert_eq!(fetch_request(&waits[0].request).max_wait_ms, 500);
    let mut sent = Vec::new();
    for _ in 0..20 {
        cluster.elect(X, &ALL);
        cluster.pass_ms(50);
        sent.extend(cluster.due(Y));
    }
    assert_eq!(sent.len(), 1, "{sent:?}");
    let begins = sent.remove(0);
    assert_eq!(fetch_request(&begins.request).max_wait_ms, 0);
    let (fetcher, ticket) = (begins.fetcher, begins.ticket);
    let answer = cluster.answer(Y, begins);
    cluster.hand_in(Y, fetcher, ticket, answer);
    // It is of an epoch that is over: what is asked next is of the last one.
    cluster.produce(X, -1, &["a"]);
    cluster.replicate();
    assert_eq!(cluster.end(Y), 1);
}

#[test]
fn a_lost_session_is_begun_anew() {
    let mut cluster = Cluster::new();
    cluster.produce(X, -1, &["a"]);
    cluster.replicate();
    assert_eq!(cluster.full_requests, 2, "one of each follower");
    // The answer is lost: whether the session has taken it is not known.
    cluster.fetch_unheard(Y);
    cluster.pass_ms(999);
    assert!(cluster.due(Y).is_empty(), "not before replica.fetch.backoff.ms");
    cluster.pass_ms(1);
    cluster.produce(X, -1, &["b"]);
    cluster.replicate();
    assert_eq!((cluster.full_requests, cluster.end(Y)), (3, 2));
    // The leader has forgotten all sessions.
    cluster.crash(X, None);
    cluster.start(X);
    cluster.elect(X, &ALL);
    cluster.pass_ms(1_000);
    cluster.produce(X, -1, &["c"]);
    cluster.replicate();
    assert_eq!((cluster.end(Y), cluster.end(Z)), (3, 3));
}

#[test]
fn a_follower_that_is_left_behind_by_the_start_of_the_leaders_log_begins_there() {
    let mut cluster = Cluster::new();
    cluster.produce(X, -1, &["a"]);
    cluster.replicate();
    cluster.crash(Z, None);
    cluster.elect(X, &[X, Y]);
    cluster.produce(X, -1, &["b", "c"]);
    cluster.produce(X, -1, &["d"]);
    cluster.replicate();
    delete_records(&mut cluster, 3);
    cluster.start(Z);
    assert_eq!(cluster.end(Z), 1);
    cluster.replicate();
    let log = cluster.log(Z);
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (Offset(3), Offset(4)));
    assert_eq!((cluster.values(Z), cluster.decided.isr.clone()), (vec!["d".to_owned()], vec![X, Y, Z]));
}

fn delete_records(cluster: &mut Cluster, offset: i64) -> Answers<Result<Offset, ErrorCode>> {
    let answers: Answers<Result<Offset, ErrorCode>> = Arc::default();
    let into = Arc::clone(&answers);
    let deletions = vec![(Ok(cluster.partition(X)), Offset(offset))];
    let respond = move |results: Vec<_>| into.lock().extend(results);
    cluster.manager(X).delete_records(deletions, 30_000, cluster.now, respond);
    answers
}

#[test]
fn records_are_deleted_when_all_replicas_have_deleted_them() {
    let mut cluster = Cluster::new();
    cluster.produce(X, -1, &["a", "b", "c"]);
    cluster.replicate();
    cluster.cut.insert((Z, X));
    let deleted = delete_records(&mut cluster, 2);
    cluster.replicate();
    assert_eq!(cluster.log(Y).log_start_offset(), Offset(2));
    assert!(taken(&deleted).is_empty(), "Z has them still");
    cluster.cut.clear();
    cluster.pass_ms(1_000);
    cluster.replicate();
    assert_eq!(taken(&deleted), [Ok(Offset(2))]);
    assert_eq!(cluster.log(Z).log_start_offset(), Offset(2));
}

/// It led without writing: its leader does not know that epoch, and there is nothing to cut off.
#[test]
fn a_leader_epoch_without_a_record_is_forgotten() {
    let mut cluster = Cluster::new();
    cluster.produce(X, -1, &["a"]);
    cluster.replicate();
    cluster.decide(Y, &ALL);
    cluster.tell(Y);
    cluster.elect(Z, &ALL);
    cluster.produce(Z, -1, &["b"]);
    cluster.pass_ms(1_000);
    cluster.replicate();
    for id in ALL {
        assert_eq!(cluster.values(id), ["a", "b"]);
        let epochs: Vec<_> = cluster.log(id).leader_epochs().entries().iter().map(|e| e.epoch.0).collect();
        assert_eq!(epochs, [0, 2], "of {id}");
    }
}

/// What a leader of before has sent must not get between what the follower has written as a leader since.
#[test]
fn an_answer_of_a_former_leader_comes_too_late() {
    let mut cluster = Cluster::new();
    cluster.replicate();
    cluster.produce(X, 1, &["a"]);
    let due = cluster.due(Y).remove(0);
    let (fetcher, ticket) = (due.fetcher, due.ticket);
    let late = cluster.answer(Y, due);
    cluster.decide(Y, &ALL);
    cluster.tell(Y);
    cluster.hand_in(Y, fetcher, ticket, late.clone());
    assert_eq!(cluster.end(Y), 0);
    // Nor when it follows again, another one.
    cluster.decide(Z, &ALL);
    cluster.tell(Y);
    cluster.hand_in(Y, fetcher, ticket, late);
    assert_eq!(cluster.end(Y), 0);
}

#[test]
fn a_follower_that_knows_the_new_leader_sooner_than_that_leader_itself_asks_again() {
    let mut cluster = Cluster::new();
    cluster.produce(X, -1, &["a"]);
    cluster.replicate();
    cluster.decide(Y, &ALL);
    cluster.tell(Z);
    cluster.replicate();
    cluster.tell(Y);
    cluster.tell(X);
    let waits = cluster.produce(Y, -1, &["b"]);
    cluster.replicate();
    assert_eq!(told(&waits), None);
    cluster.pass_ms(10);
    cluster.replicate();
    assert_eq!(told(&waits), Some(Ok(1)), "at once, whatever replica.fetch.backoff.ms is");
}

#[test]
fn a_leader_that_does_not_know_that_it_leads_is_asked_less_and_less_often() {
    let mut cluster = Cluster::new();
    cluster.produce(X, -1, &["a"]);
    cluster.replicate();
    cluster.decide(Y, &ALL);
    cluster.tell(Z);
    let mut waits = Vec::new();
    while waits.len() < 9 {
        let asks = cluster.due(Z);
        let before = cluster.now.mono.0;
        for asked in asks {
            let (fetcher, ticket) = (asked.fetcher, asked.ticket);
            let answer = cluster.answer(Z, asked);
            cluster.hand_in(Z, fetcher, ticket, answer);
        }
        while cluster.manager(Z).next_request_deadline() > cluster.now.mono {
            cluster.pass_ms(1);
        }
        waits.push(cluster.now.mono.0 - before);
    }
    assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1_000, 1_000]);
}

/// It might wait for half a second, and with it who writes to the partition.
#[test]
fn a_request_that_waits_for_records_does_not_hold_up_a_partition_whose_leader_has_changed() {
    let mut cluster = Cluster::new();
    cluster.produce(X, -1, &["a"]);
    cluster.replicate();
    let waits = cluster.due(Y).remove(0);
    assert!(cluster.due(Y).is_empty());
    cluster.elect(X, &ALL);
    cluster.pass_ms(19);
    assert!(cluster.due(Y).is_empty(), "where there is much to fetch its answer comes soon");
    cluster.pass_ms(1);
    let instead = cluster.due(Y).remove(0);
    assert_eq!((waits.connection, instead.connection), (0, 1));
    let request = fetch_request(&instead.request);
    assert_eq!((request.session_epoch, request.topics[0].partitions[0].current_leader_epoch), (0, 1));
    cluster.produce(X, 1, &["b"]);
    for (asked, end) in [(waits, 1), (instead, 2)] {
        let (fetcher, ticket) = (asked.fetcher, asked.ticket);
        let answer = cluster.answer(Y, asked);
        cluster.hand_in(Y, fetcher, ticket, answer);
        assert_eq!(cluster.end(Y), end, "an answer that nobody waits for is passed over");
    }
    assert!(cluster.due(Y).iter().all(|next| next.connection == 1));
}

/// An append can't be larger than a segment, whatever size those of the leader have.
#[test]
fn segments_smaller_than_a_fetch_are_followed() {
    let mut cluster = Cluster::new();
    cluster.crash(Y, None);
    let values: Vec<String> = (0..40).map(|i| format!("value {i}")).collect();
    for value in &values {
        cluster.produce(X, 1, &[value]);
    }
    cluster.config = LogConfig { segment_bytes: 300, ..LogConfig::default() };
    cluster.start(Y);
    cluster.replicate();
    assert_eq!(cluster.values(Y), values);
}
