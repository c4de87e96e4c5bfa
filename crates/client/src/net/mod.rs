//! Sockets: connecting to brokers, and requests and answers in one order on each connection.
//!
//! A broker has one connection, and another one where something would wait behind a long poll ([`Lane`]). Everything
//! about framing, correlation and versions is here; what a request means is for others to know.

mod dial;
mod link;
mod node;
mod pool;
mod transport;
mod versions;

pub(crate) use dial::Dialer;
pub(crate) use link::Link;
pub(crate) use pool::{Address, NetSettings, Pool};
pub(crate) use transport::SocketBuffers;
#[cfg(test)]
pub(crate) use transport::tcp_socket;
pub use transport::{Connector, Stream};
pub use versions::ServedVersions;

/// Which of a broker's connections a request goes over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Lane {
    #[default]
    Main,
    /// Heartbeats and commits, which must not wait behind what waits at the broker, nor others behind a group that is balanced.
    Coordination,
    /// Fetches that wait for records.
    LongPoll,
}
