//! Settings from environment variables, by the convention of Apache Kafka's container image.
//!
//! `KAFKA_LOG_RETENTION_MS` is `log.retention.ms`; a single underscore is a dot, two are an underscore, three a hyphen.
//! Only what names a known key is a setting: `KAFKA_HEAP_OPTS` and its kind steer Kafka's scripts and JVM.

use crate::table::{Scope, Table};

/// What a variable turns out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// The key that it sets.
    Setting(String),
    /// It looks like a misspelt setting; the closest key.
    Misspelt(&'static str),
    /// Nothing to do with settings.
    Other,
}

pub fn classify(variable: &str) -> Variable {
    let Some(name) = variable.strip_prefix("KAFKA_") else { return Variable::Other };
    if is_of_the_scripts(name) {
        return Variable::Other;
    }
    let key = key_of(name);
    if is_setting(&key) {
        return Variable::Setting(key);
    }
    crate::unknown::close_key(&key).map_or(Variable::Other, Variable::Misspelt)
}

/// Keys that a node reads from its file, environment or flags, those of the prefixes that plug-ins and listeners read
/// among them.
pub(crate) fn is_setting(key: &str) -> bool {
    const PREFIXES: [&str; 3] = ["listener.name.", "rlmm.config.", "rsm.config."];
    Table::Broker.find(key).is_some_and(|row| row.scope != Scope::DynamicOnly)
        || PREFIXES.iter().any(|prefix| key.len() > prefix.len() && key.starts_with(prefix))
}

fn is_of_the_scripts(name: &str) -> bool {
    const NAMES: [&str; 3] = ["OPTS", "DEBUG", "HOME"];
    const PREFIXES: [&str; 5] = ["JMX_", "LOG4J_", "JVM_", "GC_", "DEBUG_"];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || name.ends_with("_OPTS")
}

fn key_of(name: &str) -> String {
    let mut key = String::with_capacity(name.len());
    let mut rest = name;
    while !rest.is_empty() {
        let (text, length) = if rest.starts_with("___") {
            ("-", 3)
        } else if rest.starts_with("__") {
            ("_", 2)
        } else if rest.starts_with('_') {
            (".", 1)
        } else {
            let length = rest.find('_').unwrap_or(rest.len());
            (rest.get(..length).unwrap_or(rest), length)
        };
        key.push_str(text);
        rest = rest.get(length..).unwrap_or("");
    }
    key.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables() {
        let setting = |key: &str| Variable::Setting(key.to_owned());
        let cases = [
            ("KAFKA_LOG_RETENTION_MS", setting("log.retention.ms")),
            ("KAFKA_NODE_ID", setting("node.id")),
            (
                "KAFKA_LISTENER_NAME_EXTERNAL_SSL_KEYSTORE_LOCATION",
                setting("listener.name.external.ssl.keystore.location"),
            ),
            ("KAFKA_LISTENER_NAME_A__B_SSL_CLIENT_AUTH", setting("listener.name.a_b.ssl.client.auth")),
            (
                "KAFKA_LISTENER_NAME_X_SCRAM___SHA___256_SASL_JAAS_CONFIG",
                setting("listener.name.x.scram-sha-256.sasl.jaas.config"),
            ),
            ("KAFKA_LOG_RETENTON_MS", Variable::Misspelt("log.retention.ms")),
            ("KAFKA_LEADER_REPLICATION_THROTTLED_RATE", Variable::Other),
            ("KAFKA_HEAP_OPTS", Variable::Other),
            ("KAFKA_OPTS", Variable::Other),
            ("KAFKA_JMX_PORT", Variable::Other),
            ("KAFKA_LOG4J_LOGGERS", Variable::Other),
            ("KAFKA_LOG4J_OPTS", Variable::Other),
            ("KAFKA_JVM_PERFORMANCE_OPTS", Variable::Other),
            ("KAFKA_GC_LOG_OPTS", Variable::Other),
            ("KAFKA_DEBUG", Variable::Other),
            ("KAFKA_VERSION", Variable::Other),
            ("KAFKA_", Variable::Other),
            ("LOG_RETENTION_MS", Variable::Other),
        ];
        for (variable, expected) in cases {
            assert_eq!(classify(variable), expected, "{variable}");
        }
    }
}
