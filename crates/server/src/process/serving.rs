//! The sockets of a node that serves: acceptors, network threads, limits, and what of them changes at run time.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use ottla_broker::exchange::Handler;
use ottla_config::{Config, keys};
use ottla_log::disk::RealDisk;
use parking_lot::RwLock;
use rustix::process::{Resource, getrlimit};
use tokio::task::JoinHandle;

use super::gate::Gate;
use crate::clock::Clock;
use crate::network::connection::ConnectionSettings;
use crate::network::limits::ConnectionLimitSettings;
use crate::network::{Ceiling, ConnectionLimits, Listener, NetworkThreads, RequestMemory};
use crate::startup::listeners::resolve;
use crate::threads::Pool;

/// Open for controllers, and behind a gate for clients.
pub struct Serving {
    acceptors: Vec<JoinHandle<()>>,
    pub network: Arc<Network>,
    handler: Arc<dyn Handler>,
    /// In front of it for clients.
    pub gate: Arc<Gate>,
    readers: Arc<Pool>,
    clock: Clock,
    disk: Arc<RealDisk>,
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").field("network", &self.network).finish_non_exhaustive()
    }
}

/// What a change of settings reaches.
#[derive(Debug)]
pub struct Network {
    /// Brokers and controllers don't take each other's places.
    of_broker: ServerLimits,
    of_controller: ServerLimits,
    /// By listener.
    threads: RwLock<HashMap<Arc<str>, Arc<NetworkThreads>>>,
    hosts: HashMap<String, IpAddr>,
}

/// What the listeners of one role share.
#[derive(Debug)]
struct ServerLimits {
    listeners: Vec<Arc<str>>,
    connections: Arc<ConnectionLimits>,
    memory: Arc<RequestMemory>,
}

impl ServerLimits {
    fn new(
        listeners: Vec<Arc<str>>,
        config: &Config,
        hosts: &HashMap<String, IpAddr>,
        ceiling: &Arc<Ceiling>,
    ) -> ServerLimits {
        let settings = limits(config, &listeners, hosts);
        ServerLimits {
            listeners,
            connections: Arc::new(ConnectionLimits::new(settings, Arc::clone(ceiling))),
            memory: Arc::new(RequestMemory::from_config(config)),
        }
    }
}

impl Serving {
    /// What `listeners` have in common. None of them is served yet.
    pub fn prepare(
        listeners: &[Listener],
        handler: Arc<dyn Handler>,
        config: &Config,
        readers: Arc<Pool>,
        clock: Clock,
        disk: Arc<RealDisk>,
    ) -> Serving {
        let names = listeners.iter().map(|listener| Arc::clone(listener.name()));
        let (of_controller, of_broker) = names.partition(|name| is_controllers(config, name));
        let hosts = addresses(config);
        let ceiling = Arc::new(Ceiling::for_open_files(open_files_limit()));
        let network = Network {
            of_broker: ServerLimits::new(of_broker, config, &hosts, &ceiling),
            of_controller: ServerLimits::new(of_controller, config, &hosts, &ceiling),
            threads: RwLock::default(),
            hosts,
        };
        let network = Arc::new(network);
        let gate = Arc::new(Gate::new(Arc::clone(&handler)));
        Serving { acceptors: Vec::new(), network, handler, gate, readers, clock, disk }
    }

    /// Serves listeners that were prepared, from a task of the current runtime each.
    pub fn take_connections(&mut self, listeners: Vec<Listener>, config: &Config) -> io::Result<()> {
        for listener in listeners {
            let own = config.for_listener(listener.name());
            let threads = Arc::new(NetworkThreads::start(thread_count(&own, listener.name()))?);
            self.network.threads.write().insert(Arc::clone(listener.name()), Arc::clone(&threads));
            let name = Arc::clone(listener.name());
            let network = &self.network;
            let (limits, handler) = if is_controllers(config, &name) {
                (&network.of_controller, Arc::clone(&self.handler))
            } else {
                (&network.of_broker, Arc::clone(&self.gate) as _)
            };
            let memory = Arc::clone(&limits.memory);
            let readers = Arc::clone(&self.readers);
            let connections = Arc::new(ConnectionSettings::from_config(&own, memory, readers, self.clock));
            let (limits, disk) = (Arc::clone(&limits.connections), Arc::clone(&self.disk));
            let give_up_files = move || disk.give_up_descriptors();
            let task = listener.serve(handler, connections, limits, threads, give_up_files);
            self.acceptors.push(tokio::spawn(async move {
                if let Err(error) = task.await {
                    tracing::error!(listener = %name, %error, "the listener accepts no more connections");
                }
            }));
        }
        Ok(())
    }

    /// Refuses new connections and closes all others: no request is handled any more when this returns. Not before brokers and
    /// controllers need this node no more: they may not have connected yet.
    pub fn stop(self) {
        self.acceptors.iter().for_each(JoinHandle::abort);
        let threads: Vec<_> = self.network.threads.read().values().cloned().collect();
        threads.iter().for_each(|threads| threads.stop());
    }
}

impl Network {
    /// Takes what may change while the node runs: limits of connections, numbers of threads.
    pub fn update(&self, config: &Config) {
        for server in [&self.of_broker, &self.of_controller] {
            server.connections.update(limits(config, &server.listeners, &self.hosts));
        }
        for (name, threads) in &*self.threads.read() {
            if let Err(error) = threads.resize(thread_count(&config.for_listener(name), name)) {
                tracing::error!(listener = %name, %error, "the number of network threads could not be changed");
            }
        }
    }
}

/// After the start has raised it.
fn open_files_limit() -> usize {
    let limit = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
    limit.unwrap_or(usize::MAX)
}

/// Whether only controllers speak on the listener.
fn is_controllers(config: &Config, listener: &str) -> bool {
    config.controller_listener_names().iter().any(|name| name == listener)
}

/// Controllers talk to few others: one thread does.
fn thread_count(config: &Config, listener: &str) -> usize {
    if is_controllers(config, listener) {
        return 1;
    }
    usize::try_from(config.get(keys::NUM_NETWORK_THREADS)).unwrap_or(1)
}

fn limits(
    config: &Config,
    listeners: &[Arc<str>],
    hosts: &HashMap<String, IpAddr>,
) -> ConnectionLimitSettings {
    ConnectionLimitSettings::from_config(config, listeners, |host| {
        hosts.get(host).copied().or_else(|| resolve(host, 0).ok().map(|address| address.ip()))
    })
}

/// Of the hosts with limits of their own: names are resolved once.
fn addresses(config: &Config) -> HashMap<String, IpAddr> {
    let overrides = config.max_connections_per_ip_overrides().unwrap_or_default();
    let found = overrides.into_keys().map(|host| {
        let address = resolve(&host, 0);
        if let Err(reason) = &address {
            tracing::warn!(host, reason, "max.connections.per.ip.overrides names a host without an address");
        }
        (host, address)
    });
    found.filter_map(|(host, address)| Some((host, address.ok()?.ip()))).collect()
}
