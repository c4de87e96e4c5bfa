//! Replicas whose disk is full: others do without them until there is room.

use ottla_types::NodeId;
use ottla_wire::ErrorCode;

use super::cluster::{Cluster, X, Y, Z, told};

fn fill(cluster: &Cluster, id: NodeId) {
    let disk = cluster.disk(id);
    disk.set_capacity_bytes(Some(disk.used_bytes()));
}

fn relieve(cluster: &Cluster, id: NodeId) {
    cluster.disk(id).set_capacity_bytes(None);
}

/// What the controller is to be told of a broker's replica.
fn changes(cluster: &Cluster, id: NodeId) -> Vec<bool> {
    let changes = cluster.manager(id).room_changes(cluster.now);
    changes.into_iter().map(|change| change.has_room).collect()
}

#[test]
fn nobody_waits_for_a_follower_without_room() {
    let mut cluster = Cluster::new();
    cluster.produce(X, -1, &["a"]);
    cluster.replicate();
    fill(&cluster, Z);
    let waits = cluster.produce(X, -1, &["b"]);
    cluster.replicate();
    assert_eq!(told(&waits), None);
    assert!(!cluster.manager(Z).is_without_room(), "nobody has looked");
    assert_eq!(changes(&cluster, Z), [false]);
    assert!(cluster.manager(Z).is_without_room());
    assert_eq!(changes(&cluster, Z), [false; 0], "once");
    cluster.set_lost(Z, true);
    assert_eq!(told(&waits), Some(Ok(1)));
    // It would be in sync again as long as nothing is written.
    relieve(&cluster, Z);
    cluster.replicate();
    cluster.pass_ms(999);
    cluster.replicate();
    assert_eq!((changes(&cluster, Z).len(), cluster.decided.isr.clone()), (0, vec![X, Y]));
    assert_eq!(cluster.end(Z), 1, "it follows nobody");
    assert!(cluster.manager(Z).is_without_room());
    cluster.pass_ms(1);
    assert_eq!(changes(&cluster, Z), [true]);
    assert!(!cluster.manager(Z).is_without_room());
    cluster.replicate();
    assert_eq!(
        (cluster.decided.isr.clone(), cluster.end(Z)),
        (vec![X, Y], 2),
        "the controller has not heard of it yet"
    );
    cluster.set_lost(Z, false);
    // With its next fetch.
    cluster.pass_ms(500);
    cluster.replicate();
    assert_eq!((cluster.decided.isr.clone(), cluster.high_watermark(Z)), (vec![X, Y, Z], 2));
    assert_eq!(cluster.values(Z), ["a", "b"]);
}

#[test]
fn a_leader_without_room_leaves_the_lead_to_others() {
    let mut cluster = Cluster::new();
    cluster.produce(X, -1, &["a"]);
    cluster.replicate();
    fill(&cluster, X);
    assert_eq!(told(&cluster.produce(X, -1, &["b"])), Some(Err(ErrorCode::KafkaStorageError)));
    assert_eq!(cluster.manager(X).next_deadline().0, 0, "the controller is to be told at once");
    assert_eq!(changes(&cluster, X), [false]);
    cluster.elect(Y, &[Y, Z]);
    let waits = cluster.produce(Y, -1, &["b"]);
    cluster.replicate();
    assert_eq!(told(&waits), Some(Ok(1)));
    for _ in 0..3 {
        cluster.pass_ms(1_000);
        assert_eq!(changes(&cluster, X), [false; 0], "it is still full");
        cluster.replicate();
    }
    assert_eq!(cluster.end(X), 1);
    relieve(&cluster, X);
    cluster.pass_ms(1_000);
    assert_eq!(changes(&cluster, X), [true]);
    cluster.replicate();
    assert_eq!((cluster.decided.isr.len(), cluster.end(X), cluster.values(X).len()), (3, 2, 2));
}

#[test]
fn the_only_replica_in_sync_refuses_until_there_is_room() {
    let mut cluster = Cluster::new();
    cluster.elect(X, &[X]);
    cluster.cut.extend([(Y, X), (Z, X)]);
    assert_eq!(told(&cluster.produce(X, -1, &["a"])), Some(Ok(0)));
    fill(&cluster, X);
    for _ in 0..3 {
        assert_eq!(told(&cluster.produce(X, -1, &["b"])), Some(Err(ErrorCode::KafkaStorageError)));
        cluster.pass_ms(1_000);
        assert_eq!(changes(&cluster, X), [false; 0]);
    }
    assert_eq!((cluster.high_watermark(X), cluster.partition(X).is_leader()), (1, true));
    relieve(&cluster, X);
    assert_eq!(told(&cluster.produce(X, -1, &["b"])), Some(Ok(1)));
}

/// Its metadata may be in the same directory, and say nothing new before there is room.
#[test]
fn who_has_been_given_up_does_not_lead_for_not_having_heard_of_it() {
    let mut cluster = Cluster::new();
    cluster.replicate();
    let topic = cluster.partition(X).topic_id();
    cluster.manager(X).stand_aside(topic, 0, cluster.now);
    assert!(cluster.partition(X).is_leader(), "it was not given up");
    let waits = cluster.produce(X, -1, &["a"]);
    fill(&cluster, X);
    cluster.produce(X, -1, &["b"]);
    assert_eq!(changes(&cluster, X), [false]);
    cluster.manager(X).stand_aside(topic, 0, cluster.now);
    assert_eq!(told(&waits), Some(Err(ErrorCode::NotLeaderOrFollower)));
    // What was so before is told once more.
    cluster.tell(X);
    assert!(!cluster.partition(X).is_leader());
    // And what was changed before another was to lead, of which it had not heard.
    cluster.decided.partition_epoch += 1;
    cluster.tell(X);
    assert!(!cluster.partition(X).is_leader());
    cluster.elect(Y, &[Y, Z]);
    let waits = cluster.produce(Y, -1, &["c"]);
    cluster.replicate();
    assert_eq!(told(&waits), Some(Ok(0)));
    relieve(&cluster, X);
    cluster.pass_ms(1_000);
    assert_eq!(changes(&cluster, X), [true]);
    cluster.replicate();
    assert_eq!(
        (cluster.decided.isr.len(), cluster.values(X), cluster.high_watermark(X)),
        (3, vec!["c".to_owned()], 1)
    );
}

#[test]
fn whoever_leads_alone_does_not_stand_aside() {
    let mut cluster = Cluster::new();
    cluster.elect(X, &[X]);
    cluster.manager(X).stand_aside_everywhere(cluster.now);
    assert!(cluster.partition(X).is_leader());
    cluster.elect(X, &[X, Y]);
    cluster.manager(X).stand_aside_everywhere(cluster.now);
    assert!(!cluster.partition(X).is_leader());
}
