//! A quorum whose voters come and go (KIP-853), and replicas that are given snapshots (KIP-630), as processes.

use ottla_types::Uuid;
use ottla_wire::ErrorCode;
use ottla_wire::messages::{
    AddRaftVoterRequest, CreateTopicsRequest, DeleteTopicsRequest, RemoveRaftVoterRequest,
    UpdateFeaturesRequest, add_raft_voter_request, create_topics_request, delete_topics_request,
    update_features_request,
};

use super::cluster::{Cluster, ask, metadata, quorum};

/// Voters by their ids, with their directories, as a node tells them; none unless it knows the leader.
fn voters(address: &str) -> Option<Vec<(i32, Uuid)>> {
    let described = quorum(address);
    let partition = described.topics.first()?.partitions.first()?;
    let voters = partition.current_voters.iter();
    let mut voters: Vec<_> = voters.map(|voter| (voter.replica_id, voter.replica_directory_id)).collect();
    voters.sort_unstable();
    (partition.error_code == 0).then_some(voters)
}

/// Waits until a broker tells these voters.
fn wait_for_voters(cluster: &Cluster, broker: i32, expected: &[i32]) {
    let expected: Vec<_> = expected.iter().map(|id| (*id, cluster.directory_id(*id))).collect();
    cluster.until(|| (voters(cluster.ottla(broker).bootstrap())? == expected).then_some(()));
}

/// Through a broker, as often as it is too early.
pub(super) fn add(cluster: &Cluster, through: i32, id: i32) {
    let request = AddRaftVoterRequest {
        cluster_id: None,
        timeout_ms: 10_000,
        voter_id: id,
        voter_directory_id: cluster.directory_id(id),
        listeners: vec![add_raft_voter_request::Listener {
            name: "CONTROLLER".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: cluster.controller_port(id),
            ..Default::default()
        }],
        ack_when_committed: true,
        ..Default::default()
    };
    cluster.until(|| {
        let response = ask(cluster.address(through), &request, 1)?;
        let code = ErrorCode::from_code(response.error_code).unwrap();
        // An answer may have been lost with the leader that gave it.
        let is_done = matches!(code, ErrorCode::None | ErrorCode::DuplicateVoter);
        let is_early = matches!(code, ErrorCode::RequestTimedOut | ErrorCode::NotLeaderOrFollower);
        assert!(is_done || is_early, "{code:?} {:?}", response.error_message);
        is_done.then_some(())
    });
}

pub(super) fn remove(cluster: &Cluster, through: i32, id: i32) {
    let request = RemoveRaftVoterRequest {
        cluster_id: None,
        voter_id: id,
        voter_directory_id: cluster.directory_id(id),
        ..Default::default()
    };
    cluster.until(|| {
        let response = ask(cluster.address(through), &request, 0)?;
        let code = ErrorCode::from_code(response.error_code).unwrap();
        let is_done = matches!(code, ErrorCode::None | ErrorCode::VoterNotFound);
        let is_early = matches!(code, ErrorCode::RequestTimedOut | ErrorCode::NotLeaderOrFollower);
        assert!(is_done || is_early, "{code:?} {:?}", response.error_message);
        is_done.then_some(())
    });
}

#[test]
fn a_quorum_of_one_grows_to_three_and_goes_on_without_the_first() {
    let mut cluster = Cluster::dynamic(&["broker,controller"; 3], &[]);
    wait_for_voters(&cluster, 1, &[1]);
    cluster.begin(&[2, 3]);
    wait_for_voters(&cluster, 2, &[1]);
    add(&cluster, 3, 2);
    add(&cluster, 1, 3);
    for broker in [1, 2, 3] {
        wait_for_voters(&cluster, broker, &[1, 2, 3]);
    }
    cluster.create(2, "of-three");
    cluster.use_topic("of-three");

    // It leads, so it is to make room for another.
    let leader = cluster.leader(1);
    let others: Vec<i32> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
    remove(&cluster, others[0], leader);
    for broker in [1, 2, 3] {
        wait_for_voters(&cluster, broker, &others);
    }
    assert_ne!(cluster.leader(leader), leader);
    cluster.create(leader, "of-two");
    cluster.use_topic("of-two");

    cluster.kill(leader);
    cluster.create(others[1], "without-it");
    cluster.use_topic("without-it");
}

/// As a supervisor starts it, before its session is over, which would last for longer than anybody waits here.
#[test]
fn the_node_of_the_active_controller_and_then_all_nodes_are_back_at_once() {
    let session = |_| vec![("broker.session.timeout.ms", "600000".to_owned())];
    let mut cluster = Cluster::start_each(&["broker,controller"; 3], 1, session);
    cluster.create(1, "of-three");
    cluster.use_topic("of-three");
    let active = cluster.leader(1);
    cluster.kill(active);
    cluster.begin(&[active]);
    cluster.use_topic("of-three");
    // Nobody is left who knows of their former processes more than that they are registered.
    let all = [1, 2, 3];
    all.iter().for_each(|id| cluster.kill(*id));
    cluster.begin(&all);
    cluster.use_topic("of-three");
}

#[test]
fn controllers_join_by_themselves() {
    let mut cluster =
        Cluster::dynamic(&["broker,controller"; 3], &[("controller.quorum.auto.join.enable", "true")]);
    cluster.begin(&[2, 3]);
    wait_for_voters(&cluster, 1, &[1, 2, 3]);
    // The leader tells of voters before a majority has them; what comes behind them is committed when they are.
    cluster.create(2, "of-three");
    let leader = cluster.leader(1);
    cluster.kill(leader);
    let left = cluster.brokers();
    cluster.create(left[0], "without-one");
    cluster.use_topic("without-one");
}

/// A quorum that was formatted with the setting, as all were before Apache Kafka 3.9.
#[test]
fn voters_of_the_settings_become_voters_that_can_change() {
    let cluster = Cluster::start(&["broker,controller"; 3]);
    let update = update_features_request::FeatureUpdate {
        feature: "kraft.version".to_owned(),
        max_version_level: 1,
        upgrade_type: 1,
        ..Default::default()
    };
    let request =
        UpdateFeaturesRequest { timeout_ms: 60_000, feature_updates: vec![update], ..Default::default() };
    // Each voter must have told the leader of itself first.
    cluster.until(|| {
        let response = ask(cluster.ottla(2).bootstrap(), &request, 1)?;
        (response.error_code == 0).then_some(())
    });
    for broker in [1, 2, 3] {
        wait_for_voters(&cluster, broker, &[1, 2, 3]);
    }
    let leader = cluster.leader(1);
    let others: Vec<i32> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
    remove(&cluster, 1, others[0]);
    wait_for_voters(&cluster, 1, &[leader.min(others[1]), leader.max(others[1])]);
    cluster.create(others[0], "of-two");
    cluster.use_topic("of-two");
}

fn create_topics(cluster: &Cluster, names: &[String]) {
    let topic = |name: &String| create_topics_request::Topic {
        name: name.clone(),
        num_partitions: 1,
        replication_factor: 1,
        // What is in a snapshot many times over.
        configs: vec![create_topics_request::Config {
            name: "retention.ms".to_owned(),
            value: Some("1000000000".to_owned()),
            ..Default::default()
        }],
        assignments: vec![],
        ..Default::default()
    };
    let topics = names.iter().map(topic).collect();
    let request = CreateTopicsRequest { topics, timeout_ms: 60_000, ..Default::default() };
    let response = ask(cluster.ottla(1).bootstrap(), &request, 7).expect("it answers");
    assert!(response.topics.iter().all(|topic| topic.error_code == 0), "{:?}", response.topics[0]);
}

fn delete_topic(cluster: &Cluster, name: &str) {
    let topic = delete_topics_request::Topic { name: Some(name.to_owned()), ..Default::default() };
    let request = DeleteTopicsRequest { topics: vec![topic], timeout_ms: 60_000, ..Default::default() };
    let response = ask(cluster.ottla(1).bootstrap(), &request, 6).expect("it answers");
    assert_eq!(response.responses[0].error_code, 0);
}

/// End offsets of the snapshots in a node's directory, ascending; without the one that formatting wrote.
fn snapshots(cluster: &Cluster, id: i32) -> Vec<i64> {
    let files = std::fs::read_dir(cluster.metadata_dir(id)).into_iter().flatten();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let snapshots = names.filter(|name| name.ends_with(".checkpoint"));
    let mut ends: Vec<i64> =
        snapshots.map(|name| name[..20].parse().unwrap()).filter(|end| *end > 0).collect();
    ends.sort_unstable();
    ends
}

/// Where the log in a node's directory begins.
fn log_start(cluster: &Cluster, id: i32) -> i64 {
    let files = std::fs::read_dir(cluster.metadata_dir(id)).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".log")).map(|name| name[..20].parse().unwrap()).min().unwrap()
}

/// A broker has heard of a topic, or that it is gone.
fn wait_for_topic(cluster: &Cluster, broker: i32, name: &str, expected: ErrorCode) {
    cluster.until(|| {
        let found = metadata(cluster.ottla(broker).bootstrap(), name)?;
        (found.topics[0].error_code == expected.code()).then_some(())
    });
}

/// What every replica is told of the log, by those who have it, in pieces that are smaller than a snapshot.
#[test]
fn who_starts_empty_or_has_fallen_behind_is_given_a_snapshot() {
    let settings = [
        ("metadata.log.max.record.bytes.between.snapshots", "4000"),
        ("metadata.max.retention.bytes", "100"),
        ("controller.quorum.fetch.snapshot.max.bytes", "700"),
        ("auto.create.topics.enable", "false"),
    ];
    let mut cluster = Cluster::dynamic(&["broker,controller", "broker", "controller"], &settings);
    let names = |round: i32| -> Vec<String> { (0..40).map(|i| format!("topic-{round}-{i}")).collect() };
    create_topics(&cluster, &names(0));
    cluster.until(|| snapshots(&cluster, 1).first().map(drop));

    cluster.begin(&[2, 3]);
    for name in names(0) {
        wait_for_topic(&cluster, 2, &name, ErrorCode::None);
    }
    add(&cluster, 2, 3);
    wait_for_voters(&cluster, 2, &[1, 3]);
    remove(&cluster, 2, 3);
    for id in [2, 3] {
        let start = log_start(&cluster, id);
        assert!(
            start > 0 && snapshots(&cluster, id).contains(&start),
            "node {id} begins with a snapshot, at {start}"
        );
    }

    let before = [2, 3].map(|id| log_start(&cluster, id));
    cluster.kill(2);
    cluster.kill(3);
    let first_kept = snapshots(&cluster, 1)[0];
    delete_topic(&cluster, "topic-0-7");
    for round in 1..4 {
        create_topics(&cluster, &names(round));
    }
    // The log behind which they have stayed is gone.
    let end = quorum(cluster.ottla(1).bootstrap()).topics[0].partitions[0].high_watermark;
    assert!(end > first_kept + 300);
    cluster.until(|| (*snapshots(&cluster, 1).first()? > first_kept + 200).then_some(()));
    cluster.begin(&[2, 3]);
    wait_for_topic(&cluster, 2, "topic-0-7", ErrorCode::UnknownTopicOrPartition);
    for name in names(3) {
        wait_for_topic(&cluster, 2, &name, ErrorCode::None);
    }
    for (id, before) in [2, 3].into_iter().zip(before) {
        cluster.until(|| (log_start(&cluster, id) > before).then_some(()));
    }
    create_topics(&cluster, &["after".to_owned()]);
    wait_for_topic(&cluster, 2, "after", ErrorCode::None);
}
