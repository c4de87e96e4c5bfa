//! The rules by which voters change (KIP-853), one message at a time.

use ottla_types::{LeaderEpoch, Offset};

use crate::replication::MAX_OBSERVERS;

use super::*;

fn voter(id: i32) -> VoterNode {
    VoterNode { key: local(id).key, listeners: local(id).listeners, supported_kraft_version: (0, 1) }
}

fn set(ids: &[i32]) -> VoterSet {
    VoterSet::new(ids.iter().map(|id| voter(*id)))
}

/// What formatting leaves for a dynamic quorum of these.
fn formatted(ids: &[i32]) -> LogStart {
    let control = [ControlRecord::KRaftVersion(1), ControlRecord::Voters(set(ids))];
    LogStart { control: control.map(|record| (Offset::UNKNOWN, record)).into(), ..LogStart::default() }
}

struct Leader {
    core: RaftCore,
    now: u64,
    asked: u64,
}

impl Leader {
    /// Replica 1 leads the first epoch, and has committed nothing.
    fn elected(log: LogStart) -> Leader {
        let start = RaftStart { quorum: settings(1, &[1, 2, 3]), election: None, log };
        let mut leader = Leader { core: RaftCore::new(start, at(0)), now: 2_000, asked: 0 };
        let mut actions = leader.core.tick(at(leader.now));
        for _pre_vote in 0..2 {
            for action in std::mem::take(&mut actions) {
                let Action::Send { correlation_id, request: Request::Vote(request), .. } = action else {
                    continue;
                };
                let epoch = request.replica_epoch;
                let from = LeaderInfo { leader_id: None, epoch, endpoints: Endpoints::new() };
                let response = Response::Vote(VoteResponse { error: None, leader: from, vote_granted: true });
                actions
                    .extend(leader.core.step(Event::Response { correlation_id, response }, at(leader.now)));
            }
        }
        assert_eq!((leader.core.role(), leader.core.epoch()), (RoleName::Leader, LeaderEpoch(1)));
        leader
    }

    /// The same, and all that it has written is committed.
    fn leading(ids: &[i32]) -> Leader {
        let mut leader = Leader::elected(formatted(ids));
        leader.commit(ids);
        leader
    }

    fn end(&self) -> Offset {
        self.core.log().end_offset()
    }

    fn step(&mut self, event: Event) -> Vec<Action> {
        self.now += 1;
        self.core.step(event, at(self.now))
    }

    /// The answer, if there is one already.
    fn ask(&mut self, request: Request) -> Option<Response> {
        self.asked += 1;
        let actions = self.step(Event::Request { id: self.asked, request });
        replies(actions).pop()
    }

    fn flush(&mut self) -> Vec<Action> {
        let end_offset = self.end();
        self.step(Event::Flushed { end_offset })
    }

    /// A replica has all that there is.
    fn fetched_by(&mut self, id: i32) -> Vec<Action> {
        self.asked += 1;
        let request = Request::Fetch(FetchRequest {
            cluster_id: None,
            replica: local(id).key,
            current_leader_epoch: self.core.epoch(),
            fetch_offset: self.end(),
            last_fetched_epoch: self.core.epoch(),
            max_bytes: 1000,
            max_wait_ms: 0,
            high_watermark: Offset::UNKNOWN,
        });
        let id = self.asked;
        self.step(Event::Request { id, request })
    }

    fn commit(&mut self, ids: &[i32]) -> Vec<Action> {
        let mut actions = self.flush();
        for id in ids.iter().filter(|id| **id != 1) {
            actions.extend(self.fetched_by(*id));
        }
        assert_eq!(self.core.high_watermark(), Some(self.end()));
        actions
    }

    /// Asks for another voter, and answers for that one what it supports.
    fn add(&mut self, id: i32, supported: Option<(i16, i16)>) -> Vec<Action> {
        self.asked += 1;
        let asked = self.asked;
        let actions = self.step(Event::Request { id: asked, request: add(id) });
        let sent = actions.iter().find_map(|action| match action {
            Action::Send { correlation_id, to, request: Request::ApiVersions } => Some((*correlation_id, to)),
            _ => None,
        });
        let (correlation_id, to) = sent.expect("it asks the new one for its versions");
        assert_eq!((to.id, &to.address), (node_id(id), &address(id)));
        let response = Response::ApiVersions(ApiVersionsResponse { error: None, kraft_version: supported });
        self.step(Event::Response { correlation_id, response })
    }
}

fn replies(actions: Vec<Action>) -> Vec<Response> {
    let replies = actions.into_iter().filter_map(|action| match action {
        Action::Reply { response, .. } if !matches!(response, Response::Fetch(_)) => Some(response),
        _ => None,
    });
    replies.collect()
}

fn appended(actions: &[Action]) -> Vec<ControlRecord> {
    let batches = actions.iter().filter_map(|action| match action {
        Action::AppendAsLeader(batches) => Some(batches),
        _ => None,
    });
    let records = batches.flatten().flat_map(|batch| match &batch.records {
        BatchRecords::Control(records) => records.clone(),
        BatchRecords::Data(_) => Vec::new(),
    });
    records.collect()
}

fn add_request(id: i32) -> AddRaftVoterRequest {
    AddRaftVoterRequest {
        cluster_id: Some("cluster".to_owned()),
        voter: local(id).key,
        listeners: local(id).listeners,
        ack_when_committed: true,
        timeout_ms: 1000,
    }
}

fn add(id: i32) -> Request {
    Request::AddRaftVoter(add_request(id))
}

fn remove(id: i32) -> Request {
    Request::RemoveRaftVoter(RemoveRaftVoterRequest { cluster_id: None, voter: local(id).key })
}

fn update(voter: VoterNode) -> Request {
    let current_leader_epoch = LeaderEpoch(1);
    Request::UpdateRaftVoter(UpdateRaftVoterRequest { cluster_id: None, current_leader_epoch, voter })
}

#[track_caller]
fn check(response: Option<Response>, expected: Option<RaftError>) {
    let error = match response {
        Some(Response::AddRaftVoter(response) | Response::RemoveRaftVoter(response)) => response.error,
        Some(Response::UpdateRaftVoter(response)) => response.error,
        other => panic!("{other:?}"),
    };
    assert_eq!(error, expected);
}

fn said(response: Option<Response>) -> Option<String> {
    match response {
        Some(Response::AddRaftVoter(response) | Response::RemoveRaftVoter(response)) => response.message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_a_leader_that_has_committed_in_its_epoch_changes_voters() {
    let start = RaftStart { quorum: settings(1, &[1, 2, 3]), election: None, log: formatted(&[1, 2, 3]) };
    let mut follower = Leader { core: RaftCore::new(start, at(0)), now: 0, asked: 0 };
    check(follower.ask(add(4)), Some(RaftError::NotLeaderOrFollower));
    check(follower.ask(remove(3)), Some(RaftError::NotLeaderOrFollower));

    let mut leader = Leader::elected(formatted(&[1, 2, 3]));
    for request in [add(4), remove(3), update(voter(3))] {
        check(leader.ask(request), Some(RaftError::RequestTimedOut));
    }
    leader.commit(&[1, 2, 3]);
    check(leader.ask(update(voter(3))), None);
}

#[test]
fn voters_of_the_settings_do_not_change() {
    let mut leader = Leader::elected(LogStart::default());
    leader.commit(&[1, 2, 3]);
    for (request, what) in [(add(4), "adding"), (remove(3), "removing")] {
        let response = leader.ask(request);
        let words = format!("Cluster doesn't support {what} voter because the kraft.version feature is 0");
        assert_eq!(said(response.clone()), Some(words));
        check(response, Some(RaftError::UnsupportedVersion));
    }
    // The leader remembers what such voters tell, and writes nothing.
    let end = leader.end();
    check(leader.ask(update(voter(3))), None);
    check(leader.ask(update(voter(4))), Some(RaftError::VoterNotFound));
    assert_eq!(leader.end(), end);
}

#[test]
fn a_voter_is_added_by_one_record_and_counts_from_then_on() {
    let mut leader = Leader::leading(&[1, 2, 3]);
    leader.fetched_by(4);
    let actions = leader.add(4, Some((0, 1)));
    assert_eq!(appended(&actions), [ControlRecord::Voters(set(&[1, 2, 3, 4]))]);
    assert!(replies(actions).is_empty(), "it is not committed yet");
    for request in [add(5), remove(3), update(voter(3))] {
        check(leader.ask(request), Some(RaftError::RequestTimedOut));
    }
    // Two of three would have been enough before.
    leader.flush();
    let before = leader.core.high_watermark();
    let actions = leader.fetched_by(2);
    assert_eq!((leader.core.high_watermark(), replies(actions).len()), (before, 0));
    let actions = leader.fetched_by(4);
    assert_eq!(leader.core.high_watermark(), Some(leader.end()));
    check(replies(actions).pop(), None);
    check(leader.ask(add(4)), Some(RaftError::DuplicateVoter));
}

#[test]
fn who_adds_itself_hears_before_the_commit() {
    let mut leader = Leader::leading(&[1]);
    leader.fetched_by(2);
    leader.asked += 1;
    let request = AddRaftVoterRequest { ack_when_committed: false, ..add_request(2) };
    let id = leader.asked;
    let actions = leader.step(Event::Request { id, request: Request::AddRaftVoter(request) });
    let Some(Action::Send { correlation_id, .. }) = actions.last() else { panic!("{actions:?}") };
    let response = Response::ApiVersions(ApiVersionsResponse { error: None, kraft_version: Some((0, 1)) });
    let actions = leader.step(Event::Response { correlation_id: *correlation_id, response });
    assert!(leader.core.high_watermark() < Some(leader.end()));
    check(replies(actions).pop(), None);
    assert!(replies(leader.commit(&[1, 2])).is_empty(), "it has been told");
    check(leader.ask(remove(7)), Some(RaftError::VoterNotFound));
}

#[test]
fn who_is_not_fit_is_not_added() {
    let refused = |fetches: bool, supported, expected| {
        let mut leader = Leader::leading(&[1, 2, 3]);
        if fetches {
            leader.fetched_by(4);
        }
        let end = leader.end();
        let actions = leader.add(4, supported);
        check(replies(actions).pop(), Some(expected));
        assert_eq!((leader.end(), leader.core.voters().latest().len()), (end, 3));
        check(leader.ask(remove(7)), Some(RaftError::VoterNotFound));
    };
    refused(false, Some((0, 1)), RaftError::RequestTimedOut);
    refused(true, Some((0, 0)), RaftError::InvalidRequest);
    refused(true, Some((2, 3)), RaftError::InvalidRequest);
    refused(true, None, RaftError::InvalidRequest);
}

#[test]
fn requests_are_validated() {
    let mut leader = Leader::leading(&[1, 2, 3]);
    let mut refused = |request: AddRaftVoterRequest, expected| {
        check(leader.ask(Request::AddRaftVoter(request)), Some(expected));
    };
    let cluster_id = Some("other".to_owned());
    refused(AddRaftVoterRequest { cluster_id, ..add_request(4) }, RaftError::InconsistentClusterId);
    let voter_of = |id, directory| ReplicaKey { id: node_id(id), directory_id: directory };
    let nameless = AddRaftVoterRequest { voter: voter_of(4, None), ..add_request(4) };
    refused(nameless, RaftError::InvalidRequest);
    let negative = AddRaftVoterRequest { voter: voter_of(-1, Some(directory(4))), ..add_request(4) };
    refused(negative, RaftError::InvalidRequest);
    let listeners = Endpoints::one("OTHER", address(4));
    refused(AddRaftVoterRequest { listeners, ..add_request(4) }, RaftError::InvalidRequest);

    let other_directory = voter_of(3, Some(directory(9)));
    let request = RemoveRaftVoterRequest { cluster_id: None, voter: other_directory };
    check(leader.ask(Request::RemoveRaftVoter(request)), Some(RaftError::VoterNotFound));
    for wrong in [
        VoterNode { listeners: Endpoints::one("OTHER", address(3)), ..voter(3) },
        VoterNode { supported_kraft_version: (1, 0), ..voter(3) },
        VoterNode { supported_kraft_version: (2, 3), ..voter(3) },
        VoterNode { supported_kraft_version: (-1, 3), ..voter(3) },
        VoterNode { key: voter_of(3, None), ..voter(3) },
    ] {
        check(leader.ask(update(wrong)), Some(RaftError::InvalidRequest));
    }
    check(leader.ask(update(voter(4))), Some(RaftError::VoterNotFound));
    let mut stale =
        UpdateRaftVoterRequest { cluster_id: None, current_leader_epoch: LeaderEpoch(0), voter: voter(3) };
    check(leader.ask(Request::UpdateRaftVoter(stale.clone())), Some(RaftError::FencedLeaderEpoch));
    stale.current_leader_epoch = LeaderEpoch(2);
    check(leader.ask(Request::UpdateRaftVoter(stale)), Some(RaftError::UnknownLeaderEpoch));
}

#[test]
fn refusals_have_kafkas_words() {
    let mut leader = Leader { core: single(), now: 0, asked: 0 };
    leader.flush();
    let directory_of = |id| directory(id).to_string();
    let voters = format!("[ReplicaKey(id=1, directoryId={})]", directory_of(1));
    let mut check = |request, expected: String| assert_eq!(said(leader.ask(request)), Some(expected));
    for id in [1, 8] {
        let key = format!("ReplicaKey(id={id}, directoryId={})", directory_of(id));
        check(remove(id), format!("Cannot remove voter {key} from the set of voters {voters}"));
    }
    let own = format!("ReplicaKey(id=1, directoryId={})", directory_of(1));
    check(add(1), format!("The voter id for {own} is already part of the set of voters {voters}."));
    let without = |listeners| Request::AddRaftVoter(AddRaftVoterRequest { listeners, ..add_request(4) });
    for (listeners, told) in [
        (Endpoints::new(), ""),
        (Endpoints::one("X", HostPort::new("127.0.0.1", 1)), "ListenerName(X)=127.0.0.1/<unresolved>:1"),
    ] {
        check(
            without(listeners),
            format!(
                "Add voter request didn't include the endpoint (Endpoints(endpoints={{{told}}})) for the default \
                 listener ListenerName(CONTROLLER)"
            ),
        );
    }
    let nameless = ReplicaKey::without_directory(node_id(4));
    let request = Request::AddRaftVoter(AddRaftVoterRequest { voter: nameless, ..add_request(4) });
    check(request, "Add voter request didn't include a valid voter".into());
    let request = RemoveRaftVoterRequest { cluster_id: None, voter: nameless };
    check(Request::RemoveRaftVoter(request), "Remove voter request didn't include a valid voter".into());
    let other = RemoveRaftVoterRequest { cluster_id: Some("x".into()), voter: local(1).key };
    let words = "The given id \"x\" doesn't match the cluster id \"cluster\"";
    check(Request::RemoveRaftVoter(other), words.into());

    let lagging = format!(
        "Aborted add voter operation for ReplicaKey(id=4, directoryId={}) since it is lagging behind",
        directory_of(4)
    );
    assert_eq!(said(replies(leader.add(4, Some((0, 1)))).pop()), Some(lagging));
    leader.asked += 1;
    let id = leader.asked;
    let actions = leader.step(Event::Request { id, request: add(5) });
    let Some(Action::Send { correlation_id, .. }) = actions.last() else { panic!("{actions:?}") };
    let actions = leader.step(Event::RequestFailed { correlation_id: *correlation_id });
    let silent = "Aborted add voter operation for since API_VERSIONS returned an error BROKER_NOT_AVAILABLE"
        .to_owned();
    assert_eq!(said(replies(actions).pop()), Some(silent));
}

#[test]
fn a_leader_that_is_removed_leads_until_that_is_committed() {
    let mut leader = Leader::leading(&[1, 2, 3]);
    assert_eq!(leader.ask(remove(1)), None);
    assert_eq!(leader.core.voters().latest(), &set(&[2, 3]));
    leader.flush();
    leader.fetched_by(2);
    assert_eq!(leader.core.role(), RoleName::Leader, "its own copy counts no more");
    let actions = leader.fetched_by(3);
    let ended = actions.iter().filter(|action| {
        matches!(action, Action::Send { request: Request::EndQuorumEpoch(end), .. } if end.preferred_candidates.len() == 2)
    });
    assert_eq!(ended.count(), 2);
    assert_eq!(leader.core.role(), RoleName::Resigned);
    check(replies(actions).pop(), None);

    let mut alone = Leader { core: single(), now: 0, asked: 0 };
    alone.flush();
    check(alone.ask(remove(1)), Some(RaftError::VoterNotFound));
}

/// A quorum of one has nobody to be elected by.
fn single() -> RaftCore {
    let start = RaftStart { quorum: settings(1, &[1]), election: None, log: formatted(&[1]) };
    let mut core = RaftCore::new(start, at(0));
    core.tick(at(0));
    assert_eq!(core.role(), RoleName::Leader);
    core
}

#[test]
fn a_leader_that_is_alone_no_more_is_not_lost_at_once() {
    let mut leader = Leader { core: single(), now: 100_000, asked: 0 };
    leader.flush();
    leader.fetched_by(2);
    leader.add(2, Some((0, 1)));
    leader.flush();
    assert_eq!(leader.core.role(), RoleName::Leader);
    leader.core.tick(at(leader.now + 4_000));
    assert_eq!(leader.core.role(), RoleName::Resigned, "the new one does not fetch");
}

#[test]
fn who_says_that_it_is_many_is_forgotten_before_those_that_fetch() {
    let mut leader = Leader::leading(&[1]);
    leader.fetched_by(2);
    let many = MAX_OBSERVERS as i32 + 200;
    for other in 0..many {
        leader.fetched_by(10 + other);
        if other % 100 == 0 {
            leader.fetched_by(2);
        }
    }
    let now = at(leader.now);
    let observers = leader.core.describe(now).expect("it leads").observers;
    assert_eq!(observers.len(), MAX_OBSERVERS);
    let known = |id: i32| observers.iter().any(|observer| observer.key.id == node_id(id));
    assert!(known(2) && known(9 + many) && !known(10));
    leader.now += 300_001;
    leader.fetched_by(2);
    let observers = leader.core.describe(at(leader.now)).expect("it leads").observers;
    assert_eq!(observers.len(), 1, "the others are silent");
}

#[test]
fn a_voter_that_has_moved_is_written_once() {
    let mut leader = Leader::leading(&[1, 2, 3]);
    let end = leader.end();
    check(leader.ask(update(voter(3))), None);
    assert_eq!(leader.end(), end, "that was known");
    let moved = VoterNode { listeners: Endpoints::one("CONTROLLER", address(77)), ..voter(3) };
    check(leader.ask(update(moved.clone())), None);
    assert_eq!(leader.end(), end + 1);
    assert_eq!(leader.core.voters().latest().get(node_id(3)), Some(&moved));
    check(leader.ask(update(voter(2))), Some(RaftError::RequestTimedOut));
}

#[test]
fn a_change_that_takes_too_long_is_given_up_but_may_yet_be_committed() {
    let mut leader = Leader::leading(&[1, 2, 3]);
    assert_eq!(leader.ask(remove(3)), None);
    leader.now += 2_100;
    let actions = leader.core.tick(at(leader.now));
    check(replies(actions).pop(), Some(RaftError::RequestTimedOut));
    check(leader.ask(remove(2)), Some(RaftError::RequestTimedOut));
    leader.commit(&[1, 2]);
    assert_eq!(leader.core.voters().latest(), &set(&[1, 2]));
    check(leader.ask(remove(3)), Some(RaftError::VoterNotFound));
}

#[test]
fn who_waits_hears_of_a_leader_that_leads_no_more() {
    let mut leader = Leader::leading(&[1, 2, 3]);
    assert_eq!(leader.ask(remove(3)), None);
    let begun = Request::BeginQuorumEpoch(BeginQuorumEpochRequest {
        cluster_id: None,
        voter: Some(local(1).key),
        leader_id: node_id(2),
        leader_epoch: LeaderEpoch(2),
        leader_endpoints: local(2).listeners,
    });
    let actions = leader.step(Event::Request { id: 99, request: begun });
    let refused =
        replies(actions).into_iter().find(|response| matches!(response, Response::RemoveRaftVoter(_)));
    check(refused, Some(RaftError::NotLeaderOrFollower));
}

#[test]
fn voters_of_the_settings_become_those_of_the_log_when_all_have_told_of_themselves() {
    let mut leader = Leader::elected(LogStart::default());
    let raise = |leader: &mut Leader, level| {
        let raised = leader.core.raise_kraft_version(LeaderEpoch(1), level, at(leader.now));
        raised.map(|_| appended(&leader.core.tick(at(leader.now))))
    };
    assert!(raise(&mut leader, 1).is_err(), "nothing is committed yet");
    leader.commit(&[1, 2, 3]);
    check(leader.ask(update(voter(2))), None);
    assert!(raise(&mut leader, 1).is_err(), "3 has not told of itself");
    check(leader.ask(update(VoterNode { supported_kraft_version: (0, 0), ..voter(3) })), None);
    assert!(raise(&mut leader, 1).is_err(), "3 does not support it");
    check(leader.ask(update(voter(3))), None);
    assert!(raise(&mut leader, 2).is_err(), "nobody supports that");
    let records = raise(&mut leader, 1).unwrap();
    assert_eq!(records, [ControlRecord::KRaftVersion(1), ControlRecord::Voters(set(&[1, 2, 3]))]);
    assert!(raise(&mut leader, 1).is_err(), "it is done");
    check(leader.ask(remove(3)), Some(RaftError::RequestTimedOut));
    leader.commit(&[1, 2, 3]);
    assert_eq!(leader.ask(remove(3)), None);
}
