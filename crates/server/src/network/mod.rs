//! Listeners, connections and the threads that serve them.
//!
//! One acceptor a listener hands connections to `num.network.threads` threads in turn; a connection stays on its
//! thread. Each is one task that reads frames, has them handled in place, and sends the replies in the order of the
//! requests. Only [`connection`] knows the framing, only [`outbox`] the order of replies.

pub mod buffers;
pub mod connection;
pub mod limits;
pub mod listener;
pub mod outbox;
mod settings;
pub mod threads;

pub use limits::{Ceiling, ConnectionLimits, RequestMemory};
pub use listener::{Listener, ListenerSettings, SocketSettings};
pub use threads::NetworkThreads;
