//! What the network takes from the configuration, each listener with its own overrides.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ottla_config::{Config, keys};

use super::connection::ConnectionSettings;
use super::limits::{ConnectionLimitSettings, RequestMemory};
use super::listener::SocketSettings;
use crate::clock::Clock;
use crate::threads::Pool;

/// Settings that Kafka bounds from below by validation are not negative here.
fn size(value: i32) -> usize {
    usize::try_from(value).unwrap_or(0)
}

/// Kafka's default of `socket.send.buffer.bytes`.
const DEFAULT_SEND_BUFFER_BYTES: i32 = 100 * 1024;
const WIDE_SEND_BUFFER_BYTES: usize = 512 * 1024;

/// A size that somebody chose is kept to; the default, which the shipped server.properties repeats, is a beginning.
fn wide_send_buffer_bytes(send_buffer_bytes: i32) -> Option<usize> {
    (send_buffer_bytes == DEFAULT_SEND_BUFFER_BYTES).then_some(WIDE_SEND_BUFFER_BYTES)
}

impl SocketSettings {
    /// Of one listener: `config` is that of [`Config::for_listener`].
    pub fn from_config(config: &Config) -> SocketSettings {
        SocketSettings {
            send_buffer_bytes: config.get(keys::SOCKET_SEND_BUFFER_BYTES),
            receive_buffer_bytes: config.get(keys::SOCKET_RECEIVE_BUFFER_BYTES),
            listen_backlog: config.get(keys::SOCKET_LISTEN_BACKLOG_SIZE),
        }
    }
}

impl ConnectionSettings {
    /// Of one listener: `config` is that of [`Config::for_listener`].
    pub fn from_config(
        config: &Config,
        memory: Arc<RequestMemory>,
        readers: Arc<Pool>,
        clock: Clock,
    ) -> ConnectionSettings {
        ConnectionSettings {
            idle_max: u64::try_from(config.get(keys::CONNECTIONS_MAX_IDLE_MS))
                .ok()
                .map(Duration::from_millis),
            request_bytes_max: size(config.get(keys::SOCKET_REQUEST_MAX_BYTES)),
            wide_send_buffer_bytes: wide_send_buffer_bytes(config.get(keys::SOCKET_SEND_BUFFER_BYTES)),
            requests_in_flight_max: size(config.get(keys::QUEUED_MAX_REQUESTS)).max(1),
            memory,
            readers,
            clock,
        }
    }
}

impl RequestMemory {
    pub fn from_config(config: &Config) -> RequestMemory {
        RequestMemory::new(config.get(keys::QUEUED_MAX_REQUEST_BYTES))
    }
}

impl ConnectionLimitSettings {
    /// `resolve` finds the address of a host that `max.connections.per.ip.overrides` names; one without address is left
    /// out.
    pub fn from_config(
        config: &Config,
        listeners: &[Arc<str>],
        resolve: impl Fn(&str) -> Option<IpAddr>,
    ) -> ConnectionLimitSettings {
        let overrides = config.max_connections_per_ip_overrides().unwrap_or_default();
        let own = |listener: &Arc<str>, key: &str| {
            config.is_set(&format!("listener.name.{}.{key}", listener.to_lowercase()))
        };
        let mut per_listener = HashMap::new();
        let mut rate_per_listener = HashMap::new();
        for listener in listeners {
            let of_listener = config.for_listener(listener);
            if own(listener, keys::MAX_CONNECTIONS.name()) {
                per_listener.insert(Arc::clone(listener), size(of_listener.get(keys::MAX_CONNECTIONS)));
            }
            if own(listener, keys::MAX_CONNECTION_CREATION_RATE.name()) {
                let rate = rate(&of_listener);
                rate_per_listener.insert(Arc::clone(listener), rate);
            }
        }
        ConnectionLimitSettings {
            max_connections: size(config.get(keys::MAX_CONNECTIONS)),
            max_connections_per_ip: size(config.get(keys::MAX_CONNECTIONS_PER_IP)),
            per_ip_overrides: overrides
                .iter()
                .filter_map(|(host, limit)| Some((resolve(host)?, size(*limit))))
                .collect(),
            per_listener,
            rate: rate(config),
            rate_per_listener,
            protected: protected(config, listeners),
        }
    }
}

/// `inter.broker.listener.name`, where other listeners can make room for it.
fn protected(config: &Config, listeners: &[Arc<str>]) -> Option<Arc<str>> {
    let name = config.inter_broker_listener_name();
    listeners.iter().find(|listener| ***listener == *name).filter(|_| listeners.len() > 1).cloned()
}

fn rate(config: &Config) -> u32 {
    u32::try_from(config.get(keys::MAX_CONNECTION_CREATION_RATE)).unwrap_or(0)
}

#[cfg(test)]
mod tests;
