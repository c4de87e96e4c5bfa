use ottla_types::{MonoMs, NodeId};

use super::*;

const START: MonoMs = MonoMs(1_000_000);

fn key(partition: i32) -> PartitionKey {
    PartitionKey { topic_id: Uuid([7; 16]), topic: "".into(), partition }
}

fn asking(partition: i32, fetch_offset: i64) -> FetchPartition {
    FetchPartition {
        key: key(partition),
        fetch_offset: Offset(fetch_offset),
        log_start_offset: Offset::UNKNOWN,
        max_bytes: 1 << 20,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
    }
}

fn request(session_id: i32, session_epoch: i32, partitions: &[(i32, i64)]) -> SessionRequest {
    SessionRequest {
        session_id,
        session_epoch,
        partitions: partitions.iter().map(|&(partition, offset)| asking(partition, offset)).collect(),
        uses_topic_ids: true,
        ..SessionRequest::default()
    }
}

fn answer(high_watermark: i64, has_records: bool) -> PartitionSummary {
    PartitionSummary {
        error: ErrorCode::None,
        has_records,
        high_watermark: Offset(high_watermark),
        log_start_offset: Offset::ZERO,
        has_redirect: false,
        is_at_rest: false,
    }
}

/// Answers every partition of a request in turn; returns the session id and the partitions that are carried.
fn fetch(
    sessions: &FetchSessions,
    request: SessionRequest,
    now: MonoMs,
    answer: impl Fn(i32) -> PartitionSummary,
) -> (i32, Vec<i32>) {
    let context = sessions.begin(request, now).expect("the request fits the session");
    let summaries: Vec<_> =
        context.partitions.iter().map(|p| (p.key.clone(), answer(p.key.partition))).collect();
    let (id, carried) = sessions.finish(context, &summaries, now);
    let carried = summaries.iter().zip(carried).filter(|(_, is)| *is).map(|((key, _), _)| key.partition);
    (id, carried.collect())
}

#[test]
fn an_incremental_response_carries_what_changed() {
    let sessions = FetchSessions::new(10, 1);
    let (id, carried) =
        fetch(&sessions, request(0, 0, &[(0, 0), (1, 0), (2, 0)]), START, |_| answer(5, false));
    assert_ne!(id, NO_SESSION);
    assert_eq!(carried, [0, 1, 2]);
    let (same, carried) = fetch(&sessions, request(id, 1, &[]), START, |_| answer(5, false));
    assert_eq!((same, carried), (id, vec![]));
    let (_, carried) =
        fetch(&sessions, request(id, 2, &[]), START, |p| answer(5 + i64::from(p == 1), p == 2));
    assert_eq!(carried, [1, 2]);
    let failed = PartitionSummary { error: ErrorCode::UnknownTopicId, ..answer(5, false) };
    let (_, carried) =
        fetch(&sessions, request(id, 3, &[]), START, |p| if p == 0 { failed } else { answer(6, false) });
    assert_eq!(carried, [0, 2]);
    // After an error the first good answer is news.
    let (_, carried) = fetch(&sessions, request(id, 4, &[]), START, |p| answer(5 + i64::from(p != 0), false));
    assert_eq!(carried, [0]);
}

/// A follower whose leader's epoch has changed drops the answers to what it asked before.
#[test]
fn who_asks_in_another_leader_epoch_is_told_everything_anew() {
    let sessions = FetchSessions::new(10, 1);
    let (id, _) = fetch(&sessions, request(0, 0, &[(0, 5), (1, 5)]), START, |_| answer(5, false));
    let mut next = request(id, 1, &[(0, 5), (1, 5)]);
    next.partitions[1].current_leader_epoch = 3;
    let (_, carried) = fetch(&sessions, next, START, |_| answer(5, false));
    assert_eq!(carried, [1]);
    let (_, carried) = fetch(&sessions, request(id, 2, &[]), START, |_| answer(5, false));
    assert!(carried.is_empty());
}

#[test]
fn partitions_that_gave_records_are_read_last() {
    let sessions = FetchSessions::new(10, 1);
    let (id, _) = fetch(&sessions, request(0, 0, &[(0, 0), (1, 0), (2, 0)]), START, |p| answer(5, p == 0));
    let context = sessions.begin(request(id, 1, &[]), START).expect("a session");
    let order: Vec<_> = context.partitions.iter().map(|p| p.key.partition).collect();
    assert_eq!(order, [1, 2, 0]);
}

#[test]
fn requests_change_add_and_forget_partitions() {
    let sessions = FetchSessions::new(10, 1);
    let (id, _) = fetch(&sessions, request(0, 0, &[(0, 0), (1, 0)]), START, |_| answer(5, false));
    let mut next = request(id, 1, &[(0, 42), (3, 7)]);
    next.forgotten = vec![key(1)];
    let context = sessions.begin(next, START).expect("a session");
    assert_eq!(context.partitions, [asking(0, 42), asking(3, 7)]);
    // A session that holds nothing any more is closed.
    let mut last = request(id, 2, &[]);
    last.forgotten = vec![key(0), key(3)];
    let context = sessions.begin(last, START).expect("a session");
    assert_eq!(sessions.finish(context, &[], START), (NO_SESSION, vec![]));
    assert!(sessions.is_empty());
}

#[test]
fn requests_that_do_not_fit_are_refused() {
    let sessions = FetchSessions::new(10, 1);
    let (id, _) = fetch(&sessions, request(0, 0, &[(0, 0)]), START, |_| answer(5, false));
    let refused = |request| sessions.begin(request, START).map(|_| ()).unwrap_err();
    assert_eq!(refused(request(id, 2, &[])), ErrorCode::InvalidFetchSessionEpoch);
    assert_eq!(refused(request(id + 1, 1, &[])), ErrorCode::FetchSessionIdNotFound);
    let by_name = SessionRequest { uses_topic_ids: false, ..request(id, 1, &[]) };
    assert_eq!(refused(by_name), ErrorCode::FetchSessionTopicIdError);
    // The session is as it was.
    assert_eq!(fetch(&sessions, request(id, 1, &[]), START, |_| answer(5, false)).0, id);
}

#[test]
fn a_full_request_closes_the_session_that_it_names() {
    let sessions = FetchSessions::new(10, 1);
    let (id, _) = fetch(&sessions, request(0, 0, &[(0, 0)]), START, |_| answer(5, false));
    let (new, _) = fetch(&sessions, request(id, INITIAL_EPOCH, &[(0, 0)]), START, |_| answer(5, false));
    assert_ne!(new, id);
    assert_eq!(sessions.len(), 1);
    let (none, carried) = fetch(&sessions, request(new, FINAL_EPOCH, &[(0, 0)]), START, |_| answer(5, false));
    assert_eq!((none, carried), (NO_SESSION, vec![0]));
    assert!(sessions.is_empty());
}

#[test]
fn a_full_cache_takes_a_session_only_in_place_of_a_lesser_one() {
    let later = MonoMs(START.0 + 60_000);
    let evictable = MonoMs(START.0 + 121_000);
    let open = |sessions: &FetchSessions, partitions: &[(i32, i64)], is_follower: bool, now| {
        let replica = FollowerId { node: NodeId(2), broker_epoch: None };
        let request =
            SessionRequest { follower: is_follower.then_some(replica), ..request(0, 0, partitions) };
        fetch(sessions, request, now, |_| answer(5, false)).0
    };
    let sessions = FetchSessions::new(1, 1);
    let consumer = open(&sessions, &[(0, 0)], false, START);
    assert_eq!(open(&sessions, &[(0, 0), (1, 0)], false, later), NO_SESSION, "the first is too young");
    fetch(&sessions, request(consumer, 1, &[]), later, |_| answer(5, false));
    assert_eq!(open(&sessions, &[(0, 0)], false, evictable), NO_SESSION, "the new one is no larger");
    assert_ne!(open(&sessions, &[(0, 0), (1, 0)], false, evictable), NO_SESSION);
    let follower = open(&sessions, &[(0, 0)], true, evictable);
    assert_ne!(follower, NO_SESSION, "a follower goes before any consumer");
    assert_eq!(open(&sessions, &[(0, 0), (1, 0)], false, MonoMs(evictable.0 + 1)), NO_SESSION);
    assert_eq!(
        FetchSessions::new(0, 1).begin(request(0, 0, &[(0, 0)]), START).map(|c| c.partitions.len()),
        Ok(1)
    );
    let stale = MonoMs(evictable.0 + 121_000);
    assert_ne!(open(&sessions, &[(0, 0)], false, stale), NO_SESSION, "nobody used the follower's for long");
}

#[test]
fn partitions_of_all_sessions_are_bounded() {
    let mut sessions = FetchSessions::new(10, 1);
    sessions.partitions_max = 5;
    let open = |partitions: &[(i32, i64)], now| {
        fetch(&sessions, request(0, 0, partitions), now, |_| answer(5, false))
    };
    let (small, _) = open(&[(0, 0), (1, 0)], START);
    let (grows, _) = open(&[(0, 0), (1, 0)], START);
    // Without room a client is served without a session.
    assert_eq!(open(&[(0, 0), (1, 0)], START), (NO_SESSION, vec![0, 1]));
    let (_, carried) = fetch(&sessions, request(grows, 1, &[(2, 0)]), START, |_| answer(5, false));
    assert_eq!(carried, [2]);
    let refused = sessions.begin(request(grows, 2, &[(3, 0)]), START).map(|_| ());
    assert_eq!((refused, sessions.len()), (Err(ErrorCode::FetchSessionIdNotFound), 1));
    // What it held is free again; so is what is forgotten.
    let (other, _) = open(&[(0, 0), (1, 0), (2, 0)], START);
    let mut fewer = request(small, 1, &[]);
    fewer.forgotten = vec![key(0)];
    sessions.begin(fewer, START).expect("a session");
    assert_ne!(open(&[(7, 0)], START).0, NO_SESSION);
    fetch(&sessions, request(other, FINAL_EPOCH, &[]), START, |_| answer(5, false));
    assert_ne!(open(&[(7, 0), (8, 0), (9, 0)], START).0, NO_SESSION);
    // Sessions that nobody uses make room, for what there can be room for.
    let stale = MonoMs(START.0 + 121_000);
    assert_eq!(open(&[(0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0)], stale).0, NO_SESSION);
    assert_eq!(sessions.len(), 3);
    assert_ne!(open(&[(0, 0), (1, 0), (2, 0), (3, 0), (4, 0)], stale).0, NO_SESSION);
    assert_eq!(sessions.len(), 1);
}
