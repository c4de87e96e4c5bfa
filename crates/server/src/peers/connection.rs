//! One connection to a node: frames out, frames in, in one order.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use ottla_broker::peers::{PeerAddress, PeerError};
use ottla_broker::process_identity;
use ottla_wire::messages::{ApiVersionsRequest, ApiVersionsResponse};
use ottla_wire::{ApiKey, ErrorCode, FRAME_LENGTH_BYTES, VersionRange, decode_response, encode_request};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Sending;
use crate::clock::Clock;

/// Requests that are sent and not answered at most.
const IN_FLIGHT_MAX: usize = 100;
/// No more is encoded while so much waits for the socket.
const UNSENT_BYTES_MAX: usize = 1024 * 1024;
/// A frame's memory grows with the bytes that have come, whatever its length claims.
const READ_BYTES: usize = 64 * 1024;
/// What a node answers to ApiVersions.
const VERSIONS_BYTES_MAX: usize = 1024 * 1024;

/// Why a connection is no more.
#[derive(Debug, Error)]
pub(crate) enum Ended {
    #[error("the node closed it")]
    Closed,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Protocol(String),
    #[error("there was no answer in time")]
    TimedOut,
    #[error("nothing was sent for connections.max.idle.ms")]
    Idle,
    #[error("nobody sends there any more")]
    Unused,
}

impl Ended {
    /// Whether the other side, or the network, ended it.
    pub fn is_lost(&self) -> bool {
        matches!(self, Ended::Closed | Ended::Io(_))
    }
}

/// A connection whose other side has told what it serves.
pub(crate) struct Connection {
    stream: TcpStream,
    client_id: String,
    served: HashMap<i16, VersionRange>,
    next_correlation_id: i32,
    /// Sent or about to be, in order.
    unanswered: VecDeque<Unanswered>,
    output: BytesMut,
    input: BytesMut,
}

struct Unanswered {
    correlation_id: i32,
    sending: Sending,
}

impl Connection {
    /// `asks_who` also asks which process listens there, which is answered before others are served.
    pub async fn open(to: &PeerAddress, client_id: String, asks_who: bool) -> Result<Connection, Ended> {
        let stream = TcpStream::connect((to.host.as_str(), to.port)).await?;
        stream.set_nodelay(true)?;
        let mut connection = Connection {
            stream,
            client_id,
            served: HashMap::new(),
            next_correlation_id: 0,
            unanswered: VecDeque::new(),
            output: BytesMut::new(),
            input: BytesMut::new(),
        };
        connection.learn_versions(asks_who).await?;
        Ok(connection)
    }

    /// Asks what the node serves. One that is older answers with which version of this request it knows (KIP-511).
    async fn learn_versions(&mut self, asks_who: bool) -> Result<(), Ended> {
        const UNSUPPORTED: i16 = ErrorCode::UnsupportedVersion.code();
        let newest = ApiKey::ApiVersions.facts().broker_versions.map_or(0, |versions| versions.max);
        let mut version = newest;
        loop {
            let answer = self.ask_versions(version, asks_who).await?;
            let is_refused = answer.get(4..6).is_some_and(|code| code == UNSUPPORTED.to_be_bytes());
            let read_as = if is_refused { 0 } else { version };
            let (_, response) = decode_response::<ApiVersionsResponse>(answer, read_as)
                .map_err(|error| Ended::Protocol(format!("ApiVersions can't be read: {error}")))?;
            let ranges = response.api_keys.iter();
            let served: HashMap<i16, VersionRange> = ranges
                .map(|api| (api.api_key, VersionRange::new(api.min_version, api.max_version)))
                .collect();
            if is_refused && version > 0 {
                let known = served.get(&ApiKey::ApiVersions.code()).map_or(0, |range| range.max);
                version = known.min(version - 1);
                continue;
            }
            if response.error_code != 0 {
                return Err(Ended::Protocol(format!("ApiVersions was refused: {}", response.error_code)));
            }
            self.served = served;
            return Ok(());
        }
    }

    async fn ask_versions(&mut self, version: i16, asks_who: bool) -> Result<Bytes, Ended> {
        let mut request = ApiVersionsRequest {
            client_software_name: "ottla".to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..ApiVersionsRequest::default()
        };
        if asks_who && version >= process_identity::VERSION {
            process_identity::ask(&mut request.unknown_tagged_fields);
        }
        let correlation_id = self.take_correlation_id();
        let frame = encode_request(correlation_id, Some(&self.client_id), &request, version)
            .map_err(|error| Ended::Protocol(error.to_string()))?;
        self.stream.write_all(&frame.bytes).await?;
        loop {
            if let Some(answer) = self.take_frame(VERSIONS_BYTES_MAX)? {
                check_correlation(&answer, correlation_id)?;
                return Ok(answer);
            }
            self.read().await?;
        }
    }

    /// Sends requests and hands over their answers until the connection ends.
    pub async fn run(
        &mut self,
        first: Sending,
        requests: &mut mpsc::Receiver<Sending>,
        idle_max: Option<Duration>,
        clock: Clock,
    ) -> Ended {
        self.take(first, clock);
        loop {
            match self.step(requests, idle_max, clock).await {
                Ok(()) => {}
                Err(ended) => return ended,
            }
        }
    }

    async fn step(
        &mut self,
        requests: &mut mpsc::Receiver<Sending>,
        idle_max: Option<Duration>,
        clock: Clock,
    ) -> Result<(), Ended> {
        let deadline = self.unanswered.iter().map(|unanswered| unanswered.sending.deadline).min();
        let idle_until = idle_max.filter(|_| deadline.is_none()).map(|idle| Instant::now() + idle);
        let may_take = self.unanswered.len() < IN_FLIGHT_MAX && self.output.len() < UNSENT_BYTES_MAX;
        tokio::select! {
            readable = self.stream.readable() => {
                readable?;
                self.read_what_is_there()?;
                self.hand_over(clock)?;
            }
            writable = self.stream.writable(), if !self.output.is_empty() => {
                writable?;
                self.write()?;
            }
            next = requests.recv(), if may_take => match next {
                Some(sending) => {
                    self.take(sending, clock);
                    self.write()?;
                }
                None => return Err(Ended::Unused),
            },
            () = until(deadline), if deadline.is_some() => return Err(Ended::TimedOut),
            () = until(idle_until), if idle_until.is_some() => return Err(Ended::Idle),
        }
        Ok(())
    }

    /// Encodes a request for the socket, or fails it if the node serves no version of it.
    fn take(&mut self, mut sending: Sending, clock: Clock) {
        let served = self.served.get(&sending.request.api_key().code()).copied();
        let Some(version) = sending.request.choose_version(served) else {
            return sending.request.failed(PeerError::UnsupportedVersion, clock.now());
        };
        let correlation_id = self.take_correlation_id();
        match sending.request.encode(correlation_id, &self.client_id, version) {
            Ok(frame) => {
                self.output.extend_from_slice(&frame);
                self.unanswered.push_back(Unanswered { correlation_id, sending });
            }
            Err(error) => sending.request.failed(error, clock.now()),
        }
    }

    fn take_correlation_id(&mut self) -> i32 {
        self.next_correlation_id = self.next_correlation_id.wrapping_add(1) & i32::MAX;
        self.next_correlation_id
    }

    fn write(&mut self) -> Result<(), Ended> {
        while !self.output.is_empty() {
            match self.stream.try_write(&self.output) {
                Ok(written) => self.output.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<(), Ended> {
        self.input.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.input).await? {
            0 => Err(Ended::Closed),
            _ => Ok(()),
        }
    }

    fn read_what_is_there(&mut self) -> Result<(), Ended> {
        self.input.reserve(READ_BYTES);
        match self.stream.try_read_buf(&mut self.input) {
            Ok(0) => Err(Ended::Closed),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Hands over the answers that are there.
    fn hand_over(&mut self, clock: Clock) -> Result<(), Ended> {
        loop {
            let Some(oldest) = self.unanswered.front() else {
                let is_silent = self.input.is_empty();
                let unasked = || Err(Ended::Protocol("an answer to nothing that was asked".to_owned()));
                return if is_silent { Ok(()) } else { unasked() };
            };
            let (correlation_id, bytes_max) =
                (oldest.correlation_id, oldest.sending.request.answer_bytes_max);
            let Some(frame) = self.take_frame(bytes_max)? else { return Ok(()) };
            check_correlation(&frame, correlation_id)?;
            if let Some(answered) = self.unanswered.pop_front() {
                answered.sending.request.answered(frame, clock.now());
            }
        }
    }

    /// The next frame without its length, if all of it is there.
    fn take_frame(&mut self, bytes_max: usize) -> Result<Option<Bytes>, Ended> {
        let Some(length) = self.input.first_chunk().copied().map(i32::from_be_bytes) else { return Ok(None) };
        let length = usize::try_from(length).ok().filter(|length| *length <= bytes_max).ok_or_else(|| {
            Ended::Protocol(format!("an answer of {length} bytes was announced; {bytes_max} are allowed"))
        })?;
        if self.input.len() < FRAME_LENGTH_BYTES + length {
            return Ok(None);
        }
        self.input.advance(FRAME_LENGTH_BYTES);
        Ok(Some(self.input.split_to(length).freeze()))
    }

    /// What was not answered, in the order in which it was sent.
    pub fn into_unanswered(self) -> impl Iterator<Item = Sending> {
        self.unanswered.into_iter().map(|unanswered| unanswered.sending)
    }
}

fn check_correlation(frame: &[u8], expected: i32) -> Result<(), Ended> {
    match frame.first_chunk().copied().map(i32::from_be_bytes) {
        Some(found) if found == expected => Ok(()),
        found => Err(Ended::Protocol(format!("an answer to {found:?} where that to {expected} was due"))),
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
