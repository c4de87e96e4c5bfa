//! API keys, and what Apache Kafka 4.3.1 says about each.

use std::fmt;

use crate::message::VersionRange;

include!(concat!(env!("OUT_DIR"), "/api_key.rs"));

/// What Apache Kafka 4.3.1 says about an API: which versions its nodes advertise, and where it is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiFacts {
    pub key: ApiKey,
    pub name: &'static str,
    /// What a broker advertises with default settings. Produce claims 0-2 too, for old clients, and serves none of them.
    pub broker_versions: Option<VersionRange>,
    /// What a controller advertises with default settings.
    pub controller_versions: Option<VersionRange>,
    /// What can be read and written, with a latest version that may be unstable. `None`: the API was removed.
    pub schema_versions: Option<VersionRange>,
    /// The first version with compact lengths and tagged fields.
    pub flexible_since: Option<i16>,
    /// Served on brokers' listeners.
    pub on_broker: bool,
    /// Served on controllers' listeners.
    pub on_controller: bool,
    /// The latest schema version is neither advertised nor served unless unstable versions are asked for.
    pub is_latest_unstable: bool,
    /// A broker passes it on to the controller, in an envelope.
    pub is_forwarded: bool,
    /// For nodes of the cluster only: needs ClusterAction on the cluster.
    pub is_cluster_action: bool,
}

impl ApiKey {
    /// All of them, in the order of their numbers.
    pub fn all() -> impl ExactSizeIterator<Item = ApiKey> {
        FACTS.iter().map(|facts| facts.key)
    }

    pub fn from_code(code: i16) -> Option<ApiKey> {
        Some(FACTS.get(usize::try_from(code).ok()?)?.key)
    }

    pub const fn code(self) -> i16 {
        self as i16
    }

    #[expect(clippy::indexing_slicing, reason = "a row for each variant, at the place of its number")]
    pub fn facts(self) -> &'static ApiFacts {
        &FACTS[self as usize]
    }

    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// Does the version have compact lengths and tagged fields?
    pub fn is_flexible(self, version: i16) -> bool {
        self.facts().flexible_since.is_some_and(|since| version >= since)
    }

    /// The version of a request's header: 2 with tagged fields, else 1. For versions that aren't known too.
    pub fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// The version of a response's header: 1 with tagged fields, else 0; always 0 for ApiVersions, whose sender doesn't
    /// know yet what the other side understands (KIP-511).
    pub fn response_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) && self != ApiKey::ApiVersions { 1 } else { 0 }
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
