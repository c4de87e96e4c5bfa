use ottla_types::NodeId;
use ottla_wire::messages::elect_leaders_request::{ElectLeadersRequest, TopicPartition};
use ottla_wire::messages::elect_leaders_response::PartitionResult;
use ottla_wire::records::PartitionRecord;

use super::topics::{assigned, topic};
use super::*;

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

impl Cluster {
    fn elect(&mut self, election_type: i8, partitions: Option<(&str, &[i32])>) -> Vec<(i32, i16)> {
        let results = self.try_elect(election_type, partitions).into_iter();
        results.map(|result| (result.partition_id, result.error_code)).collect()
    }

    fn try_elect(&mut self, election_type: i8, partitions: Option<(&str, &[i32])>) -> Vec<PartitionResult> {
        let topic_partitions = partitions.map(|(topic, partitions)| {
            vec![TopicPartition {
                topic: topic.into(),
                partitions: partitions.to_vec(),
                ..Default::default()
            }]
        });
        let request = ElectLeadersRequest { election_type, topic_partitions, ..Default::default() };
        let outcome = self.controller.elect_leaders(&request);
        let response = self.commit(outcome);
        response.replica_election_results.into_iter().flat_map(|topic| topic.partition_result).collect()
    }

    fn fence(&mut self, id: i32) {
        self.heartbeat(id, |request| request.want_fence = true);
    }

    /// As after `kill -9`: a new incarnation, unfenced.
    fn restart(&mut self, id: i32, incarnation: u8, previous_broker_epoch: i64) {
        let mut request = self.registration(id, incarnation);
        request.previous_broker_epoch = previous_broker_epoch;
        let outcome = self.controller.register_broker(&request, self.now);
        assert_eq!(self.commit(outcome).error_code, 0);
        self.heartbeat(id, |_| {});
    }

    fn epoch(&self, id: i32) -> i64 {
        self.controller.image().brokers.get(&id.into()).map_or(-1, |broker| broker.epoch().value())
    }
}

#[test]
fn preferred_leaders_are_elected_when_asked_or_in_time() {
    let mut cluster = Cluster::with_brokers(&[], &[1, 2]);
    cluster.create(&[assigned("t", &[(0, &[1, 2]), (1, &[2, 1])])]);
    cluster.fence(1);
    cluster.heartbeat(1, |_| {});
    assert_eq!(cluster.elect(PREFERRED, Some(("t", &[0, 1, 7]))), [(0, 80), (1, 84), (7, 3)]);
    cluster.append_isr("t", 0, &[2, 1]);
    assert_eq!(cluster.elect(PREFERRED, Some(("t", &[0]))), [(0, 0)]);
    assert_eq!(cluster.partitions("t"), "0: 1@2 isr 2,1\n1: 2@0 isr 2\n");
    assert_eq!(cluster.elect(PREFERRED, None), []);
    cluster.fence(1);
    cluster.heartbeat(1, |_| {});
    cluster.append_isr("t", 0, &[2, 1]);
    for _ in 0..100 {
        cluster.advance(4_000);
        cluster.heartbeat(1, |_| {});
        cluster.heartbeat(2, |_| {});
    }
    assert!(cluster.partitions("t").starts_with("0: 1@4 isr 2,1\n"), "{}", cluster.partitions("t"));
}

/// Who leads a while after the preferred leader has come back and is in sync.
fn preferred_after_s(settings: &[(&str, &str)], seconds: u64) -> String {
    let mut cluster = Cluster::with_brokers(settings, &[1, 2]);
    cluster.create(&[assigned("t", &[(0, &[1, 2])])]);
    cluster.fence(1);
    cluster.heartbeat(1, |_| {});
    cluster.append_isr("t", 0, &[2, 1]);
    wait_s(&mut cluster, seconds)
}

/// Who leads a while after the only broker in sync has gone and another has been allowed to lead.
fn unclean_after_s(settings: &[(&str, &str)], seconds: u64) -> String {
    let mut cluster = Cluster::with_brokers(settings, &[1, 2]);
    cluster.create(&[assigned("t", &[(0, &[1, 2])])]);
    cluster.fence(1);
    cluster.fence(2);
    cluster.heartbeat(1, |_| {});
    cluster.append(&[MetadataRecord::Config(ottla_wire::records::ConfigRecord {
        resource_type: 2,
        resource_name: "t".into(),
        name: "unclean.leader.election.enable".into(),
        value: Some("true".into()),
        ..Default::default()
    })]);
    wait_s(&mut cluster, seconds)
}

fn wait_s(cluster: &mut Cluster, seconds: u64) -> String {
    for _ in 0..seconds {
        cluster.advance(1000);
        for id in [1, 2] {
            if cluster.controller.image().brokers.get(&id.into()).is_some_and(|broker| !broker.is_fenced()) {
                cluster.heartbeat(id, |_| {});
            }
        }
    }
    cluster.partitions("t").chars().take(5).collect()
}

#[test]
fn settings_decide_whether_and_when_leaders_are_elected_by_themselves() {
    assert_eq!(preferred_after_s(&[], 290), "0: 2@");
    assert_eq!(preferred_after_s(&[], 310), "0: 1@");
    assert_eq!(preferred_after_s(&[("leader.imbalance.check.interval.seconds", "10")], 20), "0: 1@");
    assert_eq!(preferred_after_s(&[("auto.leader.rebalance.enable", "false")], 1000), "0: 2@");
    assert_eq!(unclean_after_s(&[], 200), "0: -1");
    assert_eq!(unclean_after_s(&[("unclean.leader.election.interval.ms", "10000")], 20), "0: 1@");
}

impl Cluster {
    /// As if the leader had said so.
    pub(crate) fn append_isr(&mut self, topic: &str, partition_id: i32, isr: &[i32]) {
        let topic_id = self.controller.image().topics.by_name(topic).expect("it exists").id;
        let change = ottla_wire::records::PartitionChangeRecord {
            topic_id,
            partition_id,
            isr: Some(isr.to_vec()),
            ..Default::default()
        };
        self.append(&[MetadataRecord::PartitionChange(change)]);
    }
}

#[test]
fn a_leader_that_lacks_records_is_elected_only_when_asked_or_allowed() {
    let mut cluster = Cluster::with_brokers(&[], &[1, 2]);
    cluster.create(&[assigned("t", &[(0, &[1, 2])])]);
    cluster.fence(1);
    cluster.fence(2);
    cluster.heartbeat(1, |_| {});
    assert_eq!(cluster.partitions("t"), "0: -1@2 isr 2\n");
    assert_eq!(cluster.elect(UNCLEAN, Some(("t", &[0]))), [(0, 0)]);
    assert_eq!(cluster.partitions("t"), "0: 1@3 isr 1\n");
    assert_eq!(cluster.elect(UNCLEAN, Some(("t", &[0]))), [(0, 84)]);
    let partition = cluster.controller.image().topics.by_name("t").expect("it exists").partitions[&0].clone();
    assert_eq!(partition.leader_recovery_state as i8, 1);

    let mut cluster = Cluster::with_brokers(&[("unclean.leader.election.enable", "true")], &[1, 2]);
    cluster.create(&[assigned("t", &[(0, &[1, 2])])]);
    cluster.fence(1);
    cluster.fence(2);
    cluster.heartbeat(1, |_| {});
    assert_eq!(cluster.partitions("t"), "0: 1@3 isr 1\n");
}

#[test]
fn elections_that_are_not_held_are_refused_in_kafkas_words() {
    let mut cluster = Cluster::with_brokers(&[], &[1, 2]);
    cluster.create(&[assigned("t", &[(0, &[1, 2]), (1, &[2, 1])])]);
    cluster.create(&[assigned("u", &[(0, &[1])])]);
    cluster.fence(1);
    let mut said = |election_type, topic, partition| {
        let result = cluster.try_elect(election_type, Some((topic, &[partition]))).remove(0);
        result.error_message.unwrap_or_default()
    };
    assert_eq!(said(PREFERRED, "t", 0), "The preferred leader was not available.");
    assert_eq!(said(PREFERRED, "t", 1), "Leader election not needed for topic partition.");
    assert_eq!(said(UNCLEAN, "u", 0), "Eligible topic partition leaders are not available.");
}

#[test]
fn an_unknown_kind_of_election_is_refused() {
    let mut cluster = Cluster::with_brokers(&[], &[1]);
    cluster.create(&[topic("t", 1, 1)]);
    assert_eq!(cluster.elect(9, Some(("t", &[0]))), [(0, 42)]);
}

fn with_elr(min_insync: &str) -> Cluster {
    let mut cluster = Cluster::with_brokers(&[("min.insync.replicas", min_insync)], &[1, 2, 3]);
    cluster.enable_elr();
    cluster.create(&[assigned("t", &[(0, &[1, 2, 3])])]);
    cluster
}

#[test]
fn who_leaves_an_isr_that_is_too_small_stays_eligible() {
    let mut cluster = with_elr("2");
    let steps: [(i32, &str); 3] =
        [(1, "0: 2@1 isr 2,3\n"), (2, "0: 3@2 isr 3 elr 2\n"), (3, "0: -1@3 isr  elr 2,3 last 3\n")];
    for (id, expected) in steps {
        cluster.fence(id);
        assert_eq!(cluster.partitions("t"), expected);
    }
    cluster.heartbeat(1, |_| {});
    assert_eq!(cluster.partitions("t"), "0: -1@3 isr  elr 2,3 last 3\n");
    cluster.heartbeat(2, |_| {});
    assert_eq!(cluster.partitions("t"), "0: 2@4 isr 2 elr 3\n");
}

#[test]
fn an_unclean_shutdown_ends_eligibility_and_a_clean_one_does_not() {
    for (clean, expected) in [(true, "0: -1@3 isr  elr 2,3 last 3\n"), (false, "0: -1@3 isr  elr 2 last 3\n")]
    {
        let mut cluster = with_elr("2");
        for id in 1..=3 {
            cluster.fence(id);
        }
        let previous = if clean { cluster.epoch(3) } else { -1 };
        let mut request = cluster.registration(3, 33);
        request.previous_broker_epoch = previous;
        let outcome = cluster.controller.register_broker(&request, cluster.now);
        assert_eq!(cluster.commit(outcome).error_code, 0);
        assert_eq!(cluster.partitions("t"), expected);
    }
}

#[test]
fn who_led_last_leads_again_though_the_feature_came_while_nobody_led() {
    let mut cluster = Cluster::with_brokers(&[("min.insync.replicas", "2")], &[1, 2, 3]);
    cluster.create(&[assigned("t", &[(0, &[1, 2, 3])])]);
    for id in 1..=3 {
        cluster.fence(id);
    }
    assert_eq!(cluster.partitions("t"), "0: -1@3 isr 3\n");
    cluster.enable_elr();
    let mut request = cluster.registration(3, 33);
    request.previous_broker_epoch = -1;
    let outcome = cluster.controller.register_broker(&request, cluster.now);
    assert_eq!(cluster.commit(outcome).error_code, 0);
    assert_eq!(cluster.partitions("t"), "0: -1@3 isr  last 3\n");
    for id in [1, 2] {
        cluster.heartbeat(id, |_| {});
    }
    assert_eq!(cluster.partitions("t"), "0: -1@3 isr  last 3\n");
    cluster.heartbeat(3, |_| {});
    assert_eq!(cluster.partitions("t"), "0: 3@4 isr 3\n");
}

#[test]
fn the_only_broker_leads_again_after_any_kind_of_stop() {
    for has_elr in [false, true] {
        for clean in [false, true] {
            let mut cluster = Cluster::with_brokers(&[], &[1]);
            if has_elr {
                cluster.enable_elr();
            }
            cluster.create(&[topic("t", 1, 1)]);
            cluster.advance(10_000);
            let previous = if clean { cluster.epoch(1) } else { -1 };
            cluster.restart(1, 99, previous);
            let lines = cluster.partitions("t");
            assert!(lines.starts_with("0: 1@") && lines.ends_with(" isr 1\n"), "{has_elr} {clean} {lines}");
        }
    }
}

/// No number is left that would tell the next leader's time, or the next change, from the one before.
#[test]
fn a_partition_whose_epochs_are_used_up_stays_as_it_is() {
    let mut cluster = Cluster::with_brokers(&[], &[1, 2]);
    cluster.create(&[assigned("t", &[(0, &[2, 1]), (1, &[2, 1]), (2, &[2, 1])])]);
    let topic = cluster.controller.image().topics.by_name("t").expect("it is there");
    let used_up = [(0, i32::MAX, 0), (1, 0, i32::MAX)].map(|(index, leader_epoch, partition_epoch)| {
        let record = topic.partitions[&index].to_record(topic.id, index, 2);
        MetadataRecord::Partition(PartitionRecord { leader_epoch, partition_epoch, ..record })
    });
    cluster.append(&used_up);
    let epoch = cluster.controller.image().brokers[&NodeId(2)].epoch();
    let outcome = cluster.controller.broker_is_gone(NodeId(2), epoch);
    cluster.commit(outcome);
    let (last, others) = (i32::MAX, "isr 2,1");
    assert_eq!(cluster.partitions("t"), format!("0: 2@{last} {others}\n1: 2@0 {others}\n2: 1@1 isr 1\n"));
}
