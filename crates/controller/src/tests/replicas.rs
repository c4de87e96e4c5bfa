use ottla_types::NodeId;
use ottla_wire::messages::alter_partition_reassignments_request as reassignments;
use ottla_wire::messages::alter_partition_request::{self as isr, AlterPartitionRequest};
use ottla_wire::messages::assign_replicas_to_dirs_request::{self as dirs, AssignReplicasToDirsRequest};
use ottla_wire::messages::list_partition_reassignments_request::ListPartitionReassignmentsRequest;

use super::topics::assigned;
use super::*;
use crate::list_partition_reassignments;

impl Cluster {
    fn epoch_of(&self, id: i32) -> i64 {
        self.controller.image().brokers.get(&NodeId(id)).map_or(-1, |broker| broker.epoch().value())
    }

    fn topic_id(&self, name: &str) -> Uuid {
        self.controller.image().topics.by_name(name).map_or(Uuid([7; 16]), |topic| topic.id)
    }

    /// What the leader of partition 0 of `t` would ask, changed.
    fn alter_isr(&mut self, new_isr: &[i32], change: impl FnOnce(&mut isr::Partition)) -> i16 {
        let registration =
            self.controller.image().topics.by_name("t").expect("it exists").partitions[&0].clone();
        let mut partition = isr::Partition {
            partition_index: 0,
            leader_epoch: registration.leader_epoch.0,
            partition_epoch: registration.partition_epoch,
            leader_recovery_state: registration.leader_recovery_state as i8,
            new_isr_with_epochs: new_isr
                .iter()
                .map(|id| isr::NewIsrWithEpoch {
                    broker_id: *id,
                    broker_epoch: self.epoch_of(*id),
                    ..Default::default()
                })
                .collect(),
            ..isr::Partition::default()
        };
        change(&mut partition);
        let topic =
            isr::Topic { topic_id: self.topic_id("t"), partitions: vec![partition], ..Default::default() };
        let broker_id = registration.leader.0;
        let request = AlterPartitionRequest {
            broker_id,
            broker_epoch: self.epoch_of(broker_id),
            topics: vec![topic],
            ..Default::default()
        };
        let outcome = self.controller.alter_partition(&request);
        let response = self.commit(outcome);
        assert_eq!(response.error_code, 0);
        response.topics[0].partitions[0].error_code
    }

    fn reassign(&mut self, name: &str, partition_index: i32, replicas: Option<&[i32]>) -> (i16, String) {
        self.alter_reassignment(name, partition_index, replicas, false)
    }

    /// To another number of replicas, perhaps.
    fn reassign_to(&mut self, name: &str, partition_index: i32, replicas: &[i32]) -> (i16, String) {
        self.alter_reassignment(name, partition_index, Some(replicas), true)
    }

    fn alter_reassignment(
        &mut self,
        name: &str,
        partition_index: i32,
        replicas: Option<&[i32]>,
        allow_replication_factor_change: bool,
    ) -> (i16, String) {
        let partition = reassignments::Partition {
            partition_index,
            replicas: replicas.map(<[i32]>::to_vec),
            ..Default::default()
        };
        let topic =
            reassignments::Topic { name: name.into(), partitions: vec![partition], ..Default::default() };
        let request = reassignments::AlterPartitionReassignmentsRequest {
            topics: vec![topic],
            allow_replication_factor_change,
            ..Default::default()
        };
        let outcome = self.controller.alter_partition_reassignments(&request);
        let response = self.commit(outcome);
        assert_eq!(response.error_message, None, "of the whole");
        let result = response.responses[0].partitions[0].clone();
        (result.error_code, result.error_message.unwrap_or_default())
    }

    fn moving(&self) -> usize {
        let request = ListPartitionReassignmentsRequest { topics: None, ..Default::default() };
        let response = list_partition_reassignments(self.controller.image(), &request);
        assert_eq!(response.error_message, None);
        response.topics.len()
    }
}

fn cluster() -> Cluster {
    let mut cluster = Cluster::with_brokers(&[], &[1, 2, 3, 4]);
    cluster.create(&[assigned("t", &[(0, &[1, 2, 3])])]);
    cluster
}

#[test]
fn a_leader_says_who_is_in_sync() {
    let mut cluster = cluster();
    assert_eq!(cluster.alter_isr(&[1, 3], |_| {}), 0);
    assert_eq!(cluster.partitions("t"), "0: 1@0 isr 1,3\n");
    assert_eq!(cluster.alter_isr(&[1, 3], |_| {}), 0);
    let without_epochs = |partition: &mut isr::Partition| {
        partition.new_isr_with_epochs.clear();
        partition.new_isr = vec![1, 2, 3];
    };
    assert_eq!(cluster.alter_isr(&[], without_epochs), 0);
    assert_eq!(cluster.partitions("t"), "0: 1@0 isr 1,2,3\n");
}

#[test]
fn wrong_words_of_a_leader_change_nothing() {
    type Change = fn(&mut isr::Partition);
    let cases: [(i16, &[i32], Change); 10] = [
        (3, &[1], |partition| partition.partition_index = 8),
        (41, &[1], |partition| partition.leader_epoch += 1),
        (41, &[1], |partition| partition.partition_epoch += 1),
        (74, &[1], |partition| partition.leader_epoch -= 1),
        (95, &[1], |partition| partition.partition_epoch -= 1),
        (42, &[1, 4], |_| {}),
        (42, &[2], |_| {}),
        (42, &[1, 1], |_| {}),
        (42, &[1], |partition| partition.leader_recovery_state = 1),
        (107, &[1, 2], |partition| partition.new_isr_with_epochs[1].broker_epoch += 1),
    ];
    for (code, new_isr, change) in cases {
        let mut cluster = cluster();
        let before = cluster.next_offset;
        assert_eq!((cluster.alter_isr(new_isr, change), cluster.next_offset), (code, before));
    }
    let mut cluster = cluster();
    cluster.heartbeat(2, |request| request.want_fence = true);
    assert_eq!(cluster.alter_isr(&[1, 2], |_| {}), 107);
}

#[test]
fn replicas_move_when_the_new_ones_are_in_sync() {
    let mut cluster = cluster();
    assert_eq!(cluster.reassign("t", 0, Some(&[4, 2, 3])), (0, String::new()));
    assert_eq!(cluster.partitions("t"), "0: 1@0 isr 1,2,3 adding 4 removing 1\n");
    assert_eq!(cluster.moving(), 1);
    assert_eq!(cluster.alter_isr(&[1, 2, 3, 4], |_| {}), 108);
    assert_eq!(cluster.partitions("t"), "0: 4@1 isr 2,3,4\n");
    assert_eq!(cluster.moving(), 0);
    let partition = cluster.controller.image().topics.by_name("t").expect("it exists").partitions[&0].clone();
    assert_eq!(partition.replicas, [NodeId(4), NodeId(2), NodeId(3)]);
    assert_eq!(partition.directories, [4, 2, 3].map(directory));
}

#[test]
fn a_new_order_is_a_move_that_ends_at_once() {
    let mut cluster = cluster();
    assert_eq!(cluster.reassign("t", 0, Some(&[3, 2, 1])).0, 0);
    assert_eq!(cluster.partitions("t"), "0: 1@0 isr 1,2,3\n");
    let partition = cluster.controller.image().topics.by_name("t").expect("it exists").partitions[&0].clone();
    assert_eq!(partition.directories, [3, 2, 1].map(directory));
}

#[test]
fn a_move_can_be_cancelled_or_changed() {
    let mut cluster = cluster();
    assert_eq!(cluster.reassign("t", 0, None), (85, String::new()));
    cluster.reassign("t", 0, Some(&[4, 2, 3]));
    assert_eq!(cluster.reassign("t", 0, None).0, 0);
    assert_eq!(cluster.partitions("t"), "0: 1@1 isr 1,2,3\n");
    cluster.reassign("t", 0, Some(&[4, 2, 3]));
    assert_eq!(cluster.reassign("t", 0, Some(&[4, 1, 2])).0, 0);
    assert_eq!(cluster.partitions("t"), "0: 1@1 isr 1,2,3 adding 4 removing 3\n");
}

#[test]
fn moves_are_refused_in_kafkas_words() {
    let manual = "The manual partition assignment includes";
    for (name, partition, replicas, code, message) in [
        ("x", 0, &[1][..], 3, "Unable to find a topic named x.".to_owned()),
        ("t", 9, &[1], 3, "Unable to find partition t:9.".into()),
        ("t", 0, &[], 39, format!("{manual} an empty replica list.")),
        ("t", 0, &[1, 2, 9], 39, format!("{manual} broker 9, but no such broker is registered.")),
        ("t", 0, &[1, 2], 38, "The replication factor is changed from 3 to 2".into()),
    ] {
        let mut cluster = cluster();
        let before = cluster.next_offset;
        assert_eq!(cluster.reassign(name, partition, Some(replicas)), (code, message));
        assert_eq!(cluster.next_offset, before);
    }
}

#[test]
fn brokers_say_where_their_replicas_are() {
    let mut cluster = cluster();
    let mut assign = |partition_index: i32, broker_id: i32, id: Uuid| {
        let partition = dirs::Partition { partition_index, ..Default::default() };
        let topic_id = cluster.topic_id("t");
        let topic = dirs::Topic { topic_id, partitions: vec![partition], ..Default::default() };
        let request = AssignReplicasToDirsRequest {
            broker_id,
            broker_epoch: cluster.epoch_of(broker_id),
            directories: vec![dirs::Directory { id, topics: vec![topic], ..Default::default() }],
            ..Default::default()
        };
        let outcome = cluster.controller.assign_replicas_to_dirs(&request);
        let response = cluster.commit(outcome);
        let code = response.directories[0].topics[0].partitions[0].error_code;
        (code, cluster.partitions("t"))
    };
    assert_eq!(assign(7, 2, directory(2)).0, 3);
    assert_eq!(assign(0, 4, directory(4)).0, 6);
    assert_eq!(assign(0, 2, directory(2)), (0, "0: 1@0 isr 1,2,3\n".into()));
    // A directory that the broker doesn't have any more; of a follower, its leader begins another epoch.
    assert_eq!(assign(0, 3, Uuid([77; 16])), (0, "0: 1@1 isr 1,2\n".into()));
    assert_eq!(assign(0, 3, Uuid([78; 16])), (0, "0: 1@1 isr 1,2\n".into()));
    assert_eq!(assign(0, 1, Uuid([77; 16])), (0, "0: 2@2 isr 2\n".into()));
}

/// With eligible leader replicas, all of three replicas fenced one after the other: the second and third are eligible.
fn without_anybody_in_sync() -> Cluster {
    let mut cluster = Cluster::with_brokers(&[("min.insync.replicas", "2")], &[1, 2, 3, 4]);
    cluster.enable_elr();
    cluster.create(&[assigned("t", &[(0, &[1, 2, 3])])]);
    for id in 1..=3 {
        cluster.heartbeat(id, |request| request.want_fence = true);
    }
    assert_eq!(cluster.partitions("t"), "0: -1@3 isr  elr 2,3 last 3\n");
    cluster
}

#[test]
fn cancelling_a_move_forgets_nobody_who_has_all_records() {
    let mut cluster = without_anybody_in_sync();
    assert_eq!(cluster.reassign("t", 0, Some(&[4, 2, 3])).0, 0);
    assert_eq!(cluster.partitions("t"), "0: -1@3 isr  elr 2,3 last 3 adding 4 removing 1\n");
    assert_eq!(cluster.reassign("t", 0, None), (0, String::new()));
    assert_eq!(cluster.partitions("t"), "0: -1@4 isr  elr 2,3 last 3\n");
    cluster.heartbeat(3, |_| {});
    assert_eq!(cluster.partitions("t"), "0: 3@5 isr 3 elr 2\n");
}

/// The end of a move is a new epoch, here of nobody: that is no leader to note.
#[test]
fn who_led_last_leads_again_though_a_move_has_ended_while_nobody_led() {
    let mut cluster = Cluster::with_brokers(&[("min.insync.replicas", "2")], &[1, 2, 3, 4]);
    cluster.create(&[assigned("t", &[(0, &[1, 2, 3])])]);
    assert_eq!(cluster.reassign("t", 0, Some(&[4, 2, 3])).0, 0);
    for id in 1..=3 {
        cluster.heartbeat(id, |request| request.want_fence = true);
    }
    assert_eq!(cluster.partitions("t"), "0: -1@3 isr 3 adding 4 removing 1\n");
    cluster.enable_elr();
    assert_eq!(cluster.reassign("t", 0, None).0, 0);
    assert_eq!(cluster.partitions("t"), "0: -1@4 isr 3\n");
    let mut request = cluster.registration(3, 33);
    request.previous_broker_epoch = -1;
    let outcome = cluster.controller.register_broker(&request, cluster.now);
    assert_eq!(cluster.commit(outcome).error_code, 0);
    assert_eq!(cluster.partitions("t"), "0: -1@4 isr  last 3\n");
    cluster.heartbeat(3, |_| {});
    assert_eq!(cluster.partitions("t"), "0: 3@5 isr 3\n");
}

#[test]
fn who_is_taken_out_by_a_move_to_fewer_is_not_eligible() {
    let mut cluster = Cluster::with_brokers(&[("min.insync.replicas", "2")], &[1, 2, 3]);
    cluster.enable_elr();
    cluster.create(&[assigned("t", &[(0, &[1, 2, 3])])]);
    assert_eq!(cluster.reassign_to("t", 0, &[3]).0, 0);
    assert_eq!(cluster.partitions("t"), "0: 3@1 isr 3\n");
}

#[test]
fn a_broker_that_tells_of_a_lost_directory_leads_nothing_in_it() {
    let mut cluster = Cluster::with_brokers(&[], &[1]);
    let second = Uuid([201; 16]);
    let mut request = cluster.registration(1, 2);
    request.log_dirs.push(second);
    cluster.heartbeat(1, |request| request.want_fence = true);
    let outcome = cluster.controller.register_broker(&request, cluster.now);
    assert_eq!(cluster.commit(outcome).error_code, 0);
    cluster.heartbeat(1, |_| {});
    cluster.create(&[assigned("t", &[(0, &[1])])]);
    let assignment = |cluster: &Cluster| {
        let partition = dirs::Partition { partition_index: 0, ..Default::default() };
        let topic = dirs::Topic {
            topic_id: cluster.topic_id("t"),
            partitions: vec![partition],
            ..Default::default()
        };
        AssignReplicasToDirsRequest {
            broker_id: 1,
            broker_epoch: cluster.epoch_of(1),
            directories: vec![dirs::Directory { id: second, topics: vec![topic], ..Default::default() }],
            ..Default::default()
        }
    };
    let outcome = cluster.controller.assign_replicas_to_dirs(&assignment(&cluster));
    cluster.commit(outcome);
    cluster.heartbeat(1, |request| request.want_fence = true);
    let lost = |request: &mut BrokerHeartbeatRequest| request.offline_log_dirs = vec![second];
    assert_eq!(cluster.heartbeat(1, lost), (true, false));
    assert_eq!(cluster.heartbeat(1, lost), (false, false));
    assert!(cluster.partitions("t").starts_with("0: -1@"), "{}", cluster.partitions("t"));
}

/// Leaders of Apache Kafka would wait for it otherwise until `replica.lag.time.max.ms` are over, as it is not fenced.
#[test]
fn leaders_of_what_was_in_a_lost_directory_elsewhere_begin_another_epoch() {
    let mut cluster = cluster();
    assert_eq!(cluster.partitions("t"), "0: 1@0 isr 1,2,3\n");
    let lost = directory(3);
    cluster.heartbeat(3, |request| request.offline_log_dirs = vec![lost]);
    assert_eq!(cluster.partitions("t"), "0: 1@1 isr 1,2\n");
}

#[test]
fn a_move_ends_when_those_that_come_are_in_sync_and_one_to_fewer_when_all_that_stay_are() {
    let mut cluster = cluster();
    cluster.heartbeat(3, |request| request.want_fence = true);
    assert_eq!(cluster.reassign("t", 0, Some(&[4, 2, 3])).0, 0);
    assert_eq!(cluster.alter_isr(&[1, 2, 4], |_| {}), 108);
    assert_eq!(cluster.partitions("t"), "0: 4@1 isr 2,4\n");

    let mut cluster = self::cluster();
    cluster.heartbeat(3, |request| request.want_fence = true);
    assert_eq!(cluster.reassign_to("t", 0, &[4, 3]).0, 0);
    assert_eq!(cluster.alter_isr(&[1, 2, 4], |_| {}), 0);
    assert_eq!(cluster.partitions("t"), "0: 1@0 isr 1,2,4 adding 4 removing 1,2\n");
    cluster.heartbeat(3, |_| {});
    assert_eq!(cluster.alter_isr(&[1, 2, 3, 4], |_| {}), 108);
    assert_eq!(cluster.partitions("t"), "0: 4@1 isr 3,4\n");
}
