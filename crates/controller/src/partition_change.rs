//! What becomes of a partition's leader, ISR, eligible leaders and replicas when something around it changes.
//!
//! With eligible leader replicas (KIP-966) the ISR may become empty: who left it while it was smaller than
//! `min.insync.replicas` has all committed records, and may lead when nobody in sync can. Without them the last members
//! stay in the ISR, so that a clean leader can be found when one of them is back.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use ottla_metadata::image::{LeaderRecoveryState, PartitionRegistration, TopicImage};
use ottla_types::{NodeId, Uuid};
use ottla_wire::records::{MetadataRecord, PartitionChangeRecord};

use crate::change_log::{ChangeLine, LINES_AN_EVENT, tell_many};
use crate::controller::Controller;
use crate::partition_index::PartitionKey;
use crate::topic_rules::TopicRules;

/// How a leader may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Election {
    /// Only where the leader can't lead any more.
    Online,
    /// The first replica, if it may lead.
    Preferred,
    /// Also a replica that may lack records, where no other can lead.
    Unclean,
}

const NO_CHANGE: i32 = ottla_metadata::image::NO_LEADER_CHANGE;

/// Until this metadata version brokers rely on a new leader epoch whenever the ISR shrinks.
const SHRINK_BUMPS_EPOCH_BELOW: i16 = 12;

/// A change that is being put together: the fields are what is to be, where nothing else forces otherwise.
pub(crate) struct PartitionChange<'a> {
    controller: &'a Controller,
    topic: &'a TopicImage,
    partition: i32,
    current: &'a PartitionRegistration,
    rules: TopicRules,
    pub election: Election,
    pub isr: Vec<NodeId>,
    pub replicas: Vec<NodeId>,
    pub removing: Vec<NodeId>,
    pub adding: Vec<NodeId>,
    pub recovery: LeaderRecoveryState,
    /// Where a replica says that it is.
    pub directory: Option<(NodeId, Uuid)>,
    /// Who lost what it had not yet on disk: not eligible any more.
    pub unclean_shutdown: Option<NodeId>,
    /// Whose replica is in no directory any more, while its broker lives. Leaders of Apache Kafka wait for whoever has caught up with
    /// them within `replica.lag.time.max.ms` and is not fenced, in sync or not: an epoch that begins has them forget when that was.
    pub without_directory: Option<NodeId>,
    /// One of many that have one reason: enough of them were told.
    pub is_quiet: bool,
    elr: Vec<NodeId>,
}

fn ids(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|node| node.0).collect()
}

impl<'a> PartitionChange<'a> {
    pub fn new(
        controller: &'a Controller,
        topic: &'a TopicImage,
        partition: i32,
        current: &'a PartitionRegistration,
        rules: TopicRules,
    ) -> PartitionChange<'a> {
        PartitionChange {
            controller,
            topic,
            partition,
            current,
            rules,
            election: Election::Online,
            isr: current.isr.clone(),
            replicas: current.replicas.clone(),
            removing: current.removing_replicas.clone(),
            adding: current.adding_replicas.clone(),
            recovery: current.leader_recovery_state,
            directory: None,
            unclean_shutdown: None,
            without_directory: None,
            is_quiet: false,
            elr: current.elr.clone(),
        }
    }

    pub fn is_unclean_election_enabled(&self) -> bool {
        self.rules.is_unclean_election_enabled
    }

    /// The record, or none if all is as it should be. `may_lead` says whose brokers are up.
    pub fn build(mut self, reason: &str, may_lead: impl Fn(NodeId) -> bool) -> Option<MetadataRecord> {
        let may_lead = |id: NodeId| may_lead(id) && self.has_online_directory(id);
        let may_lead: BTreeSet<NodeId> = self
            .replicas
            .iter()
            .chain(&self.current.last_known_elr)
            .copied()
            .filter(|id| may_lead(*id))
            .collect();
        let mut record = PartitionChangeRecord {
            partition_id: self.partition,
            topic_id: self.topic.id,
            ..PartitionChangeRecord::default()
        };
        self.complete_reassignment();
        self.update_elr();
        let is_unclean = self.elect(&may_lead, &mut record);
        self.write_isr(is_unclean, &mut record);
        self.write_last_known_leader(&mut record);
        self.write_assignment(&mut record);
        if self.recovery != self.current.leader_recovery_state {
            record.leader_recovery_state = self.recovery as i8;
        }
        if is_no_op(&record) || self.are_epochs_used_up() {
            return None;
        }
        self.tell(&record, is_unclean, reason);
        Some(MetadataRecord::PartitionChange(record))
    }

    /// Two leaders would have one epoch, or two changes one partition epoch.
    fn are_epochs_used_up(&self) -> bool {
        let (leader_epoch, partition_epoch) =
            (self.current.leader_epoch.value(), self.current.partition_epoch);
        let is_so = leader_epoch == i32::MAX || partition_epoch == i32::MAX;
        if is_so {
            tracing::error!(topic = %self.topic.name, partition = self.partition, leader_epoch, partition_epoch,
                "the epochs of a partition are used up: it stays as it is for good");
        }
        is_so
    }

    fn has_online_directory(&self, id: NodeId) -> bool {
        let Some(broker) = self.controller.image.brokers.get(&id) else { return false };
        let told = self.directory.filter(|(replica, _)| *replica == id).map(|(_, directory)| directory);
        told.or_else(|| self.current.directory(id))
            .is_none_or(|directory| broker.has_online_directory(directory))
    }

    /// A reassignment ends when those that come are in sync: they stand for those that go. Where fewer come than go, all that
    /// stay must be in sync, as records are to be kept by fewer.
    fn complete_reassignment(&mut self) {
        if self.removing.is_empty() && self.adding.is_empty() {
            return;
        }
        let stays = |id: &NodeId| !self.removing.contains(id);
        let isr: Vec<_> = self.isr.iter().copied().filter(stays).collect();
        let replicas: Vec<_> = self.replicas.iter().copied().filter(stays).collect();
        let must_be_in_sync = if self.adding.len() < self.removing.len() { &replicas } else { &self.adding };
        if isr.is_empty() || replicas.is_empty() || !must_be_in_sync.iter().all(|id| isr.contains(id)) {
            return;
        }
        (self.isr, self.replicas) = (isr, replicas);
        self.removing.clear();
        self.adding.clear();
    }

    fn update_elr(&mut self) {
        // Who is no replica any more, after a move to fewer, can't lead.
        self.elr.retain(|id| self.replicas.contains(id));
        if !self.rules.has_elr {
            return;
        }
        if self.isr.len() >= self.rules.min_isr {
            self.elr.clear();
            return;
        }
        let candidates: BTreeSet<NodeId> = self.elr.iter().chain(&self.current.isr).copied().collect();
        let is_eligible = |id: &NodeId| {
            !self.isr.contains(id) && self.unclean_shutdown != Some(*id) && self.replicas.contains(id)
        };
        self.elr = candidates.into_iter().filter(is_eligible).collect();
    }

    /// Returns whether the leader may lack records.
    fn elect(&mut self, may_lead: &BTreeSet<NodeId>, record: &mut PartitionChangeRecord) -> bool {
        let (leader, is_unclean) = self.choose_leader(may_lead);
        if leader == self.current.leader {
            // Fetchers of replicas that are gone must learn of it through a new epoch.
            if !self.current.replicas.iter().all(|id| self.replicas.contains(id)) {
                record.leader = leader.0;
            }
            return false;
        }
        record.leader = leader.0;
        if self.elr.contains(&leader) {
            self.isr = vec![leader];
            self.elr.retain(|id| *id != leader);
        }
        if is_unclean {
            record.isr = Some(vec![leader.0]);
            if self.current.leader_recovery_state != LeaderRecoveryState::Recovering {
                record.leader_recovery_state = LeaderRecoveryState::Recovering as i8;
            }
        }
        is_unclean
    }

    fn choose_leader(&self, may_lead: &BTreeSet<NodeId>) -> (NodeId, bool) {
        let has_all = |id: &NodeId| {
            let list = if self.isr.is_empty() { &self.elr } else { &self.isr };
            list.contains(id) && may_lead.contains(id)
        };
        let current = Some(self.current.leader).filter(has_all);
        let preferred = self.replicas.first().copied().filter(has_all);
        let clean = match self.election {
            Election::Preferred => preferred.or(current),
            Election::Online | Election::Unclean => current,
        };
        let clean = clean.or_else(|| self.replicas.iter().copied().find(has_all));
        if let Some(leader) = clean {
            return (leader, false);
        }
        let unclean = self.last_known_leader(may_lead).or_else(|| {
            let any = || self.replicas.iter().copied().find(|id| may_lead.contains(id));
            (self.election == Election::Unclean).then(any).flatten()
        });
        unclean.map_or((NodeId::NONE, false), |leader| (leader, true))
    }

    /// When nobody has all records for certain, who led last has the most.
    fn last_known_leader(&self, may_lead: &BTreeSet<NodeId>) -> Option<NodeId> {
        let nobody_is_eligible = self.elr.is_empty() && self.isr.is_empty();
        match self.current.last_known_elr.as_slice() {
            [leader] if nobody_is_eligible && may_lead.contains(leader) => Some(*leader),
            _ => None,
        }
    }

    fn write_isr(&mut self, is_unclean: bool, record: &mut PartitionChangeRecord) {
        // Where the feature was turned off while nobody is in sync, they are all that knows of a leader with all records.
        let was_turned_off = !self.rules.has_elr && !self.isr.is_empty();
        if is_unclean || was_turned_off {
            self.elr.clear();
        }
        if self.elr != self.current.elr {
            record.eligible_leader_replicas = Some(ids(&self.elr));
        }
        let may_be_written = !self.isr.is_empty() || self.rules.has_elr;
        if record.isr.is_none() && may_be_written && self.isr != self.current.isr {
            record.isr = Some(ids(&self.isr));
        }
        if record.leader == NO_CHANGE && record.isr.as_ref().is_some_and(|isr| self.begins_epoch(isr)) {
            record.leader = self.current.leader.0;
        }
    }

    /// Whether an ISR asks for a new epoch of the same leader.
    fn begins_epoch(&self, isr: &[i32]) -> bool {
        let level = self.controller.image.features.metadata_version().level();
        let mut leave = self.current.isr.iter().filter(|id| !isr.contains(&id.0));
        if level < SHRINK_BUMPS_EPOCH_BELOW {
            return leave.next().is_some();
        }
        leave.any(|id| self.without_directory == Some(*id))
    }

    fn write_last_known_leader(&self, record: &mut PartitionChangeRecord) {
        let has_last_known = !self.current.last_known_elr.is_empty();
        let had_leader = self.current.leader != NodeId::NONE;
        // A new epoch of nobody, as at the end of a move, is none after a leader.
        if record.leader == NodeId::NONE.0 && had_leader && !has_last_known && self.rules.has_elr {
            record.last_known_elr = Some(vec![self.current.leader.0]);
        } else if let Some(last) = self.last_eligible().filter(|_| record.leader < 0 && !has_last_known) {
            record.last_known_elr = Some(vec![last.0]);
        } else if record.leader >= 0 && has_last_known {
            record.last_known_elr = Some(Vec::new());
        }
    }

    /// Who was the last to have all records for certain, and with this change nobody is any more. Where nobody led when the
    /// feature came no leader is noted, and nobody would ever lead again.
    fn last_eligible(&self) -> Option<NodeId> {
        let was_eligible = |id: &NodeId| self.current.isr.contains(id) || self.current.elr.contains(id);
        let nobody_is = self.rules.has_elr && self.isr.is_empty() && self.elr.is_empty();
        self.unclean_shutdown
            .filter(|id| nobody_is && self.current.leader == NodeId::NONE && was_eligible(id))
    }

    fn write_assignment(&self, record: &mut PartitionChangeRecord) {
        if self.controller.image.features.metadata_version().is_directory_assignment_supported() {
            let directories: Vec<Uuid> = self.replicas.iter().map(|id| self.target_directory(*id)).collect();
            if directories != self.current.directories {
                record.directories = Some(directories);
            }
        }
        let changed = |new: &[NodeId], old: &[NodeId]| (new != old).then(|| ids(new));
        record.replicas = changed(&self.replicas, &self.current.replicas);
        record.removing_replicas = changed(&self.removing, &self.current.removing_replicas);
        record.adding_replicas = changed(&self.adding, &self.current.adding_replicas);
    }

    fn target_directory(&self, id: NodeId) -> Uuid {
        match self.directory {
            Some((replica, directory)) if replica == id => directory,
            _ => self.current.directory(id).unwrap_or_else(|| self.controller.default_directory(id)),
        }
    }

    fn tell(&self, record: &PartitionChangeRecord, is_unclean: bool, reason: &str) {
        let mut after = self.current.clone();
        after.apply(record);
        let line = ChangeLine {
            topic: self.topic,
            partition: self.partition,
            before: self.current,
            after: &after,
            is_unclean,
            reason,
        };
        line.tell(self.is_quiet);
    }
}

fn is_no_op(record: &PartitionChangeRecord) -> bool {
    let nothing = PartitionChangeRecord {
        partition_id: record.partition_id,
        topic_id: record.topic_id,
        ..PartitionChangeRecord::default()
    };
    *record == nothing
}

/// What happened to a broker, as far as its partitions are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BrokerEvent {
    /// It leaves ISRs and leads no more.
    Removed(NodeId),
    /// It may lead, although the image does not say so yet.
    Added(NodeId),
    /// Likewise, in a directory that has failed.
    DirectoryLost(NodeId),
    /// It leaves ISRs, and is not eligible either.
    UncleanShutdown(NodeId),
}

impl Controller {
    pub(crate) fn change<'a>(
        &'a self,
        topic: &'a TopicImage,
        partition: i32,
        current: &'a PartitionRegistration,
    ) -> PartitionChange<'a> {
        let rules = self.topic_defaults().rules(self, topic);
        PartitionChange::new(self, topic, partition, current, rules)
    }

    /// The changes that `event` asks for in those of the partitions that are `concerned`.
    pub(crate) fn changes_for(
        &self,
        event: BrokerEvent,
        reason: &str,
        concerned: impl Fn(&PartitionRegistration) -> bool,
    ) -> Vec<MetadataRecord> {
        let (removed, added) = match event {
            BrokerEvent::Removed(id) | BrokerEvent::DirectoryLost(id) | BrokerEvent::UncleanShutdown(id) => {
                (Some(id), None)
            }
            BrokerEvent::Added(id) => (None, Some(id)),
        };
        let may_lead = |id: NodeId| removed != Some(id) && (added == Some(id) || self.is_active(id));
        let keys: Box<dyn Iterator<Item = PartitionKey>> = match removed {
            Some(id) => Box::new(self.index.hosted(id)),
            None => Box::new(self.index.leaderless()),
        };
        let mut records = Vec::new();
        self.for_each_partition(keys, |topic, rules, partition, current| {
            if concerned(current) {
                let mut change = PartitionChange::new(self, topic, partition, current, rules);
                change.is_quiet = records.len() >= LINES_AN_EVENT;
                change.isr.retain(|id| removed != Some(*id));
                if rules.is_unclean_election_enabled {
                    change.election = Election::Unclean;
                }
                match event {
                    BrokerEvent::DirectoryLost(id) => change.without_directory = Some(id),
                    BrokerEvent::UncleanShutdown(id) => change.unclean_shutdown = Some(id),
                    BrokerEvent::Removed(_) | BrokerEvent::Added(_) => {}
                }
                records.extend(change.build(reason, may_lead));
            }
            ControlFlow::Continue(())
        });
        tell_many(reason, records.len());
        records
    }

    /// Calls `of` with each of the partitions, until it breaks off; settings are read once for all of a topic that stand
    /// together.
    pub(crate) fn for_each_partition<'a>(
        &'a self,
        keys: impl Iterator<Item = PartitionKey>,
        mut of: impl FnMut(&'a TopicImage, TopicRules, i32, &'a PartitionRegistration) -> ControlFlow<()>,
    ) {
        let defaults = self.topic_defaults();
        let mut last: Option<(&TopicImage, TopicRules)> = None;
        for (id, partition) in keys {
            let (topic, rules) = match last.filter(|(topic, _)| topic.id == id) {
                Some(last) => last,
                None => {
                    let Some(topic) = self.image.topics.by_id(id) else { continue };
                    (&**topic, defaults.rules(self, topic))
                }
            };
            last = Some((topic, rules));
            let Some(current) = topic.partitions.get(&partition) else { continue };
            if of(topic, rules, partition, current).is_break() {
                return;
            }
        }
    }
}
