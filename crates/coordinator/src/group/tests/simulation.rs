//! Clients that join, sync, commit, leave and vanish, over a log that fails, commits late and changes its leader at any
//! record: all from one seed. What must hold is checked after every step.

use std::collections::BTreeMap;

use ottla_testkit::cases;
use ottla_wire::messages::leave_group_request::Member as Leaving;
use ottla_wire::messages::offset_fetch_request::{Group, GroupTopic};
use ottla_wire::messages::{
    LeaveGroupRequest, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
};
use proptest::prelude::*;

use super::offsets::{commit_request, send_commit, send_fetch};
use super::*;
use crate::testing::Choices;

#[derive(Default)]
struct Client {
    instance_id: Option<String>,
    member_id: String,
    generation: Option<JoinGroupResponse>,
    joining: Option<Answer<JoinGroupResponse>>,
    syncing: Option<(JoinGroupResponse, Answer<SyncGroupResponse>)>,
    committing: Vec<(i64, i32, Answer<OffsetCommitResponse>)>,
    is_stable: bool,
}

struct World {
    choices: Choices,
    rig: Rig,
    clients: Vec<Client>,
    /// Requests of clients that are gone: they too must be answered.
    abandoned: Vec<Box<dyn Fn() -> bool>>,
    fetches: Vec<(i64, Answer<OffsetFetchResponse>)>,
    /// The one assignment that each generation has had.
    assignment_of: BTreeMap<i32, String>,
    assignments_made: usize,
    next_offset: i64,
    /// The highest offset that anybody was told is committed.
    known_offset: i64,
    /// The highest generation that a commit was accepted for by this coordinator.
    committed_generation: i32,
}

impl World {
    fn new(seed: u64) -> World {
        let rig = Rig::new();
        rig.hold_commits();
        let client = |i: usize| Client {
            instance_id: (i % 2 == 1).then(|| format!("instance{i}")),
            ..Client::default()
        };
        World {
            choices: Choices::new(seed),
            rig,
            clients: (0..4).map(client).collect(),
            abandoned: Vec::new(),
            fetches: Vec::new(),
            assignment_of: BTreeMap::new(),
            assignments_made: 0,
            next_offset: 0,
            known_offset: -1,
            committed_generation: -1,
        }
    }

    fn step(&mut self) {
        let i = self.choices.below(self.clients.len());
        match self.choices.below(40) {
            0..=17 => self.progress(i),
            18..=20 => self.heartbeat(i),
            21..=23 => self.commit_offset(i),
            24..=25 => self.fetch_offset(),
            26 => self.vanish(i),
            27 => self.leave(i),
            28 => self.rejoin(i),
            29..=31 => self.rig.pass([1, 500, 3_000, 9_000][self.choices.below(4)]),
            32..=36 => self.advance_high_watermark(),
            37 => self.rig.fail_next_append(ErrorCode::NotEnoughReplicas),
            38 => self.fail_over(),
            _ => {}
        }
        self.look_at_answers();
        self.check_state();
    }

    fn check_state(&self) {
        self.rig.check_replay();
    }

    /// Lets the client do what comes next in its life.
    fn progress(&mut self, i: usize) {
        let client = &mut self.clients[i];
        if client.joining.is_some() || client.syncing.is_some() {
            return;
        }
        match client.generation.clone() {
            Some(generation) if !client.is_stable => self.send_sync(i, &generation),
            Some(_) => {}
            None => self.rejoin(i),
        }
    }

    fn rejoin(&mut self, i: usize) {
        let client = &mut self.clients[i];
        if client.joining.is_some() || client.syncing.is_some() {
            return;
        }
        client.generation = None;
        client.is_stable = false;
        let request = JoinGroupRequest {
            member_id: client.member_id.clone(),
            group_instance_id: client.instance_id.clone(),
            ..join_request()
        };
        client.joining = Some(self.rig.send_join(JOIN_VERSION, request));
    }

    fn send_sync(&mut self, i: usize, generation: &JoinGroupResponse) {
        self.assignments_made += 1;
        let name = format!("assignment {}", self.assignments_made);
        let assignments = if generation.skip_assignment { &[][..] } else { &generation.members[..] };
        let assignments = assignments.iter().map(|member| Assignment {
            member_id: member.member_id.clone(),
            assignment: Bytes::from(name.clone()),
            ..Assignment::default()
        });
        let request = SyncGroupRequest {
            assignments: assignments.collect(),
            group_instance_id: self.clients[i].instance_id.clone(),
            ..sync_request(generation)
        };
        self.clients[i].syncing = Some((generation.clone(), self.rig.send_sync(request)));
    }

    fn heartbeat(&mut self, i: usize) {
        let Some(generation) = self.clients[i].generation.clone() else { return };
        let request = HeartbeatRequest {
            group_id: GROUP.into(),
            generation_id: generation.generation_id,
            member_id: generation.member_id,
            group_instance_id: self.clients[i].instance_id.clone(),
            ..HeartbeatRequest::default()
        };
        let answer = self.rig.send_heartbeat(request);
        if let Some(response) = answer.get() {
            self.heed(i, error(response.error_code));
        } else {
            self.abandon(answer);
        }
    }

    /// Does with an error what clients do.
    fn heed(&mut self, i: usize, code: ErrorCode) {
        let client = &mut self.clients[i];
        match code {
            ErrorCode::None => return,
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => client.member_id.clear(),
            _ => {}
        }
        client.generation = None;
        client.is_stable = false;
    }

    fn commit_offset(&mut self, i: usize) {
        let Some(generation) = self.clients[i].generation.clone() else { return };
        self.next_offset += 1;
        let request = OffsetCommitRequest {
            generation_id_or_member_epoch: generation.generation_id,
            member_id: generation.member_id,
            group_instance_id: self.clients[i].instance_id.clone(),
            ..commit_request(&[("t", 0, self.next_offset)])
        };
        let answer = send_commit(&self.rig, 9, request);
        self.clients[i].committing.push((self.next_offset, generation.generation_id, answer));
    }

    fn fetch_offset(&mut self) {
        let topic = GroupTopic { name: "t".into(), partition_indexes: vec![0], ..GroupTopic::default() };
        let group =
            Group { group_id: GROUP.into(), member_epoch: -1, topics: Some(vec![topic]), ..Group::default() };
        let require_stable = self.choices.one_in(2);
        let request =
            OffsetFetchRequest { groups: vec![group], require_stable, ..OffsetFetchRequest::default() };
        self.fetches.push((self.known_offset, send_fetch(&self.rig, 9, request)));
    }

    fn leave(&mut self, i: usize) {
        let member = Leaving {
            member_id: self.clients[i].member_id.clone(),
            group_instance_id: self.clients[i].instance_id.clone(),
            ..Leaving::default()
        };
        let request =
            LeaveGroupRequest { group_id: GROUP.into(), members: vec![member], ..Default::default() };
        let rig = &self.rig;
        let answer = Answer::of(|reply| rig.coordinator.leave_group(rig.context(5), request, reply));
        self.abandon(answer);
        self.vanish(i);
    }

    /// The client is gone, and another one starts.
    fn vanish(&mut self, i: usize) {
        let instance_id = self.clients[i].instance_id.clone();
        let gone = std::mem::replace(&mut self.clients[i], Client { instance_id, ..Client::default() });
        gone.joining.into_iter().for_each(|answer| self.abandon(answer));
        gone.syncing.into_iter().for_each(|(_, answer)| self.abandon(answer));
        gone.committing.into_iter().for_each(|(_, _, answer)| self.abandon(answer));
    }

    fn abandon<R: Clone + Send + 'static>(&mut self, answer: Answer<R>) {
        self.abandoned.push(Box::new(move || answer.get().is_some()));
    }

    fn advance_high_watermark(&mut self) {
        self.rig.commit_some(&mut self.choices);
    }

    fn fail_over(&mut self) {
        self.rig = self.rig.failed_over(&mut self.choices);
        self.committed_generation = -1;
    }

    fn look_at_answers(&mut self) {
        for i in 0..self.clients.len() {
            if let Some(response) = take_if_there(&mut self.clients[i].joining) {
                self.joined(i, response);
            }
            if let Some((generation, answer)) = self.clients[i].syncing.take() {
                match answer.get() {
                    Some(response) => self.synced(i, &generation, &response),
                    None => self.clients[i].syncing = Some((generation, answer)),
                }
            }
            let committing = std::mem::take(&mut self.clients[i].committing);
            for (offset, generation_id, answer) in committing {
                match answer.get() {
                    Some(response) => self.committed(i, offset, generation_id, &response),
                    None => self.clients[i].committing.push((offset, generation_id, answer)),
                }
            }
        }
        let fetches = std::mem::take(&mut self.fetches);
        for (known_before, answer) in fetches {
            match answer.get() {
                Some(response) => self.fetched(known_before, &response),
                None => self.fetches.push((known_before, answer)),
            }
        }
    }

    fn joined(&mut self, i: usize, response: JoinGroupResponse) {
        match error(response.error_code) {
            ErrorCode::None => {
                self.clients[i].member_id = response.member_id.clone();
                self.clients[i].generation = Some(response);
            }
            ErrorCode::MemberIdRequired => self.clients[i].member_id = response.member_id,
            code => self.heed(i, code),
        }
    }

    /// Whoever is told an assignment is told the one of its generation, and that one is committed.
    fn synced(&mut self, i: usize, generation: &JoinGroupResponse, response: &SyncGroupResponse) {
        if response.error_code != 0 {
            return self.heed(i, error(response.error_code));
        }
        // It may have learnt of a rebalance while it waited.
        self.clients[i].is_stable = self.clients[i].generation.as_ref() == Some(generation);
        let assignment = String::from_utf8(response.assignment.to_vec()).unwrap();
        // Assignments without a name are of members that the leader did not know.
        let known = self.assignment_of.entry(generation.generation_id).or_insert_with(|| assignment.clone());
        assert_eq!(*known, assignment, "generation {} has two assignments", generation.generation_id);
        let log = self.rig.logs.log(0);
        let next = Rig::with_log(config(), log.truncated(log.high_watermark));
        let told_again = next.send_sync(SyncGroupRequest {
            group_instance_id: self.clients[i].instance_id.clone(),
            ..sync_request(generation)
        });
        let told_again = told_again.now();
        // A later generation may have been committed since, but none earlier than this.
        match error(told_again.error_code) {
            ErrorCode::None => assert_eq!(told_again.assignment, response.assignment),
            code => assert!(
                matches!(
                    code,
                    ErrorCode::IllegalGeneration | ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId
                ),
                "{code:?}"
            ),
        }
        let (_, committed) = next.states();
        let stored = committed.groups.get(GROUP).expect("a group of which somebody is a member");
        let state::StoredGroup::Classic(stored) = stored else { panic!("not a classic group") };
        assert!(stored.generation >= generation.generation_id, "told before it was committed");
    }

    fn committed(&mut self, i: usize, offset: i64, generation_id: i32, response: &OffsetCommitResponse) {
        let code = error(response.topics[0].partitions[0].error_code);
        if code != ErrorCode::None {
            return self.heed(i, code);
        }
        let log = self.rig.logs.log(0);
        let safe =
            super::offsets::fetch(&Rig::with_log(config(), log.truncated(log.high_watermark)), GROUP, 0);
        assert!(safe >= offset, "told {offset} before it was committed: {safe}");
        assert!(generation_id >= self.committed_generation, "a commit of an old generation was accepted");
        self.committed_generation = generation_id;
        self.known_offset = self.known_offset.max(offset);
    }

    fn fetched(&mut self, known_before: i64, response: &OffsetFetchResponse) {
        if response.groups[0].error_code != 0 {
            return;
        }
        let offset = response.groups[0].topics[0].partitions[0].committed_offset;
        assert!(offset >= known_before, "the committed offset went back from {known_before} to {offset}");
        self.known_offset = self.known_offset.max(offset);
    }

    /// Once nothing fails any more, the group becomes stable, and everybody has been answered.
    fn settle(&mut self) {
        self.rig.logs.failures.lock().clear();
        *self.rig.logs.commit_at_once.lock() = true;
        self.rig.commit();
        for _ in 0..200 {
            for i in 0..self.clients.len() {
                self.heartbeat(i);
                self.look_at_answers();
                self.progress(i);
                self.look_at_answers();
            }
            self.rig.pass(1_000);
            self.look_at_answers();
        }
        assert_eq!(self.rig.state(), "Stable");
        let generation = |client: &Client| client.generation.as_ref().map(|joined| joined.generation_id);
        let first = generation(&self.clients[0]);
        for client in &self.clients {
            assert!(client.is_stable && generation(client) == first, "clients differ");
        }
        self.check_state();
        assert!(self.abandoned.iter().all(|is_answered| is_answered()), "somebody was left hanging");
        let left = self.clients.iter().map(|client| client.committing.len()).sum::<usize>();
        assert_eq!((left, self.fetches.len()), (0, 0));
    }
}

fn take_if_there<R: Clone + Send + 'static>(answer: &mut Option<Answer<R>>) -> Option<R> {
    let response = answer.as_ref()?.get()?;
    *answer = None;
    Some(response)
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 0, ..cases(60) })]

    #[test]
    fn whatever_happens(seed in any::<u64>()) {
        let mut world = World::new(seed);
        for _ in 0..250 {
            world.step();
        }
        world.settle();
    }
}
