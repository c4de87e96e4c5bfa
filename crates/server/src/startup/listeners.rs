//! The listeners of a node: where they bind, and what others are told of them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use ottla_broker::AdvertisedListener;
use ottla_config::{Config, ConfigError, Endpoint};

use super::StartError;
use crate::network::{Listener, ListenerSettings, SocketSettings};

/// The listeners of a configuration, bound; clients that connect already wait until they are served.
#[derive(Debug)]
pub struct BoundListeners {
    pub listeners: Vec<Listener>,
    /// In upper case, with the port that each has.
    ports: Vec<(String, u16)>,
}

/// What stands for a host that isn't given.
pub fn host_or_localhost(host: &str) -> &str {
    if host.is_empty() { "localhost" } else { host }
}

/// Binds every listener of `config`, so that a port that is taken is found before anything is written.
pub fn bind(config: &Config) -> Result<BoundListeners, StartError> {
    let controllers = config.controller_listener_names();
    let mut bound = BoundListeners { listeners: Vec::new(), ports: Vec::new() };
    for endpoint in config.listeners()? {
        let name = endpoint.listener.as_str();
        let settings = |address| ListenerSettings {
            name: name.into(),
            address,
            is_controller: controllers.iter().any(|controller| controller == name),
            socket: SocketSettings::from_config(&config.for_listener(name)),
        };
        let listener = bind_one(&endpoint, settings)?;
        let address = listener.local_addr().map_err(|source| StartError::Bind {
            listener: name.to_owned(),
            address: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), endpoint.port),
            source,
        })?;
        bound.ports.push((name.to_owned(), address.port()));
        bound.listeners.push(listener);
    }
    Ok(bound)
}

fn bind_one(
    endpoint: &Endpoint,
    settings: impl Fn(SocketAddr) -> ListenerSettings,
) -> Result<Listener, StartError> {
    let listener = endpoint.listener.as_str();
    if !endpoint.host.is_empty() {
        let address = resolve(&endpoint.host, endpoint.port).map_err(|reason| StartError::Resolve {
            listener: listener.to_owned(),
            host: endpoint.host.clone(),
            reason,
        })?;
        return Listener::bind(settings(address)).map_err(|error| refused(listener, address, error));
    }
    // Every interface of both families, where the machine has both.
    let any = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), endpoint.port);
    match Listener::bind(settings(any)) {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) => {
            let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), endpoint.port);
            Listener::bind(settings(any)).map_err(|error| refused(listener, any, error))
        }
        other => other.map_err(|error| refused(listener, any, error)),
    }
}

fn refused(listener: &str, address: SocketAddr, source: io::Error) -> StartError {
    let listener = listener.to_owned();
    match source.kind() {
        io::ErrorKind::AddrInUse => StartError::PortTaken { listener, address },
        _ => StartError::Bind { listener, address, source },
    }
}

/// An address of a host, of the older family where it has both: that is what clients try first.
pub(crate) fn resolve(host: &str, port: u16) -> Result<SocketAddr, String> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, port));
    }
    let found: Vec<SocketAddr> = (host, port).to_socket_addrs().map_err(|error| error.to_string())?.collect();
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().ok_or_else(|| "the resolver knows none".to_owned())
}

impl BoundListeners {
    /// What clients and other brokers are told of the broker's listeners.
    pub fn advertised(&self, config: &Config) -> Result<Vec<AdvertisedListener>, ConfigError> {
        let all = config.advertised_listeners()?.into_iter().map(|endpoint| self.completed(endpoint));
        Ok(for_registration(all))
    }

    /// Where other nodes reach this controller.
    pub fn advertised_controllers(&self, config: &Config) -> Result<Vec<Endpoint>, ConfigError> {
        let all = config.advertised_controller_listeners()?.into_iter();
        Ok(all.map(|endpoint| self.completed(endpoint)).collect())
    }

    /// Fills in what the configuration leaves to this machine: its name, and the port that the system chose.
    fn completed(&self, mut endpoint: Endpoint) -> Endpoint {
        if endpoint.host.is_empty() {
            endpoint.host = machine_name();
        }
        let bound = self.ports.iter().find(|(name, _)| *name == endpoint.listener);
        if let (0, Some((_, port))) = (endpoint.port, bound) {
            endpoint.port = *port;
        }
        endpoint
    }
}

/// As nodes tell them to the controller.
pub fn for_registration(endpoints: impl IntoIterator<Item = Endpoint>) -> Vec<AdvertisedListener> {
    let listener = |endpoint: Endpoint| AdvertisedListener {
        security_protocol: endpoint.protocol.id(),
        name: endpoint.listener,
        host: endpoint.host,
        port: endpoint.port,
    };
    endpoints.into_iter().map(listener).collect()
}

fn machine_name() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy().into_owned();
    host_or_localhost(&name).to_owned()
}
