use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

use bytes::Bytes;
use ottla_broker::peers::PeerAnswer;
use ottla_wire::messages::api_versions_response::ApiKey as Served;
use ottla_wire::messages::{
    ApiVersionsRequest, ApiVersionsResponse, BrokerHeartbeatRequest, BrokerHeartbeatResponse, VoteRequest,
};
use ottla_wire::{
    ApiKey, Decoder, ErrorCode, Request, RequestHeader, Response, decode_request_header, encode_response,
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than the test runs.
const LONG_MS: i64 = 3_600_000;

/// The other side of a connection, played by the test.
struct Peer(TcpStream);

impl Peer {
    /// Waits for a connection, and answers its first question with what is served.
    fn accept(listener: &TcpListener, served: &[(ApiKey, i16)]) -> Peer {
        let mut peer = Peer::accept_silent(listener);
        let (header, _) = peer.read::<ApiVersionsRequest>();
        peer.write(header.correlation_id, &versions(served), header.api_version);
        peer
    }

    fn accept_silent(listener: &TcpListener) -> Peer {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Peer(stream)
    }

    fn read<R: Request>(&mut self) -> (RequestHeader, R) {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut frame).unwrap();
        let mut d = Decoder::new(Bytes::from(frame));
        let header = decode_request_header(&mut d).unwrap();
        assert_eq!(header.api_key, R::API_KEY);
        let body = R::decode(&mut d, header.api_version).unwrap();
        (header, body)
    }

    fn write<R: Response>(&mut self, correlation_id: i32, response: &R, version: i16) {
        self.0.write_all(&encode_response(correlation_id, response, version).unwrap().bytes).unwrap();
    }

    /// Reads a heartbeat and answers it with its own broker's id as the throttle time.
    fn answer_heartbeat(&mut self) {
        let (header, request) = self.read::<BrokerHeartbeatRequest>();
        self.write(header.correlation_id, &heard(request.broker_id), header.api_version);
    }

    fn is_closed_by_the_other_side(&mut self) -> bool {
        match self.0.read(&mut [0; 1]) {
            Ok(read) => read == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

fn versions(served: &[(ApiKey, i16)]) -> ApiVersionsResponse {
    let served = [(ApiKey::ApiVersions, 4)].iter().chain(served).map(|(api, max)| Served {
        api_key: api.code(),
        min_version: 0,
        max_version: *max,
        ..Served::default()
    });
    ApiVersionsResponse { api_keys: served.collect(), ..ApiVersionsResponse::default() }
}

fn heard(throttle_time_ms: i32) -> BrokerHeartbeatResponse {
    BrokerHeartbeatResponse { throttle_time_ms, ..BrokerHeartbeatResponse::default() }
}

/// A network with a node to talk to.
struct World {
    network: PeerNetwork,
    listener: TcpListener,
    to: PeerAddress,
    lost: mpsc::Receiver<NodeId>,
}

type Answers = mpsc::Receiver<Result<PeerAnswer<BrokerHeartbeatResponse>, PeerError>>;

impl World {
    fn new() -> World {
        World::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut PeerSettings)) -> World {
        let mut settings = PeerSettings {
            node_id: NodeId(1),
            setup_timeout: (PATIENCE, PATIENCE),
            reconnect_backoff: (Duration::from_millis(1), Duration::from_millis(1)),
            idle_max: None,
            fetcher_threads: 1,
        };
        change(&mut settings);
        let network = PeerNetwork::start(settings, Clock::start()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let to =
            PeerAddress { node: NodeId(2), host: "127.0.0.1".to_owned(), port, is_controller_listener: true };
        let (sender, lost) = mpsc::channel();
        network.on_lost(Box::new(move |address, _, _| {
            let _ = sender.send(address.node);
        }));
        World { network, listener, to, lost }
    }

    fn send(&self, broker_id: i32, timeout_ms: i64) -> Answers {
        self.send_bounded(broker_id, timeout_ms, None)
    }

    fn send_bounded(&self, broker_id: i32, timeout_ms: i64, bytes_max: Option<usize>) -> Answers {
        let (sender, answers) = mpsc::channel();
        let body = BrokerHeartbeatRequest { broker_id, ..BrokerHeartbeatRequest::default() };
        let mut request = PeerRequest::new(body, timeout_ms, move |answer, _| {
            let _ = sender.send(answer);
        });
        request.answer_bytes_max = bytes_max.unwrap_or(request.answer_bytes_max);
        self.network.send(&self.to, Channel::Heartbeat, request);
        answers
    }
}

fn answer(answers: &Answers) -> Result<i32, PeerError> {
    let answer = answers.recv_timeout(PATIENCE).expect("every request hears what became of it");
    answer.map(|answer| answer.response.throttle_time_ms)
}

fn is_disconnected(answers: &Answers) -> bool {
    matches!(answer(answers), Err(PeerError::Disconnected(_)))
}

#[test]
fn requests_follow_each_other_on_one_connection() {
    let world = World::new();
    let sent = [1, 2, 3].map(|broker| world.send(broker, LONG_MS));
    let mut peer = Peer::accept(&world.listener, &[(ApiKey::BrokerHeartbeat, 1)]);
    let headers = [1, 2, 3].map(|broker| {
        let (header, request) = peer.read::<BrokerHeartbeatRequest>();
        assert_eq!((request.broker_id, header.api_version), (broker, 1));
        header
    });
    for (header, broker) in headers.iter().zip([1, 2, 3]) {
        peer.write(header.correlation_id, &heard(broker), header.api_version);
    }
    assert_eq!(sent.map(|answers| answer(&answers)), [Ok(1), Ok(2), Ok(3)]);
}

#[test]
fn conversations_do_not_wait_for_each_other() {
    let world = World::new();
    let _waits = world.send(1, LONG_MS);
    let mut peer = Peer::accept(&world.listener, &[(ApiKey::BrokerHeartbeat, 1)]);
    peer.read::<BrokerHeartbeatRequest>();
    let (sender, answers) = mpsc::channel();
    let request = PeerRequest::new(BrokerHeartbeatRequest::default(), LONG_MS, move |answer, _| {
        let _ = sender.send(answer);
    });
    world.network.send(&world.to, Channel::Fetcher(0), request);
    Peer::accept(&world.listener, &[(ApiKey::BrokerHeartbeat, 1)]).answer_heartbeat();
    assert_eq!(answer(&answers), Ok(0));
}

#[test]
fn a_node_that_is_older_is_asked_as_it_can_answer() {
    let world = World::new();
    let sent = world.send(7, LONG_MS);
    let mut peer = Peer::accept_silent(&world.listener);
    let (header, _) = peer.read::<ApiVersionsRequest>();
    let mut refusal = versions(&[]);
    refusal.api_keys[0].max_version = 2;
    refusal.error_code = ErrorCode::UnsupportedVersion.code();
    peer.write(header.correlation_id, &refusal, 0);
    let (header, _) = peer.read::<ApiVersionsRequest>();
    assert_eq!(header.api_version, 2);
    peer.write(header.correlation_id, &versions(&[(ApiKey::BrokerHeartbeat, 0)]), 2);
    peer.answer_heartbeat();
    assert_eq!(answer(&sent), Ok(7));
}

#[test]
fn what_a_node_does_not_serve_is_not_sent() {
    let world = World::new();
    let sent = world.send(7, LONG_MS);
    let mut peer = Peer::accept(&world.listener, &[(ApiKey::Vote, 1)]);
    assert_eq!(answer(&sent), Err(PeerError::UnsupportedVersion));
    // A request that needs a newer version than is served is not sent either; others are.
    let (sender, answers) = mpsc::channel();
    for min in [2, 0] {
        let sender = sender.clone();
        let versions = ottla_wire::VersionRange::new(min, 2);
        let request = PeerRequest::by_version(
            versions,
            |_| VoteRequest::default(),
            LONG_MS,
            move |answer, _| {
                let _ = sender.send(answer.map(|answer| answer.version));
            },
        );
        world.network.send(&world.to, Channel::Heartbeat, request);
    }
    assert_eq!(answers.recv_timeout(PATIENCE).unwrap(), Err(PeerError::UnsupportedVersion));
    let (header, _) = peer.read::<VoteRequest>();
    peer.write(header.correlation_id, &ottla_wire::messages::VoteResponse::default(), header.api_version);
    assert_eq!(answers.recv_timeout(PATIENCE).unwrap(), Ok(1));
}

#[test]
fn a_lost_connection_is_told_and_made_anew() {
    let world = World::new();
    let sent = [1, 2].map(|broker| world.send(broker, LONG_MS));
    let mut peer = Peer::accept(&world.listener, &[(ApiKey::BrokerHeartbeat, 1)]);
    peer.answer_heartbeat();
    peer.read::<BrokerHeartbeatRequest>();
    drop(peer);
    assert_eq!(answer(&sent[0]), Ok(1));
    assert!(is_disconnected(&sent[1]));
    assert_eq!(world.lost.recv_timeout(PATIENCE).unwrap(), NodeId(2));
    let sent = world.send(3, LONG_MS);
    Peer::accept(&world.listener, &[(ApiKey::BrokerHeartbeat, 1)]).answer_heartbeat();
    assert_eq!(answer(&sent), Ok(3));
}

#[test]
fn a_node_that_refuses_is_left_alone_for_a_while() {
    let hour = Duration::from_secs(3600);
    let mut world = World::with(|settings| settings.reconnect_backoff = (hour, hour));
    // Nobody listens there any more.
    let closed = std::mem::replace(&mut world.listener, TcpListener::bind("127.0.0.1:0").unwrap());
    drop(closed);
    assert!(matches!(answer(&world.send(1, LONG_MS)), Err(PeerError::Refused(_))));
    match answer(&world.send(2, LONG_MS)) {
        Err(PeerError::Disconnected(why)) => {
            assert_eq!(why, "the last attempt to connect failed just now");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_that_is_late_ends_the_connection() {
    let world = World::new();
    let sent = world.send(1, LONG_MS);
    let mut peer = Peer::accept(&world.listener, &[(ApiKey::BrokerHeartbeat, 1)]);
    peer.answer_heartbeat();
    assert_eq!(answer(&sent), Ok(1));
    assert_eq!(answer(&world.send(2, 50)), Err(PeerError::TimedOut));
    peer.read::<BrokerHeartbeatRequest>();
    assert!(peer.is_closed_by_the_other_side());
    assert!(world.lost.try_recv().is_err(), "this side has ended it");
    let sent = world.send(3, LONG_MS);
    Peer::accept(&world.listener, &[(ApiKey::BrokerHeartbeat, 1)]).answer_heartbeat();
    assert_eq!(answer(&sent), Ok(3));
}

#[test]
fn answers_that_break_the_protocol_end_the_connection() {
    let cases: [fn(&mut Peer, &RequestHeader); 3] = [
        // To another question.
        |peer, header| peer.write(header.correlation_id + 1, &heard(0), header.api_version),
        // Longer than is allowed, by its own account.
        |peer, _| peer.0.write_all(&1_000_000_i32.to_be_bytes()).unwrap(),
        |peer, _| peer.0.write_all(&(-1_i32).to_be_bytes()).unwrap(),
    ];
    for case in cases {
        let world = World::new();
        let sent = world.send_bounded(1, LONG_MS, Some(1000));
        let mut peer = Peer::accept(&world.listener, &[(ApiKey::BrokerHeartbeat, 1)]);
        let (header, _) = peer.read::<BrokerHeartbeatRequest>();
        case(&mut peer, &header);
        assert!(is_disconnected(&sent));
        assert!(peer.is_closed_by_the_other_side());
    }
}

#[test]
fn a_body_that_is_none_is_told_and_ends_nothing() {
    let world = World::new();
    let sent = [1, 2].map(|broker| world.send(broker, LONG_MS));
    let mut peer = Peer::accept(&world.listener, &[(ApiKey::BrokerHeartbeat, 1)]);
    let (header, _) = peer.read::<BrokerHeartbeatRequest>();
    peer.0.write_all(&5_i32.to_be_bytes()).unwrap();
    peer.0.write_all(&header.correlation_id.to_be_bytes()).unwrap();
    peer.0.write_all(&[0]).unwrap();
    peer.answer_heartbeat();
    assert!(matches!(answer(&sent[0]), Err(PeerError::Malformed(_))));
    assert_eq!(answer(&sent[1]), Ok(2));
}

#[test]
fn nothing_is_under_way_for_ever_when_all_is_stopped() {
    let world = World::new();
    let _unanswered = world.send(1, LONG_MS);
    let mut peer = Peer::accept(&world.listener, &[(ApiKey::BrokerHeartbeat, 1)]);
    peer.read::<BrokerHeartbeatRequest>();
    world.network.stop();
    assert!(peer.is_closed_by_the_other_side());
    // What comes after that goes nowhere.
    let after = world.send(2, LONG_MS);
    assert!(after.recv_timeout(PATIENCE).is_err());
}

#[test]
fn settings_say_how_long_a_node_may_take_to_answer_first() {
    let quick = ["socket.connection.setup.timeout.ms", "socket.connection.setup.timeout.max.ms"];
    let config = Config::of_pairs(quick.map(|key| (key, "50"))).unwrap();
    let PeerSettings { setup_timeout, .. } = PeerSettings::from_config(&config);
    assert_eq!(setup_timeout, (Duration::from_millis(50), Duration::from_millis(50)));
    let world = World::with(|settings| settings.setup_timeout = setup_timeout);
    let sent = world.send(1, LONG_MS);
    let _silent = Peer::accept_silent(&world.listener);
    assert!(is_disconnected(&sent));
    let by_default = PeerSettings::from_config(&Config::of_pairs([("node.id", "1")]).unwrap());
    assert_eq!(by_default.setup_timeout, (Duration::from_secs(10), Duration::from_secs(30)));
}
