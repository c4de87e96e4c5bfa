use bytes::{BufMut, Bytes, BytesMut};
use ottla_testkit::cases;
use proptest::prelude::*;

use super::harness::{Harness, at};
use crate::api::table::Api;
use crate::exchange::Reply;

/// A request with nothing in it, of each API and version that is served, is answered and does not end its connection, also
/// if there are bytes behind it.
#[test]
fn an_empty_request_of_every_version_is_answered() {
    for api in Api::all() {
        let listeners = [false, true].map(|of_controllers| (of_controllers, api.served(of_controllers)));
        let served = listeners.into_iter().filter_map(|(listener, versions)| Some((listener, versions?)));
        let all =
            served.flat_map(|(listener, versions)| versions.iter().map(move |version| (listener, version)));
        for (of_controllers, version) in all {
            let harness = harness(of_controllers);
            let frame = [&(api.empty_request)(version)[..], &[0; 3]].concat();
            let sent = harness.send_frame::<()>(Bytes::from(frame), version, at(0));
            harness.refuse_controller_requests();
            harness.refuse_quorum_requests();
            harness.node.replicas.tick(at(1_000_000));
            harness.node.groups.tick(at(1_000_000));
            let reply = harness.reply(&sent);
            assert!(
                matches!(reply, Some(Reply::Send(_) | Reply::Nothing)),
                "{} {version}, of controllers: {of_controllers}: {reply:?}",
                api.key
            );
        }
    }
}

fn harness(of_controllers: bool) -> Harness {
    let harness = Harness::new();
    if of_controllers { harness.of_controllers() } else { harness }
}

proptest! {
    #![proptest_config(cases(64))]

    /// Whatever follows a header that is right, the request is answered or its connection closed, and nothing panics.
    #[test]
    fn garbage_is_answered_or_closes_the_connection(
        api in 0..Api::all().count(), version in 0i16..20, body in prop::collection::vec(any::<u8>(), 0..200),
        of_controllers: bool,
    ) {
        let harness = harness(of_controllers);
        let api = Api::all().nth(api).expect("the index is below the count");
        let mut frame = BytesMut::new();
        frame.put_i16(api.key.code());
        frame.put_i16(version);
        frame.put_i32(1);
        frame.put_i16(-1);
        frame.put_slice(&body);
        let sent = harness.send_frame::<()>(frame.freeze(), version, at(0));
        harness.refuse_controller_requests();
        drop(harness.node.quorum.take());
        harness.node.replicas.tick(at(u64::from(u32::MAX)));
        harness.node.groups.tick(at(u64::from(u32::MAX)));
        prop_assert!(harness.reply(&sent).is_some());
    }

    #[test]
    fn any_bytes_are_answered_or_close_the_connection(frame in prop::collection::vec(any::<u8>(), 0..300)) {
        let harness = Harness::new();
        let sent = harness.send_frame::<()>(Bytes::from(frame), 0, at(0));
        harness.refuse_controller_requests();
        harness.node.replicas.tick(at(u64::from(u32::MAX)));
        prop_assert!(harness.reply(&sent).is_some());
    }
}
