//! Membership in a share group (KIP-932): a heartbeat says what is wanted and hears what is assigned.
//!
//! Partitions have many readers, so nothing has to be given up before somebody else may have it. What always holds: one
//! heartbeat of a life is on its way at most; a life ends when the member leaves or is not known any more, and an answer to an
//! earlier life's heartbeat counts for nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_types::{MonoMs, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::{ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse};

use crate::backoff::Backoff;
use crate::error::ClientError;

const JOINS: i32 = 0;
const LEAVES: i32 = -1;

/// A partition, by its topic's id.
pub(crate) type IdPartition = (Uuid, i32);

/// See the module.
#[derive(Debug)]
pub(crate) struct ShareMembership {
    group_id: String,
    /// Unique for this life of the member.
    member_id: String,
    rack_id: Option<String>,
    topics: BTreeSet<Arc<str>>,
    phase: Phase,
    epoch: i32,
    /// What the coordinator was told last.
    said: Option<BTreeSet<Arc<str>>>,
    saying: Option<BTreeSet<Arc<str>>>,
    assigned: BTreeSet<IdPartition>,
    next: MonoMs,
    waits: Backoff,
    max_poll_interval_ms: i64,
    /// When its owner asked for records last.
    polled_at: MonoMs,
    life: u64,
    /// Other assignments than before, since somebody asked.
    rebalances: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Out,
    /// It has left, for its owner has not asked for records for `max.poll.interval.ms`; it joins again when the owner does.
    Away,
    In,
}

impl ShareMembership {
    pub fn new(
        group_id: String,
        member_id: String,
        rack_id: Option<String>,
        max_poll_interval_ms: i64,
        waits: Backoff,
    ) -> ShareMembership {
        ShareMembership {
            group_id,
            member_id,
            rack_id,
            topics: BTreeSet::new(),
            phase: Phase::Out,
            epoch: JOINS,
            said: None,
            saying: None,
            assigned: BTreeSet::new(),
            next: MonoMs(0),
            waits,
            max_poll_interval_ms,
            polled_at: MonoMs(0),
            life: 0,
            rebalances: 0,
        }
    }

    pub fn group_id(&self) -> &str {
        &self.group_id
    }

    pub fn member_id(&self) -> &str {
        &self.member_id
    }

    /// What is read: by topic ids.
    pub fn assigned(&self) -> &BTreeSet<IdPartition> {
        &self.assigned
    }

    /// How often another assignment came since this was last asked.
    pub fn take_rebalances(&mut self) -> u64 {
        std::mem::take(&mut self.rebalances)
    }

    pub fn is_subscribed(&self) -> bool {
        self.phase != Phase::Out
    }

    /// What it is subscribed to.
    pub fn topics(&self) -> &BTreeSet<Arc<str>> {
        &self.topics
    }

    /// Reads this from now on.
    pub fn subscribe(&mut self, topics: BTreeSet<Arc<str>>, now: MonoMs) {
        let is_news = self.topics != topics || self.phase != Phase::In;
        self.topics = topics;
        self.phase = Phase::In;
        self.polled_at = now;
        if is_news {
            self.next = now;
        }
    }

    /// Its owner asks for records, or still waits for them.
    pub fn polled(&mut self, now: MonoMs) {
        self.polled_at = now;
        if self.phase == Phase::Away {
            self.phase = Phase::In;
            self.next = now;
        }
    }

    /// Reads nothing from now on; what tells the coordinator, if it knows of this member.
    pub fn leave(&mut self) -> Option<(u64, ShareGroupHeartbeatRequest)> {
        self.phase = Phase::Out;
        self.topics.clear();
        self.farewell()
    }

    fn farewell(&mut self) -> Option<(u64, ShareGroupHeartbeatRequest)> {
        let may_be_known = self.epoch != JOINS || self.saying.is_some();
        let life = self.life;
        self.forget();
        let request = || ShareGroupHeartbeatRequest {
            group_id: self.group_id.clone(),
            member_id: self.member_id.clone(),
            member_epoch: LEAVES,
            ..ShareGroupHeartbeatRequest::default()
        };
        may_be_known.then(|| (life, request()))
    }

    fn forget(&mut self) {
        self.life += 1;
        self.epoch = JOINS;
        (self.said, self.saying) = (None, None);
        self.assigned.clear();
    }

    fn lapses_at(&self) -> MonoMs {
        self.polled_at.plus_ms(self.max_poll_interval_ms)
    }

    /// When there is something to be said, without other news.
    pub fn deadline(&self) -> MonoMs {
        match (self.phase, &self.saying) {
            (Phase::In, None) => self.next.min(self.lapses_at()),
            (Phase::In, Some(_)) => self.lapses_at(),
            _ => MonoMs::NEVER,
        }
    }

    /// What is to be said now, and in which life.
    pub fn heartbeat(&mut self, now: MonoMs) -> Option<(u64, ShareGroupHeartbeatRequest)> {
        if self.phase != Phase::In {
            return None;
        }
        if self.lapses_at() <= now {
            self.phase = Phase::Away;
            return self.farewell();
        }
        if self.saying.is_some() || self.next > now {
            return None;
        }
        let joins = self.epoch == JOINS;
        let is_news = self.said.as_ref() != Some(&self.topics);
        self.saying = Some(self.topics.clone());
        let request = ShareGroupHeartbeatRequest {
            group_id: self.group_id.clone(),
            member_id: self.member_id.clone(),
            member_epoch: self.epoch,
            rack_id: self.rack_id.clone().filter(|_| joins),
            subscribed_topic_names: (joins || is_news)
                .then(|| self.topics.iter().map(|topic| topic.to_string()).collect()),
            ..ShareGroupHeartbeatRequest::default()
        };
        Some((self.life, request))
    }

    /// The answer to a heartbeat; an error that its owner has to do something about. After that it is out of the group.
    pub fn answered(
        &mut self,
        life: u64,
        result: Result<ShareGroupHeartbeatResponse, ClientError>,
        random: f64,
        now: MonoMs,
    ) -> Result<(), ClientError> {
        if life != self.life {
            return Ok(());
        }
        let Some(saying) = self.saying.take() else { return Ok(()) };
        let error = match result {
            Ok(answer) => {
                let code = ErrorCode::from_answer(answer.error_code);
                if !code.is_error() {
                    self.heard(saying, answer, now);
                    return Ok(());
                }
                ClientError::broker(code, answer.error_message, format!("the share group {}", self.group_id))
            }
            Err(error) => error,
        };
        match error.code() {
            // The coordinator has given this member up, or has lost it: it is a new one.
            Some(ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch) => {
                self.forget();
                self.next = now;
                Ok(())
            }
            _ if error.is_retriable() => {
                let wait_ms = self.waits.failed(random);
                self.next = now.plus_ms(i64::try_from(wait_ms).unwrap_or(i64::MAX));
                Ok(())
            }
            _ => {
                self.phase = Phase::Out;
                self.forget();
                Err(error)
            }
        }
    }

    fn heard(&mut self, said: BTreeSet<Arc<str>>, answer: ShareGroupHeartbeatResponse, now: MonoMs) {
        self.waits.reset();
        self.said = Some(said);
        self.epoch = answer.member_epoch;
        if let Some(assignment) = answer.assignment {
            let topics = assignment.topic_partitions.into_iter();
            let assigned: BTreeSet<IdPartition> = topics
                .flat_map(|topic| {
                    topic.partitions.into_iter().map(move |partition| (topic.topic_id, partition))
                })
                .collect();
            self.rebalances += u64::from(assigned != self.assigned);
            self.assigned = assigned;
        }
        let is_news = self.said.as_ref() != Some(&self.topics);
        self.next = if is_news { now } else { now.plus_ms(answer.heartbeat_interval_ms.max(1).into()) };
    }
}
