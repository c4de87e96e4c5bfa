//! What a change of a topic would do. Pure.

use ottla_client::admin::{ConfigEntry, ConfigSource};
use ottla_config::Table;

/// A change of one thing about a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub topic: String,
    /// A setting's name, or `partitions`.
    pub what: String,
    pub before: Option<String>,
    pub after: Option<String>,
    /// Why it can't be undone.
    pub warning: Option<&'static str>,
}

pub const PARTITIONS: &str = "partitions";

const FEWER_KEPT: &str = "records may be deleted";
const DELETES: &str = "records will be deleted by age or size";
const COMPACTS: &str = "only the last record of each key is kept";
const KEYS_MOVE: &str = "keys go to other partitions from now on";

/// What becomes of a setting: `None` as its new value means the default.
pub fn setting_change(topic: &str, entry: &ConfigEntry, after: Option<&str>) -> Change {
    let after = match after {
        Some(value) => Some(value.to_owned()),
        None => fallback(entry, ConfigSource::DynamicTopic, Some(Table::Topic)),
    };
    let warning = match (&entry.value, &after) {
        (Some(before), Some(after)) => warning(&entry.name, before, after),
        _ => None,
    };
    Change { topic: topic.to_owned(), what: entry.name.clone(), before: entry.value.clone(), after, warning }
}

/// What counts once the value of its own, which has the source `own`, is gone.
pub fn fallback(entry: &ConfigEntry, own: ConfigSource, table: Option<Table>) -> Option<String> {
    if entry.source != own && entry.value.is_some() {
        return entry.value.clone();
    }
    match entry.synonyms.iter().find(|synonym| synonym.source != own) {
        Some(inherited) => inherited.value.clone(),
        None => table?.find(&entry.name)?.default_text().map(str::to_owned),
    }
}

pub fn partitions_change(topic: &str, before: usize, after: i32) -> Change {
    let is_growth = i64::try_from(before).is_ok_and(|before| i64::from(after) > before);
    Change {
        topic: topic.to_owned(),
        what: PARTITIONS.to_owned(),
        before: Some(before.to_string()),
        after: Some(after.to_string()),
        warning: is_growth.then_some(KEYS_MOVE),
    }
}

/// Why a new value can't be undone by setting the old one again.
fn warning(name: &str, before: &str, after: &str) -> Option<&'static str> {
    let amount = |text: &str| match text.trim().parse::<i64>() {
        // Without a limit.
        Ok(-1) => Some(i64::MAX),
        Ok(amount) => Some(amount),
        Err(_) => None,
    };
    match name {
        "retention.ms" | "retention.bytes" => {
            let is_less = amount(before)? > amount(after)?;
            is_less.then_some(FEWER_KEPT)
        }
        "cleanup.policy" => {
            let has = |list: &str, policy: &str| list.split(',').any(|entry| entry.trim() == policy);
            let is_new = |policy| has(after, policy) && !has(before, policy);
            if is_new("compact") { Some(COMPACTS) } else { is_new("delete").then_some(DELETES) }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_client::admin::ConfigSynonym;

    fn entry(name: &str, own: Option<&str>, inherited: &str) -> ConfigEntry {
        let synonym = |value: &str, source| ConfigSynonym {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            source,
        };
        let own_synonym = own.map(|value| synonym(value, ConfigSource::DynamicTopic));
        ConfigEntry {
            name: name.to_owned(),
            value: Some(own.unwrap_or(inherited).to_owned()),
            source: ConfigSource::DynamicTopic,
            is_sensitive: false,
            is_read_only: false,
            synonyms: own_synonym.into_iter().chain([synonym(inherited, ConfigSource::Default)]).collect(),
        }
    }

    #[test]
    fn what_may_delete_records_is_told() {
        for (name, before, after, warning) in [
            ("retention.ms", "1000", Some("500"), Some(FEWER_KEPT)),
            ("retention.ms", "1000", Some("2000"), None),
            ("retention.ms", "-1", Some("2000"), Some(FEWER_KEPT)),
            ("retention.ms", "1000", Some("-1"), None),
            ("retention.ms", "604800001", None, Some(FEWER_KEPT)),
            ("retention.ms", "604799999", None, None),
            ("cleanup.policy", "delete", Some("compact"), Some(COMPACTS)),
            ("cleanup.policy", "compact", Some("compact,delete"), Some(DELETES)),
            ("cleanup.policy", "compact,delete", Some("delete"), None),
            ("compression.type", "producer", Some("zstd"), None),
        ] {
            let inherited = if name == "retention.ms" { "604800000" } else { "delete" };
            let change = setting_change("t", &entry(name, Some(before), inherited), after);
            assert_eq!(change.warning, warning, "{name} {before} {after:?}");
            assert_eq!(change.after.as_deref(), after.or(Some(inherited)));
        }
    }

    #[test]
    fn what_counts_once_a_value_is_gone() {
        let own = ConfigSource::DynamicTopic;
        let mut set = entry("retention.ms", Some("5000"), "7000");
        assert_eq!(fallback(&set, own, Some(Table::Topic)).as_deref(), Some("7000"));
        // Nothing else is said of where it comes from.
        set.synonyms.truncate(1);
        assert_eq!(fallback(&set, own, Some(Table::Topic)).as_deref(), Some("604800000"));
        assert_eq!(fallback(&set, own, None), None);
        let unset = ConfigEntry { source: ConfigSource::Default, synonyms: Vec::new(), ..set };
        assert_eq!(fallback(&unset, own, None).as_deref(), Some("5000"));
    }

    #[test]
    fn partitions_only_grow() {
        assert_eq!(partitions_change("t", 3, 6).warning, Some(KEYS_MOVE));
        assert_eq!(partitions_change("t", 3, 3).warning, None);
    }
}
