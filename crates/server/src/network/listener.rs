//! Accepts connections on one address and hands them to the network threads.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ottla_broker::exchange::{Connection, Handler, Held, shown_host};
use ottla_log::disk::is_out_of_files;
use ottla_types::MonoMs;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use super::connection::{self, ConnectionSettings};
use super::limits::{Admission, ConnectionLimits, ConnectionPermit, Full};
use super::threads::NetworkThreads;

/// `socket.*` settings. Sizes are bytes; negative leaves the system's default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketSettings {
    pub send_buffer_bytes: i32,
    pub receive_buffer_bytes: i32,
    pub listen_backlog: i32,
}

/// One entry of `listeners`.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    pub name: Arc<str>,
    pub address: SocketAddr,
    pub is_controller: bool,
    pub socket: SocketSettings,
}

/// A bound listener. Binding is separate from serving, so that a port that is taken is found before anything starts.
#[derive(Debug)]
pub struct Listener {
    settings: ListenerSettings,
    listener: std::net::TcpListener,
}

static NEXT_CONNECTION_ID: AtomicU64 = AtomicU64::new(0);

impl Listener {
    pub fn bind(settings: ListenerSettings) -> io::Result<Listener> {
        let domain = Domain::for_address(settings.address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        // Accepted sockets inherit it, and only if it is set before listening does the window scale follow it.
        if let Ok(bytes) = usize::try_from(settings.socket.receive_buffer_bytes) {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.bind(&settings.address.into())?;
        socket.listen(settings.socket.listen_backlog)?;
        socket.set_nonblocking(true)?;
        Ok(Listener { settings, listener: socket.into() })
    }

    /// The address it is bound to, with the port that the system chose where 0 was asked for.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    pub fn name(&self) -> &Arc<str> {
        &self.settings.name
    }

    /// Accepts until the task is dropped. `give_up_files` closes files that are only kept open for later use, and says
    /// whether there were any; it is called where a connection lacks a descriptor.
    pub async fn serve(
        self,
        handler: Arc<dyn Handler>,
        connections: Arc<ConnectionSettings>,
        limits: Arc<ConnectionLimits>,
        threads: Arc<NetworkThreads>,
        give_up_files: impl Fn() -> bool,
    ) -> io::Result<()> {
        let listener = TcpListener::from_std(self.listener)?;
        let (mut full, mut failing) = (Told::default(), Told::default());
        loop {
            wait_for_room(&limits, &self.settings.name, &mut full).await;
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) if is_out_of_files(&error) && give_up_files() => {
                    tracing::debug!(listener = %self.settings.name, %error, "files were closed for a connection");
                    continue;
                }
                Err(error) => {
                    pause_after(&self.settings.name, &error, &mut failing).await;
                    continue;
                }
            };
            let ahead = limits.count_accepted(&self.settings.name, Instant::now());
            if !ahead.is_zero() {
                tokio::time::sleep(ahead).await;
            }
            let Some(permit) = admit(&limits, &self.settings.name, peer, connections.clock.now().mono) else {
                continue;
            };
            let connection = Arc::new(Connection {
                id: NEXT_CONNECTION_ID.fetch_add(1, Ordering::Relaxed),
                listener: Arc::clone(&self.settings.name),
                is_controller_listener: self.settings.is_controller,
                peer: peer.ip(),
                host: shown_host(peer.ip()),
                software: Default::default(),
                held: Held::default(),
            });
            let prepared = stream.into_std().and_then(|stream| prepare(stream, self.settings.socket));
            match prepared {
                Ok(stream) => threads.spawn(serve_connection(
                    stream,
                    connection,
                    Arc::clone(&handler),
                    Arc::clone(&connections),
                    permit,
                )),
                Err(error) => {
                    tracing::warn!(listener = %self.settings.name, %peer, %error, "lost a new connection")
                }
            }
        }
    }
}

/// Registers the socket with the runtime of the thread it now lives on, and serves it there.
async fn serve_connection(
    stream: std::net::TcpStream,
    connection: Arc<Connection>,
    handler: Arc<dyn Handler>,
    settings: Arc<ConnectionSettings>,
    permit: ConnectionPermit,
) {
    match TcpStream::from_std(stream) {
        Ok(stream) => connection::serve(stream, connection, handler, settings, permit).await,
        Err(error) => tracing::warn!(listener = %connection.listener, %error, "lost a new connection"),
    }
}

fn prepare(stream: std::net::TcpStream, settings: SocketSettings) -> io::Result<std::net::TcpStream> {
    stream.set_nodelay(true)?;
    let socket = Socket::from(stream);
    socket.set_keepalive(true)?;
    if let Ok(bytes) = usize::try_from(settings.send_buffer_bytes) {
        socket.set_send_buffer_size(bytes)?;
    }
    Ok(socket.into())
}

/// What lasts, or comes and goes, is told once in a while.
#[derive(Debug, Default)]
struct Told(Option<Instant>);

impl Told {
    const INTERVAL: Duration = Duration::from_secs(60);

    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.0.is_none_or(|last| now.duration_since(last) >= Told::INTERVAL);
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }
}

async fn wait_for_room(limits: &ConnectionLimits, listener: &str, told: &mut Told) {
    loop {
        let released = limits.released();
        let Err(full) = limits.check_room(listener) else { return };
        if told.is_due() {
            let limit = match full {
                Full::MaxConnections => "max.connections",
                Full::OpenFiles => "the limit of open files (ulimit -n)",
            };
            tracing::warn!(listener, "{limit} is reached: new connections wait");
        }
        released.await;
    }
}

fn admit(
    limits: &Arc<ConnectionLimits>,
    listener: &Arc<str>,
    peer: SocketAddr,
    now: MonoMs,
) -> Option<ConnectionPermit> {
    match limits.admit(listener, peer.ip(), now) {
        Admission::Admitted(permit) => Some(permit),
        Admission::TooManyFromAddress { limit } => {
            tracing::info!(%listener, %peer, limit, "closed a new connection: too many connections from its address");
            None
        }
    }
}

/// Out of descriptors or memory: others may free some, so accepting goes on after a moment.
async fn pause_after(listener: &str, error: &io::Error, told: &mut Told) {
    if told.is_due() {
        tracing::warn!(listener, %error, "accepting a connection failed: new connections wait");
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;

    use super::*;

    fn bound(socket: SocketSettings) -> Listener {
        let address = "127.0.0.1:0".parse().unwrap();
        Listener::bind(ListenerSettings { name: "L".into(), address, is_controller: false, socket }).unwrap()
    }

    #[test]
    fn as_many_connections_wait_to_be_accepted_as_are_set() {
        let waiting = |listen_backlog| {
            let settings = SocketSettings { send_buffer_bytes: -1, receive_buffer_bytes: -1, listen_backlog };
            let listener = bound(settings);
            let address = listener.local_addr().unwrap();
            let connect = |_| std::net::TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok();
            (0..10).map_while(connect).collect::<Vec<_>>().len()
        };
        // Linux lets one more wait than it is told.
        assert_eq!((waiting(2), waiting(5)), (3, 6));
    }

    #[test]
    fn buffers_have_the_sizes_that_are_set() {
        let settings = |bytes| SocketSettings {
            send_buffer_bytes: bytes,
            receive_buffer_bytes: bytes,
            listen_backlog: 50,
        };
        let received = |listener: &Listener| SockRef::from(&listener.listener).recv_buffer_size().unwrap();
        let (default, small) = (bound(settings(-1)), bound(settings(20_000)));
        // Linux reserves as much again for its own use.
        assert_eq!(received(&small), 40_000);
        assert_ne!(received(&default), 40_000);

        let sent = |settings| {
            let listener = bound(settings);
            let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let stream = prepare(stream, settings).unwrap();
            assert!(stream.nodelay().unwrap());
            SockRef::from(&stream).send_buffer_size().unwrap()
        };
        assert_eq!(sent(settings(20_000)), 40_000);
        assert_ne!(sent(settings(-1)), 40_000);
    }
}
