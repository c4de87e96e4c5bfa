//! Settings of consumer groups: changing one changes what their coordinator does.

use bytes::Bytes;
use ottla_wire::ErrorCode;
use ottla_wire::messages::join_group_request::Protocol;
use ottla_wire::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    JoinGroupRequest, ListGroupsRequest,
};

use crate::configs::{BROKER, GROUP, alter_well};
use crate::data_plane::find_coordinator;
use crate::harness::SteppedNode;
use crate::node_settings::{Case, Settings, check};
use crate::topics::create;

fn with_coordinator(settings: Settings<'_>) -> SteppedNode {
    let mut node = SteppedNode::start(settings);
    find_coordinator(&mut node);
    create(&mut node, "t", 2, &[]);
    node
}

fn name_of(code: i16) -> String {
    ErrorCode::from_code(code).map_or_else(|| code.to_string(), |code| code.name().to_owned())
}

fn joining(member_id: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: "g".to_owned(),
        member_id: member_id.to_owned(),
        rebalance_timeout_ms: 60_000,
        instance_id: None,
        rack_id: None,
        server_assignor: None,
        subscribed_topic_names: Some(vec!["t".to_owned()]),
        subscribed_topic_regex: None,
        topic_partitions: Some(Vec::new()),
        ..ConsumerGroupHeartbeatRequest::default()
    }
}

fn join(node: &mut SteppedNode, member_id: &str) -> ConsumerGroupHeartbeatResponse {
    node.ask(&joining(member_id), 1)
}

fn first_join(settings: Settings<'_>) -> ConsumerGroupHeartbeatResponse {
    let mut node = with_coordinator(settings);
    join(&mut node, "a")
}

fn heartbeat_interval(settings: Settings<'_>) -> String {
    format!("every {} ms", interval_at_rest(&mut with_coordinator(settings), joining("a")))
}

/// How often a member is to heartbeat when its group has settled, in milliseconds.
fn interval_at_rest(node: &mut SteppedNode, mut request: ConsumerGroupHeartbeatRequest) -> i32 {
    request.member_epoch = node.ask(&request, 1).member_epoch;
    (0..3).for_each(|_| node.pass_ms(5000));
    node.ask(&request, 1).heartbeat_interval_ms
}

/// What the second of two members is told that come together.
fn second_join(settings: Settings<'_>) -> String {
    let mut node = with_coordinator(settings);
    assert_eq!(join(&mut node, "a").member_epoch, 2);
    let second = join(&mut node, "b");
    match second.error_code {
        0 => format!("epoch {}", second.member_epoch),
        code => name_of(code),
    }
}

fn state(node: &mut SteppedNode) -> String {
    let listed = node.ask(&ListGroupsRequest::default(), 5);
    listed.groups.first().map(|group| group.group_state.clone()).unwrap_or_default()
}

/// The state of the group when its one member has been silent for 50 s.
fn after_silence(node: &mut SteppedNode) -> String {
    assert_eq!(join(node, "a").error_code, 0);
    (0..10).for_each(|_| node.pass_ms(5000));
    state(node)
}

fn silence(settings: Settings<'_>) -> String {
    after_silence(&mut with_coordinator(settings))
}

fn assignor(settings: Settings<'_>) -> String {
    let mut node = with_coordinator(settings);
    join(&mut node, "a");
    let request = ConsumerGroupDescribeRequest {
        group_ids: vec!["g".to_owned()],
        ..ConsumerGroupDescribeRequest::default()
    };
    node.ask(&request, 1).groups.remove(0).assignor_name
}

/// What somebody is told who joins a group of classic members by the consumer protocol.
fn upgrade(settings: Settings<'_>) -> String {
    let mut node = with_coordinator(settings);
    let metadata = Bytes::from_static(b"\0\x01\0\0\0\x01\0\x01t\xff\xff\xff\xff\0\0\0\0");
    let protocol = Protocol { name: "range".to_owned(), metadata, ..Protocol::default() };
    let request = JoinGroupRequest {
        group_id: "g".to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![protocol],
        ..JoinGroupRequest::default()
    };
    node.send(&request, 3);
    node.pass_ms(100);
    name_of(join(&mut node, "a").error_code)
}

fn consumer_protocol(settings: Settings<'_>) -> String {
    name_of(first_join(settings).error_code)
}

/// Whether patterns are matched again after a while, though no topic is new: then that is written.
fn regex_refresh(settings: Settings<'_>) -> String {
    let mut node = with_coordinator(settings);
    let mut request = ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: Some(Vec::new()),
        subscribed_topic_regex: Some("t.*".to_owned()),
        ..joining("a")
    };
    request.member_epoch = node.ask(&request, 1).member_epoch;
    let written = |node: &SteppedNode| -> i64 {
        node.node.logs().logs().iter().map(|log| log.log_end_offset().value()).sum()
    };
    let before = written(&node);
    (0..3).for_each(|_| node.pass_ms(5000));
    node.ask(&request, 1);
    (if written(&node) > before { "matched again" } else { "left as it is" }).to_owned()
}

const CASES: &[Case] = &[
    Case {
        key: "group.consumer.heartbeat.interval.ms",
        value: "7000",
        node: &[],
        observe: heartbeat_interval,
        expected: ("every 5000 ms", "every 7000 ms"),
    },
    Case {
        key: "group.consumer.session.timeout.ms",
        value: "60000",
        node: &[],
        observe: silence,
        expected: ("Empty", "Stable"),
    },
    Case {
        key: "group.consumer.assignment.interval.ms",
        value: "0",
        node: &[],
        observe: second_join,
        expected: ("epoch 2", "epoch 3"),
    },
    Case {
        key: "group.consumer.max.size",
        value: "1",
        node: &[],
        observe: second_join,
        expected: ("epoch 2", "GROUP_MAX_SIZE_REACHED"),
    },
    Case {
        key: "group.consumer.assignors",
        value: "range,uniform",
        node: &[],
        observe: assignor,
        expected: ("uniform", "range"),
    },
    Case {
        key: "group.consumer.migration.policy",
        value: "downgrade",
        node: &[("group.initial.rebalance.delay.ms", "0")],
        observe: upgrade,
        expected: ("NONE", "GROUP_ID_NOT_FOUND"),
    },
    Case {
        key: "group.coordinator.rebalance.protocols",
        value: "classic",
        node: &[],
        observe: consumer_protocol,
        expected: ("NONE", "UNSUPPORTED_VERSION"),
    },
    Case {
        key: "group.consumer.regex.refresh.interval.ms",
        value: "10000",
        node: &[],
        observe: regex_refresh,
        expected: ("left as it is", "matched again"),
    },
];

#[test]
fn each_setting_of_consumer_groups_changes_what_the_coordinator_does() {
    check(CASES);
}

#[test]
fn a_group_may_have_settings_of_its_own() {
    let mut node = with_coordinator(&[]);
    let own = [
        ("consumer.assignment.interval.ms", Some("0")),
        ("consumer.heartbeat.interval.ms", Some("8000")),
        ("consumer.session.timeout.ms", Some("60000")),
    ];
    alter_well(&mut node, GROUP, "g", &own);
    assert_eq!(interval_at_rest(&mut node, joining("a")), 8000);
    assert_eq!(join(&mut node, "b").member_epoch, 3);
    assert_eq!(after_silence(&mut node), "Reconciling", "both are still there");
    // Another group has nothing to do with it.
    let other = ConsumerGroupHeartbeatRequest { group_id: "other".to_owned(), ..joining("a") };
    assert_eq!(interval_at_rest(&mut node, other), 5000);
    alter_well(&mut node, GROUP, "g", &own.map(|(key, _)| (key, None)));
    assert_eq!(interval_at_rest(&mut node, joining("a")), 5000);
}

#[test]
fn the_interval_of_assignments_may_change_while_the_node_runs() {
    let mut node = with_coordinator(&[]);
    alter_well(&mut node, BROKER, "", &[("group.consumer.assignment.interval.ms", Some("0"))]);
    join(&mut node, "a");
    assert_eq!(join(&mut node, "b").member_epoch, 3);
}
