//! The listeners of a node: where they bind, and what others are told of them.

/// What stands for a host that isn't given.
pub fn host_or_localhost(host: &str) -> &str {
    if host.is_empty() { "localhost" } else { host }
}
