//! The rules of roles, votes and epochs, one message at a time.

use bytes::Bytes;
use ottla_types::{LeaderEpoch, Offset};

use super::*;

fn core(election: Option<ElectionState>, log: LogStart) -> RaftCore {
    RaftCore::new(RaftStart { quorum: settings(1, &[1, 2, 3]), election, log }, at(0))
}

/// A log of `end` records that ends in `epoch`.
fn log(end: i64, epoch: i32) -> LogStart {
    LogStart {
        end_offset: Offset(end),
        flushed_end_offset: Offset(end),
        epochs: if end > 0 { vec![(LeaderEpoch(epoch), Offset(0))] } else { Vec::new() },
        ..LogStart::default()
    }
}

fn election(epoch: i32, leader: Option<i32>, voted: Option<i32>) -> Option<ElectionState> {
    Some(ElectionState {
        epoch: LeaderEpoch(epoch),
        leader_id: leader.map(node_id),
        voted_key: voted.map(|id| ReplicaKey::new(node_id(id), directory(id))),
        voters: [1, 2, 3].map(node_id).into(),
    })
}

fn vote(from: i32, epoch: i32, end: OffsetAndEpoch, pre_vote: bool) -> Request {
    Request::Vote(VoteRequest {
        cluster_id: Some("cluster".to_owned()),
        voter: Some(local(1).key),
        replica: local(from).key,
        replica_epoch: LeaderEpoch(epoch),
        last_offset: end,
        pre_vote,
    })
}

/// The reply to a request; everything else that the step asks for is dropped.
fn ask(core: &mut RaftCore, request: Request, now: u64) -> Response {
    let actions = core.step(Event::Request { id: 1, request }, at(now));
    let mut replies = actions.into_iter().filter_map(|action| match action {
        Action::Reply { response, .. } => Some(response),
        _ => None,
    });
    replies.next().unwrap()
}

fn granted(core: &mut RaftCore, request: Request) -> Result<bool, RaftError> {
    match ask(core, request, 1) {
        Response::Vote(response) => response.error.map_or(Ok(response.vote_granted), Err),
        other => panic!("{other:?}"),
    }
}

pub(super) fn begin_epoch(leader: i32, epoch: i32) -> Request {
    Request::BeginQuorumEpoch(BeginQuorumEpochRequest {
        cluster_id: Some("cluster".to_owned()),
        voter: Some(local(1).key),
        leader_id: node_id(leader),
        leader_epoch: LeaderEpoch(epoch),
        leader_endpoints: local(leader).listeners,
    })
}

pub(super) fn fetch(from: i32, epoch: i32, offset: i64, last_epoch: i32) -> Request {
    Request::Fetch(FetchRequest {
        cluster_id: Some("cluster".to_owned()),
        replica: local(from).key,
        current_leader_epoch: LeaderEpoch(epoch),
        fetch_offset: Offset(offset),
        last_fetched_epoch: LeaderEpoch(last_epoch),
        max_bytes: 1 << 20,
        max_wait_ms: 500,
        high_watermark: Offset::UNKNOWN,
    })
}

/// Brings replica 1 to lead epoch 1 of an empty log, with the votes of 1 and 2.
fn leader() -> RaftCore {
    elected().0
}

/// As [`leader`], with all that it did on the way.
fn elected() -> (RaftCore, Vec<Action>) {
    elected_with(LogStart::default())
}

/// Brings replica 1 to lead the epoch after that of its log.
fn elected_with(log: LogStart) -> (RaftCore, Vec<Action>) {
    let epoch = LeaderEpoch(log.epochs.last().map_or(0, |(epoch, _)| epoch.0) + 1);
    let mut core = core(None, log);
    let now = at(2_000);
    let mut actions = core.tick(now);
    let mut all = actions.clone();
    for _pre_vote in [true, false] {
        let sent = actions.iter().find_map(|action| match action {
            Action::Send { correlation_id, to, request: Request::Vote(request) } if to.id == node_id(2) => {
                Some((*correlation_id, request.replica_epoch))
            }
            _ => None,
        });
        let (correlation_id, epoch) = sent.unwrap();
        let leader = LeaderInfo { leader_id: None, epoch, endpoints: Endpoints::new() };
        let response = Response::Vote(VoteResponse { error: None, leader, vote_granted: true });
        actions = core.step(Event::Response { correlation_id, response }, now);
        all.extend(actions.clone());
    }
    assert!(actions.contains(&Action::FlushLog));
    assert_eq!((core.role(), core.epoch()), (RoleName::Leader, epoch));
    (core, all)
}

#[test]
fn a_vote_is_given_once_an_epoch_and_written_first() {
    let mut core = core(None, log(5, 1));
    let end = OffsetAndEpoch::new(5, 1);
    let actions = core.step(Event::Request { id: 1, request: vote(2, 3, end, false) }, at(1));
    let written = actions.iter().position(|action| {
        matches!(action, Action::WriteQuorumState { election, .. } if election.voted_key == Some(local(2).key))
    });
    let replied = actions.iter().position(|action| matches!(action, Action::Reply { .. }));
    assert!(written.unwrap() < replied.unwrap());
    assert_eq!(granted(&mut core, vote(2, 3, end, false)), Ok(true), "again to the same");
    assert_eq!(granted(&mut core, vote(3, 3, end, false)), Ok(false), "never to another");
    assert_eq!(granted(&mut core, vote(3, 2, end, false)), Err(RaftError::FencedLeaderEpoch));
    assert_eq!(granted(&mut core, vote(3, 4, end, false)), Ok(true), "a new epoch, a new vote");
}

/// A candidate's own vote is written before it asks for others, and leadership before anything is appended: after a
/// crash it is neither a voter for somebody else nor a second leader of the epoch.
#[test]
fn candidates_and_leaders_write_their_epoch_first() {
    let (_, steps) = elected();
    let position = |wanted: &dyn Fn(&Action) -> bool| steps.iter().position(wanted).unwrap();
    let written = |leader: Option<i32>, voted: bool| {
        position(&|action| {
            matches!(action, Action::WriteQuorumState { election, .. }
                if election.epoch == LeaderEpoch(1)
                    && election.leader_id == leader.map(node_id)
                    && election.voted_key.is_some() == voted)
        })
    };
    let asked = position(
        &|action| matches!(action, Action::Send { request: Request::Vote(vote), .. } if !vote.pre_vote),
    );
    let appended = position(&|action| matches!(action, Action::AppendAsLeader(_)));
    assert!(written(None, true) < asked);
    assert!(written(Some(1), false) < appended);
}

#[test]
fn a_vote_survives_a_restart() {
    let mut core = core(election(3, None, Some(2)), log(5, 1));
    let end = OffsetAndEpoch::new(5, 1);
    assert_eq!(granted(&mut core, vote(3, 3, end, false)), Ok(false));
    assert_eq!(granted(&mut core, vote(2, 3, end, false)), Ok(true));
}

#[test]
fn a_leader_of_before_votes_for_nobody_in_its_epoch() {
    let mut core = core(election(3, Some(1), None), log(5, 3));
    assert_eq!(core.role(), RoleName::Resigned);
    let end = OffsetAndEpoch::new(9, 3);
    assert_eq!(granted(&mut core, vote(2, 3, OffsetAndEpoch::new(9, 2), false)), Ok(false));
    assert_eq!(granted(&mut core, vote(2, 4, end, false)), Ok(true));
}

#[test]
fn only_a_log_that_reaches_as_far_gets_votes() {
    for (end, expected) in [
        (OffsetAndEpoch::new(5, 2), true),
        (OffsetAndEpoch::new(6, 2), true),
        (OffsetAndEpoch::new(1, 3), true),
        (OffsetAndEpoch::new(4, 2), false),
        (OffsetAndEpoch::new(99, 1), false),
    ] {
        for pre_vote in [false, true] {
            let mut core = core(None, log(5, 2));
            assert_eq!(granted(&mut core, vote(2, 7, end, pre_vote)), Ok(expected), "{end} {pre_vote}");
        }
    }
}

#[test]
fn impossible_votes_are_refused() {
    let check = |request, error| {
        let mut core = core(None, log(5, 2));
        assert_eq!(granted(&mut core, request), Err(error));
    };
    check(vote(2, 7, OffsetAndEpoch::new(5, 7), false), RaftError::InvalidRequest);
    check(vote(2, 7, OffsetAndEpoch::new(5, 8), true), RaftError::InvalidRequest);
    check(vote(2, 7, OffsetAndEpoch::new(-1, 1), false), RaftError::InvalidRequest);
    check(vote(-1, 7, OffsetAndEpoch::new(9, 1), false), RaftError::InvalidRequest);
    let Request::Vote(request) = vote(2, 7, OffsetAndEpoch::new(9, 1), false) else { panic!() };
    let other = VoteRequest { cluster_id: Some("other".to_owned()), ..request.clone() };
    check(Request::Vote(other), RaftError::InconsistentClusterId);
    let other = VoteRequest { voter: Some(ReplicaKey::new(node_id(1), directory(9))), ..request };
    check(Request::Vote(other), RaftError::InvalidVoterKey);
}

#[test]
fn a_follower_of_a_live_leader_gives_no_pre_vote() {
    let mut core = core(election(3, Some(2), None), log(5, 1));
    let end = OffsetAndEpoch::new(9, 1);
    let actions = core.tick(at(1));
    assert_eq!(granted(&mut core, vote(3, 3, end, true)), Ok(true), "not fetched yet");
    let Some(Action::Send { correlation_id, .. }) = actions.last() else { panic!("{actions:?}") };
    let leader =
        LeaderInfo { leader_id: Some(node_id(2)), epoch: LeaderEpoch(3), endpoints: Endpoints::new() };
    let response = Response::Fetch(FetchResponse {
        error: None,
        leader,
        high_watermark: Some(Offset(5)),
        log_start_offset: Offset(0),
        diverging: None,
        snapshot_id: None,
        records: FetchedRecords::None,
    });
    core.step(Event::Response { correlation_id: *correlation_id, response }, at(3));
    assert_eq!(granted(&mut core, vote(3, 3, end, true)), Ok(false));
    assert_eq!(core.epoch(), LeaderEpoch(3), "a pre-vote disturbs nobody");
}

#[test]
fn a_leader_whose_process_is_gone_is_not_waited_for() {
    let mut core = core(election(3, Some(2), None), log(5, 1));
    let end = OffsetAndEpoch::new(9, 1);
    let fetched = |core: &mut RaftCore, now| {
        let actions = core.tick(at(now));
        let sent = actions.iter().find_map(|action| match action {
            Action::Send { correlation_id, to, .. } if to.id == node_id(2) => Some(*correlation_id),
            _ => None,
        });
        sent.expect("it asks the leader")
    };
    let leader =
        LeaderInfo { leader_id: Some(node_id(2)), epoch: LeaderEpoch(3), endpoints: Endpoints::new() };
    let response = Response::Fetch(FetchResponse {
        error: None,
        leader,
        high_watermark: Some(Offset(5)),
        log_start_offset: Offset(0),
        diverging: None,
        snapshot_id: None,
        records: FetchedRecords::None,
    });
    let correlation_id = fetched(&mut core, 1);
    let actions = core.step(Event::Response { correlation_id, response }, at(2));
    assert_eq!(granted(&mut core, vote(3, 3, end, true)), Ok(false), "the leader lives");
    let Some(Action::Send { correlation_id, .. }) = actions.last() else { panic!("{actions:?}") };
    core.step(Event::RequestFailed { correlation_id: *correlation_id }, at(3));
    assert_eq!(granted(&mut core, vote(3, 3, end, true)), Ok(false), "it may be slow");
    let correlation_id = fetched(&mut core, 30);
    core.step(Event::RequestRefused { correlation_id }, at(31));
    assert_eq!(core.heard_of(), Some((node_id(2), at(2).mono)), "not since");
    assert_eq!(core.epoch(), LeaderEpoch(3));
    assert_eq!(granted(&mut core, vote(3, 3, end, true)), Ok(true));
    core.tick(at(81));
    assert_eq!((core.role(), core.epoch()), (RoleName::Prospective, LeaderEpoch(3)));
    assert_eq!(core.why_role(), "the leader's process has ended");
}

/// It was started again before anybody was refused where it listened: it has resigned, and knows of nobody who could follow it.
#[test]
fn a_leader_that_is_back_at_once_is_not_waited_for() {
    let mut core = core(election(3, Some(2), None), log(5, 1));
    let resigns = Request::EndQuorumEpoch(EndQuorumEpochRequest {
        cluster_id: Some("cluster".to_owned()),
        leader_id: node_id(2),
        leader_epoch: LeaderEpoch(3),
        preferred_candidates: Vec::new(),
        leader_endpoints: local(2).listeners,
    });
    ask(&mut core, resigns.clone(), 31);
    assert_eq!(granted(&mut core, vote(3, 3, OffsetAndEpoch::new(9, 1), true)), Ok(true));
    // That comes again where its answer was lost, and puts nothing off.
    ask(&mut core, resigns, 32);
    core.tick(at(51));
    assert_eq!((core.role(), core.epoch()), (RoleName::Prospective, LeaderEpoch(3)));
    assert_eq!(core.why_role(), "the leader's process has ended");
}

#[test]
fn a_follower_that_hears_nothing_asks_before_it_stands() {
    let mut core = core(election(3, Some(2), None), log(5, 1));
    core.tick(at(1));
    core.tick(at(2_000));
    assert_eq!((core.role(), core.epoch()), (RoleName::Prospective, LeaderEpoch(3)));
    assert_eq!(core.why_role(), "the leader is silent");
    core.tick(at(4_000));
    assert_eq!((core.role(), core.epoch()), (RoleName::Follower, LeaderEpoch(3)), "nobody answered");
}

#[test]
fn epochs_and_leaders_are_never_contradicted() {
    let mut core = core(None, log(5, 1));
    assert!(
        matches!(ask(&mut core, begin_epoch(2, 4), 1), Response::BeginQuorumEpoch(r) if r.error.is_none())
    );
    assert_eq!((core.role(), core.epoch()), (RoleName::Follower, LeaderEpoch(4)));
    let refused = |response| match response {
        Response::BeginQuorumEpoch(response) => response.error,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(ask(&mut core, begin_epoch(3, 4), 2)), Some(RaftError::InvalidRequest));
    assert_eq!(refused(ask(&mut core, begin_epoch(3, 3), 2)), Some(RaftError::FencedLeaderEpoch));
    assert_eq!(core.leader_and_epoch().leader_id, Some(node_id(2)));
    assert_eq!(refused(ask(&mut core, begin_epoch(3, 5), 2)), None);
    assert_eq!(core.leader_and_epoch().leader_id, Some(node_id(3)));
}

#[test]
fn the_high_watermark_is_what_a_majority_has_on_disk() {
    let mut core = leader();
    assert_eq!(core.high_watermark(), None);
    // Replica 2 has the first record, but the leader itself hasn't flushed it, and 3 has nothing.
    core.step(Event::Request { id: 2, request: fetch(2, 1, 1, 1) }, at(2_010));
    assert_eq!(core.high_watermark(), None);
    let actions = core.step(Event::Flushed { end_offset: Offset(1) }, at(2_011));
    assert_eq!(core.high_watermark(), Some(Offset(1)));
    // Which the parked fetch of 2 is told at once.
    let told = actions.iter().any(|action| {
        matches!(action, Action::Reply { id: 2, response: Response::Fetch(r) } if r.high_watermark == Some(Offset(1)))
    });
    assert!(told, "{actions:?}");
}

/// Raft's §5.4.2: a majority that has a record of an older epoch does not make it committed. A leader of an epoch in between
/// may not have had it, and may come back and overwrite it.
#[test]
fn records_of_older_epochs_are_committed_with_the_first_of_the_leaders_own() {
    let (mut core, _) = elected_with(log(5, 1));
    core.step(Event::Request { id: 2, request: fetch(2, 2, 5, 1) }, at(2_010));
    core.step(Event::Flushed { end_offset: Offset(6) }, at(2_011));
    assert_eq!(core.high_watermark(), None, "five records are on two of three replicas");
    core.step(Event::Request { id: 3, request: fetch(2, 2, 6, 2) }, at(2_012));
    assert_eq!(core.high_watermark(), Some(Offset(6)));
}

#[test]
fn observers_count_for_nothing() {
    let mut core = leader();
    core.step(Event::Flushed { end_offset: Offset(1) }, at(2_010));
    core.step(Event::Request { id: 2, request: fetch(9, 1, 1, 1) }, at(2_010));
    assert_eq!(core.high_watermark(), None);
    let info = core.describe(at(2_011)).unwrap();
    assert_eq!(info.voters.len(), 3);
    assert_eq!(info.observers.len(), 1);
    assert_eq!(info.observers[0].log_end_offset, Some(Offset(1)));
}

#[test]
fn fetches_are_validated() {
    let check = |request, error| match ask(&mut leader(), request, 2_010) {
        Response::Fetch(response) => assert_eq!(response.error, Some(error)),
        other => panic!("{other:?}"),
    };
    check(fetch(2, 0, 0, 0), RaftError::FencedLeaderEpoch);
    check(fetch(2, 2, 0, 0), RaftError::UnknownLeaderEpoch);
    check(fetch(2, 1, -1, 0), RaftError::InvalidRequest);
    check(fetch(2, 1, 0, 2), RaftError::InvalidRequest);
    check(fetch(1, 1, 0, 0), RaftError::InvalidRequest);
}

#[test]
fn a_leader_without_followers_resigns() {
    let mut core = leader();
    core.step(Event::Flushed { end_offset: Offset(1) }, at(2_010));
    core.tick(at(4_900));
    assert_eq!(core.role(), RoleName::Leader);
    core.tick(at(5_100));
    assert_eq!(core.role(), RoleName::Resigned);
    let stale = core.append(LeaderEpoch(1), vec![Bytes::from_static(b"x")], at(5_101));
    assert_eq!(stale, Err(AppendError::NotLeader(LeaderEpoch(1))));
}

#[test]
fn positions_of_followers() {
    let start = LogStart {
        log_start_offset: Offset(10),
        end_offset: Offset(40),
        flushed_end_offset: Offset(40),
        epochs: vec![
            (LeaderEpoch(2), Offset(10)),
            (LeaderEpoch(4), Offset(20)),
            (LeaderEpoch(7), Offset(30)),
        ],
        snapshots: vec![(OffsetAndEpoch::new(10, 2), 100), (OffsetAndEpoch::new(25, 4), 100)],
        control: Vec::new(),
    };
    let view = LogView::new(&start);
    let snapshot = FetchPosition::Snapshot(OffsetAndEpoch::new(25, 4));
    for (offset, epoch, expected) in [
        (40, 7, FetchPosition::Valid),
        (30, 4, FetchPosition::Valid),
        (20, 2, FetchPosition::Valid),
        (10, 2, FetchPosition::Valid),
        (0, 0, snapshot),
        (9, 2, snapshot),
        (12, 1, snapshot),
        (10, 3, snapshot),
        (31, 4, FetchPosition::Diverging(OffsetAndEpoch::new(30, 4))),
        (35, 5, FetchPosition::Diverging(OffsetAndEpoch::new(30, 4))),
        (21, 3, FetchPosition::Diverging(OffsetAndEpoch::new(20, 2))),
        (41, 7, FetchPosition::Diverging(OffsetAndEpoch::new(40, 7))),
        (41, 9, FetchPosition::Diverging(OffsetAndEpoch::new(40, 7))),
    ] {
        assert_eq!(view.validate(Offset(offset), LeaderEpoch(epoch)), expected, "{offset} {epoch}");
    }
}

#[test]
fn voter_sets_follow_the_log() {
    let mut history = VoterHistory::new(static_voters(&[1]));
    history.add_voters(Offset(5), static_voters(&[1, 2]));
    history.add_voters(Offset(9), static_voters(&[1, 2, 3]));
    history.add_kraft_version(Offset(5), 1);
    assert_eq!(history.latest().len(), 3);
    history.truncate_new(Offset(9));
    assert_eq!(history.latest().len(), 2);
    assert_eq!(history.at(Offset(4)), (0, None));
    history.truncate_old(Offset(8));
    assert_eq!(history.at(Offset(7)), (1, Some(&static_voters(&[1, 2]))));
    history.truncate_new(Offset(0));
    assert_eq!(history.latest().len(), 1);
    assert!(static_voters(&[1, 2, 3]).has_overlapping_majority(&static_voters(&[1, 2, 4])));
    assert!(!static_voters(&[1, 2, 3]).has_overlapping_majority(&static_voters(&[3, 4, 5])));
}

/// Its last answer may come after its word that it leads no more: whoever would take over is helped all the same.
#[test]
fn a_leader_that_has_resigned_is_not_taken_to_be_there() {
    let mut core = core(None, log(5, 1));
    let mut actions = core.step(Event::Request { id: 1, request: begin_epoch(2, 2) }, at(1));
    let mut answer = |core: &mut RaftCore, now: u64| {
        let sent = actions.iter().find_map(|action| match action {
            Action::Send { correlation_id, request: Request::Fetch(_), .. } => Some(*correlation_id),
            _ => None,
        });
        let response = FetchResponse {
            error: None,
            leader: LeaderInfo {
                leader_id: Some(node_id(2)),
                epoch: LeaderEpoch(2),
                endpoints: local(2).listeners,
            },
            high_watermark: Some(Offset(5)),
            log_start_offset: Offset(0),
            diverging: None,
            snapshot_id: None,
            records: FetchedRecords::None,
        };
        let response = Response::Fetch(response);
        actions = core.step(Event::Response { correlation_id: sent.unwrap(), response }, at(now));
    };
    let end = OffsetAndEpoch::new(5, 1);
    answer(&mut core, 2);
    assert_eq!(granted(&mut core, vote(3, 2, end, true)), Ok(false), "it has a leader");
    let resigns = Request::EndQuorumEpoch(EndQuorumEpochRequest {
        cluster_id: Some("cluster".to_owned()),
        leader_id: node_id(2),
        leader_epoch: LeaderEpoch(2),
        preferred_candidates: vec![local(3).key, local(1).key],
        leader_endpoints: local(2).listeners,
    });
    ask(&mut core, resigns, 3);
    answer(&mut core, 4);
    assert_eq!(granted(&mut core, vote(3, 2, end, true)), Ok(true));
    core.tick(at(600));
    assert_eq!(core.role(), RoleName::Prospective, "its own turn comes soon");
    assert_eq!(core.why_role(), "the leader has resigned");
}

#[test]
fn who_has_no_epoch_left_to_stand_in_says_so_and_ends() {
    let last = LeaderEpoch(i32::MAX);
    let ended = |core: &RaftCore, actions: &[Action]| {
        let reason = actions.iter().find_map(|action| match action {
            Action::Halt { reason } => Some(reason.as_str()),
            _ => None,
        });
        assert!(reason.is_some_and(|reason| reason.contains("no leader can be elected")), "{actions:?}");
        assert_eq!(core.epoch(), last);
    };
    // It led, and nobody else can come.
    let mut core = core(election(i32::MAX, Some(1), None), log(5, 1));
    let actions = core.tick(at(3_000));
    ended(&core, &actions);

    let mut core = self::core(election(3, Some(2), None), log(5, 1));
    assert_eq!(granted(&mut core, vote(3, i32::MAX, OffsetAndEpoch::new(9, 1), false)), Ok(true));
    assert_eq!(core.epoch(), last);
    let actions = core.tick(at(3_000));
    let sent = actions.iter().find_map(|action| match action {
        Action::Send { correlation_id, to, request: Request::Vote(_) } if to.id == node_id(2) => {
            Some(*correlation_id)
        }
        _ => None,
    });
    let leader = LeaderInfo { leader_id: None, epoch: last, endpoints: Endpoints::new() };
    let response = Response::Vote(VoteResponse { error: None, leader, vote_granted: true });
    let correlation_id = sent.expect("it asks before it stands");
    let actions = core.step(Event::Response { correlation_id, response }, at(3_001));
    ended(&core, &actions);
}
