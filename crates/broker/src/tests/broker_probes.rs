//! A controller looks for brokers whose connections have broken.

use std::sync::Arc;

use ottla_controller::{Controller, ControllerSettings};
use ottla_metadata::MetadataImage;
use ottla_types::{MonoMs, NodeId, Now, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::{
    ApiVersionsRequest, ApiVersionsResponse, BrokerHeartbeatRequest, BrokerRegistrationRequest,
};

use super::harness::{Harness, LOCAL, OTHER, at};
use super::played_peers::{Asked, PlayedPeers};
use crate::controller_channel::Fate;
use crate::peers::{Channel, PeerError};
use crate::process_identity::{self, ProcessIdentity};

/// A controller beside another broker, which it has met or not.
struct Watch {
    harness: Harness,
    peers: Arc<PlayedPeers>,
    now: Now,
}

impl Watch {
    fn new(has_met: bool) -> Watch {
        let peers = Arc::new(PlayedPeers::default());
        let harness = Harness::with_peers(Arc::clone(&peers) as _);
        let watch = Watch { harness, peers, now: at(1_000) };
        watch.harness.node.meet_brokers(watch.now);
        let first = watch.looks().expect("it is met");
        if has_met {
            first.answer(&ApiVersionsResponse::default(), watch.now);
        } else {
            first.fail(PeerError::Refused("a firewall".to_owned()), watch.now);
        }
        watch
    }

    /// How it looks for the other broker now, if it does.
    fn looks(&self) -> Option<Asked<ApiVersionsRequest>> {
        // What one does may ask for another.
        (0..2).for_each(|_| self.harness.node.tick(self.now));
        let asked = self.peers.take::<ApiVersionsRequest>()?;
        assert_eq!(asked.to, (NodeId(OTHER), Channel::Probe));
        assert!(process_identity::is_asked(&asked.body.unknown_tagged_fields));
        Some(asked)
    }

    fn doubt(&self) {
        self.harness.node.doubt_broker(NodeId(OTHER));
    }

    fn pass_ms(&mut self, ms: u64) {
        self.now.mono = MonoMs(self.now.mono.0 + ms);
    }

    /// Since it was last asked.
    fn is_taken_for_gone(&self) -> bool {
        self.harness.controller_requests() > 0
    }
}

/// With which the other broker is registered.
const REGISTERED: Uuid = Uuid::ZERO;
const NEXT: Uuid = Uuid([7; 16]);

/// What a process of Ottla answers.
fn process(node: i32, incarnation_id: Uuid) -> ApiVersionsResponse {
    let mut response = ApiVersionsResponse::default();
    let identity = ProcessIdentity { node: NodeId(node), incarnation_id };
    identity.tell(&mut response.unknown_tagged_fields);
    response
}

fn refused() -> PeerError {
    PeerError::Refused("connection refused".to_owned())
}

fn broken() -> PeerError {
    PeerError::Disconnected("connection reset".to_owned())
}

#[test]
fn a_process_is_gone_where_nobody_listens_any_more() {
    let watch = Watch::new(true);
    watch.doubt();
    let look = watch.looks().expect("it is doubted");
    look.fail(refused(), watch.now);
    assert!(watch.is_taken_for_gone());
}

/// As a process that a supervisor starts again at once, before the standby that saw the former one end leads the quorum.
#[test]
fn what_a_standby_found_out_counts_once_it_is_active() {
    let mut watch = Watch::new(true);
    watch.doubt();
    watch.looks().expect("it is doubted").fail(refused(), watch.now);
    assert!(watch.is_taken_for_gone());
    watch.doubt();
    watch.looks().expect("it is doubted").answer(&ApiVersionsResponse::default(), watch.now);
    assert!(watch.is_taken_for_gone(), "it is not the process that was registered");
    watch.harness.node.doubt_all_brokers(watch.now);
    assert!(watch.is_taken_for_gone());
    assert!(watch.looks().is_none(), "there is nothing to find out");
    // Whoever heartbeats still, or again, is no former process.
    watch.pass_ms(9_000);
    watch.harness.node.doubt_all_brokers(watch.now);
    watch.looks().expect("it is doubted").answer(&ApiVersionsResponse::default(), watch.now);
    assert!(!watch.is_taken_for_gone());
}

#[test]
fn what_never_could_be_reached_proves_nothing() {
    let watch = Watch::new(false);
    watch.doubt();
    watch.looks().expect("it is doubted").fail(refused(), watch.now);
    assert!(!watch.is_taken_for_gone());
}

#[test]
fn silence_proves_nothing_and_neither_does_an_answer() {
    let mut watch = Watch::new(true);
    watch.doubt();
    watch.looks().expect("it is doubted").fail(PeerError::TimedOut, watch.now);
    watch.doubt();
    watch.looks().expect("it is doubted").answer(&ApiVersionsResponse::default(), watch.now);
    watch.pass_ms(60_000);
    assert!(!watch.is_taken_for_gone() && watch.looks().is_none());
}

/// A process that is killed may take seconds to close what it had open, its listener last.
#[test]
fn it_is_looked_again_now_and_then_until_something_is_found_out() {
    let mut watch = Watch::new(true);
    watch.doubt();
    watch.looks().expect("it is doubted").fail(PeerError::TimedOut, watch.now);
    let waits = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000];
    for (ms, looks) in waits.into_iter().flat_map(|ms| [(ms - 1, false), (1, true)]) {
        watch.pass_ms(ms);
        let look = watch.looks();
        assert_eq!(look.is_some(), looks, "after {ms} ms more");
        if let Some(look) = look {
            look.fail(broken(), watch.now);
        }
    }
    watch.doubt();
    watch.looks().expect("a new reason is looked after at once").fail(PeerError::TimedOut, watch.now);
    watch.pass_ms(30_000);
    watch.looks().expect("once, though it was planned before").fail(refused(), watch.now);
    assert!(watch.is_taken_for_gone());
    watch.pass_ms(60_000);
    assert!(watch.looks().is_none());
}

#[test]
fn a_connection_that_breaks_is_made_anew_until_it_is_refused_and_not_for_long() {
    let mut watch = Watch::new(true);
    watch.doubt();
    watch.looks().expect("it is doubted").fail(broken(), watch.now);
    assert!(watch.looks().is_none(), "not at once");
    watch.pass_ms(5);
    watch.looks().expect("once more").fail(refused(), watch.now);
    assert!(watch.is_taken_for_gone());

    watch.doubt();
    let mut looks = 0;
    while let Some(look) = watch.looks() {
        looks += 1;
        look.fail(broken(), watch.now);
        watch.pass_ms(5);
    }
    assert_eq!((looks, watch.is_taken_for_gone()), (100, false));
}

#[test]
fn a_reason_that_comes_while_it_is_looked_for_is_not_forgotten() {
    let watch = Watch::new(true);
    watch.doubt();
    let first = watch.looks().expect("it is doubted");
    watch.doubt();
    assert!(watch.looks().is_none(), "one at a time");
    first.answer(&ApiVersionsResponse::default(), watch.now);
    watch.looks().expect("it ended after that answer, perhaps").fail(refused(), watch.now);
    assert!(watch.is_taken_for_gone());
}

#[test]
fn a_broker_is_doubted_when_the_connection_of_its_heartbeats_breaks() {
    let watch = Watch::new(true);
    let watch = Watch { harness: watch.harness.of_controllers(), ..watch };
    let heartbeat = BrokerHeartbeatRequest { broker_id: OTHER, ..BrokerHeartbeatRequest::default() };
    let sent = watch.harness.send(1, &heartbeat, watch.now);
    watch.harness.refuse_controller_requests();
    watch.harness.response(&sent).expect("it is answered");
    assert!(watch.looks().is_none());
    watch.harness.close_connection();
    watch.looks().expect("it is doubted").fail(refused(), watch.now);
    assert!(watch.is_taken_for_gone());
}

#[test]
fn who_could_not_be_reached_is_not_tried_all_the_time() {
    let mut watch = Watch::new(false);
    let waits = [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000];
    for (ms, is_tried) in waits.into_iter().flat_map(|ms| [(ms - 1, false), (1, true)]) {
        watch.pass_ms(ms);
        watch.harness.node.meet_brokers(watch.now);
        let look = watch.looks();
        assert_eq!(look.is_some(), is_tried, "after {ms} ms more");
        if let Some(look) = look {
            look.fail(refused(), watch.now);
        }
    }
}

/// As its supervisor starts it before anybody finds that nobody listened meanwhile, and where no process of it was ever met.
#[test]
fn a_process_is_gone_where_the_broker_s_next_one_listens() {
    for has_met in [true, false] {
        let watch = Watch::new(has_met);
        watch.doubt();
        watch.looks().expect("it is doubted").answer(&process(OTHER, NEXT), watch.now);
        assert!(watch.is_taken_for_gone());
        watch.harness.node.doubt_all_brokers(watch.now);
        assert!(watch.is_taken_for_gone(), "as it is once this controller is the active one");
        assert!(watch.looks().is_none());
    }
}

#[test]
fn a_process_that_says_that_it_is_the_one_lives() {
    let mut watch = Watch::new(true);
    watch.doubt();
    watch.looks().expect("it is doubted").fail(refused(), watch.now);
    assert!(watch.is_taken_for_gone());
    // Whoever refused there, it was not for that process.
    for _ in 0..2 {
        watch.doubt();
        watch.looks().expect("it is doubted").answer(&process(OTHER, REGISTERED), watch.now);
        assert!(!watch.is_taken_for_gone());
    }
    watch.pass_ms(60_000);
    assert!(watch.looks().is_none());
}

/// As behind an address that several brokers share.
#[test]
fn what_another_broker_answers_proves_nothing() {
    let mut watch = Watch::new(false);
    for incarnation_id in [NEXT, REGISTERED] {
        watch.doubt();
        watch.looks().expect("it is doubted").answer(&process(OTHER + 1, incarnation_id), watch.now);
        watch.doubt();
        watch.looks().expect("it is doubted").fail(refused(), watch.now);
        assert!(!watch.is_taken_for_gone());
    }
    watch.pass_ms(30_000);
    watch.looks().expect("it is looked again").answer(&process(OTHER, REGISTERED), watch.now);
    watch.doubt();
    watch.looks().expect("it is doubted").fail(refused(), watch.now);
    assert!(watch.is_taken_for_gone());
}

#[test]
fn who_is_refused_as_a_duplicate_is_a_reason_to_look() {
    let watch = Watch::new(true);
    let watch = Watch { harness: watch.harness.of_controllers(), ..watch };
    let node = &watch.harness.node;
    let settings =
        ControllerSettings::from_config(node.identity.cluster_id.clone(), Arc::clone(&node.config));
    let image = MetadataImage::clone(&node.metadata.image());
    let mut controller = Controller::new(
        ControllerSettings { node_id: NodeId(LOCAL), ..settings },
        image,
        Box::new(|| 7),
        watch.now,
    );
    let mut register = |incarnation_id, cluster_id: &str| {
        let request = BrokerRegistrationRequest {
            broker_id: OTHER,
            incarnation_id,
            cluster_id: cluster_id.to_owned(),
            ..BrokerRegistrationRequest::default()
        };
        let sent = watch.harness.send(4, &request, watch.now);
        for job in watch.harness.node.controller.take(watch.now.mono) {
            let again = (job.run(&mut controller, watch.now).release)(Fate::Committed);
            assert!(again.is_none());
        }
        let response = watch.harness.response(&sent).expect("it is answered");
        ErrorCode::from_code(response.error_code)
    };
    assert_eq!(register(NEXT, "another"), Some(ErrorCode::InconsistentClusterId));
    assert!(watch.looks().is_none());
    assert_eq!(register(NEXT, "cluster"), Some(ErrorCode::DuplicateBrokerRegistration));
    watch.looks().expect("it may be gone").answer(&process(OTHER, NEXT), watch.now);
    assert!(watch.is_taken_for_gone());
}

#[test]
fn who_listens_is_told_to_those_who_ask() {
    let harness = Harness::new();
    let mut request = ApiVersionsRequest {
        client_software_name: "test".to_owned(),
        client_software_version: "1".to_owned(),
        ..ApiVersionsRequest::default()
    };
    for version in [3, 4] {
        let unasked = harness.response(&harness.send(version, &request, at(1))).expect("it is answered");
        assert!(unasked.unknown_tagged_fields.is_empty());
    }
    process_identity::ask(&mut request.unknown_tagged_fields);
    for version in [3, 4] {
        let told = harness.response(&harness.send(version, &request, at(1))).expect("it is answered");
        let incarnation_id = harness.node.registration.incarnation_id;
        let expected = ProcessIdentity { node: NodeId(LOCAL), incarnation_id };
        assert_eq!(ProcessIdentity::told(&told.unknown_tagged_fields), Some(expected));
    }
}
