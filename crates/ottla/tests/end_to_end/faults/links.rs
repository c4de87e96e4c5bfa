//! The network between the nodes of a cluster: what one sends to another passes through here, and may be held up.
//!
//! Others are told a port of ours in the place of each of a node's listeners. Nobody listens there while nobody listens at the
//! node, so that who looks for a process that has ended is refused, as by the machine itself. Who speaks is known by the
//! client id of the first request: nodes name themselves as Apache Kafka's do. Clients do not come this way.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use ottla_testkit::free_port;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use super::super::cluster::{Ports, Way};

/// Between two looks for a process that has ended.
const LOOK_EACH: Duration = Duration::from_millis(5);
const CHUNK_BYTES: usize = 64 * 1024;
/// Of a frame up to the text of its client id: length, key, version, correlation id, the text's length.
const HEAD_BYTES: usize = 4 + 2 + 2 + 4 + 2;

/// What becomes of bytes on one way from node to node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quality {
    Cut,
    /// Each piece of up to 64 KiB arrives so much later than it would.
    Slow(Duration),
}

/// Those that are not as they should be, by the nodes at both ends.
type Ways = BTreeMap<(i32, i32), Quality>;

/// See the module.
pub struct Links {
    /// Where a thread carries everything for as long as the sender is there.
    carries: Handle,
    ways: watch::Sender<Ways>,
}

impl Links {
    pub fn new() -> Links {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (carries, ways) = (runtime.handle().clone(), watch::Sender::new(Ways::new()));
        let mut heard = ways.subscribe();
        std::thread::spawn(move || runtime.block_on(async { while heard.changed().await.is_ok() {} }));
        Links { carries, ways }
    }

    /// Ports for a node that others reach through these links alone.
    pub fn ports(&self, node: i32) -> Ports {
        let way = || {
            let way = Way { port: free_port(), shown: free_port() };
            self.carries.spawn(serve(Door { node, way }, self.ways.subscribe()));
            way
        };
        Ports { client: free_port(), internal: Some(way()), controller: way() }
    }

    /// What one node sends to another.
    pub fn set(&self, from: i32, to: i32, quality: Quality) {
        self.ways.send_modify(|ways| {
            ways.insert((from, to), quality);
        });
    }

    /// All that these nodes send to the others, and what the others send to them.
    pub fn set_both_ways(&self, one: i32, others: &[i32], quality: Quality) {
        for other in others.iter().filter(|other| **other != one) {
            self.set(one, *other, quality);
            self.set(*other, one, quality);
        }
    }

    /// From now on everything is as it should be.
    pub fn mend(&self) {
        self.ways.send_replace(Ways::new());
    }
}

/// A listener of a node, and the port that stands for it.
#[derive(Clone, Copy)]
struct Door {
    node: i32,
    way: Way,
}

impl Door {
    async fn connect(&self) -> io::Result<TcpStream> {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.way.port)).await
    }

    /// The process has ended, or has not started yet.
    async fn is_deserted(&self) -> bool {
        self.connect().await.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    }
}

async fn serve(door: Door, ways: watch::Receiver<Ways>) {
    let is_open = watch::Sender::new(false);
    let look = Arc::new(Notify::new());
    loop {
        while door.is_deserted().await {
            sleep(LOOK_EACH).await;
        }
        let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, door.way.shown)).await else {
            sleep(LOOK_EACH).await;
            continue;
        };
        is_open.send_replace(true);
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((client, _)) = accepted else { continue };
                    let front = Front { door, is_open: is_open.subscribe(), look: Arc::clone(&look) };
                    tokio::spawn(carry(client, front, ways.clone()));
                }
                () = look.notified() => {
                    if door.is_deserted().await {
                        break;
                    }
                }
            }
        }
        drop(listener);
        is_open.send_replace(false);
    }
}

/// What connections know of the port that they came through.
struct Front {
    door: Door,
    is_open: watch::Receiver<bool>,
    look: Arc<Notify>,
}

impl Front {
    /// Where the node's process has ended, nobody listens once this is over.
    async fn settle(mut self) {
        if self.door.is_deserted().await {
            self.look.notify_one();
            let _ = self.is_open.wait_for(|is_open| !is_open).await;
        }
    }
}

/// One connection, until either side closes it. The other hears of the end of a process when nobody listens there any more.
async fn carry(mut client: TcpStream, front: Front, ways: watch::Receiver<Ways>) -> io::Result<()> {
    let door = front.door;
    let mut head = vec![0; HEAD_BYTES];
    client.read_exact(&mut head).await?;
    let text_bytes = u16::from_be_bytes([head[HEAD_BYTES - 2], head[HEAD_BYTES - 1]]);
    let mut text = vec![0; usize::from(text_bytes)];
    client.read_exact(&mut text).await?;
    let from = node_of(&String::from_utf8_lossy(&text));
    let Ok(mut server) = door.connect().await else {
        front.settle().await;
        return Ok(());
    };
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (there, back) = (Passage { ways: ways.clone(), way: (from, door.node) }, (door.node, from));
    there.clone().pass().await;
    server.write_all(&[head, text].concat()).await?;
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    let mut there = tokio::spawn(there.pump(client_reads, server_writes));
    let mut back = tokio::spawn(Passage { ways, way: back }.pump(server_reads, client_writes));
    // Whichever ends first keeps what it has until the other is ended too.
    let ended = tokio::select! {
        ended = &mut back => {
            front.settle().await;
            ended
        }
        ended = &mut there => ended,
    };
    there.abort();
    back.abort();
    drop(ended);
    Ok(())
}

/// One direction of one connection.
#[derive(Clone)]
struct Passage {
    ways: watch::Receiver<Ways>,
    way: (i32, i32),
}

impl Passage {
    /// Waits for as long as a piece takes.
    async fn pass(mut self) {
        let way = self.way;
        let quality = |ways: &Ways| ways.get(&way).copied();
        let delay = match self.ways.wait_for(|ways| quality(ways) != Some(Quality::Cut)).await {
            Ok(ways) => quality(&ways),
            Err(_) => None,
        };
        if let Some(Quality::Slow(delay)) = delay {
            sleep(delay).await;
        }
    }

    /// Both ends, when one of them is closed: whoever drops them closes the other.
    async fn pump(self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> (OwnedReadHalf, OwnedWriteHalf) {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = from.read(&mut chunk).await.unwrap_or(0);
            // That it is closed takes its time as well.
            self.clone().pass().await;
            if read == 0 || to.write_all(&chunk[..read]).await.is_err() {
                return (from, to);
            }
        }
    }
}

/// `raft-client-2`, `2:heartbeat`, `broker-2-fetcher-0`.
fn node_of(client_id: &str) -> i32 {
    let mut numbers = client_id.split([':', '-']).filter_map(|part| part.parse().ok());
    numbers.next().unwrap_or_else(|| panic!("{client_id} names no node"))
}
