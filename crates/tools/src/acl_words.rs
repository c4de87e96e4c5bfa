//! Kafka's names for what access rules are made of, by the numbers of the protocol.

/// Names in the order of their numbers. The first stands for every number that isn't known.
pub(crate) type Words = &'static [&'static str];

pub(crate) const RESOURCE_TYPES: Words =
    &["UNKNOWN", "ANY", "TOPIC", "GROUP", "CLUSTER", "TRANSACTIONAL_ID", "DELEGATION_TOKEN", "USER"];
pub(crate) const PATTERN_TYPES: Words = &["UNKNOWN", "ANY", "MATCH", "LITERAL", "PREFIXED"];
pub(crate) const OPERATIONS: Words = &[
    "UNKNOWN",
    "ANY",
    "ALL",
    "READ",
    "WRITE",
    "CREATE",
    "DELETE",
    "ALTER",
    "DESCRIBE",
    "CLUSTER_ACTION",
    "DESCRIBE_CONFIGS",
    "ALTER_CONFIGS",
    "IDEMPOTENT_WRITE",
    "CREATE_TOKENS",
    "DESCRIBE_TOKENS",
    "TWO_PHASE_COMMIT",
];
pub(crate) const PERMISSIONS: Words = &["UNKNOWN", "ANY", "DENY", "ALLOW"];

pub(crate) fn name(words: Words, code: i8) -> &'static str {
    let known = usize::try_from(code).ok().and_then(|code| words.get(code));
    known.or(words.first()).copied().unwrap_or_default()
}

/// Letters' case doesn't matter, nor do the underscores between words.
pub(crate) fn code(words: Words, name: &str) -> Option<i8> {
    let plain = |name: &str| name.replace('_', "").to_ascii_uppercase();
    let at = words.iter().skip(1).position(|known| plain(known) == plain(name))?;
    i8::try_from(at + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_belong_together() {
        assert_eq!(
            (name(OPERATIONS, 10), code(OPERATIONS, "DescribeConfigs")),
            ("DESCRIBE_CONFIGS", Some(10))
        );
        assert_eq!((name(OPERATIONS, 99), code(OPERATIONS, "unknown")), ("UNKNOWN", None));
        assert_eq!(name(PERMISSIONS, -1), "UNKNOWN");
    }
}
