//! A cluster that exists in memory: connections to it are pipes, time is virtual, and everything that it is asked is kept.
//!
//! It does what a cluster does for one client that asks for nothing unusual; a test says where it is to be slow or to fail.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use ottla_record::{BatchBuilder, BatchOptions, NewRecord};
use ottla_types::{Timestamp, Uuid};
use ottla_wire::{
    ApiKey, Decoder, ErrorCode, FRAME_LENGTH_BYTES, Request, Response, decode_request_header, encode_response,
};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep};

use super::answers;
use crate::net::{Connector, Stream};

/// A request, and when and where it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub at_ms: u64,
    /// Which of all connections, in the order in which they were opened.
    pub connection: usize,
    pub node: i32,
    pub api: ApiKey,
    pub version: i16,
    pub client_id: String,
    body: Bytes,
}

impl Seen {
    pub fn read<R: Request>(&self) -> R {
        R::from_bytes(self.body.clone(), self.version).unwrap()
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    Answered,
    /// Answered with this code, where the API has one.
    Refused(ErrorCode),
    Unanswered,
    /// The connection is closed instead.
    Cut,
}

/// What becomes of an attempt to connect.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Dial {
    Accepted,
    Refused,
    Unanswered,
}

#[derive(Clone, Debug)]
pub(crate) struct FakeTopic {
    pub id: Uuid,
    pub is_internal: bool,
    /// What is read from each partition, from offset 0 on.
    pub logs: Vec<Log>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    pub batch: Bytes,
    pub end: i64,
    /// How much producers have added, which nobody reads.
    pub produced: i64,
    /// A share group has it.
    pub is_lent: bool,
}

type Decide<A, B> = Box<dyn FnMut(&A) -> B + Send>;

pub(crate) struct State {
    started: Instant,
    /// Their ids; each is known as the host `b` and its id, and is a bootstrap server too.
    pub nodes: Vec<i32>,
    pub topics: BTreeMap<String, FakeTopic>,
    pub seen: Vec<Seen>,
    /// When which host was connected to.
    pub dialed: Vec<(u64, String)>,
    /// When the client closed which connection.
    pub closed: Vec<(u64, usize)>,
    pub fate: Decide<Seen, Fate>,
    pub dial: Decide<String, Dial>,
    /// None: the cluster takes no metrics.
    pub telemetry: Option<answers::Telemetry>,
    pub epoch: i32,
    /// In answers to fetches.
    pub fetched_bytes: usize,
    connections: usize,
}

/// See the module. Clones are the same cluster.
#[derive(Clone)]
pub(crate) struct Fake(Arc<Mutex<State>>);

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fake").finish_non_exhaustive()
    }
}

impl Fake {
    /// Of nodes 1 and 2, without topics.
    pub fn new() -> Fake {
        Fake(Arc::new(Mutex::new(State {
            started: Instant::now(),
            nodes: vec![1, 2],
            topics: BTreeMap::new(),
            seen: Vec::new(),
            dialed: Vec::new(),
            closed: Vec::new(),
            fate: Box::new(|_| Fate::Answered),
            dial: Box::new(|_| Dial::Accepted),
            telemetry: None,
            epoch: 0,
            fetched_bytes: 0,
            connections: 0,
        })))
    }

    pub fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock())
    }

    pub fn topic(&self, name: &str, partitions: usize) {
        self.with(|state| {
            let id = Uuid([u8::try_from(state.topics.len() + 1).unwrap(); 16]);
            let is_internal = name.starts_with("__");
            let topic = FakeTopic { id, is_internal, logs: vec![Log::default(); partitions] };
            state.topics.insert(name.to_owned(), topic);
        });
    }

    /// Gives a partition so many records, in one batch.
    pub fn load(&self, topic: &str, partition: usize, records: usize) {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for number in 0..records {
            let value = format!("value {number}");
            let timestamp = Timestamp(1);
            let record = NewRecord { timestamp, value: Some(value.as_bytes()), ..NewRecord::default() };
            builder.append(&record).unwrap();
        }
        let batch = Bytes::from(builder.build().unwrap());
        self.with(|state| {
            let log = &mut state.topics.get_mut(topic).unwrap().logs[partition];
            (log.batch, log.end) = (batch, i64::try_from(records).unwrap());
        });
    }

    /// Changes a byte of what a partition's records are.
    pub fn damage(&self, topic: &str, partition: usize) {
        self.with(|state| {
            let log = &mut state.topics.get_mut(topic).unwrap().logs[partition];
            let mut bytes = log.batch.to_vec();
            let value = bytes.len() - 3;
            bytes[value] ^= 1;
            log.batch = bytes.into();
        });
    }

    pub fn on_request(&self, fate: impl FnMut(&Seen) -> Fate + Send + 'static) {
        self.with(|state| state.fate = Box::new(fate));
    }

    pub fn on_dial(&self, dial: impl FnMut(&String) -> Dial + Send + 'static) {
        self.with(|state| state.dial = Box::new(dial));
    }

    /// All requests of a kind so far.
    pub fn seen(&self, api: ApiKey) -> Vec<Seen> {
        self.with(|state| state.seen.iter().filter(|seen| seen.api == api).cloned().collect())
    }

    /// Waits until there were so many requests of a kind, and says which; for hours, if need be.
    pub async fn until_seen(&self, api: ApiKey, count: usize) -> Vec<Seen> {
        for _ in 0..24 * 3_600_000_u64 / 10 {
            let seen = self.seen(api);
            if seen.len() >= count {
                return seen;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("{count} times {api:?} is never seen");
    }

    /// As soon as there is a request of a kind, what it says.
    pub async fn first<R: Request>(&self) -> R {
        self.until_seen(R::API_KEY, 1).await[0].read()
    }

    pub fn now_ms(&self) -> u64 {
        self.with(|state| state.now_ms())
    }

    async fn serve(self, node: i32, connection: usize, mut stream: DuplexStream) {
        let mut input = BytesMut::new();
        loop {
            while let Some(frame) = next_frame(&mut input) {
                let mut d = Decoder::new(frame);
                let header = decode_request_header(&mut d).unwrap();
                let (seen, fate) = self.with(|state| {
                    let seen = Seen {
                        at_ms: state.now_ms(),
                        connection,
                        node,
                        api: header.api_key,
                        version: header.api_version,
                        client_id: header.client_id.unwrap_or_default(),
                        body: d.rest(),
                    };
                    state.seen.push(seen.clone());
                    let fate = (state.fate)(&seen);
                    (seen, fate)
                });
                let refused = match fate {
                    Fate::Answered => ErrorCode::None,
                    Fate::Refused(code) => code,
                    Fate::Unanswered => continue,
                    Fate::Cut => return,
                };
                let (wait_ms, answer) =
                    self.with(|state| answers::answer(state, &seen, header.correlation_id, refused));
                sleep(Duration::from_millis(wait_ms)).await;
                if let Some(answer) = answer
                    && stream.write_all(&answer).await.is_err()
                {
                    break;
                }
            }
            if stream.read_buf(&mut input).await.unwrap_or(0) == 0 {
                self.with(|state| {
                    let now_ms = state.now_ms();
                    state.closed.push((now_ms, connection));
                });
                return;
            }
        }
    }
}

impl State {
    /// That were ever made.
    pub fn connections(&self) -> usize {
        self.connections
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap()
    }

    pub fn leader(&self, partition: usize) -> i32 {
        self.nodes[partition % self.nodes.len()]
    }

    pub fn name_of(&self, id: Uuid) -> Option<String> {
        self.topics.iter().find(|(_, topic)| topic.id == id).map(|(name, _)| name.clone())
    }
}

fn next_frame(input: &mut BytesMut) -> Option<Bytes> {
    let length = usize::try_from(i32::from_be_bytes(*input.first_chunk()?)).unwrap();
    if input.len() < FRAME_LENGTH_BYTES + length {
        return None;
    }
    input.advance(FRAME_LENGTH_BYTES);
    Some(input.split_to(length).freeze())
}

pub(super) fn encode<R: Response>(correlation_id: i32, response: &R, version: i16) -> Bytes {
    encode_response(correlation_id, response, version).unwrap().bytes
}

impl Connector for Fake {
    fn connect<'a>(
        &'a self,
        host: &'a str,
        _port: u16,
    ) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send + 'a>> {
        let (dial, connection) = self.with(|state| {
            let now_ms = state.now_ms();
            state.dialed.push((now_ms, host.to_owned()));
            state.connections += 1;
            ((state.dial)(&host.to_owned()), state.connections)
        });
        Box::pin(async move {
            match dial {
                Dial::Accepted => {}
                Dial::Refused => return Err(io::ErrorKind::ConnectionRefused.into()),
                Dial::Unanswered => std::future::pending().await,
            }
            let node = host.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(1);
            let (client, broker) = duplex(1 << 20);
            tokio::spawn(self.clone().serve(node, connection, broker));
            let (reader, writer) = tokio::io::split(client);
            Ok(Stream::new(reader, writer))
        })
    }
}
