//! Replies of one connection: they arrive in any order, from any thread, and leave in the order of the requests.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use ottla_broker::exchange::{FilePart, Part, Reply, ReplySink, ReplySlot};
use parking_lot::Mutex;
use rustix::net::SendFlags;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};

use crate::threads::Pool;

/// Buffers that one system call sends; the kernel takes up to 1024.
const VECTORS_MAX: usize = 64;

/// Collects replies; shared with whoever answers.
#[derive(Debug, Default)]
pub struct Replies {
    state: Mutex<State>,
    /// Wakes the connection's task when the oldest request is answered while the task waits.
    pub arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The sequence of the oldest request whose reply has not been taken.
    oldest: u64,
    /// Replies to the requests from `oldest` on; `None` while one is not answered.
    replies: VecDeque<Option<Reply>>,
    is_task_waiting: bool,
}

impl Replies {
    /// Opens a slot for the next request.
    pub fn open_slot(self: &Arc<Self>) -> ReplySlot {
        let mut state = self.state.lock();
        let sequence = state.oldest + state.replies.len() as u64;
        state.replies.push_back(None);
        drop(state);
        ReplySlot::new(Arc::clone(self) as Arc<dyn ReplySink>, sequence)
    }

    /// The oldest request's reply, if it is there.
    pub fn take_next(&self) -> Option<Reply> {
        let mut state = self.state.lock();
        if !matches!(state.replies.front(), Some(Some(_))) {
            return None;
        }
        state.oldest += 1;
        state.replies.pop_front().flatten()
    }

    /// Requests without a reply that has been taken.
    pub fn in_flight(&self) -> usize {
        self.state.lock().replies.len()
    }

    /// To be called before waiting for `arrived`: false if the oldest reply is there already.
    pub fn prepare_to_wait(&self) -> bool {
        let mut state = self.state.lock();
        state.is_task_waiting = !matches!(state.replies.front(), Some(Some(_)));
        state.is_task_waiting
    }
}

impl ReplySink for Replies {
    fn reply(&self, sequence: u64, reply: Reply) {
        let mut state = self.state.lock();
        let Some(place) =
            sequence.checked_sub(state.oldest).and_then(|i| state.replies.get_mut(usize::try_from(i).ok()?))
        else {
            debug_assert!(false, "a slot is answered once");
            return;
        };
        *place = Some(reply);
        let wakes = sequence == state.oldest && std::mem::take(&mut state.is_task_waiting);
        drop(state);
        if wakes {
            self.arrived.notify_one();
        }
    }
}

/// What one turn of a connection sends at most: a large answer to a fast reader lets other connections in between.
const TURN_BYTES: u64 = 4 * 1024 * 1024;

/// How far [`Outbox::send`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    All,
    /// The socket takes no more.
    Blocked,
    /// There is more, after others have had their turn.
    Turn,
    /// What comes next would have to be waited for: it is to be [`Outbox::fetch`]ed first.
    NotInMemory,
}

/// Parts that are ready to leave, and how much of the first has left.
#[derive(Debug, Default)]
pub struct Outbox {
    parts: VecDeque<Part>,
    bytes: u64,
    /// If the first part is one of a file: up to here the file is known to be in memory.
    in_memory_to: u64,
    /// What the socket's send buffer is widened to with the first long stretch of a file; none once that is done.
    wide_buffer_bytes: Option<usize>,
}

impl Outbox {
    /// `wide_buffer_bytes`: what the send buffer grows to with the first long stretch of a file; none leaves it as it is.
    pub fn new(wide_buffer_bytes: Option<usize>) -> Outbox {
        Outbox { wide_buffer_bytes, ..Outbox::default() }
    }

    pub fn push(&mut self, parts: Vec<Part>) {
        for part in parts {
            let len = part_len(&part);
            if len > 0 {
                self.bytes += len;
                self.parts.push_back(part);
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Bytes that wait to be sent.
    pub fn len_bytes(&self) -> u64 {
        self.bytes
    }

    /// Sends until all has left, the socket takes no more, the disk would have to be waited for, or the thread's other
    /// connections should have their turn.
    pub fn send(&mut self, stream: &TcpStream) -> io::Result<Sent> {
        let mut turn_bytes = TURN_BYTES;
        while let Some(first) = self.parts.front() {
            let sent = match first {
                Part::Bytes(_) => self.send_bytes(stream, turn_bytes),
                Part::File(part) => {
                    if part.position >= self.in_memory_to {
                        let end = chunk_end(part);
                        if !is_in_memory(part, end)? {
                            return Ok(Sent::NotInMemory);
                        }
                        self.in_memory_to = end;
                    }
                    if part.len >= WIDE_BUFFER_FROM_BYTES
                        && let Some(bytes) = self.wide_buffer_bytes.take()
                    {
                        SockRef::from(stream).set_send_buffer_size(bytes)?;
                    }
                    send_file(stream, part, turn_bytes.min(self.in_memory_to - part.position))
                }
            };
            match sent {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => {
                    self.advance(sent as u64);
                    turn_bytes = turn_bytes.saturating_sub(sent as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Sent::Blocked),
                Err(error) => return Err(error),
            }
            if turn_bytes == 0 && self.bytes > 0 {
                return Ok(Sent::Turn);
            }
        }
        Ok(Sent::All)
    }

    /// Has what comes next read by a thread that may wait for it, and yields where that is told: then
    /// [`Outbox::fetched`] is to be called before anything more is sent. None if there is nothing to fetch.
    pub fn fetch(&self, readers: &Pool) -> Option<oneshot::Receiver<io::Result<()>>> {
        let Some(Part::File(part)) = self.parts.front() else { return None };
        let (part, end) = (part.clone(), chunk_end(part));
        let (tell, told) = oneshot::channel();
        readers.run(Box::new(move || {
            // The connection may be gone.
            let _ = tell.send(read_through(&part, end));
        }));
        Some(told)
    }

    /// What was to be fetched is sent next, even if it has left memory again.
    pub fn fetched(&mut self) {
        if let Some(Part::File(part)) = self.parts.front() {
            self.in_memory_to = chunk_end(part);
        }
    }

    /// Sends up to `bytes_max` of what is in front of the next file: a reader may be so fast that the socket never fills.
    fn send_bytes(&self, stream: &TcpStream, bytes_max: u64) -> io::Result<usize> {
        let mut vectors: Vec<IoSlice<'_>> = Vec::with_capacity(self.parts.len().min(VECTORS_MAX));
        let mut left = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let mut is_file_next = false;
        for part in self.parts.iter().take(VECTORS_MAX) {
            match part {
                Part::Bytes(_) if left == 0 => break,
                Part::Bytes(bytes) => {
                    let sent = bytes.get(..left).unwrap_or(bytes);
                    left -= sent.len();
                    vectors.push(IoSlice::new(sent));
                }
                Part::File(_) => {
                    is_file_next = true;
                    break;
                }
            }
        }
        if !is_file_next {
            return stream.try_io(Interest::WRITABLE, || {
                rustix::net::sendmsg(stream, &vectors, &mut Default::default(), SendFlags::NOSIGNAL)
                    .map_err(io::Error::from)
            });
        }
        // What `sendfile` adds goes into the same packet.
        let flags = SendFlags::NOSIGNAL | SendFlags::MORE;
        stream.try_io(Interest::WRITABLE, || {
            rustix::net::sendmsg(stream, &vectors, &mut Default::default(), flags).map_err(io::Error::from)
        })
    }

    fn advance(&mut self, sent: u64) {
        let mut left = sent;
        self.bytes -= sent;
        while left > 0 {
            let Some(part) = self.parts.front_mut() else { return };
            let len = part_len(part);
            if len <= left {
                left -= len;
                self.parts.pop_front();
                self.in_memory_to = 0;
                continue;
            }
            match part {
                Part::Bytes(bytes) => bytes.advance(left as usize),
                Part::File(file) => {
                    file.position += left;
                    file.len -= left;
                }
            }
            return;
        }
    }
}

fn part_len(part: &Part) -> u64 {
    match part {
        Part::Bytes(bytes) => bytes.len() as u64,
        Part::File(file) => file.len,
    }
}

/// A stretch of a file from this length on is worth a wider send buffer: what is queued of it are references to the page
/// cache, and the client takes it in fewer, larger steps, each of which costs a wakeup.
const WIDE_BUFFER_FROM_BYTES: u64 = 128 * 1024;

/// One `sendfile` call keeps to this, so that one large answer does not hold up the thread's other connections.
const SENDFILE_BYTES_MAX: u64 = 1024 * 1024;

/// Parts up to this length are sent without a look at whether they are in memory: their place was found by reading their
/// beginning, and the system reads ahead by about as much.
const UNCHECKED_BYTES_MAX: u64 = 32 * 1024;

/// Where the stretch of a file ends that is sent next.
fn chunk_end(part: &FilePart) -> u64 {
    part.position + part.len.min(SENDFILE_BYTES_MAX)
}

/// Whether a stretch can be sent without waiting for the disk. Its ends speak for it: what is read ahead, and what memory
/// has no more room for, are stretches too.
fn is_in_memory(part: &FilePart, end: u64) -> io::Result<bool> {
    if part.len <= UNCHECKED_BYTES_MAX {
        return Ok(true);
    }
    let mut byte = [0];
    let last = end.saturating_sub(1);
    Ok(part.file.read_at_in_memory(&mut byte, part.position)?.is_some()
        && part.file.read_at_in_memory(&mut byte, last)?.is_some())
}

/// Reads a stretch for the sake of having it in memory.
fn read_through(part: &FilePart, end: u64) -> io::Result<()> {
    let mut chunk = vec![0; 128 * 1024];
    let mut position = part.position;
    while position < end {
        let wanted = chunk.len().min((end - position) as usize);
        let Some(into) = chunk.get_mut(..wanted) else { break };
        match part.file.read_at(into, position)? {
            // Sending finds out that the file has become shorter.
            0 => break,
            read => position += read as u64,
        }
    }
    Ok(())
}

fn send_file(stream: &TcpStream, part: &FilePart, bytes_max: u64) -> io::Result<usize> {
    let Some(descriptor) = part.file.descriptor()? else { return send_copy(stream, part) };
    let mut position = part.position;
    let len = part.len.min(bytes_max) as usize;
    let sent = stream.try_io(Interest::WRITABLE, || {
        rustix::fs::sendfile(stream, &*descriptor, Some(&mut position), len).map_err(io::Error::from)
    })?;
    if sent == 0 {
        return Err(missing_bytes(part));
    }
    Ok(sent)
}

/// For files without a descriptor.
fn send_copy(stream: &TcpStream, part: &FilePart) -> io::Result<usize> {
    let mut chunk = vec![0; part.len.min(64 * 1024) as usize];
    let read = part.file.read_at(&mut chunk, part.position)?;
    chunk.truncate(read);
    if chunk.is_empty() {
        return Err(missing_bytes(part));
    }
    let chunk = Bytes::from(chunk);
    stream.try_io(Interest::WRITABLE, || {
        rustix::net::send(stream, &chunk, SendFlags::NOSIGNAL).map_err(io::Error::from)
    })
}

/// The length of the response is already out: the connection can't go on without these bytes.
fn missing_bytes(part: &FilePart) -> io::Error {
    let path = part.file.path();
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        format!("{} ends before position {} + {}", path.display(), part.position, part.len),
    )
}

#[cfg(test)]
mod tests {
    use ottla_broker::exchange::ResponseFrame;

    use ottla_log::disk::{Disk, Open, RealDisk};

    use super::*;

    fn frame(text: &'static str) -> Reply {
        Reply::Send(ResponseFrame { parts: vec![Part::Bytes(Bytes::from_static(text.as_bytes()))] })
    }

    fn text(reply: Option<Reply>) -> String {
        match reply {
            Some(Reply::Send(frame)) => format!("{:?}", frame.parts),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn replies_leave_in_the_order_of_their_requests() {
        let replies = Arc::new(Replies::default());
        let (first, second, third) = (replies.open_slot(), replies.open_slot(), replies.open_slot());
        third.send(frame("3"));
        assert!(replies.take_next().is_none());
        first.send(frame("1"));
        assert!(text(replies.take_next()).contains("\"1\""));
        assert!(replies.take_next().is_none());
        second.send(Reply::Nothing);
        assert_eq!(text(replies.take_next()), "Some(Nothing)");
        assert!(text(replies.take_next()).contains("\"3\""));
        assert_eq!(replies.in_flight(), 0);
    }

    #[tokio::test]
    async fn a_large_answer_leaves_in_turns() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut reader, _) = listener.accept().unwrap();
        let reading = std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()).unwrap());
        let mut outbox = Outbox::default();
        // More than the socket's buffer holds, so that a turn ends with the reader's help alone.
        let total = 3 * TURN_BYTES + 1;
        let chunk = Bytes::from(vec![0; TURN_BYTES as usize / 8]);
        let mut left = total;
        while left > 0 {
            let len = left.min(chunk.len() as u64);
            outbox.push(vec![Part::Bytes(chunk.slice(..len as usize))]);
            left -= len;
        }
        loop {
            let before = outbox.len_bytes();
            let sent = outbox.send(&stream).unwrap();
            let sent_bytes = before - outbox.len_bytes();
            assert!(sent_bytes <= TURN_BYTES, "{sent_bytes}");
            match sent {
                Sent::All => break,
                Sent::Blocked => stream.writable().await.unwrap(),
                Sent::Turn => assert_eq!(sent_bytes, TURN_BYTES),
                Sent::NotInMemory => unreachable!("there are no files"),
            }
        }
        drop(stream);
        assert_eq!(reading.join().unwrap(), total);
    }

    #[tokio::test]
    async fn a_long_stretch_of_a_file_widens_the_send_buffer() {
        let sent = async |file_bytes: u64, wide_buffer_bytes| {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            SockRef::from(&stream).set_send_buffer_size(20_000).unwrap();
            let dir = tempfile::tempdir().unwrap();
            let file = RealDisk::new(4).open(&dir.path().join("f"), Open::Create).unwrap();
            file.write_all_at(&[IoSlice::new(&vec![1; file_bytes as usize])], 0).unwrap();
            let mut outbox = Outbox::new(wide_buffer_bytes);
            outbox.push(vec![Part::File(FilePart { file, position: 0, len: file_bytes })]);
            stream.writable().await.unwrap();
            outbox.send(&stream).unwrap();
            SockRef::from(&stream).send_buffer_size().unwrap()
        };
        // Linux reserves as much again for its own use.
        assert_eq!(sent(WIDE_BUFFER_FROM_BYTES, Some(100_000)).await, 200_000);
        assert_eq!(sent(WIDE_BUFFER_FROM_BYTES - 1, Some(100_000)).await, 40_000);
        assert_eq!(sent(WIDE_BUFFER_FROM_BYTES, None).await, 40_000);
    }

    #[test]
    fn a_slot_that_is_dropped_closes_the_connection() {
        let replies = Arc::new(Replies::default());
        drop(replies.open_slot());
        assert!(matches!(replies.take_next(), Some(Reply::Close(_))));
    }
}
