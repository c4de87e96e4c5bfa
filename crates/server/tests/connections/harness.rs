//! A server whose handler does what each request says, and a client of it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use ottla_broker::exchange::{Connection, FilePart, Handler, Part, Reply, ReplySlot, ResponseFrame};
use ottla_server::clock::Clock;
use ottla_server::network::connection::ConnectionSettings;
use ottla_server::network::limits::ConnectionLimitSettings;
use ottla_server::network::{
    ConnectionLimits, Listener, ListenerSettings, NetworkThreads, RequestMemory, SocketSettings,
};
use ottla_server::threads::{Pool, PoolKind};
use ottla_types::Now;
use parking_lot::Mutex;

use crate::files::{Cold, OnlyRead};

/// Longer than anything takes on a machine that has a lot else to do.
const PATIENCE: Duration = Duration::from_secs(60);

pub const PRODUCE: i16 = 0;
pub const METADATA: i16 = 3;
/// The byte after the API key tells [`Scripted`] what to do.
pub const ECHO: u8 = b'e';
pub const HOLD: u8 = b'h';
/// As [`HOLD`], and no other is to overtake it.
pub const HOLD_FIRST: u8 = b'H';
pub const RELEASE: u8 = b'r';
pub const FORGET: u8 = b'f';
pub const SILENT: u8 = b's';
pub const COLD: u8 = b'c';
/// What the answer to [`COLD`] has: more than one system call sends.
pub const COLD_BYTES: u64 = 3_000_000;

#[derive(Default)]
pub struct Scripted {
    held: Mutex<Vec<(ReplySlot, Bytes)>>,
    pub handled: AtomicUsize,
    pub closed: AtomicUsize,
    pub cold: Arc<OnlyRead<Cold>>,
}

fn reply(frame: &Bytes) -> Reply {
    let mut head = BytesMut::new();
    head.put_u32(frame.len() as u32);
    Reply::Send(ResponseFrame { parts: vec![Part::Bytes(head.freeze()), Part::Bytes(frame.clone())] })
}

impl Scripted {
    /// Answers all that is held, the last one first.
    pub fn release(&self) {
        for (slot, frame) in self.held.lock().drain(..).rev() {
            slot.send(reply(&frame));
        }
    }
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
                self.release();
            }
            _ => slot.send(reply(&frame)),
        }
    }

    fn closed(&self, _: &Connection) {
        self.closed.fetch_add(1, Ordering::SeqCst);
    }
}

pub struct Server {
    address: SocketAddr,
    pub handler: Arc<Scripted>,
    pub limits: Arc<ConnectionLimits>,
    pub memory: Arc<RequestMemory>,
    pub threads: Arc<NetworkThreads>,
}

pub struct Options {
    pub idle_max: Option<Duration>,
    pub network_threads: usize,
    pub in_flight_max: usize,
    pub memory_bytes: i64,
    pub limits: ConnectionLimitSettings,
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

pub fn serve(options: Options) -> Server {
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
    let memory = Arc::new(RequestMemory::new(options.memory_bytes));
    let connections = Arc::new(ConnectionSettings {
        idle_max: options.idle_max,
        request_bytes_max: 1024 * 1024,
        wide_send_buffer_bytes: None,
        requests_in_flight_max: options.in_flight_max,
        memory: Arc::clone(&memory),
        readers: Arc::new(Pool::new(PoolKind::Reader, 1)),
        clock: Clock::start(),
    });
    let limits = Arc::new(ConnectionLimits::new(options.limits, Arc::default()));
    let (on, node, of_server) = (Arc::clone(&threads), Arc::clone(&handler), Arc::clone(&limits));
    threads.spawn(async move {
        listener.serve(node, connections, limits, on, || false).await.unwrap();
    });
    Server { address, handler, limits: of_server, memory, threads }
}

impl Server {
    pub fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client(stream)
    }

    /// Waits until the handler has seen so many requests.
    pub fn await_handled(&self, count: usize) {
        until("the requests are handled", || self.handler.handled.load(Ordering::SeqCst) >= count);
    }
}

/// Waits until `holds` is true.
pub fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub struct Client(pub TcpStream);

impl Client {
    pub fn request(api_key: i16, action: u8, tail: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        frame.put_u32(3 + tail.len() as u32);
        frame.put_i16(api_key);
        frame.put_u8(action);
        frame.put_slice(tail);
        frame
    }

    pub fn send(&mut self, api_key: i16, action: u8, tail: &[u8]) {
        self.0.write_all(&Client::request(api_key, action, tail)).unwrap();
    }

    pub fn receive(&mut self) -> Vec<u8> {
        let mut len = [0; 4];
        self.0.read_exact(&mut len).unwrap();
        let mut frame = vec![0; u32::from_be_bytes(len) as usize];
        self.0.read_exact(&mut frame).unwrap();
        frame.split_off(3)
    }

    pub fn assert_closed(&mut self) {
        let mut byte = [0];
        match self.0.read(&mut byte) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("not closed: {other:?}"),
        }
    }

    pub fn assert_silent(&mut self) {
        self.0.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let error = self.0.read(&mut [0]).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
    }
}
