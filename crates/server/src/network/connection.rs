//! One connection: frames in, handled in place and in order, replies out.
//!
//! Kafka answers the requests of a connection one after the other and takes the next only then. So does this, except
//! that produce requests are taken while earlier ones still wait for their replicas: their order in the log is the
//! order in which they arrived, and their replies keep it too.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use ottla_broker::exchange::{Connection, Handler, Reply, may_take_while_unanswered, peek_api_key};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep};

use super::buffers::{self, READ_BYTES};
use super::limits::{ConnectionPermit, MemoryPermit, RequestMemory};
use super::outbox::{Outbox, Replies, Sent};
use crate::clock::Clock;
use crate::threads::Pool;

/// A client that reads nothing is read from no more once this much waits for it.
const UNSENT_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Frames up to this length get their buffer at once; longer ones as their bytes arrive, so that a claimed length
/// alone allocates nothing.
const EAGER_FRAME_BYTES: usize = 2 * 1024 * 1024;

/// What all connections of a listener share.
#[derive(Debug)]
pub struct ConnectionSettings {
    /// `connections.max.idle.ms`; none where it is negative, which Kafka takes as "never".
    pub idle_max: Option<Duration>,
    /// `socket.request.max.bytes`.
    pub request_bytes_max: usize,
    /// What a connection's send buffer grows to when long stretches of files are sent; none keeps it as it is.
    pub wide_send_buffer_bytes: Option<usize>,
    /// `queued.max.requests`: requests of one connection that are handled and not answered.
    pub requests_in_flight_max: usize,
    pub memory: Arc<RequestMemory>,
    /// Who brings into memory what is to be sent.
    pub readers: Arc<Pool>,
    pub clock: Clock,
}

/// Why a connection ended, where it is worth a log line.
#[derive(Debug, thiserror::Error)]
pub enum Closed {
    #[error("the client closed it")]
    ByClient,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("idle for longer than connections.max.idle.ms")]
    Idle,
    #[error("there are more connections than max.connections")]
    Excess,
    #[error("a request of {size} bytes was announced; socket.request.max.bytes allows {max}")]
    FrameTooLarge { size: i32, max: usize },
    #[error("{0}")]
    Protocol(String),
}

/// Serves the connection until it closes.
pub async fn serve(
    mut stream: TcpStream,
    connection: Arc<Connection>,
    handler: Arc<dyn Handler>,
    settings: Arc<ConnectionSettings>,
    permit: ConnectionPermit,
) {
    let guard = CloseGuard { connection: Arc::clone(&connection), handler: Arc::clone(&handler) };
    let (reader, writer) = stream.split();
    let mut task = Task {
        reader,
        writer,
        connection: &connection,
        handler: &*handler,
        settings: &settings,
        permit: &permit,
        input: Input::default(),
        replies: Arc::default(),
        outbox: Outbox::new(settings.wide_send_buffer_bytes),
        fetching: None,
        last_in_flight: None,
    };
    let closed = match task.run().await {
        Ok(never) => match never {},
        Err(closed) => closed,
    };
    report(&connection, &closed);
    drop(guard);
    drop(permit);
}

fn report(connection: &Connection, closed: &Closed) {
    let (listener, peer) = (&connection.listener, connection.peer);
    match closed {
        Closed::ByClient | Closed::Idle | Closed::Excess | Closed::Io(_) => {
            tracing::debug!(%listener, %peer, reason = %closed, "connection closed");
        }
        Closed::FrameTooLarge { .. } | Closed::Protocol(_) => {
            tracing::warn!(%listener, %peer, reason = %closed, "closed a connection that broke the protocol");
        }
    }
}

/// Tells the handler also when the task is dropped with its runtime.
struct CloseGuard {
    connection: Arc<Connection>,
    handler: Arc<dyn Handler>,
}

impl Drop for CloseGuard {
    fn drop(&mut self) {
        self.handler.closed(&self.connection);
    }
}

enum Never {}

struct Task<'a> {
    reader: ReadHalf<'a>,
    writer: WriteHalf<'a>,
    connection: &'a Arc<Connection>,
    handler: &'a dyn Handler,
    settings: &'a Arc<ConnectionSettings>,
    permit: &'a ConnectionPermit,
    input: Input,
    replies: Arc<Replies>,
    outbox: Outbox,
    /// What is to be sent next comes from disk; told when it is in memory.
    fetching: Option<oneshot::Receiver<io::Result<()>>>,
    /// The API of the last request that is not answered; none if all are.
    last_in_flight: Option<i16>,
}

impl Task<'_> {
    async fn run(&mut self) -> Result<Never, Closed> {
        let idle = self.settings.idle_max.map(tokio::time::sleep);
        tokio::pin!(idle);
        let mut last_active = Instant::now();
        loop {
            self.collect_replies()?;
            let sent = self.send()?;
            if sent == Sent::NotInMemory && self.fetching.is_none() {
                self.fetching = self.outbox.fetch(&self.settings.readers);
            }
            if self.handle_frames()? > 0 {
                continue;
            }
            if sent == Sent::Turn {
                last_active = Instant::now();
                tokio::task::yield_now().await;
                continue;
            }
            let wants_bytes = !self.input.has_frame_waiting() && self.may_handle_more();
            self.input.release();
            let wants_reply = self.replies.in_flight() > 0;
            if wants_reply && !self.replies.prepare_to_wait() {
                continue;
            }
            let memory = &self.settings.memory;
            tokio::select! {
                biased;
                readable = self.reader.readable(), if wants_bytes => {
                    readable?;
                    self.read_once().await?;
                }
                writable = self.writer.writable(), if sent == Sent::Blocked => writable?,
                () = self.replies.arrived.notified(), if wants_reply => {}
                fetched = fetched(&mut self.fetching), if self.fetching.is_some() => {
                    self.fetching = None;
                    fetched?;
                    self.outbox.fetched();
                }
                () = memory.until_available(), if self.input.is_starved => self.input.is_starved = false,
                () = self.permit.told_to_close() => return Err(Closed::Excess),
                () = at(idle.as_mut()), if self.settings.idle_max.is_some() => {
                    self.check_idle(idle.as_mut(), last_active)?;
                    continue;
                }
            }
            last_active = Instant::now();
        }
    }

    /// Reads what is there without waiting: a connection that waits holds no buffer.
    async fn read_once(&mut self) -> Result<(), Closed> {
        self.input.prepare_to_read();
        let read = self.reader.read_buf(&mut self.input.buffer);
        tokio::pin!(read);
        match std::future::poll_fn(|context| Poll::Ready(read.as_mut().poll(context))).await {
            Poll::Ready(Ok(0)) => Err(Closed::ByClient),
            Poll::Ready(Ok(_)) | Poll::Pending => Ok(()),
            Poll::Ready(Err(error)) => Err(error.into()),
        }
    }

    fn collect_replies(&mut self) -> Result<(), Closed> {
        while let Some(reply) = self.replies.take_next() {
            match reply {
                Reply::Send(frame) => self.outbox.push(frame.parts),
                Reply::Nothing => {}
                Reply::Close(reason) => {
                    // The requests before this one were answered: as far as the socket takes it, the client learns that.
                    let _ = self.send();
                    return Err(Closed::Protocol(reason));
                }
            }
        }
        if self.replies.in_flight() == 0 {
            self.last_in_flight = None;
            self.connection.release();
        }
        Ok(())
    }

    fn send(&mut self) -> Result<Sent, Closed> {
        if self.fetching.is_some() {
            Ok(Sent::NotInMemory)
        } else if self.outbox.is_empty() {
            Ok(Sent::All)
        } else {
            Ok(self.outbox.send(self.writer.as_ref())?)
        }
    }

    /// Handles the frames that are there, as far as order and limits allow; returns how many.
    fn handle_frames(&mut self) -> Result<usize, Closed> {
        let mut handled = 0;
        while self.may_handle_more() {
            if !self.input.is_next_complete(self.settings)? || !self.may_take_next() {
                break;
            }
            let (frame, memory) = self.input.take_frame();
            self.last_in_flight = peek_api_key(&frame);
            handled += 1;
            let now = self.settings.clock.now();
            self.permit.active(now.mono);
            self.handler.handle(self.connection, frame, now, self.replies.open_slot());
            drop(memory);
        }
        Ok(handled)
    }

    /// Otherwise nothing is read either: what can't be handled stays with the client.
    fn may_handle_more(&self) -> bool {
        self.outbox.len_bytes() < UNSENT_BYTES_MAX
            && self.replies.in_flight() < self.settings.requests_in_flight_max
    }

    fn may_take_next(&self) -> bool {
        match (self.last_in_flight, self.input.peek_api_key()) {
            (Some(unanswered), Some(next)) if self.replies.in_flight() > 0 => {
                !self.connection.is_held() && may_take_while_unanswered(unanswered, next)
            }
            _ => self.replies.in_flight() == 0,
        }
    }

    fn check_idle(&self, idle: Pin<&mut Option<Sleep>>, last_active: Instant) -> Result<(), Closed> {
        let Some(max) = self.settings.idle_max else { return Ok(()) };
        // A client that waits for its answer is not idle, however long that takes.
        if last_active.elapsed() >= max && self.replies.in_flight() == 0 {
            return Err(Closed::Idle);
        }
        let next = (last_active + max).max(Instant::now() + Duration::from_millis(1));
        if let Some(sleep) = idle.as_pin_mut() {
            sleep.reset(next);
        }
        Ok(())
    }
}

async fn fetched(fetching: &mut Option<oneshot::Receiver<io::Result<()>>>) -> io::Result<()> {
    match fetching {
        // Dropped by readers that are stopped: the connection is about to end as well.
        Some(told) => told.await.unwrap_or_else(|_| Err(io::ErrorKind::Interrupted.into())),
        None => std::future::pending().await,
    }
}

async fn at(sleep: Pin<&mut Option<Sleep>>) {
    if let Some(sleep) = sleep.as_pin_mut() {
        sleep.await;
    }
}

const LENGTH_BYTES: usize = 4;
/// What a connection that waits for the rest of a request may keep in a buffer of its own size.
const HELD_BYTES: usize = 4 * 1024;

/// Received bytes, cut into frames.
#[derive(Debug, Default)]
struct Input {
    buffer: BytesMut,
    /// For the frame at the front, once its length is known.
    memory: Option<MemoryPermit>,
    /// The frame at the front waits for `queued.max.request.bytes`.
    is_starved: bool,
    frame_len: Option<usize>,
}

impl Input {
    /// Whether a whole frame is at the front, with its memory granted.
    fn is_next_complete(&mut self, settings: &ConnectionSettings) -> Result<bool, Closed> {
        let len = match self.frame_len {
            Some(len) => len,
            None => match self.buffer.first_chunk().copied().map(i32::from_be_bytes) {
                None => return Ok(false),
                Some(size) => match usize::try_from(size) {
                    Ok(len) if len <= settings.request_bytes_max => *self.frame_len.insert(len),
                    _ => return Err(Closed::FrameTooLarge { size, max: settings.request_bytes_max }),
                },
            },
        };
        if self.memory.is_none() {
            self.memory = settings.memory.try_acquire(len);
            self.is_starved = self.memory.is_none();
        }
        Ok(self.memory.is_some() && self.buffer.len() >= LENGTH_BYTES + len)
    }

    /// The frame that `is_next_complete` has seen.
    fn take_frame(&mut self) -> (Bytes, Option<MemoryPermit>) {
        let len = self.frame_len.take().unwrap_or(0);
        self.buffer.advance(LENGTH_BYTES);
        (self.buffer.split_to(len).freeze(), self.memory.take())
    }

    fn peek_api_key(&self) -> Option<i16> {
        peek_api_key(self.buffer.get(LENGTH_BYTES..)?)
    }

    /// A frame that can't be taken yet is reason not to read on.
    fn has_frame_waiting(&self) -> bool {
        self.is_starved || self.frame_len.is_some_and(|len| self.buffer.len() >= LENGTH_BYTES + len)
    }

    fn prepare_to_read(&mut self) {
        if self.buffer.is_empty() {
            self.release();
            self.buffer = buffers::take();
        }
        let missing = match self.frame_len {
            Some(len) => (LENGTH_BYTES + len).saturating_sub(self.buffer.len()),
            None => READ_BYTES,
        };
        let room = missing.clamp(READ_BYTES, EAGER_FRAME_BYTES.max(self.buffer.len()));
        if self.buffer.capacity() - self.buffer.len() < room.min(missing).max(1) {
            self.buffer.reserve(room);
        }
    }

    /// Gives the buffer back if it holds nothing, or so little that it is kept better in one of its own size: clients that
    /// begin a request and don't go on hold no more than they sent.
    fn release(&mut self) {
        let held = self.buffer.len();
        if held > 0 && (held > HELD_BYTES || self.buffer.capacity() < READ_BYTES) {
            return;
        }
        let kept = BytesMut::from(&self.buffer[..]);
        let mut buffer = std::mem::replace(&mut self.buffer, kept);
        buffer.clear();
        if buffer.capacity() > 0 {
            buffers::give_back(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_request_keeps_no_receive_buffer() {
        let mut input = Input::default();
        let beginning = [0, 0, 1, 0, 7];
        input.prepare_to_read();
        input.buffer.extend_from_slice(&beginning);
        input.release();
        assert_eq!(input.buffer[..], beginning);
        assert!(input.buffer.capacity() <= HELD_BYTES);

        input.prepare_to_read();
        assert!(input.buffer.capacity() >= READ_BYTES);
        input.buffer.extend_from_slice(&[1; HELD_BYTES]);
        input.release();
        assert_eq!((input.buffer[..5].to_vec(), input.buffer.len()), (beginning.to_vec(), 5 + HELD_BYTES));
        assert!(input.buffer.capacity() >= READ_BYTES, "it is worth its buffer");
    }
}
