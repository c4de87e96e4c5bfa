//! Connections over real sockets, with a handler that stands in for the node.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use ottla_broker::exchange::{Connection, FilePart, Handler, Part, Reply, ReplySlot, ResponseFrame};
use ottla_log::disk::DiskFile;
use ottla_server::clock::Clock;
use ottla_server::network::connection::ConnectionSettings;
use ottla_server::network::limits::ConnectionLimitSettings;
use ottla_server::network::{
    ConnectionLimits, Listener, ListenerSettings, NetworkThreads, RequestMemory, SocketSettings,
};
use ottla_server::threads::Readers;
use ottla_types::Now;
use parking_lot::{Condvar, Mutex};

const PRODUCE: i16 = 0;
const METADATA: i16 = 3;
/// The byte after the API key tells [`Scripted`] what to do.
const ECHO: u8 = b'e';
const HOLD: u8 = b'h';
/// As [`HOLD`], and no other is to overtake it.
const HOLD_FIRST: u8 = b'H';
const RELEASE: u8 = b'r';
const FORGET: u8 = b'f';
const SILENT: u8 = b's';
const COLD: u8 = b'c';
/// What the answer to [`COLD`] has: more than one system call sends.
const COLD_BYTES: u64 = 3_000_000;

#[derive(Default)]
struct Scripted {
    held: Mutex<Vec<(ReplySlot, Bytes)>>,
    handled: AtomicUsize,
    closed: AtomicUsize,
    cold: Arc<Cold>,
}

fn reply(frame: &Bytes) -> Reply {
    let mut head = BytesMut::new();
    head.put_u32(frame.len() as u32);
    Reply::Send(ResponseFrame { parts: vec![Part::Bytes(head.freeze()), Part::Bytes(frame.clone())] })
}

impl Handler for Scripted {
    fn handle(&self, connection: &Arc<Connection>, frame: Bytes, _: Now, slot: ReplySlot) {
        self.handled.fetch_add(1, Ordering::SeqCst);
        match frame[2] {
            HOLD => self.held.lock().push((slot, frame)),
            HOLD_FIRST => {
                connection.hold();
                self.held.lock().push((slot, frame));
            }
            FORGET => drop(slot),
            SILENT => slot.send(Reply::Nothing),
            COLD => {
                let mut head = BytesMut::new();
                head.put_u32(COLD_BYTES as u32);
                let file = FilePart { file: Arc::clone(&self.cold) as _, position: 0, len: COLD_BYTES };
                let parts = vec![Part::Bytes(head.freeze()), Part::File(file)];
                slot.send(Reply::Send(ResponseFrame { parts }));
            }
            RELEASE => {
                slot.send(reply(&frame));
                for (slot, frame) in self.held.lock().drain(..).rev() {
                    slot.send(reply(&frame));
                }
            }
            _ => slot.send(reply(&frame)),
        }
    }

    fn closed(&self, _: &Connection) {
        self.closed.fetch_add(1, Ordering::SeqCst);
    }
}

struct Server {
    address: SocketAddr,
    handler: Arc<Scripted>,
    limits: Arc<ConnectionLimits>,
    _threads: Arc<NetworkThreads>,
}

struct Options {
    idle_max: Option<Duration>,
    network_threads: usize,
    in_flight_max: usize,
    memory_bytes: i64,
    limits: ConnectionLimitSettings,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            idle_max: None,
            network_threads: 2,
            in_flight_max: 500,
            memory_bytes: -1,
            limits: ConnectionLimitSettings::default(),
        }
    }
}

fn serve(options: Options) -> Server {
    let handler = Arc::new(Scripted::default());
    let threads = Arc::new(NetworkThreads::start(options.network_threads).unwrap());
    let settings = ListenerSettings {
        name: Arc::from("PLAINTEXT"),
        address: "127.0.0.1:0".parse().unwrap(),
        is_controller: false,
        socket: SocketSettings { send_buffer_bytes: -1, receive_buffer_bytes: -1, listen_backlog: 50 },
    };
    let listener = Listener::bind(settings).unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(ConnectionSettings {
        idle_max: options.idle_max,
        request_bytes_max: 1024 * 1024,
        wide_send_buffer_bytes: None,
        requests_in_flight_max: options.in_flight_max,
        memory: Arc::new(RequestMemory::new(options.memory_bytes)),
        readers: Arc::new(Readers::new(1)),
        clock: Clock::start(),
    });
    let limits = Arc::new(ConnectionLimits::new(options.limits, Arc::default()));
    let (on, node, of_server) = (Arc::clone(&threads), Arc::clone(&handler), Arc::clone(&limits));
    threads.spawn(async move {
        listener.serve(node, connections, limits, on, || false).await.unwrap();
    });
    Server { address, handler, limits: of_server, _threads: threads }
}

impl Server {
    fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Client(stream)
    }

    /// Waits until the handler has seen so many requests.
    fn await_handled(&self, count: usize) {
        for _ in 0..1000 {
            if self.handler.handled.load(Ordering::SeqCst) >= count {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("only {} requests were handled", self.handler.handled.load(Ordering::SeqCst));
    }
}

struct Client(TcpStream);

impl Client {
    fn request(api_key: i16, action: u8, tail: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        frame.put_u32(3 + tail.len() as u32);
        frame.put_i16(api_key);
        frame.put_u8(action);
        frame.put_slice(tail);
        frame
    }

    fn send(&mut self, api_key: i16, action: u8, tail: &[u8]) {
        self.0.write_all(&Client::request(api_key, action, tail)).unwrap();
    }

    fn receive(&mut self) -> Vec<u8> {
        let mut len = [0; 4];
        self.0.read_exact(&mut len).unwrap();
        let mut frame = vec![0; u32::from_be_bytes(len) as usize];
        self.0.read_exact(&mut frame).unwrap();
        frame.split_off(3)
    }

    fn assert_closed(&mut self) {
        let mut byte = [0];
        match self.0.read(&mut byte) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("not closed: {other:?}"),
        }
    }

    fn assert_silent(&mut self) {
        self.0.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let error = self.0.read(&mut [0]).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
        self.0.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    }
}

#[test]
fn frames_may_arrive_in_any_pieces() {
    let server = serve(Options::default());
    let mut client = server.connect();
    let large = vec![7; 300_000];
    let mut bytes = Client::request(METADATA, ECHO, b"one");
    bytes.extend(Client::request(METADATA, ECHO, b"two"));
    bytes.extend(Client::request(METADATA, ECHO, &large));
    for piece in bytes.chunks(65_537).flat_map(|c| [&c[..1], &c[1..]]) {
        client.0.write_all(piece).unwrap();
    }
    assert_eq!(client.receive(), b"one");
    assert_eq!(client.receive(), b"two");
    assert_eq!(client.receive(), large);
}

#[test]
fn produce_requests_are_taken_while_earlier_ones_wait_and_answered_in_order() {
    let server = serve(Options::default());
    let mut client = server.connect();
    client.send(PRODUCE, HOLD, b"1");
    client.send(PRODUCE, HOLD, b"2");
    client.send(PRODUCE, RELEASE, b"3");
    for expected in [b"1", b"2", b"3"] {
        assert_eq!(client.receive(), expected);
    }
}

#[test]
fn produce_requests_wait_for_one_that_must_not_be_overtaken() {
    let server = serve(Options::default());
    let (mut client, mut other) = (server.connect(), server.connect());
    client.send(PRODUCE, HOLD_FIRST, b"1");
    client.send(PRODUCE, HOLD, b"2");
    client.send(PRODUCE, HOLD, b"3");
    server.await_handled(1);
    client.assert_silent();
    assert_eq!(server.handler.handled.load(Ordering::SeqCst), 1);
    other.send(METADATA, RELEASE, b"x");
    assert_eq!(client.receive(), b"1");
    // From then on they follow each other again.
    server.await_handled(4);
    other.send(METADATA, RELEASE, b"y");
    assert_eq!(client.receive(), b"2");
    assert_eq!(client.receive(), b"3");
}

#[test]
fn other_requests_wait_for_the_one_before() {
    let server = serve(Options::default());
    let (mut client, mut other) = (server.connect(), server.connect());
    client.send(METADATA, HOLD, b"1");
    client.send(METADATA, ECHO, b"2");
    server.await_handled(1);
    client.assert_silent();
    assert_eq!(server.handler.handled.load(Ordering::SeqCst), 1);
    other.send(METADATA, RELEASE, b"x");
    assert_eq!(client.receive(), b"1");
    assert_eq!(client.receive(), b"2");
}

#[test]
fn requests_in_flight_are_bounded() {
    let server = serve(Options { in_flight_max: 2, ..Options::default() });
    let (mut client, mut other) = (server.connect(), server.connect());
    for i in 0..5 {
        client.send(PRODUCE, HOLD, &[i]);
    }
    server.await_handled(2);
    client.assert_silent();
    assert_eq!(server.handler.handled.load(Ordering::SeqCst), 2);
    for i in 0..5 {
        other.send(PRODUCE, RELEASE, b"");
        other.receive();
        if i % 2 == 0 {
            server.await_handled(2 + i as usize + 1);
        }
    }
    assert_eq!(client.receive(), [0]);
}

#[test]
fn a_client_is_not_read_from_while_it_has_as_many_requests_in_flight_as_it_may() {
    let server = serve(Options { in_flight_max: 1, ..Options::default() });
    let mut client = server.connect();
    client.send(PRODUCE, HOLD, b"");
    server.await_handled(1);
    client.0.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    // Far more than what the sockets' buffers take.
    let requests = Client::request(PRODUCE, HOLD, &[0; 1024 * 1024 - 3]);
    let taken = (0..64).take_while(|_| client.0.write_all(&requests).is_ok()).count();
    assert!(taken < 64, "the server keeps what it can't handle");
}

#[test]
fn what_was_answered_before_a_close_is_sent() {
    let server = serve(Options::default());
    let (mut client, mut other) = (server.connect(), server.connect());
    client.send(PRODUCE, HOLD, b"1");
    client.send(PRODUCE, FORGET, b"2");
    server.await_handled(2);
    other.send(PRODUCE, RELEASE, b"");
    assert_eq!(client.receive(), b"1");
    client.assert_closed();
}

#[test]
fn threads_that_are_stopped_close_their_connections_whoever_still_has_them() {
    let server = serve(Options::default());
    let mut client = server.connect();
    client.send(METADATA, HOLD, b"1");
    server.await_handled(1);
    let elsewhere = Arc::clone(&server._threads);
    server._threads.stop();
    client.assert_closed();
    assert_eq!(server.handler.closed.load(Ordering::SeqCst), 1, "before the stop is over");
    elsewhere.resize(2).unwrap();
    elsewhere.spawn(async { panic!("nothing runs any more") });
    elsewhere.stop();
}

#[test]
fn a_request_without_an_answer_does_not_hold_up_the_next() {
    let server = serve(Options::default());
    let mut client = server.connect();
    client.send(PRODUCE, SILENT, b"1");
    client.send(METADATA, ECHO, b"2");
    assert_eq!(client.receive(), b"2");
}

#[test]
fn lengths_out_of_bounds_close_the_connection_and_only_that() {
    let server = serve(Options::default());
    let mut other = server.connect();
    for size in [-1, i32::MIN, 1024 * 1024 + 1, i32::MAX, 0x1603_0100] {
        let mut client = server.connect();
        client.0.write_all(&size.to_be_bytes()).unwrap();
        client.assert_closed();
    }
    other.send(METADATA, ECHO, b"still here");
    assert_eq!(other.receive(), b"still here");
}

#[test]
fn a_request_that_was_dropped_closes_the_connection() {
    let server = serve(Options::default());
    let mut client = server.connect();
    client.send(METADATA, FORGET, b"");
    client.assert_closed();
    for _ in 0..1000 {
        if server.handler.closed.load(Ordering::SeqCst) == 1 {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the handler was not told");
}

#[test]
fn an_idle_connection_is_closed_and_one_that_waits_for_its_answer_is_not() {
    let server = serve(Options { idle_max: Some(Duration::from_millis(200)), ..Options::default() });
    let (mut idle, mut waiting) = (server.connect(), server.connect());
    waiting.send(METADATA, HOLD, b"late");
    idle.assert_closed();
    std::thread::sleep(Duration::from_millis(300));
    let mut other = server.connect();
    other.send(METADATA, RELEASE, b"");
    assert_eq!(waiting.receive(), b"late");
}

#[test]
fn an_address_over_its_limit_is_closed_at_once() {
    let limits = ConnectionLimitSettings { max_connections_per_ip: 1, ..Default::default() };
    let server = serve(Options { limits, ..Options::default() });
    let mut first = server.connect();
    first.send(METADATA, ECHO, b"1");
    assert_eq!(first.receive(), b"1");
    server.connect().assert_closed();
}

#[test]
fn connections_over_the_total_wait_until_one_leaves() {
    let limits = ConnectionLimitSettings { max_connections: 1, ..Default::default() };
    let server = serve(Options { limits, ..Options::default() });
    let mut first = server.connect();
    first.send(METADATA, ECHO, b"1");
    assert_eq!(first.receive(), b"1");
    let mut second = server.connect();
    second.send(METADATA, ECHO, b"2");
    second.assert_silent();
    drop(first);
    assert_eq!(second.receive(), b"2");
}

#[test]
fn a_connection_that_has_to_make_room_is_closed() {
    let limits = ConnectionLimitSettings {
        max_connections: 2,
        protected: Some(Arc::from("PLAINTEXT")),
        ..Default::default()
    };
    let server = serve(Options { limits, ..Options::default() });
    let (mut first, mut second, mut third) = (server.connect(), server.connect(), server.connect());
    for client in [&mut first, &mut second, &mut third] {
        client.send(METADATA, ECHO, b"brokers stay");
        assert_eq!(client.receive(), b"brokers stay");
    }
    let lower = ConnectionLimitSettings { max_connections: 1, ..Default::default() };
    server.limits.update(lower);
    first.assert_closed();
    second.assert_closed();
    third.send(METADATA, ECHO, b"active last");
    assert_eq!(third.receive(), b"active last");
}

#[test]
fn request_memory_bounds_what_is_read_and_is_given_back() {
    let server = serve(Options { memory_bytes: 100, ..Options::default() });
    let (mut half, mut other) = (server.connect(), server.connect());
    // The first holds the whole pool while it is not complete.
    half.0.write_all(&Client::request(METADATA, ECHO, &[1; 200])[..100]).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    other.send(METADATA, ECHO, b"other");
    other.assert_silent();
    half.0.write_all(&Client::request(METADATA, ECHO, &[1; 200])[100..]).unwrap();
    assert_eq!(half.receive(), [1; 200]);
    assert_eq!(other.receive(), b"other");
}

/// A file of zeros that has no descriptor.
#[derive(Debug)]
struct Zeros;

impl DiskFile for Zeros {
    fn path(&self) -> std::path::PathBuf {
        "zeros".into()
    }
    fn read_at(&self, buf: &mut [u8], _: u64) -> std::io::Result<usize> {
        buf.fill(0);
        Ok(buf.len())
    }
    fn write_all_at(&self, _: &[std::io::IoSlice<'_>], _: u64) -> std::io::Result<()> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }
    fn len(&self) -> std::io::Result<u64> {
        Ok(u64::MAX)
    }
    fn set_len(&self, _: u64) -> std::io::Result<()> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }
    fn sync(&self) -> std::io::Result<()> {
        Ok(())
    }
    fn rename(&self, _: &std::path::Path) -> std::io::Result<()> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }
    fn descriptor(&self) -> std::io::Result<Option<Arc<std::os::fd::OwnedFd>>> {
        Ok(None)
    }
}

/// A file of zeros on a disk that stands still until it is told to go on. What was read once is in memory.
#[derive(Debug, Default)]
struct Cold {
    state: Mutex<ColdState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct ColdState {
    is_read: bool,
    goes_on: bool,
    in_memory_to: u64,
}

impl Cold {
    fn await_reader(&self) {
        self.changed.wait_while(&mut self.state.lock(), |state| !state.is_read);
    }

    fn go_on(&self) {
        self.state.lock().goes_on = true;
        self.changed.notify_all();
    }
}

impl DiskFile for Cold {
    fn path(&self) -> std::path::PathBuf {
        "cold".into()
    }
    fn read_at(&self, buf: &mut [u8], position: u64) -> std::io::Result<usize> {
        let mut state = self.state.lock();
        state.is_read = true;
        self.changed.notify_all();
        self.changed.wait_while(&mut state, |state| !state.goes_on);
        state.in_memory_to = state.in_memory_to.max(position + buf.len() as u64);
        buf.fill(0);
        Ok(buf.len())
    }
    fn read_at_in_memory(&self, buf: &mut [u8], position: u64) -> std::io::Result<Option<usize>> {
        let is_in_memory = position + buf.len() as u64 <= self.state.lock().in_memory_to;
        Ok(is_in_memory.then_some(buf.len()))
    }
    fn write_all_at(&self, _: &[std::io::IoSlice<'_>], _: u64) -> std::io::Result<()> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }
    fn len(&self) -> std::io::Result<u64> {
        Ok(COLD_BYTES)
    }
    fn set_len(&self, _: u64) -> std::io::Result<()> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }
    fn sync(&self) -> std::io::Result<()> {
        Ok(())
    }
    fn rename(&self, _: &std::path::Path) -> std::io::Result<()> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }
    fn descriptor(&self) -> std::io::Result<Option<Arc<std::os::fd::OwnedFd>>> {
        Ok(None)
    }
}

#[test]
fn what_has_to_come_from_disk_keeps_no_other_connection_waiting() {
    let server = serve(Options { network_threads: 1, ..Options::default() });
    let (mut slow, mut other) = (server.connect(), server.connect());
    slow.send(METADATA, COLD, b"");
    server.handler.cold.await_reader();
    other.send(METADATA, ECHO, b"meanwhile");
    assert_eq!(other.receive(), b"meanwhile");
    // The one that waits may ask on, and goes away whenever it likes.
    slow.send(METADATA, ECHO, b"after it");
    let mut leaving = server.connect();
    leaving.send(METADATA, COLD, b"");
    drop(leaving);
    server.handler.cold.go_on();
    assert_eq!(slow.receive().len() as u64, COLD_BYTES - 3);
    assert_eq!(slow.receive(), b"after it");
}

#[test]
fn parts_of_files_are_sent_in_their_place() {
    use ottla_server::network::outbox::Outbox;

    #[derive(Debug)]
    struct Real(Arc<std::os::fd::OwnedFd>);
    impl DiskFile for Real {
        fn path(&self) -> std::path::PathBuf {
            "real".into()
        }
        fn read_at(&self, _: &mut [u8], _: u64) -> std::io::Result<usize> {
            panic!("it is sent, not read")
        }
        fn write_all_at(&self, _: &[std::io::IoSlice<'_>], _: u64) -> std::io::Result<()> {
            Err(ErrorKind::ReadOnlyFilesystem.into())
        }
        fn len(&self) -> std::io::Result<u64> {
            Ok(26)
        }
        fn set_len(&self, _: u64) -> std::io::Result<()> {
            Err(ErrorKind::ReadOnlyFilesystem.into())
        }
        fn sync(&self) -> std::io::Result<()> {
            Ok(())
        }
        fn rename(&self, _: &std::path::Path) -> std::io::Result<()> {
            Err(ErrorKind::ReadOnlyFilesystem.into())
        }
        fn descriptor(&self) -> std::io::Result<Option<Arc<std::os::fd::OwnedFd>>> {
            Ok(Some(Arc::clone(&self.0)))
        }
    }

    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"abcdefghijklmnopqrstuvwxyz").unwrap();
    let file: Arc<dyn DiskFile> = Arc::new(Real(Arc::new(file.into())));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        stream.writable().await.unwrap();
        let mut outbox = Outbox::default();
        outbox.push(vec![
            Part::Bytes(Bytes::from_static(b"<")),
            Part::File(FilePart { file: Arc::clone(&file), position: 2, len: 3 }),
            Part::Bytes(Bytes::from_static(b"|")),
            Part::Bytes(Bytes::from_static(b"|")),
            Part::File(FilePart { file: Arc::new(Zeros), position: 0, len: 2 }),
            Part::Bytes(Bytes::from_static(b">")),
        ]);
        outbox.send(&stream).unwrap();
        assert!(outbox.is_empty());
        assert_eq!(outbox.len_bytes(), 0);
        // Beyond the end there is nothing to send: an error, not an endless loop.
        outbox.push(vec![Part::File(FilePart { file, position: 20, len: 10 })]);
        assert_eq!(outbox.send(&stream).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        drop(stream);
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        assert_eq!(received, b"<cde||\0\0>uvwxyz");
    });
}
