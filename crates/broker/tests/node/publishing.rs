//! Putting an image into effect may take long: logs are made and recovered. The quorum and its controller go on meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;

use ottla_broker::lifecycle::LifecycleState;
use ottla_log::disk::SimDisk;
use ottla_types::{MonoMs, Now, Timestamp};
use ottla_wire::messages::*;
use parking_lot::Mutex;

use crate::harness::{Answer, NODE, NodeSetup, SteppedNode, connection_on};
use crate::topics::{metadata, new_topic};

type Job = Box<dyn FnOnce() + Send>;

/// Images that wait.
#[derive(Default)]
struct Publisher(Mutex<VecDeque<Job>>);

impl Publisher {
    /// Puts one into effect, if one waits.
    fn act(&self) -> bool {
        let next = self.0.lock().pop_front();
        let is_one = next.is_some();
        next.into_iter().for_each(|job| job());
        is_one
    }
}

/// A node whose images wait until they are told to come into effect.
struct Slow {
    node: SteppedNode,
    publisher: Arc<Publisher>,
}

impl Slow {
    /// One that serves.
    fn new() -> Slow {
        let mut slow = Slow::starting();
        for _ in 0..100 {
            slow.node.pass_ms(10);
            slow.publisher.act();
        }
        assert!(!slow.publisher.act(), "nothing is left to do");
        slow
    }

    fn starting() -> Slow {
        let publisher = Arc::new(Publisher::default());
        let jobs = Arc::clone(&publisher);
        let setup = NodeSetup {
            publish_later: Arc::new(move |job| jobs.0.lock().push_back(job)),
            ..NodeSetup::alone(&[])
        };
        let now = Now { wall: Timestamp(1_700_000_000_000), mono: MonoMs(1000) };
        let node = SteppedNode::try_start_as(setup, Arc::new(SimDisk::new(7)), now).expect("it starts");
        Slow { node, publisher }
    }

    fn create(&mut self, name: &str) -> Answer {
        self.node.send(&new_topic(name, 1, &[]), 7)
    }

    /// Lets time pass in which nothing comes into effect.
    fn wait(&mut self) {
        (0..10).for_each(|_| self.node.pass_ms(10));
    }

    fn high_watermark(&mut self) -> i64 {
        let topic = describe_quorum_request::Topic {
            topic_name: "__cluster_metadata".to_owned(),
            partitions: vec![Default::default()],
            ..Default::default()
        };
        let request = DescribeQuorumRequest { topics: vec![topic], ..DescribeQuorumRequest::default() };
        self.node.ask(&request, 2).topics[0].partitions[0].high_watermark
    }

    fn knows(&mut self, name: &str) -> bool {
        metadata(&mut self.node, &[name], false).topics[0].error_code == 0
    }
}

fn is_done(answer: &Answer) -> bool {
    answer.take::<CreateTopicsRequest>(7).is_some_and(|response| response.topics[0].error_code == 0)
}

#[test]
fn a_node_serves_when_it_acts_on_being_let_in() {
    let mut slow = Slow::starting();
    while slow.node.node.lifecycle_state() != LifecycleState::Running {
        slow.wait();
        assert_ne!(
            slow.node.node.lifecycle_state(),
            LifecycleState::Running,
            "nothing came into effect meanwhile"
        );
        assert!(slow.publisher.act(), "it waits for nothing else");
        (0..3).for_each(|_| slow.node.pass_ms(10));
    }
    assert_eq!(metadata(&mut slow.node, &[], false).brokers.len(), 1, "clients find it");
}

#[test]
fn clients_are_answered_when_it_is_in_effect_and_the_quorum_goes_on() {
    let mut slow = Slow::new();
    let before = slow.high_watermark();
    let first = slow.create("first");
    slow.wait();
    assert!(slow.high_watermark() > before, "it is committed");
    let committed = slow.high_watermark();
    let second = slow.create("second");
    slow.wait();
    assert!(slow.high_watermark() > committed, "so is what comes after it");
    assert!(!slow.knows("first") && !is_done(&first) && !is_done(&second));

    assert!(slow.publisher.act());
    slow.wait();
    assert!(slow.knows("first") && is_done(&first));
    assert!(!slow.knows("second") && !is_done(&second), "it was not there when the publication began");

    assert!(slow.publisher.act());
    slow.wait();
    assert!(slow.knows("second") && is_done(&second));
}

#[test]
fn what_comes_meanwhile_comes_into_effect_together() {
    let mut slow = Slow::new();
    let first = slow.create("0");
    slow.wait();
    let others: Vec<_> = ["1", "2", "3"].map(|name| slow.create(name)).into();
    slow.wait();
    assert!(slow.publisher.act());
    slow.wait();
    assert!(is_done(&first) && slow.publisher.act());
    slow.wait();
    assert!(others.iter().all(is_done));
    assert!(!slow.publisher.act());
}

#[test]
fn the_controller_answers_nodes_meanwhile() {
    let mut slow = Slow::new();
    let created = slow.create("slow");
    slow.wait();
    let controllers = connection_on(9, true);
    let request = AllocateProducerIdsRequest {
        broker_id: NODE.0,
        broker_epoch: slow.node.node.broker_epoch().expect("it is registered").value(),
        ..AllocateProducerIdsRequest::default()
    };
    let allocated = slow.node.send_on(&controllers, &request, 0);
    slow.wait();
    let response = allocated.take::<AllocateProducerIdsRequest>(0).expect("it is answered");
    assert_eq!(response.error_code, 0);
    assert!(!is_done(&created));
}
