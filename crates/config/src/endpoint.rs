//! Listeners: `NAME://host:port`, and which security protocol a name stands for.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::ConfigError;

/// Where a listener is, or where clients are told that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// In upper case.
    pub listener: String,
    pub protocol: SecurityProtocol,
    /// Without brackets; empty is every interface.
    pub host: String,
    /// 0 lets the system choose.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{}://[{}]:{}", self.listener, self.host, self.port)
        } else {
            write!(f, "{}://{}:{}", self.listener, self.host, self.port)
        }
    }
}

/// How a listener's connections are encrypted and authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecurityProtocol {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

impl SecurityProtocol {
    /// As Kafka numbers them in stored records.
    pub fn id(self) -> i16 {
        match self {
            SecurityProtocol::Plaintext => 0,
            SecurityProtocol::Ssl => 1,
            SecurityProtocol::SaslPlaintext => 2,
            SecurityProtocol::SaslSsl => 3,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            SecurityProtocol::Plaintext => "PLAINTEXT",
            SecurityProtocol::Ssl => "SSL",
            SecurityProtocol::SaslPlaintext => "SASL_PLAINTEXT",
            SecurityProtocol::SaslSsl => "SASL_SSL",
        }
    }

    /// The protocol of that name, in any case.
    pub fn of_name(name: &str) -> Option<SecurityProtocol> {
        use SecurityProtocol::{Plaintext, SaslPlaintext, SaslSsl, Ssl};
        [Plaintext, Ssl, SaslPlaintext, SaslSsl].into_iter().find(|p| p.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for SecurityProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Listener names, in upper case, to protocols.
pub type ProtocolMap = BTreeMap<String, SecurityProtocol>;

/// Parses the entries of `listeners` or `advertised.listeners`.
pub fn parse_endpoints(entries: &[String], protocols: &ProtocolMap) -> Result<Vec<Endpoint>, ConfigError> {
    entries.iter().map(|entry| parse_endpoint(entry, protocols)).collect()
}

fn parse_endpoint(entry: &str, protocols: &ProtocolMap) -> Result<Endpoint, ConfigError> {
    let (listener, address) = split(entry).ok_or_else(|| {
        ConfigError::Rule(format!("Unable to parse {entry} to a broker endpoint: write NAME://host:port"))
    })?;
    let protocol = protocols.get(&listener).copied().ok_or_else(|| {
        ConfigError::Rule(format!(
            "No security protocol defined for listener {listener}: name it in listener.security.protocol.map"
        ))
    })?;
    let (host, port) = address;
    Ok(Endpoint { listener, protocol, host, port })
}

fn split(entry: &str) -> Option<(String, (String, u16))> {
    let (listener, address) = entry.split_once("://")?;
    let (host, port) = address.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-%._:".contains(c);
    if !host.chars().all(plain) {
        return None;
    }
    Some((listener.to_ascii_uppercase(), (host.to_owned(), port.parse().ok()?)))
}

/// Parses `listener.security.protocol.map`.
pub fn parse_protocol_map(text: &str) -> Result<ProtocolMap, ConfigError> {
    const NAME: &str = "listener.security.protocol.map";
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries
        .map(|entry| {
            let (listener, protocol) = entry
                .split_once(':')
                .ok_or_else(|| ConfigError::invalid(NAME, text, format!("{entry} is not NAME:PROTOCOL")))?;
            let protocol = SecurityProtocol::of_name(protocol.trim()).ok_or_else(|| {
                ConfigError::invalid(NAME, text, format!("No security protocol is named {protocol}"))
            })?;
            Ok((listener.trim().to_ascii_uppercase(), protocol))
        })
        .collect()
}
