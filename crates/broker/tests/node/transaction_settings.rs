//! Settings of transactions: changing one changes what the coordinator, or a partition's leader, does.

use ottla_log::disk::sim::Call;
use ottla_wire::ErrorCode;
use ottla_wire::messages::describe_configs_request as configs;
use ottla_wire::messages::{DescribeConfigsRequest, FindCoordinatorRequest};

use crate::harness::SteppedNode;
use crate::node_settings::{Case, Settings, check};
use crate::topics::metadata;
use crate::transactions::{ADDING, ID, World};

const TOPIC: &str = "__transaction_state";

fn initialization(settings: Settings<'_>) -> String {
    match World::at_level(2, settings).try_init() {
        Ok(_) => "NONE".to_owned(),
        Err(code) => code.name().to_owned(),
    }
}

/// An open transaction with a timeout of a minute, two seconds after that.
fn late_transaction(settings: Settings<'_>) -> String {
    let mut world = World::at_level(2, settings);
    let who = world.init();
    world.write(who, 0, "a");
    world.pass_s(62);
    world.status()
}

/// An id ten seconds after its last use.
fn unused_id(settings: Settings<'_>) -> String {
    let mut world = World::at_level(2, settings);
    world.init();
    world.pass_s(10);
    world.status()
}

/// What becomes of a partition that the client has not added, in a version whose clients must.
fn not_added(settings: Settings<'_>) -> String {
    let mut world = World::at_level(2, settings);
    let who = world.init();
    world.produce(11, Some(who), 0, "a").name().to_owned()
}

/// How the coordinator's log is read when the node starts again.
fn reads_of_a_start(settings: Settings<'_>) -> String {
    let mut world = World::at_level(2, settings);
    let mut who = world.init();
    for _ in 0..30 {
        world.write(who, 0, "a");
        who = world.end(5, who, true).unwrap();
    }
    assert_eq!(world.produce(ADDING, None, 0, "b"), ErrorCode::None);
    let (disk, now) = world.node.stop();
    let before = disk.calls(Call::Read);
    world.node = SteppedNode::start_on(disk, settings, now);
    world.find_coordinator(ID, 1);
    let reads = world.node.disk.calls(Call::Read) - before;
    assert_eq!(world.status(), "CompleteCommit");
    (if reads > 50 { "bit by bit" } else { "at once" }).to_owned()
}

/// The topic of transactions, once a coordinator was asked for.
fn topic(settings: Settings<'_>) -> String {
    let mut node = SteppedNode::start(settings);
    let request = FindCoordinatorRequest {
        key_type: 1,
        coordinator_keys: vec![ID.to_owned()],
        ..FindCoordinatorRequest::default()
    };
    node.ask(&request, 6);
    node.pass_ms(100);
    let topic = metadata(&mut node, &[TOPIC], false).topics.remove(0);
    if topic.error_code != 0 {
        return "none".to_owned();
    }
    let names = ["cleanup.policy", "compression.type", "min.insync.replicas", "segment.bytes"];
    let resource = configs::Resource {
        resource_type: 2,
        resource_name: TOPIC.to_owned(),
        configuration_keys: Some(names.map(str::to_owned).into()),
        ..configs::Resource::default()
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..DescribeConfigsRequest::default() };
    let mut described = node.ask(&request, 4).results.remove(0).configs;
    described.sort_by(|a, b| a.name.cmp(&b.name));
    let values: Vec<_> = described.into_iter().map(|config| config.value.unwrap_or_default()).collect();
    format!("{} partitions, {}", topic.partitions.len(), values.join(", "))
}

const AS_IT_IS: &str = "3 partitions, compact, uncompressed, 1, 104857600";

const CASES: &[Case] = &[
    Case {
        key: "transaction.max.timeout.ms",
        value: "59999",
        node: &[],
        observe: initialization,
        expected: ("NONE", "INVALID_TRANSACTION_TIMEOUT"),
    },
    Case {
        key: "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        value: "1000",
        node: &[],
        observe: late_transaction,
        expected: ("Ongoing", "CompleteAbort"),
    },
    Case {
        key: "transactional.id.expiration.ms",
        value: "2000",
        node: &[("transaction.remove.expired.transaction.cleanup.interval.ms", "1000")],
        observe: unused_id,
        expected: ("Empty", ""),
    },
    Case {
        key: "transaction.remove.expired.transaction.cleanup.interval.ms",
        value: "1000",
        node: &[("transactional.id.expiration.ms", "2000")],
        observe: unused_id,
        expected: ("Empty", ""),
    },
    Case {
        key: "transaction.partition.verification.enable",
        value: "false",
        node: &[],
        observe: not_added,
        expected: ("TRANSACTION_ABORTABLE", "NONE"),
    },
    Case {
        key: "transaction.state.log.load.buffer.size",
        value: "100",
        node: &[],
        observe: reads_of_a_start,
        expected: ("at once", "bit by bit"),
    },
    Case {
        key: "transaction.state.log.min.isr",
        value: "2",
        node: &[],
        observe: topic,
        expected: (AS_IT_IS, "3 partitions, compact, uncompressed, 2, 104857600"),
    },
    Case {
        key: "transaction.state.log.num.partitions",
        value: "5",
        node: &[],
        observe: topic,
        expected: (AS_IT_IS, "5 partitions, compact, uncompressed, 1, 104857600"),
    },
    Case {
        key: "transaction.state.log.replication.factor",
        value: "2",
        node: &[],
        observe: topic,
        expected: (AS_IT_IS, "none"),
    },
    Case {
        key: "transaction.state.log.segment.bytes",
        value: "2000000",
        node: &[],
        observe: topic,
        expected: (AS_IT_IS, "3 partitions, compact, uncompressed, 1, 2000000"),
    },
];

#[test]
fn each_setting_of_transactions_changes_what_a_node_does() {
    check(CASES);
}
