//! What must hold of the metadata whatever happens: of every single change of a partition, and of every state.

use std::collections::BTreeMap;

use ottla_metadata::image::{LeaderRecoveryState, PartitionRegistration};
use ottla_types::NodeId;

use super::*;

/// What was asked for, as far as it allows what must not happen otherwise.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// Somebody asked for leaders that may lack records.
    pub unclean_election: bool,
    /// Whom the leader has told to be in sync.
    pub in_sync: Vec<NodeId>,
    /// A reassignment is begun or cancelled.
    pub moves: bool,
    /// Who is not in sync may be eligible nevertheless.
    pub has_elr: bool,
}

/// Who has led in which epoch of which partition.
pub(super) type Leaders = BTreeMap<(Uuid, i32, i32), NodeId>;

fn is_subset(list: &[NodeId], of: &[NodeId]) -> bool {
    list.iter().all(|id| of.contains(id))
}

fn has_duplicates(list: &[NodeId]) -> bool {
    list.iter().enumerate().any(|(i, id)| list[..i].contains(id))
}

/// One leader an epoch, for ever.
pub(super) fn note_leader(leaders: &mut Leaders, topic: Uuid, partition: i32, p: &PartitionRegistration) {
    let leader = *leaders.entry((topic, partition, p.leader_epoch.0)).or_insert(p.leader);
    assert_eq!(leader, p.leader, "a second leader in one epoch: {p:?}");
}

/// One record's effect on one partition.
pub(super) fn check_change(
    before: &PartitionRegistration,
    after: &PartitionRegistration,
    is_unclean_allowed: bool,
    asked: &Asked,
) {
    let what = format!("\n  before {before:?}\n  after  {after:?}\n  asked {asked:?}");
    assert_eq!(after.partition_epoch, before.partition_epoch + 1, "every change is counted{what}");
    if after.leader == before.leader {
        assert!((0..=1).contains(&(after.leader_epoch.0 - before.leader_epoch.0)), "{what}");
    } else {
        assert_eq!(after.leader_epoch.0, before.leader_epoch.0 + 1, "a new leader has a new epoch{what}");
    }
    let may_be_empty = before.isr.is_empty() || asked.has_elr;
    assert!(!after.isr.is_empty() || may_be_empty, "nobody has all records{what}");
    check_new_leader(before, after, is_unclean_allowed, asked, &what);
    let dropped: Vec<NodeId> =
        before.replicas.iter().copied().filter(|id| !after.replicas.contains(id)).collect();
    if !dropped.is_empty() {
        let is_new = |id: &NodeId| before.adding_replicas.contains(id) || !before.replicas.contains(id);
        let come: Vec<NodeId> = after.replicas.iter().copied().filter(is_new).collect();
        let must_be_in_sync = if come.len() < dropped.len() { &after.replicas } else { &come };
        let all_in_sync = is_subset(must_be_in_sync, &after.isr);
        let only_added = asked.moves && is_subset(&dropped, &before.adding_replicas);
        assert!(all_in_sync || only_added, "a replica is lost before the others are in sync{what}");
        assert!(after.leader_epoch > before.leader_epoch, "who is dropped must hear of it{what}");
    }
    let joined = after.isr.iter().filter(|id| !before.isr.contains(id));
    let clean = if before.isr.is_empty() { &before.elr } else { &before.isr };
    // A move is cancelled of which only those that were to come are in sync.
    let is_cut_off = asked.moves && is_unclean_allowed && !is_subset(clean, &after.replicas);
    let may_join = |id: &NodeId| {
        is_cut_off
            || asked.in_sync.contains(id)
            || before.elr.contains(id)
            || after.isr == [*id] && after.leader == *id
    };
    assert!(joined.copied().all(|id| may_join(&id)), "somebody is in sync on nobody's word{what}");
}

fn check_new_leader(
    before: &PartitionRegistration,
    after: &PartitionRegistration,
    is_unclean_allowed: bool,
    asked: &Asked,
    what: &str,
) {
    if after.leader == NodeId::NONE || after.leader == before.leader {
        return;
    }
    let leader = after.leader;
    let is_clean =
        before.isr.contains(&leader) || asked.in_sync.contains(&leader) || before.elr.contains(&leader);
    if !is_clean {
        let last_known = before.last_known_elr == [leader] && before.isr.is_empty();
        assert!(
            is_unclean_allowed || asked.unclean_election || last_known,
            "a leader that may lack records, allowed by nobody{what}"
        );
        assert_eq!(after.isr, [leader], "{what}");
        assert_eq!(after.leader_recovery_state, LeaderRecoveryState::Recovering, "{what}");
        assert!(after.elr.is_empty(), "eligible are those that have what this leader may lack{what}");
    }
}

/// A state between two records.
pub(super) fn check_partition(p: &PartitionRegistration, place: &str) {
    let what = format!("{place}: {p:?}");
    assert!(!p.replicas.is_empty() && !has_duplicates(&p.replicas), "{what}");
    assert!(is_subset(&p.isr, &p.replicas) && !has_duplicates(&p.isr), "ISR {what}");
    assert!(is_subset(&p.elr, &p.replicas) && !has_duplicates(&p.elr), "ELR {what}");
    assert!(p.elr.iter().all(|id| !p.isr.contains(id)), "eligible and in sync {what}");
    assert!(is_subset(&p.adding_replicas, &p.replicas), "adding {what}");
    assert!(is_subset(&p.removing_replicas, &p.replicas), "removing {what}");
    assert!(p.adding_replicas.iter().all(|id| !p.removing_replicas.contains(id)), "both {what}");
    assert!(!is_subset(&p.replicas, &p.removing_replicas), "nobody stays {what}");
    assert_eq!(p.directories.len(), p.replicas.len(), "{what}");
    if p.leader != NodeId::NONE {
        assert!(p.isr.contains(&p.leader), "a leader out of sync {what}");
    }
    if p.leader_recovery_state == LeaderRecoveryState::Recovering && p.leader != NodeId::NONE {
        assert_eq!(p.isr, [p.leader], "in sync with a leader that has not recovered {what}");
    }
}

/// A state between two operations.
pub(super) fn check_image(image: &MetadataImage) {
    let may_lead = |p: &PartitionRegistration, id: NodeId| {
        image.brokers.get(&id).is_some_and(|broker| {
            let directory = p.directory(id).expect("it is a replica");
            broker.is_active() && broker.has_online_directory(directory)
        })
    };
    for topic in image.topics.iter() {
        for (partition, p) in &topic.partitions {
            let what = format!("{}-{partition}: {p:?}", topic.name);
            if p.leader == NodeId::NONE {
                let clean = if p.isr.is_empty() { &p.elr } else { &p.isr };
                assert!(clean.iter().all(|id| !may_lead(p, *id)), "nobody leads, and somebody could {what}");
            } else {
                assert!(may_lead(p, p.leader), "led by who can't {what}");
                let is_active = |id: &NodeId| image.brokers.get(id).is_some_and(|broker| broker.is_active());
                assert!(p.isr.iter().all(is_active), "in sync with who is gone {what}");
            }
            let is_done = is_subset(&p.replicas, &p.isr);
            assert!(!(p.is_reassigning() && is_done), "a move that has ended goes on {what}");
        }
    }
}
