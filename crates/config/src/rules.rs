//! Rules across keys: what Kafka refuses to start a KRaft node with, in its words.

use std::collections::BTreeSet;

use crate::config::Config;
use crate::endpoint::Endpoint;
use crate::error::ConfigError;
use crate::node::Roles;
use crate::table::{Table, keys};

/// Everything that is wrong across keys.
pub(crate) fn check(config: &Config) -> Vec<ConfigError> {
    let mut broken = Broken::default();
    identity(config, &mut broken);
    logs(config, &mut broken);
    replication(config, &mut broken);
    requests(config, &mut broken);
    groups(config, &mut broken);
    directories(config, &mut broken);
    match Listening::of(config) {
        Ok(listening) => {
            quorum(config, &mut broken);
            listening.check(config, &mut broken);
        }
        Err(error) => broken.0.push(error),
    }
    broken.0
}

/// What Kafka accepts but logs as an error or a warning.
pub(crate) fn doubts(config: &Config) -> Vec<String> {
    let mut doubts = Vec::new();
    let heartbeat = config.get(keys::BROKER_HEARTBEAT_INTERVAL_MS);
    let session = config.get(keys::BROKER_SESSION_TIMEOUT_MS);
    if i64::from(heartbeat) * 2 > i64::from(session) {
        doubts.push(format!(
            "broker.heartbeat.interval.ms={heartbeat} should be at most half of broker.session.timeout.ms={session}: a \
             broker whose heartbeats come later is fenced"
        ));
    }
    if config.roles() == (Roles { broker: true, controller: false })
        && config.controller_listener_names().len() > 1
    {
        doubts.push(
            "controller.listener.names has several entries; with process.roles=broker only the first is used"
                .into(),
        );
    }
    doubts
}

#[derive(Default)]
struct Broken(Vec<ConfigError>);

impl Broken {
    fn unless(&mut self, holds: bool, message: impl FnOnce() -> String) {
        if !holds {
            self.0.push(ConfigError::Rule(message()));
        }
    }
}

fn identity(config: &Config, broken: &mut Broken) {
    broken.unless(config.get(keys::NODE_ID) == config.get(keys::BROKER_ID), || {
        "You must set `node.id` to the same value as `broker.id`.".into()
    });
}

fn logs(config: &Config, broken: &mut Broken) {
    broken.unless(config.log_roll_ms() >= 1, || "log.roll.ms must be greater than or equal to 1".into());
    broken.unless(config.log_roll_jitter_ms() >= 0, || {
        "log.roll.jitter.ms must be greater than or equal to 0".into()
    });
    let retention = config.log_retention_ms();
    broken.unless(retention >= 1 || retention == -1, || {
        "log.retention.ms must be unlimited (-1) or, greater than or equal to 1".into()
    });
    let threads = i64::from(config.get(keys::LOG_CLEANER_THREADS));
    broken.unless(threads >= 1, || "log.cleaner.threads must be greater than or equal to 1".into());
    let buffer = config.get(keys::LOG_CLEANER_DEDUPE_BUFFER_SIZE);
    broken.unless(threads < 1 || buffer / threads > 1024 * 1024, || {
        "log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.".into()
    });
    for key in [keys::OFFSETS_TOPIC_COMPRESSION_CODEC, keys::SHARE_COORDINATOR_STATE_TOPIC_COMPRESSION_CODEC]
    {
        let codec = config.get(key);
        broken.unless((0..=4).contains(&codec), || {
            format!("{}: Unknown compression type id: {codec}", key.name())
        });
    }
}

fn replication(config: &Config, broken: &mut Broken) {
    let wait = config.get(keys::REPLICA_FETCH_WAIT_MAX_MS);
    broken.unless(wait <= config.get(keys::REPLICA_SOCKET_TIMEOUT_MS), || {
        "replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms to prevent unnecessary socket \
         timeouts"
            .into()
    });
    broken.unless(i64::from(wait) <= config.get(keys::REPLICA_LAG_TIME_MAX_MS), || {
        "replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms to prevent frequent \
         changes in ISR"
            .into()
    });
}

fn requests(config: &Config, broken: &mut Broken) {
    let queued = config.get(keys::QUEUED_MAX_REQUEST_BYTES);
    broken.unless(queued <= 0 || queued >= i64::from(config.get(keys::SOCKET_REQUEST_MAX_BYTES)), || {
        "queued.max.request.bytes must be larger or equal to socket.request.max.bytes".into()
    });
    match config.max_connections_per_ip_overrides() {
        Ok(overrides) => {
            broken.unless(config.get(keys::MAX_CONNECTIONS_PER_IP) != 0 || !overrides.is_empty(), || {
                "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set."
                    .into()
            });
        }
        Err(error) => broken.0.push(error),
    }
    let idle = config.get(keys::CONNECTIONS_MAX_IDLE_MS);
    let delay = config.get(keys::CONNECTION_FAILED_AUTHENTICATION_DELAY_MS);
    broken.unless(idle < 0 || i64::from(delay) < idle, || {
        format!(
            "connection.failed.authentication.delay.ms={delay} should always be less than \
             connections.max.idle.ms={idle} to prevent failed authentication responses from timing out"
        )
    });
}

/// Pairs of keys of which the first must be at least the second.
const AT_LEAST: [(&str, &str); 30] = [
    ("group.consumer.max.heartbeat.interval.ms", "group.consumer.min.heartbeat.interval.ms"),
    ("group.consumer.heartbeat.interval.ms", "group.consumer.min.heartbeat.interval.ms"),
    ("group.consumer.max.heartbeat.interval.ms", "group.consumer.heartbeat.interval.ms"),
    ("group.consumer.max.session.timeout.ms", "group.consumer.min.session.timeout.ms"),
    ("group.consumer.session.timeout.ms", "group.consumer.min.session.timeout.ms"),
    ("group.consumer.max.session.timeout.ms", "group.consumer.session.timeout.ms"),
    ("group.consumer.max.assignment.interval.ms", "group.consumer.min.assignment.interval.ms"),
    ("group.consumer.assignment.interval.ms", "group.consumer.min.assignment.interval.ms"),
    ("group.share.max.heartbeat.interval.ms", "group.share.min.heartbeat.interval.ms"),
    ("group.share.heartbeat.interval.ms", "group.share.min.heartbeat.interval.ms"),
    ("group.share.max.heartbeat.interval.ms", "group.share.heartbeat.interval.ms"),
    ("group.share.max.session.timeout.ms", "group.share.min.session.timeout.ms"),
    ("group.share.session.timeout.ms", "group.share.min.session.timeout.ms"),
    ("group.share.max.session.timeout.ms", "group.share.session.timeout.ms"),
    ("group.share.max.assignment.interval.ms", "group.share.min.assignment.interval.ms"),
    ("group.share.assignment.interval.ms", "group.share.min.assignment.interval.ms"),
    ("group.share.delivery.count.limit", "group.share.min.delivery.count.limit"),
    ("group.share.max.delivery.count.limit", "group.share.delivery.count.limit"),
    ("group.share.record.lock.duration.ms", "group.share.min.record.lock.duration.ms"),
    ("group.share.max.record.lock.duration.ms", "group.share.record.lock.duration.ms"),
    ("group.share.partition.max.record.locks", "group.share.min.partition.max.record.locks"),
    ("group.share.max.partition.max.record.locks", "group.share.partition.max.record.locks"),
    ("group.share.max.share.sessions", "group.share.max.size"),
    ("group.streams.max.heartbeat.interval.ms", "group.streams.min.heartbeat.interval.ms"),
    ("group.streams.heartbeat.interval.ms", "group.streams.min.heartbeat.interval.ms"),
    ("group.streams.max.heartbeat.interval.ms", "group.streams.heartbeat.interval.ms"),
    ("group.streams.max.session.timeout.ms", "group.streams.min.session.timeout.ms"),
    ("group.streams.session.timeout.ms", "group.streams.min.session.timeout.ms"),
    ("group.streams.max.session.timeout.ms", "group.streams.session.timeout.ms"),
    ("group.streams.assignment.interval.ms", "group.streams.min.assignment.interval.ms"),
];

/// Pairs of keys of which the first must be at most the second.
const AT_MOST: [(&str, &str); 4] = [
    ("group.consumer.assignment.interval.ms", "group.consumer.max.assignment.interval.ms"),
    ("group.share.assignment.interval.ms", "group.share.max.assignment.interval.ms"),
    ("group.streams.assignment.interval.ms", "group.streams.max.assignment.interval.ms"),
    ("group.streams.num.standby.replicas", "group.streams.max.standby.replicas"),
];

fn groups(config: &Config, broken: &mut Broken) {
    let number =
        |name: &str| Table::Broker.find(name).and_then(|row| config.value(row)).and_then(|v| v.as_i64());
    for (larger, smaller) in AT_LEAST {
        broken.unless(number(larger) >= number(smaller), || {
            format!("{larger} must be greater than or equal to {smaller}")
        });
    }
    for (smaller, larger) in AT_MOST {
        broken.unless(number(smaller) <= number(larger), || {
            format!("{smaller} must be less than or equal to {larger}")
        });
    }
    for kind in ["consumer", "share", "streams"] {
        let heartbeat = format!("group.{kind}.heartbeat.interval.ms");
        let session = format!("group.{kind}.session.timeout.ms");
        broken.unless(number(&heartbeat) < number(&session), || {
            format!("{heartbeat} must be less than {session}")
        });
    }
    let protocols = config.get(keys::GROUP_COORDINATOR_REBALANCE_PROTOCOLS);
    broken.unless(protocols.iter().any(|protocol| protocol == "classic"), || {
        "Disabling the 'classic' protocol is not supported.".into()
    });
}

fn directories(config: &Config, broken: &mut Broken) {
    let cordoned = config.get(keys::CORDONED_LOG_DIRS);
    if cordoned.iter().any(|dir| dir == "*") {
        broken.unless(cordoned.len() == 1, || {
            "When cordoned.log.dirs is set to *, it must not contain other values".into()
        });
        return;
    }
    let missing: Vec<&str> =
        cordoned.iter().filter(|dir| !config.log_dirs().contains(dir)).map(String::as_str).collect();
    broken.unless(missing.is_empty(), || {
        format!(
            "All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : {}",
            missing.join(",")
        )
    });
}

fn quorum(config: &Config, broken: &mut Broken) {
    let voters: BTreeSet<i32> = config.quorum_voters().iter().map(|voter| voter.id).collect();
    broken.unless(!voters.is_empty() || !config.quorum_bootstrap_servers().is_empty(), || {
        "If using process.roles, either controller.quorum.bootstrap.servers must contain the set of bootstrap \
         controllers or controller.quorum.voters must contain a parseable set of controllers."
            .into()
    });
    let node_id = config.get(keys::NODE_ID);
    let set = || voters.iter().map(i32::to_string).collect::<Vec<_>>().join(", ");
    if config.roles().controller {
        broken.unless(voters.is_empty() || voters.contains(&node_id), || {
            format!(
                "If process.roles contains the 'controller' role, the node id {node_id} must be included in the set \
                 of voters controller.quorum.voters=Set({})",
                set()
            )
        });
    } else {
        broken.unless(!voters.contains(&node_id), || {
            format!(
                "If process.roles contains just the 'broker' role, the node id {node_id} must not be included in the \
                 set of voters controller.quorum.voters=Set({})",
                set()
            )
        });
    }
}

/// Listeners by what they are for.
struct Listening {
    all: Vec<Endpoint>,
    controller: Vec<Endpoint>,
    advertised: Vec<Endpoint>,
}

impl Listening {
    fn of(config: &Config) -> Result<Listening, ConfigError> {
        let listening = Listening {
            all: config.listeners()?,
            controller: config.controller_listeners()?,
            advertised: config.advertised_listeners()?,
        };
        distinct(keys::LISTENERS.name(), &listening.all, true)?;
        distinct(keys::ADVERTISED_LISTENERS.name(), &listening.advertised, false)?;
        Ok(listening)
    }

    fn check(&self, config: &Config, broken: &mut Broken) {
        let roles = config.roles();
        match roles {
            Roles { broker: true, controller: false } => self.broker_only(config, broken),
            Roles { broker: false, .. } => {
                broken.unless(self.controller.len() == self.all.len(), || {
                    "The listeners config must only contain KRaft controller listeners from controller.listener.names \
                     when process.roles=controller"
                        .into()
                });
                self.controllers(config, broken);
            }
            Roles { broker: true, controller: true } => self.controllers(config, broken),
        }
        if roles.broker {
            self.brokers(config, broken);
        }
        early_start(config, &self.all, broken);
    }

    fn broker_only(&self, config: &Config, broken: &mut Broken) {
        broken.unless(self.controller.is_empty(), || {
            "controller.listener.names must not contain a value appearing in the 'listeners' configuration when running \
             KRaft with just the broker role"
                .into()
        });
        let Ok(map) = config.protocol_map() else { return };
        for name in config.controller_listener_names() {
            broken.unless(map.contains_key(&name), || {
                format!(
                    "Controller listener with name {name} defined in controller.listener.names not found in \
                     listener.security.protocol.map  (an explicit security mapping for each controller listener is \
                     required if listener.security.protocol.map is non-empty, or if there are security protocols other \
                     than PLAINTEXT in use)"
                )
            });
        }
    }

    fn controllers(&self, config: &Config, broken: &mut Broken) {
        if self.controller.is_empty() {
            broken.unless(false, || {
                "controller.listener.names must contain at least one value appearing in the 'listeners' configuration \
                 when running the KRaft controller role"
                    .into()
            });
            return;
        }
        let listens = |name: &String| self.controller.iter().any(|endpoint| endpoint.listener == *name);
        broken.unless(config.controller_listener_names().iter().all(listens), || {
            "controller.listener.names must only contain values appearing in the 'listeners' configuration when running \
             the KRaft controller role"
                .into()
        });
    }

    fn brokers(&self, config: &Config, broken: &mut Broken) {
        if self.advertised.is_empty() {
            broken.unless(false, || {
                "There must be at least one broker advertised listener. Perhaps all listeners appear in \
                 controller.listener.names?"
                    .into()
            });
            return;
        }
        self.inter_broker(config, broken);
        let listens = |name: &str| self.all.iter().any(|endpoint| endpoint.listener == name);
        broken.unless(self.advertised.iter().all(|endpoint| listens(&endpoint.listener)), || {
            format!(
                "advertised.listeners listener names must be equal to or a subset of the ones defined in listeners. Found \
                 {}. The valid options based on the current configuration are {}",
                names(&self.advertised),
                names(&self.all)
            )
        });
        broken.unless(self.advertised.iter().all(|endpoint| endpoint.host != "0.0.0.0"), || {
            "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address.".into()
        });
    }

    fn inter_broker(&self, config: &Config, broken: &mut Broken) {
        let both = config.is_set(keys::INTER_BROKER_LISTENER_NAME.name())
            && config.is_set(keys::SECURITY_INTER_BROKER_PROTOCOL.name());
        broken.unless(!both, || {
            "Only one of inter.broker.listener.name and security.inter.broker.protocol should be set.".into()
        });
        let name = config.inter_broker_listener_name();
        let known = config.protocol_map().is_ok_and(|map| map.contains_key(&name));
        if !known {
            broken.unless(!config.is_set(keys::INTER_BROKER_LISTENER_NAME.name()), || {
                format!(
                    "Listener with name {name} defined in inter.broker.listener.name not found in \
                     listener.security.protocol.map."
                )
            });
        }
        broken.unless(self.advertised.iter().any(|endpoint| endpoint.listener == name), || {
            format!(
                "inter.broker.listener.name must be a listener name defined in advertised.listeners. The valid options \
                 based on currently configured listeners are {}",
                names(&self.advertised)
            )
        });
    }
}

fn early_start(config: &Config, all: &[Endpoint], broken: &mut Broken) {
    let controllers = config.controller_listener_names();
    for name in config.get(keys::EARLY_START_LISTENERS).unwrap_or_default() {
        let upper = name.to_ascii_uppercase();
        let known = controllers.contains(&upper) || all.iter().any(|endpoint| endpoint.listener == upper);
        broken.unless(known, || {
            format!(
                "early.start.listeners contains listener {upper}, but this is not contained in listeners or \
                 controller.listener.names"
            )
        });
    }
}

fn names(endpoints: &[Endpoint]) -> String {
    endpoints.iter().map(|endpoint| endpoint.listener.as_str()).collect::<Vec<_>>().join(",")
}

/// No two listeners have one name; no two have one port, unless one is at an IPv4 and the other at an IPv6 address.
fn distinct(key: &str, endpoints: &[Endpoint], ports: bool) -> Result<(), ConfigError> {
    let text = || endpoints.iter().map(Endpoint::to_string).collect::<Vec<_>>().join(",");
    for (i, one) in endpoints.iter().enumerate() {
        for other in endpoints.iter().skip(i + 1) {
            if one.listener == other.listener {
                return Err(ConfigError::invalid(key, text(), "Each listener must have a different name"));
            }
            if ports && one.port != 0 && one.port == other.port && !differ_in_family(&one.host, &other.host) {
                return Err(ConfigError::invalid(
                    key,
                    text(),
                    "Each listener must have a different port, unless one is at an IPv4 and the other at an IPv6 address",
                ));
            }
        }
    }
    Ok(())
}

fn differ_in_family(one: &str, other: &str) -> bool {
    use std::net::IpAddr;
    match (one.parse::<IpAddr>(), other.parse::<IpAddr>()) {
        (Ok(one), Ok(other)) => one.is_ipv4() != other.is_ipv4(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
