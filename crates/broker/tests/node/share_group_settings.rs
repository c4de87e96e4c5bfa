//! Settings of share groups: changing one changes what members get, or where it is kept.

use ottla_log::disk::sim::Call;
use ottla_types::TopicPartition;
use ottla_wire::messages::{
    DescribeConfigsRequest, FindCoordinatorRequest, ListGroupsRequest, describe_configs_request,
};

use crate::configs::{BROKER, alter};
use crate::harness::SteppedNode;
use crate::node_settings::{Case, Settings, check};
use crate::share_groups::{ACCEPT, RELEASE, RENEW, Shared, name_of};
use crate::topics::metadata;
use crate::transactions::World;

const STATES: &str = "__share_group_state";

fn heartbeat_interval(settings: Settings<'_>) -> String {
    format!("every {} ms", interval_at_rest(&mut Shared::start(settings)))
}

/// How often a member is to heartbeat when its group has settled, in milliseconds.
fn interval_at_rest(shared: &mut Shared) -> i32 {
    shared.join("a");
    (0..3).for_each(|_| shared.node.pass_ms(5000));
    let epoch = shared.beat("a", 0).member_epoch;
    shared.beat("a", epoch).heartbeat_interval_ms
}

fn state(node: &mut SteppedNode) -> String {
    let listed = node.ask(&ListGroupsRequest::default(), 5);
    listed.groups.first().map(|group| group.group_state.clone()).unwrap_or_default()
}

/// The state of the group when its one member has been silent for 50 s.
fn after_silence(shared: &mut Shared) -> String {
    assert_eq!(shared.beat("a", 0).error_code, 0);
    (0..10).for_each(|_| shared.node.pass_ms(5000));
    state(&mut shared.node)
}

/// What the second of two members is told that come together.
fn second_join(shared: &mut Shared) -> String {
    shared.join("a");
    shared.beat("b", 0);
    let third = shared.beat("c", 0);
    match third.error_code {
        0 => format!("epoch {}", third.member_epoch),
        code => name_of(code),
    }
}

/// How often a record is delivered that is released each time.
fn deliveries(shared: &mut Shared) -> String {
    shared.join("a");
    shared.put(1);
    let mut count = 0;
    let mut acquired = shared.fetch("a");
    while !acquired.is_empty() {
        count += 1;
        acquired = shared.fetch_after("a", 0, 0, RELEASE);
    }
    format!("{count} times")
}

/// How long a record is left to a member.
fn lock(shared: &mut Shared) -> String {
    shared.join("a");
    shared.put(1);
    let request = shared.request("a");
    let told_ms = shared.respond(&request).acquisition_lock_timeout_ms;
    for waited_s in 0..100 {
        if !shared.fetch("b").is_empty() {
            return format!("told {told_ms} ms, back after {waited_s} s");
        }
        shared.node.pass_ms(900);
    }
    "never back".to_owned()
}

/// How many records of a partition may be held at once.
fn held(shared: &mut Shared) -> String {
    shared.join("a");
    shared.put(150);
    let mut count = 0;
    for _ in 0..5 {
        count += shared.fetch("a").iter().map(|(first, last, _)| last - first + 1).sum::<i64>();
    }
    format!("{count} records")
}

/// How many places fetches have that are over.
fn fetches_left(settings: Settings<'_>) -> String {
    let mut shared = Shared::start(settings);
    shared.join("a");
    (0..5).for_each(|_| assert!(shared.fetch("a").is_empty()));
    shared.node.pass_ms(100);
    format!("{} left", shared.node.node.purgatory_sizes().share_fetch)
}

/// What a second member is told that opens a session.
fn second_session(settings: Settings<'_>) -> String {
    let mut shared = Shared::start(settings);
    shared.join("a");
    shared.join("b");
    shared.fetch("a");
    let request = shared.request("b");
    name_of(shared.respond(&request).error_code)
}

/// Whether a member is given more time.
fn renewal(shared: &mut Shared) -> String {
    shared.join("a");
    shared.put(1);
    shared.fetch("a");
    shared.acknowledge("a", 0, 0, RENEW)
}

/// What a group gets that comes after the first records.
fn beginning(shared: &mut Shared) -> String {
    shared.put(3);
    shared.join("a");
    let count: i64 = shared.fetch("a").iter().map(|(first, last, _)| last - first + 1).sum();
    format!("{count} records")
}

fn with(settings: Settings<'_>, observe: fn(&mut Shared) -> String) -> String {
    observe(&mut Shared::start(settings))
}

/// The same for a group with a setting of its own, and one without.
fn own_setting(key: &str, value: &str, observe: fn(&mut Shared) -> String) -> (String, String) {
    let before = observe(&mut Shared::start(&[]));
    let mut shared = Shared::start(&[]);
    shared.set(key, value);
    (before, observe(&mut shared))
}

/// The topic of states: its partitions, and what it is set to.
fn state_topic(settings: Settings<'_>) -> SteppedNode {
    let mut shared = Shared::start(settings);
    let request = FindCoordinatorRequest {
        key_type: 2,
        coordinator_keys: vec![format!("g:{}:0", shared.topic)],
        ..FindCoordinatorRequest::default()
    };
    shared.node.ask(&request, 6);
    shared.node.pass_ms(100);
    shared.node
}

fn partitions_of_states(settings: Settings<'_>) -> String {
    let mut node = state_topic(settings);
    let topic = metadata(&mut node, &[STATES], false).topics.remove(0);
    format!("{} with {} partitions", name_of(topic.error_code), topic.partitions.len())
}

fn segments_of_states(settings: Settings<'_>) -> String {
    let node = state_topic(settings);
    let log = node.node.logs().log(&TopicPartition::new(STATES, 0)).expect("it is there");
    format!("{} bytes", log.config().segment_bytes)
}

fn replicas_of_states(settings: Settings<'_>) -> String {
    let mut node = state_topic(settings);
    let resource = describe_configs_request::Resource {
        resource_type: 2,
        resource_name: STATES.to_owned(),
        configuration_keys: Some(vec!["min.insync.replicas".to_owned()]),
        ..describe_configs_request::Resource::default()
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..DescribeConfigsRequest::default() };
    let described = node.ask(&request, 4).results.remove(0).configs.remove(0);
    format!("{} in sync", described.value.unwrap_or_default())
}

/// The log of states that is written to: where it begins and ends, and how its last batch is compressed.
fn log_of_states(node: &SteppedNode) -> (i64, i64, u8) {
    let logs = node.node.logs().logs();
    let written = |log: &&std::sync::Arc<ottla_log::UnifiedLog>| {
        *log.partition().topic == *STATES && log.log_end_offset().value() > 0
    };
    let log = logs.iter().find(written).expect("states are written");
    let mut header = [0; 23];
    let segments = log.segments();
    segments.iter().next().unwrap().file().unwrap().read_at(&mut header, 0).unwrap();
    (log.log_start_offset().value(), log.log_end_offset().value(), header[22] & 7)
}

fn acknowledged(settings: Settings<'_>) -> Shared {
    let mut shared = Shared::start(settings);
    shared.join("a");
    shared.put(5);
    shared.fetch("a");
    for offset in [4, 3, 2, 1] {
        assert_eq!(shared.acknowledge("a", offset, offset, ACCEPT), "NONE");
    }
    shared
}

fn compression_of_states(settings: Settings<'_>) -> String {
    format!("codec {}", log_of_states(&acknowledged(settings).node).2)
}

/// What becomes of the log of states while nothing happens for 25 s.
fn upkeep_of_states(settings: Settings<'_>) -> String {
    let mut shared = acknowledged(settings);
    let before = log_of_states(&shared.node);
    (0..25).for_each(|_| shared.node.pass_ms(1000));
    let after = log_of_states(&shared.node);
    let says = |is_so, what| if is_so { what } else { "" };
    format!("{}{}", says(after.0 > before.0, "pruned"), says(after.1 > before.1, "snapshot"))
}

/// How long an acknowledgement takes.
fn acknowledgement(settings: Settings<'_>) -> String {
    let mut shared = Shared::start(settings);
    shared.join("a");
    shared.put(1);
    shared.fetch("a");
    let before = shared.node.now().mono;
    assert_eq!(shared.acknowledge("a", 0, 0, ACCEPT), "NONE");
    let took_ms = shared.node.now().mono.0 - before.0;
    (if took_ms < 100 { "at once" } else { "later" }).to_owned()
}

/// How often the disk is read when a node starts that has states.
fn reads_of_a_start(settings: Settings<'_>) -> u64 {
    let mut shared = acknowledged(settings);
    for _ in 0..20 {
        shared.put(1);
        shared.fetch("a");
        let end = shared.node.node.logs().log(&TopicPartition::new("t", 0)).unwrap().log_end_offset().value();
        assert_eq!(shared.acknowledge("a", end - 1, end - 1, ACCEPT), "NONE");
    }
    let (disk, now) = shared.node.stop();
    let before = disk.calls(Call::Read);
    let mut node = SteppedNode::start_on(disk, settings, now);
    (0..5).for_each(|_| node.pass_ms(1000));
    node.disk.calls(Call::Read) - before
}

/// Bytes that are written for a number of acknowledgements: nothing is done with before the last, and each snapshot holds all
/// that was said.
fn states_written(settings: Settings<'_>) -> String {
    let shared = acknowledged(settings);
    let logs = shared.node.node.logs().logs();
    let bytes: u64 = logs
        .iter()
        .filter(|log| *log.partition().topic == *STATES)
        .flat_map(|log| log.segments().iter().map(|segment| u64::from(segment.size())).collect::<Vec<_>>())
        .sum();
    format!("{bytes} bytes")
}

const CASES: &[Case] = &[
    Case {
        key: "group.share.heartbeat.interval.ms",
        value: "7000",
        node: &[],
        observe: heartbeat_interval,
        expected: ("every 5000 ms", "every 7000 ms"),
    },
    Case {
        key: "group.share.session.timeout.ms",
        value: "60000",
        node: &[],
        observe: |settings| with(settings, after_silence),
        expected: ("Empty", "Stable"),
    },
    Case {
        key: "group.share.assignment.interval.ms",
        value: "0",
        node: &[],
        observe: |settings| with(settings, second_join),
        expected: ("epoch 3", "epoch 5"),
    },
    Case {
        key: "group.share.max.size",
        value: "2",
        node: &[],
        observe: |settings| with(settings, second_join),
        expected: ("epoch 3", "GROUP_MAX_SIZE_REACHED"),
    },
    Case {
        key: "group.share.delivery.count.limit",
        value: "3",
        node: &[],
        observe: |settings| with(settings, deliveries),
        expected: ("5 times", "3 times"),
    },
    Case {
        key: "group.share.record.lock.duration.ms",
        value: "20000",
        node: &[],
        observe: |settings| with(settings, lock),
        expected: ("told 30000 ms, back after 30 s", "told 20000 ms, back after 20 s"),
    },
    Case {
        key: "group.share.partition.max.record.locks",
        value: "100",
        node: &[],
        observe: |settings| with(settings, held),
        expected: ("150 records", "100 records"),
    },
    Case {
        key: "group.share.max.share.sessions",
        value: "1",
        node: &[],
        observe: second_session,
        expected: ("NONE", "SHARE_SESSION_LIMIT_REACHED"),
    },
    Case {
        key: "share.fetch.purgatory.purge.interval.requests",
        value: "0",
        node: &[],
        observe: fetches_left,
        expected: ("5 left", "0 left"),
    },
    Case {
        key: "share.coordinator.state.topic.num.partitions",
        value: "5",
        node: &[],
        observe: partitions_of_states,
        expected: ("NONE with 3 partitions", "NONE with 5 partitions"),
    },
    Case {
        key: "share.coordinator.state.topic.replication.factor",
        value: "2",
        node: &[],
        observe: partitions_of_states,
        expected: ("NONE with 3 partitions", "UNKNOWN_TOPIC_OR_PARTITION with 0 partitions"),
    },
    Case {
        key: "share.coordinator.state.topic.segment.bytes",
        value: "2000000",
        node: &[],
        observe: segments_of_states,
        expected: ("104857600 bytes", "2000000 bytes"),
    },
    Case {
        key: "share.coordinator.state.topic.min.isr",
        value: "2",
        node: &[],
        observe: replicas_of_states,
        expected: ("1 in sync", "2 in sync"),
    },
    Case {
        key: "share.coordinator.state.topic.compression.codec",
        value: "1",
        node: &[],
        observe: compression_of_states,
        expected: ("codec 0", "codec 1"),
    },
    Case {
        key: "share.coordinator.state.topic.prune.interval.ms",
        value: "10000",
        node: &[("share.coordinator.snapshot.update.records.per.snapshot", "1")],
        observe: upkeep_of_states,
        expected: ("", "pruned"),
    },
    Case {
        key: "share.coordinator.cold.partition.snapshot.interval.ms",
        value: "10000",
        node: &[],
        observe: upkeep_of_states,
        expected: ("", "snapshot"),
    },
    Case {
        key: "share.coordinator.append.linger.ms",
        value: "500",
        node: &[],
        observe: acknowledgement,
        expected: ("at once", "later"),
    },
];

#[test]
fn each_setting_of_share_groups_changes_what_members_get() {
    check(CASES);
}

#[test]
fn snapshots_of_states_come_after_so_many_updates() {
    let key = "share.coordinator.snapshot.update.records.per.snapshot";
    assert_ne!(states_written(&[]), states_written(&[(key, "1")]));
}

#[test]
fn states_are_loaded_in_pieces_of_a_set_size() {
    let reads = reads_of_a_start(&[]);
    let with_less = reads_of_a_start(&[("share.coordinator.load.buffer.size", "100")]);
    assert!(with_less > reads, "{with_less} reads instead of {reads}");
}

/// A record of a transaction that has not ended.
fn open_transaction(level: &str) -> usize {
    let mut world = World::at_level(2, &[]);
    let who = world.init();
    world.write(who, 0, "v");
    let mut shared = Shared::of(world.node, world.topic);
    shared.set("share.auto.offset.reset", "earliest");
    shared.set("share.isolation.level", level);
    shared.join("a");
    shared.fetch("a").len()
}

#[test]
fn a_share_group_may_wait_for_the_end_of_transactions() {
    assert_eq!((open_transaction("read_uncommitted"), open_transaction("read_committed")), (1, 0));
}

#[test]
fn a_share_group_may_have_settings_of_its_own() {
    type Own = (&'static str, &'static str, fn(&mut Shared) -> String, (&'static str, &'static str));
    let cases: &[Own] = &[
        ("share.assignment.interval.ms", "0", second_join, ("epoch 3", "epoch 5")),
        (
            "share.heartbeat.interval.ms",
            "8000",
            |shared| interval_at_rest(shared).to_string(),
            ("5000", "8000"),
        ),
        ("share.session.timeout.ms", "60000", after_silence, ("Empty", "Stable")),
        ("share.delivery.count.limit", "2", deliveries, ("5 times", "2 times")),
        (
            "share.record.lock.duration.ms",
            "45000",
            lock,
            ("told 30000 ms, back after 30 s", "told 45000 ms, back after 45 s"),
        ),
        ("share.partition.max.record.locks", "100", held, ("150 records", "100 records")),
        ("share.renew.acknowledge.enable", "false", renewal, ("NONE", "INVALID_RECORD_STATE")),
        ("share.auto.offset.reset", "latest", beginning, ("3 records", "0 records")),
    ];
    for (key, value, observe, expected) in cases {
        let observed = own_setting(key, value, *observe);
        assert_eq!((observed.0.as_str(), observed.1.as_str()), *expected, "{key}");
    }
}

#[test]
fn the_interval_of_assignments_of_share_groups_may_change_while_the_node_runs() {
    let mut shared = Shared::start(&[]);
    let interval = [("group.share.assignment.interval.ms", Some("0"))];
    assert_eq!(alter(&mut shared.node, BROKER, "", &interval).0.name(), "NONE");
    assert_eq!(second_join(&mut shared), "epoch 5");
}
