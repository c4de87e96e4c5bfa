//! What files of the tree say: the objects as Java prints them.

use std::fmt::{Display, Write};

use ottla_metadata::image::{
    BrokerRegistration, LeaderRecoveryState, PartitionRegistration, Provenance, QuotaEntity,
};
use ottla_wire::records::{
    AccessControlEntryRecord, DelegationTokenRecord, RegisterControllerRecord, UserScramCredentialRecord,
};

use crate::acl_words;
use crate::date_format::iso_instant;

/// `[1, 2]`
fn list<T: Display>(items: &[T]) -> String {
    let shown: Vec<String> = items.iter().map(ToString::to_string).collect();
    format!("[{}]", shown.join(", "))
}

pub(super) fn provenance(provenance: &Provenance) -> String {
    format!(
        "offset {}, epoch {}, time {}[UTC]",
        provenance.last_offset,
        provenance.last_epoch.0,
        iso_instant(provenance.last_append_time.0)
    )
}

pub(super) fn partition(of: &PartitionRegistration) -> String {
    let state = match of.leader_recovery_state {
        LeaderRecoveryState::Recovered => "RECOVERED",
        LeaderRecoveryState::Recovering => "RECOVERING",
    };
    format!(
        "PartitionRegistration(replicas={}, directories={}, isr={}, removingReplicas={}, addingReplicas={}, elr={}, \
         lastKnownElr={}, leader={}, leaderRecoveryState={state}, leaderEpoch={}, partitionEpoch={})",
        list(&of.replicas),
        list(&of.directories),
        list(&of.isr),
        list(&of.removing_replicas),
        list(&of.adding_replicas),
        list(&of.elr),
        list(&of.last_known_elr),
        of.leader,
        of.leader_epoch.0,
        of.partition_epoch
    )
}

/// Of an endpoint, in the words of Java's class.
fn endpoint(name: &str, protocol: i16, host: &str, port: u16) -> String {
    let protocol = match protocol {
        0 => "PLAINTEXT".to_owned(),
        1 => "SSL".to_owned(),
        2 => "SASL_PLAINTEXT".to_owned(),
        3 => "SASL_SSL".to_owned(),
        other => other.to_string(),
    };
    format!("Endpoint(listenerName='{name}', securityProtocol={protocol}, host='{host}', port={port})")
}

/// Levels of features, by name.
fn features<'a>(all: impl Iterator<Item = (&'a str, i16, i16)>) -> String {
    let mut all: Vec<_> = all.collect();
    all.sort_unstable();
    let shown = all.into_iter().map(|(name, min, max)| match (min, max) {
        (min, max) if min == max => format!("{name}: {min}"),
        (min, i16::MAX) => format!("{name}: {min}+"),
        (min, max) => format!("{name}: {min}-{max}"),
    });
    format!("{{{}}}", shown.collect::<Vec<_>>().join(", "))
}

/// Java's `Optional`.
pub(super) fn optional<T: Display>(value: Option<T>) -> String {
    value.map_or_else(|| "Optional.empty".to_owned(), |value| format!("Optional[{value}]"))
}

pub(super) fn broker(broker: &BrokerRegistration) -> String {
    let of = &broker.record;
    let endpoints: Vec<String> =
        of.end_points.iter().map(|at| endpoint(&at.name, at.security_protocol, &at.host, at.port)).collect();
    let features = features(
        of.features.iter().map(|at| (at.name.as_str(), at.min_supported_version, at.max_supported_version)),
    );
    format!(
        "BrokerRegistration(id={}, epoch={}, incarnationId={}, listeners={}, supportedFeatures={features}, rack={}, fenced={}, \
         inControlledShutdown={}, isMigratingZkBroker={}, directories={}, cordonedDirectories={})",
        of.broker_id,
        of.broker_epoch,
        of.incarnation_id,
        list(&endpoints),
        optional(of.rack.as_deref()),
        of.fenced,
        of.in_controlled_shutdown,
        of.is_migrating_zk_broker,
        list(&of.log_dirs),
        list(of.cordoned_log_dirs.as_deref().unwrap_or_default()),
    )
}

pub(super) fn controller(of: &RegisterControllerRecord) -> String {
    let endpoints: Vec<String> =
        of.end_points.iter().map(|at| endpoint(&at.name, at.security_protocol, &at.host, at.port)).collect();
    let features = features(
        of.features.iter().map(|at| (at.name.as_str(), at.min_supported_version, at.max_supported_version)),
    );
    format!(
        "ControllerRegistration(id={}, incarnationId={}, zkMigrationReady={}, listeners={}, supportedFeatures={features})",
        of.controller_id,
        of.incarnation_id,
        of.zk_migration_ready,
        list(&endpoints),
    )
}

/// `clientId(c)_user(u)`, without a name for the default.
pub(super) fn quota_entity(entity: &QuotaEntity) -> String {
    let escaped = |name: &str| name.replace('\\', "\\\\").replace('(', "\\(").replace(')', "\\)");
    let kinds = [("client-id", "clientId"), ("ip", "ip"), ("user", "user")];
    let parts = kinds.into_iter().filter_map(|(kind, shown)| {
        let name = entity.get(kind)?;
        Some(format!("{shown}({})", escaped(name.as_deref().unwrap_or_default())))
    });
    parts.collect::<Vec<_>>().join("_")
}

pub(super) fn acl(of: &AccessControlEntryRecord) -> String {
    let resource = acl_words::name(acl_words::RESOURCE_TYPES, of.resource_type);
    let pattern = acl_words::name(acl_words::PATTERN_TYPES, of.pattern_type);
    let operation = acl_words::name(acl_words::OPERATIONS, of.operation);
    let permission = acl_words::name(acl_words::PERMISSIONS, of.permission_type);
    format!(
        "StandardAcl[resourceType={resource}, resourceName={}, patternType={pattern}, principal={}, host={}, \
         operation={operation}, permissionType={permission}]",
        of.resource_name, of.principal, of.host
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

pub(super) fn scram(of: &UserScramCredentialRecord) -> String {
    format!(
        "ScramCredentialData(salt={}, storedKey={}, serverKey={}, iterations={})",
        hex(&of.salt),
        hex(&of.stored_key),
        hex(&of.server_key),
        of.iterations
    )
}

pub(super) fn token(of: &DelegationTokenRecord) -> String {
    format!(
        "DelegationTokenData(tokenId={}, ownerAsString={}, tokenRequesterAsString={}, renewersAsString={}, issueTimestamp={}, \
         maxTimestamp={}, expiryTimestamp={})",
        of.token_id,
        of.owner,
        of.requester,
        of.renewers.join(" "),
        of.issue_timestamp,
        of.max_timestamp,
        of.expiration_timestamp
    )
}
