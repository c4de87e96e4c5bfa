use ottla_metadata::image::directory as reserved;
use ottla_types::{BrokerEpoch, NodeId};
use ottla_wire::messages::unregister_broker_request::UnregisterBrokerRequest;

use super::topics::{assigned, topic};
use super::*;

impl Cluster {
    /// The state of each broker: id, epoch, and letters for fenced and leaving.
    fn brokers(&self) -> String {
        let line = |broker: &std::sync::Arc<ottla_metadata::image::BrokerRegistration>| {
            let fenced = if broker.is_fenced() { "F" } else { "" };
            let leaving = if broker.is_in_controlled_shutdown() { "L" } else { "" };
            format!("{}{fenced}{leaving} ", broker.id())
        };
        self.controller.image().brokers.values().map(line).collect()
    }

    fn try_register(&mut self, change: impl FnOnce(&mut BrokerRegistrationRequest)) -> i16 {
        let mut request = self.registration(2, 2);
        change(&mut request);
        let outcome = self.controller.register_broker(&request, self.now);
        assert_eq!(outcome.records.is_empty(), outcome.response.error_code != 0);
        self.commit(outcome).error_code
    }
}

#[test]
fn a_broker_is_fenced_until_it_has_caught_up_and_epochs_grow() {
    let mut cluster = Cluster::new(&[]);
    let (_, epoch) = cluster.register(1, 1);
    assert_eq!(epoch, cluster.next_offset.value() - 1);
    assert_eq!(cluster.heartbeat(1, |request| request.current_metadata_offset = epoch - 1), (true, false));
    assert_eq!(cluster.heartbeat(1, |request| request.want_fence = true), (true, false));
    assert_eq!(cluster.heartbeat(1, |_| {}), (false, false));
    let again = cluster.register(1, 1);
    assert_eq!((again, cluster.brokers().as_str()), ((0, epoch), "1 "));
    cluster.advance(10_000);
    assert_eq!(cluster.brokers(), "1F ");
    assert!(cluster.register(1, 9).1 > epoch);
}

#[test]
fn registrations_are_refused_with_kafkas_codes() {
    type Change = fn(&mut BrokerRegistrationRequest);
    let cases: [(i16, Change); 9] = [
        (0, |_| {}),
        (104, |request| request.cluster_id = "another".into()),
        (101, |request| (request.broker_id, request.log_dirs) = (5, vec![directory(5)])),
        (102, |request| request.is_migrating_zk_broker = true),
        (119, |request| request.log_dirs.clear()),
        (119, |request| request.log_dirs.push(directory(2))),
        (119, |request| request.log_dirs = vec![reserved::LOST]),
        (119, |request| request.log_dirs = vec![directory(5)]),
        (35, |request| request.features[0].max_supported_version = 29),
    ];
    for (code, change) in cases {
        let mut cluster = Cluster::with_brokers(&[], &[5]);
        assert_eq!(cluster.try_register(change), code);
    }
    let mut cluster = Cluster::new(&[]);
    assert_eq!(cluster.try_register(|request| request.features.clear()), 119);
}

#[test]
fn heartbeats_of_old_incarnations_are_refused() {
    let mut cluster = Cluster::with_brokers(&[], &[5]);
    for (broker_id, broker_epoch) in [(5, 0), (6, 1)] {
        let request = BrokerHeartbeatRequest { broker_id, broker_epoch, ..BrokerHeartbeatRequest::default() };
        let outcome = cluster.controller.broker_heartbeat(&request, cluster.now);
        assert_eq!((outcome.response.error_code, outcome.records.len()), (77, 0));
    }
}

#[test]
fn a_broker_that_was_killed_comes_back_to_its_own_controller_at_once() {
    let cluster = Cluster::with_brokers(&[], &[1, 5]);
    let image = cluster.controller.image().clone();
    let mut cluster = Cluster::from_image(&[], image, cluster.next_offset);
    cluster.controller.settings.own_incarnation = Some(Uuid([77; 16]));
    assert_eq!(cluster.register(5, 77).0, 101);
    assert_eq!(cluster.register(1, 77).0, 0);
    cluster.heartbeat(1, |_| {});
    assert_eq!(cluster.register(1, 78).0, 101);
}

#[test]
fn nobody_takes_the_id_of_the_broker_beside_a_new_controller() {
    let cluster = Cluster::with_brokers(&[], &[1, 5]);
    let image = cluster.controller.image().clone();
    let mut cluster = Cluster::from_image(&[], image, cluster.next_offset);
    cluster.controller.settings.own_incarnation = Some(Uuid([1; 16]));
    assert_eq!(cluster.register(1, 77).0, 101, "it registered with the controller before, and lives");
    assert_eq!(cluster.brokers(), "1 5 ");
    assert_eq!(cluster.register(1, 1).0, 0, "it itself may come again");
    cluster.advance(8_000);
    assert_eq!(cluster.register(1, 77).0, 101);
    cluster.advance(2_000);
    assert_eq!(cluster.register(1, 77).0, 0, "its session is over");
}

#[test]
fn a_process_that_has_ended_is_fenced_at_once_and_its_next_one_comes_in() {
    let mut cluster = Cluster::with_brokers(&[], &[1, 2, 3]);
    cluster.create(&[assigned("t", &[(0, &[2, 3])])]);
    let epoch_of = |cluster: &Cluster| cluster.controller.image().brokers[&NodeId(2)].epoch();
    let epoch = epoch_of(&cluster);
    let gone = |cluster: &mut Cluster, id, epoch| {
        let outcome = cluster.controller.broker_is_gone(NodeId(id), epoch);
        cluster.commit(outcome);
        cluster.brokers()
    };
    assert_eq!(gone(&mut cluster, 2, BrokerEpoch(epoch.value() - 1)), "1 2 3 ", "a process before it");
    assert_eq!(gone(&mut cluster, 4, epoch), "1 2 3 ", "nobody");
    let own = cluster.controller.image().brokers[&NodeId(1)].epoch();
    assert_eq!(gone(&mut cluster, 1, own), "1 2 3 ", "the controller's own");
    assert_eq!(gone(&mut cluster, 2, epoch), "1 2F 3 ");
    assert_eq!(cluster.partitions("t"), "0: 3@1 isr 3\n");
    assert_eq!(gone(&mut cluster, 2, epoch), "1 2F 3 ");
    let (code, next) = cluster.register(2, 77);
    assert_eq!(code, 0, "though the session of the process before is not over");
    cluster.heartbeat(2, |_| {});
    assert_eq!(gone(&mut cluster, 2, BrokerEpoch(next)), "1 2F 3 ", "it may end as well");
}

/// The machine that led the quorum is dead: its partitions wait for one session, not for the election beside.
#[test]
fn the_session_of_who_led_the_quorum_began_when_it_was_heard_of_last() {
    for (heard_ago_ms, fenced_after_ms) in [(0, 9_000), (2_500, 6_500), (60_000, 4_500)] {
        let mut cluster = Cluster::with_brokers(&[], &[1, 2, 3]);
        let image = cluster.controller.image().clone();
        cluster = Cluster::from_image_at(&[], image, cluster.next_offset, MonoMs(100_000));
        cluster.controller.takes_over_from(NodeId(2), MonoMs(100_000 - heard_ago_ms));
        cluster.controller.takes_over_from(NodeId(9), MonoMs(0));
        cluster.advance(fenced_after_ms - 1_000);
        cluster.heartbeat(1, |_| {});
        cluster.advance(999);
        assert_eq!(cluster.brokers(), "1 2 3 ", "{heard_ago_ms} ms ago");
        cluster.advance(1);
        assert!(cluster.brokers().contains(" 2F "), "{heard_ago_ms} ms ago");
    }
}

#[test]
fn a_broker_that_was_taken_for_gone_and_lives_is_believed() {
    let mut cluster = Cluster::with_brokers(&[], &[1, 2]);
    let epoch = cluster.controller.image().brokers[&NodeId(2)].epoch();
    for (after_word, after_heartbeat) in [("1 2F ", "1 2 "), ("1 2 ", "1 2 ")] {
        let outcome = cluster.controller.broker_is_gone(NodeId(2), epoch);
        cluster.commit(outcome);
        assert_eq!(cluster.brokers(), after_word);
        cluster.heartbeat(2, |_| {});
        assert_eq!(cluster.brokers(), after_heartbeat);
    }
    cluster.advance(10_000);
    assert_eq!(cluster.brokers(), "1F 2F ", "its session decides");
}

#[test]
fn a_leaving_broker_stops_when_the_others_know_its_partitions_new_leaders() {
    let mut cluster = Cluster::with_brokers(&[], &[1, 2]);
    cluster.create(&[assigned("t", &[(0, &[1, 2])])]);
    assert_eq!(cluster.heartbeat(1, |request| request.want_shut_down = true), (false, false));
    assert_eq!(cluster.brokers(), "1L 2 ");
    assert_eq!(cluster.partitions("t"), "0: 2@1 isr 2\n");
    cluster.heartbeat(2, |request| request.current_metadata_offset -= 1);
    assert_eq!(cluster.heartbeat(1, |request| request.want_shut_down = true), (false, false));
    cluster.heartbeat(2, |_| {});
    assert_eq!(cluster.heartbeat(1, |request| request.want_shut_down = true), (true, true));
    assert_eq!(cluster.brokers(), "1FL 2 ");
    assert_eq!(cluster.heartbeat(1, |_| {}), (true, false));
    assert_eq!(cluster.register(1, 8).0, 0);
    cluster.heartbeat(1, |_| {});
    assert_eq!((cluster.brokers().as_str(), cluster.partitions("t").as_str()), ("1 2 ", "0: 2@1 isr 2\n"));
}

#[test]
fn the_only_broker_leaves_at_its_second_heartbeat() {
    let mut cluster = Cluster::with_brokers(&[], &[1]);
    cluster.create(&[topic("t", 1, 1)]);
    let leave = |cluster: &mut Cluster| cluster.heartbeat(1, |request| request.want_shut_down = true);
    assert_eq!(leave(&mut cluster), (false, false));
    assert_eq!(cluster.partitions("t"), "0: -1@1 isr 1\n");
    assert_eq!(leave(&mut cluster), (true, true));
    cluster.register(1, 8);
    cluster.heartbeat(1, |_| {});
    assert_eq!(cluster.partitions("t"), "0: 1@2 isr 1\n");
}

#[test]
fn a_broker_without_leaderships_leaves_at_once() {
    let mut cluster = Cluster::with_brokers(&[], &[1, 2]);
    assert_eq!(cluster.heartbeat(1, |request| request.want_shut_down = true), (true, true));
}

#[test]
fn a_silent_broker_hands_its_partitions_on_and_follows_when_it_is_back() {
    let mut cluster = Cluster::with_brokers(&[], &[1, 2]);
    cluster.create(&[assigned("t", &[(0, &[1, 2]), (1, &[2, 1])])]);
    cluster.advance(5_000);
    cluster.heartbeat(2, |_| {});
    cluster.advance(5_000);
    assert_eq!(cluster.brokers(), "1F 2 ");
    assert_eq!(cluster.partitions("t"), "0: 2@1 isr 2\n1: 2@0 isr 2\n");
    cluster.heartbeat(1, |_| {});
    assert_eq!(cluster.partitions("t"), "0: 2@1 isr 2\n1: 2@0 isr 2\n");
}

#[test]
fn unregistering_takes_a_broker_out_of_its_partitions() {
    let mut cluster = Cluster::with_brokers(&[], &[1, 2]);
    cluster.create(&[assigned("t", &[(0, &[1, 2])])]);
    let request = UnregisterBrokerRequest { broker_id: 1, ..UnregisterBrokerRequest::default() };
    let outcome = cluster.controller.unregister_broker(&request);
    cluster.commit(outcome);
    assert_eq!((cluster.brokers().as_str(), cluster.partitions("t").as_str()), ("2 ", "0: 2@1 isr 2\n"));
    assert_eq!(cluster.controller.unregister_broker(&request).response.error_code, 102);
}

#[test]
fn replicas_in_a_failed_directory_are_led_elsewhere() {
    let mut cluster = Cluster::with_brokers(&[], &[1, 2]);
    cluster.create(&[assigned("t", &[(0, &[1, 2])])]);
    cluster.heartbeat(1, |request| request.offline_log_dirs = vec![directory(1)]);
    assert_eq!(cluster.partitions("t"), "0: 2@1 isr 2\n");
    cluster.heartbeat(2, |request| request.cordoned_log_dirs = Some(vec![directory(2)]));
    let broker = cluster.controller.image().brokers.get(&NodeId(2)).expect("it is registered").clone();
    assert!(!broker.has_uncordoned_directory());
    let (refused, _) = (cluster.create(&[topic("u", 1, 2)]), ());
    assert!(refused[0].1.starts_with("38 "), "{refused:?}");
}

#[test]
fn a_log_that_stands_still_is_moved_on() {
    let mut cluster = Cluster::new(&[("metadata.max.idle.interval.ms", "500")]);
    let before = cluster.next_offset;
    assert_eq!(cluster.controller.next_deadline(), MonoMs(1500));
    cluster.advance(499);
    assert_eq!(cluster.next_offset, before);
    cluster.advance(1);
    assert_eq!(cluster.next_offset, before.next());
    let mut cluster = Cluster::new(&[("metadata.max.idle.interval.ms", "0")]);
    cluster.advance(5_000);
    assert_eq!(cluster.next_offset, before);
}
