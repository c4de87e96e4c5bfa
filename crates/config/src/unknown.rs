//! "Did you mean": the key closest to a misspelt one.

use crate::table::{BROKER, Scope};

/// The broker key that is closest to `key`, if any is close.
pub fn close_key(key: &str) -> Option<&'static str> {
    closest(key, BROKER.iter().filter(|row| row.scope != Scope::DynamicOnly).map(|row| row.name))
}

/// The name that is closest to `key`, if any is close: at most two letters wrong, or one in eight of a long name.
pub fn closest<'a>(key: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (key.len() / 8).max(2);
    names
        .map(|name| (strsim::damerau_levenshtein(key, name), name))
        .filter(|(distance, _)| *distance <= allowed && *distance < key.len())
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::close_key;

    #[test]
    fn close_keys() {
        let cases = [
            ("log.retention.m", Some("log.retention.ms")),
            ("log.rentention.hours", Some("log.retention.hours")),
            ("num.partition", Some("num.partitions")),
            ("auto.create.topic.enable", Some("auto.create.topics.enable")),
            ("zookeeper.connect", None),
            ("x", None),
            ("", None),
        ];
        for (key, expected) in cases {
            assert_eq!(close_key(key), expected, "{key}");
        }
    }
}
