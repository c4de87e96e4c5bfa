//! One open connection: requests out, answers in, in one order.
//!
//! A task owns the socket. It ends when the connection does, when a request is not answered in time (answers come in
//! order, so nothing behind it can be hoped for), when nothing was sent for long, or when nobody holds the [`Link`]
//! any more. Whatever was under way then hears of it. Memory is bounded: so many requests wait, so many are under way.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use ottla_wire::{Request, decode_response, encode_request_pieces};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::Instrument;

use super::dial::{Dialed, check_correlation, take_frame};
use super::versions::ServedVersions;
use crate::error::ClientError;
use crate::telemetry::Spread;

mod throttle;

/// Requests that are sent and not answered at most.
const IN_FLIGHT_MAX: usize = 100;
/// Requests that wait for the socket at most.
const QUEUED_MAX: usize = 100;
/// New memory for answers comes in such pieces, which many small answers share.
const READ_BYTES: usize = 64 * 1024;
const READ_BYTES_MIN: usize = 4 * 1024;
/// A frame's memory grows with the bytes that have come, whatever its length claims: no more than this goes ahead of them.
const AHEAD_BYTES_MAX: usize = 1024 * 1024;
/// No broker answers with more than the protocol's lengths can say; what is announced is not allocated.
const ANSWER_BYTES_MAX: usize = i32::MAX as usize;
/// Pieces that one system call takes.
const PIECES_MAX: usize = 256;

/// Why a connection is no more.
#[derive(Clone, Debug, Error)]
pub(crate) enum Ended {
    #[error("the broker closed the connection")]
    Closed,
    #[error("{0}")]
    Io(Arc<io::Error>),
    #[error("{0}")]
    Protocol(Arc<str>),
    #[error("an answer did not come within request.timeout.ms")]
    TimedOut,
    #[error("nothing was sent for connections.max.idle.ms")]
    Idle,
    #[error("the client was closed")]
    Unused,
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Ended {
        Ended::Io(Arc::new(error))
    }
}

/// A request on its way to the socket.
struct Outgoing {
    pieces: Vec<Bytes>,
    correlation_id: i32,
    deadline: Instant,
    answer: oneshot::Sender<Result<Bytes, Lost>>,
    /// With acks=0 no answer comes: that the request was written is all there is to know.
    is_answered: bool,
}

/// What became of a request that was not answered.
#[derive(Clone, Debug)]
struct Lost {
    why: Ended,
    is_sent: bool,
    /// This one was late, not one before it.
    is_late: bool,
}

struct Unanswered {
    correlation_id: i32,
    deadline: Instant,
    answer: oneshot::Sender<Result<Bytes, Lost>>,
}

/// What the two directions share.
#[derive(Default)]
struct Shared {
    unanswered: Mutex<VecDeque<Unanswered>>,
    /// There is room for another request under way.
    room: Notify,
    /// A deadline was added to none.
    begun: Notify,
    /// The broker wants nothing to be sent before.
    quiet_until: Mutex<Option<Instant>>,
}

/// See the module. Dropping the last one closes the connection.
pub(crate) struct Link {
    name: Arc<str>,
    client_id: Arc<str>,
    served: Arc<ServedVersions>,
    next_correlation_id: AtomicI32,
    waiting: AtomicUsize,
    requests: mpsc::Sender<Outgoing>,
    shared: Arc<Shared>,
    /// How long answers take, in milliseconds.
    latency: Option<Arc<Spread>>,
}

impl Link {
    /// Starts the task that owns the socket. `name` is what errors call the broker.
    pub fn start(name: Arc<str>, client_id: Arc<str>, dialed: Dialed, idle_max: Option<Duration>) -> Link {
        let (requests, queue) = mpsc::channel(QUEUED_MAX);
        let served = Arc::new(dialed.served);
        let shared = Arc::new(Shared::default());
        let (reader, writer, input) = (dialed.stream.reader, dialed.stream.writer, dialed.input);
        let (of, of_link) = (Arc::clone(&name), Arc::clone(&shared));
        tokio::spawn(async move {
            let (mut queue, mut taken) = (queue, Vec::new());
            let ended = tokio::select! {
                ended = write_requests(writer, &mut queue, &mut taken, &shared) => ended,
                ended = read_answers(reader, input, idle_max, &shared) => ended,
            };
            match ended {
                Ended::Idle | Ended::Unused => {
                    tracing::debug!(broker = %of, reason = %ended, "closed a connection")
                }
                _ => tracing::info!(broker = %of, reason = %ended, "a connection has ended"),
            }
            fail_all(&ended, taken, &mut queue, &shared);
        });
        Link {
            name,
            client_id,
            served,
            next_correlation_id: AtomicI32::new(1),
            waiting: AtomicUsize::new(0),
            requests,
            shared: of_link,
            latency: None,
        }
    }

    /// Notes from now on how long answers take.
    pub fn timed(self, latency: Option<Arc<Spread>>) -> Link {
        Link { latency, ..self }
    }

    fn answered_after(&self, began: Instant) {
        if let Some(latency) = &self.latency {
            latency.note_since(began);
        }
    }

    pub fn is_open(&self) -> bool {
        !self.requests.is_closed()
    }

    pub fn served(&self) -> &Arc<ServedVersions> {
        &self.served
    }

    /// Requests that wait for their answer.
    pub fn load(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Does the broker want nothing to be sent for now?
    pub fn is_held_back(&self) -> bool {
        self.shared.is_quiet_until().is_some()
    }

    /// The version to ask in.
    pub fn choose<R: Request>(&self, version_max: Option<i16>) -> Result<i16, ClientError> {
        let unsupported =
            || ClientError::Unsupported { api: R::API_KEY.name(), node: Arc::clone(&self.name) };
        self.served.choose::<R>(version_max).ok_or_else(unsupported)
    }

    /// Sends a request and waits for its answer, in a span of its own.
    pub async fn ask<R: Request>(
        &self,
        request: &R,
        version: i16,
        timeout: Duration,
    ) -> Result<R::Response, ClientError> {
        let span = tracing::debug_span!("request", api = R::API_KEY.name(), version, broker = %self.name);
        self.exchange(request, version, timeout).instrument(span).await
    }

    async fn exchange<R: Request>(
        &self,
        request: &R,
        version: i16,
        timeout: Duration,
    ) -> Result<R::Response, ClientError> {
        let (outgoing, answered) = self.prepare(request, version, timeout, true)?;
        let (deadline, began) = (outgoing.deadline, Instant::now());
        let _counted = Counted::new(&self.waiting);
        let lost = |lost: Lost| self.lost(R::API_KEY.name(), timeout, &lost);
        let closed = |is_sent| Lost { why: Ended::Closed, is_sent, is_late: false };
        match tokio::time::timeout_at(deadline, self.requests.send(outgoing)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(lost(closed(false))),
            Err(_) => return Err(lost(Lost { why: Ended::TimedOut, is_sent: false, is_late: true })),
        }
        match answered.await {
            Ok(result) => {
                let frame = result.map_err(lost)?;
                self.answered_after(began);
                self.decode::<R>(frame, version)
            }
            Err(_) => Err(lost(closed(true))),
        }
    }

    /// Puts a request in line at once: requests are sent in the order in which they were put there. With `is_answered` false
    /// (Produce with acks=0) it is done once it was written to the socket.
    pub fn begin<R: Request>(
        self: &Arc<Self>,
        request: &R,
        version: i16,
        timeout: Duration,
        is_answered: bool,
    ) -> Result<Begun<R>, ClientError> {
        let (outgoing, answered) = self.prepare(request, version, timeout, is_answered)?;
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let link = Arc::clone(self);
        let begun = Begun { link, answered, version, timeout, began: Instant::now(), request: PhantomData };
        match self.requests.try_send(outgoing) {
            Ok(()) => Ok(begun),
            Err(_) => {
                let lost = Lost { why: Ended::Closed, is_sent: false, is_late: false };
                Err(self.lost(R::API_KEY.name(), timeout, &lost))
            }
        }
    }

    fn prepare<R: Request>(
        &self,
        request: &R,
        version: i16,
        timeout: Duration,
        is_answered: bool,
    ) -> Result<(Outgoing, oneshot::Receiver<Result<Bytes, Lost>>), ClientError> {
        let correlation_id = self.next_correlation_id.fetch_add(1, Ordering::Relaxed) & i32::MAX;
        let pieces = encode_request_pieces(correlation_id, Some(&self.client_id), request, version)
            .map_err(|error| ClientError::misuse(error.to_string()))?;
        let (answer, answered) = oneshot::channel();
        let deadline = Instant::now() + timeout;
        Ok((Outgoing { pieces, correlation_id, deadline, answer, is_answered }, answered))
    }

    fn decode<R: Request>(&self, frame: Bytes, version: i16) -> Result<R::Response, ClientError> {
        let unreadable =
            |why: String| ClientError::Protocol { node: Arc::clone(&self.name), why: why.into() };
        let (_, response) =
            decode_response::<R::Response>(frame, version).map_err(|error| unreadable(error.to_string()))?;
        self.shared.heed(&response, version);
        Ok(response)
    }

    fn lost(&self, api: &'static str, timeout: Duration, lost: &Lost) -> ClientError {
        if lost.is_late {
            let what = format!("{api} to {}", self.name).into();
            let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            return ClientError::TimedOut { what, timeout_ms, is_sent: lost.is_sent, last: None };
        }
        if let Ended::Protocol(why) = &lost.why {
            return ClientError::Protocol { node: Arc::clone(&self.name), why: Arc::clone(why) };
        }
        let why = lost.why.to_string().into();
        ClientError::Disconnected { node: Arc::clone(&self.name), why, is_sent: lost.is_sent }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("name", &self.name)
            .field("is_open", &self.is_open())
            .finish_non_exhaustive()
    }
}

/// A request that is on its way.
pub(crate) struct Begun<R> {
    link: Arc<Link>,
    answered: oneshot::Receiver<Result<Bytes, Lost>>,
    version: i16,
    timeout: Duration,
    began: Instant,
    request: PhantomData<fn() -> R>,
}

impl<R: Request> Begun<R> {
    /// The answer.
    pub async fn answer(mut self) -> Result<R::Response, ClientError> {
        let frame = self.done().await?;
        self.link.answered_after(self.began);
        self.link.decode::<R>(frame, self.version)
    }

    /// For a request that is not answered: it was written to the socket.
    pub async fn written(mut self) -> Result<(), ClientError> {
        self.done().await.map(drop)
    }

    async fn done(&mut self) -> Result<Bytes, ClientError> {
        let closed = Lost { why: Ended::Closed, is_sent: true, is_late: false };
        let result = (&mut self.answered).await.unwrap_or(Err(closed));
        result.map_err(|lost| self.link.lost(R::API_KEY.name(), self.timeout, &lost))
    }
}

impl<R> Drop for Begun<R> {
    fn drop(&mut self) {
        self.link.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts somebody who waits for as long as they do.
struct Counted<'a>(&'a AtomicUsize);

impl Counted<'_> {
    fn new(count: &AtomicUsize) -> Counted<'_> {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Writes what is there with as few system calls as it takes.
async fn write_requests(
    mut writer: Box<dyn AsyncWrite + Send + Unpin>,
    queue: &mut mpsc::Receiver<Outgoing>,
    taken: &mut Vec<Outgoing>,
    shared: &Shared,
) -> Ended {
    let mut pieces = VecDeque::new();
    loop {
        let room = loop {
            let room = IN_FLIGHT_MAX.saturating_sub(shared.unanswered.lock().len());
            if room > 0 {
                break room;
            }
            shared.room.notified().await;
        };
        if queue.recv_many(taken, room).await == 0 {
            return Ended::Unused;
        }
        throttle::hold_back(taken, queue, room, shared).await;
        let mut told = Vec::new();
        {
            let mut unanswered = shared.unanswered.lock();
            for Outgoing { pieces: frame, correlation_id, deadline, answer, is_answered } in taken.drain(..) {
                pieces.extend(frame);
                if is_answered {
                    unanswered.push_back(Unanswered { correlation_id, deadline, answer });
                } else {
                    told.push(answer);
                }
            }
        }
        shared.begun.notify_one();
        if let Err(error) = write_pieces(&mut writer, &mut pieces).await {
            return error.into();
        }
        for answer in told {
            let _ = answer.send(Ok(Bytes::new()));
        }
    }
}

async fn write_pieces(
    writer: &mut Box<dyn AsyncWrite + Send + Unpin>,
    pieces: &mut VecDeque<Bytes>,
) -> io::Result<()> {
    while !pieces.is_empty() {
        let slices: Vec<IoSlice<'_>> =
            pieces.iter().take(PIECES_MAX).map(|piece| IoSlice::new(piece)).collect();
        let mut written = writer.write_vectored(&slices).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while let Some(piece) = pieces.front_mut() {
            if piece.len() > written {
                piece.advance(written);
                break;
            }
            written -= piece.len();
            pieces.pop_front();
        }
    }
    writer.flush().await
}

async fn read_answers(
    mut reader: Box<dyn AsyncRead + Send + Unpin>,
    mut input: BytesMut,
    idle_max: Option<Duration>,
    shared: &Shared,
) -> Ended {
    const LONG: Duration = Duration::from_secs(24 * 60 * 60);
    let idle_max = idle_max.unwrap_or(LONG);
    let mut last_used = Instant::now();
    let timer = sleep_until(last_used + idle_max);
    tokio::pin!(timer);
    loop {
        make_room(&mut input);
        tokio::select! {
            biased;
            read = reader.read_buf(&mut input) => {
                match read {
                    Ok(0) => return Ended::Closed,
                    Ok(_) => {}
                    Err(error) => return error.into(),
                }
                if let Err(ended) = hand_over(&mut input, shared) {
                    return ended;
                }
                last_used = Instant::now();
            }
            () = shared.begun.notified() => {
                last_used = Instant::now();
                let earliest = earliest_deadline(shared).unwrap_or(last_used + idle_max);
                if earliest < timer.deadline() {
                    timer.as_mut().reset(earliest);
                }
            }
            () = timer.as_mut() => {
                let now = Instant::now();
                match earliest_deadline(shared) {
                    Some(deadline) if deadline <= now => return Ended::TimedOut,
                    Some(deadline) => timer.as_mut().reset(deadline),
                    None if last_used + idle_max <= now && idle_max < LONG => return Ended::Idle,
                    None => timer.as_mut().reset(now.max(last_used + idle_max)),
                }
            }
        }
    }
}

/// Room for what is missing of the frame that has begun, or for the next one's start.
fn make_room(input: &mut BytesMut) {
    let announced = input.first_chunk().copied().map_or(0, i32::from_be_bytes);
    let missing = usize::try_from(announced).unwrap_or(0).saturating_sub(input.len());
    if input.capacity() - input.len() < missing.clamp(READ_BYTES_MIN, READ_BYTES) {
        input.reserve(missing.clamp(READ_BYTES, AHEAD_BYTES_MAX));
    }
}

fn earliest_deadline(shared: &Shared) -> Option<Instant> {
    shared.unanswered.lock().iter().map(|unanswered| unanswered.deadline).min()
}

/// Hands over the answers that are there.
fn hand_over(input: &mut BytesMut, shared: &Shared) -> Result<(), Ended> {
    let mut is_freed = false;
    while let Some(frame) = take_frame(input, ANSWER_BYTES_MAX)? {
        let Some(oldest) = shared.unanswered.lock().pop_front() else {
            return Err(Ended::Protocol("an answer to nothing that was asked".into()));
        };
        if let Err(ended) = check_correlation(&frame, oldest.correlation_id) {
            let _ = oldest.answer.send(Err(Lost { why: ended.clone(), is_sent: true, is_late: false }));
            return Err(ended);
        }
        // Whoever asked may have gone.
        let _ = oldest.answer.send(Ok(frame));
        is_freed = true;
    }
    if is_freed {
        shared.room.notify_one();
    }
    Ok(())
}

fn fail_all(ended: &Ended, taken: Vec<Outgoing>, queue: &mut mpsc::Receiver<Outgoing>, shared: &Shared) {
    let now = Instant::now();
    let is_timeout = matches!(ended, Ended::TimedOut);
    for unanswered in shared.unanswered.lock().drain(..) {
        let is_late = is_timeout && unanswered.deadline <= now;
        let _ = unanswered.answer.send(Err(Lost { why: ended.clone(), is_sent: true, is_late }));
    }
    queue.close();
    for outgoing in taken.into_iter().chain(std::iter::from_fn(|| queue.try_recv().ok())) {
        let _ = outgoing.answer.send(Err(Lost { why: ended.clone(), is_sent: false, is_late: false }));
    }
}

#[cfg(test)]
mod tests;
