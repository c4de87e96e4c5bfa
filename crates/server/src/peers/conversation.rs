//! One conversation with a node: connects when there is something to say, and anew when the connection is lost.

use std::io::ErrorKind;
use std::sync::Arc;

use ottla_broker::peers::{Channel, PeerAddress, PeerError};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::backoff::Backoff;
use super::connection::{Connection, Ended};
use super::{Sending, Shared};

/// See the module.
pub(crate) struct Conversation {
    to: PeerAddress,
    channel: Channel,
    shared: Arc<Shared>,
    requests: mpsc::Receiver<Sending>,
    reconnect: Backoff,
    setup: Backoff,
    connect_from: Instant,
}

impl Conversation {
    pub fn new(
        to: PeerAddress,
        channel: Channel,
        shared: Arc<Shared>,
        requests: mpsc::Receiver<Sending>,
    ) -> Conversation {
        let reconnect = Backoff::new(shared.settings.reconnect_backoff);
        let setup = Backoff::new(shared.settings.setup_timeout);
        Conversation { to, channel, shared, requests, reconnect, setup, connect_from: Instant::now() }
    }

    /// Goes on until nobody has had anything to send for a long time, or can have.
    pub async fn run(mut self) {
        while let Some(first) = self.next().await {
            if Instant::now() < self.connect_from {
                let why = "the last attempt to connect failed just now".to_owned();
                first.request.failed(PeerError::Disconnected(why), self.shared.clock.now());
                continue;
            }
            match self.connect(first.deadline).await {
                Ok(connection) => self.serve(connection, first).await,
                Err(error) => self.connecting_failed(first, &error),
            }
        }
    }

    /// None from when the conversation is over: nothing more can be sent to it then, so that nobody waits for an answer in vain.
    async fn next(&mut self) -> Option<Sending> {
        if let Some(idle_max) = self.shared.settings.idle_max {
            match timeout(idle_max, self.requests.recv()).await {
                Ok(next) => return next,
                Err(_) => self.requests.close(),
            }
        }
        // Also what has come in just before it was closed.
        self.requests.recv().await
    }

    async fn connect(&mut self, deadline: Instant) -> Result<Connection, PeerError> {
        let limit = (Instant::now() + self.setup.current()).min(deadline);
        let client_id = client_id(self.shared.settings.node_id.0, self.channel);
        let connecting = Connection::open(&self.to, client_id, self.channel == Channel::Probe);
        match tokio::time::timeout_at(limit, connecting).await {
            Ok(Err(Ended::Io(error))) if error.kind() == ErrorKind::ConnectionRefused => {
                Err(PeerError::Refused(error.to_string()))
            }
            Ok(opened) => opened.map_err(|error| PeerError::Disconnected(error.to_string())),
            Err(_) => Err(PeerError::Disconnected("it took too long to connect".to_owned())),
        }
    }

    fn connecting_failed(&mut self, first: Sending, error: &PeerError) {
        self.reconnect.failed();
        self.setup.failed();
        self.connect_from = Instant::now() + self.reconnect.current();
        // The first failure is news, the others are not.
        if self.reconnect.failures() == 1 {
            tracing::info!(to = %self.to, channel = ?self.channel, %error, "a node can't be reached");
        } else {
            tracing::debug!(to = %self.to, channel = ?self.channel, %error, "a node can't be reached");
        }
        // Whoever hears of it may send anew at once: that is judged anew.
        let now = self.shared.clock.now();
        while let Ok(sending) = self.requests.try_recv() {
            sending.request.failed(error.clone(), now);
        }
        first.request.failed(error.clone(), now);
    }

    async fn serve(&mut self, mut connection: Connection, first: Sending) {
        self.reconnect.reset();
        self.setup.reset();
        tracing::debug!(to = %self.to, channel = ?self.channel, "connected");
        let idle_max = self.shared.settings.idle_max;
        let ended = connection.run(first, &mut self.requests, idle_max, self.shared.clock).await;
        let now = self.shared.clock.now();
        let reason = ended.to_string();
        let is_lost = ended.is_lost();
        if matches!(ended, Ended::Idle | Ended::Unused) {
            tracing::debug!(to = %self.to, channel = ?self.channel, reason, "closed a connection");
        } else {
            tracing::info!(to = %self.to, channel = ?self.channel, reason, "the connection has ended");
        }
        let ended_at = Instant::now();
        for sending in connection.into_unanswered() {
            // Answers come in the order of the requests: those behind the one that is late are lost with it.
            let error = if sending.deadline <= ended_at {
                PeerError::TimedOut
            } else {
                PeerError::Disconnected(reason.clone())
            };
            sending.request.failed(error, now);
        }
        if is_lost && let Some(lost) = self.shared.lost.get() {
            lost(&self.to, self.channel, now);
        }
    }
}

/// As Kafka's nodes call themselves.
fn client_id(node: i32, channel: Channel) -> String {
    match channel {
        Channel::Quorum => format!("raft-client-{node}"),
        Channel::Heartbeat => format!("{node}:heartbeat"),
        Channel::Controller => format!("{node}:to-controller"),
        Channel::Forwarding => format!("{node}:forwarding"),
        Channel::Probe => format!("{node}:probe"),
        Channel::Fetcher(number) => format!("broker-{node}-fetcher-{number}"),
        Channel::Coordinator => format!("broker-{node}-coordinator"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;
    use std::time::Duration;

    use ottla_broker::peers::PeerRequest;
    use ottla_types::NodeId;
    use ottla_wire::messages::BrokerHeartbeatRequest;
    use tokio::sync::mpsc::error::TrySendError;

    use super::*;
    use crate::clock::Clock;
    use crate::peers::PeerSettings;

    #[test]
    fn what_is_sent_when_a_conversation_ends_is_not_lost() {
        let short = (Duration::ZERO, Duration::ZERO);
        let settings = PeerSettings {
            node_id: NodeId(1),
            setup_timeout: short,
            reconnect_backoff: short,
            idle_max: Some(Duration::ZERO),
            fetcher_threads: 1,
        };
        let shared = Arc::new(Shared { settings, clock: Clock::start(), lost: OnceLock::new() });
        let to = PeerAddress {
            node: NodeId(2),
            host: "127.0.0.1".to_owned(),
            port: 1,
            is_controller_listener: false,
        };
        let (sender, requests) = mpsc::channel(1);
        let mut conversation = Conversation::new(to, Channel::Probe, shared, requests);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        assert!(runtime.block_on(conversation.next()).is_none());
        let request = PeerRequest::new(BrokerHeartbeatRequest::default(), 1000, |_, _| {});
        // Whoever sends now begins another conversation.
        let sent = sender.try_send(Sending { request, deadline: Instant::now() });
        assert!(matches!(sent, Err(TrySendError::Closed(_))));
    }
}
