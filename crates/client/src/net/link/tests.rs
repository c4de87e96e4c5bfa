use ottla_wire::messages::{
    ApiVersionsRequest, ApiVersionsResponse, ListGroupsRequest, ListGroupsResponse, ProduceResponse,
    api_versions_response,
};
use ottla_wire::{
    ApiKey, Decoder, ErrorCode, RequestHeader, Response, decode_request_header, encode_response,
};
use tokio::io::{DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::*;
use crate::net::dial::Dialer;
use crate::net::pool::Address;
use crate::net::transport::{Connector, SocketBuffers, Stream};

/// The broker's side of a connection.
struct Broker {
    stream: DuplexStream,
    input: BytesMut,
}

impl Broker {
    async fn read(&mut self) -> RequestHeader {
        loop {
            if let Some(frame) = take_frame(&mut self.input, usize::MAX).unwrap() {
                return decode_request_header(&mut Decoder::new(frame)).unwrap();
            }
            assert_ne!(self.stream.read_buf(&mut self.input).await.unwrap(), 0, "the client closed");
        }
    }

    async fn answer<R: Response>(&mut self, correlation_id: i32, response: &R, version: i16) {
        let frame = encode_response(correlation_id, response, version).unwrap();
        self.stream.write_all(&frame.bytes).await.unwrap();
    }

    /// Tells what it serves. `versions_max` of ApiVersions is what it understands.
    async fn introduce(&mut self, versions_max: i16) {
        loop {
            let header = self.read().await;
            assert_eq!(header.api_key, ApiKey::ApiVersions);
            let is_understood = header.api_version <= versions_max;
            let api = |api_key: ApiKey, max_version| api_versions_response::ApiKey {
                api_key: api_key.code(),
                min_version: 0,
                max_version,
                ..Default::default()
            };
            let code = if is_understood { ErrorCode::None } else { ErrorCode::UnsupportedVersion };
            let answer = ApiVersionsResponse {
                error_code: code.code(),
                api_keys: vec![api(ApiKey::ApiVersions, versions_max), api(ApiKey::ListGroups, 3)],
                ..Default::default()
            };
            let version = if is_understood { header.api_version } else { 0 };
            self.answer(header.correlation_id, &answer, version).await;
            if is_understood {
                return;
            }
        }
    }

    async fn answer_groups(&mut self, correlation_id: i32, throttle_time_ms: i32) {
        self.answer(correlation_id, &ListGroupsResponse { throttle_time_ms, ..Default::default() }, 3).await;
    }
}

#[derive(Debug)]
struct InMemory(parking_lot::Mutex<Option<DuplexStream>>);

impl Connector for InMemory {
    fn connect<'a>(
        &'a self,
        _host: &'a str,
        _port: u16,
    ) -> std::pin::Pin<Box<dyn Future<Output = io::Result<Stream>> + Send + 'a>> {
        let (reader, writer) = tokio::io::split(self.0.lock().take().unwrap());
        Box::pin(std::future::ready(Ok(Stream::new(reader, writer))))
    }
}

async fn connected(versions_max: i16) -> (Arc<Link>, Broker) {
    connected_with(versions_max, None).await
}

async fn connected_with(versions_max: i16, idle_max: Option<Duration>) -> (Arc<Link>, Broker) {
    let (client, stream) = duplex(1 << 20);
    let connector: Option<Arc<dyn Connector>> = Some(Arc::new(InMemory(Some(client).into())));
    let dialer = Dialer { client_id: "c".into(), buffers: SocketBuffers::default(), connector };
    let mut broker = Broker { stream, input: BytesMut::new() };
    let address = Address { host: "b".into(), port: 1 };
    let (dialed, ()) = tokio::join!(dialer.dial(&address), broker.introduce(versions_max));
    (Arc::new(Link::start("b:1".into(), "c".into(), dialed.unwrap(), idle_max)), broker)
}

type Asking = JoinHandle<Result<i32, ClientError>>;

/// Asks for something whose answer is a number.
fn ask(link: &Arc<Link>, timeout_s: u64) -> Asking {
    let link = Arc::clone(link);
    tokio::spawn(async move {
        let version = link.choose::<ListGroupsRequest>(None)?;
        let request = ListGroupsRequest::default();
        let answer = link.ask(&request, version, Duration::from_secs(timeout_s)).await?;
        Ok(answer.throttle_time_ms)
    })
}

#[tokio::test(start_paused = true)]
async fn requests_are_sent_before_answers_come() {
    let (link, mut broker) = connected(4).await;
    let asking: Vec<Asking> = (0..300).map(|_| ask(&link, 30)).collect();
    for first in (0..300).step_by(IN_FLIGHT_MAX) {
        let mut ids = Vec::new();
        for _ in 0..IN_FLIGHT_MAX {
            let header = broker.read().await;
            assert_eq!((header.api_key, header.api_version), (ApiKey::ListGroups, 3));
            ids.push(header.correlation_id);
        }
        let wait = Duration::from_secs(1);
        let more = tokio::time::timeout(wait, broker.stream.read_buf(&mut broker.input)).await;
        assert!(more.is_err(), "no more than {IN_FLIGHT_MAX} are under way");
        for (place, id) in ids.into_iter().enumerate() {
            broker.answer_groups(id, i32::try_from(first + place).unwrap()).await;
        }
    }
    let mut answers = Vec::new();
    for asking in asking {
        answers.push(asking.await.unwrap().unwrap());
    }
    answers.sort_unstable();
    assert_eq!(answers, (0..300).collect::<Vec<_>>());
    assert_eq!(link.load(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_older_broker_is_asked_in_words_that_it_understands() {
    for versions_max in 0..4 {
        let (link, _broker) = connected(versions_max).await;
        assert_eq!(link.served().of_api(ApiKey::ListGroups).map(|range| range.max), Some(3));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_served_is_not_sent() {
    let (link, _broker) = connected(4).await;
    let error = link.choose::<ApiVersionsRequest>(Some(-1)).unwrap_err();
    assert!(matches!(error, ClientError::Unsupported { api: "ApiVersions", .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_fails_what_was_under_way() {
    let (link, mut broker) = connected(4).await;
    let (first, second) = (ask(&link, 30), ask(&link, 30));
    let id = broker.read().await.correlation_id;
    broker.read().await;
    broker.answer_groups(id, 7).await;
    drop(broker);
    let answers = [first.await.unwrap(), second.await.unwrap()];
    assert_eq!(answers.iter().filter(|answer| **answer == Ok(7)).count(), 1, "{answers:?}");
    let lost = answers.into_iter().find_map(Result::err).unwrap();
    assert!(matches!(lost, ClientError::Disconnected { is_sent: true, .. }), "{lost}");
    let after = ask(&link, 30).await.unwrap().unwrap_err();
    assert!(matches!(after, ClientError::Disconnected { is_sent: false, .. }), "{after}");
    assert!(!link.is_open());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_ends_the_connection() {
    let (link, mut broker) = connected(4).await;
    let patient = ask(&link, 30);
    broker.read().await;
    let hasty = ask(&link, 5);
    broker.read().await;
    let hasty = hasty.await.unwrap().unwrap_err();
    assert!(matches!(hasty, ClientError::TimedOut { is_sent: true, timeout_ms: 5_000, .. }), "{hasty}");
    let patient = patient.await.unwrap().unwrap_err();
    assert!(matches!(patient, ClientError::Disconnected { is_sent: true, .. }), "{patient}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_while_the_broker_throttles() {
    let (link, mut broker) = connected(4).await;
    let throttled = ask(&link, 30);
    let id = broker.read().await.correlation_id;
    broker.answer_groups(id, 7_000).await;
    assert_eq!(throttled.await.unwrap(), Ok(7_000));
    assert!(link.is_held_back());
    let from = Instant::now();
    let (patient, hasty) = (ask(&link, 30), ask(&link, 5));
    let hasty = hasty.await.unwrap().unwrap_err();
    assert!(matches!(hasty, ClientError::TimedOut { is_sent: false, timeout_ms: 5_000, .. }), "{hasty}");
    assert!(link.is_open(), "the connection is not to blame");
    let id = broker.read().await.correlation_id;
    assert!(from.elapsed() >= Duration::from_secs(7), "{:?}", from.elapsed());
    broker.answer_groups(id, 0).await;
    assert_eq!(patient.await.unwrap(), Ok(0));
    assert!(!link.is_held_back());
}

#[test]
fn brokers_that_wait_before_they_answer_are_not_waited_for_once_more() {
    let groups = ListGroupsResponse { throttle_time_ms: 5, ..Default::default() };
    let produce = ProduceResponse { throttle_time_ms: 5, ..Default::default() };
    assert_eq!([1, 2].map(|version| throttle::heeded_ms(&groups, version)), [0, 5]);
    assert_eq!([5, 6].map(|version| throttle::heeded_ms(&produce, version)), [0, 5]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_something_else_ends_the_connection() {
    let (link, mut broker) = connected(4).await;
    let asking = ask(&link, 30);
    let id = broker.read().await.correlation_id;
    broker.answer_groups(id + 1, 0).await;
    let error = asking.await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Protocol { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed() {
    let (link, mut broker) = connected_with(4, Some(Duration::from_secs(60))).await;
    tokio::time::sleep(Duration::from_secs(50)).await;
    let asking = ask(&link, 30);
    let id = broker.read().await.correlation_id;
    broker.answer_groups(id, 1).await;
    assert_eq!(asking.await.unwrap(), Ok(1));
    tokio::time::sleep(Duration::from_secs(50)).await;
    assert!(link.is_open());
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(!link.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_frame_is_read_whatever_pieces_it_comes_in() {
    let (link, mut broker) = connected(4).await;
    let asking = ask(&link, 30);
    let id = broker.read().await.correlation_id;
    let answer = ListGroupsResponse { throttle_time_ms: 9, ..Default::default() };
    for byte in encode_response(id, &answer, 3).unwrap().bytes {
        broker.stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(asking.await.unwrap(), Ok(9));
}

#[test]
fn memory_for_answers_does_not_follow_what_is_only_announced() {
    for (announced, capacity_max) in
        [(0, READ_BYTES), (100, READ_BYTES), (i32::MAX, 2 * AHEAD_BYTES_MAX), (-1, READ_BYTES)]
    {
        let mut input = BytesMut::from(&announced.to_be_bytes()[..]);
        make_room(&mut input);
        assert!(
            (READ_BYTES_MIN..=capacity_max + 64).contains(&(input.capacity() - 4)),
            "{}",
            input.capacity()
        );
    }
}
