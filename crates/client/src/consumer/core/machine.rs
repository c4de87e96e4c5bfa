//! The whole consumer as one state machine: membership, positions, fetching and commits, and what its owner is told.
//!
//! What always holds: the owner is told of a rebalance before it gets records under the new assignment; partitions are given
//! up only once the owner asked for what comes next after it was told, so what it did until then is done under the old
//! assignment; what is committed by itself was handed out before the owner asked for more; offsets are committed as the member
//! that read them, or not at all.

mod ownership;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ottla_types::{MonoMs, NodeId, Now, TopicPartition, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::{
    ConsumerGroupHeartbeatResponse, FetchRequest, FetchResponse, HeartbeatResponse, JoinGroupResponse,
    ListOffsetsRequest, OffsetForLeaderEpochRequest, SyncGroupResponse,
};

use super::assignors::TopicRacks;
use super::classic::ClassicMembership;
use super::fetching::{FetchError, Fetcher, Leaders, Question};
use super::membership::{Effect, GroupError, GroupRequest, MemberIdentity, OnClose, Rebalanced};
use super::modern::{ModernMembership, Wanted};
use super::record::{ConsumerRecord, Position};
pub use ownership::Ownership;

/// What the owner of a consumer is told.
#[derive(Clone, Debug, PartialEq)]
pub enum ConsumerEvent {
    /// Never empty; of one partition after the other.
    Records(Vec<ConsumerRecord>),
    /// These are read from now on, beside what was read before. A position may be set for them now.
    Assigned(Vec<TopicPartition>),
    /// These are given up when the owner asks for the next event. Until then nobody else reads them, and offsets can be
    /// committed.
    Revoked(Vec<TopicPartition>),
    /// These belong to somebody else already: what was done with their last records may be done again there.
    Lost(Vec<TopicPartition>),
}

/// Why the owner gets no event.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// The consumer is out of its group until it subscribes again.
    Group(GroupError),
    /// One partition can't be read.
    Fetch(FetchError),
}

/// What whoever drives the machine is to do. Each is to be answered by the method that its name says.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// [`Machine::group_answered`], with the same `life`.
    Group {
        life: u64,
        request: GroupRequest,
    },
    ForgetCoordinator,
    /// [`Machine::topics_known`], with the same `life`.
    NeedTopics {
        life: u64,
        topics: Vec<Arc<str>>,
    },
    /// Metadata of all topics whose names may be missing.
    NeedNames,
    /// [`Machine::fetched`] or [`Machine::fetch_failed`]
    Fetch(NodeId, FetchRequest),
    /// [`Machine::offsets_listed`]
    ListOffsets(NodeId, ListOffsetsRequest, Question),
    /// [`Machine::validated`]
    Validate(NodeId, OffsetForLeaderEpochRequest, Question),
    /// [`Machine::committed_known`]
    FetchCommitted(Question),
    /// [`Machine::committed`]
    Commit(BTreeMap<TopicPartition, Position>),
    RefreshMetadata,
}

/// An answer of the coordinator, to the request of the same name.
#[derive(Clone, Debug)]
pub enum GroupAnswer {
    Join(Option<JoinGroupResponse>),
    Sync(Option<SyncGroupResponse>),
    /// The generation that the heartbeat was sent in.
    Heartbeat(i32, Option<HeartbeatResponse>),
    /// The epoch that the heartbeat was sent with.
    ConsumerHeartbeat(i32, Option<ConsumerGroupHeartbeatResponse>),
    /// To leaving, which nobody waits for.
    Left,
}

/// Membership by either protocol.
#[derive(Debug)]
pub enum Membership {
    Classic(ClassicMembership),
    Modern(ModernMembership),
}

impl Membership {
    fn take_effects(&mut self) -> Vec<Effect> {
        match self {
            Membership::Classic(member) => member.take_effects(),
            Membership::Modern(member) => member.take_effects(),
        }
    }

    fn take_rebalances(&mut self) -> Rebalanced {
        match self {
            Membership::Classic(member) => member.take_rebalances(),
            Membership::Modern(member) => member.take_rebalances(),
        }
    }

    fn tick(&mut self, now: MonoMs) {
        match self {
            Membership::Classic(member) => member.tick(now),
            Membership::Modern(member) => member.tick(now),
        }
    }

    fn polled(&mut self, now: MonoMs) {
        match self {
            Membership::Classic(member) => member.polled(now),
            Membership::Modern(member) => member.polled(now),
        }
    }

    fn revoked(&mut self, now: MonoMs) {
        match self {
            Membership::Classic(member) => member.revoked(now),
            Membership::Modern(member) => member.revoked(now),
        }
    }

    fn deadline(&self) -> MonoMs {
        match self {
            Membership::Classic(member) => member.deadline(),
            Membership::Modern(member) => member.deadline(),
        }
    }

    fn subscribe(&mut self, wanted: Wanted, now: MonoMs) {
        match self {
            Membership::Classic(member) => member.subscribe(wanted.topics, now),
            Membership::Modern(member) => member.subscribe(wanted, now),
        }
    }

    fn close(&mut self, on_close: OnClose, reason: &str) {
        match self {
            Membership::Classic(member) => member.close(on_close, reason),
            Membership::Modern(member) => member.close(on_close),
        }
    }

    fn identity(&self) -> Option<MemberIdentity> {
        match self {
            Membership::Classic(member) => member.identity(),
            Membership::Modern(member) => member.identity(),
        }
    }
}

/// A revocation on its way through the owner.
#[derive(Debug)]
enum Revoking {
    /// The owner is busy with what it got.
    OwnerBusy(Vec<TopicPartition>),
    Committing(Vec<TopicPartition>),
    /// To be told, or told and not yet done.
    Told(Vec<TopicPartition>),
}

#[derive(Debug)]
struct AutoCommit {
    interval_ms: i64,
    next: MonoMs,
    in_flight: bool,
}

/// The state machine.
#[derive(Debug)]
pub struct Machine {
    group: Option<Membership>,
    /// Counts memberships, so that an answer to an earlier one is known.
    life: u64,
    is_member_by_subscription: bool,
    has_group_id: bool,
    wanted_topics: Vec<Arc<str>>,
    fetcher: Fetcher,
    max_poll_records: usize,
    auto_commit: Option<AutoCommit>,
    revoking: Option<Revoking>,
    /// Told, and given up with the owner's next question.
    told: bool,
    events: VecDeque<ConsumerEvent>,
    failures: VecDeque<Failure>,
    work: Vec<Work>,
}

impl Machine {
    /// `auto_commit_interval_ms`: `None` commits nothing by itself.
    pub fn new(
        fetcher: Fetcher,
        has_group_id: bool,
        max_poll_records: usize,
        auto_commit_interval_ms: Option<u64>,
        now: MonoMs,
    ) -> Machine {
        let auto_commit = auto_commit_interval_ms.filter(|_| has_group_id).map(|interval_ms| {
            let interval_ms = i64::try_from(interval_ms).unwrap_or(i64::MAX);
            AutoCommit { interval_ms, next: now.plus_ms(interval_ms), in_flight: false }
        });
        Machine {
            group: None,
            life: 0,
            is_member_by_subscription: false,
            has_group_id,
            wanted_topics: Vec::new(),
            fetcher,
            max_poll_records: max_poll_records.max(1),
            auto_commit,
            revoking: None,
            told: false,
            events: VecDeque::new(),
            failures: VecDeque::new(),
            work: Vec::new(),
        }
    }

    pub fn fetcher(&self) -> &Fetcher {
        &self.fetcher
    }

    pub fn fetcher_mut(&mut self) -> &mut Fetcher {
        &mut self.fetcher
    }

    /// Reads what its group assigns of these.
    pub fn subscribe(&mut self, make: impl FnOnce() -> Membership, wanted: Wanted, now: MonoMs) {
        if self.group.is_none() {
            self.life += 1;
            self.group = Some(make());
        }
        self.is_member_by_subscription = true;
        self.wanted_topics.clone_from(&wanted.topics);
        if let Some(group) = &mut self.group {
            group.subscribe(wanted, now);
        }
        self.follow_group();
    }

    /// Becomes a member once it is known of which topics: see [`Machine::topics_matched`].
    pub fn prepare(&mut self, make: impl FnOnce() -> Membership) {
        if self.group.is_none() {
            self.life += 1;
            self.group = Some(make());
        }
        self.is_member_by_subscription = true;
    }

    /// Topics that match the pattern which it is subscribed to.
    pub fn topics_matched(&mut self, topics: Vec<Arc<str>>, now: MonoMs) {
        self.wanted_topics.clone_from(&topics);
        if let Some(group) = &mut self.group {
            group.subscribe(Wanted { topics, regex: None }, now);
        }
        self.follow_group();
    }

    /// Topics that it is subscribed to by name.
    pub fn wanted_topics(&self) -> &[Arc<str>] {
        &self.wanted_topics
    }

    /// Is there no membership yet that a subscription would go on with?
    pub fn needs_membership(&self) -> bool {
        self.group.is_none()
    }

    /// Is it subscribed, in contrast to being given partitions by its owner?
    pub fn is_subscribed(&self) -> bool {
        self.is_member_by_subscription
    }

    /// Leaves its group and reads nothing any more.
    pub fn unsubscribe(&mut self, on_close: OnClose, reason: &str) {
        if let Some(mut group) = self.group.take() {
            group.close(on_close, reason);
            let sends = group.take_effects().into_iter().filter_map(|effect| match effect {
                Effect::Send(request) => Some(request),
                _ => None,
            });
            let life = self.life;
            self.work.extend(sends.map(|request| Work::Group { life, request }));
        }
        self.life += 1;
        self.is_member_by_subscription = false;
        self.wanted_topics.clear();
        self.revoking = None;
        self.told = false;
        self.events.clear();
        self.remove_all();
    }

    /// Reads exactly these, without a group's assignment.
    pub fn assign(&mut self, partitions: &[TopicPartition]) {
        let gone: Vec<TopicPartition> =
            self.fetcher.partitions().filter(|partition| !partitions.contains(partition)).cloned().collect();
        self.fetcher.remove(&gone);
        self.add(partitions.to_vec());
    }

    /// Is it a member by the consumer protocol?
    pub fn is_modern(&self) -> bool {
        matches!(self.group, Some(Membership::Modern(_)))
    }

    /// Topics that the group which this member leads reads, and topics of the assignment that have no name yet.
    pub fn led_topics(&self) -> Vec<Arc<str>> {
        match &self.group {
            Some(Membership::Classic(member)) => member.led_topics().cloned().collect(),
            _ => Vec::new(),
        }
    }

    pub fn enforce_rebalance(&mut self, now: MonoMs) {
        if let Some(Membership::Classic(member)) = &mut self.group {
            member.enforce_rebalance(now);
        }
        self.follow_group();
    }

    /// The owner asks for what comes next: it is done with everything that it got before. `None`: nothing yet.
    pub fn next(&mut self, now: MonoMs) -> Option<Result<ConsumerEvent, Failure>> {
        self.owner_waits(now);
        self.fetcher.processed();
        if std::mem::take(&mut self.told)
            && let Some(Revoking::Told(given_up)) = self.revoking.take()
        {
            self.fetcher.remove(&given_up);
            if let Some(group) = &mut self.group {
                group.revoked(now);
            }
            self.follow_group();
        }
        if let Some(Revoking::OwnerBusy(_)) = &self.revoking {
            self.commit_before_revocation(now);
        }
        if let Some(failure) = self.failures.pop_front() {
            return Some(Err(failure));
        }
        if let Some(event) = self.events.pop_front() {
            self.told = matches!(event, ConsumerEvent::Revoked(_));
            return Some(Ok(event));
        }
        let records = self.fetcher.take_records(self.max_poll_records);
        if !records.is_empty() {
            return Some(Ok(ConsumerEvent::Records(records)));
        }
        self.fetcher.take_error().map(|error| Err(Failure::Fetch(error)))
    }

    /// After [`Machine::next`] has handed out records: is there anything for [`Machine::work`] to do? Mostly there isn't,
    /// and whoever drives the machine needn't be woken, which costs more than the records.
    pub fn has_work(&mut self) -> bool {
        self.fetcher.take_has_room() || !self.work.is_empty()
    }

    /// The owner still waits for what comes next.
    pub fn owner_waits(&mut self, now: MonoMs) {
        if let Some(group) = &mut self.group {
            group.polled(now);
            self.follow_group();
        }
    }

    /// Is there anything that [`Machine::next`] would hand out?
    pub fn has_news(&self) -> bool {
        let commits = self.auto_commit.as_ref().is_some_and(|commit| commit.in_flight);
        let may_give_up = matches!(self.revoking, Some(Revoking::OwnerBusy(_))) && !commits;
        let is_told = !self.events.is_empty() || !self.failures.is_empty() || self.fetcher.has_errors();
        is_told || may_give_up || self.fetcher.has_records()
    }

    /// What is to be done now.
    pub fn work(&mut self, leaders: &impl Leaders, now: Now) -> Vec<Work> {
        if let Some(group) = &mut self.group {
            group.tick(now.mono);
        }
        self.follow_group();
        self.commit_by_itself(now.mono);
        let question = self.fetcher.wants_committed(now.mono);
        if !question.is_empty() {
            if self.has_group_id {
                self.work.push(Work::FetchCommitted(question));
            } else {
                self.fetcher.committed(&question, &BTreeMap::new());
            }
        }
        let lists = self.fetcher.list_offsets(leaders, now);
        self.work
            .extend(lists.into_iter().map(|(node, request, asked)| Work::ListOffsets(node, request, asked)));
        let validations = self.fetcher.validations(leaders, now.mono);
        self.work.extend(
            validations.into_iter().map(|(node, request, asked)| Work::Validate(node, request, asked)),
        );
        let fetches = self.fetcher.fetches(leaders, now.mono);
        self.work.extend(fetches.into_iter().map(|(node, request)| Work::Fetch(node, request)));
        if self.fetcher.take_wants_metadata() {
            self.work.push(Work::RefreshMetadata);
        }
        std::mem::take(&mut self.work)
    }

    /// What became of its group's rebalances since this was last asked.
    pub fn take_rebalances(&mut self) -> Rebalanced {
        self.group.as_mut().map(Membership::take_rebalances).unwrap_or_default()
    }

    /// When [`Machine::work`] is to be asked at the latest, unless something happens before.
    pub fn deadline(&self, now: MonoMs) -> MonoMs {
        let group = self.group.as_ref().map_or(MonoMs::NEVER, Membership::deadline);
        let commit = self.auto_commit.as_ref().filter(|commit| !commit.in_flight);
        let commit = commit.map_or(MonoMs::NEVER, |commit| commit.next);
        group.min(commit).min(self.fetcher.deadline(now))
    }

    pub fn group_answered(&mut self, life: u64, answer: GroupAnswer, now: MonoMs) {
        if life != self.life {
            return;
        }
        match (&mut self.group, answer) {
            (Some(Membership::Classic(member)), GroupAnswer::Join(answer)) => member.joined(answer, now),
            (Some(Membership::Classic(member)), GroupAnswer::Sync(answer)) => member.synced(answer, now),
            (Some(Membership::Classic(member)), GroupAnswer::Heartbeat(generation, answer)) => {
                member.beaten(generation, answer, now);
            }
            (Some(Membership::Modern(member)), GroupAnswer::ConsumerHeartbeat(epoch, answer)) => {
                member.beaten(epoch, answer, now);
            }
            _ => {}
        }
        self.follow_group();
    }

    pub fn topics_known(&mut self, life: u64, topics: TopicRacks) {
        if life == self.life
            && let Some(Membership::Classic(member)) = &mut self.group
        {
            member.assign(topics);
            self.follow_group();
        }
    }

    /// The cluster looks different. `topics` has those that [`Machine::led_topics`] named, `names` those of all topics known.
    pub fn metadata_changed(
        &mut self,
        topics: &TopicRacks,
        names: impl IntoIterator<Item = (Uuid, Arc<str>)>,
        now: MonoMs,
    ) {
        match &mut self.group {
            Some(Membership::Classic(member)) => member.topics_changed(topics, now),
            Some(Membership::Modern(member)) => member.learn_names(names, now),
            None => {}
        }
        self.follow_group();
    }

    pub fn fetched(
        &mut self,
        node: NodeId,
        answer: FetchResponse,
        now: MonoMs,
    ) -> Vec<super::fetching::LeaderHint> {
        self.fetcher.fetched(node, answer, now)
    }

    pub fn fetch_failed(&mut self, node: NodeId, now: MonoMs) {
        self.fetcher.fetch_failed(node, now);
    }

    /// What the group has committed of what was asked for; `None` when no answer came.
    pub fn committed_known(
        &mut self,
        question: &Question,
        committed: Option<&BTreeMap<TopicPartition, Position>>,
        now: MonoMs,
    ) {
        match committed {
            Some(committed) => self.fetcher.committed(question, committed),
            None => self.fetcher.question_failed(question, now),
        }
    }

    /// A commit that the machine asked for is over, one way or the other.
    pub fn committed(&mut self, now: MonoMs) {
        if let Some(commit) = &mut self.auto_commit {
            commit.in_flight = false;
            commit.next = now.plus_ms(commit.interval_ms);
        }
        match self.revoking.take() {
            Some(Revoking::Committing(partitions)) => self.tell_revoked(partitions),
            other => self.revoking = other,
        }
    }

    /// A commit was refused because of what the member is, or isn't any more.
    pub fn commit_refused(&mut self, generation: i32, code: ErrorCode, now: MonoMs) {
        if let Some(Membership::Classic(member)) = &mut self.group {
            member.commit_refused(generation, code, now);
        }
        self.follow_group();
    }

    /// The owner can't be told in the usual way that it failed.
    pub fn fail(&mut self, error: GroupError) {
        let failure = Failure::Group(error);
        // It may come again and again while nobody asks.
        if !self.failures.contains(&failure) {
            self.failures.push_back(failure);
        }
    }

    fn commit_by_itself(&mut self, now: MonoMs) {
        let can_commit = self.identity_of_owner().is_some() && self.revoking.is_none();
        let Some(commit) = &mut self.auto_commit else { return };
        if commit.in_flight || now < commit.next {
            return;
        }
        commit.next = now.plus_ms(commit.interval_ms);
        let offsets = self.fetcher.processed_positions();
        if can_commit && !offsets.is_empty() {
            commit.in_flight = true;
            self.work.push(Work::Commit(offsets));
        }
    }

    fn commit_before_revocation(&mut self, now: MonoMs) {
        let Some(Revoking::OwnerBusy(partitions)) = self.revoking.take() else { return };
        let offsets = self.fetcher.processed_positions();
        let can_commit = self.identity().is_some() && !offsets.is_empty();
        match &mut self.auto_commit {
            // The one that is on its way may be of before the last records.
            Some(commit) if commit.in_flight => self.revoking = Some(Revoking::OwnerBusy(partitions)),
            Some(commit) if can_commit => {
                commit.in_flight = true;
                commit.next = now.plus_ms(commit.interval_ms);
                self.revoking = Some(Revoking::Committing(partitions));
                self.work.push(Work::Commit(offsets));
            }
            _ => self.tell_revoked(partitions),
        }
    }

    fn tell_revoked(&mut self, partitions: Vec<TopicPartition>) {
        self.events.push_back(ConsumerEvent::Revoked(partitions.clone()));
        self.revoking = Some(Revoking::Told(partitions));
    }

    /// Does what the membership wants done.
    fn follow_group(&mut self) {
        let life = self.life;
        let effects = self.group.as_mut().map(Membership::take_effects).unwrap_or_default();
        for effect in effects {
            match effect {
                Effect::Send(request) => self.work.push(Work::Group { life, request }),
                Effect::ForgetCoordinator => self.work.push(Work::ForgetCoordinator),
                Effect::NeedTopics(topics) => self.work.push(Work::NeedTopics { life, topics }),
                Effect::NeedNames => self.work.push(Work::NeedNames),
                Effect::Revoke(partitions) => {
                    self.fetcher.hold(&partitions);
                    self.revoking = Some(Revoking::OwnerBusy(partitions));
                }
                Effect::Lost(partitions) => {
                    self.revoking = None;
                    self.told = false;
                    self.events.retain(|event| !matches!(event, ConsumerEvent::Revoked(_)));
                    self.fetcher.remove(&partitions);
                    self.events.push_back(ConsumerEvent::Lost(partitions));
                }
                Effect::Assigned(partitions) => {
                    self.add(partitions.clone());
                    self.events.push_back(ConsumerEvent::Assigned(partitions));
                }
                Effect::Failed(error) => self.fail(error),
            }
        }
    }

    fn add(&mut self, partitions: Vec<TopicPartition>) {
        self.fetcher.add(partitions);
    }

    fn remove_all(&mut self) {
        let all: Vec<TopicPartition> = self.fetcher.partitions().cloned().collect();
        self.fetcher.remove(&all);
    }
}
