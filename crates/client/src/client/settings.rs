//! What a client goes by, whatever it is used for.

use std::sync::Arc;
use std::time::Duration;

use ottla_config::HostPort;

use crate::backoff::Backoff;
use crate::cluster::RecoveryStrategy;
use crate::error::ClientError;
use crate::net::{Address, Connector, Dialer, NetSettings, SocketBuffers};
use crate::settings::{Scope, Settings};

/// Settings of the connection to a cluster. The names are those of Apache Kafka's settings, and so are the defaults.
///
/// ```
/// use ottla_client::ClientSettings;
///
/// let settings = ClientSettings {
///     client_id: "orders".to_owned(),
///     request_timeout_ms: 5_000,
///     ..ClientSettings::new("one:9092,two:9092")
/// };
/// assert_eq!(settings.bootstrap_servers, ["one:9092", "two:9092"]);
/// ```
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// `bootstrap.servers`: `host:port` each. One that answers is enough.
    pub bootstrap_servers: Vec<String>,
    /// They are controllers, as `bootstrap.controllers` names them (KIP-919): the picture is of controllers, without topics.
    pub is_of_controllers: bool,
    /// `client.id`: what brokers call this client in logs, metrics and quotas.
    pub client_id: String,
    /// `request.timeout.ms`: how long a broker has for an answer.
    pub request_timeout_ms: u64,
    /// `default.api.timeout.ms`: how long something may take with all its attempts.
    pub default_api_timeout_ms: u64,
    /// `retry.backoff.ms`
    pub retry_backoff_ms: u64,
    /// `retry.backoff.max.ms`
    pub retry_backoff_max_ms: u64,
    /// `reconnect.backoff.ms`
    pub reconnect_backoff_ms: u64,
    /// `reconnect.backoff.max.ms`
    pub reconnect_backoff_max_ms: u64,
    /// `socket.connection.setup.timeout.ms`
    pub setup_timeout_ms: u64,
    /// `socket.connection.setup.timeout.max.ms`
    pub setup_timeout_max_ms: u64,
    /// `connections.max.idle.ms`; `None`: connections are never closed because nothing is sent.
    pub connections_max_idle_ms: Option<u64>,
    /// `metadata.max.age.ms`
    pub metadata_max_age_ms: u64,
    /// `metadata.recovery.strategy`
    pub recovery_strategy: RecoveryStrategy,
    /// `metadata.recovery.rebootstrap.trigger.ms`
    pub rebootstrap_trigger_ms: u64,
    /// `allow.auto.create.topics`: a topic may come into being because it was asked for, where brokers allow it.
    pub allow_auto_create_topics: bool,
    /// `enable.metrics.push` (KIP-714): tells the cluster those metrics of this client that it asks for; `None`: what producers,
    /// consumers and share consumers do, and administrators don't.
    pub enable_metrics_push: Option<bool>,
    /// `send.buffer.bytes`; `None`: the system decides, and adapts.
    pub send_buffer_bytes: Option<u32>,
    /// `receive.buffer.bytes`; `None`: the system decides, and adapts.
    pub receive_buffer_bytes: Option<u32>,
    /// Opens connections in place of plain TCP.
    pub connector: Option<Arc<dyn Connector>>,
}

impl Default for ClientSettings {
    fn default() -> ClientSettings {
        ClientSettings {
            bootstrap_servers: Vec::new(),
            is_of_controllers: false,
            client_id: String::new(),
            request_timeout_ms: 30_000,
            default_api_timeout_ms: 60_000,
            retry_backoff_ms: 100,
            retry_backoff_max_ms: 1_000,
            reconnect_backoff_ms: 50,
            reconnect_backoff_max_ms: 1_000,
            setup_timeout_ms: 10_000,
            setup_timeout_max_ms: 30_000,
            connections_max_idle_ms: Some(540_000),
            metadata_max_age_ms: 300_000,
            recovery_strategy: RecoveryStrategy::default(),
            rebootstrap_trigger_ms: 300_000,
            allow_auto_create_topics: false,
            enable_metrics_push: None,
            send_buffer_bytes: None,
            receive_buffer_bytes: None,
            connector: None,
        }
    }
}

impl ClientSettings {
    /// The defaults, with bootstrap servers as in `bootstrap.servers`: `host:port`, separated by commas.
    pub fn new(bootstrap_servers: &str) -> ClientSettings {
        let servers = bootstrap_servers.split(',').map(str::trim).filter(|server| !server.is_empty());
        ClientSettings {
            bootstrap_servers: servers.map(str::to_owned).collect(),
            ..ClientSettings::default()
        }
    }

    /// What settings of any scope say of the connection.
    pub fn from_settings(settings: &Settings) -> ClientSettings {
        let ms = |key| settings.unsigned(key);
        // The Java client's fixed sizes would keep the system from adapting them.
        let buffer = |key| settings.is_set(key).then(|| u32::try_from(settings.long(key)).ok()).flatten();
        let strategy = settings.text("metadata.recovery.strategy").unwrap_or_default();
        let is_none = strategy.eq_ignore_ascii_case("none");
        let has_api_timeout = settings.scope() != Scope::Producer;
        let api_timeout = if has_api_timeout { "default.api.timeout.ms" } else { "max.block.ms" };
        ClientSettings {
            bootstrap_servers: settings.list("bootstrap.servers"),
            is_of_controllers: false,
            client_id: settings.text("client.id").unwrap_or_default().to_owned(),
            request_timeout_ms: ms("request.timeout.ms"),
            default_api_timeout_ms: ms(api_timeout),
            retry_backoff_ms: ms("retry.backoff.ms"),
            retry_backoff_max_ms: ms("retry.backoff.max.ms"),
            reconnect_backoff_ms: ms("reconnect.backoff.ms"),
            reconnect_backoff_max_ms: ms("reconnect.backoff.max.ms"),
            setup_timeout_ms: ms("socket.connection.setup.timeout.ms"),
            setup_timeout_max_ms: ms("socket.connection.setup.timeout.max.ms"),
            connections_max_idle_ms: u64::try_from(settings.long("connections.max.idle.ms")).ok(),
            metadata_max_age_ms: ms("metadata.max.age.ms"),
            recovery_strategy: if is_none { RecoveryStrategy::None } else { RecoveryStrategy::Rebootstrap },
            rebootstrap_trigger_ms: ms("metadata.recovery.rebootstrap.trigger.ms"),
            allow_auto_create_topics: match settings.scope() {
                Scope::Producer => true,
                Scope::Consumer | Scope::ShareConsumer => settings.bool("allow.auto.create.topics"),
                Scope::Admin => false,
            },
            enable_metrics_push: settings
                .is_set("enable.metrics.push")
                .then(|| settings.bool("enable.metrics.push")),
            send_buffer_bytes: buffer("send.buffer.bytes"),
            receive_buffer_bytes: buffer("receive.buffer.bytes"),
            connector: None,
        }
    }

    pub(crate) fn bootstrap_addresses(&self) -> Result<Vec<Address>, ClientError> {
        if self.bootstrap_servers.is_empty() {
            return Err(ClientError::settings(
                "bootstrap.servers is empty: name at least one broker as host:port",
            ));
        }
        let address = |server: &String| {
            let parsed = HostPort::parse("bootstrap.servers", server);
            let parsed = parsed.map_err(|error| ClientError::settings(error.to_string()))?;
            Ok(Address { host: parsed.host.into(), port: parsed.port })
        };
        self.bootstrap_servers.iter().map(address).collect()
    }

    pub(crate) fn net_settings(&self) -> NetSettings {
        let buffers =
            SocketBuffers { send_bytes: self.send_buffer_bytes, receive_bytes: self.receive_buffer_bytes };
        NetSettings {
            dialer: Dialer {
                client_id: self.client_id.as_str().into(),
                buffers,
                connector: self.connector.clone(),
            },
            reconnect_backoff_ms: self.reconnect_backoff_ms,
            reconnect_backoff_max_ms: self.reconnect_backoff_max_ms,
            setup_timeout_ms: self.setup_timeout_ms,
            setup_timeout_max_ms: self.setup_timeout_max_ms,
            idle_max: self.connections_max_idle_ms.map(Duration::from_millis),
            metrics: Arc::default(),
        }
    }

    pub(crate) fn retry_backoff(&self) -> Backoff {
        Backoff::new(self.retry_backoff_ms, self.retry_backoff_max_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bootstrap_servers_are_hosts_with_ports() {
        let addresses = ClientSettings::new(" a:1, [::1]:2 ,").bootstrap_addresses().unwrap();
        let shown: Vec<String> = addresses.iter().map(|a| format!("{} {}", a.host, a.port)).collect();
        assert_eq!(shown, ["a 1", "::1 2"]);
        for wrong in ["", "a", "a:b", "a:99999"] {
            assert!(ClientSettings::new(wrong).bootstrap_addresses().is_err(), "{wrong}");
        }
    }
}
