//! The same changes of partitions as Apache Kafka 4.3.1 makes: see `testdata/README.md`.
//!
//! Two things are other on purpose: of who is eligible to lead, those are left out that are no replicas any more; and where
//! nobody leads and no leader is noted, the last one that was eligible is.

use ottla_metadata::image::{LeaderRecoveryState, PartitionRegistration, TopicImage, directory};
use ottla_types::{LeaderEpoch, NodeId};
use ottla_wire::records::PartitionChangeRecord;

use super::*;
use crate::partition_change::{Election, PartitionChange};
use crate::topic_rules::TopicRules;

const CHANGES: &str = include_str!("../../testdata/partition-changes.txt");

/// Names and values in turn; a name that another follows has an empty value.
struct Fields<'a>(Vec<&'a str>);

impl<'a> Fields<'a> {
    fn of(part: &'a str) -> Fields<'a> {
        Fields(part.strip_prefix(' ').unwrap_or(part).split(' ').collect())
    }

    fn get(&self, name: &str) -> &'a str {
        let at = self.0.iter().position(|word| *word == name).expect("the name is there");
        self.0.get(at + 1).copied().unwrap_or_default()
    }

    fn number(&self, name: &str) -> i32 {
        self.get(name).parse().expect("a number")
    }

    fn ids(&self, name: &str) -> Vec<i32> {
        self.get(name).split(',').filter(|id| !id.is_empty()).map(|id| id.parse().expect("an id")).collect()
    }

    fn nodes(&self, name: &str) -> Vec<NodeId> {
        self.ids(name).into_iter().map(NodeId).collect()
    }

    /// None where it stays the same.
    fn changed(&self, name: &str) -> Option<Vec<i32>> {
        (self.get(name) != "same").then(|| self.ids(name))
    }
}

fn recovery(number: i32) -> LeaderRecoveryState {
    if number == 1 { LeaderRecoveryState::Recovering } else { LeaderRecoveryState::Recovered }
}

fn partition(fields: &Fields<'_>) -> PartitionRegistration {
    let replicas = fields.nodes("replicas");
    PartitionRegistration {
        directories: vec![directory::UNASSIGNED; replicas.len()],
        replicas,
        isr: fields.nodes("isr"),
        removing_replicas: fields.nodes("removing"),
        adding_replicas: fields.nodes("adding"),
        elr: fields.nodes("elr"),
        last_known_elr: fields.nodes("last"),
        leader: NodeId(fields.number("leader")),
        leader_recovery_state: recovery(fields.number("recovery")),
        leader_epoch: LeaderEpoch(3),
        partition_epoch: 7,
    }
}

fn kafkas(part: &str) -> Option<PartitionChangeRecord> {
    if part.trim() == "nothing" {
        return None;
    }
    let fields = Fields::of(part);
    Some(PartitionChangeRecord {
        leader: fields.number("leader"),
        isr: fields.changed("isr"),
        eligible_leader_replicas: fields.changed("elr"),
        last_known_elr: fields.changed("last"),
        replicas: fields.changed("replicas"),
        removing_replicas: fields.changed("removing"),
        adding_replicas: fields.changed("adding"),
        leader_recovery_state: i8::try_from(fields.number("recovery")).expect("a state"),
        ..PartitionChangeRecord::default()
    })
}

/// The partition after the change, whether or not the change says where its replicas are.
fn after(before: &PartitionRegistration, change: Option<&PartitionChangeRecord>) -> PartitionRegistration {
    let mut after = before.clone();
    if let Some(change) = change {
        after.apply(change);
    }
    after.directories.clear();
    after
}

#[test]
fn partitions_become_what_they_become_in_kafka() {
    let cluster = Cluster::with_brokers(&[], &[1, 2, 3, 4, 5]);
    let topic = TopicImage { id: Uuid([1; 16]), name: "t".into(), partitions: Default::default() };
    for line in CHANGES.lines() {
        let parts: Vec<&str> = line.split(" | ").collect();
        let [of, to, kafka] = parts[..] else { panic!("{line}") };
        let (before, to) = (partition(&Fields::of(of)), Fields::of(to));
        let active = to.nodes("active");
        let rules = TopicRules {
            min_isr: to.number("min") as usize,
            is_unclean_election_enabled: false,
            has_elr: to.get("enabled") == "true",
        };
        let mut change = PartitionChange::new(&cluster.controller, &topic, 0, &before, rules);
        change.election = match to.get("election") {
            "preferred" => Election::Preferred,
            "online" => Election::Online,
            _ => Election::Unclean,
        };
        (change.isr, change.replicas) = (to.nodes("isr"), to.nodes("replicas"));
        (change.removing, change.adding) = (to.nodes("removing"), to.nodes("adding"));
        change.recovery = recovery(to.number("recovery"));
        change.unclean_shutdown = to.nodes("unclean").first().copied();
        let ours = change.build("as in Kafka", |id| active.contains(&id)).map(|record| match record {
            MetadataRecord::PartitionChange(change) => change,
            other => panic!("{other:?}"),
        });
        let kafka = kafkas(kafka);
        let (ours, mut kafka) = (after(&before, ours.as_ref()), after(&before, kafka.as_ref()));
        let replicas = kafka.replicas.clone();
        kafka.elr.retain(|id| replicas.contains(id));
        let nobody_would_ever_lead = kafka.leader == NodeId::NONE
            && (kafka.isr.is_empty() && kafka.elr.is_empty() && kafka.last_known_elr.is_empty());
        let last =
            to.nodes("unclean").into_iter().find(|id| before.isr.contains(id) || before.elr.contains(id));
        if nobody_would_ever_lead && rules.has_elr {
            kafka.last_known_elr = last.into_iter().collect();
        }
        assert_eq!(ours, kafka, "{line}");
    }
}
