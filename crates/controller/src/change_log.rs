//! One line in the log for each change of a partition: what, why, and from which state to which.

use ottla_metadata::image::{LeaderRecoveryState, PartitionRegistration, TopicImage};
use ottla_types::NodeId;
use tracing::field::{DebugValue, debug};

/// So many changes that one event brings about have a line each; of more there is one that says how many, and the rest are
/// told where `debug` is: a hundred thousand lines would take longer than the change.
pub(crate) const LINES_AN_EVENT: usize = 1000;

/// Why leaders change when a broker says that it is about to stop.
pub(crate) const CONTROLLED_SHUTDOWN: &str = "controlled shutdown";
/// Why leaders change when a broker is back as another process, and its last one was not seen to go.
pub(crate) const BROKER_RESTARTED: &str = "broker restarted";
/// Likewise, and what it had in memory alone is lost.
pub(crate) const UNCLEAN_SHUTDOWN: &str = "unclean shutdown";

/// A change of one partition, to be told.
pub(crate) struct ChangeLine<'a> {
    pub topic: &'a TopicImage,
    pub partition: i32,
    pub before: &'a PartitionRegistration,
    pub after: &'a PartitionRegistration,
    pub is_unclean: bool,
    pub reason: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    UncleanElection,
    OnlyReplica,
    Election,
    NoLeader,
    MoveBegins,
    MoveEnds,
    Shrinks,
    Expands,
    Eligible,
    Recovered,
    Assignment,
}

impl What {
    /// What matters most of it.
    fn of(before: &PartitionRegistration, after: &PartitionRegistration, is_unclean: bool) -> What {
        if is_unclean {
            if after.replicas == [after.leader] { What::OnlyReplica } else { What::UncleanElection }
        } else if before.leader != after.leader {
            if after.leader == NodeId::NONE { What::NoLeader } else { What::Election }
        } else if before.is_reassigning() && !after.is_reassigning() {
            What::MoveEnds
        } else if (&before.adding_replicas, &before.removing_replicas)
            != (&after.adding_replicas, &after.removing_replicas)
        {
            What::MoveBegins
        } else if before.isr.iter().any(|id| !after.isr.contains(id)) {
            What::Shrinks
        } else if before.isr != after.isr {
            What::Expands
        } else if before.elr != after.elr || before.last_known_elr != after.last_known_elr {
            What::Eligible
        } else if before.leader_recovery_state != after.leader_recovery_state
            && after.leader_recovery_state == LeaderRecoveryState::Recovered
        {
            What::Recovered
        } else {
            What::Assignment
        }
    }

    fn words(self) -> &'static str {
        match self {
            What::UncleanElection => "electing a leader that may lack records",
            What::OnlyReplica => "the only replica leads again, with what its disk has kept",
            What::Election => "electing a leader",
            What::NoLeader => "a partition is without a leader",
            What::MoveBegins => "beginning to move replicas",
            What::MoveEnds => "replicas have moved",
            What::Shrinks => "the ISR shrinks",
            What::Expands => "the ISR expands",
            What::Eligible => "eligible leaders change",
            What::Recovered => "a leader has recovered",
            What::Assignment => "the assignment of replicas changes",
        }
    }
}

impl ChangeLine<'_> {
    pub fn tell(&self, is_quiet: bool) {
        macro_rules! line {
            ($level:ident) => {{
                let ChangeLine { before, after, .. } = self;
                tracing::$level!(
                    topic = %self.topic.name,
                    partition = self.partition,
                    reason = self.reason,
                    leader = before.leader.0,
                    leader_to = (before.leader != after.leader).then_some(after.leader.0),
                    leader_epoch = after.leader_epoch.0,
                    partition_epoch = after.partition_epoch,
                    isr = debug(ids(&before.isr)),
                    isr_to = changed(&before.isr, &after.isr),
                    elr_to = changed(&before.elr, &after.elr),
                    replicas = debug(ids(&before.replicas)),
                    replicas_to = changed(&before.replicas, &after.replicas),
                    adding_to = changed(&before.adding_replicas, &after.adding_replicas),
                    removing_to = changed(&before.removing_replicas, &after.removing_replicas),
                    "{}",
                    self.what().words()
                )
            }};
        }
        match self.what() {
            _ if is_quiet => line!(debug),
            What::NoLeader if is_for_a_moment(self.reason, &self.before.replicas) => line!(info),
            What::UncleanElection | What::NoLeader => line!(warn),
            // Each replica of a new partition is told of once more, when its broker has chosen a directory.
            What::Assignment => line!(debug),
            _ => line!(info),
        }
    }

    fn what(&self) -> What {
        What::of(self.before, self.after, self.is_unclean)
    }
}

/// What one event did to more partitions than have a line each.
pub(crate) fn tell_many(reason: &str, changes: usize) {
    if changes > LINES_AN_EVENT {
        tracing::info!(
            reason,
            changes,
            told = LINES_AN_EVENT,
            "many partitions change: the others are told at debug"
        );
    }
}

fn ids(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|node| node.0).collect()
}

/// There is no leader because somebody stops the broker, or until the one that has just come back is let in.
fn is_for_a_moment(reason: &str, replicas: &[NodeId]) -> bool {
    [CONTROLLED_SHUTDOWN, BROKER_RESTARTED].contains(&reason)
        || (reason == UNCLEAN_SHUTDOWN && replicas.len() == 1)
}

fn changed(before: &[NodeId], after: &[NodeId]) -> Option<DebugValue<Vec<i32>>> {
    (before != after).then(|| debug(ids(after)))
}

#[cfg(test)]
mod tests {
    use ottla_types::LeaderEpoch;

    use super::*;

    fn nodes(ids: &[i32]) -> Vec<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    #[test]
    fn a_change_is_called_by_what_matters_most_of_it() {
        type Change = fn(&mut PartitionRegistration);
        let before = PartitionRegistration {
            replicas: nodes(&[1, 2, 3]),
            directories: Vec::new(),
            isr: nodes(&[1, 2]),
            removing_replicas: Vec::new(),
            adding_replicas: Vec::new(),
            elr: Vec::new(),
            last_known_elr: Vec::new(),
            leader: NodeId(1),
            leader_recovery_state: LeaderRecoveryState::Recovering,
            leader_epoch: LeaderEpoch(4),
            partition_epoch: 7,
        };
        let cases: [(What, Change); 8] = [
            (What::Election, |p| (p.leader, p.isr) = (NodeId(2), nodes(&[2]))),
            (What::NoLeader, |p| (p.leader, p.isr) = (NodeId::NONE, Vec::new())),
            (What::MoveBegins, |p| p.adding_replicas = nodes(&[4])),
            (What::Shrinks, |p| p.isr = nodes(&[1])),
            (What::Expands, |p| p.isr = nodes(&[1, 2, 3])),
            (What::Eligible, |p| p.elr = nodes(&[3])),
            (What::Recovered, |p| p.leader_recovery_state = LeaderRecoveryState::Recovered),
            (What::Assignment, |p| p.partition_epoch += 1),
        ];
        for (what, change) in cases {
            let mut after = before.clone();
            change(&mut after);
            assert_eq!(What::of(&before, &after, false), what);
            assert_eq!(What::of(&before, &after, true), What::UncleanElection);
        }
        let alone = PartitionRegistration { replicas: nodes(&[1]), isr: nodes(&[1]), ..before.clone() };
        assert_eq!(What::of(&alone, &alone, true), What::OnlyReplica);
        let moving = PartitionRegistration { adding_replicas: nodes(&[3]), ..before.clone() };
        assert_eq!(What::of(&moving, &before, false), What::MoveEnds);
    }

    #[test]
    fn who_stops_a_broker_is_not_warned_of_it() {
        let (alone, three) = (nodes(&[1]), nodes(&[1, 2, 3]));
        assert!(is_for_a_moment(CONTROLLED_SHUTDOWN, &three));
        assert!(is_for_a_moment(BROKER_RESTARTED, &three));
        assert!(is_for_a_moment(UNCLEAN_SHUTDOWN, &alone));
        // The others may have to be waited for.
        assert!(!is_for_a_moment(UNCLEAN_SHUTDOWN, &three));
        assert!(!is_for_a_moment("broker fenced", &alone));
    }
}
