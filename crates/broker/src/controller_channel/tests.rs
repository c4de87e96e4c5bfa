use std::sync::Arc;

use ottla_config::Config;
use ottla_controller::{ControllerSettings, Outcome};
use ottla_metadata::MetadataImage;
use ottla_types::Timestamp;
use ottla_wire::messages::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, EnvelopeRequest, EnvelopeResponse,
    UnregisterBrokerRequest, UnregisterBrokerResponse,
};
use ottla_wire::{
    ApiKey, Decoder, FRAME_LENGTH_BYTES, RequestHeader, decode_request_header, encode_response,
};

use super::*;
use crate::peers::{Channel, PeerError};
use crate::tests::played_peers::{Asked, PlayedPeers};

type Answers = Arc<Mutex<Vec<Result<i16, ErrorCode>>>>;

fn controller() -> Controller {
    let config = Arc::new(Config::of_pairs([("process.roles", "controller"), ("node.id", "1")]).unwrap());
    let settings = ControllerSettings::from_config("cluster".into(), config);
    Controller::new(settings, MetadataImage::default(), Box::new(|| 7), Now::default())
}

fn at(ms: u64) -> Now {
    Now { wall: Timestamp(0), mono: MonoMs(ms) }
}

/// What tests ask for: the answer's error code counts how often the operation has run.
fn submit(channel: &ControllerChannel, way: Way<UnregisterBrokerRequest>, answers: &Answers) {
    submit_until(MonoMs::NEVER, channel, way, answers);
}

fn submit_until(
    due: MonoMs,
    channel: &ControllerChannel,
    way: Way<UnregisterBrokerRequest>,
    answers: &Answers,
) {
    let runs = Mutex::new(0);
    let operation = move |_: &mut Controller, _: &UnregisterBrokerRequest, _: Now| {
        *runs.lock() += 1;
        Outcome::answer(UnregisterBrokerResponse { error_code: *runs.lock(), ..Default::default() })
    };
    let answers = Arc::clone(answers);
    let done: Box<dyn FnOnce(Result<UnregisterBrokerResponse, ErrorCode>) + Send> =
        Box::new(move |answer| answers.lock().push(answer.map(|response| response.error_code)));
    channel.submit(Box::new(Operation {
        request: UnregisterBrokerRequest::default(),
        way,
        operation,
        due,
        waiting: Arc::new(Mutex::new(Some(done))),
    }));
}

fn own() -> Way<UnregisterBrokerRequest> {
    Way::Own { channel: Channel::Controller, is_elsewhere: |response| response.error_code == 41 }
}

fn forwarded() -> Way<UnregisterBrokerRequest> {
    let header = RequestHeader {
        api_key: ApiKey::UnregisterBroker,
        api_version: 0,
        correlation_id: 77,
        client_id: Some("admin".to_owned()),
        unknown_tagged_fields: Default::default(),
    };
    Way::Envelope(Forwarded { header, peer: [10, 0, 0, 1].into() })
}

fn channel() -> Arc<ControllerChannel> {
    Arc::new(ControllerChannel::new(Arc::new(|| {})))
}

fn run_one(channel: &ControllerChannel) -> Release {
    let job = channel.take(MonoMs(0)).pop_front().expect("one waits");
    job.run(&mut controller(), Now::default()).release
}

#[test]
fn what_is_lost_with_the_leadership_is_done_anew_and_answered_once() {
    let (channel, answers) = (channel(), Answers::default());
    submit(&channel, own(), &answers);
    for _ in 0..3 {
        let again = run_one(&channel)(Fate::Lost);
        assert!(answers.lock().is_empty());
        channel.put_back(again.into_iter());
    }
    assert!(run_one(&channel)(Fate::Committed).is_none());
    assert_eq!(*answers.lock(), [Ok(4)]);
    assert!(channel.take(MonoMs(0)).is_empty());
}

#[test]
fn what_came_to_this_controller_is_told_that_it_is_none_any_more() {
    let (channel, answers) = (channel(), Answers::default());
    submit(&channel, Way::Here, &answers);
    assert!(run_one(&channel)(Fate::Lost).is_none());
    assert_eq!(*answers.lock(), [Err(ErrorCode::NotController)]);
}

#[test]
fn what_is_refused_is_told() {
    let (channel, answers) = (channel(), Answers::default());
    submit(&channel, own(), &answers);
    assert!(run_one(&channel)(Fate::Refused(ErrorCode::UnknownServerError)).is_none());
    submit(&channel, own(), &answers);
    channel.take(MonoMs(0)).into_iter().for_each(|job| job.refuse(ErrorCode::KafkaStorageError));
    assert_eq!(*answers.lock(), [Err(ErrorCode::UnknownServerError), Err(ErrorCode::KafkaStorageError)]);
}

#[test]
fn more_than_can_wait_are_told_to_try_again() {
    let (channel, answers) = (channel(), Answers::default());
    for _ in 0..=QUEUED_MAX {
        submit(&channel, own(), &answers);
    }
    assert_eq!(*answers.lock(), [Err(ErrorCode::RequestTimedOut)]);
}

/// Sends on all that waits at this time.
fn send_all(channel: &Arc<ControllerChannel>, sent: &Arc<PlayedPeers>, now: Now) {
    let peers: Arc<dyn Peers> = Arc::clone(sent) as _;
    let to =
        PeerAddress { node: NodeId(2), host: "other".to_owned(), port: 9093, is_controller_listener: true };
    let link = ControllerLink { to: &to, peers: &peers, channel, timeout_ms: 30_000, now };
    channel.take(now.mono).into_iter().for_each(|job| job.send(&link));
}

fn take(sent: &PlayedPeers) -> Asked<UnregisterBrokerRequest> {
    sent.take().expect("it was sent")
}

fn unregistered(error_code: i16) -> UnregisterBrokerResponse {
    UnregisterBrokerResponse { error_code, ..UnregisterBrokerResponse::default() }
}

/// It would be given up at once, and with it the connection on which others wait.
#[test]
fn what_is_too_late_is_not_sent() {
    for way in [own, forwarded] {
        let (channel, answers, sent) = (channel(), Answers::default(), Arc::new(PlayedPeers::default()));
        submit_until(MonoMs(50), &channel, way(), &answers);
        send_all(&channel, &sent, at(0));
        assert!(sent.take::<UnregisterBrokerRequest>().is_some() || sent.take::<EnvelopeRequest>().is_some());
        submit_until(MonoMs(50), &channel, way(), &answers);
        send_all(&channel, &sent, at(50));
        assert!(sent.take::<UnregisterBrokerRequest>().is_none() && sent.take::<EnvelopeRequest>().is_none());
        assert_eq!(*answers.lock(), [Err(ErrorCode::RequestTimedOut)]);
    }
}

#[test]
fn a_node_that_is_not_the_controller_is_not_the_last_that_is_asked() {
    let (channel, answers, sent) = (channel(), Answers::default(), Arc::new(PlayedPeers::default()));
    submit(&channel, own(), &answers);
    send_all(&channel, &sent, at(0));
    let request = take(&sent);
    assert_eq!(request.to, (NodeId(2), Channel::Controller));
    request.answer(&unregistered(41), at(10));
    assert_eq!(channel.next_retry(), MonoMs(10 + RETRY_MS as u64));
    send_all(&channel, &sent, at(11));
    assert!(sent.waiting().is_empty(), "not at once");
    send_all(&channel, &sent, at(60));
    take(&sent).fail(PeerError::Disconnected("gone".to_owned()), at(60));
    send_all(&channel, &sent, at(120));
    let request = take(&sent);
    assert!(answers.lock().is_empty());
    request.answer(&unregistered(5), at(121));
    assert_eq!((answers.lock().clone(), channel.next_retry()), (vec![Ok(5)], MonoMs::NEVER));
}

#[test]
fn what_the_last_leader_has_not_answered_goes_to_the_next() {
    let (channel, answers, sent) = (channel(), Answers::default(), Arc::new(PlayedPeers::default()));
    submit(&channel, own(), &answers);
    send_all(&channel, &sent, at(0));
    let late = take(&sent);
    channel.take_back_all();
    assert!(run_one(&channel)(Fate::Committed).is_none());
    late.answer(&unregistered(5), at(1));
    assert_eq!(*answers.lock(), [Ok(1)]);
}

#[test]
fn a_client_s_request_travels_whole_in_an_envelope() {
    let (channel, answers, sent) = (channel(), Answers::default(), Arc::new(PlayedPeers::default()));
    submit(&channel, forwarded(), &answers);
    send_all(&channel, &sent, at(0));
    let asked = sent.take::<EnvelopeRequest>().expect("it was sent");
    let mut inner = Decoder::new(asked.body.request_data.clone());
    let header = decode_request_header(&mut inner).expect("it is whole");
    assert_eq!((header.correlation_id, header.client_id.as_deref()), (77, Some("admin")));
    assert_eq!(asked.body.client_host_address[..], [10, 0, 0, 1]);
    let moved = EnvelopeResponse { error_code: 41, ..EnvelopeResponse::default() };
    asked.answer(&moved, at(1));
    send_all(&channel, &sent, at(100));
    let asked = sent.take::<EnvelopeRequest>().expect("it was sent again");
    let inner = encode_response(77, &unregistered(9), 0).expect("it encodes");
    let data = Some(inner.bytes.slice(FRAME_LENGTH_BYTES..));
    asked.answer(&EnvelopeResponse { response_data: data, ..EnvelopeResponse::default() }, at(101));
    assert_eq!(*answers.lock(), [Ok(9)]);
}

#[test]
fn every_answer_of_a_controller_tells_whether_it_is_one() {
    let elsewhere =
        BrokerHeartbeatRequest::refused(&BrokerHeartbeatRequest::default(), ErrorCode::NotController);
    assert!(BrokerHeartbeatRequest::is_elsewhere(&elsewhere));
    assert!(!BrokerHeartbeatRequest::is_elsewhere(&BrokerHeartbeatResponse::default()));
}
