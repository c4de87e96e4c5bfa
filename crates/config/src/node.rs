//! What a node's configuration means where several keys together say it: directories, listeners, roles, log defaults.

use std::collections::BTreeMap;

use crate::config::Config;
use crate::endpoint::{Endpoint, ProtocolMap, SecurityProtocol, parse_endpoints, parse_protocol_map};
use crate::error::ConfigError;
use crate::table::{Table, keys};
use crate::topic::broker_default;
use crate::validate::{HostPort, QuorumVoter};

/// What a node does in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    pub broker: bool,
    pub controller: bool,
}

impl Config {
    pub fn roles(&self) -> Roles {
        let has = |role| self.get(keys::PROCESS_ROLES).iter().any(|name| name == role);
        Roles { broker: has("broker"), controller: has("controller") }
    }

    /// Where partitions live, in the order written.
    pub fn log_dirs(&self) -> &[String] {
        self.get(keys::LOG_DIRS).unwrap_or_else(|| self.get(keys::LOG_DIR))
    }

    /// Where the metadata log lives: its own directory, or else the first of [`Config::log_dirs`].
    pub fn metadata_log_dir(&self) -> &str {
        let first = self.log_dirs().first().map_or("", String::as_str);
        self.get(keys::METADATA_LOG_DIR).unwrap_or(first)
    }

    /// Of `log.retention.ms`, `.minutes`, `.hours` the first that is set; -1 is no limit.
    pub fn log_retention_ms(&self) -> i64 {
        self.topic_default_ms("retention.ms")
    }

    pub fn log_roll_ms(&self) -> i64 {
        self.topic_default_ms("segment.ms")
    }

    pub fn log_roll_jitter_ms(&self) -> i64 {
        self.topic_default_ms("segment.jitter.ms")
    }

    /// Of `log.flush.interval.ms` and `log.flush.scheduler.interval.ms` the first that is set.
    pub fn log_flush_interval_ms(&self) -> i64 {
        self.topic_default_ms("flush.ms")
    }

    fn topic_default_ms(&self, topic_key: &str) -> i64 {
        let value = Table::Topic.find(topic_key).and_then(|row| broker_default(self, row));
        value.and_then(|value| value.as_i64()).unwrap_or(-1)
    }

    /// Names of the listeners that only controllers speak on, in upper case, in the order written.
    pub fn controller_listener_names(&self) -> Vec<String> {
        self.get(keys::CONTROLLER_LISTENER_NAMES).iter().map(|name| name.to_ascii_uppercase()).collect()
    }

    /// Which protocol a listener's name stands for. While no map is set, a controller listener that the default map
    /// doesn't know is PLAINTEXT, as long as nothing else is asked for.
    pub fn protocol_map(&self) -> Result<ProtocolMap, ConfigError> {
        let mut map = parse_protocol_map(self.get(keys::LISTENER_SECURITY_PROTOCOL_MAP))?;
        if !self.is_set(keys::LISTENER_SECURITY_PROTOCOL_MAP.name()) && self.only_plaintext_is_named(&map) {
            for name in self.controller_listener_names() {
                map.entry(name).or_insert(SecurityProtocol::Plaintext);
            }
        }
        Ok(map)
    }

    fn only_plaintext_is_named(&self, map: &ProtocolMap) -> bool {
        let listeners = self.get(keys::LISTENERS).iter().filter_map(|entry| entry.split_once("://"));
        let named = listeners.map(|(name, _)| name.to_ascii_uppercase());
        let mut all = self.controller_listener_names().into_iter().chain(named);
        all.all(|name| map.get(&name).is_none_or(|protocol| *protocol == SecurityProtocol::Plaintext))
    }

    /// All listeners, those of the controller among them.
    pub fn listeners(&self) -> Result<Vec<Endpoint>, ConfigError> {
        parse_endpoints(self.get(keys::LISTENERS), &self.protocol_map()?)
    }

    pub fn controller_listeners(&self) -> Result<Vec<Endpoint>, ConfigError> {
        let names = self.controller_listener_names();
        Ok(self.listeners()?.into_iter().filter(|e| names.contains(&e.listener)).collect())
    }

    /// The listeners that clients and other brokers use.
    pub fn broker_listeners(&self) -> Result<Vec<Endpoint>, ConfigError> {
        let names = self.controller_listener_names();
        Ok(self.listeners()?.into_iter().filter(|e| !names.contains(&e.listener)).collect())
    }

    /// What clients are told of [`Config::broker_listeners`]: `advertised.listeners`, or else the listeners themselves.
    /// An empty host is for the caller to fill in with this machine's name.
    pub fn advertised_listeners(&self) -> Result<Vec<Endpoint>, ConfigError> {
        match self.get(keys::ADVERTISED_LISTENERS) {
            Some(entries) => {
                let names = self.controller_listener_names();
                let all = parse_endpoints(entries, &self.protocol_map()?)?;
                Ok(all.into_iter().filter(|e| !names.contains(&e.listener)).collect())
            }
            None => self.broker_listeners(),
        }
    }

    /// Where other nodes are told that this controller is: of `advertised.listeners`, or else the listener itself. An empty
    /// host is for the caller to fill in.
    pub fn advertised_controller_listeners(&self) -> Result<Vec<Endpoint>, ConfigError> {
        let entries = self.get(keys::ADVERTISED_LISTENERS).unwrap_or_default();
        let advertised = parse_endpoints(entries, &self.protocol_map()?)?;
        let as_advertised = |own: Endpoint| {
            advertised.iter().find(|other| other.listener == own.listener).cloned().unwrap_or(own)
        };
        Ok(self.controller_listeners()?.into_iter().map(as_advertised).collect())
    }

    /// The listener that brokers use among each other, in upper case.
    pub fn inter_broker_listener_name(&self) -> String {
        match self.get(keys::INTER_BROKER_LISTENER_NAME) {
            Some(name) => name.to_ascii_uppercase(),
            None => self.get(keys::SECURITY_INTER_BROKER_PROTOCOL).to_ascii_uppercase(),
        }
    }

    /// The static voters, if the quorum is a static one.
    pub fn quorum_voters(&self) -> Vec<QuorumVoter> {
        let name = keys::CONTROLLER_QUORUM_VOTERS.name();
        let entries = self.get(keys::CONTROLLER_QUORUM_VOTERS).iter();
        entries.filter_map(|entry| QuorumVoter::parse(name, entry).ok()).collect()
    }

    pub fn quorum_bootstrap_servers(&self) -> Vec<HostPort> {
        let name = keys::CONTROLLER_QUORUM_BOOTSTRAP_SERVERS.name();
        let entries = self.get(keys::CONTROLLER_QUORUM_BOOTSTRAP_SERVERS).iter();
        entries.filter_map(|entry| HostPort::parse(name, entry).ok()).collect()
    }

    /// Whether these settings speak of no other node: it has both roles, and is the only one that can lead the quorum.
    pub fn is_for_one_node(&self) -> bool {
        let Roles { broker, controller } = self.roles();
        broker && controller && self.quorum_voters().len() <= 1 && self.quorum_bootstrap_servers().len() <= 1
    }

    /// Of `max.connections.per.ip.overrides`: addresses or host names, and how many connections each may have.
    pub fn max_connections_per_ip_overrides(&self) -> Result<BTreeMap<String, i32>, ConfigError> {
        let key = keys::MAX_CONNECTIONS_PER_IP_OVERRIDES;
        let text = self.get(key);
        let wrong = |reason: String| ConfigError::invalid(key.name(), text, reason);
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries
            .map(|entry| {
                let (host, limit) =
                    entry.rsplit_once(':').ok_or_else(|| wrong(format!("{entry} is not host:limit")))?;
                let limit = limit.trim().parse().map_err(|_| wrong(format!("{limit} is not a number")))?;
                let plain = |c: char| c.is_ascii_alphanumeric() || "-%._:".contains(c);
                if host.is_empty() || !host.chars().all(plain) {
                    return Err(wrong(format!("contains invalid addresses : {host}")));
                }
                Ok((host.to_owned(), limit))
            })
            .collect()
    }
}
